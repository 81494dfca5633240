/*
 * anon.c: anonymous mappings under the limit, private and shared ones, of which the heap is made (--anon).
 *
 *   malloc ─▶ the preloaded allocator ─▶ mmap ─┐
 *   the program ─▶ mmap(MAP_ANONYMOUS) ────────┴─▶ anon_is_eligible ─▶ anon_mmap: fl_sys_mmap ─▶ window
 *
 *   left to the kernel           because
 *   stacks (MAP_STACK,           the kernel writes to them at any moment
 *     MAP_GROWSDOWN)
 *   executable ones              they hold code, and are few
 *   MAP_HUGETLB, MAP_32BIT,      the core cannot serve them; a program that asks for an address, as a
 *     an address elsewhere         compiler at run time does, cannot use another one
 *   smaller ones                 many of them are stacks of signal handlers and coroutines
 *
 * A reservation (PROT_NONE) is managed too, since it becomes a heap by mprotect or MAP_FIXED.
 *
 * What libc maps for itself (stacks of threads, with their thread-local variables) does not come here.
 * Memory that the allocator mapped before the shim was started is the kernel's: a few megabytes.
 *
 * Lock: (S) where a fixed address replaces what lies there.
 *
 * Does not do: the child of a fork (fork.c), stacks in the heap (stacks.c).
 */
#include "anon.h"
#include "gate.h"
#include "hold.h"
#include "stats.h"
#include "window.h"
#include <sys/mman.h>

#define ANON_FOREIGN (MAP_HUGETLB | MAP_SYNC | MAP_GROWSDOWN | MAP_32BIT | MAP_STACK)
/* What fl_sys_mmap understands. */
#define ANON_FLAGS                                                                                           \
    (MAP_TYPE | MAP_ANONYMOUS | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE)
#define ANON_AT (MAP_FIXED | MAP_FIXED_NOREPLACE)

bool anon_is_eligible(const struct mmap_args *args)
{
    int type = args->flags & MAP_TYPE;

    if (!shim_config.anon || (args->flags & MAP_ANONYMOUS) == 0 || (args->flags & ANON_FOREIGN) != 0 ||
        (args->prot & ~(PROT_READ | PROT_WRITE)) != 0 || (type != MAP_PRIVATE && type != MAP_SHARED) ||
        args->len == 0 || (args->offset & VM_PAGE_MASK) != 0)
        return false;
    if (args->addr != 0 && (!window_has_range(args->addr, args->len) || zone_has(args->addr)))
        return false;
    return (args->flags & ANON_AT) != 0 || args->len >= shim_config.min_size_bytes;
}

/* To other threads the mapping takes the place of the old one in a single step. */
static long anon_mmap_fixed(const struct mmap_args *args)
{
    vm_offset_t end = args->addr + round_page(args->len);
    sigset_t saved;
    long r = -EINVAL;

    shim_enter(&saved);
    gate_shut_range(args->addr, end);
    if ((args->addr & VM_PAGE_MASK) == 0)
        r = window_remove(args->addr, end);
    if (r == 0)
        r = fl_sys_mmap(fl_space(), args->addr, args->len, args->prot, args->flags & ANON_FLAGS, NULL, 0);
    gate_open();
    shim_leave(&saved);
    return r;
}

/*
 * The core attaches private memory to the machine when it is first touched, and the touch is SIGSEGV. With
 * handler threads no thread needs a signal otherwise, also one in which libc blocks all of them. So the
 * memory is touched here, where that is allowed.
 */
static void anon_attach(vm_offset_t addr, const struct mmap_args *args)
{
    struct hold *held = NULL;
    size_t len = VM_PAGE_SIZE;

    if (shim_config.fault != FL_FAULT_THREAD || (args->prot & PROT_WRITE) == 0)
        return;
    if (hold_add(&held, addr, &len, VM_PROT_WRITE) != 0)
        shim_verbose("memory at %#lx is not attached yet", (unsigned long)addr);
    hold_drop(&held);
}

long anon_mmap(const struct mmap_args *args)
{
    sigset_t saved;
    long r;

    if ((args->flags & MAP_FIXED) != 0)
        return anon_mmap_fixed(args);
    linux_signals_block(&saved);
    r = fl_sys_mmap(fl_space(), args->addr, args->len, args->prot, args->flags & ANON_FLAGS, NULL, 0);
    if (r > 0)
        anon_attach((vm_offset_t)r, args);
    linux_signals_restore(&saved);
    if (r > 0 && args->prot != PROT_NONE)
        stats_eligible(round_page(args->len));
    return r == -ENOMEM && (args->flags & ANON_AT) == 0 ? -ENODEV : r;
}
