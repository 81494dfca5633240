/*
 * boot.h: the first and last steps of nearly every test on the machine sim: boot, a space, a file, accesses
 * that must succeed, and panics that must happen.
 */
#ifndef TESTS_SUPPORT_BOOT_H
#define TESTS_SUPPORT_BOOT_H

#include "sim/sim.h"
#include "support/seed.h"

#define TEST_SPACE_START ((vm_offset_t)0x10000)
#define TEST_SPACE_END   ((vm_offset_t)0x7ffffffff000)

/* Default parameters with the seed: a computer without torture, of two CPUs and 256 frames. With
 * FAULTLINE_HIGHMEM in the environment most of these are in high memory. */
struct sim_params test_params(uint64_t seed);
/* The same with every torture at a moderate level, chosen by the seed; injected failures stay off. */
struct sim_params test_params_hostile(uint64_t seed);

/* Boot, or fail the test. */
void test_boot(const struct sim_params *params);
/* A space of [TEST_SPACE_START, TEST_SPACE_END). */
struct vm_map *test_space(void);
/* The disk opened as a file. fl_vnode_close(file.vnode) when done. */
struct fl_file test_file(struct sim_disk *disk, unsigned mode);
/* npages of the file from its beginning on, for reading and writing; flags: FL_MAP_*. */
vm_offset_t test_mmap(struct vm_map *map, const struct fl_file *file, int flags, vm_pindex_t npages);
/* The byte that test_fill writes at `offset`: bytes differ from place to place. */
uint8_t test_byte(uint64_t offset);
/* Fills the disk's whole length with test_byte. */
void test_fill(struct sim_disk *disk);
/*
 * A disk of len_bytes in blocks of block_bytes, a power of two from 512 to
 * VM_PAGE_SIZE, filled with test_byte.
 */
struct sim_disk *test_disk(uint64_t len_bytes, uint32_t block_bytes, uint64_t seed);

/* Accesses that must succeed. */
uint8_t test_load8(struct vm_map *map, vm_offset_t va);
void test_store8(struct vm_map *map, vm_offset_t va, uint8_t value);

/*
 * Runs fn(arg) in a child process and returns whether it died of machine_panic
 * with a message that contains `expect`. The parent's computer does not
 * change. So a test can show that a check catches the mistake it is meant for.
 */
bool test_panics(void (*fn)(void *arg), void *arg, const char *expect);

#endif
