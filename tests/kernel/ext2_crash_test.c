/*
 * ext2_crash_test.c: the power is cut at moments of the disk's writes and flushes, in the middle of random
 * operations. Each time e2fsck repairs what is left, and each file whose fsync had returned has the bytes
 * that were not changed since, under its name or in lost+found.
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
    uint64_t rounds = test_rounds(1 + test_budget(5)), seed = test_seed(0);
    (void)state;
    if (seed != 0)
        round_run(seed);
    for (uint64_t i = 1; seed == 0 && i <= rounds; i++)
        round_run(test_seed(i));
    assert_true(crash.cuts > 0 && crash.files > 0);
}

/* ---- the order of writes ------------------------------------------------------------------------------- */

#define ORDER_FILES 8
#define ORDER_BYTES 10240 /* of each that are synced: without a block of numbers */

static struct {
    uint64_t ino[ORDER_FILES];
    unsigned cuts, nth, every;
} order;

static uint8_t order_byte(unsigned file, uint64_t at)
{
    return test_byte((uint64_t)file << 32 | at);
}

/* Each file has its bytes, and a name outside of lost+found. */
static void check_order(void)
{
    static uint8_t bytes[ORDER_BYTES];
    char commands[2048], ncheck[512] = "ncheck";
    unsigned len = 0;
    for (unsigned i = 0; i < ORDER_FILES; i++) {
        len += (unsigned)snprintf(commands + len, sizeof commands - len, "echo 'dump <%llu> %s%u'; ",
                                  (unsigned long long)order.ino[i], image_path("order"), i);
        snprintf(ncheck + strlen(ncheck), 32, " %llu", (unsigned long long)order.ino[i]);
    }
    assert_int_equal(image_run("{ %s echo '%s'; } | debugfs %s", commands, ncheck, image_path("cut")), 0);
    assert_null(strstr(image_said, "/lost+found/#"));
    for (unsigned i = 0; i < ORDER_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "order%u", i);
        FILE *file = fopen(image_path(name), "r");
        assert_non_null(file);
        if (fread(bytes, 1, ORDER_BYTES, file) != ORDER_BYTES)
            fail_msg("file %u (inode %llu) is cut off", i, (unsigned long long)order.ino[i]);
        for (uint64_t at = 0; at < ORDER_BYTES; at++)
            assert_int_equal(bytes[at], order_byte(i, at));
        fclose(file);
        (void)remove(image_path(name));
    }
}

static void order_moment(struct sim_disk *disk, void *arg)
{
    (void)arg;
    if (++order.nth % order.every != 0)
        return;
    struct sim_disk *cut = sim_disk_power_cut(disk, prng_next(&crash.prng));
    image_save(cut, "cut");
    sim_disk_destroy(cut);
    if (image_run("e2fsck -fy %s", image_path("cut")) > 2)
        fail_msg("not repaired: %s", image_said);
    check_order();
    order.cuts++;
}

static void order_path(char *path, unsigned i, bool moved)
{
    sprintf(path, "%s/a rather long name, so that few fit into one block of the directory %u",
            moved ? "/moved" : "/files", i);
}

/* Files that are synced get blocks of numbers, and other names; meanwhile the power goes. */
static void order_run(struct mount *mount, struct sim_disk *disk)
{
    uint8_t bytes[ORDER_BYTES];
    char path[128], to[128];
    struct stat st;
    assert_int_equal(fs_create(mount, "/files", S_IFDIR | 0755, 0), 0);
    assert_int_equal(fs_create(mount, "/moved", S_IFDIR | 0755, 0), 0);
    for (unsigned i = 0; i < ORDER_FILES; i++) {
        order_path(path, i, false);
        for (uint64_t at = 0; at < ORDER_BYTES; at++)
            bytes[at] = order_byte(i, at);
        assert_int_equal(fs_create(mount, path, S_IFREG | 0644, 0), 0);
        assert_int_equal(fs_write(mount, path, 0, bytes, ORDER_BYTES), ORDER_BYTES);
        assert_int_equal(fs_stat(mount, path, &st), 0);
        order.ino[i] = st.st_ino;
    }
    assert_int_equal(mount->sync(mount), 0);
    sim_settle();
    sim_disk_on_write(disk, order_moment, NULL);
    for (unsigned i = 0; i < ORDER_FILES; i++) {
        order_path(path, i, false);
        order_path(to, i, true);
        assert_int_equal(fs_write(mount, path, ORDER_BYTES, bytes, 9000), 9000);
        assert_int_equal(fs_rename(mount, path, to), 0);
        if (i % 4 == 3)
            assert_int_equal(fs_fsync(mount, to, false), 0);
    }
    assert_int_equal(mount->sync(mount), 0);
    sim_disk_on_write(disk, NULL, NULL);
}

static void test_order(void **state)
{
    (void)state;
    order.every = (unsigned)(10 / test_rounds(1)) + 1; /* FAULTLINE_ROUNDS=11: at each moment */
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sim_params params = test_params(test_seed(seed));
        image_make("image", 1024, seed % 2 == 0 ? "-b 4096" : "-b 1024");
        struct sim_disk *disk = image_disk("image", 512, seed);
        prng_init(&crash.prng, seed);
        params.no_flusher = true;
        test_boot(&params);
        struct mount *mount = fs_mount(disk, false);
        order_run(mount, disk);
        fs_unmount(mount);
        sim_shutdown();
        image_is_clean(disk);
        sim_disk_destroy(disk);
    }
    assert_true(order.cuts > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuts), cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
