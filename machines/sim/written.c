/* written.c: marks of stores, and unmappings whose bits are late; written.h has the drawing. */
#include "written.h"

#include <stdlib.h>
#include <string.h>

/* Returns the index of the first mark at or after va. */
static uint32_t mark_find(const struct written *written, vm_offset_t va)
{
    uint32_t low = 0, high = written->nmarks;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (written->mark[middle].vpn >= atop(va))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void written_note(struct written *written, vm_offset_t va, unsigned by)
{
    uint32_t at = mark_find(written, va);

    if (at < written->nmarks && written->mark[at].vpn == atop(va)) {
        written->mark[at].by |= by;
        written->mark[at].reported = false;
        return;
    }
    if (written->nmarks == written->capacity) {
        written->capacity = written->capacity ? 2 * written->capacity : 16;
        written->mark = realloc(written->mark, written->capacity * sizeof(*written->mark));
        if (written->mark == NULL)
            sim_panic("the host has no memory for %u marks", written->capacity);
    }
    memmove(&written->mark[at + 1], &written->mark[at], (written->nmarks - at) * sizeof(*written->mark));
    written->mark[at] = (struct written_mark){.vpn = atop(va), .by = by};
    written->nmarks++;
}

void written_report(struct written *written, vm_offset_t start, vm_offset_t end, unsigned by, uint8_t *bits)
{
    for (uint32_t i = mark_find(written, start); i < written->nmarks && written->mark[i].vpn < atop(end);
         i++) {
        if ((written->mark[i].by & by) == 0)
            continue;
        bits[written->mark[i].vpn - atop(start)] |= MACHINE_DIRTY;
        written->mark[i].reported = true;
    }
}

uint32_t written_clear(struct written *written, vm_offset_t start, vm_offset_t end, unsigned by)
{
    uint32_t first = mark_find(written, start), kept = first, i = first, cleared = 0;

    for (; i < written->nmarks && written->mark[i].vpn < atop(end); i++) {
        struct written_mark mark = written->mark[i];

        cleared += (mark.by & by & WRITTEN_BY_MM1) != 0 && !mark.reported;
        mark.by &= ~by;
        if (mark.by != 0)
            written->mark[kept++] = mark;
    }
    if (kept == i)
        return cleared;
    memmove(&written->mark[kept], &written->mark[i], (written->nmarks - i) * sizeof(*written->mark));
    written->nmarks -= i - kept;
    return cleared;
}

/* ---- unmappings ------------------------------------------------------------------------------ */

struct written_unmap *written_unmap_begin(struct written *written, vm_offset_t start, vm_offset_t end,
                                          uint8_t *bits)
{
    struct written_unmap *fresh = calloc(1, sizeof(*fresh) + atop(end - start));

    if (fresh == NULL)
        sim_panic("the host has no memory for the bits of %llu pages", (unsigned long long)atop(end - start));
    *fresh = (struct written_unmap){.start = start,
                                    .end = end,
                                    .bits = bits,
                                    .removed = (uint8_t *)(fresh + 1),
                                    .under_way = true,
                                    .next = written->unmaps};
    written->unmaps = fresh;
    return fresh;
}

void written_unmap_found(struct written *written, vm_offset_t va)
{
    for (struct written_unmap *unmap = written->unmaps; unmap != NULL; unmap = unmap->next) {
        if (va >= unmap->start && va < unmap->end)
            unmap->removed[atop(va - unmap->start)] |= MACHINE_DIRTY;
    }
}

void written_sync(struct written *written)
{
    struct written_unmap **link = &written->unmaps;

    while (*link != NULL) {
        struct written_unmap *unmap = *link;

        for (vm_pindex_t i = 0; i < atop(unmap->end - unmap->start); i++)
            unmap->bits[i] |= unmap->removed[i];
        if (unmap->under_way) {
            link = &unmap->next;
        } else {
            *link = unmap->next;
            free(unmap);
        }
    }
}

void written_fini(struct written *written)
{
    while (written->unmaps != NULL) {
        struct written_unmap *unmap = written->unmaps;

        written->unmaps = unmap->next;
        free(unmap);
    }
    free(written->mark);
    *written = (struct written){0};
}
