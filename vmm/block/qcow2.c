/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2 images: header, opening and closing, and the order in which tables are written.
 *
 * An image can come from anywhere, so nothing in it is believed: sizes are bounded before memory is
 * taken for them, offsets before they are used, and metadata that lies on other metadata makes the
 * image refused, since writing to it would destroy it.
 */
#include "vmm/block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/block/format.h"

#define L2_CACHE_BYTES	(8u << 20)
#define REF_CACHE_BYTES	(1u << 20)

bool qcow2_is_magic(const void *buf)
{
	return !memcmp(buf, "QFI\xfb", 4);
}

/* ------------------------------------------------------------------ tables and header */

int qcow2_read_table(struct qcow2 *q, uint64_t offset, uint64_t *table, uint64_t entries)
{
	int ret = image_pread(q->fd, table, entries * 8, offset);

	for (uint64_t i = 0; i < entries; i++)
		table[i] = be64toh(table[i]);
	return ret;
}

int qcow2_write_table(struct qcow2 *q, uint64_t offset, const uint64_t *table, uint64_t entries)
{
	uint64_t part[512];
	int ret = 0;

	while (entries && !ret) {
		uint64_t n = entries < 512 ? entries : 512;

		for (uint64_t i = 0; i < n; i++)
			part[i] = htobe64(table[i]);
		ret = image_pwrite(q->fd, part, n * 8, offset);
		table += n;
		offset += n * 8;
		entries -= n;
	}
	return ret;
}

static void fill_header(const struct qcow2 *q, struct qcow2_header *h)
{
	*h = (struct qcow2_header){
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(q->version),
		.cluster_bits = htobe32(q->cluster_bits),
		.size = htobe64(q->image.size),
		.l1_size = htobe32(q->l1_size),
		.l1_offset = htobe64(q->l1_offset),
		.reftable_offset = htobe64(q->reftable_offset),
		.reftable_clusters = htobe32(q->reftable_clusters),
		.nb_snapshots = htobe32(q->nb_snapshots),
		.snapshots_offset = htobe64(q->snapshots_offset),
		.incompatible = htobe64(q->incompatible),
		.compatible = htobe64(q->compatible),
		.autoclear = htobe64(q->autoclear),
		.refcount_order = htobe32(q->refcount_order),
		.header_length = htobe32(q->header_length),
		.compression_type = q->compression_type,
	};
}

int qcow2_update_header(struct qcow2 *q)
{
	size_t from = offsetof(struct qcow2_header, size);
	size_t to = q->version >= 3 ? offsetof(struct qcow2_header, refcount_order) :
				      QCOW2_HEADER_V2_SIZE;
	struct qcow2_header h;

	fill_header(q, &h);
	/* Within the first 512 bytes: a disk writes them all or not at all. */
	return image_pwrite(q->fd, (char *)&h + from, to - from, from);
}

static bool append(uint8_t *buf, size_t size, size_t *at, const void *data, size_t length)
{
	if (length > size - *at)
		return false;
	memcpy(buf + *at, data, length);
	*at += length;
	return true;
}

static bool append_extension(uint8_t *buf, size_t size, size_t *at, uint32_t type, const void *data,
			     uint32_t length)
{
	uint32_t head[2] = { htobe32(type), htobe32(length) };
	static const uint8_t padding[8];

	return append(buf, size, at, head, sizeof(head)) &&
	       append(buf, size, at, data, length) &&
	       append(buf, size, at, padding, -length & 7);
}

int qcow2_write_header(struct qcow2 *q)
{
	struct qcow2_header h;
	const char *format = q->image.backing_format, *name = q->image.backing_name;
	size_t at = 0;
	uint8_t *buf;
	bool fits;
	int ret = -ENOMEM;

	buf = calloc(1, q->cluster_size);
	if (!buf)
		return -ENOMEM;
	/* A header longer than what we know keeps the rest; its meaning is optional. */
	ret = image_pread(q->fd, buf, q->header_length, 0);
	if (ret)
		goto out;
	fill_header(q, &h);
	at = q->header_length;
	fits = !format || append_extension(buf, q->cluster_size, &at, QCOW2_EXT_BACKING_FORMAT,
					   format, (uint32_t)strlen(format));
	if (q->data_name)
		fits = fits && append_extension(buf, q->cluster_size, &at, QCOW2_EXT_DATA_FILE,
						q->data_name, (uint32_t)strlen(q->data_name));
	for (unsigned int i = 0; i < q->extension_count; i++)
		fits = fits && append_extension(buf, q->cluster_size, &at, q->extensions[i].type,
						q->extensions[i].data, q->extensions[i].length);
	fits = fits && append_extension(buf, q->cluster_size, &at, 0, "", 0);
	if (name && fits) {
		q->backing_offset = at;
		h.backing_offset = htobe64(at);
		h.backing_size = htobe32((uint32_t)strlen(name));
		fits = append(buf, q->cluster_size, &at, name, strlen(name));
	}
	ret = -ENOSPC;
	if (!fits)
		goto out;
	memcpy(buf, &h, q->version < 3 ? QCOW2_HEADER_V2_SIZE :
		       q->header_length < sizeof(h) ? q->header_length : sizeof(h));
	ret = image_pwrite(q->fd, buf, q->cluster_size, 0);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
out:
	free(buf);
	return ret;
}

int qcow2_set_backing(struct qcow2 *q, const char *name, const char *format)
{
	char *old_name = q->image.backing_name, *old_format = q->image.backing_format;
	char *new_name = name ? strdup(name) : NULL;
	char *new_format = name && format ? strdup(format) : NULL;
	int ret = -ENOMEM;

	if ((name && !new_name) || (name && format && !new_format))
		goto out;
	q->image.backing_name = new_name;
	q->image.backing_format = new_format;
	ret = qcow2_write_header(q);
	if (ret) {
		q->image.backing_name = old_name;
		q->image.backing_format = old_format;
		goto out;
	}
	new_name = old_name;
	new_format = old_format;
out:
	free(new_name);
	free(new_format);
	return ret;
}

int qcow2_damaged(struct qcow2 *q)
{
	q->broken = true;
	if (q->image.flags & IMAGE_WRITE && q->version >= 3) {
		q->incompatible |= QCOW2_INCOMPAT_CORRUPT;
		qcow2_update_header(q);
	}
	return -EIO;
}

/* ------------------------------------------------------------------ the order of writing */

static int sync_files(const struct qcow2 *q)
{
	if (fdatasync(q->fd) || (q->external && fdatasync(q->data_fd)))
		return -errno;
	return 0;
}

int qcow2_sync(struct qcow2 *q)
{
	bool tables = q->l2_cache.dirty || q->l1_dirty_from < q->l1_dirty_to || q->freed_count;
	int ret;

	if (q->broken)
		return -EIO;
	ret = slice_cache_write(q, &q->ref_cache);
	if (!ret)
		ret = sync_files(q);
	if (ret || !tables)
		return ret;
	ret = slice_cache_write(q, &q->l2_cache);
	if (!ret && q->l1_dirty_from < q->l1_dirty_to)
		ret = qcow2_write_table(q, q->l1_offset + q->l1_dirty_from * 8ull,
					q->l1 + q->l1_dirty_from,
					q->l1_dirty_to - q->l1_dirty_from);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (ret)
		return ret;
	q->l1_dirty_from = q->l1_dirty_to = 0;
	ret = clusters_apply_freed(q);
	return ret ? ret : slice_cache_write(q, &q->ref_cache);
}

static int qcow2_flush(struct image *image)
{
	return qcow2_sync(to_qcow2(image));
}

static int qcow2_close(struct image *image)
{
	struct qcow2 *q = to_qcow2(image);
	int ret = 0;

	if (image->flags & IMAGE_WRITE && !(image->flags & IMAGE_CHECK) && !q->broken)
		ret = qcow2_sync(q);
	slice_cache_free(&q->l2_cache);
	slice_cache_free(&q->ref_cache);
	qcow2_free_snapshots(q);
	for (unsigned int i = 0; i < q->extension_count; i++)
		free(q->extensions[i].data);
	free(q->extensions);
	if (q->external && q->data_fd >= 0)
		close(q->data_fd);
	if (q->meta)
		munmap(q->meta, q->meta_clusters / 8);
	free(q->data_name);
	free(q->plain);
	free(q->packed);
	free(q->freed);
	free(q->l1);
	free(q->reftable);
	free(q);
	return ret;
}

/* ------------------------------------------------------------------ resizing */

static int grow_l1(struct qcow2 *q, uint64_t entries)
{
	uint64_t bytes = (entries * 8 + q->cluster_size - 1) & ~(q->cluster_size - 1);
	uint64_t first, got, old = q->l1_offset, old_bytes = q->l1_size * 8ull;
	uint64_t *l1;
	int ret;

	if (bytes > QCOW2_MAX_L1_BYTES)
		return -EFBIG;
	l1 = calloc(1, bytes);
	if (!l1)
		return -ENOMEM;
	ret = clusters_alloc(q, bytes >> q->cluster_bits, true, &first, &got);
	if (ret)
		goto out;
	for (uint64_t i = 0; i < got; i++) {
		slice_cache_drop(q, &q->l2_cache, (first + i) << q->cluster_bits);
		slice_cache_drop(q, &q->ref_cache, (first + i) << q->cluster_bits);
	}
	memcpy(l1, q->l1, old_bytes);
	ret = qcow2_write_table(q, first << q->cluster_bits, l1, bytes / 8);
	if (!ret)
		ret = meta_mark(q, first << q->cluster_bits, bytes);
	/* Its refcounts and the tables it points to go to the disk before the header knows it. */
	if (!ret)
		ret = qcow2_sync(q);
	if (ret)
		goto out;
	if (q->file_end < (first + got) << q->cluster_bits)
		q->file_end = (first + got) << q->cluster_bits;
	free(q->l1);
	q->l1 = l1;
	l1 = NULL;
	q->l1_size = (uint32_t)entries;
	q->l1_offset = first << q->cluster_bits;
	meta_unmark(q, old, old_bytes);
	ret = qcow2_update_header(q);
	if (!ret && old_bytes)
		ret = clusters_free(q, cluster_of(q, old),
				    (old_bytes + q->cluster_size - 1) >> q->cluster_bits);
out:
	free(l1);
	return ret;
}

static int qcow2_resize(struct image *image, uint64_t size, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	uint64_t old = image->size, need;
	int ret = 0;

	if (size % 512 || size > INT64_MAX)
		return vmm_fail(error, -EINVAL, "image %s: a size must be a multiple of 512 bytes",
				image->path);
	if (q->nb_snapshots && (size < old || q->version < 3))
		return vmm_fail(error, -ENOTSUP, "image %s: it has snapshots, so it cannot be %s; "
				"delete them first", image->path,
				size < old ? "made smaller" : "resized in version 2");
	need = (size + (1ull << l1_shift(q)) - 1) >> l1_shift(q);
	if (need * 8 > QCOW2_MAX_L1_BYTES)
		return vmm_fail(error, -EFBIG, "image %s: with clusters of %llu bytes it can have "
				"%llu MiB at most", image->path,
				(unsigned long long)q->cluster_size,
				(QCOW2_MAX_L1_BYTES / 8ull << l1_shift(q)) >> 20);
	if (size < old)
		ret = qcow2_zero(image, size, old - size, true);
	if (!ret && need > q->l1_size)
		ret = grow_l1(q, need);
	if (!ret)
		ret = qcow2_sync(q);
	if (!ret && q->external && ftruncate(q->data_fd, (off_t)size))
		ret = -errno;
	if (!ret) {
		image->size = size;
		/* What the file behind has there was never part of this disk. */
		if (image->backing && image->backing->size > old && size > old)
			ret = qcow2_zero(image, old, (size < image->backing->size ? size :
						      image->backing->size) - old, true);
	}
	if (!ret)
		ret = qcow2_sync(q);
	if (!ret)
		ret = qcow2_update_header(q);
	if (!ret)
		ret = qcow2_sync(q);
	return ret ? vmm_fail(error, ret, "image %s: cannot resize: %s", image->path,
			      strerror(-ret)) : 0;
}

const struct image_ops qcow2_image_ops = {
	.format = "qcow2",
	.map = qcow2_map,
	.map_write = qcow2_map_write,
	.read_compressed = qcow2_read_compressed,
	.write = qcow2_write,
	.zero = qcow2_zero,
	.discard = qcow2_discard,
	.flush = qcow2_flush,
	.resize = qcow2_resize,
	.close = qcow2_close,
};

/* ------------------------------------------------------------------ opening */

static int parse_header(struct qcow2 *q, const struct qcow2_header *h, const char *path,
			unsigned int flags, struct vmm_error *error)
{
	uint64_t unknown;

	q->version = be32toh(h->version);
	q->cluster_bits = be32toh(h->cluster_bits);
	if (q->version != 2 && q->version != 3)
		return vmm_fail(error, -ENOTSUP, "image %s: qcow2 version %u is not known, only "
				"2 and 3", path, q->version);
	if (q->cluster_bits < QCOW2_MIN_CLUSTER_BITS || q->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return vmm_fail(error, -EINVAL, "image %s: damaged: its clusters would have 2^%u "
				"bytes", path, q->cluster_bits);
	if (h->crypt_method)
		return vmm_fail(error, -ENOTSUP, "image %s: it is encrypted, which is not "
				"supported; convert it", path);
	q->header_length = QCOW2_HEADER_V2_SIZE;
	q->refcount_order = 4;
	if (q->version == 3) {
		q->incompatible = be64toh(h->incompatible);
		q->compatible = be64toh(h->compatible);
		q->autoclear = be64toh(h->autoclear);
		q->refcount_order = be32toh(h->refcount_order);
		q->header_length = be32toh(h->header_length);
		if (q->header_length < QCOW2_HEADER_V3_SIZE || q->header_length % 8 ||
		    q->header_length > 1ull << q->cluster_bits)
			return vmm_fail(error, -EINVAL, "image %s: damaged: its header would have "
					"%u bytes", path, q->header_length);
		if (q->refcount_order > 6)
			return vmm_fail(error, -EINVAL, "image %s: damaged: its refcounts would "
					"have 2^%u bits", path, q->refcount_order);
		if (q->header_length > QCOW2_HEADER_V3_SIZE)
			q->compression_type = h->compression_type;
	}
	unknown = q->incompatible & ~QCOW2_INCOMPAT_KNOWN;
	if (unknown)
		return vmm_fail(error, -ENOTSUP, "image %s: it needs features that are not known "
				"here (bits 0x%llx)", path, (unsigned long long)unknown);
	if (q->compression_type > 1 ||
	    !!q->compression_type != !!(q->incompatible & QCOW2_INCOMPAT_COMPRESSION))
		return vmm_fail(error, -ENOTSUP, "image %s: its compression type %u is not known",
				path, q->compression_type);
	if (q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 && q->cluster_bits < 14)
		return vmm_fail(error, -EINVAL, "image %s: damaged: extended L2 entries with "
				"clusters below 16 KiB", path);
	if (q->incompatible & QCOW2_INCOMPAT_CORRUPT && flags & IMAGE_WRITE &&
	    !(flags & IMAGE_CHECK))
		return vmm_fail(error, -EIO, "image %s: it was found to be damaged; repair it with "
				"anykvm image check -r all", path);
	return 0;
}

/* Says whether a table lies where one may, and in the file. */
static bool good_place(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return !in_cluster(q, offset) && offset <= q->file_end && bytes <= q->file_end - offset;
}

static int parse_tables(struct qcow2 *q, const struct qcow2_header *h, const char *path,
			struct vmm_error *error)
{
	uint64_t size = be64toh(h->size), need;
	int ret;

	q->cluster_size = 1ull << q->cluster_bits;
	q->subclusters = q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? QCOW2_SUBCLUSTERS : 1;
	q->subcluster_size = q->cluster_size / q->subclusters;
	q->entry_size = q->subclusters > 1 ? 16 : 8;
	q->l2_bits = q->cluster_bits - (q->subclusters > 1 ? 4 : 3);
	q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
	q->file_end = (q->file_end + q->cluster_size - 1) & ~(q->cluster_size - 1);

	q->l1_size = be32toh(h->l1_size);
	q->l1_offset = be64toh(h->l1_offset);
	q->reftable_offset = be64toh(h->reftable_offset);
	q->reftable_clusters = be32toh(h->reftable_clusters);
	q->nb_snapshots = be32toh(h->nb_snapshots);
	q->snapshots_offset = be64toh(h->snapshots_offset);

	if (size > INT64_MAX - 511)
		return vmm_fail(error, -EFBIG, "image %s: damaged: no disk has %llu bytes", path,
				(unsigned long long)size);
	q->image.size = (size + 511) & ~511ull;
	need = (q->image.size + (1ull << l1_shift(q)) - 1) >> l1_shift(q);
	if (q->l1_size * 8ull > QCOW2_MAX_L1_BYTES || need > q->l1_size ||
	    !good_place(q, q->l1_offset, q->l1_size * 8ull))
		return vmm_fail(error, -EINVAL, "image %s: damaged: its L1 table of %u entries at "
				"%llu cannot be", path, q->l1_size,
				(unsigned long long)q->l1_offset);
	if (!q->reftable_clusters ||
	    q->reftable_clusters > QCOW2_MAX_REFTABLE_BYTES >> q->cluster_bits ||
	    !good_place(q, q->reftable_offset,
			(uint64_t)q->reftable_clusters << q->cluster_bits))
		return vmm_fail(error, -EINVAL, "image %s: damaged: its refcount table of %u "
				"clusters at %llu cannot be", path, q->reftable_clusters,
				(unsigned long long)q->reftable_offset);
	if (q->nb_snapshots > QCOW2_MAX_SNAPSHOTS ||
	    (q->nb_snapshots && !good_place(q, q->snapshots_offset, 0)))
		return vmm_fail(error, -EINVAL, "image %s: damaged: its table of %u snapshots "
				"cannot be", path, q->nb_snapshots);

	q->reftable_size = (uint32_t)(((uint64_t)q->reftable_clusters << q->cluster_bits) / 8);
	q->l1 = calloc(q->l1_size + 1ull, 8);
	q->reftable = calloc(q->reftable_size, 8);
	if (!q->l1 || !q->reftable)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	ret = qcow2_read_table(q, q->l1_offset, q->l1, q->l1_size);
	if (!ret)
		ret = qcow2_read_table(q, q->reftable_offset, q->reftable, q->reftable_size);
	if (ret)
		return vmm_fail(error, ret, "image %s: cannot read its tables: %s", path,
				strerror(-ret));
	return 0;
}

static char *copy_string(const uint8_t *data, size_t length)
{
	return strndup((const char *)data, length);
}

static int keep_extension(struct qcow2 *q, uint32_t type, const uint8_t *data, uint32_t length)
{
	struct qcow2_extension *list;

	list = reallocarray(q->extensions, q->extension_count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	q->extensions = list;
	list += q->extension_count;
	*list = (struct qcow2_extension){ .type = type, .length = length };
	list->data = malloc(length + 1ull);
	if (!list->data)
		return -ENOMEM;
	memcpy(list->data, data, length);
	q->extension_count++;
	return 0;
}

/* What stands in the first cluster behind the fields of the header. */
static int parse_extensions(struct qcow2 *q, const struct qcow2_header *h, const char *path,
			    struct vmm_error *error)
{
	uint64_t offset = be64toh(h->backing_offset), end = q->cluster_size, at = q->header_length;
	uint32_t length = be32toh(h->backing_size);
	uint8_t *buf = malloc(q->cluster_size);
	int ret = -ENOMEM;

	if (!buf || image_pread(q->fd, buf, q->cluster_size, 0))
		goto out;
	ret = -EINVAL;
	if (offset) {
		if (length > 1023 || offset > end || length > end - offset)
			goto out;
		if (length) {
			q->image.backing_name = copy_string(buf + offset, length);
			if (!q->image.backing_name)
				goto out;
			q->backing_offset = offset;
			end = offset;
		}
	}
	while (at + 8 <= end) {
		uint32_t word[2], type;

		memcpy(word, buf + at, sizeof(word));
		type = be32toh(word[0]);
		length = be32toh(word[1]);
		at += 8;
		if (!type)
			break;
		if (length > end - at)
			goto out;
		ret = 0;
		if (type == QCOW2_EXT_BACKING_FORMAT && !q->image.backing_format) {
			q->image.backing_format = copy_string(buf + at, length);
			ret = q->image.backing_format ? 0 : -ENOMEM;
		} else if (type == QCOW2_EXT_DATA_FILE && !q->data_name) {
			q->data_name = copy_string(buf + at, length);
			ret = q->data_name ? 0 : -ENOMEM;
		} else {
			ret = keep_extension(q, type, buf + at, length);
		}
		if (ret)
			goto out;
		ret = -EINVAL;
		at += (length + 7ull) & ~7ull;
	}
	ret = 0;
out:
	free(buf);
	return ret ? vmm_fail(error, ret, "image %s: %s", path, ret == -ENOMEM ? "out of memory" :
			      "damaged: what follows its header cannot be") : 0;
}

static int open_data_file(struct qcow2 *q, const char *path, unsigned int flags,
			  struct vmm_error *error)
{
	char *name;
	int oflags, ret;

	if (!q->data_name || !*q->data_name)
		return vmm_fail(error, -EINVAL, "image %s: its data is in another file, which it "
				"does not name", path);
	name = image_relative_path(path, q->data_name);
	if (!name)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	oflags = (flags & IMAGE_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	q->data_fd = open(name, oflags);
	/* To QEMU the name is relative to where it was started, not to the image. */
	if (q->data_fd < 0 && errno == ENOENT)
		q->data_fd = open(q->data_name, oflags);
	if (q->data_fd < 0) {
		ret = -errno;
		vmm_fail(error, ret, "image %s: its data file %s: %s", path, name, strerror(-ret));
		goto out;
	}
	ret = flags & IMAGE_NO_LOCK ? 0 :
	      image_lock(q->data_fd, flags & IMAGE_WRITE ? IMAGE_LOCK_WRITE : IMAGE_LOCK_READ);
	if (ret)
		vmm_fail(error, ret, "image %s: its data file %s is in use by another program",
			 path, name);
out:
	free(name);
	return ret;
}

int qcow2_open(const char *path, int fd, unsigned int flags, struct image **out,
	       struct vmm_error *error)
{
	struct qcow2_header h;
	struct qcow2 *q;
	size_t slice;
	off_t end;
	int ret;

	end = lseek(fd, 0, SEEK_END);
	ret = image_pread(fd, &h, sizeof(h), 0);
	if (ret || end < 0)
		return vmm_fail(error, -EIO, "image %s: cannot be read", path);
	if (end < (off_t)QCOW2_HEADER_V2_SIZE || !qcow2_is_magic(&h))
		return vmm_fail(error, -EINVAL, "image %s: it is no qcow2 image", path);
	q = calloc(1, sizeof(*q));
	if (!q)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	q->image.ops = &qcow2_image_ops;
	q->fd = q->data_fd = fd;
	q->file_end = (uint64_t)end;

	ret = parse_header(q, &h, path, flags, error);
	if (!ret)
		ret = parse_tables(q, &h, path, error);
	if (!ret)
		ret = parse_extensions(q, &h, path, error);
	if (!ret)
		ret = qcow2_read_snapshots(q, path, error);
	if (!ret && q->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
		q->external = true;
		q->data_fd = -1;
		ret = open_data_file(q, path, flags, error);
	}
	if (ret) {
		char *name = q->image.backing_name, *format = q->image.backing_format;

		q->image.flags = 0;
		free(name);
		free(format);
		qcow2_close(&q->image);
		return ret;
	}
	slice = q->cluster_size < SLICE_MAX ? q->cluster_size : SLICE_MAX;
	slice_cache_init(&q->l2_cache, slice, (unsigned int)(L2_CACHE_BYTES / slice));
	slice_cache_init(&q->ref_cache, slice, (unsigned int)(REF_CACHE_BYTES / slice));
	q->image.cluster = (uint32_t)q->cluster_size;
	*out = &q->image;
	return 0;
}

static int mark_table(struct qcow2 *q, uint64_t offset, uint64_t bytes, const char *what,
		      struct vmm_error *error)
{
	int ret = -ERANGE;

	if (good_place(q, offset, bytes))
		ret = meta_mark(q, offset, bytes);
	if (ret == -EEXIST)
		return vmm_fail(error, -EIO, "image %s: damaged: its %s at %llu lies on other "
				"tables; anykvm image check says more", q->image.path, what,
				(unsigned long long)offset);
	if (ret == -ENOMEM)
		return vmm_fail(error, ret, "image %s: out of memory", q->image.path);
	return ret ? vmm_fail(error, -EIO, "image %s: damaged: its %s at %llu is not in the file "
			      "or not at a cluster's start", q->image.path, what,
			      (unsigned long long)offset) : 0;
}

static int mark_tables(struct qcow2 *q, struct vmm_error *error)
{
	int ret;

	ret = mark_table(q, 0, q->cluster_size, "header", error);
	if (!ret)
		ret = mark_table(q, q->l1_offset, q->l1_size * 8ull, "L1 table", error);
	if (!ret)
		ret = mark_table(q, q->reftable_offset,
				 (uint64_t)q->reftable_clusters << q->cluster_bits,
				 "refcount table", error);
	if (!ret && q->nb_snapshots)
		ret = mark_table(q, q->snapshots_offset, q->snapshots_bytes, "snapshot table",
				 error);
	for (uint32_t i = 0; i < q->nb_snapshots && !ret; i++)
		ret = mark_table(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size * 8ull,
				 "snapshot's L1 table", error);
	for (uint32_t i = 0; i < q->reftable_size && !ret; i++)
		if (q->reftable[i])
			ret = mark_table(q, q->reftable[i], q->cluster_size, "refcount block",
					 error);
	for (uint32_t i = 0; i < q->l1_size && !ret; i++)
		if (q->l1[i] & L1_OFFSET_MASK)
			ret = mark_table(q, q->l1[i] & L1_OFFSET_MASK, q->cluster_size, "L2 table",
					 error);
	return ret;
}

int qcow2_prepare(struct image *image, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_check result;
	uint64_t keep;
	int ret;

	if (image->flags & IMAGE_CHECK)
		return 0;
	ret = mark_tables(q, error);
	if (ret || !(image->flags & IMAGE_WRITE))
		return ret;
	if (q->incompatible & QCOW2_INCOMPAT_DIRTY) {
		/* Somebody counted lazily and did not come to an end. */
		ret = qcow2_check(image, QCOW2_REPAIR_ALL, &result, NULL);
		if (ret || result.corruptions > result.corruptions_fixed)
			return vmm_fail(error, ret ? ret : -EIO, "image %s: it was not closed, and "
					"cannot be repaired; anykvm image check says more",
					image->path);
	}
	/* What we do not keep up to date is told not to be. */
	keep = q->external ? QCOW2_AUTOCLEAR_DATA_RAW : 0;
	if (q->autoclear & ~keep) {
		q->autoclear &= keep;
		ret = qcow2_update_header(q);
	}
	return ret ? vmm_fail(error, ret, "image %s: cannot be written: %s", image->path,
			      strerror(-ret)) : 0;
}
