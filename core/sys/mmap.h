/*
 * mmap.h: what the personalities of mmap share: Linux's (mmap.c) and FreeBSD's (mmap_freebsd.c).
 *
 *     a personality:  arguments, file ─▶ struct vm_mmap ─▶ vm_mmap_object ─▶ mm_populate
 *
 * A personality knows flags and the order of errors. What is here knows neither.
 */
#ifndef CORE_SYS_MMAP_H
#define CORE_SYS_MMAP_H

#include "vm/vm_map.h"
#include <faultline/vm.h>

/* How the place is found. */
enum vm_mmap_place {
    VM_MMAP_FIXED,    /* at addr; what is mapped there goes */
    VM_MMAP_EXCL,     /* at addr, which must be free */
    VM_MMAP_TOPDOWN,  /* at addr if that is free, else as get_unmapped_area chooses */
    VM_MMAP_BOTTOMUP, /* the lowest place at or behind addr, then at or behind `retry` (vm_map_find) */
};

/* A mapping that is to be made. */
struct vm_mmap {
    enum vm_mmap_place place;
    vm_offset_t addr;                /* in: a hint, or the place. Out: the place */
    vm_offset_t size;                /* bytes, whole pages, not 0 */
    vm_offset_t align, retry, limit; /* VM_MMAP_BOTTOMUP: a power of two; see above; the mapping ends below */
    vm_prot_t prot, max_prot;
    unsigned eflags;          /* MAP_ENTRY_*, MAP_INSERT_* */
    struct vm_object *object; /* with a reference; NULL: private anonymous memory */
    vm_pindex_t pindex;       /* the first page of it that shows */
    bool wire; /* in: the mapping is to be locked. Out: or the space locks all new ones (mlockall) */
};

/*
 * Makes the mapping. Takes (M). The reference to the object becomes the mapping's; on failure it is dropped.
 * Errors: -ENOMEM, no place, or beyond a limit; -EAGAIN, beyond the limit of locked memory; -EPERM, nothing
 * may be locked; -EEXIST, VM_MMAP_EXCL and the place is taken; -EINVAL, the place is not in the space.
 */
FL_NODISCARD int vm_mmap_object(struct vm_map *map, struct vm_mmap *m);
/*
 * m->object and m->pindex: of the file, with a reference, after the vnode learnt the file's length; `offset`
 * is a multiple of the page. Its pages are made ready to be mapped: with m->max_prot, shared or not. Errors:
 * the store's, -ENOMEM.
 */
FL_NODISCARD int vm_mmap_vnode(struct vm_mmap *m, struct vnode *vnode, vm_ooffset_t offset, bool shared);
/* The mapping of the file was made: it was told of the failed writes that the descriptor was told of. */
void vm_mmap_told(struct vm_map *map, const struct vm_mmap *m, const struct fl_file *file);

#endif
