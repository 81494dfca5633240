/*
 * apic.h: the interrupt controllers: each CPU's local APIC with its timer, and the I/O APIC.
 */
#ifndef MACHINES_X86_64_APIC_H
#define MACHINES_X86_64_APIC_H

#include <faultline/common.h>

/* Vectors. Devices have those from T_DEVICE on; exceptions are below 32. */
#define T_DEVICE     0x30
#define T_DEVICE_MAX 0x60
#define T_TIMER      0xf0
#define T_RESCHED    0xf1 /* another CPU has put a thread into the run queue */
#define T_SHOOTDOWN  0xf2 /* tlb.c */
#define T_HALT       0xf3 /* another CPU has panicked */
#define T_SPURIOUS   0xff

/* The boot CPU's, and the registers' mapping. Context: boot. */
void apic_init(void);
/* The calling CPU's. */
void apic_init_secondary(void);
FL_NODISCARD uint32_t apic_self(void);
void apic_eoi(void);
void apic_ipi(uint32_t apic_id, uint8_t vector);
/* To all but the calling CPU. */
void apic_ipi_others(uint8_t vector);
void apic_send_init(uint32_t apic_id);
void apic_send_sipi(uint32_t apic_id, uint8_t page);

/* One interrupt, T_TIMER, after `ticks` of the timer. */
void apic_timer_once(uint32_t ticks);
/* Free running from 2^32 - 1 down, for its measurement. */
void apic_timer_free_run(void);
FL_NODISCARD uint32_t apic_timer_count(void);

/* The ISA's interrupt irq comes to the boot CPU as `vector`. */
void ioapic_route(uint32_t irq, uint8_t vector);

#endif
