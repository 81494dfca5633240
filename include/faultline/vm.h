/*
 * vm.h: what a kernel includes: the VM as a whole, address spaces, the system calls, the fault entry,
 * and what must run.
 *
 *   fl_vm_boot ─▶ fl_space_create ─▶ fl_sys_mmap … ─▶ (trap) fl_fault ─▶ fl_space_destroy
 *                     threads of the machine: fl_pageout_run, fl_writeback_run
 *
 * There is one VM in a program, as in a kernel. All its state lives in the memory that fl_vm_boot was
 * given.
 * Unless a comment says otherwise, functions may sleep and are called with no lock held, from any number
 * of threads.
 */
#ifndef FAULTLINE_VM_H
#define FAULTLINE_VM_H

#include <faultline/types.h>

struct store;  /* store.h */
struct vm_map; /* an address space */
struct vnode;  /* a file that the VM knows: a store and its memory object */

/* ---- the VM ------------------------------------------------------------------------------------------- */

struct fl_vm_params {
    void *
        meta; /* memory for the core's own structures, page-aligned, zeroed; may be lazily backed, used from the bottom up */
    size_t meta_len_bytes;
    uint32_t nframes;          /* page budget: frames [0, nframes) */
    uint32_t free_reserved;    /* frames that only page-out itself may use; 0: chosen */
    uint32_t free_min;         /* low water: below it nothing is read ahead; 0: chosen */
    uint32_t free_target;      /* up to it the page daemon frees (high water); 0: chosen */
    uint32_t readahead_max;    /* pages of one read-ahead window, <= MACHINE_RUN_MAX; 0: chosen */
    uint32_t dirty_background; /* dirty pages of files from which on the flusher writes; 0: chosen */
    uint32_t dirty_max;        /* … from which on those who dirty more wait for writes; 0: chosen */
    uint64_t dirty_expire_ns;  /* a page that is dirty for so long is written by the flusher; 0: chosen */
    bool superpages; /* keep 2 MiB reservations (vm_reserv); pointless where frames have no physical place */
    bool (*fail_alloc)(const char *what); /* fault injection: true makes this allocation fail; NULL: never */
};

/* How much metadata memory nframes frames and about nentries map entries need at most, in bytes. */
FL_NODISCARD size_t fl_vm_meta_size(uint32_t nframes, uint32_t nentries);

/* Errors: -EINVAL for parameters out of range, -ENOMEM when meta is too small. Context: once, before any
 * other thread. */
FL_NODISCARD int fl_vm_boot(const struct fl_vm_params *params);

/* Ends the VM: all spaces were destroyed, all vnodes closed, no thread is inside. For tests and for
 * fl_shutdown. */
void fl_vm_halt(void);

struct fl_vm_stats {
    uint64_t nframes, free, wired, active, inactive; /* pages now */
    uint64_t peak_used;                              /* pages: the highest of nframes - free */
    uint64_t faults;       /* page faults; also those taken ahead of a system call (fl_hold) or for mlock */
    uint64_t faults_minor; /* of those, ended without a page-in */
    uint64_t faults_cow;   /* of those, copied a page */
    uint64_t faults_zero;  /* of those, filled a page with zeros */
    uint64_t page_ins;     /* pages read from stores */
    uint64_t page_in_bytes;
    uint64_t readahead;     /* of page_ins, asked for before anyone needed them */
    uint64_t evictions;     /* pages freed by the page daemon */
    uint64_t write_backs;   /* pages written to stores */
    uint64_t dirty;         /* dirty pages of files now */
    uint64_t requests;      /* transfers handed to stores, … */
    uint64_t merges;        /* … and those that went along in another's */
    uint64_t io_errors;     /* transfers that failed */
    uint64_t reactivations; /* pages that came back from the inactive queue */
    uint64_t mappings;      /* map entries now */
    uint64_t mappings_peak;
    uint64_t meta_used_bytes; /* of the metadata memory, in use now */
    uint64_t
        meta_page_bytes; /* of those, page descriptors, radix nodes, reservations: what grows with the budget */
};
void fl_vm_stats(struct fl_vm_stats *stats);

/* Checks every invariant of the page queues, the allocator and all spaces; panics with the invariant's
 * number. Context: nothing else runs. */
void fl_vm_check(void);

/* ---- what must run ------------------------------------------------------------------------------------ */

/* The page daemon. Returns after fl_vm_stop. Context: a thread of the machine's. */
void fl_pageout_run(void);
/*
 * The flusher: writes what is dirty for longer than dirty_expire_ns, and whatever is dirty while more than
 * dirty_background pages are. Returns after fl_vm_stop. Context: a thread of the machine's; without it files
 * are written by msync, fsync, writers that dirty too much, and the page daemon. (wb_workfn, Linux.)
 */
void fl_writeback_run(void);
/* Makes fl_pageout_run and fl_writeback_run return soon. */
void fl_vm_stop(void);

/* ---- files -------------------------------------------------------------------------------------------- */

/*
 * The vnode of the store: if a vnode with the store's key exists, that one with one reference more, and
 * the store given is closed;
 * else a new one, which owns the store from now on. Errors: -ENOMEM (the store is still the caller's),
 * or what store->size said.
 */
FL_NODISCARD int fl_vnode_open(struct store *store, struct vnode **vnode);
void fl_vnode_ref(struct vnode *vnode);
/*
 * The store that writes go to, or, of a file that nobody opened for writing, reads. Lives as long as the
 * vnode.
 */
FL_NODISCARD struct store *fl_vnode_store(struct vnode *vnode);
/* Drops a reference. With the last one, also those of mappings, dirty pages are written, then the store is
 * closed.
 * Errors: of that write; the vnode is gone nevertheless. */
FL_NODISCARD int fl_vnode_close(struct vnode *vnode);
/* The file's length changed behind the VM's back or is asked anew: reads it from the store, and unmaps
 * and frees whatever lies beyond the end. Errors: of the store. */
FL_NODISCARD int fl_vnode_setsize(struct vnode *vnode);

/*
 * For a host that lets programs read and write the file past the VM, too. fl_vnode_sync: the dirty pages that
 * these bytes touch are written; before a read or a write. Errors: of the writes. fl_vnode_invalidate: the
 * clean ones are forgotten; after a write. The caller has a reference to the vnode.
 */
FL_NODISCARD int fl_vnode_sync(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);
void fl_vnode_invalidate(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);

/*
 * Asks the store whether the file was changed past the VM (store_ops.changed), and if so takes it over:
 * the new length, and none of the clean pages; those that a system call of the host holds at the moment
 * go at the next call. For a host whose programs share files with others: to be called wherever a program
 * may expect to see what others wrote (a lock taken, a file opened, its length asked for). `*what`:
 * FL_CHANGED_*, 0: nothing. own: all that happened to the file past the VM was the caller's doing, and is
 * known to it. The caller has a reference. Errors: of the store. (nfs_revalidate_inode, Linux.)
 */
#define FL_CHANGED             0x1
#define FL_CHANGED_BYTES       0x2 /* not only its name or its rights */
#define FL_CHANGED_OVERWRITTEN 0x4 /* dirty pages were written over what changed there, or are yet to be */
#define FL_CHANGED_LATER       0x8 /* some pages are held: ask again, whether anything changes or not */
FL_NODISCARD int fl_vnode_revalidate(struct vnode *vnode, bool own, unsigned *what);
/* How many dirty pages there are, of all files. A load. */
FL_NODISCARD uint64_t fl_vm_dirty(void);

/* A piece of the caller's memory. Laid out as the system calls' struct iovec. */
struct fl_iovec {
    void *base;
    size_t len_bytes;
};

/* Where a read or a write happens, and how. (struct kiocb, Linux.) */
struct fl_iocb {
    vm_ooffset_t offset; /* of the first byte; advanced by what was moved */
    unsigned flags;      /* FL_IOCB_* */
};
#define FL_IOCB_APPEND 0x1 /* a write: at the file's end, wherever offset was */
#define FL_IOCB_DIRECT                                                                                       \
    0x2 /* past the cache: offset and length (of all pieces) in multiples of the store's block */
#define FL_IOCB_DSYNC 0x4 /* a write: on stable storage before it returns */

/*
 * Reads and writes through the page cache: what mappings of the file show is what is read, and what is
 * written shows in them at once. Return how many bytes, as read(2) and write(2) do: less than asked when the
 * file ends there, or when an error came after some were moved. A read at or behind the end returns 0; a
 * write behind it leaves zeros between. Writes, truncations and punches of one file go one after the other.
 *
 * The copy takes no fault: memory of the caller's that cannot be reached is -EFAULT. Memory inside a space of
 * this VM is held (fl_hold) for the length of the call, for a read as what will be written. Where the host's
 * kernel serves faults by other threads, memory of a write's that is not held may wait for the call itself.
 *
 * With FL_IOCB_DIRECT the cache is written back and, for a write, forgotten where the bytes are moved; a
 * mapping that is written meanwhile keeps what it wrote.
 *
 * Errors: -EINVAL (lengths that overflow, flags, what is not aligned for FL_IOCB_DIRECT), -EFAULT, -EIO and
 * what else the store says, -ENOMEM; of writes also -EBADF (nobody opened the file for writing), -EFBIG,
 * -ENOSPC, -EOPNOTSUPP (longer than the file, whose store cannot grow). An error of a write-back that a write
 * had to do is told by the next fl_vnode_fsync or msync.
 */
FL_NODISCARD int64_t fl_vnode_read(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov,
                                   struct fl_iocb *iocb);
FL_NODISCARD int64_t fl_vnode_write(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov,
                                    struct fl_iocb *iocb);
/*
 * The file is len_bytes long from now on. What mappings show beyond the end is gone, private pages too.
 * Errors, nothing changed: -EBADF, -EFBIG, -EOPNOTSUPP and those of the store. -ENOMEM: of a file that became
 * shorter, mappings may show old bytes behind its end.
 */
FL_NODISCARD int fl_vnode_truncate(struct vnode *vnode, uint64_t len_bytes);
/* The file is at least len_bytes long from now on, whoever makes it longer meanwhile. Errors: as above. */
FL_NODISCARD int fl_vnode_extend(struct vnode *vnode, uint64_t len_bytes);
/*
 * The bytes of the range that lie within the file become zeros; its length stays. Pages that private mappings
 * wrote stay theirs. Errors: -EBADF, -EINVAL, -EOPNOTSUPP, and those of the store: some of
 * the bytes may be zeros nevertheless.
 */
FL_NODISCARD int fl_vnode_punch(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);
/*
 * The store has the space for the bytes [offset, offset + *len_bytes), within the file or beyond its end, so
 * that a full disk is told to who is about to write them and not by a write-back; for fewer, from offset on,
 * when there is less: *len_bytes says how many. The length stays. 0 also where the store cannot say. Stores
 * to mappings do so by themselves. Errors: -EINVAL; -ENOSPC, -EDQUOT: not for one page; -EIO.
 */
FL_NODISCARD int fl_vnode_allocate(struct vnode *vnode, vm_ooffset_t offset, uint64_t *len_bytes);
/*
 * What somebody was told of a file's failed write-backs. Each descriptor and each mapping has one of its own,
 * so that each hears of an error once. fl_vnode_errseq gives one that has heard of everything so far, but for
 * an error of which nobody has; 0 has heard of nothing. (errseq_t, Linux.)
 */
typedef uint32_t fl_errseq_t;
FL_NODISCARD fl_errseq_t fl_vnode_errseq(struct vnode *vnode);
/*
 * What the last write-back that failed said, as long as pages are dirty whose write failed; 0: there are
 * none. To tell somebody why memory is full.
 */
FL_NODISCARD int fl_vnode_write_error(struct vnode *vnode);
/*
 * What was written, by whatever way, is on stable storage when it returns 0. flags: 0 or FL_FSYNC_DATA. since:
 * whose errors to tell, and told afterwards; NULL: only those of this call. Errors: -EINVAL; those of
 * write-backs; of the store's flush.
 */
#define FL_FSYNC_DATA 0x1 /* fdatasync: as much as is needed to read the bytes again. All that stores know. */
FL_NODISCARD int fl_vnode_fsync(struct vnode *vnode, unsigned flags, fl_errseq_t *since);
/*
 * sync_file_range(2), which is no promise after a crash: of the pages that the bytes touch, waits for the
 * writes under way, begins those of the dirty ones, waits for these; whichever flags say so. len_bytes 0: to
 * the end. Errors: -EINVAL; those of write-backs when it waits.
 */
#define FL_SYNC_FILE_RANGE_WAIT_BEFORE 0x1
#define FL_SYNC_FILE_RANGE_WRITE       0x2
#define FL_SYNC_FILE_RANGE_WAIT_AFTER  0x4
FL_NODISCARD int fl_vnode_sync_range(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes,
                                     unsigned flags, fl_errseq_t *since);
/*
 * posix_fadvise(2) for fl_vnode_read: FL_FADV_*, the values of Linux. WILLNEED starts to read; DONTNEED starts
 * to write what is dirty and forgets what is clean and not mapped; the rest sets how far to read ahead. len_bytes 0: to the
 * end. Errors: -EINVAL.
 */
#define FL_FADV_NORMAL     0
#define FL_FADV_RANDOM     1
#define FL_FADV_SEQUENTIAL 2
#define FL_FADV_WILLNEED   3
#define FL_FADV_DONTNEED   4
#define FL_FADV_NOREUSE    5
FL_NODISCARD int fl_vnode_fadvise(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes, int advice);

#define FL_FREAD  0x1
#define FL_FWRITE 0x2

/* An open file: what mmap takes where Linux takes a descriptor. */
struct fl_file {
    struct vnode *vnode;
    unsigned mode; /* FL_FREAD | FL_FWRITE */
    fl_errseq_t
        told; /* of failed write-backs: for fl_vnode_fsync. A mapping starts with what it says at mmap */
};

/* ---- address spaces ----------------------------------------------------------------------------------- */

/* An empty address space of [start, end), page-aligned. Errors: -EINVAL, -ENOMEM. */
FL_NODISCARD int fl_space_create(vm_offset_t start, vm_offset_t end, struct vm_map **map);
/* Unmaps everything and frees it. Dirty pages of shared mappings stay with their vnode. Context: no
 * thread runs in it. */
void fl_space_destroy(struct vm_map *map);
/* The machine's part of the space, for machine_space_activate. */
FL_NODISCARD struct machine_space *fl_space_machine(struct vm_map *map);
/* Sets what brk starts from and how far it may go: [start, limit). */
void fl_space_set_brk(struct vm_map *map, vm_offset_t start, vm_offset_t limit);

/*
 * A page fault at va by an access of kind `access` (VM_PROT_READ, _WRITE or _EXECUTE). Context: the
 * faulting thread, or one that acts for it.
 * Returns 0: try the access again. -EFAULT: nothing is mapped there (SIGSEGV, SEGV_MAPERR). -EACCES: the
 * mapping forbids it (SIGSEGV, SEGV_ACCERR).
 * -ENXIO: beyond the end of the file (SIGBUS). -EIO: the store failed (SIGBUS). -ENOSPC, -EDQUOT: a write to
 * a hole for which the store has no space (SIGBUS). These, and what else writes say, also when memory is full
 * of dirty pages of files that cannot be written. -ENOMEM: every page is dirty without a place to go, or
 * wired. (freebsd11-page-fault.md: trap_pfault.)
 */
FL_NODISCARD int fl_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access);

/* Pages that a system call of the host is going to touch: resident and mapped, with the rights for
 * `access`, until released. */
#define FL_HOLD_MAX 256
struct fl_hold {
    uint32_t npages;
    vm_prot_t access;
    void *page[FL_HOLD_MAX];
};
/*
 * Holds [va, va + len_bytes), at most FL_HOLD_MAX pages. Errors: as fl_fault; and -EAGAIN, of more than one
 * page: they do not stay in memory long enough to be had together, so hold fewer. Nothing is held then. What
 * is held does not stop others: what the program unmaps, cuts off or throws away meanwhile is gone from the
 * address at once, and the frame is left to the hold; a hole that is punched becomes zeros in place.
 * (vm_fault_quick_hold_pages, FreeBSD 11.)
 */
FL_NODISCARD int fl_hold(struct vm_map *map, vm_offset_t va, size_t len_bytes, vm_prot_t access,
                         struct fl_hold *hold);
/* Context: any thread, no lock. */
void fl_unhold(struct fl_hold *hold);

/*
 * A range that somebody else (the host's kernel) maps inside the space: it is not handed out, faults
 * there say -EFAULT, and
 * unmapping it only forgets it. Errors: -EEXIST if anything is mapped there, -ENOMEM.
 */
FL_NODISCARD int fl_space_reserve(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/* What the child of a fork has where the region is; FL_MADV_DONTFORK, _WIPEONFORK. (minherit, FreeBSD.) */
enum fl_inherit {
    FL_INHERIT_SHARE, /* the same memory: shared mappings */
    FL_INHERIT_COPY,  /* a copy of it: private ones */
    FL_INHERIT_NONE,  /* nothing */
    FL_INHERIT_ZERO,  /* fresh memory: private anonymous only */
};

/* One map entry, for those who list a space (tests, /proc/…/maps, fork). */
struct fl_region {
    vm_offset_t start, end;
    vm_prot_t prot, max_prot;
    bool shared, reserved, anonymous, wired;
    enum fl_inherit inherit;
    struct vnode *vnode; /* of the file at the bottom of the object's chain, or NULL */
    vm_ooffset_t offset; /* in it */
};
/* The first region that ends after va. Errors: -ENOENT. The vnode is not referenced: the caller keeps it
 * alive. */
FL_NODISCARD int fl_space_region(struct vm_map *map, vm_offset_t va, struct fl_region *region);

/*
 * *found: the first page in [va, end) that a private mapping of the space has written, so that it is
 * nobody else's. For a host that forks without the core. Errors:
 * -ENOENT: none.
 */
FL_NODISCARD int fl_space_private_page(struct vm_map *map, vm_offset_t va, vm_offset_t end,
                                       vm_offset_t *found);

/* ---- the system calls --------------------------------------------------------------------------------- */

/* Flags and advice have the values of the Linux ABI on x86-64. Results and errors are those of Linux's
 * manual pages; differences stand in docs/design.md. */
#define FL_MAP_SHARED          0x01
#define FL_MAP_PRIVATE         0x02
#define FL_MAP_SHARED_VALIDATE 0x03
#define FL_MAP_TYPE            0x0f
#define FL_MAP_FIXED           0x10
#define FL_MAP_ANONYMOUS       0x20
#define FL_MAP_GROWSDOWN       0x0100
#define FL_MAP_LOCKED          0x2000
#define FL_MAP_NORESERVE       0x4000
#define FL_MAP_POPULATE        0x8000
#define FL_MAP_NONBLOCK        0x10000
#define FL_MAP_STACK           0x20000
#define FL_MAP_FIXED_NOREPLACE 0x100000

#define FL_MREMAP_MAYMOVE   1
#define FL_MREMAP_FIXED     2
#define FL_MREMAP_DONTUNMAP 4

#define FL_MS_ASYNC      1
#define FL_MS_INVALIDATE 2
#define FL_MS_SYNC       4

#define FL_MADV_NORMAL         0
#define FL_MADV_RANDOM         1
#define FL_MADV_SEQUENTIAL     2
#define FL_MADV_WILLNEED       3
#define FL_MADV_DONTNEED       4
#define FL_MADV_FREE           8
#define FL_MADV_REMOVE         9
#define FL_MADV_DONTFORK       10
#define FL_MADV_DOFORK         11
#define FL_MADV_WIPEONFORK     18
#define FL_MADV_KEEPONFORK     19
#define FL_MADV_COLD           20
#define FL_MADV_PAGEOUT        21
#define FL_MADV_POPULATE_READ  22
#define FL_MADV_POPULATE_WRITE 23

/* Returns the address, or a negative errno. file is NULL for FL_MAP_ANONYMOUS; the mapping takes its own
 * reference to the vnode. */
FL_NODISCARD int64_t fl_sys_mmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot, int flags,
                                 const struct fl_file *file, vm_ooffset_t offset);
FL_NODISCARD int fl_sys_munmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
FL_NODISCARD int fl_sys_mprotect(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot);
FL_NODISCARD int64_t fl_sys_mremap(struct vm_map *map, vm_offset_t old_addr, size_t old_len_bytes,
                                   size_t new_len_bytes, int flags, vm_offset_t new_addr);
FL_NODISCARD int fl_sys_msync(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int flags);
FL_NODISCARD int fl_sys_madvise(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int advice);
/*
 * Starts to read the absent pages of all niov ranges of addresses, together, so that the device has all of
 * them at once; returns without waiting for them. Ranges, or parts, that no file is mapped at are passed
 * over: it is advice. Reads no more than the read-ahead's share of memory has room for. Errors: -EINVAL.
 * (process_madvise with MADV_WILLNEED.)
 */
FL_NODISCARD int fl_sys_prefetch(struct vm_map *map, const struct fl_iovec *iov, uint32_t niov);
/* vec: one byte for each page, bit 0 set when resident. */
FL_NODISCARD int fl_sys_mincore(struct vm_map *map, vm_offset_t addr, size_t len_bytes, unsigned char *vec);
FL_NODISCARD int fl_sys_mlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
FL_NODISCARD int fl_sys_munlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
/* Returns the new break, or the old one when it cannot move there (the raw system call's way). */
FL_NODISCARD vm_offset_t fl_sys_brk(struct vm_map *map, vm_offset_t addr);

#endif
