/*
 * pages.h: pages put into objects by hand, for tests of code that works on objects without maps and faults.
 */
#ifndef TESTS_SUPPORT_PAGES_H
#define TESTS_SUPPORT_PAGES_H

#include "vm/vm_object.h"

struct vnode;

/* The vnode's object, with a reference for the caller. */
struct vm_object *test_object(struct vnode *vnode);

/* A busy page at pindex, without bytes. */
struct vm_page *test_page_busy(struct vm_object *object, vm_pindex_t pindex);
/* A page full of `byte`, valid, active and not busy; flags: PG_DIRTY, PG_COPY, PG_COPIED. */
struct vm_page *test_page(struct vm_object *object, vm_pindex_t pindex, uint8_t byte, unsigned flags);
/* Fills a resident page with `byte` and makes it dirty, as a store through a mapping would. */
void test_page_write(struct vm_object *object, vm_pindex_t pindex, uint8_t byte);
/* The page's flags, or 0: it is not resident. */
unsigned test_page_flags(struct vm_object *object, vm_pindex_t pindex);
/* Whether the page is resident and valid, and every byte of it is `byte`. */
bool test_page_is(struct vm_object *object, vm_pindex_t pindex, uint8_t byte);

#endif
