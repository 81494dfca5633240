/*
 * shim.h: the preloaded library behind `faultline run`: what all of its parts share.
 * The other headers of this folder belong to one part each, and include this one.
 *
 *   program ──mmap, munmap, …──▶ names.c ─▶ mapping, mmap, mremap ─┐
 *   program ──read, fsync, …───▶ file_names.c ─▶ file_io, file_* ──┤    window       what lies where
 *   program ──readv, sendmsg …─▶ vector_names.c ─▶ vector ─────────┤    files, file  managed files
 *   program ──sigaction …──────▶ signals ──────────────────────────┼─▶  fdtable      descriptors      ─▶ core
 *   libc ──write(2), …──SIGSYS─▶ trap, filter, syscall_table ──────┤    hold         resident pages
 *   fork, exec, exit ──────────▶ fork, exec, stats ────────────────┘
 *
 *   other processes:  registry (those under Faultline), watch (all), fresh (their changes), handover (the
 *                     kernel takes a file over)
 *
 * The shim enters the kernel through linux_syscall, which the seccomp filter lets pass, or through libc's own
 * functions (real.h). An inner function returns what the kernel returns, a negative errno value for an error;
 * only the exported names set errno.
 *
 * Locks, outermost first:
 *   (P) file.position   a descriptor's position, while a call moves it (file.h)
 *   (S) shim_lock       mappings, reservations and the table of files. Taken with every signal blocked, by
 *                       shim_enter; no memory of the program is touched while it is held
 *       the core's own locks
 *   (A) action_lock     the program's signal actions (signals.c)
 *   (G) hold_lock       the pool of holds (hold.c)
 */
#ifndef RUN_SHIM_H
#define RUN_SHIM_H

#include "mutex.h"
#include <errno.h>
#include <library.h>
#include <linux_machine.h>
#include <linux_syscall.h>
#include <signal.h>
#include <stdatomic.h>

/* ---- state and configuration ----------------------------------------------------------------------- */

enum shim_state {
    SHIM_OFF, /* before the constructor, or not started by the launcher: every call goes to the kernel */
    SHIM_ON,
    SHIM_CHILD, /* the child of a fork: all of its memory is the kernel's */
};

struct shim_config {
    size_t memory_limit_bytes;
    size_t min_size_bytes; /* smaller mappings are left to the kernel */
    enum fl_fault_engine fault;
    const char *swap_path; /* absolute, or NULL; with the next two as in fl_options */
    uint64_t swap_max_bytes;
    unsigned compress_percent;
    bool anon; /* anonymous memory and the heap are managed, too (anon.h) */
    bool verbose;
    int pid;                /* of the process that runs under the shim */
    int stats_pid;          /* of the process that writes the stats, or 0 */
    const char *stats_path; /* absolute, or NULL */
};

/*
 * The state lies in a page that the kernel wipes in the child of any fork
 * (MADV_WIPEONFORK), also of a fork that runs no fork handlers (_Fork, clone): such a
 * child must not touch the core, whose memory it shares with its parent. SHIM_OFF is 0.
 */
extern _Atomic int *shim_state;
extern struct shim_config shim_config; /* constant once *shim_state is SHIM_ON */

static inline bool shim_on(void)
{
    return atomic_load_explicit(shim_state, memory_order_acquire) == SHIM_ON;
}

/* ---- the shim's lock ------------------------------------------------------------------------------- */

extern struct shim_mutex shim_lock; /* (S) */

/* Blocks every signal, then takes (S). *saved: the mask before, for shim_leave. */
void shim_enter(sigset_t *saved) FL_ACQUIRE(shim_lock);
void shim_leave(const sigset_t *saved) FL_RELEASE(shim_lock);

/* ---- messages and results -------------------------------------------------------------------------- */

/* One line on standard error, "faultline: …". shim_verbose only with --verbose. Safe in signal handlers. */
void shim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void shim_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A kernel's result as libc returns it: errno and -1 for an error. */
static inline long shim_return(long result)
{
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

/*
 * The path of the file that fd is open on, without a NUL, cut at
 * size bytes. Returns its length. Errors: of readlink(2) on /proc.
 */
long shim_fd_path(int fd, char *path, size_t size);

/* ---- memory ---------------------------------------------------------------------------------------- */

/*
 * Zeroed pages of the kernel's, len bytes rounded up, and never the program's malloc: a call may come from a
 * signal handler. Returns the address. Errors: of mmap(2).
 */
long shim_memory(size_t len);
void shim_memory_free(void *memory, size_t len);

#endif
