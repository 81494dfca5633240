/*
 * panic.c: how the computer ends: by a panic, which prints what is known and stops QEMU with status 3, or by
 * poweroff.
 *
 *   backtrace: rbp ─▶ | caller's rbp | return address | …
 *
 * The names come from a table of the kernel's functions, sorted by address, which the build makes of the
 * linked kernel (tools/ksyms) and links into it: ksyms.
 */
#include "panic.h"

#include "apic.h"
#include "console.h"
#include "machdep.h"

#define DEBUG_EXIT   0xf4 /* QEMU's isa-debug-exit: its status is (value << 1) | 1 */
#define PANIC_STATUS 1
#define KBD_COMMAND  0x64
#define KBD_RESET    0xfe
#define FRAMES_MAX   32

struct ksym {
    uint64_t start;
    const char *name;
};
extern const struct ksym ksyms[];
extern const uint64_t nksyms;

static uint32_t panicking; /* atomic: a CPU's number, + 1 */

_Noreturn void panic_halt(void)
{
    intr_disable();
    for (;;)
        __asm__ volatile("hlt");
}

void poweroff(unsigned code)
{
    outl(DEBUG_EXIT, code);
    printf("the computer may be switched off\n"); /* there is no such device */
    panic_halt();
}

void reboot(void)
{
    outb(KBD_COMMAND, KBD_RESET);
    poweroff(0);
}

static void print_address(uint64_t address)
{
    uint64_t low = 0, high = nksyms;

    while (low < high) {
        const uint64_t middle = (low + high) / 2;

        if (ksyms[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        printf("  %#lx\n", address);
    else
        printf("  %#lx %s+%#lx\n", address, ksyms[low - 1].name, address - ksyms[low - 1].start);
}

/* Only addresses of the thread's kernel stack are followed. */
static void backtrace(uint64_t rbp)
{
    const uint64_t bottom = (uint64_t)curthread()->td_kstack, top = bottom + KSTACK_BYTES;

    for (unsigned i = 0; i < FRAMES_MAX && rbp >= bottom && rbp + 16 <= top && (rbp & 7) == 0; i++) {
        const uint64_t *frame = (const uint64_t *)rbp;

        if (frame[1] == 0)
            break;
        print_address(frame[1]);
        rbp = frame[0];
    }
}

bool panic_under_way(void)
{
    return __atomic_load_n(&panicking, __ATOMIC_RELAXED) != 0;
}

/* Only the first CPU that panics goes on. A panic in the panic, of the last checks, says what they found. */
static void panic_begin(const char *message)
{
    uint32_t none = 0;

    intr_disable();
    if (!__atomic_compare_exchange_n(&panicking, &none, curcpu()->id + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        if (none != curcpu()->id + 1)
            panic_halt();
        printf("and then: %s\n", message);
        poweroff(PANIC_STATUS);
    }
    if (ncpus > 1)
        apic_ipi_others(T_HALT);
    console_panic();
}

static _Noreturn void panic_end(uint64_t rbp)
{
    const struct thread *td = curthread();

    printf("CPU %u, thread %s, %lu ns after boot\n", curcpu()->id, td->td_name, machine_time_ns());
    backtrace(rbp);
    /* What is said now looks at structures that may be broken: the timer ends it if it does not end. */
    if (apic_timer_hz != 0) {
        apic_timer_once((uint32_t)apic_timer_hz);
        intr_enable();
    }
    kernel_panic_report();
    poweroff(PANIC_STATUS);
}

void panic_timeout(void)
{
    printf("the report does not end\n");
    poweroff(PANIC_STATUS);
}

void panic(const char *format, ...)
{
    char message[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    panic_begin(message);
    printf("panic: %s\n", message);
    panic_end((uint64_t)__builtin_frame_address(0));
}

void machine_panic(const char *message)
{
    panic("%s", message);
}

void trap_fatal(struct trapframe *frame, uint64_t va)
{
    panic_begin("a trap of the report's own");
    printf("panic: trap %lu, error %#lx, at address %#lx\n", frame->trapno, frame->err, va);
    printf(" rip %016lx  rsp %016lx  rflags %08lx  cs %#lx\n", frame->rip, frame->rsp, frame->rflags,
           frame->cs);
    printf(" rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", frame->rax, frame->rbx, frame->rcx,
           frame->rdx);
    printf(" rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx\n", frame->rsi, frame->rdi, frame->rbp,
           frame->r8);
    printf(" r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx\n", frame->r9, frame->r10, frame->r11,
           frame->r12);
    printf(" r13 %016lx  r14 %016lx  r15 %016lx\n", frame->r13, frame->r14, frame->r15);
    print_address(frame->rip);
    panic_end(frame->rbp);
}
