/*
 * fault_thread.c: faults served by handler threads, while the thread that faulted sleeps in the kernel. It is
 * much slower than the signal engine, but it also serves the faults of system calls.
 *
 *     faulting thread ─▶ kernel ─▶ message ─▶ leader reads it, hands the lead on ─▶ fl_fault ─▶ wake
 *                                                                                    └ error ─▶ signal, wake
 *
 * One thread at a time leads: it waits for a message and takes it. So a message wakes one thread and not all.
 *
 * A message may be stale: another fault on the same page, or one that mapped this page ahead, has been served
 * and so woke the thread of this message, which has gone on since and may have unmapped the page. So an error
 * counts only if the thread sleeps, has not faulted again since, and its fault before was the same and met an
 * error, too. After the first error the thread is only woken: if the error is real it faults again at once.
 *
 * An error inside a system call must make the call fail (EFAULT): after a signal alone it would try again for
 * ever. So the page is poisoned for a moment. If the thread did not run in that time it faults again, and the
 * page is poisoned again.
 */
#include "fault.h"
#include "linux_sigaction.h"
#include "linux_syscall.h"
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#define NTHREADS  4
#define POISON_NS 20000000
#define NFAILED   32 /* if more threads fail at once, some get their error one fault later */

static struct {
    struct vm_map *map;
    int stop; /* an eventfd: readable when the threads are to end */
    unsigned nthreads;
    uint64_t thread[NTHREADS];
} engine = {.stop = -1};

/* Held by the thread that waits for messages. Before faults_lock. */
static struct machine_lock lead;

/*
 * What tells whether an error counts. Messages are recorded in the order in which they are read. A thread
 * has one fault at a time, so all its messages but the latest are stale.
 */
static struct machine_lock faults_lock;
static struct {
    /* The fault that each handler thread serves. */
    struct {
        pid_t tid;  /* of the faulting thread; 0: it has faulted again since */
        bool again; /* its fault before was at the same address, and met an error */
    } served[NTHREADS];
    /* Threads whose latest fault met an error that did not count. */
    struct {
        pid_t tid; /* 0: free */
        vm_offset_t va;
    } failed[NFAILED];
    unsigned next; /* the place in failed[] of the next one */
} faults FL_GUARDED_BY(faults_lock);

/* Reads a small file of the thread from /proc. Returns its length, or a negative errno value. */
static long read_task_file(pid_t tid, const char *name, char *text, size_t size)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)tid, name);
    long fd = linux_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    long n = linux_syscall(SYS_read, fd, text, size - 1);
    (void)linux_syscall(SYS_close, fd);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

enum whereabouts {
    RUNNING,
    ASLEEP_IN_USER_MODE, /* in a fault */
    ASLEEP_IN_SYSTEM_CALL,
};

/* The file says "running", or the number of the system call, which is -1 for a fault in user mode. */
static enum whereabouts where_is(pid_t tid)
{
    char text[160];

    if (read_task_file(tid, "syscall", text, sizeof(text)) <= 0 || text[0] == '-')
        return ASLEEP_IN_USER_MODE;
    return text[0] == 'r' ? RUNNING : ASLEEP_IN_SYSTEM_CALL;
}

/* Whether the thread blocks or ignores the signal. The kernel ends a process that
 * faults then, and so do we. */
static bool unseen(pid_t tid, int signo)
{
    static const char *const sets[] = {"SigBlk:", "SigIgn:"};
    char text[2048];

    if (read_task_file(tid, "status", text, sizeof(text)) <= 0)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        const char *line = strstr(text, sets[i]);
        if (line != NULL && (strtoull(line + 7, NULL, 16) >> (signo - 1) & 1) != 0)
            return true;
    }
    return false;
}

_Noreturn static void die_of(int signo)
{
    linux_sigaction_default(signo);
    linux_sigmask_set(LINUX_SIGMASK_ALL & ~LINUX_SIGMASK(signo), NULL);
    (void)linux_syscall(SYS_tgkill, linux_syscall(SYS_getpid), machine_self(), signo);
    abort(); /* another thread set another action between the two */
}

/*
 * Makes a system call fail that may not store to a page which is mapped for reading: takes the right to
 * write from the area for a moment. A store of the program's meanwhile is a SIGSEGV, for which
 * linux_fault_signal asks the core.
 */
static void fail_system_call_store(vm_offset_t page)
{
    struct timespec moment = {.tv_nsec = POISON_NS};
    struct fl_region region;

    long error = linux_syscall(SYS_mprotect, page, VM_PAGE_SIZE, PROT_READ);
    linux_uffd_wake(page, VM_PAGE_SIZE);
    if (error != 0)
        return; /* the kernel has no area left: the thread faults again */
    (void)linux_syscall(SYS_nanosleep, &moment, NULL);
    if (fl_space_region(engine.map, page, &region) == 0 && region.start <= page && !region.reserved)
        (void)linux_syscall(SYS_mprotect, page, VM_PAGE_SIZE, region.prot);
}

/* Makes the system call fail that touches the page, for which there is an error. */
static void fail_system_call(vm_offset_t page)
{
    struct timespec moment = {.tv_nsec = POISON_NS};

    int error = linux_uffd_poison(page);
    linux_uffd_wake(page, VM_PAGE_SIZE);
    if (error != 0)
        return; /* another thread's page-in was faster: the call goes on */
    (void)linux_syscall(SYS_nanosleep, &moment, NULL);
    machine_unmap(NULL, page, page + VM_PAGE_SIZE, 0, NULL);
    machine_sync(NULL);
}

/* Delivers the error of a fault at va. readable: the page is mapped for reading. */
static void deliver(pid_t tid, enum whereabouts where, vm_offset_t va, bool readable, int error)
{
    siginfo_t info;
    int signo = linux_fault_siginfo(error, va, &info);

    if (where == ASLEEP_IN_SYSTEM_CALL) {
        if (readable)
            fail_system_call_store(trunc_page(va));
        else
            fail_system_call(trunc_page(va));
        return;
    }
    if (unseen(tid, signo))
        die_of(signo);
    info.si_errno = -error; /* with SI_QUEUE: linux_fault_signal takes it as the error */
    info.si_code = SI_QUEUE;
    (void)linux_syscall(SYS_rt_tgsigqueueinfo, linux_syscall(SYS_getpid), tid, signo, &info);
    linux_uffd_wake(trunc_page(va), VM_PAGE_SIZE);
}

/* Records a message that was just read, which this handler thread is going to serve. */
static void record(unsigned handler, pid_t tid, vm_offset_t va) FL_REQUIRES(lead)
{
    bool again = false;

    machine_lock(&faults_lock);
    for (unsigned i = 0; i < NTHREADS; i++)
        if (faults.served[i].tid == tid)
            faults.served[i].tid = 0;
    for (unsigned i = 0; i < NFAILED; i++)
        if (faults.failed[i].tid == tid) {
            again = faults.failed[i].va == va;
            faults.failed[i].tid = 0;
        }
    faults.served[handler].tid = tid;
    faults.served[handler].again = again;
    machine_unlock(&faults_lock);
}

/*
 * Whether the error of the fault that this handler thread serves counts. If not, but an error of the thread's
 * next fault may, this one is remembered. asleep: the faulting thread slept after the error was found.
 */
static bool counts(unsigned handler, pid_t tid, vm_offset_t va, bool asleep)
{
    machine_lock(&faults_lock);
    bool again = faults.served[handler].again;
    bool latest = faults.served[handler].tid == tid;
    /* Its first error; or its second one, but another thread's fault on the page has woken it once more. */
    if (latest && asleep != again) {
        unsigned i = faults.next++ % NFAILED;
        faults.failed[i].tid = tid;
        faults.failed[i].va = va;
    }
    machine_unlock(&faults_lock);
    return latest && asleep && again;
}

static void serve(unsigned handler, const struct uffd_msg *message)
{
    vm_offset_t va = message->arg.pagefault.address;
    uint64_t flags = message->arg.pagefault.flags;
    vm_prot_t access =
        (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0 ? VM_PROT_WRITE : VM_PROT_READ;

    pid_t tid = (pid_t)message->arg.pagefault.feat.ptid;

    linux_fault_mapped = (flags & UFFD_PAGEFAULT_FLAG_WP) != 0 ? trunc_page(va) : 0;
    linux_fault_asleep = trunc_page(va);
    int error = fl_fault(engine.map, trunc_page(va), access);
    linux_fault_mapped = 0;
    enum whereabouts where = error != 0 ? where_is(tid) : RUNNING;
    if (error != 0 && counts(handler, tid, va, where != RUNNING))
        deliver(tid, where, va, (flags & UFFD_PAGEFAULT_FLAG_WP) != 0, error);
    else if (linux_fault_asleep != 0) /* nothing was entered: the page was there, or there is an error */
        linux_uffd_wake(trunc_page(va), VM_PAGE_SIZE);
    linux_fault_asleep = 0;
}

/* Waits for a message. Returns false when the engine stops. */
static bool receive(struct uffd_msg *message) FL_REQUIRES(lead)
{
    struct pollfd fds[2] = {{.fd = linux_uffd_fd(), .events = POLLIN}, {.fd = engine.stop, .events = POLLIN}};

    for (;;) {
        if (linux_syscall(SYS_read, fds[0].fd, message, sizeof(*message)) == (long)sizeof(*message)) {
            if (message->event == UFFD_EVENT_PAGEFAULT)
                return true;
            continue;
        }
        (void)linux_syscall(SYS_poll, fds, 2, -1);
        if (fds[1].revents != 0)
            return false;
    }
}

static void *run(void *arg)
{
    unsigned handler = (unsigned)(uintptr_t)arg;
    struct uffd_msg message;
    bool more = true;

    while (more) {
        machine_lock(&lead);
        more = receive(&message);
        if (more)
            record(handler, (pid_t)message.arg.pagefault.feat.ptid, message.arg.pagefault.address);
        machine_unlock(&lead);
        if (more)
            serve(handler, &message);
    }
    return NULL;
}

int linux_fault_thread_start(struct vm_map *map)
{
    engine.map = map;
    engine.nthreads = 0;
    engine.stop = (int)linux_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine.stop < 0)
        return engine.stop;
    engine.stop = linux_fd_move_high(engine.stop);
    while (engine.nthreads < NTHREADS) {
        int error =
            linux_thread_create(&engine.thread[engine.nthreads], run, (void *)(uintptr_t)engine.nthreads);
        if (error != 0)
            return error;
        engine.nthreads++;
    }
    return 0;
}

void linux_fault_thread_stop(void)
{
    uint64_t one = 1;

    if (engine.stop < 0)
        return;
    if (linux_syscall(SYS_write, engine.stop, &one, sizeof(one)) != (long)sizeof(one))
        machine_panic("an eventfd takes no event");
    while (engine.nthreads > 0)
        linux_thread_join(engine.thread[--engine.nthreads]);
    (void)linux_syscall(SYS_close, engine.stop);
    engine.stop = -1;
}
