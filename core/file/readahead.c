/*
 * readahead.c: reading before it is asked for. The picture and the idea are in readahead.h.
 *
 *   page_cache_sync_readahead ──┬─▶ ondemand_readahead ─┬─▶ ra_look: what stream is it?
 *   page_cache_async_readahead ─┘                       └─▶ do_page_cache_ra, for each window
 *                                                                 └─▶ page_cache_ra_unbounded ─▶ read_pages
 *   force_page_cache_readahead ───────────────────────────────────────▲
 *
 * How a pattern is learnt. `next` follows the last page asked for, so a miss there goes on with what is read.
 * Any other miss begins a run at `base`; `stride` is how far it lies from the run before, `repeats` how often
 * in a row that was so, `run` how long the last run was, as long as it is known: pages that came with a
 * window are touched unseen. So, when the distance is the same twice and the run's length is not known,
 * runs are read page by page (PROBING). So they are, too, when a young stream comes to its mark and left
 * out pages on the way (readahead_young): it is no sequential one.
 *
 *   UNKNOWN ──a miss at next, or much is there before it──────▶ SEQUENTIAL ──a miss elsewhere──▶ UNKNOWN
 *      │                             READAHEAD_INIT such misses ──▲ │
 *      │                              └─ PROBING ◀── a leap ────────┘
 *      └──the same distance twice, the run's length known──▶ STRIDED ──a miss off the grid──▶ UNKNOWN
 *
 * Locks: (e) of file_ra_state: (O), and (M) where a map entry has it. (O) is held around the allocation of a
 * window's pages, dropped to make room and to submit.
 * Does not do: the transfer itself and its completion (transfer.c), mapping what came (vm_prefault.c).
 */
#include "file/readahead.h"
#include "file/block.h"
#include "file/drop_behind.h"
#include "lib/kassert.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "file/vnode_pager.h"

#define READAHEAD_INIT   16 /* pages of a new stream's first window; the longest run that is probed */
#define READAHEAD_AROUND 16 /* pages read around a miss that fits nothing; a power of two */
#define READAHEAD_DEPTH                                                                                      \
    2 /* windows in flight ahead of the one that is read: one alone leaves the disk idle */
_Static_assert(READAHEAD_DEPTH >= 2, "ra_sequential makes two windows");
#define READAHEAD_MISSES  32 /* that fit nothing, in a row, until only single pages are read … */
#define READAHEAD_PROBES  2  /* … and so many of the first, too: what lies around would hide a stride */
#define READAHEAD_HISTORY 3  /* pages before a miss that tell of a stream, … */
#define READAHEAD_HISTORY_LONG                                                                               \
    8 /* … when something else is more likely: in a random stream many pages are there by chance */
#define READAHEAD_STRIDES     4  /* runs of a new strided stream's first window */
#define READAHEAD_STRIDED     32 /* pages of a strided window: what keeps a disk's queue full */
#define READAHEAD_REPEATS_MAX 8
#define READAHEAD_FEW         4 /* pages of a transfer that is no window */
#define READAHEAD_SHARE       4 /* one part in so many of memory is filled ahead by one call */

#define RA_RUN_UNKNOWN 0
#define RA_RUN_LONG    UINT16_MAX /* than what is probed */

enum ra_pattern {
    RA_UNKNOWN,
    RA_PROBING, /* unknown, and how long its runs are is to be found out */
    RA_SEQUENTIAL,
    RA_STRIDED,
};

/* What read-ahead remembers of a stream: what a struct vm_pager_stream holds. (e) in entries, (O) in vnodes. */
struct file_ra_state {
    /* The last window asked for: sequential: [start, start + size). Strided: the next one begins at start, and
       the last one had `size` runs. */
    vm_pindex_t start;
    vm_pindex_t next; /* the page behind the last one that missed, or had the mark; 0: there was none */
    vm_pindex_t base; /* the first page of the last run of misses */
    int32_t stride;   /* pages from the run before it to there; 0: not known */
    uint32_t size;
    uint16_t run;    /* pages of a run */
    uint8_t pattern; /* enum ra_pattern */
    uint8_t repeats; /* how many runs in a row began `stride` from the one before */
    uint8_t misses;  /* in a row that fitted nothing */
};
_Static_assert(sizeof(struct file_ra_state) <= sizeof(struct vm_pager_stream), "it lies in one");

/* What to read: `count` runs of `run` pages, the first at `start`, each `stride` after the last. */
struct ra_window {
    vm_pindex_t start;
    int64_t stride;
    uint32_t run, count;
    uint32_t mark; /* the run whose first page that was absent gets the mark */
    bool marked;
};

static uint32_t readahead_max; /* (c) */

/* (e), or (O) of a vnode's. */
static struct file_ra_state *ra_state(struct vm_pager_stream *stream)
{
    return (struct file_ra_state *)stream;
}

void readahead_startup(uint32_t max)
{
    readahead_max = max == 0 || max > MACHINE_RUN_MAX ? 64 : max;
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

/* Makes room, so that the daemon need not be awake in time: the reader pays for its own reading. */
void readahead_make_room(uint32_t npages)
{
    vm_lock(&vm_phys.lock);
    bool low = vm_phys.free_count < vm_pageout.free_min + npages;
    vm_unlock(&vm_phys.lock);
    if (low)
        (void)vm_pageout_scan(vm_pageout.free_min +
                              npages); /* how many it freed matters only to those who cannot go on without */
}

/*
 * Busy pages for the absent neighbours from `start` on, at most max, inside the file. Returns how many.
 * (O).
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

/* m[0 … npages) are read by themselves, not as part of a window. (O). */
static void readahead_singles(struct vm_object *object, struct vm_page *const *m, uint32_t npages)
{
    struct file_ra_singles *singles = &vm_object_vnode(object)->ra_singles;
    for (uint32_t i = 0; i < npages && npages <= READAHEAD_FEW; i++) {
        if (m[i]->flags & PG_READAHEAD)
            continue; /* the mark is to be touched */
        if (singles->n == RA_SINGLES)
            singles->n = 0; /* whoever does not touch what he asked for loses the speed, not more */
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

/* Hands the pages over, to the plug or, NULL, to the source at once. (O), released in between. */
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
 * Starts to read what is absent of [start, end), in transfers of at most a window, at most *left pages, which
 * it counts down. *mark: the first one gets the mark, and *mark is false then. False: memory is short, and
 * what was to follow is not worth making others wait. (O) held on entry and return, released in between; the
 * caller has a pip.
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
        if (vm_page_lookup(object, start) == NULL) /* no room for the transfer: nor is there for the next */
            return false;
        start += n;
    }
    return true;
}

/* One window. (O) held on entry and return, released in between; the caller has a pip. */
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
 * How many pages, at most max, are there just before pindex, and were touched: how long the stream is that
 * it may continue. A few between them that were not are as good (READAHEAD_LOOK); *leapt: more of them end
 * it. (O).
 */
static uint32_t count_history_pages(const struct vm_object *object, vm_pindex_t pindex, uint32_t max,
                                    bool *leapt)
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

/* The length of the last run is known, and no more than what a window has. */
static bool ra_run_known(const struct file_ra_state *ra)
{
    return ra->run != RA_RUN_UNKNOWN && ra->run != RA_RUN_LONG;
}

/* One run follows the other without a gap, backwards. */
static bool ra_backwards(const struct file_ra_state *ra)
{
    return ra->stride == -(int32_t)ra->run;
}

/* How far pindex lies behind the first page of the run that it would belong to. */
static uint32_t ra_grid_offset(const struct file_ra_state *ra, vm_pindex_t pindex)
{
    int64_t width = ra->stride < 0 ? -(int64_t)ra->stride : ra->stride;
    int64_t offset = (int64_t)(pindex - ra->base) % width;
    return (uint32_t)(offset < 0 ? offset + width : offset);
}

/* Does pindex belong to the strided stream: on one of its runs, and not far from where it is? */
static bool ra_on_grid(const struct file_ra_state *ra, vm_pindex_t pindex)
{
    int64_t far = (int64_t)(pindex - ra->start), width = ra->stride < 0 ? -(int64_t)ra->stride : ra->stride;
    if (ra->pattern != RA_STRIDED || (ra->run == 1 && pindex == ra->next))
        return false;
    far = far < 0 ? -far : far;
    return far <= 3 * width * (int64_t)ra->size && ra_grid_offset(ra, pindex) < ra->run;
}

/*
 * A run begins at pindex. True: it lies from the last one as that did from the one before, and how long they
 * are is known.
 */
static bool ra_begin_run(struct file_ra_state *ra, vm_pindex_t pindex, uint32_t npages)
{
    int64_t distance = ra->next == 0 ? 0 : (int64_t)(pindex - ra->base);
    bool again = distance != 0 && distance == ra->stride, known = ra_run_known(ra);
    if (again)
        ra->repeats += ra->repeats < READAHEAD_REPEATS_MAX;
    else
        ra->repeats = 1;
    /* A strided stream may only have jumped: the next miss will tell. */
    if (!again && ra->pattern != RA_STRIDED)
        ra->stride = distance >= INT32_MIN / 2 && distance <= INT32_MAX / 2 ? (int32_t)distance : 0;
    ra->base = pindex;
    if (again && known && ra->repeats >= 2)
        return true;
    if (!again || ra->run != RA_RUN_LONG)
        ra->run = (uint16_t)npages;
    return false;
}

/* The run that is read goes on. True: in earnest; false: this is to find out how long it is. */
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
 * What a miss at pindex makes of the stream; *history: what count_history_pages said when that decided.
 * (O).
 */
static enum ra_pattern ra_look(const struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages,
                               uint32_t *history)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    *history = 0;
    if (ra_on_grid(ra, pindex))
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
    probing = probing && ra->misses < READAHEAD_INIT;
    return ra->repeats >= 2 || probing || (leapt && pages > 0) ? RA_PROBING : RA_UNKNOWN;
}

/* ---- how much of it ------------------------------------------------------------------------------------ */

/* Two windows of a sequential stream that missed pindex: its own, and the next. Returns how many. */
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
 * The window of a stream backwards without gaps, whose next run is at ra->start: two halves, the upper
 * first; its lowest page is touched last, and has the mark. At the file's start there may be less than
 * that.
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
 * The window of a strided stream that begins with the run at ra->start. Returns how many: 0 at the file's
 * start.
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

/* A miss that fits nothing. Only what is asked for is read, and in a mapping perhaps what lies around. */
static uint32_t ra_unknown(struct readahead_control *ractl, enum ra_pattern pattern, vm_pindex_t pindex,
                           uint32_t npages, struct ra_window *window)
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

/* The windows that a miss is worth; returns how many. (O). */
static uint32_t ra_missed(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages,
                          struct ra_window *window)
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
 * The first absent page behind pindex: what is there, or on its way, is this stream's current window and
 * what was read ahead of it. (O).
 */
static vm_pindex_t readahead_end(const struct vm_object *object, const struct file_ra_state *ra,
                                 vm_pindex_t pindex)
{
    vm_pindex_t end = pindex + 1, limit = pindex + (READAHEAD_DEPTH + 1) * (vm_pindex_t)readahead_max;
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
 * The mark at pindex was come to; its stream's pages end at `end`. Is the stream young, and did it leave
 * out pages on the way? (O).
 */
static bool ra_leapt(const struct readahead_control *ractl, vm_pindex_t pindex, vm_pindex_t end)
{
    uint32_t look = (uint32_t)(pindex < READAHEAD_INIT ? pindex : READAHEAD_INIT);
    bool leapt = false;
    if (end - pindex < READAHEAD_DEPTH * (vm_pindex_t)readahead_max)
        (void)count_history_pages(ractl->object, pindex, look, &leapt);
    return leapt;
}

/* The windows to start when the mark at pindex is touched; returns how many. (O). */
static uint32_t ra_marked(struct readahead_control *ractl, vm_pindex_t pindex, struct ra_window *window)
{
    struct file_ra_state *ra = ra_state(ractl->stream);
    uint32_t n = 0;
    if (ra_on_grid(ra, pindex)) {
        ra->misses = 0; /* it came to what was read ahead: it is what it was taken for */
        ra->size *= 2;
        return ra_strided(ra, window);
    }
    vm_pindex_t end = readahead_end(ractl->object, ra, pindex);
    if (ra_leapt(ractl, pindex, end)) {
        ra->pattern = RA_PROBING;
        ra->run = RA_RUN_UNKNOWN;
        ra->misses = 0;
        return 0;
    }
    while (n < READAHEAD_DEPTH && end - pindex <= READAHEAD_DEPTH * (vm_pindex_t)readahead_max) {
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

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* ra is not looked at any more. */
static void readahead_unlock_map(struct readahead_control *ractl)
    FL_NO_THREAD_SAFETY_ANALYSIS /* whether (M) is held is a field */
{
    if (ractl->map != NULL)
        vm_map_unlock_read(ractl->map);
    ractl->map = NULL;
}

/*
 * Page pindex is absent (npages are wanted), or it has the mark (npages is 0): decides, and starts what it
 * decided. Returns how many windows. A strided window's pages go to the store together; each of several
 * sequential ones by itself, so that the first is not waited for until the last has come.
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
    KASSERT(m->object == ractl->object, "P1");
    m->flags &= (uint16_t)~PG_READAHEAD;
    drop_behind(ractl->object, m->pindex);
    if (ractl->behavior != MAP_BEHAV_RANDOM)
        (void)ondemand_readahead(ractl, m->pindex, 0); /* nothing to start is as good */
    readahead_unlock_map(ractl);
}
