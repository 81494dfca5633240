/*
 * mapping.c: the calls on address ranges: fl_mmap and its family, fl_snapshot, fl_prefetch, fl_pin.
 *
 *     fl_mmap … ─▶ signals blocked ─▶ fl_sys_mmap … on library.map ─▶ signals restored
 *
 * What a call reads or writes in the program's memory goes through the stack: that memory may be managed
 * itself, and must not be touched inside the core.
 */
#include "library_state.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PREFETCH_STEP 64 /* ranges at a time: as many as go to the kernel together */

/* Splits a result into an address, put into *addr, and an error, which is returned. */
static int take_address(int64_t result, void **addr)
{
    if (result < 0)
        return (int)result;
    *addr = (void *)result;
    return 0;
}

int fl_mmap(void **addr, size_t len_bytes, int prot, int flags, struct fl_file *file, uint64_t offset)
{
    vm_offset_t hint = (vm_offset_t)*addr;
    return take_address(
        LIBRARY_CALL(int64_t, fl_sys_mmap(library.map, hint, len_bytes, prot, flags, file, offset)), addr);
}

int fl_snapshot(void *addr, size_t len_bytes, void **copy)
{
    return take_address(LIBRARY_CALL(int64_t, fl_sys_snapshot(library.map, (vm_offset_t)addr, len_bytes)),
                        copy);
}

int fl_munmap(void *addr, size_t len_bytes)
{
    return LIBRARY_CALL(int, fl_sys_munmap(library.map, (vm_offset_t)addr, len_bytes));
}

int fl_mprotect(void *addr, size_t len_bytes, int prot)
{
    return LIBRARY_CALL(int, fl_sys_mprotect(library.map, (vm_offset_t)addr, len_bytes, prot));
}

int fl_mremap(void **addr, size_t old_len_bytes, size_t new_len_bytes, int flags)
{
    vm_offset_t old = (vm_offset_t)*addr;
    if (flags & FL_MREMAP_FIXED) /* there is no argument here that says where to */
        return -EINVAL;
    return take_address(
        LIBRARY_CALL(int64_t, fl_sys_mremap(library.map, old, old_len_bytes, new_len_bytes, flags, 0)), addr);
}

int fl_msync(void *addr, size_t len_bytes, int flags)
{
    return LIBRARY_CALL(int, fl_sys_msync(library.map, (vm_offset_t)addr, len_bytes, flags));
}

int fl_madvise(void *addr, size_t len_bytes, int advice)
{
    return LIBRARY_CALL(int, fl_sys_madvise(library.map, (vm_offset_t)addr, len_bytes, advice));
}

/* In steps through the stack: vec may itself be managed memory, which must not be touched inside the core. */
int fl_mincore(void *addr, size_t len_bytes, unsigned char *vec)
{
    unsigned char step[512];
    size_t step_bytes = ptoa(sizeof(step));
    int error = 0;
    do {
        size_t n = len_bytes < step_bytes ? len_bytes : step_bytes;
        error = LIBRARY_CALL(int, fl_sys_mincore(library.map, (vm_offset_t)addr, n, step));
        if (error == 0)
            memcpy(vec, step, atop(round_page(n)));
        addr = (char *)addr + n;
        vec += atop(n);
        len_bytes -= n;
    } while (error == 0 && len_bytes > 0);
    return error;
}

int fl_mlock(void *addr, size_t len_bytes)
{
    return LIBRARY_CALL(int, fl_sys_mlock(library.map, (vm_offset_t)addr, len_bytes));
}

int fl_munlock(void *addr, size_t len_bytes)
{
    return LIBRARY_CALL(int, fl_sys_munlock(library.map, (vm_offset_t)addr, len_bytes));
}

/* In steps through the stack, as fl_mincore. */
int fl_prefetch(const struct fl_iovec *range, uint32_t nranges)
{
    struct fl_iovec step[PREFETCH_STEP];
    int error = 0;
    while (error == 0 && nranges > 0) {
        uint32_t n = nranges < PREFETCH_STEP ? nranges : PREFETCH_STEP;
        memcpy(step, range, n * sizeof(step[0]));
        error = LIBRARY_CALL(int, fl_sys_prefetch(library.map, step, n));
        range += n;
        nranges -= n;
    }
    return error;
}

int fl_pin(void *addr, size_t len_bytes, int access, struct fl_hold *pin)
{
    if ((access & ~(PROT_READ | PROT_WRITE)) != 0 || access == 0)
        return -EINVAL;
    return LIBRARY_CALL(int, fl_hold(library.map, (vm_offset_t)addr, len_bytes, (vm_prot_t)access, pin));
}

void fl_unpin(struct fl_hold *pin)
{
    sigset_t saved;
    linux_signals_block(&saved);
    fl_unhold(pin);
    linux_signals_restore(&saved);
}
