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

#define NAME_TRIES 16 /* random names of 64 bits */

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

int swap_file_open(const char *dir, uint64_t len_bytes, struct store **store)
{
    if (len_bytes == 0 || (len_bytes & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (len_bytes > INT64_MAX)
        return -EFBIG;
    if (dir == NULL)
        dir = secure_getenv("TMPDIR");
    int fd = open_unnamed(dir != NULL && *dir != '\0' ? dir : "/var/tmp");
    if (fd < 0)
        return fd;
    int error = set_length(fd, len_bytes);
    if (error == 0)
        error = fl_store_file(fd, store);
    linux_syscall(SYS_close, fd);
    return error;
}
