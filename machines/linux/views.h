/*
 * views.h: the free views: the attached ranges in which the kernel enters resident pages and takes first
 * stores by itself (views.c).
 */
#ifndef MACHINES_LINUX_VIEWS_H
#define MACHINES_LINUX_VIEWS_H

#include "linux_machine.h"

/* [start, end) shows the memfd from byte `offset` on. */
struct linux_view {
    vm_offset_t start, end;
    uint64_t offset;
    bool tracked; /* it is or was writable: its dirty bits are exact (LM1) */
};

/* Held over every change of what is attached, so that a mark never lands in a range that shows something else
 * by now. Before the lock of zap.c; under the core's locks. */
extern struct machine_lock linux_views_lock;

/* Forgets all views. `enabled` false: from now on there are none. */
void linux_views_open(bool enabled);

/* *part: the first part of [start, end) that is a free view, cut to the range. Returns false when there is
 * none. */
FL_NODISCARD bool linux_views_next(vm_offset_t start, vm_offset_t end, struct linux_view *part)
    FL_EXCLUDES(linux_views_lock);

/* Whether linux_views_cut can have the record that it needs where it leaves two ends of one view. */
FL_NODISCARD bool linux_views_can_cut(vm_offset_t start, vm_offset_t end) FL_REQUIRES(linux_views_lock);
/* [start, end) is no free view any more. */
void linux_views_cut(vm_offset_t start, vm_offset_t end) FL_REQUIRES(linux_views_lock);

/* Whether linux_views_add can have a record once [start, end) is cut. */
FL_NODISCARD bool linux_views_has_room(vm_offset_t start, vm_offset_t end) FL_REQUIRES(linux_views_lock);
/*
 * Adds a range that is registered, inaccessible, and free of other views. tracked: marks its resident pages
 * first. Errors: -ENOMEM (no page tables for the marks; nothing was added).
 */
FL_NODISCARD int linux_views_add(const struct linux_view *view) FL_REQUIRES(linux_views_lock);
/* Tracks the free views that [start, end) touches, none of which was ever writable if it was not tracked.
 * Errors: -ENOMEM. */
FL_NODISCARD int linux_views_track(vm_offset_t start, vm_offset_t end) FL_REQUIRES(linux_views_lock);

/*
 * Surround a pwrite that brings absent pages into the memfd: begin marks them in every tracked view. Nothing
 * else may bring the same pages meanwhile. Errors: -ENOMEM; then there is no end.
 */
FL_NODISCARD int linux_views_insert_begin(uint64_t offset, size_t len_bytes) FL_EXCLUDES(linux_views_lock);
void linux_views_insert_end(void);
/*
 * The same before UFFDIO_COPY brings the pages through the view at va, which gets no mark and is `tracked` or
 * not. No end. Context: the map, at least shared, so that no view begins to be tracked. Errors: -ENOMEM.
 */
FL_NODISCARD int linux_views_mark_others(vm_offset_t va, bool tracked, uint64_t offset, size_t len_bytes)
    FL_EXCLUDES(linux_views_lock);

#endif
