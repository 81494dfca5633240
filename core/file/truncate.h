/*
 * truncate.h: removal of a file's pages: their bytes were cut off, punched out, or written past the VM.
 *
 *   removal     mappings go ─▶ busy pages, transfers, readers are waited for ─▶ freed ─▶ shadows' copies go
 *   meanwhile   beyond the end:  object->size is smaller already: no page comes in, and no write begins
 *               elsewhere:       filemap_invalidate_lock: no page comes in from a store that is to change
 *
 * Locks: (O) and what is below it. A function without FL_REQUIRES is called with no lock held but vn_lock.
 * The caller has a reference to the vnode, or a pip of the object.
 * (mm/truncate.c, Linux: the names are its.)
 */
#ifndef CORE_FILE_TRUNCATE_H
#define CORE_FILE_TRUNCATE_H

#include "vm/vm_object.h"

/* ---- whole pages ---- */

/*
 * Removes the mappings of the pages that bytes [holebegin, holebegin + holelen) of the object touch. holelen
 * 0: to the end of all offsets. Faults may map these pages again.
 */
void unmap_mapping_range(struct vm_object *object, vm_ooffset_t holebegin, uint64_t holelen);
/*
 * Pages [start, end) go, in use or not, and so does what shadows hold of them, private copies too. Waits for
 * busy pages, for write-back and for readers. Held pages lose their mapping and leave the object; their
 * frames are left to the last hold.
 */
void truncate_inode_pages_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * Clean pages of [start, end) go, and the clean copies of them. Pages that are dirty, wired or held stay.
 * Returns whether no page is left.
 */
bool invalidate_inode_pages2_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

/* ---- absent pages ---- */

/*
 * Absent pages of [start, end) stay absent until filemap_invalidate_unlock; resident ones are the caller's to
 * remove. At most one range of an object (VN4): the caller has vn_lock.
 */
void filemap_invalidate_lock(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
void filemap_invalidate_unlock(struct vm_object *object) FL_EXCLUDES(object->lock);

/* ---- the file's end ---- */

/*
 * *m: the page at pindex, of which a part is to become zeros, busy and not in write-back. NULL: it is absent,
 * and is zeros, or has a store that does the same to it. Errors: the pager's, of a page in swap space;
 * -ENOMEM; *m is NULL.
 */
FL_NODISCARD int truncate_get_page(struct vm_object *object, vm_pindex_t pindex, struct vm_page **m)
    FL_EXCLUDES(object->lock);
/*
 * The file ends at byte `start` of busy m, or would: bytes [start, VM_PAGE_SIZE) become zeros, in clean
 * copies of m too, and their buffers are discarded. Errors: -ENOMEM.
 */
FL_NODISCARD int truncate_partial_page(struct vm_object *object, struct vm_page *m, uint32_t start);
/*
 * The file ends at new_bytes, and object->size says so: the pages beyond go,
 * private copies too, and the tail of the last page becomes zeros. No transfer
 * of these pages is under way afterwards. Errors: -ENOMEM: of the tail.
 */
FL_NODISCARD int truncate_pagecache(struct vm_object *object, uint64_t new_bytes);
/*
 * The file ended at old_bytes, and another program made it longer: what was the last page, whose tail is
 * zeros by now, is read anew, unless it is dirty.
 */
void truncate_forget_tail(struct vm_object *object, uint64_t old_bytes);

/* ---- a hole, of bytes [start, end). The caller keeps its absent pages absent. ---- */

/*
 * Pages that lie wholly in the hole go, but for held ones. The parts of its first and last page that lie in
 * it become zeros, and are to be written. Errors: -ENOMEM; the store's, where a page had not been read.
 */
FL_NODISCARD int punch_pagecache(struct vm_object *object, uint64_t start, uint64_t end);
/*
 * The store has its hole. Pages that are left, being held, become zeros where they are: a system call may
 * have the address of such a page for as long as it likes, and must find the page. It becomes dirty, because
 * what the call stores into it is newer than the hole. Errors: -ENOMEM.
 */
FL_NODISCARD int punch_held_pages(struct vm_object *object, uint64_t start, uint64_t end);

#endif
