/*
 * registry.h: which files the Faultline processes of one user manage, so that
 * no two caches of a file exist while one of the processes can change it.
 *
 *      one process manages the file                         ─▶ managed
 *      several manage it, and none of them can write it     ─▶ managed in all of them
 *      anything else: two writers, a writer and a reader    ─▶ the kernel's in all of them
 *
 * A process claims a file before it maps it, and a writer announces itself
 * before its open(2) returns. The process that comes later and finds a conflict
 * asks the others to hand the file to the kernel, and waits until they have.
 *
 * The registry is a file in memory that all processes of the user share. It must survive a process that is
 * killed at any moment: a record belongs to a place in the table of processes, each place is kept by a record
 * lock, which the kernel drops with the process, and no operation needs a second step by the same process.
 *
 * Context: a function waits for other processes, or may, unless it requires (S). Where
 * there is no registry, every file may be managed, and watch.c notices other processes.
 */
#ifndef RUN_REGISTRY_H
#define RUN_REGISTRY_H

#include "shim.h"
#include <sys/types.h>

/* Joins the user's registry, if there can be one; with --verbose it says so when there is none. Once. */
void registry_start(void);
/* The child of a fork has no part in it. */
void registry_fork_child(void);

/* ---- claims ---------------------------------------------------------------------------------------- */

enum registry_verdict {
    REGISTRY_MANAGED, /* the file may be managed here */
    REGISTRY_KERNELS, /* the file is the kernel's, here and in all other processes, as long as they live */
};

/*
 * The process is about to manage the file, and may write it or not. A few loads when no other
 * process uses the file. *with: the process that shares it, when the file is the kernel's;
 * else 0. If the file was managed here, the caller must hand it over then (handover.h).
 */
enum registry_verdict registry_claim(dev_t dev, ino_t ino, bool writes, pid_t *with) FL_EXCLUDES(shim_lock);
/*
 * The program opened the file for writing, mapped or not. Returns when no other
 * process manages it any more. False: this process manages it, and must hand it over.
 */
bool registry_opened_for_writing(dev_t dev, ino_t ino) FL_EXCLUDES(shim_lock);
/* What has become of a claim: another process may have asked for the file since. */
enum registry_verdict registry_look(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock);
/* The hand-over has begun, and takes as long as the file's dirty pages take to be written. */
void registry_hand_over_begins(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock);
/* The file is the kernel's in this process from now on; processes that wait for that go on. */
void registry_hand_over(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock);
/* The file is not managed here any more, and nothing of it is cached. */
void registry_forget(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock);

/* ---- questions ------------------------------------------------------------------------------------- */

/* Whether another process manages any file: a load or two, which save the lookup of a file. */
bool registry_is_shared(void);
/* Whether another process manages the file. */
bool registry_is_held(dev_t dev, ino_t ino);
/* Whether this process may have opened the file for writing since it started. A no is certain. */
bool registry_may_write(dev_t dev, ino_t ino);

/* ---- for watch.c ----------------------------------------------------------------------------------- */

/* Wakes this process's own watcher, so that it looks at its descriptors again. */
void registry_wake_self(void);
/* The socket on which others ask, or -1; and the next file that they ask for. */
int registry_socket(void);
bool registry_asked(dev_t *dev, ino_t *ino);
/* Whether another process asked since the last call, also one whose datagram was lost. */
bool registry_anything_asked(void);

#endif
