/*
 * machine.c: the machine as a whole: its parts, the order in which they start, and its messages.
 *
 *     init:   window ─▶ metadata ─▶ memfd ─▶ userfaultfd ─▶ bounce buffers ─▶ probe
 *     start:  signal handlers ─▶ handler threads ─▶ the page daemon's and the flusher's threads
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
#include "peek.h"
#include "space.h"
#include "uffd.h"
#include "zap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define STACK_LEN_BYTES ((size_t)256 << 10)
/* The two signals that glibc uses itself: setuid in the program waits until every thread has answered one. */
#define GLIBC_SIGNALS (LINUX_SIGMASK(32) | LINUX_SIGMASK(33))

static struct {
    struct linux_machine_params params;
    void *meta;
    size_t meta_len_bytes;
    bool window;
    uint32_t ndaemons; /* that run */
    uint64_t daemon_thread[2];
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

/* UFFDIO_CONTINUE with write protection came with Linux 6.4 without a feature bit. So this tries it, on a
 * page at the window's start. */
static int probe(void)
{
    struct machine_space *space;
    void *object, *addr;
    vm_frame_t frame = 0;
    size_t done;

    int error = machine_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &space);
    if (error == 0)
        error = machine_object_init(&object);
    if (error != 0)
        return error;
    struct machine_run run = {.object = object, .npages = 1, .frame = &frame};
    error =
        machine_attach(space, LINUX_WINDOW_START, LINUX_WINDOW_START + VM_PAGE_SIZE, VM_PROT_READ, object, 0);
    if (error == 0)
        error = machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
    if (error == 0) {
        machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
        error = linux_bounce_flush(frame, false);
    }
    if (error == 0)
        error = linux_uffd_continue(LINUX_WINDOW_START, VM_PAGE_SIZE, false, &done);
    machine_release(&run);
    machine_detach(space, LINUX_WINDOW_START, LINUX_WINDOW_START + VM_PAGE_SIZE);
    machine_object_fini(object);
    machine_space_destroy(space);
    if (error == -EINVAL) {
        linux_machine_set_error("this kernel is too old: needs Linux 6.4 or newer");
        return -ENOSYS;
    }
    if (error != 0)
        linux_machine_set_error("userfaultfd does not work here as it should");
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
    if (error != 0)
        return error;
    linux_zap_open();
    error = linux_bounce_open(machine.params.buffer_len_bytes, machine.params.nframes);
    if (error != 0) {
        linux_machine_set_error("no memory for buffers");
        return error;
    }
    return probe();
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

static int start_daemons(void)
{
    static void *(*const daemon[])(void *) = {run_page_daemon, run_flusher};
    int error = 0;

    while (error == 0 && machine.ndaemons < 2) {
        uint32_t next = machine.ndaemons;

        error = linux_thread_create(&machine.daemon_thread[next], daemon[next], NULL);
        machine.ndaemons += error == 0;
    }
    return error;
}

static void stop_daemons(void)
{
    if (machine.ndaemons > 0)
        fl_vm_stop();
    while (machine.ndaemons > 0)
        linux_thread_join(machine.daemon_thread[--machine.ndaemons]);
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
    stop_daemons();
    linux_fault_thread_stop();
    linux_fault_signal_stop();
    linux_zap_close();
    linux_peek_close();
    linux_bounce_close();
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
