/*
 * file.c: open files: the handles that fl_open gives out, their list, and the calls on a whole file.
 *
 *     files ─▶ struct open_file ⇄ struct open_file ⇄ …       each has a reference to its vnode
 *
 * fl_shutdown closes what the program left open by the list, and library_write_error finds by it the file
 * whose dirty pages cannot be written.
 *
 * Lock: files_lock guards the list. Only fl_vnode_write_error is called with it held. A thread that holds the
 * map's lock never takes it.
 *
 * Does not do: reading and writing (file_io.c).
 */
#include "library_state.h"
#include "linux_pool.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/store.h>
#include <fcntl.h>

static struct machine_lock files_lock;

struct open_file {
    struct fl_file file;
    struct open_file *next FL_GUARDED_BY(files_lock);
    struct open_file *prev FL_GUARDED_BY(files_lock);
};

static struct open_file *files FL_GUARDED_BY(files_lock);

/* ---- the list ------------------------------------------------------------------------------------------ */

static void files_add(struct open_file *opened)
{
    machine_lock(&files_lock);
    opened->next = files;
    if (files != NULL)
        files->prev = opened;
    files = opened;
    machine_unlock(&files_lock);
}

static void files_remove(struct open_file *opened)
{
    machine_lock(&files_lock);
    if (opened->prev != NULL)
        opened->prev->next = opened->next;
    else
        files = opened->next;
    if (opened->next != NULL)
        opened->next->prev = opened->prev;
    machine_unlock(&files_lock);
}

static struct open_file *files_first(void)
{
    machine_lock(&files_lock);
    struct open_file *opened = files;
    machine_unlock(&files_lock);
    return opened;
}

int library_write_error(void)
{
    int error = 0;
    machine_lock(&files_lock);
    for (struct open_file *opened = files; opened != NULL && error == 0; opened = opened->next)
        error = fl_vnode_write_error(opened->file.vnode);
    machine_unlock(&files_lock);
    return error;
}

/* Drops the handle; signals are blocked. Errors: of write-back. */
static int file_drop(struct open_file *opened)
{
    files_remove(opened);
    int error = fl_vnode_close(opened->file.vnode);
    linux_pool_free(opened);
    return error;
}

int library_close_all(void)
{
    int first = 0;
    for (struct open_file *opened = files_first(); opened != NULL; opened = files_first()) {
        int error = file_drop(opened);
        first = first == 0 ? error : first;
    }
    return first;
}

/* ---- opening and closing ------------------------------------------------------------------------------- */

static int open_store(struct store *store, unsigned mode, struct fl_file **file)
{
    if (library.map == NULL || (mode & ~(unsigned)(FL_FREAD | FL_FWRITE)) != 0 || !(mode & FL_FREAD))
        return -EINVAL;
    if ((mode & FL_FWRITE) && store->read_only)
        return -EACCES;
    struct open_file *opened = linux_pool_alloc();
    if (opened == NULL)
        return -ENOMEM;
    int error = fl_vnode_open(store, &opened->file.vnode);
    if (error != 0) {
        linux_pool_free(opened);
        return error;
    }
    opened->file.mode = mode;
    opened->file.told = fl_vnode_errseq(opened->file.vnode);
    files_add(opened);
    *file = &opened->file;
    return 0;
}

int fl_open_store(struct store *store, unsigned mode, struct fl_file **file)
{
    sigset_t saved;
    linux_signals_block(&saved);
    int error = open_store(store, mode, file);
    linux_signals_restore(&saved);
    return error;
}

int fl_open_fd(int fd, struct fl_file **file)
{
    struct store *store;
    long mode = linux_syscall(SYS_fcntl, fd, F_GETFL, 0);
    if (mode < 0)
        return (int)mode;
    int error = fl_store_file(fd, &store);
    if (error != 0)
        return error;
    error = fl_open_store(store, FL_FREAD | ((mode & O_ACCMODE) == O_RDWR ? FL_FWRITE : 0u), file);
    if (error != 0)
        store->ops->close(store);
    return error;
}

int fl_open(const char *path, int flags, struct fl_file **file)
{
    if (flags != O_RDONLY && flags != O_RDWR)
        return -EINVAL;
    /* O_NONBLOCK: a FIFO is to be refused, not waited for. It means nothing to a regular file. */
    long fd = linux_syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return (int)fd;
    int error = fl_open_fd((int)fd, file);
    linux_syscall(SYS_close, fd);
    return error;
}

int fl_close(struct fl_file *file)
{
    sigset_t saved;
    linux_signals_block(&saved);
    int error = file_drop((struct open_file *)file);
    linux_signals_restore(&saved);
    return error;
}

/* ---- the whole file ------------------------------------------------------------------------------------ */

int fl_truncate(struct fl_file *file, uint64_t len_bytes)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return LIBRARY_CALL(int, fl_vnode_truncate(file->vnode, len_bytes));
}

int fl_punch(struct fl_file *file, uint64_t offset, uint64_t len_bytes)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return LIBRARY_CALL(int, fl_vnode_punch(file->vnode, offset, len_bytes));
}

int fl_fsync(struct fl_file *file, unsigned flags)
{
    return LIBRARY_CALL(int, fl_vnode_fsync(file->vnode, flags, &file->told));
}
