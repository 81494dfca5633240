/*
 * sequence.h: a sequence of operations, run in a child process so that a panic is a result like any other.
 *
 *   seed ─▶ child: make the drivers, draw an op, run it on all, compare … ─▶ same, different, or dead
 *   the operations lie in memory that parent and child share, so they outlive the child
 *
 * The machine sim is deterministic, so a sequence that failed fails again, and may be cut down (shrink.h).
 */
#ifndef TESTS_MODEL_SEQUENCE_H
#define TESTS_MODEL_SEQUENCE_H

#include "model/oracle.h"

#define SEQUENCE_MAX 4096

/* What parent and child share. */
struct sequence_record {
    uint32_t nops;      /* drawn so far */
    uint32_t failed_at; /* the operation that was running, or the last one */
    uint64_t ran;       /* operations compared, */
    uint64_t ran_file;  /* and those of them that were calls on files */
    char difference[sizeof(((struct oracle *)0)->difference)];
    struct op op[SEQUENCE_MAX];
};

struct sequence {
    const char *name; /* of the test, for the report */
    uint64_t seed;    /* of the configuration and of the operations */
    enum op_mix mix;
    /* Makes and destroys the oracle's drivers, in the child. */
    void (*setup)(struct oracle *oracle, uint64_t seed, void *arg);
    void (*teardown)(struct oracle *oracle, void *arg);
    void *arg;
    struct sequence_record *record; /* sequence_init */
};

void sequence_init(struct sequence *sequence);
void sequence_fini(struct sequence *sequence);
/* Draws nops operations while they run. True: no difference. `quiet`: the child's output goes nowhere. */
bool sequence_draw(struct sequence *sequence, uint32_t nops, bool quiet);
/* Runs the operations that are in the record. */
bool sequence_run(struct sequence *sequence, bool quiet);
void sequence_print(const struct sequence *sequence, FILE *out);
/* Reads the operations out of a file that holds what sequence_print wrote. False: there are none. */
bool sequence_read(struct sequence *sequence, const char *path);

#endif
