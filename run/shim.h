/*
 * shim.h: the preloaded library behind `faultline run`: what its files tell each other.
 *
 *      program ──mmap, munmap, …──▶ mapping.c ─┐                       ┌─▶ fl_sys_*      (vm.h)
 *      program ──read, fsync, …───▶ file_*.c ──┤ fdtable.c, opens.c    ├─▶ fl_vnode_*
 *      program ──readv, sendmsg …─▶ vector.c ──┤                       │
 *      program ──sigaction …──────▶ signals.c ─┼─▶ files.c ─ hold.c ───┼─▶ fl_hold
 *      libc ──write(2), stat(2)──SIGSYS▶ trap.c┘   syscall_table.c     └─▶ fl_open_fd (faultline.h)
 *      fork ─────────────────────▶ fork.c          filter.c  shim.c  stats.c
 *
 * Everything here enters the kernel through linux_syscall (the filter's one open door) or through real.c's
 * libc functions. What a kernel call returns is passed on as the kernel does it, a negative errno value;
 * only the exported names turn it into errno.
 *
 * Locks: (S) the shim's own lock orders the calls that change mappings and the table of files. It is taken
 * with all signals blocked (shim_enter), before every lock of the core, and no memory of the program is
 * touched while it is held. (P) a file's position lock comes before it.
 */
#ifndef RUN_SHIM_H
#define RUN_SHIM_H

#include <errno.h>
#include <library.h>
#include <linux_machine.h>
#include <linux_syscall.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* ---- shim.c: whether and how ----------------------------------------------------------------------- */

enum shim_state {
    SHIM_OFF, /* before the constructor, or never started by the launcher: everything goes to the kernel */
    SHIM_ON,
    SHIM_CHILD, /* the child of a fork: all memory is the kernel's own */
};

struct shim_config {
    size_t memory_limit_bytes;
    size_t min_size_bytes; /* smaller mappings are left to the kernel */
    enum fl_fault_engine fault;
    bool verbose;
    int pid;                /* of the process that runs under the shim */
    int stats_pid;          /* the process that writes stats, or 0 */
    const char *stats_path; /* absolute, or NULL */
};

/*
 * It lies in a page that the kernel wipes in the child of any fork (MADV_WIPEONFORK), also of one that
 * nobody told us of (_Fork, clone): such a child must not touch the core, whose memory it shares with its
 * parent. SHIM_OFF is 0.
 */
extern _Atomic int *shim_state;
extern struct shim_config shim_config; /* constant once *shim_state is SHIM_ON */

static inline bool shim_on(void)
{
    return atomic_load_explicit(shim_state, memory_order_acquire) == SHIM_ON;
}

/* The lowest quarter of the window is for what the program reserves (reservation.c): the zone, in slots. */
#define ZONE_SLOT_BYTES ((vm_offset_t)1 << 32) /* a filter looks at the upper words of addresses */
#define ZONE_SLOTS      ((LINUX_WINDOW_END - LINUX_WINDOW_START) / 4 / ZONE_SLOT_BYTES)
#define ZONE_END        (LINUX_WINDOW_START + ZONE_SLOTS * ZONE_SLOT_BYTES)

/* Of each slot whether something in it is, or was, managed. Set under (S), for good. */
extern _Atomic bool zone_opened[ZONE_SLOTS];

static inline bool shim_in_zone(uint64_t va)
{
    return va >= LINUX_WINDOW_START && va < ZONE_END;
}

/* Whether something may be managed there. What is reserved in the zone is outside until it is opened. */
static inline bool shim_in_window(uint64_t va)
{
    if (va >= ZONE_END)
        return va < LINUX_WINDOW_END;
    return va >= LINUX_WINDOW_START &&
           atomic_load_explicit(&zone_opened[(va - LINUX_WINDOW_START) / ZONE_SLOT_BYTES],
                                memory_order_relaxed);
}

/* Takes (S), with every signal blocked; and back. */
void shim_enter(sigset_t *saved);
void shim_leave(const sigset_t *saved);
/* For the child of a fork, where the thread that held (S) is the only one left. */
void shim_lock_reset(void);

/* One line on standard error, "faultline: …". shim_verbose only with --verbose. Safe in signal handlers. */
void shim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void shim_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The kernel's way of returning to libc's: errno and -1. */
static inline long shim_return(long result)
{
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* ---- real.c: libc's own functions behind the interposed names -------------------------------------- */

#define SHIM_REAL_LIST(X)                                                                                    \
    X(sigaction)                                                                                             \
    X(pthread_sigmask)                                                                                       \
    X(sigsuspend)                                                                                            \
    X(ppoll)                                                                                                 \
    X(pselect)                                                                                               \
    X(epoll_pwait)                                                                                           \
    X(epoll_pwait2)                                                                                          \
    X(pthread_create)                                                                                        \
    X(sigaltstack)                                                                                           \
    X(makecontext)                                                                                           \
    X(pthread_attr_setsigmask_np)                                                                            \
    X(readv)                                                                                                 \
    X(writev)                                                                                                \
    X(preadv)                                                                                                \
    X(pwritev)                                                                                               \
    X(preadv2)                                                                                               \
    X(pwritev2)                                                                                              \
    X(sendmsg)                                                                                               \
    X(recvmsg)                                                                                               \
    X(sendmmsg)                                                                                              \
    X(recvmmsg)                                                                                              \
    X(vmsplice)                                                                                              \
    X(process_vm_readv)                                                                                      \
    X(process_vm_writev)                                                                                     \
    X(read)                                                                                                  \
    X(pread)                                                                                                 \
    X(write)                                                                                                 \
    X(pwrite)                                                                                                \
    X(fsync)                                                                                                 \
    X(fdatasync)                                                                                             \
    X(sync)                                                                                                  \
    X(syncfs)                                                                                                \
    X(sync_file_range)                                                                                       \
    X(posix_fadvise)                                                                                         \
    X(readahead)                                                                                             \
    X(lseek)                                                                                                 \
    X(ftruncate)                                                                                             \
    X(truncate)                                                                                              \
    X(fallocate)                                                                                             \
    X(posix_fallocate)                                                                                       \
    X(copy_file_range)                                                                                       \
    X(sendfile)                                                                                              \
    X(splice)                                                                                                \
    X(open)                                                                                                  \
    X(openat)                                                                                                \
    X(creat)                                                                                                 \
    X(open_by_handle_at)                                                                                     \
    X(dup)                                                                                                   \
    X(dup2)                                                                                                  \
    X(dup3)                                                                                                  \
    X(fcntl)                                                                                                 \
    X(close)                                                                                                 \
    X(close_range)                                                                                           \
    X(fopen)                                                                                                 \
    X(freopen)                                                                                               \
    X(fdopen)                                                                                                \
    X(posix_spawn)                                                                                           \
    X(posix_spawnp)                                                                                          \
    X(system)                                                                                                \
    X(popen)                                                                                                 \
    X(execve)                                                                                                \
    X(execv)                                                                                                 \
    X(execvp)                                                                                                \
    X(execvpe)                                                                                               \
    X(fexecve)                                                                                               \
    X(execveat)                                                                                              \
    X(_exit)                                                                                                 \
    X(quick_exit)                                                                                            \
    X(fstat)                                                                                                 \
    X(stat)                                                                                                  \
    X(lstat)                                                                                                 \
    X(fstatat)                                                                                               \
    X(statx)                                                                                                 \
    X(flock)                                                                                                 \
    X(lockf)                                                                                                 \
    X(pthread_mutex_lock)                                                                                    \
    X(pthread_mutex_trylock)                                                                                 \
    X(pthread_mutex_timedlock)                                                                               \
    X(pthread_mutex_clocklock)                                                                               \
    X(pthread_mutex_unlock)                                                                                  \
    X(pthread_rwlock_rdlock)                                                                                 \
    X(pthread_rwlock_wrlock)                                                                                 \
    X(pthread_rwlock_tryrdlock)                                                                              \
    X(pthread_rwlock_trywrlock)                                                                              \
    X(pthread_rwlock_timedrdlock)                                                                            \
    X(pthread_rwlock_timedwrlock)                                                                            \
    X(pthread_rwlock_clockrdlock)                                                                            \
    X(pthread_rwlock_clockwrlock)                                                                            \
    X(pthread_rwlock_unlock)                                                                                 \
    X(pthread_cond_wait)                                                                                     \
    X(pthread_cond_timedwait)                                                                                \
    X(pthread_cond_clockwait)                                                                                \
    X(pthread_barrier_wait)                                                                                  \
    X(sem_wait)                                                                                              \
    X(sem_trywait)                                                                                           \
    X(sem_timedwait)                                                                                         \
    X(sem_clockwait)                                                                                         \
    X(sem_post)                                                                                              \
    X(semop)                                                                                                 \
    X(semtimedop)

/* ---- mapping.c: the mmap family -------------------------------------------------------------------- */

/* The calls as the kernel would answer them. */
long mapping_mmap(vm_offset_t addr, size_t len, int prot, int flags, int fd, uint64_t offset);
/* A shared mapping, managed or not at all, of a file that the kernel maps at `old`. Errors: also -ENODEV. */
long mapping_mmap_grown(vm_offset_t old, size_t len, int prot, int fd, uint64_t offset);
long mapping_munmap(vm_offset_t addr, size_t len);
long mapping_mprotect(vm_offset_t addr, size_t len, int prot);
long mapping_mremap(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags, vm_offset_t new_addr);
long mapping_msync(vm_offset_t addr, size_t len, int flags);
long mapping_madvise(vm_offset_t addr, size_t len, int advice);
long mapping_mincore(vm_offset_t addr, size_t len, unsigned char *vec);
long mapping_mlock(vm_offset_t addr, size_t len, unsigned flags);
long mapping_munlock(vm_offset_t addr, size_t len);
long mapping_mlockall(int flags); /* these two in lockall.c */
long mapping_munlockall(void);
/* In remap.c. */
long mapping_remap_file_pages(vm_offset_t start, size_t len, int prot, uint64_t pgoff, int flags);

/* Whether the kernel, and not the core, maps something at va inside the window. */
bool mapping_is_reserved(vm_offset_t va);
/* How many bytes from va on it maps so; 0: none. */
size_t mapping_reserved_from(vm_offset_t va);
/*
 * The managed region is reserved for the kernel from now on, which maps nothing there yet. (S) held.
 * Errors: of fl_sys_munmap, -ENOMEM: the region may be gone.
 */
int mapping_leave(const struct fl_region *region);
/*
 * … and becomes the kernel's own mapping of the file, or, if that is not 0, the one that was made at `copy`
 * and moves there. (S) held. Errors: of mmap: nothing is mapped there then.
 */
struct file;
int mapping_arrive(const struct fl_region *region, const struct file *file, vm_offset_t copy);

/* ---- reservation.c: addresses that the program reserves ---------------------------------------------- */

/* Gives the zone back to the kernel. Errors: of fl_space_reserve, munmap. */
int reservation_start(void);
/*
 * mmap of anonymous memory at a place where files can be managed later. Errors: -EINVAL, it is no
 * reservation; -ENOMEM, -EEXIST, there is no place: let the kernel choose one.
 */
long reservation_place(vm_offset_t addr, size_t len, int prot, int flags);
/*
 * [start, end), in the zone, is a part of the window from now on: something will be managed there. (S)
 * held. Errors: the filter cannot be installed; -EMFILE: enough of them.
 */
int reservation_open(vm_offset_t start, vm_offset_t end);
/* What is not managed in [start, end) of the zone is the kernel's to map, and free. (S) held. */
void reservation_settle(vm_offset_t start, vm_offset_t end);

/* ---- areas.c: what the kernel maps ------------------------------------------------------------------ */

/* Each line of /proc/self/maps, until visit returns other than 0, which is returned. Errors: of open(2). */
int areas_each(int (*visit)(const char *line, void *arg), void *arg);
/* Whether the kernel has a shared mapping of the file, but for the area that starts at `except`. */
bool areas_map(dev_t dev, ino_t ino, vm_offset_t except);
/*
 * Whether process pid has a shared mapping of the file, `writes`: a writable one: 1, 0. Errors: of
 * open(2) on /proc.
 */
int areas_of_process(pid_t pid, dev_t dev, ino_t ino, bool writes);
/*
 * The kernel's shared mapping at addr, small as it is, becomes a managed one of new_len, elsewhere:
 * *result. False: nothing was done.
 */
bool areas_adopt(vm_offset_t addr, size_t old_len, size_t new_len, long *result);

/* ---- files.c: the files behind managed mappings ---------------------------------------------------- */

#define FILE_DEAD UINT32_MAX

struct file {
    struct file *next_key, *next_vnode; /* (S) */
    struct file *next_unmapped;         /* (S) */
    struct file *next_idle, *prev_idle; /* (S) */
    struct file *next, *prev;           /* (S) of all files */
    struct fl_file *handle;             /* (S) keeps the vnode alive */
    struct vnode *vnode;                /* (c) while it is referenced */
    dev_t dev;                          /* (c) */
    ino_t ino;                          /* (c) */
    int fd;                             /* (S) the shim's own descriptor, for a fork */
    _Atomic unsigned mode;              /* of fd: FL_FREAD | FL_FWRITE; grows, under (S) */
    bool unmapped;                      /* (S) on the list of those that file_reap looks at */
    bool idle;                          /* (S) nothing maps it; on the list of those that stay known */
    bool came_back;                     /* (S) it was mapped while it was idle */
    uint64_t idle_since_ns;             /* (S) */
    bool written;                       /* (S) fork.c: a shared mapping may write it */
    bool inherited;                     /* (S) fork.c: the child has a shared mapping of it */
    _Atomic bool beside; /* calls go past the cache: a child has descriptors of it, or it is handed over */
    _Atomic uint32_t in_cache;     /* calls that are in it: file_cache_enter */
    _Atomic uint32_t refs;         /* calls under way; FILE_DEAD: on the spare list, or about to be */
    _Atomic uint64_t mapped_bytes; /* by managed mappings; changes under (S) */
    _Atomic uint64_t size_seen;    /* the file's length at the last call on it */
    _Atomic uint64_t ctime_seen;   /* its st_ctim when the cache was last held against it: fresh.c */
    _Atomic bool told_overwritten; /* fresh.c */
    uint64_t handle_hash;          /* (S) watch.c's name of it; 0: it is not watched */
    pthread_mutex_t position;      /* held by a call that moves a descriptor's position */
};

extern _Atomic uint32_t files_mapped; /* how many files there are */
/*
 * The files, as long as they are few; NULL in between, and how many more there are. For looks without
 * (S): a struct file is never given back, but may be another file's by now.
 */
#define FILES_FEW 8
extern struct file *_Atomic files_few[FILES_FEW];
extern _Atomic uint32_t files_more;
extern _Atomic uint32_t files_generation; /* changes with each new one; never 0 */

/*
 * The file behind the program's descriptor, opened if it is not known yet, and what the descriptor may do.
 * (S) held. Errors: of fl_open_fd and dup.
 */
int file_get(int fd, const struct stat *st, unsigned mode, struct file **file);
/* The known file of (device, inode), or of the vnode; NULL. (S) held. */
struct file *file_find(dev_t dev, ino_t ino);
struct file *file_of_vnode(const struct vnode *vnode);
/* The one that is mapped at va; NULL: none is. */
struct file *file_at(vm_offset_t va);
/* Where the file of the descriptor is, or its number. */
void file_path(int fd, ino_t ino, char path[PATH_MAX]);
/* The one of that handle_hash. */
struct file *file_of_handle(uint64_t hash);
/* All files, one after the other; NULL behind the last. (S) held. */
struct file *file_first(void);
struct file *file_next(const struct file *file);
/* False: certainly not known. A load or two, for those who would have to look it up. Without (S). */
bool file_may_be(dev_t dev, ino_t ino);
void files_generation_next(void);

/*
 * A reference keeps the file managed though nothing maps it any more. file_ref fails when it is none
 * already. All without (S), signals blocked.
 */
bool file_ref(struct file *file);
struct file *file_lookup(dev_t dev, ino_t ino);
void file_release(struct file *file);
/*
 * Around whatever makes pages of the file dirty, for a call on a descriptor. False: the file is not to be
 * used by way of the cache (any more); the call is the kernel's. Between the two nobody waits for (S) or a
 * hand-over.
 */
static inline bool file_cache_enter(struct file *file)
{
    file->in_cache++;
    if (!file->beside)
        return true;
    file->in_cache--;
    return false;
}

static inline void file_cache_leave(struct file *file)
{
    file->in_cache--;
}
/*
 * The file's vnode can be written, the descriptor (of open flags `flags`) has the right to; signals
 * blocked. False: it cannot be opened so.
 */
bool file_make_writable(struct file *file, int fd, int flags);
/* Writes the dirty pages of all files, or of those on one device. Errors: the first one. Signals or not. */
int files_sync(const dev_t *dev);
/* The same by someone who has (S). */
int files_sync_locked(const dev_t *dev);
/* None is marked written or inherited. (S) held. */
void files_unmark(void);
/* All files are shared with a child from now on. (S) held. */
void files_forked(void);

/* Adds (sign 1) or subtracts (sign -1) the managed bytes of [start, end) to their files. (S) held. */
void file_account(vm_offset_t start, vm_offset_t end, int sign);
/* The file is for file_reap unless something maps it. (S) held. */
void file_unmapped_push(struct file *file);
/* Files that nothing maps any more become idle, or are closed. (S) held. */
void file_reap(void);
/*
 * Says, once for each error, why an access at va failed for want of space, or for a write that fails: the
 * file, and what helps. Silent of others. No lock held.
 */
void files_say_why(vm_offset_t va, int error);
/* Closes the files that were idle for long. About once a second, without (S). */
void files_tick(void);
/* The program is about to close a descriptor of what st says: an idle file's dirty pages are written. */
void file_closing(const struct stat *st);
/*
 * The kernel is about to map or show the file: what was stored in it is there, and if nothing maps it, it
 * is forgotten here: true. (S) held.
 */
bool file_let_go(struct file *file);
/* True when the file under va has grown past va since the VM last looked: the access may be tried again. */
bool file_grew(vm_offset_t va);

/* ---- hold.c: managed memory that the kernel is going to touch -------------------------------------- */

struct hold; /* pages held; lists of them */

/* The most bytes that one call holds at once. */
size_t hold_chunk_bytes(void);
/* How much a call that goes on with the rest should hold for now: less, the more others hold. */
size_t hold_turn_bytes(void);
/*
 * Holds as much of [va, va + *len) as it can get, from the start, at most hold_chunk_bytes, and puts it on
 * the list; *len says how much. Signals are blocked. Errors, for the first byte: as the kernel's: -EFAULT,
 * -ENOMEM.
 */
int hold_add(struct hold **list, vm_offset_t va, size_t *len, vm_prot_t access);
void hold_drop(struct hold **list);
/*
 * A call of the kernel's, or a copy of the core's, said EFAULT though the memory from va on was held:
 * another thread took it away at that moment. Waits for a fork that hands it over; says whether it is worth
 * holding it anew and making the call again. *tries: 0 at first.
 */
bool hold_again(vm_offset_t va, unsigned *tries);

/* ---- vector.c: pointers that hide in memory -------------------------------------------------------- */

/*
 * The vectored and message calls of the table in vector.c, as the kernel would answer them; -ENOSYS for
 * another. `mask`: as trap_issue.
 */
long vector_call(long number, const uint64_t arg[6], const sigset_t *mask);

/* readv and its family, managed memory in the vector or not. */
struct iovec;
ssize_t vector_readv(int fd, const struct iovec *iov, int n);
ssize_t vector_writev(int fd, const struct iovec *iov, int n);
ssize_t vector_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t vector_pwritev(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t vector_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t vector_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);

/* ---- trap.c: calls with managed pointers, seen by the seccomp filter ------------------------------- */

/*
 * Comes before everything else: the filter of the program before this one may be in force already. Errors:
 * of mmap.
 */
int trap_gate(void);
/* Installs the filter, with the handler of SIGSYS in place. Errors: negative errno. */
int trap_start(void);
/* The handler; returns false when the signal is somebody else's. */
bool trap_signal(siginfo_t *info, void *ucontext);
/*
 * The call as the kernel would answer it. The caller has all signals blocked; `mask` is the one the program
 * expects while the call sleeps, and has afterwards.
 */
long trap_call(long number, const uint64_t arg[6], sigset_t *mask);
/* Issues one system call with the program's own mask. */
long trap_issue(long number, const uint64_t arg[6], const sigset_t *mask);

/* filter.c: installs a filter for [start, end), multiples of 2^32. Errors: of seccomp(2). */
int filter_install(vm_offset_t start, vm_offset_t end);

/* ---- syscall_table.c: which arguments are pointers ------------------------------------------------- */

enum syscall_flow {
    FLOW_ONCE,  /* hold what the arguments name and make the call */
    FLOW_ASK,   /* the same, and it only asks: it may be made again */
    FLOW_READ,  /* arg 1 is a buffer of arg 2 bytes that is read into; longer ones in turns */
    FLOW_WRITE, /* … written from */
};

enum syscall_arg_kind {
    ARG_END,
    ARG_IN,     /* the kernel reads `len` bytes */
    ARG_OUT,    /* the kernel writes `len` bytes */
    ARG_STRING, /* the kernel reads up to a NUL, at most a page */
};

#define SYSCALL_ARGS_MAX 3
struct syscall_arg {
    uint8_t kind;   /* enum syscall_arg_kind */
    uint8_t arg;    /* which */
    int8_t len_arg; /* the argument that says how long, or -1: */
    uint16_t len;   /* … this long; with len_arg, the size of one element (0 is 1) */
};

struct syscall_rule {
    uint16_t number;
    uint8_t flow;      /* enum syscall_flow */
    int8_t offset_arg; /* FLOW_READ and FLOW_WRITE: the file offset's argument, or 0 */
    struct syscall_arg arg[SYSCALL_ARGS_MAX];
};

/* NULL: not in the table. */
const struct syscall_rule *syscall_rule(long number);

/* ---- signals.c: SIGBUS, SIGSEGV and SIGSYS are the shim's ------------------------------------------ */

/* Remembers what the program has for them: before fl_init, which takes two of them. */
void signals_remember(void);
/* Takes them. Errors: of sigaction. */
int signals_start(void);
/* The child of a fork has its own handlers back, but for SIGSYS: the filter is inherited. */
void signals_fork_child(void);

/* ---- fork.c, stats.c ------------------------------------------------------------------------------- */

/* Errors: -ENOMEM. */
int fork_start(void);

/* Why a mapping of a file that is wanted, by its kind and length, is outside the limit. */
enum left_reason {
    LEFT_FIXED,       /* at an address where nothing can be managed: MAP_FIXED, MREMAP_FIXED */
    LEFT_IMAGE,       /* private and writable, over a reservation: like a part of a program */
    LEFT_FORK,        /* handed over because the process forked */
    LEFT_STACK,       /* handed over because a stack lies in it */
    LEFT_SHARED,      /* another process uses the file */
    LEFT_REOPEN,      /* the file cannot be opened again */
    LEFT_DESCRIPTORS, /* … for want of a descriptor */
    LEFT_BESIDE,      /* the kernel has mapped it before, when it was small */
    LEFT_MEMORY,      /* it is a file in memory */
    LEFT_REASONS,
    LEFT_NOT = LEFT_REASONS, /* it is managed */
};

/* A wanted file was mapped, or its mapping has grown, by `bytes`: managed or not. */
void stats_eligible(uint64_t bytes);
/* A mapping is left to the kernel, or was managed and is handed over to it. Any context. */
void stats_left(enum left_reason reason, uint64_t bytes);
const char *stats_why(enum left_reason reason);
/*
 * A fork: the child will have so many bytes of files mapped that are, or were until now, managed. (S) held.
 */
void stats_forks(uint64_t bytes);
/* In the child, and when it executes a program (true), or could not (false). */
void stats_forked_child(void);
void stats_child_execs(bool execs);
/*
 * The process ends in order, or starts another program: dirty pages reach their files, and the stats
 * theirs.
 */
void stats_finish(void);

#endif
