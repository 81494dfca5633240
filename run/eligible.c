/*
 * eligible.c: which mappings mmap manages (eligible.h).
 *
 *   mmap ─▶ eligible_file: a regular file, its type, its rights, its file system ─ no ─▶ the kernel
 *        ─▶ (S) eligible_length ─▶ eligible_is_image ─▶ eligible_claim ─▶ eligible_kernel_maps ─▶ managed
 *
 * All mappings of one file must show the same bytes. So a small mapping of a managed file
 * is managed too, and a file of which the kernel has a shared mapping stays the kernel's.
 *
 * Lock: (S), but for eligible_file, which asks the kernel and one atomic table.
 */
#include "eligible.h"
#include "areas.h"
#include "files.h"
#include "locks.h"
#include "registry.h"
#include "watch.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

/* What the core cannot do: such mappings are left to the kernel. */
#define MAPPING_FOREIGN_FLAGS (MAP_ANONYMOUS | MAP_HUGETLB | MAP_SYNC | MAP_GROWSDOWN | MAP_32BIT)
/* The machine shows no file beyond this offset (memfd.h). */
#define MAPPING_FARTHEST ((uint64_t)1 << 47)

/* A file of the kernel's with a shared mapping exists, or existed, that could have been managed. */
static bool kernel_has_shared FL_GUARDED_BY(shim_lock);

/* ---- the file -------------------------------------------------------------------------------------- */

/* Memory of shm_open, which a program does not expect to count as a file. */
static bool is_shared_memory(int fd)
{
    static const char place[] = "/dev/shm/";
    char name[sizeof place];

    return shim_fd_path(fd, name, sizeof name) == (long)sizeof name &&
           memcmp(name, place, sizeof place - 1) == 0;
}

static bool filesystem_is_eligible(struct mmap_args *args)
{
    struct statfs fs;

    if (linux_syscall(SYS_fstatfs, args->fd, &fs) != 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC: /* memory already, or a device's: there is nothing to page from */
    case RAMFS_MAGIC:
        args->in_memory = args->st.st_nlink > 0 && !is_shared_memory(args->fd);
        return false;
    case HUGETLBFS_MAGIC:
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
        return false;
    default:
        return true;
    }
}

bool eligible_file(struct mmap_args *args)
{
    int type = args->flags & MAP_TYPE;
    long open_flags;

    if ((args->flags & MAPPING_FOREIGN_FLAGS) != 0 || (args->prot & ~(PROT_READ | PROT_WRITE)) != 0 ||
        args->len == 0 || args->offset > MAPPING_FARTHEST || args->len > MAPPING_FARTHEST - args->offset)
        return false;
    if (type != MAP_SHARED && type != MAP_PRIVATE)
        return false;
    if (linux_syscall(SYS_fstat, args->fd, &args->st) != 0 || !S_ISREG(args->st.st_mode))
        return false;
    open_flags = linux_syscall(SYS_fcntl, args->fd, F_GETFL);
    if (open_flags < 0 || (open_flags & O_PATH) != 0 || (open_flags & O_ACCMODE) == O_WRONLY)
        return false;
    args->mode = (open_flags & O_ACCMODE) == O_RDWR ? FL_FREAD | FL_FWRITE : FL_FREAD;
    return file_may_be(args->st.st_dev, args->st.st_ino) || filesystem_is_eligible(args);
}

bool eligible_file_still(struct mmap_args *args)
{
    return !file_may_be(args->st.st_dev, args->st.st_ino) ||
           file_find(args->st.st_dev, args->st.st_ino) != NULL || filesystem_is_eligible(args);
}

/* ---- the mapping ----------------------------------------------------------------------------------- */

/*
 * A small mapping is managed if its file is managed, or is likely to be soon:
 * shared, writable and large, as when a header page is mapped before the rest.
 */
bool eligible_length(const struct mmap_args *args)
{
    if ((args->flags & MAP_TYPE) == MAP_SHARED && locks_forbid_managing(args->fd, (uint64_t)args->st.st_size))
        return false;
    if (args->len >= shim_config.min_size_bytes)
        return true;
    if ((args->flags & MAP_TYPE) == MAP_SHARED && (args->mode & FL_FWRITE) != 0 &&
        (uint64_t)args->st.st_size >= shim_config.min_size_bytes)
        return true;
    return file_find(args->st.st_dev, args->st.st_ino) != NULL;
}

/*
 * Runtimes map parts of a program over reserved addresses, and write to all of them
 * (Java relocates its class data archive at each start). Such pages cannot be written
 * back: within the limit they would only displace others, until the process is killed.
 */
bool eligible_is_image(const struct mmap_args *args)
{
    return (args->flags & MAP_TYPE) == MAP_PRIVATE && (args->prot & PROT_WRITE) != 0 &&
           file_find(args->st.st_dev, args->st.st_ino) == NULL;
}

/* ---- other mappings of the file ------------------------------------------------------------------- */

/*
 * Whether another process uses the file in a way that does not allow two caches of it.
 * Waits for other processes, so (S) is not held. Says so on standard error, the first time.
 */
static bool shared_with_others(const struct mmap_args *args)
{
    bool writes = (args->mode & FL_FWRITE) != 0;
    pid_t with;

    if (registry_claim(args->st.st_dev, args->st.st_ino, writes, &with) == REGISTRY_KERNELS) {
        if (with != 0)
            watch_say_shared(args->fd, args->st.st_ino, with);
        return true;
    }
    writes |= registry_may_write(args->st.st_dev, args->st.st_ino);
    if (!watch_used_elsewhere(args->fd, &args->st, writes, &with))
        return false;
    watch_say_shared(args->fd, args->st.st_ino, with);
    return true;
}

bool eligible_claim(const struct mmap_args *args, sigset_t *saved)
{
    struct file *file = file_find(args->st.st_dev, args->st.st_ino);
    bool shared = false;

    if (file == NULL || (args->mode & ~file->mode) != 0) {
        shim_leave(saved);
        shared = shared_with_others(args);
        shim_enter(saved);
        file = file_find(args->st.st_dev, args->st.st_ino);
    }
    if (!shared && registry_look(args->st.st_dev, args->st.st_ino) != REGISTRY_KERNELS)
        return true;
    if (file != NULL)
        watch_hand_over(file, 0);
    registry_hand_over(args->st.st_dev, args->st.st_ino);
    return false;
}

/*
 * A shared mapping that the kernel made when the file was small shows what is in the file: neither
 * side would see the other's stores before they are written back. So the file stays the kernel's.
 */
bool eligible_kernel_maps(const struct mmap_args *args, vm_offset_t except)
{
    return kernel_has_shared && file_find(args->st.st_dev, args->st.st_ino) == NULL &&
           areas_map(args->st.st_dev, args->st.st_ino, except);
}

void eligible_left_shared(void)
{
    kernel_has_shared = true;
}
