/*
 * exception.S: the way into the kernel and out of it: traps, interrupts, system calls; and the switch from
 * one thread to another.
 *
 *   trap, interrupt ─▶ a stub (pushes error code, number) ─▶ alltraps ─▶ trap (trap.c) ─▶ doreti
 *   syscall         ─▶ fast_syscall                       ─▶ syscall_trap (trap.c) ─▶ sysretq, or doreti
 *
 * Both leave a struct trapframe on the thread's kernel stack, of which the last field has the highest
 * address:
 *
 *   r15 r14 r13 r12 rbp rbx r11 r10 r9 rax rcx rdx r8 rdi… number error rip cs rflags rsp ss
 *
 * Interrupts are off at the entries and at the end. gs is the CPU's inside the kernel, and the program's
 * outside. (exception.S, FreeBSD: _alltraps, doreti.)
 */
#include "asm.h"

        .macro PUSH_REGS
        pushq %rsi
        pushq %rdi
        pushq %rdx
        pushq %rcx
        pushq %r8
        pushq %rax
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        .endm

        .macro POP_REGS
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        popq %r11
        popq %r10
        popq %r9
        popq %rax
        popq %r8
        popq %rcx
        popq %rdx
        popq %rdi
        popq %rsi
        .endm

        .text
        .globl alltraps, doreti, fast_syscall, fork_trampoline, cpu_switch, idt_stubs

/* One stub of 16 bytes for each vector. 8, 10 … 14, 17, 21, 29 and 30 come with an error code. */
        .align 16
idt_stubs:
        .set vector, 0
        .rept 256
        .align 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        pushq $0
        .endif
        pushq $vector
        jmp alltraps
        .set vector, vector + 1
        .endr

        .align 16
alltraps:
        PUSH_REGS
        cld
        testb $3, TF_CS(%rsp)
        jz 1f
        swapgs
1:      movq %rsp, %rdi
        xorl %ebp, %ebp
        call trap
        /* fall through */

doreti:
        testb $3, TF_CS(%rsp)
        jz 2f
1:      cli
        cmpl $0, %gs:CPU_AST
        je 3f
        sti
        movq %rsp, %rdi
        call ast
        jmp 1b
3:      swapgs
2:      POP_REGS
        addq $16, %rsp                  /* number and error code */
        iretq

        .align 16
fast_syscall:
        swapgs
        movq %rsp, %gs:CPU_SCRATCH
        movq %gs:CPU_KSTACK, %rsp
        pushq $GSEL_UDATA
        pushq %gs:CPU_SCRATCH
        pushq %r11
        pushq $GSEL_UCODE
        pushq %rcx
        pushq $0
        pushq $T_SYSCALL
        PUSH_REGS
        sti
        cld
        movq %rsp, %rdi
        xorl %ebp, %ebp
        call syscall_trap
1:      cli
        cmpl $0, %gs:CPU_AST
        jne 2f
        /* The frame may have been replaced by a signal's or a new program's: then all registers matter. */
        cmpq $T_SYSCALL, TF_TRAPNO(%rsp)
        jne 3f
        swapgs
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        addq $8, %rsp                   /* r11 */
        popq %r10
        popq %r9
        popq %rax
        popq %r8
        addq $8, %rsp                   /* rcx */
        popq %rdx
        popq %rdi
        popq %rsi
        movq 16(%rsp), %rcx             /* rip; behind number and error code */
        movq 32(%rsp), %r11             /* rflags */
        movq 40(%rsp), %rsp
        sysretq
2:      sti
        movq %rsp, %rdi
        call ast
        jmp 1b
3:      swapgs
        POP_REGS
        addq $16, %rsp
        iretq

/*
 * cpu_switch(uint64_t *old_sp, uint64_t new_sp): the caller's registers go to its stack, and those on the
 * other stack come back. A thread that runs for the first time finds fork_trampoline there.
 */
        .align 16
cpu_switch:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, (%rdi)
        movq %rsi, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

/* rbx: the function; r12: its argument. When it returns the thread goes to user mode by its frame. */
fork_trampoline:
        call thread_begins
        movq %r12, %rdi
        xorl %ebp, %ebp
        call *%rbx
        jmp doreti

        .section .note.GNU-stack, "", @progbits
