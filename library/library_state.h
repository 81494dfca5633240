/*
 * library_state.h: what the files of the library share.
 *
 *     library.c    start, end, statistics            file_io.c    read and write without a mapping
 *     error.c      errors that the program must see  mapping.c    the calls on address ranges
 *     file.c       open files, their list
 */
#ifndef LIBRARY_LIBRARY_STATE_H
#define LIBRARY_LIBRARY_STATE_H

#include "library.h"

extern struct library {
    struct vm_map *map; /* NULL: not started */
    struct fl_options options;
} library;

/*
 * One call into the core: `call` is evaluated with all signals blocked, and its result is returned as `type`;
 * -EINVAL if the library is not started.
 */
#define LIBRARY_CALL(type, call)                                                                             \
    ({                                                                                                       \
        sigset_t library_saved;                                                                              \
        linux_signals_block(&library_saved);                                                                 \
        type library_result = library.map == NULL ? -EINVAL : (call);                                        \
        linux_signals_restore(&library_saved);                                                               \
        library_result;                                                                                      \
    })

/* linux_machine_params.deliver: tells the program of an error at an access. No lock is held here. It does not
 * return when a handler of the program's leaves by siglongjmp. */
void library_deliver(int signo, siginfo_t *info, void *ucontext, int error);

/* Why dirty pages of an open file cannot be written, a negative errno; 0: they can be. */
FL_NODISCARD int library_write_error(void);

/* Closes every file that is open. Returns the first error, of write-back. Context: signals are blocked. */
FL_NODISCARD int library_close_all(void);

#endif
