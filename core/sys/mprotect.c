/*
 * mprotect.c: mprotect: the protection of a range. As on Linux, the part before a gap or a refusal is
 * changed.
 *
 * PROT_GROWSDOWN extends the range down to the start of the stack that it lies in.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"

#define PROT_SEM       0x8 /* accepted and without effect on x86-64 */
#define PROT_GROWSDOWN 0x01000000
#define PROT_GROWSUP   0x02000000

/* *addr becomes the start of the stack. Errors: -ENOMEM, nothing is mapped there; -EINVAL, it is no stack. */
static int mprotect_growsdown(struct vm_map *map, vm_offset_t *addr, vm_offset_t end)
{
    struct vm_map_entry *entry;
    int error = 0;

    vm_map_lock_read(map);
    entry = vm_map_first_after(map, *addr);
    if (entry == &map->header)
        error = -ENOMEM;
    else if (entry->start >= end || (entry->eflags & MAP_ENTRY_GROWS_DOWN) == 0)
        error = -EINVAL;
    else
        *addr = entry->start;
    vm_map_unlock_read(map);
    return error;
}

int fl_sys_mprotect(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot)
{
    int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    vm_offset_t end;

    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || (addr & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (len_bytes == 0)
        return 0;
    if (!sys_range_end(addr, len_bytes, &end) || end == addr)
        return -ENOMEM;
    if ((prot & ~(VM_PROT_ALL | PROT_SEM)) != 0)
        return -EINVAL;
    if (grows == PROT_GROWSUP)
        return -EINVAL; /* no mapping grows up on x86-64 */
    if (grows == PROT_GROWSDOWN) {
        int error = mprotect_growsdown(map, &addr, end);

        if (error != 0)
            return error;
    }
    return vm_map_protect(map, addr, end, (vm_prot_t)(prot & VM_PROT_ALL));
}
