/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Named ports of the virtio console, between a driver, which is the test, and programs at Unix
 * sockets: how ports are announced, opened and closed at both ends, and what flows when.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>

#include "fake_machine.h"
#include "vmm/char/char.h"
#include "vmm/char/local_socket.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define SLOT		1
#define AGENT		"org.qemu.guest_agent.0"
#define OUT		DRIVER_BUFFERS
#define CONTROL_IN	(DRIVER_BUFFERS + 0x10000)
#define PORT_IN		(DRIVER_BUFFERS + 0x20000)

enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1, RX2, TX2, QUEUES };

static char directory[32], agent_path[64], other_path[64];
static struct channel_config channels[2];
static struct fake_machine *fm;
static struct driver d;

/* ------------------------------------------------------------------ the driver */

static struct virtio_console_control message;
static char text[200];		/* what follows it */

static bool get_message(void)
{
	uint32_t head, length;
	uint64_t at;

	fake_settle(fm);
	if (!driver_used(&d, CONTROL_RX, &head, &length))
		return false;
	at = CONTROL_IN + 256 * head;
	assert_in_range(length, sizeof(message), 250);
	memcpy(&message, fake_ram(fm, at, sizeof(message)), sizeof(message));
	memset(text, 0, sizeof(text));
	memcpy(text, fake_ram(fm, at + sizeof(message), length - sizeof(message)),
	       length - sizeof(message));
	return true;
}

static void expect(uint32_t id, uint16_t event, uint16_t value)
{
	if (!get_message())
		fail_msg("no message, but event %u is expected", event);
	assert_int_equal(message.id, id);
	assert_int_equal(message.event, event);
	assert_int_equal(message.value, value);
}

static void give_control_buffers(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer b = {
			CONTROL_IN + 256 * (d.q[CONTROL_RX].next_desc % d.q[CONTROL_RX].size), 250,
			true,
		};

		driver_add(&d, CONTROL_RX, &b, 1);
	}
	driver_notify(&d, CONTROL_RX);
	fake_settle(fm);
}

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control c = { .id = id, .event = event, .value = value };
	struct driver_buffer b[] = { { OUT, 3, false }, { OUT + 3, sizeof(c) - 3, false } };

	memcpy(fake_ram(fm, OUT, sizeof(c)), &c, sizeof(c));
	driver_add(&d, CONTROL_TX, b, 2);
	driver_notify(&d, CONTROL_TX);
	fake_settle(fm);
}

static void put(unsigned int queue, const char *s)
{
	struct driver_buffer b = { OUT + 64, (uint32_t)strlen(s), false };

	memcpy(fake_ram(fm, b.addr, b.length), s, b.length);
	driver_add(&d, queue, &b, 1);
	driver_notify(&d, queue);
	fake_settle(fm);
}

static void give_room(unsigned int queue, uint32_t size)
{
	struct driver_buffer b = {
		PORT_IN + 256 * (d.q[queue].next_desc % d.q[queue].size), size, true,
	};

	driver_add(&d, queue, &b, 1);
	driver_notify(&d, queue);
	fake_settle(fm);
}

static void expect_input(unsigned int queue, const char *s)
{
	uint32_t head, length;

	fake_settle(fm);
	assert_true(driver_used(&d, queue, &head, &length));
	assert_int_equal(length, strlen(s));
	assert_memory_equal(fake_ram(fm, PORT_IN + 256 * head, length), s, length);
}

static void start(void)
{
	driver_start(&d, UINT64_MAX, QUEUES);
	give_control_buffers(32);
	tell(UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
}

/* As Linux does it, up to where a program can open the ports. */
static void announce(void)
{
	start();
	for (uint32_t id = 1; id <= 2; id++)
		expect(id, VIRTIO_CONSOLE_PORT_ADD, 0);
	for (uint32_t id = 1; id <= 2; id++) {
		tell(id, VIRTIO_CONSOLE_PORT_READY, 1);
		expect(id, VIRTIO_CONSOLE_PORT_NAME, 1);
		assert_string_equal(text, id == 1 ? AGENT : "other");
		expect(id, VIRTIO_CONSOLE_PORT_OPEN, 0);
	}
	assert_false(get_message());
}

/* ------------------------------------------------------------------ the host */

static int host_connect(const char *path)
{
	int fd = local_socket_connect(path);

	assert_true(fd >= 0);
	fake_settle(fm);
	return fd;
}

static void host_send(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), strlen(s));
	fake_settle(fm);
}

static ssize_t host_read(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : n;
}

static void make(struct char_backend *console)
{
	struct vmm_error error = { "" };

	strcpy(directory, "/tmp/channel_test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(agent_path, sizeof(agent_path), "%s/agent", directory);
	snprintf(other_path, sizeof(other_path), "%s/other", directory);
	channels[0] = (struct channel_config){ AGENT, agent_path };
	channels[1] = (struct channel_config){ "other", other_path };
	fm = fake_machine_create(1);
	fm->config.channels = channels;
	fm->config.channel_count = 2;
	if (virtio_console_create(&fm->m, console, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
}

static int setup(void **state)
{
	make(NULL);
	return 0;
}

static int setup_console(void **state)
{
	struct char_backend *console;

	assert_int_equal(char_null_create(&console), 0);
	make(console);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return rmdir(directory);	/* the sockets are gone */
}

/* ------------------------------------------------------------------ */

static void talk(void **state)
{
	int fd, second;

	assert_int_equal(fake_read(fm, d.device + 4, 4), 3);
	announce();
	/* Nobody is there: output goes nowhere, and does not wait. */
	put(TX1, "lost");
	assert_true(driver_used(&d, TX1, NULL, NULL));
	fd = host_connect(agent_path);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	put(TX1, "{\"return\": 1}\n");
	assert_int_equal(host_read(fd), 14);
	assert_string_equal(text, "{\"return\": 1}\n");

	/* Input waits until a program in the guest has the port open, and has room. */
	give_room(RX1, 100);
	host_send(fd, "ping");
	assert_false(driver_used(&d, RX1, NULL, NULL));
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_input(RX1, "ping");
	host_send(fd, "0123456789");
	assert_false(driver_used(&d, RX1, NULL, NULL));
	give_room(RX1, 4);
	expect_input(RX1, "0123");
	give_room(RX1, 100);
	expect_input(RX1, "456789");
	assert_false(driver_used(&d, RX2, NULL, NULL));
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	give_room(RX1, 100);
	host_send(fd, "later");
	assert_false(driver_used(&d, RX1, NULL, NULL));
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_input(RX1, "later");

	/* One program at a time; the next one comes when it has gone. */
	second = host_connect(agent_path);
	host_send(second, "second");
	assert_false(get_message());
	close(fd);
	fake_settle(fm);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_room(RX1, 100);
	expect_input(RX1, "second");
	close(second);
	fake_settle(fm);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_false(get_message());
}

/* A program that does not read: the guest's buffers wait, and all of it arrives in the end. */
static void slow_reader(void **state)
{
	unsigned int queued = 0, used = 0;
	size_t got = 0;
	ssize_t n;
	char c = 0;
	int fd;

	announce();
	fd = host_connect(other_path);
	memset(fake_ram(fm, OUT, 0x8000), 'x', 0x8000);
	for (; queued < 100; queued++) {
		struct driver_buffer b = { OUT, 0x8000, false };

		driver_add(&d, TX2, &b, 1);
	}
	driver_notify(&d, TX2);
	fake_settle(fm);
	while (driver_used(&d, TX2, NULL, NULL))
		used++;
	assert_true(used < queued);
	for (unsigned int turn = 0; got < 100u * 0x8000 && turn < 1000000; turn++) {
		n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else
			fake_settle(fm);
	}
	assert_int_equal(got, 100 * 0x8000);
	while (driver_used(&d, TX2, NULL, NULL))
		used++;
	assert_int_equal(used, queued);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	/* One that leaves in the middle: what is left is dropped. */
	for (unsigned int i = 0; i < 100; i++) {
		struct driver_buffer b = { OUT, 0x8000, false };

		driver_add(&d, TX2, &b, 1);
	}
	driver_notify(&d, TX2);
	fake_settle(fm);
	close(fd);
	fake_settle(fm);
	used = 0;
	while (driver_used(&d, TX2, NULL, NULL))
		used++;
	assert_int_equal(used, 100);
}

static void with_console(void **state)
{
	start();
	expect(0, VIRTIO_CONSOLE_PORT_ADD, 0);
	expect(1, VIRTIO_CONSOLE_PORT_ADD, 0);
	expect(2, VIRTIO_CONSOLE_PORT_ADD, 0);
	tell(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	expect(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_false(get_message());
	put(TX0, "on the console");
	assert_true(driver_used(&d, TX0, NULL, NULL));

	/* A driver that knows of one port only. */
	driver_start(&d, ~(1ull << VIRTIO_CONSOLE_F_MULTIPORT), QUEUES);
	put(TX0, "still there");
	assert_true(driver_used(&d, TX0, NULL, NULL));
	put(TX1, "not there");
	assert_false(driver_used(&d, TX1, NULL, NULL));
	tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give_control_buffers(4);
	assert_false(get_message());
}

static void hostile(void **state)
{
	struct driver_buffer tiny = { OUT, 5, false }, small = { CONTROL_IN, 3, true };
	uint32_t length;

	/* Ports that were not announced, or do not exist. */
	driver_start(&d, UINT64_MAX, QUEUES);
	give_control_buffers(8);
	for (uint16_t event = 0; event < 10; event++)
		if (event != VIRTIO_CONSOLE_DEVICE_READY)
			for (uint32_t id = 0; id < 4; id++)
				tell(id, event, 1);
	tell(UINT32_MAX, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(0, VIRTIO_CONSOLE_DEVICE_READY, 0);
	assert_false(get_message());
	/* The console that there is not. */
	put(TX0, "x");
	assert_false(driver_used(&d, TX0, NULL, NULL));
	fake_write(fm, d.device + offsetof(struct virtio_console_config, emerg_wr), 4, '!');
	announce();
	tell(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(3, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(1, UINT16_MAX, 1);
	driver_add(&d, CONTROL_TX, &tiny, 1);
	driver_notify(&d, CONTROL_TX);
	fake_settle(fm);
	assert_false(get_message());
	/* Said again and again without buffers for answers: no more than one of each is owed. */
	driver_start(&d, UINT64_MAX, QUEUES);
	for (unsigned int i = 0; i < 100; i++)
		tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give_control_buffers(32);
	expect(1, VIRTIO_CONSOLE_PORT_ADD, 0);
	expect(2, VIRTIO_CONSOLE_PORT_ADD, 0);
	assert_false(get_message());
	/* A buffer that is too small gets what fits. */
	driver_start(&d, UINT64_MAX, QUEUES);
	driver_add(&d, CONTROL_RX, &small, 1);
	tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_true(driver_used(&d, CONTROL_RX, NULL, &length));
	assert_int_equal(length, 3);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void snapshot(void **state)
{
	struct state_buf saved = { 0 };
	struct device *dev;
	int fd;

	announce();
	fd = host_connect(agent_path);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-console0");
	fake_save(dev, &saved);
	close(fd);
	fake_machine_reset(fm);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	free(saved.data);
	fake_machine_resume(fm);
	fake_settle(fm);
	/* Whoever was there is not any more, and another one is welcome. */
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	expect(2, VIRTIO_CONSOLE_PORT_OPEN, 0);
	fd = host_connect(agent_path);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_room(RX1, 100);
	host_send(fd, "again");
	expect_input(RX1, "again");
	close(fd);
}

static void configuration(void **state)
{
	struct channel_config many[16];
	char long_name[200];
	struct virtio_device *vdev;
	struct vmm_error error = { "" };

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct channel_config){ "same", "/nonexistent/socket" };
	fm->config.channels = many;
	fm->config.channel_count = ARRAY_SIZE(many);
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -EINVAL);
	assert_non_null(strstr(error.text, "at most 14"));
	fm->config.channel_count = 1;
	error.text[0] = 0;
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -ENOENT);
	many[0].name = long_name;
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -EINVAL);
	many[0].name = "";
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -EINVAL);
	many[0] = (struct channel_config){ "a", agent_path };
	error.text[0] = 0;
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, agent_path));
	snprintf(long_name, sizeof(long_name), "%s/third", directory);
	many[0] = many[1] = (struct channel_config){ "a", long_name };
	fm->config.channel_count = 2;
	error.text[0] = 0;
	assert_int_equal(virtio_console_new(&fm->m, NULL, &vdev, &error), -EEXIST);
	assert_non_null(strstr(error.text, "'a'"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(talk), TEST(slow_reader),
		cmocka_unit_test_setup_teardown(with_console, setup_console, teardown),
		TEST(hostile), TEST(snapshot), TEST(configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
