/*
 * kbench.c: what a kernel's services cost a program, in emulated instructions. A static Linux program, for a
 * QEMU that counts instructions (-icount shift=0): there the time-stamp counter advances by one with each.
 *
 *   kbench             all measures: lines `kbench: NAME MEDIAN MEAN`. First a loop of known length is timed:
 *                      the counter's ticks for an instruction must be 1
 *   kbench prompt      starts the shell; `kbench: prompt TICKS` is the counter when its prompt arrives
 *   kbench memory N    the kernel's own memory in a computer of N KiB, after the prompt has arrived
 *
 * What is timed is the whole way, from the instruction before to the instruction behind, less what the clock
 * itself costs. A measure is repeated; the median leaves out timer interrupts, the mean has them in it.
 *
 * The kernel's own memory: all that the computer has, less what is free, less the page cache, less the
 * programs' anonymous pages: code, tables of pages, page tables, stacks, slabs, reserves. That is the memory
 * which no program and no file can have.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE       UINT64_C(4096)
#define MIB        (UINT64_C(1) << 20)
#define HUGE       (2 * MIB)
#define RUNS       1000 /* of a short measure */
#define FILE_PATH  "/kbench.file"
#define GROWN_PATH "/kbench.grown"
#define FILE_SIZE  (4 * MIB)

static uint64_t sample[8192], nsamples, clock_cost;

static inline uint64_t ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(EXIT_FAILURE);
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static uint64_t median(void)
{
    qsort(sample, nsamples, sizeof(sample[0]), by_value);
    return sample[nsamples / 2];
}

static void add(uint64_t start, uint64_t end)
{
    uint64_t spent = end - start;

    sample[nsamples++] = spent > clock_cost ? spent - clock_cost : 0;
}

/* Prints the samples, each of which did a thing `parts` times. */
static void report(const char *name, uint64_t parts)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < nsamples; i++)
        sum += sample[i];
    printf("kbench: %-52s %10" PRIu64 " %10" PRIu64 "\n", name, median() / parts, sum / nsamples / parts);
    nsamples = 0;
}

/* ---- the clock ---------------------------------------------------------------------------------------- */

static void clock_factor(void)
{
    uint64_t rounds = 1000000, left = rounds, start, end;

    for (int i = 0; i < RUNS; i++) {
        start = ticks();
        end = ticks();
        add(start, end);
    }
    clock_cost = median();
    nsamples = 0;
    start = ticks();
    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left));
    end = ticks();
    printf("kbench: %-52s %10.3f\n", "ticks for an instruction",
           (double)(end - start) / (double)(2 * rounds));
    printf("kbench: %-52s %10" PRIu64 "\n", "the clock itself", clock_cost);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static unsigned char *map(uint64_t len, int prot, int flags, int fd, uint64_t offset)
{
    unsigned char *at = mmap(NULL, len, prot, flags, fd, (off_t)offset);

    must(at != MAP_FAILED, "mmap");
    return at;
}

static unsigned char *map_anonymous(uint64_t len)
{
    return map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/*
 * A page that keeps the page table there which the next small mapping will use, as in a program that runs:
 * the kernel puts that mapping below it. Its rights differ, so the two do not become one.
 */
static unsigned char *map_neighbour(void)
{
    unsigned char *page;

    /* Not the first of a page table: the next one would lie in another. */
    do
        page = map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while ((uintptr_t)page % HUGE == 0);
    must(*(volatile unsigned char *)page == 0, "a fresh page");
    return page;
}

/* Stores to each page of fresh memory. The first round, in which page tables are made, is not counted. */
static void anonymous_faults(const char *name, bool huge_too)
{
    volatile unsigned char *at = map_anonymous(16 * MIB);
    volatile unsigned char *from = at + (HUGE - (uintptr_t)at % HUGE) % HUGE;

    if (!huge_too)
        madvise((void *)at, 16 * MIB, MADV_NOHUGEPAGE); /* a kernel that does not know it has none */
    for (uint64_t i = 0; i < 8 * MIB / PAGE; i++) {
        uint64_t start = ticks();
        from[i * PAGE] = 1;
        add(start, ticks());
    }
    report(name, 1);
    must(munmap((void *)at, 16 * MIB) == 0, "munmap");
}

static int cached_file(void)
{
    static unsigned char bytes[64 * 1024];
    int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);

    must(fd >= 0, FILE_PATH);
    memset(bytes, 0x5a, sizeof(bytes));
    for (uint64_t done = 0; done < FILE_SIZE; done += sizeof(bytes))
        must(write(fd, bytes, sizeof(bytes)) == sizeof(bytes), "write");
    must(fsync(fd) == 0, "fsync");
    return fd;
}

/*
 * One fault that enters one page: the mapping is made behind the end of the file, which then grows by a page
 * that is written. So no kernel can have entered the page with its mapping, or may enter a neighbour.
 */
static void file_fault(void)
{
    int fd = open(GROWN_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);
    unsigned char page[PAGE], *neighbour = map_neighbour();

    must(fd >= 0, GROWN_PATH);
    memset(page, 0x5a, PAGE);
    for (uint64_t i = 0; i < FILE_SIZE; i += PAGE) {
        volatile unsigned char *at = map(PAGE, PROT_READ, MAP_SHARED, fd, i);
        must(pwrite(fd, page, PAGE, (off_t)i) == (int64_t)PAGE, "pwrite");
        uint64_t start = ticks();
        unsigned char byte = at[0];
        add(start, ticks());
        must(byte == 0x5a && munmap((void *)at, PAGE) == 0, "munmap");
    }
    report("file page fault, mapping of one page", 1);
    must(munmap(neighbour, PAGE) == 0 && close(fd) == 0 && unlink(GROWN_PATH) == 0, GROWN_PATH);
}

/* Loads from a cached file as they come: a kernel may enter pages with a mapping, and more than one. */
static void file_faults(int fd)
{
    volatile unsigned char *at;
    unsigned char sum = 0;

    for (int round = 0; round < 5; round++) {
        at = map(FILE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        uint64_t start = ticks();
        for (uint64_t i = 0; i < FILE_SIZE; i += PAGE)
            sum ^= at[i];
        add(start, ticks());
        must(munmap((void *)at, FILE_SIZE) == 0, "munmap");
    }
    report("file page, for each of a large mapping", FILE_SIZE / PAGE);
    unsigned char *neighbour = map_neighbour();
    for (uint64_t i = 0; i < FILE_SIZE; i += PAGE) {
        uint64_t start = ticks();
        at = map(PAGE, PROT_READ, MAP_SHARED, fd, i);
        sum ^= at[0];
        must(munmap((void *)at, PAGE) == 0, "munmap");
        add(start, ticks());
    }
    report("mmap + load + munmap of a file page", 1);
    must(munmap(neighbour, PAGE) == 0, "munmap");
    for (uint64_t i = 0; i < FILE_SIZE; i += 16 * PAGE) {
        at = map(FILE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        uint64_t start = ticks();
        sum ^= at[i];
        add(start, ticks());
        must(munmap((void *)at, FILE_SIZE) == 0, "munmap");
    }
    report("file page fault, first of a large mapping", 1);
    must(sum == 0 || sum == 0x5a, "the file's bytes");
}

static void one_page(const char *name, bool touched)
{
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = ticks();
        unsigned char *at = map_anonymous(PAGE);
        if (touched)
            *(volatile unsigned char *)at = 1;
        int error = munmap(at, PAGE);
        add(start, ticks());
        must(error == 0, "munmap");
    }
    report(name, 1);
}

/* ---- processes ---------------------------------------------------------------------------------------- */

static void store_to_all(unsigned char *at, uint64_t len)
{
    for (uint64_t i = 0; i < len; i += PAGE)
        ((volatile unsigned char *)at)[i] = 1;
}

/*
 * A kernel may leave the copying of page tables to later faults. What it saves is real where nobody touches
 * the memory soon; `stores`: the parent stores to all pages, and what that takes counts.
 */
static void forks(const char *name, uint64_t len, bool huge_too, bool stores, int rounds)
{
    unsigned char *at = map_anonymous(len);
    int status;

    if (!huge_too)
        madvise(at, len, MADV_NOHUGEPAGE);
    store_to_all(at, len);
    for (int i = 0; i < rounds; i++) {
        uint64_t start = ticks();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        must(child > 0 && waitpid(child, &status, 0) == child, "fork");
        if (stores)
            store_to_all(at, len);
        add(start, ticks());
    }
    report(name, 1);
    must(munmap(at, len) == 0, "munmap");
}

/* Two processes hand a byte to and fro: a round is two switches. */
static void switches(void)
{
    int to[2], from[2];
    char byte = 0;

    must(pipe(to) == 0 && pipe(from) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1)
            if (write(from[1], &byte, 1) != 1)
                break;
        _exit(0);
    }
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = ticks();
        must(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1, "pipe");
        add(start, ticks());
    }
    report("context switch by pipe", 2);
    close(to[1]);
    must(waitpid(child, NULL, 0) == child, "waitpid");
}

/* ---- calls -------------------------------------------------------------------------------------------- */

static void reads(int fd)
{
    static unsigned char page[4096];

    for (int i = 0; i < RUNS; i++) {
        uint64_t start = ticks();
        int64_t got = pread(fd, page, sizeof(page), (off_t)((uint64_t)i * PAGE % FILE_SIZE));
        add(start, ticks());
        must(got == sizeof(page), "pread");
    }
    report("read of 4 KiB, cached", 1);
}

static void getpids(void)
{
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = ticks();
        syscall(SYS_getpid);
        add(start, ticks());
    }
    report("getpid", 1);
}

static void measure_all(void)
{
    clock_factor();
    getpids();
    anonymous_faults("anonymous page fault", false);
    anonymous_faults("anonymous page, huge ones allowed", true);
    one_page("mmap + munmap of a page, touched, alone in its table", true);
    unsigned char *neighbour = map_neighbour();
    one_page("mmap + munmap of a page, untouched", false);
    one_page("mmap + munmap of a page, touched", true);
    must(munmap(neighbour, PAGE) == 0, "munmap");
    file_fault();
    int fd = cached_file();
    file_faults(fd);
    reads(fd);
    must(close(fd) == 0 && unlink(FILE_PATH) == 0, FILE_PATH);
    switches();
    forks("fork + exit + wait, 1 MiB touched", MIB, false, false, 50);
    forks("fork + exit + wait, 64 MiB touched", 64 * MIB, false, false, 10);
    forks("fork + exit + wait + stores to 64 MiB", 64 * MIB, false, true, 10);
    forks("fork + exit + wait, 64 MiB, huge ones allowed", 64 * MIB, true, false, 10);
}

/* ---- boot --------------------------------------------------------------------------------------------- */

/* Starts a login shell whose output comes here, and returns when its prompt has come. */
static pid_t shell_at_prompt(void)
{
    char seen[4096];
    size_t len = 0;
    int out[2];

    must(pipe(out) == 0, "pipe");
    pid_t shell = fork();
    must(shell >= 0, "fork");
    if (shell == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        execl("/bin/sh", "-sh", "-i", (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    close(out[1]);
    do {
        int64_t got = read(out[0], seen + len, sizeof(seen) - 1 - len);
        must(got > 0, "the shell's prompt");
        len += (size_t)got;
        seen[len] = 0;
    } while (strstr(seen, "# ") == NULL);
    return shell;
}

static uint64_t meminfo(const char *name)
{
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");

    must(file != NULL, "/proc/meminfo");
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            kib = strtoull(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return kib;
}

static void own_memory(uint64_t machine_kib)
{
    uint64_t free_kib = meminfo("MemFree");
    uint64_t cache_kib = meminfo("Cached") + meminfo("Buffers");
    uint64_t anonymous_kib = meminfo("AnonPages");

    must(free_kib != 0 && anonymous_kib != 0, "/proc/meminfo: MemFree, AnonPages");
    printf("kbench: %-52s %10" PRIu64 "\n", "memory: free, KiB", free_kib);
    printf("kbench: %-52s %10" PRIu64 "\n", "memory: page cache, KiB", cache_kib);
    printf("kbench: %-52s %10" PRIu64 "\n", "memory: programs, KiB", anonymous_kib);
    printf("kbench: %-52s %10" PRIu64 "\n", "memory: the kernel's own, KiB",
           machine_kib - free_kib - cache_kib - anonymous_kib);
}

int main(int argc, char **argv)
{
    uint64_t start = ticks(), prompt;
    bool memory = argc == 3 && strcmp(argv[1], "memory") == 0;

    if (argc == 1) {
        measure_all();
        return EXIT_SUCCESS;
    }
    if (!memory && strcmp(argv[1], "prompt") != 0)
        return EXIT_FAILURE;
    pid_t shell = shell_at_prompt();
    prompt = ticks();
    if (memory) {
        own_memory(strtoull(argv[2], NULL, 10));
    } else {
        printf("kbench: %-52s %10" PRIu64 "\n", "boot to this program", start);
        printf("kbench: %-52s %10" PRIu64 "\n", "boot to the prompt", prompt);
    }
    kill(shell, SIGKILL);
    return EXIT_SUCCESS;
}
