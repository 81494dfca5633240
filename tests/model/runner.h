/*
 * runner.h: the main function of programs that run random sequences: their
 * seeds, --replay, and the report when one fails.
 */
#ifndef TESTS_MODEL_RUNNER_H
#define TESTS_MODEL_RUNNER_H

#include "model/sequence.h"

/*
 * Runs sequences from the first seed on, until nops operations were compared; of mixes other than
 * OP_MIX_MAPS, nops calls on files. FAULTLINE_SEED=n: the sequence of that seed only, or FAULTLINE_ROUNDS of
 * them; --replay FILE: the operations that a failure printed. A sequence that fails is shrunk and printed.
 * Returns the program's exit status.
 */
int runner_main(struct sequence *sequence, uint64_t nops, int argc, char **argv);

#endif
