/*
 * files.c: the files behind managed mappings: which vnode is which file of the program's, and a descriptor
 * of our own for each.
 *
 *   key_bucket[hash(dev, ino)] ─▶ file ─▶ file    a file: vnode, our descriptor, bytes mapped
 *   vnode_bucket[hash(vnode)] ──▶ file
 *   all ─▶ file ⇄ file
 *   unmapped ─▶ file ─▶ file    mapped_bytes fell to 0: file_reap looks what becomes of them
 *   idle: oldest ⇄ file ⇄ newest    nothing maps them: known and cached for a while yet
 *
 * The program may close its descriptor right after mmap; fork still has to map the file again, in the
 * child, by a descriptor that has at least the rights of the mappings. The file's store has one, out of the
 * way of the program's own numbers; it is the only one.
 *
 * Programs map a file anew again and again. So with its last mapped byte and the last call on it a file
 * becomes idle: it is forgotten, and nothing of it cached, only FILES_IDLE_NS later, or when FILES_IDLE_MAX
 * others came after it. Until then calls on it are served from the cache, and the next mmap holds the cache
 * against the file (file_revalidate). Not so where that would be noticed (idle_is_harmless): of an unlinked
 * file the space is to be free, and a program that was written so is to be executed (ETXTBSY).
 *
 * A struct file is never given back, so that a descriptor's slot may point to one that is another file's by
 * now (fdtable.h).
 *
 * Lock: (S) for everything here but references. The memory comes from the kernel by pages and never from
 * the program's malloc: a mapping call may come from a signal handler.
 */
#include "fresh.h"
#include "linux_fd.h"
#include "registry.h"
#include "watch.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stores.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FILE_BUCKETS   4096
#define FILES_IDLE_MAX 128
#define FILES_IDLE_NS  10000000000u

static struct file *key_bucket[FILE_BUCKETS];   /* (S) by next_key */
static struct file *vnode_bucket[FILE_BUCKETS]; /* (S) by next_vnode */
static struct file *file_all;                   /* (S) by next */
static struct file *file_unmapped;              /* (S) by next_unmapped */
static struct {
    struct file *oldest, *newest; /* (S) by next_idle, prev_idle */
    uint32_t n;
} idle;                         /* (S) */
static struct file *file_spare; /* (S) by next_key */

/* A hash of each file that ever was there: a no is certain. */
#define MAY_BE_BITS 65536
static _Atomic uint64_t may_be[MAY_BE_BITS / 64];

_Atomic uint32_t files_mapped;
struct file *_Atomic files_few[FILES_FEW];
_Atomic uint32_t files_more;
_Atomic uint32_t files_generation = 1;

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

    if (fl_space_region(fl_space(), va, &region) != 0 || region.start > va || region.vnode == NULL)
        return NULL;
    return file_of_vnode(region.vnode);
}

void file_path(int fd, ino_t ino, char path[PATH_MAX])
{
    char link[32];
    long len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = linux_syscall(SYS_readlink, link, path, PATH_MAX - 1);
    if (len > 0)
        path[len] = '\0';
    else
        snprintf(path, PATH_MAX, "inode %lu", (unsigned long)ino);
}

struct file *file_first(void)
{
    return file_all;
}

struct file *file_next(const struct file *file)
{
    return file->next;
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

/* ---- birth and death ------------------------------------------------------------------------------- */

/* Dead, and all but its references zero. */
static struct file *file_alloc(void)
{
    struct file *file = file_spare;

    if (file == NULL) {
        long page =
            linux_syscall(SYS_mmap, 0, VM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

        if (page < 0)
            return NULL;
        file = (struct file *)page;
        for (size_t i = 0; i < VM_PAGE_SIZE / sizeof *file; i++) {
            file[i].refs = FILE_DEAD;
            file[i].next_key = file_spare;
            file_spare = &file[i];
        }
        file = file_spare;
    }
    file_spare = file->next_key;
    file->next_key = file->next_vnode = file->next_unmapped = file->next_idle = file->prev_idle = NULL;
    file->unmapped = file->idle = file->came_back = file->written = file->inherited = false;
    file->beside = file->told_overwritten = false;
    file->mapped_bytes = file->size_seen = file->ctime_seen = 0;
    return file;
}

/* The descriptor of the file's store: the only one of our own. */
static int file_fd(const struct file *file)
{
    return fl_store_file_fd(fl_vnode_store(file->vnode));
}

/* fd has rights that the file's descriptor and store lack: it is opened again. */
static int file_upgrade(struct file *file, int fd, unsigned mode)
{
    struct fl_file *handle;
    int error = fl_open_fd(fd, &handle);

    if (error != 0)
        return error;
    watch_forget(file);
    (void)!fl_close(file->handle); /* the new handle keeps the vnode */
    file->handle = handle;
    file->fd = file_fd(file);
    file->mode |= mode; /* the right to write is the only one that can have been missing */
    watch_file(file);
    return 0;
}

static void idle_trim(uint32_t most, uint64_t before);

static int file_open(int fd, const struct stat *st, unsigned mode, struct file **out)
{
    struct file *file = file_alloc();
    int error;

    if (file == NULL)
        return -ENOMEM;
    error = fl_open_fd(fd, &file->handle);
    if (error == -EMFILE && idle.n > 0) { /* those cost one each */
        idle_trim(0, 0);
        error = fl_open_fd(fd, &file->handle);
    }
    if (error != 0)
        goto fail;
    file->vnode = file->handle->vnode;
    file->fd = file_fd(file);
    file->dev = st->st_dev;
    file->ino = st->st_ino;
    file->mode = mode;
    file->size_seen = (uint64_t)st->st_size;
    file->next_key = *key_hash(file->dev, file->ino);
    *key_hash(file->dev, file->ino) = file;
    file->next_vnode = *vnode_hash(file->handle->vnode);
    *vnode_hash(file->handle->vnode) = file;
    file->prev = NULL;
    file->next = file_all;
    if (file_all != NULL)
        file_all->prev = file;
    file_all = file;
    few_add(file);
    may_be[may_be_bit(file->dev, file->ino) / 64] |= (uint64_t)1 << may_be_bit(file->dev, file->ino) % 64;
    watch_file(file);
    atomic_store(&file->refs, 0);
    files_mapped++;
    files_generation_next();
    *out = file;
    return 0;

fail:
    file->next_key = file_spare;
    file_spare = file;
    return error;
}

int file_get(int fd, const struct stat *st, unsigned mode, struct file **out)
{
    struct file *file = file_find(st->st_dev, st->st_ino);

    if (file == NULL)
        return file_open(fd, st, mode, out);
    *out = file;
    if (!file->beside)
        file_revalidate(file, st);
    return (mode & ~file->mode) != 0 ? file_upgrade(file, fd, mode) : 0;
}

/*
 * Nothing of it stays cached, whoever else has the vnode for a moment (the flusher does): from now on the
 * kernel's calls read and write the file. Errors: of write-backs.
 */
static int file_write_back(struct file *file)
{
    int error = fl_vnode_sync(file->vnode, 0, UINT64_MAX);
    int closed;

    if (error == 0)
        fl_vnode_invalidate(file->vnode, 0, UINT64_MAX);
    watch_forget(file); /* by the descriptor, which goes with the handle */
    closed = fl_close(file->handle);
    return error != 0 ? error : closed;
}

/* The file is dead: nobody refers to it. */
static void file_close(struct file *file)
{
    struct file **at;
    int error;

    for (at = key_hash(file->dev, file->ino); *at != file;)
        at = &(*at)->next_key;
    *at = file->next_key;
    for (at = vnode_hash(file->handle->vnode); *at != file;)
        at = &(*at)->next_vnode;
    *at = file->next_vnode;
    if (file->prev != NULL)
        file->prev->next = file->next;
    else
        file_all = file->next;
    few_remove(file);
    if (file->next != NULL)
        file->next->prev = file->prev;
    error = file_write_back(file);
    if (error != 0)
        shim_say("data written to a mapping is lost: inode %lu: %s", (unsigned long)file->ino,
                 strerrordesc_np(-error));
    registry_forget(file->dev, file->ino);
    files_mapped--;
    file->next_key = file_spare;
    file_spare = file;
}

/* ---- idle files ------------------------------------------------------------------------------------ */

static uint64_t idle_now(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void idle_remove(struct file *file)
{
    if (!file->idle)
        return;
    *(file->prev_idle != NULL ? &file->prev_idle->next_idle : &idle.oldest) = file->next_idle;
    *(file->next_idle != NULL ? &file->next_idle->prev_idle : &idle.newest) = file->prev_idle;
    file->idle = false;
    idle.n--;
}

/* As the newest, wherever it was. */
static void idle_add(struct file *file)
{
    idle_remove(file);
    file->idle = true;
    file->idle_since_ns = idle_now();
    file->next_idle = NULL;
    file->prev_idle = idle.newest;
    *(idle.newest != NULL ? &idle.newest->next_idle : &idle.oldest) = file;
    idle.newest = file;
    idle.n++;
}

/* Whether nobody minds that we have the file open though nothing maps it. */
static bool idle_is_harmless(const struct file *file)
{
    struct stat st;

    if (file->beside || linux_syscall(SYS_fstat, file->fd, &st) != 0 || st.st_nlink == 0)
        return false;
    return (file->mode & FL_FWRITE) == 0 || (st.st_mode & 0111) == 0;
}

/*
 * What is dirty of a file that becomes idle is written at once: others may be told of it. Not so of one
 * that comes back again and again, if we are told that another process opens it (watch.c).
 */
static bool idle_may_be_dirty(const struct file *file)
{
    return file->came_back && file->handle_hash != 0;
}

/* Nothing maps the file. False: a call uses it, and it is left to file_release. */
static bool file_try_close(struct file *file)
{
    uint32_t none = 0;

    if (!atomic_compare_exchange_strong(&file->refs, &none, FILE_DEAD))
        return false;
    idle_remove(file);
    file_close(file);
    return true;
}

/* The oldest go: those that are idle since before `before`, and as many as there are more than `most`. */
static void idle_trim(uint32_t most, uint64_t before)
{
    while (idle.oldest != NULL && (idle.n > most || idle.oldest->idle_since_ns < before)) {
        struct file *file = idle.oldest;

        if (!file_try_close(file))
            idle_remove(file); /* file_release makes it idle again */
    }
}

void files_tick(void)
{
    struct file *next;
    sigset_t saved;

    if (files_mapped == 0 || !shim_on())
        return;
    shim_enter(&saved);
    idle_trim(FILES_IDLE_MAX, idle_now() - FILES_IDLE_NS);
    for (struct file *file = idle.oldest; file != NULL; file = next) {
        next = file->next_idle;
        if (!idle_is_harmless(file))
            (void)file_try_close(file);
    }
    shim_leave(&saved);
}

void file_closing(const struct stat *st)
{
    struct file *file;
    sigset_t saved;

    if (!S_ISREG(st->st_mode) || !file_may_be(st->st_dev, st->st_ino) || !shim_on())
        return;
    linux_signals_block(&saved);
    file = file_lookup(st->st_dev, st->st_ino);
    if (file != NULL) {
        if (file->mapped_bytes == 0)
            (void)!fl_vnode_sync(file->vnode, 0,
                                 UINT64_MAX); /* an error is told by the next fsync or msync */
        file_release(file);
    }
    linux_signals_restore(&saved);
}

bool file_let_go(struct file *file)
{
    if (file->mapped_bytes == 0 && file_try_close(file))
        return true;
    (void)!fl_vnode_sync(file->vnode, 0, UINT64_MAX); /* an error is told by the next fsync or msync */
    return false;
}

/* ---- what is mapped -------------------------------------------------------------------------------- */

void file_unmapped_push(struct file *file)
{
    if (file->mapped_bytes != 0 || file->unmapped)
        return;
    file->unmapped = true;
    file->next_unmapped = file_unmapped;
    file_unmapped = file;
}

void file_account(vm_offset_t start, vm_offset_t end, int sign)
{
    struct fl_region region;

    for (vm_offset_t va = start; fl_space_region(fl_space(), va, &region) == 0 && region.start < end;
         va = region.end) {
        vm_offset_t from = region.start > start ? region.start : start;
        vm_offset_t to = region.end < end ? region.end : end;
        struct file *file = region.vnode != NULL ? file_of_vnode(region.vnode) : NULL;

        if (file == NULL)
            continue;
        file->mapped_bytes += sign > 0 ? to - from : from - to;
        if (sign < 0) {
            file_unmapped_push(file);
        } else if (file->idle) {
            file->came_back = true;
            idle_remove(file);
        }
    }
}

/* A file that a call still uses, and that is not to be idle, is left to file_release. */
void file_reap(void)
{
    while (file_unmapped != NULL) {
        struct file *file = file_unmapped;

        file_unmapped = file->next_unmapped;
        file->unmapped = false;
        if (file->mapped_bytes != 0 || file->refs == FILE_DEAD)
            continue;
        if (!idle_is_harmless(file)) {
            (void)file_try_close(file);
            continue;
        }
        if (!idle_may_be_dirty(file))
            (void)!fl_vnode_sync(file->vnode, 0,
                                 UINT64_MAX); /* an error is told by the next fsync or msync */
        idle_add(file);
    }
    if (idle.n > FILES_IDLE_MAX)
        idle_trim(FILES_IDLE_MAX, 0);
}

bool file_grew(vm_offset_t va)
{
    struct fl_region region;
    struct file *file = NULL;
    struct stat st;
    sigset_t saved;
    bool grew = false;

    shim_enter(&saved);
    if (fl_space_region(fl_space(), va, &region) == 0 && region.start <= va && region.vnode != NULL)
        file = file_of_vnode(region.vnode);
    if (file != NULL && linux_syscall(SYS_fstat, file->fd, &st) == 0 &&
        region.offset + (trunc_page(va) - region.start) < (uint64_t)st.st_size)
        grew = fl_vnode_setsize(region.vnode) == 0;
    shim_leave(&saved);
    return grew;
}

/* ---- writes that fail ------------------------------------------------------------------------------ */

/* One with pages that cannot be written; *error: why. NULL: there is none. (S) held. */
static struct file *file_unwritten(int *error)
{
    for (int i = 0; i < FILE_BUCKETS; i++) {
        for (struct file *file = key_bucket[i]; file != NULL; file = file->next_key) {
            *error = fl_vnode_write_error(file->vnode);
            if (*error != 0)
                return file;
        }
    }
    return NULL;
}

/* Valid until the next call. (S) held. */
static const char *file_name(const struct file *file)
{
    static char name[PATH_MAX]; /* (S); a program's stack may be small */
    char link[32];
    long n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
    n = linux_syscall(SYS_readlink, link, name, sizeof name - 1);
    if (n > 0)
        name[n] = '\0';
    else
        snprintf(name, sizeof name, "inode %lu", (unsigned long)file->ino);
    return name;
}

static bool is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

/* (S) held. */
static void say_why(const struct file *file, int error, bool unwritten)
{
    const char *name = file_name(file), *why = strerrordesc_np(-error);

    if (!is_full(error))
        shim_say("dirty pages of %.300s cannot be written (%s), and fill the memory: they are tried again",
                 name, why);
    else if (unwritten)
        shim_say("the disk that holds %.300s is full (%s): dirty pages of it cannot be written: free space",
                 name, why);
    else
        shim_say("the disk that holds %.300s is full (%s): it has no space for a page that is stored to: "
                 "free space",
                 name, why);
}

void files_say_why(vm_offset_t va, int error)
{
    static int said; /* (S) */
    struct fl_region region;
    struct file *file;
    int why = error;
    sigset_t saved;

    if (error == -EFAULT || error == -EACCES || error == -ENXIO || error == -ENOMEM)
        return;
    shim_enter(&saved);
    file = said != error ? file_unwritten(&why) : NULL;
    if (file != NULL)
        say_why(file, why, true);
    else if (said != error && is_full(error) && fl_space_region(fl_space(), va, &region) == 0 &&
             region.start <= va && region.vnode != NULL && (file = file_of_vnode(region.vnode)) != NULL)
        say_why(file, error, false);
    if (file != NULL)
        said = error;
    shim_leave(&saved);
}

/* ---- files that calls use -------------------------------------------------------------------------- */

void files_generation_next(void)
{
    if (++files_generation == 0)
        ++files_generation;
}

bool file_ref(struct file *file)
{
    uint32_t refs = file->refs;

    while (refs != FILE_DEAD)
        if (atomic_compare_exchange_weak(&file->refs, &refs, refs + 1))
            return true;
    return false;
}

struct file *file_lookup(dev_t dev, ino_t ino)
{
    struct file *file;
    sigset_t saved;

    shim_enter(&saved);
    file = file_find(dev, ino);
    if (file != NULL && !file_ref(file))
        file = NULL;
    shim_leave(&saved);
    return file;
}

/*
 * Either file_reap finds no reference, or the last one to go finds nothing mapped. The struct may be
 * another file's by then, which is pushed for nothing.
 */
void file_release(struct file *file)
{
    sigset_t saved;

    if (atomic_fetch_sub(&file->refs, 1) != 1 || file->mapped_bytes != 0)
        return;
    shim_enter(&saved);
    if (file->refs != FILE_DEAD)
        file_unmapped_push(file);
    file_reap();
    shim_leave(&saved);
}

bool file_make_writable(struct file *file, int fd, int flags)
{
    pid_t with;
    int own = -1;
    int error = 0;
    sigset_t saved;

    if ((file->mode & FL_FWRITE) != 0)
        return true;
    if (registry_claim(file->dev, file->ino, true, &with) == REGISTRY_KERNELS)
        return false;
    shim_enter(&saved);
    if ((file->mode & FL_FWRITE) == 0) {
        if ((flags & O_ACCMODE) != O_RDWR)
            fd = own = linux_fd_reopen(fd, O_RDWR);
        error = fd < 0 ? fd : file_upgrade(file, fd, FL_FREAD | FL_FWRITE);
        if (own >= 0)
            linux_fd_close(own);
    }
    shim_leave(&saved);
    return error == 0;
}

int files_sync_locked(const dev_t *dev)
{
    int first = 0;

    for (int i = 0; i < FILE_BUCKETS; i++) {
        for (struct file *file = key_bucket[i]; file != NULL; file = file->next_key) {
            int error = 0;

            if (dev == NULL || file->dev == *dev)
                error = fl_vnode_sync(file->vnode, 0, UINT64_MAX);
            if (first == 0)
                first = error;
        }
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
    for (int i = 0; i < FILE_BUCKETS; i++)
        for (struct file *file = key_bucket[i]; file != NULL; file = file->next_key)
            file->written = file->inherited = false;
}

void files_forked(void)
{
    for (int i = 0; i < FILE_BUCKETS; i++)
        for (struct file *file = key_bucket[i]; file != NULL; file = file->next_key) {
            file->beside = true;
            watch_forked(file);
        }
    idle_trim(0, 0);
}
