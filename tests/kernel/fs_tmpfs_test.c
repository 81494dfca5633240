/*
 * fs_tmpfs_test.c: random operations on tmpfs and on the naive model of a tree (ext2_tree.h), by several
 * fibers at a time, on hostile computers. At the end nothing of the heap is left.
 *
 * FAULTLINE_SEED=n runs the round of that seed only; FAULTLINE_ROUNDS=n runs more.
 */
#include "fs/tmpfs.h"
#include "kernel/ext2_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TREES 3
#define STEPS 400

static void work(void *arg)
{
    for (unsigned i = 0; i < STEPS; i++)
        tree_step(arg);
}

static void round_run(uint64_t seed, unsigned ntrees)
{
    static const char *const tops[TREES] = {"/t0", "/t1", "/t2"};
    struct sim_params params = test_params_hostile(seed);
    struct tree tree[TREES] = {0};
    struct mount *mount;

    params.nframes = 4096; /* files have no place but memory */
    test_boot(&params);
    assert_int_equal(tmpfs_mount("tmpfs", &mount), 0);
    for (unsigned i = 0; i < ntrees; i++)
        tree_init(&tree[i], mount, tops[i], seed * 7 + i);
    for (unsigned i = 0; i < ntrees; i++)
        sim_run("tree", work, &tree[i]);
    sim_join_all();
    for (unsigned i = 0; i < ntrees; i++) {
        tree_compare(&tree[i]);
        tree_free(&tree[i]);
    }
    assert_int_equal(mount->unmount(mount), 0);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
}

static void test_random(void **state)
{
    uint64_t rounds = test_rounds(test_budget(20)), seed = test_seed(0);

    (void)state;
    if (seed != 0)
        round_run(seed, 1 + seed % TREES);
    for (uint64_t i = 1; seed == 0 && i <= rounds; i++)
        round_run(test_seed(i), 1 + i % TREES);
}

/* A removed directory still leads up, and goes with its last reference together with its parents. */
static void test_removed_directories(void **state)
{
    struct sim_params params = test_params(1);
    struct inode *deep, *up;
    struct mount *mount;

    (void)state;
    test_boot(&params);
    assert_int_equal(tmpfs_mount("tmpfs", &mount), 0);
    assert_int_equal(fs_create(mount, "/a", S_IFDIR | 0755, 0), 0);
    assert_int_equal(fs_create(mount, "/a/b", S_IFDIR | 0755, 0), 0);
    assert_int_equal(fs_walk(mount, "/a/b", &deep), 0);
    assert_int_equal(fs_unlink(mount, "/a"), -ENOTEMPTY);
    assert_int_equal(fs_unlink(mount, "/a/b"), 0);
    assert_int_equal(fs_unlink(mount, "/a"), 0);
    assert_int_equal(mount->unmount(mount), -EBUSY);
    sleep_lock(&deep->lock);
    assert_int_equal(deep->ops->create(deep, "x", 1, S_IFREG | 0644, 0, &up), -ENOENT);
    assert_int_equal(deep->ops->lookup(deep, "..", 2, &up), 0);
    sleep_unlock(&deep->lock);
    assert_int_equal(up->nlink, 0);
    inode_put(deep);
    inode_put(up);
    assert_int_equal(mount->unmount(mount), 0);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_removed_directories)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
