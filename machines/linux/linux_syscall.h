/*
 * linux_syscall.h: system calls as the kernel answers them.
 *
 * Everything below the core on this machine enters the kernel here and not through libc, for three reasons: a
 * fault is served in the middle of the program, whose errno must not change; the launcher's shim replaces
 * libc's own names (mmap, pread, …), and must not meet itself; and the shim's seccomp filter lets pass what
 * comes from this one address (linux_syscall_ip()), managed memory or not.
 */
#ifndef MACHINES_LINUX_LINUX_SYSCALL_H
#define MACHINES_LINUX_LINUX_SYSCALL_H

#include <faultline/types.h>
#include <sys/syscall.h>

/* Returns what the kernel returns: a negative errno value for an error. Safe in signal handlers. */
long linux_syscall6(long number, long a, long b, long c, long d, long e, long f);

/* For calls that return an address: was it an error? */
static inline bool linux_syscall_failed(long result)
{
    return (unsigned long)result >= -4095ul;
}

/* What seccomp_data.instruction_pointer says of every call that linux_syscall6 makes. */
vm_offset_t linux_syscall_ip(void);

/*
 * From now on the instruction stands in this page, at the same address in every program that asks for it: a
 * seccomp filter outlives execve, and must let the next program's calls pass too. Errors: of mmap and
 * mprotect.
 */
FL_NODISCARD int linux_syscall_move(vm_offset_t page);

#define LINUX_SYSCALL_(n, a, b, c, d, e, f, ...)                                                             \
    linux_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* linux_syscall(SYS_pread64, fd, addr, len, offset): up to six arguments of any integer or pointer type. */
#define linux_syscall(...) LINUX_SYSCALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

#endif
