/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables of the board (ACPI 6.4, chapter 5).
 *
 * Not the hardware-reduced kind: that takes the PIC and the PIT from Linux, which older and 32-bit
 * kernels want for their timers, while what full ACPI asks for on top is a dozen bytes of
 * registers (dev/pc/acpi_pm.c).
 */
#include "vmm/machine/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/dev/pc/pc.h"
#include "vmm/machine/aml.h"
#include "vmm/machine/machine.h"

struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct generic_address {	/* 5.2.3.2 */
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

#define SPACE_IO	1
#define ACCESS_BYTE	1
#define ACCESS_WORD	2
#define ACCESS_DWORD	3

struct rsdp {			/* 5.2.5.3 */
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address, length;
	uint64_t xsdt_address;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct facs {			/* 5.2.10 */
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} __attribute__((packed));

struct fadt {			/* 5.2.9 */
	struct table_header header;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved1, preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk;
	uint32_t gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
	uint8_t gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct generic_address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct generic_address x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk;
	struct generic_address x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk, x_gpe1_blk;
	struct generic_address sleep_control_reg, sleep_status_reg;
	uint64_t hypervisor_vendor;
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "the FADT of ACPI 6");

#define FADT_WBINVD		(1 << 0)
#define FADT_PROC_C1		(1 << 2)
#define FADT_SLP_BUTTON		(1 << 5)	/* set: there is no fixed sleep button */
#define FADT_FIX_RTC		(1 << 6)	/* set: no RTC wake status in fixed registers */
#define FADT_TMR_VAL_EXT	(1 << 8)
#define FADT_RESET_REG_SUP	(1 << 10)

#define BOOT_ARCH_LEGACY_DEVICES	(1 << 0)
#define BOOT_ARCH_VGA_NOT_PRESENT	(1 << 2)

#define RTC_CENTURY_INDEX	0x32

struct madt {			/* 5.2.12 */
	struct table_header header;
	uint32_t lapic_address, flags;
} __attribute__((packed));

#define MADT_PCAT_COMPAT	1	/* there are 8259s too */

struct madt_lapic {
	uint8_t type, length, processor_uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, processor_uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

#define MADT_HIGH_LEVEL		0x000d

struct mcfg {			/* PCI Firmware Specification 3.0, 4.1.2 */
	struct table_header header;
	uint64_t reserved;
	struct {
		uint64_t base;
		uint16_t segment;
		uint8_t first_bus, last_bus;
		uint32_t reserved;
	} __attribute__((packed)) window;
} __attribute__((packed));

/* ------------------------------------------------------------------ building */

static uint8_t checksum(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	while (length--)
		sum += *bytes++;
	return -sum;
}

/* Finds room for a table of length bytes. Returns it, or NULL; *gpa gets its guest address. */
static void *place(struct acpi_tables *t, size_t length, size_t align, uint64_t *gpa)
{
	size_t at = (t->length + align - 1) & ~(align - 1);

	if (length > ACPI_SIZE || at > ACPI_SIZE - length)
		return NULL;
	t->length = at + length;
	*gpa = ACPI_BASE + at;
	return t->data + at;
}

static void fill_header(struct table_header *header, const char *signature, uint8_t revision,
			uint32_t length)
{
	memcpy(header->signature, signature, 4);
	header->length = length;
	header->revision = revision;
	header->checksum = 0;
	memcpy(header->oem_id, "ANYKVM", 6);
	memcpy(header->oem_table_id, "ANYKVMPC", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "AKVM", 4);
	header->creator_revision = 1;
	header->checksum = checksum(header, length);
}

static struct generic_address io_address(uint16_t port, uint8_t bits, uint8_t access)
{
	return (struct generic_address){ SPACE_IO, bits, 0, access, port };
}

/* ------------------------------------------------------------------ DSDT */

/* Each slot's four pins, turned by one from slot to slot (as a riser does), on inputs 16-19. */
static void dsdt_pci_interrupts(struct aml *aml)
{
	size_t prt, entry;

	aml_name(aml, "_PRT");
	prt = aml_package(aml, 32 * 4);
	for (unsigned int slot = 0; slot < 32; slot++) {
		for (unsigned int pin = 0; pin < 4; pin++) {
			entry = aml_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			aml_integer(aml, 0);
			aml_integer(aml, GSI_PCI_INTX + (slot + pin) % GSI_PCI_INTX_COUNT);
			aml_close(aml, entry);
		}
	}
	aml_close(aml, prt);
}

static void dsdt_pci(struct aml *aml, const struct acpi_config *config)
{
	size_t device = aml_device(aml, "PCI0"), resources;

	aml_name_eisaid(aml, "_HID", "PNP0A08");
	aml_name_eisaid(aml, "_CID", "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_SEG", 0);
	aml_name_integer(aml, "_BBN", 0);
	aml_name_integer(aml, "_CCA", 1);	/* DMA is coherent */
	resources = aml_resources(aml);
	aml_bus_window(aml, 0, PCI_ECAM_BUSES - 1);
	aml_io(aml, 0xcf8, 8);
	aml_io_window(aml, PCI_PIO_START, PCI_PIO_END - 1);
	aml_memory32_window(aml, PCI_MMIO32_START, PCI_MMIO32_END - 1);
	aml_memory64_window(aml, config->pci_mmio64_start,
			    config->pci_mmio64_start + PCI_MMIO64_SIZE - 1);
	aml_resources_close(aml, resources);
	dsdt_pci_interrupts(aml);
	aml_close(aml, device);
}

/* What no other device claims and nobody else may use: MCFG needs its window to be here. */
static void dsdt_reserved(struct aml *aml)
{
	size_t device = aml_device(aml, "MRES"), resources;

	aml_name_eisaid(aml, "_HID", "PNP0C02");
	aml_name_integer(aml, "_UID", 0);
	resources = aml_resources(aml);
	aml_memory32_fixed(aml, PCI_ECAM_BASE, PCI_ECAM_SIZE);
	aml_io(aml, ACPI_PM1_EVENT_PORT, 0xc);
	aml_resources_close(aml, resources);
	aml_close(aml, device);
}

static void dsdt_isa_device(struct aml *aml, const char *name, const char *hid, uint16_t port,
			    uint8_t ports, int irq)
{
	size_t device = aml_device(aml, name), resources;

	if (strlen(hid) == 7)
		aml_name_eisaid(aml, "_HID", hid);
	else
		aml_name_string(aml, "_HID", hid);
	aml_name_integer(aml, "_UID", 1);
	aml_name_integer(aml, "_STA", 0x0f);
	resources = aml_resources(aml);
	aml_io(aml, port, ports);
	if (irq >= 0)
		aml_irq(aml, irq);
	aml_resources_close(aml, resources);
	aml_close(aml, device);
}

static void dsdt_processors(struct aml *aml, unsigned int cpus)
{
	for (unsigned int i = 0; i < cpus; i++) {
		char name[8];
		size_t device;

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		device = aml_device(aml, name);
		aml_name_string(aml, "_HID", "ACPI0007");
		aml_name_integer(aml, "_UID", i);
		aml_close(aml, device);
	}
}

static void dsdt(struct aml *aml, const struct acpi_config *config)
{
	size_t scope = aml_scope(aml, "\\_SB"), s5;

	dsdt_processors(aml, config->cpus);
	dsdt_pci(aml, config);
	dsdt_reserved(aml);
	dsdt_isa_device(aml, "COM1", "PNP0501", UART_COM1_PORT, UART_PORTS, GSI_COM1);
	dsdt_isa_device(aml, "RTC0", "PNP0B00", RTC_PORT, 2, GSI_RTC);
	dsdt_isa_device(aml, "PEVT", "QEMU0001", PANIC_PORT, 1, -1);
	aml_close(aml, scope);

	aml_name(aml, "\\_S5");
	s5 = aml_package(aml, 4);
	aml_integer(aml, ACPI_S5_SLEEP_TYPE);
	aml_integer(aml, ACPI_S5_SLEEP_TYPE);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_close(aml, s5);
}

static int build_dsdt(const struct acpi_config *config, struct acpi_tables *t)
{
	struct aml aml = { 0 };
	struct table_header *table;
	int err = -ENOMEM;

	dsdt(&aml, config);
	if (aml.failed)
		goto out;
	err = -ENOSPC;
	table = place(t, sizeof(*table) + aml.length, 16, &t->dsdt);
	if (!table)
		goto out;
	memcpy(table + 1, aml.data, aml.length);
	/* Revision 2 makes integers 64 bits wide. */
	fill_header(table, "DSDT", 2, sizeof(*table) + aml.length);
	err = 0;
out:
	free(aml.data);
	return err;
}

/* ------------------------------------------------------------------ the other tables */

static int build_facs(struct acpi_tables *t)
{
	struct facs *facs = place(t, sizeof(*facs), 64, &t->facs);

	if (!facs)
		return -ENOSPC;
	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 2;
	return 0;
}

static int build_fadt(struct acpi_tables *t)
{
	struct fadt *fadt = place(t, sizeof(*fadt), 16, &t->fadt);

	if (!fadt)
		return -ENOSPC;
	fadt->firmware_ctrl = t->facs;
	fadt->dsdt = t->dsdt;
	fadt->x_dsdt = t->dsdt;
	fadt->sci_int = GSI_ACPI;
	fadt->pm1a_evt_blk = ACPI_PM1_EVENT_PORT;
	fadt->pm1a_cnt_blk = ACPI_PM1_CONTROL_PORT;
	fadt->pm_tmr_blk = ACPI_PM_TIMER_PORT;
	fadt->pm1_evt_len = 4;
	fadt->pm1_cnt_len = 2;
	fadt->pm_tmr_len = 4;
	fadt->p_lvl2_lat = 0xffff;	/* no C2, no C3 */
	fadt->p_lvl3_lat = 0xffff;
	fadt->century = RTC_CENTURY_INDEX;
	fadt->iapc_boot_arch = BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_VGA_NOT_PRESENT;
	fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
		      FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP;
	fadt->reset_reg = io_address(RESET_PORT, 8, ACCESS_BYTE);
	fadt->reset_value = RESET_VALUE;
	fadt->minor_version = 4;
	fadt->x_pm1a_evt_blk = io_address(ACPI_PM1_EVENT_PORT, 32, ACCESS_WORD);
	fadt->x_pm1a_cnt_blk = io_address(ACPI_PM1_CONTROL_PORT, 16, ACCESS_WORD);
	fadt->x_pm_tmr_blk = io_address(ACPI_PM_TIMER_PORT, 32, ACCESS_DWORD);
	memcpy(&fadt->hypervisor_vendor, "ANYKVM\0\0", 8);
	fill_header(&fadt->header, "FACP", 6, sizeof(*fadt));
	return 0;
}

static int build_madt(const struct acpi_config *config, struct acpi_tables *t)
{
	const struct madt_override overrides[] = {
		/* The timer's line is at pin 2 (irq.c routes it there). */
		{ 2, sizeof(struct madt_override), 0, GSI_PIT, 2, 0 },
		{ 2, sizeof(struct madt_override), 0, GSI_ACPI, GSI_ACPI, MADT_HIGH_LEVEL },
	};
	size_t length = sizeof(struct madt) + config->cpus * sizeof(struct madt_lapic) +
			sizeof(struct madt_ioapic) + sizeof(overrides) +
			sizeof(struct madt_lapic_nmi);
	struct madt *madt = place(t, length, 16, &t->madt);
	struct madt_lapic *lapic;
	struct madt_ioapic *ioapic;
	struct madt_lapic_nmi *nmi;

	if (!madt)
		return -ENOSPC;
	madt->lapic_address = LAPIC_BASE;
	madt->flags = MADT_PCAT_COMPAT;
	lapic = (struct madt_lapic *)(madt + 1);
	for (unsigned int i = 0; i < config->cpus; i++)
		*lapic++ = (struct madt_lapic){ 0, sizeof(*lapic), i, i, 1 };
	ioapic = (struct madt_ioapic *)lapic;
	*ioapic = (struct madt_ioapic){ 1, sizeof(*ioapic), 0, 0, IOAPIC_BASE, 0 };
	memcpy(ioapic + 1, overrides, sizeof(overrides));
	nmi = (struct madt_lapic_nmi *)((uint8_t *)(ioapic + 1) + sizeof(overrides));
	*nmi = (struct madt_lapic_nmi){ 4, sizeof(*nmi), 0xff, 0, 1 };
	fill_header(&madt->header, "APIC", 5, length);
	return 0;
}

static int build_mcfg(struct acpi_tables *t)
{
	struct mcfg *mcfg = place(t, sizeof(*mcfg), 16, &t->mcfg);

	if (!mcfg)
		return -ENOSPC;
	mcfg->window.base = PCI_ECAM_BASE;
	mcfg->window.last_bus = PCI_ECAM_BUSES - 1;
	fill_header(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
	return 0;
}

static int build_xsdt(struct acpi_tables *t)
{
	const uint64_t entries[] = { t->fadt, t->madt, t->mcfg };
	size_t length = sizeof(struct table_header) + sizeof(entries);
	struct table_header *xsdt = place(t, length, 16, &t->xsdt);

	if (!xsdt)
		return -ENOSPC;
	memcpy(xsdt + 1, entries, sizeof(entries));
	fill_header(xsdt, "XSDT", 1, length);
	return 0;
}

int acpi_build(const struct acpi_config *config, struct acpi_tables *t)
{
	struct rsdp *rsdp;
	int err;

	*t = (struct acpi_tables){ .data = calloc(1, ACPI_SIZE) };
	if (!t->data)
		return -ENOMEM;
	rsdp = place(t, sizeof(*rsdp), 16, &t->rsdp);
	err = build_dsdt(config, t);
	if (!err)
		err = build_facs(t);
	if (!err)
		err = build_fadt(t);
	if (!err)
		err = build_madt(config, t);
	if (!err)
		err = build_mcfg(t);
	if (!err)
		err = build_xsdt(t);
	if (err) {
		free(t->data);
		t->data = NULL;
		return err;
	}
	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "ANYKVM", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt_address = t->xsdt;
	rsdp->checksum = checksum(rsdp, 20);	/* the part of revision 0 */
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return 0;
}
