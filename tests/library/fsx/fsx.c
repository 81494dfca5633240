/*
 * fsx.c: fsx [OPTIONS] FILE: operations on FILE, which is created, and
 * FILE.model, which holds what FILE must hold.
 *
 *      --seed N      which operations (1)
 *      --ops N       how many of them (2000)
 *      --only LIST   those whose numbers stand in this file
 *      --memory N    the limit in bytes (1 MiB); --thread: the engine: of fsx_api
 *      --noise       a thread reads the mapped file all the while, wherever its end is
 *      --sync        everything is synced at the end, and not left to the last close
 *      --verbose     tells each operation
 *
 * Exits with 1 when something differs, after one line that says where.
 */
#include "fsx.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    struct fsx_run run;
    struct fsx_options options;
    unsigned ops;
    const char *only;
    bool noise, sync;
} fsx = {.run.seed = 1, .ops = 2000, .options.memory_limit_bytes = (size_t)1 << 20};

static void arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--noise") == 0)
            fsx.noise = true;
        else if (strcmp(argv[i], "--sync") == 0)
            fsx.sync = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            fsx.run.verbose = true;
        else if (strcmp(argv[i], "--thread") == 0)
            fsx.options.thread_engine = true;
        else if (strcmp(argv[i], "--seed") == 0)
            fsx.run.seed = strtoull(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--ops") == 0)
            fsx.ops = (unsigned)strtoul(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--memory") == 0)
            fsx.options.memory_limit_bytes = strtoull(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--only") == 0)
            fsx.only = value, i++;
        else
            fsx.run.path = argv[i];
    }
    if (fsx.run.path == NULL) {
        fprintf(stderr, "usage: fsx [--seed N] [--ops N] … FILE: see fsx.c\n");
        exit(2);
    }
}

static void operations(void)
{
    unsigned number;

    if (fsx.only == NULL) {
        for (number = 1; number <= fsx.ops; number++)
            ops_do(number);
        return;
    }
    FILE *list = fopen(fsx.only, "r");
    if (list == NULL)
        fail("cannot read %s", fsx.only);
    while (fscanf(list, "%u", &number) == 1)
        ops_do(number);
    fclose(list);
}

/* ---- noise --------------------------------------------------------------------------------------------- */

static struct {
    pthread_t thread;
    void *view; /* of the longest file there can be */
    atomic_bool stop;
} noise;

/* The bytes change meanwhile, so they are not compared: the thread must only read them or get SIGBUS. */
static void *make_noise(void *seed)
{
    unsigned state = (unsigned)*(uint64_t *)seed;
    uint64_t reached = 0;

    while (!noise.stop) {
        size_t at = ((size_t)rand_r(&state) << 8) % FSX_LEN_MAX;
        for (unsigned i = 0; i < 8 && at < FSX_LEN_MAX; i++, at += FSX_PAGE)
            reached += !ops_cannot_reach((unsigned char *)noise.view + at, false);
        if (reached % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void noise_start(void)
{
    if (calls_mmap(&noise.view, FSX_LEN_MAX, PROT_READ, MAP_SHARED, 0, 0) != 0 ||
        pthread_create(&noise.thread, NULL, make_noise, &fsx.run.seed) != 0)
        fail("cannot make noise");
}

static void noise_stop(void)
{
    noise.stop = true;
    pthread_join(noise.thread, NULL);
    if (calls_munmap(noise.view, FSX_LEN_MAX) != 0)
        fail("cannot unmap");
}

/* ---- from start to end --------------------------------------------------------------------------------- */

static void write_model(void)
{
    char path[4096];

    snprintf(path, sizeof path, "%s.model", fsx.run.path);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(model_bytes, 1, model_len, file) != model_len || fclose(file) != 0)
        fail("cannot write %s", path);
}

int main(int argc, char **argv)
{
    arguments(argc, argv);
    fsx.run.kernel_fd = open(fsx.run.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    signal(SIGBUS, ops_on_bus);
    if (fsx.run.kernel_fd < 0 || calls_start(&fsx.options) != 0)
        fail("cannot start");
    ops_start(&fsx.run);
    if (fsx.noise)
        noise_start();
    operations();
    op_number = 0;
    if (fsx.noise)
        noise_stop();
    if (fsx.sync && calls_fsync(0, false) != 0)
        fail("cannot sync");
    if (fsx.sync)
        model_compare_kernel(fsx.run.kernel_fd, 0, FSX_LEN_MAX);
    ops_finish();
    if (calls_stop() != 0)
        fail("cannot stop");
    write_model();
    return 0;
}
