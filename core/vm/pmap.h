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

/* machine_release for busy pages of one object, neighbours in one run. With or without (O). */
void pmap_release(struct vm_object *object, struct vm_page **m, uint32_t npages);

#endif
