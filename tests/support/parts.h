/*
 * parts.h: the lower floors of the core alone, for tests of parts: the machine sim, metadata memory, pages,
 * the radix tree and objects. No page daemon, no pagers, no maps: only the test acts.
 */
#ifndef TESTS_SUPPORT_PARTS_H
#define TESTS_SUPPORT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The machine and metadata memory of meta_bytes, zeroed; fail_alloc is parts_fail_alloc. Returns the memory.
 */
uint8_t *parts_boot_meta(size_t meta_bytes);
/* The same with nframes pages, all free, and enough metadata memory for everything. */
void parts_boot(uint32_t nframes, bool superpages);
void parts_halt(void);

/* Fault injection: the nth allocation from now on fails; 0: none. */
void parts_fail_nth(uint32_t nth);
/* How many allocations there were since parts_boot, and the name of the last one. */
uint32_t parts_asked(void);
const char *parts_asked_what(void);

#endif
