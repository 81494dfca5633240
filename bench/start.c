/*
 * start.c: how long /bin/true takes under `faultline run` with a large limit, against a small one: the cost
 * of a start must not grow with the limit.
 */
#include "bench.h"

#define ROUNDS 21

static struct bench_score start_ms(int fd, const void *limit)
{
    const char *const argv[] = {"faultline", "run", "--memory", limit, "--", "/bin/true", NULL};
    double ms[ROUNDS];
    (void)fd;
    for (size_t i = 0; i < ROUNDS; i++)
        ms[i] = bench_program(argv).value * 1e3;
    return (struct bench_score){bench_median(ms, ROUNDS), 0};
}

void bench_start(void)
{
    static const char *const name = "start of /bin/true, limit 16G, against limit 64M";
    static const struct bench_side sides[] = {{"limit 16G", start_ms, "16G", 0},
                                              {"limit 64M", start_ms, "64M", 0}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    bench_report_at_most(name, "ms", score[0], score[1], 1.5);
}
