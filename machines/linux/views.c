/*
 * views.c: the free views, in the order of their addresses.
 *
 *     view[]    | a.start a.end a.offset | b … | c … |             sorted, disjoint
 *                     │                    │
 *     memfd     ── object 1 ──────── object 2 ──────                tracked[object]: how many tracked views
 *
 * In a free view the kernel tells what was stored to by what is NOT in a page table: an entry counts as
 * written when it has neither the write-protect bit nor, where the page is not mapped, the write-protect
 * marker. So an entry that nothing was ever written into counts as written, too. That is harmless while the
 * page is absent from the memfd, because the core asks only for pages that it has. Therefore:
 *
 *   LM1  Each page in the memfd has the bit or the marker in every tracked view of it, unless it was stored
 *        to through that view, or entered there as dirty, since the last harvest.
 *
 * Who keeps it. A page gets into the memfd
 *   - by UFFDIO_COPY, which sets the bit in the view that it enters: the others are marked before;
 *   - by pwrite of a page that a buffer slot kept (bounce.c): marked in all before;
 *   - by machine_copyin, which marks nothing: the core knows that these pages are dirty, and the harvest
 *     before they are written back marks them. A mark could hide a store, when the page was there before.
 * A view that begins to be tracked marks what is in the memfd by then. Zaps and punches leave bits as
 * markers, as long as they leave the page table (zap.c).
 *
 * A pwrite beside the beginning of a tracked view: the view is in the table before it is marked, and between
 * the two waits for the pwrites that may not have seen it there.
 *
 *     pwrite:  inserting++ ─▶ tracked[object] == 0? ─▶ pwrite ─▶ inserting--     (else: marks under the lock)
 *     view:    tracked[object]++ ─▶ inserting == 0? ─▶ mark what is there ─▶ accessible
 *
 * A view stays tracked when it loses the right to write, so no store is lost then, until it is cut. A view
 * becomes tracked as a whole, also when only a part of it becomes writable: so that never needs a record.
 *
 * Lock: linux_views_lock. Does not do: what is attached at all (space.c), registering (uffd.c).
 */
#include "views.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "uffd.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#define VIEWS_MAX   4096
#define PT_SPAN     ((vm_offset_t)2 << 20) /* what one page table maps */
#define OBJECTS_MAX (1u << (63 - LINUX_OBJECT_SHIFT))

struct machine_lock linux_views_lock;
static struct {
    uint32_t n, max; /* records in use; max is 0 when views are disabled */
    struct linux_view view[VIEWS_MAX];
} views FL_GUARDED_BY(linux_views_lock);

/* Changed under the lock, read without. */
static _Atomic uint16_t tracked_views[OBJECTS_MAX];
static _Atomic uint32_t inserting; /* pwrites that found no tracked view of their object */

static _Atomic uint16_t *tracked_of(uint64_t offset)
{
    return &tracked_views[offset >> LINUX_OBJECT_SHIFT];
}

void linux_views_open(bool enabled)
{
    machine_lock(&linux_views_lock);
    for (uint32_t i = 0; i < views.n; i++)
        *tracked_of(views.view[i].offset) = 0;
    views.n = 0;
    views.max = enabled ? VIEWS_MAX : 0;
    machine_unlock(&linux_views_lock);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

/* Returns the first view that ends behind va. */
static uint32_t view_find(vm_offset_t va) FL_REQUIRES(linux_views_lock)
{
    uint32_t low = 0, high = views.n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (views.view[middle].end <= va)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool linux_views_next(vm_offset_t start, vm_offset_t end, struct linux_view *part)
{
    machine_lock(&linux_views_lock);
    uint32_t i = view_find(start);
    bool found = i < views.n && views.view[i].start < end;
    if (found)
        *part = views.view[i];
    machine_unlock(&linux_views_lock);
    if (!found)
        return false;
    if (part->start < start) {
        part->offset += start - part->start;
        part->start = start;
    }
    if (part->end > end)
        part->end = end;
    return true;
}

static void view_remove(uint32_t i) FL_REQUIRES(linux_views_lock)
{
    *tracked_of(views.view[i].offset) -= views.view[i].tracked;
    views.n--;
    __builtin_memmove(&views.view[i], &views.view[i + 1], (views.n - i) * sizeof(views.view[0]));
}

static void view_insert(uint32_t i, const struct linux_view *view) FL_REQUIRES(linux_views_lock)
{
    __builtin_memmove(&views.view[i + 1], &views.view[i], (views.n - i) * sizeof(views.view[0]));
    views.view[i] = *view;
    views.n++;
    *tracked_of(view->offset) += view->tracked;
}

/* Makes view i and the one behind it one, if they continue each other. */
static void view_merge(uint32_t i) FL_REQUIRES(linux_views_lock)
{
    if (i + 1 >= views.n)
        return;
    struct linux_view *low = &views.view[i], *high = &views.view[i + 1];
    if (low->end != high->start || low->offset + (low->end - low->start) != high->offset ||
        low->offset >> LINUX_OBJECT_SHIFT != high->offset >> LINUX_OBJECT_SHIFT ||
        low->tracked != high->tracked)
        return;
    low->end = high->end;
    view_remove(i + 1);
}

/* Returns the view of which [start, end) is the inside, so that a cut leaves both ends; views.n: none. */
static uint32_t view_around(vm_offset_t start, vm_offset_t end) FL_REQUIRES(linux_views_lock)
{
    uint32_t i = view_find(start);
    return i < views.n && views.view[i].start < start && views.view[i].end > end ? i : views.n;
}

bool linux_views_can_cut(vm_offset_t start, vm_offset_t end)
{
    return views.n < views.max || view_around(start, end) == views.n;
}

void linux_views_cut(vm_offset_t start, vm_offset_t end)
{
    uint32_t i = view_around(start, end);
    if (i < views.n) { /* becomes two: the loop below cuts the first */
        struct linux_view rest = views.view[i];
        rest.offset += end - rest.start;
        rest.start = end;
        views.view[i].end = end;
        view_insert(i + 1, &rest);
    }
    for (i = view_find(start); i < views.n && views.view[i].start < end;) {
        struct linux_view *view = &views.view[i];
        if (view->start < start) {
            view->end = start;
            i++;
        } else if (view->end > end) {
            view->offset += end - view->start;
            view->start = end;
        } else {
            view_remove(i);
        }
    }
}

/* ---- marks --------------------------------------------------------------------------------------------- */

/* Errors: -ENOMEM. */
static int mark(vm_offset_t start, vm_offset_t end)
{
    int error = linux_uffd_writeprotect(start, end - start, true);
    if (error != 0 && error != -ENOMEM)
        machine_panic("userfaultfd does not mark pages of a view");
    return error;
}

/*
 * Marks the pages of the view that are in the memfd: for a whole page table at once, because marks of absent
 * pages are harmless, and a file's pages may lie scattered. Where the memfd has none, nothing is allocated.
 */
static int mark_resident(const struct linux_view *view)
{
    int error = 0;
    for (vm_offset_t at = view->start; at < view->end && error == 0;) {
        long data = linux_syscall(SYS_lseek, linux_memfd_fd(), view->offset + (at - view->start), SEEK_DATA);
        if (data == -ENXIO)
            break;
        if (data < 0)
            machine_panic("the kernel does not tell where a memfd has pages");
        at = view->start + ((uint64_t)data - view->offset);
        if (at >= view->end)
            break;
        vm_offset_t end = (at & ~(PT_SPAN - 1)) + PT_SPAN;
        end = end < view->end ? end : view->end;
        error = mark(at, end);
        at = end;
    }
    return error;
}

/* View i is in the table as tracked. */
static int view_begin_tracking(uint32_t i) FL_REQUIRES(linux_views_lock)
{
    while (atomic_load(&inserting) != 0) /* for one pwrite of a few pages */
        (void)linux_syscall(SYS_sched_yield);
    return mark_resident(&views.view[i]);
}

bool linux_views_has_room(vm_offset_t start, vm_offset_t end)
{
    return views.n + 1 + (view_around(start, end) < views.n) <= views.max;
}

int linux_views_add(const struct linux_view *view)
{
    uint32_t i = view_find(view->start);
    view_insert(i, view);
    int error = view->tracked ? view_begin_tracking(i) : 0;
    if (error != 0) {
        view_remove(i);
        return error;
    }
    view_merge(i);
    if (i > 0)
        view_merge(i - 1);
    return 0;
}

int linux_views_track(vm_offset_t start, vm_offset_t end)
{
    for (uint32_t i = view_find(start); i < views.n && views.view[i].start < end; i++) {
        struct linux_view *view = &views.view[i];
        if (view->tracked)
            continue;
        view->tracked = true;
        *tracked_of(view->offset) += 1;
        int error = view_begin_tracking(i);
        if (error != 0) {
            view->tracked = false;
            *tracked_of(view->offset) -= 1;
            return error;
        }
    }
    return 0;
}

/* Marks the pages in each tracked view of them, except in the one at va. */
static int mark_all(vm_offset_t va, uint64_t offset, size_t len_bytes) FL_REQUIRES(linux_views_lock)
{
    int error = 0;
    for (uint32_t i = 0; i < views.n && error == 0; i++) {
        const struct linux_view *view = &views.view[i];
        uint64_t view_end = view->offset + (view->end - view->start);
        if (!view->tracked || view->offset >= offset + len_bytes || view_end <= offset ||
            va - view->start < view->end - view->start)
            continue;
        uint64_t first = view->offset > offset ? view->offset : offset;
        uint64_t last = view_end < offset + len_bytes ? view_end : offset + len_bytes;
        error = mark(view->start + (first - view->offset), view->start + (last - view->offset));
    }
    return error;
}

int linux_views_insert_begin(uint64_t offset, size_t len_bytes)
{
    atomic_fetch_add(&inserting, 1);
    if (atomic_load(tracked_of(offset)) == 0)
        return 0;
    atomic_fetch_sub(&inserting, 1); /* a view that begins holds the lock and would wait for this one */
    machine_lock(&linux_views_lock);
    int error = mark_all(0, offset, len_bytes);
    if (error == 0)
        atomic_fetch_add(&inserting, 1);
    machine_unlock(&linux_views_lock);
    return error;
}

void linux_views_insert_end(void)
{
    atomic_fetch_sub(&inserting, 1);
}

int linux_views_mark_others(vm_offset_t va, bool tracked, uint64_t offset, size_t len_bytes)
{
    if (atomic_load(tracked_of(offset)) <= tracked)
        return 0;
    machine_lock(&linux_views_lock);
    int error = mark_all(va, offset, len_bytes);
    machine_unlock(&linux_views_lock);
    return error;
}
