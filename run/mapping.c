/*
 * mapping.c: the mmap family: which mappings are managed, and the calls on them.
 *
 *              mmap of a regular file, long enough, not executable ──▶ fl_sys_mmap, inside the window
 *              anything else ─────────────────────────────────────────▶ the kernel, outside the window
 *
 *   window:  |··free··| managed | managed |··free··| reserved |··free··|
 *                 │          │                          │
 *                 │          └ the core's entry         └ the core's entry says reserved; the kernel maps
 *                 └ PROT_NONE, the machine's              something of the program's own (MAP_FIXED)
 *
 * A call on a range takes it apart into spans of the two kinds. MAP_FIXED outside the window is left to the
 * kernel: no view can be shown there.
 *
 * Lock: (S) around every call that changes mappings, so that what a range is made of stays true until the
 * call is done.
 */
#include "fdtable.h"
#include "real.h"
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

/* What fl_sys_mmap understands; the others (MAP_DENYWRITE …) mean nothing to the kernel either. */
#define MAPPING_FLAGS                                                                                        \
    (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK)
/* What the core has no way to do: such mappings are the kernel's. */
#define MAPPING_FOREIGN_FLAGS (MAP_ANONYMOUS | MAP_HUGETLB | MAP_SYNC | MAP_GROWSDOWN | MAP_32BIT)
#define MAPPING_MINCORE_CHUNK 1024 /* pages */

_Atomic uint64_t mappings_left_to_kernel;
/* Of reserved regions; changes under (S). While it is 0, no range is taken apart. */
static _Atomic uint64_t mapping_reserved_bytes;
/* (S) Some file that could have been managed has a shared mapping of the kernel's, or had one. */
static bool kernel_has_shared;

static bool range_in_window(vm_offset_t addr, size_t len)
{
    return shim_in_window(addr) && len <= LINUX_WINDOW_END - addr;
}

/* ---- spans ----------------------------------------------------------------------------------------- */

struct span {
    vm_offset_t start, end;
    bool reserved; /* the kernel's; else managed, or free */
};

/* The first span of [va, end). (S) held. */
static struct span span_first(vm_offset_t va, vm_offset_t end)
{
    struct span span = {va, end, false};
    struct fl_region region;

    if (mapping_reserved_bytes == 0)
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

/* Bad arguments (unaligned, wrapping, no length) are the core's to judge, in one piece. */
static bool range_is_odd(vm_offset_t addr, size_t len)
{
    return (addr & VM_PAGE_MASK) != 0 || len == 0 || round_page(len) < len ||
           !range_in_window(addr, round_page(len));
}

/*
 * Calls `managed` or the kernel for each span; the first error ends it. `arg` is the call's third argument.
 */
static long span_each(long number, vm_offset_t addr, size_t len, int arg,
                      int (*managed)(struct vm_map *map, vm_offset_t addr, size_t len, int arg))
{
    vm_offset_t end = addr + round_page(len);
    sigset_t saved;
    long r = 0;

    if (mapping_reserved_bytes == 0 || range_is_odd(addr, len)) {
        linux_signals_block(&saved);
        r = managed(fl_space(), addr, len, arg);
        linux_signals_restore(&saved);
        return r;
    }
    shim_enter(&saved);
    for (struct span span = {addr, addr, false}; r == 0 && span.end < end;) {
        span = span_first(span.end, end);
        if (span.reserved)
            r = linux_syscall(number, span.start, span.end - span.start, arg);
        else
            r = managed(fl_space(), span.start, span.end - span.start, arg);
    }
    shim_leave(&saved);
    return r;
}

/* The free window again, as the machine keeps it. */
static long window_restore(vm_offset_t start, vm_offset_t end)
{
    return linux_syscall(SYS_mmap, start, end - start, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/*
 * Removes whatever is in the range, managed or reserved, from the core and from the files' accounts. (S)
 * held.
 */
static long range_remove(vm_offset_t start, vm_offset_t end)
{
    long r = 0;

    for (struct span span = {start, start, false}; r == 0 && span.end < end;) {
        span = span_first(span.end, end);
        if (span.reserved) {
            r = window_restore(span.start, span.end);
            if (r > 0) {
                mapping_reserved_bytes -= span.end - span.start;
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
    return r;
}

/* ---- mmap ------------------------------------------------------------------------------------------ */

static bool filesystem_is_wanted(int fd)
{
    struct statfs fs;

    if (linux_syscall(SYS_fstatfs, fd, &fs) != 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC: /* memory already, or a device's: there is nothing to page from */
    case RAMFS_MAGIC:
    case HUGETLBFS_MAGIC:
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
        return false;
    default:
        return true;
    }
}

struct mmap_args {
    vm_offset_t addr;
    size_t len;
    int prot, flags, fd;
    uint64_t offset;
    struct stat st;
    unsigned mode; /* of fd */
};

/* A regular file that could be managed, wherever it is to be mapped; fills in st and mode. */
static bool file_is_wanted(struct mmap_args *args)
{
    int type = args->flags & MAP_TYPE;
    long open_flags;

    if ((args->flags & MAPPING_FOREIGN_FLAGS) != 0 || (args->prot & ~(PROT_READ | PROT_WRITE)) != 0 ||
        args->len == 0)
        return false;
    if (type != MAP_SHARED && type != MAP_PRIVATE)
        return false;
    if (linux_syscall(SYS_fstat, args->fd, &args->st) != 0 || !S_ISREG(args->st.st_mode))
        return false;
    open_flags = linux_syscall(SYS_fcntl, args->fd, F_GETFL);
    if (open_flags < 0 || (open_flags & O_PATH) != 0 || (open_flags & O_ACCMODE) == O_WRONLY)
        return false;
    args->mode = (open_flags & O_ACCMODE) == O_RDWR ? FL_FREAD | FL_FWRITE : FL_FREAD;
    return filesystem_is_wanted(args->fd);
}

/*
 * Small mappings are left to the kernel, but for those of a file that has managed mappings, or will get them
 * soon by the looks of it: one that is shared, writable and large (a header page that is mapped before the
 * rest). All mappings of one file must see the same bytes.
 */
static bool length_is_wanted(const struct mmap_args *args)
{
    if (args->len >= shim_config.min_size_bytes)
        return true;
    if ((args->flags & MAP_TYPE) == MAP_SHARED && (args->mode & FL_FWRITE) != 0 &&
        (uint64_t)args->st.st_size >= shim_config.min_size_bytes)
        return true;
    return file_find(args->st.st_dev, args->st.st_ino) != NULL;
}

/*
 * A shared mapping of the kernel's, from when the file was small, will not see what is written through the cache
 * before it is in the file, nor the other way: the file stays the kernel's.
 */
static bool kernel_maps_it(const struct mmap_args *args, vm_offset_t except)
{
    return kernel_has_shared && file_find(args->st.st_dev, args->st.st_ino) == NULL &&
           areas_map(args->st.st_dev, args->st.st_ino, except);
}

static long mmap_kernel(const struct mmap_args *args)
{
    return linux_syscall(SYS_mmap, args->addr, args->len, args->prot, args->flags, args->fd, args->offset);
}

/* Something of the kernel's at a fixed place inside the window. (S) held. */
static long mmap_reserved(const struct mmap_args *args)
{
    struct mmap_args fixed = *args;
    vm_offset_t end = args->addr + round_page(args->len);
    struct fl_region region;
    long r;

    if ((args->addr & VM_PAGE_MASK) != 0 || args->len == 0)
        return -EINVAL;
    if ((args->flags & MAP_FIXED_NOREPLACE) != 0) {
        if (fl_space_region(fl_space(), args->addr, &region) == 0 && region.start < end)
            return -EEXIST;
        fixed.flags = (args->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
    }
    r = range_remove(args->addr, end);
    if (r == 0)
        r = fl_space_reserve(fl_space(), args->addr, end);
    if (r != 0)
        return r;
    r = mmap_kernel(&fixed);
    if (r < 0)
        (void)!fl_sys_munmap(fl_space(), args->addr, end - args->addr); /* only forgets it */
    else
        mapping_reserved_bytes += end - args->addr;
    return r;
}

/*
 * (S) held. *opened is false when the file could not be opened for us, and the mapping is the kernel's to
 * make.
 */
static long mmap_managed(const struct mmap_args *args, bool *opened)
{
    vm_offset_t end = args->addr + round_page(args->len);
    bool fixed = (args->flags & MAP_FIXED) != 0;
    vm_offset_t addr = shim_in_window(args->addr) ? args->addr : 0;
    struct fl_file as_opened = {.mode = args->mode};
    struct file *file;
    long r;

    *opened = file_get(args->fd, &args->st, args->mode, &file) == 0;
    if (!*opened)
        return -ENODEV;
    as_opened.vnode = file->vnode;
    as_opened.told = fd_told_of(args->fd, file);
    if (fixed && (args->addr & VM_PAGE_MASK) == 0) {
        r = range_remove(args->addr, end);
        if (r != 0)
            return r;
    }
    r = fl_sys_mmap(fl_space(), addr, args->len, args->prot, args->flags & MAPPING_FLAGS, &as_opened,
                    args->offset);
    if (r > 0)
        file_account((vm_offset_t)r, (vm_offset_t)r + round_page(args->len), 1);
    file_idle_push(file);
    return r;
}

long mapping_mmap(vm_offset_t addr, size_t len, int prot, int flags, int fd, uint64_t offset)
{
    struct mmap_args args = {addr, len, prot, flags, fd, offset, {0}, 0};
    bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    bool inside = range_in_window(addr, len);
    bool managed = false;
    bool beside = false;
    bool eligible, wanted;
    sigset_t saved;
    long r = -ENODEV;

    if (!shim_on())
        return mmap_kernel(&args);
    eligible = file_is_wanted(&args);
    if (!eligible && !(fixed && inside))
        return mmap_kernel(&args);
    shim_enter(&saved);
    wanted = eligible && length_is_wanted(&args);
    beside = wanted && kernel_maps_it(&args, 0);
    if (fixed && inside)
        fork_gate_close(addr, addr + round_page(len));
    if (wanted && !beside && (!fixed || inside))
        r = mmap_managed(&args, &managed);
    if (!managed)
        r = fixed && inside ? mmap_reserved(&args) : mmap_kernel(&args);
    if (fixed && inside)
        fork_gate_open();
    kernel_has_shared |= eligible && !managed && (flags & MAP_TYPE) == MAP_SHARED;
    file_reap();
    shim_leave(&saved);
    if (wanted && !managed && r >= 0) {
        mappings_left_to_kernel++;
        shim_verbose("left to the kernel: %zu bytes of inode %lu: %s", len, (unsigned long)args.st.st_ino,
                     fixed && !inside ? "MAP_FIXED outside the managed window"
                     : beside         ? "the kernel has mapped it before, when it was small"
                                      : "the file cannot be opened again");
    }
    return r;
}

long mapping_mmap_grown(vm_offset_t old, size_t len, int prot, int fd, uint64_t offset)
{
    struct mmap_args args = {0, len, prot, MAP_SHARED, fd, offset, {0}, 0};
    bool managed = false;
    sigset_t saved;
    long r = -ENODEV;

    if (!file_is_wanted(&args))
        return -ENODEV;
    shim_enter(&saved);
    if (!kernel_maps_it(&args, old))
        r = mmap_managed(&args, &managed);
    file_reap();
    shim_leave(&saved);
    return r;
}

/* ---- the others ------------------------------------------------------------------------------------ */

static int managed_munmap(struct vm_map *map, vm_offset_t addr, size_t len, int arg)
{
    (void)arg;
    return fl_sys_munmap(map, addr, len);
}

long mapping_munmap(vm_offset_t addr, size_t len)
{
    sigset_t saved;
    long r;

    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_munmap, addr, len);
    if (range_is_odd(addr, len))
        return span_each(SYS_munmap, addr, len, 0, managed_munmap);
    shim_enter(&saved);
    r = range_remove(addr, addr + round_page(len));
    file_reap();
    shim_leave(&saved);
    return r;
}

long mapping_mprotect(vm_offset_t addr, size_t len, int prot)
{
    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_mprotect, addr, len, prot);
    return span_each(SYS_mprotect, addr, len, prot, fl_sys_mprotect);
}

long mapping_msync(vm_offset_t addr, size_t len, int flags)
{
    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_msync, addr, len, flags);
    return span_each(SYS_msync, addr, len, flags, fl_sys_msync);
}

long mapping_madvise(vm_offset_t addr, size_t len, int advice)
{
    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_madvise, addr, len, advice);
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

/* mlock's ranges need not be aligned: every page that they touch counts. */
long mapping_mlock(vm_offset_t addr, size_t len, unsigned flags)
{
    vm_offset_t start = trunc_page(addr);

    if (!shim_on() || !shim_in_window(addr))
        return flags != 0 ? linux_syscall(SYS_mlock2, addr, len, flags) : linux_syscall(SYS_mlock, addr, len);
    if ((flags & ~(unsigned)MLOCK_ONFAULT) != 0)
        return -EINVAL;
    return span_each(SYS_mlock, start, len + (addr - start), 0, managed_mlock);
}

long mapping_munlock(vm_offset_t addr, size_t len)
{
    vm_offset_t start = trunc_page(addr);

    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_munlock, addr, len);
    return span_each(SYS_munlock, start, len + (addr - start), 0, managed_munlock);
}

/*
 * The answer goes through our own buffer: vec may be managed memory itself, which nobody touches inside the
 * core.
 */
long mapping_mincore(vm_offset_t addr, size_t len, unsigned char *vec)
{
    unsigned char chunk[MAPPING_MINCORE_CHUNK];
    uint64_t npages = atop(round_page(len));
    sigset_t saved;
    long r = 0;

    if (!shim_on() || !shim_in_window(addr))
        return linux_syscall(SYS_mincore, addr, len, vec);
    if ((addr & VM_PAGE_MASK) != 0)
        return -EINVAL;
    for (uint64_t done = 0; r == 0 && done < npages;) {
        uint64_t n = npages - done < sizeof chunk ? npages - done : sizeof chunk;
        struct span span;

        shim_enter(&saved);
        span = span_first(addr + ptoa(done), addr + ptoa(done + n));
        n = atop(span.end - span.start);
        if (span.reserved)
            r = linux_syscall(SYS_mincore, span.start, ptoa(n), chunk);
        else
            r = fl_sys_mincore(fl_space(), span.start, ptoa(n), chunk);
        shim_leave(&saved);
        linux_signals_block(&saved);
        if (r == 0)
            r = hold_copy_out(vec + done, chunk, n);
        linux_signals_restore(&saved);
        done += n;
    }
    return r;
}

/* ---- mremap ---------------------------------------------------------------------------------------- */

/* What moves is the kernel's own: outside the window, or reserved in it. (S) held. */
static long mremap_kernel(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                          vm_offset_t new_addr)
{
    bool from_inside = shim_in_window(old_addr);
    bool to_inside = (flags & MREMAP_FIXED) != 0 && shim_in_window(new_addr);
    vm_offset_t new_end = new_addr + round_page(new_len);
    long r = 0;

    if (to_inside) {
        r = range_remove(new_addr, new_end);
        if (r == 0)
            r = fl_space_reserve(fl_space(), new_addr, new_end);
        if (r != 0)
            return r;
        mapping_reserved_bytes += new_end - new_addr;
    }
    r = linux_syscall(SYS_mremap, old_addr, old_len, new_len, flags, new_addr);
    if (r < 0) {
        if (to_inside)
            (void)!range_remove(new_addr,
                                new_end); /* a failure leaves the new place empty, as the kernel does */
    } else if (from_inside && (vm_offset_t)r != old_addr && (flags & MREMAP_DONTUNMAP) == 0) {
        (void)!range_remove(old_addr, old_addr + round_page(old_len)); /* whole entries: needs no memory */
    } else if (from_inside && (vm_offset_t)r == old_addr && new_len < old_len) {
        (void)!range_remove(old_addr + round_page(new_len), old_addr + round_page(old_len));
    }
    return r;
}

static long mremap_managed(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                           vm_offset_t new_addr)
{
    vm_offset_t old_end = old_addr + round_page(old_len);
    bool fixed = (flags & MREMAP_FIXED) != 0;
    long r;

    if (fixed && range_in_window(new_addr, new_len) && (new_addr & VM_PAGE_MASK) == 0 &&
        (new_addr >= old_end || new_addr + round_page(new_len) <= old_addr) &&
        (flags & MREMAP_MAYMOVE) != 0) {
        r = range_remove(new_addr, new_addr + round_page(new_len));
        if (r != 0)
            return r;
    }
    file_account(old_addr, old_end, -1);
    r = fl_sys_mremap(fl_space(), old_addr, old_len, new_len, flags, fixed ? new_addr : 0);
    if (r < 0) {
        file_account(old_addr, old_end, 1);
        return r;
    }
    file_account((vm_offset_t)r, (vm_offset_t)r + round_page(new_len), 1);
    if ((flags & MREMAP_DONTUNMAP) != 0)
        file_account(old_addr, old_end, 1);
    return r;
}

long mapping_mremap(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags, vm_offset_t new_addr)
{
    bool to_inside = (flags & MREMAP_FIXED) != 0 && shim_in_window(new_addr);
    struct fl_region region;
    sigset_t saved;
    bool reserved;
    long r;

    if (shim_on() && !shim_in_window(old_addr) && flags == MREMAP_MAYMOVE &&
        old_len < shim_config.min_size_bytes && new_len >= shim_config.min_size_bytes &&
        areas_adopt(old_addr, old_len, new_len, &r))
        return r;
    if (!shim_on() || (!shim_in_window(old_addr) && !to_inside))
        return linux_syscall(SYS_mremap, old_addr, old_len, new_len, flags, new_addr);
    shim_enter(&saved);
    reserved = !shim_in_window(old_addr) || (fl_space_region(fl_space(), old_addr, &region) == 0 &&
                                             region.start <= old_addr && region.reserved);
    if (reserved)
        r = mremap_kernel(old_addr, old_len, new_len, flags, new_addr);
    else if ((flags & MREMAP_FIXED) != 0 && !to_inside)
        r = -ENOMEM; /* no view can be shown outside the window */
    else
        r = mremap_managed(old_addr, old_len, new_len, flags, new_addr);
    file_reap();
    shim_leave(&saved);
    return r;
}

/* ---- for fork.c, signals.c, stats.c ---------------------------------------------------------------- */

size_t mapping_reserved_from(vm_offset_t va)
{
    struct fl_region region;

    if (mapping_reserved_bytes == 0 || fl_space_region(fl_space(), va, &region) != 0 || region.start > va ||
        !region.reserved)
        return 0;
    return region.end - va;
}

bool mapping_is_reserved(vm_offset_t va)
{
    return mapping_reserved_from(va) != 0;
}

int mapping_hand_over(const struct fl_region *region, const struct file *file)
{
    const struct mmap_args args = {.addr = region->start,
                                   .len = region->end - region->start,
                                   .prot = region->prot,
                                   .flags = MAP_SHARED | MAP_FIXED,
                                   .fd = file->fd,
                                   .offset = region->offset};
    long r = range_remove(args.addr, args.addr + args.len);

    /*
     * A page that a system call holds is dirty for as long as it can be written, which ends only now: what
     * our cache has of it must not be written behind the kernel's back later.
     */
    if (r == 0 && fl_vnode_sync(file->vnode, args.offset, args.len) != 0)
        shim_say("fork: what a system call wrote did not reach the file of inode %lu",
                 (unsigned long)file->ino);
    if (r == 0)
        r = mmap_reserved(&args);
    if (r < 0)
        return (int)r;
    kernel_has_shared = true;
    mappings_left_to_kernel++;
    shim_verbose("fork: left to the kernel: %zu bytes of inode %lu, shared and writable", args.len,
                 (unsigned long)file->ino);
    return region->wired ? (int)linux_syscall(SYS_mlock, args.addr, args.len) : 0;
}
