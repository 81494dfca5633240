/*
 * elf.c: checks and lays out a program's file (elf.h). Whatever the file says, sums do not overflow, segments
 * are in ascending order without overlap, and all of the image lies between the limits.
 */
#include "proc/elf.h"

#include <linux/elf-em.h>
#include <linux/errno.h>

int elf_check_header(const Elf64_Ehdr *ehdr)
{
    const unsigned char *ident = ehdr->e_ident;

    if (ident[EI_MAG0] != ELFMAG0 || ident[EI_MAG1] != ELFMAG1 || ident[EI_MAG2] != ELFMAG2 ||
        ident[EI_MAG3] != ELFMAG3 || ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
        return -ENOEXEC;
    if (ehdr->e_machine != EM_X86_64 || (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN))
        return -ENOEXEC;
    if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phnum == 0 || ehdr->e_phnum > ELF_PHNUM_MAX)
        return -ENOEXEC;
    return ehdr->e_phoff > INT64_MAX - ELF_PHNUM_MAX * sizeof(Elf64_Phdr) ? -ENOEXEC : 0;
}

/* A PT_LOAD header, whose predecessor ended at `previous` (no bias yet). */
static bool segment_sound(const Elf64_Phdr *phdr, uint64_t previous)
{
    uint64_t end;

    return phdr->p_filesz <= phdr->p_memsz && phdr->p_vaddr >= previous &&
           !__builtin_add_overflow(phdr->p_vaddr, phdr->p_memsz, &end) && end <= INT64_MAX &&
           phdr->p_offset <= INT64_MAX - phdr->p_filesz &&
           (phdr->p_vaddr & VM_PAGE_MASK) == (phdr->p_offset & VM_PAGE_MASK);
}

/* The largest alignment that a segment asks for, as far as it is one. */
static uint64_t image_align(const Elf64_Ehdr *ehdr, const Elf64_Phdr *phdr)
{
    uint64_t align = VM_PAGE_SIZE;

    for (uint32_t i = 0; i < ehdr->e_phnum; i++)
        if (phdr[i].p_type == PT_LOAD && phdr[i].p_align > align && phdr[i].p_align <= (1u << 30) &&
            (phdr[i].p_align & (phdr[i].p_align - 1)) == 0)
            align = phdr[i].p_align;
    return align;
}

int elf_layout(const Elf64_Ehdr *ehdr, const Elf64_Phdr *phdr, uint64_t low, uint64_t high,
               struct elf_image *image)
{
    uint64_t start = UINT64_MAX, end = 0;

    *image = (struct elf_image){.phnum = ehdr->e_phnum};
    for (uint32_t i = 0; i < ehdr->e_phnum; i++) {
        const Elf64_Phdr *p = &phdr[i];

        if (p->p_type == PT_INTERP)
            return -ENOEXEC; /* it is linked dynamically */
        if (p->p_type == PT_GNU_STACK)
            image->executable_stack = (p->p_flags & PF_X) != 0;
        if (p->p_type != PT_LOAD || p->p_memsz == 0)
            continue;
        if (!segment_sound(p, end))
            return -ENOEXEC;
        start = start == UINT64_MAX ? trunc_page(p->p_vaddr) : start;
        end = p->p_vaddr + p->p_memsz;
        if (ehdr->e_phoff >= p->p_offset &&
            ehdr->e_phoff + ehdr->e_phnum * sizeof(*p) <= p->p_offset + p->p_filesz)
            image->phdr = ehdr->e_phoff - p->p_offset + p->p_vaddr;
    }
    if (end == 0)
        return -ENOEXEC;
    end = round_page(end);
    if (ehdr->e_type == ET_DYN)
        image->bias = (ELF_PIE_BASE & ~(image_align(ehdr, phdr) - 1)) - start;
    image->start = start + image->bias;
    image->end = end + image->bias;
    image->entry = ehdr->e_entry + image->bias;
    image->phdr += image->phdr != 0 ? image->bias : 0;
    if (image->start < low || image->end > high || image->start >= image->end)
        return -ENOMEM;
    return image->entry >= image->start && image->entry < image->end ? 0 : -ENOEXEC;
}

void elf_segment(const struct elf_image *image, const Elf64_Phdr *phdr, struct elf_segment *segment)
{
    uint64_t vaddr = phdr->p_vaddr + image->bias;

    segment->start = trunc_page(vaddr);
    segment->offset = trunc_page(phdr->p_offset);
    segment->zero_start = vaddr + phdr->p_filesz;
    segment->file_end = phdr->p_filesz == 0 ? segment->start : round_page(segment->zero_start);
    segment->end = round_page(vaddr + phdr->p_memsz);
    segment->prot = ((phdr->p_flags & PF_R) != 0 ? VM_PROT_READ : 0) |
                    ((phdr->p_flags & PF_W) != 0 ? VM_PROT_WRITE : 0) |
                    ((phdr->p_flags & PF_X) != 0 ? VM_PROT_EXECUTE : 0);
}
