/*
 * frame.c: physical memory: objects, windows, copies and the release of frames, each checked against
 * the records in frame.h.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "highmem.h"
#include "mm1.h"
#include "sched.h"
#include "tlb.h"

struct physmem physmem;

static size_t physmem_len_bytes(void)
{
    return ((size_t)sim.params.nframes + sim.params.ntables) * VM_PAGE_SIZE;
}

void physmem_init(void)
{
    physmem = (struct physmem){0};
    if (sim.params.highmem)
        physmem.bytes = highmem_init(physmem_len_bytes());
    else
        physmem.bytes = mmap(NULL, physmem_len_bytes(), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    physmem.frame = calloc(sim.params.nframes, sizeof(struct frame));
    physmem.hash = calloc(sim.params.nframes, sizeof(*physmem.hash));
    physmem.table = calloc(sim.params.ntables, sizeof(struct pmap_table));
    if (physmem.bytes == MAP_FAILED || physmem.frame == NULL || physmem.hash == NULL || physmem.table == NULL)
        sim_panic("the host has no memory for %u frames", sim.params.nframes);
    memset(physmem.bytes, SIM_POISON, sim.params.nframes * VM_PAGE_SIZE);
    for (uint32_t i = sim.params.ntables; i-- > 0;) {
        physmem.table[i].pa = ptoa((uint64_t)sim.params.nframes + i);
        physmem.table[i].next = physmem.table_free;
        physmem.table_free = &physmem.table[i];
    }
}

void physmem_fini(void)
{
    if (physmem.nobjects > 0)
        sim_panic("leak: %u objects without machine_object_fini", physmem.nobjects);
    if (physmem.nwindows > 0)
        sim_panic("leak: %u pages in open windows", physmem.nwindows);
    if (sim.stats.ntables > 0)
        sim_panic("leak: %u page-table pages", sim.stats.ntables);
    for (vm_frame_t i = 0; i < sim.params.nframes; i++) {
        if (physmem.frame[i].object != NULL || physmem.frame[i].nptes > 0)
            sim_panic("leak: frame %u was not released", i);
    }
    if (sim.params.highmem)
        highmem_fini();
    else
        munmap(physmem.bytes, physmem_len_bytes());
    free(physmem.frame);
    free(physmem.hash);
    free(physmem.table);
    physmem = (struct physmem){0};
}

static struct frame *frame_of(vm_frame_t number)
{
    if (number >= sim.params.nframes)
        sim_panic("frame %u is not one of the %u", number, sim.params.nframes);
    return &physmem.frame[number];
}

/* Returns the head of the chain of frames in which that page's is. */
static uint32_t *frame_chain(const struct sim_object *object, vm_pindex_t pindex)
{
    return &physmem.hash[prng_mix(object->id * 31 + pindex) % sim.params.nframes];
}

/* Returns the frame that is bound to that page, whatever its bytes; NULL: none. */
static struct frame *frame_bound(const struct sim_object *object, vm_pindex_t pindex)
{
    for (uint32_t i = *frame_chain(object, pindex); i != 0; i = physmem.frame[i - 1].chain) {
        struct frame *frame = &physmem.frame[i - 1];

        if (frame->object == object && frame->pindex == pindex)
            return frame;
    }
    return NULL;
}

bool frame_lookup(const void *object, vm_pindex_t pindex, vm_frame_t *number)
{
    const struct frame *frame = frame_bound(object, pindex);

    if (frame == NULL || !frame->filled)
        return false;
    *number = (vm_frame_t)(frame - physmem.frame);
    return true;
}

static void frame_unbind(struct frame *frame)
{
    uint32_t *link = frame_chain(frame->object, frame->pindex);

    while (*link != (uint32_t)(frame - physmem.frame) + 1)
        link = &physmem.frame[*link - 1].chain;
    *link = frame->chain;
    frame->object->nframes--;
}

void frame_bind(vm_frame_t number, void *object, vm_pindex_t pindex)
{
    struct frame *frame = frame_of(number);

    if (frame->object == NULL) {
        const struct frame *other = frame_bound(object, pindex);
        uint32_t *head = frame_chain(object, pindex);

        if (other != NULL)
            sim_panic("MO4: frames %u and %u are both used as page %llu of object %llu",
                      (unsigned)(other - physmem.frame), number, (unsigned long long)pindex,
                      (unsigned long long)other->object->id);
        frame->object = object;
        frame->pindex = pindex;
        frame->object->nframes++;
        frame->chain = *head;
        *head = number + 1;
    }
    if (frame->object != object || frame->pindex != pindex)
        sim_panic("MO4: frame %u is page %llu of object %llu, and is used as another without machine_release",
                  number, (unsigned long long)frame->pindex, (unsigned long long)frame->object->id);
}

uint8_t *sim_frame(vm_frame_t frame)
{
    return physmem.bytes + ptoa(frame);
}

uint32_t sim_frame_mappings(vm_frame_t frame)
{
    return physmem.frame[frame].nptes;
}

/* ---- objects --------------------------------------------------------------------------------- */

int machine_object_init(void **object)
{
    sim_preempt();
    if (sim_fail_map())
        return -ENOMEM;
    struct sim_object *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL)
        return -ENOMEM;
    fresh->id = ++physmem.object_ids;
    physmem.nobjects++;
    *object = fresh;
    return 0;
}

void machine_object_fini(void *object)
{
    struct sim_object *dead = object;

    sim_preempt();
    sched_assert_no_locks("machine_object_fini");
    if (dead->nframes > 0)
        sim_panic("object %llu is dead, and %u of its pages were not released", (unsigned long long)dead->id,
                  dead->nframes);
    if (dead->nattachments > 0)
        sim_panic("AM7: object %llu is dead, and %u ranges still show it", (unsigned long long)dead->id,
                  dead->nattachments);
    physmem.nobjects--;
    free(dead);
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Where the core sees the frame without a kmap; NULL: nowhere. */
static void *frame_address(vm_frame_t number)
{
    return sim.params.highmem ? highmem_direct(number) : sim_frame(number);
}

/* Panics unless the core can see the frame at addr. */
static void frame_check_address(vm_frame_t number, const void *addr)
{
    if (sim.params.highmem)
        highmem_check(number, addr);
    else if (addr != (void *)sim_frame(number))
        sim_panic("machine_window_put: frame %u is in no such window", number);
}

/* A window FILL: the bytes mean nothing from now on. */
static void frame_refill(vm_frame_t number)
{
    struct frame *frame = frame_of(number);

    if (frame->nptes > 0)
        sim_panic("MO4: frame %u is filled while programs see it", number);
    frame->filled = false;
    memset(sim_frame(number), SIM_POISON, VM_PAGE_SIZE);
}

int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait, void **addr)
{
    sim_preempt();
    sched_assert_no_locks("machine_window_get");
    if (nowait && prng_chance(&sim.prng, sim.params.torture.window_busy_permille))
        return -EAGAIN;
    if (sim_fail_map())
        return -ENOMEM;
    for (uint32_t i = 0; i < run->npages; i++) {
        struct frame *frame = frame_of(run->frame[i]);

        frame_bind(run->frame[i], run->object, run->pindex + i);
        if (how == MACHINE_WINDOW_FILL)
            frame_refill(run->frame[i]);
        else if (!frame->filled)
            sim_panic("MO4: a window onto frame %u, whose bytes mean nothing", run->frame[i]);
        frame->nwindows++;
        physmem.nwindows++;
        addr[i] = frame_address(run->frame[i]);
    }
    return 0;
}

void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep)
{
    for (uint32_t i = 0; i < run->npages; i++) {
        struct frame *frame = frame_of(run->frame[i]);

        if (frame->nwindows == 0)
            sim_panic("machine_window_put: frame %u is in no window", run->frame[i]);
        frame_check_address(run->frame[i], addr[i]);
        frame->nwindows--;
        physmem.nwindows--;
        if (how == MACHINE_WINDOW_FILL)
            frame->filled = keep;
    }
    sim_preempt();
}

/* ---- copies ---------------------------------------------------------------------------------- */

#define COPY_UNREACHABLE VM_PAGE_SIZE /* no program has memory below it */

/* One page's part of a copy, page at `page`. Other fibers run in the middle of it, and must not release the
 * frame. */
static void copy_piece(vm_frame_t number, void *page, uint32_t start, uint8_t *memory, size_t len_bytes,
                       bool out)
{
    struct frame *frame = frame_of(number);
    uint8_t *bytes = (uint8_t *)page + start;

    if (!frame->filled && (out || len_bytes < VM_PAGE_SIZE))
        sim_panic("MO4: a copy of frame %u, whose bytes mean nothing", number);
    frame->nwindows++;
    physmem.nwindows++;
    for (size_t at = 0; at < len_bytes; at += SIM_SECTOR_SIZE) {
        size_t piece = len_bytes - at < SIM_SECTOR_SIZE ? len_bytes - at : SIM_SECTOR_SIZE;

        memmove(out ? memory + at : bytes + at, out ? bytes + at : memory + at, piece);
        sim_preempt();
    }
    frame->filled = true;
    frame->nwindows--;
    physmem.nwindows--;
}

static int copy(const struct machine_run *run, uint32_t start, void *memory, size_t len_bytes, bool out,
                size_t *done)
{
    sim_preempt();
    sched_assert_no_locks(out ? "machine_copyout" : "machine_copyin");
    *done = 0;
    if (sim_fail_map())
        return -ENOMEM;
    if ((uintptr_t)memory < COPY_UNREACHABLE)
        return -EFAULT;
    if (start >= VM_PAGE_SIZE || start + len_bytes > ptoa(run->npages))
        sim_panic("a copy of [%u, +%zu) of %u pages", start, len_bytes, run->npages);
    for (uint64_t at = start; *done < len_bytes; at = start + *done) {
        vm_pindex_t i = atop(at);
        size_t left = VM_PAGE_SIZE - (at & VM_PAGE_MASK);
        size_t piece = len_bytes - *done < left ? len_bytes - *done : left;

        frame_bind(run->frame[i], run->object, run->pindex + i);
        copy_piece(run->frame[i], run->addr != NULL ? run->addr[i] : frame_address(run->frame[i]),
                   (uint32_t)(at & VM_PAGE_MASK), (uint8_t *)memory + *done, piece, out);
        *done += piece;
    }
    return 0;
}

int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes, size_t *done)
{
    return copy(run, start, to, len_bytes, true, done);
}

int machine_copyin(const struct machine_run *run, uint32_t start, const void *from, size_t len_bytes,
                   size_t *done)
{
    return copy(run, start, (void *)(uintptr_t)from, len_bytes, false, done);
}

void machine_rename(const struct machine_run *run, void *object, vm_pindex_t pindex)
{
    struct frame *frame = frame_of(run->frame[0]);

    sim_preempt();
    if (run->npages != 1 || frame->nwindows > 0)
        sim_panic("CO2: frame %u becomes another page while a window is open onto it", run->frame[0]);
    frame_bind(run->frame[0], run->object, run->pindex);
    if (sim.params.torture.copy_first)
        sim_panic("machine_can_map said no, and frame %u becomes another object's page", run->frame[0]);
    frame_unbind(frame);
    frame->object = NULL;
    frame_bind(run->frame[0], object, pindex);
}

/* ---- release --------------------------------------------------------------------------------- */

static void frame_release(vm_frame_t number, const struct machine_run *run, vm_pindex_t pindex)
{
    struct frame *frame = frame_of(number);
    uint32_t cpu;
    vm_offset_t va;

    if (frame->object != NULL && (frame->object != run->object || frame->pindex != pindex))
        sim_panic("frame %u is released as another page than it is", number);
    if (frame->object != NULL)
        mm1_release(run->object, pindex, number);
    if (frame->nptes > 0)
        sim_panic("MO2: frame %u is released, and %u page-table entries have it", number, frame->nptes);
    if (tlb_has_frame(number, &cpu, &va))
        sim_panic("MO2: frame %u is released, and the TLB of CPU %u has it at %#llx: machine_sync is owed",
                  number, cpu, (unsigned long long)va);
    if (frame->nwindows > 0)
        sim_panic("CO2: frame %u is released while a window is open onto it", number);
    if (frame->object != NULL)
        frame_unbind(frame);
    *frame = (struct frame){0};
    memset(sim_frame(number), SIM_POISON, VM_PAGE_SIZE);
    sim_event(EVENT_RELEASE, number, pindex);
}

void machine_release(const struct machine_run *run)
{
    sim_preempt();
    sim.stats.releases += run->npages;
    for (uint32_t i = 0; i < run->npages; i++)
        frame_release(run->frame[i], run, run->pindex + i);
}
