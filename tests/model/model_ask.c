/*
 * model_ask.c: the oracle's queries of the model: its map, what is vague
 * in it, what cannot leave memory. See model.h.
 */
#include "model/model_range.h"
#include <faultline/vm.h>

static enum fl_inherit page_inherit(const struct model_page *page)
{
    if (page->dont_fork)
        return FL_INHERIT_NONE;
    if (page->wipe_on_fork)
        return FL_INHERIT_ZERO;
    return page->shared ? FL_INHERIT_SHARE : FL_INHERIT_COPY;
}

bool model_region(struct driver *d, uint64_t addr, struct driver_region *region)
{
    struct model *model = model_of(d);
    uint64_t i = addr / PAGE;
    struct model_page *first;

    while (i < DRIVER_WINDOW_PAGES && !model->page[i].mapped)
        i++;
    if (i >= DRIVER_WINDOW_PAGES)
        return false;
    first = &model->page[i];
    while (i > 0 && continues(&model->page[i - 1], &model->page[i], 1))
        i--;
    first = &model->page[i];
    *region = (struct driver_region){.start = i * PAGE, .prot = first->prot, .shared = first->shared};
    region->inherit = page_inherit(first);
    region->file = first->file < DRIVER_FILES ? first->file : -1;
    region->offset = region->file < 0 ? 0 : first->pindex * PAGE;
    while (i < DRIVER_WINDOW_PAGES && continues(first, &model->page[i], (uint64_t)(&model->page[i] - first)))
        i++;
    region->end = i * PAGE;
    return true;
}

/* Whether two adjacent pages that look alike from outside are certainly one mapping. */
static bool surely_one(const struct model_page *a, const struct model_page *b)
{
    return a->made_by == b->made_by && a->behavior == b->behavior && a->locked == b->locked;
}

static bool mremap_is_vague(struct model *model, const struct op *op)
{
    bool moves = op->flags & (FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP);
    uint64_t len = clip_len(op->addr, op->len);

    if (!moves && NPAGES(op->len) >= NPAGES(op->len2))
        return false;
    if (moves && !one_mapping(model, op->addr - op->addr % PAGE, len))
        return true; /* newer kernels move several mappings at once */
    if ((op->flags & FL_MREMAP_DONTUNMAP) && model->page[op->addr / PAGE].locked)
        return true; /* Linux unlocks more than the range: the whole mapping that contains it */
    FOR_PAGES (model, page, op->addr, len)
        if (page->mapped && !surely_one(page, &model->page[op->addr / PAGE]))
            return true;
    return false;
}

/* Whether it matters to the call what is locked. */
static bool asks_for_locks(const struct op *op)
{
    switch (op->kind) {
    case OP_MSYNC:
        return op->flags & FL_MS_INVALIDATE;
    case OP_MADVISE:
        return op->flags == FL_MADV_DONTNEED || op->flags == FL_MADV_COLD || op->flags == FL_MADV_PAGEOUT ||
               op->flags == FL_MADV_FREE || op->flags == FL_MADV_REMOVE;
    default:
        return op->kind == OP_MPROTECT || op->kind == OP_MREMAP;
    }
}

bool model_is_vague(struct driver *d, const struct op *op)
{
    struct model *model = model_of(d);

    if (op->kind == OP_HELD_LOAD || op->kind == OP_HELD_STORE)
        return model_held_is_vague(model, op);
    if (op->kind > OP_MUNLOCK || op->addr >= DRIVER_WINDOW_BYTES)
        return false;
    if (asks_for_locks(op))
        FOR_PAGES (model, page, op->addr, clip_len(op->addr, op->len))
            if (page->lock_vague)
                return true;
    return op->kind == OP_MREMAP && mremap_is_vague(model, op);
}

static uint64_t pinned_pages(const struct model_space *space, bool swap)
{
    uint64_t n = 0;
    int i;

    for (i = 0; i < DRIVER_WINDOW_PAGES; i++) {
        const struct model_page *page = &space->page[i];
        bool anonymous =
            page->copy != NULL || ((page->file < 0 || page->file >= DRIVER_FILES) && page->touched);

        n += page->mapped && (page->locked || page->lock_vague || (anonymous && !swap));
    }
    return n;
}

uint64_t model_pinned_pages(struct driver *d, bool swap)
{
    struct model *model = model_of(d);
    uint64_t n = model_held_pages(model);
    unsigned space;

    for (space = 0; space < DRIVER_SPACES; space++)
        if (d->lives[space])
            n += pinned_pages(&model->space[space], swap);
    return n;
}

/* Of an operation that makes private or anonymous pages, but wires none. */
static uint64_t may_pin_anonymous(struct driver *d, const struct op *op)
{
    switch (op->kind) {
    case OP_LOAD:
    case OP_STORE:
        return NPAGES(op->len) + 1;
    case OP_FORK:
        return pinned_pages(&model_of(d)->space[d->space], false);
    case OP_MADVISE:
        return op->flags == FL_MADV_POPULATE_READ || op->flags == FL_MADV_POPULATE_WRITE ? NPAGES(op->len)
                                                                                         : 0;
    default:
        return 0;
    }
}

uint64_t model_may_pin(struct driver *d, const struct op *op, bool swap)
{
    switch (op->kind) {
    case OP_MMAP:
        return op->flags & (FL_MAP_POPULATE | FL_MAP_LOCKED) ? NPAGES(op->len) : 0;
    case OP_HOLD:
        return 2 * (NPAGES(op->len) + 1); /* and private copies */
    case OP_MLOCK:
    case OP_MPROTECT:
        return NPAGES(op->len) + 1;
    case OP_MREMAP:
        return NPAGES(op->len2);
    default:
        return swap ? 0 : may_pin_anonymous(d, op);
    }
}
