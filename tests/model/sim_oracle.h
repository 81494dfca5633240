/*
 * sim_oracle.h: an oracle that compares the core on the machine sim with the naive model.
 *
 *   params, files ─▶ sim_driver, the subject
 *                └─▶ model, which is the reference as well
 */
#ifndef TESTS_MODEL_SIM_ORACLE_H
#define TESTS_MODEL_SIM_ORACLE_H

#include "model/oracle.h"
#include "model/sim_driver.h"

/*
 * A computer for a random sequence: every fourth one is without torture, the others are hostile, and of every
 * eight one copies first and does not know what was referenced, as the machine linux.
 */
struct sim_params sim_oracle_params(uint64_t seed);
/* Makes both drivers. Operations may keep at most a third of the frames in memory. */
void sim_oracle_setup(struct oracle *oracle, const struct sim_params *params, struct sim_files files);
/* Destroys both drivers. arg: not used, so that this is a sequence's teardown. */
void sim_oracle_teardown(struct oracle *oracle, void *arg);

#endif
