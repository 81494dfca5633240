/* outcome.c: one operation on one driver. See outcome.h. */
#include "model/outcome.h"
#include <faultline/vm.h>
#include <string.h>

#define PAGE DRIVER_PAGE

static int access_page(struct driver *d, const struct op *op, uint64_t at, uint8_t *bytes, uint64_t len)
{
    switch (op->kind) {
    case OP_LOAD:
        return d->load(d, at, bytes, len);
    case OP_STORE:
        return d->store(d, at, bytes, len);
    case OP_HELD_LOAD:
        return d->held_load(d, op->handle, at, bytes, len);
    default:
        return d->held_store(d, op->handle, at, bytes, len);
    }
}

/* Page by page, until one faults. */
static void access_pages(struct driver *d, const struct op *op, struct outcome *out)
{
    uint64_t at, end = op->addr + op->len, n;

    if (op->kind == OP_STORE || op->kind == OP_HELD_STORE)
        for (at = 0; at < op->len; at++)
            out->bytes[at] = op_byte(op, at);
    for (at = op->addr; at < end && out->result == 0; at += n) {
        n = PAGE - at % PAGE < end - at ? PAGE - at % PAGE : end - at;
        out->result = access_page(d, op, at, out->bytes + out->nbytes, n);
        if (out->result == 0)
            out->nbytes += n;
    }
}

/* In pieces, some of them empty, that lie one behind the other. */
static unsigned cut_into_pieces(const struct op *op, uint8_t *bytes, struct fl_iovec iov[OP_PIECES_MAX])
{
    unsigned n = op->prot < 1 ? 1 : op->prot > OP_PIECES_MAX ? OP_PIECES_MAX : (unsigned)op->prot, i;
    uint64_t at = 0;
    struct prng r;

    prng_init(&r, op->value);
    for (i = 0; i < n; i++) {
        iov[i].base = bytes + at;
        iov[i].len_bytes = i + 1 == n ? op->len - at : prng_below(&r, op->len - at + 1);
        at += iov[i].len_bytes;
    }
    return n;
}

static void read_or_write(struct driver *d, const struct op *op, struct outcome *out)
{
    struct fl_iovec iov[OP_PIECES_MAX];
    unsigned n = cut_into_pieces(op, out->bytes, iov);
    uint64_t i;

    for (i = 0; op->kind == OP_WRITE && i < op->len; i++)
        out->bytes[i] = op_byte(op, i);
    out->result =
        (op->kind == OP_READ ? d->read : d->write)(d, op->handle, iov, n, op->off, (unsigned)op->flags);
    out->nbytes = out->result < 0 ? 0 : (uint64_t)out->result;
}

static void call_on_file(struct driver *d, const struct op *op, struct outcome *out)
{
    switch (op->kind) {
    case OP_TRUNCATE:
        out->result = d->truncate(d, op->handle, op->len);
        break;
    case OP_PUNCH:
        out->result = d->punch(d, op->handle, op->off, op->len);
        break;
    case OP_FSYNC:
        out->result = d->fsync(d, op->handle, (unsigned)op->flags);
        break;
    case OP_SYNC_RANGE:
        out->result = d->sync_range(d, op->handle, op->off, op->len, (unsigned)op->flags);
        break;
    case OP_FADVISE:
        out->result = d->fadvise(d, op->handle, op->off, op->len, op->flags);
        break;
    default:
        read_or_write(d, op, out);
        break;
    }
}

void outcome_of(struct driver *d, const struct op *op, struct outcome *out)
{
    out->result = 0;
    out->nbytes = 0;
    if (op_is_of_file(op)) {
        call_on_file(d, op, out);
        return;
    }
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
    case OP_PREFETCH:
        out->result = d->prefetch(d, op->addr, op->len, op->addr2, op->len2);
        break;
    case OP_HOLD:
        d->unhold(d, op->handle);
        out->result = d->hold(d, op->handle, op->addr, op->len, op->prot);
        break;
    case OP_UNHOLD:
        d->unhold(d, op->handle);
        break;
    case OP_FORK:
        out->result = driver_fork(d, (unsigned)op->handle);
        break;
    case OP_ENTER:
        out->result = driver_enter(d, (unsigned)op->handle);
        break;
    case OP_EXIT:
        out->result = driver_exit(d, (unsigned)op->handle);
        break;
    default:
        access_pages(d, op, out);
        break;
    }
}
