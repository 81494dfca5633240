/*
 * fiber.h: stacks and the switch between them, with what the sanitizers want to be told.
 */
#ifndef MACHINES_SIM_FIBER_H
#define MACHINES_SIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct fiber_stack {
    ucontext_t context;
    void *base;         /* the mapping, a guard page first; NULL: the host's own stack */
    const void *bottom; /* what AddressSanitizer is told */
    size_t size;
    void *fake_stack; /* AddressSanitizer's */
    void *tsan;       /* ThreadSanitizer's */
};

/* The calling thread's own stack. */
void fiber_stack_adopt(struct fiber_stack *stack);
/* A new stack on which entry() will run; it must never return. */
void fiber_stack_create(struct fiber_stack *stack, void (*entry)(void));
void fiber_stack_destroy(struct fiber_stack *stack);
/* Saves here, continues there. `ends`: nobody will come back here. */
void fiber_stack_switch(struct fiber_stack *from, struct fiber_stack *to, bool ends);
/* The first thing on a new stack. */
void fiber_stack_begin(struct fiber_stack *self);

#endif
