/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Split virtqueues (virtio 1.2, section 2.7), the device's side.
 *
 * Everything in a ring is the guest's and may change while it is read: each word is read once into
 * our own memory, checked there, and used from there. What the checks catch leaves the queue
 * "broken": it hands out nothing more until it is reset, and the device asks the driver for that.
 *
 * A queue is used by one thread at a time, under its device's lock. Multi-byte fields are
 * little-endian in the guest, as this program's only host is; there is no swapping.
 */
#ifndef VMM_DEV_VIRTIO_VIRTQUEUE_H
#define VMM_DEV_VIRTIO_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/ram.h"
#include "vmm/state.h"

#define VIRTQUEUE_MAX_SIZE	1024	/* entries; the format allows 32768 */
#define VIRTQUEUE_MAX_IOV	1024	/* descriptors in one chain, and IOV_MAX */

struct virtqueue {
	const struct ram *ram;

	/* What the driver chose. */
	uint16_t size;		/* entries, a power of two */
	uint16_t max_size;	/* what the device offers */
	bool enabled;
	uint64_t desc_addr;	/* guest-physical */
	uint64_t avail_addr;
	uint64_t used_addr;
	bool event_idx;		/* VIRTIO_F_EVENT_IDX was negotiated */
	bool indirect;		/* VIRTIO_F_INDIRECT_DESC was negotiated */

	/* Where we are. Indices run freely modulo 2^16. */
	uint16_t last_avail;	/* the next available entry to look at */
	uint16_t used_idx;	/* the next used entry to write */
	uint16_t signalled;	/* used_idx when virtqueue_should_interrupt() was last asked */
	uint16_t in_flight;	/* popped and not yet pushed */
	bool broken;

	/* Derived: the rings in our memory while enabled. */
	const void *desc;
	uint16_t *avail;	/* flags, idx, ring[size], used_event */
	uint16_t *used;		/* flags, idx, ring[size] of 8 bytes, avail_event */
	bool notify_off;	/* we told the driver that it need not notify */
};

/* A chain of buffers from the driver: first those the device reads, then those it writes. */
struct virtqueue_chain {
	uint16_t head;		/* names the chain when it goes back */
	unsigned int out_count;	/* entries of iov that the device reads */
	unsigned int in_count;	/* entries after them that the device writes */
	uint64_t out_bytes;
	uint64_t in_bytes;
	struct iovec *iov;	/* the caller's array */
	unsigned int iov_max;	/* its length */
};

/* Prepares a queue of at most @max_size entries, a power of two. */
void virtqueue_init(struct virtqueue *vq, const struct ram *ram, uint16_t max_size);

/* To the state after a device reset: disabled, of the largest size, at address 0. */
void virtqueue_reset(struct virtqueue *vq);

/*
 * Maps the rings where the driver put them. Returns 0, -EINVAL for a size or alignment the format
 * forbids, -EFAULT where a ring is not wholly in memory.
 */
int virtqueue_enable(struct virtqueue *vq);

/*
 * Takes the next chain. @chain comes with iov and iov_max set. Returns 1 with a chain; 0 if there
 * is none, in which case the driver will notify when there is; -errno if the driver made a mistake,
 * after which the queue is broken.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/* Undoes the last pop: the same chain comes next time. */
void virtqueue_unpop(struct virtqueue *vq);

/* Gives a chain back: @length bytes of its writable part were written, from the start. */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t length);

/* A chain to give back, and how much of it was written. */
struct virtqueue_used {
	uint16_t head;
	uint32_t length;
};

/* Gives several chains back at once: the driver finds all of them or none. */
void virtqueue_push_all(struct virtqueue *vq, const struct virtqueue_used *used,
			unsigned int count);

/* Whether the driver wants an interrupt for what was pushed since this was last asked. */
bool virtqueue_should_interrupt(struct virtqueue *vq);

/* The state of one queue, for its device's table. */
extern const struct state_table virtqueue_state;

/* Copies between a vector and a buffer, from byte @skip on. Return the bytes copied. */
size_t iov_read(const struct iovec *iov, unsigned int count, uint64_t skip, void *to,
		size_t length);
size_t iov_write(const struct iovec *iov, unsigned int count, uint64_t skip, const void *from,
		 size_t length);

#endif
