/*
 * shrink.h: cuts a failing sequence down (Zeller's delta debugging).
 *
 *   ########  ─ without a half ─▶ ####  ─ still fails ─▶ without a half of that …
 *             ─ passes ─▶ put back, try the next piece; then pieces of half the size, down to one operation
 */
#ifndef TESTS_MODEL_SHRINK_H
#define TESTS_MODEL_SHRINK_H

#include "model/sequence.h"

/* The sequence fails when run. Afterwards it is shorter, if that is possible, and still fails. */
void sequence_shrink(struct sequence *sequence);

#endif
