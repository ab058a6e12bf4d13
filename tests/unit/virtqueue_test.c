/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The split virtqueue against drivers that are right, wrong and hostile.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_ring.h>

#include "vmm/dev/virtio/virtqueue.h"

/* The hole from 3 to 4 GiB is there without 3 GiB of memory: the parts' sizes say where it is. */
#define MEMORY	(1u << 20)
#define DESC	0x1000u
#define AVAIL	0x3000u
#define USED	0x4000u
#define BUF	0x8000u
#define SIZE	16

static struct ram ram;
static struct virtqueue vq;
static struct iovec iov[VIRTQUEUE_MAX_IOV];
static struct virtqueue_chain chain;

static struct vring_desc *desc(unsigned int i)
{
	return (struct vring_desc *)(ram.host + DESC) + i;
}

static uint16_t *avail(void)
{
	return (uint16_t *)(ram.host + AVAIL);
}

static uint16_t *used(void)
{
	return (uint16_t *)(ram.host + USED);
}

static void set_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	*desc(i) = (struct vring_desc){ .addr = addr, .len = len, .flags = flags, .next = next };
}

static void offer(uint16_t head)
{
	avail()[2 + avail()[1] % vq.size] = head;
	avail()[1]++;
}

static int setup(void **state)
{
	struct vmm_error error = { "" };

	if (!ram.host && ram_create(&ram, MEMORY, &error))
		return -1;
	memset(ram.host, 0, MEMORY);
	virtqueue_init(&vq, &ram, 256);
	assert_int_equal(vq.size, 256);
	vq.size = SIZE;
	vq.desc_addr = DESC;
	vq.avail_addr = AVAIL;
	vq.used_addr = USED;
	vq.indirect = true;
	assert_int_equal(virtqueue_enable(&vq), 0);
	memset(iov, 0xee, sizeof(iov));
	chain = (struct virtqueue_chain){ .iov = iov, .iov_max = VIRTQUEUE_MAX_IOV };
	return 0;
}

static int pop(void)
{
	return virtqueue_pop(&vq, &chain);
}

/* Pops what must be refused, and sees that the queue stays shut. */
static void refuse(int expected)
{
	uint16_t before = vq.last_avail;

	assert_int_equal(pop(), expected);
	assert_true(vq.broken);
	assert_int_equal(vq.last_avail, before);
	assert_int_equal(pop(), -EIO);
}

/* ------------------------------------------------------------------ a driver that is right */

static void direct_chain(void **state)
{
	assert_int_equal(pop(), 0);
	set_desc(3, BUF, 16, VRING_DESC_F_NEXT, 7);
	set_desc(7, BUF + 100, 0, VRING_DESC_F_NEXT, 1);
	set_desc(1, BUF + 200, 24, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
	set_desc(0, BUF + 300, 1, VRING_DESC_F_WRITE, 99);
	offer(3);
	assert_int_equal(pop(), 1);
	assert_int_equal(chain.head, 3);
	assert_int_equal(chain.out_count, 1);	/* the empty one is nothing */
	assert_int_equal(chain.in_count, 2);
	assert_int_equal(chain.out_bytes, 16);
	assert_int_equal(chain.in_bytes, 25);
	assert_ptr_equal(iov[0].iov_base, ram.host + BUF);
	assert_ptr_equal(iov[1].iov_base, ram.host + BUF + 200);
	assert_int_equal(iov[2].iov_len, 1);
	assert_int_equal(vq.in_flight, 1);
	assert_int_equal(pop(), 0);

	virtqueue_push(&vq, chain.head, 25);
	assert_int_equal(used()[1], 1);
	assert_int_equal(used()[2], 3);
	assert_int_equal(used()[4], 25);
	assert_int_equal(vq.in_flight, 0);
}

static void indirect_chain(void **state)
{
	struct vring_desc table[3] = {
		{ .addr = BUF, .len = 8, .flags = VRING_DESC_F_NEXT, .next = 2 },
		{ .addr = BUF + 64, .len = 32, .flags = VRING_DESC_F_WRITE },
		{ .addr = BUF + 32, .len = 4, .flags = VRING_DESC_F_NEXT, .next = 1 },
	};

	/* At an odd address: nothing says where a table may be. */
	memcpy(ram.host + BUF + 0x1001, table, sizeof(table));
	set_desc(0, BUF + 500, 5, VRING_DESC_F_NEXT, 5);
	set_desc(5, BUF + 0x1001, sizeof(table), VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	offer(0);
	assert_int_equal(pop(), 1);
	assert_int_equal(chain.out_count, 3);
	assert_int_equal(chain.in_count, 1);
	assert_int_equal(chain.out_bytes, 17);
	assert_int_equal(chain.in_bytes, 32);
	assert_ptr_equal(iov[0].iov_base, ram.host + BUF + 500);
	assert_ptr_equal(iov[2].iov_base, ram.host + BUF + 32);
}

/* An indirect table may have more entries than the queue, up to what an iovec takes. */
static void long_indirect_chain(void **state)
{
	struct vring_desc *table = (struct vring_desc *)(ram.host + 0x10000);

	for (unsigned int i = 0; i < VIRTQUEUE_MAX_IOV; i++)
		table[i] = (struct vring_desc){ .addr = BUF + i, .len = 1,
						.flags = VRING_DESC_F_NEXT,
						.next = (uint16_t)(i + 1) };
	table[VIRTQUEUE_MAX_IOV - 1].flags = 0;
	set_desc(0, 0x10000, VIRTQUEUE_MAX_IOV * 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	assert_int_equal(pop(), 1);
	assert_int_equal(chain.out_count, VIRTQUEUE_MAX_IOV);
	virtqueue_push(&vq, 0, 0);

	/* With one descriptor before it, it is one too many. */
	set_desc(0, BUF, 1, VRING_DESC_F_NEXT, 1);
	set_desc(1, 0x10000, VIRTQUEUE_MAX_IOV * 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-E2BIG);
}

/* The indices go round at 65536 and the ring at its size. */
static void many_chains(void **state)
{
	for (unsigned int i = 0; i < 70000; i++) {
		unsigned int batch = 1 + i % SIZE;

		for (unsigned int j = 0; j < batch; j++) {
			set_desc(j, BUF + i % 100, 1 + j, j & 1 ? VRING_DESC_F_WRITE : 0, 0);
			offer((uint16_t)j);
		}
		for (unsigned int j = 0; j < batch; j++) {
			assert_int_equal(pop(), 1);
			assert_int_equal(chain.head, j);
			assert_int_equal(chain.out_bytes + chain.in_bytes, 1 + j);
		}
		assert_int_equal(pop(), 0);
		for (unsigned int j = 0; j < batch; j++)
			virtqueue_push(&vq, (uint16_t)j, j);
		assert_int_equal(used()[1], avail()[1]);
	}
}

static struct ram_range told[64];
static unsigned int told_count;

static void note_written(const struct ram *r, const struct ram_range *ranges, unsigned int count)
{
	/* The driver does not know of it yet. */
	assert_int_equal(used()[1], 0);
	for (unsigned int i = 0; i < count; i++)
		told[told_count++] = ranges[i];
}

/* What a chain's device may have written is told before the driver gets it back. */
static void tells_written(void **state)
{
	struct virtqueue_used both[2] = { { .length = 1 }, { .length = 0 } };
	struct vring_desc *table = (struct vring_desc *)(ram.host + BUF);

	ram.written = note_written;
	told_count = 0;
	set_desc(0, BUF, 16, VRING_DESC_F_NEXT, 1);
	set_desc(1, BUF + 0x1000, 0x800, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
	set_desc(2, BUF + 0x1800, 1, VRING_DESC_F_WRITE, 0);	/* joins it */
	for (unsigned int i = 0; i < 40; i++)
		table[i] = (struct vring_desc){ .addr = 0x10000 + i * 32, .len = 16, .next = i + 1,
			.flags = VRING_DESC_F_WRITE | (i < 39 ? VRING_DESC_F_NEXT : 0) };
	set_desc(3, BUF, 40 * 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	offer(3);
	assert_int_equal(pop(), 1);
	both[0].head = chain.head;
	assert_int_equal(pop(), 1);
	both[1].head = chain.head;
	virtqueue_push_all(&vq, both, 2);
	assert_int_equal(used()[1], 2);
	assert_int_equal(told_count, 41);
	assert_int_equal(told[0].gpa, BUF + 0x1000);
	assert_int_equal(told[0].length, 0x801);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(told[1 + i].gpa, 0x10000 + i * 32);
		assert_int_equal(told[1 + i].length, 16);
	}
	/* A chain that was changed meanwhile to no chain at all leads to nothing outside. */
	used()[1] = 0;
	told_count = 0;
	vq.last_avail = vq.used_idx = 0;
	avail()[1] = 0;
	offer(0);
	assert_int_equal(pop(), 1);
	set_desc(1, MEMORY - 1, 0x800, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	virtqueue_push(&vq, chain.head, 0);
	assert_int_equal(told_count, 0);
	ram.written = NULL;
}

static void unpop(void **state)
{
	set_desc(2, BUF, 10, 0, 0);
	offer(2);
	assert_int_equal(pop(), 1);
	virtqueue_unpop(&vq);
	assert_int_equal(vq.in_flight, 0);
	assert_int_equal(pop(), 1);
	assert_int_equal(chain.head, 2);
}

/* ------------------------------------------------------------------ notifications */

static void no_notify_flag(void **state)
{
	set_desc(0, BUF, 1, 0, 0);
	offer(0);
	offer(0);
	assert_int_equal(pop(), 1);
	assert_int_equal(used()[0], VRING_USED_F_NO_NOTIFY);
	assert_int_equal(pop(), 1);
	assert_int_equal(used()[0], VRING_USED_F_NO_NOTIFY);
	assert_int_equal(pop(), 0);
	assert_int_equal(used()[0], 0);

	virtqueue_push(&vq, 0, 0);
	assert_true(virtqueue_should_interrupt(&vq));
	assert_false(virtqueue_should_interrupt(&vq));
	avail()[0] = VRING_AVAIL_F_NO_INTERRUPT;
	virtqueue_push(&vq, 0, 0);
	assert_false(virtqueue_should_interrupt(&vq));
}

static void event_indices(void **state)
{
	vq.event_idx = true;
	set_desc(0, BUF, 1, 0, 0);
	for (uint16_t i = 0; i < 5; i++)
		offer(0);
	for (uint16_t i = 0; i < 5; i++)
		assert_int_equal(pop(), 1);
	/* While we are busy avail_event stays behind; when we run dry it says "the next one". */
	assert_int_equal(used()[2 + 4 * SIZE], 0);
	assert_int_equal(pop(), 0);
	assert_int_equal(used()[2 + 4 * SIZE], 5);
	assert_int_equal(used()[0], 0);

	/* used_event is 0 at first: the first entry; then it says number 3. */
	assert_false(virtqueue_should_interrupt(&vq));
	virtqueue_push(&vq, 0, 0);
	assert_true(virtqueue_should_interrupt(&vq));
	avail()[2 + SIZE] = 3;
	virtqueue_push(&vq, 0, 0);
	assert_false(virtqueue_should_interrupt(&vq));
	virtqueue_push(&vq, 0, 0);
	assert_false(virtqueue_should_interrupt(&vq));
	virtqueue_push(&vq, 0, 0);
	assert_true(virtqueue_should_interrupt(&vq));
	virtqueue_push(&vq, 0, 0);
	assert_false(virtqueue_should_interrupt(&vq));
}

/* The formula of 2.7.7, for indices all around the circle. */
static void event_formula(void **state)
{
	vq.event_idx = true;
	for (uint32_t old = 0; old < 65536; old += 4093) {
		for (uint16_t added = 0; added <= SIZE; added++) {
			for (int event = -20; event < 20; event++) {
				uint16_t now = (uint16_t)(old + added);
				uint16_t used_event = (uint16_t)(old + event);
				bool expected = false;

				/* In words: one of the entries old to now - 1 is used_event. */
				for (uint16_t i = 0; i < added; i++)
					expected |= (uint16_t)(old + i) == used_event;
				vq.signalled = (uint16_t)old;
				vq.used_idx = now;
				avail()[2 + SIZE] = used_event;
				assert_int_equal(virtqueue_should_interrupt(&vq), expected);
			}
		}
	}
}

/* ------------------------------------------------------------------ a driver that is wrong */

static void loops(void **state)
{
	set_desc(0, BUF, 1, VRING_DESC_F_NEXT, 0);
	offer(0);
	refuse(-ELOOP);

	setup(state);
	set_desc(0, BUF, 1, VRING_DESC_F_NEXT, 1);
	set_desc(1, BUF, 0, VRING_DESC_F_NEXT, 0);
	offer(0);
	refuse(-ELOOP);

	setup(state);
	*(struct vring_desc *)(ram.host + BUF) =
		(struct vring_desc){ .addr = BUF, .len = 1, .flags = VRING_DESC_F_NEXT };
	set_desc(0, BUF, 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-ELOOP);

	/* An indirect table that is the queue's own, and one that names itself. */
	setup(state);
	set_desc(0, DESC, 16 * SIZE, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-EINVAL);
}

static void out_of_range(void **state)
{
	offer(SIZE);
	refuse(-EINVAL);

	setup(state);
	offer(0xffff);
	refuse(-EINVAL);

	setup(state);
	set_desc(0, BUF, 1, VRING_DESC_F_NEXT, SIZE);
	offer(0);
	refuse(-EINVAL);

	setup(state);
	*(struct vring_desc *)(ram.host + BUF) =
		(struct vring_desc){ .addr = BUF, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 2 };
	set_desc(0, BUF, 32, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-EINVAL);
}

static void bad_addresses(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} bad[] = {
		{ MEMORY, 1 }, { MEMORY - 1, 2 }, { 0, MEMORY + 1 }, { 0, UINT32_MAX },
		{ UINT64_MAX, 1 }, { UINT64_MAX - 15, 32 }, { 0xc0000000, 1 }, { 0xfee00000, 4 },
		{ 0x100000000, 1 }, { BUF, 0xffffffff }, { 1ull << 63, 16 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setup(state);
		set_desc(0, bad[i].addr, bad[i].len, 0, 0);
		offer(0);
		refuse(-EFAULT);

		setup(state);
		set_desc(0, BUF, 1, VRING_DESC_F_NEXT, 1);
		set_desc(1, bad[i].addr, bad[i].len, VRING_DESC_F_WRITE, 0);
		offer(0);
		refuse(-EFAULT);
	}
	/* A table that is not, or not wholly, in memory. */
	setup(state);
	set_desc(0, MEMORY - 16, 32, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-EFAULT);

	/* The last byte there is. */
	setup(state);
	set_desc(0, MEMORY - 1, 1, 0, 0);
	offer(0);
	assert_int_equal(pop(), 1);
}

static void bad_indirect(void **state)
{
	struct vring_desc inner = { .addr = BUF, .len = 16, .flags = VRING_DESC_F_INDIRECT };
	static const uint32_t lengths[] = { 0, 8, 17, 16 * (VIRTQUEUE_MAX_IOV + 1) };

	for (int i = 0; i < 4; i++) {
		setup(state);
		set_desc(0, BUF, lengths[i], VRING_DESC_F_INDIRECT, 0);
		offer(0);
		refuse(-EINVAL);
	}
	setup(state);
	set_desc(0, BUF, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	offer(0);
	refuse(-EINVAL);

	setup(state);
	memcpy(ram.host + BUF + 64, &inner, sizeof(inner));
	set_desc(0, BUF + 64, 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-EINVAL);

	setup(state);
	vq.indirect = false;
	set_desc(0, BUF, 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	refuse(-EINVAL);
}

static void wrong_order(void **state)
{
	set_desc(0, BUF, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set_desc(1, BUF, 1, 0, 0);
	offer(0);
	refuse(-EINVAL);
}

static void index_jumps(void **state)
{
	avail()[1] = SIZE + 1;
	refuse(-EINVAL);

	setup(state);
	avail()[1] = 0xffff;	/* backwards */
	refuse(-EINVAL);

	/* A full ring is right; one more while all of it is in flight is not. */
	setup(state);
	for (uint16_t i = 0; i < SIZE; i++) {
		set_desc(i, BUF, 1, 0, 0);
		offer(i);
	}
	for (uint16_t i = 0; i < SIZE; i++)
		assert_int_equal(pop(), 1);
	assert_int_equal(pop(), 0);
	offer(0);
	refuse(-EINVAL);
	/* What is in flight can still be given back. */
	virtqueue_push(&vq, 5, 0);
	assert_true(virtqueue_should_interrupt(&vq));
}

static void bad_rings(void **state)
{
	static const struct {
		uint64_t desc, avail, used;
		uint16_t size;
		int expected;
	} rings[] = {
		{ DESC, AVAIL, USED, 0, -EINVAL },
		{ DESC, AVAIL, USED, 3, -EINVAL },
		{ DESC, AVAIL, USED, 512, -EINVAL },
		{ DESC, AVAIL, USED, 32768, -EINVAL },
		{ DESC + 8, AVAIL, USED, SIZE, -EINVAL },
		{ DESC, AVAIL + 1, USED, SIZE, -EINVAL },
		{ DESC, AVAIL, USED + 2, SIZE, -EINVAL },
		{ MEMORY - 16, AVAIL, USED, SIZE, -EFAULT },
		{ DESC, MEMORY - 2 * (3 + SIZE) + 2, USED, SIZE, -EFAULT },
		{ DESC, AVAIL, MEMORY - 8 * SIZE, SIZE, -EFAULT },
		{ UINT64_MAX - 15, AVAIL, USED, SIZE, -EFAULT },
		{ DESC, UINT64_MAX - 1, USED, SIZE, -EFAULT },
		{ DESC, AVAIL, UINT64_MAX - 3, SIZE, -EFAULT },
		{ DESC, AVAIL, USED, 1, 0 },
		{ DESC, AVAIL, USED, 256, 0 },
		{ DESC, MEMORY - 2 * (3 + SIZE), USED, SIZE, 0 },
	};

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		virtqueue_reset(&vq);
		vq.desc_addr = rings[i].desc;
		vq.avail_addr = rings[i].avail;
		vq.used_addr = rings[i].used;
		vq.size = rings[i].size;
		assert_int_equal(virtqueue_enable(&vq), rings[i].expected);
		assert_int_equal(vq.enabled, !rings[i].expected);
		if (rings[i].expected) {
			assert_int_equal(pop(), 0);
			assert_false(virtqueue_should_interrupt(&vq));
		}
	}
}

/* ------------------------------------------------------------------ state */

static void saved_and_loaded(void **state)
{
	struct state_buf buf = { 0 };
	struct virtqueue other;

	set_desc(0, BUF, 1, 0, 0);
	for (int i = 0; i < 3; i++) {
		offer(0);
		assert_int_equal(pop(), 1);
		virtqueue_push(&vq, 0, 7);
	}
	offer(0);
	assert_int_equal(state_save(&virtqueue_state, &vq, &buf), 0);

	virtqueue_init(&other, &ram, 256);
	assert_int_equal(state_load(&virtqueue_state, &other, buf.data, buf.length, NULL), 0);
	assert_int_equal(virtqueue_pop(&other, &chain), 1);
	assert_int_equal(virtqueue_pop(&other, &chain), 0);
	virtqueue_push(&other, 0, 9);
	assert_int_equal(used()[1], 4);
	assert_int_equal(used()[2 + 4 * 3 + 2], 9);

	/* Loaded into a device whose queue is smaller: refused, not believed. */
	virtqueue_init(&other, &ram, 8);
	assert_int_equal(state_load(&virtqueue_state, &other, buf.data, buf.length, NULL), -EINVAL);
	free(buf.data);

	/* Rings outside memory, as an attacker would have them. */
	buf = (struct state_buf){ 0 };
	vq.used_addr = MEMORY;
	assert_int_equal(state_save(&virtqueue_state, &vq, &buf), 0);
	virtqueue_init(&other, &ram, 256);
	assert_int_equal(state_load(&virtqueue_state, &other, buf.data, buf.length, NULL), -EINVAL);
	free(buf.data);
}

/* ------------------------------------------------------------------ a driver that rolls dice */

static uint64_t rng = 88172645463325252ull;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

/* Whatever the tables say: what comes out lies in memory, or the queue is broken. */
static void dice(void **state)
{
	unsigned int popped = 0, refused = 0;

	for (unsigned int round = 0; round < 200000; round++) {
		if (vq.broken || !(round % 64))
			setup(state);
		vq.event_idx = rnd(2);
		for (unsigned int i = 0; i < SIZE; i++) {
			uint16_t flags = (uint16_t)(rnd(8) ? rnd(4) : rnd(8));

			set_desc(i, rnd(16) ? rnd(MEMORY) : rnd(UINT64_MAX),
				 (uint32_t)(rnd(16) ? rnd(4096) : rnd(UINT32_MAX)) &
				 (flags & 4 ? 0x7f0 : ~0u), flags, (uint16_t)rnd(SIZE + !rnd(20)));
		}
		if (!rnd(4))
			memmove(ram.host + rnd(MEMORY - 256), desc(0), 256);
		offer((uint16_t)rnd(SIZE + !rnd(50)));
		if (!rnd(200))
			avail()[1] = (uint16_t)rnd(65536);
		for (int ret; (ret = pop());) {
			uint64_t out = 0, in = 0;

			if (ret < 0) {
				refused++;
				break;
			}
			popped++;
			assert_true(chain.out_count + chain.in_count <= VIRTQUEUE_MAX_IOV);
			for (unsigned int i = 0; i < chain.out_count + chain.in_count; i++) {
				uint8_t *base = iov[i].iov_base;

				assert_true(base >= ram.host && iov[i].iov_len &&
					    iov[i].iov_len <= MEMORY &&
					    base - ram.host + iov[i].iov_len <= MEMORY);
				*(i < chain.out_count ? &out : &in) += iov[i].iov_len;
			}
			assert_true(out == chain.out_bytes && in == chain.in_bytes);
			virtqueue_push(&vq, chain.head, (uint32_t)in);
			virtqueue_should_interrupt(&vq);
		}
	}
	/* The dice must have tried both. */
	assert_true(popped > 10000);
	assert_true(refused > 10000);
}

/* ------------------------------------------------------------------ vectors */

static void vectors(void **state)
{
	char a[3] = "abc", b[4] = "defg", c[1] = "h", out[16];
	struct iovec v[] = { { a, 3 }, { b, 4 }, { c, 1 } };

	assert_int_equal(iov_read(v, 3, 0, out, 16), 8);
	assert_memory_equal(out, "abcdefgh", 8);
	assert_int_equal(iov_read(v, 3, 2, out, 3), 3);
	assert_memory_equal(out, "cde", 3);
	assert_int_equal(iov_read(v, 3, 8, out, 3), 0);
	assert_int_equal(iov_write(v, 3, 3, "XYZWV", 5), 5);
	assert_memory_equal(a, "abc", 3);
	assert_memory_equal(b, "XYZW", 4);
	assert_memory_equal(c, "V", 1);
	assert_int_equal(iov_write(v, 3, 7, "12", 2), 1);
	assert_memory_equal(c, "1", 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(direct_chain, setup),
		cmocka_unit_test_setup(indirect_chain, setup),
		cmocka_unit_test_setup(long_indirect_chain, setup),
		cmocka_unit_test_setup(many_chains, setup),
		cmocka_unit_test_setup(tells_written, setup),
		cmocka_unit_test_setup(unpop, setup),
		cmocka_unit_test_setup(no_notify_flag, setup),
		cmocka_unit_test_setup(event_indices, setup),
		cmocka_unit_test_setup(event_formula, setup),
		cmocka_unit_test_setup(loops, setup),
		cmocka_unit_test_setup(out_of_range, setup),
		cmocka_unit_test_setup(bad_addresses, setup),
		cmocka_unit_test_setup(bad_indirect, setup),
		cmocka_unit_test_setup(wrong_order, setup),
		cmocka_unit_test_setup(index_jumps, setup),
		cmocka_unit_test_setup(bad_rings, setup),
		cmocka_unit_test_setup(saved_and_loaded, setup),
		cmocka_unit_test_setup(dice, setup),
		cmocka_unit_test(vectors),
	};
	int failed = cmocka_run_group_tests_name("virtqueues", tests, NULL, NULL);

	if (ram.host)
		ram_destroy(&ram);
	return failed;
}
