/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What network backends are made of: offloads in software, the row of received frames, and stream
 * sockets with good and bad peers. Tap devices and libslirp are met by guests, in tests/boot.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/net/frames.h"
#include "vmm/net/net.h"
#include "vmm/net/offload.h"
#include "vmm/util.h"

/* ------------------------------------------------------------------ frames, made and looked at */

struct kind {
	bool ipv6, tagged, extended;	/* IP options or an extension header */
	uint8_t protocol;
	uint8_t flags;			/* TCP's */
};

#define FIN	0x01
#define PSH	0x08
#define ACK	0x10
#define CWR	0x80

static const struct kind tcp4 = { .protocol = 6, .flags = ACK };
static const struct kind tcp6 = { .ipv6 = true, .protocol = 6, .flags = ACK };

/* RFC 1071 as a schoolbook has it, to hold the quick one against. */
static uint16_t plain_sum(const uint8_t *p, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Whether all checksums of a frame are right, its length is what it says, and its data goes on from
 * where the last one's ended. */
static void check_frame(const uint8_t *f, size_t length, const struct kind *kind)
{
	size_t ip = kind->tagged ? 18 : 14, header = kind->ipv6 ? 40 : 20;
	const uint8_t *p = f + ip;
	size_t total = length - ip;
	uint32_t sum;

	if (kind->extended)
		header += 8;
	if (kind->ipv6) {
		assert_int_equal(net_get16(p + 4), total - 40);
		sum = plain_sum(p + 8, 32, 0);
	} else {
		assert_int_equal(net_get16(p + 2), total);
		assert_int_equal(plain_sum(p, header, 0), 0xffff);
		sum = plain_sum(p + 12, 8, 0);
	}
	sum += kind->protocol + (uint32_t)(total - header);
	assert_int_equal(plain_sum(p + header, total - header, sum), 0xffff);
}

/*
 * Makes a frame with size bytes of data. With partial, its checksum is the pseudo header's, as a
 * driver leaves it. Returns its length; *header is what a driver would say of it.
 */
static size_t make_frame(uint8_t *f, const struct kind *kind, uint32_t sequence, size_t size,
			 bool partial, struct virtio_net_hdr *header)
{
	size_t ip = kind->tagged ? 18 : 14, ip_header = kind->ipv6 ? 40 : 20;
	size_t transport, transport_header = kind->protocol == 6 ? 32 : 8;
	size_t check = kind->protocol == 6 ? 16 : 6;
	uint32_t sum;
	uint8_t *p = f + ip;

	memset(f, 0, 128);
	memcpy(f, "\x52\x54\0\1\2\3\x52\x54\0\4\5\6", 12);
	if (kind->tagged) {
		net_put16(f + 12, 0x8100);
		net_put16(f + 14, 42);
	}
	net_put16(p - 2, kind->ipv6 ? 0x86dd : 0x0800);
	if (kind->extended)
		ip_header += 8;
	transport = ip + ip_header;
	if (kind->ipv6) {
		p[0] = 0x60;
		net_put16(p + 4, (unsigned int)(ip_header - 40 + transport_header + size));
		p[6] = kind->extended ? 60 : kind->protocol;
		p[7] = 64;
		memset(p + 8, 0x11, 32);
		if (kind->extended)
			p[40] = kind->protocol;
		sum = plain_sum(p + 8, 32, 0);
	} else {
		p[0] = (uint8_t)(0x40 | ip_header / 4);
		net_put16(p + 2, (unsigned int)(ip_header + transport_header + size));
		net_put16(p + 4, 100);
		net_put16(p + 6, 0x4000);
		p[8] = 64;
		p[9] = kind->protocol;
		memset(p + 12, 0x22, 8);
		net_put16(p + 10, (uint16_t)~plain_sum(p, ip_header, 0));
		sum = plain_sum(p + 12, 8, 0);
	}
	p = f + transport;
	net_put16(p, 1234);
	net_put16(p + 2, 80);
	if (kind->protocol == 6) {
		net_put16(p + 4, sequence >> 16);
		net_put16(p + 6, sequence & 0xffff);
		net_put16(p + 10, 77);
		p[12] = (uint8_t)(transport_header / 4 << 4);
		p[13] = kind->flags;
		net_put16(p + 14, 5000);
		memcpy(p + 20, "\1\1\x08\x0a\0\0\0\7\0\0\0\x08", 12);
	} else {
		net_put16(p + 4, (unsigned int)(8 + size));
	}
	for (size_t i = 0; i < size; i++)
		p[transport_header + i] = (uint8_t)((sequence + i) * 5 + ((sequence + i) >> 8));
	sum += kind->protocol + (uint32_t)(transport_header + size);
	sum = plain_sum(p, 0, sum);
	if (partial)
		net_put16(p + check, sum);
	else
		net_put16(p + check, (uint16_t)~plain_sum(p, transport_header + size, sum));
	if (header)
		*header = (struct virtio_net_hdr){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.csum_start = (uint16_t)transport, .csum_offset = (uint16_t)check,
		};
	return transport + transport_header + size;
}

static struct virtio_net_hdr large(struct virtio_net_hdr header, const struct kind *kind,
				   uint16_t size)
{
	header.gso_type = kind->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	header.gso_size = size;
	return header;
}

/* ------------------------------------------------------------------ offloads in software */

static uint8_t big[NET_MAX_FRAME + 100], copy[NET_MAX_FRAME + 100];

static void sums(void **state)
{
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 31 + (i >> 7));
	for (size_t length = 0; length < 2000; length++) {
		uint16_t sum = net_fold(net_sum(big + length % 13, length, 0));

		assert_int_equal(ntohs(sum), plain_sum(big + length % 13, length, 0));
	}
	memset(big, 0xff, 65536);
	assert_int_equal(net_fold(net_sum(big, 65536, UINT32_MAX)), 0xffff);
}

static void checksums(void **state)
{
	static const struct kind kinds[] = {
		{ .protocol = 6 }, { .ipv6 = true, .protocol = 6 }, { .protocol = 17 },
		{ .ipv6 = true, .protocol = 17 }, { .tagged = true, .protocol = 6 },
		{ .extended = true, .protocol = 6 }, { .ipv6 = true, .extended = true, .protocol = 17 },
	};
	struct virtio_net_hdr header;
	struct net_layout l;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (size_t size = 0; size < 1400; size += 333) {
			size_t n = make_frame(big, &kinds[i], 9, size, true, &header);

			assert_true(net_parse(big, n, false, &l));
			assert_int_equal(l.end, n);
			assert_int_equal(l.transport, header.csum_start);
			assert_true(net_finish(&header, big, n));
			check_frame(big, n, &kinds[i]);
			assert_true(net_checksum_ok(big, &l));
			big[n - 1] ^= 1;
			assert_false(net_checksum_ok(big, &l));
		}
	}
}

struct collected {
	const struct kind *kind;
	unsigned int count;
	size_t data, largest;
	uint32_t next;
	uint8_t flags[64];
	struct net_frames *into;
};

static void collect(void *arg, const void *headers, size_t header_length, const void *data,
		    size_t data_length)
{
	struct collected *c = arg;
	size_t ip = c->kind->tagged ? 18 : 14;
	size_t transport = ip + (c->kind->ipv6 ? 40 : 20) + (c->kind->extended ? 8 : 0);

	memcpy(copy, headers, header_length);
	if (data_length)
		memcpy(copy + header_length, data, data_length);
	check_frame(copy, header_length + data_length, c->kind);
	if (c->next)
		assert_int_equal(net_get32(copy + transport + 4), c->next);
	c->next = net_get32(copy + transport + 4) + (uint32_t)data_length;
	if (c->count < ARRAY_SIZE(c->flags))
		c->flags[c->count] = copy[transport + 13];
	c->count++;
	c->data += data_length;
	if (data_length > c->largest)
		c->largest = data_length;
	if (c->into)
		net_frames_add(c->into, copy, header_length + data_length);
}

static void segments(void **state)
{
	static const struct kind kinds[] = {
		{ .protocol = 6, .flags = FIN | PSH | ACK | CWR },
		{ .ipv6 = true, .protocol = 6, .flags = FIN | PSH | ACK | CWR },
		{ .tagged = true, .protocol = 6, .flags = FIN | PSH | ACK | CWR },
		{ .extended = true, .protocol = 6, .flags = FIN | PSH | ACK | CWR },
		{ .ipv6 = true, .extended = true, .protocol = 6, .flags = FIN | PSH | ACK | CWR },
	};
	struct virtio_net_hdr header;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct collected c = { .kind = &kinds[i] };
		size_t n = make_frame(big, &kinds[i], 0xfffff000, 60000, true, &header);

		header = large(header, &kinds[i], 1448);
		assert_true(net_segment(&header, big, n, collect, &c));
		assert_int_equal(c.count, 42);
		assert_int_equal(c.data, 60000);
		assert_int_equal(c.largest, 1448);
		assert_int_equal(c.flags[0], CWR | ACK);
		assert_int_equal(c.flags[1], ACK);
		assert_int_equal(c.flags[41], FIN | PSH | ACK);
		/* As one, for who takes it. */
		n = make_frame(big, &kinds[i], 5, 60000, true, &header);
		header = large(header, &kinds[i], 1448);
		assert_true(net_finish(&header, big, n));
		check_frame(big, n, &kinds[i]);
	}
}

static void ignore(void *arg, const void *headers, size_t header_length, const void *data,
		   size_t data_length)
{
	assert_true(header_length <= NET_MAX_FRAME && header_length + data_length <= NET_MAX_FRAME);
	memcpy(copy, headers, header_length);
	if (data_length)
		memcpy(copy + header_length, data, data_length);
	++*(unsigned int *)arg;
}

/* Frames that are not what their header says, and any bytes in any place. */
static void bad_segments(void **state)
{
	struct virtio_net_hdr header, tso;
	unsigned int count = 0;
	size_t n = make_frame(big, &tcp4, 1, 3000, true, &header);
	const struct { unsigned int at; uint8_t value; } bad[] = {
		{ 12, 0x86 }, { 13, 1 }, { 14, 0x65 }, { 14, 0x44 }, { 14, 0x4f }, { 20, 0x20 },
		{ 21, 1 }, { 23, 17 }, { 23, 1 }, { 46, 0x40 }, { 46, 0 },
	};

	tso = large(header, &tcp4, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		make_frame(big, &tcp4, 1, 3000, true, NULL);
		big[bad[i].at] = bad[i].value;
		if (i == 4)
			continue;	/* options that reach into TCP: another header, but one */
		if (net_segment(&tso, big, n, ignore, &count) || net_finish(&tso, big, n))
			fail_msg("byte %u", bad[i].at);
	}
	tso = large(header, &tcp6, 1000);
	make_frame(big, &tcp4, 1, 3000, true, NULL);
	assert_false(net_segment(&tso, big, n, ignore, &count));
	tso.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	assert_false(net_segment(&tso, big, n, ignore, &count));
	assert_int_equal(count, 0);

	srandom(2);
	for (unsigned int round = 0; round < 100000; round++) {
		const struct kind kind = { .ipv6 = random() & 1, .protocol = random() & 1 ? 6 : 17,
					   .extended = random() & 1, .tagged = random() & 1 };
		struct net_layout l;
		size_t length;

		n = make_frame(big, &kind, 1, (size_t)random() % 400, true, &header);
		for (unsigned int i = (unsigned int)random() % 4; i; i--)
			big[random() % 100] = (uint8_t)random();
		length = random() & 3 ? n : (size_t)random() % (n + 1);
		header.gso_type = (uint8_t[]){ 0, 1, 4, 3, 0x81 }[random() % 5];
		header.gso_size = (uint16_t)random();
		if (!(random() & 3))
			header.csum_start = (uint16_t)random();
		if (net_check_header(&header, length, NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN |
				     NET_UFO) && random() & 1)
			net_segment(&header, big, length, ignore, &count);
		else if (net_parse(big, length, random() & 1, &l))
			net_checksum_ok(big, &l);
	}
	assert_true(count > 0);
}

/* ------------------------------------------------------------------ joining */

struct front {
	bool refuse;
	unsigned int frames, received, links, writables;
	struct virtio_net_hdr header;
	uint8_t frame[NET_MAX_FRAME];
	size_t length, bytes;
};

static bool front_receive(void *data, unsigned int queue, const struct virtio_net_hdr *header,
			  const void *frame, size_t length)
{
	struct front *f = data;

	assert_true(length >= NET_MIN_FRAME && length <= NET_MAX_FRAME);
	if (f->refuse)
		return false;
	f->frames++;
	f->bytes += length;
	f->header = *header;
	f->length = length;
	memcpy(f->frame, frame, length);
	return true;
}

static void front_received(void *data, unsigned int queue)
{
	((struct front *)data)->received++;
}

static void front_writable(void *data, unsigned int queue)
{
	((struct front *)data)->writables++;
}

static void front_link_changed(void *data)
{
	((struct front *)data)->links++;
}

static const struct net_front front_ops = {
	.receive = front_receive, .received = front_received, .writable = front_writable,
	.link_changed = front_link_changed,
};

static struct front front;

/* What was cut is joined again to the same. */
static void joining(void **state)
{
	struct net_backend backend = { .front = &front_ops, .front_data = &front };
	const struct kind *const kinds[] = { &tcp4, &tcp6 };
	struct net_frames row;

	assert_int_equal(net_frames_init(&row, 1 << 20, 256), 0);
	row.offloads = NET_CSUM | NET_TSO4 | NET_TSO6;
	for (size_t i = 0; i < 2; i++) {
		struct collected c = { .kind = kinds[i], .into = &row };
		struct virtio_net_hdr header;
		size_t n = make_frame(big, kinds[i], 77, 50001, true, &header);

		header = large(header, kinds[i], 1448);
		assert_true(net_segment(&header, big, n, collect, &c));
		memset(&front, 0, sizeof(front));
		assert_int_equal(row.count, 1);
		/* Refused once, it comes again as it was. */
		front.refuse = true;
		assert_false(net_frames_deliver(&row, &backend, 0));
		front.refuse = false;
		assert_true(net_frames_deliver(&row, &backend, 0));
		assert_int_equal(front.frames, 1);
		assert_int_equal(front.length, n);
		assert_int_equal(front.header.gso_size, 1448);
		assert_int_equal(front.header.gso_type, header.gso_type);
		assert_int_equal(front.header.csum_start, header.csum_start);
		make_frame(big, kinds[i], 77, 50001, true, NULL);
		assert_memory_equal(front.frame, big, n);
	}
	net_frames_destroy(&row);
}

static void add(struct net_frames *row, const struct kind *kind, uint32_t sequence, size_t size)
{
	size_t n = make_frame(big, kind, sequence, size, false, NULL);

	net_frames_add(row, big, n);
}

static void not_joining(void **state)
{
	const struct kind pushed = { .protocol = 6, .flags = ACK | PSH };
	const struct kind last = { .protocol = 6, .flags = ACK | FIN };
	const struct kind tagged = { .tagged = true, .protocol = 6, .flags = ACK };
	struct net_frames row;
	size_t n;

	assert_int_equal(net_frames_init(&row, 1 << 20, 32), 0);
#define ROW(expected) do {								\
	assert_int_equal(row.count, expected);						\
	net_frames_clear(&row);								\
} while (0)
	/* A receiver that does not know of such things. */
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1001, 1000); ROW(2);
	row.offloads = NET_CSUM | NET_TSO4;
	add(&row, &tcp6, 1, 1000); add(&row, &tcp6, 1001, 1000); ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1001, 1000); ROW(1);
	/* A gap; the same again; no data; a different connection's. */
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1002, 1000); ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1, 1000); ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1001, 0); ROW(2);
	/* A small one ends it, a larger one cannot follow, nor anything behind "push". */
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1001, 500); add(&row, &tcp4, 1501, 500); ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &tcp4, 1001, 1001); ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &pushed, 1001, 1000); add(&row, &tcp4, 2001, 1000);
	ROW(2);
	add(&row, &tcp4, 1, 1000); add(&row, &last, 1001, 1000); ROW(2);
	add(&row, &tagged, 1, 1000); add(&row, &tagged, 1001, 1000); ROW(2);
	/* Never beyond what IP can say. */
	for (uint32_t i = 0; i < 100; i++)
		add(&row, &tcp4, 1 + i * 1000, 1000);
	ROW(2);
	/* A wrong checksum, or a header that differs: ports, TTL, window, timestamp. */
	for (size_t i = 0; i < 5; i++) {
		add(&row, &tcp4, 1, 1000);
		n = make_frame(big, &tcp4, 1001, 1000, false, NULL);
		big[(size_t[]){ 100, 35, 22, 48, 60 }[i]] ^= 1;
		if (i) {	/* the checksums agree with it */
			net_put16(big + 24, 0);
			net_put16(big + 24, (uint16_t)~plain_sum(big + 14, 20, 0));
			net_put16(big + 50, 0);
			net_put16(big + 50, (uint16_t)~plain_sum(big + 34, n - 34,
				  plain_sum(big + 26, 8, 0) + 6 + (uint32_t)n - 34));
		}
		net_frames_add(&row, big, n);
		ROW(2);
	}
	/* Ethernet's padding is none of it. */
	n = make_frame(big, &tcp4, 1, 60, false, NULL);
	net_frames_add(&row, big, n + 10);
	add(&row, &tcp4, 61, 60);
	ROW(1);
	/* More than there is room for is dropped. */
	for (uint32_t i = 0; i < 100; i++)
		add(&row, &tcp4, i * 7, 1000);
	ROW(32);
	net_frames_add(&row, big, NET_MAX_FRAME + 1);
	net_frames_add(&row, big, NET_MIN_FRAME - 1);
	ROW(0);
	net_frames_destroy(&row);
}

/* ------------------------------------------------------------------ streams */

static struct loop *loop;
static char path[64];

static struct net_backend *open_stream(const char *listen, const char *connect)
{
	const struct net_config config = { .kind = NET_SOCKET, .listen = listen,
					   .connect = connect };
	struct net_backend *backend;
	struct vmm_error error = { "" };

	if (net_create(loop, &config, &backend, &error))
		fail_msg("%s", error.text);
	return backend;
}

/* Until nothing happens any more. A round with nothing but deferred calls counts as none. */
static void settle(void)
{
	for (unsigned int quiet = 0; quiet < 3; quiet++)
		if (loop_step(loop, 10))
			quiet = 0;
}

static int setup_stream(void **state)
{
	loop = loop_create();
	snprintf(path, sizeof(path), "/tmp/net_backend_test.%d", (int)getpid());
	memset(&front, 0, sizeof(front));
	return 0;
}

static int teardown_stream(void **state)
{
	loop_destroy(loop);
	assert_int_equal(access(path, F_OK), -1);
	return 0;
}

/* A stranger who connects to path, or fails the test. */
static int stranger(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static void send_frame(struct net_backend *b, const struct virtio_net_hdr *header, uint8_t *frame,
		       size_t length)
{
	const struct iovec iov[] = { { frame, 7 }, { frame + 7, length - 7 } };

	assert_true(b->ops->send(b, 0, header, iov, 2, length));
	b->ops->flush(b);
}

static void two_ends(void **state, const char *listen, const char *connect)
{
	struct net_backend *b = open_stream(NULL, connect), *a;
	struct virtio_net_hdr header;
	struct front other = { 0 };
	size_t n;

	net_attach(b, &front_ops, &other);
	settle();
	assert_false(b->link_up);
	/* The one who connects was there first, and tries again. */
	a = open_stream(listen, NULL);
	net_attach(a, &front_ops, &front);
	a->ops->set_offloads(a, NET_CSUM | NET_TSO4 | NET_TSO6);
	for (unsigned int i = 0; i < 200 && !(a->link_up && b->link_up); i++)
		loop_step(loop, 50);
	assert_true(a->link_up && b->link_up);
	assert_int_equal(front.links, 1);
	n = make_frame(big, &tcp4, 1, 1000, true, &header);
	send_frame(b, &header, big, n);
	settle();
	assert_int_equal(front.frames, 1);
	assert_int_equal(front.header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	check_frame(front.frame, front.length, &tcp4);
	/* Large, cut on the way, and joined. */
	n = make_frame(big, &tcp6, 1, 40000, true, &header);
	header = large(header, &tcp6, 1400);
	send_frame(b, &header, big, n);
	settle();
	assert_int_equal(front.frames, 2);
	assert_int_equal(front.length, n);
	/* The other way, to one who takes nothing but finished frames. */
	make_frame(big, &tcp6, 1, 40000, true, NULL);
	send_frame(a, &header, big, n);
	settle();
	assert_int_equal(other.frames, 29);
	check_frame(other.frame, other.length, &tcp6);

	/* One end goes: the other's link with it, what it sends is lost, and a new end is taken. */
	b->ops->destroy(b);
	settle();
	assert_false(a->link_up);
	assert_int_equal(front.links, 2);
	send_frame(a, &header, big, n);
	b = open_stream(NULL, connect);
	net_attach(b, &front_ops, &other);
	for (unsigned int i = 0; i < 200 && !(a->link_up && b->link_up); i++)
		loop_step(loop, 50);
	assert_true(a->link_up && b->link_up);
	a->ops->destroy(a);
	settle();
	assert_false(b->link_up);
	b->ops->destroy(b);
}

static void unix_ends(void **state)
{
	two_ends(state, path, path);
}

static void tcp_ends(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	char address[64];

	/* A port that was free a moment ago. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	getsockname(fd, (struct sockaddr *)&in, &size);
	close(fd);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(in.sin_port));
	two_ends(state, address, address);
}

/* A peer that does not read: the device is told to wait, and when to go on. */
static void slow_peer(void **state)
{
	static uint8_t sink[1 << 16];
	struct net_backend *a = open_stream(path, NULL);
	const struct virtio_net_hdr none = { 0 };
	const struct iovec iov = { big, 1500 };
	unsigned int sent = 0;
	ssize_t n;
	int fd;

	net_attach(a, &front_ops, &front);
	fd = stranger();
	settle();
	while (a->ops->send(a, 0, &none, &iov, 1, 1500)) {
		a->ops->flush(a);
		assert_true(++sent < 100000);
	}
	settle();
	assert_int_equal(front.writables, 0);
	while ((n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0 || !front.writables)
		loop_step(loop, 10);
	assert_int_equal(front.writables, 1);
	while (loop_step(loop, 10) || recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	assert_true(a->ops->send(a, 0, &none, &iov, 1, 1500));
	/* It dies with a frame of ours in its hands, which is then as good as sent. */
	while (a->ops->send(a, 0, &none, &iov, 1, 1500))
		a->ops->flush(a);
	close(fd);
	settle();
	assert_false(a->link_up);
	assert_int_equal(front.writables, 2);
	a->ops->destroy(a);
}

/* A device without room: nothing is read, and nothing lost. */
static void slow_device(void **state)
{
	static uint8_t source[1 << 18];
	struct net_backend *a = open_stream(path, NULL);
	size_t sent = 0;
	ssize_t n;
	int fd;

	for (size_t at = 0; at + 1004 <= sizeof(source); at += 1004)
		net_put16(source + at + 2, 1000);
	net_attach(a, &front_ops, &front);
	fd = stranger();
	settle();
	front.refuse = true;
	while (sent < sizeof(source) / 1004 * 1004 &&
	       (n = send(fd, source + sent, sizeof(source) / 1004 * 1004 - sent,
			 MSG_DONTWAIT)) > 0) {
		sent += (size_t)n;
		settle();
	}
	assert_int_equal(front.frames, 0);
	front.refuse = false;
	a->ops->accept_input(a, 0);
	settle();
	assert_int_equal(front.frames, sent / 1004);
	close(fd);
	settle();
	a->ops->destroy(a);
}

static void bad_peers(void **state)
{
	static const struct { const char *bytes; size_t length; bool survives; } cases[] = {
		{ "\0\0\0\0\0\0\0\1a", 9, true },	/* too short to be frames: no matter */
		{ "\xff\xff\xff\xff", 4, false }, { "\0\1\0\x17", 4, false },
		{ "\0\1\0\x16", 4, true }, { "\0\0", 2, true },
		{ "GET / HTTP/1.0\r\n\r\n", 18, false },
	};
	struct net_backend *a = open_stream(path, NULL);
	uint8_t byte;
	int fd, third;

	net_attach(a, &front_ops, &front);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fd = stranger();
		settle();
		assert_true(a->link_up);
		/* A third one is sent away. */
		third = stranger();
		settle();
		assert_int_equal(recv(third, &byte, 1, 0), 0);
		close(third);
		assert_true(send(fd, cases[i].bytes, cases[i].length, 0) > 0);
		settle();
		if (a->link_up != cases[i].survives)
			fail_msg("case %zu", i);
		close(fd);
		settle();
		assert_false(a->link_up);
	}
	assert_int_equal(front.frames, 0);
	a->ops->destroy(a);
}

/* What a dead machine left behind is no obstacle; a living one is. */
static void stale_socket(void **state)
{
	const struct net_config config = { .kind = NET_SOCKET, .listen = path };
	const struct net_config passt = { .kind = NET_PASST, .path = path };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct vmm_error error = { "" };
	struct net_backend *a, *b;

	strcpy(un.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	assert_int_equal(net_create(loop, &passt, &b, &error), -ECONNREFUSED);
	assert_non_null(strstr(error.text, "start passt first"));
	error.text[0] = 0;
	a = open_stream(path, NULL);
	assert_int_equal(net_create(loop, &config, &b, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, "listen="));
	assert_int_equal(access(path, F_OK), 0);
	a->ops->destroy(a);
}

/* ------------------------------------------------------------------ user networking */

#ifdef HAVE_SLIRP

static struct net_backend *open_user(void)
{
	const struct net_config config = { .kind = NET_USER, .restricted = true };
	struct net_backend *backend;
	struct vmm_error error = { "" };

	if (net_create(loop, &config, &backend, &error))
		fail_msg("%s", error.text);
	net_attach(backend, &front_ops, &front);
	backend->ops->set_offloads(backend, NET_CSUM | NET_TSO4 | NET_TSO6);
	return backend;
}

static void send_user(struct net_backend *b, const struct virtio_net_hdr *header, uint8_t *frame,
		      size_t length)
{
	const struct iovec iov = { frame, length };

	assert_true(b->ops->send(b, 0, header, &iov, 1, length));
}

/* "Who has 10.0.2.2?" "I do." */
static const uint8_t arp[] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6,
	0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15,
	0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
};

static void user_network(void **state)
{
	const struct virtio_net_hdr none = { 0 };
	struct net_backend *b = open_user();

	memcpy(big, arp, sizeof(arp));
	front.refuse = true;
	send_user(b, &none, big, sizeof(arp));
	settle();
	assert_int_equal(front.frames, 0);
	front.refuse = false;
	b->ops->accept_input(b, 0);
	settle();
	assert_true(front.frames >= 1);
	assert_int_equal(net_get16(front.frame + 12), 0x0806);
	assert_int_equal(net_get16(front.frame + 20), 2);
	assert_memory_equal(front.frame + 28, arp + 38, 4);
	b->ops->destroy(b);
}

/* Whatever a guest sends. What libslirp makes of it is its own affair, but it lives. */
static void user_garbage(void **state)
{
	const struct virtio_net_hdr none = { 0 };
	struct net_backend *b = open_user();

	memcpy(big, arp, sizeof(arp));
	send_user(b, &none, big, sizeof(arp));
	srandom(3);
	for (unsigned int round = 0; round < 20000; round++) {
		const struct kind kind = {
			.ipv6 = random() & 1, .protocol = random() & 1 ? 6 : 17,
			.extended = !(random() & 7), .flags = (uint8_t)random(),
		};
		size_t size = random() & 63 ? (size_t)random() % 300 : (size_t)random() % 65000, n;
		struct virtio_net_hdr header;

		n = make_frame(big, &kind, (uint32_t)random(), size, true, &header);
		/* From the guest, to the host or one of its servers. */
		if (kind.ipv6) {
			memcpy(big + 22, "\xfe\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0f", 16);
			memcpy(big + 38, big + 22, 16);
			big[53] = (uint8_t)(random() % 4);
		} else {
			memcpy(big + 26, arp + 28, 4);
			memcpy(big + 30, arp + 38, 4);
			big[33] = (uint8_t)(random() % 4 + 1);
			net_put16(big + 24, 0);
			net_put16(big + 24, (uint16_t)~plain_sum(big + 14, kind.extended ? 28 : 20,
								   0));
		}
		if (!(random() & 3))
			net_put16(big + header.csum_start + 2,
				  (unsigned int[]){ 53, 67, 69, 547, 7 }[random() % 5]);
		for (unsigned int i = (unsigned int)random() % 3; i; i--)
			big[12 + random() % 60] = (uint8_t)random();
		if (!(random() & 3))
			n = NET_MIN_FRAME + (size_t)random() % (n - NET_MIN_FRAME + 1);
		if (!net_check_header(&header, n, NET_CSUM))
			header = none;
		send_user(b, &header, big, n);
		if (!(round % 50)) {
			b->ops->accept_input(b, 0);
			front.refuse = !(random() & 3);
			loop_step(loop, 0);
		}
	}
	front.refuse = false;
	front.frames = 0;
	memcpy(big, arp, sizeof(arp));
	send_user(b, &none, big, sizeof(arp));
	b->ops->accept_input(b, 0);
	settle();
	assert_true(front.frames > 0);
	b->ops->destroy(b);
}

#endif

static void bad_settings(void **state)
{
	static char long_path[300];
	const struct { struct net_config config; const char *says; } cases[] = {
		{ { .kind = NET_USER, .queues = 2 }, "queues=2" },
		{ { .kind = NET_TAP, .queues = 9, .ifname = "x" }, "give 1 to 8" },
		{ { .kind = NET_SOCKET, .mtu = 67, .listen = path }, "give 68 to 65535" },
		{ { .kind = NET_SOCKET, .listen = long_path }, "too long" },
		{ { .kind = NET_SOCKET, .listen = "/nonexistent/x" }, "No such file" },
		{ { .kind = NET_SOCKET, .connect = "256.1.1.1:5" }, "256.1.1.1:5" },
		{ { .kind = NET_TAP, .ifname = "no-such-device" }, "ip tuntap add" },
		{ { .kind = NET_TAP, .ifname = "lo" }, "is no tap device" },
		{ { .kind = NET_TAP, .fd = 999 }, "no open descriptor" },
		{ { .kind = NET_TAP, .fd = 2 }, "no tap device" },
	};

	memset(long_path, 'x', sizeof(long_path) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_error error = { "" };
		struct net_backend *b;

		assert_true(net_create(loop, &cases[i].config, &b, &error) < 0);
		if (!strstr(error.text, cases[i].says) || strncmp(error.text, "--net", 5))
			fail_msg("case %zu: %s", i, error.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define S(name) cmocka_unit_test_setup_teardown(name, setup_stream, teardown_stream)
		cmocka_unit_test(sums), cmocka_unit_test(checksums), cmocka_unit_test(segments),
		cmocka_unit_test(bad_segments), cmocka_unit_test(joining),
		cmocka_unit_test(not_joining), S(unix_ends), S(tcp_ends), S(slow_peer),
		S(slow_device), S(bad_peers), S(stale_socket), S(bad_settings),
#ifdef HAVE_SLIRP
		S(user_network), S(user_garbage),
#endif
	};

	return cmocka_run_group_tests_name("net-backend", tests, NULL, NULL);
}
