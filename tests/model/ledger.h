/*
 * ledger.h: what the disks may hold after a power cut, and a check of every cut that could happen.
 *
 *   a byte of a file:   promised ──written──▶ promised or new ──▶ … ──fsync, msync, DSYNC──▶ promised
 *                                             the set of all values that it had since the last promise
 *
 *   the model has done an operation ─▶ ledger: the new values join the sets ─▶ the core does it
 *      at every write that the disk is given or ends, and every flush: each cut's bytes are in the sets
 *                                                   ─▶ it is done: promises cut the sets to one
 *
 * As the sim's disks are, a file's length is durable as soon as a call
 * that changes it returned, and bytes that are cut off are gone.
 *
 * Each byte that a cut leaves is the durable one, or is from a write that is not durable, and sets are of
 * single bytes: so checking these bytes checks every cut. Cuts are also made and read: all subsets of the
 * writes when they are few, and torn ones otherwise.
 */
#ifndef TESTS_MODEL_LEDGER_H
#define TESTS_MODEL_LEDGER_H

#include "model/oracle.h"

struct ledger;

/*
 * Watches the oracle's subject, which is a sim_driver, from now on. The
 * present contents of the files are promised.
 */
struct ledger *ledger_create(struct oracle *oracle, uint64_t seed);
/* Called when the disks are destroyed, after the last writes, which it watched too. */
void ledger_destroy(struct ledger *ledger);

#endif
