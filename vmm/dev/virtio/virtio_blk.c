/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio block device (virtio 1.2, section 5.2) over any struct block.
 *
 * A request is a chain: a header that the device reads, data in one direction, and a status byte
 * that the device writes last. The descriptors may cut these anywhere, so they are found by byte
 * counts. The loop thread takes requests from the queues and hands them to the disk; the disk's
 * completions, on the same thread, write the status and give the chain back.
 *
 * A disk with a limit leaves what is beyond it in the queues, where it costs nothing and is nobody's
 * to clean up, and has a timer say when to go on.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vmm/block/block.h"
#include "vmm/block/rate_limit.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define QUEUE_SIZE		256
#define SEG_MAX			(QUEUE_SIZE - 2)	/* header and status take one each */

/* The most that one discard or write-zeroes covers: 2 GiB. */
#define MAX_ZERO_SECTORS	(1u << 22)

/* As far as our structure goes; the header's may have grown. */
#define CONFIG_SIZE		(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4)

struct virtio_blk;

struct blk_request {
	struct block_request req;
	struct virtio_blk *blk;
	struct blk_request *next;	/* on the free list */
	struct iovec *iov;		/* of the data */
	unsigned int iov_max;
	unsigned int queue;
	uint16_t head;
	uint8_t *status;		/* in guest memory */
	uint32_t written;		/* bytes, if it goes well, as the used ring says it */
};

struct virtio_blk {
	struct virtio_device vdev;
	struct virtio_blk *next;	/* of the machine's disks */
	struct virtio_blk_config config;
	const struct disk_config *disk_config;
	struct block *disk;
	struct disk_info done;		/* the counters in it */
	struct rate_limit requests, bytes;
	struct loop_timer timer;	/* there is room under the limits again */
	unsigned int turn;		/* the queue that goes first then */
	uint32_t used;			/* a bit for each queue that something was pushed to */
	struct loop_fd watch;		/* the disk finished something */
	struct blk_request *free;
	uint64_t size;			/* saved: the disk's when it was */
	char id[VIRTIO_BLK_ID_BYTES];
	struct iovec iov[VIRTQUEUE_MAX_IOV];	/* of the chain at hand */
};

static struct virtio_blk *to_blk(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

/* ------------------------------------------------------------------ the request structs */

static struct blk_request *get_request(struct virtio_blk *blk, unsigned int iov_needed)
{
	struct blk_request *r = blk->free;
	struct iovec *iov;

	if (r) {
		blk->free = r->next;
	} else {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		r->blk = blk;
	}
	if (iov_needed > r->iov_max) {
		iov = realloc(r->iov, iov_needed * sizeof(*iov));
		if (!iov) {
			r->next = blk->free;
			blk->free = r;
			return NULL;
		}
		r->iov = iov;
		r->iov_max = iov_needed;
	}
	return r;
}

static void put_request(struct virtio_blk *blk, struct blk_request *r)
{
	r->next = blk->free;
	blk->free = r;
}

/* ------------------------------------------------------------------ answers */

static void answer(struct virtio_blk *blk, unsigned int queue, uint16_t head, uint8_t *status_byte,
		   uint8_t status, uint32_t written)
{
	__atomic_store_n(status_byte, status, __ATOMIC_RELAXED);
	virtqueue_push(&blk->vdev.queues[queue].vq, head, written);
	blk->used |= 1u << queue;
}

static void count(struct virtio_blk *blk, const struct block_request *req)
{
	switch (req->op) {
	case BLOCK_READ:
		blk->done.reads++;
		blk->done.read_bytes += req->length;
		break;
	case BLOCK_WRITE:
		blk->done.written_bytes += req->length;
		blk->done.writes++;
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		blk->done.writes++;
		break;
	case BLOCK_FLUSH:
		blk->done.flushes++;
		break;
	}
}

static void request_done(struct block_request *req, int result)
{
	struct blk_request *r = container_of(req, struct blk_request, req);
	struct virtio_blk *blk = r->blk;

	if (!result)
		count(blk, req);
	/* 5.2.6.2: to a driver that cannot ask for a flush, a finished write is a durable one. */
	if (!result && req->op != BLOCK_READ && req->op != BLOCK_FLUSH &&
	    !virtio_has_feature(&blk->vdev, VIRTIO_BLK_F_FLUSH)) {
		req->op = BLOCK_FLUSH;
		block_submit(blk->disk, req);
		return;
	}
	if (result)
		answer(blk, r->queue, r->head, r->status, VIRTIO_BLK_S_IOERR, 0);
	else
		answer(blk, r->queue, r->head, r->status, VIRTIO_BLK_S_OK, r->written);
	put_request(blk, r);
	virtio_request_finished(&blk->vdev);
}

static void flush_used(struct virtio_blk *blk)
{
	uint32_t used = blk->used;

	blk->used = 0;
	for (; used; used &= used - 1)
		virtio_queue_flush(&blk->vdev, (unsigned int)__builtin_ctz(used));
}

static void disk_event(struct loop_fd *watch, uint32_t events)
{
	struct virtio_blk *blk = container_of(watch, struct virtio_blk, watch);

	pthread_mutex_lock(blk->vdev.lock);
	block_poll(blk->disk);
	flush_used(blk);
	pthread_mutex_unlock(blk->vdev.lock);
}

/* ------------------------------------------------------------------ requests */

/* Whether the next one may go; if not, the timer is set. */
static bool within_limits(struct virtio_blk *blk)
{
	uint64_t now, when, later;

	if (!blk->requests.rate && !blk->bytes.rate)
		return true;
	now = loop_now();
	when = rate_limit_when(&blk->requests, now);
	later = rate_limit_when(&blk->bytes, now);
	if (when < later)
		when = later;
	if (when == now)
		return true;
	loop_timer_set(blk->vdev.machine->loop, &blk->timer, when);
	return false;
}

static void take_from_limits(struct virtio_blk *blk, uint64_t bytes)
{
	uint64_t now;

	if (!blk->requests.rate && !blk->bytes.rate)
		return;
	now = loop_now();
	rate_limit_take(&blk->requests, now, 1);
	rate_limit_take(&blk->bytes, now, bytes);
}

/* Each queue is the first one to be looked at in its turn. */
static void limits_timer(struct loop_timer *timer)
{
	struct virtio_blk *blk = container_of(timer, struct virtio_blk, timer);
	unsigned int queues = blk->vdev.queue_count;

	for (unsigned int i = 0; i < queues; i++)
		virtio_queue_kick(&blk->vdev, (blk->turn + i) % queues);
	blk->turn = (blk->turn + 1) % queues;
}

/* A chain, taken apart. */
struct parsed {
	unsigned int queue;
	const struct virtqueue_chain *chain;
	struct virtio_blk_outhdr header;
	uint64_t out_bytes;	/* of data, without the header */
	uint64_t in_bytes;	/* of data, without the status */
	uint8_t *status;
};

static const struct iovec *in_iov(const struct parsed *p)
{
	return p->chain->iov + p->chain->out_count;
}

static void fail(struct virtio_blk *blk, const struct parsed *p, uint8_t status)
{
	answer(blk, p->queue, p->chain->head, p->status, status, 0);
}

/*
 * What the used ring says was written when @data bytes of the data were: the status byte comes at
 * the end, and so counts only when nothing before it was left out. (2.7.8.2: we may write more than
 * we say.)
 */
static uint32_t written(const struct parsed *p, uint64_t data)
{
	if (data < p->in_bytes)
		return (uint32_t)data;
	return p->chain->in_bytes < UINT32_MAX ? (uint32_t)p->chain->in_bytes : UINT32_MAX;
}

static void start(struct virtio_blk *blk, const struct parsed *p, enum block_op op, uint64_t sector,
		  uint64_t length, bool may_unmap)
{
	struct blk_request *r;
	unsigned int count = 0;

	/* 5.2.6.1: data is whole sectors. Beyond the disk's end is checked by the disk. */
	if (length % BLOCK_SECTOR_SIZE || sector > UINT64_MAX >> BLOCK_SECTOR_SHIFT) {
		fail(blk, p, VIRTIO_BLK_S_IOERR);
		return;
	}
	r = get_request(blk, p->chain->out_count + p->chain->in_count);
	if (!r) {
		fail(blk, p, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (op == BLOCK_READ)
		count = iov_slice(r->iov, in_iov(p), p->chain->in_count, 0, length);
	else if (op == BLOCK_WRITE)
		count = iov_slice(r->iov, p->chain->iov, p->chain->out_count, sizeof(p->header),
				  length);
	r->queue = p->queue;
	r->head = p->chain->head;
	r->status = p->status;
	r->written = written(p, op == BLOCK_READ ? length : 0);
	r->req = (struct block_request){
		.op = op,
		.may_unmap = may_unmap,
		.iov = r->iov,
		.iovcnt = count,
		.offset = sector << BLOCK_SECTOR_SHIFT,
		.length = length,
		.done = request_done,
	};
	take_from_limits(blk, op == BLOCK_READ || op == BLOCK_WRITE ? length : 0);
	virtio_request_started(&blk->vdev);
	block_submit(blk->disk, &r->req);
}

/* 5.2.6: discard and write-zeroes carry ranges; we announce that one is the most we take. */
static void start_range(struct virtio_blk *blk, const struct parsed *p, bool discard)
{
	struct virtio_blk_discard_write_zeroes range;
	bool unmap;

	if (p->out_bytes != sizeof(range)) {
		fail(blk, p, VIRTIO_BLK_S_IOERR);
		return;
	}
	iov_read(p->chain->iov, p->chain->out_count, sizeof(p->header), &range, sizeof(range));
	unmap = range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	/* 5.2.6.2: flags that are not known, and "unmap" in a discard, are not supported. */
	if (range.flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (discard && unmap)) {
		fail(blk, p, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (range.num_sectors > MAX_ZERO_SECTORS) {
		fail(blk, p, VIRTIO_BLK_S_IOERR);
		return;
	}
	start(blk, p, discard ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES, range.sector,
	      (uint64_t)range.num_sectors << BLOCK_SECTOR_SHIFT, unmap);
}

static void get_id(struct virtio_blk *blk, const struct parsed *p)
{
	size_t done = iov_write(in_iov(p), p->chain->in_count, 0, blk->id,
				p->in_bytes < sizeof(blk->id) ? p->in_bytes : sizeof(blk->id));

	answer(blk, p->queue, p->chain->head, p->status, VIRTIO_BLK_S_OK, written(p, done));
}

/* Returns false if the chain is none that could even carry an answer. */
static bool handle(struct virtio_blk *blk, unsigned int queue, const struct virtqueue_chain *chain)
{
	struct parsed p = { .queue = queue, .chain = chain };
	const struct iovec *last;

	if (chain->out_bytes < sizeof(p.header) || !chain->in_bytes)
		return false;
	iov_read(chain->iov, chain->out_count, 0, &p.header, sizeof(p.header));
	p.out_bytes = chain->out_bytes - sizeof(p.header);
	p.in_bytes = chain->in_bytes - 1;
	last = &chain->iov[chain->out_count + chain->in_count - 1];
	p.status = (uint8_t *)last->iov_base + last->iov_len - 1;

	switch (p.header.type) {
	case VIRTIO_BLK_T_IN:
		start(blk, &p, BLOCK_READ, p.header.sector, p.in_bytes, false);
		break;
	case VIRTIO_BLK_T_OUT:
		start(blk, &p, BLOCK_WRITE, p.header.sector, p.out_bytes, false);
		break;
	case VIRTIO_BLK_T_FLUSH:
		start(blk, &p, BLOCK_FLUSH, 0, 0, false);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(blk, &p);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		start_range(blk, &p, p.header.type == VIRTIO_BLK_T_DISCARD);
		break;
	default:
		fail(blk, &p, VIRTIO_BLK_S_UNSUPP);
		break;
	}
	return true;
}

static void blk_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_blk *blk = to_blk(vdev);
	struct virtqueue_chain chain = { .iov = blk->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH; n++) {
		if (!within_limits(blk) || !virtio_queue_pop(vdev, queue, &chain))
			break;
		if (!handle(blk, queue, &chain)) {
			virtio_device_broken(vdev);
			break;
		}
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(vdev, queue);
	block_kick(blk->disk);
}

/* ------------------------------------------------------------------ life and state */

static int blk_start(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	blk->watch.fd = block_event_fd(blk->disk);
	blk->watch.events = EPOLLIN;
	blk->watch.callback = disk_event;
	return loop_fd_add(vdev->machine->loop, &blk->watch);
}

static void forget_disk(struct virtio_blk *blk)
{
	struct virtio_blk **link = &blk->vdev.machine->disks;

	while (*link != blk)
		link = &(*link)->next;
	*link = blk->next;
}

static void blk_destroy(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	loop_fd_del(&blk->watch);
	loop_timer_cancel(&blk->timer);
	forget_disk(blk);
	/* The transport is on its way out: nothing is to be told to it by what finishes now. */
	vdev->resetting = false;
	block_close(blk->disk);
	while (blk->free) {
		struct blk_request *r = blk->free;

		blk->free = r->next;
		free(r->iov);
		free(r);
	}
	virtio_device_destroy(vdev);
	free(blk);
}

static void blk_pre_save(void *object)
{
	struct virtio_blk *blk = object;

	blk->size = blk->disk->size;
}

/* A guest that finds its disk shorter or longer than it was would lose data. */
static int blk_post_load(void *object, unsigned int version)
{
	struct virtio_blk *blk = object;

	return blk->size == blk->disk->size ? 0 : -EINVAL;
}

static const struct state_field blk_fields[] = {
	STATE_INT(1, 1, struct virtio_blk, size),
};

STATE_TABLE_STATIC(blk_state, "virtio-blk", 1, struct virtio_blk, blk_fields,
		   .pre_save = blk_pre_save, .post_load = blk_post_load);

static const struct virtio_device_ops blk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,		/* mass storage, SCSI: what virtio block devices say */
	.state = &blk_state,
	.start = blk_start,
	.process = blk_process,
	.destroy = blk_destroy,
};

/* Puts it behind the machine's other disks. Returns the number of these. */
static unsigned int remember_disk(struct virtio_blk *blk)
{
	struct virtio_blk **link = &blk->vdev.machine->disks;
	unsigned int n = 0;

	for (; *link; link = &(*link)->next)
		n++;
	*link = blk;
	return n;
}

static void fill_config(struct virtio_blk *blk, unsigned int queues)
{
	uint32_t sectors_per_block = blk->disk->physical_block_size / BLOCK_SECTOR_SIZE;

	blk->config = (struct virtio_blk_config){
		.capacity = blk->disk->size >> BLOCK_SECTOR_SHIFT,
		.seg_max = SEG_MAX,
		.blk_size = BLOCK_SECTOR_SIZE,
		.physical_block_exp = (uint8_t)__builtin_ctz(sectors_per_block),
		.min_io_size = (uint16_t)sectors_per_block,
		.num_queues = (uint16_t)queues,
		.max_discard_sectors = MAX_ZERO_SECTORS,
		.max_discard_seg = 1,
		.discard_sector_alignment = blk->disk->discard_block_size / BLOCK_SECTOR_SIZE,
		.max_write_zeroes_sectors = MAX_ZERO_SECTORS,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};
}

int virtio_blk_new(struct machine *machine, const struct disk_config *disk,
		   struct virtio_device **vdev, struct vmm_error *error)
{
	unsigned int queues = disk->queues ? disk->queues : machine->config->cpus;
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY;
	struct virtio_blk *blk;
	unsigned int number;
	int ret;

	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return vmm_fail(error, -ENOMEM, "disk %s: out of memory", disk->path);
	ret = block_open(disk, NULL, &blk->disk, error);
	if (ret)
		goto out_free;

	queues = queues < 1 ? 1 : queues < VIRTIO_MAX_QUEUES ? queues : VIRTIO_MAX_QUEUES;
	fill_config(blk, queues);
	if (queues > 1)
		features |= 1ull << VIRTIO_BLK_F_MQ;
	if (blk->disk->read_only)
		features |= 1ull << VIRTIO_BLK_F_RO;
	else
		features |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	ret = virtio_device_init(&blk->vdev, &blk_ops, machine, queues, QUEUE_SIZE, features,
				 &blk->config, CONFIG_SIZE);
	if (ret) {
		vmm_fail(error, ret, "disk %s: %s", disk->path, strerror(-ret));
		goto out_close;
	}
	blk->disk_config = disk;
	number = remember_disk(blk);
	if (disk->serial)
		memcpy(blk->id, disk->serial, strnlen(disk->serial, sizeof(blk->id)));
	else
		snprintf(blk->id, sizeof(blk->id), "disk%u", number);
	rate_limit_init(&blk->requests, disk->iops, disk->iops_burst);
	rate_limit_init(&blk->bytes, disk->bps, disk->bps_burst);
	blk->timer.callback = limits_timer;

	*vdev = &blk->vdev;
	return 0;

out_close:
	block_close(blk->disk);
out_free:
	free(blk);
	return ret;
}

int virtio_blk_create(struct machine *machine, const struct disk_config *disk,
		      struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_blk_new(machine, disk, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}

/* ------------------------------------------------------------------ while it runs */

static struct virtio_blk *find_disk(const struct machine *m, unsigned int number)
{
	struct virtio_blk *blk = m->disks;

	for (; blk && number; number--)
		blk = blk->next;
	return blk;
}

bool virtio_blk_query(struct machine *m, unsigned int disk, struct disk_info *info)
{
	struct virtio_blk *blk = find_disk(m, disk);

	if (!blk)
		return false;
	pthread_mutex_lock(blk->vdev.lock);
	*info = blk->done;
	info->size = blk->disk->size;
	pthread_mutex_unlock(blk->vdev.lock);
	info->config = blk->disk_config;
	info->read_only = blk->disk->read_only;
	snprintf(info->id, sizeof(info->id), "%.*s", (int)sizeof(blk->id), blk->id);
	return true;
}

struct resize {
	struct virtio_blk *blk;
	uint64_t size;
	struct vmm_error *error;
	int ret;
};

static void resize(void *arg)
{
	struct resize *r = arg;
	struct virtio_blk *blk = r->blk;

	pthread_mutex_lock(blk->vdev.lock);
	r->ret = block_resize(blk->disk, r->size, r->error);
	/* What was in flight has finished. */
	flush_used(blk);
	if (!r->ret) {
		blk->config.capacity = blk->disk->size >> BLOCK_SECTOR_SHIFT;
		virtio_config_changed(&blk->vdev);
	}
	pthread_mutex_unlock(blk->vdev.lock);
}

int virtio_blk_resize(struct machine *m, unsigned int disk, uint64_t size, struct vmm_error *error)
{
	struct vmm_error why = { "" };
	struct resize r = { .blk = find_disk(m, disk), .size = size, .error = &why };

	if (!r.blk)
		return vmm_fail(error, -ENOENT, "there is no disk %u", disk);
	loop_run(m->loop, resize, &r);
	return r.ret ? vmm_fail(error, r.ret, "disk %s: %s", r.blk->disk_config->path, why.text) :
		       0;
}
