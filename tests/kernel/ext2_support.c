/*
 * ext2_support.c: the kernel around ext2, as far as it needs one; images; paths.
 */
#include "kernel/ext2_support.h"

#include "x86_64/kmem.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the kernel ---------------------------------------------------------------------------------------- */

uint32_t kmem_fail_nth, kmem_fail_more;
uint64_t kmem_pieces;

void *kmalloc(size_t len_bytes)
{
    if (kmem_fail_nth > 0 && --kmem_fail_nth == 0) {
        if (kmem_fail_more > 0) {
            kmem_fail_more--;
            kmem_fail_nth = 1;
        }
        return NULL;
    }
    kmem_pieces++;
    return calloc(1, len_bytes);
}

void kfree(void *memory)
{
    kmem_pieces -= memory != NULL;
    free(memory);
}

int64_t wall_time_ns(void); /* proc/proc.h, whose names collide with the C library's */

int64_t wall_time_ns(void)
{
    return INT64_C(1700000000000000000) + (int64_t)machine_time_ns();
}

/* ---- images -------------------------------------------------------------------------------------------- */

char image_said[65536];
static char folder[64];

static void folder_remove(void)
{
    (void)!image_run("rm -rf %s", folder);
}

const char *image_path(const char *name)
{
    static char path[4][256];
    static unsigned next;
    if (folder[0] == '\0') {
        /* in memory, where there is one: e2fsck flushes what it writes */
        snprintf(folder, sizeof folder, "%s/faultline-ext2.XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(folder));
        atexit(folder_remove);
    }
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

int image_run(const char *format, ...)
{
    char command[2048], whole[2200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    snprintf(whole, sizeof whole, "PATH=$PATH:/sbin:/usr/sbin; { %s; } 2>&1 </dev/null", command);
    FILE *pipe = popen(whole, "r");
    assert_non_null(pipe);
    size_t len = fread(image_said, 1, sizeof image_said - 1, pipe);
    image_said[len] = '\0';
    while (fgetc(pipe) != EOF)
        ;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void image_make(const char *name, uint32_t kib, const char *options)
{
    const char *path = image_path(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint64_t at = 0; at < (uint64_t)kib << 10; at += sizeof(uint64_t)) {
        uint64_t old = prng_mix(at);
        assert_int_equal(fwrite(&old, sizeof old, 1, file), 1);
    }
    fclose(file);
    if (image_run("mke2fs -q -F -t ext2 -E nodiscard %s %s %uk", options, path, kib) != 0)
        fail_msg("mke2fs %s: %s", options, image_said);
}

struct sim_disk *image_disk(const char *name, uint32_t block_bytes, uint64_t seed)
{
    char buf[65536];
    struct stat st;
    size_t len;
    FILE *file = fopen(image_path(name), "r");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    struct sim_disk *disk = sim_disk_create((uint64_t)st.st_size, seed);
    sim_disk_set_block(disk, block_bytes);
    for (uint64_t at = 0; (len = fread(buf, 1, sizeof buf, file)) > 0; at += len)
        sim_disk_write(disk, at, buf, len);
    fclose(file);
    return disk;
}

void image_save(const struct sim_disk *disk, const char *name)
{
    char buf[65536];
    uint64_t size = sim_disk_size(disk);
    FILE *file = fopen(image_path(name), "w");
    assert_non_null(file);
    for (uint64_t at = 0; at < size; at += sizeof buf) {
        size_t len = size - at < sizeof buf ? (size_t)(size - at) : sizeof buf;
        sim_disk_read(disk, at, buf, len);
        assert_int_equal(fwrite(buf, 1, len, file), len);
    }
    fclose(file);
}

void image_is_clean(const struct sim_disk *disk)
{
    image_save(disk, "check");
    if (image_run("e2fsck -fn %s", image_path("check")) != 0 || strstr(image_said, "WARNING") != NULL)
        fail_msg("e2fsck: %s", image_said);
    if (image_run("dumpe2fs -h %s | grep -q 'state:.* clean$'", image_path("check")) != 0)
        fail_msg("the file system is not clean");
}

/* ---- mounts -------------------------------------------------------------------------------------------- */

int fs_try_mount(struct sim_disk *disk, bool read_only, struct mount **mount)
{
    struct vnode *device;
    struct store *store = sim_disk_open(disk, read_only);
    int error = fl_vnode_open(store, &device);
    if (error != 0) {
        store->ops->close(store);
        return error;
    }
    error = ext2_mount(device, read_only, mount);
    int close = fl_vnode_close(device);
    return error != 0 ? error : close;
}

struct mount *fs_mount(struct sim_disk *disk, bool read_only)
{
    struct mount *mount;
    assert_int_equal(fs_try_mount(disk, read_only, &mount), 0);
    return mount;
}

void fs_unmount(struct mount *mount)
{
    assert_int_equal(mount->unmount(mount), 0);
}

/* ---- paths --------------------------------------------------------------------------------------------- */

/* The directory of the path's last name; *name: that name. */
static int walk_parent(struct mount *mount, const char *path, struct inode **dir, const char **name)
{
    struct inode *at = inode_get(mount->root);
    const char *slash;
    path++;
    while ((slash = strchr(path, '/')) != NULL) {
        struct inode *next;
        int error = -ENOTDIR;
        sleep_lock(&at->lock);
        if (at->ops->lookup != NULL)
            error = at->ops->lookup(at, path, (size_t)(slash - path), &next);
        sleep_unlock(&at->lock);
        inode_put(at);
        if (error != 0)
            return error;
        at = next;
        path = slash + 1;
    }
    *dir = at;
    *name = path;
    return 0;
}

static int lookup_locked(struct inode *dir, const char *name, struct inode **inode)
{
    return dir->ops->lookup == NULL ? -ENOTDIR : dir->ops->lookup(dir, name, strlen(name), inode);
}

int fs_walk(struct mount *mount, const char *path, struct inode **inode)
{
    struct inode *dir;
    const char *name;
    if (strcmp(path, "/") == 0) {
        *inode = inode_get(mount->root);
        return 0;
    }
    int error = walk_parent(mount, path, &dir, &name);
    if (error != 0)
        return error;
    sleep_lock(&dir->lock);
    error = lookup_locked(dir, name, inode);
    sleep_unlock(&dir->lock);
    inode_put(dir);
    return error;
}

/* The parent, locked, in which the name is not. */
static int begin_new(struct mount *mount, const char *path, struct inode **dir, const char **name)
{
    struct inode *there;
    int error = walk_parent(mount, path, dir, name);
    if (error != 0)
        return error;
    sleep_lock(&(*dir)->lock);
    error = lookup_locked(*dir, *name, &there);
    if (error == 0)
        inode_put(there);
    if (error != -ENOENT) {
        sleep_unlock(&(*dir)->lock);
        inode_put(*dir);
        return error == 0 ? -EEXIST : error;
    }
    return 0;
}

static int end_new(struct inode *dir, int error)
{
    sleep_unlock(&dir->lock);
    inode_put(dir);
    return error;
}

int fs_create(struct mount *mount, const char *path, uint32_t mode, uint64_t rdev)
{
    struct inode *dir, *inode;
    const char *name;
    int error = begin_new(mount, path, &dir, &name);
    if (error != 0)
        return error;
    error = end_new(dir, dir->ops->create(dir, name, strlen(name), mode, rdev, &inode));
    if (error == 0)
        inode_put(inode);
    return error;
}

int fs_symlink(struct mount *mount, const char *path, const char *target)
{
    struct inode *dir;
    const char *name;
    int error = begin_new(mount, path, &dir, &name);
    return error != 0 ? error : end_new(dir, dir->ops->symlink(dir, name, strlen(name), target));
}

int fs_link(struct mount *mount, const char *old, const char *path)
{
    struct inode *dir, *inode;
    const char *name;
    int error = fs_walk(mount, old, &inode);
    if (error != 0)
        return error;
    error = begin_new(mount, path, &dir, &name);
    if (error == 0)
        error = end_new(dir, dir->ops->link(dir, name, strlen(name), inode));
    inode_put(inode);
    return error;
}

int fs_unlink(struct mount *mount, const char *path)
{
    struct inode *dir, *inode = NULL;
    const char *name;
    int error = walk_parent(mount, path, &dir, &name);
    if (error != 0)
        return error;
    sleep_lock(&dir->lock);
    error = lookup_locked(dir, name, &inode);
    if (error == 0)
        error = dir->ops->unlink(dir, name, strlen(name), inode);
    error = end_new(dir, error);
    if (inode != NULL)
        inode_put(inode);
    return error;
}

static void lock_dirs(struct inode *a, struct inode *b)
{
    sleep_lock(a < b ? &a->lock : &b->lock);
    if (a != b)
        sleep_lock(a < b ? &b->lock : &a->lock);
}

static int rename_locked(struct inode *from_dir, const char *from, struct inode *to_dir, const char *to)
{
    struct inode *inode, *replaced = NULL;
    int error = lookup_locked(from_dir, from, &inode);
    if (error != 0)
        return error;
    error = lookup_locked(to_dir, to, &replaced);
    if (error == 0 && S_ISDIR(replaced->mode) != S_ISDIR(inode->mode))
        error = S_ISDIR(inode->mode) ? -ENOTDIR : -EISDIR;
    else if (error == -ENOENT)
        error = 0;
    if (error == 0)
        error = from_dir->ops->rename(from_dir, from, strlen(from), to_dir, to, strlen(to), inode, replaced);
    if (replaced != NULL)
        inode_put(replaced);
    inode_put(inode);
    return error;
}

int fs_rename(struct mount *mount, const char *from, const char *to)
{
    struct inode *from_dir, *to_dir;
    const char *from_name, *to_name;
    int error = walk_parent(mount, from, &from_dir, &from_name);
    if (error != 0)
        return error;
    error = walk_parent(mount, to, &to_dir, &to_name);
    if (error != 0) {
        inode_put(from_dir);
        return error;
    }
    sleep_lock(&mount->rename_lock);
    lock_dirs(from_dir, to_dir);
    error = rename_locked(from_dir, from_name, to_dir, to_name);
    sleep_unlock(&from_dir->lock);
    if (to_dir != from_dir)
        sleep_unlock(&to_dir->lock);
    sleep_unlock(&mount->rename_lock);
    inode_put(from_dir);
    inode_put(to_dir);
    return error;
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* *inode and *vnode, each with a reference. */
static int file_open(struct mount *mount, const char *path, struct inode **inode, struct vnode **vnode)
{
    int error = fs_walk(mount, path, inode);
    if (error != 0)
        return error;
    error = (*inode)->ops->vnode == NULL ? -EISDIR : (*inode)->ops->vnode(*inode, vnode);
    if (error != 0)
        inode_put(*inode);
    return error;
}

static int64_t file_close(struct inode *inode, struct vnode *vnode, int64_t result)
{
    int error = fl_vnode_close(vnode);
    inode_put(inode);
    return result < 0 || error == 0 ? result : error;
}

int64_t fs_write(struct mount *mount, const char *path, uint64_t offset, const void *bytes, size_t len_bytes)
{
    struct inode *inode;
    struct vnode *vnode;
    int64_t result = file_open(mount, path, &inode, &vnode);
    if (result != 0)
        return result;
    uint64_t space = len_bytes;
    result = fl_vnode_allocate(vnode, offset, &space);
    if (result == 0) {
        struct fl_iovec iov = {(void *)(uintptr_t)bytes, (size_t)space};
        struct fl_iocb iocb = {.offset = offset};
        result = fl_vnode_write(vnode, &iov, 1, &iocb);
    }
    return file_close(inode, vnode, result);
}

int64_t fs_read(struct mount *mount, const char *path, uint64_t offset, void *bytes, size_t len_bytes)
{
    struct inode *inode;
    struct vnode *vnode;
    int64_t result = file_open(mount, path, &inode, &vnode);
    if (result != 0)
        return result;
    struct fl_iovec iov = {bytes, len_bytes};
    struct fl_iocb iocb = {.offset = offset};
    result = fl_vnode_read(vnode, &iov, 1, &iocb);
    return file_close(inode, vnode, result);
}

int fs_truncate(struct mount *mount, const char *path, uint64_t len_bytes)
{
    struct inode *inode;
    struct vnode *vnode;
    int error = file_open(mount, path, &inode, &vnode);
    return error != 0 ? error : (int)file_close(inode, vnode, fl_vnode_truncate(vnode, len_bytes));
}

int fs_allocate(struct mount *mount, const char *path, uint64_t offset, uint64_t len_bytes)
{
    struct inode *inode;
    struct vnode *vnode;
    int error = file_open(mount, path, &inode, &vnode);
    return error != 0 ? error : (int)file_close(inode, vnode, fl_vnode_allocate(vnode, offset, &len_bytes));
}

int fs_punch(struct mount *mount, const char *path, uint64_t offset, uint64_t len_bytes)
{
    struct inode *inode;
    struct vnode *vnode;
    int error = file_open(mount, path, &inode, &vnode);
    return error != 0 ? error : (int)file_close(inode, vnode, fl_vnode_punch(vnode, offset, len_bytes));
}

int fs_fsync(struct mount *mount, const char *path, bool data_only)
{
    struct inode *inode;
    struct vnode *vnode;
    int error = fs_walk(mount, path, &inode);
    if (error != 0)
        return error;
    if (inode->ops->vnode != NULL) {
        error = inode->ops->vnode(inode, &vnode);
        if (error == 0) {
            error = fl_vnode_fsync(vnode, data_only ? FL_FSYNC_DATA : 0, NULL);
            int close = fl_vnode_close(vnode);
            error = error != 0 ? error : close;
        }
    }
    if (error == 0 && !data_only)
        error = inode->ops->fsync != NULL ? inode->ops->fsync(inode) : 0;
    inode_put(inode);
    return error;
}

int fs_readlink(struct mount *mount, const char *path, char *target, size_t max)
{
    struct inode *inode;
    int error = fs_walk(mount, path, &inode);
    if (error != 0)
        return error;
    error = inode->ops->readlink == NULL ? -EINVAL : inode->ops->readlink(inode, target, max);
    inode_put(inode);
    return error;
}

int fs_stat(struct mount *mount, const char *path, struct stat *st)
{
    struct inode *inode;
    int error = fs_walk(mount, path, &inode);
    if (error != 0)
        return error;
    sleep_lock(&inode->lock);
    *st = (struct stat){.st_mode = inode->mode,
                        .st_nlink = inode->nlink,
                        .st_uid = inode->uid,
                        .st_gid = inode->gid,
                        .st_rdev = inode->rdev,
                        .st_size = (off_t)inode->size_bytes,
                        .st_blocks = (blkcnt_t)inode->blocks,
                        .st_ino = inode->ino};
    st->st_mtim.tv_sec = inode->mtime_ns / 1000000000;
    sleep_unlock(&inode->lock);
    if (S_ISREG(inode->mode) && mount->sync == NULL) { /* in memory: only the vnode knows the length */
        struct vnode *vnode;
        error = inode->ops->vnode(inode, &vnode);
        if (error == 0) {
            st->st_size = (off_t)fl_vnode_size(vnode);
            error = fl_vnode_close(vnode);
        }
    }
    inode_put(inode);
    return error;
}

struct readdir_arg {
    void (*fn)(void *arg, const char *name, unsigned type, uint64_t ino);
    void *arg;
    unsigned left; /* entries until the buffer is full */
};

static int readdir_emit(void *arg, const char *name, size_t len_bytes, uint64_t ino, unsigned type,
                        uint64_t next)
{
    struct readdir_arg *r = arg;
    char copy[NAME_LEN_MAX + 1];
    (void)next;
    if (r->left-- == 0)
        return -EINVAL;
    memcpy(copy, name, len_bytes);
    copy[len_bytes] = '\0';
    if (strcmp(copy, ".") != 0 && strcmp(copy, "..") != 0)
        r->fn(r->arg, copy, type, ino);
    return 0;
}

int fs_readdir(struct mount *mount, const char *path,
               void (*fn)(void *arg, const char *name, unsigned type, uint64_t ino), void *arg)
{
    struct readdir_arg r = {.fn = fn, .arg = arg};
    struct inode *inode;
    uint64_t pos = 0, before;
    int error = fs_walk(mount, path, &inode);
    if (error != 0)
        return error;
    do { /* in small bites, as getdents gets them */
        r.left = 7;
        before = pos;
        sleep_lock(&inode->lock);
        error = inode->ops->readdir == NULL ? -ENOTDIR : inode->ops->readdir(inode, &pos, readdir_emit, &r);
        sleep_unlock(&inode->lock);
    } while (error == -EINVAL && pos != before);
    inode_put(inode);
    return error;
}
