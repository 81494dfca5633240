/* file_space.h: the space that a file's bytes have on the disk, for the store of files (file.c). */
#ifndef STORES_FILE_SPACE_H
#define STORES_FILE_SPACE_H

#include <faultline/types.h>

/* store_ops.allocate, for the file of fd, which is open for writing. */
FL_NODISCARD int file_space_allocate(int fd, uint64_t offset, uint64_t len_bytes);
/* store_ops.room, for the file of fd. */
FL_NODISCARD uint64_t file_space_room(int fd);

#endif
