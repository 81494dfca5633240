/* scene.c: see scene.h. */
#include "conformance/scene.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *running; /* the scene's name */
static int failures;        /* in it */

void scene_expect(struct driver *d, const char *file, int line, const char *what, int64_t got, int64_t want)
{
    if (got == want)
        return;
    failures++;
    fprintf(stderr, "%s: %s, %s line %d: %s is %" PRId64 ", should be %" PRId64 "\n", d->name, running,
            basename(file), line, what, got, want);
}

int scenes_run(struct driver *(*create)(void), const struct scene *scenes, unsigned nscenes)
{
    int failed = 0;
    unsigned i;

    for (i = 0; i < nscenes; i++) {
        struct driver *d = create();

        running = scenes[i].name;
        failures = 0;
        scenes[i].run(d);
        d->check(d);
        d->destroy(d);
        failed += failures > 0;
    }
    return failed;
}
