/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks: opening, and the checks every request passes before a format sees it.
 */
#include "vmm/block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/block/format.h"
#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"
#include "vmm/util.h"

int block_open(const struct disk_config *config, const struct aio_engine *engine,
	       struct block **out, struct vmm_error *error)
{
	struct block *block, *layer;
	bool read_only = config->readonly || config->ephemeral;
	const char *format = config->format;
	struct aio *aio;
	int ret;

	if (format && !image_format(format))
		return vmm_fail(error, -EINVAL, "disk %s: unknown format '%s'; there are raw and "
				"qcow2", config->path, format);
	/* What cannot even be looked at gets its message from raw_open(). */
	if (!format)
		format = image_probe(config->path);

	ret = aio_create(engine, &aio);
	if (ret)
		return vmm_fail(error, ret, "disk %s: cannot set up asynchronous I/O: %s",
				config->path, strerror(-ret));

	if (format && strcmp(format, "raw"))
		ret = image_disk_open(aio, config->path, format, read_only, config->direct, &block,
				      error);
	else
		ret = raw_open(aio, config->path, read_only, config->direct, &block, error);
	if (ret)
		goto out_aio;
	block->probed_raw = !config->format && format && !strcmp(format, "raw");

	/* A read-only disk has nothing to throw away. */
	if (config->ephemeral && !config->readonly) {
		ret = overlay_open(block, &layer, error);
		if (ret)
			goto out_block;
		block = layer;
	}
	*out = block;
	return 0;

out_block:
	block->ops->close(block);
out_aio:
	aio_destroy(aio);
	return ret;
}

void block_close(struct block *block)
{
	struct aio *aio = block->aio;

	block_drain(block);
	block->ops->close(block);
	aio_destroy(aio);
}

int block_resize(struct block *block, uint64_t size, struct vmm_error *error)
{
	int ret;

	if (!size || size % BLOCK_SECTOR_SIZE || size > INT64_MAX)
		return vmm_fail(error, -EINVAL, "a size must be a multiple of 512 bytes, and not "
				"0");
	if (block->read_only)
		return vmm_fail(error, -EROFS, "it is read-only");
	block_drain(block);
	ret = block->ops->resize(block, size, error);
	if (!ret)
		block->size = size;
	return ret;
}

static int check(const struct block *block, const struct block_request *req)
{
	if (req->op == BLOCK_FLUSH)
		return 0;
	if (req->offset % BLOCK_SECTOR_SIZE || req->length % BLOCK_SECTOR_SIZE)
		return -EINVAL;
	if (req->offset > block->size || req->length > block->size - req->offset)
		return -ERANGE;
	if (req->op != BLOCK_READ && block->read_only)
		return -EROFS;
	return 0;
}

/* A write to the start of a disk whose format was found out, out of reach of the guest. */
struct guarded {
	struct block_request req;
	struct block_request *whole;
	struct iovec iov;
	char data[];
};

static void guarded_done(struct block_request *req, int result)
{
	struct guarded *g = container_of(req, struct guarded, req);
	struct block_request *whole = g->whole;

	free(g);
	whole->block->in_flight++;	/* the two were counted as one */
	block_finish(whole, result);
}

/*
 * Were the guest to write qcow2's magic number to a disk which is raw only because it had none, the
 * next start would take it for a qcow2 image, and open whatever file it names.
 */
static void submit_guarded(struct block *block, struct block_request *req)
{
	struct guarded *g = malloc(sizeof(*g) + req->length);
	uint64_t done = 0;

	if (!g) {
		block_finish_later(req, -ENOMEM);
		return;
	}
	/* From a copy: other processors of the guest's could change it after the look. */
	for (unsigned int i = 0; i < req->iovcnt && done < req->length; i++) {
		uint64_t left = req->length - done;
		uint64_t n = req->iov[i].iov_len < left ? req->iov[i].iov_len : left;

		memcpy(g->data + done, req->iov[i].iov_base, n);
		done += n;
	}
	if (qcow2_is_magic(g->data)) {
		free(g);
		block_finish_later(req, -EPERM);
		return;
	}
	g->whole = req;
	g->iov = (struct iovec){ g->data, req->length };
	g->req = (struct block_request){
		.op = BLOCK_WRITE, .iov = &g->iov, .iovcnt = 1, .length = req->length,
		.done = guarded_done, .block = block,
	};
	block->ops->submit(block, &g->req);
}

void block_submit(struct block *block, struct block_request *req)
{
	int ret;

	req->block = block;
	block->in_flight++;

	ret = check(block, req);
	if (ret || (req->op != BLOCK_FLUSH && !req->length)) {
		block_finish_later(req, ret);
		return;
	}
	if (block->probed_raw && req->op == BLOCK_WRITE && !req->offset)
		submit_guarded(block, req);
	else
		block->ops->submit(block, req);
}

void block_kick(struct block *block)
{
	aio_flush(block->aio);
}

int block_event_fd(const struct block *block)
{
	return block->aio->event_fd;
}

void block_poll(struct block *block)
{
	aio_poll(block->aio);
}

void block_drain(struct block *block)
{
	/* Everything the layers below have in flight is in the one engine they share. */
	aio_drain(block->aio);
}

void block_finish(struct block_request *req, int result)
{
	req->block->in_flight--;
	req->done(req, result);
}

static void finish_now(struct aio_request *aio, ssize_t res)
{
	struct block_request *req = container_of(aio, struct block_request, aio);

	block_finish(req, req->result);
}

void block_finish_later(struct block_request *req, int result)
{
	req->result = result;
	req->aio.op = AIO_NOP;
	req->aio.done = finish_now;
	aio_submit(req->block->aio, &req->aio);
}

int block_open_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL), direct;
	char path[32];

	if (flags < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, (flags & O_ACCMODE) | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	return direct < 0 ? -errno : direct;
}

/*
 * Whole pages of the file and of memory: that suits every device, and no page of the cache is
 * ever written in part by one way while the other is at it.
 */
bool block_can_be_direct(const struct iovec *iov, unsigned int count, uint64_t offset)
{
	uint64_t bits = offset;

	for (unsigned int i = 0; i < count; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(bits % 4096);
}

unsigned int iov_slice(struct iovec *dst, const struct iovec *src, unsigned int count,
		       uint64_t skip, uint64_t length)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count && length; i++) {
		size_t len = src[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len -= skip;
		if (len > length)
			len = length;
		dst[n].iov_base = (char *)src[i].iov_base + skip;
		dst[n].iov_len = len;
		n++;
		length -= len;
		skip = 0;
	}
	return n;
}

void iov_advance(struct iovec **iov, unsigned int *count, uint64_t bytes)
{
	while (*count && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count && bytes) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}

void iov_zero(const struct iovec *iov, unsigned int count, uint64_t bytes)
{
	for (unsigned int i = 0; i < count && bytes; i++) {
		size_t len = iov[i].iov_len < bytes ? iov[i].iov_len : bytes;

		memset(iov[i].iov_base, 0, len);
		bytes -= len;
	}
}
