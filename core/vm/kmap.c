/*
 * kmap.c: slots of kernel addresses for pages in high memory; kmap.h has the drawing, and says why the wait
 * ends.
 *
 *   kmap ─┬─ page_address                        a page of the direct map
 *         └─ kmap_high ─┬─ page_address          mapped already?
 *                       └─ map_new_virtual ─┬─ get_next_pkmap_nr, flush_all_zero_pkmaps    a free slot
 *                                           ├─ set_pte_at
 *                                           └─ set_page_address
 *
 *   frame ─▶ hash ─▶ a chain of slots, by their number + 1
 *
 * Invariants KM1 … KM5 and the lock: kmap.h. Does not do: deciding which memory is high (the machine's).
 */
#include "vm/kmap.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"

struct pkmap {
    vm_frame_t frame; /* (J) the page, if count > 0 */
    uint32_t count;   /* (J) 0: free; n: the page is mapped for n - 1 users. (pkmap_count, Linux.) */
    uint32_t hash;    /* (J) the first slot, + 1, whose page has this slot's number as its hash; 0: none */
    uint32_t chain;   /* (J) the next slot, + 1, whose page has the same hash; 0: none */
};

/* A CPU's own slots. Used by threads that are pinned to it, so it needs no lock. */
struct kmap_cpu {
    uint32_t depth;
};

static const struct machine_kmap *machine;              /* (c) NULL: there is no high memory */
static struct kmap_cpu *kmap_cpu;                       /* (c) [ncpus] */
static struct vm_lock kmap_lock;                        /* (J) */
static struct pkmap *pkmap FL_PT_GUARDED_BY(kmap_lock); /* (c) [nslots] */
static struct {
    uint32_t last_nr; /* the slot that was given out last */
    uint32_t used;    /* slots with users */
    uint32_t waiters; /* threads that sleep on pkmap_map_wait */
} pkmaps FL_GUARDED_BY(kmap_lock);
static const char pkmap_map_wait; /* its address is the channel */

int kmap_startup(const struct machine_kmap *of)
{
    kmap_lock = (struct vm_lock){0};
    vm_lock(&kmap_lock);
    pkmaps.last_nr = 0;
    pkmaps.used = 0;
    pkmaps.waiters = 0;
    vm_unlock(&kmap_lock);
    machine = NULL;
    pkmap = NULL;
    kmap_cpu = NULL;
    if (of == NULL)
        return 0;
    pkmap = vm_meta_alloc("kmap slots", of->nslots * sizeof(struct pkmap), 64);
    kmap_cpu = vm_meta_alloc("kmap slots of CPUs", of->ncpus * sizeof(struct kmap_cpu), 64);
    if (pkmap == NULL || kmap_cpu == NULL)
        return -ENOMEM;
    machine = of;
    return 0;
}

bool kmap_used(void)
{
    return machine != NULL;
}

/* ---- addresses of pages -------------------------------------------------------------------------------- */

static bool kmap_is_high(vm_frame_t frame)
{
    return frame >= machine->ndirect;
}

static void *PKMAP_ADDR(uint32_t nr)
{
    return (char *)machine->slots + ptoa((uint64_t)nr);
}

static uint32_t PKMAP_NR(const void *addr)
{
    return (uint32_t)atop((uint64_t)((const char *)addr - (const char *)machine->slots));
}

static uint32_t *page_slot(vm_frame_t frame) FL_REQUIRES(kmap_lock)
{
    return &pkmap[frame % machine->nslots].hash;
}

static void *page_address_high(vm_frame_t frame) FL_REQUIRES(kmap_lock)
{
    uint32_t link = *page_slot(frame);

    while (link != 0 && pkmap[link - 1].frame != frame)
        link = pkmap[link - 1].chain;
    return link != 0 ? PKMAP_ADDR(link - 1) : NULL;
}

/* For a frame of the direct map no lock is needed. */
void *page_address(vm_frame_t frame) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (kmap_is_high(frame))
        return page_address_high(frame);
    return (char *)machine->direct + ptoa((uint64_t)frame);
}

/* The page is mapped in slot nr from now on. */
static void set_page_address(vm_frame_t frame, uint32_t nr) FL_REQUIRES(kmap_lock)
{
    uint32_t *head = page_slot(frame);

    pkmap[nr].frame = frame;
    pkmap[nr].chain = *head;
    *head = nr + 1;
}

/* The page of slot nr is mapped nowhere from now on. */
static void clear_page_address(uint32_t nr) FL_REQUIRES(kmap_lock)
{
    uint32_t *link = page_slot(pkmap[nr].frame);

    while (*link != nr + 1)
        link = &pkmap[*link - 1].chain;
    *link = pkmap[nr].chain;
}

/* ---- slots --------------------------------------------------------------------------------------------- */

static uint32_t get_next_pkmap_nr(void) FL_REQUIRES(kmap_lock)
{
    pkmaps.last_nr = (pkmaps.last_nr + 1) % machine->nslots;
    return pkmaps.last_nr;
}

/* Empties the slots without users. Their entries go before the TLBs are flushed, so that no CPU can load one
 * again in between. */
static void flush_all_zero_pkmaps(void) FL_REQUIRES(kmap_lock)
{
    bool any = false;

    for (uint32_t nr = 0; nr < machine->nslots; nr++) {
        if (pkmap[nr].count != 1)
            continue;
        clear_page_address(nr);
        machine->pte_clear(PKMAP_ADDR(nr));
        pkmap[nr].count = 0;
        any = true;
    }
    if (any)
        machine->flush_tlb(PKMAP_ADDR(0), PKMAP_ADDR(machine->nslots));
}

/*
 * Maps the page in a free slot. NULL: all slots have users. Loops: some slot has none, so it is free after
 * the flush at the latest, which comes once in a round.
 */
static void *map_new_virtual(vm_frame_t frame) FL_REQUIRES(kmap_lock)
{
    uint32_t nr;

    if (pkmaps.used == machine->nslots)
        return NULL;
    do {
        nr = get_next_pkmap_nr();
        if (nr == 0)
            flush_all_zero_pkmaps();
    } while (pkmap[nr].count != 0);
    machine->set_pte_at(PKMAP_ADDR(nr), frame);
    pkmap[nr].count = 1;
    set_page_address(frame, nr);
    return PKMAP_ADDR(nr);
}

/* One more user of the page's slot. NULL: the page has none, and no slot is free. */
static void *kmap_high(vm_frame_t frame) FL_REQUIRES(kmap_lock)
{
    void *addr = page_address(frame);

    if (addr == NULL)
        addr = map_new_virtual(frame);
    if (addr != NULL && pkmap[PKMAP_NR(addr)].count++ == 1)
        pkmaps.used++;
    return addr;
}

/* One user less. The page stays mapped: often it is wanted again soon. */
static void kunmap_high(vm_frame_t frame) FL_REQUIRES(kmap_lock)
{
    void *addr = page_address(frame);

    KASSERT(addr != NULL && pkmap[PKMAP_NR(addr)].count > 1, "KM3");
    if (--pkmap[PKMAP_NR(addr)].count == 1)
        pkmaps.used--;
}

/* Maps all of them, or none. */
static bool kmap_try(const vm_frame_t *frame, uint32_t npages, void **addr) FL_REQUIRES(kmap_lock)
{
    for (uint32_t i = 0; i < npages; i++) {
        addr[i] = kmap_is_high(frame[i]) ? kmap_high(frame[i]) : page_address(frame[i]);
        if (addr[i] != NULL)
            continue;
        while (i-- > 0)
            if (kmap_is_high(frame[i]))
                kunmap_high(frame[i]);
        return false;
    }
    return true;
}

static uint32_t kmap_count_high(const vm_frame_t *frame, uint32_t npages)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < npages; i++)
        n += kmap_is_high(frame[i]);
    return n;
}

int kmap(const vm_frame_t *frame, uint32_t npages, bool nowait, void **addr)
{
    uint32_t half = machine->nslots / 2, nhigh = kmap_count_high(frame, npages);

    KASSERT(nhigh <= half, "KM5");
    vm_lock(&kmap_lock);
    if (nowait && nhigh > 0 && pkmaps.used + nhigh > half) {
        vm_unlock(&kmap_lock);
        return -EAGAIN;
    }
    while (!kmap_try(frame, npages, addr)) {
        pkmaps.waiters++;
        vm_sleep(&pkmap_map_wait, &kmap_lock);
        pkmaps.waiters--;
    }
    vm_unlock(&kmap_lock);
    return 0;
}

void kunmap(const vm_frame_t *frame, uint32_t npages)
{
    vm_lock(&kmap_lock);
    for (uint32_t i = 0; i < npages; i++)
        if (kmap_is_high(frame[i]))
            kunmap_high(frame[i]);
    bool wake = pkmaps.waiters > 0;
    vm_unlock(&kmap_lock);
    if (wake)
        machine_wake(&pkmap_map_wait);
}

/* ---- the short-lived kind ------------------------------------------------------------------------------ */

/* The address of slot i of the CPU. */
static void *kmap_local_addr(uint32_t cpu, uint32_t i)
{
    return PKMAP_ADDR(machine->nslots + cpu * MACHINE_KMAP_LOCAL + i);
}

void *kmap_local(vm_frame_t frame)
{
    if (!kmap_is_high(frame))
        return page_address(frame);
    uint32_t cpu = machine->pin();
    KASSERT(kmap_cpu[cpu].depth < MACHINE_KMAP_LOCAL, "KM4");
    void *addr = kmap_local_addr(cpu, kmap_cpu[cpu].depth++);
    machine->set_pte_at(addr, frame);
    return addr;
}

void kunmap_local(void *addr)
{
    const char *first = PKMAP_ADDR(machine->nslots);

    if ((char *)addr < first || (char *)addr >= first + ptoa((uint64_t)machine->ncpus * MACHINE_KMAP_LOCAL))
        return; /* of the direct map */
    uint32_t cpu = (PKMAP_NR(addr) - machine->nslots) / MACHINE_KMAP_LOCAL;
    KASSERT(kmap_cpu[cpu].depth > 0 && addr == kmap_local_addr(cpu, kmap_cpu[cpu].depth - 1), "KM4");
    machine->pte_clear(addr);
    machine->flush_tlb_self(addr);
    kmap_cpu[cpu].depth--;
    machine->unpin();
}

/* ---- checks -------------------------------------------------------------------------------------------- */

void kmap_check(void)
{
    uint32_t used = 0, mapped = 0, chained = 0;

    if (machine == NULL)
        return;
    vm_lock(&kmap_lock);
    for (uint32_t nr = 0; nr < machine->nslots; nr++) {
        used += pkmap[nr].count > 1;
        mapped += pkmap[nr].count > 0;
        KASSERT(pkmap[nr].count == 0 || page_address(pkmap[nr].frame) == PKMAP_ADDR(nr), "KM2");
        for (uint32_t link = pkmap[nr].hash; link != 0; link = pkmap[link - 1].chain) {
            KASSERT(pkmap[link - 1].count > 0 && chained < mapped + machine->nslots, "KM1");
            chained++;
        }
    }
    KASSERT(chained == mapped, "KM1");
    KASSERT(used == pkmaps.used, "KM5");
    vm_unlock(&kmap_lock);
}
