/*
 * elf_test.c: whatever a program's file says of itself, elf.c lays out an image that lies between the limits,
 * or says no.
 *
 *   a sound file, some words of it changed at random ─▶ elf_layout ─┬─ an error
 *                                                                   └─ all that elf.h promises
 */
#include "support/seed.h"

#include "proc/elf.h"

#include <errno.h>
#include <linux/elf-em.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOW    UINT64_C(0x10000)
#define HIGH   UINT64_C(0x7ffff7fff000)
#define NPHDR  4
#define ROUNDS 200000

struct file {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[NPHDR];
};

/* Text, and data of which the end is not in the file. */
static void sound_file(struct file *file, uint16_t type, uint64_t base)
{
    *file = (struct file){
        .ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                 .e_type = type,
                 .e_machine = EM_X86_64,
                 .e_entry = base + 0x1100,
                 .e_phoff = sizeof(Elf64_Ehdr),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = NPHDR},
        .phdr = {{.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = base, .p_filesz = 0x400, .p_memsz = 0x400},
                 {.p_type = PT_LOAD,
                  .p_flags = PF_R | PF_X,
                  .p_offset = 0x1000,
                  .p_vaddr = base + 0x1000,
                  .p_filesz = 0x2345,
                  .p_memsz = 0x2345},
                 {.p_type = PT_LOAD,
                  .p_flags = PF_R | PF_W,
                  .p_offset = 0x4f00,
                  .p_vaddr = base + 0x4f00,
                  .p_filesz = 0x234,
                  .p_memsz = 0x9000},
                 {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W}},
    };
}

static void test_sound(void **state)
{
    struct elf_segment s;
    struct elf_image image;
    struct file file;
    (void)state;
    sound_file(&file, ET_EXEC, 0x400000);
    assert_int_equal(elf_check_header(&file.ehdr), 0);
    assert_int_equal(elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image), 0);
    assert_true(image.bias == 0 && image.start == 0x400000 && image.end == 0x40e000);
    assert_true(image.entry == 0x401100 && image.phdr == 0x400040 && image.phnum == NPHDR);
    assert_false(image.executable_stack);
    elf_segment(&image, &file.phdr[2], &s);
    assert_true(s.start == 0x404000 && s.offset == 0x4000 && s.zero_start == 0x405134);
    assert_true(s.file_end == 0x406000 && s.end == 0x40e000);
    assert_int_equal(s.prot, VM_PROT_READ | VM_PROT_WRITE);
    sound_file(&file, ET_DYN, 0);
    file.phdr[1].p_align = 0x200000;
    assert_int_equal(elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image), 0);
    assert_true(image.bias == (ELF_PIE_BASE & ~UINT64_C(0x1fffff)) && image.entry == image.bias + 0x1100);
}

static void test_refused(void **state)
{
    struct elf_image image;
    struct file file;
    (void)state;
    sound_file(&file, ET_EXEC, 0x400000);
    file.phdr[3].p_type = PT_INTERP;
    assert_int_equal(elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image), -ENOEXEC);
    sound_file(&file, ET_EXEC, 0x400000);
    file.phdr[2].p_vaddr = 0x401f00; /* over the text */
    assert_int_equal(elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image), -ENOEXEC);
    sound_file(&file, ET_EXEC, 0x1000); /* below what programs have */
    assert_int_equal(elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image), -ENOMEM);
    sound_file(&file, ET_EXEC, 0x400000);
    file.ehdr.e_machine = EM_386;
    assert_int_equal(elf_check_header(&file.ehdr), -ENOEXEC);
    sound_file(&file, ET_EXEC, 0x400000);
    file.ehdr.e_phnum = ELF_PHNUM_MAX + 1;
    assert_int_equal(elf_check_header(&file.ehdr), -ENOEXEC);
}

/* A word that loaders fall over. */
static uint64_t odd_word(struct prng *random)
{
    uint64_t word = prng_next(random);

    switch (word % 5) {
    case 0:
        return word >> 32;
    case 1:
        return UINT64_MAX - (word >> 8) % 0x3000;
    case 2:
        return UINT64_C(1) << (word >> 8) % 64;
    case 3:
        return (word >> 8) % 0x10000 << 12;
    default:
        return word;
    }
}

static void change(struct file *file, struct prng *random)
{
    Elf64_Phdr *phdr = &file->phdr[prng_next(random) % NPHDR];
    uint64_t word = odd_word(random);

    switch (prng_next(random) % 8) {
    case 0:
        phdr->p_type = (uint32_t)word % 8;
        break;
    case 1:
        phdr->p_offset = word;
        break;
    case 2:
        phdr->p_vaddr = word;
        break;
    case 3:
        phdr->p_filesz = word;
        break;
    case 4:
        phdr->p_memsz = word;
        break;
    case 5:
        phdr->p_align = word;
        break;
    case 6:
        file->ehdr.e_entry = word;
        break;
    default:
        file->ehdr.e_phoff = word;
        break;
    }
}

static bool check_segments(const struct file *file, const struct elf_image *image)
{
    vm_offset_t last = image->start;

    for (int i = 0; i < NPHDR; i++) {
        struct elf_segment s;

        if (file->phdr[i].p_type != PT_LOAD || file->phdr[i].p_memsz == 0)
            continue;
        elf_segment(image, &file->phdr[i], &s);
        if (s.start < trunc_page(last) || s.file_end < s.start || s.end < s.file_end || s.end > image->end)
            return false;
        if (((s.start | s.file_end | s.end | s.offset) & VM_PAGE_MASK) != 0 || s.offset > INT64_MAX)
            return false;
        if (file->phdr[i].p_filesz != 0 && (s.zero_start < s.start || s.zero_start > s.file_end))
            return false;
        last = s.end - 1;
    }
    return true;
}

static void test_garbage(void **state)
{
    struct prng random;
    int accepted = 0;
    (void)state;
    prng_init(&random, test_seed(1));
    for (int round = 0; round < ROUNDS; round++) {
        struct elf_image image;
        struct file file;
        int error;

        sound_file(&file, prng_next(&random) % 2 == 0 ? ET_EXEC : ET_DYN, 0x400000);
        for (uint64_t n = 1 + prng_next(&random) % 3; n > 0; n--)
            change(&file, &random);
        error = elf_check_header(&file.ehdr);
        if (error == 0)
            error = elf_layout(&file.ehdr, file.phdr, LOW, HIGH, &image);
        if (error != 0)
            continue;
        accepted++;
        assert_true(image.start >= LOW && image.end <= HIGH && image.start < image.end);
        assert_true(image.entry >= image.start && image.entry < image.end);
        assert_true(image.phdr == 0 || (image.phdr >= image.start && image.phdr < image.end));
        assert_true(check_segments(&file, &image));
    }
    assert_true(accepted > ROUNDS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
