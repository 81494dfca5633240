/*
 * vm_commit.c: promised memory (vm_commit.h).
 */
#include "vm/vm_commit.h"
#include "vm/vm_object.h"
#include <faultline/vm.h>
#include <stdatomic.h>

static struct {
    enum fl_overcommit mode; /* (c) */
    _Atomic uint64_t limit;  /* pages */
    _Atomic uint64_t npages; /* promised and reserved */
} commit;

void vm_commit_startup(enum fl_overcommit mode, uint32_t nframes)
{
    commit.mode = mode;
    atomic_store(&commit.limit, nframes);
    atomic_store(&commit.npages, 0);
}

void vm_commit_swapon(uint64_t nslots)
{
    atomic_fetch_add(&commit.limit, nslots);
}

bool vm_commit_reserve(uint64_t npages)
{
    if (npages == 0)
        return true;
    uint64_t now = atomic_fetch_add(&commit.npages, npages) + npages;
    if (commit.mode == FL_OVERCOMMIT_LAZY || now <= atomic_load(&commit.limit))
        return true;
    vm_commit_release(npages);
    return false;
}

void vm_commit_release(uint64_t npages)
{
    atomic_fetch_sub(&commit.npages, npages);
}

void vm_commit_account(uint64_t npages)
{
    atomic_fetch_add(&commit.npages, npages);
}

uint64_t vm_committed(uint64_t *limit)
{
    *limit = atomic_load(&commit.limit);
    return atomic_load(&commit.npages);
}

bool vm_commit_covers(unsigned eflags, vm_prot_t prot, const struct vm_object *object)
{
    if ((eflags & MAP_ENTRY_RESERVED) != 0)
        return false;
    if ((eflags & MAP_ENTRY_COW) != 0)
        return (prot & VM_PROT_WRITE) != 0;
    return object != NULL && object->type == OBJT_SWAP;
}
