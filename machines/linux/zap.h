/* zap.h: forgetting mappings, many in one call (zap.c). */
#ifndef MACHINES_LINUX_ZAP_H
#define MACHINES_LINUX_ZAP_H

#include <faultline/types.h>

/* Forgets the mappings of [start, end), at the latest in the next linux_zap_flush of any thread. */
void linux_zap(vm_offset_t start, vm_offset_t end);
/* When it returns, every linux_zap before it, of any thread, is done. */
void linux_zap_flush(void);

/* Without process_madvise each range is a call of its own, so this cannot fail. */
void linux_zap_open(void);
void linux_zap_close(void);

/*
 * Calls `replace`, which maps something else over [start, end), and flushes the pending ranges, except those
 * inside [start, end) when it succeeded: they are gone with what was there. Errors: of replace.
 */
FL_NODISCARD int linux_zap_replace(vm_offset_t start, vm_offset_t end,
                                   int (*replace)(vm_offset_t start, vm_offset_t end));

#endif
