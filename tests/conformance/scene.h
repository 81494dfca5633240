/*
 * scene.h: a scene: several calls on a fresh driver, and what they must show. Each difference is one line on
 * standard error that names the driver, the scene, the place, and both values.
 */
#ifndef TESTS_CONFORMANCE_SCENE_H
#define TESTS_CONFORMANCE_SCENE_H

#include "model/driver.h"

#define P(n) ((n)*DRIVER_PAGE)
#define RW   (VM_PROT_READ | VM_PROT_WRITE)

struct scene {
    const char *name;
    void (*run)(struct driver *d);
};
#define SCENE(scene) .name = #scene, .run = scene

/* The scene that runs fails unless got == want. It goes on. */
#define EXPECT(got, want) scene_expect(d, __FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(want))
void scene_expect(struct driver *d, const char *file, int line, const char *what, int64_t got, int64_t want);

/*
 * Runs each scene on a driver of its own, and checks the driver afterwards. Returns how many scenes failed.
 */
int scenes_run(struct driver *(*create)(void), const struct scene *scenes, unsigned nscenes);

#endif
