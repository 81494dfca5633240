/* files.c: see files.h. */
#include "conformance/files.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void make_file(struct files *files, int file)
{
    char path[] = "/tmp/faultline-conformance-XXXXXX";
    uint64_t len = driver_file_size(file), i;
    uint8_t *bytes = malloc(len);
    int fd = mkstemp(path);
    struct stat st;

    must(fd >= 0 && bytes != NULL, path);
    for (i = 0; i < len; i++)
        bytes[i] = driver_file_byte(file, i);
    must(unlink(path) == 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len && fstat(fd, &st) == 0, path);
    free(bytes);
    files->fd[file] = fd;
    files->inode[file] = st.st_ino;
}

/* A descriptor of its own for the file, with the handle's open mode. */
static void open_handle(struct files *files, int handle)
{
    const struct driver_handle *h = &driver_handles[handle];
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", files->fd[h->file]);
    files->handle[handle] = open(path, h->read && h->write ? O_RDWR : h->write ? O_WRONLY : O_RDONLY);
    must(files->handle[handle] >= 0, path);
}

void files_open(struct files *files)
{
    int i;

    for (i = 0; i < DRIVER_FILES; i++)
        make_file(files, i);
    for (i = 0; i < DRIVER_HANDLES; i++)
        open_handle(files, i);
}

void files_close(struct files *files)
{
    int i;

    for (i = 0; i < DRIVER_HANDLES; i++)
        close(files->handle[i]);
    for (i = 0; i < DRIVER_FILES; i++)
        close(files->fd[i]);
}

int files_read(struct files *files, int file, uint64_t off, void *bytes, size_t len)
{
    ssize_t n = pread(files->fd[file], bytes, len, (off_t)off);

    return n < 0 ? -errno : (size_t)n == len ? 0 : -EINVAL;
}

uint64_t files_size(struct files *files, int file)
{
    struct stat st;

    must(fstat(files->fd[file], &st) == 0, "fstat");
    return (uint64_t)st.st_size;
}
