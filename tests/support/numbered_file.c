/*
 * numbered_file.c: a file of numbered words (numbered_file.h).
 */
#include "support/numbered_file.h"
#include <stdlib.h>
#include <unistd.h>

#define PAGE 4096

int numbered_file_make(char *path, size_t npages)
{
    uint64_t page[PAGE / 8];
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    for (uint64_t i = 0; i < npages; i++) {
        for (size_t k = 0; k < PAGE / 8; k++)
            page[k] = numbered_word(i, k);
        if (write(fd, page, PAGE) != PAGE)
            return -1;
    }
    return close(fd);
}
