/*
 * swap.c: the stack of stores behind the library's swap space (swap.h).
 *
 *   fl_swapon ─▶ [ compressed tier, of a share of the limit ] ─▶ swap file
 *
 * Lock: none; all of it runs inside fl_init.
 */
#include "swap.h"
#include "compress.h"
#include "swap_file.h"

#include <errno.h>
#include <faultline/types.h>
#include <faultline/vm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t swap_len_bytes(const struct fl_options *options)
{
    if (options->swap_max_bytes == FL_SWAP_NONE)
        return 0;
    return options->swap_max_bytes != 0 ? round_page(options->swap_max_bytes) : FL_SWAP_DEFAULT;
}

static const char *file_remedy(int error)
{
    switch (error) {
    case -EEXIST:
        return "it exists: name a new file, or a directory";
    case -EFBIG:
        return "longer than its file system or the limit on file sizes (ulimit -f) allows: choose a smaller "
               "swap";
    case -ENOENT:
    case -ENOTDIR:
        return "there is no such directory: name one that exists";
    case -EACCES:
    case -EROFS:
        return "it cannot be written to: name a directory that can";
    default:
        return strerrordesc_np(-error);
    }
}

static int file_open(const struct fl_options *options, struct store **file, char *why, size_t size)
{
    uint64_t len_bytes = swap_len_bytes(options);
    const char *place = options->swap_path != NULL ? options->swap_path : swap_file_dir();
    int error = options->swap_path != NULL ? swap_file_open_at(place, len_bytes, file)
                                           : swap_file_open(place, len_bytes, file);
    if (error != 0)
        snprintf(why, size, "cannot swap %llu bytes to '%.150s': %s", (unsigned long long)len_bytes, place,
                 file_remedy(error));
    return error;
}

/* Puts the compressed tier in front of *store. */
static int compress(const struct fl_options *options, struct store **store, char *why, size_t size)
{
    size_t limit = options->memory_limit_bytes;
    int error = compress_open(*store, limit / 100 * options->compress_percent, store);
    if (error != 0)
        snprintf(why, size, "no room to compress %u %% of %zu bytes: raise the memory limit",
                 options->compress_percent, limit);
    return error;
}

int swap_start(const struct fl_options *options, char *why, size_t size)
{
    struct store *store;
    int error = file_open(options, &store, why, size);
    if (error != 0)
        return error;
    if (options->compress_percent != 0)
        error = compress(options, &store, why, size);
    if (error == 0) {
        error = fl_swapon(store);
        if (error != 0)
            snprintf(why, size, "cannot swap %llu bytes: %s", (unsigned long long)swap_len_bytes(options),
                     strerrordesc_np(-error));
    }
    if (error != 0)
        store->ops->close(store);
    return error;
}
