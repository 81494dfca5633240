/*
 * kmem.c: the kernel's heap; kmem.h says what it gives.
 *
 *   bucket of 64 bytes ─▶ free pieces ─▶ …         a frame that a bucket has cut stays the bucket's
 *
 *   a frame's owner word (fl_frames_owner) says what it is: a bucket's size, or the order of a run
 *
 * Frames that were cut are not given back: what the kernel needed once it needs again, and the pieces of the
 * largest bucket are half a frame. Large pieces are runs of frames, which are.
 *
 * Lock: kmem_lock, a spin lock; the core's lock of free frames is taken before it, never under it.
 */
#include "kmem.h"

#include <faultline/vm.h>

#include "kernel.h"
#include "thread.h"

#define BUCKETS      8 /* 16, 32 … 2048 bytes */
#define BUCKET_MIN   4 /* log2 of the smallest */
#define OWNER_BUCKET 0x100

struct piece {
    struct piece *next;
};

static struct spinlock kmem_lock;
static struct piece *bucket_free[BUCKETS]; /* (kmem_lock) */
static uint32_t fail_every;                /* (c) after boot */
static uint32_t asked;                     /* atomic */

/* log2 of the least power of two that holds len_bytes. */
static unsigned ceil_log2(size_t len_bytes)
{
    return len_bytes <= 1 ? 0 : 64 - (unsigned)__builtin_clzl(len_bytes - 1);
}

static void zero(void *memory, size_t len_bytes)
{
    uint64_t *word = memory;

    for (size_t i = 0; i < len_bytes / sizeof(*word); i++)
        word[i] = 0;
}

static void *kmalloc_frames(unsigned order)
{
    vm_frame_t frame;

    if (fl_frames_alloc(order, &frame) != 0)
        return NULL;
    *fl_frames_owner(frame) = (void *)(uintptr_t)order;
    for (uint32_t i = 0; i < 1u << order; i++)
        pagezero(frame_to_virt(frame + i));
    return frame_to_virt(frame);
}

/* Cuts a frame into the bucket's pieces. */
static bool bucket_fill(unsigned bucket)
{
    const size_t len_bytes = (size_t)1 << (bucket + BUCKET_MIN);
    vm_frame_t frame;

    if (fl_frames_alloc(0, &frame) != 0)
        return false;
    *fl_frames_owner(frame) = (void *)(uintptr_t)(OWNER_BUCKET + bucket);
    char *bytes = frame_to_virt(frame);
    uint64_t flags = spin_lock(&kmem_lock);
    for (size_t at = 0; at < VM_PAGE_SIZE; at += len_bytes) {
        struct piece *piece = (void *)(bytes + at);

        piece->next = bucket_free[bucket];
        bucket_free[bucket] = piece;
    }
    spin_unlock(&kmem_lock, flags);
    return true;
}

void kmem_fail_every(uint32_t n)
{
    fail_every = n;
}

bool kmem_fails(void)
{
    return fail_every != 0 && curthread()->td_fpu != NULL &&
           __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED) % fail_every == 0;
}

void *kmalloc(size_t len_bytes)
{
    unsigned log2 = ceil_log2(len_bytes);

    if (kmem_fails())
        return NULL;
    if (log2 < BUCKET_MIN)
        log2 = BUCKET_MIN;
    if (log2 >= BUCKET_MIN + BUCKETS)
        return log2 > VM_PAGE_SHIFT + 9 ? NULL
                                        : kmalloc_frames(log2 < VM_PAGE_SHIFT ? 0 : log2 - VM_PAGE_SHIFT);
    const unsigned bucket = log2 - BUCKET_MIN;
    for (;;) { /* a piece that was cut may be another CPU's by now */
        uint64_t flags = spin_lock(&kmem_lock);
        struct piece *piece = bucket_free[bucket];

        if (piece != NULL)
            bucket_free[bucket] = piece->next;
        spin_unlock(&kmem_lock, flags);
        if (piece != NULL) {
            zero(piece, (size_t)1 << log2);
            return piece;
        }
        if (!bucket_fill(bucket))
            return NULL;
    }
}

void kfree(void *memory)
{
    if (memory == NULL)
        return;
    const vm_frame_t frame = virt_to_frame(memory);
    const uintptr_t owner = (uintptr_t)*fl_frames_owner(frame);
    if (owner < OWNER_BUCKET) {
        fl_frames_free(frame, (uint32_t)owner);
        return;
    }
    struct piece *piece = memory;
    const unsigned bucket = (unsigned)(owner - OWNER_BUCKET);
    uint64_t flags = spin_lock(&kmem_lock);
    piece->next = bucket_free[bucket];
    bucket_free[bucket] = piece;
    spin_unlock(&kmem_lock, flags);
}
