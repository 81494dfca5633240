/*
 * meta.c: memory behind the VM's metadata, page by page, as the VM comes to use it.
 *
 *   META_START: | backed … | reserved addresses, tables of the kernel's |        meta_back goes up
 *
 *   pieces of physical memory, at boot ─▶ and then frames of the VM, which so many programs do not have
 *
 * So there are addresses for far more metadata than a computer of its size mostly needs, and memory for what
 * it does. The core calls meta_back under one lock of its own; nothing here needs another.
 */
#include "kmem.h"
#include "machdep.h"
#include "pmap_machine.h"

#include <faultline/vm.h>

#define META_START (KERNBASE + (UINT64_C(256) << 20))
#define META_MAX   (UINT64_C(640) << 20)
#define PIECES     3

#define SWAP_MAX_PER_MEMORY 8 /* addresses are kept for the metadata of so much swap per memory … */
#define SWAP_MAX_LEAST      (UINT64_C(4) << 30) /* … and at least for so much */

static struct physrange piece[PIECES];
static uint32_t npieces;
static uint64_t len_bytes; /* (c) of addresses */
static bool booted;        /* frames can be had */

void meta_init(uint64_t nframes)
{
    const uint64_t swap = ptoa(nframes) * SWAP_MAX_PER_MEMORY;
    const uint64_t swap_max = swap > SWAP_MAX_LEAST ? swap : SWAP_MAX_LEAST;

    len_bytes = round_page(fl_vm_meta_size((uint32_t)nframes, 4096 + (uint32_t)nframes) +
                           fl_swap_meta_size(swap_max));
    if (len_bytes > META_MAX)
        len_bytes = META_MAX;
    for (uint64_t at = 0; at < len_bytes; at += X86_SUPERPAGE)
        pmap_kenter_table(META_START + at);
}

void *meta_start(void)
{
    return (void *)META_START;
}

size_t meta_len_bytes(void)
{
    return len_bytes;
}

void meta_give(uint64_t start, uint64_t end)
{
    if (start < end && npieces < PIECES)
        piece[npieces++] = (struct physrange){.start = round_page(start), .end = trunc_page(end)};
}

uint64_t meta_lacks(uint64_t nframes)
{
    const uint64_t need = atop(round_page(fl_vm_boot_size((uint32_t)nframes)));
    uint64_t have = 0;

    for (uint32_t i = 0; i < npieces; i++)
        have += atop(piece[i].end - piece[i].start);
    return need > have ? need - have : 0;
}

void meta_booted(void)
{
    booted = true;
}

/* A page of physical memory; 0: there is none. */
static uint64_t meta_page(void)
{
    vm_frame_t frame;

    while (npieces > 0) {
        struct physrange *last = &piece[npieces - 1];

        if (last->start < last->end) {
            last->end -= VM_PAGE_SIZE;
            return last->end;
        }
        npieces--;
    }
    if (!booted || kmem_fails() || fl_frames_alloc(0, &frame) != 0)
        return 0;
    return frame_to_phys(frame);
}

bool meta_back(void *start, size_t len)
{
    for (uint64_t va = (uint64_t)start; va < (uint64_t)start + len; va += VM_PAGE_SIZE) {
        const uint64_t pa = pmap_kextract(va) != 0 ? pmap_kextract(va) : meta_page();

        if (pa == 0)
            return false; /* the pages before it stay, and are found by the next call */
        if (pmap_kextract(va) != 0)
            continue;
        pagezero(phys_to_virt(pa));
        pmap_kenter(va, pa);
    }
    return true;
}
