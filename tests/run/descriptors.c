/*
 * descriptors.c: descriptors CASE DIRECTORY [N]: what a program with many
 * mapped files sees of its descriptors.
 *
 *   many   maps N files, closes each descriptor, and then opens as many files as its own limit allows;
 *          prints a sum and how many these were
 *   limit  prints its limit as it reads it itself, as a child by fork reads it, and as a shell does
 *   locks  a record lock survives that its file is mapped, written (it ends inside a page), remapped and
 *          forgotten
 *   remap  changes a file and maps it again N times, and prints a sum; on standard error, the cost of a pair
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #x, strerror(errno));                             \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)
#define FILE_BYTES 5000
#define PAGE       4096

static const char *directory;

static int opened(int i, int flags)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/%d", directory, i);
    fd = open(path, flags, 0600);
    CHECK(fd >= 0);
    return fd;
}

static void case_many(int n)
{
    unsigned long sum = 0;
    int more = 0, last = -1, fd;

    for (int i = 0; i < n; i++) {
        const unsigned char *map;

        fd = opened(i, O_RDONLY);
        map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        CHECK(map != MAP_FAILED);
        sum = sum * 31 + map[i % FILE_BYTES];
        close(fd);
    }
    for (; (fd = open("/dev/null", O_RDONLY)) >= 0; more++)
        last = fd;
    printf("%lu, %d more: %s\n", sum, more, strerror(errno));
    close(last);
}

static void print_limit(const char *who)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    printf("%s: %ld of %ld, %ld, %d\n", who, (long)limit.rlim_cur, (long)limit.rlim_max,
           sysconf(_SC_OPEN_MAX), getdtablesize());
    fflush(stdout);
}

static void case_limit(int n)
{
    int status;

    case_many(0);
    for (int i = 3; i < 4096; i++)
        close(i);
    for (int i = 0; i < n; i++)
        CHECK(mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, opened(i, O_RDONLY), 0) != MAP_FAILED);
    print_limit("own");
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){n + 50, n + 60}) == 0);
    print_limit("set");
    CHECK(mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, opened(n, O_RDONLY), 0) != MAP_FAILED);
    print_limit("mapped");
    if (fork() == 0) {
        print_limit("child");
        _exit(0);
    }
    CHECK(wait(&status) > 0 && status == 0);
    CHECK(system("ulimit -Sn; ulimit -Hn") == 0);
}

/* Whether another process finds the lock. */
static void lock_is_there(int fd, const char *when)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 7, .l_len = 1};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        CHECK(fcntl(fd, F_GETLK, &lock) == 0);
        _exit(lock.l_type == F_WRLCK ? 0 : 9);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    printf("%s: %s\n", when, status == 0 ? "locked" : "lost");
    fflush(stdout);
}

static void case_locks(int n)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 7, .l_len = 1};
    int fd = opened(0, O_RDWR);
    unsigned char *map;

    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    for (int i = 0; i < n; i++) {
        map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(map != MAP_FAILED);
        map[FILE_BYTES - 1]++;
        CHECK(msync(map, FILE_BYTES, MS_SYNC) == 0);
        map[10]++;
        CHECK(munmap(map, FILE_BYTES) == 0);
    }
    for (int i = 1; i < 200; i++) { /* so many files are mapped after it that it is forgotten */
        int other = opened(i, O_RDONLY);

        map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, other, 0);
        CHECK(map != MAP_FAILED && munmap(map, FILE_BYTES) == 0 && close(other) == 0);
    }
    lock_is_there(fd, "mapped and forgotten");
    CHECK(pwrite(fd, "x", 1, FILE_BYTES - 2) == 1 && fsync(fd) == 0);
    lock_is_there(fd, "written");
}

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void case_remap(int n)
{
    int fd = opened(0, O_RDWR);
    size_t pages = 256;
    unsigned long sum = 0;
    unsigned char *map;
    double from;

    CHECK(ftruncate(fd, (off_t)pages * PAGE) == 0);
    for (int i = 0; i < n; i++) {
        map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(map != MAP_FAILED);
        map[(size_t)i * 7919 % pages * PAGE]++;
        sum = sum * 31 + map[(size_t)i * 104729 % pages * PAGE];
        CHECK(munmap(map, pages * PAGE) == 0);
        if (i % 64 == 63)
            CHECK(ftruncate(fd, (off_t)++pages * PAGE) == 0);
    }
    from = now_us();
    for (int i = 0; i < n; i++) {
        map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(map != MAP_FAILED && munmap(map, PAGE) == 0);
    }
    fprintf(stderr, "%.1f us a pair\n", (now_us() - from) / n);
    printf("%lu\n", sum);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int n);
    } cases[] = {{"many", case_many}, {"limit", case_limit}, {"locks", case_locks}, {"remap", case_remap}};

    if (argc < 4)
        return 2;
    directory = argv[2];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run(atoi(argv[3]));
            return 0;
        }
    }
    return 2;
}
