/*
 * op.h: one operation of a random sequence: drawn from a seed, printed as a line, read back from a line.
 *
 * A sequence is an array of operations with all their arguments fixed: it
 * can be cut anywhere and run again (shrink.h).
 */
#ifndef TESTS_MODEL_OP_H
#define TESTS_MODEL_OP_H

#include "model/driver.h"
#include "sim/prng.h"
#include <stdio.h>

enum op_kind {
    OP_MMAP,
    OP_MUNMAP,
    OP_MPROTECT,
    OP_MREMAP,
    OP_MSYNC,
    OP_MADVISE,
    OP_MINCORE,
    OP_MLOCK,
    OP_MUNLOCK,
    OP_BRK,
    OP_LOAD,
    OP_STORE,
    OP_SET_SIZE,
    OP_PREFETCH,
    OP_HOLD,   /* a system call that uses memory begins; it is number `handle` */
    OP_UNHOLD, /* and ends, at any later time */
    OP_HELD_LOAD,
    OP_HELD_STORE, /* meanwhile it accesses the memory that it holds, without a fault */
    OP_READ,       /* from here to OP_FADVISE, calls on a file: op_is_of_file */
    OP_WRITE,
    OP_TRUNCATE,
    OP_PUNCH,
    OP_FSYNC,
    OP_SYNC_RANGE,
    OP_FADVISE,
    OP_FORK, /* from here on, calls on spaces: `handle` is which */
    OP_ENTER,
    OP_EXIT,
    OP_KINDS,
};

/* The operations that a sequence is made of. */
enum op_mix {
    OP_MIX_MAPS,  /* mostly calls on mappings */
    OP_MIX_FILES, /* mostly calls on files that are mapped here and there */
    OP_MIX_SYNCS, /* writes of all kinds, and promises */
    OP_MIX_FORKS, /* several spaces, with mostly private memory */
};

struct op {
    enum op_kind kind;
    uint64_t addr, len;
    uint64_t addr2, len2; /* mremap's new place; prefetch's second range */
    int prot;             /* read, write: in how many pieces, OP_PIECES_MAX at most */
    int flags;            /* or advice */
    int handle;           /* or file, hold, space */
    uint64_t off;
    uint64_t value; /* store, write: the seed of its bytes; read, write: of the pieces' lengths */
};
#define OP_PIECES_MAX 5
#define OP_LEN_MAX    (32 * DRIVER_PAGE) /* of a load, store, read or write */

static inline bool op_is_of_file(const struct op *op)
{
    return op->kind >= OP_READ && op->kind <= OP_FADVISE;
}

/*
 * Draws the next operation. `looked_at` is a driver whose map and files it
 * may look at, so that most operations hit something.
 */
void op_draw(struct op *op, struct prng *r, struct driver *looked_at, enum op_mix mix);
/* The arguments of an operation whose kind is drawn and op_is_of_file (op_file.c). */
void op_draw_file(struct op *op, struct prng *r, struct driver *looked_at);
/* The bytes that a store writes. */
uint8_t op_byte(const struct op *op, uint64_t i);
/* mmap(addr=0x1000, len=0x2000, prot=0x3, …); */
void op_print(const struct op *op, FILE *out);
/* Reads what op_print wrote; false when the line is not an operation. */
bool op_parse(const char *line, struct op *op);

#endif
