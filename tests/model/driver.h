/*
 * driver.h: the interface of all that is compared: the naive model, the core on a machine, the real kernel.
 *
 *      op ──▶ driver A (the reference)   ┐
 *         ──▶ driver B (the subject)     ┴─▶ oracle.c: same result, same errno, same bytes, same map
 *
 * Addresses are relative to the driver's window, which is empty at first: page 0 of
 * the window has address 0. DRIVER_ANY as an address means NULL. Results are 0 or a
 * negative errno; results that are addresses are relative again. Where the driver
 * chooses the address, it chooses the highest gap of the window that is long enough.
 *
 * A driver may have several address spaces (DRIVER_HAS_FORK). All calls are made in one of them, which
 * driver_enter chooses; space 0 is there at first, and the others come from driver_fork.
 */
#ifndef TESTS_MODEL_DRIVER_H
#define TESTS_MODEL_DRIVER_H

#include <faultline/vm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIVER_PAGE         ((uint64_t)4096)
#define DRIVER_WINDOW_PAGES 768
#define DRIVER_WINDOW_BYTES (DRIVER_WINDOW_PAGES * DRIVER_PAGE)
#define DRIVER_ANY          UINT64_MAX
#define DRIVER_FILES        3  /* files … */
#define DRIVER_HANDLES      5  /* … and the open files over them: driver_handles */
#define DRIVER_FILE_PAGES   96 /* no file grows longer */

/* Where brk's heap lies in the window. */
#define DRIVER_BRK_START (16 * DRIVER_PAGE)
#define DRIVER_BRK_LIMIT (48 * DRIVER_PAGE)

struct driver_handle {
    int file;
    bool read, write;
};
extern const struct driver_handle driver_handles[DRIVER_HANDLES];

/* A maximal stretch of the map with equal attributes. */
struct driver_region {
    uint64_t start, end;
    int prot;
    bool shared;
    int file;        /* or -1 */
    uint64_t offset; /* in the file */
    enum fl_inherit inherit;
};

/* System calls that are in progress at once, and how much memory one of them uses at most. */
#define DRIVER_HOLDS      3
#define DRIVER_HOLD_BYTES (6 * DRIVER_PAGE)
struct driver_hold {
    uint64_t addr, len;
    int access; /* VM_PROT_READ or _WRITE */
};

#define DRIVER_SPACES 5

#define DRIVER_VEC_UNKNOWN 2 /* mincore's answer of the model where both are right */

#define DRIVER_HAS_BRK       0x1
#define DRIVER_HAS_GROWSDOWN 0x2
#define DRIVER_HAS_DIRECT    0x8  /* FL_IOCB_DIRECT */
#define DRIVER_HAS_DSYNC     0x20 /* FL_IOCB_APPEND, FL_IOCB_DSYNC */
#define DRIVER_HAS_REMOVE    0x40 /* MADV_REMOVE */
#define DRIVER_HAS_PUNCH     0x80 /* a call that punches a hole, and does all of it or nothing */
#define DRIVER_HAS_LIMIT     0x10 /* a file that would grow beyond DRIVER_FILE_PAGES: -ENOSPC */

#define DRIVER_HAS_HOLD 0x100 /* the calls about holds */
#define DRIVER_HAS_SWAP 0x200 /* private pages that were written may be absent */
#define DRIVER_HAS_FORK 0x400 /* several address spaces */

struct driver;
struct fl_iovec;
typedef int64_t driver_mmap_fn(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                               uint64_t off);
typedef int64_t driver_mremap_fn(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                                 uint64_t new_addr);
typedef int64_t driver_rw_fn(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                             uint64_t off, unsigned flags);

struct driver {
    const char *name;
    unsigned has;
    uint64_t address_space_end; /* relative: the first address that user memory cannot have */
    unsigned space;             /* the one that calls are made in: driver_enter */
    bool lives[DRIVER_SPACES];  /* the spaces that there are */
    driver_mmap_fn *mmap;
    int (*munmap)(struct driver *d, uint64_t addr, uint64_t len);
    int (*mprotect)(struct driver *d, uint64_t addr, uint64_t len, int prot);
    driver_mremap_fn *mremap;
    int (*msync)(struct driver *d, uint64_t addr, uint64_t len, int flags);
    int (*madvise)(struct driver *d, uint64_t addr, uint64_t len, int advice);
    int (*mincore)(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec);
    int (*mlock)(struct driver *d, uint64_t addr, uint64_t len);
    int (*munlock)(struct driver *d, uint64_t addr, uint64_t len);
    uint64_t (*brk)(struct driver *d, uint64_t addr);
    /*
     * Within one page. Errors as fl_fault: -EFAULT nothing there, -EACCES
     * forbidden, -ENXIO beyond the file, -EIO, -ENOMEM.
     */
    int (*load)(struct driver *d, uint64_t addr, void *bytes, size_t len);
    int (*store)(struct driver *d, uint64_t addr, const void *bytes, size_t len);
    /* The file's length changes behind the VM's back, and the VM is told. New bytes are zero. */
    int (*set_size)(struct driver *d, int file, uint64_t len);
    /* The addresses of [start, end) will be needed, and those of [start2, end2). */
    int (*prefetch)(struct driver *d, uint64_t addr, uint64_t len, uint64_t addr2, uint64_t len2);
    /*
     * System call number `slot` begins, and its predecessor ends. It uses [addr, addr + len), at most
     * DRIVER_HOLD_BYTES: fl_hold. It stays in progress until the next call of that number. Errors as load.
     */
    int (*hold)(struct driver *d, int slot, uint64_t addr, uint64_t len, int access);
    void (*unhold)(struct driver *d, int slot);
    /*
     * The call accesses bytes within one page of its range, without a fault:
     * -EFAULT when they are not mapped.
     */
    int (*held_load)(struct driver *d, int slot, uint64_t addr, void *bytes, size_t len);
    int (*held_store)(struct driver *d, int slot, uint64_t addr, const void *bytes, size_t len);
    /* False: no such call is in progress. */
    bool (*held)(struct driver *d, int slot, struct driver_hold *hold);
    /* preadv and pwritev of a handle, which may not be open for that; flags: FL_IOCB_*. */
    driver_rw_fn *read, *write;
    int (*truncate)(struct driver *d, int handle, uint64_t len);
    int (*punch)(struct driver *d, int handle, uint64_t off, uint64_t len);
    int (*fsync)(struct driver *d, int handle, unsigned flags); /* FL_FSYNC_* */
    /* FL_SYNC_FILE_RANGE_* */
    int (*sync_range)(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags);
    int (*fadvise)(struct driver *d, int handle, uint64_t off, uint64_t len, int advice); /* FL_FADV_* */
    /* The bytes of the file and its length, as other processes see them. */
    int (*file_read)(struct driver *d, int file, uint64_t off, void *bytes, size_t len);
    uint64_t (*file_size)(struct driver *d, int file);
    /* The first region that ends after addr, merged with its equal neighbours. False: there is none. */
    bool (*region)(struct driver *d, uint64_t addr, struct driver_region *region);
    /*
     * DRIVER_HAS_FORK; called by driver_fork and its neighbours alone. fork: space `to`, which does not live,
     * becomes a copy of the present one. Calls in progress (hold) go on in the space that made them.
     */
    int (*fork)(struct driver *d, unsigned to);
    void (*enter)(struct driver *d, unsigned space);
    void (*exit)(struct driver *d, unsigned space); /* not the present one */
    /* Panics when a check of the driver's structures fails. */
    void (*check)(struct driver *d);
    void (*destroy)(struct driver *d);
};

/*
 * Forks the present space, goes to another one, ends one; the last one cannot end, and after the present one
 * the first of those that live is the present one. Errors: -EEXIST, `to` lives; -ESRCH, it does not; of fork.
 */
int driver_fork(struct driver *d, unsigned to);
int driver_enter(struct driver *d, unsigned space);
int driver_exit(struct driver *d, unsigned space);
/* Whether b continues a, so that the two are one region. */
bool driver_region_joins(const struct driver_region *a, const struct driver_region *b);
/* Whether the descriptor's mode allows the call, as a kernel checks it: 0, or -EBADF. */
int driver_may_read(int handle);
int driver_may_write(int handle);
/* The highest address of a gap of len bytes in the window, or DRIVER_ANY. Walks driver->region. */
uint64_t driver_find_gap(struct driver *d, uint64_t len);
/* Whether [addr, addr + len) lies in the window and is free. */
bool driver_is_free(struct driver *d, uint64_t addr, uint64_t len);
/*
 * mmap and mremap for a driver whose address space is larger than its window: where the driver would choose
 * the address, it is chosen here, and `raw`, the driver's own call, is asked for that place.
 */
int64_t driver_mmap_placed(struct driver *d, driver_mmap_fn *raw, uint64_t addr, uint64_t len, int prot,
                           int flags, int handle, uint64_t off);
int64_t driver_mremap_placed(struct driver *d, driver_mremap_fn *raw, uint64_t addr, uint64_t len,
                             uint64_t new_len, int flags, uint64_t new_addr);
/* The files' first contents: byte `off` of file `file`, and their lengths. */
uint8_t driver_file_byte(int file, uint64_t off);
uint64_t driver_file_size(int file);

struct driver *model_driver_create(void);
struct driver *native_driver_create(void);
/* The same in processes of its own, which can fork. */
struct driver *native_forks_driver_create(void);

#endif
