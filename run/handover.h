/* handover.h: a managed file becomes the kernel's, while the program runs (handover.c). */
#ifndef RUN_HANDOVER_H
#define RUN_HANDOVER_H

#include "file.h"
#include "stats.h"

/*
 * Replaces all managed mappings of the file by the kernel's own, with the same bytes at the
 * same addresses. Dirty pages are written back first, and the pages that a private mapping
 * has written are copied over. Calls on the file go to the kernel from now on; file_reap
 * closes it after the last of them. `reason`: for the stats. Signals are blocked. Errors:
 * of write-backs, and of mmap(2): the file stays managed, and nothing is lost.
 */
FL_NODISCARD int handover_file(struct file *file, enum left_reason reason) FL_REQUIRES(shim_lock);

/*
 * The same for the managed anonymous mappings in [start, end), page-aligned; shared: only for those that
 * are shared and that a child of fork inherits. Errors: of mmap(2), memfd_create(2), fl_hold.
 */
FL_NODISCARD int handover_anonymous(vm_offset_t start, vm_offset_t end, bool shared, enum left_reason reason)
    FL_REQUIRES(shim_lock);

#endif
