/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The PCI root complex: bus 0 with 32 slots of one function each, the two ways to their
 * configuration registers, and the addresses that their BARs start with.
 *
 * ECAM (PCI Express Base Specification, 7.2.2) is one region of memory, 4 KiB a function. The older
 * way, address in port 0xcf8 and data in 0xcfc (PCI 3.0, 3.2.2.3.2), is for what runs before or
 * without ACPI. The bridge itself is the function in slot 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus/pci.h"
#include "vmm/machine/machine.h"

#define CONFIG_ADDRESS		0xcf8
#define CONFIG_DATA		0xcfc
#define CONFIG_ENABLE		0x80000000u
#define CONFIG_WRITABLE		0x80fffffcu

struct pci_host {
	struct pci_device pci;		/* the bridge, slot 0 */
	struct pci_device *slots[PCI_SLOTS];
	uint64_t next_mmio, next_pio;	/* where BARs that are added get their addresses */
	uint32_t address;		/* port 0xcf8 */
	struct region ecam, address_port, data_port;
};

static struct pci_host *to_host(struct device *dev)
{
	return container_of(dev, struct pci_host, pci.dev);
}

/* ------------------------------------------------------------------ configuration accesses */

static struct pci_device *function(struct pci_host *host, unsigned int bus, unsigned int devfn)
{
	return bus || PCI_FUNC(devfn) ? NULL : host->slots[PCI_SLOT(devfn)];
}

/* The bridge's own lock is the one that is held already. */
static void lock(struct pci_host *host, struct pci_device *pci)
{
	if (pci != &host->pci)
		pthread_mutex_lock(&pci->dev.lock);
}

static void unlock(struct pci_host *host, struct pci_device *pci)
{
	if (pci != &host->pci)
		pthread_mutex_unlock(&pci->dev.lock);
}

static uint32_t config_read(struct pci_host *host, unsigned int bus, unsigned int devfn,
			    unsigned int offset, unsigned int size)
{
	struct pci_device *pci = function(host, bus, devfn);
	uint32_t value;

	/* What every system takes for "no such function". */
	if (!pci)
		return UINT32_MAX;
	lock(host, pci);
	value = pci_config_read(pci, offset, size);
	unlock(host, pci);
	return value;
}

static void config_write(struct pci_host *host, unsigned int bus, unsigned int devfn,
			 unsigned int offset, unsigned int size, uint32_t value)
{
	struct pci_device *pci = function(host, bus, devfn);

	if (!pci)
		return;
	lock(host, pci);
	pci_config_write(pci, offset, size, value);
	unlock(host, pci);
}

static uint64_t ecam_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return config_read(to_host(dev), offset >> 20, offset >> 12 & 0xff, offset & 0xfff, size);
}

static void ecam_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	config_write(to_host(dev), offset >> 20, offset >> 12 & 0xff, offset & 0xfff, size,
		     (uint32_t)value);
}

static const struct region_ops ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
	.min_access = 1,
	.max_access = 4,
};

static uint64_t address_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return to_host(dev)->address;
}

static void address_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	to_host(dev)->address = (uint32_t)value & CONFIG_WRITABLE;
}

/* Only whole: bytes and words there belong to other devices (port 0xcf9 resets a PC). */
static const struct region_ops address_ops = {
	.read = address_read,
	.write = address_write,
	.min_access = 4,
	.max_access = 4,
};

static uint64_t data_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct pci_host *host = to_host(dev);
	uint32_t address = host->address;

	if (!(address & CONFIG_ENABLE))
		return UINT32_MAX;
	return config_read(host, address >> 16 & 0xff, address >> 8 & 0xff,
			   (address & 0xfc) + (unsigned int)offset, size);
}

static void data_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_host *host = to_host(dev);
	uint32_t address = host->address;

	if (!(address & CONFIG_ENABLE))
		return;
	config_write(host, address >> 16 & 0xff, address >> 8 & 0xff,
		     (address & 0xfc) + (unsigned int)offset, size, (uint32_t)value);
}

static const struct region_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.min_access = 1,
	.max_access = 4,
};

/* ------------------------------------------------------------------ the slots */

/* Gives a BAR the address it starts with: naturally aligned, one after the other. */
static int assign(struct pci_host *host, struct pci_bar *bar)
{
	bool io = bar->flags & PCI_BASE_ADDRESS_SPACE_IO;
	uint64_t *next = io ? &host->next_pio : &host->next_mmio;
	uint64_t end = io ? PCI_PIO_END : PCI_MMIO32_END;
	uint64_t base = (*next + bar->size - 1) & ~(bar->size - 1);

	if (base < *next || base > end || bar->size > end - base)
		return -ENOSPC;
	bar->assigned = base;
	*next = base + bar->size;
	return 0;
}

int pci_host_attach(struct pci_host *host, struct pci_device *pci, struct vmm_error *error)
{
	uint64_t mmio = host->next_mmio, pio = host->next_pio;
	unsigned int slot = 0;

	while (slot < PCI_SLOTS && host->slots[slot])
		slot++;
	if (slot == PCI_SLOTS)
		return vmm_fail(error, -ENOSPC,
				"too many devices: the PCI bus has room for %u, disks included",
				PCI_SLOTS - 1);
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		if (!pci->bars[i].size || !assign(host, &pci->bars[i]))
			continue;
		host->next_mmio = mmio;
		host->next_pio = pio;
		return vmm_fail(error, -ENOSPC, "too many devices: no addresses are left for them");
	}
	host->slots[slot] = pci;
	pci->host = host;
	pci->devfn = (uint8_t)PCI_DEVFN(slot, 0);
	return 0;
}

void pci_host_detach(struct pci_device *pci)
{
	if (pci->host)
		pci->host->slots[PCI_SLOT(pci->devfn)] = NULL;
	pci->host = NULL;
}

/* ------------------------------------------------------------------ life and state */

static void host_reset(struct device *dev)
{
	struct pci_host *host = to_host(dev);

	pci_device_reset(&host->pci);
	host->address = 0;
}

static void host_resume(struct device *dev)
{
	pci_device_resume(&to_host(dev)->pci);
}

static void host_destroy(struct device *dev)
{
	struct pci_host *host = to_host(dev);

	bus_unmap(&host->data_port);
	bus_unmap(&host->address_port);
	bus_unmap(&host->ecam);
	/* Devices that outlive the bus must not come back to it. */
	for (unsigned int i = 0; i < PCI_SLOTS; i++)
		if (host->slots[i])
			host->slots[i]->host = NULL;
	pci_msix_destroy(&host->pci);
	dev->machine->pci = NULL;
	free(host);
}

static const struct device_ops host_ops = {
	.reset = host_reset,
	.resume = host_resume,
	.destroy = host_destroy,
};

static int host_post_load(void *object, unsigned int version)
{
	struct pci_host *host = object;

	host->address &= CONFIG_WRITABLE;
	return 0;
}

static const struct state_field host_fields[] = {
	STATE_NESTED(1, 1, struct pci_host, pci, &pci_device_state),
	STATE_INT(2, 1, struct pci_host, address),
};

STATE_TABLE_STATIC(host_state, "pci-host", 1, struct pci_host, host_fields,
		   .post_load = host_post_load);

int pci_host_create(struct machine *machine, struct vmm_error *error)
{
	/* A bridge without registers of its own, in the number range that virtual machines use. */
	static const struct pci_identity id = {
		.vendor = 0x1b36, .device = 0x0008,
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100,
		.class_code = 0x060000,
	};
	struct pci_host *host;
	int ret;

	host = calloc(1, sizeof(*host));
	if (!host)
		return vmm_fail(error, -ENOMEM, "PCI: out of memory");
	host->next_mmio = PCI_MMIO32_START;
	host->next_pio = PCI_PIO_START;
	pci_device_init(&host->pci, &id, NULL);
	machine->pci = host;
	ret = pci_device_add(&host->pci, machine, &host_ops, "pci-host", error);
	if (ret) {
		machine->pci = NULL;
		free(host);
		return ret;
	}
	device_add_section(&host->pci.dev, &host_state, host);

	host->ecam = (struct region){
		.name = "pci-ecam", .dev = &host->pci.dev, .ops = &ecam_ops, .size = PCI_ECAM_SIZE,
	};
	host->address_port = (struct region){
		.name = "pci-address", .dev = &host->pci.dev, .ops = &address_ops, .size = 4,
	};
	host->data_port = (struct region){
		.name = "pci-data", .dev = &host->pci.dev, .ops = &data_ops, .size = 4,
	};
	ret = bus_map(&machine->mmio, &host->ecam, PCI_ECAM_BASE);
	if (!ret)
		ret = bus_map(&machine->pio, &host->address_port, CONFIG_ADDRESS);
	if (!ret)
		ret = bus_map(&machine->pio, &host->data_port, CONFIG_DATA);
	if (ret)
		return vmm_fail(error, ret, "PCI: cannot map its registers: %s", strerror(-ret));
	return 0;
}
