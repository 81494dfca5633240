/*
 * mincore.c: mincore: which pages of a range are resident, in the mapping's own object or in one behind it.
 *
 * Locks: (O), of one object at a time. The answer may be out of date when it is given, as on Linux.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"
#include "vm/vm_page.h"

/* Sets bit 0 of vec[i] if the object has a valid page at pindex + i, 0 <= i < npages. */
static void mincore_object(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages,
                           unsigned char *vec)
{
    struct vm_page *m;

    vm_lock(&object->lock);
    for (m = vm_page_find_least(object, pindex); m != NULL && m->pindex - pindex < npages;
         m = vm_page_find_least(object, m->pindex + 1)) {
        if ((m->flags & PG_VALID) != 0)
            vec[m->pindex - pindex] |= 1;
    }
    vm_unlock(&object->lock);
}

static void mincore_range(const struct sys_range *range, unsigned char *vec)
{
    vm_pindex_t pindex = range->pindex, npages = atop(range->end - range->start);
    struct vm_object *object;

    __builtin_memset(vec, 0, npages);
    if (range->object != NULL)
        vm_object_reference(range->object);
    for (object = range->object; object != NULL; object = vm_object_next(object, &pindex))
        mincore_object(object, pindex, npages, vec);
}

int fl_sys_mincore(struct vm_map *map, vm_offset_t addr, size_t len_bytes, unsigned char *vec)
{
    struct sys_walk walk = {.map = map, .va = addr};
    struct sys_range range;

    if ((addr & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (!sys_range_end(addr, len_bytes, &walk.end))
        return -ENOMEM;
    if (vec == NULL && walk.end > addr)
        return -EFAULT;
    while (!walk.gap && sys_walk_next(&walk, &range)) {
        if (!walk.gap)
            mincore_range(&range, vec + atop(range.start - addr));
        sys_range_done(&range);
    }
    return walk.gap ? -ENOMEM : 0;
}
