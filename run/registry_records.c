/*
 * registry_records.c: records of managed files in the registry (registry_records.h).
 *
 *   bucket[hash] ─ full ─▶ overflowed ─▶ the next bucket …     at most BUCKETS_MOST
 *
 *   state:  0 ──insert──▶ HELD, or HELD + WRITES ──another asks──▶ + WANTED ──▶ + MOVING ──▶ KERNEL
 *           each change is a compare-and-swap, on a futex that other processes wait on
 *
 * A record is stale when the generation of its owner is not that of its place any more, or when
 * the place's lock is free. A process that comes across a stale record takes it down. The sequence
 * number in the state keeps a compare-and-swap from hitting the next record in the same place.
 *
 * Invariants: RG1 a record with a state other than 0 has an owner and a file. RG2 only the owner
 * inserts and takes down a record while it lives, and only the owner sets HELD; others add WANTED.
 */
#include "registry_records.h"
#include <linux/futex.h>

#define BUCKETS_MOST 64 /* that one file's records may be spread over */

/* ---- all of a file --------------------------------------------------------------------------------- */

/* A bucket that never overflowed is the last one. */
int records_each(dev_t dev, ino_t ino, uint64_t hash,
                 int (*visit)(struct registry_record *record, uint64_t owner, uint32_t state, void *arg),
                 void *arg)
{
    uint32_t at = (uint32_t)(hash & (BUCKETS - 1));

    for (int most = 0; most < BUCKETS_MOST; most++, at = (at + 1) & (BUCKETS - 1)) {
        for (int i = 0; i < BUCKET_RECORDS; i++) {
            struct registry_record *record = &registry->record[at][i];
            uint32_t state = record->state;
            uint64_t owner = record->owner;
            int r;

            if (state == 0 || record->dev != dev || record->ino != ino || record->state != state)
                continue;
            r = visit(record, owner, state, arg);
            if (r != 0)
                return r;
        }
        if (!registry->overflowed[at])
            break;
    }
    return 0;
}

void record_take_down(struct registry_record *record, uint64_t owner)
{
    if (!atomic_compare_exchange_strong(&record->owner, &owner, OWNER_CLEARING))
        return;
    record->state = 0;
    record->owner = 0;
}

/* ---- this process's own ---------------------------------------------------------------------------- */

static int own_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    (void)state;
    if (owner != registry_me)
        return 0;
    *(struct registry_record **)arg = record;
    return 1;
}

struct registry_record *own_record(dev_t dev, ino_t ino, uint64_t hash)
{
    struct registry_record *record = NULL;

    (void)records_each(dev, ino, hash, own_visit, &record);
    return record;
}

/* Takes a place in one bucket for this process. NULL: the bucket is full. */
static struct registry_record *bucket_take(struct registry_record bucket[BUCKET_RECORDS])
{
    for (int i = 0; i < BUCKET_RECORDS; i++) {
        uint64_t owner = bucket[i].owner;

        if (owner != 0 && owner != OWNER_CLEARING && !owner_is_current(owner)) {
            record_take_down(&bucket[i], owner);
            owner = bucket[i].owner;
        }
        if (owner == 0 && atomic_compare_exchange_strong(&bucket[i].owner, &owner, registry_me))
            return &bucket[i];
    }
    return NULL;
}

struct registry_record *record_insert(dev_t dev, ino_t ino, uint64_t hash, uint32_t state)
{
    static _Atomic uint32_t sequence;
    uint32_t at = (uint32_t)(hash & (BUCKETS - 1));

    for (int most = 0; most < BUCKETS_MOST; most++, at = (at + 1) & (BUCKETS - 1)) {
        struct registry_record *record = bucket_take(registry->record[at]);

        if (record == NULL) {
            registry->overflowed[at] = 1;
            continue;
        }
        record->dev = dev;
        record->ino = ino;
        record->state = state | STATE_SEQUENCE * (sequence++ + 1);
        return record;
    }
    return NULL;
}

static void futex_wake(_Atomic uint32_t *word)
{
    linux_syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void own_change(struct registry_record *record, uint32_t clear, uint32_t set)
{
    uint32_t state = record->state;

    while (!atomic_compare_exchange_weak(&record->state, &state, (state & ~clear) | set))
        ;
    if ((state & STATE_HELD) != 0 && (clear & STATE_HELD) != 0) {
        registry_self->held--;
        registry->held--;
    } else if ((state & STATE_HELD) == 0 && (set & STATE_HELD) != 0) {
        registry->held++;
        registry_self->held++;
    }
    if ((state & STATE_WANTED) != 0)
        futex_wake(&record->state);
}
