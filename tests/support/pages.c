/*
 * pages.c: pages put into objects by hand.
 */
#include "support/pages.h"
#include "support/boot.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"
#include "vm/vm_pageout.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct vm_object *test_object(struct vnode *vnode)
{
    struct vm_object *object = vm_pager_allocate(OBJT_VNODE, vnode, 0);
    assert_non_null(object);
    return object;
}

struct vm_page *test_page_busy(struct vm_object *object, vm_pindex_t pindex)
{
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_alloc(object, pindex, VM_ALLOC_SYSTEM);
    vm_unlock(&object->lock);
    assert_non_null(m);
    return m;
}

static void fill(struct vm_page *m, uint8_t byte, enum machine_window how)
{
    vm_frame_t frame = vm_page_frame(m);
    struct machine_run run = {
        .object = m->object->machine, .pindex = m->pindex, .npages = 1, .frame = &frame};
    void *addr;
    while (pmap_window_get(&run, how, false, &addr) !=
           0) /* injected failures are meant for the core and not for the test */
        continue;
    memset(addr, byte, VM_PAGE_SIZE);
    pmap_window_put(&run, how, &addr, true);
}

struct vm_page *test_page(struct vm_object *object, vm_pindex_t pindex, uint8_t byte, unsigned flags)
{
    struct vm_page *m = test_page_busy(object, pindex);
    fill(m, byte, MACHINE_WINDOW_FILL);
    vm_lock(&object->lock);
    m->flags |= PG_VALID | (uint16_t)(flags & ~(unsigned)PG_DIRTY);
    if (flags & PG_DIRTY)
        vm_page_dirty(m);
    activate_page(m);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    return m;
}

void test_page_write(struct vm_object *object, vm_pindex_t pindex, uint8_t byte)
{
    struct vm_page *m;
    vm_lock(&object->lock);
    while ((m = vm_page_lookup(object, pindex)) != NULL && (m->flags & PG_BUSY))
        vm_page_busy_sleep(m);
    assert_non_null(m);
    vm_page_xbusy(m);
    vm_page_dirty(m);
    vm_unlock(&object->lock);
    fill(m, byte, MACHINE_WINDOW_EDIT);
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
}

unsigned test_page_flags(struct vm_object *object, vm_pindex_t pindex)
{
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, pindex);
    unsigned flags = m == NULL ? 0 : m->flags;
    vm_unlock(&object->lock);
    return flags;
}

bool test_page_is(struct vm_object *object, vm_pindex_t pindex, uint8_t byte)
{
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, pindex);
    bool is = m != NULL && (m->flags & PG_VALID) != 0;
    for (uint32_t i = 0; is && i < VM_PAGE_SIZE; i++)
        is = sim_frame(vm_page_frame(m))[i] == byte;
    vm_unlock(&object->lock);
    return is;
}
