/*
 * exec.c: the process executes or starts another program, or exits: what it
 * wrote to managed files is written back first, so that other programs see it.
 *
 *   exec*, _exit, quick_exit        ─▶ stats_finish ─▶ files_sync, stats        exit: shim.c's destructor
 *   posix_spawn, system, popen      ─▶ files_sync
 *   vfork, then exec* in the child  ─▶ stats_finish ─▶ files_sync: the child shares the parent's memory
 *
 * With --anon the arguments lie in the heap, and are copied out of it first (outside.c). So the variants
 * that use the program's environment become those that are given one.
 *
 * libc's variants call each other internally, so each name is replaced. A child of fork has no managed files.
 */
#include "files.h"
#include "outside.h"
#include "real.h"
#include "stats.h"
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>

static void exec_begin(void)
{
    stats_finish();
    stats_child_execs(true);
}

static int exec_failed(int r)
{
    stats_child_execs(false);
    return r;
}

FL_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    exec_begin();
    outside_exec(&path, &argv, &envp);
    return exec_failed(shim_real()->execve(path, argv, envp));
}

FL_EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

FL_EXPORT int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

FL_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    exec_begin();
    outside_exec(&file, &argv, &envp);
    return exec_failed(shim_real()->execvpe(file, argv, envp));
}

FL_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    const char *none = NULL;

    exec_begin();
    outside_exec(&none, &argv, &envp);
    return exec_failed(shim_real()->fexecve(fd, argv, envp));
}

FL_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
    exec_begin();
    outside_exec(&path, &argv, &envp);
    return exec_failed(shim_real()->execveat(fd, path, argv, envp, flags));
}

/* How many arguments there are, argv[0] and the NULL behind them included. */
static size_t count_args(va_list args)
{
    size_t n = 2;

    while (va_arg(args, char *) != NULL)
        n++;
    return n;
}

/*
 * Copies argv[0] and the arguments behind it, NULL included, to
 * argv on the caller's stack: malloc must not be used after vfork.
 */
#define EXEC_ARGV(first, args, argv)                                                                         \
    do {                                                                                                     \
        va_start(args, first);                                                                               \
        size_t n_ = count_args(args);                                                                        \
        va_end(args);                                                                                        \
        argv = __builtin_alloca(n_ * sizeof *argv);                                                          \
        argv[0] = (char *)(uintptr_t)first;                                                                  \
        va_start(args, first);                                                                               \
        for (size_t i_ = 1; i_ < n_; i_++)                                                                   \
            argv[i_] = va_arg(args, char *);                                                                 \
    } while (0)

FL_EXPORT int execl(const char *path, const char *first, ...)
{
    va_list args;
    char **argv;
    int r;

    EXEC_ARGV(first, args, argv);
    va_end(args);
    r = execv(path, argv);
    return r;
}

FL_EXPORT int execlp(const char *file, const char *first, ...)
{
    va_list args;
    char **argv;
    int r;

    EXEC_ARGV(first, args, argv);
    va_end(args);
    r = execvp(file, argv);
    return r;
}

FL_EXPORT int execle(const char *path, const char *first, ...)
{
    va_list args;
    char **argv;
    char *const *envp;

    EXEC_ARGV(first, args, argv);
    envp = va_arg(args, char *const *);
    va_end(args);
    return execve(path, argv, envp);
}

/* ---- programs beside this one ---------------------------------------------------------------------- */

/*
 * posix_spawn writes *pid and reads the attributes with every signal
 * blocked. An error of write-back is told by the next fsync.
 */
FL_EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    posix_spawn_file_actions_t copy;
    posix_spawnattr_t own = attr != NULL ? *attr : (posix_spawnattr_t){0};
    pid_t child = 0;
    int error;

    (void)!files_sync(NULL);
    outside_spawn(&path, &argv, &envp, &actions, &copy);
    error = shim_real()->posix_spawn(&child, path, actions, attr != NULL ? &own : NULL, argv, envp);
    if (error == 0 && pid != NULL)
        *pid = child;
    return error;
}

FL_EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    posix_spawn_file_actions_t copy;
    posix_spawnattr_t own = attr != NULL ? *attr : (posix_spawnattr_t){0};
    pid_t child = 0;
    int error;

    (void)!files_sync(NULL);
    outside_spawn(&file, &argv, &envp, &actions, &copy);
    error = shim_real()->posix_spawnp(&child, file, actions, attr != NULL ? &own : NULL, argv, envp);
    if (error == 0 && pid != NULL)
        *pid = child;
    return error;
}

/* The command for a shell that libc starts, and what libc takes along. */
static const char *shell_command(const char *command)
{
    char *const *none = NULL, *const *nothing = NULL;

    (void)!files_sync(NULL);
    outside_environ();
    outside_exec(&command, &none, &nothing);
    return command;
}

FL_EXPORT int system(const char *command)
{
    return shim_real()->system(shell_command(command));
}

FL_EXPORT FILE *popen(const char *command, const char *mode)
{
    return shim_real()->popen(shell_command(command), mode);
}

/* ---- the end of a process -------------------------------------------------------------------------- */

FL_EXPORT _Noreturn void _exit(int status)
{
    stats_finish();
    shim_real()->_exit(status);
    __builtin_unreachable();
}

FL_EXPORT _Noreturn void _Exit(int status)
{
    _exit(status);
}

FL_EXPORT _Noreturn void quick_exit(int status)
{
    stats_finish();
    shim_real()->quick_exit(status);
    __builtin_unreachable();
}
