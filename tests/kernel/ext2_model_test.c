/*
 * ext2_model_test.c: random operations on ext2 and on a naive model of a tree, on hostile computers with
 * little memory, with remounts between. After each mount e2fsck finds nothing, and debugfs reads the model's
 * bytes.
 *
 * FAULTLINE_SEED=n runs the round of that seed only; FAULTLINE_ROUNDS=n runs more.
 */
#include "kernel/ext2_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOUNTS 3
#define TREES  3

struct worker {
    struct tree tree;
    unsigned steps;
};

/* ---- what debugfs reads -------------------------------------------------------------------------------- */

static void dump_compare(const char *path, const struct tree_body *dir)
{
    for (const struct tree_entry *entry = dir->entries; entry != NULL; entry = entry->next) {
        char at[8192];
        snprintf(at, sizeof at, "%s/%s", path, entry->name);
        if (S_ISDIR(entry->body->type))
            dump_compare(at, entry->body);
        if (!S_ISREG(entry->body->type))
            continue;
        FILE *file = fopen(at, "r");
        assert_non_null(file);
        uint8_t *bytes = malloc(entry->body->size + 1);
        assert_int_equal(fread(bytes, 1, entry->body->size + 1, file), entry->body->size);
        assert_memory_equal(bytes, entry->body->bytes, entry->body->size);
        free(bytes);
        fclose(file);
    }
}

/* The image "check" has the tree's files. */
static void image_has(const struct tree *tree)
{
    char path[8192];
    assert_int_equal(image_run("rm -rf %s; mkdir %s", image_path("dump"), image_path("dump")), 0);
    assert_int_equal(
        image_run("debugfs -R 'rdump %s %s' %s", tree->top, image_path("dump"), image_path("check")), 0);
    snprintf(path, sizeof path, "%s%s", image_path("dump"), tree->top);
    dump_compare(path, tree->root);
}

/* ---- a round ------------------------------------------------------------------------------------------- */

static void work(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; i < worker->steps; i++)
        tree_step(&worker->tree);
}

static void remount(struct mount **mount, struct sim_disk *disk, struct worker *worker, unsigned n)
{
    fs_unmount(*mount);
    image_is_clean(disk);
    for (unsigned i = 0; i < n; i++)
        image_has(&worker[i].tree);
    *mount = fs_mount(disk, false);
    for (unsigned i = 0; i < n; i++) {
        worker[i].tree.mount = *mount;
        tree_compare(&worker[i].tree);
    }
}

static void round_run(uint64_t seed, unsigned ntrees, unsigned steps)
{
    static const char *const options[] = {"-b 1024", "-b 4096", "-b 2048", "-b 1024 -g 1024",
                                          "-b 4096 -I 128"};
    static const char *const tops[TREES] = {"/t0", "/t1", "/t2"};
    struct sim_params params = test_params_hostile(seed);
    struct worker worker[TREES] = {0};
    uint32_t kib = seed % 5 == 0 ? 2048 : 12288; /* sometimes it is full */
    image_make("image", kib, options[seed % 5]);
    struct sim_disk *disk = image_disk("image", seed % 2 == 0 ? 512 : 1024, seed);
    struct sim_disk_faults *faults = sim_disk_faults(disk);
    faults->latency_max_ns = faults->latency_min_ns + seed % 3 * 20000;
    params.nframes = seed % 3 == 0 ? 96 : 512;
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    struct vm_map *map = test_space();
    for (unsigned i = 0; i < ntrees; i++) {
        tree_init(&worker[i].tree, mount, tops[i], seed * 7 + i);
        worker[i].tree.map = map;
        worker[i].steps = steps / ntrees / MOUNTS;
    }
    for (unsigned k = 0; k < MOUNTS; k++) {
        for (unsigned i = 0; i < ntrees; i++)
            sim_run("tree", work, &worker[i]);
        sim_join_all();
        if (k % 2 == 0) {
            assert_int_equal(mount->sync(mount), 0); /* clean, though it is mounted */
            sim_settle();
            image_is_clean(disk);
        }
        remount(&mount, disk, worker, ntrees);
    }
    for (unsigned i = 0; i < ntrees; i++)
        tree_free(&worker[i].tree);
    fl_space_destroy(map);
    fs_unmount(mount);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    sim_disk_destroy(disk);
}

static void test_random(void **state)
{
    uint64_t rounds = test_rounds(1 + test_budget(6)), seed = test_seed(0);
    (void)state;
    if (seed != 0)
        round_run(seed, 1 + seed % TREES, 400);
    for (uint64_t i = 1; seed == 0 && i <= rounds; i++)
        round_run(test_seed(i), 1 + i % TREES, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
