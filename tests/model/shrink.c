/* shrink.c: see shrink.h. */
#include "model/shrink.h"
#include <stdlib.h>
#include <string.h>

/* Whether it still fails without op[at … at + n); if so, removes them. */
static bool drop(struct sequence *sequence, uint32_t at, uint32_t n)
{
    struct sequence_record *record = sequence->record;
    uint32_t before = record->nops;
    struct op *saved = malloc(before * sizeof(*saved));

    if (saved == NULL)
        abort();
    memcpy(saved, record->op, before * sizeof(*saved));
    memmove(&record->op[at], &record->op[at + n], (before - at - n) * sizeof(*saved));
    record->nops = before - n;
    if (!sequence_run(sequence, true)) {
        free(saved);
        return true;
    }
    memcpy(record->op, saved, before * sizeof(*saved));
    record->nops = before;
    free(saved);
    return false;
}

void sequence_shrink(struct sequence *sequence)
{
    struct sequence_record *record = sequence->record;
    uint32_t piece, at;
    bool again;

    if (record->failed_at + 1 < record->nops)
        (void)drop(sequence, record->failed_at + 1, record->nops - record->failed_at - 1);
    for (piece = record->nops / 2; piece > 1; piece /= 2)
        for (at = 0; at + piece <= record->nops;)
            if (!drop(sequence, at, piece))
                at += piece;
    do {
        again = false;
        for (at = record->nops; at-- > 0;)
            again |= drop(sequence, at, 1);
    } while (again);
    (void)sequence_run(sequence, true); /* the difference that is reported is this one's */
}
