/*
 * ext2_tree.c: the model of ext2_tree.h. It is as simple as can be: lists, and all bytes of all files.
 */
#include "kernel/ext2_tree.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAMES 24

/* ---- the model ----------------------------------------------------------------------------------------- */

static struct tree_body *body_new(uint32_t type, struct tree_body *parent)
{
    struct tree_body *body = calloc(1, sizeof *body);
    assert_non_null(body);
    body->type = type;
    body->nlink = S_ISDIR(type) ? 2 : 1;
    body->parent = parent;
    return body;
}

static void body_free(struct tree_body *body)
{
    free(body->bytes);
    free(body);
}

static struct tree_entry *dir_find(struct tree_body *dir, const char *name)
{
    struct tree_entry *entry = dir->entries;
    while (entry != NULL && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry;
}

static void dir_add(struct tree_body *dir, const char *name, struct tree_body *body)
{
    struct tree_entry *entry = calloc(1, sizeof *entry);
    assert_non_null(entry);
    strcpy(entry->name, name);
    entry->body = body;
    entry->next = dir->entries;
    dir->entries = entry;
    if (S_ISDIR(body->type)) {
        body->parent = dir;
        dir->nlink++;
    }
}

/* The entry goes; the body stays. */
static void dir_remove(struct tree_body *dir, struct tree_entry *entry)
{
    struct tree_entry **link = &dir->entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    dir->nlink -= S_ISDIR(entry->body->type) ? 1 : 0;
    free(entry);
}

static void body_drop(struct tree_body *body)
{
    if (S_ISDIR(body->type) || --body->nlink == 0)
        body_free(body);
}

/* Bytes from `offset` on may be on the disk, or not; in its page, a hole may have a block with old bytes. */
static void body_changes(struct tree_body *body, uint64_t offset)
{
    offset = trunc_page(offset);
    body->synced = false;
    body->synced_bytes = offset < body->synced_bytes ? offset : body->synced_bytes;
}

/* The entry, if there is one, is about to go; and perhaps its body, of which nothing is promised then. */
static void entry_goes(struct tree_entry *entry)
{
    if (entry != NULL && entry->body->nlink == 1)
        entry->body->ino = 0;
}

static void body_resize(struct tree_body *body, uint64_t size)
{
    uint8_t *bytes = realloc(body->bytes, size + 1);
    assert_non_null(bytes);
    if (size > body->size)
        memset(bytes + body->size, 0, size - body->size);
    body->bytes = bytes;
    body->size = size;
}

static void body_synced(struct tree_body *body, uint64_t ino)
{
    body->synced = true;
    body->synced_bytes = body->size;
    body->ino = ino;
}

static void tree_free_body(struct tree_body *dir)
{
    while (dir->entries != NULL) {
        struct tree_body *body = dir->entries->body;
        if (S_ISDIR(body->type))
            tree_free_body(body);
        dir_remove(dir, dir->entries);
        body_drop(body);
    }
}

void tree_init(struct tree *tree, struct mount *mount, const char *top, uint64_t seed)
{
    *tree = (struct tree){.mount = mount, .top = top, .max_bytes = 700000};
    prng_init(&tree->prng, seed);
    tree->root = body_new(S_IFDIR, NULL);
    if (top[0] != '\0')
        assert_int_equal(fs_create(mount, top, S_IFDIR | 0755, 0), 0);
}

void tree_free(struct tree *tree)
{
    tree_free_body(tree->root);
    body_free(tree->root);
}

/* ---- places -------------------------------------------------------------------------------------------- */

/* A name in a directory of the tree. */
struct place {
    struct tree_body *dir;
    struct tree_entry *entry; /* NULL: the name is not there */
    char name[NAME_LEN_MAX + 1];
    char path[8192];
};

static uint64_t below(struct tree *tree, uint64_t bound)
{
    return prng_below(&tree->prng, bound);
}

static void draw_name(struct tree *tree, char *name)
{
    unsigned i = (unsigned)below(tree, NAMES);
    int len = sprintf(name, "n%u", i);
    if (i % 4 == 0) { /* long ones, so that directories become longer */
        memset(name + len, 'x', 40 + i * 8);
        name[len + 40 + (int)i * 8] = '\0';
    }
}

/* A random place. want: 0, or a type that the entry shall have, if a few draws find one. */
static void draw_place(struct tree *tree, struct place *place, uint32_t want)
{
    for (unsigned tries = 0; tries < 12; tries++) {
        place->dir = tree->root;
        strcpy(place->path, tree->top);
        while (below(tree, 3) != 0) {
            draw_name(tree, place->name);
            struct tree_entry *entry = dir_find(place->dir, place->name);
            if (entry == NULL || !S_ISDIR(entry->body->type) || strlen(place->path) > 1500)
                continue;
            place->dir = entry->body;
            strcat(strcat(place->path, "/"), place->name);
        }
        draw_name(tree, place->name);
        place->entry = dir_find(place->dir, place->name);
        if (want == 0 || (place->entry != NULL && place->entry->body->type == want))
            break;
    }
    strcat(strcat(place->path, "/"), place->name);
}

/* Was the operation refused for want of memory or space? Then nothing has changed. */
static bool refused(const struct tree *tree, int64_t result)
{
    return result == -ENOSPC || (tree->may_fail && result == -ENOMEM);
}

#define EXPECT(tree, result, expected)                                                                       \
    do {                                                                                                     \
        int64_t result_ = (result);                                                                          \
        if (refused(tree, result_))                                                                          \
            return;                                                                                          \
        assert_int_equal(result_, expected);                                                                 \
        if ((expected) != 0)                                                                                 \
            return;                                                                                          \
    } while (0)

/* ---- operations ---------------------------------------------------------------------------------------- */

static void step_create(struct tree *tree)
{
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFIFO};
    uint32_t type = types[below(tree, 5)];
    struct place place;
    draw_place(tree, &place, 0);
    EXPECT(tree, fs_create(tree->mount, place.path, type | 0644, 0), place.entry != NULL ? -EEXIST : 0);
    dir_add(place.dir, place.name, body_new(type, NULL));
}

static void step_symlink(struct tree *tree)
{
    struct place place;
    char target[1024];
    size_t len = below(tree, 3) == 0 ? 1 + below(tree, 1000) : 1 + below(tree, 80);
    draw_place(tree, &place, 0);
    memset(target, 'a' + (int)below(tree, 26), len);
    target[len] = '\0';
    EXPECT(tree, fs_symlink(tree->mount, place.path, target), place.entry != NULL ? -EEXIST : 0);
    struct tree_body *body = body_new(S_IFLNK, NULL);
    body_resize(body, len);
    memcpy(body->bytes, target, len);
    dir_add(place.dir, place.name, body);
}

static void step_link(struct tree *tree)
{
    struct place from, to;
    draw_place(tree, &from, S_IFREG);
    draw_place(tree, &to, 0);
    if (from.entry == NULL || S_ISDIR(from.entry->body->type))
        return;
    EXPECT(tree, fs_link(tree->mount, from.path, to.path), to.entry != NULL ? -EEXIST : 0);
    from.entry->body->nlink++;
    dir_add(to.dir, to.name, from.entry->body);
}

static void step_unlink(struct tree *tree)
{
    struct place place;
    draw_place(tree, &place, 0);
    int expected = place.entry == NULL                                                      ? -ENOENT
                   : S_ISDIR(place.entry->body->type) && place.entry->body->entries != NULL ? -ENOTEMPTY
                                                                                            : 0;
    entry_goes(place.entry);
    EXPECT(tree, fs_unlink(tree->mount, place.path), expected);
    struct tree_body *body = place.entry->body;
    dir_remove(place.dir, place.entry);
    body_drop(body);
}

static bool is_above(const struct tree_body *above, const struct tree_body *dir)
{
    while (dir != NULL && dir != above)
        dir = dir->parent;
    return dir == above;
}

static int rename_expected(const struct place *from, const struct place *to)
{
    if (from->entry == NULL)
        return -ENOENT;
    if (to->entry == NULL)
        return 0;
    bool from_dir = S_ISDIR(from->entry->body->type), to_dir = S_ISDIR(to->entry->body->type);
    if (from_dir != to_dir)
        return from_dir ? -ENOTDIR : -EISDIR;
    return to_dir && to->entry->body->entries != NULL ? -ENOTEMPTY : 0;
}

static void step_rename(struct tree *tree)
{
    struct place from, to;
    draw_place(tree, &from, below(tree, 2) == 0 ? S_IFREG : S_IFDIR);
    draw_place(tree, &to, 0);
    if (from.entry != NULL && is_above(from.entry->body, to.dir))
        return; /* the path's walk refuses it */
    if (from.entry != NULL && to.entry != NULL && is_above(to.entry->body, from.dir))
        return;
    if (from.entry != NULL && to.entry != NULL && from.entry->body == to.entry->body) {
        EXPECT(tree, fs_rename(tree->mount, from.path, to.path), 0);
        return;
    }
    entry_goes(to.entry);
    EXPECT(tree, fs_rename(tree->mount, from.path, to.path), rename_expected(&from, &to));
    struct tree_body *body = from.entry->body;
    if (to.entry != NULL) {
        struct tree_body *replaced = to.entry->body;
        dir_remove(to.dir, to.entry);
        body_drop(replaced);
    }
    dir_remove(from.dir, from.entry);
    dir_add(to.dir, to.name, body);
}

/* A file of the tree, or NULL. */
static struct tree_body *draw_file(struct tree *tree, struct place *place)
{
    draw_place(tree, place, S_IFREG);
    return place->entry != NULL && S_ISREG(place->entry->body->type) ? place->entry->body : NULL;
}

static void step_write(struct tree *tree)
{
    struct place place;
    struct tree_body *body = draw_file(tree, &place);
    if (body == NULL)
        return;
    uint64_t offset = below(tree, 6) == 0 ? below(tree, tree->max_bytes) : below(tree, body->size + 1);
    size_t len = 1 + below(tree, below(tree, 4) == 0 ? 40000 : 3000);
    uint64_t salt = prng_next(&tree->prng);
    uint8_t *buf = malloc(len);
    assert_non_null(buf);
    for (size_t i = 0; i < len; i++)
        buf[i] = test_byte(salt + i);
    body_changes(body, offset);
    int64_t n = fs_write(tree->mount, place.path, offset, buf, len);
    if (!refused(tree, n)) {
        assert_true(n > 0 && n <= (int64_t)len);
        if (offset + (uint64_t)n > body->size)
            body_resize(body, offset + (uint64_t)n);
        memcpy(body->bytes + offset, buf, (size_t)n);
    }
    free(buf);
}

static void step_truncate(struct tree *tree)
{
    struct place place;
    struct tree_body *body = draw_file(tree, &place);
    if (body == NULL)
        return;
    uint64_t size = below(tree, 3) == 0 ? below(tree, tree->max_bytes) : below(tree, body->size + 1000);
    if (below(tree, 4) == 0)
        size = 0;
    body_changes(body, size);
    EXPECT(tree, fs_truncate(tree->mount, place.path, size), 0);
    body_resize(body, size);
}

static void step_punch(struct tree *tree)
{
    struct place place;
    struct tree_body *body = draw_file(tree, &place);
    if (body == NULL || body->size == 0)
        return;
    uint64_t offset = below(tree, body->size), len = 1 + below(tree, body->size - offset);
    body_changes(body, offset);
    EXPECT(tree, fs_punch(tree->mount, place.path, offset, len), 0);
    memset(body->bytes + offset, 0, len);
}

/* Stores into a mapping of the file, of which some may find the disk full. */
static void store_mapped(struct tree *tree, struct tree_body *body, struct vnode *vnode)
{
    struct fl_file file = {.vnode = vnode, .mode = FL_FREAD | FL_FWRITE};
    size_t whole = round_page(body->size);
    int64_t va = fl_sys_mmap(tree->map, 0, whole, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, &file, 0);
    assert_true(va > 0);
    for (uint64_t i = below(tree, 5); i > 0; i--) {
        uint64_t offset = below(tree, body->size), left = body->size - offset;
        size_t len = 1 + below(tree, left < 6000 ? left : 6000), done = 0;
        uint64_t salt = prng_next(&tree->prng);
        uint8_t *buf = malloc(len);
        assert_non_null(buf);
        for (size_t k = 0; k < len; k++)
            buf[k] = test_byte(salt + k);
        body_changes(body, offset);
        int error = sim_store(tree->map, (vm_offset_t)va + offset, buf, len, &done);
        assert_true(error == 0 || error == -ENOSPC);
        memcpy(body->bytes + offset, buf, done);
        free(buf);
    }
    if (below(tree, 3) == 0)
        assert_int_equal(fl_sys_msync(tree->map, (vm_offset_t)va, whole, FL_MS_SYNC), 0);
    assert_int_equal(fl_sys_munmap(tree->map, (vm_offset_t)va, whole), 0);
}

static void step_store(struct tree *tree)
{
    struct place place;
    struct inode *inode;
    struct vnode *vnode;
    struct tree_body *body = draw_file(tree, &place);
    if (body == NULL || body->size == 0 || tree->map == NULL)
        return;
    EXPECT(tree, fs_walk(tree->mount, place.path, &inode), 0);
    assert_int_equal(inode->ops->vnode(inode, &vnode), 0);
    bool first = below(tree, 2) == 0; /* the mapping may be the file's last use, or not */
    if (first)
        inode_put(inode);
    store_mapped(tree, body, vnode);
    assert_int_equal(fl_vnode_close(vnode), 0);
    if (!first)
        inode_put(inode);
}

/* Space, within the file or behind its end, changes none of its bytes. */
static void step_allocate(struct tree *tree)
{
    struct place place;
    struct tree_body *body = draw_file(tree, &place);
    if (body == NULL)
        return;
    uint64_t offset = below(tree, body->size + 10000);
    body_changes(body, offset);
    EXPECT(tree, fs_allocate(tree->mount, place.path, offset, 1 + below(tree, 40000)), 0);
}

static void step_fsync(struct tree *tree)
{
    struct place place;
    struct tree_body *body = draw_file(tree, &place);
    struct stat st;
    if (body == NULL)
        return;
    EXPECT(tree, fs_fsync(tree->mount, place.path, below(tree, 2) == 0), 0);
    if (fs_stat(tree->mount, place.path, &st) == 0)
        body_synced(body, st.st_ino);
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static void compare_file(struct tree *tree, const char *path, const struct tree_body *body)
{
    uint8_t *bytes = malloc(body->size + 10);
    assert_non_null(bytes);
    int64_t n = fs_read(tree->mount, path, 0, bytes, body->size + 10);
    if (!refused(tree, n)) {
        assert_int_equal(n, body->size);
        if (body->size > 0 && memcmp(bytes, body->bytes, body->size) != 0) {
            uint64_t at = 0;
            while (bytes[at] == body->bytes[at])
                at++;
            fail_msg("%s: byte %llu of %llu is %#x, not %#x", path, (unsigned long long)at,
                     (unsigned long long)body->size, bytes[at], body->bytes[at]);
        }
    }
    free(bytes);
}

static void compare_body(struct tree *tree, const char *path, const struct tree_body *body)
{
    struct stat st;
    char target[4096];
    int error = fs_stat(tree->mount, path, &st);
    if (refused(tree, error))
        return;
    assert_int_equal(error, 0);
    assert_int_equal(st.st_mode & S_IFMT, body->type);
    assert_int_equal(st.st_nlink, body->nlink);
    if (S_ISREG(body->type)) {
        assert_int_equal(st.st_size, body->size);
        compare_file(tree, path, body);
    } else if (S_ISLNK(body->type)) {
        assert_int_equal(fs_readlink(tree->mount, path, target, sizeof target), body->size);
        assert_memory_equal(target, body->bytes, body->size);
    }
}

struct listing {
    struct tree_body *dir;
    unsigned entries;
};

static void list_entry(void *arg, const char *name, unsigned type, uint64_t ino)
{
    struct listing *listing = arg;
    (void)ino;
    if (strcmp(name, "lost+found") == 0)
        return;
    struct tree_entry *entry = dir_find(listing->dir, name);
    assert_non_null(entry);
    assert_int_equal(type, IFTODT(entry->body->type));
    listing->entries++;
}

static void compare_dir(struct tree *tree, const char *path, struct tree_body *dir)
{
    struct listing listing = {.dir = dir};
    unsigned entries = 0;
    int error = fs_readdir(tree->mount, path[0] == '\0' ? "/" : path, list_entry, &listing);
    if (refused(tree, error))
        return;
    assert_int_equal(error, 0);
    for (struct tree_entry *entry = dir->entries; entry != NULL; entry = entry->next, entries++) {
        char at[8192];
        snprintf(at, sizeof at, "%s/%s", path, entry->name);
        compare_body(tree, at, entry->body);
        if (S_ISDIR(entry->body->type))
            compare_dir(tree, at, entry->body);
    }
    assert_int_equal(listing.entries, entries);
}

void tree_compare(struct tree *tree)
{
    compare_dir(tree, tree->top, tree->root);
}

static void step_compare(struct tree *tree)
{
    struct place place;
    draw_place(tree, &place, below(tree, 2) == 0 ? S_IFREG : 0);
    if (place.entry != NULL)
        compare_body(tree, place.path, place.entry->body);
}

static void step_list(struct tree *tree)
{
    struct place place;
    struct listing listing = {0};
    unsigned entries = 0;
    draw_place(tree, &place, S_IFDIR);
    if (place.entry == NULL || !S_ISDIR(place.entry->body->type))
        return;
    listing.dir = place.entry->body;
    EXPECT(tree, fs_readdir(tree->mount, place.path, list_entry, &listing), 0);
    for (struct tree_entry *entry = listing.dir->entries; entry != NULL; entry = entry->next)
        entries++;
    assert_int_equal(listing.entries, entries);
}

void tree_step(struct tree *tree)
{
    static void (*const steps[])(struct tree *) = {
        step_create, step_create,  step_create,   step_symlink,  step_link,     step_unlink,
        step_unlink, step_rename,  step_rename,   step_write,    step_write,    step_write,
        step_write,  step_write,   step_punch,    step_truncate, step_truncate, step_fsync,
        step_list,   step_compare, step_allocate, step_store,    step_store,
    };
    steps[below(tree, sizeof steps / sizeof steps[0])](tree);
}

/* ---- what is synced ------------------------------------------------------------------------------------ */

static void synced_dir(struct tree *tree, const char *path, struct tree_body *dir)
{
    for (struct tree_entry *entry = dir->entries; entry != NULL; entry = entry->next) {
        char at[8192];
        struct stat st;
        snprintf(at, sizeof at, "%s/%s", path, entry->name);
        if (S_ISREG(entry->body->type) && fs_stat(tree->mount, at, &st) == 0)
            body_synced(entry->body, st.st_ino);
        if (S_ISDIR(entry->body->type))
            synced_dir(tree, at, entry->body);
    }
}

void tree_synced(struct tree *tree)
{
    synced_dir(tree, tree->top, tree->root);
}

static void each_synced(struct tree_body *dir, void (*fn)(void *arg, const struct tree_body *body), void *arg)
{
    for (struct tree_entry *entry = dir->entries; entry != NULL; entry = entry->next) {
        if (S_ISDIR(entry->body->type))
            each_synced(entry->body, fn, arg);
        else if (S_ISREG(entry->body->type) && entry->body->ino != 0)
            fn(arg, entry->body);
    }
}

void tree_each_synced(struct tree *tree, void (*fn)(void *arg, const struct tree_body *body), void *arg)
{
    each_synced(tree->root, fn, arg);
}
