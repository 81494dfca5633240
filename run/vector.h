/*
 * vector.h: calls that take a vector of pieces of memory, and
 * the vector itself (vector.c, vector_calls.c, vector_names.c).
 */
#ifndef RUN_VECTOR_H
#define RUN_VECTOR_H

#include "hold.h"
#include <sys/uio.h>

/* ---- a vector -------------------------------------------------------------------------------------- */

/*
 * A copy of the program's vector, and how far it is done. Of
 * its managed pieces a beginning is held at a time.
 *
 *      piece:  | done | done |  own  | managed | managed |
 *                             first └──── n ──────┘rest    what vector_hold made ready; the last piece is cut
 *
 * Context: signals are blocked.
 */
#define VECTOR_SMALL 16 /* pieces that need no memory of their own */

struct vector {
    struct iovec small[VECTOR_SMALL];
    struct iovec *piece;
    size_t npieces, first; /* piece[first] is the first that is not done */
    bool mapped;           /* piece is not `small` */
};

/* Errors: -EINVAL (more than IOV_MAX pieces), -EFAULT, -ENOMEM. */
FL_NODISCARD int vector_open(struct vector *vector, const struct iovec *program, size_t npieces);
void vector_close(struct vector *vector);
/* Whether every piece lies at addresses of user memory. If not, the kernel says EFAULT before it begins. */
bool vector_is_user(const struct vector *vector);
/*
 * Holds the longest beginning of what is not done, with at most `room` managed bytes (room
 * >= VM_PAGE_SIZE), and cuts the vector there: *n pieces from `first`, the last of them
 * shortened by *rest bytes. Errors: -EFAULT, -ENOMEM when the first byte cannot be held.
 */
FL_NODISCARD int vector_hold(struct vector *vector, vm_prot_t access, size_t room, struct hold **held,
                             size_t *n, size_t *rest);
/*
 * `bytes` of the n pieces from `first` are done; restores
 * the last piece's length. True: all n are done completely.
 */
bool vector_advance(struct vector *vector, size_t n, size_t rest, size_t bytes);

/* ---- calls ----------------------------------------------------------------------------------------- */

/*
 * Whether a read of fd, or a write, that fails with EFAULT loses none of the bytes that
 * it was to move: true of a file, a pipe, a stream; false of a datagram and of a device.
 */
bool vector_keeps_data(int fd, unsigned mode, bool writes);

/*
 * readv, sendmsg, process_vm_readv and the like, as the kernel would answer
 * them; -ENOSYS for any other call. `mask`: as trap_issue. Signals are blocked.
 */
long vector_call(long number, const uint64_t arg[6], const sigset_t *mask);

/* The readv family, as libc's names, whether the vector names managed memory or not. */
ssize_t vector_readv(int fd, const struct iovec *iov, int n);
ssize_t vector_writev(int fd, const struct iovec *iov, int n);
ssize_t vector_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t vector_pwritev(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t vector_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t vector_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);

#endif
