/*
 * zone.c: the metadata memory, handed out from the bottom up, and the zones that cut it into items.
 *
 *   base                                                    meta_used_bytes          len
 *   |8 bytes| descriptors | slab of zone a | slab of zone b | untouched …
 *    └ index 0: no item     └ items: in use, freed (on the list), fresh (not carved yet)
 *
 * Where the memory is put behind the metadata only as it is used, the machine does that under meta_lock, page
 * by page from below (fl_vm_params.back_meta).
 *
 * Invariants ZN1, ZN2: zone.h. Lock order: (z), a zone's lock → meta_lock → (F), which back_meta may take.
 * Does not do: giving slabs back, items of varying size, waiting for memory.
 */
#include "lib/zone.h"
#include "lib/kassert.h"

#define SLAB_BYTES       4096u
#define SLAB_BYTES_BIG   16384u /* for items of more than SLAB_BIG_ITEM bytes: few fit into 4096 */
#define SLAB_BIG_ITEM    512u
#define META_INDEX_SHIFT 3
#define META_MAX         ((size_t)1 << (31 + META_INDEX_SHIFT))

/* (c) after boot */
static struct {
    uint8_t *base;
    size_t len;
    bool (*back)(void *start, size_t len_bytes);
    bool (*fail_alloc)(const char *what);
} meta;
static struct vm_lock meta_lock;
static size_t meta_used_bytes FL_GUARDED_BY(meta_lock);   /* from meta.base */
static size_t meta_backed_bytes FL_GUARDED_BY(meta_lock); /* from meta.base: there is memory behind them */

void vm_meta_init(void *memory, size_t len_bytes, bool (*back)(void *start, size_t len_bytes),
                  bool (*fail_alloc)(const char *what))
{
    meta.base = memory;
    meta.len = len_bytes < META_MAX ? len_bytes : META_MAX;
    meta.back = back;
    meta.fail_alloc = fail_alloc;
    __builtin_memset(&meta_lock, 0, sizeof meta_lock);
    vm_lock(&meta_lock);
    meta_used_bytes = 1u << META_INDEX_SHIFT; /* so that index 0 is never an item */
    meta_backed_bytes = back == NULL ? meta.len : 0;
    vm_unlock(&meta_lock);
}

size_t vm_meta_used(void)
{
    vm_lock(&meta_lock);
    size_t used = meta_used_bytes;
    vm_unlock(&meta_lock);
    return used;
}

bool vm_meta_fails(const char *what)
{
    return meta.fail_alloc != NULL && meta.fail_alloc(what);
}

/* Is there memory behind everything below `end`, or can there be? */
static bool meta_back(size_t end) FL_REQUIRES(meta_lock)
{
    size_t want = round_page(end);

    if (end <= meta_backed_bytes)
        return true;
    if (!meta.back(meta.base + meta_backed_bytes, want - meta_backed_bytes))
        return false;
    meta_backed_bytes = want;
    return true;
}

/* The next len_bytes, as they were given to vm_meta_init, zeroed. NULL: the rest is too small. */
static void *meta_take(size_t len_bytes, size_t align)
{
    void *taken = NULL;

    vm_lock(&meta_lock);
    uintptr_t at = ((uintptr_t)meta.base + meta_used_bytes + align - 1) & ~(uintptr_t)(align - 1);
    size_t start = at - (uintptr_t)meta.base;
    if (start <= meta.len && len_bytes <= meta.len - start && meta_back(start + len_bytes)) {
        meta_used_bytes = start + len_bytes;
        taken = meta.base + start;
    }
    vm_unlock(&meta_lock);
    return taken;
}

void *vm_meta_alloc(const char *what, size_t len_bytes, size_t align)
{
    if (vm_meta_fails(what))
        return NULL;
    return meta_take(len_bytes, align < 8 ? 8 : align);
}

void vm_zone_init(struct vm_zone *zone, const char *name, size_t size)
{
    __builtin_memset(zone, 0, sizeof *zone);
    zone->name = name;
    zone->size = (uint32_t)((size + 7) & ~(size_t)7);
    KASSERT(size > 0 && size <= SLAB_BYTES_BIG, "ZN1");
}

/* Gives the zone, which has neither free nor fresh items, a new slab to carve. False: no memory. (z). */
static bool zone_grow(struct vm_zone *zone) FL_REQUIRES(zone->lock)
{
    uint32_t bytes = zone->size > SLAB_BIG_ITEM ? SLAB_BYTES_BIG : SLAB_BYTES;
    uint8_t *slab = meta_take(bytes, 64);

    if (slab == NULL)
        return false;
    zone->fresh = slab;
    zone->nfresh = bytes / zone->size;
    zone->nslabs++;
    return true;
}

void *vm_zone_alloc(struct vm_zone *zone)
{
    void *item = NULL;

    if (vm_meta_fails(zone->name))
        return NULL;
    vm_lock(&zone->lock);
    if (zone->free != NULL) {
        item = zone->free;
        zone->free = *(void **)item;
    } else if (zone->nfresh > 0 || zone_grow(zone)) {
        item = zone->fresh;
        zone->fresh += zone->size;
        zone->nfresh--;
    }
    if (item != NULL)
        zone->nitems++;
    vm_unlock(&zone->lock);
    if (item != NULL)
        __builtin_memset(item, 0, zone->size);
    return item;
}

void vm_zone_free(struct vm_zone *zone, void *item)
{
    size_t at = (size_t)((uint8_t *)item - meta.base);

    KASSERT(at >= (1u << META_INDEX_SHIFT) && at < meta.len, "ZN1");
    vm_lock(&zone->lock);
    KASSERT(zone->nitems > 0, "ZN1");
    zone->nitems--;
    *(void **)item = zone->free;
    zone->free = item;
    vm_unlock(&zone->lock);
}

uint32_t vm_meta_index(const void *item)
{
    size_t at = (size_t)((const uint8_t *)item - meta.base);

    KASSERT(at != 0 && at < meta.len, "ZN2");
    return (uint32_t)(at >> META_INDEX_SHIFT);
}

void *vm_meta_pointer(uint32_t index)
{
    return meta.base + ((size_t)index << META_INDEX_SHIFT);
}
