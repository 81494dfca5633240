/*
 * thread.c: threads come and go; sched.c lets them run.
 *
 *   thread_create: | canary … | registers for cpu_switch, fork_trampoline | trapframe |
 *                              ▲ td_sp
 */
#include "kernel.h"
#include "kmem.h"
#include "sched.h"
#include "space.h"

#include <faultline/vm.h>

#define FPU_BYTES 512

void fork_trampoline(void);

/* What cpu_switch takes from the stack of a thread that runs for the first time. */
struct switch_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, rip;
};

static bool thread_alloc_memory(struct thread *td, bool user)
{
    vm_frame_t frame;

    if (user) {
        td->td_fpu = kmalloc(FPU_BYTES);
        if (td->td_fpu == NULL)
            return false;
        fpu_init(td->td_fpu);
    }
    if (kmem_fails() || fl_frames_alloc(KSTACK_ORDER, &frame) != 0)
        return false;
    td->td_kstack = frame_to_virt(frame);
    *(uint64_t *)(void *)td->td_kstack = KSTACK_CANARY;
    return true;
}

struct thread *thread_create(const char *name, void (*function)(void *arg), void *arg, bool user)
{
    struct thread *td = kmalloc(sizeof(*td));

    if (td == NULL)
        return NULL;
    td->td_name = name;
    td->td_state = TD_SLEEPING;
    if (!thread_alloc_memory(td, user)) {
        thread_free(td);
        return NULL;
    }
    struct switch_frame *sf = (struct switch_frame *)(void *)thread_frame(td) - 1;
    *sf = (struct switch_frame){
        .rip = (uint64_t)fork_trampoline, .rbx = (uint64_t)function, .r12 = (uint64_t)arg};
    td->td_sp = (uint64_t)sf;
    return td;
}

void thread_start(struct thread *td)
{
    uint64_t flags = spin_lock(&sched_lock);

    sched_enqueue(td);
    spin_unlock(&sched_lock, flags);
}

void thread_free(struct thread *td)
{
    if (td->td_kstack != NULL)
        fl_frames_free(virt_to_frame(td->td_kstack), KSTACK_ORDER);
    kfree(td->td_fpu);
    kfree(td);
}

bool thread_gone(struct thread *td)
{
    uint64_t flags = spin_lock(&sched_lock);
    bool gone = td->td_state == TD_DEAD && !td->td_oncpu;

    spin_unlock(&sched_lock, flags);
    return gone;
}

void thread_exit(void) FL_NO_THREAD_SAFETY_ANALYSIS
{
    (void)spin_lock(&sched_lock);
    curthread()->td_state = TD_DEAD;
    mi_switch();
    panic("a dead thread runs");
}

void thread_set_space(struct machine_space *space)
{
    uint64_t flags = spin_lock(&sched_lock);

    curthread()->td_space = space;
    space_switch(space);
    spin_unlock(&sched_lock, flags);
}

/* ---- the program's registers --------------------------------------------------------------------------- */

void thread_set_fsbase(uint64_t base)
{
    curthread()->td_fsbase = base;
    wrmsr(MSR_FSBASE, base);
}

void thread_set_gsbase(uint64_t base)
{
    curthread()->td_gsbase = base;
    wrmsr(MSR_KGSBASE, base);
}

void fpu_save(void *area)
{
    __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_restore(const void *area)
{
    __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

void fpu_init(void *area)
{
    uint8_t *bytes = area;

    for (size_t i = 0; i < FPU_BYTES; i++)
        bytes[i] = 0;
    bytes[0] = 0x7f; /* the x87's control word 0x37f: no exceptions, 64 bits */
    bytes[1] = 0x03;
    bytes[24] = 0x80; /* MXCSR 0x1f80: no exceptions */
    bytes[25] = 0x1f;
}
