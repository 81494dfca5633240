/*
 * truncate.h: pages that go because the file's bytes go: cut off, punched out, or written past the VM.
 *
 *   removal      mappings gone ─▶ busy ones and transfers waited for ─▶ freed ─▶ what shadows hold of them
 *   meanwhile    beyond the end: object->size is smaller already: nothing comes in, and no write begins
 *                in a hole:      filemap_invalidate_lock, nothing comes in from a store about to change
 *
 * All take (O) and what is below it; none is called with a lock held but vn_lock.
 */
#ifndef CORE_FILE_TRUNCATE_H
#define CORE_FILE_TRUNCATE_H

#include "vm/vm_object.h"

struct vnode;

/*
 * Nothing maps the object's bytes [holebegin, holebegin + holelen), rounded outwards to pages, any more;
 * faults may map them again. holelen 0: to the end of all offsets.
 */
void unmap_mapping_range(struct vm_object *object, vm_ooffset_t holebegin, uint64_t holelen);
/*
 * Forgets the clean pages of [start, end) and the clean copies of them; leaves those that are dirty, wired or
 * held. Returns whether none is left. No lock held.
 */
bool invalidate_inode_pages2_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * Absent pages [start, end) stay absent until the unlock; what is resident is the caller's business. (O),
 * for the unlock no lock, and vn_lock.
 */
void filemap_invalidate_lock(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
void filemap_invalidate_unlock(struct vm_object *object);
/*
 * The file ends at new_bytes, and object->size says so: what lies beyond goes, private copies too, and the
 * last page's tail becomes zero. No transfer of these pages is under way afterwards. Errors: -ENOMEM: the
 * tail.
 */
FL_NODISCARD int truncate_pagecache(struct vm_object *object, uint64_t new_bytes);
/*
 * The file ended at old_bytes and goes on there now, unknown to us what with: what a program stored behind
 * the old end never was in the file, and is not in it now; the page is read anew, unless it is dirty. Errors:
 * -ENOMEM.
 */
FL_NODISCARD int truncate_forget_tail(struct vm_object *object, uint64_t old_bytes);
/*
 * The file becomes len_bytes long, longer or shorter, store and all. vn_lock held. Errors: fl_vnode_truncate.
 */
FL_NODISCARD int vnode_truncate(struct vnode *vnode, uint64_t len_bytes);

#endif
