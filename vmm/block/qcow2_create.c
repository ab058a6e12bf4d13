/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A new, empty qcow2 image: header, refcount table, one refcount block, and an L1 table of zeroes,
 * in this order. All else comes when it is needed.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/block/format.h"
#include "vmm/block/qcow2.h"

/* Names for the feature bits, for programs that do not know them. */
struct feature_name {
	uint8_t kind, bit;
	char name[46];
};

static const struct feature_name feature_names[] = {
	{ 0, 0, "dirty bit" },
	{ 0, 1, "corrupt bit" },
	{ 0, 2, "external data file" },
	{ 0, 3, "compression type" },
	{ 0, 4, "extended L2 entries" },
	{ 1, 0, "lazy refcounts" },
	{ 2, 0, "bitmaps" },
	{ 2, 1, "raw external data" },
};

static int check_options(const char *path, const struct qcow2_create *o, uint64_t l1_size,
			 struct vmm_error *error)
{
	if (l1_size * 8 > QCOW2_MAX_L1_BYTES)
		return vmm_fail(error, -EFBIG, "image %s: too large for clusters of %u bytes; give "
				"a larger cluster_size", path, 1u << o->cluster_bits);
	if (o->version < 3 && (o->refcount_order != 4 || o->extended_l2 || o->lazy_refcounts ||
			       o->compression_type || o->data_file))
		return vmm_fail(error, -EINVAL, "image %s: version 2 (compat=0.10) has none of "
				"refcount_bits, extended_l2, lazy_refcounts, compression_type=zstd "
				"and data_file; give compat=1.1", path);
	if (o->extended_l2 && o->cluster_bits < 14)
		return vmm_fail(error, -EINVAL, "image %s: extended_l2 needs a cluster_size of "
				"16K or more", path);
	if (o->data_file && o->data_file_raw && o->backing)
		return vmm_fail(error, -EINVAL, "image %s: a raw data file and a backing file "
				"exclude each other", path);
	if (o->backing && strlen(o->backing) > 1023)
		return vmm_fail(error, -ENAMETOOLONG, "image %s: the backing file's name is longer "
				"than 1023 bytes", path);
	return 0;
}

static int create_data_file(const char *path, const struct qcow2_create *o, struct vmm_error *error)
{
	char *name = image_relative_path(path, o->data_file);
	int fd, ret = 0;

	if (!name)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, 0) || ftruncate(fd, (off_t)o->size))
		ret = vmm_fail(error, -errno, "image %s: cannot make its data file %s: %s", path,
			       name, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(name);
	return ret;
}

/* Writes the tables behind the header, and everything the header says but extensions. */
static int write_tables(struct qcow2 *q, uint64_t l1_clusters)
{
	uint64_t per_block = 1ull << q->refblock_bits;
	uint64_t reftable_clusters = 1, blocks = 1, total;
	uint64_t *table = NULL;
	uint8_t *block = NULL;
	int ret = -ENOMEM;

	/* With small clusters a large L1 table needs several blocks, which count themselves. */
	for (;;) {
		total = 1 + reftable_clusters + blocks + l1_clusters;
		if (reftable_clusters << q->cluster_bits < blocks * 8)
			reftable_clusters++;
		else if ((total + per_block - 1) / per_block > blocks)
			blocks++;
		else
			break;
	}
	q->reftable_offset = q->cluster_size;
	q->reftable_clusters = (uint32_t)reftable_clusters;
	q->l1_offset = (1 + reftable_clusters + blocks) << q->cluster_bits;

	table = calloc(reftable_clusters, q->cluster_size);
	block = calloc(blocks, q->cluster_size);
	if (!table || !block)
		goto out;
	for (uint64_t i = 0; i < blocks; i++)
		table[i] = (1 + reftable_clusters + i) << q->cluster_bits;
	for (uint64_t i = 0; i < total; i++)
		refcount_store(q->refcount_order, block + (i >> q->refblock_bits) * q->cluster_size,
			       i & (per_block - 1), 1);
	ret = ftruncate(q->fd, (off_t)(total << q->cluster_bits)) ? -errno : 0;
	if (!ret)
		ret = qcow2_write_table(q, q->reftable_offset, table,
					(reftable_clusters << q->cluster_bits) / 8);
	if (!ret)
		ret = image_pwrite(q->fd, block, blocks << q->cluster_bits,
				   q->reftable_offset + (reftable_clusters << q->cluster_bits));
	if (!ret && fdatasync(q->fd))
		ret = -errno;
out:
	free(table);
	free(block);
	return ret;
}

int qcow2_create(const char *path, const struct qcow2_create *o, struct vmm_error *error)
{
	struct qcow2_extension features = { .type = QCOW2_EXT_FEATURES,
					    .length = sizeof(feature_names),
					    .data = (uint8_t *)feature_names };
	struct qcow2 q = {
		.version = o->version,
		.cluster_bits = o->cluster_bits,
		.cluster_size = 1ull << o->cluster_bits,
		.refcount_order = o->refcount_order,
		.refblock_bits = o->cluster_bits + 3 - o->refcount_order,
		.l2_bits = o->cluster_bits - (o->extended_l2 ? 4 : 3),
		.header_length = o->version < 3 ? QCOW2_HEADER_V2_SIZE :
						  sizeof(struct qcow2_header),
		.compression_type = o->compression_type,
		.data_name = (char *)o->data_file,
		.image = {
			.size = (o->size + 511) & ~511ull,
			.backing_name = (char *)o->backing,
			.backing_format = (char *)o->backing_format,
		},
	};
	uint64_t l1_size = (q.image.size >> l1_shift(&q)) +
			   !!(q.image.size & ((1ull << l1_shift(&q)) - 1));
	struct stat st;
	int ret;

	if (o->size > INT64_MAX - 511)
		return vmm_fail(error, -EFBIG, "image %s: the size is too large", path);
	ret = check_options(path, o, l1_size, error);
	if (ret)
		return ret;
	if (!l1_size)
		l1_size = 1;
	q.l1_size = (uint32_t)l1_size;
	if (o->compression_type)
		q.incompatible |= QCOW2_INCOMPAT_COMPRESSION;
	if (o->extended_l2)
		q.incompatible |= QCOW2_INCOMPAT_EXTENDED_L2;
	if (o->lazy_refcounts)
		q.compatible |= QCOW2_COMPAT_LAZY;
	if (o->data_file) {
		q.incompatible |= QCOW2_INCOMPAT_DATA_FILE;
		if (o->data_file_raw)
			q.autoclear |= QCOW2_AUTOCLEAR_DATA_RAW;
	}
	/* A cluster of 512 bytes has no room for the names beside a backing file's. */
	if (o->version >= 3 && o->cluster_bits >= 11) {
		q.extensions = &features;
		q.extension_count = 1;
	}

	q.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (q.fd < 0)
		return vmm_fail(error, -errno, "image %s: cannot make it: %s", path,
				strerror(errno));
	ret = image_lock(q.fd, IMAGE_LOCK_WRITE);
	if (ret) {
		vmm_fail(error, ret, "image %s: in use by another program", path);
		goto out;
	}
	if (fstat(q.fd, &st) || !S_ISREG(st.st_mode)) {
		ret = vmm_fail(error, -EINVAL, "image %s: it is not a regular file", path);
		goto out;
	}
	if (o->data_file)
		ret = create_data_file(path, o, error);
	if (!ret && ftruncate(q.fd, 0))
		ret = -errno;
	if (!ret)
		ret = write_tables(&q, (l1_size * 8 + q.cluster_size - 1) >> q.cluster_bits);
	if (!ret)
		ret = qcow2_write_header(&q);
	if (ret == -ENOSPC && o->cluster_bits < 12)
		vmm_fail(error, ret, "image %s: the backing file's name does not fit into a "
			 "cluster; give a larger cluster_size", path);
	else if (ret)
		vmm_fail(error, ret, "image %s: cannot make it: %s", path, strerror(-ret));
out:
	close(q.fd);
	return ret;
}
