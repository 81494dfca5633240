/*
 * tables.c: the functions of examples/port/space.c and map.c written out: a space is a short list of
 * mappings, through which nothing stores.
 */
#include <errno.h>
#include <stdlib.h>

#include <faultline/machine.h>

#define MAPPINGS_MAX 64

struct mapping {
    vm_offset_t va;
    vm_frame_t frame;
    vm_prot_t prot; /* 0: the place is free */
};

struct machine_space {
    struct mapping mapping[MAPPINGS_MAX];
};

int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    (void)start;
    (void)end;
    *space = calloc(1, sizeof(**space));
    return *space != NULL ? 0 : -ENOMEM;
}

void machine_space_destroy(struct machine_space *space)
{
    free(space);
}

/* The mappings of [start, end) keep only the rights prot. */
static void restrict_range(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    for (uint32_t i = 0; i < MAPPINGS_MAX; i++) {
        struct mapping *mapping = &space->mapping[i];

        if (start <= mapping->va && mapping->va < end)
            mapping->prot &= prot;
    }
}

void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    restrict_range(space, start, end, 0);
}

int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    restrict_range(space, start, end, prot);
    return 0;
}

static struct mapping *mapping_at(struct machine_space *space, vm_offset_t va)
{
    for (uint32_t i = 0; i < MAPPINGS_MAX; i++) {
        if (space->mapping[i].prot != 0 && space->mapping[i].va == va)
            return &space->mapping[i];
    }
    return NULL;
}

int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    (void)flags;
    for (*done = 0; *done < run->npages; ++*done) {
        const vm_offset_t at = va + ptoa((uint64_t)*done);
        struct mapping *place = mapping_at(space, at);

        for (uint32_t i = 0; i < MAPPINGS_MAX && place == NULL; i++) {
            if (space->mapping[i].prot == 0)
                place = &space->mapping[i];
        }
        if (place == NULL)
            return -ENOMEM;
        *place = (struct mapping){.va = at, .frame = run->frame[*done], .prot = prot};
    }
    return 0;
}

/* No hardware sets a bit here: what can be stored to counts as stored to. */
void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits)
{
    (void)clear;
    for (vm_offset_t va = start; va < end; va += VM_PAGE_SIZE) {
        const struct mapping *mapping = mapping_at(space, va);

        if (mapping != NULL && (mapping->prot & VM_PROT_WRITE))
            bits[atop(va - start)] |= MACHINE_DIRTY;
    }
}

void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits)
{
    (void)flags;
    if (bits != NULL)
        machine_harvest(space, start, end, 0, bits);
    restrict_range(space, start, end, 0);
}

unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    const struct mapping *mapping = mapping_at(space, trunc_page(va));

    if (mapping == NULL)
        return 0;
    return MACHINE_MAPPED | ((mapping->prot & VM_PROT_WRITE) ? MACHINE_WRITABLE : 0);
}

void machine_sync(struct machine_space *space)
{
    (void)space; /* no CPU has a TLB */
}
