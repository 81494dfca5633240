/*
 * oom.c: what happens when a fault finds no page, and none can be freed.
 *
 *   a call (mmap, fork …)  -ENOMEM: nobody ends. fork waits for a while before (memory_wait)
 *   a fault                waits (fl_frames_wait) ─▶ who has the most memory of its own ends ─▶ waits
 *
 * Memory of its own is what ends with the process: private pages and those of shared memory without a file,
 * in memory or in swap. Process 1 is chosen only when there is no other. One is chosen at a time: while it
 * ends, others wait for it, but no longer than VICTIM_NS.
 *
 * Locks: (P). Spaces are looked at with a reference, and no lock held.
 */
#include <linux/errno.h>

#include "kernel.h"
#include "string.h"
#include "proc/proc.h"

#define NS_MS        UINT64_C(1000000)
#define WAIT_NS      (10 * NS_MS)
#define CALL_WAIT_NS (2 * NS_MS)
#define VICTIM_NS    (5000 * NS_MS) /* an end that takes longer waits for a device that may not answer */
/* A fault that fails so often although frames are free wants something else that has run out. */
#define TRIES_MAX      64
#define CALL_TRIES_MAX 500 /* about a second */

static int oom_wait_channel;

/* The process of the lowest number above pid that has a space and does not end; *vm: that, with a reference.
 * Returns its number; 0: there is none. */
static int oom_next(int pid, struct vmspace **vm)
{
    struct proc *found = NULL;
    int number = 0;

    machine_lock(&proc_lock);
    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc))
        if (proc->pid > pid && proc->vmspace != NULL && !proc->exiting &&
            (found == NULL || proc->pid < found->pid))
            found = proc;
    if (found != NULL) {
        *vm = vmspace_of(found);
        number = found->pid;
    }
    machine_unlock(&proc_lock);
    return number;
}

static uint64_t own_pages(struct vm_map *map)
{
    vm_offset_t va = 0;
    uint64_t npages = 0;

    while (fl_space_private_page(map, va, UINT64_MAX, &va) == 0) {
        npages++;
        va += VM_PAGE_SIZE;
    }
    return npages;
}

/* Returns the number of the process that is to end; 0: none. *npages: what it has. */
static int oom_choose(uint64_t *npages)
{
    int victim = 0, pid = 0;
    struct vmspace *vm;

    *npages = 0;
    while ((pid = oom_next(pid, &vm)) != 0) {
        uint64_t n = own_pages(vm->map);

        vmspace_put(vm);
        /* Process 1 has the lowest number, so it is looked at first, and gives way to any other. */
        if (victim == 0 || victim == proc_init()->pid || n > *npages) {
            victim = pid;
            *npages = n;
        }
    }
    return victim;
}

/* Has a process been chosen that is still ending? */
static bool oom_ending_locked(void) FL_REQUIRES(proc_lock)
{
    uint64_t now = machine_time_ns();

    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc))
        if (proc->oom_ns != 0 && proc->vmspace != NULL && now - proc->oom_ns < VICTIM_NS)
            return true;
    return false;
}

/* Ends the process, if another thread has not chosen one meanwhile. */
static void oom_kill(int victim, uint64_t npages)
{
    char name[sizeof(curproc()->comm)] = "";
    struct proc *proc;
    bool killed = false;

    machine_lock(&proc_lock);
    proc = proc_find(victim);
    if (!oom_ending_locked() && proc != NULL && !proc->exiting) {
        memcpy(name, proc->comm, sizeof(name));
        proc->oom_ns = machine_time_ns();
        proc_kill_locked(proc, SIGKILL);
        killed = true;
    }
    machine_unlock(&proc_lock);
    if (killed)
        printf("out of memory: killed %d (%s), %lu KiB resident or in swap, because %d (%s) needs a page and "
               "none can be freed\n",
               victim, name, (unsigned long)(npages * (VM_PAGE_SIZE / 1024)), curproc()->pid,
               curproc()->comm);
}

/* For a moment, unless the caller's process ends. */
static void oom_sleep(const struct proc *self, uint64_t ns)
{
    machine_lock(&proc_lock);
    if (!self->exiting)
        (void)machine_wait(&oom_wait_channel, &proc_lock, machine_time_ns() + ns);
    machine_unlock(&proc_lock);
}

bool memory_wait(uint32_t tries)
{
    if (tries >= CALL_TRIES_MAX || curproc()->exiting || fl_frames_wait() != 0)
        return false;
    oom_sleep(curproc(), CALL_WAIT_NS); /* frames are free, and page-out may make more of them neighbours */
    return true;
}

bool oom_wait(uint32_t tries)
{
    const struct proc *self = curproc();
    uint64_t npages;
    bool ending;
    int victim;

    if (self->exiting)
        return false;
    if (tries < TRIES_MAX && fl_frames_wait() == 0)
        return true;
    machine_lock(&proc_lock);
    ending = oom_ending_locked();
    machine_unlock(&proc_lock);
    if (!ending && (victim = oom_choose(&npages)) != 0)
        oom_kill(victim, npages);
    oom_sleep(self, WAIT_NS);
    return !self->exiting;
}
