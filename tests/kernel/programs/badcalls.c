/*
 * badcalls.c: badcalls SECONDS SEED: system calls with bad pointers, lengths and descriptors, from 4
 * processes.
 *
 *   this process ─▶ 4 makers ─▶ one child after the other, which makes 300 random calls; it may unmap its own
 *                               code and die of it, and an alarm ends a call that waits
 *
 * Nothing may happen to the kernel, and nothing may be lost: after a while, and again at the end, the memory
 * that is free or cache is counted (/proc/meminfo), and the two must agree to LEAK_KIB. The calls are those
 * of a list, and paths are relative. It is made for a computer that may break, and refuses to run on a disk
 * that tools/kernel-image has not made.
 */
#include "program.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAKERS      4
#define CALLS       300
#define LEAK_KIB    1024
#define FOLDER      "badcalls.d"
#define KERNEL_DISK "/etc/kernel-disk" /* a file of tools/kernel-image */

static const long calls[] = {
    SYS_read,
    SYS_write,
    SYS_open,
    SYS_close,
    SYS_stat,
    SYS_fstat,
    SYS_lstat,
    SYS_poll,
    SYS_lseek,
    SYS_mmap,
    SYS_mprotect,
    SYS_munmap,
    SYS_brk,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_ioctl,
    SYS_pread64,
    SYS_pwrite64,
    SYS_readv,
    SYS_writev,
    SYS_access,
    SYS_pipe,
    SYS_sched_yield,
    SYS_mremap,
    SYS_msync,
    SYS_mincore,
    SYS_madvise,
    SYS_dup,
    SYS_dup2,
    SYS_nanosleep,
    SYS_getitimer,
    SYS_getpid,
    SYS_sendfile,
    SYS_wait4,
    SYS_uname,
    SYS_fcntl,
    SYS_fsync,
    SYS_fdatasync,
    SYS_truncate,
    SYS_ftruncate,
    SYS_getdents64,
    SYS_getcwd,
    SYS_rename,
    SYS_mkdir,
    SYS_rmdir,
    SYS_creat,
    SYS_link,
    SYS_unlink,
    SYS_symlink,
    SYS_readlink,
    SYS_fchmod,
    SYS_umask,
    SYS_gettimeofday,
    SYS_getrlimit,
    SYS_getrusage,
    SYS_times,
    SYS_getuid,
    SYS_setpgid,
    SYS_getppid,
    SYS_sigaltstack,
    SYS_mlock,
    SYS_munlock,
    SYS_arch_prctl,
    SYS_gettid,
    SYS_futex,
    SYS_set_tid_address,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_openat,
    SYS_mkdirat,
    SYS_newfstatat,
    SYS_unlinkat,
    SYS_renameat,
    SYS_readlinkat,
    SYS_faccessat,
    SYS_pselect6,
    SYS_ppoll,
    SYS_set_robust_list,
    SYS_utimensat,
    SYS_fallocate,
    SYS_dup3,
    SYS_pipe2,
    SYS_preadv,
    SYS_pwritev,
    SYS_prlimit64,
    SYS_getrandom,
    SYS_statfs,
    SYS_fstatfs,
    SYS_select,
    SYS_rt_sigreturn,
    SYS_execve,
    500,
    511,
    512,
    100000,
};

static uint64_t seed;
static unsigned char *page_end; /* of a page whose next one is not mapped */

static uint64_t below(uint64_t limit)
{
    return random_next(&seed) % limit;
}

static uint64_t odd_address(void)
{
    static char name[] = "name", inner[] = "dir/name", buffer[8192];
    static uint64_t vector[4];

    vector[0] = (uint64_t)buffer;
    vector[1] = below(2) ? sizeof(buffer) : UINT64_MAX >> below(64);
    vector[2] = UINT64_MAX - below(8192);
    vector[3] = below(100000);
    switch (below(12)) {
    case 0:
        return 0;
    case 1:
        return (uint64_t)page_end - below(64);
    case 2:
        return UINT64_C(0xffff800000000000) + below(1 << 30) * 8;
    case 3:
        return UINT64_C(0xffffffff80000000) + below(1 << 24);
    case 4:
        return UINT64_C(0x7ffffffff000) - below(16);
    case 5:
        return UINT64_C(0x800000000000) + below(UINT64_C(1) << 60); /* not canonical, most of them */
    case 6:
        return (uint64_t)name;
    case 7:
        return (uint64_t)inner;
    case 8:
        return (uint64_t)vector;
    case 9:
        return (uint64_t)page_end - PAGE;
    case 10:
        return (uint64_t)&seed & ~(PAGE - 1);
    default:
        return (uint64_t)buffer;
    }
}

static uint64_t odd_number(void)
{
    static const uint64_t numbers[] = {0,          1,         2,         3,       7,          4095,
                                       4096,       4097,      65536,     1 << 20, 0x7fffffff, 0x80000000,
                                       0xffffffff, 1ul << 47, 1ul << 63, -1ul,    -2ul,       -4096ul};

    return below(2) ? numbers[below(sizeof(numbers) / sizeof(numbers[0]))] : below(16);
}

static uint64_t odd_argument(void)
{
    return below(3) == 0 ? odd_address() : odd_number();
}

static void make_call(void)
{
    long number = calls[below(sizeof(calls) / sizeof(calls[0]))];
    uint64_t arg[6];

    for (int i = 0; i < 6; i++)
        arg[i] = odd_argument();
    if (number == SYS_mmap)
        arg[3] &= ~(uint64_t)MAP_POPULATE; /* a computer's memory is not to be filled */
    if (number == SYS_prlimit64)
        arg[0] = 0; /* its own limits only, … */
    if (number == SYS_setpgid)
        arg[0] = 0;
    if (number == SYS_fallocate)
        arg[3] %= 1 << 20; /* … and no computer's disk */
    syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static _Noreturn void make_calls(uint64_t from)
{
    struct itimerval often = {{0, 10000}, {0, 10000}};
    int null = open("/dev/null", O_RDWR);
    struct rlimit file = {1 << 20, 1 << 20}, memory = {64 << 20, 64 << 20}, core = {0, 0};

    seed = from;
    /* What it writes to its descriptors is rubbish, and not for the console. */
    must(null >= 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        must(dup2(null, fd) == fd);
    /* A kernel without these limits has a disk that this may fill. */
    setrlimit(RLIMIT_FSIZE, &file);
    setrlimit(RLIMIT_AS, &memory);
    setrlimit(RLIMIT_CORE, &core);
    must(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < CALLS; i++)
        make_call();
    syscall(SYS_exit_group, 0);
    for (;;)
        ;
}

static void on_alarm(int signal)
{
    (void)signal;
}

static uint64_t now_s(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec;
}

/* A child that waits with its alarm blocked would wait for ever: after two seconds it is killed. */
static void wait_for(pid_t child)
{
    for (int ms = 0; ms < 2000; ms += 2) {
        if (waitpid(child, NULL, WNOHANG) == child)
            return;
        usleep(2000);
    }
    must(kill(child, SIGKILL) == 0);
    must(waitpid(child, NULL, 0) == child);
}

static _Noreturn void maker(uint64_t from, uint64_t until_s)
{
    struct sigaction action = {.sa_handler = on_alarm};
    char folder[32];

    seed = from;
    snprintf(folder, sizeof(folder), "%d", getpid());
    must(mkdir(folder, 0700) == 0 && chdir(folder) == 0);
    must(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGXFSZ, &action, NULL) == 0);
    page_end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(page_end != MAP_FAILED && munmap(page_end + PAGE, PAGE) == 0);
    memset(page_end, 'x', PAGE); /* a string that does not end */
    page_end += PAGE;
    do {
        uint64_t next = random_next(&seed);
        pid_t child = fork();
        must(child >= 0);
        if (child == 0)
            make_calls(next);
        wait_for(child);
    } while (now_s() < until_s);
    exit(EXIT_SUCCESS);
}

static void round_of(uint64_t seconds, uint64_t from)
{
    uint64_t until_s = now_s() + seconds;
    int status;

    for (uint64_t i = 0; i < MAKERS; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0)
            maker(from * MAKERS + i + 1, until_s);
    }
    for (int i = 0; i < MAKERS; i++)
        must(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Removes all that lies in a folder. It goes by descriptors, downwards only: never out of the folder. */
static void empty(int folder)
{
    DIR *dir = fdopendir(folder);

    must(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(folder, entry->d_name, 0) == 0)
            continue;
        must(errno == EISDIR && fchmodat(folder, entry->d_name, 0700, 0) == 0);
        int inner = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        must(inner >= 0);
        empty(inner);
        must(unlinkat(folder, entry->d_name, AT_REMOVEDIR) == 0);
    }
    must(closedir(dir) == 0);
}

static uint64_t available_kib(void)
{
    static const char *const names[] = {"MemFree:", "Buffers:", "Cached:", "SReclaimable:"};
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");

    must(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0)
                kib += strtoull(line + strlen(names[i]), NULL, 10);
    fclose(file);
    must(kib != 0);
    return kib;
}

/* A round, and what is left after it. */
static uint64_t left_kib(uint64_t seconds, uint64_t from)
{
    round_of(seconds, from);
    int folder = open(".", O_RDONLY | O_DIRECTORY);
    must(folder >= 0);
    empty(folder);
    sync();
    sleep(1); /* what is freed later: by the flusher, or behind a grace period */
    return available_kib();
}

int main(int argc, char **argv)
{
    must(argc == 3);
    must(access(KERNEL_DISK, F_OK) == 0);
    uint64_t seconds = strtoul(argv[1], NULL, 10), from = strtoul(argv[2], NULL, 10);
    must(mkdir(FOLDER, 0700) == 0 && chdir(FOLDER) == 0);
    uint64_t before = left_kib(1 + seconds / 4, 2 * from);
    uint64_t after = left_kib(seconds, 2 * from + 1);
    must(chdir("..") == 0 && rmdir(FOLDER) == 0);
    fprintf(stderr, "available before %llu KiB, after %llu KiB\n", (unsigned long long)before,
            (unsigned long long)after);
    must(after + LEAK_KIB >= before);
    return ok();
}
