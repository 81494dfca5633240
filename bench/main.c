/*
 * main.c: runs every measure in a process of its own, prints the table, and writes it as JSON.
 *
 *   bench [--json FILE] [MEASURE…]
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The measure of map entries stands on another machine, and so is a program of its own, beside this one. */
static void bench_map_entries(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("_entries"));
    if (n < 0)
        bench_fail("/proc/self/exe", errno);
    strcpy(path + n, "_entries");
    execl(path, path, (char *)NULL);
    bench_fail(path, errno);
}

static const struct {
    const char *name;
    void (*run)(void);
} measures[] = {
    {"refault", bench_refault},
    {"mapped", bench_mapped},
    {"sequential", bench_sequential},
    {"interleaved", bench_interleaved},
    {"strided", bench_strided},
    {"random", bench_random_reads},
    {"prefetch", bench_prefetch},
    {"writes", bench_random_writes},
    {"hotset", bench_hot_set},
    {"resident", bench_resident},
    {"entries", bench_map_entries},
    {"metadata", bench_metadata},
    {"peak", bench_peak},
};
#define NMEASURES (sizeof(measures) / sizeof(measures[0]))

static bool met(double ratio, double target, int at_least)
{
    return at_least ? ratio >= target : ratio <= target;
}

/* One line of a measure's output, as bench_report and bench_skip print it, into the table and the JSON. */
static void take_line(char *line, FILE *json, int *nresults)
{
    char *field[8];
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line, *f; n < 8 && (f = strsep(&at, "\t")) != NULL;)
        field[n++] = f;
    if (n == 3 && strcmp(field[0], "skip") == 0) {
        printf("%-58s not measured: %s\n", field[1], field[2]);
        return;
    }
    if (n != 8 || strcmp(field[0], "result") != 0)
        return;
    double ratio = atof(field[5]), target = atof(field[6]);
    int at_least = atoi(field[7]);
    bool ok = met(ratio, target, at_least);
    printf("%-58s %12s %12s %-10s %7.3f  %s %-6g %s\n", field[1], field[3], field[4], field[2], ratio,
           at_least ? ">=" : "<=", target, ok ? "ok" : "MISSED");
    fprintf(json,
            "%s\n  {\"measure\": \"%s\", \"unit\": \"%s\", \"ours\": %s, \"reference\": %s, \"ratio\": %s, "
            "\"target\": %s, \"at_least\": %s, \"met\": %s}",
            (*nresults)++ ? "," : "", field[1], field[2], field[3], field[4], field[5], field[6],
            at_least ? "true" : "false", ok ? "true" : "false");
}

/* Runs one measure and takes its lines. False: it failed. */
static bool run(size_t i, FILE *json, int *nresults)
{
    int fds[2];
    if (pipe(fds) != 0)
        bench_fail("pipe", 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        close(fds[1]);
        measures[i].run();
        exit(0);
    }
    close(fds[1]);
    FILE *in = fdopen(fds[0], "r");
    char line[512];
    while (in != NULL && fgets(line, sizeof(line), in) != NULL)
        take_line(line, json, nresults);
    if (in != NULL)
        fclose(in);
    int status = 0;
    bool ok = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok)
        printf("%-58s FAILED (status %#x)\n", measures[i].name, status);
    bench_cgroup_remove();
    return ok;
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
    printf("%-58s %12s %12s %-10s %7s  %s\n", "measure", "ours", "reference", "unit", "ratio", "target");
    fprintf(json, "[");
    for (size_t i = 0; i < NMEASURES; i++)
        if (wanted(measures[i].name, argc, argv))
            failures += !run(i, json, &nresults);
    fprintf(json, "\n]\n");
    fclose(json);
    return failures != 0;
}
