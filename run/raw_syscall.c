/*
 * raw_syscall.c: libc's syscall(2). Calls on descriptors (fds.c) and on the process's own memory
 * (self_memory.c) are served as by their names; every other call goes to the kernel at once.
 *
 *      syscall(SYS_close_range, …) ─▶ syscall_named ─▶ close_range       the six of them
 *      syscall(any other, …)       ─▶ kernel                            six comparisons
 *
 * It cannot be written in C, since programs make clone by it, which returns on a new stack. It
 * cannot jump to linux_syscall6 either, whose registers are the same: the seccomp filter lets every
 * call of that instruction pass, and the program's calls with managed memory must be trapped.
 *
 * Does not do: programs that enter the kernel by an instruction of their own. The
 * seccomp filter could trap close_range, but it outlives execve, and the trap would kill
 * a program without the shim. If a program closes a descriptor of the shim's in that
 * way, the process ends at the next fault or eviction, with one line (linux_fd_lost).
 */
#include "shim.h"
#include <sys/uio.h>
#include <unistd.h>

long syscall_named(long number, long a, long b, long c, long d, long e, long f);
long syscall_error(long result);

__attribute__((used)) long syscall_named(long number, long a, long b, long c, long d, long e, long f)
{
    const struct iovec *local = (const struct iovec *)b, *remote = (const struct iovec *)d;

    switch (number) {
    case SYS_close:
        return close((int)a);
    case SYS_dup2:
        return dup2((int)a, (int)b);
    case SYS_dup3:
        return dup3((int)a, (int)b, (int)c);
    case SYS_process_vm_readv:
        return process_vm_readv((int)a, local, (unsigned long)c, remote, (unsigned long)e, (unsigned long)f);
    case SYS_process_vm_writev:
        return process_vm_writev((int)a, local, (unsigned long)c, remote, (unsigned long)e, (unsigned long)f);
    default:
        return close_range((unsigned)a, (unsigned)b, (int)c);
    }
}

__attribute__((used)) long syscall_error(long result)
{
    return shim_return(result);
}

_Static_assert(SYS_close == 3 && SYS_dup2 == 33 && SYS_dup3 == 292 && SYS_close_range == 436, "as below");
_Static_assert(SYS_process_vm_readv == 310 && SYS_process_vm_writev == 311, "as below");

__asm__(".pushsection .text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmpq $436, %rdi\n"
        "    je syscall_named\n"
        "    cmpq $3, %rdi\n"
        "    je syscall_named\n"
        "    cmpq $33, %rdi\n"
        "    je syscall_named\n"
        "    cmpq $292, %rdi\n"
        "    je syscall_named\n"
        "    cmpq $310, %rdi\n"
        "    je syscall_named\n"
        "    cmpq $311, %rdi\n"
        "    je syscall_named\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmpq $-4095, %rax\n"
        "    jae 1f\n"
        "    ret\n"
        "1:  movq %rax, %rdi\n"
        "    jmp syscall_error\n"
        "    .cfi_endproc\n"
        ".size syscall, . - syscall\n"
        ".popsection\n");
