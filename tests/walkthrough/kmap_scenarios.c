/*
 * kmap_scenarios.c: kernel addresses for pages in high memory, on a computer with very few slots.
 */
#include "walkthrough/scenarios.h"
#include "walkthrough/world.h"

#define NSLOTS 4

struct reader {
    struct vm_map *map;
    vm_offset_t va;
};

static void read_byte(void *arg)
{
    const struct reader *r = arg;
    (void)test_load8(r->map, r->va);
}

/* A file whose pages are read one by one, into frames behind the first `used` ones. An eighth is not high. */
static vm_offset_t map_random(struct world *w, uint64_t used)
{
    (void)map_anonymous(w, FL_MAP_POPULATE, used);
    vm_offset_t at = map_file(w, VM_PROT_READ, FL_MAP_SHARED, 64);
    must(fl_sys_madvise(w->map, at, 64 * PAGE, FL_MADV_RANDOM), "madvise");
    return at;
}

void scenario_kmap(void)
{
    struct world w = world_make_highmem(256, NSLOTS);
    vm_offset_t at = map_random(&w, 64);
    scenario_begin("pages are read, each into a frame that a slot maps while the disk writes to it");
    read_each(&w, at, NSLOTS + 1);
    scenario_end();
    world_end(&w);
}

void scenario_kmap_direct(void)
{
    struct world w = world_make_highmem(256, NSLOTS);
    vm_offset_t at = map_random(&w, 1);
    scenario_begin("a page is read into a frame of the direct map, which has its address always");
    read_each(&w, at, 1);
    scenario_end();
    world_end(&w);
}

/* Two slots, and a third thread that wants one. */
void scenario_kmap_wait(void)
{
    struct world w = world_make_highmem(256, 2);
    vm_offset_t at = map_random(&w, 64);
    struct reader reader[3];
    sim_disk_faults(w.disk)->latency_min_ns = sim_disk_faults(w.disk)->latency_max_ns = 1000000;
    for (uint64_t i = 0; i < 3; i++)
        reader[i] = (struct reader){w.map, at + i * PAGE};
    sim_run("first", read_byte, &reader[0]);
    sim_run("second", read_byte, &reader[1]);
    sim_sleep_ns(100000);
    scenario_begin("all slots are in use: a thread waits until another one's read is done");
    sim_run("third", read_byte, &reader[2]);
    sim_join_all();
    scenario_end();
    world_end(&w);
}
