/*
 * machine_fixture.h: the machine linux by itself, without the core, for its tests.
 *
 * The test plays the core: its SIGBUS handler maps the absent page, as a fault would. One object is attached
 * at several views, from page 0 on. The bytes of each of its pages follow from the page's index and a value.
 */
#ifndef TESTS_LINUX_MACHINE_FIXTURE_H
#define TESTS_LINUX_MACHINE_FIXTURE_H

#include "linux_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <cmocka.h>

#define NFRAMES    2048
#define VIEW_A     (LINUX_WINDOW_START + ((vm_offset_t)1 << 30))
#define VIEW_B     (LINUX_WINDOW_START + ((vm_offset_t)2 << 30))
#define VM_PROT_RW ((vm_prot_t)(VM_PROT_READ | VM_PROT_WRITE))

extern struct machine_space *space;
extern void *test_object;
extern vm_frame_t frame_of[NFRAMES]; /* page i of the object is in frame i */
extern _Atomic unsigned faults;

void start(size_t buffer_len_bytes);
/* All pages were released, so nothing is left anywhere. */
void finish(void);
/* Runs also after a test that failed half-way. */
int teardown(void **state);

struct machine_run run_of(vm_pindex_t pindex, uint32_t npages);
void attach(vm_offset_t view, uint32_t npages, vm_prot_t prot, unsigned flags);
void map(vm_offset_t view, vm_pindex_t pindex, uint32_t npages, vm_prot_t prot, unsigned flags);
void fill(vm_pindex_t pindex, uint32_t npages, unsigned value);
void release(vm_pindex_t pindex, uint32_t npages);
/* Takes every slot that one thread can have, so that their bytes go to the memfd, and puts them back. */
void drain_buffers(void);

/* The bytes of page i in generation `value`. */
void page_bytes(uint8_t *bytes, vm_pindex_t pindex, unsigned value);
void assert_page(const void *at, vm_pindex_t pindex, unsigned value);

/* Whether an access to va faults; the handler does not map the page then. */
bool load_faults(vm_offset_t va);
bool store_faults(vm_offset_t va);

#endif
