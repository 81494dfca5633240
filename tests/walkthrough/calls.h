/*
 * calls.h: the record of function calls that every recorder keeps: the compiler calls two hooks at the entry
 * and the exit of each function (-finstrument-functions), and the hooks call calls_enter and calls_exit.
 *
 *   hooks ─▶ calls_enter, calls_exit ─▶ events: thread, function, caller, values of parameters and results
 *
 * A table says for each function where its parameters lie in the frame (tools/walkthrough/recording.py):
 *
 *   frame's base ─▶ ┌────────────────┐
 *                   │ return address │
 *            rbp ─▶ │ caller's rbp   │         without optimisation, every function has this frame
 *                   │ …              │
 *                   │ parameters     │         stored before the hook is called
 *                   └────────────────┘
 *
 * It needs no library, allocates nothing and is not recorded itself. One thread at a time is inside: on the
 * sim one host thread runs everything; in the kernel the hooks turn interrupts off, and there is one CPU.
 */
#ifndef TESTS_WALKTHROUGH_CALLS_H
#define TESTS_WALKTHROUGH_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALLS_PARAMETERS 10

struct call_parameter {
    int32_t offset;     /* bytes from the frame's base */
    uint8_t size_bytes; /* at most 8 */
    uint8_t points_to;  /* bytes of the number or pointer that it points to; 0: not an output */
    uint16_t unused;
};

/* As in the table: by address. tools/walkthrough/frames writes the same in assembler. */
struct call_function {
    uint64_t address; /* in the program's file */
    uint32_t has_result;
    uint32_t nparameters;
    struct call_parameter parameter[CALLS_PARAMETERS];
};

struct call_event {
    uint64_t thread;
    uint64_t function; /* its address in the program's file */
    uint64_t from;     /* where it was called from */
    bool enter;
    uint8_t nvalues;
    uint64_t value[CALLS_PARAMETERS + 1];
};

/* The room for events and the table, of the whole program; both stay. load_base: where its file begins. */
struct calls_room {
    struct call_event *events;
    uint32_t max;
    const struct call_function *functions;
    size_t nfunctions;
    uint64_t load_base;
};
void calls_init(const struct calls_room *room);
/* Events from here on. */
void calls_start(void);
/* No more. Returns how many there were; if that is the room's max, some are missing. */
uint32_t calls_stop(void);

/* From the hooks. from: the return address; rbp: the function's; result: rbx, in code without
 * optimisation. */
void calls_enter(uint64_t function, uint64_t from, uint64_t rbp);
void calls_exit(uint64_t function, uint64_t from, uint64_t rbp, uint64_t result);

/* What the recorder tells: which thread runs, and whether the bytes that a parameter points to can be
 * read. */
uint64_t calls_thread(void);
bool calls_readable(uint64_t address);

#endif
