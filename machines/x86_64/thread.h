/*
 * thread.h: a thread: a kernel stack, the registers of its program, and where it waits.
 *
 *   kernel stack   | … calls … | trapframe |      the frame of a program's registers is at the top
 *                    ▲ td_sp, while it does not run
 *
 *   RUNNABLE ──▶ RUNNING ──▶ SLEEPING ──▶ RUNNABLE …        DEAD: its last switch is over, or about to be
 *     run queue               a channel
 *
 * Locks: (S) sched_lock, a spin lock, the innermost of all: states, the run queue, sleep channels, callouts.
 * (P) the kernel's own lock of processes. (own) the thread itself.
 */
#ifndef MACHINES_X86_64_THREAD_H
#define MACHINES_X86_64_THREAD_H

#include "cpu.h"

struct trapframe {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, rax, r8, rcx, rdx, rdi, rsi;
    uint64_t trapno; /* the vector, or T_SYSCALL */
    uint64_t err;
    uint64_t rip, cs, rflags, rsp, ss;
};

#define KSTACK_CANARY UINT64_C(0x6b7374616b656e64) /* at the bottom of each kernel stack */

enum thread_state {
    TD_RUNNABLE,
    TD_RUNNING,
    TD_SLEEPING,
    TD_DEAD,
};

/* Something to be done at a time. Its function runs in the timer interrupt, with (S) not held, and may wake
 * threads, and little else. (timeout(9), FreeBSD 2.1.) */
struct callout {
    uint64_t when_ns;
    void (*function)(void *arg);
    void *arg;
    struct callout *next; /* (S) in the order of when_ns */
    bool pending;         /* (S) */
};
void timeout(struct callout *callout, uint64_t when_ns, void (*function)(void *arg), void *arg);
/* Returns whether it was pending. Its function may be running on another CPU still. */
bool untimeout(struct callout *callout);

struct thread {
    uint64_t td_sp;                 /* (S) */
    struct machine_space *td_space; /* (own) what it activates; NULL: it stays in the kernel's addresses */
    char *td_kstack;                /* (c) its bottom */
    void *td_fpu;                   /* (c) 512 bytes; NULL: it never runs a program */
    uint64_t td_fsbase, td_gsbase;  /* (own) the program's */
    enum thread_state td_state;     /* (S) */
    bool td_oncpu;                  /* (S) a CPU is on its stack */
    bool td_nofault;                /* (own) a fault in a copy is not served */
    bool td_interruptible;          /* (S) its sleep ends by thread_interrupt */
    bool td_interrupted;            /* (S) … and has */
    bool td_timed_out;              /* (S) */
    const char *td_name;            /* (c) */
    struct thread *td_link;         /* (S) run queue, or sleep channel */
    const void *td_wchan;           /* (S) */
    struct callout td_callout;      /* (S) */
    uint64_t td_cputime_ns;         /* (S) */
    uint64_t td_started;            /* (S) when it was switched to, or counted last */
    uint64_t td_slept;              /* (S) when it went to sleep last */
    uint64_t td_slice_ns;           /* (S) how much of its slice it has used */
    unsigned td_level;              /* (S) of the run queues; the idle threads' is 2 */
    bool td_astpending;             /* (S) thread_signal_ast; ends when ast() has looked */

    /* The kernel's own. */
    struct proc *td_proc;                   /* (own) NULL: a thread of the kernel's, or one that has ended */
    struct thread *td_next;                 /* (P) threads of the process */
    int td_tid;                             /* (P) */
    uint64_t td_sigmask;                    /* (own) written under (P); read by others under (P) */
    uint64_t td_sigpending;                 /* (P) */
    struct sigqueue *td_sigqueue;           /* (P) of pending ones */
    uint64_t td_sigwait;                    /* (P) rt_sigtimedwait waits for these */
    uint64_t td_oldmask;                    /* (own) for sigsuspend */
    bool td_restoremask;                    /* (own) */
    uint64_t td_sleep_until;                /* (own) of a nanosleep that is made again; 0: it is not */
    uint64_t td_altstack, td_altstack_size; /* (own) sigaltstack; size 0: none */
    uint32_t td_altstack_flags;             /* (own) */
    uint64_t td_clear_child_tid;            /* (own) set_tid_address */
    uint64_t td_robust_list;                /* (own) */
};

/* The program's registers. */
static inline struct trapframe *thread_frame(const struct thread *td)
{
    return (struct trapframe *)(void *)(td->td_kstack + KSTACK_BYTES) - 1;
}

/*
 * A thread that will call function(arg) in the kernel. Without a program (`user` false) the function does not
 * return; otherwise it returns to the program, whose registers are in thread_frame. It does not run before
 * thread_start. NULL: no memory.
 */
FL_NODISCARD struct thread *thread_create(const char *name, void (*function)(void *arg), void *arg,
                                          bool user);
void thread_start(struct thread *td);
/* A thread that was never started, or that is dead and off its stack, goes. */
void thread_free(struct thread *td);
/* Whether the dead thread is off its stack. */
FL_NODISCARD bool thread_gone(struct thread *td);
/* The calling thread ends. Someone else frees it. */
_Noreturn void thread_exit(void);

/* What an interrupt tells a thread: signals before the wait are not lost, and several are one. All zero:
 * none. */
struct event {
    bool signalled; /* (S) */
};
/* Context: also interrupts. */
void event_signal(struct event *event);
/* Sleeps until there was a signal since the last wait. One thread at a time waits. */
void event_wait(struct event *event);

/* Gives the CPU to other runnable threads. */
void thread_yield(void);
/* If the thread sleeps interruptibly, it wakes; else its next interruptible sleep does not begin. */
void thread_interrupt(struct thread *td);
void thread_clear_interrupt(struct thread *td);
/* The CPU on which the thread runs, if it does, looks at signals before it returns to the program. */
void thread_signal_ast(struct thread *td);
/* As machine_wait; with `interruptible`, -EINTR if thread_interrupt came. */
FL_NODISCARD int thread_sleep(const void *chan, struct machine_lock *lock, uint64_t deadline_ns,
                              bool interruptible);
/* How many threads are runnable or running. */
FL_NODISCARD uint32_t sched_load(void);
/* The calling thread uses another space from now on. */
void thread_set_space(struct machine_space *space);

#endif
