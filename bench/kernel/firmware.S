/*
 * firmware.S: the smallest kernel: it prints the time-stamp counter, which is the time that QEMU's firmware took
 * before any kernel, as `kbench: firmware HEXADECIMAL`, and ends the computer. Entered by PVH: 32 bits, no paging.
 */
#define SERIAL     0x3f8
#define DEBUG_EXIT 0xf4
#define PHYS32_ENTRY 18 /* the note's type: XEN_ELFNOTE_PHYS32_ENTRY */

        .section .note.pvh, "a", @note
        .long   4, 4, PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .text
        .code32
        .globl  _start
_start:
        rdtsc
        movl    %eax, %ebx              /* the low half is all that matters: 4 s */
        movl    $SERIAL, %edx
        movl    $text, %esi
        movl    $text_end - text, %ecx
        rep outsb
        movl    $8, %ecx
1:      roll    $4, %ebx                /* a digit, the highest first */
        movl    %ebx, %eax
        andl    $15, %eax
        movb    digits(%eax), %al
        outb    %al, %dx
        loop    1b
        movb    $'\n', %al
        outb    %al, %dx
        movl    $DEBUG_EXIT, %edx
        xorl    %eax, %eax
        outl    %eax, %dx
2:      hlt
        jmp     2b

digits: .ascii  "0123456789abcdef"
text:   .ascii  "kbench: firmware "
text_end:
        .section .note.GNU-stack, "", @progbits
