/* SPDX-License-Identifier: GPL-2.0-only */
/* A machine without processors; see fake_machine.h. */
#include "fake_machine.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/machine/irq.h"

#define REQUIRE(condition) do {								\
	if (!(condition)) {								\
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);		\
		abort();								\
	}										\
} while (0)

/* ------------------------------------------------------------------ the provider */

static struct fake_machine *current;	/* whom the provider speaks for: there is one at a time */

static int find_ioeventfd(const struct kvm_ioeventfd *io)
{
	for (unsigned int i = 0; i < current->ioeventfd_count; i++)
		if (current->ioeventfds[i].addr == io->addr &&
		    !((current->ioeventfds[i].flags ^ io->flags) & KVM_IOEVENTFD_FLAG_PIO))
			return (int)i;
	return -1;
}

static int fake_ioeventfd(struct kvm_ioeventfd *io)
{
	int i = find_ioeventfd(io);

	if (io->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) {
		if (i < 0)
			return -ENOENT;
		current->ioeventfds[i] = current->ioeventfds[--current->ioeventfd_count];
		return 0;
	}
	if (current->refuse_ioeventfds)
		return -ENOSPC;
	if (i >= 0)
		return -EEXIST;
	REQUIRE(current->ioeventfd_count < FAKE_IOEVENTFDS);
	current->ioeventfds[current->ioeventfd_count++] = *io;
	return 0;
}

static int answer(unsigned long request, void *arg)
{
	struct kvm_irqfd *irqfd = arg;
	struct kvm_msi *msi = arg;

	switch (request) {
	case KVM_SET_GSI_ROUTING:
		return 0;
	case KVM_IRQFD:
		REQUIRE(irqfd->gsi < GSI_PINS);
		current->irqfd[irqfd->gsi] = (int)irqfd->fd;
		return 0;
	case KVM_IOEVENTFD:
		return fake_ioeventfd(arg);
	case KVM_SIGNAL_MSI:
		current->msi[current->msi_count % FAKE_MSIS].address =
			msi->address_lo | (uint64_t)msi->address_hi << 32;
		current->msi[current->msi_count % FAKE_MSIS].data = msi->data;
		current->msi_count++;
		return 1;
	default:
		return -ENOTTY;
	}
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	pthread_mutex_lock(&current->lock);
	ret = answer(request, arg);
	pthread_mutex_unlock(&current->lock);
	return ret;
}

static int fake_close(int fd)
{
	return 0;
}

static const struct kvm_provider fake_provider = {
	.name = "fake",
	.description = "writes down what it is asked for",
	.ioctl = fake_ioctl,
	.close = fake_close,
};

/* ------------------------------------------------------------------ the machine */

struct fake_machine *fake_machine_create(unsigned int cpus)
{
	struct fake_machine *fm = calloc(1, sizeof(*fm));
	struct machine *m = &fm->m;
	struct vmm_error error = { "" };

	REQUIRE(fm && !current);
	current = fm;
	pthread_mutex_init(&fm->lock, NULL);
	fm->config.cpus = cpus;
	for (unsigned int i = 0; i < GSI_PINS; i++)
		fm->irqfd[i] = -1;
	m->provider = &fake_provider;
	m->kvm_fd = m->vm_fd = -1;
	m->config = &fm->config;
	REQUIRE(!ram_create(&m->ram, FAKE_MEMORY, &error));
	m->pci_mmio64_start = 1ull << 33;
	REQUIRE(!bus_init(&m->pio, "pio") && !bus_init(&m->mmio, "mmio"));
	m->loop = loop_create();
	REQUIRE(m->loop);
	REQUIRE(!machine_irq_init(m));
	REQUIRE(!pci_host_create(m, &error));
	return fm;
}

void fake_machine_destroy(struct fake_machine *fm)
{
	struct machine *m = &fm->m;

	while (m->devices) {
		struct device *dev = m->devices;

		m->devices = dev->next;
		dev->ops->destroy(dev);
	}
	machine_irq_destroy(m);
	loop_destroy(m->loop);
	bus_destroy(&m->pio);
	bus_destroy(&m->mmio);
	ram_destroy(&m->ram);
	pthread_mutex_destroy(&fm->lock);
	free(fm);
	current = NULL;
}

void fake_machine_pause(struct fake_machine *fm)
{
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->pause)
			dev->ops->pause(dev);
	fake_settle(fm);
}

void fake_machine_resume(struct fake_machine *fm)
{
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->resume)
			dev->ops->resume(dev);
}

void fake_machine_reset(struct fake_machine *fm)
{
	fake_machine_pause(fm);
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->reset)
			dev->ops->reset(dev);
	fake_machine_resume(fm);
}

static bool quiescent(struct fake_machine *fm)
{
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->quiescent && !dev->ops->quiescent(dev))
			return false;
	return true;
}

void fake_settle(struct fake_machine *fm)
{
	while (loop_step(fm->m.loop, quiescent(fm) ? 0 : 100) || !quiescent(fm))
		;
}

uint64_t fake_read(struct fake_machine *fm, uint64_t addr, unsigned int size)
{
	uint64_t value = 0;

	bus_read(&fm->m.mmio, addr, &value, size);
	return value;
}

static bool signal_ioeventfd(struct fake_machine *fm, bool pio, uint64_t addr, unsigned int size,
			     uint64_t value)
{
	struct kvm_ioeventfd io = { .addr = addr, .flags = pio ? KVM_IOEVENTFD_FLAG_PIO : 0 };
	const struct kvm_ioeventfd *found;
	bool signalled = false;
	int i;

	pthread_mutex_lock(&fm->lock);
	i = find_ioeventfd(&io);
	if (i >= 0) {
		found = &fm->ioeventfds[i];
		signalled = (!found->len || found->len == size) &&
			    (!(found->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) ||
			     found->datamatch == value);
		if (signalled)
			eventfd_write(found->fd, 1);
	}
	pthread_mutex_unlock(&fm->lock);
	return signalled;
}

void fake_write(struct fake_machine *fm, uint64_t addr, unsigned int size, uint64_t value)
{
	if (!signal_ioeventfd(fm, false, addr, size, value))
		bus_write(&fm->m.mmio, addr, &value, size);
}

uint64_t fake_in(struct fake_machine *fm, uint16_t port, unsigned int size)
{
	uint64_t value = 0;

	bus_read(&fm->m.pio, port, &value, size);
	return value;
}

void fake_out(struct fake_machine *fm, uint16_t port, unsigned int size, uint64_t value)
{
	if (!signal_ioeventfd(fm, true, port, size, value))
		bus_write(&fm->m.pio, port, &value, size);
}

void *fake_ram(struct fake_machine *fm, uint64_t gpa, uint64_t length)
{
	void *host = ram_ptr(&fm->m.ram, gpa, length);

	REQUIRE(host);
	return host;
}

uint32_t fake_config_read(struct fake_machine *fm, unsigned int slot, unsigned int reg,
			  unsigned int size)
{
	return (uint32_t)fake_read(fm, PCI_ECAM_BASE + (slot << 15) + reg, size);
}

void fake_config_write(struct fake_machine *fm, unsigned int slot, unsigned int reg,
		       unsigned int size, uint32_t value)
{
	fake_write(fm, PCI_ECAM_BASE + (slot << 15) + reg, size, value);
}

unsigned int fake_capability(struct fake_machine *fm, unsigned int slot, uint8_t id, unsigned int n)
{
	unsigned int at = fake_config_read(fm, slot, PCI_CAPABILITY_LIST, 1);

	for (unsigned int i = 0; at && i < 48; i++) {
		if (fake_config_read(fm, slot, at, 1) == id && !n--)
			return at;
		at = fake_config_read(fm, slot, at + 1, 1);
	}
	REQUIRE(!at);	/* a list that goes round */
	return 0;
}

bool fake_line_raised(struct fake_machine *fm, unsigned int gsi)
{
	eventfd_t count;

	return fm->irqfd[gsi] >= 0 && !eventfd_read(fm->irqfd[gsi], &count);
}

struct device *fake_device(struct fake_machine *fm, const char *name)
{
	struct device *dev = fm->m.devices;

	while (dev && strcmp(dev->name, name))
		dev = dev->next;
	REQUIRE(dev);
	return dev;
}

void fake_save(struct device *dev, struct state_buf *buf)
{
	for (unsigned int i = 0; i < dev->section_count; i++)
		REQUIRE(!state_save(dev->sections[i].table, dev->sections[i].object, buf));
}

int fake_load(struct device *dev, const struct state_buf *buf)
{
	size_t at = 0, used;
	int ret;

	for (unsigned int i = 0; i < dev->section_count; i++) {
		ret = state_load(dev->sections[i].table, dev->sections[i].object, buf->data + at,
				 buf->length - at, &used);
		if (ret)
			return ret;
		at += used;
	}
	return at == buf->length ? 0 : -EINVAL;
}

/* ------------------------------------------------------------------ a virtio driver */

void driver_find(struct driver *d, struct fake_machine *fm, unsigned int slot)
{
	unsigned int cap;
	uint32_t bar;

	memset(d, 0, sizeof(*d));
	d->fm = fm;
	d->slot = slot;
	bar = fake_config_read(fm, slot, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	fake_config_write(fm, slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int i = 0; (cap = fake_capability(fm, slot, PCI_CAP_ID_VNDR, i)); i++) {
		uint64_t at = bar + fake_config_read(fm, slot, cap + VIRTIO_PCI_CAP_OFFSET, 4);

		switch (fake_config_read(fm, slot, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
			d->common = at;
			break;
		case VIRTIO_PCI_CAP_ISR_CFG:
			d->isr = at;
			break;
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			d->device = at;
			break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			d->notify = at;
			d->notify_multiplier = fake_config_read(fm, slot, cap + 16, 4);
			break;
		}
	}
	REQUIRE(d->common && d->isr && d->notify);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)fake_read(d->fm, d->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

void driver_set_status(struct driver *d, uint8_t status)
{
	fake_write(d->fm, d->common + VIRTIO_PCI_COMMON_STATUS, 1, status);
}

void driver_negotiate(struct driver *d, uint64_t mask)
{
	struct fake_machine *fm = d->fm;

	driver_set_status(d, 0);
	fake_settle(fm);
	REQUIRE(!driver_status(d));
	driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	d->features = 0;
	for (unsigned int word = 0; word < 2; word++) {
		fake_write(fm, d->common + VIRTIO_PCI_COMMON_DFSELECT, 4, word);
		d->features |= fake_read(fm, d->common + VIRTIO_PCI_COMMON_DF, 4) << 32 * word;
	}
	d->features &= mask;
	for (unsigned int word = 0; word < 2; word++) {
		fake_write(fm, d->common + VIRTIO_PCI_COMMON_GFSELECT, 4, word);
		fake_write(fm, d->common + VIRTIO_PCI_COMMON_GF, 4,
			   (uint32_t)(d->features >> 32 * word));
	}
	d->event_idx = d->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			     VIRTIO_CONFIG_S_FEATURES_OK);
}

void driver_queue(struct driver *d, unsigned int queue, uint16_t size)
{
	struct driver_queue *q = &d->q[queue];
	struct fake_machine *fm = d->fm;

	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	if (!size)
		size = (uint16_t)fake_read(fm, d->common + VIRTIO_PCI_COMMON_Q_SIZE, 2);
	*q = (struct driver_queue){
		.size = size,
		.desc = DRIVER_RINGS + queue * 0x10000ull,
		.avail = DRIVER_RINGS + queue * 0x10000ull + 0x4000,
		.used = DRIVER_RINGS + queue * 0x10000ull + 0x5000,
		.notify = d->notify + d->notify_multiplier *
			  fake_read(fm, d->common + VIRTIO_PCI_COMMON_Q_NOFF, 2),
	};
	memset(fake_ram(fm, q->desc, 0x10000), 0, 0x10000);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	/* As two halves, and as one access that the bus has to take apart. */
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_DESCLO, 4, (uint32_t)q->desc);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, q->avail);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_USEDLO, 8, q->used);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void driver_msix(struct driver *d, unsigned int queues)
{
	struct fake_machine *fm = d->fm;
	unsigned int cap = fake_capability(fm, d->slot, PCI_CAP_ID_MSIX, 0);
	uint32_t place = fake_config_read(fm, d->slot, cap + PCI_MSIX_TABLE, 4);
	uint64_t table = (fake_config_read(fm, d->slot, PCI_BASE_ADDRESS_0 + 4 * (place & 7), 4) &
			  PCI_BASE_ADDRESS_MEM_MASK) + (place & ~7u);

	for (unsigned int v = 0; v <= queues; v++) {
		fake_write(fm, table + 16 * v, 4, LAPIC_BASE);
		fake_write(fm, table + 16 * v + 4, 4, 0);
		fake_write(fm, table + 16 * v + 8, 4, v);
		fake_write(fm, table + 16 * v + 12, 4, 0);
	}
	fake_config_write(fm, d->slot, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	fake_write(fm, d->common + VIRTIO_PCI_COMMON_MSIX, 2, queues);
	for (unsigned int q = 0; q < queues; q++) {
		fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		fake_write(fm, d->common + VIRTIO_PCI_COMMON_Q_MSIX, 2, q);
	}
}

void driver_start(struct driver *d, uint64_t mask, unsigned int queues)
{
	driver_negotiate(d, mask);
	for (unsigned int q = 0; q < queues; q++)
		driver_queue(d, q, 0);
	driver_msix(d, queues);
	driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	fake_settle(d->fm);
}

void driver_desc(struct driver *d, unsigned int queue, uint16_t i, uint64_t addr, uint32_t length,
		 uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { .addr = addr, .len = length, .flags = flags, .next = next };

	memcpy(fake_ram(d->fm, d->q[queue].desc + 16ull * i, 16), &desc, sizeof(desc));
}

void driver_offer(struct driver *d, unsigned int queue, uint16_t head)
{
	struct driver_queue *q = &d->q[queue];
	uint16_t *avail = fake_ram(d->fm, q->avail, 2 * (3u + q->size));

	avail[2 + q->avail_idx % q->size] = head;
	q->avail_idx++;
	avail[1] = q->avail_idx;
	/* used_event: an interrupt for the next one that is used. */
	if (d->event_idx)
		avail[2 + q->size] = q->used_seen;
}

uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_buffer *buffers,
		    unsigned int count)
{
	struct driver_queue *q = &d->q[queue];
	uint16_t head = q->next_desc % q->size;

	for (unsigned int i = 0; i < count; i++) {
		uint16_t at = q->next_desc++ % q->size;
		bool last = i + 1 == count;

		driver_desc(d, queue, at, buffers[i].addr, buffers[i].length,
			    (buffers[i].write ? VRING_DESC_F_WRITE : 0) |
			    (last ? 0 : VRING_DESC_F_NEXT),
			    last ? 0 : q->next_desc % q->size);
	}
	driver_offer(d, queue, head);
	return head;
}

void driver_notify(struct driver *d, unsigned int queue)
{
	fake_write(d->fm, d->q[queue].notify, 2, queue);
}

bool driver_used(struct driver *d, unsigned int queue, uint32_t *head, uint32_t *length)
{
	struct driver_queue *q = &d->q[queue];
	const uint16_t *used = fake_ram(d->fm, q->used, 6 + 8u * q->size);
	uint32_t elem[2];

	if (used[1] == q->used_seen)
		return false;
	memcpy(elem, &used[2 + 4 * (q->used_seen % q->size)], sizeof(elem));
	q->used_seen++;
	if (head)
		*head = elem[0];
	if (length)
		*length = elem[1];
	return true;
}
