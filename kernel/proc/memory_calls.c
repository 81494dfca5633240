/*
 * memory_calls.c: mmap and its family: the arguments as registers have them, for the core, which has the
 * rules (core/sys). Of the kernel's own are only descriptors, and mincore's vector.
 */
#include <linux/errno.h>
#include <linux/fcntl.h>

#include "fs/file.h"
#include "kernel.h"
#include "lib/copy.h"
#include "kmem.h"
#include "proc/calls.h"
#include "proc/proc.h"

#define MINCORE_PAGES 4096 /* asked for at a time */

static unsigned mmap_mode(unsigned flags)
{
    switch (flags & O_ACCMODE) {
    case O_RDONLY:
        return FL_FREAD;
    case O_WRONLY:
        return FL_FWRITE;
    default:
        return FL_FREAD | FL_FWRITE;
    }
}

int64_t sys_mmap(const uint64_t arg[6])
{
    struct vm_map *map = curproc()->map;
    struct fl_file vmfile = {0};
    struct file *file;
    bool referenced;
    int64_t at;

    if (((int)arg[3] & FL_MAP_ANONYMOUS) != 0)
        return fl_sys_mmap(map, arg[0], arg[1], (int)arg[2], (int)arg[3], NULL, arg[5]);
    if ((arg[5] & VM_PAGE_MASK) != 0)
        return -EINVAL;
    referenced = fdget((int)arg[4], &file);
    if (file == NULL)
        return -EBADF;
    if (file->vnode != NULL) {
        vmfile = (struct fl_file){
            .vnode = file->vnode, .mode = mmap_mode(file->flags), .told = fl_vnode_errseq(file->vnode)};
        at = fl_sys_mmap(map, arg[0], arg[1], (int)arg[2], (int)arg[3], &vmfile, arg[5]);
    } else {
        at = -ENODEV;
    }
    fdput(file, referenced);
    return at;
}

int64_t sys_munmap(const uint64_t arg[6])
{
    return fl_sys_munmap(curproc()->map, arg[0], arg[1]);
}

int64_t sys_mprotect(const uint64_t arg[6])
{
    return fl_sys_mprotect(curproc()->map, arg[0], arg[1], (int)arg[2]);
}

int64_t sys_mremap(const uint64_t arg[6])
{
    return fl_sys_mremap(curproc()->map, arg[0], arg[1], arg[2], (int)arg[3], arg[4]);
}

int64_t sys_msync(const uint64_t arg[6])
{
    return fl_sys_msync(curproc()->map, arg[0], arg[1], (int)arg[2]);
}

int64_t sys_madvise(const uint64_t arg[6])
{
    return fl_sys_madvise(curproc()->map, arg[0], arg[1], (int)arg[2]);
}

int64_t sys_mincore(const uint64_t arg[6])
{
    uint64_t addr = arg[0], npages = atop(round_page(arg[1])), user = arg[2];
    unsigned char *vec;
    int error = 0;

    if ((addr & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (addr > USER_END || arg[1] > USER_END - addr)
        return -ENOMEM;
    vec = kmalloc(MINCORE_PAGES);
    if (vec == NULL)
        return -EAGAIN;
    while (error == 0 && npages > 0) {
        uint64_t n = npages < MINCORE_PAGES ? npages : MINCORE_PAGES;

        error = fl_sys_mincore(curproc()->map, addr, ptoa(n), vec);
        if (error == 0)
            error = copyout(vec, user, n);
        addr += ptoa(n);
        user += n;
        npages -= n;
    }
    kfree(vec);
    return error;
}

int64_t sys_mlock(const uint64_t arg[6])
{
    return fl_sys_mlock(curproc()->map, arg[0], arg[1]);
}

int64_t sys_mlock2(const uint64_t arg[6])
{
    return fl_sys_mlock2(curproc()->map, arg[0], arg[1], (int)arg[2]);
}

int64_t sys_munlock(const uint64_t arg[6])
{
    return fl_sys_munlock(curproc()->map, arg[0], arg[1]);
}

int64_t sys_mlockall(const uint64_t arg[6])
{
    return fl_sys_mlockall(curproc()->map, (int)arg[0]);
}

int64_t sys_munlockall(const uint64_t arg[6] __attribute__((unused)))
{
    return fl_sys_munlockall(curproc()->map);
}

int64_t sys_brk(const uint64_t arg[6])
{
    return (int64_t)fl_sys_brk(curproc()->map, arg[0]);
}
