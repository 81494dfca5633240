/* oracle.c: one operation on two drivers, and the comparison. See oracle.h. */
#include "model/oracle.h"
#include "model/differences.h"
#include "model/model.h"
#include "model/outcome.h"
#include <errno.h>
#include <faultline/vm.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PAGE DRIVER_PAGE

static bool __attribute__((format(printf, 2, 3))) differ(struct oracle *oracle, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(oracle->difference, sizeof(oracle->difference), format, args);
    va_end(args);
    return false;
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static bool same_bytes(struct oracle *oracle, const struct op *op, const struct outcome *a,
                       const struct outcome *b)
{
    uint64_t i;

    for (i = 0; i < a->nbytes; i++) {
        if (a->bytes[i] == b->bytes[i])
            continue;
        if ((a->bytes[i] == 0 || b->bytes[i] == 0) && op->kind != OP_READ &&
            model_byte_may_be_zero(oracle->model, op->addr + i))
            continue;
        return differ(oracle, "byte at 0x%" PRIx64 " is 0x%02x on %s, 0x%02x on %s",
                      (op->kind == OP_READ ? op->off : op->addr) + i, a->bytes[i], oracle->reference->name,
                      b->bytes[i], oracle->subject->name);
    }
    return true;
}

/* Only the model's vector can be compared, because residency is up to the driver. */
static bool same_vec(struct oracle *oracle, const struct op *op, const struct outcome *a,
                     const struct outcome *b)
{
    uint64_t i;

    if (oracle->reference != oracle->model)
        return true;
    for (i = 0; i * PAGE < op->len; i++) {
        bool known = a->vec[i] != DRIVER_VEC_UNKNOWN;

        if (a->vec[i] == 1 && (oracle->subject->has & DRIVER_HAS_SWAP) != 0)
            known = false;
        if (known && a->vec[i] != (b->vec[i] & 1))
            return differ(oracle, "mincore of page 0x%" PRIx64 ": %d, should be %d", op->addr + i * PAGE,
                          b->vec[i] & 1, a->vec[i]);
    }
    return true;
}

static bool next_region(struct driver *d, uint64_t addr, struct driver_region *region)
{
    struct driver_region next;

    if (!d->region(d, addr, region))
        return false;
    while (d->region(d, region->end, &next) && driver_region_joins(region, &next))
        region->end = next.end;
    return true;
}

static bool same_map(struct oracle *oracle)
{
    struct driver_region a, b;
    uint64_t addr = 0;

    for (;;) {
        bool more_a = next_region(oracle->reference, addr, &a),
             more_b = next_region(oracle->subject, addr, &b);

        if (!more_a && !more_b)
            return true;
        if (!more_a || !more_b)
            return differ(oracle, "%s has a region at 0x%" PRIx64 ", the other has none",
                          more_a ? oracle->reference->name : oracle->subject->name,
                          more_a ? a.start : b.start);
        if (a.start != b.start || a.end != b.end || a.prot != b.prot || a.shared != b.shared ||
            a.file != b.file || a.offset != b.offset || a.inherit != b.inherit)
            return differ(oracle,
                          "%s: 0x%" PRIx64 "-0x%" PRIx64 " prot %d %s file %d+0x%" PRIx64
                          " inherit %d; %s: 0x%" PRIx64 "-0x%" PRIx64 " prot %d %s file %d+0x%" PRIx64
                          " inherit %d",
                          oracle->reference->name, a.start, a.end, a.prot, a.shared ? "shared" : "private",
                          a.file, a.offset, (int)a.inherit, oracle->subject->name, b.start, b.end, b.prot,
                          b.shared ? "shared" : "private", b.file, b.offset, (int)b.inherit);
        addr = a.end;
    }
}

static bool same_file(struct oracle *oracle, int file, uint64_t off, uint64_t end)
{
    uint8_t a[DRIVER_PAGE], b[DRIVER_PAGE];
    uint64_t n;

    for (; off < end; off += n) {
        n = end - off < PAGE ? end - off : PAGE;
        while (n > 0 && oracle->reference->file_read(oracle->reference, file, off, a, n) != 0)
            n--; /* the file ends within the page */
        if (n == 0)
            return true;
        if (oracle->subject->file_read(oracle->subject, file, off, b, n) != 0)
            return differ(oracle, "file %d is shorter than 0x%" PRIx64 " on %s", file, off + n,
                          oracle->subject->name);
        if (memcmp(a, b, n) != 0)
            return differ(oracle, "file %d differs from %s's in page 0x%" PRIx64, file,
                          oracle->reference->name, off);
        if (n < PAGE)
            return true;
    }
    return true;
}

/* The files must hold what msync promised. */
static bool same_synced(struct oracle *oracle, const struct op *op)
{
    struct driver_region region;
    uint64_t at = op->addr, end = (op->addr + op->len + PAGE - 1) & ~(PAGE - 1), stop;

    while (at < end && oracle->reference->region(oracle->reference, at, &region) && region.start < end) {
        at = region.start > at ? region.start : at;
        stop = region.end < end ? region.end : end;
        if (region.file >= 0 && region.shared &&
            !same_file(oracle, region.file, region.offset + (at - region.start),
                       region.offset + (stop - region.start)))
            return false;
        at = region.end;
    }
    return true;
}

/* The file must hold what fsync and the like promised, and have the model's length. */
static bool same_written(struct oracle *oracle, const struct op *op, int64_t result)
{
    int file = driver_handles[op->handle].file;
    uint64_t a = oracle->reference->file_size(oracle->reference, file);
    uint64_t b = oracle->subject->file_size(oracle->subject, file);

    if (a != b)
        return differ(oracle, "file %d is 0x%" PRIx64 " bytes long on %s, 0x%" PRIx64 " on %s", file, a,
                      oracle->reference->name, b, oracle->subject->name);
    if (result < 0)
        return true;
    if (op->kind == OP_FSYNC)
        return same_file(oracle, file, 0, a);
    if (op->kind == OP_SYNC_RANGE && op->flags == 7)
        return same_file(oracle, file, op->off, op->len == 0 ? a : op->off + op->len);
    if (op->kind == OP_WRITE && (op->flags & (FL_IOCB_DSYNC | FL_IOCB_DIRECT)))
        return same_file(oracle, file, op->flags & FL_IOCB_APPEND ? a - (uint64_t)result : op->off,
                         op->flags & FL_IOCB_APPEND ? a : op->off + (uint64_t)result);
    return true;
}

/* Calls that wait for writes of pages that are dirty already, whether the calls themselves succeed or not. */
static bool waits_for_writes(const struct op *op)
{
    return op->kind == OP_MSYNC || op->kind == OP_FSYNC || op->kind == OP_SYNC_RANGE ||
           (op->kind == OP_WRITE && (op->flags & FL_IOCB_DSYNC)) ||
           (op->kind == OP_MADVISE && op->flags == FL_MADV_PAGEOUT);
}

static bool same_outcome(struct oracle *oracle, const struct op *op, const struct outcome *a,
                         const struct outcome *b)
{
    if (oracle->write_errors && b->result == -EIO && waits_for_writes(op))
        return true;
    if (a->result != b->result && difference_find(op, a->result, b->result) == NULL)
        return differ(oracle,
                      "result is %" PRId64 " (0x%" PRIx64 ") on %s, %" PRId64 " (0x%" PRIx64 ") on %s",
                      a->result, (uint64_t)a->result, oracle->reference->name, b->result, (uint64_t)b->result,
                      oracle->subject->name);
    if (a->nbytes != b->nbytes)
        return differ(oracle, "the access came 0x%" PRIx64 " bytes far on %s, 0x%" PRIx64 " on %s", a->nbytes,
                      oracle->reference->name, b->nbytes, oracle->subject->name);
    if ((op->kind == OP_LOAD || op->kind == OP_HELD_LOAD || op->kind == OP_READ) &&
        !same_bytes(oracle, op, a, b))
        return false;
    if (op->kind == OP_MINCORE && a->result == 0 && !same_vec(oracle, op, a, b))
        return false;
    if (op->kind == OP_MSYNC && a->result == 0 && (op->flags & FL_MS_SYNC) && !same_synced(oracle, op))
        return false;
    if (op_is_of_file(op))
        return same_written(oracle, op, a->result);
    return op->kind == OP_LOAD || op->kind == OP_STORE || op->kind == OP_HELD_LOAD ||
           op->kind == OP_HELD_STORE || same_map(oracle);
}

/* Not every driver can make direct writes, or limit the length of a file. */
static bool is_fair_to_files(struct oracle *oracle, const struct op *op, unsigned both)
{
    uint64_t limit = DRIVER_FILE_PAGES * PAGE, end = op->off + op->len;

    if (op->kind == OP_WRITE && (op->flags & FL_IOCB_APPEND))
        end = oracle->model->file_size(oracle->model, driver_handles[op->handle].file) + op->len;
    if ((op->kind == OP_WRITE || op->kind == OP_TRUNCATE) && end > limit && !(both & DRIVER_HAS_LIMIT))
        return false;
    if (op->kind == OP_WRITE && (op->flags & FL_IOCB_DIRECT) && end > limit)
        return false; /* up to the limit, or not at all: both are right */
    if (op->kind != OP_WRITE && op->kind != OP_READ)
        return true;
    return (!(op->flags & FL_IOCB_DIRECT) || (both & DRIVER_HAS_DIRECT)) &&
           (!(op->flags & (FL_IOCB_APPEND | FL_IOCB_DSYNC)) || (both & DRIVER_HAS_DSYNC));
}

/* Whether all drivers must give the same outcome for the operation. */
static bool is_fair(struct oracle *oracle, const struct op *op)
{
    unsigned both = oracle->reference->has & oracle->subject->has;
    bool swap = (oracle->subject->has & DRIVER_HAS_SWAP) != 0;

    if (op->kind == OP_BRK && !(both & DRIVER_HAS_BRK))
        return false;
    if ((op->flags & FL_MAP_GROWSDOWN) && op->kind == OP_MMAP && !(both & DRIVER_HAS_GROWSDOWN))
        return false;
    if (op->kind == OP_MADVISE && op->flags == FL_MADV_REMOVE && !(both & DRIVER_HAS_REMOVE))
        return false;
    if (op->kind == OP_PUNCH && !(both & DRIVER_HAS_PUNCH))
        return false;
    if (op->kind >= OP_HOLD && op->kind <= OP_HELD_STORE && !(both & DRIVER_HAS_HOLD))
        return false;
    if (op->kind >= OP_FORK && !(both & DRIVER_HAS_FORK))
        return false;
    if (op_is_of_file(op) && !is_fair_to_files(oracle, op, both))
        return false;
    if (model_is_vague(oracle->model, op))
        return false;
    return model_may_pin(oracle->model, op, swap) == 0 ||
           model_pinned_pages(oracle->model, swap) + model_may_pin(oracle->model, op, swap) <=
               oracle->max_pinned;
}

bool oracle_step(struct oracle *oracle, const struct op *op)
{
    struct outcome *a = &oracle->modelled;

    if (!is_fair(oracle, op))
        return true;
    outcome_of(oracle->model, op, &oracle->modelled);
    if (oracle->reference != oracle->model) {
        outcome_of(oracle->reference, op, &oracle->referred);
        a = &oracle->referred;
    }
    if (oracle->watch != NULL)
        oracle->watch->before(oracle, op);
    outcome_of(oracle->subject, op, &oracle->got);
    if (oracle->watch != NULL && !oracle->watch->after(oracle, op, &oracle->got))
        return false;
    oracle->ran++;
    oracle->ran_file += op_is_of_file(op);
    if (!same_outcome(oracle, op, a, &oracle->got))
        return false;
    if (++oracle->steps % oracle->check_every == 0)
        oracle->subject->check(oracle->subject);
    return true;
}

/* Every byte of every file, read and on the disk. */
static bool finish_files(struct oracle *oracle)
{
    static const int handles[DRIVER_FILES] = {0, 1, 3};
    struct op op;
    int i;

    for (i = 0; i < DRIVER_FILES; i++) {
        op = (struct op){.kind = OP_READ, .handle = handles[i], .len = OP_LEN_MAX};
        for (; op.off < DRIVER_FILE_PAGES * PAGE; op.off += op.len)
            if (!oracle_step(oracle, &op))
                return false;
        op = (struct op){.kind = OP_FSYNC, .handle = handles[i]};
        if (!oracle_step(oracle, &op))
            return false;
    }
    return true;
}

/*
 * The disks work again: descriptors and mappings that were not told of an
 * old error are told now, and no error is left.
 */
static bool hear_of_errors(struct oracle *oracle)
{
    struct op op = {.kind = OP_FSYNC};
    unsigned i;

    oracle->calm(oracle);
    for (op.handle = 0; op.handle < DRIVER_HANDLES; op.handle++)
        if (!oracle_step(oracle, &op))
            return false;
    op = (struct op){.kind = OP_MSYNC, .len = DRIVER_WINDOW_BYTES, .flags = FL_MS_SYNC};
    for (i = 0; i < DRIVER_WINDOW_PAGES; i++) { /* each mapping was told of its own */
        if (!oracle_step(oracle, &op))
            return false;
        if (oracle->got.result != -EIO)
            break;
    }
    oracle->write_errors = false;
    return true;
}

/* Every byte of the present space. */
static bool finish_space(struct oracle *oracle)
{
    struct op op = {.kind = OP_LOAD, .len = PAGE};
    struct driver_region region;

    for (op.addr = 0; op.addr < DRIVER_WINDOW_BYTES; op.addr += PAGE)
        if (oracle->model->region(oracle->model, op.addr, &region) && region.start <= op.addr &&
            !oracle_step(oracle, &op))
            return false;
    op = (struct op){.kind = OP_MSYNC, .len = DRIVER_WINDOW_BYTES, .flags = FL_MS_SYNC};
    return oracle_step(oracle, &op);
}

static bool unmap_space(struct oracle *oracle)
{
    const struct op op = {.kind = OP_MUNMAP, .len = DRIVER_WINDOW_BYTES};

    return oracle_step(oracle, &op);
}

static bool in_each_space(struct oracle *oracle, bool (*step)(struct oracle *oracle))
{
    struct op op = {.kind = OP_ENTER};

    for (op.handle = 0; op.handle < DRIVER_SPACES; op.handle++)
        if (oracle->model->lives[op.handle] && (!oracle_step(oracle, &op) || !step(oracle)))
            return false;
    return true;
}

bool oracle_finish(struct oracle *oracle)
{
    if (oracle->write_errors && !hear_of_errors(oracle))
        return false;
    if (!in_each_space(oracle, finish_space))
        return false;
    oracle->subject->check(oracle->subject);
    return finish_files(oracle) && in_each_space(oracle, unmap_space);
}
