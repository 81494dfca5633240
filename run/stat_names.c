/*
 * stat_names.c: libc's names for a file's status. A program that asks for the length, or the time of the
 * last change, expects to see the bytes that belong to it: so a managed file is revalidated (fresh.h).
 *
 *   stat, lstat, fstat, fstatat, statx ─▶ the kernel ─▶ a regular file that may be managed? ─▶ fresh_stat
 *
 * While no file is mapped they cost one load more than libc's.
 */
#include "fresh.h"
#include "files.h"
#include "real.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Makes the call, and revalidates the file that it tells of. */
#define STAT_CALL(call, st)                                                                                  \
    ({                                                                                                       \
        int result_ = (call);                                                                                \
        if (result_ == 0 && files_mapped != 0)                                                               \
            fresh_stat((const struct stat *)(st));                                                           \
        result_;                                                                                             \
    })

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout");

FL_EXPORT int fstat(int fd, struct stat *st)
{
    return STAT_CALL(shim_real()->fstat(fd, st), st);
}

FL_EXPORT int fstat64(int fd, struct stat64 *st)
{
    return STAT_CALL(shim_real()->fstat(fd, (struct stat *)st), st);
}

FL_EXPORT int stat(const char *path, struct stat *st)
{
    return STAT_CALL(shim_real()->stat(path, st), st);
}

FL_EXPORT int stat64(const char *path, struct stat64 *st)
{
    return STAT_CALL(shim_real()->stat(path, (struct stat *)st), st);
}

FL_EXPORT int lstat(const char *path, struct stat *st)
{
    return STAT_CALL(shim_real()->lstat(path, st), st);
}

FL_EXPORT int lstat64(const char *path, struct stat64 *st)
{
    return STAT_CALL(shim_real()->lstat(path, (struct stat *)st), st);
}

FL_EXPORT int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return STAT_CALL(shim_real()->fstatat(dir, path, st, flags), st);
}

FL_EXPORT int fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
    return STAT_CALL(shim_real()->fstatat(dir, path, (struct stat *)st, flags), st);
}

/* Programs that were compiled with a glibc before 2.33 call these instead. */
#define STAT_VERSION 1
FL_EXPORT int __fxstat(int version, int fd, struct stat *st);
FL_EXPORT int __fxstat64(int version, int fd, struct stat64 *st);
FL_EXPORT int __xstat(int version, const char *path, struct stat *st);
FL_EXPORT int __xstat64(int version, const char *path, struct stat64 *st);
FL_EXPORT int __fxstatat(int version, int dir, const char *path, struct stat *st, int flags);
FL_EXPORT int __fxstatat64(int version, int dir, const char *path, struct stat64 *st, int flags);

static bool version_is_known(int version)
{
    if (version != STAT_VERSION)
        errno = EINVAL;
    return version == STAT_VERSION;
}

int __fxstat(int version, int fd, struct stat *st)
{
    return version_is_known(version) ? fstat(fd, st) : -1;
}

int __fxstat64(int version, int fd, struct stat64 *st)
{
    return version_is_known(version) ? fstat64(fd, st) : -1;
}

int __xstat(int version, const char *path, struct stat *st)
{
    return version_is_known(version) ? stat(path, st) : -1;
}

int __xstat64(int version, const char *path, struct stat64 *st)
{
    return version_is_known(version) ? stat64(path, st) : -1;
}

int __fxstatat(int version, int dir, const char *path, struct stat *st, int flags)
{
    return version_is_known(version) ? fstatat(dir, path, st, flags) : -1;
}

int __fxstatat64(int version, int dir, const char *path, struct stat64 *st, int flags)
{
    return version_is_known(version) ? fstatat64(dir, path, st, flags) : -1;
}

/* Only if the caller asked for the fields that fresh_stat needs. */
static void fresh_statx(const struct statx *stx)
{
    struct stat st = {.st_mode = stx->stx_mode,
                      .st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
                      .st_ino = stx->stx_ino,
                      .st_ctim = {(time_t)stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec}};

    if ((stx->stx_mask & (STATX_CTIME | STATX_INO | STATX_TYPE)) == (STATX_CTIME | STATX_INO | STATX_TYPE))
        fresh_stat(&st);
}

FL_EXPORT int statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx)
{
    int r = shim_real()->statx(dir, path, flags, mask, stx);

    if (r == 0 && files_mapped != 0)
        fresh_statx(stx);
    return r;
}
