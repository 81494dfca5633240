/*
 * record.c: the recorder of function calls in the kernel on bare metal (calls.h): its switch and its output.
 *
 *   walk.c: RECORD_START ─▶ kernel_syscall ─▶ events … ─▶ RECORD_STOP ─▶ the console
 *
 * It is a part of the tracing kernel only, and no file of the kernel knows of it: the linker sends the calls
 * of kernel_syscall here first (--wrap), and those of a few functions in assembler through hooks.S. Every
 * line that it prints begins with '~':
 *
 *   ~ pages PAGE …                         on which pages of docs/walkthroughs the scenario stands
 *   ~ scenario NAME
 *   ~ thread ID NAME                       of the threads that ran; NAME: `program` for those of processes;
 *                                          ID: where its stack begins, which is aligned to its length
 *   ~ ID + FUNCTION@FROM [parameter …]     as trace.c; FROM: the return address
 *   ~ ID - FUNCTION [result …]
 *   ~ counter NAME: BEFORE -> AFTER
 *
 * It takes no lock: one CPU, and interrupts are off in the hooks.
 */
#include "kernel.h"
#include "lib/copy.h"
#include "string.h"
#include "walkthrough/calls.h"
#include "walkthrough/counters.h"
#include "walkthrough/kernel/record.h"

#define EVENTS_MAX  16384
#define THREADS_MAX 16

/* tools/walkthrough/frames makes them of the image that is linked first; in that one there are none. */
extern const struct call_function call_functions[] __attribute__((weak));
extern const uint64_t ncall_functions __attribute__((weak));

static struct call_event events[EVENTS_MAX];
static struct {
    uint64_t stack;
    const char *name;   /* NULL: not known yet */
} threads[THREADS_MAX]; /* those that ran in this recording */
static uint32_t nthreads;
static struct fl_vm_stats before;

void __wrap_kernel_syscall(struct trapframe *frame);
void __real_kernel_syscall(struct trapframe *frame);

/* ---- what calls.c asks ----------------------------------------------------------------------------- */

/* A thread is its stack: mi_switch changes curthread() before it changes that. Its name is taken while it
 * runs, for it may be gone when the name is printed. */
uint64_t calls_thread(void)
{
    const uint64_t stack = (uint64_t)__builtin_frame_address(0) & ~(uint64_t)(KSTACK_BYTES - 1);
    const struct thread *td = curthread();
    uint32_t i = 0;

    while (i < nthreads && threads[i].stack != stack)
        i++;
    if (i == nthreads && nthreads < THREADS_MAX)
        threads[nthreads++].stack = stack;
    if (i < THREADS_MAX && (uint64_t)td->td_kstack == stack)
        threads[i].name = td->td_fpu != NULL ? "program" : td->td_name;
    return stack;
}

/* A program's addresses are left alone: the page may be absent. */
bool calls_readable(uint64_t address)
{
    return address >= DMAP_MIN;
}

/* ---- a recording ----------------------------------------------------------------------------------- */

static int64_t record_start(uint64_t user_pages, uint64_t user_name)
{
    char pages[RECORD_NAME_MAX], name[RECORD_NAME_MAX];

    if (copyinstr(user_pages, pages, sizeof(pages)) < 0 || copyinstr(user_name, name, sizeof(name)) < 0)
        return -1;
    printf("~ pages %s\n~ scenario %s\n", pages, name);
    calls_init(&(struct calls_room){
        .events = events, .max = EVENTS_MAX, .functions = call_functions, .nfunctions = ncall_functions});
    nthreads = 0;
    memset(threads, 0, sizeof(threads));
    fl_vm_stats(&before);
    calls_start();
    return 0;
}

static void print_event(const struct call_event *event)
{
    printf("~ %lu %c %lx", event->thread, event->enter ? '+' : '-', event->function);
    if (event->enter)
        printf("@%lx", event->from);
    for (uint32_t i = 0; i < event->nvalues; i++)
        printf(" %lx", event->value[i]);
    printf("\n");
}

static int64_t record_stop(void)
{
    const uint32_t nevents = calls_stop();
    struct fl_vm_stats after;

    fl_vm_stats(&after);
    if (nevents == EVENTS_MAX || nthreads == THREADS_MAX)
        return -1;
    for (uint32_t i = 0; i < nthreads; i++)
        printf("~ thread %lu %s\n", threads[i].stack, threads[i].name != NULL ? threads[i].name : "?");
    for (uint32_t i = 0; i < nevents; i++)
        print_event(&events[i]);
    for (size_t i = 0; i < NCOUNTERS; i++) {
        if (counter_value(&before, i) != counter_value(&after, i))
            printf("~ counter %s: %lu -> %lu\n", counters[i].name, counter_value(&before, i),
                   counter_value(&after, i));
    }
    return 0;
}

void __wrap_kernel_syscall(struct trapframe *frame)
{
    if (frame->rax == RECORD_START)
        frame->rax = (uint64_t)record_start(frame->rdi, frame->rsi);
    else if (frame->rax == RECORD_STOP)
        frame->rax = (uint64_t)record_stop();
    else
        __real_kernel_syscall(frame);
}
