/*
 * aio.h: direct transfers that go on while the thread that asked for them does something else.
 *
 *   aio_batch_begin ─▶ aio_batch_room, aio_batch_add … ─▶ aio_batch_submit: one system call for all
 */
#ifndef STORES_AIO_H
#define STORES_AIO_H

#include <faultline/store.h>
#include <linux/aio_abi.h>
#include <sys/uio.h>

#define AIO_SEGMENTS       16 /* of memory in one transfer */
#define AIO_BATCH_REQUESTS 32 /* more, of either, would need more of the faulting thread's stack */
#define AIO_BATCH_SEGMENTS 64

enum {
    AIO_STATE,
    AIO_COMPLETE,
    AIO_PRIVATE
}; /* what of store_request.store_private is used here; from AIO_PRIVATE on it is the caller's */
enum { AIO_REAPED, AIO_FLYING };

/* Transfers that are submitted together. On the stack. */
struct aio_batch {
    enum store_op op; /* of all of them */
    unsigned n, nsegments;
    struct iovec iov[AIO_BATCH_SEGMENTS];
    struct iocb iocb[AIO_BATCH_REQUESTS];
};

static inline void aio_batch_begin(struct aio_batch *batch)
{
    batch->n = batch->nsegments = 0;
}
/* Room for the next transfer's AIO_SEGMENTS segments; submits what there is, if it must. */
FL_NODISCARD struct iovec *aio_batch_room(struct aio_batch *batch, enum store_op op);
/*
 * Adds the request, whose memory is the niov segments that were put into the room, at byte `offset` of fd.
 * When it is over, complete(request, result) is called by whichever thread sees it: the number of bytes or
 * a negative errno; it must call request->done. Where the kernel cannot do it (no AIO, too many under way)
 * that happens at once, with 0 bytes. fd stays open until then.
 */
void aio_batch_add(struct aio_batch *batch, int fd, struct store_request *request, unsigned niov,
                   uint64_t offset, void (*complete)(struct store_request *request, int64_t result));
void aio_batch_submit(struct aio_batch *batch);

/* Whether a read ends so soon that a thread should look for its end and not sleep. */
bool aio_quick(void);
/* The next reads are not worth looking for. */
void aio_look_no_more(void);

/* Returns when the request's done was called: store_ops.wait. A request that was never added to a batch has
 * store_private[AIO_STATE] == AIO_REAPED. */
void aio_wait(struct store_request *request);

#endif
