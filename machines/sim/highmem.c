/* highmem.c: memory of which the core sees a part, and the slots of its kmap; highmem.h has the drawing. */
#define _GNU_SOURCE /* memfd_create */
#include "highmem.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sched.h"
#include "x86/pte.h"

#define HIGHMEM_DIRECT_PART 8u /* one frame in so many is in the direct map */
#define HIGHMEM_SLOTS_MAX   (SIM_KMAP_SLOTS + SIM_CPUS_MAX * MACHINE_KMAP_LOCAL)

static struct {
    int fd;
    uint8_t *all; /* NULL: there is no high memory */
    size_t len_bytes;
    struct machine_kmap kmap;
    uint32_t nslots; /* with the CPUs' own */
    pt_entry_t pte[HIGHMEM_SLOTS_MAX];
    uint32_t tlb[HIGHMEM_SLOTS_MAX]; /* the frame, + 1, that some CPU's TLB may show there; 0: in no TLB */
} highmem;

static uint32_t slot_of(const void *va)
{
    const uint64_t slot = atop((uint64_t)((const uint8_t *)va - (uint8_t *)highmem.kmap.slots));

    if (slot >= highmem.nslots || trunc_page((uintptr_t)va) != (uintptr_t)va)
        sim_panic("kmap: an address that is no slot");
    return (uint32_t)slot;
}

static void *slot_va(uint32_t slot)
{
    return (uint8_t *)highmem.kmap.slots + ptoa((uint64_t)slot);
}

/* The host shows [va, va + len_bytes) from there on in the memfd. */
static void host_map(void *va, size_t len_bytes, uint64_t offset)
{
    if (mmap(va, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, highmem.fd, (off_t)offset) != va)
        sim_panic("the host cannot map high memory");
}

static void host_unmap(void *va, size_t len_bytes)
{
    if (mmap(va, len_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != va)
        sim_panic("the host cannot unmap high memory");
}

/* ---- what the core calls ------------------------------------------------------------------------------ */

static void set_pte_at(void *va, vm_frame_t frame)
{
    const uint32_t slot = slot_of(va);

    sim_preempt();
    if (frame < highmem.kmap.ndirect || frame >= sim.params.nframes)
        sim_panic("kmap: frame %u is not in high memory", frame);
    if (highmem.pte[slot] & X86_PG_V)
        sim_panic("kmap: slot %u has frame %u and is set to %u", slot,
                  (unsigned)atop(highmem.pte[slot] & X86_PG_FRAME), frame);
    if (highmem.tlb[slot] != 0)
        sim_panic("MO2: kmap slot %u is set to frame %u, and a TLB has it with %u: flush_tlb is owed", slot,
                  frame, highmem.tlb[slot] - 1);
    highmem.pte[slot] = ptoa((uint64_t)frame) | X86_PG_V | X86_PG_RW | X86_PG_NX;
    highmem.tlb[slot] = frame + 1;
    host_map(va, VM_PAGE_SIZE, ptoa((uint64_t)frame));
    sim.stats.kmaps++;
}

static void tlb_forget(uint32_t slot, uint32_t n)
{
    host_unmap(slot_va(slot), ptoa((uint64_t)n));
    memset(&highmem.tlb[slot], 0, n * sizeof(highmem.tlb[0]));
}

static void pte_clear(void *va)
{
    const uint32_t slot = slot_of(va);

    sim_preempt();
    if (!(highmem.pte[slot] & X86_PG_V))
        sim_panic("kmap: slot %u is cleared twice", slot);
    highmem.pte[slot] = 0;
    if (!sim.params.torture.stale_tlb)
        tlb_forget(slot, 1);
}

/* Only entries that were cleared before: a CPU can load the others again at once. */
static bool is_stale(uint32_t slot)
{
    return highmem.tlb[slot] != 0 && !(highmem.pte[slot] & X86_PG_V);
}

static void flush_tlb(void *start, void *end)
{
    const uint32_t first = slot_of(start),
                   last = first + (uint32_t)atop((uint64_t)((char *)end - (char *)start));

    sim_preempt();
    sim.stats.kmap_flushes++;
    for (uint32_t slot = first, n; slot < last; slot += n + 1) {
        for (n = 0; slot + n < last && is_stale(slot + n);)
            n++;
        if (n > 0)
            tlb_forget(slot, n);
    }
}

static void flush_tlb_self(void *va)
{
    const uint32_t slot = slot_of(va);

    if (slot < highmem.kmap.nslots || (slot - highmem.kmap.nslots) / MACHINE_KMAP_LOCAL != sched_cpu())
        sim_panic("kmap: slot %u is flushed from the TLB of CPU %u alone, and others use it", slot,
                  sched_cpu());
    if (is_stale(slot))
        tlb_forget(slot, 1);
}

static uint32_t pin(void)
{
    sched_pin();
    return sched_cpu();
}

/* ---- on and off --------------------------------------------------------------------------------------- */

/* Everything that is mapped shows the memfd. */
static void highmem_map_all(void)
{
    host_map(highmem.all, highmem.len_bytes, 0);
    host_map(highmem.kmap.direct, ptoa((uint64_t)highmem.kmap.ndirect), 0);
    for (uint32_t slot = 0; slot < highmem.nslots; slot++) {
        if (highmem.tlb[slot] != 0)
            host_map(slot_va(slot), VM_PAGE_SIZE, ptoa((uint64_t)highmem.tlb[slot] - 1));
    }
}

static int highmem_fd(void)
{
    int fd = memfd_create("sim", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)highmem.len_bytes) != 0)
        sim_panic("the host has no memory for %zu bytes", highmem.len_bytes);
    return fd;
}

void sim_forked(void)
{
    if (highmem.all == NULL)
        return;
    int fd = highmem_fd();
    for (size_t done = 0; done < highmem.len_bytes;) {
        ssize_t n = pwrite(fd, highmem.all + done, highmem.len_bytes - done, (off_t)done);

        if (n <= 0)
            sim_panic("the host has no memory for a child");
        done += (size_t)n;
    }
    close(highmem.fd);
    highmem.fd = fd;
    highmem_map_all();
}

static void *reserve(size_t len_bytes)
{
    void *va = mmap(NULL, len_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (va == MAP_FAILED)
        sim_panic("the host has no %zu bytes of addresses", len_bytes);
    return va;
}

uint8_t *highmem_init(size_t len_bytes)
{
    memset(&highmem, 0, sizeof(highmem));
    highmem.len_bytes = len_bytes;
    highmem.nslots = sim.params.kmap_slots + sim.params.ncpus * MACHINE_KMAP_LOCAL;
    highmem.kmap = (struct machine_kmap){
        .ndirect = 1 + (sim.params.nframes - 1) / HIGHMEM_DIRECT_PART,
        .direct = reserve(ptoa((uint64_t)sim.params.nframes)),
        .nslots = sim.params.kmap_slots,
        .slots = reserve(ptoa((uint64_t)highmem.nslots)),
        .ncpus = sim.params.ncpus,
        .set_pte_at = set_pte_at,
        .pte_clear = pte_clear,
        .flush_tlb = flush_tlb,
        .flush_tlb_self = flush_tlb_self,
        .pin = pin,
        .unpin = sched_unpin,
    };
    highmem.fd = highmem_fd();
    highmem.all = reserve(len_bytes);
    highmem_map_all();
    return highmem.all;
}

void highmem_fini(void)
{
    if (highmem.all == NULL)
        return;
    munmap(highmem.all, highmem.len_bytes);
    munmap(highmem.kmap.direct, ptoa((uint64_t)sim.params.nframes));
    munmap(highmem.kmap.slots, ptoa((uint64_t)highmem.nslots));
    close(highmem.fd);
    memset(&highmem, 0, sizeof(highmem));
}

const struct machine_kmap *sim_kmap(void)
{
    return highmem.all != NULL ? &highmem.kmap : NULL;
}

void *highmem_direct(vm_frame_t frame)
{
    return frame < highmem.kmap.ndirect ? (char *)highmem.kmap.direct + ptoa((uint64_t)frame) : NULL;
}

void highmem_check(vm_frame_t frame, const void *addr)
{
    if (addr == highmem_direct(frame))
        return; /* also one that the core did not come to map, as its kmap had no slot */
    if (addr == NULL || frame < highmem.kmap.ndirect || highmem.tlb[slot_of(addr)] != frame + 1)
        sim_panic("kmap: frame %u is not where the core thinks", frame);
}
