/*
 * remap.c: remap_file_pages: a part of a shared mapping shows other pages of the same file.
 *
 *      | file 0 1 2 3 4 5 6 7 |  ─ start = 2nd page, two pages, pgoff 6 ─▶  | 0 | 6 7 | 3 4 5 6 7 |
 *
 * As on Linux since 4.0 it is an mmap of the same file over the old mapping, so the file's mapped bytes
 * stay the same. Where the kernel maps the range, also inside the window, the call is the kernel's.
 *
 * Lock: (S).
 */
#include "mapping.h"
#include "file_idle.h"
#include "window.h"
#include <sys/mman.h>

/* The whole range shows the region's file, with the region's rights, without a hole. */
static bool remap_range_is_one(const struct fl_region *first, vm_offset_t end)
{
    struct fl_region next = *first;

    while (next.end < end) {
        vm_offset_t at = next.end;

        if (fl_space_region(fl_space(), at, &next) != 0 || next.start != at || next.vnode != first->vnode ||
            !next.shared || next.prot != first->prot || next.max_prot != first->max_prot ||
            next.wired != first->wired)
            return false;
    }
    return true;
}

static long remap_managed(const struct fl_region *region, vm_offset_t start, size_t len, uint64_t pgoff,
                          int flags) FL_REQUIRES(shim_lock)
{
    struct fl_file file = {.mode = FL_FREAD | FL_FWRITE, .vnode = region->vnode};
    long r;

    /* Linux does not count a mapping as shared if its descriptor cannot write. */
    if (!region->shared || (region->max_prot & VM_PROT_WRITE) == 0 || region->vnode == NULL ||
        !remap_range_is_one(region, start + len))
        return -EINVAL;
    if (pgoff + atop(len) > atop(INT64_MAX))
        return -EOVERFLOW;
    flags = (flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE | (region->wired ? MAP_LOCKED : 0);
    file_account(start, start + len, -1);
    r = fl_sys_mmap(fl_space(), start, len, region->prot, flags, &file, pgoff << VM_PAGE_SHIFT);
    file_account(start, start + len, 1);
    return r < 0 ? r : 0;
}

long mapping_remap_file_pages(vm_offset_t start, size_t len, int prot, uint64_t pgoff, int flags)
{
    struct fl_region region;
    sigset_t saved;
    long r = -EINVAL;

    if (!shim_on() || !window_has(start))
        return linux_syscall(SYS_remap_file_pages, start, len, prot, pgoff, flags);
    start = trunc_page(start);
    len = trunc_page(len);
    if (prot != 0 || start + len <= start || pgoff + atop(len) < pgoff)
        return -EINVAL;
    shim_enter(&saved);
    if (fl_space_region(fl_space(), start, &region) == 0 && region.start <= start)
        r = region.reserved ? linux_syscall(SYS_remap_file_pages, start, len, prot, pgoff, flags)
                            : remap_managed(&region, start, len, pgoff, flags);
    file_reap();
    shim_leave(&saved);
    return r;
}
