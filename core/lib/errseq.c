/*
 * errseq.c: the counter and the SEEN bit of errseq.h.
 *
 * Both change by compare-and-swap. A failed attempt means that another thread's change succeeded, so the
 * loops end.
 */
#include "lib/errseq.h"
#include "lib/kassert.h"

#define ERRSEQ_ERRNO   ((errseq_t)0xfff)
#define ERRSEQ_SEEN    ((errseq_t)0x1000)
#define ERRSEQ_COUNTER ((errseq_t)0x2000)

void errseq_set(_Atomic errseq_t *errseq, int error)
{
    KASSERT(error < 0 && error >= -(int)ERRSEQ_ERRNO, "ES1");
    errseq_t old = atomic_load(errseq), new;
    do {
        new = (old & ~(ERRSEQ_ERRNO | ERRSEQ_SEEN)) | (errseq_t)-error;
        if (old & ERRSEQ_SEEN)
            new += ERRSEQ_COUNTER;
    } while (!atomic_compare_exchange_weak(errseq, &old, new));
}

errseq_t errseq_sample(_Atomic errseq_t *errseq)
{
    errseq_t now = atomic_load(errseq);
    return now & ERRSEQ_SEEN ? now : 0;
}

int errseq_check_and_advance(_Atomic errseq_t *errseq, errseq_t *since)
{
    errseq_t now = atomic_load(errseq);
    if (now == *since)
        return 0;
    /* If another error is set at this moment, it replaces this one and is reported instead. */
    while ((now & ERRSEQ_SEEN) == 0 && !atomic_compare_exchange_weak(errseq, &now, now | ERRSEQ_SEEN))
        continue;
    *since = now | ERRSEQ_SEEN;
    return -(int)(now & ERRSEQ_ERRNO);
}

int errseq_last(_Atomic errseq_t *errseq)
{
    return -(int)(atomic_load(errseq) & ERRSEQ_ERRNO);
}

errseq_t errseq_older(errseq_t a, errseq_t b)
{
    if (a == 0 || b == 0)
        return 0;
    /* The counter wraps: a cursor that is behind by less than half its range is the older one. */
    return (int32_t)((a & ~(ERRSEQ_COUNTER - 1)) - (b & ~(ERRSEQ_COUNTER - 1))) < 0 ? a : b;
}
