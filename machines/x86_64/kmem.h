/*
 * kmem.h: the kernel's heap: small pieces cut from frames of the VM, and runs of frames.
 *
 *   kmalloc(100) ─▶ bucket of 128 bytes ─▶ a frame of the VM (fl_frames_alloc), cut into pieces
 *   kmalloc(9000) ─▶ 4 neighbouring frames
 *
 * Everything comes out of the page budget, so what the kernel keeps is memory that programs do not have.
 * Context: any thread, also under the core's locks except where the VM's own memory is being taken; never an
 * interrupt. Nothing here sleeps. (malloc(9), FreeBSD 2.1.)
 */
#ifndef MACHINES_X86_64_KMEM_H
#define MACHINES_X86_64_KMEM_H

#include <faultline/common.h>

/* Returns len_bytes of zeros, aligned to 16 bytes; NULL: no memory. len_bytes <= 2 MiB. */
FL_NODISCARD void *kmalloc(size_t len_bytes);
/* NULL is allowed. */
void kfree(void *memory);

/* For tests: every nth allocation that a program's thread causes fails, as if there were no memory; 0:
 * none. */
void kmem_fail_every(uint32_t n);
/* Is it the nth? Asked where frames become the kernel's. */
FL_NODISCARD bool kmem_fails(void);

#endif
