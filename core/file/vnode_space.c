/*
 * vnode_space.c: the space on the disk of pages that become dirty through a mapping. So a full disk fails the
 * store into the page, and not a write-back later.
 *
 *   a fault dirties a page ─▶ lacks_space? ─▶ page_mkwrite ─▶ the store allocates a stretch
 *      vnode->holes is 0: no ──┘       └── in a stretch that was allocated lately, or there is credit: no
 *
 *   stretch   pages [start, end); a stream of stores gets twice as many each time, up to SPACE_MAX
 *
 * Locks: (O) guards the stretches and the credit. Stores are called with no lock held. vnode->holes is read
 * before the store is asked: if it has changed afterwards, the answer is not remembered.
 *
 * Does not do: space for fl_vnode_write: there a full disk fails the write itself or its write-back.
 */
#include "file/vnode_space.h"
#include "lib/errno.h"
#include "vm/vm_harvest.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

#define SPACE_MAX 256 /* pages that a stream gets at a time */
/* Bytes that other programs may write while nothing asks. */
#define SPACE_PLENTY (UINT64_C(64) << 20)

void vnode_space_forget(struct vm_object *object)
{
    struct vnode *vnode = vm_object_vnode(object);
    __builtin_memset(vnode->space, 0, sizeof vnode->space);
}

void vnode_space_invalidate(struct vnode *vnode)
{
    struct vm_object *object = vnode_object(vnode);
    vnode_may_have_holes(vnode);
    if (object == NULL)
        return;
    vm_lock(&object->lock);
    vnode_space_forget(object);
    vm_unlock(&object->lock);
}

/* ---- before a page becomes dirty ----------------------------------------------------------------------- */

/* Is page pindex in none of the stretches, and is there no credit left? Takes one page of the credit. (O). */
static bool space_unknown(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    struct vnode *vnode = vm_object_vnode(object);
    for (uint32_t i = 0; i < SPACE_STRETCHES; i++)
        if (pindex >= vnode->space[i].start && pindex < vnode->space[i].end)
            return false;
    if (vnode->space_credit == 0)
        return true;
    vnode->space_credit--;
    return false;
}

bool vnode_pager_lacks_space(struct vm_object *object, vm_pindex_t pindex)
{
    struct vnode *vnode = vm_object_vnode(object);
    if (atomic_load_explicit(&vnode->holes, memory_order_relaxed) == 0)
        return false;
    const struct vm_page *m = vm_page_lookup(object, pindex);
    bool has = m != NULL && (m->flags & (PG_DIRTY | PG_PRIVATE)) == PG_DIRTY;
    return !has && space_unknown(object, pindex);
}

/*
 * How many bytes the store has room for. STORE_ROOM_NO_HOLES is remembered in vnode->holes. *seen: what
 * vnode->holes said before the store was asked.
 */
static uint64_t vnode_room(struct vnode *vnode, struct store *store, uint64_t *seen)
{
    uint64_t none = *seen = atomic_load(&vnode->holes);
    uint64_t room = none == 0 ? STORE_ROOM_NO_HOLES : store->ops->room(store);
    if (room == STORE_ROOM_NO_HOLES) /* unless holes has changed meanwhile */
        (void)atomic_compare_exchange_strong(&vnode->holes, &none, 0);
    return room;
}

/*
 * With more room than this no page that is dirty, or becomes so before the store is asked again, finds it
 * full, unless other programs fill it meanwhile: then its write fails, and it stays dirty (vm_wait). To
 * allocate each page would cost more than its write: file systems wait for all transfers of the file first.
 */
static uint64_t space_plenty(void)
{
    return 2 * ptoa(vm_page_count) + SPACE_PLENTY;
}

/*
 * The stretch that begins with page pindex: the page alone; or, where another
 * stretch ends there, twice as many pages as that one has, up to SPACE_MAX. It
 * ends with the file at the latest. *slot: the stretch that it replaces. (O).
 */
static struct vnode_stretch space_stretch(struct vm_object *object, vm_pindex_t pindex, uint32_t *slot)
    FL_REQUIRES(object->lock)
{
    struct vnode *vnode = vm_object_vnode(object);
    vm_pindex_t n = 1, end = size_pages(vnode->size_bytes);
    *slot = vnode->space_next;
    for (uint32_t i = 0; i < SPACE_STRETCHES; i++) {
        const struct vnode_stretch *last = &vnode->space[i];
        if (last->end != pindex || last->end == last->start)
            continue;
        *slot = i;
        n = 2 * (last->end - last->start) < SPACE_MAX ? 2 * (last->end - last->start) : SPACE_MAX;
    }
    end = pindex + n < end ? pindex + n : end;
    return (struct vnode_stretch){pindex, end > pindex ? end : pindex + 1};
}

/*
 * The stretch has its space. It is remembered in its slot, unless
 * vnode->holes has changed since it was `seen`.
 */
static void space_remember(struct vm_object *object, struct vnode_stretch stretch, uint32_t slot,
                           uint64_t seen)
{
    struct vnode *vnode = vm_object_vnode(object);
    vm_lock(&object->lock);
    if (atomic_load(&vnode->holes) == seen) {
        vnode->space[slot] = stretch;
        if (slot == vnode->space_next)
            vnode->space_next = (slot + 1) % SPACE_STRETCHES;
    }
    vm_unlock(&object->lock);
}

static bool is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

/*
 * Allocates the stretch; when the disk is full its first half, and so on down to its first page. No lock
 * held. Errors: the store's, for that page.
 */
static int space_allocate(struct store *store, struct vnode_stretch *stretch, uint64_t size_bytes)
{
    vm_ooffset_t start = ptoa(stretch->start);
    for (;;) {
        uint64_t end = ptoa(stretch->end) < size_bytes ? ptoa(stretch->end) : size_bytes;
        int error = store->ops->allocate(store, start, end - start);
        if (!is_full(error) || stretch->end <= stretch->start + 1)
            return error;
        stretch->end = stretch->start + (stretch->end - stretch->start) / 2;
    }
}

int vnode_pager_allocate(struct vnode *vnode, vm_pindex_t pindex)
{
    struct store *store = atomic_load(&vnode->writer);
    struct vm_object *object = vnode_object(vnode);
    uint64_t seen, room;
    uint32_t slot;
    if (store == NULL || object == NULL || (room = vnode_room(vnode, store, &seen)) == STORE_ROOM_NO_HOLES)
        return 0;
    vm_lock(&object->lock);
    bool plenty = room > space_plenty();
    if (plenty)
        vnode->space_credit = SPACE_CREDIT;
    struct vnode_stretch stretch = space_stretch(object, pindex, &slot);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&object->lock);
    if (plenty || size_bytes <= ptoa(pindex)) /* the file was cut meanwhile: nothing can be stored there */
        return 0;
    int error = space_allocate(store, &stretch, size_bytes);
    if (error == -EOPNOTSUPP) { /* a full disk will fail the write-back */
        (void)atomic_compare_exchange_strong(&vnode->holes, &seen, 0);
        return 0;
    }
    if (error == 0)
        space_remember(object, stretch, slot, seen);
    return error;
}

bool vnode_pager_space_scarce(struct vm_object *object)
{
    struct vnode *vnode = vm_object_vnode(object);
    struct store *store = atomic_load(&vnode->writer);
    uint64_t seen;
    if (store == NULL || store->ops->allocate == NULL)
        return false;
    return vnode_room(vnode, store, &seen) <= space_plenty();
}

void vnode_space_watch(struct vm_object *object)
{
    vm_lock(&object->lock);
    bool silent = vm_rmap_silent(object, 0, UINT64_MAX);
    vm_unlock(&object->lock);
    if (!silent || !vnode_pager_space_scarce(object))
        return;
    vm_lock(&object->lock);
    if (vm_object_writenotify(object) != 0)
        machine_log("faultline: no memory to be told of stores: a full disk may be found only by msync");
    vm_unlock(&object->lock);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

/*
 * Bytes [offset, offset + len_bytes) get their space; within a file without holes they have it. No lock held.
 * Errors: as vnode_pager_allocate, and -EOPNOTSUPP.
 */
static int space_range(struct vnode *vnode, struct store *store, uint64_t offset, uint64_t len_bytes)
{
    uint64_t seen, end = offset + len_bytes, size_bytes = i_size_read(vnode);
    if (offset < size_bytes && vnode_room(vnode, store, &seen) == STORE_ROOM_NO_HOLES)
        offset = size_bytes;
    return end <= offset ? 0 : store->ops->allocate(store, offset, end - offset);
}

int fl_vnode_allocate(struct vnode *vnode, vm_ooffset_t offset, uint64_t *len_bytes)
{
    struct store *store = atomic_load(&vnode->writer);
    int error = 0;
    if (offset + *len_bytes < offset)
        return -EINVAL;
    if (store == NULL || store->ops->allocate == NULL)
        return 0;
    for (uint64_t n = *len_bytes; n > 0; n = n > VM_PAGE_SIZE ? trunc_page(n / 2) : 0) {
        error = space_range(vnode, store, offset, n);
        if (!is_full(error)) {
            *len_bytes = error == 0 || error == -EOPNOTSUPP ? n : *len_bytes;
            break;
        }
    }
    return error == -EOPNOTSUPP ? 0 : error;
}
