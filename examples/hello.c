/* hello.c: adds up the bytes of a file, however long it is, through a mapping that uses at most 64 MiB of
 * memory. */
#include <faultline/faultline.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
    struct fl_options options = {.memory_limit_bytes = 64 << 20};
    struct fl_stats stats;
    struct fl_file *file;
    struct stat st;
    void *addr = NULL;
    if (argc != 2 || stat(argv[1], &st) != 0 || fl_init(&options) != 0 ||
        fl_open(argv[1], O_RDONLY, &file) != 0 ||
        fl_mmap(&addr, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0) != 0)
        return fprintf(stderr, "usage: hello FILE (%s)\n", fl_init_error()), 1;
    uint64_t sum = 0;
    for (const unsigned char *byte = addr; byte < (unsigned char *)addr + st.st_size; byte++)
        sum += *byte;
    fl_stats(&stats);
    printf("sum %ju, %ju faults, %ju pages read, peak %ju MiB\n", (uintmax_t)sum, (uintmax_t)stats.vm.faults,
           (uintmax_t)stats.vm.page_ins, (uintmax_t)stats.peak_resident_bytes >> 20);
    return fl_shutdown() != 0;
}
