/*
 * sleep.c: the sleep that a signal ends.
 *
 * A signal that was sent before the sleep is seen here; one that comes later, by thread_interrupt, which ends
 * the sleep or keeps it from beginning. kernel_ast forgets old interruptions.
 */
#include "proc/sleep.h"

#include <linux/errno.h>

#include "kernel.h"
#include "proc/proc.h"

int sleep_interruptible(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    int error;

    if (signal_waiting())
        return -ERESTART;
    error = thread_sleep(chan, lock, deadline_ns, true);
    return error == -EINTR ? -ERESTART : error;
}
