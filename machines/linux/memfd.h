/* memfd.h: the memory file that holds the bytes of all objects. */
#ifndef MACHINES_LINUX_MEMFD_H
#define MACHINES_LINUX_MEMFD_H

#include <faultline/machine.h>

#define LINUX_OBJECT_SHIFT 47 /* an object's stretch: as long as a whole address space */
#define LINUX_OBJECT_PAGES ((vm_pindex_t)1 << (LINUX_OBJECT_SHIFT - VM_PAGE_SHIFT))

/* Makes it. Errors: -ENOMEM, -EMFILE, -EFBIG, with the remedy in linux_machine_error(). */
FL_NODISCARD int linux_memfd_open(void);
void linux_memfd_close(void);
FL_NODISCARD int linux_memfd_fd(void);

/* Returns where page pindex of the object is in the memfd, in bytes: an object's name is
 * its stretch's start. */
static inline uint64_t linux_memfd_offset(const void *object, vm_pindex_t pindex)
{
    return (uint64_t)object + ptoa(pindex);
}

/* *done: how many bytes, from the first, were written, also on failure. Errors: -ENOMEM. */
FL_NODISCARD int linux_memfd_read(uint64_t offset, void *to, size_t len_bytes);
FL_NODISCARD int linux_memfd_write(uint64_t offset, const void *from, size_t len_bytes, size_t *done);
/* Frees the pages of [offset, offset + len_bytes), and unmaps them everywhere. */
void linux_memfd_punch(uint64_t offset, size_t len_bytes);

#endif
