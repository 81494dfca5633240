/*
 * fresh.c: when the cache is compared with the files, and when it is written back to them (fresh.h).
 *
 *   lock taken ─▶ fresh_all ─▶ each file: fstat ─▶ st_ctim as before? ─ yes ─▶ nothing
 *                                                     │ no
 *                                                  fl_vnode_revalidate: by us? ─ no ─▶ clean pages dropped
 *
 * When the stamp moved because of this process's own write-back, the store can tell (change.h).
 *
 * When another process writes to a page that is dirty here, the write-back of the whole page overwrites the
 * other's bytes. Programs that take locks never do that; otherwise the shim says so, once for each file.
 *
 * Locks: (S) for the table of files; none for a single file.
 */
#include "fresh.h"
#include "fdtable.h"
#include "file_idle.h"
#include "files.h"
#include "registry.h"
#include "watch.h"
#include <change.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- one file -------------------------------------------------------------------------------------- */

static uint64_t stamp(const struct stat *st)
{
    return (uint64_t)st->st_ctim.tv_sec * 1000000000u + (uint64_t)st->st_ctim.tv_nsec;
}

static void tell_overwritten(struct file *file)
{
    char path[PATH_MAX];

    if (atomic_exchange(&file->told_overwritten, true))
        return;
    file_path(file->fd, file->ino, path);
    shim_say("%s: another process wrote to it while bytes stored here were not written yet: where both are "
             "in one page, these replace the other's",
             path);
}

bool file_revalidate(struct file *file, const struct stat *st)
{
    uint64_t now = stamp(st);
    unsigned what;

    if (file->ctime_seen == now && file_stamps_are_fine())
        return false;
    if (fl_vnode_revalidate(file->vnode, false, &what) != 0)
        return false; /* the length could not be read: the next call tries again */
    if ((what & FL_CHANGED_LATER) == 0)
        file->ctime_seen = now; /* last: a thread that sees it relies on the cache */
    if ((what & FL_CHANGED_OVERWRITTEN) != 0)
        tell_overwritten(file);
    return (what & FL_CHANGED_BYTES) != 0;
}

/* Without (S) the file may be another one by now: then false. */
static bool is_fresh(const struct file *file, const struct stat *st)
{
    return file->ino == st->st_ino && file->dev == st->st_dev && file->ctime_seen == stamp(st) &&
           file_stamps_are_fine();
}

/*
 * Whether no file has changed since the last look. Nearly always
 * true; costs one fstat for each file, while they are few.
 */
static bool all_are_fresh(void)
{
    struct stat st;

    for (int i = 0; i < FILES_FEW; i++) {
        const struct file *file = files_few[i];

        if (file != NULL && (linux_syscall(SYS_fstat, file->fd, &st) != 0 || !is_fresh(file, &st)))
            return false;
    }
    return files_more == 0;
}

static void look_at(struct file *file)
{
    struct stat st;

    if (linux_syscall(SYS_fstat, file->fd, &st) == 0)
        (void)file_revalidate(file, &st);
}

/* ---- acquiring ------------------------------------------------------------------------------------- */

void fresh_all(void)
{
    int saved_errno = errno;
    sigset_t saved;

    if (files_mapped == 0 || !shim_on() || all_are_fresh())
        return;
    shim_enter(&saved);
    for (struct file *file = file_first(); file != NULL; file = file_next(file))
        look_at(file);
    shim_leave(&saved);
    errno = saved_errno;
}

void fresh_range(vm_offset_t start, vm_offset_t end)
{
    struct fl_region region;
    sigset_t saved;

    shim_enter(&saved);
    for (vm_offset_t va = start; fl_space_region(fl_space(), va, &region) == 0 && region.start < end;
         va = region.end) {
        struct file *file = file_of_region(&region);

        if (file != NULL)
            look_at(file);
    }
    shim_leave(&saved);
}

void fresh_stat(const struct stat *program)
{
    const struct stat st = *program; /* copied before signals are blocked: it may be managed memory */
    int saved_errno = errno;
    struct file *file;
    sigset_t saved;

    if (!S_ISREG(st.st_mode) || !file_may_be(st.st_dev, st.st_ino) || !shim_on())
        return;
    for (int i = 0; i < FILES_FEW; i++) {
        const struct file *few = files_few[i];

        if (few != NULL && is_fresh(few, &st))
            return;
    }
    linux_signals_block(&saved);
    file = file_lookup(st.st_dev, st.st_ino);
    if (file != NULL) {
        (void)file_revalidate(file, &st);
        file_release(file);
    }
    linux_signals_restore(&saved);
    errno = saved_errno;
}

void fresh_closing(int fd)
{
    struct stat st;

    if (files_mapped == 0 || fd_is_other(fd) || linux_syscall(SYS_fstat, fd, &st) != 0)
        return;
    fresh_stat(&st);
    file_closing(&st);
}

/* ---- releasing ------------------------------------------------------------------------------------- */

void fresh_release(void)
{
    int saved_errno = errno;

    if (files_mapped == 0 || !shim_on() || files_writable == 0)
        return;
    (void)!files_sync(NULL);
    errno = saved_errno;
}

/* ---- opening --------------------------------------------------------------------------------------- */

/* This process has opened the file for writing: no other process keeps a cache of it from now on. */
static void announce_writer(const struct stat *st)
{
    struct file *file;
    sigset_t saved;

    if (registry_opened_for_writing(st->st_dev, st->st_ino))
        return;
    shim_enter(&saved);
    file = file_find(st->st_dev, st->st_ino);
    if (file != NULL)
        watch_hand_over(file, 0);
    file_reap();
    shim_leave(&saved);
}

void fresh_opened(int fd, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    int saved_errno = errno;
    struct stat st;

    if (!shim_on() || (flags & O_PATH) != 0 || (!writes && files_mapped == 0) ||
        linux_syscall(SYS_fstat, fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    if (writes)
        announce_writer(&st);
    if (files_mapped != 0)
        fresh_stat(&st);
    errno = saved_errno;
}

void fresh_changing_path(const char *path)
{
    int saved_errno = errno;
    struct stat st;

    /* By libc's call, not linux_syscall: the path may be managed memory, which the trap serves. */
    if (shim_on() && registry_is_shared() && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        announce_writer(&st);
    errno = saved_errno;
}
