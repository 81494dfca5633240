/*
 * op_file.c: drawing calls on files. See op.h.
 *
 * Mistakes show at ends: at the end of a file, of a page, of a block. So half of all offsets lie there, and
 * many calls of a sequence meet in the same few pages, which are mapped, too.
 */
#include "model/op.h"
#include <faultline/vm.h>

#define PAGE      DRIVER_PAGE
#define BLOCK     512
#define HOT_PAGES 8
#define LIMIT     (DRIVER_FILE_PAGES * PAGE)

static bool once_in(struct prng *r, uint64_t n)
{
    return prng_below(r, n) == 0;
}

static uint64_t near(struct prng *r, uint64_t at)
{
    uint64_t off = at + prng_below(r, 2 * BLOCK + 1);

    return off < BLOCK ? 0 : off - BLOCK;
}

static uint64_t draw_off(struct op *op, struct prng *r, struct driver *looked_at)
{
    uint64_t size = looked_at->file_size(looked_at, driver_handles[op->handle].file);

    switch (prng_below(r, 6)) {
    case 0:
        return size;
    case 1:
        return near(r, size);
    case 2:
        return near(r, prng_below(r, DRIVER_FILE_PAGES) * PAGE);
    case 3:
        return prng_below(r, DRIVER_FILE_PAGES * PAGE / BLOCK) * BLOCK;
    case 4:
        return prng_below(r, LIMIT);
    default:
        return prng_below(r, HOT_PAGES * PAGE);
    }
}

static uint64_t draw_len(struct prng *r)
{
    switch (prng_below(r, 8)) {
    case 0:
        return (1 + prng_below(r, 8)) * PAGE;
    case 1:
        return (1 + prng_below(r, 3 * PAGE / BLOCK)) * BLOCK;
    case 2:
        return 1 + prng_below(r, 3 * PAGE);
    case 3:
        return 1 + prng_below(r, once_in(r, 3) ? OP_LEN_MAX : PAGE);
    case 4:
        return once_in(r, 10) ? 0 : 1;
    default:
        return 1 + prng_below(r, 700);
    }
}

/* Aligned to pages, which every store can transfer, or to blocks, or to neither, which must be refused. */
static void draw_direct(struct op *op, struct prng *r)
{
    uint64_t unit = once_in(r, 12) ? 1 : once_in(r, 2) ? PAGE : (uint64_t)BLOCK << prng_below(r, 3);

    op->flags |= FL_IOCB_DIRECT;
    op->off -= op->off % unit;
    op->len = op->len < unit ? unit : op->len - op->len % unit;
}

static void draw_rw(struct op *op, struct prng *r)
{
    op->prot = once_in(r, 4) ? 1 + (int)prng_below(r, OP_PIECES_MAX) : 1;
    op->value = prng_next(r);
    if (op->kind == OP_WRITE) {
        op->flags |= once_in(r, 10) ? FL_IOCB_APPEND : 0;
        op->flags |= once_in(r, 10) ? FL_IOCB_DSYNC : 0;
    }
    if (once_in(r, 10))
        draw_direct(op, r);
}

static void draw_advice(struct op *op, struct prng *r)
{
    static const int advice[] = {FL_FADV_NORMAL,   FL_FADV_RANDOM,   FL_FADV_SEQUENTIAL, FL_FADV_WILLNEED,
                                 FL_FADV_DONTNEED, FL_FADV_DONTNEED, FL_FADV_NOREUSE,    FL_FADV_NOREUSE + 1};

    op->flags = advice[prng_below(r, sizeof(advice) / sizeof(advice[0]))];
    if (once_in(r, 4))
        op->len = 0; /* to the end */
}

void op_draw_file(struct op *op, struct prng *r, struct driver *looked_at)
{
    op->handle = (int)prng_below(r, once_in(r, 3) ? DRIVER_HANDLES : 2);
    op->off = draw_off(op, r, looked_at);
    op->len = draw_len(r);
    switch (op->kind) {
    case OP_READ:
    case OP_WRITE:
        draw_rw(op, r);
        break;
    case OP_TRUNCATE:
        op->len = op->off;
        op->off = 0;
        break;
    case OP_PUNCH:
        break;
    case OP_FSYNC:
        op->flags = once_in(r, 2) ? FL_FSYNC_DATA : 0;
        break;
    case OP_SYNC_RANGE:
        op->flags = once_in(r, 20) ? 8 : (int)prng_below(r, 8);
        break;
    default:
        draw_advice(op, r);
        break;
    }
}
