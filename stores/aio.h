/*
 * aio.h: reads that go on while the thread that asked for them does something else.
 */
#ifndef STORES_AIO_H
#define STORES_AIO_H

#include <faultline/store.h>
#include <sys/uio.h>

#define AIO_SEGMENTS 16 /* of memory in one read; more would need more of the faulting thread's stack */

enum {
    AIO_STATE,
    AIO_COMPLETE,
    AIO_PRIVATE
}; /* what of store_request.store_private is used here; from AIO_PRIVATE on it is the caller's */
enum { AIO_REAPED, AIO_FLYING };

/*
 * Starts to read from fd at `offset` into iov[0 … niov). When it is over, complete(request, result) is called
 * by whichever thread sees it: the number of bytes or a negative errno; it must call request->done. Where the
 * kernel cannot do it (no AIO, too many under way) that happens at once, with 0 bytes. fd stays open until
 * then.
 */
void aio_read(int fd, struct store_request *request, const struct iovec *iov, unsigned niov, uint64_t offset,
              void (*complete)(struct store_request *request, int64_t result));

/* Whether a read ends so soon that a thread should look for its end and not sleep. */
bool aio_quick(void);
/* The next reads are not worth looking for. */
void aio_look_no_more(void);

/* Returns when the request's done was called: store_ops.wait. A request that aio_read never saw has
 * store_private[AIO_STATE] == AIO_REAPED. */
void aio_wait(struct store_request *request);

#endif
