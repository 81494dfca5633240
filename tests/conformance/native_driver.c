/*
 * native_driver.c: the real kernel's mmap family behind driver.h: in this process, or in processes that fork.
 *
 *   | window: no process ever maps anything else there | a page that stops what grows |
 *
 * Where the kernel would choose an address, it would choose one outside the window: so the driver makes the
 * choice by driver.h's rule (the kernel's own rule, which the tables prove on it) and asks for that place.
 * The map is read back from /proc/PID/maps. The files are this process's, whoever maps them.
 */
#include "conformance/access.h"
#include "conformance/files.h"
#include "conformance/processes.h"
#include "model/driver.h"
#include <errno.h>
#include <faultline/vm.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(struct fl_iovec) == sizeof(struct iovec), "laid out alike");

#define PAGE         DRIVER_PAGE
#define WINDOW_START ((uint64_t)0x3a0000000000)
#define USER_END     ((uint64_t)0x7ffffffff000) /* x86-64 with four-level tables */

struct native {
    struct driver driver;
    struct files files;
    struct processes *processes; /* NULL: all calls are made in this process */
    int maps[DRIVER_SPACES], smaps[DRIVER_SPACES];
    bool inherits; /* the program changed inheritance: then smaps is read, which takes longer */
    bool stale;    /* region[] is older than the last call */
    unsigned nregions;
    struct driver_region region[DRIVER_WINDOW_PAGES];
};

static struct native *native_of(struct driver *d)
{
    return (struct native *)d;
}

static unsigned long absolute(uint64_t addr)
{
    return addr == DRIVER_ANY ? 0 : WINDOW_START + addr;
}

/* A call on files, which this process made. */
static int result(struct driver *d, long r)
{
    native_of(d)->stale = true;
    return r < 0 ? -errno : (int)r;
}

/* A system call in the present process: its result, or a negative errno. */
static long call(struct driver *d, long number, const unsigned long arg[6])
{
    struct native *native = native_of(d);
    long r;

    native->stale = true;
    if (native->processes != NULL)
        return processes_call(native->processes, d->space, number, arg);
    r = syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    return r < 0 ? -errno : r;
}
#define CALL(number, ...) call(d, number, (const unsigned long[6]){__VA_ARGS__})

static int64_t placed(long at)
{
    return at < 0 && at >= -4095 ? at : at - (int64_t)WINDOW_START;
}

static int64_t raw_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                        uint64_t off)
{
    int fd = handle < 0 ? -1 : native_of(d)->files.handle[handle];

    return placed(CALL(SYS_mmap, absolute(addr), len, (unsigned long)prot, (unsigned long)flags,
                       (unsigned long)fd, off));
}

static int64_t native_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                           uint64_t off)
{
    return driver_mmap_placed(d, raw_mmap, addr, len, prot, flags, handle, off);
}

static int native_munmap(struct driver *d, uint64_t addr, uint64_t len)
{
    return (int)CALL(SYS_munmap, absolute(addr), len);
}

static int native_mprotect(struct driver *d, uint64_t addr, uint64_t len, int prot)
{
    return (int)CALL(SYS_mprotect, absolute(addr), len, (unsigned long)prot);
}

static int64_t raw_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                          uint64_t new_addr)
{
    return placed(CALL(SYS_mremap, absolute(addr), len, new_len, (unsigned long)flags,
                       flags & MREMAP_FIXED ? absolute(new_addr) : 0));
}

static int64_t native_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                             uint64_t new_addr)
{
    return driver_mremap_placed(d, raw_mremap, addr, len, new_len, flags, new_addr);
}

static int native_msync(struct driver *d, uint64_t addr, uint64_t len, int flags)
{
    return (int)CALL(SYS_msync, absolute(addr), len, (unsigned long)flags);
}

static int native_madvise(struct driver *d, uint64_t addr, uint64_t len, int advice)
{
    native_of(d)->inherits |= advice == MADV_DONTFORK || advice == MADV_WIPEONFORK;
    return (int)CALL(SYS_madvise, absolute(addr), len, (unsigned long)advice);
}

static int native_mincore(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec)
{
    struct native *native = native_of(d);
    unsigned char *bytes = native->processes == NULL ? vec : processes_bytes(native->processes, d->space);
    int error = (int)CALL(SYS_mincore, absolute(addr), len, (unsigned long)bytes);

    if (error == 0 && bytes != vec)
        memcpy(vec, bytes, (len + PAGE - 1) / PAGE);
    return error;
}

static int native_mlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return (int)CALL(SYS_mlock, absolute(addr), len);
}

static int native_munlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return (int)CALL(SYS_munlock, absolute(addr), len);
}

static int native_load(struct driver *d, uint64_t addr, void *bytes, size_t len)
{
    struct processes *processes = native_of(d)->processes;
    int error;

    native_of(d)->stale = true; /* a stack may grow */
    if (processes == NULL)
        return access_bytes(bytes, (void *)absolute(addr), len);
    error = processes_access(processes, d->space, processes_bytes(processes, d->space),
                             (void *)absolute(addr), len);
    memcpy(bytes, processes_bytes(processes, d->space), len);
    return error;
}

static int native_store(struct driver *d, uint64_t addr, const void *bytes, size_t len)
{
    struct processes *processes = native_of(d)->processes;

    native_of(d)->stale = true; /* a stack may grow */
    if (processes == NULL)
        return access_bytes((void *)absolute(addr), bytes, len);
    memcpy(processes_bytes(processes, d->space), bytes, len);
    return processes_access(processes, d->space, (void *)absolute(addr), processes_bytes(processes, d->space),
                            len);
}

static int native_set_size(struct driver *d, int file, uint64_t len)
{
    return result(d, ftruncate(native_of(d)->files.fd[file], (off_t)len));
}

/* process_madvise of this process would advise both ranges at once. */
static int native_prefetch(struct driver *d, uint64_t addr, uint64_t len, uint64_t addr2, uint64_t len2)
{
    (void)CALL(SYS_madvise, absolute(addr) & ~(PAGE - 1), len, MADV_WILLNEED);
    (void)CALL(SYS_madvise, absolute(addr2) & ~(PAGE - 1), len2, MADV_WILLNEED);
    return 0;
}

/* ---- spaces -------------------------------------------------------------------------------------------- */

/* Of the process, /proc/PID/…; 0: this one. */
static void open_maps(struct native *native, unsigned space, pid_t pid)
{
    char path[64];

    pid = pid == 0 ? getpid() : pid;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    native->maps[space] = open(path, O_RDONLY);
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    native->smaps[space] = open(path, O_RDONLY);
    must(native->maps[space] >= 0 && native->smaps[space] >= 0, path);
}

static void close_maps(struct native *native, unsigned space)
{
    close(native->maps[space]);
    close(native->smaps[space]);
}

static int native_fork(struct driver *d, unsigned to)
{
    struct native *native = native_of(d);
    int error = processes_fork(native->processes, d->space, to);

    if (error == 0)
        open_maps(native, to, processes_pid(native->processes, to));
    return error;
}

static void native_enter(struct driver *d, unsigned space)
{
    (void)space;
    native_of(d)->stale = true;
}

static void native_exit(struct driver *d, unsigned space)
{
    close_maps(native_of(d), space);
    processes_exit(native_of(d)->processes, space);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static int fd_of(struct driver *d, int handle)
{
    return native_of(d)->files.handle[handle];
}

static int64_t native_read(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                           uint64_t off, unsigned flags)
{
    (void)flags;
    return result(d, preadv(fd_of(d, handle), (const struct iovec *)iov, (int)niov, (off_t)off));
}

static int64_t native_write(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                            uint64_t off, unsigned flags)
{
    int how = (flags & FL_IOCB_APPEND ? RWF_APPEND : 0) | (flags & FL_IOCB_DSYNC ? RWF_DSYNC : 0);

    return result(d, pwritev2(fd_of(d, handle), (const struct iovec *)iov, (int)niov, (off_t)off, how));
}

static int native_truncate(struct driver *d, int handle, uint64_t len)
{
    return result(d, ftruncate(fd_of(d, handle), (off_t)len));
}

static int native_punch(struct driver *d, int handle, uint64_t off, uint64_t len)
{
    return result(
        d, fallocate(fd_of(d, handle), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len));
}

static int native_fsync(struct driver *d, int handle, unsigned flags)
{
    return result(d, flags & FL_FSYNC_DATA ? fdatasync(fd_of(d, handle)) : fsync(fd_of(d, handle)));
}

static int native_sync_range(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags)
{
    return result(d, sync_file_range(fd_of(d, handle), (off_t)off, (off_t)len, flags));
}

/* posix_fadvise returns its error. */
static int native_fadvise(struct driver *d, int handle, uint64_t off, uint64_t len, int advice)
{
    return -posix_fadvise(fd_of(d, handle), (off_t)off, (off_t)len, advice);
}

static uint64_t native_file_size(struct driver *d, int file)
{
    return files_size(&native_of(d)->files, file);
}

static int native_file_read(struct driver *d, int file, uint64_t off, void *bytes, size_t len)
{
    return files_read(&native_of(d)->files, file, off, bytes, len);
}

/* ---- the map ------------------------------------------------------------------------------------------- */

static int file_of(struct native *native, unsigned long inode)
{
    int f;

    for (f = 0; f < DRIVER_FILES; f++)
        if (native->files.inode[f] == inode)
            return f;
    return -1;
}

static bool parse_region(struct native *native, const char *line, struct driver_region *region)
{
    uint64_t start, end, offset;
    unsigned long inode;
    char prot[5];

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %lu", &start, &end, prot, &offset,
               &inode) != 5)
        return false;
    region->start = start - WINDOW_START;
    region->end = end - WINDOW_START;
    region->prot = (prot[0] == 'r' ? PROT_READ : 0) | (prot[1] == 'w' ? PROT_WRITE : 0) |
                   (prot[2] == 'x' ? PROT_EXEC : 0);
    region->shared = prot[3] == 's';
    region->inherit = region->shared ? FL_INHERIT_SHARE : FL_INHERIT_COPY;
    region->file = file_of(native, inode);
    region->offset = region->file < 0 ? 0 : offset;
    return start >= WINDOW_START && end <= WINDOW_START + DRIVER_WINDOW_BYTES;
}

/*
 * Reads the flags from smaps: after each region's line, in the form of
 * maps, follow lines of which the last holds the flags.
 */
static void parse_flags(const char *line, struct driver_region *region)
{
    if (strncmp(line, "VmFlags:", 8) != 0)
        return;
    line = strndupa(line, strcspn(line, "\n"));
    if (strstr(line, " dc") != NULL)
        region->inherit = FL_INHERIT_NONE;
    else if (strstr(line, " wf") != NULL)
        region->inherit = FL_INHERIT_ZERO;
}

static void join_regions(struct native *native)
{
    unsigned n = 0;

    for (unsigned i = 0; i < native->nregions; i++) {
        if (n > 0 && driver_region_joins(&native->region[n - 1], &native->region[i]))
            native->region[n - 1].end = native->region[i].end;
        else
            native->region[n++] = native->region[i];
    }
    native->nregions = n;
}

static void read_maps(struct native *native)
{
    static char text[1 << 22];
    int fd = native->inherits ? native->smaps[native->driver.space] : native->maps[native->driver.space];
    struct driver_region next, *last = NULL;
    size_t len = 0;
    ssize_t n;
    char *line;

    while ((n = pread(fd, text + len, sizeof(text) - 1 - len, (off_t)len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    native->nregions = 0;
    for (line = text; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL) {
        if (parse_region(native, line, &next)) {
            last = &native->region[native->nregions++];
            *last = next;
        } else if (last != NULL) {
            parse_flags(line, last);
            if (strncmp(line, "VmFlags:", 8) == 0)
                last = NULL;
        }
    }
    join_regions(native);
    native->stale = false;
}

static bool native_region(struct driver *d, uint64_t addr, struct driver_region *region)
{
    struct native *native = native_of(d);
    unsigned i = 0;

    if (native->stale)
        read_maps(native);
    while (i < native->nregions && native->region[i].end <= addr)
        i++;
    if (i == native->nregions)
        return false;
    *region = native->region[i];
    return true;
}

static void native_check(struct driver *d)
{
    (void)d;
}

static void native_destroy(struct driver *d)
{
    struct native *native = native_of(d);

    unsigned space;

    for (space = 0; space < DRIVER_SPACES; space++)
        if (d->lives[space])
            close_maps(native, space);
    if (native->processes != NULL)
        processes_end(native->processes);
    munmap((void *)absolute(0), DRIVER_WINDOW_BYTES + PAGE);
    files_close(&native->files);
    access_end();
    free(native);
}

static struct native *native_new(void)
{
    static const struct driver calls = {
        .name = "native",
        .has = DRIVER_HAS_DSYNC | DRIVER_HAS_REMOVE | DRIVER_HAS_PUNCH,
        .address_space_end = USER_END - WINDOW_START,
        .lives = {true},
        .mmap = native_mmap,
        .munmap = native_munmap,
        .mprotect = native_mprotect,
        .mremap = native_mremap,
        .msync = native_msync,
        .madvise = native_madvise,
        .mincore = native_mincore,
        .mlock = native_mlock,
        .munlock = native_munlock,
        .load = native_load,
        .store = native_store,
        .set_size = native_set_size,
        .prefetch = native_prefetch,
        .read = native_read,
        .write = native_write,
        .truncate = native_truncate,
        .punch = native_punch,
        .fsync = native_fsync,
        .sync_range = native_sync_range,
        .fadvise = native_fadvise,
        .file_read = native_file_read,
        .file_size = native_file_size,
        .region = native_region,
        .fork = native_fork,
        .enter = native_enter,
        .exit = native_exit,
        .check = native_check,
        .destroy = native_destroy,
    };
    struct native *native = calloc(1, sizeof(*native));

    must(native != NULL, "calloc");
    native->driver = calls;
    native->stale = true;
    files_open(&native->files);
    must(mmap((void *)absolute(DRIVER_WINDOW_BYTES), PAGE, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED,
         "the page behind the window, over which nothing may grow");
    access_begin();
    return native;
}

struct driver *native_driver_create(void)
{
    struct native *native = native_new();

    open_maps(native, 0, 0);
    return &native->driver;
}

struct driver *native_forks_driver_create(void)
{
    struct native *native = native_new();

    native->driver.has |= DRIVER_HAS_FORK;
    native->processes = processes_start();
    open_maps(native, 0, processes_pid(native->processes, 0));
    return &native->driver;
}
