/*
 * filemap.h: a file's pages for read and write: what the calls of vm.h and the removal of pages share.
 */
#ifndef CORE_CACHE_FILEMAP_H
#define CORE_CACHE_FILEMAP_H

#include "vm/vm_object.h"

/*
 * The page at pindex, made busy, valid and not in write-back; NULL: it is not there. (O) held on entry and
 * return, released while it waits for whoever has the page.
 */
FL_NODISCARD struct vm_page *find_lock_page(struct vm_object *object, vm_pindex_t pindex)
    REQUIRES(object->lock);

#endif
