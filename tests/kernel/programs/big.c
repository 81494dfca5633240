/*
 * big.c: more data than memory.
 *
 *   big sort MIB         anonymous: so many MiB of numbers are sorted by merging, from one area to another
 *                        and back: twice as much is touched
 *   big file FILE MIB    a file is written, mapped, changed backwards through the mapping, and read
 *
 * Prints hashes of what there is in the end; they depend on MIB alone.
 */
#include "program.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static void *anonymous(size_t len)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(at != MAP_FAILED);
    return at;
}

/* Merges the runs [0, half) and [half, n) of `from` into `to`. */
static void merge(uint64_t *to, const uint64_t *from, size_t half, size_t n)
{
    size_t left = 0, right = half;

    for (size_t i = 0; i < n; i++)
        to[i] = right >= n || (left < half && from[left] <= from[right]) ? from[left++] : from[right++];
}

/* Sorts by merging, from runs of `run` on, twice as long each time. Returns which of the two is sorted. */
static uint64_t *merge_sort(uint64_t *numbers, uint64_t *other, size_t run, size_t n)
{
    for (; run < n; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run) {
            size_t here = 2 * run < n - i ? 2 * run : n - i;
            merge(other + i, numbers + i, run < here ? run : here, here);
        }
        uint64_t *swapped = numbers;
        numbers = other;
        other = swapped;
    }
    return numbers;
}

/* Pieces of 1 MiB are sorted first, so that only the passes over all of it leave what fits in memory. */
static void big_sort(size_t len)
{
    size_t n = len / sizeof(uint64_t), piece = MIB / sizeof(uint64_t);
    uint64_t *numbers = anonymous(len), *other = anonymous(len);
    uint64_t seed = 1, before = 0, after = 0;

    for (size_t i = 0; i < n; i++) {
        numbers[i] = random_next(&seed);
        before += numbers[i];
    }
    for (size_t i = 0; i < n; i += piece)
        if (merge_sort(numbers + i, other + i, 1, piece) != numbers + i)
            memcpy(numbers + i, other + i, MIB);
    numbers = merge_sort(numbers, other, piece, n);
    for (size_t i = 0; i < n; i++) {
        must(i == 0 || numbers[i - 1] <= numbers[i]);
        after += numbers[i];
    }
    must(before == after);
    printf("sorted: %016llx\n", (unsigned long long)hash_bytes(HASH_START, numbers, len / 16));
}

static void big_file(const char *path, size_t len)
{
    static uint64_t chunk[64 * 1024 / sizeof(uint64_t)];
    uint64_t seed = 2, hash = HASH_START;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    must(fd >= 0);
    for (size_t done = 0; done < len; done += sizeof(chunk)) {
        for (size_t i = 0; i < sizeof(chunk) / sizeof(chunk[0]); i++)
            chunk[i] = random_next(&seed);
        must(write(fd, chunk, sizeof(chunk)) == (ssize_t)sizeof(chunk));
    }
    unsigned char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(map != MAP_FAILED);
    for (size_t page = len / PAGE; page-- > 0;)
        map[page * PAGE + page % PAGE] ^= 0xff;
    for (size_t page = 0; page < len / PAGE; page++) /* a part of each page: the whole takes long */
        hash = hash_bytes(hash, map + page * PAGE + page % 1024, 64);
    printf("mapped: %016llx\n", (unsigned long long)hash);
    must(msync(map, len, MS_SYNC) == 0 && munmap(map, len) == 0);
    must(lseek(fd, 0, SEEK_SET) == 0);
    hash = HASH_START;
    for (size_t done = 0; done < len; done += sizeof(chunk)) {
        must(read(fd, chunk, sizeof(chunk)) == (ssize_t)sizeof(chunk));
        hash = hash_bytes(hash, chunk, 4096);
    }
    printf("read: %016llx\n", (unsigned long long)hash);
    must(close(fd) == 0);
}

int main(int argc, char **argv)
{
    must(argc >= 3);
    if (strcmp(argv[1], "sort") == 0)
        big_sort(strtoul(argv[2], NULL, 10) * MIB);
    else if (argc == 4 && strcmp(argv[1], "file") == 0)
        big_file(argv[2], strtoul(argv[3], NULL, 10) * MIB);
    else
        return EXIT_FAILURE;
    return ok();
}
