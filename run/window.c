/*
 * window.c: what lies where in the window (window.h), as the core's map of
 * entries says: a reserved entry stands for what the kernel maps, an entry
 * with a vnode is a managed mapping, and between them the window is free.
 *
 * Invariant: outside the zone, the kernel maps memory of the program's only where an entry is reserved.
 *
 * Lock: (S) for all changes. The two counters can be read without it.
 *
 * Does not do: which mappings go where (mmap.c), the places in the zone (reservation.c).
 */
#include "window.h"
#include "file_idle.h"
#include "reservation.h"
#include <sys/mman.h>

_Atomic bool zone_opened[ZONE_SLOTS];

static _Atomic uint64_t window_reserved_bytes; /* outside the zone; changes under (S) */
static _Atomic bool zone_is_used;              /* a slot of the zone is opened; set under (S) */

/* ---- what lies there ------------------------------------------------------------------------------- */

bool window_is_whole(void)
{
    return window_reserved_bytes == 0 && !zone_is_used;
}

struct span window_span(vm_offset_t va, vm_offset_t end)
{
    struct span span = {va, end, false};
    struct fl_region region;

    if (window_is_whole())
        return span;
    for (vm_offset_t at = va; fl_space_region(fl_space(), at, &region) == 0 && region.start < end;
         at = region.end) {
        if (!region.reserved)
            continue;
        if (region.start > va) {
            span.end = region.start;
        } else {
            span.end = region.end < end ? region.end : end;
            span.reserved = true;
        }
        break;
    }
    return span;
}

size_t window_reserved_from(vm_offset_t va)
{
    struct fl_region region;

    if (window_is_whole() || fl_space_region(fl_space(), va, &region) != 0 || region.start > va ||
        !region.reserved)
        return 0;
    return region.end - va;
}

bool window_is_reserved(vm_offset_t va)
{
    return window_reserved_from(va) != 0;
}

/* ---- changes --------------------------------------------------------------------------------------- */

/*
 * Makes the range free: as the machine keeps its window, or, in the zone, as the kernel keeps free addresses.
 */
static long window_restore(vm_offset_t start, vm_offset_t end)
{
    if (zone_has(start))
        return linux_syscall(SYS_munmap, start, end - start);
    return linux_syscall(SYS_mmap, start, end - start, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

long window_remove(vm_offset_t start, vm_offset_t end)
{
    long r = 0;

    for (struct span span = {start, start, false}; r == 0 && span.end < end;) {
        span = window_span(span.end, end);
        if (span.reserved) {
            r = window_restore(span.start, span.end);
            if (r > 0) { /* never of the zone */
                window_reserved_bytes -= span.end - span.start;
                r = 0;
            }
        }
    }
    if (r != 0)
        return r;
    file_account(start, end, -1);
    r = fl_sys_munmap(fl_space(), start, end - start);
    if (r != 0)
        file_account(start, end, 1);
    if (zone_has(start))
        reservation_settle(start, end);
    return r;
}

int window_reserve(vm_offset_t start, vm_offset_t end)
{
    int error = fl_space_reserve(fl_space(), start, end);

    if (error == 0)
        window_reserved_bytes += end - start;
    return error;
}

void window_unreserve(vm_offset_t start, vm_offset_t end)
{
    (void)!fl_sys_munmap(fl_space(), start, end - start); /* a whole reserved entry: needs no memory */
    window_reserved_bytes -= end - start;
}

bool window_open_zone(vm_offset_t addr, size_t len)
{
    vm_offset_t end = addr + round_page(len);

    if (!zone_has(addr) || (addr & VM_PAGE_MASK) != 0 || len == 0 || len >= ZONE_END - addr ||
        reservation_open(addr, end) != 0)
        return false;
    zone_is_used = true;
    return true;
}
