/* processes.c: see processes.h. */
#include "conformance/processes.h"
#include "conformance/access.h"
#include "conformance/files.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum what { CALL, ACCESS, FORK, EXIT };

struct box {
    enum what what;
    long number; /* CALL: the system call; FORK: the child's number */
    unsigned long arg[6];
    long result;
    unsigned char bytes[PROCESSES_BYTES];
};

struct processes {
    struct box *box;           /* DRIVER_SPACES of them, shared */
    int ours[DRIVER_SPACES];   /* sockets: this process's ends … */
    int theirs[DRIVER_SPACES]; /* … and the others' */
    pid_t pid[DRIVER_SPACES];
    pid_t first; /* this process's child; the others are no child of its */
};

/* ---- in a process that obeys --------------------------------------------------------------------------- */

static long make_call(const struct box *box)
{
    const unsigned long *arg = box->arg;
    long result = syscall(box->number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

    return result < 0 ? -errno : result;
}

/* Obeys as number i from now on. The child of a fork goes on here, as another number. */
static _Noreturn void obey(struct processes *processes, unsigned i)
{
    pid_t pid;
    char byte;

    while (read(processes->theirs[i], &byte, 1) == 1) {
        struct box *box = &processes->box[i];
        unsigned child = (unsigned)box->number;

        switch (box->what) {
        case CALL:
            box->result = make_call(box);
            break;
        case ACCESS:
            box->result = access_bytes((void *)box->arg[0], (const void *)box->arg[1], box->arg[2]);
            break;
        case FORK:
            pid = fork();
            if (pid == 0) {
                i = child;
                continue; /* the parent answers */
            }
            box->result = pid < 0 ? -errno : pid;
            break;
        case EXIT:
            (void)!write(processes->theirs[i], "", 1);
            _exit(0);
        }
        if (write(processes->theirs[i], "", 1) != 1)
            break;
    }
    _exit(0);
}

/* ---- in this one --------------------------------------------------------------------------------------- */

/* Process i does what its box says. */
static long command(struct processes *processes, unsigned i, enum what what)
{
    char byte;

    processes->box[i].what = what;
    must(write(processes->ours[i], "", 1) == 1 && read(processes->ours[i], &byte, 1) == 1,
         "a process that obeys has died");
    return processes->box[i].result;
}

struct processes *processes_start(void)
{
    struct processes *processes = calloc(1, sizeof(*processes));
    int pair[2], i;

    must(processes != NULL, "calloc");
    processes->box = mmap(NULL, DRIVER_SPACES * sizeof(struct box), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(processes->box != MAP_FAILED, "mmap");
    for (i = 0; i < DRIVER_SPACES; i++) {
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
        processes->ours[i] = pair[0];
        processes->theirs[i] = pair[1];
    }
    processes->pid[0] = processes->first = fork();
    must(processes->pid[0] >= 0, "fork");
    if (processes->pid[0] != 0)
        return processes;
    for (i = 0; i < DRIVER_SPACES; i++)
        close(processes->ours[i]);
    signal(SIGCHLD, SIG_IGN); /* no process waits for its child */
    access_begin();
    obey(processes, 0);
}

void processes_end(struct processes *processes)
{
    unsigned i;

    for (i = 0; i < DRIVER_SPACES; i++) {
        if (processes->pid[i] != 0)
            processes_exit(processes, i);
        close(processes->ours[i]);
        close(processes->theirs[i]);
    }
    munmap(processes->box, DRIVER_SPACES * sizeof(struct box));
    free(processes);
}

long processes_call(struct processes *processes, unsigned i, long number, const unsigned long arg[6])
{
    struct box *box = &processes->box[i];
    int k;

    box->number = number;
    for (k = 0; k < 6; k++)
        box->arg[k] = arg[k];
    return command(processes, i, CALL);
}

void *processes_bytes(struct processes *processes, unsigned i)
{
    return processes->box[i].bytes;
}

int processes_access(struct processes *processes, unsigned i, void *to, const void *from, size_t len)
{
    struct box *box = &processes->box[i];

    box->arg[0] = (unsigned long)to;
    box->arg[1] = (unsigned long)from;
    box->arg[2] = len;
    return (int)command(processes, i, ACCESS);
}

int processes_fork(struct processes *processes, unsigned i, unsigned to)
{
    long child;

    processes->box[i].number = to;
    child = command(processes, i, FORK);
    if (child < 0)
        return (int)child;
    processes->pid[to] = (pid_t)child;
    return 0;
}

void processes_exit(struct processes *processes, unsigned i)
{
    (void)command(processes, i, EXIT);
    if (processes->pid[i] == processes->first)
        must(waitpid(processes->first, NULL, 0) == processes->first, "waitpid");
    processes->pid[i] = 0;
}

pid_t processes_pid(const struct processes *processes, unsigned i)
{
    return processes->pid[i];
}
