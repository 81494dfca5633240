/*
 * syscall_table.c: which arguments of which system calls are
 * pointers, in which direction the bytes go, and how many.
 *
 * Only calls whose buffers may be longer than two pages, or whose direction matters,
 * need a line. For any other call trap.c holds two pages at each pointer, for writing
 * where the mapping is writable. Lines are sorted by number for the binary search.
 *
 * Does not do: pointers in memory (vector_calls.c has the common
 * calls); the structures of ioctl (two pages of each are held).
 */
#include "syscall_table.h"
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

/*
 * Argument a is a buffer whose length is argument l; an array
 * of l elements of n bytes; n bytes; a path. k: IN or OUT.
 */
#define BUFFER(k, a, l)                                                                                      \
    {                                                                                                        \
        ARG_##k, a, l, 1                                                                                     \
    }
#define ELEMENTS(k, a, l, n)                                                                                 \
    {                                                                                                        \
        ARG_##k, a, l, n                                                                                     \
    }
#define FIXED(k, a, n)                                                                                       \
    {                                                                                                        \
        ARG_##k, a, -1, n                                                                                    \
    }
#define STRING(a)                                                                                            \
    {                                                                                                        \
        ARG_STRING, a, -1, 0                                                                                 \
    }

/* sizeof(struct sockaddr_storage), where the call has the length in memory */
#define SOCKADDR 128

static const struct syscall_rule rules[] = {
    {SYS_read, FLOW_READ, 0, {BUFFER(OUT, 1, 2)}},
    {SYS_write, FLOW_WRITE, 0, {BUFFER(IN, 1, 2)}},
    {SYS_open, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_stat, FLOW_ASK, 0, {STRING(0), FIXED(OUT, 1, sizeof(struct stat))}},
    {SYS_fstat, FLOW_ASK, 0, {FIXED(OUT, 1, sizeof(struct stat))}},
    {SYS_lstat, FLOW_ASK, 0, {STRING(0), FIXED(OUT, 1, sizeof(struct stat))}},
    {SYS_poll, FLOW_ASK, 0, {ELEMENTS(OUT, 0, 1, 8)}},
    {SYS_pread64, FLOW_READ, 3, {BUFFER(OUT, 1, 2)}},
    {SYS_pwrite64, FLOW_WRITE, 3, {BUFFER(IN, 1, 2)}},
    {SYS_access, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_pipe, FLOW_ONCE, 0, {FIXED(OUT, 0, 8)}},
    {SYS_sendfile, FLOW_ONCE, 0, {FIXED(OUT, 2, 8)}},
    {SYS_connect, FLOW_ONCE, 0, {BUFFER(IN, 1, 2)}},
    {SYS_accept, FLOW_ONCE, 0, {FIXED(OUT, 1, SOCKADDR), FIXED(OUT, 2, 4)}},
    {SYS_sendto, FLOW_WRITE, 0, {BUFFER(IN, 1, 2), BUFFER(IN, 4, 5)}},
    {SYS_recvfrom, FLOW_READ, 0, {BUFFER(OUT, 1, 2), FIXED(OUT, 4, SOCKADDR), FIXED(OUT, 5, 4)}},
    {SYS_bind, FLOW_ONCE, 0, {BUFFER(IN, 1, 2)}},
    {SYS_getsockname, FLOW_ASK, 0, {FIXED(OUT, 1, SOCKADDR), FIXED(OUT, 2, 4)}},
    {SYS_getpeername, FLOW_ASK, 0, {FIXED(OUT, 1, SOCKADDR), FIXED(OUT, 2, 4)}},
    {SYS_setsockopt, FLOW_ONCE, 0, {BUFFER(IN, 3, 4)}},
    {SYS_execve, FLOW_ONCE, 0, {STRING(0), FIXED(IN, 1, 4096), FIXED(IN, 2, 4096)}},
    {SYS_uname, FLOW_ASK, 0, {FIXED(OUT, 0, sizeof(struct utsname))}},
    {SYS_getcwd, FLOW_ASK, 0, {BUFFER(OUT, 0, 1)}},
    {SYS_chdir, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_rename, FLOW_ONCE, 0, {STRING(0), STRING(1)}},
    {SYS_mkdir, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_rmdir, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_creat, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_link, FLOW_ONCE, 0, {STRING(0), STRING(1)}},
    {SYS_unlink, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_symlink, FLOW_ONCE, 0, {STRING(0), STRING(1)}},
    {SYS_readlink, FLOW_ASK, 0, {STRING(0), BUFFER(OUT, 1, 2)}},
    {SYS_chmod, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_chown, FLOW_ONCE, 0, {STRING(0)}},
    {SYS_getgroups, FLOW_ASK, 0, {ELEMENTS(OUT, 1, 0, 4)}},
    {SYS_setgroups, FLOW_ONCE, 0, {ELEMENTS(IN, 1, 0, 4)}},
    {SYS_setxattr, FLOW_ONCE, 0, {STRING(0), STRING(1), BUFFER(IN, 2, 3)}},
    {SYS_fsetxattr, FLOW_ONCE, 0, {STRING(1), BUFFER(IN, 2, 3)}},
    {SYS_getxattr, FLOW_ASK, 0, {STRING(0), STRING(1), BUFFER(OUT, 2, 3)}},
    {SYS_fgetxattr, FLOW_ASK, 0, {STRING(1), BUFFER(OUT, 2, 3)}},
    {SYS_listxattr, FLOW_ASK, 0, {STRING(0), BUFFER(OUT, 1, 2)}},
    {SYS_flistxattr, FLOW_ASK, 0, {BUFFER(OUT, 1, 2)}},
    {SYS_getdents64, FLOW_ONCE, 0, {BUFFER(OUT, 1, 2)}},
    {SYS_epoll_wait, FLOW_ONCE, 0, {ELEMENTS(OUT, 1, 2, 12)}},
    {SYS_openat, FLOW_ONCE, 0, {STRING(1)}},
    {SYS_mkdirat, FLOW_ONCE, 0, {STRING(1)}},
    {SYS_newfstatat, FLOW_ASK, 0, {STRING(1), FIXED(OUT, 2, sizeof(struct stat))}},
    {SYS_unlinkat, FLOW_ONCE, 0, {STRING(1)}},
    {SYS_renameat, FLOW_ONCE, 0, {STRING(1), STRING(3)}},
    {SYS_linkat, FLOW_ONCE, 0, {STRING(1), STRING(3)}},
    {SYS_symlinkat, FLOW_ONCE, 0, {STRING(0), STRING(2)}},
    {SYS_readlinkat, FLOW_ASK, 0, {STRING(1), BUFFER(OUT, 2, 3)}},
    {SYS_faccessat, FLOW_ONCE, 0, {STRING(1)}},
    {SYS_ppoll, FLOW_ASK, 0, {ELEMENTS(OUT, 0, 1, 8), FIXED(OUT, 2, 16), FIXED(IN, 3, 8)}},
    {SYS_epoll_pwait, FLOW_ONCE, 0, {ELEMENTS(OUT, 1, 2, 12), FIXED(IN, 4, 8)}},
    {SYS_accept4, FLOW_ONCE, 0, {FIXED(OUT, 1, SOCKADDR), FIXED(OUT, 2, 4)}},
    {SYS_renameat2, FLOW_ONCE, 0, {STRING(1), STRING(3)}},
    {SYS_getrandom, FLOW_READ, 0, {BUFFER(OUT, 0, 1)}},
    {SYS_copy_file_range, FLOW_ONCE, 0, {FIXED(OUT, 1, 8), FIXED(OUT, 3, 8)}},
    {SYS_statx, FLOW_ASK, 0, {STRING(1), FIXED(OUT, 4, 256)}},
    {SYS_faccessat2, FLOW_ONCE, 0, {STRING(1)}},
};

const struct syscall_rule *syscall_rule(long number)
{
    size_t low = 0;
    size_t high = sizeof rules / sizeof rules[0];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (rules[middle].number == number)
            return &rules[middle];
        if (rules[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
