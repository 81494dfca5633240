/*
 * library.c: the library that a Linux program links: faultline.h in terms of the core (vm.h) and the machine
 * (linux_machine.h).
 *
 *   fl_init      limit = buffers + frames ─▶ linux_machine_init ─▶ fl_vm_boot ─▶ fl_space_create ─▶
 * linux_machine_start fl_mmap …    signals blocked ─▶ fl_sys_mmap … ─▶ signals restored an error     fl_fault
 * ─▶ machine ─▶ hosted_deliver ─▶ on_error, then the program's handler, or its end fl_shutdown  msync of
 * everything, files closed ─▶ fl_space_destroy ─▶ fl_vm_stop ─▶ linux_machine_fini ─▶ fl_vm_halt
 *
 * Every call into the core is made with all signals blocked: a handler of the program's that touched managed
 * memory while this very thread holds a lock of the core would wait for itself.
 *
 * The limit: pages and buffers together. nframes * 4096 + buffers <= memory_limit_bytes, so whatever the core
 * and the machine do inside their own bounds keeps the limit. Bytes on their way through a buffer into a
 * frame may be counted twice: the peak is an upper bound.
 *
 * Locks: hosted.lock guards the list of open files; the map's lock may not be held with it. fl_init and
 * fl_shutdown are not for two threads at a time.
 */
#include "linux_machine.h"
#include "linux_pool.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <faultline/store.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOSTED_ENTRIES                                                                                       \
    (1u << 20) /* map entries that the metadata has room for: address space only, backed as it is used */
#define HOSTED_PREFETCH    64 /* ranges at a time: as many as go to the kernel together */
#define HOSTED_BUFFERS_MAX ((size_t)4 << 20)

/* An fl_file and its place in the list of those that are open. */
struct hosted_file {
    struct fl_file file;
    struct hosted_file *next, *prev; /* (lock) */
};

static struct {
    struct vm_map *map; /* NULL: not initialised */
    struct fl_options options;
    struct machine_lock lock;
    struct hosted_file *files; /* (lock) */
    char error[256];           /* of the last fl_init */
} hosted;

/* ---- errors that the program must see ------------------------------------------------------------------ */

/* Why dirty pages of an open file cannot be written; 0: they can. */
static int hosted_write_error(void)
{
    int error = 0;
    machine_lock(&hosted.lock);
    for (struct hosted_file *opened = hosted.files; opened != NULL && error == 0; opened = opened->next)
        error = fl_vnode_write_error(opened->file.vnode);
    machine_unlock(&hosted.lock);
    return error;
}

static const char *hosted_error_text(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
        return hosted_write_error() != 0
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
        return hosted_write_error() != 0 ? "memory is full of dirty pages that the store could not write"
                                         : "the store could not read the page";
    }
}

static _Noreturn void hosted_out_of_memory(void)
{
    char line[200];
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    int n =
        snprintf(line, sizeof(line),
                 "faultline: out of memory: written pages of private mappings and locked pages (%zu bytes) "
                 "alone exceed the limit of %zu bytes: raise the limit\n",
                 (size_t)ptoa(stats.wired), hosted.options.memory_limit_bytes);
    linux_syscall(SYS_write, 2, line, n);
    abort();
}

/* linux_machine_params.deliver. Does not return when a handler of the program's leaves by siglongjmp; no lock
 * is held here. */
static void hosted_deliver(int signo, siginfo_t *info, void *ucontext, int error)
{
    if (hosted.options.on_error != NULL) {
        struct fl_error told = {.addr = info->si_addr, .error = -error, .what = hosted_error_text(error)};
        hosted.options.on_error(&told, hosted.options.on_error_arg);
    }
    if (error == -ENOMEM)
        hosted_out_of_memory();
    linux_fault_chain(signo, info, ucontext);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static int hosted_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int hosted_fail(int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(hosted.error, sizeof(hosted.error), format, arguments);
    va_end(arguments);
    return error;
}

const char *fl_init_error(void)
{
    return hosted.error;
}

static int hosted_check_options(const struct fl_options *options)
{
    if (hosted.map != NULL)
        return hosted_fail(-EALREADY,
                           "already initialised, here or in the process that this one was forked from: "
                           "call fl_init once, and exec in children that need their own");
    if (options->memory_limit_bytes < FL_MEMORY_MIN)
        return hosted_fail(-EINVAL, "a memory limit of %zu bytes is too small to run: give at least %zu",
                           options->memory_limit_bytes, FL_MEMORY_MIN);
    if (atop(options->memory_limit_bytes) > UINT32_MAX / 2)
        return hosted_fail(
            -EINVAL, "a memory limit of %zu bytes is more than pages can be numbered for: give at most %zu",
            options->memory_limit_bytes, (size_t)ptoa(UINT32_MAX / 2));
    if (options->fault != FL_FAULT_AUTO && options->fault != FL_FAULT_SIGNAL &&
        options->fault != FL_FAULT_THREAD)
        return hosted_fail(-EINVAL,
                           "unknown fault engine %d: give FL_FAULT_AUTO, FL_FAULT_SIGNAL or FL_FAULT_THREAD",
                           (int)options->fault);
    return 0;
}

/* One read-ahead window: such that three fly in the half of the buffers that the machine gives to reads ahead:
 * the two that the core keeps in flight, and the one that is waited for. */
static uint32_t hosted_readahead(size_t buffer_len_bytes)
{
    uint64_t slots = atop(buffer_len_bytes);
    uint64_t window = (slots / 2 - slots / 64 - 1) / 3;
    return window < MACHINE_RUN_MAX ? (uint32_t)window : MACHINE_RUN_MAX;
}

/* Boots the core on the memory at meta. */
static int hosted_boot(void *meta, size_t meta_len_bytes, uint32_t nframes, size_t buffer_len_bytes)
{
    struct fl_vm_params params = {
        .meta = meta,
        .meta_len_bytes = meta_len_bytes,
        .nframes = nframes,
        .readahead_max = hosted_readahead(buffer_len_bytes),
    };
    int error = fl_vm_boot(&params);
    if (error != 0)
        return hosted_fail(error, "the memory for bookkeeping (%zu bytes of address space) was refused",
                           meta_len_bytes);
    error = fl_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &hosted.map);
    if (error != 0) {
        fl_vm_halt();
        return hosted_fail(error, "no memory for the address space");
    }
    error = linux_machine_start(hosted.map);
    if (error != 0) {
        fl_space_destroy(hosted.map);
        hosted.map = NULL;
        fl_vm_halt();
        return hosted_fail(error, "%s", linux_machine_error());
    }
    return 0;
}

int fl_init(const struct fl_options *options)
{
    int error = hosted_check_options(options);
    if (error != 0)
        return error;
    size_t limit = options->memory_limit_bytes;
    size_t buffers = trunc_page(limit / 8 < HOSTED_BUFFERS_MAX ? limit / 8 : HOSTED_BUFFERS_MAX);
    uint32_t nframes = (uint32_t)atop(limit - buffers);
    struct linux_machine_params machine = {
        .nframes = nframes,
        .buffer_len_bytes = buffers,
        .fault = options->fault == FL_FAULT_THREAD ? LINUX_FAULT_THREAD : LINUX_FAULT_SIGNAL,
        .own_signal = true,
        .deliver = hosted_deliver,
    };
    size_t meta_len_bytes = fl_vm_meta_size(nframes, HOSTED_ENTRIES);
    void *meta;
    hosted.options = *options;
    hosted.files = NULL;
    error = linux_machine_init(&machine, meta_len_bytes, &meta);
    if (error != 0)
        return hosted_fail(error, "%s", linux_machine_error());
    error = hosted_boot(meta, meta_len_bytes, nframes, buffers);
    if (error != 0)
        linux_machine_fini();
    return error;
}

static void hosted_keep_first(int *first, int error)
{
    if (*first == 0)
        *first = error;
}

/* Writes what is dirty under every shared mapping, so that its errors can still be told. */
static int hosted_sync_all(void)
{
    int first = 0;
    struct fl_region region = {0};
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(hosted.map, va, &region) == 0; va = region.end)
        if (region.shared && !region.reserved)
            hosted_keep_first(&first,
                              fl_sys_msync(hosted.map, region.start, region.end - region.start, FL_MS_SYNC));
    return first;
}

int fl_shutdown(void)
{
    if (hosted.map == NULL)
        return -EINVAL;
    sigset_t saved;
    linux_signals_block(&saved);
    int first = hosted_sync_all();
    fl_space_destroy(hosted.map);
    while (hosted.files != NULL) {
        struct hosted_file *next = hosted.files->next;
        hosted_keep_first(&first, fl_vnode_close(hosted.files->file.vnode));
        linux_pool_free(hosted.files);
        hosted.files = next;
    }
    fl_vm_stop();
    linux_machine_fini();
    fl_vm_halt();
    hosted.map = NULL;
    linux_signals_restore(&saved);
    return first;
}

struct vm_map *fl_space(void)
{
    return hosted.map;
}

void fl_stats(struct fl_stats *stats)
{
    *stats = (struct fl_stats){.memory_limit_bytes = hosted.options.memory_limit_bytes};
    if (hosted.map == NULL)
        return;
    fl_vm_stats(&stats->vm);
    uint64_t buffers = linux_buffer_peak_bytes();
    stats->peak_resident_bytes = ptoa(stats->vm.peak_used) + buffers;
    stats->resident_bytes = ptoa(stats->vm.nframes - stats->vm.free) + buffers;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static int hosted_open_store(struct store *store, unsigned mode, struct fl_file **file)
{
    if (hosted.map == NULL || (mode & ~(unsigned)(FL_FREAD | FL_FWRITE)) != 0 || !(mode & FL_FREAD))
        return -EINVAL;
    if ((mode & FL_FWRITE) && store->read_only)
        return -EACCES;
    struct hosted_file *opened = linux_pool_alloc();
    if (opened == NULL)
        return -ENOMEM;
    int error = fl_vnode_open(store, &opened->file.vnode);
    if (error != 0) {
        linux_pool_free(opened);
        return error;
    }
    opened->file.mode = mode;
    opened->file.told = fl_vnode_errseq(opened->file.vnode);
    machine_lock(&hosted.lock);
    opened->next = hosted.files;
    if (hosted.files != NULL)
        hosted.files->prev = opened;
    hosted.files = opened;
    machine_unlock(&hosted.lock);
    *file = &opened->file;
    return 0;
}

int fl_open_store(struct store *store, unsigned mode, struct fl_file **file)
{
    sigset_t saved;
    linux_signals_block(&saved);
    int error = hosted_open_store(store, mode, file);
    linux_signals_restore(&saved);
    return error;
}

int fl_open_fd(int fd, struct fl_file **file)
{
    struct store *store;
    long mode = linux_syscall(SYS_fcntl, fd, F_GETFL, 0);
    if (mode < 0)
        return (int)mode;
    int error = fl_store_file(fd, &store);
    if (error != 0)
        return error;
    error = fl_open_store(store, FL_FREAD | ((mode & O_ACCMODE) == O_RDWR ? FL_FWRITE : 0u), file);
    if (error != 0)
        store->ops->close(store);
    return error;
}

int fl_open(const char *path, int flags, struct fl_file **file)
{
    if (flags != O_RDONLY && flags != O_RDWR)
        return -EINVAL;
    /* O_NONBLOCK: a FIFO is to be refused, not waited for. It means nothing to a regular file. */
    long fd = linux_syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return (int)fd;
    int error = fl_open_fd((int)fd, file);
    linux_syscall(SYS_close, fd);
    return error;
}

int fl_close(struct fl_file *file)
{
    struct hosted_file *opened = (struct hosted_file *)file;
    sigset_t saved;
    linux_signals_block(&saved);
    machine_lock(&hosted.lock);
    if (opened->prev != NULL)
        opened->prev->next = opened->next;
    else
        hosted.files = opened->next;
    if (opened->next != NULL)
        opened->next->prev = opened->prev;
    machine_unlock(&hosted.lock);
    int error = fl_vnode_close(file->vnode);
    linux_pool_free(opened);
    linux_signals_restore(&saved);
    return error;
}

/* One call into the core: `call` is evaluated with signals blocked, and its result returned as `type`. */
#define HOSTED_CALL(type, call)                                                                              \
    ({                                                                                                       \
        sigset_t hosted_saved;                                                                               \
        linux_signals_block(&hosted_saved);                                                                  \
        type hosted_result = hosted.map == NULL ? -EINVAL : (call);                                          \
        linux_signals_restore(&hosted_saved);                                                                \
        hosted_result;                                                                                       \
    })

/* ---- reading and writing ------------------------------------------------------------------------------- */

static bool hosted_in_window(const void *addr)
{
    return (vm_offset_t)addr >= LINUX_WINDOW_START && (vm_offset_t)addr < LINUX_WINDOW_END;
}

/*
 * Holds a beginning of [va, va + *len_bytes): at most an eighth of the memory, since the call needs pages of its
 * own besides; the less, the less there is; so also where only a beginning can be reached. Errors, of the first
 * byte: -EFAULT, -ENOMEM.
 */
static int hosted_hold(vm_offset_t va, size_t *len_bytes, vm_prot_t access, struct fl_hold *hold)
{
    size_t lead = va & VM_PAGE_MASK;
    size_t eighth = atop(hosted.options.memory_limit_bytes / 8);
    for (size_t npages = eighth < FL_HOLD_MAX ? eighth : FL_HOLD_MAX; npages > 0; npages /= 2) {
        size_t n = ptoa(npages) - lead < *len_bytes ? ptoa(npages) - lead : *len_bytes;
        int error = fl_hold(hosted.map, va, n, access, hold);
        if (error == 0) {
            *len_bytes = n;
            return 0;
        }
        if (npages == 1)
            return error == -ENOMEM ? -ENOMEM : -EFAULT;
    }
    return -EFAULT;
}

/* One turn: all of it, or as much managed memory as is held at once. */
static int64_t hosted_turn_once(struct fl_file *file, bool writes, struct fl_iovec *piece,
                                struct fl_iocb *iocb)
{
    struct fl_hold hold = {.npages = 0};
    int64_t result = 0;
    if (hosted_in_window(piece->base))
        result = hosted_hold((vm_offset_t)piece->base, &piece->len_bytes,
                             writes ? VM_PROT_READ : VM_PROT_WRITE, &hold);
    if (result == 0)
        result =
            writes ? fl_vnode_write(file->vnode, piece, 1, iocb) : fl_vnode_read(file->vnode, piece, 1, iocb);
    fl_unhold(&hold);
    return result;
}

/* The write's space comes first, so that a full disk is told by it; less of a write, where there is less. */
static int hosted_allocate(struct fl_file *file, uint64_t offset, size_t *len_bytes)
{
    uint64_t len = *len_bytes;
    if (offset + len < offset) /* fl_vnode_write's to refuse */
        return 0;
    int error = fl_vnode_allocate(file->vnode, offset, &len);
    *len_bytes = len;
    return error;
}

/*
 * From a copy of its first page. An unwritten page of a private mapping of the very page that is written is a
 * clean copy of that, which goes before the write.
 */
static int64_t hosted_write_copy(struct fl_file *file, struct fl_iovec *piece, struct fl_iocb *iocb)
{
    char bytes[VM_PAGE_SIZE] __attribute__((aligned(VM_PAGE_SIZE)));
    struct iovec here = {bytes, sizeof(bytes)}, there = {piece->base, piece->len_bytes};
    struct fl_hold hold = {.npages = 0};
    piece->len_bytes = piece->len_bytes < sizeof(bytes) ? piece->len_bytes : sizeof(bytes);
    int64_t result = hosted_hold((vm_offset_t)piece->base, &piece->len_bytes, VM_PROT_READ, &hold);
    here.iov_len = there.iov_len = piece->len_bytes;
    if (result == 0)
        result = linux_syscall(SYS_process_vm_readv, linux_syscall(SYS_getpid), &here, 1, &there, 1, 0);
    fl_unhold(&hold);
    if (result <= 0)
        return result;
    piece->len_bytes = (size_t)result;
    struct fl_iovec copy = {bytes, piece->len_bytes};
    return fl_vnode_write(file->vnode, &copy, 1, iocb);
}

#define HOSTED_TRIES 100 /* times in a row that other threads take the memory of one call away */

/*
 * The memory is held, and yet may be gone before it is copied: another thread unmapped it, mapped anew, cut
 * it off. Then it is held anew, as long as there is something to hold.
 */
static int64_t hosted_turn(struct fl_file *file, bool writes, struct fl_iovec *piece, struct fl_iocb *iocb)
{
    size_t len_bytes = piece->len_bytes;
    int64_t result = hosted_turn_once(file, writes, piece, iocb);
    for (int tries = 0; result == -EFAULT && hosted_in_window(piece->base) && tries < HOSTED_TRIES; tries++) {
        piece->len_bytes = len_bytes;
        result = writes ? hosted_write_copy(file, piece, iocb) : hosted_turn_once(file, writes, piece, iocb);
    }
    return result;
}

static int64_t hosted_io(struct fl_file *file, bool writes, void *memory, size_t len_bytes, uint64_t offset,
                         unsigned flags)
{
    struct fl_iocb iocb = {.offset = offset, .flags = flags};
    size_t done = 0;
    int64_t result;
    struct fl_iovec piece;
    if (len_bytes > INT64_MAX)
        return -EINVAL;
    if (writes && !(flags & FL_IOCB_APPEND)) {
        result = hosted_allocate(file, offset, &len_bytes);
        if (result != 0)
            return result;
    }
    do {
        piece = (struct fl_iovec){(char *)memory + done, len_bytes - done};
        result = hosted_turn(file, writes, &piece, &iocb);
        done += result > 0 ? (size_t)result : 0;
        /* Where memory was taken away the turn is short, and not the file. */
    } while (result > 0 && ((size_t)result == piece.len_bytes || hosted_in_window(memory)) &&
             done < len_bytes);
    return done > 0 ? (int64_t)done : result;
}

int64_t fl_pread(struct fl_file *file, void *to, size_t len_bytes, uint64_t offset, unsigned flags)
{
    return HOSTED_CALL(int64_t, hosted_io(file, false, to, len_bytes, offset, flags));
}

int64_t fl_pwrite(struct fl_file *file, const void *from, size_t len_bytes, uint64_t offset, unsigned flags)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return HOSTED_CALL(int64_t, hosted_io(file, true, (void *)(uintptr_t)from, len_bytes, offset, flags));
}

int fl_truncate(struct fl_file *file, uint64_t len_bytes)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return HOSTED_CALL(int, fl_vnode_truncate(file->vnode, len_bytes));
}

int fl_punch(struct fl_file *file, uint64_t offset, uint64_t len_bytes)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return HOSTED_CALL(int, fl_vnode_punch(file->vnode, offset, len_bytes));
}

int fl_fsync(struct fl_file *file, unsigned flags)
{
    return HOSTED_CALL(int, fl_vnode_fsync(file->vnode, flags, &file->told));
}

/* ---- mappings ------------------------------------------------------------------------------------------ */

/* Hands an address out, or an error on. */
static int hosted_address(int64_t result, void **addr)
{
    if (result < 0)
        return (int)result;
    *addr = (void *)result;
    return 0;
}

int fl_mmap(void **addr, size_t len_bytes, int prot, int flags, struct fl_file *file, uint64_t offset)
{
    vm_offset_t hint = (vm_offset_t)*addr;
    return hosted_address(
        HOSTED_CALL(int64_t, fl_sys_mmap(hosted.map, hint, len_bytes, prot, flags, file, offset)), addr);
}

int fl_munmap(void *addr, size_t len_bytes)
{
    return HOSTED_CALL(int, fl_sys_munmap(hosted.map, (vm_offset_t)addr, len_bytes));
}

int fl_mprotect(void *addr, size_t len_bytes, int prot)
{
    return HOSTED_CALL(int, fl_sys_mprotect(hosted.map, (vm_offset_t)addr, len_bytes, prot));
}

int fl_mremap(void **addr, size_t old_len_bytes, size_t new_len_bytes, int flags)
{
    vm_offset_t old = (vm_offset_t)*addr;
    if (flags & FL_MREMAP_FIXED) /* there is no argument here that says where to */
        return -EINVAL;
    return hosted_address(
        HOSTED_CALL(int64_t, fl_sys_mremap(hosted.map, old, old_len_bytes, new_len_bytes, flags, 0)), addr);
}

int fl_msync(void *addr, size_t len_bytes, int flags)
{
    return HOSTED_CALL(int, fl_sys_msync(hosted.map, (vm_offset_t)addr, len_bytes, flags));
}

int fl_madvise(void *addr, size_t len_bytes, int advice)
{
    return HOSTED_CALL(int, fl_sys_madvise(hosted.map, (vm_offset_t)addr, len_bytes, advice));
}

/* In steps through the stack: vec may itself be managed memory, which must not be touched inside the core. */
int fl_mincore(void *addr, size_t len_bytes, unsigned char *vec)
{
    unsigned char step[512];
    size_t step_bytes = ptoa(sizeof(step));
    int error = 0;
    do {
        size_t n = len_bytes < step_bytes ? len_bytes : step_bytes;
        error = HOSTED_CALL(int, fl_sys_mincore(hosted.map, (vm_offset_t)addr, n, step));
        if (error == 0)
            memcpy(vec, step, atop(round_page(n)));
        addr = (char *)addr + n;
        vec += atop(n);
        len_bytes -= n;
    } while (error == 0 && len_bytes > 0);
    return error;
}

int fl_mlock(void *addr, size_t len_bytes)
{
    return HOSTED_CALL(int, fl_sys_mlock(hosted.map, (vm_offset_t)addr, len_bytes));
}

int fl_munlock(void *addr, size_t len_bytes)
{
    return HOSTED_CALL(int, fl_sys_munlock(hosted.map, (vm_offset_t)addr, len_bytes));
}

/* In steps through the stack, as fl_mincore. */
int fl_prefetch(const struct fl_iovec *range, uint32_t nranges)
{
    struct fl_iovec step[HOSTED_PREFETCH];
    int error = 0;
    while (error == 0 && nranges > 0) {
        uint32_t n = nranges < HOSTED_PREFETCH ? nranges : HOSTED_PREFETCH;
        memcpy(step, range, n * sizeof(step[0]));
        error = HOSTED_CALL(int, fl_sys_prefetch(hosted.map, step, n));
        range += n;
        nranges -= n;
    }
    return error;
}

int fl_pin(void *addr, size_t len_bytes, int access, struct fl_hold *pin)
{
    if ((access & ~(PROT_READ | PROT_WRITE)) != 0 || access == 0)
        return -EINVAL;
    return HOSTED_CALL(int, fl_hold(hosted.map, (vm_offset_t)addr, len_bytes, (vm_prot_t)access, pin));
}

void fl_unpin(struct fl_hold *pin)
{
    sigset_t saved;
    linux_signals_block(&saved);
    fl_unhold(pin);
    linux_signals_restore(&saved);
}
