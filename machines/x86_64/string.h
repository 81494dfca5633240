/*
 * string.h: bytes and strings in the kernel's memory.
 *
 * memcpy, memmove, memset and memcmp are also what the compiler and the core call. Context: any, interrupts
 * too. The program's memory is reached by copy.h only.
 */
#ifndef MACHINES_X86_64_STRING_H
#define MACHINES_X86_64_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t len_bytes);
void *memmove(void *to, const void *from, size_t len_bytes);
void *memset(void *to, int byte, size_t len_bytes);
int memcmp(const void *a, const void *b, size_t len_bytes);

size_t strlen(const char *s);
/* The length, or max where none of the first `max` bytes is 0. */
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
/* Copies at most max - 1 bytes and a 0; max > 0. Returns strlen(from). */
size_t strlcpy(char *to, const char *from, size_t max);

#endif
