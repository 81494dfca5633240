/*
 * main.c: the core with its prefix, linked beside a kernel that has every one of its names. The computer
 * boots, maps a file, writes and reads a page, and halts.
 *
 *      core, FAULTLINE_PREFIX   machines/sim   core_names_clashes.c: submit_bio, vm_page_alloc, …   main.c
 */
#include "sim/disk.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGES 16

static void expect(bool true_now, const char *what)
{
    if (true_now)
        return;
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

int main(void)
{
    const struct sim_params params = {.seed = 1, .ncpus = 2, .nframes = 64};
    struct fl_file file = {.mode = FL_FREAD | FL_FWRITE};
    struct vm_map *map;
    uint8_t byte = 42;

    struct sim_disk *disk = sim_disk_create(ptoa(PAGES), params.seed);
    expect(sim_boot(&params) == 0, "boot");
    expect(fl_vnode_open(sim_disk_open(disk, false), &file.vnode) == 0, "open");
    expect(fl_space_create(0x10000, 0x7ffffffff000, &map) == 0, "space");
    int64_t va = fl_sys_mmap(map, 0, ptoa(PAGES), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, &file, 0);
    expect(va > 0, "mmap");
    expect(sim_store(map, (vm_offset_t)va, &byte, 1, NULL) == 0, "store");
    byte = 0;
    expect(sim_load(map, (vm_offset_t)va, &byte, 1, NULL) == 0 && byte == 42, "load");
    fl_space_destroy(map);
    expect(fl_vnode_close(file.vnode) == 0, "close, which writes");
    sim_shutdown();
    sim_disk_destroy(disk);
    return 0;
}
