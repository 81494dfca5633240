/* op.c: drawing, printing and reading operations. See op.h. */
#include "model/op.h"
#include <faultline/vm.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE DRIVER_PAGE

static bool once_in(struct prng *r, uint64_t n)
{
    return prng_below(r, n) == 0;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */

static uint64_t draw_page(struct prng *r)
{
    return prng_below(r, DRIVER_WINDOW_PAGES) * PAGE;
}

/* Lengths: mostly a few pages, now and then many, now and then not a multiple of the page. */
static uint64_t draw_len(struct prng *r)
{
    uint64_t len = (1 + prng_below(r, 8)) * PAGE;

    if (once_in(r, 6))
        len = (1 + prng_below(r, 40)) * PAGE;
    if (once_in(r, 8))
        len -= 1 + prng_below(r, PAGE - 1);
    return len;
}

/* A range of pages that mostly begins in a mapping, and mostly ends there too. */
static void draw_range(struct op *op, struct prng *r, struct driver *looked_at)
{
    struct driver_region region;
    uint64_t pages, skip;

    op->addr = draw_page(r);
    op->len = draw_len(r);
    if (once_in(r, 10) || !looked_at->region(looked_at, op->addr, &region))
        return;
    pages = (region.end - region.start) / PAGE;
    skip = once_in(r, 2) ? 0 : prng_below(r, pages);
    op->addr = region.start + skip * PAGE;
    if (!once_in(r, 6))
        op->len = (1 + prng_below(r, pages - skip)) * PAGE;
    if (once_in(r, 20))
        op->len -= prng_below(r, PAGE);
}

static int draw_prot(struct prng *r)
{
    static const int prots[] = {VM_PROT_READ | VM_PROT_WRITE,
                                VM_PROT_READ | VM_PROT_WRITE,
                                VM_PROT_READ,
                                VM_PROT_NONE,
                                VM_PROT_READ | VM_PROT_EXECUTE,
                                VM_PROT_ALL,
                                VM_PROT_WRITE};
    return prots[prng_below(r, sizeof(prots) / sizeof(prots[0]))];
}

/* The page in which the file ends, or one a little before. */
static uint64_t draw_last_page(struct op *op, struct prng *r, struct driver *looked_at)
{
    uint64_t last = looked_at->file_size(looked_at, driver_handles[op->handle].file) / PAGE;
    uint64_t before = prng_below(r, 3);

    return (last < before ? 0 : last - before) * PAGE;
}

static void draw_mmap(struct op *op, struct prng *r, struct driver *looked_at)
{
    op->addr = DRIVER_ANY;
    op->len = draw_len(r);
    op->prot = once_in(r, 3) ? draw_prot(r) : VM_PROT_READ | VM_PROT_WRITE;
    op->flags = once_in(r, 2) ? FL_MAP_SHARED : FL_MAP_PRIVATE;
    switch (prng_below(r, 6)) {
    case 0:
    case 1:
        op->addr = draw_page(r);
        op->flags |= FL_MAP_FIXED;
        break;
    case 2:
        op->addr = draw_page(r);
        op->flags |= FL_MAP_FIXED_NOREPLACE;
        break;
    case 3:
        draw_range(op, r, looked_at); /* a hint, often a taken one */
        op->addr += once_in(r, 4) ? prng_below(r, PAGE) : 0;
        break;
    default:
        break;
    }
    if (once_in(r, 12))
        op->flags |= FL_MAP_POPULATE;
    if (once_in(r, 30))
        op->flags |= FL_MAP_LOCKED;
    if (once_in(r, 30))
        op->flags |= FL_MAP_NORESERVE;
    if (once_in(r, 3)) {
        op->flags |= FL_MAP_ANONYMOUS;
        op->handle = -1;
    } else {
        op->handle = (int)prng_below(r, DRIVER_HANDLES);
        op->off = prng_below(r, DRIVER_FILE_PAGES) * PAGE;
        if (once_in(r, 2))
            op->off = prng_below(r, 8) * PAGE;
        else if (once_in(r, 3))
            op->off = draw_last_page(op, r, looked_at);
    }
    if (once_in(r, 40))
        op->flags ^= (int)(1u << prng_below(r, 4)); /* a wrong type */
}

static void draw_mremap(struct op *op, struct prng *r, struct driver *looked_at)
{
    static const int flags[] = {0, FL_MREMAP_MAYMOVE, FL_MREMAP_MAYMOVE, FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED,
                                FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP};

    draw_range(op, r, looked_at);
    op->flags = flags[prng_below(r, 5)];
    op->len2 = once_in(r, 3) ? op->len : draw_len(r);
    if (op->flags & FL_MREMAP_DONTUNMAP)
        op->len2 = op->len;
    op->addr2 = draw_page(r);
}

static void draw_madvise(struct op *op, struct prng *r, struct driver *looked_at)
{
    static const int advice[] = {FL_MADV_NORMAL,        FL_MADV_RANDOM,         FL_MADV_SEQUENTIAL,
                                 FL_MADV_WILLNEED,      FL_MADV_DONTNEED,       FL_MADV_DONTNEED,
                                 FL_MADV_DONTNEED,      FL_MADV_COLD,           FL_MADV_PAGEOUT,
                                 FL_MADV_POPULATE_READ, FL_MADV_POPULATE_WRITE, FL_MADV_DONTFORK,
                                 FL_MADV_DOFORK,        FL_MADV_FREE,           FL_MADV_REMOVE,
                                 FL_MADV_WIPEONFORK,    FL_MADV_KEEPONFORK};

    draw_range(op, r, looked_at);
    op->flags = advice[prng_below(r, sizeof(advice) / sizeof(advice[0]))];
}

static void draw_msync(struct op *op, struct prng *r, struct driver *looked_at)
{
    static const int flags[] = {FL_MS_SYNC,  FL_MS_SYNC, FL_MS_SYNC,
                                FL_MS_ASYNC, 0,          FL_MS_SYNC | FL_MS_INVALIDATE};

    draw_range(op, r, looked_at);
    op->flags = flags[prng_below(r, 6)];
}

/* The address at which a file ends in the mapping at op->addr or in a later one, or op->addr. */
static uint64_t draw_at_end(const struct op *op, struct driver *looked_at)
{
    struct driver_region region;
    uint64_t size;

    if (!looked_at->region(looked_at, op->addr, &region) || region.file < 0)
        return op->addr;
    size = looked_at->file_size(looked_at, region.file);
    if (size < region.offset || size - region.offset >= region.end - region.start)
        return op->addr;
    return region.start + (size - region.offset);
}

/* Bytes anywhere in a mapping, across page borders too. */
static void draw_access(struct op *op, struct prng *r, struct driver *looked_at)
{
    draw_range(op, r, looked_at);
    if (once_in(r, 6))
        op->addr = draw_at_end(op, looked_at);
    op->addr += prng_below(r, once_in(r, 3) ? 256 : PAGE);
    op->len = 1 + prng_below(r, once_in(r, 3) ? 3 * PAGE : 64);
    op->value = prng_next(r);
}

static void draw_set_size(struct op *op, struct prng *r)
{
    op->handle = (int)prng_below(r, DRIVER_FILES);
    op->len = prng_below(r, DRIVER_FILE_PAGES) * PAGE;
    if (once_in(r, 2))
        op->len += prng_below(r, PAGE);
}

/* A few pages of a mapping. */
static void draw_hold(struct op *op, struct prng *r, struct driver *looked_at)
{
    draw_range(op, r, looked_at);
    op->len = op->len == 0 ? 1 : op->len > DRIVER_HOLD_BYTES ? DRIVER_HOLD_BYTES : op->len;
    op->addr += prng_below(r, 64);
    op->prot = once_in(r, 3) ? VM_PROT_READ : VM_PROT_WRITE;
}

/* Bytes of a range that is held, if there is one. */
static void draw_held(struct op *op, struct prng *r, struct driver *looked_at)
{
    struct driver_hold hold;

    if (looked_at->held == NULL || !looked_at->held(looked_at, op->handle, &hold))
        hold = (struct driver_hold){.len = 1};
    op->addr = hold.addr + prng_below(r, hold.len);
    op->len = 1 + prng_below(r, hold.addr + hold.len - op->addr);
    op->value = prng_next(r);
}

static enum op_kind draw_kind(struct prng *r, enum op_mix mix)
{
    static const struct {
        enum op_kind kind;
        unsigned weight[4]; /* by op_mix */
    } kinds[] = {
        {OP_MMAP, {12, 5, 6, 12}},     {OP_MUNMAP, {6, 2, 2, 5}},   {OP_MPROTECT, {8, 2, 1, 5}},
        {OP_MREMAP, {5, 1, 1, 4}},     {OP_MSYNC, {5, 3, 8, 1}},    {OP_MADVISE, {8, 5, 4, 9}},
        {OP_MINCORE, {2, 1, 0, 1}},    {OP_MLOCK, {2, 1, 1, 2}},    {OP_MUNLOCK, {3, 2, 1, 2}},
        {OP_BRK, {1, 0, 0, 1}},        {OP_LOAD, {24, 14, 4, 20}},  {OP_STORE, {24, 18, 30, 30}},
        {OP_SET_SIZE, {2, 1, 1, 1}},   {OP_PREFETCH, {1, 1, 0, 0}}, {OP_READ, {3, 20, 4, 1}},
        {OP_HOLD, {4, 6, 3, 3}},       {OP_UNHOLD, {1, 1, 1, 1}},   {OP_HELD_LOAD, {2, 4, 0, 1}},
        {OP_HELD_STORE, {5, 8, 6, 4}}, {OP_WRITE, {3, 24, 30, 3}},  {OP_TRUNCATE, {1, 5, 6, 1}},
        {OP_PUNCH, {1, 5, 6, 1}},      {OP_FSYNC, {1, 4, 8, 0}},    {OP_SYNC_RANGE, {1, 3, 6, 0}},
        {OP_FADVISE, {1, 3, 2, 0}},    {OP_FORK, {0, 0, 0, 5}},     {OP_ENTER, {0, 0, 0, 8}},
        {OP_EXIT, {0, 0, 0, 3}},
    };
    uint64_t total = 0, at;
    unsigned i;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        total += kinds[i].weight[mix];
    at = prng_below(r, total);
    for (i = 0; at >= kinds[i].weight[mix]; i++)
        at -= kinds[i].weight[mix];
    return kinds[i].kind;
}

/* No range reaches beyond the window's end, where the drivers differ. */
static void clip(struct op *op)
{
    if (op->kind == OP_BRK || op->kind == OP_SET_SIZE || op->kind >= OP_READ)
        return;
    if (op->addr != DRIVER_ANY && op->len > DRIVER_WINDOW_BYTES - op->addr)
        op->len = DRIVER_WINDOW_BYTES - op->addr;
    if ((op->kind == OP_MREMAP || op->kind == OP_PREFETCH) && op->len2 > DRIVER_WINDOW_BYTES - op->addr2)
        op->len2 = DRIVER_WINDOW_BYTES - op->addr2;
}

static void draw_prefetch(struct op *op, struct prng *r, struct driver *looked_at)
{
    draw_range(op, r, looked_at);
    op->addr2 = op->addr + prng_below(r, PAGE);
    op->len2 = op->len;
    draw_range(op, r, looked_at);
}

/* Mostly a space with which the call can succeed. */
static void draw_space(struct op *op, struct prng *r, struct driver *looked_at)
{
    bool wants = op->kind != OP_FORK;
    int tries = 8;

    do
        op->handle = (int)prng_below(r, DRIVER_SPACES);
    while (looked_at->lives[op->handle] != wants && --tries > 0);
}

/* The arguments of an operation whose kind is drawn. */
static void draw_args(struct op *op, struct prng *r, struct driver *looked_at)
{
    switch (op->kind) {
    case OP_MMAP:
        draw_mmap(op, r, looked_at);
        break;
    case OP_MREMAP:
        draw_mremap(op, r, looked_at);
        break;
    case OP_MSYNC:
        draw_msync(op, r, looked_at);
        break;
    case OP_MADVISE:
        draw_madvise(op, r, looked_at);
        break;
    case OP_LOAD:
    case OP_STORE:
        draw_access(op, r, looked_at);
        break;
    case OP_SET_SIZE:
        draw_set_size(op, r);
        break;
    case OP_BRK:
        op->addr = DRIVER_BRK_START + prng_below(r, DRIVER_BRK_LIMIT - DRIVER_BRK_START + 3 * PAGE) - PAGE;
        break;
    case OP_PREFETCH:
        draw_prefetch(op, r, looked_at);
        break;
    case OP_HOLD:
        draw_hold(op, r, looked_at);
        break;
    case OP_UNHOLD:
        break;
    case OP_FORK:
    case OP_ENTER:
    case OP_EXIT:
        draw_space(op, r, looked_at);
        break;
    case OP_HELD_LOAD:
    case OP_HELD_STORE:
        draw_held(op, r, looked_at);
        break;
    default:
        draw_range(op, r, looked_at);
        op->prot = draw_prot(r);
        break;
    }
}

void op_draw(struct op *op, struct prng *r, struct driver *looked_at, enum op_mix mix)
{
    memset(op, 0, sizeof(*op));
    op->kind = draw_kind(r, mix);
    if (op->kind >= OP_HOLD && op->kind <= OP_HELD_STORE)
        op->handle = (int)prng_below(r, DRIVER_HOLDS);
    if (op_is_of_file(op))
        op_draw_file(op, r, looked_at);
    else
        draw_args(op, r, looked_at);
    if (op->kind <= OP_MUNLOCK && once_in(r, 100))
        op->addr += op->addr == DRIVER_ANY ? 0 : 1 + prng_below(r, PAGE - 1); /* misaligned */
    if (op->kind <= OP_MUNLOCK && once_in(r, 100))
        op->len = 0;
    clip(op);
}

uint8_t op_byte(const struct op *op, uint64_t i)
{
    return (uint8_t)prng_mix(op->value + i);
}

/* ---- printing and reading ------------------------------------------------------------------------------ */

static const char *const kind_names[OP_KINDS] = {
    "mmap",  "munmap",  "mprotect",   "mremap",     "msync", "madvise",  "mincore",
    "mlock", "munlock", "brk",        "load",       "store", "set_size", "prefetch",
    "hold",  "unhold",  "held_load",  "held_store", "read",  "write",    "truncate",
    "punch", "fsync",   "sync_range", "fadvise",    "fork",  "enter",    "exit",
};

void op_print(const struct op *op, FILE *out)
{
    fprintf(out,
            "%s(addr=0x%" PRIx64 ", len=0x%" PRIx64 ", addr2=0x%" PRIx64 ", len2=0x%" PRIx64
            ", prot=%d, flags=0x%x, handle=%d, off=0x%" PRIx64 ", value=0x%" PRIx64 ");\n",
            kind_names[op->kind], op->addr, op->len, op->addr2, op->len2, op->prot, (unsigned)op->flags,
            op->handle, op->off, op->value);
}

bool op_parse(const char *line, struct op *op)
{
    char name[16];
    unsigned flags;
    int kind;

    memset(op, 0, sizeof(*op));
    if (sscanf(line,
               " %15[a-z_](addr=%" SCNx64 ", len=%" SCNx64 ", addr2=%" SCNx64 ", len2=%" SCNx64
               ", prot=%d, flags=%x, handle=%d, off=%" SCNx64 ", value=%" SCNx64,
               name, &op->addr, &op->len, &op->addr2, &op->len2, &op->prot, &flags, &op->handle, &op->off,
               &op->value) != 10)
        return false;
    op->flags = (int)flags;
    for (kind = 0; kind < OP_KINDS; kind++) {
        if (strcmp(name, kind_names[kind]) == 0) {
            op->kind = (enum op_kind)kind;
            return true;
        }
    }
    return false;
}
