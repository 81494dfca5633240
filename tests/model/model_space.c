/*
 * model_space.c: several spaces: a fork copies the pages of one into another. See model.h.
 *
 * As fork(2) and madvise(2) say: mappings under MADV_DONTFORK are left out, those under MADV_WIPEONFORK are
 * fresh, and no page of the child is locked.
 */
#include "model/model_range.h"
#include <stdlib.h>
#include <string.h>

/* A private page's own bytes once more. */
static uint8_t *duplicate(const uint8_t *copy)
{
    uint8_t *bytes = copy == NULL ? NULL : malloc(2 * PAGE);

    if (copy == NULL)
        return NULL;
    if (bytes == NULL)
        abort();
    return memcpy(bytes, copy, 2 * PAGE);
}

static void fork_page(struct model_page *old, struct model_page *new)
{
    *new = *old;
    new->copy = NULL;
    new->locked = new->lock_vague = false;
    new->held = new->kept = 0;
    if (old->wipe_on_fork) {
        new->touched = new->free_vague = new->inherited = false;
        return;
    }
    new->copy = duplicate(old->copy);
    old->inherited = new->inherited = !old->shared;
}

int model_fork(struct driver *d, unsigned to)
{
    struct model *model = model_of(d);
    struct model_space *child = &model->space[to];
    int i;

    memset(child, 0, sizeof(*child));
    for (i = 0; i < DRIVER_WINDOW_PAGES; i++)
        if (model->page[i].mapped && !model->page[i].dont_fork)
            fork_page(&model->page[i], &child->page[i]);
    for (i = 0; i < DRIVER_WINDOW_PAGES && model->bug == MODEL_BUG_FORKED_BYTE; i++)
        if (child->page[i].copy != NULL)
            child->page[i].copy[100] ^= 1;
    child->brk = model->space[d->space].brk;
    model->forked = true;
    return 0;
}

void model_enter(struct driver *d, unsigned space)
{
    model_of(d)->page = model_of(d)->space[space].page;
}

void model_exit(struct driver *d, unsigned space)
{
    int i;

    for (i = 0; i < DRIVER_WINDOW_PAGES; i++)
        model_page_unmap(&model_of(d)->space[space].page[i]);
}
