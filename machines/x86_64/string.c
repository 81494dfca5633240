/*
 * string.c: bytes and strings in the kernel's memory.
 *
 *   memcpy, memset:  | … 8 bytes at a time, rep movsq / rep stosq … | the rest, 0 … 7 bytes |
 *
 * One instruction moves a page, which is what these functions are called for most. Short lengths, of names
 * and small structures, take a loop: the start of a rep costs more than it saves there.
 *
 * Does not do: vector registers, which are the programs' in the kernel.
 */
#include "string.h"

#include <stdint.h>

#include "kernel.h"

#define SHORT_BYTES 32

/* May be read and written at any address, and as part of any object. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *to, const void *from, size_t len_bytes)
{
    char *d = to;
    const char *s = from;

    if (len_bytes >= SHORT_BYTES) {
        size_t words = len_bytes / sizeof(word);
        __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
        len_bytes %= sizeof(word);
    }
    for (; len_bytes >= sizeof(word); len_bytes -= sizeof(word), d += sizeof(word), s += sizeof(word))
        *(word *)(void *)d = *(const word *)(const void *)s;
    while (len_bytes-- > 0) {
        *d++ = *s++;
        __asm__ volatile("" ::: "memory"); /* or the compiler makes a call of memcpy of it */
    }
    return to;
}

/* The ranges overlap and `to` lies behind `from`. */
static void move_backwards(char *to, const char *from, size_t len_bytes)
{
    char *d = to + len_bytes;
    const char *s = from + len_bytes;

    for (; len_bytes >= sizeof(word); len_bytes -= sizeof(word)) {
        d -= sizeof(word);
        s -= sizeof(word);
        *(word *)(void *)d = *(const word *)(const void *)s;
        __asm__ volatile("" ::: "memory");
    }
    while (len_bytes-- > 0) {
        *--d = *--s;
        __asm__ volatile("" ::: "memory");
    }
}

void *memmove(void *to, const void *from, size_t len_bytes)
{
    /* Forwards is right wherever `to` is not inside the source: each word is read before it is written
     * over. */
    if ((uintptr_t)to - (uintptr_t)from >= len_bytes)
        return memcpy(to, from, len_bytes);
    move_backwards(to, from, len_bytes);
    return to;
}

void *memset(void *to, int byte, size_t len_bytes)
{
    if (byte == 0 && len_bytes == VM_PAGE_SIZE && ((uintptr_t)to & (VM_PAGE_SIZE - 1)) == 0) {
        pagezero(to);
        return to;
    }
    char *d = to;

    if (len_bytes >= SHORT_BYTES) {
        size_t words = len_bytes / sizeof(word);
        uint64_t value = (uint8_t)byte * UINT64_C(0x0101010101010101);
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(value) : "memory");
        len_bytes %= sizeof(word);
    }
    while (len_bytes-- > 0) {
        *d++ = (char)byte;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t len_bytes)
{
    const unsigned char *p = a, *q = b;

    for (; len_bytes >= sizeof(word); len_bytes -= sizeof(word), p += sizeof(word), q += sizeof(word))
        if (*(const word *)(const void *)p != *(const word *)(const void *)q)
            break;
    for (; len_bytes > 0; len_bytes--, p++, q++)
        if (*p != *q)
            return *p < *q ? -1 : 1;
    return 0;
}

size_t strlen(const char *s)
{
    const char *end = s;

    while (*end) {
        end++;
        __asm__ volatile("" ::"r"(end)); /* or the compiler makes a call of strlen of it */
    }
    return (size_t)(end - s);
}

size_t strnlen(const char *s, size_t max)
{
    size_t len_bytes = 0;

    while (len_bytes < max && s[len_bytes])
        len_bytes++;
    return len_bytes;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (; max > 0; max--, a++, b++) {
        if (*a != *b)
            return (unsigned char)*a - (unsigned char)*b;
        if (!*a)
            break;
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++)
        if (!*s)
            return NULL;
    return (char *)(uintptr_t)s;
}

char *strrchr(const char *s, int c)
{
    const char *found = NULL;

    do {
        if (*s == (char)c)
            found = s;
    } while (*s++);
    return (char *)(uintptr_t)found;
}

size_t strlcpy(char *to, const char *from, size_t max)
{
    size_t len_bytes = strlen(from);
    size_t n = len_bytes < max ? len_bytes : max - 1;

    memcpy(to, from, n);
    to[n] = 0;
    return len_bytes;
}
