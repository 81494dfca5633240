/*
 * filedesc.c: the table of descriptors of a process.
 *
 *   files:    | 0 | 1 | 2 | . | 4 | … | nfiles        grown by doubling
 *   cloexec:  one bit for each
 *
 * Who shares the table: the threads of a process, and processes that were cloned with CLONE_FILES, each of
 * which has one reference. A process with one thread and the only reference reads its table without the lock
 * (fdget): every change of it is its own. Others that look in from outside (/proc/PID/fd) take the lock, and
 * so does every change.
 *
 * Locks: (FD) filedesc->lock, a leaf. Files are closed after it is released.
 */
#include "fs/file.h"

#include "fs/lockf.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

#define FILES_FIRST   64 /* of a new table */
#define FILES_MAX     65536
#define RLIMIT_NOFILE 7 /* asm-generic/resource.h */

struct filedesc {
    struct machine_lock lock;
    _Atomic uint32_t refs;
    struct file **files; /* (FD) */
    uint64_t *cloexec;   /* (FD) */
    uint32_t nfiles;     /* (FD) a multiple of 64 */
    uint32_t least_free; /* (FD) no descriptor below it is free */
};

/* ---- tables -------------------------------------------------------------------------------------------- */

static struct filedesc *filedesc_alloc(uint32_t nfiles)
{
    struct filedesc *fd = kmalloc(sizeof(*fd));

    if (fd == NULL)
        return NULL;
    fd->refs = 1;
    fd->nfiles = nfiles;
    fd->files = kmalloc(nfiles * sizeof(fd->files[0]));
    fd->cloexec = kmalloc(nfiles / 8);
    if (fd->files != NULL && fd->cloexec != NULL)
        return fd;
    kfree(fd->files);
    kfree(fd->cloexec);
    kfree(fd);
    return NULL;
}

struct filedesc *filedesc_create(void)
{
    return filedesc_alloc(FILES_FIRST);
}

/* The length that a copy needs. */
static uint32_t filedesc_used(struct filedesc *from)
{
    machine_lock(&from->lock);
    uint32_t n = from->nfiles;
    while (n > FILES_FIRST && from->files[n - 1] == NULL)
        n--;
    machine_unlock(&from->lock);
    return (n + 63) / 64 * 64;
}

struct filedesc *filedesc_copy(struct filedesc *from)
{
    struct filedesc *fd = filedesc_alloc(filedesc_used(from));

    if (fd == NULL)
        return NULL;
    machine_lock(&from->lock);
    /* What another thread has opened beyond it meanwhile was not open when fork was called. */
    uint32_t n = fd->nfiles < from->nfiles ? fd->nfiles : from->nfiles;
    for (uint32_t i = 0; i < n; i++) {
        fd->files[i] = from->files[i];
        if (fd->files[i] != NULL)
            file_ref(fd->files[i]);
    }
    memcpy(fd->cloexec, from->cloexec, n / 8);
    fd->least_free = from->least_free < n ? from->least_free : n;
    machine_unlock(&from->lock);
    return fd;
}

struct filedesc *filedesc_ref(struct filedesc *fd)
{
    atomic_fetch_add_explicit(&fd->refs, 1, memory_order_relaxed);
    return fd;
}

void filedesc_put(struct filedesc *fd)
{
    if (atomic_fetch_sub_explicit(&fd->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < fd->nfiles; i++) {
        if (fd->files[i] == NULL)
            continue;
        lockf_release_owner(fd->files[i], fd);
        fput(fd->files[i]);
    }
    kfree(fd->files);
    kfree(fd->cloexec);
    kfree(fd);
}

/* Makes the table at least `least` long. Errors: -ENOMEM. */
static int filedesc_grow(struct filedesc *fd, uint32_t least) FL_REQUIRES(fd->lock)
{
    uint32_t nfiles = fd->nfiles;

    while (nfiles < least)
        nfiles *= 2;
    struct file **files = kmalloc(nfiles * sizeof(files[0]));
    uint64_t *cloexec = kmalloc(nfiles / 8);
    if (files == NULL || cloexec == NULL) {
        kfree(files);
        kfree(cloexec);
        return -ENOMEM;
    }
    memcpy(files, fd->files, fd->nfiles * sizeof(files[0]));
    memcpy(cloexec, fd->cloexec, fd->nfiles / 8);
    kfree(fd->files);
    kfree(fd->cloexec);
    fd->files = files;
    fd->cloexec = cloexec;
    fd->nfiles = nfiles;
    return 0;
}

/* ---- from a descriptor to its file --------------------------------------------------------------------- */

/* Nobody else can change the caller's table. */
static bool filedesc_private(struct proc *proc)
{
    return proc->nthreads == 1 && atomic_load_explicit(&proc->fd->refs, memory_order_relaxed) == 1;
}

int fget(int fd, struct file **file)
{
    struct filedesc *table = curproc()->fd;

    *file = NULL;
    machine_lock(&table->lock);
    if ((uint32_t)fd < table->nfiles)
        *file = table->files[fd];
    if (*file != NULL)
        file_ref(*file);
    machine_unlock(&table->lock);
    return *file != NULL ? 0 : -EBADF;
}

bool fdget(int fd, struct file **file)
{
    struct proc *proc = curproc();

    if (filedesc_private(proc)) {
        *file = (uint32_t)fd < proc->fd->nfiles ? proc->fd->files[fd] : NULL;
        return false;
    }
    return fget(fd, file) == 0;
}

void filedesc_next(struct filedesc *table, int *fd, struct file **file)
{
    *file = NULL;
    machine_lock(&table->lock);
    while ((uint32_t)*fd < table->nfiles && table->files[*fd] == NULL)
        (*fd)++;
    if ((uint32_t)*fd < table->nfiles) {
        *file = table->files[*fd];
        file_ref(*file);
    }
    machine_unlock(&table->lock);
}

/* ---- changes ------------------------------------------------------------------------------------------- */

static void cloexec_set(struct filedesc *table, uint32_t fd, bool set)
{
    uint64_t bit = UINT64_C(1) << (fd % 64);

    if (set)
        table->cloexec[fd / 64] |= bit;
    else
        table->cloexec[fd / 64] &= ~bit;
}

/* Descriptors may be less than this. */
static uint32_t descriptor_limit(void)
{
    uint64_t limit = curproc()->rlimit_cur[RLIMIT_NOFILE];

    return limit < FILES_MAX ? (uint32_t)limit : FILES_MAX;
}

/* Returns the lowest free descriptor >= least, for which the table has a place. Errors: -EMFILE. (FD). */
static int descriptor_find(struct filedesc *table, uint32_t least, uint32_t limit) FL_REQUIRES(table->lock)
{
    uint32_t fd = least > table->least_free ? least : table->least_free;

    while (fd < table->nfiles && table->files[fd] != NULL)
        fd++;
    if (least <= table->least_free)
        table->least_free = fd;
    if (fd >= limit)
        return -EMFILE;
    if (fd >= table->nfiles && filedesc_grow(table, fd + 1) != 0)
        return -EMFILE;
    return (int)fd;
}

int fd_install(struct file *file, int least, unsigned flags)
{
    struct filedesc *table = curproc()->fd;

    machine_lock(&table->lock);
    int fd = descriptor_find(table, (uint32_t)least, descriptor_limit());
    if (fd >= 0) {
        table->files[fd] = file;
        cloexec_set(table, (uint32_t)fd, (flags & O_CLOEXEC) != 0);
    }
    machine_unlock(&table->lock);
    if (fd < 0)
        fput(file);
    return fd;
}

int fd_install_at(struct file *file, int fd, unsigned flags)
{
    struct filedesc *table = curproc()->fd;
    struct file *replaced = NULL;
    int error = (uint32_t)fd < descriptor_limit() ? 0 : -EBADF;

    machine_lock(&table->lock);
    if (error == 0 && (uint32_t)fd >= table->nfiles && filedesc_grow(table, (uint32_t)fd + 1) != 0)
        error = -EMFILE;
    if (error == 0) {
        replaced = table->files[fd];
        table->files[fd] = file;
        cloexec_set(table, (uint32_t)fd, (flags & O_CLOEXEC) != 0);
    }
    machine_unlock(&table->lock);
    if (replaced != NULL) {
        lockf_release_owner(replaced, table);
        fput(replaced);
    }
    if (error != 0)
        fput(file);
    return error != 0 ? error : fd;
}

/* Takes the file out of the table. NULL: there is none. (FD). */
static struct file *descriptor_take(struct filedesc *table, uint32_t fd)
{
    struct file *file = fd < table->nfiles ? table->files[fd] : NULL;

    if (file == NULL)
        return NULL;
    table->files[fd] = NULL;
    cloexec_set(table, fd, false);
    if (fd < table->least_free)
        table->least_free = fd;
    return file;
}

int fd_close(int fd)
{
    struct filedesc *table = curproc()->fd;

    machine_lock(&table->lock);
    struct file *file = descriptor_take(table, (uint32_t)fd);
    machine_unlock(&table->lock);
    if (file == NULL)
        return -EBADF;
    lockf_release_owner(file, table);
    fput(file);
    return 0;
}

void fd_close_range(unsigned first, unsigned last, bool cloexec)
{
    struct filedesc *table = curproc()->fd;
    struct file *file;

    machine_lock(&table->lock);
    for (unsigned fd = first; fd <= last && fd < table->nfiles; fd++) {
        if (cloexec && table->files[fd] != NULL)
            cloexec_set(table, fd, true);
        if (cloexec || (file = descriptor_take(table, fd)) == NULL)
            continue;
        machine_unlock(&table->lock);
        lockf_release_owner(file, table);
        fput(file);
        machine_lock(&table->lock);
    }
    machine_unlock(&table->lock);
}

int fd_cloexec(int fd, int set)
{
    struct filedesc *table = curproc()->fd;
    int result = -EBADF;

    machine_lock(&table->lock);
    if ((uint32_t)fd < table->nfiles && table->files[fd] != NULL) {
        result = (int)(table->cloexec[(uint32_t)fd / 64] >> ((uint32_t)fd % 64)) & FD_CLOEXEC;
        if (set >= 0)
            cloexec_set(table, (uint32_t)fd, (set & FD_CLOEXEC) != 0);
    }
    machine_unlock(&table->lock);
    return result;
}

void filedesc_close_on_exec(struct filedesc *fd)
{
    machine_lock(&fd->lock);
    for (uint32_t i = 0; i < fd->nfiles; i++) {
        if (!(fd->cloexec[i / 64] >> (i % 64) & 1))
            continue;
        struct file *file = descriptor_take(fd, i);
        if (file == NULL)
            continue;
        machine_unlock(&fd->lock);
        lockf_release_owner(file, fd);
        fput(file);
        machine_lock(&fd->lock);
    }
    machine_unlock(&fd->lock);
}
