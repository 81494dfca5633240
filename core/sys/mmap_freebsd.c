/*
 * mmap_freebsd.c: mmap with FreeBSD 11's rules: a second personality of the call (freebsd.h).
 *
 *     fl_sys_mmap_freebsd
 *       sys_mmap                 flags, alignment, the place
 *         fget_mmap              the descriptor's rights
 *         vn_mmap                the file's mode and mount: the most that the mapping may ever allow
 *           vm_mmap_vnode        the file's object, with its size as it is now
 *           vm_mmap_object       (mmap_object.c) vm_map_find, vm_map_insert
 *         mmap_anon              memory without a file; stacks; guards
 *
 * Where it differs from Linux's (mmap.c):
 *   - The offset may lie within a page. It is rounded down, and what is cut off is added to the length and to
 *     the address that is returned; a fixed address must have the same remainder.
 *   - Unknown flags are refused.
 *   - The place is the lowest one at or behind the hint. A hint of 0, or one in what the data segment may
 *     become, moves behind that.
 *   - MAP_ALIGNED asks for a multiple of a power of two.
 *
 * The functions' names are FreeBSD's, and so are the errors and their order. Locks: (M), in vm_mmap_object.
 *
 * A stack is mapped as a whole at once, but for the guard page at its lower end: its memory comes when it is
 * touched in any case, so growth in steps would show no difference. Ignored, as hints: MAP_NOSYNC,
 * MAP_NOCORE, MAP_HASSEMAPHORE; MAP_PREFAULT_READ, because resident pages are entered always.
 */
#include <faultline/freebsd.h>
#include "lib/errno.h"
#include "sys/mmap.h"
#include "sys/range.h"

#define MAP_SHARED    FL_FREEBSD_MAP_SHARED
#define MAP_PRIVATE   FL_FREEBSD_MAP_PRIVATE
#define MAP_FIXED     FL_FREEBSD_MAP_FIXED
#define MAP_STACK     FL_FREEBSD_MAP_STACK
#define MAP_ANON      FL_FREEBSD_MAP_ANON
#define MAP_GUARD     FL_FREEBSD_MAP_GUARD
#define MAP_EXCL      FL_FREEBSD_MAP_EXCL
#define MAP_32BIT     FL_FREEBSD_MAP_32BIT
#define MAP_TYPE      (MAP_SHARED | MAP_PRIVATE)
#define MAP_UNUSED    0x0060 /* flags of old releases, which never did anything */
#define MAP_ALIGNMENT ((int)0xff000000)
#define MAP_KNOWN                                                                                            \
    (MAP_TYPE | MAP_FIXED | FL_FREEBSD_MAP_HASSEMAPHORE | MAP_STACK | FL_FREEBSD_MAP_NOSYNC | MAP_ANON |     \
     MAP_GUARD | MAP_EXCL | FL_FREEBSD_MAP_NOCORE | FL_FREEBSD_MAP_PREFAULT_READ | MAP_32BIT |               \
     MAP_ALIGNMENT)

#define MAP_32BIT_MAX_ADDR ((vm_offset_t)1 << 31)
#define SUPERPAGE_SHIFT    21

/* One call. */
struct mmap_args {
    struct vm_map *map;
    const struct fl_freebsd_process *p;
    const struct fl_freebsd_file *fp;
    int flags;
    vm_ooffset_t pos;     /* a multiple of the page from mmap_round on */
    vm_offset_t page_off; /* what was cut off it */
    struct vm_mmap m;
};

/* ---- arguments ----------------------------------------------------------------------------------------- */

/* Old binaries: a length of 0, and anonymous memory with an offset or a descriptor. */
static int mmap_check_old(struct mmap_args *a)
{
    bool anon = (a->flags & MAP_ANON) != 0;

    if (a->p->aout) {
        a->pos = anon ? 0 : a->pos;
        return 0;
    }
    if (a->m.size == 0 && a->p->osrel >= FL_FREEBSD_OSREL_MAP_ANON)
        return -EINVAL;
    return anon && (a->fp != NULL || a->pos != 0) ? -EINVAL : 0;
}

static int mmap_check_stack(struct mmap_args *a)
{
    const vm_prot_t both = VM_PROT_READ | VM_PROT_WRITE;

    if ((a->flags & MAP_STACK) == 0)
        return 0;
    if (a->fp != NULL || (a->m.prot & both) != both)
        return -EINVAL;
    a->flags |= MAP_ANON;
    a->pos = 0;
    return 0;
}

static int mmap_check_flags(const struct mmap_args *a, int prot)
{
    const int flags = a->flags, no_guard = MAP_TYPE | FL_FREEBSD_MAP_PREFAULT_READ | MAP_ANON | MAP_STACK;

    if ((flags & ~MAP_KNOWN) != 0 || (flags & (MAP_EXCL | MAP_FIXED)) == MAP_EXCL ||
        (flags & MAP_TYPE) == MAP_TYPE || (prot & ~VM_PROT_ALL) != 0)
        return -EINVAL;
    if ((flags & MAP_GUARD) != 0 &&
        (prot != VM_PROT_NONE || a->fp != NULL || a->pos != 0 || (flags & no_guard) != 0))
        return -EINVAL;
    return 0;
}

/* The position becomes a multiple of the page, and the size grows by what was cut off. */
static int mmap_round(struct mmap_args *a)
{
    vm_offset_t size = a->m.size;

    a->page_off = a->pos & VM_PAGE_MASK;
    a->pos -= a->page_off;
    a->m.size = round_page(size + a->page_off);
    return a->m.size < size ? -ENOMEM : 0;
}

/* At least a page, and less than an address has bits. */
static int mmap_align(struct mmap_args *a)
{
    int align = a->flags & MAP_ALIGNMENT;
    unsigned shift = (unsigned)align >> 24;

    a->m.align = VM_PAGE_SIZE;
    if (align == 0)
        return 0;
    if (align == FL_FREEBSD_MAP_ALIGNED_SUPER)
        shift = SUPERPAGE_SHIFT;
    if (shift < VM_PAGE_SHIFT || shift >= 8 * sizeof(vm_offset_t))
        return -EINVAL;
    a->m.align = (vm_offset_t)1 << shift;
    return 0;
}

/* ---- the place ----------------------------------------------------------------------------------------- */

/* The fixed address has the offset's remainder, so that it is a page's after that is cut off. */
static int mmap_fixed(struct mmap_args *a)
{
    struct vm_mmap *m = &a->m;

    m->place = (a->flags & MAP_EXCL) != 0 ? VM_MMAP_EXCL : VM_MMAP_FIXED;
    m->addr -= a->page_off;
    if ((m->addr & VM_PAGE_MASK) != 0 || m->addr < a->map->min_offset || m->addr + m->size < m->addr ||
        m->addr + m->size > a->map->max_offset)
        return -EINVAL;
    return (a->flags & MAP_32BIT) != 0 && m->addr + m->size > MAP_32BIT_MAX_ADDR ? -EINVAL : 0;
}

/* Where the data segment ends if it becomes as large as it may. */
static vm_offset_t data_end(const struct fl_freebsd_process *p)
{
    vm_offset_t end = p->data_start + p->data_max_bytes;

    return end < p->data_start || round_page(end) < end ? trunc_page(UINT64_MAX) : round_page(end);
}

/* A hint of 0, or in what the data segment may become, moves behind that. */
static void mmap_hint(struct mmap_args *a)
{
    vm_offset_t end = data_end(a->p);
    struct vm_mmap *m = &a->m;

    m->place = VM_MMAP_BOTTOMUP;
    m->limit = a->map->max_offset;
    if ((a->flags & MAP_32BIT) != 0) {
        m->limit = MAP_32BIT_MAX_ADDR;
        if (m->addr + m->size > m->limit)
            m->addr = 0;
        m->retry = 0;
    } else {
        if (m->addr == 0 || (m->addr >= round_page(a->p->text_start) && m->addr < end))
            m->addr = end;
        m->retry = end;
    }
    m->addr = round_page(m->addr);
}

/* ---- what is mapped ------------------------------------------------------------------------------------ */

/* The lowest page of a stack cannot be accessed. Errors, and nothing is mapped: -ENOMEM. */
static int mmap_stack_guard(struct mmap_args *a)
{
    struct vm_mmap *m = &a->m;
    int error = vm_map_protect(a->map, m->addr, m->addr + VM_PAGE_SIZE, VM_PROT_NONE);

    if (error == 0)
        return 0;
    vm_map_lock(a->map);
    (void)!vm_map_delete(a->map, m->addr, m->addr + m->size);
    vm_map_unlock(a->map);
    return error;
}

static int mmap_anon(struct mmap_args *a)
{
    struct vm_mmap *m = &a->m;
    int error;

    if ((a->flags & MAP_STACK) != 0 && m->size <= VM_PAGE_SIZE)
        return -EINVAL; /* nothing but the guard */
    if ((a->flags & MAP_GUARD) != 0)
        m->max_prot = VM_PROT_NONE;
    if ((a->flags & MAP_SHARED) != 0) {
        m->object = vm_object_allocate(OBJT_SWAP, atop(m->size), NULL);
        if (m->object == NULL)
            return -ENOMEM;
    } else {
        m->eflags = MAP_ENTRY_COW;
    }
    error = vm_mmap_object(a->map, m);
    return error == 0 && (a->flags & MAP_STACK) != 0 ? mmap_stack_guard(a) : error;
}

/* Whether the descriptor may be used so. *cap_maxprot: the most that a mapping of it may allow. */
static int fget_mmap(const struct mmap_args *a, vm_prot_t *cap_maxprot)
{
    vm_prot_t needed = a->m.prot;

    if (a->fp == NULL || a->fp->file == NULL || a->fp->file->vnode == NULL)
        return -EBADF;
    if ((a->flags & MAP_SHARED) == 0)
        needed &= (vm_prot_t)~VM_PROT_WRITE; /* stores go to copies */
    *cap_maxprot = a->fp->cap_rights;
    return (needed & ~a->fp->cap_rights) != 0 ? -EPERM : 0;
}

/* m->max_prot: what the mount, the open mode and the descriptor allow. Errors: -EACCES. */
static int vn_mmap_maxprot(const struct mmap_args *a, vm_prot_t cap_maxprot, vm_prot_t *max)
{
    unsigned mode = a->fp->file->mode;
    vm_prot_t prot = a->m.prot;

    *max = (mode & FL_FNOEXEC) != 0 ? VM_PROT_NONE : VM_PROT_EXECUTE;
    if ((prot & VM_PROT_EXECUTE) != 0 && *max == VM_PROT_NONE)
        return -EACCES;
    if ((mode & FL_FREAD) != 0)
        *max |= VM_PROT_READ;
    else if ((prot & VM_PROT_READ) != 0)
        return -EACCES;
    if ((a->flags & MAP_SHARED) == 0) {
        *max |= VM_PROT_WRITE;
        cap_maxprot |= VM_PROT_WRITE;
    } else if ((mode & FL_FWRITE) != 0) {
        *max |= VM_PROT_WRITE;
    } else if ((prot & VM_PROT_WRITE) != 0) {
        return -EACCES;
    }
    *max &= cap_maxprot;
    return 0;
}

static int vn_mmap(struct mmap_args *a, vm_prot_t cap_maxprot)
{
    bool shared = (a->flags & MAP_SHARED) != 0;
    struct vm_mmap *m = &a->m;
    int error = vn_mmap_maxprot(a, cap_maxprot, &m->max_prot);

    if (error != 0)
        return error;
    if (a->pos > INT64_MAX || m->size > INT64_MAX - a->pos)
        return -EINVAL;
    m->eflags = shared ? 0 : MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;
    error = vm_mmap_vnode(m, a->fp->file->vnode, a->pos, shared);
    if (error == 0)
        error = vm_mmap_object(a->map, m);
    if (error == 0)
        vm_mmap_told(a->map, m, a->fp->file);
    return error;
}

/* ---- the call ------------------------------------------------------------------------------------------ */

/* Checks and completes the arguments, in FreeBSD's order. */
static int mmap_check(struct mmap_args *a, int prot)
{
    int error = mmap_check_old(a);

    if (error == 0)
        error = mmap_check_stack(a);
    if (error == 0)
        error = mmap_check_flags(a, prot);
    if (error == 0)
        error = mmap_round(a);
    if (error == 0)
        error = mmap_align(a);
    if (error == 0 && (a->flags & MAP_FIXED) != 0)
        error = mmap_fixed(a);
    else if (error == 0)
        mmap_hint(a);
    return error;
}

static int sys_mmap(struct mmap_args *a, int prot)
{
    vm_prot_t cap_maxprot;
    int error = mmap_check(a, prot);

    if (error != 0 || a->m.size == 0)
        return error; /* an old binary's mapping of no bytes succeeds, and maps nothing */
    if ((a->flags & (MAP_ANON | MAP_GUARD)) != 0)
        return mmap_anon(a);
    error = fget_mmap(a, &cap_maxprot);
    if (error != 0)
        return error;
    if ((a->flags & MAP_TYPE) == 0 && a->p->osrel >= FL_FREEBSD_OSREL_MAP_FSTRICT)
        return -EINVAL;
    return vn_mmap(a, cap_maxprot);
}

int64_t fl_sys_mmap_freebsd(struct vm_map *map, const struct fl_freebsd_process *p, vm_offset_t addr,
                            size_t len_bytes, int prot, int flags, const struct fl_freebsd_file *fp,
                            vm_ooffset_t offset)
{
    struct mmap_args a = {
        .map = map,
        .p = p,
        .fp = fp,
        .flags = flags & ~MAP_UNUSED,
        .pos = offset,
        .m = {.addr = addr, .size = len_bytes, .prot = (vm_prot_t)prot, .max_prot = VM_PROT_ALL},
    };
    int error = sys_mmap(&a, prot);

    if (error == -EEXIST || error == -EAGAIN)
        error = -ENOMEM; /* of a place that is taken (MAP_EXCL), and of a limit */
    if (error != 0)
        return error;
    if (a.m.size != 0)
        mm_populate(map, a.m.addr, a.m.addr + a.m.size, VM_PROT_NONE, a.m.wire);
    return (int64_t)(a.m.addr + a.page_off);
}
