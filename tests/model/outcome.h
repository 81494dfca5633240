/* outcome.h: what one operation gave on one driver. */
#ifndef TESTS_MODEL_OUTCOME_H
#define TESTS_MODEL_OUTCOME_H

#include "model/op.h"

struct outcome {
    int64_t result;
    uint64_t nbytes; /* of a load or store: how far it came */
    uint8_t bytes[8 * DRIVER_PAGE];
    unsigned char vec[DRIVER_WINDOW_PAGES + 1];
};

void outcome_of(struct driver *d, const struct op *op, struct outcome *out);

#endif
