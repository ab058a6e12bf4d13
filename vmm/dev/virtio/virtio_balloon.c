/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio memory balloon (virtio 1.2, section 5.5): memory that the guest gives back.
 *
 * Either because it is asked to: the host says how large the balloon is to be, and the guest names
 * pages that it will not use (inflate) until it is told, or needs, to take some back (deflate). Or
 * by itself: it reports ranges of free pages now and then, and touches them when it likes. In both
 * cases we give the pages back to the host; they read as zeroes when they are touched next, and
 * then take memory again. So deflating needs nothing done.
 *
 * Page numbers are the guest's, and any of them may be wrong: what is no memory is ignored. What a
 * chain may name, and what is done in one turn, is limited, so that a guest cannot keep the loop
 * thread.
 */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

/*
 * 5.5.2 numbers all queues, whatever features there are: the one for reports is the fifth. Linux
 * numbers those that it uses: without "free page hints", which we do not offer, the fourth.
 */
enum { INFLATE, DEFLATE, STATISTICS, REPORTS_LINUX, REPORTS, QUEUES };

#define QUEUE_SIZE	128
#define PAGE		(1u << VIRTIO_BALLOON_PFN_SHIFT)
#define CHAIN_PAGES	4096	/* that one chain may name; Linux's name 256 */
#define CHAIN_STATS	64	/* entries that one chain may have */
#define TURN		16	/* chains in one turn */

/* As far as there is something that we offer. */
#define CONFIG_SIZE	offsetof(struct virtio_balloon_config, free_page_hint_cmd_id)

struct virtio_balloon {
	struct virtio_device vdev;
	struct virtio_balloon_config config;
	uint64_t stats[VIRTIO_BALLOON_S_NR];
	uint32_t stats_known;		/* a bit for each that the guest has told */
	uint64_t stats_told;		/* loop_now() when it did */
	uint32_t pfns[CHAIN_PAGES];	/* of the chain at hand */
	struct iovec iov[VIRTQUEUE_MAX_IOV];
};

static struct virtio_balloon *to_balloon(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_balloon, vdev);
}

/* ------------------------------------------------------------------ pages */

/* Gives whole pages back to the host. It may not be able to, which does no harm. */
static void discard(void *start, size_t length)
{
	madvise(start, length, MADV_REMOVE);
}

/* Pages that the guest named by number, those next to each other together. */
static void discard_pages(struct virtio_balloon *balloon, unsigned int count)
{
	const struct ram *ram = &balloon->vdev.machine->ram;
	unsigned int i = 0, n;

	for (; i < count; i += n) {
		uint64_t first = balloon->pfns[i];
		void *host;

		for (n = 1; i + n < count && balloon->pfns[i + n] == first + n; n++)
			;
		host = ram_ptr(ram, first * PAGE, (uint64_t)n * PAGE);
		if (host) {
			discard(host, (size_t)n * PAGE);
			ram_written(ram, &(struct ram_range){ first * PAGE, (uint64_t)n * PAGE }, 1);
			continue;
		}
		/* Not all of them are memory: one at a time. */
		n = 1;
		host = ram_ptr(ram, first * PAGE, PAGE);
		if (host) {
			discard(host, PAGE);
			ram_written(ram, &(struct ram_range){ first * PAGE, PAGE }, 1);
		}
	}
}

static void inflate(struct virtio_balloon *balloon, const struct virtqueue_chain *chain)
{
	size_t size = iov_read(chain->iov, chain->out_count, 0, balloon->pfns,
			       sizeof(balloon->pfns));

	discard_pages(balloon, (unsigned int)(size / sizeof(balloon->pfns[0])));
}

/* 5.5.6.7: a chain of buffers that the device may write, which is to say, forget. */
static void discard_reported(const struct virtqueue_chain *chain)
{
	for (unsigned int i = 0; i < chain->in_count; i++) {
		const struct iovec *v = &chain->iov[chain->out_count + i];
		uintptr_t start = ((uintptr_t)v->iov_base + PAGE - 1) & -(uintptr_t)PAGE;
		uintptr_t end = ((uintptr_t)v->iov_base + v->iov_len) & -(uintptr_t)PAGE;

		if (start < end)
			discard((void *)start, end - start);
	}
}

/* ------------------------------------------------------------------ statistics */

static void read_statistics(struct virtio_balloon *balloon, const struct virtqueue_chain *chain)
{
	struct virtio_balloon_stat stat;

	for (unsigned int i = 0; i < CHAIN_STATS &&
	     iov_read(chain->iov, chain->out_count, i * sizeof(stat), &stat, sizeof(stat)) ==
	     sizeof(stat); i++) {
		if (stat.tag >= VIRTIO_BALLOON_S_NR)
			continue;
		balloon->stats[stat.tag] = stat.val;
		balloon->stats_known |= 1u << stat.tag;
	}
}

/* The guest has filled a buffer, which stays in the queue until new numbers are wanted. */
static void take_statistics(struct virtio_balloon *balloon)
{
	struct virtqueue_chain chain = { .iov = balloon->iov, .iov_max = VIRTQUEUE_MAX_IOV };

	if (!virtio_queue_pop(&balloon->vdev, STATISTICS, &chain))
		return;
	read_statistics(balloon, &chain);
	balloon->stats_told = loop_now();
	virtqueue_unpop(&balloon->vdev.queues[STATISTICS].vq);
}

/* Asks for new numbers: the guest fills the buffer again when it gets it back. */
static void ask_for_statistics(struct virtio_balloon *balloon)
{
	struct virtqueue_chain chain = { .iov = balloon->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &balloon->vdev;

	if (!virtio_is_running(vdev) || !virtio_has_feature(vdev, VIRTIO_BALLOON_F_STATS_VQ) ||
	    !virtio_queue_pop(vdev, STATISTICS, &chain))
		return;
	virtqueue_push(&vdev->queues[STATISTICS].vq, chain.head, 0);
	virtio_queue_flush(vdev, STATISTICS);
	/* Looks for the buffer, and has the guest notify when it comes. */
	virtio_queue_kick(vdev, STATISTICS);
}

/* ------------------------------------------------------------------ the queues */

static void take_pages(struct virtio_balloon *balloon, unsigned int queue, bool reports)
{
	struct virtqueue_chain chain = { .iov = balloon->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &balloon->vdev;
	unsigned int n;

	for (n = 0; n < TURN && virtio_queue_pop(vdev, queue, &chain); n++) {
		if (reports)
			discard_reported(&chain);
		else if (queue == INFLATE)
			inflate(balloon, &chain);
		virtqueue_push(&vdev->queues[queue].vq, chain.head, 0);
	}
	if (n == TURN)
		virtio_queue_kick(vdev, queue);
}

static void balloon_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_balloon *balloon = to_balloon(vdev);
	bool statistics = virtio_has_feature(vdev, VIRTIO_BALLOON_F_STATS_VQ);
	bool reports = virtio_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING);

	switch (queue) {
	case INFLATE:
	case DEFLATE:
		take_pages(balloon, queue, false);
		break;
	case STATISTICS:
		if (statistics)
			take_statistics(balloon);
		else if (reports)
			take_pages(balloon, queue, true);
		break;
	default:
		if (reports)
			take_pages(balloon, queue, true);
	}
}

/* ------------------------------------------------------------------ for the host */

static uint64_t guest_size(const struct virtio_balloon *balloon, uint32_t pages)
{
	uint64_t memory = balloon->vdev.machine->ram.size, away = (uint64_t)pages * PAGE;

	return away < memory ? memory - away : 0;
}

int virtio_balloon_set_size(struct machine *machine, uint64_t size)
{
	struct virtio_device *vdev = machine->balloon;
	struct virtio_balloon *balloon;
	uint64_t pages;

	if (!vdev)
		return -ENODEV;
	if (!size || size > machine->ram.size)
		return -EINVAL;
	balloon = to_balloon(vdev);
	pages = (machine->ram.size - size) / PAGE;
	pthread_mutex_lock(vdev->lock);
	balloon->config.num_pages = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	virtio_config_changed(vdev);
	pthread_mutex_unlock(vdev->lock);
	return 0;
}

int virtio_balloon_query(struct machine *machine, struct balloon_info *info)
{
	struct virtio_device *vdev = machine->balloon;
	struct virtio_balloon *balloon;

	if (!vdev)
		return -ENODEV;
	balloon = to_balloon(vdev);
	pthread_mutex_lock(vdev->lock);
	*info = (struct balloon_info){
		.memory = machine->ram.size,
		.wanted = guest_size(balloon, balloon->config.num_pages),
		.actual = guest_size(balloon, balloon->config.actual),
		.known = balloon->stats_known,
		.told = balloon->stats_told,
	};
	_Static_assert(ARRAY_SIZE(info->stats) >= VIRTIO_BALLOON_S_NR, "room for all");
	memcpy(info->stats, balloon->stats, sizeof(balloon->stats));
	ask_for_statistics(balloon);
	pthread_mutex_unlock(vdev->lock);
	return 0;
}

/* ------------------------------------------------------------------ life and state */

static void balloon_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
				 uint32_t value)
{
	const unsigned int actual = offsetof(struct virtio_balloon_config, actual);

	/* What the guest says that it has given. Linux writes the field as bytes of any width. */
	if (offset >= actual && offset + size <= actual + sizeof(uint32_t))
		memcpy((uint8_t *)&to_balloon(vdev)->config + offset, &value, size);
}

static void balloon_reset(struct virtio_device *vdev)
{
	struct virtio_balloon *balloon = to_balloon(vdev);

	balloon->config.actual = 0;
	balloon->stats_known = 0;
}

static void balloon_destroy(struct virtio_device *vdev)
{
	if (vdev->machine->balloon == vdev)
		vdev->machine->balloon = NULL;
	virtio_device_destroy(vdev);
	free(to_balloon(vdev));
}

static const struct state_field balloon_fields[] = {
	STATE_INT(1, 1, struct virtio_balloon, config.num_pages),
	STATE_INT(2, 1, struct virtio_balloon, config.actual),
};

STATE_TABLE_STATIC(balloon_state, "virtio-balloon", 1, struct virtio_balloon, balloon_fields);

static const struct virtio_device_ops balloon_ops = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,		/* no class of its own */
	.state = &balloon_state,
	.process = balloon_process,
	.config_write = balloon_config_write,
	.reset = balloon_reset,
	.destroy = balloon_destroy,
};

int virtio_balloon_new(struct machine *machine, const struct balloon_config *config,
		       struct virtio_device **vdev, struct vmm_error *error)
{
	const uint64_t features = 1ull << VIRTIO_BALLOON_F_STATS_VQ |
				  1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
				  1ull << VIRTIO_BALLOON_F_REPORTING;
	struct virtio_balloon *balloon;
	int ret;

	if (config->size > machine->ram.size)
		return vmm_fail(error, -EINVAL, "--balloon: the guest cannot keep %llu MiB of its "
				"%llu MiB of memory: give less",
				(unsigned long long)config->size >> 20,
				(unsigned long long)machine->ram.size >> 20);
	balloon = calloc(1, sizeof(*balloon));
	if (!balloon)
		return vmm_fail(error, -ENOMEM, "--balloon: out of memory");
	ret = virtio_device_init(&balloon->vdev, &balloon_ops, machine, QUEUES, QUEUE_SIZE,
				 features, &balloon->config, CONFIG_SIZE);
	if (ret) {
		free(balloon);
		return vmm_fail(error, ret, "--balloon: %s", strerror(-ret));
	}
	if (config->size)
		balloon->config.num_pages = (uint32_t)((machine->ram.size - config->size) / PAGE);
	machine->balloon = &balloon->vdev;
	*vdev = &balloon->vdev;
	return 0;
}

int virtio_balloon_create(struct machine *machine, const struct balloon_config *config,
			  struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_balloon_new(machine, config, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
