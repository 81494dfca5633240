/*
 * mapping.c: the calls of the mmap family that work on a range of
 * addresses: munmap, mprotect, msync, madvise, mlock, munlock, mincore.
 *
 *   |··free··| managed | reserved | managed |   a range is taken apart into spans (window.h): the core serves
 *        └────── one call ──────┘               those that are managed or free, the kernel the reserved ones
 *
 * Lock: (S) around every call that changes mappings, so that the range consists of the same
 * spans until the call is done. Where nothing is reserved, the core orders the calls by itself.
 */
#include "mapping.h"
#include "file_idle.h"
#include "fresh.h"
#include "user_copy.h"
#include "window.h"
#include <sys/mman.h>

#define MINCORE_CHUNK 1024 /* pages */

/* ---- spans ----------------------------------------------------------------------------------------- */

/* Bad arguments (unaligned, wrapping, no length): the core refuses them, given in one piece. */
static bool range_is_bad(vm_offset_t addr, size_t len)
{
    return (addr & VM_PAGE_MASK) != 0 || len == 0 || round_page(len) < len ||
           !window_has_range(addr, round_page(len));
}

/*
 * A hole in the range does not end the call: the rest is done too, and the call returns -ENOMEM afterwards.
 */
static bool passes_holes(long number, int arg)
{
    return (number == SYS_madvise && arg != MADV_POPULATE_READ && arg != MADV_POPULATE_WRITE) ||
           (number == SYS_msync && arg != MS_ASYNC);
}

/*
 * Calls `managed` or the kernel for each span; the first error other
 * than a hole ends it. `arg` is the third argument of the call.
 */
static long span_each(long number, vm_offset_t addr, size_t len, int arg,
                      int (*managed)(struct vm_map *map, vm_offset_t addr, size_t len, int arg))
{
    vm_offset_t end = addr + round_page(len);
    long hole = 0;
    sigset_t saved;
    long r = 0;

    /* mprotect always takes (S), since a hand-over changes the protection of its regions for a while. */
    if ((window_is_whole() && number != SYS_mprotect) || range_is_bad(addr, len)) {
        linux_signals_block(&saved);
        r = managed(fl_space(), addr, len, arg);
        linux_signals_restore(&saved);
        return r;
    }
    shim_enter(&saved);
    for (struct span span = {addr, addr, false}; r == 0 && span.end < end;) {
        span = window_span(span.end, end);
        if (span.reserved)
            r = linux_syscall(number, span.start, span.end - span.start, arg);
        else
            r = managed(fl_space(), span.start, span.end - span.start, arg);
        if (r == -ENOMEM && passes_holes(number, arg)) {
            hole = r;
            r = 0;
        }
    }
    shim_leave(&saved);
    return r != 0 ? r : hole;
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static int managed_munmap(struct vm_map *map, vm_offset_t addr, size_t len, int arg)
{
    (void)arg;
    return fl_sys_munmap(map, addr, len);
}

long mapping_munmap(vm_offset_t addr, size_t len)
{
    sigset_t saved;
    long r;

    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_munmap, addr, len);
    if (range_is_bad(addr, len))
        return span_each(SYS_munmap, addr, len, 0, managed_munmap);
    shim_enter(&saved);
    r = window_remove(addr, addr + round_page(len));
    file_reap();
    shim_leave(&saved);
    return r;
}

long mapping_mprotect(vm_offset_t addr, size_t len, int prot)
{
    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_mprotect, addr, len, prot);
    return span_each(SYS_mprotect, addr, len, prot, fl_sys_mprotect);
}

long mapping_msync(vm_offset_t addr, size_t len, int flags)
{
    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_msync, addr, len, flags);
    if ((flags & MS_INVALIDATE) != 0)
        fresh_range(addr, addr + len);
    return span_each(SYS_msync, addr, len, flags, fl_sys_msync);
}

long mapping_madvise(vm_offset_t addr, size_t len, int advice)
{
    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_madvise, addr, len, advice);
    if (advice == MADV_DONTNEED)
        fresh_range(addr, addr + len);
    return span_each(SYS_madvise, addr, len, advice, fl_sys_madvise);
}

static int managed_mlock(struct vm_map *map, vm_offset_t addr, size_t len, int arg)
{
    (void)arg;
    return fl_sys_mlock(map, addr, len);
}

static int managed_munlock(struct vm_map *map, vm_offset_t addr, size_t len, int arg)
{
    (void)arg;
    return fl_sys_munlock(map, addr, len);
}

/* The range need not be aligned: every page that it touches counts. */
long mapping_mlock(vm_offset_t addr, size_t len, unsigned flags)
{
    vm_offset_t start = trunc_page(addr);

    if (!shim_on() || !window_has(addr))
        return flags != 0 ? linux_syscall(SYS_mlock2, addr, len, flags) : linux_syscall(SYS_mlock, addr, len);
    if ((flags & ~(unsigned)MLOCK_ONFAULT) != 0)
        return -EINVAL;
    return span_each(SYS_mlock, start, len + (addr - start), 0, managed_mlock);
}

long mapping_munlock(vm_offset_t addr, size_t len)
{
    vm_offset_t start = trunc_page(addr);

    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_munlock, addr, len);
    return span_each(SYS_munlock, start, len + (addr - start), 0, managed_munlock);
}

/* The answer takes the way through a buffer: vec may be managed memory, which the core must not touch. */
long mapping_mincore(vm_offset_t addr, size_t len, unsigned char *vec)
{
    unsigned char chunk[MINCORE_CHUNK];
    uint64_t npages = atop(round_page(len));
    sigset_t saved;
    long r = 0;

    if (!shim_on() || !window_has(addr))
        return linux_syscall(SYS_mincore, addr, len, vec);
    if ((addr & VM_PAGE_MASK) != 0)
        return -EINVAL;
    for (uint64_t done = 0; r == 0 && done < npages;) {
        uint64_t n = npages - done < sizeof chunk ? npages - done : sizeof chunk;
        struct span span;

        shim_enter(&saved);
        span = window_span(addr + ptoa(done), addr + ptoa(done + n));
        n = atop(span.end - span.start);
        if (span.reserved)
            r = linux_syscall(SYS_mincore, span.start, ptoa(n), chunk);
        else
            r = fl_sys_mincore(fl_space(), span.start, ptoa(n), chunk);
        shim_leave(&saved);
        linux_signals_block(&saved);
        if (r == 0)
            r = user_copy_out(vec + done, chunk, n);
        linux_signals_restore(&saved);
        done += n;
    }
    return r;
}
