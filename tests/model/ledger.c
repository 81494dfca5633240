/* ledger.c: see ledger.h. */
#include "model/ledger.h"
#include "model/model.h"
#include "model/sim_driver.h"
#include <errno.h>
#include <faultline/vm.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE         DRIVER_PAGE
#define CAPACITY     (DRIVER_FILE_PAGES * PAGE)
#define SUBSETS_MAX  3   /* writes of which all subsets are cut */
#define CUT_PERMILLE 250 /* of the moments without a promise at which whole disks are cut and read */

struct ledger_file {
    struct ledger *ledger;
    struct sim_disk *disk;
    int file;
    uint64_t size;          /* when the operation is done, */
    uint64_t low, high;     /* and meanwhile: between */
    uint32_t npieces;       /* that are not durable, as of the last count */
    uint8_t last[CAPACITY]; /* the newest value of each byte, which is one of: */
    uint8_t may[CAPACITY][256 / 8];
};

struct ledger {
    struct oracle *oracle;
    struct prng prng;
    uint64_t moments;
    bool failed;
    char difference[256];
    struct ledger_file file[DRIVER_FILES];
};

/* ---- the sets ------------------------------------------------------------------------------------------ */

static void may_only(struct ledger_file *f, uint64_t off, uint8_t value)
{
    memset(f->may[off], 0, sizeof(f->may[off]));
    f->may[off][value / 8] = (uint8_t)(1u << value % 8);
}

static void may_also(struct ledger_file *f, uint64_t off, uint8_t value)
{
    f->may[off][value / 8] |= (uint8_t)(1u << value % 8);
}

static bool may(const struct ledger_file *f, uint64_t off, uint8_t value)
{
    return f->may[off][value / 8] >> value % 8 & 1;
}

/* Bytes [off, end) are on stable storage as they are. */
static void promise(struct ledger_file *f, uint64_t off, uint64_t end)
{
    for (end = end < f->size ? end : f->size; off < end; off++)
        may_only(f, off, f->last[off]);
}

static struct ledger *ledger_of(struct oracle *oracle)
{
    return oracle->watcher;
}

/* ---- cuts ---------------------------------------------------------------------------------------------- */

static void wrong(struct ledger_file *f, uint64_t off, uint8_t value, const char *where)
{
    struct ledger *ledger = f->ledger;

    if (!ledger->failed)
        snprintf(ledger->difference, sizeof(ledger->difference),
                 "after a power cut (%s, moment %" PRIu64 ") byte 0x%" PRIx64
                 " of file %d would be 0x%02x, which it never was since it was promised; it is 0x%02x",
                 where, ledger->moments, off, f->file, value, f->last[off]);
    ledger->failed = true;
}

static void look_at(struct ledger_file *f, uint64_t off, const uint8_t *bytes, size_t len, const char *where)
{
    size_t i;

    if (off >= f->high)
        return;
    len = len < f->high - off ? len : (size_t)(f->high - off);
    if (memcmp(bytes, f->last + off, len) == 0 && off + len <= f->size)
        return; /* the newest values are always in the sets */
    for (i = 0; i < len; i++)
        if (!may(f, off + i, bytes[i]))
            wrong(f, off + i, bytes[i], where);
}

static void look_at_piece(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg)
{
    struct ledger_file *f = arg;

    f->npieces++;
    look_at(f, offset, bytes, len_bytes, "a write that landed");
}

/* Consumes the cut disk. */
static void look_at_cut(struct ledger_file *f, struct sim_disk *cut, const char *where)
{
    uint64_t size = sim_disk_size(cut), off;
    uint8_t page[DRIVER_PAGE];

    if (size < f->low || size > f->high) {
        if (!f->ledger->failed)
            snprintf(f->ledger->difference, sizeof(f->ledger->difference),
                     "after a power cut file %d would be 0x%" PRIx64 " bytes long, not 0x%" PRIx64
                     " to 0x%" PRIx64,
                     f->file, size, f->low, f->high);
        f->ledger->failed = true;
    }
    for (off = 0; off < size; off += PAGE) {
        sim_disk_read(cut, off, page, PAGE);
        look_at(f, off, page, size - off < PAGE ? (size_t)(size - off) : PAGE, where);
    }
    sim_disk_destroy(cut);
}

/* Every byte that is not durable. */
static void look_at_pieces(struct ledger_file *f)
{
    f->ledger->moments++;
    f->npieces = 0;
    sim_disk_unsafe(f->disk, look_at_piece, f);
}

static void cut(struct ledger_file *f)
{
    uint64_t landed;

    look_at_cut(f, sim_disk_power_cut_landed(f->disk, 0), "nothing landed");
    for (landed = 1; f->npieces <= SUBSETS_MAX && landed < (uint64_t)1 << f->npieces; landed++)
        look_at_cut(f, sim_disk_power_cut_landed(f->disk, landed), "some landed");
    if (f->npieces > SUBSETS_MAX)
        look_at_cut(f, sim_disk_power_cut(f->disk, prng_next(&f->ledger->prng)), "torn");
}

/*
 * The power could fail now. Durable bytes were checked when they were
 * promised, and are not checked each time again.
 */
static void moment(struct sim_disk *disk, void *arg)
{
    struct ledger_file *f = arg;

    (void)disk;
    look_at_pieces(f);
    if (prng_chance(&f->ledger->prng, CUT_PERMILLE))
        cut(f);
}

/* ---- the operations ------------------------------------------------------------------------------------ */

/* Page [off, end) as the model has it joins the sets. */
static void note_page(struct ledger_file *f, const struct model_file *file, uint64_t off, uint64_t end)
{
    uint64_t i;

    if (memcmp(f->last + off, file->bytes + off, end - off) == 0)
        return;
    for (i = off; i < end; i++)
        if (f->last[i] != file->bytes[i])
            may_also(f, i, file->bytes[i]);
    memcpy(f->last + off, file->bytes + off, end - off);
}

/* The file that the call is on. */
static struct ledger_file *file_of(struct oracle *oracle, const struct op *op)
{
    return &ledger_of(oracle)->file[driver_handles[op->handle < 0 ? 0 : op->handle].file];
}

/* The file as the model has it joins the sets. */
static void note(struct ledger_file *f, const struct model_file *file)
{
    uint64_t i;

    f->low = file->size < f->size ? file->size : f->size;
    f->high = file->size < f->size ? f->size : file->size;
    for (i = f->size; i < file->size; i++) { /* a longer file begins with zeros there */
        may_only(f, i, 0);
        f->last[i] = 0;
    }
    for (i = 0; i < file->size; i += PAGE)
        note_page(f, file, i, file->size - i < PAGE ? file->size : i + PAGE);
    f->size = file->size;
}

static bool changes_files(const struct op *op)
{
    return op->kind == OP_STORE || op->kind == OP_HELD_STORE || op->kind == OP_SET_SIZE ||
           op->kind == OP_WRITE || op->kind == OP_TRUNCATE || op->kind == OP_PUNCH || op->kind == OP_MADVISE;
}

/*
 * A write that begins behind the end first makes the file as long as that. If it fails then, the file is cut
 * again; but when the power fails in between, zeros stay at its end.
 */
static void note_skip(struct ledger_file *f, const struct op *op)
{
    uint64_t i;

    if ((op->flags & FL_IOCB_APPEND) || op->off > CAPACITY || op->off <= f->high)
        return;
    for (i = f->high; i < op->off; i++) {
        may_only(f, i, 0);
        f->last[i] = 0;
    }
    f->high = op->off;
}

static void before(struct oracle *oracle, const struct op *op)
{
    int i;

    for (i = 0; changes_files(op) && i < DRIVER_FILES; i++)
        note(&ledger_of(oracle)->file[i], &model_of(oracle->model)->file[i]);
    if (op->kind == OP_WRITE)
        note_skip(file_of(oracle, op), op);
}

/* msync promises the pages that are mapped shared. */
static void promise_mapped(struct oracle *oracle, const struct op *op)
{
    uint64_t at = op->addr, end = (op->addr + op->len + PAGE - 1) & ~(PAGE - 1), start, stop;
    struct driver_region region;

    for (; at < end && oracle->model->region(oracle->model, at, &region) && region.start < end;
         at = region.end) {
        start = region.offset + ((region.start > at ? region.start : at) - region.start);
        stop = region.offset + ((region.end < end ? region.end : end) - region.start);
        if (region.file >= 0 && region.shared)
            promise(&ledger_of(oracle)->file[region.file], start, stop);
    }
}

static void keep_promises(struct oracle *oracle, const struct op *op, int64_t result)
{
    struct ledger_file *f = file_of(oracle, op);

    if (result < 0)
        return;
    if (op->kind == OP_MSYNC && (op->flags & FL_MS_SYNC))
        promise_mapped(oracle, op);
    else if (op->kind == OP_FSYNC)
        promise(f, 0, f->size);
    else if (op->kind == OP_WRITE && (op->flags & FL_IOCB_DSYNC) && (op->flags & FL_IOCB_APPEND))
        promise(f, f->size - (uint64_t)result, f->size);
    else if (op->kind == OP_WRITE && (op->flags & FL_IOCB_DSYNC))
        promise(f, op->off, op->off + (uint64_t)result);
}

static bool promises(const struct op *op)
{
    return op->kind == OP_MSYNC || op->kind == OP_FSYNC || op->kind == OP_TRUNCATE ||
           (op->kind == OP_WRITE && (op->flags & FL_IOCB_DSYNC));
}

static bool after(struct oracle *oracle, const struct op *op, const struct outcome *got)
{
    struct ledger *ledger = ledger_of(oracle);
    int i;

    keep_promises(oracle, op, got->result);
    for (i = 0; i < DRIVER_FILES; i++) {
        struct ledger_file *f = &ledger->file[i];

        f->low = f->high = f->size;
        if (promises(op)) {
            look_at_pieces(f);
            cut(f);
        }
    }
    if (ledger->failed)
        memcpy(oracle->difference, ledger->difference, sizeof(ledger->difference));
    return !ledger->failed;
}

static const struct oracle_watch watch = {.before = before, .after = after};

struct ledger *ledger_create(struct oracle *oracle, uint64_t seed)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    int i;

    if (ledger == NULL)
        abort();
    prng_init(&ledger->prng, seed);
    ledger->oracle = oracle;
    for (i = 0; i < DRIVER_FILES; i++) {
        struct ledger_file *f = &ledger->file[i];

        f->ledger = ledger;
        f->file = i;
        f->disk = sim_driver_disk(oracle->subject, i);
        note(f, &model_of(oracle->model)->file[i]);
        f->low = f->high;
        promise(f, 0, f->size);
        sim_disk_on_write(f->disk, moment, f);
    }
    oracle->watch = &watch;
    oracle->watcher = ledger;
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    ledger->oracle->watch = NULL;
    free(ledger);
}
