/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hostile qcow2 images, for libFuzzer: whatever a file says, reading, writing, checking, repairing
 * and snapshots end, stay within memory, and take no more of it than an image may.
 *
 * An input is a file, or changes to a good image: a byte that chooses the image, then groups of a
 * 16-bit offset and a byte. The second kind gets behind the checks of the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"

#define TEMPLATES	6
#define MAX_TEMPLATE	(256u << 10)
#define INCOMPATIBLE	79	/* the byte of the header with the bits we know */

static uint8_t template[TEMPLATES][MAX_TEMPLATE];
static size_t template_size[TEMPLATES];
static int fd = -1;
static char path[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes compressed clusters, as many of the image's as a few. */
static void pack(struct image *image, uint64_t offset)
{
	static uint8_t plain[1 << QCOW2_MAX_CLUSTER_BITS], packed[1 << QCOW2_MAX_CLUSTER_BITS];
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_packer *packer;

	if (qcow2_packer_create(q, &packer))
		return;
	offset &= ~(q->cluster_size - 1);
	for (unsigned int i = 0; i < 3; i++, offset += q->cluster_size) {
		size_t length;

		memset(plain, (int)i + 1, q->cluster_size / 2);
		length = qcow2_pack(packer, plain, packed);
		if (length)
			qcow2_write_packed(image, offset, packed, length);
	}
	qcow2_packer_destroy(packer);
}

static void make_template(unsigned int n)
{
	struct qcow2_create options = {
		.size = 1 << 20, .version = n == 1 ? 2 : 3, .cluster_bits = n == 2 ? 14 : 9 + n % 4,
		.refcount_order = n == 3 ? 3 : 4, .extended_l2 = n == 2, .compression_type = n == 4,
		.lazy_refcounts = n == 5,
	};
	static uint8_t buf[40000];
	struct vmm_error error;
	struct image *image;
	ssize_t got;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	if (ftruncate(fd, 0) || qcow2_create(path, &options, &error) ||
	    image_open(path, "qcow2", IMAGE_WRITE, &image, &error))
		abort();
	if (image_write(image, 1000, buf, sizeof(buf)) || image_zero(image, 90000, 30000, true) ||
	    (n != 2 && qcow2_snapshot_create(image, "s", &error)) ||
	    image_write(image, 20000, buf, 3000))
		abort();
	pack(image, 200000);
	if (image_close(image))
		abort();
	got = pread(fd, template[n], MAX_TEMPLATE, 0);
	if (got <= 0)
		abort();
	template_size[n] = (size_t)got;
}

static void put_file(const uint8_t *data, size_t size)
{
	static uint8_t file[MAX_TEMPLATE];
	size_t length = size;

	if (size && data[0] >= 0x80) {
		unsigned int n = data[0] % TEMPLATES;

		length = template_size[n];
		memcpy(file, template[n], length);
		for (size_t i = 1; i + 2 < size; i += 3)
			file[(size_t)(data[i] | data[i + 1] << 8) % length] = data[i + 2];
	} else {
		length = length < MAX_TEMPLATE ? length : MAX_TEMPLATE;
		memcpy(file, data, length);
	}
	/* No other files: what they are called is up to the input. */
	if (length > INCOMPATIBLE)
		file[INCOMPATIBLE] &= (uint8_t)~QCOW2_INCOMPAT_DATA_FILE;
	if (ftruncate(fd, 0) || pwrite(fd, file, length, 0) != (ssize_t)length)
		abort();
}

static void use_image(unsigned int flags)
{
	static uint8_t buf[70000];
	struct vmm_error error = { "" };
	struct image *image;
	uint64_t at[3];

	if (image_open(path, "qcow2", flags | IMAGE_NO_BACKING, &image, &error)) {
		if (!error.text[0] || strchr(error.text, '\n'))
			abort();
		return;
	}
	at[0] = 500;
	at[1] = image->size / 2 / 512 * 512;
	at[2] = image->size > sizeof(buf) ? image->size - sizeof(buf) : 0;
	for (int i = 0; i < 3; i++) {
		image_read(image, at[i], buf, sizeof(buf));
		image_write(image, at[i], buf, 5000);
		image_zero(image, at[i] + 5000, 30000, i & 1);
		image_discard(image, at[i] + 20000, 20000);
	}
	if (flags & IMAGE_WRITE)
		pack(image, at[1]);
	image_flush(image);
	if (flags & IMAGE_WRITE && to_qcow2(image)->l1_size < 10000) {
		qcow2_snapshot_create(image, "n", &error);
		image_write(image, 0, buf, sizeof(buf));
		qcow2_snapshot_apply(image, "s", &error);
		qcow2_snapshot_delete(image, "s", &error);
		image_resize(image, image->size + (1 << 20), &error);
	}
	image_close(image);
}

static void check_image(enum qcow2_repair repair)
{
	unsigned int flags = IMAGE_CHECK | IMAGE_NO_BACKING | (repair ? IMAGE_WRITE : 0);
	struct qcow2_check result;
	struct vmm_error error = { "" };
	struct image *image;

	if (image_open(path, "qcow2", flags, &image, &error))
		return;
	qcow2_check(image, repair, &result, NULL);
	image_close(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (fd < 0) {
		fd = memfd_create("image", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		for (unsigned int n = 0; n < TEMPLATES; n++)
			make_template(n);
	}
	put_file(data, size);
	check_image(QCOW2_REPAIR_NONE);
	use_image(0);
	use_image(IMAGE_WRITE);
	put_file(data, size);
	check_image(QCOW2_REPAIR_ALL);
	use_image(IMAGE_WRITE);
	return 0;
}
