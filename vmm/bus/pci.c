/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A PCI function: configuration registers, BARs, INTx. See pci.h.
 *
 * The registers are bytes with a mask of the bits that the guest may change. What follows from them
 * (where BARs are mapped, whether INTx and MSI-X are on) is brought up to date after each write, so
 * that nothing else needs to look at them.
 */
#include "vmm/bus/pci.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/machine.h"

void pci_device_init(struct pci_device *pci, const struct pci_identity *id,
		     const struct pci_device_ops *ops)
{
	uint8_t *config = pci->config;

	memset(config, 0, PCI_CONFIG_SIZE);
	memset(pci->writable, 0, PCI_CONFIG_SIZE);
	pci->ops = ops;
	pci->next_cap = PCI_STD_HEADER_SIZEOF;
	pci->last_cap = 0;

	pci_set16(config + PCI_VENDOR_ID, id->vendor);
	pci_set16(config + PCI_DEVICE_ID, id->device);
	pci_set32(config + PCI_CLASS_REVISION, id->class_code << 8 | id->revision);
	pci_set16(config + PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
	pci_set16(config + PCI_SUBSYSTEM_ID, id->subsystem);

	pci_set16(pci->writable + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
		  PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	if (id->intx) {
		config[PCI_INTERRUPT_PIN] = 1;
		/* Scratch for systems: the input of an interrupt chip that INTx arrives at. */
		pci->writable[PCI_INTERRUPT_LINE] = 0xff;
	}
}

/* ------------------------------------------------------------------ BARs */

static bool bar_is_64(const struct pci_bar *bar)
{
	return !(bar->flags & PCI_BASE_ADDRESS_SPACE_IO) &&
	       (bar->flags & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
}

static bool bar_is_io(const struct pci_bar *bar)
{
	return bar->flags & PCI_BASE_ADDRESS_SPACE_IO;
}

void pci_add_bar(struct pci_device *pci, unsigned int index, uint64_t size, uint8_t flags)
{
	unsigned int reg = PCI_BASE_ADDRESS_0 + 4 * index;
	struct pci_bar *bar = &pci->bars[index];
	uint64_t mask = ~(size - 1);

	assert(index < PCI_BARS && !(size & (size - 1)));
	bar->size = size;
	bar->flags = flags;
	assert(size >= (bar_is_io(bar) ? 16 : 4096));

	pci_set32(pci->config + reg, flags);
	pci_set32(pci->writable + reg, (uint32_t)mask);
	if (bar_is_64(bar)) {
		assert(index + 1 < PCI_BARS);
		pci_set32(pci->writable + reg + 4, (uint32_t)(mask >> 32));
	}
}

void pci_bar_add_region(struct pci_device *pci, unsigned int index, uint64_t offset,
			struct region *region)
{
	struct pci_bar *bar = &pci->bars[index];

	assert(bar->region_count < PCI_BAR_REGIONS && offset + region->size <= bar->size);
	bar->regions[bar->region_count].region = region;
	bar->regions[bar->region_count].offset = offset;
	bar->region_count++;
}

/* The address in a BAR's register. */
static uint64_t bar_address(const struct pci_device *pci, unsigned int index)
{
	const uint8_t *reg = pci->config + PCI_BASE_ADDRESS_0 + 4 * index;
	const struct pci_bar *bar = &pci->bars[index];
	uint64_t address = pci_get32(reg);

	if (bar_is_64(bar))
		address |= (uint64_t)pci_get32(reg + 4) << 32;
	return address & ~(bar->size - 1);
}

static void set_bar_address(struct pci_device *pci, unsigned int index, uint64_t address)
{
	uint8_t *reg = pci->config + PCI_BASE_ADDRESS_0 + 4 * index;
	const struct pci_bar *bar = &pci->bars[index];

	pci_set32(reg, (uint32_t)address | bar->flags);
	if (bar_is_64(bar))
		pci_set32(reg + 4, (uint32_t)(address >> 32));
}

static void unmap_bar(struct pci_device *pci, unsigned int index)
{
	struct pci_bar *bar = &pci->bars[index];

	if (!bar->mapped)
		return;
	bar->mapped = false;
	for (unsigned int i = 0; i < bar->region_count; i++)
		bus_unmap(bar->regions[i].region);
	if (pci->ops && pci->ops->bar_unmapped)
		pci->ops->bar_unmapped(pci, index, bar->base);
}

static void map_bar(struct pci_device *pci, unsigned int index, uint64_t base)
{
	struct machine *machine = pci->dev.machine;
	struct pci_bar *bar = &pci->bars[index];
	struct bus *bus = bar_is_io(bar) ? &machine->pio : &machine->mmio;

	bar->mapped = true;
	bar->base = base;
	/* Refused only where the address wraps around, which decodes() has ruled out. */
	for (unsigned int i = 0; i < bar->region_count; i++)
		bus_map(bus, bar->regions[i].region, base + bar->regions[i].offset);
	if (pci->ops && pci->ops->bar_mapped)
		pci->ops->bar_mapped(pci, index, base);
}

/*
 * Whether a BAR answers, and where. An address of 0 is that of a BAR nobody has programmed; all
 * ones are what a guest writes to learn the size.
 */
static bool decodes(const struct pci_device *pci, unsigned int index, uint64_t *base)
{
	const struct pci_bar *bar = &pci->bars[index];
	uint16_t command = pci_get16(pci->config + PCI_COMMAND);
	uint64_t top = bar_is_64(bar) ? UINT64_MAX : bar_is_io(bar) ? UINT16_MAX : UINT32_MAX;

	if (!bar->size || !(command & (bar_is_io(bar) ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return false;
	*base = bar_address(pci, index);
	return *base && *base <= top && bar->size - 1 < top - *base;
}

static void update_bars(struct pci_device *pci)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &pci->bars[i];
		uint64_t base = 0;
		bool wanted = decodes(pci, i, &base);

		if (bar->mapped && (!wanted || base != bar->base))
			unmap_bar(pci, i);
		if (wanted && !bar->mapped)
			map_bar(pci, i, base);
	}
}

/* The region of a BAR that takes an aligned access of size bytes at offset, or NULL. */
static struct region *bar_region(struct pci_device *pci, unsigned int index, uint64_t *offset,
				 unsigned int size)
{
	struct pci_bar *bar;

	if (index >= PCI_BARS || *offset % size)
		return NULL;
	bar = &pci->bars[index];
	for (unsigned int i = 0; i < bar->region_count; i++) {
		struct region *region = bar->regions[i].region;
		uint64_t at = *offset - bar->regions[i].offset;

		if (*offset < bar->regions[i].offset || at >= region->size ||
		    size > region->size - at)
			continue;
		if ((region->ops->min_access && size < region->ops->min_access) ||
		    (region->ops->max_access && size > region->ops->max_access))
			return NULL;
		*offset = at;
		return region;
	}
	return NULL;
}

bool pci_bar_read(struct pci_device *pci, unsigned int bar, uint64_t offset, unsigned int size,
		  uint32_t *value)
{
	struct region *region = bar_region(pci, bar, &offset, size);

	if (!region || !region->ops->read)
		return false;
	*value = (uint32_t)region->ops->read(&pci->dev, offset, size);
	return true;
}

bool pci_bar_write(struct pci_device *pci, unsigned int bar, uint64_t offset, unsigned int size,
		   uint32_t value)
{
	struct region *region = bar_region(pci, bar, &offset, size);

	if (!region || !region->ops->write)
		return false;
	if (size < 4)
		value &= (1u << 8 * size) - 1;
	region->ops->write(&pci->dev, offset, size, value);
	return true;
}

/* ------------------------------------------------------------------ capabilities */

unsigned int pci_add_capability(struct pci_device *pci, uint8_t id, unsigned int size)
{
	unsigned int offset = pci->next_cap;

	assert(offset + size <= PCI_CONFIG_SIZE);
	pci->next_cap = (offset + size + 3) & ~3u;
	pci->config[offset + PCI_CAP_LIST_ID] = id;
	pci->config[offset + PCI_CAP_LIST_NEXT] = 0;
	if (pci->last_cap)
		pci->config[pci->last_cap + PCI_CAP_LIST_NEXT] = (uint8_t)offset;
	else
		pci->config[PCI_CAPABILITY_LIST] = (uint8_t)offset;
	pci->last_cap = offset;
	pci->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	return offset;
}

/* ------------------------------------------------------------------ INTx */

static void update_intx(struct pci_device *pci)
{
	uint16_t command = pci_get16(pci->config + PCI_COMMAND);

	if (pci->intx)
		pci->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		pci->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (!pci->pin.line)
		return;
	irq_pin_set(&pci->pin, pci->intx && !(command & PCI_COMMAND_INTX_DISABLE) &&
			       !pci->msix.enabled);
}

void pci_set_intx(struct pci_device *pci, bool level)
{
	if (pci->intx == level)
		return;
	pci->intx = level;
	update_intx(pci);
}

/* ------------------------------------------------------------------ registers */

uint32_t pci_config_read(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	/* A conventional function has no extended space: nothing answers there. */
	if (offset + size > PCI_CONFIG_SIZE)
		return UINT32_MAX;
	if (pci->ops && pci->ops->config_read)
		pci->ops->config_read(pci, offset, size);
	memcpy(&value, pci->config + offset, size);
	return value;
}

static bool overlaps(unsigned int offset, unsigned int size, unsigned int start,
		     unsigned int length)
{
	return offset < start + length && start < offset + size;
}

void pci_config_write(struct pci_device *pci, unsigned int offset, unsigned int size,
		      uint32_t value)
{
	if (offset + size > PCI_CONFIG_SIZE)
		return;
	for (unsigned int i = 0; i < size; i++) {
		uint8_t mask = pci->writable[offset + i];
		uint8_t *byte = &pci->config[offset + i];

		*byte = (*byte & (uint8_t)~mask) | ((uint8_t)(value >> 8 * i) & mask);
	}

	if (pci->msix.count && (overlaps(offset, size, pci->msix.cap, PCI_CAP_MSIX_SIZEOF) ||
				overlaps(offset, size, PCI_COMMAND, 2)))
		pci_msix_update(pci);
	if (overlaps(offset, size, PCI_COMMAND, 2) ||
	    overlaps(offset, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS))
		update_bars(pci);
	update_intx(pci);
	if (pci->ops && pci->ops->config_written)
		pci->ops->config_written(pci, offset, size);
}

/* ------------------------------------------------------------------ life */

int pci_device_add(struct pci_device *pci, struct machine *machine, const struct device_ops *ops,
		   const char *name, struct vmm_error *error)
{
	int ret;

	ret = pci_host_attach(machine->pci, pci, error);
	if (ret)
		return ret;
	if (pci->config[PCI_INTERRUPT_PIN]) {
		unsigned int gsi = GSI_PCI_INTX + PCI_SLOT(pci->devfn) % GSI_PCI_INTX_COUNT;

		ret = irq_pin_connect(&pci->pin, machine, gsi, true);
	}
	if (ret) {
		pci_host_detach(pci);
		return vmm_fail(error, ret, "%s: cannot connect its interrupt: %s", name,
				strerror(-ret));
	}
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (pci->bars[i].size)
			set_bar_address(pci, i, pci->bars[i].assigned);
	memcpy(pci->initial, pci->config, PCI_CONFIG_SIZE);
	device_add(&pci->dev, machine, ops, name);
	return 0;
}

void pci_device_reset(struct pci_device *pci)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		unmap_bar(pci, i);
	memcpy(pci->config, pci->initial, PCI_CONFIG_SIZE);
	pci_msix_reset(pci);
	pci->intx = false;
	update_intx(pci);
}

void pci_device_resume(struct pci_device *pci)
{
	if (pci->msix.count)
		pci_msix_update(pci);
	update_bars(pci);
	update_intx(pci);
}

void pci_device_destroy(struct pci_device *pci)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		unmap_bar(pci, i);
	pci_msix_destroy(pci);
	pci_host_detach(pci);
}

/* ------------------------------------------------------------------ state */

static int pci_device_post_load(void *object, unsigned int version)
{
	struct pci_device *pci = object;

	/* Of the registers only what a guest could have written is taken; the rest is ours. */
	for (unsigned int i = 0; i < PCI_CONFIG_SIZE; i++)
		pci->config[i] = (pci->initial[i] & (uint8_t)~pci->writable[i]) |
				 (pci->config[i] & pci->writable[i]);
	return 0;
}

static const struct state_field pci_device_fields[] = {
	STATE_ARRAY(1, 1, struct pci_device, config),
	STATE_INT(2, 1, struct pci_device, intx),
	STATE_NESTED(3, 1, struct pci_device, msix, &pci_msix_state),
};

STATE_TABLE(pci_device_state, "pci-device", 1, struct pci_device, pci_device_fields,
	    .post_load = pci_device_post_load);
