/*
 * freebsd.h: mmap with FreeBSD 11's rules, for a kernel that runs FreeBSD's programs: a second personality
 * beside fl_sys_mmap (vm.h), over the same address spaces. All other calls are those of vm.h.
 *
 *     the program's call ─▶ the kernel: process, descriptor ─▶ fl_sys_mmap_freebsd ─▶ address or -errno
 *
 * Errors are negative errno values with Linux's numbers, as everywhere here; the kernel translates them.
 */
#ifndef FAULTLINE_FREEBSD_H
#define FAULTLINE_FREEBSD_H

#include <faultline/vm.h>

/* The values of FreeBSD's ABI. Bits of old releases that never did anything are ignored. */
#define FL_FREEBSD_MAP_SHARED        0x0001
#define FL_FREEBSD_MAP_PRIVATE       0x0002
#define FL_FREEBSD_MAP_FIXED         0x0010
#define FL_FREEBSD_MAP_HASSEMAPHORE  0x0200
#define FL_FREEBSD_MAP_STACK         0x0400
#define FL_FREEBSD_MAP_NOSYNC        0x0800
#define FL_FREEBSD_MAP_ANON          0x1000
#define FL_FREEBSD_MAP_GUARD         0x2000
#define FL_FREEBSD_MAP_EXCL          0x4000
#define FL_FREEBSD_MAP_NOCORE        0x20000
#define FL_FREEBSD_MAP_PREFAULT_READ 0x40000
#define FL_FREEBSD_MAP_32BIT         0x80000
/* The place is a multiple of 2^n, 12 <= n < 64; SUPER: of a superpage. */
#define FL_FREEBSD_MAP_ALIGNED(n)    ((int)((unsigned)(n) << 24))
#define FL_FREEBSD_MAP_ALIGNED_SUPER FL_FREEBSD_MAP_ALIGNED(1)

/* What mmap asks of the process. */
struct fl_freebsd_process {
    /* The text, the data segment, and how large that may become. (vm_taddr, vm_daddr, lim_max, FreeBSD.) */
    vm_offset_t text_start, data_start;
    uint64_t data_max_bytes;
    uint32_t osrel; /* the release for which the program was built, as 1100122; old ones may ask for more */
    bool aout;      /* the program has the format of before 1998 */
};
#define FL_FREEBSD_OSREL_MAP_ANON    800104  /* since then a length of 0 is an error */
#define FL_FREEBSD_OSREL_MAP_FSTRICT 1100036 /* since then a file is mapped shared or private */

/* An open file, and what its descriptor may be used for. */
struct fl_freebsd_file {
    const struct fl_file *file; /* FL_FNOEXEC: its mount forbids execution */
    vm_prot_t cap_rights;       /* CAP_MMAP_R, _W and _X, as VM_PROT_* */
};

/*
 * Returns the address, or a negative errno. fp is NULL for the descriptor -1. The mapping takes its own
 * reference to the vnode. Errors: -EINVAL, the flags, the length, or a fixed place that is not in the space;
 * -EBADF, no file; -EPERM, the descriptor lacks a right (ENOTCAPABLE); -EACCES, its mode or mount does;
 * -ENOMEM, no place, or a limit; and those of the store.
 */
FL_NODISCARD int64_t fl_sys_mmap_freebsd(struct vm_map *map, const struct fl_freebsd_process *p,
                                         vm_offset_t addr, size_t len_bytes, int prot, int flags,
                                         const struct fl_freebsd_file *fp, vm_ooffset_t offset);

#endif
