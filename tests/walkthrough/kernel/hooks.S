/*
 * hooks.S: the hooks of -finstrument-functions in the kernel (calls.h), with interrupts off: a trap is recorded,
 * but not in the middle of a record. They add to the compiler's arguments, function and return address, what it
 * leaves out: the caller's frame, and its result.
 *
 * Functions in assembler have no hooks. Those that `WRAP` names are called through one here (--wrap).
 */
        .text
        .globl __cyg_profile_func_enter, __cyg_profile_func_exit

__cyg_profile_func_enter:
        pushfq
        cli
        movq %rbp, %rdx
        call calls_enter
        popfq
        ret

__cyg_profile_func_exit:
        pushfq
        cli
        movq %rbp, %rdx
        movq %rbx, %rcx
        call calls_exit
        popfq
        ret

        .macro WRAP name
        .globl __wrap_\name
__wrap_\name:
        pushq %rdi
        pushq %rsi
        movq $__real_\name, %rdi
        movq 16(%rsp), %rsi
        call __cyg_profile_func_enter
        popq %rsi
        popq %rdi
        call __real_\name
        movq $__real_\name, %rdi
        movq (%rsp), %rsi
        jmp __cyg_profile_func_exit
        .endm

        WRAP pagezero
        WRAP cpu_switch

        .section .note.GNU-stack, "", @progbits
