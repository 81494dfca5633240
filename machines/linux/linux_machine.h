/*
 * linux_machine.h: what the machine `linux` offers beside machine.h: to the library (library/library.c) and to
 * the shim.
 */
#ifndef MACHINES_LINUX_LINUX_MACHINE_H
#define MACHINES_LINUX_LINUX_MACHINE_H

#include <faultline/machine.h>
#include <signal.h>

struct vm_map;

/* All managed memory lies in [LINUX_WINDOW_START, LINUX_WINDOW_END): where no program, loader or sanitizer
 * puts anything by default, so that one comparison (also in a seccomp filter) tells managed addresses from
 * others. */
#if defined(                                                                                                 \
    __SANITIZE_THREAD__) /* which keeps all but a few addresses for itself, and these are a program's */
#define LINUX_WINDOW_START ((vm_offset_t)0x001000000000)
#define LINUX_WINDOW_END   ((vm_offset_t)0x007000000000)
#else
#define LINUX_WINDOW_START ((vm_offset_t)0x200000000000)
#define LINUX_WINDOW_END   ((vm_offset_t)0x300000000000)
#endif
/* Where the metadata memory ends. The gap between it and the window is free for what must have a fixed
 * place. */
#define LINUX_META_END (LINUX_WINDOW_START - ((vm_offset_t)2 << 20))

enum linux_fault_engine {
    LINUX_FAULT_SIGNAL,
    LINUX_FAULT_THREAD,
};

struct linux_machine_params {
    uint32_t nframes;        /* the budget, as given to fl_vm_boot */
    size_t buffer_len_bytes; /* of bounce buffers, beside the budget */
    enum linux_fault_engine fault;
    /* linux_machine_start installs handlers of SIGBUS and SIGSEGV, with both engines. False: the caller calls
     * linux_fault_signal from its own. */
    bool own_signal;
    /*
     * Delivers an error of fl_fault that the program must see: called in the faulting thread's signal
     * handler, with every signal blocked. signo and info are what Linux would have said: SIGSEGV for -EFAULT
     * and -EACCES, SIGBUS for -ENXIO, -EIO and -ENOMEM. -ENOMEM means that no page can be freed: say so and
     * end the process. NULL: linux_fault_chain.
     */
    void (*deliver)(int signo, siginfo_t *info, void *ucontext, int error);
};

/* Reserves the window, opens userfaultfd (signal engine: the system call, user-mode-only, then
 * /dev/userfaultfd; thread engine: /dev/userfaultfd, then the system call),
 * checks its features, makes buffers, and maps *meta (meta_len_bytes, shared, lazily backed). Errors:
 * negative errno; linux_machine_error() then names the remedy in one line. */
FL_NODISCARD int linux_machine_init(const struct linux_machine_params *params, size_t meta_len_bytes,
                                    void **meta);
const char *linux_machine_error(void);
/* Starts to serve faults of this space: installs the signal handlers, and starts the handler threads (thread
 * engine) and the threads of the page daemon and the flusher. */
FL_NODISCARD int linux_machine_start(struct vm_map *map);
/* Stops the threads, unmaps the window, closes everything. */
void linux_machine_fini(void);

/*
 * The handler of SIGBUS and SIGSEGV itself. Returns true when the fault was managed and is dealt with (or
 * delivered as an error). For those who own the signal (the shim chains the program's handlers).
 */
FL_NODISCARD bool linux_fault_signal(int signo, siginfo_t *info, void *ucontext);
/*
 * Copies where either side may be nowhere: a fault ends it. Returns how many bytes are left. SIGSEGV and
 * SIGBUS are not blocked. Managed memory that is absent is a fault like any other: whoever wants its bytes
 * holds it first.
 */
FL_NODISCARD size_t linux_peek_bytes(void *to, const void *from, size_t len_bytes);
/*
 * Was it such a copy to or from a program's memory that faulted? It ends there, then, as soon as the
 * handler returns. linux_fault_signal asks it first; who has something to do before that asks before.
 */
FL_NODISCARD bool linux_peek_fault(const siginfo_t *info, void *ucontext);
/*
 * What would have happened to SIGBUS or SIGSEGV without linux_machine_start: calls the handler that was there
 * before, or arranges for the signal's default action as soon as the calling handler returns. Only with
 * own_signal.
 */
void linux_fault_chain(int signo, siginfo_t *info, void *ucontext);

/* Errors go to `deliver` instead of linux_machine_params.deliver from now on (the shim comes after
 * fl_init). */
void linux_fault_set_deliver(void (*deliver)(int signo, siginfo_t *info, void *ucontext, int error));

/* Blocks every signal in the calling thread while it is inside the core (a handler that touches managed
 * memory there would deadlock), and undoes it. */
void linux_signals_block(sigset_t *saved);
void linux_signals_restore(const sigset_t *saved);

/* The most that was in use at once. */
FL_NODISCARD uint64_t linux_buffer_peak_bytes(void);

#endif
