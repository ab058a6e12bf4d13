/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The panic port: a guest that dies writes here, so that its user learns of it instead of looking
 * at a machine that hangs. Reading it tells which events it understands.
 */
#include "vmm/dev/pc/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/util.h"

struct panic_port {
	struct device dev;
	struct region region;
};

static uint64_t panic_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return PANIC_PANICKED | PANIC_CRASH_LOADED;
}

static void panic_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	/* A guest whose crash kernel takes over goes on, to save its dump. */
	if (value & PANIC_PANICKED)
		machine_request_panic(dev->machine);
}

static const struct region_ops panic_region_ops = {
	.read = panic_read, .write = panic_write, .max_access = 1,
};

static void panic_destroy(struct device *dev)
{
	struct panic_port *p = container_of(dev, struct panic_port, dev);

	bus_unmap(&p->region);
	free(p);
}

static const struct device_ops panic_ops = {
	.destroy = panic_destroy,
};

int panic_port_create(struct machine *m, struct vmm_error *error)
{
	struct panic_port *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return vmm_fail(error, -ENOMEM, "out of memory");
	p->region = (struct region){
		.name = "panic-port", .dev = &p->dev, .ops = &panic_region_ops, .size = 1,
	};
	err = bus_map(&m->pio, &p->region, PANIC_PORT);
	if (err) {
		free(p);
		return vmm_fail(error, err, "cannot make the panic port: %s", strerror(-err));
	}
	device_add(&p->dev, m, &panic_ops, "panic-port");
	return 0;
}
