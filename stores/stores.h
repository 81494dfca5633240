/* stores.h: what the stores of this folder share among themselves. */
#ifndef STORES_STORES_H
#define STORES_STORES_H

#include <faultline/store.h>

/* Returns how many of the len_bytes at `offset` lie before the end of a file of size_bytes. */
static inline size_t store_trim(uint64_t size_bytes, uint64_t offset, size_t len_bytes)
{
    if (offset >= size_bytes)
        return 0;
    return size_bytes - offset < len_bytes ? (size_t)(size_bytes - offset) : len_bytes;
}

/* Returns the descriptor of a store from fl_store_file, which closes it. It may be O_DIRECT. */
FL_NODISCARD int fl_store_file_fd(const struct store *store);

#endif
