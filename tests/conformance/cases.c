/*
 * cases.c: one call on a map that is always the same, and the result it must have.
 *
 *   page  0x10 ──── 0x18  private file 0, rw-          0x40 ── 0x44  private anonymous, rw-
 *         0x20 ──── 0x28  shared file 0, rw-           0x44          hole
 *         0x30 ── 0x34    shared file 0 opened         0x45 ── 0x48  private anonymous, rw-
 *                         read-only, r--               0x60 ─ 0x62   private anonymous, ---
 *         0x50 ──── 0x5c  shared file 1 from its page  0x68 ── 0x6c  shared file 0, locked
 *                         0x28: it ends in 0x57        0x70 ── 0x74  shared anonymous, rw-
 */
#include "conformance/suite.h"
#include "model/differences.h"
#include "model/outcome.h"
#include <errno.h>
#include <faultline/vm.h>
#include <inttypes.h>
#include <stdio.h>

#define P(n)     ((n)*DRIVER_PAGE)
#define RW       (VM_PROT_READ | VM_PROT_WRITE)
#define ANON     (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)
#define FIXED    FL_MAP_FIXED
#define MAYMOVE  FL_MREMAP_MAYMOVE
#define MOVE     (FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED)
#define MAP_SYNC 0x80000 /* of persistent memory only */
#define HUGE_LEN (UINT64_MAX - 100)

struct suite_case {
    const char *name;
    struct op op;
    int64_t result;
};
#define AT_END 1 /* as op.value: op.addr counts from the end of the address space */

static const struct op layout[] = {
    {OP_MMAP, .addr = P(0x10), .len = P(8), .prot = RW, .flags = FL_MAP_PRIVATE | FIXED, .handle = 0},
    {OP_MMAP, .addr = P(0x20), .len = P(8), .prot = RW, .flags = FL_MAP_SHARED | FIXED, .handle = 0},
    {OP_MMAP, .addr = P(0x30), .len = P(4), .prot = VM_PROT_READ, .flags = FL_MAP_SHARED | FIXED,
     .handle = 2},
    {OP_MMAP, .addr = P(0x40), .len = P(4), .prot = RW, .flags = ANON | FIXED, .handle = -1},
    {OP_MMAP, .addr = P(0x45), .len = P(3), .prot = RW, .flags = ANON | FIXED, .handle = -1},
    {OP_MMAP, .addr = P(0x50), .len = P(12), .prot = RW, .flags = FL_MAP_SHARED | FIXED, .handle = 1,
     .off = P(0x28)},
    {OP_MMAP, .addr = P(0x60), .len = P(2), .prot = VM_PROT_NONE, .flags = ANON | FIXED, .handle = -1},
    {OP_MMAP, .addr = P(0x68), .len = P(4), .prot = RW, .flags = FL_MAP_SHARED | FIXED | FL_MAP_LOCKED,
     .handle = 0},
    {OP_MMAP, .addr = P(0x70), .len = P(4), .prot = RW, .flags = FL_MAP_SHARED | FL_MAP_ANONYMOUS | FIXED,
     .handle = -1},
};

static const struct suite_case mmap_cases[] = {
    {"length 0", {OP_MMAP, .addr = DRIVER_ANY, .prot = RW, .flags = ANON, .handle = -1}, -EINVAL},
    {"offset not of a page",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW, .flags = FL_MAP_SHARED, .off = 1},
     -EINVAL},
    {"no sharing said",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW, .flags = FL_MAP_ANONYMOUS, .handle = -1},
     -EINVAL},
    {"no sharing said, file", {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW}, -EINVAL},
    {"anonymous, validated",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW,
      .flags = FL_MAP_SHARED_VALIDATE | FL_MAP_ANONYMOUS, .handle = -1},
     -EINVAL},
    {"fixed, not at a page",
     {OP_MMAP, .addr = P(1) + 1, .len = P(1), .prot = RW, .flags = ANON | FIXED, .handle = -1},
     -EINVAL},
    {"stack of a file",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW, .flags = FL_MAP_PRIVATE | FL_MAP_GROWSDOWN},
     -EINVAL},
    {"stack, shared",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW,
      .flags = FL_MAP_SHARED | FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN, .handle = -1},
     -EINVAL},
    {"no file",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW, .flags = FL_MAP_SHARED, .handle = -1},
     -EBADF},
    {"no file and length 0",
     {OP_MMAP, .addr = DRIVER_ANY, .prot = RW, .flags = FL_MAP_SHARED, .handle = -1},
     -EBADF},
    {"file not readable",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = VM_PROT_READ, .flags = FL_MAP_SHARED, .handle = 4},
     -EACCES},
    {"file not readable, private",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = VM_PROT_READ, .flags = FL_MAP_PRIVATE, .handle = 4},
     -EACCES},
    {"file not readable, for writing only",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = VM_PROT_WRITE, .flags = FL_MAP_SHARED, .handle = 4},
     -EACCES},
    {"file not writable",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = RW, .flags = FL_MAP_SHARED, .handle = 2},
     -EACCES},
    {"offset overflows",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(2), .prot = VM_PROT_READ, .flags = FL_MAP_SHARED,
      .off = (uint64_t)0 - P(1)},
     -EOVERFLOW},
    {"length beyond everything",
     {OP_MMAP, .addr = DRIVER_ANY, .len = (uint64_t)1 << 62, .prot = RW, .flags = ANON, .handle = -1},
     -ENOMEM},
    {"length that rounds to 0",
     {OP_MMAP, .addr = DRIVER_ANY, .len = HUGE_LEN, .prot = RW, .flags = ANON, .handle = -1},
     -ENOMEM},
    {"fixed at the end of memory",
     {OP_MMAP, .addr = 0, .len = P(1), .prot = RW, .flags = ANON | FIXED, .handle = -1, .value = AT_END},
     -ENOMEM},
    {"fixed, noreplace, taken",
     {OP_MMAP, .addr = P(0x43), .len = P(2), .prot = RW, .flags = ANON | FL_MAP_FIXED_NOREPLACE,
      .handle = -1},
     -EEXIST},
    {"fixed, noreplace, free",
     {OP_MMAP, .addr = P(0x44), .len = P(1), .prot = RW, .flags = ANON | FL_MAP_FIXED_NOREPLACE,
      .handle = -1},
     (int64_t)P(0x44)},
    {"validated, a flag that the file cannot honour",
     {OP_MMAP, .addr = DRIVER_ANY, .len = P(1), .prot = VM_PROT_READ,
      .flags = FL_MAP_SHARED_VALIDATE | MAP_SYNC},
     -EOPNOTSUPP},
    {"hint that is free",
     {OP_MMAP, .addr = P(0x100), .len = P(2), .prot = RW, .flags = ANON, .handle = -1},
     (int64_t)P(0x100)},
    {"hint inside a page",
     {OP_MMAP, .addr = P(0x100) + 5, .len = P(2), .prot = RW, .flags = ANON, .handle = -1},
     (int64_t)P(0x100)},
    {"hint that is taken",
     {OP_MMAP, .addr = P(0x20), .len = P(2), .prot = RW, .flags = ANON, .handle = -1},
     (int64_t)(DRIVER_WINDOW_BYTES - P(2))},
    {"private, read-only file, for writing",
     {OP_MMAP, .addr = P(0x100), .len = P(1), .prot = RW, .flags = FL_MAP_PRIVATE, .handle = 2},
     (int64_t)P(0x100)},
    {"beyond the end of the file",
     {OP_MMAP, .addr = P(0x100), .len = P(4), .prot = RW, .flags = FL_MAP_SHARED, .off = P(0x1000)},
     (int64_t)P(0x100)},
};

static const struct suite_case munmap_cases[] = {
    {"not at a page", {OP_MUNMAP, .addr = P(0x10) + 1, .len = P(1)}, -EINVAL},
    {"length 0", {OP_MUNMAP, .addr = P(0x10)}, -EINVAL},
    {"length beyond everything", {OP_MUNMAP, .addr = P(0x10), .len = (uint64_t)1 << 62}, -EINVAL},
    {"length that rounds to 0", {OP_MUNMAP, .addr = P(0x10), .len = HUGE_LEN}, -EINVAL},
    {"beyond the end of memory", {OP_MUNMAP, .addr = P(16), .len = P(1), .value = AT_END}, -EINVAL},
    {"nothing there", {OP_MUNMAP, .addr = P(0x100), .len = P(4)}, 0},
    {"across holes", {OP_MUNMAP, .addr = P(0x40), .len = P(0x18)}, 0},
    {"part of a page", {OP_MUNMAP, .addr = P(0x40), .len = 1}, 0},
};

static const struct suite_case mprotect_cases[] = {
    {"not at a page", {OP_MPROTECT, .addr = P(0x10) + 1, .len = P(1), .prot = VM_PROT_READ}, -EINVAL},
    {"unknown protection", {OP_MPROTECT, .addr = P(0x10), .len = P(1), .prot = 0x40}, -EINVAL},
    {"growing both ways", {OP_MPROTECT, .addr = P(0x10), .len = P(1), .prot = 0x03000000}, -EINVAL},
    {"growing down, no stack",
     {OP_MPROTECT, .addr = P(0x10), .len = P(1), .prot = 0x01000000 | VM_PROT_READ},
     -EINVAL},
    {"growing up, no such mapping",
     {OP_MPROTECT, .addr = P(0x10), .len = P(1), .prot = 0x02000000 | VM_PROT_READ},
     -EINVAL},
    {"length 0", {OP_MPROTECT, .addr = P(0x100), .prot = VM_PROT_READ}, 0},
    {"nothing there", {OP_MPROTECT, .addr = P(0x100), .len = P(1), .prot = VM_PROT_READ}, -ENOMEM},
    {"a hole in it", {OP_MPROTECT, .addr = P(0x40), .len = P(8), .prot = VM_PROT_READ}, -ENOMEM},
    {"runs out of the mapping", {OP_MPROTECT, .addr = P(0x46), .len = P(4), .prot = VM_PROT_READ}, -ENOMEM},
    {"length that wraps", {OP_MPROTECT, .addr = P(0x10), .len = HUGE_LEN, .prot = VM_PROT_READ}, -ENOMEM},
    {"writing to a file opened for reading",
     {OP_MPROTECT, .addr = P(0x30), .len = P(1), .prot = RW},
     -EACCES},
    {"part of a mapping", {OP_MPROTECT, .addr = P(0x22), .len = P(2), .prot = VM_PROT_READ}, 0},
    {"everything allowed", {OP_MPROTECT, .addr = P(0x10), .len = P(8), .prot = VM_PROT_ALL}, 0},
};

static const struct suite_case mremap_cases[] = {
    {"not at a page", {OP_MREMAP, .addr = P(0x40) + 1, .len = P(1), .len2 = P(2)}, -EINVAL},
    {"unknown flag", {OP_MREMAP, .addr = P(0x40), .len = P(1), .len2 = P(2), .flags = 8}, -EINVAL},
    {"new length 0", {OP_MREMAP, .addr = P(0x40), .len = P(1)}, -EINVAL},
    {"fixed, may not move",
     {OP_MREMAP, .addr = P(0x40), .len = P(1), .len2 = P(1), .flags = FL_MREMAP_FIXED, .addr2 = P(0x100)},
     -EINVAL},
    {"fixed, not at a page",
     {OP_MREMAP, .addr = P(0x40), .len = P(1), .len2 = P(1), .flags = MOVE, .addr2 = P(0x100) + 1},
     -EINVAL},
    {"fixed, overlapping",
     {OP_MREMAP, .addr = P(0x40), .len = P(4), .len2 = P(4), .flags = MOVE, .addr2 = P(0x41)},
     -EINVAL},
    {"fixed, overlapping from below",
     {OP_MREMAP, .addr = P(0x40), .len = P(2), .len2 = P(4), .flags = MOVE, .addr2 = P(0x3d)},
     -EINVAL},
    {"old length 0, private", {OP_MREMAP, .addr = P(0x40), .len2 = P(1), .flags = MAYMOVE}, -EINVAL},
    {"nothing there", {OP_MREMAP, .addr = P(0x100), .len = P(1), .len2 = P(2), .flags = MAYMOVE}, -EFAULT},
    {"more than the mapping",
     {OP_MREMAP, .addr = P(0x46), .len = P(4), .len2 = P(5), .flags = MAYMOVE},
     -EFAULT},
    {"two kinds of mapping",
     {OP_MREMAP, .addr = P(0x40), .len = P(0x18), .len2 = P(0x20), .flags = MAYMOVE},
     -EFAULT},
    {"cannot grow in place", {OP_MREMAP, .addr = P(0x40), .len = P(4), .len2 = P(6)}, -ENOMEM},
    {"the middle cannot grow in place", {OP_MREMAP, .addr = P(0x21), .len = P(2), .len2 = P(3)}, -ENOMEM},
    {"more than there is",
     {OP_MREMAP, .addr = P(0x40), .len = P(4), .len2 = (uint64_t)1 << 46, .flags = MAYMOVE},
     -ENOMEM},
    {"grows in place", {OP_MREMAP, .addr = P(0x45), .len = P(3), .len2 = P(6)}, (int64_t)P(0x45)},
    {"shrinks", {OP_MREMAP, .addr = P(0x20), .len = P(8), .len2 = P(3)}, (int64_t)P(0x20)},
    {"same length", {OP_MREMAP, .addr = P(0x20), .len = P(8), .len2 = P(8)}, (int64_t)P(0x20)},
    {"moves to grow",
     {OP_MREMAP, .addr = P(0x40), .len = P(4), .len2 = P(8), .flags = MAYMOVE},
     (int64_t)(DRIVER_WINDOW_BYTES - P(8))},
    {"moves where it is told",
     {OP_MREMAP, .addr = P(0x20), .len = P(8), .len2 = P(8), .flags = MOVE, .addr2 = P(0x120)},
     (int64_t)P(0x120)},
    {"moves over something",
     {OP_MREMAP, .addr = P(0x20), .len = P(4), .len2 = P(4), .flags = MOVE, .addr2 = P(0x50)},
     (int64_t)P(0x50)},
    {"once more",
     {OP_MREMAP, .addr = P(0x20), .len2 = P(4), .flags = MAYMOVE},
     (int64_t)(DRIVER_WINDOW_BYTES - P(4))},
    {"leaves the old, lengths differ",
     {OP_MREMAP, .addr = P(0x40), .len = P(2), .len2 = P(3), .flags = MAYMOVE | FL_MREMAP_DONTUNMAP},
     -EINVAL},
    {"leaves the old",
     {OP_MREMAP, .addr = P(0x40), .len = P(2), .len2 = P(2), .flags = MAYMOVE | FL_MREMAP_DONTUNMAP},
     (int64_t)(DRIVER_WINDOW_BYTES - P(2))},
};

static const struct suite_case msync_cases[] = {
    {"not at a page", {OP_MSYNC, .addr = P(0x20) + 1, .len = P(1), .flags = FL_MS_SYNC}, -EINVAL},
    {"unknown flag", {OP_MSYNC, .addr = P(0x20), .len = P(1), .flags = 8}, -EINVAL},
    {"both now and later",
     {OP_MSYNC, .addr = P(0x20), .len = P(1), .flags = FL_MS_SYNC | FL_MS_ASYNC},
     -EINVAL},
    {"invalidating what is locked",
     {OP_MSYNC, .addr = P(0x68), .len = P(1), .flags = FL_MS_SYNC | FL_MS_INVALIDATE},
     -EBUSY},
    {"nothing there", {OP_MSYNC, .addr = P(0x100), .len = P(1), .flags = FL_MS_SYNC}, -ENOMEM},
    {"nothing there, later", {OP_MSYNC, .addr = P(0x100), .len = P(1), .flags = FL_MS_ASYNC}, -ENOMEM},
    {"a hole in it", {OP_MSYNC, .addr = P(0x40), .len = P(8), .flags = FL_MS_SYNC}, -ENOMEM},
    {"length that wraps",
     {OP_MSYNC, .addr = P(0x20), .len = (uint64_t)0 - P(1), .flags = FL_MS_SYNC},
     -ENOMEM},
    {"length 0", {OP_MSYNC, .addr = P(0x100), .flags = FL_MS_SYNC}, 0},
    {"no flag", {OP_MSYNC, .addr = P(0x20), .len = P(8)}, 0},
    {"later", {OP_MSYNC, .addr = P(0x20), .len = P(8), .flags = FL_MS_ASYNC}, 0},
    {"private", {OP_MSYNC, .addr = P(0x10), .len = P(8), .flags = FL_MS_SYNC}, 0},
    {"anonymous", {OP_MSYNC, .addr = P(0x40), .len = P(4), .flags = FL_MS_SYNC}, 0},
    {"beyond the end of the file", {OP_MSYNC, .addr = P(0x58), .len = P(4), .flags = FL_MS_SYNC}, 0},
};

static const struct suite_case madvise_cases[] = {
    {"not at a page", {OP_MADVISE, .addr = P(0x20) + 1, .len = P(1), .flags = FL_MADV_WILLNEED}, -EINVAL},
    {"unknown advice", {OP_MADVISE, .addr = P(0x20), .len = P(1), .flags = 99}, -EINVAL},
    {"length that rounds to 0",
     {OP_MADVISE, .addr = P(0x20), .len = HUGE_LEN, .flags = FL_MADV_NORMAL},
     -EINVAL},
    {"length that wraps",
     {OP_MADVISE, .addr = P(0x20), .len = (uint64_t)0 - P(1), .flags = FL_MADV_NORMAL},
     -EINVAL},
    {"dropping what is locked",
     {OP_MADVISE, .addr = P(0x68), .len = P(1), .flags = FL_MADV_DONTNEED},
     -EINVAL},
    {"locked is cold", {OP_MADVISE, .addr = P(0x68), .len = P(1), .flags = FL_MADV_COLD}, -EINVAL},
    {"locked goes out", {OP_MADVISE, .addr = P(0x68), .len = P(1), .flags = FL_MADV_PAGEOUT}, -EINVAL},
    {"removing from locked", {OP_MADVISE, .addr = P(0x68), .len = P(1), .flags = FL_MADV_REMOVE}, -EINVAL},
    {"removing from private anonymous",
     {OP_MADVISE, .addr = P(0x40), .len = P(1), .flags = FL_MADV_REMOVE},
     -EINVAL},
    {"removing from private", {OP_MADVISE, .addr = P(0x10), .len = P(1), .flags = FL_MADV_REMOVE}, -EACCES},
    {"removing from a read-only file",
     {OP_MADVISE, .addr = P(0x30), .len = P(1), .flags = FL_MADV_REMOVE},
     -EACCES},
    {"populating for writing what is read-only",
     {OP_MADVISE, .addr = P(0x30), .len = P(1), .flags = FL_MADV_POPULATE_WRITE},
     -EINVAL},
    {"populating what has no rights",
     {OP_MADVISE, .addr = P(0x60), .len = P(1), .flags = FL_MADV_POPULATE_READ},
     -EINVAL},
    {"populating beyond the end of the file",
     {OP_MADVISE, .addr = P(0x58), .len = P(1), .flags = FL_MADV_POPULATE_READ},
     -EFAULT},
    {"populating nothing",
     {OP_MADVISE, .addr = P(0x100), .len = P(1), .flags = FL_MADV_POPULATE_READ},
     -ENOMEM},
    {"nothing there", {OP_MADVISE, .addr = P(0x100), .len = P(1), .flags = FL_MADV_NORMAL}, -ENOMEM},
    {"a hole in it", {OP_MADVISE, .addr = P(0x40), .len = P(8), .flags = FL_MADV_DONTNEED}, -ENOMEM},
    {"a hole in it, sequential",
     {OP_MADVISE, .addr = P(0x40), .len = P(8), .flags = FL_MADV_SEQUENTIAL},
     -ENOMEM},
    {"length 0", {OP_MADVISE, .addr = P(0x100), .flags = FL_MADV_NORMAL}, 0},
    {"normal", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_NORMAL}, 0},
    {"random", {OP_MADVISE, .addr = P(0x21), .len = P(2), .flags = FL_MADV_RANDOM}, 0},
    {"sequential", {OP_MADVISE, .addr = P(0x21), .len = P(2), .flags = FL_MADV_SEQUENTIAL}, 0},
    {"will need", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_WILLNEED}, 0},
    {"will need, anonymous", {OP_MADVISE, .addr = P(0x40), .len = P(4), .flags = FL_MADV_WILLNEED}, 0},
    {"will need, beyond the end", {OP_MADVISE, .addr = P(0x58), .len = P(4), .flags = FL_MADV_WILLNEED}, 0},
    {"cold", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_COLD}, 0},
    {"goes out", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_PAGEOUT}, 0},
    {"not for children", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_DONTFORK}, 0},
    {"for children", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_DOFORK}, 0},
    {"wiped for children, a file",
     {OP_MADVISE, .addr = P(0x10), .len = P(1), .flags = FL_MADV_WIPEONFORK},
     -EINVAL},
    {"wiped for children, shared",
     {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_WIPEONFORK},
     -EINVAL},
    {"wiped for children", {OP_MADVISE, .addr = P(0x40), .len = P(1), .flags = FL_MADV_WIPEONFORK}, 0},
    {"kept for children", {OP_MADVISE, .addr = P(0x40), .len = P(1), .flags = FL_MADV_KEEPONFORK}, 0},
    {"kept for children, a file", {OP_MADVISE, .addr = P(0x10), .len = P(1), .flags = FL_MADV_KEEPONFORK}, 0},
    {"populate for writing", {OP_MADVISE, .addr = P(0x20), .len = P(8), .flags = FL_MADV_POPULATE_WRITE}, 0},
};

static const struct suite_case mincore_cases[] = {
    {"not at a page", {OP_MINCORE, .addr = P(0x20) + 1, .len = P(1)}, -EINVAL},
    {"nothing there", {OP_MINCORE, .addr = P(0x100), .len = P(1)}, -ENOMEM},
    {"a hole in it", {OP_MINCORE, .addr = P(0x40), .len = P(8)}, -ENOMEM},
    {"length beyond everything", {OP_MINCORE, .addr = P(0x20), .len = (uint64_t)1 << 62}, -ENOMEM},
    {"length 0", {OP_MINCORE, .addr = P(0x20)}, 0},
    {"part of a page", {OP_MINCORE, .addr = P(0x20), .len = 1}, 0},
    {"a mapping", {OP_MINCORE, .addr = P(0x20), .len = P(8)}, 0},
};

static const struct suite_case mlock_cases[] = {
    {"length that wraps", {OP_MLOCK, .addr = P(0x20), .len = (uint64_t)0 - P(1)}, -EINVAL},
    {"nothing there", {OP_MLOCK, .addr = P(0x100), .len = P(1)}, -ENOMEM},
    {"a hole in it", {OP_MLOCK, .addr = P(0x40), .len = P(8)}, -ENOMEM},
    {"no rights", {OP_MLOCK, .addr = P(0x60), .len = P(1)}, -ENOMEM},
    {"beyond the end of the file", {OP_MLOCK, .addr = P(0x58), .len = P(1)}, -ENOMEM},
    {"length 0", {OP_MLOCK, .addr = P(0x100)}, 0},
    {"not at a page", {OP_MLOCK, .addr = P(0x20) + 5, .len = P(1)}, 0},
    {"locked already", {OP_MLOCK, .addr = P(0x68), .len = P(4)}, 0},
    {"private", {OP_MLOCK, .addr = P(0x10), .len = P(8)}, 0},
    {"unlock: length that wraps", {OP_MUNLOCK, .addr = P(0x20), .len = (uint64_t)0 - P(1)}, -EINVAL},
    {"unlock: nothing there", {OP_MUNLOCK, .addr = P(0x100), .len = P(1)}, -ENOMEM},
    {"unlock: a hole in it", {OP_MUNLOCK, .addr = P(0x40), .len = P(8)}, -ENOMEM},
    {"unlock: not locked", {OP_MUNLOCK, .addr = P(0x20), .len = P(8)}, 0},
    {"unlock", {OP_MUNLOCK, .addr = P(0x68), .len = P(4)}, 0},
};

static const struct suite_case access_cases[] = {
    {"load from nothing", {OP_LOAD, .addr = P(0x100), .len = 1}, -EFAULT},
    {"store to nothing", {OP_STORE, .addr = P(0x100), .len = 1}, -EFAULT},
    {"load without rights", {OP_LOAD, .addr = P(0x60), .len = 1}, -EACCES},
    {"store without rights", {OP_STORE, .addr = P(0x60), .len = 1}, -EACCES},
    {"store to what is read-only", {OP_STORE, .addr = P(0x30), .len = 1}, -EACCES},
    {"load beyond the end of the file", {OP_LOAD, .addr = P(0x58), .len = 1}, -ENXIO},
    {"store beyond the end of the file", {OP_STORE, .addr = P(0x58), .len = 1}, -ENXIO},
    {"load beyond the end, in the last page", {OP_LOAD, .addr = P(0x57) + 4000, .len = 8}, 0},
    {"store beyond the end, in the last page", {OP_STORE, .addr = P(0x57) + 4000, .len = 8}, 0},
    {"load into a hole", {OP_LOAD, .addr = P(0x44) - 4, .len = 8}, -EFAULT},
    {"across a border", {OP_STORE, .addr = P(0x21) - 4, .len = 8}, 0},
};

/* True: it has the expected result, or an allowed difference. */
static bool run_case(struct driver *d, const char *call, const struct suite_case *c)
{
    struct op op = c->op;
    static struct outcome out;
    unsigned i;

    for (i = 0; i < sizeof(layout) / sizeof(layout[0]); i++) {
        outcome_of(d, &layout[i], &out);
        if (out.result != (int64_t)layout[i].addr) {
            fprintf(stderr, "%s: layout %u: %" PRId64 "\n", d->name, i, out.result);
            return false;
        }
    }
    if (op.kind != OP_STORE && op.value == AT_END)
        op.addr += d->address_space_end;
    outcome_of(d, &op, &out);
    if (out.result == c->result)
        return true;
    fprintf(stderr, "%s: %s: %s: result is %" PRId64 ", should be %" PRId64 "\n", d->name, call, c->name,
            out.result, c->result);
    return false;
}

static int run_table(struct driver *(*create)(void), const char *call, const struct suite_case *cases,
                     unsigned n)
{
    int failed = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        struct driver *d = create();

        failed += !run_case(d, call, &cases[i]);
        d->destroy(d);
    }
    return failed;
}
#define RUN_TABLE(call) run_table(create, #call, call##_cases, sizeof(call##_cases) / sizeof(call##_cases[0]))

int suite_cases(struct driver *(*create)(void))
{
    return RUN_TABLE(mmap) + RUN_TABLE(munmap) + RUN_TABLE(mprotect) + RUN_TABLE(mremap) + RUN_TABLE(msync) +
           RUN_TABLE(madvise) + RUN_TABLE(mincore) + RUN_TABLE(mlock) + RUN_TABLE(access);
}
