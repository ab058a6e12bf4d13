/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks: raw files and the ephemeral layer, over each I/O engine, against a copy in memory; and who
 * may open what at the same time.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/block/block.h"
#include "vmm/block/qcow2.h"
#include "vmm/block/rate_limit.h"

#define DISK_SIZE (256u * 1024)

static char dir[] = "/tmp/block_test.XXXXXX";
static char path[PATH_MAX];
static const struct aio_engine *engine;

static uint32_t rng_state = 1;

static uint32_t rnd(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state % below;
}

static void make_file(size_t size)
{
	uint8_t *data = malloc(size);
	FILE *f = fopen(path, "w");

	assert_non_null(data);
	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7 + i / 512);
	assert_int_equal(fwrite(data, 1, size, f), size);
	fclose(f);
	free(data);
}

static uint8_t *file_contents(size_t size)
{
	uint8_t *data = malloc(size);
	FILE *f = fopen(path, "r");

	assert_non_null(data);
	assert_non_null(f);
	assert_int_equal(fread(data, 1, size, f), size);
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	return data;
}

static struct block *open_disk(bool readonly, bool ephemeral)
{
	struct disk_config config = { .path = path, .readonly = readonly, .ephemeral = ephemeral };
	struct vmm_error error = { "" };
	struct block *disk;

	if (block_open(&config, engine, &disk, &error))
		fail_msg("%s", error.text);
	return disk;
}

static void refuse_disk(const char *name, bool readonly, bool ephemeral, const char *format,
			int expected, const char *words)
{
	struct disk_config config = { .path = name, .readonly = readonly, .ephemeral = ephemeral,
				      .format = format };
	struct vmm_error error = { "" };
	struct block *disk;

	assert_int_equal(block_open(&config, engine, &disk, &error), expected);
	assert_non_null(strstr(error.text, name));
	if (!strstr(error.text, words))
		fail_msg("'%s' does not say '%s'", error.text, words);
	assert_null(strchr(error.text, '\n'));
}

struct io {
	struct block_request req;
	struct iovec iov[8];
	bool done;
	int result;
};

static void io_done(struct block_request *req, int result)
{
	struct io *io = (struct io *)((char *)req - offsetof(struct io, req));

	assert_false(io->done);
	io->done = true;
	io->result = result;
}

/* Starts a request over a buffer that is cut into a few pieces of odd sizes. */
static void start(struct block *disk, struct io *io, enum block_op op, uint64_t offset,
		  void *buf, uint64_t length)
{
	uint64_t done = 0;
	unsigned int n = 0;

	memset(io, 0, sizeof(*io));
	while (buf && done < length) {
		uint64_t piece = n == 7 ? length - done : 1 + rnd((uint32_t)(length - done));

		io->iov[n].iov_base = (char *)buf + done;
		io->iov[n].iov_len = piece;
		done += piece;
		n++;
	}
	io->req = (struct block_request){
		.op = op,
		.may_unmap = rnd(2),
		.iov = io->iov,
		.iovcnt = n,
		.offset = offset,
		.length = length,
		.done = io_done,
	};
	block_submit(disk, &io->req);
	assert_false(io->done);
}

static int run(struct block *disk, enum block_op op, uint64_t offset, void *buf, uint64_t length)
{
	struct io io;

	start(disk, &io, op, offset, buf, length);
	block_kick(disk);
	block_drain(disk);
	assert_true(io.done);
	assert_int_equal(disk->in_flight, 0);
	return io.result;
}

/* A few thousand random requests; every read must find what the copy in memory says. */
static void random_requests(bool ephemeral)
{
	uint8_t *shadow, *buf, *before;
	struct block *disk;

	make_file(DISK_SIZE);
	before = file_contents(DISK_SIZE);
	shadow = file_contents(DISK_SIZE);
	buf = malloc(DISK_SIZE);
	disk = open_disk(false, ephemeral);
	assert_int_equal(disk->size, DISK_SIZE);

	for (int i = 0; i < 4000; i++) {
		uint64_t offset = rnd(DISK_SIZE / 512) * 512ull;
		uint64_t length = (1 + rnd(rnd(20) ? 32 : DISK_SIZE / 512)) * 512ull;

		if (length > DISK_SIZE - offset)
			length = DISK_SIZE - offset;
		switch (rnd(8)) {
		case 0: case 1: case 2:
			memset(buf, 0x5a, length);
			assert_int_equal(run(disk, BLOCK_READ, offset, buf, length), 0);
			assert_memory_equal(buf, shadow + offset, length);
			break;
		case 3: case 4: case 5:
			for (uint64_t j = 0; j < length; j++)
				buf[j] = (uint8_t)rnd(256);
			memcpy(shadow + offset, buf, length);
			assert_int_equal(run(disk, BLOCK_WRITE, offset, buf, length), 0);
			break;
		case 6:
			memset(shadow + offset, 0, length);
			assert_int_equal(run(disk, BLOCK_WRITE_ZEROES, offset, NULL, length), 0);
			break;
		default:
			assert_int_equal(run(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
			break;
		}
	}
	assert_int_equal(run(disk, BLOCK_READ, 0, buf, DISK_SIZE), 0);
	assert_memory_equal(buf, shadow, DISK_SIZE);
	block_close(disk);

	free(buf);
	buf = file_contents(DISK_SIZE);
	assert_memory_equal(buf, ephemeral ? before : shadow, DISK_SIZE);
	free(buf);
	free(before);
	free(shadow);
}

static void raw_random(void **state)
{
	random_requests(false);
}

static void ephemeral_random(void **state)
{
	random_requests(true);
}

/* More requests at once than any engine takes, on separate sectors, all of which must arrive. */
static void many_at_once(void **state)
{
	const unsigned int count = DISK_SIZE / 512;
	struct io *ios = calloc(count, sizeof(*ios));
	uint8_t *data = malloc(DISK_SIZE), *contents;
	struct block *disk;

	make_file(DISK_SIZE);
	disk = open_disk(false, false);
	for (unsigned int i = 0; i < count; i++) {
		memset(data + i * 512, (int)(i * 3 + 1), 512);
		start(disk, &ios[i], BLOCK_WRITE, i * 512ull, data + i * 512, 512);
	}
	assert_int_equal(disk->in_flight, count);
	block_kick(disk);
	block_drain(disk);
	for (unsigned int i = 0; i < count; i++) {
		assert_true(ios[i].done);
		assert_int_equal(ios[i].result, 0);
	}
	block_close(disk);
	contents = file_contents(DISK_SIZE);
	assert_memory_equal(contents, data, DISK_SIZE);
	free(contents);
	free(data);
	free(ios);
}

static void bounds(void **state)
{
	uint8_t buf[1024];
	struct block *disk;

	make_file(4096);
	disk = open_disk(false, false);
	assert_int_equal(run(disk, BLOCK_READ, 4096, buf, 512), -ERANGE);
	assert_int_equal(run(disk, BLOCK_READ, 3584, buf, 1024), -ERANGE);
	assert_int_equal(run(disk, BLOCK_WRITE, UINT64_MAX - 511, buf, 1024), -ERANGE);
	assert_int_equal(run(disk, BLOCK_DISCARD, 0, NULL, 8192), -ERANGE);
	assert_int_equal(run(disk, BLOCK_READ, 1, buf, 512), -EINVAL);
	assert_int_equal(run(disk, BLOCK_WRITE, 0, buf, 511), -EINVAL);
	assert_int_equal(run(disk, BLOCK_READ, 4096, buf, 0), 0);
	assert_int_equal(run(disk, BLOCK_DISCARD, 0, NULL, 4096), 0);
	block_close(disk);

	disk = open_disk(true, false);
	assert_true(disk->read_only);
	assert_int_equal(run(disk, BLOCK_READ, 0, buf, 1024), 0);
	assert_int_equal(run(disk, BLOCK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(run(disk, BLOCK_DISCARD, 0, NULL, 512), -EROFS);
	assert_int_equal(run(disk, BLOCK_WRITE_ZEROES, 0, NULL, 512), -EROFS);
	assert_int_equal(run(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	block_close(disk);

	/* Both at once: the guest may not write at all. */
	disk = open_disk(true, true);
	assert_int_equal(run(disk, BLOCK_WRITE, 0, buf, 512), -EROFS);
	block_close(disk);
}

/* A size that is no multiple of 512 is rounded up, and the missing bytes are zero. */
static void odd_size(void **state)
{
	uint8_t buf[1024], *contents;
	struct block *disk;
	struct stat st;

	for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
		make_file(1000);
		contents = file_contents(1000);
		disk = open_disk(false, ephemeral);
		assert_int_equal(disk->size, 1024);
		memset(buf, 0xff, sizeof(buf));
		assert_int_equal(run(disk, BLOCK_READ, 0, buf, 1024), 0);
		assert_memory_equal(buf, contents, 1000);
		for (int i = 1000; i < 1024; i++)
			assert_int_equal(buf[i], 0);
		free(contents);

		memset(buf, 0x77, sizeof(buf));
		assert_int_equal(run(disk, BLOCK_WRITE, 512, buf, 512), 0);
		memset(buf, 0, sizeof(buf));
		assert_int_equal(run(disk, BLOCK_READ, 512, buf, 512), 0);
		assert_int_equal(buf[511], 0x77);
		block_close(disk);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, ephemeral ? 1000 : 1024);
	}
}

/* Somebody cuts the file while the guest runs: zeroes, no error, no hang. */
static void shrunk_file(void **state)
{
	uint8_t buf[4096];
	struct block *disk;

	make_file(8192);
	disk = open_disk(false, false);
	assert_int_equal(truncate(path, 100), 0);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(run(disk, BLOCK_READ, 0, buf, 4096), 0);
	assert_int_equal(buf[99], (uint8_t)(99 * 7));
	for (int i = 100; i < 4096; i++)
		assert_int_equal(buf[i], 0);
	block_close(disk);
}

static void who_may_open(void **state)
{
	struct block *first, *second;

	make_file(4096);
	first = open_disk(false, false);
	refuse_disk(path, false, false, NULL, -EBUSY, "in use");
	refuse_disk(path, true, false, NULL, -EBUSY, "in use");
	refuse_disk(path, false, true, NULL, -EBUSY, "in use");
	block_close(first);

	first = open_disk(true, false);
	second = open_disk(false, true);
	refuse_disk(path, false, false, NULL, -EBUSY, "in use");
	block_close(second);
	block_close(first);

	first = open_disk(false, false);
	block_close(first);
}

/* A claim as QEMU makes it, seen from the other side of its conventions. */
static void qemu_locks(void **state)
{
	/* A program that reads, writes and lets nobody else write; then one that only reads. */
	static const off_t writer[] = { 100, 101, 201 }, reader[] = { 100, 201 };
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };
	struct block *disk;
	int fd;

	make_file(4096);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 3; i++) {
		fl.l_start = writer[i];
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	}
	refuse_disk(path, false, false, NULL, -EBUSY, "in use");
	refuse_disk(path, true, false, NULL, -EBUSY, "in use");
	close(fd);

	fd = open(path, O_RDONLY);
	for (int i = 0; i < 2; i++) {
		fl.l_start = reader[i];
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	}
	refuse_disk(path, false, false, NULL, -EBUSY, "in use");
	disk = open_disk(true, false);
	block_close(disk);

	/* And what we hold while we write, as its GETLK would find it. */
	close(fd);
	disk = open_disk(false, false);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 3; i++) {
		fl = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET,
				     .l_start = writer[i], .l_len = 1 };
		assert_int_equal(fcntl(fd, F_OFD_GETLK, &fl), 0);
		assert_int_equal(fl.l_type, F_RDLCK);
	}
	close(fd);
	block_close(disk);
}

static void bad_files(void **state)
{
	char name[PATH_MAX];

	refuse_disk("/nonexistent/disk", false, false, NULL, -ENOENT, "No such file");
	refuse_disk(dir, false, false, NULL, -EISDIR, "neither a regular file");
	refuse_disk(dir, true, false, NULL, -EINVAL, "neither a regular file");
	refuse_disk("/dev/null", false, false, NULL, -EINVAL, "neither a regular file");
	make_file(0);
	refuse_disk(path, false, false, NULL, -EINVAL, "empty");
	make_file(512);
	refuse_disk(path, false, false, "vmdk", -EINVAL, "unknown format 'vmdk'");

	snprintf(name, sizeof(name), "%s/fifo", dir);
	assert_int_equal(mkfifo(name, 0600), 0);
	refuse_disk(name, true, false, NULL, -EINVAL, "neither a regular file");
	unlink(name);

	assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
	{
		struct disk_config config = { .path = path, .ephemeral = true };
		struct vmm_error error = { "" };
		struct block *disk;

		assert_int_equal(block_open(&config, engine, &disk, &error), -ENOENT);
		assert_non_null(strstr(error.text, "TMPDIR"));
	}
	unsetenv("TMPDIR");
}

/* The ephemeral file must cost what was written, not what the disk could hold. */
static void ephemeral_is_sparse(void **state)
{
	uint8_t buf[4096];
	struct block *disk;

	make_file(512);
	assert_int_equal(truncate(path, 1ll << 40), 0);
	disk = open_disk(false, true);
	memset(buf, 0x11, sizeof(buf));
	assert_int_equal(run(disk, BLOCK_WRITE, (1ull << 40) - 4096, buf, 4096), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(run(disk, BLOCK_READ, (1ull << 40) - 4096, buf, 4096), 0);
	assert_int_equal(buf[4095], 0x11);
	/* Half a disk of zeroes is a hole, or the test would not end. */
	assert_int_equal(run(disk, BLOCK_DISCARD, 0, NULL, 1ull << 39), 0);
	block_close(disk);
}

/* Made longer and shorter: what is new is zeroes, also where there was something once. */
static void resize(bool ephemeral)
{
	const uint64_t size = 8u << 20;
	struct vmm_error error = { "" };
	uint8_t buf[8192], *before;
	struct block *disk;
	struct io io;

	make_file(DISK_SIZE);
	before = file_contents(DISK_SIZE);
	disk = open_disk(false, ephemeral);
	memset(buf, 0x11, sizeof(buf));
	/* One is under way. */
	start(disk, &io, BLOCK_WRITE, DISK_SIZE - 8192, buf, 8192);
	assert_int_equal(block_resize(disk, size, &error), 0);
	assert_true(io.done);
	assert_int_equal(disk->size, size);
	assert_int_equal(run(disk, BLOCK_READ, DISK_SIZE - 4096, buf, 8192), 0);
	for (unsigned int i = 0; i < 8192; i++)
		assert_int_equal(buf[i], i < 4096 ? 0x11 : 0);
	memset(buf, 0x22, sizeof(buf));
	assert_int_equal(run(disk, BLOCK_WRITE, size - 8192, buf, 8192), 0);
	assert_int_equal(run(disk, BLOCK_WRITE, DISK_SIZE - 4096, buf, 8192), 0);

	assert_int_equal(block_resize(disk, 65536, &error), 0);
	assert_int_equal(run(disk, BLOCK_READ, 65536, buf, 512), -ERANGE);
	assert_int_equal(block_resize(disk, DISK_SIZE, &error), 0);
	for (uint64_t at = 0; at < DISK_SIZE; at += 8192) {
		assert_int_equal(run(disk, BLOCK_READ, at, buf, 8192), 0);
		if (at < 65536)
			assert_memory_equal(buf, before + at, 8192);
		for (unsigned int i = 0; at >= 65536 && i < 8192; i++)
			assert_int_equal(buf[i], 0);
	}
	assert_int_equal(block_resize(disk, 0, &error), -EINVAL);
	assert_int_equal(block_resize(disk, 65537, &error), -EINVAL);
	block_close(disk);
	disk = open_disk(true, false);
	assert_int_equal(disk->size, DISK_SIZE);
	assert_int_equal(block_resize(disk, 4096, &error), -EROFS);
	block_close(disk);
	free(before);
}

static void raw_resize(void **state)
{
	resize(false);
}

static void ephemeral_resize(void **state)
{
	resize(true);
}

/* Past the host's page cache where that can be, and through it where not, in any mixture. */
static void direct(void **state)
{
	static const char *const formats[] = { "raw", "qcow2" };
	struct qcow2_create create = { .size = DISK_SIZE, .version = 3, .cluster_bits = 13,
				       .refcount_order = 4 };
	uint8_t *buf = aligned_alloc(4096, DISK_SIZE), *shadow = calloc(1, DISK_SIZE);

	for (unsigned int f = 0; f < 2; f++) {
		struct disk_config config = { .path = path, .format = formats[f], .direct = true };
		struct vmm_error error = { "" };
		struct block *disk;
		int ret;

		memset(shadow, 0, DISK_SIZE);
		unlink(path);
		make_file(512);
		if (f)
			assert_int_equal(qcow2_create(path, &create, &error), 0);
		else
			assert_int_equal(truncate(path, 0) | truncate(path, DISK_SIZE), 0);
		ret = block_open(&config, engine, &disk, &error);
		if (ret == -EINVAL && strstr(error.text, "leave out direct")) {
			print_message("no O_DIRECT here\n");
			break;
		}
		if (ret)
			fail_msg("%s", error.text);
		for (unsigned int i = 0; i < 2000; i++) {
			bool whole = rnd(3), write = rnd(2);
			uint64_t unit = whole ? 4096 : 512, offset = rnd(DISK_SIZE / unit) * unit;
			uint64_t length = (1 + rnd(4)) * unit, skew = rnd(8) ? 0 : 16;
			struct io io = { .iov = { { buf + skew, length } } };

			if (length + skew > DISK_SIZE - offset)
				continue;
			for (uint64_t j = 0; write && j < length; j++)
				shadow[offset + j] = buf[skew + j] = (uint8_t)rnd(256);
			io.req = (struct block_request){
				.op = write ? BLOCK_WRITE : BLOCK_READ, .iov = io.iov, .iovcnt = 1,
				.offset = offset, .length = length, .done = io_done,
			};
			block_submit(disk, &io.req);
			block_kick(disk);
			block_drain(disk);
			assert_true(io.done);
			assert_int_equal(io.result, 0);
			if (!write)
				assert_memory_equal(buf + skew, shadow + offset, length);
			if (!rnd(100))
				assert_int_equal(run(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
		}
		block_close(disk);
		config.direct = false;
		assert_int_equal(block_open(&config, engine, &disk, &error), 0);
		assert_int_equal(run(disk, BLOCK_READ, 0, buf, DISK_SIZE), 0);
		assert_memory_equal(buf, shadow, DISK_SIZE);
		block_close(disk);
	}
	free(buf);
	free(shadow);
}

static void rate_limits(void **state)
{
	struct rate_limit limit;
	uint64_t now = 5000000000ull, taken = 0;

	/* None. */
	rate_limit_init(&limit, 0, 0);
	rate_limit_take(&limit, now, UINT64_MAX);
	assert_int_equal(rate_limit_when(&limit, now), now);

	/* A burst, and then the rate. */
	rate_limit_init(&limit, 1000, 50);
	while (rate_limit_when(&limit, now) == now) {
		rate_limit_take(&limit, now, 1);
		taken++;
	}
	assert_int_equal(taken, 51);
	for (unsigned int i = 0; i < 1000; i++) {
		now = rate_limit_when(&limit, now);
		rate_limit_take(&limit, now, 1);
	}
	assert_int_equal(now, 6000000000ull);
	/* What is not used does not pile up beyond the burst. */
	now += 1000000000000ull;
	for (taken = 0; rate_limit_when(&limit, now) == now; taken++)
		rate_limit_take(&limit, now, 1);
	assert_int_equal(taken, 51);
	/* More than the burst gets through at once, and is paid for afterwards. */
	now += 1000000000ull;
	rate_limit_take(&limit, now, 1050);
	assert_int_equal(rate_limit_when(&limit, now), now + 1000000000ull);
	/* Numbers beyond all time do not wrap. */
	rate_limit_init(&limit, 1, UINT64_MAX);
	for (unsigned int i = 0; i < 10; i++)
		rate_limit_take(&limit, now, UINT64_MAX);
	assert_true(rate_limit_when(&limit, now) >= now);
	rate_limit_init(&limit, UINT64_MAX, 1);
	rate_limit_take(&limit, now, 1ull << 40);
	assert_true(rate_limit_when(&limit, now) - now < 100);
}

/* A file system that cannot make a range zero (tmpfs, which a memfd is on): zeroes are written. */
static void zeroes_by_writing(void **state)
{
	const uint64_t size = 4u << 20, from = 4096 + 512, length = (3u << 20) + 512;
	uint8_t *buf = malloc(size);
	char saved[PATH_MAX];
	struct block *disk;
	struct io io;
	int fd;

	assert_non_null(buf);
	memset(buf, 0xff, size);
	fd = memfd_create("disk", MFD_CLOEXEC);
	assert_int_equal(write(fd, buf, size), size);
	assert_int_equal(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 512), -1);
	memcpy(saved, path, sizeof(saved));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	disk = open_disk(false, false);
	memcpy(path, saved, sizeof(saved));

	start(disk, &io, BLOCK_WRITE_ZEROES, from, NULL, length);
	io.req.may_unmap = false;
	block_kick(disk);
	block_drain(disk);
	assert_true(io.done);
	assert_int_equal(io.result, 0);
	assert_int_equal(run(disk, BLOCK_READ, 0, buf, size), 0);
	for (uint64_t i = 0; i < size; i++)
		assert_int_equal(buf[i], i >= from && i < from + length ? 0 : 0xff);
	block_close(disk);
	close(fd);
	free(buf);
}

static int setup_threads(void **state)
{
	engine = &aio_engine_threads;
	return 0;
}

#ifdef HAVE_LIBURING
static int setup_uring(void **state)
{
	struct aio *aio;
	int ret = aio_create(&aio_engine_uring, &aio);

	if (ret) {
		print_message("io_uring is not to be had here (%s): the threads again\n",
			      strerror(-ret));
		engine = &aio_engine_threads;
		return 0;
	}
	aio_destroy(aio);
	engine = &aio_engine_uring;
	return 0;
}
#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_random),
		cmocka_unit_test(ephemeral_random),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(bounds),
		cmocka_unit_test(odd_size),
		cmocka_unit_test(shrunk_file),
		cmocka_unit_test(who_may_open),
		cmocka_unit_test(qemu_locks),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(ephemeral_is_sparse),
		cmocka_unit_test(raw_resize),
		cmocka_unit_test(ephemeral_resize),
		cmocka_unit_test(direct),
		cmocka_unit_test(rate_limits),
		cmocka_unit_test(zeroes_by_writing),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/disk", dir);
	failed = cmocka_run_group_tests_name("disks, threads", tests, setup_threads, NULL);
#ifdef HAVE_LIBURING
	failed += cmocka_run_group_tests_name("disks, io_uring", tests, setup_uring, NULL);
#endif
	unlink(path);
	rmdir(dir);
	return failed;
}
