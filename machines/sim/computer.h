/*
 * computer.h: what the parts of the machine sim share: random numbers, the clock, the event hash,
 * and the torture in force.
 *
 *   boot.c        on and off, panic, log          sched.c   fibers, locks, waits      fiber.c  stacks
 *   cpu.c         loads, stores, traps            tlb.c     TLBs
 *   space.c       spaces, mappings                frame.c   physical memory, objects, windows
 *   attachment.c  what is attached where          mm1.c     what the machine enters by itself
 *   disk.c        disks and stores                written.c stores that no page-table entry tells of
 *   highmem.c     memory that is not mapped directly
 *
 * One host thread runs everything and switches fibers only inside sim_preempt and mi_switch, and in what
 * calls them. Code between two such calls is atomic, so these structures need no locks.
 */
#ifndef MACHINES_SIM_COMPUTER_H
#define MACHINES_SIM_COMPUTER_H

#include "sim.h"

struct sim_computer {
    bool on;
    struct sim_params params; /* every default is filled in; `torture` is the one in force */
    struct prng prng;
    uint64_t now_ns;
    uint64_t hash;
    struct sim_stats stats;
};
extern struct sim_computer sim;

enum sim_event {
    EVENT_SWITCH,
    EVENT_LOAD,
    EVENT_STORE,
    EVENT_TRAP,
    EVENT_MAP,
    EVENT_UNMAP,
    EVENT_FORGET,
    EVENT_RELEASE,
    EVENT_TRANSFER,
    EVENT_FAIL,
};

/* Adds an event to the hash. a and b do not depend on host addresses. */
static inline void sim_event(enum sim_event kind, uint64_t a, uint64_t b)
{
    sim.hash = prng_mix(sim.hash ^ ((uint64_t)kind << 56) ^ a) + b + sim.now_ns;
}

/* Panics with a formatted message. */
_Noreturn void sim_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether an injected failure happens now. */
FL_NODISCARD bool sim_strikes(uint32_t *nth, uint32_t permille);
FL_NODISCARD bool sim_fail_map(void);

#endif
