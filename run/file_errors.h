/* file_errors.h: accesses to a mapping that the core could not serve (file_errors.c). */
#ifndef RUN_FILE_ERRORS_H
#define RUN_FILE_ERRORS_H

#include "shim.h"

/*
 * True: the file under va has grown past va since the VM
 * last asked for its length. The access may be tried again.
 */
bool file_grew(vm_offset_t va) FL_EXCLUDES(shim_lock);
/*
 * Says on standard error, once for each error, why an access at va failed for want of space, or because dirty
 * pages cannot be written: which file, and what helps. Says nothing of other errors. Returns whether a file
 * is the reason, also when that was said before.
 */
bool file_errors_say(vm_offset_t va, int error) FL_EXCLUDES(shim_lock);

#endif
