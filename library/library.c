/*
 * library.c: the library that a Linux program links: faultline.h in terms of the core (vm.h) and the machine
 * (linux_machine.h). Here are its start and its end; library_state.h lists the other files.
 *
 *   fl_init       limit = buffers + frames ─▶ linux_machine_init ─▶ fl_vm_boot ─▶ fl_space_create
 *                                                                             ─▶ linux_machine_start
 *   fl_mmap …     signals blocked ─▶ fl_sys_mmap … ─▶ signals restored                       (mapping.c)
 *   an error      fl_fault ─▶ machine ─▶ library_deliver ─▶ on_error ─▶ the handler, or the end (error.c)
 *   fl_shutdown   msync of everything ─▶ fl_space_destroy ─▶ files closed ─▶ linux_machine_stop
 *                                                          ─▶ fl_vm_halt ─▶ linux_machine_fini
 *
 * Every call into the core is made with all signals blocked: a handler of the program's that touched managed
 * memory while this very thread holds a lock of the core would wait for itself.
 *
 * The limit covers pages and buffers together: nframes * 4096 + buffers <= memory_limit_bytes. The core and
 * the machine keep their own bounds, so the limit holds whatever they do. Bytes on their way from a buffer
 * into a frame may be counted twice: the peak is an upper bound.
 *
 * Locks: none here; fl_init and fl_shutdown are not for two threads at a time.
 */
#include "library_state.h"
#include "swap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* Map entries that the metadata has room for. It is address space only, backed as it is used. */
#define MAP_ENTRIES (1u << 20)
#define BUFFERS_MAX ((size_t)6 << 20)

struct library library;

static char init_error[256]; /* of the last fl_init that failed */

static int init_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int init_fail(int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(init_error, sizeof(init_error), format, arguments);
    va_end(arguments);
    return error;
}

const char *fl_init_error(void)
{
    return init_error;
}

static int check_options(const struct fl_options *options)
{
    if (library.map != NULL)
        return init_fail(-EALREADY,
                         "already initialised, here or in the process that this one was forked from: "
                         "call fl_init once, and exec in children that need their own");
    if (options->memory_limit_bytes < FL_MEMORY_MIN)
        return init_fail(-EINVAL, "a memory limit of %zu bytes is too small to run: give at least %zu",
                         options->memory_limit_bytes, FL_MEMORY_MIN);
    if (atop(options->memory_limit_bytes) > UINT32_MAX / 2)
        return init_fail(
            -EINVAL, "a memory limit of %zu bytes is more than pages can be numbered for: give at most %zu",
            options->memory_limit_bytes, (size_t)ptoa(UINT32_MAX / 2));
    if (options->swap_max_bytes != FL_SWAP_NONE && options->swap_max_bytes > FL_SWAP_MAX)
        return init_fail(-EINVAL,
                         "a swap of %llu bytes is more than pages can be numbered for: give at most %llu",
                         (unsigned long long)options->swap_max_bytes, (unsigned long long)FL_SWAP_MAX);
    if (options->compress_percent > FL_COMPRESS_MAX)
        return init_fail(-EINVAL, "%u %% of memory for compressed pages are too many: give at most %u",
                         options->compress_percent, FL_COMPRESS_MAX);
    if (options->compress_percent != 0 && options->swap_max_bytes == FL_SWAP_NONE)
        return init_fail(-EINVAL, "there is nothing to compress without swap: leave out one of the two");
    if (options->fault != FL_FAULT_AUTO && options->fault != FL_FAULT_SIGNAL &&
        options->fault != FL_FAULT_THREAD)
        return init_fail(-EINVAL,
                         "unknown fault engine %d: give FL_FAULT_AUTO, FL_FAULT_SIGNAL or FL_FAULT_THREAD",
                         (int)options->fault);
    return 0;
}

/*
 * How many pages one read-ahead window has. Three windows fit into the half of the buffers that the machine
 * gives to read-ahead: as many as the core keeps in flight.
 */
static uint32_t readahead_window(size_t buffer_len_bytes)
{
    uint64_t slots = atop(buffer_len_bytes);
    uint64_t window = (slots / 2 - slots / 64 - 1) / 3;
    return window < MACHINE_RUN_MAX ? (uint32_t)window : MACHINE_RUN_MAX;
}

/* The default that cannot be had is no failure, and told by fl_init_error. */
static int start_swap(void)
{
    const struct fl_options *options = &library.options;
    if (swap_len_bytes(options) == 0)
        return 0;
    int error = swap_start(options, init_error, sizeof(init_error));
    bool asked = options->swap_path != NULL || options->swap_max_bytes != 0 || options->compress_percent != 0;
    return asked ? error : 0;
}

/* Boots the core on the memory at meta. */
static int boot(void *meta, size_t meta_len_bytes, uint32_t nframes, size_t buffer_len_bytes)
{
    struct fl_vm_params params = {
        .meta = meta,
        .meta_len_bytes = meta_len_bytes,
        .nframes = nframes,
        .readahead_max = readahead_window(buffer_len_bytes),
    };
    int error = fl_vm_boot(&params);
    if (error != 0)
        return init_fail(error, "the memory for bookkeeping (%zu bytes of address space) was refused",
                         meta_len_bytes);
    error = start_swap();
    if (error != 0) {
        fl_vm_halt();
        return error;
    }
    error = fl_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &library.map);
    if (error != 0) {
        fl_vm_halt();
        return init_fail(error, "no memory for the address space");
    }
    error = linux_machine_start(library.map);
    if (error != 0) {
        fl_space_destroy(library.map);
        library.map = NULL;
        fl_vm_halt();
        return init_fail(error, "%s", linux_machine_error());
    }
    return 0;
}

int fl_init(const struct fl_options *options)
{
    int error = check_options(options);
    if (error != 0)
        return error;
    size_t limit = options->memory_limit_bytes;
    size_t buffers = trunc_page(limit / 8 < BUFFERS_MAX ? limit / 8 : BUFFERS_MAX);
    uint32_t nframes = (uint32_t)atop(limit - buffers);
    struct linux_machine_params machine = {
        .nframes = nframes,
        .buffer_len_bytes = buffers,
        .fault = options->fault == FL_FAULT_THREAD ? LINUX_FAULT_THREAD : LINUX_FAULT_SIGNAL,
        .own_signal = true,
        .deliver = library_deliver,
    };
    size_t meta_len_bytes =
        fl_vm_meta_size(nframes, MAP_ENTRIES) + fl_swap_meta_size(swap_len_bytes(options));
    void *meta;
    library.options = *options;
    init_error[0] = '\0';
    error = linux_machine_init(&machine, meta_len_bytes, &meta);
    if (error != 0)
        return init_fail(error, "%s", linux_machine_error());
    error = boot(meta, meta_len_bytes, nframes, buffers);
    if (error != 0)
        linux_machine_fini();
    return error;
}

static void keep_first(int *first, int error)
{
    if (*first == 0)
        *first = error;
}

/* Writes what is dirty under every shared mapping, so that fl_shutdown can return its errors. */
static int sync_all(void)
{
    int first = 0;
    struct fl_region region = {0};
    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(library.map, va, &region) == 0; va = region.end)
        if (region.shared && !region.reserved)
            keep_first(&first,
                       fl_sys_msync(library.map, region.start, region.end - region.start, FL_MS_SYNC));
    return first;
}

int fl_shutdown(void)
{
    if (library.map == NULL)
        return -EINVAL;
    sigset_t saved;
    linux_signals_block(&saved);
    int first = sync_all();
    fl_space_destroy(library.map);
    keep_first(&first, library_close_all());
    linux_machine_stop();
    fl_vm_halt();
    linux_machine_fini();
    library.map = NULL;
    linux_signals_restore(&saved);
    return first;
}

struct vm_map *fl_space(void)
{
    return library.map;
}

void fl_stats(struct fl_stats *stats)
{
    *stats = (struct fl_stats){.memory_limit_bytes = library.options.memory_limit_bytes};
    if (library.map == NULL)
        return;
    fl_vm_stats(&stats->vm);
    uint64_t buffers = linux_buffer_peak_bytes();
    stats->peak_resident_bytes = ptoa(stats->vm.peak_used) + buffers;
    stats->resident_bytes = ptoa(stats->vm.nframes - stats->vm.free) + buffers;
}
