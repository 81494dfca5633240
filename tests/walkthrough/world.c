/* world.c: the computer, the address space and the file of a scenario, and its recording. */
#include "walkthrough/world.h"
#include "walkthrough/counters.h"
#include "walkthrough/trace.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct fl_vm_stats before;

static struct sim_params world_params(uint32_t nframes)
{
    struct sim_params params = test_params(1);
    params.torture = (struct sim_torture){0};
    params.no_flusher = true;
    params.nframes = nframes;
    params.highmem = false;
    return params;
}

static struct world world_start(const struct sim_params *params, uint32_t block_bytes)
{
    struct world w = {.disk = sim_disk_create(FILE_LEN, 1)};
    test_fill(w.disk);
    sim_disk_set_block(w.disk, block_bytes);
    test_boot(params);
    w.map = test_space();
    w.file = test_file(w.disk, FL_FREAD | FL_FWRITE);
    return w;
}

struct world world_make_blocks(uint32_t nframes, bool superpages, uint32_t block_bytes)
{
    struct sim_params params = world_params(nframes);
    params.superpages = superpages;
    return world_start(&params, block_bytes);
}

struct world world_make(uint32_t nframes, bool superpages)
{
    return world_make_blocks(nframes, superpages, PAGE);
}

struct world world_make_highmem(uint32_t nframes, uint32_t nslots)
{
    struct sim_params params = world_params(nframes);
    params.highmem = true;
    params.kmap_slots = nslots;
    return world_start(&params, PAGE);
}

void must(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: error %lld\n", what, (long long)-result);
        exit(1);
    }
}

void world_end(struct world *w)
{
    fl_space_destroy(w->map);
    if (w->file.vnode != NULL)
        must(fl_vnode_close(w->file.vnode), "close");
    sim_shutdown();
    sim_disk_destroy(w->disk);
}

vm_offset_t map_file(struct world *w, int prot, int flags, uint64_t npages)
{
    int64_t at = fl_sys_mmap(w->map, 0, npages * PAGE, prot, flags, &w->file, 0);
    must(at, "mmap");
    return (vm_offset_t)at;
}

vm_offset_t map_anonymous(struct world *w, int flags, uint64_t npages)
{
    int64_t at = fl_sys_mmap(w->map, 0, npages * PAGE, VM_PROT_READ | VM_PROT_WRITE,
                             FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | flags, NULL, 0);
    must(at, "mmap");
    return (vm_offset_t)at;
}

void read_each(struct world *w, vm_offset_t at, uint64_t npages)
{
    for (uint64_t i = 0; i < npages; i++)
        (void)test_load8(w->map, at + i * PAGE);
}

void scenario_begin(const char *name)
{
    fl_vm_stats(&before);
    trace_start(name);
}

void scenario_end(void)
{
    struct fl_vm_stats after;
    trace_stop();
    fl_vm_stats(&after);
    for (size_t i = 0; i < NCOUNTERS; i++) {
        uint64_t from = counter_value(&before, i), to = counter_value(&after, i);
        if (from != to)
            printf("counter %s: %" PRIu64 " -> %" PRIu64 "\n", counters[i].name, from, to);
    }
}
