/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio devices with processors: several threads at the registers of all devices at once, while
 * the loop thread works on the queues. What it asserts is little; it is for the thread sanitizer,
 * and for the deadlocks and crashes that only such a crowd finds.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "fake_machine.h"
#include "vmm/char/char.h"

#define THREADS		3
#define DEVICES		3
#define ROUNDS		100
#define ACCESSES	500

static char path[] = "/tmp/virtio_threads_test.XXXXXX";
static struct fake_machine *fm;
static struct driver drivers[DEVICES];

static uint64_t rnd(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

/* One processor: reads and writes registers, notifies, moves BARs, resets. */
static void *processor(void *arg)
{
	uint64_t seed = 0x9e3779b97f4a7c15ull * ((uintptr_t)arg + 1);

	for (unsigned int i = 0; i < ACCESSES; i++) {
		struct driver *d = &drivers[rnd(&seed, DEVICES)];

		switch (rnd(&seed, 40)) {
		case 0:
			driver_set_status(d, 0);
			break;
		case 1:
			driver_set_status(d, 15);
			break;
		case 2:
			fake_config_write(fm, d->slot, PCI_COMMAND, 2, PCI_COMMAND_MASTER |
					  (rnd(&seed, 2) ? PCI_COMMAND_MEMORY : 0));
			break;
		case 3:
			fake_config_write(fm, d->slot, PCI_BASE_ADDRESS_0, 4,
					  PCI_MMIO32_START + 0x8000 * (uint32_t)rnd(&seed, 8));
			break;
		case 4:
			fake_write(fm, d->common + rnd(&seed, 0x5100), 1u << rnd(&seed, 4),
				   rnd(&seed, UINT64_MAX));
			break;
		case 5: case 6: case 7: case 8: case 9: case 10:
			fake_read(fm, d->common + rnd(&seed, 0x5100), 1u << rnd(&seed, 4));
			break;
		case 11: case 12:
			fake_config_read(fm, d->slot, (unsigned int)rnd(&seed, 256), 4);
			break;
		default:
			fake_write(fm, d->q[0].notify, 2, 0);
			break;
		}
	}
	return NULL;
}

/* Rings that are full of good requests, for the loop thread to find whenever it looks. */
static void fill(struct driver *d, unsigned int queue)
{
	for (unsigned int i = 0; i < 40; i++) {
		uint64_t at = DRIVER_BUFFERS + (d->slot * 40ull + i) * 0x1000;
		struct virtio_blk_outhdr header = { .type = i & 1, .sector = i };
		struct driver_buffer buffers[] = {
			{ at, sizeof(header), false },
			{ at + 0x400, 1024, !(i & 1) },
			{ at + 0x900, 1, true },
		};

		memcpy(fake_ram(fm, at, sizeof(header)), &header, sizeof(header));
		driver_add(d, queue, buffers, 3);
	}
}

static void pause_on_loop(void *arg)
{
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->pause)
			dev->ops->pause(dev);
}

static void all_quiescent(void *arg)
{
	bool *all = arg;

	*all = true;
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->quiescent && !dev->ops->quiescent(dev))
			*all = false;
}

static void reset_on_loop(void *arg)
{
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->reset)
			dev->ops->reset(dev);
	for (struct device *dev = fm->m.devices; dev; dev = dev->next)
		if (dev->ops->resume)
			dev->ops->resume(dev);
}

static void crowd(void **state)
{
	struct disk_config config = { .path = path, .ephemeral = true };
	struct vmm_error error = { "" };
	struct char_backend *null;
	pthread_t threads[THREADS];
	bool quiet = false;

	fm = fake_machine_create(1);
	assert_int_equal(virtio_blk_create(&fm->m, &config, &error), 0);
	assert_int_equal(virtio_rng_create(&fm->m, &error), 0);
	assert_int_equal(char_null_create(&null), 0);
	assert_int_equal(virtio_console_create(&fm->m, null, &error), 0);
	fake_machine_reset(fm);

	for (unsigned int round = 0; round < ROUNDS; round++) {
		/* No thread yet: the drivers set up what the crowd will find. */
		for (unsigned int i = 0; i < DEVICES; i++) {
			driver_find(&drivers[i], fm, 1 + i);
			driver_start(&drivers[i], UINT64_MAX, i == 2 ? 2 : 1);
			fill(&drivers[i], 0);
			if (i == 2)
				fill(&drivers[i], 1);
		}
		assert_int_equal(loop_start(fm->m.loop, "test-loop"), 0);
		for (uintptr_t i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, processor,
							(void *)(round * THREADS + i)), 0);
		for (unsigned int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		/* As the machine resets: the processors have stopped, the loop has not. */
		loop_run(fm->m.loop, pause_on_loop, NULL);
		for (unsigned int tries = 0; !quiet; tries++) {
			assert_true(tries < 10000);
			loop_run(fm->m.loop, all_quiescent, &quiet);
			usleep(1000);
		}
		quiet = false;
		loop_run(fm->m.loop, reset_on_loop, NULL);
		loop_stop(fm->m.loop);
	}
	/* After all that a driver finds devices as new. */
	for (unsigned int i = 0; i < DEVICES; i++) {
		driver_find(&drivers[i], fm, 1 + i);
		assert_int_equal(driver_status(&drivers[i]), 0);
		driver_negotiate(&drivers[i], UINT64_MAX);
		assert_int_equal(driver_status(&drivers[i]), 11);
	}
	fake_machine_destroy(fm);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(crowd) };
	int fd = mkstemp(path), failed;

	if (fd < 0 || ftruncate(fd, 64 * 1024))
		return 1;
	close(fd);
	failed = cmocka_run_group_tests_name("virtio, threads", tests, NULL, NULL);
	unlink(path);
	return failed;
}
