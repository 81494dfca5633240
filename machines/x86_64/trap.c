/*
 * trap.c: what happens after a trap, an interrupt and a system call, once registers are saved (exception.S).
 *
 *   trap ─┬─ page fault ─▶ trap_pfault ─▶ kernel_page_fault ─▶ fl_fault
 *         ├─ of a program ─▶ kernel_trap
 *         ├─ interrupt ─▶ its handler, and the end of interrupt
 *         └─ of the kernel ─▶ trap_fatal
 *
 * A page fault in the kernel is allowed at the instructions of support.S that copy from and to programs, at
 * addresses of programs. All else is the kernel's own error. (trap and trap_pfault, FreeBSD.)
 */
#include "apic.h"
#include "machdep.h"
#include "panic.h"
#include "sched.h"
#include "space.h"

#define T_DOUBLEFLT 8
#define T_PGFLT     14

#define PGEX_W 0x2  /* a store */
#define PGEX_I 0x10 /* an instruction fetch */

#define USER_TOP UINT64_C(0x800000000000) /* programs' addresses are below */

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, unused;
};
#define GATE_INTERRUPT 0x8e
#define GATE_USER      0xee /* programs may use it: int3 */

struct copy_fixup {
    uint64_t at, to;
};
extern const struct copy_fixup copy_table_start[], copy_table_end[]; /* kernel.ld */
extern char idt_stubs[][16];

static struct gate idt[256];
static struct {
    void (*function)(void *arg);
    void *arg;
} handler[T_DEVICE_MAX - T_DEVICE];
static uint8_t next_vector = T_DEVICE;

void trap(struct trapframe *frame);
void syscall_trap(struct trapframe *frame);
void ast(struct trapframe *frame);

/* ---- interrupts --------------------------------------------------------------------------------------- */

void idt_init(void)
{
    for (unsigned i = 0; i < 256; i++) {
        const uint64_t offset = (uint64_t)idt_stubs[i];

        idt[i] = (struct gate){.offset_low = offset & 0xffff,
                               .selector = GSEL_KCODE,
                               .ist = i == T_DOUBLEFLT,
                               .type = i == 3 ? GATE_USER : GATE_INTERRUPT,
                               .offset_middle = offset >> 16 & 0xffff,
                               .offset_high = (uint32_t)(offset >> 32)};
    }
}

void idt_load(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};

    __asm__ volatile("lidt %0" ::"m"(idtr));
}

uint8_t intr_establish(void (*function)(void *arg), void *arg)
{
    if (next_vector == T_DEVICE_MAX)
        panic("no interrupt vectors are left");
    handler[next_vector - T_DEVICE].arg = arg;
    handler[next_vector - T_DEVICE].function = function;
    return next_vector++;
}

static void interrupt(struct trapframe *frame)
{
    switch (frame->trapno) {
    case T_TIMER:
        if (panic_under_way())
            panic_timeout();
        sched_timer();
        break;
    case T_RESCHED:
        break; /* the way out looks at what was asked */
    case T_SHOOTDOWN:
        tlb_shootdown_intr();
        break;
    case T_HALT:
        panic_halt();
    case T_SPURIOUS:
        return; /* has no end of interrupt */
    default:
        if (frame->trapno < T_DEVICE || frame->trapno >= T_DEVICE_MAX ||
            handler[frame->trapno - T_DEVICE].function == NULL)
            panic("an interrupt with vector %#lx, which nobody has", frame->trapno);
        handler[frame->trapno - T_DEVICE].function(handler[frame->trapno - T_DEVICE].arg);
    }
    apic_eoi();
}

/* ---- page faults -------------------------------------------------------------------------------------- */

/* Where a copy goes on whose instruction at rip cannot; 0: it is no copy's. */
static uint64_t copy_fixup(uint64_t rip)
{
    for (const struct copy_fixup *fixup = copy_table_start; fixup < copy_table_end; fixup++) {
        if (fixup->at == rip)
            return fixup->to;
    }
    return 0;
}

static void trap_pfault(struct trapframe *frame, bool user)
{
    const vm_offset_t va = rcr2();
    const vm_prot_t access = (frame->err & PGEX_I)   ? VM_PROT_EXECUTE
                             : (frame->err & PGEX_W) ? VM_PROT_WRITE
                                                     : VM_PROT_READ;
    uint64_t fixup = 0;

    if (!user) {
        fixup = copy_fixup(frame->rip);
        if (fixup == 0 || va >= USER_TOP || !(frame->rflags & 0x200))
            trap_fatal(frame, va);
        if (curthread()->td_nofault) {
            frame->rip = fixup;
            return;
        }
    }
    intr_enable();
    int error = kernel_page_fault(frame, va, access, user);
    if (!user && error != 0)
        frame->rip = fixup;
}

/* ---- entries from exception.S ------------------------------------------------------------------------- */

void trap(struct trapframe *frame)
{
    const bool user = (frame->cs & 3) != 0;

    if (cpu_has_smap)
        __asm__ volatile("clac" ::: "cc");
    if (frame->trapno == T_PGFLT) {
        trap_pfault(frame, user);
    } else if (frame->trapno >= T_DEVICE) {
        interrupt(frame);
    } else if (user) {
        intr_enable();
        kernel_trap(frame);
    } else {
        trap_fatal(frame, rcr2());
    }
}

void syscall_trap(struct trapframe *frame)
{
    kernel_syscall(frame);
}

/* Interrupts are on. What is asked from here on sets `ast` again. */
void ast(struct trapframe *frame)
{
    struct thread *td = curthread();

    __atomic_store_n(&td->td_astpending, false, __ATOMIC_RELEASE);
    curcpu()->ast = 0;
    sched_ast();
    kernel_ast(frame);
}
