/*
 * machine.h: the port boundary. A porter reads and implements this file, and no other.
 *
 *                 core (address maps, objects, faults, paging)
 *        ------------------------ machine.h -------------------------
 *         spaces   mappings   pages' bytes   objects   locks   time
 *        ------------------------------------------------------------
 *          sim            linux (userfaultfd)         x86_64
 *
 * The idea in one sentence: THE MACHINE'S PAGE TABLES ARE A CACHE OF THE CORE'S STATE. The machine may forget
 * any mapping that is not wired, at any time and without asking; the next access faults, and the core enters
 * the mapping again. (pmap, Mach and BSD.)
 *
 * What the machine owes the core:
 *   MO1  A mapping shows exactly the page that the core entered there, with no more rights than were given.
 *   MO2  After machine_unmap, machine_protect or machine_wrprotect, and then machine_sync, no
 *       CPU uses the old mapping.
 *   MO3  A wired mapping (MACHINE_MAP_WIRED) stays until the core unmaps it.
 *   MO4  A page's bytes survive, mapped or not, from machine_window_put of a FILL, or from the first mapping,
 *       until machine_release.
 *   MO5  An access that no mapping allows reaches fl_fault (vm.h) in the thread that
 *       made it, or on its behalf.
 *   MO6  Every store is reported: by a fault, by machine_harvest, or by machine_unmap.
 *
 * What the machine may do by itself:
 *   MM1  Where a range is attached without MACHINE_ATTACH_WRITENOTIFY, it may enter any page of the object
 *       whose bytes it keeps (MO4), with at most the rights of the attachment, at any time. So unmapping a
 *       page does not keep a program from it; only its release does. machine_release ends such mappings,
 *       too. The page tables of most hardware hold only what the core entered; under Linux the kernel enters
 *       resident pages itself.
 *
 * What the core owes the machine:
 *   CO1  Calls that change a space's mappings at an address are made with the map locked. So machine_attach
 *       and machine_detach never overlap another mapping call at the same address. Calls of machine_map may
 *       run in parallel with each other; machine_unmap, machine_wrprotect and machine_harvest may run in
 *       parallel with machine_map for other pages.
 *   CO2  A page is never released while it is busy, wired or being written.
 *   CO3  A function here is called with one of the core's locks held only if its comment says "under the
 *       core's locks". Such a function does not call back into the core, and does not wait for a thread
 *       that may be in the core.
 *
 * Dirty and referenced bits are the machine's, and the core harvests them (MO6). A clean page may be entered
 * with VM_PROT_WRITE: the first store does not fault, and machine_harvest tells of it. Where the core must
 * hear of a store at once, it attaches the range with MACHINE_ATTACH_WRITENOTIFY, and enters clean pages
 * without VM_PROT_WRITE: then the first store faults. (pmap_is_modified and pmap_ts_referenced, BSD;
 * vma_wants_writenotify, Linux.)
 *
 * Who writes which of the 33 functions:
 *
 *   boot: 9, with which the core boots, its daemons run, and it halts
 *     machine_lock  machine_trylock  machine_unlock  machine_lock_held  machine_wait  machine_wake
 *     machine_self  machine_time_ns  machine_panic
 *   page tables: 11, so 20 for a machine whose hardware looks only at page tables, and that has a direct map
 *     machine_space_create  machine_space_destroy  machine_detach  machine_protect  machine_map
 *     machine_harvest  machine_unmap  machine_query  machine_sync  machine_copyout  machine_copyin
 *   others: 13, for machines that have something to say there; for the rest the core has weak functions
 *   (core/lib/machine_default.c), which do what stands here
 *     machine_attach       machine_detach              machine_writenotify  nothing
 *     machine_freeze       nothing                     machine_thaw         nothing
 *     machine_wrprotect    machine_protect             machine_can_map      true
 *     machine_object_init  NULL                        machine_object_fini  nothing
 *     machine_window_get   panics: no direct_map       machine_window_put   panics: no direct_map
 *     machine_release      nothing                     machine_rename       nothing
 *     machine_log          nothing
 *
 * A machine is linked as object files, not as an archive: a linker does not look into an archive for a
 * function of which it has a weak one. tests/checks/port holds this table to the core and to examples/port,
 * a port in which each of the 20 says that it is missing. docs/porting.md goes through them in the order in
 * which a porter writes them.
 */
#ifndef FAULTLINE_MACHINE_H
#define FAULTLINE_MACHINE_H

#include <faultline/thread_safety.h>
#include <faultline/types.h>

struct machine_space; /* one address space's page tables: the machine's own type */

/* A run: the pages [pindex, pindex + npages) of one object. frame[i] is the frame of page pindex + i. */
struct machine_run {
    void *object; /* the machine's name for it, from machine_object_init */
    vm_pindex_t pindex;
    uint32_t npages; /* 1 <= npages <= MACHINE_RUN_MAX */
    const vm_frame_t *frame;
    void *const *addr; /* for copies on a machine with kmap: where the core has mapped page i; else NULL */
};
#define MACHINE_RUN_MAX 256

/* ---- spaces ------------------------------------------------------------------------------------------- */

/* Makes an empty space for addresses [start, end). Context: may sleep. Errors: -ENOMEM;
 * -EOPNOTSUPP, this machine has one space, and it exists. */
FL_NODISCARD int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space);

/* Frees a space, in which nothing is attached any more. Context: no thread runs in it. Which CPU looks at
 * which space is the kernel's business: the core never asks for it. A CPU whose last thread ran in this one
 * may still have its page tables, and must let go of them now. */
void machine_space_destroy(struct machine_space *space);

/* A store into a clean page must fault: the machine does not use MM1 there. */
#define MACHINE_ATTACH_WRITENOTIFY 0x1

/*
 * Makes [start, end) show `object` from page `pindex` on, with at most the rights `prot`. What was attached
 * there is replaced, together with its mappings. A machine whose hardware looks only at page tables just
 * forgets the old mappings, as the default does; the linux machine maps the object's memfd there. flags:
 * MACHINE_ATTACH_*. Under the core's locks: the map, exclusively. Errors: -ENOMEM; the range then shows what
 * it showed before, or nothing.
 */
FL_NODISCARD int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                vm_prot_t prot, void *object, vm_pindex_t pindex, unsigned flags);

/*
 * MACHINE_ATTACH_WRITENOTIFY for [start, end), a part of what shows `object` from page `pindex` on with the
 * rights `prot`. The range is frozen, unless it cannot be stored to, and its dirty bits were harvested since;
 * it is frozen no more afterwards. What the core entered stays mapped, since a system call may be using it.
 * So does what MM1 entered: a page that was stored to with the right to write, another page without it. Under
 * the core's locks, of which the map's need not be one. Errors: -ENOMEM; the range is frozen still.
 */
FL_NODISCARD int machine_writenotify(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                     vm_prot_t prot, void *object, vm_pindex_t pindex);

/* Makes [start, end) show nothing; its mappings are forgotten. Under the core's locks:
 * the map, exclusively. */
void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end);

/*
 * Limits what is attached at [start, end) to the rights `prot` (mprotect). Mappings lose the rights
 * beyond it; rights that they lack come with the next fault. Under the core's locks: the map,
 * exclusively. Errors: -ENOMEM.
 */
FL_NODISCARD int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                 vm_prot_t prot);

/* ---- mappings ----------------------------------------------------------------------------------------- */

#define MACHINE_MAP_WIRED 0x1 /* MO3 holds for these mappings */
/* A hint: leave out pages that are mapped already, and what would cost memory. */
#define MACHINE_MAP_QUICK 0x2
/* The core knows the pages as dirty: what is stored into them before the next harvest need not be reported.
 * Without it, a machine that enters a page with VM_PROT_WRITE reports the first store (MO6). */
#define MACHINE_MAP_DIRTY 0x4

/*
 * Whether a page of `page_object` can be mapped where `entry_object` is attached. If not, the fault first
 * copies the page into entry_object. Asked only for the backing pages of private mappings, so the two objects
 * differ. Under the core's locks.
 */
FL_NODISCARD bool machine_can_map(void *entry_object, void *page_object);

/*
 * Enters the run at [va, va + npages pages) with the rights `prot`. Where the same page is mapped already it
 * gets the new rights; another page's mapping is replaced. *done: how many pages, from the first, are
 * entered, also on failure. Under the core's locks: the map, at least shared, and the run's object unless its
 * pages are busy. Errors: only -ENOMEM.
 */
FL_NODISCARD int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run,
                             vm_prot_t prot, unsigned flags, uint32_t *done);

/* What a machine says of a page. */
#define MACHINE_REFERENCED 0x1 /* used since it was entered or last harvested: a guess */
#define MACHINE_DIRTY      0x2 /* stored to since it was entered or last harvested: exact (MO6) */
#define MACHINE_MAPPED     0x4
#define MACHINE_WRITABLE   0x8

/*
 * bits[i] |= what is known of page i of [start, end): MACHINE_REFERENCED, MACHINE_DIRTY. The bits in `clear`
 * start anew. A store that is made between the call and machine_sync may be reported or not: its bytes are in
 * the page when machine_sync returns. Later ones are reported by the next harvest. At most MACHINE_RUN_MAX
 * pages. A machine without referenced bits forgets mappings to clear them, until machine_sync and also wired
 * ones: so the core leaves wired pages out, and keeps the locks that keep pages from being wired until then.
 * Under the core's locks. Cannot fail.
 */
void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits);

/*
 * Until machine_thaw no store into [start, end) succeeds by MM1: it faults, and the core lets it wait. A
 * machine that does not use MM1 has nothing to do. Loads go on. The core freezes a range to find out which
 * pages are clean, and releases those before it thaws the range. `prot`: the rights of the attachment.
 * Nothing may be attached in the range, or no more, or it may be frozen already: the core meets entries while
 * they come, go and are split. Under the core's locks; there is no hold in the range (fl_hold). Errors:
 * -ENOMEM, nothing is frozen by this call.
 */
FL_NODISCARD int machine_freeze(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                vm_prot_t prot);
/* Ends it, if the range is frozen; machine_attach, machine_detach and machine_protect end it, too. Under the
 * core's locks. Cannot fail. */
void machine_thaw(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot);

/* The pages are clean, cannot be stored to meanwhile, and machine_release of them follows. */
#define MACHINE_UNMAP_RELEASE 0x1

/*
 * Forgets the mappings in [start, end), wired ones too. With MACHINE_UNMAP_RELEASE a machine whose
 * machine_release removes mappings may leave the work to it. bits[i] |= MACHINE_DIRTY for page i if it was
 * stored to through a mapping that the core entered, since the last harvest; they are complete after
 * machine_sync. bits NULL: nobody cares. Stores by MM1 are not in them: the caller freezes the range and
 * harvests it first. Under the core's locks. Cannot fail.
 */
void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits);

/* Takes the right to write from the mappings in [start, end): the next store faults, where the range is
 * attached with MACHINE_ATTACH_WRITENOTIFY. Under the core's locks, of which the map's need not be one: so a
 * machine_protect that serves as the default runs in parallel with machine_map, too. Cannot fail. */
void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end);

/* Returns what is known of the page at va, MACHINE_* bits; 0: nothing is mapped there. For checkers. Under
 * the core's locks. */
FL_NODISCARD unsigned machine_query(struct machine_space *space, vm_offset_t va);

/* When it returns, no CPU uses a mapping that was removed or restricted before (MO2).
 * Under the core's locks. */
void machine_sync(struct machine_space *space);

/* ---- pages and objects -------------------------------------------------------------------------------- */

/* A memory object is created. *object: the machine's name for it, which runs carry; it may be NULL. Under the
 * core's locks: perhaps the map, exclusively. Errors: -ENOMEM. */
FL_NODISCARD int machine_object_init(void **object);

/* The object ends. All its pages were released, and it is attached nowhere. Context: may sleep. */
void machine_object_fini(void *object);

/* What the core wants of a page's bytes. */
enum machine_window {
    MACHINE_WINDOW_READ, /* they are valid, and only read */
    MACHINE_WINDOW_EDIT, /* they are valid, and may be changed */
    MACHINE_WINDOW_FILL, /* they are undefined, and all of them will be written before the put */
};

/*
 * Opens a window onto the run's bytes. addr[i]: where page i's VM_PAGE_SIZE bytes are until
 * machine_window_put, page-aligned; NULL: in high memory, and the core maps the page itself (struct
 * machine_kmap). Neighbours are contiguous where the machine can do that, so that one transfer serves many.
 * The pages are busy or being written, so they stay. A thread has at most two windows open, both for a short
 * time, and the second of a single page (a copy). Context: may sleep until another window closes; never
 * under the core's locks. Never called on a machine that gave fl_vm_params.direct_map. Errors: -ENOMEM; with
 * `nowait`, -EAGAIN when it would have to sleep.
 */
FL_NODISCARD int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait,
                                    void **addr);

/* Closes the window. `keep` is false when a FILL failed: the bytes mean nothing, and the pages will be
 * released. May be called under the core's locks. */
void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep);

/*
 * Copy len_bytes between the run's bytes, from byte `start` of its first page on, and a program's memory:
 * machine_copyout to `to`, machine_copyin from `from`. They touch no other byte of the pages, which programs
 * may store into through mappings meanwhile. machine_copyout: the pages' bytes are valid, and the pages are
 * busy or held. machine_copyin: the pages are busy, and those whose bytes are not valid are overwritten
 * whole. The copy ends where the program's memory cannot be reached without the core's help. *done: how many
 * bytes were copied, also on failure; some behind them may have been written too. (uiomove, BSD.) Context:
 * may sleep; never under the core's locks; does not call back into the core. Errors: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes,
                                 size_t *done);
FL_NODISCARD int machine_copyin(const struct machine_run *run, uint32_t start, const void *from,
                                size_t len_bytes, size_t *done);

/*
 * Forgets the bytes of the run's pages, and every mapping that MACHINE_UNMAP_RELEASE left: the frames will be
 * used for other pages. May be called under the core's locks. Cannot fail.
 */
void machine_release(const struct machine_run *run);

/*
 * For a machine that cannot map all physical memory at once; it gives this to fl_vm_boot (fl_vm_params.kmap).
 * The first frames are always mapped (the direct map). The others are high memory: the core's kmap
 * (core/vm/kmap.h) maps them one by one for a moment, each in a slot, a page of kernel addresses whose
 * page-table entry the machine writes. (kmap and pkmap_page_table, Linux.)
 *
 *   addresses:  | direct: frames 0 … ndirect-1 |   | slots: nslots | MACHINE_KMAP_LOCAL of each CPU |
 *
 * The functions may be called under the core's locks, and cannot fail. A translation that a CPU's TLB holds
 * of a slot may outlive pte_clear, until flush_tlb.
 */
#define MACHINE_KMAP_LOCAL 4
struct machine_kmap {
    void *direct;
    uint32_t ndirect; /* frames */
    void *slots;
    uint32_t nslots; /* >= 2 * MACHINE_RUN_MAX, where there are windows */
    uint32_t ncpus;
    /* The slot at va, whose entry is not valid and in no TLB, shows the frame. */
    void (*set_pte_at)(void *va, vm_frame_t frame);
    /* The slot's entry is not valid any more. */
    void (*pte_clear)(void *va);
    /* No CPU uses an entry of the slots in [start, end) that was cleared before. */
    void (*flush_tlb)(void *start, void *end);
    /* The same for the calling CPU alone, pinned, and one of its own slots. */
    void (*flush_tlb_self)(void *va);
    /* The calling thread stays on its CPU, and no other runs there, until `unpin`; it must not sleep. Calls
     * nest. `pin` returns the CPU's number, below ncpus. (preempt_disable, Linux.) */
    uint32_t (*pin)(void);
    void (*unpin)(void);
};

/*
 * The page of the run, which is one page long, becomes page `pindex` of `object`, with its bytes and its
 * mappings. Asked only where machine_can_map(object, run->object) is true. The page is in no window. Under
 * the core's locks. Cannot fail. A machine whose frames know nothing of objects has nothing to do.
 */
void machine_rename(const struct machine_run *run, void *object, vm_pindex_t pindex);

/* ---- threads, time, messages -------------------------------------------------------------------------- */

/* A mutex. All zero is unlocked. Not recursive. On a machine with processes it works between them. */
struct FL_CAPABILITY("mutex") machine_lock {
    _Alignas(8) uint32_t word[4];
};

void machine_lock(struct machine_lock *lock) FL_ACQUIRE(lock);
FL_NODISCARD bool machine_trylock(struct machine_lock *lock) FL_TRY_ACQUIRE(true, lock);
void machine_unlock(struct machine_lock *lock) FL_RELEASE(lock);
/* Whether the caller holds the lock. For assertions. */
FL_NODISCARD bool machine_lock_held(const struct machine_lock *lock);

/*
 * Sleeps on the channel `chan` until machine_wake(chan), or until machine_time_ns() >= deadline_ns
 * (UINT64_MAX: no deadline). `lock` is released while the caller sleeps, and held again on return. A wake-up
 * after the release is never missed. May return without one: callers loop. Returns 0, or -ETIMEDOUT.
 * (tsleep, FreeBSD 2.1.)
 */
int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns) FL_REQUIRES(lock);
/* Wakes all threads that sleep on chan. */
void machine_wake(const void *chan);

/* Returns the calling thread's identity, which no other living thread has; never 0. */
FL_NODISCARD uint64_t machine_self(void);
/* Returns the time in nanoseconds; monotonic. */
FL_NODISCARD uint64_t machine_time_ns(void);

/* Writes one line, given without its newline: a write that failed, for which nobody waits any more. */
void machine_log(const char *message);
/* An invariant is broken: says so and stops. */
_Noreturn void machine_panic(const char *message);

#endif
