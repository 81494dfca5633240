/*
 * debugged.c: debugged FILE [die]: maps the file of numbered pages, and calls
 * `here`, where a debugger stops it (gdb_test): page 3 has been read by then,
 * the last one has not. die: accesses an unmapped address afterwards.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096ul

static volatile unsigned long nowhere = 8;

void here(const volatile char *map, unsigned long last);

__attribute__((noinline)) void here(const volatile char *map, unsigned long last)
{
    __asm__ volatile("" : : "r"(map), "r"(last) : "memory");
}

int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR);
    const volatile char *map;
    unsigned long total = 0;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return 2;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 2;
    total += (unsigned long)map[3 * PAGE + 7];
    here(map, (unsigned long)st.st_size / PAGE * PAGE - PAGE);
    for (unsigned long at = 0; at < (unsigned long)st.st_size; at += PAGE)
        total += (unsigned long)map[at + 7];
    printf("total %lu\n", total);
    if (argc > 2)
        total += (unsigned long)*(const volatile char *)nowhere;
    return 0;
}
