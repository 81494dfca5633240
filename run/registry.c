/*
 * registry.c: claims on files, among the Faultline processes of one user (registry.h).
 *
 *   registry_claim ─▶ record_insert ─▶ others? ─ no ─▶ managed
 *                                        │ yes
 *                                     conflict: WANTED, inbox_ask ─▶ wait until they have handed it over
 *                                        └─▶ claim_again: the others let go of it altogether ─▶ managed
 *                                                         else ─▶ the kernel's
 *
 *   parts: registry_memory.c (shared memory, places, filters), registry_records.c, registry_inbox.c
 *
 * A process inserts its own record first and looks for others afterwards, both sequentially
 * consistent. So of two processes that come at once, at least one sees the other, and gives way.
 *
 * Locks: none in the shared memory; (S) orders what one process does with its own records after the claim.
 *
 * Does not do: other users' processes (watch.c notices
 * them); file systems that give one file two device numbers.
 */
#include "registry.h"
#include "peer_files.h"
#include "registry_inbox.h"
#include "registry_records.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <linux_fd.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WAIT_ANSWER_NS  3000000000ull  /* a process that has not begun by then is stopped, or hangs */
#define WAIT_WRITTEN_NS 60000000000ull /* a process that has begun has so long to write its dirty pages */
#define WAIT_LOOK_NS    20000000ull    /* between two looks whether it is alive */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- other processes ------------------------------------------------------------------------------- */

/* The other processes that use a file, and what they mean for this one. */
struct others {
    dev_t dev;
    ino_t ino;
    bool writes;    /* this process may write it */
    bool wanted;    /* the processes that manage it are to hand it over */
    uint32_t found; /* how many use it in a way that does not allow another cache */
    pid_t with;     /* one of them */
};

static int others_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    struct others *others = arg;

    if (owner == registry_me || (!others->writes && (state & STATE_WRITES) == 0))
        return 0;
    if (!owner_lives(owner)) {
        record_take_down(record, owner);
        return 0;
    }
    others->found++;
    others->with = (pid_t)owner_peer(owner)->pid;
    for (uint32_t sequence = state / STATE_SEQUENCE; others->wanted && state / STATE_SEQUENCE == sequence &&
                                                     (state & (STATE_HELD | STATE_WANTED)) == STATE_HELD;) {
        if (atomic_compare_exchange_weak(&record->state, &state, state | STATE_WANTED)) {
            inbox_ask(owner, others->dev, others->ino);
            break;
        }
    }
    return 0;
}

static void record_wait(struct registry_record *record, uint32_t state)
{
    const struct timespec moment = {0, WAIT_LOOK_NS};

    linux_syscall(SYS_futex, &record->state, FUTEX_WAIT, state, &moment, NULL, 0);
}

/* A process that did not answer once, as an owner: it is not waited for again. */
static _Atomic uint64_t silent_owner;

static bool record_answers(const struct registry_record *record, uint64_t owner, uint32_t state)
{
    return (state & (STATE_HELD | STATE_WANTED)) != (STATE_HELD | STATE_WANTED) || record->owner != owner ||
           !owner_lives(owner);
}

/* Returns when the record is the kernel's, or gone, or its owner dead, or silent: the last is said. */
static int await_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    uint64_t begun = now_ns();

    (void)arg;
    if (owner == registry_me || (state & STATE_WANTED) == 0 || owner == silent_owner)
        return 0;
    while (!record_answers(record, owner, state)) {
        if (now_ns() - begun > ((state & STATE_MOVING) != 0 ? WAIT_WRITTEN_NS : WAIT_ANSWER_NS)) {
            shim_say("process %u does not hand over a file that it shares with this one: is it stopped? What "
                     "it wrote may be missing here",
                     (unsigned)owner_peer(owner)->pid);
            silent_owner = owner;
            return 0;
        }
        record_wait(record, state);
        state = record->state;
    }
    return 0;
}

/* ---- claims ---------------------------------------------------------------------------------------- */

/*
 * Another process uses the file. If the file is not managed here yet, it is the
 * kernel's at once. If it is, this process's watcher hands it over, as if another
 * process had asked: the caller may wait here for a process that waits for this one.
 */
static void conflict(struct registry_record *own, bool managed, struct others *others, uint64_t hash)
{
    others->wanted = true;
    if (!managed) {
        own_change(own, STATE_HELD, STATE_KERNEL);
    } else {
        own_change(own, 0, STATE_WANTED);
        inbox_ask(registry_me, others->dev, others->ino);
    }
    (void)records_each(others->dev, others->ino, hash, others_visit, others);
    (void)records_each(others->dev, others->ino, hash, await_visit, NULL);
}

/* Looks for others, after the own record says what this process does. True: there are none. */
static bool claim_is_alone(struct others *others, uint64_t hash)
{
    others->found = 0;
    others->wanted = false;
    (void)records_each(others->dev, others->ino, hash, others_visit, others);
    if (others->found == 0) {
        others->with = filter_writer(others->dev, others->ino, hash);
        others->found = others->with != 0;
    }
    return others->found == 0;
}

/*
 * The processes that were asked have answered. Where nothing mapped the file any more,
 * it was only idle there, and has been closed: then it may be managed here after all.
 */
static enum registry_verdict claim_again(struct registry_record *own, struct others *others, uint64_t hash)
{
    own_change(own, STATE_KERNEL, STATE_HELD);
    if (claim_is_alone(others, hash))
        return REGISTRY_MANAGED;
    own_change(own, STATE_HELD, STATE_KERNEL);
    return REGISTRY_KERNELS;
}

/* The own record says already what this process does. */
static bool claim_stands(const struct registry_record *own, bool writes)
{
    uint32_t state = own->state;

    return (state & STATE_KERNEL) != 0 || !writes || (state & STATE_WRITES) != 0;
}

enum registry_verdict registry_claim(dev_t dev, ino_t ino, bool writes, pid_t *with)
{
    uint64_t hash = registry_hash(dev, ino);
    struct others others = {.dev = dev, .ino = ino};
    struct registry_record *own;
    bool managed;

    *with = 0;
    if (registry == NULL)
        return REGISTRY_MANAGED;
    writes |= registry_may_write(dev, ino);
    others.writes = writes;
    own = own_record(dev, ino, hash);
    managed = own != NULL;
    if (managed && claim_stands(own, writes))
        return (own->state & (STATE_KERNEL | STATE_WANTED)) != 0 ? REGISTRY_KERNELS : REGISTRY_MANAGED;
    if (!managed) {
        own = record_insert(dev, ino, hash, writes ? STATE_WRITES : 0);
        if (own == NULL)
            return REGISTRY_KERNELS; /* the table is full: no other process could know of the claim */
        own_change(own, 0, STATE_HELD);
    } else {
        own_change(own, 0, STATE_WRITES);
    }
    if (claim_is_alone(&others, hash))
        return REGISTRY_MANAGED;
    conflict(own, managed, &others, hash);
    if (!managed && claim_again(own, &others, hash) == REGISTRY_MANAGED)
        return REGISTRY_MANAGED;
    *with = others.with;
    return REGISTRY_KERNELS;
}

bool registry_opened_for_writing(dev_t dev, ino_t ino)
{
    uint64_t hash = registry_hash(dev, ino);
    struct others others = {.dev = dev, .ino = ino, .writes = true, .wanted = true};
    struct registry_record *own;
    pid_t with;

    if (registry == NULL)
        return true;
    filter_add(registry_self, hash);
    if (registry->held == 0)
        return true;
    own = own_record(dev, ino, hash);
    if (own != NULL)
        return registry_claim(dev, ino, true, &with) == REGISTRY_MANAGED;
    if (!registry_is_shared())
        return true;
    (void)records_each(dev, ino, hash, others_visit, &others);
    if (others.found != 0)
        (void)records_each(dev, ino, hash, await_visit, NULL);
    return true;
}

/* ---- this process's record of the file -------------------------------------------------------------- */

static struct registry_record *own_record_of(dev_t dev, ino_t ino)
{
    return registry != NULL ? own_record(dev, ino, registry_hash(dev, ino)) : NULL;
}

enum registry_verdict registry_look(dev_t dev, ino_t ino)
{
    struct registry_record *own = own_record_of(dev, ino);

    return own != NULL && (own->state & (STATE_KERNEL | STATE_WANTED)) != 0 ? REGISTRY_KERNELS
                                                                            : REGISTRY_MANAGED;
}

void registry_hand_over_begins(dev_t dev, ino_t ino)
{
    struct registry_record *own = own_record_of(dev, ino);

    if (own != NULL)
        own_change(own, 0, STATE_MOVING);
}

void registry_hand_over(dev_t dev, ino_t ino)
{
    struct registry_record *own = own_record_of(dev, ino);

    if (own != NULL)
        own_change(own, STATE_HELD | STATE_MOVING, STATE_KERNEL);
}

void registry_forget(dev_t dev, ino_t ino)
{
    struct registry_record *own = own_record_of(dev, ino);

    if (own == NULL || (own->state & STATE_KERNEL) != 0)
        return;
    own_change(own, STATE_HELD, 0);
    record_take_down(own, registry_me);
}

/* ---- questions ------------------------------------------------------------------------------------- */

bool registry_is_shared(void)
{
    return registry != NULL && registry->held > registry_self->held;
}

static int held_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    (void)record;
    (void)arg;
    return owner != registry_me && (state & STATE_HELD) != 0 && owner_lives(owner);
}

bool registry_is_held(dev_t dev, ino_t ino)
{
    return registry_is_shared() && records_each(dev, ino, registry_hash(dev, ino), held_visit, NULL) != 0;
}

bool registry_may_write(dev_t dev, ino_t ino)
{
    return registry == NULL || filter_has(registry_self, registry_hash(dev, ino));
}

/* ---- start and fork -------------------------------------------------------------------------------- */

/* A file that the process was started with, open for writing. */
static int file_visit(int fd, void *arg)
{
    struct stat st;
    long flags = linux_syscall(SYS_fcntl, fd, F_GETFL);

    (void)arg;
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && linux_syscall(SYS_fstat, fd, &st) == 0 &&
        S_ISREG(st.st_mode) && !linux_fd_is_ours(fd))
        filter_add(registry_self, registry_hash(st.st_dev, st.st_ino));
    return 0;
}

void registry_start(void)
{
    int error = registry_join();

    if (error != 0) {
        shim_verbose("other processes under Faultline are not known here: /dev/shm/faultline-%u-%d: %s",
                     (unsigned)linux_syscall(SYS_geteuid), REGISTRY_VERSION, strerrordesc_np(-error));
        return;
    }
    inbox_open();
    (void)peer_files_each(0, file_visit, NULL);
}

void registry_fork_child(void)
{
    registry_memory_fork_child();
    inbox_fork_child();
}
