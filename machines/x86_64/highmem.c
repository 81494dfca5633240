/*
 * highmem.c: slots of kernel addresses for pages that the core cannot see directly; highmem.h says when.
 *
 *   HIGHMEM_START: | HIGHMEM_SLOTS for all | MACHINE_KMAP_LOCAL for each CPU |     tables of the kernel's
 *
 * Slots are in the upper half that all spaces share, so their entries must leave the TLBs of all CPUs. A
 * thread that is pinned keeps its CPU since the kernel does not preempt itself; it must not sleep, which
 * mi_switch checks.
 */
#include "highmem.h"

#include "machdep.h"
#include "space.h"
#include "x86/pte.h"

#define HIGHMEM_START (KERNBASE + (UINT64_C(928) << 20))
#define HIGHMEM_SLOTS 1024
#define HIGHMEM_END   (HIGHMEM_START + ptoa((uint64_t)(HIGHMEM_SLOTS + MACHINE_KMAP_LOCAL * CPUS_MAX)))

static struct machine_kmap kmap;

static void set_pte_at(void *va, vm_frame_t frame)
{
    pmap_kenter((uint64_t)va, frame_to_phys(frame));
}

static void pte_clear(void *va)
{
    pmap_kremove((uint64_t)va);
}

static void flush_tlb(void *start, void *end)
{
    tlb_shootdown_kernel((vm_offset_t)start, (vm_offset_t)end);
}

static void flush_tlb_self(void *va)
{
    invlpg((vm_offset_t)va);
}

static uint32_t pin(void)
{
    curcpu()->pins++;
    return curcpu()->id;
}

static void unpin(void)
{
    curcpu()->pins--;
}

int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait, void **addr)
{
    (void)how;
    (void)nowait;
    for (uint32_t i = 0; i < run->npages; i++)
        addr[i] = run->frame[i] < kmap.ndirect ? frame_to_virt(run->frame[i]) : NULL;
    return 0;
}

void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep)
{
    (void)run;
    (void)how;
    (void)addr;
    (void)keep;
}

/* The number behind `name=` in the line; 0: there is none. */
static uint64_t number_of(const char *line, const char *name)
{
    for (; *line != 0; line++) {
        const char *at = line, *with = name;
        uint64_t value = 0;

        while (*with != 0 && *at == *with) {
            at++;
            with++;
        }
        if (*with != 0)
            continue;
        for (; *at >= '0' && *at <= '9'; at++)
            value = value * 10 + (uint64_t)(*at - '0');
        return value;
    }
    return 0;
}

const struct machine_kmap *highmem_init(const char *command_line, uint64_t nframes)
{
    const uint64_t direct = number_of(command_line, "highmem=") << (20 - VM_PAGE_SHIFT);

    if (direct == 0 || direct >= nframes)
        return NULL;
    for (uint64_t va = HIGHMEM_START; va < HIGHMEM_END; va += VM_PAGE_SIZE)
        pmap_kenter_table(va);
    kmap = (struct machine_kmap){
        .direct = frame_to_virt(0),
        .ndirect = (uint32_t)direct,
        .slots = (void *)HIGHMEM_START,
        .nslots = HIGHMEM_SLOTS,
        .ncpus = CPUS_MAX,
        .set_pte_at = set_pte_at,
        .pte_clear = pte_clear,
        .flush_tlb = flush_tlb,
        .flush_tlb_self = flush_tlb_self,
        .pin = pin,
        .unpin = unpin,
    };
    printf("the core sees %u of %lu pages directly\n", kmap.ndirect, nframes);
    return &kmap;
}
