/*
 * proc.h: a process, and the kernel's part of a thread.
 *
 *   struct proc ─┬─ vmspace ─▶ vm_map (the core's)   what its addresses mean
 *                ├─ filedesc, fs_context             what its descriptors and paths mean
 *                ├─ action[], pending                what its signals do
 *                └─ threads ─▶ struct thread (machines/x86_64/thread.h): a kernel stack and registers
 *
 *   ALIVE ◀──▶ STOPPED       ALIVE ──▶ (exiting: threads leave one by one) ──▶ ZOMBIE ──▶ wait4 frees it
 *
 * fork makes a proc with a copy of each; clone with CLONE_THREAD makes one thread more; vfork shares the
 * vmspace until exec or exit.
 *
 * Locks: (P) proc_lock, one for all processes: the tree of processes, their states, their threads and all
 * that belongs to signals. A leaf but for the machine's own; nothing sleeps with it held except on it.
 */
#ifndef KERNEL_PROC_PROC_H
#define KERNEL_PROC_PROC_H

#include <faultline/machine.h>
#include <faultline/vm.h>

#include "proc/signal.h"

struct filedesc;
struct fs_context;
struct file;
struct thread;

/* An address space, and how many processes use it: more than one after vfork and clone with CLONE_VM. */
struct vmspace {
    struct vm_map *map; /* (c) */
    uint32_t refs;      /* (P) */
};

enum proc_state {
    PROC_ALIVE,
    PROC_STOPPED,
    PROC_ZOMBIE,
};

/* What wait4 has not told yet of a process that lives. */
enum proc_report {
    REPORT_NONE,
    REPORT_STOPPED,
    REPORT_CONTINUED,
};

#define RLIMITS 16

/* What a vfork waits for; on the parent's stack. */
struct vfork_wait {
    bool done; /* (P) */
};

struct proc {
    int pid, pgid, sid;         /* (P); pid constant */
    struct proc *parent;        /* (P) */
    struct proc *children;      /* (P) */
    struct proc *sibling;       /* (P) */
    struct proc *next, **prev;  /* (P) all processes */
    struct proc *hash_next;     /* (P) processes by pid */
    struct thread *threads;     /* (P) by td_next */
    uint32_t nthreads;          /* (P) */
    enum proc_state state;      /* (P) */
    bool exiting;               /* (P) exit_group or a deadly signal: threads end when they notice */
    bool execed;                /* (P) since its fork */
    enum proc_report report;    /* (P) */
    int status;                 /* (P) for wait4 */
    int exit_signal;            /* (P) which the parent gets at its end; 0: none */
    int stop_signal;            /* (P) */
    struct thread *exec_thread; /* (P) the others end, for this one is in exec */
    struct vmspace *vmspace;    /* (P) NULL: it has ended */
    struct vm_map *map;         /* vmspace's; (c) between exec and exit */
    struct vfork_wait *vfork;   /* (P) who waits for exec or exit; NULL: nobody */
    struct filedesc *fd;
    struct fs_context *fs;
    struct file *exe; /* with a reference */
    char comm[16];
    uint32_t uid, gid, euid, egid;
    uint64_t rlimit_cur[RLIMITS], rlimit_max[RLIMITS]; /* (P) */
    uint64_t mmap_base, brk_start, stack_top;          /* of the image */
    uint64_t arg_start, arg_end;                       /* for /proc/PID/cmdline */

    struct sigaction_kernel action[NSIG + 1]; /* (P) */
    sigset pending;                           /* (P) for any thread */
    struct sigqueue *queue;                   /* (P) of pending ones */
    uint32_t nqueued;                         /* (P) in all queues of the process */
    uint64_t alarm_ns, alarm_interval_ns;     /* (P) ITIMER_REAL: when, 0: not set */
    uint64_t time_ns, child_time_ns; /* (P) of threads that ended; of children that were waited for */
    uint64_t oom_ns;                 /* (P) when it was ended for want of memory; 0: it was not */
    bool dumpable;
};

/* Who is calling. Never NULL in a system call. */
FL_NODISCARD struct proc *curproc(void);
/* The process of that number, which may be a zombie; NULL: none. */
FL_NODISCARD struct proc *proc_find(int pid) FL_REQUIRES(proc_lock);
/* Goes through all: NULL starts, NULL ends. */
FL_NODISCARD struct proc *proc_next(struct proc *proc) FL_REQUIRES(proc_lock);
/* Process 1. */
FL_NODISCARD struct proc *proc_init(void);
/* Processor time of a thread. Of another one than the caller it is what was counted at its last slice's
 * end. */
FL_NODISCARD uint64_t thread_time_ns(const struct thread *td);
/* Processor time of its threads, those that live among them. */
FL_NODISCARD uint64_t proc_time_ns(const struct proc *proc) FL_REQUIRES(proc_lock);

/* The process's space with a reference, for who is not that process; NULL: it has none any more. */
FL_NODISCARD struct vmspace *vmspace_of(struct proc *proc) FL_REQUIRES(proc_lock);
/* Drops a reference. With the last one the space goes. Context: no lock. */
void vmspace_put(struct vmspace *vm);

/* Sends a signal. info NULL: the kernel sends it, and tells nothing. Context: any thread, and no lock of the
 * kernel's but (P). */
void psignal_locked(struct proc *proc, int signal, const struct siginfo_kernel *info) FL_REQUIRES(proc_lock);
void psignal(struct proc *proc, int signal);
/* The same to each process of the group. Errors: -ESRCH. */
FL_NODISCARD int pgsignal(int pgid, int signal);
/* Has the calling thread a signal to take, or its process to end? */
FL_NODISCARD bool signal_waiting(void);

/* Nanoseconds since 1970. */
FL_NODISCARD int64_t wall_time_ns(void);

/* ---- what only kernel/proc and main.c call --------------------------------------------------------- */

/* A process without space, files and threads, and without a place in the table. NULL: no memory. */
FL_NODISCARD struct proc *proc_alloc(void);
void proc_free(struct proc *proc);
/* The process gets a number and becomes a child of parent (NULL: it is process 1). Errors: -EAGAIN. */
FL_NODISCARD int proc_insert_locked(struct proc *proc, struct proc *parent) FL_REQUIRES(proc_lock);
/* The process leaves the table and its parent. */
void proc_remove_locked(struct proc *proc) FL_REQUIRES(proc_lock);
/* A number for a thread. Errors: -EAGAIN. */
FL_NODISCARD int tid_alloc_locked(void) FL_REQUIRES(proc_lock);
void thread_insert_locked(struct proc *proc, struct thread *td) FL_REQUIRES(proc_lock);
/* The thread, which is the caller, leaves its process, and is freed when it is off its stack. */
void thread_bury_locked(struct thread *td) FL_REQUIRES(proc_lock);
/* Frees threads that were buried and are off their stacks. */
void threads_reap(void);

/* An empty space. NULL: no memory. */
FL_NODISCARD struct vmspace *vmspace_create(void);
/* A space around a map that exists. NULL: no memory. */
FL_NODISCARD struct vmspace *vmspace_wrap(struct vm_map *map);
/* The map has the limits that the process has. */
void vmspace_limits(struct proc *proc, struct vm_map *map);

/* The calling process becomes the program at `path`, whose arguments are the kernel's strings, NULL-ended. */
FL_NODISCARD int kernel_exec(const char *path, const char *const *argv, const char *const *envp);

/* The calling thread ends; with the last one the process does, with that status for wait4. */
_Noreturn void exit_thread(int status);
/* All threads of the calling process end. */
_Noreturn void exit_process(int status);
/* Who waits in vfork for the process goes on. */
void vfork_done_locked(struct proc *proc) FL_REQUIRES(proc_lock);
/* main.c. Process 1 has ended: writes back, and powers off. */
_Noreturn void init_exited(int status);
/* main.c. Writes everything back, and ends the computer, or starts it again. code: poweroff's. */
_Noreturn void kernel_down(bool restart, unsigned code);
/* main.c. The block device ("vdb", or "/dev/vdb") becomes the swap space. Errors: -ENOENT; fl_swapon's. */
FL_NODISCARD int kernel_swapon(const char *device);

/* The thread that sends SIGALRM. Does not return. */
void itimer_run(void *arg);

/* Wakes up to n threads that wait for the word at the address of the calling process. */
void futex_wake_address(uint64_t addr, uint32_t n);

/*
 * There is no page for a fault of the calling process, which was tried tries + 1 times. Waits until there may
 * be one, or ends a process. Returns false: the caller's own process ends, and the fault is not to be tried
 * again.
 */
FL_NODISCARD bool oom_wait(uint32_t tries);
/* A system call found no memory, tries + 1 times, and holds none. Waits until there may be some. Returns
 * false: it is to say -ENOMEM. */
FL_NODISCARD bool memory_wait(uint32_t tries);

#endif
