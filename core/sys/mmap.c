/*
 * mmap.c: mmap as Linux has it: maps a file or fresh memory into an address space.
 *
 *     fl_sys_mmap
 *       do_mmap                  arguments: alignment, length, place, flags
 *         mmap_file              the open file's mode against the protection; its object
 *         mmap_anonymous         or fresh memory
 *           vm_mmap_object       (mmap_object.c) get_unmapped_area, mmap_region
 *       mm_populate              locks or fills the mapping, if that is asked for
 *
 * The functions' names are those of Linux, and so are the errors and their order. One exception: a place is
 * looked for when the mapping is otherwise possible, under the lock under which it is used. An address
 * outside the space gives -ENOMEM. Locks: (M), in vm_mmap_object; none on entry.
 *
 * Does not do: huge pages (MAP_HUGETLB gives -EINVAL for a file, as Linux does for a file of an ordinary file
 * system, and -ENOMEM otherwise, as with an empty pool); MAP_32BIT without MAP_FIXED (-ENOMEM, for the space
 * may lie above 4 GiB, and the program would cut off the address).
 */
#include "sys/mmap.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "sys/range.h"

#define MAP_32BIT      0x40
#define MAP_DENYWRITE  0x800
#define MAP_EXECUTABLE 0x1000
#define MAP_HUGETLB    0x40000
/*
 * The flags that MAP_SHARED_VALIDATE accepts (LEGACY_MAP_MASK, Linux). FIXED_NOREPLACE is newer and not in
 * it.
 */
#define MMAP_LEGACY                                                                                          \
    (FL_MAP_TYPE | FL_MAP_FIXED | FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN | FL_MAP_LOCKED | FL_MAP_NORESERVE |   \
     FL_MAP_POPULATE | FL_MAP_NONBLOCK | FL_MAP_STACK | MAP_32BIT | MAP_HUGETLB | MAP_DENYWRITE |            \
     MAP_EXECUTABLE)

static bool mmap_is_private(int flags)
{
    return (flags & FL_MAP_TYPE) == FL_MAP_PRIVATE;
}

/*
 * Whether the file's open mode and its mount allow the type and the protection. Errors: -EINVAL, -EACCES,
 * -EPERM, -EOPNOTSUPP.
 */
static int mmap_file_check(const struct fl_file *file, int flags, vm_prot_t prot)
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
    if ((file->mode & FL_FNOEXEC) != 0 && (prot & VM_PROT_EXECUTE) != 0)
        return -EPERM;
    return (flags & FL_MAP_GROWSDOWN) != 0 ? -EINVAL : 0;
}

static int mmap_file(struct vm_map *map, struct vm_mmap *m, int flags, const struct fl_file *file,
                     vm_ooffset_t offset)
{
    bool private = mmap_is_private(flags);
    int error = mmap_file_check(file, flags, m->prot);

    if (error != 0)
        return error;
    if (!private && (file->mode & FL_FWRITE) == 0)
        m->max_prot &= (vm_prot_t)~VM_PROT_WRITE;
    if ((file->mode & FL_FNOEXEC) != 0)
        m->max_prot &= (vm_prot_t)~VM_PROT_EXECUTE;
    m->eflags = private ? MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY : 0;
    error = vm_mmap_vnode(m, file->vnode, offset, !private);
    if (error == 0)
        error = vm_mmap_object(map, m);
    if (error == 0)
        vm_mmap_told(map, m, file);
    return error;
}

/*
 * Shared memory gets its object at once, because it may be shared untouched; private memory when it is
 * touched.
 */
static int mmap_anonymous(struct vm_map *map, struct vm_mmap *m, int flags)
{
    switch (flags & FL_MAP_TYPE) {
    case FL_MAP_SHARED:
        if ((flags & FL_MAP_GROWSDOWN) != 0)
            return -EINVAL;
        m->object = vm_object_allocate(OBJT_SWAP, atop(m->size), NULL);
        if (m->object == NULL)
            return -ENOMEM;
        break;
    case FL_MAP_PRIVATE:
        m->eflags = MAP_ENTRY_COW | ((flags & FL_MAP_GROWSDOWN) != 0 ? MAP_ENTRY_GROWS_DOWN : 0);
        break;
    default:
        return -EINVAL;
    }
    return vm_mmap_object(map, m);
}

/* A fixed address must lie in the space. A hint is rounded down to a page, or up to the space's start. */
static int mmap_check_place(const struct vm_map *map, struct vm_mmap *m, int flags)
{
    if (m->size > map->max_offset - map->min_offset)
        return -ENOMEM;
    if (m->place != VM_MMAP_TOPDOWN) {
        if (m->addr > map->max_offset - m->size || m->addr < map->min_offset)
            return -ENOMEM;
        return (m->addr & VM_PAGE_MASK) != 0 ? -EINVAL : 0;
    }
    if ((flags & MAP_32BIT) != 0)
        return -ENOMEM;
    m->addr = trunc_page(m->addr);
    if (m->addr != 0 && m->addr < map->min_offset)
        m->addr = map->min_offset;
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

static enum vm_mmap_place mmap_place_of(int flags)
{
    if ((flags & FL_MAP_FIXED_NOREPLACE) != 0)
        return VM_MMAP_EXCL;
    return (flags & FL_MAP_FIXED) != 0 ? VM_MMAP_FIXED : VM_MMAP_TOPDOWN;
}

static int do_mmap(struct vm_map *map, struct vm_mmap *m, size_t len_bytes, int flags,
                   const struct fl_file *file, vm_ooffset_t offset)
{
    bool anonymous = (flags & FL_MAP_ANONYMOUS) != 0;
    int error;

    if ((offset & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (!anonymous && (file == NULL || file->vnode == NULL))
        return -EBADF;
    if ((flags & MAP_HUGETLB) != 0)
        return anonymous ? -ENOMEM : -EINVAL;
    error = mmap_check_length(len_bytes, offset, &m->size);
    if (error == 0)
        error = mmap_check_place(map, m, flags);
    if (error != 0)
        return error;
    return anonymous ? mmap_anonymous(map, m, flags) : mmap_file(map, m, flags, file, offset);
}

/* How MAP_POPULATE touches the pages: private ones that may be written are copied now. */
static vm_prot_t mmap_populate_access(const struct vm_mmap *m, int flags)
{
    if ((flags & (FL_MAP_POPULATE | FL_MAP_NONBLOCK)) != FL_MAP_POPULATE || m->prot == VM_PROT_NONE)
        return VM_PROT_NONE;
    return mmap_is_private(flags) && (m->prot & VM_PROT_WRITE) != 0 ? VM_PROT_WRITE : VM_PROT_READ;
}

int64_t fl_sys_mmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot, int flags,
                    const struct fl_file *file, vm_ooffset_t offset)
{
    struct vm_mmap m = {
        .place = mmap_place_of(flags),
        .addr = addr,
        .prot = (vm_prot_t)(prot & VM_PROT_ALL), /* Linux ignores other bits here */
        .max_prot = VM_PROT_ALL,
        .wire = (flags & FL_MAP_LOCKED) != 0,
    };
    int error = do_mmap(map, &m, len_bytes, flags, file, offset);

    if (error != 0)
        return error;
    mm_populate(map, m.addr, m.addr + m.size, mmap_populate_access(&m, flags), m.wire);
    return (int64_t)m.addr;
}
