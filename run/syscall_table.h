/* syscall_table.h: which arguments of a system call are pointers (syscall_table.c). */
#ifndef RUN_SYSCALL_TABLE_H
#define RUN_SYSCALL_TABLE_H

#include <stdint.h>

enum syscall_flow {
    FLOW_ONCE,  /* hold what the arguments name, and make the call */
    FLOW_ASK,   /* the same; the call only asks, so it may be repeated */
    FLOW_READ,  /* argument 1 is a buffer of argument 2 bytes to read into: longer ones in turns */
    FLOW_WRITE, /* … to write from */
};

enum syscall_arg_kind {
    ARG_END,
    ARG_IN,     /* the kernel reads `len` bytes */
    ARG_OUT,    /* the kernel writes `len` bytes */
    ARG_STRING, /* the kernel reads up to a NUL, at most a page */
};

#define SYSCALL_ARGS_MAX 3
struct syscall_arg {
    uint8_t kind;   /* enum syscall_arg_kind */
    uint8_t arg;    /* its number, from 0 */
    int8_t len_arg; /* the number of the argument that has the length, or -1 */
    uint16_t len;   /* the length in bytes; with len_arg, the size of one element */
};

struct syscall_rule {
    uint16_t number;
    uint8_t flow;      /* enum syscall_flow */
    int8_t offset_arg; /* FLOW_READ and FLOW_WRITE: the number of the file offset's argument, or 0 */
    struct syscall_arg arg[SYSCALL_ARGS_MAX];
};

/* NULL: the call is not in the table. */
const struct syscall_rule *syscall_rule(long number);

#endif
