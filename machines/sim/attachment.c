/* attachment.c: the sorted array of what is attached in a space; attachment.h has the drawing. */
#include "attachment.h"

#include <stdlib.h>
#include <string.h>

#include "frame.h"

uint32_t attachment_find(const struct machine_space *space, vm_offset_t va)
{
    uint32_t low = 0, high = space->nattachments;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (space->attachment[middle].end > va)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void attachment_insert(struct machine_space *space, uint32_t at, const struct sim_attachment *fresh)
{
    if (space->nattachments == space->capacity) {
        space->capacity = space->capacity ? 2 * space->capacity : 16;
        space->attachment = realloc(space->attachment, space->capacity * sizeof(*fresh));
        if (space->attachment == NULL)
            sim_panic("the host has no memory for %u attachments", space->capacity);
    }
    memmove(&space->attachment[at + 1], &space->attachment[at], (space->nattachments - at) * sizeof(*fresh));
    space->attachment[at] = *fresh;
    space->nattachments++;
    ((struct sim_object *)fresh->object)->nattachments++;
}

static void attachment_delete(struct machine_space *space, uint32_t at)
{
    struct sim_object *object = space->attachment[at].object;

    object->nattachments--;
    space->nattachments--;
    memmove(&space->attachment[at], &space->attachment[at + 1],
            (space->nattachments - at) * sizeof(space->attachment[0]));
}

/* Splits the attachment that contains va, unless it starts there. */
static void attachment_split(struct machine_space *space, vm_offset_t va)
{
    uint32_t at = attachment_find(space, va);

    if (at == space->nattachments || space->attachment[at].start >= va)
        return;
    struct sim_attachment upper = space->attachment[at];
    upper.pindex += atop(va - upper.start);
    upper.start = va;
    space->attachment[at].end = va;
    attachment_insert(space, at + 1, &upper);
}

uint32_t attachment_split_range(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    attachment_split(space, start);
    attachment_split(space, end);
    return attachment_find(space, start);
}

static bool attachment_continues(const struct sim_attachment *low, const struct sim_attachment *high)
{
    return low->end == high->start && low->object == high->object && low->prot == high->prot &&
           low->pindex + atop(low->end - low->start) == high->pindex && low->flags == high->flags &&
           low->frozen == high->frozen;
}

void attachment_merge(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    uint32_t at = attachment_find(space, start);

    at -= at > 0;
    while (at + 1 < space->nattachments && space->attachment[at].start < end) {
        struct sim_attachment *low = &space->attachment[at];

        if (attachment_continues(low, low + 1)) {
            low->end = low[1].end;
            attachment_delete(space, at + 1);
        } else {
            at++;
        }
    }
}

void attachment_clear(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    uint32_t at = attachment_split_range(space, start, end);

    while (at < space->nattachments && space->attachment[at].start < end)
        attachment_delete(space, at);
}

bool sim_attached_next(struct machine_space *space, vm_offset_t va, struct sim_attachment *attachment)
{
    uint32_t at = attachment_find(space, va);

    if (at == space->nattachments)
        return false;
    *attachment = space->attachment[at];
    return true;
}

bool sim_attached(struct machine_space *space, vm_offset_t va, struct sim_attachment *attachment)
{
    return sim_attached_next(space, va, attachment) && attachment->start <= va;
}
