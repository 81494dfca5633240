/*
 * hold.h: pages of managed memory that stay resident while the kernel, or the shim, touches them (hold.c).
 *
 * Context: signals blocked, (S) not held.
 */
#ifndef RUN_HOLD_H
#define RUN_HOLD_H

#include "shim.h"
#include <faultline/types.h>

struct hold; /* a list of held ranges; NULL: empty */

/* The most bytes that one call holds at once. */
size_t hold_chunk_bytes(void);
/* How many bytes a call that is made in turns should hold in this turn: fewer while others hold much. */
size_t hold_turn_bytes(void);
/*
 * Holds the longest beginning of [va, va + *len) that can be held, at most hold_chunk_bytes, for
 * `access`, and puts it on the list; *len is its length afterwards. Memory that the kernel maps needs no
 * hold, and counts as held. Errors, for the first byte, as the kernel's own access: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int hold_add(struct hold **list, vm_offset_t va, size_t *len, vm_prot_t access)
    FL_EXCLUDES(shim_lock);
void hold_drop(struct hold **list);
/*
 * A call failed with EFAULT although its memory, from va on, was held: another thread took the memory away.
 * Waits for a hand-over of it; returns whether to hold it again and repeat the call. *tries: 0 at first.
 */
bool hold_again(vm_offset_t va, unsigned *tries);

#endif
