/*
 * stats.c: what the process had mapped, and its orderly end:
 * dirty pages reach their files, and the stats theirs.
 *
 *     exit ─▶ destructors ─┐
 *     _exit, quick_exit ───┴▶ stats_finish: files_sync ─▶ FILE.tmp ─▶ rename to FILE
 *                                                      └▶ one line, if much was outside the limit
 *
 * Only the process that the launcher became writes the file and the line, and not its children,
 * which inherit the environment. A process that is killed by a signal writes nothing, and loses
 * what it stored to shared mappings since the last msync or write-back (docs/run.md).
 *
 * Bytes are counted over all mappings that were ever made: the eligible ones, and of these the ones
 * that were left to the kernel from the start or handed to it later. A child of fork that lives on has
 * no limit, so what it inherited counts as eligible and left. It adds that to a page that it shares
 * with its parent, and subtracts it again when it executes a program, which has a limit of its own.
 */
#include "stats.h"
#include "files.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
    const char *name, *why, *remedy;
} reasons[LEFT_REASONS] = {
    [LEFT_FIXED] = {"fixed", "mapped at addresses that the program fixed, outside of what Faultline manages",
                    "let the program reserve them by mmap without an address, or choose none"},
    [LEFT_IMAGE] = {"image", "private and writable at fixed addresses, as parts of programs are",
                    "map data read-only, or shared"},
    [LEFT_FORK] = {"fork", "the program forked, and a child has no limit",
                   "let it use threads, or start programs by exec"},
    [LEFT_STACK] = {"stack", "the program has stacks in mapped files", "choose --fault thread"},
    [LEFT_SHARED] = {"shared", "another process uses the files",
                     "run one process at a time on them, or share them read-only"},
    [LEFT_REOPEN] = {"reopen", "the files cannot be opened a second time",
                     "mount /proc, and let this user open them"},
    [LEFT_DESCRIPTORS] = {"descriptors", "no descriptor was left to open them with", "raise ulimit -n"},
    [LEFT_BESIDE] = {"beside", "mapped before, too, when they were small", "lower --min-size"},
    [LEFT_MEMORY] = {"memory", "they lie in memory, on tmpfs or ramfs", "put them on a disk"},
};

static _Atomic uint64_t bytes_eligible, bytes_left[LEFT_REASONS];
static _Atomic uint64_t mappings_left;

/* In memory that this process and its children share. */
struct stats_shared {
    _Atomic uint64_t children;    /* that go on without exec */
    _Atomic uint64_t child_bytes; /* that they inherited */
};
static struct stats_shared *_Atomic shared; /* NULL: no child inherited anything so far; set under (S) */
static _Atomic uint64_t fork_bytes;         /* the child that is being made inherits them; set under (S) */
static long child_pid;                      /* in a child: its own; a child of its vfork has another */

void stats_eligible(uint64_t bytes)
{
    bytes_eligible += bytes;
}

void stats_left(enum left_reason reason, uint64_t bytes)
{
    bytes_left[reason] += bytes;
    mappings_left++;
}

const char *stats_why(enum left_reason reason)
{
    return reasons[reason].why;
}

void stats_forks(uint64_t bytes)
{
    fork_bytes = bytes;
    if (bytes != 0 && shared == NULL) {
        long page = linux_syscall(SYS_mmap, 0, VM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (linux_syscall_failed(page))
            shim_verbose("no memory to count children that have no limit");
        else
            shared = (struct stats_shared *)page;
    }
}

void stats_forked_child(void)
{
    if (shared == NULL || fork_bytes == 0)
        return;
    child_pid = linux_syscall(SYS_getpid);
    shared->children++;
    shared->child_bytes += fork_bytes;
}

void stats_child_execs(bool execs)
{
    if (child_pid == 0 || linux_syscall(SYS_getpid) != child_pid)
        return;
    shared->children += execs ? (uint64_t)-1 : 1;
    shared->child_bytes += execs ? -fork_bytes : fork_bytes;
}

/* ---- telling --------------------------------------------------------------------------------------- */

/* The sum of what was left to the kernel; `reason` is the one with the most bytes. */
struct left {
    uint64_t eligible, bytes, children;
    enum left_reason reason;
};

static struct left left_sum(void)
{
    struct left left = {.eligible = bytes_eligible};
    uint64_t most = 0;

    for (int i = 0; i < LEFT_REASONS; i++) {
        uint64_t bytes = bytes_left[i];

        if (i == LEFT_FORK && shared != NULL) {
            left.children = shared->children;
            bytes += shared->child_bytes;
            left.eligible += shared->child_bytes;
        }
        left.bytes += bytes;
        if (bytes > most) {
            most = bytes;
            left.reason = (enum left_reason)i;
        }
    }
    if (left.bytes > left.eligible) /* a mapping that grew before it was handed over */
        left.bytes = left.eligible;
    return left;
}

static void left_tell(void)
{
    static bool told;
    struct left left = left_sum();
    unsigned shift = left.eligible >> 20 != 0 ? 20 : 10;
    const char *unit = shift == 20 ? "MiB" : "KiB";

    if (told || shim_config.stats_pid != shim_config.pid ||
        (left.bytes <= left.eligible / 4 && left.children == 0))
        return;
    told = true;
    if (left.children != 0)
        left.reason = LEFT_FORK;
    shim_say("%lu %s of %lu %s of %s were outside the limit: %s (%s)", left.bytes >> shift, unit,
             left.eligible >> shift, unit, shim_config.anon ? "memory" : "mapped files",
             reasons[left.reason].why, reasons[left.reason].remedy);
}

static void left_text(char *text, size_t size)
{
    struct left left = left_sum();
    int len = snprintf(text, size,
                       "  \"mappings_left_to_kernel\": %lu,\n  \"bytes_eligible\": %lu,\n"
                       "  \"bytes_left_to_kernel\": %lu,\n  \"children_without_limit\": %lu,\n",
                       mappings_left, left.eligible, left.bytes, left.children);

    for (int i = 0; i < LEFT_REASONS && (size_t)len < size; i++)
        len += snprintf(text + len, size - (size_t)len, "  \"bytes_left_%s\": %lu,\n", reasons[i].name,
                        bytes_left[i]);
}

/* One map entry is the zone (reservation.c), which is no mapping. */
static size_t stats_text(char *text, size_t size)
{
    char left[768];
    struct fl_stats stats;
    int len;

    fl_stats(&stats);
    left_text(left, sizeof left);
    len =
        snprintf(text, size,
                 "{\n"
                 "  \"memory_limit_bytes\": %lu,\n  \"peak_resident_bytes\": %lu,\n"
                 "  \"faults\": %lu,\n  \"faults_minor\": %lu,\n  \"faults_cow\": %lu,\n"
                 "  \"page_ins\": %lu,\n  \"page_in_bytes\": %lu,\n  \"readahead\": %lu,\n"
                 "  \"evictions\": %lu,\n  \"write_backs\": %lu,\n  \"io_errors\": %lu,\n"
                 "  \"swap_bytes\": %lu,\n  \"swap_used_bytes\": %lu,\n"
                 "  \"mappings_peak\": %lu,\n%s  \"engine\": \"%s\"\n}\n",
                 stats.memory_limit_bytes, stats.peak_resident_bytes, stats.vm.faults, stats.vm.faults_minor,
                 stats.vm.faults_cow, stats.vm.page_ins, stats.vm.page_in_bytes, stats.vm.readahead,
                 stats.vm.evictions, stats.vm.write_backs, stats.vm.io_errors, ptoa(stats.vm.swap_pages),
                 ptoa(stats.vm.swap_pages - stats.vm.swap_free), stats.vm.mappings_peak - 1, left,
                 shim_config.fault == FL_FAULT_THREAD ? "thread" : "signal");
    return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

static long stats_write(const char *text, size_t len)
{
    char temporary[PATH_MAX + 8];
    long fd, r;

    snprintf(temporary, sizeof temporary, "%s.tmp", shim_config.stats_path);
    fd = linux_syscall(SYS_openat, AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return fd;
    r = linux_syscall(SYS_write, fd, text, len);
    linux_syscall(SYS_close, fd);
    if (r >= 0 && (size_t)r != len)
        r = -ENOSPC;
    return r < 0 ? r : linux_syscall(SYS_rename, temporary, shim_config.stats_path);
}

/* A program may start many processes: those that managed nothing write no stats. */
static bool stats_telling(void)
{
    struct fl_stats stats;

    fl_stats(&stats);
    return stats.vm.mappings_peak > 1 || shim_config.stats_pid == shim_config.pid;
}

/*
 * May be called more than once: destructors run in an unknown order, and _exit comes last. Each call syncs.
 */
void stats_finish(void)
{
    char text[2048];
    size_t len;
    int error;
    long r;

    error = files_sync(NULL);
    if (error != 0)
        shim_say("written data did not reach its file: %s", strerrordesc_np(-error));
    /* In a child of vfork, which is about to exec, nothing ends. */
    if (!shim_on() || linux_syscall(SYS_getpid) != shim_config.pid)
        return;
    left_tell();
    len = stats_text(text, sizeof text);
    if (shim_config.verbose && stats_telling())
        linux_syscall(SYS_write, 2, text, len);
    if (shim_config.stats_path == NULL || shim_config.stats_pid != shim_config.pid)
        return;
    r = stats_write(text, len);
    if (r < 0)
        shim_say("cannot write %s: %s", shim_config.stats_path, strerrordesc_np((int)-r));
}
