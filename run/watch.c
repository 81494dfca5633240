/*
 * watch.c: other processes that open or change a managed file are noticed, and the file becomes the kernel's.
 *
 *   fanotify ─┐                  ┌─ this process did it ─▶ nothing
 *             ├─▶ the watcher ───┼─ opened, and this process can write it ─────────▶ handover_file
 *   registry ─┘                  ├─ opened, and this process can only read it
 *   (asked)                      │     is it open for writing anywhere? (a lease tells) ─▶ handover_file
 *                                └─ changed ──────────────────────────────────────▶ handover_file
 *
 * As long as no other process has the file open, none can see what is dirty here, nor change what
 * is cached here. So the file is handed over at the first open(2) by another process, of which the
 * kernel tells whichever way the file is opened. It is noticed within a millisecond or so; a
 * program that takes a lock meanwhile finds everything written that was stored before the lock was
 * released (locks.c). A file that this process can only read stays managed beside other readers.
 *
 * fanotify says which process it was, so that this process's own opens do not count. It needs no privilege
 * (Linux 5.13), but a file system with file handles, and some containers forbid it. There inotify says only
 * that a process opened the file: then its time stamp and /proc tell whether it was another one. Where there
 * is neither, changes are seen when the program asks for them (fresh.c), and the registry still works.
 *
 * The kernel grants a read lease if no process has the file open for writing; the lease is given back at
 * once. Only the file's owner may ask for one. Of another user's file the watcher waits for a change instead.
 *
 * The thread blocks every signal, as the machine's threads do. Once a second it looks for
 * requests whose datagram was lost (registry_inbox.c), and closes files that were idle for long.
 *
 * Lock: (S) for each event; the descriptors are set once.
 *
 * Does not do: notice stores through a mapping by a process that had the file
 * open before it was managed here. fresh.c finds them when the program asks.
 */
#include "watch.h"
#include "file_idle.h"
#include "files.h"
#include "fresh.h"
#include "handover.h"
#include "peer_files.h"
#include "registry.h"
#include <fcntl.h>
#include <fault.h>
#include <linux_fd.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>

#define WATCH_TICK_MS    1000
#define WATCH_READ_BYTES 4096
#define WATCH_HANDLE_MAX 128 /* MAX_HANDLE_SZ of the kernel */

static struct {
    _Atomic int fd;                      /* fanotify's or inotify's, or -1: not opened, or not available */
    bool tried FL_GUARDED_BY(shim_lock); /* to open it */
    bool inotify;                        /* (c) once fd is there: which of the two */
    uint64_t thread;                     /* (c) */
} watch = {.fd = -1};

/* ---- which file, and which other processes --------------------------------------------------------- */

static uint64_t handle_hash(const struct file_handle *handle)
{
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)handle->handle_type;

    for (unsigned i = 0; i < handle->handle_bytes; i++)
        hash = (hash ^ handle->f_handle[i]) * 0x100000001b3u;
    return hash;
}

/* A hash of the kernel's name of the file in events; 0: it has no name. */
static uint64_t file_handle_hash(int fd)
{
    _Alignas(struct file_handle) char bytes[sizeof(struct file_handle) + WATCH_HANDLE_MAX];
    struct file_handle *handle = (struct file_handle *)bytes;
    int mount;

    handle->handle_bytes = WATCH_HANDLE_MAX;
    if (linux_syscall(SYS_name_to_handle_at, fd, "", handle, &mount, AT_EMPTY_PATH) != 0)
        return 0;
    return handle_hash(handle);
}

/*
 * Asks for a lease, and gives it back at once. The kernel grants F_RDLCK when no
 * process has the file open for writing, F_WRLCK when it is open by this descriptor
 * alone. Errors: -EAGAIN: not granted; -EACCES: the file is another user's.
 */
static long lease_probe(int fd, int type)
{
    long signo = linux_syscall(SYS_fcntl, fd, F_GETSIG);
    long r;

    /*
     * A process that opens the file at this moment makes the kernel send a signal: one that programs ignore.
     */
    linux_syscall(SYS_fcntl, fd, F_SETSIG, SIGURG);
    r = linux_syscall(SYS_fcntl, fd, F_SETLEASE, type);
    if (r == 0)
        linux_syscall(SYS_fcntl, fd, F_SETLEASE, F_UNLCK);
    linux_syscall(SYS_fcntl, fd, F_SETSIG, signo < 0 ? 0 : signo);
    return r;
}

/*
 * Whether any process has the file of fd open for writing,
 * as far as the kernel tells. fd is open for reading alone.
 */
static bool has_writer(int fd)
{
    return lease_probe(fd, F_RDLCK) == -EAGAIN;
}

/*
 * A second descriptor of the program's own prevents the lease, too, so /proc decides for
 * a process that writes. A process that only reads knows that the writer is another one.
 */
bool watch_used_elsewhere(int fd, const struct stat *st, bool writes, pid_t *with)
{
    *with = 0;
    if (writes ? lease_probe(fd, F_WRLCK) == 0 : !has_writer(fd))
        return false;
    *with = peer_with(st->st_dev, st->st_ino, !writes);
    return *with != 0 || !writes;
}

static bool can_write(const struct file *file)
{
    return (file->mode & FL_FWRITE) != 0 || registry_may_write(file->dev, file->ino);
}

/* ---- the consequence ------------------------------------------------------------------------------- */

void watch_say_shared(int fd, ino_t ino, pid_t with)
{
    char path[PATH_MAX];
    char who[48] = "another process";

    if (with != 0)
        snprintf(who, sizeof who, "process %d", (int)with);
    file_path(fd, ino, path);
    shim_say("%s: %s has it open, too: it is the kernel's from now on, outside of the limit", path, who);
}

void watch_hand_over(struct file *file, pid_t with)
{
    int error;

    if (file->mapped_bytes == 0 && (file->bypass || file_let_go(file)))
        return; /* it is the kernel's already and is closed after the last call on it, or was idle */
    error = handover_file(file, LEFT_SHARED);
    if (error == 0)
        watch_say_shared(file->fd, file->ino, with);
    else
        shim_say("inode %lu: another process has it open, too, and what was written here cannot be written "
                 "to it: %s",
                 (unsigned long)file->ino, strerrordesc_np(-error));
}

static void watch_event(uint64_t mask, uint64_t hash) FL_REQUIRES(shim_lock)
{
    struct file *file = file_of_handle(hash);

    if (file == NULL || (file->bypass && file->mapped_bytes == 0))
        return;
    if ((mask & FAN_MODIFY) != 0 || can_write(file) || has_writer(file->fd))
        watch_hand_over(file, 0);
}

/*
 * The same for inotify, which does not say which process it was. A process that has
 * closed the file again may have read it, so dirty pages are written back; or changed
 * it while a write-back hid that from the time stamp, so clean pages are dropped.
 */
static void watch_event_inotify(uint64_t handle) FL_REQUIRES(shim_lock)
{
    struct file *file = file_of_handle(handle);
    struct stat st;

    if (file == NULL || file->bypass || linux_syscall(SYS_fstat, file->fd, &st) != 0)
        return;
    if (file_revalidate(file, &st) || peer_with(file->dev, file->ino, !can_write(file)) != 0) {
        watch_hand_over(file, 0);
        return;
    }
    (void)!fl_vnode_sync(file->vnode, 0, UINT64_MAX); /* an error is told by the next fsync */
    fl_vnode_invalidate(file->vnode, 0, UINT64_MAX);
}

/* Events were lost: any file that this process can write may be open in another one. */
static void watch_overflow(void) FL_REQUIRES(shim_lock)
{
    struct file *next;

    for (struct file *file = file_first(); file != NULL; file = next) {
        next = file_next(file);
        if (can_write(file) || has_writer(file->fd))
            watch_hand_over(file, 0);
    }
}

/* ---- fanotify -------------------------------------------------------------------------------------- */

static void fanotify_one(const struct fanotify_event_metadata *event) FL_REQUIRES(shim_lock)
{
    const struct fanotify_event_info_fid *info = (const struct fanotify_event_info_fid *)(event + 1);

    if (event->pid == shim_config.pid)
        return;
    if ((event->mask & FAN_Q_OVERFLOW) != 0)
        watch_overflow();
    else if (event->event_len > event->metadata_len && info->hdr.info_type == FAN_EVENT_INFO_TYPE_FID)
        watch_event(event->mask, handle_hash((const struct file_handle *)info->handle));
}

static void fanotify_all(const char *events, long len) FL_REQUIRES(shim_lock)
{
    const struct fanotify_event_metadata *event = (const struct fanotify_event_metadata *)events;

    for (; FAN_EVENT_OK(event, len); event = FAN_EVENT_NEXT(event, len))
        fanotify_one(event);
}

static void inotify_all(const char *events, long len) FL_REQUIRES(shim_lock)
{
    const struct inotify_event *event;

    for (long at = 0; at < len; at += (long)sizeof *event + event->len) {
        event = (const struct inotify_event *)(events + at);
        if ((event->mask & IN_Q_OVERFLOW) != 0)
            watch_overflow();
        else if ((event->mask & IN_IGNORED) == 0)
            watch_event_inotify((uint64_t)event->wd + 1);
    }
}

static void watch_read(void)
{
    _Alignas(8) char events[WATCH_READ_BYTES];
    sigset_t saved;
    long len;

    while ((len = linux_syscall(SYS_read, watch.fd, events, sizeof events)) > 0) {
        shim_enter(&saved);
        if (watch.inotify)
            inotify_all(events, len);
        else
            fanotify_all(events, len);
        file_reap();
        shim_leave(&saved);
    }
}

/* Errors: of inotify_init1. (S) held. */
static int watch_open(void) FL_REQUIRES(shim_lock)
{
    int fd, low;

    if (watch.tried)
        return watch.fd;
    watch.tried = true;
    low = (int)linux_syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID,
                             O_RDONLY);
    watch.inotify = low < 0;
    if (low < 0)
        low = (int)linux_syscall(SYS_inotify_init1, IN_CLOEXEC | IN_NONBLOCK);
    fd = low < 0 ? low : linux_fd_dup(low);
    if (low >= 0)
        linux_syscall(SYS_close, low);
    if (fd < 0)
        shim_verbose("changes by other processes are noticed late: no fanotify and no inotify: %s",
                     strerrordesc_np(-fd));
    watch.fd = fd < 0 ? -1 : fd;
    registry_wake_self();
    return watch.fd;
}

static long fanotify_mark_file(const struct file *file, unsigned how, uint64_t mask)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    return linux_syscall(SYS_fanotify_mark, watch.fd, how, mask, AT_FDCWD, path);
}

/* Watches for opens, and for changes. Sets handle_hash. Errors: of fanotify_mark(2), inotify_add_watch(2). */
static long watch_mark(struct file *file, bool changes) FL_REQUIRES(shim_lock)
{
    char path[32];
    long r;

    if (!watch.inotify) {
        file->handle_hash = file_handle_hash(file->fd);
        return file->handle_hash == 0
                   ? -EOPNOTSUPP
                   : fanotify_mark_file(file, FAN_MARK_ADD, changes ? FAN_OPEN | FAN_MODIFY : FAN_OPEN);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    r = linux_syscall(SYS_inotify_add_watch, watch.fd, path, changes ? IN_OPEN | IN_MODIFY : IN_OPEN);
    file->handle_hash = r < 0 ? 0 : (uint64_t)r + 1;
    return r < 0 ? r : 0;
}

/* This process's own writes are events, too: so changes are watched only of files that it cannot write. */
void watch_file(struct file *file)
{
    static bool told;
    long r;

    file->handle_hash = 0;
    if (watch_open() < 0)
        return;
    r = watch_mark(file, !can_write(file));
    if (r == 0 || told)
        return;
    told = true;
    shim_verbose("what other processes do to inode %lu is noticed late: %s", (unsigned long)file->ino,
                 strerrordesc_np((int)-r));
}

void watch_forget(struct file *file)
{
    if (file->handle_hash != 0 && watch.inotify)
        linux_syscall(SYS_inotify_rm_watch, watch.fd, file->handle_hash - 1);
    else if (file->handle_hash != 0)
        (void)fanotify_mark_file(file, FAN_MARK_REMOVE, FAN_OPEN | FAN_MODIFY);
    file->handle_hash = 0;
}

void watch_forked(struct file *file)
{
    if (file->handle_hash != 0)
        (void)watch_mark(file, true);
}

/* ---- the thread ------------------------------------------------------------------------------------ */

/* Another process asks for the file, or this process found that another one uses it. */
static void watch_asked(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock)
{
    struct file *file = file_find(dev, ino);

    if (registry_look(dev, ino) != REGISTRY_KERNELS)
        return;
    if (file != NULL)
        watch_hand_over(file, 0);
    /* Also when it failed, or the file is not open yet: the other process must not wait for ever. */
    registry_hand_over(dev, ino);
}

static void watch_inbox(void)
{
    sigset_t saved;
    dev_t dev;
    ino_t ino;

    while (registry_asked(&dev, &ino)) {
        shim_enter(&saved);
        watch_asked(dev, ino);
        file_reap();
        shim_leave(&saved);
    }
}

/* Looks for requests whose datagram was lost. */
static void watch_tick(void)
{
    struct file *next;
    sigset_t saved;

    shim_enter(&saved);
    if (registry_anything_asked()) {
        for (struct file *file = file_first(); file != NULL; file = next) {
            next = file_next(file);
            watch_asked(file->dev, file->ino);
        }
    }
    file_reap();
    shim_leave(&saved);
}

static void *watch_run(void *arg)
{
    for (;;) { /* until the process ends */
        struct pollfd fds[2] = {{.fd = watch.fd, .events = POLLIN},
                                {.fd = registry_socket(), .events = POLLIN}};
        const struct timespec tick = {WATCH_TICK_MS / 1000, 0};
        struct timespec left = tick;
        long n = linux_syscall(SYS_ppoll, fds, 2, &left, NULL, 0);

        if (!shim_on() || n < 0)
            continue;
        if (fds[1].revents != 0)
            watch_inbox();
        if (fds[0].revents != 0)
            watch_read();
        if (n == 0) {
            watch_tick();
            file_idle_tick();
        }
    }
    return arg;
}

int watch_start(void)
{
    return linux_thread_create(&watch.thread, watch_run, NULL);
}

void watch_fork_child(void)
{
    if (watch.fd >= 0)
        linux_syscall(SYS_close, watch.fd);
    watch.fd = -1;
}
