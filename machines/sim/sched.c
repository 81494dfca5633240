/*
 * sched.c: fibers, locks, waits and the clock. sched.h draws the states.
 *
 * A lock's words: [0] owner, [1] first waiter, [2] last waiter, each a fiber's number; 0: none. Waiters are
 * served in order: unlocking hands the lock over, so no other fiber gets in between. Fibers stand in an array
 * and are named by their number, so that no choice depends on an address. (mi_switch, tsleep: FreeBSD 2.1.)
 *
 * Sleeps with a deadline stand in the callout queue, the earliest first (timeout, untimeout: FreeBSD 2.1). A
 * fiber stands in it from its timeout until its deadline passes, or until it runs again and calls untimeout:
 *
 *   sched.callout ─▶ fiber (deadline 70) ─callout_next─▶ fiber (deadline 90) ─▶ 0
 *
 * Does not do: parallel execution. CPUs differ only in their TLBs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fiber.h"
#include "sched.h"
#include "space.h"

#define CALL_NS      50     /* what a machine_* call or an access costs */
#define STUCK_LIMIT  500000 /* switches among daemons while all other fibers wait: a wake-up was lost */
#define POLL_LIMIT   20000  /* timeouts in a row on one channel: it will not be woken any more */
#define MIGRATE_EACH 4      /* one switch in so many moves the fiber to a random CPU */

enum fiber_state {
    FIBER_NONE,
    FIBER_RUNNABLE, /* also the one that runs */
    FIBER_LOCKING,
    FIBER_SLEEPING,
    FIBER_DONE,
};

struct fiber {
    struct fiber_stack stack;
    enum fiber_state state;
    const char *name;
    void (*fn)(void *arg);
    void *arg;
    bool daemon;
    uint32_t cpu;
    uint32_t nlocks;           /* it holds */
    struct machine_lock *lock; /* LOCKING: the lock that it waits for */
    uint32_t lock_next;        /* the next waiter for that lock; 0: none */
    const void *chan;          /* SLEEPING: not yet woken */
    const void *polled;        /* the channel of its last timed wait */
    uint32_t polls;            /* timed waits on that channel in a row */
    uint64_t deadline;         /* UINT64_MAX: none, and it is not in the callout queue */
    uint32_t callout_next;     /* the next one in the callout queue; 0: none */
};

static struct {
    struct fiber fiber[SIM_FIBERS_MAX];
    uint32_t current;
    uint32_t count; /* slots in use, from the first */
    uint32_t njoin; /* fibers that sim_join_all waits for */
    uint32_t quiet; /* > 0: sim_preempt does nothing */
    uint32_t pins;  /* of the running fiber: > 0: it must not sleep */
    uint64_t stuck; /* switches since a fiber that is no daemon ran */
    /* The first fiber of the callout queue; 0: none. */
    uint32_t callout;
} sched = {.fiber[0] = {.state = FIBER_RUNNABLE, .name = "main", .deadline = UINT64_MAX}, .count = 1};

static struct fiber *self(void)
{
    return &sched.fiber[sched.current];
}

static uint32_t number(const struct fiber *f)
{
    return (uint32_t)(f - sched.fiber) + 1;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Takes those out of the callout queue whose deadline has passed; who still sleeps becomes runnable. */
static void softclock(void)
{
    while (sched.callout != 0 && sched.fiber[sched.callout - 1].deadline <= sim.now_ns) {
        struct fiber *f = &sched.fiber[sched.callout - 1];

        sched.callout = f->callout_next;
        f->deadline = UINT64_MAX;
        if (f->state == FIBER_SLEEPING)
            f->state = FIBER_RUNNABLE;
    }
}

/* How many fibers can run now. */
static uint32_t sched_runnable(void)
{
    uint32_t runnable = 0;

    softclock();
    for (uint32_t i = 0; i < sched.count; i++)
        runnable += sched.fiber[i].state == FIBER_RUNNABLE;
    return runnable;
}

static struct fiber *sched_choose(void)
{
    uint32_t runnable = sched_runnable();

    if (runnable == 0) { /* all in the callout queue sleep: who was woken would be runnable */
        if (sched.callout == 0) {
            sched_dump();
            sim_panic("deadlock: no fiber can run and nothing is going to happen");
        }
        sim.now_ns = sched.fiber[sched.callout - 1].deadline;
        runnable = sched_runnable();
    }
    uint64_t pick = runnable > 1 ? prng_below(&sim.prng, runnable) : 0;
    for (uint32_t i = 0;; i++) {
        if (sched.fiber[i].state == FIBER_RUNNABLE && pick-- == 0)
            return &sched.fiber[i];
    }
}

static void sched_watch(const struct fiber *to)
{
    if (!to->daemon) {
        sched.stuck = 0;
    } else if (++sched.stuck > STUCK_LIMIT) {
        sched_dump();
        sim_panic("stuck: only daemons have run for %u switches", STUCK_LIMIT);
    }
}

/* Runs another fiber, or the caller again. */
static void mi_switch(void)
{
    if (sched.pins > 0)
        sim_panic("fiber %u (%s) is pinned to its CPU and sleeps", number(self()), self()->name);
    struct fiber *from = self(), *to = sched_choose();

    sched_watch(to);
    if (sim.params.ncpus > 1 && prng_below(&sim.prng, MIGRATE_EACH) == 0)
        to->cpu = (uint32_t)prng_below(&sim.prng, sim.params.ncpus);
    if (to == from)
        return;
    sim.stats.switches++;
    sim_event(EVENT_SWITCH, number(to), to->cpu);
    sched.current = number(to) - 1;
    fiber_stack_switch(&from->stack, &to->stack, from->state == FIBER_DONE);
}

void sim_preempt(void)
{
    if (!sim.on || sched.quiet > 0)
        return;
    sim.now_ns += CALL_NS;
    if (prng_chance(&sim.prng, sim.params.torture.forgetful_permille)) {
        sched.quiet++;
        space_forget_one();
        sched.quiet--;
    }
    if (prng_chance(&sim.prng, sim.params.torture.preempt_permille)) {
        sim.stats.preemptions++;
        mi_switch();
    }
}

void sched_pin(void)
{
    sched.quiet++;
    sched.pins++;
}

void sched_unpin(void)
{
    sched.quiet--;
    sched.pins--;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static void lock_acquire(struct machine_lock *lock)
{
    struct fiber *f = self();

    if (lock->word[0] == number(f))
        sim_panic("fiber %u (%s) takes a lock that it holds", number(f), f->name);
    if (lock->word[0] == 0) {
        lock->word[0] = number(f);
    } else {
        f->lock = lock;
        f->lock_next = 0;
        if (lock->word[2] != 0)
            sched.fiber[lock->word[2] - 1].lock_next = number(f);
        else
            lock->word[1] = number(f);
        lock->word[2] = number(f);
        f->state = FIBER_LOCKING;
        mi_switch();
    }
    f->nlocks++;
}

static void lock_release(struct machine_lock *lock)
{
    if (lock->word[0] != number(self()))
        sim_panic("fiber %u (%s) unlocks a lock that it does not hold", number(self()), self()->name);
    self()->nlocks--;
    lock->word[0] = lock->word[1];
    if (lock->word[1] == 0)
        return;
    struct fiber *next = &sched.fiber[lock->word[1] - 1];
    lock->word[1] = next->lock_next;
    if (lock->word[1] == 0)
        lock->word[2] = 0;
    next->lock = NULL;
    next->state = FIBER_RUNNABLE;
}

/* The three functions that are the lock's implementation stay outside of the analysis. */
void machine_lock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    sim_preempt();
    lock_acquire(lock);
}

bool machine_trylock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    sim_preempt();
    if (lock->word[0] != 0)
        return false;
    lock_acquire(lock);
    return true;
}

void machine_unlock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    lock_release(lock);
    sim_preempt();
}

bool machine_lock_held(const struct machine_lock *lock)
{
    return lock->word[0] == number(self());
}

void sched_assert_no_locks(const char *what)
{
    if (sched.pins > 0)
        sim_panic("CO3: %s may sleep, and fiber %u (%s) is pinned", what, number(self()), self()->name);
    if (self()->nlocks > 0)
        sim_panic("CO3: %s may sleep, and fiber %u (%s) holds %u locks", what, number(self()), self()->name,
                  self()->nlocks);
}

/* ---- waits and time -------------------------------------------------------------------------- */

/* Puts the fiber into the callout queue, behind those whose deadlines are not later. */
static void timeout(struct fiber *f, uint64_t deadline_ns)
{
    uint32_t *at = &sched.callout;

    while (*at != 0 && sched.fiber[*at - 1].deadline <= deadline_ns)
        at = &sched.fiber[*at - 1].callout_next;
    f->deadline = deadline_ns;
    f->callout_next = *at;
    *at = number(f);
}

/* Takes the fiber out of the callout queue. */
static void untimeout(struct fiber *f)
{
    uint32_t *at = &sched.callout;

    while (*at != number(f))
        at = &sched.fiber[*at - 1].callout_next;
    *at = f->callout_next;
    f->deadline = UINT64_MAX;
}

/* Takes the fiber off its channel. */
static void unsleep(struct fiber *f)
{
    f->chan = NULL;
    f->state = FIBER_RUNNABLE;
}

/* lock may be NULL. Returns 0 when woken, spuriously too; -ETIMEDOUT when the deadline came first. */
static int tsleep(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    struct fiber *f = self();
    int error = 0;

    f->chan = chan;
    f->state = FIBER_SLEEPING;
    if (deadline_ns != UINT64_MAX)
        timeout(f, deadline_ns);
    if (lock != NULL)
        lock_release(lock);
    if (lock != NULL && prng_chance(&sim.prng, sim.params.torture.spurious_permille))
        unsleep(f);
    mi_switch();
    if (f->chan != NULL) {
        unsleep(f);
        error = -ETIMEDOUT;
    }
    if (f->deadline != UINT64_MAX) /* it has not passed */
        untimeout(f);
    if (lock != NULL)
        lock_acquire(lock);
    return error;
}

/* A fiber that waits with a deadline, again and again, for what never happens hides a
 * deadlock. Daemons may. */
static void sched_watch_polls(struct fiber *f, const void *chan)
{
    if (f->polled != chan)
        f->polls = 0;
    f->polled = chan;
    if (!f->daemon && ++f->polls > POLL_LIMIT) {
        sched_dump();
        sim_panic("stuck: fiber %u (%s) has waited %u times for the same", number(f), f->name, POLL_LIMIT);
    }
}

int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    if (!machine_lock_held(lock))
        sim_panic("machine_wait: fiber %u (%s) does not hold the lock", number(self()), self()->name);
    sim_preempt();
    int error = tsleep(chan, lock, deadline_ns);
    if (deadline_ns != UINT64_MAX)
        sched_watch_polls(self(), chan);
    return error;
}

void sched_sleep(const void *chan, uint64_t deadline_ns)
{
    (void)tsleep(chan, NULL, deadline_ns); /* callers look at the clock and at their condition */
}

void sched_wake(const void *chan)
{
    for (uint32_t i = 0; i < sched.count; i++) {
        if (sched.fiber[i].state == FIBER_SLEEPING && sched.fiber[i].chan == chan)
            unsleep(&sched.fiber[i]);
    }
}

void machine_wake(const void *chan)
{
    sched_wake(chan);
    sim_preempt();
}

uint64_t machine_self(void)
{
    return number(self());
}

uint64_t machine_time_ns(void)
{
    return sim.now_ns;
}

void sim_yield(void)
{
    sim.now_ns += CALL_NS;
    mi_switch();
}

void sim_settle(void)
{
    while (sched_runnable() > 1)
        sim_yield();
}

void sim_vm_check(void)
{
    sim_settle();
    sched.quiet++;
    fl_vm_check();
    sched.quiet--;
}

void sim_sleep_ns(uint64_t ns)
{
    uint64_t until = sim.now_ns + ns;

    while (sim.now_ns < until)
        sched_sleep(&sched.fiber, until);
}

/* ---- fibers ---------------------------------------------------------------------------------- */

static void fiber_main(void)
{
    struct fiber *f = self();

    fiber_stack_begin(&f->stack);
    f->fn(f->arg);
    if (f->nlocks > 0)
        sim_panic("fiber %u (%s) ends with %u locks", number(f), f->name, f->nlocks);
    f->state = FIBER_DONE;
    if (!f->daemon)
        sched.njoin--;
    sched_wake(f);
    sched_wake(&sched.njoin);
    mi_switch();
    abort(); /* no switch goes to a fiber that is done */
}

static struct fiber *fiber_create(const char *name, void (*fn)(void *arg), void *arg, bool daemon)
{
    uint32_t i = 1;

    /* A daemon's slot stays: sched_join may still ask for it. */
    while (i < sched.count && (sched.fiber[i].state != FIBER_DONE || sched.fiber[i].daemon))
        i++;
    if (i == SIM_FIBERS_MAX)
        sim_panic("more than %u fibers", SIM_FIBERS_MAX);
    if (i == sched.count)
        sched.count++;
    struct fiber *f = &sched.fiber[i];
    fiber_stack_destroy(&f->stack);
    *f = (struct fiber){.name = name, .fn = fn, .arg = arg, .daemon = daemon, .deadline = UINT64_MAX};
    fiber_stack_create(&f->stack, fiber_main);
    f->cpu = i % sim.params.ncpus;
    f->state = FIBER_RUNNABLE;
    if (!daemon)
        sched.njoin++;
    return f;
}

void sim_run(const char *name, void (*fn)(void *arg), void *arg)
{
    (void)fiber_create(name, fn, arg, false);
}

struct fiber *sched_daemon(const char *name, void (*fn)(void *arg), void *arg)
{
    return fiber_create(name, fn, arg, true);
}

void sched_join(struct fiber *fiber)
{
    while (fiber->state != FIBER_DONE)
        sched_sleep(fiber, UINT64_MAX);
}

void sim_join_all(void)
{
    while (sched.njoin > 0)
        sched_sleep(&sched.njoin, UINT64_MAX);
}

void sched_reset(void)
{
    for (uint32_t i = 1; i < sched.count; i++) {
        if (sched.fiber[i].state != FIBER_DONE)
            sim_panic("fiber %u (%s) is left over", i + 1, sched.fiber[i].name);
        fiber_stack_destroy(&sched.fiber[i].stack);
        sched.fiber[i].state = FIBER_NONE;
    }
    if (sched.fiber[0].nlocks > 0)
        sim_panic("main has %u locks left over", sched.fiber[0].nlocks);
    sched.count = 1;
    sched.stuck = 0;
    sched.fiber[0].cpu = 0;
    fiber_stack_adopt(&sched.fiber[0].stack);
}

uint32_t sched_cpu(void)
{
    return self()->cpu;
}

void sched_dump(void)
{
    static const char *const state_name[] = {"none", "runnable", "waits for a lock", "sleeps", "done"};

    for (uint32_t i = 0; i < sched.count; i++) {
        const struct fiber *f = &sched.fiber[i];

        if (f->state == FIBER_NONE || f->state == FIBER_DONE)
            continue;
        fprintf(stderr, "  fiber %u %-12s %s", i + 1, f->name, state_name[f->state]);
        if (f->state == FIBER_LOCKING)
            fprintf(stderr, " %p of fiber %u (%s)", (void *)f->lock, f->lock->word[0],
                    sched.fiber[f->lock->word[0] - 1].name);
        if (f->state == FIBER_SLEEPING)
            fprintf(stderr, " on %p until %llu", f->chan, (unsigned long long)f->deadline);
        fprintf(stderr, ", holds %u locks\n", f->nlocks);
    }
}
