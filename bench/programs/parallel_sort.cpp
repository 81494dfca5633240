/*
 * parallel_sort FILE [ADVICE]: sorts the 64-bit integers of FILE in place, through one shared mapping, with two
 * threads. ADVICE for the mapping: normal, sequential or random.
 *
 * This is umap's benchmark (umapsort) on a plain `mmap`: GNU's parallel mode with its quicksort, which needs no
 * second array. Ends when the sorted file is on the disk.
 */
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <omp.h>
#include <parallel/tags.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int advice_of(const char *name)
{
    return std::strcmp(name, "sequential") == 0 ? MADV_SEQUENTIAL
           : std::strcmp(name, "random") == 0   ? MADV_RANDOM
                                                : MADV_NORMAL;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        return std::fprintf(stderr, "usage: parallel_sort FILE [ADVICE]\n"), 2;
    int fd = open(argv[1], O_RDWR);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return std::perror(argv[1]), 1;
    std::size_t bytes = status.st_size;
    void *map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return std::perror("mmap"), 1;
    if (argc == 3 && madvise(map, bytes, advice_of(argv[2])) != 0)
        return std::perror("madvise"), 1;
    omp_set_num_threads(2);
    auto first = static_cast<std::uint64_t *>(map);
    auto last = first + bytes / sizeof *first;
    std::sort(first, last, std::less<std::uint64_t>(), __gnu_parallel::quicksort_tag());
    if (msync(map, bytes, MS_SYNC) != 0)
        return std::perror("msync"), 1;
    return 0;
}
