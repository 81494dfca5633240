/*
 * ops_fuzz.c: bytes as operations, on the core on the machine sim and on the model: the same oracle as
 * model_test, steered by coverage.
 *
 *   byte 0: the computer      then 8 bytes an operation: kind, page, length, flags, …
 *
 * libFuzzer's entry point. tests/fuzz/fuzz.cmake builds it with Clang's fuzzer on request, and always with
 * corpus_main.c, which runs the corpus once.
 */
#include "model/model.h"
#include "model/oracle.h"
#include "model/sim_oracle.h"
#include "fuzz/fuzz.h"
#include "support/boot.h"
#include <faultline/vm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE     DRIVER_PAGE
#define OP_BYTES 8
#define OPS_MAX  200

static struct sim_params computer(uint8_t byte)
{
    struct sim_params params = byte & 1 ? test_params_hostile(byte) : test_params(byte);

    params.nframes = byte & 2 ? 128 : 1024;
    return params;
}

/* Everything is small, so that operations meet. */
static void decode(const uint8_t *byte, struct op *op)
{
    static const int map_flags[] = {FL_MAP_SHARED, FL_MAP_PRIVATE, FL_MAP_SHARED | FL_MAP_ANONYMOUS,
                                    FL_MAP_PRIVATE | FL_MAP_ANONYMOUS};
    static const int advice[] = {FL_MADV_NORMAL,   FL_MADV_RANDOM,        FL_MADV_SEQUENTIAL,
                                 FL_MADV_WILLNEED, FL_MADV_DONTNEED,      FL_MADV_COLD,
                                 FL_MADV_PAGEOUT,  FL_MADV_POPULATE_WRITE};

    memset(op, 0, sizeof(*op));
    op->kind = (enum op_kind)(byte[0] % OP_FORK);
    op->addr = (uint64_t)(byte[1] % 64) * PAGE;
    op->len = (uint64_t)(byte[2] % 16) * PAGE + byte[3] % 2;
    op->prot = byte[4] % 8;
    op->handle = byte[5] % DRIVER_HANDLES;
    op->off = (uint64_t)(byte[6] % 48) * PAGE;
    op->value = byte[7];
    op->addr2 = (uint64_t)(byte[5] % 64) * PAGE;
    op->len2 = (uint64_t)(byte[6] % 16) * PAGE;
    switch (op->kind) {
    case OP_MMAP:
        op->flags = map_flags[byte[7] % 4] | (byte[3] & 2 ? FL_MAP_FIXED : 0) |
                    (byte[3] & 4 ? FL_MAP_POPULATE : 0) | (byte[3] & 8 ? FL_MAP_LOCKED : 0);
        break;
    case OP_MREMAP:
        op->flags = byte[7] % 4;
        break;
    case OP_MSYNC:
    case OP_MADVISE:
        op->flags = op->kind == OP_MSYNC ? byte[7] % 8 : advice[byte[7] % 8];
        break;
    case OP_LOAD:
    case OP_STORE:
        op->addr += (uint64_t)byte[4] * 16;
        op->len = 1 + (uint64_t)byte[3] * 32;
        break;
    case OP_SET_SIZE:
        op->handle = byte[5] % DRIVER_FILES;
        op->len = (uint64_t)(byte[6] % 64) * PAGE + byte[7];
        break;
    case OP_BRK:
        op->addr = DRIVER_BRK_START + op->addr / 2 + byte[3];
        break;
    default:
        break;
    }
}

static void must_be_same(struct oracle *oracle, bool same, const struct op *op)
{
    if (same)
        return;
    fprintf(stderr, "%s\n", oracle->difference);
    if (op != NULL)
        op_print(op, stderr);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct oracle oracle;
    struct sim_params params;
    struct op op;
    size_t at, n = 0;

    if (len == 0)
        return 0;
    params = computer(data[0]);
    memset(&oracle, 0, sizeof(oracle));
    sim_oracle_setup(&oracle, &params, (struct sim_files){.block_bytes = 0});
    oracle.check_every = 4;
    for (at = 1; at + OP_BYTES <= len && n < OPS_MAX; at += OP_BYTES, n++) {
        decode(data + at, &op);
        must_be_same(&oracle, oracle_step(&oracle, &op), &op);
    }
    must_be_same(&oracle, oracle_finish(&oracle), NULL);
    sim_oracle_teardown(&oracle, NULL);
    return 0;
}
