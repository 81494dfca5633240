/* ksyms_none.S: the table of names (panic.c) of the first link, whose symbols become the real one. */
        .section .ksyms, "a", @progbits
        .globl ksyms, nksyms
        .align 8
nksyms: .quad 0
ksyms:
        .section .note.GNU-stack, "", @progbits
