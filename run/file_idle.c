/*
 * file_idle.c: what is mapped of each file, and what becomes of a file that nothing maps any more.
 *
 *   file_account: mapped_bytes falls to 0 ─▶ file_unmapped ─▶ file ─▶ file      by next_unmapped
 *   file_reap ─┬─ idle_is_harmless ─▶ idle: oldest ⇄ file ⇄ newest              by next_idle, prev_idle
 *              └─ else ─▶ file_close
 *   idle ─┬─ mapped again ───────────────────────────────▶ in use, with its cache
 *         └─ FILES_IDLE_NS later, or FILES_IDLE_MAX others ─▶ file_close
 *
 * Programs map the same file again and again. An idle file keeps its cache, and serves calls
 * from it; the next mmap compares the cache with the file (file_revalidate). A file does not
 * become idle where the program would notice: the space of an unlinked file must become free,
 * and a file that was written in order to be executed must not be open for writing (ETXTBSY).
 *
 * Lock: (S) for everything.
 */
#include "file_idle.h"
#include "files.h"
#include <time.h>

#define FILES_IDLE_MAX 128
#define FILES_IDLE_NS  10000000000u

static struct file *file_unmapped FL_GUARDED_BY(shim_lock);
static struct {
    struct file *oldest, *newest;
    uint32_t n;
} idle FL_GUARDED_BY(shim_lock);

/* ---- idle files ------------------------------------------------------------------------------------ */

static uint64_t idle_now(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void idle_remove(struct file *file) FL_REQUIRES(shim_lock)
{
    if (!file->idle)
        return;
    *(file->prev_idle != NULL ? &file->prev_idle->next_idle : &idle.oldest) = file->next_idle;
    *(file->next_idle != NULL ? &file->next_idle->prev_idle : &idle.newest) = file->prev_idle;
    file->idle = false;
    idle.n--;
}

/* Makes the file the newest of the list. */
static void idle_add(struct file *file) FL_REQUIRES(shim_lock)
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

/* Whether the program does not notice that the shim keeps the file open. */
static bool idle_is_harmless(const struct file *file)
{
    struct stat st;

    if (file->bypass || linux_syscall(SYS_fstat, file->fd, &st) != 0 || st.st_nlink == 0)
        return false;
    return (file->mode & FL_FWRITE) == 0 || (st.st_mode & 0111) == 0;
}

/*
 * A file is written back when it becomes idle, since other processes may be told of it. But not one
 * that comes back again and again, if the kernel tells when another process opens it (watch.c).
 */
static bool idle_may_be_dirty(const struct file *file) FL_REQUIRES(shim_lock)
{
    return file->came_back && file->handle_hash != 0;
}

/* Closes a file that nothing maps. False: a call refers to it, and file_release will come back to it. */
static bool file_try_close(struct file *file) FL_REQUIRES(shim_lock)
{
    uint32_t none = 0;

    if (!atomic_compare_exchange_strong(&file->refs, &none, FILE_DEAD))
        return false;
    idle_remove(file);
    file_close(file);
    return true;
}

void file_idle_trim(uint32_t most, uint64_t before)
{
    while (idle.oldest != NULL && (idle.n > most || idle.oldest->idle_since_ns < before)) {
        struct file *file = idle.oldest;

        if (!file_try_close(file))
            idle_remove(file); /* file_release will make it idle again */
    }
}

void file_idle_tick(void)
{
    struct file *next;
    sigset_t saved;

    if (files_mapped == 0 || !shim_on())
        return;
    shim_enter(&saved);
    file_idle_trim(FILES_IDLE_MAX, idle_now() - FILES_IDLE_NS);
    for (struct file *file = idle.oldest; file != NULL; file = next) {
        next = file->next_idle;
        if (!idle_is_harmless(file))
            (void)file_try_close(file);
    }
    shim_leave(&saved);
}

/* An error is told by the next fsync or msync. */
static void sync_quietly(struct file *file)
{
    (void)!fl_vnode_sync(file->vnode, 0, UINT64_MAX);
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
            sync_quietly(file);
        file_release(file);
    }
    linux_signals_restore(&saved);
}

bool file_let_go(struct file *file)
{
    if (file->mapped_bytes == 0 && file_try_close(file))
        return true;
    sync_quietly(file);
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
        struct file *file = file_of_region(&region);

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

/* A file that a call still refers to, and that is not to become idle, is left to file_release. */
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
            sync_quietly(file);
        idle_add(file);
    }
    if (idle.n > FILES_IDLE_MAX)
        file_idle_trim(FILES_IDLE_MAX, 0);
}
