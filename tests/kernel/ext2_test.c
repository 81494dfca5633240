/*
 * ext2_test.c: what others made is read byte for byte, what is not known is refused, and a full disk says so.
 */
#include "kernel/ext2_support.h"

#include <asm/statfs.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_FILE (2 << 20)

static uint8_t bytes[MAX_FILE], expect[MAX_FILE];
static bool typed; /* the image's entries tell the type */

/* ---- trees that mke2fs made ---------------------------------------------------------------------------- */

/* A file of the host's with bytes of its own; sparse: with a hole up to its last bytes. */
static void host_file(const char *name, uint64_t size, bool sparse)
{
    FILE *file = fopen(image_path(name), "w");
    assert_non_null(file);
    uint64_t start = sparse && size > 100 ? size - 100 : 0;
    assert_int_equal(fseek(file, (long)start, SEEK_SET), 0);
    for (uint64_t at = start; at < size; at++)
        fputc(test_byte(at * 7 + size), file);
    fclose(file);
}

static void host_tree(void)
{
    static const uint64_t sizes[] = {0,     1,     1023,   1024,   4096,   4097,    12288,  12289,
                                     49152, 49153, 274432, 274433, 300000, 1000000, 1500000};
    char name[64];
    assert_int_equal(image_run("rm -rf %s && mkdir -p %s/deep/deeper/deepest %s/many", image_path("tree"),
                               image_path("tree"), image_path("tree")),
                     0);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        snprintf(name, sizeof name, "tree/file%u", i);
        host_file(name, sizes[i], false);
        snprintf(name, sizeof name, "tree/deep/sparse%u", i);
        host_file(name, sizes[i], true);
    }
    host_file("tree/deep/far", 80 << 20, true); /* three levels, with blocks of 1 KiB */
    for (unsigned i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "tree/many/a name of some length %u", i);
        host_file(name, i, false);
    }
    assert_int_equal(
        image_run("cd %s && ln file3 deep/hard && ln -s short fast && "
                  "ln -s $(printf 'long/%%.0s' $(seq 40)) slow && mkfifo pipe && chmod 640 file2",
                  image_path("tree")),
        0);
}

struct compare {
    struct mount *mount;
    const char *host, *path; /* the directory */
    unsigned entries;
};

static void compare_dir(struct mount *mount, const char *host, const char *path);

static void compare_bytes(struct mount *mount, const char *host, const char *path, uint64_t size)
{
    FILE *file = fopen(host, "r");
    assert_non_null(file);
    for (uint64_t at = 0; at < size; at += MAX_FILE) {
        size_t len = fread(expect, 1, MAX_FILE, file);
        assert_int_equal(fs_read(mount, path, at, bytes, MAX_FILE), len);
        assert_memory_equal(bytes, expect, len);
    }
    fclose(file);
}

static void compare_entry(struct mount *mount, const char *host, const char *path)
{
    char target[4096], other[4096];
    struct stat want, have;
    assert_int_equal(lstat(host, &want), 0);
    assert_int_equal(fs_stat(mount, path, &have), 0);
    assert_int_equal(want.st_mode, have.st_mode);
    assert_int_equal(want.st_mtime, have.st_mtime);
    if (!S_ISDIR(want.st_mode))
        assert_int_equal(want.st_nlink, have.st_nlink);
    if (S_ISREG(want.st_mode) || S_ISLNK(want.st_mode))
        assert_int_equal(want.st_size, have.st_size);
    if (S_ISREG(want.st_mode))
        compare_bytes(mount, host, path, (uint64_t)want.st_size);
    if (S_ISLNK(want.st_mode)) {
        assert_int_equal(readlink(host, other, sizeof other), want.st_size);
        assert_int_equal(fs_readlink(mount, path, target, sizeof target), want.st_size);
        assert_memory_equal(target, other, (size_t)want.st_size);
    }
    if (S_ISDIR(want.st_mode))
        compare_dir(mount, host, path);
}

static void count_entry(void *arg, const char *name, unsigned type, uint64_t ino)
{
    struct compare *c = arg;
    char host[4096];
    struct stat st;
    (void)ino;
    if (strcmp(name, "lost+found") == 0)
        return;
    snprintf(host, sizeof host, "%s/%s", c->host, name);
    assert_int_equal(lstat(host, &st), 0);
    assert_int_equal(type, typed ? IFTODT(st.st_mode) : DT_UNKNOWN);
    c->entries++;
}

static void compare_dir(struct mount *mount, const char *host, const char *path)
{
    struct compare c = {.mount = mount, .host = host};
    unsigned entries = 0;
    struct dirent *entry;
    assert_int_equal(fs_readdir(mount, path, count_entry, &c), 0);
    DIR *dir = opendir(host);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char below[4096], at[4096];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", host, entry->d_name);
        snprintf(at, sizeof at, "%s/%s", strcmp(path, "/") == 0 ? "" : path, entry->d_name);
        compare_entry(mount, below, at);
        entries++;
    }
    closedir(dir);
    assert_int_equal(c.entries, entries);
}

/* Mounts the image, compares it, and finds the disk as it was. */
static void read_image(const char *name, uint32_t block_bytes, bool read_only)
{
    char host[256];
    struct sim_params params = test_params_hostile(test_seed(1));
    struct sim_disk *disk = image_disk(name, block_bytes, 5);
    strcpy(host, image_path("tree"));
    params.nframes = 256;
    test_boot(&params);
    struct mount *mount = fs_mount(disk, read_only);
    compare_dir(mount, host, "/");
    if (read_only)
        assert_int_equal(fs_create(mount, "/new", S_IFREG | 0600, 0), -EROFS);
    fs_unmount(mount);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

static void test_read(void **state)
{
    static const struct {
        const char *options;
        uint32_t block_bytes;
    } images[] = {
        {"-b 1024", 512},
        {"-b 1024", 1024},
        {"-b 2048", 512},
        {"-b 4096", 512},
        {"-b 4096", 4096},
        {"-b 1024 -r 0 -O none", 512},
        {"-b 4096 -I 128 -g 1024", 1024},
    };
    char options[512];
    (void)state;
    host_tree();
    for (unsigned i = 0; i < sizeof images / sizeof images[0]; i++) {
        snprintf(options, sizeof options, "%s -d %s", images[i].options, image_path("tree"));
        image_make("image", 16384, options);
        typed = strstr(options, "-O none") == NULL;
        read_image("image", images[i].block_bytes, i % 2 == 0);
    }
}

/* A directory with an index is read, and loses the index when it changes. */
static void test_index(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    char options[512];
    struct stat st;
    (void)state;
    snprintf(options, sizeof options, "-b 1024 -d %s", image_path("tree"));
    image_make("image", 16384, options);
    (void)image_run("e2fsck -fyD %s", image_path("image"));
    assert_int_equal(image_run("debugfs -R 'htree_dump /many' %s | grep -q 'Root node'", image_path("image")),
                     0);
    typed = true;
    read_image("image", 1024, false);
    struct sim_disk *disk = image_disk("image", 1024, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    for (unsigned i = 0; i < 300; i++) {
        char path[128];
        snprintf(path, sizeof path, "/many/a new name of some length %u", i);
        assert_int_equal(fs_create(mount, path, S_IFREG | 0644, 0), 0);
        snprintf(path, sizeof path, "/many/a name of some length %u", i);
        assert_int_equal(fs_unlink(mount, path), 0);
    }
    assert_int_equal(fs_stat(mount, "/many/a new name of some length 17", &st), 0);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static int mount_error(const char *name, bool read_only)
{
    struct sim_params params = test_params(test_seed(1));
    struct sim_disk *disk = image_disk(name, 512, 5);
    struct mount *mount;
    test_boot(&params);
    int error = fs_try_mount(disk, read_only, &mount);
    if (error == 0)
        fs_unmount(mount);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
    sim_disk_destroy(disk);
    return error;
}

static void test_refused(void **state)
{
    static const char *const options[] = {"-O extents", "-O meta_bg,^resize_inode", "-O 64bit,extents",
                                          "-O flex_bg"};
    (void)state;
    for (unsigned i = 0; i < sizeof options / sizeof options[0]; i++) {
        image_make("image", 2048, options[i]);
        assert_int_equal(mount_error("image", false), -EINVAL);
    }
    image_make("image", 2048, "-O huge_file");
    assert_int_equal(mount_error("image", false), -EINVAL);
    assert_int_equal(mount_error("image", true), 0);
    assert_int_equal(image_run("head -c 1000000 /dev/zero > %s", image_path("image")), 0);
    assert_int_equal(mount_error("image", false), -EINVAL);
    image_make("image", 2048, "-b 4096");
    assert_int_equal(image_run("truncate -s 1M %s", image_path("image")), 0);
    assert_int_equal(mount_error("image", false), -EINVAL);
}

/* ---- all kinds of files -------------------------------------------------------------------------------- */

static void test_kinds(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    char name[300] = "/";
    struct stat st;
    struct mount *mount;
    (void)state;
    image_make("image", 2048, "-b 1024");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    mount = fs_mount(disk, false);
    assert_int_equal(fs_create(mount, "/dir", S_IFDIR | 0755, 0), 0);
    assert_int_equal(fs_create(mount, "/dir/null", S_IFCHR | 0666, 0x103), 0);
    assert_int_equal(fs_create(mount, "/dir/large", S_IFBLK | 0660, 0x12300845), 0);
    assert_int_equal(fs_create(mount, "/dir/pipe", S_IFIFO | 0600, 0), 0);
    assert_int_equal(fs_create(mount, "/dir/socket", S_IFSOCK | 0600, 0), 0);
    assert_int_equal(fs_create(mount, "/dir/pipe", S_IFREG, 0), -EEXIST);
    memset(name + 1, 'n', 256);
    assert_int_equal(fs_create(mount, name, S_IFREG | 0600, 0), -ENAMETOOLONG);
    name[256] = '\0';
    assert_int_equal(fs_create(mount, name, S_IFREG | 0600, 0), 0);
    assert_int_equal(fs_unlink(mount, "/dir"), -ENOTEMPTY);
    fs_unmount(mount);
    mount = fs_mount(disk, true);
    assert_int_equal(fs_stat(mount, "/dir/null", &st), 0);
    assert_int_equal(st.st_rdev, 0x103);
    assert_int_equal(fs_stat(mount, "/dir/large", &st), 0);
    assert_int_equal(st.st_rdev, 0x12300845);
    assert_int_equal(fs_stat(mount, "/dir/socket", &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    assert_int_equal(fs_stat(mount, "/dir", &st), 0);
    assert_int_equal(st.st_nlink, 2);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    image_save(disk, "image");
    assert_int_equal(
        image_run("debugfs -R 'stat /dir/large' %s | grep -q 'hex 08:12345'", image_path("image")), 0);
    sim_disk_destroy(disk);
}

/* A file that is open, or mapped, lives on without a name, and its space comes back afterwards. */
static void test_unlinked(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct inode *inode;
    struct vnode *vnode;
    (void)state;
    image_make("image", 2048, "-b 1024");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    struct vm_map *map = test_space();
    assert_int_equal(fs_create(mount, "/file", S_IFREG | 0600, 0), 0);
    memset(bytes, 'x', 100000);
    assert_int_equal(fs_write(mount, "/file", 0, bytes, 100000), 100000);
    assert_int_equal(fs_walk(mount, "/file", &inode), 0);
    assert_int_equal(inode->ops->vnode(inode, &vnode), 0);
    struct fl_file file = {.vnode = vnode, .mode = FL_FREAD | FL_FWRITE};
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 25);
    assert_int_equal(fs_unlink(mount, "/file"), 0);
    assert_int_equal(fl_vnode_close(vnode), 0);
    inode_put(inode);
    assert_int_equal(test_load8(map, va + 99999), 'x');
    test_store8(map, va + 5000, 'y');
    assert_int_equal(mount->sync(mount), 0);
    image_save(disk, "image"); /* its inode is allocated and has no name: not clean */
    assert_int_equal(image_run("dumpe2fs -h %s | grep -q 'state:.* not clean$'", image_path("image")), 0);
    assert_int_equal(mount->unmount(mount), -EBUSY);
    assert_int_equal(test_load8(map, va + 5000), 'y');
    fl_space_destroy(map);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    image_save(disk, "image");
    assert_int_equal(image_run("dumpe2fs -h %s | grep -q 'Free inodes: *245'", image_path("image")), 0);
    sim_disk_destroy(disk);
}

/* What was written to a file that is deleted at once never reaches the disk. */
static void test_short_lived(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    (void)state;
    image_make("image", 2048, "-b 1024");
    struct sim_disk *disk = image_disk("image", 512, 5);
    params.no_flusher = true;
    params.nframes = 1024;
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    memset(bytes, 'x', 400000);
    assert_int_equal(fs_create(mount, "/file", S_IFREG | 0600, 0), 0);
    assert_int_equal(fs_write(mount, "/file", 0, bytes, 400000), 400000);
    assert_int_equal(fs_unlink(mount, "/file"), 0);
    fs_unmount(mount);
    assert_true(sim_disk_counts(disk).bytes_written < 40000);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

/* A block of extended attributes stays with its file, and goes with it. */
static void test_attributes(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct stat st;
    (void)state;
    image_make("image", 2048, "-b 1024 -I 128");
    host_file("host", 5000, false);
    assert_int_equal(
        image_run("printf 'write %s one\nwrite %s two\nea_set one user.k v\nea_set two user.k v\n' | "
                  "debugfs -w %s",
                  image_path("host"), image_path("host"), image_path("image")),
        0);
    assert_int_equal(image_run("debugfs -R 'ea_get one user.k' %s | grep -q v", image_path("image")), 0);
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    assert_int_equal(fs_stat(mount, "/one", &st), 0);
    assert_int_equal(st.st_blocks, 12); /* with that block */
    assert_int_equal(fs_truncate(mount, "/one", 0), 0);
    assert_int_equal(fs_unlink(mount, "/two"), 0);
    fs_unmount(mount);
    image_is_clean(disk);
    assert_int_equal(image_run("debugfs -R 'ea_get one user.k' %s | grep -q v", image_path("check")), 0);
    mount = fs_mount(disk, false);
    assert_int_equal(fs_unlink(mount, "/one"), 0);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

static void test_statfs(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct statfs64 before, after;
    (void)state;
    image_make("image", 2048, "-b 1024 -N 256 -m 10");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    assert_int_equal(mount->statfs(mount, &before), 0);
    assert_int_equal(before.f_type, 0xef53);
    assert_int_equal(before.f_bsize, 1024);
    assert_int_equal(before.f_blocks, 2048);
    assert_int_equal(before.f_files, 256);
    assert_int_equal(before.f_bfree - before.f_bavail, 204);
    memset(bytes, 'x', 10240);
    assert_int_equal(fs_create(mount, "/file", S_IFREG | 0600, 0), 0);
    assert_int_equal(fs_write(mount, "/file", 0, bytes, 10240), 10240);
    assert_int_equal(mount->statfs(mount, &after), 0);
    assert_int_equal(before.f_bfree - after.f_bfree, 10);
    assert_int_equal(before.f_ffree - after.f_ffree, 1);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

/* ---- a full disk --------------------------------------------------------------------------------------- */

/* Fills files until there is no space. Returns how many are whole; the next has `*last` bytes. */
static unsigned fill(struct mount *mount, uint64_t *last)
{
    for (unsigned i = 0;; i++) {
        char path[32];
        snprintf(path, sizeof path, "/fill%u", i);
        *last = 0;
        int error = fs_create(mount, path, S_IFREG | 0644, 0);
        if (error == -ENOSPC)
            return i;
        assert_int_equal(error, 0);
        while (*last < 50000) {
            for (unsigned k = 0; k < 5000; k++)
                bytes[k] = test_byte(*last + k + i);
            int64_t n = fs_write(mount, path, *last, bytes, 5000);
            if (n == -ENOSPC)
                return i;
            assert_true(n > 0);
            *last += (uint64_t)n;
        }
    }
}

static void filled_is_there(struct mount *mount, unsigned whole, uint64_t last)
{
    for (unsigned i = 0; i <= whole; i++) {
        char path[32];
        uint64_t size = i < whole ? 50000 : last;
        snprintf(path, sizeof path, "/fill%u", i);
        assert_int_equal(fs_read(mount, path, 0, bytes, MAX_FILE), size);
        for (uint64_t k = 0; k < size; k++)
            assert_int_equal(bytes[k], test_byte(k + i));
    }
}

static void full_disk(const char *options)
{
    struct sim_params params = test_params(test_seed(1));
    struct fl_vm_stats stats;
    uint64_t last;
    image_make("image", 1024, options);
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    for (unsigned round = 0; round < 3; round++) {
        unsigned whole = fill(mount, &last);
        assert_true(whole > 5);
        assert_int_equal(mount->sync(mount), 0);
        fl_vm_stats(&stats);
        assert_int_equal(stats.io_errors, 0);
        fs_unmount(mount);
        image_is_clean(disk);
        mount = fs_mount(disk, false);
        filled_is_there(mount, whole, last);
        for (unsigned i = 0; i <= whole; i++) {
            char path[32];
            snprintf(path, sizeof path, "/fill%u", i);
            assert_int_equal(fs_unlink(mount, path), 0);
        }
    }
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

static void test_full(void **state)
{
    (void)state;
    full_disk("-b 1024 -N 64");
    full_disk("-b 4096 -N 64");
}

/* A store through a mapping into a hole hears of a full disk at once, and what was stored before is kept. */
static void test_full_mapped(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct inode *inode;
    struct vnode *vnode;
    uint64_t stored = 0;
    uint8_t byte = 7;
    (void)state;
    image_make("image", 1024, "-b 1024 -N 16");
    struct sim_disk *disk = image_disk("image", 512, 5);
    test_boot(&params);
    struct mount *mount = fs_mount(disk, false);
    struct vm_map *map = test_space();
    assert_int_equal(fs_create(mount, "/holes", S_IFREG | 0600, 0), 0);
    assert_int_equal(fs_truncate(mount, "/holes", 2 << 20), 0);
    assert_int_equal(fs_walk(mount, "/holes", &inode), 0);
    assert_int_equal(inode->ops->vnode(inode, &vnode), 0);
    struct fl_file file = {.vnode = vnode, .mode = FL_FREAD | FL_FWRITE};
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 512);
    int error = 0;
    while (error == 0 && stored < 512) {
        uint64_t page = stored * 37 % 512;
        error = sim_store(map, va + ptoa(page), &byte, 1, NULL);
        stored += error == 0;
    }
    assert_int_equal(error, -ENOSPC);
    assert_true(stored > 150);
    assert_int_equal(fl_vnode_fsync(vnode, 0, NULL), 0);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(vnode), 0);
    inode_put(inode);
    fs_unmount(mount);
    mount = fs_mount(disk, true);
    assert_int_equal(fs_read(mount, "/holes", 0, bytes, MAX_FILE), MAX_FILE);
    memset(expect, 0, sizeof expect);
    for (uint64_t i = 0; i < stored; i++)
        expect[ptoa(i * 37 % 512)] = 7;
    assert_memory_equal(bytes, expect, MAX_FILE);
    fs_unmount(mount);
    sim_shutdown();
    image_is_clean(disk);
    sim_disk_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),        cmocka_unit_test(test_index),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_kinds),       cmocka_unit_test(test_statfs), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_unlinked),    cmocka_unit_test(test_full),   cmocka_unit_test(test_short_lived),
        cmocka_unit_test(test_full_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
