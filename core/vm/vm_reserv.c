/*
 * vm_reserv.c: reservations of 2 MiB of frames: making, filling and breaking them.
 *
 *   reserv[frame >> 9]                            one structure for each whole block of frames
 *     object, pindex, popmap                      object NULL: not a reservation now
 *
 *   object->reserv_hint ─▶ reserv ⇄ reserv        the object's reservations
 *   partial.head ─▶ reserv ⇄ … ◀─ partial.tail    those that are not full; the head was used longest ago
 *
 * A link is an index into reserv[] plus 1, and 0 is no link. So an object that is all zero has no
 * reservation.
 *
 * Invariants RV1 … RV4 and the lock: vm_reserv.h. Does not do: mapping superpages (the machine's part),
 * moving pages together afterwards.
 */
#include "vm/vm_reserv.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_object.h"

#define POPMAP_WORDS (VM_LEVEL_0_NPAGES / 64)

struct vm_reserv {
    struct vm_object *object;      /* (F) */
    vm_pindex_t pindex;            /* (F) of the block's first frame, a multiple of VM_LEVEL_0_NPAGES */
    uint32_t obj_next, obj_prev;   /* (F) links of the object's list */
    uint32_t part_next, part_prev; /* (F) links of the partial queue */
    uint32_t popcnt;               /* (F) frames in use */
    uint64_t popmap[POPMAP_WORDS]; /* (F) a bit for each of them */
};

_Static_assert(sizeof(struct vm_reserv) == VM_RESERV_BYTES, "fl_vm_meta_size counts with it");

static struct vm_reserv *reserv FL_PT_GUARDED_BY(vm_phys.lock); /* (c) [nreserv] */
static uint32_t nreserv;                                        /* (c) 0: reservations are off */
static struct {
    uint32_t head, tail;
} partial FL_GUARDED_BY(vm_phys.lock); /* the queue of partial reservations */

int vm_reserv_init(uint32_t nframes, bool superpages)
{
    vm_lock(&vm_phys.lock);
    partial.head = partial.tail = 0;
    vm_unlock(&vm_phys.lock);
    reserv = NULL;
    nreserv = 0;
    if (!superpages || nframes < VM_LEVEL_0_NPAGES)
        return 0;
    size_t n = nframes / VM_LEVEL_0_NPAGES;
    reserv = vm_meta_alloc("reservations", n * sizeof(struct vm_reserv), 64);
    if (reserv == NULL)
        return -ENOMEM;
    nreserv = (uint32_t)n;
    return 0;
}

bool vm_reserv_used(void)
{
    return nreserv > 0;
}

static struct vm_reserv *reserv_of_link(uint32_t link)
{
    return link == 0 ? NULL : &reserv[link - 1];
}

static uint32_t reserv_link(const struct vm_reserv *rv)
{
    return (uint32_t)(rv - reserv) + 1;
}

static struct vm_page *reserv_page(const struct vm_reserv *rv, uint32_t i)
{
    return vm_page_of((vm_frame_t)(rv - reserv) * VM_LEVEL_0_NPAGES + i);
}

/* The reservation that the frame belongs to, or NULL: none. */
static struct vm_reserv *reserv_of_page(const struct vm_page *m) FL_REQUIRES(vm_phys.lock)
{
    uint32_t i = vm_page_frame(m) / VM_LEVEL_0_NPAGES;

    return i < nreserv && reserv[i].object != NULL ? &reserv[i] : NULL;
}

static bool reserv_used(const struct vm_reserv *rv, uint32_t i)
{
    return (rv->popmap[i / 64] >> (i % 64) & 1) != 0;
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static void partial_insert(struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    rv->part_prev = partial.tail;
    rv->part_next = 0;
    if (partial.tail == 0)
        partial.head = reserv_link(rv);
    else
        reserv_of_link(partial.tail)->part_next = reserv_link(rv);
    partial.tail = reserv_link(rv);
}

static void partial_remove(struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    if (rv->part_prev == 0)
        partial.head = rv->part_next;
    else
        reserv_of_link(rv->part_prev)->part_next = rv->part_next;
    if (rv->part_next == 0)
        partial.tail = rv->part_prev;
    else
        reserv_of_link(rv->part_next)->part_prev = rv->part_prev;
}

static void object_insert(struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    struct vm_reserv *first = reserv_of_link((uint32_t)rv->object->reserv_hint);

    rv->obj_prev = 0;
    rv->obj_next = (uint32_t)rv->object->reserv_hint;
    if (first != NULL)
        first->obj_prev = reserv_link(rv);
    rv->object->reserv_hint = reserv_link(rv);
}

static void object_remove(struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    if (rv->obj_prev == 0)
        rv->object->reserv_hint = rv->obj_next;
    else
        reserv_of_link(rv->obj_prev)->obj_next = rv->obj_next;
    if (rv->obj_next != 0)
        reserv_of_link(rv->obj_next)->obj_prev = rv->obj_prev;
    rv->object = NULL;
}

/* ---- use --------------------------------------------------------------------------------------------- */

/*
 * Frame i comes into use: the reservation moves to the end of the partial queue, or leaves it if full (RV2).
 */
static struct vm_page *reserv_populate(struct vm_reserv *rv, uint32_t i) FL_REQUIRES(vm_phys.lock)
{
    const bool last = rv->popcnt > 0 && partial.tail == reserv_link(rv);

    rv->popmap[i / 64] |= (uint64_t)1 << (i % 64);
    rv->popcnt++;
    if (!last || rv->popcnt == VM_LEVEL_0_NPAGES) {
        if (rv->popcnt > 1)
            partial_remove(rv);
        if (rv->popcnt < VM_LEVEL_0_NPAGES)
            partial_insert(rv);
    }
    vm_phys_freecnt_adj(-1);
    return reserv_page(rv, i);
}

/*
 * A reservation for a stretch that has no page yet: a whole free block. NULL: there is no such block, or the
 * object ends before the stretch does. (O) held too.
 */
static struct vm_reserv *reserv_make(struct vm_object *object, vm_pindex_t first) FL_REQUIRES(vm_phys.lock)
{
    if (object->size < VM_LEVEL_0_NPAGES || first > object->size - VM_LEVEL_0_NPAGES)
        return NULL;
    struct vm_page *m = vm_phys_alloc_pages(VM_LEVEL_0_ORDER);
    if (m == NULL)
        return NULL;
    struct vm_reserv *rv = &reserv[vm_page_frame(m) / VM_LEVEL_0_NPAGES];
    KASSERT(rv->object == NULL && rv->popcnt == 0, "RV1");
    rv->object = object;
    rv->pindex = first;
    object_insert(rv);
    return rv;
}

/* The reservation for the object's stretch at `first`; made, if the stretch has no page yet. NULL: none. */
static struct vm_reserv *reserv_of_stretch(struct vm_object *object, vm_pindex_t first)
    FL_REQUIRES(vm_phys.lock)
{
    /* the one that was made last is most often the one, and that costs no walk */
    struct vm_reserv *rv = reserv_of_link((uint32_t)object->reserv_hint);
    if (rv != NULL && rv->pindex == first)
        return rv;
    const struct vm_page *m = vm_radix_lookup_le(&object->pages, first + VM_LEVEL_0_NPAGES - 1);
    if (m == NULL || m->pindex < first)
        return reserv_make(object, first);
    rv = reserv_of_page(m);
    return rv != NULL && rv->object == object && rv->pindex == first ? rv : NULL; /* it came from elsewhere */
}

struct vm_page *vm_reserv_alloc_page(struct vm_object *object, vm_pindex_t pindex)
{
    if (nreserv == 0)
        return NULL;
    uint32_t i = pindex % VM_LEVEL_0_NPAGES;
    struct vm_reserv *rv = reserv_of_stretch(object, pindex - i);

    /* the frame may still be used by a page that is being freed */
    return rv == NULL || reserv_used(rv, i) ? NULL : reserv_populate(rv, i);
}

bool vm_reserv_free_page(struct vm_page *m)
{
    struct vm_reserv *rv = reserv_of_page(m);
    uint32_t i = vm_page_frame(m) % VM_LEVEL_0_NPAGES;

    if (rv == NULL)
        return false;
    KASSERT(reserv_used(rv, i), "RV4");
    vm_phys_freecnt_adj(1);
    if (rv->popcnt < VM_LEVEL_0_NPAGES)
        partial_remove(rv);
    rv->popmap[i / 64] &= ~((uint64_t)1 << (i % 64));
    if (--rv->popcnt > 0) {
        partial_insert(rv);
        return true;
    }
    object_remove(rv);
    vm_phys_free_pages(reserv_page(rv, 0), VM_LEVEL_0_ORDER);
    return true;
}

/* ---- breaking ---------------------------------------------------------------------------------------- */

/*
 * The unused frames become ordinary free ones; free_count has them already. The used ones become ordinary
 * pages of the object.
 */
static void reserv_break(struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    if (rv->popcnt < VM_LEVEL_0_NPAGES)
        partial_remove(rv);
    object_remove(rv);
    for (uint32_t i = 0; i < VM_LEVEL_0_NPAGES; i++)
        if (!reserv_used(rv, i))
            vm_phys_free_pages(reserv_page(rv, i), 0);
    __builtin_memset(rv->popmap, 0, sizeof rv->popmap);
    rv->popcnt = 0;
}

/* Do the unused frames hold a block of 2^order pages? */
static bool reserv_has_block(const struct vm_reserv *rv, unsigned order)
{
    uint32_t npages = 1u << order;

    for (uint32_t first = 0; first < VM_LEVEL_0_NPAGES; first += npages) {
        uint32_t i = first;
        while (i < first + npages && !reserv_used(rv, i))
            i++;
        if (i == first + npages)
            return true;
    }
    return false;
}

bool vm_reserv_reclaim_inactive(unsigned order)
{
    struct vm_reserv *rv = reserv_of_link(partial.head);

    while (rv != NULL && !reserv_has_block(rv, order))
        rv = reserv_of_link(rv->part_next);
    if (rv == NULL)
        return false;
    reserv_break(rv);
    return true;
}

void vm_reserv_break_all(struct vm_object *object)
{
    vm_lock(&vm_phys.lock);
    while (object->reserv_hint != 0)
        reserv_break(reserv_of_link((uint32_t)object->reserv_hint));
    vm_unlock(&vm_phys.lock);
}

bool vm_reserv_full(const struct vm_page *m)
{
    const struct vm_reserv *rv = reserv_of_page(m);

    return rv != NULL && rv->popcnt == VM_LEVEL_0_NPAGES;
}

/* ---- checks ------------------------------------------------------------------------------------------ */

static bool on_object_list(const struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    const struct vm_reserv *at = reserv_of_link((uint32_t)rv->object->reserv_hint);

    for (uint32_t n = 0; at != NULL && at != rv && n < nreserv; n++)
        at = reserv_of_link(at->obj_next);
    return at == rv;
}

/* Checks RV1, RV3 and RV4 for one reservation. Returns how many of its frames are unused. */
static uint32_t reserv_check(const struct vm_reserv *rv) FL_REQUIRES(vm_phys.lock)
{
    uint32_t popcnt = 0;

    for (uint32_t i = 0; i < VM_LEVEL_0_NPAGES; i++)
        popcnt += reserv_used(rv, i);
    KASSERT(popcnt == rv->popcnt && (popcnt > 0) == (rv->object != NULL), "RV1");
    if (rv->object == NULL)
        return 0;
    for (uint32_t i = 0; i < VM_LEVEL_0_NPAGES; i++) {
        const struct vm_page *m = reserv_page(rv, i);
        KASSERT(m->order == VM_PHYS_NOFREE && (reserv_used(rv, i) || m->object == NULL), "RV4");
    }
    KASSERT(on_object_list(rv), "RV3");
    return VM_LEVEL_0_NPAGES - popcnt;
}

void vm_reserv_check(void)
{
    uint32_t unused = 0, npartial = 0, queued = 0;

    vm_lock(&vm_phys.lock);
    for (uint32_t i = 0; i < nreserv; i++) {
        uint32_t n = reserv_check(&reserv[i]);
        unused += n;
        npartial += n != 0;
    }
    for (struct vm_reserv *rv = reserv_of_link(partial.head); rv != NULL;
         rv = reserv_of_link(rv->part_next)) {
        KASSERT(rv->object != NULL && rv->popcnt < VM_LEVEL_0_NPAGES, "RV2");
        queued++;
        KASSERT(queued <= npartial, "RV2");
    }
    KASSERT(queued == npartial, "RV2");
    KASSERT(vm_phys_listed() + unused == vm_phys.free_count + vm_phys.taken, "PH3");
    vm_unlock(&vm_phys.lock);
}
