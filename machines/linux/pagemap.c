/*
 * pagemap.c: dirty and referenced bits, read from the kernel's page tables by PAGEMAP_SCAN (Linux 6.7).
 *
 *     MACHINE_REFERENCED   PAGE_IS_PRESENT: mapped, so touched since it was forgotten; cleared by forgetting
 *     MACHINE_DIRTY        PAGE_IS_WRITTEN, in a tracked view only (views.c, LM1); cleared by the scan,
 *                          which protects what it reports in the same step (PM_SCAN_WP_MATCHING)
 *
 * Two scans, because the kernel has a fast path for PAGE_IS_WRITTEN alone. In a view that is registered for
 * the notification of stores a fault tells the core of each, so there is nothing to report.
 *
 * A scan ends early when its array of regions is full, and the next one goes on from there. Where nothing is
 * mapped any more it finds nothing. When it fails, for want of a page table for its marks, all pages of the
 * range count as used and stored to: the kernel may have protected some already.
 *
 * Lock: none of its own.
 */
#include "pagemap.h"
#include "linux_fd.h"
#include "linux_syscall.h"
#include "uffd.h"
#include "views.h"
#include "zap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#define REGIONS 64 /* on the stack of the thread that faults */

/* Newer than the oldest headers that this builds with. The values are the kernel's ABI. */
struct linux_page_region {
    uint64_t start, end, categories;
};
struct linux_pm_scan_arg {
    uint64_t size, flags;
    uint64_t start, end, walk_end;
    uint64_t vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define LINUX_PAGEMAP_SCAN        _IOWR('f', 16, struct linux_pm_scan_arg)
#define LINUX_PM_SCAN_WP_MATCHING 0x1
#define LINUX_PAGE_IS_WRITTEN     0x2
#define LINUX_PAGE_IS_PRESENT     0x8

static int pagemap = -1;

int linux_pagemap_open(void)
{
    int fd = (int)linux_syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        linux_machine_set_error(
            fd == -EACCES
                ? "cannot open /proc/self/pagemap: after a change of user, call prctl(PR_SET_DUMPABLE, 1)"
                : "cannot open /proc/self/pagemap: mount /proc");
        return fd;
    }
    pagemap = linux_fd_move_high(fd);
    struct linux_pm_scan_arg nothing = {.size = sizeof(nothing)};
    if (linux_syscall(SYS_ioctl, pagemap, LINUX_PAGEMAP_SCAN, &nothing) == 0)
        return 0;
    linux_machine_set_error("this kernel has no PAGEMAP_SCAN: needs Linux 6.7 or newer");
    return -ENOSYS;
}

void linux_pagemap_close(void)
{
    if (pagemap >= 0)
        (void)linux_syscall(SYS_close, pagemap);
    pagemap = -1;
}

/* bits[i] |= bit for each page i of [start, end) that has the category. Returns whether any has it. */
static bool scan(vm_offset_t start, vm_offset_t end, uint64_t category, uint64_t flags, uint8_t bit,
                 uint8_t *bits)
{
    struct linux_page_region region[REGIONS];
    struct linux_pm_scan_arg arg = {
        .size = sizeof(arg),
        .flags = flags,
        .end = end,
        .vec = (uint64_t)region,
        .vec_len = REGIONS,
        .category_mask = category,
        .return_mask = category,
    };
    bool any = false;

    for (vm_offset_t at = start; at < end; at = arg.walk_end) {
        arg.start = at;
        arg.walk_end = 0;
        long n = linux_syscall(SYS_ioctl, pagemap, LINUX_PAGEMAP_SCAN, &arg);
        if (n == -EBADF)
            linux_fd_lost();
        if (n < 0 || arg.walk_end <= at) {
            region[0] = (struct linux_page_region){.start = at, .end = end};
            arg.walk_end = end;
            n = 1;
        }
        for (long i = 0; i < n; i++) {
            any = true;
            for (vm_offset_t va = region[i].start; va < region[i].end; va += VM_PAGE_SIZE)
                bits[atop(va - start)] |= bit;
        }
    }
    return any;
}

void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits)
{
    uint64_t flags = (clear & MACHINE_DIRTY) != 0 ? LINUX_PM_SCAN_WP_MATCHING : 0;
    struct linux_view part;

    for (vm_offset_t at = start; at < end; at = part.end) {
        if (!linux_views_next(at, end, &part))
            part = (struct linux_view){.start = end, .end = end};
        /* Outside of free views each first store faults: it must do so again. */
        if (at < part.start && (clear & MACHINE_DIRTY) != 0)
            machine_wrprotect(space, at, part.start);
        if (part.tracked)
            (void)scan(part.start, part.end, LINUX_PAGE_IS_WRITTEN, flags, MACHINE_DIRTY,
                       bits + atop(part.start - start));
    }
    if (scan(start, end, LINUX_PAGE_IS_PRESENT, 0, MACHINE_REFERENCED, bits) &&
        (clear & MACHINE_REFERENCED) != 0)
        linux_zap(start, end);
}

/* The right to write is the area's, and not known here: MACHINE_WRITABLE is never reported. */
unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    struct linux_view part;
    vm_offset_t end = va + VM_PAGE_SIZE;
    uint8_t bits = 0;

    (void)space;
    if (!scan(va, end, LINUX_PAGE_IS_PRESENT, 0, MACHINE_MAPPED | MACHINE_REFERENCED, &bits))
        return 0;
    if (linux_views_next(va, end, &part) && part.tracked)
        (void)scan(va, end, LINUX_PAGE_IS_WRITTEN, 0, MACHINE_DIRTY, &bits);
    return bits;
}
