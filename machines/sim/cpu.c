/*
 * cpu.c: a simulated CPU's loads, stores and fetches, the hardware's page-table walk, and the trap when the
 * table does not allow the access.
 *
 *   access ─▶ TLB ─▶ walk ─▶ bytes
 *              │      └─ right is missing ─▶ mm1_enter, where the machine uses MM1
 *              └▶ alltraps ─▶ trap ─▶ trap_pfault ─▶ fl_fault ─▶ the access again
 *
 * The walk takes no lock, as hardware takes none: it sees the page tables at any moment between two machine
 * calls of other fibers.
 */
#include "cpu.h"

#include <errno.h>
#include <string.h>

#include "mm1.h"
#include "pmap_machine.h"
#include "sched.h"

#define CANONICAL_END ((vm_offset_t)1 << 47)
#define FAULT_LIMIT   100000 /* faults of one access: no core needs so many, even with `forgetful_permille` */

#define T_PROTFLT 9 /* an address that is not canonical */
#define T_PAGEFLT 14

struct trapframe {
    unsigned trapno;
    struct vm_map *map;
    vm_offset_t va;
    vm_prot_t access;
};

/* ---- the hardware ---------------------------------------------------------------------------- */

pt_entry_t *cpu_walk(struct machine_space *space, vm_offset_t va)
{
    uint64_t pa = space->pmap.pm_root->pa;

    for (unsigned level = X86_PT_LEVELS; level > 1; level--) {
        pt_entry_t entry = pte_load(&pmap_machine_pointer(pa)[pt_index(va, level)]);

        if (!(entry & X86_PG_V))
            return NULL;
        if (entry & X86_PG_PS)
            return &pmap_machine_pointer(pa)[pt_index(va, level)];
        pa = entry & X86_PG_FRAME;
    }
    return &pmap_machine_pointer(pa)[pt_index(va, 1)];
}

void cpu_write_back(const struct tlb_entry *entry)
{
    const pt_entry_t self = entry->self ? X86_PG_SELF : 0;
    vm_offset_t va = ptoa(entry->vpn);
    pt_entry_t *pte = cpu_walk(entry->space, va);
    pt_entry_t is = pte != NULL ? pte_of_page(pte_load(pte), va) : 0;
    bool same = (is & X86_PG_V) && atop(is & X86_PG_FRAME) == entry->frame && (is & X86_PG_SELF) == self;

    if (same)
        pte_set_bits(pte, entry->late);
    if (!(entry->late & X86_PG_M))
        return;
    if (!entry->self)
        written_unmap_found(&entry->space->written, va);
    else if (!same)
        written_note(&entry->space->written, va, WRITTEN_BY_MM1);
}

static bool cpu_allows(const pt_entry_t *pte, vm_prot_t access)
{
    return pte != NULL && (access & ~pte_prot(pte_load(pte))) == 0;
}

/*
 * Loads the TLB from the page table, if that allows the access, perhaps because the hardware enters the page
 * now: sets A, and M for a store, with late_bits in the TLB alone.
 */
static bool cpu_tlb_load(struct machine_space *space, vm_offset_t va, vm_prot_t access, vm_frame_t *frame)
{
    pt_entry_t *pte = cpu_walk(space, va);

    if (!cpu_allows(pte, access) && mm1_enter(space, va, access))
        pte = cpu_walk(space, va);
    if (!cpu_allows(pte, access))
        return false;
    bool super = (pte_load(pte) & X86_PG_PS) != 0, late = !super && sim.params.torture.late_bits;
    pt_entry_t set = X86_PG_A | ((access & VM_PROT_WRITE) ? X86_PG_M : 0);
    pt_entry_t is = (late ? pte_load(pte) : pte_set_bits(pte, set)) | set;
    struct tlb_entry entry = {
        .space = space,
        .vpn = atop(super ? va & ~(X86_SUPERPAGE - 1) : va),
        .frame = (vm_frame_t)atop(is & X86_PG_FRAME),
        .npages = super ? X86_PT_NENTRIES : 1,
        .prot = pte_prot(is),
        .modified = (is & X86_PG_M) != 0,
        .self = (is & X86_PG_SELF) != 0,
        .late = late ? set : 0,
    };
    tlb_insert(sched_cpu(), &entry);
    *frame = tlb_frame(&entry, va);
    return true;
}

static void cpu_note_stale(struct machine_space *space, vm_offset_t va, const struct tlb_entry *entry,
                           vm_prot_t access)
{
    const pt_entry_t *pte = cpu_walk(space, va);

    if (!cpu_allows(pte, access) || atop(pte_of_page(*pte, va) & X86_PG_FRAME) != tlb_frame(entry, va))
        sim.stats.tlb_stale_uses++;
}

/* Whether the entry serves a store. With late_bits it does without a look at the page table. */
static bool cpu_may_store(struct tlb_entry *entry)
{
    if (!entry->modified && sim.params.torture.late_bits) {
        entry->modified = true;
        entry->late |= X86_PG_M;
    }
    return entry->modified;
}

/* *frame: the frame that this access to va reaches. Returns false when it traps. */
static bool cpu_translate(struct machine_space *space, vm_offset_t va, vm_prot_t access, vm_frame_t *frame)
{
    struct tlb_entry *entry = tlb_lookup(sched_cpu(), space, va);

    if (entry != NULL && (access & ~entry->prot) != 0) {
        /* As on x86, an entry that forbids the access is dropped. The page table may allow it by now; the
         * trap is then spurious, as real processors have them, too. */
        tlb_drop(entry);
        if (sim.params.torture.stale_tlb && !mm1_enter(space, va, access))
            return false;
        entry = NULL;
    }
    if (entry != NULL && (!(access & VM_PROT_WRITE) || cpu_may_store(entry))) {
        sim.stats.tlb_hits++;
        cpu_note_stale(space, va, entry, access);
        *frame = tlb_frame(entry, va);
        return true;
    }
    sim.stats.tlb_misses++;
    return cpu_tlb_load(space, va, access, frame);
}

/* ---- the trap -------------------------------------------------------------------------------- */

static int trap_pfault(const struct trapframe *tf)
{
    return fl_fault(tf->map, tf->va, tf->access);
}

static int trap(const struct trapframe *tf)
{
    switch (tf->trapno) {
    case T_PAGEFLT:
        return trap_pfault(tf);
    case T_PROTFLT:
        return -EFAULT;
    default:
        sim_panic("trap %u", tf->trapno);
    }
}

/* (_alltraps, FreeBSD 2.1; C reserves that name.) */
static int alltraps(const struct trapframe *tf)
{
    sim.stats.traps++;
    sim_event(EVENT_TRAP, tf->va, tf->access);
    sim_preempt();
    return trap(tf);
}

/* ---- the instruction ------------------------------------------------------------------------- */

/* Traps until the access is allowed. *frame is valid until the next sim_preempt. */
static int cpu_resolve(struct vm_map *map, vm_offset_t va, vm_prot_t access, vm_frame_t *frame)
{
    struct trapframe tf = {.trapno = T_PAGEFLT, .map = map, .va = va, .access = access};

    if (va >= CANONICAL_END)
        tf.trapno = T_PROTFLT;
    for (uint32_t tries = 0; tries < FAULT_LIMIT; tries++) {
        if (tf.trapno == T_PAGEFLT && cpu_translate(fl_space_machine(map), va, access, frame))
            return 0;
        int error = alltraps(&tf);
        if (error != 0)
            return error;
    }
    sim_panic("MO5: an access at %#llx faults for ever", (unsigned long long)va);
}

/* Returns how many bytes the next instruction moves: at most to the end of the page, and perhaps fewer, so
 * that other fibers can run in between. */
static size_t cpu_piece(vm_offset_t va, size_t len_bytes)
{
    size_t piece = VM_PAGE_SIZE - (va & VM_PAGE_MASK);

    if (piece > len_bytes)
        piece = len_bytes;
    if (piece > 1 && prng_chance(&sim.prng, sim.params.torture.preempt_permille))
        piece = 1 + prng_below(&sim.prng, piece - 1);
    return piece;
}

/* Moves one piece of an access between the frame's bytes and the program's. */
static void cpu_move(vm_prot_t access, uint8_t *bytes, void *buf, size_t len_bytes, vm_offset_t va)
{
    if (access == VM_PROT_WRITE) {
        memcpy(bytes, buf, len_bytes);
        sim.stats.stores++;
        sim_event(EVENT_STORE, va, *bytes);
    } else {
        memcpy(buf, bytes, len_bytes);
        sim.stats.loads++;
        sim_event(EVENT_LOAD, va, *bytes);
    }
}

static int cpu_access(struct vm_map *map, vm_offset_t va, vm_prot_t access, void *buf, size_t len_bytes,
                      size_t *done)
{
    size_t moved = 0;
    int error = 0;

    while (moved < len_bytes) {
        vm_offset_t at = va + moved;
        size_t piece = cpu_piece(at, len_bytes - moved);
        vm_frame_t frame;

        sim_preempt();
        error = cpu_resolve(map, at, access, &frame);
        if (error != 0)
            break;
        cpu_move(access, sim_frame(frame) + (at & VM_PAGE_MASK), (char *)buf + moved, piece, at);
        moved += piece;
    }
    if (done != NULL)
        *done = moved;
    return error;
}

int sim_load(struct vm_map *map, vm_offset_t va, void *buf, size_t len_bytes, size_t *done)
{
    return cpu_access(map, va, VM_PROT_READ, buf, len_bytes, done);
}

int sim_store(struct vm_map *map, vm_offset_t va, const void *buf, size_t len_bytes, size_t *done)
{
    return cpu_access(map, va, VM_PROT_WRITE, (void *)(uintptr_t)buf, len_bytes, done); /* only read */
}

int sim_fetch_add(struct vm_map *map, vm_offset_t va, uint64_t add, uint64_t *old)
{
    vm_frame_t frame;
    uint64_t word;

    if (va % sizeof(word) != 0)
        sim_panic("sim_fetch_add: %#llx is not aligned", (unsigned long long)va);
    sim_preempt();
    int error = cpu_resolve(map, va, VM_PROT_WRITE, &frame);
    if (error != 0)
        return error;
    uint8_t *place = sim_frame(frame) + (va & VM_PAGE_MASK);
    memcpy(&word, place, sizeof(word));
    if (old != NULL)
        *old = word;
    word += add;
    memcpy(place, &word, sizeof(word));
    sim.stats.stores++;
    sim_event(EVENT_STORE, va, word);
    return 0;
}

int sim_execute(struct vm_map *map, vm_offset_t va)
{
    vm_frame_t frame;

    sim_preempt();
    sim.stats.loads++;
    return cpu_resolve(map, va, VM_PROT_EXECUTE, &frame);
}
