/*
 * file_io.h: reads and writes of the program's descriptors: what the exported names, the trap and the
 * copies between files share.
 *
 *   file_io ─ true ──▶ the result, from the core's cache
 *          └─ false ─▶ the kernel's own call ─▶ file_io_after, of a write
 */
#ifndef RUN_FILE_IO_H
#define RUN_FILE_IO_H

#include "fdtable.h"
#include <sys/uio.h>

#define FILE_IO_POSITION (-1) /* offset: the descriptor's own */

struct file_io {
    int fd;
    bool writes;
    bool own;  /* one piece, described by the caller's own memory */
    int flags; /* RWF_* */
    int64_t offset;
    const struct iovec *iov;
    size_t niov;
    uint32_t generation;         /* file_io's own, for file_io_after: files_generation before the call */
    uint64_t behind, behind_len; /* what a write by the kernel changes of a managed file; 0, 0: nothing */
};

/* Asks for no more than fd_is_other; file_io_managed does the work. As the kernel: *result. */
bool file_io_managed(struct file_io *io, long *result);
void file_io_behind(const struct file_io *io);

static inline bool file_io(struct file_io *io, long *result)
{
    io->generation = files_generation;
    return !fd_is_other(io->fd) && file_io_managed(io, result);
}

/* After a write by the kernel: of a file that became managed meanwhile, or that the core cannot write. */
static inline void file_io_after(const struct file_io *io)
{
    if (io->behind_len != 0 || files_generation != io->generation)
        file_io_behind(io);
}

/*
 * The program's system call, if it reads or writes a descriptor; false: it does not. For trap.c. *io is for
 * file_io.
 */
bool file_io_of_call(long number, const uint64_t arg[6], struct file_io *io, struct iovec *piece);

/*
 * read or write of the shim's own memory, by whoever has to: signals need not be blocked. *offset is
 * advanced; NULL: the descriptor's own position. As the kernel's.
 */
long file_io_own(int fd, bool writes, void *memory, size_t len, int64_t *offset);

#endif
