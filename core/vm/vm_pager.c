/*
 * vm_pager.c: the table of pagers, and the pager of anonymous memory.
 *
 *   vm_pager_startup ─▶ [OBJT_DEFAULT]     vm_pager_register ─▶ the other rows, at boot
 *
 * Anonymous memory has no source: an absent page is zeros, which the fault makes. It has no home either: its
 * dirty pages stay in memory.
 *
 * Does not do: other sources (file/vnode_pager.c), choosing pages (vm_fault.c, vm_pageout.c).
 */
#include "vm/vm_pager.h"
#include "lib/errno.h"
#include "lib/kassert.h"

static struct vm_object *default_pager_alloc(void *handle, vm_pindex_t size)
{
    return vm_object_allocate(OBJT_DEFAULT, size, handle);
}

static const struct pagerops defaultpagerops = {
    .alloc = default_pager_alloc,
};

const struct pagerops *pagertab[OBJT_COUNT];

void vm_pager_startup(void)
{
    for (unsigned type = 0; type < OBJT_COUNT; type++)
        pagertab[type] = &defaultpagerops; /* until a pager registers */
}

void vm_pager_register(enum vm_object_type type, const struct pagerops *ops)
{
    KASSERT(type != OBJT_DEFAULT && pagertab[type] == &defaultpagerops, "OB7");
    pagertab[type] = ops;
}

struct vm_object *vm_pager_allocate(enum vm_object_type type, void *handle, vm_pindex_t size)
{
    return pagertab[type]->alloc(handle, size);
}

bool vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
{
    const struct pagerops *ops = vm_pager_ops(object);
    *before = *after = 0;
    return ops->haspage != NULL && ops->haspage(object, pindex, before, after);
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
