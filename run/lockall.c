/*
 * lockall.c: mlockall and munlockall: the managed mappings by
 * the core, everything else by the kernel, one area at a time.
 *
 * The kernel's own mlockall would lock the machine's views and windows too: it would fill them all, and none
 * of their pages could be evicted again. So the areas of /proc/self/maps are locked one by one, without
 * those that show a memfd. MCL_FUTURE has no such way: mappings made later are not locked (docs/run.md).
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
 * One line of /proc/self/maps; -ENOMEM and -EAGAIN of areas that
 * cannot be locked (vvar, PROT_NONE) are no failure of mlockall.
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
 * Where the region's pages end that can be locked at all: at the end of its file, and nowhere in what
 * nobody may touch. The kernel, too, locks what there is and calls that a success. (S) held.
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
