/*
 * sigframe.h: what a handler finds on its stack, as Linux lays it out on x86-64. A hosted test holds the
 * structures against the C library's.
 *
 *   low                                                                        high
 *   | restorer | ucontext: stack, registers, mask | siginfo | … | fpstate | … 128 | the program's stack
 *   ▲ rsp at the handler                                          ▲ 64-aligned      ▲ rsp before
 */
#ifndef KERNEL_PROC_SIGFRAME_H
#define KERNEL_PROC_SIGFRAME_H

#include <stdint.h>

struct sigframe_stack { /* stack_t */
    uint64_t sp;
    int32_t flags;
    uint64_t size;
};

struct sigframe_context { /* (struct sigcontext_64, Linux) */
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2;
    uint64_t fpstate; /* address of what fxsave wrote; 0: none */
    uint64_t reserved[8];
};

struct sigframe_ucontext { /* ucontext_t, up to the mask's first word */
    uint64_t flags;
    uint64_t link;
    struct sigframe_stack stack;
    struct sigframe_context context;
    uint64_t mask;
};

struct sigframe { /* (struct rt_sigframe, Linux) */
    uint64_t restorer;
    struct sigframe_ucontext uc;
    unsigned char info[128];
};

#define SIGFRAME_FPU_BYTES 512

#endif
