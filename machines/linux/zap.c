/*
 * zap.c: forgetting mappings, many in one call.
 *
 *     machine_unmap ─▶ pending ranges ─── machine_sync, or 64 of them ──▶ process_madvise(MADV_DONTNEED)
 *
 * Forgetting a single page costs a system call and, in a process with several threads, an interrupt of every
 * other CPU that runs one. The page daemon forgets pages by the dozen, scattered over a file: the kernel takes
 * them all in one call, with one interrupt (process_madvise on oneself, Linux 6.13; the flush is one since
 * 6.16). machine.h allows the delay: an unmapping counts from the next machine_sync on. A range that is about
 * to show something else is flushed first (machine_attach, machine_detach): what comes there must stay.
 *
 * Lock: zap_lock, a leaf, held across the call: whoever finds the list empty may rely on it being done.
 */
#include "zap.h"
#include "linux_fd.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/machine.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 5.18; MADV_DONTNEED says EINVAL for what mlockall locked. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define ZAP_MAX 64

static struct machine_lock zap_lock;
static struct {
    struct iovec range[ZAP_MAX];
    uint32_t n;
    int pidfd;   /* of this process; -1: none */
    bool singly; /* process_madvise is not to be had */
} zap FL_GUARDED_BY(zap_lock) = {.pidfd = -1};

void linux_zap_open(void)
{
    long low = linux_syscall(SYS_pidfd_open, getpid(), 0);
    int pidfd = low < 0 ? -1 : linux_fd_dup((int)low);
    if (low >= 0)
        (void)linux_syscall(SYS_close, low);
    machine_lock(&zap_lock);
    zap.n = 0;
    zap.pidfd = pidfd;
    zap.singly = pidfd < 0;
    machine_unlock(&zap_lock);
}

void linux_zap_close(void)
{
    machine_lock(&zap_lock);
    int pidfd = zap.pidfd;
    zap.pidfd = -1;
    machine_unlock(&zap_lock);
    if (pidfd >= 0)
        linux_fd_close(pidfd);
}

/* One range by itself. */
static void zap_range(const struct iovec *range)
{
    long error = linux_syscall(SYS_madvise, range->iov_base, range->iov_len, MADV_DONTNEED_LOCKED);
    if (error != 0) {
        char message[96];
        (void)snprintf(message, sizeof(message), "the kernel does not forget mappings at %p: error %ld",
                       range->iov_base, -error);
        machine_panic(message);
    }
}

static void zap_flush(void) FL_REQUIRES(zap_lock)
{
    uint32_t done = 0;
    if (!zap.singly && zap.n > 1) {
        long bytes = linux_syscall(SYS_process_madvise, zap.pidfd, zap.range, zap.n, MADV_DONTNEED_LOCKED, 0);
        zap.singly = bytes == -EINVAL || bytes == -EPERM || bytes == -ENOSYS; /* an older kernel */
        while (bytes > 0 && done < zap.n && (size_t)bytes >= zap.range[done].iov_len)
            bytes -= (long)zap.range[done++].iov_len;
    }
    for (; done < zap.n; done++) /* what it left; what it did in part is done again, which is no harm */
        zap_range(&zap.range[done]);
    zap.n = 0;
}

void linux_zap(vm_offset_t start, vm_offset_t end)
{
    machine_lock(&zap_lock);
    if (zap.n == ZAP_MAX)
        zap_flush();
    zap.range[zap.n++] = (struct iovec){.iov_base = (void *)start, .iov_len = end - start};
    machine_unlock(&zap_lock);
}

int linux_zap_replace(vm_offset_t start, vm_offset_t end, int (*replace)(vm_offset_t start, vm_offset_t end))
{
    uint32_t left = 0;
    machine_lock(&zap_lock);
    int error = replace(start, end);
    for (uint32_t i = 0; i < zap.n; i++) {
        vm_offset_t at = (vm_offset_t)zap.range[i].iov_base;
        if (error != 0 || at < start || at + zap.range[i].iov_len > end)
            zap.range[left++] = zap.range[i];
    }
    zap.n = left;
    if (left > 0)
        zap_flush();
    machine_unlock(&zap_lock);
    return error;
}

void linux_zap_flush(void)
{
    machine_lock(&zap_lock);
    if (zap.n > 0)
        zap_flush();
    machine_unlock(&zap_lock);
}
