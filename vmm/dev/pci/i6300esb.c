/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The watchdog timer of Intel's 6300ESB I/O controller hub (its datasheet, chapter 15): a guest
 * that does not write to it in time has hung, and something is done about it.
 *
 * Time runs in two stages. At the end of the first there may be an interrupt, which no driver that
 * we know of asks for and which is not wired here; at the end of the second the board would be
 * reset, which is where the action takes place that the user chose. A write to a register of the
 * timer counts only after two certain values have been written, lest a guest gone wild keeps it
 * quiet.
 *
 * That it struck is remembered across the reset, so that the guest can tell why it was.
 */
#include "vmm/dev/pci/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus/pci.h"
#include "vmm/util.h"

/* Configuration space. */
#define CONFIG		0x60		/* 16 bits */
#define CONFIG_FREQ	0x0004		/* 1 MHz instead of 1 kHz */
#define CONFIG_NO_RESET	0x0020		/* nothing is done at the end of the second stage */
#define CONFIG_BITS	0x0027
#define LOCK		0x68		/* 8 bits */
#define LOCK_LOCKED	0x01		/* the register stays as it is until a reset */
#define LOCK_ENABLE	0x02
#define LOCK_FREE_RUN	0x04		/* the first stage again and again, and nothing else */
#define LOCK_BITS	0x07

/* The memory BAR. */
#define BAR		0
#define BAR_SIZE	0x1000
#define TIMER1		0x00
#define TIMER2		0x04
#define STATUS		0x08		/* of the interrupt: never */
#define RELOAD		0x0c		/* 16 bits */
#define REGISTERS	0x10
#define PRELOAD_BITS	0xfffff
#define RELOAD_NOW	0x0100
#define RELOAD_STRUCK	0x0200
#define UNLOCK_FIRST	0x80
#define UNLOCK_SECOND	0x86

#define PCI_CLOCK_NS	30		/* of 33 MHz */
/* What a guest says may be shorter; the loop thread has other things to do. */
#define SHORTEST_NS	1000000

struct i6300esb {
	struct pci_device pci;
	struct region region;
	struct loop_timer timer;
	enum watchdog_action action;
	uint64_t deadline;	/* loop_now() when the stage ends; 0: stopped, or paused */
	/* state, under the device's lock */
	uint32_t preload[2];	/* of each stage */
	uint8_t lock;
	uint8_t stage;		/* 0 and 1; 2: it does not run */
	uint8_t unlocked;	/* how many of the two values have been written */
	bool struck;
	uint64_t left;		/* ns of the stage, while paused */
};

enum { STOPPED = 2 };

static struct i6300esb *to_watchdog(struct device *dev)
{
	return container_of(dev, struct i6300esb, pci.dev);
}

/* ------------------------------------------------------------------ time */

static uint64_t stage_length(const struct i6300esb *w)
{
	unsigned int divider = pci_get16(w->pci.config + CONFIG) & CONFIG_FREQ ? 5 : 15;
	uint64_t ns = ((uint64_t)w->preload[w->stage] << divider) * PCI_CLOCK_NS;

	return ns > SHORTEST_NS ? ns : SHORTEST_NS;
}

/* Lock held. */
static void start_stage(struct i6300esb *w, uint8_t stage)
{
	w->stage = stage;
	w->deadline = loop_now() + stage_length(w);
	loop_timer_set(w->pci.dev.machine->loop, &w->timer, w->deadline);
}

/* The timer may still come, and finds that there is nothing to do. Lock held. */
static void stop(struct i6300esb *w)
{
	w->stage = STOPPED;
	w->deadline = 0;
}

static void strike(struct i6300esb *w)
{
	static const char *const what[] = {
		[WATCHDOG_RESET] = "it is reset", [WATCHDOG_POWEROFF] = "it is switched off",
		[WATCHDOG_PAUSE] = "it is paused", [WATCHDOG_NONE] = "nothing is done",
	};
	struct machine *m = w->pci.dev.machine;

	/* On a terminal that is the guest's, a line begins where one is told to. */
	fprintf(stderr, "\r\nanykvm: the guest's watchdog has expired: %s\r\n", what[w->action]);
	switch (w->action) {
	case WATCHDOG_RESET:
		machine_request_reset(m);
		break;
	case WATCHDOG_POWEROFF:
		machine_request_poweroff(m);
		break;
	case WATCHDOG_PAUSE:
		machine_request_pause(m);
		break;
	case WATCHDOG_NONE:
		break;
	}
}

static void expired(struct loop_timer *timer)
{
	struct i6300esb *w = container_of(timer, struct i6300esb, timer);

	pthread_mutex_lock(&w->pci.dev.lock);
	if (!w->deadline) {
		/* It was stopped meanwhile. */
	} else if (loop_now() < w->deadline) {
		loop_timer_set(w->pci.dev.machine->loop, timer, w->deadline);
	} else if (w->lock & LOCK_FREE_RUN) {
		start_stage(w, 0);
	} else if (!w->stage) {
		start_stage(w, 1);
	} else if (pci_get16(w->pci.config + CONFIG) & CONFIG_NO_RESET) {
		stop(w);
	} else {
		w->struck = true;
		stop(w);
		strike(w);
	}
	pthread_mutex_unlock(&w->pci.dev.lock);
}

/* ------------------------------------------------------------------ registers */

static uint64_t mmio_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct i6300esb *w = to_watchdog(dev);

	/* The preloads can be written only. */
	return offset == RELOAD && w->struck ? RELOAD_STRUCK : 0;
}

static void write_reload(struct i6300esb *w, uint16_t value)
{
	if (w->unlocked == 2) {
		w->unlocked = 0;
		if (value & RELOAD_STRUCK)
			w->struck = false;
		if (value & RELOAD_NOW && w->lock & LOCK_ENABLE)
			start_stage(w, 0);
	} else if (w->unlocked == 1 && value == UNLOCK_SECOND) {
		w->unlocked = 2;
	} else {
		w->unlocked = value == UNLOCK_FIRST;
	}
}

static void mmio_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct i6300esb *w = to_watchdog(dev);

	if (offset == RELOAD) {
		write_reload(w, (uint16_t)value);
	} else if ((offset == TIMER1 || offset == TIMER2) && size == 4 && w->unlocked == 2) {
		w->preload[offset == TIMER2] = value & PRELOAD_BITS;
		w->unlocked = 0;
	}
}

static const struct region_ops mmio_ops = {
	.read = mmio_read, .write = mmio_write, .min_access = 2, .max_access = 4,
};

static void config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct i6300esb *w = container_of(pci, struct i6300esb, pci);
	bool was_enabled = w->lock & LOCK_ENABLE;

	if (offset > LOCK || offset + size <= LOCK)
		return;
	if (w->lock & LOCK_LOCKED)
		pci->config[LOCK] = w->lock;
	w->lock = pci->config[LOCK];
	if (w->lock & LOCK_ENABLE && !was_enabled)
		start_stage(w, 0);
	else if (!(w->lock & LOCK_ENABLE))
		stop(w);
}

static const struct pci_device_ops pci_ops = {
	.config_written = config_written,
};

/* ------------------------------------------------------------------ life and state */

static void watchdog_reset(struct device *dev)
{
	struct i6300esb *w = to_watchdog(dev);

	pci_device_reset(&w->pci);
	w->preload[0] = w->preload[1] = PRELOAD_BITS;
	w->lock = 0;
	w->unlocked = 0;
	w->left = 0;
	stop(w);
}

static void watchdog_pause(struct device *dev)
{
	struct i6300esb *w = to_watchdog(dev);
	uint64_t now = loop_now();

	loop_timer_cancel(&w->timer);
	w->left = w->deadline > now ? w->deadline - now : 0;
	w->deadline = 0;
}

static void watchdog_resume(struct device *dev)
{
	struct i6300esb *w = to_watchdog(dev);

	pci_device_resume(&w->pci);
	if (w->stage == STOPPED)
		return;
	w->deadline = loop_now() + w->left;
	loop_timer_set(dev->machine->loop, &w->timer, w->deadline);
}

static void watchdog_destroy(struct device *dev)
{
	struct i6300esb *w = to_watchdog(dev);

	loop_timer_cancel(&w->timer);
	pci_device_destroy(&w->pci);
	free(w);
}

static const struct device_ops watchdog_ops = {
	.reset = watchdog_reset,
	.pause = watchdog_pause,
	.resume = watchdog_resume,
	.destroy = watchdog_destroy,
};

static int watchdog_post_load(void *object, unsigned int version)
{
	struct i6300esb *w = object;

	/* Two of the longest stages: nobody has to wait longer. */
	if (w->stage > STOPPED || w->unlocked > 2 || w->lock & ~LOCK_BITS ||
	    w->left > (2ull * PRELOAD_BITS << 15) * PCI_CLOCK_NS)
		return -EINVAL;
	w->preload[0] &= PRELOAD_BITS;
	w->preload[1] &= PRELOAD_BITS;
	return 0;
}

static const struct state_field watchdog_fields[] = {
	STATE_NESTED(1, 1, struct i6300esb, pci, &pci_device_state),
	STATE_ARRAY(2, 1, struct i6300esb, preload),
	STATE_INT(3, 1, struct i6300esb, lock),
	STATE_INT(4, 1, struct i6300esb, stage),
	STATE_INT(5, 1, struct i6300esb, unlocked),
	STATE_INT(6, 1, struct i6300esb, struck),
	STATE_INT(7, 1, struct i6300esb, left),
};

STATE_TABLE_STATIC(watchdog_state, "i6300esb", 1, struct i6300esb, watchdog_fields,
		   .post_load = watchdog_post_load);

int i6300esb_create(struct machine *m, const struct watchdog_config *config,
		    struct vmm_error *error)
{
	static const struct pci_identity id = {
		.vendor = 0x8086, .device = 0x25ab,
		.class_code = 0x088000,		/* system peripheral, other */
	};
	struct i6300esb *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return vmm_fail(error, -ENOMEM, "--watchdog: out of memory");
	w->action = config->action;
	w->timer.callback = expired;
	w->stage = STOPPED;
	pci_device_init(&w->pci, &id, &pci_ops);
	pci_set16(w->pci.writable + CONFIG, CONFIG_BITS);
	w->pci.writable[LOCK] = LOCK_BITS;
	pci_add_bar(&w->pci, BAR, BAR_SIZE, PCI_BASE_ADDRESS_MEM_TYPE_32);
	w->region = (struct region){
		.name = "i6300esb", .dev = &w->pci.dev, .ops = &mmio_ops, .size = REGISTERS,
	};
	pci_bar_add_region(&w->pci, BAR, 0, &w->region);
	ret = pci_device_add(&w->pci, m, &watchdog_ops, "i6300esb", error);
	if (ret) {
		free(w);
		return ret;
	}
	device_add_section(&w->pci.dev, &watchdog_state, w);
	return 0;
}
