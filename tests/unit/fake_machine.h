/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine without processors, for tests and fuzzing of devices: memory, buses, a loop that runs
 * when the test says so, and a KVM provider that only writes down what it is asked for.
 *
 * There is one such machine at a time. The test is the guest. fake_write() does what KVM would with
 * an address that has an ioeventfd; messages that devices send are found in fm->msi. On top of that
 * there is the little of a virtio driver that every test needs.
 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus/pci.h"
#include "vmm/machine/machine.h"

#define FAKE_MEMORY	(16u << 20)
#define FAKE_MSIS	64
#define FAKE_IOEVENTFDS	256

struct fake_machine {
	struct machine m;
	struct vm_config config;
	pthread_mutex_t lock;		/* protects what follows, where a test has threads */
	struct {
		uint64_t address;
		uint32_t data;
	} msi[FAKE_MSIS];		/* the last FAKE_MSIS messages, in a ring */
	unsigned int msi_count;
	struct kvm_ioeventfd ioeventfds[FAKE_IOEVENTFDS];
	unsigned int ioeventfd_count;
	bool refuse_ioeventfds;
	int irqfd[GSI_PINS];		/* -1: none */
};

/* Makes a machine with a PCI bus and nothing on it; devices have queues for so many cpus. */
struct fake_machine *fake_machine_create(unsigned int cpus);
/* Destroys it and its devices. */
void fake_machine_destroy(struct fake_machine *fm);

/* The machine's reset, pause and resume, as the board does them. */
void fake_machine_reset(struct fake_machine *fm);
void fake_machine_pause(struct fake_machine *fm);
void fake_machine_resume(struct fake_machine *fm);

/* Runs the loop until nothing is left to do, disk requests included. */
void fake_settle(struct fake_machine *fm);

/* The guest's accesses to memory that is not RAM, and to ports. */
uint64_t fake_read(struct fake_machine *fm, uint64_t addr, unsigned int size);
void fake_write(struct fake_machine *fm, uint64_t addr, unsigned int size, uint64_t value);
uint64_t fake_in(struct fake_machine *fm, uint16_t port, unsigned int size);
void fake_out(struct fake_machine *fm, uint16_t port, unsigned int size, uint64_t value);

/* Guest memory, checked to be there. */
void *fake_ram(struct fake_machine *fm, uint64_t gpa, uint64_t length);

/* Configuration space by ECAM. */
uint32_t fake_config_read(struct fake_machine *fm, unsigned int slot, unsigned int reg,
			  unsigned int size);
void fake_config_write(struct fake_machine *fm, unsigned int slot, unsigned int reg,
		       unsigned int size, uint32_t value);

/* The offset of the n-th capability (from 0) of an id; 0 where there is none. */
unsigned int fake_capability(struct fake_machine *fm, unsigned int slot, uint8_t id,
			     unsigned int n);

/* Whether the level of a GSI rose since this was last asked. */
bool fake_line_raised(struct fake_machine *fm, unsigned int gsi);

/* Saves all of a device's state, or loads it. Loading returns what the tables' hooks say. */
struct device *fake_device(struct fake_machine *fm, const char *name);
void fake_save(struct device *dev, struct state_buf *buf);
int fake_load(struct device *dev, const struct state_buf *buf);

/* ------------------------------------------------------------------ a virtio driver */

#define DRIVER_QUEUES	16
#define DRIVER_RINGS	0x100000	/* guest memory: 64 KiB for each queue */
#define DRIVER_BUFFERS	0x400000	/* and from here on the test's own */

struct driver_queue {
	uint16_t size;
	uint16_t next_desc;		/* descriptors are handed out in turn and never freed */
	uint16_t avail_idx;
	uint16_t used_seen;
	uint64_t desc, avail, used;	/* guest addresses */
	uint64_t notify;
};

struct driver {
	struct fake_machine *fm;
	unsigned int slot;
	uint64_t common, isr, device, notify;	/* addresses */
	uint32_t notify_multiplier;
	uint64_t features;
	bool event_idx;
	struct driver_queue q[DRIVER_QUEUES];
};

struct driver_buffer {
	uint64_t addr;
	uint32_t length;
	bool write;		/* the device writes */
};

/* Finds the structures of the device in slot and switches its BAR on. */
void driver_find(struct driver *d, struct fake_machine *fm, unsigned int slot);
/* Does the initialisation up to FEATURES_OK, accepting mask of what is offered. */
void driver_negotiate(struct driver *d, uint64_t mask);
/* Places and enables a queue of size entries; 0: as large as the device says. */
void driver_queue(struct driver *d, unsigned int queue, uint16_t size);
/* MSI-X on, vector v with data v for queue v, and one after the queues for the configuration. */
void driver_msix(struct driver *d, unsigned int queues);
/* The whole: negotiate, queues, DRIVER_OK. */
void driver_start(struct driver *d, uint64_t mask, unsigned int queues);

uint8_t driver_status(struct driver *d);
void driver_set_status(struct driver *d, uint8_t status);

/* Writes descriptor i of a queue. */
void driver_desc(struct driver *d, unsigned int queue, uint16_t i, uint64_t addr, uint32_t length,
		 uint16_t flags, uint16_t next);
/* Makes a chain available by its head. */
void driver_offer(struct driver *d, unsigned int queue, uint16_t head);
/* Writes a chain, makes it available; returns its head. */
uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_buffer *buffers,
		    unsigned int count);
void driver_notify(struct driver *d, unsigned int queue);
/* The next used entry, if there is one. */
bool driver_used(struct driver *d, unsigned int queue, uint32_t *head, uint32_t *length);

#endif
