/*
 * swap_pager.c: anonymous pages to the swap space, and back (swap_pager.h).
 *
 *   vm_pageout ─▶ launder   m and dirty neighbours ─▶ a run of slots ─▶ written ─▶ clean, the next victims
 *   vm_fault   ─▶ haspage, getpages   the page and neighbours whose slots are neighbours ─▶ read ─▶ valid
 *   vm_page_dirty, removal, MADV_FREE ─▶ unswapped, freespace   the slots are free
 *   vm_object_collapse ─▶ takeover   slots of the backing object become its shadow's
 *
 * Neighbours of an object get neighbouring slots, so that one transfer writes them, and one reads them back.
 * If there is no such run, shorter ones are tried. A page of zeros needs no slot.
 *
 * A page that is stored to while it is written is dirty when the write ends: its slot is given back then, and
 * not before, because the write is still using it.
 *
 * When no slot is free, a page that comes in gives up its own, and takes a frame of the reserve: so one that
 * is in memory can go, and a program whose memory is all written can still read it. New pages are refused.
 *
 * Transfers are synchronous: the page daemon, or a thread that waits for memory, writes a cluster and waits
 * for it. A read that fails with neighbours is tried for the needed page alone.
 *
 * Locks: (O) → (K). Stores are called, and windows opened, with no lock held; a pip keeps the object.
 */
#include "vm/swap_pager.h"
#include "lib/blist.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/lru.h"
#include "vm/vm_commit.h"
#include "vm/pmap.h"
#include "vm/vm_harvest.h"
#include "vm/vm_meter.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include <faultline/store.h>
#include <faultline/vm.h>

#define SWAP_META_PAGES 16            /* pages of a block: a power of two */
#define SWAP_CLUSTER    BLIST_RUN_MAX /* pages written together */
#define SWAP_NEIGHBOURS 8             /* read along with a page, on each side */
#define SWAP_BLOCK_FILL 4             /* slots in use in a block, as swap_pager_meta_size expects */

/* Values of a slot. Others are places in the swap space. */
#define SWAP_NONE UINT32_MAX       /* the page has none */
#define SWAP_ZERO (UINT32_MAX - 1) /* the page is zeros */

/* The slots of pages [first, first + SWAP_META_PAGES) of an object. */
struct swap_block {
    struct tree_node node; /* (O) in object->swap, by `first` */
    vm_pindex_t first;     /* (c) */
    uint32_t nslots;       /* (O) that are not SWAP_NONE */
    uint32_t slot[SWAP_META_PAGES];
};
#define node_block(n) tree_entry(n, struct swap_block, node)

static struct vm_zone swap_block_zone;

static struct swap_space {
    struct vm_lock lock;  /* (K) */
    struct store *store;  /* (c) once it is set. NULL: there is no swap space */
    struct blist *free;   /* (K) */
    uint64_t nslots;      /* (K) */
    _Atomic bool present; /* store and free are there */
    _Atomic bool full;    /* set under (K): no slot is free */
} swap_space;

void swap_pager_count(uint64_t *nslots, uint64_t *nfree)
{
    *nslots = *nfree = 0;
    if (!atomic_load(&swap_space.present))
        return;
    vm_lock(&swap_space.lock);
    *nslots = swap_space.nslots;
    *nfree = blist_avail(swap_space.free);
    vm_unlock(&swap_space.lock);
}

/* ---- the swap space ------------------------------------------------------------------------------------ */

/* Takes up to *count neighbouring slots, and sets *count to how many. SWAP_NONE: there is none. */
static uint32_t space_alloc(uint32_t *count)
{
    uint64_t slot = BLIST_NONE;
    vm_lock(&swap_space.lock);
    while (*count > 0 && (slot = blist_alloc(swap_space.free, *count)) == BLIST_NONE)
        *count /= 2;
    atomic_store(&swap_space.full, blist_avail(swap_space.free) == 0);
    vm_unlock(&swap_space.lock);
    return slot == BLIST_NONE ? SWAP_NONE : (uint32_t)slot;
}

static void space_free(uint32_t slot, uint32_t count)
{
    if (slot == SWAP_ZERO || count == 0)
        return;
    if (swap_space.store->ops->discard != NULL)
        swap_space.store->ops->discard(swap_space.store, ptoa((uint64_t)slot), ptoa((uint64_t)count));
    vm_lock(&swap_space.lock);
    blist_free(swap_space.free, slot, count);
    atomic_store(&swap_space.full, false);
    vm_unlock(&swap_space.lock);
}

bool swap_pager_full(void)
{
    return !atomic_load_explicit(&swap_space.present, memory_order_relaxed) ||
           atomic_load_explicit(&swap_space.full, memory_order_relaxed);
}

/* ---- an object's slots. (O). --------------------------------------------------------------------------- */

/* The block of the page, or the first one behind it. NULL: there is none. */
static struct swap_block *block_find(const struct vm_object *object, vm_pindex_t pindex)
{
    struct tree_node *node = object->swap.root;
    struct swap_block *found = NULL;
    while (node != NULL) {
        struct swap_block *block = node_block(node);
        if (pindex < block->first + SWAP_META_PAGES) {
            found = block;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

static uint32_t slot_get(const struct vm_object *object, vm_pindex_t pindex)
{
    const struct swap_block *block = block_find(object, pindex);
    return block == NULL || pindex < block->first ? SWAP_NONE : block->slot[pindex - block->first];
}

/* A new block for the page, which has none. NULL: no memory. */
static struct swap_block *block_insert(struct vm_object *object, vm_pindex_t pindex)
{
    struct swap_block *block = vm_zone_alloc(&swap_block_zone);
    if (block == NULL)
        return NULL;
    block->first = pindex & ~(vm_pindex_t)(SWAP_META_PAGES - 1);
    for (uint32_t i = 0; i < SWAP_META_PAGES; i++)
        block->slot[i] = SWAP_NONE;
    struct tree_node *node = object->swap.root, *parent = NULL;
    bool left = true;
    while (node != NULL) {
        parent = node;
        left = block->first < node_block(node)->first;
        node = left ? node->left : node->right;
    }
    tree_insert(&object->swap, &block->node, parent, left);
    return block;
}

/* Sets the slot of a page that has none. Errors: -ENOMEM. */
static int slot_set(struct vm_object *object, vm_pindex_t pindex, uint32_t slot)
{
    struct swap_block *block = block_find(object, pindex);
    if (block == NULL || pindex < block->first)
        block = block_insert(object, pindex);
    if (block == NULL)
        return -ENOMEM;
    KASSERT(block->slot[pindex - block->first] == SWAP_NONE, "SW1");
    block->slot[pindex - block->first] = slot;
    block->nslots++;
    return 0;
}

/* Takes the page's slot out of its block, which may go with it, and returns it. */
static uint32_t slot_take(struct vm_object *object, struct swap_block *block, vm_pindex_t pindex)
{
    uint32_t *place = &block->slot[pindex - block->first], slot = *place;
    if (slot == SWAP_NONE)
        return slot;
    *place = SWAP_NONE;
    if (--block->nslots == 0) {
        tree_remove(&object->swap, &block->node);
        vm_zone_free(&swap_block_zone, block);
    }
    return slot;
}

/* The page has no slot any more. */
static void slot_drop(struct vm_object *object, vm_pindex_t pindex)
{
    struct swap_block *block = block_find(object, pindex);
    if (block == NULL || pindex < block->first)
        return;
    uint32_t slot = slot_take(object, block, pindex);
    if (slot != SWAP_NONE)
        space_free(slot, 1);
}

/* The least index >= pindex with a slot, and that. False: there is none. */
static bool slot_next(const struct vm_object *object, vm_pindex_t *pindex, uint32_t *slot)
{
    const struct swap_block *block;
    while ((block = block_find(object, *pindex)) != NULL) {
        vm_pindex_t at = *pindex > block->first ? *pindex : block->first;
        for (; at < block->first + SWAP_META_PAGES; at++) {
            *slot = block->slot[at - block->first];
            *pindex = at;
            if (*slot != SWAP_NONE)
                return true;
        }
        *pindex = at;
    }
    return false;
}

bool swap_pager_next(const struct vm_object *object, vm_pindex_t *pindex)
{
    uint32_t slot;
    return slot_next(object, pindex, &slot);
}

/* Is the page's slot being read or written? (O). */
static bool slot_busy(const struct vm_object *object, vm_pindex_t pindex)
{
    const struct vm_page *m = vm_page_lookup(object, pindex);
    return m != NULL && (m->flags & (PG_BUSY | PG_WRITEBACK)) != 0;
}

/* Frees the slots of the pages [start, end); neighbouring ones together. */
void swap_pager_freespace(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    uint32_t first = SWAP_NONE, count = 0, slot;
    for (; slot_next(object, &start, &slot) && start < end; start++) {
        if (slot_busy(object, start))
            continue;
        (void)slot_take(object, block_find(object, start), start);
        if (slot != SWAP_ZERO && count > 0 && slot == first + count) {
            count++;
            continue;
        }
        space_free(first, count);
        first = slot;
        count = slot == SWAP_ZERO ? 0 : 1;
    }
    space_free(first, count);
}

/* Page m has become dirty. While it is being written its slot is in use; put_page takes note then. */
void swap_pager_unswapped(struct vm_page *m)
{
    if ((m->flags & PG_WRITEBACK) == 0)
        slot_drop(m->object, m->pindex);
}

/*
 * The shadow stands over `backing` alone: the slots of pages that the shadow has not become its own, and the
 * others of what it can show are free. Errors: -ENOMEM; some are its own then, and the others still
 * backing's.
 */
static int swap_pager_takeover(struct vm_object *shadow, struct vm_object *backing)
    FL_REQUIRES(shadow->lock, backing->lock)
{
    vm_pindex_t base = shadow->backing_pindex, at = base;
    uint32_t slot;
    for (; slot_next(backing, &at, &slot) && at - base < shadow->size; at++) {
        struct vm_page *own = vm_page_lookup(shadow, at - base);
        bool none = slot_get(shadow, at - base) == SWAP_NONE, wanted = own == NULL && none;
        if (own != NULL && none && (own->flags & PG_DIRTY) == 0)
            vm_page_dirty(own); /* a copy of what the slot has, which it outlives */
        if (wanted && slot_set(shadow, at - base, slot) != 0)
            return -ENOMEM;
        (void)slot_take(backing, block_find(backing, at), at);
        if (!wanted)
            space_free(slot, 1);
    }
    return 0;
}

/* ---- transfers. No lock held; the pages are busy or in write-back. ------------------------------------- */

struct swap_io {
    struct store_request request;
    struct vm_lock lock; /* (X); its address is the channel */
    bool done;           /* (X) */
    int error;           /* (X) */
};

static void swap_io_done(struct store_request *request, int error)
{
    struct swap_io *io = (struct swap_io *)request;
    vm_lock(&io->lock);
    io->error = error;
    io->done = true;
    /* Under the lock: the waiter's stack has the structure. */
    machine_wake(&io->lock);
    vm_unlock(&io->lock);
}

/* Moves npages between the slots from `slot` on and addr[]. Errors: the store's. */
static int swap_io(enum store_op op, uint32_t slot, void **addr, uint32_t npages)
{
    struct store *store = swap_space.store;
    struct swap_io io = {
        .request = {.op = op,
                    .flags = STORE_REQUEST_WAIT,
                    .offset = ptoa((uint64_t)slot),
                    .len_bytes = ptoa((uint64_t)npages),
                    .npages = npages,
                    .addr = addr,
                    .done = swap_io_done},
    };
    store->ops->submit(store, &io.request);
    if (store->ops->wait != NULL)
        store->ops->wait(store, &io.request);
    vm_lock(&io.lock);
    while (!io.done)
        vm_sleep(&io.lock, &io.lock);
    vm_unlock(&io.lock);
    vm_count(&vm_cnt.requests, 1);
    if (io.error != 0)
        vm_count(&vm_cnt.io_errors, 1);
    return io.error;
}

/* Moves the pages of a window, whose slots are slot[]: those of SWAP_ZERO are left out, or become zeros. */
static int swap_io_runs(enum store_op op, const uint32_t *slot, void **addr, uint32_t npages)
{
    int error = 0;
    for (uint32_t i = 0, n; error == 0 && i < npages; i += n) {
        n = 1;
        if (slot[i] == SWAP_ZERO) {
            if (op == STORE_READ)
                __builtin_memset(addr[i], 0, VM_PAGE_SIZE);
            continue;
        }
        while (i + n < npages && slot[i + n] == slot[i] + n)
            n++;
        error = swap_io(op, slot[i], addr + i, n);
    }
    return error;
}

/* A run of neighbours of one object. */
struct swap_run {
    struct vm_object *object;
    vm_frame_t frame[SWAP_CLUSTER];
    struct machine_run run;
};

static void swap_run_init(struct swap_run *r, struct vm_object *object, struct vm_page *const *m, uint32_t n)
{
    r->object = object;
    for (uint32_t i = 0; i < n; i++)
        r->frame[i] = vm_page_frame(m[i]);
    r->run = (struct machine_run){
        .object = object->machine, .pindex = m[0]->pindex, .npages = n, .frame = r->frame};
}

/* ---- in ------------------------------------------------------------------------------------------------ */

/* How many pages from pindex on, or before it, have slots that are neighbours of its own. At most `max`. */
static uint32_t slot_neighbours(const struct vm_object *object, vm_pindex_t pindex, uint32_t slot,
                                uint32_t max, bool before)
{
    uint32_t n = 0;
    while (slot != SWAP_ZERO && n < max && (!before || pindex > n)) {
        uint32_t next = slot_get(object, before ? pindex - n - 1 : pindex + n + 1);
        if (next == SWAP_NONE || next != (before ? slot - n - 1 : slot + n + 1))
            break;
        n++;
    }
    return n;
}

bool swap_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
    FL_REQUIRES(object->lock)
{
    uint32_t slot = object->swap.root == NULL ? SWAP_NONE : slot_get(object, pindex);
    if (slot == SWAP_NONE)
        return false;
    if (before == NULL)
        return true;
    *before = slot_neighbours(object, pindex, slot, SWAP_NEIGHBOURS, true);
    *after = slot_neighbours(object, pindex, slot, SWAP_NEIGHBOURS, false);
    return true;
}

/* No window: the fault reads the page itself, with the neighbours that were written with it. */
bool swap_pager_readahead(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages)
{
    (void)pindex;
    (void)npages;
    ractl->behind = ractl->ahead = ractl->behavior == MAP_BEHAV_RANDOM ? 0 : SWAP_NEIGHBOURS;
    return false;
}

/* Reads m[0 … n), which have slots. Errors: the store's, -ENOMEM; -ENXIO, one has none. */
static int swap_in(struct vm_object *object, struct vm_page *const *m, uint32_t n)
{
    uint32_t slot[SWAP_CLUSTER];
    void *addr[SWAP_CLUSTER];
    struct swap_run r;
    KASSERT(n <= SWAP_CLUSTER, "SW4");
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < n; i++) { /* the pages are busy, so nothing frees their slots afterwards */
        slot[i] = slot_get(object, m[i]->pindex);
        if (slot[i] == SWAP_NONE) {
            vm_unlock(&object->lock);
            return -ENXIO;
        }
    }
    vm_unlock(&object->lock);
    swap_run_init(&r, object, m, n);
    int error = pmap_window_get(&r.run, MACHINE_WINDOW_FILL, false, addr);
    if (error != 0)
        return error;
    error = swap_io_runs(STORE_READ, slot, addr, n);
    pmap_window_put(&r.run, MACHINE_WINDOW_FILL, addr, error == 0);
    if (error == 0)
        vm_count(&vm_cnt.page_ins, n);
    return error;
}

/* The neighbours of m[reqpage] are valid and inactive, or go. */
static void swap_in_neighbours(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage,
                               bool valid)
{
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < count; i++) {
        if (i == reqpage)
            continue;
        if (!valid) {
            vm_page_free(m[i]);
            continue;
        }
        m[i]->flags |= PG_VALID | PG_AHEAD;
        lru_cache_add(m[i]);
        vm_page_xunbusy(m[i]);
    }
    vm_unlock(&object->lock);
}

int swap_pager_getpages(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage)
{
    int error = swap_in(object, m, count);
    swap_in_neighbours(object, m, count, reqpage, error == 0);
    if (error != 0 && count > 1)
        error = swap_in(object, m + reqpage, 1);
    if (error != 0)
        return error;
    vm_count(&vm_cnt.readahead, count - 1);
    vm_lock(&object->lock);
    m[reqpage]->flags |= PG_VALID;
    if (swap_pager_full())
        vm_page_dirty(m[reqpage]); /* its slot is free for the page that has to go instead */
    vm_unlock(&object->lock);
    return 0;
}

/* ---- out ----------------------------------------------------------------------------------------------- */

struct swap_cluster {
    struct vm_page *m[SWAP_CLUSTER];
    uint32_t slot[SWAP_CLUSTER];
    uint32_t n;
};

/* May neighbour m of the object be written along with a victim? (O). */
static bool cluster_joins(const struct vm_page *m)
{
    return m != NULL &&
           (m->flags & (PG_BUSY | PG_WRITEBACK | PG_DIRTY | PG_VALID)) == (PG_DIRTY | PG_VALID) &&
           m->wire_count == 0 && m->hold_count == 0 && m->pindex < m->object->size && /* WB2 */
           (m->lru & (PL_LRU | PL_ACTIVE | PL_YOUNG)) == PL_LRU;
}

/* m and its dirty, inactive neighbours. (O). */
static void cluster_collect(struct vm_object *object, struct vm_page *m, struct swap_cluster *c)
    FL_REQUIRES(object->lock)
{
    vm_pindex_t first = m->pindex, end = m->pindex + 1;
    while (first > 0 && m->pindex - first < SWAP_CLUSTER / 2 &&
           cluster_joins(vm_page_lookup(object, first - 1)))
        first--;
    while (end - first < SWAP_CLUSTER && cluster_joins(vm_page_lookup(object, end)))
        end++;
    for (c->n = 0; first + c->n < end; c->n++)
        c->m[c->n] = vm_page_lookup(object, first + c->n);
}

/* Gives the pages of the cluster slots: of the first ones, if there are not so many together. (O). */
static void cluster_slots(struct vm_object *object, struct swap_cluster *c) FL_REQUIRES(object->lock)
{
    uint32_t count = c->n, slot = space_alloc(&count), n = 0;
    for (; n < count && slot_set(object, c->m[n]->pindex, slot + n) == 0; n++)
        c->slot[n] = slot + n;
    if (slot != SWAP_NONE)
        space_free(slot + n, count - n); /* no memory for their blocks */
    c->n = n;
}

/* The pages become clean, and are in write-back. (O). */
static void cluster_start(struct vm_object *object, struct swap_cluster *c) FL_REQUIRES(object->lock)
{
    vm_harvest_clean(object, c->m, c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        c->m[i]->lru |= PL_RECLAIM;
        vm_page_writeback_start(c->m[i]);
        vm_page_undirty(c->m[i]);
    }
}

static bool page_is_zero(const void *addr)
{
    const uint64_t *word = addr;
    uint64_t any = 0;
    for (uint32_t i = 0; i < VM_PAGE_SIZE / sizeof(*word) && any == 0; i += 8)
        any = word[i] | word[i + 1] | word[i + 2] | word[i + 3] | word[i + 4] | word[i + 5] | word[i + 6] |
              word[i + 7];
    return any == 0;
}

/*
 * Writes the cluster. Its slots stay the caller's; of pages that are zeros they become SWAP_ZERO in c->slot.
 * Errors: the store's, -ENOMEM.
 */
static int cluster_write(struct vm_object *object, struct swap_cluster *c)
{
    void *addr[SWAP_CLUSTER];
    struct swap_run r;
    swap_run_init(&r, object, c->m, c->n);
    int error = pmap_window_get(&r.run, MACHINE_WINDOW_READ, false, addr);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < c->n; i++)
        if (page_is_zero(addr[i]))
            c->slot[i] = SWAP_ZERO;
    error = swap_io_runs(STORE_WRITE, c->slot, addr, c->n);
    pmap_window_put(&r.run, MACHINE_WINDOW_READ, addr, true);
    return error;
}

/* Page m, whose write has ended, leaves write-back. (O). */
static void put_page(struct vm_object *object, struct vm_page *m, uint32_t slot, int error)
    FL_REQUIRES(object->lock)
{
    bool dirty = error != 0 || (m->flags & PG_DIRTY) != 0;
    if (dirty || slot == SWAP_ZERO)
        slot_drop(object, m->pindex);
    if (!dirty && slot == SWAP_ZERO && slot_set(object, m->pindex, SWAP_ZERO) != 0)
        dirty = true; /* the block went with its last slot, and another thread has taken its memory */
    m->flags &= (uint16_t)~PG_WRITEERROR;
    if (dirty)
        vm_page_dirty(m);
    if (error != 0)
        m->flags |= PG_WRITEERROR;
    vm_page_writeback_done(m);
    if (!dirty)
        rotate_reclaimable_page(m);
}

static _Atomic int swap_last_error;

uint32_t swap_pager_launder(struct vm_page *m, struct vm_pager_plug *plug)
{
    struct vm_object *object = m->object;
    struct swap_cluster c;
    (void)plug;
    vm_lock_assert(&object->lock);
    cluster_collect(object, m, &c);
    cluster_slots(object, &c);
    if (c.n == 0) {
        vm_unlock(&object->lock);
        return 0;
    }
    cluster_start(object, &c);
    vm_object_pip_add(object);
    vm_unlock(&object->lock);
    int error = cluster_write(object, &c);
    if (error != 0)
        atomic_store(&swap_last_error, error);
    else
        vm_count(&vm_cnt.write_backs, c.n);
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < c.n; i++)
        put_page(object, c.m[i], c.slot[i], error);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    return c.n;
}

int swap_pager_error(void)
{
    return atomic_load(&swap_last_error);
}

int swap_pager_last_error(const struct vm_object *object)
{
    (void)object;
    return swap_pager_error();
}

/* ---- the row of pagertab, and the space ---------------------------------------------------------------- */

static struct vm_object *swap_pager_alloc(void *handle, vm_pindex_t size)
{
    return vm_object_allocate(OBJT_SWAP, size, handle);
}

static const struct pagerops swappagerops = {
    .alloc = swap_pager_alloc,
    .haspage = swap_pager_haspage,
    .getpages = swap_pager_getpages,
    .readahead = swap_pager_readahead,
    .unswapped = swap_pager_unswapped,
    .freespace = swap_pager_freespace,
    .takeover = swap_pager_takeover,
    .launder = swap_pager_launder,
    .full = swap_pager_full,
    .last_error = swap_pager_last_error,
};

void swap_pager_startup(void)
{
    vm_zone_init(&swap_block_zone, "swap block", sizeof(struct swap_block));
    atomic_store(&swap_space.present, false);
    atomic_store(&swap_space.full, false);
    atomic_store(&swap_last_error, 0);
    swap_space.lock = (struct vm_lock){0};
    swap_space.store = NULL;
    vm_pager_register(OBJT_SWAP, &swappagerops);
}

size_t swap_pager_meta_size(uint64_t nslots)
{
    return blist_bytes(nslots) + (size_t)(nslots / SWAP_BLOCK_FILL + 1) * (sizeof(struct swap_block) + 8);
}

size_t fl_swap_meta_size(uint64_t len_bytes)
{
    return swap_pager_meta_size(atop(len_bytes));
}

int fl_swapon(struct store *store)
{
    uint64_t len_bytes, nslots;
    int error = store->ops->size(store, &len_bytes);
    if (error != 0)
        return error;
    nslots = atop(len_bytes);
    if (nslots == 0 || nslots >= SWAP_ZERO || store->read_only)
        return -EINVAL;
    if (atomic_load(&swap_space.present))
        return -EBUSY;
    void *memory = vm_meta_alloc("swap space", blist_bytes(nslots), 8);
    if (memory == NULL)
        return -ENOMEM;
    vm_lock(&swap_space.lock);
    swap_space.free = blist_init(memory, nslots);
    blist_grow(swap_space.free, nslots);
    swap_space.nslots = nslots;
    swap_space.store = store;
    vm_unlock(&swap_space.lock);
    atomic_store(&swap_space.present, true);
    vm_commit_swapon(nslots);
    return 0;
}

void swap_pager_shutdown(void)
{
    if (!atomic_load(&swap_space.present))
        return;
    vm_lock(&swap_space.lock);
    KASSERT(blist_avail(swap_space.free) == swap_space.nslots, "SW1");
    vm_unlock(&swap_space.lock);
    atomic_store(&swap_space.present, false);
    swap_space.store->ops->close(swap_space.store);
}

/* ---- checks -------------------------------------------------------------------------------------------- */

uint64_t swap_pager_check(struct vm_object *object)
{
    uint64_t nslots = 0;
    tree_check(&object->swap, NULL);
    for (struct tree_node *node = tree_first(&object->swap); node != NULL; node = tree_next(node)) {
        const struct swap_block *block = node_block(node);
        uint32_t n = 0;
        for (uint32_t i = 0; i < SWAP_META_PAGES; i++) {
            const struct vm_page *m = vm_page_lookup(object, block->first + i);
            n += block->slot[i] != SWAP_NONE;
            nslots += block->slot[i] < SWAP_ZERO;
            KASSERT(block->slot[i] == SWAP_NONE || m == NULL ||
                        (m->flags & (PG_DIRTY | PG_WRITEBACK)) != PG_DIRTY,
                    "SW2");
        }
        KASSERT(n == block->nslots && n > 0, "SW3");
    }
    return nslots;
}

void swap_pager_check_space(uint64_t nslots)
{
    if (!atomic_load(&swap_space.present))
        return;
    vm_lock(&swap_space.lock);
    blist_check(swap_space.free);
    KASSERT(swap_space.nslots - blist_avail(swap_space.free) == nslots, "SW1");
    vm_unlock(&swap_space.lock);
}
