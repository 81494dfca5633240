/*
 * files.c: the table of managed files (files.h).
 *
 *   key_bucket[hash(dev, ino)] ─▶ file ─▶ file      by next_key
 *   vnode_bucket[hash(vnode)] ──▶ file ─▶ file      by next_vnode
 *   file_all ─▶ file ⇄ file ⇄ file                  by next, prev
 *   files_few[8], files_more                        for a look without (S)
 *   may_be: a bit for each hash of a file that was ever in the table; 0 is certain
 *
 * Lock: (S) for everything but the atomics.
 *
 * Does not do: how a file comes to be and ends (file.c), files that nothing maps (file_idle.c).
 */
#include "files.h"
#include "file_idle.h"
#include "watch.h"

#define FILE_BUCKETS 4096
#define MAY_BE_BITS  65536

static struct file *key_bucket[FILE_BUCKETS] FL_GUARDED_BY(shim_lock);
static struct file *vnode_bucket[FILE_BUCKETS] FL_GUARDED_BY(shim_lock);
static struct file *file_all FL_GUARDED_BY(shim_lock);
static _Atomic uint64_t may_be[MAY_BE_BITS / 64];

_Atomic uint32_t files_mapped;
_Atomic uint32_t files_writable;
struct file *_Atomic files_few[FILES_FEW];
_Atomic uint32_t files_more;
_Atomic uint32_t files_generation = 1;

/* ---- lookup ---------------------------------------------------------------------------------------- */

static struct file **key_hash(dev_t dev, ino_t ino)
{
    return &key_bucket[((dev * 31 + ino) * 0x9e3779b97f4a7c15u) >> 32 & (FILE_BUCKETS - 1)];
}

static struct file **vnode_hash(const struct vnode *vnode)
{
    return &vnode_bucket[((uintptr_t)vnode * 0x9e3779b97f4a7c15u) >> 32 & (FILE_BUCKETS - 1)];
}

struct file *file_find(dev_t dev, ino_t ino)
{
    struct file *file = *key_hash(dev, ino);

    while (file != NULL && (file->dev != dev || file->ino != ino))
        file = file->next_key;
    return file;
}

struct file *file_of_vnode(const struct vnode *vnode)
{
    struct file *file = *vnode_hash(vnode);

    while (file != NULL && file->handle->vnode != vnode)
        file = file->next_vnode;
    return file;
}

struct file *file_of_handle(uint64_t hash)
{
    struct file *file = file_all;

    while (file != NULL && (file->handle_hash == 0 || file->handle_hash != hash))
        file = file->next;
    return file;
}

struct file *file_at(vm_offset_t va)
{
    struct fl_region region;

    if (fl_space_region(fl_space(), va, &region) != 0 || region.start > va)
        return NULL;
    return file_of_region(&region);
}

struct file *file_of_region(const struct fl_region *region)
{
    return region->vnode != NULL ? file_of_vnode(region->vnode) : NULL;
}

struct file *file_first(void)
{
    return file_all;
}

struct file *file_next(const struct file *file)
{
    return file->next;
}

/* ---- looks without (S) ----------------------------------------------------------------------------- */

void files_generation_next(void)
{
    if (++files_generation == 0)
        ++files_generation;
}

static void few_add(struct file *file)
{
    for (int i = 0; i < FILES_FEW; i++) {
        if (files_few[i] == NULL) {
            files_few[i] = file;
            return;
        }
    }
    files_more++;
}

static void few_remove(const struct file *file)
{
    for (int i = 0; i < FILES_FEW; i++) {
        if (files_few[i] == file) {
            files_few[i] = NULL;
            return;
        }
    }
    files_more--;
}

static uint32_t may_be_bit(dev_t dev, ino_t ino)
{
    return (uint32_t)(((dev * 31 + ino) * 0x9e3779b97f4a7c15u) >> 48) & (MAY_BE_BITS - 1);
}

bool file_may_be(dev_t dev, ino_t ino)
{
    uint32_t bit = may_be_bit(dev, ino);

    return files_mapped != 0 && (may_be[bit / 64] >> bit % 64 & 1) != 0;
}

/* ---- membership ------------------------------------------------------------------------------------ */

void files_add(struct file *file)
{
    uint32_t bit = may_be_bit(file->dev, file->ino);

    file->next_key = *key_hash(file->dev, file->ino);
    *key_hash(file->dev, file->ino) = file;
    file->next_vnode = *vnode_hash(file->vnode);
    *vnode_hash(file->vnode) = file;
    file->prev = NULL;
    file->next = file_all;
    if (file_all != NULL)
        file_all->prev = file;
    file_all = file;
    files_writable += (file->mode & FL_FWRITE) != 0;
    few_add(file);
    may_be[bit / 64] |= (uint64_t)1 << bit % 64;
}

void files_remove(struct file *file)
{
    struct file **at;

    for (at = key_hash(file->dev, file->ino); *at != file;)
        at = &(*at)->next_key;
    *at = file->next_key;
    for (at = vnode_hash(file->vnode); *at != file;)
        at = &(*at)->next_vnode;
    *at = file->next_vnode;
    if (file->prev != NULL)
        file->prev->next = file->next;
    else
        file_all = file->next;
    if (file->next != NULL)
        file->next->prev = file->prev;
    few_remove(file);
    files_writable -= (file->mode & FL_FWRITE) != 0;
}

/* ---- all files ------------------------------------------------------------------------------------- */

int files_sync_locked(const dev_t *dev)
{
    int first = 0;

    for (struct file *file = file_all; file != NULL; file = file->next) {
        int error = dev == NULL || file->dev == *dev ? fl_vnode_sync(file->vnode, 0, UINT64_MAX) : 0;

        if (first == 0)
            first = error;
    }
    return first;
}

int files_sync(const dev_t *dev)
{
    sigset_t saved;
    int error;

    if (files_mapped == 0 || !shim_on())
        return 0;
    shim_enter(&saved);
    error = files_sync_locked(dev);
    shim_leave(&saved);
    return error;
}

void files_unmark(void)
{
    for (struct file *file = file_all; file != NULL; file = file->next)
        file->written = file->inherited = false;
}

void files_forked(void)
{
    for (struct file *file = file_all; file != NULL; file = file->next) {
        file->bypass = true;
        watch_forked(file);
    }
    file_idle_trim(0, 0);
}
