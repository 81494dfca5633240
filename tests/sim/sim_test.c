/*
 * sim_test.c: the whole simulated computer with the whole core in it: several
 * programs on a file and on anonymous memory, more pages than frames, every
 * torture on; bytes are held against arrays, and one seed replays one run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/boot.h"

#define NPROGRAMS  3
#define FILE_PAGES 96
#define ANON_PAGES 6
#define NFRAMES    64

/*
 * One program: a shared mapping of which it alone writes a third, a
 * private mapping of the file, and anonymous memory.
 */
struct program {
    struct vm_map *map;
    vm_offset_t shared, private, anon;
    unsigned id;
    struct prng prng;
    uint8_t written[ptoa(FILE_PAGES)]; /* what this program's shared bytes must be */
    uint8_t copied[ptoa(FILE_PAGES)];
    bool is_copied[FILE_PAGES];
    uint8_t zeroed[ptoa(ANON_PAGES)];
};

static struct program program[NPROGRAMS];
static struct sim_disk *disk;
static struct fl_file file;

static vm_offset_t map_in(struct program *p, uint64_t npages, int flags, const struct fl_file *of)
{
    int64_t va = fl_sys_mmap(p->map, 0, ptoa(npages), VM_PROT_READ | VM_PROT_WRITE, flags, of, 0);

    assert_true(va > 0);
    return (vm_offset_t)va;
}

static void access_shared(struct program *p)
{
    uint64_t pindex = prng_below(&p->prng, FILE_PAGES / NPROGRAMS) * NPROGRAMS + p->id;
    uint64_t byte = ptoa(pindex) + prng_below(&p->prng, VM_PAGE_SIZE - 8);
    uint8_t buf[8];

    if (prng_chance(&p->prng, 500)) {
        assert_int_equal(sim_load(p->map, p->shared + byte, buf, sizeof(buf), NULL), 0);
        assert_memory_equal(buf, p->written + byte, sizeof(buf));
    } else {
        for (size_t i = 0; i < sizeof(buf); i++)
            buf[i] = p->written[byte + i] = (uint8_t)prng_next(&p->prng);
        assert_int_equal(sim_store(p->map, p->shared + byte, buf, sizeof(buf), NULL), 0);
    }
}

/* Only a few pages are ever copied, because without swap they stay in memory. */
static void access_private(struct program *p)
{
    uint64_t pindex = prng_below(&p->prng, 4) * NPROGRAMS;
    uint64_t byte = ptoa(pindex) + prng_below(&p->prng, VM_PAGE_SIZE);
    uint8_t value = (uint8_t)prng_next(&p->prng);

    if (!p->is_copied
             [pindex]) { /* the first store makes the copy: it holds a value that the file had until then */
        p->is_copied[pindex] = true;
        test_store8(p->map, p->private + byte, value);
        assert_int_equal(
            sim_load(p->map, p->private + ptoa(pindex), p->copied + ptoa(pindex), VM_PAGE_SIZE, NULL), 0);
        assert_int_equal(p->copied[byte], value);
    } else if (prng_chance(&p->prng, 500)) {
        assert_int_equal(test_load8(p->map, p->private + byte), p->copied[byte]);
    } else {
        test_store8(p->map, p->private + byte, value);
        p->copied[byte] = value;
    }
}

static void access_anon(struct program *p)
{
    uint64_t byte = prng_below(&p->prng, ptoa(ANON_PAGES));

    if (prng_chance(&p->prng, 500)) {
        assert_int_equal(test_load8(p->map, p->anon + byte), p->zeroed[byte]);
    } else {
        p->zeroed[byte] = (uint8_t)prng_next(&p->prng);
        test_store8(p->map, p->anon + byte, p->zeroed[byte]);
    }
}

static void program_main(void *arg)
{
    struct program *p = arg;

    for (uint64_t round = test_rounds(400); round > 0; round--) {
        switch (prng_below(&p->prng, 8)) {
        case 0:
        case 1:
        case 2:
        case 3:
            access_shared(p);
            break;
        case 4:
            access_private(p);
            break;
        case 5:
        case 6:
            access_anon(p);
            break;
        default:
            if (prng_chance(&p->prng, 100))
                assert_int_equal(fl_sys_msync(p->map, p->shared, ptoa(FILE_PAGES), FL_MS_SYNC), 0);
        }
    }
}

static void programs_start(uint64_t seed)
{
    for (unsigned i = 0; i < NPROGRAMS; i++) {
        struct program *p = &program[i];

        memset(p, 0, sizeof(*p));
        p->id = i;
        prng_init(&p->prng, seed + i);
        p->map = test_space();
        p->shared = map_in(p, FILE_PAGES, FL_MAP_SHARED, &file);
        p->private = map_in(p, FILE_PAGES, FL_MAP_PRIVATE, &file);
        p->anon = map_in(p, ANON_PAGES, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL);
        sim_disk_read(disk, 0, p->written, sizeof(p->written));
    }
    for (unsigned i = 0; i < NPROGRAMS; i++)
        sim_run("program", program_main, &program[i]);
}

/* The file, once everything is closed, holds what each program wrote to its pages. */
static void compare_file(void)
{
    static uint8_t page[VM_PAGE_SIZE];

    for (uint64_t pindex = 0; pindex < FILE_PAGES; pindex++) {
        sim_disk_read(disk, ptoa(pindex), page, sizeof(page));
        assert_memory_equal(page, program[pindex % NPROGRAMS].written + ptoa(pindex), sizeof(page));
    }
}

static uint64_t run_once(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);

    params.nframes = NFRAMES;
    disk = sim_disk_create(ptoa(FILE_PAGES), seed);
    test_fill(disk);
    test_boot(&params);
    file = test_file(disk, FL_FREAD | FL_FWRITE);
    programs_start(seed);
    sim_join_all();
    for (unsigned i = 0; i < NPROGRAMS; i++)
        fl_space_destroy(program[i].map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    uint64_t hash = sim_hash();
    sim_shutdown();
    compare_file();
    sim_disk_destroy(disk);
    return hash;
}

static void test_hostile_programs(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);

    for (uint64_t i = 0; i < 10; i++)
        (void)run_once(seed + i);
}

static void test_one_seed_one_run(void **state)
{
    (void)state;
    uint64_t seed = test_seed(20);

    assert_true(run_once(seed) == run_once(seed));
    assert_true(run_once(seed) != run_once(seed + 1));
}

/*
 * Boot fails at each of its allocations in turn, and leaves nothing behind
 * that would keep the next boot from working.
 */
static void test_boot_fails(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(2));
    uint32_t failed = 0;

    for (uint32_t nth = 1;; nth++) {
        params.torture.fail_alloc_nth = nth;
        int error = sim_boot(&params);

        if (error == 0)
            break;
        assert_int_equal(error, -ENOMEM);
        failed++;
    }
    sim_torture()->fail_alloc_nth = 0;
    sim_shutdown();
    assert_true(failed > 0);
    params.torture.fail_alloc_nth = 0;
    params.meta_len_bytes = VM_PAGE_SIZE;
    assert_int_equal(sim_boot(&params), -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_programs),
        cmocka_unit_test(test_one_seed_one_run),
        cmocka_unit_test(test_boot_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
