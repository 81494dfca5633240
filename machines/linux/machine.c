/*
 * machine.c: the machine as a whole: its parts, the order in which they start, and its messages.
 *
 *     init:   window ─▶ metadata ─▶ memfd ─▶ userfaultfd ─▶ pagemap ─▶ bounce buffers ─▶ probe
 *     start:  signal handlers ─▶ handler threads ─▶ threads of the page daemon, flusher and prefault daemon
 *     fini:   the same, backwards
 *
 *     | metadata |  gap  | window of managed addresses …
 *                        └ LINUX_WINDOW_START
 *
 * The metadata memory lies at a fixed place and is shared, so that the processes of one
 * tree could share one VM.
 */
#include "bounce.h"
#include "fault.h"
#include "linux_sigaction.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "pagemap.h"
#include "peek.h"
#include "space.h"
#include "uffd.h"
#include "views.h"
#include "zap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#define NDAEMONS        3
#define STACK_LEN_BYTES ((size_t)256 << 10)
/* The two signals that glibc uses itself: setuid in the program waits until every thread has answered one. */
#define GLIBC_SIGNALS (LINUX_SIGMASK(32) | LINUX_SIGMASK(33))

static struct {
    struct linux_machine_params params;
    void *meta;
    size_t meta_len_bytes;
    bool window;
    uint32_t ndaemons; /* that run */
    uint64_t daemon_thread[NDAEMONS];
    char error[256];
} machine;

const char *linux_machine_error(void)
{
    return machine.error;
}

void linux_machine_set_error(const char *message)
{
    size_t len = strlen(message);

    len = len < sizeof(machine.error) ? len : sizeof(machine.error) - 1;
    memcpy(machine.error, message, len);
    machine.error[len] = '\0';
}

static int map_meta(size_t len_bytes)
{
    len_bytes = round_page(len_bytes);
    long meta = linux_syscall(SYS_mmap, LINUX_META_END - len_bytes, len_bytes, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (linux_syscall_failed(meta)) {
        linux_machine_set_error("cannot map memory for page descriptors: lower the limit, or lift the one on "
                                "address space (ulimit -v unlimited)");
        return (int)meta;
    }
    machine.meta = (void *)meta;
    machine.meta_len_bytes = len_bytes;
    return 0;
}

/* Whether the kernel reports exactly `expected` of the page. */
static bool probe_harvest(struct machine_space *space, vm_offset_t va, unsigned clear, unsigned expected)
{
    uint8_t bits = 0;

    machine_harvest(space, va, va + VM_PAGE_SIZE, clear, &bits);
    return bits == expected;
}

/*
 * Whether a free view does what views.c counts on. Its two pages are touched by system calls, for which an
 * error of the kernel's is an error, and not a signal.
 */
static bool probe_view(struct machine_space *space, struct machine_run *run)
{
    vm_offset_t va = LINUX_WINDOW_START;
    void *addr;
    uint32_t done;

    /* A page that is entered is clean. A store makes it dirty until the harvest, though it is forgotten. */
    bool works = machine_window_get(run, MACHINE_WINDOW_FILL, false, &addr) == 0;
    if (works)
        machine_window_put(run, MACHINE_WINDOW_FILL, &addr, true);
    works = works && machine_map(space, va, run, VM_PROT_READ | VM_PROT_WRITE, 0, &done) == 0 &&
            probe_harvest(space, va, 0, MACHINE_REFERENCED) &&
            linux_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, va) == 0 &&
            probe_harvest(space, va, MACHINE_REFERENCED, MACHINE_REFERENCED | MACHINE_DIRTY);
    machine_sync(space);
    works = works && probe_harvest(space, va, MACHINE_DIRTY, MACHINE_DIRTY) && probe_harvest(space, va, 0, 0);
    machine_release(run);
    /* A page that came into the memfd another way is clean after a load, which the kernel serves itself. */
    run->pindex++;
    va += VM_PAGE_SIZE;
    works = works && machine_window_get(run, MACHINE_WINDOW_FILL, false, &addr) == 0;
    if (works) {
        memset(addr, 0, VM_PAGE_SIZE);
        machine_window_put(run, MACHINE_WINDOW_FILL, &addr, true);
    }
    works = works && linux_bounce_flush(run->frame[0], false) == 0 &&
            linux_syscall(SYS_nanosleep, va, 0) == 0 && probe_harvest(space, va, 0, MACHINE_REFERENCED);
    machine_release(run);
    return works;
}

/* Whether the kernel tells exactly which pages were stored to. */
static int probe(void)
{
    vm_offset_t end = LINUX_WINDOW_START + ptoa(2);
    struct machine_space *space;
    void *object;
    vm_frame_t frame = 0;

    int error = machine_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &space);
    if (error == 0)
        error = machine_object_init(&object);
    if (error != 0)
        return error;
    struct machine_run run = {.object = object, .npages = 1, .frame = &frame};
    error = machine_attach(space, LINUX_WINDOW_START, end, VM_PROT_READ | VM_PROT_WRITE, object, 0, 0);
    if (error == 0 && !probe_view(space, &run))
        error = -ENOSYS;
    machine_detach(space, LINUX_WINDOW_START, end);
    machine_object_fini(object);
    machine_space_destroy(space);
    if (error != 0)
        linux_machine_set_error(
            "this kernel does not tell exactly which pages were stored to (userfaultfd's WP_ASYNC)");
    return error;
}

static int init(size_t meta_len_bytes)
{
    int error = linux_window_reserve();
    if (error != 0)
        return error;
    machine.window = true;
    error = map_meta(meta_len_bytes);
    if (error == 0)
        error = linux_memfd_open();
    if (error == 0)
        error = linux_uffd_open(machine.params.fault);
    if (error == 0)
        error = linux_pagemap_open();
    if (error != 0)
        return error;
    linux_views_open(machine.params.fault == LINUX_FAULT_SIGNAL);
    linux_zap_open();
    error = linux_bounce_open(machine.params.buffer_len_bytes, machine.params.nframes);
    if (error != 0) {
        linux_machine_set_error("no memory for buffers");
        return error;
    }
    return machine.params.fault == LINUX_FAULT_SIGNAL ? probe() : 0;
}

int linux_machine_init(const struct linux_machine_params *params, size_t meta_len_bytes, void **meta)
{
    machine.params = *params;
    machine.error[0] = '\0';
    int error = init(meta_len_bytes);
    if (error != 0) {
        linux_machine_fini();
        return error;
    }
    *meta = machine.meta;
    return 0;
}

int linux_thread_create(uint64_t *thread, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t created;
    uint64_t saved;

    if (pthread_attr_init(&attr) != 0)
        return -ENOMEM;
    (void)pthread_attr_setstacksize(&attr, STACK_LEN_BYTES);
    linux_sigmask_set(LINUX_SIGMASK_ALL & ~GLIBC_SIGNALS, &saved);
    int error = pthread_create(&created, &attr, run, arg);
    linux_sigmask_set(saved, NULL);
    (void)pthread_attr_destroy(&attr);
    *thread = (uint64_t)created;
    return error == 0 ? 0 : -ENOMEM;
}

void linux_thread_join(uint64_t thread)
{
    (void)pthread_join((pthread_t)thread, NULL);
}

static void *run_page_daemon(void *arg)
{
    fl_pageout_run();
    return arg;
}

static void *run_flusher(void *arg)
{
    fl_writeback_run();
    return arg;
}

static void *run_prefault_daemon(void *arg)
{
    fl_prefault_run();
    return arg;
}

static int start_daemons(void)
{
    static void *(*const daemon[NDAEMONS])(void *) = {run_page_daemon, run_flusher, run_prefault_daemon};
    int error = 0;

    while (error == 0 && machine.ndaemons < NDAEMONS) {
        uint32_t next = machine.ndaemons;

        error = linux_thread_create(&machine.daemon_thread[next], daemon[next], NULL);
        machine.ndaemons += error == 0;
    }
    return error;
}

void linux_machine_stop(void)
{
    if (machine.ndaemons > 0)
        fl_vm_stop();
    while (machine.ndaemons > 0)
        linux_thread_join(machine.daemon_thread[--machine.ndaemons]);
    linux_fault_thread_stop();
}

int linux_machine_start(struct vm_map *map)
{
    int error = linux_fault_signal_start(map, &machine.params);
    if (error == 0 && machine.params.fault == LINUX_FAULT_THREAD)
        error = linux_fault_thread_start(map);
    if (error == 0)
        error = start_daemons();
    if (error != 0)
        linux_machine_set_error(
            "cannot start the machine's threads: raise the limit on processes (ulimit -u)");
    return error;
}

void linux_machine_fini(void)
{
    linux_machine_stop();
    linux_fault_signal_stop();
    linux_zap_close();
    linux_peek_close();
    linux_bounce_close();
    linux_pagemap_close();
    linux_uffd_close();
    linux_memfd_close();
    if (machine.meta != NULL)
        (void)linux_syscall(SYS_munmap, machine.meta, machine.meta_len_bytes);
    machine.meta = NULL;
    if (machine.window)
        linux_window_unreserve();
    machine.window = false;
}

/* One call, so that a line is written whole. A failure is ignored: there is nowhere to report it. */
static void say(const char *prefix, const char *message)
{
    struct iovec line[3] = {{.iov_base = (void *)prefix, .iov_len = strlen(prefix)},
                            {.iov_base = (void *)message, .iov_len = strlen(message)},
                            {.iov_base = (void *)"\n", .iov_len = 1}};

    (void)linux_syscall(SYS_writev, 2, line, 3);
}

void machine_log(const char *message)
{
    say("faultline: ", message);
}

void machine_panic(const char *message)
{
    say("faultline: panic: ", message);
    abort();
}
