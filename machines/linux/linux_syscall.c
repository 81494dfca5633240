/*
 * linux_syscall.c: the one instruction through which the machine enters the kernel
 * (linux_syscall.h says why).
 *
 *   argument    number   a     b     c     d     e     f
 *   arrives in  rdi      rsi   rdx   rcx   r8    r9    the stack
 *   goes to     rax      rdi   rsi   rdx   r10   r8    r9
 *
 *   linux_syscall6 ──jmp──▶ gate ─▶ linux_syscall_code here, or its copy in linux_syscall_move's page
 *
 * x86-64 only: another processor needs code of its own.
 */
#include "linux_syscall.h"
#include <sys/mman.h>

__asm__(".pushsection .text.linux_syscall, \"ax\", @progbits\n"
        ".globl linux_syscall6\n"
        ".hidden linux_syscall6\n"
        ".type linux_syscall6, @function\n"
        "linux_syscall6:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    jmp *linux_syscall_gate(%rip)\n"
        ".hidden linux_syscall_code\n"
        "linux_syscall_code:\n"
        "    endbr64\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        ".hidden linux_syscall_return\n"
        "linux_syscall_return:\n"
        "    ret\n"
        ".hidden linux_syscall_end\n"
        "linux_syscall_end:\n"
        "    .cfi_endproc\n"
        ".size linux_syscall6, . - linux_syscall6\n"
        ".popsection\n"
        ".pushsection .data.linux_syscall, \"aw\", @progbits\n"
        ".balign 8\n"
        ".hidden linux_syscall_gate\n"
        "linux_syscall_gate: .quad linux_syscall_code\n"
        ".popsection\n");

extern const char linux_syscall_code[], linux_syscall_return[], linux_syscall_end[];
extern const char *_Atomic linux_syscall_gate;

vm_offset_t linux_syscall_ip(void)
{
    return (vm_offset_t)linux_syscall_gate + (vm_offset_t)(linux_syscall_return - linux_syscall_code);
}

int linux_syscall_move(vm_offset_t page)
{
    long r = linux_syscall(SYS_mmap, page, VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (linux_syscall_failed(r))
        return (int)r;
    __builtin_memcpy((void *)page, linux_syscall_code, (size_t)(linux_syscall_end - linux_syscall_code));
    r = linux_syscall(SYS_mprotect, page, VM_PAGE_SIZE, PROT_READ | PROT_EXEC);
    if (r != 0)
        return (int)r;
    linux_syscall_gate = (const char *)page;
    return 0;
}
