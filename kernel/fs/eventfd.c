/*
 * eventfd.c: a counter that is a file (eventfd(2)).
 *
 *   write: count += n; waits where it would overflow
 *   read:  takes the count, or 1 with EFD_SEMAPHORE; waits at 0
 *
 * Lock: (EV) eventfd->lock.
 */
#include "fs/poll.h"

#include "fs/fs_calls.h"
#include "fs/uio.h"
#include "kmem.h"
#include "proc/sleep.h"

#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

#define EFD_SEMAPHORE 1u
#define COUNT_MAX     (UINT64_MAX - 1)

struct eventfd {
    struct machine_lock lock;
    uint64_t count;   /* (EV) its address is the channel */
    uint32_t waiters; /* (EV) */
    bool semaphore;   /* (c) */
};

static int eventfd_wait(struct eventfd *event, struct file *file) FL_REQUIRES(event->lock)
{
    if (file->flags & O_NONBLOCK)
        return -EAGAIN;
    event->waiters++;
    int error = sleep_interruptible(&event->count, &event->lock, UINT64_MAX);
    event->waiters--;
    return error;
}

static void eventfd_changed(struct eventfd *event) FL_REQUIRES(event->lock)
{
    if (event->waiters > 0)
        machine_wake(&event->count);
    poll_wake();
}

static int64_t eventfd_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct eventfd *event = file->private;
    struct uio uio;
    uint64_t value = 0;
    int error = 0;

    (void)offset;
    uio_init(&uio, iov, niov);
    if (uio.left < sizeof(value))
        return -EINVAL;
    machine_lock(&event->lock);
    while (event->count == 0 && error == 0)
        error = eventfd_wait(event, file);
    if (error == 0) {
        value = event->semaphore ? 1 : event->count;
        event->count -= value;
        eventfd_changed(event);
    }
    machine_unlock(&event->lock);
    if (error == 0)
        error = uio_copyout(&uio, &value, sizeof(value));
    return error != 0 ? error : (int64_t)sizeof(value);
}

static int64_t eventfd_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct eventfd *event = file->private;
    struct uio uio;
    uint64_t value;

    (void)offset;
    uio_init(&uio, iov, niov);
    if (uio.left < sizeof(value))
        return -EINVAL;
    int error = uio_copyin(&uio, &value, sizeof(value));
    if (error == 0 && value == UINT64_MAX)
        error = -EINVAL;
    if (error != 0)
        return error;
    machine_lock(&event->lock);
    while (value > COUNT_MAX - event->count && error == 0)
        error = eventfd_wait(event, file);
    if (error == 0) {
        event->count += value;
        eventfd_changed(event);
    }
    machine_unlock(&event->lock);
    return error != 0 ? error : (int64_t)sizeof(value);
}

static unsigned eventfd_poll(struct file *file)
{
    struct eventfd *event = file->private;

    machine_lock(&event->lock);
    unsigned events =
        (event->count > 0 ? POLLIN | POLLRDNORM : 0) | (event->count < COUNT_MAX ? POLLOUT | POLLWRNORM : 0);
    machine_unlock(&event->lock);
    return events;
}

static void eventfd_close(struct file *file)
{
    kfree(file->private);
}

static const struct file_ops eventfd_ops = {
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .close = eventfd_close,
    .type = 0600,
};

static int64_t eventfd_at(uint64_t count, unsigned flags)
{
    struct eventfd *event;
    struct file *file;

    if (flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    event = kmalloc(sizeof(*event));
    if (event == NULL)
        return -ENOMEM;
    event->count = count;
    event->semaphore = (flags & EFD_SEMAPHORE) != 0;
    int error = file_create(&eventfd_ops, O_RDWR | (flags & O_NONBLOCK), &file);
    if (error != 0) {
        kfree(event);
        return error;
    }
    file->private = event;
    return fd_install(file, 0, flags);
}

int64_t sys_eventfd(const uint64_t arg[6])
{
    return eventfd_at((uint32_t)arg[0], 0);
}

int64_t sys_eventfd2(const uint64_t arg[6])
{
    return eventfd_at((uint32_t)arg[0], (unsigned)arg[1]);
}
