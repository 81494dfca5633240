/*
 * kernel_main.h: how the kernel comes up and goes down (main.c).
 */
#ifndef KERNEL_KERNEL_MAIN_H
#define KERNEL_KERNEL_MAIN_H

#include <faultline/common.h>

/* The block device ("vdb", or "/dev/vdb") becomes the swap space. Errors: -ENOENT, -ENOTBLK; fl_swapon's. */
FL_NODISCARD int kernel_swapon(const char *device);
/* Writes everything back, and ends the computer, or starts it again. code: poweroff's. */
_Noreturn void kernel_down(bool restart, unsigned code);

#endif
