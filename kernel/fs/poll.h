/*
 * poll.h: waiting until some file's answer changes.
 *
 *   poll_begin ─▶ seen = poll_seen ─▶ ask the files ─ nothing ─▶ poll_sleep(seen) ─▶ again ─▶ poll_end
 *
 * All who poll sleep on one channel, and each poll_wake wakes all of them. While nobody polls, poll_wake is
 * one load.
 *
 * Locks: (PO) poll_lock: the count of changes. A leaf.
 * Does not do: waiting at single files. It would pay with many who poll.
 */
#ifndef KERNEL_FS_POLL_H
#define KERNEL_FS_POLL_H

#include "fs/file.h"

/* From poll_begin on no change is missed. */
void poll_begin(void);
void poll_end(void);
FL_NODISCARD uint32_t poll_seen(void);
/* Sleeps until there is a change since `seen`. Errors: -ETIMEDOUT, -ERESTART. */
FL_NODISCARD int poll_sleep(uint32_t seen, uint64_t deadline_ns);
/* The file's POLL* events among `events`, and those that are always told. */
FL_NODISCARD unsigned file_poll(struct file *file, unsigned events);

/*
 * The caller's mask of signals is another one during the wait: the program's sigset at `user`, unless that is
 * 0. Where a signal ended the wait (`interrupted`), the old mask comes back after the signal is taken.
 * Errors: -EINVAL, -EFAULT.
 */
FL_NODISCARD int poll_mask_begin(uint64_t user, uint64_t len_bytes);
void poll_mask_end(uint64_t user, bool interrupted);

#endif
