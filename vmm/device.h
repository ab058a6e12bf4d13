/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device is, to the machine it sits in: regions of ports and memory that it answers for,
 * interrupt pins that it drives, and what to do on reset, pause and resume; plus its state tables.
 *
 * Threads and locks. Handlers run on vCPU threads (several at once, for different devices) and
 * must not wait for I/O. The dispatcher holds the device's lock around every handler; callbacks
 * on the loop thread take it themselves. reset, pause, resume and destroy are called on the loop
 * thread, without the lock, while no vCPU runs.
 *
 * Order: a device's lock may be taken while the lock of the bridge in front of it is held, never
 * the other way round; the locks of buses, interrupt lines and routes (all private to their files)
 * come last and nothing is called under them.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/state.h"
#include "vmm/util.h"

struct device;
struct machine;

/* ------------------------------------------------------------------ regions */

/*
 * Handlers for a region. offset is from the region's start, size is 1, 2, 4 or 8 bytes and value
 * is zero above size. What the guest does is fitted to what the handler takes, once, in bus.c:
 *
 *  - an access wider than max_access, or not aligned to its own size, is made as several, low
 *    addresses first;
 *  - a read narrower than min_access is made at min_access, aligned, and the bytes picked out;
 *  - a write narrower than min_access is dropped: registers that want a word do not take a byte;
 *  - bytes beyond the region's end read as 0xff and are dropped when written.
 *
 * So a handler sees only aligned accesses of min_access to max_access bytes inside its region.
 */
struct region_ops {
	uint64_t (*read)(struct device *dev, uint64_t offset, unsigned int size);
	void (*write)(struct device *dev, uint64_t offset, unsigned int size, uint64_t value);
	uint8_t min_access, max_access;		/* bytes; 0 stands for 1 and 8 */
};

struct region {
	const char *name;
	struct device *dev;
	const struct region_ops *ops;
	uint64_t size;
	/* the bus's own, under its lock */
	struct bus *bus;		/* where it is mapped, or NULL */
	uint64_t base;
	struct region *next;
};

/* An address space of regions: the machine has one of ports and one of memory. */
struct bus {
	const char *name;
	/* Protects the list and each mapped region's base. Held for the look-up only, never while
	 * a handler runs: a handler may map and unmap (PCI BARs). */
	pthread_rwlock_t lock;
	struct region *regions;		/* in the order they were mapped: the first one answers */
};

int bus_init(struct bus *bus, const char *name);
void bus_destroy(struct bus *bus);

/*
 * Maps the region at base. Regions may overlap (a guest can program BARs as it likes): the one
 * that was mapped first answers. Returns 0, -EBUSY where it is already mapped, -EINVAL where it
 * would wrap around.
 */
int bus_map(struct bus *bus, struct region *region, uint64_t base);
/* Unmaps; harmless where it is not mapped. Handlers in progress may still end after this. */
void bus_unmap(struct region *region);

/*
 * Carries out a guest's access of length bytes (1 to 8; data little-endian). Bytes that nobody
 * answers for read as 0xff. Returns true if some region answered.
 */
bool bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int length);
bool bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int length);

/* ------------------------------------------------------------------ interrupt lines */

/*
 * A wire to an input (GSI) of the interrupt chips, through an irqfd. Several pins may drive one
 * level line (PCI INTx); it is high while any of them is.
 */
struct irq_line;

/* A device's pin. Zero-initialise it, then irq_pin_connect. */
struct irq_pin {
	struct irq_line *line;
	bool level;
};

/* Connects the pin to the machine's line for gsi, which is made when first asked for: edge lines
 * for ISA devices, level lines for PCI. Returns 0 or -errno (-EINVAL: made as the other kind). */
int irq_pin_connect(struct irq_pin *pin, struct machine *machine, unsigned int gsi, bool level);
/* Drives the pin. Any thread, any lock held. Nothing happens where the level stays the same. On an
 * edge line, going from low to high interrupts. */
void irq_pin_set(struct irq_pin *pin, bool level);

/* ------------------------------------------------------------------ devices */

struct device_ops {
	/* To the state at power-on: regions whose place the guest chose are unmapped. Comes between
	 * pause and resume, and once before the first run. May be NULL. */
	void (*reset)(struct device *dev);
	/* Stop starting new work: no timers, no new I/O to backends. May be NULL. */
	void (*pause)(struct device *dev);
	/* True when nothing that pause found under way is left (disk requests in flight). Asked
	 * again and again after pause; NULL means always. */
	bool (*quiescent)(struct device *dev);
	/* Start working again, also with what state_load brought: re-arm timers, look at rings,
	 * drive the pins to their levels. May be NULL. */
	void (*resume)(struct device *dev);
	/* Gives everything back, the struct itself too. No thread is left that could call in. */
	void (*destroy)(struct device *dev);
};

#define DEVICE_MAX_SECTIONS 4

struct device_section {
	const struct state_table *table;
	void *object;
};

/* Embed it in the device's own struct; container_of leads back. */
struct device {
	char name[32];			/* unique in the machine: "uart0", "virtio-blk1" */
	const struct device_ops *ops;
	struct machine *machine;
	/* Protects everything the device's handlers and its loop callbacks touch. */
	pthread_mutex_t lock;
	struct device_section sections[DEVICE_MAX_SECTIONS];
	unsigned int section_count;
	struct device *next;		/* in machine->devices, in the order they were added */
};

/*
 * Prepares the struct and adds the device to the machine, which from then on owns it and will
 * destroy it. Called once everything that ops may touch is set up, before the machine runs.
 */
void device_add(struct device *dev, struct machine *machine, const struct device_ops *ops,
		const char *name);
/* Names a table and the object it describes as part of the device's state. */
void device_add_section(struct device *dev, const struct state_table *table, void *object);

#endif
