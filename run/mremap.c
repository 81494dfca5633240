/*
 * mremap.c: mremap, by the core or by the kernel.
 *
 *   old place     new place                    by
 *   managed       the window, or any place     mremap_managed: fl_sys_mremap
 *   managed       fixed, outside the window    mremap_leaving: the file becomes the kernel's, then the kernel
 *   reserved      any                          mremap_kernel: the kernel, and the reserved entries follow
 *   outside       any                          the kernel; areas_adopt if it has grown to --min-size
 *
 * Lock: (S) around each call.
 */
#include "mapping.h"
#include "areas.h"
#include "file_idle.h"
#include "files.h"
#include "handover.h"
#include "reservation.h"
#include "stats.h"
#include "window.h"
#include <sys/mman.h>

/* What moves is the kernel's own: outside the window, or reserved in it. */
static long mremap_kernel(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                          vm_offset_t new_addr) FL_REQUIRES(shim_lock)
{
    /* In the zone all that is not managed is reserved, before and after. */
    bool from_inside = window_has(old_addr) && !zone_has(old_addr);
    bool to_inside = (flags & MREMAP_FIXED) != 0 && window_has(new_addr);
    bool to_zone = to_inside && zone_has(new_addr);
    vm_offset_t new_end = new_addr + round_page(new_len);
    long r = 0;

    if (to_inside) {
        r = window_remove(new_addr, new_end);
        if (r == 0 && !to_zone)
            r = window_reserve(new_addr, new_end);
        if (r != 0)
            return r;
    }
    r = linux_syscall(SYS_mremap, old_addr, old_len, new_len, flags, new_addr);
    if (r < 0) {
        if (to_inside) /* a failure leaves the new place empty, as the kernel's does */
            (void)!window_remove(new_addr, new_end);
    } else if (from_inside && (vm_offset_t)r != old_addr && (flags & MREMAP_DONTUNMAP) == 0) {
        (void)!window_remove(old_addr, old_addr + round_page(old_len)); /* whole entries: needs no memory */
    } else if (from_inside && (vm_offset_t)r == old_addr && new_len < old_len) {
        (void)!window_remove(old_addr + round_page(new_len), old_addr + round_page(old_len));
    }
    return r;
}

static long mremap_managed(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                           vm_offset_t new_addr) FL_REQUIRES(shim_lock)
{
    vm_offset_t old_end = old_addr + round_page(old_len);
    bool fixed = (flags & MREMAP_FIXED) != 0;
    long r;

    if (fixed && window_has_range(new_addr, new_len) && (new_addr & VM_PAGE_MASK) == 0 &&
        (new_addr >= old_end || new_addr + round_page(new_len) <= old_addr) &&
        (flags & MREMAP_MAYMOVE) != 0) {
        r = window_remove(new_addr, new_addr + round_page(new_len));
        if (r != 0)
            return r;
    }
    file_account(old_addr, old_end, -1);
    r = fl_sys_mremap(fl_space(), old_addr, old_len, new_len, flags, fixed ? new_addr : 0);
    if (fixed && zone_has(new_addr))
        reservation_settle(new_addr, new_addr + round_page(new_len));
    if (zone_has(old_addr))
        reservation_settle(old_addr, old_end);
    if (r < 0) {
        file_account(old_addr, old_end, 1);
        return r;
    }
    file_account((vm_offset_t)r, (vm_offset_t)r + round_page(new_len), 1);
    if (round_page(new_len) > round_page(old_len))
        stats_eligible(round_page(new_len) - round_page(old_len));
    return r;
}

/* What Linux refuses whatever is mapped there. */
static bool mremap_is_refused(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                              vm_offset_t new_addr)
{
    bool fixed = (flags & MREMAP_FIXED) != 0;

    return (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 ||
           (flags & MREMAP_MAYMOVE) == 0 || (old_addr & VM_PAGE_MASK) != 0 || new_len == 0 ||
           ((flags & MREMAP_DONTUNMAP) != 0 && round_page(old_len) != round_page(new_len)) ||
           (fixed && ((new_addr & VM_PAGE_MASK) != 0 || (new_addr < old_addr + round_page(old_len) &&
                                                         old_addr < new_addr + round_page(new_len))));
}

/*
 * A managed mapping moves to where the machine can show no page, or leaves a second mapping behind
 * (MREMAP_DONTUNMAP), for which the shim has no accounts. Its file becomes the kernel's, which does the rest.
 */
static long mremap_leaving(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                           vm_offset_t new_addr) FL_REQUIRES(shim_lock)
{
    struct fl_region region;
    struct file *file;
    int error;

    if (mremap_is_refused(old_addr, old_len, new_len, flags, new_addr))
        return -EINVAL;
    if (fl_space_region(fl_space(), old_addr, &region) != 0 || region.start > old_addr || region.reserved)
        return -EFAULT;
    file = file_of_region(&region);
    error = file != NULL ? handover_file(file, LEFT_FIXED)
                         : handover_anonymous(old_addr, old_addr + round_page(old_len), false, LEFT_FIXED);
    return error != 0 ? error : mremap_kernel(old_addr, old_len, new_len, flags, new_addr);
}

long mapping_mremap(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags, vm_offset_t new_addr)
{
    bool fixed = (flags & MREMAP_FIXED) != 0;
    bool to_inside = fixed && window_has(new_addr);
    struct fl_region region;
    sigset_t saved;
    bool reserved;
    long r;

    if (shim_on() && !window_has(old_addr) && flags == MREMAP_MAYMOVE &&
        old_len < shim_config.min_size_bytes && new_len >= shim_config.min_size_bytes &&
        areas_adopt(old_addr, old_len, new_len, &r))
        return r;
    if (!shim_on() || (!window_has(old_addr) && !to_inside))
        return linux_syscall(SYS_mremap, old_addr, old_len, new_len, flags, new_addr);
    shim_enter(&saved);
    reserved = !window_has(old_addr) || (fl_space_region(fl_space(), old_addr, &region) == 0 &&
                                         region.start <= old_addr && region.reserved);
    if (!reserved && fixed && window_open_zone(new_addr, new_len))
        to_inside = true;
    if (reserved)
        r = mremap_kernel(old_addr, old_len, new_len, flags, new_addr);
    else if ((fixed && !to_inside) || (flags & MREMAP_DONTUNMAP) != 0)
        r = mremap_leaving(old_addr, old_len, new_len, flags, new_addr);
    else
        r = mremap_managed(old_addr, old_len, new_len, flags, new_addr);
    file_reap();
    shim_leave(&saved);
    return r;
}
