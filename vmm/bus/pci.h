/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI: functions with a configuration space, base address registers and interrupts, on the one bus
 * of the root complex (pci_host.c).
 *
 * A device embeds struct pci_device, says what it is, adds BARs with regions in them and
 * capabilities, and is then added to the bus. Registers follow the PCI Local Bus Specification 3.0;
 * a function here is conventional PCI in its configuration space (256 bytes) on a bus that is
 * reached by ECAM. Messages (MSI-X) are in pci_msix.c.
 *
 * There is no firmware on the board: addresses are given to the BARs when the device is added, and
 * again at reset, all below 4 GiB where every kernel can use them. Decoding is off until the guest
 * turns it on.
 *
 * Everything about a function is protected by its device lock. A configuration access takes it with
 * the root complex's lock held; a region in a BAR takes only it.
 */
#ifndef VMM_BUS_PCI_H
#define VMM_BUS_PCI_H

#include <linux/pci.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/device.h"
#include "vmm/error.h"
#include "vmm/state.h"

#define PCI_CONFIG_SIZE		256
#define PCI_BARS		6
#define PCI_BAR_REGIONS		8
#define PCI_MSIX_MAX_VECTORS	64
#define PCI_SLOTS		32

struct pci_device;
struct pci_host;

struct pci_bar {
	uint64_t size;			/* bytes, a power of two; 0: there is no such BAR */
	uint64_t assigned;		/* the address it has after reset */
	uint8_t flags;			/* PCI_BASE_ADDRESS_*: space, type, prefetchable */
	bool mapped;
	uint64_t base;			/* while mapped */
	unsigned int region_count;
	struct {
		struct region *region;
		uint64_t offset;
	} regions[PCI_BAR_REGIONS];
};

struct pci_msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control;		/* PCI_MSIX_ENTRY_CTRL_MASKBIT */
};

struct pci_msix {
	uint32_t count;			/* vectors; 0: no MSI-X */
	uint8_t cap;			/* of the capability, in configuration space */
	bool enabled;			/* derived from the capability */
	bool masked;			/* likewise: all vectors are */
	struct pci_msix_entry *entries;
	uint64_t pending;		/* a bit for each vector */
	struct region table, pba;
};

/* What a device adds to the registers that all have. Called with the device's lock. All may be
 * NULL. */
struct pci_device_ops {
	/* A BAR came to base, or went. Several times at the same place in a row is possible. */
	void (*bar_mapped)(struct pci_device *pci, unsigned int bar, uint64_t base);
	void (*bar_unmapped)(struct pci_device *pci, unsigned int bar, uint64_t base);
	/* A read of size bytes at offset: may bring pci->config there up to date first. */
	void (*config_read)(struct pci_device *pci, unsigned int offset, unsigned int size);
	/* pci->config was written there, as far as its bits are writable. */
	void (*config_written)(struct pci_device *pci, unsigned int offset, unsigned int size);
};

struct pci_device {
	struct device dev;
	const struct pci_device_ops *ops;
	struct pci_host *host;
	uint8_t devfn;
	unsigned int next_cap;			/* the first free byte for capabilities */
	unsigned int last_cap;			/* the end of the list; 0: there is none */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];	/* the bits that the guest may change */
	uint8_t initial[PCI_CONFIG_SIZE];	/* config after reset */
	struct pci_bar bars[PCI_BARS];
	struct pci_msix msix;
	struct irq_pin pin;			/* INTA; no line where there is none */
	bool intx;				/* the device asserts it */
};

/*
 * What a function is. class_code is class, subclass and interface in 24 bits.
 */
struct pci_identity {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint32_t class_code;
	uint8_t revision;
	bool intx;			/* it has an interrupt pin, INTA */
};

/* Prepares the registers. ops may be NULL. The device is not on the bus yet. */
void pci_device_init(struct pci_device *pci, const struct pci_identity *id,
		     const struct pci_device_ops *ops);

/*
 * Adds a BAR. size is a power of two, at least 16 bytes for ports and 4 KiB for memory, flags are
 * PCI_BASE_ADDRESS_*; a 64-bit one takes the next register as well.
 */
void pci_add_bar(struct pci_device *pci, unsigned int bar, uint64_t size, uint8_t flags);
/* Puts a region into a BAR; region->dev, ops, size and name are set. */
void pci_bar_add_region(struct pci_device *pci, unsigned int bar, uint64_t offset,
			struct region *region);

/* Adds a capability of size bytes (with its two of header); returns its offset. All read-only and
 * zero until the caller fills pci->config and pci->writable. */
unsigned int pci_add_capability(struct pci_device *pci, uint8_t id, unsigned int size);

/*
 * Adds MSI-X with count vectors, its table and its pending bits in a BAR. Returns 0 or -ENOMEM.
 */
int pci_msix_init(struct pci_device *pci, unsigned int bar, uint64_t table_offset,
		  uint64_t pba_offset, unsigned int count);

/*
 * Puts the device on the machine's bus, in the first free slot, and adds it to the machine
 * (device_add) under name; from there on the machine owns it. Returns 0, or -errno with a line in
 * error, and then nothing has changed.
 */
int pci_device_add(struct pci_device *pci, struct machine *machine, const struct device_ops *ops,
		   const char *name, struct vmm_error *error);

/* A device's ops->reset, resume and destroy start with these. */
void pci_device_reset(struct pci_device *pci);
void pci_device_resume(struct pci_device *pci);
void pci_device_destroy(struct pci_device *pci);

/* Asserts or releases INTA. Lock held. */
void pci_set_intx(struct pci_device *pci, bool level);

/* Whether the guest lets the function at memory, for data as for messages. */
static inline bool pci_is_master(const struct pci_device *pci)
{
	return pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/* Whether the guest has MSI-X on; INTx is silent then. */
static inline bool pci_msix_enabled(const struct pci_device *pci)
{
	return pci->msix.enabled;
}

/* Sends a vector's message, or marks it pending while it cannot be sent. Lock held, MSI-X on. */
void pci_msix_notify(struct pci_device *pci, unsigned int vector);

/*
 * Reads or writes size bytes (1, 2, 4) inside a BAR, mapped or not, as a device does that gives a
 * second way to its registers. Returns false where nothing takes such an access. Lock held.
 */
bool pci_bar_read(struct pci_device *pci, unsigned int bar, uint64_t offset, unsigned int size,
		  uint32_t *value);
bool pci_bar_write(struct pci_device *pci, unsigned int bar, uint64_t offset, unsigned int size,
		   uint32_t value);

/* A function's registers, as the guest sees them: size 1, 2, 4, aligned. Lock held. */
uint32_t pci_config_read(struct pci_device *pci, unsigned int offset, unsigned int size);
void pci_config_write(struct pci_device *pci, unsigned int offset, unsigned int size,
		      uint32_t value);

/* Little-endian fields of config, writable and initial. */
static inline void pci_set16(uint8_t *reg, uint16_t value)
{
	reg[0] = (uint8_t)value;
	reg[1] = (uint8_t)(value >> 8);
}

static inline void pci_set32(uint8_t *reg, uint32_t value)
{
	pci_set16(reg, (uint16_t)value);
	pci_set16(reg + 2, (uint16_t)(value >> 16));
}

static inline uint16_t pci_get16(const uint8_t *reg)
{
	return (uint16_t)(reg[0] | reg[1] << 8);
}

static inline uint32_t pci_get32(const uint8_t *reg)
{
	return pci_get16(reg) | (uint32_t)pci_get16(reg + 2) << 16;
}

/* A function's state: registers and MSI-X. For nesting in the device's own table. */
extern const struct state_table pci_device_state;

/* For pci.c: the root complex's part in adding a device (pci_host.c). */
int pci_host_attach(struct pci_host *host, struct pci_device *pci, struct vmm_error *error);
void pci_host_detach(struct pci_device *pci);

/* For pci.c: MSI-X's part in reset, configuration writes and loading (pci_msix.c). */
void pci_msix_reset(struct pci_device *pci);
void pci_msix_update(struct pci_device *pci);
void pci_msix_destroy(struct pci_device *pci);
extern const struct state_table pci_msix_state;

#endif
