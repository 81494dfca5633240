/*
 * vnode.h: the vnode: a file as the VM knows it.
 *
 *   store key ─▶ vnode (one for a file) ─▶ object (one for a vnode, from its first use to the vnode's end)
 *                  └▶ store: where its bytes are
 *
 * References. The vnode holds one reference to its object. The object holds none to the vnode: instead, all
 * other references to the object together hold one. It is taken when the object's count goes from 1 to 2, and
 * dropped when the count is 1 again (first_reference and last_reference of the pager, vnode_pager.c). So a
 * file that is mapped stays open.
 *
 * Locks: (V) vnode->lock, before (O) of the vnode's object. (H) vnode_hash_lock, before (V). (W) wb_lock,
 * after (O). (c) constant. A field that the comment calls (V) or (O) is read and written by functions that
 * say so with FL_REQUIRES, or take the lock themselves.
 *
 * Invariants: VN1 a vnode's count never grows from 0. VN2 a vnode without references whose key is in the hash
 * is being written back; an open of that file waits until it is gone. VN3 at a vnode's end its object has one
 * reference, the vnode's. VN4 at most one range of an object is kept out of memory (filemap_invalidate_lock),
 * by the holder of vn_lock.
 *
 * Does not do: opening and ending (vnode_hash.c), the object's birth
 * (vnode_pager.c), changes of the length (vnode_size.c).
 */
#ifndef CORE_FILE_VNODE_H
#define CORE_FILE_VNODE_H

#include "lib/errseq.h"
#include "lib/kassert.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include <faultline/store.h>
#include <stdatomic.h>

extern struct vm_lock vnode_hash_lock; /* (H) which vnodes exist; vnode_hash.c */
extern struct vm_lock wb_lock;         /* (W) which vnodes have dirty pages; flusher.c */

/* The last pages that were read one by one for an access that is expected soon (readahead.c). */
#define RA_SINGLES 64
struct file_ra_singles {
    vm_pindex_t pindex[RA_SINGLES];
    uint32_t n;
};

/* Pages [start, end) that got their space on the disk together (vnode_space.c). */
struct vnode_stretch {
    vm_pindex_t start, end;
};
#define SPACE_STRETCHES 4   /* that a vnode remembers: one for each of as many streams of stores */
#define SPACE_CREDIT    256 /* pages that become dirty before a disk with much room is asked again */

/* A stream that reads a file, as it touches the marks of read-ahead (drop_behind.c). All zero: none yet. */
struct drop_stream {
    vm_pindex_t start, end; /* from its first mark to the last one that it touched */
    uint32_t idle;          /* marks that other streams touched since */
};
#define DROP_STREAMS 4 /* that are followed in one vnode; a new one replaces the shortest */

struct vnode {
    struct vm_lock lock;
    struct store *store; /* (c) owned; reads, sizes and flushes go there */
    /*
     * Where writes go: `store`; or, when that is read-only, a writable store of the same file that was opened
     * later (owned, too); or NULL. Set once, under (H).
     */
    _Atomic(struct store *) writer;
    struct vm_object *object; /* (V) with a reference; NULL: not made yet */
    /*
     * The length as last known; object->size is the same in pages.
     * Written under (V) and (O): either is enough to read it.
     */
    uint64_t size_bytes;
    bool locked;        /* (V) by vn_lock; its address is the channel */
    _Atomic bool stale; /* a change past the VM is not taken over completely (revalidate.c) */

    /* ---- how it is read ---- */
    struct drop_stream stream[DROP_STREAMS]; /* (O) */
    /* (O) One stream read again what another had passed: so the file's pages are kept. */
    bool stream_again;
    struct vm_pager_stream stream_read; /* (O) the stream of fl_vnode_read */
    uint8_t ra_behavior;                /* (O) enum vm_behavior: the last advice of fl_vnode_fadvise */
    struct file_ra_singles ra_singles;  /* (O) */
    bool whole_pages;                   /* (O) the file was mapped: pages have all bytes (buffer.h) */
    /* (O) The page that fl_vnode_read ended in: small reads that follow each other use it once. */
    vm_pindex_t prev_read;

    /* ---- its space on the disk ---- */
    /* 0: each byte of the file has its space, as far as is known. Changes whenever a hole may appear. */
    _Atomic uint64_t holes;
    struct vnode_stretch space[SPACE_STRETCHES]; /* (O) */
    uint32_t space_next;                         /* (O) the stretch that the next new stream replaces */
    uint32_t space_credit;                       /* (O) pages for which the disk need not be asked */

    _Atomic uint32_t ref_count; /* falls under (H); grows under (H), or by a thread that has a reference */
    struct vnode *hash_next FL_GUARDED_BY(vnode_hash_lock); /* (H) */

    /* ---- its write-back ---- */
    _Atomic errseq_t wb_err; /* failed write-backs; fl_vnode_errseq gives a cursor of those already told */
    _Atomic uint32_t wb_failures; /* how many; grows after wb_err was set */
    struct vnode *dirty_next FL_GUARDED_BY(wb_lock),
        *dirty_prev FL_GUARDED_BY(wb_lock); /* (W) flusher.c's list */
    uint64_t dirtied_when;       /* (W) ns: when the first page became dirty, or the flusher's last visit */
    uint64_t harvested_when;     /* (W) ns: the flusher's last harvest, or when the file came to the list */
    uint8_t i_state;             /* (W) I_* of flusher.h */
    vm_pindex_t writeback_index; /* (O) where the next write-back that does not write the whole file begins */
};

/* Is it a file's object, with a store or without? Any lock. */
static inline bool vm_object_is_file(const struct vm_object *object)
{
    return object->handle != NULL;
}
/* The vnode of a file's object. Any lock. */
static inline struct vnode *vm_object_vnode(const struct vm_object *object)
{
    KASSERT(vm_object_is_file(object), "OB5");
    return object->handle;
}

/* How many pages a file of size_bytes has. */
static inline vm_pindex_t size_pages(uint64_t size_bytes)
{
    return atop(size_bytes) + ((size_bytes & VM_PAGE_MASK) != 0);
}

/*
 * The end of the pages that bytes [offset, offset + len_bytes) touch;
 * the bytes end with the last offset at most.
 */
static inline vm_pindex_t range_end(vm_ooffset_t offset, uint64_t len_bytes)
{
    uint64_t last = len_bytes == 0 ? offset : offset + (len_bytes - 1);
    return last < offset ? UINT64_MAX : atop(last) + 1;
}

/* The object, which lives as long as the vnode. NULL: there is none yet. (V) is not held. */
FL_NODISCARD struct vm_object *vnode_object(struct vnode *vnode) FL_EXCLUDES(vnode->lock);
/* The length in bytes, as last known. (V) is not held. (i_size_read, Linux.) */
FL_NODISCARD uint64_t i_size_read(struct vnode *vnode) FL_EXCLUDES(vnode->lock);
/* The file's block in bytes, the larger one of its stores'. VM_PAGE_SIZE: its pages need no buffer heads. */
FL_NODISCARD uint32_t i_blocksize(struct vnode *vnode);
/* A write-back of the vnode's pages, or a flush of its store, failed. Each cursor is told once. Any lock. */
void vnode_seterror(struct vnode *vnode, int error);
/* From now on the file may have holes, if its store can say so and give space. Any lock. */
void vnode_may_have_holes(struct vnode *vnode);
/*
 * m[0 … count), neighbours in write-back, are about to be written: zeroes what lies behind the file's end in
 * its last page, if that is among them. A store that has grown meanwhile, unknown to the VM, would take these
 * bytes for the file's. No lock held. Errors: -ENOMEM, no window.
 */
FL_NODISCARD int vnode_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count)
    FL_EXCLUDES(object->lock);

/*
 * One thread at a time changes the file or its length: a removal of pages that comes late would take those of
 * a file that has grown again. A sleep lock, before all other locks; its holder may do I/O. A fault takes it
 * only while it has no page of a file busy.
 */
void vn_lock(struct vnode *vnode) FL_EXCLUDES(vnode->lock);
void vn_unlock(struct vnode *vnode) FL_EXCLUDES(vnode->lock);

#endif
