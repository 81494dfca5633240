/* outcome.h: the outcome of one operation on one driver. */
#ifndef TESTS_MODEL_OUTCOME_H
#define TESTS_MODEL_OUTCOME_H

#include "model/op.h"

struct outcome {
    int64_t result;
    uint64_t nbytes; /* of an access, a read or a write: the bytes that it moved */
    uint8_t bytes[OP_LEN_MAX];
    unsigned char vec[DRIVER_WINDOW_PAGES + 1];
};

void outcome_of(struct driver *d, const struct op *op, struct outcome *out);

#endif
