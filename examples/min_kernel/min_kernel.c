/*
 * min_kernel.c: the smallest kernel: it makes an address space, maps memory, faults it in, and prints.
 *
 *   kernel_main ─▶ fl_space_create ─▶ fl_sys_mmap ─▶ copies to the mapping ─▶ kernel_page_fault ─▶ fl_fault
 *
 * machines/x86_64 boots the computer, the VM and its daemons, and calls kernel_main. There is no program: the
 * kernel stores into the mapping itself, by copy_user, whose faults are served like a program's.
 *
 *   qemu-system-x86_64 -nographic -m 64M -device isa-debug-exit,iobase=0xf4 -kernel build/min_kernel.elf
 */
#include <faultline/vm.h>

#include "kernel.h"

#define BYTES (UINT64_C(8) << 20)

static struct vm_map *map; /* the one space of this kernel */
static uint64_t faults;

int kernel_page_fault(struct trapframe *frame, vm_offset_t va, vm_prot_t access, bool user)
{
    (void)frame;
    (void)user;
    faults++;
    return fl_fault(map, va, access);
}

/* There are no programs, so nothing of theirs arrives. */
void kernel_syscall(struct trapframe *frame)
{
    panic("a system call from %#lx", frame->rip);
}

void kernel_trap(struct trapframe *frame)
{
    panic("a program's trap at %#lx", frame->rip);
}

void kernel_ast(struct trapframe *frame)
{
    (void)frame;
}

void kernel_console_input(unsigned char c)
{
    printf("%c", c);
}

void kernel_panic_report(void)
{
    printf("%lu faults\n", faults);
    fl_vm_check(); /* or it says which invariant does not hold */
    printf("the VM's invariants hold\n");
}

static void must(int64_t result, const char *what)
{
    if (result < 0)
        panic("%s: error %ld", what, -result);
}

/* Each page gets its own number, and keeps it. */
static void store_and_check(char *memory)
{
    for (uint64_t i = 0; i < BYTES / FL_PAGE_SIZE; i++) {
        if (copy_user(memory + i * FL_PAGE_SIZE, &i, sizeof(i)) != 0)
            panic("page %lu cannot be written", i);
    }
    for (uint64_t i = 0; i < BYTES / FL_PAGE_SIZE; i++) {
        uint64_t found;

        if (copy_user(&found, memory + i * FL_PAGE_SIZE, sizeof(found)) != 0 || found != i)
            panic("page %lu does not say its number", i);
    }
}

/* A space comes, is used, and goes: in the end all of its frames are free again. */
static void use_memory(void)
{
    struct fl_vm_stats stats;

    faults = 0;
    must(fl_space_create(0x10000, UINT64_C(0x7ffffffff000), &map), "fl_space_create");
    thread_set_space(fl_space_machine(map));
    const int64_t memory =
        fl_sys_mmap(map, 0, BYTES, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    must(memory, "fl_sys_mmap");
    const uint64_t start = machine_time_ns();
    store_and_check((char *)memory);
    printf("%lu MiB at %#lx: %lu faults, %lu us\n", BYTES >> 20, (uint64_t)memory, faults,
           (machine_time_ns() - start) / 1000);
    must(fl_sys_munmap(map, (vm_offset_t)memory, BYTES), "fl_sys_munmap");
    thread_set_space(NULL);
    fl_space_destroy(map);
    fl_vm_check();
    fl_vm_stats(&stats);
    printf("%lu of %lu frames are free\n", stats.free, stats.nframes);
}

/* Whether the command line has the word. */
static bool asked_for(const char *command_line, const char *word)
{
    for (; *command_line != 0; command_line++) {
        size_t i = 0;

        while (word[i] != 0 && command_line[i] == word[i])
            i++;
        if (word[i] == 0)
            return true;
    }
    return false;
}

void kernel_main(const char *command_line)
{
    printf("min_kernel: %u CPUs, %lu MiB, \"%s\"\n", ncpus, physmem_bytes >> 20, command_line);
    if (asked_for(command_line, "crash"))
        *(volatile int *)0 = 1; /* shows what a kernel's own fault looks like */
    use_memory();               /* the first time the kernel's heap and its page tables grow; they are kept */
    use_memory();
    printf("good bye\n");
    poweroff(0);
}
