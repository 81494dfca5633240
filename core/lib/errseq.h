/*
 * errseq.h: an error that many want to hear of, each of them once.
 *
 *   errseq   | counter (19 bits) | SEEN | errno (12 bits) |
 *
 *   errseq_set ─▶ errseq ─┬─ cursor of A   differs: A is told, SEEN, and its cursor is the errseq
 *                         └─ cursor of B   differs still: B is told too
 *
 * A new error counts on only if somebody was told of the last one (SEEN): nobody can tell two apart that he
 * has heard of neither. An error of which nobody has heard is also told to who comes later (errseq_sample),
 * so that none is lost between two descriptors. 0: no error yet; as a cursor: has heard of nothing.
 *
 * Lock: none for the errseq, which is atomic. A cursor is its owner's.
 * Does not do: how many errors, or which others. 2^19 of them, each told to somebody else, between two looks
 * of one cursor look like none. (lib/errseq.c, Linux.)
 */
#ifndef CORE_LIB_ERRSEQ_H
#define CORE_LIB_ERRSEQ_H

#include <faultline/types.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef uint32_t errseq_t; /* a cursor; vm.h's fl_errseq_t */

/* error: negative, not below -4095. */
void errseq_set(_Atomic errseq_t *errseq, int error);
/* A cursor that has heard of everything, but for an error of which nobody has. */
FL_NODISCARD errseq_t errseq_sample(_Atomic errseq_t *errseq);
/* What the cursor has not heard of, as a negative errno, and it has afterwards; 0: nothing. */
FL_NODISCARD int errseq_check_and_advance(_Atomic errseq_t *errseq, errseq_t *since);
/* The last error, whoever heard of it; 0: there was none. */
FL_NODISCARD int errseq_last(_Atomic errseq_t *errseq);
/* Of two cursors of one errseq, the one that has heard less. */
FL_NODISCARD errseq_t errseq_older(errseq_t a, errseq_t b);

#endif
