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

/* The page table for va is there from now on; Context: boot. A page of the kernel's own is entered at va,
 * whose table is there; what is entered there: 0: nothing. */
void pmap_kenter_table(uint64_t va);
void pmap_kenter(uint64_t va, uint64_t pa);
FL_NODISCARD uint64_t pmap_kextract(uint64_t va);
/* … and is not there any more, but for TLBs. */
void pmap_kremove(uint64_t va);

/* ---- meta.c ---- */

/* Reserves addresses for the metadata of nframes frames. Context: boot. */
void meta_init(uint64_t nframes);
FL_NODISCARD void *meta_start(void);
FL_NODISCARD size_t meta_len_bytes(void);
/* [start, end) of physical memory is for metadata; the last piece is used first. Context: boot. */
void meta_give(uint64_t start, uint64_t end);
/* How many pages more fl_vm_boot needs, for nframes frames. */
FL_NODISCARD uint64_t meta_lacks(uint64_t nframes);
/* The VM runs: from now on its frames are used. */
void meta_booted(void);
/* fl_vm_params.back_meta */
FL_NODISCARD bool meta_back(void *start, size_t len);

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
