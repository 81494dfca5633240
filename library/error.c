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
#include <string.h>

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
        return "written pages of private mappings, and locked pages, alone exceed memory and swap";
    default:
        return library_write_error() != 0 ? "memory is full of dirty pages that the store could not write"
                                          : "the store could not read the page";
    }
}

void library_memory_text(char *text, size_t size, const char *memory, const char *swap)
{
    size_t limit = library.options.memory_limit_bytes;
    const char *no_swap = fl_init_error();
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    if (stats.swap_pages == 0)
        snprintf(
            text, size,
            "written pages of private mappings, which have nowhere else to go, and locked pages exceed the "
            "limit of %zu bytes: raise %s%s%s",
            limit, memory, *no_swap != '\0' ? "; there is no swap: " : "", no_swap);
    else if (stats.swap_free == 0)
        snprintf(text, size, "%zu bytes of memory and %zu bytes of swap are full: raise %s or %s", limit,
                 (size_t)ptoa(stats.swap_pages), swap, memory);
    else if (stats.swap_error != 0)
        snprintf(text, size,
                 "%zu bytes of memory are full, and the swap file cannot be written (%s): give it space, or "
                 "raise %s",
                 limit, strerrordesc_np((int)-stats.swap_error), memory);
    else
        snprintf(text, size, "locked pages (%zu bytes) exceed the limit of %zu bytes: raise %s",
                 (size_t)ptoa(stats.wired), limit, memory);
}

/* Whether the error of an access is that of writes to the swap file. */
static bool swap_failed(int error)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.swap_error == error && library_write_error() == 0;
}

/* No page can be freed: the program cannot go on. */
static _Noreturn void out_of_memory(void)
{
    char line[512] = "faultline: out of memory: ";
    size_t used = strlen(line);
    library_memory_text(line + used, sizeof(line) - used - 1, "memory_limit_bytes", "swap_max_bytes");
    used = strlen(line);
    line[used++] = '\n';
    linux_syscall(SYS_write, 2, line, used);
    abort();
}

void library_deliver(int signo, siginfo_t *info, void *ucontext, int error)
{
    if (library.options.on_error != NULL) {
        struct fl_error told = {.addr = info->si_addr, .error = -error, .what = error_text(error)};
        library.options.on_error(&told, library.options.on_error_arg);
    }
    if (error == -ENOMEM || swap_failed(error))
        out_of_memory();
    linux_fault_chain(signo, info, ucontext);
}
