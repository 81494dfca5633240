/*
 * sched.h: the scheduler's inside: what lock.c, thread.c, trap.c and mp.c need of it; thread.h is for all.
 *
 *   run queues ─▶ level 0: threads that came from a sleep; level 1: those that used up their time
 *   sleep queues ─▶ a hash of channels
 *   callouts ─▶ sorted by time; each CPU's timer runs those that are due
 *
 * One spin lock, (S), guards all of it. It is held over a switch: the thread that switches takes it, and the
 * thread that comes releases it. So a thread that is on no CPU while (S) is free has left its stack.
 */
#ifndef MACHINES_X86_64_SCHED_H
#define MACHINES_X86_64_SCHED_H

#include "thread.h"

#define SCHED_SLICE_NS UINT64_C(10000000) /* 10 ms */

extern struct spinlock sched_lock; /* (S) */
extern char boot_stack[];

/* The calling code becomes the first thread, on this stack. */
void sched_init(char *kstack);
/* Time runs, so slices and callouts work. Context: each CPU, interrupts off. */
void sched_start(void);
/* The calling code becomes the CPU's idle thread. */
_Noreturn void sched_idle(void);
/* The idle thread of a CPU that will start. */
FL_NODISCARD struct thread *sched_idle_thread(void);

/* The timer's interrupt, and the one that says that threads are runnable. */
void sched_timer(void);
/* Before user mode: another thread's turn? */
void sched_ast(void);

/* Puts the calling thread to sleep on chan. */
void sched_sleep_locked(const void *chan) FL_REQUIRES(sched_lock);
/* Wakes those that sleep on chan; at most `most`. */
void sched_wake_locked(const void *chan, unsigned most) FL_REQUIRES(sched_lock);
/* Another thread runs. The caller has set its own state. */
void mi_switch(void) FL_REQUIRES(sched_lock);
void sched_enqueue(struct thread *td) FL_REQUIRES(sched_lock);

/* machine_unlock, where (S) is held (lock.c). */
void lock_release_locked(struct machine_lock *lock) FL_REQUIRES(sched_lock);

#endif
