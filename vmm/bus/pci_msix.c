/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI-X (PCI Local Bus Specification 3.0, section 6.8.2): a table of messages in a BAR, each with a
 * mask bit, and pending bits for those that came while masked.
 *
 * Messages are sent one by one with KVM_SIGNAL_MSI, from the table as it is at that moment: the
 * devices are in this process, and a route with an irqfd for each vector would have to follow every
 * change of the table for nothing.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus/pci.h"
#include "vmm/machine/machine.h"

static struct pci_device *to_pci(struct device *dev)
{
	return container_of(dev, struct pci_device, dev);
}

/* A message is a write to memory, which a function may do only as a bus master. */
static bool deliverable(const struct pci_device *pci, unsigned int vector)
{
	const struct pci_msix *msix = &pci->msix;

	return pci_is_master(pci) && msix->enabled && !msix->masked &&
	       !(msix->entries[vector].control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void send(struct pci_device *pci, unsigned int vector)
{
	const struct pci_msix_entry *entry = &pci->msix.entries[vector];

	/*
	 * Fails for a message that is no interrupt: the guest wrote nonsense into the table, and
	 * real hardware would write that nonsense to memory.
	 */
	machine_msi_send(pci->dev.machine, entry->address, entry->data);
}

void pci_msix_notify(struct pci_device *pci, unsigned int vector)
{
	struct pci_msix *msix = &pci->msix;

	if (vector >= msix->count || !msix->enabled)
		return;
	if (deliverable(pci, vector))
		send(pci, vector);
	else
		msix->pending |= 1ull << vector;
}

static void send_pending(struct pci_device *pci)
{
	struct pci_msix *msix = &pci->msix;

	for (unsigned int i = 0; i < msix->count && msix->pending; i++) {
		if (!(msix->pending >> i & 1) || !deliverable(pci, i))
			continue;
		msix->pending &= ~(1ull << i);
		send(pci, i);
	}
}

/* The capability's control word, the command register, or after a load anything has changed. */
void pci_msix_update(struct pci_device *pci)
{
	uint16_t control = pci_get16(pci->config + pci->msix.cap + PCI_MSIX_FLAGS);

	pci->msix.enabled = control & PCI_MSIX_FLAGS_ENABLE;
	pci->msix.masked = control & PCI_MSIX_FLAGS_MASKALL;
	if (pci->msix.enabled)
		send_pending(pci);
	else
		pci->msix.pending = 0;
}

/* ------------------------------------------------------------------ the table */

static uint64_t table_read(struct device *dev, uint64_t offset, unsigned int size)
{
	const struct pci_msix_entry *entry = &to_pci(dev)->msix.entries[offset / 16];
	uint64_t value = 0;

	/* The struct is laid out as the table is. */
	memcpy(&value, (const uint8_t *)entry + offset % 16, size);
	return value;
}

static void table_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_device *pci = to_pci(dev);
	struct pci_msix_entry *entry = &pci->msix.entries[offset / 16];

	memcpy((uint8_t *)entry + offset % 16, &value, size);
	entry->address &= ~3ull;
	entry->control &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	send_pending(pci);
}

static const struct region_ops table_ops = {
	.read = table_read,
	.write = table_write,
	.min_access = 4,
	.max_access = 8,
};

static uint64_t pba_read(struct device *dev, uint64_t offset, unsigned int size)
{
	uint64_t pending = to_pci(dev)->msix.pending;

	if (size == 4)
		return (uint32_t)(pending >> 8 * offset);
	return pending;
}

static const struct region_ops pba_ops = {
	.read = pba_read,
	.min_access = 4,
	.max_access = 8,
};

/* ------------------------------------------------------------------ life */

int pci_msix_init(struct pci_device *pci, unsigned int bar, uint64_t table_offset,
		  uint64_t pba_offset, unsigned int count)
{
	struct pci_msix *msix = &pci->msix;
	unsigned int cap;

	_Static_assert(sizeof(struct pci_msix_entry) == PCI_MSIX_ENTRY_SIZE, "the table's layout");
	assert(count && count <= PCI_MSIX_MAX_VECTORS);
	msix->entries = calloc(count, sizeof(*msix->entries));
	if (!msix->entries)
		return -ENOMEM;
	msix->count = count;

	cap = pci_add_capability(pci, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	msix->cap = (uint8_t)cap;
	pci_set16(pci->config + cap + PCI_MSIX_FLAGS, (uint16_t)(count - 1));
	pci_set16(pci->writable + cap + PCI_MSIX_FLAGS,
		  PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_set32(pci->config + cap + PCI_MSIX_TABLE, (uint32_t)table_offset | bar);
	pci_set32(pci->config + cap + PCI_MSIX_PBA, (uint32_t)pba_offset | bar);

	msix->table = (struct region){
		.name = "msix-table", .dev = &pci->dev, .ops = &table_ops, .size = 16ull * count,
	};
	msix->pba = (struct region){
		.name = "msix-pba", .dev = &pci->dev, .ops = &pba_ops, .size = 8,
	};
	pci_bar_add_region(pci, bar, table_offset, &msix->table);
	pci_bar_add_region(pci, bar, pba_offset, &msix->pba);
	pci_msix_reset(pci);
	return 0;
}

void pci_msix_reset(struct pci_device *pci)
{
	struct pci_msix *msix = &pci->msix;

	for (unsigned int i = 0; i < msix->count; i++)
		msix->entries[i] = (struct pci_msix_entry){
			.control = PCI_MSIX_ENTRY_CTRL_MASKBIT,
		};
	msix->pending = 0;
	msix->enabled = false;
	msix->masked = false;
}

void pci_msix_destroy(struct pci_device *pci)
{
	free(pci->msix.entries);
	pci->msix.entries = NULL;
}

/* ------------------------------------------------------------------ state */

static int pci_msix_post_load(void *object, unsigned int version)
{
	struct pci_msix *msix = object;

	for (unsigned int i = 0; i < msix->count; i++) {
		msix->entries[i].address &= ~3ull;
		msix->entries[i].control &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	if (msix->count < 64)
		msix->pending &= (1ull << msix->count) - 1;
	return 0;
}

static const struct state_field msix_entry_fields[] = {
	STATE_INT(1, 1, struct pci_msix_entry, address),
	STATE_INT(2, 1, struct pci_msix_entry, data),
	STATE_INT(3, 1, struct pci_msix_entry, control),
};

STATE_TABLE_STATIC(msix_entry_state, "msix-entry", 1, struct pci_msix_entry, msix_entry_fields);

static const struct state_field pci_msix_fields[] = {
	STATE_NESTED_PTR(1, 1, struct pci_msix, entries, count, PCI_MSIX_MAX_VECTORS,
			 &msix_entry_state),
	STATE_INT(2, 1, struct pci_msix, pending),
};

STATE_TABLE(pci_msix_state, "msix", 1, struct pci_msix, pci_msix_fields,
	    .post_load = pci_msix_post_load);
