/*
 * faultline.h: what a Linux program includes: memory mappings over files or stores of its own, under a
 * hard limit of memory.
 *
 *     fl_init ─▶ fl_open ─▶ fl_mmap ─▶ plain loads and stores ─▶ fl_munmap ─▶ fl_close ─▶ fl_shutdown
 *
 * Every function returns 0 or a negative errno value unless it says otherwise. All are safe to call from
 * any thread after fl_init; none from a signal handler.
 * Link with `pkg-config --cflags --libs --static faultline`.
 *
 * Errors under a mapping arrive as SIGBUS (a store's error, a place beyond the end of the file) or
 * SIGSEGV (a forbidden access) in the thread that made the access, as with the
 * kernel's mmap; fl_options.on_error hears of them first.
 */
#ifndef FAULTLINE_FAULTLINE_H
#define FAULTLINE_FAULTLINE_H

#include <faultline/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

enum fl_fault_engine {
    FL_FAULT_AUTO, /* signal */
    FL_FAULT_SIGNAL, /* in the faulting thread, by SIGBUS. Fastest. A system call given an absent page says EFAULT: see fl_pin */
    FL_FAULT_THREAD, /* by handler threads; system calls just work. Needs the right to handle kernel faults (docs/design.md) */
};

struct fl_error {
    void *addr;       /* the access, or NULL */
    int error;        /* errno value, positive */
    const char *what; /* one line */
};

struct fl_options {
    size_t memory_limit_bytes; /* at least FL_MEMORY_MIN; pages of mappings and buffers together */
    enum fl_fault_engine fault;
    void (*on_error)(
        const struct fl_error *error,
        void *
            arg); /* may be NULL; called in the faulting thread, in a signal handler: keep to async-signal-safe calls */
    void *on_error_arg;
};
#define FL_MEMORY_MIN ((size_t)1 << 20)

/*
 * Errors: -EINVAL (a limit below FL_MEMORY_MIN), -EALREADY, -ENOMEM, -EPERM (no userfaultfd), -ENOSYS (a
 * kernel before 6.4).
 * fl_init_error then says in one line what to change.
 */
FL_NODISCARD FL_EXPORT int fl_init(const struct fl_options *options);
FL_EXPORT const char *fl_init_error(void);
/* Unmaps everything, writes what is dirty, and frees everything. Errors: of those writes. */
FL_NODISCARD FL_EXPORT int fl_shutdown(void);

/* ---- files and stores --------------------------------------------------------------------------------- */

/* Opens a file: `flags` is O_RDONLY or O_RDWR. Errors: of open(2), -ENODEV for what is no regular file. */
FL_NODISCARD FL_EXPORT int fl_open(const char *path, int flags, struct fl_file **file);
/* The same for an open descriptor, which stays the caller's. The file's own open mode counts. */
FL_NODISCARD FL_EXPORT int fl_open_fd(int fd, struct fl_file **file);
/* A store of the program's own (store.h). mode: FL_FREAD | FL_FWRITE. The store is Faultline's from now
 * on. */
FL_NODISCARD FL_EXPORT int fl_open_store(struct store *store, unsigned mode, struct fl_file **file);
/* Drops the handle; mappings live on. Errors: of write-back, when it was the last user. */
FL_NODISCARD FL_EXPORT int fl_close(struct fl_file *file);

/* A store of len_bytes of zeros in ordinary memory (not counted against the limit): for tests and
 * examples. */
FL_NODISCARD FL_EXPORT int fl_store_memory(size_t len_bytes, struct store **store);
/* The store behind fl_open: direct I/O where the file system has it. fd stays the caller's. */
FL_NODISCARD FL_EXPORT int fl_store_file(int fd, struct store **store);

/* ---- reading and writing without a mapping; one truth with all mappings of the file (vm.h) -------------- */

/* As pread and pwrite: how many bytes, or a negative errno. flags: FL_IOCB_*. Errors: fl_vnode_read, _write. */
FL_NODISCARD FL_EXPORT int64_t fl_pread(struct fl_file *file, void *to, size_t len_bytes, uint64_t offset,
                                        unsigned flags);
FL_NODISCARD FL_EXPORT int64_t fl_pwrite(struct fl_file *file, const void *from, size_t len_bytes,
                                         uint64_t offset, unsigned flags);
/* Errors: fl_vnode_truncate, fl_vnode_punch; -EBADF: not opened for writing. */
FL_NODISCARD FL_EXPORT int fl_truncate(struct fl_file *file, uint64_t len_bytes);
FL_NODISCARD FL_EXPORT int fl_punch(struct fl_file *file, uint64_t offset, uint64_t len_bytes);
/* What was written, also through mappings, is on stable storage. Each failed write-back is told once to each file
 * handle. Errors: fl_vnode_fsync. */
FL_NODISCARD FL_EXPORT int fl_fsync(struct fl_file *file, unsigned flags);

/* ---- mappings: as the system calls of the same names, but for the way they return --------------------- */

/* *addr: in, the hint or fixed place; out, where it is. flags: MAP_SHARED or MAP_PRIVATE, MAP_FIXED,
 * MAP_POPULATE … */
FL_NODISCARD FL_EXPORT int fl_mmap(void **addr, size_t len_bytes, int prot, int flags, struct fl_file *file,
                                   uint64_t offset);
FL_NODISCARD FL_EXPORT int fl_munmap(void *addr, size_t len_bytes);
FL_NODISCARD FL_EXPORT int fl_mprotect(void *addr, size_t len_bytes, int prot);
FL_NODISCARD FL_EXPORT int fl_mremap(void **addr, size_t old_len_bytes, size_t new_len_bytes, int flags);
FL_NODISCARD FL_EXPORT int fl_msync(void *addr, size_t len_bytes, int flags);
FL_NODISCARD FL_EXPORT int fl_madvise(void *addr, size_t len_bytes, int advice);
FL_NODISCARD FL_EXPORT int fl_mincore(void *addr, size_t len_bytes, unsigned char *vec);
FL_NODISCARD FL_EXPORT int fl_mlock(void *addr, size_t len_bytes);
FL_NODISCARD FL_EXPORT int fl_munlock(void *addr, size_t len_bytes);

/*
 * Says what will be touched next, in whatever order: all of it that is absent starts to be read, together, so that one
 * thread keeps the whole device busy. Errors: fl_sys_prefetch.
 */
FL_NODISCARD FL_EXPORT int fl_prefetch(const struct fl_iovec *range, uint32_t nranges);

/*
 * Makes [addr, addr + len_bytes) usable for a system call until fl_unpin: access is PROT_READ or PROT_WRITE
 * (the call writes there). At most FL_HOLD_MAX pages. Not needed with FL_FAULT_THREAD. A pin stops nobody:
 * what is unmapped, cut off or thrown away meanwhile is gone, and so is an unwritten page of a private
 * mapping when the file's is written; the call says EFAULT then. Errors: -EFAULT, -EACCES, -ENXIO, -EIO,
 * -ENOMEM; -EAGAIN: pin less at a time.
 */
FL_NODISCARD FL_EXPORT int fl_pin(void *addr, size_t len_bytes, int access, struct fl_hold *pin);
FL_EXPORT void fl_unpin(struct fl_hold *pin);

struct fl_stats {
    uint64_t memory_limit_bytes;
    uint64_t peak_resident_bytes; /* pages and buffers, the highest at any moment */
    uint64_t resident_bytes;
    struct fl_vm_stats vm;
};
FL_EXPORT void fl_stats(struct fl_stats *stats);

/* The address space behind it all, for those who need vm.h's finer calls (the shim of `faultline run`). */
FL_NODISCARD FL_EXPORT struct vm_map *fl_space(void);

#ifdef __cplusplus
}
#endif

#endif
