/*
 * ext2_crash_test.c: the power is cut at moments of the disk's writes and flushes, in the middle of random
 * operations. Each time e2fsck repairs what is left, and each file whose fsync had returned has the bytes that
 * were not changed since, under its name or in lost+found.
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

#define STEPS 120
#define CUTS  8 /* in a round, about */

static struct crash {
    struct tree tree;
    struct prng prng;
    uint32_t cut_permille; /* of the moments */
    unsigned cuts, files;
} crash;

/* ---- a cut --------------------------------------------------------------------------------------------- */

static void list_dump(void *arg, const struct tree_body *body)
{
    fprintf(arg, "dump <%llu> %s/%llu\n", (unsigned long long)body->ino, image_path("cut-files"),
            (unsigned long long)body->ino);
}

static void check_dump(void *arg, const struct tree_body *body)
{
    char path[300];
    uint8_t *bytes = malloc(body->size + 1);
    snprintf(path, sizeof path, "%s/%llu", image_path("cut-files"), (unsigned long long)body->ino);
    FILE *file = fopen(path, "r");
    (void)arg;
    assert_non_null(bytes);
    if (file == NULL)
        fail_msg("the synced file of inode %llu is lost", (unsigned long long)body->ino);
    size_t len = fread(bytes, 1, body->size + 1, file);
    if (body->synced)
        assert_int_equal(len, body->size);
    assert_true(len >= body->synced_bytes);
    assert_memory_equal(bytes, body->bytes, body->synced_bytes);
    fclose(file);
    free(bytes);
    crash.files++;
}

/* What a cut leaves is repaired, and has what was synced. */
static void check_cut(struct sim_disk *cut)
{
    image_save(cut, "cut");
    sim_disk_destroy(cut);
    if (image_run("e2fsck -fy %s", image_path("cut")) > 2)
        fail_msg("not repaired: %s", image_said);
    if (image_run("e2fsck -fn %s", image_path("cut")) != 0)
        fail_msg("not repaired at once: %s", image_said);
    assert_int_equal(image_run("rm -rf %s; mkdir %s", image_path("cut-files"), image_path("cut-files")), 0);
    FILE *file = fopen(image_path("cut-commands"), "w");
    assert_non_null(file);
    tree_each_synced(&crash.tree, list_dump, file);
    fclose(file);
    assert_int_equal(image_run("debugfs -f %s %s", image_path("cut-commands"), image_path("cut")), 0);
    tree_each_synced(&crash.tree, check_dump, NULL);
    crash.cuts++;
}

static void moment(struct sim_disk *disk, void *arg)
{
    (void)arg;
    if (prng_chance(&crash.prng, crash.cut_permille))
        check_cut(sim_disk_power_cut(disk, prng_next(&crash.prng)));
}

/* ---- a round ------------------------------------------------------------------------------------------- */

static uint64_t moments;

static void count_moment(struct sim_disk *disk, void *arg)
{
    (void)disk;
    (void)arg;
    moments++;
}

/* The operations of the seed. hook: what each moment of the disk calls. */
static void steps_run(uint64_t seed, void (*hook)(struct sim_disk *disk, void *arg))
{
    static const char *const options[] = {"-b 1024", "-b 4096", "-b 1024 -g 1024"};
    struct sim_params params = test_params(seed);
    image_make("image", 8192, options[seed % 3]);
    struct sim_disk *disk = image_disk("image", 512, seed);
    params.nframes = seed % 2 == 0 ? 128 : 512;
    params.dirty_expire_ns = 50000 << seed % 8;
    sim_disk_faults(disk)->latency_max_ns = 20000;
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    tree_init(&crash.tree, mount, "", seed);
    crash.tree.max_bytes = 200000;
    for (unsigned i = 0; i < STEPS; i++) /* something to lose */
        tree_step(&crash.tree);
    assert_int_equal(mount->sync(mount), 0);
    sim_settle();
    tree_synced(&crash.tree);
    sim_disk_on_write(disk, hook, NULL);
    for (unsigned i = 0; i < STEPS; i++) {
        tree_step(&crash.tree);
        if (i % 32 == 31 && mount->sync(mount) == 0)
            tree_synced(&crash.tree);
    }
    sim_disk_on_write(disk, NULL, NULL);
    tree_compare(&crash.tree);
    tree_free(&crash.tree);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

static void round_run(uint64_t seed)
{
    moments = 0;
    steps_run(seed, count_moment);
    crash.cut_permille = moments < CUTS ? 1000 : (uint32_t)(CUTS * 1000 / moments) + 1;
    prng_init(&crash.prng, seed);
    steps_run(seed, moment);
}

static void test_cuts(void **state)
{
    uint64_t rounds = test_rounds(test_budget(6)), seed = test_seed(0);
    (void)state;
    if (seed != 0)
        round_run(seed);
    for (uint64_t i = 1; seed == 0 && i <= rounds; i++)
        round_run(test_seed(i));
    assert_true(crash.cuts > 0 && crash.files > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
