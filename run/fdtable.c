/*
 * fdtable.c: which of the program's descriptors are managed files (fdtable.h).
 *
 *   fd_begin ─▶ signals blocked ─▶ fstat ─┬─ slot's file, referenced, is that inode ──▶ managed
 *                                        ├─ (S): the table of files has it ──────────▶ managed, kept in slot
 *                                        └─ no ─▶ the slot says so, if nothing changed since before fstat
 *
 * Lock: none for the slots; (S) to look up a file. A child of vfork shares
 * the slots but not the descriptors: it may clear a slot, but enters nothing.
 */
#include "fdtable.h"
#include "fresh.h"
#include "registry.h"
#include "self_memory.h"
#include <fcntl.h>

struct fd_slot fd_slots[FD_SLOTS];

/* ---- slots ----------------------------------------------------------------------------------------- */

void fd_forget(int fd)
{
    struct fd_slot *slot;
    uint64_t known;

    if ((unsigned)fd >= FD_SLOTS)
        return;
    slot = &fd_slots[fd];
    known = slot->known;
    while (!atomic_compare_exchange_weak(&slot->known, &known, ((known >> 32) + 1) << 32))
        ;
    slot->file = NULL;
    slot->told = 0;
}

void fd_forget_all(void)
{
    files_generation_next();
}

/* Enters "not managed". `before` and `generation` were read before the fstat that says so (FD1). */
static void slot_say_other(int fd, uint64_t before, uint32_t generation)
{
    if ((unsigned)fd >= FD_SLOTS || linux_syscall(SYS_getpid) != shim_config.pid)
        return;
    atomic_compare_exchange_strong(&fd_slots[fd].known, &before, before >> 32 << 32 | generation);
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static bool file_is(const struct file *file, const struct stat *st)
{
    return file->dev == st->st_dev && file->ino == st->st_ino;
}

/* The managed file of st, referenced, or NULL. */
static struct file *slot_file(int fd, const struct stat *st)
{
    struct fd_slot *slot = (unsigned)fd < FD_SLOTS ? &fd_slots[fd] : NULL;
    struct file *file = slot != NULL ? slot->file : NULL;

    if (file != NULL && file_ref(file)) {
        if (file_is(file, st))
            return file;
        file_release(file);
    }
    file = file_lookup(st->st_dev, st->st_ino);
    if (file != NULL && slot != NULL) {
        slot->file = file;
        slot->told = 0; /* told of no error since the file is managed */
    }
    return file;
}

bool fd_begin(int fd, struct fd_call *call)
{
    uint32_t generation = files_generation;
    uint64_t before = (unsigned)fd < FD_SLOTS ? fd_slots[fd].known : 0;
    long flags;

    if (!shim_on())
        return false;
    call->fd = fd;
    linux_signals_block(&call->saved);
    if (linux_syscall(SYS_fstat, fd, &call->st) == 0) {
        call->file = S_ISREG(call->st.st_mode) ? slot_file(fd, &call->st) : NULL;
        if (call->file == NULL) {
            if (!self_mem_is(fd, &call->st)) /* asked on each call: self_memory.c */
                slot_say_other(fd, before, generation);
        } else {
            flags = linux_syscall(SYS_fcntl, fd, F_GETFL);
            call->flags = flags < 0 ? O_PATH : (int)flags;
            (void)file_revalidate(call->file, &call->st);
            return true;
        }
    }
    linux_signals_restore(&call->saved);
    return false;
}

void fd_end(struct fd_call *call)
{
    file_release(call->file);
    linux_signals_restore(&call->saved);
}

fl_errseq_t fd_told_of(int fd, const struct file *file)
{
    return (unsigned)fd < FD_SLOTS && fd_slots[fd].file == file ? fd_slots[fd].told : 0;
}

bool fd_path_is_managed(int dir, const char *path, int flags)
{
    int saved_errno = errno;
    struct file *file = NULL;
    bool elsewhere = false;
    struct stat st;
    sigset_t saved;

    /* By libc's call, not linux_syscall: the path may be managed memory, which the trap serves. */
    if (fstatat(dir, path, &st, flags) == 0 && S_ISREG(st.st_mode)) {
        linux_signals_block(&saved);
        file = file_lookup(st.st_dev, st.st_ino);
        if (file != NULL)
            file_release(file);
        elsewhere = registry_is_held(st.st_dev, st.st_ino);
        linux_signals_restore(&saved);
    }
    errno = saved_errno;
    return file != NULL || elsewhere;
}
