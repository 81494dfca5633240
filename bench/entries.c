/*
 * entries.c: what lookup, insertion and finding space cost in a map of 1,000,000 entries, against 1,000.
 *
 * Cache misses apart: each operation is repeated at the same places until what it touches is cached, so that
 * what is left is the number of steps. Reserved entries (fl_space_reserve) are used, which the machine hears
 * nothing of. A program of its own, because it stands on the machine sim.
 */
#include "bench.h"
#include "lib/errno.h"
#include "sim/sim.h"
#include "vm/vm_map.h"

/* Addresses that are used again and again: few, so that all they touch fits the first-level caches. */
#define PLACES 2
#define ROUNDS 60000
#define START  ((vm_offset_t)1 << 32)
#define STRIDE (4 * VM_PAGE_SIZE) /* an entry of one page, then a gap of three */

struct costs {
    double lookup, insert, find; /* ns */
};

static void reserve(struct vm_map *map, vm_offset_t at)
{
    int error = fl_space_reserve(map, at, at + VM_PAGE_SIZE);
    if (error != 0)
        bench_fail("fl_space_reserve", error);
}

static double lookup_ns(struct vm_map *map, const vm_offset_t *place)
{
    struct vm_map_entry *entry;
    double start = bench_now();
    vm_map_lock_read(map); /* once: the lock's own cost is the same for any number of entries */
    for (int i = 0; i < ROUNDS * PLACES; i++)
        if (!vm_map_lookup_entry(map, place[i % PLACES], &entry))
            bench_fail("vm_map_lookup_entry", ENOENT);
    vm_map_unlock_read(map);
    return (bench_now() - start) / (ROUNDS * PLACES) * 1e9;
}

/* An insertion into a gap and the removal that makes room for the next one. */
static double insert_ns(struct vm_map *map, const vm_offset_t *place)
{
    double start = bench_now();
    for (int r = 0; r < ROUNDS / 4; r++) {
        for (int i = 0; i < PLACES; i++) {
            reserve(map, place[i] + 2 * VM_PAGE_SIZE);
            int error = fl_sys_munmap(map, place[i] + 2 * VM_PAGE_SIZE, VM_PAGE_SIZE);
            if (error != 0)
                bench_fail("fl_sys_munmap", error);
        }
    }
    return (bench_now() - start) / (ROUNDS / 4 * PLACES) * 1e9;
}

/*
 * By the function that mmap uses, in each of its ways: without a hint, five pages, which is more than any gap
 * among the entries; with a hint that is taken, the same; with one that is free.
 */
static double find_ns(struct vm_map *map, const vm_offset_t *place)
{
    double start = bench_now();
    vm_map_lock_read(map);
    for (int i = 0; i < ROUNDS * PLACES; i++) {
        const vm_offset_t at = place[i % PLACES], hint[] = {0, at, at + VM_PAGE_SIZE};
        const vm_offset_t npages[] = {5, 5, 2};
        vm_offset_t addr;
        int error = get_unmapped_area(map, hint[i % 3], ptoa(npages[i % 3]), &addr);
        if (error != 0)
            bench_fail("get_unmapped_area", error);
    }
    vm_map_unlock_read(map);
    return (bench_now() - start) / (ROUNDS * PLACES) * 1e9;
}

static struct costs measure(uint64_t nentries)
{
    struct sim_params params = {.seed = 1, .nframes = 64, .nentries = (uint32_t)nentries + 1024};
    struct vm_map *map;
    vm_offset_t place[PLACES];
    uint64_t state = 3;
    int error = sim_boot(&params);
    if (error == 0)
        error = fl_space_create(START, START * 64, &map);
    if (error != 0)
        bench_fail("sim_boot", error);
    for (uint64_t i = 0; i < nentries; i++)
        reserve(map, START + i * STRIDE);
    for (int i = 0; i < PLACES; i++)
        place[i] = START + bench_random(&state) % nentries * STRIDE;
    struct costs c = {lookup_ns(map, place), insert_ns(map, place), find_ns(map, place)};
    fl_space_destroy(map);
    sim_shutdown();
    return c;
}

static void report(const char *name, double many_ns, double few_ns)
{
    bench_report_at_most(name, "ns", (struct bench_score){many_ns, 0}, (struct bench_score){few_ns, 0}, 3);
}

int main(void)
{
    struct costs few = measure(1000), many = measure(1000000);
    report("1,000,000 map entries: lookup, against 1,000", many.lookup, few.lookup);
    report("1,000,000 map entries: insert and remove, against 1,000", many.insert, few.insert);
    report("1,000,000 map entries: find space, against 1,000", many.find, few.find);
    return 0;
}
