/*
 * fsx_ops.c: the operations. Each draws what it needs from a generator that starts with the run's seed and
 * the operation's number, fits it to the file, the descriptors and the mappings as they are, does it by
 * calls_*, and does the same to the model. An operation that does not fit does nothing.
 */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MAP_LEN_MAX    ((size_t)2 << 20)
#define LOCK_PAGES_MAX 16
#define PRIVATE_PAGES  8 /* written at most: there is no swap */

struct map {
    unsigned char *addr; /* NULL: none */
    size_t len;
    uint64_t offset;
    bool may_write, writable, locked;
};

/* A private mapping: written pages are its own, whatever happens to the file. */
struct private
{
    unsigned char *addr;
    size_t len;
    uint64_t offset;
    unsigned npages;
    size_t page[PRIVATE_PAGES];
    unsigned char bytes[PRIVATE_PAGES][FSX_PAGE];
};

static const int fd_flags[FSX_FDS] = {O_RDWR, O_RDWR | O_APPEND, O_RDONLY, O_RDWR | O_DIRECT,
                                      O_RDWR | O_DSYNC};
enum { FD_PLAIN, FD_APPEND, FD_READ, FD_DIRECT, FD_DSYNC };

static const struct fsx_run *run;
static size_t len_max;
static uint64_t draw_state;
static struct map maps[FSX_MAPS];
static struct private private;
static _Alignas(4096) unsigned char buffer[FSX_LEN_MAX];
static _Thread_local sigjmp_buf bus;
static _Thread_local volatile sig_atomic_t bus_expected;

/* ---- drawing ------------------------------------------------------------------------------------------- */

/* splitmix64, by Sebastiano Vigna. */
static uint64_t draw(uint64_t below)
{
    uint64_t z = draw_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t n)
{
    return (n + FSX_PAGE - 1) & ~(FSX_PAGE - 1);
}

/*
 * Draws [*offset, *offset + *len) inside of [0, end), of any size, often
 * at the edges of pages. False: end is 0.
 */
static bool draw_range(size_t end, uint64_t *offset, size_t *len)
{
    size_t most = draw(8) == 0 ? (size_t)512 << 10 : draw(3) == 0 ? (size_t)40 << 10 : (size_t)6000;

    if (end == 0)
        return false;
    *offset = draw(end);
    *len = 1 + draw(most);
    if (draw(3) == 0)
        *offset -= *offset % FSX_PAGE;
    if (draw(3) == 0)
        *len = round_up(*len);
    *len = least(*len, end - *offset);
    return true;
}

/* Aligns the range for the direct descriptor. False: it holds no whole page. */
static bool align_range(size_t end, uint64_t *offset, size_t *len)
{
    *offset -= *offset % FSX_PAGE;
    *len = least(round_up(*len), (end - *offset) / FSX_PAGE * FSX_PAGE);
    return *len > 0;
}

static struct map *draw_map(void)
{
    struct map *map = &maps[draw(FSX_MAPS)];
    return map->addr != NULL ? map : NULL;
}

/* Bytes of the file that the map shows, those before `end`. */
static bool draw_mapped(const struct map *map, size_t end, uint64_t *offset, size_t *len)
{
    if (map == NULL || map->offset >= end || !draw_range(least(map->len, end - map->offset), offset, len))
        return false;
    *offset += map->offset;
    return true;
}

static int draw_writer(void)
{
    static const int writers[] = {FD_PLAIN, FD_APPEND, FD_DIRECT, FD_DSYNC};
    return writers[draw(4)];
}

static void told(const char *what, uint64_t offset, size_t len, int slot)
{
    if (run->verbose)
        printf("%6u %-10s [%#8zx, %#8zx) slot %d, length %#zx\n", op_number, what, (size_t)offset,
               (size_t)offset + len, slot, model_len);
}

static void must(int64_t result, int64_t wanted, const char *what)
{
    if (result != wanted)
        fail("%s returns %ld, must be %ld; length %#zx", what, (long)result, (long)wanted, model_len);
}

/* ---- reading and writing ------------------------------------------------------------------------------- */

/* The buffer in up to three pieces. */
static int pieces(struct iovec *iov, size_t len, bool aligned)
{
    size_t first = draw(2) == 0 ? len : draw(len + 1), second;

    if (aligned)
        first -= first % FSX_PAGE;
    second = draw(len - first + 1);
    if (aligned)
        second -= second % FSX_PAGE;
    iov[0] = (struct iovec){buffer, first};
    iov[1] = (struct iovec){buffer + first, second};
    iov[2] = (struct iovec){buffer + first + second, len - first - second};
    return first == len ? 1 : 3;
}

static void op_read(void)
{
    int fd = (int)draw(FSX_FDS);
    bool direct = fd == FD_DIRECT, by_position = draw(3) == 0;
    struct iovec iov[3];
    uint64_t offset;
    size_t len;

    if (!draw_range(len_max, &offset, &len) || (direct && !align_range(len_max, &offset, &len)))
        return;
    told("read", offset, len, fd);
    memset(buffer, 0xee, len);
    int64_t got = by_position ? calls_read(fd, buffer, len, offset)
                              : calls_preadv(fd, iov, pieces(iov, len, direct), offset);
    size_t there = offset < model_len ? least(len, model_len - offset) : 0;
    must(got, (int64_t)there, "a read");
    model_compare(buffer, offset, there, "a read");
}

static void op_write(void)
{
    int fd = draw_writer();
    bool direct = fd == FD_DIRECT, by_position = draw(3) == 0;
    struct iovec iov[3];
    uint64_t offset;
    size_t len;

    if (!draw_range(draw(3) == 0 ? len_max : least(model_len + FSX_PAGE, len_max), &offset, &len))
        return;
    if (fd == FD_APPEND) {
        offset = model_len;
        len = least(len, len_max - model_len);
    }
    if ((direct && !align_range(len_max, &offset, &len)) || len == 0)
        return;
    told("write", offset, len, fd);
    model_fill(buffer, offset, len, (uint32_t)draw(UINT32_MAX));
    int64_t done = by_position ? calls_write(fd, buffer, len, offset)
                               : calls_pwritev(fd, iov, pieces(iov, len, direct), offset);
    must(done, (int64_t)len, "a write");
    model_write(offset, buffer, len);
    if (fd == FD_DSYNC)
        model_compare_kernel(run->kernel_fd, offset, len);
}

static void op_map_read(void)
{
    const struct map *map = draw_map();
    uint64_t offset;
    size_t len;

    if (!draw_mapped(map, round_up(model_len), &offset, &len))
        return;
    told("map read", offset, len, (int)(map - maps));
    memcpy(buffer, map->addr + (offset - map->offset), len);
    model_compare(buffer, offset, len, "a mapped read");
}

static void op_map_write(void)
{
    const struct map *map = draw_map();
    uint64_t offset;
    size_t len;

    if (!draw_mapped(map, model_len, &offset, &len) || !map->writable)
        return;
    told("map write", offset, len, (int)(map - maps));
    model_fill(buffer, offset, len, (uint32_t)draw(UINT32_MAX));
    memcpy(map->addr + (offset - map->offset), buffer, len);
    model_write(offset, buffer, len);
}

/*
 * The buffer of a call on the file is a mapping of the same file: a read
 * stores to the file, a write loads from it.
 */
static void op_call_mapped(void)
{
    const struct map *map = draw_map();
    bool writes = draw(2) == 0;
    uint64_t mapped, offset;
    size_t len, room;

    if (!draw_mapped(map, model_len, &mapped, &len) || !draw_range(model_len, &offset, &room))
        return;
    len = least(len, room);
    if ((offset < mapped + len && mapped < offset + len) || (!writes && !map->writable))
        return;
    told(writes ? "from map" : "into map", offset, len, (int)(map - maps));
    struct iovec iov = {map->addr + (mapped - map->offset), len};
    must(writes ? calls_pwritev(FD_PLAIN, &iov, 1, offset) : calls_preadv(FD_PLAIN, &iov, 1, offset),
         (int64_t)len, "a call with mapped memory");
    if (writes)
        model_write(offset, model_bytes + mapped, len);
    else
        model_write(mapped, model_bytes + offset, len);
}

static void op_copy(void)
{
    uint64_t from, to;
    size_t len, room;

    if (!draw_range(model_len, &from, &len) || !draw_range(len_max, &to, &room))
        return;
    len = least(len, room);
    if (to < from + len && from < to + len)
        return;
    told("copy", from, len, (int)(to / FSX_PAGE));
    int64_t done = calls_copy(FD_PLAIN, from, to, len, (unsigned)draw(2));
    if (done == -EOPNOTSUPP)
        return;
    must(done, (int64_t)len, "a copy");
    model_write(to, model_bytes + from, len);
}

/* ---- the file's length and its holes ------------------------------------------------------------------- */

/* Private pages beyond the new end are removed, and the page that the end cuts may be. */
static void private_cut(size_t len)
{
    for (unsigned i = 0; i < private.npages;)
        if (private.offset + private.page[i] + FSX_PAGE > len) {
            private.page[i] = private.page[--private.npages];
            memcpy(private.bytes[i], private.bytes[private.npages], FSX_PAGE);
        } else {
            i++;
        }
}

static void op_truncate(void)
{
    size_t len =
        draw(3) == 0 ? draw(len_max + 1) : least(model_len / 2 + draw(model_len + FSX_PAGE), len_max);

    if (draw(4) == 0)
        len -= len % FSX_PAGE;
    told("truncate", len, 0, 0);
    must(calls_truncate(draw(2) == 0 ? FD_PLAIN : FD_DSYNC, len), 0, "truncate");
    private_cut(len);
    model_truncate(len);
}

static void op_hole(void)
{
    bool punch = draw(2) == 0;
    uint64_t offset;
    size_t len;

    if (!draw_range(len_max, &offset, &len))
        return;
    told(punch ? "punch" : "zero", offset, len, 0);
    int result = punch ? calls_punch(FD_PLAIN, offset, len) : calls_zero(FD_PLAIN, offset, len);
    if (result == -EOPNOTSUPP && !punch)
        return;
    must(result, 0, punch ? "punch" : "zero");
    if (punch && offset < model_len)
        model_write(offset, NULL, least(len, model_len - offset));
    else if (!punch)
        model_write(offset, NULL, len);
}

static void op_allocate(void)
{
    uint64_t offset;
    size_t len;

    if (!draw_range(len_max, &offset, &len))
        return;
    told("allocate", offset, len, 0);
    int result = calls_allocate(FD_PLAIN, offset, len);
    if (result == -EOPNOTSUPP)
        return;
    must(result, 0, "allocate");
    if (offset + len > model_len)
        model_truncate(offset + len);
}

static void op_size(void)
{
    int fd = (int)draw(FSX_FDS);
    unsigned char byte;

    told("size", 0, 0, fd);
    must(calls_size(fd), (int64_t)model_len, "the size");
    must(calls_preadv(FD_PLAIN, &(struct iovec){&byte, 1}, 1, model_len), 0, "a read at the end");
}

/* ---- syncs and advice ---------------------------------------------------------------------------------- */

static void op_fsync(void)
{
    int fd = draw_writer();
    uint64_t offset = 0;
    size_t len = FSX_LEN_MAX;

    told("fsync", 0, 0, fd);
    must(calls_fsync(fd, draw(2) == 0), 0, "fsync");
    if (draw(4) != 0 && !draw_range(len_max, &offset, &len))
        return;
    model_compare_kernel(run->kernel_fd, offset, len);
}

static void op_sync_range(void)
{
    uint64_t offset;
    size_t len;

    if (!draw_range(len_max, &offset, &len))
        return;
    told("sync range", offset, len, 0);
    must(calls_sync_range(FD_PLAIN, offset, draw(4) == 0 ? 0 : len, (unsigned)draw(8)), 0, "sync_file_range");
}

static void op_msync(void)
{
    static const int flags[] = {MS_SYNC, MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE};
    const struct map *map = draw_map();
    unsigned which = (unsigned)draw(4);
    uint64_t offset;
    size_t len;

    if (map == NULL || !draw_range(map->len, &offset, &len) || (map->locked && which == 3))
        return;
    len += offset % FSX_PAGE;
    offset -= offset % FSX_PAGE;
    told("msync", map->offset + offset, len, (int)(map - maps));
    must(calls_msync(map->addr + offset, len, flags[which]), 0, "msync");
    if ((flags[which] & MS_SYNC) != 0)
        model_compare_kernel(run->kernel_fd, map->offset + offset, least(len, FSX_LEN_MAX - offset));
}

static void op_fadvise(void)
{
    uint64_t offset;
    size_t len;
    int advice = (int)draw(6);

    if (!draw_range(len_max, &offset, &len))
        return;
    told("fadvise", offset, len, advice);
    must(calls_fadvise((int)draw(FSX_FDS), offset, draw(4) == 0 ? 0 : len, advice), 0, "fadvise");
}

static void op_madvise(void)
{
    static const int advices[] = {MADV_NORMAL,   MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
                                  MADV_DONTNEED, MADV_COLD,   MADV_PAGEOUT,    MADV_REMOVE};
    const struct map *map = draw_map();
    int advice = advices[draw(8)];
    uint64_t offset;
    size_t len;

    if (map == NULL || !draw_range(map->len, &offset, &len))
        return;
    len += offset % FSX_PAGE;
    offset -= offset % FSX_PAGE;
    if ((map->locked && (advice == MADV_DONTNEED || advice == MADV_COLD || advice == MADV_PAGEOUT)) ||
        (advice == MADV_REMOVE && (map->locked || !map->writable)))
        return;
    if (advice <= MADV_SEQUENTIAL) { /* of a part, it would split the mapping, and mremap takes only one */
        offset = 0;
        len = map->len;
    }
    told("madvise", map->offset + offset, len, advice);
    must(calls_madvise(map->addr + offset, len, advice), 0, "madvise");
    if (advice == MADV_REMOVE && map->offset + offset < model_len)
        model_write(map->offset + offset, NULL, least(round_up(len), model_len - map->offset - offset));
}

static void op_prefetch(void)
{
    struct iovec range[8];
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++) {
        const struct map *map = draw_map();
        uint64_t offset;
        size_t len;
        if (map == NULL || !draw_range(map->len, &offset, &len))
            continue;
        range[n++] = (struct iovec){map->addr + offset, least(len, 3 * FSX_PAGE)};
    }
    told("prefetch", 0, n, 0);
    must(calls_prefetch(range, n), 0, "prefetch");
}

static void op_mincore(void)
{
    const struct map *map = draw_map();

    if (map == NULL)
        return;
    told("mincore", map->offset, map->len, (int)(map - maps));
    must(calls_mincore(map->addr, map->len, buffer), 0, "mincore");
}

/* ---- descriptors and mappings -------------------------------------------------------------------------- */

static void map_drop(struct map *map)
{
    must(calls_munmap(map->addr, map->len), 0, "munmap");
    map->addr = NULL;
}

static void op_map(void)
{
    struct map *map = &maps[draw(FSX_MAPS)];
    int fd = draw(4) == 0 ? FD_READ : FD_PLAIN;
    void *addr = NULL;

    if (map->addr != NULL)
        map_drop(map);
    map->len = 1 + draw(draw(2) == 0 ? MAP_LEN_MAX : 20 * FSX_PAGE);
    map->offset = draw(draw(4) == 0 ? len_max : model_len + 1) / FSX_PAGE * FSX_PAGE;
    map->may_write = fd == FD_PLAIN;
    map->writable = map->may_write && draw(4) != 0;
    map->locked = false;
    told("map", map->offset, map->len, (int)(map - maps));
    must(calls_mmap(&addr, map->len, map->writable ? PROT_READ | PROT_WRITE : PROT_READ,
                    MAP_SHARED | (draw(16) == 0 ? MAP_POPULATE : 0), fd, map->offset),
         0, "mmap");
    map->addr = addr;
}

static void op_remap(void)
{
    struct map *map = draw_map();
    void *addr;
    size_t len;

    if (map == NULL || map->locked)
        return;
    addr = map->addr;
    len = 1 + draw(MAP_LEN_MAX);
    told("mremap", map->offset, len, (int)(map - maps));
    must(calls_mremap(&addr, map->len, len), 0, "mremap");
    map->addr = addr;
    map->len = len;
}

static void op_unmap(void)
{
    struct map *map = draw_map();

    if (map == NULL)
        return;
    told("unmap", map->offset, map->len, (int)(map - maps));
    map_drop(map);
}

static void op_protect(void)
{
    struct map *map = draw_map();

    if (map == NULL || !map->may_write)
        return;
    map->writable = !map->writable;
    told("mprotect", map->offset, map->len, (int)(map - maps));
    must(calls_mprotect(map->addr, map->len, map->writable ? PROT_READ | PROT_WRITE : PROT_READ), 0,
         "mprotect");
}

/* Locks pages at the mapping's start: more would take most of the limit. */
static void op_lock(void)
{
    struct map *map = draw_map();
    size_t len;

    if (map == NULL || map->offset >= model_len)
        return;
    len = least(least(map->len, LOCK_PAGES_MAX * FSX_PAGE), model_len - map->offset);
    if (map->locked)
        len = map->len;
    told(map->locked ? "munlock" : "mlock", map->offset, len, (int)(map - maps));
    must(calls_mlock(map->addr, len, !map->locked), 0, "mlock");
    map->locked = !map->locked;
}

static void op_reopen(void)
{
    int fd = (int)draw(FSX_FDS);

    told("reopen", 0, 0, fd);
    must(calls_close(fd), 0, "close");
    must(calls_open(fd, run->path, fd_flags[fd]), 0, "open");
}

/* Closes and unmaps everything, and opens and maps the file again. */
static void op_let_go(void)
{
    if (draw(4) != 0)
        return;
    told("let go", 0, 0, 0);
    ops_finish();
    ops_start(run);
}

/* ---- faults -------------------------------------------------------------------------------------------- */

void ops_on_bus(int signo)
{
    if (!bus_expected)
        fail("signal %d", signo);
    siglongjmp(bus, 1);
}

bool ops_cannot_reach(volatile unsigned char *at, bool writes)
{
    if (sigsetjmp(bus, 1) != 0) {
        bus_expected = 0;
        return true;
    }
    bus_expected = 1;
    if (writes)
        *at = 1;
    else
        (void)*at;
    bus_expected = 0;
    return false;
}

/* Pages beyond the last page of the file cannot be accessed. */
static void op_beyond(void)
{
    const struct map *map = draw_map();
    size_t end = round_up(model_len);
    uint64_t offset;
    bool writes;

    if (map == NULL || map->offset + round_up(map->len) <= end)
        return;
    offset = map->offset < end ? end : map->offset;
    offset += draw(map->offset + round_up(map->len) - offset);
    writes = map->writable && draw(2) == 0;
    told("beyond", offset, 1, (int)(map - maps));
    if (!ops_cannot_reach(map->addr + (offset - map->offset), writes))
        fail("a page beyond the end can be reached, at %#zx, length %#zx", (size_t)offset, model_len);
}

/* ---- private mappings ---------------------------------------------------------------------------------- */

static void private_check(void)
{
    for (unsigned i = 0; i < private.npages; i++)
        if (memcmp(private.addr + private.page[i], private.bytes[i], FSX_PAGE) != 0)
            fail("a private page, of %#zx, is not what was written to it",
                 (size_t) private.offset + private.page[i]);
}

static bool private_has(size_t page)
{
    for (unsigned i = 0; i < private.npages; i++)
        if (private.page[i] == page)
            return true;
    return false;
}

/* The page shows the file until it is written, and its own bytes from then on. */
static void private_write(size_t page)
{
    unsigned char *own = private.bytes[private.npages];
    size_t start = draw(FSX_PAGE), len = 1 + draw(FSX_PAGE - start);

    memcpy(own, model_bytes + private.offset + page, FSX_PAGE);
    model_fill(own + start, page + start, len, (uint32_t)draw(UINT32_MAX));
    memcpy(private.addr + page + start, own + start, len);
    private.page[private.npages++] = page;
}

/* Written at once, before it is read: when an unwritten page is copied is not defined. */
static void op_private(void)
{
    void *addr = NULL;

    if (private.addr != NULL && draw(3) != 0) {
        told("private", private.offset, private.len, (int)private.npages);
        private_check();
        return;
    }
    if (private.addr != NULL)
        must(calls_munmap(private.addr, private.len), 0, "munmap");
    private.addr = NULL;
    private.npages = 0;
    if (model_len < FSX_PAGE)
        return;
    private.offset = draw(model_len / FSX_PAGE) * FSX_PAGE;
    private.len = least(model_len - private.offset, 64 * FSX_PAGE) / FSX_PAGE * FSX_PAGE;
    told("private map", private.offset, private.len, 0);
    must(calls_mmap(&addr, private.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, FD_READ, private.offset), 0,
         "mmap, private");
    private.addr = addr;
    for (unsigned i = 0; i < PRIVATE_PAGES; i++) {
        size_t page = draw(private.len / FSX_PAGE) * FSX_PAGE;
        if (!private_has(page))
            private_write(page);
    }
    private_check();
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static const struct {
    unsigned weight;
    void (*act)(void);
} ops[] = {
    {20, op_read},    {20, op_write},     {20, op_map_read}, {20, op_map_write}, {6, op_call_mapped},
    {4, op_copy},     {4, op_truncate},   {5, op_hole},      {2, op_allocate},   {3, op_size},
    {4, op_fsync},    {3, op_sync_range}, {5, op_msync},     {4, op_fadvise},    {6, op_madvise},
    {3, op_prefetch}, {1, op_mincore},    {6, op_map},       {3, op_remap},      {1, op_unmap},
    {2, op_protect},  {2, op_lock},       {3, op_reopen},    {1, op_let_go},     {3, op_beyond},
    {3, op_private},
};
#define NOPS (sizeof ops / sizeof *ops)

void ops_do(unsigned number)
{
    unsigned sum = 0, pick;

    op_number = number;
    draw_state = run->seed * 0x2545f4914f6cdd1du + number * 0x9e3779b97f4a7c15u * 3;
    for (size_t i = 0; i < NOPS; i++)
        sum += ops[i].weight;
    pick = (unsigned)draw(sum);
    for (size_t i = 0; i < NOPS; i++) {
        if (pick < ops[i].weight) {
            ops[i].act();
            return;
        }
        pick -= ops[i].weight;
    }
}

void ops_start(const struct fsx_run *new_run)
{
    run = new_run;
    len_max = run->seed % 3 == 0 ? (size_t)200 << 10 : FSX_LEN_MAX;
    for (int fd = 0; fd < FSX_FDS; fd++)
        must(calls_open(fd, run->path, fd_flags[fd]), 0, "open");
}

void ops_finish(void)
{
    struct iovec iov = {buffer, len_max};

    must(calls_preadv(FD_READ, &iov, 1, 0), (int64_t)model_len, "a read of everything");
    model_compare(buffer, 0, model_len, "a read of everything");
    private_check();
    for (struct map *map = maps; map < maps + FSX_MAPS; map++)
        if (map->addr != NULL)
            map_drop(map);
    if (private.addr != NULL)
        must(calls_munmap(private.addr, private.len), 0, "munmap");
    private.addr = NULL;
    private.npages = 0;
    for (int fd = 0; fd < FSX_FDS; fd++)
        must(calls_close(fd), 0, "close");
}
