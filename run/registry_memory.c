/*
 * registry_memory.c: the memory that the Faultline processes of one
 * user share, and the places of processes in it (registry_memory.h).
 *
 * Files that a process opens for writing and does not manage have no record, since the shim does not see
 * every close. A hash of each goes into the peer's filter, and stays there. A process that finds its
 * file in a peer's filter asks /proc whether the peer really has the file open or mapped for writing.
 *
 * Invariant RG3: a peer's generation grows before its place is used again.
 *
 * Locks: a place is kept by a record lock, for as long as the process lives: it
 * tells whether the process is alive, and orders nothing. So the mapping, which
 * would keep the open file and its locks, is not inherited (MADV_DONTFORK).
 */
#include "registry_memory.h"
#include "peer_files.h"
#include <fcntl.h>
#include <linux_fd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct registry *registry;
uint64_t registry_me;
struct registry_peer *registry_self;

static int registry_fd = -1; /* constant once there is a registry */

/* ---- peers ----------------------------------------------------------------------------------------- */

static struct flock place_lock(short type, uint32_t place)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
}

struct registry_peer *owner_peer(uint64_t owner)
{
    return &registry->peer[(uint32_t)owner - 1];
}

bool owner_is_current(uint64_t owner)
{
    uint32_t place = (uint32_t)owner - 1;

    return place < PEERS && registry->peer[place].generation == (uint32_t)(owner >> 32);
}

bool owner_lives(uint64_t owner)
{
    struct flock lock = place_lock(F_WRLCK, (uint32_t)owner - 1);

    if (!owner_is_current(owner))
        return false;
    return linux_syscall(SYS_fcntl, registry_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* ---- files opened for writing ---------------------------------------------------------------------- */

uint64_t registry_hash(dev_t dev, ino_t ino)
{
    uint64_t h = (dev * 31 + ino) * 0x9e3779b97f4a7c15u;

    return h ^ h >> 29;
}

bool filter_has(const struct registry_peer *peer, uint64_t hash)
{
    uint64_t bit = hash >> 40 & (FILTER_BITS - 1);

    return (peer->writes[bit / 64] >> bit % 64 & 1) != 0;
}

void filter_add(struct registry_peer *peer, uint64_t hash)
{
    uint64_t bit = hash >> 40 & (FILTER_BITS - 1);

    if (!filter_has(peer, hash))
        atomic_fetch_or(&peer->writes[bit / 64], (uint64_t)1 << bit % 64);
}

pid_t filter_writer(dev_t dev, ino_t ino, uint64_t hash)
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

/* ---- joining and leaving --------------------------------------------------------------------------- */

/*
 * Opens the file, which no other user can have put there. Errors: of open(2), fstat(2), ftruncate(2); -EPERM.
 */
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
        registry->held -= atomic_exchange(&peer->held, 0); /* of the process before, which was killed */
        registry_me = (uint64_t)++peer->generation << 32 | (place + 1);
        for (size_t i = 0; i < FILTER_BITS / 64; i++)
            peer->writes[i] = 0;
        peer->pid = (uint32_t)linux_syscall(SYS_getpid);
        registry_self = peer;
        while (high <= place && !atomic_compare_exchange_weak(&registry->peers_high, &high, place + 1))
            ;
        return 0;
    }
    return -EUSERS;
}

/* Maps the file, and takes a place. */
static int registry_enter(void)
{
    long memory = linux_syscall(SYS_mmap, 0, sizeof(struct registry), PROT_READ | PROT_WRITE, MAP_SHARED,
                                registry_fd, 0);
    int error;

    if (linux_syscall_failed(memory))
        return (int)memory;
    registry = (struct registry *)memory;
    error = (int)linux_syscall(SYS_madvise, registry, sizeof *registry, MADV_DONTFORK);
    return error != 0 ? error : place_take();
}

int registry_join(void)
{
    int error;

    registry_fd = registry_open();
    error = registry_fd < 0 ? registry_fd : registry_enter();
    if (error != 0 && registry_fd >= 0)
        linux_fd_close(registry_fd);
    if (error != 0) {
        registry_fd = -1;
        registry = NULL;
    }
    return error;
}

void registry_memory_fork_child(void)
{
    if (registry_fd >= 0)
        linux_syscall(SYS_close, registry_fd);
    registry_fd = -1;
    registry = NULL;
}
