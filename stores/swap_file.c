/*
 * swap_file.c: making an unnamed file to swap to.
 *
 *   O_TMPFILE ─ not supported ─▶ a random name, O_EXCL ─▶ unlink
 *      └──────────────┬────────────────────────────────────┘
 *                     ▼
 *   ftruncate to its full length ─▶ fl_store_file, which opens it anew by /proc/self/fd
 *
 * The limit on file sizes is asked first: ftruncate beyond it would send SIGXFSZ to the program.
 *
 * Lock: none. Does not do: which pages are where (the swap pager), encryption, several files.
 */
#include "swap_file.h"
#include "linux_fd.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <faultline/types.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define NAME_TRIES     16 /* random names of 64 bits; or how often a given name is tried */
#define PLACE_PAUSE_NS 1000000

static int open_named(const char *dir)
{
    char path[4096];
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        uint64_t name;
        long n = linux_syscall(SYS_getrandom, &name, sizeof name, 0);
        if (n != (long)sizeof name)
            return n < 0 ? (int)n : -EAGAIN;
        n = snprintf(path, sizeof path, "%s/.faultline-swap-%016llx", dir, (unsigned long long)name);
        if (n >= (long)sizeof path)
            return -ENAMETOOLONG;
        long fd = linux_syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd == -EEXIST)
            continue;
        if (fd >= 0)
            linux_syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        return (int)fd;
    }
    return -EEXIST;
}

static int open_unnamed(const char *dir)
{
    long fd = linux_syscall(SYS_openat, AT_FDCWD, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd == -EOPNOTSUPP || fd == -EISDIR) /* EISDIR: the file system is of a kernel without O_TMPFILE */
        return open_named(dir);
    return (int)fd;
}

/* The file gets its length, which needs no space. */
static int set_length(int fd, uint64_t len_bytes)
{
    struct rlimit limit;
    int error = (int)linux_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit);
    if (error != 0)
        return error;
    if (len_bytes > limit.rlim_cur)
        return -EFBIG;
    do {
        error = (int)linux_syscall(SYS_ftruncate, fd, len_bytes);
    } while (error == -EINTR);
    return error;
}

/* A process that runs beside this one may have made a file of that name, and is about to remove it. */
static int open_place(const char *place)
{
    int fd = open_unnamed(place);
    if (fd != -ENOENT && fd != -ENOTDIR)
        return fd;
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        fd = (int)linux_syscall(SYS_openat, AT_FDCWD, place, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            linux_syscall(SYS_unlinkat, AT_FDCWD, place, 0);
        if (fd != -EEXIST)
            break;
        struct timespec pause = {.tv_nsec = PLACE_PAUSE_NS};
        linux_syscall(SYS_nanosleep, &pause, NULL);
    }
    return fd;
}

const char *swap_file_dir(void)
{
    const char *dir = secure_getenv("TMPDIR");
    return dir != NULL && *dir != '\0' ? dir : "/var/tmp";
}

/* The open file becomes a store; an error in its place is returned. */
static int swap_file_make(int fd, uint64_t len_bytes, struct store **store)
{
    if (fd < 0)
        return fd;
    int error = set_length(fd, len_bytes);
    if (error == 0)
        error = fl_store_file(fd, store);
    linux_syscall(SYS_close, fd);
    return error;
}

static int check_length(uint64_t len_bytes)
{
    if (len_bytes == 0 || (len_bytes & VM_PAGE_MASK) != 0)
        return -EINVAL;
    return len_bytes > INT64_MAX ? -EFBIG : 0;
}

int swap_file_open(const char *dir, uint64_t len_bytes, struct store **store)
{
    int error = check_length(len_bytes);
    return error != 0 ? error : swap_file_make(open_unnamed(dir), len_bytes, store);
}

int swap_file_open_at(const char *place, uint64_t len_bytes, struct store **store)
{
    int error = check_length(len_bytes);
    return error != 0 ? error : swap_file_make(open_place(place), len_bytes, store);
}
