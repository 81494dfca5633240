/*
 * trace.c: records which functions run: the compiler calls these two hooks at the entry and the exit of every
 * function of the core and of the machine sim (-finstrument-functions, the build with FAULTLINE_TRACE).
 *
 *   event: thread, +function / -function, in the order in which they happened
 *
 * One host thread runs everything, so no lock; the guard keeps the recorder from recording itself.
 */
#include "trace.h"
#include <faultline/machine.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACE_MAX (1u << 20)

struct trace_event {
    uint64_t thread;
    const void *function;
    bool enter;
};

static struct trace_event *events;
static uint32_t nevents;
static bool on, inside;

#define NOT_TRACED __attribute__((no_instrument_function))
void __cyg_profile_func_enter(void *function, void *caller) NOT_TRACED;
void __cyg_profile_func_exit(void *function, void *caller) NOT_TRACED;

static void trace_event(const void *function, bool enter)
{
    if (!on || inside)
        return;
    inside = true;
    if (nevents == TRACE_MAX) {
        fprintf(stderr, "trace: more than %u events; the scenario is too long to read\n", TRACE_MAX);
        exit(1);
    }
    events[nevents++] = (struct trace_event){machine_self(), function, enter};
    inside = false;
}

void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)caller;
    trace_event(function, true);
}

void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)caller;
    trace_event(function, false);
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
    for (uint32_t i = 0; i < nevents; i++)
        printf("%llu %c %p\n", (unsigned long long)events[i].thread, events[i].enter ? '+' : '-',
               events[i].function);
}
