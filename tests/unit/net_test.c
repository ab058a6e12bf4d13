/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio network device in front of a backend that only writes down what it is given, as a
 * driver meets it and as a hostile one does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "fake_machine.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/net.h"
#include "vmm/net/offload.h"
#include "vmm/util.h"

#define ALL		UINT64_MAX
#define BIT64(n)	(1ull << (n))
#define SLOT		1
#define BUF		DRIVER_BUFFERS
#define CONTROL		(BUF + 0x100000)
#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define RX		0
#define TX		1
#define CTRL		2

#define EVERY_OFFLOAD	(NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO)

/* What the backend was told, and how it is to behave. */
static struct {
	struct net_backend backend;
	bool refuse;			/* frames of the guest's */
	unsigned int sent, refused, flushed, accepted, destroyed;
	struct virtio_net_hdr header;	/* of the last frame that was sent */
	uint8_t frame[NET_MAX_FRAME];
	size_t length;
	unsigned int queue;
	uint32_t offloads;
	unsigned int queues;
} fake;

static struct fake_machine *fm;
static struct driver d;

/* ------------------------------------------------------------------ the backend */

static bool fake_send(struct net_backend *backend, unsigned int queue,
		      const struct virtio_net_hdr *header, const struct iovec *iov,
		      unsigned int count, size_t length)
{
	size_t total = 0;

	if (fake.refuse) {
		fake.refused++;
		return false;
	}
	for (unsigned int i = 0; i < count; i++)
		total += iov[i].iov_len;
	assert_int_equal(total, length);
	assert_true(length >= NET_MIN_FRAME && length <= NET_MAX_FRAME);
	iov_read(iov, count, 0, fake.frame, length);
	fake.header = *header;
	fake.length = length;
	fake.queue = queue;
	fake.sent++;
	return true;
}

static void fake_flush(struct net_backend *backend)
{
	fake.flushed++;
}

static void fake_accept_input(struct net_backend *backend, unsigned int queue)
{
	fake.accepted |= 1u << queue;
}

static void fake_set_offloads(struct net_backend *backend, uint32_t offloads)
{
	fake.offloads = offloads;
}

static void fake_set_queues(struct net_backend *backend, unsigned int count)
{
	fake.queues = count;
}

static void fake_destroy(struct net_backend *backend)
{
	fake.destroyed++;
}

static const struct net_ops fake_ops = {
	.send = fake_send,
	.flush = fake_flush,
	.accept_input = fake_accept_input,
	.set_offloads = fake_set_offloads,
	.set_queues = fake_set_queues,
	.destroy = fake_destroy,
};

static void make(unsigned int queues, const struct net_config *config)
{
	struct vmm_error error = { "" };

	memset(&fake, 0, sizeof(fake));
	fake.backend = (struct net_backend){
		.ops = &fake_ops, .queues = queues, .sends = EVERY_OFFLOAD,
		.receives = EVERY_OFFLOAD, .link_up = true,
	};
	fake.queues = 1;
	fm = fake_machine_create(1);
	if (virtio_net_create(&fm->m, config, &fake.backend, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
}

static int setup(void **state)
{
	const struct net_config config = { .kind = NET_USER };

	make(1, &config);
	return 0;
}

static int setup_queues(void **state)
{
	const struct net_config config = {
		.kind = NET_TAP, .mtu = 9000, .mac = { 0x02, 1, 2, 3, 4, 5 },
	};

	make(4, &config);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	assert_int_equal(fake.destroyed, 1);
	return 0;
}

static bool give(const struct virtio_net_hdr *header, const void *frame, size_t length)
{
	static const struct virtio_net_hdr none;
	struct net_backend *b = &fake.backend;
	bool taken = b->front->receive(b->front_data, 0, header ? header : &none, frame, length);

	b->front->received(b->front_data, 0);
	return taken;
}

/* ------------------------------------------------------------------ the driver */

static uint64_t config(unsigned int offset, unsigned int size)
{
	return fake_read(fm, d.device + offset, size);
}

static bool got_msi(uint32_t data)
{
	bool found = false;

	for (unsigned int i = 0; i < fm->msi_count && i < FAKE_MSIS; i++)
		found |= fm->msi[i].data == data;
	fm->msi_count = 0;
	return found;
}

static void put_header(uint64_t at, struct virtio_net_hdr_v1 header)
{
	memcpy(fake_ram(fm, at, HEADER), &header, HEADER);
}

/* A frame with its header at BUF, as one buffer; returns the number of frames that got through. */
static unsigned int send(struct virtio_net_hdr_v1 header, size_t length)
{
	const struct driver_buffer buffer = { BUF, (uint32_t)(HEADER + length), false };
	unsigned int before = fake.sent;
	uint32_t used;

	put_header(BUF, header);
	driver_add(&d, TX, &buffer, 1);
	driver_notify(&d, TX);
	fake_settle(fm);
	assert_true(driver_used(&d, TX, NULL, &used));
	assert_int_equal(used, 0);
	assert_false(driver_used(&d, TX, NULL, NULL));
	return fake.sent - before;
}

/* Gives the device count buffers of a size to receive into. */
static void offer(unsigned int count, uint32_t size)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct driver_buffer buffer = { BUF + i * size, size, true };

		driver_add(&d, RX, &buffer, 1);
	}
	driver_notify(&d, RX);
	fake_settle(fm);
}

/* A command on the control queue; returns its answer. */
static uint8_t command_on(unsigned int queue, uint8_t class, uint8_t number, const void *data,
			  size_t length)
{
	uint8_t *p = fake_ram(fm, CONTROL, length + 3);
	const struct driver_buffer buffers[] = {
		{ CONTROL, 2, false }, { CONTROL + 2, (uint32_t)length, false },
		{ CONTROL + 2 + length, 1, true },
	};

	p[0] = class;
	p[1] = number;
	if (length)
		memcpy(p + 2, data, length);
	p[2 + length] = 0xaa;
	driver_add(&d, queue, buffers, 3);
	driver_notify(&d, queue);
	fake_settle(fm);
	assert_true(driver_used(&d, queue, NULL, NULL));
	return p[2 + length];
}

static uint8_t command(uint8_t class, uint8_t number, const void *data, size_t length)
{
	return command_on(CTRL, class, number, data, length);
}

static uint8_t rx_mode(uint8_t number, uint8_t on)
{
	return command(VIRTIO_NET_CTRL_RX, number, &on, 1);
}

static void fill(uint8_t *p, size_t length, unsigned int seed)
{
	for (size_t i = 0; i < length; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

/* ------------------------------------------------------------------ identity */

static void identity(void **state)
{
	uint64_t offered;

	assert_int_equal(fake_config_read(fm, SLOT, PCI_VENDOR_ID, 4), 0x10411af4);
	assert_int_equal(fake_config_read(fm, SLOT, PCI_CLASS_REVISION, 4), 0x02000001);
	driver_negotiate(&d, ALL);
	offered = d.features;
	assert_true(offered & BIT64(VIRTIO_NET_F_CSUM));
	assert_true(offered & BIT64(VIRTIO_NET_F_MRG_RXBUF));
	assert_true(offered & BIT64(VIRTIO_NET_F_STATUS));
	assert_true(offered & BIT64(VIRTIO_NET_F_GUEST_UFO));
	assert_false(offered & (BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_MTU)));
	assert_int_equal(config(0, 4), 0x12005452);
	assert_int_equal(config(4, 2), 0x5634);
	assert_int_equal(config(6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(config(8, 2), 1);
	/* All of it is for reading only. */
	fake_write(fm, d.device, 1, 0xff);
	assert_int_equal(config(0, 1), 0x52);
}

static void identity_of_tap(void **state)
{
	driver_negotiate(&d, ALL);
	assert_true(d.features & BIT64(VIRTIO_NET_F_MQ) && d.features & BIT64(VIRTIO_NET_F_MTU));
	assert_int_equal(config(0, 4), 0x03020102);
	assert_int_equal(config(8, 2), 4);
	assert_int_equal(config(10, 2), 9000);
	fake_write(fm, d.common + VIRTIO_PCI_COMMON_NUMQ, 2, 0);
	assert_int_equal(fake_read(fm, d.common + VIRTIO_PCI_COMMON_NUMQ, 2), 9);
}

/* What the backend can do, and no more, is offered. */
static void modest_backend(void **state)
{
	const struct net_config config = { .kind = NET_USER };
	const uint64_t offloads = BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_UFO) |
				  BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GUEST_TSO4) |
				  BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	struct virtio_device *vdev;

	fake.backend.sends = NET_CSUM | NET_TSO6;
	fake.backend.receives = NET_TSO4;	/* without the checksum: nothing */
	assert_int_equal(virtio_net_new(&fm->m, &config, &fake.backend, &vdev, NULL), 0);
	assert_true(vdev->host_features & BIT64(VIRTIO_NET_F_CSUM));
	assert_true(vdev->host_features & BIT64(VIRTIO_NET_F_HOST_TSO6));
	assert_false(vdev->host_features & offloads);
	/* The second device behind user networking has the next address. */
	assert_int_equal(vdev->config[5], 0x57);
	vdev->ops->destroy(vdev);
	fake.destroyed = 0;
}

/* ------------------------------------------------------------------ sending */

static void sending(void **state)
{
	uint8_t *p = fake_ram(fm, BUF, 0x10000);
	/* A header cut in two, an empty piece, and a frame cut where nobody would. */
	const struct driver_buffer pieces[] = {
		{ BUF, 5, false }, { BUF + 5, HEADER, false }, { BUF, 0, false },
		{ BUF + 5 + HEADER, 1, false }, { BUF + 6 + HEADER, 94, false },
	};

	driver_start(&d, ALL, 3);
	fill(p, 0x10000, 1);
	memset(p, 0, HEADER);
	driver_add(&d, TX, pieces, ARRAY_SIZE(pieces));
	driver_notify(&d, TX);
	fake_settle(fm);
	assert_int_equal(fake.sent, 1);
	assert_int_equal(fake.length, 100);
	assert_memory_equal(fake.frame, p + HEADER, 100);
	assert_int_equal(fake.flushed, 1);
	assert_true(driver_used(&d, TX, NULL, NULL));
	assert_true(got_msi(TX));

	/* The smallest and the largest that there is, and those just beyond. */
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, NET_MIN_FRAME), 1);
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, NET_MIN_FRAME - 1), 0);
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, NET_MAX_FRAME), 1);
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, NET_MAX_FRAME + 1), 0);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Not even a header; nothing at all; only something to write to. */
static void sending_nothing(void **state)
{
	const struct driver_buffer none[] = {
		{ BUF, HEADER - 1, false }, { BUF, 0, false }, { BUF, 100, true },
	};

	driver_start(&d, ALL, 3);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		driver_add(&d, TX, &none[i], 1);
		driver_notify(&d, TX);
		fake_settle(fm);
		assert_true(driver_used(&d, TX, NULL, NULL));
	}
	assert_int_equal(fake.sent, 0);
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, 60), 1);
}

#define CSUM	VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4	VIRTIO_NET_HDR_GSO_TCPV4

static void headers(void **state)
{
	static const struct {
		struct virtio_net_hdr_v1 header;
		bool good;
	} cases[] = {
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16 }, true },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 164 }, true },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 165 }, false },
		{ { .flags = CSUM, .csum_start = 13, .csum_offset = 16 }, false },
		{ { .flags = CSUM, .csum_start = 65535, .csum_offset = 65535 }, false },
		{ { .flags = CSUM, .csum_start = 65530, .csum_offset = 6 }, false },
		{ { .flags = CSUM, .csum_start = 14, .csum_offset = 65535 }, false },
		/* What is not in use is not looked at. */
		{ { .flags = 0, .csum_start = 65535, .csum_offset = 65535, .gso_size = 1 }, true },
		{ { .flags = 0xfe, .hdr_len = 65535 }, true },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16, .hdr_len = 65535,
		    .gso_type = TCP4, .gso_size = 100 }, true },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16, .gso_type = TCP4 }, false },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16, .gso_type = TCP4,
		    .gso_size = 1 }, false },
		{ { .flags = 0, .csum_start = 34, .csum_offset = 16, .gso_type = TCP4,
		    .gso_size = 100 }, false },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16, .gso_type = 2,
		    .gso_size = 100 }, false },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 16, .gso_type = 0x7f,
		    .gso_size = 100 }, false },
		{ { .flags = CSUM, .csum_start = 34, .csum_offset = 6,
		    .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 100 }, true },
		{ { .flags = CSUM, .csum_start = 54, .csum_offset = 16,
		    .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN,
		    .gso_size = 100 }, true },
	};

	driver_start(&d, ALL, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (send(cases[i].header, 200) != cases[i].good)
			fail_msg("header %zu", i);
		if (!cases[i].good)
			continue;
		assert_true(fake.header.hdr_len <= 200);
		if (!(cases[i].header.flags & CSUM))
			assert_int_equal(fake.header.csum_start | fake.header.gso_size |
					 fake.header.flags, 0);
	}
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);

	/* A driver that has agreed to less may do less. */
	driver_start(&d, ~BIT64(VIRTIO_NET_F_HOST_TSO4), 3);
	assert_int_equal(send(cases[0].header, 200), 1);
	assert_int_equal(send(cases[9].header, 200), 0);
	/* One that wants segments cut but no checksums made wants what is not there. */
	driver_start(&d, ~BIT64(VIRTIO_NET_F_CSUM), 3);
	assert_int_equal(send(cases[0].header, 200), 0);
	assert_int_equal(send(cases[9].header, 200), 0);
	assert_int_equal(send(cases[7].header, 200), 1);
}

static void large_segments(void **state)
{
	const struct virtio_net_hdr_v1 header = {
		.flags = CSUM, .gso_type = TCP4 | VIRTIO_NET_HDR_GSO_ECN, .hdr_len = 54,
		.gso_size = 1448, .csum_start = 34, .csum_offset = 16,
	};

	driver_start(&d, ALL, 3);
	fill(fake_ram(fm, BUF, 0x10000), 0x10000, 5);
	assert_int_equal(send(header, 60000), 1);
	assert_memory_equal(&fake.header, &header, sizeof(fake.header));
	assert_int_equal(fake.length, 60000);
	assert_memory_equal(fake.frame, fake_ram(fm, BUF + HEADER, 60000), 60000);
}

static void backpressure(void **state)
{
	const struct driver_buffer buffer = { BUF, HEADER + 60, false };
	struct net_backend *b = &fake.backend;

	driver_start(&d, ALL, 3);
	put_header(BUF, (struct virtio_net_hdr_v1){ 0 });
	fake.refuse = true;
	for (unsigned int i = 0; i < 10; i++)
		driver_add(&d, TX, &buffer, 1);
	driver_notify(&d, TX);
	fake_settle(fm);
	assert_int_equal(fake.refused, 1);
	assert_false(driver_used(&d, TX, NULL, NULL));
	/* A reset in between forgets them. */
	driver_start(&d, ALL, 3);
	put_header(BUF, (struct virtio_net_hdr_v1){ 0 });
	b->front->writable(b->front_data, 0);
	fake_settle(fm);
	assert_int_equal(fake.refused, 1);
	for (unsigned int i = 0; i < 10; i++)
		driver_add(&d, TX, &buffer, 1);
	driver_notify(&d, TX);
	fake_settle(fm);
	fake.refuse = false;
	b->front->writable(b->front_data, 0);
	fake_settle(fm);
	assert_int_equal(fake.sent, 10);
	for (unsigned int i = 0; i < 10; i++)
		assert_true(driver_used(&d, TX, NULL, NULL));
	assert_true(got_msi(TX));
}

/* ------------------------------------------------------------------ receiving */

static void receiving(void **state)
{
	const struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16,
	};
	struct virtio_net_hdr_v1 got;
	uint8_t frame[1514];
	uint32_t length;

	fill(frame, sizeof(frame), 3);
	/* Nobody listens: it is lost, and nobody waits. */
	assert_true(give(NULL, frame, sizeof(frame)));
	driver_start(&d, ALL, 3);
	assert_int_equal(fake.offloads, EVERY_OFFLOAD);
	fake.accepted = 0;
	/* The driver has no buffers: the backend waits, and is called when there are some. */
	assert_false(give(NULL, frame, sizeof(frame)));
	assert_int_equal(fake.accepted, 0);
	offer(4, 2048);
	assert_int_equal(fake.accepted, 1);
	assert_true(give(&header, frame, sizeof(frame)));
	assert_true(got_msi(RX));
	assert_true(driver_used(&d, RX, NULL, &length));
	assert_int_equal(length, HEADER + sizeof(frame));
	memcpy(&got, fake_ram(fm, BUF, HEADER), HEADER);
	assert_memory_equal(&got, &header, sizeof(header));
	assert_int_equal(got.num_buffers, 1);
	assert_memory_equal(fake_ram(fm, BUF + HEADER, sizeof(frame)), frame, sizeof(frame));
	/* Impossible lengths. */
	assert_true(give(NULL, frame, NET_MIN_FRAME - 1));
	assert_false(driver_used(&d, RX, NULL, NULL));
}

static void merging(void **state)
{
	static uint8_t frame[9014], got[9014];
	uint32_t lengths[8], total = 0;
	struct virtio_net_hdr_v1 header;

	fill(frame, sizeof(frame), 9);
	driver_start(&d, ALL, 3);
	/* Three would be too few, whatever is written to them in the attempt. */
	offer(3, 2048);
	assert_false(give(NULL, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	for (unsigned int i = 3; i < 6; i++) {
		const struct driver_buffer buffer = { BUF + i * 2048, 2048, true };

		driver_add(&d, RX, &buffer, 1);
	}
	assert_int_equal(fake.accepted & 1, 1);
	fake.accepted = 0;
	driver_notify(&d, RX);
	fake_settle(fm);
	assert_int_equal(fake.accepted, 1);
	assert_true(give(NULL, frame, sizeof(frame)));
	for (unsigned int i = 0; i < 5; i++) {
		unsigned int skip = i ? 0 : HEADER;
		uint32_t head;

		assert_true(driver_used(&d, RX, &head, &lengths[i]));
		assert_int_equal(head, i);
		memcpy(got + total, fake_ram(fm, BUF + i * 2048 + skip, lengths[i] - skip),
		       lengths[i] - skip);
		total += lengths[i] - skip;
	}
	assert_false(driver_used(&d, RX, NULL, NULL));
	assert_int_equal(total, sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
	memcpy(&header, fake_ram(fm, BUF, HEADER), HEADER);
	assert_int_equal(header.num_buffers, 5);
}

static void not_merging(void **state)
{
	static uint8_t frame[9014];

	driver_start(&d, ~BIT64(VIRTIO_NET_F_MRG_RXBUF), 3);
	offer(8, 2048);
	/* Too large for one: lost, and the buffer stays for the next. */
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	assert_true(give(NULL, frame, 60));
	assert_true(driver_used(&d, RX, NULL, NULL));
}

/* Buffers of a byte each: all of the queue does not hold the frame, and never will. */
static void tiny_buffers(void **state)
{
	static uint8_t frame[9014];
	const struct driver_buffer first = { BUF, HEADER, true }, tiny = { BUF + 64, 1, true };

	driver_start(&d, ALL, 3);
	driver_add(&d, RX, &first, 1);
	for (unsigned int i = 1; i < d.q[RX].size; i++)
		driver_add(&d, RX, &tiny, 1);
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_true(give(NULL, frame, 60));
	for (unsigned int i = 0; i < 61; i++)
		assert_true(driver_used(&d, RX, NULL, NULL));
	assert_false(driver_used(&d, RX, NULL, NULL));
}

static void broken_buffers(void **state)
{
	static const struct driver_buffer bad[] = {
		{ BUF, HEADER - 1, true },	/* too small for a header */
		{ BUF, 2048, false },		/* not to be written to */
		{ BUF, 0, true },
		{ FAKE_MEMORY - 10, 2048, true },
	};
	uint8_t frame[60] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_start(&d, ALL, 3);
		driver_add(&d, RX, &bad[i], 1);
		got_msi(0);
		/* Lost, rather than waiting for a driver that has to begin anew. */
		assert_true(give(NULL, frame, sizeof(frame)));
		assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_true(got_msi(3));
		assert_true(give(NULL, frame, sizeof(frame)));
	}
	/* A chain in the middle of a packet that cannot be. */
	driver_start(&d, ALL, 3);
	driver_add(&d, RX, &(struct driver_buffer){ BUF, 40, true }, 1);
	driver_offer(&d, RX, 0xffff);
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_start(&d, ALL, 3);
	offer(1, 2048);
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_true(driver_used(&d, RX, NULL, NULL));
}

/* What the driver does not understand does not reach it. */
static void offloads_not_taken(void **state)
{
	const struct virtio_net_hdr large = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16,
		.gso_type = TCP4, .gso_size = 1448,
	}, partial = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16,
	}, valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	uint64_t off = BIT64(VIRTIO_NET_F_GUEST_CSUM);
	struct virtio_net_hdr_v1 got;
	uint8_t frame[200] = { 0 };

	driver_start(&d, ~BIT64(VIRTIO_NET_F_GUEST_CSUM), 3);
	assert_int_equal(fake.offloads, 0);
	offer(4, 2048);
	assert_true(give(&large, frame, sizeof(frame)));
	assert_true(give(&partial, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	assert_true(give(&valid, frame, sizeof(frame)));
	assert_true(driver_used(&d, RX, NULL, NULL));
	memcpy(&got, fake_ram(fm, BUF, HEADER), HEADER);
	assert_int_equal(got.flags, 0);

	/* Taken at first, and then not any more. */
	driver_start(&d, ALL, 3);
	offer(4, 2048);
	assert_true(give(&large, frame, sizeof(frame)));
	assert_true(driver_used(&d, RX, NULL, NULL));
	assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
				 &off, 8), VIRTIO_NET_OK);
	assert_int_equal(fake.offloads, NET_CSUM);
	assert_true(give(&large, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	off = BIT64(VIRTIO_NET_F_CSUM);
	assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
				 &off, 8), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
				 &off, 4), VIRTIO_NET_ERR);
	/* A reset forgets it. */
	driver_start(&d, ALL, 3);
	assert_int_equal(fake.offloads, EVERY_OFFLOAD);
}

/* ------------------------------------------------------------------ the control queue */

static const uint8_t own[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static const uint8_t other[6] = { 0x02, 0, 0, 0, 0, 9 };
static const uint8_t group[6] = { 0x33, 0x33, 0, 0, 0, 1 };
static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* Whether a frame to an address gets through, with a VLAN tag or (-1) without. */
static bool gets_through(const uint8_t mac[6], int vlan)
{
	uint8_t frame[60] = { 0 };

	memcpy(frame, mac, 6);
	if (vlan >= 0) {
		net_put16(frame + 12, 0x8100);
		net_put16(frame + 14, (unsigned int)vlan | 0x2000);
	}
	offer(1, 2048);
	assert_true(give(NULL, frame, sizeof(frame)));
	if (driver_used(&d, RX, NULL, NULL))
		return true;
	/* The buffer is still there; use it up, so that the queue does not fill. */
	memcpy(frame, all, 6);
	return false;
}

static void filter(void **state)
{
	struct {
		uint32_t unicasts;
		uint8_t unicast[6];
		uint32_t multicasts;
		uint8_t multicast[6];
	} __attribute__((packed)) table = { .unicasts = 1, .multicasts = 1 };

	driver_start(&d, ~BIT64(VIRTIO_NET_F_CTRL_VLAN), 3);
	/* Until it is told otherwise, everything. */
	assert_true(gets_through(own, -1) && gets_through(other, -1) && gets_through(group, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(gets_through(own, -1) && gets_through(all, -1));
	assert_false(gets_through(other, -1));
	assert_false(gets_through(group, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_ALLMULTI, 1), VIRTIO_NET_OK);
	assert_true(gets_through(group, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_NOMULTI, 1), VIRTIO_NET_OK);
	assert_false(gets_through(group, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_OK);
	assert_true(gets_through(other, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_OK);
	assert_false(gets_through(own, -1));
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
	assert_false(gets_through(all, -1));

	driver_start(&d, ~BIT64(VIRTIO_NET_F_CTRL_VLAN), 3);
	rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 0);
	memcpy(table.unicast, other, 6);
	memcpy(table.multicast, group, 6);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &table,
				 sizeof(table)), VIRTIO_NET_OK);
	assert_true(gets_through(other, -1) && gets_through(group, -1) && gets_through(own, -1));
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, group, 6),
			 VIRTIO_NET_OK);
	assert_memory_equal(&(uint32_t){ (uint32_t)config(0, 4) }, group, 4);
	assert_false(gets_through(own, -1));
	driver_set_status(&d, 0);
	assert_int_equal(config(0, 4), 0x12005452);
}

static void tables(void **state)
{
	static uint8_t data[4 + 6 * 100 + 4];
	uint32_t count = 100;

	driver_start(&d, ALL, 3);
	rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 0);
	/* More than we keep: then all unicast, rather than not all of them. */
	memcpy(data, &count, 4);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				 sizeof(data)), VIRTIO_NET_OK);
	assert_true(gets_through(other, -1));
	assert_false(gets_through(group, -1));
	/* Counts that the data does not have, and data that no count has. */
	for (count = 101; count; count <<= 1) {
		memcpy(data, &count, 4);
		assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
					 sizeof(data)), VIRTIO_NET_ERR);
	}
	count = UINT32_MAX;
	memcpy(data, &count, 4);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				 sizeof(data)), VIRTIO_NET_ERR);
	memset(data, 0, sizeof(data));
	for (size_t length = 0; length < 20; length++)
		assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
					 length), length == 8 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	assert_false(gets_through(other, -1));
}

static void vlans(void **state)
{
	uint16_t vlan = 7;

	driver_start(&d, ALL, 3);
	assert_true(gets_through(own, -1));
	assert_false(gets_through(own, 7));
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2),
			 VIRTIO_NET_OK);
	assert_true(gets_through(own, 7));
	assert_false(gets_through(own, 8));
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &vlan, 2),
			 VIRTIO_NET_OK);
	assert_false(gets_through(own, 7));
	vlan = 4096;
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2),
			 VIRTIO_NET_ERR);
	driver_start(&d, ~BIT64(VIRTIO_NET_F_CTRL_VLAN), 3);
	assert_true(gets_through(own, 7));
}

static void bad_commands(void **state)
{
	const struct driver_buffer no_answer = { CONTROL, 3, false };
	uint8_t data[16] = { 1 };

	driver_start(&d, ALL, 3);
	assert_int_equal(command(6, 0, data, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(255, 255, data, 1), VIRTIO_NET_ERR);
	assert_int_equal(rx_mode(6, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, 0, data, 0), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, 0, data, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, 2, data, 6), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, data, 5),
			 VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, 2, data, 2), VIRTIO_NET_ERR);
	/* One queue is all there is, and nobody asked for an announcement. */
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, 0, data, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_ANNOUNCE, 0, data, 0), VIRTIO_NET_ERR);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	/* No place for an answer. */
	driver_add(&d, CTRL, &no_answer, 1);
	driver_notify(&d, CTRL);
	fake_settle(fm);
	assert_true(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	/* Commands of features that were not agreed on. */
	driver_start(&d, BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_NET_F_CTRL_VQ), 3);
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 6),
			 VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, 0, data, 2), VIRTIO_NET_ERR);
}

static void several_queues(void **state)
{
	const struct driver_buffer tx = { BUF, HEADER + 60, false }, rx = { BUF, 2048, true };
	struct net_backend *b = &fake.backend;
	const struct virtio_net_hdr none = { 0 };
	uint8_t frame[60] = { 0 };
	uint16_t pairs;

	driver_start(&d, ALL, 9);
	put_header(BUF, (struct virtio_net_hdr_v1){ 0 });
	/* Only the first pair, so far. */
	driver_add(&d, 3, &tx, 1);
	driver_notify(&d, 3);
	fake_settle(fm);
	assert_int_equal(fake.sent, 0);
	for (pairs = 0; pairs < 8; pairs++) {
		assert_int_equal(command_on(8, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
					    &pairs, 2),
				 pairs >= 1 && pairs <= 4 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	assert_int_equal(fake.queues, 4);
	assert_int_equal(fake.sent, 1);
	assert_int_equal(fake.queue, 1);
	assert_true(driver_used(&d, 3, NULL, NULL));
	driver_add(&d, 6, &rx, 1);
	assert_true(b->front->receive(b->front_data, 3, &none, frame, sizeof(frame)));
	b->front->received(b->front_data, 3);
	assert_true(driver_used(&d, 6, NULL, NULL));
	assert_true(got_msi(6));
	/* Back to one: what still comes for another goes to the first. */
	pairs = 1;
	command_on(8, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2);
	assert_int_equal(fake.queues, 1);
	driver_add(&d, 0, &rx, 1);
	assert_true(b->front->receive(b->front_data, 3, &none, frame, sizeof(frame)));
	assert_true(driver_used(&d, 0, NULL, NULL));
	/* No room there: it is the one who brought it that waits, and is called. */
	assert_false(b->front->receive(b->front_data, 3, &none, frame, sizeof(frame)));
	fake.accepted = 0;
	driver_add(&d, 0, &rx, 1);
	driver_notify(&d, 0);
	fake_settle(fm);
	assert_true(fake.accepted & 8);

	/* A driver that knows of no further queues has its control queue behind the first pair. */
	driver_start(&d, ~BIT64(VIRTIO_NET_F_MQ), 3);
	assert_int_equal(rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_ERR);
}

/* ------------------------------------------------------------------ link, pause, state */

static void link(void **state)
{
	struct net_backend *b = &fake.backend;

	driver_start(&d, ALL, 3);
	got_msi(0);
	b->link_up = false;
	b->front->link_changed(b->front_data);
	assert_true(got_msi(3));
	assert_int_equal(config(6, 2), 0);
	b->front->link_changed(b->front_data);
	assert_false(got_msi(3));
	b->link_up = true;
	b->front->link_changed(b->front_data);
	assert_true(got_msi(3));
	assert_int_equal(config(6, 2), VIRTIO_NET_S_LINK_UP);
	/* While nobody drives the device it changes too, silently. */
	driver_set_status(&d, 0);
	b->link_up = false;
	b->front->link_changed(b->front_data);
	assert_false(got_msi(3));
	driver_start(&d, ALL, 3);
	assert_int_equal(config(6, 2), 0);
}

/* The user pulls the cable, and plugs it in again; what the backend says meanwhile is not lost. */
static void cable(void **state)
{
	struct device *dev = fake_device(fm, "virtio-net0");
	struct net_backend *b = &fake.backend;
	struct state_buf saved = { 0 };
	uint8_t frame[60] = { 0 };
	struct net_info info;

	driver_start(&d, ALL, 3);
	offer(4, 2048);
	got_msi(0);
	assert_int_equal(virtio_net_set_link(&fm->m, 0, true), 0);
	assert_false(got_msi(3));
	assert_int_equal(virtio_net_set_link(&fm->m, 0, false), 0);
	assert_true(got_msi(3));
	assert_int_equal(config(6, 2), 0);
	/* Nothing gets through, and nobody waits. */
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_false(driver_used(&d, RX, NULL, NULL));
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, 60), 0);
	assert_int_equal(virtio_net_query(&fm->m, 0, &info), 0);
	assert_false(info.plugged || info.link_up);
	assert_int_equal(info.received.frames + info.sent.frames, 0);
	/* The other end goes and comes: that is not to be seen from here. */
	b->link_up = false;
	b->front->link_changed(b->front_data);
	b->link_up = true;
	b->front->link_changed(b->front_data);
	assert_int_equal(config(6, 2), 0);
	/* Nor does the guest get around it by a reset, or a snapshot. */
	driver_start(&d, ALL, 3);
	assert_int_equal(config(6, 2), 0);
	fake_machine_pause(fm);
	fake_save(dev, &saved);
	assert_int_equal(virtio_net_set_link(&fm->m, 0, true), 0);
	fake_machine_reset(fm);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	fake_machine_resume(fm);
	free(saved.data);
	assert_int_equal(virtio_net_query(&fm->m, 0, &info), 0);
	assert_false(info.plugged);

	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	driver_start(&d, ALL, 3);
	offer(4, 2048);
	got_msi(0);
	assert_int_equal(virtio_net_set_link(&fm->m, 0, true), 0);
	assert_true(got_msi(3));
	assert_int_equal(config(6, 2), VIRTIO_NET_S_LINK_UP);
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_true(driver_used(&d, RX, NULL, NULL));
	assert_int_equal(send((struct virtio_net_hdr_v1){ 0 }, 70), 1);
	assert_int_equal(virtio_net_query(&fm->m, 0, &info), 0);
	assert_true(info.plugged && info.link_up);
	assert_int_equal(info.received.frames, 1);
	assert_int_equal(info.received.bytes, 60);
	assert_int_equal(info.sent.frames, 1);
	assert_int_equal(info.sent.bytes, 70);
	assert_memory_equal(info.mac, own, sizeof(info.mac));

	assert_int_equal(virtio_net_set_link(&fm->m, 1, true), -ENODEV);
	assert_int_equal(virtio_net_query(&fm->m, 1, &info), -ENODEV);
}

static void pausing(void **state)
{
	const struct driver_buffer buffer = { BUF, HEADER + 60, false };
	struct net_backend *b = &fake.backend;
	uint8_t frame[60] = { 0 };

	driver_start(&d, ALL, 3);
	offer(4, 2048);
	fake.accepted = 0;
	fake_machine_pause(fm);
	assert_false(give(NULL, frame, sizeof(frame)));
	b->link_up = false;
	b->front->link_changed(b->front_data);
	driver_add(&d, TX, &buffer, 1);
	driver_notify(&d, TX);
	fake_settle(fm);
	assert_int_equal(fake.sent, 0);
	got_msi(0);
	fake_machine_resume(fm);
	fake_settle(fm);
	assert_int_equal(fake.sent, 1);
	assert_int_equal(fake.accepted, 1);
	assert_true(got_msi(3));
	assert_true(give(NULL, frame, sizeof(frame)));
	assert_true(driver_used(&d, RX, NULL, NULL));
}

static void saving(void **state)
{
	struct device *dev = fake_device(fm, "virtio-net0");
	struct state_buf buf = { 0 };
	uint16_t vlan = 99;

	driver_start(&d, ALL, 3);
	offer(4, 2048);
	rx_mode(VIRTIO_NET_CTRL_RX_PROMISC, 0);
	command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2);
	command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6);
	fake_machine_pause(fm);
	fake_save(dev, &buf);
	fake_machine_reset(fm);
	assert_int_equal(config(0, 1), 0xff);	/* the BAR is gone with the reset */
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &buf), 0);
	got_msi(0);
	fake_machine_resume(fm);
	fake_settle(fm);
	/* The guest is asked to tell the network where it is, and says that it has. */
	assert_true(got_msi(3));
	assert_int_equal(config(6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_OK);
	assert_int_equal(config(6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_ERR);
	assert_memory_equal(&(uint32_t){ (uint32_t)config(0, 4) }, other, 4);
	assert_true(gets_through(other, 99));
	assert_false(gets_through(own, -1));
	assert_int_equal(fake.offloads, EVERY_OFFLOAD);

	/* State that somebody has had his hands in. */
	for (size_t i = 0; i < buf.length; i++) {
		buf.data[i] ^= 0xff;
		fake_machine_pause(fm);
		if (fake_load(dev, &buf))
			fake_machine_reset(fm);
		else
			fake_machine_resume(fm);
		fake_settle(fm);
		buf.data[i] ^= 0xff;
	}
	free(buf.data);
}

/* ------------------------------------------------------------------ anything at all */

static void anything(void **state)
{
	uint8_t frame[256];

	srandom(1);
	for (unsigned int round = 0; round < 20000; round++) {
		unsigned int queue = (unsigned int)random() % 3;
		struct driver_buffer buffers[3];
		uint8_t *p;

		if (!(round % 100))
			driver_start(&d, ((uint64_t)random() << 33 ^ (uint64_t)random() << 8) |
					 BIT64(VIRTIO_F_VERSION_1), 3);
		p = fake_ram(fm, BUF, 4096);
		for (unsigned int i = 0; i < 64; i++)
			p[i] = (uint8_t)(random() & (random() & 1 ? 7 : 255));
		for (unsigned int i = 0; i < 3; i++)
			buffers[i] = (struct driver_buffer){
				BUF + (uint64_t)random() % 32,
				(uint32_t)random() % (random() % 8 ? 40 : 70000),
				queue == RX || (i == 2 && random() % 8),
			};
		driver_add(&d, queue, buffers, 3);
		driver_notify(&d, queue);
		fake_settle(fm);
		while (driver_used(&d, queue, NULL, NULL))
			;
		for (unsigned int i = 0; i < sizeof(frame); i++)
			frame[i] = (uint8_t)random();
		give(&(struct virtio_net_hdr){ .flags = (uint8_t)(random() % 4),
					       .gso_type = (uint8_t)(random() % 5),
					       .gso_size = 100 }, frame, sizeof(frame));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define Q(name) cmocka_unit_test_setup_teardown(name, setup_queues, teardown)
		T(identity), Q(identity_of_tap), T(modest_backend), T(sending), T(sending_nothing),
		T(headers), T(large_segments), T(backpressure), T(receiving), T(merging),
		T(not_merging), T(tiny_buffers), T(broken_buffers), T(offloads_not_taken),
		T(filter), T(tables), T(vlans), T(bad_commands), Q(several_queues), T(link), T(cable),
		T(pausing), T(saving), T(anything),
	};

	return cmocka_run_group_tests_name("virtio-net", tests, NULL, NULL);
}
