/*
 * mmap_object.c: the part of mmap that all personalities share: an object becomes a mapping in a space.
 *
 *     vm_mmap_object     (M)  the place: fixed, get_unmapped_area or vm_map_find
 *       mmap_region           is there room for it? what is mapped there goes; the new mapping comes
 *         vm_map_delete       (munmap_vma_range, Linux)
 *         vm_map_insert       (vma_merge, else vm_area_alloc and vma_link, Linux)
 *
 * The search for a place and what is done with it happen in one hold of (M). Names are FreeBSD's and Linux's.
 * Does not do: flags and the order of errors (mmap.c, mmap_freebsd.c).
 */
#include "sys/mmap.h"
#include "file/buffer.h"
#include "file/truncate.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "vm/vm_commit.h"
#include "vm/vm_harvest.h"
#include "vm/vm_pager.h"

/* ---- the map ------------------------------------------------------------------------------------------- */

/* m->addr: the lowest place at or behind `hint` that ends at or below m->limit. Errors: -ENOMEM. */
static int mmap_place_bottomup(struct vm_map *map, struct vm_mmap *m, vm_offset_t hint) FL_REQUIRES(map->lock)
{
    vm_offset_t addr;
    int error = vm_map_find(map, hint, m->size, m->align, &addr);

    if (error == 0 && addr + m->size > m->limit)
        error = -ENOMEM;
    if (error == 0)
        m->addr = addr;
    return error;
}

static int mmap_place(struct vm_map *map, struct vm_mmap *m) FL_REQUIRES(map->lock)
{
    int error;

    switch (m->place) {
    case VM_MMAP_TOPDOWN:
        return get_unmapped_area(map, m->addr, m->size, &m->addr);
    case VM_MMAP_BOTTOMUP:
        error = mmap_place_bottomup(map, m, m->addr);
        return error == 0 ? 0 : mmap_place_bottomup(map, m, m->retry);
    case VM_MMAP_EXCL:
        return vm_map_first_after(map, m->addr)->start < m->addr + m->size ? -EEXIST : 0;
    default:
        return 0;
    }
}

/* How much of [start, end) is mapped. (count_vma_pages_range, Linux.) */
static uint64_t mapped_bytes(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock)
{
    const struct vm_map_entry *entry = vm_map_first_after(map, start);
    uint64_t bytes = 0;

    for (; entry != &map->header && entry->start < end; entry = entry->next) {
        if ((entry->eflags & MAP_ENTRY_RESERVED) == 0)
            bytes += (entry->end < end ? entry->end : end) - (entry->start > start ? entry->start : start);
    }
    return bytes;
}

/* Whether the space may have the mapping; what it replaces does not count. Errors: as vm_mmap_object. */
static int mmap_limits(struct vm_map *map, const struct vm_mmap *m) FL_REQUIRES(map->lock)
{
    bool data = vm_map_is_data(m->eflags, m->prot);

    if (m->wire && !mlock_future_ok(map, m->size))
        return -EAGAIN;
    if (may_expand_vm(map, data, m->size))
        return 0;
    return may_expand_vm(map, data, m->size - mapped_bytes(map, m->addr, m->addr + m->size)) ? 0 : -ENOMEM;
}

static int mmap_region(struct vm_map *map, const struct vm_mmap *m) FL_REQUIRES(map->lock)
{
    vm_offset_t end = m->addr + m->size;
    int error;

    if (m->place == VM_MMAP_FIXED)
        vm_map_wait_transition(map, m->addr, end);
    error = mmap_limits(map, m);
    vm_pindex_t promise = vm_commit_covers(m->eflags, m->prot, m->object) ? atop(m->size) : 0;
    if (error == 0 && !vm_commit_reserve(promise))
        error = -ENOMEM;
    if (error != 0)
        return error;
    if (m->place == VM_MMAP_FIXED)
        error = vm_map_delete(map, m->addr, end);
    if (error == 0)
        error = vm_map_insert(map, m->object, m->pindex, m->addr, end, m->prot, m->max_prot, m->eflags);
    vm_commit_release(promise);
    return error;
}

int vm_mmap_object(struct vm_map *map, struct vm_mmap *m)
{
    int error;

    vm_map_lock(map);
    error = mmap_place(map, m);
    if (error == 0 && m->wire && map->limits.memlock_bytes == 0)
        error = -EPERM; /* who asks for it may lock nothing (can_do_mlock) */
    m->wire |= map->wire_future;
    if (error == 0)
        error = mmap_region(map, m);
    vm_map_unlock(map);
    if (error != 0 && m->object != NULL)
        vm_object_deallocate(m->object);
    return error;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

/*
 * The object is about to be mapped. Its pages get all of their bytes; and where the disk may be too full for
 * a page that becomes dirty, stores are to be told. Errors: the store's, -ENOMEM.
 */
static int vn_mmap_prepare(struct vm_object *object, bool may_write)
{
    int error = block_complete_pages(object);

    if (error != 0) {
        /* Written, such pages can go: then the access that needs the bytes meets the error. */
        (void)!filemap_write_and_wait_range(object, 0, UINT64_MAX);
        (void)!invalidate_inode_pages2_range(object, 0, UINT64_MAX);
        error = block_complete_pages(object);
    }
    if (error != 0 || !may_write || !vnode_pager_space_scarce(object))
        return error;
    vm_lock(&object->lock);
    error = vm_object_writenotify(object);
    vm_unlock(&object->lock);
    return error;
}

int vm_mmap_vnode(struct vm_mmap *m, struct vnode *vnode, vm_ooffset_t offset, bool shared)
{
    int error = fl_vnode_setsize(vnode);

    if (error != 0)
        return error;
    m->object = vm_pager_allocate(OBJT_VNODE, vnode, atop(offset + m->size));
    if (m->object == NULL)
        return -ENOMEM;
    m->pindex = atop(offset);
    error = vn_mmap_prepare(m->object, shared && (m->max_prot & VM_PROT_WRITE) != 0);
    if (error != 0)
        vm_object_deallocate(m->object);
    return error;
}

/* Rare: a failed write that others were told of, and this descriptor was not told of yet. */
void vm_mmap_told(struct vm_map *map, const struct vm_mmap *m, const struct fl_file *file)
{
    if (file->told != fl_vnode_errseq(file->vnode))
        vm_map_told_older(map, m->addr, m->addr + m->size, m->object, file->told);
}
