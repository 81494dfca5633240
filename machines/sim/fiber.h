/* fiber.h: stacks and the switch between them, of which the sanitizers are told. (ucontext) */
#ifndef MACHINES_SIM_FIBER_H
#define MACHINES_SIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct fiber_stack {
    ucontext_t context;
    void *base;         /* the mapping, a guard page first; NULL: the host's own stack */
    const void *bottom; /* the lowest usable byte, for AddressSanitizer */
    size_t size;
    void *fake_stack; /* AddressSanitizer's */
    void *tsan;       /* ThreadSanitizer's */
};

/* Makes *stack stand for the calling thread's own stack. */
void fiber_stack_adopt(struct fiber_stack *stack);
/* Makes a new stack on which entry() will run. entry never returns. */
void fiber_stack_create(struct fiber_stack *stack, void (*entry)(void));
void fiber_stack_destroy(struct fiber_stack *stack);
/* Saves the registers in `from` and continues on `to`. `ends`: no switch will come back to `from`. */
void fiber_stack_switch(struct fiber_stack *from, struct fiber_stack *to, bool ends);
/* To be called first on a new stack. */
void fiber_stack_begin(struct fiber_stack *self);

#endif
