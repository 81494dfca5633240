/*
 * vnode_hash.c: the table of vnodes: where a vnode is made, found and ended.
 *
 *   fl_vnode_open ─▶ vnode_hash[key] ─▶ vnode ─▶ object ─▶ pages
 *                                         └▶ store
 *   fl_vnode_close, the last reference ─▶ written back ─▶ object destroyed ─▶ out of the table
 *                                                     ─▶ sleeping openers woken ─▶ store closed
 *
 * A store without a key (both words 0) has a vnode of its own, which is not in the table.
 *
 * Invariants VN1 … VN3: vnode.h.
 * Locks: (H) vnode_hash_lock, before (V). Stores are called with no lock held.
 * Loops: an open waits for a vnode of the same file that ends. Nothing maps that file any more, so its dirty
 * pages are written once, and no new ones come.
 */
#include "file/vnode_hash.h"
#include "file/flusher.h"
#include "file/vnode.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include <faultline/vm.h>

#define VNODE_HASH_BITS 12
#define VNODE_HASH      (1 << VNODE_HASH_BITS)

struct vm_lock vnode_hash_lock; /* (H); its address is the channel of openers */

static struct vm_zone vnode_zone;
static struct {
    struct vnode *bucket[VNODE_HASH]; /* chained by hash_next */
    uint32_t waiting;                 /* openers that sleep until a vnode is gone */
} vnode_hash FL_GUARDED_BY(vnode_hash_lock);

void vnode_startup(void)
{
    vm_zone_init(&vnode_zone, "vnode", sizeof(struct vnode));
    vnode_hash_lock = (struct vm_lock){0};
    __builtin_memset(&vnode_hash, 0, sizeof vnode_hash);
}

static bool store_has_key(const struct store *store)
{
    return store->key[0] != 0 || store->key[1] != 0;
}

/* (H). */
static struct vnode **vnode_bucket(const struct store *store) FL_REQUIRES(vnode_hash_lock)
{
    uint64_t h = (store->key[0] * 31 + store->key[1]) * 0x9e3779b97f4a7c15u;
    return &vnode_hash.bucket[h >> (64 - VNODE_HASH_BITS)];
}

/* (H). */
static struct vnode *vnode_lookup(const struct store *store) FL_REQUIRES(vnode_hash_lock)
{
    for (struct vnode *v = *vnode_bucket(store); v != NULL; v = v->hash_next)
        if (v->store->key[0] == store->key[0] && v->store->key[1] == store->key[1])
            return v;
    return NULL;
}

/*
 * The vnode of the store's file, with one more reference. NULL: there
 * is none. (H), released while it waits for a vnode that ends.
 */
static struct vnode *vnode_find(struct store *store) FL_REQUIRES(vnode_hash_lock)
{
    struct vnode *v;
    while ((v = vnode_lookup(store)) != NULL && atomic_load(&v->ref_count) == 0) {
        vnode_hash.waiting++;
        vm_sleep(&vnode_hash_lock, &vnode_hash_lock);
        vnode_hash.waiting--;
    }
    if (v != NULL)
        fl_vnode_ref(v);
    return v;
}

/* (H). */
static void vnode_insert(struct vnode *vnode) FL_REQUIRES(vnode_hash_lock)
{
    struct vnode **bucket = vnode_bucket(vnode->store);
    vnode->hash_next = *bucket;
    *bucket = vnode;
}

static void vnode_remove(struct vnode *vnode)
{
    vm_lock(&vnode_hash_lock);
    struct vnode **link = vnode_bucket(vnode->store);
    while (*link != vnode)
        link = &(*link)->hash_next;
    *link = vnode->hash_next;
    KASSERT(atomic_load(&vnode->ref_count) == 0, "VN2");
    bool wake = vnode_hash.waiting != 0;
    vm_unlock(&vnode_hash_lock);
    if (wake)
        machine_wake(&vnode_hash_lock);
}

/*
 * A file that is open already is opened once more, by `store`. Returns the store if it is to be closed; NULL:
 * the vnode keeps it, as the first one that is writable. (H).
 */
static struct store *vnode_adopt(struct vnode *v, struct store *store) FL_REQUIRES(vnode_hash_lock)
{
    bool keep = !store->read_only && atomic_load(&v->writer) == NULL;
    if (keep)
        atomic_store(&v->writer, store);
    vnode_may_have_holes(v); /* other programs may have punched some since the last open */
    return keep ? NULL : store;
}

/* A vnode with one reference, not in the table. No lock held. Errors: -ENOMEM; what store->size said. */
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

int fl_vnode_open(struct store *store, struct vnode **vnode)
{
    struct vnode *fresh = NULL, *v = NULL;
    struct store *unused = NULL;
    bool hashed = store_has_key(store);
    if (hashed) {
        vm_lock(&vnode_hash_lock);
        v = vnode_find(store);
        vm_unlock(&vnode_hash_lock);
    }
    if (v == NULL) {
        int error = vnode_create(store, &fresh);
        if (error != 0)
            return error;
    }
    vm_lock(&vnode_hash_lock);
    if (v == NULL && hashed)
        v = vnode_find(store); /* another thread may have made it meanwhile */
    if (v != NULL)
        unused = vnode_adopt(v, store);
    else if (hashed)
        vnode_insert(fresh);
    vm_unlock(&vnode_hash_lock);

    *vnode = v != NULL ? v : fresh;
    if (v != NULL && fresh != NULL)
        vm_zone_free(&vnode_zone, fresh);
    if (unused != NULL)
        unused->ops->close(unused);
    return 0;
}

/* The last reference is gone, so nothing maps the file; only page-out still finds its pages. No lock held. */
static int vnode_terminate(struct vnode *vnode)
{
    inode_wait_for_writeback(vnode);
    int error = sync_blockdev(vnode);
    if (vnode->object != NULL)
        vm_object_destroy(vnode->object);
    struct store *writer = atomic_load(&vnode->writer), *store = vnode->store;
    if (store_has_key(store))
        vnode_remove(vnode); /* before its store closes, which has the key */
    if (writer != NULL && writer != store)
        writer->ops->close(writer);
    store->ops->close(store);
    vm_zone_free(&vnode_zone, vnode);
    return error;
}

int fl_vnode_close(struct vnode *vnode)
{
    vm_lock(&vnode_hash_lock);
    uint32_t refs = atomic_fetch_sub(&vnode->ref_count, 1);
    vm_unlock(&vnode_hash_lock);
    KASSERT(refs > 0, "VN1");
    return refs == 1 ? vnode_terminate(vnode) : 0;
}
