/*
 * names.c: libc's names for the mmap family, as the program calls them.
 *
 * Each makes the call and sets errno, as libc's own does.
 */
#include "mapping.h"
#include <stdarg.h>
#include <sys/mman.h>

FL_EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return (void *)shim_return(mapping_mmap((vm_offset_t)addr, len, prot, flags, fd, (uint64_t)offset));
}

FL_EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
    return (void *)shim_return(mapping_mmap((vm_offset_t)addr, len, prot, flags, fd, (uint64_t)offset));
}

FL_EXPORT int munmap(void *addr, size_t len)
{
    return (int)shim_return(mapping_munmap((vm_offset_t)addr, len));
}

FL_EXPORT int mprotect(void *addr, size_t len, int prot)
{
    return (int)shim_return(mapping_mprotect((vm_offset_t)addr, len, prot));
}

FL_EXPORT int msync(void *addr, size_t len, int flags)
{
    return (int)shim_return(mapping_msync((vm_offset_t)addr, len, flags));
}

FL_EXPORT int madvise(void *addr, size_t len, int advice)
{
    return (int)shim_return(mapping_madvise((vm_offset_t)addr, len, advice));
}

/* Returns the error. POSIX_MADV_DONTNEED does nothing, as in glibc, since it must not drop anything. */
FL_EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
    return advice == POSIX_MADV_DONTNEED ? 0 : (int)-mapping_madvise((vm_offset_t)addr, len, advice);
}

FL_EXPORT int mincore(void *addr, size_t len, unsigned char *vec)
{
    return (int)shim_return(mapping_mincore((vm_offset_t)addr, len, vec));
}

FL_EXPORT int mlock(const void *addr, size_t len)
{
    return (int)shim_return(mapping_mlock((vm_offset_t)addr, len, 0));
}

FL_EXPORT int mlock2(const void *addr, size_t len, unsigned flags)
{
    return (int)shim_return(mapping_mlock((vm_offset_t)addr, len, flags));
}

FL_EXPORT int munlock(const void *addr, size_t len)
{
    return (int)shim_return(mapping_munlock((vm_offset_t)addr, len));
}

FL_EXPORT int mlockall(int flags)
{
    return (int)shim_return(mapping_mlockall(flags));
}

FL_EXPORT int munlockall(void)
{
    return (int)shim_return(mapping_munlockall());
}

FL_EXPORT int remap_file_pages(void *start, size_t len, int prot, size_t pgoff, int flags)
{
    return (int)shim_return(mapping_remap_file_pages((vm_offset_t)start, len, prot, pgoff, flags));
}

FL_EXPORT void *mremap(void *old_addr, size_t old_len, size_t new_len, int flags, ...)
{
    vm_offset_t new_addr = 0;

    if ((flags & MREMAP_FIXED) != 0) {
        va_list args;

        va_start(args, flags);
        new_addr = (vm_offset_t)va_arg(args, void *);
        va_end(args);
    }
    return (void *)shim_return(mapping_mremap((vm_offset_t)old_addr, old_len, new_len, flags, new_addr));
}
