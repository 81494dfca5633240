/*
 * stacks.c: stacks inside managed memory: of threads, of coroutines, of signal handlers.
 *
 *      pthread_create (with pthread_attr_setstack), makecontext, sigaltstack ─▶ in the window? ─▶ stack_at
 *
 * The kernel writes to a stack at any moment: the frames of signals, also of the signal that reports a
 * fault. With the signal engine it kills the process when it finds an absent page there. So the file in
 * which a stack lies becomes the kernel's as soon as the program declares the stack (handover.h). Of
 * anonymous memory, as the heap, only the stack's own pages do.
 *
 * libc keeps a thread's descriptor at the upper end of its stack, and makes system calls on
 * it with every signal blocked, which the filter could not trap. So the thread starts on a
 * stack of libc's, and changes to the program's before it calls the program's function.
 *
 * With --fault thread the handler threads serve the kernel's own faults, and nothing of this is needed.
 *
 * Does not do: stacks to which the program changes by its own instructions, or by clone (docs/run.md).
 */
#include "file_idle.h"
#include "files.h"
#include "handover.h"
#include "real.h"
#include "user_copy.h"
#include "window.h"
#include <string.h>
#include <ucontext.h>

/* ---- the file becomes the kernel's ------------------------------------------------------------------ */

static bool stack_is_managed(const void *memory, size_t len)
{
    return shim_on() && shim_config.fault != FL_FAULT_THREAD && len != 0 && window_has((vm_offset_t)memory) &&
           len <= LINUX_WINDOW_END - (vm_offset_t)memory;
}

/* Hands over the files, or the anonymous memory, in which the stack lies. Signals as the program has them. */
static void stack_at(const void *memory, size_t len)
{
    vm_offset_t end = round_page((vm_offset_t)memory + len);
    struct fl_region region;
    sigset_t saved;

    if (!stack_is_managed(memory, len))
        return;
    shim_enter(&saved);
    for (vm_offset_t va = trunc_page((vm_offset_t)memory);
         va < end && fl_space_region(fl_space(), va, &region) == 0 && region.start < end; va = region.end) {
        struct file *file = file_of_region(&region);
        int error = 0;

        if (file != NULL)
            error = handover_file(file, LEFT_STACK);
        else if (region.anonymous)
            error = handover_anonymous(va, end, false, LEFT_STACK);
        if (error != 0 && file != NULL)
            shim_say("a stack in a mapping of inode %lu cannot be handed to the kernel: %s",
                     (unsigned long)file->ino, strerrordesc_np(-error));
        else if (error != 0)
            shim_say("a stack in the heap cannot be handed to the kernel: %s", strerrordesc_np(-error));
    }
    file_reap();
    shim_leave(&saved);
}

/* ---- threads ---------------------------------------------------------------------------------------- */

struct stack_start {
    void *(*run)(void *arg);
    void *arg;
    char *top; /* NULL: on libc's stack */
    bool pinned;
    cpu_set_t cpus; /* if it is pinned */
};

/* Calls run(arg) on the stack below top; unwinders can follow. */
void *stack_call(char *top, void *(*run)(void *arg), void *arg);
__asm__(".pushsection .text\n"
        ".globl stack_call\n"
        ".hidden stack_call\n"
        ".type stack_call, @function\n"
        "stack_call:\n"
        "    .cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    movq %rsp, %rbp\n"
        "    .cfi_def_cfa_register %rbp\n"
        "    andq $-16, %rdi\n"
        "    movq %rdi, %rsp\n"
        "    movq %rdx, %rdi\n"
        "    call *%rsi\n"
        "    movq %rbp, %rsp\n"
        "    popq %rbp\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size stack_call, . - stack_call\n"
        ".popsection\n");

static void *stack_run(void *arg)
{
    struct stack_start start = *(struct stack_start *)arg;

    shim_memory_free(arg, VM_PAGE_SIZE);
    if (start.pinned)
        (void)pthread_setaffinity_np(pthread_self(), sizeof start.cpus, &start.cpus);
    return start.top != NULL ? stack_call(start.top, start.run, start.arg) : start.run(start.arg);
}

/* The processors that the attributes name. */
static bool attr_is_pinned(const pthread_attr_t *attr, cpu_set_t *cpus)
{
    return pthread_attr_getaffinity_np(attr, sizeof *cpus, cpus) == 0 && CPU_COUNT(cpus) < CPU_SETSIZE;
}

/* Copies the attributes without the stack's place and the processors. Errors: of pthread_attr_init. */
static int attr_without_stack(const pthread_attr_t *asked, pthread_attr_t *attr)
{
    struct sched_param param;
    sigset_t mask;
    int value;
    int error = pthread_attr_init(attr);

    if (error != 0)
        return error;
    if (pthread_attr_getdetachstate(asked, &value) == 0)
        (void)pthread_attr_setdetachstate(attr, value);
    if (pthread_attr_getinheritsched(asked, &value) == 0)
        (void)pthread_attr_setinheritsched(attr, value);
    if (pthread_attr_getschedpolicy(asked, &value) == 0)
        (void)pthread_attr_setschedpolicy(attr, value);
    if (pthread_attr_getschedparam(asked, &param) == 0)
        (void)pthread_attr_setschedparam(attr, &param);
    if (pthread_attr_getsigmask_np(asked, &mask) == 0)
        (void)pthread_attr_setsigmask_np(attr, &mask);
    return 0;
}

/* top: of the stack; NULL: on a stack of libc's, as long as the attributes say. */
static int create_on(pthread_t *thread, const pthread_attr_t *asked, char *top, void *(*run)(void *),
                     void *arg)
{
    long page = shim_memory(VM_PAGE_SIZE);
    struct stack_start *start = (struct stack_start *)page;
    pthread_attr_t attr;
    size_t size;
    int error;

    if (linux_syscall_failed(page))
        return EAGAIN;
    *start = (struct stack_start){.run = run, .arg = arg, .top = top};
    start->pinned = attr_is_pinned(asked, &start->cpus);
    error = attr_without_stack(asked, &attr);
    if (error == 0) {
        if (top == NULL && pthread_attr_getstacksize(asked, &size) == 0)
            (void)pthread_attr_setstacksize(&attr, size);
        if (top == NULL && pthread_attr_getguardsize(asked, &size) == 0)
            (void)pthread_attr_setguardsize(&attr, size);
        error = shim_real()->pthread_create(thread, &attr, stack_run, (void *)page);
        (void)pthread_attr_destroy(&attr);
    }
    if (error != 0)
        shim_memory_free((void *)page, VM_PAGE_SIZE);
    return error;
}

FL_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    cpu_set_t cpus;
    void *memory;
    size_t len;

    if (attr == NULL || pthread_attr_getstack(attr, &memory, &len) != 0)
        return shim_real()->pthread_create(thread, attr, run, arg);
    if (stack_is_managed(memory, len)) {
        stack_at(memory, len);
        return create_on(thread, attr, (char *)memory + len, run, arg);
    }
    /* libc pins the thread while every signal is blocked, and the set of processors lies in the heap. */
    if (shim_config.anon && attr_is_pinned(attr, &cpus))
        return create_on(thread, attr, NULL, run, arg);
    return shim_real()->pthread_create(thread, attr, run, arg);
}

/* ---- coroutines and signal handlers ------------------------------------------------------------------ */

FL_EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
    stack_t wanted;

    if (stack != NULL && shim_on() && user_read(&wanted, stack, sizeof wanted) &&
        (wanted.ss_flags & SS_DISABLE) == 0)
        stack_at(wanted.ss_sp, wanted.ss_size);
    return shim_real()->sigaltstack(stack, old);
}

/* Returns libc's makecontext. */
void *stack_context(const ucontext_t *context);

__attribute__((used)) void *stack_context(const ucontext_t *context)
{
    stack_at(context->uc_stack.ss_sp, context->uc_stack.ss_size);
    return (void *)shim_real()->makecontext;
}

/* makecontext(context, function, n, …): its arguments go on to libc's as they came. */
__asm__(".pushsection .text\n"
        ".globl makecontext\n"
        ".type makecontext, @function\n"
        "makecontext:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rax\n"
        "    pushq %rdi\n"
        "    pushq %rsi\n"
        "    pushq %rdx\n"
        "    pushq %rcx\n"
        "    pushq %r8\n"
        "    pushq %r9\n"
        "    .cfi_def_cfa_offset 64\n"
        "    call stack_context\n"
        "    movq %rax, %r11\n"
        "    popq %r9\n"
        "    popq %r8\n"
        "    popq %rcx\n"
        "    popq %rdx\n"
        "    popq %rsi\n"
        "    popq %rdi\n"
        "    popq %rax\n"
        "    .cfi_def_cfa_offset 8\n"
        "    jmp *%r11\n"
        "    .cfi_endproc\n"
        ".size makecontext, . - makecontext\n"
        ".popsection\n");
