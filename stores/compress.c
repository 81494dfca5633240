/*
 * compress.c: the compressed tier in front of a store (compress.h): its transfers, and writeback.
 *
 *   a write     | held | held | BELOW | held | BELOW | held |       each page is held if it compresses; the
 *                             |<──── span ────────▶|                span from the first to the last that does
 *   a read        fill   fill                        fill           not is one request to the store below
 *
 * The core's own request goes to the store below, narrowed to the span. So no memory is needed for another
 * one, and whoever waits for it waits there. Its `done` is ours meanwhile (compress_below_done): it widens
 * the request again, and fills those pages of a read that are held within the span. They are read from below
 * in vain, and written there in vain; one request in their place costs less than several.
 *
 *   writeback   the oldest piece and its neighbours ─▶ going, in `buffer` ─▶ the store below ─▶ dropped
 *
 * A write that finds no room does it, one thread at a time, and waits for it. If such a page is written anew
 * meanwhile, and has to go below itself, that transfer waits for writeback's end (slots_are_going).
 *
 * Locks: writeback_lock, across its I/O; or a context of the codec; then slots.lock.
 *
 * Does not do: returning space of the store below; it takes as much as was ever below at a time.
 */
#include "compress.h"
#include "codec.h"
#include "compress_slots.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/vm.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define POOL_PER_CONTEXT ((uint64_t)16 << 20) /* one more context of each kind for so much of a pool */
#define WRITEBACK_PAGES  32u                  /* at a time; the core writes as many together */
#define WRITEBACK_TRIES  4u                   /* for one page; pieces of other sizes may be what goes first */

struct store_compress {
    struct store store;
    struct store *below; /* constant */
    size_t own_bytes;    /* constant: of this structure, `buffer` and the codec's contexts */
    struct codec codec;
    struct slots slots;
    struct machine_lock writeback_lock;
    unsigned char *buffer; /* constant; WRITEBACK_PAGES pages: (writeback_lock) */
    /* pages; only for the statistics */
    _Atomic uint64_t dense, full, writebacks;
};

static struct store_compress *tier_of(struct store *store)
{
    return (struct store_compress *)store;
}

/* ---- pages --------------------------------------------------------------------------------------------- */

static bool page_is_word(const void *page, uint64_t *word)
{
    const uint64_t *words = page;
    for (size_t i = 1; i < VM_PAGE_SIZE / sizeof *words; i++)
        if (words[i] != words[0])
            return false;
    *word = words[0];
    return true;
}

/* Makes the page of the data, whose piece is in the expander. Errors: -EIO. */
static int page_expand(struct codec_context *expander, const struct slot_data *data, void *page)
{
    if (!data->is_word)
        return codec_expand(expander, data->len, page);
    for (size_t i = 0; i < VM_PAGE_SIZE / sizeof data->word; i++)
        ((uint64_t *)page)[i] = data->word;
    return 0;
}

enum page_end {
    PAGE_HELD,
    PAGE_DENSE, /* it does not compress */
    PAGE_FULL,  /* there is no room */
};

/* Holds the bytes as the page's, if that can be; otherwise nothing is held of it. */
static enum page_end page_hold(struct store_compress *tier, uint32_t slot, const void *page)
{
    struct slot_data data = {.is_word = false};
    if (page_is_word(page, &data.word)) {
        data.is_word = true;
        return slots_hold(&tier->slots, slot, &data) ? PAGE_HELD : PAGE_FULL;
    }
    struct codec_context *compressor = codec_compressor(&tier->codec);
    data.len = codec_compress(compressor, page);
    data.piece = compressor->bytes;
    bool held = slots_hold(&tier->slots, slot, &data);
    codec_return(compressor);
    return held ? PAGE_HELD : data.len == 0 ? PAGE_DENSE : PAGE_FULL;
}

/* ---- writeback ----------------------------------------------------------------------------------------- */

struct writeback {
    struct store_request request;
    int error;
};

static void writeback_done(struct store_request *request, int error)
{
    ((struct writeback *)request)->error = error;
}

/* Writes the first npages pages of the buffer below. Errors: the store's. */
static int writeback_write(struct store_compress *tier, uint32_t slot, uint32_t npages)
    FL_REQUIRES(tier->writeback_lock)
{
    void *addr[WRITEBACK_PAGES];
    for (uint32_t i = 0; i < npages; i++)
        addr[i] = tier->buffer + ptoa((size_t)i);
    struct writeback io = {
        .request = {.op = STORE_WRITE,
                    .flags = STORE_REQUEST_WAIT,
                    .offset = ptoa((uint64_t)slot),
                    .len_bytes = ptoa((uint64_t)npages),
                    .npages = npages,
                    .addr = addr,
                    .done = writeback_done},
    };
    tier->below->ops->submit(tier->below, &io.request);
    if (tier->below->ops->wait != NULL)
        tier->below->ops->wait(tier->below, &io.request);
    return io.error;
}

/* Collects neighbours from `slot` on, which are going, in the buffer. Returns how many. */
static uint32_t writeback_collect(struct store_compress *tier, uint32_t slot)
    FL_REQUIRES(tier->writeback_lock)
{
    struct codec_context *expander = codec_expander(&tier->codec);
    struct slot_data data;
    uint32_t n = 0;
    while (n < WRITEBACK_PAGES && slots_going(&tier->slots, slot + n, expander->bytes, &data) &&
           page_expand(expander, &data, tier->buffer + ptoa((size_t)n)) == 0)
        n++;
    codec_return(expander);
    return n;
}

/* Writes the oldest pieces below. False: there is none, or it could not be written. */
static bool writeback(struct store_compress *tier)
{
    bool written = false;
    machine_lock(&tier->writeback_lock);
    uint32_t slot = slots_oldest(&tier->slots, WRITEBACK_PAGES);
    if (slot < tier->slots.nslots) {
        uint32_t n = writeback_collect(tier, slot);
        written = n > 0 && writeback_write(tier, slot, n) == 0;
        slots_gone(&tier->slots, written);
        atomic_fetch_add_explicit(&tier->writebacks, written ? n : 0, memory_order_relaxed);
    }
    machine_unlock(&tier->writeback_lock);
    return written;
}

/* Returns when no write of the slots [slot, end) by writeback is under way. They are not held, or the caller
 * writes the same bytes. */
static void writeback_settle(struct store_compress *tier, uint32_t slot, uint32_t end)
{
    if (!slots_are_going(&tier->slots, slot, end))
        return;
    machine_lock(&tier->writeback_lock);
    machine_unlock(&tier->writeback_lock);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* request.upper_private */
enum {
    UPPER_TIER, /* the tier, of a request that the store below has or had; otherwise 0 */
    UPPER_DONE, /* the core's `done` */
    UPPER_SPAN, /* the pages before the span in the upper half, all pages in the lower one */
};

/* Pages [first, end) of a request. */
struct span {
    uint32_t first, end;
};

static void span_add(struct span *span, uint32_t i)
{
    if (span->first == span->end)
        span->first = i;
    span->end = i + 1;
}

/* Writes one page. False: it has to go below. */
static bool write_page(struct store_compress *tier, uint32_t slot, const void *page)
{
    enum page_end end = page_hold(tier, slot, page);
    for (uint32_t i = 0; end == PAGE_FULL && i < WRITEBACK_TRIES && writeback(tier); i++)
        end = page_hold(tier, slot, page);
    if (end != PAGE_HELD)
        atomic_fetch_add_explicit(end == PAGE_DENSE ? &tier->dense : &tier->full, 1, memory_order_relaxed);
    return end == PAGE_HELD;
}

/* Holds the pages of a write. Returns the span of those that have to go below. */
static struct span write_pages(struct store_compress *tier, const struct store_request *request)
{
    struct span span = {request->npages, request->npages};
    uint32_t slot = (uint32_t)atop(request->offset);
    for (uint32_t i = 0; i < request->npages; i++)
        if (!write_page(tier, slot + i, request->addr[i]))
            span_add(&span, i);
    if (span.first < span.end)
        writeback_settle(tier, slot + span.first, slot + span.end);
    return span;
}

/* Pins the pages of a read that are held. Returns the span of the others. */
static struct span read_span(struct store_compress *tier, const struct store_request *request)
{
    struct span span = {request->npages, request->npages};
    for (uint32_t i = 0; i < request->npages; i++)
        if (!slots_pin(&tier->slots, (uint32_t)atop(request->offset) + i))
            span_add(&span, i);
    return span;
}

/* Fills those of the pages [i, end) of a read that are pinned. Errors: -EIO; the others are filled. */
static int read_pages(struct store_compress *tier, const struct store_request *request, uint32_t i,
                      uint32_t end)
{
    int error = 0;
    if (i == end)
        return 0;
    struct codec_context *expander = codec_expander(&tier->codec);
    for (; i < end; i++) {
        struct slot_data data;
        uint32_t slot = (uint32_t)atop(request->offset) + i;
        if (slots_read(&tier->slots, slot, expander->bytes, &data) &&
            page_expand(expander, &data, request->addr[i]) != 0)
            error = -EIO;
    }
    codec_return(expander);
    return error;
}

/* The store below is done with the span. */
static void compress_below_done(struct store_request *request, int error)
{
    struct store_compress *tier = (struct store_compress *)request->upper_private[UPPER_TIER];
    uint32_t first = (uint32_t)(request->upper_private[UPPER_SPAN] >> 32);
    if (request->op == STORE_READ) {
        int fill_error = read_pages(tier, request, 0, request->npages);
        error = error != 0 ? error : fill_error;
    }
    request->offset -= ptoa((uint64_t)first);
    request->addr -= first;
    request->npages = (uint32_t)request->upper_private[UPPER_SPAN];
    request->len_bytes = ptoa((uint64_t)request->npages);
    request->done = (void (*)(struct store_request *, int))request->upper_private[UPPER_DONE];
    request->done(request, error);
}

static void request_narrow(struct store_compress *tier, struct store_request *request, struct span span)
{
    request->upper_private[UPPER_TIER] = (uintptr_t)tier;
    request->upper_private[UPPER_DONE] = (uintptr_t)request->done;
    request->upper_private[UPPER_SPAN] = (uint64_t)span.first << 32 | request->npages;
    request->done = compress_below_done;
    request->offset += ptoa((uint64_t)span.first);
    request->addr += span.first;
    request->npages = span.end - span.first;
    request->len_bytes = ptoa((uint64_t)request->npages);
}

/* Does what can be done here, and returns the span that has to go below; *error: why it need not. */
static struct span compress_start(struct store_compress *tier, struct store_request *request, int *error)
{
    *error = 0;
    if (request->op == STORE_WRITE)
        return write_pages(tier, request);
    struct span span = read_span(tier, request);
    *error = read_pages(tier, request, 0, span.first);
    int behind = read_pages(tier, request, span.end, request->npages);
    if (*error == 0)
        *error = behind;
    if (*error != 0)
        (void)read_pages(tier, request, span.first, span.end); /* unpinned */
    return span;
}

/* ---- the store ----------------------------------------------------------------------------------------- */

static void compress_submit(struct store *store, struct store_request *request)
{
    struct store_compress *tier = tier_of(store);
    int error;
    struct span span = compress_start(tier, request, &error);
    request->upper_private[UPPER_TIER] = 0;
    if (error != 0 || span.first == span.end) {
        request->done(request, error);
        return;
    }
    request_narrow(tier, request, span);
    tier->below->ops->submit(tier->below, request);
}

static void compress_wait(struct store *store, struct store_request *request)
{
    struct store *below = tier_of(store)->below;
    if (request->upper_private[UPPER_TIER] != 0 && below->ops->wait != NULL)
        below->ops->wait(below, request);
}

static int compress_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ptoa((uint64_t)tier_of(store)->slots.nslots);
    return 0;
}

static int compress_flush(struct store *store)
{
    struct store *below = tier_of(store)->below;
    return below->ops->flush(below);
}

static void compress_discard(struct store *store, uint64_t offset, uint64_t len_bytes)
{
    struct store_compress *tier = tier_of(store);
    slots_discard(&tier->slots, (uint32_t)atop(offset), (uint32_t)atop(offset + len_bytes));
    if (tier->below->ops->discard != NULL)
        tier->below->ops->discard(tier->below, offset, len_bytes);
}

static void compress_close(struct store *store)
{
    struct store_compress *tier = tier_of(store);
    struct store *below = tier->below;
    size_t own_bytes = tier->own_bytes;
    slots_fini(&tier->slots);
    linux_syscall(SYS_munmap, tier, own_bytes);
    fl_frames_give((uint32_t)atop(own_bytes));
    below->ops->close(below);
}

void compress_stats(struct store *store, struct compress_stats *stats)
{
    struct store_compress *tier = tier_of(store);
    struct slots *slots = &tier->slots;
    machine_lock(&slots->lock);
    *stats = (struct compress_stats){
        .words = slots->nwords,
        .pieces = slots->npieces,
        .bytes = slots->piece_bytes,
        .frames = atop(tier->own_bytes) + slots->nblocks + zpool_frames(&slots->pool),
    };
    machine_unlock(&slots->lock);
    stats->dense = atomic_load_explicit(&tier->dense, memory_order_relaxed);
    stats->full = atomic_load_explicit(&tier->full, memory_order_relaxed);
    stats->writebacks = atomic_load_explicit(&tier->writebacks, memory_order_relaxed);
}

void compress_check(struct store *store)
{
    slots_check(&tier_of(store)->slots);
}

static const struct store_ops compress_ops = {
    .name = "compress",
    .submit = compress_submit,
    .wait = compress_wait,
    .size = compress_size,
    .flush = compress_flush,
    .close = compress_close,
    .discard = compress_discard,
};

/* ---- opening ------------------------------------------------------------------------------------------- */

/* own: | struct store_compress | buffer | contexts of the codec |, whole pages each */
static size_t own_bytes_for(unsigned ncontexts)
{
    return round_page(sizeof(struct store_compress)) + ptoa((size_t)WRITEBACK_PAGES) + codec_bytes(ncontexts);
}

/* Sets up the tier in own_bytes of zeroed memory. Errors: of slots_init. */
static int compress_init(struct store_compress *tier, struct store *below, uint32_t nslots,
                         uint64_t pool_max_bytes, unsigned ncontexts)
{
    tier->store.ops = &compress_ops;
    tier->below = below;
    tier->own_bytes = own_bytes_for(ncontexts);
    tier->buffer = (unsigned char *)tier + round_page(sizeof *tier);
    codec_init(&tier->codec, tier->buffer + ptoa((size_t)WRITEBACK_PAGES), ncontexts);
    return slots_init(&tier->slots, nslots, pool_max_bytes);
}

static int compress_create(struct store *below, uint32_t nslots, uint64_t pool_max_bytes,
                           struct store **store)
{
    uint64_t n = pool_max_bytes / POOL_PER_CONTEXT;
    unsigned ncontexts = n < 1 ? 1 : n < CODEC_CONTEXTS_MAX ? (unsigned)n : CODEC_CONTEXTS_MAX;
    size_t own_bytes = own_bytes_for(ncontexts);
    if (fl_frames_take((uint32_t)atop(own_bytes)) != 0)
        return -ENOMEM;
    long memory = linux_syscall(SYS_mmap, NULL, own_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    int error = -ENOMEM;
    if (!linux_syscall_failed(memory)) {
        struct store_compress *tier = (struct store_compress *)memory;
        error = compress_init(tier, below, nslots, pool_max_bytes, ncontexts);
        if (error == 0) {
            *store = &tier->store;
            return 0;
        }
        linux_syscall(SYS_munmap, memory, own_bytes);
    }
    fl_frames_give((uint32_t)atop(own_bytes));
    return error;
}

int compress_open(struct store *below, uint64_t pool_max_bytes, struct store **store)
{
    uint64_t len_bytes;
    if (below->read_only)
        return -EACCES;
    int error = below->ops->size(below, &len_bytes);
    if (error != 0)
        return error;
    if ((len_bytes & VM_PAGE_MASK) != 0 || len_bytes == 0 || atop(len_bytes) >= UINT32_MAX)
        return -EINVAL;
    return compress_create(below, (uint32_t)atop(len_bytes), pool_max_bytes, store);
}
