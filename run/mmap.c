/*
 * mmap.c: mmap, by the core or by the kernel.
 *
 *   mapping_mmap ─┬─ anonymous, with --anon ────────▶ anon_mmap: fl_sys_mmap, inside the window
 *                 ├─ anonymous, without an address ─▶ reservation_place: addresses to map files over later
 *                 ├─ eligible (eligible.c) ─────────▶ mmap_managed: fl_sys_mmap, inside the window
 *                 ├─ MAP_FIXED in the window ───────▶ mmap_reserved: the kernel's, over a reserved entry
 *                 └─ anything else ─────────────────▶ the kernel, outside the window
 *
 * MAP_FIXED outside the window is left to the kernel: the machine can show no page there.
 *
 * Lock: (S) from the decision until the mapping is there, but while eligible_claim waits for other processes.
 */
#include "mapping.h"
#include "anon.h"
#include "eligible.h"
#include "fdtable.h"
#include "file_idle.h"
#include "files.h"
#include "gate.h"
#include "registry.h"
#include "reservation.h"
#include "stats.h"
#include "window.h"
#include <sys/mman.h>

/* What fl_sys_mmap understands. The other flags (MAP_DENYWRITE …) mean nothing to the kernel either. */
#define MAPPING_FLAGS                                                                                        \
    (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK)
#define MAPPING_FAR ((uint64_t)1 << 40) /* every file system's files may reach so far */

/* ---- by the kernel --------------------------------------------------------------------------------- */

static long mmap_kernel(const struct mmap_args *args)
{
    return linux_syscall(SYS_mmap, args->addr, args->len, args->prot, args->flags, args->fd, args->offset);
}

/*
 * How far a file may reach depends on its file system: for a longer mapping, or one that lies
 * farther, the kernel is asked, which makes it elsewhere for a moment. Errors: of mmap(2).
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

/*
 * The kernel is about to map a file that may be managed and
 * idle: what was stored must be in the file by then.
 */
static bool may_be_known(struct mmap_args *args)
{
    return files_mapped != 0 && (args->flags & MAP_ANONYMOUS) == 0 &&
           (args->st.st_ino != 0 || linux_syscall(SYS_fstat, args->fd, &args->st) == 0) &&
           file_may_be(args->st.st_dev, args->st.st_ino);
}

static void let_go(struct mmap_args *args) FL_REQUIRES(shim_lock)
{
    struct file *file = may_be_known(args) ? file_find(args->st.st_dev, args->st.st_ino) : NULL;

    if (file != NULL)
        (void)file_let_go(file);
}

/* A mapping that the core cannot serve. */
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

/* A mapping of the kernel's at a fixed place inside the window. */
static long mmap_reserved(const struct mmap_args *args) FL_REQUIRES(shim_lock)
{
    struct mmap_args fixed = *args;
    vm_offset_t end = args->addr + round_page(args->len);
    struct fl_region region;
    long r;

    if ((args->addr & VM_PAGE_MASK) != 0 || args->len == 0)
        return -EINVAL;
    if (zone_has(args->addr)) { /* reserved already, but for what is managed there */
        struct span span = window_span(args->addr, end);

        r = 0;
        if ((!span.reserved || span.end != end) && (args->flags & MAP_FIXED_NOREPLACE) == 0)
            r = window_remove(args->addr, end);
        return r != 0 ? r : mmap_kernel(args);
    }
    if ((args->flags & MAP_FIXED_NOREPLACE) != 0) {
        if (fl_space_region(fl_space(), args->addr, &region) == 0 && region.start < end)
            return -EEXIST;
        fixed.flags = (args->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
    }
    r = window_remove(args->addr, end);
    if (r == 0)
        r = window_reserve(args->addr, end);
    if (r != 0)
        return r;
    r = mmap_kernel(&fixed);
    if (r < 0)
        window_unreserve(args->addr, end);
    return r;
}

/* ---- by the core ----------------------------------------------------------------------------------- */

/* *opened is false when the file cannot be opened a second time: then the mapping is left to the kernel. */
static long mmap_managed(const struct mmap_args *args, bool *opened) FL_REQUIRES(shim_lock)
{
    vm_offset_t end = args->addr + round_page(args->len);
    bool fixed = (args->flags & MAP_FIXED) != 0;
    vm_offset_t addr = window_has(args->addr) ? args->addr : 0;
    bool zone = fixed && zone_has(args->addr);
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
        r = zone ? 0 : window_remove(args->addr, end);
        if (r != 0)
            return r;
    }
    if (zone) /* fl_sys_mmap replaces what is reserved there in a single step */
        file_account(args->addr, end, -1);
    r = fl_sys_mmap(fl_space(), addr, args->len, args->prot, args->flags & MAPPING_FLAGS, &as_opened,
                    args->offset);
    if (r > 0)
        file_account((vm_offset_t)r, (vm_offset_t)r + round_page(args->len), 1);
    if (zone && r < 0) {
        file_account(args->addr, end, 1); /* of what is still mapped */
        reservation_settle(args->addr, end);
    }
    file_unmapped_push(file);
    return r;
}

static bool replaces(const struct mmap_args *args)
{
    return (args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && window_has(args->addr);
}

/* To other threads the mapping takes the place of the old one in a single step. */
static long mmap_managed_gated(const struct mmap_args *args, bool *opened) FL_REQUIRES(shim_lock)
{
    long r;

    if (replaces(args))
        gate_shut_range(args->addr, args->addr + round_page(args->len));
    r = mmap_managed(args, opened);
    if (replaces(args))
        gate_open();
    return r;
}

static long mmap_reserved_gated(const struct mmap_args *args) FL_REQUIRES(shim_lock)
{
    long r;

    gate_shut_range(args->addr, args->addr + round_page(args->len));
    r = mmap_reserved(args);
    gate_open();
    return r;
}

/* Why file_get failed. */
static enum left_reason left_by(int error)
{
    return error == -EMFILE || error == -ENFILE ? LEFT_DESCRIPTORS : LEFT_REOPEN;
}

/*
 * Maps what should be managed, unless there is a reason not to: *left. `except`: as
 * for eligible_kernel_maps. (S) is released while other processes are waited for.
 */
static long mmap_wanted(const struct mmap_args *args, vm_offset_t except, sigset_t *saved,
                        enum left_reason *left) FL_REQUIRES(shim_lock)
{
    bool managed = false;
    long r = -ENODEV;

    if (!eligible_claim(args, saved)) {
        *left = LEFT_SHARED;
    } else if (eligible_kernel_maps(args, except)) {
        *left = LEFT_BESIDE;
    } else {
        r = mmap_managed_gated(args, &managed);
        *left = managed ? LEFT_NOT : left_by((int)r);
    }
    if (!managed && file_find(args->st.st_dev, args->st.st_ino) == NULL)
        registry_forget(args->st.st_dev, args->st.st_ino);
    return r;
}

/* Counts the mapping that was just made. */
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
 * The same at the place that the program wants: anywhere, a place of the window,
 * or over a reservation, which becomes a part of the window now: *inside. With
 * MAP_FIXED_NOREPLACE the kernel maps in the zone, since it knows what is there.
 */
static long mmap_in_place(const struct mmap_args *args, bool *inside, sigset_t *saved, enum left_reason *left)
    FL_REQUIRES(shim_lock)
{
    bool replaces = (args->flags & MAP_FIXED) != 0;
    bool zone = zone_has(args->addr);
    bool fixed = replaces || (args->flags & MAP_FIXED_NOREPLACE) != 0;

    *left = LEFT_FIXED;
    if (fixed && zone && eligible_is_image(args)) {
        *left = LEFT_IMAGE;
        return -ENODEV;
    }
    if (replaces && window_open_zone(args->addr, args->len))
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
    bool inside = window_has_range(addr, len);
    enum left_reason left = LEFT_FIXED;
    bool eligible, wanted;
    sigset_t saved;
    long r = -ENODEV;

    if (!shim_on())
        return mmap_kernel(&args);
    if (anon_is_eligible(&args)) {
        r = anon_mmap(&args);
        return r != -ENODEV ? r : mmap_kernel(&args);
    }
    if ((flags & MAP_ANONYMOUS) != 0 && (prot & PROT_WRITE) == 0 && offset == 0) {
        r = reservation_place(addr, len, prot, flags);
        if (r > 0)
            return r;
    }
    eligible = eligible_file(&args);
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
    eligible = eligible && eligible_file_still(&args);
    wanted = eligible && eligible_length(&args);
    if (wanted)
        r = mmap_in_place(&args, &inside, &saved, &left);
    if (left != LEFT_NOT) {
        let_go(&args);
        r = fixed && inside ? mmap_reserved_gated(&args) : mmap_kernel(&args);
        if (eligible && (flags & MAP_TYPE) == MAP_SHARED)
            eligible_left_shared();
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

    if (!eligible_file(&args))
        return -ENODEV;
    shim_enter(&saved);
    if (eligible_file_still(&args))
        r = mmap_wanted(&args, old, &saved, &left);
    file_reap();
    shim_leave(&saved);
    if (left == LEFT_NOT && r >= 0)
        tell_mmap(&args, LEFT_NOT);
    return left == LEFT_NOT ? r : -ENODEV;
}
