/*
 * map_scenarios.c: the calls that change an address space: mmap, munmap, mprotect, brk.
 */
#include <faultline/freebsd.h>
#include "vm/vm_map.h"
#include "walkthrough/scenarios.h"
#include "walkthrough/world.h"

#define READ_WRITE (VM_PROT_READ | VM_PROT_WRITE)
#define HEAP_START ((vm_offset_t)0x100000000)
#define STACK_ROOM ((vm_offset_t)0x7fff00000000) /* from here up */

static vm_offset_t map_fixed(struct world *w, vm_offset_t at, uint64_t npages, int flags)
{
    must(fl_sys_mmap(w->map, at, npages * PAGE, READ_WRITE, FL_MAP_FIXED | FL_MAP_ANONYMOUS | flags, NULL, 0),
         "mmap");
    return at;
}

void scenario_mmap(void)
{
    struct world w = world_make(256, false);
    scenario_begin("mmap of a file that nothing maps yet");
    vm_offset_t first = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 16);
    scenario_end();
    read_each(&w, first, 16);
    scenario_begin("mmap of the same file, with a hint, while its pages are resident");
    must(fl_sys_mmap(w.map, first - FILE_LEN, 16 * PAGE, VM_PROT_READ, FL_MAP_SHARED, &w.file, 0), "mmap");
    scenario_end();
    world_end(&w);
}

/* FreeBSD's call: 16 pages of the file, at or behind the hint. */
static vm_offset_t map_file_freebsd(struct world *w, vm_offset_t hint)
{
    const struct fl_freebsd_process process = {.osrel = 1100122};
    const struct fl_freebsd_file fp = {.file = &w->file, .cap_rights = VM_PROT_ALL};
    int64_t at =
        fl_sys_mmap_freebsd(w->map, &process, hint, 16 * PAGE, VM_PROT_READ, FL_FREEBSD_MAP_SHARED, &fp, 0);
    must(at, "mmap");
    return (vm_offset_t)at;
}

void scenario_mmap_freebsd(void)
{
    struct world w = world_make(256, false);
    scenario_begin("mmap of a file that nothing maps yet");
    vm_offset_t first = map_file_freebsd(&w, 0);
    scenario_end();
    read_each(&w, first, 16);
    scenario_begin(
        "mmap of the same file while its pages are resident; the hint is taken: a place behind it");
    (void)map_file_freebsd(&w, first);
    scenario_end();
    world_end(&w);
}

void scenario_mmap_anonymous(void)
{
    struct world w = world_make(256, false);
    scenario_begin("mmap of shared fresh memory: it gets its object at once");
    must(fl_sys_mmap(w.map, 0, 4 * PAGE, READ_WRITE, FL_MAP_SHARED | FL_MAP_ANONYMOUS, NULL, 0), "mmap");
    scenario_end();
    scenario_begin(
        "mmap of private fresh memory with MAP_POPULATE: its pages are there when the call returns");
    (void)map_anonymous(&w, FL_MAP_POPULATE, 4);
    scenario_end();
    world_end(&w);
}

void scenario_mmap_hint(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_anonymous(&w, 0, 4);
    scenario_begin("mmap with a hint where something is mapped already: the place is chosen from the top");
    must(fl_sys_mmap(w.map, at + PAGE, 4 * PAGE, READ_WRITE, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0),
         "mmap");
    scenario_end();
    world_end(&w);
}

/* What is below the stack's room is mapped as a whole. */
void scenario_mmap_bottomup(void)
{
    struct world w = world_make(256, false);
    vm_offset_t low = w.map->min_offset;
    fl_space_set_mmap_base(w.map, STACK_ROOM);
    (void)map_fixed(&w, low, (STACK_ROOM - low) / PAGE, FL_MAP_PRIVATE | FL_MAP_NORESERVE);
    scenario_begin(
        "mmap when nothing is free below the stack's room: the search from the bottom goes on above");
    must(fl_sys_mmap(w.map, low, 4 * PAGE, READ_WRITE, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0), "mmap");
    scenario_end();
    world_end(&w);
}

void scenario_mmap_fixed(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_anonymous(&w, 0, 8);
    test_store8(w.map, at, 1);
    must(fl_sys_mmap(w.map, at + 4 * PAGE, 4 * PAGE, VM_PROT_READ, FL_MAP_FIXED | FL_MAP_SHARED, &w.file, 0),
         "mmap");
    scenario_begin(
        "mmap at a fixed place behind memory of the same kind: a file's mapping goes, the memory grows");
    (void)map_fixed(&w, at + 4 * PAGE, 4, FL_MAP_PRIVATE);
    scenario_end();
    world_end(&w);
}

void scenario_munmap(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_anonymous(&w, 0, 8);
    read_each(&w, at, 8);
    scenario_begin("munmap of the middle of a mapping: the entry is split at both ends");
    must(fl_sys_munmap(w.map, at + 2 * PAGE, 4 * PAGE), "munmap");
    scenario_end();
    scenario_begin("munmap of all that is left: the page tables become empty, and the object goes");
    must(fl_sys_munmap(w.map, at, 8 * PAGE), "munmap");
    scenario_end();
    world_end(&w);
}

void scenario_mprotect(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_anonymous(&w, 0, 8);
    for (uint64_t i = 0; i < 8; i++)
        test_store8(w.map, at + i * PAGE, 1);
    scenario_begin("mprotect of the middle of a mapping: the entry is split at both ends");
    must(fl_sys_mprotect(w.map, at + 2 * PAGE, 4 * PAGE, VM_PROT_READ), "mprotect");
    scenario_end();
    scenario_begin("mprotect makes the three entries alike again: they merge");
    must(fl_sys_mprotect(w.map, at + 2 * PAGE, 4 * PAGE, READ_WRITE), "mprotect");
    scenario_end();
    world_end(&w);
}

/* The break moves to HEAP_START and so many bytes. */
static void heap_ends(struct world *w, uint64_t bytes)
{
    vm_offset_t end = fl_sys_brk(w->map, HEAP_START + bytes);
    must(end == HEAP_START + bytes ? 0 : -1, "brk");
}

void scenario_brk(void)
{
    struct world w = world_make(256, false);
    fl_space_set_brk(w.map, HEAP_START, HEAP_START + 1024 * PAGE);
    scenario_begin("the first brk: the heap gets an entry");
    heap_ends(&w, 4 * PAGE);
    scenario_end();
    test_store8(w.map, HEAP_START, 1);
    scenario_begin("brk up: the heap, which was touched, becomes longer");
    heap_ends(&w, 9 * PAGE + 100);
    scenario_end();
    scenario_begin("brk down: the part above the new end goes");
    heap_ends(&w, 2 * PAGE);
    scenario_end();
    must(fl_sys_mlockall(w.map, FL_MCL_FUTURE), "mlockall");
    scenario_begin("brk up after mlockall of what is to come: the new pages are there when the call returns");
    heap_ends(&w, 5 * PAGE);
    scenario_end();
    world_end(&w);
}
