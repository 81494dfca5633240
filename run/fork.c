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
 *
 * The machine's mappings are not inherited (MADV_DONTFORK), so the child's ranges are empty until fork_child
 * fills them, before fork returns there: the child never sees wrong bytes. Only pages that a private mapping
 * has written are copied, through anonymous memory that is outside the limit and is freed when the fork
 * ends. vfork, posix_spawn, system and popen share the parent's memory until exec, and need none of this.
 *
 * Lock: (S) from fork_prepare to fork_parent. The child resets it.
 */
#include "fork.h"
#include "file_idle.h"
#include "files.h"
#include "gate.h"
#include "handover.h"
#include "registry.h"
#include "signals.h"
#include "stats.h"
#include "user_copy.h"
#include "watch.h"
#include <string.h>
#include <sys/mman.h>

struct fork_region {
    vm_offset_t start, end;
    uint64_t offset;
    int fd;
    int prot;
    bool shared;
};

struct fork_page {
    vm_offset_t va;
    uint64_t at; /* the index of its copy in image.bytes, in pages */
};

/*
 * What the child needs to know. It must not ask the core, whose
 * memory it shares with the parent, where the core goes on working.
 */
static struct {
    sigset_t saved;
    bool prepared;
    struct fork_region *region;
    struct fork_page *page;
    char *bytes;
    size_t nregions, npages, most_regions, most_pages;
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
    image.most_pages = 1; /* an image of none cannot be mapped */
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = file_of_region(&region);

        image.most_regions += !region.reserved;
        if (!region.shared && !region.reserved && region.inherit != FL_INHERIT_NONE)
            image.most_pages += atop(region.end - region.start);
        if (file == NULL || !region.shared)
            continue;
        file->written |= (region.max_prot & VM_PROT_WRITE) != 0;
        file->inherited |= region.inherit != FL_INHERIT_NONE;
    }
}

/* ---- handing over ---------------------------------------------------------------------------------- */

/*
 * A file whose dirty pages cannot be written stays managed in the parent, and the child's ranges stay empty.
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

/* ---- what stays managed: described for the child, and written pages copied --------------------------- */

static bool image_alloc(void) FL_REQUIRES(shim_lock)
{
    if (image.most_pages == 0)
        image.most_pages = 1; /* the kernel maps no length of 0 */
    image.region = fork_memory(image.most_regions * sizeof *image.region);
    image.page = fork_memory(image.most_pages * sizeof *image.page);
    image.bytes = fork_memory(ptoa(image.most_pages));
    return image.region != NULL && image.page != NULL && image.bytes != NULL;
}

static void image_free(void) FL_REQUIRES(shim_lock)
{
    if (image.region != NULL)
        linux_syscall(SYS_munmap, image.region, round_page(image.most_regions * sizeof *image.region));
    if (image.page != NULL)
        linux_syscall(SYS_munmap, image.page, round_page(image.most_pages * sizeof *image.page));
    if (image.bytes != NULL)
        linux_syscall(SYS_munmap, image.bytes, ptoa(image.most_pages));
    memset(&image.region, 0, sizeof image - offsetof(__typeof__(image), region));
}

/* Copies the pages that the private mapping has written. Errors: of fl_hold. */
static int copy_written(const struct fl_region *region) FL_REQUIRES(shim_lock)
{
    vm_offset_t va = region->start;
    int error = 0;

    for (; error == 0 && fl_space_private_page(fl_space(), va, region->end, &va) == 0; va += VM_PAGE_SIZE) {
        if (image.npages == image.most_pages)
            return -ENOMEM;
        error = user_copy_in(image.bytes + ptoa(image.npages), (const void *)va, VM_PAGE_SIZE);
        if (error == 0)
            image.page[image.npages] = (struct fork_page){va, image.npages};
        image.npages += error == 0;
    }
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

    *own = (struct fork_region){region->start, region->end,  region->offset,
                                file->fd,      region->prot, region->shared};
    if (!region->shared) {
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

        if (file == NULL || region.reserved || region.inherit == FL_INHERIT_NONE ||
            (region.shared && file->written) || image.nregions == image.most_regions)
            continue;
        if (error == 0)
            error = describe(&region, file);
        if (error != 0)
            shim_say("fork: a mapping of inode %lu is missing in the child: %s", (unsigned long)file->ino,
                     strerrordesc_np(-error));
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
    describe_all();
}

/* The three handlers hold (S) from one to the next, which the analysis cannot follow. */
static void fork_prepare(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!shim_on())
        return;
    shim_enter(&image.saved);
    image.prepared = true;
    prepare_locked();
}

static void fork_parent(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!image.prepared)
        return;
    image.prepared = false;
    image_free();
    file_reap();
    shim_leave(&image.saved);
}

/* ---- the child ------------------------------------------------------------------------------------- */

/* Maps the file, and copies the written pages in; *page advances to the first page of the next region. */
static long child_map(const struct fork_region *region, size_t *page) FL_REQUIRES(shim_lock)
{
    size_t len = region->end - region->start;
    bool has_pages = *page < image.npages && image.page[*page].va < region->end;
    int prot = has_pages ? PROT_READ | PROT_WRITE : region->prot;
    int flags = MAP_FIXED | (region->shared ? MAP_SHARED : MAP_PRIVATE);
    long r = linux_syscall(SYS_mmap, region->start, len, prot, flags, region->fd, region->offset);

    if (linux_syscall_failed(r))
        return r;
    for (; *page < image.npages && image.page[*page].va < region->end; ++*page)
        memcpy((void *)image.page[*page].va, image.bytes + ptoa(image.page[*page].at), VM_PAGE_SIZE);
    return has_pages ? linux_syscall(SYS_mprotect, region->start, len, region->prot) : 0;
}

static void fork_child(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    size_t page = 0;

    if (!image.prepared)
        return;
    image.prepared = false;
    atomic_store_explicit(shim_state, SHIM_CHILD, memory_order_release);
    files_mapped = 0;
    for (size_t i = 0; i < image.nregions; i++) {
        long r = child_map(&image.region[i], &page);

        if (r < 0)
            shim_say("fork: a mapping is missing in the child: %s", strerrordesc_np((int)-r));
    }
    image_free();
    gate_fork_child();
    registry_fork_child();
    watch_fork_child();
    stats_forked_child();
    shim_mutex_reset(&shim_lock);
    signals_fork_child();
    linux_signals_restore(&image.saved);
}

int fork_start(void)
{
    return -pthread_atfork(fork_prepare, fork_parent, fork_child);
}
