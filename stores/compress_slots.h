/*
 * compress_slots.h: the slots of the compressed tier (compress.h): which pages are in memory, and as what.
 *
 *   block[b]   | held[240] | older[240] newer[240] | kind[240] | used |    a page of the table: 240 slots
 *                 │            └ pieces by age           └ SLOT_WORD, SLOT_PIECE; 0: it is below
 *                 └ the word, or the piece's handle in the zpool ─▶ zpool.h
 *
 *   slots_hold ──▶ held ──slots_pin──▶ pinned ──slots_read──▶ held        a read is going to fill the page
 *                   └──slots_going──▶ going ──slots_gone──▶ below         writeback has its bytes
 *                                       └──held anew, or discarded──▶     slots_gone leaves it alone
 *
 * The table takes a frame of the budget for each of its pages that is in use, and gives it back afterwards.
 *
 * Invariants: CT1 a slot with a piece, and no other, is on the list by age. CT2 a block that has no slot in
 * use has no frame.
 *
 * Lock: `lock` guards all of it. It is taken with the core's object locks held (discard), or with a context
 * of the codec borrowed; with it held only fl_frames_take and _give are called, and the kernel.
 *
 * Does not do: compressing, transfers. Two transfers of one page at a time, or a transfer and a discard of
 * it, do not come.
 */
#ifndef STORES_COMPRESS_SLOTS_H
#define STORES_COMPRESS_SLOTS_H

#include "zpool.h"
#include <faultline/machine.h>

struct slots {
    unsigned char *table; /* constant: the blocks; what is in them: (lock) */
    uint32_t nslots;      /* constant */
    struct machine_lock lock;
    struct zpool pool;               /* (lock) */
    uint32_t oldest, newest;         /* (lock) ends of the list by age; slot number + 1; 0: it is empty */
    uint32_t going_first, going_end; /* (lock) the slots that writeback has */
    uint64_t nblocks;                /* (lock) that have a frame */
    uint64_t nwords, npieces;        /* (lock) slots of these kinds */
    uint64_t piece_bytes;            /* (lock) of all pieces */
};

/* What a page is held as. */
struct slot_data {
    bool is_word;
    uint64_t word;     /* is_word: the page is this, repeated */
    const void *piece; /* otherwise: its bytes, compressed */
    size_t len;        /* … how many; 0: the page is not held */
};

/* A table of nslots slots, of which nothing is held, and that never has more than pool_max_bytes of pieces in
 * frames. Errors: -EINVAL (pool_max_bytes), -ENOMEM (no addresses). */
FL_NODISCARD int slots_init(struct slots *slots, uint32_t nslots, uint64_t pool_max_bytes);
/* Gives everything back. */
void slots_fini(struct slots *slots);

/* The page is written: what was held of it goes, and the data, copied, is held. False: nothing is held of it,
 * because data->len is 0, or there is no room or no frame. */
FL_NODISCARD bool slots_hold(struct slots *slots, uint32_t slot, const struct slot_data *data);
/* Nothing is held of the slots [slot, end) any more. */
void slots_discard(struct slots *slots, uint32_t slot, uint32_t end);

/* Returns whether the page is held. If so it stays held until slots_read. */
FL_NODISCARD bool slots_pin(struct slots *slots, uint32_t slot);
/* If the page is pinned, copies what it is held as to *data, its piece to piece[ZPOOL_PIECE_MAX], and ends
 * the pin. False: it is not pinned. */
FL_NODISCARD bool slots_read(struct slots *slots, uint32_t slot, void *piece, struct slot_data *data);

/* Returns the first of at most `max` neighbouring slots with the oldest piece among them; or nslots: there is
 * no piece that is not pinned. */
FL_NODISCARD uint32_t slots_oldest(struct slots *slots, uint32_t max);
/* The slot is going: copies its piece as slots_read does. The slots that are going are neighbours: it is the
 * first one, or follows the last. False: it is pinned, or has no piece. */
FL_NODISCARD bool slots_going(struct slots *slots, uint32_t slot, void *piece, struct slot_data *data);
/* Whether one of [slot, end) is going, whatever has happened to it since. */
FL_NODISCARD bool slots_are_going(struct slots *slots, uint32_t slot, uint32_t end);
/* The slots that are going were written below, and those that nobody has touched are not held any more; or
 * they could not be written: they stay, and count as the youngest. */
void slots_gone(struct slots *slots, bool written);

/* Panics unless CT1 and CT2 hold. */
void slots_check(struct slots *slots);

#endif
