/*
 * hold.c: managed memory that stays resident while the kernel works on it for the program.
 *
 *      [va, va + len)  ──▶  |chunk| then |chunk| …   chunk: FL_HOLD_MAX pages, an eighth of the limit at most
 *      list ─▶ hold ─▶ hold        what one system call holds               hold_spare ─▶ hold ─▶ hold
 *
 * With the signal engine no fault inside the kernel is served: a call that is given an absent
 * page fails with EFAULT. So its pages are made resident, and held until the call returns. A
 * chunk is an eighth of the limit, because held pages cannot be evicted and several threads
 * hold at once. Transfers that can be made in turns ask hold_turn_bytes, which gives less the
 * more is held already; when memory is short nevertheless, a hold waits a little, then shrinks.
 *
 * A hold does not stop other threads (docs/locking.md): they may unmap the held memory, map
 * something else there, truncate the file and extend it again, or fork, which hands a mapping to
 * the kernel. The kernel's call then fails with EFAULT, though under the kernel alone it would have
 * found memory at each moment. So the memory is held anew and the call is made again (hold_again),
 * if it has moved nothing and loses nothing: files, pipes, streams, and everything that is sent.
 *
 * A struct fl_hold is 2 KiB, and a signal handler may run on a small stack, so holds come from a pool.
 *
 * Lock: (G) the pool's, innermost, taken with all signals blocked.
 */
#include "hold.h"
#include "file_errors.h"
#include "gate.h"
#include "window.h"
#include <string.h>
#include <time.h>

struct hold {
    struct hold *next;
    size_t len; /* in bytes */
    struct fl_hold pages;
};

#define HOLD_SLAB_BYTES ((size_t)64 << 10)
#define HOLD_TRIES      200 /* a millisecond each: for other threads' calls to end */
#define HOLD_AGAIN      100 /* times in a row that other threads may take away the memory of one call */

static _Atomic size_t hold_total_bytes; /* held now */

static struct shim_mutex hold_lock = {PTHREAD_MUTEX_INITIALIZER}; /* (G) */
static struct hold *hold_spare FL_GUARDED_BY(hold_lock);

static struct hold *hold_alloc(void)
{
    struct hold *hold = NULL;

    shim_mutex_lock(&hold_lock);
    if (hold_spare == NULL) {
        long slab = shim_memory(HOLD_SLAB_BYTES);

        for (size_t i = 0; slab > 0 && i < HOLD_SLAB_BYTES / sizeof *hold; i++) {
            struct hold *fresh = (struct hold *)slab + i;

            fresh->next = hold_spare;
            hold_spare = fresh;
        }
    }
    if (hold_spare != NULL) {
        hold = hold_spare;
        hold_spare = hold->next;
    }
    shim_mutex_unlock(&hold_lock);
    return hold;
}

static void hold_free(struct hold *hold)
{
    shim_mutex_lock(&hold_lock);
    hold->next = hold_spare;
    hold_spare = hold;
    shim_mutex_unlock(&hold_lock);
}

size_t hold_chunk_bytes(void)
{
    size_t bytes = trunc_page(shim_config.memory_limit_bytes / 8);

    if (bytes > FL_HOLD_MAX * VM_PAGE_SIZE)
        return FL_HOLD_MAX * VM_PAGE_SIZE;
    return bytes > VM_PAGE_SIZE ? bytes : VM_PAGE_SIZE;
}

size_t hold_turn_bytes(void)
{
    size_t half = shim_config.memory_limit_bytes / 2;
    size_t held = hold_total_bytes;
    size_t bytes = held < half ? trunc_page((half - held) / 4) : 0;

    if (bytes > hold_chunk_bytes())
        return hold_chunk_bytes();
    return bytes > VM_PAGE_SIZE ? bytes : VM_PAGE_SIZE;
}

static void hold_wait(void)
{
    const struct timespec moment = {0, 1000000};

    linux_syscall(SYS_nanosleep, &moment, NULL);
}

/*
 * Holds the longest beginning of [va, va + *len) that
 * fl_hold accepts. Errors, for the first page: of fl_hold.
 */
static int hold_beginning(vm_offset_t va, size_t *len, vm_prot_t access, struct fl_hold *pages)
{
    size_t lead = va & VM_PAGE_MASK;
    size_t n = *len < hold_chunk_bytes() - lead ? *len : hold_chunk_bytes() - lead;
    int tries = HOLD_TRIES;
    bool asked = false;

    for (;;) {
        size_t npages = atop(round_page(lead + n));
        int error = fl_hold(fl_space(), va, n, access, pages);

        if (error == 0) {
            *len = n;
            return 0;
        }
        if (error == -ENOMEM && tries-- > 0)
            hold_wait();
        else if (npages > 1)
            n = ptoa(npages / 2) - lead;
        else if (error == -ENXIO && !asked && file_grew(va))
            asked = true;
        else
            return error;
    }
}

bool hold_again(vm_offset_t va, unsigned *tries)
{
    if (gate_waited(va))
        return true;
    linux_syscall(SYS_sched_yield);
    return (*tries)++ < HOLD_AGAIN;
}

/* As hold_beginning; memory that the kernel maps needs no hold, and *len is cut to its end. */
static int hold_mapped(vm_offset_t va, size_t *len, vm_prot_t access, struct fl_hold *pages)
{
    for (;;) { /* ends: each turn follows a hand-over, or a mapping that took another's place */
        unsigned before = gate_count();
        size_t reserved = window_reserved_from(va);
        int error;

        if (reserved != 0) {
            *len = *len < reserved ? *len : reserved;
            return 0;
        }
        error = hold_beginning(va, len, access, pages);
        if (error != -EFAULT || !(gate_waited(va) || gate_count() != before))
            return error;
    }
}

int hold_add(struct hold **list, vm_offset_t va, size_t *len, vm_prot_t access)
{
    struct hold *hold = hold_alloc();
    int error;

    if (hold == NULL)
        return -ENOMEM;
    hold->pages.npages = 0;
    error = hold_mapped(va, len, access, &hold->pages);
    if (error != 0) {
        hold_free(hold);
        /*
         * As the kernel's own access fails: an address beyond
         * the file, or an I/O error, is EFAULT there, too.
         */
        (void)file_errors_say(va, error);
        return error == -ENOMEM ? -ENOMEM : -EFAULT;
    }
    hold->len = *len;
    hold_total_bytes += *len;
    hold->next = *list;
    *list = hold;
    return 0;
}

void hold_drop(struct hold **list)
{
    while (*list != NULL) {
        struct hold *hold = *list;

        *list = hold->next;
        fl_unhold(&hold->pages);
        hold_total_bytes -= hold->len;
        hold_free(hold);
    }
}
