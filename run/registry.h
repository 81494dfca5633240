/*
 * registry.h: which files the Faultline processes of one user have, so that no two caches of one file meet
 * while one of them can change it.
 *
 *      one process manages the file                         ─▶ managed
 *      several manage it, and none of them can write it     ─▶ managed in all of them
 *      anything else: two writers, a writer and a reader    ─▶ the kernel's in all of them
 *
 * A process claims a file before it maps it, and a writer announces itself before its open(2) returns.
 * Whoever comes second and finds a conflict asks the others to hand the file to the kernel, and waits until
 * they have.
 *
 * The registry is a file in memory that all processes of the user share. It must survive a process that is
 * killed at any moment: a record belongs to a place in the table of processes, each place is kept by a
 * record lock (F_OFD_SETLK), which the kernel drops with the process, and no operation needs a second step
 * by the same process.
 *
 * Context: everything here but registry_start waits for other processes, or may; so nothing is called with
 * (S) held unless its comment says so. Where no registry can be had, every file may be managed, and what
 * other processes do is found out by watch.c.
 */
#ifndef RUN_REGISTRY_H
#define RUN_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Joins the user's registry, if there can be one; that there is none is told with --verbose. Once. */
void registry_start(void);
/* In the child of a fork, which has no part in it. */
void registry_fork_child(void);

enum registry_verdict {
    REGISTRY_MANAGED, /* the file may be managed here */
    REGISTRY_KERNELS, /* it is the kernel's, here and in all other processes, as long as they live */
};

/*
 * The process is about to manage the file (device, inode), and may write it or not. Cheap when nobody else
 * has it. `*with`: the process that shares it, when the file is the kernel's; else 0. A file that was
 * managed here must be handed over by the caller then (handover.h).
 */
enum registry_verdict registry_claim(dev_t dev, ino_t ino, bool writes, pid_t *with);
/*
 * The program opened the file for writing, mapped or not. Returns when no other process manages it any
 * more. False: this process manages it, and must hand it over.
 */
bool registry_opened_for_writing(dev_t dev, ino_t ino);
/* Whether any other process manages any file: a load or two, for those who would have to look a file up. */
bool registry_is_shared(void);
/* Whether another process manages the file. */
bool registry_is_held(dev_t dev, ino_t ino);
/* Whether this process may have opened the file for writing since it started: never a wrong no. */
bool registry_may_write(dev_t dev, ino_t ino);

/* What became of a claim by now: another process may have asked for the file since. (S) held. */
enum registry_verdict registry_look(dev_t dev, ino_t ino);
/* The file is the kernel's in this process from now on; whoever waits for that goes on. (S) held. */
void registry_hand_over(dev_t dev, ino_t ino);
/* The hand-over has begun, and may take as long as its pages take to be written. (S) held. */
void registry_hand_over_begins(dev_t dev, ino_t ino);
/* The file is not managed here any more, and nothing of it is cached. (S) held. */
void registry_forget(dev_t dev, ino_t ino);

/* watch.c's thread looks at its descriptors anew. */
void registry_wake_self(void);
/* For watch.c: the socket on which others ask, or -1; and what they ask for. */
int registry_socket(void);
bool registry_asked(dev_t *dev, ino_t *ino);
/* Whether another process asked since the last call, by the socket or, where that failed, without. */
bool registry_anything_asked(void);

#endif
