/*
 * model_hold.c: system calls of the program that stay in progress while it does other things. See model.h.
 *
 * Such a call holds the pages of its range. It finds them, without a fault, as long as
 * they are the same pages of the same mapping with the same protection, whatever is
 * punched, written back, advised or paged out meanwhile. Pages that are unmapped, moved,
 * protected anew or cut off it may find or not, as under any kernel: they are vague.
 */
#include "model/model_range.h"
#include <errno.h>
#include <faultline/vm.h>

static uint8_t bit_of(int slot)
{
    return (uint8_t)(1u << slot);
}

/*
 * An unwritten page of a private mapping is the file's, or a copy that goes when the file is written: the
 * subject chooses which. Since a fork it may be another space's, until it is stored to.
 */
static bool must_stay(const struct model_page *page)
{
    return page->shared || (!page->inherited && (page->file < 0 || page->copy != NULL));
}

int model_hold(struct driver *d, int slot, uint64_t addr, uint64_t len, int access)
{
    struct model *model = model_of(d);
    uint64_t start = addr - addr % PAGE, span = len + addr % PAGE;

    model->hold[slot] = (struct driver_hold){addr, len, access};
    FOR_PAGES (model, page, start, span) {
        int error = start < DRIVER_WINDOW_BYTES ? model_page_fault(model, page, access) : -EFAULT;

        if (error != 0) {
            model_unhold(d, slot);
            return error;
        }
        page->touched = true;
        if (access == VM_PROT_WRITE)
            model_page_copy(model, page);
        page->kept |= bit_of(slot);
        if (must_stay(page))
            page->held |= bit_of(slot);
    }
    return 0;
}

void model_unhold(struct driver *d, int slot)
{
    struct model *model = model_of(d);
    unsigned space;
    int i;

    for (space = 0; model->hold[slot].len != 0 && space < DRIVER_SPACES; space++) {
        for (i = 0; i < DRIVER_WINDOW_PAGES; i++) {
            model->space[space].page[i].held &= (uint8_t)~bit_of(slot);
            model->space[space].page[i].kept &= (uint8_t)~bit_of(slot);
        }
    }
    model->hold[slot].len = 0;
}

bool model_held(struct driver *d, int slot, struct driver_hold *hold)
{
    if (model_of(d)->hold[slot].len == 0)
        return false;
    *hold = model_of(d)->hold[slot];
    return true;
}

/* Page by page, by each page's bit; the access is checked against the one that it was held for. */
int model_held_load(struct driver *d, int slot, uint64_t addr, void *bytes, size_t len)
{
    (void)slot;
    return model_load(d, addr, bytes, len);
}

int model_held_store(struct driver *d, int slot, uint64_t addr, const void *bytes, size_t len)
{
    (void)slot;
    return model_store(d, addr, bytes, len);
}

bool model_held_is_vague(struct model *model, const struct op *op)
{
    const struct driver_hold *hold = &model->hold[op->handle];
    uint64_t start = op->addr - op->addr % PAGE, span = op->len + op->addr % PAGE;

    if (op->addr < hold->addr || op->addr + op->len > hold->addr + hold->len ||
        (op->kind == OP_HELD_STORE && hold->access != VM_PROT_WRITE))
        return true;
    FOR_PAGES (model, page, start, span)
        if (!(page->held & bit_of(op->handle)))
            return true;
    return false;
}

uint64_t model_held_pages(const struct model *model)
{
    uint64_t n = 0;
    int slot;

    for (slot = 0; slot < DRIVER_HOLDS; slot++)
        if (model->hold[slot].len != 0)
            n += NPAGES(model->hold[slot].len + model->hold[slot].addr % PAGE);
    return n;
}
