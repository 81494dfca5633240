/* calls.c: the record of function calls (calls.h). */
#include "walkthrough/calls.h"

static struct calls_room room;
static uint32_t nevents;
static bool on, inside; /* inside: the recorder's own calls are none of the record's */

void calls_init(const struct calls_room *given)
{
    room = *given;
}

void calls_start(void)
{
    nevents = 0;
    on = true;
}

uint32_t calls_stop(void)
{
    on = false;
    return nevents;
}

static const struct call_function *function_find(uint64_t address)
{
    size_t low = 0, high = room.nfunctions;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (room.functions[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < room.nfunctions && room.functions[low].address == address ? &room.functions[low] : NULL;
}

static uint64_t load(uint64_t address, unsigned size_bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size_bytes; i++)
        value |= (uint64_t) * (const volatile uint8_t *)(address + i) << 8 * i;
    return value;
}

static uint64_t parameter_value(const struct call_parameter *p, uint64_t rbp)
{
    return load(rbp + 16 + (uint64_t)(int64_t)p->offset, p->size_bytes);
}

static void take_parameters(struct call_event *event, const struct call_function *function, uint64_t rbp)
{
    for (uint32_t i = 0; i < function->nparameters; i++)
        event->value[event->nvalues++] = parameter_value(&function->parameter[i], rbp);
}

static void take_outputs(struct call_event *event, const struct call_function *function, uint64_t rbp)
{
    for (uint32_t i = 0; i < function->nparameters; i++) {
        const struct call_parameter *p = &function->parameter[i];
        const uint64_t to = p->points_to == 0 ? 0 : parameter_value(p, rbp);

        if (p->points_to != 0)
            event->value[event->nvalues++] = calls_readable(to) ? load(to, p->points_to) : 0;
    }
}

/* NULL: nothing is being recorded, or there is no more room. */
static struct call_event *event_new(uint64_t function, uint64_t from, bool enter)
{
    if (!on || nevents == room.max)
        return NULL;
    struct call_event *event = &room.events[nevents++];
    event->thread = calls_thread();
    event->function = function - room.load_base;
    event->from = from - room.load_base;
    event->enter = enter;
    event->nvalues = 0;
    return event;
}

void calls_enter(uint64_t function, uint64_t from, uint64_t rbp)
{
    if (!on || inside)
        return;
    inside = true;
    struct call_event *event = event_new(function, from, true);
    const struct call_function *known = event == NULL ? NULL : function_find(event->function);
    if (known != NULL)
        take_parameters(event, known, rbp);
    inside = false;
}

void calls_exit(uint64_t function, uint64_t from, uint64_t rbp, uint64_t result)
{
    if (!on || inside)
        return;
    inside = true;
    struct call_event *event = event_new(function, from, false);
    const struct call_function *known = event == NULL ? NULL : function_find(event->function);
    if (known != NULL && known->has_result)
        event->value[event->nvalues++] = result;
    if (known != NULL)
        take_outputs(event, known, rbp);
    inside = false;
}
