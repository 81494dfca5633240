/* model.c: the system calls, page by page. See model.h. */
#include "model/model_range.h"
#include <errno.h>
#include <faultline/vm.h>
#include <stdlib.h>
#include <string.h>

static bool aligned(uint64_t x)
{
    return x % PAGE == 0;
}

/* ---- mmap ---------------------------------------------------------------------------------------------- */

static int check_file(int prot, int flags, int handle)
{
    const struct driver_handle *h = &driver_handles[handle];
    int type = flags & FL_MAP_TYPE;

    if (type == FL_MAP_SHARED || type == FL_MAP_SHARED_VALIDATE) {
        /* flags from before MAP_TYPE existed */
        int known = FL_MAP_TYPE | FL_MAP_FIXED | FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN | FL_MAP_LOCKED |
                    FL_MAP_NORESERVE | FL_MAP_POPULATE | FL_MAP_NONBLOCK | FL_MAP_STACK;

        if (type == FL_MAP_SHARED_VALIDATE && (flags & ~known))
            return -EOPNOTSUPP;
        if ((prot & VM_PROT_WRITE) && !h->write)
            return -EACCES;
    } else if (type != FL_MAP_PRIVATE) {
        return -EINVAL;
    }
    if (!h->read)
        return -EACCES;
    return flags & FL_MAP_GROWSDOWN ? -EINVAL : 0;
}

/* Its address, or an error. */
static int64_t place(struct model *model, uint64_t addr, uint64_t len, int flags)
{
    uint64_t at;

    if (flags & (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)) {
        if (!aligned(addr))
            return -EINVAL;
        if (!in_window(addr, len))
            return -ENOMEM;
        if ((flags & FL_MAP_FIXED_NOREPLACE) && !driver_is_free(&model->driver, addr, len))
            return -EEXIST;
        return (int64_t)addr;
    }
    if (addr != DRIVER_ANY && driver_is_free(&model->driver, addr - addr % PAGE, len))
        return (int64_t)(addr - addr % PAGE);
    at = driver_find_gap(&model->driver, len);
    return at == DRIVER_ANY ? -ENOMEM : (int64_t)at;
}

/* False: not to the end. */
static bool populate(struct model *model, uint64_t addr, uint64_t len)
{
    FOR_PAGES (model, page, addr, len)
        if (model_page_populate(model, page) != 0)
            return false;
    return true;
}

/* The effect of MAP_LOCKED, or of growing a locked mapping, on new pages; failures are ignored. */
static void lock_new(struct model *model, uint64_t addr, uint64_t len)
{
    if (!populate(model, addr, len))
        FOR_PAGES (model, page, addr, len)
            page->lock_vague = true;
}

static int64_t model_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                          uint64_t off)
{
    struct model *model = model_of(d);
    bool anonymous = flags & FL_MAP_ANONYMOUS, shared = (flags & FL_MAP_TYPE) != FL_MAP_PRIVATE;
    int file = anonymous || handle < 0 ? -1 : driver_handles[handle].file;
    int64_t at;
    int error = 0;

    if (!aligned(off))
        return -EINVAL;
    if (!anonymous && handle < 0)
        return -EBADF;
    if (len == 0)
        return -EINVAL;
    if ((at = place(model, addr, NPAGES(len) * PAGE, flags)) < 0)
        return at;
    if (!anonymous)
        error = check_file(prot, flags, handle);
    else if ((flags & FL_MAP_TYPE) != FL_MAP_PRIVATE &&
             ((flags & FL_MAP_TYPE) != FL_MAP_SHARED || (flags & FL_MAP_GROWSDOWN)))
        error = -EINVAL;
    if (error != 0)
        return error;
    if (anonymous && shared) {
        file = model_file_new(model, NPAGES(len) * PAGE);
        off = 0;
    }
    model->calls++;
    FOR_PAGES (model, page, (uint64_t)at, len) {
        model_page_unmap(page);
        *page = (struct model_page){.mapped = true, .shared = shared, .prot = (uint8_t)prot, .file = file};
        page->may_write = !shared || anonymous || driver_handles[handle].write;
        page->locked = flags & FL_MAP_LOCKED;
        page->grows_down = flags & FL_MAP_GROWSDOWN;
        page->made_by = model->calls;
        page->pindex = file < 0 ? 0 : off / PAGE;
        off += PAGE;
    }
    if (flags & FL_MAP_LOCKED)
        lock_new(model, (uint64_t)at, len);
    else if (flags & FL_MAP_POPULATE)
        (void)populate(model, (uint64_t)at, len);
    return at;
}

static int model_munmap(struct driver *d, uint64_t addr, uint64_t len)
{
    struct model *model = model_of(d);
    bool buggy = model->bug == MODEL_BUG_STALE_COPY && NPAGES(len) >= 3;

    if (!aligned(addr) || len == 0)
        return -EINVAL;
    FOR_PAGES (model, page, addr, clip_len(addr, len))
        if (!buggy || page + 1 < end_)
            model_page_unmap(page);
    return 0;
}

static int model_mprotect(struct driver *d, uint64_t addr, uint64_t len, int prot)
{
    struct model *model = model_of(d);

    if (!aligned(addr))
        return -EINVAL;
    if (prot & ~VM_PROT_ALL)
        return -EINVAL;
    model->calls++;
    FOR_PAGES (model, page, addr, clip_len(addr, len)) {
        if (!page->mapped)
            return -ENOMEM;
        if ((prot & VM_PROT_WRITE) && !page->may_write)
            return -EACCES;
        if (page->prot != prot)
            page->made_by = model->calls;
        /* A locked private page that becomes writable is copied now, so that no later store has to wait. */
        if (page->locked && !page->shared && !(page->prot & VM_PROT_WRITE) && (prot & VM_PROT_WRITE)) {
            page->prot = (uint8_t)prot;
            (void)model_page_populate(model, page);
        }
        page->prot = (uint8_t)prot;
        page->held = 0; /* a call in progress loses the revoked access, too */
    }
    return in_window(addr, len) ? 0 : -ENOMEM;
}

/* ---- mremap -------------------------------------------------------------------------------------------- */

static bool all_free(struct model *model, uint64_t addr, uint64_t len)
{
    return driver_is_free(&model->driver, addr, len);
}

/* The pages move; with `keep`, the old ones stay mapped but lose their contents. */
static void move_pages(struct model *model, uint64_t from, uint64_t to, uint64_t len, bool keep)
{
    struct model_page *page = &model->page[to / PAGE];

    model->calls++;
    FOR_PAGES (model, old, from, len) {
        *page = *old;
        page->made_by = model->calls;
        page->held = old->held = old->kept = 0;
        if (model->bug == MODEL_BUG_OFFSET_BY_PAGE && page->file >= 0 && page->copy == NULL && !page->shared)
            page->pindex++;
        old->copy = NULL;
        old->touched = false;
        if (keep)
            old->locked = false;
        else
            memset(old, 0, sizeof(*old));
        page++;
    }
}

/* New pages behind a mapping's last page. */
static void grow(struct model *model, uint64_t addr, uint64_t old_len, uint64_t new_len)
{
    const struct model_page *last = &model->page[addr / PAGE + NPAGES(old_len) - 1];
    struct model_page like = *last;

    like.copy = NULL;
    like.touched = false;
    like.held = like.kept = 0;
    FOR_PAGES (model, page, addr + old_len, new_len - old_len) {
        if (like.file >= 0)
            like.pindex++;
        *page = like;
    }
    if (like.locked)
        lock_new(model, addr + old_len, new_len - old_len);
}

static int check_mremap(uint64_t addr, uint64_t len, uint64_t new_len, int flags, uint64_t new_addr)
{
    if (flags & ~(FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP))
        return -EINVAL;
    if (!aligned(addr) || new_len == 0)
        return -EINVAL;
    if ((flags & (FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP)) && !(flags & FL_MREMAP_MAYMOVE))
        return -EINVAL;
    if ((flags & FL_MREMAP_DONTUNMAP) && NPAGES(len) != NPAGES(new_len))
        return -EINVAL;
    if (!(flags & FL_MREMAP_FIXED))
        return 0;
    if (!aligned(new_addr) || !in_window(new_addr, new_len))
        return -EINVAL;
    if (NPAGES(len) == 0 && addr == new_addr) /* a copy onto its original */
        return -EFAULT;
    return addr + NPAGES(len) * PAGE > new_addr && new_addr + NPAGES(new_len) * PAGE > addr ? -EINVAL : 0;
}

/* old_len 0: a second mapping of the same shared pages. */
static void duplicate(struct model *model, uint64_t addr, uint64_t to, uint64_t len)
{
    struct model_page like = model->page[addr / PAGE];

    like.made_by = ++model->calls;
    like.touched = false;
    like.held = like.kept = 0;
    FOR_PAGES (model, page, to, len) {
        *page = like;
        like.pindex++;
    }
    if (like.locked)
        lock_new(model, to, len);
}

static int64_t mremap_move(struct model *model, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                           uint64_t new_addr)
{
    if (flags & FL_MREMAP_FIXED) {
        FOR_PAGES (model, page, new_addr, new_len)
            model_page_unmap(page);
        if (len > new_len) {
            FOR_PAGES (model, page, addr + new_len, clip_len(addr + new_len, len - new_len))
                model_page_unmap(page);
            len = new_len;
        }
    } else {
        new_addr = driver_find_gap(&model->driver, new_len);
        if (new_addr == DRIVER_ANY)
            return -ENOMEM;
    }
    if (len == 0) {
        duplicate(model, addr, new_addr, new_len);
        return (int64_t)new_addr;
    }
    move_pages(model, addr, new_addr, len, flags & FL_MREMAP_DONTUNMAP);
    if (new_len > len)
        grow(model, new_addr, len, new_len);
    return (int64_t)new_addr;
}

static int64_t model_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                            uint64_t new_addr)
{
    struct model *model = model_of(d);
    bool moves = flags & (FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP);
    int error = check_mremap(addr, len, new_len, flags, new_addr);

    if (error != 0)
        return error;
    len = NPAGES(len) * PAGE;
    new_len = NPAGES(new_len) * PAGE;
    if (!in_window(addr, PAGE) || !model->page[addr / PAGE].mapped)
        return -EFAULT;
    if (len == 0 && !model->page[addr / PAGE].shared)
        return -EINVAL;
    if (!moves && len >= new_len) {
        FOR_PAGES (model, page, addr + new_len, clip_len(addr + new_len, len - new_len))
            model_page_unmap(page);
        return (int64_t)addr;
    }
    if (!one_mapping(model, addr, len < new_len ? len : new_len))
        return -EFAULT;
    if (!moves && len != 0 && all_free(model, addr + len, new_len - len)) {
        grow(model, addr, len, new_len);
        return (int64_t)addr;
    }
    if (!(flags & FL_MREMAP_MAYMOVE))
        return -ENOMEM;
    return mremap_move(model, addr, len, new_len, flags, new_addr);
}

/* ---- msync, madvise, mincore, mlock -------------------------------------------------------------------- */

static int model_msync(struct driver *d, uint64_t addr, uint64_t len, int flags)
{
    struct model *model = model_of(d);
    bool hole = false;

    if ((flags & ~(FL_MS_ASYNC | FL_MS_INVALIDATE | FL_MS_SYNC)) || !aligned(addr) ||
        ((flags & FL_MS_ASYNC) && (flags & FL_MS_SYNC)))
        return -EINVAL;
    FOR_PAGES (model, page, addr, clip_len(addr, len)) {
        if (!page->mapped) {
            if (model->bug == MODEL_BUG_WRONG_ERRNO)
                return -EINVAL;
            if (flags == FL_MS_ASYNC)
                return -ENOMEM;
            hole = true;
        } else if ((flags & FL_MS_INVALIDATE) && page->locked) {
            return -EBUSY;
        }
    }
    return hole || !in_window(addr, len) ? -ENOMEM : 0;
}

static int advise_page(struct model *model, struct model_page *page, int advice)
{
    int access = advice == FL_MADV_POPULATE_WRITE ? VM_PROT_WRITE : VM_PROT_READ;

    switch (advice) {
    case FL_MADV_NORMAL:
    case FL_MADV_RANDOM:
    case FL_MADV_SEQUENTIAL:
        page->behavior = (uint8_t)advice;
        page->made_by = model->calls;
        return 0;
    case FL_MADV_DONTFORK:
    case FL_MADV_DOFORK:
        page->dont_fork = advice == FL_MADV_DONTFORK;
        page->made_by = model->calls;
        return 0;
    case FL_MADV_WIPEONFORK:
    case FL_MADV_KEEPONFORK:
        if (advice == FL_MADV_WIPEONFORK && (page->shared || page->file >= 0))
            return -EINVAL;
        page->wipe_on_fork = advice == FL_MADV_WIPEONFORK;
        page->made_by = model->calls;
        return 0;
    case FL_MADV_DONTNEED:
        if (page->locked)
            return -EINVAL;
        free(page->copy);
        page->copy = NULL;
        /* reads as zeros then, where it is anonymous */
        page->touched = page->kept != 0;
        page->inherited = false;
        /* The file shows there again, or what was forked is mapped anew. */
        page->held = page->shared || (page->file < 0 && !model->forked) ? page->held : 0;
        return 0;
    case FL_MADV_FREE:
        if (page->locked || page->shared || page->file >= 0)
            return -EINVAL;
        model_page_free(page);
        return 0;
    case FL_MADV_REMOVE:
        return model_remove(model, page);
    case FL_MADV_COLD:
    case FL_MADV_PAGEOUT:
        return page->locked ? -EINVAL : 0;
    case FL_MADV_POPULATE_READ:
    case FL_MADV_POPULATE_WRITE:
        if (!(page->prot & access))
            return -EINVAL;
        if (model_page_fault(model, page, access) != 0)
            return -EFAULT;
        page->touched = true;
        if (access == VM_PROT_WRITE)
            model_page_copy(model, page);
        return 0;
    default:
        return 0;
    }
}

static int model_madvise(struct driver *d, uint64_t addr, uint64_t len, int advice)
{
    struct model *model = model_of(d);
    bool hole = !in_window(addr, len);
    int error;

    if (!aligned(addr))
        return -EINVAL;
    model->calls++;
    FOR_PAGES (model, page, addr, clip_len(addr, len)) {
        if (!page->mapped) {
            if (advice == FL_MADV_POPULATE_READ || advice == FL_MADV_POPULATE_WRITE)
                return -ENOMEM;
            hole = true;
            continue;
        }
        if ((error = advise_page(model, page, advice)) != 0)
            return error;
    }
    return hole ? -ENOMEM : 0;
}

static int model_mincore(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec)
{
    struct model *model = model_of(d);

    if (!aligned(addr))
        return -EINVAL;
    if (!in_window(addr, len))
        return -ENOMEM;
    FOR_PAGES (model, page, addr, len) {
        if (!page->mapped)
            return -ENOMEM;
        if (page->copy != NULL && !page->free_vague)
            *vec++ = 1;
        else
            *vec++ = page->file < 0 && !page->touched && !page->inherited ? 0 : DRIVER_VEC_UNKNOWN;
    }
    return 0;
}

/* A call that failed may or may not have changed the locks of [addr, addr + len). */
static int locks_vague(struct model *model, uint64_t addr, uint64_t len)
{
    FOR_PAGES (model, page, addr, clip_len(addr, len))
        page->lock_vague = page->mapped;
    return -ENOMEM;
}

static bool all_mapped(struct model *model, uint64_t addr, uint64_t len)
{
    FOR_PAGES (model, page, addr, clip_len(addr, len))
        if (!page->mapped)
            return false;
    return in_window(addr, len);
}

static int set_locked(struct driver *d, uint64_t addr, uint64_t len, bool locked)
{
    struct model *model = model_of(d);

    len += addr % PAGE;
    addr -= addr % PAGE;
    if (!all_mapped(model, addr, len))
        return locks_vague(model, addr, len);
    model->calls++;
    FOR_PAGES (model, page, addr, len) {
        if (page->locked != locked)
            page->made_by = model->calls;
        page->locked = locked;
        page->lock_vague = false;
    }
    if (locked && !populate(model, addr, len))
        return locks_vague(model, addr, len);
    return 0;
}

static int model_mlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return set_locked(d, addr, len, true);
}

static int model_munlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return set_locked(d, addr, len, false);
}

static int model_prefetch(struct driver *d, uint64_t addr, uint64_t len, uint64_t addr2, uint64_t len2)
{
    (void)d;
    (void)addr;
    (void)len;
    (void)addr2;
    (void)len2;
    return 0;
}

static uint64_t model_brk(struct driver *d, uint64_t addr)
{
    struct model *model = model_of(d);
    uint64_t *brk = &model->space[d->space].brk;
    uint64_t old = NPAGES(*brk) * PAGE, new = NPAGES(addr) * PAGE;

    if (addr < DRIVER_BRK_START || addr > DRIVER_BRK_LIMIT)
        return *brk;
    if (new < old) {
        FOR_PAGES (model, page, new, old - new)
            model_page_unmap(page);
    } else if (new > old) {
        if (!all_free(model, old,
                      new - old + PAGE)) /* Linux keeps a page between the heap and what follows */
            return *brk;
        model->calls++;
        FOR_PAGES (model, page, old, new - old)
            *page = (struct model_page){.mapped = true,
                                        .may_write = true,
                                        .prot = VM_PROT_READ | VM_PROT_WRITE,
                                        .file = -1,
                                        .made_by = model->calls};
    }
    *brk = addr;
    return addr;
}

static void model_check(struct driver *d)
{
    (void)d;
}

static void model_destroy(struct driver *d)
{
    struct model *model = model_of(d);
    unsigned space;
    int i;

    for (space = 0; space < DRIVER_SPACES; space++)
        if (d->lives[space])
            model_exit(d, space);
    for (i = 0; i < model->nfiles; i++)
        free(model->file[i].bytes);
    free(model);
}

void model_set_block(struct driver *d, uint32_t block_bytes)
{
    model_of(d)->block = block_bytes;
}

void model_set_bug(struct driver *d, enum model_bug bug)
{
    model_of(d)->bug = bug;
}

struct driver *model_driver_create(void)
{
    static const struct driver calls = {
        .name = "model",
        .has = DRIVER_HAS_BRK | DRIVER_HAS_DIRECT | DRIVER_HAS_DSYNC | DRIVER_HAS_REMOVE | DRIVER_HAS_PUNCH |
               DRIVER_HAS_LIMIT | DRIVER_HAS_HOLD | DRIVER_HAS_FORK,
        .lives = {true},
        .address_space_end = DRIVER_WINDOW_BYTES,
        .mmap = model_mmap,
        .munmap = model_munmap,
        .mprotect = model_mprotect,
        .mremap = model_mremap,
        .msync = model_msync,
        .madvise = model_madvise,
        .mincore = model_mincore,
        .mlock = model_mlock,
        .munlock = model_munlock,
        .brk = model_brk,
        .load = model_load,
        .store = model_store,
        .set_size = model_set_size,
        .prefetch = model_prefetch,
        .hold = model_hold,
        .unhold = model_unhold,
        .held_load = model_held_load,
        .held_store = model_held_store,
        .held = model_held,
        .read = model_read,
        .write = model_write,
        .truncate = model_truncate,
        .punch = model_punch,
        .fsync = model_fsync,
        .sync_range = model_sync_range,
        .fadvise = model_fadvise,
        .file_read = model_file_read,
        .file_size = model_file_size,
        .region = model_region,
        .fork = model_fork,
        .enter = model_enter,
        .exit = model_exit,
        .check = model_check,
        .destroy = model_destroy,
    };
    struct model *model = calloc(1, sizeof(*model));

    if (model == NULL)
        abort();
    model->driver = calls;
    model->page = model->space[0].page;
    model->space[0].brk = DRIVER_BRK_START;
    model->block = PAGE;
    model_files_init(model);
    return &model->driver;
}
