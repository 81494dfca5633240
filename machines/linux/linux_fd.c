/*
 * linux_fd.c: our own descriptors in a process that is the program's (linux_fd.h).
 *
 *   linux_fd_close ─▶ /proc/locks: has this process record locks on that inode?
 *                       no ─▶ close          yes ─▶ parked ─▶ parked ─▶ NULL   each close looks at them again
 *
 * The numbers of our descriptors:
 *
 *      0 …            soft limit ……………………………………… hard limit
 *      | the program's | ours: the limit is raised for the moment that it takes to get one |
 *
 * A descriptor stays valid when the limit falls below it. So the limit that the program reads, that its
 * children inherit, and that its own open(2) meets is always its own. Where the two limits are equal, or the
 * soft limit is so high that the kernel's table would become large, ours begin amid the program's.
 *
 * SQLite, for one, sets record locks on the very file that it maps. With the kernel's mapping, munmap leaves
 * these locks alone, so it must here. While the program sets one through libc nothing is closed
 * (linux_fd_locking). A lock that it sets in another way, between the look and the close, is lost: the kernel
 * offers nothing that is free of that race. A child that another thread starts by vfork or posix_spawn in the
 * microsecond in which the limit is raised inherits the raised limit.
 *
 * Locks: fds_lock guards the parked descriptors; linux_fd_limit orders the changes of the limit on open
 * files, and comes first. Only the kernel is called with them held. Callers have signals blocked.
 */
#include "linux_fd.h"
#include "linux_pool.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/machine.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FD_MARKED      (1 << 20) /* descriptors from here on are not ours */
#define FD_LOWEST_MOST 65536     /* the kernel's table is not made larger than this */
#define FD_LOWEST_AMID 4096      /* where ours begin amid the program's */
#define LOCKS_BYTES    4096      /* a page: one read of /proc/locks returns no more */

static struct machine_lock fds_lock;

struct parked_fd {
    struct parked_fd *next FL_GUARDED_BY(fds_lock);
    int fd;
};

static struct {
    struct parked_fd *parked FL_GUARDED_BY(fds_lock);
    /* Each side writes its own field before it reads the other's, so one of the two sees the other. */
    _Atomic uint32_t takers; /* calls of the program that are setting record locks */
    _Atomic bool closing;    /* a thread looks for record locks, and closes descriptors without one */
} fds;

struct machine_lock linux_fd_limit;
static _Atomic uint64_t fd_mark[FD_MARKED / 64];

bool linux_fd_is_ours(int fd)
{
    return fd >= 0 && fd < FD_MARKED && (fd_mark[fd / 64] >> fd % 64 & 1) != 0;
}

void linux_fd_mark(int fd)
{
    if (fd >= 0 && fd < FD_MARKED)
        fd_mark[fd / 64] |= (uint64_t)1 << fd % 64;
}

/* The mark is removed first: as soon as the descriptor is closed the program may get its number. */
static void fd_close(int fd)
{
    if (fd >= 0 && fd < FD_MARKED)
        fd_mark[fd / 64] &= ~((uint64_t)1 << fd % 64);
    linux_syscall(SYS_close, fd);
}

void linux_fd_lost(void)
{
    machine_panic(
        "the program closed descriptors that it did not open, past libc's names: mapped files are lost");
}

int linux_fd_next_ours(int from)
{
    for (int fd = from < 0 ? 0 : from; fd < FD_MARKED; fd++) {
        uint64_t marks = fd_mark[fd / 64] >> fd % 64;
        if (marks != 0)
            return fd + __builtin_ctzll(marks);
        fd |= 63;
    }
    return -1;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

void linux_fd_limit_lock(void)
{
    machine_lock(&linux_fd_limit);
}

void linux_fd_limit_unlock(void)
{
    machine_unlock(&linux_fd_limit);
}

/* Raises the soft limit to the hard one until limit_restore. Returns the lowest number for ours. */
static int limit_raise(struct rlimit *own) FL_ACQUIRE(linux_fd_limit)
{
    linux_fd_limit_lock();
    if (linux_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, own) != 0)
        *own = (struct rlimit){0, 0};
    if (own->rlim_cur < own->rlim_max) {
        struct rlimit most = {own->rlim_max, own->rlim_max};
        linux_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &most, NULL);
        if (own->rlim_cur <= FD_LOWEST_MOST)
            return (int)own->rlim_cur;
    }
    return own->rlim_cur / 2 < FD_LOWEST_AMID ? (int)(own->rlim_cur / 2) : FD_LOWEST_AMID;
}

static void limit_restore(const struct rlimit *own) FL_RELEASE(linux_fd_limit)
{
    if (own->rlim_cur < own->rlim_max)
        linux_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, own, NULL);
    linux_fd_limit_unlock();
}

/* Duplicates fd to a number >= lowest, or to any. */
static int dup_above(int fd, int lowest) FL_REQUIRES(linux_fd_limit)
{
    long copy = linux_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest);
    if (copy < 0) /* all of those numbers are taken */
        copy = linux_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= FD_MARKED) {
        linux_syscall(SYS_close, copy);
        copy = -EMFILE;
    }
    linux_fd_mark((int)copy);
    return (int)copy;
}

int linux_fd_dup(int fd)
{
    struct rlimit own;
    int lowest = limit_raise(&own);
    int copy = dup_above(fd, lowest);
    limit_restore(&own);
    return copy;
}

/* Opens fd's file anew. The raised limit helps: the program may have used up its own. */
static int reopen_above(int fd, int flags, int lowest) FL_REQUIRES(linux_fd_limit)
{
    char path[32] = "/proc/self/fd/", digits[12];
    size_t n = __builtin_strlen(path), d = 0;
    for (int rest = fd; d == 0 || rest != 0; rest /= 10)
        digits[d++] = (char)('0' + rest % 10);
    while (d > 0)
        path[n++] = digits[--d];
    path[n] = 0;
    int low = (int)linux_syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC);
    if (low < 0)
        return low;
    int high = low < lowest ? dup_above(low, lowest) : -EMFILE;
    if (high < 0) {
        linux_fd_mark(low);
        return low;
    }
    linux_fd_close(low);
    return high;
}

int linux_fd_reopen(int fd, int flags)
{
    struct rlimit own;
    int lowest = limit_raise(&own);
    int again = reopen_above(fd, flags, lowest);
    limit_restore(&own);
    return again;
}

/* ---- record locks -------------------------------------------------------------------------------------- */

/* Returns the number at *at, and moves *at behind it. */
static uint64_t parse_number(const char **at)
{
    uint64_t value = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        value = value * 10 + (uint64_t)(**at - '0');
    return value;
}

static void skip_word(const char **at)
{
    while (**at != ' ' && **at != 0)
        (*at)++;
    while (**at == ' ')
        (*at)++;
}

/*
 * Whether a line such as "1: POSIX  ADVISORY  WRITE 4242 fd:00:131 0 EOF" is a record lock of process pid on
 * the inode. The device is not compared: some file systems show another one in stat, and a false match only
 * parks a descriptor. The line of a waiter begins with "->" and does not match: it has no lock yet.
 */
static bool lock_line_matches(const char *line, uint64_t pid, uint64_t inode)
{
    skip_word(&line);
    if (__builtin_strncmp(line, "POSIX ", 6) != 0)
        return false;
    skip_word(&line);
    skip_word(&line);
    skip_word(&line);
    if (parse_number(&line) != pid)
        return false;
    for (int colons = 0; colons < 2 && *line != 0; line++)
        colons += *line == ':';
    return parse_number(&line) == inode;
}

/*
 * Whether this process has a record lock on the inode. Where /proc/locks cannot be read, the answer is no.
 * One read shows a single moment; where it takes several reads, locks that other processes set and drop in
 * between may hide ours, so the answer is yes.
 */
static bool process_has_record_lock(uint64_t inode)
{
    char text[LOCKS_BYTES];
    uint64_t pid = (uint64_t)linux_syscall(SYS_getpid);
    long fd = linux_syscall(SYS_openat, AT_FDCWD, "/proc/locks", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    long got = linux_syscall(SYS_read, fd, text, sizeof(text) - 1), more = 0;
    if (got > 0)
        more = linux_syscall(SYS_read, fd, text + got, sizeof(text) - 1 - (size_t)got);
    linux_syscall(SYS_close, fd);
    if (more > 0 || got == sizeof(text) - 1)
        return true;
    if (got <= 0)
        return false;
    text[got] = 0;
    bool found = false;
    for (char *line = text; !found && *line != 0;) {
        char *end = line;
        while (*end != 0 && *end != '\n')
            end++;
        bool last = *end == 0;
        *end = 0;
        found = lock_line_matches(line, pid, inode);
        line = last ? end : end + 1;
    }
    return found;
}

/* Whether closing fd would lose a record lock of the program. */
static bool must_stay_open(int fd) FL_REQUIRES(fds_lock)
{
    struct stat st;
    return linux_syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) &&
           process_has_record_lock(st.st_ino);
}

/* ---- closing ------------------------------------------------------------------------------------------- */

/* Closes the parked descriptors whose locks are gone. */
static void parked_reap(void) FL_REQUIRES(fds_lock)
{
    for (struct parked_fd **link = &fds.parked; *link != NULL;) {
        struct parked_fd *parked = *link;
        if (must_stay_open(parked->fd)) {
            link = &parked->next;
            continue;
        }
        fd_close(parked->fd);
        *link = parked->next;
        linux_pool_free(parked);
    }
}

void linux_fd_close(int fd)
{
    machine_lock(&fds_lock);
    atomic_store(&fds.closing, true);
    bool may_close = atomic_load(&fds.takers) == 0;
    if (may_close)
        parked_reap();
    if (may_close && !must_stay_open(fd)) {
        fd_close(fd);
    } else {
        struct parked_fd *parked = linux_pool_alloc();
        if (parked != NULL) { /* otherwise it stays open for good: the lesser evil */
            parked->fd = fd;
            parked->next = fds.parked;
            fds.parked = parked;
        }
    }
    atomic_store(&fds.closing, false);
    machine_unlock(&fds_lock);
}

void linux_fd_locking(bool begins)
{
    atomic_fetch_add(&fds.takers, begins ? 1 : UINT32_MAX);
    while (begins && atomic_load(&fds.closing)) /* for a few system calls */
        linux_syscall(SYS_sched_yield);
}
