/*
 * eligible.h: which mappings mmap manages (eligible.c). mmap asks the
 * questions in this order, until an answer leaves the mapping to the kernel.
 */
#ifndef RUN_ELIGIBLE_H
#define RUN_ELIGIBLE_H

#include "shim.h"
#include <sys/stat.h>

/* One call of mmap. */
struct mmap_args {
    vm_offset_t addr;
    size_t len;
    int prot, flags, fd;
    uint64_t offset;
    struct stat st; /* of fd, filled in by eligible_file */
    unsigned mode;  /* FL_FREAD, FL_FWRITE: what fd may do; filled in by eligible_file */
    bool in_memory; /* the file has a name, and only its file system, tmpfs or ramfs, is not eligible */
};

/* A regular file on a file system that can be paged from, mapped shared or private, without PROT_EXEC. */
bool eligible_file(struct mmap_args *args);
/* Asks again what eligible_file took from a table that another thread may have changed since. */
bool eligible_file_still(struct mmap_args *args) FL_REQUIRES(shim_lock);
/* Long enough, or of a file that has managed mappings, or will have some soon. */
bool eligible_length(const struct mmap_args *args) FL_REQUIRES(shim_lock);
/* Private and writable, for a fixed address: like a part of a program, which is left to the kernel. */
bool eligible_is_image(const struct mmap_args *args) FL_REQUIRES(shim_lock);
/*
 * Claims a file that is new here, or is to be written for the first time, in the
 * registry. Releases (S) meanwhile, since it waits for other processes: *saved is
 * shim_enter's. False: another process uses the file, which is the kernel's from now on.
 */
bool eligible_claim(const struct mmap_args *args, sigset_t *saved) FL_REQUIRES(shim_lock);
/* The kernel has a shared mapping of the file, other than the one that starts at `except`. */
bool eligible_kernel_maps(const struct mmap_args *args, vm_offset_t except) FL_REQUIRES(shim_lock);

/* The kernel has made a shared mapping of a file that could have been managed. For eligible_kernel_maps. */
void eligible_left_shared(void) FL_REQUIRES(shim_lock);

#endif
