/*
 * sleep.h: a sleep that a signal ends, for system calls that may wait for ever.
 *
 * machine_wait (machine.h) is the sleep that no signal ends. (tsleep with PCATCH, FreeBSD.)
 */
#ifndef KERNEL_PROC_SLEEP_H
#define KERNEL_PROC_SLEEP_H

#include <faultline/machine.h>

/*
 * Not told to programs. The call is made again after the signal,
 *   ERESTART        if no handler ran, or one with SA_RESTART (ERESTARTSYS, Linux);
 *   ERESTARTNOHAND  if no handler ran: poll, sigsuspend, nanosleep, waits with a time limit;
 * and is -EINTR otherwise.
 */
#define ERESTART       85
#define ERESTARTNOHAND 514

/*
 * machine_wait, which also ends when the calling thread has a signal to take. Returns 0, -ETIMEDOUT, or
 * -ERESTART. Callers loop over their condition.
 */
FL_NODISCARD int sleep_interruptible(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
    FL_REQUIRES(lock);

#endif
