/*
 * exec_args.c: argument and environment strings between two programs (exec_args.h).
 */
#include "proc/exec_args.h"

#include <linux/errno.h>

#include "lib/copy.h"
#include "kmem.h"
#include "string.h"

/* The chunk that the next byte goes to. NULL: no memory. */
static struct arg_chunk *args_chunk(struct exec_args *args)
{
    struct arg_chunk *chunk = args->last;

    if (chunk != NULL && chunk->used < ARG_CHUNK_BYTES)
        return chunk;
    chunk = kmalloc(sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    if (args->last != NULL)
        args->last->next = chunk;
    else
        args->first = chunk;
    args->last = chunk;
    return chunk;
}

/* `n` bytes more are in the chunk. */
static void args_advance(struct exec_args *args, struct arg_chunk *chunk, uint64_t n)
{
    chunk->used += (uint32_t)n;
    args->bytes += n;
}

int args_add_kernel(struct exec_args *args, const char *string)
{
    size_t left = strlen(string) + 1;

    if (left > ARG_STRING_MAX)
        return -E2BIG;
    while (left > 0) {
        struct arg_chunk *chunk = args_chunk(args);
        size_t n;

        if (chunk == NULL)
            return -ENOMEM;
        n = ARG_CHUNK_BYTES - chunk->used < left ? ARG_CHUNK_BYTES - chunk->used : left;
        memcpy(chunk->data + chunk->used, string, n);
        args_advance(args, chunk, n);
        string += n;
        left -= n;
    }
    return 0;
}

static int args_add_user(struct exec_args *args, uint64_t user)
{
    const uint64_t start = args->bytes;

    while (args->bytes - start <= ARG_STRING_MAX) {
        struct arg_chunk *chunk = args_chunk(args);
        size_t room;
        int64_t len_bytes;

        if (chunk == NULL)
            return -ENOMEM;
        room = ARG_CHUNK_BYTES - chunk->used;
        len_bytes = copyinstr(user + (args->bytes - start), chunk->data + chunk->used, room);
        if (len_bytes >= 0) {
            args_advance(args, chunk, (uint64_t)len_bytes + 1);
            return 0;
        }
        if (len_bytes != -ENAMETOOLONG)
            return (int)len_bytes;
        args_advance(args, chunk, room); /* its first bytes; the rest goes to the next chunk */
    }
    return -E2BIG;
}

int args_add_vector(struct exec_args *args, uint64_t vector, uint32_t skip, uint32_t *count)
{
    *count = 0;
    if (vector == 0)
        return 0; /* Linux takes it for an empty one */
    for (uint32_t i = 0;; i++) {
        uint64_t pointer;
        int error = copyin(vector + i * sizeof(pointer), &pointer, sizeof(pointer));

        if (error != 0 || pointer == 0)
            return error;
        if (i < skip)
            continue;
        error = args_add_user(args, pointer);
        if (error != 0)
            return error;
        ++*count;
        if (args->bytes + (i + UINT64_C(1)) * sizeof(pointer) > ARGS_MAX)
            return -E2BIG;
    }
}

void args_free(struct exec_args *args)
{
    while (args->first != NULL) {
        struct arg_chunk *chunk = args->first;

        args->first = chunk->next;
        kfree(chunk);
    }
    args->last = NULL;
}

int args_copyout(const struct exec_args *args, uint64_t to)
{
    int error = 0;

    for (const struct arg_chunk *chunk = args->first; error == 0 && chunk != NULL; chunk = chunk->next) {
        error = copyout(chunk->data, to, chunk->used);
        to += chunk->used;
    }
    return error;
}

int args_each(const struct exec_args *args, uint64_t to, int (*put)(void *arg, uint64_t address), void *arg)
{
    bool starts = true;
    int error = 0;

    for (const struct arg_chunk *chunk = args->first; chunk != NULL; chunk = chunk->next) {
        for (uint32_t i = 0; i < chunk->used; i++, to++) {
            if (starts)
                error = put(arg, to);
            if (error != 0)
                return error;
            starts = chunk->data[i] == 0;
        }
    }
    return 0;
}
