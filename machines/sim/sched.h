/*
 * sched.h: fibers and the scheduler that draws every choice from the seed.
 *
 *            sim_run               lock taken              machine_wait
 *   (new) ─────────▶ RUNNABLE ─▶ RUNNING ───────▶ LOCKING   SLEEPING ──wake, deadline──▶ RUNNABLE
 *                        ▲          │ preempted       │ handed over by machine_unlock
 *                        └──────────┴─────────────────┘
 *
 * When nothing can run, the clock jumps to the next deadline; when there is none either, that is a deadlock:
 * panic with a list of who waits for what.
 */
#ifndef MACHINES_SIM_SCHED_H
#define MACHINES_SIM_SCHED_H

#include "computer.h"

struct fiber;

/* The entry of every machine_* call, load and store: time passes, and others may run. */
void sim_preempt(void);
/* Others run until chan is woken or the deadline passes; without a lock, for the machine's own parts. */
void sched_sleep(const void *chan, uint64_t deadline_ns);
void sched_wake(const void *chan);
/* A fiber of the machine's own: sim_join_all does not wait for it. */
struct fiber *sched_daemon(const char *name, void (*fn)(void *arg), void *arg);
/* Waits for its end. */
void sched_join(struct fiber *fiber);
/* All memory of ended fibers; none but fiber 0 is left. */
void sched_reset(void);
/* Which CPU the caller runs on. */
uint32_t sched_cpu(void);
/* Panics if the calling fiber holds a lock: `what` may sleep (C3). */
void sched_assert_no_locks(const char *what);
/* Prints all fibers and what they wait for. */
void sched_dump(void);

#endif
