/*
 * one_file.h: one disk, one file on it and one address space: the set-up
 * of most tests of files on the machine sim.
 *
 *   disk ◀── file ◀── mappings in map, calls by read_at and write_at
 *
 * A test makes the disk, boots the computer over it, maps what it needs, and ends with one_file_end. There is
 * one such set-up at a time. Tests of several files or spaces declare their own.
 */
#ifndef TESTS_SUPPORT_ONE_FILE_H
#define TESTS_SUPPORT_ONE_FILE_H

#include "support/boot.h"

#define RW      (FL_FREAD | FL_FWRITE)
#define PROT_RW (VM_PROT_READ | VM_PROT_WRITE)

extern struct sim_disk *disk;
extern struct fl_file file;
extern struct vm_map *map;

/*
 * Boots, and opens the whole of `on` as the file. mode: FL_FREAD,
 * FL_FWRITE. The disk belongs to the set-up now.
 */
void one_file_boot(const struct sim_params *params, struct sim_disk *on, unsigned mode);
/*
 * Checks the VM, unmaps everything, closes the file, which must succeed, shuts down, and destroys the disk.
 * The caller has dropped all references of its own.
 */
void one_file_end(void);

/*
 * fl_vnode_read and fl_vnode_write of one buffer. flags: FL_IOCB_*. Return
 * the bytes moved or a negative errno.
 */
int64_t read_at(uint64_t offset, void *to, size_t len_bytes, unsigned flags);
int64_t write_at(uint64_t offset, const void *from, size_t len_bytes, unsigned flags);

/* The byte that the disk stores at `offset`, past the page cache. */
uint8_t disk_byte(uint64_t offset);
/* PG_* of the file's page at pindex, or 0: it is not in memory. */
unsigned page_flags(vm_pindex_t pindex);
/* Every byte is what test_fill wrote at `offset` and after it. */
void expect_fill(uint64_t offset, const uint8_t *bytes, size_t len_bytes);

#endif
