/*
 * oracle.h: runs one operation on two drivers and compares everything that can be observed.
 *
 *   op ─▶ reference ─┐  result and errno · bytes read · mincore · the file after msync · the whole map
 *      └▶ subject ───┴──────────────────────────▶ 0, or the difference in words
 */
#ifndef TESTS_MODEL_ORACLE_H
#define TESTS_MODEL_ORACLE_H

#include "model/outcome.h"

/*
 * An observer. before: the model has made the operation, and the subject is about to; after: the subject has.
 * False: something is wrong, and oracle->difference says what.
 */
struct oracle;
struct oracle_watch {
    void (*before)(struct oracle *oracle, const struct op *op);
    bool (*after)(struct oracle *oracle, const struct op *op, const struct outcome *got);
};

struct oracle {
    struct driver *model;     /* never NULL: it says what is vague, and where a comparison would be unfair */
    struct driver *reference; /* the model, or the real kernel */
    struct driver *subject;
    uint64_t max_pinned; /* operations that could keep more pages from leaving memory are left out */
    /* the subject's disks fail writes now and then: calls that wait for one may return -EIO, */
    bool write_errors;
    void (*calm)(struct oracle *oracle); /* until this was called, before the end */
    const struct oracle_watch *watch;    /* or NULL */
    void *watcher;                       /* whose */
    uint32_t check_every;                /* steps between subject->check calls */
    uint32_t steps;
    /* operations that were made, not skipped; of those, calls on files */
    uint64_t ran, ran_file;
    struct outcome modelled, referred, got; /* of the last operation */
    char difference[512];
};

/* False: they differ, and oracle->difference says how. */
bool oracle_step(struct oracle *oracle, const struct op *op);
/* Every byte of every page and file. Ends a sequence. */
bool oracle_finish(struct oracle *oracle);

#endif
