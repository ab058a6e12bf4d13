/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Checking and repairing: counts what refers to each cluster and compares that with the refcounts.
 *
 * A count too high is a leak: space is lost, no data. One too low is damage: the cluster will be
 * given to somebody else. So is a pointer to where nothing can be. Where the refcount blocks
 * themselves cannot be trusted, new ones are made behind everything else.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/block/qcow2.h"

#define REPORT_MAX 100u		/* lines; a damaged image could give millions */

struct check {
	struct qcow2 *q;
	struct qcow2_check *result;
	enum qcow2_repair repair;
	FILE *log;
	unsigned int lines;
	uint32_t *counts;	/* for each cluster of the file, what refers to it */
	uint64_t clusters;
	bool rebuild;		/* the refcount blocks are not to be trusted */
};

static void say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct check *c, const char *format, ...)
{
	va_list args;

	if (!c->log || c->lines > REPORT_MAX)
		return;
	if (c->lines++ == REPORT_MAX) {
		fputs("(more is not shown)\n", c->log);
		return;
	}
	va_start(args, format);
	vfprintf(c->log, format, args);
	va_end(args);
	fputc('\n', c->log);
}

static void damage(struct check *c, const char *what, uint64_t offset)
{
	c->result->corruptions++;
	say(c, "ERROR %s at offset 0x%" PRIx64, what, offset);
}

/* Counts a reference. False, and damage, if it leads out of the file. */
static bool refer(struct check *c, uint64_t offset, uint64_t bytes, const char *what)
{
	uint64_t first = cluster_of(c->q, offset), last;

	if (!bytes)
		return true;
	last = cluster_of(c->q, offset + bytes - 1);
	if (offset + bytes < offset || last >= c->clusters) {
		damage(c, what, offset);
		return false;
	}
	for (; first <= last; first++)
		if (c->counts[first] < UINT32_MAX)
			c->counts[first]++;
	return true;
}

static int check_l2(struct check *c, uint64_t l2, uint64_t *table, bool active)
{
	struct qcow2 *q = c->q;
	uint64_t next = 0;
	int ret = qcow2_read_table(q, l2, table, q->cluster_size / 8);

	if (ret) {
		c->result->check_errors++;
		return 0;
	}
	for (uint64_t j = 0; j < q->cluster_size / 8; j += q->entry_size / 8) {
		uint64_t offset = table[j] & L2_OFFSET_MASK, bytes;
		bool has = offset || (q->external && table[j] & ENTRY_COPIED);

		if (table[j] & L2_COMPRESSED) {
			if (q->external) {
				damage(c, "compressed cluster and a data file, entry", l2 + j * 8);
				continue;
			}
			qcow2_compressed_place(q, table[j], &offset, &bytes);
			refer(c, offset, bytes, "compressed cluster is not in the file");
			if (active) {
				c->result->allocated_clusters++;
				c->result->compressed_clusters++;
				c->result->fragmented_clusters++;
			}
			if (table[j] & ENTRY_COPIED)
				damage(c, "compressed cluster that may be overwritten, entry",
				       l2 + j * 8);
			continue;
		}
		if (q->subclusters > 1 &&
		    (((uint32_t)table[j + 1] & table[j + 1] >> 32) ||
		     (!has && (uint32_t)table[j + 1])))
			damage(c, "impossible subcluster bitmap, entry", l2 + j * 8);
		if (!has)
			continue;
		if (active) {
			c->result->allocated_clusters++;
			if (next && offset != next)
				c->result->fragmented_clusters++;
			next = offset + q->cluster_size;
		}
		if (in_cluster(q, offset))
			damage(c, "data cluster does not begin at a cluster, entry", l2 + j * 8);
		else if (!q->external)
			refer(c, offset, q->cluster_size, "data cluster is not in the file");
	}
	return 0;
}

static int check_l1(struct check *c, uint64_t offset, const uint64_t *l1, uint32_t size,
		    bool active)
{
	struct qcow2 *q = c->q;
	uint64_t *table;

	if (!refer(c, offset, size * 8ull, "L1 table is not in the file"))
		return 0;
	table = malloc(q->cluster_size);
	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++) {
		uint64_t l2 = l1[i] & L1_OFFSET_MASK;

		if (!l2)
			continue;
		if (in_cluster(q, l2))
			damage(c, "L2 table does not begin at a cluster", l2);
		else if (refer(c, l2, q->cluster_size, "L2 table is not in the file"))
			check_l2(c, l2, table, active);
	}
	free(table);
	return 0;
}

/* Counts everything but the refcount table and blocks. */
static int count_all(struct check *c)
{
	struct qcow2 *q = c->q;
	int ret;

	refer(c, 0, q->cluster_size, "header is not in the file");
	ret = check_l1(c, q->l1_offset, q->l1, q->l1_size, true);
	if (q->nb_snapshots)
		refer(c, q->snapshots_offset, q->snapshots_bytes,
		      "snapshot table is not in the file");
	for (uint32_t i = 0; i < q->nb_snapshots && !ret; i++) {
		const struct qcow2_snapshot *s = &q->snapshots[i];
		uint64_t *l1 = calloc(s->l1_size + 1ull, 8);

		if (!l1)
			return -ENOMEM;
		if (qcow2_read_table(q, s->l1_offset, l1, s->l1_size))
			c->result->check_errors++;
		else
			ret = check_l1(c, s->l1_offset, l1, s->l1_size, false);
		free(l1);
	}
	return ret;
}

/* Counts the refcount table and blocks, and sees whether they can be what they should. */
static void count_refcounts(struct check *c)
{
	struct qcow2 *q = c->q;

	refer(c, q->reftable_offset, (uint64_t)q->reftable_clusters << q->cluster_bits,
	      "refcount table is not in the file");
	for (uint32_t i = 0; i < q->reftable_size; i++) {
		uint64_t block = q->reftable[i], before = c->result->corruptions;

		if (!block)
			continue;
		if (in_cluster(q, block))
			damage(c, "refcount block does not begin at a cluster", block);
		else
			refer(c, block, q->cluster_size, "refcount block is not in the file");
		if (c->result->corruptions > before) {
			c->rebuild = true;
			q->reftable[i] = 0;
		} else if (c->counts[cluster_of(q, block)] > 1) {
			damage(c, "refcount block lies on something else", block);
			c->rebuild = true;
		}
	}
}

static int store_count(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	uint64_t now;
	int ret = refcount_get(q, cluster, &now);

	if (!ret && now < count)
		ret = refcount_add(q, cluster, (int64_t)(count - now));
	else if (!ret && now > count)
		ret = refcount_add(q, cluster, -(int64_t)(now - count));
	return ret;
}

/* Compares the counts with the refcounts of the file, and corrects what is asked for. */
static int compare(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t bad = 0;
	int ret = 0;

	for (uint64_t i = 0; i < c->clusters && !ret; i++) {
		bool missing = i >> q->refblock_bits >= q->reftable_size ||
			       !q->reftable[i >> q->refblock_bits];
		uint64_t count;

		ret = refcount_get(q, i, &count);
		if (ret) {
			c->result->check_errors++;
			return ret;
		}
		if (c->counts[i] || count)
			c->result->image_end = (i + 1) << q->cluster_bits;
		if (count == c->counts[i])
			continue;
		if (count > c->counts[i]) {
			c->result->leaks++;
			say(c, "Leaked cluster %" PRIu64 " refcount=%" PRIu64 " reference=%u", i,
			    count, c->counts[i]);
			if (c->repair >= QCOW2_REPAIR_LEAKS && !c->rebuild) {
				ret = store_count(q, i, c->counts[i]);
				c->result->leaks_fixed += !ret;
			}
			continue;
		}
		c->result->corruptions++;
		bad++;
		say(c, "ERROR cluster %" PRIu64 " refcount=%" PRIu64 " reference=%u", i, count,
		    c->counts[i]);
		if (missing)
			c->rebuild = true;
		if (c->repair == QCOW2_REPAIR_ALL && !c->rebuild) {
			ret = store_count(q, i, c->counts[i]);
			c->result->corruptions_fixed += !ret;
		}
	}
	return ret;
}

/* Takes back the references that count_refcounts() counted. */
static void forget_refcounts(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t first = cluster_of(q, q->reftable_offset);

	for (uint64_t i = first; i < first + q->reftable_clusters && i < c->clusters; i++)
		c->counts[i] -= !!c->counts[i];
	for (uint32_t i = 0; i < q->reftable_size; i++)
		if (q->reftable[i])
			c->counts[cluster_of(q, q->reftable[i])]--;
}

/* Does anything in the range that a refcount block counts have a reference? */
static bool block_used(const struct check *c, uint64_t block)
{
	uint64_t i = block << c->q->refblock_bits, end = (block + 1) << c->q->refblock_bits;

	for (; i < end && i < c->clusters; i++)
		if (c->counts[i])
			return true;
	return false;
}

/* Makes new refcount blocks, and a table of them, behind everything else. */
static int rebuild(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t start = c->clusters, blocks = 1, table_clusters = 1, end, entries, n = 0;
	uint64_t first_new = start >> q->refblock_bits, below = 0;
	uint64_t *table = NULL;
	uint8_t *block = NULL;
	int ret = -ENOMEM;

	forget_refcounts(c);
	for (uint64_t i = 0; i < first_new; i++)
		below += block_used(c, i);
	for (;;) {
		end = start + blocks + table_clusters;
		entries = ((end - 1) >> q->refblock_bits) + 1;
		if (blocks < below + entries - first_new)
			blocks = below + entries - first_new;
		else if (table_clusters << q->cluster_bits < entries * 8)
			table_clusters++;
		else
			break;
	}
	if (table_clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES)
		return -EFBIG;
	entries = table_clusters << q->cluster_bits >> 3;
	table = calloc(entries, 8);
	block = malloc(q->cluster_size);
	if (!table || !block)
		goto out;
	ret = 0;
	for (uint64_t i = 0; i <= (end - 1) >> q->refblock_bits && !ret; i++) {
		uint64_t at = i << q->refblock_bits;

		if (i < first_new && !block_used(c, i))
			continue;
		memset(block, 0, q->cluster_size);
		for (uint64_t j = 0; j < 1ull << q->refblock_bits && at < end; j++, at++)
			refcount_store(q->refcount_order, block, j,
				       at < start ? c->counts[at] : 1);
		table[i] = (start + n++) << q->cluster_bits;
		ret = image_pwrite(q->fd, block, q->cluster_size, table[i]);
	}
	if (!ret)
		ret = qcow2_write_table(q, (start + blocks) << q->cluster_bits, table, entries);
	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (ret)
		goto out;
	free(q->reftable);
	q->reftable = table;
	table = NULL;
	q->reftable_size = (uint32_t)entries;
	q->reftable_clusters = (uint32_t)table_clusters;
	q->reftable_offset = (start + blocks) << q->cluster_bits;
	q->file_end = end << q->cluster_bits;
	c->result->image_end = q->file_end;
	slice_cache_free(&q->ref_cache);
	ret = qcow2_update_header(q);
out:
	free(table);
	free(block);
	return ret;
}

/* An entry's flag says that its cluster has exactly one reference: compare, and correct. */
static bool check_flag(struct check *c, uint64_t *entry, uint64_t at)
{
	uint64_t cluster = cluster_of(c->q, *entry & L2_OFFSET_MASK);
	bool one = cluster < c->clusters && c->counts[cluster] == 1;

	if (cluster >= c->clusters || one == !!(*entry & ENTRY_COPIED))
		return false;
	c->result->corruptions++;
	say(c, "ERROR the entry at 0x%" PRIx64 " has a wrong flag for refcount 1", at);
	if (c->repair < QCOW2_REPAIR_ALL)
		return false;
	c->result->corruptions_fixed++;
	*entry ^= ENTRY_COPIED;
	return true;
}

static int check_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t *table = malloc(q->cluster_size);
	bool l1_changed = false;
	int ret = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < q->l1_size && !ret; i++) {
		uint64_t l2 = q->l1[i] & L1_OFFSET_MASK;
		bool changed = false;

		if (!l2 || in_cluster(q, l2) || cluster_of(q, l2) >= c->clusters)
			continue;
		l1_changed |= check_flag(c, &q->l1[i], q->l1_offset + i * 8ull);
		if (q->external)
			continue;
		ret = qcow2_read_table(q, l2, table, q->cluster_size / 8);
		for (uint64_t j = 0; j < q->cluster_size / 8 && !ret; j += q->entry_size / 8)
			if (!(table[j] & L2_COMPRESSED) && table[j] & L2_OFFSET_MASK &&
			    !in_cluster(q, table[j] & L2_OFFSET_MASK))
				changed |= check_flag(c, &table[j], l2 + j * 8);
		if (changed && !ret) {
			ret = qcow2_write_table(q, l2, table, q->cluster_size / 8);
			slice_cache_drop(q, &q->l2_cache, l2);
		}
	}
	if (l1_changed && !ret)
		ret = qcow2_write_table(q, q->l1_offset, q->l1, q->l1_size);
	free(table);
	return ret;
}

static int finish_repair(struct check *c)
{
	struct qcow2 *q = c->q;
	int ret = slice_cache_write(q, &q->ref_cache);

	if (!ret && fdatasync(q->fd))
		ret = -errno;
	if (!ret && c->repair == QCOW2_REPAIR_ALL && !c->result->check_errors &&
	    c->result->corruptions == c->result->corruptions_fixed) {
		q->incompatible &= ~(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
		ret = qcow2_update_header(q);
		if (!ret && fdatasync(q->fd))
			ret = -errno;
	}
	return ret;
}

int qcow2_check(struct image *image, enum qcow2_repair repair, struct qcow2_check *result,
		FILE *log)
{
	struct qcow2 *q = to_qcow2(image);
	struct check c = { .q = q, .result = result, .repair = repair, .log = log };
	uint64_t unfixable;
	size_t size;
	int ret;

	*result = (struct qcow2_check){ 0 };
	/* Bitmaps have clusters too, which we would take for leaks. */
	if (q->autoclear & QCOW2_AUTOCLEAR_BITMAPS)
		return -ENOTSUP;
	result->total_clusters = (image->size + q->cluster_size - 1) >> q->cluster_bits;
	c.clusters = q->file_end >> q->cluster_bits;
	size = c.clusters * sizeof(uint32_t) + sizeof(uint32_t);
	c.counts = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c.counts == MAP_FAILED)
		return -ENOMEM;

	ret = count_all(&c);
	unfixable = result->corruptions;
	count_refcounts(&c);
	if (!ret)
		ret = compare(&c);
	if (!ret && c.rebuild && repair == QCOW2_REPAIR_ALL) {
		ret = rebuild(&c);
		if (!ret) {
			result->corruptions_fixed = result->corruptions - unfixable;
			result->leaks_fixed = result->leaks;
		}
	}
	if (!ret)
		ret = check_flags(&c);
	if (!ret && repair != QCOW2_REPAIR_NONE)
		ret = finish_repair(&c);
	munmap(c.counts, size);
	return ret;
}
