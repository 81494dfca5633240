/*
 * aio.c: asynchronous direct transfers of files, for read-ahead and write-back.
 *
 *   aio_batch_submit ─▶ kernel ─▶ completion ring ─▶ the leader reaps ─▶ complete ─▶ request->done
 *                                                      ▲
 *                                        aio_wait ─────┘ leads if no thread does, otherwise sleeps
 *
 *   states of a request (store_private[AIO_STATE]):
 *
 *     FLYING ──reaped──▶ REAPED ──complete──▶ done was called, and the request may be gone
 *
 * This is the kernel's own AIO (io_submit) and not io_uring, for one measured reason: io_uring ends a request
 * in the context of the thread that submitted it, by waking that thread as a signal would. The thread is the
 * program's, and its epoll_wait, semop or sigtimedwait then fails with EINTR although no signal came (20
 * rounds of 8 reads: 131 times; with IORING_SETUP_COOP_TASKRUN 20 times; here never). With direct I/O, which
 * is all that comes here, AIO ends a request in the interrupt and touches no thread. It costs the same to
 * submit, and containers that forbid io_uring allow it.
 *
 *   AIO1  Of each direction, exactly one thread at a time is inside io_getevents: the leader. So a waiter
 *         never sleeps in the kernel for a completion that another thread took.
 *   AIO2  From REAPED until done has returned, the request is in a list of reaps. A request that is REAPED
 *         and in no such list is done.
 *   AIO3  A request's store_private is read only by a thread for which the request is known to be alive: a
 *         waiter, or the leader before done.
 *
 * Lock: each direction's own, innermost; not held over io_submit, io_getevents, or done. Callers have signals
 * blocked, as everywhere inside the machine.
 *
 * Does not do: buffered files. AIO would block on them, so the caller transfers them itself. A child of fork
 * has no AIO context: io_submit fails there, and the child transfers itself.
 */
#include "aio.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/machine.h>
#include <stdatomic.h>
#include <time.h>

#define AIO_DEPTH  256 /* requests at a time; fewer keep the disk busy */
#define AIO_SUBMIT 8   /* requests in one system call: the device gets them when all of them are prepared */
#define AIO_BATCH  32  /* completions taken at a time */

#define AIO_LOOK_NS    300000 /* how long a leader polls before it sleeps */
#define AIO_YIELD_NS   10000  /* how often it yields its processor meanwhile */
#define AIO_SLOW_READS 64     /* how many reads are not polled for after one was in vain, or not alone */

/* The completions that one thread took, and for which it calls complete. It lies on that thread's stack. */
struct aio_reap {
    struct aio_reap *next;                    /* (lock) */
    struct store_request *request[AIO_BATCH]; /* (lock) NULL: its done was called */
};

/* The completion ring, which the kernel maps at the address that is the context. */
struct aio_ring {
    uint32_t id, nr, head, tail, magic;
};
#define AIO_RING_MAGIC 0xa10a10a1u

/* One for each direction: a waiter for a read is not woken by a leader that waits for a write. */
static struct aio {
    struct machine_lock lock;
    aio_context_t context;  /* (lock) until made, then constant; 0: none */
    bool unavailable;       /* (lock) the kernel or a limit (fs.aio-max-nr) refused: never tried again */
    bool leader;            /* (lock) a thread is inside io_getevents */
    uint32_t waiters;       /* (lock) threads asleep in aio_wait */
    struct aio_reap *reaps; /* (lock) */
} aio_queue[STORE_WRITE + 1];

/* How many of the next reads are not polled for: the disk is slow, or the processors are busy. */
static _Atomic uint32_t aio_slow;

static struct aio *aio_of(const struct store_request *request)
{
    return &aio_queue[request->op];
}

/* Marks the requests FLYING and returns the context, which is made at the first use; 0: there is none. The
 * lock also orders the submitter's writes before the reaper's reads. */
static aio_context_t aio_begin(struct aio *aio, const struct aio_batch *batch)
{
    machine_lock(&aio->lock);
    if (aio->context == 0 && !aio->unavailable)
        aio->unavailable = linux_syscall(SYS_io_setup, AIO_DEPTH, &aio->context) != 0;
    for (unsigned i = 0; i < batch->n; i++)
        ((struct store_request *)batch->iocb[i].aio_data)->store_private[AIO_STATE] = AIO_FLYING;
    aio_context_t context = aio->context;
    machine_unlock(&aio->lock);
    return context;
}

/* Whether a completion can be taken; true when the ring is of an unknown kind. No system call. */
static bool aio_ring_pending(const struct aio *aio)
{
    const struct aio_ring *ring = (const struct aio_ring *)aio->context;
    if (ring->magic != AIO_RING_MAGIC)
        return true;
    return __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
}

/* Publishes the reap's `count` completions (AIO2). */
static void aio_reap_publish(struct aio *aio, struct aio_reap *reap, unsigned count) FL_REQUIRES(aio->lock)
{
    for (unsigned i = 0; i < count; i++)
        reap->request[i]->store_private[AIO_STATE] = AIO_REAPED;
    reap->next = aio->reaps;
    aio->reaps = reap;
}

/* Takes request i off the reap, because its done was called. */
static void aio_reap_forget(struct aio *aio, struct aio_reap *reap, unsigned i)
{
    machine_lock(&aio->lock);
    reap->request[i] = NULL;
    bool wake = aio->waiters != 0;
    machine_unlock(&aio->lock);
    if (wake)
        machine_wake(aio);
}

static void aio_reap_remove(struct aio *aio, struct aio_reap *reap)
{
    machine_lock(&aio->lock);
    struct aio_reap **link = &aio->reaps;
    while (*link != reap)
        link = &(*link)->next;
    *link = reap->next;
    machine_unlock(&aio->lock);
}

/* Calls complete for each completion of the reap, which is published; takes the reap off the list. */
static void aio_reap_complete(struct aio *aio, struct aio_reap *reap, const int64_t *result, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct store_request *request = reap->request[i];
        void (*complete)(struct store_request *, int64_t) =
            (void (*)(struct store_request *, int64_t))request->store_private[AIO_COMPLETE];
        complete(request, result[i]);
        aio_reap_forget(aio, reap, i);
    }
    aio_reap_remove(aio, reap);
}

/*
 * Polls the ring for a while before the leader sleeps in the kernel. On a virtual machine, waking an idle
 * processor costs 10 µs and more, a third of a whole read from a fast disk. Polling takes nothing from other
 * threads: those that can run get the processor in between. When the disk turns out to be slower, the next
 * reads are not polled for.
 */
static void aio_look(const struct aio *aio)
{
    uint64_t start = machine_time_ns(), yielded = start, now = start;
    if (!aio_quick())
        return;
    while (!aio_ring_pending(aio)) {
        now = machine_time_ns();
        if (now - start > AIO_LOOK_NS) {
            aio_look_no_more();
            return;
        }
        if (now - yielded > AIO_YIELD_NS) {
            linux_syscall(SYS_sched_yield);
            yielded = now;
        }
        __builtin_ia32_pause();
    }
}

void aio_look_no_more(void)
{
    atomic_store_explicit(&aio_slow, AIO_SLOW_READS, memory_order_relaxed);
}

bool aio_quick(void)
{
    uint32_t slow = atomic_load_explicit(&aio_slow, memory_order_relaxed);
    if (slow > 0) /* a lost decrement only makes that last longer */
        atomic_store_explicit(&aio_slow, slow - 1, memory_order_relaxed);
    return slow == 0;
}

/* Takes at least `min` completions and completes their requests. The caller is the
 * leader, and ceases to be it. */
static void aio_lead(struct aio *aio, long min)
{
    struct io_event event[AIO_BATCH];
    struct aio_reap reap = {0};
    int64_t result[AIO_BATCH];
    struct timespec none = {0};
    long count;
    if (min != 0 && aio == &aio_queue[STORE_READ])
        aio_look(aio);
    do {
        count = linux_syscall(SYS_io_getevents, aio->context, min, AIO_BATCH, event, min == 0 ? &none : NULL);
    } while (count == -EINTR);
    if (count < 0)
        machine_panic("aio: io_getevents failed: a forked child waits for its parent's read");
    for (long i = 0; i < count; i++) {
        reap.request[i] = (struct store_request *)event[i].data;
        result[i] = event[i].res;
    }
    machine_lock(&aio->lock);
    aio_reap_publish(aio, &reap, (unsigned)count);
    aio->leader = false;
    bool wake = aio->waiters != 0;
    machine_unlock(&aio->lock);
    if (wake)
        machine_wake(aio);
    aio_reap_complete(aio, &reap, result, (unsigned)count);
}

/* Takes the completions that are there, without waiting: the next batch finishes read-ahead
 * that no thread waits for. */
static void aio_reap_ready(struct aio *aio)
{
    if (!aio_ring_pending(aio))
        return;
    machine_lock(&aio->lock);
    bool lead = !aio->leader;
    aio->leader = true;
    machine_unlock(&aio->lock);
    if (lead)
        aio_lead(aio, 0);
}

/* The kernel cannot do it: completes the request here, with 0 bytes. Waiters see it like any other. */
static void aio_decline(struct store_request *request)
{
    struct aio_reap reap = {.request = {request}};
    struct aio *aio = aio_of(request);
    int64_t result = 0;
    machine_lock(&aio->lock);
    aio_reap_publish(aio, &reap, 1);
    machine_unlock(&aio->lock);
    aio_reap_complete(aio, &reap, &result, 1);
}

struct iovec *aio_batch_room(struct aio_batch *batch, enum store_op op)
{
    if (batch->n > 0 && batch->op != op)
        aio_batch_submit(batch);
    batch->op = op;
    if (batch->n == AIO_BATCH_REQUESTS || batch->nsegments + AIO_SEGMENTS > AIO_BATCH_SEGMENTS)
        aio_batch_submit(batch);
    return batch->iov + batch->nsegments;
}

void aio_batch_add(struct aio_batch *batch, int fd, struct store_request *request, unsigned niov,
                   uint64_t offset, void (*complete)(struct store_request *request, int64_t result))
{
    request->store_private[AIO_COMPLETE] = (uintptr_t)complete;
    batch->iocb[batch->n++] = (struct iocb){
        .aio_data = (uintptr_t)request,
        .aio_lio_opcode = request->op == STORE_READ ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV,
        .aio_fildes = (uint32_t)fd,
        .aio_buf = (uintptr_t)(batch->iov + batch->nsegments),
        .aio_nbytes = niov,
        .aio_offset = (int64_t)offset,
    };
    batch->nsegments += niov;
}

/* The loop ends, because each round submits or declines at least one request. */
void aio_batch_submit(struct aio_batch *batch)
{
    struct iocb *list[AIO_BATCH_REQUESTS];
    if (batch->n == 0)
        return;
    for (unsigned i = 0; i < batch->n; i++)
        list[i] = &batch->iocb[i];
    struct aio *aio = &aio_queue[batch->op];
    aio_context_t context = aio_begin(aio, batch);
    if (context != 0)
        aio_reap_ready(aio);
    for (unsigned i = 0; i < batch->n;) {
        unsigned some = batch->n - i < AIO_SUBMIT ? batch->n - i : AIO_SUBMIT;
        long taken = context == 0 ? 0 : linux_syscall(SYS_io_submit, context, some, list + i);
        if (taken > 0)
            i += (unsigned)taken;
        else
            aio_decline((struct store_request *)list[i++]->aio_data);
    }
    aio_batch_begin(batch);
}

/* The request is alive, or its done was called (AIO3). */
static bool aio_finished(const struct aio *aio, const struct store_request *request) FL_REQUIRES(aio->lock)
{
    if (request->store_private[AIO_STATE] == AIO_FLYING)
        return false;
    for (const struct aio_reap *reap = aio->reaps; reap != NULL; reap = reap->next)
        for (unsigned i = 0; i < AIO_BATCH; i++)
            if (reap->request[i] == request)
                return false;
    return true;
}

void aio_wait(struct store_request *request)
{
    struct aio *aio = aio_of(request);
    machine_lock(&aio->lock);
    while (!aio_finished(aio, request)) {
        if (request->store_private[AIO_STATE] == AIO_FLYING && !aio->leader) {
            aio->leader = true;
            machine_unlock(&aio->lock);
            aio_lead(aio, 1);
            machine_lock(&aio->lock);
        } else {
            aio->waiters++;
            machine_wait(aio, &aio->lock, UINT64_MAX);
            aio->waiters--;
        }
    }
    machine_unlock(&aio->lock);
}
