/* model_page.c: the model's pages and files: what an access sees and what it leaves behind. See model.h. */
#include "model/model.h"
#include <errno.h>
#include <faultline/vm.h>
#include <stdlib.h>
#include <string.h>

#define PAGE DRIVER_PAGE

static void *must_alloc(size_t len)
{
    void *p = calloc(1, len);

    if (p == NULL)
        abort();
    return p;
}

void model_files_init(struct model *model)
{
    uint64_t i;
    int f;

    for (f = 0; f < DRIVER_FILES; f++) {
        model->file[f].capacity = DRIVER_FILE_PAGES * PAGE;
        model->file[f].size = driver_file_size(f);
        model->file[f].bytes = must_alloc(model->file[f].capacity);
        for (i = 0; i < model->file[f].size; i++)
            model->file[f].bytes[i] = driver_file_byte(f, i);
    }
    model->nfiles = DRIVER_FILES;
}

int model_file_new(struct model *model, uint64_t size)
{
    struct model_file *file = &model->file[model->nfiles];

    if (model->nfiles == MODEL_FILES_MAX)
        abort(); /* sequences are shorter than that */
    file->size = file->capacity = size;
    file->bytes = must_alloc(size);
    return model->nfiles++;
}

void model_page_unmap(struct model_page *page)
{
    free(page->copy);
    memset(page, 0, sizeof(*page));
}

static bool beyond_end(const struct model *model, const struct model_page *page)
{
    return page->file >= 0 && page->pindex * PAGE >= model->file[page->file].size;
}

int model_page_fault(const struct model *model, const struct model_page *page, int access)
{
    if (!page->mapped)
        return -EFAULT;
    /* On x86-64 a page that may be written or executed may be read. */
    if (access == VM_PROT_WRITE ? !(page->prot & VM_PROT_WRITE) : page->prot == 0)
        return -EACCES;
    if (page->copy == NULL && beyond_end(model, page))
        return -ENXIO;
    return 0;
}

const uint8_t *model_page_bytes(const struct model *model, const struct model_page *page)
{
    static const uint8_t zeros[DRIVER_PAGE];

    if (page->copy != NULL)
        return page->copy;
    return page->file < 0 ? zeros : model->file[page->file].bytes + page->pindex * PAGE;
}

static bool in_tail(const struct model *model, const struct model_page *page, uint64_t in_page)
{
    const struct model_file *file = &model->file[page->file];

    return file->tail_stored && page->pindex == file->size / PAGE && in_page >= file->size % PAGE;
}

void model_page_copy(const struct model *model, struct model_page *page)
{
    uint8_t *copy;
    uint64_t i;

    page->inherited = false;
    if (page->shared || page->copy != NULL)
        return;
    copy = must_alloc(2 * PAGE);
    memcpy(copy, model_page_bytes(model, page), PAGE);
    for (i = 0; page->file >= 0 && i < PAGE; i++)
        copy[PAGE + i] = in_tail(model, page, i);
    page->copy = copy;
}

bool model_byte_may_be_zero(struct driver *d, uint64_t addr)
{
    struct model *model = model_of(d);
    struct model_page *page = &model->page[addr / PAGE];

    if (page->copy != NULL)
        return page->copy[PAGE + addr % PAGE];
    return page->file >= 0 && in_tail(model, page, addr % PAGE);
}

void model_page_free(struct model_page *page)
{
    page->free_vague = true;
    if (page->copy != NULL)
        memset(page->copy + PAGE, 1, PAGE);
}

int model_page_populate(const struct model *model, struct model_page *page)
{
    bool write = !page->shared && (page->prot & VM_PROT_WRITE);

    if (model_page_fault(model, page, write ? VM_PROT_WRITE : VM_PROT_READ) != 0)
        return -EFAULT;
    page->touched = true;
    if (write)
        model_page_copy(model, page);
    return 0;
}

int model_load(struct driver *d, uint64_t addr, void *bytes, size_t len)
{
    struct model *model = model_of(d);
    struct model_page *page = &model->page[addr / PAGE];
    int error = addr < DRIVER_WINDOW_BYTES ? model_page_fault(model, page, VM_PROT_READ) : -EFAULT;

    if (error != 0)
        return error;
    page->touched = true;
    memcpy(bytes, model_page_bytes(model, page) + addr % PAGE, len);
    return 0;
}

int model_store(struct driver *d, uint64_t addr, const void *bytes, size_t len)
{
    struct model *model = model_of(d);
    struct model_page *page = &model->page[addr / PAGE];
    int error = addr < DRIVER_WINDOW_BYTES ? model_page_fault(model, page, VM_PROT_WRITE) : -EFAULT;
    struct model_file *file;
    uint8_t *to;

    if (error != 0)
        return error;
    file = page->file < 0 ? NULL : &model->file[page->file];
    page->touched = true;
    model_page_copy(model, page);
    to = page->copy != NULL ? page->copy : file->bytes + page->pindex * PAGE;
    if (page->copy == NULL && page->pindex == file->size / PAGE && addr % PAGE + len > file->size % PAGE)
        file->tail_stored = true;
    memcpy(to + addr % PAGE, bytes, len);
    if (page->copy != NULL)
        memset(to + PAGE + addr % PAGE, 0, len);
    if (model->bug == MODEL_BUG_LOST_STORE && addr % PAGE < 4000 && addr % PAGE + len > 4000)
        to[4000] = (uint8_t)~to[4000];
    return 0;
}

/* Truncation takes private copies and locked pages of file `index` too, from page `gone` on. */
static void cut_off(struct model_space *space, int index, uint64_t gone)
{
    int i;

    for (i = 0; i < DRIVER_WINDOW_PAGES; i++) {
        struct model_page *page = &space->page[i];

        if (!page->mapped || page->file != index || page->pindex < gone)
            continue;
        free(page->copy);
        page->copy = NULL;
        page->held = 0;
        page->lock_vague |= page->locked;
    }
}

int model_set_size(struct driver *d, int index, uint64_t len)
{
    struct model *model = model_of(d);
    struct model_file *file = &model->file[index];
    uint64_t from = len < file->size ? len : file->size;
    uint64_t gone = (len + PAGE - 1) / PAGE;
    unsigned space;

    if (model->bug != MODEL_BUG_STALE_TAIL || len < file->size)
        memset(file->bytes + from, 0, file->capacity - from);
    for (space = 0; len < file->size && space < DRIVER_SPACES; space++)
        if (d->lives[space])
            cut_off(&model->space[space], index, gone);
    file->size = len;
    file->tail_stored = false;
    return 0;
}

int model_file_read(struct driver *d, int index, uint64_t off, void *bytes, size_t len)
{
    struct model_file *file = &model_of(d)->file[index];

    if (off > file->size || len > file->size - off)
        return -EINVAL;
    memcpy(bytes, file->bytes + off, len);
    return 0;
}
