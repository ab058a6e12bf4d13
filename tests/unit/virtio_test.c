/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio over PCI and the devices behind it, as a driver meets them, and as a hostile one does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "fake_machine.h"
#include "vmm/char/char.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define ALL		UINT64_MAX
#define BIT64(n)	(1ull << (n))
#define SLOT		1
#define BUF		DRIVER_BUFFERS
#define READY		(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

#define DISK_SIZE	(128u * 1024)

static struct fake_machine *fm;
static struct driver d;
static char path[] = "/tmp/virtio_test.XXXXXX";

/* ------------------------------------------------------------------ making devices */

static void make_disk_file(void)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (unsigned int i = 0; i < DISK_SIZE; i++)
		fputc((int)(i / 512 + i % 251), f);
	fclose(f);
}

static uint8_t disk_byte(unsigned int i)
{
	return (uint8_t)(i / 512 + i % 251);
}

static struct disk_config disk_config;

static void add_disk(void)
{
	struct vmm_error error = { "" };

	disk_config.path = path;
	if (virtio_blk_create(&fm->m, &disk_config, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
}

static void add_blk(bool readonly, bool ephemeral)
{
	disk_config = (struct disk_config){ .readonly = readonly, .ephemeral = ephemeral };
	add_disk();
}

static int setup(void **state)
{
	make_disk_file();
	fm = fake_machine_create(1);
	return 0;
}

static int setup_blk(void **state)
{
	setup(state);
	add_blk(false, false);
	return 0;
}

static int setup_rng(void **state)
{
	struct vmm_error error = { "" };

	setup(state);
	assert_int_equal(virtio_rng_create(&fm->m, &error), 0);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return 0;
}

static uint64_t common(unsigned int reg, unsigned int size)
{
	return fake_read(fm, d.common + reg, size);
}

static void set_common(unsigned int reg, unsigned int size, uint64_t value)
{
	fake_write(fm, d.common + reg, size, value);
}

static bool got_msi(uint32_t data)
{
	bool found = false;

	for (unsigned int i = 0; i < fm->msi_count && i < FAKE_MSIS; i++)
		found |= fm->msi[i].data == data;
	fm->msi_count = 0;
	return found;
}

/* ------------------------------------------------------------------ the transport */

static void identity(void **state)
{
	unsigned int types = 0, cap;

	assert_int_equal(fake_config_read(fm, SLOT, PCI_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(fake_config_read(fm, SLOT, PCI_REVISION_ID, 1), 1);
	assert_int_equal(fake_config_read(fm, SLOT, PCI_INTERRUPT_PIN, 1), 1);
	for (unsigned int i = 0; (cap = fake_capability(fm, SLOT, PCI_CAP_ID_VNDR, i)); i++) {
		types |= 1u << fake_config_read(fm, SLOT, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1);
		assert_true(fake_config_read(fm, SLOT, cap + VIRTIO_PCI_CAP_LEN, 1) >= 16);
	}
	assert_int_equal(types, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);
	assert_int_equal(common(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
	assert_int_equal(common(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	/* A queue that is not there. */
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* Registers read at widths that are not theirs: the bytes that are there. */
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SELECT, 1), 0xff);
	assert_int_equal(common(VIRTIO_PCI_COMMON_STATUS, 4), 0xffff0000);
}

static void negotiation(void **state)
{
	uint64_t offered = 0;

	for (uint32_t word = 0; word < 4; word++) {
		set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, word);
		if (word < 2)
			offered |= common(VIRTIO_PCI_COMMON_DF, 4) << 32 * word;
		else
			assert_int_equal(common(VIRTIO_PCI_COMMON_DF, 4), 0);
	}
	assert_int_equal(offered, BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) |
				  BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_BLK_F_SEG_MAX) |
				  BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) |
				  BIT64(VIRTIO_BLK_F_TOPOLOGY) | BIT64(VIRTIO_BLK_F_DISCARD) |
				  BIT64(VIRTIO_BLK_F_WRITE_ZEROES));

	/* Without VERSION_1 there is no deal, nor with what was not offered. */
	driver_negotiate(&d, ALL & ~BIT64(VIRTIO_F_VERSION_1));
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_FEATURES_OK);
	driver_set_status(&d, READY);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_DRIVER_OK);
	driver_negotiate(&d, 0);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	set_common(VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	driver_set_status(&d, 11);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_FEATURES_OK);

	driver_negotiate(&d, ALL);
	assert_int_equal(driver_status(&d), 11);
	/* The deal is done: nothing changes it but a reset. */
	set_common(VIRTIO_PCI_COMMON_GF, 4, 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_GF, 4), 1);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 7);
	set_common(VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	assert_int_equal(common(VIRTIO_PCI_COMMON_GF, 4), 0);
	/* Bits are only added, and the device's own bit is not the driver's. */
	driver_set_status(&d, VIRTIO_CONFIG_S_NEEDS_RESET | 1);
	assert_int_equal(driver_status(&d), 11);
	driver_set_status(&d, VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(driver_status(&d), 11 | VIRTIO_CONFIG_S_FAILED);
	driver_set_status(&d, 0);
	assert_int_equal(driver_status(&d), 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_GF, 4), 0);
}

static void queue_placement(void **state)
{
	/* Not before the features are agreed on, since they say what a queue looks like. */
	driver_queue(&d, 0, 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);

	driver_negotiate(&d, ALL);
	driver_queue(&d, 0, 64);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_AVAILLO, 8), d.q[0].avail);
	/* Enabled queues stay where they are. */
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 128);
	set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
	set_common(VIRTIO_PCI_COMMON_Q_USEDHI, 4, 1);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_DESCLO, 8), d.q[0].desc);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	/* After a reset all is as at first. */
	driver_set_status(&d, 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	/* Writes at the wrong width mean nothing. */
	driver_negotiate(&d, ALL);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 4, 64);
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
}

static void bad_placement(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc;
	} bad[] = { { 0, 0x10000 }, { 3, 0x10000 }, { 512, 0x10000 }, { 256, 0x10008 },
		    { 256, FAKE_MEMORY - 16 }, { 256, UINT64_MAX & ~15ull } };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_negotiate(&d, ALL);
		set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
		set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, bad[i].size);
		set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 8, bad[i].desc);
		set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x20000);
		set_common(VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x30000);
		set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		driver_set_status(&d, READY);
		fake_settle(fm);
	}
}

static void ask_random(uint32_t length)
{
	struct driver_buffer buffer = { BUF, length, true };

	driver_add(&d, 0, &buffer, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
}

static void notifications(void **state)
{
	uint64_t elsewhere;

	driver_start(&d, ALL, 1);
	/* KVM has the address: nothing reaches the handler. */
	assert_int_equal(fm->ioeventfd_count, 1);
	assert_int_equal(fm->ioeventfds[0].addr, d.q[0].notify);
	ask_random(8);
	assert_true(driver_used(&d, 0, NULL, NULL));
	assert_true(got_msi(0));

	/* The BAR moves: so does the address. */
	elsewhere = 0xd8000000;
	fake_config_write(fm, SLOT, PCI_BASE_ADDRESS_0, 4, (uint32_t)elsewhere);
	assert_int_equal(fm->ioeventfd_count, 1);
	assert_int_equal(fm->ioeventfds[0].addr & ~0x7fffull, elsewhere);
	d.q[0].notify = elsewhere + (d.q[0].notify & 0x7fff);
	ask_random(8);
	assert_true(driver_used(&d, 0, NULL, NULL));

	/* Decoding off: no address. On again, but KVM refuses: then the handler does it. */
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, 0);
	assert_int_equal(fm->ioeventfd_count, 0);
	fm->refuse_ioeventfds = true;
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(fm->ioeventfd_count, 0);
	ask_random(8);
	assert_true(driver_used(&d, 0, NULL, NULL));
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, 0);
}

static void intx(void **state)
{
	unsigned int gsi = GSI_PCI_INTX + SLOT % 4;

	driver_negotiate(&d, ALL);
	driver_queue(&d, 0, 0);
	driver_set_status(&d, READY);
	fake_settle(fm);
	assert_false(fake_line_raised(fm, gsi));
	ask_random(8);
	assert_true(fake_line_raised(fm, gsi));
	assert_true(fake_config_read(fm, SLOT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(fake_read(fm, d.isr, 1), 1);
	assert_false(fake_config_read(fm, SLOT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(fake_read(fm, d.isr, 1), 0);
	assert_true(driver_used(&d, 0, NULL, NULL));

	/* A mistake is told as a configuration change; a reset lets go of the line. */
	driver_offer(&d, 0, 9999);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(fake_line_raised(fm, gsi));
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_set_status(&d, 0);
	assert_false(fake_config_read(fm, SLOT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(fake_read(fm, d.isr, 1), 0);
}

static void vectors(void **state)
{
	driver_start(&d, ALL, 1);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);	/* there are 2: numbers 0 and 1 */
	assert_int_equal(common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0xfffe);
	assert_int_equal(common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	ask_random(8);
	assert_true(driver_used(&d, 0, NULL, NULL));
	assert_int_equal(fm->msi_count, 0);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ask_random(8);
	assert_true(got_msi(1));
}

/* A driver that is not ready gets no work done, and is not lost when it becomes ready. */
static void work_waits_for_the_driver(void **state)
{
	struct driver_buffer buffer = { BUF, 16, true };

	driver_negotiate(&d, ALL);
	driver_queue(&d, 0, 0);
	driver_add(&d, 0, &buffer, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_false(driver_used(&d, 0, NULL, NULL));
	driver_set_status(&d, READY);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, NULL));

	/* The same for a device that may not touch memory. */
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	driver_add(&d, 0, &buffer, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_false(driver_used(&d, 0, NULL, NULL));
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, NULL));

	/* The same for a machine that is paused. */
	fake_machine_pause(fm);
	driver_add(&d, 0, &buffer, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_false(driver_used(&d, 0, NULL, NULL));
	fake_machine_resume(fm);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, NULL));
}

static void mistakes(void **state)
{
	driver_start(&d, ALL, 1);
	driver_desc(&d, 0, 0, FAKE_MEMORY, 16, VRING_DESC_F_WRITE, 0);
	driver_offer(&d, 0, 0);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_true(got_msi(1));
	/* Nothing moves any more, and nothing is said twice. */
	ask_random(8);
	assert_false(driver_used(&d, 0, NULL, NULL));
	assert_int_equal(fm->msi_count, 0);
	/* A reset cures it. */
	driver_start(&d, ALL, 1);
	ask_random(8);
	assert_true(driver_used(&d, 0, NULL, NULL));
}

static unsigned int window;

static void window_set(uint8_t bar, uint32_t offset, uint32_t length)
{
	fake_config_write(fm, SLOT, window + VIRTIO_PCI_CAP_BAR, 1, bar);
	fake_config_write(fm, SLOT, window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	fake_config_write(fm, SLOT, window + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static void config_window(void **state)
{
	struct driver_buffer buffer = { BUF, 16, true };
	uint64_t base = fake_config_read(fm, SLOT, PCI_BASE_ADDRESS_0, 4);

	for (unsigned int i = 0; (window = fake_capability(fm, SLOT, PCI_CAP_ID_VNDR, i)); i++)
		if (fake_config_read(fm, SLOT, window + VIRTIO_PCI_CAP_CFG_TYPE, 1) ==
		    VIRTIO_PCI_CAP_PCI_CFG)
			break;
	assert_int_not_equal(window, 0);

	/* Works with decoding off, which is what it is for. */
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, 0);
	window_set(0, (uint32_t)(d.common - base) + VIRTIO_PCI_COMMON_STATUS, 1);
	fake_config_write(fm, SLOT, window + 16, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(fake_config_read(fm, SLOT, window + 16, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	window_set(0, (uint32_t)(d.common - base) + VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_equal(fake_config_read(fm, SLOT, window + 16, 2), 1);

	/* A notification through it. */
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	driver_start(&d, ALL, 1);
	driver_add(&d, 0, &buffer, 1);
	window_set(0, (uint32_t)(d.notify - base), 2);
	fake_config_write(fm, SLOT, window + 16, 2, 0);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, NULL));

	/* Nonsense: BARs and places that are not there, widths that are none. */
	for (unsigned int bar = 0; bar < 256; bar += 5) {
		for (uint32_t offset = 0; offset < 0x10000; offset += 0x333) {
			static const uint32_t lengths[] = { 0, 1, 2, 3, 4, 8, 0xffffffff };

			window_set((uint8_t)bar, offset, lengths[offset % 7]);
			fake_config_read(fm, SLOT, window + 16, 4);
			fake_config_write(fm, SLOT, window + 16, 4, 0xffffffff);
		}
		window_set((uint8_t)bar, 0xffffffff, 4);
		fake_config_read(fm, SLOT, window + 16, 4);
	}
	fake_settle(fm);
}

/* ------------------------------------------------------------------ the disk */

#define HEADER	(BUF)
#define STATUS	(BUF + 0x100)
#define DATA	(BUF + 0x1000)

/* Sends one request of header, data and status; returns the status byte. */
static uint8_t blk_run(uint32_t type, uint64_t sector, uint32_t length, bool device_writes,
		       uint32_t *used_length)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct driver_buffer buffers[] = {
		{ HEADER, sizeof(header), false },
		{ DATA, length, device_writes },
		{ STATUS, 1, true },
	};
	uint32_t head;
	uint16_t sent;

	memcpy(fake_ram(fm, HEADER, sizeof(header)), &header, sizeof(header));
	*(uint8_t *)fake_ram(fm, STATUS, 1) = 0xee;
	if (!length)
		buffers[1] = buffers[2];
	sent = driver_add(&d, 0, buffers, length ? 3 : 2);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, &head, used_length));
	assert_int_equal(head, sent);
	return *(uint8_t *)fake_ram(fm, STATUS, 1);
}

#define BLK_FIELD(name)									\
	fake_read(fm, d.device + offsetof(struct virtio_blk_config, name),		\
		  sizeof(((struct virtio_blk_config *)0)->name))

static void blk_config(void **state)
{
	assert_int_equal(fake_read(fm, d.device, 8), DISK_SIZE / 512);
	assert_int_equal(BLK_FIELD(seg_max), 254);
	assert_int_equal(BLK_FIELD(blk_size), 512);
	assert_int_equal(BLK_FIELD(physical_block_exp), 3);
	assert_int_equal(fake_read(fm, d.device + 100, 4), 0xffffffff);
	/* None of it can be written. */
	fake_write(fm, d.device, 8, 0);
	assert_int_equal(fake_read(fm, d.device, 8), DISK_SIZE / 512);
}

static void blk_read_write(void **state)
{
	uint8_t *data = fake_ram(fm, DATA, 8192);
	uint32_t used;

	driver_start(&d, ALL, 1);
	memset(data, 0, 8192);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 8, 8192, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 8193);
	for (unsigned int i = 0; i < 8192; i++)
		assert_int_equal(data[i], disk_byte(8 * 512 + i));
	assert_true(got_msi(0));

	memset(data, 0x5c, 8192);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, 16, 1024, false, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	assert_int_equal(blk_run(VIRTIO_BLK_T_FLUSH, 0, 0, false, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	memset(data, 0, 8192);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 15, 2048, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(data[511], disk_byte(16 * 512 - 1));
	assert_int_equal(data[512], 0x5c);
	assert_int_equal(data[512 + 1023], 0x5c);
	assert_int_equal(data[512 + 1024], disk_byte(18 * 512));
}

static void blk_errors(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length;
		uint8_t status;
	} requests[] = {
		/* Beyond the end: by a little, by the sum, by overflow. */
		{ VIRTIO_BLK_T_IN, DISK_SIZE / 512, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, DISK_SIZE / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX / 512, 512, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
		/* Not whole sectors. */
		{ VIRTIO_BLK_T_IN, 0, 100, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 513, VIRTIO_BLK_S_IOERR },
		/* Nothing to read is nothing. */
		{ VIRTIO_BLK_T_IN, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_SCSI_CMD, 0, 512, VIRTIO_BLK_S_UNSUPP },
		{ 1234, 0, 512, VIRTIO_BLK_S_UNSUPP },
	};
	uint32_t used;

	driver_start(&d, ALL, 1);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		bool in = requests[i].type != VIRTIO_BLK_T_OUT;

		assert_int_equal(blk_run(requests[i].type, requests[i].sector, requests[i].length,
					 in, &used), requests[i].status);
		if (requests[i].status)
			assert_int_equal(used, 0);
	}
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void blk_identifier(void **state)
{
	char *data = fake_ram(fm, DATA, 4096);
	uint32_t used;

	driver_start(&d, ALL, 1);
	memset(data, 0x7f, 4096);
	assert_int_equal(blk_run(VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES, true, &used),
			 VIRTIO_BLK_S_OK);
	assert_string_equal(data, "disk0");
	assert_int_equal(used, 21);
	assert_int_equal(data[20], 0x7f);
	assert_int_equal(blk_run(VIRTIO_BLK_T_GET_ID, 0, 4096, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 20);
	assert_int_equal(blk_run(VIRTIO_BLK_T_GET_ID, 0, 3, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 4);
}

static uint8_t blk_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags,
			 uint32_t length)
{
	struct virtio_blk_discard_write_zeroes range = { sector, sectors, flags };
	uint32_t used;

	memcpy(fake_ram(fm, DATA, sizeof(range)), &range, sizeof(range));
	return blk_run(type, 0, length, false, &used);
}

static void blk_ranges(void **state)
{
	uint8_t *data = fake_ram(fm, DATA, 8192);
	uint32_t used;

	driver_start(&d, ALL, 1);
	assert_int_equal(blk_range(VIRTIO_BLK_T_WRITE_ZEROES, 4, 8, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 3, 8192, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(data[511], disk_byte(4 * 512 - 1));
	for (unsigned int i = 512; i < 9 * 512; i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(data[9 * 512], disk_byte(12 * 512));
	assert_int_equal(blk_range(VIRTIO_BLK_T_WRITE_ZEROES, 20, 1, 1, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 256, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 8, 1, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_range(VIRTIO_BLK_T_WRITE_ZEROES, 255, 2, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 32), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 0, 0, 16), VIRTIO_BLK_S_OK);
}

/* The descriptors cut header, data and status where nobody would. */
static void blk_odd_layouts(void **state)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = 2 };
	struct driver_buffer buffers[] = {
		{ HEADER, 1, false }, { HEADER + 1, 14, false }, { HEADER + 15, 1, false },
		{ DATA, 1, true }, { DATA + 1, 510, true }, { DATA + 511, 2, true },
	};
	uint8_t *data = fake_ram(fm, DATA, 4096);
	uint32_t used;

	driver_start(&d, ALL, 1);
	memcpy(fake_ram(fm, HEADER, sizeof(header)), &header, sizeof(header));
	memset(data, 0xee, 4096);
	driver_add(&d, 0, buffers, ARRAY_SIZE(buffers));
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, &used));
	assert_int_equal(used, 513);
	for (unsigned int i = 0; i < 512; i++)
		assert_int_equal(data[i], disk_byte(1024 + i));
	assert_int_equal(data[512], VIRTIO_BLK_S_OK);
	assert_int_equal(data[513], 0xee);
}

/* Chains that could not even carry an answer. */
static void blk_hopeless(void **state)
{
	static const struct driver_buffer chains[][2] = {
		{ { HEADER, 16, false }, { DATA, 512, false } },	/* nowhere for the status */
		{ { HEADER, 15, false }, { STATUS, 1, true } },		/* half a header */
		{ { DATA, 512, true }, { STATUS, 1, true } },		/* none */
		{ { HEADER, 16, false }, { STATUS, 0, true } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		driver_start(&d, ALL, 1);
		fm->msi_count = 0;
		driver_add(&d, 0, chains[i], 2);
		driver_notify(&d, 0);
		fake_settle(fm);
		assert_false(driver_used(&d, 0, NULL, NULL));
		assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_true(got_msi(1));
	}
}

static void blk_read_only(void **state)
{
	uint32_t used;

	setup(state);
	add_blk(true, false);
	driver_start(&d, ALL, 1);
	assert_true(d.features & BIT64(VIRTIO_BLK_F_RO));
	assert_false(d.features & BIT64(VIRTIO_BLK_F_DISCARD));
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 0, 512, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, 0, 512, false, &used), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_run(VIRTIO_BLK_T_FLUSH, 0, 0, false, &used), VIRTIO_BLK_S_OK);
	fake_machine_destroy(fm);

	/* Ephemeral: the guest may write, and after it nothing has been. */
	fm = fake_machine_create(1);
	add_blk(false, true);
	driver_start(&d, ALL, 1);
	memset(fake_ram(fm, DATA, 512), 0x42, 512);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, 0, 512, false, &used), VIRTIO_BLK_S_OK);
	memset(fake_ram(fm, DATA, 512), 0, 512);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 0, 512, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ram(fm, DATA, 1), 0x42);
	fake_machine_destroy(fm);

	fm = fake_machine_create(1);
	add_blk(true, false);
	driver_start(&d, ALL, 1);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 0, 512, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ram(fm, DATA, 1), disk_byte(0));
}

/* Many queues, each full, all at once; everything comes back once, and pausing waits for it. */
static void blk_many(void **state)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	unsigned int queues = 4;

	fm = fake_machine_create(queues);
	add_blk(false, false);
	driver_start(&d, ALL, queues);
	assert_true(d.features & BIT64(VIRTIO_BLK_F_MQ));
	assert_int_equal(BLK_FIELD(num_queues), queues);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int q = 0; q < queues; q++) {
			for (unsigned int i = 0; i < 85; i++) {
				uint64_t at = BUF + (q * 85 + i) * 0x1000ull;
				struct driver_buffer buffers[] = {
					{ at, sizeof(header), false },
					{ at + 0x400, 1024, true },
					{ at + 0x800, 1, true },
				};

				header.sector = (q * 85 + i) % 254;
				memcpy(fake_ram(fm, at, sizeof(header)), &header, sizeof(header));
				*(uint8_t *)fake_ram(fm, at + 0x800, 1) = 0xee;
				driver_add(&d, q, buffers, 3);
			}
			driver_notify(&d, q);
		}
		loop_step(fm->m.loop, 100);
		if (round & 1) {
			fake_machine_pause(fm);
			fake_machine_resume(fm);
		}
		fake_settle(fm);
		for (unsigned int q = 0; q < queues; q++) {
			unsigned int n = 0;

			while (driver_used(&d, q, NULL, NULL))
				n++;
			assert_int_equal(n, 85);
			for (unsigned int i = 0; i < 85; i++) {
				uint64_t at = BUF + (q * 85 + i) * 0x1000ull;

				assert_int_equal(*(uint8_t *)fake_ram(fm, at + 0x800, 1), 0);
				assert_int_equal(*(uint8_t *)fake_ram(fm, at + 0x400 + 600, 1),
						 disk_byte((q * 85 + i) % 254 * 512 + 600));
			}
		}
	}
}

/* A reset while requests are with the disk: not finished before they are. */
static void blk_reset_in_flight(void **state)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	struct driver_buffer buffers[] = {
		{ HEADER, sizeof(header), false }, { DATA, 65536, true }, { STATUS, 1, true },
	};

	for (unsigned int round = 0; round < 20; round++) {
		driver_start(&d, ALL, 1);
		memcpy(fake_ram(fm, HEADER, sizeof(header)), &header, sizeof(header));
		for (unsigned int i = 0; i < 40; i++)
			driver_add(&d, 0, buffers, 3);
		driver_notify(&d, 0);
		loop_step(fm->m.loop, 100);
		driver_set_status(&d, 0);
		/* In between, what a driver may not do has no effect. */
		if (driver_status(&d)) {
			driver_set_status(&d, 1);
			set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		}
		fake_settle(fm);
		assert_int_equal(driver_status(&d), 0);
		assert_int_equal(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
	/* And the machine's own reset, and its end, with requests under way. */
	for (unsigned int round = 0; round < 2; round++) {
		driver_start(&d, ALL, 1);
		for (unsigned int i = 0; i < 40; i++)
			driver_add(&d, 0, buffers, 3);
		driver_notify(&d, 0);
		loop_step(fm->m.loop, 100);
		if (!round) {
			fake_machine_reset(fm);
			assert_int_equal(driver_status(&d), 0xff);	/* decoding is off */
			driver_find(&d, fm, SLOT);
			assert_int_equal(driver_status(&d), 0);
		}
	}
	driver_set_status(&d, 0);
}

/* A driver that knows no flush gets durable writes: the same answers, one step more behind. */
static void blk_without_flush(void **state)
{
	uint32_t used;

	driver_start(&d, ALL & ~BIT64(VIRTIO_BLK_F_FLUSH), 1);
	memset(fake_ram(fm, DATA, 512), 0x21, 512);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, 7, 512, false, &used), VIRTIO_BLK_S_OK);
	memset(fake_ram(fm, DATA, 512), 0, 512);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 7, 512, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ram(fm, DATA, 1), 0x21);
}

static void blk_saved_and_loaded(void **state)
{
	struct state_buf buf = { 0 };
	uint8_t *memory = malloc(FAKE_MEMORY);
	struct device *dev;
	struct driver old;
	uint32_t used;

	driver_start(&d, ALL, 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(blk_run(VIRTIO_BLK_T_IN, i, 512, true, &used), VIRTIO_BLK_S_OK);
	fake_machine_pause(fm);
	fake_save(fake_device(fm, "virtio-blk0"), &buf);
	memcpy(memory, fm->m.ram.host, FAKE_MEMORY);
	old = d;
	fake_machine_destroy(fm);

	/* Another machine goes on where this one stopped. */
	fm = fake_machine_create(1);
	add_blk(false, false);
	memcpy(fm->m.ram.host, memory, FAKE_MEMORY);
	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-blk0");
	assert_int_equal(fake_load(dev, &buf), 0);
	fake_machine_resume(fm);
	fake_settle(fm);
	d = old;
	d.fm = fm;
	assert_int_equal(driver_status(&d), READY);
	assert_int_equal(fm->ioeventfd_count, 1);
	fm->msi_count = 0;
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 3, 512, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ram(fm, DATA, 1), disk_byte(3 * 512));
	assert_true(got_msi(0));

	/* Not with a disk of another size, nor where memory does not hold the rings. */
	fake_machine_destroy(fm);
	assert_int_equal(truncate(path, DISK_SIZE / 2), 0);
	fm = fake_machine_create(1);
	add_blk(false, false);
	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-blk0");
	assert_int_equal(fake_load(dev, &buf), -EINVAL);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	assert_int_equal(driver_status(&d), 0);
	free(buf.data);
	free(memory);
}

/* State with random bytes in it, as from an attacker: refused or loaded, never worse. */
static void blk_state_dice(void **state)
{
	struct device *dev = fake_device(fm, "virtio-blk0");
	struct state_buf buf = { 0 }, bad;
	unsigned int loaded = 0;
	uint32_t used;

	driver_start(&d, ALL, 1);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 0, 512, true, &used), VIRTIO_BLK_S_OK);
	fake_machine_pause(fm);
	fake_save(dev, &buf);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		bad = (struct state_buf){ 0 };
		state_buf_append(&bad, buf.data, buf.length);
		for (int j = rand() % 4; j >= 0; j--)
			bad.data[rand() % (int)bad.length] = (uint8_t)(rand() % 3 ? rand() : 0);
		if (fake_load(dev, &bad)) {
			fake_machine_reset(fm);
		} else {
			loaded++;
			fake_machine_resume(fm);
			fake_settle(fm);
			fake_write(fm, d.q[0].notify, 2, 0);
			fake_settle(fm);
		}
		fake_machine_pause(fm);
		free(bad.data);
	}
	assert_true(loaded > 100);
	free(buf.data);
}

/* As many queues and the serial number that were asked for. */
static void blk_options(void **state)
{
	struct disk_info info;
	uint32_t used;

	setup(state);
	disk_config = (struct disk_config){ .queues = 5, .serial = "twenty-characters-ab" };
	add_disk();
	driver_start(&d, ALL, 5);
	assert_int_equal(BLK_FIELD(num_queues), 5);
	assert_int_equal(blk_run(VIRTIO_BLK_T_GET_ID, 0, 20, true, &used), VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_ram(fm, DATA, 20), "twenty-characters-ab", 20);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 3, 1024, true, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, DISK_SIZE / 512, 512, true, &used),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, 3, 512, false, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_run(VIRTIO_BLK_T_FLUSH, 0, 0, false, &used), VIRTIO_BLK_S_OK);
	assert_true(virtio_blk_query(&fm->m, 0, &info));
	assert_string_equal(info.id, "twenty-characters-ab");
	assert_int_equal(info.size, DISK_SIZE);
	assert_int_equal(info.reads, 1);
	assert_int_equal(info.read_bytes, 1024);
	assert_int_equal(info.writes, 1);
	assert_int_equal(info.written_bytes, 512);
	assert_int_equal(info.flushes, 1);
	assert_false(virtio_blk_query(&fm->m, 1, &info));
}

struct resize_call {
	struct loop_call call;
	unsigned int disk;
	uint64_t size;
	struct vmm_error *error;
	int ret;
};

static void resize_callback(struct loop_call *call)
{
	struct resize_call *r = container_of(call, struct resize_call, call);

	r->ret = virtio_blk_resize(&fm->m, r->disk, r->size, r->error);
}

/* As the control socket does it, on the loop's thread. */
static int resize(unsigned int disk, uint64_t size, struct vmm_error *error)
{
	struct resize_call r = {
		.call.callback = resize_callback, .disk = disk, .size = size, .error = error,
		.ret = 1,
	};

	loop_defer(fm->m.loop, &r.call);
	while (r.ret > 0)
		loop_step(fm->m.loop, 100);
	return r.ret;
}

/* Made longer and shorter while it is used: the driver is told, and what it asks for arrives. */
static void blk_resize(void **state)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	struct driver_buffer buffers[] = {
		{ HEADER, sizeof(header), false }, { DATA, 512, true }, { STATUS, 1, true },
	};
	struct vmm_error error = { "" };
	uint8_t generation;
	uint32_t used;

	driver_start(&d, ALL, 1);
	generation = (uint8_t)common(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	memcpy(fake_ram(fm, HEADER, sizeof(header)), &header, sizeof(header));
	for (unsigned int i = 0; i < 40; i++)
		driver_add(&d, 0, buffers, 3);
	driver_notify(&d, 0);
	loop_step(fm->m.loop, 100);
	fm->msi_count = 0;
	assert_int_equal(resize(0, DISK_SIZE * 2, &error), 0);
	for (unsigned int i = 0; i < 40; i++)
		assert_true(driver_used(&d, 0, NULL, NULL));
	assert_true(got_msi(1));
	assert_int_equal(BLK_FIELD(capacity), DISK_SIZE * 2 / 512);
	assert_int_not_equal(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	memset(fake_ram(fm, DATA, 512), 0x33, 512);
	assert_int_equal(blk_run(VIRTIO_BLK_T_OUT, DISK_SIZE * 2 / 512 - 1, 512, false, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, DISK_SIZE / 512, 512, true, &used),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ram(fm, DATA, 1), 0);

	assert_int_equal(resize(0, 4096, &error), 0);
	assert_int_equal(BLK_FIELD(capacity), 8);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 8, 512, true, &used), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_run(VIRTIO_BLK_T_IN, 7, 512, true, &used), VIRTIO_BLK_S_OK);

	fm->msi_count = 0;
	assert_int_equal(resize(0, 4097, &error), -EINVAL);
	assert_non_null(strstr(error.text, path));
	assert_int_equal(resize(1, 4096, &error), -ENOENT);
	fake_settle(fm);
	assert_false(got_msi(1));
	assert_int_equal(BLK_FIELD(capacity), 8);
}

/* Beyond the limit requests wait in their queues, and get their turn. */
static void blk_limits(void **state)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	struct driver_buffer buffers[] = {
		{ HEADER, sizeof(header), false }, { DATA, 4096, true }, { STATUS, 1, true },
	};
	unsigned int done[2] = { 0 };
	uint64_t start;

	fm = fake_machine_create(2);
	/* Two at once and then fifty a second; or bytes to the same effect. */
	disk_config = *state ? (struct disk_config){ .bps = 50 * 4096, .bps_burst = 2 * 4096 } :
			       (struct disk_config){ .iops = 50, .iops_burst = 2 };
	add_disk();
	driver_start(&d, ALL, 2);
	memcpy(fake_ram(fm, HEADER, sizeof(header)), &header, sizeof(header));
	for (unsigned int i = 0; i < 20; i++)
		driver_add(&d, i % 2, buffers, 3);
	start = loop_now();
	driver_notify(&d, 0);
	driver_notify(&d, 1);
	fake_settle(fm);
	while (driver_used(&d, 0, NULL, NULL))
		done[0]++;
	/* What the burst allows, and the one that makes a debt of it. */
	assert_in_range(done[0], 2, 4);
	while (done[0] + done[1] < 20) {
		loop_step(fm->m.loop, 100);
		for (unsigned int q = 0; q < 2; q++)
			while (driver_used(&d, q, NULL, NULL))
				done[q]++;
		if (done[0] == 7)
			assert_in_range(done[1], 2, 9);
		assert_true(loop_now() - start < 5000000000ull);
	}
	assert_true(loop_now() - start > 17 * 20000000ull - 1000000);
	/* With requests waiting, it can be reset, and go. */
	for (unsigned int i = 0; i < 20; i++)
		driver_add(&d, 0, buffers, 3);
	driver_notify(&d, 0);
	loop_step(fm->m.loop, 0);
	driver_set_status(&d, 0);
	fake_settle(fm);
	assert_int_equal(driver_status(&d), 0);
}

static void blk_refused(void **state)
{
	struct disk_config config = { .path = "/nonexistent/disk" };
	struct vmm_error error = { "" };

	assert_int_equal(virtio_blk_create(&fm->m, &config, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nonexistent/disk"));
	/* Too many: the last one leaves nothing behind. */
	config = (struct disk_config){ .path = path, .readonly = true };
	for (unsigned int i = 1; i < PCI_SLOTS; i++) {
		error.text[0] = '\0';
		assert_int_equal(virtio_blk_create(&fm->m, &config, &error), 0);
	}
	assert_int_equal(virtio_blk_create(&fm->m, &config, &error), -ENOSPC);
	fake_machine_reset(fm);
	assert_int_equal(fake_config_read(fm, 31, PCI_DEVICE_ID, 2), 0x1042);
	assert_non_null(fake_device(fm, "virtio-blk30"));
}

/* ------------------------------------------------------------------ randomness */

static void rng_fills(void **state)
{
	struct driver_buffer buffers[] = { { BUF, 100, true }, { BUF + 0x2000, 8192, true } };
	uint8_t *data = fake_ram(fm, BUF, 0x5000);
	unsigned int zeroes = 0;
	uint32_t used;

	driver_start(&d, ALL, 1);
	memset(data, 0, 0x5000);
	driver_add(&d, 0, buffers, 2);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(driver_used(&d, 0, NULL, &used));
	assert_int_equal(used, 4096);
	for (unsigned int i = 0; i < 4096; i++)
		zeroes += !(i < 100 ? data[i] : data[0x2000 + i - 100]);
	assert_true(zeroes < 64);
	assert_int_equal(data[100], 0);
	assert_int_equal(data[0x2000 + 4096 - 100], 0);

	/* More chains than one turn takes, and chains with nothing to fill. */
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 64; i++)
			driver_add(&d, 0, &(struct driver_buffer){ BUF, i, i & 1 }, 1);
		driver_notify(&d, 0);
		fake_settle(fm);
		for (unsigned int i = 0; i < 64; i++) {
			assert_true(driver_used(&d, 0, NULL, &used));
			assert_int_equal(used, i & 1 ? i : 0);
		}
	}
}

/* ------------------------------------------------------------------ the console */

struct fake_backend {
	struct char_backend backend;
	size_t room;		/* bytes that write takes before it says no */
	char out[512];
	size_t out_length;
	unsigned int accepts;
	bool *destroyed;
};

static struct fake_backend *to_fake(struct char_backend *backend)
{
	return container_of(backend, struct fake_backend, backend);
}

static size_t fb_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	struct fake_backend *fb = to_fake(backend);
	size_t n = length < fb->room ? length : fb->room;

	for (size_t i = 0; i < n; i++)
		if (fb->out_length < sizeof(fb->out))
			fb->out[fb->out_length++] = (char)data[i];
	fb->room -= n;
	return n;
}

static void fb_accept(struct char_backend *backend)
{
	to_fake(backend)->accepts++;
}

static void fb_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	*columns = 80;
	*rows = 25;
}

static void fb_destroy(struct char_backend *backend)
{
	*to_fake(backend)->destroyed = true;
	free(to_fake(backend));
}

static const struct char_ops fb_ops = { fb_write, fb_accept, fb_size, fb_destroy };

static struct fake_backend *fb;
static bool fb_destroyed;

static int setup_console(void **state)
{
	struct vmm_error error = { "" };

	setup(state);
	fb = calloc(1, sizeof(*fb));
	fb->backend.ops = &fb_ops;
	fb->room = SIZE_MAX;
	fb->destroyed = &fb_destroyed;
	fb_destroyed = false;
	assert_int_equal(virtio_console_create(&fm->m, &fb->backend, &error), 0);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	return 0;
}

static int teardown_console(void **state)
{
	fake_machine_destroy(fm);
	return fb_destroyed ? 0 : -1;
}

static void put_string(const char *s, unsigned int cut)
{
	struct driver_buffer buffers[2] = {
		{ BUF, cut, false }, { BUF + 0x1000, (uint32_t)strlen(s) - cut, false },
	};

	memcpy(fake_ram(fm, BUF, cut), s, cut);
	memcpy(fake_ram(fm, BUF + 0x1000, strlen(s)), s + cut, strlen(s) - cut);
	driver_add(&d, 1, buffers, 2);
	driver_notify(&d, 1);
	fake_settle(fm);
}

static void expect_output(const char *s)
{
	assert_int_equal(fb->out_length, strlen(s));
	assert_memory_equal(fb->out, s, strlen(s));
	fb->out_length = 0;
}

static void console_output(void **state)
{
	driver_start(&d, ALL, 2);
	put_string("hello, world\n", 5);
	expect_output("hello, world\n");
	assert_true(driver_used(&d, 1, NULL, NULL));

	/* The backend takes a part: the buffer stays the guest's until all is out. */
	fb->room = 3;
	put_string("abcdefgh", 2);
	expect_output("abc");
	assert_false(driver_used(&d, 1, NULL, NULL));
	fb->room = 2;
	fb->backend.front->writable(fb->backend.front_data);
	fake_settle(fm);
	expect_output("de");
	fb->room = SIZE_MAX;
	fb->backend.front->writable(fb->backend.front_data);
	fake_settle(fm);
	expect_output("fgh");
	assert_true(driver_used(&d, 1, NULL, NULL));

	/* A pause in the middle finds nothing in flight; nothing is lost or written twice. */
	fb->room = 4;
	put_string("0123456789", 1);
	expect_output("0123");
	fake_machine_pause(fm);
	fake_machine_resume(fm);
	fb->room = SIZE_MAX;
	fake_settle(fm);
	expect_output("456789");
	assert_true(driver_used(&d, 1, NULL, NULL));

	/* The guest shortens the chain that we are in the middle of. */
	fb->room = 4;
	put_string("0123456789", 1);
	expect_output("0123");
	driver_desc(&d, 1, (uint16_t)(d.q[1].next_desc - 1), BUF, 1, 0, 0);
	fb->room = SIZE_MAX;
	fb->backend.front->writable(fb->backend.front_data);
	fake_settle(fm);
	expect_output("");
	assert_true(driver_used(&d, 1, NULL, NULL));
}

/* Output without end does not keep the loop for itself. */
static void console_flood(void **state)
{
	struct driver_buffer buffers[8];

	driver_start(&d, ALL, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = (struct driver_buffer){ BUF, 4u << 20, false };
	driver_add(&d, 1, buffers, ARRAY_SIZE(buffers));
	driver_notify(&d, 1);
	for (unsigned int steps = 0; !driver_used(&d, 1, NULL, NULL); steps++) {
		assert_true(loop_step(fm->m.loop, 0) > 0);
		assert_true(steps < 200);
	}
	assert_int_equal(SIZE_MAX - fb->room, 8ul * (4u << 20));
}

static void console_input(void **state)
{
	struct driver_buffer small = { BUF, 4, true }, none = { BUF, 0, true };
	const struct char_front *front = fb->backend.front;
	void *data = fb->backend.front_data;
	uint32_t used;

	/* No room before the driver has given buffers. */
	assert_int_equal(front->room(data), 0);
	driver_start(&d, ALL, 2);
	assert_int_equal(front->room(data), 0);
	fb->accepts = 0;
	driver_add(&d, 0, &none, 1);
	driver_add(&d, 0, &small, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(fb->accepts > 0);
	assert_int_equal(front->room(data), 4);
	assert_int_equal(front->room(data), 4);
	front->input(data, (const uint8_t *)"xyz", 3);
	assert_true(driver_used(&d, 0, NULL, &used));	/* the one with no room */
	assert_int_equal(used, 0);
	assert_true(driver_used(&d, 0, NULL, &used));
	assert_int_equal(used, 3);
	assert_memory_equal(fake_ram(fm, BUF, 3), "xyz", 3);
	assert_true(got_msi(0));
	assert_int_equal(front->room(data), 0);

	/* The guest gives its next buffers, and one of them turns out to be bad. */
	driver_add(&d, 0, &small, 1);
	driver_offer(&d, 0, 0x7fff);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_int_equal(front->room(data), 4);
	front->input(data, (const uint8_t *)"abcdefgh", 8);
	assert_true(driver_used(&d, 0, NULL, &used));
	assert_int_equal(used, 4);
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(front->room(data), 0);
}

static void console_window(void **state)
{
	driver_start(&d, ALL, 2);
	assert_true(d.features & BIT64(VIRTIO_CONSOLE_F_SIZE));
	assert_int_equal(fake_read(fm, d.device, 4), 80 | 25 << 16);
	assert_int_equal(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 0);
	fb->backend.front->resized(fb->backend.front_data, 132, 50);
	assert_int_equal(fake_read(fm, d.device, 4), 132 | 50 << 16);
	assert_int_equal(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	assert_true(got_msi(2));
	/* A character from a guest that has nothing else. */
	driver_set_status(&d, 0);
	fake_write(fm, d.device + offsetof(struct virtio_console_config, emerg_wr), 4, '!');
	expect_output("!");
	fake_write(fm, d.device, 4, 0);
	expect_output("");
	assert_int_equal(fake_read(fm, d.device, 4), 132 | 50 << 16);
}

/* ------------------------------------------------------------------ dice */

static uint64_t rng_state = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(uint64_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state % below;
}

/* Any write anywhere, on all three devices, with rings that are now and then sensible. */
static void dice(void **state)
{
	struct vmm_error error = { "" };
	struct disk_config config = { .path = path, .ephemeral = true };
	struct char_backend *null;

	setup(state);
	assert_int_equal(virtio_blk_create(&fm->m, &config, &error), 0);
	assert_int_equal(virtio_rng_create(&fm->m, &error), 0);
	assert_int_equal(char_null_create(&null), 0);
	assert_int_equal(virtio_console_create(&fm->m, null, &error), 0);
	fake_machine_reset(fm);

	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int slot = 1 + (unsigned int)rnd(3), queues = slot == 3 ? 2 : 1;
		uint64_t mask = rnd(2) ? ALL : rnd(UINT64_MAX) | BIT64(VIRTIO_F_VERSION_1);

		if (!rnd(50))
			fake_machine_reset(fm);
		driver_find(&d, fm, slot);
		driver_start(&d, mask, queues);
		for (unsigned int i = 0; i < 40; i++) {
			unsigned int q = (unsigned int)rnd(queues);
			struct virtio_blk_outhdr header = {
				.type = (uint32_t)rnd(16), .sector = rnd(DISK_SIZE / 512 + 2),
			};

			switch (rnd(8)) {
			case 0:
				driver_desc(&d, q, (uint16_t)rnd(64),
					    rnd(8) ? BUF + rnd(1 << 20) : rnd(UINT64_MAX),
					    (uint32_t)(rnd(8) ? rnd(4096) : rnd(UINT32_MAX)),
					    (uint16_t)(rnd(8) ? rnd(4) : rnd(16)),
					    (uint16_t)rnd(64));
				driver_offer(&d, q, (uint16_t)rnd(65));
				break;
			case 1: case 2: case 3: {
				struct driver_buffer buffers[] = {
					{ HEADER, 16, false },
					{ DATA, (uint32_t)rnd(9) * 512, rnd(2) },
					{ STATUS, 1, true },
				};

				memcpy(fake_ram(fm, HEADER, 16), &header, 16);
				driver_add(&d, q, buffers, 3);
				break;
			}
			case 4:
				fake_write(fm, d.common + rnd(0x6000), 1u << rnd(4),
					   rnd(UINT64_MAX));
				break;
			case 5:
				fake_read(fm, d.common + rnd(0x6000), 1u << rnd(4));
				break;
			case 6:
				fake_config_write(fm, slot, (unsigned int)rnd(256), 1u << rnd(3),
						  (uint32_t)rnd(UINT32_MAX));
				break;
			default:
				driver_notify(&d, q);
				if (rnd(2))
					loop_step(fm->m.loop, 0);
				break;
			}
		}
		fake_settle(fm);
		/* Whatever it did to its BAR, it can start anew. */
		fake_config_write(fm, slot, PCI_COMMAND, 2, 0);
		fake_config_write(fm, slot, PCI_BASE_ADDRESS_0, 4,
				  PCI_MMIO32_START + 0x8000 * slot);
	}
}

#define T(name, start) cmocka_unit_test_setup_teardown(name, start, teardown)
#define C(name) cmocka_unit_test_setup_teardown(name, setup_console, teardown_console)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(identity, setup_blk), T(negotiation, setup_blk), T(queue_placement, setup_blk),
		T(bad_placement, setup_blk), T(notifications, setup_rng), T(intx, setup_rng),
		T(vectors, setup_rng), T(work_waits_for_the_driver, setup_rng),
		T(mistakes, setup_rng), T(config_window, setup_rng),
		T(blk_config, setup_blk), T(blk_read_write, setup_blk), T(blk_errors, setup_blk),
		T(blk_identifier, setup_blk), T(blk_ranges, setup_blk),
		T(blk_odd_layouts, setup_blk),
		T(blk_hopeless, setup_blk), T(blk_read_only, NULL), T(blk_many, NULL),
		T(blk_reset_in_flight, setup_blk), T(blk_without_flush, setup_blk),
		T(blk_saved_and_loaded, setup_blk), T(blk_state_dice, setup_blk),
		T(blk_options, NULL), T(blk_resize, setup_blk), T(blk_limits, NULL),
		{ "blk_limits, bytes", blk_limits, NULL, teardown, (void *)1 },
		T(blk_refused, setup),
		T(rng_fills, setup_rng),
		C(console_output), C(console_flood), C(console_input), C(console_window),
		T(dice, NULL),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests_name("virtio", tests, NULL, NULL);
	unlink(path);
	return failed;
}
