/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2 and the power switch: every write to an image is noted, then the file is made up as a disk
 * might have it after a power failure: all that was there when the last fdatasync() began, and of
 * what came later any sectors in any order. Whatever they are, nothing that was flushed is lost, and
 * no refcount is too low.
 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"

#define SECTORS		2048u
#define MAX_NOTES	20000u
#define FILE_MAX	(16u << 20)
#define CRASHES		40

enum kind { WRITE, TRUNCATE, PUNCH, SYNC };

struct note {
	enum kind kind;
	uint64_t offset, length;
	uint8_t *data;
};

static struct note notes[MAX_NOTES];
static unsigned int note_count;
static bool noting;
static char dir[] = "/tmp/qcow2_power_test.XXXXXX";
static char path[PATH_MAX], crashed[PATH_MAX];
static uint32_t rng_state = 88172645u;

ssize_t __real_pwrite64(int fd, const void *buf, size_t length, off_t offset);
int __real_ftruncate64(int fd, off_t length);
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __real_fdatasync(int fd);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t length, off_t offset);
int __wrap_ftruncate64(int fd, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fdatasync(int fd);

static void note(enum kind kind, uint64_t offset, uint64_t length, const void *data)
{
	struct note *n = &notes[note_count];

	if (!noting)
		return;
	assert_true(note_count < MAX_NOTES);
	*n = (struct note){ .kind = kind, .offset = offset, .length = length };
	if (data) {
		n->data = malloc(length);
		memcpy(n->data, data, length);
	}
	note_count++;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t length, off_t offset)
{
	note(WRITE, (uint64_t)offset, length, buf);
	return __real_pwrite64(fd, buf, length, offset);
}

int __wrap_ftruncate64(int fd, off_t length)
{
	note(TRUNCATE, (uint64_t)length, 0, NULL);
	return __real_ftruncate64(fd, length);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
	note(PUNCH, (uint64_t)offset, (uint64_t)length, NULL);
	return __real_fallocate64(fd, mode, offset, length);
}

int __wrap_fdatasync(int fd)
{
	note(SYNC, 0, 0, NULL);
	return __real_fdatasync(fd);
}

static uint32_t rnd(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state % below;
}

struct flush {
	unsigned int at;		/* notes there were when it had finished */
	uint64_t promised[SECTORS];	/* the write of each sector that must not be lost */
};

static struct flush flushes[400];
static unsigned int flush_count;
static uint64_t done[SECTORS], zeroed[SECTORS];

static void use_disk(struct image *image, unsigned int steps, bool snapshots)
{
	static uint64_t buf[8192], packed[8192];
	struct vmm_error error = { "" };
	struct qcow2 *q = to_qcow2(image);
	struct qcow2_packer *packer;

	assert_true(q->cluster_size <= sizeof(buf));
	assert_int_equal(qcow2_packer_create(q, &packer), 0);
	for (uint64_t number = 1; number <= steps; number++) {
		uint32_t first = rnd(SECTORS), n = 1 + rnd(64), what = rnd(20);

		if (n > SECTORS - first)
			n = SECTORS - first;
		if (what < 2 && first * 512ull >= q->cluster_size) {
			uint64_t at = (first * 512ull) & ~(q->cluster_size - 1);
			size_t length;

			for (uint64_t i = 0; i < q->cluster_size / 8; i++)
				buf[i] = number;
			length = qcow2_pack(packer, buf, packed);
			assert_int_equal(qcow2_write_packed(image, at, packed, length), 0);
			for (uint64_t i = 0; i < q->cluster_size / 512; i++)
				done[at / 512 + i] = number;
		} else if (what < 12) {
			for (uint32_t i = 0; i < n * 64; i++)
				buf[i] = number;
			assert_int_equal(image_write(image, first * 512ull, buf, n * 512ull), 0);
			for (uint32_t i = 0; i < n; i++)
				done[first + i] = number;
		} else if (what < 14) {
			assert_int_equal(image_zero(image, first * 512ull, n * 512ull, rnd(2)), 0);
			for (uint32_t i = 0; i < n; i++)
				done[first + i] = zeroed[first + i] = number;
		} else if (what < 16) {
			assert_int_equal(image_discard(image, first * 512ull, n * 512ull), 0);
			for (uint32_t i = 0; i < n; i++)
				zeroed[first + i] = number;
		} else if (what == 16 && snapshots) {
			assert_int_equal(qcow2_find_snapshot(to_qcow2(image), "s") ?
					 qcow2_snapshot_delete(image, "s", &error) :
					 qcow2_snapshot_create(image, "s", &error), 0);
		} else if (what > 16 && flush_count < 400) {
			struct flush *f = &flushes[flush_count++];

			assert_int_equal(image_flush(image), 0);
			memcpy(f->promised, done, sizeof(done));
			f->at = note_count;
		}
	}
	qcow2_packer_destroy(packer);
}

/* The file as the disk may have it when the power goes behind note @at. */
static void make_crashed(const uint8_t *before, size_t before_size, unsigned int at)
{
	uint8_t *file = calloc(1, FILE_MAX);
	uint64_t size = before_size;
	unsigned int stable = at;
	FILE *f;

	memcpy(file, before, before_size);
	while (stable && notes[stable - 1].kind != SYNC)
		stable--;
	for (unsigned int i = 0; i < at; i++) {
		const struct note *n = &notes[i];

		assert_true(n->offset + n->length <= FILE_MAX);
		if (n->kind == TRUNCATE && (i < stable || rnd(2)))
			size = n->offset > size ? n->offset : size;
		for (uint64_t done = 0; done < n->length;) {
			uint64_t left = n->length - done;
			uint64_t part = 512 - (n->offset + done) % 512;

			part = part < left ? part : left;
			if (i < stable || rnd(2)) {
				if (n->kind == WRITE)
					memcpy(file + n->offset + done, n->data + done, part);
				else
					memset(file + n->offset + done, 0, part);
				if (n->kind == WRITE && size < n->offset + done + part)
					size = n->offset + done + part;
			}
			done += part;
		}
	}
	f = fopen(crashed, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(file, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	free(file);
}

static struct image *open_crashed(unsigned int flags)
{
	struct vmm_error error = { "" };
	struct image *image;

	if (image_open(crashed, "qcow2", flags, &image, &error))
		fail_msg("%s", error.text);
	return image;
}

static void verify(unsigned int at, bool snapshots)
{
	static uint64_t buf[SECTORS * 64];
	const struct flush *last = NULL;
	struct qcow2_check result;
	struct image *image;

	for (unsigned int i = 0; i < flush_count && flushes[i].at <= at; i++)
		last = &flushes[i];
	image = open_crashed(IMAGE_CHECK | IMAGE_WRITE);
	assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &result, snapshots ? NULL :
				     stderr), 0);
	/* Cleared flags are made good by a repair; nothing else may need one. */
	if (!snapshots)
		assert_int_equal(result.corruptions, 0);
	assert_int_equal(qcow2_check(image, QCOW2_REPAIR_ALL, &result, NULL), 0);
	assert_int_equal(result.corruptions, result.corruptions_fixed);
	image_close(image);

	image = open_crashed(0);
	assert_int_equal(image_read(image, 0, buf, SECTORS * 512), 0);
	image_close(image);
	for (uint32_t i = 0; last && i < SECTORS; i++) {
		uint64_t value = buf[i * 64], promised = last->promised[i];

		for (int k = 1; k < 64; k++)
			assert_int_equal(buf[i * 64 + k], value);
		if (value ? value < promised : zeroed[i] < promised)
			fail_msg("sector %u has write %llu, but write %llu was flushed", i,
				 (unsigned long long)value, (unsigned long long)promised);
	}
}

static void power_failures(unsigned int cluster_bits, bool extended, bool snapshots)
{
	struct qcow2_create options = {
		.size = SECTORS * 512, .version = 3, .cluster_bits = cluster_bits,
		.refcount_order = 4, .extended_l2 = extended,
	};
	uint8_t *before = malloc(FILE_MAX);
	struct vmm_error error = { "" };
	struct image *image;
	size_t before_size;
	FILE *f;

	unlink(path);
	assert_int_equal(qcow2_create(path, &options, &error), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	before_size = fread(before, 1, FILE_MAX, f);
	fclose(f);
	memset(done, 0, sizeof(done));
	memset(zeroed, 0, sizeof(zeroed));
	flush_count = note_count = 0;

	assert_int_equal(image_open(path, "qcow2", IMAGE_WRITE, &image, &error), 0);
	noting = true;
	use_disk(image, 250, snapshots);
	noting = false;
	assert_int_equal(image_close(image), 0);

	for (int i = 0; i < CRASHES; i++) {
		unsigned int at = rnd(note_count + 1);

		make_crashed(before, before_size, at);
		verify(at, snapshots);
	}
	for (unsigned int i = 0; i < note_count; i++)
		free(notes[i].data);
	free(before);
}

static void large_clusters(void **state)
{
	power_failures(16, false, false);
}

static void small_clusters(void **state)
{
	power_failures(9, false, false);
}

static void extended_l2(void **state)
{
	power_failures(14, true, false);
}

static void with_snapshots(void **state)
{
	power_failures(12, false, true);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/disk.qcow2", dir);
	snprintf(crashed, sizeof(crashed), "%s/crashed.qcow2", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(crashed);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_clusters),
		cmocka_unit_test(small_clusters),
		cmocka_unit_test(extended_l2),
		cmocka_unit_test(with_snapshots),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
