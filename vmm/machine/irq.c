/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts from devices to KVM's interrupt chips, and the guest's notifications to devices:
 * the GSI routing table, lines with their irqfds, messages, ioeventfds. GSIs are the pins of the chips.
 */
#include "vmm/machine/irq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PIN_ROUTES	(16 + GSI_PINS)

/* ------------------------------------------------------------------ routes */

static void add_pin_route(struct kvm_irq_routing *head, unsigned int gsi, unsigned int chip,
			  unsigned int pin)
{
	struct kvm_irq_routing_entry *entry = &head->entries[head->nr++];

	*entry = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };
	entry->u.irqchip.irqchip = chip;
	entry->u.irqchip.pin = pin;
}

/* The pins' routes. Messages need none: those of devices in this process are sent as they are. */
static int route_pins(struct machine *m)
{
	union {
		struct kvm_irq_routing head;
		char room[sizeof(struct kvm_irq_routing) +
			  PIN_ROUTES * sizeof(struct kvm_irq_routing_entry)];
	} table = { 0 };
	struct kvm_irq_routing *head = &table.head;

	for (unsigned int gsi = 0; gsi < 16; gsi++)
		add_pin_route(head, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			      gsi % 8);
	/* The timer comes in at pin 2 of the I/O APIC, as the MADT says and as PCs are wired: pin
	 * 0 was the PIC's output. The PIC's own pin 2 is its cascade and no source's. */
	for (unsigned int gsi = 0; gsi < GSI_PINS; gsi++)
		if (gsi != 2)
			add_pin_route(head, gsi, KVM_IRQCHIP_IOAPIC, gsi == GSI_PIT ? 2 : gsi);
	return machine_vm_ioctl(m, KVM_SET_GSI_ROUTING, head);
}

int machine_msi_send(struct machine *m, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = address, .address_hi = address >> 32, .data = data,
	};
	int ret = machine_vm_ioctl(m, KVM_SIGNAL_MSI, &msi);

	return ret < 0 ? ret : 0;
}

/* ------------------------------------------------------------------ eventfds */

static int ioeventfd(struct machine *m, bool pio, uint64_t addr, unsigned int length,
		     const uint64_t *match, int fd, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.addr = addr, .len = length, .fd = fd, .datamatch = match ? *match : 0,
		.flags = flags | (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return machine_vm_ioctl(m, KVM_IOEVENTFD, &io);
}

int machine_ioeventfd_add(struct machine *m, bool pio, uint64_t addr, unsigned int length,
			  const uint64_t *match, int fd)
{
	return ioeventfd(m, pio, addr, length, match, fd, 0);
}

int machine_ioeventfd_del(struct machine *m, bool pio, uint64_t addr, unsigned int length,
			  const uint64_t *match, int fd)
{
	return ioeventfd(m, pio, addr, length, match, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

int machine_irqfd_add(struct machine *m, unsigned int gsi, int fd, int resample_fd)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi };

	if (resample_fd >= 0) {
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = resample_fd;
	}
	return machine_vm_ioctl(m, KVM_IRQFD, &irqfd);
}

int machine_irqfd_del(struct machine *m, unsigned int gsi, int fd)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };

	return machine_vm_ioctl(m, KVM_IRQFD, &irqfd);
}

/* ------------------------------------------------------------------ lines */

struct irq_line {
	struct machine *machine;
	unsigned int gsi;
	bool level_triggered;
	int fd;			/* raises the line; -1: the line does not exist yet */
	int resample_fd;	/* level only: the guest ended the interrupt, the line fell */
	struct loop_fd resample;

	pthread_mutex_t lock;	/* protects "asserted" and the pins' levels */
	unsigned int asserted;	/* pins that are high */
};

struct irq_lines {
	pthread_mutex_t lock;	/* protects the making of lines */
	struct irq_line line[GSI_PINS];
};

/*
 * KVM raised the line when fd was written and lowers it by itself when the guest ends the
 * interrupt; then it asks, by resample_fd, whether it should still be high.
 */
static void line_resample(struct loop_fd *watch, uint32_t events)
{
	struct irq_line *line = container_of(watch, struct irq_line, resample);
	eventfd_t ignored;

	eventfd_read(line->resample_fd, &ignored);
	pthread_mutex_lock(&line->lock);
	if (line->asserted)
		eventfd_write(line->fd, 1);
	pthread_mutex_unlock(&line->lock);
}

static void line_unmake(struct irq_line *line)
{
	loop_fd_del(&line->resample);
	if (line->fd >= 0)
		close(line->fd);
	if (line->resample_fd >= 0)
		close(line->resample_fd);
	line->fd = line->resample_fd = -1;
}

static int line_make(struct irq_line *line, bool level)
{
	int err;

	line->level_triggered = level;
	line->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (line->fd < 0)
		return -errno;
	if (level) {
		line->resample_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (line->resample_fd < 0) {
			err = -errno;
			goto out;
		}
		line->resample = (struct loop_fd){
			.fd = line->resample_fd, .events = EPOLLIN, .callback = line_resample,
		};
		err = loop_fd_add(line->machine->loop, &line->resample);
		if (err)
			goto out;
	}
	err = machine_irqfd_add(line->machine, line->gsi, line->fd, line->resample_fd);
out:
	if (err)
		line_unmake(line);
	return err;
}

int irq_pin_connect(struct irq_pin *pin, struct machine *machine, unsigned int gsi, bool level)
{
	struct irq_lines *lines = machine->lines;
	struct irq_line *line;
	int err = 0;

	if (gsi >= GSI_PINS)
		return -EINVAL;
	line = &lines->line[gsi];
	pthread_mutex_lock(&lines->lock);
	if (line->fd < 0)
		err = line_make(line, level);
	else if (line->level_triggered != level)
		err = -EINVAL;
	pthread_mutex_unlock(&lines->lock);
	if (err)
		return err;
	pin->line = line;
	pin->level = false;
	return 0;
}

void irq_pin_set(struct irq_pin *pin, bool level)
{
	struct irq_line *line = pin->line;

	if (!line)
		return;
	pthread_mutex_lock(&line->lock);
	if (pin->level != level) {
		pin->level = level;
		line->asserted += level ? 1 : -1;
		if (level && line->asserted == 1)
			eventfd_write(line->fd, 1);
	}
	pthread_mutex_unlock(&line->lock);
}

/* ------------------------------------------------------------------ beginning and end */

int machine_irq_init(struct machine *m)
{
	m->lines = calloc(1, sizeof(*m->lines));
	if (!m->lines)
		return -ENOMEM;
	pthread_mutex_init(&m->lines->lock, NULL);
	for (unsigned int gsi = 0; gsi < GSI_PINS; gsi++) {
		struct irq_line *line = &m->lines->line[gsi];

		line->machine = m;
		line->gsi = gsi;
		line->fd = line->resample_fd = -1;
		pthread_mutex_init(&line->lock, NULL);
	}
	return route_pins(m);
}

void machine_irq_destroy(struct machine *m)
{
	if (!m->lines)
		return;
	for (unsigned int gsi = 0; gsi < GSI_PINS; gsi++) {
		line_unmake(&m->lines->line[gsi]);
		pthread_mutex_destroy(&m->lines->line[gsi].lock);
	}
	pthread_mutex_destroy(&m->lines->lock);
	free(m->lines);
	m->lines = NULL;
}
