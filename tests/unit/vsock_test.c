/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio socket device: connections in both directions between a guest's driver, which is the
 * test, and Unix sockets; flow control; and packets that no honest driver sends.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>

#include "fake_machine.h"
#include "vmm/char/local_socket.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define SLOT		1
#define CID		42
#define HOST		2
#define PORT		1234		/* of the host, with a listener */
#define GUEST_PORT	77
#define PACKET		DRIVER_BUFFERS			/* what the guest sends */
#define RX_BUFFERS	(DRIVER_BUFFERS + 0x40000)	/* where it receives */
#define RX_SIZE		4096
#define HDR		((uint32_t)sizeof(struct virtio_vsock_hdr))

enum { RX, TX, EVENT };

static char directory[32], path[64], port_path[80];
static struct fake_machine *fm;
static struct driver d;
static int listener;
static uint64_t rx_addr[1024];		/* by head */
static unsigned int rx_next;
static uint8_t *payload;		/* of the packet received last */

/* ------------------------------------------------------------------ the guest */

static void add_rx(unsigned int count)
{
	while (count--) {
		const uint64_t at = RX_BUFFERS + RX_SIZE * (rx_next++ % 256);
		struct driver_buffer b = { at, RX_SIZE, true };

		rx_addr[driver_add(&d, RX, &b, 1)] = b.addr;
	}
	driver_notify(&d, RX);
	fake_settle(fm);
}

static void start(unsigned int rx)
{
	driver_start(&d, UINT64_MAX, 3);
	rx_next = 0;
	if (rx)
		add_rx(rx);
}

static struct virtio_vsock_hdr packet(uint16_t op, uint32_t host_port, uint32_t guest_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID, .dst_cid = HOST, .src_port = guest_port, .dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 1 << 20,
	};
}

static void queue_packet(const struct virtio_vsock_hdr *hdr, const void *data, uint32_t size)
{
	static unsigned int turn;
	uint64_t at = PACKET + (turn++ % 16) * 0x4000;
	/* The header in two parts, the data in one. */
	struct driver_buffer b[] = { { at, 10, false }, { at + 10, HDR - 10, false },
				     { at + HDR, size, false } };

	memcpy(fake_ram(fm, at, HDR), hdr, HDR);
	if (size)
		memcpy(fake_ram(fm, at + HDR, size), data, size);
	driver_add(&d, TX, b, size ? 3 : 2);
}

static void send_packet(struct virtio_vsock_hdr hdr, const void *data, uint32_t size)
{
	queue_packet(&hdr, data, size);
	driver_notify(&d, TX);
	fake_settle(fm);
}

static void send_op(uint16_t op, uint32_t host_port, uint32_t guest_port)
{
	send_packet(packet(op, host_port, guest_port), NULL, 0);
}

static void send_data(uint32_t host_port, const void *data, uint32_t size)
{
	struct virtio_vsock_hdr hdr = packet(VIRTIO_VSOCK_OP_RW, host_port, GUEST_PORT);

	hdr.len = size;
	send_packet(hdr, data, size);
}

/* The next packet to the guest; its buffer goes back. */
static bool receive(struct virtio_vsock_hdr *hdr)
{
	static uint8_t copy[RX_SIZE];
	uint32_t head, length;

	fake_settle(fm);
	if (!driver_used(&d, RX, &head, &length))
		return false;
	memcpy(copy, fake_ram(fm, rx_addr[head], RX_SIZE), RX_SIZE);
	memcpy(hdr, copy, sizeof(*hdr));
	assert_int_equal(length, HDR + hdr->len);
	assert_int_equal(hdr->dst_cid, CID);
	payload = copy + HDR;
	return true;
}

static struct virtio_vsock_hdr expect(uint16_t op)
{
	struct virtio_vsock_hdr hdr;

	if (!receive(&hdr))
		fail_msg("no packet, but operation %u is expected", op);
	assert_int_equal(hdr.op, op);
	return hdr;
}

static void expect_nothing(void)
{
	struct virtio_vsock_hdr hdr;

	if (receive(&hdr))
		fail_msg("operation %u", hdr.op);
}

/* ------------------------------------------------------------------ the host */

static int host_accept(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static ssize_t host_read(int fd, char *text, size_t size)
{
	ssize_t n = recv(fd, text, size - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : n;
}

static void host_expect(int fd, const char *expected)
{
	char text[4096];

	assert_int_equal(host_read(fd, text, sizeof(text)), strlen(expected));
	assert_string_equal(text, expected);
}

static int host_connect(const char *greeting)
{
	int fd = local_socket_connect(path);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, greeting, strlen(greeting), 0), strlen(greeting));
	fake_settle(fm);
	return fd;
}

/* A connection that the guest began. Returns the host's end. */
static int connect_guest(void)
{
	struct virtio_vsock_hdr hdr;

	send_op(VIRTIO_VSOCK_OP_REQUEST, PORT, GUEST_PORT);
	hdr = expect(VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(hdr.src_cid, HOST);
	assert_int_equal(hdr.src_port, PORT);
	assert_int_equal(hdr.dst_port, GUEST_PORT);
	assert_true(hdr.buf_alloc >= 65536);
	assert_int_equal(hdr.fwd_cnt, 0);
	return host_accept();
}

/* ------------------------------------------------------------------ fixtures */

static int setup(void **state)
{
	struct vsock_config config = { .path = path, .cid = CID };
	struct vmm_error error = { "" };

	strcpy(directory, "/tmp/vsock_test.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/sock", directory);
	snprintf(port_path, sizeof(port_path), "%s_%u", path, PORT);
	listener = local_socket_listen(port_path, "test", &error);
	assert_true(listener >= 0);
	fm = fake_machine_create(1);
	if (virtio_vsock_create(&fm->m, &config, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	close(listener);
	unlink(port_path);
	/* The device's own socket is gone with it. */
	return rmdir(directory);
}

/* ------------------------------------------------------------------ honest guests */

static void guest_connects(void **state)
{
	struct virtio_vsock_hdr hdr;
	int fd;

	assert_int_equal(fake_read(fm, d.device, 4), CID);
	start(64);
	fd = connect_guest();
	send_data(PORT, "hello host", 10);
	host_expect(fd, "hello host");
	assert_int_equal(send(fd, "hello guest", 11, 0), 11);
	hdr = expect(VIRTIO_VSOCK_OP_RW);
	assert_int_equal(hdr.len, 11);
	assert_int_equal(hdr.fwd_cnt, 10);
	assert_memory_equal(payload, "hello guest", 11);
	send_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, PORT, GUEST_PORT);
	hdr = expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(hdr.fwd_cnt, 10);
	/* The guest closes: what it sent is there, then the end; and it is told so. */
	send_data(PORT, "bye", 3);
	hdr = packet(VIRTIO_VSOCK_OP_SHUTDOWN, PORT, GUEST_PORT);
	hdr.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
	send_packet(hdr, NULL, 0);
	expect(VIRTIO_VSOCK_OP_RST);
	host_expect(fd, "bye");
	host_expect(fd, "");
	close(fd);
	/* A port without a listener. */
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, PORT + 1, GUEST_PORT);
	send_packet(hdr, NULL, 0);
	hdr = expect(VIRTIO_VSOCK_OP_RST);
	assert_int_equal(hdr.src_port, PORT + 1);

	/* The port is free again. Now the host's program closes: the guest reads what there is,
	 * learns that nobody listens any more, and ends it. */
	fd = connect_guest();
	assert_int_equal(send(fd, "end", 3, 0), 3);
	close(fd);
	fake_settle(fm);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_SHUTDOWN).flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_RW).len, 3);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_SHUTDOWN).flags,
			 VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(PORT, "nobody reads it", 15);
	expect_nothing();
	send_op(VIRTIO_VSOCK_OP_RST, PORT, GUEST_PORT);
	expect_nothing();
}

static void host_connects(void **state)
{
	struct virtio_vsock_hdr hdr, other;
	char ok[32];
	int fd, fd2;

	/* Before there is a driver there is nobody to talk to. */
	fd = host_connect("CONNECT 5\n");
	host_expect(fd, "");
	close(fd);
	start(64);
	fd = host_connect("CONNECT 5\nearly data");
	hdr = expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(hdr.src_cid, HOST);
	assert_int_equal(hdr.dst_port, 5);
	expect_nothing();
	fd2 = host_connect("CONNECT 5\n");
	other = expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_true(other.src_port != hdr.src_port);
	send_op(VIRTIO_VSOCK_OP_RESPONSE, hdr.src_port, 5);
	snprintf(ok, sizeof(ok), "OK %u\n", hdr.src_port);
	host_expect(fd, ok);
	expect(VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(payload, "early data", 10);
	/* The guest does not want the other one. */
	send_op(VIRTIO_VSOCK_OP_RST, other.src_port, 5);
	host_expect(fd2, "");
	close(fd2);

	/* The host says that it is done, and still listens. */
	shutdown(fd, SHUT_WR);
	other = expect(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(other.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	other = packet(VIRTIO_VSOCK_OP_RW, hdr.src_port, 5);
	other.len = 4;
	send_packet(other, "last", 4);
	host_expect(fd, "last");
	other = packet(VIRTIO_VSOCK_OP_SHUTDOWN, hdr.src_port, 5);
	other.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	send_packet(other, NULL, 0);
	expect(VIRTIO_VSOCK_OP_RST);
	host_expect(fd, "");
	close(fd);

	/* It goes before the guest has answered. */
	fd = host_connect("CONNECT 4294967295\n");
	hdr = expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(hdr.dst_port, UINT32_MAX);
	close(fd);
	expect(VIRTIO_VSOCK_OP_RST);
}

static void greetings(void **state)
{
	static const char *const bad[] = {
		"CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT -1\n", "\n",
		"connect 5\n", "CONNECT 5 \n", "CONNECT 5555555555555555555555", "GET / HTTP/1.1\n",
	};

	start(8);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = host_connect(bad[i]);
		char text[8];

		/* What was not read makes it a reset instead of an end. */
		assert_true(host_read(fd, text, sizeof(text)) <= 0);
		assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
		close(fd);
	}
	expect_nothing();
	/* One that takes its time. */
	{
		int fd = host_connect("CONN");

		assert_int_equal(send(fd, "ECT 9", 5, 0), 5);
		fake_settle(fm);
		expect_nothing();
		assert_int_equal(send(fd, "\n", 1, 0), 1);
		assert_int_equal(expect(VIRTIO_VSOCK_OP_REQUEST).dst_port, 9);
		close(fd);
	}
}

/* More than any buffer holds, in both directions, while each side reads when it likes. */
static void flow(void **state)
{
	static uint8_t block[3000], seen[RX_SIZE];
	const uint32_t total = 2 << 20;
	uint32_t sent = 0, got = 0, told = 0, alloc = 0, in = 0, out = 0, updates = 0;
	struct virtio_vsock_hdr hdr;
	int fd;

	start(32);
	fd = connect_guest();
	for (unsigned int turn = 0; got < total || in < total; turn++) {
		assert_true(turn < 100000);
		/* The guest sends as much as it may. */
		if (!alloc)
			send_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, PORT, GUEST_PORT);
		while (sent < total && alloc - (sent - told) >= sizeof(block)) {
			for (unsigned int i = 0; i < sizeof(block); i++)
				block[i] = (uint8_t)((sent + i) * 7 >> 3);
			hdr = packet(VIRTIO_VSOCK_OP_RW, PORT, GUEST_PORT);
			hdr.len = total - sent < sizeof(block) ? total - sent : sizeof(block);
			hdr.fwd_cnt = in;
			hdr.buf_alloc = 10000;
			send_packet(hdr, block, hdr.len);
			sent += hdr.len;
		}
		while (receive(&hdr)) {
			told = hdr.fwd_cnt;
			alloc = hdr.buf_alloc;
			updates += hdr.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE;
			for (unsigned int i = 0; i < hdr.len; i++)
				assert_int_equal(payload[i], (uint8_t)((in + i) * 5 >> 2));
			in += hdr.len;
			add_rx(1);
		}
		/* It says what it has read now and then. */
		hdr = packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, GUEST_PORT);
		hdr.fwd_cnt = in;
		hdr.buf_alloc = 10000;
		send_packet(hdr, NULL, 0);
		for (unsigned int i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((out + i) * 5 >> 2);
		if (out < total) {
			uint32_t n = total - out < sizeof(block) ? total - out : sizeof(block);
			ssize_t done = send(fd, block, n, MSG_DONTWAIT);

			out += done > 0 ? (uint32_t)done : 0;
		}
		if (turn % 3 == 0) {
			ssize_t n = recv(fd, seen, sizeof(seen), MSG_DONTWAIT);

			for (ssize_t i = 0; i < n; i++)
				assert_int_equal(seen[i], (uint8_t)((got + i) * 7 >> 3));
			got += n > 0 ? (uint32_t)n : 0;
		}
	}
	assert_int_equal(got, total);
	assert_int_equal(in, total);
	assert_true(updates > 4);
	close(fd);
}

static void restarts(void **state)
{
	struct state_buf saved = { 0 };
	struct driver_buffer b = { RX_BUFFERS, 64, true };
	struct device *dev;
	uint32_t head, length;
	char text[8];
	int fd;

	start(16);
	fd = connect_guest();
	/* A driver that begins anew has no connections. */
	driver_set_status(&d, 0);
	fake_settle(fm);
	host_expect(fd, "");
	close(fd);
	start(16);
	fd = connect_guest();

	/* After a snapshot, neither: the guest is told so. Going on from one, it is not. */
	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-vsock0");
	fake_save(dev, &saved);
	fake_machine_resume(fm);
	fake_settle(fm);
	driver_add(&d, EVENT, &b, 1);
	driver_notify(&d, EVENT);
	fake_settle(fm);
	assert_false(driver_used(&d, EVENT, NULL, NULL));
	assert_int_equal(host_read(fd, text, sizeof(text)), -EAGAIN);
	fake_machine_reset(fm);
	fake_settle(fm);
	host_expect(fd, "");
	close(fd);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	free(saved.data);
	fake_machine_resume(fm);
	fake_settle(fm);
	assert_true(driver_used(&d, EVENT, &head, &length));
	assert_int_equal(length, 4);
	assert_int_equal(*(uint32_t *)fake_ram(fm, RX_BUFFERS, 4),
			 VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
}

static void listening(void **state)
{
	struct vsock_config config = { .path = path };
	struct vmm_error error = { "" };
	struct virtio_device *vdev;
	char long_path[200], other[80];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Taken. */
	assert_int_equal(virtio_vsock_new(&fm->m, &config, &vdev, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, path));
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = 0;
	config.path = long_path;
	error.text[0] = 0;
	assert_int_equal(virtio_vsock_new(&fm->m, &config, &vdev, &error), -ENAMETOOLONG);
	config.path = "/nonexistent/x";
	assert_int_equal(virtio_vsock_new(&fm->m, &config, &vdev, &error), -ENOENT);
	/* Left behind by a process that is no more. */
	snprintf(other, sizeof(other), "%s/other", directory);
	strcpy(address.sun_path, other);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	fd = local_socket_listen(other, "test", &error);
	assert_true(fd >= 0);
	close(fd);
	unlink(other);
	/* Somebody's file is not ours to remove. */
	close(creat(other, 0600));
	assert_int_equal(local_socket_listen(other, "test", &error), -EADDRINUSE);
	assert_int_equal(unlink(other), 0);
}

/* ------------------------------------------------------------------ hostile guests */

static void bad_packets(void **state)
{
	struct driver_buffer tiny = { PACKET, 10, false };
	struct virtio_vsock_hdr hdr;
	char text[8];
	int fd;

	start(64);
	/* No packet at all, and packets of others: dropped. */
	driver_add(&d, TX, &tiny, 1);
	driver_notify(&d, TX);
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, PORT, GUEST_PORT);
	hdr.src_cid = HOST;
	send_packet(hdr, NULL, 0);
	hdr.src_cid = UINT64_MAX;
	send_packet(hdr, NULL, 0);
	expect_nothing();
	/* To nobody, of a type that there is not, of a connection that there is not: refused. */
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, PORT, GUEST_PORT);
	hdr.dst_cid = 7;
	send_packet(hdr, NULL, 0);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_RST).src_cid, 7);
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, PORT, GUEST_PORT);
	hdr.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_packet(hdr, NULL, 0);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_RST).type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	for (uint16_t op = 0; op < 12; op++) {
		if (op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		send_op(op, PORT, GUEST_PORT);
		if (op != VIRTIO_VSOCK_OP_RST)
			expect(VIRTIO_VSOCK_OP_RST);
	}
	expect_nothing();

	/* Of a connection, but not as agreed: it ends. */
	for (unsigned int i = 0; i < 6; i++) {
		fd = connect_guest();
		hdr = packet(VIRTIO_VSOCK_OP_RW, PORT, GUEST_PORT);
		switch (i) {
		case 0:
			hdr.op = 0;
			break;
		case 1:
			hdr.op = UINT16_MAX;
			break;
		case 2:
			hdr.op = VIRTIO_VSOCK_OP_REQUEST;
			break;
		case 3:
			hdr.op = VIRTIO_VSOCK_OP_RESPONSE;
			break;
		case 4:
			hdr.len = 1;	/* that is not there */
			break;
		case 5:
			hdr.len = UINT32_MAX;
			break;
		}
		send_packet(hdr, NULL, 0);
		expect(VIRTIO_VSOCK_OP_RST);
		expect_nothing();
		assert_int_equal(host_read(fd, text, sizeof(text)), 0);
		close(fd);
	}
	/* Data after the end. */
	fd = connect_guest();
	hdr = packet(VIRTIO_VSOCK_OP_SHUTDOWN, PORT, GUEST_PORT);
	hdr.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	send_packet(hdr, NULL, 0);
	expect_nothing();
	send_data(PORT, "x", 1);
	expect(VIRTIO_VSOCK_OP_RST);
	host_expect(fd, "");
	close(fd);
}

/* More than was allowed, to a program that does not read. */
static void flood(void **state)
{
	static uint8_t block[8192];
	struct virtio_vsock_hdr hdr;
	unsigned int n;
	int fd;

	start(64);
	fd = connect_guest();
	for (n = 0; n < 1000; n++) {
		send_data(PORT, block, sizeof(block));
		if (receive(&hdr) && hdr.op == VIRTIO_VSOCK_OP_RST)
			break;
	}
	assert_true(n > 10 && n < 200);
	close(fd);
	/* A guest that says that it has no room, or talks nonsense about it. */
	fd = connect_guest();
	hdr = packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, GUEST_PORT);
	hdr.buf_alloc = 0;
	send_packet(hdr, NULL, 0);
	assert_int_equal(send(fd, "abc", 3, 0), 3);
	expect_nothing();
	hdr.fwd_cnt = 12345;
	hdr.buf_alloc = 2;
	send_packet(hdr, NULL, 0);
	expect_nothing();
	hdr.fwd_cnt = 0;
	send_packet(hdr, NULL, 0);
	assert_int_equal(expect(VIRTIO_VSOCK_OP_RW).len, 2);
	expect(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	expect_nothing();
	close(fd);
}

/* Packets that need an answer, without buffers for answers. */
static void no_buffers(void **state)
{
	struct virtio_vsock_hdr hdr = packet(VIRTIO_VSOCK_OP_RW, 1, 1);
	unsigned int used = 0, answers = 0;

	start(0);
	for (unsigned int i = 0; i < 200; i++)
		queue_packet(&hdr, NULL, 0);
	driver_notify(&d, TX);
	fake_settle(fm);
	while (driver_used(&d, TX, NULL, NULL))
		used++;
	assert_int_equal(used, 64);
	/* With buffers it goes on, and every packet has its answer. */
	for (unsigned int i = 0; i < 20; i++) {
		add_rx(20);
		while (receive(&hdr))
			answers++;
	}
	while (driver_used(&d, TX, NULL, NULL))
		used++;
	assert_int_equal(used, 200);
	assert_int_equal(answers, 200);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void small_buffers(void **state)
{
	struct driver_buffer b = { RX_BUFFERS, HDR - 1, true };

	start(0);
	driver_add(&d, RX, &b, 1);
	driver_notify(&d, RX);
	send_op(VIRTIO_VSOCK_OP_RW, 1, 1);
	fake_settle(fm);
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	start(4);
	close(connect_guest());
}

/* As many connections as there may be, and more. */
static void many(void **state)
{
	static int fds[600];
	struct virtio_vsock_hdr hdr;
	unsigned int connected = 0;

	start(200);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		send_op(VIRTIO_VSOCK_OP_REQUEST, PORT, 1000 + i);
		fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		while (receive(&hdr)) {
			connected += hdr.op == VIRTIO_VSOCK_OP_RESPONSE;
			add_rx(1);
		}
	}
	assert_int_equal(connected, 512);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	fake_settle(fm);
	/* They end: with the guest's last word, or without it when their places are needed. */
	for (unsigned int i = 0; i < 100; i++) {
		while (receive(&hdr))
			add_rx(1);
		send_op(VIRTIO_VSOCK_OP_RST, PORT, 1000 + i);
	}
	connected = 0;
	for (unsigned int i = 0; i < 200; i++) {
		int fd;

		send_op(VIRTIO_VSOCK_OP_REQUEST, PORT, 5000 + i);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		while (receive(&hdr)) {
			connected += hdr.op == VIRTIO_VSOCK_OP_RESPONSE;
			add_rx(1);
		}
		if (fd >= 0)
			close(fd);
	}
	assert_true(connected > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(guest_connects), TEST(host_connects), TEST(greetings), TEST(flow),
		TEST(restarts), TEST(listening), TEST(bad_packets), TEST(flood), TEST(no_buffers),
		TEST(small_buffers), TEST(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
