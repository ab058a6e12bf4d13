/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finding out whether an initrd is whole. An initrd is a row of parts, each a cpio archive
 * ("newc"), plain or packed, with zeros between (Documentation/driver-api/early-userspace/buffer-format.rst).
 * Each format tells its own length in some way, short of unpacking it; only gzip does not.
 */
#include "vmm/machine/initrd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#define CPIO_HEADER	110		/* bytes: a magic of 6 and 13 numbers of 8 digits */
#define CPIO_FILESIZE	54
#define CPIO_NAMESIZE	94
#define CPIO_NAME_MAX	4096

#define ZSTD_MAGIC	0xfd2fb528
#define ZSTD_SKIP_MAGIC	0x184d2a50	/* to …5f */
#define LZ4_MAGIC	0x184c2102	/* the "legacy" frame, which Linux uses */
#define LZ4_BLOCK_MAX	(8 << 20)

static int truncated(const struct boot_file *file, struct vmm_error *error)
{
	return vmm_fail(error, -ENODATA, "the initrd %s is truncated: its %" PRIu64
			" bytes end in the middle of the archive", file->path, file->size);
}

/* Reads what must be there. */
static int need(const struct boot_file *file, uint64_t at, void *to, uint64_t length,
		struct vmm_error *error)
{
	if (at > file->size || length > file->size - at)
		return truncated(file, error);
	return boot_read(file, at, to, length, error);
}

static uint64_t hex_field(const char *digits)
{
	char text[9];

	memcpy(text, digits, 8);
	text[8] = 0;
	return strtoul(text, NULL, 16);
}

/* Each of these gets *at at the part's start and moves it to its end. */

static int check_cpio(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	char header[CPIO_HEADER], name[16] = "";
	uint64_t name_size, file_size, name_at;
	int err;

	do {
		err = need(file, *at, header, sizeof(header), error);
		if (err)
			return err;
		if (memcmp(header, "07070", 5)) {	/* damaged: the kernel will say how */
			*at = file->size;
			return 0;
		}
		file_size = hex_field(header + CPIO_FILESIZE);
		name_size = hex_field(header + CPIO_NAMESIZE);
		name_at = *at + CPIO_HEADER;
		memset(name, 0, sizeof(name));
		err = need(file, name_at, name,
			   name_size < sizeof(name) ? name_size : sizeof(name) - 1, error);
		if (err)
			return err;
		*at = (name_at + name_size + 3) & ~3ULL;
		*at = (*at + file_size + 3) & ~3ULL;
		/* The padding of the last file may be missing. */
		if (*at > file->size + 3)
			return truncated(file, error);
	} while (strcmp(name, "TRAILER!!!"));
	return 0;
}

static int check_zstd(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	static const uint8_t dictionary_bytes[] = { 0, 1, 2, 4 }, size_bytes[] = { 0, 2, 4, 8 };
	uint8_t descriptor;
	uint32_t block = 0, length;
	int err = need(file, *at + 4, &descriptor, 1, error);

	if (err)
		return err;
	/* RFC 8878, 3.1.1.1: window (absent for a single segment), dictionary, content size. */
	*at += 5 + !(descriptor & 0x20) + dictionary_bytes[descriptor & 3];
	*at += descriptor >> 6 ? size_bytes[descriptor >> 6] : !!(descriptor & 0x20);
	do {
		err = need(file, *at, &block, 3, error);
		if (err)
			return err;
		/* A run-length block holds one byte, whatever its size. */
		length = (block >> 1 & 3) == 1 ? 1 : block >> 3;
		*at += 3 + length;
	} while (!(block & 1));
	if (descriptor & 0x04)
		*at += 4;
	return *at > file->size ? truncated(file, error) : 0;
}

static int check_zstd_skippable(const struct boot_file *file, uint64_t *at,
				struct vmm_error *error)
{
	uint32_t length;
	int err = need(file, *at + 4, &length, sizeof(length), error);

	*at += 8 + (err ? 0 : length);
	return err ? err : *at > file->size ? truncated(file, error) : 0;
}

static int check_lz4(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	uint32_t length;
	int err;

	for (*at += 4; *at < file->size; *at += 4 + length) {
		/* There is no end mark: blocks go on to the end, or to what cannot be one. */
		if (file->size - *at < 4)
			return 0;
		err = need(file, *at, &length, sizeof(length), error);
		if (err)
			return err;
		if (!length || length > LZ4_BLOCK_MAX + LZ4_BLOCK_MAX / 255 + 16)
			return 0;
		if (length > file->size - *at - 4)
			return truncated(file, error);
	}
	return 0;
}

/* The stream's footer ends in "YZ"; what precedes it is indexed from there. So this part is taken
 * to reach to the end of the file. */
static int check_xz(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	uint64_t end = file->size;
	char footer[4] = { 0 };
	int err = 0;

	while (!err && end - *at >= 32) {
		err = need(file, end - 4, footer, 4, error);
		if (memcmp(footer, "\0\0\0\0", 4))
			break;
		end -= 4;	/* padding */
	}
	*at = file->size;
	if (err)
		return err;
	return footer[2] == 'Y' && footer[3] == 'Z' ? 0 : truncated(file, error);
}

#ifdef HAVE_ZLIB
static int check_gzip(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	const size_t chunk = 65536;
	uint8_t *in = malloc(chunk), *out = malloc(chunk);
	z_stream z = { 0 };
	int err = -ENOMEM, status = Z_OK;

	if (!in || !out || inflateInit2(&z, 15 + 16) != Z_OK) {
		vmm_fail(error, err, "out of memory");
		goto out;
	}
	err = 0;
	while (!err && status == Z_OK) {
		uint64_t left = file->size - *at;

		if (!z.avail_in) {
			z.avail_in = left < chunk ? left : chunk;
			z.next_in = in;
			err = z.avail_in ? boot_read(file, *at, in, z.avail_in, error) :
					   truncated(file, error);
			if (err)
				break;
			*at += z.avail_in;
		}
		z.avail_out = chunk;
		z.next_out = out;
		status = inflate(&z, Z_NO_FLUSH);
	}
	/* Damaged otherwise than by its length: the kernel's to say. */
	*at = status == Z_STREAM_END ? *at - z.avail_in : file->size;
	inflateEnd(&z);
out:
	free(in);
	free(out);
	return err;
}
#else
static int check_gzip(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	*at = file->size;
	return 0;
}
#endif

static int check_part(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	uint8_t magic[6] = { 0 };
	uint64_t left = file->size - *at;
	uint32_t word;
	int err = boot_read(file, *at, magic, left < sizeof(magic) ? left : sizeof(magic), error);

	if (err)
		return err;
	memcpy(&word, magic, sizeof(word));
	if (!memcmp(magic, "070701", 6) || !memcmp(magic, "070702", 6))
		return check_cpio(file, at, error);
	if (magic[0] == 0x1f && magic[1] == 0x8b)
		return check_gzip(file, at, error);
	if (!memcmp(magic, "\xfd" "7zXZ\0", 6))
		return check_xz(file, at, error);
	if (word == ZSTD_MAGIC)
		return check_zstd(file, at, error);
	if ((word & ~0xfU) == ZSTD_SKIP_MAGIC)
		return check_zstd_skippable(file, at, error);
	if (word == LZ4_MAGIC)
		return check_lz4(file, at, error);
	*at = file->size;
	return 0;
}

/* Moves *at over zeros. */
static int skip_zeros(const struct boot_file *file, uint64_t *at, struct vmm_error *error)
{
	uint8_t bytes[512];

	while (*at < file->size) {
		uint64_t left = file->size - *at;
		uint64_t length = left < sizeof(bytes) ? left : sizeof(bytes);
		int err = boot_read(file, *at, bytes, length, error);

		if (err)
			return err;
		for (uint64_t i = 0; i < length; i++, (*at)++)
			if (bytes[i])
				return 0;
	}
	return 0;
}

int initrd_check(const struct boot_file *file, struct vmm_error *error)
{
	uint64_t at = 0;
	int err;

	do {
		err = skip_zeros(file, &at, error);
		if (!err && at < file->size)
			err = check_part(file, &at, error);
	} while (!err && at < file->size);
	return err;
}
