/*
 * vm_phys.c: the buddy allocator of physical pages: splitting and joining free blocks.
 *
 *   order 2   |0 1 2 3|      vm_phys_alloc_pages(0) splits it twice:
 *   order 1   |0 1|2 3|      2-3 goes to the list of order 1,
 *   order 0   |0|1|          1 goes to the list of order 0, and the caller gets 0
 *
 *   0 ────────── used before: in use, or on a list ────────── fresh ────────── never used ────────── end
 *                                                             └─ the next block, when no list has one
 *
 * The buddy of a block of order n that starts at `frame` starts at frame ^ 2^n. So freeing 0 joins it with 1,
 * and then with 2-3.
 *
 * Invariants and the lock: vm_phys.h. Does not do: what a frame is used for (vm_page.c), which
 * frames should stay together (vm_reserv.c).
 */
#include "vm/vm_phys.h"
#include "lib/kassert.h"

struct vm_phys vm_phys;

void vm_phys_init(uint32_t nframes)
{
    __builtin_memset(&vm_phys, 0, sizeof vm_phys);
    vm_lock(&vm_phys.lock);
    for (unsigned order = 0; order < VM_PHYS_ORDERS; order++)
        vm_phys.head[order] = VM_PAGE_NONE;
    vm_phys.free_count = vm_phys.free_low = nframes;
    vm_unlock(&vm_phys.lock);
}

void vm_phys_freecnt_adj(int32_t adj)
{
    KASSERT(adj >= 0 || vm_phys.free_count >= (uint32_t)-adj, "PH3");
    vm_phys.free_count += (uint32_t)adj;
    if (vm_phys.free_count < vm_phys.free_low)
        vm_phys.free_low = vm_phys.free_count;
}

static void freelist_add(struct vm_page *m, unsigned order) FL_REQUIRES(vm_phys.lock)
{
    uint32_t first = vm_phys.head[order];

    m->order = (uint8_t)order;
    m->q_prev = VM_PAGE_NONE;
    m->q_next = first;
    if (first != VM_PAGE_NONE)
        vm_page_array[first].q_prev = vm_page_frame(m);
    vm_phys.head[order] = vm_page_frame(m);
    vm_phys.nblocks[order]++;
}

static void freelist_remove(struct vm_page *m, unsigned order) FL_REQUIRES(vm_phys.lock)
{
    KASSERT(m->order == order, "PH1");
    if (m->q_prev == VM_PAGE_NONE)
        vm_phys.head[order] = m->q_next;
    else
        vm_page_array[m->q_prev].q_next = m->q_next;
    if (m->q_next != VM_PAGE_NONE)
        vm_page_array[m->q_next].q_prev = m->q_prev;
    m->order = VM_PHYS_NOFREE;
    vm_phys.nblocks[order]--;
}

/* Makes a free block of fresh frames, as large as the end of memory allows. False: there are none left. */
static bool freelist_extend(void) FL_REQUIRES(vm_phys.lock)
{
    vm_frame_t first = vm_phys.fresh;
    unsigned order = VM_PHYS_ORDERS - 1;

    if (first == vm_page_count)
        return false;
    while (first + (1u << order) > vm_page_count)
        order--;
    for (uint32_t i = 0; i < 1u << order; i++)
        vm_page_of(first + i)->order = VM_PHYS_NOFREE;
    vm_phys.fresh = first + (1u << order);
    freelist_add(vm_page_of(first), order);
    return true;
}

/* The smallest order >= order that has a free block; VM_PHYS_ORDERS: none. */
static unsigned freelist_order(unsigned order) FL_REQUIRES(vm_phys.lock)
{
    while (order < VM_PHYS_ORDERS && vm_phys.head[order] == VM_PAGE_NONE)
        order++;
    return order;
}

struct vm_page *vm_phys_alloc_pages(unsigned order)
{
    unsigned from;

    while ((from = freelist_order(order)) == VM_PHYS_ORDERS)
        if (!freelist_extend()) /* ends: each turn takes frames off the fresh ones */
            return NULL;
    struct vm_page *m = vm_page_of(vm_phys.head[from]);
    freelist_remove(m, from);
    while (from > order) { /* the upper halves stay free */
        from--;
        freelist_add(m + (1u << from), from);
    }
    return m;
}

void vm_phys_free_pages(struct vm_page *m, unsigned order)
{
    vm_frame_t frame = vm_page_frame(m);

    KASSERT(order < VM_PHYS_ORDERS && (frame & ((1u << order) - 1)) == 0, "PH1");
    KASSERT(m->order == VM_PHYS_NOFREE && frame + (1u << order) <= vm_phys.fresh, "PH1");
    for (; order < VM_PHYS_ORDERS - 1; order++) {
        vm_frame_t buddy = frame ^ (1u << order);
        if (buddy >= vm_phys.fresh || vm_page_of(buddy)->order != order)
            break;
        freelist_remove(vm_page_of(buddy), order);
        frame &= ~(1u << order);
    }
    freelist_add(vm_page_of(frame), order);
}

uint32_t vm_phys_listed(void)
{
    uint32_t listed = vm_page_count - vm_phys.fresh;

    for (unsigned order = 0; order < VM_PHYS_ORDERS; order++)
        listed += vm_phys.nblocks[order] << order;
    return listed;
}

/* Checks one list: PH1 for its blocks, PH2 against their buddies. Returns the number of blocks. */
static uint32_t freelist_check(unsigned order) FL_REQUIRES(vm_phys.lock)
{
    uint32_t nblocks = 0;
    uint32_t prev = VM_PAGE_NONE;

    for (uint32_t frame = vm_phys.head[order]; frame != VM_PAGE_NONE; frame = vm_page_of(frame)->q_next) {
        const struct vm_page *m = vm_page_of(frame);
        KASSERT(frame + (1u << order) <= vm_phys.fresh && (frame & ((1u << order) - 1)) == 0, "PH1");
        KASSERT(m->order == order && m->q_prev == prev, "PH1");
        for (uint32_t i = 1; i < 1u << order; i++)
            KASSERT(m[i].order == VM_PHYS_NOFREE, "PH1");
        vm_frame_t buddy = frame ^ (1u << order);
        KASSERT(order == VM_PHYS_ORDERS - 1 || buddy >= vm_phys.fresh || vm_page_of(buddy)->order != order,
                "PH2");
        prev = frame;
        nblocks++;
        KASSERT(nblocks <= vm_page_count, "PH1"); /* the list ends */
    }
    return nblocks;
}

void vm_phys_check(void)
{
    uint32_t heads = 0, blocks = 0, hosts = 0;

    vm_lock(&vm_phys.lock);
    for (unsigned order = 0; order < VM_PHYS_ORDERS; order++) {
        KASSERT(freelist_check(order) == vm_phys.nblocks[order], "PH1");
        blocks += vm_phys.nblocks[order];
    }
    for (vm_frame_t frame = 0; frame < vm_phys.fresh; frame++) {
        heads += vm_page_of(frame)->order < VM_PHYS_ORDERS;
        hosts += vm_page_of(frame)->order == VM_PHYS_HOST;
    }
    KASSERT(heads == blocks, "PH1");
    KASSERT(hosts == vm_phys.allocated, "PH6");
    for (vm_frame_t frame = vm_phys.fresh; frame < vm_page_count; frame++)
        KASSERT(vm_page_of(frame)->order == 0 && vm_page_of(frame)->object == NULL, "PH4");
    vm_unlock(&vm_phys.lock);
}
