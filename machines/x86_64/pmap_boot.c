/*
 * pmap_boot.c: the kernel's own page tables, and the mapping of device registers.
 *
 *   PML4  256 ─▶ the direct map: pages of 2 MiB, and of 4 KiB in the first 2 MiB
 *         511 ─▶ 510 ─▶ the kernel's image, pages of 4 KiB        ─▶ 511 ─▶ device registers
 *
 * Every space has entries 256 and 511, so what is entered below them later is seen by all. No address can be
 * both written and executed. The tables come from boot_alloc; they stay.
 */
#include "machdep.h"
#include "x86/pte.h"

#define X86_PG_PCD ((pt_entry_t)1 << 4) /* not cached */
#define X86_PG_G   ((pt_entry_t)1 << 8) /* stays in the TLB when cr3 is loaded */

#define DEVICE_START UINT64_C(0xffffffffc0000000)
#define DEVICE_END   UINT64_C(0xffffffffffe00000)

uint64_t kernel_pml4_pa;

static uint64_t device_next = DEVICE_START;

/* The entry for va at `level` of the kernel's tables, with the tables on the way. */
static pt_entry_t *kernel_pte(uint64_t va, unsigned to_level)
{
    uint64_t table_pa = kernel_pml4_pa;

    for (unsigned level = X86_PT_LEVELS; level > to_level; level--) {
        pt_entry_t *entry = (pt_entry_t *)phys_to_virt(table_pa) + pt_index(va, level);

        if (!(*entry & X86_PG_V))
            *entry = boot_alloc(1) | X86_PG_V | X86_PG_RW;
        table_pa = *entry & X86_PG_FRAME;
    }
    return (pt_entry_t *)phys_to_virt(table_pa) + pt_index(va, to_level);
}

static void map_image(const char *start, const char *end, pt_entry_t rights)
{
    for (uint64_t va = (uint64_t)start; va < (uint64_t)end; va += VM_PAGE_SIZE)
        *kernel_pte(va, 1) = (va - KERNBASE) | X86_PG_V | X86_PG_G | rights;
}

static void map_direct(uint64_t end)
{
    const pt_entry_t rights = X86_PG_V | X86_PG_G | X86_PG_RW | X86_PG_NX;
    const uint64_t hole_start = (uint64_t)kernel_start - KERNBASE;
    const uint64_t hole_end = (uint64_t)kernel_rodata_end - KERNBASE;
    uint64_t pa = 0;

    for (; pa < ((hole_end + X86_SUPERPAGE - 1) & ~(X86_SUPERPAGE - 1)); pa += VM_PAGE_SIZE) {
        if (pa < hole_start || pa >= hole_end)
            *kernel_pte(DMAP_MIN + pa, 1) = pa | rights;
    }
    for (; pa < end; pa += X86_SUPERPAGE)
        *kernel_pte(DMAP_MIN + pa, 2) = pa | rights | X86_PG_PS;
}

void pmap_bootstrap(uint64_t end)
{
    kernel_pml4_pa = boot_alloc(1);
    map_image(kernel_start, kernel_text_end, 0);
    map_image(kernel_text_end, kernel_rodata_end, X86_PG_NX);
    map_image(kernel_rodata_end, kernel_end, X86_PG_RW | X86_PG_NX);
    map_direct(end);
    load_cr3(kernel_pml4_pa);
}

void pmap_pinit_kernel(uint64_t *pml4)
{
    const uint64_t *kernel = phys_to_virt(kernel_pml4_pa);

    pml4[pt_index(DMAP_MIN, X86_PT_LEVELS)] = kernel[pt_index(DMAP_MIN, X86_PT_LEVELS)];
    pml4[pt_index(KERNBASE, X86_PT_LEVELS)] = kernel[pt_index(KERNBASE, X86_PT_LEVELS)];
}

void pmap_kenter_table(uint64_t va)
{
    (void)kernel_pte(va, 1);
}

void pmap_kenter(uint64_t va, uint64_t pa)
{
    *kernel_pte(va, 1) = pa | X86_PG_V | X86_PG_G | X86_PG_RW | X86_PG_NX;
}

void pmap_kremove(uint64_t va)
{
    pte_store(kernel_pte(va, 1), 0);
}

uint64_t pmap_kextract(uint64_t va)
{
    return *kernel_pte(va, 1) & X86_PG_FRAME;
}

void pmap_release_kernel(uint64_t *pml4)
{
    pml4[pt_index(DMAP_MIN, X86_PT_LEVELS)] = 0;
    pml4[pt_index(KERNBASE, X86_PT_LEVELS)] = 0;
}

volatile void *device_map(uint64_t pa, size_t len_bytes)
{
    const uint64_t first = trunc_page(pa), end = round_page(pa + len_bytes);
    const uint64_t va = device_next;

    if (end - first > DEVICE_END - device_next)
        panic("no addresses are left for the device registers at %#lx", pa);
    device_next += end - first;
    for (uint64_t at = first; at < end; at += VM_PAGE_SIZE)
        *kernel_pte(va + (at - first), 1) = at | X86_PG_V | X86_PG_G | X86_PG_RW | X86_PG_NX | X86_PG_PCD;
    return (volatile void *)(va + (pa - first));
}
