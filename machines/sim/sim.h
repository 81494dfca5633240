/*
 * sim.h: a whole simulated computer inside one process, with every choice in it drawn from one seed.
 *
 *   test ─ sim_boot ─▶ core on simulated memory     sim_run(fn) ─▶ fiber ┐
 *                                                   sim_run(fn) ─▶ fiber ┼─ scheduler ─▶ CPUs, a TLB each
 *   sim_load / sim_store:                           page daemon, disk ───┘
 *     TLB ─miss─▶ page tables ─no right─▶ alltraps ─▶ trap ─▶ trap_pfault ─▶ fl_fault ─▶ again
 *
 * One host thread runs it all. The test's own main thread is fiber 0: locks, waits and accesses work there as
 * anywhere. Fibers are switched only in machine_* calls and at loads and stores, by chance
 * (preempt_permille), or when one must wait. Nothing depends on host addresses or time: one seed replays one
 * run exactly, and sim_hash() proves it.
 *
 * The machine checks the core, and panics with the seed when it finds: a frame that is released while a page
 * table or a TLB has it (MO2), or while it is open in a window (CO2); a frame that is used for two pages; a
 * mapping that does not fit what is attached (AM7, MO1); a lock taken twice; a lock of the core held where
 * the call may sleep (CO3); a deadlock; an access that faults for ever; and at shutdown spaces, objects,
 * windows, pages and stores that are left over. Released frames are filled with SIM_POISON. Stores that no
 * harvest took (MO6) are counted, in sim_stats: only the test knows which of them truncation excuses.
 */
#ifndef MACHINES_SIM_SIM_H
#define MACHINES_SIM_SIM_H

#include <faultline/machine.h>
#include <faultline/vm.h>

#include "disk.h"
#include "prng.h"

#define SIM_POISON     0xdb
#define SIM_CPUS_MAX   16
#define SIM_FIBERS_MAX 128

/*
 * Torture: what the computer does to the core beyond what a kind one would. Every field may be changed at any
 * time through sim_torture(), except copy_first, which is a property of the machine. A field `nth` counts
 * down: 1 fails the next call of its kind, 0 fails none; it is 0 again once it has failed one. A field
 * `permille` is a chance in a thousand.
 */
struct sim_torture {
    uint32_t preempt_permille;   /* a switch, at each machine_* call, load and store */
    uint32_t spurious_permille;  /* machine_wait returns without a wake-up */
    bool stale_tlb;              /* old TLB entries live on until machine_sync; otherwise they go at once */
    bool copy_first;             /* machine_can_map returns false, as on linux */
    uint32_t forgetful_permille; /* an unwired mapping vanishes, at each machine_* call, load and store */
    /* The hardware enters a resident page by itself (MM1), as on linux, at each access that would trap. */
    uint32_t enters_itself_permille;
    bool late_bits; /* accessed and modified bits come as late as machine.h allows: see below */
    uint32_t window_busy_permille; /* machine_window_get with nowait returns -EAGAIN */
    /* The core's own allocations fail (fl_vm_params.fail_alloc). */
    uint32_t fail_alloc_nth, fail_alloc_permille;
    /* machine_map, _attach, _writenotify, _protect, _freeze, _object_init, _space_create, _window_get,
     * _copyin, _copyout: -ENOMEM. */
    uint32_t fail_map_nth, fail_map_permille;
};

/*
 * late_bits: a load or store leaves its bit in the TLB entry that it used, and only there,
 *
 *   load, store ─▶ TLB entry {late} ──harvest, eviction, drop──▶ page table ──harvest──▶ bits[]
 *                                   └─unmapped meanwhile──▶ kept ──machine_sync──▶ bits[] of machine_unmap
 *
 * and each delay is one that machine.h allows:
 *   - machine_query does not see it: it returns what is known, and MO6 does not name it.
 *   - The first store through an entry that allows it does not look at the page table: MO2 binds the CPUs
 *     only at machine_sync.
 *   - bits[] of machine_unmap stay as they are until machine_sync: only then are they complete.
 *   - After a harvest that clears MACHINE_DIRTY, an entry through which a store went already reports no
 *     further one until machine_sync drops it: what is stored between the two "may be reported or not".
 *   - The same entry reports no further reference: MACHINE_REFERENCED is a guess.
 * A store that was made before machine_harvest is called is reported by it: nothing allows to be later.
 */

struct sim_params {
    uint64_t seed;
    uint32_t ncpus;        /* 0: 2 */
    uint32_t nframes;      /* 0: 256 */
    uint32_t ntables;      /* page-table pages; 0: plenty */
    size_t meta_len_bytes; /* 0: what fl_vm_meta_size says for nentries */
    uint32_t nentries;     /* 0: 4096 */
    uint32_t free_reserved, free_min, free_target, readahead_max; /* as in fl_vm_params */
    uint32_t dirty_background, dirty_max;
    enum fl_overcommit overcommit;
    uint32_t swap_pages; /* of a disk for swap, beside meta_len_bytes; 0: there is none */
    uint64_t dirty_expire_ns;
    bool no_flusher; /* only calls that must write do so: for tests that count writes */
    bool superpages;
    bool highmem;        /* only the first eighth of the frames is mapped directly: the core uses its kmap */
    uint32_t kmap_slots; /* 0: 512, which is also the most */
    bool verbose;        /* machine_log to stderr; FAULTLINE_VERBOSE in the environment does the same */
    struct sim_torture torture;
};

/* ---- the computer ------------------------------------------------------------------------------------- */

/* Starts the machine without the core: memory, CPUs, the disk fiber. For tests of its parts. */
void sim_machine_init(const struct sim_params *params);
void sim_machine_fini(void);

/* Starts the machine, the core (fl_vm_boot), and the fibers of the page daemon and the flusher. Errors, and
 * the machine is stopped again: those of fl_vm_boot. */
FL_NODISCARD int sim_boot(const struct sim_params *params);
/* Waits for all fibers, stops the daemons, checks (fl_vm_check), halts the VM, and looks for leaks. */
void sim_shutdown(void);

/* In a child of fork: its computer gets memory of its own, so that the parent's does not change. */
void sim_forked(void);

/* The disk for swap; NULL: sim_params.swap_pages is 0. */
struct sim_disk *sim_swap_disk(void);
struct sim_torture *sim_torture(void);
/* Returns a hash of every event so far: switches, accesses, traps, mappings, transfers. Equal
 * runs have equal hashes. */
uint64_t sim_hash(void);

struct sim_stats {
    uint64_t switches, preemptions, loads, stores, traps;
    uint64_t tlb_hits, tlb_misses, tlb_stale_uses; /* stale: the page table did not allow it any more */
    uint64_t forgotten, maps, unmaps, syncs, releases;
    uint64_t self_enters; /* pages that the hardware entered by itself (MM1) */
    /*
     * Pages, once for each address, that were stored to through a mapping by MM1, and then released or
     * detached before a machine_harvest with MACHINE_DIRTY in `clear` took note. Such a store is lost, unless
     * the page's bytes were of no use any more (truncation, the end of anonymous memory).
     */
    uint64_t unharvested_released, unharvested_detached;
    uint64_t kmaps;        /* entries of kmap slots that were set */
    uint64_t kmap_flushes; /* of all TLBs */
    uint64_t allocs;       /* calls of fl_vm_params.fail_alloc */
    uint64_t mapcalls;     /* calls that fail_map may fail */
    uint32_t ntables;      /* page-table pages in use */
};
struct sim_stats sim_stats(void);

/* ---- threads ------------------------------------------------------------------------------------------ */

/* Makes a fiber that runs fn(arg); it starts when the scheduler picks it. name: a
 * string literal, for dumps. */
void sim_run(const char *name, void (*fn)(void *arg), void *arg);
/* Returns when every fiber made by sim_run has ended. Context: fiber 0. */
void sim_join_all(void);
/* Lets other fibers run. */
void sim_yield(void);
/* Lets the other fibers run until each of them waits for something. None holds a lock then,
 * so fl_vm_check may look. */
void sim_settle(void);
/* Calls fl_vm_check at such a moment. No other fiber runs meanwhile, not even one with a
 * timer or a transfer. */
void sim_vm_check(void);
/* Lets simulated time pass; other fibers run meanwhile. */
void sim_sleep_ns(uint64_t ns);

/* ---- what a program on the simulated CPU does --------------------------------------------------------- */

/*
 * Load from and store to [va, va + len_bytes), page after page. *done (may be NULL): how many bytes were
 * moved, also on failure. Not atomic: other fibers may run between any two bytes. Errors, of which a program
 * would die: -EFAULT, -EACCES (SIGSEGV), -ENXIO, -EIO (SIGBUS), -ENOMEM.
 */
FL_NODISCARD int sim_load(struct vm_map *map, vm_offset_t va, void *buf, size_t len_bytes, size_t *done);
FL_NODISCARD int sim_store(struct vm_map *map, vm_offset_t va, const void *buf, size_t len_bytes,
                           size_t *done);
/* Adds to the aligned 64-bit word at va, atomically. *old (may be NULL): the word
 * before. Errors: as sim_load. */
FL_NODISCARD int sim_fetch_add(struct vm_map *map, vm_offset_t va, uint64_t add, uint64_t *old);
/* Fetches an instruction byte, which needs VM_PROT_EXECUTE. Errors: as sim_load. */
FL_NODISCARD int sim_execute(struct vm_map *map, vm_offset_t va);

/* ---- looking inside ----------------------------------------------------------------------------------- */

struct sim_attachment {
    vm_offset_t start, end; /* the range as the machine knows it */
    vm_prot_t prot;
    void *object;       /* struct vm_object.machine */
    vm_pindex_t pindex; /* of `start` */
    unsigned flags;     /* MACHINE_ATTACH_* */
    bool frozen;        /* between machine_freeze and machine_thaw */
};
/* *attachment: the range that contains va. Returns false if there is none. The machine's side of AM7. */
FL_NODISCARD bool sim_attached(struct machine_space *space, vm_offset_t va,
                               struct sim_attachment *attachment);
/* *attachment: the first range that ends after va. Returns false if there is none. */
FL_NODISCARD bool sim_attached_next(struct machine_space *space, vm_offset_t va,
                                    struct sim_attachment *attachment);
/* *frame: the frame mapped at va; *prot: its rights; *wired: whether it is wired. Returns false if none is
 * mapped. Changes nothing. */
FL_NODISCARD bool sim_mapped(struct machine_space *space, vm_offset_t va, vm_frame_t *frame, vm_prot_t *prot,
                             bool *wired);
/* Returns how many superpages the space's page tables have. */
FL_NODISCARD uint64_t sim_superpages(struct machine_space *space);
/* What the core needs for high memory; NULL: there is none. sim_boot gives it to the core. */
const struct machine_kmap *sim_kmap(void);
/* Returns how many page-table entries map the frame. */
FL_NODISCARD uint32_t sim_frame_mappings(vm_frame_t frame);
/* Returns the frame's bytes, as a logic analyser would see them. */
uint8_t *sim_frame(vm_frame_t frame);

#endif
