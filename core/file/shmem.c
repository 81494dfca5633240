/*
 * shmem.c: files without a store: a vnode whose pages are anonymous memory, and go to swap space.
 *
 *   fl_vnode_anonymous ─▶ vnode ─▶ object (OBJT_SHMEM) ─▶ pages ⇄ slots of swap space
 *                           └▶ store (struct shmem): the length, and no bytes
 *
 *   a page      was never written, or is in a hole     no page, no slot: zeros
 *               dirty                                  only in memory
 *               clean, or absent                       zeros, or in its slot (swap_pager.h)
 *
 * The vnode is like any other for reads, writes and mappings. Its object has a pager of its own: the half
 * that a file has of vnode_pager.c (references, the length) and the half that anonymous memory has of
 * swap_pager.c (where pages go). Nothing outlives the vnode, so vm_pager_keeps is false. By that the rest of
 * core/file knows that there is nothing to write back, to read ahead, or to transfer past the pages; and that
 * a page which is cut or punched in part is brought in first, since no store does that to its bytes.
 *
 * Promises. The length is promised (vm_commit.h), in pages, holes too: who makes the file longer hears that
 * there is no memory, and a store into a mapping finds it. A shared mapping promises nothing more.
 *
 * Invariant: SM1 a hole is brought in alone.
 * Locks: vn_lock for the length; (O). Nothing here sleeps but by the pager's operations.
 *
 * Does not do: names and rights (a kernel's tmpfs).
 */
#include "file/shmem.h"
#include "file/vnode_pager.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/swap_pager.h"
#include "vm/vm_commit.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include <faultline/vm.h>

/* A store of a length and no bytes: no transfer ever reaches it. */
struct shmem {
    struct store store;
    uint64_t len_bytes; /* vn_lock of its vnode */
};

static struct vm_zone shmem_zone;

/* ---- the length ---------------------------------------------------------------------------------------- */

static int shmem_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ((struct shmem *)store)->len_bytes;
    return 0;
}

static int shmem_truncate(struct store *store, uint64_t len_bytes)
{
    struct shmem *shmem = (struct shmem *)store;
    vm_pindex_t before = size_pages(shmem->len_bytes), npages = size_pages(len_bytes);
    if (npages > before && !vm_commit_reserve(npages - before))
        return -ENOSPC;
    if (npages < before)
        vm_commit_release(before - npages);
    shmem->len_bytes = len_bytes;
    return 0;
}

/* The pages and slots are what is punched. */
static int shmem_punch(struct store *store, uint64_t offset, uint64_t len_bytes)
{
    (void)store;
    (void)offset;
    (void)len_bytes;
    return 0;
}

static int shmem_flush(struct store *store)
{
    (void)store;
    return 0;
}

static void shmem_close(struct store *store)
{
    vm_commit_release(size_pages(((struct shmem *)store)->len_bytes));
    vm_zone_free(&shmem_zone, store);
}

static const struct store_ops shmem_ops = {
    .name = "shmem",
    .size = shmem_size,
    .truncate = shmem_truncate,
    .punch = shmem_punch,
    .flush = shmem_flush,
    .close = shmem_close,
};

/* ---- the row of pagertab ------------------------------------------------------------------------------- */

static bool shmem_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
    FL_REQUIRES(object->lock)
{
    if (pindex >= object->size)
        return false;
    if (before == NULL)
        return true;
    (void)!swap_pager_haspage(object, pindex, before, after); /* a hole has no neighbours */
    vm_pindex_t behind = object->size - pindex - 1;
    *after = *after < behind ? *after : (uint32_t)behind;
    return true;
}

static bool shmem_hole(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    return !swap_pager_haspage(object, pindex, NULL, NULL);
}

static int shmem_getpages(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage)
{
    vm_lock(&object->lock);
    bool hole = shmem_hole(object, m[reqpage]->pindex); /* and stays one: the page is busy */
    vm_unlock(&object->lock);
    KASSERT(!hole || count == 1, "SM1");
    return hole ? vm_page_zero_fill(m[0]) : swap_pager_getpages(object, m, count, reqpage);
}

static uint64_t shmem_promised(const struct vm_object *object)
{
    return size_pages(((const struct shmem *)vm_object_vnode(object)->store)->len_bytes);
}

static const struct pagerops shmempagerops = {
    .first_reference = vnode_pager_first_reference,
    .last_reference = vnode_pager_last_reference,
    .setsize = vnode_pager_setsize,
    .promised = shmem_promised,
    .haspage = shmem_haspage,
    .hole = shmem_hole,
    .getpages = shmem_getpages,
    .readahead = swap_pager_readahead,
    .freespace = swap_pager_freespace,
    .unswapped = swap_pager_unswapped,
    .launder = swap_pager_launder,
    .full = swap_pager_full,
    .last_error = swap_pager_last_error,
};

void shmem_startup(void)
{
    vm_zone_init(&shmem_zone, "shmem", sizeof(struct shmem));
    vm_pager_register(OBJT_SHMEM, &shmempagerops);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

/* The vnode, which no other thread knows yet, gets its object. Errors: -ENOMEM. */
static int shmem_make_object(struct vnode *vnode)
{
    struct vm_object *object = vm_object_allocate(OBJT_SHMEM, 0, vnode);
    if (object == NULL)
        return -ENOMEM;
    vm_lock(&vnode->lock);
    vnode->object = object; /* with the reference that it was born with */
    vm_unlock(&vnode->lock);
    return 0;
}

int fl_vnode_anonymous(uint64_t len_bytes, struct vnode **vnode)
{
    struct shmem *shmem = vm_zone_alloc(&shmem_zone);
    if (shmem == NULL)
        return -ENOMEM;
    shmem->store.ops = &shmem_ops;
    int error = fl_vnode_open(&shmem->store, vnode);
    if (error != 0) {
        vm_zone_free(&shmem_zone, shmem);
        return error;
    }
    error = shmem_make_object(*vnode);
    if (error == 0)
        error = fl_vnode_truncate(*vnode, len_bytes);
    if (error != 0)
        (void)!fl_vnode_close(*vnode); /* nothing is in it */
    return error;
}
