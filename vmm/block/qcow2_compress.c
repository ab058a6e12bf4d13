/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Compressed clusters: raw deflate with a window of 4 KiB, or zstd. A cluster is unpacked whole,
 * and the last one is kept, as its neighbours within it are likely to be read next. Packing touches
 * nothing of the image, so that many threads can do it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_QCOW2_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_QCOW2_ZSTD
#include <zstd.h>
#endif

#include "vmm/block/qcow2.h"

bool qcow2_can_decompress(unsigned int type)
{
#ifdef HAVE_QCOW2_ZLIB
	if (type == 0)
		return true;
#endif
#ifdef HAVE_QCOW2_ZSTD
	if (type == 1)
		return true;
#endif
	return false;
}

void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			    uint64_t *bytes)
{
	unsigned int bits = 62 - (q->cluster_bits - 8);
	uint64_t sectors = (entry & (L2_COMPRESSED - 1)) >> bits;

	*offset = entry & ((1ull << bits) - 1);
	*bytes = (sectors + 1) * 512 - *offset % 512;
}

static int inflate_cluster(const struct qcow2 *q, const uint8_t *in, size_t length)
{
#ifdef HAVE_QCOW2_ZLIB
	z_stream stream = { 0 };
	int ret;

	if (inflateInit2(&stream, -12) != Z_OK)
		return -ENOMEM;
	stream.next_in = (Bytef *)in;
	stream.avail_in = (uInt)length;
	stream.next_out = q->plain;
	stream.avail_out = (uInt)q->cluster_size;
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	/* What follows the stream in its last sector is not part of it. */
	if ((ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK) && !stream.avail_out)
		return 0;
	return -EIO;
#else
	return -ENOTSUP;
#endif
}

static int unzstd_cluster(const struct qcow2 *q, const uint8_t *in, size_t length)
{
#ifdef HAVE_QCOW2_ZSTD
	ZSTD_outBuffer output = { q->plain, q->cluster_size, 0 };
	ZSTD_inBuffer input = { in, length, 0 };
	ZSTD_DCtx *context = ZSTD_createDCtx();
	size_t ret;

	if (!context)
		return -ENOMEM;
	do {
		size_t before = input.pos + output.pos;

		ret = ZSTD_decompressStream(context, &output, &input);
		if (ZSTD_isError(ret) || input.pos + output.pos == before)
			break;
	} while (output.pos < output.size && ret);
	ZSTD_freeDCtx(context);
	return output.pos == output.size ? 0 : -EIO;
#else
	return -ENOTSUP;
#endif
}

static int read_entry(struct qcow2 *q, uint64_t offset, uint64_t *entry)
{
	uint64_t l2 = q->l1[offset >> l1_shift(q)] & L1_OFFSET_MASK;
	uint64_t at = (cluster_of(q, offset) & ((1ull << q->l2_bits) - 1)) * q->entry_size;
	struct slice *slice;
	int ret;

	ret = slice_get(q, &q->l2_cache, l2 + at / q->l2_cache.size * q->l2_cache.size, true,
			&slice);
	if (ret)
		return ret;
	memcpy(entry, slice->data + at % q->l2_cache.size, sizeof(*entry));
	*entry = __builtin_bswap64(*entry);
	return 0;
}

int qcow2_read_compressed(struct image *image, uint64_t offset, void *buf, uint64_t length)
{
	struct qcow2 *q = to_qcow2(image);
	uint64_t entry, place, bytes;
	int ret;

	ret = read_entry(q, offset, &entry);
	if (ret)
		return ret;
	if (!q->plain || q->plain_entry != entry) {
		if (!q->plain)
			q->plain = malloc(q->cluster_size);
		/* An entry's length can be twice a cluster, and some. */
		if (!q->packed)
			q->packed = malloc(2 * q->cluster_size + 1024);
		if (!q->plain || !q->packed)
			return -ENOMEM;
		q->plain_entry = 0;
		qcow2_compressed_place(q, entry, &place, &bytes);
		if (bytes > 2 * q->cluster_size + 1024)
			return -EIO;
		ret = image_pread(q->fd, q->packed, bytes, place);
		if (!ret)
			ret = q->compression_type ? unzstd_cluster(q, q->packed, bytes) :
						    inflate_cluster(q, q->packed, bytes);
		if (ret)
			return ret;
		q->plain_entry = entry;
	}
	memcpy(buf, q->plain + in_cluster(q, offset), length);
	return 0;
}

/* ------------------------------------------------------------------ packing */

struct qcow2_packer {
	size_t cluster;
	bool zstd;
#ifdef HAVE_QCOW2_ZLIB
	z_stream deflate;
#endif
#ifdef HAVE_QCOW2_ZSTD
	ZSTD_CCtx *context;
#endif
};

int qcow2_packer_create(const struct qcow2 *q, struct qcow2_packer **out)
{
	struct qcow2_packer *p;
	bool ready = false;

	if (!qcow2_can_decompress(q->compression_type))
		return -ENOTSUP;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->cluster = q->cluster_size;
	p->zstd = q->compression_type;
#ifdef HAVE_QCOW2_ZSTD
	if (p->zstd) {
		p->context = ZSTD_createCCtx();
		ready = p->context;
	}
#endif
#ifdef HAVE_QCOW2_ZLIB
	/* The window and the lack of a header are the format's. */
	if (!p->zstd)
		ready = deflateInit2(&p->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9,
				     Z_DEFAULT_STRATEGY) == Z_OK;
#endif
	if (!ready) {
		free(p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

void qcow2_packer_destroy(struct qcow2_packer *p)
{
	if (!p)
		return;
#ifdef HAVE_QCOW2_ZSTD
	ZSTD_freeCCtx(p->context);
#endif
#ifdef HAVE_QCOW2_ZLIB
	if (!p->zstd)
		deflateEnd(&p->deflate);
#endif
	free(p);
}

size_t qcow2_pack(struct qcow2_packer *p, const void *plain, void *packed)
{
#ifdef HAVE_QCOW2_ZSTD
	if (p->zstd) {
		size_t n = ZSTD_compressCCtx(p->context, packed, p->cluster - 1, plain, p->cluster,
					     ZSTD_CLEVEL_DEFAULT);

		return ZSTD_isError(n) ? 0 : n;
	}
#endif
#ifdef HAVE_QCOW2_ZLIB
	deflateReset(&p->deflate);
	p->deflate.next_in = (Bytef *)plain;
	p->deflate.avail_in = (uInt)p->cluster;
	p->deflate.next_out = packed;
	p->deflate.avail_out = (uInt)p->cluster - 1;
	if (deflate(&p->deflate, Z_FINISH) == Z_STREAM_END)
		return p->cluster - 1 - p->deflate.avail_out;
#endif
	return 0;
}
