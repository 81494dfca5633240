/*
 * pmap.h: the core's side of machine.h: from vm_page and vm_map to runs and windows, and the field's
 * names for them.
 *
 * Every entering of a mapping goes through here, so here stand the rules that all must follow: a page
 * that is entered writable is dirty; one that is busy for I/O is not entered.
 */
#ifndef CORE_VM_PMAP_H
#define CORE_VM_PMAP_H

#include "vm/vm_map.h"

/* Pages to one call of the machine: keeps the frame array small on a signal handler's stack. */
#define PMAP_BATCH 64

/* Enters one page at va. (M) shared; (O) of the page, or the page is busy. Errors: -ENOMEM. */
FL_NODISCARD int pmap_enter(struct vm_map *map, vm_offset_t va, struct vm_page *m, vm_prot_t prot,
                            unsigned flags);
/*
 * Enters pages m[0 … npages), neighbours of one object, valid, at va, va + 4096 …, never writable. As many as
 * the machine likes, from the first: it is a wish. (M) shared; (O), or the pages are busy.
 */
void pmap_enter_object(struct vm_map *map, vm_offset_t va, struct vm_page **m, uint32_t npages,
                       vm_prot_t prot);

/* Bytes. The page is busy; no lock held. Errors: -ENOMEM. */
FL_NODISCARD int pmap_zero_page(struct vm_page *m);
FL_NODISCARD int pmap_copy_page(struct vm_page *src, struct vm_page *dst);
/* Bytes [start, end) of the page become zero. The page is valid and busy. */
FL_NODISCARD int pmap_zero_page_area(struct vm_page *m, uint32_t start, uint32_t end);

/*
 * Between bytes [start, start + len_bytes) of m[0 … npages), at most PMAP_BATCH neighbours of one object, and
 * a caller's memory; *done bytes were copied, also on failure. For pmap_copyout the pages are valid, and held
 * or busy; for pmap_copyin they are busy, and valid or given whole. Errors: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int pmap_copyout(struct vm_page *const *m, uint32_t npages, uint32_t start, void *to,
                              size_t len_bytes, size_t *done);
FL_NODISCARD int pmap_copyin(struct vm_page *const *m, uint32_t npages, uint32_t start, const void *from,
                             size_t len_bytes, size_t *done);

/* machine_release for busy pages of one object, neighbours in one run. With or without (O). */
void pmap_release(struct vm_object *object, struct vm_page **m, uint32_t npages);

#endif
