/*
 * poll.c: waiting until some file's answer changes.
 */
#include "fs/poll.h"

#include "proc/sleep.h"

#include <asm/poll.h>
#include <linux/errno.h>

static struct machine_lock poll_lock;
static uint32_t changes FL_GUARDED_BY(poll_lock); /* its address is the channel */
static _Atomic uint32_t pollers;

void poll_wake(void)
{
    if (atomic_load_explicit(&pollers, memory_order_relaxed) == 0)
        return;
    machine_lock(&poll_lock);
    changes++;
    machine_unlock(&poll_lock);
    machine_wake(&pollers);
}

void poll_begin(void)
{
    /* Whoever changes a file does so under the file's lock. Either this file is asked later, and says so, or
     * the change comes after this count. */
    atomic_fetch_add(&pollers, 1);
}

void poll_end(void)
{
    atomic_fetch_sub(&pollers, 1);
}

uint32_t poll_seen(void)
{
    machine_lock(&poll_lock);
    uint32_t seen = changes;
    machine_unlock(&poll_lock);
    return seen;
}

int poll_sleep(uint32_t seen, uint64_t deadline_ns)
{
    int error = 0;

    machine_lock(&poll_lock);
    while (error == 0 && changes == seen)
        error = sleep_interruptible(&pollers, &poll_lock, deadline_ns);
    machine_unlock(&poll_lock);
    return error;
}

unsigned file_poll(struct file *file, unsigned events)
{
    unsigned now =
        file->ops->poll != NULL ? file->ops->poll(file) : POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

    return now & (events | POLLERR | POLLHUP);
}
