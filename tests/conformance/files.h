/* files.h: the drivers' files as real ones, without a name, in the file system of /tmp. */
#ifndef TESTS_CONFORMANCE_FILES_H
#define TESTS_CONFORMANCE_FILES_H

#include "model/driver.h"
#include <sys/types.h>

struct files {
    int handle[DRIVER_HANDLES];
    int fd[DRIVER_FILES]; /* for the outside world: reads and writes every file */
    ino_t inode[DRIVER_FILES];
};

void files_open(struct files *files);
void files_close(struct files *files);
int files_read(struct files *files, int file, uint64_t off, void *bytes, size_t len);
uint64_t files_size(struct files *files, int file);
/* Ends the process with a message unless `ok`: the test cannot run. */
void must(bool ok, const char *what);

#endif
