/*
 * fork.c: what becomes of managed mappings when the process forks. The
 * child runs without Faultline: all of its memory is the kernel's own.
 *
 *   mapping in the parent        the parent afterwards             the child
 *   any, of a file that a        the kernel's mapping              the same: what was shared stays shared
 *     shared mapping may write     (handover.c)
 *   shared, read-only            managed                           the kernel's mapping of the file
 *   private                      managed                           the kernel's mapping; pages written before
 *                                                                   the fork are copied
 *   anonymous, shared            the kernel's mapping of a memfd   the same
 *   anonymous, private           managed                           the kernel's anonymous memory; the pages
 *                                                                   are copied, those in swap too
 *
 * The machine's mappings are not inherited (MADV_DONTFORK), so the child's ranges are empty until
 * fork_child fills them, before fork returns there: the child never sees wrong bytes.
 *
 *   parent:  pages ─ held, a run at a time ─▶ image: an unnamed file        child:  image ─▶ its own memory
 *
 * The image lies where swap does, since it may be longer than the limit; it is gone when the fork ends.
 * vfork, posix_spawn, system and popen share the parent's memory until exec, and need none of this.
 *
 * The allocator has fork handlers too, and holds its locks from one to the other, while other threads that
 * hold them may wait for (S). libc runs the handlers that are registered first as the last before a fork
 * and the first after it. So the shim registers its own as soon as anyone registers one: (S) is taken last,
 * and the child's heap is there before anyone looks at it. libc alone is earlier, with the streams that it
 * resets. That is a fault, and fork_child_fault fills the ranges.
 *
 * Lock: (S) from fork_prepare to fork_parent. The child resets it.
 */
#include "fork.h"
#include "file_idle.h"
#include "files.h"
#include "gate.h"
#include "handover.h"
#include "hold.h"
#include "real.h"
#include "registry.h"
#include "signals.h"
#include "stats.h"
#include "swap_file.h"
#include "watch.h"
#include <fcntl.h>
#include <linux_sigaction.h>
#include <string.h>
#include <sys/mman.h>

struct fork_region {
    vm_offset_t start, end;
    uint64_t offset;
    int fd; /* of the file; -1: anonymous */
    int prot;
    bool shared;
};

/* Neighbouring pages that the child gets from the image. */
struct fork_run {
    vm_offset_t start, end;
    uint64_t at; /* in the image */
};

/*
 * What the child needs to know. It must not ask the core, whose
 * memory it shares with the parent, where the core goes on working.
 */
static struct {
    sigset_t saved;
    uintptr_t thread; /* that forks; 0: no fork is prepared */
    bool filled;      /* in the child: its memory is there */
    int fd;           /* of the image; 0: there is none */
    uint64_t bytes;   /* in it */
    struct fl_hold hold;
    struct fork_region *region;
    struct fork_run *run;
    size_t nregions, nruns, most_regions, most_runs;
} image FL_GUARDED_BY(shim_lock);

/* Memory that is allocated by the kernel page by page, as it is used. NULL: no memory. */
static void *fork_memory(size_t len)
{
    long memory = linux_syscall(SYS_mmap, 0, round_page(len), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

    return linux_syscall_failed(memory) ? NULL : (void *)memory;
}

/*
 * Marks the files that a shared mapping may write, and those of which the
 * child inherits a shared mapping. Files with both marks are handed over.
 * The child inherits none if the program asked for that (MADV_DONTFORK).
 */
static void find_written(void) FL_REQUIRES(shim_lock)
{
    struct fl_region region;

    files_unmark();
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = file_of_region(&region);

        image.most_regions += !region.reserved;
        if (file == NULL || !region.shared)
            continue;
        file->written |= (region.max_prot & VM_PROT_WRITE) != 0;
        file->inherited |= region.inherit != FL_INHERIT_NONE;
    }
}

/* ---- handing over ---------------------------------------------------------------------------------- */

/*
 * A file whose dirty pages cannot be written stays managed in the parent, and the child's ranges stay
 * empty.
 */
static void hand_over_written(void) FL_REQUIRES(shim_lock)
{
    struct fl_region region;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = file_of_region(&region);
        int error;

        if (file == NULL || !region.shared || !file->written || !file->inherited)
            continue;
        error = handover_file(file, LEFT_FORK);
        if (error != 0) {
            file->inherited = false; /* so that it is not tried again */
            shim_say("fork: shared mappings of inode %lu cannot be handed to the kernel (%s) and are missing "
                     "in the child",
                     (unsigned long)file->ino, strerrordesc_np(-error));
        }
    }
}

/*
 * Anonymous memory that the child shares. What is left of it in a
 * failure stays managed in the parent, and the child's ranges are empty.
 */
static void hand_over_shared(void) FL_REQUIRES(shim_lock)
{
    int error = handover_anonymous(LINUX_WINDOW_START, LINUX_WINDOW_END, true, LEFT_FORK);

    if (error != 0)
        shim_say("fork: shared memory cannot be handed to the kernel (%s) and is missing in the child",
                 strerrordesc_np(-error));
}

/* ---- what stays managed: described for the child, and written pages copied --------------------------- */

static bool image_alloc(void) FL_REQUIRES(shim_lock)
{
    struct fl_vm_stats stats;

    fl_vm_stats(&stats);
    image.most_runs = stats.nframes + (stats.swap_pages - stats.swap_free);
    image.region = fork_memory(image.most_regions * sizeof *image.region);
    image.run = fork_memory(image.most_runs * sizeof *image.run);
    return image.region != NULL && image.run != NULL;
}

static void image_free(void) FL_REQUIRES(shim_lock)
{
    if (image.region != NULL)
        linux_syscall(SYS_munmap, image.region, round_page(image.most_regions * sizeof *image.region));
    if (image.run != NULL)
        linux_syscall(SYS_munmap, image.run, round_page(image.most_runs * sizeof *image.run));
    if (image.fd > 0)
        linux_syscall(SYS_close, image.fd);
    image.thread = 0;
    memset(&image.filled, 0, sizeof image - offsetof(__typeof__(image), filled));
}

/* Where there is no directory for it, the image lies in memory. Errors: of memfd_create(2). */
static int image_open(void) FL_REQUIRES(shim_lock)
{
    const char *place[] = {shim_config.swap_path, swap_file_dir()};
    long fd = -ENOENT;

    if (image.fd > 0)
        return 0;
    for (size_t i = 0; fd < 0 && i < sizeof place / sizeof place[0]; i++)
        if (place[i] != NULL)
            fd = linux_syscall(SYS_openat, AT_FDCWD, place[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = linux_syscall(SYS_memfd_create, "fork", MFD_CLOEXEC);
    image.fd = fd > 0 ? (int)fd : 0;
    return fd < 0 ? (int)fd : 0;
}

/* Appends resident memory to the image. Errors: of write(2). */
static int image_write(vm_offset_t va, size_t len) FL_REQUIRES(shim_lock)
{
    int error = image_open();

    for (size_t done = 0; error == 0 && done < len;) {
        long n = linux_syscall(SYS_pwrite64, image.fd, va + done, len - done, image.bytes + done);

        if (n <= 0)
            error = n < 0 ? (int)n : -EIO;
        else
            done += (size_t)n;
    }
    return error;
}

/*
 * Copies the longest beginning of the range that can be held; *len is its length. first:
 * the first run of its region. Errors: of fl_hold, write(2).
 */
static int copy_run(vm_offset_t va, size_t *len, size_t first) FL_REQUIRES(shim_lock)
{
    struct fork_run *last = image.nruns > first ? &image.run[image.nruns - 1] : NULL;
    int error;

    while ((error = fl_hold(fl_space(), va, *len, VM_PROT_READ, &image.hold)) != 0 && *len > VM_PAGE_SIZE)
        *len = ptoa(atop(*len) / 2);
    if (error != 0)
        return error;
    error = image_write(va, *len);
    fl_unhold(&image.hold);
    if (error != 0)
        return error;
    if (last != NULL && last->end == va) {
        last->end += *len;
    } else {
        if (image.nruns == image.most_runs)
            return -ENOMEM;
        image.run[image.nruns++] = (struct fork_run){va, va + *len, image.bytes};
    }
    image.bytes += *len;
    return 0;
}

/* How many bytes from the page at va on, up to a chunk, are in no file. */
static size_t run_length(vm_offset_t va, vm_offset_t end)
{
    size_t len = VM_PAGE_SIZE;
    vm_offset_t next;

    while (len < hold_chunk_bytes() && va + len < end &&
           fl_space_private_page(fl_space(), va + len, va + len + VM_PAGE_SIZE, &next) == 0)
        len += VM_PAGE_SIZE;
    return len;
}

/* Copies the pages that the private mapping has written. Errors: of fl_hold, write(2). */
static int copy_written(const struct fl_region *region) FL_REQUIRES(shim_lock)
{
    size_t nruns = image.nruns, len = 0;
    int error = 0;

    for (vm_offset_t va = region->start;
         error == 0 && fl_space_private_page(fl_space(), va, region->end, &va) == 0; va += len) {
        len = run_length(va, region->end);
        error = copy_run(va, &len, nruns);
    }
    if (error != 0)
        image.nruns = nruns;
    return error;
}

/*
 * A mapping that may not be read is made readable for the copy.
 * Another thread that reads it meanwhile only misses a fault.
 */
static int describe(const struct fl_region *region, const struct file *file) FL_REQUIRES(shim_lock)
{
    struct fork_region *own = &image.region[image.nregions];
    size_t len = region->end - region->start;
    int error = 0;

    *own = (struct fork_region){.start = region->start,
                                .end = region->end,
                                .offset = region->offset,
                                .fd = file != NULL ? file->fd : -1,
                                .prot = region->prot,
                                .shared = region->shared};
    if (!region->shared && region->inherit != FL_INHERIT_ZERO) {
        bool hidden = (region->prot & VM_PROT_READ) == 0;

        if (hidden)
            error = fl_sys_mprotect(fl_space(), region->start, len, PROT_READ);
        if (error == 0)
            error = copy_written(region);
        if (hidden && error == 0)
            error = fl_sys_mprotect(fl_space(), region->start, len, region->prot);
    }
    image.nregions += error == 0;
    return error;
}

/* The bytes of managed mappings that the child inherits. */
static uint64_t inherited_bytes(void)
{
    struct fl_region region;
    uint64_t bytes = 0;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0; va = region.end)
        if (!region.reserved && region.inherit != FL_INHERIT_NONE)
            bytes += region.end - region.start;
    return bytes;
}

/* Describes every region that the child inherits and that stays managed here. */
static void describe_all(void) FL_REQUIRES(shim_lock)
{
    bool room = image_alloc();
    struct fl_region region;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = file_of_region(&region);
        int error = room ? 0 : -ENOMEM;

        if (region.reserved || region.inherit == FL_INHERIT_NONE || image.nregions == image.most_regions ||
            (region.shared && (file == NULL || file->written)))
            continue;
        if (error == 0)
            error = describe(&region, file);
        if (error != 0 && file != NULL)
            shim_say("fork: a mapping of inode %lu is missing in the child: %s", (unsigned long)file->ino,
                     strerrordesc_np(-error));
        else if (error != 0)
            shim_say("fork: %zu bytes of memory are missing in the child: %s",
                     (size_t)(region.end - region.start), strerrordesc_np(-error));
    }
}

static void prepare_locked(void) FL_REQUIRES(shim_lock)
{
    if (files_sync_locked(NULL) != 0)
        shim_say("fork: written data did not reach its file, and is missing in the child");
    files_forked();
    find_written();
    if (image.most_regions == 0) {
        stats_forks(0);
        return;
    }
    stats_forks(inherited_bytes());
    hand_over_written();
    hand_over_shared();
    describe_all();
}

/*
 * The three handlers hold (S) from one to the next, which the analysis cannot follow. Faults are served
 * meanwhile: libc, and the handlers of others in the child, use the heap.
 */
static void fork_prepare(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!shim_on())
        return;
    shim_enter(&image.saved);
    prepare_locked();
    image.thread = (uintptr_t)__builtin_thread_pointer();
    linux_sigmask_set(
        LINUX_SIGMASK_ALL & ~(LINUX_SIGMASK(SIGSEGV) | LINUX_SIGMASK(SIGBUS) | LINUX_SIGMASK(SIGSYS)), NULL);
}

/* This thread has prepared a fork. */
static bool fork_is_prepared(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    return image.thread == (uintptr_t)__builtin_thread_pointer();
}

static void fork_parent(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!shim_on() || !fork_is_prepared())
        return;
    image_free();
    file_reap();
    shim_leave(&image.saved);
}

/* ---- the child ------------------------------------------------------------------------------------- */

/* Reads the bytes of the run. Errors: of read(2). */
static long child_read(const struct fork_run *run) FL_REQUIRES(shim_lock)
{
    size_t len = run->end - run->start;
    long n = 0;

    for (size_t done = 0; n >= 0 && done < len; done += (size_t)n) {
        n = linux_syscall(SYS_pread64, image.fd, run->start + done, len - done, run->at + done);
        if (n == 0)
            n = -EIO;
    }
    return n < 0 ? n : 0;
}

/* Maps the region, and reads the written pages; *i advances to the first run of the next region. */
static long child_map(const struct fork_region *region, size_t *i) FL_REQUIRES(shim_lock)
{
    size_t len = region->end - region->start;
    bool has_runs = *i < image.nruns && image.run[*i].start < region->end;
    int prot = has_runs ? PROT_READ | PROT_WRITE : region->prot;
    int flags = MAP_FIXED | (region->shared ? MAP_SHARED : MAP_PRIVATE) |
                (region->fd < 0 ? MAP_ANONYMOUS | MAP_NORESERVE : 0);
    long r = linux_syscall(SYS_mmap, region->start, len, prot, flags, region->fd, region->offset);

    if (linux_syscall_failed(r))
        return r;
    for (r = 0; *i < image.nruns && image.run[*i].start < region->end; ++*i)
        r = r == 0 ? child_read(&image.run[*i]) : r;
    if (r == 0 && has_runs && prot != region->prot)
        r = linux_syscall(SYS_mprotect, region->start, len, region->prot);
    if (r != 0)
        linux_syscall(SYS_munmap, region->start, len); /* rather than wrong bytes */
    return r;
}

static void child_fill(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    size_t run = 0;

    image.filled = true;
    for (size_t i = 0; i < image.nregions; i++) {
        long r = child_map(&image.region[i], &run);

        if (r < 0)
            shim_say("fork: a mapping is missing in the child: %s", strerrordesc_np((int)-r));
    }
}

/* The state is wiped in the child (shim.h), so the shim is off until fork_child says more. */
bool fork_child_fault(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!fork_is_prepared() || image.filled)
        return false;
    child_fill();
    return true;
}

static void fork_child(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!fork_is_prepared())
        return;
    atomic_store_explicit(shim_state, SHIM_CHILD, memory_order_release);
    files_mapped = 0;
    if (!image.filled)
        child_fill();
    image_free();
    gate_fork_child();
    registry_fork_child();
    watch_fork_child();
    stats_forked_child();
    shim_mutex_reset(&shim_lock);
    signals_fork_child();
    linux_signals_restore(&image.saved);
}

/* ---- the handlers' place --------------------------------------------------------------------------- */

extern char __dso_handle __attribute__((visibility("hidden")));

/* Errors: -ENOMEM. Once is enough; the first call comes before there is a second thread. */
static int handlers_register(void)
{
    static bool registered;

    if (!registered &&
        shim_real()->__register_atfork(fork_prepare, fork_parent, fork_child, &__dso_handle) != 0)
        return -ENOMEM;
    registered = true;
    return 0;
}

FL_EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
{
    int error = handlers_register();

    return error != 0 ? -error : shim_real()->__register_atfork(prepare, parent, child, dso);
}

int fork_start(void)
{
    return handlers_register();
}
