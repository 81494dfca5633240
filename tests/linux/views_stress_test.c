/*
 * views_stress_test.c: no store is lost in free views while another thread harvests, writes back, freezes,
 * forgets and evicts their pages; none is reported that was not made, where a view begins as pages arrive.
 *
 *     writers   count up a counter of their own in random pages, through two views
 *     pager     keeps a page clean or dirty by harvesting, writes dirty pages to an array, evicts clean ones
 *     fault     the handler of SIGBUS fills an absent page from the array; a frozen one waits
 *
 * The page lock stands for the core's locks. In the end each counter is what its writer has counted.
 */
#include "linux_machine.h"
#include "bounce.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGES      96
#define WRITERS    3
#define SECONDS    3
#define VM_PROT_RW ((vm_prot_t)(VM_PROT_READ | VM_PROT_WRITE))

static struct machine_space *space;
static void *memory;
static const vm_offset_t view[2] = {LINUX_WINDOW_START, LINUX_WINDOW_START + ((vm_offset_t)1 << 30)};

static struct machine_lock page_lock;
static uint64_t disk[PAGES][VM_PAGE_SIZE / sizeof(uint64_t)];
static bool resident[PAGES], modified[PAGES];
static uint64_t counted[WRITERS][PAGES];
static _Atomic bool stop;
static _Atomic unsigned retries, evictions;

static struct machine_run run_of(const vm_pindex_t *pindex, vm_frame_t *frame)
{
    *frame = (vm_frame_t)*pindex;
    return (struct machine_run){.object = memory, .pindex = *pindex, .npages = 1, .frame = frame};
}

static void must(int error)
{
    if (error != 0)
        abort();
}

static void page_in(vm_offset_t va, vm_pindex_t pindex)
{
    vm_frame_t frame;
    struct machine_run run = run_of(&pindex, &frame);
    void *addr;
    uint32_t done;

    if (!resident[pindex]) {
        must(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr));
        memcpy(addr, disk[pindex], VM_PAGE_SIZE);
        machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
        resident[pindex] = true;
    }
    must(machine_map(space, va, &run, VM_PROT_RW, modified[pindex] ? MACHINE_MAP_DIRTY : 0, &done));
}

static void on_fault(int signo, siginfo_t *info, void *ucontext)
{
    vm_offset_t va = trunc_page((vm_offset_t)info->si_addr);

    (void)ucontext;
    if (signo == SIGSEGV) { /* frozen */
        retries++;
        (void)sched_yield();
        return;
    }
    machine_lock(&page_lock);
    page_in(va, atop(va - view[va >= view[1]]));
    machine_unlock(&page_lock);
}

static void *write_pages(void *arg)
{
    unsigned writer = (unsigned)(uintptr_t)arg, seed = writer + (unsigned)time(NULL);

    while (!stop) {
        vm_pindex_t pindex = (vm_pindex_t)rand_r(&seed) % PAGES;
        volatile uint64_t *page = (volatile uint64_t *)(view[rand_r(&seed) % 2] + ptoa(pindex));
        if (rand_r(&seed) % 4 == 0) {
            if (page[writer] != counted[writer][pindex])
                abort();
        } else {
            page[writer] = ++counted[writer][pindex];
        }
    }
    return NULL;
}

static void note(vm_pindex_t first, vm_pindex_t end, const uint8_t *bits)
{
    for (vm_pindex_t i = first; i < end; i++)
        modified[i] = modified[i] || (resident[i] && (bits[i - first] & MACHINE_DIRTY) != 0);
}

static void harvest(vm_pindex_t first, vm_pindex_t end, unsigned clear)
{
    uint8_t bits[PAGES] = {0};

    for (unsigned i = 0; i < 2; i++)
        machine_harvest(space, view[i] + ptoa(first), view[i] + ptoa(end), clear, bits);
    machine_sync(space);
    if ((clear & MACHINE_DIRTY) != 0)
        note(first, end, bits);
}

/* The bytes are those of after the harvest: a store beside them is reported by the next one. */
static void write_back(vm_pindex_t first, vm_pindex_t end)
{
    void *addr;
    vm_frame_t frame;

    harvest(first, end, MACHINE_DIRTY);
    for (vm_pindex_t i = first; i < end; i++) {
        struct machine_run run = run_of(&i, &frame);
        if (!modified[i])
            continue;
        modified[i] = false;
        must(machine_window_get(&run, MACHINE_WINDOW_READ, false, &addr));
        memcpy(disk[i], addr, VM_PAGE_SIZE);
        machine_window_put(&run, MACHINE_WINDOW_READ, &addr, true);
    }
}

static void evict(vm_pindex_t first, vm_pindex_t end)
{
    vm_frame_t frame;

    for (unsigned i = 0; i < 2; i++)
        must(machine_freeze(space, view[i] + ptoa(first), view[i] + ptoa(end), VM_PROT_RW));
    harvest(first, end, MACHINE_DIRTY);
    for (vm_pindex_t i = first; i < end; i++) {
        struct machine_run run = run_of(&i, &frame);
        if (!resident[i] || modified[i])
            continue;
        machine_release(&run);
        resident[i] = false;
        evictions++;
    }
    for (unsigned i = 0; i < 2; i++)
        machine_thaw(space, view[i] + ptoa(first), view[i] + ptoa(end), VM_PROT_RW);
}

static void pager_step(unsigned *seed)
{
    vm_pindex_t first = (vm_pindex_t)rand_r(seed) % PAGES, end = first + 1 + (vm_pindex_t)rand_r(seed) % 32;
    vm_offset_t at = view[rand_r(seed) % 2];

    end = end < PAGES ? end : PAGES;
    machine_lock(&page_lock);
    switch (rand_r(seed) % 6) {
    case 0:
        harvest(first, end, MACHINE_DIRTY | MACHINE_REFERENCED);
        break;
    case 1:
        harvest(first, end, MACHINE_REFERENCED);
        break;
    case 2:
        write_back(first, end);
        break;
    case 3:
        machine_unmap(space, at + ptoa(first), at + ptoa(end), 0, NULL);
        machine_sync(space);
        break;
    case 4:
        for (vm_pindex_t i = first; i < end; i++)
            must(linux_bounce_flush((vm_frame_t)i, false));
        break;
    default:
        write_back(first, end);
        evict(first, end);
        break;
    }
    machine_unlock(&page_lock);
    (void)sched_yield();
}

static void start(void)
{
    struct linux_machine_params params = {.nframes = PAGES, .buffer_len_bytes = ptoa(32)};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    void *meta;

    if (linux_machine_init(&params, 1 << 20, &meta) != 0)
        fail_msg("%s", linux_machine_error());
    must(machine_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &space));
    must(machine_object_init(&memory));
    must(sigaction(SIGBUS, &action, NULL));
    must(sigaction(SIGSEGV, &action, NULL));
}

static void finish(void)
{
    vm_frame_t frame;

    for (vm_pindex_t i = 0; i < PAGES; i++) {
        struct machine_run run = run_of(&i, &frame);
        machine_release(&run);
        resident[i] = false;
    }
    machine_object_fini(memory);
    machine_space_destroy(space);
    linux_machine_fini();
}

static void attach(unsigned i, vm_prot_t prot)
{
    assert_int_equal(machine_attach(space, view[i], view[i] + ptoa(PAGES), prot, memory, 0, 0), 0);
}

static void no_store_is_lost(void **state)
{
    (void)state;
    pthread_t thread[WRITERS];
    unsigned seed = (unsigned)time(NULL);

    print_message("seed %u\n", seed);
    start();
    attach(0, VM_PROT_RW);
    attach(1, VM_PROT_RW);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_pages, (void *)i), 0);
    for (time_t until = time(NULL) + SECONDS; time(NULL) < until;)
        pager_step(&seed);
    stop = true;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_true(evictions > 0);
    write_back(0, PAGES);
    for (unsigned i = 0; i < WRITERS; i++)
        for (vm_pindex_t page = 0; page < PAGES; page++)
            assert_int_equal(disk[page][i], counted[i][page]);
    print_message("%u evictions, %u stores waited\n", evictions, retries);
    finish();
}

/* ---- a view that begins while pages leave their buffers ------------------------------------------------ */

#define ROUNDS 1500

static pthread_barrier_t round_begins, round_ends;

static void *flush_pages(void *arg)
{
    for (unsigned n = 0; n < ROUNDS; n++) {
        (void)pthread_barrier_wait(&round_begins);
        for (vm_frame_t i = 0; i < 16; i++)
            must(linux_bounce_flush(i, false));
        (void)pthread_barrier_wait(&round_ends);
    }
    return arg;
}

/* A page's bytes are in a slot, and zeros. */
static void fill(vm_pindex_t pindex)
{
    vm_frame_t frame;
    struct machine_run run = run_of(&pindex, &frame);
    void *addr;

    must(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr));
    memset(addr, 0, VM_PAGE_SIZE);
    machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
}

static void a_view_that_begins_misses_no_page(void **state)
{
    (void)state;
    pthread_t thread;
    vm_frame_t frame;

    start();
    assert_int_equal(pthread_barrier_init(&round_begins, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&round_ends, NULL, 2), 0);
    attach(0, VM_PROT_RW);
    assert_int_equal(pthread_create(&thread, NULL, flush_pages, NULL), 0);
    for (unsigned n = 0; n < ROUNDS; n++) {
        uint8_t bits[16] = {0};
        if (n % 2 == 0) /* an object without a tracked view */
            machine_detach(space, view[0], view[0] + ptoa(PAGES));
        if (n % 3 == 0)
            attach(1, VM_PROT_READ);
        for (vm_pindex_t i = 0; i < 16; i++)
            fill(i);
        (void)pthread_barrier_wait(&round_begins);
        for (unsigned spin = n * 37 % 512; spin > 0; spin--)
            __builtin_ia32_pause();
        if (n % 3 == 0)
            assert_int_equal(machine_protect(space, view[1], view[1] + ptoa(PAGES), VM_PROT_RW), 0);
        else
            attach(1, VM_PROT_RW);
        (void)pthread_barrier_wait(&round_ends);
        for (vm_pindex_t i = 0; i < 16; i++)
            (void)*(volatile uint8_t *)(view[1] + ptoa(i));
        machine_harvest(space, view[1], view[1] + ptoa(16), 0, bits);
        for (vm_pindex_t i = 0; i < 16; i++) {
            struct machine_run run = run_of(&i, &frame);
            assert_int_equal(bits[i], MACHINE_REFERENCED);
            machine_release(&run);
        }
        machine_detach(space, view[1], view[1] + ptoa(PAGES));
        if (n % 2 == 0)
            attach(0, VM_PROT_RW);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    finish();
}

/* ---- a harvest beside changes of the address space ----------------------------------------------------- */

static void *change_middle(void *arg)
{
    vm_offset_t low = view[0] + ptoa(32), high = view[0] + ptoa(64);

    for (unsigned n = 0; !stop; n++) {
        machine_detach(space, low, high);
        (void)sched_yield();
        must(machine_attach(space, low, high, VM_PROT_RW, memory, 32, n % 2));
    }
    return arg;
}

static void a_hole_cuts_no_harvest_short(void **state)
{
    (void)state;
    pthread_t thread;
    uint8_t bits[PAGES];

    start();
    attach(0, VM_PROT_RW);
    stop = false;
    for (vm_pindex_t i = 0; i < PAGES; i++)
        page_in(view[0] + ptoa(i), i);
    assert_int_equal(pthread_create(&thread, NULL, change_middle, NULL), 0);
    for (unsigned n = 0; n < 5000; n++) {
        vm_pindex_t low = n % 32, high = 64 + n * 7 % 32;
        *(volatile uint8_t *)(view[0] + ptoa(low)) = 1;
        *(volatile uint8_t *)(view[0] + ptoa(high)) = 1;
        memset(bits, 0, sizeof(bits));
        machine_harvest(space, view[0], view[0] + ptoa(PAGES), MACHINE_DIRTY, bits);
        for (vm_pindex_t i = 0; i < PAGES; i++) {
            if (i < 32 || i >= 64)
                assert_int_equal((bits[i] & MACHINE_DIRTY) != 0, i == low || i == high);
        }
    }
    stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_store_is_lost),
        cmocka_unit_test(a_view_that_begins_misses_no_page),
        cmocka_unit_test(a_hole_cuts_no_harvest_short),
    };
    (void)alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
