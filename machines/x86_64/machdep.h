/*
 * machdep.h: what the files of this machine do for each other while the computer starts.
 *
 *   hammer_time: console ─▶ memory map ─▶ cpu_init ─▶ pmap_bootstrap ─▶ ACPI, APIC, clock ─▶ the VM
 *                ─▶ threads ─▶ daemons ─▶ the other CPUs ─▶ kernel_main
 */
#ifndef MACHINES_X86_64_MACHDEP_H
#define MACHINES_X86_64_MACHDEP_H

#include "kernel.h"

/* The linker's marks (kernel.ld). */
extern char kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];

/* A range of physical memory, [start, end), that is RAM. */
struct physrange {
    uint64_t start, end;
};

/* ---- machdep.c ---- */

/* npages zeroed pages below 1 MiB. Panics when there are no more. Context: boot, one CPU. */
FL_NODISCARD uint64_t boot_alloc(uint32_t npages);

/* ---- pmap_boot.c ---- */

/* The kernel's tables: what each space has in its upper half. */
extern uint64_t kernel_pml4_pa; /* (c) */
/*
 * Makes them: the kernel's text, constants and data with the rights that each needs, and the direct map of
 * [0, end), where nothing may be executed and the kernel's text and constants do not appear. Switches to
 * them.
 */
void pmap_bootstrap(uint64_t end);
/* A new space's root gets its upper half; a root that goes loses it. */
void pmap_pinit_kernel(uint64_t *pml4);
void pmap_release_kernel(uint64_t *pml4);

/* ---- acpi.c ---- */

#define ACPI_CPUS_MAX CPUS_MAX
struct acpi_info {
    uint32_t ncpus;
    uint8_t apic_id[ACPI_CPUS_MAX];
    uint64_t ioapic_pa;
    uint32_t irq_gsi[16]; /* where the ISA's interrupts arrive at the I/O APIC */
    uint16_t pm_timer;    /* its port; 0: none */
};
extern struct acpi_info acpi;
/* Finds the tables from the root pointer at rsdp_pa, or by search if that is 0. Panics if there are none. */
void acpi_init(uint64_t rsdp_pa);

/* ---- clock.c ---- */

/* Measures the TSC, and the APIC's timer with it. Context: boot, interrupts off. */
void clock_init(void);
extern uint64_t apic_timer_hz; /* (c) */

/* ---- mp.c ---- */

/* Starts the other CPUs and waits for them. */
void mp_start(void);

/* ---- trap.c ---- */

void idt_init(void); /* the table, once */
void idt_load(void); /* the calling CPU uses it */

#endif
