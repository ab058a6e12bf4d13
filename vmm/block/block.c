/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks: opening, and the checks every request passes before a format sees it.
 */
#include "vmm/block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/block/format.h"
#include "vmm/util.h"

int block_open(const struct disk_config *config, const struct aio_engine *engine,
	       struct block **out, struct vmm_error *error)
{
	struct block *block, *layer;
	struct aio *aio;
	int ret;

	if (config->format && strcmp(config->format, "raw"))
		return vmm_fail(error, -EINVAL, "disk %s: unknown format '%s'; there is only raw",
				config->path, config->format);

	ret = aio_create(engine, &aio);
	if (ret)
		return vmm_fail(error, ret, "disk %s: cannot set up asynchronous I/O: %s",
				config->path, strerror(-ret));

	ret = raw_open(aio, config->path, config->readonly || config->ephemeral, &block, error);
	if (ret)
		goto out_aio;

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
