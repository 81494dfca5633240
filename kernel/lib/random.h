/*
 * random.h: random bytes for getrandom, /dev/urandom and AT_RANDOM.
 *
 * The source is the processor's rdrand where it has one, else the time stamps of the calls, stretched by a
 * generator (splitmix64). Good for seeds and hash tables; it is no source of keys.
 */
#ifndef KERNEL_LIB_RANDOM_H
#define KERNEL_LIB_RANDOM_H

#include <stddef.h>

/* Context: any. */
void random_bytes(void *to, size_t len_bytes);

#endif
