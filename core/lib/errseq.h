/*
 * errseq.h: the last error, for many readers, each of which hears of it once.
 *
 *   errseq   | counter (19 bits) | SEEN | errno (12 bits) |
 *
 *   errseq_set ─▶ errseq ─┬─ cursor of A   differs: A is told, SEEN is set, and the cursor becomes the errseq
 *                         └─ cursor of B   still differs: B is told too
 *
 * A reader keeps a cursor, the errseq as it was when the reader last looked. SEEN says that a reader was told
 * of the last error. A new error takes the next number only then: errors that nobody was told of yet need no
 * number of their own. A cursor that is made while SEEN is clear (errseq_sample) will be told of that error
 * too, so that no error is lost between two descriptors. 0: no error yet; as a cursor: told of nothing.
 *
 * Invariant: ES1 an error that is recorded is a negative errno, at least -4095.
 * Lock: none for the errseq, which is atomic. A cursor is guarded by its owner's lock.
 * Does not do: how many errors there were, or which before the last. A reader that does not look while 2^19
 * errors are reported to others misses them. (lib/errseq.c, Linux.)
 */
#ifndef CORE_LIB_ERRSEQ_H
#define CORE_LIB_ERRSEQ_H

#include <faultline/types.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef uint32_t errseq_t; /* fl_errseq_t in vm.h */

/* Records an error, -4095 <= error < 0. */
void errseq_set(_Atomic errseq_t *errseq, int error);
/* A new cursor: it was told of every error that any reader was told of. */
FL_NODISCARD errseq_t errseq_sample(_Atomic errseq_t *errseq);
/* Tells the cursor of what it was not told of yet: the last error, negative, or 0. Advances the cursor. */
FL_NODISCARD int errseq_check_and_advance(_Atomic errseq_t *errseq, errseq_t *since);
/* The last error, told or not; 0: there was none. */
FL_NODISCARD int errseq_last(_Atomic errseq_t *errseq);
/* Of two cursors of one errseq, the one that was told of less. */
FL_NODISCARD errseq_t errseq_older(errseq_t a, errseq_t b);

#endif
