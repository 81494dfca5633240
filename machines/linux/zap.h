/*
 * zap.h: forgetting mappings, many in one call (zap.c).
 */
#ifndef MACHINES_LINUX_ZAP_H
#define MACHINES_LINUX_ZAP_H

#include <faultline/types.h>

/* The mappings of [start, end) go, at the latest in the next linux_zap_flush of any thread. */
void linux_zap(vm_offset_t start, vm_offset_t end);
/* Everything that was asked for before, by any thread, is done when it returns. */
void linux_zap_flush(void);

/* Cannot fail: without process_madvise each range is a call of its own. */
void linux_zap_open(void);
void linux_zap_close(void);

/*
 * The same, where `replace` puts something else in place of [start, end): what was to be forgotten there
 * is gone with it. Errors: of replace.
 */
FL_NODISCARD int linux_zap_replace(vm_offset_t start, vm_offset_t end,
                                   int (*replace)(vm_offset_t start, vm_offset_t end));

#endif
