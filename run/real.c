/*
 * real.c: libc's own functions behind the names that the shim exports (real.h).
 *
 * They are looked up with dlsym(RTLD_NEXT), in the libraries behind the shim: libc's,
 * or one of another preloaded library that wraps it as well. A name that this libc
 * lacks stays NULL, and is not called: the program could not have been linked with it.
 */
#include "real.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

const struct shim_real *shim_real(void)
{
    static struct shim_real real;
    static _Atomic bool known;

    if (!atomic_load_explicit(&known, memory_order_acquire)) {
        /* Two threads at once write the same values. */
#define X(name) *(void **)&real.name = dlsym(RTLD_NEXT, #name);
        SHIM_REAL_LIST(X)
#undef X
        atomic_store_explicit(&known, true, memory_order_release);
    }
    return &real;
}
