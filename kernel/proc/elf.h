/*
 * elf.h: what a program's file says of itself: ELF, 64 bits, x86-64, static.
 *
 *   file: | header | program headers | …          image: bias + [start, end): segments, entry, headers
 *
 * ET_EXEC lies where it says; ET_DYN (static-pie) lies at a bias of the kernel's choice. elf.c reads only
 * what it is given, so a hosted test feeds it with garbage.
 */
#ifndef KERNEL_PROC_ELF_H
#define KERNEL_PROC_ELF_H

#include <faultline/types.h>
#include <linux/elf.h>

#define ELF_PHNUM_MAX 64
#define ELF_PIE_BASE  UINT64_C(0x555555554000) /* where Linux puts a static-pie without randomness */

struct elf_image {
    uint64_t bias;       /* is added to all addresses of the file */
    uint64_t start, end; /* of all segments, with the bias; whole pages */
    uint64_t entry;
    uint64_t phdr; /* where the program finds its program headers; 0: they are in no segment */
    uint32_t phnum;
    bool executable_stack;
};

/* A segment's place, with the bias. */
struct elf_segment {
    vm_offset_t start, file_end, end; /* [start, file_end) the file's pages, [file_end, end) fresh memory */
    vm_ooffset_t offset;              /* in the file, of `start` */
    vm_offset_t zero_start;           /* [zero_start, file_end) is behind the file's bytes: zeros */
    int prot;                         /* PROT_* */
};

/* Errors: -ENOEXEC: no static program for this machine. */
FL_NODISCARD int elf_check_header(const Elf64_Ehdr *ehdr);
/*
 * Lays the image out; all of it lies in [low, high). phdr: the ehdr->e_phnum program headers. Errors:
 * -ENOEXEC; -ENOMEM, it does not lie there.
 */
FL_NODISCARD int elf_layout(const Elf64_Ehdr *ehdr, const Elf64_Phdr *phdr, uint64_t low, uint64_t high,
                            struct elf_image *image);
/* A PT_LOAD header of a checked image. */
void elf_segment(const struct elf_image *image, const Elf64_Phdr *phdr, struct elf_segment *segment);

#endif
