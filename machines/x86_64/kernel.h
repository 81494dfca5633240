/*
 * kernel.h: what stands on this machine, and what the machine offers beside machine.h.
 *
 *   boot ─▶ kernel_main           a trap of a program ─▶ kernel_page_fault, kernel_trap
 *           a system call ─▶ kernel_syscall              before user mode ─▶ kernel_ast
 *
 * A kernel implements the functions kernel_*; examples/min_kernel is the smallest one, kernel/ a whole one.
 */
#ifndef MACHINES_X86_64_KERNEL_H
#define MACHINES_X86_64_KERNEL_H

#include <stdarg.h>

#include "thread.h"

/* ---- what the kernel implements ----------------------------------------------------------------------- */

/* The first thread, after everything is up: interrupts, timers, all CPUs, the VM and its daemons. */
_Noreturn __attribute__((noinline)) void
kernel_main(const char *command_line); /* stays a name in backtraces */
/* A system call of the calling thread's program; the result goes to frame->rax. Interrupts are on. */
void kernel_syscall(struct trapframe *frame);
/*
 * The program, or a copy for it, needs the page at va; access as for fl_fault. Returns 0: try again.
 * Otherwise a copy fails; of a program (`user`) a signal is on its way. Interrupts are on; may sleep.
 */
FL_NODISCARD int kernel_page_fault(struct trapframe *frame, vm_offset_t va, vm_prot_t access, bool user);
/* Another trap of the program's: division, illegal instruction … Interrupts are on. */
void kernel_trap(struct trapframe *frame);
/* The thread is about to return to its program and something was asked of it: signals. */
void kernel_ast(struct trapframe *frame);
/* The serial line has received a byte. In an interrupt. */
void kernel_console_input(unsigned char c);
/*
 * Says what the kernel knows when it dies. Nothing else runs, locks are as if free, and sleeps end at once.
 * It has a second; a panic or a trap in it ends it.
 */
void kernel_panic_report(void);

/* ---- what the machine offers --------------------------------------------------------------------------- */

/* The console: a serial line. Context: any. */
void console_putc(char c);
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As C's, without floating point. */
int vsnprintf(char *to, size_t max, const char *format, va_list args);
int snprintf(char *to, size_t max, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Ends the computer: QEMU's status is (code << 1) | 1. */
_Noreturn void poweroff(unsigned code);
_Noreturn void reboot(void);

/* Physical memory through the direct map. */
static inline void *phys_to_virt(uint64_t pa)
{
    return (void *)(pa + DMAP_MIN);
}
/* Of an address in the direct map. */
static inline uint64_t virt_to_phys(const void *va)
{
    return (uint64_t)va - DMAP_MIN;
}
/* A page's 4096 bytes, aligned: zeros, or a copy. */
void pagezero(void *page);
void pagecopy(void *to, const void *from);

/* Maps device registers; the mapping stays. */
FL_NODISCARD volatile void *device_map(uint64_t pa, size_t len_bytes);

/* Frames of the VM's budget, by physical address. */
extern uint64_t frames_pa; /* (c) where frame 0 lies */
static inline uint64_t frame_to_phys(vm_frame_t frame)
{
    return frames_pa + ptoa((uint64_t)frame);
}
static inline void *frame_to_virt(vm_frame_t frame)
{
    return phys_to_virt(frame_to_phys(frame));
}
static inline vm_frame_t virt_to_frame(const void *va)
{
    return (vm_frame_t)atop(virt_to_phys(va) - frames_pa);
}
extern uint64_t physmem_bytes; /* (c) all memory that the computer has */

/* A free interrupt vector calls function(arg) on the boot CPU. Returns the vector. */
FL_NODISCARD uint8_t intr_establish(void (*function)(void *arg), void *arg);
/* The CPU that gets device interrupts. */
FL_NODISCARD uint32_t intr_apic_id(void);

/* Nanoseconds since 1970 when machine_time_ns() was 0. */
extern int64_t boot_time_ns;

/*
 * Copies to or from a program's addresses, which the caller has checked. Absent pages are brought in, unless
 * td_nofault is set. Return how many bytes were not copied. copy_string: the length; -1, a fault; -2, none of
 * the first `max` bytes is 0.
 */
FL_NODISCARD size_t copy_user(void *to, const void *from, size_t len_bytes);
FL_NODISCARD size_t fill_user(void *to, size_t len_bytes);
FL_NODISCARD int64_t copy_string(char *to, const char *from, size_t max);
/* Compares the program's word with *expected, and makes it `value` if they are equal, in one step; *expected
 * becomes what the word was. `smap`: cpu_has_smap. Returns 0; -1: a fault. (casueword32, FreeBSD.) */
FL_NODISCARD int casuword_io(uint32_t *word, uint32_t *expected, uint32_t value, bool smap);

/* The calling thread's floating-point registers to and from memory of 512 bytes, aligned to 16. */
void fpu_save(void *area);
void fpu_restore(const void *area);
/* What a new program starts with. */
void fpu_init(void *area);

/* The program's fs and gs bases, of the calling thread. */
void thread_set_fsbase(uint64_t base);
void thread_set_gsbase(uint64_t base);

#endif
