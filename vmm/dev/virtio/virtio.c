/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all virtio devices share: status, feature negotiation, queues and their notifications,
 * reset. See virtio.h.
 */
#include "vmm/dev/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BIT64(n)	(1ull << (n))

#define COMMON_FEATURES	(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) | \
			 BIT64(VIRTIO_RING_F_EVENT_IDX))

#define STATUS_BITS	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK | \
			 VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

/* ------------------------------------------------------------------ queues */

static void process(struct virtio_queue *queue)
{
	struct virtio_device *vdev = queue->vdev;

	if (!virtio_is_running(vdev) || !queue->vq.enabled)
		return;
	vdev->ops->process(vdev, queue->index);
	virtio_queue_flush(vdev, queue->index);
}

static void kicked(struct loop_fd *watch, uint32_t events)
{
	struct virtio_queue *queue = container_of(watch, struct virtio_queue, watch);
	eventfd_t count;

	if (eventfd_read(queue->kick_fd, &count))
		return;
	pthread_mutex_lock(queue->vdev->lock);
	process(queue);
	pthread_mutex_unlock(queue->vdev->lock);
}

void virtio_queue_kick(struct virtio_device *vdev, unsigned int queue)
{
	/* Fails only when it is full, and then the loop has a reason to look already. */
	eventfd_write(vdev->queues[queue].kick_fd, 1);
}

static void kick_all(struct virtio_device *vdev)
{
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		virtio_queue_kick(vdev, i);
}

bool virtio_queue_pop(struct virtio_device *vdev, unsigned int queue, struct virtqueue_chain *chain)
{
	int ret = virtqueue_pop(&vdev->queues[queue].vq, chain);

	if (ret < 0)
		virtio_device_broken(vdev);
	return ret > 0;
}

void virtio_queue_flush(struct virtio_device *vdev, unsigned int queue)
{
	if (virtqueue_should_interrupt(&vdev->queues[queue].vq))
		vdev->transport->queue_interrupt(vdev, queue);
}

bool virtio_queue_is_open(const struct virtio_device *vdev, unsigned int queue)
{
	return queue < vdev->queue_count && !vdev->queues[queue].vq.enabled && !vdev->resetting &&
	       vdev->status & VIRTIO_CONFIG_S_FEATURES_OK;
}

void virtio_queue_enable(struct virtio_device *vdev, unsigned int queue)
{
	struct virtqueue *vq;

	if (!virtio_queue_is_open(vdev, queue))
		return;
	vq = &vdev->queues[queue].vq;
	vq->event_idx = virtio_has_feature(vdev, VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = virtio_has_feature(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	if (virtqueue_enable(vq)) {
		virtio_device_broken(vdev);
		return;
	}
	virtio_queue_kick(vdev, queue);
}

/* ------------------------------------------------------------------ status */

bool virtio_is_running(const struct virtio_device *vdev)
{
	const uint8_t care = VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET |
			     VIRTIO_CONFIG_S_FAILED;

	return (vdev->status & care) == VIRTIO_CONFIG_S_DRIVER_OK && !vdev->resetting &&
	       !vdev->paused && vdev->dma;
}

void virtio_device_broken(struct virtio_device *vdev)
{
	if (vdev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: told only to a driver that is ready to hear it. */
	if (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		vdev->transport->config_interrupt(vdev);
}

static void finish_reset(struct virtio_device *vdev)
{
	vdev->resetting = false;
	vdev->status = 0;
	vdev->driver_features = 0;
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		virtqueue_reset(&vdev->queues[i].vq);
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	vdev->transport->reset(vdev);
}

void virtio_request_started(struct virtio_device *vdev)
{
	vdev->in_flight++;
}

void virtio_request_finished(struct virtio_device *vdev)
{
	vdev->in_flight--;
	if (vdev->resetting && !vdev->in_flight)
		finish_reset(vdev);
}

static bool features_acceptable(const struct virtio_device *vdev)
{
	return !(vdev->driver_features & ~vdev->host_features) &&
	       virtio_has_feature(vdev, VIRTIO_F_VERSION_1);
}

void virtio_set_status(struct virtio_device *vdev, uint8_t status)
{
	uint8_t added;

	if (vdev->resetting)
		return;
	if (!status) {
		vdev->resetting = true;
		if (!vdev->in_flight)
			finish_reset(vdev);
		return;
	}

	/* 2.1.1: a driver only ever adds bits; this one is the device's to set. */
	added = status & STATUS_BITS & (uint8_t)~vdev->status &
		(uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 3.1.1, step 6: the driver reads it back to learn whether its choice was accepted. */
	if (added & VIRTIO_CONFIG_S_FEATURES_OK && !features_acceptable(vdev))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK &&
	    !((vdev->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	vdev->status |= added;

	/* Buffers that were made available earlier were not looked at, and are now. */
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		kick_all(vdev);
}

void virtio_set_features(struct virtio_device *vdev, unsigned int word, uint32_t features)
{
	if (word > 1 || vdev->resetting || vdev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	vdev->driver_features &= ~(0xffffffffull << 32 * word);
	vdev->driver_features |= (uint64_t)features << 32 * word;
}

void virtio_set_dma(struct virtio_device *vdev, bool on)
{
	if (vdev->dma == on)
		return;
	vdev->dma = on;
	if (on)
		kick_all(vdev);
}

/* ------------------------------------------------------------------ configuration space */

uint32_t virtio_config_read(struct virtio_device *vdev, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	if (offset < vdev->config_size) {
		if (size > vdev->config_size - offset)
			size = vdev->config_size - offset;
		memcpy(&value, vdev->config + offset, size);
	}
	return value;
}

void virtio_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			 uint32_t value)
{
	if (!vdev->ops->config_write || vdev->resetting || offset >= vdev->config_size ||
	    size > vdev->config_size - offset)
		return;
	vdev->ops->config_write(vdev, offset, size, value);
}

void virtio_config_changed(struct virtio_device *vdev)
{
	vdev->config_generation++;
	if (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		vdev->transport->config_interrupt(vdev);
}

/* ------------------------------------------------------------------ life */

int virtio_device_init(struct virtio_device *vdev, const struct virtio_device_ops *ops,
		       struct machine *machine, unsigned int queue_count, uint16_t queue_size,
		       uint64_t features, void *config, unsigned int config_size)
{
	int ret;

	assert(queue_count <= VIRTIO_MAX_QUEUES && queue_size <= VIRTQUEUE_MAX_SIZE);
	vdev->ops = ops;
	vdev->machine = machine;
	vdev->host_features = features | COMMON_FEATURES;
	vdev->config = config;
	vdev->config_size = config_size;
	vdev->queues = calloc(queue_count, sizeof(*vdev->queues));
	if (!vdev->queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < queue_count; i++) {
		struct virtio_queue *queue = &vdev->queues[i];

		queue->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (queue->kick_fd < 0) {
			ret = -errno;
			virtio_device_destroy(vdev);
			return ret;
		}
		vdev->queue_count++;
		queue->vdev = vdev;
		queue->index = i;
		virtqueue_init(&queue->vq, &machine->ram, queue_size);
	}
	return 0;
}

void virtio_device_destroy(struct virtio_device *vdev)
{
	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		loop_fd_del(&vdev->queues[i].watch);
		close(vdev->queues[i].kick_fd);
	}
	free(vdev->queues);
	vdev->queues = NULL;
	vdev->queue_count = 0;
}

void virtio_attach(struct virtio_device *vdev, const struct virtio_transport_ops *transport,
		   void *transport_data, pthread_mutex_t *lock)
{
	vdev->transport = transport;
	vdev->transport_data = transport_data;
	vdev->lock = lock;
}

int virtio_start(struct virtio_device *vdev)
{
	int ret = 0;

	for (unsigned int i = 0; i < vdev->queue_count && !ret; i++) {
		struct virtio_queue *queue = &vdev->queues[i];

		queue->watch.fd = queue->kick_fd;
		queue->watch.events = EPOLLIN;
		queue->watch.callback = kicked;
		ret = loop_fd_add(vdev->machine->loop, &queue->watch);
	}
	if (!ret && vdev->ops->start)
		ret = vdev->ops->start(vdev);
	return ret;
}

void virtio_device_reset(struct virtio_device *vdev)
{
	finish_reset(vdev);
}

void virtio_device_pause(struct virtio_device *vdev)
{
	vdev->paused = true;
}

bool virtio_device_quiescent(struct virtio_device *vdev)
{
	return !vdev->in_flight;
}

void virtio_device_resume(struct virtio_device *vdev)
{
	vdev->paused = false;
	/* Notifications that came while paused were dropped. */
	kick_all(vdev);
}

/* ------------------------------------------------------------------ state */

static int virtio_device_post_load(void *object, unsigned int version)
{
	struct virtio_device *vdev = object;

	/* Also undoes a reset that was waiting: what it waited for has finished before the save. */
	vdev->resetting = false;
	vdev->status &= STATUS_BITS;
	if (vdev->status & VIRTIO_CONFIG_S_FEATURES_OK ? !features_acceptable(vdev) :
	    vdev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		return -EINVAL;
	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		struct virtqueue *vq = &vdev->queues[i].vq;

		if (vq->enabled && !(vdev->status & VIRTIO_CONFIG_S_FEATURES_OK))
			return -EINVAL;
		vq->event_idx = virtio_has_feature(vdev, VIRTIO_RING_F_EVENT_IDX);
		vq->indirect = virtio_has_feature(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	}
	return 0;
}

static const struct state_field virtio_queue_fields[] = {
	STATE_NESTED(1, 1, struct virtio_queue, vq, &virtqueue_state),
};

STATE_TABLE_STATIC(virtio_queue_state, "virtio-queue", 1, struct virtio_queue,
		   virtio_queue_fields);

static const struct state_field virtio_device_fields[] = {
	STATE_INT(1, 1, struct virtio_device, driver_features),
	STATE_INT(2, 1, struct virtio_device, status),
	STATE_INT(3, 1, struct virtio_device, config_generation),
	STATE_NESTED_PTR(4, 1, struct virtio_device, queues, queue_count, VIRTIO_MAX_QUEUES,
			 &virtio_queue_state),
};

STATE_TABLE(virtio_device_state, "virtio", 1, struct virtio_device, virtio_device_fields,
	    .post_load = virtio_device_post_load);
