/*
 * file.c: the life of one file (file.h).
 *
 *   file ──handle──▶ fl_file ──▶ vnode ──▶ store ──▶ descriptor, also file.fd: the only one of the shim's
 *
 * The program may close its descriptor right after mmap. A fork still has to map the file
 * again in the child, by a descriptor with at least the rights of the mappings; the store's
 * serves for that, and lies out of the way of the program's own numbers (linux_fd.h).
 *
 * A struct file comes from the kernel by pages, and returns to the list of spare
 * ones: a call may come from a signal handler, so the program's malloc is not used.
 *
 * Lock: (S), but for references, which are atomic.
 */
#include "file.h"
#include "file_idle.h"
#include "files.h"
#include "fresh.h"
#include "linux_fd.h"
#include "registry.h"
#include "watch.h"
#include <fcntl.h>
#include <stdio.h>
#include <stores.h>
#include <string.h>

static struct file *file_spare FL_GUARDED_BY(shim_lock); /* by next_key */

/* ---- birth ----------------------------------------------------------------------------------------- */

static void spare_push(struct file *file) FL_REQUIRES(shim_lock)
{
    file->next_key = file_spare;
    file_spare = file;
}

/* A page of spare files. False: no memory. */
static bool spare_fill(void) FL_REQUIRES(shim_lock)
{
    long page = shim_memory(VM_PAGE_SIZE);
    struct file *file = (struct file *)page;

    if (linux_syscall_failed(page))
        return false;
    for (size_t i = 0; i < VM_PAGE_SIZE / sizeof *file; i++) {
        file[i].refs = FILE_DEAD;
        spare_push(&file[i]);
    }
    return true;
}

/* Dead, and unlinked from every list. NULL: no memory. */
static struct file *file_alloc(void) FL_REQUIRES(shim_lock)
{
    struct file *file;

    if (file_spare == NULL && !spare_fill())
        return NULL;
    file = file_spare;
    file_spare = file->next_key;
    file->next_key = file->next_vnode = file->next_unmapped = file->next_idle = file->prev_idle = NULL;
    file->unmapped = file->idle = file->came_back = file->written = file->inherited = false;
    file->bypass = file->told_overwritten = false;
    file->mapped_bytes = file->size_seen = file->ctime_seen = 0;
    return file;
}

/* The descriptor of the file's store. */
static int file_fd(const struct file *file)
{
    return fl_store_file_fd(fl_vnode_store(file->vnode));
}

static int file_open(int fd, const struct stat *st, unsigned mode, struct file **out) FL_REQUIRES(shim_lock)
{
    struct file *file = file_alloc();
    int error;

    if (file == NULL)
        return -ENOMEM;
    error = fl_open_fd(fd, &file->handle);
    if (error == -EMFILE) { /* an idle file costs a descriptor, too */
        file_idle_trim(0, 0);
        error = fl_open_fd(fd, &file->handle);
    }
    if (error != 0) {
        spare_push(file);
        return error;
    }
    file->vnode = file->handle->vnode;
    file->fd = file_fd(file);
    file->dev = st->st_dev;
    file->ino = st->st_ino;
    file->mode = mode;
    file->size_seen = (uint64_t)st->st_size;
    files_add(file);
    watch_file(file);
    atomic_store(&file->refs, 0);
    files_mapped++;
    files_generation_next();
    *out = file;
    return 0;
}

/* Opens the file again by fd, which has rights that the file's descriptor lacks. */
static int file_upgrade(struct file *file, int fd, unsigned mode) FL_REQUIRES(shim_lock)
{
    struct fl_file *handle;
    int error = fl_open_fd(fd, &handle);

    if (error != 0)
        return error;
    watch_forget(file);
    (void)!fl_close(file->handle); /* no error: the new handle keeps the vnode */
    file->handle = handle;
    file->fd = file_fd(file);
    file->mode |= mode; /* only the right to write can have been missing */
    files_writable++;
    watch_file(file);
    return 0;
}

int file_get(int fd, const struct stat *st, unsigned mode, struct file **out)
{
    struct file *file = file_find(st->st_dev, st->st_ino);

    if (file == NULL)
        return file_open(fd, st, mode, out);
    *out = file;
    if (!file->bypass)
        file_revalidate(file, st);
    return (mode & ~file->mode) != 0 ? file_upgrade(file, fd, mode) : 0;
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

/* ---- death ----------------------------------------------------------------------------------------- */

/*
 * Nothing stays cached, also when another thread (the flusher) has the vnode for a
 * moment: from now on the kernel reads and writes the file. Errors: of write-backs.
 */
static int file_write_back(struct file *file) FL_REQUIRES(shim_lock)
{
    int error = fl_vnode_sync(file->vnode, 0, UINT64_MAX);
    int closed;

    if (error == 0)
        fl_vnode_invalidate(file->vnode, 0, UINT64_MAX);
    watch_forget(file); /* before the handle, whose descriptor it needs, is closed */
    closed = fl_close(file->handle);
    return error != 0 ? error : closed;
}

void file_close(struct file *file)
{
    int error;

    files_remove(file);
    error = file_write_back(file);
    if (error != 0)
        shim_say("data written to a mapping is lost: inode %lu: %s", (unsigned long)file->ino,
                 strerrordesc_np(-error));
    registry_forget(file->dev, file->ino);
    files_mapped--;
    spare_push(file);
}

/* ---- references ------------------------------------------------------------------------------------ */

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
 * Either file_reap finds no reference, or the last reference finds nothing mapped. The
 * structure may stand for another file by then, which file_reap then looks at in vain.
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

/* ---- its name -------------------------------------------------------------------------------------- */

void file_path(int fd, ino_t ino, char path[PATH_MAX])
{
    long len = shim_fd_path(fd, path, PATH_MAX - 1);

    if (len > 0)
        path[len] = '\0';
    else
        snprintf(path, PATH_MAX, "inode %lu", (unsigned long)ino);
}
