/*
 * codec.c: contexts of zstd in memory of the caller, and their loan (codec.h).
 *
 *   a piece: | block header | literals | sequences |     a zstd frame without magic number, size, checksum
 *
 * Level 1: the higher ones gain little on 4 KiB; docs/design.md has the numbers. What zstd needs
 * on the stack is about 5 KB.
 *
 * A thread tries the contexts one after the other, and waits for the first one when all are borrowed.
 */
#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of the caller */
#include "codec.h"

#include <errno.h>
#include <stdatomic.h>
#include <zstd.h>

#define CODEC_LEVEL 1

/* The contexts begin at multiples of 64, so that two threads' are not in one line of the cache. */
static size_t round64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t compressor_bytes(void)
{
    return round64(ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(CODEC_LEVEL, VM_PAGE_SIZE, 0)));
}

static size_t expander_bytes(void)
{
    return round64(ZSTD_estimateDCtxSize());
}

size_t codec_bytes(unsigned n)
{
    size_t bytes = 2 * round64(sizeof(struct codec_context)) + compressor_bytes() + expander_bytes();
    return round_page(n * bytes);
}

static ZSTD_CCtx *compressor_init(void *memory)
{
    ZSTD_CCtx *zstd = ZSTD_initStaticCCtx(memory, compressor_bytes());
    if (zstd == NULL || ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, CODEC_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_format, ZSTD_f_zstd1_magicless)))
        machine_panic("codec: this zstd cannot compress a page in the memory that it asked for");
    return zstd;
}

static ZSTD_DCtx *expander_init(void *memory)
{
    ZSTD_DCtx *zstd = ZSTD_initStaticDCtx(memory, expander_bytes());
    if (zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(zstd, ZSTD_d_format, ZSTD_f_zstd1_magicless)))
        machine_panic("codec: this zstd cannot expand a page in the memory that it asked for");
    return zstd;
}

void codec_init(struct codec *codec, void *memory, unsigned n)
{
    unsigned char *at = memory;
    codec->n = n;
    for (unsigned i = 0; i < n; i++) {
        codec->compressor[i] = (struct codec_context *)at;
        at += round64(sizeof(struct codec_context));
        codec->compressor[i]->zstd = compressor_init(at);
        at += compressor_bytes();
        codec->expander[i] = (struct codec_context *)at;
        at += round64(sizeof(struct codec_context));
        codec->expander[i]->zstd = expander_init(at);
        at += expander_bytes();
    }
}

/* The lock of the context that is returned is held, which the analysis cannot follow through the array. */
static struct codec_context *codec_borrow(struct codec *codec,
                                          struct codec_context **context) FL_NO_THREAD_SAFETY_ANALYSIS
{
    unsigned turn = atomic_fetch_add_explicit(&codec->turn, 1, memory_order_relaxed);
    for (unsigned i = 0; i < codec->n; i++)
        if (machine_trylock(&context[(turn + i) % codec->n]->lock))
            return context[(turn + i) % codec->n];
    machine_lock(&context[turn % codec->n]->lock);
    return context[turn % codec->n];
}

struct codec_context *codec_compressor(struct codec *codec)
{
    return codec_borrow(codec, codec->compressor);
}

struct codec_context *codec_expander(struct codec *codec)
{
    return codec_borrow(codec, codec->expander);
}

void codec_return(struct codec_context *context) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_unlock(&context->lock);
}

size_t codec_compress(struct codec_context *compressor, const void *page)
{
    size_t len =
        ZSTD_compress2(compressor->zstd, compressor->bytes, sizeof compressor->bytes, page, VM_PAGE_SIZE);
    return ZSTD_isError(len) ? 0 : len;
}

int codec_expand(struct codec_context *expander, size_t len, void *page)
{
    size_t made = ZSTD_decompressDCtx(expander->zstd, page, VM_PAGE_SIZE, expander->bytes, len);
    return made == VM_PAGE_SIZE ? 0 : -EIO;
}
