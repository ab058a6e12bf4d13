/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables of the board.
 */
#ifndef VMM_MACHINE_ACPI_H
#define VMM_MACHINE_ACPI_H

#include <stddef.h>
#include <stdint.h>

/* Where the tables go: the BIOS's area, in which guests look for the RSDP. */
#define ACPI_BASE	0xe0000
#define ACPI_SIZE	0x20000

struct acpi_config {
	unsigned int cpus;		/* APIC identifiers 0 to cpus - 1 */
	uint64_t pci_mmio64_start;	/* and PCI_MMIO64_SIZE on */
};

struct acpi_tables {
	uint8_t *data;		/* free() it; goes to guest address ACPI_BASE */
	size_t length;		/* at most ACPI_SIZE */
	uint64_t rsdp;		/* guest addresses */
	uint64_t dsdt, facs, fadt, madt, mcfg, xsdt;
};

/* Builds the tables. Returns 0, -ENOMEM, or -ENOSPC where they do not fit ACPI_SIZE. */
int acpi_build(const struct acpi_config *config, struct acpi_tables *tables);

#endif
