/*
 * copy.c: copies between pages and a program's memory, of which a part may be absent.
 *
 * Look at machines/x86_64: page.c, copy.c, and support.S for how a fault inside a copy ends it.
 */
#include "port.h"

/* Copies len_bytes of the run's pages, from byte `start` on, to the program; -EFAULT where its memory is
 * absent, after *done bytes. Takes no page fault: the core brings the memory in and calls again. */
int machine_copyout(const struct machine_run *run, uint32_t start, void *to, size_t len_bytes, size_t *done)
{
    (void)run;
    (void)start;
    (void)to;
    (void)len_bytes;
    (void)done;
    port_missing(__func__);
}

/* The other way: from the program into the pages, and into no other byte of them. */
int machine_copyin(const struct machine_run *run, uint32_t start, const void *from, size_t len_bytes,
                   size_t *done)
{
    (void)run;
    (void)start;
    (void)from;
    (void)len_bytes;
    (void)done;
    port_missing(__func__);
}
