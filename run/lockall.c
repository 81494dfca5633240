/*
 * lockall.c: mlockall and munlockall: the core locks the
 * managed mappings, the kernel everything else, area by area.
 *
 * The kernel's own mlockall would lock the machine's windows, too: it would fill all of them, and none
 * of their pages could be evicted again. So the areas of /proc/self/maps are locked one by one, without
 * those of a memfd. MCL_FUTURE cannot be done so: mappings made later are not locked (docs/run.md).
 */
#include "mapping.h"
#include "areas.h"
#include "files.h"
#include "window.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define LOCKALL_FLAGS (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)

/*
 * Locks the area of one line of /proc/self/maps. An area that
 * cannot be locked at all (vvar, PROT_NONE) is left out.
 */
static int lock_area(const char *line, void *arg)
{
    const unsigned *flags = arg;
    unsigned long start, end;
    long r;

    if (sscanf(line, "%lx-%lx", &start, &end) != 2 || window_has(start) || strstr(line, " ---p ") != NULL ||
        strstr(line, "memfd:") != NULL || strstr(line, "[v") != NULL || strstr(line, "anon_inode:") != NULL)
        return 0;
    r = linux_syscall(SYS_mlock2, start, end - start, *flags);
    return r == -EINVAL || r == -EFAULT ? 0 : (int)r;
}

/*
 * The end of the region's pages that can be locked: the end of its file, or its start if it may
 * not be accessed. The kernel, too, locks the pages that there are, and returns success.
 */
static vm_offset_t lock_end(const struct fl_region *region) FL_REQUIRES(shim_lock)
{
    const struct file *file = file_of_region(region);
    uint64_t len = region->end - region->start;
    struct stat st;

    if (region->prot == 0)
        return region->start;
    if (file == NULL || linux_syscall(SYS_fstat, file->fd, &st) != 0)
        return region->end;
    if ((uint64_t)st.st_size <= region->offset)
        return region->start;
    if (round_page((uint64_t)st.st_size) - region->offset < len)
        len = round_page((uint64_t)st.st_size) - region->offset;
    return region->start + len;
}

static long lock_managed(bool lock)
{
    struct fl_region region;
    sigset_t saved;
    long r = 0;

    shim_enter(&saved);
    for (vm_offset_t va = LINUX_WINDOW_START; r == 0 && fl_space_region(fl_space(), va, &region) == 0;
         va = region.end) {
        if (region.reserved)
            continue;
        r = lock ? fl_sys_mlock(fl_space(), region.start, lock_end(&region) - region.start)
                 : fl_sys_munlock(fl_space(), region.start, region.end - region.start);
    }
    shim_leave(&saved);
    return r;
}

long mapping_mlockall(int flags)
{
    unsigned lock_flags = (flags & MCL_ONFAULT) != 0 ? MLOCK_ONFAULT : 0;
    long r;

    if (!shim_on())
        return linux_syscall(SYS_mlockall, flags);
    if ((flags & ~LOCKALL_FLAGS) != 0 || (flags & (MCL_CURRENT | MCL_FUTURE)) == 0)
        return -EINVAL;
    if ((flags & MCL_FUTURE) != 0)
        shim_verbose("mlockall(MCL_FUTURE): mappings made from now on are not locked");
    if ((flags & MCL_CURRENT) == 0)
        return 0;
    r = areas_each(lock_area, &lock_flags);
    return r == 0 ? lock_managed(true) : r;
}

long mapping_munlockall(void)
{
    long r = linux_syscall(SYS_munlockall);

    return r == 0 && shim_on() ? lock_managed(false) : r;
}
