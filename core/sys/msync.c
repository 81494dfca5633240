/*
 * msync.c: msync: writes what was stored through shared mappings of files to the files' stores.
 *
 *     FL_MS_SYNC        write the dirty pages ─▶ flush the store ─▶ tell the mappings of writes that failed
 *     FL_MS_ASYNC       start to write the dirty pages
 *     FL_MS_INVALIDATE  only the check for locked ranges: all mappings of a file show the same pages anyway
 *
 * Locks: none is held between the range's parts. Errors: as vfs_fsync_range; -EBUSY, INVALIDATE of a locked
 * range; -ENOMEM, a gap, after the rest is done.
 */
#include <faultline/vm.h>
#include "file/vnode.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "sys/range.h"
#include "vm/vm_pager.h"

static int msync_file(struct vm_map *map, const struct sys_range *range, int flags)
{
    struct vm_object *object = range->object;
    vm_pindex_t end = range->pindex + atop(range->end - range->start);
    if ((flags & FL_MS_ASYNC) != 0) {
        __filemap_fdatawrite_range(object, range->pindex, end, WB_SYNC_NONE);
        return 0;
    }
    /* NULL: no descriptor's cursor is told. The range's mappings have cursors of their own. */
    int error = vfs_fsync_range(vm_object_vnode(object), object, range->pindex, end, NULL);
    int told = vm_map_check_wb_err(map, range->start, range->end, object);
    return error != 0 ? error : told;
}

static int msync_range(struct vm_map *map, const struct sys_range *range, int flags)
{
    if ((flags & FL_MS_INVALIDATE) != 0 && (range->eflags & MAP_ENTRY_WIRED) != 0)
        return -EBUSY;
    if ((flags & (FL_MS_SYNC | FL_MS_ASYNC)) == 0 || (range->eflags & MAP_ENTRY_COW) != 0)
        return 0;
    if (range->object == NULL || !vm_pager_keeps(range->object))
        return 0;
    return msync_file(map, range, flags);
}

int fl_sys_msync(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int flags)
{
    struct sys_walk walk = {.map = map, .va = addr};
    struct sys_range range;
    int error = 0;

    if ((flags & ~(FL_MS_ASYNC | FL_MS_INVALIDATE | FL_MS_SYNC)) != 0)
        return -EINVAL;
    if ((addr & VM_PAGE_MASK) != 0 || (flags & (FL_MS_ASYNC | FL_MS_SYNC)) == (FL_MS_ASYNC | FL_MS_SYNC))
        return -EINVAL;
    if (!sys_range_end(addr, len_bytes, &walk.end))
        return -ENOMEM;
    while (error == 0 && sys_walk_next(&walk, &range)) {
        error = msync_range(map, &range, flags);
        sys_range_done(&range);
    }
    return error == 0 && walk.gap ? -ENOMEM : error;
}
