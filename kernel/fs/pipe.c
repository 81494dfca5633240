/*
 * pipe.c: pipes and fifos.
 *
 *   page[0 … 15]:  | . . . head ▓▓▓▓▓▓▓ tail . . . |      a ring of bytes; head and tail only grow
 *                            ▲ read       ▲ write         at empty both go back to 0, so that a pipe which
 *                                                         carries little uses one page
 *
 * The copy between ring and program is made under the pipe's lock and takes no fault there. Where the
 * program's memory is absent, the lock is dropped, the memory faulted in, and the copy made again. A write of
 * up to PIPE_BUF bytes becomes visible as a whole or not at all.
 *
 * Nobody is woken who does not wait: the counts of waiters are kept under the lock.
 *
 * A fifo is a pipe that is found by its inode, for as long as someone has it open. A pipe without a name is
 * part of an inode of its own, so that /proc/PID/fd/N can be opened: it lives as long as that.
 *
 * Locks: (FI) fifo_lock: the list of fifos. (PI) pipe->lock, below (FI); above (P).
 */
#include "fs/pipe.h"

#include "fs/mount.h"
#include "fs/namei.h"
#include "fs/uio.h"
#include "kernel.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#include <asm/ioctls.h>
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/stat.h>

#define PIPE_PAGES (PIPE_BYTES / VM_PAGE_SIZE)

struct pipe {
    struct machine_lock lock;
    char *page[PIPE_PAGES];           /* (PI) NULL: not needed so far */
    uint32_t head, tail;              /* (PI) tail - head bytes are in the pipe */
    uint32_t readers, writers;        /* (PI) open ends; the pipe lives while there is one */
    uint32_t reading, writing;        /* (PI) threads that wait; the addresses are their channels */
    uint32_t read_opens, write_opens; /* (PI) how often the ends were opened: fifos wait for a change */
    struct inode *fifo;               /* (c) NULL: it has no name, and is a pipe_inode's */
    struct pipe *next;                /* (FI) */
};

/* A pipe without a name. */
struct pipe_inode {
    struct inode inode;
    struct pipe pipe;
};

static struct mount pipe_mount = {.type = "pipe", .uncached = true};
static struct machine_lock fifo_lock;
static struct pipe *fifos; /* (FI) */

static struct pipe *pipe_of(const struct file *file)
{
    return file->private;
}

static bool file_reads(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY;
}

static bool file_writes(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY;
}

/* ---- copying ------------------------------------------------------------------------------------------- */

/* Returns whether all was copied. `out`: to memory, otherwise from it; memory is the program's or the
 * kernel's. */
static bool copy_nofault(void *memory, char *kernel, size_t len_bytes, bool out)
{
    void *to = out ? memory : kernel;
    const void *from = out ? kernel : memory;

    if ((uint64_t)memory > USER_END) {
        memcpy(to, from, len_bytes);
        return true;
    }
    if ((uint64_t)memory < USER_START)
        return false;
    struct thread *td = curthread();
    td->td_nofault = true;
    size_t left = copy_user(to, from, len_bytes);
    td->td_nofault = false;
    return left == 0;
}

/* The program's memory is absent where the cursor stands. No lock. Errors: -EFAULT. */
static int pipe_fault_in(struct uio *uio, bool out)
{
    struct fl_iovec piece = uio_piece(uio);
    vm_offset_t end = (vm_offset_t)piece.base + piece.len_bytes;
    vm_offset_t first = trunc_page((vm_offset_t)piece.base);

    for (vm_offset_t va = first; va < end && va - first < PIPE_BYTES; va += VM_PAGE_SIZE)
        if (fl_fault(curproc()->map, va, out ? VM_PROT_WRITE : VM_PROT_READ) != 0)
            return va == first ? -EFAULT : 0;
    return 0;
}

/* How many bytes of the ring at position `pos` one copy can move. */
static size_t ring_piece(struct uio *uio, uint32_t pos, size_t len_bytes)
{
    size_t in_page = VM_PAGE_SIZE - pos % VM_PAGE_SIZE, piece = uio_piece(uio).len_bytes;

    len_bytes = len_bytes < in_page ? len_bytes : in_page;
    return len_bytes < piece ? len_bytes : piece;
}

/* Takes bytes out of the ring. *absent: memory of the program's is. Returns how many. */
static size_t pipe_take(struct pipe *pipe, struct uio *uio, bool *absent) FL_REQUIRES(pipe->lock)
{
    size_t done = 0;

    *absent = false;
    while (uio->left > 0 && pipe->head != pipe->tail && !*absent) {
        size_t n = ring_piece(uio, pipe->head, pipe->tail - pipe->head);
        char *from = pipe->page[pipe->head / VM_PAGE_SIZE % PIPE_PAGES] + pipe->head % VM_PAGE_SIZE;
        if (!copy_nofault(uio_piece(uio).base, from, n, true)) {
            *absent = true;
            break;
        }
        uio_advance(uio, n);
        pipe->head += (uint32_t)n;
        done += n;
    }
    if (pipe->head == pipe->tail)
        pipe->head = pipe->tail = 0;
    return done;
}

/*
 * Puts the cursor's bytes into the ring, at most len_bytes. `whole`: all of these or none. *absent: as above.
 * Returns how many. Errors: -ENOMEM, none.
 */
static int64_t pipe_put(struct pipe *pipe, struct uio *uio, size_t len_bytes, bool whole, bool *absent)
    FL_REQUIRES(pipe->lock)
{
    struct uio start = *uio;
    uint32_t tail = pipe->tail;
    size_t done = 0;
    int error = 0;

    *absent = false;
    while (done < len_bytes) {
        size_t n = ring_piece(uio, tail, len_bytes - done);
        char **page = &pipe->page[tail / VM_PAGE_SIZE % PIPE_PAGES];
        if (*page == NULL && (*page = kmalloc(VM_PAGE_SIZE)) == NULL)
            error = -ENOMEM;
        else
            *absent = !copy_nofault(uio_piece(uio).base, *page + tail % VM_PAGE_SIZE, n, false);
        if (error != 0 || *absent)
            break;
        uio_advance(uio, n);
        tail += (uint32_t)n;
        done += n;
    }
    if (whole && done < len_bytes) {
        *uio = start;
        return error;
    }
    pipe->tail = tail;
    return done > 0 ? (int64_t)done : error;
}

/* ---- reading and writing ------------------------------------------------------------------------------- */

static int pipe_wait(struct pipe *pipe, struct file *file, uint32_t *waiters) FL_REQUIRES(pipe->lock)
{
    if (file->flags & O_NONBLOCK)
        return -EAGAIN;
    (*waiters)++;
    int error = sleep_interruptible(waiters, &pipe->lock, UINT64_MAX);
    (*waiters)--;
    return error;
}

static void pipe_wake(const uint32_t *waiters)
{
    if (*waiters > 0)
        machine_wake(waiters);
}

/* The lock is dropped to bring the program's memory in. */
static int pipe_absent(struct pipe *pipe, struct uio *uio, bool out) FL_REQUIRES(pipe->lock)
{
    machine_unlock(&pipe->lock);
    int error = pipe_fault_in(uio, out);
    machine_lock(&pipe->lock);
    return error;
}

static int64_t pipe_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct pipe *pipe = pipe_of(file);
    struct uio uio;
    int64_t done = 0;
    bool absent = false;
    int error = 0;

    (void)offset;
    uio_init(&uio, iov, niov);
    if (uio.left == 0)
        return 0;
    machine_lock(&pipe->lock);
    for (;;) { /* until there is something */
        size_t n = pipe_take(pipe, &uio, &absent);
        done += (int64_t)n;
        if (n > 0)
            pipe_wake(&pipe->writing);
        if (absent)
            error = pipe_absent(pipe, &uio, true);
        else if (done > 0 || pipe->writers == 0)
            break;
        else
            error = pipe_wait(pipe, file, &pipe->reading);
        if (error != 0)
            break;
    }
    machine_unlock(&pipe->lock);
    if (done > 0)
        poll_wake();
    return done > 0 ? done : error;
}

/* Puts one portion, or waits until there is room for it. Returns bytes, perhaps 0. Errors. */
static int64_t pipe_write_some(struct pipe *pipe, struct file *file, struct uio *uio, bool whole)
    FL_REQUIRES(pipe->lock)
{
    size_t room = PIPE_BYTES - (pipe->tail - pipe->head);
    bool absent;

    if (pipe->readers == 0)
        return -EPIPE;
    if (room < (whole ? uio->left : 1))
        return pipe_wait(pipe, file, &pipe->writing);
    int64_t n = pipe_put(pipe, uio, uio->left < room ? uio->left : room, whole, &absent);
    if (n > 0)
        pipe_wake(&pipe->reading);
    if (n <= 0 && absent)
        n = pipe_absent(pipe, uio, false);
    return n;
}

static int64_t pipe_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct pipe *pipe = pipe_of(file);
    struct uio uio;
    int64_t done = 0, n = 0;

    (void)offset;
    uio_init(&uio, iov, niov);
    bool whole = uio.left <= PIPE_BUF;
    machine_lock(&pipe->lock);
    while (uio.left > 0 && n >= 0) {
        n = pipe_write_some(pipe, file, &uio, whole);
        done += n > 0 ? n : 0;
    }
    machine_unlock(&pipe->lock);
    if (done > 0)
        poll_wake();
    if (n == -EPIPE)
        psignal(curproc(), SIGPIPE);
    return done > 0 ? done : n < 0 ? n : 0;
}

static unsigned pipe_poll(struct file *file)
{
    struct pipe *pipe = pipe_of(file);
    unsigned events = 0;

    machine_lock(&pipe->lock);
    uint32_t used = pipe->tail - pipe->head;
    if (file_reads(file)) {
        events |= used > 0 ? POLLIN | POLLRDNORM : 0;
        events |= pipe->writers == 0 && (pipe->fifo == NULL || pipe->write_opens > 0) ? POLLHUP : 0;
    }
    if (file_writes(file)) {
        events |= PIPE_BYTES - used >= PIPE_BUF ? POLLOUT | POLLWRNORM : 0;
        events |= pipe->readers == 0 ? POLLERR : 0;
    }
    machine_unlock(&pipe->lock);
    return events;
}

static int64_t pipe_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    struct pipe *pipe = pipe_of(file);

    if (request != FIONREAD)
        return -ENOTTY;
    machine_lock(&pipe->lock);
    int used = (int)(pipe->tail - pipe->head);
    machine_unlock(&pipe->lock);
    return copyout(&used, arg, sizeof(used));
}

/* ---- the ends ------------------------------------------------------------------------------------------ */

static void pipe_free_pages(struct pipe *pipe)
{
    for (size_t i = 0; i < PIPE_PAGES; i++)
        kfree(pipe->page[i]);
}

/* (FI) if it is a fifo. */
static void fifo_remove(struct pipe *pipe)
{
    struct pipe **link = &fifos;

    while (*link != pipe)
        link = &(*link)->next;
    *link = pipe->next;
}

static void pipe_close(struct file *file) FL_NO_THREAD_SAFETY_ANALYSIS /* (FI) for fifos only */
{
    struct pipe *pipe = pipe_of(file);
    bool fifo = pipe->fifo != NULL;

    if (fifo)
        machine_lock(&fifo_lock);
    machine_lock(&pipe->lock);
    pipe->readers -= file_reads(file);
    pipe->writers -= file_writes(file);
    pipe_wake(&pipe->reading);
    pipe_wake(&pipe->writing);
    bool last = pipe->readers == 0 && pipe->writers == 0;
    machine_unlock(&pipe->lock);
    if (fifo && last)
        fifo_remove(pipe);
    if (fifo)
        machine_unlock(&fifo_lock);
    if (fifo && last) {
        pipe_free_pages(pipe);
        kfree(pipe);
    } else {
        poll_wake();
    }
}

static const struct file_ops pipe_read_ops = {
    .read = pipe_read, .poll = pipe_poll, .ioctl = pipe_ioctl, .close = pipe_close, .type = S_IFIFO | 0600};
static const struct file_ops pipe_write_ops = {
    .write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl, .close = pipe_close, .type = S_IFIFO | 0600};
static const struct file_ops pipe_both_ops = {.read = pipe_read,
                                              .write = pipe_write,
                                              .poll = pipe_poll,
                                              .ioctl = pipe_ioctl,
                                              .close = pipe_close,
                                              .type = S_IFIFO | 0600};

/* The file is an end, or both. From here on its close counts the end off again, also when the open fails. */
static void pipe_attach(struct pipe *pipe, struct file *file)
{
    machine_lock(&pipe->lock);
    pipe->readers += file_reads(file);
    pipe->read_opens += file_reads(file);
    pipe->writers += file_writes(file);
    pipe->write_opens += file_writes(file);
    pipe_wake(&pipe->reading);
    pipe_wake(&pipe->writing);
    machine_unlock(&pipe->lock);
    file->private = pipe;
    file->ops = file_reads(file) ? (file_writes(file) ? &pipe_both_ops : &pipe_read_ops) : &pipe_write_ops;
}

bool file_is_pipe(const struct file *file)
{
    return file->ops == &pipe_read_ops || file->ops == &pipe_write_ops || file->ops == &pipe_both_ops;
}

/* ---- pipes without names ------------------------------------------------------------------------------- */

static int pipe_inode_open(struct inode *inode, struct file *file)
{
    pipe_attach(&((struct pipe_inode *)inode)->pipe, file);
    return 0;
}

static void pipe_inode_release(struct inode *inode)
{
    pipe_free_pages(&((struct pipe_inode *)inode)->pipe);
    kfree(inode);
}

static const struct inode_ops pipe_inode_ops = {.open = pipe_inode_open, .release = pipe_inode_release};

void pipe_boot(void)
{
    pipe_mount.dev = mount_anonymous_dev();
}

static struct inode *pipe_inode_create(void)
{
    static _Atomic uint64_t last_ino;
    struct pipe_inode *fresh = kmalloc(sizeof(*fresh));
    const struct proc *proc = curproc();

    if (fresh == NULL)
        return NULL;
    struct inode *inode = &fresh->inode;
    inode->ops = &pipe_inode_ops;
    inode->mount = &pipe_mount;
    inode->ino = atomic_fetch_add(&last_ino, 1) + 1;
    inode->refs = 1;
    inode->mode = S_IFIFO | 0600;
    inode->nlink = 1;
    inode->uid = proc->euid;
    inode->gid = proc->egid;
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = wall_time_ns();
    return inode;
}

int pipe_create(unsigned flags, struct file *end[2])
{
    struct inode *inode = pipe_inode_create();

    if (inode == NULL)
        return -ENOMEM;
    int error = file_open_inode(inode, flags | O_RDONLY | O_NOCTTY, &end[0]);
    if (error == 0) {
        error = file_open_inode(inode, flags | O_WRONLY | O_NOCTTY, &end[1]);
        if (error != 0)
            fput(end[0]);
    }
    inode_put(inode); /* the ends have theirs */
    return error;
}

/* ---- fifos --------------------------------------------------------------------------------------------- */

/* The fifo's pipe, found or made, with the file counted among its ends. (FI). */
static int fifo_attach(struct file *file, struct pipe **pipe)
{
    struct pipe *found = fifos;

    while (found != NULL && found->fifo != file->inode)
        found = found->next;
    if (found == NULL) {
        found = kmalloc(sizeof(*found));
        if (found == NULL)
            return -ENOMEM;
        found->fifo = file->inode;
        found->next = fifos;
        fifos = found;
    }
    pipe_attach(found, file);
    *pipe = found;
    return 0;
}

/* Waits for the other end. Errors: -ENXIO, -ERESTART. */
static int fifo_wait(struct pipe *pipe, struct file *file)
{
    bool reads = file_reads(file);
    int error = 0;

    if (reads && file_writes(file))
        return 0;
    machine_lock(&pipe->lock);
    uint32_t *others = reads ? &pipe->writers : &pipe->readers;
    uint32_t *opens = reads ? &pipe->write_opens : &pipe->read_opens, seen = *opens;
    if (*others == 0 && (file->flags & O_NONBLOCK))
        error = reads ? 0 : -ENXIO;
    else
        while (*others == 0 && *opens == seen && error == 0)
            error = pipe_wait(pipe, file, reads ? &pipe->reading : &pipe->writing);
    machine_unlock(&pipe->lock);
    return error;
}

int fifo_open(struct file *file)
{
    struct pipe *pipe;

    machine_lock(&fifo_lock);
    int error = fifo_attach(file, &pipe);
    machine_unlock(&fifo_lock);
    if (error != 0)
        return error;
    poll_wake();
    return fifo_wait(pipe, file);
}
