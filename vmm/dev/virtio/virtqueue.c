/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Split virtqueues; see virtqueue.h.
 *
 *	descriptor table	16 bytes each: addr u64, len u32, flags u16, next u16
 *	available ring		flags u16, idx u16, ring[size] u16, used_event u16
 *	used ring		flags u16, idx u16, ring[size] {id u32, len u32}, avail_event u16
 *
 * Barriers. The driver writes descriptors and ring entries, then idx: we load idx with acquire. We
 * write used entries, then idx with release. Where each side writes its own word and then reads the
 * other's to decide whether to signal (used_event, avail_event, the flags), only a full barrier
 * keeps both from missing each other; x86 needs one there too.
 */
#include "vmm/dev/virtio/virtqueue.h"

#include <errno.h>
#include <string.h>

#define DESC_F_NEXT		1
#define DESC_F_WRITE		2
#define DESC_F_INDIRECT		4

#define AVAIL_F_NO_INTERRUPT	1
#define USED_F_NO_NOTIFY	1

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct used_elem {
	uint32_t id;
	uint32_t len;
};

/* Guest memory as 16-bit words that other processors read and write. */
static uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store16(uint16_t *p, uint16_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static const uint16_t *avail_ring(const struct virtqueue *vq, uint16_t i)
{
	return &vq->avail[2 + (i & (vq->size - 1))];
}

static const uint16_t *used_event(const struct virtqueue *vq)
{
	return &vq->avail[2 + vq->size];
}

static uint16_t *used_ring(const struct virtqueue *vq, uint16_t i)
{
	return &vq->used[2 + 4 * (i & (vq->size - 1))];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return &vq->used[2 + 4 * vq->size];
}

static size_t desc_bytes(unsigned int size)
{
	return sizeof(struct desc) * size;
}

static size_t avail_bytes(unsigned int size)
{
	return 2 * (3 + size);
}

static size_t used_bytes(unsigned int size)
{
	return 2 * 3 + sizeof(struct used_elem) * size;
}

void virtqueue_init(struct virtqueue *vq, const struct ram *ram, uint16_t max_size)
{
	memset(vq, 0, sizeof(*vq));
	vq->ram = ram;
	vq->max_size = max_size;
	virtqueue_reset(vq);
}

void virtqueue_reset(struct virtqueue *vq)
{
	const struct ram *ram = vq->ram;
	uint16_t max_size = vq->max_size;

	memset(vq, 0, sizeof(*vq));
	vq->ram = ram;
	vq->max_size = max_size;
	vq->size = max_size;
}

static int map_rings(struct virtqueue *vq)
{
	if (!vq->size || vq->size & (vq->size - 1) || vq->size > vq->max_size)
		return -EINVAL;
	if (vq->desc_addr % 16 || vq->avail_addr % 2 || vq->used_addr % 4)
		return -EINVAL;
	vq->desc = ram_ptr(vq->ram, vq->desc_addr, desc_bytes(vq->size));
	vq->avail = ram_ptr(vq->ram, vq->avail_addr, avail_bytes(vq->size));
	vq->used = ram_ptr(vq->ram, vq->used_addr, used_bytes(vq->size));
	return vq->desc && vq->avail && vq->used ? 0 : -EFAULT;
}

int virtqueue_enable(struct virtqueue *vq)
{
	int ret = map_rings(vq);

	if (ret)
		return ret;
	vq->enabled = true;
	return 0;
}

static int broken(struct virtqueue *vq, int error)
{
	vq->broken = true;
	return error;
}

/*
 * Tells the driver to notify about the entry at last_avail. With event indices that is one word
 * which says when; it is not touched while we are busy, and thereby stays behind.
 */
static void want_notification(struct virtqueue *vq)
{
	if (vq->event_idx) {
		store16(avail_event(vq), vq->last_avail);
	} else if (vq->notify_off) {
		store16(&vq->used[0], 0);
		vq->notify_off = false;
	}
	full_barrier();
}

static void no_notification(struct virtqueue *vq)
{
	if (!vq->event_idx && !vq->notify_off) {
		store16(&vq->used[0], USED_F_NO_NOTIFY);
		vq->notify_off = true;
	}
}

/* The number of entries waiting, or -EINVAL if the driver's index is impossible. */
static int available(struct virtqueue *vq)
{
	uint16_t idx = __atomic_load_n(&vq->avail[1], __ATOMIC_ACQUIRE);
	uint16_t count = (uint16_t)(idx - vq->last_avail);

	/* A driver never has more outstanding than the ring has entries. */
	if (count > vq->size || (count && vq->in_flight >= vq->size))
		return -EINVAL;
	return count;
}

/*
 * Reads one descriptor, once. The table may be at any address (an indirect one is the driver's to
 * place), so it is copied as bytes; the fence keeps the compiler from going back for more.
 */
static struct desc read_desc(const void *table, unsigned int i)
{
	struct desc d;

	memcpy(&d, (const uint8_t *)table + i * sizeof(d), sizeof(d));
	__asm__ volatile("" : : : "memory");
	return d;
}

/* What is done with each buffer of a chain. Returns 0, or -errno to end the walk. */
struct walker {
	int (*buffer)(struct virtqueue *vq, void *arg, const struct desc *d);
	void *arg;
};

static int add_buffer(struct virtqueue *vq, void *arg, const struct desc *d)
{
	struct virtqueue_chain *chain = arg;
	unsigned int n = chain->out_count + chain->in_count;
	bool in = d->flags & DESC_F_WRITE;
	void *host;

	/* 2.7.4.2: all buffers that the device reads come before any that it writes. */
	if (!in && chain->in_count)
		return -EINVAL;
	/* 2.7.5: a length of zero is not forbidden, and is nothing. */
	if (!d->len)
		return 0;
	host = ram_ptr(vq->ram, d->addr, d->len);
	if (!host)
		return -EFAULT;
	if (n == chain->iov_max)
		return -E2BIG;
	chain->iov[n].iov_base = host;
	chain->iov[n].iov_len = d->len;
	if (in) {
		chain->in_count++;
		chain->in_bytes += d->len;
	} else {
		chain->out_count++;
		chain->out_bytes += d->len;
	}
	return 0;
}

/*
 * Walks the chain that starts at entry @head of the queue's table. Descriptors may be
 * followed by one that names an indirect table with the rest of them (2.7.5.3.2), but not from
 * within such a table. Each table has as many steps as entries: a chain that needs more has a loop
 * in it.
 */
static int walk_chain(struct virtqueue *vq, uint16_t head, const struct walker *walker)
{
	const void *table = vq->desc;
	unsigned int count = vq->size;
	unsigned int left = count;
	unsigned int i = head;
	bool nested = false;

	while (left--) {
		struct desc d;
		int ret;

		if (i >= count)
			return -EINVAL;
		d = read_desc(table, i);
		if (d.flags & DESC_F_INDIRECT) {
			if (!vq->indirect || nested || d.flags & DESC_F_NEXT || !d.len ||
			    d.len % sizeof(d) || d.len / sizeof(d) > VIRTQUEUE_MAX_IOV)
				return -EINVAL;
			table = ram_ptr(vq->ram, d.addr, d.len);
			if (!table)
				return -EFAULT;
			nested = true;
			count = d.len / sizeof(d);
			left = count;
			i = 0;
			continue;
		}
		ret = walker->buffer(vq, walker->arg, &d);
		if (ret)
			return ret;
		if (!(d.flags & DESC_F_NEXT))
			return 0;
		i = d.next;
	}
	return -ELOOP;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	const struct walker walker = { add_buffer, chain };
	int ret;

	if (vq->broken)
		return -EIO;
	if (!vq->enabled)
		return 0;

	ret = available(vq);
	if (!ret) {
		want_notification(vq);
		ret = available(vq);
	}
	if (ret < 0)
		return broken(vq, ret);
	if (!ret)
		return 0;
	no_notification(vq);

	chain->head = load16(avail_ring(vq, vq->last_avail));
	chain->out_count = 0;
	chain->in_count = 0;
	chain->out_bytes = 0;
	chain->in_bytes = 0;
	if (chain->head >= vq->size)
		return broken(vq, -EINVAL);
	ret = walk_chain(vq, chain->head, &walker);
	if (ret)
		return broken(vq, ret);

	vq->last_avail++;
	vq->in_flight++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *vq)
{
	vq->last_avail--;
	vq->in_flight--;
}

/* Parts of memory to be told of, few at a time. */
struct told {
	struct ram_range range[16];
	unsigned int count;
};

static int tell_buffer(struct virtqueue *vq, void *arg, const struct desc *d)
{
	struct told *told = arg;
	struct ram_range *last = told->count ? &told->range[told->count - 1] : NULL;

	if (!(d->flags & DESC_F_WRITE) || !d->len)
		return 0;
	if (!ram_ptr(vq->ram, d->addr, d->len))
		return -EFAULT;
	if (last && last->gpa + last->length == d->addr) {
		last->length += d->len;
		return 0;
	}
	if (told->count == sizeof(told->range) / sizeof(told->range[0])) {
		ram_written(vq->ram, told->range, told->count);
		told->count = 0;
	}
	told->range[told->count++] = (struct ram_range){ d->addr, d->len };
	return 0;
}

/*
 * Tells of all that the device may have written to the chains. They are read again: a driver does not
 * change a chain that it has not got back, and one that does misleads nobody but itself.
 */
static void tell_written(struct virtqueue *vq, const struct virtqueue_used *used,
			 unsigned int count)
{
	struct told told;
	const struct walker walker = { tell_buffer, &told };

	told.count = 0;
	for (unsigned int i = 0; i < count; i++)
		walk_chain(vq, used[i].head, &walker);
	ram_written(vq->ram, told.range, told.count);
}

void virtqueue_push_all(struct virtqueue *vq, const struct virtqueue_used *used, unsigned int count)
{
	if (vq->ram->written)
		tell_written(vq, used, count);
	for (unsigned int i = 0; i < count; i++) {
		struct used_elem elem = { .id = used[i].head, .len = used[i].length };

		memcpy(used_ring(vq, vq->used_idx), &elem, sizeof(elem));
		vq->used_idx++;
		vq->in_flight--;
	}
	__atomic_store_n(&vq->used[1], vq->used_idx, __ATOMIC_RELEASE);
}

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t length)
{
	const struct virtqueue_used used = { .head = head, .length = length };

	virtqueue_push_all(vq, &used, 1);
}

bool virtqueue_should_interrupt(struct virtqueue *vq)
{
	uint16_t old = vq->signalled, now = vq->used_idx;

	/* A broken queue is still owed the interrupts for what was pushed before. */
	if (!vq->enabled || old == now)
		return false;
	vq->signalled = now;
	full_barrier();
	if (!vq->event_idx)
		return !(load16(&vq->avail[0]) & AVAIL_F_NO_INTERRUPT);
	/* 2.7.7: interrupt if used_event is among the entries written since. */
	return (uint16_t)(now - load16(used_event(vq)) - 1) < (uint16_t)(now - old);
}

/* ------------------------------------------------------------------ state */

static int virtqueue_post_load(void *object, unsigned int version)
{
	struct virtqueue *vq = object;

	/* A snapshot is taken only when nothing is in flight. */
	vq->in_flight = 0;
	vq->notify_off = true;
	if (!vq->enabled)
		return vq->size && vq->size <= vq->max_size ? 0 : -EINVAL;
	return map_rings(vq) ? -EINVAL : 0;
}

static const struct state_field virtqueue_fields[] = {
	STATE_INT(1, 1, struct virtqueue, size),
	STATE_INT(2, 1, struct virtqueue, enabled),
	STATE_INT(3, 1, struct virtqueue, desc_addr),
	STATE_INT(4, 1, struct virtqueue, avail_addr),
	STATE_INT(5, 1, struct virtqueue, used_addr),
	STATE_INT(6, 1, struct virtqueue, last_avail),
	STATE_INT(7, 1, struct virtqueue, used_idx),
	STATE_INT(8, 1, struct virtqueue, signalled),
	STATE_INT(9, 1, struct virtqueue, broken),
};

STATE_TABLE(virtqueue_state, "virtqueue", 1, struct virtqueue, virtqueue_fields,
	    .post_load = virtqueue_post_load);

/* ------------------------------------------------------------------ vectors */

size_t iov_read(const struct iovec *iov, unsigned int count, uint64_t skip, void *to, size_t length)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < length; i++) {
		size_t n = iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > length - done)
			n = length - done;
		memcpy((uint8_t *)to + done, (uint8_t *)iov[i].iov_base + skip, n);
		done += n;
		skip = 0;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, unsigned int count, uint64_t skip, const void *from,
		 size_t length)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < length; i++) {
		size_t n = iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > length - done)
			n = length - done;
		memcpy((uint8_t *)iov[i].iov_base + skip, (const uint8_t *)from + done, n);
		done += n;
		skip = 0;
	}
	return done;
}
