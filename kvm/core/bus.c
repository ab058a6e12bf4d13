/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port and MMIO buses: which accesses are served here instead of by the VMM.
 *
 * As with memory slots, an array is never changed but swapped, so that vCPUs look things up without a lock.
 * One thing is changed in place: the device of a removed entry becomes NULL, so that removal cannot fail for
 * want of memory; the next array leaves such entries out.
 */
#include "kvm/core/kvm.h"

#define MAX_DEVICES	32768	/* what a VMM may register; a sane bound, no more */

struct bus_entry {
	gpa_t addr;
	u64 len;		/* 0: just this address, whatever the length of the access */
	gpa_t max_end;		/* the largest end among this entry and those before it */
	struct kvm_io_device *dev;
};

struct kvm_bus {
	u32 count;
	struct bus_entry entry[];	/* by address; equal ones in the order of registration */
};

static gpa_t end_of(const struct bus_entry *e)
{
	return e->addr + max(e->len, 1ull);
}

static struct kvm_bus *alloc_bus(u32 count)
{
	return os_alloc(sizeof(struct kvm_bus) + count * sizeof(struct bus_entry));
}

int kvm_buses_init(struct kvm *kvm)
{
	for (int i = 0; i < KVM_NR_BUSES; i++) {
		kvm->buses[i] = alloc_bus(0);
		if (!kvm->buses[i])
			return -ENOMEM;
	}
	return 0;
}

/* A device may be on both buses, or twice on one: it goes with its last entry. */
static bool is_registered(struct kvm *kvm, const struct kvm_io_device *dev)
{
	for (int i = 0; i < KVM_NR_BUSES; i++) {
		struct kvm_bus *bus = kvm->buses[i];

		for (u32 k = 0; bus && k < bus->count; k++)
			if (bus->entry[k].dev == dev)
				return true;
	}
	return false;
}

static void drop_device(struct kvm *kvm, struct kvm_io_device *dev)
{
	if (dev->destroy && !is_registered(kvm, dev))
		dev->destroy(dev);
}

void kvm_buses_destroy(struct kvm *kvm)
{
	for (int i = 0; i < KVM_NR_BUSES; i++) {
		struct kvm_bus *bus = kvm->buses[i];

		for (u32 k = 0; bus && k < bus->count; k++) {
			struct kvm_io_device *dev = bus->entry[k].dev;

			bus->entry[k].dev = NULL;
			if (dev)
				drop_device(kvm, dev);
		}
		kvm->buses[i] = NULL;
		os_free(bus);
	}
}

int kvm_bus_register_locked(struct kvm *kvm, enum kvm_bus_id id, gpa_t addr, u64 len,
			    struct kvm_io_device *dev)
{
	struct kvm_bus *from = kvm->buses[id], *to;
	struct bus_entry new = { .addr = addr, .len = len, .dev = dev };
	gpa_t max_end = 0;
	bool placed = false;

	if (from->count >= MAX_DEVICES)
		return -ENOSPC;
	to = alloc_bus(from->count + 1);
	if (!to)
		return -ENOMEM;
	for (u32 i = 0; i < from->count; i++) {
		if (!from->entry[i].dev)
			continue;
		if (!placed && addr < from->entry[i].addr) {
			to->entry[to->count++] = new;
			placed = true;
		}
		to->entry[to->count++] = from->entry[i];
	}
	if (!placed)
		to->entry[to->count++] = new;
	for (u32 i = 0; i < to->count; i++) {
		max_end = max(max_end, end_of(&to->entry[i]));
		to->entry[i].max_end = max_end;
	}
	__atomic_store_n(&kvm->buses[id], to, __ATOMIC_SEQ_CST);
	kvm_request_all_and_wait(kvm, KVM_REQ_SLOTS, NULL);
	os_free(from);
	return 0;
}

int kvm_bus_register(struct kvm *kvm, enum kvm_bus_id id, gpa_t addr, u64 len,
		     struct kvm_io_device *dev)
{
	int r;

	os_mutex_lock(&kvm->slots_lock);
	r = kvm_bus_register_locked(kvm, id, addr, len, dev);
	os_mutex_unlock(&kvm->slots_lock);
	return r;
}

void kvm_bus_unregister_locked(struct kvm *kvm, enum kvm_bus_id id, struct kvm_io_device *dev)
{
	struct kvm_bus *bus = kvm->buses[id];
	bool found = false;

	for (u32 i = 0; i < bus->count; i++) {
		if (bus->entry[i].dev != dev)
			continue;
		__atomic_store_n(&bus->entry[i].dev, NULL, __ATOMIC_SEQ_CST);
		found = true;
	}
	if (!found)
		return;
	kvm_request_all_and_wait(kvm, KVM_REQ_SLOTS, NULL);
	drop_device(kvm, dev);
}

void kvm_bus_unregister(struct kvm *kvm, enum kvm_bus_id id, struct kvm_io_device *dev)
{
	os_mutex_lock(&kvm->slots_lock);
	kvm_bus_unregister_locked(kvm, id, dev);
	os_mutex_unlock(&kvm->slots_lock);
}

/* Index behind the last entry that begins at or below addr. */
static u32 upper_bound(const struct kvm_bus *bus, gpa_t addr)
{
	u32 low = 0, high = bus->count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (bus->entry[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Next device, before index *i, that an access of len bytes at addr concerns: the innermost range first. */
static struct kvm_io_device *next_device(const struct kvm_bus *bus, u32 *i, gpa_t addr, int len)
{
	while (*i && bus->entry[*i - 1].max_end > addr) {
		const struct bus_entry *e = &bus->entry[--*i];
		struct kvm_io_device *dev = __atomic_load_n(&e->dev, __ATOMIC_SEQ_CST);

		if (dev && (e->len ? addr + len <= end_of(e) : addr == e->addr))
			return dev;
	}
	return NULL;
}

static struct kvm_bus *bus_of(struct kvm_vcpu *v, enum kvm_bus_id id)
{
	return __atomic_load_n(&v->kvm->buses[id], __ATOMIC_SEQ_CST);
}

int kvm_bus_read(struct kvm_vcpu *v, enum kvm_bus_id id, gpa_t addr, int len, void *val)
{
	struct kvm_bus *bus = bus_of(v, id);
	u32 i = upper_bound(bus, addr);
	struct kvm_io_device *dev;

	while ((dev = next_device(bus, &i, addr, len)))
		if (dev->read && !dev->read(dev, v, addr, len, val))
			return 0;
	return -EOPNOTSUPP;
}

int kvm_bus_write(struct kvm_vcpu *v, enum kvm_bus_id id, gpa_t addr, int len, const void *val)
{
	struct kvm_bus *bus = bus_of(v, id);
	u32 i = upper_bound(bus, addr);
	struct kvm_io_device *dev;

	while ((dev = next_device(bus, &i, addr, len)))
		if (dev->write && !dev->write(dev, v, addr, len, val))
			return 0;
	return -EOPNOTSUPP;
}
