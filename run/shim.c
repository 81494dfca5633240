/*
 * shim.c: the start of the preloaded library, its configuration, its lock (S), and its messages.
 *
 *   ld.so ─▶ constructor: environment ─▶ fl_init ─▶ signals ─▶ seccomp ─▶ fork ─▶ SHIM_ON ─▶ main
 *
 * The launcher configures the shim by the environment, which children inherit together with LD_PRELOAD: each
 * program that they start has a VM and a limit of its own. Without FAULTLINE_MEMORY the shim does nothing.
 *
 *   FAULTLINE_MEMORY, FAULTLINE_MIN_SIZE   bytes          FAULTLINE_FAULT   auto, signal, thread
 *   FAULTLINE_SWAP, FAULTLINE_SWAP_SIZE, FAULTLINE_COMPRESS   as fl_options.swap_path and the two behind it
 *   FAULTLINE_STATS   absolute path, of the process FAULTLINE_STATS_PID
 *   FAULTLINE_ANON, FAULTLINE_VERBOSE   1
 */
#include "shim.h"
#include "fork.h"
#include "registry.h"
#include "reservation.h"
#include "signals.h"
#include "stats.h"
#include "trap.h"
#include "watch.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHIM_EXIT_CANNOT_START 125 /* as env, nohup and timeout when they fail themselves */

static _Atomic int shim_state_off = SHIM_OFF; /* until state_start has a page for it */
_Atomic int *shim_state = &shim_state_off;
struct shim_config shim_config;

struct shim_mutex shim_lock = {PTHREAD_MUTEX_INITIALIZER};

void shim_enter(sigset_t *saved)
{
    linux_signals_block(saved);
    shim_mutex_lock(&shim_lock);
}

void shim_leave(const sigset_t *saved)
{
    shim_mutex_unlock(&shim_lock);
    linux_signals_restore(saved);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

long shim_memory(size_t len)
{
    return linux_syscall(SYS_mmap, 0, round_page(len), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                         -1);
}

void shim_memory_free(void *memory, size_t len)
{
    linux_syscall(SYS_munmap, memory, round_page(len));
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

long shim_fd_path(int fd, char *path, size_t size)
{
    char link[32];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linux_syscall(SYS_readlink, link, path, size);
}

/* ---- messages -------------------------------------------------------------------------------------- */

static void shim_line(const char *format, va_list args)
{
    char line[512];
    int used = snprintf(line, sizeof line, "faultline: ");
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    size_t len = more < 0 ? (size_t)used : strnlen(line, sizeof line - 2);

    line[len++] = '\n';
    linux_syscall(SYS_write, STDERR_FILENO, line, len);
}

void shim_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    shim_line(format, args);
    va_end(args);
}

void shim_verbose(const char *format, ...)
{
    va_list args;

    if (!shim_config.verbose)
        return;
    va_start(args, format);
    shim_line(format, args);
    va_end(args);
}

/* ---- configuration --------------------------------------------------------------------------------- */

static size_t config_bytes(const char *name, size_t otherwise)
{
    const char *value = getenv(name);

    return value != NULL ? strtoull(value, NULL, 10) : otherwise;
}

static enum fl_fault_engine config_engine(void)
{
    const char *value = getenv("FAULTLINE_FAULT");

    if (value != NULL && strcmp(value, "signal") == 0)
        return FL_FAULT_SIGNAL;
    if (value != NULL && strcmp(value, "thread") == 0)
        return FL_FAULT_THREAD;
    return FL_FAULT_AUTO;
}

/* Returns a copy of the path, since the program may change its environment; NULL: there is none. */
static const char *config_path(const char *name, char copy[PATH_MAX])
{
    const char *path = getenv(name);

    return path != NULL && strlen(path) < PATH_MAX ? strcpy(copy, path) : NULL;
}

/* False: the launcher did not start this process. */
static bool config_read(void)
{
    static char stats_path[PATH_MAX], swap_path[PATH_MAX];

    shim_config.memory_limit_bytes = config_bytes("FAULTLINE_MEMORY", 0);
    shim_config.min_size_bytes = config_bytes("FAULTLINE_MIN_SIZE", (size_t)1 << 20);
    shim_config.fault = config_engine();
    shim_config.anon = getenv("FAULTLINE_ANON") != NULL;
    shim_config.verbose = getenv("FAULTLINE_VERBOSE") != NULL;
    shim_config.stats_pid = (int)config_bytes("FAULTLINE_STATS_PID", 0);
    shim_config.stats_path = config_path("FAULTLINE_STATS", stats_path);
    shim_config.swap_path = config_path("FAULTLINE_SWAP", swap_path);
    shim_config.swap_max_bytes = config_bytes("FAULTLINE_SWAP_SIZE", 0);
    shim_config.compress_percent = (unsigned)config_bytes("FAULTLINE_COMPRESS", 0);
    return shim_config.memory_limit_bytes != 0;
}

static _Noreturn void shim_cannot(const char *why)
{
    shim_say("%s", why);
    linux_syscall(SYS_exit_group, SHIM_EXIT_CANNOT_START);
    __builtin_unreachable();
}

static int state_start(void)
{
    long page = shim_memory(VM_PAGE_SIZE);

    if (linux_syscall_failed(page))
        return (int)page;
    if (linux_syscall(SYS_madvise, page, VM_PAGE_SIZE, MADV_WIPEONFORK) != 0)
        return -ENOSYS;
    shim_state = (_Atomic int *)page;
    return 0;
}

static __attribute__((constructor)) void shim_constructor(void)
{
    int saved_errno = errno;

    if (!config_read())
        return;
    struct fl_options options = {.memory_limit_bytes = shim_config.memory_limit_bytes,
                                 .fault = shim_config.fault,
                                 .swap_path = shim_config.swap_path,
                                 .swap_max_bytes = shim_config.swap_max_bytes,
                                 .compress_percent = shim_config.compress_percent};
    if (trap_gate() != 0)
        shim_cannot("something else lies where Faultline keeps its system call: preload nothing else");
    signals_remember();
    if (fl_init(&options) != 0)
        shim_cannot(fl_init_error());
    if (*fl_init_error() != '\0')
        shim_verbose("there is no swap: %s", fl_init_error());
    if (signals_start() != 0)
        shim_cannot("cannot handle SIGBUS and SIGSYS: allow sigaction(2)");
    if (shim_config.fault != FL_FAULT_THREAD && trap_start() != 0)
        shim_cannot("cannot install a seccomp filter: allow seccomp(2), or choose --fault thread");
    if (fork_start() != 0 || state_start() != 0 || reservation_start() != 0)
        shim_cannot("no memory for the fork handlers: lift the limit on address space (ulimit -v unlimited)");
    shim_config.pid = (int)linux_syscall(SYS_getpid);
    registry_start();
    if (watch_start() != 0)
        shim_cannot("cannot start a thread: raise the limit on processes (ulimit -u)");
    atomic_store_explicit(shim_state, SHIM_ON, memory_order_release);
    errno = saved_errno;
}

static __attribute__((destructor)) void shim_destructor(void)
{
    stats_finish();
}
