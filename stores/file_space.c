/*
 * file_space.c: the space that a file's bytes have on the disk.
 *
 *   file_space_allocate ─▶ FIEMAP: one extent has all of it? ─ yes ─▶ 0
 *                                      │ no, or not known
 *                                      └▶ fallocate
 *   file_space_room ─▶ fstat: as many blocks as bytes: no holes; else what fstatfs says is free
 *
 * FIEMAP comes first because fallocate starts a transaction and changes the file's times even where there is
 * nothing to do, and most stores to a file with a hole somewhere go to where it has none.
 *
 * Does not do: know a user's quota before fallocate or a write fails with EDQUOT; promise anything where a
 * file system writes elsewhere than it read (reflinks, snapshots), or where fallocate is unknown (NFS before
 * 4.2). There only the write tells.
 */
#include "file_space.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/store.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Whether one extent, written or not, has all of the bytes. */
static bool space_is_there(int fd, uint64_t offset, uint64_t len_bytes)
{
    union {
        struct fiemap map;
        char bytes[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
    } ask = {.map = {.fm_start = offset, .fm_length = len_bytes, .fm_extent_count = 1}};
    const struct fiemap_extent *extent = ask.map.fm_extents;
    return linux_syscall(SYS_ioctl, fd, FS_IOC_FIEMAP, &ask.map) == 0 && ask.map.fm_mapped_extents == 1 &&
           extent->fe_logical <= offset && extent->fe_logical + extent->fe_length >= offset + len_bytes;
}

int file_space_allocate(int fd, uint64_t offset, uint64_t len_bytes)
{
    long result;
    if (space_is_there(fd, offset, len_bytes))
        return 0;
    do {
        result = linux_syscall(SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, offset, len_bytes);
    } while (result == -EINTR);
    if (result == 0 || result == -ENOSPC || result == -EDQUOT || result == -EIO)
        return (int)result;
    return -EOPNOTSUPP; /* not for this file system, or not for this file */
}

uint64_t file_space_room(int fd)
{
    struct stat st;
    struct statfs fs;
    if (linux_syscall(SYS_fstat, fd, &st) != 0)
        return 0;
    if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
        return STORE_ROOM_NO_HOLES;
    return linux_syscall(SYS_fstatfs, fd, &fs) == 0 ? (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize : 0;
}
