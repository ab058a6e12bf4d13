/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Coalesced MMIO and PIO: writes to zones that the VMM names are kept in a ring, which it empties when it
 * next looks, instead of leaving KVM_RUN for each.
 *
 * The VM has one ring, which every vCPU's mapping shows. Here each vCPU's mapping is a file of its own: the ring is
 * the first one's, and the others borrow the page (os_fd_borrow_page).
 */
#include "kvm/core/kvm.h"

#define MAX_ZONES	1000	/* on a bus: about what Linux has room for */

struct kvm_coalesced {
	struct kvm_io_device dev;
	struct kvm_coalesced *next;
	struct kvm *kvm;
	struct kvm_coalesced_mmio_zone zone;
};

static int coalesced_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
			   const void *val)
{
	struct kvm_coalesced *c = container_of(dev, struct kvm_coalesced, dev);
	struct kvm *kvm = c->kvm;
	struct kvm_coalesced_mmio_ring *ring;
	struct kvm_coalesced_mmio *e;
	int r = -EOPNOTSUPP;
	u32 last;

	if (!load_acquire(&kvm->nr_vcpus) || len > (int)sizeof(e->data))
		return r;
	ring = kvm->vcpus[0]->coalesced;
	os_mutex_lock(&kvm->coalesced_lock);
	/* Both indices are the VMM's to write, whatever it may write. Full: the VMM gets an exit. */
	last = READ_ONCE(ring->last);
	if (last >= KVM_COALESCED_MMIO_MAX ||
	    (last + 1) % KVM_COALESCED_MMIO_MAX == READ_ONCE(ring->first))
		goto out;
	e = &ring->coalesced_mmio[last];
	e->phys_addr = addr;
	e->len = len;
	memcpy(e->data, val, len);
	e->pio = c->zone.pio;
	store_release(&ring->last, (last + 1) % KVM_COALESCED_MMIO_MAX);
	r = 0;
out:
	os_mutex_unlock(&kvm->coalesced_lock);
	return r;
}

static void coalesced_destroy(struct kvm_io_device *dev)
{
	struct kvm_coalesced *c = container_of(dev, struct kvm_coalesced, dev), **link;

	for (link = &c->kvm->coalesced; *link; link = &(*link)->next) {
		if (*link == c) {
			*link = c->next;
			break;
		}
	}
	os_free(c);
}

static enum kvm_bus_id bus_of(const struct kvm_coalesced_mmio_zone *zone)
{
	return zone->pio ? KVM_BUS_PIO : KVM_BUS_MMIO;
}

/* With slots_lock held. */
static u32 count_zones(struct kvm *kvm, enum kvm_bus_id bus)
{
	u32 n = 0;

	for (struct kvm_coalesced *c = kvm->coalesced; c; c = c->next)
		n += bus_of(&c->zone) == bus;
	return n;
}

int kvm_register_coalesced(struct kvm *kvm, const struct kvm_coalesced_mmio_zone *zone)
{
	struct kvm_coalesced *c;
	int r;

	if (zone->pio > 1)
		return -EINVAL;
	c = os_alloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->dev.write = coalesced_write;
	c->dev.destroy = coalesced_destroy;
	c->kvm = kvm;
	c->zone = *zone;
	os_mutex_lock(&kvm->slots_lock);
	r = -ENOSPC;
	if (count_zones(kvm, bus_of(zone)) < MAX_ZONES)
		r = kvm_bus_register_locked(kvm, bus_of(zone), zone->addr, zone->size, &c->dev);
	if (!r) {
		c->next = kvm->coalesced;
		kvm->coalesced = c;
	}
	os_mutex_unlock(&kvm->slots_lock);
	if (r)
		os_free(c);
	return r;
}

int kvm_unregister_coalesced(struct kvm *kvm, const struct kvm_coalesced_mmio_zone *zone)
{
	struct kvm_coalesced *c, *next;

	if (zone->pio > 1)
		return -EINVAL;
	os_mutex_lock(&kvm->slots_lock);
	for (c = kvm->coalesced; c; c = next) {
		const struct kvm_coalesced_mmio_zone *z = &c->zone;

		next = c->next;
		/* As Linux: every zone that holds all of the one named. */
		if (z->pio == zone->pio && zone->addr >= z->addr &&
		    zone->addr - z->addr <= z->size && zone->size <= z->size - (zone->addr - z->addr))
			kvm_bus_unregister_locked(kvm, bus_of(z), &c->dev);
	}
	os_mutex_unlock(&kvm->slots_lock);
	return 0;
}
