/* SPDX-License-Identifier: GPL-2.0-only */
/* Devices in their machine; see device.h. */
#include "vmm/device.h"

#include <assert.h>
#include <stdio.h>
#include "vmm/machine/machine.h"

void device_add(struct device *dev, struct machine *machine, const struct device_ops *ops,
		const char *name)
{
	struct device **end = &machine->devices;

	snprintf(dev->name, sizeof(dev->name), "%s", name);
	dev->ops = ops;
	dev->machine = machine;
	dev->section_count = 0;
	dev->next = NULL;
	pthread_mutex_init(&dev->lock, NULL);
	while (*end)
		end = &(*end)->next;
	*end = dev;
}

void device_add_section(struct device *dev, const struct state_table *table, void *object)
{
	assert(dev->section_count < DEVICE_MAX_SECTIONS);
	dev->sections[dev->section_count++] = (struct device_section){ table, object };
}
