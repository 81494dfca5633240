/*
 * linux_driver.c: the core on the machine linux, through the library, behind driver.h.
 *
 *   fl_space: | reserved ………………… | window | reserved |      loads and stores are made by this process
 *
 * Small memory, so that pages come and go while the operations run.
 */
#include "conformance/access.h"
#include "conformance/files.h"
#include "conformance/linux_driver.h"
#include "linux/linux_machine.h"
#include <errno.h>
#include <library.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE         DRIVER_PAGE
#define BEHIND       (16 * DRIVER_PAGE)
#define WINDOW_END   (LINUX_WINDOW_END - BEHIND)
#define WINDOW_START (WINDOW_END - DRIVER_WINDOW_BYTES)

struct library_driver {
    struct driver driver;
    struct files files;
    struct fl_file *handle[DRIVER_HANDLES];
    struct fl_file write_only; /* stands for a write-only descriptor, which fl_open_fd does not take */
};

static struct library_driver *library_of(struct driver *d)
{
    return (struct library_driver *)d;
}

static void *absolute(uint64_t addr)
{
    return addr == DRIVER_ANY ? NULL : (void *)(WINDOW_START + addr);
}

static int64_t library_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                            uint64_t off)
{
    void *at = absolute(addr);
    int error = fl_mmap(&at, len, prot, flags, handle < 0 ? NULL : library_of(d)->handle[handle], off);

    return error != 0 ? error : (int64_t)((uint64_t)at - WINDOW_START);
}

static int library_munmap(struct driver *d, uint64_t addr, uint64_t len)
{
    (void)d;
    return fl_munmap(absolute(addr), len);
}

static int library_mprotect(struct driver *d, uint64_t addr, uint64_t len, int prot)
{
    (void)d;
    return fl_mprotect(absolute(addr), len, prot);
}

/* fl_mremap has no argument for the new place. */
static int64_t library_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                              uint64_t new_addr)
{
    void *at = absolute(addr);
    sigset_t saved;
    int64_t error;

    (void)d;
    if (!(flags & FL_MREMAP_FIXED)) {
        error = fl_mremap(&at, len, new_len, flags);
        return error != 0 ? error : (int64_t)((uint64_t)at - WINDOW_START);
    }
    linux_signals_block(&saved);
    error = fl_sys_mremap(fl_space(), WINDOW_START + addr, len, new_len, flags, WINDOW_START + new_addr);
    linux_signals_restore(&saved);
    return error < 0 ? error : error - (int64_t)WINDOW_START;
}

static int library_msync(struct driver *d, uint64_t addr, uint64_t len, int flags)
{
    (void)d;
    return fl_msync(absolute(addr), len, flags);
}

static int library_madvise(struct driver *d, uint64_t addr, uint64_t len, int advice)
{
    (void)d;
    return fl_madvise(absolute(addr), len, advice);
}

static int library_mincore(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec)
{
    (void)d;
    return fl_mincore(absolute(addr), len, vec);
}

static int library_mlock(struct driver *d, uint64_t addr, uint64_t len)
{
    (void)d;
    return fl_mlock(absolute(addr), len);
}

static int library_munlock(struct driver *d, uint64_t addr, uint64_t len)
{
    (void)d;
    return fl_munlock(absolute(addr), len);
}

static int library_load(struct driver *d, uint64_t addr, void *bytes, size_t len)
{
    (void)d;
    return access_bytes(bytes, absolute(addr), len);
}

static int library_store(struct driver *d, uint64_t addr, const void *bytes, size_t len)
{
    (void)d;
    return access_bytes(absolute(addr), bytes, len);
}

/*
 * The length changes behind the VM's back. A write-back in flight at that moment would make the file long
 * again, because no store can ask for the length and write in one step (stores/file.c, SF1). So the test
 * first makes sure that none is in flight.
 */
static int library_set_size(struct driver *d, int file, uint64_t len)
{
    struct library_driver *library = library_of(d);
    struct vnode *vnode;
    sigset_t saved;
    int h = 0, error;

    while (driver_handles[h].file != file)
        h++;
    vnode = library->handle[h]->vnode;
    linux_signals_block(&saved);
    error = fl_vnode_sync(vnode, 0, UINT64_MAX);
    if (error == 0)
        error = ftruncate(library->files.fd[file], (off_t)len) != 0 ? -errno : fl_vnode_setsize(vnode);
    linux_signals_restore(&saved);
    return error;
}

/* ---- files: vm.h's calls, as the shim makes them: with signals blocked -------------------------------- */

static int library_prefetch(struct driver *d, uint64_t addr, uint64_t len, uint64_t addr2, uint64_t len2)
{
    struct fl_iovec range[2] = {{absolute(addr), len}, {absolute(addr2), len2}};
    sigset_t saved;
    int error;

    (void)d;
    linux_signals_block(&saved);
    error = fl_sys_prefetch(fl_space(), range, 2);
    linux_signals_restore(&saved);
    return error;
}

static int64_t library_read(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                            uint64_t off, unsigned flags)
{
    struct fl_iocb iocb = {.offset = off, .flags = flags};
    int64_t n = driver_may_read(handle);
    sigset_t saved;

    linux_signals_block(&saved);
    if (n == 0)
        n = fl_vnode_read(library_of(d)->handle[handle]->vnode, iov, niov, &iocb);
    linux_signals_restore(&saved);
    return n;
}

static int64_t library_write(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                             uint64_t off, unsigned flags)
{
    struct fl_iocb iocb = {.offset = off, .flags = flags};
    int64_t n = driver_may_write(handle);
    sigset_t saved;

    linux_signals_block(&saved);
    if (n == 0)
        n = fl_vnode_write(library_of(d)->handle[handle]->vnode, iov, niov, &iocb);
    linux_signals_restore(&saved);
    return n;
}

static int library_truncate(struct driver *d, int handle, uint64_t len)
{
    sigset_t saved;
    int error;

    if (!driver_handles[handle].write)
        return -EINVAL;
    linux_signals_block(&saved);
    error = fl_vnode_truncate(library_of(d)->handle[handle]->vnode, len);
    linux_signals_restore(&saved);
    return error;
}

static int library_punch(struct driver *d, int handle, uint64_t off, uint64_t len)
{
    int error = len == 0 ? -EINVAL : driver_may_write(handle);
    sigset_t saved;

    linux_signals_block(&saved);
    if (error == 0)
        error = fl_vnode_punch(library_of(d)->handle[handle]->vnode, off, len);
    linux_signals_restore(&saved);
    return error;
}

static int library_fsync(struct driver *d, int handle, unsigned flags)
{
    struct fl_file *file = library_of(d)->handle[handle];
    sigset_t saved;
    int error;

    linux_signals_block(&saved);
    error = fl_vnode_fsync(file->vnode, flags, &file->told);
    linux_signals_restore(&saved);
    return error;
}

static int library_sync_range(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags)
{
    struct fl_file *file = library_of(d)->handle[handle];
    sigset_t saved;
    int error;

    linux_signals_block(&saved);
    error = fl_vnode_sync_range(file->vnode, off, len, flags, &file->told);
    linux_signals_restore(&saved);
    return error;
}

static int library_fadvise(struct driver *d, int handle, uint64_t off, uint64_t len, int advice)
{
    sigset_t saved;
    int error;

    linux_signals_block(&saved);
    error = fl_vnode_fadvise(library_of(d)->handle[handle]->vnode, off, len, advice);
    linux_signals_restore(&saved);
    return error;
}

static uint64_t library_file_size(struct driver *d, int file)
{
    return files_size(&library_of(d)->files, file);
}

static int library_file_read(struct driver *d, int file, uint64_t off, void *bytes, size_t len)
{
    return files_read(&library_of(d)->files, file, off, bytes, len);
}

static int file_of(struct library_driver *library, const struct vnode *vnode)
{
    int h;

    for (h = 0; vnode != NULL && h < DRIVER_HANDLES; h++)
        if (library->handle[h]->vnode == vnode)
            return driver_handles[h].file;
    return -1;
}

static bool library_region(struct driver *d, uint64_t addr, struct driver_region *region)
{
    struct fl_region r;

    if (fl_space_region(fl_space(), WINDOW_START + addr, &r) != 0 || r.reserved)
        return false;
    region->start = r.start - WINDOW_START;
    region->end = r.end - WINDOW_START;
    region->prot = r.prot;
    region->shared = r.shared;
    region->inherit = r.inherit;
    region->file = file_of(library_of(d), r.vnode);
    region->offset = region->file < 0 ? 0 : r.offset;
    return true;
}

/* The page daemon is a thread of its own and may run at any time, so only the map itself can be checked. */
static void library_check(struct driver *d)
{
    (void)d;
}

static void library_destroy(struct driver *d)
{
    struct library_driver *library = library_of(d);
    int i;

    for (i = 0; i < DRIVER_HANDLES; i++)
        if (library->handle[i] != &library->write_only)
            must(fl_close(library->handle[i]) == 0, "fl_close");
    must(fl_shutdown() == 0, "fl_shutdown");
    access_end();
    files_close(&library->files);
    free(library);
}

static void start(enum fl_fault_engine fault)
{
    struct fl_options options = {.memory_limit_bytes = FL_MEMORY_MIN, .fault = fault};

    access_begin();
    if (fl_init(&options) != 0) {
        fprintf(stderr, "fl_init: %s\n", fl_init_error());
        abort();
    }
    must(fl_space_reserve(fl_space(), LINUX_WINDOW_START, WINDOW_START) == 0, "reserve below the window");
    must(fl_space_reserve(fl_space(), WINDOW_END, LINUX_WINDOW_END) == 0, "reserve behind the window");
}

static void open_handles(struct library_driver *library)
{
    int i;

    for (i = 0; i < DRIVER_HANDLES; i++) {
        const struct driver_handle *h = &driver_handles[i];

        library->handle[i] = &library->write_only;
        if (h->read)
            must(fl_open_fd(library->files.handle[i], &library->handle[i]) == 0, "fl_open_fd");
        else
            library->write_only =
                (struct fl_file){.vnode = library->handle[h->file]->vnode, .mode = FL_FWRITE};
    }
}

struct driver *linux_driver_create(enum fl_fault_engine fault)
{
    static const struct driver calls = {
        .name = "linux",
        .has = DRIVER_HAS_DSYNC | DRIVER_HAS_REMOVE | DRIVER_HAS_PUNCH,
        .address_space_end = DRIVER_WINDOW_BYTES + BEHIND,
        .mmap = library_mmap,
        .munmap = library_munmap,
        .mprotect = library_mprotect,
        .mremap = library_mremap,
        .msync = library_msync,
        .madvise = library_madvise,
        .mincore = library_mincore,
        .mlock = library_mlock,
        .munlock = library_munlock,
        .load = library_load,
        .store = library_store,
        .set_size = library_set_size,
        .prefetch = library_prefetch,
        .read = library_read,
        .write = library_write,
        .truncate = library_truncate,
        .punch = library_punch,
        .fsync = library_fsync,
        .sync_range = library_sync_range,
        .fadvise = library_fadvise,
        .file_read = library_file_read,
        .file_size = library_file_size,
        .region = library_region,
        .check = library_check,
        .destroy = library_destroy,
    };
    struct library_driver *library = calloc(1, sizeof(*library));

    must(library != NULL, "calloc");
    library->driver = calls;
    files_open(&library->files);
    start(fault);
    open_handles(library);
    return &library->driver;
}
