/*
 * linux_syscall.h: system calls as the kernel answers them.
 *
 * Everything below the core on this machine enters the kernel here and not through libc, for three reasons. A
 * fault is served in the middle of the program, whose errno must not change. The launcher's shim replaces
 * libc's functions (mmap, pread, …) and must not call itself. And the shim's seccomp filter lets every call
 * from this one address pass (linux_syscall_ip()).
 */
#ifndef MACHINES_LINUX_LINUX_SYSCALL_H
#define MACHINES_LINUX_LINUX_SYSCALL_H

#include <faultline/types.h>
#include <sys/syscall.h>

/* Returns what the kernel returns: a negative errno value for an error. Safe in signal handlers. */
long linux_syscall6(long number, long a, long b, long c, long d, long e, long f);

/* Whether the result of a call that returns an address is an error. */
static inline bool linux_syscall_failed(long result)
{
    return (unsigned long)result >= -4095ul;
}

/* Returns seccomp_data.instruction_pointer of every call that linux_syscall6 makes. */
vm_offset_t linux_syscall_ip(void);

/*
 * Moves the instruction into this page, so that it has the same address in every program that
 * does this: a seccomp filter outlives execve, and must let the next program's calls pass, too.
 * Errors: of mmap and mprotect.
 */
FL_NODISCARD int linux_syscall_move(vm_offset_t page);

#define LINUX_SYSCALL_(n, a, b, c, d, e, f, ...)                                                             \
    linux_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* linux_syscall(SYS_pread64, fd, addr, len, offset): up to six arguments of any integer or pointer type. */
#define linux_syscall(...) LINUX_SYSCALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

#endif
