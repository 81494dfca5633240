/*
 * file_io.h: reads and writes of the program's descriptors,
 * for the exported names, the trap, and copies between files.
 *
 *   file_io ─ true ──▶ the result, from the core's cache
 *          └─ false ─▶ the kernel's own call ─▶ file_io_after, of a write
 */
#ifndef RUN_FILE_IO_H
#define RUN_FILE_IO_H

#include "fdtable.h"
#include <sys/uio.h>

#define FILE_IO_POSITION (-1) /* as file_io.offset: the descriptor's own position */

struct file_io {
    int fd;
    bool writes;
    bool own;  /* iov is one piece, in the shim's memory */
    int flags; /* RWF_* */
    int64_t offset;
    const struct iovec *iov;
    size_t niov;
    uint32_t generation; /* files_generation before the call; set by file_io */

    /* [stale_at, stale_at + stale_len): what a write by the kernel changes of a managed file. */
    uint64_t stale_at, stale_len;
};

/* What file_io and file_io_after do for a managed file. */
bool file_io_managed(struct file_io *io, long *result);
void file_io_drop_stale(const struct file_io *io);

/* True: the call is done, *result is the kernel's answer. False: the call is the kernel's. */
static inline bool file_io(struct file_io *io, long *result)
{
    io->generation = files_generation;
    return !fd_is_other(io->fd) && file_io_managed(io, result);
}

/* After a write by the kernel, of a file that the core cannot write, or that became managed meanwhile. */
static inline void file_io_after(const struct file_io *io)
{
    if (io->stale_len != 0 || files_generation != io->generation)
        file_io_drop_stale(io);
}

/*
 * For trap.c: fills in *io, and *piece as its vector, if the system
 * call reads or writes a descriptor. False: it does neither.
 */
bool file_io_of_call(long number, const uint64_t arg[6], struct file_io *io, struct iovec *piece);

/*
 * A read, or write, into the shim's own memory, by the core or the kernel: as read(2) and
 * pread(2). *offset is advanced; NULL: the descriptor's own position. Signals as they are.
 */
long file_io_own(int fd, bool writes, void *memory, size_t len, int64_t *offset);

#endif
