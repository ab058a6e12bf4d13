/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two address spaces that devices answer in, and the one place where a guest's access is cut
 * to what a device's handler takes; the rules are in device.h.
 *
 * The list is short (some dozens of regions) and searched from the front: the board's fixed
 * regions come first, and no BAR that a guest programs can hide them.
 */
#include "vmm/device.h"

#include <errno.h>
#include <string.h>

int bus_init(struct bus *bus, const char *name)
{
	bus->name = name;
	bus->regions = NULL;
	return -pthread_rwlock_init(&bus->lock, NULL);
}

void bus_destroy(struct bus *bus)
{
	pthread_rwlock_destroy(&bus->lock);
}

int bus_map(struct bus *bus, struct region *region, uint64_t base)
{
	struct region **end;
	int err = 0;

	if (!region->size || region->size - 1 > UINT64_MAX - base)
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	if (region->bus) {
		err = -EBUSY;
	} else {
		region->bus = bus;
		region->base = base;
		region->next = NULL;
		for (end = &bus->regions; *end; end = &(*end)->next)
			;
		*end = region;
	}
	pthread_rwlock_unlock(&bus->lock);
	return err;
}

void bus_unmap(struct region *region)
{
	struct bus *bus = region->bus;
	struct region **at;

	if (!bus)
		return;
	pthread_rwlock_wrlock(&bus->lock);
	for (at = &bus->regions; *at; at = &(*at)->next) {
		if (*at == region) {
			*at = region->next;
			break;
		}
	}
	region->bus = NULL;
	pthread_rwlock_unlock(&bus->lock);
}

/*
 * The region that answers at addr, and the offset in it; else NULL, and *gap gets the number of
 * bytes from addr, *gap at most, at which no region answers.
 */
static struct region *look_up(struct bus *bus, uint64_t addr, uint64_t *offset, unsigned int *gap)
{
	struct region *region;

	pthread_rwlock_rdlock(&bus->lock);
	for (region = bus->regions; region; region = region->next) {
		if (addr - region->base < region->size) {
			*offset = addr - region->base;
			break;
		}
		if (region->base > addr && region->base - addr < *gap)
			*gap = region->base - addr;
	}
	pthread_rwlock_unlock(&bus->lock);
	return region;
}

static unsigned int min_access(const struct region *region)
{
	return region->ops->min_access ? region->ops->min_access : 1;
}

static unsigned int max_access(const struct region *region)
{
	return region->ops->max_access ? region->ops->max_access : 8;
}

/* The widest access the handler takes at offset that is aligned and within length bytes. */
static unsigned int piece(const struct region *region, uint64_t offset, unsigned int length)
{
	unsigned int size = max_access(region);

	while (size > 1 && (size > length || offset % size || offset + size > region->size))
		size /= 2;
	return size;
}

static uint64_t size_mask(unsigned int size)
{
	return ~0ULL >> (64 - 8 * size);
}

static void region_read(struct region *region, uint64_t offset, uint8_t *data, unsigned int size)
{
	unsigned int min = min_access(region), wide = size < min ? min : size;
	uint64_t aligned = offset & ~(uint64_t)(wide - 1);
	struct device *dev = region->dev;
	uint64_t value = ~0ULL;

	if (region->ops->read && aligned + wide <= region->size) {
		pthread_mutex_lock(&dev->lock);
		value = region->ops->read(dev, aligned, wide);
		pthread_mutex_unlock(&dev->lock);
	}
	value >>= 8 * (offset - aligned);
	memcpy(data, &value, size);
}

static void region_write(struct region *region, uint64_t offset, const uint8_t *data,
			 unsigned int size)
{
	struct device *dev = region->dev;
	uint64_t value = 0;

	if (!region->ops->write || size < min_access(region))
		return;
	memcpy(&value, data, size);
	pthread_mutex_lock(&dev->lock);
	region->ops->write(dev, offset, size, value & size_mask(size));
	pthread_mutex_unlock(&dev->lock);
}

bool bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int length)
{
	uint8_t *to = data;
	bool answered = false;

	while (length) {
		unsigned int size = length;
		struct region *region;
		uint64_t offset;

		region = look_up(bus, addr, &offset, &size);
		if (region) {
			size = piece(region, offset, length);
			region_read(region, offset, to, size);
			answered = true;
		} else {
			memset(to, 0xff, size);
		}
		addr += size;
		to += size;
		length -= size;
	}
	return answered;
}

bool bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int length)
{
	const uint8_t *from = data;
	bool answered = false;

	while (length) {
		unsigned int size = length;
		struct region *region;
		uint64_t offset;

		region = look_up(bus, addr, &offset, &size);
		if (region) {
			size = piece(region, offset, length);
			region_write(region, offset, from, size);
			answered = true;
		}
		addr += size;
		from += size;
		length -= size;
	}
	return answered;
}
