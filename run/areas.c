/*
 * areas.c: what the kernel maps in the process, as
 * /proc/self/maps tells it, for rare calls that must know it.
 *
 *   mremap that grows ─▶ areas_adopt ─▶ the area's file ─▶ a descriptor of it ─▶ mapping_mmap_grown ─▶ munmap
 *   mmap of a file    ─▶ areas_map   ─▶ does the kernel map it, too?
 *
 * A database maps its file when it is small, and lets the mapping grow with the file. A small mapping
 * is left to the kernel; when it has grown to --min-size, areas_adopt replaces it by a managed one.
 *
 * Does not do: a mapping of a file without an open descriptor, or of a file that the kernel
 * maps a second time, stays the kernel's, since all mappings of one file must show the same
 * bytes. An area that was locked (mlock) is not locked any more when it is adopted.
 */
#include "areas.h"
#include "fdtable.h"
#include "mapping.h"
#include <fcntl.h>
#include <linux_fd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

struct area {
    vm_offset_t start, end;
    char access[5]; /* "rw-s" */
    uint64_t offset;
    dev_t dev;
    ino_t ino; /* 0: no file */
};

/* Each line of a file of /proc, until visit returns other than 0, which is returned. Errors: of open(2). */
static int lines_each(const char *path, int (*visit)(const char *line, void *arg), void *arg)
{
    char text[8192];
    size_t len = 0;
    long got;
    int r = 0;
    int fd = (int)linux_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    while (r == 0 && (got = linux_syscall(SYS_read, fd, text + len, sizeof text - 1 - len)) > 0) {
        char *line = text;
        char *newline;

        text[len + (size_t)got] = '\0';
        for (; r == 0 && (newline = strchr(line, '\n')) != NULL; line = newline + 1) {
            *newline = '\0';
            r = visit(line, arg);
        }
        len = strlen(line);
        memmove(text, line, len);
    }
    linux_syscall(SYS_close, fd);
    return r;
}

int areas_each(int (*visit)(const char *line, void *arg), void *arg)
{
    return lines_each("/proc/self/maps", visit, arg);
}

static bool area_parse(const char *line, struct area *area)
{
    unsigned major, minor;

    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &area->start, &area->end, area->access, &area->offset,
               &major, &minor, &area->ino) != 7)
        return false;
    area->dev = makedev(major, minor);
    return true;
}

/* ---- the areas of one file ------------------------------------------------------------------------- */

struct area_search {
    dev_t dev;
    ino_t ino;
    vm_offset_t except; /* an area that starts there does not count */
    bool writes;        /* only one that can be written counts */
};

static int search_area(const char *line, void *arg)
{
    const struct area_search *search = arg;
    struct area area;

    return area_parse(line, &area) && area.access[3] == 's' && area.ino == search->ino &&
           area.dev == search->dev && area.start != search->except &&
           (!search->writes || area.access[1] == 'w');
}

bool areas_map(dev_t dev, ino_t ino, vm_offset_t except)
{
    struct area_search search = {dev, ino, except, false};

    return areas_each(search_area, &search) > 0;
}

int areas_of_process(pid_t pid, dev_t dev, ino_t ino, bool writes)
{
    struct area_search search = {dev, ino, 0, writes};
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    return lines_each(path, search_area, &search);
}

/* ---- adoption -------------------------------------------------------------------------------------- */

/* arg: a struct area, of which start and end are given; fills in the rest. */
static int find_area(const char *line, void *arg)
{
    struct area *wanted = arg;
    struct area area;

    if (!area_parse(line, &area) || area.end <= wanted->start)
        return 0;
    if (area.start != wanted->start || area.end != wanted->end)
        return -ENOENT;
    *wanted = area;
    return 1;
}

/*
 * A descriptor of the program's that the area could have
 * been mapped from, preferably one that may write; -1: none.
 */
static int fd_of_area(const struct area *area)
{
    struct rlimit limit = {0};
    struct stat st;
    int found = -1;

    (void)linux_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
    for (int fd = 0; fd < FD_SLOTS && (rlim_t)fd < limit.rlim_cur; fd++) {
        long flags;

        if (linux_syscall(SYS_fstat, fd, &st) != 0 || st.st_ino != area->ino || st.st_dev != area->dev ||
            linux_fd_is_ours(fd))
            continue;
        flags = linux_syscall(SYS_fcntl, fd, F_GETFL);
        if (flags < 0 || (flags & O_PATH) != 0)
            continue;
        if ((flags & O_ACCMODE) == O_RDWR)
            return fd;
        if ((flags & O_ACCMODE) == O_RDONLY && area->access[1] != 'w')
            found = fd;
    }
    return found;
}

bool areas_adopt(vm_offset_t addr, size_t old_len, size_t new_len, long *result)
{
    struct area area = {.start = addr, .end = addr + round_page(old_len)};
    int prot, fd;
    long r;

    if (areas_each(find_area, &area) != 1 || area.ino == 0 || area.access[2] == 'x' || area.access[3] != 's')
        return false;
    prot = (area.access[0] == 'r' ? PROT_READ : 0) | (area.access[1] == 'w' ? PROT_WRITE : 0);
    fd = fd_of_area(&area);
    if (fd < 0)
        return false;
    r = mapping_mmap_grown(addr, new_len, prot, fd, area.offset);
    if (r < 0)
        return false;
    linux_syscall(SYS_munmap, addr, old_len);
    *result = r;
    return true;
}
