/*
 * fork.c: what becomes of managed mappings when the process forks. The child lives without Faultline: all of
 * its memory is the kernel's own.
 *
 *   mapping in the parent        the parent afterwards             the child
 *   shared, of a file that       the kernel's mapping of the       the same: what was shared stays shared
 *     a mapping may write          file, written back before
 *   shared, read-only            managed                           the kernel's mapping of the file
 *   private                      managed                           the kernel's mapping; pages written before
 *                                                                   the fork are copied
 *
 * Managed views are not inherited (MADV_DONTFORK), so the child's ranges are empty until fork_child fills
 * them, before fork returns there: it never sees wrong bytes. Only pages that a private mapping has written
 * are copied, through anonymous memory outside of the limit that lives as long as the fork takes. vfork,
 * posix_spawn, system and popen share the parent's memory until exec and come by none of this.
 *
 * Handing a mapping to the kernel, while the other threads run:
 *     views closed ─▶ written back ─▶ fl_sys_munmap ─▶ again ─▶ reserved, mmap of the file ─▶ gate open
 * for all of a file's mappings that go at once. From the first step on no other thread can change the bytes.
 * A thread that touches them gets SIGSEGV: while the core still has the mapping it answers "try again", and
 * so the thread does; afterwards it says "nothing mapped", and signals.c waits here at the gate (fork_waited)
 * and then tries again.
 *
 * Lock: (S) from prepare to the end.
 */
#include "shim.h"
#include "real.h"
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
    uint64_t at; /* its bytes' number in image.bytes */
};

/*
 * What the child needs to know. It must not ask the core, which goes on changing in the parent, in memory
 * that both see.
 */
static struct {
    sigset_t saved;
    bool prepared;
    struct fork_region *region;
    struct fork_page *page;
    char *bytes;
    size_t nregions, npages, most_regions, most_pages;
} image;

static _Atomic vm_offset_t gate_start, gate_end; /* what is being handed over; 0, 0: nothing */
static _Atomic unsigned gate_count;              /* mappings handed over so far */

unsigned fork_handed_over(void)
{
    return gate_count;
}

bool fork_waited(vm_offset_t va)
{
    bool waited = false;

    while (va >= gate_start && va < gate_end) {
        waited = true;
        linux_syscall(SYS_sched_yield);
    }
    return waited;
}

static void *fork_memory(size_t len)
{
    long memory = linux_syscall(SYS_mmap, 0, round_page(len), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

    return linux_syscall_failed(memory) ? NULL : (void *)memory;
}

/*
 * Marks the files that a shared mapping may write, and of which the child has one: all their shared mappings
 * go. That the child has none of them is what the program may have asked for (MADV_DONTFORK).
 */
static void find_written(void)
{
    struct fl_region region;

    files_unmark();
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = region.vnode != NULL ? file_of_vnode(region.vnode) : NULL;

        image.most_regions += !region.reserved;
        if (file == NULL || !region.shared)
            continue;
        file->written |= (region.max_prot & VM_PROT_WRITE) != 0;
        file->inherited |= region.inherit != FL_INHERIT_NONE;
    }
}

/* ---- handing over ---------------------------------------------------------------------------------- */

struct leaving {
    struct fl_region region;
    long copy; /* of a private one: where the kernel's mapping is built, until it moves into place; or 0 */
};

/* Those of the file's managed mappings that go, into list, if there is one; how many. (S) held. */
static size_t find_leaving(const struct file *file, bool private_too, struct leaving *list)
{
    struct fl_region region;
    size_t n = 0;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        if (region.vnode != file->vnode || (!region.shared && !private_too))
            continue;
        if (list != NULL)
            list[n] = (struct leaving){.region = region};
        n++;
    }
    return n;
}

/* From now on no thread can change the bytes: what is shared cannot be seen, what is private can be read. */
static int leaving_close(const struct fl_region *region)
{
    size_t len = region->end - region->start;
    bool hidden = !region->shared && (region->prot & VM_PROT_READ) == 0;
    int error = hidden ? fl_sys_mprotect(fl_space(), region->start, len, PROT_READ) : 0;

    linux_syscall(SYS_mprotect, region->start, len, region->shared ? PROT_NONE : PROT_READ);
    return error;
}

static void leaving_reopen(const struct leaving *leaving)
{
    const struct fl_region *region = &leaving->region;
    size_t len = region->end - region->start;

    if (leaving->copy > 0)
        linux_syscall(SYS_munmap, leaving->copy, len);
    linux_syscall(SYS_mprotect, region->start, len, region->prot);
    if (!region->shared && (region->prot & VM_PROT_READ) == 0)
        (void)!fl_sys_mprotect(fl_space(), region->start, len, region->prot); /* splits nothing */
}

/*
 * The kernel's private mapping of the file, with the pages that the managed one has written. Errors: of mmap,
 * fl_hold.
 */
static int leaving_copy(struct leaving *leaving, const struct file *file)
{
    const struct fl_region *region = &leaving->region;
    size_t len = region->end - region->start;
    vm_offset_t va = region->start;
    int error = 0;

    leaving->copy =
        linux_syscall(SYS_mmap, 0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, file->fd, region->offset);
    if (linux_syscall_failed(leaving->copy))
        return (int)leaving->copy;
    for (; error == 0 && fl_space_private_page(fl_space(), va, region->end, &va) == 0; va += VM_PAGE_SIZE)
        error = hold_copy_in((void *)((vm_offset_t)leaving->copy + (va - region->start)), (const void *)va,
                             VM_PAGE_SIZE);
    return error != 0 ? error : (int)linux_syscall(SYS_mprotect, leaving->copy, len, region->prot);
}

/*
 * Up to here nothing is lost. A thread that faulted meanwhile has marked pages dirty that it did not change,
 * and they would be written over what goes to the file by the kernel's mappings: so they are written, too,
 * when no mapping is left that could mark more, and before the kernel's are there.
 */
static int leaving_replace(struct leaving *list, size_t n, const struct file *file, enum left_reason reason)
{
    int first = 0;
    int error;

    for (size_t i = 0; i < n; i++)
        if (list[i].region.shared)
            (void)!mapping_munmap_locked(list[i].region.start, list[i].region.end); /* whole entries */
    first = fl_vnode_sync(file->vnode, 0, UINT64_MAX);
    fl_vnode_invalidate(file->vnode, 0, UINT64_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct fl_region *region = &list[i].region;

        if (region->shared)
            error = mapping_hand_over(region, file);
        else
            error = mapping_adopt(region, (vm_offset_t)list[i].copy);
        if (error == 0)
            stats_left(reason, region->end - region->start);
        first = first != 0 ? first : error;
    }
    return first;
}

/*
 * All together: while one mapping of the file is the kernel's and another one managed, a store to either
 * would be lost by the other's way to the file.
 */
static int hand_over(struct file *file, bool private_too, enum left_reason reason)
{
    size_t n = find_leaving(file, private_too, NULL);
    struct leaving *list = fork_memory(n * sizeof *list);
    int error = 0;

    if (n == 0 || list == NULL)
        return n == 0 ? 0 : -ENOMEM;
    (void)find_leaving(file, private_too, list);
    gate_count++;
    gate_end = list[n - 1].region.end;
    gate_start = list[0].region.start;
    for (size_t i = 0; i < n; i++) {
        int closed = leaving_close(&list[i].region);

        error = error != 0 ? error : closed;
    }
    if (error == 0)
        error = fl_vnode_sync(file->vnode, 0, UINT64_MAX);
    for (size_t i = 0; error == 0 && i < n; i++)
        if (!list[i].region.shared)
            error = leaving_copy(&list[i], file);
    if (error == 0) {
        error = leaving_replace(list, n, file, reason);
    } else {
        for (size_t i = 0; i < n; i++)
            leaving_reopen(&list[i]);
    }
    gate_start = gate_end = 0;
    linux_syscall(SYS_munmap, list, round_page(n * sizeof *list));
    return error;
}

/*
 * When the bytes cannot be written to the file, the child cannot have them: its ranges stay empty, and the
 * parent's are managed as before.
 */
static void hand_over_written(void)
{
    struct fl_region region;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = region.vnode != NULL ? file_of_vnode(region.vnode) : NULL;
        int error;

        if (file == NULL || !region.shared || !file->written || !file->inherited)
            continue;
        error = hand_over(file, false, LEFT_FORK);
        if (error != 0) {
            file->inherited = false; /* it is tried once */
            shim_say("fork: shared mappings of inode %lu cannot be handed to the kernel (%s) and are missing "
                     "in the child",
                     (unsigned long)file->ino, strerrordesc_np(-error));
        }
    }
}

int file_hand_over(struct file *file, const char *why)
{
    int error = hand_over(file, true, LEFT_FIXED);

    if (error == 0)
        shim_verbose("inode %lu is the kernel's from now on: %s", (unsigned long)file->ino, why);
    return error;
}

/* ---- the others: described, and what was written copied -------------------------------------------- */

static bool image_alloc(void)
{
    image.most_pages =
        atop(shim_config.memory_limit_bytes); /* more cannot be written: they have nowhere else to be */
    image.region = fork_memory(image.most_regions * sizeof *image.region);
    image.page = fork_memory(image.most_pages * sizeof *image.page);
    image.bytes = fork_memory(ptoa(image.most_pages));
    return image.region != NULL && image.page != NULL && image.bytes != NULL;
}

static void image_free(void)
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
static int copy_written(const struct fl_region *region)
{
    vm_offset_t va = region->start;
    int error = 0;

    for (; error == 0 && fl_space_private_page(fl_space(), va, region->end, &va) == 0; va += VM_PAGE_SIZE) {
        if (image.npages == image.most_pages)
            return -ENOMEM;
        error = hold_copy_in(image.bytes + ptoa(image.npages), (const void *)va, VM_PAGE_SIZE);
        if (error == 0)
            image.page[image.npages] = (struct fork_page){va, image.npages};
        image.npages += error == 0;
    }
    return error;
}

/*
 * A mapping that nobody may read is made readable for the copy: other threads notice nothing but a fault that
 * would have been one.
 */
static int describe(const struct fl_region *region, const struct file *file)
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

/* What is managed and will be in the child, too. */
static uint64_t inherited_bytes(void)
{
    struct fl_region region;
    uint64_t bytes = 0;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0; va = region.end)
        if (!region.reserved && region.inherit != FL_INHERIT_NONE)
            bytes += region.end - region.start;
    return bytes;
}

static void fork_prepare(void)
{
    struct fl_region region;
    bool room;

    if (!shim_on())
        return;
    shim_enter(&image.saved);
    image.prepared = true;
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
    room = image_alloc();
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        struct file *file = region.vnode != NULL ? file_of_vnode(region.vnode) : NULL;
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

static void fork_parent(void)
{
    if (!image.prepared)
        return;
    image.prepared = false;
    image_free();
    file_reap();
    shim_leave(&image.saved);
}

/* ---- the child ------------------------------------------------------------------------------------- */

/* Maps the file itself, and puts the written pages in; *page goes on to the first page of the next region. */
static long child_map(const struct fork_region *region, size_t *page)
{
    size_t len = region->end - region->start;
    bool has_pages = *page < image.npages && image.page[*page].va < region->end;
    long r =
        linux_syscall(SYS_mmap, region->start, len, has_pages ? PROT_READ | PROT_WRITE : region->prot,
                      MAP_FIXED | (region->shared ? MAP_SHARED : MAP_PRIVATE), region->fd, region->offset);

    if (linux_syscall_failed(r))
        return r;
    for (; *page < image.npages && image.page[*page].va < region->end; ++*page)
        memcpy((void *)image.page[*page].va, image.bytes + ptoa(image.page[*page].at), VM_PAGE_SIZE);
    return has_pages ? linux_syscall(SYS_mprotect, region->start, len, region->prot) : 0;
}

static void fork_child(void)
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
    stats_forked_child();
    shim_lock_reset();
    signals_fork_child();
    linux_signals_restore(&image.saved);
}

int fork_start(void)
{
    return -pthread_atfork(fork_prepare, fork_parent, fork_child);
}
