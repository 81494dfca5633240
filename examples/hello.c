/*
 * hello.c: adds up the bytes of a file, however long it is, through a mapping that uses at
 * most 64 MiB of memory.
 */
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Ends the program when `error`, 0 or a negative errno, says that a call failed: tells
 * which, why, and what to do. */
static void must(int error, const char *call, const char *name, const char *remedy)
{
    if (error == 0)
        return;
    fprintf(stderr, "hello: %s: %s: %s: %s\n", name, call, strerror(-error), remedy);
    exit(1);
}

/*
 * Called in a signal handler, before a failed access gets its SIGBUS. Only the loop below makes such
 * accesses, and never from inside stdio, so that printing here is safe.
 */
static void on_error(const struct fl_error *error, void *name)
{
    fprintf(stderr, "hello: %s: reading at %p: %s\n", (char *)name, error->addr, error->what);
    _Exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: hello FILE\n"), 2;
    char *name = argv[1];
    struct fl_options options = {.memory_limit_bytes = 64 << 20, .on_error = on_error, .on_error_arg = name};
    struct fl_stats stats;
    struct fl_file *file;
    struct stat st;
    void *addr = NULL;
    must(stat(name, &st) == 0 ? 0 : -errno, "stat", name, "give a file that exists");
    must(fl_init(&options), "fl_init", name, fl_init_error());
    must(fl_open(name, O_RDONLY, &file), "fl_open", name, "give a regular file that you may read");
    must(fl_mmap(&addr, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0), "fl_mmap", name,
         "give a file that is not empty");
    uint64_t sum = 0;
    for (const unsigned char *byte = addr; byte < (unsigned char *)addr + st.st_size; byte++)
        sum += *byte;
    fl_stats(&stats);
    printf("sum %ju, %ju faults, %ju pages read, peak %ju MiB\n", (uintmax_t)sum, (uintmax_t)stats.vm.faults,
           (uintmax_t)stats.vm.page_ins, (uintmax_t)stats.peak_resident_bytes >> 20);
    must(fl_shutdown(), "fl_shutdown", name, "look at the disk: write-back failed");
    return 0;
}
