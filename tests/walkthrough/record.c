/*
 * record.c: the scenarios behind docs/walkthroughs: small programs on the
 * machine sim whose function calls are recorded (trace.c).
 *
 *   walkthrough_record NAME ─▶ its scenarios, one after another, on standard output: each is a piece of the
 *                              tree of calls of one system call or fault
 *
 * Without torture, and with a fixed seed: the recording is the ordinary path, and the same each time.
 */
#include "support/boot.h"
#include "support/pages.h"
#include "trace.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE     ((uint64_t)4096)
#define FILE_LEN (64 * PAGE)

struct world {
    struct vm_map *map;
    struct sim_disk *disk;
    struct fl_file file;
};

static struct world world_make_blocks(uint32_t nframes, bool superpages, uint32_t block_bytes)
{
    struct sim_params params = test_params(1);
    params.torture = (struct sim_torture){0};
    params.no_flusher = true;
    params.nframes = nframes;
    params.superpages = superpages;
    struct world w = {.disk = sim_disk_create(FILE_LEN, 1)};
    test_fill(w.disk);
    sim_disk_set_block(w.disk, block_bytes);
    test_boot(&params);
    w.map = test_space();
    w.file = test_file(w.disk, FL_FREAD | FL_FWRITE);
    return w;
}

static struct world world_make(uint32_t nframes, bool superpages)
{
    return world_make_blocks(nframes, superpages, PAGE);
}

static void must(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: error %lld\n", what, (long long)-result);
        exit(1);
    }
}

static void world_end(struct world *w)
{
    fl_space_destroy(w->map);
    must(fl_vnode_close(w->file.vnode), "close");
    sim_shutdown();
    sim_disk_destroy(w->disk);
}

static vm_offset_t map_file(struct world *w, int prot, int flags, uint64_t npages)
{
    int64_t at = fl_sys_mmap(w->map, 0, npages * PAGE, prot, flags, &w->file, 0);
    must(at, "mmap");
    return (vm_offset_t)at;
}

static vm_offset_t map_anonymous(struct world *w, int flags, uint64_t npages)
{
    int64_t at = fl_sys_mmap(w->map, 0, npages * PAGE, VM_PROT_READ | VM_PROT_WRITE,
                             FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | flags, NULL, 0);
    must(at, "mmap");
    return (vm_offset_t)at;
}

/* ---- freebsd11-mmap ---- */

static void scenario_mmap(void)
{
    struct world w = world_make(256, false);
    trace_start("mmap of a file that nothing maps yet");
    vm_offset_t first = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 16);
    trace_stop();
    for (uint64_t i = 0; i < 16; i++)
        (void)test_load8(w.map, first + i * PAGE);
    trace_start("mmap of the same file, with a hint, while its pages are resident");
    must(fl_sys_mmap(w.map, first - FILE_LEN, 16 * PAGE, VM_PROT_READ, FL_MAP_SHARED, &w.file, 0), "mmap");
    trace_stop();
    world_end(&w);
}

/* ---- freebsd11-page-fault and freebsd21-page-fault ---- */

/* The first misses that fit no stream read one page each: a stride could begin there. */
static void miss_here_and_there(struct vm_map *map, vm_offset_t at)
{
    (void)test_load8(map, at + 50 * PAGE);
    (void)test_load8(map, at + 5 * PAGE);
    (void)test_load8(map, at + 37 * PAGE);
}

static void scenario_read(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    miss_here_and_there(w.map, at);
    trace_start("a load from a file's page that is not resident: the pager reads it with its neighbours");
    (void)test_load8(w.map, at + 20 * PAGE);
    trace_stop();
    world_end(&w);
}

static void scenario_private_write(void)
{
    struct world w = world_make(256, true);
    vm_offset_t at = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE, 8);
    (void)test_load8(w.map, at);
    trace_start("the first store to a private mapping: a shadow object, and a copy");
    test_store8(w.map, at, 1);
    trace_stop();
    world_end(&w);
}

static void scenario_zero_fill(void)
{
    struct world w = world_make(1024, true);
    vm_offset_t at = map_anonymous(&w, 0, 600);
    trace_start("a store to anonymous memory: zero fill");
    test_store8(w.map, at, 1);
    trace_stop();
    world_end(&w);
}

/* Stores to page after page from *va on, past the stretch of the reservation at big, while more() holds. */
static void store_while(struct world *w, vm_offset_t *va, vm_offset_t big, bool (*more)(void))
{
    for (; more(); *va += PAGE) {
        if (*va == big)
            *va += 512 * PAGE;
        test_store8(w->map, *va, 1);
    }
}

/* Frames are free outside the reservations. */
static bool frames_listed(void)
{
    vm_lock(&vm_phys.lock);
    uint32_t n = vm_phys_listed();
    vm_unlock(&vm_phys.lock);
    return n > 0;
}

static bool above_free_wakeup(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.free > vm_pageout.free_wakeup + 1;
}

static bool nothing_evicted(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.free > 8 && stats.evictions == 0;
}

/*
 * Memory runs short: the only free frames belong to a reservation, which is broken; the page daemon is woken.
 */
static void scenario_shortage(void)
{
    struct world w = world_make(1024, true);
    vm_offset_t file = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    for (uint64_t i = 0; i < 64; i++)
        (void)test_load8(w.map, file + i * PAGE);
    vm_offset_t at = map_anonymous(&w, 0, 2048), va = at;
    vm_offset_t big = (at + (512 * PAGE) - 1) & ~(512 * PAGE - 1);
    test_store8(w.map, big, 1); /* a reservation with one page in use */
    store_while(&w, &va, big, frames_listed);
    trace_start("a store when the only free frames are a reservation's: it is broken");
    test_store8(w.map, va, 1);
    trace_stop();
    store_while(&w, &va, big, above_free_wakeup);
    trace_start("stores until free memory runs out: the page daemon is woken, and evicts");
    store_while(&w, &va, big, nothing_evicted);
    trace_stop();
    world_end(&w);
}

struct toucher {
    struct vm_map *map;
    vm_offset_t va;
};

static void touch(void *arg)
{
    struct toucher *t = arg;
    (void)test_load8(t->map, t->va);
}

static void scenario_busy(void)
{
    struct world w = world_make(256, false);
    sim_disk_faults(w.disk)->latency_min_ns = sim_disk_faults(w.disk)->latency_max_ns = 1000000;
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 16);
    struct toucher t = {w.map, at + 3 * PAGE};
    trace_start("two threads touch one absent page: the second waits for the first one's read");
    sim_run("first", touch, &t);
    sim_run("second", touch, &t);
    sim_join_all();
    trace_stop();
    world_end(&w);
}

static void scenario_stack(void)
{
    struct world w = world_make(256, false);
    vm_offset_t top = map_anonymous(&w, FL_MAP_GROWSDOWN | FL_MAP_STACK, 4);
    trace_start("a store just below a stack: it grows");
    test_store8(w.map, top - PAGE, 1);
    trace_stop();
    world_end(&w);
}

static void scenario_wire(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_PRIVATE, 4);
    trace_start("mlock and munlock: the fault wires the page");
    must(fl_sys_mlock(w.map, at, PAGE), "mlock");
    must(fl_sys_munlock(w.map, at, PAGE), "munlock");
    trace_stop();
    world_end(&w);
}

static void scenario_read_error(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    miss_here_and_there(w.map, at);
    *sim_disk_faults(w.disk) =
        (struct sim_disk_faults){.bad_read_start = 24 * PAGE, .bad_read_end = 25 * PAGE};
    uint8_t byte;
    trace_start("a read that fails: the pages are freed again, and the program hears of it");
    int error = sim_load(w.map, at + 24 * PAGE, &byte, 1, NULL);
    trace_stop();
    if (error == 0) {
        fprintf(stderr, "the bad page was read\n");
        exit(1);
    }
    world_end(&w);
}

/* ---- linux-page-cache ---- */

static uint8_t bytes[20 * 4096];

static void read_pages(struct world *w, uint64_t page, uint64_t npages)
{
    struct fl_iovec iov = {bytes, npages * PAGE};
    must(fl_vnode_read(w->file.vnode, &iov, 1, &(struct fl_iocb){.offset = page * PAGE}), "read");
}

static void write_bytes(struct world *w, uint64_t offset, size_t len)
{
    struct fl_iovec iov = {bytes, len};
    must(fl_vnode_write(w->file.vnode, &iov, 1, &(struct fl_iocb){.offset = offset}), "write");
}

static void scenario_file_read(void)
{
    struct world w = world_make(256, false);
    trace_start("a read of 20 pages of a file of which nothing is resident");
    read_pages(&w, 0, 20);
    trace_stop();
    trace_start("reads of what comes behind them, with the mark of read-ahead in it");
    read_pages(&w, 20, 10);
    read_pages(&w, 30, 10);
    trace_stop();
    world_end(&w);
}

static void scenario_file_read_alone(void)
{
    struct world w = world_make(256, false);
    sim_torture()->window_busy_permille = 1000;
    trace_start("a read while nothing can be read ahead: it reads its page itself");
    read_pages(&w, 0, 1);
    trace_stop();
    world_end(&w);
}

static void scenario_file_write(void)
{
    struct world w = world_make(256, false);
    trace_start("a write over a whole page and a part of the next, which is read first");
    write_bytes(&w, 8 * PAGE, PAGE + 100);
    trace_stop();
    trace_start("a write beyond the end: the file grows");
    write_bytes(&w, FILE_LEN + 100, 100);
    trace_stop();
    world_end(&w);
}

static void scenario_file_write_blocks(void)
{
    struct world w = world_make_blocks(256, false, 512);
    trace_start("a write of a part of a page, where a block of the disk is smaller than that");
    write_bytes(&w, 8 * PAGE + 512, 600);
    trace_stop();
    trace_start("a read of that page: the blocks that are missing come now");
    read_pages(&w, 8, 1);
    trace_stop();
    write_bytes(&w, 9 * PAGE + 512, 600);
    trace_start("the file is cut off before a page that has buffer heads");
    must(fl_vnode_truncate(w.file.vnode, 9 * PAGE), "truncate");
    trace_stop();
    world_end(&w);
}

static void scenario_file_sync(void)
{
    struct world w = world_make(256, false);
    write_bytes(&w, 0, 8 * PAGE);
    write_bytes(&w, 20 * PAGE, 4 * PAGE);
    trace_start("what is dirty starts to be written, and nobody waits");
    must(fl_vnode_sync_range(w.file.vnode, 0, 0, FL_SYNC_FILE_RANGE_WRITE, NULL), "sync_file_range");
    trace_stop();
    trace_start("the last reference goes: everything is written, and waited for");
    world_end(&w);
    trace_stop();
}

/* A page is busy for a while, as if a read copied its bytes. */
static void read_for_a_while(void *arg)
{
    struct vm_object *object = arg;
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, 0);
    vm_page_reader_add(m);
    vm_unlock(&object->lock);
    sim_sleep_ns(10000000);
    vm_lock(&object->lock);
    vm_page_reader_drop(m);
    vm_unlock(&object->lock);
}

static void scenario_file_punch_used(void)
{
    struct world w = world_make_blocks(256, false, 512);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 8);
    struct fl_hold hold;
    write_bytes(&w, 512, 600);
    must(fl_hold(w.map, at + PAGE, PAGE, VM_PROT_READ, &hold), "hold");
    trace_start("a hole is punched where a system call uses a page: it becomes zeros in place");
    must(fl_vnode_punch(w.file.vnode, 0, 2 * PAGE), "punch");
    trace_stop();
    trace_start("the file is cut off there: the page leaves it, and is the call's");
    must(fl_vnode_truncate(w.file.vnode, PAGE), "truncate");
    trace_stop();
    trace_start("the call is done");
    fl_unhold(&hold);
    trace_stop();
    world_end(&w);
}

/* Nothing maps the file, so that its page is written by blocks and has buffer heads. */
static void scenario_file_truncate_read(void)
{
    struct world w = world_make_blocks(256, false, 512);
    write_bytes(&w, 512, 600);
    struct vm_object *object = test_object(w.file.vnode);
    sim_run("reader", read_for_a_while, object);
    sim_sleep_ns(1000000);
    trace_start("a file is cut off while the core copies out of a page: it goes alone, and last");
    must(fl_vnode_truncate(w.file.vnode, 0), "truncate");
    trace_stop();
    sim_join_all();
    vm_object_deallocate(object);
    world_end(&w);
}

static void scenario_file_truncate(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, 8);
    for (uint64_t i = 0; i < 8; i++)
        test_store8(w.map, at + i * PAGE, 1);
    trace_start("a mapped file is cut off in the middle of a page");
    must(fl_vnode_truncate(w.file.vnode, 3 * PAGE + 100), "truncate");
    trace_stop();
    trace_start("a hole is punched into it");
    must(fl_vnode_punch(w.file.vnode, 100, 2 * PAGE), "punch");
    trace_stop();
    world_end(&w);
}

static const struct {
    const char *seed;
    void (*run)(void);
} scenarios[] = {
    {"freebsd11-mmap", scenario_mmap},
    {"freebsd11-page-fault", scenario_read},
    {"freebsd11-page-fault", scenario_private_write},
    {"freebsd11-page-fault", scenario_zero_fill},
    {"freebsd11-page-fault", scenario_shortage},
    {"freebsd21-page-fault", scenario_busy},
    {"freebsd21-page-fault", scenario_read},
    {"freebsd21-page-fault", scenario_private_write},
    {"freebsd21-page-fault", scenario_zero_fill},
    {"freebsd21-page-fault", scenario_stack},
    {"freebsd21-page-fault", scenario_wire},
    {"freebsd21-page-fault", scenario_read_error},
    {"linux-page-cache", scenario_file_read},
    {"linux-page-cache", scenario_file_read_alone},
    {"linux-page-cache", scenario_file_write},
    {"linux-page-cache", scenario_file_write_blocks},
    {"linux-page-cache", scenario_file_sync},
    {"linux-page-cache", scenario_file_punch_used},
    {"linux-page-cache", scenario_file_truncate_read},
    {"linux-page-cache", scenario_file_truncate},
    {"linux-page-cache", scenario_shortage},
};

int main(int argc, char **argv)
{
    bool known = false;
    printf("main %p\n", (void *)main);
    for (size_t i = 0; argc == 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(argv[1], scenarios[i].seed) == 0) {
            scenarios[i].run();
            known = true;
        }
    }
    if (!known) {
        fprintf(stderr, "usage: walkthrough_record NAME, which is a file NAME.stages of docs/walkthroughs\n");
        return 2;
    }
    return 0;
}
