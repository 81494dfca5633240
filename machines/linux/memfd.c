/*
 * memfd.c: the memory file that holds the bytes of all objects: one sparse memfd.
 *
 *     memfd:  | (never used) | object 1 | object 2 | …           2^63 bytes
 *             0              2^47       2·2^47                   page p of an object is at object + p · 4096
 *
 * There is one descriptor, and not one for each object, because a program counts, closes and passes on
 * its descriptors: the fewer of ours are among them the better, and thousands of private mappings (each
 * has an object) must not reach the limit of open files. The price is a deeper tree of pages in the
 * kernel, 1 to 3 % of a fault.
 *
 * The machine's name for an object is the start of its stretch, as a pointer. A stretch is reused after
 * machine_object_fini, when its pages were released. Lock: stretch_lock, a leaf.
 */
#include "memfd.h"
#include "linux_fd.h"
#include "linux_syscall.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3: it cannot be executed as a program */
#endif

#define MEMFD_LEN_BYTES ((off_t)(INT64_MAX & ~(int64_t)VM_PAGE_MASK))
#define NOBJECTS        (1u << (63 - LINUX_OBJECT_SHIFT))
#define NWORDS          (NOBJECTS / 64)

static int memfd = -1;

static struct machine_lock stretch_lock;
static struct {
    uint32_t hint;         /* words below it are full */
    uint64_t used[NWORDS]; /* a bit for each stretch; that of stretch 0 is always set */
} stretch FL_GUARDED_BY(stretch_lock);

int linux_memfd_fd(void)
{
    return memfd;
}

int linux_memfd_open(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        linux_machine_set_error(
            "file sizes are limited, which also limits memory files: lift it (ulimit -f unlimited)");
        return -EFBIG;
    }
    int fd = (int)linux_syscall(SYS_memfd_create, "faultline", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd == -EINVAL) {
        linux_machine_set_error("this kernel is too old: needs Linux 6.7 or newer");
        return -ENOSYS;
    }
    if (fd < 0) {
        linux_machine_set_error(fd == -ENOMEM
                                    ? "no memory for a memfd"
                                    : "cannot make a memfd: raise the limit of open files (ulimit -n)");
        return fd;
    }
    memfd = linux_fd_move_high(fd);
    int error = (int)linux_syscall(SYS_ftruncate, memfd, MEMFD_LEN_BYTES);
    if (error != 0) {
        linux_memfd_close();
        linux_machine_set_error("a memfd cannot be large enough here");
        return error;
    }
    machine_lock(&stretch_lock);
    __builtin_memset(stretch.used, 0, sizeof(stretch.used));
    stretch.used[0] = 1; /* so that no object's name is NULL */
    stretch.hint = 0;
    machine_unlock(&stretch_lock);
    return 0;
}

void linux_memfd_close(void)
{
    if (memfd >= 0)
        (void)linux_syscall(SYS_close, memfd);
    memfd = -1;
}

int machine_object_init(void **object)
{
    int error = -ENOMEM;

    machine_lock(&stretch_lock);
    while (stretch.hint < NWORDS && stretch.used[stretch.hint] == UINT64_MAX)
        stretch.hint++;
    if (stretch.hint < NWORDS) {
        unsigned bit = (unsigned)__builtin_ctzll(~stretch.used[stretch.hint]);
        stretch.used[stretch.hint] |= (uint64_t)1 << bit;
        *object = (void *)(((uint64_t)stretch.hint * 64 + bit) << LINUX_OBJECT_SHIFT);
        error = 0;
    }
    machine_unlock(&stretch_lock);
    return error;
}

void machine_object_fini(void *object)
{
    uint64_t i = (uint64_t)object >> LINUX_OBJECT_SHIFT;

    machine_lock(&stretch_lock);
    if (i == 0 || (stretch.used[i / 64] & (uint64_t)1 << i % 64) == 0)
        machine_panic("machine_object_fini of what is no object");
    stretch.used[i / 64] &= ~((uint64_t)1 << i % 64);
    if (i / 64 < stretch.hint)
        stretch.hint = (uint32_t)(i / 64);
    machine_unlock(&stretch_lock);
}

int linux_memfd_read(uint64_t offset, void *to, size_t len_bytes)
{
    for (size_t done = 0; done < len_bytes;) {
        long n = linux_syscall(SYS_pread64, memfd, (char *)to + done, len_bytes - done, offset + done);
        if (n == -EINTR)
            continue; /* a signal that was not blocked */
        if (n <= 0)
            return -ENOMEM; /* a page that the kernel swapped out and cannot bring back */
        done += (size_t)n;
    }
    return 0;
}

int linux_memfd_write(uint64_t offset, const void *from, size_t len_bytes, size_t *done)
{
    for (*done = 0; *done < len_bytes;) {
        long n =
            linux_syscall(SYS_pwrite64, memfd, (const char *)from + *done, len_bytes - *done, offset + *done);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return -ENOMEM;
        *done += (size_t)n;
    }
    return 0;
}

void linux_memfd_punch(uint64_t offset, size_t len_bytes)
{
    long error;

    do {
        error = linux_syscall(SYS_fallocate, memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                              len_bytes);
    } while (error == -EINTR);
    if (error == -EBADF)
        linux_fd_lost();
    if (error != 0)
        machine_panic("the kernel does not free pages of a memfd");
}
