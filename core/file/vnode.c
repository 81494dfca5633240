/*
 * vnode.c: vnodes, one for each file that the VM knows: found by the store's key, counted, ended.
 *
 *   fl_vnode_open ─▶ vnode_open ─▶ vnode_hash[key] ─▶ vnode ─▶ object ─▶ pages
 *                                                       └▶ store
 *   vrele, the last one ─▶ write back ─▶ object destroyed ─▶ out of the hash ─▶ openers woken ─▶ store closed
 *
 * Invariants V1 … V3: vnode.h. Lock order: (H) vnode_hash.lock → (V) → (O). Stores are called with none of
 * them held. vnode_open waits for a vnode of the same file that ends: as long as its dirty pages take to be
 * written once, since nothing maps them any more.
 *
 * Does not do: the file's length and its pages (vnode_pager.c), its space on the disk (vnode_space.c).
 */
#include "file/vnode.h"
#include "file/flusher.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_object.h"
#include <faultline/vm.h>

#define VNODE_HASH_BITS 12 /* buckets */
#define VNODE_HASH      (1 << VNODE_HASH_BITS)

static struct vm_zone vnode_zone;
static struct {
    struct vm_lock lock;              /* (H) */
    struct vnode *bucket[VNODE_HASH]; /* (H) */
    uint32_t waiting; /* (H) openers that sleep until a vnode is gone; the lock's address is the channel */
} vnode_hash;

void vnode_startup(void)
{
    vm_zone_init(&vnode_zone, "vnode", sizeof(struct vnode));
    __builtin_memset(&vnode_hash, 0, sizeof vnode_hash);
}

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

/*
 * A file that is open already is opened once more, by `store`. Returns what is left of the store to close:
 * nothing when it brought the right to write. (H).
 */
static struct store *vnode_adopt(struct vnode *v, struct store *store)
{
    if (store->read_only || atomic_load(&v->writer) != NULL) {
        vnode_may_have_holes(v); /* others may have punched them while nobody looked */
        return store;
    }
    atomic_store(&v->writer, store);
    vnode_may_have_holes(v);
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
    vnode_may_have_holes(v);
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

/* ---- one at a time ----------------------------------------------------------------------------------- */

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
