/*
 * trace.c: the recorder on the sim (calls.h): the core and the machine are instrumented in the build with
 * FAULTLINE_TRACE. What it prints of an event:
 *
 *   enter: thread + function [parameter …]
 *   exit:  thread - function [result what a parameter points to …]
 *
 * The table of functions comes as a file (tools/walkthrough/recording.py):
 *
 *   ADDRESS                                   of main, in the program's file
 *   ADDRESS RESULT OFFSET:SIZE:POINTED …      offset from the frame's base; one line a function, by address
 */
#include "trace.h"
#include "walkthrough/calls.h"
#include <faultline/machine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX       (1u << 19)
#define TRACE_FUNCTIONS 4096

static struct call_event *events;
static struct call_function functions[TRACE_FUNCTIONS]; /* by address */
static size_t nfunctions;
static uintptr_t load_base; /* where the program's file begins in memory */

/* The hooks hand on what the compiler's own interface leaves out: the caller's frame, and its result. */
__asm__(".globl __cyg_profile_func_enter\n"
        "__cyg_profile_func_enter:\n"
        "    mov %rbp, %rdx\n"
        "    jmp calls_enter\n"
        ".globl __cyg_profile_func_exit\n"
        "__cyg_profile_func_exit:\n"
        "    mov %rbp, %rdx\n"
        "    mov %rbx, %rcx\n"
        "    jmp calls_exit\n");

uint64_t calls_thread(void)
{
    return machine_self();
}

bool calls_readable(uint64_t address)
{
    return address != 0;
}

static bool trace_read_function(char *line, struct call_function *function)
{
    char *word = strtok(line, " \n");
    if (word == NULL)
        return false;
    function->address = strtoul(word, NULL, 16);
    word = strtok(NULL, " \n");
    function->has_result = word != NULL && strcmp(word, "1") == 0;
    while ((word = strtok(NULL, " \n")) != NULL && function->nparameters < CALLS_PARAMETERS) {
        struct call_parameter *p = &function->parameter[function->nparameters++];
        if (sscanf(word, "%d:%hhu:%hhu", &p->offset, &p->size_bytes, &p->points_to) != 3 ||
            p->size_bytes > 8 || p->points_to > 8)
            return false;
    }
    return true;
}

bool trace_read_table(const char *path, const void *main_function)
{
    char line[512];
    FILE *file = fopen(path, "r");
    bool ok = file != NULL && fgets(line, sizeof(line), file) != NULL;
    if (ok)
        load_base = (uintptr_t)main_function - strtoul(line, NULL, 16);
    while (ok && nfunctions < TRACE_FUNCTIONS && fgets(line, sizeof(line), file) != NULL)
        ok = trace_read_function(line, &functions[nfunctions++]);
    if (file != NULL)
        fclose(file);
    return ok;
}

void trace_start(const char *scenario)
{
    if (events == NULL)
        events = calloc(TRACE_MAX, sizeof(*events));
    if (events == NULL)
        abort();
    printf("scenario %s\n", scenario);
    calls_init(&(struct calls_room){.events = events,
                                    .max = TRACE_MAX,
                                    .functions = functions,
                                    .nfunctions = nfunctions,
                                    .load_base = load_base});
    calls_start();
}

void trace_stop(void)
{
    const uint32_t nevents = calls_stop();

    if (nevents == TRACE_MAX) {
        fprintf(stderr, "trace: %u events and more; the scenario is too long to read\n", TRACE_MAX);
        exit(1);
    }
    for (uint32_t i = 0; i < nevents; i++) {
        printf("%llu %c %llx", (unsigned long long)events[i].thread, events[i].enter ? '+' : '-',
               (unsigned long long)events[i].function);
        for (uint32_t j = 0; j < events[i].nvalues; j++)
            printf(" %llx", (unsigned long long)events[i].value[j]);
        putchar('\n');
    }
}
