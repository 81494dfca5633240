/*
 * sim.h: a whole simulated computer inside one process, everything in it drawn from one seed.
 *
 *   test ─ sim_boot ─▶ core on simulated memory     sim_run(fn) ─▶ fiber ┐
 *                                                   sim_run(fn) ─▶ fiber ┼─ scheduler ─▶ CPUs, a TLB each
 *   sim_load / sim_store:                           page daemon, disk ───┘
 *     TLB ─miss─▶ page tables ─no right─▶ alltraps ─▶ trap ─▶ trap_pfault ─▶ fl_fault ─▶ again
 *
 * One host thread runs it all. The test's own main thread is fiber 0: locks, waits and accesses work there as
 * anywhere. Fibers are switched in machine_* calls and at loads and stores only, by chance
 * (preempt_permille), or when one must wait. Nothing depends on host addresses or time: one seed replays one
 * run exactly, and sim_hash() proves it.
 *
 * What the machine checks, and panics with the seed: a frame that is released while a page table or a TLB has
 * it (M2), is wired or open in a window (C2); a frame that stands for two pages; a mapping that does not fit
 * what is attached (A7, M1); a lock taken twice; a core lock held where the call may sleep (C3); a deadlock;
 * an access that faults for ever; at shutdown: spaces, objects, windows, pages and stores left over. Released
 * frames are filled with SIM_POISON.
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
 * Hostility. Every field but copy_first, which is a trait of the machine and stays as booted, may be changed
 * at any time through sim_torture(). A countdown `nth`: 1 fails the next call of the kind, 0 none; it is 0
 * again once it fired.
 */
struct sim_torture {
    uint32_t preempt_permille;     /* chance of a switch at each machine_* call, load and store */
    uint32_t spurious_permille;    /* machine_wait returns for no reason */
    bool stale_tlb;                /* old TLB entries live on until machine_sync; else they go at once */
    bool copy_first;               /* machine_can_map says no, as on linux */
    bool referenced_unknown;       /* no accessed bit, as on linux */
    uint32_t forgetful_permille;   /* an unwired mapping vanishes, at each machine_* call, load and store */
    uint32_t window_busy_permille; /* machine_window_get with nowait says -EAGAIN */
    uint32_t fail_alloc_nth, fail_alloc_permille; /* the core's own allocations (fl_vm_params.fail_alloc) */
    uint32_t fail_map_nth, fail_map_permille; /* machine_map, _attach, _protect, _object_init, _space_create,
                                                 _window_get: -ENOMEM */
};

struct sim_params {
    uint64_t seed;
    uint32_t ncpus;        /* 0: 2 */
    uint32_t nframes;      /* 0: 256 */
    uint32_t ntables;      /* page-table pages; 0: plenty */
    size_t meta_len_bytes; /* 0: what fl_vm_meta_size says for nentries */
    uint32_t nentries;     /* 0: 4096 */
    uint32_t free_reserved, free_min, free_target, readahead_max; /* as in fl_vm_params */
    uint32_t dirty_background, dirty_max;
    uint64_t dirty_expire_ns;
    bool no_flusher; /* nobody writes but who is asked to: for tests that count writes */
    bool superpages;
    bool verbose; /* machine_log to stderr; FAULTLINE_VERBOSE in the environment does the same */
    struct sim_torture torture;
};

/* ---- the computer ------------------------------------------------------------------------------------- */

/* The machine without the core: for tests of parts. Memory, CPUs, the disk fiber. */
void sim_machine_init(const struct sim_params *params);
void sim_machine_fini(void);

/* The machine, fl_vm_boot, and the fibers of the page daemon and the flusher. Errors: those of fl_vm_boot;
 * the machine is gone again then. */
FL_NODISCARD int sim_boot(const struct sim_params *params);
/* Waits for all fibers, stops the daemons, checks (fl_vm_check), halts the VM, and looks for leaks. */
void sim_shutdown(void);

struct sim_torture *sim_torture(void);
/* A hash of every event so far: switches, accesses, traps, mappings, transfers. Equal for equal runs. */
uint64_t sim_hash(void);

struct sim_stats {
    uint64_t switches, preemptions, loads, stores, traps;
    uint64_t tlb_hits, tlb_misses, tlb_stale_uses; /* stale: the page table said otherwise by then */
    uint64_t forgotten, maps, unmaps, syncs, releases;
    uint64_t allocs;   /* how often the core asked fail_alloc */
    uint64_t mapcalls; /* how often fail_map was asked */
    uint32_t ntables;  /* page-table pages in use */
};
struct sim_stats sim_stats(void);

/* ---- threads ------------------------------------------------------------------------------------------ */

/* A new fiber that runs fn(arg); it starts when the scheduler picks it. name: a literal, for dumps. */
void sim_run(const char *name, void (*fn)(void *arg), void *arg);
/* Returns when every fiber made by sim_run has ended. From fiber 0. */
void sim_join_all(void);
/* Lets others run. */
void sim_yield(void);
/* Lets others run until each of them waits for something: then none has a lock, and fl_vm_check may look. */
void sim_settle(void);
/* fl_vm_check at such a moment, and nobody else runs while it looks: the daemons have timers and transfers. */
void sim_vm_check(void);
/* Lets simulated time pass: others run meanwhile. */
void sim_sleep_ns(uint64_t ns);

/* ---- what a program on the simulated CPU does --------------------------------------------------------- */

/*
 * Loads [va, va + len_bytes), page after page. Returns 0 or what a program would die of: -EFAULT, -EACCES
 * (SIGSEGV), -ENXIO, -EIO (SIGBUS), -ENOMEM. *done (may be NULL): bytes loaded, also on failure. Not atomic:
 * others may run between any two bytes.
 */
FL_NODISCARD int sim_load(struct vm_map *map, vm_offset_t va, void *buf, size_t len_bytes, size_t *done);
FL_NODISCARD int sim_store(struct vm_map *map, vm_offset_t va, const void *buf, size_t len_bytes,
                           size_t *done);
/* An atomic add to the aligned 64-bit word at va; *old (may be NULL) is what it was. */
FL_NODISCARD int sim_fetch_add(struct vm_map *map, vm_offset_t va, uint64_t add, uint64_t *old);
/* Fetches an instruction byte: needs VM_PROT_EXECUTE. */
FL_NODISCARD int sim_execute(struct vm_map *map, vm_offset_t va);

/* ---- looking inside ----------------------------------------------------------------------------------- */

struct sim_attachment {
    vm_offset_t start, end; /* the range as the machine knows it */
    vm_prot_t prot;
    void *object;       /* struct vm_object.machine */
    vm_pindex_t pindex; /* of `start` */
};
/* The range that contains va or, if none does, false. A7's other side. */
FL_NODISCARD bool sim_attached(struct machine_space *space, vm_offset_t va,
                               struct sim_attachment *attachment);
/* The first one that ends after va; false: none. */
FL_NODISCARD bool sim_attached_next(struct machine_space *space, vm_offset_t va,
                                    struct sim_attachment *attachment);
/* The frame mapped at va, its rights, and whether it is wired. False: none is. Changes nothing. */
FL_NODISCARD bool sim_mapped(struct machine_space *space, vm_offset_t va, vm_frame_t *frame, vm_prot_t *prot,
                             bool *wired);
/* How many page-table entries have the frame. */
FL_NODISCARD uint32_t sim_frame_mappings(vm_frame_t frame);
/* The frame's bytes, as a logic analyser would see them. */
uint8_t *sim_frame(vm_frame_t frame);

#endif
