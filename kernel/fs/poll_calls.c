/*
 * poll_calls.c: the system calls that wait for several files: poll and select. (epoll.c and eventfd.c have
 * theirs.)
 *
 *   sys_poll, sys_ppoll ─▶ pollfds in the kernel ─┐
 *   sys_select, sys_pselect6 ─▶ bits ─▶ pollfds ──┴▶ poll_files: scan, sleep, scan again ─▶ back
 *
 * select is poll with other clothes: each descriptor in a set becomes a pollfd.
 */
#include "fs/fs_calls.h"

#include "fs/poll.h"
#include "kernel.h"
#include "kmem.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#include <asm/poll.h>
#include <linux/errno.h>

#define POLL_FAST  16 /* pollfds that need no memory of the heap */
#define POLL_MAX   65536
#define SELECT_MAX 65536
#define WORD_BITS  64

#define SELECT_IN  (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define SELECT_OUT (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define SELECT_EX  POLLPRI

/* ---- the wait ------------------------------------------------------------------------------------------ */

/* Returns how many have something to tell. */
static int poll_scan(struct pollfd *fds, uint32_t nfds)
{
    int ready = 0;

    for (uint32_t i = 0; i < nfds; i++) {
        struct file *file;
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        bool referenced = fdget(fds[i].fd, &file);
        if (file == NULL) {
            fds[i].revents = POLLNVAL;
        } else {
            fds[i].revents = (short)file_poll(file, (unsigned short)fds[i].events);
            fdput(file, referenced);
        }
        ready += fds[i].revents != 0;
    }
    return ready;
}

/* Returns how many are ready; 0 at the deadline. Errors: -ERESTARTNOHAND. */
static int poll_files(struct pollfd *fds, uint32_t nfds, uint64_t deadline_ns)
{
    int ready = poll_scan(fds, nfds), error = 0;

    if (ready > 0 || deadline_ns == 0)
        return ready;
    poll_begin();
    for (;;) { /* each turn follows a change */
        uint32_t seen = poll_seen();
        ready = poll_scan(fds, nfds);
        if (ready > 0 || error != 0)
            break;
        error = poll_sleep(seen, deadline_ns);
    }
    poll_end();
    if (ready > 0 || error == -ETIMEDOUT)
        return ready;
    return -ERESTARTNOHAND;
}

int poll_mask_begin(uint64_t user, uint64_t len_bytes)
{
    struct thread *td = curthread();
    sigset mask;

    if (user == 0)
        return 0;
    if (len_bytes != sizeof(mask))
        return -EINVAL;
    int error = copyin(user, &mask, sizeof(mask));
    if (error != 0)
        return error;
    machine_lock(&proc_lock);
    td->td_oldmask = td->td_sigmask;
    td->td_restoremask = true;
    td->td_sigmask = mask & ~SIGSET_UNBLOCKABLE;
    machine_unlock(&proc_lock);
    return 0;
}

void poll_mask_end(uint64_t user, bool interrupted)
{
    struct thread *td = curthread();

    if (user == 0 || interrupted)
        return;
    machine_lock(&proc_lock);
    td->td_sigmask = td->td_oldmask;
    td->td_restoremask = false;
    machine_unlock(&proc_lock);
}

/* ---- poll ---------------------------------------------------------------------------------------------- */

static int64_t poll_user(uint64_t user, uint64_t nfds, uint64_t deadline_ns)
{
    struct pollfd fast[POLL_FAST], *fds = fast;
    size_t len_bytes = nfds * sizeof(fds[0]);

    if (nfds > POLL_MAX)
        return -EINVAL;
    if (nfds > POLL_FAST && (fds = kmalloc(len_bytes)) == NULL)
        return -ENOMEM;
    int error = copyin(user, fds, len_bytes);
    int result = error != 0 ? error : poll_files(fds, (uint32_t)nfds, deadline_ns);
    if (error == 0)
        error = copyout(fds, user, len_bytes);
    if (fds != fast)
        kfree(fds);
    return error != 0 ? error : result;
}

int64_t sys_poll(const uint64_t arg[6])
{
    int timeout_ms = (int)arg[2];
    uint64_t deadline = timeout_ms < 0    ? UINT64_MAX
                        : timeout_ms == 0 ? 0
                                          : deadline_after((uint64_t)timeout_ms * 1000000);

    return poll_user(arg[0], (uint32_t)arg[1], deadline);
}

/* *deadline_ns: 0 for a timeout of 0; UINT64_MAX without one. */
static int timeout_copyin(uint64_t user, uint64_t *deadline_ns)
{
    uint64_t ns;

    *deadline_ns = UINT64_MAX;
    if (user == 0)
        return 0;
    int error = timespec_copyin(user, &ns);
    if (error == 0)
        *deadline_ns = ns == 0 ? 0 : deadline_after(ns);
    return error;
}

/* Tells how much of the time was left, as Linux does. */
static int timeout_copyout(uint64_t user, uint64_t deadline_ns)
{
    uint64_t now = machine_time_ns();

    if (user == 0 || deadline_ns == UINT64_MAX)
        return 0;
    return timespec_copyout(user, deadline_ns > now ? deadline_ns - now : 0);
}

int64_t sys_ppoll(const uint64_t arg[6])
{
    uint64_t deadline;
    int error = timeout_copyin(arg[2], &deadline);

    if (error == 0)
        error = poll_mask_begin(arg[3], arg[4]);
    if (error != 0)
        return error;
    int64_t result = poll_user(arg[0], (uint32_t)arg[1], deadline);
    poll_mask_end(arg[3], result == -ERESTARTNOHAND);
    error = timeout_copyout(arg[2], deadline);
    return error != 0 && result >= 0 ? error : result;
}

/* ---- select -------------------------------------------------------------------------------------------- */

/* The three sets of a select, each `words` long. */
struct select {
    uint64_t user[3];
    uint64_t *set[3];
    uint32_t nfds, words;
};

static const unsigned select_events[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};

static bool bit_is_set(const uint64_t *set, uint32_t i)
{
    return set[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static int select_copyin(struct select *s)
{
    int error = 0;

    for (int i = 0; i < 3 && error == 0; i++)
        if (s->user[i] != 0)
            error = copyin(s->user[i], s->set[i], s->words * sizeof(uint64_t));
    return error;
}

/* The descriptors that are in a set, as pollfds. Returns how many. */
static uint32_t select_pollfds(const struct select *s, struct pollfd *fds)
{
    uint32_t n = 0;

    for (uint32_t fd = 0; fd < s->nfds; fd++) {
        unsigned events = 0;
        for (int i = 0; i < 3; i++)
            events |= bit_is_set(s->set[i], fd) ? select_events[i] : 0;
        if (events != 0)
            fds[n++] = (struct pollfd){.fd = (int)fd, .events = (short)events};
    }
    return n;
}

/* The sets become what is ready. Returns how many bits. Errors: -EBADF. */
static int select_results(struct select *s, const struct pollfd *fds, uint32_t n)
{
    int bits = 0;

    for (uint32_t j = 0; j < n; j++) {
        uint32_t fd = (uint32_t)fds[j].fd;
        if (fds[j].revents & POLLNVAL)
            return -EBADF;
        for (int i = 0; i < 3; i++) {
            if (!bit_is_set(s->set[i], fd))
                continue;
            if ((unsigned short)fds[j].revents & select_events[i])
                bits++;
            else
                s->set[i][fd / WORD_BITS] &= ~(UINT64_C(1) << (fd % WORD_BITS));
        }
    }
    return bits;
}

static int64_t select_files(struct select *s, struct pollfd *fds, uint64_t deadline_ns)
{
    int error = select_copyin(s);

    if (error != 0)
        return error;
    uint32_t n = select_pollfds(s, fds);
    int result = poll_files(fds, n, deadline_ns);
    if (result < 0)
        return result;
    result = select_results(s, fds, n);
    for (int i = 0; i < 3 && error == 0 && result >= 0; i++)
        if (s->user[i] != 0)
            error = copyout(s->set[i], s->user[i], s->words * sizeof(uint64_t));
    return error != 0 ? error : result;
}

static int64_t select_user(const uint64_t arg[6], uint64_t deadline_ns)
{
    struct select s = {.user = {arg[1], arg[2], arg[3]}, .nfds = (uint32_t)arg[0]};

    if ((int)arg[0] < 0)
        return -EINVAL;
    s.nfds = s.nfds < SELECT_MAX ? s.nfds : SELECT_MAX;
    s.words = (s.nfds + WORD_BITS - 1) / WORD_BITS;
    uint64_t *sets = kmalloc(3 * s.words * sizeof(uint64_t) + s.nfds * sizeof(struct pollfd) + 1);
    if (sets == NULL)
        return -ENOMEM;
    for (int i = 0; i < 3; i++)
        s.set[i] = sets + (uint32_t)i * s.words;
    int64_t result = select_files(&s, (struct pollfd *)(sets + 3 * s.words), deadline_ns);
    kfree(sets);
    return result;
}

int64_t sys_select(const uint64_t arg[6])
{
    uint64_t deadline = UINT64_MAX;
    int64_t time[2]; /* seconds, microseconds */
    int error = 0;

    if (arg[4] != 0) {
        error = copyin(arg[4], time, sizeof(time));
        if (error != 0)
            return error;
        if (time[0] < 0 || time[1] < 0)
            return -EINVAL;
        uint64_t us = (uint64_t)time[0] < 1000000000 ? (uint64_t)time[0] * 1000000 + (uint64_t)time[1] : 0;
        deadline = time[0] >= 1000000000 ? UINT64_MAX : us == 0 ? 0 : deadline_after(us * 1000);
    }
    int64_t result = select_user(arg, deadline);
    if (arg[4] != 0 && deadline != UINT64_MAX) {
        uint64_t now = machine_time_ns(), left = deadline > now ? (deadline - now) / 1000 : 0;
        time[0] = (int64_t)(left / 1000000);
        time[1] = (int64_t)(left % 1000000);
        error = copyout(time, arg[4], sizeof(time));
    }
    return error != 0 && result >= 0 ? error : result;
}

int64_t sys_pselect6(const uint64_t arg[6])
{
    uint64_t mask[2] = {0, 0}; /* the sixth argument: address and length */
    uint64_t deadline;
    int error = arg[5] != 0 ? copyin(arg[5], mask, sizeof(mask)) : 0;

    if (error == 0)
        error = timeout_copyin(arg[4], &deadline);
    if (error == 0)
        error = poll_mask_begin(mask[0], mask[1]);
    if (error != 0)
        return error;
    int64_t result = select_user(arg, deadline);
    poll_mask_end(mask[0], result == -ERESTARTNOHAND);
    error = timeout_copyout(arg[4], deadline);
    return error != 0 && result >= 0 ? error : result;
}
