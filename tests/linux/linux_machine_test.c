/*
 * linux_machine_test.c: the machine linux by itself, without the core: mappings, windows, bounce buffers.
 * Plain arrays hold the bytes that every view must show. views_test.c tests free views.
 */
#include "machine_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static unsigned count_areas(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned n = 0;

    assert_non_null(maps);
    for (int c = fgetc(maps); c != EOF; c = fgetc(maps))
        n += c == '\n';
    (void)fclose(maps);
    return n;
}

/* The first npages pages of the object are attached at both views, for reading and writing. */
static void start_with_views(uint32_t npages)
{
    start(1 << 20);
    attach(VIEW_A, npages, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    attach(VIEW_B, npages, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
}

/* The same, and 16 pages with the value 1 are mapped read-only in both. */
static void start_with_clean_pages(void)
{
    start_with_views(16);
    fill(0, 16, 1);
    map(VIEW_A, 0, 16, VM_PROT_READ, 0);
    map(VIEW_B, 0, 16, VM_PROT_READ, 0);
}

static void a_filled_run_is_mapped_at_once_and_seen_by_every_view(void **state)
{
    (void)state;
    start_with_views(256);
    fill(0, 64, 1);
    map(VIEW_A, 0, 64, VM_PROT_READ, 0);
    for (vm_pindex_t i = 0; i < 64; i++)
        assert_page((void *)(VIEW_A + ptoa(i)), i, 1);
    assert_int_equal(faults, 0);
    assert_page((void *)(VIEW_B + ptoa(5)), 5, 1);
    assert_int_equal(faults, 1);
    map(VIEW_B, 0, 64, VM_PROT_READ, MACHINE_MAP_QUICK); /* page 5 is mapped already */
    for (vm_pindex_t i = 0; i < 64; i++)
        assert_page((void *)(VIEW_B + ptoa(i)), i, 1);
    assert_int_equal(faults, 1);
    release(0, 64);
    finish();
}

static void a_clean_page_faults_on_its_first_store_and_after_each_wrprotect(void **state)
{
    (void)state;
    start_with_clean_pages();
    for (int round = 0; round < 3; round++) {
        assert_true(store_faults(VIEW_A + ptoa(3)));
        map(VIEW_A, 3, 1, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
        assert_false(store_faults(VIEW_A + ptoa(3)));
        assert_true(store_faults(VIEW_B + ptoa(3)));
        assert_true(store_faults(VIEW_A + ptoa(4)));
        machine_wrprotect(space, VIEW_A, VIEW_A + ptoa(16));
        machine_sync(space);
    }
    /*
     * A range with absent pages is write-protected too; a writable mapping
     * that is made later clears the marks that this leaves.
     */
    machine_unmap(space, VIEW_A, VIEW_A + ptoa(16), 0, NULL);
    machine_sync(space);
    assert_true(load_faults(VIEW_A));
    machine_wrprotect(space, VIEW_A, VIEW_A + ptoa(16));
    map(VIEW_A, 0, 16, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
    assert_false(store_faults(VIEW_A + ptoa(15)));
    release(0, 16);
    finish();
}

static void a_released_page_is_gone_from_every_view_and_comes_back_anew(void **state)
{
    (void)state;
    start_with_clean_pages();
    machine_unmap(space, VIEW_A + ptoa(4), VIEW_A + ptoa(8), MACHINE_UNMAP_RELEASE, NULL);
    release(4, 4);
    assert_false(load_faults(VIEW_A + ptoa(3)));
    assert_true(load_faults(VIEW_A + ptoa(4)));
    assert_true(load_faults(VIEW_B + ptoa(7)));
    fill(4, 4, 2);
    map(VIEW_A, 4, 4, VM_PROT_READ, 0);
    assert_page((void *)(VIEW_A + ptoa(4)), 4, 2);
    assert_true(store_faults(VIEW_A + ptoa(4)));
    release(0, 16);
    finish();
}

static void rights_follow_protect(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, 16, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, 16, 1);
    map(VIEW_A, 0, 16, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(8), VM_PROT_READ), 0);
    assert_true(store_faults(VIEW_A)); /* SIGSEGV */
    assert_false(load_faults(VIEW_A));
    assert_false(store_faults(VIEW_A + ptoa(8)));
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(8), VM_PROT_READ | VM_PROT_WRITE), 0);
    machine_wrprotect(space, VIEW_A, VIEW_A + ptoa(16));
    assert_true(store_faults(VIEW_A));
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(16), VM_PROT_NONE), 0);
    assert_true(load_faults(VIEW_A));
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(16), VM_PROT_READ), 0);
    assert_false(load_faults(VIEW_A));
    machine_detach(space, VIEW_A, VIEW_A + ptoa(16));
    assert_true(load_faults(VIEW_A));
    release(0, 16);
    finish();
}

/* A child gets SIGSEGV, and never reads a hole as zeros. */
static void a_child_reads_no_zeros(void **state)
{
    (void)state;
    int status;

    start(1 << 20);
    attach(VIEW_A, 16, VM_PROT_READ, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, 1, 1);
    map(VIEW_A, 0, 1, VM_PROT_READ, 0);
    for (vm_pindex_t page = 0; page < 2; page++) { /* one that is mapped, one that is absent */
        pid_t pid = fork();
        if (pid == 0) {
            (void)signal(SIGSEGV, SIG_DFL);
            (void)*(volatile uint8_t *)(VIEW_A + ptoa(page));
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    }
    release(0, 1);
    finish();
}

static void scattered_pages_cost_no_areas(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, NFRAMES, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    unsigned before = count_areas();
    for (vm_pindex_t i = 0; i < NFRAMES; i += 2) {
        fill(i, 1, 1);
        map(VIEW_A, i, 1, i % 4 == 0 ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
    }
    /*
     * An area a page would be about NFRAMES more. A few may come from a
     * sanitizer, which maps memory at any time.
     */
    assert_in_range(count_areas(), 1, before + 16);
    for (vm_pindex_t i = 0; i < NFRAMES; i += 2)
        release(i, 1);
    finish();
}

/* At the kernel's limit on areas attach fails and changes nothing; detach still unmaps the bytes. */
static void the_limit_on_areas_is_an_error(void **state)
{
    (void)state;
    vm_offset_t va = VIEW_A;
    int error = 0;

    start(1 << 20);
    attach(VIEW_B, 16, VM_PROT_READ, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, 16, 1);
    map(VIEW_B, 0, 16, VM_PROT_READ, 0);
    for (unsigned i = 0; i < 1u << 20 && error == 0; i++, va += ptoa(2)) /* each ends in a reserved page */
        error =
            machine_attach(space, va, va + ptoa(1), VM_PROT_READ, test_object, 0, MACHINE_ATTACH_WRITENOTIFY);
    assert_int_equal(error, -ENOMEM);
    assert_true(load_faults(va - ptoa(2)));
    machine_detach(space, VIEW_B + ptoa(4), VIEW_B + ptoa(8));
    assert_false(load_faults(VIEW_B + ptoa(3)));
    assert_true(load_faults(VIEW_B + ptoa(4)));
    assert_true(load_faults(VIEW_B + ptoa(7)));
    assert_false(load_faults(VIEW_B + ptoa(8)));
    assert_int_equal(machine_protect(space, VIEW_B + ptoa(1), VIEW_B + ptoa(2), VM_PROT_NONE), -ENOMEM);
    machine_detach(space, VIEW_A, va);
    attach(VIEW_A, 1, VM_PROT_READ, MACHINE_ATTACH_WRITENOTIFY);
    assert_page((void *)VIEW_A, 0, 1);
    release(0, 16);
    finish();
}

/* ---- attaching under a reader ------------------------------------------------------------------------- */

static _Atomic bool stop;
static _Atomic unsigned attempts, loads;

/* Returns, so that the access is tried again until a page is mapped. */
static void on_reader_fault(int signo)
{
    (void)signo;
    attempts++;
    (void)sched_yield();
}

static void *read_view(void *arg)
{
    while (!stop) {
        (void)*(volatile uint8_t *)VIEW_A;
        loads++;
    }
    return arg;
}

/* A load of a page that was never entered must never succeed: it would have read a hole as zeros. */
static void no_moment_shows_a_hole_while_a_view_changes(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_reader_fault};
    void *objects[2];
    pthread_t reader;

    start(1 << 20);
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
    objects[0] = test_object;
    assert_int_equal(machine_object_init(&objects[1]), 0);
    attach(VIEW_A, 1, VM_PROT_READ, MACHINE_ATTACH_WRITENOTIFY);
    stop = false;
    attempts = loads = 0;
    assert_int_equal(pthread_create(&reader, NULL, read_view, NULL), 0);
    for (int i = 0; i < 2000 || attempts < 2000; i++) {
        if (i % 3 == 0)
            machine_detach(space, VIEW_A, VIEW_A + ptoa(1));
        assert_int_equal(machine_attach(space, VIEW_A, VIEW_A + ptoa(1), VM_PROT_READ, objects[i % 2], 0,
                                        MACHINE_ATTACH_WRITENOTIFY),
                         0);
    }
    assert_int_equal(loads, 0);
    stop = true;
    attach(VIEW_A, 1, VM_PROT_READ, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, 1, 1);
    map(VIEW_A, 0, 1, VM_PROT_READ, 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    release(0, 1);
    machine_object_fini(objects[1]);
    finish();
}

/* ---- windows and bounce buffers ----------------------------------------------------------------------- */

static void bytes_outlive_the_buffers(void **state)
{
    (void)state;
    void *addr[MACHINE_RUN_MAX];

    start(64 * VM_PAGE_SIZE);
    for (vm_pindex_t i = 0; i < 512; i += 16)
        fill(i, 16, 3); /* eight times what the pool holds; nothing is mapped */
    for (vm_pindex_t i = 0; i < 512; i += 32) {
        struct machine_run run = run_of(i, 32);
        assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_READ, false, addr), 0);
        for (uint32_t k = 0; k < 32; k++)
            assert_page(addr[k], i + k, 3);
        machine_window_put(&run, MACHINE_WINDOW_READ, addr, true);
    }
    release(0, 256);
    release(256, 256);
    assert_true(linux_buffer_peak_bytes() <= 64 * VM_PAGE_SIZE);
    finish();
}

static void a_page_filled_twice_has_the_later_bytes(void **state)
{
    (void)state;
    void *addr;

    start(64 * VM_PAGE_SIZE);
    attach(VIEW_A, 16, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    /* after each of the two fills, its bytes are in a slot or in the memfd */
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned value = 5; value < 7; value++) {
            fill(0, 1, value);
            if ((round & 1u << (value - 5)) != 0)
                drain_buffers();
        }
        struct machine_run run = run_of(0, 1);
        assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_READ, false, &addr), 0);
        assert_page(addr, 0, 6);
        machine_window_put(&run, MACHINE_WINDOW_READ, &addr, true);
        assert_page((void *)VIEW_A, 0, 6);
        drain_buffers();
        assert_page((void *)VIEW_A, 0, 6);
        release(0, 1);
    }
    finish();
}

static void windows_have_their_limits(void **state)
{
    (void)state;
    void *ahead[8][8], *one, *wide[32];

    start(64 * VM_PAGE_SIZE);
    struct machine_run big = run_of(0, 33);
    assert_int_equal(machine_window_get(&big, MACHINE_WINDOW_FILL, false, wide), -ENOMEM);
    unsigned n = 0;
    int error = 0;
    for (; n < 8; n++) {
        struct machine_run run = run_of(n * 8, 8);
        error = machine_window_get(&run, MACHINE_WINDOW_FILL, true, ahead[n]);
        if (error != 0)
            break;
    }
    assert_int_equal(error, -EAGAIN);
    assert_in_range(n, 2, 4);
    big.npages = 32; /* the largest request that may wait does not have to */
    assert_int_equal(machine_window_get(&big, MACHINE_WINDOW_FILL, false, wide), 0);
    for (uint32_t i = 1; i < 32; i++)
        assert_ptr_equal(wide[i], (char *)wide[0] + ptoa(i));
    struct machine_run single = run_of(100, 1);
    assert_int_equal(machine_window_get(&single, MACHINE_WINDOW_FILL, false, &one), 0);
    machine_window_put(&single, MACHINE_WINDOW_FILL, &one, false);
    machine_window_put(&big, MACHINE_WINDOW_FILL, wide, false);
    while (n-- > 0) {
        struct machine_run run = run_of(n * 8, 8);
        machine_window_put(&run, MACHINE_WINDOW_FILL, ahead[n], false);
    }
    finish();
}

/* Takes windows of one page without waiting until there are no more. Returns how many. */
static unsigned take_all(enum machine_window how, vm_pindex_t start, void **addr)
{
    unsigned n = 0;
    int error;

    for (;; n++) {
        struct machine_run run = run_of(start + n, 1);
        error = machine_window_get(&run, how, true, &addr[n]);
        if (error != 0)
            break;
    }
    assert_int_equal(error, -EAGAIN);
    return n;
}

static void give_back(enum machine_window how, vm_pindex_t start, void **addr, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct machine_run run = run_of(start + i, 1);
        machine_window_put(&run, how, &addr[i], false);
    }
}

/*
 * Asynchronous write-back leaves some slots for read-ahead, and both leave the larger half for callers that
 * wait. Pages in write-back can be read meanwhile.
 */
static void write_back_leaves_windows_for_others(void **state)
{
    (void)state;
    void *behind[64], *ahead[64], *wide[32];
    uint8_t bytes[VM_PAGE_SIZE];
    size_t done;

    start(64 * VM_PAGE_SIZE);
    for (vm_pindex_t i = 0; i < 128; i += 16)
        fill(i, 16, 2);
    /* also windows of pages whose bytes are in slots */
    unsigned nbehind = take_all(MACHINE_WINDOW_READ, 64, behind);
    assert_in_range(nbehind, 15, 20);
    unsigned nahead = take_all(MACHINE_WINDOW_FILL, 200, ahead);
    assert_in_range(nbehind + nahead, 28, 31);
    for (unsigned i = 0; i < nbehind; i++) {
        struct machine_run run = run_of(64 + i, 1);
        assert_page(behind[i], 64 + i, 2);
        assert_int_equal(machine_copyout(&run, 0, bytes, VM_PAGE_SIZE, &done), 0);
        assert_page(bytes, 64 + i, 2);
    }
    struct machine_run big = run_of(0, 32), same = run_of(64, 1);
    assert_int_equal(machine_window_get(&big, MACHINE_WINDOW_READ, false, wide), 0);
    for (uint32_t i = 0; i < 32; i++)
        assert_page(wide[i], i, 2);
    assert_int_equal(machine_window_get(&same, MACHINE_WINDOW_READ, false, ahead + nahead), 0);
    machine_window_put(&same, MACHINE_WINDOW_READ, ahead + nahead, true);
    machine_window_put(&big, MACHINE_WINDOW_READ, wide, true);
    give_back(MACHINE_WINDOW_FILL, 200, ahead, nahead);
    give_back(MACHINE_WINDOW_READ, 64, behind, nbehind);
    assert_int_equal(take_all(MACHINE_WINDOW_FILL, 200, ahead), nbehind + nahead);
    give_back(MACHINE_WINDOW_FILL, 200, ahead, nbehind + nahead);
    big.npages = 30; /* more than the share of such windows: it can never succeed */
    assert_int_equal(machine_window_get(&big, MACHINE_WINDOW_READ, true, wide), -ENOMEM);
    release(0, 128);
    finish();
}

#define NCOPIERS 15 /* of 16 slots, one is only for second windows */

static pthread_barrier_t all_have_one;

/*
 * Each thread has the window of one page, all slots but one are taken, and
 * all ask for a second window: none may wait for ever.
 */
static void *copy_pages(void *arg)
{
    vm_pindex_t pindex = (vm_pindex_t)arg;

    for (int i = 0; i < 60; i++) {
        struct machine_run from = run_of(pindex, 1), to = run_of(pindex + 512, 1);
        void *src, *dst;
        if (machine_window_get(&from, MACHINE_WINDOW_READ, false, &src) != 0)
            abort();
        (void)pthread_barrier_wait(&all_have_one);
        if (machine_window_get(&to, MACHINE_WINDOW_FILL, false, &dst) != 0)
            abort();
        memcpy(dst, src, VM_PAGE_SIZE);
        machine_window_put(&to, MACHINE_WINDOW_FILL, &dst, true);
        machine_window_put(&from, MACHINE_WINDOW_READ, &src, true);
    }
    return NULL;
}

static void copies_do_not_wait_for_each_other(void **state)
{
    (void)state;
    pthread_t thread[NCOPIERS];
    void *addr;

    start(16 * VM_PAGE_SIZE);
    assert_int_equal(pthread_barrier_init(&all_have_one, NULL, NCOPIERS), 0);
    for (vm_pindex_t i = 0; i < NCOPIERS; i++)
        fill(i, 1, 4);
    for (vm_pindex_t i = 0; i < NCOPIERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, copy_pages, (void *)i), 0);
    for (vm_pindex_t i = 0; i < NCOPIERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        struct machine_run run = run_of(i + 512, 1);
        assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_READ, false, &addr), 0);
        assert_page(addr, i, 4);
        machine_window_put(&run, MACHINE_WINDOW_READ, &addr, true);
    }
    release(0, NCOPIERS);
    release(512, NCOPIERS);
    finish();
}

/* ---- everything, at random, beside plain arrays ------------------------------------------------------- */

#define MODEL_PAGES 96

static struct {
    bool filled;
    unsigned value;
} model[MODEL_PAGES];

static void random_window(unsigned *seed, vm_pindex_t pindex, uint32_t npages)
{
    struct machine_run run = run_of(pindex, npages);
    enum machine_window how = rand_r(seed) % 2 == 0 ? MACHINE_WINDOW_READ : MACHINE_WINDOW_EDIT;
    void *addr[MODEL_PAGES];

    for (uint32_t i = 0; i < npages; i++) {
        if (!model[pindex + i].filled)
            return;
    }
    assert_int_equal(machine_window_get(&run, how, false, addr), 0);
    for (uint32_t i = 0; i < npages; i++) {
        assert_page(addr[i], pindex + i, model[pindex + i].value);
        if (how == MACHINE_WINDOW_EDIT)
            page_bytes(addr[i], pindex + i, ++model[pindex + i].value);
    }
    machine_window_put(&run, how, addr, true);
}

static void random_access(unsigned *seed, vm_pindex_t pindex)
{
    vm_offset_t va = (rand_r(seed) % 2 == 0 ? VIEW_A : VIEW_B) + ptoa(pindex);

    if (!model[pindex].filled) {
        assert_true(load_faults(va));
    } else if (rand_r(seed) % 2 == 0) {
        assert_page((void *)va, pindex, model[pindex].value);
    } else {
        page_bytes((void *)va, pindex, ++model[pindex].value);
    }
}

static void random_step(unsigned *seed)
{
    vm_pindex_t pindex = (vm_pindex_t)rand_r(seed) % MODEL_PAGES;
    uint32_t npages = 1 + (uint32_t)rand_r(seed) % 12, n = 0;
    vm_offset_t view = rand_r(seed) % 2 == 0 ? VIEW_A : VIEW_B;

    npages = npages < MODEL_PAGES - pindex ? npages : (uint32_t)(MODEL_PAGES - pindex);
    switch (rand_r(seed) % 8) {
    case 0:
        while (n < npages && !model[pindex + n].filled)
            n++;
        if (n > 0) {
            fill(pindex, n, 1);
            for (uint32_t i = 0; i < n; i++) {
                model[pindex + i].filled = true;
                model[pindex + i].value = 1;
            }
        }
        break;
    case 1:
        while (n < npages && model[pindex + n].filled)
            n++;
        if (n > 0)
            map(view, pindex, n, rand_r(seed) % 2 == 0 ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE,
                MACHINE_MAP_DIRTY | (rand_r(seed) % 2 == 0 ? MACHINE_MAP_QUICK : 0));
        break;
    case 2:
        machine_wrprotect(space, view + ptoa(pindex), view + ptoa(pindex + npages));
        break;
    case 3:
        machine_unmap(space, view + ptoa(pindex), view + ptoa(pindex + npages), 0, NULL);
        machine_sync(space);
        break;
    case 4:
        random_window(seed, pindex, npages);
        break;
    case 5:
        if (rand_r(seed) % 2 == 0) {
            release(pindex, npages);
            for (uint32_t i = 0; i < npages; i++)
                model[pindex + i].filled = false;
        }
        break;
    default:
        random_access(seed, pindex);
        break;
    }
}

static void random_steps_match_arrays(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);

    printf("seed %u\n", seed);
    start(32 * VM_PAGE_SIZE);
    memset(model, 0, sizeof(model));
    attach(VIEW_A, MODEL_PAGES, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    attach(VIEW_B, MODEL_PAGES, VM_PROT_READ | VM_PROT_WRITE, MACHINE_ATTACH_WRITENOTIFY);
    for (int i = 0; i < 60000; i++)
        random_step(&seed);
    release(0, MODEL_PAGES);
    finish();
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_filled_run_is_mapped_at_once_and_seen_by_every_view),
        TEST(a_clean_page_faults_on_its_first_store_and_after_each_wrprotect),
        TEST(a_released_page_is_gone_from_every_view_and_comes_back_anew),
        TEST(rights_follow_protect),
        TEST(a_child_reads_no_zeros),
        TEST(scattered_pages_cost_no_areas),
        TEST(the_limit_on_areas_is_an_error),
        TEST(no_moment_shows_a_hole_while_a_view_changes),
        TEST(bytes_outlive_the_buffers),
        TEST(a_page_filled_twice_has_the_later_bytes),
        TEST(windows_have_their_limits),
        TEST(write_back_leaves_windows_for_others),
        TEST(copies_do_not_wait_for_each_other),
        TEST(random_steps_match_arrays),
    };
    (void)alarm(120); /* so that a lost wake-up ends the test */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
