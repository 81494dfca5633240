/*
 * copy.h: between the kernel's memory and that of the running program.
 *
 * A page of the program's that is absent is brought in by the page fault, so these functions may sleep and
 * are called with none of the core's locks held. An address that no fault can serve, or that is not the
 * program's at all, gives -EFAULT. (copyin(9), FreeBSD.)
 */
#ifndef KERNEL_LIB_COPY_H
#define KERNEL_LIB_COPY_H

#include <faultline/common.h>

/* Addresses of programs lie in [USER_START, USER_END). */
#define USER_START UINT64_C(0x10000)
#define USER_END   UINT64_C(0x7ffffffff000)

/* Errors: -EFAULT; some of the bytes may have been copied. */
FL_NODISCARD int copyin(uint64_t user, void *kernel, size_t len_bytes);
FL_NODISCARD int copyout(const void *kernel, uint64_t user, size_t len_bytes);
/* The program's bytes become zeros. */
FL_NODISCARD int zeroout(uint64_t user, size_t len_bytes);
/* Copies a string and its 0 to kernel[0 … max). Returns its length without the 0. Errors: -EFAULT;
 * -ENAMETOOLONG: no 0 among the first `max` bytes. */
FL_NODISCARD int64_t copyinstr(uint64_t user, char *kernel, size_t max);

/*
 * Compares the program's word with *expected, and makes it `value` if they are equal, in one step; *expected
 * becomes what the word was. Errors: -EFAULT. (casueword32, FreeBSD.)
 */
FL_NODISCARD int casuword(uint64_t user, uint32_t *expected, uint32_t value);

#endif
