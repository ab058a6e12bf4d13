/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reference counts of a qcow2 file's clusters, and what follows from them: finding free clusters,
 * and giving clusters up in an order that survives a crash (see qcow2.h).
 *
 * Counts describe themselves: the cluster a refcount block is in is counted by a block, its own as
 * a rule here. A block that does not exist counts zeroes; so a new one can be put into the first
 * cluster that it counts.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/block/qcow2.h"

/* Offsets in tables have 56 bits. */
#define MAX_FILE	(1ull << 56)

uint64_t refcount_load(unsigned int order, const uint8_t *block, uint64_t index)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (order) {
	case 0: case 1: case 2:
		return block[index << order >> 3] >> ((index << order) & 7) &
		       ((1u << (1u << order)) - 1);
	case 3:
		return block[index];
	case 4:
		memcpy(&v16, block + index * 2, 2);
		return be16toh(v16);
	case 5:
		memcpy(&v32, block + index * 4, 4);
		return be32toh(v32);
	default:
		memcpy(&v64, block + index * 8, 8);
		return be64toh(v64);
	}
}

void refcount_store(unsigned int order, uint8_t *block, uint64_t index, uint64_t value)
{
	unsigned int shift, mask;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (order) {
	case 0: case 1: case 2:
		shift = (unsigned int)((index << order) & 7);
		mask = ((1u << (1u << order)) - 1) << shift;
		block += index << order >> 3;
		*block = (uint8_t)((*block & ~mask) | (value << shift & mask));
		break;
	case 3:
		block[index] = (uint8_t)value;
		break;
	case 4:
		v16 = htobe16((uint16_t)value);
		memcpy(block + index * 2, &v16, 2);
		break;
	case 5:
		v32 = htobe32((uint32_t)value);
		memcpy(block + index * 4, &v32, 4);
		break;
	default:
		v64 = htobe64(value);
		memcpy(block + index * 8, &v64, 8);
	}
}

static uint64_t refcount_max(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

/* ------------------------------------------------------------------ the map of metadata */

bool meta_test(const struct qcow2 *q, uint64_t cluster)
{
	return cluster < q->meta_clusters && q->meta[cluster / 8] >> (cluster % 8) & 1;
}

static int meta_grow(struct qcow2 *q, uint64_t clusters)
{
	size_t old = q->meta_clusters / 8;
	size_t size = (clusters / 8 + 4096) * 2 & ~4095ull;
	void *map;

	if (clusters <= q->meta_clusters)
		return 0;
	if (size > SIZE_MAX / 2)
		return -ENOMEM;
	/* Pages that are never touched cost nothing, however large a hostile file says it is. */
	map = old ? mremap(q->meta, old, size, MREMAP_MAYMOVE) :
		    mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	q->meta = map;
	q->meta_clusters = (uint64_t)size * 8;
	return 0;
}

int meta_mark(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	uint64_t first = cluster_of(q, offset);
	uint64_t end = cluster_of(q, offset + bytes + q->cluster_size - 1);
	int ret;

	if (!bytes)
		return 0;
	if (offset >= MAX_FILE || bytes >= MAX_FILE)
		return -ERANGE;
	ret = meta_grow(q, end);
	if (ret)
		return ret;
	for (uint64_t c = first; c < end; c++) {
		if (meta_test(q, c))
			return -EEXIST;
		q->meta[c / 8] |= (uint8_t)(1u << (c % 8));
	}
	return 0;
}

void meta_unmark(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	uint64_t end = cluster_of(q, offset + bytes + q->cluster_size - 1);

	for (uint64_t c = cluster_of(q, offset); c < end && c < q->meta_clusters; c++)
		q->meta[c / 8] &= (uint8_t)~(1u << (c % 8));
}

/* ------------------------------------------------------------------ counts */

/* The slice with a cluster's count, and the count's index in it; *@out NULL: there is no block. */
static int find_count(struct qcow2 *q, uint64_t cluster, struct slice **out, uint64_t *index)
{
	uint64_t block = cluster >> q->refblock_bits;
	uint64_t in_block = cluster & ((1ull << q->refblock_bits) - 1);
	uint64_t per_slice = (uint64_t)q->ref_cache.size * 8 >> q->refcount_order;

	*out = NULL;
	if (block >= q->reftable_size || !q->reftable[block])
		return 0;
	*index = in_block % per_slice;
	return slice_get(q, &q->ref_cache,
			 q->reftable[block] + in_block / per_slice * q->ref_cache.size, true, out);
}

int refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	struct slice *slice;
	uint64_t index;
	int ret = find_count(q, cluster, &slice, &index);

	*count = !ret && slice ? refcount_load(q->refcount_order, slice->data, index) : 0;
	return ret;
}

int refcount_add(struct qcow2 *q, uint64_t cluster, int64_t change)
{
	struct slice *slice;
	uint64_t index, count;
	int ret = find_count(q, cluster, &slice, &index);

	if (ret)
		return ret;
	if (!slice)
		return qcow2_damaged(q);
	count = refcount_load(q->refcount_order, slice->data, index);
	if (change < 0 && count < (uint64_t)-change)
		return qcow2_damaged(q);
	if (change > 0 && refcount_max(q) - count < (uint64_t)change)
		return -EOVERFLOW;
	refcount_store(q->refcount_order, slice->data, index, count + (uint64_t)change);
	slice_dirty(&q->ref_cache, slice);
	return 0;
}

/* Writes whole clusters at a new place. */
static int write_new(struct qcow2 *q, uint64_t offset, const void *data, uint64_t bytes)
{
	int ret = image_pwrite(q->fd, data, bytes, offset);

	if (!ret && q->file_end < offset + bytes)
		q->file_end = offset + bytes;
	return ret;
}

/* Makes the refcount block for @cluster, in that cluster, which nothing counts yet. */
static int create_refblock(struct qcow2 *q, uint64_t cluster)
{
	uint64_t block = cluster >> q->refblock_bits;
	uint64_t offset = cluster << q->cluster_bits;
	uint64_t entry = htobe64(offset);
	uint8_t *data;
	int ret;

	data = calloc(1, q->cluster_size);
	if (!data)
		return -ENOMEM;
	refcount_store(q->refcount_order, data, cluster & ((1ull << q->refblock_bits) - 1), 1);
	slice_cache_drop(q, &q->ref_cache, offset);
	slice_cache_drop(q, &q->l2_cache, offset);
	ret = write_new(q, offset, data, q->cluster_size);
	free(data);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (!ret)
		ret = image_pwrite(q->fd, &entry, sizeof(entry), q->reftable_offset + block * 8);
	if (!ret)
		ret = meta_mark(q, offset, q->cluster_size);
	if (!ret)
		q->reftable[block] = offset;
	return ret;
}

/*
 * Moves the refcount table to where there is room for one that covers @blocks blocks: behind all
 * that the old one covers, with the blocks that count the new clusters in front of it.
 */
static int grow_reftable(struct qcow2 *q, uint64_t blocks)
{
	uint64_t start = (uint64_t)q->reftable_size << q->refblock_bits;
	uint64_t end_of_file = cluster_of(q, q->file_end + q->cluster_size - 1);
	uint64_t first_block, new_blocks = 1, table_clusters = 0, entries, old;
	uint64_t *table = NULL;
	uint8_t *data = NULL;
	int ret;

	if (start < end_of_file)
		start = end_of_file;
	first_block = start >> q->refblock_bits;
	if (blocks < q->reftable_size * 3ull / 2)
		blocks = q->reftable_size * 3ull / 2;
	for (;;) {
		uint64_t last = (start + table_clusters + new_blocks - 1) >> q->refblock_bits;
		uint64_t need = last + 1 > blocks ? last + 1 : blocks;
		uint64_t clusters = (need * 8 + q->cluster_size - 1) >> q->cluster_bits;

		if (clusters == table_clusters && last + 1 - first_block == new_blocks)
			break;
		table_clusters = clusters;
		new_blocks = last + 1 - first_block;
	}
	entries = table_clusters << q->cluster_bits >> 3;
	if (entries * 8 > QCOW2_MAX_REFTABLE_BYTES ||
	    (start + new_blocks + table_clusters) << q->cluster_bits > MAX_FILE)
		return -EFBIG;

	table = calloc(entries, 8);
	data = calloc(new_blocks, q->cluster_size);
	ret = -ENOMEM;
	if (!table || !data)
		goto out;
	memcpy(table, q->reftable, q->reftable_size * 8ull);
	for (uint64_t i = 0; i < new_blocks; i++)
		table[first_block + i] = (start + i) << q->cluster_bits;
	for (uint64_t i = 0; i < new_blocks + table_clusters; i++)
		refcount_store(q->refcount_order, data,
			       start + i - (first_block << q->refblock_bits), 1);
	for (uint64_t i = 0; i < new_blocks + table_clusters; i++) {
		slice_cache_drop(q, &q->ref_cache, (start + i) << q->cluster_bits);
		slice_cache_drop(q, &q->l2_cache, (start + i) << q->cluster_bits);
	}
	ret = write_new(q, start << q->cluster_bits, data, new_blocks << q->cluster_bits);
	if (!ret)
		ret = qcow2_write_table(q, (start + new_blocks) << q->cluster_bits, table, entries);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (!ret)
		ret = meta_mark(q, start << q->cluster_bits,
				(new_blocks + table_clusters) << q->cluster_bits);
	if (ret)
		goto out;

	if (q->file_end < (start + new_blocks + table_clusters) << q->cluster_bits)
		q->file_end = (start + new_blocks + table_clusters) << q->cluster_bits;
	old = q->reftable_offset;
	blocks = q->reftable_clusters;
	free(q->reftable);
	q->reftable = table;
	table = NULL;
	q->reftable_size = (uint32_t)entries;
	q->reftable_clusters = (uint32_t)table_clusters;
	q->reftable_offset = (start + new_blocks) << q->cluster_bits;
	ret = qcow2_update_header(q);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (ret) {
		qcow2_damaged(q);
		goto out;
	}
	meta_unmark(q, old, blocks << q->cluster_bits);
	ret = clusters_free(q, cluster_of(q, old), blocks);
out:
	free(table);
	free(data);
	return ret;
}

int clusters_alloc(struct qcow2 *q, uint64_t want, bool exactly, uint64_t *first, uint64_t *got)
{
	uint64_t cluster = q->free_hint, run = 0, count, skipped = UINT64_MAX;
	int ret;

	if (q->broken)
		return -EIO;
	while (run < want) {
		uint64_t at = cluster + run;
		uint64_t block = at >> q->refblock_bits;

		if ((at + 1) << q->cluster_bits > MAX_FILE || at >= MAX_FILE)
			return -EFBIG;
		if (block >= q->reftable_size) {
			/* What was given up may be all the room that is needed. */
			ret = grow_reftable(q, block + 1);
			if (ret)
				return ret;
			continue;
		}
		if (!q->reftable[block] && !meta_test(q, at)) {
			if (run && !exactly)
				break;
			ret = create_refblock(q, at);
			if (ret)
				return ret;
		}
		ret = q->reftable[block] ? refcount_get(q, at, &count) : 0;
		if (ret)
			return ret;
		if (q->reftable[block] && !count && !meta_test(q, at)) {
			run++;
			continue;
		}
		if (run && !exactly)
			break;
		/* Too short a run is left for those who need less. */
		if (run && skipped == UINT64_MAX)
			skipped = cluster;
		cluster = at + 1;
		run = 0;
	}
	for (uint64_t i = 0; i < run; i++) {
		ret = refcount_add(q, cluster + i, 1);
		if (ret) {
			while (i--)
				refcount_add(q, cluster + i, -1);
			return ret;
		}
	}
	q->free_hint = skipped < cluster ? skipped : cluster + run;
	*first = cluster;
	*got = run;
	return 0;
}

int clusters_free(struct qcow2 *q, uint64_t first, uint64_t count)
{
	struct qcow2_freed *freed;

	/* Nothing is to be added to what may become another's. */
	if (cluster_of(q, q->packed_at) - first < count)
		q->packed_at = 0;
	if (q->freed_count) {
		freed = &q->freed[q->freed_count - 1];
		if (freed->cluster + freed->count == first) {
			freed->count += count;
			return 0;
		}
	}
	if (q->freed_count == q->freed_max) {
		size_t max = q->freed_max ? q->freed_max * 2 : 64;

		freed = reallocarray(q->freed, max, sizeof(*freed));
		if (!freed)
			return -ENOMEM;
		q->freed = freed;
		q->freed_max = max;
	}
	q->freed[q->freed_count++] = (struct qcow2_freed){ first, count };
	return 0;
}

int clusters_apply_freed(struct qcow2 *q)
{
	for (size_t i = 0; i < q->freed_count; i++) {
		struct qcow2_freed freed = q->freed[i];

		for (uint64_t c = freed.cluster; c < freed.cluster + freed.count; c++) {
			uint64_t count;
			int ret = refcount_add(q, c, -1);

			if (!ret)
				ret = refcount_get(q, c, &count);
			if (ret) {
				q->freed_count = 0;
				return ret;
			}
			if (count)
				continue;
			if (c < q->free_hint)
				q->free_hint = c;
			/* Gives the space back; where the file system cannot, it is kept. */
			fallocate(q->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(c << q->cluster_bits), (off_t)q->cluster_size);
		}
	}
	q->freed_count = 0;
	return 0;
}
