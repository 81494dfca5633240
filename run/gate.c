/*
 * gate.c: addresses whose mappings are just being replaced, and the threads that meet them (gate.h).
 *
 *   (S) gate_list, gate_shut ─▶ the mappings change hands ─▶ gate_open
 *   a thread ─▶ SIGSEGV, or EFAULT ─▶ gate_waited: asleep until the gate opens ─▶ the access again
 *
 * A thread that sleeps on a futex in the memory sleeps on the core's page, and a later wake-up
 * goes to the kernel's page. So gate_wake_sleepers wakes such a thread; it looks again, and waits
 * at the gate. The addresses stand in slot[]. A thread writes its slot before it looks at the
 * gate, and the gate is shut before the slots are read, so that one of the two sees the other.
 *
 * Lock: (S) to shut and open it; the threads that meet it use atomics only.
 */
#include "gate.h"
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#define GATE_LOOK_NS 10000000 /* a thread at the gate looks again: a signal may swallow a wake-up */
#define FUTEX_SLOTS  512      /* threads that sleep in managed memory */
#define FUTEX_ROUNDS 1000     /* of a millisecond each: a woken thread needs a processor to leave its slot */

static struct {
    _Atomic uint32_t shut;            /* a futex: 1 while the gate is shut */
    struct fl_region *_Atomic region; /* [nregions] never unmapped: a thread may read an old list */
    _Atomic size_t nregions;
    size_t room FL_GUARDED_BY(shim_lock); /* of region[] */
    _Atomic unsigned count;               /* changes when it is shut and when it opens */
} gate;

static _Atomic vm_offset_t slot[FUTEX_SLOTS]; /* where a thread waits on a futex, or 0 */

/* ---- shutting the gate ----------------------------------------------------------------------------- */

int gate_list(size_t n, struct fl_region **list)
{
    if (n > gate.room) {
        long memory = shim_memory(2 * n * sizeof(struct fl_region));

        if (linux_syscall_failed(memory))
            return (int)memory;
        gate.region = (struct fl_region *)memory;
        gate.room = 2 * n;
    }
    *list = gate.region;
    return 0;
}

void gate_shut(size_t n)
{
    gate.nregions = n;
    gate.count++;
    gate.shut = 1;
}

void gate_open(void)
{
    gate.nregions = 0;
    gate.shut = 0;
    gate.count++;
    linux_syscall(SYS_futex, &gate.shut, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void gate_shut_range(vm_offset_t start, vm_offset_t end)
{
    struct fl_region *list;

    if (gate_list(1, &list) != 0)
        return;
    list[0] = (struct fl_region){.start = start, .end = end};
    gate_shut(1);
}

/* ---- meeting it ------------------------------------------------------------------------------------ */

static bool gate_has(vm_offset_t va)
{
    size_t n = gate.nregions; /* read first: a list that grows is a new one, at another address */
    const struct fl_region *region = gate.region;
    bool has = false;

    for (size_t i = 0; !has && i < n; i++)
        has = va >= region[i].start && va < region[i].end;
    return has;
}

/* Sleeps until the gate opens, but for a moment at most. */
static void gate_sleep(void)
{
    const struct timespec moment = {0, GATE_LOOK_NS};

    linux_syscall(SYS_futex, &gate.shut, FUTEX_WAIT_PRIVATE, 1, &moment, NULL, 0);
}

bool gate_waited(vm_offset_t va)
{
    bool waited = false;

    while (gate.shut != 0 && gate_has(va)) {
        waited = true;
        gate_sleep();
    }
    return waited;
}

void gate_wait(void)
{
    while (gate.shut != 0) /* ends: a hand-over or a MAP_FIXED, whose steps are finite */
        gate_sleep();
}

unsigned gate_count(void)
{
    return gate.count;
}

/* ---- futexes --------------------------------------------------------------------------------------- */

int gate_futex_begin(vm_offset_t va)
{
    for (;;) { /* each turn another thread took the slot, or a hand-over ended */
        int taken = GATE_NO_SLOT;

        for (int i = 0; i < FUTEX_SLOTS && taken < 0; i++) {
            int at = (int)((va / 64 + (unsigned)i) % FUTEX_SLOTS);
            vm_offset_t none = 0;

            if (slot[at] == 0 && atomic_compare_exchange_strong(&slot[at], &none, va))
                taken = at;
        }
        if (gate.shut == 0 || !gate_has(va))
            return taken;
        if (taken >= 0)
            slot[taken] = 0;
        (void)gate_waited(va);
    }
}

void gate_futex_end(int taken)
{
    if (taken >= 0)
        slot[taken] = 0;
}

void gate_wake_sleepers(void)
{
    const struct timespec moment = {0, 1000000};
    bool any = true;

    for (int round = 0; any && round < FUTEX_ROUNDS; round++) {
        any = false;
        for (int i = 0; i < FUTEX_SLOTS; i++) {
            vm_offset_t va = slot[i];

            if (va == 0 || !gate_has(va))
                continue;
            any = true;
            linux_syscall(SYS_futex, va, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
            linux_syscall(SYS_futex, va, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
        }
        if (any)
            linux_syscall(SYS_nanosleep, &moment, NULL);
    }
}

void gate_fork_child(void)
{
    gate.shut = 0;
    gate.nregions = 0;
    memset(slot, 0, sizeof slot);
}
