/*
 * vnode_pager.h: the vnode: a file as the VM knows it, and the pager of its object.
 *
 *   store key ─▶ vnode (one for a file) ─▶ object (one for a vnode, while anything maps it or pages remain)
 *
 * Locks. (V) vnode->lock, before (O). (H) vnode_hash_lock, before (V).
 * The object holds no reference to the vnode; the vnode holds one to the object, from the object's birth to
 * the vnode's end. All other references to the object together hold one to the vnode: taken when the object's
 * count goes from 1 to 2, dropped when it is 1 again (vm_object.c). So a file that is mapped stays open.
 * Invariants: V1 a vnode's count grows from 0 never again. V2 a vnode without references whose key is in the
 * hash is being written back; who opens that file waits until it is gone. V3 at a vnode's end its object has
 * one reference, the vnode's. V4 at most one range of an object is kept out of memory
 * (filemap_invalidate_lock), by who has vn_lock.
 */
#ifndef CORE_FILE_VNODE_PAGER_H
#define CORE_FILE_VNODE_PAGER_H

#include "lib/errseq.h"
#include "vm/vm_map.h"
#include "vm/vm_pager.h"
#include <stdatomic.h>

/* Pages that are read by themselves for somebody who is about to touch them (file/readahead.h). */
#define RA_SINGLES 64 /* the last so many */
struct file_ra_singles {
    vm_pindex_t pindex[RA_SINGLES];
    uint32_t n;
};

/* Pages that got their space on the disk together. */
#define SPACE_STRETCHES 4   /* the last so many: of as many streams of stores */
#define SPACE_MAX       256 /* pages that a stream gets at a time */
#define SPACE_CREDIT    256 /* pages that become dirty before a disk with much room is asked again */
struct vnode_stretch {
    vm_pindex_t start, end;
};

struct vnode {
    struct vm_lock lock;
    struct store *store; /* (c) owned; reads, sizes and flushes go there */
    /* Set once, under (H): where writes go: `store`, or, when that one is read-only, a writable store of the
       same file that was opened later (owned too), or NULL. */
    _Atomic(struct store *) writer;
    struct vm_object *object; /* (V) or NULL; with a reference */
    uint64_t size_bytes; /* (V), and (O) of its object: either is enough to read it. The file's length as last
                            known; object->size says it in pages */
    bool locked;         /* (V) by vn_lock; its address is the channel */
    /* The file was changed past the VM, and not all of it is taken over: file/revalidate.c. */
    _Atomic bool stale;
    struct file_ra_state ra;           /* (O) of fl_vnode_read */
    uint8_t ra_behavior;               /* (O) enum vm_behavior: what fl_vnode_fadvise said of it */
    struct file_ra_singles ra_singles; /* (O) */
    vm_pindex_t
        prev_read; /* (O) the page that fl_vnode_read ended in: a stream of small reads uses it once */
    /*
     * 0: each of the file's bytes has its space, as far as is known; else changes with whatever may make a
     * hole
     */
    _Atomic uint64_t holes;
    struct vnode_stretch space[SPACE_STRETCHES]; /* (O) */
    uint32_t space_next;                         /* (O) the stretch that the next new stream takes */
    uint32_t space_credit;                       /* (O) pages for which the disk need not be asked */
    /* falls under (H); grows under (H), or anywhere by someone who has a reference */
    _Atomic uint32_t ref_count;
    _Atomic errseq_t wb_err;      /* failed write-backs; who was told of them has a cursor: fl_vnode_errseq */
    _Atomic uint32_t wb_failures; /* how many: grows after wb_err was set */
    struct vnode *hash_next;      /* (H) */
    /* file/flusher.c's list of vnodes with dirty pages */
    struct vnode *dirty_next, *dirty_prev; /* (W) */
    uint64_t dirtied_when;       /* (W) when the first page became dirty, or when the flusher was here last */
    uint8_t i_state;             /* (W) I_* of file/flusher.h */
    vm_pindex_t writeback_index; /* (O) where a write-back that does not write all of it goes on */
};

/* Whether vnode_lacks_space is worth a call. */
static inline bool vnode_may_lack_space(const struct vnode *vnode)
{
    return atomic_load_explicit(&vnode->holes, memory_order_relaxed) != 0;
}

/* How many pages a file of so many bytes has. */
static inline vm_pindex_t size_pages(uint64_t size_bytes)
{
    return atop(size_bytes) + ((size_bytes & VM_PAGE_MASK) != 0);
}

void vnode_pager_startup(void);

/* Behind fl_vnode_open and its kin (vm.h). */
FL_NODISCARD int vnode_open(struct store *store, struct vnode **vnode);
void vref(struct vnode *vnode);
FL_NODISCARD int vrele(struct vnode *vnode);

/*
 * The object, created on first use; its size is the file's. One reference for the caller, who is going to use
 * `size` pages: when the file is shorter than that as far as is known, asks the store anew. No lock held.
 * NULL: no memory.
 */
FL_NODISCARD struct vm_object *vnode_pager_alloc(struct vnode *vnode, vm_pindex_t size);
FL_NODISCARD bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                      uint32_t *after);
/* A write-back of the vnode's pages, or a flush of its store, failed: told to each cursor once. Any lock. */
void vnode_pager_seterror(struct vnode *vnode, int error);
/*
 * m[0 … count) are about to be written: zeroes what lies behind the file's end in its last page, if it is
 * among them. A store that has grown meanwhile, unknown to the VM, would take it for the file's. No lock
 * held; the pages are in write-back. Errors: -ENOMEM (no window).
 */
FL_NODISCARD int vnode_pager_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count);
/* A page becomes dirty: may it find the disk full, so that it needs vnode_pager_allocate first? (O). */
FL_NODISCARD bool vnode_lacks_space(struct vnode *vnode, vm_pindex_t pindex);
/*
 * The page gets its space in the store, if it has none, and so do those that a stream of stores is about to
 * go to; or the store has more room than all that can be dirty, and is left alone for the next SPACE_CREDIT
 * pages. No lock held; the caller has a reference. A hole that is punched meanwhile stays one; a file that is
 * cut meanwhile may keep space behind its end until it is cut again. Errors: -ENOSPC, -EDQUOT, -EIO.
 * (page_mkwrite, Linux.)
 */
FL_NODISCARD int vnode_pager_allocate(struct vnode *vnode, vm_pindex_t pindex);
/* The file may have holes that it did not have; `cut`: also where it had its space. No (O) held. */
void vnode_pager_holes(struct vnode *vnode, bool cut);
/* Fills in the request's bio and submits it. */
void vnode_pager_strategy(struct vm_pager_request *request, struct blk_plug *plug);
/* The object, which lives as long as the vnode, or NULL: there is none yet. No lock held. */
FL_NODISCARD struct vm_object *vnode_pager_object(struct vnode *vnode);
/*
 * One at a time changes the file or its length: a removal of pages that comes late would take those of a file
 * that has grown again. A sleep lock, before all other locks; its holder may do I/O. Faults take it with no
 * page of a file busy.
 */
void vn_lock(struct vnode *vnode);
void vn_unlock(struct vnode *vnode);
/* The length becomes known. Returns the one before. vn_lock held, or nobody else knows the vnode; no lock. */
uint64_t vnode_pager_newsize(struct vnode *vnode, uint64_t size_bytes);
/*
 * Reads the length from the store: a longer file's object grows; of a shorter one, everything beyond the end
 * is unmapped and freed and the last page's tail is zeroed. No lock held. Errors: the store's.
 * (vnode_pager_setsize, FreeBSD.)
 */
FL_NODISCARD int vnode_pager_setsize(struct vnode *vnode);
/* The same by someone who has vn_lock. */
FL_NODISCARD int vnode_pager_setsize_locked(struct vnode *vnode);

#endif
