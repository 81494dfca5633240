/*
 * pipe.h: pipes and fifos.
 */
#ifndef KERNEL_FS_PIPE_H
#define KERNEL_FS_PIPE_H

#include "fs/file.h"

#define PIPE_BYTES 65536 /* what a pipe holds */

/* Where pipes without names have their inodes. Called once, at boot. */
void pipe_boot(void);
/* Both ends, each with one reference. flags: O_NONBLOCK, O_DIRECT is refused. Errors: -ENOMEM. */
FL_NODISCARD int pipe_create(unsigned flags, struct file *end[2]);
/* Opens a fifo: waits for the other end unless O_NONBLOCK. Errors: -ENXIO, -ENOMEM, -ERESTART. */
FL_NODISCARD int fifo_open(struct file *file);
/* Whether the file is an end of a pipe. */
FL_NODISCARD bool file_is_pipe(const struct file *file);

#endif
