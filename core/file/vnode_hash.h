/*
 * vnode_hash.h: which vnodes exist: one for each file that is open or mapped, found by its store's key.
 *
 * Its functions are those of vm.h: fl_vnode_open, fl_vnode_close.
 */
#ifndef CORE_FILE_VNODE_HASH_H
#define CORE_FILE_VNODE_HASH_H

#include <faultline/types.h>

/* No vnode exists. Context: boot. */
void vnode_startup(void);

#endif
