/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk whose writes are thrown away: copy-on-write over any other disk.
 *
 * What is written goes to an unnamed sparse file, at the same offset as on the disk, and a bit for
 * each 512-byte sector says that it is there. With a bit for the smallest thing a guest can write
 * nothing is ever copied: a write is one write, and a read is split where the bits change. The
 * bitmap is a private mapping that the host fills in page by page, so a large disk costs only what
 * it uses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/block/format.h"
#include "vmm/util.h"

struct overlay {
	struct block block;
	struct block *base;
	struct block *scratch;
	uint64_t base_sectors;	/* of the base, those that the disk has always had */
	uint64_t *written;	/* a bit for each sector: it is in scratch */
	size_t written_size;	/* in bytes */
};

/* A part of a request, on its way to one of the two layers. */
struct part {
	struct block_request req;
	struct block_request *whole;
	struct iovec iov[];
};

static struct overlay *to_overlay(struct block *block)
{
	return container_of(block, struct overlay, block);
}

/* Whether it is scratch's to say what is there: zeroes, where the disk was made longer. */
static bool is_written(const struct overlay *o, uint64_t sector)
{
	return sector >= o->base_sectors ||
	       o->written[sector / 64] >> (sector % 64) & 1;
}

static void set_written(struct overlay *o, uint64_t offset, uint64_t length)
{
	uint64_t sector = offset >> BLOCK_SECTOR_SHIFT;
	uint64_t end = (offset + length) >> BLOCK_SECTOR_SHIFT;

	for (; sector < end && sector % 64; sector++)
		o->written[sector / 64] |= 1ull << (sector % 64);
	for (; end - sector >= 64 && sector < end; sector += 64)
		o->written[sector / 64] = ~0ull;
	for (; sector < end; sector++)
		o->written[sector / 64] |= 1ull << (sector % 64);
}

/* The first sector in [@sector, @end) whose bit is not that of @sector, or @end. */
static uint64_t run_end(const struct overlay *o, uint64_t sector, uint64_t end)
{
	bool written = is_written(o, sector);
	uint64_t same = written ? ~0ull : 0;

	if (sector >= o->base_sectors)
		return end;
	if (end > o->base_sectors)
		end = o->base_sectors;
	while (sector < end) {
		if (sector % 64 == 0 && end - sector >= 64 && o->written[sector / 64] == same) {
			sector += 64;
			continue;
		}
		if (is_written(o, sector) != written)
			break;
		sector++;
	}
	return sector;
}

static void part_done(struct block_request *req, int result)
{
	struct part *part = container_of(req, struct part, req);
	struct block_request *whole = part->whole;
	struct overlay *o = to_overlay(whole->block);

	/* Only now: until a write is finished a reader may see the old contents. */
	if (!result && req->op != BLOCK_READ)
		set_written(o, req->offset, req->length);
	if (result && !whole->result)
		whole->result = result;
	free(part);
	if (!--whole->left)
		block_finish(whole, whole->result);
}

static int submit_part(struct block *layer, struct block_request *whole, uint64_t offset,
		       uint64_t length)
{
	struct part *part;

	part = malloc(sizeof(*part) + whole->iovcnt * sizeof(struct iovec));
	if (!part)
		return -ENOMEM;
	part->whole = whole;
	part->req = (struct block_request){
		.op = whole->op,
		.may_unmap = true,
		.iov = part->iov,
		.iovcnt = iov_slice(part->iov, whole->iov, whole->iovcnt, offset - whole->offset,
				    length),
		.offset = offset,
		.length = length,
		.done = part_done,
	};
	whole->left++;
	block_submit(layer, &part->req);
	return 0;
}

static int submit_read(struct overlay *o, struct block_request *req)
{
	uint64_t sector = req->offset >> BLOCK_SECTOR_SHIFT;
	uint64_t end = (req->offset + req->length) >> BLOCK_SECTOR_SHIFT;

	while (sector < end) {
		uint64_t next = run_end(o, sector, end);
		struct block *layer = is_written(o, sector) ? o->scratch : o->base;
		int ret;

		ret = submit_part(layer, req, sector << BLOCK_SECTOR_SHIFT,
				  (next - sector) << BLOCK_SECTOR_SHIFT);
		if (ret)
			return ret;
		sector = next;
	}
	return 0;
}

static void overlay_submit(struct block *block, struct block_request *req)
{
	struct overlay *o = to_overlay(block);
	int ret = 0;

	req->left = 0;
	req->result = 0;
	switch (req->op) {
	case BLOCK_READ:
		ret = submit_read(o, req);
		break;
	case BLOCK_WRITE:
		ret = submit_part(o->scratch, req, req->offset, req->length);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		req->iovcnt = 0;
		ret = submit_part(o->scratch, req, req->offset, req->length);
		break;
	case BLOCK_FLUSH:
		/* None of it outlives the process. */
		break;
	}
	/* Parts that are under way finish the request when the last one is done. */
	if (!req->left)
		block_finish_later(req, ret);
	else if (ret)
		req->result = ret;
}

static int overlay_resize(struct block *block, uint64_t size, struct vmm_error *error)
{
	struct overlay *o = to_overlay(block);
	uint64_t sectors = size >> BLOCK_SECTOR_SHIFT;
	size_t bytes = (sectors + 63) / 64 * sizeof(uint64_t);
	void *written;
	int ret;

	if (bytes > o->written_size) {
		written = mremap(o->written, o->written_size, bytes, MREMAP_MAYMOVE);
		if (written == MAP_FAILED)
			return vmm_fail(error, -ENOMEM, "no memory to keep track of writes");
		o->written = written;
		o->written_size = bytes;
	}
	ret = o->scratch->ops->resize(o->scratch, size, error);
	if (ret)
		return ret;
	o->scratch->size = size;
	/* What is cut off does not come back from the base when it grows again. */
	if (o->base_sectors > sectors)
		o->base_sectors = sectors;
	return 0;
}

static void overlay_close(struct block *block)
{
	struct overlay *o = to_overlay(block);

	o->scratch->ops->close(o->scratch);
	o->base->ops->close(o->base);
	munmap(o->written, o->written_size);
	free(o);
}

static const struct block_ops overlay_ops = {
	.format = "ephemeral",
	.submit = overlay_submit,
	.resize = overlay_resize,
	.close = overlay_close,
};

int overlay_open(struct block *base, struct block **out, struct vmm_error *error)
{
	uint64_t sectors = base->size >> BLOCK_SECTOR_SHIFT;
	struct overlay *o;
	int ret;

	o = calloc(1, sizeof(*o));
	if (!o)
		return vmm_fail(error, -ENOMEM, "ephemeral disk: out of memory");
	o->written_size = (sectors + 63) / 64 * sizeof(uint64_t);
	o->written = mmap(NULL, o->written_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->written == MAP_FAILED) {
		ret = -errno;
		vmm_fail(error, ret, "ephemeral disk: cannot keep track of writes: %s",
			 strerror(-ret));
		goto out_free;
	}
	ret = raw_open_scratch(base->aio, base->size, &o->scratch, error);
	if (ret)
		goto out_unmap;

	o->base = base;
	o->base_sectors = sectors;
	o->block.ops = &overlay_ops;
	o->block.aio = base->aio;
	o->block.size = base->size;
	o->block.physical_block_size = base->physical_block_size;
	o->block.discard_block_size = o->scratch->discard_block_size;
	*out = &o->block;
	return 0;

out_unmap:
	munmap(o->written, o->written_size);
out_free:
	free(o);
	return ret;
}
