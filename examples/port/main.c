/*
 * main.c: what a kernel does with the core when it boots: memory, a space, a mapping, a fault, and the way
 * back. Here it is a program, so that the port can be tried before there is a computer for it.
 *
 *   fl_vm_boot ─▶ fl_space_create ─▶ fl_sys_mmap ─▶ fl_fault
 *              ─▶ fl_sys_munmap ─▶ fl_space_destroy ─▶ fl_vm_halt
 *
 * It ends at the first function that is missing, with its name and status 1. A kernel also has threads for
 * fl_pageout_run, fl_writeback_run and fl_prefault_run: where memory does not suffice, the first must run.
 */
#include <faultline/vm.h>

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#include "port.h"

#define FRAMES 1024
#define PAGES  16

static alignas(VM_PAGE_SIZE) char frames[FRAMES * VM_PAGE_SIZE]; /* the direct map: frame 0, 1, … */
static alignas(VM_PAGE_SIZE) char meta[4u << 20];

void port_missing(const char *function)
{
    printf("%s is missing\n", function);
    exit(1);
}

static void must(int64_t result, const char *what)
{
    if (result >= 0)
        return;
    printf("%s: error %d\n", what, (int)-result);
    exit(1);
}

int main(void)
{
    const struct fl_vm_params params = {
        .meta = meta, .meta_len_bytes = sizeof(meta), .nframes = FRAMES, .direct_map = frames};
    struct vm_map *map;

    must(fl_vm_boot(&params), "fl_vm_boot");
    printf("the core has booted\n");
    must(fl_space_create(0x10000, UINT64_C(0x7ffffffff000), &map), "fl_space_create");
    printf("there is a space\n");
    const int64_t va = fl_sys_mmap(map, 0, ptoa(PAGES), VM_PROT_READ | VM_PROT_WRITE,
                                   FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    must(va, "fl_sys_mmap");
    printf("a range shows memory\n");
    for (uint32_t i = 0; i < PAGES; i++)
        must(fl_fault(map, (vm_offset_t)va + ptoa(i), VM_PROT_WRITE), "fl_fault");
    printf("its pages are mapped\n");
    fl_vm_check();
    must(fl_sys_munmap(map, (vm_offset_t)va, ptoa(PAGES)), "fl_sys_munmap");
    fl_space_destroy(map);
    fl_vm_halt();
    printf("all frames are back\n");
    return 0;
}
