/*
 * space.c: the window of addresses, and what is attached where in it.
 *
 *     LINUX_WINDOW_START                                                        LINUX_WINDOW_END
 *     | reserved | memfd + object's stretch, registered | reserved | memfd … |  reserved |
 *       PROT_NONE                                         PROT_NONE
 *
 * Reserved ranges are anonymous and PROT_NONE, and each costs one of the kernel's areas. An attached range
 * becomes accessible only after it is registered with userfaultfd: before that, an access would find a hole
 * of the memfd and read zeros. For the same reason it is not inherited by fork (MADV_DONTFORK): a child has
 * no registration, so it gets SIGSEGV instead of wrong bytes.
 *
 * There is one space, because a process has one. Locks: none of its own; the core holds the map's.
 */
#include "space.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "uffd.h"
#include "zap.h"

#include <errno.h>
#include <sys/mman.h>

struct machine_space {
    vm_offset_t start, end;
    bool used;
};

static struct machine_space process_space;

static int reserve(vm_offset_t start, vm_offset_t end, int fixed)
{
    long addr = linux_syscall(SYS_mmap, start, end - start, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return linux_syscall_failed(addr) ? (int)addr : 0;
}

int linux_window_reserve(void)
{
    int error = reserve(LINUX_WINDOW_START, LINUX_WINDOW_END, MAP_FIXED_NOREPLACE);
    if (error == -EEXIST)
        linux_machine_set_error("something else lies in the window of addresses that Faultline needs");
    else if (error != 0)
        linux_machine_set_error(
            "cannot reserve addresses: lift the limit on address space (ulimit -v unlimited)");
    process_space.used = false;
    return error;
}

void linux_window_unreserve(void)
{
    /* Cannot fail: no area is split. */
    (void)linux_syscall(SYS_munmap, LINUX_WINDOW_START, LINUX_WINDOW_END - LINUX_WINDOW_START);
}

int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    if (process_space.used || start < LINUX_WINDOW_START || end > LINUX_WINDOW_END || start >= end)
        return -ENOMEM;
    process_space = (struct machine_space){.start = start, .end = end, .used = true};
    *space = &process_space;
    return 0;
}

void machine_space_destroy(struct machine_space *space)
{
    space->used = false;
}

void machine_space_activate(struct machine_space *space)
{
    (void)space;
}

static int host_prot(vm_prot_t prot)
{
    return prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* The new range is one area of exactly [start, end), so the calls after the mmap never split an area, and
 * fail only when the kernel has no memory for a few words. */
int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                   void *object, vm_pindex_t pindex)
{
    size_t len_bytes = end - start;

    if (start < space->start || end > space->end)
        machine_panic("machine_attach outside of the space");
    if (pindex >= LINUX_OBJECT_PAGES || atop(len_bytes) > LINUX_OBJECT_PAGES - pindex)
        return -ENOMEM; /* beyond the object's stretch: docs/design.md */
    linux_zap_flush();  /* pending ranges are of what was attached before */
    long addr = linux_syscall(SYS_mmap, start, len_bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, linux_memfd_fd(),
                              linux_memfd_offset(object, pindex));
    if (linux_syscall_failed(addr))
        return -ENOMEM;
    if (linux_syscall(SYS_madvise, start, len_bytes, MADV_DONTFORK) == 0 &&
        linux_uffd_register(start, end) == 0 &&
        (prot == VM_PROT_NONE || machine_protect(space, start, end, prot) == 0))
        return 0;
    /* What was attached before cannot be restored without more memory. So nothing is:
     * SIGSEGV, never wrong bytes. */
    machine_detach(space, start, end);
    return -ENOMEM;
}

static int reserve_over(vm_offset_t start, vm_offset_t end)
{
    return reserve(start, end, MAP_FIXED);
}

/*
 * At the limit on areas the kernel refuses a new area even when it would replace many. Whole areas can be
 * unmapped even then. A range that would split an area stays, without mappings: it is still registered, and
 * the core answers every fault in it with -EFAULT.
 */
void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    if (linux_zap_replace(start, end, reserve_over) == 0)
        return;
    if (linux_syscall(SYS_munmap, start, end - start) != 0) {
        machine_unmap(space, start, end, 0);
        linux_zap_flush();
    } else if (reserve(start, end, MAP_FIXED_NOREPLACE) != 0)
        machine_log("a range of managed addresses was lost to another mapping");
}

int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    (void)space;
    return linux_syscall(SYS_mprotect, start, end - start, host_prot(prot)) == 0 ? 0 : -ENOMEM;
}
