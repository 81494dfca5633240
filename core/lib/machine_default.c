/*
 * machine_default.c: what a machine with page tables and a direct map need not write: the functions of
 * machine.h about which it has nothing to say.
 *
 *   a machine's own machine_freeze ─┐
 *                                   ├─linker─▶ the core's calls
 *   the one here, weak  ────────────┘          (the machine's own, if it has one)
 *
 * Such a machine enters no page that the core did not ask for (MM1), its frames keep their bytes wherever
 * they are mapped, and the core reads and writes them through fl_vm_params.direct_map.
 *
 * Does not do: to choose at run time. A program that links a machine's functions from an archive gets the
 * weak ones instead, if the linker finds these first; so machines are linked as object files.
 */
#include "lib/errno.h"

#include <faultline/machine.h>

#define DEFAULT __attribute__((weak))

/* ---- spaces: page tables hold nothing of a range that the core did not enter --------------------------- */

DEFAULT int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                           void *object, vm_pindex_t pindex, unsigned flags)
{
    (void)prot;
    (void)object;
    (void)pindex;
    (void)flags;
    machine_detach(space, start, end);
    return 0;
}

DEFAULT int machine_writenotify(struct machine_space *space, vm_offset_t start, vm_offset_t end,
                                vm_prot_t prot, void *object, vm_pindex_t pindex)
{
    (void)space;
    (void)start;
    (void)end;
    (void)prot;
    (void)object;
    (void)pindex;
    return 0;
}

DEFAULT int machine_freeze(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    (void)space;
    (void)start;
    (void)end;
    (void)prot;
    return 0;
}

DEFAULT void machine_thaw(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    (void)space;
    (void)start;
    (void)end;
    (void)prot;
}

DEFAULT void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    if (machine_protect(space, start, end, VM_PROT_READ | VM_PROT_EXECUTE) != 0)
        machine_panic("machine_protect failed: such a machine has a machine_wrprotect of its own");
}

/* ---- pages and objects: a frame knows no object, and the direct map shows it --------------------------- */

DEFAULT bool machine_can_map(void *entry_object, void *page_object)
{
    (void)entry_object;
    (void)page_object;
    return true;
}

DEFAULT int machine_object_init(void **object)
{
    *object = NULL;
    return 0;
}

DEFAULT void machine_object_fini(void *object)
{
    (void)object;
}

DEFAULT int machine_window_get(const struct machine_run *run, enum machine_window how, bool nowait,
                               void **addr)
{
    (void)run;
    (void)how;
    (void)nowait;
    (void)addr;
    machine_panic("machine_window_get is missing: a machine without fl_vm_params.direct_map has windows");
}

DEFAULT void machine_window_put(const struct machine_run *run, enum machine_window how, void **addr,
                                bool keep)
{
    (void)run;
    (void)how;
    (void)addr;
    (void)keep;
    machine_panic("machine_window_put is missing: a machine without fl_vm_params.direct_map has windows");
}

DEFAULT void machine_release(const struct machine_run *run)
{
    (void)run;
}

DEFAULT void machine_rename(const struct machine_run *run, void *object, vm_pindex_t pindex)
{
    (void)run;
    (void)object;
    (void)pindex;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

DEFAULT void machine_log(const char *message)
{
    (void)message;
}
