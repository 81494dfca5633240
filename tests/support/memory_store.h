/*
 * memory_store.h: stores in memory, whose transfers are done at once, within submit. They never fail.
 */
#ifndef TESTS_SUPPORT_MEMORY_STORE_H
#define TESTS_SUPPORT_MEMORY_STORE_H

#include <faultline/store.h>

/* A file of npages pages, page i full of the byte i; what is written is forgotten. Closing it frees it. */
struct store *memory_store_pattern(uint32_t npages);
/* A file of len_bytes zeros in blocks of 512 bytes, which can be written, truncated and punched. */
struct store *memory_store_zeros(uint64_t len_bytes);

#endif
