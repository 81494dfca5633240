/*
 * fiber.c: stacks for fibers: mapped with a guard page below, switched with ucontext,
 * announced to ASan and TSan.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fiber.h"

#define FIBER_STACK_SIZE ((size_t)1 << 20) /* lazily backed; sanitized frames are large */
#define FIBER_GUARD_SIZE ((size_t)1 << 12)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

static struct fiber_stack *fiber_came_from;

void fiber_stack_adopt(struct fiber_stack *stack)
{
    stack->base = NULL;
#ifdef FIBER_TSAN
    stack->tsan = __tsan_get_current_fiber();
#endif
}

void fiber_stack_create(struct fiber_stack *stack, void (*entry)(void))
{
    void *base = mmap(NULL, FIBER_STACK_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED || mprotect(base, FIBER_GUARD_SIZE, PROT_NONE) != 0 ||
        getcontext(&stack->context) != 0)
        abort();
    stack->base = base;
    stack->bottom = (const char *)base + FIBER_GUARD_SIZE;
    stack->size = FIBER_STACK_SIZE - FIBER_GUARD_SIZE;
    stack->fake_stack = NULL;
    stack->context.uc_stack.ss_sp = (char *)base + FIBER_GUARD_SIZE;
    stack->context.uc_stack.ss_size = stack->size;
    stack->context.uc_link = NULL;
    makecontext(&stack->context, entry, 0);
#ifdef FIBER_TSAN
    stack->tsan = __tsan_create_fiber(0);
#endif
}

void fiber_stack_destroy(struct fiber_stack *stack)
{
    if (stack->base == NULL)
        return;
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(stack->tsan);
#endif
#ifdef FIBER_ASAN
    /* A fiber ends with frames on its stack, and the next mapping may have its addresses. */
    __asan_unpoison_memory_region(stack->base, FIBER_STACK_SIZE);
#endif
    munmap(stack->base, FIBER_STACK_SIZE);
    stack->base = NULL;
}

void fiber_stack_begin(struct fiber_stack *self)
{
#ifdef FIBER_ASAN
    /* The host's own stack is known only from here on. */
    __sanitizer_finish_switch_fiber(self->fake_stack, &fiber_came_from->bottom, &fiber_came_from->size);
#else
    (void)self;
#endif
}

void fiber_stack_switch(struct fiber_stack *from, struct fiber_stack *to, bool ends)
{
    fiber_came_from = from;
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef FIBER_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)ends;
    if (swapcontext(&from->context, &to->context) != 0)
        abort();
    fiber_stack_begin(from);
}
