/*
 * syncer.c: the thread that writes the metadata of file systems.
 *
 *   the core's flusher     a file's pages, 5 s after they became dirty       ─┐
 *   syncer_main            what file systems know of files, each SYNCER_NS   ─┴▶ the disk
 *
 * So a power cut takes what was written in the last seconds, and not more. Nobody waits for the thread, and
 * it waits for no file's pages. What it cannot write stays dirty, is tried again, and told by the next sync
 * or fsync.
 *
 * (sched_sync, BSD; wb_workfn for the inodes of devices, Linux.)
 *
 * Locks: (MT), and those of the mounts' write_back.
 * Loops: for ever, once in SYNCER_NS.
 */
#include "fs/mount.h"
#include "kernel.h"
#include "proc/proc.h"

#include <linux/errno.h>

#define SYNCER_NS UINT64_C(5000000000)

static struct machine_lock syncer_lock;

static int write_back_one(struct mount *mount, void *arg)
{
    (void)arg;
    if (mount->write_back != NULL && !mount->read_only)
        (void)!mount->write_back(mount);
    return 0;
}

static void syncer_main(void *arg)
{
    (void)arg;
    for (;;) {
        uint64_t next_ns = machine_time_ns() + SYNCER_NS;
        machine_lock(&syncer_lock);
        (void)machine_wait(&syncer_lock, &syncer_lock, next_ns);
        machine_unlock(&syncer_lock);
        (void)mount_each(write_back_one, NULL);
    }
}

int syncer_start(void)
{
    struct thread *td = thread_create("syncer", syncer_main, NULL, false);

    if (td == NULL)
        return -ENOMEM;
    thread_start(td);
    return 0;
}
