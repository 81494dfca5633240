/*
 * procfs_process.c: what /proc says of one process.
 *
 *   view_get(pid) ─▶ a copy of what is needed, references to space, descriptors, paths ─▶ text ─▶ view_put
 *
 * Under (P) only the copy is made: what follows may sleep.
 *
 * Does not do: when the process was started, how its time is divided into user and system, its faults; how
 * much of a region is in memory.
 */
#include "fs/devfs.h"
#include "fs/mount.h"
#include "fs/namei.h"
#include "fs/procfs_text.h"
#include "kernel.h"
#include "kmem.h"
#include "lib/copy.h"
#include "x86_64/space.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/stat.h>

#define TICK_NS     UINT64_C(10000000) /* programs take 100 a second for granted */
#define MAPS_COLUMN 73                 /* where paths begin */

struct view {
    int pid, ppid, pgid, sid;
    char state; /* R, S, T, Z */
    char comm[16];
    uint32_t uid, gid, euid, egid, nthreads;
    uint64_t time_ns, child_time_ns;
    uint64_t brk_start, stack_top, arg_start, arg_end;
    sigset pending, blocked, ignored, caught;
    struct vmspace *vm;    /* with a reference; NULL: it has ended */
    struct filedesc *fd;   /* the same */
    struct fs_context *fs; /* the same */
    struct file *exe;      /* the same */
};

/* ---- the copy ------------------------------------------------------------------------------------------ */

static char state_letter(const struct proc *proc) FL_REQUIRES(proc_lock)
{
    if (proc->state != PROC_ALIVE)
        return proc->state == PROC_STOPPED ? 'T' : 'Z';
    for (const struct thread *td = proc->threads; td != NULL; td = td->td_next)
        if (td->td_state != TD_SLEEPING)
            return 'R';
    return 'S';
}

static void view_signals(const struct proc *proc, struct view *view) FL_REQUIRES(proc_lock)
{
    view->pending = proc->pending;
    view->blocked = proc->threads != NULL ? proc->threads->td_sigmask : 0;
    for (int signal = 1; signal <= NSIG; signal++) {
        uint64_t handler = proc->action[signal].handler;
        if (handler == SIG_IGN)
            view->ignored |= sigbit(signal);
        else if (handler != SIG_DFL)
            view->caught |= sigbit(signal);
    }
}

/* Errors: -ESRCH. */
static int view_get(int pid, struct view *view)
{
    machine_lock(&proc_lock);
    struct proc *proc = proc_find(pid);
    if (proc == NULL) {
        machine_unlock(&proc_lock);
        return -ESRCH;
    }
    *view = (struct view){.pid = pid,
                          .ppid = proc->parent != NULL ? proc->parent->pid : 0,
                          .pgid = proc->pgid,
                          .sid = proc->sid,
                          .state = state_letter(proc),
                          .uid = proc->uid,
                          .gid = proc->gid,
                          .euid = proc->euid,
                          .egid = proc->egid,
                          .nthreads = proc->nthreads,
                          .time_ns = proc_time_ns(proc),
                          .child_time_ns = proc->child_time_ns,
                          .brk_start = proc->brk_start,
                          .stack_top = proc->stack_top,
                          .arg_start = proc->arg_start,
                          .arg_end = proc->arg_end};
    memcpy(view->comm, proc->comm, sizeof(view->comm));
    view_signals(proc, view);
    view->vm = vmspace_of(proc);
    /* A process that is ending gives these up without the lock. */
    bool whole = view->vm != NULL && !proc->exiting && proc->nthreads > 0;
    view->fd = whole && proc->fd != NULL ? filedesc_ref(proc->fd) : NULL;
    view->fs = whole && proc->fs != NULL ? fs_context_ref(proc->fs) : NULL;
    view->exe = whole && proc->exe != NULL ? file_ref(proc->exe) : NULL;
    machine_unlock(&proc_lock);
    return 0;
}

static void view_put(struct view *view)
{
    if (view->exe != NULL)
        fput(view->exe);
    if (view->fs != NULL)
        fs_context_put(view->fs);
    if (view->fd != NULL)
        filedesc_put(view->fd);
    if (view->vm != NULL)
        vmspace_put(view->vm);
}

/* In pages: mapped, resident. */
static void view_sizes(const struct view *view, struct fl_space_usage *usage, uint64_t *resident)
{
    *usage = (struct fl_space_usage){0};
    *resident = 0;
    if (view->vm == NULL)
        return;
    fl_space_usage(view->vm->map, usage);
    *resident = fl_space_machine(view->vm->map)->pmap.resident_count;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

int procfs_pid_comm(struct text *text, int pid)
{
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    text_printf(text, "%s\n", view.comm);
    view_put(&view);
    return 0;
}

/* The fields of proc(5), of which those that nobody counts are 0. */
int procfs_pid_stat(struct text *text, int pid)
{
    struct fl_space_usage usage;
    struct view v;
    uint64_t resident;
    int error = view_get(pid, &v);

    if (error != 0)
        return error;
    view_sizes(&v, &usage, &resident);
    text_printf(text, "%d (%s) %c %d %d %d 0 -1 0 0 0 0 0 ", v.pid, v.comm, v.state, v.ppid, v.pgid, v.sid);
    text_printf(text, "%llu 0 %llu 0 20 0 %u 0 0 ", (unsigned long long)(v.time_ns / TICK_NS),
                (unsigned long long)(v.child_time_ns / TICK_NS), v.nthreads);
    text_printf(text, "%llu %llu %llu 0 0 %llu 0 0 ", (unsigned long long)usage.as_bytes,
                (unsigned long long)resident, (unsigned long long)UINT64_MAX,
                (unsigned long long)v.stack_top);
    text_printf(text, "%llu %llu %llu %llu 0 0 0 17 0 0 0 0 0 0 0 0 %llu %llu %llu 0 0 0\n",
                (unsigned long long)(v.pending & INT32_MAX), (unsigned long long)(v.blocked & INT32_MAX),
                (unsigned long long)(v.ignored & INT32_MAX), (unsigned long long)(v.caught & INT32_MAX),
                (unsigned long long)v.brk_start, (unsigned long long)v.arg_start,
                (unsigned long long)v.arg_end);
    view_put(&v);
    return 0;
}

int procfs_pid_statm(struct text *text, int pid)
{
    struct fl_space_usage usage;
    struct view view;
    uint64_t resident;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    view_sizes(&view, &usage, &resident);
    text_printf(text, "%llu %llu 0 0 0 %llu 0\n", (unsigned long long)atop(usage.as_bytes),
                (unsigned long long)resident, (unsigned long long)atop(usage.data_bytes));
    view_put(&view);
    return 0;
}

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "R (running)";
    case 'S':
        return "S (sleeping)";
    case 'T':
        return "T (stopped)";
    default:
        return "Z (zombie)";
    }
}

int procfs_pid_status(struct text *text, int pid)
{
    struct fl_space_usage usage;
    struct view v;
    uint64_t resident;
    int error = view_get(pid, &v);

    if (error != 0)
        return error;
    view_sizes(&v, &usage, &resident);
    text_printf(text, "Name:\t%s\nState:\t%s\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", v.comm,
                state_name(v.state), v.pid, v.pid, v.ppid);
    text_printf(text, "Uid:\t%u\t%u\t%u\t%u\n", v.uid, v.euid, v.euid, v.euid);
    text_printf(text, "Gid:\t%u\t%u\t%u\t%u\n", v.gid, v.egid, v.egid, v.egid);
    if (v.vm != NULL) {
        text_printf(text, "VmSize:\t%8llu kB\nVmLck:\t%8llu kB\n", (unsigned long long)usage.as_bytes / 1024,
                    (unsigned long long)usage.memlock_bytes / 1024);
        text_printf(text, "VmRSS:\t%8llu kB\nVmData:\t%8llu kB\n",
                    (unsigned long long)(ptoa(resident) / 1024), (unsigned long long)usage.data_bytes / 1024);
    }
    text_printf(text,
                "Threads:\t%u\nSigPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n",
                v.nthreads, (unsigned long long)v.pending, (unsigned long long)v.blocked,
                (unsigned long long)v.ignored, (unsigned long long)v.caught);
    view_put(&v);
    return 0;
}

/* ---- arguments ----------------------------------------------------------------------------------------- */

/* Copies from one page of the space, which it sees through the space's own tables. Errors: -EFAULT. */
static int copy_from_space(struct vm_map *map, vm_offset_t va, char *to, size_t len_bytes)
{
    struct thread *td = curthread();

    if (fl_fault(map, va, VM_PROT_READ) != 0)
        return -EFAULT;
    thread_set_space(fl_space_machine(map));
    td->td_nofault = true;
    size_t left = copy_user(to, (const void *)va, len_bytes);
    td->td_nofault = false;
    thread_set_space(fl_space_machine(curproc()->map));
    return left == 0 ? 0 : -EFAULT; /* the page was taken away again: memory is short */
}

static int text_memory(struct text *text, struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    int error = 0;

    while (start < end && error == 0) {
        char bytes[128];
        size_t n = VM_PAGE_SIZE - (start & VM_PAGE_MASK);
        n = n < end - start ? n : end - start;
        n = n < sizeof(bytes) ? n : sizeof(bytes);
        error = copy_from_space(map, start, bytes, n);
        for (size_t i = 0; i < n && error == 0; i++, text->len++)
            if (text->len < text->max)
                text->bytes[text->len] = bytes[i];
        start += n;
    }
    return error;
}

int procfs_pid_cmdline(struct text *text, int pid)
{
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    if (view.vm != NULL && view.arg_end <= USER_END)
        error = text_memory(text, view.vm->map, view.arg_start, view.arg_end);
    view_put(&view);
    return error;
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

/* The file that is mapped, and its path. */
static void maps_file(struct text *text, size_t line, const struct vnode *vnode)
{
    struct inode *inode;
    uint64_t dev, ino;

    if (!inode_find_vnode(vnode, &dev, &ino, &inode)) {
        text_printf(text, "00:00 0");
        return;
    }
    text_printf(text, "%02x:%02x %llu", dev_major(dev), dev_minor(dev), (unsigned long long)ino);
    if (inode == NULL)
        return;
    text_pad(text, line, MAPS_COLUMN);
    (void)!procfs_inode_text(text, inode); /* without memory the line has no path */
    inode_put(inode);
}

static void maps_region(struct text *text, const struct view *view, const struct fl_region *region)
{
    size_t line = text->len;

    text_printf(text, "%08llx-%08llx %c%c%c%c %08llx ", (unsigned long long)region->start,
                (unsigned long long)region->end, region->prot & VM_PROT_READ ? 'r' : '-',
                region->prot & VM_PROT_WRITE ? 'w' : '-', region->prot & VM_PROT_EXECUTE ? 'x' : '-',
                region->shared ? 's' : 'p', (unsigned long long)(region->vnode != NULL ? region->offset : 0));
    if (region->vnode != NULL) {
        maps_file(text, line, region->vnode);
    } else {
        text_printf(text, "00:00 0");
        bool heap = region->start <= view->brk_start && view->brk_start < region->end;
        bool stack = region->start < view->stack_top && view->stack_top <= region->end;
        if (heap || stack) {
            text_pad(text, line, MAPS_COLUMN);
            text_printf(text, heap ? "[heap]" : "[stack]");
        }
    }
    text_printf(text, "\n");
}

/* What smaps says of a region: its flags in the two letters of proc(5). */
static void smaps_region(struct text *text, const struct fl_region *region)
{
    text_printf(text, "Size:           %8llu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\nVmFlags:",
                (unsigned long long)(region->end - region->start) / 1024, (unsigned)VM_PAGE_SIZE / 1024,
                (unsigned)VM_PAGE_SIZE / 1024);
    text_printf(text, "%s%s%s%s", region->prot & VM_PROT_READ ? " rd" : "",
                region->prot & VM_PROT_WRITE ? " wr" : "", region->prot & VM_PROT_EXECUTE ? " ex" : "",
                region->shared ? " sh" : "");
    text_printf(text, "%s%s%s", region->max_prot & VM_PROT_READ ? " mr" : "",
                region->max_prot & VM_PROT_WRITE ? " mw" : "",
                region->max_prot & VM_PROT_EXECUTE ? " me" : "");
    text_printf(text, "%s%s%s \n", region->wired ? " lo" : "",
                region->inherit == FL_INHERIT_NONE ? " dc" : "",
                region->inherit == FL_INHERIT_ZERO ? " wf" : "");
}

static int regions_text(struct text *text, int pid, bool flags)
{
    struct fl_region region;
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    for (vm_offset_t va = 0; view.vm != NULL && fl_space_region(view.vm->map, va, &region) == 0;
         va = region.end) {
        maps_region(text, &view, &region);
        if (flags)
            smaps_region(text, &region);
    }
    view_put(&view);
    return 0;
}

int procfs_pid_maps(struct text *text, int pid)
{
    return regions_text(text, pid, false);
}

int procfs_pid_smaps(struct text *text, int pid)
{
    return regions_text(text, pid, true);
}

/* ---- links --------------------------------------------------------------------------------------------- */

int procfs_inode_text(struct text *text, struct inode *inode)
{
    const char *last = __atomic_load_n(&inode->last_path, __ATOMIC_ACQUIRE);
    char *path = kmalloc(PATH_LEN_MAX);

    if (path == NULL)
        return -ENOMEM;
    if (last != NULL)
        text_printf(text, "%s (deleted)", last);
    else if (inode_path(inode, path, PATH_LEN_MAX) == 0)
        text_printf(text, "%s", path);
    else
        text_printf(text, "%s:[%llu]", inode->mount->type, (unsigned long long)inode->ino);
    kfree(path);
    return 0;
}

int procfs_pid_exe(int pid, struct inode **inode)
{
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    if (view.exe != NULL && view.exe->inode != NULL)
        *inode = inode_get(view.exe->inode);
    else
        error = -ENOENT;
    view_put(&view);
    return error;
}

static int context_inode(int pid, struct inode *(*get)(struct fs_context *fs), struct inode **inode)
{
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    if (view.fs != NULL)
        *inode = get(view.fs);
    else
        error = -ENOENT;
    view_put(&view);
    return error;
}

int procfs_pid_cwd(int pid, struct inode **inode)
{
    return context_inode(pid, fs_context_cwd, inode);
}

int procfs_pid_root(int pid, struct inode **inode)
{
    return context_inode(pid, fs_context_root, inode);
}

/* ---- descriptors and processes ------------------------------------------------------------------------- */

/* *file: of the first descriptor >= *fd, with a reference. Errors: -ENOENT, -ESRCH. */
static int next_file(int pid, int *fd, struct file **file)
{
    struct view view;
    int error = view_get(pid, &view);

    if (error != 0)
        return error;
    *file = NULL;
    if (view.fd != NULL)
        filedesc_next(view.fd, fd, file);
    view_put(&view);
    return *file != NULL ? 0 : -ENOENT;
}

int procfs_next_fd(int pid, int *fd)
{
    struct file *file;
    int error = next_file(pid, fd, &file);

    if (error == 0)
        fput(file);
    return error;
}

/* *file: of exactly that descriptor, with a reference. Errors: -ENOENT, -ESRCH. */
static int fd_file(int pid, int fd, struct file **file)
{
    int found = fd, error = next_file(pid, &found, file);

    if (error == 0 && found != fd) {
        fput(*file);
        error = -ENOENT;
    }
    return error;
}

int procfs_pid_fd(int pid, int fd, struct inode **inode)
{
    struct file *file;
    int error = fd_file(pid, fd, &file);

    if (error != 0)
        return error;
    if (file->inode != NULL)
        *inode = inode_get(file->inode);
    else
        error = -ENXIO;
    fput(file);
    return error;
}

int procfs_fd_text(struct text *text, int pid, int fd)
{
    struct file *file;
    int error = fd_file(pid, fd, &file);

    if (error != 0)
        return error;
    if (file->inode != NULL)
        error = procfs_inode_text(text, file->inode);
    else
        text_printf(text, "anon_inode:%s", file->ops->name);
    fput(file);
    return error;
}

int procfs_next_pid(int *pid)
{
    int least = 0;

    machine_lock(&proc_lock);
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p))
        if (p->pid >= *pid && (least == 0 || p->pid < least))
            least = p->pid;
    machine_unlock(&proc_lock);
    if (least == 0)
        return -ENOENT;
    *pid = least;
    return 0;
}

bool procfs_pid_exists(int pid)
{
    machine_lock(&proc_lock);
    bool exists = proc_find(pid) != NULL;
    machine_unlock(&proc_lock);
    return exists;
}
