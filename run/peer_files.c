/*
 * peer_files.c: which files a process has, as /proc tells (peer_files.h).
 *
 *   peer_may_write ─▶ /proc/PID/fd/N: that inode? ─▶ /proc/PID/fdinfo/N: flags
 *                  └▶ /proc/PID/maps: shared, writable, that inode?     descriptors may be closed, mappings stay
 *
 * It costs some microseconds for each descriptor, and is asked only of a process that once opened the file, or one of
 * the same hash, for writing.
 */
#include "peer_files.h"
#include "shim.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the kernel has it. */
struct entry {
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

int peer_files_each(pid_t pid, int (*visit)(int fd, void *arg), void *arg)
{
    _Alignas(8) char entries[4096];
    char path[32] = "/proc/self/fd";
    long got, dir;
    int r = 0;

    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = linux_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return (int)dir;
    while (r == 0 && (got = linux_syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0) {
        for (long at = 0; r == 0 && at < got; at += ((struct entry *)(entries + at))->len) {
            const char *name = ((struct entry *)(entries + at))->name;

            if (name[0] != '.' && (pid != 0 || atoi(name) != dir))
                r = visit(atoi(name), arg);
        }
    }
    linux_syscall(SYS_close, dir);
    return r;
}

struct wanted_file {
    pid_t pid;
    dev_t dev;
    ino_t ino;
};

/* The open flags of another process's descriptor: "flags:\t0100002" in octal. A failure is a writer. */
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

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)wanted->pid, fd);
    return linux_syscall(SYS_stat, path, &st) == 0 && st.st_dev == wanted->dev && st.st_ino == wanted->ino &&
           (peer_flags(wanted->pid, fd) & O_ACCMODE) != O_RDONLY;
}

bool peer_may_write(pid_t pid, dev_t dev, ino_t ino)
{
    struct wanted_file wanted = {pid, dev, ino};

    return peer_files_each(pid, visit_file, &wanted) != 0 || areas_of_process_write(pid, dev, ino);
}
