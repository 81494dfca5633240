/*
 * errno.h: the error numbers that the core returns, negated: Linux's values on x86-64. They stand here
 * because the core has no C library.
 */
#ifndef CORE_LIB_ERRNO_H
#define CORE_LIB_ERRNO_H

#define EPERM      1
#define ENOENT     2
#define EIO        5
#define ENXIO      6
#define EBADF      9
#define EAGAIN     11
#define ENOMEM     12
#define EACCES     13
#define EFAULT     14
#define EBUSY      16
#define EEXIST     17
#define ENODEV     19
#define EINVAL     22
#define EFBIG      27
#define ENOSPC     28
#define EOVERFLOW  75
#define EOPNOTSUPP 95
#define EDQUOT     122
#define ETIMEDOUT  110

#endif
