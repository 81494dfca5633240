/*
 * apic.c: local APICs, by their memory-mapped registers, and the I/O APIC; the old controllers are silenced.
 * (Intel SDM volume 3A, chapter 11; 82093AA I/O APIC.)
 */
#include "apic.h"

#include "machdep.h"

#define LAPIC_PA          0xfee00000
#define LAPIC_ID          0x20
#define LAPIC_TPR         0x80
#define LAPIC_EOI         0xb0
#define LAPIC_SVR         0xf0
#define LAPIC_ICR_LO      0x300
#define LAPIC_ICR_HI      0x310
#define LAPIC_LVT_TIMER   0x320
#define LAPIC_LVT_LINT0   0x350
#define LAPIC_TIMER_INIT  0x380
#define LAPIC_TIMER_COUNT 0x390
#define LAPIC_TIMER_DIV   0x3e0

#define SVR_ENABLE  0x100
#define LVT_MASKED  0x10000
#define TIMER_DIV_1 0xb
#define ICR_INIT    0x4500
#define ICR_SIPI    0x4600
#define ICR_PENDING 0x1000
#define ICR_OTHERS  0xc4000
#define ICR_ASSERT  0x4000

#define IOAPIC_SELECT 0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_REDIR  0x10

static volatile uint8_t *lapic, *ioapic;

static uint32_t lapic_read(uint32_t reg)
{
    return *(volatile uint32_t *)(volatile void *)(lapic + reg);
}

static void lapic_write(uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(volatile void *)(lapic + reg) = value;
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(volatile void *)(ioapic + IOAPIC_SELECT) = reg;
    *(volatile uint32_t *)(volatile void *)(ioapic + IOAPIC_WINDOW) = value;
}

static void pic_mask(void)
{
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void apic_init(void)
{
    pic_mask();
    lapic = device_map(LAPIC_PA, VM_PAGE_SIZE);
    ioapic = device_map(acpi.ioapic_pa, VM_PAGE_SIZE);
    apic_init_secondary();
}

void apic_init_secondary(void)
{
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    lapic_write(LAPIC_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_LVT_TIMER, T_TIMER);
    lapic_write(LAPIC_SVR, SVR_ENABLE | T_SPURIOUS);
}

uint32_t apic_self(void)
{
    return lapic_read(LAPIC_ID) >> 24;
}

uint32_t intr_apic_id(void)
{
    return cpus[0].apic_id;
}

void apic_eoi(void)
{
    lapic_write(LAPIC_EOI, 0);
}

/* The command register takes one message at a time. Interrupts stay off between its halves. */
static void apic_send(uint32_t apic_id, uint32_t command)
{
    uint64_t flags = intr_save();

    while (lapic_read(LAPIC_ICR_LO) & ICR_PENDING) /* the bus delivers it */
        cpu_pause();
    lapic_write(LAPIC_ICR_HI, apic_id << 24);
    lapic_write(LAPIC_ICR_LO, command);
    intr_restore(flags);
}

void apic_ipi(uint32_t apic_id, uint8_t vector)
{
    apic_send(apic_id, ICR_ASSERT | vector);
}

void apic_ipi_others(uint8_t vector)
{
    apic_send(0, ICR_OTHERS | vector);
}

void apic_send_init(uint32_t apic_id)
{
    apic_send(apic_id, ICR_INIT);
}

void apic_send_sipi(uint32_t apic_id, uint8_t page)
{
    apic_send(apic_id, ICR_SIPI | page);
}

void apic_timer_once(uint32_t ticks)
{
    lapic_write(LAPIC_TIMER_INIT, ticks);
}

void apic_timer_free_run(void)
{
    lapic_write(LAPIC_TIMER_INIT, UINT32_MAX);
}

uint32_t apic_timer_count(void)
{
    return lapic_read(LAPIC_TIMER_COUNT);
}

void ioapic_route(uint32_t irq, uint8_t vector)
{
    const uint32_t reg = IOAPIC_REDIR + 2 * acpi.irq_gsi[irq];

    ioapic_write(reg + 1, intr_apic_id() << 24);
    ioapic_write(reg, vector);
}
