/*
 * file_scenarios.c: files: reads, writes, write-back, and pages that are cut off.
 */
#include "support/pages.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "walkthrough/scenarios.h"
#include "walkthrough/world.h"

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

void scenario_file_read(void)
{
    struct world w = world_make(256, false);
    scenario_begin("a read of 20 pages of a file of which nothing is resident");
    read_pages(&w, 0, 20);
    scenario_end();
    scenario_begin("reads of what comes behind them, with the mark of read-ahead in it");
    read_pages(&w, 20, 10);
    read_pages(&w, 30, 10);
    scenario_end();
    world_end(&w);
}

void scenario_file_read_alone(void)
{
    struct world w = world_make(256, false);
    sim_torture()->window_busy_permille = 1000;
    scenario_begin("a read while nothing can be read ahead: it reads its page itself");
    read_pages(&w, 0, 1);
    scenario_end();
    world_end(&w);
}

void scenario_file_read_around(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 64);
    must(fl_sys_madvise(w.map, at, 64 * PAGE, FL_MADV_RANDOM), "madvise");
    (void)test_load8(w.map, at + 5 * PAGE);
    scenario_begin("a read of 20 pages of which the sixth is resident: two runs, one on each side of it");
    read_pages(&w, 0, 20);
    scenario_end();
    world_end(&w);
}

void scenario_file_write(void)
{
    struct world w = world_make(256, false);
    scenario_begin("a write over a whole page and a part of the next, which is read first");
    write_bytes(&w, 8 * PAGE, PAGE + 100);
    scenario_end();
    scenario_begin("a write beyond the end: the file grows");
    write_bytes(&w, FILE_LEN + 100, 100);
    scenario_end();
    world_end(&w);
}

void scenario_file_write_blocks(void)
{
    struct world w = world_make_blocks(256, false, 512);
    scenario_begin("a write of a part of a page, where a block of the disk is smaller than that");
    write_bytes(&w, 8 * PAGE + 512, 600);
    scenario_end();
    scenario_begin("a read of that page: the blocks that are missing come now");
    read_pages(&w, 8, 1);
    scenario_end();
    write_bytes(&w, 9 * PAGE + 512, 600);
    scenario_begin("the file is cut off before a page that has buffer heads");
    must(fl_vnode_truncate(w.file.vnode, 9 * PAGE), "truncate");
    scenario_end();
    world_end(&w);
}

void scenario_file_sync(void)
{
    struct world w = world_make(256, false);
    write_bytes(&w, 0, 8 * PAGE);
    write_bytes(&w, 20 * PAGE, 4 * PAGE);
    scenario_begin("what is dirty starts to be written, and nobody waits");
    must(fl_vnode_sync_range(w.file.vnode, 0, 0, FL_SYNC_FILE_RANGE_WRITE, NULL), "sync_file_range");
    scenario_end();
    scenario_begin("the file is closed: everything is written, and waited for");
    must(fl_vnode_close(w.file.vnode), "close");
    scenario_end();
    w.file.vnode = NULL;
    world_end(&w);
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

void scenario_file_punch_used(void)
{
    struct world w = world_make_blocks(256, false, 512);
    vm_offset_t at = map_file(&w, VM_PROT_READ, FL_MAP_SHARED, 8);
    struct fl_hold hold;
    write_bytes(&w, 512, 600);
    must(fl_hold(w.map, at + PAGE, PAGE, VM_PROT_READ, &hold), "hold");
    scenario_begin("a hole is punched where a system call uses a page: it becomes zeros in place");
    must(fl_vnode_punch(w.file.vnode, 0, 2 * PAGE), "punch");
    scenario_end();
    scenario_begin("the file is cut off there: the page leaves it, and is the call's");
    must(fl_vnode_truncate(w.file.vnode, PAGE), "truncate");
    scenario_end();
    scenario_begin("the call is done");
    fl_unhold(&hold);
    scenario_end();
    world_end(&w);
}

/* Nothing maps the file, so that its page is written by blocks and has buffer heads. */
void scenario_file_truncate_read(void)
{
    struct world w = world_make_blocks(256, false, 512);
    write_bytes(&w, 512, 600);
    struct vm_object *object = test_object(w.file.vnode);
    sim_run("reader", read_for_a_while, object);
    sim_sleep_ns(1000000);
    scenario_begin("a file is cut off while the core copies out of a page: it goes alone, and last");
    must(fl_vnode_truncate(w.file.vnode, 0), "truncate");
    scenario_end();
    sim_join_all();
    vm_object_deallocate(object);
    world_end(&w);
}

void scenario_file_truncate(void)
{
    struct world w = world_make(256, false);
    vm_offset_t at = map_file(&w, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, 8);
    for (uint64_t i = 0; i < 8; i++)
        test_store8(w.map, at + i * PAGE, 1);
    scenario_begin("a mapped file is cut off in the middle of a page");
    must(fl_vnode_truncate(w.file.vnode, 3 * PAGE + 100), "truncate");
    scenario_end();
    scenario_begin("a hole is punched into it");
    must(fl_vnode_punch(w.file.vnode, 100, 2 * PAGE), "punch");
    scenario_end();
    world_end(&w);
}
