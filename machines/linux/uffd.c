/*
 * uffd.c: userfaultfd: opening it with whatever right the process has, agreeing on features, and its ioctls.
 *
 *                                                   NOTIFY                          FREE
 *     access to an absent page              MISSING ─▶ copy (allocate + fill + map)   the same
 *     access to a page in the memfd only    MINOR   ─▶ continue (map)                 the kernel maps it
 *     store to a write-protected page       WP      ─▶ writeprotect off               the kernel (WP_ASYNC)
 *
 * What a range does depends on the descriptor that it was registered with. The other calls act on addresses,
 * and take either descriptor today; should a kernel insist on the right one (ENOENT), they try both.
 *
 * The signal engine asks for UFFD_FEATURE_SIGBUS: the fault becomes a SIGBUS in the thread that faulted, and
 * the descriptor is never read. It has no use for faults in kernel mode, so the user-mode-only kind, which
 * needs no privilege, is tried first. The thread engine needs the faults of the kernel.
 *
 * It asks for none of the non-cooperative events (fork, remap, remove): a child gets no managed range
 * (space.c), and ranges move only by attach and detach.
 */
#include "uffd.h"
#include "linux_fd.h"
#include "linux_syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

/* Newer than the oldest headers that this builds with. The values are the kernel's ABI. */
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif
struct linux_uffdio_poison {
    struct uffdio_range range;
    __u64 mode;
    __s64 updated;
};
#define LINUX_UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct linux_uffdio_poison)

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED ((__u64)1 << 13) /* marks absent pages, too */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC ((__u64)1 << 15) /* Linux 6.7 */
#endif

static int uffd[] = {[LINUX_UFFD_NOTIFY] = -1, [LINUX_UFFD_FREE] = -1};

int linux_uffd_fd(void)
{
    return uffd[LINUX_UFFD_NOTIFY];
}

int linux_fd_move_high(int fd)
{
    int high = linux_fd_dup(fd);

    if (high < 0) {
        linux_fd_mark(fd);
        return fd;
    }
    (void)linux_syscall(SYS_close, fd);
    return high;
}

static int uffd_ioctl(enum linux_uffd_kind kind, unsigned long request, void *arg)
{
    int error = (int)linux_syscall(SYS_ioctl, uffd[kind], request, arg);

    if (error == -EBADF)
        linux_fd_lost();
    return error;
}

/* A call for a range of either kind. */
static int range_ioctl(unsigned long request, void *arg)
{
    int error = uffd_ioctl(LINUX_UFFD_NOTIFY, request, arg);

    return error == -ENOENT && uffd[LINUX_UFFD_FREE] >= 0 ? uffd_ioctl(LINUX_UFFD_FREE, request, arg) : error;
}

/* open_syscall, open_device and open_for return a descriptor or a negative errno value. */
static int open_syscall(int flags)
{
    return (int)linux_syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
}

static int open_device(void)
{
    long dev = linux_syscall(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (dev < 0)
        return (int)dev;
    long fd = linux_syscall(SYS_ioctl, dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    (void)linux_syscall(SYS_close, dev);
    return (int)fd;
}

static int open_for(enum linux_fault_engine engine)
{
    int fd = engine == LINUX_FAULT_SIGNAL ? open_syscall(UFFD_USER_MODE_ONLY) : open_device();

    if (fd >= 0)
        return fd;
    int other = engine == LINUX_FAULT_SIGNAL ? open_device() : open_syscall(0);
    return other >= 0 || engine == LINUX_FAULT_THREAD ? other : fd;
}

static const char *forbidden(enum linux_fault_engine engine)
{
    if (engine == LINUX_FAULT_THREAD)
        return "userfaultfd for kernel faults is forbidden here: be root or have CAP_SYS_PTRACE, or set "
               "sysctl vm.unprivileged_userfaultfd=1, or give access to /dev/userfaultfd, or use the signal "
               "engine";
    return "userfaultfd is forbidden here: set sysctl vm.unprivileged_userfaultfd=1, or give access to "
           "/dev/userfaultfd, or run the container with a seccomp profile that allows userfaultfd";
}

static int open_kind(enum linux_fault_engine engine, enum linux_uffd_kind kind)
{
    uint64_t features =
        UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

    features |= engine == LINUX_FAULT_SIGNAL ? UFFD_FEATURE_SIGBUS : UFFD_FEATURE_THREAD_ID;
    features |= kind == LINUX_UFFD_FREE ? UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED
                                        : UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_EXACT_ADDRESS;
    int fd = open_for(engine);
    if (fd == -ENOSYS) {
        linux_machine_set_error(
            "this kernel has no userfaultfd: needs Linux 6.7 or newer, with CONFIG_USERFAULTFD");
        return -ENOSYS;
    }
    if (fd == -EMFILE || fd == -ENFILE) {
        linux_machine_set_error("no file descriptor is free: raise the limit of open files (ulimit -n)");
        return -EMFILE;
    }
    if (fd < 0) {
        linux_machine_set_error(forbidden(engine));
        return -EPERM;
    }
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    uffd[kind] = linux_fd_move_high(fd);
    if (uffd_ioctl(kind, UFFDIO_API, &api) != 0 || (api.features & features) != features) {
        linux_machine_set_error("this kernel's userfaultfd lacks features: needs Linux 6.7 or newer");
        return -ENOSYS;
    }
    return 0;
}

int linux_uffd_open(enum linux_fault_engine engine)
{
    int error = open_kind(engine, LINUX_UFFD_NOTIFY);

    if (error == 0 && engine == LINUX_FAULT_SIGNAL)
        error = open_kind(engine, LINUX_UFFD_FREE);
    if (error != 0)
        linux_uffd_close();
    return error;
}

void linux_uffd_close(void)
{
    for (unsigned kind = LINUX_UFFD_NOTIFY; kind <= LINUX_UFFD_FREE; kind++) {
        if (uffd[kind] >= 0)
            (void)linux_syscall(SYS_close, uffd[kind]);
        uffd[kind] = -1;
    }
}

int linux_uffd_register(vm_offset_t start, vm_offset_t end, enum linux_uffd_kind kind)
{
    struct uffdio_register request = {
        .range = {.start = start, .len = end - start},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP |
                (kind == LINUX_UFFD_NOTIFY ? UFFDIO_REGISTER_MODE_MINOR : 0),
    };

    return uffd_ioctl(kind, UFFDIO_REGISTER, &request);
}

/*
 * UFFDIO_COPY and UFFDIO_CONTINUE stop with EAGAIN for two reasons: the next page has an error of its
 * own, which the next call returns; or the page table changed under them. Calling again settles both, so
 * the loops need no bound.
 */
int linux_uffd_copy(vm_offset_t va, const void *from, size_t len_bytes, bool writable, size_t *done)
{
    *done = 0;
    while (*done < len_bytes) {
        struct uffdio_copy request = {
            .dst = va + *done,
            .src = (uint64_t)from + *done,
            .len = len_bytes - *done,
            .mode = writable ? 0 : UFFDIO_COPY_MODE_WP,
        };
        int error = range_ioctl(UFFDIO_COPY, &request);
        if (error == 0) {
            *done = len_bytes;
            return 0;
        }
        if (error != -EAGAIN)
            return error;
        if (request.copy > 0)
            *done += (size_t)request.copy;
    }
    return 0;
}

int linux_uffd_continue(vm_offset_t va, size_t len_bytes, bool writable, size_t *done)
{
    *done = 0;
    while (*done < len_bytes) {
        struct uffdio_continue request = {
            .range = {.start = va + *done, .len = len_bytes - *done},
            .mode = writable ? 0 : UFFDIO_CONTINUE_MODE_WP,
        };
        int error = range_ioctl(UFFDIO_CONTINUE, &request);
        if (error == 0) {
            *done = len_bytes;
            return 0;
        }
        if (error != -EAGAIN)
            return error;
        if (request.mapped > 0)
            *done += (size_t)request.mapped;
    }
    return 0;
}

int linux_uffd_writeprotect(vm_offset_t va, size_t len_bytes, bool protect)
{
    struct uffdio_writeprotect request = {
        .range = {.start = va, .len = len_bytes},
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };

    int error;

    do {
        error = range_ioctl(UFFDIO_WRITEPROTECT, &request);
    } while (error == -EAGAIN); /* another thread is changing the address space, which ends by itself */
    return error;
}

void linux_uffd_wake(vm_offset_t va, size_t len_bytes)
{
    struct uffdio_range range = {.start = va, .len = len_bytes};

    /* Fails only for a range that is no multiple of pages, so no sleeper is missed. */
    (void)range_ioctl(UFFDIO_WAKE, &range);
}

int linux_uffd_poison(vm_offset_t va)
{
    struct linux_uffdio_poison request = {.range = {.start = va, .len = VM_PAGE_SIZE}};

    return range_ioctl(LINUX_UFFDIO_POISON, &request);
}
