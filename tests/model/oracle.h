/*
 * oracle.h: runs one operation on two drivers and compares everything that can be seen.
 *
 *   op ─▶ reference ─┐  result and errno · bytes read · mincore · the file after msync · the whole map
 *      └▶ subject ───┴──────────────────────────▶ 0, or the difference in words
 */
#ifndef TESTS_MODEL_ORACLE_H
#define TESTS_MODEL_ORACLE_H

#include "model/outcome.h"

struct oracle {
    struct driver *model; /* always there: it says what is vague, and where the comparison would be unfair */
    struct driver *reference; /* the model, or the real kernel */
    struct driver *subject;
    uint64_t max_pinned;  /* operations that could keep more pages from leaving memory are left out */
    uint32_t check_every; /* steps between subject->check calls */
    uint32_t steps;
    uint64_t ran, ran_file;                 /* operations that were really made; of those, op_is_of_file */
    struct outcome modelled, referred, got; /* of the last operation */
    char difference[512];
};

/* False: they differ, and oracle->difference says how. */
bool oracle_step(struct oracle *oracle, const struct op *op);
/* Every byte of every page and file. Ends a sequence. */
bool oracle_finish(struct oracle *oracle);

#endif
