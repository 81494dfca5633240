/*
 * bounce.h: the bounce buffers: a few hot pages through which all transfers go.
 *
 * A page that was read stays in its slot, which keeps it, until it is mapped, which moves it from there into
 * the memfd in one step. If the slot is needed before that, the page is written to the memfd. The callers are
 * window.c (windows) and map.c (the move by mapping).
 */
#ifndef MACHINES_LINUX_BOUNCE_H
#define MACHINES_LINUX_BOUNCE_H

#include "linux_machine.h"

#define LINUX_BOUNCE_MIN_SLOTS 16
#define LINUX_BOUNCE_MAX_SLOTS 65534

/* Errors: -EINVAL (buffer_len_bytes out of range), -ENOMEM. */
FL_NODISCARD int linux_bounce_open(size_t buffer_len_bytes, uint32_t nframes);
void linux_bounce_close(void);

/* Whether a slot keeps the frame's bytes. A hint, without a lock: they may leave the slot at any time, and
 * get into one only by the core's own machine_window_put. */
FL_NODISCARD bool linux_bounce_kept(vm_frame_t frame);

/* What a window is for. */
enum linux_bounce_user {
    LINUX_BOUNCE_WAITS,  /* a transfer that the caller waits for; it waits for the window, too */
    LINUX_BOUNCE_AHEAD,  /* a read ahead */
    LINUX_BOUNCE_BEHIND, /* a write behind */
};

/*
 * Opens a window on npages free slots, contiguous ones if there are such. addr[i]: slot i. With
 * LINUX_BOUNCE_WAITS it sleeps until there are enough. Errors: -EAGAIN (too few are free, or transfers of
 * this kind have their share); -ENOMEM (more than the share of this kind); those of the memfd.
 */
FL_NODISCARD int linux_bounce_alloc(uint32_t npages, enum linux_bounce_user user, void **addr);
/* Opens a window on the slot that keeps the frame's bytes. Sleeps while another window is open on it. Errors:
 * -ENOENT (no slot keeps them). */
FL_NODISCARD int linux_bounce_borrow(vm_frame_t frame, void **addr);
/* Whether the window came from linux_bounce_borrow. */
FL_NODISCARD bool linux_bounce_borrowed(const void *addr);
/* Closes a window on npages slots. With `keep` they keep the bytes of that run's pages from now on. */
void linux_bounce_close_window(void **addr, uint32_t npages, const struct machine_run *keep);
/* Moves the frame's bytes from a slot, if one keeps them, into the memfd. Sleeps while a window is open on
 * the slot; with nowait it returns -EAGAIN. Errors: -ENOMEM. */
FL_NODISCARD int linux_bounce_flush(vm_frame_t frame, bool nowait);
/* Drops the frame's bytes from the slot that keeps them, if one does. */
void linux_bounce_discard(vm_frame_t frame);

/*
 * Claims the kept pages of the run, from page `first` on, that are contiguous in the slots, for a move into
 * the memfd. Returns how many; *addr: where the first one is. 0: page `first` is no longer kept. May wait for
 * another move of that page. The caller ends each claim with linux_bounce_moved or linux_bounce_unclaim.
 */
FL_NODISCARD uint32_t linux_bounce_claim(const struct machine_run *run, uint32_t first, void **addr);
void linux_bounce_moved(void *addr, uint32_t npages);   /* the memfd has the bytes now */
void linux_bounce_unclaim(void *addr, uint32_t npages); /* it does not */

#endif
