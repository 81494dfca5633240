/*
 * types.h: the words that every other header speaks in: addresses, page indices, protections, errors.
 *
 * Freestanding: nothing here needs a C library. Every range in Faultline is half-open, [start, end).
 * Every function that can fail returns 0 or a negative errno value (Linux's numbers) and is FL_NODISCARD.
 */
#ifndef FAULTLINE_TYPES_H
#define FAULTLINE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Defined for the files of core/ only, by a kernel that has names like the core's: core/core_names.h. */
#ifdef FAULTLINE_PREFIX
#include "core_names.h"
#endif

#define FL_NODISCARD __attribute__((warn_unused_result))
#define FL_EXPORT    __attribute__((visibility("default")))

#define VM_PAGE_SHIFT 12
#define VM_PAGE_SIZE  ((uint64_t)1 << VM_PAGE_SHIFT)
#define VM_PAGE_MASK  (VM_PAGE_SIZE - 1)

/* Rounds a byte count or address to a page boundary. round_page wraps to 0 within a page of 2^64: check
 * first. */
#define trunc_page(x) ((x) & ~VM_PAGE_MASK)
#define round_page(x) (((x) + VM_PAGE_MASK) & ~VM_PAGE_MASK)
#define atop(x)       ((uint64_t)(x) >> VM_PAGE_SHIFT) /* address to page */
#define ptoa(x)       ((uint64_t)(x) << VM_PAGE_SHIFT) /* page to address */

typedef uint64_t vm_offset_t;  /* a virtual address, or a length in bytes of address space */
typedef uint64_t vm_ooffset_t; /* a byte offset in a file or object */
typedef uint64_t vm_pindex_t;  /* a page's index in an object */
typedef uint32_t vm_frame_t;   /* a physical page's number, 0 <= frame < nframes of the VM */
typedef uint8_t vm_prot_t;

/* Protections. The values are PROT_READ, PROT_WRITE and PROT_EXEC of the Linux ABI. */
#define VM_PROT_NONE    ((vm_prot_t)0x0)
#define VM_PROT_READ    ((vm_prot_t)0x1)
#define VM_PROT_WRITE   ((vm_prot_t)0x2)
#define VM_PROT_EXECUTE ((vm_prot_t)0x4)
#define VM_PROT_ALL     ((vm_prot_t)0x7)

#endif
