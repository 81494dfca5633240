/*
 * proc.h: a process, and the kernel's part of a thread.
 *
 *   struct proc ─┬─ vm_map (the core's)      what its addresses mean
 *                ├─ filedesc, fs_context     what its descriptors and paths mean
 *                ├─ sigacts                  what its signals do
 *                └─ threads ─▶ struct thread (machines/x86_64/thread.h): a kernel stack and registers
 *
 * fork makes a proc with a copy of each; clone with CLONE_THREAD makes one thread more; vfork shares the map
 * until exec or exit.
 *
 * Locks: (P) proc_lock, one for all processes: the tree of processes, their states, their threads and all
 * that belongs to signals. A leaf but for the machine's own; nothing sleeps with it held except on it.
 */
#ifndef KERNEL_PROC_PROC_H
#define KERNEL_PROC_PROC_H

#include <faultline/machine.h>
#include <faultline/vm.h>

struct filedesc;
struct fs_context;
struct file;
struct thread;

#define NSIG 64 /* signals are 1 … NSIG */

typedef uint64_t sigset; /* bit signal - 1 */
static inline sigset sigbit(int signal)
{
    return UINT64_C(1) << (signal - 1);
}

struct sigaction_kernel { /* the layout of the ABI's */
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

struct siginfo_kernel { /* what is told of a signal */
    int signo, code, error;
    uint64_t addr;        /* of faults */
    int pid, uid, status; /* of SIGCHLD, kill */
    uint64_t value;
};

enum proc_state {
    PROC_ALIVE,
    PROC_STOPPED,
    PROC_ZOMBIE,
};

#define RLIMITS 16

struct proc {
    int pid, pgid, sid;     /* (P); pid constant */
    struct proc *parent;    /* (P) */
    struct proc *children;  /* (P) */
    struct proc *sibling;   /* (P) */
    struct proc *next;      /* (P) all processes */
    struct thread *threads; /* (P) by td_next */
    uint32_t nthreads;      /* (P) */
    enum proc_state state;  /* (P) */
    bool exiting;           /* (P) exit_group or a deadly signal: threads end when they notice */
    int status;             /* (P) for wait4 */
    bool status_told;       /* (P) a stop was reported */
    struct vm_map *map;     /* (c) between exec and exit */
    struct proc
        *vfork_parent; /* (P) whose map this is, and who waits for it back; NULL: the map is its own */
    struct filedesc *fd;
    struct fs_context *fs;
    struct file *exe; /* with a reference */
    char comm[16];
    uint32_t uid, gid, euid, egid;
    uint64_t rlimit_cur[RLIMITS], rlimit_max[RLIMITS]; /* (P) */
    uint64_t mmap_base, brk_start, stack_top;          /* of the image */
    uint64_t arg_start, arg_end;                       /* for /proc/PID/cmdline */

    struct sigaction_kernel action[NSIG + 1];   /* (P) */
    sigset pending;                             /* (P) for any thread */
    struct siginfo_kernel info[NSIG + 1];       /* (P) of pending ones */
    uint64_t alarm_ns, alarm_interval_ns;       /* (P) ITIMER_REAL: when, 0: not set */
    uint64_t utime_ns, stime_ns, child_time_ns; /* (P) of threads that ended */
    bool dumpable;
};

extern struct machine_lock proc_lock; /* (P) */

/* Who is calling. Never NULL in a system call. */
FL_NODISCARD struct proc *curproc(void);
/* The process of that number, which may be a zombie; NULL: none. */
FL_NODISCARD struct proc *proc_find(int pid) FL_REQUIRES(proc_lock);
/* Goes through all: NULL starts, NULL ends. */
FL_NODISCARD struct proc *proc_next(struct proc *proc) FL_REQUIRES(proc_lock);

/* Sends a signal. Context: any thread, and no lock of the kernel's but (P). */
void psignal_locked(struct proc *proc, int signal, const struct siginfo_kernel *info) FL_REQUIRES(proc_lock);
void psignal(struct proc *proc, int signal);
/* The same to each process of the group. Errors: -ESRCH. */
FL_NODISCARD int pgsignal(int pgid, int signal);
/* Has the calling thread a signal to take, or its process to end? */
FL_NODISCARD bool signal_waiting(void);

/* Nanoseconds since 1970. */
FL_NODISCARD int64_t wall_time_ns(void);

#endif
