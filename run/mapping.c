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
 * kernel: no view can be shown there. What a program reserves to map files there is put into the window's
 * zone (reservation.c), where all is reserved that is not managed, and so stays when it is unmapped.
 *
 * Lock: (S) around every call that changes mappings, so that what a range is made of stays true until the
 * call is done.
 */
#include "fdtable.h"
#include "fresh.h"
#include "handover.h"
#include "locks.h"
#include "registry.h"
#include "watch.h"
#include "real.h"
#include "user_copy.h"
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

/* What fl_sys_mmap understands; the others (MAP_DENYWRITE …) mean nothing to the kernel either. */
#define MAPPING_FLAGS                                                                                        \
    (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK)
/* What the core has no way to do: such mappings are the kernel's. */
#define MAPPING_FOREIGN_FLAGS (MAP_ANONYMOUS | MAP_HUGETLB | MAP_SYNC | MAP_GROWSDOWN | MAP_32BIT)
#define MAPPING_MINCORE_CHUNK 1024 /* pages */
#define MAPPING_FAR           ((uint64_t)1 << 40)
#define MAPPING_FARTHEST      ((uint64_t)1 << 47) /* of a file the machine shows no more: memfd.h */

/* Of reserved regions but for those in the zone; changes under (S). */
static _Atomic uint64_t mapping_reserved_bytes;
/* Something of the zone is a part of the window. Set under (S). */
static _Atomic bool zone_is_used;
/* (S) Some file that could have been managed has a shared mapping of the kernel's, or had one. */
static bool kernel_has_shared;

static bool range_in_window(vm_offset_t addr, size_t len)
{
    return shim_in_window(addr) && len <= LINUX_WINDOW_END - addr;
}

/* Then no range needs to be taken apart. */
static bool nothing_is_reserved(void)
{
    return mapping_reserved_bytes == 0 && !zone_is_used;
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

    if (nothing_is_reserved())
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

/* A hole in the range does not end the call: what is behind it is done, too, and -ENOMEM told afterwards. */
static bool passes_holes(long number, int arg)
{
    return (number == SYS_madvise && arg != MADV_POPULATE_READ && arg != MADV_POPULATE_WRITE) ||
           (number == SYS_msync && arg != MS_ASYNC);
}

/*
 * Calls `managed` or the kernel for each span; the first error ends it, unless it is a hole's. `arg` is the
 * call's third argument.
 */
static long span_each(long number, vm_offset_t addr, size_t len, int arg,
                      int (*managed)(struct vm_map *map, vm_offset_t addr, size_t len, int arg))
{
    vm_offset_t end = addr + round_page(len);
    long hole = 0;
    sigset_t saved;
    long r = 0;

    /* The rights change with (S) held: a hand-over keeps them away for a while. */
    if ((nothing_is_reserved() && number != SYS_mprotect) || range_is_odd(addr, len)) {
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
        if (r == -ENOMEM && passes_holes(number, arg)) {
            hole = r;
            r = 0;
        }
    }
    shim_leave(&saved);
    return r != 0 ? r : hole;
}

/* The free window again, as the machine keeps it; the zone is free as the kernel keeps it. */
static long window_restore(vm_offset_t start, vm_offset_t end)
{
    if (shim_in_zone(start))
        return linux_syscall(SYS_munmap, start, end - start);
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
            if (r > 0) { /* never of the zone */
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
    if (shim_in_zone(start))
        reservation_settle(start, end);
    return r;
}

/* ---- mmap ------------------------------------------------------------------------------------------ */

struct mmap_args {
    vm_offset_t addr;
    size_t len;
    int prot, flags, fd;
    uint64_t offset;
    struct stat st;
    unsigned mode;  /* of fd */
    bool in_memory; /* a file that has a name, and only its file system is the wrong one */
};

/* Of shm_open: nobody expects it to be a file. */
static bool is_shared_memory(int fd)
{
    static const char place[] = "/dev/shm/";
    char link[32], name[sizeof place];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linux_syscall(SYS_readlink, link, name, sizeof name) == (long)sizeof name &&
           memcmp(name, place, sizeof place - 1) == 0;
}

static bool filesystem_is_wanted(struct mmap_args *args)
{
    struct statfs fs;

    if (linux_syscall(SYS_fstatfs, args->fd, &fs) != 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC: /* memory already, or a device's: there is nothing to page from */
    case RAMFS_MAGIC:
        args->in_memory = args->st.st_nlink > 0 && !is_shared_memory(args->fd);
        return false;
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

/* A regular file that could be managed, wherever it is to be mapped; fills in st and mode. */
static bool file_is_wanted(struct mmap_args *args)
{
    int type = args->flags & MAP_TYPE;
    long open_flags;

    if ((args->flags & MAPPING_FOREIGN_FLAGS) != 0 || (args->prot & ~(PROT_READ | PROT_WRITE)) != 0 ||
        args->len == 0 || args->offset > MAPPING_FARTHEST || args->len > MAPPING_FARTHEST - args->offset)
        return false;
    if (type != MAP_SHARED && type != MAP_PRIVATE)
        return false;
    if (linux_syscall(SYS_fstat, args->fd, &args->st) != 0 || !S_ISREG(args->st.st_mode))
        return false;
    open_flags = linux_syscall(SYS_fcntl, args->fd, F_GETFL);
    if (open_flags < 0 || (open_flags & O_PATH) != 0 || (open_flags & O_ACCMODE) == O_WRONLY)
        return false;
    args->mode = (open_flags & O_ACCMODE) == O_RDWR ? FL_FREAD | FL_FWRITE : FL_FREAD;
    return file_may_be(args->st.st_dev, args->st.st_ino) || filesystem_is_wanted(args);
}

/* Of a file that file_is_wanted takes for a known one: is it? (S) held. */
static bool file_system_is_wanted(struct mmap_args *args)
{
    return !file_may_be(args->st.st_dev, args->st.st_ino) ||
           file_find(args->st.st_dev, args->st.st_ino) != NULL || filesystem_is_wanted(args);
}

/*
 * Small mappings are left to the kernel, but for those of a file that has managed mappings, or will get
 * them soon by the looks of it: one that is shared, writable and large (a header page that is mapped before
 * the rest). All mappings of one file must see the same bytes.
 */
static bool length_is_wanted(const struct mmap_args *args)
{
    if ((args->flags & MAP_TYPE) == MAP_SHARED && locks_make_shared(args->fd, (uint64_t)args->st.st_size))
        return false;
    if (args->len >= shim_config.min_size_bytes)
        return true;
    if ((args->flags & MAP_TYPE) == MAP_SHARED && (args->mode & FL_FWRITE) != 0 &&
        (uint64_t)args->st.st_size >= shim_config.min_size_bytes)
        return true;
    return file_find(args->st.st_dev, args->st.st_ino) != NULL;
}

/*
 * A shared mapping of the kernel's, from when the file was small, will not see what is written through the
 * cache before it is in the file, nor the other way: the file stays the kernel's.
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

/*
 * How far a file may reach is its file system's affair: of what is longer or lies farther than files do the
 * kernel is asked, which tries it elsewhere. Errors: of mmap; 0: it may be.
 */
static long mmap_judge(const struct mmap_args *args)
{
    struct mmap_args trial = *args;
    long r;

    if (args->offset <= MAPPING_FAR && args->len <= MAPPING_FAR - args->offset)
        return 0;
    trial.addr = 0;
    trial.flags &= ~(MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_LOCKED);
    r = mmap_kernel(&trial);
    if (linux_syscall_failed(r))
        return r;
    linux_syscall(SYS_munmap, r, args->len);
    return 0;
}

/* The range of the zone can be managed: it is opened now, if it was not. (S) held. */
static bool zone_is_open(vm_offset_t addr, size_t len)
{
    vm_offset_t end = addr + round_page(len);

    if (!shim_in_zone(addr) || (addr & VM_PAGE_MASK) != 0 || len == 0 || len >= ZONE_END - addr ||
        reservation_open(addr, end) != 0)
        return false;
    zone_is_used = true;
    return true;
}

/* The kernel is about to map a file that may be known here, and idle: it must find there what was stored. */
static bool may_be_known(struct mmap_args *args)
{
    return files_mapped != 0 && (args->flags & MAP_ANONYMOUS) == 0 &&
           (args->st.st_ino != 0 || linux_syscall(SYS_fstat, args->fd, &args->st) == 0) &&
           file_may_be(args->st.st_dev, args->st.st_ino);
}

/* (S) held. */
static void let_go(struct mmap_args *args)
{
    struct file *file = may_be_known(args) ? file_find(args->st.st_dev, args->st.st_ino) : NULL;

    if (file != NULL)
        (void)file_let_go(file);
}

/* A mapping that the core could not serve. */
static long mmap_foreign(struct mmap_args *args)
{
    sigset_t saved;

    if (may_be_known(args)) {
        shim_enter(&saved);
        let_go(args);
        shim_leave(&saved);
    }
    return mmap_kernel(args);
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
    if (shim_in_zone(args->addr)) { /* the kernel's already, but for what is managed there */
        struct span span = span_first(args->addr, end);

        r = 0;
        if ((!span.reserved || span.end != end) && (args->flags & MAP_FIXED_NOREPLACE) == 0)
            r = range_remove(args->addr, end);
        return r != 0 ? r : mmap_kernel(args);
    }
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
    bool zone = fixed && shim_in_zone(args->addr);
    struct fl_file as_opened = {.mode = args->mode};
    struct file *file;
    long r;

    r = file_get(args->fd, &args->st, args->mode, &file);
    *opened = r == 0;
    if (!*opened)
        return r;
    as_opened.vnode = file->vnode;
    as_opened.told = fd_told_of(args->fd, file);
    if (fixed && (args->addr & VM_PAGE_MASK) == 0) {
        r = zone ? 0 : range_remove(args->addr, end);
        if (r != 0)
            return r;
    }
    if (zone) /* what is reserved there goes as the file comes: nobody sees a gap */
        file_account(args->addr, end, -1);
    r = fl_sys_mmap(fl_space(), addr, args->len, args->prot, args->flags & MAPPING_FLAGS, &as_opened,
                    args->offset);
    if (r > 0)
        file_account((vm_offset_t)r, (vm_offset_t)r + round_page(args->len), 1);
    if (zone && r < 0) {
        file_account(args->addr, end, 1); /* what is left */
        reservation_settle(args->addr, end);
    }
    file_unmapped_push(file);
    return r;
}

static bool replaces(const struct mmap_args *args)
{
    return (args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && shim_in_window(args->addr);
}

/* One step to other threads, which is several here. (S) held. */
static long mmap_managed_gated(const struct mmap_args *args, bool *opened)
{
    long r;

    if (replaces(args))
        handover_replace_begin(args->addr, args->addr + round_page(args->len));
    r = mmap_managed(args, opened);
    if (replaces(args))
        handover_replace_end();
    return r;
}

static long mmap_reserved_gated(const struct mmap_args *args)
{
    long r;

    handover_replace_begin(args->addr, args->addr + round_page(args->len));
    r = mmap_reserved(args);
    handover_replace_end();
    return r;
}

/*
 * Whether another process has the file in a way that no two caches of it may be; asked before it is managed
 * here, or written here. Waits for others: (S) is not held. Says so, the first time.
 */
static bool shared_with_others(const struct mmap_args *args)
{
    bool writes = (args->mode & FL_FWRITE) != 0;
    pid_t with;

    if (registry_claim(args->st.st_dev, args->st.st_ino, writes, &with) == REGISTRY_KERNELS) {
        if (with != 0)
            watch_say_shared(args->fd, args->st.st_ino, with);
        return true;
    }
    writes |= registry_may_write(args->st.st_dev, args->st.st_ino);
    if (!watch_has_company(args->fd, &args->st, writes, &with))
        return false;
    watch_say_shared(args->fd, args->st.st_ino, with);
    return true;
}

/*
 * (S) held. Runtimes map parts of a program over reserved addresses, to write to all of them (Java's class
 * data archive is relocated at each start). Such pages have nowhere else to go: within the limit they would
 * only take the place of others, and soon end the process.
 */
static bool is_image(const struct mmap_args *args)
{
    return (args->flags & MAP_TYPE) == MAP_PRIVATE && (args->prot & PROT_WRITE) != 0 &&
           file_find(args->st.st_dev, args->st.st_ino) == NULL;
}

/* Why file_get failed. */
static enum left_reason left_by(int error)
{
    return error == -EMFILE || error == -ENFILE ? LEFT_DESCRIPTORS : LEFT_REOPEN;
}

/*
 * A file that is new here, or is to be written for the first time, is claimed, with (S) released meanwhile.
 * Whether it may be managed. (S) held.
 */
static bool claim(const struct mmap_args *args, sigset_t *saved)
{
    struct file *file = file_find(args->st.st_dev, args->st.st_ino);
    bool shared = false;

    if (file == NULL || (args->mode & ~file->mode) != 0) {
        shim_leave(saved);
        shared = shared_with_others(args);
        shim_enter(saved);
        file = file_find(args->st.st_dev, args->st.st_ino);
    }
    if (!shared && registry_look(args->st.st_dev, args->st.st_ino) != REGISTRY_KERNELS)
        return true;
    if (file != NULL)
        watch_hand_over(file, 0);
    registry_hand_over(args->st.st_dev, args->st.st_ino);
    return false;
}

/*
 * A mapping that should be managed: maps it, unless there is a reason not to: *left. `except`:
 * kernel_maps_it. (S) held, and released in between.
 */
static long mmap_wanted(const struct mmap_args *args, vm_offset_t except, sigset_t *saved,
                        enum left_reason *left)
{
    bool managed = false;
    long r = -ENODEV;

    if (!claim(args, saved)) {
        *left = LEFT_SHARED;
    } else if (kernel_maps_it(args, except)) {
        *left = LEFT_BESIDE;
    } else {
        r = mmap_managed_gated(args, &managed);
        *left = managed ? LEFT_NOT : left_by((int)r);
    }
    if (!managed && file_find(args->st.st_dev, args->st.st_ino) == NULL)
        registry_forget(args->st.st_dev, args->st.st_ino);
    return r;
}

/* The account of one mapping, made now. */
static void tell_mmap(const struct mmap_args *args, enum left_reason reason)
{
    stats_eligible(round_page(args->len));
    if (reason == LEFT_NOT)
        return;
    stats_left(reason, round_page(args->len));
    shim_verbose("left to the kernel: %zu bytes of inode %lu: %s", args->len, (unsigned long)args->st.st_ino,
                 stats_why(reason));
}

/*
 * The same where the program wants it: anywhere, or at a place of the window, or over a reservation, which
 * becomes a part of the window now: *inside. What may replace nothing the kernel maps in the zone: it knows
 * what is there. (S) held.
 */
static long mmap_in_place(const struct mmap_args *args, bool *inside, sigset_t *saved, enum left_reason *left)
{
    bool replaces = (args->flags & MAP_FIXED) != 0;
    bool zone = shim_in_zone(args->addr);
    bool fixed = replaces || (args->flags & MAP_FIXED_NOREPLACE) != 0;

    *left = LEFT_FIXED;
    if (fixed && zone && is_image(args)) {
        *left = LEFT_IMAGE;
        return -ENODEV;
    }
    if (replaces && zone_is_open(args->addr, args->len))
        *inside = true;
    if (fixed && (!*inside || (zone && !replaces)))
        return -ENODEV;
    return mmap_wanted(args, 0, saved, left);
}

long mapping_mmap(vm_offset_t addr, size_t len, int prot, int flags, int fd, uint64_t offset)
{
    struct mmap_args args = {
        .addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .offset = offset};
    bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    bool inside = range_in_window(addr, len);
    enum left_reason left = LEFT_FIXED;
    bool eligible, wanted;
    sigset_t saved;
    long r = -ENODEV;

    if (!shim_on())
        return mmap_kernel(&args);
    if ((flags & MAP_ANONYMOUS) != 0 && (prot & PROT_WRITE) == 0 && offset == 0) {
        r = reservation_place(addr, len, prot, flags);
        if (r > 0)
            return r;
    }
    eligible = file_is_wanted(&args);
    if (!eligible && !(fixed && inside)) {
        r = mmap_foreign(&args);
        if (args.in_memory && r >= 0 && len >= shim_config.min_size_bytes)
            tell_mmap(&args, LEFT_MEMORY);
        return r;
    }
    r = eligible ? mmap_judge(&args) : 0;
    if (r != 0)
        return r;
    shim_enter(&saved);
    eligible = eligible && file_system_is_wanted(&args);
    wanted = eligible && length_is_wanted(&args);
    if (wanted)
        r = mmap_in_place(&args, &inside, &saved, &left);
    if (left != LEFT_NOT) {
        let_go(&args);
        r = fixed && inside ? mmap_reserved_gated(&args) : mmap_kernel(&args);
        kernel_has_shared |= eligible && (flags & MAP_TYPE) == MAP_SHARED;
    }
    file_reap();
    shim_leave(&saved);
    if (wanted && r >= 0)
        tell_mmap(&args, left);
    return r;
}

long mapping_mmap_grown(vm_offset_t old, size_t len, int prot, int fd, uint64_t offset)
{
    struct mmap_args args = {.len = len, .prot = prot, .flags = MAP_SHARED, .fd = fd, .offset = offset};
    enum left_reason left = LEFT_MEMORY;
    sigset_t saved;
    long r = -ENODEV;

    if (!file_is_wanted(&args))
        return -ENODEV;
    shim_enter(&saved);
    if (file_system_is_wanted(&args))
        r = mmap_wanted(&args, old, &saved, &left);
    file_reap();
    shim_leave(&saved);
    if (left == LEFT_NOT && r >= 0)
        tell_mmap(&args, LEFT_NOT);
    return left == LEFT_NOT ? r : -ENODEV;
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
    if ((flags & MS_INVALIDATE) != 0)
        fresh_range(addr, addr + len);
    return span_each(SYS_msync, addr, len, flags, fl_sys_msync);
}

long mapping_madvise(vm_offset_t addr, size_t len, int advice)
{
    if (!shim_on() || !shim_in_window(addr))
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
            r = user_copy_out(vec + done, chunk, n);
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
    /* In the zone all that is not managed is reserved, before and after. */
    bool from_inside = shim_in_window(old_addr) && !shim_in_zone(old_addr);
    bool to_inside = (flags & MREMAP_FIXED) != 0 && shim_in_window(new_addr);
    bool to_zone = to_inside && shim_in_zone(new_addr);
    vm_offset_t new_end = new_addr + round_page(new_len);
    long r = 0;

    if (to_inside) {
        r = range_remove(new_addr, new_end);
        if (r == 0 && !to_zone)
            r = fl_space_reserve(fl_space(), new_addr, new_end);
        if (r != 0)
            return r;
        mapping_reserved_bytes += to_zone ? 0 : new_end - new_addr;
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
    if (fixed && shim_in_zone(new_addr))
        reservation_settle(new_addr, new_addr + round_page(new_len));
    if (shim_in_zone(old_addr))
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
static bool mremap_is_odd(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
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
 * A managed mapping goes to where no view can be shown, or leaves behind a second one that the core cannot
 * make. Its file is the kernel's from now on, and the kernel does the rest. (S) held.
 */
static long mremap_leaving(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags,
                           vm_offset_t new_addr)
{
    struct fl_region region;
    struct file *file;
    int error;

    if (mremap_is_odd(old_addr, old_len, new_len, flags, new_addr))
        return -EINVAL;
    if (fl_space_region(fl_space(), old_addr, &region) != 0 || region.start > old_addr ||
        region.vnode == NULL)
        return -EFAULT;
    file = file_of_vnode(region.vnode);
    error = handover_file(file, LEFT_FIXED);
    return error != 0 ? error : mremap_kernel(old_addr, old_len, new_len, flags, new_addr);
}

long mapping_mremap(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags, vm_offset_t new_addr)
{
    bool fixed = (flags & MREMAP_FIXED) != 0;
    bool to_inside = fixed && shim_in_window(new_addr);
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
    if (!reserved && fixed && zone_is_open(new_addr, new_len))
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

/* ---- for fork.c, signals.c, stacks.c, stats.c ------------------------------------------------------ */

size_t mapping_reserved_from(vm_offset_t va)
{
    struct fl_region region;

    if (nothing_is_reserved() || fl_space_region(fl_space(), va, &region) != 0 || region.start > va ||
        !region.reserved)
        return 0;
    return region.end - va;
}

bool mapping_is_reserved(vm_offset_t va)
{
    return mapping_reserved_from(va) != 0;
}

int mapping_leave(const struct fl_region *region)
{
    bool zone = shim_in_zone(region->start); /* whose reservations look after themselves */
    long r = range_remove(region->start, region->end);

    if (r == 0 && !zone)
        r = fl_space_reserve(fl_space(), region->start, region->end);
    if (r == 0 && !zone)
        mapping_reserved_bytes += region->end - region->start;
    return (int)r;
}

int mapping_arrive(const struct fl_region *region, const struct file *file, vm_offset_t copy)
{
    size_t len = region->end - region->start;
    long r;

    if (copy != 0)
        r = linux_syscall(SYS_mremap, copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, region->start);
    else
        r = linux_syscall(SYS_mmap, region->start, len, region->prot, MAP_SHARED | MAP_FIXED, file->fd,
                          region->offset);
    if (linux_syscall_failed(r)) {
        (void)range_remove(region->start, region->end);
        return (int)r;
    }
    kernel_has_shared |= region->shared;
    if (region->inherit == FL_INHERIT_NONE)
        linux_syscall(SYS_madvise, region->start, len, MADV_DONTFORK);
    return region->wired ? (int)linux_syscall(SYS_mlock, region->start, len) : 0;
}
