/*
 * words.c: locks, sleeping, time, who I am, panic: with these the core boots.
 *
 * Look at machines/x86_64: lock.c (locks), sched.c (sleeping), clock.c (time), panic.c.
 */
#include "port.h"

/* Takes the mutex; waits while another thread has it. All zero is free. */
void machine_lock(struct machine_lock *lock)
{
    (void)lock;
    port_missing(__func__);
}

/* Takes the mutex if it is free, and says whether it did. Never waits. */
bool machine_trylock(struct machine_lock *lock)
{
    (void)lock;
    port_missing(__func__);
}

/* Gives it back, and wakes a thread that waits for it. Not called in interrupts. */
void machine_unlock(struct machine_lock *lock)
{
    (void)lock;
    port_missing(__func__);
}

/* Whether the calling thread has it: so a lock knows machine_self() of its holder. */
bool machine_lock_held(const struct machine_lock *lock)
{
    (void)lock;
    port_missing(__func__);
}

/* Sleeps on chan without the lock, until machine_wake(chan) or the deadline; no wake-up between is lost. */
int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    (void)chan;
    (void)lock;
    (void)deadline_ns;
    port_missing(__func__);
}

/* Wakes all that sleep on chan. Called under the core's locks, and by the completion of a transfer. */
void machine_wake(const void *chan)
{
    (void)chan;
    port_missing(__func__);
}

/* A number that no other living thread has, and never 0: the address of its structure. */
uint64_t machine_self(void)
{
    port_missing(__func__);
}

/* Nanoseconds, never less than before. */
uint64_t machine_time_ns(void)
{
    port_missing(__func__);
}

/* Says the message and stops the computer. It may be called anywhere, under any lock. */
void machine_panic(const char *message)
{
    (void)message;
    port_missing(__func__);
}
