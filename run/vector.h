/*
 * vector.h: the program's vector of pieces of memory, copied, and how far it is done; of the managed
 * pieces, a beginning held at a time.
 *
 *      piece:  | done | done |  own  | managed | managed |
 *                             first └──── n ──────┘rest    what vector_hold made ready; the last is cut
 *
 * Signals are blocked.
 */
#ifndef RUN_VECTOR_H
#define RUN_VECTOR_H

#include "shim.h"
#include <sys/uio.h>

#define VECTOR_SMALL 16 /* pieces that need no memory of their own */

struct vector {
    struct iovec small[VECTOR_SMALL];
    struct iovec *piece;
    size_t npieces, first; /* piece[first] is the first that is not done */
    bool mapped;
};

/* Errors: -EINVAL (more than IOV_MAX), -EFAULT, -ENOMEM. */
int vector_open(struct vector *vector, const struct iovec *program, size_t npieces);
void vector_close(struct vector *vector);
/*
 * Whether all pieces could be a program's memory, by their addresses: else the kernel says EFAULT before it
 * begins.
 */
bool vector_is_user(const struct vector *vector);
/*
 * Does a read of fd, or a write, that says EFAULT leave what it was to move where it was? A file, a pipe
 * and a stream do; a datagram is lost; of a device nobody knows.
 */
bool vector_keeps_data(int fd, unsigned mode, bool writes);
/*
 * Holds the longest beginning of what is not done yet, of at most `room` managed bytes (room >=
 * VM_PAGE_SIZE), and cuts the vector there: *n pieces from `first`, of which the last is cut by *rest
 * bytes. Errors: -EFAULT, -ENOMEM when the very first byte cannot be held.
 */
int vector_hold(struct vector *vector, vm_prot_t access, size_t room, struct hold **held, size_t *n,
                size_t *rest);
/*
 * `bytes` of the n pieces from `first` are done; gives the cut piece its rest back. Returns true when all n
 * were done completely.
 */
bool vector_advance(struct vector *vector, size_t n, size_t rest, size_t bytes);

#endif
