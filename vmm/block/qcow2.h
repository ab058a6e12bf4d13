/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2, versions 2 and 3: what its files share. The format is QEMU's docs/interop/qcow2.txt.
 *
 * A guest's cluster is found through two levels of tables: L1, all of it in memory, and L2, of
 * which slices of 4 KiB at most are cached. Each cluster of the file has a reference count, in blocks
 * that the refcount table points to; these are cached in slices too.
 *
 * The order in which changes reach the disk is what makes a crash harmless. Between two calls of
 * qcow2_sync() a change of tables is in memory only. qcow2_sync() writes
 *   1. refcounts that grew, and waits until they and all data are stable;
 *   2. L2 and L1 entries, and waits until they are stable;
 *   3. refcounts of what nothing points to any more.
 * A cluster given up is therefore not used again before the entry which pointed to it has gone from
 * the disk, no entry on the disk points to a cluster whose count or contents are not there, and the
 * worst that a crash leaves is a count too high.
 */
#ifndef VMM_BLOCK_QCOW2_H
#define VMM_BLOCK_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/block/image.h"

#define QCOW2_MAGIC		0x514649fbu	/* "QFI\xfb" */

#define QCOW2_MIN_CLUSTER_BITS	9
#define QCOW2_MAX_CLUSTER_BITS	21
#define QCOW2_MAX_L1_BYTES	(32u << 20)
#define QCOW2_MAX_REFTABLE_BYTES (8u << 20)
#define QCOW2_MAX_SNAPSHOTS	65536u
#define QCOW2_MAX_SNAPSHOT_BYTES (64u << 20)	/* the table of them */
#define QCOW2_MAX_EXTRA		1024u		/* bytes of a snapshot we do not know */
#define QCOW2_SUBCLUSTERS	32u

#define QCOW2_INCOMPAT_DIRTY		(1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT		(1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE	(1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION	(1ull << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2	(1ull << 4)
#define QCOW2_INCOMPAT_KNOWN		0x1full
#define QCOW2_COMPAT_LAZY		(1ull << 0)
#define QCOW2_AUTOCLEAR_BITMAPS		(1ull << 0)
#define QCOW2_AUTOCLEAR_DATA_RAW	(1ull << 1)

#define QCOW2_EXT_BACKING_FORMAT	0xe2792acau
#define QCOW2_EXT_FEATURES		0x6803f857u
#define QCOW2_EXT_DATA_FILE		0x44415441u

#define L1_OFFSET_MASK		0x00fffffffffffe00ull
#define L2_OFFSET_MASK		0x00fffffffffffe00ull
#define REFTABLE_OFFSET_MASK	0xfffffffffffffe00ull
#define ENTRY_COPIED		(1ull << 63)	/* the refcount is exactly 1 */
#define L2_COMPRESSED		(1ull << 62)
#define L2_ZERO			1ull		/* version 3, without extended L2 */

/* The header, in the file's byte order. */
struct qcow2_header {
	uint32_t magic;
	uint32_t version;
	uint64_t backing_offset;
	uint32_t backing_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_offset;
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint32_t nb_snapshots;
	uint64_t snapshots_offset;
	/* version 3 */
	uint64_t incompatible;
	uint64_t compatible;
	uint64_t autoclear;
	uint32_t refcount_order;
	uint32_t header_length;
	uint8_t compression_type;
	uint8_t padding[7];
} __attribute__((packed));

#define QCOW2_HEADER_V2_SIZE	72u
#define QCOW2_HEADER_V3_SIZE	104u

/* ------------------------------------------------------------------ the cache of slices */

struct slice {
	uint64_t offset;	/* in the file */
	bool dirty;
	uint8_t *data;		/* as in the file */
	struct slice *hash_next;
	struct slice *newer, *older;
};

#define SLICE_HASH	1024u
#define SLICE_MAX	4096u

struct slice_cache {
	size_t size;			/* of a slice: at most SLICE_MAX bytes */
	unsigned int count, max;
	unsigned int dirty;		/* slices that are */
	struct slice *hash[SLICE_HASH];
	struct slice *newest, *oldest;
};

struct qcow2_snapshot {
	uint64_t l1_offset;
	uint32_t l1_size;
	uint32_t date_sec, date_nsec;
	uint64_t clock_nsec;
	uint64_t vm_state_size;
	uint64_t disk_size;
	uint64_t icount;
	char *id, *name;
	uint32_t extra_size;	/* as found, with what we know */
	uint8_t *extra;
};

/* A header extension we keep as it is. */
struct qcow2_extension {
	uint32_t type, length;
	uint8_t *data;
};

struct qcow2_freed {
	uint64_t cluster;
	uint64_t count;
};

struct qcow2 {
	struct image image;
	int fd;			/* the image's own */
	int data_fd;		/* where clusters of data are: fd, or the external data file's */
	bool external;
	char *data_name;	/* the external data file's, as the image says */

	unsigned int version;
	unsigned int cluster_bits;
	uint64_t cluster_size;
	unsigned int l2_bits;		/* entries of an L2 table: 1 << l2_bits */
	unsigned int entry_size;	/* bytes of an L2 entry: 8, extended 16 */
	unsigned int subclusters;	/* of a cluster: 1, extended 32 */
	uint64_t subcluster_size;
	unsigned int refcount_order;
	unsigned int refblock_bits;	/* counts in a block: 1 << refblock_bits */
	uint64_t incompatible, compatible, autoclear;
	uint32_t header_length;
	uint8_t compression_type;	/* 0 deflate, 1 zstd */

	uint64_t *l1;			/* host byte order */
	uint32_t l1_size;
	uint64_t l1_offset;
	uint32_t l1_dirty_from, l1_dirty_to;

	uint64_t *reftable;
	uint32_t reftable_size;		/* entries */
	uint64_t reftable_offset;
	uint32_t reftable_clusters;

	uint64_t snapshots_offset;
	uint64_t snapshots_bytes;
	uint32_t nb_snapshots;
	struct qcow2_snapshot *snapshots;

	struct qcow2_extension *extensions;
	unsigned int extension_count;
	uint64_t backing_offset;

	struct slice_cache l2_cache, ref_cache;
	uint64_t file_end;	/* beyond it the file has never been written */
	uint64_t free_hint;	/* no free cluster before it */
	struct qcow2_freed *freed;	/* given up, counts not lowered yet */
	size_t freed_count, freed_max;

	/* A bit for each cluster of the file that holds metadata: no data must be written there. */
	uint8_t *meta;
	uint64_t meta_clusters;	/* bits */

	uint64_t packed_at;	/* behind the compressed cluster written last, in a cluster of the file; or 0 */
	/* The cluster that was decompressed last. */
	uint8_t *plain, *packed;
	uint64_t plain_entry;
	bool broken;		/* found to be damaged: writes are refused from then on */
};

static inline struct qcow2 *to_qcow2(struct image *image)
{
	return (struct qcow2 *)image;
}

static inline uint64_t cluster_of(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits;
}

static inline uint64_t in_cluster(const struct qcow2 *q, uint64_t offset)
{
	return offset & (q->cluster_size - 1);
}

/* Bytes of the disk that one L2 table covers: a shift. */
static inline unsigned int l1_shift(const struct qcow2 *q)
{
	return q->cluster_bits + q->l2_bits;
}

extern const struct image_ops qcow2_image_ops;

bool qcow2_is_magic(const void *buf);

/* qcow2.c */
int qcow2_open(const char *path, int fd, unsigned int flags, struct image **out,
	       struct vmm_error *error);
/* The second half, with the chain open: repairs what an unclean end left, refuses what overlaps. */
int qcow2_prepare(struct image *image, struct vmm_error *error);
int qcow2_sync(struct qcow2 *q);
/* Writes the header with its extensions and the backing file's name anew. */
int qcow2_write_header(struct qcow2 *q);
/* Writes the fields of the header that change while an image is used. */
int qcow2_update_header(struct qcow2 *q);
int qcow2_set_backing(struct qcow2 *q, const char *name, const char *format);
int qcow2_read_table(struct qcow2 *q, uint64_t offset, uint64_t *table, uint64_t entries);
int qcow2_write_table(struct qcow2 *q, uint64_t offset, const uint64_t *table, uint64_t entries);
/* Notes that the image is damaged and returns -EIO. */
int qcow2_damaged(struct qcow2 *q);

/* qcow2_cache.c */
void slice_cache_init(struct slice_cache *cache, size_t size, unsigned int max);
void slice_cache_free(struct slice_cache *cache);
/* The slice at an offset of the file; -EAGAIN if it is not there and @wait false. */
int slice_get(struct qcow2 *q, struct slice_cache *cache, uint64_t offset, bool wait,
	      struct slice **out);
void slice_dirty(struct slice_cache *cache, struct slice *slice);
int slice_cache_write(struct qcow2 *q, struct slice_cache *cache);
/* Forgets what is cached of a cluster, changed or not. */
void slice_cache_drop(struct qcow2 *q, struct slice_cache *cache, uint64_t offset);

/* qcow2_refcount.c */
int refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count);
int refcount_add(struct qcow2 *q, uint64_t cluster, int64_t change);
uint64_t refcount_load(unsigned int order, const uint8_t *block, uint64_t index);
void refcount_store(unsigned int order, uint8_t *block, uint64_t index, uint64_t value);
/*
 * Takes up to @want free clusters in a row, all of them if @exactly; *@got is how many, their
 * counts are 1, and caches know nothing of them.
 */
int clusters_alloc(struct qcow2 *q, uint64_t want, bool exactly, uint64_t *first, uint64_t *got);
/* Gives up a reference to each of some clusters, from the next qcow2_sync() on. */
int clusters_free(struct qcow2 *q, uint64_t first, uint64_t count);
int clusters_apply_freed(struct qcow2 *q);
bool meta_test(const struct qcow2 *q, uint64_t cluster);
/* Marks clusters as metadata; -EEXIST if one is already, -ERANGE beyond the file. */
int meta_mark(struct qcow2 *q, uint64_t offset, uint64_t bytes);
void meta_unmark(struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* qcow2_cluster.c: the image_ops */
int qcow2_map(struct image *image, uint64_t offset, uint64_t length, bool wait,
	      struct image_extent *extent);
int qcow2_map_write(struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *extent);
int qcow2_write(struct image *image, uint64_t offset, const void *buf, uint64_t length);
int qcow2_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap);
int qcow2_discard(struct image *image, uint64_t offset, uint64_t length);
/* Writes a whole cluster, @offset being its start, as qcow2_pack() packed it. Not with a data file: -ENOTSUP. */
int qcow2_write_packed(struct image *image, uint64_t offset, const void *packed, uint64_t length);

/* qcow2_compress.c */
int qcow2_read_compressed(struct image *image, uint64_t offset, void *buf, uint64_t length);
/* The part of the file that a compressed cluster's entry points to. */
void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			    uint64_t *bytes);
bool qcow2_can_decompress(unsigned int type);
/* What packs clusters for an image, for one thread. -ENOTSUP: this build knows nothing of its compression. */
struct qcow2_packer;
int qcow2_packer_create(const struct qcow2 *q, struct qcow2_packer **out);
void qcow2_packer_destroy(struct qcow2_packer *packer);
/* Packs a cluster into room for one. Returns the length, or 0 where it is no shorter than the cluster. */
size_t qcow2_pack(struct qcow2_packer *packer, const void *plain, void *packed);

/* qcow2_snapshot.c */
int qcow2_read_snapshots(struct qcow2 *q, const char *path, struct vmm_error *error);
void qcow2_free_snapshots(struct qcow2 *q);
struct qcow2_snapshot *qcow2_find_snapshot(struct qcow2 *q, const char *name);
int qcow2_snapshot_create(struct image *image, const char *name, struct vmm_error *error);
int qcow2_snapshot_apply(struct image *image, const char *name, struct vmm_error *error);
int qcow2_snapshot_delete(struct image *image, const char *name, struct vmm_error *error);
/* Makes an image that is open for reading show a snapshot instead of its present state. */
int qcow2_snapshot_view(struct image *image, const char *name, struct vmm_error *error);

/* qcow2_create.c */
struct qcow2_create {
	uint64_t size;
	unsigned int version;		/* 2 or 3 */
	unsigned int cluster_bits;
	unsigned int refcount_order;
	bool extended_l2, lazy_refcounts, data_file_raw;
	uint8_t compression_type;
	const char *backing, *backing_format, *data_file;
};

/* Makes a file an empty qcow2 image. Returns 0, or -errno with a line in @error. */
int qcow2_create(const char *path, const struct qcow2_create *options, struct vmm_error *error);

/* qcow2_check.c */
struct qcow2_check {
	uint64_t check_errors, corruptions, leaks;
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t image_end, total_clusters, allocated_clusters, fragmented_clusters;
	uint64_t compressed_clusters;
};

enum qcow2_repair {
	QCOW2_REPAIR_NONE,
	QCOW2_REPAIR_LEAKS,
	QCOW2_REPAIR_ALL,
};

/* Checks an image, repairs what is asked for; says what it finds, line by line, to @log. */
int qcow2_check(struct image *image, enum qcow2_repair repair, struct qcow2_check *result,
		FILE *log);

#endif
