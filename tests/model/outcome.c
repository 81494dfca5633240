/* outcome.c: one operation on one driver. See outcome.h. */
#include "model/outcome.h"
#include <string.h>

#define PAGE DRIVER_PAGE

/* Page by page, until one faults. */
static void access_pages(struct driver *d, const struct op *op, struct outcome *out)
{
    uint64_t at, end = op->addr + op->len, n;

    if (op->kind == OP_STORE)
        for (at = 0; at < op->len; at++)
            out->bytes[at] = op_byte(op, at);
    for (at = op->addr; at < end && out->result == 0; at += n) {
        n = PAGE - at % PAGE < end - at ? PAGE - at % PAGE : end - at;
        if (op->kind == OP_LOAD)
            out->result = d->load(d, at, out->bytes + out->nbytes, n);
        else
            out->result = d->store(d, at, out->bytes + out->nbytes, n);
        if (out->result == 0)
            out->nbytes += n;
    }
}

void outcome_of(struct driver *d, const struct op *op, struct outcome *out)
{
    out->result = 0;
    out->nbytes = 0;
    switch (op->kind) {
    case OP_MMAP:
        out->result = d->mmap(d, op->addr, op->len, op->prot, op->flags, op->handle, op->off);
        break;
    case OP_MUNMAP:
        out->result = d->munmap(d, op->addr, op->len);
        break;
    case OP_MPROTECT:
        out->result = d->mprotect(d, op->addr, op->len, op->prot);
        break;
    case OP_MREMAP:
        out->result = d->mremap(d, op->addr, op->len, op->len2, op->flags, op->addr2);
        break;
    case OP_MSYNC:
        out->result = d->msync(d, op->addr, op->len, op->flags);
        break;
    case OP_MADVISE:
        out->result = d->madvise(d, op->addr, op->len, op->flags);
        break;
    case OP_MINCORE:
        out->result = d->mincore(d, op->addr, op->len, out->vec);
        break;
    case OP_MLOCK:
        out->result = d->mlock(d, op->addr, op->len);
        break;
    case OP_MUNLOCK:
        out->result = d->munlock(d, op->addr, op->len);
        break;
    case OP_BRK:
        out->result = (int64_t)d->brk(d, op->addr);
        break;
    case OP_SET_SIZE:
        out->result = d->set_size(d, op->handle, op->len);
        break;
    default:
        access_pages(d, op, out);
        break;
    }
}
