/*
 * page.c: copies between pages' bytes, through the direct map, and programs.
 */
#include <linux/errno.h>

#include "kernel.h"

static char *page_bytes(const struct machine_run *run, uint32_t page)
{
    return run->addr != NULL ? run->addr[page] : frame_to_virt(run->frame[page]);
}

/* The same as page_copy, of bytes that lie in the run's first page, as nearly always. */
static inline __attribute__((always_inline)) int page_copy_one(const struct machine_run *run, uint32_t start,
                                                               char *user, size_t len_bytes, bool out,
                                                               size_t *done)
{
    struct thread *td = curthread();
    const bool outer = td->td_nofault;
    char *bytes = page_bytes(run, 0) + start;

    td->td_nofault = true;
    const size_t left = out ? copy_user(user, bytes, len_bytes) : copy_user(bytes, user, len_bytes);
    td->td_nofault = outer;
    *done = len_bytes - left;
    return left == 0 ? 0 : -EFAULT;
}

/* Copies page by page, in the direction that `out` says, and takes no page fault. */
static int page_copy(const struct machine_run *run, uint32_t start, char *user, size_t len_bytes, bool out,
                     size_t *done)
{
    struct thread *td = curthread();
    const bool outer = td->td_nofault;
    size_t left = 0;

    *done = 0;
    td->td_nofault = true;
    while (*done < len_bytes && left == 0) {
        const size_t at = start + *done, in_page = at % VM_PAGE_SIZE;
        size_t piece = VM_PAGE_SIZE - in_page;
        char *bytes = page_bytes(run, (uint32_t)atop(at)) + in_page;

        if (piece > len_bytes - *done)
            piece = len_bytes - *done;
        left = out ? copy_user(user + *done, bytes, piece) : copy_user(bytes, user + *done, piece);
        *done += piece - left;
    }
    td->td_nofault = outer;
    return left == 0 ? 0 : -EFAULT;
}

int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes, size_t *done)
{
    if (start + len_bytes <= VM_PAGE_SIZE)
        return page_copy_one(run, start, to, len_bytes, true, done);
    return page_copy(run, start, to, len_bytes, true, done);
}

int machine_copyin(const struct machine_run *run, uint32_t start, const void *from, size_t len_bytes,
                   size_t *done)
{
    if (start + len_bytes <= VM_PAGE_SIZE)
        return page_copy_one(run, start, (char *)from, len_bytes, false, done);
    return page_copy(run, start, (char *)from, len_bytes, false, done);
}
