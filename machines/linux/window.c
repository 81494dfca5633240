/*
 * window.c: the core's windows onto pages' bytes, copies, and the release of pages. A window is a
 * stretch of bounce buffers.
 *
 *     FILL   slots as they are   ─▶ put(keep): the bytes stay there until the page is mapped (bounce.c)
 *     READ   pread ─▶ slots      ─▶ put: slots are free
 *     EDIT   pread ─▶ slots      ─▶ put: pwrite
 *
 * A caller that waits reads and edits a single page in its slot, when a slot keeps it. Copies to and from a
 * program's memory do not use the buffers: they are pread and pwrite of the memfd, or a copy out of a view of
 * it (peek.c). Lock: none of its own.
 */
#include "bounce.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "peek.h"

#include <errno.h>

/* Returns how many pages from addr[0] on are contiguous. */
static uint32_t contiguous(void **addr, uint32_t npages)
{
    uint32_t n = 1;

    while (n < npages && addr[n] == (char *)addr[0] + ptoa(n))
        n++;
    return n;
}

static int load(const struct machine_run *run, void **addr)
{
    int error = 0;

    for (uint32_t i = 0, n; i < run->npages && error == 0; i += n) {
        n = contiguous(addr + i, run->npages - i);
        error = linux_memfd_read(linux_memfd_offset(run->object, run->pindex + i), addr[i], ptoa(n));
    }
    return error;
}

/* The pages were loaded, so the memfd has them: nothing is marked (views.c, LM1). */
static void save(const struct machine_run *run, void **addr)
{
    size_t done;

    for (uint32_t i = 0, n; i < run->npages; i += n) {
        n = contiguous(addr + i, run->npages - i);
        if (linux_memfd_write(linux_memfd_offset(run->object, run->pindex + i), addr[i], ptoa(n), &done) != 0)
            machine_panic("the kernel does not take bytes back into a memfd that it gave out of it");
    }
}

/* Moves the bytes of the run's pages from slots into the memfd. */
static int flush_run(const struct machine_run *run, bool nowait)
{
    int error = 0;

    for (uint32_t i = 0; i < run->npages && error == 0; i++)
        error = linux_bounce_flush(run->frame[i], nowait);
    return error;
}

int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait, void **addr)
{
    enum linux_bounce_user user = LINUX_BOUNCE_WAITS;
    int error;

    if (nowait)
        user = how == MACHINE_WINDOW_FILL ? LINUX_BOUNCE_AHEAD : LINUX_BOUNCE_BEHIND;
    if (how != MACHINE_WINDOW_FILL && run->npages == 1 && !nowait) {
        error = linux_bounce_borrow(run->frame[0], addr);
        if (error != -ENOENT)
            return error;
    } else if (how != MACHINE_WINDOW_FILL) {
        error = flush_run(run, nowait);
        if (error != 0)
            return error;
    }
    error = linux_bounce_alloc(run->npages, user, addr);
    if (error != 0 || how == MACHINE_WINDOW_FILL)
        return error;
    error = load(run, addr);
    if (error != 0)
        linux_bounce_close_window(addr, run->npages, NULL);
    return error;
}

void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep)
{
    if (how == MACHINE_WINDOW_EDIT && keep && !linux_bounce_borrowed(addr[0]))
        save(run, addr);
    linux_bounce_close_window(addr, run->npages, how == MACHINE_WINDOW_FILL && keep ? run : NULL);
}

/*
 * Lets the kernel copy between the memfd and the program's memory, from byte *done on. It touches no other
 * byte, and an address that it cannot reach is an error of its call and not a fault in the middle of the
 * core. A signal that is not blocked interrupts it; each round moves on or is interrupted again.
 */
static int copy(uint64_t offset, long number, const void *memory, size_t len_bytes, size_t *done)
{
    int error = 0;

    while (error == 0 && *done < len_bytes) {
        long n = linux_syscall(number, linux_memfd_fd(), (const char *)memory + *done, len_bytes - *done,
                               offset + *done);
        if (n > 0)
            *done += (size_t)n;
        else if (n != -EINTR)
            error = n == -EFAULT ? -EFAULT : -ENOMEM;
    }
    return error;
}

int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes, size_t *done)
{
    uint64_t offset = linux_memfd_offset(run->object, run->pindex) + start;
    int error = flush_run(run, false);

    *done = 0;
    if (error != 0)
        return error;
    *done = linux_peek(to, offset, len_bytes);
    return copy(offset, SYS_pread64, to, len_bytes, done);
}

int machine_copyin(const struct machine_run *run, uint32_t start, const void *from, size_t len_bytes,
                   size_t *done)
{
    int error = flush_run(run, false);

    *done = 0;
    return error != 0 ? error
                      : copy(linux_memfd_offset(run->object, run->pindex) + start, SYS_pwrite64, from,
                             len_bytes, done);
}

/* A page that was filled anew has its bytes in a slot and old ones in the memfd, so both are dropped. */
void machine_release(const struct machine_run *run)
{
    for (uint32_t i = 0; i < run->npages; i++)
        linux_bounce_discard(run->frame[i]);
    linux_memfd_punch(linux_memfd_offset(run->object, run->pindex), ptoa(run->npages));
}
