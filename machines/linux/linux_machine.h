/*
 * linux_machine.h: what the machine `linux` offers beside machine.h, to the library (library/) and to the
 * shim of `faultline run`.
 */
#ifndef MACHINES_LINUX_LINUX_MACHINE_H
#define MACHINES_LINUX_LINUX_MACHINE_H

#include <faultline/machine.h>
#include <signal.h>

struct vm_map;

/*
 * All managed memory lies in [LINUX_WINDOW_START, LINUX_WINDOW_END): where no program, loader or sanitizer
 * puts anything by default, so that one comparison (also in a seccomp filter) tells managed addresses from
 * others. ThreadSanitizer keeps almost all addresses for itself, and leaves these to the program.
 */
#if defined(__SANITIZE_THREAD__)
#define LINUX_WINDOW_START ((vm_offset_t)0x001000000000)
#define LINUX_WINDOW_END   ((vm_offset_t)0x007000000000)
#else
#define LINUX_WINDOW_START ((vm_offset_t)0x200000000000)
#define LINUX_WINDOW_END   ((vm_offset_t)0x300000000000)
#endif
/* Where the metadata memory ends. The gap between it and the window is free for whatever
 * needs a fixed place. */
#define LINUX_META_END (LINUX_WINDOW_START - ((vm_offset_t)2 << 20))

enum linux_fault_engine {
    LINUX_FAULT_SIGNAL, /* fault_signal.c */
    LINUX_FAULT_THREAD, /* fault_thread.c */
};

struct linux_machine_params {
    uint32_t nframes;        /* the budget, as given to fl_vm_boot */
    size_t buffer_len_bytes; /* of bounce buffers, beside the budget */
    enum linux_fault_engine fault;
    /* True: linux_machine_start installs handlers of SIGBUS and SIGSEGV, with both engines. False: the caller
     * calls linux_fault_signal from its own. */
    bool own_signal;
    /*
     * Delivers an error of fl_fault that the program must see. Called in the faulting thread's signal
     * handler, with every signal blocked. signo and info are what Linux would have said: SIGSEGV for -EFAULT
     * and -EACCES, SIGBUS for the other errors. -ENOMEM means that no page can be freed: say so and end the
     * process. NULL: linux_fault_chain.
     */
    void (*deliver)(int signo, siginfo_t *info, void *ucontext, int error);
};

/*
 * Reserves the window, opens userfaultfd, checks its features, makes the buffers, and maps *meta:
 * meta_len_bytes, shared, lazily backed. The signal engine opens userfaultfd by the system call for user-mode
 * faults, then by /dev/userfaultfd; the thread engine by /dev/userfaultfd, then by the system call. Errors:
 * negative errno; linux_machine_error() then names the remedy in one line.
 */
FL_NODISCARD int linux_machine_init(const struct linux_machine_params *params, size_t meta_len_bytes,
                                    void **meta);
const char *linux_machine_error(void);
/* Starts to serve the faults of this space: installs the signal handlers, and starts the handler
 * threads (thread engine) and the threads of the page daemon and the flusher. Errors: negative errno,
 * with a remedy, as above. */
FL_NODISCARD int linux_machine_start(struct vm_map *map);
/* Stops the threads. What they work on, the core's memory, is still there. */
void linux_machine_stop(void);
/* The same, and unmaps the window and the core's memory, and closes everything. */
void linux_machine_fini(void);

/*
 * The handler of SIGBUS and SIGSEGV itself, for a caller that owns these signals. Returns true when the fault
 * was managed: it was served, or its error was delivered. False: the caller handles the signal (the shim
 * calls the program's handler).
 */
FL_NODISCARD bool linux_fault_signal(int signo, siginfo_t *info, void *ucontext);
/*
 * Copies len_bytes between memory of which either side may be unmapped: a fault ends the copy. Returns how
 * many bytes are left. Managed memory that is absent faults like any other, so a caller that wants its bytes
 * holds it first. Context: SIGSEGV and SIGBUS are not blocked.
 */
FL_NODISCARD size_t linux_peek_bytes(void *to, const void *from, size_t len_bytes);
/*
 * Whether linux_peek_bytes made the fault. If so, the copy ends as soon as the handler returns.
 * linux_fault_signal asks it first; a handler that does something before that asks it before.
 */
FL_NODISCARD bool linux_peek_fault(const siginfo_t *info, void *ucontext);
/*
 * Does what would have happened to SIGBUS or SIGSEGV without linux_machine_start: calls the handler that
 * was installed before, or arranges for the signal's default action as soon as the calling handler
 * returns. Only with own_signal.
 */
void linux_fault_chain(int signo, siginfo_t *info, void *ucontext);

/* Errors go to `deliver` from now on, instead of linux_machine_params.deliver: the shim sets
 * its own after fl_init. */
void linux_fault_set_deliver(void (*deliver)(int signo, siginfo_t *info, void *ucontext, int error));

/* Block every signal in the calling thread while it is inside the core, and undo it: a handler that touched
 * managed memory there would deadlock. */
void linux_signals_block(sigset_t *saved);
void linux_signals_restore(const sigset_t *saved);

/* Returns the most bytes of bounce buffers that were in use at once. */
FL_NODISCARD uint64_t linux_buffer_peak_bytes(void);

#endif
