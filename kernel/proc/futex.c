/*
 * futex.c: sleeping on a word of the program's (futex(2), Linux).
 *
 *   word ─▶ key ─▶ futex_hash ─▶ waiter ─▶ waiter …     a waiter lies on the stack of the thread that sleeps
 *
 *   key of a private word, or of private memory:  space, address
 *   key of shared memory of a file:               vnode, offset in it
 *   key of shared memory without a file:          address alone
 *
 * Shared memory without a file has no name that the kernel can ask for, but processes that share it have it
 * by fork, at one address. Strangers may have the same key by accident, so a wake there wakes all that have
 * it: a wake-up for nothing is allowed, a lost one is not.
 *
 * Lock: futex_lock, a mutex, from the look at the word to the sleep; above the machine's own, below
 * everything else. A page that is absent is not brought in under it: the look fails, and is made again after
 * the page was brought in.
 * Does not do: priority inheritance (-ENOSYS).
 */
#include <linux/errno.h>
#include <linux/futex.h>

#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#define FUTEX_HASH        64
#define ROBUST_HEAD_BYTES 24 /* a list's head, which exit.c reads */

struct futex_key {
    const void *memory; /* the vm_map or the vnode; NULL: shared memory without a file */
    uint64_t at;
};

struct futex_waiter {
    struct futex_waiter *next;
    struct futex_key key; /* changes when it is requeued */
    uint32_t bitset;
    bool waits; /* it is in the table */
};

static struct machine_lock futex_lock;
static struct futex_waiter *futex_hash[FUTEX_HASH] FL_GUARDED_BY(futex_lock);

static struct futex_waiter **futex_bucket(const struct futex_key *key) FL_REQUIRES(futex_lock)
{
    uint64_t mix = ((uint64_t)key->memory >> 4) + (key->at >> 2);

    return &futex_hash[(mix ^ mix >> 7 ^ mix >> 19) % FUTEX_HASH];
}

static bool key_equal(const struct futex_key *a, const struct futex_key *b)
{
    return a->memory == b->memory && a->at == b->at;
}

/* Errors: -EINVAL, -EFAULT. */
static int futex_key(uint64_t addr, bool private, struct futex_key *key)
{
    struct vm_map *map = curproc()->map;
    struct fl_region region;

    if ((addr & 3) != 0)
        return -EINVAL;
    if (addr >= USER_END)
        return -EFAULT;
    *key = (struct futex_key){map, addr};
    if (private)
        return 0;
    if (fl_space_region(map, addr, &region) != 0 || region.start > addr)
        return -EFAULT;
    if (region.shared && region.vnode != NULL)
        *key = (struct futex_key){region.vnode, region.offset + (addr - region.start)};
    else if (region.shared)
        key->memory = NULL;
    return 0;
}

/* ---- waking ---------------------------------------------------------------------------------------- */

static void waiter_insert(struct futex_waiter *w) FL_REQUIRES(futex_lock)
{
    struct futex_waiter **link = futex_bucket(&w->key);

    while (*link != NULL)
        link = &(*link)->next;
    w->next = NULL;
    w->waits = true;
    *link = w;
}

static void waiter_remove(struct futex_waiter *w) FL_REQUIRES(futex_lock)
{
    struct futex_waiter **link = futex_bucket(&w->key);

    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    w->waits = false;
}

/* Wakes up to n, the oldest first. Returns how many. */
static int64_t futex_wake_locked(const struct futex_key *key, uint32_t n, uint32_t bitset)
    FL_REQUIRES(futex_lock)
{
    struct futex_waiter *w, *next;
    uint32_t woken = 0;

    for (w = *futex_bucket(key); w != NULL && (woken < n || key->memory == NULL); w = next) {
        next = w->next;
        if (!key_equal(&w->key, key) || (w->bitset & bitset) == 0)
            continue;
        waiter_remove(w);
        machine_wake(w);
        woken++;
    }
    return woken;
}

static int64_t futex_wake(const struct futex_key *key, uint32_t n, uint32_t bitset)
{
    int64_t woken;

    machine_lock(&futex_lock);
    woken = futex_wake_locked(key, n, bitset);
    machine_unlock(&futex_lock);
    return woken;
}

void futex_wake_address(uint64_t addr, uint32_t n)
{
    struct futex_key private, shared;

    if (futex_key(addr, true, &private) != 0)
        return;
    (void)futex_wake(&private, n, FUTEX_BITSET_MATCH_ANY);
    if (futex_key(addr, false, &shared) == 0 && !key_equal(&private, &shared))
        (void)futex_wake(&shared, n, FUTEX_BITSET_MATCH_ANY);
}

/* ---- waiting --------------------------------------------------------------------------------------- */

/* The word, without bringing in its page. Errors: -EFAULT. */
static int word_look(uint64_t addr, uint32_t *value) FL_REQUIRES(futex_lock)
{
    struct thread *td = curthread();
    int error;

    td->td_nofault = true;
    error = copyin(addr, value, sizeof(*value));
    td->td_nofault = false;
    return error;
}

/*
 * Takes futex_lock, and compares the word under it. Returns 0, with the lock; or, without it, -EAGAIN: the
 * word is another; -EFAULT. The loop ends: each pass that fails has brought the page in, and page-out would
 * have to be quicker every time.
 */
static int futex_lock_if(uint64_t addr, uint32_t expected) FL_NO_THREAD_SAFETY_ANALYSIS
{
    uint32_t value;

    for (;;) {
        machine_lock(&futex_lock);
        if (word_look(addr, &value) == 0) {
            if (value == expected)
                return 0;
            machine_unlock(&futex_lock);
            return -EAGAIN;
        }
        machine_unlock(&futex_lock);
        if (copyin(addr, &value, sizeof(value)) != 0)
            return -EFAULT;
    }
}

/* The thread sleeps until it is woken. Errors: -ETIMEDOUT, -ERESTART. */
static int waiter_sleep(struct futex_waiter *w, uint64_t deadline_ns) FL_REQUIRES(futex_lock)
{
    int error = 0;

    while (w->waits && error == 0)
        error = sleep_interruptible(w, &futex_lock, deadline_ns);
    if (!w->waits)
        return 0; /* woken, whatever else came */
    waiter_remove(w);
    return error;
}

static int64_t futex_wait(uint64_t addr, bool private, uint32_t expected, uint64_t deadline_ns,
                          uint32_t bitset) FL_NO_THREAD_SAFETY_ANALYSIS /* futex_lock_if: only on success */
{
    struct futex_waiter w = {.bitset = bitset};
    int error = futex_key(addr, private, &w.key);

    if (error == 0 && bitset == 0)
        error = -EINVAL;
    if (error == 0)
        error = futex_lock_if(addr, expected);
    if (error != 0)
        return error;
    waiter_insert(&w);
    error = waiter_sleep(&w, deadline_ns);
    machine_unlock(&futex_lock);
    return error == -ERESTART && deadline_ns != UINT64_MAX ? -ERESTARTNOHAND : error;
}

/* ---- two words ------------------------------------------------------------------------------------- */

/* expected NULL: FUTEX_REQUEUE. Returns how many were woken, or woken and moved. */
static int64_t futex_requeue(const uint64_t arg[6], bool private, const uint32_t *expected)
    FL_NO_THREAD_SAFETY_ANALYSIS /* futex_lock_if: only on success */
{
    struct futex_key from, to;
    struct futex_waiter *w, *next;
    int64_t woken, moved = 0;
    int error = futex_key(arg[0], private, &from);

    if ((int)arg[2] < 0 || (int)arg[3] < 0)
        return -EINVAL;
    if (error == 0)
        error = futex_key(arg[4], private, &to);
    if (error == 0 && expected != NULL)
        error = futex_lock_if(arg[0], *expected);
    if (error != 0)
        return error;
    if (expected == NULL)
        machine_lock(&futex_lock);
    woken = futex_wake_locked(&from, (uint32_t)arg[2], FUTEX_BITSET_MATCH_ANY);
    for (w = *futex_bucket(&from); w != NULL && moved < (int)arg[3]; w = next) {
        next = w->next;
        if (!key_equal(&w->key, &from) || key_equal(&from, &to))
            continue;
        waiter_remove(w);
        w->key = to;
        waiter_insert(w);
        moved++;
    }
    machine_unlock(&futex_lock);
    return expected != NULL ? woken + moved : woken;
}

/* What FUTEX_WAKE_OP does to the second word, as `op` says it. Errors: -ENOSYS. */
static int wake_op_apply(uint32_t op, uint32_t old, uint32_t *value)
{
    uint32_t operand = (uint32_t)((int32_t)(op << 8) >> 20);

    if ((op >> 28 & FUTEX_OP_OPARG_SHIFT) != 0)
        operand = UINT32_C(1) << (operand & 31);
    switch (op >> 28 & 7) {
    case FUTEX_OP_SET:
        *value = operand;
        return 0;
    case FUTEX_OP_ADD:
        *value = old + operand;
        return 0;
    case FUTEX_OP_OR:
        *value = old | operand;
        return 0;
    case FUTEX_OP_ANDN:
        *value = old & ~operand;
        return 0;
    case FUTEX_OP_XOR:
        *value = old ^ operand;
        return 0;
    default:
        return -ENOSYS;
    }
}

/* Errors: -ENOSYS. */
static int wake_op_compare(uint32_t op, int32_t old)
{
    int32_t operand = (int32_t)(op << 20) >> 20;

    switch (op >> 24 & 0xf) {
    case FUTEX_OP_CMP_EQ:
        return old == operand;
    case FUTEX_OP_CMP_NE:
        return old != operand;
    case FUTEX_OP_CMP_LT:
        return old < operand;
    case FUTEX_OP_CMP_LE:
        return old <= operand;
    case FUTEX_OP_CMP_GT:
        return old > operand;
    case FUTEX_OP_CMP_GE:
        return old >= operand;
    default:
        return -ENOSYS;
    }
}

/* Changes the word in one step. *old: what it was. Errors: -EFAULT, -ENOSYS. The loop ends when no other
 * thread changes the word between the look and the step. */
static int wake_op_word(uint64_t addr, uint32_t op, uint32_t *old)
{
    uint32_t expected, value;
    int error = copyin(addr, &expected, sizeof(expected));

    while (error == 0) {
        *old = expected;
        error = wake_op_apply(op, expected, &value);
        if (error == 0)
            error = casuword(addr, &expected, value);
        if (error == 0 && expected == *old)
            break;
    }
    return error;
}

static int64_t futex_wake_op(const uint64_t arg[6], bool private)
{
    struct futex_key first, second;
    uint32_t old;
    int64_t woken;
    int error = futex_key(arg[0], private, &first);

    if (error == 0)
        error = futex_key(arg[4], private, &second);
    if (error == 0)
        error = wake_op_word(arg[4], (uint32_t)arg[5], &old);
    if (error == 0)
        error = wake_op_compare((uint32_t)arg[5], (int32_t)old);
    if (error < 0)
        return error;
    woken = futex_wake(&first, (uint32_t)arg[2], FUTEX_BITSET_MATCH_ANY);
    if (error != 0)
        woken += futex_wake(&second, (uint32_t)arg[3], FUTEX_BITSET_MATCH_ANY);
    return woken;
}

/* ---- the calls ------------------------------------------------------------------------------------- */

/* *deadline_ns of a wait: FUTEX_WAIT has how long, FUTEX_WAIT_BITSET until when. Errors: -EFAULT, -EINVAL. */
static int futex_deadline(uint64_t user, int op, uint64_t *deadline_ns)
{
    uint64_t ns;
    int error;

    *deadline_ns = UINT64_MAX;
    if (user == 0)
        return 0;
    error = timespec_copyin(user, &ns);
    if (error != 0)
        return error;
    if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT) {
        *deadline_ns = deadline_after(ns);
    } else if ((op & FUTEX_CLOCK_REALTIME) != 0) {
        *deadline_ns = (int64_t)ns > boot_time_ns ? ns - (uint64_t)boot_time_ns : 0;
    } else {
        *deadline_ns = ns;
    }
    return 0;
}

static int64_t futex_wait_call(const uint64_t arg[6], bool private, uint32_t bitset)
{
    uint64_t deadline_ns;
    int error = futex_deadline(arg[3], (int)arg[1], &deadline_ns);

    return error != 0 ? error : futex_wait(arg[0], private, (uint32_t)arg[2], deadline_ns, bitset);
}

static int64_t futex_wake_call(const uint64_t arg[6], bool private, uint32_t bitset)
{
    struct futex_key key;
    int error = futex_key(arg[0], private, &key);

    if (error == 0 && bitset == 0)
        error = -EINVAL;
    return error != 0 ? error : futex_wake(&key, (uint32_t)arg[2], bitset);
}

int64_t sys_futex(const uint64_t arg[6])
{
    int op = (int)arg[1];
    bool private = (op & FUTEX_PRIVATE_FLAG) != 0;
    const uint32_t expected = (uint32_t)arg[5];

    switch (op & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return futex_wait_call(arg, private, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
        return futex_wait_call(arg, private, (uint32_t)arg[5]);
    case FUTEX_WAKE:
        return futex_wake_call(arg, private, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        return futex_wake_call(arg, private, (uint32_t)arg[5]);
    case FUTEX_REQUEUE:
        return futex_requeue(arg, private, NULL);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(arg, private, &expected);
    case FUTEX_WAKE_OP:
        return futex_wake_op(arg, private);
    default:
        return -ENOSYS;
    }
}

int64_t sys_set_robust_list(const uint64_t arg[6])
{
    if (arg[1] != ROBUST_HEAD_BYTES)
        return -EINVAL;
    curthread()->td_robust_list = arg[0];
    return 0;
}

int64_t sys_get_robust_list(const uint64_t arg[6])
{
    const uint64_t len_bytes = ROBUST_HEAD_BYTES;
    uint64_t head = 0;
    bool found = false;

    machine_lock(&proc_lock);
    for (const struct thread *td = curproc()->threads; td != NULL; td = td->td_next) {
        if ((int)arg[0] == 0 ? td == curthread() : td->td_tid == (int)arg[0]) {
            head = td->td_robust_list;
            found = true;
        }
    }
    machine_unlock(&proc_lock);
    if (!found)
        return -ESRCH;
    if (copyout(&head, arg[1], sizeof(head)) != 0 || copyout(&len_bytes, arg[2], sizeof(len_bytes)) != 0)
        return -EFAULT;
    return 0;
}
