/*
 * asm.h: numbers that assembler and C share: segments, control bits, where the kernel lies, and the offsets
 * of fields that assembler reads. machdep.c asserts the offsets.
 */
#ifndef MACHINES_X86_64_ASM_H
#define MACHINES_X86_64_ASM_H

#define KERNBASE 0xffffffff80000000 /* where physical address 0 is seen by the kernel's code */
#define DMAP_MIN 0xffff800000000000 /* the direct map: where physical address 0 is seen by everybody else */

/* Selectors. sysret finds the user's data at UCODE32 + 8, and the user's code at UCODE32 + 16. */
#define GSEL_KCODE   0x08
#define GSEL_KDATA   0x10
#define GSEL_UCODE32 0x18 /* there is none; its place gives sysret the other two */
#define GSEL_UDATA   0x23
#define GSEL_UCODE   0x2b
#define GSEL_TSS     0x30

#define CR0_BITS       0x80050033 /* PG AM WP NE ET MP PE */
#define CR4_PAE        0x20
#define CR4_PGE        0x80
#define CR4_OSFXSR     0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_PCIDE      0x20000
#define CR4_SMEP       0x100000
#define CR4_SMAP       0x200000

#define MSR_APICBASE 0x1b
#define MSR_EFER     0xc0000080
#define MSR_STAR     0xc0000081
#define MSR_LSTAR    0xc0000082
#define MSR_SFMASK   0xc0000084
#define MSR_FSBASE   0xc0000100
#define MSR_GSBASE   0xc0000101
#define MSR_KGSBASE  0xc0000102
#define EFER_SCE     0x1
#define EFER_LME     0x100
#define EFER_NXE     0x800

/* struct cpu */
#define CPU_THREAD  8
#define CPU_KSTACK  16
#define CPU_SCRATCH 24
#define CPU_AST     32

/* struct trapframe */
#define TF_RBX    (5 * 8)
#define TF_RAX    (9 * 8)
#define TF_RDI    (13 * 8)
#define TF_TRAPNO (15 * 8)
#define TF_ERR    (16 * 8)
#define TF_RIP    (17 * 8)
#define TF_CS     (18 * 8)
#define TF_RFLAGS (19 * 8)
#define TF_RSP    (20 * 8)
#define TF_SIZE   (22 * 8)

#define T_SYSCALL 0x100 /* trapframe.trapno of a system call */

#define KSTACK_ORDER 2
#define KSTACK_BYTES (4096 << KSTACK_ORDER)

#endif
