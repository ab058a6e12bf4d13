/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cache of slices of L2 tables and refcount blocks: small, least recently used goes first.
 *
 * Changed refcounts may be written at any time: they hold only increases, and decreases that are
 * already safe. A changed slice of an L2 table is never written alone, but with everything that has
 * to be on the disk before it (qcow2_sync).
 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/block/qcow2.h"

void slice_cache_init(struct slice_cache *cache, size_t size, unsigned int max)
{
	*cache = (struct slice_cache){ .size = size, .max = max };
}

void slice_cache_free(struct slice_cache *cache)
{
	struct slice *slice = cache->newest;

	while (slice) {
		struct slice *next = slice->older;

		free(slice->data);
		free(slice);
		slice = next;
	}
	*cache = (struct slice_cache){ .size = cache->size, .max = cache->max };
}

static struct slice **bucket(struct slice_cache *cache, uint64_t offset)
{
	return &cache->hash[offset / cache->size % SLICE_HASH];
}

static void unlink_age(struct slice_cache *cache, struct slice *slice)
{
	*(slice->newer ? &slice->newer->older : &cache->newest) = slice->older;
	*(slice->older ? &slice->older->newer : &cache->oldest) = slice->newer;
}

static void link_newest(struct slice_cache *cache, struct slice *slice)
{
	slice->newer = NULL;
	slice->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = slice;
	cache->newest = slice;
}

static void unlink_hash(struct slice_cache *cache, struct slice *slice)
{
	struct slice **link = bucket(cache, slice->offset);

	while (*link != slice)
		link = &(*link)->hash_next;
	*link = slice->hash_next;
}

static struct slice *find(struct slice_cache *cache, uint64_t offset)
{
	struct slice *slice = *bucket(cache, offset);

	while (slice && slice->offset != offset)
		slice = slice->hash_next;
	return slice;
}

static int write_slice(struct qcow2 *q, struct slice_cache *cache, struct slice *slice)
{
	int ret = image_pwrite(q->fd, slice->data, cache->size, slice->offset);

	if (!ret) {
		slice->dirty = false;
		cache->dirty--;
	}
	return ret;
}

int slice_cache_write(struct qcow2 *q, struct slice_cache *cache)
{
	int ret;

	if (!cache->dirty)
		return 0;
	for (struct slice *slice = cache->newest; slice; slice = slice->older) {
		if (!slice->dirty)
			continue;
		ret = write_slice(q, cache, slice);
		if (ret)
			return ret;
	}
	return 0;
}

/* A slice to fill: a new one, or the oldest, which is then in no list. */
static int take(struct qcow2 *q, struct slice_cache *cache, struct slice **out)
{
	struct slice *slice;
	int ret;

	if (cache->count < cache->max) {
		slice = calloc(1, sizeof(*slice));
		if (slice)
			slice->data = malloc(cache->size);
		if (slice && slice->data) {
			cache->count++;
			*out = slice;
			return 0;
		}
		free(slice);
		if (!cache->oldest)
			return -ENOMEM;
	}
	slice = cache->oldest;
	if (slice->dirty) {
		ret = cache == &q->ref_cache ? write_slice(q, cache, slice) : qcow2_sync(q);
		if (ret)
			return ret;
	}
	unlink_age(cache, slice);
	unlink_hash(cache, slice);
	*out = slice;
	return 0;
}

int slice_get(struct qcow2 *q, struct slice_cache *cache, uint64_t offset, bool wait,
	      struct slice **out)
{
	struct slice *slice = find(cache, offset);
	int ret;

	if (slice) {
		if (slice != cache->newest) {
			unlink_age(cache, slice);
			link_newest(cache, slice);
		}
		*out = slice;
		return 0;
	}
	if (!wait)
		return -EAGAIN;
	ret = take(q, cache, &slice);
	if (ret)
		return ret;
	ret = image_pread(q->fd, slice->data, cache->size, offset);
	if (ret) {
		free(slice->data);
		free(slice);
		cache->count--;
		return ret;
	}
	slice->offset = offset;
	slice->hash_next = *bucket(cache, offset);
	*bucket(cache, offset) = slice;
	link_newest(cache, slice);
	*out = slice;
	return 0;
}

void slice_dirty(struct slice_cache *cache, struct slice *slice)
{
	if (!slice->dirty)
		cache->dirty++;
	slice->dirty = true;
}

void slice_cache_drop(struct qcow2 *q, struct slice_cache *cache, uint64_t offset)
{
	for (uint64_t at = offset; at < offset + q->cluster_size; at += cache->size) {
		struct slice *slice = find(cache, at);

		if (!slice)
			continue;
		if (slice->dirty)
			cache->dirty--;
		unlink_age(cache, slice);
		unlink_hash(cache, slice);
		free(slice->data);
		free(slice);
		cache->count--;
	}
}
