/*
 * peer.c: the commands of peer.h about files and mappings, and the loop that reads them.
 *
 *   peer            reads standard input
 *   peer IN OUT     opens these two, FIFOs, as its standard input and output first
 */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static int fds[128];
static struct peer_map maps[128];
static unsigned char bytes[PEER_MORE / 2];
static sigjmp_buf before_access;
static volatile sig_atomic_t accessing;

static _Noreturn void usage(const char *what, const char *which)
{
    fprintf(stderr, "peer: %s: '%s'\n", what, which == NULL ? "" : which);
    exit(2);
}

static unsigned name_of(const char *name)
{
    if (name == NULL || name[0] <= ' ' || name[0] > '~' || name[1] != '\0')
        usage("no name of one letter", name);
    return (unsigned char)name[0];
}

int peer_fd(const char *name)
{
    return fds[name_of(name)] - 1;
}

struct peer_map *peer_map(const char *name)
{
    struct peer_map *map = &maps[name_of(name)];

    if (map->at == NULL)
        usage("no such mapping", name);
    return map;
}

static size_t number(const char *text)
{
    char *end;
    long long n = strtoll(text == NULL ? "" : text, &end, 0);

    if (text == NULL || end == text || *end != '\0')
        usage("no number", text);
    return (size_t)n;
}

void peer_hex(const unsigned char *from, size_t len_bytes, char *text)
{
    for (size_t i = 0; i < len_bytes; i++)
        sprintf(text + 2 * i, "%02x", from[i]);
}

size_t peer_unhex(const char *text, unsigned char *to)
{
    size_t len = text == NULL ? 0 : strlen(text) / 2;

    for (size_t i = 0; i < len; i++)
        if (sscanf(text + 2 * i, "%2hhx", &to[i]) != 1)
            usage("no hexadecimal", text);
    return len;
}

static long told(long result)
{
    return result < 0 ? -errno : result;
}

/* ---- loads and stores ------------------------------------------------------------------------------ */

static void accessed_badly(int signal)
{
    if (!accessing)
        _exit(128 + signal);
    siglongjmp(before_access, signal);
}

static long jumped(int signal)
{
    accessing = 0;
    return signal == SIGBUS ? PEER_SIGBUS : PEER_SIGSEGV;
}

long peer_load(const volatile unsigned char *at, unsigned char *to, size_t len_bytes)
{
    int signal = sigsetjmp(before_access, 1);

    if (signal != 0)
        return jumped(signal);
    accessing = 1;
    for (size_t i = 0; i < len_bytes; i++)
        to[i] = at[i];
    accessing = 0;
    return 0;
}

long peer_store(volatile unsigned char *at, const unsigned char *from, size_t len_bytes)
{
    int signal = sigsetjmp(before_access, 1);

    if (signal != 0)
        return jumped(signal);
    accessing = 1;
    for (size_t i = 0; i < len_bytes; i++)
        at[i] = from[i];
    accessing = 0;
    return 0;
}

static long do_load(char **arg, char *more)
{
    size_t len = number(arg[3]);
    long r = peer_load(peer_map(arg[1])->at + number(arg[2]), bytes, len);

    if (r == 0)
        peer_hex(bytes, len, more);
    return r == 0 ? (long)len : r;
}

static long do_store(char **arg, char *more)
{
    size_t len = peer_unhex(arg[3], bytes);

    (void)more;
    return peer_store(peer_map(arg[1])->at + number(arg[2]), bytes, len);
}

/* scatter M AT LEN STEP BYTES: stores the same bytes once in each STEP. */
static long do_scatter(char **arg, char *more)
{
    size_t len = number(arg[3]), step = number(arg[4]), some = peer_unhex(arg[5], bytes);
    unsigned char *at = peer_map(arg[1])->at + number(arg[2]);
    long r = 0;

    (void)more;
    for (size_t i = 0; r == 0 && i < len; i += step)
        r = peer_store(at + i, bytes, some);
    return r;
}

/* sum M AT LEN: the bytes' Adler-32, as RFC 1950 has it. */
static long do_sum(char **arg, char *more)
{
    size_t len = number(arg[3]);
    const unsigned char *at = peer_map(arg[1])->at + number(arg[2]);
    uint32_t low = 1, high = 0;

    for (size_t done = 0; done < len; done += sizeof bytes) {
        size_t some = len - done < sizeof bytes ? len - done : sizeof bytes;
        long r = peer_load(at + done, bytes, some);

        if (r != 0)
            return r;
        for (size_t i = 0; i < some; i++) {
            low = (low + bytes[i]) % 65521;
            high = (high + low) % 65521;
        }
    }
    sprintf(more, "%u", high << 16 | low);
    return 0;
}

/* ---- files and mappings ---------------------------------------------------------------------------- */

static int open_flags(const char *text)
{
    int flags = strchr(text, 'w') == NULL ? O_RDONLY : strchr(text, 'r') == NULL ? O_WRONLY : O_RDWR;

    flags |= strchr(text, 'c') != NULL ? O_CREAT : 0;
    flags |= strchr(text, 't') != NULL ? O_TRUNC : 0;
    flags |= strchr(text, 'a') != NULL ? O_APPEND : 0;
    return flags | O_CLOEXEC;
}

static long do_open(char **arg, char *more)
{
    int fd = open(arg[2], open_flags(arg[3]), 0666);

    (void)more;
    fds[name_of(arg[1])] = fd + 1;
    return told(fd);
}

static long do_close(char **arg, char *more)
{
    (void)more;
    return told(close(peer_fd(arg[1])));
}

/* map M F LEN PROT(r|rw) (shared|private) AT */
static long do_map(char **arg, char *more)
{
    struct peer_map *map = &maps[name_of(arg[1])];
    int prot = PROT_READ | (strchr(arg[4], 'w') != NULL ? PROT_WRITE : 0);
    int flags = strcmp(arg[5], "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
    void *at;

    (void)more;
    map->len_bytes = number(arg[3]);
    at = mmap(NULL, map->len_bytes, prot, flags, peer_fd(arg[2]), (off_t)number(arg[6]));
    if (at == MAP_FAILED)
        return -errno;
    map->at = at;
    return 0;
}

static long do_unmap(char **arg, char *more)
{
    struct peer_map *map = peer_map(arg[1]);
    int r = munmap(map->at, map->len_bytes);

    (void)more;
    map->at = NULL;
    return told(r);
}

static long do_pread(char **arg, char *more)
{
    ssize_t n = pread(peer_fd(arg[1]), bytes, number(arg[3]), (off_t)number(arg[2]));

    if (n > 0)
        peer_hex(bytes, (size_t)n, more);
    return told(n);
}

static long do_pwrite(char **arg, char *more)
{
    size_t len = peer_unhex(arg[3], bytes);

    (void)more;
    return told(pwrite(peer_fd(arg[1]), bytes, len, (off_t)number(arg[2])));
}

static long do_write(char **arg, char *more)
{
    size_t len = peer_unhex(arg[2], bytes);

    (void)more;
    return told(write(peer_fd(arg[1]), bytes, len));
}

static long do_truncate(char **arg, char *more)
{
    (void)more;
    return told(ftruncate(peer_fd(arg[1]), (off_t)number(arg[2])));
}

static long do_fstat(char **arg, char *more)
{
    struct stat st;
    int r = fstat(peer_fd(arg[1]), &st);

    (void)more;
    return r < 0 ? -errno : (long)st.st_size;
}

static long do_stat(char **arg, char *more)
{
    struct stat st;
    int r = stat(arg[1], &st);

    (void)more;
    return r < 0 ? -errno : (long)st.st_size;
}

static long do_statx(char **arg, char *more)
{
    struct statx st;
    int r = statx(peer_fd(arg[1]), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);

    (void)more;
    return r < 0 ? -errno : (long)st.stx_size;
}

static long do_lseek_end(char **arg, char *more)
{
    (void)more;
    return told(lseek(peer_fd(arg[1]), 0, SEEK_END));
}

/* msync M (sync|async|invalidate): the whole mapping. */
static long do_msync(char **arg, char *more)
{
    struct peer_map *map = peer_map(arg[1]);
    int flags = strcmp(arg[2], "invalidate") == 0 ? MS_SYNC | MS_INVALIDATE
                : strcmp(arg[2], "async") == 0    ? MS_ASYNC
                                                  : MS_SYNC;

    (void)more;
    return told(msync(map->at, map->len_bytes, flags));
}

static long do_dontneed(char **arg, char *more)
{
    struct peer_map *map = peer_map(arg[1]);

    (void)more;
    return told(madvise(map->at, map->len_bytes, MADV_DONTNEED));
}

static long do_fadvise(char **arg, char *more)
{
    (void)more;
    return -posix_fadvise(peer_fd(arg[1]), 0, 0, POSIX_FADV_DONTNEED);
}

static long do_fsync(char **arg, char *more)
{
    (void)more;
    return told(fsync(peer_fd(arg[1])));
}

/* ---- locks and processes --------------------------------------------------------------------------- */

static long do_init(char **arg, char *more)
{
    (void)more;
    return peer_lock_init(arg);
}

static long do_take(char **arg, char *more)
{
    (void)more;
    return peer_lock_take(arg);
}

static long do_drop(char **arg, char *more)
{
    (void)more;
    return peer_lock_drop(arg);
}

static void take_fifos(const char *in, const char *out)
{
    int from = open(in, O_RDONLY), to = open(out, O_WRONLY);

    if (from < 0 || to < 0 || dup2(from, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0)
        usage("cannot open the FIFOs", in);
    close(from);
    close(to);
}

/* spawn HOW IN OUT: a child that takes its commands from the FIFOs. HOW: fork, exec (after fork), spawn. */
static long do_spawn(char **arg, char *more)
{
    char *argv[] = {(char *)"/proc/self/exe", arg[2], arg[3], NULL};
    pid_t pid;

    (void)more;
    argv[0] = realpath("/proc/self/exe", NULL);
    if (strcmp(arg[1], "spawn") == 0) {
        int r = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

        return r != 0 ? -r : pid;
    }
    pid = fork();
    if (pid != 0)
        return told(pid);
    if (strcmp(arg[1], "exec") == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    take_fifos(arg[2], arg[3]);
    return 0;
}

/* exec IN OUT: becomes a new peer. */
static long do_exec(char **arg, char *more)
{
    char *argv[] = {realpath("/proc/self/exe", NULL), arg[1], arg[2], NULL};

    (void)more;
    return told(execv(argv[0], argv));
}

static long do_pid(char **arg, char *more)
{
    (void)arg;
    (void)more;
    return getpid();
}

/* adopt F N: a descriptor that the process inherited. */
static long do_adopt(char **arg, char *more)
{
    (void)more;
    fds[name_of(arg[1])] = (int)number(arg[2]) + 1;
    return 0;
}

/* closeall: as daemons do. Closes all descriptors but the standard ones, also those of the peer's files. */
static long do_closeall(char **arg, char *more)
{
    (void)arg;
    (void)more;
    return told(close_range(STDERR_FILENO + 1, ~0u, 0));
}

static long do_setuid(char **arg, char *more)
{
    uid_t uid = (uid_t)number(arg[1]);

    (void)more;
    return told(setresuid(uid, uid, uid));
}

static long do_exit(char **arg, char *more)
{
    (void)more;
    exit((int)number(arg[1]));
}

/* ---- the loop -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int nargs;
    long (*run)(char **arg, char *more);
} commands[] = {
    {"open", 3, do_open},        {"close", 1, do_close},       {"map", 6, do_map},
    {"unmap", 1, do_unmap},      {"load", 3, do_load},         {"store", 3, do_store},
    {"sum", 3, do_sum},          {"scatter", 5, do_scatter},   {"pread", 3, do_pread},
    {"pwrite", 3, do_pwrite},    {"write", 2, do_write},       {"truncate", 2, do_truncate},
    {"fstat", 1, do_fstat},      {"stat", 1, do_stat},         {"statx", 1, do_statx},
    {"length", 1, do_lseek_end}, {"msync", 2, do_msync},       {"dontneed", 1, do_dontneed},
    {"fadvise", 1, do_fadvise},  {"fsync", 1, do_fsync},       {"init", 3, do_init},
    {"take", 3, do_take},        {"drop", 3, do_drop},         {"count", 6, peer_count},
    {"watch", 5, peer_watch},    {"threads", 4, peer_threads}, {"spawn", 3, do_spawn},
    {"exec", 2, do_exec},        {"pid", 0, do_pid},           {"exit", 1, do_exit},
    {"adopt", 2, do_adopt},      {"closeall", 0, do_closeall}, {"setuid", 1, do_setuid},
};

static void answer(long result, const char *more)
{
    if (result == PEER_SIGBUS || result == PEER_SIGSEGV)
        printf("%s\n", result == PEER_SIGBUS ? "SIGBUS" : "SIGSEGV");
    else if (result < 0)
        printf("%s\n", strerrorname_np((int)-result));
    else
        printf("%ld %s\n", result, more);
    fflush(stdout);
}

static void obey(char *line)
{
    static char more[PEER_MORE];
    char *arg[PEER_ARGS] = {0}, *rest = line, *word;
    int n = 0;

    while (n < PEER_ARGS && (word = strsep(&rest, " \n")) != NULL)
        if (*word != '\0')
            arg[n++] = word;
    more[0] = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (n == commands[i].nargs + 1 && strcmp(arg[0], commands[i].name) == 0) {
            answer(commands[i].run(arg, more), more);
            return;
        }
    usage("no such command, or not with so many arguments", arg[0]);
}

/* By read and not by stdio: after a fork, both processes would obey the commands that a buffer holds. */
static int read_line(char *line, size_t len)
{
    size_t n = 0;

    while (n < len - 1) {
        ssize_t got = read(STDIN_FILENO, line + n, 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (line[n++] == '\n')
            break;
    }
    line[n] = '\0';
    return 1;
}

int main(int argc, char **argv)
{
    static char line[PEER_MORE];
    struct sigaction bad = {.sa_handler = accessed_badly};

    if (argc == 3)
        take_fifos(argv[1], argv[2]);
    sigaction(SIGBUS, &bad, NULL);
    sigaction(SIGSEGV, &bad, NULL);
    while (read_line(line, sizeof line))
        obey(line);
    return 0;
}
