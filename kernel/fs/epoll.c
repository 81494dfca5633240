/*
 * epoll.c: a set of files that are waited for together (epoll(7)).
 *
 *   epoll file ─▶ item: descriptor, file, events, data ─▶ item …       each wait asks all files of the set
 *
 * An item leaves the set when its file is closed for good, which the set notices when it asks: it has a
 * reference, and drops it when no one else has one.
 *
 * Edge-triggered items are told again only after their answer has changed, or was found empty, or after some
 * file of the system has changed: so a program may be told once more than Linux would.
 *
 * Lock: (EP) epoll->lock, a sleep lock, held while the files are asked. Before their locks.
 * Does not do: sets that contain sets.
 */
#include "fs/fs_calls.h"

#include "fs/poll.h"
#include "kmem.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>

#define EVENTS_FLAGS (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP)
#define EVENTS_MAX   ((int)(INT32_MAX / sizeof(struct epoll_event)))
#define EVENTS_BATCH 32 /* that one wait tells at most */

struct item {
    struct item *next; /* (EP) */
    int fd;
    struct file *file; /* with a reference */
    uint32_t events;
    uint64_t data;
    unsigned told;      /* edge-triggered: what was told last */
    uint32_t told_seen; /* … and poll_seen() then */
    bool disabled;      /* EPOLLONESHOT has told */
};

struct epoll {
    struct sleep_lock lock;
    struct item *items;     /* (EP) */
    struct item *told_last; /* (EP) the next wait begins behind it, so that all get their turn */
};

static const struct file_ops epoll_ops;

/* ---- items, (EP) --------------------------------------------------------------------------------------- */

static struct item **item_link(struct epoll *epoll, int fd, const struct file *file)
{
    struct item **link = &epoll->items;

    while (*link != NULL && !((*link)->fd == fd && (*link)->file == file))
        link = &(*link)->next;
    return link;
}

static void item_remove(struct epoll *epoll, struct item **link)
{
    struct item *item = *link;

    *link = item->next;
    if (epoll->told_last == item)
        epoll->told_last = NULL;
    fput(item->file);
    kfree(item);
}

/* Files that nobody has open any more leave the set. */
static void items_clean(struct epoll *epoll)
{
    struct item **link = &epoll->items;

    while (*link != NULL) {
        if (atomic_load(&(*link)->file->refs) == 1)
            item_remove(epoll, link);
        else
            link = &(*link)->next;
    }
}

static int item_add(struct epoll *epoll, int fd, struct file *file, const struct epoll_event *event)
{
    struct item *item = kmalloc(sizeof(*item));

    if (item == NULL)
        return -ENOMEM;
    *item = (struct item){
        .next = epoll->items, .fd = fd, .file = file_ref(file), .events = event->events, .data = event->data};
    epoll->items = item;
    return 0;
}

/* Returns the events to tell of the item; 0: none. */
static unsigned item_poll(struct item *item, uint32_t seen)
{
    unsigned now = item->disabled ? 0 : file_poll(item->file, item->events & ~(uint32_t)EVENTS_FLAGS);

    if (now == 0 || ((item->events & EPOLLET) && now == item->told && item->told_seen == seen)) {
        item->told = now;
        return 0;
    }
    item->told = now;
    item->told_seen = seen;
    item->disabled = (item->events & EPOLLONESHOT) != 0;
    return now;
}

/* ---- epoll_ctl ----------------------------------------------------------------------------------------- */

static int control(struct epoll *epoll, int operation, int fd, struct file *file,
                   const struct epoll_event *event)
{
    items_clean(epoll);
    struct item **link = item_link(epoll, fd, file);
    bool there = *link != NULL;

    switch (operation) {
    case EPOLL_CTL_ADD:
        return there ? -EEXIST : item_add(epoll, fd, file, event);
    case EPOLL_CTL_DEL:
        if (there)
            item_remove(epoll, link);
        return there ? 0 : -ENOENT;
    case EPOLL_CTL_MOD:
        if (!there)
            return -ENOENT;
        (*link)->events = event->events;
        (*link)->data = event->data;
        (*link)->told = 0;
        (*link)->disabled = false;
        return 0;
    default:
        return -EINVAL;
    }
}

/* The set of the descriptor, with a reference to its file. Errors: -EBADF, -EINVAL. */
static int epoll_get(int epfd, struct file **file)
{
    int error = fget(epfd, file);

    if (error != 0 || (*file)->ops == &epoll_ops)
        return error;
    fput(*file);
    return -EINVAL;
}

int64_t sys_epoll_ctl(const uint64_t arg[6])
{
    struct epoll_event event = {0};
    struct file *set, *file;
    int operation = (int)arg[1];
    int error = operation != EPOLL_CTL_DEL ? copyin(arg[3], &event, sizeof(event)) : 0;

    if (error == 0)
        error = epoll_get((int)arg[0], &set);
    if (error != 0)
        return error;
    error = fget((int)arg[2], &file);
    if (error == 0) {
        struct epoll *epoll = set->private;
        if (file->ops->poll == NULL)
            error = -EPERM; /* regular files and directories are always ready */
        else if (file->ops == &epoll_ops)
            error = file == set ? -EINVAL : -ELOOP;
        if (error == 0) {
            sleep_lock(&epoll->lock);
            error = control(epoll, operation, (int)arg[2], file, &event);
            sleep_unlock(&epoll->lock);
            poll_wake(); /* who waits for the set looks at its new item */
        }
        fput(file);
    }
    fput(set);
    return error;
}

/* ---- epoll_wait ---------------------------------------------------------------------------------------- */

/* Fills events. Returns how many; at most max. */
static int epoll_scan(struct epoll *epoll, struct epoll_event *events, int max, uint32_t seen)
{
    int n = 0;

    sleep_lock(&epoll->lock);
    items_clean(epoll);
    struct item *first =
        epoll->told_last != NULL && epoll->told_last->next != NULL ? epoll->told_last->next : epoll->items;
    struct item *item = first;
    while (item != NULL && n < max) {
        unsigned now = item_poll(item, seen);
        if (now != 0) {
            events[n++] = (struct epoll_event){.events = now, .data = item->data};
            epoll->told_last = item;
        }
        item = item->next != NULL ? item->next : epoll->items;
        if (item == first)
            break;
    }
    sleep_unlock(&epoll->lock);
    return n;
}

static int epoll_sleep(struct epoll *epoll, struct epoll_event *events, int max, uint64_t deadline_ns)
{
    int n, error = 0;

    poll_begin();
    for (;;) { /* each turn follows a change */
        uint32_t seen = poll_seen();
        n = epoll_scan(epoll, events, max, seen);
        if (n > 0 || error != 0 || deadline_ns == 0)
            break;
        error = poll_sleep(seen, deadline_ns);
    }
    poll_end();
    if (n > 0 || error == 0 || error == -ETIMEDOUT)
        return n;
    return -EINTR; /* never made again, as on Linux */
}

static int64_t epoll_wait_user(int epfd, uint64_t user, int max, uint64_t deadline_ns)
{
    struct epoll_event events[EVENTS_BATCH];
    struct file *set;

    if (max <= 0 || max > EVENTS_MAX)
        return -EINVAL;
    int error = epoll_get(epfd, &set);
    if (error != 0)
        return error;
    int n = epoll_sleep(set->private, events, max < EVENTS_BATCH ? max : EVENTS_BATCH, deadline_ns);
    fput(set);
    if (n <= 0)
        return n;
    error = copyout(events, user, (size_t)n * sizeof(events[0]));
    return error != 0 ? error : n;
}

static uint64_t deadline_of(int timeout_ms)
{
    if (timeout_ms < 0)
        return UINT64_MAX;
    return timeout_ms == 0 ? 0 : deadline_after((uint64_t)timeout_ms * 1000000);
}

int64_t sys_epoll_wait(const uint64_t arg[6])
{
    return epoll_wait_user((int)arg[0], arg[1], (int)arg[2], deadline_of((int)arg[3]));
}

int64_t sys_epoll_pwait(const uint64_t arg[6])
{
    int error = poll_mask_begin(arg[4], arg[5]);

    if (error != 0)
        return error;
    int64_t result = epoll_wait_user((int)arg[0], arg[1], (int)arg[2], deadline_of((int)arg[3]));
    poll_mask_end(arg[4], result == -EINTR);
    return result;
}

int64_t sys_epoll_pwait2(const uint64_t arg[6])
{
    uint64_t ns, deadline = UINT64_MAX;
    int error = arg[3] != 0 ? timespec_copyin(arg[3], &ns) : 0;

    if (error == 0 && arg[3] != 0)
        deadline = ns == 0 ? 0 : deadline_after(ns);
    if (error == 0)
        error = poll_mask_begin(arg[4], arg[5]);
    if (error != 0)
        return error;
    int64_t result = epoll_wait_user((int)arg[0], arg[1], (int)arg[2], deadline);
    poll_mask_end(arg[4], result == -EINTR);
    return result;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static void epoll_close(struct file *file)
{
    struct epoll *epoll = file->private;

    while (epoll->items != NULL)
        item_remove(epoll, &epoll->items);
    kfree(epoll);
}

static unsigned epoll_poll(struct file *file)
{
    struct epoll *epoll = file->private;
    unsigned ready = 0;

    sleep_lock(&epoll->lock);
    for (struct item *item = epoll->items; item != NULL && ready == 0; item = item->next)
        if (!item->disabled && file_poll(item->file, item->events & ~(uint32_t)EVENTS_FLAGS) != 0)
            ready = POLLIN | POLLRDNORM;
    sleep_unlock(&epoll->lock);
    return ready;
}

static const struct file_ops epoll_ops = {
    .poll = epoll_poll,
    .close = epoll_close,
    .type = 0600,
};

static int64_t epoll_create_flags(unsigned flags)
{
    struct epoll *epoll;
    struct file *file;

    if (flags & ~(unsigned)EPOLL_CLOEXEC)
        return -EINVAL;
    epoll = kmalloc(sizeof(*epoll));
    if (epoll == NULL)
        return -ENOMEM;
    int error = file_create(&epoll_ops, O_RDWR, &file);
    if (error != 0) {
        kfree(epoll);
        return error;
    }
    file->private = epoll;
    return fd_install(file, 0, flags & EPOLL_CLOEXEC ? O_CLOEXEC : 0);
}

int64_t sys_epoll_create(const uint64_t arg[6])
{
    return (int)arg[0] <= 0 ? -EINVAL : epoll_create_flags(0);
}

int64_t sys_epoll_create1(const uint64_t arg[6])
{
    return epoll_create_flags((unsigned)arg[0]);
}
