/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Clusters of a qcow2 disk: where the guest's data is, and what happens when it is written.
 *
 * A cluster that is this image's alone is overwritten in place. Any other is written to a new one,
 * with what surrounds the data copied from where it was, and only then the L2 entry changes. With
 * extended L2 entries a cluster has 32 subclusters that are present or not by themselves; without
 * them it is its own only subcluster, and most code here does not tell the two apart.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/block/qcow2.h"

#define MANY_FREED	65536u

struct entry {
	uint64_t word;
	uint64_t bitmap;	/* extended: bit n allocated, bit 32 + n zero */
};

static struct entry entry_get(const struct qcow2 *q, const struct slice *slice, unsigned int index)
{
	struct entry e = { 0 };

	memcpy(&e, slice->data + (size_t)index * q->entry_size, q->entry_size);
	e.word = be64toh(e.word);
	e.bitmap = be64toh(e.bitmap);
	return e;
}

static void entry_set(struct qcow2 *q, struct slice *slice, unsigned int index, struct entry e)
{
	e.word = htobe64(e.word);
	e.bitmap = htobe64(e.bitmap);
	memcpy(slice->data + (size_t)index * q->entry_size, &e, q->entry_size);
	slice_dirty(&q->l2_cache, slice);
}

static unsigned int per_slice(const struct qcow2 *q)
{
	return (unsigned int)(q->l2_cache.size / q->entry_size);
}

static bool has_place(const struct qcow2 *q, struct entry e)
{
	return !(e.word & L2_COMPRESSED) &&
	       (e.word & L2_OFFSET_MASK || (q->external && e.word & ENTRY_COPIED));
}

/* What a subcluster is. Returns 0, or -EIO for an entry that cannot be. */
static int classify(const struct qcow2 *q, struct entry e, unsigned int sub, enum extent_type *type)
{
	if (e.word & L2_COMPRESSED) {
		*type = EXTENT_COMPRESSED;
		return q->external ? -EIO : 0;
	}
	if (in_cluster(q, e.word & L2_OFFSET_MASK))
		return -EIO;
	if (q->subclusters > 1) {
		bool allocated = e.bitmap >> sub & 1;
		bool zero = e.bitmap >> (32 + sub) & 1;

		if (allocated && (zero || !has_place(q, e)))
			return -EIO;
		*type = allocated ? EXTENT_DATA : zero ? EXTENT_ZERO : EXTENT_ABSENT;
	} else if (q->version >= 3 && e.word & L2_ZERO) {
		*type = EXTENT_ZERO;
	} else {
		*type = has_place(q, e) ? EXTENT_DATA : EXTENT_ABSENT;
	}
	return 0;
}

/* The slice with the L2 entry of @offset, and the entry's index in it; NULL: no L2 table. */
static int find_entry(struct qcow2 *q, uint64_t offset, bool wait, struct slice **slice,
		      unsigned int *index)
{
	uint64_t l2, at;

	*slice = NULL;
	if (offset >> l1_shift(q) >= q->l1_size)
		return -EIO;
	l2 = q->l1[offset >> l1_shift(q)] & L1_OFFSET_MASK;
	if (!l2)
		return 0;
	if (in_cluster(q, l2))
		return -EIO;
	at = cluster_of(q, offset) & ((1ull << q->l2_bits) - 1);
	*index = (unsigned int)(at % per_slice(q));
	return slice_get(q, &q->l2_cache, l2 + at / per_slice(q) * q->l2_cache.size, wait, slice);
}

/* ------------------------------------------------------------------ looking up */

/* As qcow2_map(); with @own only what may be overwritten in place counts as data. */
static int map_run(struct qcow2 *q, uint64_t offset, uint64_t length, bool wait, bool own,
		   struct image_extent *extent)
{
	unsigned int index, sub = (unsigned int)(in_cluster(q, offset) / q->subcluster_size);
	uint64_t pos = in_cluster(q, offset), left, host;
	enum extent_type type;
	struct slice *slice;
	struct entry e;
	int ret;

	*extent = (struct image_extent){ .type = EXTENT_ABSENT, .fd = q->data_fd };
	ret = find_entry(q, offset, wait, &slice, &index);
	if (ret)
		return ret;
	if (!slice) {
		left = (1ull << l1_shift(q)) - (offset & ((1ull << l1_shift(q)) - 1));
		extent->length = left < length ? left : length;
		return 0;
	}
	e = entry_get(q, slice, index);
	ret = classify(q, e, sub, &extent->type);
	if (ret)
		return ret;
	if (own && !(e.word & ENTRY_COPIED))
		return -EAGAIN;
	host = e.word & L2_OFFSET_MASK;
	extent->allocated = has_place(q, e);
	extent->host = host + pos;
	extent->length = q->subcluster_size - pos % q->subcluster_size;
	if (extent->type == EXTENT_COMPRESSED)
		extent->length = q->cluster_size - pos;
	while (extent->length < length && extent->type != EXTENT_COMPRESSED) {
		if (++sub == q->subclusters) {
			sub = 0;
			if (++index == per_slice(q))
				break;
			e = entry_get(q, slice, index);
			if (own && !(e.word & ENTRY_COPIED))
				break;
			if (has_place(q, e) != extent->allocated)
				break;
			host += q->cluster_size;
			if (extent->allocated && (e.word & L2_OFFSET_MASK) != host)
				break;
		}
		if (classify(q, e, sub, &type) || type != extent->type)
			break;
		extent->length += q->subcluster_size;
	}
	if (extent->length > length)
		extent->length = length;
	return 0;
}

int qcow2_map(struct image *image, uint64_t offset, uint64_t length, bool wait,
	      struct image_extent *extent)
{
	return map_run(to_qcow2(image), offset, length, wait, false, extent);
}

/* May these bytes of the file be written as data? Not if a damaged entry points to metadata. */
static bool is_data(const struct qcow2 *q, uint64_t host, uint64_t length)
{
	if (q->external)
		return true;
	if (host > q->file_end || length > q->file_end - host)
		return false;
	for (uint64_t c = cluster_of(q, host); c <= cluster_of(q, host + length - 1); c++)
		if (meta_test(q, c))
			return false;
	return true;
}

int qcow2_map_write(struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *extent)
{
	struct qcow2 *q = to_qcow2(image);

	if (q->broken || map_run(q, offset, length, false, true, extent) ||
	    extent->type != EXTENT_DATA || extent->length < length ||
	    !is_data(q, extent->host, length))
		return -EAGAIN;
	return 0;
}

/* ------------------------------------------------------------------ L2 tables */

static int new_l2(struct qcow2 *q, uint32_t l1_index)
{
	uint64_t old = q->l1[l1_index] & L1_OFFSET_MASK;
	uint64_t cluster, got, offset;
	uint8_t *table;
	int ret;

	table = calloc(1, q->cluster_size);
	if (!table)
		return -ENOMEM;
	ret = clusters_alloc(q, 1, true, &cluster, &got);
	if (ret)
		goto out;
	offset = cluster << q->cluster_bits;
	slice_cache_drop(q, &q->l2_cache, offset);
	slice_cache_drop(q, &q->ref_cache, offset);
	if (old)
		ret = image_pread(q->fd, table, q->cluster_size, old);
	if (!ret)
		ret = image_pwrite(q->fd, table, q->cluster_size, offset);
	if (!ret)
		ret = meta_mark(q, offset, q->cluster_size);
	if (!ret && old) {
		meta_unmark(q, old, q->cluster_size);
		slice_cache_drop(q, &q->l2_cache, old);
		ret = clusters_free(q, cluster_of(q, old), 1);
	}
	if (ret)
		goto out;
	if (q->file_end < offset + q->cluster_size)
		q->file_end = offset + q->cluster_size;
	q->l1[l1_index] = offset | ENTRY_COPIED;
	if (q->l1_dirty_from == q->l1_dirty_to) {
		q->l1_dirty_from = l1_index;
		q->l1_dirty_to = l1_index + 1;
	}
	if (l1_index < q->l1_dirty_from)
		q->l1_dirty_from = l1_index;
	if (l1_index >= q->l1_dirty_to)
		q->l1_dirty_to = l1_index + 1;
out:
	free(table);
	return ret;
}

/* As find_entry(), with an L2 table that is there and ours alone. */
static int find_own_entry(struct qcow2 *q, uint64_t offset, struct slice **slice,
			  unsigned int *index)
{
	uint64_t i = offset >> l1_shift(q);
	int ret;

	if (i >= q->l1_size)
		return -EIO;
	if (!(q->l1[i] & L1_OFFSET_MASK) || !(q->l1[i] & ENTRY_COPIED)) {
		ret = new_l2(q, (uint32_t)i);
		if (ret)
			return ret;
	}
	return find_entry(q, offset, true, slice, index);
}

/* Gives up what an entry that is being replaced points to. */
static int free_entry(struct qcow2 *q, struct entry e)
{
	uint64_t offset = e.word & L2_OFFSET_MASK, bytes = 1;

	if (q->external)
		return 0;
	if (e.word & L2_COMPRESSED)
		qcow2_compressed_place(q, e.word, &offset, &bytes);
	else if (!offset)
		return 0;
	return clusters_free(q, cluster_of(q, offset),
			     cluster_of(q, offset + bytes - 1) - cluster_of(q, offset) + 1);
}

/* ------------------------------------------------------------------ writing */

/* Copies what the disk shows at @offset to @host of the file. Zeroes need not be written there if
 * it is @fresh. */
static int copy_old(struct qcow2 *q, uint64_t offset, uint64_t length, uint64_t host, bool fresh)
{
	void *buf;
	int ret;

	if (!length)
		return 0;
	buf = malloc(length);
	if (!buf)
		return -ENOMEM;
	ret = image_read(&q->image, offset, buf, length);
	if (!ret && !(fresh && buffer_is_zero(buf, length)))
		ret = image_pwrite(q->data_fd, buf, length, host);
	free(buf);
	return ret;
}

/* The bits of the subclusters that a part of a cluster touches. */
static uint64_t sub_bits(const struct qcow2 *q, uint64_t from, uint64_t to)
{
	unsigned int first = (unsigned int)(from / q->subcluster_size);
	unsigned int last = (unsigned int)((to - 1) / q->subcluster_size);

	return ((2ull << last) - 1) & ~((1ull << first) - 1);
}

/* Writes to one cluster that is ours, but not all of it data yet. */
static int write_own(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t length,
		     struct slice *slice, unsigned int index)
{
	struct entry e = entry_get(q, slice, index);
	uint64_t host = e.word & L2_OFFSET_MASK;
	uint64_t from = in_cluster(q, offset), to = from + length;
	uint64_t start = offset - from;
	uint64_t head = from / q->subcluster_size * q->subcluster_size;
	uint64_t tail = (to + q->subcluster_size - 1) / q->subcluster_size * q->subcluster_size;
	int ret;

	if (!is_data(q, host, q->cluster_size))
		return qcow2_damaged(q);
	/* What is data already is copied onto itself here: at most the two subclusters' rest. */
	ret = copy_old(q, start + head, from - head, host + head, false);
	if (!ret)
		ret = copy_old(q, start + to, tail - to, host + to, false);
	if (!ret)
		ret = image_pwrite(q->data_fd, buf, length, host + from);
	if (ret)
		return ret;
	if (q->subclusters > 1) {
		uint64_t bits = sub_bits(q, from, to);

		e.bitmap = (e.bitmap | bits) & ~(bits << 32);
	} else {
		e.word &= ~L2_ZERO;
	}
	entry_set(q, slice, index, e);
	return 0;
}

/*
 * Writes to new clusters: as many as the rest of the slice needs them and there are in a row.
 * *@done is how many bytes were written.
 */
static int write_new(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t length,
		     struct slice *slice, unsigned int index, uint64_t *done)
{
	uint64_t from = in_cluster(q, offset), start = offset - from;
	uint64_t first, got, host, bytes, end, head, tail, last;
	struct entry e = entry_get(q, slice, index), old;
	bool whole, fresh = false;
	unsigned int n = 1;
	int ret;

	while (index + n < per_slice(q) && n * q->cluster_size < from + length) {
		old = entry_get(q, slice, index + n);
		if (has_place(q, old) && old.word & ENTRY_COPIED)
			break;
		n++;
	}
	if (q->external) {
		first = cluster_of(q, offset);
		got = n;
	} else {
		ret = clusters_alloc(q, n, false, &first, &got);
		if (ret)
			return ret;
	}
	host = first << q->cluster_bits;
	bytes = got * q->cluster_size - from;
	if (bytes > length)
		bytes = length;
	end = from + bytes;	/* from here on in bytes from the first new cluster */
	last = (end - 1) >> q->cluster_bits << q->cluster_bits;

	/* Subclusters that were not there need not come. */
	whole = q->subclusters == 1 || e.word & L2_COMPRESSED || (uint32_t)e.bitmap;
	head = whole ? 0 : from / q->subcluster_size * q->subcluster_size;
	old = entry_get(q, slice, index + (unsigned int)(last >> q->cluster_bits));
	whole = q->subclusters == 1 || old.word & L2_COMPRESSED || (uint32_t)old.bitmap;
	tail = whole ? last + q->cluster_size :
	       (end + q->subcluster_size - 1) / q->subcluster_size * q->subcluster_size;

	ret = 0;
	if (!q->external && host + got * q->cluster_size > q->file_end) {
		fresh = host >= q->file_end;
		if (ftruncate(q->fd, (off_t)(host + got * q->cluster_size)))
			ret = -errno;
		else
			q->file_end = host + got * q->cluster_size;
	}
	if (!ret)
		ret = copy_old(q, start + head, from - head, host + head, fresh);
	if (!ret)
		ret = copy_old(q, start + end, tail - end, host + end, fresh);
	if (!ret)
		ret = image_pwrite(q->data_fd, buf, bytes, host + from);
	if (ret) {
		/* Nothing points to them; what cannot even be given up is a leak. */
		if (!q->external)
			clusters_free(q, first, got);
		return ret;
	}

	for (unsigned int i = 0; i < got; i++) {
		uint64_t base = i * q->cluster_size;
		uint64_t bits = sub_bits(q, head > base ? head - base : 0,
					 tail - base < q->cluster_size ? tail - base :
									 q->cluster_size);

		e = entry_get(q, slice, index + i);
		ret = free_entry(q, e);
		if (ret)
			return ret;
		if (e.word & L2_COMPRESSED)
			e.bitmap = 0;
		e.word = (host + base) | ENTRY_COPIED;
		if (q->subclusters > 1)
			e.bitmap = (e.bitmap | bits) & ~(bits << 32);
		entry_set(q, slice, index + i, e);
	}
	*done = bytes;
	return 0;
}

/* Before each change: room in the list of clusters given up. */
static int start_change(struct qcow2 *q)
{
	if (q->broken)
		return -EIO;
	return q->freed_count > MANY_FREED ? qcow2_sync(q) : 0;
}

int qcow2_write(struct image *image, uint64_t offset, const void *buf, uint64_t length)
{
	struct qcow2 *q = to_qcow2(image);
	const char *p = buf;
	int ret = start_change(q);

	while (length && !ret) {
		struct image_extent extent;
		struct slice *slice;
		unsigned int index;
		struct entry e;
		uint64_t done = 0;

		ret = find_own_entry(q, offset, &slice, &index);
		if (ret)
			break;
		e = entry_get(q, slice, index);
		ret = map_run(q, offset, length, true, true, &extent);
		if (ret && ret != -EAGAIN)
			break;
		if (!ret && extent.type == EXTENT_DATA) {
			done = extent.length;
			if (!is_data(q, extent.host, done))
				return qcow2_damaged(q);
			ret = image_pwrite(q->data_fd, p, done, extent.host);
		} else if (has_place(q, e) && e.word & ENTRY_COPIED) {
			done = q->cluster_size - in_cluster(q, offset);
			if (done > length)
				done = length;
			ret = write_own(q, offset, p, done, slice, index);
		} else {
			ret = write_new(q, offset, p, length, slice, index, &done);
		}
		if (ret)
			break;
		p += done;
		offset += done;
		length -= done;
	}
	return ret;
}

/*
 * Finds room for a compressed cluster: behind the last one, where that is still in its cluster of the file or
 * goes on in the next, or at the start of a new one. Each cluster of the file counts those in it.
 */
static int packed_alloc(struct qcow2 *q, uint64_t length, uint64_t *host)
{
	uint64_t at = q->packed_at, room = at ? q->cluster_size - in_cluster(q, at) : 0;
	uint64_t cluster, got;
	int ret;

	if (room) {
		ret = refcount_add(q, cluster_of(q, at), 1);
		if (ret == -EOVERFLOW)
			room = 0;
		else if (ret)
			return ret;
	}
	*host = at;
	if (room < length) {
		ret = clusters_alloc(q, 1, true, &cluster, &got);
		if (room && (ret || cluster != cluster_of(q, at) + 1)) {
			refcount_add(q, cluster_of(q, at), -1);
			room = 0;
		}
		if (ret)
			return ret;
		if (!room)
			*host = cluster << q->cluster_bits;
		if ((cluster + 1) << q->cluster_bits > q->file_end) {
			if (ftruncate(q->fd, (off_t)((cluster + 1) << q->cluster_bits)))
				return -errno;
			q->file_end = (cluster + 1) << q->cluster_bits;
		}
	}
	q->packed_at = in_cluster(q, *host + length) ? *host + length : 0;
	return 0;
}

int qcow2_write_packed(struct image *image, uint64_t offset, const void *packed, uint64_t length)
{
	struct qcow2 *q = to_qcow2(image);
	unsigned int bits = 62 - (q->cluster_bits - 8), index;
	struct entry new = { 0 };
	struct slice *slice;
	uint64_t host;
	int ret;

	if (q->external)
		return -ENOTSUP;
	if (!(image->flags & IMAGE_WRITE))
		return -EROFS;
	if (in_cluster(q, offset) || offset >= image->size || !length || length >= q->cluster_size)
		return -EINVAL;
	ret = start_change(q);
	if (!ret)
		ret = find_own_entry(q, offset, &slice, &index);
	if (!ret)
		ret = packed_alloc(q, length, &host);
	if (ret)
		return ret;
	/* The larger the clusters, the fewer bits are left for the place. */
	ret = host >> bits ? -EFBIG : image_pwrite(q->fd, packed, length, host);
	if (!ret)
		ret = free_entry(q, entry_get(q, slice, index));
	if (ret) {
		clusters_free(q, cluster_of(q, host),
			      cluster_of(q, host + length - 1) - cluster_of(q, host) + 1);
		return ret;
	}
	new.word = L2_COMPRESSED | host |
		   ((host + length - 1) / 512 - host / 512) << bits;
	entry_set(q, slice, index, new);
	/* The entry of one that is gone may have been the same. */
	q->plain_entry = 0;
	return 0;
}

/* ------------------------------------------------------------------ zeroes and discard */

/* Zeroes for a part of a cluster. */
static int zero_part(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	void *zeroes = NULL;
	int ret = 0;

	while (length && !ret) {
		struct image_extent e;

		ret = map_run(q, offset, length, true, false, &e);
		if (ret)
			break;
		if (e.type != EXTENT_ZERO && !(e.type == EXTENT_ABSENT && !q->image.backing)) {
			if (!zeroes)
				zeroes = calloc(1, q->cluster_size);
			if (!zeroes)
				return -ENOMEM;
			if (e.length > q->cluster_size)
				e.length = q->cluster_size;
			ret = qcow2_write(&q->image, offset, zeroes, e.length);
		}
		offset += e.length;
		length -= e.length;
	}
	free(zeroes);
	return ret;
}

/* One whole cluster reads as zeroes; @keep: its place stays reserved. */
static int zero_cluster(struct qcow2 *q, uint64_t offset, bool keep)
{
	bool ext = q->subclusters > 1;
	struct entry e, new = { 0 };
	struct slice *slice;
	unsigned int index;
	int ret;

	ret = find_own_entry(q, offset, &slice, &index);
	if (ret)
		return ret;
	e = entry_get(q, slice, index);
	if (has_place(q, e) && (q->external || (keep && e.word & ENTRY_COPIED)))
		new.word = (e.word & L2_OFFSET_MASK) | ENTRY_COPIED;
	else
		ret = free_entry(q, e);
	if (ext)
		new.bitmap = 0xffffffffull << 32;
	else
		new.word |= L2_ZERO;
	if (!ret && (new.word != e.word || new.bitmap != e.bitmap))
		entry_set(q, slice, index, new);
	return ret;
}

/* One whole cluster is not there any more. */
static int drop_cluster(struct qcow2 *q, uint64_t offset)
{
	struct slice *slice;
	unsigned int index;
	struct entry e;
	int ret;

	ret = find_own_entry(q, offset, &slice, &index);
	if (ret)
		return ret;
	e = entry_get(q, slice, index);
	if (!e.word && !e.bitmap)
		return 0;
	ret = free_entry(q, e);
	if (!ret)
		entry_set(q, slice, index, (struct entry){ 0 });
	return ret;
}

/* The whole clusters in a range; the last one of the disk may be shorter. */
static void whole_clusters(const struct qcow2 *q, uint64_t offset, uint64_t length, uint64_t *from,
			   uint64_t *to)
{
	uint64_t end = offset + length;

	*from = (offset + q->cluster_size - 1) & ~(q->cluster_size - 1);
	*to = end == q->image.size ? end : end & ~(q->cluster_size - 1);
}

static int change_whole(struct qcow2 *q, uint64_t from, uint64_t to, bool discard, bool keep)
{
	int ret = 0;

	if (q->external) {
		uint64_t size = to - from;

		ret = image_pzero(q->data_fd, from, size, !keep);
	}
	while (from < to && !ret) {
		struct image_extent e;

		ret = map_run(q, from, to - from, true, false, &e);
		if (ret)
			break;
		/* Where nothing is and nothing behind it, there are zeroes. */
		if (e.type == EXTENT_ABSENT && !e.allocated &&
		    (discard || (!q->image.backing && !q->external)) &&
		    (q->subclusters == 1 || e.length >= q->cluster_size)) {
			/* Of the last one the rest may be different, if there are subclusters. */
			if (q->subclusters == 1)
				e.length += q->cluster_size - 1;
			from += e.length & ~(q->cluster_size - 1);
			continue;
		}
		ret = start_change(q);
		if (ret)
			break;
		if (!q->external && !q->image.backing && (discard || (q->version < 3 && !keep)))
			ret = drop_cluster(q, from);
		else if (q->version >= 3)
			ret = zero_cluster(q, from, keep);
		else
			ret = zero_part(q, from, to - from < q->cluster_size ? to - from :
										q->cluster_size);
		from += q->cluster_size;
	}
	return ret;
}

int qcow2_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap)
{
	struct qcow2 *q = to_qcow2(image);
	uint64_t from, to, end = offset + length;
	int ret = start_change(q);

	if (ret)
		return ret;
	whole_clusters(q, offset, length, &from, &to);
	if (from >= to)
		return zero_part(q, offset, length);
	ret = zero_part(q, offset, from - offset);
	if (!ret)
		ret = change_whole(q, from, to, false, !unmap);
	if (!ret)
		ret = zero_part(q, to, end - to);
	return ret;
}

int qcow2_discard(struct image *image, uint64_t offset, uint64_t length)
{
	struct qcow2 *q = to_qcow2(image);
	uint64_t from, to;
	int ret = start_change(q);

	if (ret)
		return ret;
	/* A version 2 image cannot hide what is behind it. */
	if (q->version < 3 && (image->backing || q->external))
		return 0;
	whole_clusters(q, offset, length, &from, &to);
	return from < to ? change_whole(q, from, to, true, false) : 0;
}
