/*
 * fs_lockf_test.c: record locks beside a naive model: for each byte of a file, what each owner has there.
 * Then waits: that end, that are refused because they would not, and that a signal ends.
 *
 * FAULTLINE_SEED=n runs the round of that seed only; FAULTLINE_ROUNDS=n runs more.
 */
#include "fs/lockf.h"
#include "kernel/ext2_support.h"
#include "proc/sleep.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES  48
#define OWNERS 4
#define STEPS  3000

enum had {
    NONE,
    SHARED,
    EXCLUSIVE,
};

static enum had model[OWNERS][BYTES];
static struct file owner[OWNERS]; /* their addresses say who */
static bool signalled;

/* A sleep of the kernel's, which ends as if by a signal when `signalled` says so. */
int sleep_interruptible(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    int error = signalled ? -ERESTART : machine_wait(chan, lock, deadline_ns);

    return signalled ? -ERESTART : error;
}

static void inode_end(struct inode *inode)
{
    (void)inode;
}
static const struct inode_ops test_inode_ops = {.release = inode_end};
static struct inode test_inode;

static void begin(uint64_t seed)
{
    struct sim_params params = test_params(seed);

    test_boot(&params);
    memset(model, 0, sizeof(model));
    signalled = false;
    test_inode = (struct inode){.ops = &test_inode_ops, .refs = 1};
    for (unsigned i = 0; i < OWNERS; i++)
        owner[i].inode = &test_inode;
}

static void end(void)
{
    for (unsigned i = 0; i < OWNERS; i++)
        lockf_release_file(&owner[i]);
    assert_int_equal(test_inode.refs, 1);
    sim_shutdown();
    assert_int_equal(kmem_pieces, 0);
}

/* ---- the model ----------------------------------------------------------------------------------------- */

/* Whether another owner has something in the way at byte i. */
static bool in_the_way(unsigned who, unsigned i, bool exclusive)
{
    for (unsigned other = 0; other < OWNERS; other++)
        if (other != who && model[other][i] != NONE && (exclusive || model[other][i] == EXCLUSIVE))
            return true;
    return false;
}

static bool range_is_free(unsigned who, unsigned start, unsigned stop, bool exclusive)
{
    for (unsigned i = start; i < stop; i++)
        if (in_the_way(who, i, exclusive))
            return false;
    return true;
}

static void model_set(unsigned who, unsigned start, unsigned stop, enum had what)
{
    for (unsigned i = start; i < stop; i++)
        model[who][i] = what;
}

/* The last byte stands for all behind it. */
static uint64_t end_of(unsigned stop)
{
    return stop == BYTES ? UINT64_MAX : stop;
}

/* ---- random operations --------------------------------------------------------------------------------- */

static struct lockf lock_of(unsigned who, unsigned start, unsigned stop, bool exclusive)
{
    return (struct lockf){.kind = LOCKF_RECORD,
                          .exclusive = exclusive,
                          .start = start,
                          .end = end_of(stop),
                          .owner = &owner[who],
                          .pid = (int)who};
}

/* What lockf_test finds is in the way, as the model says, and is held by the owner whom it names. */
static void check_found(unsigned who, const struct lockf *asked, const struct lockf *found)
{
    unsigned holder = (unsigned)found->pid;
    uint64_t last = found->end == UINT64_MAX ? BYTES : found->end;

    assert_true(holder != who && found->owner == &owner[holder]);
    assert_true(found->start < asked->end && asked->start < found->end);
    assert_true(asked->exclusive || found->exclusive);
    for (uint64_t i = found->start; i < last; i++)
        assert_int_equal(model[holder][i], found->exclusive ? EXCLUSIVE : SHARED);
    /* A lock is as long as it can be. */
    assert_true(found->start == 0 || model[holder][found->start - 1] != model[holder][found->start]);
    assert_true(last == BYTES || model[holder][last] != model[holder][last - 1]);
}

static void step(struct prng *prng)
{
    unsigned who = prng_below(prng, OWNERS), start = prng_below(prng, BYTES);
    unsigned stop = start + 1 + prng_below(prng, BYTES - start), what = prng_below(prng, 8);
    bool exclusive = what % 2 == 0;
    struct lockf lock = lock_of(who, start, stop, exclusive), found = lock;
    bool is_free = range_is_free(who, start, stop, exclusive);

    if (what < 4) {
        assert_int_equal(lockf_set(&test_inode, &lock, false), is_free ? 0 : -EAGAIN);
        if (is_free)
            model_set(who, start, stop, exclusive ? EXCLUSIVE : SHARED);
    } else if (what < 6) {
        assert_int_equal(lockf_clear(&test_inode, &lock), 0);
        model_set(who, start, stop, NONE);
    } else if (what == 6 && prng_below(prng, 10) == 0) {
        lockf_release_owner(&owner[(who + 1) % OWNERS], &owner[who]); /* by any file of the inode */
        model_set(who, 0, BYTES, NONE);
    } else {
        assert_int_equal(lockf_test(&test_inode, &found), !is_free);
        if (!is_free)
            check_found(who, &lock, &found);
    }
}

static void test_random(void **state)
{
    uint64_t rounds = test_rounds(test_budget(30)), only = test_seed(0);

    (void)state;
    for (uint64_t i = 1; i <= (only != 0 ? 1 : rounds); i++) {
        uint64_t seed = only != 0 ? only : test_seed(i);
        struct prng prng;
        begin(seed);
        prng_init(&prng, seed);
        for (unsigned k = 0; k < STEPS; k++)
            step(&prng);
        end();
    }
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

static int waited = 1;

static void wait_all(void *arg)
{
    struct lockf lock = lock_of(*(unsigned *)arg, 0, BYTES, true);

    waited = lockf_set(&test_inode, &lock, true);
}

/* Fibers that can run, run until they wait. */
static void settle(void)
{
    struct machine_lock lock = {0};

    machine_lock(&lock);
    machine_wait(&lock, &lock, machine_time_ns() + 1000000);
    machine_unlock(&lock);
}

static void waits_main(void *arg)
{
    unsigned one = 1;
    struct lockf first = lock_of(0, 0, 10, false), second = lock_of(1, 20, 30, true);
    struct lockf third = lock_of(0, 20, 30, false);

    (void)arg;
    assert_int_equal(lockf_set(&test_inode, &first, true), 0);
    assert_int_equal(lockf_set(&test_inode, &second, true), 0);
    sim_run("waits", wait_all, &one);
    settle();
    assert_int_equal(waited, 1); /* still */
    /* 1 waits for 0, so 0 must not wait for 1; nor 2 for itself over both: that is no circle, and is not
     * tried. */
    assert_int_equal(lockf_set(&test_inode, &third, true), -EDEADLK);
    assert_int_equal(lockf_clear(&test_inode, &first), 0);
    settle();
    assert_int_equal(waited, 0);
    signalled = true;
    assert_int_equal(lockf_set(&test_inode, &third, true), -ERESTART);
}

static void test_waits(void **state)
{
    (void)state;
    begin(3);
    sim_run("main", waits_main, NULL);
    sim_join_all();
    end();
}

/* flock and record locks know nothing of each other. */
static void test_kinds(void **state)
{
    struct lockf record = lock_of(0, 0, BYTES, true), all = lock_of(1, 0, BYTES, true);

    (void)state;
    begin(4);
    all.kind = LOCKF_FLOCK;
    assert_int_equal(lockf_set(&test_inode, &record, false), 0);
    assert_int_equal(lockf_set(&test_inode, &all, false), 0);
    all.owner = &owner[2];
    assert_int_equal(lockf_set(&test_inode, &all, false), -EAGAIN);
    lockf_release_file(&owner[1]);
    assert_int_equal(lockf_set(&test_inode, &all, false), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_waits),
                                       cmocka_unit_test(test_kinds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
