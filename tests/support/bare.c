/*
 * bare.c: one object's pages on the machine sim, without the core.
 */
#include "support/bare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sched.h"
#include "support/boot.h"

struct bare bare = {.frames = {200, 207, 203, 209, 204, 212, 205, 201}};

struct machine_run bare_run(vm_pindex_t page, uint32_t npages)
{
    return (struct machine_run){
        .object = bare.object, .pindex = page, .npages = npages, .frame = &bare.frames[page]};
}

void bare_up(struct sim_torture torture)
{
    struct sim_params params = test_params(test_seed(31));

    params.torture = torture;
    params.no_flusher = true;
    params.highmem = false; /* the test uses the machine's windows */
    test_boot(&params);
    bare.map = test_space();
    bare.space = fl_space_machine(bare.map);
    assert_int_equal(machine_object_init(&bare.object), 0);
    memset(bare.resident, 0, sizeof(bare.resident));
}

void bare_attach(vm_prot_t prot, unsigned flags)
{
    assert_int_equal(machine_attach(bare.space, VA(0), VA(NPAGES), prot, bare.object, 0, flags), 0);
}

void bare_fill(vm_pindex_t page, uint32_t npages, int byte)
{
    struct machine_run run = bare_run(page, npages);
    void *addr[NPAGES];

    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, addr), 0);
    for (uint32_t i = 0; i < npages; i++)
        memset(addr[i], byte, VM_PAGE_SIZE);
    machine_window_put(&run, MACHINE_WINDOW_FILL, addr, true);
    for (uint32_t i = 0; i < npages; i++)
        bare.resident[page + i] = true;
}

void bare_enter(vm_pindex_t page, uint32_t npages, vm_prot_t prot, unsigned flags)
{
    struct machine_run run = bare_run(page, npages);
    uint32_t done;

    assert_int_equal(machine_map(bare.space, VA(page), &run, prot, flags, &done), 0);
    assert_int_equal(done, npages);
    for (uint32_t i = 0; i < npages; i++)
        bare.resident[page + i] = true;
}

void bare_release(vm_pindex_t page)
{
    struct machine_run run = bare_run(page, 1);

    machine_release(&run);
    bare.resident[page] = false;
}

void bare_down(void)
{
    machine_unmap(bare.space, VA(0), VA(NPAGES), 0, NULL);
    machine_detach(bare.space, VA(0), VA(NPAGES));
    machine_sync(bare.space);
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        if (bare.resident[page])
            bare_release(page);
    }
    machine_object_fini(bare.object);
    fl_space_destroy(bare.map);
    sim_shutdown();
}

/* ---- accesses on a chosen CPU ---------------------------------------------------------------- */

static void on_cpu(uint32_t cpu)
{
    while (sched_cpu() != cpu)
        sim_yield();
}

int bare_load(uint32_t cpu, vm_pindex_t page)
{
    uint8_t byte;

    on_cpu(cpu);
    return sim_load(bare.map, VA(page) + 1, &byte, 1, NULL);
}

int bare_store(uint32_t cpu, vm_pindex_t page)
{
    const uint8_t byte = 42;

    on_cpu(cpu);
    return sim_store(bare.map, VA(page) + 2, &byte, 1, NULL);
}

unsigned bare_harvest(vm_pindex_t page, unsigned clear)
{
    uint8_t bits = 0;

    machine_harvest(bare.space, VA(page), VA(page + 1), clear, &bits);
    return bits;
}

void bare_freeze(vm_pindex_t start, vm_pindex_t end)
{
    assert_int_equal(machine_freeze(bare.space, VA(start), VA(end), RW), 0);
}
