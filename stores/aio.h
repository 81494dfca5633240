/*
 * aio.h: asynchronous direct transfers of files.
 *
 *   aio_batch_begin ─▶ aio_batch_room, aio_batch_add … ─▶ aio_batch_submit: one system call for all
 */
#ifndef STORES_AIO_H
#define STORES_AIO_H

#include <faultline/store.h>
#include <linux/aio_abi.h>
#include <sys/uio.h>

/* A batch lies on the faulting thread's stack, which limits it. */
#define AIO_SEGMENTS       16 /* of memory in one transfer */
#define AIO_BATCH_REQUESTS 32
#define AIO_BATCH_SEGMENTS 64

/* The words of store_request.store_private: two are used here, the rest is the caller's. */
enum {
    AIO_STATE, /* AIO_FLYING or AIO_REAPED */
    AIO_COMPLETE,
    AIO_PRIVATE, /* the caller's first word */
};
enum { AIO_REAPED, AIO_FLYING };

/* Transfers that are submitted together. It lies on the stack. */
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
/* Returns room for the next transfer's AIO_SEGMENTS segments. Submits the batch first if it is
 * full or of another op. */
FL_NODISCARD struct iovec *aio_batch_room(struct aio_batch *batch, enum store_op op);
/*
 * Adds the request to the batch: a transfer of the niov segments that were put into the room, at byte
 * `offset` of fd. When it ends, any thread calls complete(request, result), which calls request->done;
 * result: the number of bytes, or a negative errno. Where the kernel cannot do the transfer (no AIO, too many
 * under way), complete is called within aio_batch_submit, with 0 bytes. fd stays open until then.
 */
void aio_batch_add(struct aio_batch *batch, int fd, struct store_request *request, unsigned niov,
                   uint64_t offset, void (*complete)(struct store_request *request, int64_t result));
/* Submits the batch, and empties it. */
void aio_batch_submit(struct aio_batch *batch);

/* Whether reads end so soon that a thread should poll for the end and not sleep. */
bool aio_quick(void);
/* Makes aio_quick return false for the next reads. */
void aio_look_no_more(void);

/* Returns when the request's done was called (store_ops.wait). Of a request that was never added to a batch,
 * store_private[AIO_STATE] is AIO_REAPED. */
void aio_wait(struct store_request *request);

#endif
