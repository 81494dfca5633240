/* differences.c: the table of allowed differences. See differences.h. */
#include "model/differences.h"
#include <errno.h>
#include <stddef.h>

static bool is_about_place(int64_t result)
{
    return result == -EEXIST || result == -ENOMEM;
}

static bool is_about_file(int64_t result)
{
    return result == -EACCES || result == -EINVAL || result == -EOPNOTSUPP;
}

static bool two_errors(const struct op *op, int64_t linux_result, int64_t our_result)
{
    return op->kind == OP_MMAP && is_about_place(linux_result) && is_about_file(our_result);
}

const struct difference differences[] = {
    {"mmap-two-errors",
     "When both the place is taken and the file does not allow the mapping, Linux looks at the place first; "
     "the core "
     "finds a place only when the mapping is otherwise possible, under one lock. POSIX leaves the order "
     "open.",
     two_errors},
    {"mremap-several", "mremap over several mappings says EFAULT, as Linux before 6.17 did.", NULL},
    {"mlock-all-or-nothing",
     "When mlock, munlock or MAP_LOCKED fails on the way, Linux keeps the pages before that place, or all of "
     "the range, marked "
     "as locked. Its manual page says that no locks change, and so it is here.",
     NULL},
    {"locked-and-cut-off",
     "A file is cut off under a locked private mapping, which mprotect then makes writable: Linux says "
     "nothing; here mprotect says "
     "ENOMEM: the protection holds, the lock is lost.",
     NULL},
};
const unsigned ndifferences = sizeof(differences) / sizeof(differences[0]);

const struct difference *difference_find(const struct op *op, int64_t linux_result, int64_t our_result)
{
    unsigned i;

    for (i = 0; i < ndifferences; i++)
        if (differences[i].allows != NULL && differences[i].allows(op, linux_result, our_result))
            return &differences[i];
    return NULL;
}
