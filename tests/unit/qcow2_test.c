/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2 images against a copy in memory: every cluster size and table layout, with writes, zeroes,
 * discards, snapshots, resizes and reopening in random order; the same through the disk's
 * asynchronous interface; and processes killed at any moment, after which nothing that was flushed
 * may be missing. qemu-img has the last word on the images, where there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/block/block.h"
#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"

#define MAX_DISK	(6u << 20)
#define MAX_SNAPSHOTS	3

static char dir[] = "/tmp/qcow2_test.XXXXXX";
static char path[PATH_MAX], base_path[PATH_MAX], data_path[PATH_MAX];
static uint32_t rng_state = 2463534242u;

static uint32_t rnd(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state % below;
}

struct variant {
	const char *name;
	unsigned int version, cluster_bits, refcount_order;
	bool extended, backing, external, zstd;
};

static const struct variant variants[] = {
	{ "64 KiB", 3, 16, 4 },
	{ "512 bytes", 3, 9, 4 },
	{ "512 bytes, 64-bit refcounts", 3, 9, 6 },
	{ "4 KiB, version 2", 2, 12, 4 },
	{ "4 KiB, version 2, backing", 2, 12, 4, .backing = true },
	{ "2 MiB", 3, 21, 4 },
	{ "64 KiB, backing", 3, 16, 4, .backing = true },
	{ "1 KiB, 8-bit refcounts, backing", 3, 10, 3, .backing = true },
	{ "16 KiB, extended", 3, 14, 4, .extended = true },
	{ "64 KiB, extended, backing", 3, 16, 4, .extended = true, .backing = true },
	{ "64 KiB, data file", 3, 16, 4, .external = true },
	{ "16 KiB, extended, data file", 3, 14, 4, .extended = true, .external = true },
	{ "32 KiB, 2-bit refcounts", 3, 15, 1 },
	{ "4 KiB, 1-bit refcounts, zstd", 3, 12, 0, .zstd = true },
	{ "64 KiB, zstd, backing", 3, 16, 4, .zstd = true, .backing = true },
};

static bool have_qemu_img(void)
{
	return !system("qemu-img --version >/dev/null 2>&1");
}

static void run_command(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run_command(const char *format, ...)
{
	char command[3 * PATH_MAX + 100];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command))
		fail_msg("failed: %s", command);
}

static void write_file(const char *name, const void *data, size_t size)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* The disk as it should be. */
struct model {
	uint64_t size;
	uint8_t *data;
};

struct world {
	const struct variant *v;
	struct image *image;
	struct model now, snapshots[MAX_SNAPSHOTS];
	unsigned int snapshot_count;
	uint8_t *buf;
};

static struct image *open_image(unsigned int flags)
{
	struct vmm_error error = { "" };
	struct image *image;

	if (image_open(path, "qcow2", flags, &image, &error))
		fail_msg("%s", error.text);
	return image;
}

static void expect_sound(const char *when)
{
	struct image *image = open_image(IMAGE_CHECK | IMAGE_NO_BACKING);
	struct qcow2_check result;

	assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &result, stderr), 0);
	if (result.corruptions || result.leaks || result.check_errors)
		fail_msg("%s: %llu corruptions, %llu leaks", when,
			 (unsigned long long)result.corruptions, (unsigned long long)result.leaks);
	image_close(image);
}

static void create(const struct variant *v, uint64_t size, uint8_t *contents)
{
	struct qcow2_create options = {
		.size = size, .version = v->version, .cluster_bits = v->cluster_bits,
		.refcount_order = v->refcount_order, .extended_l2 = v->extended,
		.backing = v->backing ? "base.raw" : NULL,
		.backing_format = v->backing ? "raw" : NULL,
		.data_file = v->external ? "data.raw" : NULL,
		.compression_type = v->zstd,
	};
	struct vmm_error error = { "" };

	memset(contents, 0, MAX_DISK);
	unlink(path);
	if (v->backing) {
		/* Shorter than the disk, and with an odd end. */
		uint64_t length = size / 3 * 2 / 512 * 512 + 100;

		for (uint64_t i = 0; i < length; i++)
			contents[i] = (uint8_t)(i / 512 * 13 + i);
		write_file(base_path, contents, length);
	}
	if (qcow2_create(path, &options, &error))
		fail_msg("%s", error.text);
}

static void compare_range(struct world *w, uint64_t offset, uint64_t length, const char *what)
{
	assert_int_equal(image_read(w->image, offset, w->buf, length), 0);
	for (uint64_t i = 0; i < length; i++)
		if (w->buf[i] != w->now.data[offset + i])
			fail_msg("%s: %s: at %llu there is %02x instead of %02x", w->v->name, what,
				 (unsigned long long)(offset + i), w->buf[i],
				 w->now.data[offset + i]);
}

static void pick_range(const struct world *w, uint64_t *offset, uint64_t *length)
{
	uint32_t sectors = (uint32_t)(w->now.size / 512), first = rnd(sectors), n;

	n = 1 + rnd(rnd(4) ? 16 : rnd(8) ? 400 : 4000);
	if (n > sectors - first)
		n = sectors - first;
	*offset = first * 512ull;
	*length = n * 512ull;
}

static void random_discard(struct world *w)
{
	uint64_t offset, length;

	pick_range(w, &offset, &length);
	assert_int_equal(image_discard(w->image, offset, length), 0);
	/* What was there, or zeroes, sector by sector. */
	assert_int_equal(image_read(w->image, offset, w->buf, length), 0);
	for (uint64_t i = 0; i < length; i += 512)
		if (memcmp(w->buf + i, w->now.data + offset + i, 512) &&
		    !buffer_is_zero(w->buf + i, 512))
			fail_msg("%s: discarded sector at %llu has something else", w->v->name,
				 (unsigned long long)(offset + i));
	memcpy(w->now.data + offset, w->buf, length);
}

static void copy_model(struct model *to, const struct model *from)
{
	to->size = from->size;
	memcpy(to->data, from->data, MAX_DISK);
}

static void random_snapshot(struct world *w)
{
	struct vmm_error error = { "" };
	unsigned int n = rnd(MAX_SNAPSHOTS);
	char name[16];
	int ret;

	if (w->v->external)
		return;
	snprintf(name, sizeof(name), "s%u", n);
	if (n >= w->snapshot_count) {
		snprintf(name, sizeof(name), "s%u", w->snapshot_count);
		ret = qcow2_snapshot_create(w->image, name, &error);
		if (ret == -EOVERFLOW && w->v->refcount_order < 3)
			return;
		if (!ret)
			copy_model(&w->snapshots[w->snapshot_count++], &w->now);
	} else if (rnd(2)) {
		ret = qcow2_snapshot_apply(w->image, name, &error);
		if (ret == -EOVERFLOW && w->v->refcount_order < 3)
			return;
		copy_model(&w->now, &w->snapshots[n]);
	} else {
		snprintf(name, sizeof(name), "s%u", w->snapshot_count - 1);
		ret = qcow2_snapshot_delete(w->image, name, &error);
		w->snapshot_count--;
	}
	if (ret)
		fail_msg("%s: %s", w->v->name, error.text);
}

static void random_resize(struct world *w)
{
	uint64_t size = (1 + rnd(MAX_DISK / 512 - 1)) * 512ull, old = w->now.size;
	struct vmm_error error = { "" };
	int ret;

	ret = image_resize(w->image, size, &error);
	if (ret == -ENOTSUP && w->snapshot_count)
		return;
	if (ret)
		fail_msg("%s: %s", w->v->name, error.text);
	w->now.size = size;
	if (size < old)
		memset(w->now.data + size, 0, MAX_DISK - size);
	else
		memset(w->now.data + old, 0, MAX_DISK - old);
}

/* Whole clusters, of which some can be packed and some cannot. */
static void random_pack(struct world *w)
{
	struct qcow2 *q = to_qcow2(w->image);
	struct qcow2_packer *packer;
	uint64_t offset, length, step = q->cluster_size;
	uint8_t *packed;

	pick_range(w, &offset, &length);
	offset -= offset % step;
	if (q->external || w->now.size - offset < step || qcow2_packer_create(q, &packer))
		return;
	packed = malloc(step);
	for (unsigned int n = 1 + rnd(4); n && w->now.size - offset >= step; n--, offset += step) {
		uint32_t kinds = rnd(3) ? 1 + rnd(20) : 256;
		size_t got;

		for (uint64_t i = 0; i < step; i++)
			w->buf[i] = (uint8_t)rnd(kinds);
		got = qcow2_pack(packer, w->buf, packed);
		assert_true(got < step);
		if (!got) {
			assert_int_equal(kinds, 256);
			continue;
		}
		assert_int_equal(qcow2_write_packed(w->image, offset, packed, got), 0);
		memcpy(w->now.data + offset, w->buf, step);
	}
	free(packed);
	qcow2_packer_destroy(packer);
}

static void random_step(struct world *w)
{
	uint64_t offset, length;
	bool unmap = rnd(2);

	pick_range(w, &offset, &length);
	switch (rnd(100)) {
	case 0 ... 6:
		random_pack(w);
		break;
	case 7 ... 54:
		for (uint64_t i = 0; i < length; i++)
			w->buf[i] = (uint8_t)rnd(256);
		assert_int_equal(image_write(w->image, offset, w->buf, length), 0);
		memcpy(w->now.data + offset, w->buf, length);
		break;
	case 55 ... 64:
		assert_int_equal(image_zero(w->image, offset, length, unmap), 0);
		memset(w->now.data + offset, 0, length);
		break;
	case 65 ... 71:
		random_discard(w);
		break;
	case 72 ... 86:
		compare_range(w, offset, length, "read");
		break;
	case 87 ... 91:
		assert_int_equal(image_flush(w->image), 0);
		break;
	case 92 ... 94:
		random_snapshot(w);
		break;
	case 95:
		random_resize(w);
		break;
	default:
		assert_int_equal(image_close(w->image), 0);
		expect_sound(w->v->name);
		w->image = open_image(IMAGE_WRITE);
		assert_int_equal(w->image->size, w->now.size);
	}
}

static void test_random(void **state)
{
	struct world w = { 0 };
	const char *steps = getenv("QCOW2_TEST_STEPS");

	w.buf = malloc(MAX_DISK);
	w.now.data = malloc(MAX_DISK);
	for (unsigned int i = 0; i < MAX_SNAPSHOTS; i++)
		w.snapshots[i].data = malloc(MAX_DISK);
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		w.v = &variants[i];
		w.snapshot_count = 0;
		w.now.size = MAX_DISK / 2 + 512 * rnd(1000);
		create(w.v, w.now.size, w.now.data);
		w.image = open_image(IMAGE_WRITE);
		for (int n = steps ? atoi(steps) : 300; n; n--)
			random_step(&w);
		compare_range(&w, 0, w.now.size, "at the end");
		assert_int_equal(image_close(w.image), 0);
		expect_sound(w.v->name);
		for (unsigned int n = 0; n < w.snapshot_count; n++) {
			struct vmm_error error = { "" };
			char name[16];

			snprintf(name, sizeof(name), "s%u", n);
			w.image = open_image(0);
			assert_int_equal(qcow2_snapshot_view(w.image, name, &error), 0);
			copy_model(&w.now, &w.snapshots[n]);
			assert_int_equal(w.image->size, w.now.size);
			compare_range(&w, 0, w.now.size, name);
			image_close(w.image);
		}
		if (have_qemu_img())
			run_command("cd %s && qemu-img check -q -f qcow2 %s", dir, path);
	}
	free(w.buf);
	free(w.now.data);
	for (unsigned int i = 0; i < MAX_SNAPSHOTS; i++)
		free(w.snapshots[i].data);
}

/* ------------------------------------------------------------------ asynchronously */

#define IN_FLIGHT	16

struct io {
	struct block_request req;
	struct iovec iov[3];
	uint8_t *buf;
	bool busy;
};

static void io_done(struct block_request *req, int result)
{
	struct io *io = (struct io *)((char *)req - offsetof(struct io, req));

	assert_int_equal(result, 0);
	io->busy = false;
}

/* Requests in flight that do not touch the same sectors, but very well the same clusters. */
static void test_async(void **state)
{
	static const struct aio_engine *const engines[] = { NULL, &aio_engine_threads };
	struct io io[IN_FLIGHT] = { 0 };
	uint8_t *model = malloc(MAX_DISK);

	for (int i = 0; i < IN_FLIGHT; i++)
		io[i].buf = malloc(MAX_DISK);
	for (size_t v = 0; v < sizeof(variants) / sizeof(variants[0]); v++) {
		struct disk_config config = { .path = path };
		struct vmm_error error = { "" };
		const uint64_t size = MAX_DISK / 2;
		struct block *disk;

		create(&variants[v], size, model);
		if (block_open(&config, engines[v % 2], &disk, &error))
			fail_msg("%s", error.text);
		for (int round = 0; round < 60; round++) {
			/* Each of these has its own share of sectors in a place they share. */
			uint64_t place = rnd((uint32_t)(size / 512) - 8 * IN_FLIGHT) * 512ull;

			for (int i = 0; i < IN_FLIGHT; i++) {
				uint64_t offset = place + i * 4096u, length = 512u * (1 + rnd(8));
				enum block_op op = rnd(3) ? BLOCK_WRITE : rnd(2) ? BLOCK_READ :
						   rnd(2) ? BLOCK_WRITE_ZEROES : BLOCK_FLUSH;
				size_t cut = rnd((uint32_t)length);

				if (op == BLOCK_WRITE)
					for (uint64_t j = 0; j < length; j++)
						model[offset + j] = io[i].buf[j] = (uint8_t)rnd(64);
				if (op == BLOCK_WRITE_ZEROES)
					memset(model + offset, 0, length);
				io[i].iov[0] = (struct iovec){ io[i].buf, cut };
				io[i].iov[1] = (struct iovec){ io[i].buf + cut, length - cut };
				io[i].req = (struct block_request){
					.op = op, .offset = offset, .length = length,
					.iov = io[i].iov, .iovcnt = 2, .may_unmap = rnd(2),
					.done = io_done,
				};
				io[i].busy = true;
				block_submit(disk, &io[i].req);
				if (!rnd(4))
					block_kick(disk);
			}
			block_kick(disk);
			block_drain(disk);
			for (int i = 0; i < IN_FLIGHT; i++) {
				assert_false(io[i].busy);
				if (io[i].req.op == BLOCK_READ)
					assert_memory_equal(io[i].buf, model + io[i].req.offset,
							    io[i].req.length);
			}
		}
		io[0].iov[0] = (struct iovec){ io[0].buf, size };
		io[0].req = (struct block_request){
			.op = BLOCK_READ, .length = size, .iov = io[0].iov, .iovcnt = 1,
			.done = io_done,
		};
		block_submit(disk, &io[0].req);
		block_drain(disk);
		assert_memory_equal(io[0].buf, model, size);
		block_close(disk);
		expect_sound(variants[v].name);
	}
	for (int i = 0; i < IN_FLIGHT; i++)
		free(io[i].buf);
	free(model);
}

/* ------------------------------------------------------------------ killed at any moment */

#define CRASH_SECTORS	4096u

/* What the process that will be killed has asked for, in memory that outlives it. */
struct journal {
	uint64_t asked[CRASH_SECTORS];		/* the last write's number */
	uint64_t zeroed[CRASH_SECTORS];		/* the last zeroing's or discard's number */
	uint64_t flushed[CRASH_SECTORS];	/* what a flush that has finished promised */
	uint64_t next;
};

static void crash_child(struct journal *j, const struct variant *v)
{
	static uint64_t done[CRASH_SECTORS];
	struct image *image = open_image(IMAGE_WRITE);
	uint64_t *buf = malloc(CRASH_SECTORS * 512);

	memcpy(done, j->flushed, sizeof(done));
	for (;;) {
		uint32_t first = rnd(CRASH_SECTORS), n = 1 + rnd(64), what = rnd(20);
		uint64_t number = j->next++;

		if (n > CRASH_SECTORS - first)
			n = CRASH_SECTORS - first;
		if (what < 13) {
			for (uint32_t i = 0; i < n; i++) {
				j->asked[first + i] = number;
				for (int k = 0; k < 64; k++)
					buf[i * 64 + k] = number;
			}
			if (image_write(image, first * 512ull, buf, n * 512ull))
				_exit(1);
		} else if (what < 16) {
			for (uint32_t i = 0; i < n; i++)
				j->zeroed[first + i] = number;
			if (image_zero(image, first * 512ull, n * 512ull, rnd(2)))
				_exit(2);
		} else if (what < 18) {
			/* Nothing is promised. */
			for (uint32_t i = 0; i < n; i++)
				j->zeroed[first + i] = number;
			if (image_discard(image, first * 512ull, n * 512ull))
				_exit(3);
			continue;
		} else if (!v->external && what == 18 && !rnd(10)) {
			struct vmm_error error = { "" };

			if (qcow2_find_snapshot(to_qcow2(image), "s") ?
			    qcow2_snapshot_delete(image, "s", &error) :
			    qcow2_snapshot_create(image, "s", &error))
				_exit(4);
			continue;
		} else {
			if (image_flush(image))
				_exit(5);
			memcpy(j->flushed, done, sizeof(done));
			continue;
		}
		for (uint32_t i = 0; i < n; i++)
			done[first + i] = number;
	}
}

static void crash_verify(struct journal *j, const struct variant *v)
{
	struct qcow2_check result;
	uint64_t *buf = malloc(CRASH_SECTORS * 512);
	struct image *image;

	image = open_image(IMAGE_CHECK | IMAGE_WRITE | IMAGE_NO_BACKING);
	assert_int_equal(qcow2_check(image, QCOW2_REPAIR_NONE, &result, NULL), 0);
	assert_int_equal(qcow2_check(image, QCOW2_REPAIR_ALL, &result, NULL), 0);
	assert_int_equal(result.corruptions, result.corruptions_fixed);
	image_close(image);
	expect_sound("after repair");

	image = open_image(0);
	assert_int_equal(image_read(image, 0, buf, CRASH_SECTORS * 512), 0);
	image_close(image);
	for (uint32_t i = 0; i < CRASH_SECTORS; i++) {
		uint64_t *sector = buf + i * 64, value = sector[0];

		/* A sector is written whole: a kill does not cut a system call short here. */
		for (int k = 1; k < 64; k++)
			assert_int_equal(sector[k], value);
		if (value ? value < j->flushed[i] || value > j->asked[i] :
			    j->zeroed[i] < j->flushed[i])
			fail_msg("%s: sector %u has write %llu, but write %llu was flushed, %llu "
				 "the last, zeroes %llu", v->name, i, (unsigned long long)value,
				 (unsigned long long)j->flushed[i], (unsigned long long)j->asked[i],
				 (unsigned long long)j->zeroed[i]);
		/* What is there now is there for the next life too. */
		j->flushed[i] = value ? value : j->zeroed[i];
	}
	free(buf);
}

static void test_crash(void **state)
{
	const char *lives = getenv("QCOW2_TEST_LIVES");
	struct journal *j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t *contents = malloc(MAX_DISK);

	for (size_t v = 0; v < sizeof(variants) / sizeof(variants[0]); v++) {
		if (variants[v].backing || variants[v].refcount_order < 3)
			continue;
		create(&variants[v], CRASH_SECTORS * 512, contents);
		memset(j, 0, sizeof(*j));
		j->next = 1;
		for (int life = lives ? atoi(lives) : 5; life; life--) {
			uint32_t wait_us = 1000 + rnd(30000);
			int status;
			pid_t pid;

			rnd(2);
			pid = fork();
			assert_true(pid >= 0);
			if (!pid) {
				crash_child(j, &variants[v]);
				_exit(9);
			}
			nanosleep(&(struct timespec){ .tv_nsec = wait_us * 1000l }, NULL);
			kill(pid, SIGKILL);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			if (!WIFSIGNALED(status))
				fail_msg("%s: status %d", variants[v].name, WEXITSTATUS(status));
			crash_verify(j, &variants[v]);
		}
	}
	free(contents);
	munmap(j, sizeof(*j));
}

/* ------------------------------------------------------------------ what must be refused */

static void refuse(const char *name, const char *format, unsigned int flags, int expected,
		   const char *words)
{
	struct vmm_error error = { "" };
	struct image *image;

	assert_int_equal(image_open(name, format, flags, &image, &error), expected);
	if (!strstr(error.text, words))
		fail_msg("'%s' does not say '%s'", error.text, words);
	assert_null(strchr(error.text, '\n'));
}

static void poke(uint64_t offset, uint64_t value, unsigned int bytes)
{
	int fd = open(path, O_WRONLY);
	uint8_t be[8];

	for (unsigned int i = 0; i < bytes; i++)
		be[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	assert_int_equal(pwrite(fd, be, bytes, (off_t)offset), bytes);
	close(fd);
}

static void test_refused(void **state)
{
	static const struct {
		uint64_t offset, value;
		unsigned int bytes;
		int expected;
		const char *words;
	} pokes[] = {
		{ 4, 4, 4, -ENOTSUP, "version 4" },
		{ 4, 0, 4, -ENOTSUP, "version 0" },
		{ 8, 70000, 8, -EINVAL, "what follows its header" },
		{ 20, 8, 4, -EINVAL, "2^8" },
		{ 20, 64, 4, -EINVAL, "2^64" },
		{ 24, 1ull << 62, 8, -EINVAL, "L1 table" },
		{ 24, ~0ull, 8, -EFBIG, "no disk" },
		{ 32, 1, 4, -ENOTSUP, "encrypted" },
		{ 36, 0xffffffff, 4, -EINVAL, "L1 table" },
		{ 36, 0, 4, -EINVAL, "L1 table" },
		{ 40, 1, 8, -EINVAL, "L1 table" },
		{ 40, 1ull << 40, 8, -EINVAL, "L1 table" },
		{ 40, 0, 8, -EIO, "L1 table at 0 lies on other tables" },
		{ 40, 65536, 8, -EIO, "lies on other tables" },
		{ 48, 0, 8, -EIO, "refcount table at 0 lies on other tables" },
		{ 48, ~0ull << 16, 8, -EINVAL, "refcount table" },
		{ 56, 0x10000, 4, -EINVAL, "refcount table" },
		{ 60, 0xffffffff, 4, -EINVAL, "snapshots" },
		{ 60, 60000, 4, -EINVAL, "snapshot" },
		{ 72, 1ull << 63, 8, -ENOTSUP, "features" },
		{ 72, 2, 8, -EIO, "anykvm image check -r all" },
		{ 72, 4, 8, -EINVAL, "another file" },
		{ 72, 8, 8, -ENOTSUP, "compression type" },
		{ 96, 7, 4, -EINVAL, "2^7" },
		{ 100, 70000, 4, -EINVAL, "header would have" },
		{ 104, 2, 1, -ENOTSUP, "compression type" },
		{ 116, 0xfffffff0, 4, -EINVAL, "what follows its header" },
		{ 65536, 1, 8, -EIO, "refcount block at 1" },
		{ 65536, 1ull << 50, 8, -EIO, "refcount block" },
		{ 3 * 65536, 3 * 65536, 8, -EIO, "L2 table at 196608 lies on other tables" },
		{ 3 * 65536, 1ull << 50, 8, -EIO, "L2 table" },
		{ 3 * 65536, 512, 8, -EIO, "not at a cluster's start" },
	};
	uint8_t *contents = malloc(MAX_DISK);

	for (size_t i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
		create(&variants[0], MAX_DISK, contents);
		poke(pokes[i].offset, pokes[i].value, pokes[i].bytes);
		refuse(path, "qcow2", IMAGE_WRITE, pokes[i].expected, pokes[i].words);
	}
	free(contents);
}

static void test_chain(void **state)
{
	struct qcow2_create options = {
		.size = 1 << 20, .version = 3, .cluster_bits = 16, .refcount_order = 4,
		.backing = "disk.qcow2", .backing_format = "qcow2",
	};
	struct vmm_error error = { "" };

	/* On itself, then by way of another. */
	assert_int_equal(qcow2_create(path, &options, &error), 0);
	refuse(path, NULL, 0, -ELOOP, "loop");
	options.backing = "other.qcow2";
	assert_int_equal(qcow2_create(path, &options, &error), 0);
	options.backing = "disk.qcow2";
	snprintf(base_path, sizeof(base_path), "%s/other.qcow2", dir);
	assert_int_equal(qcow2_create(base_path, &options, &error), 0);
	refuse(path, NULL, IMAGE_WRITE, -ELOOP, "loop");
	snprintf(base_path, sizeof(base_path), "%s/base.raw", dir);

	options.backing = "missing";
	assert_int_equal(qcow2_create(path, &options, &error), 0);
	refuse(path, NULL, 0, -ENOENT, "missing");
	options.backing = "nbd://host/disk";
	assert_int_equal(qcow2_create(path, &options, &error), 0);
	refuse(path, NULL, 0, -ENOTSUP, "not a file name");
}

static int refused_result;

static void refused_done(struct block_request *req, int result)
{
	refused_result = result;
}

/* A disk that is raw because nobody said so must not become a qcow2 image. */
static void test_probing(void **state)
{
	static uint8_t sector[512];
	struct vmm_error error = { "" };

	for (int given = 0; given < 2; given++) {
		struct disk_config config = { .path = base_path, .format = given ? "raw" : NULL };
		struct iovec iov[2] = { { sector, 2 }, { sector + 2, 510 } };
		struct block_request req = {
			.op = BLOCK_WRITE, .iov = iov, .iovcnt = 2, .length = 512,
			.done = refused_done,
		};
		struct block *disk;

		memset(sector, 0, sizeof(sector));
		write_file(base_path, sector, sizeof(sector));
		memcpy(sector, "QFI\xfb", 4);
		assert_int_equal(block_open(&config, NULL, &disk, &error), 0);
		block_submit(disk, &req);
		block_kick(disk);
		block_drain(disk);
		block_close(disk);
		assert_int_equal(refused_result, given ? 0 : -EPERM);
		assert_string_equal(image_probe(base_path), given ? "qcow2" : "raw");
	}
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/disk.qcow2", dir);
	snprintf(base_path, sizeof(base_path), "%s/base.raw", dir);
	snprintf(data_path, sizeof(data_path), "%s/data.raw", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[PATH_MAX];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_probing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
