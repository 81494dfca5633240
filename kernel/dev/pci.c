/* pci.c: PCI by the configuration ports 0xcf8 and 0xcfc; pci.h says what for. */
#include "dev/pci.h"

#include <linux/errno.h>

#include "kernel.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc

#define PCI_ID          0x00
#define PCI_COMMAND     0x04
#define PCI_HEADER_TYPE 0x0c
#define PCI_BAR0        0x10
#define PCI_CAP_LIST    0x34

#define COMMAND_MEMORY      0x2
#define COMMAND_MASTER      0x4
#define COMMAND_INTX_OFF    0x400
#define STATUS_CAPABILITIES 0x100000

#define MSIX_ENABLE 0x80000000
#define MSIX_MASKED 0x40000000

uint32_t pci_read(const struct pci_device *device, uint32_t reg)
{
    outl(CONFIG_ADDRESS, UINT32_C(1) << 31 | (uint32_t)device->bus << 16 | (uint32_t)device->slot << 11 |
                             (uint32_t)device->function << 8 | (reg & 0xfc));
    return inl(CONFIG_DATA);
}

void pci_write(const struct pci_device *device, uint32_t reg, uint32_t value)
{
    outl(CONFIG_ADDRESS, UINT32_C(1) << 31 | (uint32_t)device->bus << 16 | (uint32_t)device->slot << 11 |
                             (uint32_t)device->function << 8 | (reg & 0xfc));
    outl(CONFIG_DATA, value);
}

/* Returns whether there is a device, and may be more functions of it. */
static bool pci_probe(struct pci_device *device, void (*attach)(const struct pci_device *device))
{
    const uint32_t id = pci_read(device, PCI_ID);

    device->vendor = (uint16_t)id;
    device->device = (uint16_t)(id >> 16);
    if (device->vendor == 0xffff)
        return false;
    attach(device);
    return device->function > 0 || (pci_read(device, PCI_HEADER_TYPE) >> 16 & 0x80) != 0;
}

void pci_scan(void (*attach)(const struct pci_device *device))
{
    for (uint8_t slot = 0; slot < 32; slot++) { /* bus 0 has all that QEMU gives a machine without bridges */
        for (uint8_t function = 0; function < 8; function++) {
            struct pci_device device = {.slot = slot, .function = function};

            if (!pci_probe(&device, attach) && function == 0)
                break;
        }
    }
}

uint32_t pci_capability(const struct pci_device *device, uint8_t kind, uint32_t after)
{
    uint32_t reg;

    if (!(pci_read(device, PCI_COMMAND) & STATUS_CAPABILITIES))
        return 0;
    reg = after == 0 ? pci_read(device, PCI_CAP_LIST) & 0xfc : pci_read(device, after) >> 8 & 0xfc;
    for (unsigned i = 0; reg != 0 && i < 48; i++) { /* a list cannot be longer */
        if ((pci_read(device, reg) & 0xff) == kind)
            return reg;
        reg = pci_read(device, reg) >> 8 & 0xfc;
    }
    return 0;
}

void pci_enable(const struct pci_device *device)
{
    pci_write(device, PCI_COMMAND,
              (pci_read(device, PCI_COMMAND) & 0xffff) | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_OFF);
}

uint64_t pci_bar(const struct pci_device *device, unsigned n)
{
    const uint32_t low = pci_read(device, PCI_BAR0 + 4 * n);
    uint64_t pa = low & ~UINT32_C(15);

    if (low & 1)
        return 0;
    if ((low & 6) == 4)
        pa |= (uint64_t)pci_read(device, PCI_BAR0 + 4 * n + 4) << 32;
    return pa;
}

int pci_msix(const struct pci_device *device, unsigned entry, void (*function)(void *arg), void *arg)
{
    const uint32_t capability = pci_capability(device, PCI_CAP_MSIX, 0);

    if (capability == 0)
        return -ENODEV;
    const uint32_t table = pci_read(device, capability + 4);
    const uint64_t pa = pci_bar(device, table & 7) + (table & ~UINT32_C(7)) + UINT64_C(16) * entry;
    volatile uint32_t *message = device_map(pa, 16);
    message[0] = 0xfee00000 | intr_apic_id() << 12;
    message[1] = 0;
    message[2] = intr_establish(function, arg);
    message[3] = 0; /* not masked */
    pci_write(device, capability, (pci_read(device, capability) & ~MSIX_MASKED) | MSIX_ENABLE);
    return 0;
}
