/*
 * ticker.c: ticker SECONDS MIB MS: an interactive program beside a memory hog.
 *
 * The hog is a child that touches so many MiB again and again. The ticker wakes up every 20 ms and touches 64
 * pages of its own and a file: half of its rounds must take at most a tenth of MS, and all at most
 * MS. A hog that the kernel kills for want of memory is no failure; that the ticker is killed would
 * be.
 */
#include "program.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES      64
#define ROUNDS_MAX 100000
static uint64_t latency_us[ROUNDS_MAX];

static uint64_t now_us(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *anonymous(size_t len)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

static _Noreturn void hog(size_t len)
{
    volatile unsigned char *memory = anonymous(len);

    if (memory == NULL)
        _exit(EXIT_SUCCESS); /* ENOMEM is an answer, too */
    for (unsigned char round = 1;; round++)
        for (size_t i = 0; i < len; i += PAGE)
            memory[i] = round;
}

static void work(volatile unsigned char *memory, int fd, unsigned char round)
{
    char bytes[64];

    for (size_t i = 0; i < PAGES; i++) {
        must(memory[i * PAGE] == (unsigned char)(round - 1));
        memory[i * PAGE] = round;
    }
    must(pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    must(argc == 4);
    uint64_t until = now_us() + strtoul(argv[1], NULL, 10) * 1000000;
    size_t hog_len = strtoul(argv[2], NULL, 10) << 20;
    uint64_t most_us = strtoul(argv[3], NULL, 10) * 1000;
    volatile unsigned char *memory = anonymous(PAGES * PAGE);
    int fd = open("/proc/self/exe", O_RDONLY);
    size_t rounds = 0;

    must(memory != NULL && fd >= 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        hog(hog_len);
    while (now_us() < until && rounds < ROUNDS_MAX) {
        uint64_t start = now_us();
        usleep(20000);
        work(memory, fd, (unsigned char)(rounds + 1));
        latency_us[rounds++] = now_us() - start - 20000;
    }
    must(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    qsort(latency_us, rounds, sizeof(latency_us[0]), by_value);
    fprintf(stderr, "%zu rounds, latency: median %llu us, most %llu us\n", rounds,
            (unsigned long long)latency_us[rounds / 2], (unsigned long long)latency_us[rounds - 1]);
    must(latency_us[rounds / 2] <= most_us / 10);
    must(latency_us[rounds - 1] <= most_us);
    return ok();
}
