/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk made of an image of any format.
 *
 * Requests go one of two ways. Where the place of all the data is known at once (tables cached, and
 * for a write nothing to allocate), the host's asynchronous I/O is started right there: the quick
 * way. Everything else is done in order in the thread of AIO_CALL: the slow way. The image's mutex
 * is held there, and only tried on the quick way, so that the thread of the devices never waits.
 *
 * Between the two, a request must not be overtaken by one that changes where its data is: what
 * touches a cluster that a request before it touches goes the slow way if that one did, and a slow
 * one starts only when the quick ones before it, in its clusters, have finished.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/block/format.h"
#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"
#include "vmm/util.h"

#define MAX_PIECES	16	/* of a quick read */

struct image_disk {
	struct block block;
	struct image *image;
	pthread_mutex_t lock;		/* of the image and all behind it */
	uint64_t granule;		/* bytes that change together: a cluster */
	struct job *quick;		/* in flight */
	struct job *slow, **slow_tail;	/* not finished, in order */
	struct job *next_slow;		/* the first of them that has not started */
};

struct piece {
	struct aio_request aio;
	struct job *job;
	int fd;			/* through the host's page cache */
	uint64_t left;
	struct iovec *iov;
};

struct job {
	struct block_request *req;
	struct image_disk *disk;
	struct job *next, **link;
	struct aio_request call;
	uint64_t from, to;		/* whole clusters */
	unsigned int pieces;		/* in flight */
	int result;
	struct piece piece[];
};

static struct image_disk *to_disk(struct block *block)
{
	return container_of(block, struct image_disk, block);
}

static bool overlap(const struct job *a, const struct job *b)
{
	return a->from < b->to && b->from < a->to;
}

static void unlink_job(struct job *job)
{
	*job->link = job->next;
	if (job->next)
		job->next->link = job->link;
}

static void start_slow(struct image_disk *disk);

static void finish_job(struct job *job)
{
	struct image_disk *disk = job->disk;
	struct block_request *req = job->req;
	int result = job->result;

	if (disk->slow_tail == &job->next)
		disk->slow_tail = job->link;
	unlink_job(job);
	free(job);
	start_slow(disk);
	block_finish(req, result);
}

/* ------------------------------------------------------------------ the slow way */

static int copy_through(struct image *image, struct block_request *req)
{
	uint64_t offset = req->offset, left = req->length, at = 0;
	char *buf;
	int ret = 0;

	/* What the guest has in one piece needs no copy. */
	if (req->iovcnt == 1) {
		if (req->op == BLOCK_READ)
			return image_read(image, offset, req->iov->iov_base, left);
		return image_write(image, offset, req->iov->iov_base, left);
	}
	if (req->op == BLOCK_READ) {
		for (unsigned int i = 0; i < req->iovcnt && left && !ret; i++) {
			uint64_t n = req->iov[i].iov_len < left ? req->iov[i].iov_len : left;

			ret = image_read(image, offset, req->iov[i].iov_base, n);
			offset += n;
			left -= n;
		}
		return ret;
	}
	buf = malloc(left);
	if (!buf)
		return -ENOMEM;
	for (unsigned int i = 0; i < req->iovcnt && at < left; i++) {
		uint64_t n = req->iov[i].iov_len < left - at ? req->iov[i].iov_len : left - at;

		memcpy(buf + at, req->iov[i].iov_base, n);
		at += n;
	}
	ret = image_write(image, offset, buf, left);
	free(buf);
	return ret;
}

static ssize_t slow_call(struct aio_request *aio)
{
	struct job *job = container_of(aio, struct job, call);
	struct block_request *req = job->req;
	struct image_disk *disk = job->disk;
	int ret = -EINVAL;

	pthread_mutex_lock(&disk->lock);
	switch (req->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		ret = copy_through(disk->image, req);
		break;
	case BLOCK_FLUSH:
		ret = image_flush(disk->image);
		break;
	case BLOCK_DISCARD:
		ret = image_discard(disk->image, req->offset, req->length);
		break;
	case BLOCK_WRITE_ZEROES:
		ret = image_zero(disk->image, req->offset, req->length, req->may_unmap);
		break;
	}
	pthread_mutex_unlock(&disk->lock);
	return ret;
}

static void slow_done(struct aio_request *aio, ssize_t res)
{
	struct job *job = container_of(aio, struct job, call);

	job->result = (int)res;
	finish_job(job);
}

/* Starts what is next in order, as far as nothing quick is in the way. */
static void start_slow(struct image_disk *disk)
{
	while (disk->next_slow) {
		struct job *job = disk->next_slow;

		for (struct job *quick = disk->quick; quick; quick = quick->next)
			if (overlap(quick, job))
				return;
		disk->next_slow = job->next;
		job->call = (struct aio_request){
			.op = AIO_CALL, .call = slow_call, .done = slow_done,
		};
		aio_submit(disk->block.aio, &job->call);
	}
}

static void queue_slow(struct image_disk *disk, struct job *job)
{
	job->next = NULL;
	job->link = disk->slow_tail;
	*disk->slow_tail = job;
	disk->slow_tail = &job->next;
	if (!disk->next_slow)
		disk->next_slow = job;
	start_slow(disk);
}

/* ------------------------------------------------------------------ the quick way */

static void piece_done(struct aio_request *aio, ssize_t res)
{
	struct piece *piece = container_of(aio, struct piece, aio);
	struct job *job = piece->job;

	if (aio->fd != piece->fd && (res == -EINVAL || (res > 0 && (uint64_t)res < piece->left))) {
		/* What is left, or what the file system does not want past its cache. */
		aio->fd = piece->fd;
		res = res < 0 ? 0 : res;
		piece->left -= (uint64_t)res;
		aio->offset += (uint64_t)res;
		iov_advance(&aio->iov, &aio->iovcnt, (uint64_t)res);
		aio_submit(job->disk->block.aio, aio);
		return;
	}
	if (!res && aio->op == AIO_READ) {
		/* The end of the file: zeroes follow. */
		iov_zero(aio->iov, aio->iovcnt, piece->left);
	} else if (res <= 0) {
		if (aio->op != AIO_NOP && !job->result)
			job->result = res ? (int)res : -EIO;
	} else if ((uint64_t)res < piece->left) {
		piece->left -= (uint64_t)res;
		aio->offset += (uint64_t)res;
		iov_advance(&aio->iov, &aio->iovcnt, (uint64_t)res);
		aio_submit(job->disk->block.aio, aio);
		return;
	}
	free(piece->iov);
	piece->iov = NULL;
	if (!--job->pieces)
		finish_job(job);
}

/* @direct: the file of @e past the host's page cache, or 0. */
static int add_piece(struct job *job, enum aio_op op, uint64_t skip, const struct image_extent *e,
		     int direct)
{
	struct piece *piece = &job->piece[job->pieces];
	struct block_request *req = job->req;

	*piece = (struct piece){ .job = job, .left = e->length, .fd = e->fd };
	piece->iov = malloc(req->iovcnt * sizeof(struct iovec));
	if (!piece->iov)
		return -ENOMEM;
	piece->aio = (struct aio_request){
		.op = e->type == EXTENT_ZERO ? AIO_NOP : op,
		.fd = e->fd,
		.offset = e->host,
		.iov = piece->iov,
		.iovcnt = iov_slice(piece->iov, req->iov, req->iovcnt, skip, e->length),
		.done = piece_done,
	};
	if (direct && block_can_be_direct(piece->iov, piece->aio.iovcnt, e->host))
		piece->aio.fd = direct;
	if (e->type == EXTENT_ZERO)
		iov_zero(piece->iov, piece->aio.iovcnt, e->length);
	job->pieces++;
	return 0;
}

/* Where the data is, through the chain, if that is known without waiting. */
static int find_data(struct image *image, uint64_t offset, uint64_t length, struct image_extent *e,
		     int *direct)
{
	int ret;

	for (; image; image = image->backing) {
		if (offset >= image->size)
			break;
		if (length > image->size - offset)
			length = image->size - offset;
		ret = image->ops->map(image, offset, length, false, e);
		if (ret || e->type == EXTENT_COMPRESSED)
			return -EAGAIN;
		*direct = image->direct_fd;
		if (e->type != EXTENT_ABSENT)
			return 0;
		length = e->length;
	}
	*e = (struct image_extent){ .type = EXTENT_ZERO, .length = length };
	return 0;
}

static int plan(struct image_disk *disk, struct job *job)
{
	struct block_request *req = job->req;
	struct image_extent e;
	uint64_t done = 0;
	int direct = 0, ret;

	if (req->op == BLOCK_WRITE) {
		ret = disk->image->ops->map_write(disk->image, req->offset, req->length, &e);
		return ret ? ret : add_piece(job, AIO_WRITE, 0, &e,
					     disk->image->direct_fd);
	}
	while (done < req->length) {
		if (job->pieces == MAX_PIECES)
			return -EAGAIN;
		ret = find_data(disk->image, req->offset + done, req->length - done, &e, &direct);
		if (!ret)
			ret = add_piece(job, AIO_READ, done, &e, direct);
		if (ret)
			return ret;
		done += e.length;
	}
	return 0;
}

/* Returns false if it must go the slow way. */
static bool try_quick(struct image_disk *disk, struct job *job)
{
	unsigned int pieces;
	int ret;

	if (job->req->op != BLOCK_READ && job->req->op != BLOCK_WRITE)
		return false;
	for (struct job *slow = disk->slow; slow; slow = slow->next)
		if (overlap(slow, job))
			return false;
	if (pthread_mutex_trylock(&disk->lock))
		return false;
	ret = plan(disk, job);
	pthread_mutex_unlock(&disk->lock);
	if (ret) {
		while (job->pieces)
			free(job->piece[--job->pieces].iov);
		return false;
	}
	job->next = disk->quick;
	job->link = &disk->quick;
	if (job->next)
		job->next->link = &job->next;
	disk->quick = job;
	pieces = job->pieces;
	for (unsigned int i = 0; i < pieces; i++)
		aio_submit(disk->block.aio, &job->piece[i].aio);
	return true;
}

static void disk_submit(struct block *block, struct block_request *req)
{
	struct image_disk *disk = to_disk(block);
	struct job *job;

	job = malloc(sizeof(*job) + MAX_PIECES * sizeof(struct piece));
	if (!job) {
		block_finish_later(req, -ENOMEM);
		return;
	}
	job->req = req;
	job->disk = disk;
	job->pieces = 0;
	job->result = 0;
	job->from = job->to = 0;
	if (req->op != BLOCK_FLUSH) {
		job->from = req->offset & ~(disk->granule - 1);
		job->to = (req->offset + req->length + disk->granule - 1) & ~(disk->granule - 1);
	}
	if (!try_quick(disk, job))
		queue_slow(disk, job);
}

static int disk_resize(struct block *block, uint64_t size, struct vmm_error *error)
{
	struct image_disk *disk = to_disk(block);
	int ret;

	pthread_mutex_lock(&disk->lock);
	ret = image_resize(disk->image, size, error);
	pthread_mutex_unlock(&disk->lock);
	return ret;
}

static void close_direct(struct image *image)
{
	for (; image; image = image->backing)
		if (image->direct_fd)
			close(image->direct_fd);
}

/* What is read, and written where there is a place for it already, can go past the cache. */
static int open_direct(struct image *image, const char *path, struct vmm_error *error)
{
	for (; image; image = image->backing) {
		int fd = image->ops == &qcow2_image_ops ? to_qcow2(image)->data_fd : image->fd;

		fd = block_open_direct(fd);
		if (fd < 0)
			return vmm_fail(error, fd, "disk %s: the file system does nothing past its "
					"cache (%s): leave out direct", path, strerror(-fd));
		image->direct_fd = fd;
	}
	return 0;
}

static void disk_close(struct block *block)
{
	struct image_disk *disk = to_disk(block);

	close_direct(disk->image);
	image_close(disk->image);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

static const struct block_ops disk_ops = {
	.format = "image",
	.submit = disk_submit,
	.resize = disk_resize,
	.close = disk_close,
};

int image_disk_open(struct aio *aio, const char *path, const char *format, bool read_only,
		    bool direct, struct block **out, struct vmm_error *error)
{
	struct image_disk *disk;
	int ret;

	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return vmm_fail(error, -ENOMEM, "disk %s: out of memory", path);
	ret = image_open(path, format, read_only ? 0 : IMAGE_WRITE, &disk->image, error);
	if (!ret && !disk->image->size) {
		image_close(disk->image);
		ret = vmm_fail(error, -EINVAL, "disk %s: it is empty; give it a size with "
			       "anykvm image resize", path);
	}
	if (!ret && direct) {
		ret = open_direct(disk->image, path, error);
		if (ret) {
			close_direct(disk->image);
			image_close(disk->image);
		}
	}
	if (ret) {
		free(disk);
		return ret;
	}
	pthread_mutex_init(&disk->lock, NULL);
	disk->slow_tail = &disk->slow;
	/* What is behind the image does not change. */
	disk->granule = disk->image->cluster;
	disk->block.ops = &disk_ops;
	disk->block.aio = aio;
	disk->block.read_only = read_only;
	disk->block.size = disk->image->size;
	disk->block.physical_block_size = 4096;
	disk->block.discard_block_size = disk->image->cluster;
	if (disk->block.discard_block_size < 4096)
		disk->block.discard_block_size = 4096;
	*out = &disk->block;
	return 0;
}
