/*
 * corpus_main.c: runs the fuzz target once on each file of a folder, so
 * that inputs that a fuzzer found are tested without a fuzzer.
 */
#include "fuzz/fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX 4096

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[INPUT_MAX];
    char path[512];
    FILE *in;
    size_t len;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    in = fopen(path, "rb");
    if (in == NULL)
        return -1;
    len = fread(data, 1, sizeof(data), in);
    fclose(in);
    return LLVMFuzzerTestOneInput(data, len);
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    const struct dirent *entry;
    unsigned n = 0;

    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return EXIT_FAILURE;
    }
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(argv[1], entry->d_name) != 0) {
            fprintf(stderr, "cannot read %s\n", entry->d_name);
            return EXIT_FAILURE;
        }
        n++;
    }
    closedir(folder);
    printf("%u inputs\n", n);
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
