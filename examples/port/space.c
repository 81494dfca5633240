/*
 * space.c: address spaces: page tables that are empty, and ranges that show nothing any more.
 *
 * Look at machines/x86_64/space.c, and at pmap_boot.c for what all spaces share.
 */
#include "port.h"

/* Makes empty page tables, with the kernel's own part in them. -ENOMEM. */
int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    (void)start;
    (void)end;
    (void)space;
    port_missing(__func__);
}

/* Frees them. No thread runs there, but a CPU may still have them loaded. */
void machine_space_destroy(struct machine_space *space)
{
    (void)space;
    port_missing(__func__);
}

/* Forgets the mappings of [start, end), also in every TLB, before it returns. Nobody wants their bits. */
void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    (void)space;
    (void)start;
    (void)end;
    port_missing(__func__);
}
