/*
 * error.c: errors at an access to mapped memory, told to the program.
 *
 *     fl_fault ─▶ machine ─▶ library_deliver ─▶ fl_options.on_error ─▶ the program's handler, or its end
 *                                           └─ -ENOMEM ─▶ one line, and the end
 *
 * All of it runs in the signal handler of the faulting thread, with no lock held. Does not do: errors of
 * calls, which are returned.
 */
#include "library_state.h"
#include "linux_syscall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *error_text(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
        return library_write_error() != 0
                   ? "the disk is full: memory is full of dirty pages that cannot be written: free space"
                   : "the disk is full: it has no space for a page that is written: free space";
    case -EFAULT:
        return "nothing is mapped at this address";
    case -EACCES:
        return "the mapping does not allow this access";
    case -ENXIO:
        return "the address lies beyond the end of the file";
    case -ENOMEM:
        return "written pages of private mappings, and locked pages, alone exceed the memory limit";
    default:
        return library_write_error() != 0 ? "memory is full of dirty pages that the store could not write"
                                          : "the store could not read the page";
    }
}

/* No page can be freed: the program cannot go on. */
static _Noreturn void out_of_memory(void)
{
    char line[200];
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    int n =
        snprintf(line, sizeof(line),
                 "faultline: out of memory: written pages of private mappings and locked pages (%zu bytes) "
                 "alone exceed the limit of %zu bytes: raise the limit\n",
                 (size_t)ptoa(stats.wired), library.options.memory_limit_bytes);
    linux_syscall(SYS_write, 2, line, n);
    abort();
}

void library_deliver(int signo, siginfo_t *info, void *ucontext, int error)
{
    if (library.options.on_error != NULL) {
        struct fl_error told = {.addr = info->si_addr, .error = -error, .what = error_text(error)};
        library.options.on_error(&told, library.options.on_error_arg);
    }
    if (error == -ENOMEM)
        out_of_memory();
    linux_fault_chain(signo, info, ucontext);
}
