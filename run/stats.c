/*
 * stats.c: the end of the process in order: what was written reaches the files, and the numbers theirs.
 *
 *     exit ─▶ destructors ─┐
 *     _exit, quick_exit ───┴▶ stats_finish: files_sync ─▶ FILE.tmp ─▶ rename to FILE
 *
 * Only the process that the launcher became writes the file, not the children that inherit the environment. A
 * process that a signal kills writes nothing, and loses what it wrote to shared mappings since the last msync
 * or write-back (docs/run.md).
 */
#include "shim.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static size_t stats_text(char *text, size_t size)
{
    struct fl_stats stats;
    int len;

    fl_stats(&stats);
    len =
        snprintf(text, size,
                 "{\n"
                 "  \"memory_limit_bytes\": %lu,\n  \"peak_resident_bytes\": %lu,\n"
                 "  \"faults\": %lu,\n  \"faults_minor\": %lu,\n  \"faults_cow\": %lu,\n"
                 "  \"page_ins\": %lu,\n  \"page_in_bytes\": %lu,\n  \"readahead\": %lu,\n"
                 "  \"evictions\": %lu,\n  \"write_backs\": %lu,\n  \"io_errors\": %lu,\n"
                 "  \"mappings_peak\": %lu,\n  \"mappings_left_to_kernel\": %lu,\n  \"engine\": \"%s\"\n}\n",
                 stats.memory_limit_bytes, stats.peak_resident_bytes, stats.vm.faults, stats.vm.faults_minor,
                 stats.vm.faults_cow, stats.vm.page_ins, stats.vm.page_in_bytes, stats.vm.readahead,
                 stats.vm.evictions, stats.vm.write_backs, stats.vm.io_errors, stats.vm.mappings_peak,
                 mappings_left_to_kernel, shim_config.fault == FL_FAULT_THREAD ? "thread" : "signal");
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

/* Of the many processes that a program may start, those that managed nothing have nothing to tell. */
static bool stats_telling(void)
{
    struct fl_stats stats;

    fl_stats(&stats);
    return stats.vm.mappings_peak > 0 || shim_config.stats_pid == shim_config.pid;
}

/*
 * The sync comes each time that it may be needed: destructors run in an order that nobody knows, and _exit
 * comes last.
 */
void stats_finish(void)
{
    char text[1024];
    size_t len;
    int error;
    long r;

    error = files_sync(NULL);
    if (error != 0)
        shim_say("written data did not reach its file: %s", strerrordesc_np(-error));
    if (!shim_on() || linux_syscall(SYS_getpid) != shim_config.pid) /* a child of vfork's exec ends nothing */
        return;
    len = stats_text(text, sizeof text);
    if (shim_config.verbose && stats_telling())
        linux_syscall(SYS_write, 2, text, len);
    if (shim_config.stats_path == NULL || shim_config.stats_pid != shim_config.pid)
        return;
    r = stats_write(text, len);
    if (r < 0)
        shim_say("cannot write %s: %s", shim_config.stats_path, strerrordesc_np((int)-r));
}
