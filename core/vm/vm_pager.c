/*
 * vm_pager.c: the table of pagers.
 *
 *   vm_pager_startup ─▶ empty rows     swap_pager.c, vnode_pager.c, shmem.c ─▶ vm_pager_register, at boot
 *
 * Does not do: sources (those three), choosing pages (vm_fault.c, vm_pageout.c).
 */
#include "vm/vm_pager.h"
#include "lib/errno.h"
#include "lib/kassert.h"

static const struct pagerops nopagerops;

const struct pagerops *pagertab[OBJT_COUNT];

void vm_pager_startup(void)
{
    for (unsigned type = 0; type < OBJT_COUNT; type++)
        pagertab[type] = &nopagerops; /* until a pager registers */
}

void vm_pager_register(enum vm_object_type type, const struct pagerops *ops)
{
    KASSERT(pagertab[type] == &nopagerops, "OB7");
    pagertab[type] = ops;
}

struct vm_object *vm_pager_allocate(enum vm_object_type type, void *handle, vm_pindex_t size)
{
    return pagertab[type]->alloc(handle, size);
}

bool vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
{
    const struct pagerops *ops = vm_pager_ops(object);
    if (before != NULL)
        *before = *after = 0;
    return ops->haspage != NULL && ops->haspage(object, pindex, before, after);
}

bool vm_pager_hole(struct vm_object *object, vm_pindex_t pindex)
{
    const struct pagerops *ops = vm_pager_ops(object);
    return ops->hole != NULL && ops->hole(object, pindex);
}

bool vm_pager_exchanges(struct vm_object *object, vm_pindex_t pindex)
{
    return vm_pager_ops(object)->full != NULL && vm_pager_has_page(object, pindex, NULL, NULL) &&
           !vm_pager_hole(object, pindex);
}

unsigned vm_pager_alloc_class(struct vm_object *object, vm_pindex_t pindex)
{
    bool room = vm_pager_exchanges(object, pindex) && vm_pager_ops(object)->full();
    return room ? VM_ALLOC_SYSTEM : VM_ALLOC_NORMAL;
}

int vm_pager_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage)
{
    const struct pagerops *ops = vm_pager_ops(object);
    return ops->getpages != NULL ? ops->getpages(object, m, count, reqpage) : -ENXIO;
}

bool vm_pager_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    const struct pagerops *ops = vm_pager_ops(object);
    return ops->wait != NULL && ops->wait(object, start, end);
}

void vm_pager_unplug(struct vm_pager_plug *plug)
{
    for (unsigned type = 0; type < OBJT_COUNT; type++)
        if (pagertab[type]->unplug != NULL)
            pagertab[type]->unplug(plug);
}

uint32_t vm_pager_active(void)
{
    uint32_t n = 0;
    for (unsigned type = 0; type < OBJT_COUNT; type++)
        n += pagertab[type]->active != NULL ? pagertab[type]->active() : 0;
    return n;
}

bool vm_pager_wait_any(void)
{
    for (unsigned type = 0; type < OBJT_COUNT; type++)
        if (pagertab[type]->wait_any != NULL && pagertab[type]->wait_any())
            return true;
    return false;
}
