/*
 * pmap.h: the core's side of machine.h. It turns pages and maps into machine_run and object windows, under
 * the field's names. (pmap, Mach and the BSDs.)
 *
 *   vm_fault ─▶ pmap_enter ─▶ machine_map             vm_page_free ─▶ pmap_release ─▶ machine_release
 *   vm_page_zero_fill ─▶ pmap_zero_page ─▶ machine_window_get, zeros, machine_window_put
 *   transfer ─▶ pmap_window_get ─▶ machine_window_get, kmap of what is in high memory
 *
 * Every mapping that the core makes is entered here, and the callers keep two invariants: PM1 a page that is
 * entered with the write right is dirty, unless a harvest will find the store. PM2 a page that is entered is
 * valid. They assert them, while they hold the object's lock; here the page may be only busy.
 *
 * Locks: (M) the map's; (O) the pages' object's. Does not do: finding mappings (vm_rmap.h).
 */
#ifndef CORE_VM_PMAP_H
#define CORE_VM_PMAP_H

#include "vm/vm_map.h"
#include "vm/vm_page.h"

/*
 * Pages in one call of the machine. A fault may run on a signal handler's stack, so the array must be small.
 */
#define PMAP_BATCH 64

/* Where frame 0's bytes are, and behind it those of all others; NULL: pages are seen in windows. */
extern char *pmap_direct_map; /* (c) */
static inline void *pmap_direct(const struct vm_page *m)
{
    return pmap_direct_map + ptoa((uint64_t)vm_page_frame(m));
}
/* Context: boot. */
void pmap_startup(void *direct_map);

/*
 * Maps page m at va with `prot`. flags: MACHINE_MAP_*. (M) shared; (O) of the page, or the page is busy.
 * Errors: -ENOMEM.
 */
FL_NODISCARD int pmap_enter(struct vm_map *map, vm_offset_t va, struct vm_page *m, vm_prot_t prot,
                            unsigned flags);
/*
 * Maps m[0 … npages), valid neighbours of one object, at va, va + 4096 …, with `prot`; without the write
 * right where the core must be told of stores. A wish: the machine maps as many as it likes, from the first
 * on. (M) shared; (O), or the pages are busy.
 */
void pmap_enter_object(struct vm_map *map, vm_offset_t va, struct vm_page **m, uint32_t npages,
                       vm_prot_t prot);

/*
 * machine_window_get and machine_window_put (machine.h), which kmap the pages in high memory: then addr[i] is
 * never NULL, and the context is kmap's, too. A thread waits for a window with no other one open, but for
 * those that it got with nowait. Errors: those of machine_window_get.
 */
FL_NODISCARD int pmap_window_get(const struct machine_run *run, enum machine_window how, bool nowait,
                                 void **addr);
void pmap_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep);

/*
 * The bytes of a busy page become zeros; those of busy `dst` become those of `src`, which is valid and busy.
 * No lock held. Errors: -ENOMEM.
 */
FL_NODISCARD int pmap_zero_page(struct vm_page *m);
FL_NODISCARD int pmap_copy_page(struct vm_page *src, struct vm_page *dst);
/* Bytes [start, end) of a valid and busy page become zeros. No lock held. Errors: -ENOMEM. */
FL_NODISCARD int pmap_zero_page_area(struct vm_page *m, uint32_t start, uint32_t end);

/*
 * Copies between bytes [start, start + len_bytes) of m[0 … npages), at most PMAP_BATCH neighbours of one
 * object, and memory of the caller, which may fault. *done: the bytes that were copied, on failure too. No
 * lock held. For pmap_copyout the pages are valid, and held or busy. For pmap_copyin they are busy, and valid
 * unless the copy covers them. Errors: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int pmap_copyout(struct vm_page *const *m, uint32_t npages, uint32_t start, void *to,
                              size_t len_bytes, size_t *done);
FL_NODISCARD int pmap_copyin(struct vm_page *const *m, uint32_t npages, uint32_t start, const void *from,
                             size_t len_bytes, size_t *done);

/* Busy m is about to become page pindex of the object: machine_rename. (O) of both objects. */
void pmap_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);

/* machine_release of busy pages of one object; neighbours become one run. With or without (O). */
void pmap_release(struct vm_object *object, struct vm_page **m, uint32_t npages);

#endif
