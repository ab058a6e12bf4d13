/* SPDX-License-Identifier: GPL-2.0-only */
/* The emulator's groundwork: the loop, guest memory, and how buses fit accesses to devices. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/device.h"
#include "vmm/loop.h"
#include "vmm/ram.h"
#include "vmm/util.h"

/* ------------------------------------------------------------------ loop */

#define MS 1000000ULL

struct tick {
	struct loop_timer timer;
	char name;
	char *log;
	atomic_uint *logged;
};

static void on_tick(struct loop_timer *timer)
{
	struct tick *t = container_of(timer, struct tick, timer);

	t->log[(*t->logged)++] = t->name;
}

static void nothing(void *arg)
{
}

static void timers_come_in_order(void **state)
{
	struct loop *loop = loop_create();
	char log[8] = "";
	atomic_uint logged = 0;
	struct tick a = { { on_tick }, 'a', log, &logged }, b = a, c = a, d = a;
	uint64_t now = loop_now();

	b.name = 'b';
	c.name = 'c';
	d.name = 'd';
	loop_timer_set(loop, &c.timer, now + 15 * MS);
	loop_timer_set(loop, &a.timer, now + 5 * MS);
	loop_timer_set(loop, &d.timer, now + 20 * MS);
	loop_timer_set(loop, &b.timer, now + 100000 * MS);
	loop_timer_set(loop, &b.timer, now + 10 * MS);	/* again, for earlier */
	loop_timer_cancel(&d.timer);
	assert_int_equal(loop_start(loop, "test"), 0);
	for (int i = 0; i < 1000 && logged < 3; i++)
		usleep(1000);
	loop_run(loop, nothing, NULL);
	assert_string_equal(log, "abc");
	assert_true(loop_now() - now >= 15 * MS);
	loop_stop(loop);
	loop_destroy(loop);
}

struct counted_call {
	struct loop_call call;
	struct loop *loop;
	atomic_uint runs;
	unsigned int again;
};

static void on_call(struct loop_call *call)
{
	struct counted_call *c = container_of(call, struct counted_call, call);

	assert_true(loop_is_current(c->loop));
	c->runs++;
	if (c->again) {
		c->again--;
		loop_defer(c->loop, call);
	}
}

static void calls_run_once_each_time(void **state)
{
	struct loop *loop = loop_create();
	struct counted_call c = { .call.callback = on_call, .loop = loop };

	loop_defer(loop, &c.call);
	loop_defer(loop, &c.call);
	assert_false(loop_is_current(loop));
	assert_int_equal(loop_start(loop, "test"), 0);
	loop_run(loop, nothing, NULL);
	assert_int_equal(c.runs, 1);
	/* Deferring from the callback itself is for the next round. */
	c.again = 2;
	loop_defer(loop, &c.call);
	while (c.runs < 4)
		usleep(100);
	loop_defer(loop, &c.call);
	loop_call_cancel(&c.call);
	loop_run(loop, nothing, NULL);
	assert_true(c.runs == 4 || c.runs == 5);
	loop_stop(loop);
	loop_destroy(loop);
}

struct slow_watch {
	struct loop_fd watch;
	atomic_bool entered, left;
};

static void on_slow(struct loop_fd *watch, uint32_t events)
{
	struct slow_watch *s = container_of(watch, struct slow_watch, watch);
	eventfd_t value;

	assert_int_equal(eventfd_read(watch->fd, &value), 0);
	s->entered = true;
	usleep(30000);
	s->left = true;
}

static void removing_waits_for_the_callback(void **state)
{
	struct loop *loop = loop_create();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct slow_watch s = {
		.watch = { .fd = fd, .events = EPOLLIN, .callback = on_slow },
	};

	assert_int_equal(loop_start(loop, "test"), 0);
	assert_int_equal(loop_fd_add(loop, &s.watch), 0);
	eventfd_write(fd, 1);
	while (!s.entered)
		usleep(100);
	loop_fd_del(&s.watch);
	assert_true(s.left);
	/* And then it is not called any more. */
	s.entered = false;
	eventfd_write(fd, 1);
	loop_run(loop, nothing, NULL);
	usleep(5000);
	assert_false(s.entered);
	loop_fd_del(&s.watch);
	loop_stop(loop);
	loop_destroy(loop);
	close(fd);
}

static void a_plain_file_cannot_be_watched(void **state)
{
	struct loop *loop = loop_create();
	FILE *file = tmpfile();
	struct loop_fd watch = { .fd = fileno(file), .events = EPOLLIN };

	assert_int_equal(loop_fd_add(loop, &watch), -EPERM);
	loop_fd_del(&watch);
	loop_destroy(loop);
	fclose(file);
}

/* ------------------------------------------------------------------ memory */

static void ram_has_a_hole(void **state)
{
	const uint64_t mib = 1 << 20, size = RAM_HOLE_START + 64 * mib;
	struct vmm_error error = { "" };
	struct ram ram;

	if (ram_create(&ram, size, &error)) {
		print_message("%s\n", error.text);
		skip();
	}
	assert_int_equal(ram.low_size, RAM_HOLE_START);
	assert_int_equal(ram.high_size, 64 * mib);
	assert_ptr_equal(ram_ptr(&ram, 0, 1), ram.host);
	assert_ptr_equal(ram_ptr(&ram, RAM_HOLE_START - 1, 1), ram.host + RAM_HOLE_START - 1);
	assert_ptr_equal(ram_ptr(&ram, RAM_HOLE_END, 64 * mib), ram.host + RAM_HOLE_START);
	assert_null(ram_ptr(&ram, RAM_HOLE_START - 1, 2));
	assert_null(ram_ptr(&ram, RAM_HOLE_START, 0));
	assert_null(ram_ptr(&ram, RAM_HOLE_END - 1, 2));
	assert_null(ram_ptr(&ram, RAM_HOLE_END, 64 * mib + 1));
	assert_null(ram_ptr(&ram, RAM_HOLE_END + 64 * mib, 0));
	assert_null(ram_ptr(&ram, 8, UINT64_MAX));
	assert_null(ram_ptr(&ram, UINT64_MAX, 1));
	assert_null(ram_ptr(&ram, UINT64_MAX, UINT64_MAX));
	assert_int_equal(ram_offset(&ram, RAM_HOLE_END + 5), RAM_HOLE_START + 5);
	assert_int_equal(ram_offset(&ram, RAM_HOLE_START), -1);
	ram_destroy(&ram);
}

static void ram_copies_all_or_nothing(void **state)
{
	struct vmm_error error = { "" };
	char text[8] = "";
	struct ram ram;

	assert_int_equal(ram_create(&ram, 2 << 20, &error), 0);
	assert_int_equal(ram_write(&ram, (2 << 20) - 4, "abcd", 4), 0);
	assert_int_equal(ram_write(&ram, (2 << 20) - 4, "xxxxx", 5), -EFAULT);
	assert_int_equal(ram_read(&ram, (2 << 20) - 4, text, 4), 0);
	assert_string_equal(text, "abcd");
	assert_int_equal(ram_read(&ram, (2 << 20) - 4, text, 5), -EFAULT);
	ram_destroy(&ram);
}

static void too_much_ram_is_refused(void **state)
{
	struct vmm_error error = { "" };
	struct ram ram;

	assert_int_equal(ram_create(&ram, 1ULL << 50, &error), -ENOMEM);
	assert_non_null(strstr(error.text, "does not fit"));
	error.text[0] = 0;
	assert_int_equal(ram_create(&ram, 4097, &error), -EINVAL);
	assert_non_null(strstr(error.text, "4 KiB"));
}

/* ------------------------------------------------------------------ buses */

#define LOG_SIZE 16

struct logging_device {
	struct device dev;
	struct region region;
	unsigned int count;
	struct {
		bool write;
		uint64_t offset, value;
		unsigned int size;
	} log[LOG_SIZE];
	uint8_t bytes[32];		/* what reads give */
};

static uint64_t log_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct logging_device *d = container_of(dev, struct logging_device, dev);
	uint64_t value = 0;

	assert_true(offset + size <= d->region.size);
	assert_int_equal(offset % size, 0);
	memcpy(&value, d->bytes + offset, size);
	assert_true(d->count < LOG_SIZE);
	d->log[d->count].write = false;
	d->log[d->count].offset = offset;
	d->log[d->count++].size = size;
	return value;
}

static void log_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct logging_device *d = container_of(dev, struct logging_device, dev);

	assert_true(offset + size <= d->region.size);
	assert_int_equal(offset % size, 0);
	assert_true(size == 8 || !(value >> 8 * size));
	assert_true(d->count < LOG_SIZE);
	d->log[d->count].write = true;
	d->log[d->count].offset = offset;
	d->log[d->count].value = value;
	d->log[d->count++].size = size;
}

static void device_init(struct logging_device *d, const struct region_ops *ops, uint64_t size)
{
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->dev.lock, NULL);
	d->region = (struct region){ .name = "test", .dev = &d->dev, .ops = ops, .size = size };
	for (unsigned int i = 0; i < sizeof(d->bytes); i++)
		d->bytes[i] = 0x10 + i;
}

#define EXPECT(d, i, offset_, size_) do {				\
	assert_int_equal((d)->log[i].offset, offset_);			\
	assert_int_equal((d)->log[i].size, size_);			\
} while (0)

static void any_size_goes_straight_through(void **state)
{
	static const struct region_ops ops = { .read = log_read, .write = log_write };
	struct logging_device d;
	struct bus bus;
	uint64_t value = 0;

	bus_init(&bus, "test");
	device_init(&d, &ops, 32);
	assert_int_equal(bus_map(&bus, &d.region, 0x1000), 0);
	assert_int_equal(bus_map(&bus, &d.region, 0x2000), -EBUSY);
	for (unsigned int size = 1; size <= 8; size *= 2) {
		d.count = 0;
		value = 0;
		assert_true(bus_read(&bus, 0x1008, &value, size));
		assert_int_equal(d.count, 1);
		EXPECT(&d, 0, 8, size);
		assert_int_equal(value, 0x1f1e1d1c1b1a1918ULL & ~0ULL >> (64 - 8 * size));
	}
	d.count = 0;
	value = 0x8877665544332211ULL;
	assert_true(bus_write(&bus, 0x1010, &value, 4));
	assert_int_equal(d.count, 1);
	assert_int_equal(d.log[0].value, 0x44332211);
	bus_unmap(&d.region);
	assert_false(bus_read(&bus, 0x1008, &value, 4));
	assert_int_equal((uint32_t)value, 0xffffffff);
	bus_destroy(&bus);
}

static void wide_and_crooked_accesses_are_cut(void **state)
{
	static const struct region_ops ops = {
		.read = log_read, .write = log_write, .max_access = 4,
	};
	struct logging_device d;
	struct bus bus;
	uint64_t value = 0;

	bus_init(&bus, "test");
	device_init(&d, &ops, 32);
	assert_int_equal(bus_map(&bus, &d.region, 0x1000), 0);
	/* Eight bytes become two times four, low first. */
	assert_true(bus_read(&bus, 0x1000, &value, 8));
	assert_int_equal(value, 0x1716151413121110ULL);
	assert_int_equal(d.count, 2);
	EXPECT(&d, 0, 0, 4);
	EXPECT(&d, 1, 4, 4);
	/* Four bytes at 3: one, then two, then one. */
	d.count = 0;
	value = 0x44332211;
	assert_true(bus_write(&bus, 0x1003, &value, 4));
	assert_int_equal(d.count, 3);
	EXPECT(&d, 0, 3, 1);
	assert_int_equal(d.log[0].value, 0x11);
	EXPECT(&d, 1, 4, 2);
	assert_int_equal(d.log[1].value, 0x3322);
	EXPECT(&d, 2, 6, 1);
	assert_int_equal(d.log[2].value, 0x44);
	bus_unmap(&d.region);
	bus_destroy(&bus);
}

static void narrow_accesses_are_widened_or_dropped(void **state)
{
	static const struct region_ops ops = {
		.read = log_read, .write = log_write, .min_access = 4, .max_access = 4,
	};
	struct logging_device d;
	struct bus bus;
	uint64_t value = 0;

	bus_init(&bus, "test");
	device_init(&d, &ops, 32);
	assert_int_equal(bus_map(&bus, &d.region, 0x1000), 0);
	assert_true(bus_read(&bus, 0x1006, &value, 1));
	assert_int_equal(value, 0x16);
	assert_int_equal(d.count, 1);
	EXPECT(&d, 0, 4, 4);
	d.count = 0;
	assert_true(bus_write(&bus, 0x1006, &value, 2));
	assert_int_equal(d.count, 0);
	/* The aligned half of a crooked read. */
	value = 0;
	assert_true(bus_read(&bus, 0x1002, &value, 4));
	assert_int_equal(value, 0x15141312);
	bus_unmap(&d.region);
	bus_destroy(&bus);
}

static void ends_and_gaps(void **state)
{
	static const struct region_ops ops = { .read = log_read, .write = log_write };
	struct logging_device a, b;
	struct bus bus;
	uint64_t value = 0;

	bus_init(&bus, "test");
	device_init(&a, &ops, 5);
	device_init(&b, &ops, 4);
	b.bytes[0] = 0xbb;
	assert_int_equal(bus_map(&bus, &a.region, 0x1000), 0);
	assert_int_equal(bus_map(&bus, &b.region, 0x1006), 0);
	/* Bytes 4 of a, 5 of nobody, 6 and 7 of b. */
	assert_true(bus_read(&bus, 0x1004, &value, 4));
	assert_int_equal(value, 0x11bbff14);
	/* Beyond the end of the address space. */
	assert_false(bus_read(&bus, UINT64_MAX, &value, 4));
	assert_int_equal((uint32_t)value, 0xffffffff);
	bus_unmap(&b.region);
	assert_int_equal(bus_map(&bus, &b.region, UINT64_MAX - 3), 0);
	assert_true(bus_read(&bus, UINT64_MAX - 3, &value, 4));
	bus_unmap(&b.region);
	assert_int_equal(bus_map(&bus, &b.region, UINT64_MAX - 2), -EINVAL);
	bus_unmap(&a.region);
	bus_destroy(&bus);
}

static void the_first_mapped_answers(void **state)
{
	static const struct region_ops ops = { .read = log_read, .write = log_write };
	struct logging_device fixed, bar;
	struct bus bus;
	uint32_t value = 0;

	bus_init(&bus, "test");
	device_init(&fixed, &ops, 4);
	device_init(&bar, &ops, 32);
	assert_int_equal(bus_map(&bus, &fixed.region, 0x1000), 0);
	assert_int_equal(bus_map(&bus, &bar.region, 0xff0), 0);
	assert_true(bus_read(&bus, 0x1000, &value, 4));
	assert_int_equal(fixed.count, 1);
	assert_int_equal(bar.count, 0);
	assert_true(bus_read(&bus, 0x1004, &value, 4));
	assert_int_equal(bar.count, 1);
	bus_unmap(&fixed.region);
	bus_unmap(&bar.region);
	bus_destroy(&bus);
}

/* A region without one of the handlers reads as nothing and takes nothing. */
static void missing_handlers(void **state)
{
	static const struct region_ops ops = { 0 };
	struct logging_device d;
	struct bus bus;
	uint32_t value = 0;

	bus_init(&bus, "test");
	device_init(&d, &ops, 4);
	assert_int_equal(bus_map(&bus, &d.region, 0), 0);
	assert_true(bus_read(&bus, 0, &value, 4));
	assert_int_equal(value, 0xffffffff);
	assert_true(bus_write(&bus, 0, &value, 4));
	bus_unmap(&d.region);
	bus_destroy(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_come_in_order),
		cmocka_unit_test(calls_run_once_each_time),
		cmocka_unit_test(removing_waits_for_the_callback),
		cmocka_unit_test(a_plain_file_cannot_be_watched),
		cmocka_unit_test(ram_has_a_hole),
		cmocka_unit_test(ram_copies_all_or_nothing),
		cmocka_unit_test(too_much_ram_is_refused),
		cmocka_unit_test(any_size_goes_straight_through),
		cmocka_unit_test(wide_and_crooked_accesses_are_cut),
		cmocka_unit_test(narrow_accesses_are_widened_or_dropped),
		cmocka_unit_test(ends_and_gaps),
		cmocka_unit_test(the_first_mapped_answers),
		cmocka_unit_test(missing_handlers),
	};

	return cmocka_run_group_tests_name("vmm-core", tests, NULL, NULL);
}
