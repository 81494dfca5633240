/*
 * bounce.h: the bounce buffers: the few hot pages through which all bytes come in and go out.
 *
 * A page that came in stays in its slot ("kept") until it is mapped, which moves it from there into the memfd
 * in one step, or until somebody needs the slot, and it is written to the memfd. Callers are window.c
 * (windows) and map.c (the move by mapping).
 */
#ifndef MACHINES_LINUX_BOUNCE_H
#define MACHINES_LINUX_BOUNCE_H

#include "linux_machine.h"

#define LINUX_BOUNCE_MIN_SLOTS 16
#define LINUX_BOUNCE_MAX_SLOTS 65534

/* Errors: -EINVAL (buffer_len_bytes out of range), -ENOMEM. */
FL_NODISCARD int linux_bounce_open(size_t buffer_len_bytes, uint32_t nframes);
void linux_bounce_close(void);

/* Whether the frame's bytes are in a slot. A hint without a lock: they may leave it at any time, and come
 * only by the core's own window_put. */
FL_NODISCARD bool linux_bounce_kept(vm_frame_t frame);

/* Whose window it is: of somebody who waits for it and for what goes through it, or of a transfer that nobody
 * waits for. */
enum linux_bounce_user {
    LINUX_BOUNCE_WAITS,
    LINUX_BOUNCE_AHEAD,
    LINUX_BOUNCE_BEHIND,
};

/* npages free slots for a window, neighbours if that can be. Sleeps for them for who waits. Errors: -EAGAIN
 * when there are too few, or others of the kind have them; -ENOMEM: more than the kind ever gets. */
FL_NODISCARD int linux_bounce_alloc(uint32_t npages, enum linux_bounce_user user, void **addr);
/* Opens a window on the slot that keeps the frame's bytes, for who waits. Errors: -ENOENT (none does). */
FL_NODISCARD int linux_bounce_borrow(vm_frame_t frame, void **addr);
FL_NODISCARD bool
linux_bounce_borrowed(const void *addr); /* whether the window came from linux_bounce_borrow */
/* Ends a window on npages slots. With `keep`, what is in them are the bytes of that run's pages from now
 * on. */
void linux_bounce_close_window(void **addr, uint32_t npages, const struct machine_run *keep);
/* Afterwards the frame's bytes are in no slot but in the memfd. Sleeps while a window is open on it, or, with
 * nowait, says -EAGAIN. Errors: -ENOMEM. */
FL_NODISCARD int linux_bounce_flush(vm_frame_t frame, bool nowait);
/* Afterwards no slot keeps bytes of the frame. */
void linux_bounce_discard(vm_frame_t frame);

/*
 * Claims kept pages of the run from page `first` on that lie one behind the other, for a move into the memfd:
 * *addr is the first, the result how many; 0: page `first` is no longer kept. May wait for a move that goes
 * on. Each claim ends with linux_bounce_moved or linux_bounce_unclaim.
 */
FL_NODISCARD uint32_t linux_bounce_claim(const struct machine_run *run, uint32_t first, void **addr);
void linux_bounce_moved(void *addr, uint32_t npages);   /* the memfd has the bytes now */
void linux_bounce_unclaim(void *addr, uint32_t npages); /* it does not */

#endif
