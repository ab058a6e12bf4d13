/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The PCI bus: configuration accesses both ways, BARs, interrupts, state.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_machine.h"
#include "vmm/util.h"

/* A function with a BAR of each kind, whose registers say which one they are. */
struct probe {
	struct pci_device pci;
	struct region small, large, ports;
	uint64_t written;
	unsigned int mapped, unmapped;
};

#define SMALL_SIZE	0x4000
#define LARGE_SIZE	(1ull << 33)
#define PORTS_SIZE	64
#define VECTORS		4
#define TABLE		0x1000
#define PBA		0x2000

static struct fake_machine *fm;

static struct probe *to_probe(struct device *dev)
{
	return container_of(dev, struct probe, pci.dev);
}

static uint64_t small_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return 0x11111111;
}

static uint64_t large_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return 0x22222222;
}

static uint64_t ports_read(struct device *dev, uint64_t offset, unsigned int size)
{
	return 0x33333333;
}

static void any_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	to_probe(dev)->written = value;
}

static const struct region_ops small_ops = { small_read, any_write, 1, 4 };
static const struct region_ops large_ops = { large_read, any_write, 4, 4 };
static const struct region_ops ports_ops = { ports_read, any_write, 1, 4 };

static void bar_mapped(struct pci_device *pci, unsigned int bar, uint64_t base)
{
	to_probe(&pci->dev)->mapped |= 1u << bar;
}

static void bar_unmapped(struct pci_device *pci, unsigned int bar, uint64_t base)
{
	to_probe(&pci->dev)->mapped &= ~(1u << bar);
	to_probe(&pci->dev)->unmapped |= 1u << bar;
}

static const struct pci_device_ops probe_pci_ops = {
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
};

static void probe_reset(struct device *dev)
{
	pci_device_reset(&to_probe(dev)->pci);
}

static void probe_resume(struct device *dev)
{
	pci_device_resume(&to_probe(dev)->pci);
}

static void probe_destroy(struct device *dev)
{
	pci_device_destroy(&to_probe(dev)->pci);
	free(to_probe(dev));
}

static const struct device_ops probe_ops = {
	.reset = probe_reset,
	.resume = probe_resume,
	.destroy = probe_destroy,
};

static int try_probe(struct probe **out, struct vmm_error *error)
{
	static const struct pci_identity id = {
		.vendor = 0x1234, .device = 0x5678, .subsystem_vendor = 0x9abc, .subsystem = 0xdef0,
		.class_code = 0xff0102, .revision = 3, .intx = true,
	};
	struct probe *p = calloc(1, sizeof(*p));
	static unsigned int number;
	char name[16];
	int ret;

	assert_non_null(p);
	pci_device_init(&p->pci, &id, &probe_pci_ops);
	pci_add_bar(&p->pci, 0, SMALL_SIZE, PCI_BASE_ADDRESS_MEM_TYPE_32);
	pci_add_bar(&p->pci, 2, LARGE_SIZE >> 20, PCI_BASE_ADDRESS_MEM_TYPE_64 |
		    PCI_BASE_ADDRESS_MEM_PREFETCH);
	pci_add_bar(&p->pci, 5, PORTS_SIZE, PCI_BASE_ADDRESS_SPACE_IO);
	p->small = (struct region){ .name = "small", .dev = &p->pci.dev, .ops = &small_ops,
				    .size = 0x100 };
	p->large = (struct region){ .name = "large", .dev = &p->pci.dev, .ops = &large_ops,
				    .size = LARGE_SIZE >> 20 };
	p->ports = (struct region){ .name = "ports", .dev = &p->pci.dev, .ops = &ports_ops,
				    .size = PORTS_SIZE };
	pci_bar_add_region(&p->pci, 0, 0, &p->small);
	pci_bar_add_region(&p->pci, 2, 0, &p->large);
	pci_bar_add_region(&p->pci, 5, 0, &p->ports);
	assert_int_equal(pci_msix_init(&p->pci, 0, TABLE, PBA, VECTORS), 0);
	snprintf(name, sizeof(name), "probe%u", number++ % 1000);
	ret = pci_device_add(&p->pci, &fm->m, &probe_ops, name, error);
	if (ret) {
		pci_msix_destroy(&p->pci);
		free(p);
	} else {
		device_add_section(&p->pci.dev, &pci_device_state, &p->pci);
		*out = p;
	}
	return ret;
}

static struct probe *add_probe(void)
{
	struct vmm_error error = { "" };
	struct probe *p;

	if (try_probe(&p, &error))
		fail_msg("%s", error.text);
	return p;
}

static int setup(void **state)
{
	fm = fake_machine_create(1);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return 0;
}

static uint32_t cfg(unsigned int reg, unsigned int size)
{
	return fake_config_read(fm, 1, reg, size);
}

static void set_cfg(unsigned int reg, unsigned int size, uint32_t value)
{
	fake_config_write(fm, 1, reg, size, value);
}

/* ------------------------------------------------------------------ configuration space */

static uint32_t port_read(unsigned int slot, unsigned int reg, unsigned int size)
{
	fake_out(fm, 0xcf8, 4, 0x80000000u | slot << 11 | (reg & 0xfc));
	return (uint32_t)fake_in(fm, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void both_ways(void **state)
{
	struct probe *p = add_probe();

	fake_machine_reset(fm);
	/* Slot 0 is the bridge, slot 1 the probe, the others are empty; so is function 1. */
	assert_int_equal(fake_config_read(fm, 0, PCI_CLASS_DEVICE, 2), 0x0600);
	assert_int_equal(fake_config_read(fm, 0, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(cfg(PCI_VENDOR_ID, 4), 0x56781234);
	for (unsigned int slot = 2; slot < 32; slot++)
		assert_int_equal(fake_config_read(fm, slot, PCI_VENDOR_ID, 4), UINT32_MAX);
	assert_int_equal((uint32_t)fake_read(fm, PCI_ECAM_BASE + (1 << 15) + (1 << 12), 4),
			 UINT32_MAX);
	/* Nothing behind the 256 bytes of a conventional function. */
	assert_int_equal(cfg(0x100, 4), UINT32_MAX);
	assert_int_equal(cfg(0xffc, 4), UINT32_MAX);

	for (unsigned int reg = 0; reg < 256; reg++)
		for (unsigned int size = 1; size <= 4; size *= 2)
			if (reg % size == 0)
				assert_int_equal(port_read(1, reg, size), cfg(reg, size));
	assert_int_equal(port_read(2, 0, 4), UINT32_MAX);

	/* The address port reads back, ignores bytes, and off is off. */
	fake_out(fm, 0xcf8, 4, 0xffffffff);
	assert_int_equal(fake_in(fm, 0xcf8, 4), 0x80fffffc);
	fake_out(fm, 0xcf8, 4, 0x00000800);
	fake_out(fm, 0xcf9, 1, 0xff);
	assert_int_equal(fake_in(fm, 0xcf8, 4), 0x00000800);
	assert_int_equal(fake_in(fm, 0xcfc, 4), UINT32_MAX);
	fake_out(fm, 0xcf8, 4, 0x80010800);	/* bus 1 */
	assert_int_equal(fake_in(fm, 0xcfc, 4), UINT32_MAX);

	/* A write by port, a byte of it, seen in memory. */
	fake_out(fm, 0xcf8, 4, 0x80000800 | PCI_INTERRUPT_LINE);
	fake_out(fm, 0xcfc, 1, 0x5a);
	assert_int_equal(cfg(PCI_INTERRUPT_LINE, 1), 0x5a);
	assert_int_equal(p->pci.config[PCI_INTERRUPT_PIN], 1);
}

static void read_only_registers(void **state)
{
	uint8_t before[256];

	add_probe();
	fake_machine_reset(fm);
	for (unsigned int reg = 0; reg < 256; reg++)
		before[reg] = (uint8_t)cfg(reg, 1);
	for (unsigned int reg = 0; reg < 256; reg += 4)
		set_cfg(reg, 4, 0xffffffff);
	for (unsigned int reg = 0; reg < 256; reg += 4)
		set_cfg(reg, 4, 0);
	for (unsigned int reg = 0; reg < 256; reg++) {
		/* BARs and the scratch registers are what they were told; nothing else moved. */
		bool own = (reg >= PCI_BASE_ADDRESS_0 && reg < PCI_BASE_ADDRESS_0 + 24) ||
			   reg == PCI_INTERRUPT_LINE || reg == PCI_CACHE_LINE_SIZE;

		if (!own)
			assert_int_equal(cfg(reg, 1), before[reg]);
	}
	assert_int_not_equal(fake_capability(fm, 1, PCI_CAP_ID_MSIX, 0), 0);
}

/* ------------------------------------------------------------------ BARs */

static void bar_sizing(void **state)
{
	add_probe();
	fake_machine_reset(fm);
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_0, 4), (uint32_t)~(SMALL_SIZE - 1));
	set_cfg(PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_1, 4), 0);
	set_cfg(PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	set_cfg(PCI_BASE_ADDRESS_3, 4, 0xffffffff);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_2, 4), (uint32_t)~((LARGE_SIZE >> 20) - 1) | 0xc);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_3, 4), 0xffffffff);
	set_cfg(PCI_BASE_ADDRESS_5, 4, 0xffffffff);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_5, 4), (uint32_t)~(PORTS_SIZE - 1) | 1);
	set_cfg(PCI_ROM_ADDRESS, 4, 0xffffffff);
	assert_int_equal(cfg(PCI_ROM_ADDRESS, 4), 0);
}

static void bar_moves(void **state)
{
	struct probe *p = add_probe();
	uint32_t base;

	fake_machine_reset(fm);
	/* The board has given addresses, within its windows, that nothing answers at yet. */
	base = cfg(PCI_BASE_ADDRESS_0, 4);
	assert_true(base >= PCI_MMIO32_START && base + SMALL_SIZE <= PCI_MMIO32_END);
	assert_int_equal(base % SMALL_SIZE, 0);
	assert_int_equal(cfg(PCI_COMMAND, 2), 0);
	assert_int_equal((uint32_t)fake_read(fm, base, 4), UINT32_MAX);
	assert_int_equal(p->mapped, 0);

	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(p->mapped, 1 << 0 | 1 << 2);
	assert_int_equal((uint32_t)fake_read(fm, base, 4), 0x11111111);
	assert_int_equal((uint32_t)fake_read(fm, cfg(PCI_BASE_ADDRESS_2, 4) & ~0xfu, 4),
			 0x22222222);
	fake_write(fm, base + 0x10, 2, 0xbeef);
	assert_int_equal(p->written, 0xbeef);

	/* Sizing with decoding on, as some systems do: gone while all ones, back afterwards. */
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(p->mapped, 1 << 2);
	assert_int_equal((uint32_t)fake_read(fm, base, 4), UINT32_MAX);
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xd0000000 + 0x123);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_0, 4), 0xd0000000);
	assert_int_equal((uint32_t)fake_read(fm, 0xd0000000, 4), 0x11111111);
	assert_int_equal((uint32_t)fake_read(fm, base, 4), UINT32_MAX);

	/* 64 bits, written by halves. */
	set_cfg(PCI_BASE_ADDRESS_3, 4, 0x40);
	set_cfg(PCI_BASE_ADDRESS_2, 4, 0x80000000);
	assert_int_equal((uint32_t)fake_read(fm, 0x4080000000, 4), 0x22222222);

	/* Ports have an enable of their own, and end at 64 KiB. */
	base = cfg(PCI_BASE_ADDRESS_5, 4) & ~3u;
	assert_int_equal((uint32_t)fake_in(fm, (uint16_t)base, 4), UINT32_MAX);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(p->mapped, 1 << 5);
	assert_int_equal((uint32_t)fake_in(fm, (uint16_t)base, 4), 0x33333333);
	set_cfg(PCI_BASE_ADDRESS_5, 4, 0x10000);
	assert_int_equal(p->mapped, 0);
	set_cfg(PCI_BASE_ADDRESS_5, 4, 0xc100);
	assert_int_equal((uint32_t)fake_in(fm, 0xc120, 4), 0x33333333);

	/* Reset brings everything back. */
	fake_machine_reset(fm);
	assert_int_equal(p->mapped, 0);
	assert_int_equal(cfg(PCI_COMMAND, 2), 0);
	assert_int_equal(cfg(PCI_BASE_ADDRESS_5, 4) & ~3u, base);
	assert_int_equal((uint32_t)fake_in(fm, 0xc120, 4), UINT32_MAX);
}

/* Places that a guest should not choose, but can. */
static void bar_mischief(void **state)
{
	static const uint32_t places[] = { 0, 0x4000, 0xfee00000, 0xfec00000, 0xffffc000,
					   PCI_ECAM_BASE, PCI_ECAM_BASE + (1 << 15), 0xffff8000 };
	struct probe *p = add_probe(), *other = add_probe();

	fake_machine_reset(fm);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		set_cfg(PCI_BASE_ADDRESS_0, 4, places[i]);
		/* Configuration space cannot be covered: it was there first. */
		assert_int_equal(cfg(PCI_VENDOR_ID, 4), 0x56781234);
		set_cfg(PCI_BASE_ADDRESS_3, 4, 0xffffffff);
		set_cfg(PCI_BASE_ADDRESS_2, 4, places[i]);
		set_cfg(PCI_BASE_ADDRESS_5, 4, places[i] & 0xffff);
		fake_read(fm, places[i], 4);
		fake_write(fm, places[i] + 0x40, 4, 0);
	}
	/* Two at the same place: one answers; when it goes, the other does. */
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	fake_config_write(fm, 2, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	fake_config_write(fm, 2, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	fake_write(fm, 0xd0000000, 4, 1);
	assert_int_equal(p->written, 1);
	set_cfg(PCI_COMMAND, 2, 0);
	fake_write(fm, 0xd0000000, 4, 2);
	assert_int_equal(p->written, 1);
	assert_int_equal(other->written, 2);
}

static void too_many(void **state)
{
	struct vmm_error error = { "" };
	struct probe *p;

	for (unsigned int i = 1; i < 32; i++)
		add_probe();
	assert_int_equal(try_probe(&p, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "too many devices"));
	fake_machine_reset(fm);
	/* No two of them overlap. */
	for (unsigned int i = 1; i < 32; i++)
		for (unsigned int j = i + 1; j < 32; j++) {
			uint32_t a = fake_config_read(fm, i, PCI_BASE_ADDRESS_0, 4);
			uint32_t b = fake_config_read(fm, j, PCI_BASE_ADDRESS_0, 4);

			assert_true(a + SMALL_SIZE <= b || b + SMALL_SIZE <= a);
		}
}

/* ------------------------------------------------------------------ interrupts */

static void intx(void **state)
{
	struct probe *p = add_probe();
	unsigned int gsi = GSI_PCI_INTX + 1;	/* slot 1, INTA */

	fake_machine_reset(fm);
	pci_set_intx(&p->pci, true);
	assert_true(fake_line_raised(fm, gsi));
	assert_true(cfg(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_false(p->pci.pin.level);
	assert_true(cfg(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set_cfg(PCI_COMMAND, 2, 0);
	assert_true(p->pci.pin.level);
	pci_set_intx(&p->pci, false);
	assert_false(p->pci.pin.level);
	assert_false(cfg(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	/* MSI-X on: the pin is silent. */
	set_cfg(fake_capability(fm, 1, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_FLAGS, 2,
		PCI_MSIX_FLAGS_ENABLE);
	pci_set_intx(&p->pci, true);
	assert_false(p->pci.pin.level);
	/* Reset lets go of the line. */
	fake_machine_reset(fm);
	assert_false(p->pci.intx);
}

static void msix(void **state)
{
	struct probe *p = add_probe();
	unsigned int cap;
	uint64_t bar;

	fake_machine_reset(fm);
	cap = fake_capability(fm, 1, PCI_CAP_ID_MSIX, 0);
	assert_int_equal(cfg(cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	assert_int_equal(cfg(cap + PCI_MSIX_TABLE, 4), TABLE);
	assert_int_equal(cfg(cap + PCI_MSIX_PBA, 4), PBA);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	bar = cfg(PCI_BASE_ADDRESS_0, 4);

	/* Masked after reset; a message that comes while MSI-X is off is lost. */
	assert_int_equal(fake_read(fm, bar + TABLE + 12, 4), 1);
	pci_msix_notify(&p->pci, 0);
	assert_int_equal(fake_read(fm, bar + PBA, 8), 0);
	set_cfg(cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(fm->msi_count, 0);

	/* Masked: pending; sent once when unmasked. */
	fake_write(fm, bar + TABLE + 16, 8, 0x1fee01003ull);
	fake_write(fm, bar + TABLE + 24, 4, 0x4051);
	assert_int_equal(fake_read(fm, bar + TABLE + 16, 8), 0x1fee01000ull);
	assert_int_equal(fake_read(fm, bar + TABLE + 20, 4), 1);
	pci_msix_notify(&p->pci, 1);
	pci_msix_notify(&p->pci, 1);
	assert_int_equal(fm->msi_count, 0);
	assert_int_equal(fake_read(fm, bar + PBA, 4), 2);
	assert_int_equal(fake_read(fm, bar + PBA + 4, 4), 0);
	fake_write(fm, bar + PBA, 4, 0xffffffff);
	assert_int_equal(fake_read(fm, bar + PBA, 8), 2);
	fake_write(fm, bar + TABLE + 28, 4, 0xfffffffe);
	assert_int_equal(fake_read(fm, bar + TABLE + 28, 4), 0);
	assert_int_equal(fm->msi_count, 1);
	assert_int_equal(fm->msi[0].address, 0x1fee01000ull);
	assert_int_equal(fm->msi[0].data, 0x4051);
	assert_int_equal(fake_read(fm, bar + PBA, 8), 0);
	pci_msix_notify(&p->pci, 1);
	assert_int_equal(fm->msi_count, 2);

	/* All masked at once. */
	set_cfg(cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_notify(&p->pci, 1);
	assert_int_equal(fm->msi_count, 2);
	set_cfg(cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(fm->msi_count, 3);

	/* A function that is no bus master cannot write messages. */
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	pci_msix_notify(&p->pci, 1);
	assert_int_equal(fm->msi_count, 3);
	assert_int_equal(fake_read(fm, bar + PBA, 8), 2);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(fm->msi_count, 4);

	/* Vectors there are not, and accesses that registers of 4 bytes do not take. */
	pci_msix_notify(&p->pci, VECTORS);
	pci_msix_notify(&p->pci, 0xffff);
	assert_int_equal(fm->msi_count, 4);
	fake_write(fm, bar + TABLE + 24, 1, 0x77);
	fake_write(fm, bar + TABLE + 24, 2, 0x7777);
	assert_int_equal(fake_read(fm, bar + TABLE + 24, 4), 0x4051);
	assert_int_equal((uint32_t)fake_read(fm, bar + TABLE + 16 * VECTORS, 4), UINT32_MAX);

	fake_machine_reset(fm);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(cfg(cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	assert_int_equal(fake_read(fm, bar + TABLE + 24, 4), 0);
	assert_int_equal(fake_read(fm, bar + TABLE + 28, 4), 1);
}

/* ------------------------------------------------------------------ the window into BARs */

static void bar_access(void **state)
{
	struct probe *p = add_probe();
	uint32_t value = 0;

	assert_true(pci_bar_read(&p->pci, 0, 0xfc, 4, &value));
	assert_int_equal(value, 0x11111111);
	assert_false(pci_bar_read(&p->pci, 0, 0xfe, 4, &value));	/* not aligned */
	assert_false(pci_bar_read(&p->pci, 0, 0x100, 4, &value));	/* no region */
	assert_false(pci_bar_read(&p->pci, 2, 0, 2, &value));		/* too narrow */
	assert_false(pci_bar_read(&p->pci, 3, 0, 4, &value));
	assert_false(pci_bar_read(&p->pci, 6, 0, 4, &value));
	assert_false(pci_bar_read(&p->pci, 255, 0, 4, &value));
	assert_false(pci_bar_read(&p->pci, 0, UINT64_MAX - 3, 4, &value));
	assert_true(pci_bar_write(&p->pci, 0, 1, 1, 0x12345678));
	assert_int_equal(p->written, 0x78);
	assert_false(pci_bar_write(&p->pci, 0, PBA, 4, 0));		/* cannot be written */
}

/* ------------------------------------------------------------------ state */

static void saved_and_loaded(void **state)
{
	struct probe *p = add_probe(), *q = add_probe();
	unsigned int cap = fake_capability(fm, 1, PCI_CAP_ID_MSIX, 0);
	struct state_buf buf = { 0 };

	fake_machine_reset(fm);
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	set_cfg(cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	fake_write(fm, 0xd0000000 + TABLE, 4, 0xfee00000);
	fake_write(fm, 0xd0000000 + TABLE + 8, 4, 0x31);
	fake_write(fm, 0xd0000000 + TABLE + 12, 4, 0);
	pci_msix_notify(&p->pci, 0);
	fake_machine_pause(fm);
	/* What an attacker would write: registers that no guest can. */
	memset(p->pci.config, 0xaa, 4);
	p->pci.config[PCI_CAPABILITY_LIST] = PCI_CAPABILITY_LIST;
	fake_save(&p->pci.dev, &buf);
	p->pci.config[PCI_COMMAND] = 0;
	fake_machine_resume(fm);

	fake_machine_pause(fm);
	assert_int_equal(fake_load(&q->pci.dev, &buf), 0);
	fake_machine_resume(fm);
	assert_int_equal(fake_config_read(fm, 2, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(fake_config_read(fm, 2, PCI_BASE_ADDRESS_0, 4), 0xd0000000);
	assert_int_equal(fake_capability(fm, 2, PCI_CAP_ID_MSIX, 0), cap);
	assert_int_equal(q->mapped, 1 << 0 | 1 << 2);
	assert_int_equal(fake_read(fm, 0xd0000000 + PBA, 8), 1);
	fake_config_write(fm, 2, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(fm->msi_count, 1);
	assert_int_equal(fm->msi[0].data, 0x31);
	free(buf.data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(both_ways), T(read_only_registers), T(bar_sizing), T(bar_moves), T(bar_mischief),
		T(too_many), T(intx), T(msix), T(bar_access), T(saved_and_loaded),
	};

	return cmocka_run_group_tests_name("PCI", tests, NULL, NULL);
}
