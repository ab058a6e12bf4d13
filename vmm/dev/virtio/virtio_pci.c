/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio over PCI (virtio 1.2, section 4.1), without the legacy interface.
 *
 * One BAR holds all that the driver needs, each structure in a page of its own. Every queue has its
 * own address to notify, to which KVM binds the queue's eventfd while the BAR is mapped, so that a
 * notification never reaches a handler here; the handler is for accesses KVM does not catch, and
 * for the window in configuration space. Interrupts are MSI-X, or INTx with the ISR register.
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus/pci.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define VIRTIO_VENDOR		0x1af4
#define VIRTIO_DEVICE_BASE	0x1040	/* plus the device type */

#define BAR			0
#define BAR_SIZE		0x8000
#define COMMON_OFFSET		0x0000
#define ISR_OFFSET		0x1000
#define DEVICE_OFFSET		0x2000
#define NOTIFY_OFFSET		0x3000
#define MSIX_TABLE_OFFSET	0x4000
#define MSIX_PBA_OFFSET		0x5000
#define REGION_SIZE		0x1000

#define NOTIFY_MULTIPLIER	4	/* bytes from one queue's notify address to the next */

#define ISR_QUEUE		1
#define ISR_CONFIG		2

struct virtio_pci {
	struct pci_device pci;
	struct virtio_device *vdev;

	/* Registers, as the driver wrote them. */
	uint32_t host_features_select;
	uint32_t driver_features_select;
	uint16_t config_vector;
	uint16_t queue_select;
	uint8_t isr;
	uint16_t queue_vector[VIRTIO_MAX_QUEUES];

	unsigned int window;		/* offset of the capability that is a window to the BAR */
	uint32_t bound;			/* a bit for each queue whose eventfd KVM has */
	struct region common, isr_region, device, notify;
};

static struct virtio_pci *to_vp(struct device *dev)
{
	return container_of(dev, struct virtio_pci, pci.dev);
}

static struct virtio_pci *pci_to_vp(struct pci_device *pci)
{
	return container_of(pci, struct virtio_pci, pci);
}

/* ------------------------------------------------------------------ interrupts */

static void update_intx(struct virtio_pci *vp)
{
	pci_set_intx(&vp->pci, vp->isr != 0);
}

static void queue_interrupt(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_pci *vp = vdev->transport_data;

	if (pci_msix_enabled(&vp->pci)) {
		pci_msix_notify(&vp->pci, vp->queue_vector[queue]);
		return;
	}
	vp->isr |= ISR_QUEUE;
	update_intx(vp);
}

static void config_interrupt(struct virtio_device *vdev)
{
	struct virtio_pci *vp = vdev->transport_data;

	/* 4.1.4.5.1: the bit is set whichever way the interrupt takes. */
	vp->isr |= ISR_CONFIG;
	if (pci_msix_enabled(&vp->pci))
		pci_msix_notify(&vp->pci, vp->config_vector);
	else
		update_intx(vp);
}

static void transport_reset(struct virtio_device *vdev)
{
	struct virtio_pci *vp = vdev->transport_data;

	vp->host_features_select = 0;
	vp->driver_features_select = 0;
	vp->config_vector = VIRTIO_MSI_NO_VECTOR;
	vp->queue_select = 0;
	vp->isr = 0;
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vp->queue_vector[i] = VIRTIO_MSI_NO_VECTOR;
	update_intx(vp);
}

static const struct virtio_transport_ops transport_ops = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = transport_reset,
};

/* ------------------------------------------------------------------ common structure, 4.1.4.3 */

/* The whole structure as it reads now, so that an access of any width finds its bytes. */
static void common_image(struct virtio_pci *vp, struct virtio_pci_common_cfg *cfg)
{
	const struct virtio_device *vdev = vp->vdev;
	unsigned int q = vp->queue_select;

	*cfg = (struct virtio_pci_common_cfg){
		.device_feature_select = vp->host_features_select,
		.guest_feature_select = vp->driver_features_select,
		.msix_config = vp->config_vector,
		.num_queues = (uint16_t)vdev->queue_count,
		.device_status = virtio_status(vdev),
		.config_generation = vdev->config_generation,
		.queue_select = vp->queue_select,
	};
	if (vp->host_features_select < 2)
		cfg->device_feature = (uint32_t)(vdev->host_features >>
						 32 * vp->host_features_select);
	if (vp->driver_features_select < 2)
		cfg->guest_feature = (uint32_t)(vdev->driver_features >>
						32 * vp->driver_features_select);
	/* A queue that does not exist has size 0 and nothing else. */
	if (q < vdev->queue_count) {
		const struct virtqueue *vq = &vdev->queues[q].vq;

		cfg->queue_size = vq->size;
		cfg->queue_msix_vector = vp->queue_vector[q];
		cfg->queue_enable = vq->enabled;
		cfg->queue_notify_off = (uint16_t)q;
		cfg->queue_desc_lo = (uint32_t)vq->desc_addr;
		cfg->queue_desc_hi = (uint32_t)(vq->desc_addr >> 32);
		cfg->queue_avail_lo = (uint32_t)vq->avail_addr;
		cfg->queue_avail_hi = (uint32_t)(vq->avail_addr >> 32);
		cfg->queue_used_lo = (uint32_t)vq->used_addr;
		cfg->queue_used_hi = (uint32_t)(vq->used_addr >> 32);
	}
}

static uint64_t common_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct virtio_pci_common_cfg cfg;
	uint64_t value = 0;

	common_image(to_vp(dev), &cfg);
	memcpy(&value, (const uint8_t *)&cfg + offset, size);
	return value;
}

/* A vector that does not exist reads back as "none", which tells the driver. */
static uint16_t existing_vector(const struct virtio_pci *vp, uint64_t vector)
{
	return vector < vp->pci.msix.count ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

static void set_low(uint64_t *address, uint64_t value)
{
	*address = (*address & ~0xffffffffull) | value;
}

static void set_high(uint64_t *address, uint64_t value)
{
	*address = (*address & 0xffffffffull) | value << 32;
}

/* The registers of the selected queue. Its place and size can be changed until it is enabled. */
static void queue_write(struct virtio_pci *vp, uint64_t offset, uint64_t value)
{
	struct virtio_device *vdev = vp->vdev;
	unsigned int q = vp->queue_select;
	struct virtqueue *vq;

	if (q >= vdev->queue_count || vdev->resetting)
		return;
	vq = &vdev->queues[q].vq;
	if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
		vp->queue_vector[q] = existing_vector(vp, value);
		return;
	}
	if (!virtio_queue_is_open(vdev, q))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		/* Whether it will do is seen when the queue is enabled. */
		vq->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			virtio_queue_enable(vdev, q);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		set_low(&vq->desc_addr, value);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_high(&vq->desc_addr, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		set_low(&vq->avail_addr, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_high(&vq->avail_addr, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		set_low(&vq->used_addr, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_high(&vq->used_addr, value);
		break;
	}
}

/* 4.1.3.1: a driver writes each field at its own width; other writes mean nothing. */
static unsigned int field_size(uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return 2;
	case VIRTIO_PCI_COMMON_DFSELECT:
	case VIRTIO_PCI_COMMON_GFSELECT:
	case VIRTIO_PCI_COMMON_GF:
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return 4;
	default:
		return 0;
	}
}

static void common_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_pci *vp = to_vp(dev);

	if (size != field_size(offset))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		vp->host_features_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		vp->driver_features_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_set_features(vp->vdev, vp->driver_features_select, (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		vp->config_vector = existing_vector(vp, value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_set_status(vp->vdev, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		vp->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(vp, offset, value);
		break;
	}
}

static const struct region_ops common_ops = {
	.read = common_read,
	.write = common_write,
	.min_access = 1,
	.max_access = 4,
};

/* ------------------------------------------------------------------ the other structures */

/* 4.1.4.5: reading acknowledges. */
static uint64_t isr_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct virtio_pci *vp = to_vp(dev);
	uint8_t isr = vp->isr;

	vp->isr = 0;
	update_intx(vp);
	return isr;
}

static const struct region_ops isr_ops = {
	.read = isr_read,
	.min_access = 1,
	.max_access = 1,
};

static uint64_t device_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return virtio_config_read(to_vp(dev)->vdev, (unsigned int)offset, size);
}

static void device_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	virtio_config_write(to_vp(dev)->vdev, (unsigned int)offset, size, (uint32_t)value);
}

static const struct region_ops device_region_ops = {
	.read = device_read,
	.write = device_write,
	.min_access = 1,
	.max_access = 4,
};

static uint64_t notify_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return 0;
}

static void notify_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_device *vdev = to_vp(dev)->vdev;

	if (offset / NOTIFY_MULTIPLIER < vdev->queue_count)
		virtio_queue_kick(vdev, (unsigned int)offset / NOTIFY_MULTIPLIER);
}

static const struct region_ops notify_ops = {
	.read = notify_read,
	.write = notify_write,
	.min_access = 1,
	.max_access = 4,
};

/* ------------------------------------------------------------------ eventfds */

static void bar_mapped(struct pci_device *pci, unsigned int bar, uint64_t base)
{
	struct virtio_pci *vp = pci_to_vp(pci);
	struct virtio_device *vdev = vp->vdev;

	/*
	 * KVM may refuse: the guest can put two devices' BARs at the same place, and the first has
	 * the address. Then the handler does it, as far as the access gets to it.
	 */
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		if (!machine_ioeventfd_add(pci->dev.machine, false,
					   base + NOTIFY_OFFSET + i * NOTIFY_MULTIPLIER, 0, NULL,
					   vdev->queues[i].kick_fd))
			vp->bound |= 1u << i;
}

static void bar_unmapped(struct pci_device *pci, unsigned int bar, uint64_t base)
{
	struct virtio_pci *vp = pci_to_vp(pci);
	struct virtio_device *vdev = vp->vdev;

	for (unsigned int i = 0; i < vdev->queue_count; i++)
		if (vp->bound & 1u << i)
			machine_ioeventfd_del(pci->dev.machine, false,
					      base + NOTIFY_OFFSET + i * NOTIFY_MULTIPLIER, 0,
					      NULL, vdev->queues[i].kick_fd);
	vp->bound = 0;
}

/* ------------------------------------------------------------------ the window, 4.1.4.9 */

/*
 * A driver that cannot reach the BAR yet (firmware in a small address space) puts bar, offset and
 * length into a capability and reads or writes the data that is its last field.
 */
static bool window_access(const struct virtio_pci *vp, unsigned int offset, unsigned int size)
{
	unsigned int data = vp->window + sizeof(struct virtio_pci_cap);

	return offset <= data && data < offset + size;
}

static unsigned int window_length(const struct virtio_pci *vp)
{
	uint32_t length = pci_get32(vp->pci.config + vp->window + VIRTIO_PCI_CAP_LENGTH);

	return length == 1 || length == 2 || length == 4 ? length : 0;
}

static void config_read(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct virtio_pci *vp = pci_to_vp(pci);
	uint8_t *cap = pci->config + vp->window;
	unsigned int length = window_length(vp);
	uint32_t value;

	if (!window_access(vp, offset, size) || !length)
		return;
	if (pci_bar_read(pci, cap[VIRTIO_PCI_CAP_BAR], pci_get32(cap + VIRTIO_PCI_CAP_OFFSET),
			 length, &value))
		pci_set32(cap + sizeof(struct virtio_pci_cap), value);
}

static void config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct virtio_pci *vp = pci_to_vp(pci);
	const uint8_t *cap = pci->config + vp->window;
	unsigned int length = window_length(vp);

	virtio_set_dma(vp->vdev, pci_is_master(pci));
	if (!window_access(vp, offset, size) || !length)
		return;
	pci_bar_write(pci, cap[VIRTIO_PCI_CAP_BAR], pci_get32(cap + VIRTIO_PCI_CAP_OFFSET), length,
		      pci_get32(cap + sizeof(struct virtio_pci_cap)));
}

static const struct pci_device_ops pci_ops = {
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
	.config_read = config_read,
	.config_written = config_written,
};

/* ------------------------------------------------------------------ life */

static void vp_reset(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);

	pci_device_reset(&vp->pci);
	virtio_device_reset(vp->vdev);
	virtio_set_dma(vp->vdev, false);
}

static void vp_pause(struct device *dev)
{
	virtio_device_pause(to_vp(dev)->vdev);
}

static bool vp_quiescent(struct device *dev)
{
	return virtio_device_quiescent(to_vp(dev)->vdev);
}

static void vp_resume(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);

	pci_device_resume(&vp->pci);
	virtio_set_dma(vp->vdev, pci_is_master(&vp->pci));
	virtio_device_resume(vp->vdev);
}

static void vp_destroy(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);

	pci_device_destroy(&vp->pci);
	vp->vdev->ops->destroy(vp->vdev);
	free(vp);
}

static const struct device_ops vp_ops = {
	.reset = vp_reset,
	.pause = vp_pause,
	.quiescent = vp_quiescent,
	.resume = vp_resume,
	.destroy = vp_destroy,
};

/* ------------------------------------------------------------------ state */

static int vp_post_load(void *object, unsigned int version)
{
	struct virtio_pci *vp = object;

	vp->config_vector = existing_vector(vp, vp->config_vector);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vp->queue_vector[i] = existing_vector(vp, vp->queue_vector[i]);
	return 0;
}

static const struct state_field vp_fields[] = {
	STATE_NESTED(1, 1, struct virtio_pci, pci, &pci_device_state),
	STATE_INT(2, 1, struct virtio_pci, host_features_select),
	STATE_INT(3, 1, struct virtio_pci, driver_features_select),
	STATE_INT(4, 1, struct virtio_pci, config_vector),
	STATE_INT(5, 1, struct virtio_pci, queue_select),
	STATE_INT(6, 1, struct virtio_pci, isr),
	STATE_ARRAY(7, 1, struct virtio_pci, queue_vector),
};

STATE_TABLE_STATIC(vp_state, "virtio-pci", 1, struct virtio_pci, vp_fields,
		   .post_load = vp_post_load);

/* ------------------------------------------------------------------ making one */

/* Adds a structure: a region in the BAR and the capability that tells the driver of it. */
static unsigned int add_structure(struct virtio_pci *vp, uint8_t type, unsigned int cap_size,
				  uint32_t offset, struct region *region)
{
	struct pci_device *pci = &vp->pci;
	unsigned int cap = pci_add_capability(pci, PCI_CAP_ID_VNDR, cap_size);

	pci->config[cap + VIRTIO_PCI_CAP_LEN] = (uint8_t)cap_size;
	pci->config[cap + VIRTIO_PCI_CAP_CFG_TYPE] = type;
	if (region) {
		pci->config[cap + VIRTIO_PCI_CAP_BAR] = BAR;
		pci_set32(pci->config + cap + VIRTIO_PCI_CAP_OFFSET, offset);
		pci_set32(pci->config + cap + VIRTIO_PCI_CAP_LENGTH, (uint32_t)region->size);
		pci_bar_add_region(pci, BAR, offset, region);
	}
	return cap;
}

static void add_structures(struct virtio_pci *vp)
{
	struct virtio_device *vdev = vp->vdev;
	struct device *dev = &vp->pci.dev;
	const unsigned int cap_size = sizeof(struct virtio_pci_cap);
	unsigned int cap;

	vp->common = (struct region){
		.name = "virtio-common", .dev = dev, .ops = &common_ops,
		.size = sizeof(struct virtio_pci_common_cfg),
	};
	add_structure(vp, VIRTIO_PCI_CAP_COMMON_CFG, cap_size, COMMON_OFFSET, &vp->common);

	vp->isr_region = (struct region){
		.name = "virtio-isr", .dev = dev, .ops = &isr_ops, .size = 1,
	};
	add_structure(vp, VIRTIO_PCI_CAP_ISR_CFG, cap_size, ISR_OFFSET, &vp->isr_region);

	/* 4.1.4.6: only where the device type has one. */
	if (vdev->config_size) {
		vp->device = (struct region){
			.name = "virtio-device", .dev = dev, .ops = &device_region_ops,
			.size = vdev->config_size,
		};
		add_structure(vp, VIRTIO_PCI_CAP_DEVICE_CFG, cap_size, DEVICE_OFFSET, &vp->device);
	}

	vp->notify = (struct region){
		.name = "virtio-notify", .dev = dev, .ops = &notify_ops,
		.size = (uint64_t)vdev->queue_count * NOTIFY_MULTIPLIER,
	};
	cap = add_structure(vp, VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(struct virtio_pci_notify_cap),
			    NOTIFY_OFFSET, &vp->notify);
	pci_set32(vp->pci.config + cap + cap_size, NOTIFY_MULTIPLIER);

	vp->window = add_structure(vp, VIRTIO_PCI_CAP_PCI_CFG, sizeof(struct virtio_pci_cfg_cap), 0,
				   NULL);
	vp->pci.writable[vp->window + VIRTIO_PCI_CAP_BAR] = 0xff;
	pci_set32(vp->pci.writable + vp->window + VIRTIO_PCI_CAP_OFFSET, UINT32_MAX);
	pci_set32(vp->pci.writable + vp->window + VIRTIO_PCI_CAP_LENGTH, UINT32_MAX);
	pci_set32(vp->pci.writable + vp->window + cap_size, UINT32_MAX);
}

/* The first free one of virtio-blk0, virtio-blk1, … */
static void choose_name(const struct machine *machine, const char *kind, char *name, size_t size)
{
	for (unsigned int n = 0;; n++) {
		const struct device *dev = machine->devices;

		snprintf(name, size, "%s%u", kind, n);
		while (dev && strcmp(dev->name, name))
			dev = dev->next;
		if (!dev)
			return;
	}
}

int virtio_pci_create(struct virtio_device *vdev, struct vmm_error *error)
{
	const struct pci_identity id = {
		.vendor = VIRTIO_VENDOR,
		.device = VIRTIO_DEVICE_BASE + vdev->ops->id,
		.subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = VIRTIO_DEVICE_BASE + vdev->ops->id,
		.class_code = vdev->ops->pci_class,
		.revision = 1,		/* 4.1.2.1: not a transitional device */
		.intx = true,
	};
	struct machine *machine = vdev->machine;
	struct virtio_pci *vp;
	char name[32];
	int ret;

	choose_name(machine, vdev->ops->name, name, sizeof(name));
	vp = calloc(1, sizeof(*vp));
	if (!vp) {
		ret = vmm_fail(error, -ENOMEM, "%s: out of memory", name);
		goto out_vdev;
	}
	vp->vdev = vdev;
	virtio_attach(vdev, &transport_ops, vp, &vp->pci.dev.lock);

	pci_device_init(&vp->pci, &id, &pci_ops);
	pci_add_bar(&vp->pci, BAR, BAR_SIZE, PCI_BASE_ADDRESS_MEM_TYPE_32);
	add_structures(vp);
	/* One vector for each queue, and one for the configuration. */
	ret = pci_msix_init(&vp->pci, BAR, MSIX_TABLE_OFFSET, MSIX_PBA_OFFSET,
			    vdev->queue_count + 1);
	if (ret) {
		vmm_fail(error, ret, "%s: out of memory", name);
		goto out_vp;
	}
	ret = pci_device_add(&vp->pci, machine, &vp_ops, name, error);
	if (ret)
		goto out_msix;

	device_add_section(&vp->pci.dev, &vp_state, vp);
	device_add_section(&vp->pci.dev, &virtio_device_state, vdev);
	if (vdev->ops->state)
		device_add_section(&vp->pci.dev, vdev->ops->state, vdev);
	ret = virtio_start(vdev);
	if (ret)
		return vmm_fail(error, ret, "%s: cannot watch its queues: %s", name,
				strerror(-ret));
	return 0;

out_msix:
	pci_msix_destroy(&vp->pci);
out_vp:
	free(vp);
out_vdev:
	vdev->ops->destroy(vdev);
	return ret;
}
