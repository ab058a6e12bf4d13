/* SPDX-License-Identifier: GPL-2.0-only */
/* The memory balloon: pages given back in both ways, statistics, and page numbers that are none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>

#include "fake_machine.h"
#include "vmm/dev/virtio/virtio.h"

#define SLOT		1
#define ALL		UINT64_MAX
#define BIT64(n)	(1ull << (n))
#define LIST		DRIVER_BUFFERS
#define PAGES		0x800000	/* a range to play with */
#define PAGE		4096u

enum { INFLATE, DEFLATE, STATISTICS, REPORTS_LINUX, REPORTS, QUEUES };

static struct fake_machine *fm;
static struct driver d;

static int setup(void **state)
{
	struct balloon_config config = { 0 };
	struct vmm_error error = { "" };

	fm = fake_machine_create(1);
	if (virtio_balloon_create(&fm->m, &config, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	memset(fake_ram(fm, PAGES, 64 * PAGE), 0x5a, 64 * PAGE);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return 0;
}

/* A bit for each of the 64 pages that is still what it was. */
static uint64_t kept(void)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < 64; i++) {
		uint8_t *p = fake_ram(fm, PAGES + i * PAGE, PAGE);

		/* All of it, or nothing. */
		assert_true(p[0] == 0x5a || !p[0]);
		assert_int_equal(p[PAGE - 1], p[0]);
		assert_int_equal(p[PAGE / 2], p[0]);
		if (p[0])
			bits |= BIT64(i);
	}
	return bits;
}

/* Whether the host holds memory for a page. */
static bool is_present(uint64_t gpa)
{
	unsigned char present = 0;

	assert_int_equal(mincore(fake_ram(fm, gpa, PAGE), PAGE, &present), 0);
	return present & 1;
}

static void name_pages(unsigned int queue, const uint32_t *pfns, unsigned int count)
{
	struct driver_buffer b[] = {
		{ LIST, 6, false }, { LIST + 6, 4 * count - 6, false },
	};

	memcpy(fake_ram(fm, LIST, 4 * count), pfns, 4 * count);
	driver_add(&d, queue, b, 2);
	driver_notify(&d, queue);
	fake_settle(fm);
	assert_true(driver_used(&d, queue, NULL, NULL));
}

static void inflating(void **state)
{
	const uint32_t first = PAGES / PAGE;
	const uint32_t some[] = {
		first + 3, first + 4, first + 5, first + 9, first + 8, first + 9,
	};

	driver_start(&d, ALL, QUEUES);
	assert_true(is_present(PAGES + 3 * PAGE));
	name_pages(INFLATE, some, 6);
	assert_false(is_present(PAGES + 3 * PAGE));
	assert_int_equal(kept(), ~(7ull << 3 | 3ull << 8));
	/* They come back when they are touched. */
	name_pages(DEFLATE, some, 6);
	memset(fake_ram(fm, PAGES + 3 * PAGE, PAGE), 0x5a, PAGE);
	assert_int_equal(kept(), ~(3ull << 4 | 3ull << 8));
}

static void hostile_pages(void **state)
{
	static uint32_t pfns[1 << 16];
	const uint32_t first = PAGES / PAGE, last = FAKE_MEMORY / PAGE - 1;
	const uint32_t bad[] = {
		UINT32_MAX, last + 1, 0xc0000, 0xfee00, first + 1, UINT32_MAX - 1, UINT32_MAX,
		0x100000,
	};
	struct driver_buffer b = { LIST, 0, false };

	driver_start(&d, ALL, QUEUES);
	name_pages(INFLATE, bad, 8);
	assert_int_equal(kept(), ~2ull);
	/* A run across the end of memory: what there is of it. */
	memset(fake_ram(fm, (uint64_t)last * PAGE, PAGE), 1, PAGE);
	name_pages(INFLATE, (const uint32_t[]){ last - 1, last, last + 1, last + 2 }, 4);
	assert_false(is_present((uint64_t)last * PAGE));
	/* Cut in the middle of a number, and without any. */
	b.length = 7;
	driver_add(&d, INFLATE, &b, 1);
	b.length = 0;
	driver_add(&d, INFLATE, &b, 1);
	b = (struct driver_buffer){ LIST, 64, true };
	driver_add(&d, INFLATE, &b, 1);
	driver_notify(&d, INFLATE);
	fake_settle(fm);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(driver_used(&d, INFLATE, NULL, NULL));
	/* More numbers than anybody needs: the first ones count. */
	for (unsigned int i = 0; i < 1 << 16; i++)
		pfns[i] = first + 40 + (i >= 4096);
	memcpy(fake_ram(fm, LIST, sizeof(pfns)), pfns, sizeof(pfns));
	b = (struct driver_buffer){ LIST, sizeof(pfns), false };
	driver_add(&d, INFLATE, &b, 1);
	driver_notify(&d, INFLATE);
	fake_settle(fm);
	assert_int_equal(kept(), ~(2ull | 1ull << 40));
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void report(unsigned int queue, uint64_t gpa, uint32_t length, bool write)
{
	struct driver_buffer b = { gpa, length, write };

	driver_add(&d, queue, &b, 1);
	driver_notify(&d, queue);
	fake_settle(fm);
	assert_true(driver_used(&d, queue, NULL, NULL));
}

static void reporting(void **state)
{
	driver_start(&d, ALL, QUEUES);
	report(REPORTS_LINUX, PAGES, 4 * PAGE, true);
	assert_int_equal(kept(), ~0xfull);
	report(REPORTS, PAGES + 8 * PAGE, 2 * PAGE, true);
	assert_int_equal(kept(), ~0x30full);
	/* Only whole pages, and only what the guest lets us write. */
	report(REPORTS_LINUX, PAGES + 16 * PAGE + 1, 2 * PAGE, true);
	report(REPORTS_LINUX, PAGES + 32 * PAGE + 7, PAGE, true);
	report(REPORTS_LINUX, PAGES + 48 * PAGE, PAGE, false);
	assert_int_equal(kept(), ~(0x30full | 1ull << 17));
	/* Without statistics, Linux numbers the queue one less. */
	driver_start(&d, ALL & ~BIT64(VIRTIO_BALLOON_F_STATS_VQ), QUEUES);
	report(STATISTICS, PAGES + 20 * PAGE, PAGE, true);
	assert_int_equal(kept(), ~(0x30full | 1ull << 17 | 1ull << 20));
	/* And without the feature there is none. */
	driver_start(&d, ALL & ~BIT64(VIRTIO_BALLOON_F_REPORTING), QUEUES);
	driver_add(&d, REPORTS_LINUX, &(struct driver_buffer){ PAGES, 64 * PAGE, true }, 1);
	driver_notify(&d, REPORTS_LINUX);
	fake_settle(fm);
	assert_false(driver_used(&d, REPORTS_LINUX, NULL, NULL));
	assert_int_equal(kept(), ~(0x30full | 1ull << 17 | 1ull << 20));
}

static void fill_statistics(uint64_t value, unsigned int count)
{
	struct virtio_balloon_stat *stat = fake_ram(fm, LIST, 100 * sizeof(*stat));
	struct driver_buffer b = { LIST, (uint32_t)(count * sizeof(*stat)), false };

	for (unsigned int i = 0; i < count; i++)
		stat[i] = (struct virtio_balloon_stat){
			.tag = (uint16_t)(i * 5), .val = value + i,
		};
	driver_add(&d, STATISTICS, &b, 1);
	driver_notify(&d, STATISTICS);
	fake_settle(fm);
}

static void statistics(void **state)
{
	struct balloon_info info;

	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	assert_int_equal(info.known, 0);
	assert_int_equal(info.memory, FAKE_MEMORY);
	driver_start(&d, ALL, QUEUES);
	fill_statistics(1000, 20);
	/* The buffer stays until somebody asks; then the guest fills it anew. */
	assert_false(driver_used(&d, STATISTICS, NULL, NULL));
	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	fake_settle(fm);
	assert_int_equal(info.known, BIT64(VIRTIO_BALLOON_S_SWAP_IN) |
				     BIT64(VIRTIO_BALLOON_S_MEMTOT));
	assert_int_equal(info.stats[VIRTIO_BALLOON_S_MEMTOT], 1001);
	assert_true(info.told && info.told <= loop_now());
	assert_true(driver_used(&d, STATISTICS, NULL, NULL));
	fill_statistics(2000, 2);
	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	fake_settle(fm);
	assert_int_equal(info.stats[VIRTIO_BALLOON_S_MEMTOT], 2001);
	assert_true(driver_used(&d, STATISTICS, NULL, NULL));
	/* Asked again before the guest has answered: what there is. */
	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	assert_int_equal(info.stats[VIRTIO_BALLOON_S_MEMTOT], 2001);
	/* Nothing in it, or far too much. */
	fill_statistics(0, 0);
	virtio_balloon_query(&fm->m, &info);
	fake_settle(fm);
	fill_statistics(5, 90);
	virtio_balloon_query(&fm->m, &info);
	assert_int_equal(info.stats[VIRTIO_BALLOON_S_MEMTOT], 6);
}

static uint32_t config(unsigned int offset)
{
	return (uint32_t)fake_read(fm, d.device + offset, 4);
}

static void size(void **state)
{
	struct state_buf saved = { 0 };
	struct balloon_info info;
	struct device *dev;

	assert_int_equal(config(0), 0);
	assert_int_equal(virtio_balloon_set_size(&fm->m, 0), -EINVAL);
	assert_int_equal(virtio_balloon_set_size(&fm->m, FAKE_MEMORY + PAGE), -EINVAL);
	driver_start(&d, ALL, QUEUES);
	fm->msi_count = 0;
	assert_int_equal(virtio_balloon_set_size(&fm->m, FAKE_MEMORY - 100 * PAGE), 0);
	assert_int_equal(config(0), 100);
	/* The guest is told, and says how far it is. */
	assert_int_equal(fm->msi_count, 1);
	fake_write(fm, d.device + 4, 4, 60);
	assert_int_equal(config(4), 60);
	fake_write(fm, d.device, 4, 1);		/* not its to say */
	fake_write(fm, d.device + 2, 2, 0xffff);
	assert_int_equal(config(0), 100);
	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	assert_int_equal(info.wanted, FAKE_MEMORY - 100 * PAGE);
	assert_int_equal(info.actual, FAKE_MEMORY - 60 * PAGE);
	fake_write(fm, d.device + 4, 4, UINT32_MAX);
	assert_int_equal(virtio_balloon_query(&fm->m, &info), 0);
	assert_int_equal(info.actual, 0);
	fake_write(fm, d.device + 4, 4, 70);

	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-balloon0");
	fake_save(dev, &saved);
	fake_machine_reset(fm);
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(config(4), 0);
	assert_int_equal(virtio_balloon_set_size(&fm->m, FAKE_MEMORY), 0);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	fake_machine_resume(fm);
	free(saved.data);
	assert_int_equal(config(0), 100);
	assert_int_equal(config(4), 70);
}

static void configuration(void **state)
{
	struct balloon_config too_much = { .size = FAKE_MEMORY + PAGE };
	struct virtio_device *vdev;
	struct vmm_error error = { "" };

	assert_int_equal(virtio_balloon_new(&fm->m, &too_much, &vdev, &error), -EINVAL);
	assert_non_null(strstr(error.text, "--balloon"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inflating), TEST(hostile_pages), TEST(reporting), TEST(statistics), TEST(size),
		TEST(configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
