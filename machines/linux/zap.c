/*
 * zap.c: forgetting mappings, many in one call.
 *
 *     machine_unmap ─▶ pending ranges ─── machine_sync, or 64 of them ──▶ process_madvise(MADV_DONTNEED)
 *
 * Forgetting a single page costs a system call and, in a process with several threads, an interrupt of every
 * other CPU that runs one. The page daemon forgets dozens of pages, scattered over a file. The kernel takes
 * them all in one call (process_madvise on oneself, Linux 6.13), and since Linux 6.16 with one interrupt.
 * machine.h allows the delay: an unmapping counts from the next machine_sync on. A range where something else
 * is about to be mapped is flushed first (machine_attach, machine_detach), so that the new mapping stays.
 *
 * A range is forgotten in pieces of 1 MiB. Kernels since Linux 6.14 free a page table that one call empties
 * as a whole, and with it the marks that tell what was stored to in a free view (views.c).
 *
 * Lock: zap_lock, a leaf, held across the call: when a thread finds the list empty, the call is done.
 */
#include "zap.h"
#include "linux_fd.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/machine.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 5.18. MADV_DONTNEED fails with EINVAL on memory that mlockall locked. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define ZAP_MAX   64
#define ZAP_PIECE ((size_t)1 << 20)

static struct machine_lock zap_lock;
static struct {
    struct iovec range[ZAP_MAX];
    uint32_t n;
    int pidfd;   /* of this process; -1: none */
    bool singly; /* process_madvise does not work here */
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

/* Forgets one range. */
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

static void zap_pieces(const struct iovec *piece, uint32_t n) FL_REQUIRES(zap_lock)
{
    uint32_t done = 0;
    if (!zap.singly && n > 1) {
        long bytes = linux_syscall(SYS_process_madvise, zap.pidfd, piece, n, MADV_DONTNEED_LOCKED, 0);
        zap.singly = bytes == -EINVAL || bytes == -EPERM || bytes == -ENOSYS; /* an older kernel */
        while (bytes > 0 && done < n && (size_t)bytes >= piece[done].iov_len)
            bytes -= (long)piece[done++].iov_len;
    }
    for (; done < n; done++) /* the rest; what was done in part is done again, which is harmless */
        zap_range(&piece[done]);
}

static void zap_flush(void) FL_REQUIRES(zap_lock)
{
    struct iovec piece[ZAP_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < zap.n; i++) {
        struct iovec left = zap.range[i];
        while (left.iov_len > 0) {
            if (n == ZAP_MAX) {
                zap_pieces(piece, n);
                n = 0;
            }
            size_t len = left.iov_len < ZAP_PIECE ? left.iov_len : ZAP_PIECE;
            piece[n++] = (struct iovec){.iov_base = left.iov_base, .iov_len = len};
            left.iov_base = (char *)left.iov_base + len;
            left.iov_len -= len;
        }
    }
    zap_pieces(piece, n);
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
