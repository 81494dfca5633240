/*
 * acpi.c: what this machine asks of ACPI's tables: the processors, the I/O APIC, how the ISA's interrupts
 * reach it (MADT), and the power management timer's port (FADT).
 *
 *   root pointer ─▶ RSDT or XSDT ─▶ MADT "APIC", FADT "FACP"
 *
 * Does not do: AML, so no power-off by ACPI. (Advanced Configuration and Power Interface Specification,
 * chapter 5.2.)
 */
#include "machdep.h"

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt_pa;
    uint32_t length;
    uint64_t xsdt_pa;
} __attribute__((packed));

struct sdt {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], table[8];
    uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

struct madt {
    struct sdt header;
    uint32_t lapic_pa, flags;
} __attribute__((packed));

#define MADT_LAPIC    0
#define MADT_IOAPIC   1
#define MADT_OVERRIDE 2

#define FADT_PM_TIMER 76 /* the offset of its port */

struct acpi_info acpi;

static bool same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return false;
    }
    return true;
}

static uint32_t read32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t find_rsdp(void)
{
    for (uint64_t pa = 0xe0000; pa < 0x100000; pa += 16) {
        if (same(phys_to_virt(pa), "RSD PTR ", 8))
            return pa;
    }
    panic("there are no ACPI tables");
}

static void read_madt_entry(const uint8_t *entry)
{
    switch (entry[0]) {
    case MADT_LAPIC:
        if ((read32(entry + 4) & 1) && acpi.ncpus < ACPI_CPUS_MAX)
            acpi.apic_id[acpi.ncpus++] = entry[3];
        break;
    case MADT_IOAPIC:
        acpi.ioapic_pa = read32(entry + 4);
        break;
    case MADT_OVERRIDE:
        if (entry[3] < 16)
            acpi.irq_gsi[entry[3]] = read32(entry + 4);
        break;
    default:
        break;
    }
}

static void read_table(uint64_t pa)
{
    const struct sdt *table = phys_to_virt(pa);
    const uint8_t *bytes = phys_to_virt(pa);

    if (same(table->signature, "FACP", 4))
        acpi.pm_timer = (uint16_t)read32(bytes + FADT_PM_TIMER);
    if (!same(table->signature, "APIC", 4))
        return;
    for (uint32_t at = sizeof(struct madt); at + 2 <= table->length && bytes[at + 1] >= 2;
         at += bytes[at + 1])
        read_madt_entry(bytes + at);
}

void acpi_init(uint64_t rsdp_pa)
{
    const struct rsdp *rsdp = phys_to_virt(rsdp_pa != 0 ? rsdp_pa : find_rsdp());
    const bool wide = rsdp->revision >= 2 && rsdp->xsdt_pa != 0;
    const uint8_t *root = phys_to_virt(wide ? rsdp->xsdt_pa : rsdp->rsdt_pa);
    const uint32_t len = read32(root + 4);

    for (uint32_t i = 0; i < 16; i++)
        acpi.irq_gsi[i] = i;
    for (uint32_t at = sizeof(struct sdt); at + (wide ? 8 : 4) <= len; at += wide ? 8 : 4)
        read_table(read32(root + at) | (wide ? (uint64_t)read32(root + at + 4) << 32 : 0));
    if (acpi.ncpus == 0 || acpi.ioapic_pa == 0)
        panic("ACPI names no processor, or no I/O APIC");
}
