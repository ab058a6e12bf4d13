/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways in which a PC's software resets it: the chip set's reset control register at port
 * 0xcf9 (Intel ICH, "RST_CNT"), and the keyboard controller's pulse on the processor's reset line
 * (command 0xfe to port 0x64). There is no keyboard behind that controller, only the pulse.
 */
#include "vmm/dev/pc/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/util.h"

#define CF9_SYSTEM	0x02	/* a hard reset, not just the processor's INIT */
#define CF9_RESET	0x04	/* going from 0 to 1 resets */
#define CF9_FULL	0x08	/* with power cycled */

#define KBC_PORT	0x64
#define KBC_PULSE	0xf0	/* pulse the output lines that are 0 in the low bits */
#define KBC_PULSE_RESET	0x01

struct reset_ports {
	struct device dev;
	struct region cf9_region, kbc_region;

	/* state, under dev.lock */
	uint8_t cf9;
};

static const struct state_field reset_fields[] = {
	STATE_INT(1, 1, struct reset_ports, cf9),
};
STATE_TABLE_STATIC(reset_state, "reset-ports", 1, struct reset_ports, reset_fields);

static uint64_t cf9_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return container_of(dev, struct reset_ports, dev)->cf9;
}

static void cf9_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct reset_ports *r = container_of(dev, struct reset_ports, dev);

	if (!(r->cf9 & CF9_RESET) && (value & CF9_RESET))
		machine_request_reset(dev->machine);
	r->cf9 = value & (CF9_SYSTEM | CF9_RESET | CF9_FULL);
}

/* Nothing waits in either buffer: ready for a command, no key was pressed. */
static uint64_t kbc_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return 0;
}

static void kbc_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	if ((value & KBC_PULSE) == KBC_PULSE && !(value & KBC_PULSE_RESET))
		machine_request_reset(dev->machine);
}

static const struct region_ops cf9_ops = {
	.read = cf9_read, .write = cf9_write, .max_access = 1,
};

static const struct region_ops kbc_ops = {
	.read = kbc_read, .write = kbc_write, .max_access = 1,
};

static void reset_ports_reset(struct device *dev)
{
	container_of(dev, struct reset_ports, dev)->cf9 = 0;
}

static void reset_ports_destroy(struct device *dev)
{
	struct reset_ports *r = container_of(dev, struct reset_ports, dev);

	bus_unmap(&r->cf9_region);
	bus_unmap(&r->kbc_region);
	free(r);
}

static const struct device_ops reset_ports_ops = {
	.reset = reset_ports_reset,
	.destroy = reset_ports_destroy,
};

int reset_ports_create(struct machine *m, struct vmm_error *error)
{
	struct reset_ports *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return vmm_fail(error, -ENOMEM, "out of memory");
	r->cf9_region = (struct region){
		.name = "reset-control", .dev = &r->dev, .ops = &cf9_ops, .size = 1,
	};
	r->kbc_region = (struct region){
		.name = "keyboard-controller", .dev = &r->dev, .ops = &kbc_ops, .size = 1,
	};
	err = bus_map(&m->pio, &r->cf9_region, RESET_PORT);
	if (!err)
		err = bus_map(&m->pio, &r->kbc_region, KBC_PORT);
	if (err) {
		bus_unmap(&r->cf9_region);
		free(r);
		return vmm_fail(error, err, "cannot make the reset ports: %s", strerror(-err));
	}
	device_add(&r->dev, m, &reset_ports_ops, "reset-ports");
	device_add_section(&r->dev, &reset_state, r);
	return 0;
}
