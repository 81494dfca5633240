/* driver.c: what all drivers share: the files that exist, spaces, walks over regions. See driver.h. */
#include "model/driver.h"
#include "sim/prng.h"
#include <errno.h>
#include <faultline/vm.h>

const struct driver_handle driver_handles[DRIVER_HANDLES] = {
    {0, true, true}, {1, true, true}, {0, true, false}, {2, true, false}, {1, false, true},
};

uint8_t driver_file_byte(int file, uint64_t off)
{
    return (uint8_t)(prng_mix(off / 8 + 1000003u * (unsigned)file) >> (8 * (off % 8)));
}

uint64_t driver_file_size(int file)
{
    static const uint64_t sizes[DRIVER_FILES] = {64 * DRIVER_PAGE, 47 * DRIVER_PAGE + 123,
                                                 20 * DRIVER_PAGE + 1};
    return sizes[file];
}

int driver_may_read(int handle)
{
    return driver_handles[handle].read ? 0 : -EBADF;
}

int driver_may_write(int handle)
{
    return driver_handles[handle].write ? 0 : -EBADF;
}

bool driver_region_joins(const struct driver_region *a, const struct driver_region *b)
{
    return a->end == b->start && a->prot == b->prot && a->shared == b->shared && a->file == b->file &&
           a->inherit == b->inherit && (a->file < 0 || a->offset + (a->end - a->start) == b->offset);
}

int driver_fork(struct driver *d, unsigned to)
{
    int error = d->lives[to] ? -EEXIST : d->fork(d, to);

    if (error == 0)
        d->lives[to] = true;
    return error;
}

int driver_enter(struct driver *d, unsigned space)
{
    if (!d->lives[space])
        return -ESRCH;
    d->enter(d, space);
    d->space = space;
    return 0;
}

int driver_exit(struct driver *d, unsigned space)
{
    unsigned other = 0;

    while (other < DRIVER_SPACES && (other == space || !d->lives[other]))
        other++;
    if (!d->lives[space] || other == DRIVER_SPACES)
        return -ESRCH;
    if (d->space == space && driver_enter(d, other) != 0)
        return -ESRCH;
    d->lives[space] = false;
    d->exit(d, space);
    return 0;
}

uint64_t driver_find_gap(struct driver *d, uint64_t len)
{
    uint64_t at = 0, best = DRIVER_ANY;
    struct driver_region region;

    if (len > DRIVER_WINDOW_BYTES)
        return DRIVER_ANY;
    while (at < DRIVER_WINDOW_BYTES && d->region(d, at, &region) && region.start < DRIVER_WINDOW_BYTES) {
        if (region.start > at && region.start - at >= len)
            best = region.start - len;
        at = region.end;
    }
    if (at < DRIVER_WINDOW_BYTES && DRIVER_WINDOW_BYTES - at >= len)
        best = DRIVER_WINDOW_BYTES - len;
    return best;
}

bool driver_is_free(struct driver *d, uint64_t addr, uint64_t len)
{
    struct driver_region region;

    if (addr >= DRIVER_WINDOW_BYTES || len > DRIVER_WINDOW_BYTES - addr)
        return false;
    return !d->region(d, addr, &region) || region.start >= addr + len;
}

static uint64_t whole_pages(uint64_t len)
{
    return (len + DRIVER_PAGE - 1) & ~(DRIVER_PAGE - 1);
}

/* A hint is honoured if a free range begins at its page. */
static bool is_honoured(struct driver *d, uint64_t addr, uint64_t len)
{
    return addr != DRIVER_ANY && driver_is_free(d, addr & ~(DRIVER_PAGE - 1), whole_pages(len));
}

int64_t driver_mmap_placed(struct driver *d, driver_mmap_fn *raw, uint64_t addr, uint64_t len, int prot,
                           int flags, int handle, uint64_t off)
{
    int64_t at;

    if ((flags & (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)) || len == 0 || is_honoured(d, addr, len))
        return raw(d, addr, len, prot, flags, handle, off);
    addr = driver_find_gap(d, whole_pages(len));
    if (addr != DRIVER_ANY)
        return raw(d, addr, len, prot, flags | FL_MAP_FIXED, handle, off);
    at = raw(d, DRIVER_ANY, len, prot, flags, handle, off);
    if (at >= -4095 && at < 0)
        return at;
    d->munmap(d, (uint64_t)at, len); /* the window is full, but the address space is not */
    return -ENOMEM;
}

int64_t driver_mremap_placed(struct driver *d, driver_mremap_fn *raw, uint64_t addr, uint64_t len,
                             uint64_t new_len, int flags, uint64_t new_addr)
{
    int in_place = flags & ~(FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP);
    bool moves = flags & (FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP);
    int64_t at;

    if (!moves && len != 0) {
        at = raw(d, addr, len, new_len, in_place, 0);
        if (at != -ENOMEM || !(flags & FL_MREMAP_MAYMOVE))
            return at;
    }
    if ((flags & FL_MREMAP_MAYMOVE) && !(flags & FL_MREMAP_FIXED)) {
        new_addr = driver_find_gap(d, whole_pages(new_len));
        if (new_addr == DRIVER_ANY)
            return -ENOMEM;
        flags |= FL_MREMAP_FIXED;
    }
    return raw(d, addr, len, new_len, flags, new_addr);
}
