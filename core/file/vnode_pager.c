/*
 * vnode_pager.c: vnodes, one for each file that the VM knows, and the pager that moves their objects' pages.
 *
 *   fl_vnode_open ─▶ vnode_open ─▶ vnode_hash[key] ─▶ vnode ─▶ object ─▶ pages
 *                                                       └▶ store
 *   vrele, the last one ─▶ write back ─▶ object destroyed ─▶ store closed ─▶ out of the hash ─▶ openers woken
 *
 * Invariants V1 … V3: vnode_pager.h. Lock order: (H) vnode_hash.lock → (V) → (O). Stores are called with none
 * of them held. vnode_open waits for a vnode of the same file that ends: as long as its dirty pages take to
 * be written once, since nothing maps them any more.
 *
 * Does not do: noticing that a file was written behind our back. Its length is asked when a fault or a
 * mapping goes beyond what is known, or by fl_vnode_setsize.
 */
#include "file/vnode_pager.h"
#include "file/flusher.h"
#include "file/truncate.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/pmap.h"
#include <faultline/vm.h>

#define VNODE_HASH_BITS 12 /* buckets */
#define VNODE_HASH      (1 << VNODE_HASH_BITS)
#define SPACE_PLENTY    (UINT64_C(64) << 20) /* bytes: what others write meanwhile */

static struct vm_zone vnode_zone;
static struct {
    struct vm_lock lock;              /* (H) */
    struct vnode *bucket[VNODE_HASH]; /* (H) */
    uint32_t waiting; /* (H) openers that sleep until a vnode is gone; the lock's address is the channel */
} vnode_hash;

void vnode_pager_startup(void)
{
    vm_zone_init(&vnode_zone, "vnode", sizeof(struct vnode));
    __builtin_memset(&vnode_hash, 0, sizeof vnode_hash);
}

/* ---- vnodes -------------------------------------------------------------------------------------------- */

static bool vnode_hashed(const struct store *store)
{
    return store->key[0] != 0 || store->key[1] != 0;
}

static struct vnode **vnode_bucket(const struct store *store)
{
    uint64_t h = (store->key[0] * 31 + store->key[1]) * 0x9e3779b97f4a7c15u;
    return &vnode_hash.bucket[h >> (64 - VNODE_HASH_BITS)];
}

/* (H). */
static struct vnode *vnode_lookup(const struct store *store)
{
    for (struct vnode *v = *vnode_bucket(store); v != NULL; v = v->hash_next)
        if (v->store->key[0] == store->key[0] && v->store->key[1] == store->key[1])
            return v;
    return NULL;
}

/*
 * The living vnode of the store's file with a reference more, or NULL. (H), released while it waits for one
 * that ends.
 */
static struct vnode *vnode_find(struct store *store) FL_REQUIRES(vnode_hash.lock)
{
    struct vnode *v;
    while ((v = vnode_lookup(store)) != NULL && atomic_load(&v->ref_count) == 0) {
        vnode_hash.waiting++;
        vm_sleep(&vnode_hash.lock, &vnode_hash.lock);
        vnode_hash.waiting--;
    }
    if (v != NULL)
        vref(v);
    return v;
}

/* Whoever stores to the file asks the store, if it can say. Any lock. */
static void may_have_holes(struct vnode *vnode)
{
    const struct store *writer = atomic_load(&vnode->writer);
    if (writer != NULL && writer->ops->allocate != NULL)
        atomic_fetch_add(&vnode->holes, 1);
}

/*
 * A file that is open already is opened once more, by `store`. Returns what is left of the store to close:
 * nothing when it brought the right to write. (H).
 */
static struct store *vnode_adopt(struct vnode *v, struct store *store)
{
    if (store->read_only || atomic_load(&v->writer) != NULL) {
        may_have_holes(v); /* others may have punched them while nobody looked */
        return store;
    }
    atomic_store(&v->writer, store);
    may_have_holes(v);
    return NULL;
}

static int vnode_create(struct store *store, struct vnode **vnode)
{
    struct vnode *v = vm_zone_alloc(&vnode_zone);
    if (v == NULL)
        return -ENOMEM;
    int error = store->ops->size(store, &v->size_bytes);
    if (error != 0) {
        vm_zone_free(&vnode_zone, v);
        return error;
    }
    v->store = store;
    atomic_store(&v->writer, store->read_only ? NULL : store);
    may_have_holes(v);
    atomic_store(&v->ref_count, 1);
    *vnode = v;
    return 0;
}

int vnode_open(struct store *store, struct vnode **vnode)
{
    struct vnode *fresh = NULL, *v = NULL;
    struct store *unused = NULL;
    bool hashed = vnode_hashed(store);
    if (hashed) {
        vm_lock(&vnode_hash.lock);
        v = vnode_find(store);
        vm_unlock(&vnode_hash.lock);
    }
    if (v == NULL) {
        int error = vnode_create(store, &fresh);
        if (error != 0)
            return error;
    }
    vm_lock(&vnode_hash.lock);
    if (v == NULL && hashed)
        v = vnode_find(store); /* did somebody else make it meanwhile? */
    if (v != NULL) {
        unused = vnode_adopt(v, store);
    } else if (hashed) {
        struct vnode **bucket = vnode_bucket(store);
        fresh->hash_next = *bucket;
        *bucket = fresh;
    }
    vm_unlock(&vnode_hash.lock);

    *vnode = v != NULL ? v : fresh;
    if (v != NULL && fresh != NULL)
        vm_zone_free(&vnode_zone, fresh);
    if (unused != NULL)
        unused->ops->close(unused);
    return 0;
}

void vref(struct vnode *vnode)
{
    uint32_t refs = atomic_fetch_add(&vnode->ref_count, 1);
    KASSERT(refs > 0, "V1");
}

/*
 * The last reference is gone. Nothing maps the file; only the page daemon still knows its pages. No lock
 * held.
 */
static int vnode_terminate(struct vnode *vnode)
{
    inode_wait_for_writeback(vnode);
    int error = sync_blockdev(vnode);
    if (vnode->object != NULL)
        vm_object_destroy(vnode->object);
    struct store *writer = atomic_load(&vnode->writer), *store = vnode->store;
    bool hashed = vnode_hashed(store);

    if (hashed) { /* before the store goes, which has the key */
        vm_lock(&vnode_hash.lock);
        struct vnode **link = vnode_bucket(store);
        while (*link != vnode)
            link = &(*link)->hash_next;
        *link = vnode->hash_next;
        KASSERT(atomic_load(&vnode->ref_count) == 0, "V2");
        bool wake = vnode_hash.waiting != 0;
        vm_unlock(&vnode_hash.lock);
        if (wake)
            machine_wake(&vnode_hash.lock);
    }
    if (writer != NULL && writer != store)
        writer->ops->close(writer);
    store->ops->close(store);
    vm_zone_free(&vnode_zone, vnode);
    return error;
}

int vrele(struct vnode *vnode)
{
    vm_lock(&vnode_hash.lock);
    uint32_t refs = atomic_fetch_sub(&vnode->ref_count, 1);
    vm_unlock(&vnode_hash.lock);
    KASSERT(refs > 0, "V1");
    return refs == 1 ? vnode_terminate(vnode) : 0;
}

void vnode_pager_seterror(struct vnode *vnode, int error)
{
    errseq_set(&vnode->wb_err, error);
    atomic_fetch_add(&vnode->wb_failures, 1);
}

/* ---- the pager ----------------------------------------------------------------------------------------- */

/* The object with a reference for the caller, or NULL: there is none yet. (V). */
static struct vm_object *vnode_object(struct vnode *vnode)
{
    if (vnode->object != NULL)
        vm_object_reference(vnode->object);
    return vnode->object;
}

struct vm_object *vnode_pager_object(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    vm_unlock(&vnode->lock);
    return object;
}

/*
 * Makes the vnode's object, unless another thread did so meanwhile. No lock held: the machine may sleep over
 * it. NULL: no memory.
 */
static struct vm_object *vnode_object_make(struct vnode *vnode)
{
    struct vm_object *fresh = vm_object_allocate(OBJT_VNODE, 0, vnode);
    if (fresh == NULL)
        return NULL;
    vm_lock(&vnode->lock);
    bool ours = vnode->object == NULL;
    if (ours) {
        vnode->object = fresh; /* with the reference that it was born with */
        vm_lock(&fresh->lock);
        fresh->size = size_pages(vnode->size_bytes);
        vm_unlock(&fresh->lock);
    }
    struct vm_object *object = vnode_object(vnode);
    vm_unlock(&vnode->lock);
    if (!ours)
        vm_object_destroy(fresh);
    return object;
}

struct vm_object *vnode_pager_alloc(struct vnode *vnode, vm_pindex_t size)
{
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode_object(vnode);
    vm_unlock(&vnode->lock);
    if (object == NULL)
        object = vnode_object_make(vnode);
    if (object == NULL)
        return NULL;
    vm_lock(&object->lock);
    bool beyond = size > object->size;
    vm_unlock(&object->lock);
    if (beyond && vnode_pager_setsize(vnode) != 0)
        machine_log(
            "faultline: a store could not say how long it is; the fault that needs to know will ask again");
    return object;
}

bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
{
    if (pindex >= object->size) {
        *before = *after = 0;
        return false;
    }
    vm_pindex_t behind = object->size - pindex - 1;
    *before = pindex < MACHINE_RUN_MAX ? (uint32_t)pindex : MACHINE_RUN_MAX - 1;
    *after = behind < MACHINE_RUN_MAX ? (uint32_t)behind : MACHINE_RUN_MAX - 1;
    return true;
}

int vnode_pager_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count)
{
    vm_lock(&object->lock);
    uint64_t size_bytes = object->vnode->size_bytes;
    vm_pindex_t first = m[0]->pindex, last = atop(size_bytes);
    vm_unlock(&object->lock);
    if ((size_bytes & VM_PAGE_MASK) == 0 || last < first || last - first >= count)
        return 0;
    return pmap_zero_page_area(m[last - first], (uint32_t)(size_bytes & VM_PAGE_MASK),
                               (uint32_t)VM_PAGE_SIZE);
}

void vnode_pager_strategy(struct vm_pager_request *request, struct blk_plug *plug)
{
    struct vnode *vnode = request->object->vnode;
    struct bio *bio = &request->bio;
    bio->offset = ptoa(request->pindex);
    bio->len_bytes = ptoa(request->npages);
    bio->npages = request->npages;
    bio->addr = request->addr;
    bio->store = bio->op == STORE_READ ? vnode->store : atomic_load(&vnode->writer);
    if (bio->store == NULL) /* dirty pages of a file that nobody opened for writing */
        bio_endio(bio, -EBADF);
    else
        submit_bio(bio, plug);
}

/* ---- space --------------------------------------------------------------------------------------------- */

/* (O). */
static void space_forget(struct vnode *vnode)
{
    __builtin_memset(vnode->space, 0, sizeof vnode->space);
}

void vnode_pager_holes(struct vnode *vnode, bool cut)
{
    struct vm_object *object = vnode_pager_object(vnode);
    may_have_holes(vnode);
    if (!cut || object == NULL)
        return;
    vm_lock(&object->lock);
    space_forget(vnode);
    vm_unlock(&object->lock);
}

bool vnode_lacks_space(struct vnode *vnode, vm_pindex_t pindex)
{
    for (uint32_t i = 0; i < SPACE_STRETCHES; i++)
        if (pindex >= vnode->space[i].start && pindex < vnode->space[i].end)
            return false;
    if (vnode->space_credit == 0)
        return true;
    vnode->space_credit--;
    return false;
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

/* ---- size ---------------------------------------------------------------------------------------------- */

uint64_t vnode_pager_newsize(struct vnode *vnode, uint64_t size_bytes)
{
    may_have_holes(vnode); /* before anybody can store to the new pages */
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    uint64_t old_bytes = vnode->size_bytes;
    if (object != NULL) {
        vm_lock(&object->lock);
        if (size_bytes < old_bytes)
            space_forget(vnode);
        object->size = size_pages(size_bytes); /* no fault enters a page beyond it from now on */
        vnode->size_bytes = size_bytes;
        vm_unlock(&object->lock);
    } else {
        vnode->size_bytes = size_bytes;
    }
    vm_unlock(&vnode->lock);
    return old_bytes;
}

void vn_lock(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    while (vnode->locked)
        vm_sleep(&vnode->locked, &vnode->lock);
    vnode->locked = true;
    vm_unlock(&vnode->lock);
}

void vn_unlock(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    vnode->locked = false;
    vm_unlock(&vnode->lock);
    machine_wake(&vnode->locked);
}

int vnode_pager_setsize_locked(struct vnode *vnode)
{
    uint64_t new_bytes;
    int error = vnode->store->ops->size(vnode->store, &new_bytes);
    if (error != 0)
        return error;
    uint64_t old_bytes = vnode_pager_newsize(vnode, new_bytes);
    struct vm_object *object = vnode_pager_object(vnode);
    if (object == NULL || new_bytes == old_bytes)
        return 0;
    return new_bytes > old_bytes ? truncate_forget_tail(object, old_bytes)
                                 : truncate_pagecache(object, new_bytes);
}

int vnode_pager_setsize(struct vnode *vnode)
{
    vn_lock(vnode);
    int error = vnode_pager_setsize_locked(vnode);
    vn_unlock(vnode);
    return error;
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

int fl_vnode_open(struct store *store, struct vnode **vnode)
{
    return vnode_open(store, vnode);
}

void fl_vnode_ref(struct vnode *vnode)
{
    vref(vnode);
}

struct store *fl_vnode_store(struct vnode *vnode)
{
    struct store *writer = atomic_load(&vnode->writer);
    return writer != NULL ? writer : vnode->store;
}

int fl_vnode_close(struct vnode *vnode)
{
    return vrele(vnode);
}

fl_errseq_t fl_vnode_errseq(struct vnode *vnode)
{
    return errseq_sample(&vnode->wb_err);
}

int fl_vnode_setsize(struct vnode *vnode)
{
    return vnode_pager_setsize(vnode);
}
