/*
 * differences.h: where the core may answer otherwise than Linux, each with
 * its name and its reason. docs/design.md lists them.
 *
 * A difference that is not in the table is a bug of one of the two.
 */
#ifndef TESTS_MODEL_DIFFERENCES_H
#define TESTS_MODEL_DIFFERENCES_H

#include "model/op.h"

struct difference {
    const char *name;
    const char *reason;
    /*
     * Whether the two results of the operation are this difference. NULL:
     * model_is_vague leaves such operations out.
     */
    bool (*allows)(const struct op *op, int64_t linux_result, int64_t our_result);
};

extern const struct difference differences[];
extern const unsigned ndifferences;

/* The entry that allows it, or NULL. */
const struct difference *difference_find(const struct op *op, int64_t linux_result, int64_t our_result);

#endif
