/*
 * linux_syscall.c: the one instruction through which the machine enters the kernel (linux_syscall.h says
 * why).
 *
 *   number, a, b, c, d, e, f:   rdi rsi rdx rcx r8 r9 stack   ─▶   rax rdi rsi rdx r10 r8 r9   of the
 * kernel's convention
 *
 * x86-64 only: another processor brings these lines in its own words.
 */
#include "linux_syscall.h"

__asm__(".pushsection .text.linux_syscall, \"ax\", @progbits\n"
        ".globl linux_syscall6\n"
        ".hidden linux_syscall6\n"
        ".type linux_syscall6, @function\n"
        "linux_syscall6:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        ".globl linux_syscall_ip\n"
        ".hidden linux_syscall_ip\n"
        "linux_syscall_ip:\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size linux_syscall6, . - linux_syscall6\n"
        ".popsection\n");
