/* boot.c: the simulated computer: switching it on and off, its messages, and its injected failures. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "disk_fiber.h"
#include "frame.h"
#include "highmem.h"
#include "sched.h"
#include "space.h"
#include "tlb.h"

struct sim_computer sim;

static struct {
    void *meta;
    size_t meta_len_bytes;
    uint64_t free; /* pages, right after boot */
    struct fiber *pageout;
    struct fiber *prefault;
    struct fiber *flusher; /* NULL: there is none */
    struct sim_disk *swap; /* NULL: there is none */
} booted;

/* ---- messages -------------------------------------------------------------------------------- */

void machine_log(const char *message)
{
    if (sim.params.verbose)
        fprintf(stderr, "[%llu ns] %s\n", (unsigned long long)sim.now_ns, message);
}

void machine_panic(const char *message)
{
    fprintf(stderr, "panic: %s\n", message);
    fprintf(stderr, "  fiber %llu, CPU %u, %llu ns, seed %llu: FAULTLINE_SEED=%llu replays it\n",
            (unsigned long long)machine_self(), sched_cpu(), (unsigned long long)sim.now_ns,
            (unsigned long long)sim.params.seed, (unsigned long long)sim.params.seed);
    fflush(stderr);
    abort();
}

void sim_panic(const char *format, ...)
{
    char message[256];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    machine_panic(message);
}

/* ---- injected failures ---------------------------------------------------------------------------- */

struct sim_torture *sim_torture(void)
{
    return &sim.params.torture;
}

bool sim_strikes(uint32_t *nth, uint32_t permille)
{
    bool now = *nth > 0 && --*nth == 0;

    if (!now && !prng_chance(&sim.prng, permille))
        return false;
    sim_event(EVENT_FAIL, now, permille);
    return true;
}

bool sim_fail_map(void)
{
    sim.stats.mapcalls++;
    return sim_strikes(&sim.params.torture.fail_map_nth, sim.params.torture.fail_map_permille);
}

static bool sim_fail_alloc(const char *what)
{
    (void)what;
    sim.stats.allocs++;
    return sim_strikes(&sim.params.torture.fail_alloc_nth, sim.params.torture.fail_alloc_permille);
}

uint64_t sim_hash(void)
{
    return sim.hash;
}

struct sim_stats sim_stats(void)
{
    return sim.stats;
}

/* ---- on and off ------------------------------------------------------------------------------ */

void sim_machine_init(const struct sim_params *params)
{
    if (sim.on)
        sim_panic("sim_machine_init: the computer is on already");
    sim = (struct sim_computer){.params = *params};
    if (sim.params.ncpus == 0)
        sim.params.ncpus = 2;
    if (sim.params.nframes == 0)
        sim.params.nframes = 256;
    if (sim.params.ntables == 0)
        sim.params.ntables = 4096 + sim.params.nframes;
    if (sim.params.nentries == 0)
        sim.params.nentries = 4096;
    if (sim.params.kmap_slots == 0)
        sim.params.kmap_slots = SIM_KMAP_SLOTS;
    if (sim.params.kmap_slots > SIM_KMAP_SLOTS)
        sim_panic("more than %u kmap slots", SIM_KMAP_SLOTS);
    if (sim.params.ncpus > SIM_CPUS_MAX)
        sim_panic("more than %u CPUs", SIM_CPUS_MAX);
    if (getenv("FAULTLINE_VERBOSE") != NULL)
        sim.params.verbose = true;
    prng_init(&sim.prng, sim.params.seed);
    sched_reset();
    tlb_reset();
    physmem_init();
    sim.on = true;
    disk_fiber_start();
}

void sim_machine_fini(void)
{
    sim_join_all();
    disk_fiber_stop();
    sched_reset();
    space_fini();
    physmem_fini();
    sim.on = false;
}

static void pageout_main(void *arg)
{
    (void)arg;
    fl_pageout_run();
}

static void flusher_main(void *arg)
{
    (void)arg;
    fl_writeback_run();
}

static void prefault_main(void *arg)
{
    (void)arg;
    fl_prefault_run();
}

static void boot_swap(void)
{
    booted.swap = NULL;
    if (sim.params.swap_pages == 0)
        return;
    booted.swap = sim_disk_create(ptoa((uint64_t)sim.params.swap_pages), sim.params.seed);
    if (fl_swapon(sim_disk_open(booted.swap, false)) != 0)
        sim_panic("the disk of %u pages cannot be swapped to", sim.params.swap_pages);
}

struct sim_disk *sim_swap_disk(void)
{
    return booted.swap;
}

static int sim_boot_vm(void)
{
    struct fl_vm_params vm = {
        .nframes = sim.params.nframes,
        .free_reserved = sim.params.free_reserved,
        .free_min = sim.params.free_min,
        .free_target = sim.params.free_target,
        .readahead_max = sim.params.readahead_max,
        .dirty_background = sim.params.dirty_background,
        .dirty_max = sim.params.dirty_max,
        .dirty_expire_ns = sim.params.dirty_expire_ns,
        .superpages = sim.params.superpages,
        .overcommit = sim.params.overcommit,
        .kmap = sim_kmap(),
        .fail_alloc = sim_fail_alloc,
    };
    struct fl_vm_stats stats;

    booted.meta_len_bytes = sim.params.meta_len_bytes;
    if (booted.meta_len_bytes == 0)
        booted.meta_len_bytes = fl_vm_meta_size(sim.params.nframes, sim.params.nentries);
    booted.meta_len_bytes += fl_swap_meta_size(ptoa((uint64_t)sim.params.swap_pages));
    booted.meta_len_bytes = round_page(booted.meta_len_bytes);
    booted.meta = mmap(NULL, booted.meta_len_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (booted.meta == MAP_FAILED)
        sim_panic("the host has no memory for %zu bytes of metadata", booted.meta_len_bytes);
    vm.meta = booted.meta;
    vm.meta_len_bytes = booted.meta_len_bytes;
    int error = fl_vm_boot(&vm);
    if (error != 0) {
        munmap(booted.meta, booted.meta_len_bytes);
        return error;
    }
    boot_swap();
    fl_vm_stats(&stats);
    booted.free = stats.free;
    booted.pageout = sched_daemon("pageout", pageout_main, NULL);
    booted.prefault = sched_daemon("prefault", prefault_main, NULL);
    booted.flusher = sim.params.no_flusher ? NULL : sched_daemon("flusher", flusher_main, NULL);
    return 0;
}

int sim_boot(const struct sim_params *params)
{
    sim_machine_init(params);
    int error = sim_boot_vm();
    if (error != 0)
        sim_machine_fini();
    return error;
}

void sim_shutdown(void)
{
    struct fl_vm_stats stats;

    sim_join_all();
    fl_vm_stop();
    sched_join(booted.pageout);
    sched_join(booted.prefault);
    if (booted.flusher != NULL)
        sched_join(booted.flusher);
    disk_fiber_drain();
    fl_vm_check();
    fl_vm_stats(&stats);
    if (stats.free != booted.free)
        sim_panic("leak: %llu pages are free, %llu were after boot", (unsigned long long)stats.free,
                  (unsigned long long)booted.free);
    fl_vm_halt();
    if (booted.swap != NULL)
        sim_disk_destroy(booted.swap);
    munmap(booted.meta, booted.meta_len_bytes);
    sim_machine_fini();
}
