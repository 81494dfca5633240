/* fsx_model.c: what the file must hold: an array of bytes, and beside each the operation that wrote it. */
#include "fsx.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

unsigned char model_bytes[FSX_LEN_MAX];
size_t model_len;
unsigned op_number;
static unsigned written_by[FSX_LEN_MAX]; /* 0: none yet */

void fail(const char *format, ...)
{
    va_list arguments;

    printf("FAIL  operation %u: ", op_number);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

void model_fill(unsigned char *to, uint64_t offset, size_t len, uint32_t data)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t x = (offset + i + 1) * 0x9e3779b97f4a7c15u ^ data * 0xbf58476d1ce4e5b9u;
        to[i] = (unsigned char)(x >> 56 | 1); /* never zero, as in a hole */
    }
}

void model_write(uint64_t offset, const unsigned char *from, size_t len)
{
    if (from != NULL)
        memcpy(model_bytes + offset, from, len);
    else
        memset(model_bytes + offset, 0, len);
    for (size_t i = 0; i < len; i++)
        written_by[offset + i] = op_number;
    if (offset + len > model_len)
        model_len = offset + len;
}

void model_truncate(size_t len)
{
    for (size_t i = len; i < model_len; i++) {
        model_bytes[i] = 0;
        written_by[i] = op_number;
    }
    model_len = len;
}

void model_compare(const unsigned char *is, uint64_t offset, size_t len, const char *by)
{
    size_t first = 0, last = len;

    if (memcmp(is, model_bytes + offset, len) == 0)
        return;
    while (is[first] == model_bytes[offset + first])
        first++;
    while (is[last - 1] == model_bytes[offset + last - 1])
        last--;
    fail("%s of [%#zx, %#zx), length %#zx: differs in [%#zx, %#zx): is %02x %02x, must be %02x %02x, "
         "of operations %u and %u",
         by, (size_t)offset, (size_t)offset + len, model_len, (size_t)offset + first, (size_t)offset + last,
         is[first], is[last - 1], model_bytes[offset + first], model_bytes[offset + last - 1],
         written_by[offset + first], written_by[offset + last - 1]);
}

void model_compare_kernel(int kernel_fd, uint64_t offset, size_t len)
{
    static unsigned char is[FSX_LEN_MAX];
    size_t want = offset < model_len ? model_len - offset : 0;
    long got = syscall(SYS_pread64, kernel_fd, is, len, offset);

    if (got != (long)(want < len ? want : len))
        fail("the kernel reads %ld of %zu bytes at %#zx, length %#zx", got, len, (size_t)offset, model_len);
    model_compare(is, offset, (size_t)got, "the kernel's view");
}
