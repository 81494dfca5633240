/*
 * sched.c: which thread runs: run queues, sleeping and waking, time slices, callouts. sched.h has the
 * drawing.
 *
 * Level 0 goes before level 1, but every eighth time the other way round, so that nobody starves. A thread
 * falls to level 1 when it has run for a slice, and rises when it has slept for as long as it ran.
 * (mi_switch, tsleep, wakeup, softclock: FreeBSD 2.1.)
 */
#include "sched.h"
#include "space.h"

#include <linux/errno.h>

#include "apic.h"
#include "machdep.h"
#include "panic.h"

#define NSLEEPQ      128
#define IDLE_POLL_NS UINT64_C(200000)

struct runq {
    struct thread *head, *tail;
};

struct spinlock sched_lock;

static struct runq runq[2];               /* (S) */
static struct thread *sleepq[NSLEEPQ];    /* (S) */
static struct callout *callouts;          /* (S) the soonest first */
static uint32_t picks;                    /* (S) */
static uint32_t runnable;                 /* (S) in run queues */
static uint64_t timer_armed_ns[CPUS_MAX]; /* of its CPU, interrupts off: when its interrupt comes */
static bool started;                      /* (c) after boot */
static struct thread thread0;

void cpu_switch(uint64_t *old_sp, uint64_t new_sp);
void thread_begins(void);

/* ---- run queues --------------------------------------------------------------------------------------- */

static void runq_add(struct thread *td)
{
    struct runq *q = &runq[td->td_level];

    td->td_link = NULL;
    if (q->head == NULL)
        q->head = td;
    else
        q->tail->td_link = td;
    q->tail = td;
    runnable++;
}

static struct thread *runq_take(struct runq *q)
{
    struct thread *td = q->head;

    if (td != NULL) {
        q->head = td->td_link;
        runnable--;
    }
    return td;
}

static struct thread *runq_choose(void)
{
    const unsigned first = ++picks % 8 == 0;
    struct thread *td = runq_take(&runq[first]);

    return td != NULL ? td : runq_take(&runq[!first]);
}

/* A CPU that halts is told; or the calling CPU lets its thread go before it returns to its program. */
static void sched_notify(const struct thread *td)
{
    struct cpu *self = curcpu();

    for (uint32_t i = 0; i < ncpus; i++) {
        if (&cpus[i] != self && cpus[i].is_idle) {
            cpus[i].is_idle = false;
            apic_ipi(cpus[i].apic_id, T_RESCHED);
            return;
        }
    }
    if (td->td_level < self->thread->td_level) {
        self->resched = 1;
        self->ast = 1;
    }
}

void sched_enqueue(struct thread *td)
{
    td->td_state = TD_RUNNABLE;
    runq_add(td);
    sched_notify(td);
}

uint32_t sched_load(void)
{
    uint64_t flags = spin_lock(&sched_lock);
    uint32_t load = runnable;

    for (uint32_t i = 0; i < ncpus; i++)
        load += cpus[i].thread != cpus[i].idle;
    spin_unlock(&sched_lock, flags);
    return load;
}

/* ---- the timer ----------------------------------------------------------------------------------------- */

/* The calling CPU's timer will interrupt at when_ns, or earlier. */
static void timer_arm(uint64_t now, uint64_t when_ns)
{
    uint64_t *armed = &timer_armed_ns[curcpu()->id];

    if (*armed > now && *armed <= when_ns)
        return;
    const uint64_t ns = when_ns > now ? when_ns - now : 0;
    uint64_t ticks = ns / 1000 * apic_timer_hz / 1000000 + 1;
    if (ticks > UINT32_MAX)
        ticks = UINT32_MAX;
    *armed = when_ns;
    apic_timer_once((uint32_t)ticks);
}

/* ---- the switch --------------------------------------------------------------------------------------- */

static void account(struct thread *td, uint64_t now)
{
    const uint64_t ran = now - td->td_started;

    td->td_cputime_ns += ran;
    td->td_slice_ns += ran;
    if (td->td_slice_ns >= SCHED_SLICE_NS) {
        td->td_slice_ns = 0;
        td->td_level = 1;
    }
}

/* The registers that only programs use. */
static void switch_program(struct thread *old, struct thread *td)
{
    if (old->td_fpu != NULL)
        __asm__ volatile("fxsave64 (%0)" ::"r"(old->td_fpu) : "memory");
    if (td->td_fpu == NULL)
        return;
    __asm__ volatile("fxrstor64 (%0)" ::"r"(td->td_fpu) : "memory");
    wrmsr(MSR_FSBASE, td->td_fsbase);
    wrmsr(MSR_KGSBASE, td->td_gsbase);
}

void mi_switch(void)
{
    struct cpu *cpu = curcpu();
    struct thread *old = cpu->thread, *td = runq_choose();

    if (td == NULL)
        td = old->td_state == TD_RUNNING ? old : cpu->idle;
    cpu->resched = 0;
    if (td == old) {
        old->td_state = TD_RUNNING;
        return;
    }
    if (cpu->pins != 0)
        panic("%s sleeps while it is pinned to its CPU", old->td_name);
    if (*(uint64_t *)(void *)old->td_kstack != KSTACK_CANARY)
        panic("the kernel stack of %s has overflowed", old->td_name);
    const uint64_t now = machine_time_ns();
    if (old == cpu->idle)
        timer_arm(now, now + SCHED_SLICE_NS); /* an idle CPU has no slices */
    account(old, now);
    old->td_oncpu = false;
    td->td_started = now;
    td->td_oncpu = true;
    td->td_state = TD_RUNNING;
    cpu->thread = td;
    cpu->kstack = (uint64_t)td->td_kstack + KSTACK_BYTES;
    cpu->tss.rsp0 = cpu->kstack;
    cpu->ast = td->td_astpending;
    switch_program(old, td);
    if (td->td_space != NULL && td->td_space != cpu->space)
        space_switch(td->td_space);
    cpu_switch(&old->td_sp, td->td_sp);
}

void thread_begins(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    spin_unlock(&sched_lock, 0);
    intr_enable();
}

void thread_yield(void)
{
    uint64_t flags = spin_lock(&sched_lock);
    struct thread *td = curthread();

    td->td_state = TD_RUNNABLE;
    runq_add(td);
    mi_switch();
    spin_unlock(&sched_lock, flags);
}

void sched_ast(void)
{
    if (curcpu()->resched)
        thread_yield();
}

/* ---- sleeping and waking ------------------------------------------------------------------------------- */

static struct thread **sleepq_of(const void *chan)
{
    return &sleepq[((uintptr_t)chan >> 3 ^ (uintptr_t)chan >> 12) % NSLEEPQ];
}

static void sleepq_remove(struct thread *td)
{
    struct thread **link = sleepq_of(td->td_wchan);

    while (*link != td)
        link = &(*link)->td_link;
    *link = td->td_link;
    td->td_wchan = NULL;
}

static bool callout_remove(struct callout *callout)
{
    struct callout **link = &callouts;

    if (!callout->pending)
        return false;
    while (*link != callout)
        link = &(*link)->next;
    *link = callout->next;
    callout->pending = false;
    return true;
}

/* The thread, which sleeps, does not any more. */
static void sched_wake_thread(struct thread *td, uint64_t now) FL_REQUIRES(sched_lock)
{
    sleepq_remove(td);
    if (td->td_callout.pending)
        (void)callout_remove(&td->td_callout);
    if (now - td->td_slept >= td->td_slice_ns) {
        td->td_slice_ns = 0;
        td->td_level = 0;
    }
    if (td->td_oncpu)
        td->td_state = TD_RUNNING; /* it has not switched yet */
    else
        sched_enqueue(td);
}

void sched_wake_locked(const void *chan, unsigned most)
{
    struct thread *next;
    uint64_t now = 0;

    for (struct thread *td = *sleepq_of(chan); td != NULL && most > 0; td = next) {
        next = td->td_link;
        if (td->td_wchan != chan)
            continue;
        if (now == 0)
            now = machine_time_ns();
        sched_wake_thread(td, now);
        most--;
    }
}

static void sleepq_add(struct thread *td, const void *chan)
{
    struct thread **link = sleepq_of(chan);

    /* the longest sleeper wakes first */
    while (*link != NULL)
        link = &(*link)->td_link;
    td->td_link = NULL;
    td->td_wchan = chan;
    td->td_state = TD_SLEEPING;
    *link = td;
}

void sched_sleep_locked(const void *chan)
{
    struct thread *td = curthread();

    td->td_slept = machine_time_ns();
    sleepq_add(td, chan);
    mi_switch();
}

/* ---- callouts ------------------------------------------------------------------------------------------ */

static void callout_insert(struct callout *callout, uint64_t when_ns)
{
    struct callout **link = &callouts;

    while (*link != NULL && (*link)->when_ns <= when_ns)
        link = &(*link)->next;
    callout->when_ns = when_ns;
    callout->pending = true;
    callout->next = *link;
    *link = callout;
    if (callouts == callout && started)
        timer_arm(machine_time_ns(), when_ns);
}

void timeout(struct callout *callout, uint64_t when_ns, void (*function)(void *arg), void *arg)
{
    uint64_t flags = spin_lock(&sched_lock);

    (void)callout_remove(callout);
    callout->function = function;
    callout->arg = arg;
    callout_insert(callout, when_ns);
    spin_unlock(&sched_lock, flags);
}

bool untimeout(struct callout *callout)
{
    uint64_t flags = spin_lock(&sched_lock);
    bool was = callout_remove(callout);

    spin_unlock(&sched_lock, flags);
    return was;
}

/* A callout without a function wakes the thread that it belongs to. */
static void sched_timed_out(struct thread *td, uint64_t now) FL_REQUIRES(sched_lock)
{
    td->td_timed_out = true;
    if (td->td_state == TD_SLEEPING && td->td_wchan != NULL)
        sched_wake_thread(td, now);
}

static void callouts_run(uint64_t now) FL_REQUIRES(sched_lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    while (callouts != NULL && callouts->when_ns <= now) {
        struct callout *callout = callouts;

        (void)callout_remove(callout);
        if (callout->function == NULL) {
            sched_timed_out(callout->arg, now);
            continue;
        }
        void (*function)(void *arg) = callout->function;
        void *arg = callout->arg;
        spin_unlock(&sched_lock, 0);
        function(arg);
        (void)spin_lock(&sched_lock);
    }
}

void sched_timer(void)
{
    struct cpu *cpu = curcpu();
    uint64_t flags = spin_lock(&sched_lock);
    const uint64_t now = machine_time_ns();

    timer_armed_ns[cpu->id] = 0;
    callouts_run(now);
    account(cpu->thread, now);
    cpu->thread->td_started = now;
    if (runnable > 0 && cpu->thread != cpu->idle) {
        cpu->resched = 1;
        cpu->ast = 1;
    }
    uint64_t next = cpu->thread == cpu->idle ? UINT64_MAX : now + SCHED_SLICE_NS;
    if (callouts != NULL && callouts->when_ns < next)
        next = callouts->when_ns;
    if (next != UINT64_MAX)
        timer_arm(now, next);
    spin_unlock(&sched_lock, flags);
}

/* ---- sleep with everything ----------------------------------------------------------------------------- */

int thread_sleep(const void *chan, struct machine_lock *lock, uint64_t deadline_ns,
                 bool interruptible) FL_NO_THREAD_SAFETY_ANALYSIS
{
    struct thread *td = curthread();
    int error = 0;

    if (panic_under_way())
        return -ETIMEDOUT;
    uint64_t flags = spin_lock(&sched_lock);
    if (interruptible && td->td_interrupted) {
        spin_unlock(&sched_lock, flags);
        return -EINTR;
    }
    td->td_timed_out = false;
    td->td_interruptible = interruptible;
    td->td_slept = machine_time_ns();
    if (deadline_ns <= td->td_slept) {
        spin_unlock(&sched_lock, flags);
        return -ETIMEDOUT;
    }
    sleepq_add(td, chan);
    if (deadline_ns != UINT64_MAX) {
        td->td_callout.function = NULL;
        td->td_callout.arg = td;
        callout_insert(&td->td_callout, deadline_ns);
    }
    lock_release_locked(lock);
    if (td->td_state == TD_SLEEPING)
        mi_switch();
    td->td_interruptible = false;
    if (td->td_timed_out)
        error = -ETIMEDOUT;
    else if (interruptible && td->td_interrupted)
        error = -EINTR;
    spin_unlock(&sched_lock, flags);
    machine_lock(lock);
    return error;
}

int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    return thread_sleep(chan, lock, deadline_ns, false);
}

void machine_wake(const void *chan)
{
    /* A sleeper queues itself before it releases the lock that the caller's news came under. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(sleepq_of(chan), __ATOMIC_RELAXED) == NULL || panic_under_way())
        return;
    uint64_t flags = spin_lock(&sched_lock);
    sched_wake_locked(chan, UINT32_MAX);
    spin_unlock(&sched_lock, flags);
}

void event_signal(struct event *event)
{
    uint64_t flags = spin_lock(&sched_lock);

    event->signalled = true;
    sched_wake_locked(event, 1);
    spin_unlock(&sched_lock, flags);
}

void event_wait(struct event *event)
{
    uint64_t flags = spin_lock(&sched_lock);

    while (!event->signalled)
        sched_sleep_locked(event);
    event->signalled = false;
    spin_unlock(&sched_lock, flags);
}

void thread_interrupt(struct thread *td)
{
    uint64_t flags = spin_lock(&sched_lock);

    td->td_interrupted = true;
    if (td->td_state == TD_SLEEPING && td->td_interruptible)
        sched_wake_thread(td, machine_time_ns());
    spin_unlock(&sched_lock, flags);
}

void thread_clear_interrupt(struct thread *td)
{
    __atomic_store_n(&td->td_interrupted, false, __ATOMIC_RELEASE);
}

void thread_signal_ast(struct thread *td)
{
    uint64_t flags = spin_lock(&sched_lock);

    td->td_astpending = true;
    for (uint32_t i = 0; i < ncpus; i++) {
        if (cpus[i].thread != td)
            continue;
        cpus[i].ast = 1;
        if (&cpus[i] != curcpu())
            apic_ipi(cpus[i].apic_id, T_RESCHED);
    }
    spin_unlock(&sched_lock, flags);
}

/* ---- starting ------------------------------------------------------------------------------------------ */

void sched_init(char *kstack)
{
    struct cpu *cpu = &cpus[0];

    thread0.td_name = "kernel";
    thread0.td_kstack = kstack;
    *(uint64_t *)(void *)kstack = KSTACK_CANARY;
    thread0.td_state = TD_RUNNING;
    thread0.td_oncpu = true;
    cpu->thread = &thread0;
    cpu->idle = &thread0; /* until there is one */
    cpu->kstack = (uint64_t)kstack + KSTACK_BYTES;
    cpu->tss.rsp0 = cpu->kstack;
}

static void idle_main(void *arg)
{
    (void)arg;
    sched_idle();
}

struct thread *sched_idle_thread(void)
{
    struct thread *idle = thread_create("idle", idle_main, NULL, false);

    if (idle == NULL)
        panic("no memory for an idle thread");
    idle->td_level = 2; /* below all: whoever comes takes its CPU */
    return idle;
}

void sched_start(void)
{
    struct cpu *cpu = curcpu();
    const uint64_t now = machine_time_ns();

    if (cpu->idle == &thread0)
        cpu->idle = sched_idle_thread();
    cpu->thread->td_started = now;
    started = true;
    timer_arm(now, now + SCHED_SLICE_NS);
}

/* Most sleeps for a disk are shorter than what a halt and its end cost, so an idle CPU looks around for a
 * moment first. (haltpoll, Linux.) */
static void idle_poll(void)
{
    const uint64_t end = machine_time_ns() + IDLE_POLL_NS;

    while (__atomic_load_n(&runnable, __ATOMIC_RELAXED) == 0 && machine_time_ns() < end)
        cpu_pause();
}

void sched_idle(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    struct cpu *cpu = curcpu();

    for (;;) {
        idle_poll();
        intr_disable();
        (void)spin_lock(&sched_lock);
        if (runnable > 0) {
            cpu->is_idle = false;
            mi_switch();
        }
        cpu->is_idle = runnable == 0;
        spin_unlock(&sched_lock, 0);
        if (cpu->is_idle)
            __asm__ volatile("sti; hlt" ::: "memory"); /* an interrupt between the two ends the hlt */
        else
            intr_enable();
    }
}
