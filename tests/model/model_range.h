/*
 * model_range.h: ranges of the model's pages: what model.c and model_ask.c walk.
 */
#ifndef TESTS_MODEL_MODEL_RANGE_H
#define TESTS_MODEL_MODEL_RANGE_H

#include "model/model.h"

#define PAGE      DRIVER_PAGE
#define NPAGES(x) (((x) + PAGE - 1) / PAGE)

/* The pages of [addr, addr + len) that lie in the window: for loops. */
#define FOR_PAGES(model, p, addr, len)                                                                       \
    for (struct model_page *p = &(model)->page[(addr) / PAGE], *end_ = p + NPAGES(len); p < end_; p++)

/* Whether the range, rounded up, lies in the window. Nothing is mapped behind the window of any driver. */
static inline bool in_window(uint64_t addr, uint64_t len)
{
    return addr <= DRIVER_WINDOW_BYTES && len <= DRIVER_WINDOW_BYTES - addr;
}

static inline uint64_t clip_len(uint64_t addr, uint64_t len)
{
    if (addr >= DRIVER_WINDOW_BYTES)
        return 0;
    return len < DRIVER_WINDOW_BYTES - addr ? len : DRIVER_WINDOW_BYTES - addr;
}

/* Whether page b can be in the same mapping as a, n pages further. */
static inline bool continues(const struct model_page *a, const struct model_page *b, uint64_t n)
{
    return a->mapped && b->mapped && a->prot == b->prot && a->shared == b->shared && a->file == b->file &&
           a->dont_fork == b->dont_fork && a->wipe_on_fork == b->wipe_on_fork &&
           (a->file < 0 || a->pindex + n == b->pindex);
}

static inline bool one_mapping(struct model *model, uint64_t addr, uint64_t len)
{
    struct model_page *first = &model->page[addr / PAGE];

    if (!in_window(addr, len))
        return false;
    FOR_PAGES (model, page, addr, len)
        if (!continues(first, page, (uint64_t)(page - first)))
            return false;
    return true;
}

#endif
