/*
 * map.c: mappings: entered, restricted, forgotten; the bits that the hardware sets in them; the TLBs.
 *
 * On x86-64 machines/x86/pmap.c does the work: it wants the inline functions of a pmap_machine.h. Look at
 * machines/x86_64: space.c, pmap_machine.h, tlb.c.
 */
#include "port.h"

/* Enters the run's pages from va on, with these rights; *done of them. Another page's mapping there goes,
 * also in every TLB. -ENOMEM: no memory for a table. */
int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    (void)space;
    (void)va;
    (void)run;
    (void)prot;
    (void)flags;
    (void)done;
    port_missing(__func__);
}

/* Forgets the mappings of [start, end), wired ones too; bits[i] |= MACHINE_DIRTY where the page was stored
 * to. */
void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits)
{
    (void)space;
    (void)start;
    (void)end;
    (void)flags;
    (void)bits;
    port_missing(__func__);
}

/* Takes the rights beyond prot from the mappings of [start, end); gives none. It also serves as
 * machine_wrprotect, so it must not fail, and runs beside machine_map. */
int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    (void)space;
    (void)start;
    (void)end;
    (void)prot;
    port_missing(__func__);
}

/* bits[i] |= MACHINE_REFERENCED, MACHINE_DIRTY from the entries of [start, end); those in `clear` start
 * anew. */
void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits)
{
    (void)space;
    (void)start;
    (void)end;
    (void)clear;
    (void)bits;
    port_missing(__func__);
}

/* What the entry at va says, as MACHINE_* bits; 0: there is none. Only fl_vm_check asks. */
unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    (void)space;
    (void)va;
    port_missing(__func__);
}

/* Returns when no TLB has what machine_unmap, machine_protect and machine_harvest changed, for any thread. */
void machine_sync(struct machine_space *space)
{
    (void)space;
    port_missing(__func__);
}
