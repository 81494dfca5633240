/*
 * support.S: copies between the kernel and programs, which may fault; and filling and copying of pages.
 *
 * A fault at an instruction that the copy table lists, at an address of a program's, is not the kernel's
 * error: the page is brought in, and the instruction runs again; or, where that is not allowed or fails, it
 * goes on at the table's second address. There rcx still says how much was left: copyio returns that.
 *
 * Pages are filled and copied by SSE, whose registers belong to programs: so those that are used are saved.
 * Interrupts do not use them. (support.S, FreeBSD.)
 */
#include "asm.h"

        .text
        .globl copyio, copyio_smap, fillio, fillio_smap, copystr_io, casuword_io, pagezero, pagecopy

        .macro COPY_FAULT at, to
        .section .copy_table, "a"
        .quad \at, \to
        .text
        .endm

/* size_t copyio(void *to, const void *from, size_t len): bytes that were not copied. */
        .align 16
copyio_smap:
        stac
        call copyio
        clac
        ret
        .align 16
copyio:
        movq %rdx, %rcx
        shrq $3, %rcx
1:      rep movsq
        movl %edx, %ecx
        andl $7, %ecx
2:      rep movsb
        xorl %eax, %eax
        ret
3:      andl $7, %edx                   /* words are left, and the odd bytes */
        leaq (%rdx, %rcx, 8), %rax
        ret
4:      movq %rcx, %rax
        ret
        COPY_FAULT 1b, 3b
        COPY_FAULT 2b, 4b

/* size_t fillio(void *to, size_t len): zeros; bytes that were not written. */
        .align 16
fillio_smap:
        stac
        call fillio
        clac
        ret
        .align 16
fillio:
        movq %rsi, %rcx
        xorl %eax, %eax
1:      rep stosb
2:      movq %rcx, %rax
        ret
        COPY_FAULT 1b, 2b

/* int64_t copystr_io(char *to, const char *from, size_t max, bool smap): the length; -1: a fault; -2: too
 * long. */
        .align 16
copystr_io:
        testl %ecx, %ecx
        jz 1f
        stac
1:      xorl %eax, %eax
2:      cmpq %rdx, %rax
        je 5f
3:      movb (%rsi, %rax), %r8b
        movb %r8b, (%rdi, %rax)
        testb %r8b, %r8b
        jz 6f
        incq %rax
        jmp 2b
4:      movq $-1, %rax
        jmp 6f
5:      movq $-2, %rax
6:      testl %ecx, %ecx
        jz 7f
        clac
7:      ret
        COPY_FAULT 3b, 4b

/* int casuword_io(uint32_t *word, uint32_t *expected, uint32_t value, bool smap): 0; -1: a fault. The word is
 * compared with *expected, and becomes `value` if they are equal; *expected becomes what the word was. */
        .align 16
casuword_io:
        testl %ecx, %ecx
        jz 1f
        stac
1:      movl (%rsi), %eax
2:      lock cmpxchgl %edx, (%rdi)
        movl %eax, (%rsi)
        xorl %eax, %eax
        jmp 4f
3:      movl $-1, %eax
4:      testl %ecx, %ecx
        jz 5f
        clac
5:      ret
        COPY_FAULT 2b, 3b

/* void pagezero(void *page) */
        .align 16
pagezero:
        subq $24, %rsp
        movups %xmm0, (%rsp)
        pxor %xmm0, %xmm0
        .set i, 0
        .rept 4096 / 16
        movaps %xmm0, i(%rdi)
        .set i, i + 16
        .endr
        movups (%rsp), %xmm0
        addq $24, %rsp
        ret

/* void pagecopy(void *to, const void *from) */
        .align 16
pagecopy:
        movl $512, %ecx
        rep movsq
        ret

        .section .note.GNU-stack, "", @progbits
