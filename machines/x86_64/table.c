/*
 * table.c: pages for page tables, taken from the VM, with their descriptors.
 *
 *   table_alloc: cache ─▶ or a frame of the VM, zeroed, and a descriptor of the heap
 *   table_free:  cache, up to TABLES_CACHED ─▶ or back to the VM
 *
 * A table that is freed is zero already: its entries went one by one. So the cache spares the zeroing, which
 * is most of what a table costs. Lock: table_lock, a spin lock.
 */
#include "kmem.h"
#include "pmap_machine.h"

#define TABLES_CACHED 64

static struct spinlock table_lock;
static struct pmap_table *cache; /* (table_lock) by next */
static uint32_t ncached;         /* (table_lock) */

static struct pmap_table *table_make(void)
{
    struct pmap_table *table = kmalloc(sizeof(*table));
    vm_frame_t frame;

    if (table == NULL)
        return NULL;
    if (fl_frames_alloc(0, &frame) != 0) {
        kfree(table);
        return NULL;
    }
    *fl_frames_owner(frame) = table;
    table->pa = frame_to_phys(frame);
    pagezero(phys_to_virt(table->pa));
    return table;
}

struct pmap_table *table_alloc(void)
{
    uint64_t flags = spin_lock(&table_lock);
    struct pmap_table *table = cache;

    if (table != NULL) {
        cache = table->next;
        ncached--;
    }
    spin_unlock(&table_lock, flags);
    return table != NULL ? table : table_make();
}

void table_free(struct pmap_table *table)
{
    uint64_t flags = spin_lock(&table_lock);
    const bool keep = ncached < TABLES_CACHED;

    if (keep) {
        table->next = cache;
        cache = table;
        ncached++;
    }
    spin_unlock(&table_lock, flags);
    if (keep)
        return;
    fl_frames_free((vm_frame_t)atop(table->pa - frames_pa), 0);
    kfree(table);
}
