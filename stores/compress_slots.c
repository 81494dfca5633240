/*
 * compress_slots.c: the table of the compressed tier, its list by age, and pins (compress_slots.h).
 *
 *   oldest ─▶ slot ⇄ slot ⇄ slot ⇄ … ⇄ slot ◀─ newest        a piece joins at `newest`; its slot's number + 1
 *
 * A page of one word is not on the list: below, it would take more memory to find than here.
 */
#include "compress_slots.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/vm.h>
#include <sys/mman.h>

#define BLOCK_SLOTS 240u
#define SLOT_WORD   0x1
#define SLOT_PIECE  0x2
#define SLOT_PINNED 0x4
#define SLOT_GOING  0x8

/* A page of the table. */
struct slot_block {
    uint64_t held[BLOCK_SLOTS];                      /* SLOT_WORD: the word; SLOT_PIECE: the handle */
    uint32_t older[BLOCK_SLOTS], newer[BLOCK_SLOTS]; /* SLOT_PIECE: slot number + 1; 0: none */
    uint8_t kind[BLOCK_SLOTS];
    uint16_t used; /* slots with a kind, and 1 while a function is at work; 0: the block has no frame */
};
_Static_assert(sizeof(struct slot_block) <= VM_PAGE_SIZE, "a block is a page");

static struct slot_block *block_of(const struct slots *slots, uint32_t slot)
{
    return (struct slot_block *)(slots->table + ptoa((uint64_t)(slot / BLOCK_SLOTS)));
}

static uint8_t *kind_of(const struct slots *slots, uint32_t slot)
{
    return &block_of(slots, slot)->kind[slot % BLOCK_SLOTS];
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* The caller is at work on the block, until block_put. False: there is no frame for it. */
static bool block_get(struct slots *slots, struct slot_block *block) FL_REQUIRES(slots->lock)
{
    if (block->used == 0) {
        if (fl_frames_take(1) != 0)
            return false;
        slots->nblocks++;
    }
    block->used++;
    return true;
}

/* If the kernel keeps the memory (locked by mlockall), the block keeps its frame. */
static void block_put(struct slots *slots, struct slot_block *block) FL_REQUIRES(slots->lock)
{
    if (--block->used > 0)
        return;
    if (linux_syscall(SYS_madvise, block, VM_PAGE_SIZE, MADV_DONTNEED) != 0) {
        block->used = 1;
        return;
    }
    slots->nblocks--;
    fl_frames_give(1);
}

/* ---- the list by age ----------------------------------------------------------------------------------- */

static uint32_t *older_of(const struct slots *slots, uint32_t number)
{
    return &block_of(slots, number - 1)->older[(number - 1) % BLOCK_SLOTS];
}

static uint32_t *newer_of(const struct slots *slots, uint32_t number)
{
    return &block_of(slots, number - 1)->newer[(number - 1) % BLOCK_SLOTS];
}

static void age_insert(struct slots *slots, uint32_t slot) FL_REQUIRES(slots->lock)
{
    uint32_t number = slot + 1;
    *newer_of(slots, number) = 0;
    *older_of(slots, number) = slots->newest;
    if (slots->newest != 0)
        *newer_of(slots, slots->newest) = number;
    else
        slots->oldest = number;
    slots->newest = number;
}

static void age_remove(struct slots *slots, uint32_t slot) FL_REQUIRES(slots->lock)
{
    uint32_t older = *older_of(slots, slot + 1), newer = *newer_of(slots, slot + 1);
    if (older != 0)
        *newer_of(slots, older) = newer;
    else
        slots->oldest = newer;
    if (newer != 0)
        *older_of(slots, newer) = older;
    else
        slots->newest = older;
}

/* ---- slots --------------------------------------------------------------------------------------------- */

/* Nothing is held for the slot any more. The caller is at work on the block. */
static void slot_drop(struct slots *slots, struct slot_block *block, uint32_t slot) FL_REQUIRES(slots->lock)
{
    uint32_t i = slot % BLOCK_SLOTS;
    if (block->kind[i] == 0)
        return;
    if (block->kind[i] & SLOT_PIECE) {
        age_remove(slots, slot);
        slots->npieces--;
        slots->piece_bytes -= zpool_piece_len(block->held[i]);
        zpool_free(&slots->pool, block->held[i]);
    } else {
        slots->nwords--;
    }
    block->kind[i] = 0;
    block->used--;
}

/* Holds the data for the slot, of which nothing is held. False: there is no room. */
static bool slot_fill(struct slots *slots, struct slot_block *block, uint32_t slot,
                      const struct slot_data *data) FL_REQUIRES(slots->lock)
{
    uint32_t i = slot % BLOCK_SLOTS;
    if (data->is_word) {
        block->held[i] = data->word;
        block->kind[i] = SLOT_WORD;
        slots->nwords++;
    } else {
        block->held[i] = zpool_put(&slots->pool, data->piece, data->len);
        if (block->held[i] == ZPOOL_NONE)
            return false;
        block->kind[i] = SLOT_PIECE;
        age_insert(slots, slot);
        slots->npieces++;
        slots->piece_bytes += data->len;
    }
    block->used++;
    return true;
}

/* What the slot is held as; a piece is copied, because it may be gone when the lock is released. */
static void slot_copy(const struct slots *slots, uint32_t slot, void *piece, struct slot_data *data)
    FL_REQUIRES(slots->lock)
{
    const struct slot_block *block = block_of(slots, slot);
    uint64_t held = block->held[slot % BLOCK_SLOTS];
    *data = (struct slot_data){.is_word = (block->kind[slot % BLOCK_SLOTS] & SLOT_WORD) != 0, .word = held};
    if (data->is_word)
        return;
    data->len = zpool_piece_len(held);
    data->piece = piece;
    __builtin_memcpy(piece, zpool_piece(&slots->pool, held), data->len);
}

bool slots_hold(struct slots *slots, uint32_t slot, const struct slot_data *data)
{
    bool wanted = data->is_word || data->len > 0, held = false;
    struct slot_block *block = block_of(slots, slot);
    machine_lock(&slots->lock);
    if ((wanted || block->used > 0) && block_get(slots, block)) {
        slot_drop(slots, block, slot);
        held = wanted && slot_fill(slots, block, slot, data);
        block_put(slots, block);
    }
    machine_unlock(&slots->lock);
    return held;
}

void slots_discard(struct slots *slots, uint32_t slot, uint32_t end)
{
    machine_lock(&slots->lock);
    while (slot < end) {
        struct slot_block *block = block_of(slots, slot);
        uint32_t next = (slot / BLOCK_SLOTS + 1) * BLOCK_SLOTS, stop = next < end ? next : end;
        if (block->used > 0) {
            block->used++;
            for (; slot < stop; slot++)
                slot_drop(slots, block, slot);
            block_put(slots, block);
        }
        slot = stop;
    }
    machine_unlock(&slots->lock);
}

/* ---- reads --------------------------------------------------------------------------------------------- */

bool slots_pin(struct slots *slots, uint32_t slot)
{
    uint8_t *kind = kind_of(slots, slot);
    machine_lock(&slots->lock);
    bool held = *kind != 0;
    if (held)
        *kind |= SLOT_PINNED;
    machine_unlock(&slots->lock);
    return held;
}

bool slots_read(struct slots *slots, uint32_t slot, void *piece, struct slot_data *data)
{
    uint8_t *kind = kind_of(slots, slot);
    machine_lock(&slots->lock);
    bool pinned = (*kind & SLOT_PINNED) != 0;
    if (pinned) {
        slot_copy(slots, slot, piece, data);
        *kind &= (uint8_t)~SLOT_PINNED;
    }
    machine_unlock(&slots->lock);
    return pinned;
}

/* ---- writeback ----------------------------------------------------------------------------------------- */

/* Whether writeback may have it. */
static bool slot_ripe(const struct slots *slots, uint32_t slot) FL_REQUIRES(slots->lock)
{
    return (*kind_of(slots, slot) & (SLOT_PIECE | SLOT_PINNED)) == SLOT_PIECE;
}

uint32_t slots_oldest(struct slots *slots, uint32_t max)
{
    machine_lock(&slots->lock);
    uint32_t number = slots->oldest, slot = slots->nslots;
    while (number != 0 && !slot_ripe(slots, number - 1))
        number = *newer_of(slots, number);
    if (number != 0)
        for (slot = number - 1; slot > 0 && number - slot < max && slot_ripe(slots, slot - 1); slot--)
            ;
    machine_unlock(&slots->lock);
    return slot;
}

bool slots_going(struct slots *slots, uint32_t slot, void *piece, struct slot_data *data)
{
    machine_lock(&slots->lock);
    bool ripe = slot < slots->nslots && slot_ripe(slots, slot);
    if (ripe) {
        slot_copy(slots, slot, piece, data);
        *kind_of(slots, slot) |= SLOT_GOING;
        if (slots->going_first == slots->going_end)
            slots->going_first = slot;
        slots->going_end = slot + 1;
    }
    machine_unlock(&slots->lock);
    return ripe;
}

bool slots_are_going(struct slots *slots, uint32_t slot, uint32_t end)
{
    machine_lock(&slots->lock);
    bool going = slot < slots->going_end && slots->going_first < end;
    machine_unlock(&slots->lock);
    return going;
}

/* A slot that is going leaves. The caller is at work on the block. */
static void slot_gone(struct slots *slots, struct slot_block *block, uint32_t slot, bool written)
    FL_REQUIRES(slots->lock)
{
    uint8_t *kind = &block->kind[slot % BLOCK_SLOTS];
    *kind &= (uint8_t)~SLOT_GOING;
    if (!written) {
        age_remove(slots, slot);
        age_insert(slots, slot);
    } else if ((*kind & SLOT_PINNED) == 0) {
        slot_drop(slots, block, slot);
    }
}

void slots_gone(struct slots *slots, bool written)
{
    machine_lock(&slots->lock);
    for (uint32_t slot = slots->going_first; slot < slots->going_end; slot++) {
        struct slot_block *block = block_of(slots, slot);
        if ((*kind_of(slots, slot) & SLOT_GOING) == 0)
            continue;
        block->used++;
        slot_gone(slots, block, slot, written);
        block_put(slots, block);
    }
    slots->going_first = slots->going_end = 0;
    machine_unlock(&slots->lock);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static size_t table_bytes(uint32_t nslots)
{
    return ptoa((size_t)(nslots / BLOCK_SLOTS) + 1);
}

int slots_init(struct slots *slots, uint32_t nslots, uint64_t pool_max_bytes)
{
    *slots = (struct slots){.nslots = nslots};
    int error = zpool_init(&slots->pool, pool_max_bytes);
    if (error != 0)
        return error;
    long table = linux_syscall(SYS_mmap, NULL, table_bytes(nslots), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (linux_syscall_failed(table)) {
        zpool_fini(&slots->pool);
        return -ENOMEM;
    }
    /* Its blocks are counted one by one: a huge page would be 512. Without huge pages the call fails. */
    linux_syscall(SYS_madvise, table, table_bytes(nslots), MADV_NOHUGEPAGE);
    slots->table = (unsigned char *)table;
    return 0;
}

void slots_fini(struct slots *slots)
{
    zpool_fini(&slots->pool);
    linux_syscall(SYS_munmap, slots->table, table_bytes(slots->nslots));
    fl_frames_give((uint32_t)slots->nblocks);
}

static uint32_t block_check(const struct slots *slots, uint32_t first) FL_REQUIRES(slots->lock)
{
    const struct slot_block *block = block_of(slots, first);
    uint32_t used = 0, pieces = 0;
    for (uint32_t i = 0; i < BLOCK_SLOTS; i++) {
        used += block->kind[i] != 0;
        pieces += (block->kind[i] & SLOT_PIECE) != 0;
    }
    if (used != block->used)
        machine_panic("CT2: a block of the compressed tier has lost count");
    return pieces;
}

void slots_check(struct slots *slots)
{
    uint64_t blocks = 0, pieces = 0, aged = 0;
    machine_lock(&slots->lock);
    for (uint64_t slot = 0; slot < slots->nslots; slot += BLOCK_SLOTS) {
        pieces += block_check(slots, (uint32_t)slot);
        blocks += block_of(slots, (uint32_t)slot)->used > 0;
    }
    for (uint32_t number = slots->oldest; number != 0; number = *newer_of(slots, number))
        aged += (*kind_of(slots, number - 1) & SLOT_PIECE) != 0;
    if (blocks != slots->nblocks)
        machine_panic("CT2: a block of the compressed tier has a frame, and no slot in use");
    if (pieces != aged || pieces != slots->npieces)
        machine_panic("CT1: a piece of the compressed tier is not on the list by age");
    machine_unlock(&slots->lock);
}
