/*
 * rmap_test.c: reverse mapping against a scan of everything: three spaces map parts of two files and of one
 * shared memory, directly and through shadow objects. What it unmaps, write-protects or finds must be what a
 * scan of every page of every space finds, and nothing else.
 */
#include "vm/vm_rmap.h"
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "support/seed.h"
#include "vm/vm_pager.h"
#include "file/vnode_pager.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NSPACES 3
#define NPAGES  40 /* of a space */
#define NFILE   24 /* of a file */
#define BASE    ((vm_offset_t)0x100000)
#define VA(p)   (BASE + ptoa(p))

static struct vm_map *space[NSPACES];
static struct sim_disk *disk[2];
static struct fl_file file[2];
static struct prng prng;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)prng_below(&prng, bound);
}

/* ---- the scan ---------------------------------------------------------------------------------------- */

/*
 * Whether page p of space s may show a page of the object in [start, end). *direct: the object is the
 * mapping's own, and not below a shadow object, through which only some machines show it.
 */
static bool shows(uint32_t s, uint32_t p, const struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                  bool *direct)
{
    struct vm_map_entry *entry;
    const struct vm_object *level;
    vm_pindex_t pindex;

    if (!vm_map_lookup_entry(space[s], VA(p), &entry) || entry->object == NULL)
        return false;
    pindex = vm_map_entry_pindex(entry, VA(p));
    for (level = entry->object; level != NULL && level != object; level = level->backing_object) {
        if (sim_torture()->copy_first)
            return false;
        pindex += level->backing_pindex;
    }
    *direct = level == entry->object;
    return level != NULL && pindex >= start && pindex < end;
}

static unsigned query(uint32_t s, uint32_t p)
{
    return machine_query(fl_space_machine(space[s]), VA(p));
}

/* Every page of every space, as the machine maps it. */
static void scan(unsigned seen[NSPACES][NPAGES])
{
    for (uint32_t s = 0; s < NSPACES; s++)
        for (uint32_t p = 0; p < NPAGES; p++)
            seen[s][p] = query(s, p);
}

/* ---- random mappings --------------------------------------------------------------------------------- */

static void step_map(void)
{
    uint32_t s = below(NSPACES), p = below(NPAGES), n = 1 + below(10);
    int flags = FL_MAP_FIXED | (below(2) ? FL_MAP_SHARED : FL_MAP_PRIVATE);
    int prot = below(3) ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ;

    if (p + n > NPAGES)
        n = NPAGES - p;
    int64_t got = fl_sys_mmap(space[s], VA(p), ptoa(n), prot, flags, &file[below(2)], ptoa(below(NFILE)));
    assert_int_equal(got, VA(p));
}

/* Splits, moves and merges. */
static void step_change(void)
{
    uint32_t s = below(NSPACES), p = below(NPAGES - 4), n = 1 + below(4);
    int64_t moved;

    switch (below(4)) {
    case 0:
        assert_int_equal(fl_sys_munmap(space[s], VA(p), ptoa(n)), 0);
        break;
    case 1:
        assert_in_range(-fl_sys_madvise(space[s], VA(p), ptoa(n), (int)below(2)), 0, ENOMEM);
        break;
    case 2:
        assert_in_range(-fl_sys_mprotect(space[s], VA(p), ptoa(n), VM_PROT_READ), 0, ENOMEM);
        break;
    default:
        moved = fl_sys_mremap(space[s], VA(p), ptoa(n), ptoa(n), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED,
                              VA(below(NPAGES - 4)));
        assert_true(moved > 0 || moved == -EINVAL || moved == -EFAULT);
    }
    vm_map_check(space[s]);
}

static void step_touch(void)
{
    for (int i = 0; i < 12; i++) {
        uint32_t s = below(NSPACES), p = below(NPAGES);
        uint8_t byte = 1;
        int error =
            below(3) ? sim_load(space[s], VA(p), &byte, 1, NULL) : sim_store(space[s], VA(p), &byte, 1, NULL);

        assert_true(error == 0 || error == -EFAULT || error == -EACCES || error == -ENXIO);
    }
}

/* ---- the three questions ----------------------------------------------------------------------------- */

/* A random file's object, with a reference. */
static struct vm_object *some_object(void)
{
    struct vm_object *object = vm_pager_allocate(OBJT_VNODE, file[below(2)].vnode, 1);

    assert_non_null(object);
    vm_rmap_check(object);
    return object;
}

static void compare_mapped(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    bool mapped = object->shadow_head != NULL, direct;

    for (uint32_t s = 0; s < NSPACES; s++)
        for (uint32_t p = 0; p < NPAGES; p++)
            mapped |= shows(s, p, object, start, end, &direct) && direct;
    assert_int_equal(vm_rmap_mapped(object, start, end), mapped);
}

static void step_act(void)
{
    struct vm_object *object = some_object();
    vm_pindex_t start = below(NFILE), end = start + 1 + below(8);
    unsigned before[NSPACES][NPAGES], after[NSPACES][NPAGES];
    bool unmap = below(2), direct;

    compare_mapped(object, start, end);
    vm_lock(&object->lock);
    scan(before);
    if (unmap)
        vm_rmap_unmap(object, start, end, 0, NULL);
    else
        vm_rmap_wrprotect(object, start, end);
    scan(after);
    vm_unlock(&object->lock);
    for (uint32_t s = 0; s < NSPACES; s++) {
        for (uint32_t p = 0; p < NPAGES; p++) {
            unsigned want = before[s][p];

            if (shows(s, p, object, start, end, &direct))
                want = unmap ? 0 : direct ? want & ~(unsigned)MACHINE_WRITABLE : want;
            assert_int_equal(after[s][p], want);
        }
    }
    vm_object_deallocate(object);
}

/* Only pages that some space maps. */
static void step_harvest(void)
{
    struct vm_object *object = some_object();
    vm_pindex_t pindex = below(NFILE);
    unsigned want = 0;
    uint8_t got = 0;
    bool direct;

    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, pindex);
    for (uint32_t s = 0; m != NULL && s < NSPACES; s++)
        for (uint32_t p = 0; p < NPAGES; p++)
            /* Through a shadow only the reference counts: the page may be the shadow's own. */
            if (shows(s, p, object, pindex, pindex + 1, &direct))
                want |= query(s, p) & (MACHINE_REFERENCED | (direct ? MACHINE_DIRTY : 0u));
    if (m != NULL) {
        vm_rmap_harvest(object, pindex, pindex + 1, MACHINE_REFERENCED, &got);
        assert_int_equal(got, want);
        got = 0;
        vm_rmap_harvest(object, pindex, pindex + 1, 0, &got);
        assert_int_equal(got, want & MACHINE_DIRTY);
    }
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
}

/* ---- runs -------------------------------------------------------------------------------------------- */

static void random_run(uint64_t seed)
{
    static void (*const steps[])(void) = {step_map, step_change, step_touch,  step_touch,
                                          step_act, step_act,    step_harvest};
    struct sim_params params = test_params(seed);

    prng_init(&prng, seed);
    params.torture.copy_first = prng_chance(&prng, 300);
    test_boot(&params);
    for (uint32_t s = 0; s < NSPACES; s++)
        assert_int_equal(fl_space_create(BASE, VA(NPAGES), &space[s]), 0);
    for (uint32_t f = 0; f < 2; f++) {
        disk[f] = sim_disk_create(ptoa(NFILE), 2 * seed + f);
        file[f] = test_file(disk[f], FL_FREAD | FL_FWRITE);
    }
    for (uint32_t i = 0; i < 1000; i++)
        steps[below(sizeof(steps) / sizeof(steps[0]))]();
    sim_vm_check();
    for (uint32_t s = 0; s < NSPACES; s++)
        fl_space_destroy(space[s]);
    for (uint32_t f = 0; f < 2; f++)
        assert_int_equal(fl_vnode_close(file[f].vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk[0]);
    sim_disk_destroy(disk[1]);
}

static void test_random(void **state)
{
    uint64_t seed = test_seed(0x71), rounds = test_rounds(12);

    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        print_message("seed %#llx\n", (unsigned long long)(seed + i));
        random_run(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("rmap", tests, NULL, NULL);
}
