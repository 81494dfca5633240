/*
 * vm.h: what a kernel includes: the VM as a whole, files, address spaces, the fault entry, the system
 * calls, and what must run.
 *
 *   fl_vm_boot ─▶ fl_space_create ─▶ fl_sys_mmap … ─▶ (trap) fl_fault … ─▶ fl_space_destroy ─▶ fl_vm_halt
 *                     threads of the machine: fl_pageout_run, fl_writeback_run, fl_prefault_run
 *
 * There is one VM in a program, as in a kernel. All its state lives in the memory that fl_vm_boot was given.
 *
 * Unless a comment says otherwise, a function may sleep, is called with no lock held, from any number of
 * threads, and returns 0 or a negative errno value. Programs include faultline.h instead: the library exports
 * none of these functions.
 */
#ifndef FAULTLINE_VM_H
#define FAULTLINE_VM_H

#include <faultline/types.h>

struct store;        /* store.h */
struct vm_map;       /* an address space */
struct vnode;        /* a file that the VM knows: a store and its memory object */
struct machine_kmap; /* machine.h */

/* ---- the VM ------------------------------------------------------------------------------------------- */

/* What is promised to programs when they map memory (vm.overcommit_memory 1 and 2, Linux). */
enum fl_overcommit {
    FL_OVERCOMMIT_LAZY,   /* whatever they ask for; an access may find that there is not so much */
    FL_OVERCOMMIT_STRICT, /* what memory and swap can hold; a call that asks for more says ENOMEM */
};

struct fl_vm_params {
    /* Memory for the core's own structures: page-aligned and zeroed. It is used from the bottom up, so it
     * may be backed lazily. */
    void *meta;
    size_t meta_len_bytes;
    /* Puts zeroed memory behind [start, start + len_bytes) of it, pages that are used from now on; false:
     * there is none. Under the core's locks; it may call fl_frames_alloc when fl_vm_boot has returned. NULL:
     * all of it is there. */
    bool (*back_meta)(void *start, size_t len_bytes);
    /* Pages. The page budget is frames [0, nframes). For all that follow 0 means: chosen by the core. */
    uint32_t nframes;
    uint32_t free_reserved;    /* frames that only page-out itself may use */
    uint32_t free_min;         /* low water: below it nothing is read ahead */
    uint32_t free_target;      /* high water: the page daemon frees pages up to it */
    uint32_t readahead_max;    /* one read-ahead window, <= MACHINE_RUN_MAX */
    uint32_t dirty_background; /* dirty pages of files beyond which the flusher writes */
    uint32_t dirty_max;        /* … beyond which a thread that dirties more waits for writes */
    uint64_t dirty_expire_ns;  /* the flusher writes a page that is dirty for longer */
    enum fl_overcommit overcommit;
    bool superpages; /* keep 2 MiB reservations (vm_reserv); pointless where frames have no physical place */
    /* How the core reaches the bytes of pages. On a machine that maps all physical memory: frame f's bytes
     * are always at direct_map + f pages, and no window is asked for. NULL: in windows. */
    void *direct_map;
    /* How it reaches high memory; NULL: the machine has none. It must live as long as the VM. */
    const struct machine_kmap *kmap;
    /* Fault injection: returning true makes this allocation fail. NULL: none fails. */
    bool (*fail_alloc)(const char *what);
};

/* Returns how many bytes of metadata memory nframes frames and about nentries map entries need at most. */
FL_NODISCARD size_t fl_vm_meta_size(uint32_t nframes, uint32_t nentries);

/* Returns how much of that fl_vm_boot itself uses, at most. */
FL_NODISCARD size_t fl_vm_boot_size(uint32_t nframes);

/* Context: once, before any other thread. Errors: -EINVAL (a parameter out of range),
 * -ENOMEM (meta is too small). */
FL_NODISCARD int fl_vm_boot(const struct fl_vm_params *params);

/* Ends the VM. Context: all spaces were destroyed, all vnodes closed, and no thread is inside. For
 * tests and fl_shutdown. */
void fl_vm_halt(void);

void fl_vm_stats(struct fl_vm_stats *stats);
/* Resident pages now: of private memory and shared memory, and of files. Looks at each object. */
void fl_vm_resident(uint64_t *anonymous, uint64_t *file);

/*
 * The store's bytes are the swap space from now on, as long as the store is now: anonymous memory that is not
 * used goes there, and comes back when it is. fl_vm_halt closes the store. Without a call anonymous memory
 * stays in memory. fl_swap_meta_size: the metadata memory that a swap space of len_bytes needs beside
 * fl_vm_meta_size. Errors, and the store is the caller's still: -EINVAL, empty, read-only or beyond 16 TiB;
 * -EBUSY, there is a swap space; -ENOMEM; of store_ops.size. (swapon(2).)
 */
FL_NODISCARD int fl_swapon(struct store *store);
FL_NODISCARD size_t fl_swap_meta_size(uint64_t len_bytes);

/* Checks every invariant of the page queues, the allocator and all spaces; panics with the invariant's
 * number. Context: nothing else runs. */
void fl_vm_check(void);

/* ---- frames for the host ------------------------------------------------------------------------------ */

/*
 * n frames of the budget are the host's from now on: for memory of its own that is to count, such as a
 * compressed tier in front of swap. They are a number, and no certain frames; the core uses so many fewer. A
 * store may call this while it writes a page for page-out, so half of fl_vm_params.free_reserved may be taken
 * too; the rest stays with page-out. Never sleeps. Context: any lock of the host's may be held, and none of
 * the core's. Errors: -ENOMEM, none is taken.
 */
FL_NODISCARD int fl_frames_take(uint32_t n);
/* n frames that the host has taken are the core's again. All are before fl_vm_halt, or when that has closed
 * the swap space. Context: any lock of the host's, and those under which store_ops.discard is called. */
void fl_frames_give(uint32_t n);

/*
 * *frame: the first of 2^order neighbouring frames, order <= 9, at a multiple of their number, that are the
 * host's from now on: a kernel's stacks, page tables, heap. Their bytes are undefined, and where they are is
 * the machine's to say. Breaks a reservation if need be, moves no page, and leaves as many frames to page-out
 * as above. Wakes the page daemon when few are free. Never sleeps. Context: any thread; locks of the core's
 * down to vm_object.lock and vm_rmap_lock may be held, as in machine_map. Errors: -EINVAL, order; -ENOMEM.
 */
FL_NODISCARD int fl_frames_alloc(uint32_t order, vm_frame_t *frame);
/* 2^order frames that fl_frames_alloc has given are free again: a block, or an aligned part of one. What is
 * left at fl_vm_halt stays the host's: the stack that runs it is. Context: as above. */
void fl_frames_free(vm_frame_t frame, uint32_t order);
/* A word for each frame that fl_frames_alloc has given, for the host to use as it likes; NULL at first. It
 * needs no lock of the core's. */
FL_NODISCARD void **fl_frames_owner(vm_frame_t frame);
/*
 * For who got -ENOMEM for a single frame, and may sleep: waits until one is to be had, and does a share of
 * page-out's work. Bounded: it ends when whole passes find nothing that could become free, or nothing has for
 * 5 s. A larger block may be missing while frames are free; then it returns at once. Returns 0: try again.
 * Errors: -ENOMEM: all pages are in use, or dirty, and swap is full; what writes of dirty pages said.
 */
FL_NODISCARD int fl_frames_wait(void);

/* ---- what must run ------------------------------------------------------------------------------------ */

/* The page daemon. Returns after fl_vm_stop. Context: a thread of the machine's. (vm_pageout,
 * FreeBSD; kswapd, Linux.) */
void fl_pageout_run(void);
/*
 * The flusher. Writes what is dirty for longer than dirty_expire_ns, and anything dirty while there are more
 * than dirty_background dirty pages. Returns after fl_vm_stop. Context: a thread of the machine's. Without it
 * files are written by msync, fsync, writers that dirty too much, and the page daemon. (wb_workfn, Linux.)
 */
void fl_writeback_run(void);
/*
 * The prefault daemon. Maps what sequential readers read ahead, so that they take one fault for a window.
 * Returns after fl_vm_stop. Context: a thread of the machine's. Without it each fault maps some pages.
 */
void fl_prefault_run(void);
/* Makes the three return soon. */
void fl_vm_stop(void);

/* ---- files -------------------------------------------------------------------------------------------- */

/*
 * *vnode: the vnode of the store. If a vnode with the store's key exists, it is that one with one reference
 * more, and the given store is closed. Otherwise it is a new one, which owns the store from now on. Errors,
 * and the caller still owns the store: -ENOMEM, those of store_ops.size.
 */
FL_NODISCARD int fl_vnode_open(struct store *store, struct vnode **vnode);
/*
 * *vnode: a new file without a store, len_bytes of zeros, with one reference. Its pages are anonymous memory:
 * they go to swap space, and end with the vnode, so that a tmpfs, a memfd or a segment of shared memory is
 * such a file. All functions here work on it. Nothing is written back, so fsync has nothing to do;
 * FL_IOCB_DIRECT goes through the pages all the same; nothing is read ahead. Pages that were never written,
 * or are in a hole, take no memory until they are used. The file's length is promised memory
 * (FL_OVERCOMMIT_STRICT), holes too. Errors, also of what makes such a file longer: -ENOSPC, so much may not
 * be promised; -EFBIG; -ENOMEM. (shmem_file_setup, Linux.)
 */
FL_NODISCARD int fl_vnode_anonymous(uint64_t len_bytes, struct vnode **vnode);
/* Takes one reference more. */
void fl_vnode_ref(struct vnode *vnode);
/* Returns the length in bytes, as the VM knows it: without asking the store. */
FL_NODISCARD uint64_t fl_vnode_size(struct vnode *vnode);
/* Returns the store that writes go to; reads, if the file was never opened for writing. It
 * lives as long as the vnode. One of fl_vnode_anonymous has no bytes. */
FL_NODISCARD struct store *fl_vnode_store(struct vnode *vnode);
/* Drops a reference. When the last one is dropped, those of mappings included, dirty pages are written and
 * the store is closed. Errors, and the vnode is gone nevertheless: of that write. */
FL_NODISCARD int fl_vnode_close(struct vnode *vnode);
/* Reads the file's length from the store again, after it changed behind the VM's back; unmaps and frees
 * whatever lies beyond the end. Errors: of the store. */
FL_NODISCARD int fl_vnode_setsize(struct vnode *vnode);

/*
 * For a host that lets programs read and write the file past the VM, too. The range is [offset, offset
 * + len_bytes); the caller has a reference. fl_vnode_sync, before such a read or write: writes the
 * dirty pages that the range touches. Errors: of the writes. fl_vnode_invalidate, after such a write:
 * forgets the clean ones.
 */
FL_NODISCARD int fl_vnode_sync(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);
void fl_vnode_invalidate(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);

/*
 * Asks the store whether the file was changed past the VM (store_ops.changed). If so, takes the new length
 * over and forgets the clean pages; a page that a system call of the host holds at the moment is forgotten by
 * the next call. For a host whose programs share files with others: it calls this wherever a program may
 * expect to see what others wrote (after it took a lock, opened the file, asked for its length). *what:
 * FL_CHANGED_*; 0: nothing changed. own: all changes past the VM were the caller's own, and are known to it.
 * The caller has a reference. Errors: of the store. (nfs_revalidate_inode, Linux.)
 */
#define FL_CHANGED             0x1
#define FL_CHANGED_BYTES       0x2 /* not only its name or its rights */
#define FL_CHANGED_OVERWRITTEN 0x4 /* dirty pages were written over what changed there, or will be */
#define FL_CHANGED_LATER       0x8 /* some pages are held: ask again, whether anything changes or not */
FL_NODISCARD int fl_vnode_revalidate(struct vnode *vnode, bool own, unsigned *what);

/* Where a read or a write happens, and how. (struct kiocb, Linux.) */
struct fl_iocb {
    vm_ooffset_t offset; /* of the first byte; advanced by what was moved */
    unsigned flags;      /* FL_IOCB_* */
};

/*
 * Read and write through the page cache: mappings of the file and these calls work on the same pages. They
 * return how many bytes were moved, as read(2) and write(2) do: less than asked for when the file ends there,
 * or when an error came after some were moved. A read at or behind the end returns 0; a write behind it
 * leaves zeros between. Writes, truncations and punches of one file go one after the other.
 *
 * The copy takes no fault: memory of the caller's that cannot be reached is -EFAULT. The caller holds
 * memory inside a space of this VM (fl_hold) for the length of the call; for a read, with the right to
 * write. Where other threads serve the faults of the host's kernel, a source buffer that is not held
 * can deadlock the write.
 *
 * With FL_IOCB_DIRECT the range is first written back and, for a write, dropped from the cache. A mapping
 * that is written meanwhile keeps what it wrote.
 *
 * Errors: -EINVAL (lengths that overflow, flags, what is not aligned for FL_IOCB_DIRECT), -EFAULT, -ENOMEM,
 * -EIO and what else the store says; of writes also -EBADF (the file was never opened for writing), -EFBIG,
 * -ENOSPC, -EOPNOTSUPP (longer than the file, whose store cannot grow). When a write has to write back first
 * and that fails, the next fl_vnode_fsync or msync tells it.
 */
FL_NODISCARD int64_t fl_vnode_read(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov,
                                   struct fl_iocb *iocb);
FL_NODISCARD int64_t fl_vnode_write(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov,
                                    struct fl_iocb *iocb);
/*
 * Makes the file len_bytes long. What mappings show beyond the end is gone, private pages too. Errors, and
 * nothing changed: -EBADF, -EFBIG, -EOPNOTSUPP and those of the store. -ENOMEM: the file did become shorter,
 * and mappings may show old bytes behind its end.
 */
FL_NODISCARD int fl_vnode_truncate(struct vnode *vnode, uint64_t len_bytes);
/* Makes the file at least len_bytes long, also when another thread makes it longer
 * meanwhile. Errors: as above. */
FL_NODISCARD int fl_vnode_extend(struct vnode *vnode, uint64_t len_bytes);
/*
 * Makes the bytes of [offset, offset + len_bytes) that lie within the file zeros; its length stays. Pages
 * that private mappings wrote stay theirs. Errors: -EBADF, -EINVAL, -EOPNOTSUPP, and those of the store: some
 * of the bytes may be zeros then.
 */
FL_NODISCARD int fl_vnode_punch(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes);
/*
 * Reserves the store's space for the bytes [offset, offset + *len_bytes), within the file or beyond its end,
 * so that a full disk is told to the writer and not to a write-back. When there is less space, *len_bytes
 * becomes the number of bytes, from offset on, that have it. The file's length stays. Returns 0 also where
 * the store cannot say. A store through a mapping reserves its space by itself. Errors: -EINVAL; -ENOSPC,
 * -EDQUOT: not even one page; -EIO.
 */
FL_NODISCARD int fl_vnode_allocate(struct vnode *vnode, vm_ooffset_t offset, uint64_t *len_bytes);
/*
 * Which of a file's failed write-backs were reported. Each descriptor and each mapping keeps one, so that
 * each is told of an error once. 0: none was reported. fl_vnode_errseq returns one for which all errors so
 * far count as reported, except one that was reported nowhere yet. (errseq_t, Linux.)
 */
typedef uint32_t fl_errseq_t;
FL_NODISCARD fl_errseq_t fl_vnode_errseq(struct vnode *vnode);
/*
 * Returns the error of the last failed write-back, as long as pages are dirty whose write failed; 0: there
 * are none. It explains why memory is full.
 */
FL_NODISCARD int fl_vnode_write_error(struct vnode *vnode);
/*
 * Puts on stable storage what was written, by calls and through mappings. flags: 0 or FL_FSYNC_DATA. since:
 * reports the errors that it has not reported yet, and is brought up to date; NULL: reports only the errors
 * of this call. Errors: -EINVAL; those of write-backs; of the store's flush.
 */
FL_NODISCARD int fl_vnode_fsync(struct vnode *vnode, unsigned flags, fl_errseq_t *since);
/*
 * sync_file_range(2), which promises nothing after a crash. Of the pages that [offset, offset + len_bytes)
 * touches, waits for the writes under way, begins those of the dirty ones, and waits for these, as the flags
 * say. len_bytes 0: to the end. Errors: -EINVAL; those of write-backs when it waits.
 */
#define FL_SYNC_FILE_RANGE_WAIT_BEFORE 0x1
#define FL_SYNC_FILE_RANGE_WRITE       0x2
#define FL_SYNC_FILE_RANGE_WAIT_AFTER  0x4
FL_NODISCARD int fl_vnode_sync_range(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes,
                                     unsigned flags, fl_errseq_t *since);
/*
 * posix_fadvise(2) for fl_vnode_read. advice: FL_FADV_*, the values of Linux. WILLNEED starts to read;
 * DONTNEED starts to write what is dirty, and forgets what is clean and not mapped; the others set how far to
 * read ahead. len_bytes 0: to the end. Errors: -EINVAL.
 */
#define FL_FADV_NORMAL     0
#define FL_FADV_RANDOM     1
#define FL_FADV_SEQUENTIAL 2
#define FL_FADV_WILLNEED   3
#define FL_FADV_DONTNEED   4
#define FL_FADV_NOREUSE    5
FL_NODISCARD int fl_vnode_fadvise(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes, int advice);

/* An open file: what mmap takes where Linux takes a descriptor. */
struct fl_file {
    struct vnode *vnode;
    unsigned mode;    /* FL_FREAD | FL_FWRITE */
    fl_errseq_t told; /* for fl_vnode_fsync. A mapping starts with the value at mmap */
};

/* ---- address spaces ----------------------------------------------------------------------------------- */

/* Makes an empty address space of [start, end), page-aligned. Errors: -EINVAL, -ENOMEM. */
FL_NODISCARD int fl_space_create(vm_offset_t start, vm_offset_t end, struct vm_map **map);
/*
 * *child: a copy of the space at the same addresses, as fork(2) makes it: shared memory is the same memory,
 * private memory is copied page by page when either side stores. Pages that are wired, or that a system call
 * uses (fl_hold), are copied at once; the child's are not wired. madvise says what the child does not get
 * (FL_MADV_DONTFORK, FL_MADV_WIPEONFORK). Errors: -ENOMEM; -EOPNOTSUPP, the machine has one place for each
 * address (linux). There is no child then, and the space shows what it showed. (vmspace_fork, FreeBSD.)
 */
FL_NODISCARD int fl_space_fork(struct vm_map *map, struct vm_map **child);
/* Unmaps everything and frees the space. Dirty pages of shared mappings stay with their vnode.
 * Context: no thread runs in it. */
void fl_space_destroy(struct vm_map *map);
/* Returns the machine's part of the space: whose page tables a CPU uses, the kernel's scheduler says. */
FL_NODISCARD struct machine_space *fl_space_machine(struct vm_map *map);
/* Sets the range that brk moves in: [start, limit). */
void fl_space_set_brk(struct vm_map *map, vm_offset_t start, vm_offset_t limit);
/*
 * Sets where mmap begins to look for a place, downwards; above it only when there is none below. At first the
 * space's end. A kernel leaves room above it for the stack. (mm->mmap_base, Linux.)
 */
void fl_space_set_mmap_base(struct vm_map *map, vm_offset_t base);

/*
 * What a space may have, in bytes; a new one has no limits but for stacks, 8 MiB. A limit below what the
 * space has takes nothing away. The host sets FL_NO_LIMIT for who may exceed one. (setrlimit.)
 */
#define FL_NO_LIMIT UINT64_MAX
struct fl_space_limits {
    uint64_t as_bytes;      /* RLIMIT_AS: mappings: mmap, brk, mremap say -ENOMEM, a stack does not grow */
    uint64_t data_bytes;    /* RLIMIT_DATA: the heap, and private writable memory: as above, and mprotect */
    uint64_t stack_bytes;   /* RLIMIT_STACK: one stack, which does not grow further */
    uint64_t memlock_bytes; /* RLIMIT_MEMLOCK: mlock says -ENOMEM, of locked mappings mmap and mremap -EAGAIN;
                             * 0: who locks gets -EPERM */
};
void fl_space_set_limits(struct vm_map *map, const struct fl_space_limits *limits);
void fl_space_get_limits(struct vm_map *map, struct fl_space_limits *limits);
/* What it has, as its limits count it. (VmSize, VmData and VmLck in /proc/PID/status, Linux.) */
struct fl_space_usage {
    uint64_t as_bytes, data_bytes, memlock_bytes;
};
void fl_space_usage(struct vm_map *map, struct fl_space_usage *usage);

/*
 * A page fault at va by an access of kind `access` (VM_PROT_READ, _WRITE or _EXECUTE). Returns 0: try
 * the access again. Context: the faulting thread, or one that acts for it. Errors, with the signal
 * that the program must get:
 *   -EFAULT            nothing is mapped there (SIGSEGV, SEGV_MAPERR)
 *   -EACCES            the mapping forbids the access (SIGSEGV, SEGV_ACCERR)
 *   -ENXIO             the address lies beyond the end of the file (SIGBUS)
 *   -EIO               the store failed (SIGBUS)
 *   -ENOSPC, -EDQUOT   the store has no space for a page that is written (SIGBUS)
 *   -ENOMEM            no page can be freed: each is wired, or dirty without a place to go
 * When memory is full of dirty pages of files that cannot be written, the error is what their writes said.
 * (trap_pfault, FreeBSD 11.)
 */
FL_NODISCARD int fl_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access);

/*
 * Holds [va, va + len_bytes), at most FL_HOLD_MAX pages, with the rights that `access` needs. It does not
 * stop other threads: what the program unmaps, cuts off or discards meanwhile is gone from the address at
 * once, and only the frame stays, for the hold; a hole that is punched becomes zeros in place. Errors, and
 * nothing is held: as fl_fault; -EAGAIN, of more than one page: they do not stay in memory long enough to be
 * had together, so hold fewer. (vm_fault_quick_hold_pages, FreeBSD 11.)
 */
FL_NODISCARD int fl_hold(struct vm_map *map, vm_offset_t va, size_t len_bytes, vm_prot_t access,
                         struct fl_hold *hold);
/* Context: any thread, no lock. */
void fl_unhold(struct fl_hold *hold);

/*
 * Reserves [start, end) for a mapping that the host's kernel makes inside the space: the core does not hand
 * the range out, faults there are -EFAULT, and unmapping it only forgets it. Errors: -EEXIST (something is
 * mapped there), -ENOMEM.
 */
FL_NODISCARD int fl_space_reserve(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/* What the child of a fork has where the region is; FL_MADV_DONTFORK, _WIPEONFORK. (minherit, FreeBSD.) */
enum fl_inherit {
    FL_INHERIT_SHARE, /* the same memory: shared mappings */
    FL_INHERIT_COPY,  /* a copy of it: private ones */
    FL_INHERIT_NONE,  /* nothing */
    FL_INHERIT_ZERO,  /* fresh memory: private anonymous only */
};

/* One map entry, for callers that list a space (tests, /proc/…/maps, fork). */
struct fl_region {
    vm_offset_t start, end; /* [start, end) */
    vm_prot_t prot, max_prot;
    bool shared, reserved, anonymous, wired;
    enum fl_inherit inherit;
    struct vnode *vnode; /* of the file at the bottom of the object's chain, or NULL */
    vm_ooffset_t offset; /* in it */
};
/* *region: the first region that ends after va. Its vnode is not referenced: the caller keeps it
 * alive. Errors: -ENOENT. */
FL_NODISCARD int fl_space_region(struct vm_map *map, vm_offset_t va, struct fl_region *region);

/*
 * *found: the first page in [va, end) that is in memory or in swap space and in no file: a private mapping of
 * the space has written it, or it is of shared memory. For a host that forks without the core. Errors:
 * -ENOENT: there is none.
 */
FL_NODISCARD int fl_space_private_page(struct vm_map *map, vm_offset_t va, vm_offset_t end,
                                       vm_offset_t *found);

/* ---- the system calls --------------------------------------------------------------------------------- */

/*
 * Flags and advice have the values of the Linux ABI on x86-64. Results and errors are those of Linux's manual
 * pages; docs/design.md lists the differences.
 */
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

#define FL_MLOCK_ONFAULT 1

#define FL_MCL_CURRENT 1
#define FL_MCL_FUTURE  2
#define FL_MCL_ONFAULT 4

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
/*
 * A snapshot of [addr, addr + len_bytes): returns the address of a copy, at another place of the space, which
 * shows for ever what the range shows now. It can only be read, saved, sent (mprotect: -EACCES); munmap ends
 * it. It is cheap: pages are copied one by one, each before the first change of the original by a store
 * through any mapping, a write, a truncation or a hole. Copies are anonymous memory, and all of them are
 * promised (FL_OVERCOMMIT_STRICT). Where there is no memory for one, the store or the call fails with
 * -ENOMEM, and the snapshot stays right. Pages that a system call uses (fl_hold) are copied at once.
 *
 * What other threads store during the call is in the snapshot or not, page by page. Pages beyond the end of a
 * file are not in it: -ENXIO, as in the range; bytes beyond it, in its last page, may become zeros. Not seen,
 * so a snapshot may show it: changes of a file past the VM, by other processes or fl_vnode_invalidate.
 *
 * Errors: -EINVAL, not aligned, or empty; -ENOMEM, a gap, no memory or no place; -EACCES, a part cannot be
 * read.
 */
FL_NODISCARD int64_t fl_sys_snapshot(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
FL_NODISCARD int fl_sys_munmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
FL_NODISCARD int fl_sys_mprotect(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int prot);
/* Returns the new address, or a negative errno. */
FL_NODISCARD int64_t fl_sys_mremap(struct vm_map *map, vm_offset_t old_addr, size_t old_len_bytes,
                                   size_t new_len_bytes, int flags, vm_offset_t new_addr);
FL_NODISCARD int fl_sys_msync(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int flags);
FL_NODISCARD int fl_sys_madvise(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int advice);
/*
 * Starts to read the absent pages of all niov ranges of addresses together, so that the device has all of
 * them at once; returns without waiting for them. It is advice: ranges, or parts, where no file is mapped are
 * passed over, and no more is read than the read-ahead's share of memory has room for. Errors: -EINVAL.
 * (process_madvise with MADV_WILLNEED, Linux.)
 */
FL_NODISCARD int fl_sys_prefetch(struct vm_map *map, const struct fl_iovec *iov, uint32_t niov);
/* vec: one byte for each page; bit 0 is set when the page is resident. */
FL_NODISCARD int fl_sys_mincore(struct vm_map *map, vm_offset_t addr, size_t len_bytes, unsigned char *vec);
FL_NODISCARD int fl_sys_mlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
FL_NODISCARD int fl_sys_munlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes);
/* flags: 0 or FL_MLOCK_ONFAULT, which is accepted, but does not wait: the pages are brought in now. */
FL_NODISCARD int fl_sys_mlock2(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int flags);
/* flags: FL_MCL_*; as above for FL_MCL_ONFAULT. */
FL_NODISCARD int fl_sys_mlockall(struct vm_map *map, int flags);
FL_NODISCARD int fl_sys_munlockall(struct vm_map *map);
/* Returns the new break, or the old one when it cannot move there (the raw system call's way). */
FL_NODISCARD vm_offset_t fl_sys_brk(struct vm_map *map, vm_offset_t addr);

#endif
