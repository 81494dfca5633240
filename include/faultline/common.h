/*
 * common.h: what a program (faultline.h, store.h) and a kernel (vm.h) both see: attributes, the page,
 * and the structures that they pass to Faultline. All names start with fl_ or FL_, so that a program
 * may use every other one.
 *
 *     faultline.h ─┐
 *     store.h ─────┼─▶ common.h        programs: no other name of Faultline's comes with these
 *     types.h ─────┘
 *     machine.h, vm.h ─▶ types.h       kernels and ports: the field's short names too (vm_offset_t, atop …)
 *
 * Freestanding: nothing here needs a C library. Every range is half-open, [start, end). Every
 * function that can fail returns 0 or a negative errno value (Linux's numbers) unless it says
 * otherwise, and is FL_NODISCARD.
 */
#ifndef FAULTLINE_COMMON_H
#define FAULTLINE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FL_NODISCARD __attribute__((warn_unused_result))
#define FL_EXPORT    __attribute__((visibility("default")))

#define FL_PAGE_SHIFT 12
#define FL_PAGE_SIZE  ((uint64_t)1 << FL_PAGE_SHIFT) /* bytes */

/* How a file is opened. */
#define FL_FREAD   0x1
#define FL_FWRITE  0x2
#define FL_FNOEXEC 0x4 /* on a mount that forbids execution */

/* A piece of the caller's memory. Laid out as the system calls' struct iovec. */
struct fl_iovec {
    void *base;
    size_t len_bytes;
};

/* How a read or a write is made. */
#define FL_IOCB_APPEND 0x1 /* a write: at the file's end, wherever the offset is */
#define FL_IOCB_DIRECT 0x2 /* past the cache: offset and length are multiples of the store's block */
#define FL_IOCB_DSYNC  0x4 /* a write: on stable storage before it returns */

/* How a file is synchronised. fdatasync: as much as is needed to read the bytes again.
 * All that stores know. */
#define FL_FSYNC_DATA 0x1

/* Pages that a system call of the host is going to touch. They are resident and mapped, with the rights that
 * `access` needs, until they are released. The fields are the core's. */
#define FL_HOLD_MAX 256
struct fl_hold {
    uint32_t npages;
    uint8_t access;
    void *page[FL_HOLD_MAX];
};

/* What the VM counts. Pages, unless a name says bytes. "Now" means at the moment of the
 * call; the others only grow. */
struct fl_vm_stats {
    uint64_t nframes; /* now: the budget, and how much of it is … */
    uint64_t free;
    uint64_t wired;
    uint64_t active;
    uint64_t inactive;
    uint64_t taken;     /* by the host, for memory of its own */
    uint64_t peak_used; /* the highest value of nframes - free */

    uint64_t faults;       /* page faults, also those taken ahead of a system call (fl_hold) or for mlock */
    uint64_t faults_minor; /* of those, ended without a page-in */
    uint64_t faults_cow;   /* of those, copied a page */
    uint64_t faults_zero;  /* of those, filled a page with zeros */

    uint64_t page_ins; /* pages read from stores */
    uint64_t page_in_bytes;
    uint64_t readahead;   /* of page_ins, asked for before anyone needed them */
    uint64_t evictions;   /* pages freed by the page daemon */
    uint64_t write_backs; /* pages written to stores */
    uint64_t dirty;       /* now: dirty pages of files */
    uint64_t requests;    /* transfers handed to stores */
    uint64_t merges;      /* transfers that went along in another's request */
    uint64_t io_errors;   /* transfers that failed */

    uint64_t reactivations; /* pages that came back from the inactive queue */
    uint64_t mappings;      /* now: map entries */
    uint64_t mappings_peak;
    uint64_t swap_pages; /* now: pages of swap space, and how many of them are free */
    uint64_t swap_free;
    uint64_t committed;       /* now: pages that are promised to programs, and … */
    uint64_t committed_limit; /* how many memory and swap can hold; enforced if the overcommit is strict */
    int64_t swap_error;       /* of the last write to swap space that failed: a negative errno; 0: none has */
    uint64_t meta_used_bytes; /* now: metadata memory in use, and of it … */
    uint64_t meta_page_bytes; /* page descriptors, radix nodes, reservations: what grows with the budget */
};

#endif
