/* driver.c: what all drivers share: the files that exist, and walks over a driver's regions. See driver.h. */
#include "model/driver.h"
#include "sim/prng.h"

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

bool driver_region_joins(const struct driver_region *a, const struct driver_region *b)
{
    return a->end == b->start && a->prot == b->prot && a->shared == b->shared && a->file == b->file &&
           (a->file < 0 || a->offset + (a->end - a->start) == b->offset);
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
