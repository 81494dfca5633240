/*
 * registry_memory.h: the memory that the Faultline processes of one user share, and
 * the places of processes in it (registry_memory.c). For the parts of the registry.
 *
 *   /dev/shm/faultline-UID-1:   | head | peer | peer | … | overflow flags | bucket | bucket | bucket | …
 *                                        generation, pid,                    16 records: owner, device,
 *                                        files opened for writing            inode, state
 *
 * A process is a peer: it has a place, which it keeps by a record lock (F_OFD_SETLK)
 * on the byte of that number. The kernel drops the lock with the process. As an
 * owner of records it is named by its place and the place's generation.
 *
 * Locks: none in memory; all words are atomic.
 */
#ifndef RUN_REGISTRY_MEMORY_H
#define RUN_REGISTRY_MEMORY_H

#include "shim.h"
#include <sys/types.h>

#define REGISTRY_VERSION 1
#define PEERS            1024
#define BUCKETS          16384
#define BUCKET_RECORDS   16
#define FILTER_BITS      8192

#define OWNER_CLEARING UINT64_MAX /* the record is being taken down */

struct registry_record {
    _Atomic uint64_t owner; /* 0: free; OWNER_CLEARING; else generation << 32 | place + 1 */
    _Atomic uint64_t dev;
    _Atomic uint64_t ino;
    _Atomic uint32_t state; /* STATE_* (registry_records.h), a futex; 0: no record, or not yet */
    uint32_t pad;
};

struct registry_peer {
    _Atomic uint32_t generation;
    _Atomic uint32_t pid;
    _Atomic uint32_t asked; /* grows when a record of the peer becomes WANTED */
    _Atomic uint32_t held;  /* HELD records of this peer; too low after a kill, never too high */
    _Atomic uint64_t writes[FILTER_BITS / 64];
};

struct registry {
    uint32_t reserved;           /* 0: the version stands in the name of the file */
    _Atomic uint32_t peers_high; /* no peer ever had this place, or a higher one */
    _Atomic uint32_t held;       /* HELD records of all peers; too high after a kill, never too low */
    uint32_t pad;
    struct registry_peer peer[PEERS];
    _Atomic uint8_t overflowed[BUCKETS]; /* a record of the bucket went to the next bucket, once */
    struct registry_record record[BUCKETS][BUCKET_RECORDS];
};

extern struct registry *registry;           /* NULL: this process has no part in a registry */
extern uint64_t registry_me;                /* constant once there is a registry: this process as an owner */
extern struct registry_peer *registry_self; /* … and as a peer */

/* ---- joining and leaving --------------------------------------------------------------------------- */

/*
 * Maps the user's registry, and takes a place. Errors: of
 * open, mmap, madvise; -EPERM; -EUSERS: no place is free.
 */
FL_NODISCARD int registry_join(void);
/* In the child of a fork, whose descriptors are its own and whose memory has no registry. */
void registry_memory_fork_child(void);

/* ---- peers ----------------------------------------------------------------------------------------- */

struct registry_peer *owner_peer(uint64_t owner);
/* Whether the owner still has its place. Two loads; a killed process may still count. */
bool owner_is_current(uint64_t owner);
/* … and lives: its lock is held. A system call. */
bool owner_lives(uint64_t owner);

/* ---- files opened for writing ---------------------------------------------------------------------- */

/* The hash of a file, for its bucket and for the filters. */
uint64_t registry_hash(dev_t dev, ino_t ino);
/* A peer's filter says whether it may have opened a file of that hash for writing. A no is certain. */
bool filter_has(const struct registry_peer *peer, uint64_t hash);
void filter_add(struct registry_peer *peer, uint64_t hash);
/* A living peer other than this one that has the file open for writing, managed or not: its process, or 0. */
pid_t filter_writer(dev_t dev, ino_t ino, uint64_t hash);

#endif
