/*
 * numbered_file.h: a real file in which each word says where it stands, for tests of the library.
 */
#ifndef TESTS_SUPPORT_NUMBERED_FILE_H
#define TESTS_SUPPORT_NUMBERED_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Word k of page i. */
static inline uint64_t numbered_word(uint64_t i, uint64_t k)
{
    return i * 1000003 + k;
}

/* Makes a file of npages pages; path: a template for mkstemp, which becomes its name. Returns 0, or -1. */
int numbered_file_make(char *path, size_t npages);

#endif
