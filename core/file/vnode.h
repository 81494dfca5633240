/*
 * vnode.h: the vnode: a file as the VM knows it.
 *
 *   store key ─▶ vnode (one for a file) ─▶ object (one for a vnode, while anything maps it or pages remain)
 *                  └▶ store: where its bytes are
 *
 * Locks. (V) vnode->lock, before (O). (H) vnode_hash.lock, before (V). (W) wb.lock (flusher.h). (c) constant.
 * The object holds no reference to the vnode; the vnode holds one to the object, from the object's birth to
 * the vnode's end. All other references to the object together hold one to the vnode: taken when the object's
 * count goes from 1 to 2, dropped when it is 1 again (first_reference and last_reference of its pager). So a
 * file that is mapped stays open.
 * Invariants: V1 a vnode's count never grows from 0. V2 a vnode without references whose key is in the hash is
 * being written back; an open of that file waits until it is gone. V3 at a vnode's end its object has one
 * reference, the vnode's. V4 at most one range of an object is kept out of memory (filemap_invalidate_lock),
 * by the holder of vn_lock.
 */
#ifndef CORE_FILE_VNODE_H
#define CORE_FILE_VNODE_H

#include "lib/errseq.h"
#include "lib/kassert.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include <faultline/store.h>
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

/* A stream that reads a file, as read-ahead's marks tell (drop_behind.h). All zero: none yet. */
struct drop_stream {
    vm_pindex_t start, end; /* from its first mark to the last one that it touched */
    uint32_t idle;          /* marks that others touched since */
};
#define DROP_STREAMS 4

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
    struct drop_stream stream[DROP_STREAMS]; /* (O) */
    bool stream_again; /* (O) a stream read what another had passed: it is not read once, and is kept */
    struct vm_pager_stream stream_read; /* (O) of fl_vnode_read */
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

/* The vnode of a file's object. */
static inline struct vnode *vm_object_vnode(const struct vm_object *object)
{
    KASSERT(object->type == OBJT_VNODE, "O5");
    return object->handle;
}

/* How many pages a file of so many bytes has. */
static inline vm_pindex_t size_pages(uint64_t size_bytes)
{
    return atop(size_bytes) + ((size_bytes & VM_PAGE_MASK) != 0);
}

void vnode_startup(void);

/* Behind fl_vnode_open and its kin (vm.h). */
FL_NODISCARD int vnode_open(struct store *store, struct vnode **vnode);
void vref(struct vnode *vnode);
FL_NODISCARD int vrele(struct vnode *vnode);
/*
 * One thread at a time changes the file or its length: a removal of pages that comes late would take those of
 * a file that has grown again. A sleep lock, before all other locks; its holder may do I/O. Faults take it
 * with no page of a file busy.
 */
void vn_lock(struct vnode *vnode);
void vn_unlock(struct vnode *vnode);

#endif
