/* tlb.c: the simulated CPUs' TLBs; tlb.h has the drawing. */
#include "tlb.h"

#include <string.h>

#include "cpu.h"

#define TLB_SETS 16u
#define TLB_WAYS 4u

static struct tlb_entry tlb[SIM_CPUS_MAX][TLB_SETS][TLB_WAYS];

/* All entries of all CPUs, one after the other. */
#define TLB_FOREACH(entry)                                                                                   \
    for (struct tlb_entry *entry = &tlb[0][0][0]; entry < &tlb[0][0][0] + tlb_size(); entry++)

static size_t tlb_size(void)
{
    return (size_t)sim.params.ncpus * TLB_SETS * TLB_WAYS;
}

void tlb_reset(void)
{
    memset(tlb, 0, sizeof(tlb));
}

/* Returns the set for entries of that length. */
static struct tlb_entry *tlb_set(uint32_t cpu, uint64_t vpn, uint32_t npages)
{
    return tlb[cpu][vpn / npages % TLB_SETS];
}

static struct tlb_entry *tlb_lookup_size(uint32_t cpu, struct machine_space *space, uint64_t vpn,
                                         uint32_t npages)
{
    struct tlb_entry *set = tlb_set(cpu, vpn, npages);

    for (unsigned way = 0; way < TLB_WAYS; way++) {
        if (set[way].space == space && set[way].npages == npages && vpn - set[way].vpn < npages)
            return &set[way];
    }
    return NULL;
}

struct tlb_entry *tlb_lookup(uint32_t cpu, struct machine_space *space, vm_offset_t va)
{
    struct tlb_entry *entry = tlb_lookup_size(cpu, space, atop(va), 1);

    return entry != NULL ? entry : tlb_lookup_size(cpu, space, atop(va), X86_PT_NENTRIES);
}

void tlb_insert(uint32_t cpu, const struct tlb_entry *entry)
{
    struct tlb_entry *set = tlb_set(cpu, entry->vpn, entry->npages);
    struct tlb_entry *place = tlb_lookup_size(cpu, entry->space, entry->vpn, entry->npages);

    for (unsigned way = 0; place == NULL && way < TLB_WAYS; way++) {
        if (set[way].space == NULL)
            place = &set[way];
    }
    if (place == NULL)
        place = &set[prng_below(&sim.prng, TLB_WAYS)];
    tlb_drop(place);
    *place = *entry;
}

static bool tlb_in_range(const struct tlb_entry *entry, const struct machine_space *space, vm_offset_t start,
                         vm_offset_t end)
{
    return entry->space == space && entry->vpn + entry->npages > atop(start) && entry->vpn < atop(end);
}

static void tlb_entry_write_back(struct tlb_entry *entry)
{
    if (entry->late != 0)
        cpu_write_back(entry);
    entry->late = 0;
}

void tlb_write_back(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    TLB_FOREACH(entry)
    {
        if (tlb_in_range(entry, space, start, end))
            tlb_entry_write_back(entry);
    }
}

void tlb_drop(struct tlb_entry *entry)
{
    if (entry->space != NULL)
        tlb_entry_write_back(entry);
    entry->space = NULL;
}

void tlb_drop_range(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    TLB_FOREACH(entry)
    {
        if (tlb_in_range(entry, space, start, end))
            tlb_drop(entry);
    }
}

void tlb_drop_space(struct machine_space *space)
{
    tlb_drop_range(space, 0, UINT64_MAX);
}

void tlb_drop_self(vm_frame_t frame)
{
    TLB_FOREACH(entry)
    {
        if (entry->space != NULL && entry->frame == frame && entry->self)
            tlb_drop(entry);
    }
}

bool tlb_has_frame(vm_frame_t frame, uint32_t *cpu, vm_offset_t *va)
{
    for (uint32_t c = 0; c < sim.params.ncpus; c++) {
        for (unsigned i = 0; i < TLB_SETS * TLB_WAYS; i++) {
            const struct tlb_entry *entry = &tlb[c][i / TLB_WAYS][i % TLB_WAYS];

            if (entry->space != NULL && frame - entry->frame < entry->npages) {
                *cpu = c;
                *va = ptoa(entry->vpn + (frame - entry->frame));
                return true;
            }
        }
    }
    return false;
}
