/* sequence.c: running, printing and reading sequences of operations. See sequence.h. */
#include "model/sequence.h"
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX 90 /* a child that takes longer hangs; conformance waits for a real, shared disk */

void sequence_init(struct sequence *sequence)
{
    void *at =
        mmap(NULL, sizeof(*sequence->record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        abort();
    sequence->record = at;
}

void sequence_fini(struct sequence *sequence)
{
    munmap(sequence->record, sizeof(*sequence->record));
}

/* In the child. Draws up to `draw` operations, or with 0, takes those of the record. */
static bool run(struct sequence *sequence, uint32_t draw)
{
    struct sequence_record *record = sequence->record;
    struct oracle oracle = {.check_every = 1, .max_pinned = UINT64_MAX};
    struct prng r;
    bool same = true;
    uint32_t i;

    prng_init(&r, sequence->seed ^ 0x0b5);
    sequence->setup(&oracle, sequence->seed, sequence->arg);
    for (i = 0; same && i < (draw != 0 ? draw : record->nops); i++) {
        record->failed_at = i;
        if (draw != 0) {
            op_draw(&record->op[i], &r, oracle.model, sequence->mix);
            record->nops = i + 1;
        }
        same = oracle_step(&oracle, &record->op[i]);
        record->ran = oracle.ran;
        record->ran_file = oracle.ran_file;
    }
    if (same)
        same = oracle_finish(&oracle);
    memcpy(record->difference, oracle.difference, sizeof(record->difference));
    if (same)
        sequence->teardown(&oracle, sequence->arg);
    return same;
}

static void be_quiet(void)
{
    int null = open("/dev/null", O_WRONLY);

    if (null < 0 || dup2(null, STDERR_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        abort();
}

static bool in_child(struct sequence *sequence, uint32_t draw, bool quiet)
{
    struct sequence_record *record = sequence->record;
    int status;
    pid_t child;

    snprintf(record->difference, sizeof(record->difference), "the child died: see its last words");
    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(SECONDS_MAX);
        if (quiet)
            be_quiet();
        _exit(run(sequence, draw) ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    if (status != 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
        abort();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(record->difference, sizeof(record->difference), "the child took more than %d s",
                 SECONDS_MAX);
    return status == 0;
}

bool sequence_draw(struct sequence *sequence, uint32_t nops, bool quiet)
{
    if (nops > SEQUENCE_MAX)
        abort();
    sequence->record->nops = 0;
    return in_child(sequence, nops, quiet);
}

bool sequence_run(struct sequence *sequence, bool quiet)
{
    return sequence->record->nops == 0 || in_child(sequence, 0, quiet);
}

void sequence_print(const struct sequence *sequence, FILE *out)
{
    uint32_t i;

    fprintf(out, "// %s: %s\n// replay: FAULTLINE_SEED=%" PRIu64 " %s --replay FILE   (FILE: these lines)\n",
            sequence->name, sequence->record->difference, sequence->seed, sequence->name);
    for (i = 0; i < sequence->record->nops; i++)
        op_print(&sequence->record->op[i], out);
}

bool sequence_read(struct sequence *sequence, const char *path)
{
    FILE *in = fopen(path, "r");
    char line[512];

    sequence->record->nops = 0;
    if (in == NULL)
        return false;
    while (sequence->record->nops < SEQUENCE_MAX && fgets(line, sizeof(line), in) != NULL)
        sequence->record->nops += op_parse(line, &sequence->record->op[sequence->record->nops]);
    fclose(in);
    return sequence->record->nops > 0;
}
