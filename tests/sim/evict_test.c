/*
 * evict_test.c: a small core of the test's own (struct toy) writes back and evicts pages that other fibers
 * store to, on a machine that enters pages by itself and reports late. In the right order it loses nothing,
 * and each wrong order loses something: machine.h promises enough, and the tortures use what it leaves open.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/bare.h"
#include "support/boot.h"

#define DIRTY    MACHINE_DIRTY
#define NWRITERS 3

enum toy_mistake {
    TOY_RIGHT,
    TOY_NO_FREEZE,        /* evicts what the harvest found clean, without freezing it */
    TOY_NO_UNMAP_BITS,    /* looks at the harvest alone */
    TOY_BITS_BEFORE_SYNC, /* looks at the unmapping's bits before machine_sync */
    TOY_COPY_BEFORE_SYNC, /* writes a dirty page back between the harvest and machine_sync */
};

static struct toy {
    enum toy_mistake mistake;
    struct machine_lock lock; /* of what follows */
    struct prng prng;
    bool present[NPAGES], busy[NPAGES], dirty[NPAGES];
    uint64_t disk[NPAGES][NWRITERS];
    uint32_t writers;       /* that have not ended */
    uint64_t lost, evicted; /* stores; pages */
} toy;

/* Reads the page in; perhaps maps it. */
static void toy_fault(vm_pindex_t page)
{
    struct machine_run run = bare_run(page, 1);
    void *addr;

    machine_lock(&toy.lock);
    bool mine = !toy.present[page] && !toy.busy[page];
    toy.busy[page] = toy.busy[page] || mine;
    bool enters = prng_chance(&toy.prng, 500);
    uint32_t done;
    if (toy.present[page] && enters)
        assert_int_equal(machine_map(bare.space, VA(page), &run, RW, 0, &done), 0);
    machine_unlock(&toy.lock);
    if (!mine)
        return;
    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr), 0);
    memset(addr, 0, VM_PAGE_SIZE);
    memcpy(addr, toy.disk[page], sizeof(toy.disk[page]));
    machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
    machine_lock(&toy.lock);
    toy.busy[page] = false;
    toy.present[page] = true;
    machine_unlock(&toy.lock);
}

/* Each writer has a word in each page, which it adds to, and which only it changes. */
static void toy_writer(void *arg)
{
    const uint64_t me = (uint64_t)(uintptr_t)arg;
    uint64_t mine[NPAGES] = {0}, word;

    for (int i = 0; i < 150; i++) {
        vm_pindex_t page = prng_below(&toy.prng, NPAGES);
        vm_offset_t va = VA(page) + me * sizeof(word);

        while (sim_load(bare.map, va, &word, sizeof(word), NULL) != 0)
            toy_fault(page);
        if (word != mine[page])
            toy.lost++;
        mine[page] = word + 1;
        while (sim_store(bare.map, va, &mine[page], sizeof(word), NULL) != 0)
            toy_fault(page);
    }
    toy.writers--;
}

static void toy_copy(void)
{
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        if (toy.dirty[page] && toy.present[page])
            memcpy(toy.disk[page], sim_frame(bare.frames[page]), sizeof(toy.disk[page]));
        toy.dirty[page] = toy.dirty[page] && !toy.present[page];
    }
}

static void toy_note(uint8_t *bits)
{
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        toy.dirty[page] = toy.dirty[page] || (bits[page] & DIRTY);
        bits[page] = 0;
    }
}

static void toy_write_back(void)
{
    uint8_t bits[NPAGES] = {0};

    machine_harvest(bare.space, VA(0), VA(NPAGES), DIRTY, bits);
    toy_note(bits);
    if (toy.mistake == TOY_COPY_BEFORE_SYNC) {
        toy_copy();
        sim_sleep_ns(10000); /* the disk is slow */
    }
    machine_sync(bare.space);
    toy_copy();
}

/* Finds out, in a frozen range, which pages are dirty, and unmaps them all. */
static void toy_unmap(void)
{
    const unsigned clear = prng_chance(&toy.prng, 500) ? DIRTY : 0;
    uint8_t bits[NPAGES] = {0}, late[NPAGES] = {0};

    machine_harvest(bare.space, VA(0), VA(NPAGES), clear, bits);
    toy_note(bits);
    machine_unmap(bare.space, VA(0), VA(NPAGES), 0, late);
    if (toy.mistake == TOY_BITS_BEFORE_SYNC)
        memcpy(bits, late, sizeof(bits));
    machine_sync(bare.space);
    if (toy.mistake != TOY_BITS_BEFORE_SYNC)
        memcpy(bits, late, sizeof(bits));
    if (toy.mistake != TOY_NO_UNMAP_BITS)
        toy_note(bits);
}

static void toy_evict(void)
{
    if (toy.mistake != TOY_NO_FREEZE)
        bare_freeze(0, NPAGES);
    toy_unmap();
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        struct machine_run run = bare_run(page, 1);

        if (!toy.present[page] || toy.dirty[page])
            continue;
        machine_release(&run);
        toy.present[page] = false;
        toy.evicted++;
    }
    if (toy.mistake != TOY_NO_FREEZE)
        machine_thaw(bare.space, VA(0), VA(NPAGES), RW);
}

static void toy_daemon(void *arg)
{
    (void)arg;
    while (toy.writers > 0) {
        machine_lock(&toy.lock);
        if (prng_chance(&toy.prng, 500))
            toy_write_back();
        else
            toy_evict();
        machine_unlock(&toy.lock);
        sim_sleep_ns(prng_below(&toy.prng, 20000));
    }
}

static void toy_run(uint64_t seed, enum toy_mistake mistake)
{
    struct sim_params params = test_params_hostile(seed);

    params.highmem = false; /* the toy uses the machine's windows */
    params.torture.enters_itself_permille = (uint32_t)(seed % 4 * 333);
    params.torture.late_bits = seed % 3 != 0;
    params.torture.preempt_permille += 50;
    params.no_flusher = true;
    test_boot(&params);
    bare.map = test_space();
    bare.space = fl_space_machine(bare.map);
    assert_int_equal(machine_object_init(&bare.object), 0);
    bare_attach(RW, 0);
    toy = (struct toy){.mistake = mistake, .writers = NWRITERS};
    prng_init(&toy.prng, seed);
    for (uintptr_t i = 0; i < NWRITERS; i++)
        sim_run("writer", toy_writer, (void *)i);
    sim_run("daemon", toy_daemon, NULL);
    sim_join_all();
    toy.lost += sim_stats().unharvested_released;
    memcpy(bare.resident, toy.present, sizeof(bare.resident));
    bare_down();
}

/* Returns what is lost in `runs` runs, until something is. */
static uint64_t toy_runs(uint64_t seed, enum toy_mistake mistake, uint64_t runs)
{
    uint64_t lost = 0, evicted = 0;

    for (uint64_t i = 0; i < runs && lost == 0; i++) {
        toy_run(seed + i, mistake);
        if (toy.lost > 0)
            print_message("mistake %u: seed %#llx lost %llu\n", mistake, (unsigned long long)(seed + i),
                          (unsigned long long)toy.lost);
        lost += toy.lost;
        evicted += toy.evicted;
    }
    assert_true(evicted > 0);
    return lost;
}

static void test_nothing_is_lost(void **state)
{
    (void)state;
    assert_int_equal(toy_runs(test_seed(32), TOY_RIGHT, test_rounds(300)), 0);
}

static void test_mistakes_lose(void **state)
{
    (void)state;
    for (enum toy_mistake mistake = TOY_NO_FREEZE; mistake <= TOY_COPY_BEFORE_SYNC; mistake++)
        assert_true(toy_runs(test_seed(33), mistake, 5000) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_mistakes_lose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
