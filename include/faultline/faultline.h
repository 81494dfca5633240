/*
 * faultline.h: what a Linux program includes: memory mappings over files or over stores of its own, under
 * a hard limit of memory.
 *
 *     fl_init ─▶ fl_open ─▶ fl_mmap ─▶ plain loads and stores ─▶ fl_munmap ─▶ fl_close ─▶ fl_shutdown
 *
 * Functions return 0 or a negative errno value unless their comment says otherwise. Any thread may call them
 * after fl_init; a signal handler may not. Without the library started, calls that need it return -EINVAL.
 *
 * Link with `pkg-config --cflags --libs --static faultline`.
 *
 * Errors under a mapping arrive as with the kernel's mmap, in the thread that made the access: SIGBUS for an
 * error of the store or an address beyond the end of the file, SIGSEGV for an access that the mapping
 * forbids. fl_options.on_error is called before the signal.
 *
 * All names start with fl_ or FL_. The one exception is `struct store`, which store.h defines for programs
 * that write stores of their own.
 */
#ifndef FAULTLINE_FAULTLINE_H
#define FAULTLINE_FAULTLINE_H

#include <faultline/common.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fl_file; /* an open file: what fl_mmap takes where mmap takes a descriptor */
struct store;   /* store.h */

/* ---- the library as a whole --------------------------------------------------------------------------- */

/*
 * Who serves page faults. FL_FAULT_SIGNAL: the faulting thread itself, in a handler of SIGBUS. It is the
 * fastest, but a system call fails with EFAULT when it is given an absent page, or stores into one that is
 * just being evicted (see fl_pin). FL_FAULT_THREAD: threads of the library, so that system calls just work.
 * It needs the right to handle the kernel's own faults (docs/design.md).
 */
enum fl_fault_engine {
    FL_FAULT_AUTO, /* FL_FAULT_SIGNAL */
    FL_FAULT_SIGNAL,
    FL_FAULT_THREAD,
};

/* An access that failed. */
struct fl_error {
    void *addr;       /* the address, or NULL */
    int error;        /* an errno value, positive */
    const char *what; /* one line: what is wrong */
};

struct fl_options {
    size_t memory_limit_bytes; /* >= FL_MEMORY_MIN; pages of mappings and buffers together */
    enum fl_fault_engine fault;
    /* Optional. Called in the faulting thread, inside a signal handler: only
     * async-signal-safe calls are allowed. */
    void (*on_error)(const struct fl_error *error, void *arg);
    void *on_error_arg;
    /*
     * Where written pages of private mappings go that are not used: a swap file. swap_path: a directory, in
     * which the file gets no name; or the name of a new file, which is removed as soon as it is open. NULL:
     * in $TMPDIR, otherwise in /var/tmp. The file takes space as it is used, swap_max_bytes at most. 0:
     * FL_SWAP_DEFAULT, or none where that cannot be had and no path is given; FL_SWAP_NONE: none, and such
     * pages stay in memory.
     */
    const char *swap_path;
    uint64_t swap_max_bytes;
    /* How many hundredths of the memory limit may hold such pages compressed, before they go to the file;
     * FL_COMPRESS_MAX at most. 0: they all go to the file. */
    unsigned compress_percent;
};
#define FL_MEMORY_MIN   ((size_t)1 << 20)
#define FL_SWAP_NONE    UINT64_MAX
#define FL_SWAP_DEFAULT ((uint64_t)16 << 30)
#define FL_SWAP_MAX     ((uint64_t)8 << 40)
#define FL_COMPRESS_MAX 90

/*
 * Starts the library. Context: once, before any other call; not in two threads at a time. Errors: -EINVAL (an
 * option out of range), -EALREADY, -ENOMEM, -EPERM (no userfaultfd), -ENOSYS (a kernel before Linux 6.7), and
 * what else the kernel says. fl_init_error then says in one line what to change.
 */
FL_NODISCARD FL_EXPORT int fl_init(const struct fl_options *options);
/* What the last failed fl_init met, and the remedy; or why there is no swap file, though fl_init succeeded;
 * "" if all is well. Valid until the next fl_init. */
FL_EXPORT const char *fl_init_error(void);
/* Writes what is dirty, unmaps everything, and frees everything. Context: no other thread is inside
 * the library or touches a mapping. Errors: -EINVAL (not initialised); those of the writes, and all
 * is freed nevertheless. */
FL_NODISCARD FL_EXPORT int fl_shutdown(void);

struct fl_stats {
    uint64_t memory_limit_bytes;
    uint64_t peak_resident_bytes; /* pages and buffers: the highest at any moment, an upper bound */
    uint64_t resident_bytes;      /* now */
    struct fl_vm_stats vm;
};
/* All zero before fl_init. */
FL_EXPORT void fl_stats(struct fl_stats *stats);

/* ---- files and stores --------------------------------------------------------------------------------- */

/* Opens a regular file. flags: O_RDONLY or O_RDWR. Errors: of open(2); -ENODEV: it is no regular file. */
FL_NODISCARD FL_EXPORT int fl_open(const char *path, int flags, struct fl_file **file);
/* The same for a descriptor, which the caller keeps and may close. The mode is the one
 * that fd was opened with. */
FL_NODISCARD FL_EXPORT int fl_open_fd(int fd, struct fl_file **file);
/* Opens a store of the program's own (store.h). mode: FL_FREAD, perhaps with FL_FWRITE. Faultline owns the
 * store from now on, and closes it after the last use. Errors, and the caller still owns it: -EINVAL, -EACCES
 * (to write a store that is read_only), -ENOMEM, those of store_ops.size. */
FL_NODISCARD FL_EXPORT int fl_open_store(struct store *store, unsigned mode, struct fl_file **file);
/* Drops the handle; mappings of the file live on. Errors, and it is dropped nevertheless: of the write-back,
 * when this was the last use of the file. */
FL_NODISCARD FL_EXPORT int fl_close(struct fl_file *file);

/* A store of len_bytes zeros in ordinary memory, which does not count against the limit: for tests and
 * examples. Errors: -EINVAL, -ENOMEM. */
FL_NODISCARD FL_EXPORT int fl_store_memory(size_t len_bytes, struct store **store);
/* The store behind fl_open_fd: direct I/O where the file system has it. Errors: as fl_open_fd. */
FL_NODISCARD FL_EXPORT int fl_store_file(int fd, struct store **store);

/* ---- reading and writing without a mapping ------------------------------------------------------------ */

/*
 * As pread and pwrite: return how many bytes were moved, or a negative errno. They work on the same pages as
 * mappings: what was stored through a mapping is what is read, and what is written shows in mappings at once.
 * flags: FL_IOCB_*. Errors: -EINVAL (lengths that overflow; what is not aligned for FL_IOCB_DIRECT), -EFAULT,
 * -ENOMEM, -EIO and what else the store says; of writes also -EBADF (not opened for writing), -EFBIG,
 * -ENOSPC, -EOPNOTSUPP (the store cannot grow).
 */
FL_NODISCARD FL_EXPORT int64_t fl_pread(struct fl_file *file, void *to, size_t len_bytes, uint64_t offset,
                                        unsigned flags);
FL_NODISCARD FL_EXPORT int64_t fl_pwrite(struct fl_file *file, const void *from, size_t len_bytes,
                                         uint64_t offset, unsigned flags);
/* Makes the file len_bytes long. What mappings show beyond the end is gone. Errors, and nothing changed:
 * -EBADF (not opened for writing), -EFBIG, -EOPNOTSUPP, those of the store. -ENOMEM: the file did become
 * shorter, and mappings may show old bytes behind its end. */
FL_NODISCARD FL_EXPORT int fl_truncate(struct fl_file *file, uint64_t len_bytes);
/* Makes the bytes of [offset, offset + len_bytes) that lie within the file zeros; its length stays. Errors:
 * -EBADF, -EINVAL, -EOPNOTSUPP, those of the store: some of the bytes may be zeros then. */
FL_NODISCARD FL_EXPORT int fl_punch(struct fl_file *file, uint64_t offset, uint64_t len_bytes);
/* Puts on stable storage what was written, also through mappings. flags: 0 or FL_FSYNC_DATA. Each handle is
 * told of a failed write-back once. Errors: -EINVAL, those of the store. */
FL_NODISCARD FL_EXPORT int fl_fsync(struct fl_file *file, unsigned flags);

/* ---- mappings ----------------------------------------------------------------------------------------- */

/*
 * As the system calls of the same names, with their constants (sys/mman.h) and their errors, which are
 * returned and not left in errno. docs/design.md lists the differences. Addresses are page-aligned; ranges
 * are [addr, addr + len_bytes).
 */

/*
 * *addr: the hint or the fixed place; on success the place that was chosen. flags: MAP_SHARED or MAP_PRIVATE,
 * MAP_FIXED, MAP_POPULATE … MAP_ANONYMOUS, with file NULL: memory without a file, of zeros at first. It
 * counts against the limit, and what does not fit goes to swap (fl_options); without room there, the access
 * that needs more fails.
 */
FL_NODISCARD FL_EXPORT int fl_mmap(void **addr, size_t len_bytes, int prot, int flags, struct fl_file *file,
                                   uint64_t offset);
FL_NODISCARD FL_EXPORT int fl_munmap(void *addr, size_t len_bytes);
FL_NODISCARD FL_EXPORT int fl_mprotect(void *addr, size_t len_bytes, int prot);
/* *addr: the old place; on success the new one. MREMAP_FIXED is -EINVAL. */
FL_NODISCARD FL_EXPORT int fl_mremap(void **addr, size_t old_len_bytes, size_t new_len_bytes, int flags);
FL_NODISCARD FL_EXPORT int fl_msync(void *addr, size_t len_bytes, int flags);
FL_NODISCARD FL_EXPORT int fl_madvise(void *addr, size_t len_bytes, int advice);
/* vec: one byte for each page; bit 0 is set when the page is resident. */
FL_NODISCARD FL_EXPORT int fl_mincore(void *addr, size_t len_bytes, unsigned char *vec);
FL_NODISCARD FL_EXPORT int fl_mlock(void *addr, size_t len_bytes);
FL_NODISCARD FL_EXPORT int fl_munlock(void *addr, size_t len_bytes);

/*
 * *copy: a snapshot of [addr, addr + len_bytes): for ever what the range shows now, at another address. It
 * can be read, and written to a file, while the program stores into the range on; fl_munmap ends it. The call
 * is cheap and copies nothing: each page is copied before its original changes for the first time, by a
 * store, by fl_pwrite, fl_truncate or fl_punch. The copies count against the limit, and go to swap. When
 * there is no memory for one, the store that needs it fails, or the call does with -ENOMEM. Pinned pages are
 * copied at once.
 *
 * What other threads store during the call is in the snapshot or not, page by page: a program that needs one
 * moment lets its writers wait for the call. Changes that other processes make to a file are not noticed, and
 * may show. Errors: -EINVAL; -ENOMEM, a part is not mapped, or no memory; -EACCES, a part cannot be read.
 */
FL_NODISCARD FL_EXPORT int fl_snapshot(void *addr, size_t len_bytes, void **copy);

/*
 * Starts to read the absent pages of all nranges ranges together, in whatever order they will be touched, so
 * that one thread keeps the whole device busy. Returns without waiting for the reads. It is advice: where no
 * file is mapped, and where memory has no room, nothing is read. Errors: -EINVAL. (process_madvise with
 * MADV_WILLNEED, Linux.)
 */
FL_NODISCARD FL_EXPORT int fl_prefetch(const struct fl_iovec *range, uint32_t nranges);

/*
 * Makes [addr, addr + len_bytes), at most FL_HOLD_MAX pages, usable for a system call until fl_unpin. access:
 * PROT_READ, or PROT_WRITE if the system call writes there. Not needed with FL_FAULT_THREAD. A pin stops no
 * other thread: what is unmapped, cut off or discarded meanwhile is gone, and so is an unwritten page of a
 * private mapping when the file's page is written; the system call says EFAULT then. Errors: -EINVAL,
 * -EFAULT, -EACCES, -ENXIO, -EIO, -ENOMEM; -EAGAIN: pin fewer pages at a time.
 */
FL_NODISCARD FL_EXPORT int fl_pin(void *addr, size_t len_bytes, int access, struct fl_hold *pin);
FL_EXPORT void fl_unpin(struct fl_hold *pin);

#ifdef __cplusplus
}
#endif

#endif
