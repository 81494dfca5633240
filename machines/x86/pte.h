/*
 * pte.h: the entries of x86-64's page tables, and how they are read and written.
 *
 *   va:  | sign | 47…39 PML4 | 38…30 PDP | 29…21 PD | 20…12 PT | 11…0 offset |
 *   pte: | NX | … | frame 51…12 | … | SELF, W (ours) | … | PS | D | A | … | U | RW | V |
 *
 * With PS an entry of a PD maps a superpage: 2 MiB, whose first frame is at a multiple of 2 MiB.
 *
 * The processor sets A and D by itself, in an atomic read-modify-write, while other processors change the
 * entry. So every change of a valid entry here is atomic, too, and writes back no bit that it read earlier.
 */
#ifndef MACHINES_X86_PTE_H
#define MACHINES_X86_PTE_H

#include <faultline/types.h>

typedef uint64_t pt_entry_t;

#define X86_PG_V     ((pt_entry_t)1 << 0)  /* valid */
#define X86_PG_RW    ((pt_entry_t)1 << 1)  /* may be written */
#define X86_PG_U     ((pt_entry_t)1 << 2)  /* user mode may use it */
#define X86_PG_A     ((pt_entry_t)1 << 5)  /* accessed */
#define X86_PG_M     ((pt_entry_t)1 << 6)  /* modified ("D" in the manuals) */
#define X86_PG_PS    ((pt_entry_t)1 << 7)  /* in a PD: this is a leaf, of a superpage */
#define X86_PG_W     ((pt_entry_t)1 << 9)  /* software's: wired */
#define X86_PG_SELF  ((pt_entry_t)1 << 10) /* software's: the machine entered it by itself (MM1, machine.h) */
#define X86_PG_NX    ((pt_entry_t)1 << 63) /* may not be executed */
#define X86_PG_FRAME ((pt_entry_t)0x000ffffffffff000)

#define X86_PT_LEVELS   4u /* 4: PML4 … 2: PD, 1: PT, whose entries are the leaves */
#define X86_PT_NENTRIES 512u
#define X86_SUPERPAGE   (VM_PAGE_SIZE * X86_PT_NENTRIES) /* bytes */

/* Returns the index of va's entry in its table at `level`. */
static inline unsigned pt_index(vm_offset_t va, unsigned level)
{
    return (unsigned)(va >> (VM_PAGE_SHIFT + 9 * (level - 1))) & (X86_PT_NENTRIES - 1);
}

/* Returns how many bytes of address space one entry at `level` covers. */
static inline uint64_t pt_entry_span(unsigned level)
{
    return VM_PAGE_SIZE << (9 * (level - 1));
}

/* Returns what a leaf entry says of va's page alone. Where the leaf is a superpage's, X86_PG_PS stays set. */
static inline pt_entry_t pte_of_page(pt_entry_t leaf, vm_offset_t va)
{
    return (leaf & X86_PG_PS) ? leaf | (va & (X86_SUPERPAGE - 1) & ~VM_PAGE_MASK) : leaf;
}

static inline pt_entry_t pte_load(const pt_entry_t *pte)
{
    return __atomic_load_n(pte, __ATOMIC_ACQUIRE);
}

static inline void pte_store(pt_entry_t *pte, pt_entry_t value)
{
    __atomic_store_n(pte, value, __ATOMIC_RELEASE);
}

static inline pt_entry_t pte_load_store(pt_entry_t *pte, pt_entry_t value)
{
    return __atomic_exchange_n(pte, value, __ATOMIC_ACQ_REL);
}

static inline pt_entry_t pte_clear_bits(pt_entry_t *pte, pt_entry_t bits)
{
    return __atomic_fetch_and(pte, ~bits, __ATOMIC_ACQ_REL);
}

static inline pt_entry_t pte_set_bits(pt_entry_t *pte, pt_entry_t bits)
{
    return __atomic_fetch_or(pte, bits, __ATOMIC_ACQ_REL);
}

#endif
