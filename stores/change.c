/* change.c: who changed a file (change.h). */
#include "change.h"
#include "linux_syscall.h"

#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#define GRAIN_NS 20000000u /* of the coarsest timer, twice */

static uint64_t stamp_ns(const struct timespec *stamp)
{
    return (uint64_t)stamp->tv_sec * 1000000000u + (uint64_t)stamp->tv_nsec;
}

/* Returns the number at *at, and moves *at behind it and the dot that follows. */
static unsigned version_part(const char **at)
{
    unsigned value = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        value = value * 10 + (unsigned)(**at - '0');
    *at += **at == '.';
    return value;
}

bool file_stamps_are_fine(void)
{
    static _Atomic int known; /* 0: not yet; 1: fine; 2: not */
    struct utsname name;
    if (known == 0) {
        const char *at = name.release;
        unsigned major, minor;
        if (linux_syscall(SYS_uname, &name) != 0)
            return false;
        major = version_part(&at);
        minor = version_part(&at);
        known = major > 6 || (major == 6 && minor >= 13) ? 1 : 2;
    }
    return known == 1;
}

/* Whether the stamp is so young that the next change may get the same one. */
static bool stamp_may_hide(uint64_t ctime_ns)
{
    struct timespec now;
    return !file_stamps_are_fine() && clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0 &&
           stamp_ns(&now) < ctime_ns + GRAIN_NS;
}

/* Remembers st's stamps. */
static void change_see(struct file_change *change, const struct stat *st)
{
    uint64_t ctime_ns = stamp_ns(&st->st_ctim);
    atomic_store(&change->mtime_ns, stamp_ns(&st->st_mtim));
    atomic_store(&change->ctime_ns, stamp_may_hide(ctime_ns) ? 0 : ctime_ns);
}

void file_change_open(struct file_change *change, const struct stat *st)
{
    change_see(change, st);
}

/* Records in `what` whether another program has changed the file, as st shows. over:
 * STORE_OVERWRITTEN or 0. */
static void change_look(struct file_change *change, const struct stat *st, uint32_t over)
{
    uint32_t what = STORE_CHANGED;

    /* An older stamp: another change of ours has ended since st was asked for. */
    if (atomic_load(&change->under_way) != 0 || stamp_ns(&st->st_ctim) <= atomic_load(&change->ctime_ns))
        return;
    /* chmod, rename and the like move st_ctim alone. */
    if (atomic_load(&change->mtime_ns) != stamp_ns(&st->st_mtim))
        what |= STORE_REWRITTEN | over;
    atomic_fetch_or(&change->what, what);
    change_see(change, st);
}

void file_change_begin(struct file_change *change, const struct stat *st)
{
    change_look(change, st, STORE_OVERWRITTEN);
    atomic_fetch_add(&change->under_way, 1);
}

void file_change_end(struct file_change *change, int fd)
{
    struct stat st;
    if (linux_syscall(SYS_fstat, fd, &st) == 0)
        change_see(change, &st);
    atomic_fetch_sub(&change->under_way, 1);
}

int file_change_what(struct file_change *change, int fd, enum store_ask how, unsigned *what)
{
    struct stat st;
    int error = (int)linux_syscall(SYS_fstat, fd, &st);
    if (error != 0)
        return error;
    if (how == STORE_FORGET)
        change_see(change, &st);
    else
        change_look(change, &st, 0);
    *what = how == STORE_LOOK ? atomic_load(&change->what) : atomic_exchange(&change->what, 0);
    if (how == STORE_FORGET)
        *what = 0;
    return 0;
}
