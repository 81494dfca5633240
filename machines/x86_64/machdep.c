/*
 * machdep.c: from the boot loader's memory map to a running VM, and each CPU's segments and control bits.
 *
 *   physical memory
 *   | boot_alloc: tables … | metadata | … 1M | kernel | metadata | frames of the VM …  | metadata | ACPI … |
 *                                                                ▲ frames_pa, a multiple of 2 MiB
 *
 * Before the VM runs, its metadata (meta.c) gets what lies below the frames, and as much of their end as it
 * still needs.
 *
 * Does not do: RAM in other pieces than the one with the kernel, which on PCs is all below 3 GiB.
 * (machdep.c, FreeBSD: hammer_time.)
 */
#include "machdep.h"

#include <faultline/vm.h>

#include "apic.h"
#include "console.h"
#include "highmem.h"
#include "sched.h"

/* What the loader leaves, and its memory map, of Xen's PVH boot protocol. */
struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_pa, cmdline_pa, rsdp_pa, memmap_pa;
    uint32_t memmap_entries, reserved;
};
#define START_INFO_MAGIC 0x336ec578
struct memmap_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
#define MEMMAP_RAM 1

#define RANGES_MAX 32

_Static_assert(offsetof(struct cpu, thread) == CPU_THREAD && offsetof(struct cpu, kstack) == CPU_KSTACK &&
                   offsetof(struct cpu, scratch) == CPU_SCRATCH && offsetof(struct cpu, ast) == CPU_AST,
               "asm.h and struct cpu");
_Static_assert(offsetof(struct trapframe, rbx) == TF_RBX && offsetof(struct trapframe, rax) == TF_RAX &&
                   offsetof(struct trapframe, rdi) == TF_RDI &&
                   offsetof(struct trapframe, trapno) == TF_TRAPNO &&
                   offsetof(struct trapframe, err) == TF_ERR && offsetof(struct trapframe, rip) == TF_RIP &&
                   offsetof(struct trapframe, cs) == TF_CS &&
                   offsetof(struct trapframe, rflags) == TF_RFLAGS &&
                   offsetof(struct trapframe, rsp) == TF_RSP && sizeof(struct trapframe) == TF_SIZE,
               "asm.h and struct trapframe");

struct cpu cpus[CPUS_MAX];
uint32_t ncpus = 1;
bool cpu_has_smap, cpu_has_smep;
uint64_t frames_pa, physmem_bytes;

static char command_line[512];
static struct physrange ram[RANGES_MAX];
static uint32_t nram;
static struct physrange boot_memory; /* what boot_alloc has left */

void hammer_time(uint64_t start_info_pa);

/* ---- memory ------------------------------------------------------------------------------------------- */

uint64_t boot_alloc(uint32_t npages)
{
    uint64_t pa = boot_memory.start;

    if (boot_memory.end - pa < ptoa((uint64_t)npages))
        panic("no memory below 1 MiB is left for page tables");
    boot_memory.start += ptoa((uint64_t)npages);
    uint64_t *word = phys_to_virt(pa);
    for (size_t i = 0; i < ptoa((uint64_t)npages) / sizeof(*word); i++)
        word[i] = 0;
    return pa;
}

static uint64_t kernel_pa(const char *mark)
{
    return (uint64_t)mark - KERNBASE;
}

/* Copies what the loader says: its memory will be used. Returns where ACPI's root pointer is. */
static uint64_t read_start_info(uint64_t pa)
{
    const struct start_info *info = phys_to_virt(pa);

    if (info->magic != START_INFO_MAGIC || info->version < 1)
        panic("the loader gave no PVH start info with a memory map");
    const struct memmap_entry *entry = phys_to_virt(info->memmap_pa);
    for (uint32_t i = 0; i < info->memmap_entries && nram < RANGES_MAX; i++) {
        if (entry[i].type != MEMMAP_RAM)
            continue;
        ram[nram].start = round_page(entry[i].addr);
        ram[nram].end = trunc_page(entry[i].addr + entry[i].size);
        physmem_bytes += entry[i].size;
        nram++;
    }
    const char *line = info->cmdline_pa != 0 ? phys_to_virt(info->cmdline_pa) : "";
    for (size_t i = 0; i + 1 < sizeof(command_line) && line[i] != 0; i++)
        command_line[i] = line[i];
    return info->rsdp_pa;
}

static const struct physrange *ram_with(uint64_t pa)
{
    for (uint32_t i = 0; i < nram; i++) {
        if (ram[i].start <= pa && pa < ram[i].end)
            return &ram[i];
    }
    panic("there is no memory at %#lx", pa);
}

/* The first page stays unused, and the second page is the trampoline's (mp.c). */
static void boot_memory_init(void)
{
    const struct physrange *low = ram_with(0x10000);

    boot_memory = (struct physrange){.start = 0x10000, .end = low->end < 0x100000 ? low->end : 0x100000};
}

/* ---- each CPU ------------------------------------------------------------------------------------------ */

#define DESC_KCODE 0x00af9b000000ffff
#define DESC_KDATA 0x00cf93000000ffff
#define DESC_UDATA 0x00cff3000000ffff
#define DESC_UCODE 0x00affb000000ffff
#define DESC_TSS   0x0000890000000000

#define RFLAGS_MASK 0x47700 /* AC NT IOPL DF IF TF: off in the kernel's system call entry */

void fast_syscall(void);

static char double_fault_stack[CPUS_MAX][4096] __attribute__((aligned(16)));

static void gdt_init(struct cpu *cpu)
{
    const uint64_t tss = (uint64_t)&cpu->tss;
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdtr = {.limit = sizeof(cpu->gdt) - 1, .base = (uint64_t)cpu->gdt};

    cpu->gdt[1] = DESC_KCODE;
    cpu->gdt[2] = DESC_KDATA;
    cpu->gdt[4] = DESC_UDATA;
    cpu->gdt[5] = DESC_UCODE;
    cpu->gdt[6] = DESC_TSS | (sizeof(cpu->tss) - 1) | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
    cpu->gdt[7] = tss >> 32;
    cpu->tss.ist[0] = (uint64_t)(double_fault_stack[cpu->id] + sizeof(double_fault_stack[0]));
    cpu->tss.iomap = sizeof(cpu->tss);
    __asm__ volatile("lgdt %0" ::"m"(gdtr));
    __asm__ volatile("ltr %w0" ::"r"(GSEL_TSS));
}

void cpu_init(uint32_t id, uint32_t apic_id)
{
    struct cpu *cpu = &cpus[id];
    uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    uint32_t regs[4] = {0};

    cpu->self = cpu;
    cpu->id = id;
    cpu->apic_id = apic_id;
    gdt_init(cpu);
    idt_load();
    wrmsr(MSR_GSBASE, (uint64_t)cpu);
    wrmsr(MSR_KGSBASE, 0);
    wrmsr(MSR_STAR, (uint64_t)(GSEL_UCODE32 | 3) << 48 | (uint64_t)GSEL_KCODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)fast_syscall);
    wrmsr(MSR_SFMASK, RFLAGS_MASK);
    cpuid(0, 0, regs);
    if (regs[0] >= 7) {
        cpuid(7, 0, regs);
        cpu_has_smep = (regs[1] & 1u << 7) != 0;
        cpu_has_smap = (regs[1] & 1u << 20) != 0;
    }
    if (cpu_has_smep)
        cr4 |= CR4_SMEP;
    if (cpu_has_smap)
        cr4 |= CR4_SMAP;
    load_cr4(cr4);
    __asm__ volatile("fninit");
}

/* ---- the VM -------------------------------------------------------------------------------------------- */

static void vm_boot(void)
{
    const uint64_t end = ram_with(kernel_pa(kernel_start))->end;
    uint64_t npages_meta;

    frames_pa = (kernel_pa(kernel_end) + 0x1fffff) & ~UINT64_C(0x1fffff);
    if (frames_pa + (UINT64_C(1) << 20) > end)
        panic("%lu KiB of memory are too few", physmem_bytes >> 10);
    meta_init(atop(end - frames_pa));
    const struct machine_kmap *kmap = highmem_init(command_line, atop(end - frames_pa));
    /* what fl_vm_boot needs beyond the pieces of memory below the frames comes from their end */
    meta_give(boot_memory.start, boot_memory.end);
    meta_give(round_page(kernel_pa(kernel_end)), frames_pa);
    npages_meta = meta_lacks(atop(end - frames_pa));
    meta_give(end - ptoa(npages_meta), end);
    boot_memory.start = boot_memory.end;
    struct fl_vm_params params = {
        .meta = meta_start(),
        .meta_len_bytes = meta_len_bytes(),
        .back_meta = meta_back,
        .nframes = (uint32_t)(atop(end - frames_pa) - npages_meta),
        .superpages = true,
        .direct_map = kmap == NULL ? phys_to_virt(frames_pa) : NULL,
        .kmap = kmap,
    };
    int error = fl_vm_boot(&params);
    if (error != 0)
        panic("the VM does not boot with %u frames: error %d", params.nframes, error);
    meta_booted();
}

static void pageout_main(void *arg)
{
    (void)arg;
    fl_pageout_run();
    thread_exit();
}

static void writeback_main(void *arg)
{
    (void)arg;
    fl_writeback_run();
    thread_exit();
}

static void prefault_main(void *arg)
{
    (void)arg;
    fl_prefault_run();
    thread_exit();
}

static void start_daemon(const char *name, void (*function)(void *arg))
{
    struct thread *td = thread_create(name, function, NULL, false);

    if (td == NULL)
        panic("no memory for the thread %s", name);
    thread_start(td);
}

/* ---- */

void hammer_time(uint64_t start_info_pa)
{
    console_init();
    uint64_t rsdp_pa = read_start_info(start_info_pa);
    boot_memory_init();
    idt_init();
    cpu_init(0, 0);
    sched_init(boot_stack);
    /* ACPI's tables lie behind the RAM, or below 1 MiB */
    pmap_bootstrap(ram_with(kernel_pa(kernel_start))->end + (UINT64_C(2) << 20));
    acpi_init(rsdp_pa);
    apic_init();
    clock_init();
    vm_boot();
    cpus[0].apic_id = apic_self();
    sched_start();
    console_intr_init();
    intr_enable();
    start_daemon("pageout", pageout_main);
    start_daemon("writeback", writeback_main);
    start_daemon("prefault", prefault_main);
    mp_start();
    kernel_main(command_line);
}
