/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internal snapshots: an L1 table that is kept, with a reference to all it leads to.
 *
 * Each change is made in steps that leave a sound image, with counts too high at worst, wherever it
 * is cut short: flags that allow overwriting go first, then counts grow, then the header points to
 * the new table, and only then counts shrink.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/block/qcow2.h"

/* An entry of the snapshot table, in the file's byte order; extra data, id and name follow. */
struct disk_snapshot {
	uint64_t l1_offset;
	uint32_t l1_size;
	uint16_t id_size, name_size;
	uint32_t date_sec, date_nsec;
	uint64_t clock_nsec;
	uint32_t vm_state_size;
	uint32_t extra_size;
} __attribute__((packed));

struct disk_snapshot_extra {
	uint64_t vm_state_size;
	uint64_t disk_size;
	uint64_t icount;
} __attribute__((packed));

static void free_snapshot(struct qcow2_snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void qcow2_free_snapshots(struct qcow2 *q)
{
	for (uint32_t i = 0; q->snapshots && i < q->nb_snapshots; i++)
		free_snapshot(&q->snapshots[i]);
	free(q->snapshots);
	q->snapshots = NULL;
}

/* Reads one entry at *@at, which moves on. */
static int read_snapshot(struct qcow2 *q, uint64_t *at, struct qcow2_snapshot *s)
{
	struct disk_snapshot_extra extra = { 0 };
	struct disk_snapshot d;
	size_t id_size, name_size;
	int ret;

	ret = image_pread(q->fd, &d, sizeof(d), *at);
	if (ret)
		return ret;
	*at += sizeof(d);
	s->l1_offset = be64toh(d.l1_offset);
	s->l1_size = be32toh(d.l1_size);
	s->date_sec = be32toh(d.date_sec);
	s->date_nsec = be32toh(d.date_nsec);
	s->clock_nsec = be64toh(d.clock_nsec);
	s->vm_state_size = be32toh(d.vm_state_size);
	s->extra_size = be32toh(d.extra_size);
	s->disk_size = q->image.size;
	id_size = be16toh(d.id_size);
	name_size = be16toh(d.name_size);
	if (s->l1_size * 8ull > QCOW2_MAX_L1_BYTES || s->extra_size > QCOW2_MAX_EXTRA ||
	    in_cluster(q, s->l1_offset))
		return -EINVAL;
	s->extra = malloc(s->extra_size + 1ull);
	s->id = calloc(1, id_size + 1);
	s->name = calloc(1, name_size + 1);
	if (!s->extra || !s->id || !s->name)
		return -ENOMEM;
	ret = image_pread(q->fd, s->extra, s->extra_size, *at);
	*at += s->extra_size;
	if (!ret)
		ret = image_pread(q->fd, s->id, id_size, *at);
	*at += id_size;
	if (!ret)
		ret = image_pread(q->fd, s->name, name_size, *at);
	*at += name_size;
	*at = (*at + 7) & ~7ull;
	memcpy(&extra, s->extra, s->extra_size < sizeof(extra) ? s->extra_size : sizeof(extra));
	if (s->extra_size >= 8)
		s->vm_state_size = be64toh(extra.vm_state_size);
	if (s->extra_size >= 16)
		s->disk_size = be64toh(extra.disk_size);
	if (s->extra_size >= 24)
		s->icount = be64toh(extra.icount);
	if (s->disk_size > INT64_MAX - 511)
		return -EINVAL;
	s->disk_size = (s->disk_size + 511) & ~511ull;
	return ret;
}

int qcow2_read_snapshots(struct qcow2 *q, const char *path, struct vmm_error *error)
{
	uint64_t at = q->snapshots_offset;
	uint32_t count = q->nb_snapshots;
	int ret = 0;

	q->nb_snapshots = 0;
	if (count && count * sizeof(struct disk_snapshot) > q->file_end)
		return vmm_fail(error, -EINVAL, "image %s: damaged: %u snapshots are not in the "
				"file", path, count);
	q->snapshots = calloc(count + 1ull, sizeof(*q->snapshots));
	if (!q->snapshots)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	while (q->nb_snapshots < count && !ret) {
		ret = at > q->file_end ? -EINVAL :
		      read_snapshot(q, &at, &q->snapshots[q->nb_snapshots++]);
		if (!ret && at - q->snapshots_offset > QCOW2_MAX_SNAPSHOT_BYTES)
			ret = -EINVAL;
	}
	q->snapshots_bytes = at - q->snapshots_offset;
	return ret ? vmm_fail(error, ret, "image %s: damaged: snapshot %u cannot be", path,
			      q->nb_snapshots) : 0;
}

struct qcow2_snapshot *qcow2_find_snapshot(struct qcow2 *q, const char *name)
{
	for (uint32_t i = 0; i < q->nb_snapshots; i++)
		if (!strcmp(q->snapshots[i].id, name))
			return &q->snapshots[i];
	for (uint32_t i = 0; i < q->nb_snapshots; i++)
		if (!strcmp(q->snapshots[i].name, name))
			return &q->snapshots[i];
	return NULL;
}

/* ------------------------------------------------------------------ everything a table leads to */

/* Adds @change to one run of counts, if *@budget allows; a decrease waits for the next sync. */
static int change_run(struct qcow2 *q, uint64_t offset, uint64_t bytes, int change,
		      uint64_t *budget)
{
	uint64_t first = cluster_of(q, offset), last = cluster_of(q, offset + bytes - 1);

	for (uint64_t c = first; c <= last; c++) {
		int ret;

		if (!*budget)
			return 0;
		ret = change > 0 ? refcount_add(q, c, change) : clusters_free(q, c, 1);
		if (ret)
			return ret;
		--*budget;
	}
	return 0;
}

/* Changes the counts of all that an L1 table leads to; *@budget shrinks with each. */
static int change_all(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, int change,
		      uint64_t *budget)
{
	uint64_t *table = malloc(q->cluster_size);
	int ret = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < l1_size && !ret; i++) {
		uint64_t l2 = l1[i] & L1_OFFSET_MASK;

		if (!l2)
			continue;
		ret = in_cluster(q, l2) ? -EIO :
		      qcow2_read_table(q, l2, table, q->cluster_size / 8);
		for (uint64_t j = 0; j < q->cluster_size / 8 && !ret; j += q->entry_size / 8) {
			uint64_t offset = table[j] & L2_OFFSET_MASK, bytes = 1;

			if (table[j] & L2_COMPRESSED)
				qcow2_compressed_place(q, table[j], &offset, &bytes);
			else if (!offset)
				continue;
			ret = change_run(q, offset, bytes, change, budget);
		}
		if (!ret)
			ret = change_run(q, l2, 1, change, budget);
		if (!ret && change < 0 && q->freed_count > 65536)
			ret = qcow2_sync(q);
	}
	free(table);
	return ret;
}

/* Takes a reference to everything, or to nothing. */
static int reference_all(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size)
{
	uint64_t budget = UINT64_MAX, undo;
	int ret = change_all(q, l1, l1_size, 1, &budget);

	if (ret) {
		undo = UINT64_MAX - budget;
		change_all(q, l1, l1_size, -1, &undo);
	}
	return ret;
}

/*
 * Sets the "refcount is 1" flags of the active tables: to false, or to what the counts say. The
 * caches have nothing unwritten, and know nothing of L2 tables afterwards.
 */
static int set_copied(struct qcow2 *q, bool clear)
{
	uint64_t *table = malloc(q->cluster_size), count;
	int ret = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < q->l1_size && !ret; i++) {
		uint64_t l2 = q->l1[i] & L1_OFFSET_MASK;
		bool changed = false;

		if (!l2)
			continue;
		ret = qcow2_read_table(q, l2, table, q->cluster_size / 8);
		for (uint64_t j = 0; j < q->cluster_size / 8 && !ret; j += q->entry_size / 8) {
			uint64_t offset = table[j] & L2_OFFSET_MASK, old = table[j];

			if (old & L2_COMPRESSED || !offset)
				continue;
			count = 0;
			if (!clear)
				ret = refcount_get(q, cluster_of(q, offset), &count);
			table[j] = (old & ~ENTRY_COPIED) | (count == 1 ? ENTRY_COPIED : 0);
			changed |= table[j] != old;
		}
		count = 0;
		if (!ret && !clear)
			ret = refcount_get(q, cluster_of(q, l2), &count);
		if (!ret && changed)
			ret = qcow2_write_table(q, l2, table, q->cluster_size / 8);
		slice_cache_drop(q, &q->l2_cache, l2);
		q->l1[i] = l2 | (count == 1 ? ENTRY_COPIED : 0);
	}
	if (!ret)
		ret = qcow2_write_table(q, q->l1_offset, q->l1, q->l1_size);
	free(table);
	return ret ? ret : qcow2_sync(q);
}

/* ------------------------------------------------------------------ the table */

static uint64_t entry_bytes(const struct qcow2_snapshot *s)
{
	uint64_t extra = s->extra_size > sizeof(struct disk_snapshot_extra) ?
			 s->extra_size : sizeof(struct disk_snapshot_extra);

	return (sizeof(struct disk_snapshot) + extra + strlen(s->id) + strlen(s->name) + 7) & ~7ull;
}

static void fill_entry(uint8_t *p, const struct qcow2_snapshot *s)
{
	uint32_t extra_size = s->extra_size > sizeof(struct disk_snapshot_extra) ?
			      s->extra_size : (uint32_t)sizeof(struct disk_snapshot_extra);
	struct disk_snapshot_extra extra = {
		.vm_state_size = htobe64(s->vm_state_size),
		.disk_size = htobe64(s->disk_size),
		.icount = htobe64(s->icount),
	};
	struct disk_snapshot d = {
		.l1_offset = htobe64(s->l1_offset),
		.l1_size = htobe32(s->l1_size),
		.id_size = htobe16((uint16_t)strlen(s->id)),
		.name_size = htobe16((uint16_t)strlen(s->name)),
		.date_sec = htobe32(s->date_sec),
		.date_nsec = htobe32(s->date_nsec),
		.clock_nsec = htobe64(s->clock_nsec),
		.vm_state_size = htobe32(s->vm_state_size > UINT32_MAX ? 0 :
					 (uint32_t)s->vm_state_size),
		.extra_size = htobe32(extra_size),
	};

	memcpy(p, &d, sizeof(d));
	p += sizeof(d);
	if (s->extra_size)
		memcpy(p, s->extra, s->extra_size);
	memcpy(p, &extra, sizeof(extra));
	p += extra_size;
	memcpy(p, s->id, strlen(s->id));
	memcpy(p + strlen(s->id), s->name, strlen(s->name));
}

static int alloc_table(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
	uint64_t first, got;
	int ret = clusters_alloc(q, (bytes + q->cluster_size - 1) >> q->cluster_bits, true, &first,
				 &got);

	if (ret)
		return ret;
	*offset = first << q->cluster_bits;
	for (uint64_t i = 0; i < got; i++) {
		slice_cache_drop(q, &q->l2_cache, (first + i) << q->cluster_bits);
		slice_cache_drop(q, &q->ref_cache, (first + i) << q->cluster_bits);
	}
	if (q->file_end < (first + got) << q->cluster_bits)
		q->file_end = (first + got) << q->cluster_bits;
	return meta_mark(q, *offset, bytes);
}

static int free_table(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	if (!bytes)
		return 0;
	meta_unmark(q, offset, bytes);
	return clusters_free(q, cluster_of(q, offset),
			     (bytes + q->cluster_size - 1) >> q->cluster_bits);
}

/* Writes the table at a new place and makes the header point there. */
static int write_snapshots(struct qcow2 *q)
{
	uint64_t bytes = 0, offset = 0, old = q->snapshots_offset, old_bytes = q->snapshots_bytes;
	uint8_t *buf = NULL, *p;
	int ret = 0;

	for (uint32_t i = 0; i < q->nb_snapshots; i++)
		bytes += entry_bytes(&q->snapshots[i]);
	if (bytes > QCOW2_MAX_SNAPSHOT_BYTES)
		return -EFBIG;
	if (bytes) {
		buf = p = calloc(1, bytes);
		if (!buf)
			return -ENOMEM;
		for (uint32_t i = 0; i < q->nb_snapshots; i++) {
			fill_entry(p, &q->snapshots[i]);
			p += entry_bytes(&q->snapshots[i]);
		}
		ret = alloc_table(q, bytes, &offset);
		if (!ret)
			ret = image_pwrite(q->fd, buf, bytes, offset);
	}
	if (!ret)
		ret = qcow2_sync(q);
	if (ret)
		goto out;
	q->snapshots_offset = offset;
	q->snapshots_bytes = bytes;
	ret = qcow2_update_header(q);
	if (!ret)
		ret = free_table(q, old, old_bytes);
	if (!ret)
		ret = qcow2_sync(q);
out:
	free(buf);
	return ret;
}

/* ------------------------------------------------------------------ the four things to do */

static int failed(const struct image *image, const char *what, const char *name, int ret,
		  struct vmm_error *error)
{
	return ret ? vmm_fail(error, ret, "image %s: cannot %s snapshot '%s': %s", image->path,
			      what, name, ret == -EOVERFLOW ? "its refcounts are too narrow" :
			      strerror(-ret)) : 0;
}

static int find(struct image *image, const char *name, struct qcow2_snapshot **s,
		struct vmm_error *error)
{
	if (image->ops != &qcow2_image_ops)
		return vmm_fail(error, -ENOTSUP, "image %s: a %s image has no snapshots",
				image->path, image->ops->format);
	*s = qcow2_find_snapshot(to_qcow2(image), name);
	return *s ? 0 : vmm_fail(error, -ENOENT, "image %s: it has no snapshot '%s'; "
				 "anykvm image snapshot -l lists them", image->path, name);
}

int qcow2_snapshot_create(struct image *image, const char *name, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_snapshot s = { 0 }, *list;
	unsigned long id = 0;
	struct timespec now;
	int ret;

	if (image->ops != &qcow2_image_ops)
		return vmm_fail(error, -ENOTSUP, "image %s: a %s image cannot have snapshots; "
				"convert it to qcow2", image->path, image->ops->format);
	if (q->external)
		return vmm_fail(error, -ENOTSUP, "image %s: with its data in another file it "
				"cannot have snapshots", image->path);
	if (!*name || strlen(name) > 255)
		return vmm_fail(error, -EINVAL, "image %s: a snapshot's name has 1 to 255 bytes",
				image->path);
	if (q->nb_snapshots >= QCOW2_MAX_SNAPSHOTS)
		return vmm_fail(error, -EFBIG, "image %s: it has %u snapshots, and cannot have "
				"more", image->path, q->nb_snapshots);
	for (uint32_t i = 0; i < q->nb_snapshots; i++) {
		unsigned long n = strtoul(q->snapshots[i].id, NULL, 10);

		if (n > id)
			id = n;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	s.date_sec = (uint32_t)now.tv_sec;
	s.date_nsec = (uint32_t)now.tv_nsec;
	s.disk_size = image->size;
	s.icount = UINT64_MAX;
	s.l1_size = q->l1_size;
	s.name = strdup(name);
	ret = -ENOMEM;
	if (!s.name || asprintf(&s.id, "%lu", id + 1) < 0)
		goto out;
	list = reallocarray(q->snapshots, q->nb_snapshots + 1ull, sizeof(*list));
	if (!list)
		goto out;
	q->snapshots = list;

	ret = qcow2_sync(q);
	if (!ret)
		ret = set_copied(q, true);
	if (!ret)
		ret = alloc_table(q, q->l1_size * 8ull, &s.l1_offset);
	if (!ret)
		ret = qcow2_write_table(q, s.l1_offset, q->l1, q->l1_size);
	if (!ret) {
		ret = reference_all(q, q->l1, q->l1_size);
		if (ret) {
			free_table(q, s.l1_offset, q->l1_size * 8ull);
			qcow2_sync(q);
			set_copied(q, false);
		}
	}
	if (!ret)
		ret = qcow2_sync(q);
	if (ret)
		goto out;
	q->snapshots[q->nb_snapshots++] = s;
	return failed(image, "make", name, write_snapshots(q), error);
out:
	free_snapshot(&s);
	return failed(image, "make", name, ret, error);
}

/* Reads a snapshot's L1 table. malloc()ed; NULL with *@ret. */
static uint64_t *read_l1(struct qcow2 *q, const struct qcow2_snapshot *s, uint32_t entries,
			 int *ret)
{
	uint64_t *l1 = calloc(entries + 1ull, 8);

	*ret = l1 ? qcow2_read_table(q, s->l1_offset, l1, s->l1_size) : -ENOMEM;
	for (uint32_t i = 0; i < s->l1_size && !*ret; i++)
		if (in_cluster(q, l1[i] & L1_OFFSET_MASK) ||
		    (l1[i] & L1_OFFSET_MASK) >= q->file_end)
			*ret = -EIO;
	if (*ret) {
		free(l1);
		return NULL;
	}
	return l1;
}

int qcow2_snapshot_delete(struct image *image, const char *name, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_snapshot *s, gone;
	uint64_t budget = UINT64_MAX;
	uint64_t *l1;
	int ret;

	ret = find(image, name, &s, error);
	if (ret)
		return ret;
	l1 = read_l1(q, s, s->l1_size, &ret);
	if (!l1)
		return failed(image, "delete", name, ret, error);
	gone = *s;
	memmove(s, s + 1, (char *)(q->snapshots + q->nb_snapshots) - (char *)(s + 1));
	q->nb_snapshots--;
	ret = write_snapshots(q);
	if (!ret)
		ret = change_all(q, l1, gone.l1_size, -1, &budget);
	if (!ret)
		ret = free_table(q, gone.l1_offset, gone.l1_size * 8ull);
	if (!ret)
		ret = qcow2_sync(q);
	if (!ret)
		ret = set_copied(q, false);
	free(l1);
	free_snapshot(&gone);
	return failed(image, "delete", name, ret, error);
}

int qcow2_snapshot_apply(struct image *image, const char *name, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	uint64_t budget = UINT64_MAX, offset, old_offset;
	uint64_t *l1, *old_l1;
	uint32_t size, old_size;
	struct qcow2_snapshot *s;
	int ret;

	ret = find(image, name, &s, error);
	if (ret)
		return ret;
	if (s->l1_size < (s->disk_size + (1ull << l1_shift(q)) - 1) >> l1_shift(q))
		return vmm_fail(error, -EIO, "image %s: damaged: snapshot '%s' has too small an "
				"L1 table", image->path, name);
	size = s->l1_size > q->l1_size ? s->l1_size : q->l1_size;
	ret = qcow2_sync(q);
	if (ret)
		return failed(image, "apply", name, ret, error);
	l1 = read_l1(q, s, size, &ret);
	if (!l1)
		return failed(image, "apply", name, ret, error);
	for (uint32_t i = 0; i < size; i++)
		l1[i] &= ~ENTRY_COPIED;
	ret = reference_all(q, l1, s->l1_size);
	if (!ret)
		ret = alloc_table(q, size * 8ull, &offset);
	if (!ret)
		ret = qcow2_write_table(q, offset, l1, size);
	if (!ret)
		ret = qcow2_sync(q);
	if (ret) {
		free(l1);
		return failed(image, "apply", name, ret, error);
	}

	old_l1 = q->l1;
	old_size = q->l1_size;
	old_offset = q->l1_offset;
	q->l1 = l1;
	q->l1_size = size;
	q->l1_offset = offset;
	image->size = s->disk_size;
	ret = qcow2_update_header(q);
	for (uint32_t i = 0; i < old_size; i++)
		if (old_l1[i] & L1_OFFSET_MASK)
			meta_unmark(q, old_l1[i] & L1_OFFSET_MASK, q->cluster_size);
	for (uint32_t i = 0; i < size && !ret; i++)
		if (l1[i] & L1_OFFSET_MASK)
			ret = meta_mark(q, l1[i] & L1_OFFSET_MASK, q->cluster_size);
	if (!ret)
		ret = change_all(q, old_l1, old_size, -1, &budget);
	if (!ret)
		ret = free_table(q, old_offset, old_size * 8ull);
	if (!ret)
		ret = qcow2_sync(q);
	if (!ret)
		ret = set_copied(q, false);
	free(old_l1);
	return failed(image, "apply", name, ret, error);
}

int qcow2_snapshot_view(struct image *image, const char *name, struct vmm_error *error)
{
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_snapshot *s;
	uint64_t *l1;
	int ret;

	ret = find(image, name, &s, error);
	if (ret)
		return ret;
	l1 = read_l1(q, s, s->l1_size, &ret);
	if (!l1)
		return failed(image, "read", name, ret, error);
	if (s->l1_size < (s->disk_size + (1ull << l1_shift(q)) - 1) >> l1_shift(q)) {
		free(l1);
		return failed(image, "read", name, -EIO, error);
	}
	free(q->l1);
	q->l1 = l1;
	q->l1_size = s->l1_size;
	image->size = s->disk_size;
	return 0;
}
