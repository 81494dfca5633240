/*
 * procfs_text.h: the contents of the files of /proc. Each function writes the whole text, and returns 0 or a
 * negative errno.
 */
#ifndef KERNEL_FS_PROCFS_TEXT_H
#define KERNEL_FS_PROCFS_TEXT_H

#include "fs/file.h"
#include "fs/text.h"

/* procfs_system.c: of the whole system. pid is not used. */
typedef int procfs_text(struct text *text, int pid);
procfs_text procfs_cpuinfo, procfs_filesystems, procfs_loadavg, procfs_meminfo, procfs_mounts,
    procfs_osrelease, procfs_ostype, procfs_stat, procfs_uptime, procfs_version, procfs_vmstat;

/* procfs_process.c: of one process. Errors: -ESRCH: it is gone. */
procfs_text procfs_pid_cmdline, procfs_pid_comm, procfs_pid_maps, procfs_pid_smaps, procfs_pid_stat,
    procfs_pid_statm, procfs_pid_status;

/* Links: *inode is what they lead to, with a reference. Errors: -ENOENT, -ESRCH. */
typedef int procfs_link(int pid, struct inode **inode);
procfs_link procfs_pid_cwd, procfs_pid_exe, procfs_pid_root;
/* The same of a descriptor. Errors: also -ENXIO: it has no inode. */
FL_NODISCARD int procfs_pid_fd(int pid, int fd, struct inode **inode);
/* What such links show: a path, the one that was the last with " (deleted)", or a type and a number. */
FL_NODISCARD int procfs_inode_text(struct text *text, struct inode *inode);
FL_NODISCARD int procfs_fd_text(struct text *text, int pid, int fd);

/* *fd: the first descriptor >= *fd of the process. Errors: -ENOENT: there are no more; -ESRCH. */
FL_NODISCARD int procfs_next_fd(int pid, int *fd);
/* *pid: the first process with a number >= *pid. Errors: -ENOENT. */
FL_NODISCARD int procfs_next_pid(int *pid);
FL_NODISCARD bool procfs_pid_exists(int pid);

#endif
