/*
 * copy.c: copies to and from programs: which of support.S's functions this processor needs, and the check
 * that SMAP is lifted only around the copy.
 */
#include "kernel.h"

size_t copyio(void *to, const void *from, size_t len_bytes);
size_t copyio_smap(void *to, const void *from, size_t len_bytes);
size_t fillio(void *to, size_t len_bytes);
size_t fillio_smap(void *to, size_t len_bytes);
int64_t copystr_io(char *to, const char *from, size_t max, bool smap);

size_t copy_user(void *to, const void *from, size_t len_bytes)
{
    return cpu_has_smap ? copyio_smap(to, from, len_bytes) : copyio(to, from, len_bytes);
}

size_t fill_user(void *to, size_t len_bytes)
{
    return cpu_has_smap ? fillio_smap(to, len_bytes) : fillio(to, len_bytes);
}

int64_t copy_string(char *to, const char *from, size_t max)
{
    return copystr_io(to, from, max, cpu_has_smap);
}
