/*
 * fault_scenarios.c: page faults: by what the fault finds, and by what it must wait for.
 */
#include "support/pages.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"
#include "walkthrough/scenarios.h"
#include "walkthrough/world.h"
#include <stdio.h>
#include <stdlib.h>

/* The first misses that fit no stream read one page each: a stride could begin there. */
static void miss_here_and_there(struct vm_map *map, vm_offset_t at)
{
    (void)test_load8(map, at + 50 * PAGE);
    (void)test_load8(map, at + 5 * PAGE);
    (void)test_load8(map, at + 37 * PAGE);
}

void scenario_read(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    miss_here_and_there(w.map, at);
    scenario_begin("a load from a file's page that is not resident: the pager reads it with its neighbours");
    (void)test_load8(w.map, at + 20 * PAGE);
    scenario_end();
    world_end(&w);
}

void scenario_private_write(void)
{
    struct world w = world_make(256, true);
    vm_offset_t at = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE, 8);
    (void)test_load8(w.map, at);
    scenario_begin("the first store to a private mapping: a shadow object, and a copy");
    test_store8(w.map, at, 1);
    scenario_end();
    world_end(&w);
}

void scenario_zero_fill(void)
{
    struct world w = world_make(1024, true);
    vm_offset_t at = map_anonymous(&w, 0, 600);
    scenario_begin("a store to anonymous memory: zero fill");
    test_store8(w.map, at, 1);
    scenario_end();
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
    return stats.free > vm_pageout.free_wakeup;
}

/*
 * Memory runs short: the only free frames belong to a reservation, which is broken; the page daemon is woken.
 */
void scenario_shortage(void)
{
    struct world w = world_make(1024, true);
    vm_offset_t file = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    read_each(&w, file, 64);
    vm_offset_t at = map_anonymous(&w, 0, 2048), va = at;
    vm_offset_t big = (at + (512 * PAGE) - 1) & ~(512 * PAGE - 1);
    test_store8(w.map, big, 1); /* a reservation with one page in use */
    store_while(&w, &va, big, frames_listed);
    scenario_begin("a store when the only free frames are a reservation's: it is broken");
    test_store8(w.map, va, 1);
    scenario_end();
    store_while(&w, &va, big, above_free_wakeup);
    scenario_begin("a store when few frames are left: the page daemon is woken");
    test_store8(w.map, va, 1);
    scenario_end();
    world_end(&w);
}

static bool above_free_reserved(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.free > vm_pageout.free_reserved;
}

/* The same with a reservation that has few frames left, so few that the page daemon is wanted, too. */
void scenario_shortage_reserved(void)
{
    struct world w = world_make(1024, true);
    read_each(&w, map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64), 64);
    vm_offset_t va = map_anonymous(&w, 0, 2048);
    vm_offset_t big = (va + (512 * PAGE) - 1) & ~(512 * PAGE - 1);
    for (uint64_t i = 0; i + vm_pageout.free_wakeup - 1 < 512; i++)
        test_store8(w.map, big + i * PAGE, 1);
    store_while(&w, &va, big, frames_listed);
    scenario_begin(
        "a store when a reservation has the only free frames, and few: the page daemon is woken, too");
    test_store8(w.map, va, 1);
    scenario_end();
    world_end(&w);
}

/* Every page of a file is active, and memory is full: the fault must make pages inactive first. */
void scenario_reclaim(void)
{
    struct world w = world_make(256, false);
    vm_offset_t file = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    must(fl_sys_madvise(w.map, file, 64 * PAGE, FL_MADV_RANDOM), "madvise");
    read_each(&w, file, 64);
    vm_offset_t va = map_anonymous(&w, 0, 512);
    store_while(&w, &va, 0, above_free_reserved);
    scenario_begin("a store when no frame is free: the fault evicts pages itself, and starts over");
    test_store8(w.map, va, 1);
    scenario_end();
    world_end(&w);
}

/* The file's first page is busy for a while, as if a write copied its bytes. */
static void write_for_a_while(void *arg)
{
    struct vm_object *object = arg;
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, 0);
    vm_page_xbusy(m);
    vm_unlock(&object->lock);
    sim_sleep_ns(5000000);
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
}

struct range {
    struct vm_map *map;
    vm_offset_t start;
    uint64_t npages;
};

static void unmap_soon(void *arg)
{
    const struct range *range = arg;
    sim_sleep_ns(2000000);
    must(fl_sys_munmap(range->map, range->start, range->npages * PAGE), "munmap");
}

/* The only page that could be evicted is busy, and anonymous memory has no place to go to. */
void scenario_wait_for_memory(void)
{
    struct world w = world_make(256, false);
    struct vm_object *object = test_object(w.file.vnode);
    (void)test_load8(w.map, map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 1));
    struct range first = {.map = w.map, .start = map_anonymous(&w, 0, 512), .npages = 16};
    vm_offset_t va = first.start;
    store_while(&w, &va, 0, above_free_reserved);
    sim_run("writer", write_for_a_while, object);
    sim_sleep_ns(1000000);
    scenario_begin(
        "a store when no frame is free and none can be freed: it sleeps until another thread unmaps");
    sim_run("unmapper", unmap_soon, &first);
    test_store8(w.map, va, 1);
    scenario_end();
    sim_join_all();
    vm_object_deallocate(object);
    world_end(&w);
}

struct access {
    struct vm_map *map;
    vm_offset_t va;
    bool write;
};

static int access_once(const struct access *a)
{
    uint8_t byte = 1;
    return a->write ? sim_store(a->map, a->va, &byte, 1, NULL) : sim_load(a->map, a->va, &byte, 1, NULL);
}

static void access_works(void *access)
{
    must(access_once(access), "access");
}

static struct sim_disk *bad_disk;

/* The disk is repaired afterwards. */
static void access_fails(void *access)
{
    must(access_once(access) < 0 ? 0 : -1, "access of a bad page");
    sim_disk_faults(bad_disk)->bad_read_end = 0;
}

/* The second thread comes while the first one's read is under way. */
static void access_both(struct world *w, void (*fn)(void *), struct access *first, struct access *second)
{
    sim_disk_faults(w->disk)->latency_min_ns = sim_disk_faults(w->disk)->latency_max_ns = 1000000;
    sim_run("first", fn, first);
    sim_sleep_ns(100000);
    sim_run("second", access_works, second);
    sim_join_all();
}

void scenario_busy(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 16);
    struct access load = {.map = w.map, .va = at + 3 * PAGE};
    scenario_begin("two threads touch one absent page: the second waits for the first one's read");
    access_both(&w, access_works, &load, &load);
    scenario_end();
    world_end(&w);
}

void scenario_busy_read_fails(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    miss_here_and_there(w.map, at);
    struct access load = {.map = w.map, .va = at + 24 * PAGE};
    bad_disk = w.disk;
    sim_disk_faults(w.disk)->bad_read_start = 24 * PAGE;
    sim_disk_faults(w.disk)->bad_read_end = 25 * PAGE;
    scenario_begin("the same, and the first one's read fails: the second reads the page itself");
    access_both(&w, access_fails, &load, &load);
    scenario_end();
    world_end(&w);
}

void scenario_busy_private_write(void)
{
    struct world w = world_make(256, false);
    vm_offset_t shared = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    vm_offset_t private = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE, 64);
    struct access load = {.map = w.map, .va = shared + 24 * PAGE};
    struct access store = {.map = w.map, .va = private + 24 * PAGE, .write = true};
    scenario_begin("a page is being read, and a store to a private mapping of it waits, then copies it");
    access_both(&w, access_works, &load, &store);
    scenario_end();
    world_end(&w);
}

void scenario_private_write_absent(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE, 64);
    miss_here_and_there(w.map, at);
    scenario_begin(
        "the first store to a private mapping, of a page that is not resident: a read, then a copy");
    test_store8(w.map, at + 20 * PAGE, 1);
    scenario_end();
    world_end(&w);
}

void scenario_stack(void)
{
    struct world w = world_make(256, false);
    vm_offset_t top = map_anonymous(&w, FL_MAP_GROWSDOWN | FL_MAP_STACK, 4);
    scenario_begin("a store just below a stack: it grows");
    test_store8(w.map, top - PAGE, 1);
    scenario_end();
    world_end(&w);
}

void scenario_wire(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_PRIVATE, 4);
    scenario_begin("mlock and munlock: the fault wires the page");
    must(fl_sys_mlock(w.map, at, PAGE), "mlock");
    must(fl_sys_munlock(w.map, at, PAGE), "munlock");
    scenario_end();
    world_end(&w);
}

void scenario_collapse(void)
{
    struct world w = world_make(256, false);
    struct vm_map *child;
    vm_offset_t at = map_anonymous(&w, 0, 4);
    test_store8(w.map, at, 1);
    test_store8(w.map, at + PAGE, 1);
    must(fl_space_fork(w.map, &child), "fork");
    scenario_begin("a store after a fork: the parent gets a shadow, and a copy in it");
    test_store8(w.map, at, 2);
    scenario_end();
    scenario_begin("the child ends: the parent's shadow takes over what only it can see now");
    fl_space_destroy(child);
    scenario_end();
    world_end(&w);
}

/* So many pages are read that the batches of queue changes are drained: the page is on its queue. */
void scenario_wire_resident(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_PRIVATE, 64);
    read_each(&w, at, 64);
    scenario_begin("mlock of a resident page: it leaves its queue");
    must(fl_sys_mlock(w.map, at, PAGE), "mlock");
    scenario_end();
    must(fl_sys_munlock(w.map, at, PAGE), "munlock");
    world_end(&w);
}

void scenario_read_error(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    miss_here_and_there(w.map, at);
    *sim_disk_faults(w.disk) =
        (struct sim_disk_faults){.bad_read_start = 24 * PAGE, .bad_read_end = 25 * PAGE};
    uint8_t byte;
    scenario_begin("a read that fails: the pages are freed again, and the program hears of it");
    int error = sim_load(w.map, at + 24 * PAGE, &byte, 1, NULL);
    scenario_end();
    if (error == 0) {
        fprintf(stderr, "the bad page was read\n");
        exit(1);
    }
    world_end(&w);
}
