/*
 * types.h: the types that the core, its ports and its kernels share: addresses, page indices, protections.
 * The names are the field's own and short; programs include faultline.h, which does without them.
 */
#ifndef FAULTLINE_TYPES_H
#define FAULTLINE_TYPES_H

#include <faultline/common.h>

/* Defined for the files of core/ only, by a kernel that has names like the core's: core/core_names.h. */
#ifdef FAULTLINE_PREFIX
#include "core_names.h"
#endif

#define VM_PAGE_SHIFT FL_PAGE_SHIFT
#define VM_PAGE_SIZE  FL_PAGE_SIZE
#define VM_PAGE_MASK  (VM_PAGE_SIZE - 1)

/* A byte count or an address, rounded to a page. round_page wraps to 0 within a page of 2^64: check first. */
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
