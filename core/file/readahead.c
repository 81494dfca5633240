/*
 * readahead.c: read-ahead: which stream a miss or a mark belongs to, and the windows that it is worth. The
 * idea and its picture are in readahead.h.
 *
 *   page_cache_sync_readahead ──┬─▶ ondemand_readahead ─┬─▶ ra_look: what stream is it?
 *   page_cache_async_readahead ─┘                       └─▶ do_page_cache_ra, for each window
 *                                                                 └─▶ page_cache_ra_unbounded ─▶ read_pages
 *   force_page_cache_readahead ───────────────────────────────────────▲
 *
 * How a pattern is learnt. `next` is the page behind the last one asked for, so a miss there continues the
 * run. Any other miss begins a run, at `base`. `stride` is the distance from the run before; `repeats`, how
 * often in a row it was the same; `run`, how long the last run was, if that is known: read-ahead does not see
 * touches of pages that came with a window. When the distance repeats and the run's length is not known, runs
 * are read page by page (PROBING). So they are when a young stream comes to its mark and has left out pages
 * on the way (a leap): it is not sequential.
 *
 *   UNKNOWN ──a miss at next, or a history before it─────▶ SEQUENTIAL ──a miss elsewhere──▶ UNKNOWN
 *      │                     READAHEAD_INIT such misses ─────▲ │
 *      │                      └─ PROBING ◀── a leap ───────────┘
 *      └──the distance repeats, and the run's length is known──▶ STRIDED ──a miss off the grid──▶ UNKNOWN
 *
 * Locks: (O) guards a vnode's file_ra_state; a map entry's is (e): (O), and (M) shared at least. (O) is held
 * while a window's pages are allocated, and released to make room and to submit.
 * Does not do: the transfer and its end (transfer.c), mapping the pages that came (vm_prefault.c).
 */
#include "file/readahead.h"
#include "file/block.h"
#include "file/drop_behind.h"
#include "file/transfer.h"
#include "file/vnode.h"
#include "lib/kassert.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"

#define READAHEAD_INIT   16 /* pages of a new stream's first window; the longest run that is probed */
#define READAHEAD_AROUND 16 /* pages read around a miss that fits nothing; a power of two */
/*
 * Windows in flight ahead of the one that is read: one alone would leave the disk idle at times. The third
 * one only where they are a small part of memory, or pages would be evicted before their use.
 */
#define READAHEAD_DEPTH       3
#define READAHEAD_DEPTH_SMALL 2
#define READAHEAD_PART        6 /* a window is small when so many of them, three times, fit into memory */
_Static_assert(READAHEAD_DEPTH >= 2, "ra_sequential makes two windows");
/*
 * Of a row of misses that fit nothing, the first PROBES are read alone, because pages around them would hide
 * a stride; then pages around are read, too; from MISSES on only single pages.
 */
#define READAHEAD_PROBES 2
#define READAHEAD_MISSES 32
/*
 * Resident pages before a miss that are the trace of a stream. LONG: when something else is more likely,
 * because in a random stream many pages are resident by chance.
 */
#define READAHEAD_HISTORY      3
#define READAHEAD_HISTORY_LONG 8
/* Resident pages above a miss that are the trace of a stream that goes down: more than are read around it. */
#define READAHEAD_HISTORY_DOWN (READAHEAD_AROUND + READAHEAD_HISTORY)
#define READAHEAD_STRIDES      4  /* runs of a new strided stream's first window */
#define READAHEAD_STRIDED      32 /* pages of a strided window: enough to keep a disk's queue full */
#define READAHEAD_REPEATS_MAX  8
#define READAHEAD_FEW          4 /* pages of the largest transfer that is no window */
#define READAHEAD_SHARE        4 /* one call reads ahead at most one part in so many of memory */

#define RA_RUN_UNKNOWN 0
#define RA_RUN_LONG    UINT16_MAX /* longer than what is probed */

enum ra_pattern {
    RA_UNKNOWN,
    RA_PROBING, /* unknown, and runs are read page by page to learn how long they are */
    RA_SEQUENTIAL,
    RA_STRIDED,
};

/*
 * What read-ahead remembers of a stream. It lies in a struct
 * vm_pager_stream. (e) in map entries, (O) in vnodes.
 */
struct file_ra_state {
    /*
     * The last window that was asked for. Sequential: pages [start, start + size). Strided: it had `size`
     * runs, and the next window begins at start.
     */
    vm_pindex_t start;
    vm_pindex_t next; /* the page behind the last one that missed or had the mark; 0: there was none */
    vm_pindex_t base; /* the first page of the last run of misses */
    int32_t stride;   /* pages from the run before that one to base; 0: not known */
    uint32_t size;
    uint16_t run;    /* pages of a run, or RA_RUN_* */
    uint8_t pattern; /* enum ra_pattern */
    uint8_t repeats; /* how many runs in a row began `stride` from the one before */
    uint8_t misses;  /* in a row that fitted nothing */
};
_Static_assert(sizeof(struct file_ra_state) <= sizeof(struct vm_pager_stream), "a vm_pager_stream holds one");

/*
 * What to read: `count` runs of `run` pages, the first at `start`, each `stride` pages from the one before.
 */
struct ra_window {
    vm_pindex_t start;
    int64_t stride;
    uint32_t run, count;
    uint32_t mark; /* the first absent page of this run, or of a later one, gets the mark … */
    bool marked;   /* … if this is set */
};

static uint32_t readahead_max;   /* (c) pages of the largest window */
static uint32_t readahead_depth; /* (c) windows in flight */

/* (e) for a map entry's, (O) for a vnode's. */
static struct file_ra_state *ra_state(struct vm_pager_stream *stream)
{
    return (struct file_ra_state *)stream;
}

void readahead_startup(uint32_t max)
{
    readahead_max = max == 0 || max > MACHINE_RUN_MAX ? 64 : max;
    bool small = vm_page_count >= READAHEAD_PART * READAHEAD_DEPTH * readahead_max;
    readahead_depth = small ? READAHEAD_DEPTH : READAHEAD_DEPTH_SMALL;
}

uint32_t readahead_window(void)
{
    return readahead_max;
}

uint32_t readahead_share(void)
{
    return vm_page_count / READAHEAD_SHARE;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* ---- reading a window ---------------------------------------------------------------------------------- */

void readahead_make_room(uint32_t npages)
{
    vm_lock(&vm_phys.lock);
    bool low = vm_phys.free_count < vm_pageout.free_min + npages;
    vm_unlock(&vm_phys.lock);
    if (low) /* read-ahead goes on with whatever it has freed */
        (void)vm_pageout_scan(vm_pageout.free_min + npages);
}

/*
 * Allocates busy pages for the absent neighbours from `start` on, inside the file, in m[0 … max). Returns how
 * many: fewer than there are absent when memory is short. (O).
 */
static uint32_t readahead_alloc(struct vm_object *object, vm_pindex_t start, uint32_t max, struct vm_page **m)
    FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    while (n < max && start + n < object->size && vm_page_lookup(object, start + n) == NULL &&
           !vm_object_invalidating(object, start + n) &&
           (m[n] = vm_page_alloc(object, start + n, VM_ALLOC_READAHEAD)) != NULL)
        n++;
    return n;
}

/*
 * m[0 … npages) are about to be read. Remembers them for
 * readahead_arrived, if they are too few for a window. (O).
 */
static void readahead_singles(struct vm_object *object, struct vm_page *const *m, uint32_t npages)
    FL_REQUIRES(object->lock)
{
    struct file_ra_singles *singles = &vm_object_vnode(object)->ra_singles;
    for (uint32_t i = 0; i < npages && npages <= READAHEAD_FEW; i++) {
        if (m[i]->flags & PG_READAHEAD)
            continue;                 /* a touch of the mark must be seen */
        if (singles->n == RA_SINGLES) /* asked for and never touched: to forget them costs only speed */
            singles->n = 0;
        singles->pindex[singles->n++] = m[i]->pindex;
    }
}

uint32_t readahead_arrived(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, struct vm_page **m,
                           uint32_t max)
{
    struct file_ra_singles *singles = &vm_object_vnode(object)->ra_singles;
    uint32_t n = 0, left = 0;
    for (uint32_t i = 0; i < singles->n; i++) {
        vm_pindex_t pindex = singles->pindex[i];
        struct vm_page *p = vm_page_lookup(object, pindex);
        bool waits = p != NULL && ((p->flags & PG_BUSY) || n == max || pindex < start || pindex >= end);
        if (waits) {
            singles->pindex[left++] = pindex;
        } else if (p != NULL && (p->flags & (PG_VALID | PG_AHEAD | PG_READAHEAD)) == (PG_VALID | PG_AHEAD)) {
            vm_page_xbusy(p);
            m[n++] = p;
        }
    }
    singles->n = left;
    return n;
}

/* Starts to read m[0 … npages), into the plug; NULL: at once. (O), released in between. */
static void read_pages(struct vm_object *object, struct vm_page **m, uint32_t npages, struct blk_plug *plug)
    FL_REQUIRES(object->lock)
{
    struct blk_plug own;
    vm_unlock(&object->lock);
    if (plug == NULL)
        blk_start_plug(&own);
    transfer_readahead(object, m, npages, plug != NULL ? plug : &own);
    if (plug == NULL)
        blk_finish_plug(&own);
    vm_lock(&object->lock);
}

/*
 * Starts to read the absent pages of [start, end), in transfers of at most a window; at most *left pages,
 * which it counts down. *mark: the first of these pages gets the mark, and then *mark is false. Returns false
 * when memory is short: then no more is read ahead, which would make other threads wait for memory. (O) held
 * on entry and return, released in between; the caller has a pip.
 */
static bool page_cache_ra_unbounded(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool *mark,
                                    uint32_t *left, struct blk_plug *plug) FL_REQUIRES(object->lock)
{
    struct vm_page *m[MACHINE_RUN_MAX];
    while (start < end && start<object->size && * left> 0) {
        uint32_t max = min_u32(readahead_max, *left);
        uint32_t n = readahead_alloc(object, start, end - start < max ? (uint32_t)(end - start) : max, m);
        if (n == 0) {
            if (vm_page_lookup(object, start) == NULL)
                return false;
            start++;
            continue;
        }
        if (*mark)
            m[0]->flags |= PG_READAHEAD;
        *mark = false;
        *left -= n;
        readahead_singles(object, m, n);
        read_pages(object, m, n, plug);
        if (vm_page_lookup(object, start) ==
            NULL) /* no memory for the transfer: nor is there for the next one */
            return false;
        start += n;
    }
    return true;
}

/* Starts to read one window. (O) held on entry and return, released in between; the caller has a pip. */
static void do_page_cache_ra(struct vm_object *object, const struct ra_window *window, struct blk_plug *plug)
    FL_REQUIRES(object->lock)
{
    bool mark = false, marked = !window->marked;
    uint32_t left = UINT32_MAX;
    for (uint32_t i = 0; i < window->count; i++) {
        vm_pindex_t start = window->start + (uint64_t)((int64_t)i * window->stride);
        bool wanted = !marked && i >= window->mark;
        mark = wanted;
        if (!page_cache_ra_unbounded(object, start, start + window->run, &mark, &left, plug))
            return;
        marked = marked || (wanted && !mark);
    }
}

void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, uint32_t *share,
                                struct blk_plug *plug)
{
    bool mark = false;
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    if (!page_cache_ra_unbounded(object, start, end, &mark, share, plug))
        *share = 0;
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

/* ---- what stream it is --------------------------------------------------------------------------------- */

/*
 * How many pages just before pindex, at most max, are resident and were touched:
 * the length of the stream that a miss there may continue. Up to READAHEAD_LOOK
 * untouched ones in a row count, too; *leapt: more of them ended it. (O).
 */
static uint32_t count_history_pages(struct vm_object *object, vm_pindex_t pindex, uint32_t max, bool *leapt)
    FL_REQUIRES(object->lock)
{
    uint32_t n = 0, untouched = 0;
    const struct vm_page *m;
    while (n < max && n < pindex && untouched <= READAHEAD_LOOK &&
           (m = vm_page_lookup(object, pindex - n - 1)) != NULL) {
        untouched = (m->flags & PG_AHEAD) ? untouched + 1 : 0;
        n++;
    }
    *leapt = untouched > READAHEAD_LOOK;
    return n - untouched;
}

/*
 * How many pages just above pindex, at most max, are resident and were touched, if the page below was not:
 * the length of the stream that comes from above. (O).
 */
static uint32_t count_history_above(struct vm_object *object, vm_pindex_t pindex, uint32_t max)
    FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    const struct vm_page *m = pindex == 0 ? NULL : vm_page_lookup(object, pindex - 1);
    if (pindex == 0 || (m != NULL && (m->flags & PG_AHEAD) == 0))
        return 0;
    while (n < max && (m = vm_page_lookup(object, pindex + n + 1)) != NULL && (m->flags & PG_AHEAD) == 0)
        n++;
    return n;
}

/* The stream goes down page by page from pindex; its next window is to have `size` pages. */
static void ra_turn_down(struct file_ra_state *ra, vm_pindex_t pindex, uint32_t size)
{
    ra->pattern = RA_STRIDED;
    ra->base = ra->start = pindex;
    ra->stride = -1;
    ra->run = 1;
    ra->repeats = 2;
    ra->size = size;
}

/* Is the length of the last run known, and not longer than what is probed? */
static bool ra_run_known(const struct file_ra_state *ra)
{
    return ra->run != RA_RUN_UNKNOWN && ra->run != RA_RUN_LONG;
}

/* Does each run end where the one before began: backwards, without gaps? */
static bool ra_backwards(const struct file_ra_state *ra)
{
    return ra->stride == -(int32_t)ra->run;
}

/* How many pages pindex lies behind the first page of the run that it would belong to. */
static uint32_t ra_grid_offset(const struct file_ra_state *ra, vm_pindex_t pindex)
{
    int64_t width = ra->stride < 0 ? -(int64_t)ra->stride : ra->stride;
    int64_t offset = (int64_t)(pindex - ra->base) % width;
    return (uint32_t)(offset < 0 ? offset + width : offset);
}

/* Does pindex belong to the strided stream: on one of its runs, and within three windows of its position? */
static bool ra_on_grid(const struct file_ra_state *ra, vm_pindex_t pindex)
{
    int64_t far = (int64_t)(pindex - ra->start), width = ra->stride < 0 ? -(int64_t)ra->stride : ra->stride;
    if (ra->pattern != RA_STRIDED || (ra->run == 1 && pindex == ra->next))
        return false;
    far = far < 0 ? -far : far;
    return far <= 3 * width * (int64_t)ra->size && ra_grid_offset(ra, pindex) < ra->run;
}

/*
 * A run of npages begins at pindex. True: the stream is strided; the
 * distance has repeated, and the length is known.
 */
static bool ra_begin_run(struct file_ra_state *ra, vm_pindex_t pindex, uint32_t npages)
{
    int64_t distance = ra->next == 0 ? 0 : (int64_t)(pindex - ra->base);
    bool again = distance != 0 && distance == ra->stride, known = ra_run_known(ra);
    if (again)
        ra->repeats += ra->repeats < READAHEAD_REPEATS_MAX;
    else
        ra->repeats = 1;
    /* A strided stream keeps its stride: it may only have jumped, and the next miss will tell. */
    if (!again && ra->pattern != RA_STRIDED)
        ra->stride = distance >= INT32_MIN / 2 && distance <= INT32_MAX / 2 ? (int32_t)distance : 0;
    ra->base = pindex;
    if (again && known && ra->repeats >= 2)
        return true;
    if (!again || ra->run != RA_RUN_LONG)
        ra->run = (uint16_t)npages;
    return false;
}

/* A miss continues the run. True: the stream is sequential; false: the run is still probed for its length. */
static bool ra_continue_run(struct file_ra_state *ra, uint32_t npages)
{
    if (ra->pattern == RA_PROBING && ra_run_known(ra) && ra->run < READAHEAD_INIT) {
        ra->run = (uint16_t)(ra->run + npages);
        return false;
    }
    ra->run = ra->repeats >= 2 ? RA_RUN_LONG : RA_RUN_UNKNOWN;
    return true;
}

/*
 * The pattern of the stream after a miss at pindex. *history: the
 * pages before it, if they decided; else 0. (O).
 */
static enum ra_pattern ra_look(const struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages,
                               uint32_t *history) FL_REQUIRES(ractl->object->lock)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    *history = 0;
    /* Of a stream that goes down page by page every page is on the grid: only the next one continues it. */
    bool down = ra->run == 1 && ra_backwards(ra);
    if (ra_on_grid(ra, pindex) && (!down || pindex == ra->start))
        return RA_STRIDED;
    if (ra->next != 0 && pindex == ra->next)
        return ra_continue_run(ra, npages) ? RA_SEQUENTIAL : RA_PROBING;
    bool doubt = ra->pattern == RA_STRIDED || ra->misses >= READAHEAD_MISSES;
    bool probing = ra->pattern == RA_PROBING, leapt;
    uint32_t pages = count_history_pages(ractl->object, pindex, readahead_max, &leapt);
    bool strided = ra_begin_run(ra, leapt ? pindex - pages : pindex, leapt ? pages + npages : npages);
    if (!leapt && pages >= (doubt || strided ? READAHEAD_HISTORY_LONG : READAHEAD_HISTORY)) {
        *history = pages;
        ra->base = pindex - pages;
        ra->stride = 0;
        ra->repeats = 0;
        ra->run = RA_RUN_UNKNOWN;
        return RA_SEQUENTIAL;
    }
    if (ractl->behavior == MAP_BEHAV_SEQUENTIAL || npages >= readahead_max)
        return RA_SEQUENTIAL;
    if (strided)
        return RA_STRIDED;
    uint32_t above = count_history_above(ractl->object, pindex, readahead_max);
    if (npages == 1 && above >= READAHEAD_HISTORY_DOWN) {
        ra_turn_down(ra, pindex, max_u32(READAHEAD_INIT, 2 * above));
        return RA_STRIDED;
    }
    probing = probing && ra->misses < READAHEAD_INIT;
    return ra->repeats >= 2 || probing || (leapt && pages > 0) ? RA_PROBING : RA_UNKNOWN;
}

/* ---- how much of it ------------------------------------------------------------------------------------ */

/*
 * The two windows of a sequential stream that missed pindex: the one
 * that begins there, and the next. Returns 2.
 */
static uint32_t ra_sequential(struct file_ra_state *ra, vm_pindex_t pindex, uint32_t npages, uint32_t history,
                              struct ra_window *window)
{
    bool goes_on = ra->pattern == RA_SEQUENTIAL && pindex == ra->start + ra->size;
    uint32_t size = goes_on ? 2 * ra->size : max_u32(READAHEAD_INIT, 2 * history);
    size = max_u32(min_u32(size, readahead_max), npages);
    ra->start = pindex + size;
    ra->size = min_u32(2 * size, readahead_max);
    window[0] = (struct ra_window){.start = pindex, .run = size, .count = 1};
    window[1] = (struct ra_window){.start = ra->start, .run = ra->size, .count = 1, .marked = true};
    return 2;
}

/*
 * The window of a stream that goes backwards without gaps, whose next run is at ra->start: two halves, the
 * upper one first. The lowest page of that half, which is touched last, has the mark. At the file's start
 * there may be fewer pages.
 */
static struct ra_window ra_backwards_window(const struct file_ra_state *ra)
{
    uint64_t pages = (uint64_t)ra->size * ra->run, left = ra->start + ra->run;
    uint32_t half = (uint32_t)((pages < left ? pages : left) + 1) / 2;
    return (struct ra_window){
        .start = left - half,
        .run = half,
        .count = left >= 2 * half ? 2 : 1,
        .stride = -(int64_t)half,
        .marked = true,
    };
}

/*
 * The window of a strided stream that begins with the run at
 * ra->start. Returns 1; 0: before the file's start.
 */
static uint32_t ra_strided(struct file_ra_state *ra, struct ra_window *window)
{
    uint32_t most = (ra_backwards(ra) ? readahead_max : min_u32(READAHEAD_STRIDED, readahead_max)) / ra->run;
    ra->size = min_u32(ra->size, max_u32(most & ~1u, 2));
    if ((int64_t)ra->start < 0)
        return 0;
    if (ra_backwards(ra))
        *window = ra_backwards_window(ra);
    else
        *window = (struct ra_window){
            .start = ra->start,
            .run = ra->run,
            .count = ra->size,
            .stride = ra->stride,
            .mark = ra->size / 2,
            .marked = true,
        };
    ra->start += (uint64_t)((int64_t)ra->size * ra->stride);
    return 1;
}

/*
 * A miss that fits nothing: reads the npages that are wanted, and in a mapping perhaps the pages around them
 * (ractl->behind, ractl->ahead). Returns how many windows. (O).
 */
static uint32_t ra_unknown(struct readahead_control *ractl, enum ra_pattern pattern, vm_pindex_t pindex,
                           uint32_t npages, struct ra_window *window) FL_REQUIRES(ractl->object->lock)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    uint32_t around = min_u32(READAHEAD_AROUND, readahead_max);
    bool first = ra->misses < READAHEAD_PROBES;
    *window = (struct ra_window){.start = pindex, .run = npages, .count = 1};
    if (ractl->map != NULL && !first && pattern == RA_UNKNOWN && ra->misses < READAHEAD_MISSES &&
        (around & (around - 1)) == 0) {
        ractl->behind = (uint32_t)(pindex & (around - 1));
        ractl->ahead = around - 1 - ractl->behind;
    }
    ra->misses += ra->misses < READAHEAD_MISSES;
    return npages > 1;
}

/* window[0 …]: the windows that a miss at pindex is worth. Returns how many. (O). */
static uint32_t ra_missed(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages,
                          struct ra_window *window) FL_REQUIRES(ractl->object->lock)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    uint32_t history, n;
    enum ra_pattern pattern = ra_look(ractl, pindex, npages, &history);
    switch (pattern) {
    case RA_SEQUENTIAL:
        n = ra_sequential(ra, pindex, npages, history, window);
        break;
    case RA_STRIDED:
        if (ra->pattern != RA_STRIDED)
            ra->size = READAHEAD_STRIDES;
        ra->start = pindex - ra_grid_offset(ra, pindex);
        n = ra_strided(ra, window);
        break;
    default:
        n = ra_unknown(ractl, pattern, pindex, npages, window);
    }
    ra->pattern = (uint8_t)pattern;
    ra->next = pindex + npages;
    return n;
}

/*
 * The first absent page behind pindex, up to a limit: the pages before it, resident or in flight, are the
 * stream's current window and those ahead of it. (O).
 */
static vm_pindex_t readahead_end(struct vm_object *object, const struct file_ra_state *ra, vm_pindex_t pindex)
    FL_REQUIRES(object->lock)
{
    vm_pindex_t end = pindex + 1, limit = pindex + (readahead_depth + 1) * (vm_pindex_t)readahead_max;
    vm_pindex_t known = ra->start + ra->size;
    if (ra->pattern == RA_SEQUENTIAL && known > pindex && known <= limit &&
        vm_page_lookup(object, known - 1) != NULL)
        return known;
    while (end < limit && vm_page_lookup(object, end) != NULL)
        end++;
    return end;
}

bool readahead_young(const struct vm_pager_stream *stream)
{
    const struct file_ra_state *ra = (const struct file_ra_state *)stream;
    return ra->pattern == RA_PROBING || (ra->pattern == RA_SEQUENTIAL && ra->size < readahead_max);
}

/*
 * The mark at pindex was touched; the stream's pages end at `end`. Is the stream young, and did it leave out
 * pages before the mark? (O).
 */
static bool ra_leapt(const struct readahead_control *ractl, vm_pindex_t pindex, vm_pindex_t end)
    FL_REQUIRES(ractl->object->lock)
{
    uint32_t look = (uint32_t)(pindex < READAHEAD_INIT ? pindex : READAHEAD_INIT);
    bool leapt = false;
    if (end - pindex < readahead_depth * (vm_pindex_t)readahead_max)
        (void)count_history_pages(ractl->object, pindex, look, &leapt);
    return leapt;
}

/*
 * The mark at pindex was touched by a stream that comes from above, and may have been taken for another one
 * meanwhile: goes on below the pages that are there. False: it does not come from above. (O).
 */
static bool ra_marked_down(const struct readahead_control *ractl, vm_pindex_t pindex)
    FL_REQUIRES(ractl->object->lock)
{
    uint32_t pages = count_history_above(ractl->object, pindex, READAHEAD_HISTORY_LONG);
    vm_pindex_t lowest = pindex, limit = pindex > 2 * readahead_max ? pindex - 2 * readahead_max : 0;
    if (pages < READAHEAD_HISTORY_LONG)
        return false;
    while (lowest > limit && vm_page_lookup(ractl->object, lowest - 1) != NULL)
        lowest--;
    /* The mark halves its window, of which the lower half is still to come. */
    ra_turn_down(ra_state(ractl->stream), lowest - 1, 4 * (uint32_t)(pindex - lowest + 1));
    return lowest > limit;
}

/* window[0 …]: the windows to start when the mark at pindex is touched. Returns how many. (O). */
static uint32_t ra_marked(struct readahead_control *ractl, vm_pindex_t pindex, struct ra_window *window)
    FL_REQUIRES(ractl->object->lock)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    uint32_t n = 0;
    if (ra_on_grid(ra, pindex)) {
        ra->misses = 0; /* it uses what was read ahead, so it is strided indeed */
        ra->size *= 2;
        return ra_strided(ra, window);
    }
    if (ra_marked_down(ractl, pindex)) {
        ra->misses = 0;
        return ra_strided(ra, window);
    }
    vm_pindex_t end = readahead_end(ractl->object, ra, pindex);
    if (ra_leapt(ractl, pindex, end)) {
        ra->pattern = RA_PROBING;
        ra->run = RA_RUN_UNKNOWN;
        ra->misses = 0;
        return 0;
    }
    while (n < readahead_depth && end - pindex <= readahead_depth * (vm_pindex_t)readahead_max) {
        uint32_t size = min_u32((uint32_t)(end - pindex) * 2, readahead_max);
        window[n++] = (struct ra_window){.start = end, .run = size, .count = 1, .marked = true};
        ra->start = end;
        ra->size = size;
        end += size;
    }
    ra->pattern = RA_SEQUENTIAL;
    ra->misses = 0;
    ra->next = pindex + 1;
    return n;
}

/* ---- misses and marks ---------------------------------------------------------------------------------- */

/* Releases (M), if the stream is a map entry's: ractl->stream is not used any more. Once only. */
static void readahead_unlock_map(struct readahead_control *ractl)
    FL_NO_THREAD_SAFETY_ANALYSIS /* ractl->map says whether (M) is held; the unlock asserts it (LK2) */
{
    if (ractl->map != NULL)
        vm_map_unlock_read(ractl->map);
    ractl->map = NULL;
}

/*
 * Page pindex is absent, and npages are wanted; or it has the mark, and npages is 0. Decides which windows to
 * read, and starts them. Returns how many. The pages of a strided window go to the store together. Sequential
 * windows go one by one, so that a thread that waits for the first need not wait for the last. (O), released
 * in between, and (M), unless there is none to read.
 */
static uint32_t ondemand_readahead(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages)
    FL_REQUIRES(ractl->object->lock)
{
    struct ra_window window[READAHEAD_DEPTH];
    struct blk_plug plug;
    uint32_t n, total = 0;
    n = npages > 0 ? ra_missed(ractl, pindex, npages, window) : ra_marked(ractl, pindex, window);
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        total += window[i].run * window[i].count;
    readahead_unlock_map(ractl);
    vm_unlock(&ractl->object->lock);
    readahead_make_room(total);
    vm_lock(&ractl->object->lock);
    for (uint32_t i = 0; i < n; i++) {
        if (window[i].count == 1) {
            do_page_cache_ra(ractl->object, &window[i], NULL);
            continue;
        }
        blk_start_plug(&plug);
        do_page_cache_ra(ractl->object, &window[i], &plug);
        vm_unlock(&ractl->object->lock);
        blk_finish_plug(&plug);
        vm_lock(&ractl->object->lock);
    }
    return n;
}

bool page_cache_sync_readahead(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages)
{
    ractl->behind = ractl->ahead = 0;
    if (ractl->behavior == MAP_BEHAV_RANDOM && npages == 1)
        return false;
    return ondemand_readahead(ractl, pindex, npages) > 0;
}

void page_cache_async_readahead(struct readahead_control *ractl, struct vm_page *m)
{
    KASSERT(m->object == ractl->object, "PG1");
    m->flags &= (uint16_t)~PG_READAHEAD;
    drop_behind(ractl->object, m->pindex);
    if (ractl->behavior != MAP_BEHAV_RANDOM)
        (void)ondemand_readahead(ractl, m->pindex, 0); /* perhaps there is nothing to start */
    readahead_unlock_map(ractl);
}
