/*
 * vnode_test.c: vnodes: one for each file, their lifetime, and files that change their length.
 */
#include "file/vnode_pager.h"
#include "lib/errno.h"
#include "support/boot.h"
#include "support/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RW      (FL_FREAD | FL_FWRITE)
#define PROT_RW (VM_PROT_READ | VM_PROT_WRITE)

static struct sim_disk *make_disk(uint64_t len_bytes, uint64_t seed)
{
    struct sim_disk *disk = sim_disk_create(len_bytes, seed);
    test_fill(disk);
    return disk;
}

static void unmap(struct vm_map *map, vm_offset_t va, vm_pindex_t npages)
{
    assert_int_equal(fl_sys_munmap(map, va, ptoa(npages)), 0);
}

static uint8_t disk_byte(struct sim_disk *disk, uint64_t offset)
{
    uint8_t byte;
    sim_disk_read(disk, offset, &byte, 1);
    return byte;
}

/* ---- identity ------------------------------------------------------------------------------------------ */

static void one_file_is_one_vnode(void **state)
{
    (void)state;
    struct sim_params params = test_params(1);
    struct sim_disk *disk = make_disk(ptoa(8), 1), *other = make_disk(ptoa(8), 2);
    test_boot(&params);
    struct fl_file a = test_file(disk, RW), b = test_file(disk, RW), c = test_file(other, RW);
    assert_ptr_equal(a.vnode, b.vnode);
    assert_ptr_not_equal(a.vnode, c.vnode);
    struct vm_object *object = test_object(a.vnode), *same = test_object(b.vnode);
    assert_ptr_equal(object, same);
    assert_int_equal(object->size, 8);
    vm_object_deallocate(object);
    vm_object_deallocate(same);
    assert_int_equal(fl_vnode_close(a.vnode), 0);
    assert_int_equal(fl_vnode_close(b.vnode), 0);
    assert_int_equal(fl_vnode_close(c.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
    sim_disk_destroy(other);
}

static void a_store_without_a_key_is_only_itself(void **state)
{
    (void)state;
    struct sim_params params = test_params(2);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    struct vnode *a, *b;
    test_boot(&params);
    struct store *one = sim_disk_open(disk, false), *two = sim_disk_open(disk, false);
    memset(one->key, 0, sizeof one->key);
    memset(two->key, 0, sizeof two->key);
    assert_int_equal(fl_vnode_open(one, &a), 0);
    assert_int_equal(fl_vnode_open(two, &b), 0);
    assert_ptr_not_equal(a, b);
    assert_int_equal(fl_vnode_close(a), 0);
    assert_int_equal(fl_vnode_close(b), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void a_failed_open_leaves_the_store_to_its_owner(void **state)
{
    (void)state;
    struct sim_params params = test_params(3);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    struct vnode *vnode;
    test_boot(&params);
    struct store *store = sim_disk_open(disk, false);
    sim_torture()->fail_alloc_nth = 1;
    assert_int_equal(fl_vnode_open(store, &vnode), -ENOMEM);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_vnode_open(store, &vnode), -EIO);
    assert_int_equal(fl_vnode_open(store, &vnode), 0);
    sim_torture()->fail_alloc_nth = 1;
    assert_null(vnode_pager_alloc(vnode, 0));
    sim_torture()->fail_map_nth = 1;
    assert_null(vnode_pager_alloc(vnode, 0));
    assert_int_equal(fl_vnode_close(vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void a_later_writer_brings_the_right_to_write(void **state)
{
    (void)state;
    struct sim_params params = test_params(4);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    test_boot(&params);
    struct fl_file reader = test_file(disk, FL_FREAD), writer = test_file(disk, RW),
                   third = test_file(disk, RW);
    assert_ptr_equal(reader.vnode, writer.vnode);
    struct vm_map *map = test_space();
    vm_offset_t va = test_mmap(map, &writer, FL_MAP_SHARED, 8);
    test_store8(map, va + 5000, 0x5a);
    assert_int_equal(fl_sys_msync(map, va, ptoa(8), FL_MS_SYNC), 0);
    assert_int_equal(disk_byte(disk, 5000), 0x5a);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(reader.vnode), 0);
    assert_int_equal(fl_vnode_close(writer.vnode), 0);
    assert_int_equal(fl_vnode_close(third.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void a_mapping_keeps_the_file(void **state)
{
    (void)state;
    struct sim_params params = test_params(5);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    test_boot(&params);
    struct fl_file file = test_file(disk, RW);
    struct vm_map *map = test_space();
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 8),
                private = test_mmap(map, &file, FL_MAP_PRIVATE, 8);
    test_store8(map, private, 1); /* creates a shadow object */
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    assert_int_equal(test_load8(map, va + 9000), test_byte(9000));
    test_store8(map, va + 9000, 0x11);
    unmap(map, va, 8);
    assert_int_equal(disk_byte(disk, 9000), test_byte(9000)); /* the private mapping still needs it */
    assert_int_equal(test_load8(map, private + 9000), 0x11);
    unmap(map, private, 8);
    assert_int_equal(disk_byte(disk, 9000), 0x11);
    fl_space_destroy(map);
    sim_shutdown(); /* panics if a store was left */
    sim_disk_destroy(disk);
}

static void a_lost_write_is_told_by_the_last_close(void **state)
{
    (void)state;
    struct sim_params params = test_params(6);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    test_boot(&params);
    struct fl_file file = test_file(disk, RW);
    struct vm_map *map = test_space();
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 8);
    test_store8(map, va, 1);
    fl_space_destroy(map);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    sim_disk_faults(disk)->error = -ENOSPC;
    assert_int_equal(fl_vnode_close(file.vnode), -ENOSPC);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static struct sim_disk *slow;

static void close_slowly(void *arg)
{
    assert_int_equal(fl_vnode_close(arg), 0);
}

static void an_opener_waits_for_the_one_that_ends(void **state)
{
    (void)state;
    struct sim_params params = test_params(7);
    slow = make_disk(ptoa(8), 1);
    sim_disk_faults(slow)->latency_min_ns = sim_disk_faults(slow)->latency_max_ns = 50000000;
    test_boot(&params);
    struct fl_file file = test_file(slow, RW);
    struct vm_object *object = test_object(file.vnode);
    test_page(object, 3, 0x33, PG_DIRTY);
    vm_object_deallocate(object);
    sim_run("close", close_slowly, file.vnode);
    sim_sleep_ns(1000000);
    assert_int_equal(sim_disk_counts(slow).in_flight, 1); /* it is in write-back */
    struct fl_file again = test_file(slow, RW);
    assert_int_equal(disk_byte(slow, ptoa(3)), 0x33);
    struct vm_map *map = test_space();
    assert_int_equal(test_load8(map, test_mmap(map, &again, FL_MAP_SHARED, 8) + ptoa(3)), 0x33);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(again.vnode), 0);
    sim_join_all();
    sim_shutdown();
    sim_disk_destroy(slow);
}

static void open_and_write(void *arg)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)(uintptr_t)arg);
    struct vm_map *map = test_space();
    for (uint32_t i = 0; i < 25; i++) {
        struct fl_file file = test_file(slow, prng_chance(&prng, 300) ? FL_FREAD : RW);
        vm_offset_t va = test_mmap(map, &file, file.mode == RW ? FL_MAP_SHARED : FL_MAP_PRIVATE, 8);
        uint64_t old, at = va + ptoa((uintptr_t)arg); /* this fiber's own page */
        bool first = prng_chance(&prng, 500);         /* close, then unmap; or the other way round */
        if (first)
            assert_int_equal(fl_vnode_close(file.vnode), 0);
        if (file.mode == RW)
            assert_int_equal(sim_fetch_add(map, at, 1, &old), 0);
        unmap(map, va, 8);
        if (!first)
            assert_int_equal(fl_vnode_close(file.vnode), 0);
    }
    fl_space_destroy(map);
}

static void many_open_write_and_close(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(8));
    for (uint64_t round = 0; round < test_rounds(8); round++) {
        struct sim_params params = test_params_hostile(prng_next(&prng));
        slow = sim_disk_create(ptoa(8), 1);
        test_boot(&params);
        for (uintptr_t i = 1; i < 6; i++)
            sim_run("opener", open_and_write, (void *)i);
        sim_join_all();
        sim_shutdown();
        for (uint64_t i = 1; i < 6; i++) {
            uint64_t sum, expected = 0;
            struct prng replay;
            prng_init(&replay, i);
            for (uint32_t n = 0; n < 25; n++) {
                expected += !prng_chance(&replay, 300);
                prng_chance(&replay, 500);
            }
            sim_disk_read(slow, ptoa(i), &sum, sizeof sum);
            assert_int_equal(sum, expected);
        }
        sim_disk_destroy(slow);
    }
}

/* ---- length -------------------------------------------------------------------------------------------- */

static int load(struct vm_map *map, vm_offset_t va, uint8_t *byte)
{
    return sim_load(map, va, byte, 1, NULL);
}

static void a_shorter_file(void **state)
{
    (void)state;
    uint8_t byte;
    struct sim_params params = test_params(9);
    struct sim_disk *disk = make_disk(ptoa(8), 1);
    test_boot(&params);
    struct fl_file file = test_file(disk, RW);
    struct vm_map *map = test_space();
    vm_offset_t shared = test_mmap(map, &file, FL_MAP_SHARED, 8),
                private = test_mmap(map, &file, FL_MAP_PRIVATE, 8);
    for (vm_pindex_t i = 0; i < 8; i++)
        test_store8(map, shared + ptoa(i) + 100, 0x20);
    test_store8(map, private + ptoa(2), 0x30);
    test_store8(map, private + ptoa(6), 0x30);
    assert_int_equal(test_load8(map, private + ptoa(3) + 100), 0x20);

    sim_disk_truncate(disk, ptoa(3) + 50);
    assert_int_equal(fl_vnode_setsize(file.vnode), 0);
    sim_vm_check();
    assert_int_equal(test_load8(map, shared + ptoa(3) + 49), test_byte(ptoa(3) + 49));
    assert_int_equal(test_load8(map, shared + ptoa(3) + 50), 0); /* the tail reads as zero */
    assert_int_equal(test_load8(map, shared + ptoa(3) + 100), 0);
    assert_int_equal(test_load8(map, private + ptoa(3) + 100), 0);
    assert_int_equal(load(map, shared + ptoa(4), &byte), -ENXIO);
    /* a private copy has no store to read from */
    assert_int_equal(load(map, private + ptoa(6), &byte), -ENXIO);
    assert_int_equal(test_load8(map, private + ptoa(2)), 0x30);

    sim_disk_truncate(disk, ptoa(8));
    assert_int_equal(test_load8(map, shared + ptoa(6)), 0); /* the fault asks how long it is now */
    assert_int_equal(test_load8(map, private + ptoa(6)), 0);
    assert_int_equal(test_load8(map, shared + ptoa(3) + 100), 0);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    assert_int_equal(disk_byte(disk, ptoa(3) + 100), 0);
    assert_int_equal(disk_byte(disk, ptoa(2) + 100), 0x20);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void a_longer_file(void **state)
{
    (void)state;
    uint8_t byte, tail[64];
    struct sim_params params = test_params(10);
    struct sim_disk *disk = make_disk(ptoa(2) + 1000, 1);
    test_boot(&params);
    struct fl_file file = test_file(disk, RW);
    struct vm_map *map = test_space();
    vm_offset_t shared = test_mmap(map, &file, FL_MAP_SHARED, 8),
                private = test_mmap(map, &file, FL_MAP_PRIVATE, 8);
    assert_int_equal(test_load8(map, shared + ptoa(2) + 1000), 0);
    assert_int_equal(test_load8(map, private + ptoa(2) + 1000), 0);
    assert_int_equal(load(map, shared + ptoa(3), &byte), -ENXIO);
    memset(tail, 0x44, sizeof tail);
    sim_disk_write(disk, ptoa(2) + 1000, tail, sizeof tail); /* appended to, behind the VM's back */
    assert_int_equal(fl_vnode_setsize(file.vnode), 0);
    assert_int_equal(test_load8(map, shared + ptoa(2) + 1000), 0x44);
    assert_int_equal(test_load8(map, private + ptoa(2) + 1000), 0x44);
    sim_disk_truncate(disk, ptoa(4));
    assert_int_equal(load(map, shared + ptoa(3), &byte), 0);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_vnode_setsize(file.vnode), -EIO);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(load(map, shared + ptoa(7), &byte), -EIO);
    assert_int_equal(load(map, shared + ptoa(7), &byte), -ENXIO);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void free_later(void *arg)
{
    struct vm_page *m = arg;
    struct vm_object *object = m->object;
    sim_sleep_ns(1000000);
    vm_lock(&object->lock);
    vm_page_free(m);
    vm_unlock(&object->lock);
}

static void shrink_slowly(void *arg)
{
    sim_disk_truncate(slow, ptoa(4));
    assert_int_equal(fl_vnode_setsize(arg), 0);
}

/* A removal that is still running when the file grows again must not remove pages that are written then. */
static void growth_waits_for_the_shrinking_before_it(void **state)
{
    (void)state;
    struct sim_params params = test_params(12);
    slow = make_disk(ptoa(12), 1);
    test_boot(&params);
    struct fl_file file = test_file(slow, RW);
    struct vm_object *object = test_object(file.vnode);
    struct vm_page *busy = test_page_busy(object, 6);
    test_page(object, 9, 1, 0);
    sim_run("shrink", shrink_slowly, file.vnode);
    sim_sleep_ns(1000000); /* it waits for page 6 */
    sim_disk_truncate(slow, ptoa(12));
    sim_run("free page 6", free_later, busy);
    assert_int_equal(fl_vnode_setsize(file.vnode), 0);
    assert_int_equal(test_page_flags(object, 9), 0);
    test_page(object, 9, 0x99, PG_DIRTY);
    sim_join_all();
    assert_true(test_page_is(object, 9, 0x99));
    vm_object_deallocate(object);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    assert_int_equal(disk_byte(slow, ptoa(9)), 0x99);
    sim_shutdown();
    sim_disk_destroy(slow);
}

#define RESIZE_PAGES 12

struct resizer {
    struct fl_file file;
    struct prng prng;
    int flags;
};

/*
 * Touches places that may lie beyond the end at any moment. Allowed are bytes of the file, bytes that were
 * stored, zeros, or SIGBUS; nothing else, and no hang.
 */
static void touch_on(void *arg)
{
    struct resizer *r = arg;
    struct vm_map *map = test_space();
    vm_offset_t va = test_mmap(map, &r->file, r->flags, RESIZE_PAGES);
    for (uint32_t i = 0; i < 80; i++) {
        uint64_t offset = prng_below(&r->prng, ptoa(RESIZE_PAGES));
        uint8_t byte = 0xee;
        int error = prng_chance(&r->prng, 400) ? sim_store(map, va + offset, &byte, 1, NULL)
                                               : sim_load(map, va + offset, &byte, 1, NULL);
        assert_true(error == 0 || error == -ENXIO);
        if (error == 0)
            assert_true(byte == 0xee || byte == 0 || byte == test_byte(offset));
    }
    fl_space_destroy(map);
}

static void resize_on(void *arg)
{
    struct resizer *r = arg;
    for (uint32_t i = 0; i < 40; i++) {
        sim_disk_truncate(slow, prng_below(&r->prng, ptoa(RESIZE_PAGES) + 1));
        assert_int_equal(fl_vnode_setsize(r->file.vnode), 0);
        sim_sleep_ns(prng_below(&r->prng, 200000));
    }
}

static void many_resize_and_touch(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(11));
    for (uint64_t round = 0; round < test_rounds(8); round++) {
        struct resizer r[6];
        struct sim_params params = test_params_hostile(prng_next(&prng));
        slow = make_disk(ptoa(RESIZE_PAGES), 1);
        test_boot(&params);
        struct fl_file file = test_file(slow, RW);
        for (uint32_t i = 0; i < 6; i++) {
            r[i] = (struct resizer){.file = file, .flags = i % 2 ? FL_MAP_SHARED : FL_MAP_PRIVATE};
            prng_init(&r[i].prng, prng_next(&prng));
            sim_run(i < 2 ? "resize" : "touch", i < 2 ? resize_on : touch_on, &r[i]);
        }
        sim_join_all();
        sim_vm_check();
        assert_int_equal(fl_vnode_close(file.vnode), 0);
        sim_shutdown();
        sim_disk_destroy(slow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_is_one_vnode),
        cmocka_unit_test(a_store_without_a_key_is_only_itself),
        cmocka_unit_test(a_failed_open_leaves_the_store_to_its_owner),
        cmocka_unit_test(a_later_writer_brings_the_right_to_write),
        cmocka_unit_test(a_mapping_keeps_the_file),
        cmocka_unit_test(a_lost_write_is_told_by_the_last_close),
        cmocka_unit_test(an_opener_waits_for_the_one_that_ends),
        cmocka_unit_test(many_open_write_and_close),
        cmocka_unit_test(a_shorter_file),
        cmocka_unit_test(a_longer_file),
        cmocka_unit_test(growth_waits_for_the_shrinking_before_it),
        cmocka_unit_test(many_resize_and_touch),
    };
    return cmocka_run_group_tests_name("vnode", tests, NULL, NULL);
}
