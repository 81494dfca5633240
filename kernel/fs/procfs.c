/*
 * procfs.c: /proc: what the kernel says of itself and of processes, as text.
 *
 *   / ─┬─ meminfo, stat …, self        root_entry[]
 *      ├─ sys/kernel/…                 tables of their own
 *      └─ PID/ ─┬─ maps, status …      pid_entry[]
 *               └─ fd/ ─ 0, 1 …        links
 *
 * An inode is made for each lookup, and goes with its last reference: it only says which entry of a table it
 * is, of which process and descriptor. A file's text is made when it is read from its beginning, and kept by
 * the open file, so that the pieces of one reading belong together.
 *
 * Locks: (PT) proc_open.lock: the text of one open file.
 */
#include "fs/procfs.h"

#include "fs/file.h"
#include "fs/mount.h"
#include "fs/procfs_text.h"
#include "fs/uio.h"
#include "kernel.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/poll.h>
#include <asm/statfs.h>
#include <linux/errno.h>
#include <linux/magic.h>
#include <linux/stat.h>

#define TEXT_FIRST 4096       /* bytes; doubled until the text has room */
#define TEXT_MAX   (2u << 20) /* of kmalloc */
#define LINK_MAX   4096
#define INO_ROOT   1
#define FIRST      2       /* the position behind "." and ".." */
#define PIDS       0x10000 /* positions from here on are processes */

struct entry {
    const char *name;
    uint32_t mode;
    procfs_text *text;           /* of a file or a link */
    const struct entry *entries; /* of a directory */
};

struct proc_inode {
    struct inode inode;
    const struct entry *entry;
    struct proc_inode *parent; /* with a reference; the root's own without */
    int pid;                   /* 0: of no process */
    int fd;                    /* of a link in fd/; -1: none */
};

struct proc_open {
    struct sleep_lock lock;
    struct text text; /* (PT) bytes NULL: not made yet */
};

static const struct inode_ops proc_dir_ops, proc_file_ops, proc_link_ops;

/* ---- the tree ------------------------------------------------------------------------------------------ */

#define TEXT_FILE(name, text)                                                                                \
    {                                                                                                        \
        name, S_IFREG | 0444, text, NULL                                                                     \
    }
#define LINK(name, text)                                                                                     \
    {                                                                                                        \
        name, S_IFLNK | 0777, text, NULL                                                                     \
    }
#define DIRECTORY(name, list)                                                                                \
    {                                                                                                        \
        name, S_IFDIR | 0555, NULL, list                                                                     \
    }
#define END                                                                                                  \
    {                                                                                                        \
        NULL, 0, NULL, NULL                                                                                  \
    }

static int self_link(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "%d", curproc()->pid);
    return 0;
}

static int mounts_link(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "self/mounts");
    return 0;
}

static const struct entry fd_entry[] = {END}; /* its entries are descriptors */

static const struct entry pid_entry[] = {
    TEXT_FILE("cmdline", procfs_pid_cmdline),
    TEXT_FILE("comm", procfs_pid_comm),
    LINK("cwd", procfs_pid_cwd),
    LINK("exe", procfs_pid_exe),
    DIRECTORY("fd", fd_entry),
    TEXT_FILE("maps", procfs_pid_maps),
    TEXT_FILE("mounts", procfs_mounts),
    LINK("root", procfs_pid_root),
    TEXT_FILE("stat", procfs_pid_stat),
    TEXT_FILE("statm", procfs_pid_statm),
    TEXT_FILE("status", procfs_pid_status),
    END,
};
static const struct entry pid_directory = DIRECTORY("", pid_entry);
static const struct entry fd_link = LINK("", NULL);

static const struct entry kernel_entry[] = {
    TEXT_FILE("osrelease", procfs_osrelease),
    TEXT_FILE("ostype", procfs_ostype),
    END,
};
static const struct entry sys_entry[] = {DIRECTORY("kernel", kernel_entry), END};

static const struct entry root_entry[] = {
    TEXT_FILE("cpuinfo", procfs_cpuinfo), TEXT_FILE("filesystems", procfs_filesystems),
    TEXT_FILE("loadavg", procfs_loadavg), TEXT_FILE("meminfo", procfs_meminfo),
    LINK("mounts", mounts_link),          LINK("self", self_link),
    TEXT_FILE("stat", procfs_stat),       DIRECTORY("sys", sys_entry),
    TEXT_FILE("uptime", procfs_uptime),   TEXT_FILE("version", procfs_version),
    TEXT_FILE("vmstat", procfs_vmstat),   END,
};
static const struct entry root_directory = DIRECTORY("", root_entry);

/* ---- inodes -------------------------------------------------------------------------------------------- */

static struct proc_inode *proc_of(struct inode *inode)
{
    return (struct proc_inode *)inode;
}

/* A number that is the same each time: of the table's entry, or of process, entry and descriptor. */
static uint64_t ino_of(const struct entry *entry, int pid, int fd)
{
    if (pid == 0)
        return entry == &root_directory ? INO_ROOT : (uint64_t)(uintptr_t)entry & INT32_MAX;
    if (fd >= 0)
        return (uint64_t)pid << 32 | 0x10000u | (uint32_t)fd;
    if (entry == &pid_directory)
        return (uint64_t)pid << 32;
    return (uint64_t)pid << 32 | (uint32_t)(entry - pid_entry + 1);
}

static const struct inode_ops *ops_of(uint32_t mode)
{
    if (S_ISDIR(mode))
        return &proc_dir_ops;
    return S_ISLNK(mode) ? &proc_link_ops : &proc_file_ops;
}

/* The inode has one reference, and takes one to its parent. */
static int proc_inode_create(struct mount *mount, struct proc_inode *parent, const struct entry *entry,
                             int pid, int fd, struct proc_inode **proc)
{
    struct proc_inode *fresh = kmalloc(sizeof(*fresh));

    if (fresh == NULL)
        return -ENOMEM;
    struct inode *inode = &fresh->inode;
    inode->ops = ops_of(entry->mode);
    inode->mount = mount;
    inode->ino = ino_of(entry, pid, fd);
    inode->refs = 1;
    inode->mode = entry->mode;
    inode->nlink = S_ISDIR(entry->mode) ? 2 : 1;
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = wall_time_ns();
    fresh->entry = entry;
    fresh->pid = pid;
    fresh->fd = fd;
    fresh->parent = parent != NULL ? parent : fresh;
    if (parent != NULL)
        (void)inode_get(&parent->inode);
    *proc = fresh;
    return 0;
}

static void proc_release(struct inode *inode)
{
    struct inode *parent = &proc_of(inode)->parent->inode; /* the root itself is never released */

    kfree(inode);
    inode_put(parent);
}

/* ---- directories --------------------------------------------------------------------------------------- */

/* Returns the number that the name is; -1: it is none. */
static int number_of(const char *name, size_t len_bytes)
{
    int number = 0;

    if (len_bytes == 0 || len_bytes > 9 || (name[0] == '0' && len_bytes > 1))
        return -1;
    for (size_t i = 0; i < len_bytes; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        number = 10 * number + (name[i] - '0');
    }
    return number;
}

static const struct entry *entry_find(const struct entry *entries, const char *name, size_t len_bytes)
{
    for (; entries->name != NULL; entries++)
        if (strlen(entries->name) == len_bytes && memcmp(entries->name, name, len_bytes) == 0)
            return entries;
    return NULL;
}

static int proc_lookup(struct inode *inode, const char *name, size_t len_bytes, struct inode **found)
{
    struct proc_inode *dir = proc_of(inode), *proc;
    const struct entry *entry = entry_find(dir->entry->entries, name, len_bytes);
    int number = number_of(name, len_bytes), pid = dir->pid, fd = -1;

    if (len_bytes == 2 && name[0] == '.' && name[1] == '.') {
        *found = inode_get(&dir->parent->inode);
        return 0;
    }
    if (pid != 0 && !procfs_pid_exists(pid))
        return -ENOENT;
    if (entry == NULL && dir->entry == &root_directory && number > 0 && procfs_pid_exists(number)) {
        entry = &pid_directory;
        pid = number;
    } else if (entry == NULL && dir->entry->entries == fd_entry && number >= 0) {
        int next = number;
        if (procfs_next_fd(pid, &next) == 0 && next == number) {
            entry = &fd_link;
            fd = number;
        }
    }
    if (entry == NULL)
        return -ENOENT;
    int error = proc_inode_create(inode->mount, dir, entry, pid, fd, &proc);
    if (error == 0)
        *found = &proc->inode;
    return error;
}

/* The next process or descriptor with a number >= *number. Errors: -ENOENT: there are no more. */
static int next_number(const struct proc_inode *dir, int *number)
{
    if (dir->entry == &root_directory)
        return procfs_next_pid(number);
    if (dir->entry->entries != fd_entry)
        return -ENOENT;
    return procfs_next_fd(dir->pid, number) == 0 ? 0 : -ENOENT;
}

static int readdir_numbers(struct proc_inode *dir, uint64_t *pos, readdir_fn *emit, void *arg)
{
    bool root = dir->entry == &root_directory;
    int number = (int)(*pos - PIDS), error = 0;

    while (error == 0 && next_number(dir, &number) == 0) {
        char name[12];
        int n = snprintf(name, sizeof(name), "%d", number);
        uint64_t ino = root ? ino_of(&pid_directory, number, -1) : ino_of(&fd_link, dir->pid, number);
        error =
            emit(arg, name, (size_t)n, ino, (root ? S_IFDIR : S_IFLNK) >> 12, PIDS + (uint64_t)number + 1);
        if (error == 0)
            *pos = PIDS + (uint64_t)++number;
    }
    return error;
}

static int readdir_entries(struct proc_inode *dir, uint64_t *pos, readdir_fn *emit, void *arg)
{
    const struct entry *entries = dir->entry->entries;
    int error = 0;

    for (uint64_t i = 0; entries[i].name != NULL && error == 0; i++) {
        if (FIRST + i < *pos)
            continue;
        error = emit(arg, entries[i].name, strlen(entries[i].name), ino_of(&entries[i], dir->pid, -1),
                     (entries[i].mode & S_IFMT) >> 12, FIRST + i + 1);
        if (error == 0)
            *pos = FIRST + i + 1;
    }
    return error;
}

static int proc_readdir(struct inode *inode, uint64_t *pos, readdir_fn *emit, void *arg)
{
    struct proc_inode *dir = proc_of(inode);
    int error = 0;

    if (dir->pid != 0 && !procfs_pid_exists(dir->pid))
        return -ENOENT;
    if (*pos == 0) {
        error = emit(arg, ".", 1, inode->ino, S_IFDIR >> 12, 1);
        *pos = error == 0 ? 1 : 0;
    }
    if (error == 0 && *pos == 1) {
        error = emit(arg, "..", 2, dir->parent->inode.ino, S_IFDIR >> 12, FIRST);
        *pos = error == 0 ? FIRST : 1;
    }
    if (error == 0 && *pos < PIDS) {
        error = readdir_entries(dir, pos, emit, arg);
        if (error == 0)
            *pos = PIDS;
    }
    return error == 0 ? readdir_numbers(dir, pos, emit, arg) : error;
}

/* ---- links --------------------------------------------------------------------------------------------- */

static int proc_readlink(struct inode *inode, char *target, size_t max)
{
    struct proc_inode *proc = proc_of(inode);
    struct text text = {.bytes = target, .max = max};
    int error =
        proc->fd >= 0 ? procfs_pid_fd(&text, proc->pid, proc->fd) : proc->entry->text(&text, proc->pid);

    if (error != 0)
        return error == -ESRCH ? -ENOENT : error;
    return (int)(text.len < max ? text.len : max);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Makes the text anew. (PT). */
static int text_make(struct proc_inode *proc, struct text *text)
{
    int error = 0;

    for (size_t max = TEXT_FIRST; error == 0; max *= 2) {
        kfree(text->bytes);
        *text = (struct text){.bytes = max <= TEXT_MAX ? kmalloc(max) : NULL, .max = max};
        if (text->bytes == NULL)
            return -ENOMEM;
        error = proc->entry->text(text, proc->pid);
        if (error == 0 && text->len < max) /* vsnprintf needs one byte more than the text has */
            break;
    }
    return error;
}

static int64_t proc_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct proc_open *open = file->private;
    struct uio uio;
    int64_t result = 0;

    uio_init(&uio, iov, niov);
    sleep_lock(&open->lock);
    if (*offset == 0 || open->text.bytes == NULL)
        result = text_make(proc_of(file->inode), &open->text);
    if (result == 0 && *offset < open->text.len) {
        uint64_t left = open->text.len - *offset, n = uio.left < left ? uio.left : left;
        result = uio_copyout(&uio, open->text.bytes + *offset, n);
        if (result == 0)
            result = (int64_t)n;
        *offset += result > 0 ? (uint64_t)result : 0;
    }
    sleep_unlock(&open->lock);
    return result;
}

static unsigned proc_poll(struct file *file)
{
    (void)file;
    return POLLIN | POLLRDNORM;
}

static void proc_close(struct file *file)
{
    struct proc_open *open = file->private;

    kfree(open->text.bytes);
    kfree(open);
}

static const struct file_ops proc_open_ops = {
    .read = proc_read,
    .poll = proc_poll,
    .close = proc_close,
    .seekable = true,
    .type = S_IFREG,
};

static int proc_file_open(struct inode *inode, struct file *file)
{
    (void)inode;
    file->private = kmalloc(sizeof(struct proc_open));
    if (file->private == NULL)
        return -ENOMEM;
    file->ops = &proc_open_ops;
    return 0;
}

static const struct inode_ops proc_dir_ops = {
    .lookup = proc_lookup,
    .readdir = proc_readdir,
    .release = proc_release,
};
static const struct inode_ops proc_link_ops = {
    .readlink = proc_readlink,
    .release = proc_release,
};
static const struct inode_ops proc_file_ops = {
    .open = proc_file_open,
    .release = proc_release,
};

/* ---- the mount ----------------------------------------------------------------------------------------- */

static int proc_statfs(struct mount *mount, void *statfs)
{
    struct statfs64 *st = statfs;

    (void)mount;
    memset(st, 0, sizeof(*st));
    st->f_type = PROC_SUPER_MAGIC;
    st->f_bsize = st->f_frsize = VM_PAGE_SIZE;
    st->f_namelen = NAME_LEN_MAX;
    return 0;
}

static int proc_unmount(struct mount *mount)
{
    kfree(mount->root);
    kfree(mount);
    return 0;
}

int procfs_mount(struct mount **mount)
{
    struct mount *fresh = kmalloc(sizeof(*fresh));
    struct proc_inode *root;

    if (fresh == NULL)
        return -ENOMEM;
    int error = proc_inode_create(fresh, NULL, &root_directory, 0, -1, &root);
    if (error != 0) {
        kfree(fresh);
        return error;
    }
    fresh->type = "proc";
    fresh->root = &root->inode;
    fresh->uncached = true;
    fresh->dev = mount_anonymous_dev();
    fresh->statfs = proc_statfs;
    fresh->unmount = proc_unmount;
    *mount = fresh;
    return 0;
}
