/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ACPI's fixed power management hardware (ACPI 6.4, 4.8.3): enough to switch the machine off, to
 * press its power button and to tell the time by the power management timer. The button is the only
 * event, so the SCI is its interrupt. The machine is in ACPI mode from the start.
 */
#include "vmm/dev/pc/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/util.h"

#define PM_TIMER_HZ	3579545

#define REG_PM1_STATUS	0x0
#define REG_PM1_ENABLE	0x2
#define REG_PM1_CONTROL	0x4
#define REG_PM_TIMER	0x8
#define REGISTERS_SIZE	0xc

#define PWRBTN		0x0100		/* in status and enable */

#define CONTROL_SCI_EN	0x0001
#define CONTROL_TYPE	0x1c00
#define CONTROL_SLP_EN	0x2000

struct acpi_pm {
	struct device dev;
	struct region region;
	struct irq_pin sci;
	uint64_t started;	/* loop_now() minus the timer's age; while running */

	/* state, under dev.lock */
	uint16_t status, enable, control;
	uint64_t age;		/* of the timer in ns, while paused */
};

static const struct state_field acpi_pm_fields[] = {
	STATE_INT(1, 1, struct acpi_pm, enable),
	STATE_INT(2, 1, struct acpi_pm, control),
	STATE_INT(3, 1, struct acpi_pm, age),
	STATE_INT(4, 2, struct acpi_pm, status),
};
STATE_TABLE_STATIC(acpi_pm_state, "acpi-pm", 2, struct acpi_pm, acpi_pm_fields);

static void update_sci(struct acpi_pm *p)
{
	irq_pin_set(&p->sci, p->status & p->enable & PWRBTN);
}

static uint32_t pm_timer(const struct acpi_pm *p)
{
	uint64_t ns = loop_now() - p->started;

	/* In two steps, or the product would overflow after an hour and a half. */
	return ns / 1000000000 * PM_TIMER_HZ + ns % 1000000000 * PM_TIMER_HZ / 1000000000;
}

/*
 * The registers are of several widths side by side, and guests may read them by bytes or as one
 * (the timer as four). So reads are of the whole file of registers.
 */
static uint64_t acpi_pm_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);
	uint16_t control = p->control | CONTROL_SCI_EN;
	uint8_t registers[REGISTERS_SIZE] = { 0 };
	uint32_t timer = pm_timer(p), value = 0;

	memcpy(registers + REG_PM1_STATUS, &p->status, sizeof(p->status));
	memcpy(registers + REG_PM1_ENABLE, &p->enable, sizeof(p->enable));
	memcpy(registers + REG_PM1_CONTROL, &control, sizeof(control));
	memcpy(registers + REG_PM_TIMER, &timer, sizeof(timer));
	memcpy(&value, registers + offset, size);
	return value;
}

static void write_control(struct acpi_pm *p, uint16_t value)
{
	/* SLP_EN is write-only. Any other type than S5's is a state we do not have. */
	p->control = value & ~CONTROL_SLP_EN;
	if ((value & CONTROL_SLP_EN) && (value & CONTROL_TYPE) >> 10 == ACPI_S5_SLEEP_TYPE)
		machine_request_poweroff(p->dev.machine);
}

static void acpi_pm_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	/* A write of four bytes is one to each of two registers; a single byte keeps the other. */
	for (unsigned int i = 0; i < size; i++, value >>= 8) {
		uint16_t byte = value & 0xff;

		switch (offset + i) {
		case REG_PM1_STATUS:
			p->status &= ~byte;
			break;
		case REG_PM1_STATUS + 1:
			p->status &= ~(byte << 8);
			break;
		case REG_PM1_ENABLE:
			p->enable = (p->enable & 0xff00) | byte;
			break;
		case REG_PM1_ENABLE + 1:
			p->enable = (p->enable & 0x00ff) | byte << 8;
			break;
		case REG_PM1_CONTROL:
			p->control = (p->control & 0xff00) | byte;
			break;
		case REG_PM1_CONTROL + 1:
			write_control(p, (p->control & 0x00ff) | byte << 8);
			break;
		}
	}
	update_sci(p);
}

static const struct region_ops acpi_pm_region_ops = {
	.read = acpi_pm_read,
	.write = acpi_pm_write,
	.max_access = 4,
};

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	p->status = p->enable = p->control = 0;
	p->age = 0;
	update_sci(p);
}

static void acpi_pm_pause(struct device *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	p->age = loop_now() - p->started;
}

static void acpi_pm_resume(struct device *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	p->started = loop_now() - p->age;
	update_sci(p);
}

static void acpi_pm_destroy(struct device *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	bus_unmap(&p->region);
	free(p);
}

static const struct device_ops acpi_pm_ops = {
	.reset = acpi_pm_reset,
	.pause = acpi_pm_pause,
	.resume = acpi_pm_resume,
	.destroy = acpi_pm_destroy,
};

void acpi_pm_press_power_button(struct machine *m)
{
	for (struct device *dev = m->devices; dev; dev = dev->next) {
		struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

		if (dev->ops != &acpi_pm_ops)
			continue;
		pthread_mutex_lock(&dev->lock);
		p->status |= PWRBTN;
		update_sci(p);
		pthread_mutex_unlock(&dev->lock);
	}
}

int acpi_pm_create(struct machine *m, struct vmm_error *error)
{
	struct acpi_pm *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return vmm_fail(error, -ENOMEM, "out of memory");
	p->region = (struct region){
		.name = "acpi-pm", .dev = &p->dev, .ops = &acpi_pm_region_ops,
		.size = REGISTERS_SIZE,
	};
	err = irq_pin_connect(&p->sci, m, GSI_ACPI, true);
	if (!err)
		err = bus_map(&m->pio, &p->region, ACPI_PM1_EVENT_PORT);
	if (err) {
		free(p);
		return vmm_fail(error, err, "cannot make the ACPI registers: %s", strerror(-err));
	}
	device_add(&p->dev, m, &acpi_pm_ops, "acpi-pm");
	device_add_section(&p->dev, &acpi_pm_state, p);
	return 0;
}
