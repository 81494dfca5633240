/*
 * drop_behind.c: which pages a long stream has passed. drop_behind.h has the picture.
 *
 *   page_cache_async_readahead ─▶ drop_behind ─▶ stream_at, drop_passed ─▶ deactivate_file_page
 *
 * A page that was used by other streams, too (active, or PL_REFERENCED), is not dropped. What page tables say
 * of a dropped page's use does not count (PL_PASSED): it is the stream's, or it would have to be found out by
 * unmapping the page. A dirty page is not dropped as far as that is known; page-out harvests before it frees.
 *
 * Locks: (O) → (L). Does not do: eviction (vm_pageout.c).
 */
#include "file/drop_behind.h"
#include "file/vnode.h"
#include "vm/lru.h"

#define DROP_LAG  64 /* pages just passed that are kept: readers are not exactly in order */
#define DROP_GAP  (2 * MACHINE_RUN_MAX) /* pages: a mark farther from the last one is another stream's */
#define DROP_IDLE 64                    /* marks of other streams after which a stream has ended */
#define DROP_LONG 8                     /* a stream is long when it has one part in so many of memory */

static bool stream_long(const struct drop_stream *stream)
{
    return stream->end - stream->start >= vm_page_count / DROP_LONG;
}

/*
 * The stream that goes on at pindex; or a new one, which replaces one
 * that has ended, or else the shortest. (O).
 */
static struct drop_stream *stream_at(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    struct vnode *vnode = vm_object_vnode(object);
    struct drop_stream *found = NULL, *least = &vnode->stream[0];
    for (struct drop_stream *at = vnode->stream; at < vnode->stream + DROP_STREAMS; at++) {
        at->idle++;
        if (pindex >= at->end && pindex - at->end <= DROP_GAP && at->end != 0)
            found = at;
        bool over = at->idle > DROP_IDLE, least_over = least->idle > DROP_IDLE;
        if (over != least_over ? over : at->end - at->start < least->end - least->start)
            least = at;
    }
    if (found == NULL) {
        found = least;
        found->start = found->end = pindex;
    }
    found->idle = 0;
    return found;
}

/*
 * The stream has become long: does at least half of it lie in the part that another stream passed, and would
 * all pages from there to the other stream's end fit into memory? (O).
 */
static bool stream_again(struct vm_object *object, const struct drop_stream *stream) FL_REQUIRES(object->lock)
{
    const struct vnode *vnode = vm_object_vnode(object);
    for (const struct drop_stream *at = vnode->stream; at < vnode->stream + DROP_STREAMS; at++) {
        vm_pindex_t end = at->end < stream->end ? at->end : stream->end;
        bool inside = at != stream && stream->start >= at->start && stream->start < end;
        if (inside && 2 * (end - stream->start) >= stream->end - stream->start &&
            at->end - stream->start < vm_page_count)
            return true;
    }
    return false;
}

/* A stream has used pages [start, end), and does not need them again. (O). */
static void drop_passed(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    for (vm_pindex_t pindex = start; pindex < end; pindex++) {
        struct vm_page *m = vm_page_lookup(object, pindex);
        if (m == NULL || (m->flags & (PG_VALID | PG_BUSY | PG_DIRTY)) != PG_VALID ||
            (m->lru & (PL_LRU | PL_ACTIVE | PL_REFERENCED)) != PL_LRU)
            continue;
        deactivate_file_page(m);
        m->lru |= PL_PASSED;
    }
}

void drop_behind(struct vm_object *object, vm_pindex_t pindex)
{
    struct vnode *vnode = vm_object_vnode(object);
    struct drop_stream *stream = stream_at(object, pindex);
    vm_pindex_t kept = stream->start + vm_page_count / DROP_LONG, from = stream->end;
    bool was_long = stream_long(stream);
    stream->end = pindex;
    if (!was_long && stream_long(stream) && stream_again(object, stream))
        vnode->stream_again = true;
    if (vnode->stream_again || pindex < kept + 2 * DROP_LAG)
        return;
    from = from > kept + DROP_LAG ? from - DROP_LAG : kept;
    drop_passed(object, from, pindex - DROP_LAG);
}
