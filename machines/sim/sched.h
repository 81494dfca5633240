/*
 * sched.h: fibers, and the scheduler, which draws every choice from the seed.
 *
 *            sim_run               lock taken              machine_wait
 *   (new) ─────────▶ RUNNABLE ─▶ RUNNING ───────▶ LOCKING   SLEEPING ──wake, deadline──▶ RUNNABLE
 *                        ▲          │ preempted       │ handed over by machine_unlock
 *                        └──────────┴─────────────────┘
 *
 * When no fiber can run, the clock jumps to the next deadline. When there is no deadline either, that is a
 * deadlock: it panics with a list of the fibers and what each waits for.
 */
#ifndef MACHINES_SIM_SCHED_H
#define MACHINES_SIM_SCHED_H

#include "computer.h"

struct fiber;

/* Begins every machine_* call, load and store: time passes, and other fibers may run. */
void sim_preempt(void);
/* Sleeps until chan is woken or the deadline passes. Without a lock: for the machine's own parts. */
void sched_sleep(const void *chan, uint64_t deadline_ns);
void sched_wake(const void *chan);
/* Makes a fiber of the machine's own, for which sim_join_all does not wait. */
struct fiber *sched_daemon(const char *name, void (*fn)(void *arg), void *arg);
/* Waits until the fiber has ended. */
void sched_join(struct fiber *fiber);
/* Frees the memory of ended fibers. Only fiber 0 is left. */
void sched_reset(void);
/* Returns the CPU that the caller runs on. */
uint32_t sched_cpu(void);
/* No other fiber runs until sched_unpin; the calls nest. Panics if the caller sleeps in between. */
void sched_pin(void);
void sched_unpin(void);
/* Panics if the calling fiber holds a lock, or is pinned: `what` may sleep (CO3). */
void sched_assert_no_locks(const char *what);
/* Prints all fibers and what they wait for. */
void sched_dump(void);

#endif
