/*
 * pci.h: PCI devices: finding them, their registers, and message-signalled interrupts (MSI-X).
 *
 * The firmware has placed the devices' registers. Context: boot. (PCI Local Bus Specification 3.0.)
 */
#ifndef KERNEL_DEV_PCI_H
#define KERNEL_DEV_PCI_H

#include <faultline/common.h>

struct pci_device {
    uint8_t bus, slot, function;
    uint16_t vendor, device;
};

/* Calls attach for each device. */
void pci_scan(void (*attach)(const struct pci_device *device));

FL_NODISCARD uint32_t pci_read(const struct pci_device *device, uint32_t reg);
void pci_write(const struct pci_device *device, uint32_t reg, uint32_t value);

/* The register of the next capability of this kind after `after` (0: the first); 0: there is none. */
FL_NODISCARD uint32_t pci_capability(const struct pci_device *device, uint8_t kind, uint32_t after);
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX   0x11

/* The device may use memory by itself, and answers at its registers. */
void pci_enable(const struct pci_device *device);
/* Where base address register n lies in physical memory; 0: nowhere, or it is a port. */
FL_NODISCARD uint64_t pci_bar(const struct pci_device *device, unsigned n);

/* Entry `entry` of the device's MSI-X table calls function(arg); all other interrupts of it are off. Errors:
 * -ENODEV, the device has no MSI-X. */
FL_NODISCARD int pci_msix(const struct pci_device *device, unsigned entry, void (*function)(void *arg),
                          void *arg);

#endif
