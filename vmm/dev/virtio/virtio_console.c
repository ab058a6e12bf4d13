/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio console (virtio 1.2, section 5.3): one port over a character backend.
 *
 * Nothing is kept in the device. Output that the backend does not take stays in the guest's buffer,
 * of which we remember how far we got; input is taken from the backend only as far as the guest has
 * given buffers. So a pause finds nothing in flight, and a guest that does not read stops whoever
 * types, not the machine.
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/char/char.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define QUEUE_SIZE	256

enum { RX, TX, QUEUES };

/* What one call moves at most before others on the loop thread get their turn. */
#define TX_LIMIT	(256u * 1024)
#define RX_LIMIT	4096u

struct virtio_console {
	struct virtio_device vdev;
	struct virtio_console_config config;
	struct char_backend *backend;
	bool attached;		/* the backend is ours */
	uint64_t sent;		/* bytes of the chain that comes next which the backend has */
	struct iovec iov[VIRTQUEUE_MAX_IOV];
};

static struct virtio_console *to_console(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_console, vdev);
}

/* ------------------------------------------------------------------ output */

/* Gives the backend up to limit bytes of a vector from byte skip on; returns how many it took. */
static uint64_t send(struct char_backend *backend, const struct iovec *iov, unsigned int count,
		     uint64_t skip, uint64_t limit)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < count && done < limit; i++) {
		size_t length = iov[i].iov_len, taken;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		length -= skip;
		if (length > limit - done)
			length = limit - done;
		taken = backend->ops->write(backend, (const uint8_t *)iov[i].iov_base + skip,
					    length);
		done += taken;
		if (taken < length)
			break;
		skip = 0;
	}
	return done;
}

static void process_tx(struct virtio_console *console)
{
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtqueue *vq = &console->vdev.queues[TX].vq;
	uint64_t budget = TX_LIMIT;
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(&console->vdev, TX, &chain); n++) {
		uint64_t left, taken;

		/* The guest may have changed the chain since we last saw it. */
		left = chain.out_bytes > console->sent ? chain.out_bytes - console->sent : 0;
		taken = send(console->backend, chain.iov, chain.out_count, console->sent,
			     left < budget ? left : budget);
		budget -= taken;
		if (taken < left) {
			console->sent += taken;
			virtqueue_unpop(vq);
			/* Either our time is up, or the backend will call console_writable(). */
			if (!budget)
				virtio_queue_kick(&console->vdev, TX);
			return;
		}
		console->sent = 0;
		virtqueue_push(vq, chain.head, 0);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(&console->vdev, TX);
}

static void console_writable(void *front)
{
	struct virtio_console *console = front;

	virtio_queue_kick(&console->vdev, TX);
}

/* ------------------------------------------------------------------ input */

static size_t console_room(void *front)
{
	struct virtio_console *console = front;
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;
	struct virtqueue *vq = &vdev->queues[RX].vq;
	uint64_t room = 0;

	pthread_mutex_lock(vdev->lock);
	/* Each turn either ends the loop or takes a chain from the guest for good. */
	for (unsigned int n = 0; n < VIRTIO_BATCH && virtio_is_running(vdev) &&
				 virtio_queue_pop(vdev, RX, &chain); n++) {
		if (chain.in_bytes) {
			room = chain.in_bytes < RX_LIMIT ? chain.in_bytes : RX_LIMIT;
			virtqueue_unpop(vq);
			break;
		}
		virtqueue_push(vq, chain.head, 0);
	}
	pthread_mutex_unlock(vdev->lock);
	return room;
}

static void console_input(void *front, const uint8_t *data, size_t length)
{
	struct virtio_console *console = front;
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;

	pthread_mutex_lock(vdev->lock);
	for (unsigned int n = 0; n < VIRTIO_BATCH && length && virtio_is_running(vdev) &&
				 virtio_queue_pop(vdev, RX, &chain); n++) {
		size_t taken = iov_write(chain.iov + chain.out_count, chain.in_count, 0, data,
					 length);

		virtqueue_push(&vdev->queues[RX].vq, chain.head, (uint32_t)taken);
		data += taken;
		length -= taken;
	}
	virtio_queue_flush(vdev, RX);
	pthread_mutex_unlock(vdev->lock);
}

/* ------------------------------------------------------------------ the rest */

static void console_resized(void *front, unsigned int columns, unsigned int rows)
{
	struct virtio_console *console = front;

	pthread_mutex_lock(console->vdev.lock);
	console->config.cols = (uint16_t)columns;
	console->config.rows = (uint16_t)rows;
	virtio_config_changed(&console->vdev);
	pthread_mutex_unlock(console->vdev.lock);
}

static const struct char_front front = {
	.room = console_room,
	.input = console_input,
	.writable = console_writable,
	.resized = console_resized,
};

static int console_start(struct virtio_device *vdev)
{
	struct virtio_console *console = to_console(vdev);

	char_attach(console->backend, &front, console);
	console->attached = true;
	return 0;
}

static void console_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_console *console = to_console(vdev);

	if (queue == TX)
		process_tx(console);
	else
		console->backend->ops->accept_input(console->backend);
}

/* 5.3.4: a character for a guest in such trouble that it cannot set up queues. */
static void console_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
				 uint32_t value)
{
	struct virtio_console *console = to_console(vdev);
	uint8_t c = (uint8_t)value;

	if (offset == offsetof(struct virtio_console_config, emerg_wr))
		console->backend->ops->write(console->backend, &c, 1);
}

static void console_reset(struct virtio_device *vdev)
{
	to_console(vdev)->sent = 0;
}

static void console_destroy(struct virtio_device *vdev)
{
	struct virtio_console *console = to_console(vdev);

	if (console->attached)
		console->backend->ops->destroy(console->backend);
	virtio_device_destroy(vdev);
	free(console);
}

static const struct state_field console_fields[] = {
	STATE_INT(1, 1, struct virtio_console, sent),
};

STATE_TABLE_STATIC(console_state, "virtio-console", 1, struct virtio_console, console_fields);

static const struct virtio_device_ops console_ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,		/* communication controller, other */
	.state = &console_state,
	.start = console_start,
	.process = console_process,
	.config_write = console_config_write,
	.reset = console_reset,
	.destroy = console_destroy,
};

int virtio_console_new(struct machine *machine, struct char_backend *backend,
		       struct virtio_device **vdev, struct vmm_error *error)
{
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	struct virtio_console *console;
	unsigned int columns = 0, rows = 0;
	int ret;

	console = calloc(1, sizeof(*console));
	if (!console)
		return vmm_fail(error, -ENOMEM, "virtio-console: out of memory");
	backend->ops->size(backend, &columns, &rows);
	if (columns && rows)
		features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
	console->config.cols = (uint16_t)columns;
	console->config.rows = (uint16_t)rows;
	console->config.max_nr_ports = 1;
	ret = virtio_device_init(&console->vdev, &console_ops, machine, QUEUES, QUEUE_SIZE,
				 features, &console->config, sizeof(console->config));
	if (ret) {
		free(console);
		return vmm_fail(error, ret, "virtio-console: %s", strerror(-ret));
	}
	console->backend = backend;
	*vdev = &console->vdev;
	return 0;
}

int virtio_console_create(struct machine *machine, struct char_backend *backend,
			  struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_console_new(machine, backend, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
