/*
 * trace.c: records which functions run: the compiler calls two hooks at the entry and the exit of every
 * function of the core and of the machine sim (-finstrument-functions, the build with FAULTLINE_TRACE).
 *
 *   enter: thread + function [parameter …]
 *   exit:  thread - function [result what a parameter points to …]
 *
 * A table says for each function where its parameters lie in the frame (tools/walkthrough/recording.py):
 *
 *   ADDRESS                                   of main, in the program's file
 *   ADDRESS RESULT OFFSET:SIZE:POINTED …      offset from the frame's base; one line a function, by address
 *
 *   frame's base ─▶ ┌────────────────┐
 *                   │ return address │
 *            rbp ─▶ │ caller's rbp   │         without optimisation, every function has this frame
 *                   │ …              │
 *                   │ parameters     │         stored before the hook is called
 *                   └────────────────┘
 *
 * One host thread runs everything, so no lock; the guard keeps the recorder from recording itself.
 */
#include "trace.h"
#include <faultline/machine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX        (1u << 19)
#define TRACE_FUNCTIONS  4096
#define TRACE_PARAMETERS 10

struct trace_event {
    uint64_t thread;
    uintptr_t function;
    bool enter;
    uint8_t nvalues;
    uint64_t value[TRACE_PARAMETERS + 1];
};

struct trace_parameter {
    long offset;         /* bytes from the frame's base */
    unsigned size_bytes; /* at most 8 */
    unsigned points_to;  /* bytes of the number or pointer that it points to; 0: not an output */
};

struct trace_function {
    uintptr_t address; /* in the program's file */
    unsigned has_result;
    uint32_t nparameters;
    struct trace_parameter parameter[TRACE_PARAMETERS];
};

static struct trace_event *events;
static uint32_t nevents;
static struct trace_function functions[TRACE_FUNCTIONS]; /* by address */
static size_t nfunctions;
static uintptr_t load_base; /* where the program's file begins in memory */
static bool on, inside;

/* The hooks hand on what the compiler's own interface leaves out: the caller's frame, and its result. */
__asm__(".globl __cyg_profile_func_enter\n"
        "__cyg_profile_func_enter:\n"
        "    mov %rbp, %rsi\n"
        "    jmp trace_enter\n"
        ".globl __cyg_profile_func_exit\n"
        "__cyg_profile_func_exit:\n"
        "    mov %rbp, %rsi\n"
        "    mov %rbx, %rdx\n"
        "    jmp trace_exit\n");
void trace_enter(uintptr_t function, uintptr_t rbp);
void trace_exit(uintptr_t function, uintptr_t rbp, uint64_t result);

static int by_address(const void *key, const void *member)
{
    uintptr_t address = *(const uintptr_t *)key, other = ((const struct trace_function *)member)->address;
    return address < other ? -1 : address > other;
}

static const struct trace_function *trace_find(uintptr_t address)
{
    return bsearch(&address, functions, nfunctions, sizeof(functions[0]), by_address);
}

static uint64_t trace_load(uintptr_t address, unsigned size_bytes)
{
    uint64_t value = 0;
    memcpy(&value, (const void *)address, size_bytes);
    return value;
}

static void trace_parameters(struct trace_event *event, const struct trace_function *function, uintptr_t rbp)
{
    for (uint32_t i = 0; i < function->nparameters; i++) {
        const struct trace_parameter *p = &function->parameter[i];
        event->value[event->nvalues++] = trace_load(rbp + 16 + (uintptr_t)p->offset, p->size_bytes);
    }
}

static void trace_outputs(struct trace_event *event, const struct trace_function *function, uintptr_t rbp)
{
    for (uint32_t i = 0; i < function->nparameters; i++) {
        const struct trace_parameter *p = &function->parameter[i];
        uintptr_t to = p->points_to == 0 ? 0 : trace_load(rbp + 16 + (uintptr_t)p->offset, p->size_bytes);
        if (p->points_to != 0)
            event->value[event->nvalues++] = to == 0 ? 0 : trace_load(to, p->points_to);
    }
}

/* NULL: nothing is being recorded. */
static struct trace_event *trace_event(uintptr_t function, bool enter)
{
    if (!on || inside)
        return NULL;
    inside = true;
    if (nevents == TRACE_MAX) {
        fprintf(stderr, "trace: more than %u events; the scenario is too long to read\n", TRACE_MAX);
        exit(1);
    }
    struct trace_event *event = &events[nevents++];
    *event = (struct trace_event){.thread = machine_self(), .function = function - load_base, .enter = enter};
    inside = false;
    return event;
}

void trace_enter(uintptr_t function, uintptr_t rbp)
{
    struct trace_event *event = trace_event(function, true);
    const struct trace_function *known = event == NULL ? NULL : trace_find(event->function);
    if (known != NULL)
        trace_parameters(event, known, rbp);
}

void trace_exit(uintptr_t function, uintptr_t rbp, uint64_t result)
{
    struct trace_event *event = trace_event(function, false);
    const struct trace_function *known = event == NULL ? NULL : trace_find(event->function);
    if (known == NULL)
        return;
    if (known->has_result)
        event->value[event->nvalues++] = result;
    trace_outputs(event, known, rbp);
}

static bool trace_read_function(char *line, struct trace_function *function)
{
    char *word = strtok(line, " \n");
    if (word == NULL)
        return false;
    function->address = strtoul(word, NULL, 16);
    word = strtok(NULL, " \n");
    function->has_result = word != NULL && strcmp(word, "1") == 0;
    while ((word = strtok(NULL, " \n")) != NULL && function->nparameters < TRACE_PARAMETERS) {
        struct trace_parameter *p = &function->parameter[function->nparameters++];
        if (sscanf(word, "%ld:%u:%u", &p->offset, &p->size_bytes, &p->points_to) != 3 || p->size_bytes > 8 ||
            p->points_to > 8)
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
    nevents = 0;
    on = true;
}

void trace_stop(void)
{
    on = false;
    for (uint32_t i = 0; i < nevents; i++) {
        printf("%llu %c %llx", (unsigned long long)events[i].thread, events[i].enter ? '+' : '-',
               (unsigned long long)events[i].function);
        for (uint32_t j = 0; j < events[i].nvalues; j++)
            printf(" %llx", (unsigned long long)events[i].value[j]);
        putchar('\n');
    }
}
