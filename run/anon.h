/* anon.h: anonymous mappings under the limit, with --anon (anon.c). */
#ifndef RUN_ANON_H
#define RUN_ANON_H

#include "eligible.h"

/* Whether the anonymous mapping is to be managed. Two loads without --anon. */
bool anon_is_eligible(const struct mmap_args *args);
/* Maps it. Errors: of mmap(2); -ENODEV: the core has no room for it, and nothing has changed. */
long anon_mmap(const struct mmap_args *args) FL_EXCLUDES(shim_lock);

#endif
