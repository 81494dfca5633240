/*
 * user_copy.c: copies between the shim's memory and the program's (user_copy.h).
 *
 *      managed?  yes ─▶ hold a beginning ─▶ copy ─▶ drop the hold ─▶ the rest
 *                no ──▶ copy                 copy: one instruction; linux_peek_fault ends it where it faults
 *
 * A truncation or a punched hole may remove a held page from the mapping: then the copy
 * is tried again, a few times, until the page is there or cannot be held. A fault inside
 * the copy needs SIGSEGV and SIGBUS, so they are unblocked during the copy. user_read
 * runs with the program's own mask, in which they are never blocked (signals.c).
 *
 * Does not do: copies in the child of a fork, where the signal handlers
 * are the program's own. There the kernel checks every pointer.
 */
#include "user_copy.h"
#include "hold.h"
#include "window.h"
#include <linux_sigaction.h>

#define USER_COPY_TRIES 16

/* Signals are blocked. */
static int copy_faulting(void *to, const void *from, size_t len)
{
    uint64_t saved;
    size_t left;

    linux_sigmask_set(LINUX_SIGMASK_ALL & ~(LINUX_SIGMASK(SIGSEGV) | LINUX_SIGMASK(SIGBUS)), &saved);
    left = linux_peek_bytes(to, from, len);
    linux_sigmask_set(saved, NULL);
    return left == 0 ? 0 : -EFAULT;
}

/* Copies a beginning of *len bytes, or all of them: *len is its length afterwards. */
static int copy_once(vm_offset_t program, char *own, size_t *len, vm_prot_t access)
{
    struct hold *held = NULL;
    int error = 0;

    if (shim_on() && window_has(program))
        error = hold_add(&held, program, len, access);
    if (error == 0)
        error = access == VM_PROT_WRITE ? copy_faulting((void *)program, own, *len)
                                        : copy_faulting(own, (const void *)program, *len);
    hold_drop(&held);
    return error;
}

static int user_copy(vm_offset_t program, char *own, size_t len, vm_prot_t access)
{
    int tries = USER_COPY_TRIES;

    while (len > 0) {
        size_t n = len;
        int error = copy_once(program, own, &n, access);

        if (error == -EFAULT && shim_on() && window_has(program) && tries-- > 0)
            continue;
        if (error != 0)
            return error;
        program += n;
        own += n;
        len -= n;
    }
    return 0;
}

int user_copy_out(void *program, const void *own, size_t len)
{
    return user_copy((vm_offset_t)program, (char *)(uintptr_t)own, len, VM_PROT_WRITE);
}

int user_copy_in(void *own, const void *program, size_t len)
{
    return user_copy((vm_offset_t)program, own, len, VM_PROT_READ);
}

bool user_read(void *own, const void *program, size_t len)
{
    sigset_t saved;
    int error;

    if (!window_has((uintptr_t)program))
        return linux_peek_bytes(own, program, len) == 0;
    linux_signals_block(&saved);
    error = user_copy_in(own, program, len);
    linux_signals_restore(&saved);
    return error == 0;
}
