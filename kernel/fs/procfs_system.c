/*
 * procfs_system.c: what /proc says of the whole system.
 *
 * Numbers that the kernel does not count are left out, rather than shown as 0. The cache of a block device
 * counts as Cached, as its pages are a file's like all others. The load is that of now in all three places:
 * no averages are kept.
 */
#include "fs/devfs.h"
#include "fs/mount.h"
#include "fs/procfs_text.h"
#include "kernel.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>

#define TICK_NS UINT64_C(10000000) /* programs take 100 a second for granted */
#define SEC_NS  UINT64_C(1000000000)
#define RELEASE "6.1.0-faultline" /* what uname(2) says */

static unsigned long long kb(uint64_t npages)
{
    return npages * (VM_PAGE_SIZE / 1024);
}

int procfs_meminfo(struct text *text, int pid)
{
    struct fl_vm_stats vm;
    uint64_t anonymous, file;

    (void)pid;
    fl_vm_stats(&vm);
    fl_vm_resident(&anonymous, &file);
    text_printf(text, "MemTotal:       %8llu kB\n", kb(vm.nframes));
    text_printf(text, "MemFree:        %8llu kB\n", kb(vm.free));
    text_printf(text, "MemAvailable:   %8llu kB\n", kb(vm.free + vm.inactive));
    text_printf(text, "Buffers:        %8llu kB\n", kb(0));
    text_printf(text, "Cached:         %8llu kB\n", kb(file));
    text_printf(text, "AnonPages:      %8llu kB\n", kb(anonymous));
    text_printf(text, "Active:         %8llu kB\n", kb(vm.active));
    text_printf(text, "Inactive:       %8llu kB\n", kb(vm.inactive));
    text_printf(text, "Unevictable:    %8llu kB\n", kb(vm.wired));
    text_printf(text, "Slab:           %8llu kB\n", kb(vm.taken));
    text_printf(text, "Dirty:          %8llu kB\n", kb(vm.dirty));
    text_printf(text, "SwapTotal:      %8llu kB\n", kb(vm.swap_pages));
    text_printf(text, "SwapFree:       %8llu kB\n", kb(vm.swap_free));
    text_printf(text, "CommitLimit:    %8llu kB\n", kb(vm.committed_limit));
    text_printf(text, "Committed_AS:   %8llu kB\n", kb(vm.committed));
    return 0;
}

int procfs_vmstat(struct text *text, int pid)
{
    struct fl_vm_stats vm;

    (void)pid;
    fl_vm_stats(&vm);
    text_printf(text, "nr_free_pages %llu\n", (unsigned long long)vm.free);
    text_printf(text, "nr_active %llu\n", (unsigned long long)vm.active);
    text_printf(text, "nr_inactive %llu\n", (unsigned long long)vm.inactive);
    text_printf(text, "nr_dirty %llu\n", (unsigned long long)vm.dirty);
    text_printf(text, "nr_mappings %llu\n", (unsigned long long)vm.mappings);
    text_printf(text, "pgfault %llu\n", (unsigned long long)vm.faults);
    text_printf(text, "pgmajfault %llu\n", (unsigned long long)(vm.faults - vm.faults_minor));
    text_printf(text, "pgcow %llu\n", (unsigned long long)vm.faults_cow);
    text_printf(text, "pgzero %llu\n", (unsigned long long)vm.faults_zero);
    text_printf(text, "pgin %llu\n", (unsigned long long)vm.page_ins);
    text_printf(text, "pgout %llu\n", (unsigned long long)vm.write_backs);
    text_printf(text, "pgevict %llu\n", (unsigned long long)vm.evictions);
    text_printf(text, "pgreadahead %llu\n", (unsigned long long)vm.readahead);
    text_printf(text, "meta_bytes %llu\n", (unsigned long long)vm.meta_used_bytes);
    return 0;
}

/* Nanoseconds that the CPU had nothing to do. */
static uint64_t idle_ns(uint32_t cpu)
{
    return __atomic_load_n(&cpus[cpu].idle->td_cputime_ns, __ATOMIC_RELAXED);
}

static void stat_line(struct text *text, const char *name, int cpu, uint64_t busy_ns, uint64_t idle)
{
    if (cpu < 0)
        text_printf(text, "%s ", name);
    else
        text_printf(text, "%s%d", name, cpu);
    text_printf(text, " %llu 0 0 %llu 0 0 0 0 0 0\n", (unsigned long long)(busy_ns / TICK_NS),
                (unsigned long long)(idle / TICK_NS));
}

/* Time that is not idle counts as the users'. */
int procfs_stat(struct text *text, int pid)
{
    uint64_t now = machine_time_ns(), idle = 0;

    (void)pid;
    for (uint32_t i = 0; i < ncpus; i++)
        idle += idle_ns(i);
    uint64_t all = now * ncpus;
    stat_line(text, "cpu", -1, all > idle ? all - idle : 0, idle);
    for (uint32_t i = 0; i < ncpus; i++)
        stat_line(text, "cpu", (int)i, now > idle_ns(i) ? now - idle_ns(i) : 0, idle_ns(i));
    text_printf(text, "btime %lld\n", (long long)((uint64_t)wall_time_ns() / SEC_NS - now / SEC_NS));
    text_printf(text, "procs_running %u\n", sched_load());
    return 0;
}

static void text_seconds(struct text *text, uint64_t ns)
{
    text_printf(text, "%llu.%02llu", (unsigned long long)(ns / SEC_NS),
                (unsigned long long)(ns % SEC_NS / TICK_NS));
}

int procfs_uptime(struct text *text, int pid)
{
    uint64_t idle = 0;

    (void)pid;
    for (uint32_t i = 0; i < ncpus; i++)
        idle += idle_ns(i);
    text_seconds(text, machine_time_ns());
    text_printf(text, " ");
    text_seconds(text, idle);
    text_printf(text, "\n");
    return 0;
}

int procfs_loadavg(struct text *text, int pid)
{
    unsigned load = sched_load(), threads = 0;
    int last = 0;

    (void)pid;
    machine_lock(&proc_lock);
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p)) {
        threads += p->nthreads;
        last = p->pid > last ? p->pid : last;
    }
    machine_unlock(&proc_lock);
    text_printf(text, "%u.00 %u.00 %u.00 %u/%u %d\n", load, load, load, load, threads, last);
    return 0;
}

int procfs_cpuinfo(struct text *text, int pid)
{
    uint32_t r[4], vendor[4] = {0}, model[13] = {0};

    (void)pid;
    cpuid(0, 0, r);
    vendor[0] = r[1];
    vendor[1] = r[3];
    vendor[2] = r[2];
    cpuid(0x80000000, 0, r);
    for (uint32_t i = 0; i < 3 && r[0] >= 0x80000004; i++)
        cpuid(0x80000002 + i, 0, model + 4 * i);
    cpuid(1, 0, r);
    for (uint32_t i = 0; i < ncpus; i++) {
        text_printf(text, "processor\t: %u\nvendor_id\t: %s\n", i, (const char *)vendor);
        text_printf(text,
                    "cpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\napicid\t\t: %u\n\n",
                    r[0] >> 8 & 15, (r[0] >> 4 & 15) | (r[0] >> 12 & 0xf0), (const char *)model, r[0] & 15,
                    cpus[i].apic_id);
    }
    return 0;
}

int procfs_filesystems(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "\text2\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tproc\n");
    return 0;
}

int procfs_version(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "Linux version %s\n", RELEASE);
    return 0;
}

int procfs_ostype(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "Linux\n");
    return 0;
}

int procfs_osrelease(struct text *text, int pid)
{
    (void)pid;
    text_printf(text, "%s\n", RELEASE);
    return 0;
}

/* ---- mounts -------------------------------------------------------------------------------------------- */

/* The text, and a place for paths. */
struct mounts {
    struct text *text;
    char *path;
};

static int mounts_one(struct mount *mount, void *arg)
{
    struct mounts *mounts = arg;
    const char *device = device_name(mount->dev);
    int error = 0;

    if (mount->on == NULL)
        (void)strlcpy(mounts->path, "/", PATH_LEN_MAX);
    else
        error = inode_path(mount->on, mounts->path, PATH_LEN_MAX);
    if (error != 0)
        return 0; /* the directory has no path any more: nobody can name the mount */
    text_printf(mounts->text, "%s%s %s %s %s,noatime 0 0\n", device != NULL ? "/dev/" : "",
                device != NULL ? device : mount->type, mounts->path, mount->type,
                mount->read_only ? "ro" : "rw");
    return 0;
}

int procfs_mounts(struct text *text, int pid)
{
    struct mounts mounts = {.text = text, .path = kmalloc(PATH_LEN_MAX)};

    (void)pid;
    if (mounts.path == NULL)
        return -ENOMEM;
    (void)mount_each(mounts_one, &mounts);
    kfree(mounts.path);
    return 0;
}
