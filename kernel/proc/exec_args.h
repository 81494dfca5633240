/*
 * exec_args.h: the strings that a new program gets, on their way from the old one.
 *
 *   chunk: "ls\0-l\0HOME=/ro" ─▶ chunk: "ot\0…"      one string after the other, arguments first
 *
 * They lie in the kernel's memory while the old space goes and the new one is not there yet.
 */
#ifndef KERNEL_PROC_EXEC_ARGS_H
#define KERNEL_PROC_EXEC_ARGS_H

#include <faultline/common.h>

#define ARG_CHUNK_BYTES 4080
#define ARG_STRING_MAX  (128 * 1024)      /* (MAX_ARG_STRLEN, Linux) */
#define ARGS_MAX        (2 * 1024 * 1024) /* with the pointers; a quarter of the usual stack, as on Linux */

struct arg_chunk {
    struct arg_chunk *next;
    uint32_t used;
    char data[ARG_CHUNK_BYTES];
};

struct exec_args {
    struct arg_chunk *first, *last;
    uint64_t bytes;     /* of all strings with their 0 */
    uint64_t arg_bytes; /* … of the arguments */
    uint32_t argc, envc;
};

/* Errors of all: -E2BIG, -ENOMEM; of those with addresses of the program -EFAULT. What was added stays, and
 * args_free frees it. */
FL_NODISCARD int args_add_kernel(struct exec_args *args, const char *string);
/* A vector of pointers, which NULL ends; *count: how many strings are added after the first `skip` ones. */
FL_NODISCARD int args_add_vector(struct exec_args *args, uint64_t vector, uint32_t skip, uint32_t *count);
void args_free(struct exec_args *args);

/* The strings to [to, to + bytes) of the program. Errors: -EFAULT. */
FL_NODISCARD int args_copyout(const struct exec_args *args, uint64_t to);
/* Calls put(arg, address of the string) for each string, in order, as if they lay at `to`. */
FL_NODISCARD int args_each(const struct exec_args *args, uint64_t to, int (*put)(void *arg, uint64_t address),
                           void *arg);

#endif
