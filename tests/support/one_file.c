/*
 * one_file.c: see one_file.h.
 */
#include "support/one_file.h"
#include "support/pages.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct sim_disk *disk;
struct fl_file file;
struct vm_map *map;

void one_file_boot(const struct sim_params *params, struct sim_disk *on, unsigned mode)
{
    disk = on;
    test_boot(params);
    map = test_space();
    file = test_file(disk, mode);
}

void one_file_end(void)
{
    sim_vm_check();
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

int64_t read_at(uint64_t offset, void *to, size_t len_bytes, unsigned flags)
{
    struct fl_iovec iov = {to, len_bytes};
    return fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = offset, .flags = flags});
}

int64_t write_at(uint64_t offset, const void *from, size_t len_bytes, unsigned flags)
{
    struct fl_iovec iov = {(void *)(uintptr_t)from, len_bytes};
    return fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = offset, .flags = flags});
}

uint8_t disk_byte(uint64_t offset)
{
    uint8_t byte;
    sim_disk_read(disk, offset, &byte, 1);
    return byte;
}

unsigned page_flags(vm_pindex_t pindex)
{
    struct vm_object *object = test_object(file.vnode);
    unsigned flags = test_page_flags(object, pindex);
    vm_object_deallocate(object);
    return flags;
}

void expect_fill(uint64_t offset, const uint8_t *bytes, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        assert_int_equal(bytes[i], test_byte(offset + i));
}
