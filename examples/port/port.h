/*
 * port.h: a port to begin with: the 20 functions of faultline/machine.h that a machine with page tables and a
 * direct map writes. Each says, when the core calls it, that it is missing. Fill them in this order, and run:
 *
 *   words.c   9   locks, sleeping, time, who I am, panic     ─▶ fl_vm_boot returns, fl_vm_halt too
 *   space.c   3   a space, and what it shows no more         ─▶ fl_space_create, fl_sys_mmap
 *   map.c     6   mappings, their bits, TLBs                 ─▶ fl_fault, fl_sys_munmap; page-out
 *   copy.c    2   between pages and programs                 ─▶ fl_vnode_read, fl_vnode_write
 *
 *   main.c        gives the core its memory, and goes that way; your kernel does so where it boots
 *
 * The contracts are in machine.h; here each has one line. docs/porting.md says what each took elsewhere.
 */
#ifndef EXAMPLES_PORT_PORT_H
#define EXAMPLES_PORT_PORT_H

#include <faultline/machine.h>

/* Says that the port lacks the function, and stops. Where nothing can be written yet, a breakpoint serves. */
_Noreturn void port_missing(const char *function);

#endif
