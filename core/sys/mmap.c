/*
 * mmap.c: mmap: maps a file or fresh memory into an address space.
 *
 *     fl_sys_mmap
 *       sys_mmap                 arguments: alignment, length, place, flags
 *         fget_mmap              the open file's vnode
 *         vn_mmap                its open mode against the protection
 *           vm_mmap_vnode        the file's object, with its size as it is now
 *           vm_mmap_object       into the map: vm_map_find, or vm_map_fixed
 *         vm_mmap_anonymous      for FL_MAP_ANONYMOUS, instead of vn_mmap
 *       vm_map_wire, sys_populate
 *
 * The functions' names and order are those of FreeBSD 11's mmap; errors and their order are Linux's. An
 * address outside the space gives -ENOMEM. Locks: those of vm_map_insert and its kin; none on entry.
 *
 * Does not do: huge pages (MAP_HUGETLB gives -EINVAL for a file, as Linux does for a file of an ordinary file
 * system, and -ENOMEM otherwise, as with an empty pool); MAP_32BIT without MAP_FIXED (-ENOMEM, for the space
 * may lie above 4 GiB, and the program would cut off the address).
 */
#include <faultline/vm.h>
#include "file/buffer.h"
#include "file/truncate.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "vm/vm_harvest.h"
#include "sys/range.h"
#include "vm/vm_pager.h"

#define MAP_32BIT      0x40
#define MAP_DENYWRITE  0x800
#define MAP_EXECUTABLE 0x1000
#define MAP_HUGETLB    0x40000
#define MMAP_FIXED     (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)
/*
 * The flags that MAP_SHARED_VALIDATE accepts (LEGACY_MAP_MASK, Linux). FIXED_NOREPLACE is newer and not in
 * it.
 */
#define MMAP_LEGACY                                                                                          \
    (FL_MAP_TYPE | FL_MAP_FIXED | FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN | FL_MAP_LOCKED | FL_MAP_NORESERVE |   \
     FL_MAP_POPULATE | FL_MAP_NONBLOCK | FL_MAP_STACK | MAP_32BIT | MAP_HUGETLB | MAP_DENYWRITE |            \
     MAP_EXECUTABLE)

/*
 * Puts the mapping into the map, at *addr if it is fixed. *addr: where. The caller's reference to the object
 * becomes the mapping's; on failure it is dropped.
 */
static int vm_mmap_object(struct vm_map *map, vm_offset_t *addr, vm_offset_t size, vm_prot_t prot,
                          vm_prot_t max, unsigned eflags, int flags, struct vm_object *object,
                          vm_pindex_t pindex)
{
    int error;

    if ((flags & FL_MAP_FIXED_NOREPLACE) != 0) {
        vm_map_lock(map);
        error = vm_map_insert(map, object, pindex, *addr, *addr + size, prot, max, eflags);
        vm_map_unlock(map);
    } else if ((flags & FL_MAP_FIXED) != 0) {
        error = vm_map_fixed(map, object, pindex, *addr, *addr + size, prot, max, eflags);
    } else {
        error = vm_map_find(map, object, pindex, addr, size, prot, max, eflags);
    }
    if (error != 0 && object != NULL)
        vm_object_deallocate(object);
    return error;
}

/* *object: the vnode's object, with a reference, after the vnode learnt the file's length. */
static int vm_mmap_vnode(struct vnode *vnode, vm_ooffset_t offset, vm_offset_t size,
                         struct vm_object **object)
{
    int error = fl_vnode_setsize(vnode);

    if (error != 0)
        return error;
    *object = vm_pager_allocate(OBJT_VNODE, vnode, atop(offset + size));
    return *object == NULL ? -ENOMEM : 0;
}

/* Whether the file's open mode allows the type and the protection. Errors: -EINVAL, -EACCES, -EOPNOTSUPP. */
static int vn_mmap_check(const struct fl_file *file, int flags, vm_prot_t prot)
{
    switch (flags & FL_MAP_TYPE) {
    case FL_MAP_SHARED_VALIDATE:
        if ((flags & ~MMAP_LEGACY) != 0)
            return -EOPNOTSUPP;
        /* fallthrough */
    case FL_MAP_SHARED:
        if ((prot & VM_PROT_WRITE) != 0 && (file->mode & FL_FWRITE) == 0)
            return -EACCES;
        break;
    case FL_MAP_PRIVATE:
        break;
    default:
        return -EINVAL;
    }
    if ((file->mode & FL_FREAD) == 0)
        return -EACCES;
    return (flags & FL_MAP_GROWSDOWN) != 0 ? -EINVAL : 0;
}

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

static int vn_mmap(struct vm_map *map, vm_offset_t *addr, vm_offset_t size, vm_prot_t prot, int flags,
                   const struct fl_file *file, struct vnode *vnode, vm_ooffset_t offset)
{
    bool private = (flags & FL_MAP_TYPE) == FL_MAP_PRIVATE;
    vm_prot_t max = VM_PROT_ALL;
    struct vm_object *object;
    int error = vn_mmap_check(file, flags, prot);

    if (error != 0)
        return error;
    if (!private && (file->mode & FL_FWRITE) == 0)
        max &= (vm_prot_t)~VM_PROT_WRITE;
    error = vm_mmap_vnode(vnode, offset, size, &object);
    if (error != 0)
        return error;
    error = vn_mmap_prepare(object, !private && (max & VM_PROT_WRITE) != 0);
    if (error != 0) {
        vm_object_deallocate(object);
        return error;
    }
    error = vm_mmap_object(map, addr, size, prot, max, private ? MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY : 0,
                           flags, object, atop(offset));
    /* Rare: a failed write that others were told of, and this descriptor was not told of yet. */
    if (error == 0 && file->told != fl_vnode_errseq(vnode))
        vm_map_told_older(map, *addr, *addr + size, object, file->told);
    return error;
}

/*
 * Shared memory gets its object at once, because it may be shared untouched; private memory when it is
 * touched.
 */
static int vm_mmap_anonymous(struct vm_map *map, vm_offset_t *addr, vm_offset_t size, vm_prot_t prot,
                             int flags)
{
    struct vm_object *object = NULL;
    unsigned eflags = 0;

    switch (flags & FL_MAP_TYPE) {
    case FL_MAP_SHARED:
        if ((flags & FL_MAP_GROWSDOWN) != 0)
            return -EINVAL;
        object = vm_object_allocate(OBJT_DEFAULT, atop(size), NULL);
        if (object == NULL)
            return -ENOMEM;
        break;
    case FL_MAP_PRIVATE:
        eflags = MAP_ENTRY_COW | ((flags & FL_MAP_GROWSDOWN) != 0 ? MAP_ENTRY_GROWS_DOWN : 0);
        break;
    default:
        return -EINVAL;
    }
    return vm_mmap_object(map, addr, size, prot, VM_PROT_ALL, eflags, flags, object, 0);
}

static int fget_mmap(const struct fl_file *file, struct vnode **vnode)
{
    if (file == NULL || file->vnode == NULL)
        return -EBADF;
    *vnode = file->vnode;
    return 0;
}

/* A fixed address must lie in the space. A hint is rounded down to a page, or up to the space's start. */
static int mmap_check_place(const struct vm_map *map, vm_offset_t *addr, vm_offset_t size, int flags)
{
    vm_offset_t space = map->max_offset - map->min_offset;

    if (size > space)
        return -ENOMEM;
    if ((flags & MMAP_FIXED) != 0) {
        if (*addr > map->max_offset - size || *addr < map->min_offset)
            return -ENOMEM;
        return (*addr & VM_PAGE_MASK) != 0 ? -EINVAL : 0;
    }
    if ((flags & MAP_32BIT) != 0)
        return -ENOMEM;
    *addr = trunc_page(*addr);
    if (*addr != 0 && *addr < map->min_offset)
        *addr = map->min_offset;
    return 0;
}

/* Checks that need no file, in Linux's order. *size: the length in bytes, rounded up to whole pages. */
static int mmap_check_length(size_t len_bytes, vm_ooffset_t offset, vm_offset_t *size)
{
    *size = round_page((vm_offset_t)len_bytes);
    if (len_bytes == 0)
        return -EINVAL;
    if (*size < len_bytes)
        return -ENOMEM;
    return offset + *size < offset || offset + *size > INT64_MAX ? -EOVERFLOW : 0;
}

static int sys_mmap(struct vm_map *map, vm_offset_t *addr, size_t len_bytes, vm_prot_t prot, int flags,
                    const struct fl_file *file, vm_ooffset_t offset)
{
    bool anonymous = (flags & FL_MAP_ANONYMOUS) != 0;
    struct vnode *vnode = NULL;
    vm_offset_t size;
    int error;

    if ((offset & VM_PAGE_MASK) != 0)
        return -EINVAL;
    error = anonymous ? 0 : fget_mmap(file, &vnode);
    if (error != 0)
        return error;
    if ((flags & MAP_HUGETLB) != 0)
        return anonymous ? -ENOMEM : -EINVAL;
    error = mmap_check_length(len_bytes, offset, &size);
    if (error == 0)
        error = mmap_check_place(map, addr, size, flags);
    if (error != 0)
        return error;
    if (anonymous)
        return vm_mmap_anonymous(map, addr, size, prot, flags);
    return vn_mmap(map, addr, size, prot, flags, file, vnode, offset);
}

/* Fills or locks the new mapping. As on Linux, the mapping stays, and the call succeeds, if that fails. */
static void mmap_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot, int flags)
{
    bool private = (flags & FL_MAP_TYPE) == FL_MAP_PRIVATE;
    vm_prot_t access = private && (prot & VM_PROT_WRITE) != 0 ? VM_PROT_WRITE : VM_PROT_READ;
    int ignored = 0;

    if ((flags & FL_MAP_LOCKED) != 0)
        ignored = vm_map_wire(map, start, end);
    else if ((flags & (FL_MAP_POPULATE | FL_MAP_NONBLOCK)) == FL_MAP_POPULATE && prot != VM_PROT_NONE)
        ignored = sys_populate(map, start, end, access);
    (void)ignored;
}

int64_t fl_sys_mmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot, int flags,
                    const struct fl_file *file, vm_ooffset_t offset)
{
    vm_prot_t vm_prot = (vm_prot_t)(prot & VM_PROT_ALL); /* Linux ignores other bits here */
    int error = sys_mmap(map, &addr, len_bytes, vm_prot, flags, file, offset);

    if (error != 0)
        return error;
    mmap_populate(map, addr, addr + round_page((vm_offset_t)len_bytes), vm_prot, flags);
    return (int64_t)addr;
}
