/*
 * given_file.h: the file that a tested program is called with, `PROGRAM
 * CASE FILE`, and a checksum of what it shows.
 *
 * Included by one source file of each such program.
 */
#ifndef TESTS_RUN_GIVEN_FILE_H
#define TESTS_RUN_GIVEN_FILE_H

#include "cases.h"
#include "check.h"
#include <stdint.h>
#include <sys/stat.h>

#define PAGE 4096u

static const char *path;
static size_t size; /* of the file, in bytes, when the program started */

/* FNV-1a of the n bytes at p. */
static inline uint64_t sum(const volatile unsigned char *p, size_t n)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* The exit status of main: 2 when the arguments are wrong, or name no case or no file. */
static inline int given_file_main(int argc, char **argv, const struct named_case *cases, size_t ncases)
{
    struct stat st;

    if (argc != 3 || stat(argv[2], &st) != 0)
        return 2;
    path = argv[2];
    size = (size_t)st.st_size;
    return case_run(cases, ncases, argv[1]) ? 0 : 2;
}

#endif
