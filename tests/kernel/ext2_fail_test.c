/*
 * ext2_fail_test.c: the disk fails its nth transfer, memory its nth allocation, and images contradict
 * themselves: every call ends with an error or with success, nothing hangs, and nothing is lost that need not
 * be.
 */
#include "kernel/ext2_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t bytes[300000], kept[300000];

/* ---- memory -------------------------------------------------------------------------------------------- */

static void test_mount_memory(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct mount *mount;
    uint32_t n = 0;
    int error;
    (void)state;
    image_make("image", 1024, "-b 1024");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    do {
        kmem_fail_nth = ++n;
        error = fs_try_mount(disk, false, &mount);
        assert_true(error == 0 || (error == -ENOMEM && kmem_pieces == 0));
    } while (error != 0);
    assert_true(n > 64);
    kmem_fail_nth = 0;
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

/* What fails for want of memory has changed nothing. */
static void test_memory(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct tree tree;
    struct prng prng;
    (void)state;
    prng_init(&prng, test_seed(1));
    image_make("image", 8192, "-b 1024");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    tree_init(&tree, mount, "", test_seed(1));
    tree.may_fail = true;
    for (unsigned i = 0; i < test_budget(1500); i++) {
        kmem_fail_nth = (uint32_t)prng_below(&prng, 4);
        kmem_fail_more = (uint32_t)prng_below(&prng, 4);
        tree_step(&tree);
        kmem_fail_nth = kmem_fail_more = 0;
        if (i % 100 == 0) { /* so that inodes must be read again */
            assert_int_equal(mount->sync(mount), 0);
            fs_unmount(mount);
            tree.mount = mount = fs_mount(disk, false);
        }
    }
    tree_compare(&tree);
    tree_free(&tree);
    fs_unmount(mount);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

/* ---- the disk ------------------------------------------------------------------------------------------ */

/* Is it 0, a number of bytes, or an error that a failure, or what it left undone, explains? */
static void allowed(int64_t result)
{
    switch (result) {
    case -EIO:
    case -ENOMEM:
    case -ENOSPC:
    case -ENOENT:
    case -EEXIST:
    case -ENOTEMPTY:
        return;
    default:
        assert_true(result >= 0);
    }
}

static void ignore_entry(void *arg, const char *name, unsigned type, uint64_t ino)
{
    (void)arg;
    (void)name;
    (void)type;
    (void)ino;
}

/* A bit of everything. */
static void everything(struct mount *mount)
{
    char target[64];
    memset(bytes, 'b', sizeof bytes);
    allowed(fs_create(mount, "/dir", S_IFDIR | 0755, 0));
    allowed(fs_create(mount, "/dir/new", S_IFREG | 0644, 0));
    allowed(fs_write(mount, "/dir/new", 0, bytes, 30000));
    allowed(fs_write(mount, "/dir/new", 280000, bytes, 3000));
    allowed(fs_fsync(mount, "/dir/new", false));
    allowed(fs_symlink(mount, "/dir/link", "somewhere"));
    allowed(fs_readlink(mount, "/dir/link", target, sizeof target));
    allowed(fs_link(mount, "/dir/new", "/hard"));
    allowed(fs_rename(mount, "/hard", "/dir/moved"));
    allowed(fs_rename(mount, "/dir", "/other"));
    allowed(fs_truncate(mount, "/other/new", 270001));
    allowed(fs_punch(mount, "/other/new", 5000, 10000));
    allowed(fs_readdir(mount, "/other", ignore_entry, NULL));
    allowed(fs_unlink(mount, "/other/moved"));
    allowed(fs_unlink(mount, "/other/new"));
    allowed(fs_read(mount, "/kept", 0, bytes, sizeof bytes));
    allowed(mount->sync(mount));
    allowed(fs_unlink(mount, "/other/link"));
    allowed(fs_unlink(mount, "/other"));
}

/* What was synced before the failure is there after it, and a repair. */
static void check_kept(struct sim_disk *disk)
{
    image_save(disk, "check");
    if (image_run("e2fsck -fy %s", image_path("check")) > 2 ||
        image_run("e2fsck -fn %s", image_path("check")) != 0)
        fail_msg("not repaired: %s", image_said);
    assert_int_equal(image_run("debugfs -R 'dump /kept %s' %s", image_path("kept"), image_path("check")), 0);
    FILE *file = fopen(image_path("kept"), "r");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), sizeof kept);
    assert_memory_equal(bytes, kept, sizeof kept);
    fclose(file);
}

/* Everything, with a fault. Returns whether it happened. */
static bool fail_nth(uint32_t n, uint32_t *(*fault)(struct sim_disk *disk))
{
    struct sim_params params = test_params(test_seed(n));
    struct mount *mount;
    params.nframes = 96;
    struct sim_disk *disk = image_disk("image", 512, n);
    test_boot(&params);
    *fault(disk) = n;
    int error = fs_try_mount(disk, false, &mount);
    allowed(error);
    if (error == 0) {
        everything(mount);
        allowed(mount->unmount(mount));
    }
    bool happened = *fault(disk) == 0;
    *fault(disk) = 0;
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    check_kept(disk);
    sim_disk_destroy(disk);
    return happened;
}

static uint32_t *fault_read(struct sim_disk *disk)
{
    return &sim_disk_faults(disk)->fail_read_nth;
}

static uint32_t *fault_write(struct sim_disk *disk)
{
    return &sim_disk_faults(disk)->fail_write_nth;
}

static uint32_t *fault_flush(struct sim_disk *disk)
{
    return &sim_disk_faults(disk)->fail_flush_nth;
}

static uint32_t *fault_alloc(struct sim_disk *disk)
{
    (void)disk;
    return &sim_torture()->fail_alloc_nth;
}

static void image_with_kept(void)
{
    FILE *file;
    for (unsigned i = 0; i < sizeof kept; i++)
        kept[i] = test_byte(i);
    assert_int_equal(image_run("rm -rf %s; mkdir %s", image_path("tree"), image_path("tree")), 0);
    file = fopen(image_path("tree/kept"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(kept, 1, sizeof kept, file), sizeof kept);
    fclose(file);
    char options[300];
    snprintf(options, sizeof options, "-b 1024 -d %s", image_path("tree"));
    image_make("image", 2048, options);
}

static void test_transfers(void **state)
{
    static uint32_t *(*const faults[])(struct sim_disk * disk) = {fault_read, fault_write, fault_flush,
                                                                  fault_alloc};
    (void)state;
    image_with_kept();
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
        /* each of the first, then ever fewer */
        for (uint32_t n = 1; fail_nth(n, faults[i]); n += 1 + n / 8)
            assert_true(n < 10000);
}

/* ---- images that contradict themselves ----------------------------------------------------------------- */

struct walk {
    char name[64][NAME_LEN_MAX + 1];
    unsigned n;
};

static void walk_entry(void *arg, const char *name, unsigned type, uint64_t ino)
{
    struct walk *walk = arg;
    (void)type;
    (void)ino;
    if (walk->n < 64 && strchr(name, '/') == NULL)
        strcpy(walk->name[walk->n++], name);
}

/* Reads all that the directory shows. */
static void walk_dir(struct mount *mount, const char *path, unsigned depth, unsigned *budget)
{
    struct walk *walk = calloc(1, sizeof *walk);
    assert_non_null(walk);
    (void)!fs_readdir(mount, path, walk_entry, walk);
    for (unsigned i = 0; i < walk->n && depth < 5 && *budget > 0; i++) {
        char at[4096];
        struct stat st;
        snprintf(at, sizeof at, "%s/%s", path[1] == '\0' ? "" : path, walk->name[i]);
        --*budget;
        if (fs_stat(mount, at, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            walk_dir(mount, at, depth + 1, budget);
        (void)!fs_read(mount, at, 0, bytes, sizeof bytes);
        (void)!fs_read(mount, at, st.st_size > 5000 ? (uint64_t)st.st_size - 5000 : 0, bytes, 6000);
        (void)!fs_readlink(mount, at, (char *)bytes, sizeof bytes);
    }
    free(walk);
}

/* And changes it. */
static void spoil_dir(struct mount *mount, struct prng *prng)
{
    struct walk walk = {.n = 0};
    (void)!fs_readdir(mount, "/", walk_entry, &walk);
    for (unsigned i = 0; i < 40 && walk.n > 0; i++) {
        char at[300], to[300];
        snprintf(at, sizeof at, "/%s", walk.name[prng_below(prng, walk.n)]);
        snprintf(to, sizeof to, "/new%u", i);
        switch (prng_below(prng, 6)) {
        case 0:
            (void)!fs_unlink(mount, at);
            break;
        case 1:
            (void)!fs_write(mount, at, prng_below(prng, 400000), bytes, 3000);
            break;
        case 2:
            (void)!fs_truncate(mount, at, prng_below(prng, 400000));
            break;
        case 3:
            (void)!fs_create(mount, to, S_IFREG | 0600, 0);
            (void)!fs_write(mount, to, 0, bytes, 20000);
            break;
        case 4:
            (void)!fs_create(mount, to, S_IFDIR | 0700, 0);
            break;
        default:
            (void)!fs_link(mount, at, to);
        }
    }
}

static void corrupt(uint64_t seed)
{
    struct sim_params params = test_params(seed);
    struct sim_disk *disk = image_disk("image", 512, seed);
    struct mount *mount;
    struct prng prng;
    unsigned budget = 200;
    prng_init(&prng, seed);
    for (uint64_t flips = 1 + prng_below(&prng, 30); flips > 0; flips--) {
        /* in the descriptors, the bitmaps and inodes, or what lies behind them: names and numbers */
        static const uint64_t starts[] = {1024, 2048, 8192, 8192, 40000},
                              ends[] = {1200, 3072, 60000, 60000, 500000};
        uint64_t kind = prng_below(&prng, 50) == 0 ? 0 : 1 + prng_below(&prng, 4);
        uint64_t at = prng_range(&prng, starts[kind], ends[kind]);
        uint8_t byte;
        sim_disk_read(disk, at, &byte, 1);
        byte = prng_chance(&prng, 500) ? (uint8_t)prng_next(&prng)
                                       : (uint8_t)(byte ^ 1u << prng_below(&prng, 8));
        sim_disk_write(disk, at, &byte, 1);
    }
    test_boot(&params);
    if (fs_try_mount(disk, false, &mount) == 0) {
        walk_dir(mount, "/", 0, &budget);
        spoil_dir(mount, &prng);
        (void)!mount->sync(mount);
        budget = 200;
        walk_dir(mount, "/", 0, &budget);
        assert_int_not_equal(mount->unmount(mount), -EBUSY);
    }
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    sim_disk_destroy(disk);
}

static void test_corrupt(void **state)
{
    uint64_t rounds = test_rounds(test_budget(300)), seed = test_seed(0);
    char options[300];
    (void)state;
    alarm(300); /* nothing hangs */
    assert_int_equal(
        image_run("cd %s && mkdir -p a/b c && for i in 1 2 3 4 5 6 7 8 9; do head -c ${i}0000 kept > a/f$i; "
                  "ln a/f$i c/h$i; ln -s a/f$i l$i; done; cp kept a/b/kept2",
                  image_path("tree")),
        0);
    snprintf(options, sizeof options, "-b 1024 -N 200 -d %s", image_path("tree"));
    image_make("image", 2048, options);
    if (seed != 0)
        corrupt(seed);
    for (uint64_t i = 1; seed == 0 && i <= rounds; i++)
        corrupt(test_seed(i));
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mount_memory), cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_transfers), cmocka_unit_test(test_corrupt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
