/*
 * machine.h: the port boundary. Whoever brings Faultline to a new machine reads and implements
 * this file, and no other.
 *
 *                 core (address maps, objects, faults, paging)
 *        ------------------------ machine.h -------------------------
 *         spaces   mappings   pages' bytes   objects   locks   time
 *        ------------------------------------------------------------
 *          sim            linux (userfaultfd)         x86_64
 *
 * The idea in one sentence: THE MACHINE'S PAGE TABLES ARE A CACHE OF THE CORE'S STATE. Any mapping that
 * is not wired may be forgotten at any time, without being asked; the next access faults, and the core
 * enters the mapping again.
 *
 * What the machine owes the core:
 *   M1  A mapping that it holds shows exactly the page that the core entered there, with no more
 *       rights than were given.
 *   M2  After machine_unmap / machine_protect / machine_wrprotect and then machine_sync, no
 *       CPU uses the old mapping.
 *   M3  A wired mapping (MACHINE_MAP_WIRED) stays until it is unmapped by the core.
 *   M4  A page's bytes survive, mapped or not, from window_put(FILL) or the first mapping
 *       until machine_release.
 *   M5  An access that no mapping allows reaches fl_fault (vm.h) in the thread that
 *       made it, or on its behalf.
 * What the core owes the machine:
 *   C1  Calls that change a space's mappings at an address are made with the map locked, so never two at once
 *       for one address with machine_attach or machine_detach among them. machine_map calls may run in
 *       parallel with each other, and machine_unmap / machine_wrprotect / machine_harvest may run in parallel
 *       with machine_map for other pages.
 *   C2  A page is never released while it is busy, wired or being written.
 *   C3  No function here is called with one of the core's locks held unless its comment says so; those
 *       that say "under the core's locks" must not call back into the core and must not wait for a thread
 *       that may be in the core.
 *
 * Dirtiness is the core's: a clean page of a file is entered without VM_PROT_WRITE, the first store faults,
 * and the fault marks the page. So the machine needs no dirty bit; where it has one, machine_harvest reports
 * it and the core cross-checks.
 *
 * docs/porting.md walks through the functions in the order in which a porter writes them.
 */
#ifndef FAULTLINE_MACHINE_H
#define FAULTLINE_MACHINE_H

#include <faultline/thread_safety.h>
#include <faultline/types.h>

struct machine_space; /* one address space's page tables: the machine's own type */

/* A run: npages consecutive pages, [pindex, pindex + npages), of one object. frame[i] is the
 * frame of page pindex + i. */
struct machine_run {
    void *object; /* what machine_object_init gave for the object */
    vm_pindex_t pindex;
    uint32_t npages; /* 1 <= npages <= MACHINE_RUN_MAX */
    const vm_frame_t *frame;
};
#define MACHINE_RUN_MAX 256

/* ---- spaces ------------------------------------------------------------------------------------------- */

/* Makes an empty space for addresses [start, end). Context: may sleep. Errors: -ENOMEM. */
FL_NODISCARD int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space);

/* Frees a space that has nothing attached any more. Context: no CPU has it active. */
void machine_space_destroy(struct machine_space *space);

/* The calling CPU runs in this space from now on (cr3). A machine with one space for ever does nothing. */
void machine_space_activate(struct machine_space *space);

/*
 * From now on [start, end) shows `object` from page `pindex` on, with at most `prot`. The range has nothing
 * attached, or shows something else, which this replaces together with its mappings. A machine whose
 * hardware looks only at page tables does nothing but forget the old mappings; the linux machine maps the
 * object's memfd there. Under the core's locks: the map, exclusively. Errors: -ENOMEM; the range then shows
 * what it showed before.
 */
FL_NODISCARD int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                vm_prot_t prot, void *object, vm_pindex_t pindex);

/*
 * From now on [start, end) shows nothing and has no mappings. Under the core's locks: the map, exclusively.
 */
void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end);

/*
 * mprotect: what is attached at [start, end) may be used with at most `prot` from now on. Rights that
 * mappings have beyond it go; rights that they lack come with the next fault. Under the core's locks: the
 * map, exclusively. Errors: -ENOMEM.
 */
FL_NODISCARD int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                 vm_prot_t prot);

/* ---- mappings ----------------------------------------------------------------------------------------- */

#define MACHINE_MAP_WIRED 0x1 /* M3 holds for these mappings */
#define MACHINE_MAP_QUICK                                                                                    \
    0x2 /* a hint, not a need: leave out whatever would cost memory or is mapped already */

/*
 * May a page of `page_object` be mapped where `entry_object` is attached? False makes the fault copy the page
 * into entry_object first. Only a private mapping's backing pages raise the question; page_object ==
 * entry_object is never asked. Under the core's locks.
 */
FL_NODISCARD bool machine_can_map(void *entry_object, void *page_object);

/*
 * Enters the run at [va, va + npages pages) with rights `prot`. A mapping of the same page gets the new
 * rights; a mapping of another page is replaced. *done says how many pages, from the first, are entered, also
 * on failure. Under the core's locks: the map (shared at least), and the run's object unless its pages are
 * busy. Errors: -ENOMEM only.
 */
FL_NODISCARD int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run,
                             vm_prot_t prot, unsigned flags, uint32_t *done);

#define MACHINE_UNMAP_RELEASE                                                                                \
    0x1 /* the pages are clean, cannot be written meanwhile, and machine_release follows */

/*
 * Forgets the mappings in [start, end), wired ones too. With MACHINE_UNMAP_RELEASE a machine whose
 * machine_release removes mappings may leave the work to it. Under the core's locks. Cannot fail.
 */
void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags);

/* Takes the write right from the mappings in [start, end): the next store faults. Under the
 * core's locks. Cannot fail. */
void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end);

#define MACHINE_REFERENCED 0x1
#define MACHINE_DIRTY      0x2 /* written since it was entered or last harvested */
#define MACHINE_REFERENCED_UNKNOWN                                                                           \
    0x4 /* this machine cannot tell; the core unmaps the page and sees whether it comes back */
#define MACHINE_MAPPED   0x8
#define MACHINE_WRITABLE 0x10

/* What is known of the page at va, MACHINE_* bits; 0 if nothing is mapped. Under the core's locks.
 * For checkers and mincore. */
FL_NODISCARD unsigned machine_query(struct machine_space *space, vm_offset_t va);

/* machine_query, and clears referenced and dirty. Under the core's locks. */
FL_NODISCARD unsigned machine_harvest(struct machine_space *space, vm_offset_t va);

/*
 * After it returns, no CPU uses a mapping that was removed or restricted before (M2). Under the core's locks.
 */
void machine_sync(struct machine_space *space);

/* ---- pages and objects -------------------------------------------------------------------------------- */

/* A memory object is born; *object is the machine's name for it, passed back in runs (NULL is a fine answer).
 * Under the core's locks: perhaps the map, exclusively. Errors: -ENOMEM. */
FL_NODISCARD int machine_object_init(void **object);

/* The object is dead: all its pages were released, nothing shows it. Context: may sleep. */
void machine_object_fini(void *object);

enum machine_window {
    MACHINE_WINDOW_READ, /* the bytes are there and only read */
    MACHINE_WINDOW_EDIT, /* the bytes are there and may be changed */
    MACHINE_WINDOW_FILL, /* the bytes are undefined and all of them will be written before the put */
};

/*
 * Opens a window onto the run's bytes: addr[i] is where page i's VM_PAGE_SIZE bytes are until
 * machine_window_put, page-aligned. Where the machine can, neighbours lie one behind the other, so that one
 * transfer serves many. The pages are busy or being written, so they stay. Context: may sleep until another
 * window closes; never under the core's locks. A thread holds at most two windows, the second a single page
 * (a copy), and both short. Errors: -ENOMEM, and -EAGAIN when `nowait` and it would have to sleep.
 */
FL_NODISCARD int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait,
                                    void **addr);

/* Closes the window. `keep` is false when a FILL failed: the bytes mean nothing and the pages will be
 * released. May be called under the core's locks. */
void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep);

/*
 * Copies len_bytes of the run's bytes, from byte `start` of its first page on, to a program's memory at `to`
 * / to there from a program's memory at `from`, and touches no other byte of the pages: programs may store
 * into them through mappings meanwhile. The pages' bytes are there, or machine_copyin gives all bytes of
 * those whose are not; they are busy, or held for copyout, so they stay. A program's memory that cannot be
 * reached without the core's help ends the copy: *done bytes were copied, also on failure; which of those
 * behind them were written is not known. Context: may sleep; never under the core's locks, and does not call
 * back into the core. Errors: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes,
                                 size_t *done);
FL_NODISCARD int machine_copyin(const struct machine_run *run, uint32_t start, const void *from,
                                size_t len_bytes, size_t *done);

/*
 * The run's frames hold nothing from now on and will be used for other pages: forget the bytes, and every
 * mapping that MACHINE_UNMAP_RELEASE left. May be called under the core's locks. Cannot fail.
 */
void machine_release(const struct machine_run *run);

/* ---- threads, time, words ----------------------------------------------------------------------------- */

/* A mutex; all zero is unlocked. Not recursive. Where the machine has processes, it works between them. */
struct FL_CAPABILITY("mutex") machine_lock {
    _Alignas(8) uint32_t word[4];
};

void machine_lock(struct machine_lock *lock) FL_ACQUIRE(lock);
FL_NODISCARD bool machine_trylock(struct machine_lock *lock) FL_TRY_ACQUIRE(true, lock);
void machine_unlock(struct machine_lock *lock) FL_RELEASE(lock);
FL_NODISCARD bool machine_lock_held(const struct machine_lock *lock); /* by the caller; for assertions */

/*
 * Sleeps on the channel `chan` until machine_wake(chan), or until machine_time_ns() >= deadline_ns
 * (UINT64_MAX: no limit). `lock` is held by the caller, is released while asleep, and held again on return. A
 * wake-up after the release of `lock` is never missed. May return for no reason: callers loop. Returns 0, or
 * -ETIMEDOUT. (tsleep, FreeBSD 2.1.)
 */
int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns) FL_REQUIRES(lock);
void machine_wake(const void *chan); /* all that wait on chan */

FL_NODISCARD uint64_t
machine_self(void); /* who calls: differs between threads that live at the same time; never 0 */
FL_NODISCARD uint64_t machine_time_ns(void); /* monotonic */

void machine_log(const char *message);             /* one line, without its newline */
_Noreturn void machine_panic(const char *message); /* an invariant is broken: say so and stop */

#endif
