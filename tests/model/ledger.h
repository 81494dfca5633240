/*
 * ledger.h: what may stand on the disks after a power cut, and a look at every cut that could happen.
 *
 *   a byte of a file:   promised ──written──▶ promised or new ──▶ … ──fsync, msync, DSYNC──▶ promised
 *                                             the set of all values that it had since the last promise
 *
 *   the model has done an operation ─▶ ledger: the new values join the sets ─▶ the core does it
 *      at every write that the disk is given or ends, and every flush: each cut's bytes are in the sets
 *                                                   ─▶ it is done: promises cut the sets to one
 *
 * A file's length is durable as soon as a call that changes it returned,
 * and what is cut off is gone: so sim's disks are.
 *
 * Every byte that any order of the disk's cached writes may leave is the durable one, or one of a write's
 * that is not durable; sets are of single bytes. So looking at these is looking at every cut. Cuts are also
 * made and read: all subsets of the writes when they are few, torn ones else.
 */
#ifndef TESTS_MODEL_LEDGER_H
#define TESTS_MODEL_LEDGER_H

#include "model/oracle.h"

struct ledger;

/* Watches the oracle's subject, which is a sim_driver, from now on. What stands in the files is promised. */
struct ledger *ledger_create(struct oracle *oracle, uint64_t seed);
/* The disks, whose writes at the end it watched, are gone. */
void ledger_destroy(struct ledger *ledger);

#endif
