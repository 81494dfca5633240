/*
 * locore.S: from the boot loader to C: the first instructions of each processor.
 *
 *   loader (PVH: 32 bits, no paging) ─▶ pvh_start ─▶ long mode ─▶ hammer_time (machdep.c)
 *   SIPI (16 bits) ─▶ mptramp, copied to a page below 1 MiB ─▶ long mode ─▶ init_secondary (mp.c)
 *
 * boot_pml4 maps the first GiB three times: at 0, where this code runs until it jumps up; in the direct map;
 * and at KERNBASE. pmap_bootstrap makes the real tables. (The PVH entry of Xen's start_info.h, which QEMU
 * uses for -kernel; locore.S and mpboot.S, FreeBSD.)
 */
#include "asm.h"

        .section .note.Xen, "a", @note
        .align 4
        .long 4                         /* the name's length */
        .long 4                         /* the value's */
        .long 18                        /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long pvh_start - KERNBASE

        .section .text.boot, "ax"
        .code32
        .globl pvh_start
pvh_start:
        cld
        movl %ebx, %esi                 /* struct hvm_start_info */

        /* boot_pml4[0], [256] and [511] lead to one table, and its entries 0 and 510 to one directory. */
        movl $(boot_pdpt - KERNBASE + 3), %eax
        movl %eax, (boot_pml4 - KERNBASE)
        movl %eax, (boot_pml4 - KERNBASE + 256 * 8)
        movl %eax, (boot_pml4 - KERNBASE + 511 * 8)
        movl $(boot_pd - KERNBASE + 3), %eax
        movl %eax, (boot_pdpt - KERNBASE)
        movl %eax, (boot_pdpt - KERNBASE + 510 * 8)
        movl $0x83, %eax                /* valid, writable, 2 MiB */
        movl $(boot_pd - KERNBASE), %edi
        movl $512, %ecx
1:      movl %eax, (%edi)
        addl $0x200000, %eax
        addl $8, %edi
        loop 1b

        movl $(boot_pml4 - KERNBASE), %eax
        movl %eax, %cr3
        movl $(CR4_PAE | CR4_PGE), %eax
        movl %eax, %cr4
        movl $MSR_EFER, %ecx
        rdmsr
        orl $(EFER_LME | EFER_SCE | EFER_NXE), %eax
        wrmsr
        movl $CR0_BITS, %eax
        movl %eax, %cr0
        lgdt (boot_gdtr - KERNBASE)
        ljmp $GSEL_KCODE, $(1f - KERNBASE)
        .code64
1:      movabsq $2f, %rax
        jmp *%rax
2:      movw $GSEL_KDATA, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        xorl %eax, %eax
        movw %ax, %fs
        movw %ax, %gs
        leaq boot_stack_end(%rip), %rsp
        movl %esi, %edi
        xorl %ebp, %ebp
        call hammer_time
1:      hlt
        jmp 1b

/*
 * The other processors, which start with 16 bits. mp.c copies [mptramp_start, mptramp_end) to a page below
 * 1 MiB, and writes that page's address into mptramp_far and mptramp_gdtr. They go to long mode in one step:
 * paging and protection are switched on together.
 */
        .section .rodata
        .globl mptramp_start, mptramp_end, mptramp_far, mptramp_gdtr_base, mptramp_stack
        .align 16
        .code16
mptramp_start:
        cli
        cld
        movw %cs, %ax
        movw %ax, %ds
        movl $(boot_pml4 - KERNBASE), %eax
        movl %eax, %cr3
        movl $(CR4_PAE | CR4_PGE), %eax
        movl %eax, %cr4
        movl $MSR_EFER, %ecx
        rdmsr
        orl $(EFER_LME | EFER_SCE | EFER_NXE), %eax
        wrmsr
        movl $CR0_BITS, %eax
        movl %eax, %cr0
        lgdtl (mptramp_gdtr - mptramp_start)
        ljmpl *(mptramp_far - mptramp_start)
        .code64
mptramp_64:
        movw $GSEL_KDATA, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        xorl %eax, %eax
        movw %ax, %fs
        movw %ax, %gs
        movq mptramp_stack(%rip), %rsp
        xorl %ebp, %ebp
        movabsq $init_secondary, %rax
        call *%rax
        .align 8
mptramp_far:
        .long mptramp_64 - mptramp_start /* + the page */
        .word GSEL_KCODE
        .align 8
mptramp_gdt:
        .quad 0
        .quad 0x00af9b000000ffff
        .quad 0x00cf93000000ffff
        .word 0
mptramp_gdtr:
        .word 23
mptramp_gdtr_base:
        .long mptramp_gdt - mptramp_start /* + the page */
        .align 8
mptramp_stack:
        .quad 0
mptramp_end:

        .align 8
boot_gdt:
        .quad 0
        .quad 0x00af9b000000ffff        /* GSEL_KCODE: 64 bits, may be read and executed */
        .quad 0x00cf93000000ffff        /* GSEL_KDATA: may be written */
boot_gdtr:
        .word 23
        .long boot_gdt - KERNBASE
        .long 0

        .bss
        .align 4096
        .globl boot_pml4, boot_stack, boot_stack_end
boot_pml4:
        .skip 4096
boot_pdpt:
        .skip 4096
boot_pd:
        .skip 4096
boot_stack:
        .skip KSTACK_BYTES
boot_stack_end:

        .section .note.GNU-stack, "", @progbits
