/*
 * swap_file.h: an unnamed file to swap to, as a store.
 *
 *   dir/                        len_bytes from the beginning, all of it a hole
 *     (no name) ──▶ | written | hole | written, then punched: a hole again | hole ……………… |
 *
 * The file takes space as its pages are written, and gives it back as they are punched. It goes away with the
 * store, also when the process dies.
 */
#ifndef STORES_SWAP_FILE_H
#define STORES_SWAP_FILE_H

#include <faultline/store.h>

/* Returns $TMPDIR, or, if there is none, /var/tmp, because /tmp often lies in memory. */
FL_NODISCARD const char *swap_file_dir(void);
/*
 * Makes the file in directory `dir`. len_bytes: how much may be swapped out at most, whole pages and not 0.
 * The store is one of stores/file.c: direct I/O where the file system has it, asynchronous, `punch`. Errors:
 * -EINVAL (len_bytes); -EFBIG: longer than the file system or the limit on file sizes (RLIMIT_FSIZE) allows;
 * of open(2), of which -ENOENT, -ENOTDIR, -EACCES and -EROFS are about the directory; of fl_store_file.
 */
FL_NODISCARD int swap_file_open(const char *dir, uint64_t len_bytes, struct store **store);
/* The same, where `place` is a directory, or the name of a new file, which is removed at once. Errors: also
 * -EEXIST. */
FL_NODISCARD int swap_file_open_at(const char *place, uint64_t len_bytes, struct store **store);

#endif
