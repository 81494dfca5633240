/*
 * main.c: runs every measure in a process of its own, prints the table, and writes it as JSON.
 *
 *   bench [--json FILE] [MEASURE…]      the measures are those of the table below; without any: all of them
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Measures that stand on another machine, and so are programs of their own, beside this one. */
static void exec_beside(const char *program)
{
    char path[4096];
    bench_beside(program, path, sizeof(path));
    execl(path, path, (char *)NULL);
    bench_fail(path, errno);
}

static void bench_map_entries(void)
{
    exec_beside("bench_entries");
}

static void bench_anonymous(void)
{
    exec_beside("bench_anonymous");
}

#define FIELDS 10 /* of a result line */

static const struct {
    const char *name;
    void (*run)(void);
} measures[] = {
    {"sort", bench_sort},
    {"random", bench_random_reads},
    {"writes", bench_random_writes},
    {"sequential", bench_sequential},
    {"interleaved", bench_interleaved},
    {"strided", bench_strided},
    {"prefetch", bench_prefetch},
    {"hotset", bench_hot_set},
    {"refault", bench_refault},
    {"stores", bench_first_store},
    {"mapped", bench_mapped},
    {"start", bench_start},
    {"resident", bench_resident},
    {"entries", bench_map_entries},
    {"anonymous", bench_anonymous},
    {"metadata", bench_metadata},
    {"peak", bench_peak},
};
#define NMEASURES (sizeof(measures) / sizeof(measures[0]))

static bool met(double ratio, double target, int at_least)
{
    return at_least ? ratio >= target : ratio <= target;
}

/* One line of a measure's output, as bench_report_* and bench_skip print it, into the table and the JSON. */
static void take_line(char *line, FILE *json, int *nresults)
{
    char *field[FIELDS];
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line, *f; n < FIELDS && (f = strsep(&at, "\t")) != NULL;)
        field[n++] = f;
    if (n == 3 && strcmp(field[0], "skip") == 0) {
        printf("%-62s not measured: %s\n", field[1], field[2]);
        return;
    }
    if (n != FIELDS || strcmp(field[0], "result") != 0)
        return;
    double ratio = atof(field[5]), target = atof(field[6]);
    int at_least = atoi(field[7]);
    bool ok = met(ratio, target, at_least), processor = atof(field[8]) > 0;
    printf("%-62s %12s %12s %-10s %7.3f  %s %-6g %-6s", field[1], field[3], field[4], field[2], ratio,
           at_least ? ">=" : "<=", target, ok ? "ok" : "MISSED");
    if (processor)
        printf(" processor %s and %s s", field[8], field[9]);
    printf("\n");
    fprintf(json,
            "%s\n  {\"measure\": \"%s\", \"unit\": \"%s\", \"ours\": %s, \"reference\": %s, \"ratio\": %s, "
            "\"target\": %s, \"at_least\": %s, \"met\": %s, \"processor_seconds\": [%s, %s]}",
            (*nresults)++ ? "," : "", field[1], field[2], field[3], field[4], field[5], field[6],
            at_least ? "true" : "false", ok ? "true" : "false", processor ? field[8] : "null",
            processor ? field[9] : "null");
}

/* Runs one measure and takes the lines that it printed. False: it failed. */
static bool run(size_t i, FILE *json, int *nresults)
{
    FILE *out = tmpfile();
    if (out == NULL)
        bench_fail("tmpfile", errno);
    pid_t pid = bench_fork();
    if (pid == 0) {
        dup2(fileno(out), 1);
        measures[i].run();
        exit(0);
    }
    int status = bench_wait(pid, BENCH_MEASURE_SECONDS);
    char line[512];
    rewind(out);
    while (fgets(line, sizeof(line), out) != NULL)
        take_line(line, json, nresults);
    fclose(out);
    if (status == -ETIME)
        printf("%-62s FAILED (not done after %d s)\n", measures[i].name, BENCH_MEASURE_SECONDS);
    else if (status != 0)
        printf("%-62s FAILED (status %#x)\n", measures[i].name, (unsigned)status);
    bench_cgroup_remove();
    return status == 0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            i++;
            continue;
        }
        any = true;
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return !any;
}

int main(int argc, char **argv)
{
    const char *path = "bench.json";
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            path = argv[i + 1];
    FILE *json = fopen(path, "w");
    if (json == NULL) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        return 1;
    }
    int nresults = 0, failures = 0;
    printf("%-62s %12s %12s %-10s %7s  %s\n", "measure", "ours", "reference", "unit", "ratio", "target");
    fprintf(json, "[");
    for (size_t i = 0; i < NMEASURES; i++)
        if (wanted(measures[i].name, argc, argv))
            failures += !run(i, json, &nresults);
    fprintf(json, "\n]\n");
    fclose(json);
    return failures != 0;
}
