/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio entropy device (virtio 1.2, section 5.4): buffers come in, random bytes go out.
 *
 * The bytes are the host kernel's own, which does not run dry. A buffer is filled up to a limit, so
 * that a guest that asks for a gigabyte does not hold up the loop; drivers ask again.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define QUEUE_SIZE	64
#define FILL_LIMIT	4096	/* bytes for one chain */

struct virtio_rng {
	struct virtio_device vdev;
	struct iovec iov[VIRTQUEUE_MAX_IOV];
};

/* Fills the chain's writable part, from the start; returns the bytes written. */
static uint32_t fill(const struct virtqueue_chain *chain)
{
	uint8_t bytes[FILL_LIMIT];
	size_t length = chain->in_bytes < sizeof(bytes) ? chain->in_bytes : sizeof(bytes);
	size_t done = 0;

	while (done < length) {
		ssize_t n = getrandom(bytes + done, length - done, 0);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	return (uint32_t)iov_write(chain->iov + chain->out_count, chain->in_count, 0, bytes, done);
}

static void rng_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_rng *rng = container_of(vdev, struct virtio_rng, vdev);
	struct virtqueue_chain chain = { .iov = rng->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(vdev, queue, &chain); n++)
		virtqueue_push(&vdev->queues[queue].vq, chain.head, fill(&chain));
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(vdev, queue);
}

static void rng_destroy(struct virtio_device *vdev)
{
	virtio_device_destroy(vdev);
	free(container_of(vdev, struct virtio_rng, vdev));
}

static const struct virtio_device_ops rng_ops = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,		/* no class of its own */
	.process = rng_process,
	.destroy = rng_destroy,
};

int virtio_rng_new(struct machine *machine, struct virtio_device **vdev, struct vmm_error *error)
{
	struct virtio_rng *rng;
	int ret;

	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return vmm_fail(error, -ENOMEM, "virtio-rng: out of memory");
	ret = virtio_device_init(&rng->vdev, &rng_ops, machine, 1, QUEUE_SIZE, 0, NULL, 0);
	if (ret) {
		free(rng);
		return vmm_fail(error, ret, "virtio-rng: %s", strerror(-ret));
	}
	*vdev = &rng->vdev;
	return 0;
}

int virtio_rng_create(struct machine *machine, struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_rng_new(machine, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
