/*
 * vnode_space.c: the space on the disk of pages that become dirty through a mapping: told to the store that
 * makes them so, and not to a write-back later, that the disk is full.
 *
 *   a fault dirties a page ─▶ lacks_space? ─▶ page_mkwrite ─▶ the store allocates a stretch
 *        0 holes: never ──┘        └── a stretch that was allocated lately, or credit: no
 *
 *   stretch   [start, end) of pages; a stream of stores gets twice as many each time, up to SPACE_MAX
 *
 * Locks: (O) guards the stretches and the credit; stores are called with none.
 */
#include "file/vnode_space.h"
#include "file/vnode_pager.h"
#include "lib/errno.h"
#include <faultline/vm.h>

#define SPACE_PLENTY (UINT64_C(64) << 20) /* bytes: what others write meanwhile */

void vnode_may_have_holes(struct vnode *vnode)
{
    const struct store *writer = atomic_load(&vnode->writer);
    if (writer != NULL && writer->ops->allocate != NULL)
        atomic_fetch_add(&vnode->holes, 1);
}

void vnode_space_forget(struct vnode *vnode)
{
    __builtin_memset(vnode->space, 0, sizeof vnode->space);
}

void vnode_pager_holes(struct vnode *vnode, bool cut)
{
    struct vm_object *object = vnode_pager_object(vnode);
    vnode_may_have_holes(vnode);
    if (!cut || object == NULL)
        return;
    vm_lock(&object->lock);
    vnode_space_forget(vnode);
    vm_unlock(&object->lock);
}

/* Is page pindex in none of the stretches, and is there no credit left, of which it takes one? (O). */
static bool space_unknown(struct vnode *vnode, vm_pindex_t pindex)
{
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
    return !has && space_unknown(vnode, pindex);
}

/*
 * How many bytes the store has room for; STORE_ROOM_NO_HOLES is remembered. *seen: what vnode->holes said
 * before the store was asked.
 */
static uint64_t vnode_room(struct vnode *vnode, struct store *store, uint64_t *seen)
{
    uint64_t none = *seen = atomic_load(&vnode->holes);
    uint64_t room = none == 0 ? STORE_ROOM_NO_HOLES : store->ops->room(store);
    if (room == STORE_ROOM_NO_HOLES) /* unless that changed meanwhile */
        (void)atomic_compare_exchange_strong(&vnode->holes, &none, 0);
    return room;
}

/*
 * More than this, and no page that is dirty now or becomes so before the store is asked again finds it full,
 * unless others fill it meanwhile: then its write fails, and it stays dirty (vm_wait). To allocate each page
 * would cost more than its write: file systems wait for all transfers of the file first.
 */
static uint64_t space_plenty(void)
{
    return 2 * ptoa(vm_page_count) + SPACE_PLENTY;
}

/*
 * Which stretch the page begins: the page alone; twice as much as the last time where that ends here, up to
 * SPACE_MAX; not beyond the file's end. *slot: whose place it takes. (O).
 */
static struct vnode_stretch space_stretch(struct vnode *vnode, vm_pindex_t pindex, uint32_t *slot)
{
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

/* The stretch has its space; nobody has made holes since `seen`, or it is not remembered. */
static void space_remember(struct vnode *vnode, struct vm_object *object, struct vnode_stretch stretch,
                           uint32_t slot, uint64_t seen)
{
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

/* Allocates the stretch, or half of it, and so on to its first page. Errors: the store's, for that page. */
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
    struct vm_object *object = vnode_pager_object(vnode);
    uint64_t seen, room;
    uint32_t slot;
    if (store == NULL || object == NULL || (room = vnode_room(vnode, store, &seen)) == STORE_ROOM_NO_HOLES)
        return 0;
    vm_lock(&object->lock);
    bool plenty = room > space_plenty();
    if (plenty)
        vnode->space_credit = SPACE_CREDIT;
    struct vnode_stretch stretch = space_stretch(vnode, pindex, &slot);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&object->lock);
    if (plenty || size_bytes <= ptoa(pindex)) /* the latter was cut meanwhile: there is nothing to store to */
        return 0;
    int error = space_allocate(store, &stretch, size_bytes);
    if (error == -EOPNOTSUPP) { /* then a write tells */
        (void)atomic_compare_exchange_strong(&vnode->holes, &seen, 0);
        return 0;
    }
    if (error == 0)
        space_remember(vnode, object, stretch, slot, seen);
    return error;
}

/*
 * [offset, offset + len_bytes) get their space; what lies within a file without holes has it. Errors: as
 * vnode_pager_allocate, and -EOPNOTSUPP.
 */
static int space_range(struct vnode *vnode, struct store *store, uint64_t offset, uint64_t len_bytes)
{
    uint64_t seen, end = offset + len_bytes;
    vm_lock(&vnode->lock);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&vnode->lock);
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

