/*
 * codec.h: zstd for single pages, without an allocator: a few contexts that threads borrow.
 *
 *   memory   | compressor | compressor … | expander | expander … |     each with a buffer and a lock
 *                 └ codec_compressor ─▶ codec_compress ─▶ codec_return
 *
 * A context is some 70 to 100 KB, so threads share them. zstd is a library of the host that is linked
 * statically: the contexts lie in memory of the caller, and no call allocates, which a thread in the middle
 * of the program's malloc could not.
 *
 * Locks: each context's own, held while it is borrowed. A thread borrows one at a time.
 */
#ifndef STORES_CODEC_H
#define STORES_CODEC_H

#include "zpool.h"
#include <faultline/machine.h>

#define CODEC_CONTEXTS_MAX 8 /* of each kind */

struct codec_context {
    struct machine_lock lock;
    unsigned char bytes[ZPOOL_PIECE_MAX]; /* (lock) a compressed page */
    void *zstd;                           /* constant; what it points to: (lock) */
};

struct codec {
    unsigned n;
    _Atomic unsigned turn; /* which context to try first */
    struct codec_context *compressor[CODEC_CONTEXTS_MAX], *expander[CODEC_CONTEXTS_MAX];
};

/* Returns how many bytes n contexts of each kind take, whole pages. */
FL_NODISCARD size_t codec_bytes(unsigned n);
/* Makes 1 <= n <= CODEC_CONTEXTS_MAX contexts of each kind in codec_bytes(n) zeroed bytes, page-aligned. */
void codec_init(struct codec *codec, void *memory, unsigned n);

/* Borrow a context, perhaps after waiting for one, and give it back. */
FL_NODISCARD struct codec_context *codec_compressor(struct codec *codec);
FL_NODISCARD struct codec_context *codec_expander(struct codec *codec);
void codec_return(struct codec_context *context);

/* Compresses the page into context->bytes. Returns the length; 0: it would be more than ZPOOL_PIECE_MAX. */
FL_NODISCARD size_t codec_compress(struct codec_context *compressor, const void *page);
/* Makes the page of the first len bytes of context->bytes. Errors: -EIO: they are not what codec_compress
 * made. */
FL_NODISCARD int codec_expand(struct codec_context *expander, size_t len, void *page);

#endif
