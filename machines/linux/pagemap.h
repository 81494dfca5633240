/* pagemap.h: what the kernel's page tables say of pages (pagemap.c). */
#ifndef MACHINES_LINUX_PAGEMAP_H
#define MACHINES_LINUX_PAGEMAP_H

#include <faultline/types.h>

/* Errors: negative errno, with the remedy in linux_machine_error(). */
FL_NODISCARD int linux_pagemap_open(void);
void linux_pagemap_close(void);

#endif
