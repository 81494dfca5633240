/*
 * anonymous.c: what anonymous memory costs the core, on the machine sim: a fork for each map entry, and the
 * instructions of a fault.
 *
 *   bench_anonymous            both lines of the table
 *   bench_anonymous faults N   touches N new pages, for valgrind to count what fl_fault takes
 *
 * Instructions are counted, because time on sim is mostly the simulated computer's. The difference between
 * many faults and few leaves out the first ones, which build the radix tree and the page tables' upper
 * levels.
 */
#define _GNU_SOURCE /* popen */
#include "bench.h"
#include "lib/errno.h"
#include "sim/sim.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define START    ((vm_offset_t)1 << 32)
#define NENTRIES 10000
#define ROUNDS   21
#define FEW      1000
#define MANY     5000

/* Instructions of a fault on 2026-11-29, GCC 12, -O2. A change that takes a tenth more misses its target. */
#define FAULT_INSTRUCTIONS 5400

static struct vm_map *boot(uint32_t nframes, uint32_t nentries)
{
    struct sim_params params = {.seed = 1, .nframes = nframes, .nentries = nentries};
    struct vm_map *map;
    int error = sim_boot(&params);
    if (error == 0)
        error = fl_space_create(START, START * 64, &map);
    if (error != 0)
        bench_fail("sim_boot", error);
    return map;
}

static void map_pages(struct vm_map *map, vm_offset_t at, uint32_t npages)
{
    int64_t got = fl_sys_mmap(map, at, ptoa((vm_offset_t)npages), VM_PROT_READ | VM_PROT_WRITE,
                              FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0);
    if (got < 0)
        bench_fail("fl_sys_mmap", (int)got);
}

static void touch(struct vm_map *map, vm_offset_t at)
{
    uint8_t byte = 1;
    int error = sim_store(map, at, &byte, 1, NULL);
    if (error != 0)
        bench_fail("sim_store", error);
}

/* Entries of one written page each, apart from each other. The child ends outside of what is measured. */
static double fork_us(void)
{
    struct vm_map *map = boot(3 * NENTRIES, 4 * NENTRIES), *child;
    double us[ROUNDS];
    for (uint32_t i = 0; i < NENTRIES; i++) {
        map_pages(map, START + ptoa(2 * (vm_offset_t)i), 1);
        touch(map, START + ptoa(2 * (vm_offset_t)i));
    }
    for (int r = 0; r < ROUNDS; r++) {
        double start = bench_now();
        int error = fl_space_fork(map, &child);
        us[r] = (bench_now() - start) / NENTRIES * 1e6;
        if (error != 0)
            bench_fail("fl_space_fork", error);
        fl_space_destroy(child);
    }
    fl_space_destroy(map);
    sim_shutdown();
    return bench_median(us, ROUNDS);
}

static void touch_new_pages(uint32_t npages)
{
    struct vm_map *map = boot(2 * MANY, 64);
    map_pages(map, START, MANY);
    for (uint32_t i = 0; i < npages; i++)
        touch(map, START + ptoa((vm_offset_t)i));
    fl_space_destroy(map);
    sim_shutdown();
}

/* What valgrind counts inside of fl_fault in a run with `npages` faults. 0: there is no valgrind. */
static double fault_instructions(const char *self, uint32_t npages)
{
    char command[8192], line[256];
    uint64_t count = 0;
    snprintf(command, sizeof(command),
             "valgrind --tool=callgrind --toggle-collect=fl_fault --callgrind-out-file=/dev/null '%s' faults "
             "%" PRIu32 " 2>&1",
             self, npages);
    FILE *valgrind = popen(command, "r");
    while (valgrind != NULL && fgets(line, sizeof(line), valgrind) != NULL) {
        const char *at = strstr(line, "Collected : ");
        if (at != NULL)
            count = strtoull(at + strlen("Collected : "), NULL, 10);
    }
    if (valgrind != NULL)
        pclose(valgrind);
    return (double)count;
}

static void report_faults(const char *self)
{
    const char *name = "fault of anonymous memory on sim, against 2026-11-29";
    double few = fault_instructions(self, FEW), many = fault_instructions(self, MANY);
    if (few == 0 || many <= few)
        bench_skip(name, "there is no valgrind here");
    bench_report_at_most(name, "instructions", (struct bench_score){(many - few) / (MANY - FEW), 0},
                         (struct bench_score){FAULT_INSTRUCTIONS, 0}, 1.1);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "faults") == 0) {
        touch_new_pages((uint32_t)strtoul(argv[2], NULL, 10));
        return 0;
    }
    bench_report_at_most("fork of 10,000 map entries, for each, against 2 µs", "µs",
                         (struct bench_score){fork_us(), 0}, (struct bench_score){2, 0}, 1);
    report_faults(argv[0]);
    return 0;
}
