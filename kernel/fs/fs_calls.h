/*
 * fs_calls.h: the system calls of files, directories, pipes and mounts (syscall.h says how a call looks).
 *
 *   io_calls.c     bytes: read, write and their kin, lseek, sendfile, fsync and what else brings them to disk
 *   open_calls.c   descriptors: open, close, dup, pipe, fcntl, ioctl
 *   stat_calls.c   asking: stat, statx, access, readlink, statfs
 *   attr_calls.c   changing attributes: chmod, chown, utimensat, truncate, fallocate
 *   path_calls.c   changing directories; the working directory
 *   poll_calls.c   waiting: poll, select; epoll.c, eventfd.c
 *   mount_calls.c  mount, umount2
 */
#ifndef KERNEL_FS_FS_CALLS_H
#define KERNEL_FS_FS_CALLS_H

#include "sys/syscall.h"

#define CALL(name) int64_t sys_##name(const uint64_t arg[6])

/* io_calls.c */
CALL(read);
CALL(write);
CALL(readv);
CALL(writev);
CALL(pread64);
CALL(pwrite64);
CALL(preadv);
CALL(pwritev);
CALL(preadv2);
CALL(pwritev2);
CALL(lseek);
CALL(sendfile);
CALL(fsync);
CALL(fdatasync);
CALL(sync);
CALL(syncfs);
CALL(sync_file_range);
CALL(fadvise64);
CALL(readahead);

/* open_calls.c */
CALL(open);
CALL(openat);
CALL(openat2);
CALL(creat);
CALL(close);
CALL(close_range);
CALL(dup);
CALL(dup2);
CALL(dup3);
CALL(fcntl);
CALL(flock);
CALL(ioctl);
CALL(pipe);
CALL(pipe2);
CALL(memfd_create);
CALL(socket);

/* stat_calls.c */
CALL(stat);
CALL(fstat);
CALL(lstat);
CALL(newfstatat);
CALL(statx);
CALL(access);
CALL(faccessat);
CALL(faccessat2);
CALL(readlink);
CALL(readlinkat);
CALL(statfs);
CALL(fstatfs);

/* attr_calls.c */
CALL(chmod);
CALL(fchmod);
CALL(fchmodat);
CALL(chown);
CALL(fchown);
CALL(lchown);
CALL(fchownat);
CALL(utime);
CALL(utimes);
CALL(futimesat);
CALL(utimensat);
CALL(truncate);
CALL(ftruncate);
CALL(fallocate);

/* path_calls.c */
CALL(getdents64);
CALL(getcwd);
CALL(chdir);
CALL(fchdir);
CALL(chroot);
CALL(umask);
CALL(mkdir);
CALL(mkdirat);
CALL(mknod);
CALL(mknodat);
CALL(rmdir);
CALL(unlink);
CALL(unlinkat);
CALL(rename);
CALL(renameat);
CALL(renameat2);
CALL(link);
CALL(linkat);
CALL(symlink);
CALL(symlinkat);

/* poll_calls.c */
CALL(poll);
CALL(ppoll);
CALL(select);
CALL(pselect6);
CALL(eventfd);
CALL(eventfd2);
CALL(epoll_create);
CALL(epoll_create1);
CALL(epoll_ctl);
CALL(epoll_wait);
CALL(epoll_pwait);
CALL(epoll_pwait2);

/* mount_calls.c */
CALL(mount);
CALL(umount2);

#undef CALL

#endif
