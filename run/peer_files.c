/*
 * peer_files.c: which files a process has, as /proc tells (peer_files.h).
 *
 *   peer_may_write ─▶ /proc/PID/fd/N: that inode? ─▶ /proc/PID/fdinfo/N: flags
 *                  └▶ /proc/PID/maps: shared, writable, that inode?     descriptors close, mappings stay
 *   peer_with      ─▶ /proc: each process
 *
 * The registry asks it of a process that once opened the file, or one of the same hash, for
 * writing; watch.c asks it of all processes when a lease shows that the file is open elsewhere.
 */
#include "peer_files.h"
#include "areas.h"
#include "shim.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* struct linux_dirent64 of the kernel. */
struct entry {
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

/* Each entry of a folder that is a number, until visit returns other than 0. Errors: of open(2). */
static int numbers_each(const char *path, int (*visit)(int number, void *arg), void *arg)
{
    _Alignas(8) char entries[4096];
    long got, dir;
    int r = 0;

    dir = linux_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return (int)dir;
    while (r == 0 && (got = linux_syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0) {
        for (long at = 0; r == 0 && at < got; at += ((struct entry *)(entries + at))->len) {
            const char *name = ((struct entry *)(entries + at))->name;

            if (name[0] >= '0' && name[0] <= '9')
                r = visit(atoi(name), arg);
        }
    }
    linux_syscall(SYS_close, dir);
    return r;
}

int peer_files_each(pid_t pid, int (*visit)(int fd, void *arg), void *arg)
{
    char path[32] = "/proc/self/fd";

    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    return numbers_each(path, visit, arg);
}

struct wanted_file {
    pid_t pid;
    dev_t dev;
    ino_t ino;
    bool writes; /* only a writer counts */
};

/*
 * The open flags of another process's descriptor, in octal: "flags:\t0100002". On failure O_RDWR is assumed.
 */
static long peer_flags(pid_t pid, int fd)
{
    char text[256], path[48];
    const char *flags;
    long file, got;

    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, fd);
    file = linux_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return O_RDWR;
    got = linux_syscall(SYS_read, file, text, sizeof text - 1);
    linux_syscall(SYS_close, file);
    text[got > 0 ? got : 0] = '\0';
    flags = strstr(text, "flags:");
    return flags != NULL ? strtol(flags + strlen("flags:"), NULL, 8) : O_RDWR;
}

static int visit_file(int fd, void *arg)
{
    const struct wanted_file *wanted = arg;
    char path[48];
    struct stat st;
    long flags;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)wanted->pid, fd);
    if (linux_syscall(SYS_stat, path, &st) != 0 || st.st_dev != wanted->dev || st.st_ino != wanted->ino)
        return 0;
    flags = peer_flags(wanted->pid, fd);
    return (flags & O_PATH) == 0 && (!wanted->writes || (flags & O_ACCMODE) != O_RDONLY);
}

bool peer_may_write(pid_t pid, dev_t dev, ino_t ino)
{
    struct wanted_file wanted = {pid, dev, ino, true};
    int r = peer_files_each(pid, visit_file, &wanted);

    if (r == 0)
        r = areas_of_process(pid, dev, ino, true);
    return r != 0 && r != -ENOENT && r != -ESRCH; /* it has ended */
}

/* A process that cannot be read is another user's, or has ended. */
static int visit_process(int pid, void *arg)
{
    struct wanted_file *wanted = arg;

    wanted->pid = pid;
    if (pid == shim_config.pid)
        return 0;
    return peer_files_each(pid, visit_file, wanted) > 0 ||
                   areas_of_process(pid, wanted->dev, wanted->ino, wanted->writes) > 0
               ? pid
               : 0;
}

pid_t peer_with(dev_t dev, ino_t ino, bool writes)
{
    struct wanted_file wanted = {0, dev, ino, writes};
    int pid = numbers_each("/proc", visit_process, &wanted);

    return pid > 0 ? pid : 0;
}
