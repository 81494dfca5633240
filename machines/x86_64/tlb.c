/*
 * tlb.c: TLB shoot-down: a CPU changes page tables and makes the others forget what they know of them.
 *
 *   initiator: request ─▶ interrupt to each CPU of space->cpus ─▶ each flushes, and counts `pending` down
 *
 * There is one request at a time. The initiator waits with interrupts on, so it answers no other request, of
 * which there is none, but every other interrupt. A CPU that has the space only because its last thread had
 * it lets go of it, and is not asked again.
 *
 * Lock: tlb_lock, a machine_lock below pm_lock. (pmap_invalidate_range and smp_tlb_shootdown,
 * FreeBSD.)
 */
#include "apic.h"
#include "kernel.h"
#include "sched.h"
#include "space.h"

#define TLB_SINGLE_MAX 32 /* pages that are dropped one by one; for more the whole TLB is cheaper */

static struct machine_lock tlb_lock;
static struct {
    struct machine_space *space; /* (tlb_lock) NULL: the kernel's addresses */
    vm_offset_t start, end;      /* (tlb_lock) */
    uint32_t pending;            /* atomic: CPUs that have not answered */
} request;

static void tlb_flush_self(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    if (curcpu()->space != space)
        return; /* loading cr3 will flush */
    if (end - start > ptoa((uint64_t)TLB_SINGLE_MAX)) {
        load_cr3(rcr3());
        return;
    }
    for (vm_offset_t va = start; va < end; va += VM_PAGE_SIZE)
        invlpg(va);
}

/* Asks the CPUs in the mask, and waits. */
static void tlb_ask(struct machine_space *space, vm_offset_t start, vm_offset_t end, uint64_t mask)
    FL_REQUIRES(tlb_lock)
{
    request.space = space;
    request.start = start;
    request.end = end;
    uint32_t asked = 0;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1)
        asked++;
    __atomic_store_n(&request.pending, asked, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < ncpus; i++) {
        if (mask & UINT64_C(1) << i)
            apic_ipi(cpus[i].apic_id, T_SHOOTDOWN);
    }
    while (__atomic_load_n(&request.pending, __ATOMIC_ACQUIRE) > 0) /* each answers within an interrupt */
        cpu_pause();
}

static uint64_t tlb_others(struct machine_space *space)
{
    return __atomic_load_n(&space->cpus, __ATOMIC_SEQ_CST) & ~(UINT64_C(1) << curcpu()->id);
}

void tlb_shootdown(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    if (tlb_others(space) == 0) {
        tlb_flush_self(space, start, end);
        return;
    }
    machine_lock(&tlb_lock);
    /* the lock may have moved the thread to another CPU */
    tlb_flush_self(space, start, end);
    uint64_t others = tlb_others(space);
    if (others != 0)
        tlb_ask(space, start, end, others);
    machine_unlock(&tlb_lock);
}

void tlb_drop_space(struct machine_space *space)
{
    machine_lock(&tlb_lock);
    uint64_t flags = intr_save();
    if (curcpu()->space == space)
        space_switch(NULL);
    intr_restore(flags);
    uint64_t others = tlb_others(space);
    if (others != 0)
        tlb_ask(space, 0, UINT64_MAX, others);
    machine_unlock(&tlb_lock);
    if (tlb_others(space) != 0)
        panic("a thread uses an address space that goes");
}

/* The kernel's entries outlive a load of cr3 (X86_PG_G), so they go one by one. */
static void tlb_flush_kernel(vm_offset_t start, vm_offset_t end)
{
    for (vm_offset_t va = start; va < end; va += VM_PAGE_SIZE)
        invlpg(va);
}

void tlb_shootdown_kernel(vm_offset_t start, vm_offset_t end)
{
    machine_lock(&tlb_lock);
    tlb_flush_kernel(start, end);
    const uint64_t others = ((UINT64_C(1) << ncpus) - 1) & ~(UINT64_C(1) << curcpu()->id);
    if (others != 0)
        tlb_ask(NULL, start, end, others);
    machine_unlock(&tlb_lock);
}

void tlb_shootdown_intr(void)
{
    struct cpu *cpu = curcpu();

    if (request.space == NULL)
        tlb_flush_kernel(request.start, request.end);
    else if (cpu->space == request.space && cpu->thread->td_space != request.space)
        space_switch(NULL);
    else
        tlb_flush_self(request.space, request.start, request.end);
    __atomic_fetch_sub(&request.pending, 1, __ATOMIC_RELEASE);
}
