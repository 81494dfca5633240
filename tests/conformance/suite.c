/* suite.c: see suite.h. */
#include "conformance/suite.h"

int suite_run(struct driver *(*create)(void))
{
    return suite_cases(create) + suite_scenes(create) + suite_calls(create) + suite_views(create);
}
