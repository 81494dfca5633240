/*
 * cpu.h: one processor: its own structure, which gs leads to, and its instructions.
 *
 *   gs ─▶ struct cpu: thread that runs now, its kernel stack, GDT, TSS, idle thread
 *
 * The kernel does not preempt itself: a thread in the kernel keeps its CPU until it sleeps or returns to its
 * program. So curthread() and curcpu() stay true for as long as their caller does not sleep.
 */
#ifndef MACHINES_X86_64_CPU_H
#define MACHINES_X86_64_CPU_H

#include <faultline/machine.h>

#include "asm.h"

#define CPUS_MAX 8

struct thread;

struct tss {
    uint32_t unused0;
    uint64_t rsp0; /* the stack for traps out of user mode */
    uint64_t rsp1, rsp2, unused1;
    uint64_t ist[7]; /* ist[0]: double faults, which may have no stack of their own */
    uint64_t unused2;
    uint16_t unused3, iomap;
} __attribute__((packed));

struct cpu {
    struct cpu *self;
    struct thread *thread; /* CPU_THREAD */
    uint64_t kstack;       /* CPU_KSTACK: the top of the thread's kernel stack */
    uint64_t scratch;      /* CPU_SCRATCH */
    volatile uint32_t ast; /* CPU_AST: look at `resched` and at signals before user mode */
    volatile uint32_t resched;
    uint32_t id;      /* (c) 0 … ncpus - 1 */
    uint32_t apic_id; /* (c) */
    struct thread *idle;
    volatile bool is_idle;        /* it halts, or is about to */
    struct thread *switched_from; /* whose thread_begins or mi_switch comes after the switch */
    struct machine_space *space;  /* whose tables cr3 has; NULL: the kernel's */
    uint32_t pins;                /* kmap's pin: the thread must not sleep */
    uint64_t gdt[8];
    struct tss tss;
};

extern struct cpu cpus[CPUS_MAX];
extern uint32_t ncpus; /* (c) after mp_start: those that run */
extern bool cpu_has_smap;
extern bool cpu_has_smep;

static inline struct cpu *curcpu(void)
{
    struct cpu *cpu;

    __asm__ volatile("movq %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

static inline struct thread *curthread(void)
{
    struct thread *thread;

    __asm__ volatile("movq %%gs:8, %0" : "=r"(thread));
    return thread;
}

/* ---- instructions -------------------------------------------------------------------------------------- */

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}
static inline void intr_enable(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void intr_disable(void)
{
    __asm__ volatile("cli" ::: "memory");
}
/* Returns the flags for intr_restore. */
static inline uint64_t intr_save(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags)::"memory");
    return flags;
}
static inline void intr_restore(uint64_t flags)
{
    if (flags & 0x200)
        intr_enable();
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
static inline uint64_t rcr2(void)
{
    uint64_t value;

    __asm__ volatile("movq %%cr2, %0" : "=r"(value));
    return value;
}
static inline uint64_t rcr3(void)
{
    uint64_t value;

    __asm__ volatile("movq %%cr3, %0" : "=r"(value));
    return value;
}
static inline void load_cr3(uint64_t value)
{
    __asm__ volatile("movq %0, %%cr3" ::"r"(value) : "memory");
}
static inline uint64_t rcr4(void)
{
    uint64_t value;

    __asm__ volatile("movq %%cr4, %0" : "=r"(value));
    return value;
}
static inline void load_cr4(uint64_t value)
{
    __asm__ volatile("movq %0, %%cr4" ::"r"(value) : "memory");
}
static inline void invlpg(vm_offset_t va)
{
    __asm__ volatile("invlpg (%0)" ::"r"(va) : "memory");
}
static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
                     : "a"(leaf), "c"(subleaf));
}
static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* ---- spin locks ---------------------------------------------------------------------------------------- */

/* Held for a few instructions with interrupts off; usable in interrupts. All zero is unlocked. */
struct FL_CAPABILITY("mutex") spinlock {
    uint32_t word;
};

/* Returns the flags for spin_unlock. */
static inline uint64_t spin_lock(struct spinlock *lock) FL_ACQUIRE(lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    uint64_t flags = intr_save();

    while (__atomic_exchange_n(&lock->word, 1, __ATOMIC_ACQUIRE) != 0)
        cpu_pause();
    return flags;
}
static inline void spin_unlock(struct spinlock *lock, uint64_t flags)
    FL_RELEASE(lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
    intr_restore(flags);
}

/* ---- what machdep.c, apic.c and mp.c do for each other ------------------------------------------------- */

/* The calling CPU's GDT, TSS, IDT, system call entry and control bits. Context: boot of each CPU. */
void cpu_init(uint32_t id, uint32_t apic_id);

#endif
