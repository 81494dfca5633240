/*
 * flusher_thread_test.c: the flusher's thread: dirty pages reach a real file without an fsync or msync.
 *
 * By age: a VM of the test's own, in which pages expire soon. By share of
 * memory: the library as programs use it.
 */
#include "linux_machine.h"

#include <faultline/faultline.h>
#include <faultline/vm.h>
#include <faultline/store.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define FILE_PAGES 1024
#define NFRAMES    1024
#define BUFFERS    ((size_t)256 << 10)
#define EXPIRE_MS  100
#define PATIENCE   500 /* looks, 10 ms apart */

static char path[] = "flusher_thread_test.XXXXXX";

static int make_file(void)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)ptoa(FILE_PAGES)), 0);
    return fd;
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* How many of the file's pages begin with a byte other than zero. */
static uint32_t pages_on_disk(int fd)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < FILE_PAGES; i++) {
        char byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)ptoa(i)), 1);
        n += byte != 0;
    }
    return n;
}

static bool appears_on_disk(int fd, uint32_t npages)
{
    for (uint32_t look = 0; look < PATIENCE; look++) {
        if (pages_on_disk(fd) >= npages)
            return true;
        sleep_ms(10);
    }
    return false;
}

/* Boots a VM over the machine linux, and maps the file in it. */
static struct vm_map *boot(int fd, struct vnode **vnode, volatile char **at)
{
    struct linux_machine_params machine = {
        .nframes = NFRAMES, .buffer_len_bytes = BUFFERS, .own_signal = true};
    struct fl_vm_params params = {
        .meta_len_bytes = fl_vm_meta_size(NFRAMES, 1000),
        .nframes = NFRAMES,
        .dirty_expire_ns = EXPIRE_MS * UINT64_C(1000000),
    };
    struct vm_map *map;
    struct store *store;
    if (linux_machine_init(&machine, params.meta_len_bytes, &params.meta) != 0)
        fail_msg("%s", linux_machine_error());
    assert_int_equal(fl_vm_boot(&params), 0);
    assert_int_equal(fl_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &map), 0);
    assert_int_equal(linux_machine_start(map), 0);
    assert_int_equal(fl_store_file(fd, &store), 0);
    assert_int_equal(fl_vnode_open(store, vnode), 0);
    struct fl_file file = {.vnode = *vnode, .mode = FL_FREAD | FL_FWRITE};
    int64_t va = fl_sys_mmap(map, 0, ptoa(FILE_PAGES), PROT_READ | PROT_WRITE, FL_MAP_SHARED, &file, 0);
    assert_true(va > 0);
    *at = (volatile char *)va;
    return map;
}

static void what_is_old_is_written(void **state)
{
    (void)state;
    struct vnode *vnode;
    volatile char *at;
    int fd = make_file();
    struct vm_map *map = boot(fd, &vnode, &at);
    /* the flusher sleeps in between, while no page is dirty */
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < 20 * round; i++)
            at[ptoa(i * 7)] = 'a';
        assert_true(appears_on_disk(fd, 20 * round));
    }
    struct fl_vm_stats stats;
    sleep_ms(4 * EXPIRE_MS);
    fl_vm_stats(&stats);
    assert_int_equal(stats.dirty, 0);
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(vnode), 0);
    fl_vm_stop();
    linux_machine_fini();
    fl_vm_halt();
    close(fd);
    unlink(path);
}

static void what_is_too_much_is_written(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = (size_t)8 << 20};
    struct fl_file *file;
    struct fl_stats stats;
    void *addr = NULL;
    int fd = make_file();
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&addr, ptoa(FILE_PAGES), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    volatile char *at = addr;
    for (uint32_t i = 0; i < FILE_PAGES; i++) /* of 1792 pages, the flusher leaves a tenth */
        at[ptoa(i * 77 % FILE_PAGES)] = 'a';
    assert_true(appears_on_disk(fd, FILE_PAGES - 1792 / 10));
    fl_stats(&stats);
    assert_true(stats.vm.dirty <= 1792 / 10);
    assert_int_equal(fl_shutdown(), 0);
    assert_int_equal(pages_on_disk(fd), FILE_PAGES);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_old_is_written),
        cmocka_unit_test(what_is_too_much_is_written),
    };
    return cmocka_run_group_tests_name("flusher_thread", tests, NULL, NULL);
}
