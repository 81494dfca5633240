/*
 * file_errors.c: accesses to a mapping that the core could not serve: is it really an error, and why?
 *
 *   -ENXIO, behind the end ─▶ file_grew: has another process made the file longer? ─ yes ─▶ try again
 *   -ENOSPC, -EDQUOT, -EIO ─▶ file_errors_say: one line that names the file and the remedy
 *
 * Lock: (S).
 */
#include "file_errors.h"
#include "files.h"
#include <string.h>

/* ---- the end of the file --------------------------------------------------------------------------- */

bool file_grew(vm_offset_t va)
{
    struct fl_region region;
    struct file *file = NULL;
    struct stat st;
    sigset_t saved;
    bool grew = false;

    shim_enter(&saved);
    if (fl_space_region(fl_space(), va, &region) == 0 && region.start <= va)
        file = file_of_region(&region);
    if (file != NULL && linux_syscall(SYS_fstat, file->fd, &st) == 0 &&
        region.offset + (trunc_page(va) - region.start) < (uint64_t)st.st_size)
        grew = fl_vnode_setsize(region.vnode) == 0;
    shim_leave(&saved);
    return grew;
}

/* ---- writes that fail ------------------------------------------------------------------------------ */

/* A file with pages that cannot be written; *error: why. NULL: there is none. */
static struct file *file_unwritten(int *error) FL_REQUIRES(shim_lock)
{
    for (struct file *file = file_first(); file != NULL; file = file_next(file)) {
        *error = fl_vnode_write_error(file->vnode);
        if (*error != 0)
            return file;
    }
    return NULL;
}

static bool is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

static void say_why(const struct file *file, int error, bool unwritten) FL_REQUIRES(shim_lock)
{
    static char name[PATH_MAX] FL_GUARDED_BY(shim_lock); /* the program's stack may be small */
    const char *why = strerrordesc_np(-error);

    file_path(file->fd, file->ino, name);
    if (!is_full(error))
        shim_say("dirty pages of %.300s cannot be written (%s) and fill the memory: they are tried again",
                 name, why);
    else if (unwritten)
        shim_say("the disk that holds %.300s is full (%s): dirty pages of it cannot be written: free space",
                 name, why);
    else
        shim_say("the disk that holds %.300s is full (%s): it has no space for a page that is stored to: "
                 "free space",
                 name, why);
}

/* The file that a shared mapping at va may write. */
static struct file *file_shared_at(vm_offset_t va) FL_REQUIRES(shim_lock)
{
    struct fl_region region;

    return fl_space_region(fl_space(), va, &region) == 0 && region.start <= va && region.shared
               ? file_of_region(&region)
               : NULL;
}

bool file_errors_say(vm_offset_t va, int error)
{
    static int said FL_GUARDED_BY(shim_lock);
    struct file *file;
    int why = error;
    sigset_t saved;

    if (error == -EFAULT || error == -EACCES || error == -ENXIO || error == -ENOMEM)
        return false;
    shim_enter(&saved);
    file = file_unwritten(&why);
    bool unwritten = file != NULL;
    if (!unwritten && is_full(error))
        file = file_shared_at(va);
    if (file != NULL && said != error) {
        say_why(file, unwritten ? why : error, unwritten);
        said = error;
    }
    shim_leave(&saved);
    return file != NULL;
}
