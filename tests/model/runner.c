/* runner.c: see runner.h. */
#include "model/runner.h"
#include "model/shrink.h"
#include "support/seed.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OPS_PER_SEQUENCE 400
#define FIRST_SEED       1

static int fail(struct sequence *sequence)
{
    fprintf(stderr, "%s: seed %" PRIu64 " failed at operation %u: %s\n", sequence->name, sequence->seed,
            sequence->record->failed_at, sequence->record->difference);
    sequence_shrink(sequence);
    (void)sequence_run(sequence, false); /* prints what the last run says */
    sequence_print(sequence, stderr);
    return EXIT_FAILURE;
}

static int replay(struct sequence *sequence, const char *path)
{
    if (!sequence_read(sequence, path)) {
        fprintf(stderr, "%s: no operations in %s\n", sequence->name, path);
        return EXIT_FAILURE;
    }
    if (sequence_run(sequence, false))
        return EXIT_SUCCESS;
    fprintf(stderr, "%s: %s\n", sequence->name, sequence->record->difference);
    return EXIT_FAILURE;
}

int runner_main(struct sequence *sequence, uint64_t nops, int argc, char **argv)
{
    uint64_t first = test_seed(FIRST_SEED), ran = 0, all = 0;
    uint64_t rounds = test_rounds(getenv("FAULTLINE_SEED") != NULL ? 1 : UINT64_MAX);
    bool of_files = sequence->mix == OP_MIX_FILES || sequence->mix == OP_MIX_SYNCS;
    int status = EXIT_SUCCESS;

    sequence_init(sequence);
    sequence->seed = first;
    if (argc == 3 && strcmp(argv[1], "--replay") == 0)
        return replay(sequence, argv[2]);
    for (; status == EXIT_SUCCESS && sequence->seed - first < rounds && ran < nops; sequence->seed++) {
        if (!sequence_draw(sequence, OPS_PER_SEQUENCE, false))
            status = fail(sequence);
        all += sequence->record->ran;
        ran += of_files ? sequence->record->ran_file : sequence->record->ran;
    }
    printf("%s: %" PRIu64 " operations in %" PRIu64 " sequences\n", sequence->name, all,
           sequence->seed - first);
    if (of_files)
        printf("%s: %" PRIu64 " of them calls on files\n", sequence->name, ran);
    sequence_fini(sequence);
    return status;
}
