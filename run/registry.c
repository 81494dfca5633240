/*
 * registry.c: the table of files that the Faultline processes of one user have (registry.h).
 *
 *   /dev/shm/faultline-UID-1:   | head | peer | peer | … | overflow flags | bucket | bucket | bucket | …
 *                                        generation, pid,                    16 records: owner, device,
 *                                        files opened for writing            inode, state
 *
 *   state:  0 ──insert──▶ HELD, or HELD + WRITES ──another asks──▶ + WANTED ──▶ + AT_IT ──▶ KERNEL
 *           each change is a compare-and-swap, and a futex that others wait on
 *
 * Who claims a file inserts its own record first and looks for others afterwards, both sequentially
 * consistent; so of two that come at once at least one sees the other, and gives way. A record is nobody's
 * once its owner's generation is not that of its place among the peers, or the place's lock is free: it is
 * taken down by whoever comes across it. The sequence number in a state keeps a compare-and-swap from
 * meeting the next record in the same place.
 *
 * Files that a process opens for writing and does not manage have no record, since closing them is not
 * seen. A hash of each goes into the peer's filter, and stays: who finds its file in there asks /proc
 * whether the peer really has it open (or mapped) for writing.
 *
 * Invariants: RG1 a record with a state other than 0 says whose it is and of which file. RG2 only the owner
 * inserts and takes down a living record, and only the owner makes HELD of it; others add WANTED. RG3 a
 * peer's generation grows before its place is used again.
 *
 * Locks: none; (S) orders what one process does with its own records after the claim.
 *
 * Does not do: different users (watch.c notices them), file systems that give one file two device numbers.
 */
#include "registry.h"
#include "shim.h"
#include "peer_files.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <linux_fd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define REGISTRY_VERSION 1
#define PEERS            1024
#define BUCKETS          16384
#define BUCKET_RECORDS   16
#define BUCKETS_MOST     64 /* that one file's records may be spread over */
#define FILTER_BITS      8192

#define WAIT_ANSWER_NS  3000000000ull  /* a process that does not begin by then is stopped, or hangs */
#define WAIT_WRITTEN_NS 60000000000ull /* one that began has that long for its dirty pages */
#define WAIT_LOOK_NS    20000000ull    /* between looks whether it is alive */

/* registry_record.state */
#define STATE_HELD     0x1
#define STATE_WRITES   0x2
#define STATE_KERNEL   0x4
#define STATE_WANTED   0x8
#define STATE_AT_IT    0x10
#define STATE_SEQUENCE 0x100 /* and above */

struct registry_record {
    _Atomic uint64_t owner; /* 0: free; OWNER_NOBODY; else place + 1, and the generation in the upper half */
    _Atomic uint64_t dev;
    _Atomic uint64_t ino;
    _Atomic uint32_t state; /* STATE_*; 0: not there (yet) */
    uint32_t pad;
};
#define OWNER_NOBODY UINT64_MAX /* being taken down */

struct registry_peer {
    _Atomic uint32_t generation;
    _Atomic uint32_t pid;
    _Atomic uint32_t asked; /* grows when one of its records becomes WANTED */
    _Atomic uint32_t held;  /* of registry.held, those of this peer; too low after a kill, never too high */
    _Atomic uint64_t writes[FILTER_BITS / 64];
};

struct registry {
    _Atomic uint32_t version;
    _Atomic uint32_t peers_high; /* no peer ever had a higher place */
    _Atomic uint32_t held;       /* records with HELD, of whoever; too high after a kill, never too low */
    uint32_t pad;
    struct registry_peer peer[PEERS];
    _Atomic uint8_t overflowed[BUCKETS]; /* some record of the bucket went to the next one, once */
    struct registry_record record[BUCKETS][BUCKET_RECORDS];
};

static struct registry *registry; /* NULL: there is none */
static uint64_t registry_me;      /* (c) as an owner */
static uint32_t registry_place;   /* (c) */
static int registry_fd = -1;      /* (c) */
static int inbox_fd = -1;         /* (c) */
static _Atomic uint32_t asked_seen;

/* ---- peers ----------------------------------------------------------------------------------------- */

static struct flock place_lock(short type, uint32_t place)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
}

static struct registry_peer *owner_peer(uint64_t owner)
{
    return &registry->peer[(uint32_t)owner - 1];
}

/* Whether the record's owner is the process that inserted it. Cheap, and a killed one may still count. */
static bool owner_is_current(uint64_t owner)
{
    uint32_t place = (uint32_t)owner - 1;

    return place < PEERS && registry->peer[place].generation == (uint32_t)(owner >> 32);
}

/* … and lives. */
static bool owner_lives(uint64_t owner)
{
    struct flock lock = place_lock(F_WRLCK, (uint32_t)owner - 1);

    if (!owner_is_current(owner))
        return false;
    return linux_syscall(SYS_fcntl, registry_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the filter of files opened for writing --------------------------------------------------------- */

static uint64_t key_hash(dev_t dev, ino_t ino)
{
    uint64_t h = (dev * 31 + ino) * 0x9e3779b97f4a7c15u;

    return h ^ h >> 29;
}

static bool filter_has(const struct registry_peer *peer, uint64_t hash)
{
    uint64_t bit = hash >> 40 & (FILTER_BITS - 1);

    return (peer->writes[bit / 64] >> bit % 64 & 1) != 0;
}

static void filter_add(struct registry_peer *peer, uint64_t hash)
{
    uint64_t bit = hash >> 40 & (FILTER_BITS - 1);

    if (!filter_has(peer, hash))
        atomic_fetch_or(&peer->writes[bit / 64], (uint64_t)1 << bit % 64);
}

/* A living peer that has the file open for writing, managed or not: its process, or 0. */
static pid_t writing_peer(dev_t dev, ino_t ino, uint64_t hash)
{
    for (uint32_t place = 0; place < registry->peers_high && place < PEERS; place++) {
        struct registry_peer *peer = &registry->peer[place];
        uint64_t owner = (uint64_t)peer->generation << 32 | (place + 1);
        pid_t pid = (pid_t)peer->pid;

        if (owner != registry_me && filter_has(peer, hash) && owner_lives(owner) &&
            peer_may_write(pid, dev, ino))
            return pid;
    }
    return 0;
}

/* ---- records --------------------------------------------------------------------------------------- */

/*
 * Calls visit for each record of the file, as it is now, until that returns other than 0. A bucket that
 * never overflowed is the last.
 */
static int records_each(dev_t dev, ino_t ino, uint64_t hash,
                        int (*visit)(struct registry_record *record, uint64_t owner, uint32_t state,
                                     void *arg),
                        void *arg)
{
    uint32_t at = (uint32_t)(hash & (BUCKETS - 1));

    for (int most = 0; most < BUCKETS_MOST; most++, at = (at + 1) & (BUCKETS - 1)) {
        for (int i = 0; i < BUCKET_RECORDS; i++) {
            struct registry_record *record = &registry->record[at][i];
            uint32_t state = record->state;
            uint64_t owner = record->owner;
            int r;

            if (state == 0 || record->dev != dev || record->ino != ino || record->state != state)
                continue;
            r = visit(record, owner, state, arg);
            if (r != 0)
                return r;
        }
        if (!registry->overflowed[at])
            break;
    }
    return 0;
}

static void record_take_down(struct registry_record *record, uint64_t owner)
{
    if (!atomic_compare_exchange_strong(&record->owner, &owner, OWNER_NOBODY))
        return;
    record->state = 0;
    record->owner = 0;
}

static int own_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    (void)state;
    if (owner != registry_me)
        return 0;
    *(struct registry_record **)arg = record;
    return 1;
}

static struct registry_record *own_record(dev_t dev, ino_t ino, uint64_t hash)
{
    struct registry_record *record = NULL;

    (void)records_each(dev, ino, hash, own_visit, &record);
    return record;
}

/* A place in one bucket, which is ours then, or NULL. */
static struct registry_record *bucket_take(struct registry_record bucket[BUCKET_RECORDS])
{
    for (int i = 0; i < BUCKET_RECORDS; i++) {
        uint64_t owner = bucket[i].owner;

        if (owner != 0 && owner != OWNER_NOBODY && !owner_is_current(owner)) {
            record_take_down(&bucket[i], owner);
            owner = bucket[i].owner;
        }
        if (owner == 0 && atomic_compare_exchange_strong(&bucket[i].owner, &owner, registry_me))
            return &bucket[i];
    }
    return NULL;
}

/* A new record of ours, or NULL: the table is full there. */
static struct registry_record *record_insert(dev_t dev, ino_t ino, uint64_t hash, uint32_t state)
{
    static _Atomic uint32_t sequence;
    uint32_t at = (uint32_t)(hash & (BUCKETS - 1));

    for (int most = 0; most < BUCKETS_MOST; most++, at = (at + 1) & (BUCKETS - 1)) {
        struct registry_record *record = bucket_take(registry->record[at]);

        if (record == NULL) {
            registry->overflowed[at] = 1;
            continue;
        }
        record->dev = dev;
        record->ino = ino;
        record->state = state | STATE_SEQUENCE * (sequence++ + 1);
        return record;
    }
    return NULL;
}

static void futex_wake(_Atomic uint32_t *word)
{
    linux_syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Clears and sets bits of an own record, and wakes who waits for it. */
static void own_change(struct registry_record *record, uint32_t clear, uint32_t set)
{
    uint32_t state = record->state;

    while (!atomic_compare_exchange_weak(&record->state, &state, (state & ~clear) | set))
        ;
    if ((state & STATE_HELD) != 0 && (clear & STATE_HELD) != 0) {
        registry->peer[registry_place].held--;
        registry->held--;
    } else if ((state & STATE_HELD) == 0 && (set & STATE_HELD) != 0) {
        registry->held++;
        registry->peer[registry_place].held++;
    }
    if ((state & STATE_WANTED) != 0)
        futex_wake(&record->state);
}

/* ---- asking ---------------------------------------------------------------------------------------- */

static socklen_t inbox_address(struct sockaddr_un *address, uint64_t owner)
{
    int len;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    len = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "faultline-%u-%lx",
                   (unsigned)linux_syscall(SYS_geteuid), (unsigned long)owner);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

struct inbox_message {
    uint64_t dev, ino;
};

/* Lost when the other's queue is full or in another network: its watcher looks by itself once a second. */
static void ask(uint64_t owner, dev_t dev, ino_t ino)
{
    const struct inbox_message message = {dev, ino};
    struct sockaddr_un address;
    socklen_t len = inbox_address(&address, owner);

    owner_peer(owner)->asked++;
    linux_syscall(SYS_sendto, inbox_fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL, &address, len);
}

void registry_wake_self(void)
{
    if (registry != NULL)
        ask(registry_me, 0, 0);
}

/* The others of a file, and what they mean to one of us. */
struct others {
    dev_t dev;
    ino_t ino;
    bool writes;    /* we may write it */
    bool ask;       /* who manages it is to hand it over */
    uint32_t found; /* how many it is shared with in a way that no cache may have */
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
    for (uint32_t sequence = state / STATE_SEQUENCE; others->ask && state / STATE_SEQUENCE == sequence &&
                                                     (state & (STATE_HELD | STATE_WANTED)) == STATE_HELD;) {
        if (atomic_compare_exchange_weak(&record->state, &state, state | STATE_WANTED)) {
            ask(owner, others->dev, others->ino);
            break;
        }
    }
    return 0;
}

static void wait_a_little(struct registry_record *record, uint32_t state)
{
    const struct timespec moment = {0, WAIT_LOOK_NS};

    linux_syscall(SYS_futex, &record->state, FUTEX_WAIT, state, &moment, NULL, 0);
}

/* Who did not answer once; it is not waited for again. */
static _Atomic uint64_t silent_owner;

/* Returns when the record is the kernel's, or gone, or its owner dead; or does not answer, which is told. */
static int await_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    uint64_t begun = now_ns();

    (void)arg;
    if (owner == registry_me || (state & STATE_WANTED) == 0 || owner == silent_owner)
        return 0;
    while ((state & (STATE_HELD | STATE_WANTED)) == (STATE_HELD | STATE_WANTED) && record->owner == owner &&
           owner_lives(owner)) {
        if (now_ns() - begun > ((state & STATE_AT_IT) != 0 ? WAIT_WRITTEN_NS : WAIT_ANSWER_NS)) {
            shim_say(
                "process %u does not hand over a file that it shares with this one: is it stopped? What it "
                "wrote may be missing here",
                (unsigned)owner_peer(owner)->pid);
            silent_owner = owner;
            return 0;
        }
        wait_a_little(record, state);
        state = record->state;
    }
    return 0;
}

/* ---- claims ---------------------------------------------------------------------------------------- */

/*
 * A file that is not managed here yet is the kernel's at once; one that is, when it is handed over, which
 * is the watcher's task as if another had asked: who claims it may wait meanwhile for one who waits for us.
 */
static void conflict(struct registry_record *own, bool managed, struct others *others, uint64_t hash)
{
    others->ask = true;
    if (!managed) {
        own_change(own, STATE_HELD, STATE_KERNEL);
    } else {
        own_change(own, 0, STATE_WANTED);
        ask(registry_me, others->dev, others->ino);
    }
    (void)records_each(others->dev, others->ino, hash, others_visit, others);
    (void)records_each(others->dev, others->ino, hash, await_visit, NULL);
}

/* Looks for others, after the own record says what is wanted. True: there are none. */
static bool claim_is_alone(struct others *others, uint64_t hash)
{
    others->found = 0;
    others->ask = false;
    (void)records_each(others->dev, others->ino, hash, others_visit, others);
    if (others->found == 0) {
        others->with = writing_peer(others->dev, others->ino, hash);
        others->found = others->with != 0;
    }
    return others->found == 0;
}

/*
 * Those who were asked have answered. Who had the file but for its cache (nothing of theirs maps it any
 * more) has let go of it altogether: then it may be managed here after all.
 */
static enum registry_verdict claim_again(struct registry_record *own, struct others *others, uint64_t hash)
{
    own_change(own, STATE_KERNEL, STATE_HELD);
    if (claim_is_alone(others, hash))
        return REGISTRY_MANAGED;
    own_change(own, STATE_HELD, STATE_KERNEL);
    return REGISTRY_KERNELS;
}

/* The own record says what is wanted already. */
static bool claim_stands(const struct registry_record *own, bool writes)
{
    uint32_t state = own->state;

    return (state & STATE_KERNEL) != 0 || !writes || (state & STATE_WRITES) != 0;
}

enum registry_verdict registry_claim(dev_t dev, ino_t ino, bool writes, pid_t *with)
{
    uint64_t hash = key_hash(dev, ino);
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
            return REGISTRY_KERNELS; /* no room to say that it is ours */
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
    uint64_t hash = key_hash(dev, ino);
    struct others others = {.dev = dev, .ino = ino, .writes = true, .ask = true};
    struct registry_record *own;
    pid_t with;

    if (registry == NULL)
        return true;
    filter_add(&registry->peer[registry_place], hash);
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

bool registry_is_shared(void)
{
    return registry != NULL && registry->held > registry->peer[registry_place].held;
}

static int held_visit(struct registry_record *record, uint64_t owner, uint32_t state, void *arg)
{
    (void)record;
    (void)arg;
    return owner != registry_me && (state & STATE_HELD) != 0 && owner_lives(owner);
}

bool registry_is_held(dev_t dev, ino_t ino)
{
    return registry_is_shared() && records_each(dev, ino, key_hash(dev, ino), held_visit, NULL) != 0;
}

bool registry_may_write(dev_t dev, ino_t ino)
{
    return registry == NULL || filter_has(&registry->peer[registry_place], key_hash(dev, ino));
}

enum registry_verdict registry_look(dev_t dev, ino_t ino)
{
    struct registry_record *own = registry != NULL ? own_record(dev, ino, key_hash(dev, ino)) : NULL;

    return own != NULL && (own->state & (STATE_KERNEL | STATE_WANTED)) != 0 ? REGISTRY_KERNELS
                                                                            : REGISTRY_MANAGED;
}

void registry_hand_over_begins(dev_t dev, ino_t ino)
{
    struct registry_record *own = registry != NULL ? own_record(dev, ino, key_hash(dev, ino)) : NULL;

    if (own != NULL)
        own_change(own, 0, STATE_AT_IT);
}

void registry_hand_over(dev_t dev, ino_t ino)
{
    struct registry_record *own = registry != NULL ? own_record(dev, ino, key_hash(dev, ino)) : NULL;

    if (own != NULL)
        own_change(own, STATE_HELD | STATE_AT_IT, STATE_KERNEL);
}

void registry_forget(dev_t dev, ino_t ino)
{
    struct registry_record *own = registry != NULL ? own_record(dev, ino, key_hash(dev, ino)) : NULL;

    if (own == NULL || (own->state & STATE_KERNEL) != 0)
        return;
    own_change(own, STATE_HELD, 0);
    record_take_down(own, registry_me);
}

/* ---- being asked ----------------------------------------------------------------------------------- */

int registry_socket(void)
{
    return inbox_fd;
}

bool registry_asked(dev_t *dev, ino_t *ino)
{
    struct inbox_message message;

    if (inbox_fd < 0 ||
        linux_syscall(SYS_recvfrom, inbox_fd, &message, sizeof message, MSG_DONTWAIT) != (long)sizeof message)
        return false;
    *dev = message.dev;
    *ino = message.ino;
    return true;
}

bool registry_anything_asked(void)
{
    uint32_t asked = registry != NULL ? registry->peer[registry_place].asked : 0;

    return atomic_exchange(&asked_seen, asked) != asked;
}

static void inbox_open(void)
{
    struct sockaddr_un address;
    socklen_t len = inbox_address(&address, registry_me);
    int fd = (int)linux_syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return;
    inbox_fd = linux_fd_dup(fd);
    linux_syscall(SYS_close, fd);
    if (inbox_fd >= 0)
        (void)linux_syscall(SYS_bind, inbox_fd, &address, len);
}

/* ---- joining --------------------------------------------------------------------------------------- */

/* The file, which nobody else could have put there. Errors: of open(2) and fstat(2); -EPERM. */
static int registry_open(void)
{
    unsigned uid = (unsigned)linux_syscall(SYS_geteuid);
    struct stat st;
    char path[64];
    int low, fd;
    long error;

    snprintf(path, sizeof path, "/dev/shm/faultline-%u-%d", uid, REGISTRY_VERSION);
    low = (int)linux_syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (low < 0)
        return low;
    fd = linux_fd_dup(low);
    linux_syscall(SYS_close, low);
    if (fd < 0)
        return fd;
    error = linux_syscall(SYS_fstat, fd, &st);
    if (error == 0 && (!S_ISREG(st.st_mode) || st.st_uid != uid || (st.st_mode & 077) != 0))
        error = -EPERM;
    if (error == 0 && (size_t)st.st_size < sizeof(struct registry))
        error = linux_syscall(SYS_ftruncate, fd, sizeof(struct registry));
    if (error != 0)
        linux_fd_close(fd);
    return error != 0 ? (int)error : fd;
}

/* Takes the first free place. Errors: -EUSERS. */
static int place_take(void)
{
    for (uint32_t place = 0; place < PEERS; place++) {
        struct flock lock = place_lock(F_WRLCK, place);
        struct registry_peer *peer = &registry->peer[place];
        uint32_t high = registry->peers_high;

        if (linux_syscall(SYS_fcntl, registry_fd, F_OFD_SETLK, &lock) != 0)
            continue;
        peer->pid = 0;
        registry->held -= atomic_exchange(&peer->held, 0); /* of the one before, which was killed */
        registry_me = (uint64_t)++peer->generation << 32 | (place + 1);
        for (size_t i = 0; i < FILTER_BITS / 64; i++)
            peer->writes[i] = 0;
        peer->pid = (uint32_t)linux_syscall(SYS_getpid);
        registry_place = place;
        asked_seen = peer->asked;
        while (high <= place && !atomic_compare_exchange_weak(&registry->peers_high, &high, place + 1))
            ;
        return 0;
    }
    return -EUSERS;
}

static void registry_leave(void)
{
    if (registry_fd >= 0)
        linux_fd_close(registry_fd);
    registry_fd = -1;
    registry = NULL;
}

static int file_visit(int fd, void *arg)
{
    struct stat st;
    long flags = linux_syscall(SYS_fcntl, fd, F_GETFL);

    (void)arg;
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && linux_syscall(SYS_fstat, fd, &st) == 0 &&
        S_ISREG(st.st_mode) && !linux_fd_is_ours(fd))
        filter_add(&registry->peer[registry_place], key_hash(st.st_dev, st.st_ino));
    return 0;
}

void registry_start(void)
{
    long memory;
    int error = registry_fd = registry_open();

    if (error >= 0) {
        memory = linux_syscall(SYS_mmap, 0, sizeof(struct registry), PROT_READ | PROT_WRITE, MAP_SHARED,
                               registry_fd, 0);
        error = linux_syscall_failed(memory) ? (int)memory : 0;
        registry = error == 0 ? (struct registry *)memory : NULL;
    }
    /* A mapping keeps the open file, and with it the lock of our place, which is to end with this process. */
    if (error == 0)
        error = (int)linux_syscall(SYS_madvise, registry, sizeof *registry, MADV_DONTFORK);
    if (error == 0)
        error = place_take();
    if (error != 0) {
        registry_leave();
        shim_verbose("other processes under Faultline are not known here: /dev/shm/faultline-%u-%d: %s",
                     (unsigned)linux_syscall(SYS_geteuid), REGISTRY_VERSION, strerrordesc_np(-error));
        return;
    }
    inbox_open();
    (void)peer_files_each(0, file_visit, NULL); /* what the process was started with */
}

void registry_fork_child(void)
{
    if (registry_fd >= 0)
        linux_syscall(SYS_close, registry_fd);
    if (inbox_fd >= 0)
        linux_syscall(SYS_close, inbox_fd);
    registry_fd = inbox_fd = -1;
    registry = NULL;
}
