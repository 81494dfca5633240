/*
 * vector.c: a copy of the program's vector of pieces of memory, and how far it is done (vector.h).
 *
 *      iov:   | own | managed | own | managed | managed |
 *             └──────────── a prefix ─────────┘   hold at most a chunk of managed bytes, call, next prefix
 */
#include "vector.h"
#include "user_copy.h"
#include "window.h"
#include <limits.h>
#include <memfd.h>

int vector_open(struct vector *vector, const struct iovec *program, size_t npieces)
{
    int error;

    if (npieces > IOV_MAX)
        return -EINVAL;
    vector->piece = vector->small;
    vector->npieces = npieces;
    vector->first = 0;
    vector->mapped = npieces > VECTOR_SMALL;
    if (vector->mapped) {
        long memory = shim_memory(npieces * sizeof *program);

        if (memory < 0)
            return (int)memory;
        vector->piece = (struct iovec *)memory;
    }
    error = user_copy_in(vector->piece, program, npieces * sizeof *program);
    if (error != 0)
        vector_close(vector);
    return error;
}

void vector_close(struct vector *vector)
{
    if (vector->mapped)
        shim_memory_free(vector->piece, vector->npieces * sizeof *vector->piece);
}

/* The end of user memory; on some processors it is higher, and the kernel is asked. */
#define USER_END_SURE (((vm_offset_t)1 << 47) - VM_PAGE_SIZE)

static bool user_reaches(vm_offset_t end)
{
    return end <= USER_END_SURE || linux_syscall(SYS_pread64, linux_memfd_fd(), end, 0, 0) != -EFAULT;
}

bool vector_is_user(const struct vector *vector)
{
    for (size_t i = 0; i < vector->npieces; i++) {
        vm_offset_t base = (vm_offset_t)vector->piece[i].iov_base;

        if (base + vector->piece[i].iov_len < base || !user_reaches(base + vector->piece[i].iov_len))
            return false;
    }
    return true;
}

int vector_hold(struct vector *vector, vm_prot_t access, size_t room, struct hold **held, size_t *n,
                size_t *rest)
{
    *rest = 0;
    for (*n = 0; vector->first + *n < vector->npieces; ++*n) {
        struct iovec *piece = &vector->piece[vector->first + *n];
        size_t len = piece->iov_len;
        size_t cost;
        int error;

        if (!window_has((uintptr_t)piece->iov_base) || len == 0 ||
            window_reserved_from((uintptr_t)piece->iov_base) >= len)
            continue;
        if (room < VM_PAGE_SIZE)
            return 0;
        if (len > room)
            len = room;
        error = hold_add(held, (uintptr_t)piece->iov_base, &len, access);
        if (error != 0)
            return *n > 0 ? 0 : error;
        cost = round_page(((uintptr_t)piece->iov_base & VM_PAGE_MASK) + len);
        room -= room < cost ? room : cost;
        if (len < piece->iov_len) {
            *rest = piece->iov_len - len;
            piece->iov_len = len;
            ++*n;
            return 0;
        }
    }
    return 0;
}

bool vector_advance(struct vector *vector, size_t n, size_t rest, size_t bytes)
{
    if (rest != 0)
        vector->piece[vector->first + n - 1].iov_len += rest;
    for (; n > 0; n--) {
        struct iovec *piece = &vector->piece[vector->first];
        size_t whole = n == 1 ? piece->iov_len - rest : piece->iov_len;

        if (bytes < whole || (n == 1 && rest != 0)) {
            piece->iov_base = (char *)piece->iov_base + bytes;
            piece->iov_len -= bytes;
            return bytes == whole;
        }
        bytes -= whole;
        vector->first++;
    }
    return true;
}
