/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Raw images: a regular file or block device whose bytes are the disk's bytes.
 *
 * A file whose size is not a multiple of 512 is rounded up: the bytes that are missing read as
 * zero, and the file grows to the full sector when the guest writes there. Host I/O goes through
 * the page cache, so guest memory needs no alignment; a flush is an fdatasync.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/block/format.h"
#include "vmm/util.h"

#define ZERO_CHUNK	(64u * 1024)
#define ZERO_IOVS	16

struct raw {
	struct block block;
	int fd;
	int direct_fd;		/* the same past the host's page cache, or -1 */
};

/* The source of zeroes where the host cannot make a range zero by itself. Never written. */
static char zero_chunk[ZERO_CHUNK];

static struct block_request *to_request(struct aio_request *aio)
{
	return container_of(aio, struct block_request, aio);
}

static struct raw *to_raw(struct block *block)
{
	return container_of(block, struct raw, block);
}

/*
 * The host transferred @res bytes of a read or write: less than asked at the end of the file, when
 * a signal came, or when it was more than one system call moves.
 */
static void transfer_done(struct aio_request *aio, ssize_t res)
{
	struct block_request *req = to_request(aio);
	int fd = to_raw(req->block)->fd;

	/* What is left, or what the file system does not want past its cache, goes through it. */
	if (aio->fd != fd && (res == -EINVAL || (res > 0 && (uint64_t)res < req->left))) {
		aio->fd = fd;
		res = res < 0 ? 0 : res;
		req->left -= (uint64_t)res;
		aio->offset += (uint64_t)res;
		iov_advance(&aio->iov, &aio->iovcnt, (uint64_t)res);
		aio_submit(req->block->aio, aio);
		return;
	}
	if (res < 0) {
		block_finish(req, (int)res);
		return;
	}
	if (!res) {
		if (req->op != BLOCK_READ) {
			block_finish(req, -EIO);
			return;
		}
		iov_zero(aio->iov, aio->iovcnt, req->left);
		block_finish(req, 0);
		return;
	}
	if ((uint64_t)res >= req->left) {
		block_finish(req, 0);
		return;
	}
	req->left -= (uint64_t)res;
	aio->offset += (uint64_t)res;
	iov_advance(&aio->iov, &aio->iovcnt, (uint64_t)res);
	aio_submit(req->block->aio, aio);
}

static void sync_done(struct aio_request *aio, ssize_t res)
{
	struct block_request *req = to_request(aio);

	/* What cannot be synced (a pipe-like device) has nothing to lose. */
	block_finish(req, res == -EINVAL || res == -EROFS ? 0 : (int)res);
}

static void write_zero_chunk(struct block_request *req);

static void zero_chunk_done(struct aio_request *aio, ssize_t res)
{
	struct block_request *req = to_request(aio);

	if (res > 0 && (uint64_t)res < req->left) {
		req->left -= (uint64_t)res;
		aio->offset += (uint64_t)res;
		write_zero_chunk(req);
		return;
	}
	free(req->priv);
	block_finish(req, res < 0 ? (int)res : res ? 0 : -EIO);
}

static void write_zero_chunk(struct block_request *req)
{
	struct iovec *iov = req->priv;
	uint64_t left = req->left;
	unsigned int n;

	for (n = 0; n < ZERO_IOVS && left; n++) {
		iov[n].iov_base = zero_chunk;
		iov[n].iov_len = left < ZERO_CHUNK ? left : ZERO_CHUNK;
		left -= iov[n].iov_len;
	}
	req->aio.op = AIO_WRITE;
	req->aio.iov = iov;
	req->aio.iovcnt = n;
	req->aio.done = zero_chunk_done;
	aio_submit(req->block->aio, &req->aio);
}

static bool unsupported(ssize_t res)
{
	/* EINVAL: a device whose own blocks are larger than the range. */
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -ENODEV ||
	       res == -ENOTTY;
}

/* Tries a hole, then zeroing the range, then writes zeroes; a discard ends with the first. */
static void fallocate_done(struct aio_request *aio, ssize_t res)
{
	struct block_request *req = to_request(aio);

	if (!unsupported(res)) {
		block_finish(req, (int)res);
		return;
	}
	if (req->op == BLOCK_DISCARD) {
		block_finish(req, 0);
		return;
	}
	if (aio->mode & FALLOC_FL_PUNCH_HOLE) {
		aio->mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		aio_submit(req->block->aio, aio);
		return;
	}
	req->priv = malloc(ZERO_IOVS * sizeof(struct iovec));
	if (!req->priv) {
		block_finish(req, -ENOMEM);
		return;
	}
	write_zero_chunk(req);
}

static void raw_submit(struct block *block, struct block_request *req)
{
	struct aio_request *aio = &req->aio;

	req->left = req->length;
	*aio = (struct aio_request){
		.fd = to_raw(block)->fd,
		.offset = req->offset,
		.length = req->length,
		.iov = req->iov,
		.iovcnt = req->iovcnt,
	};
	switch (req->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		aio->op = req->op == BLOCK_READ ? AIO_READ : AIO_WRITE;
		if (to_raw(block)->direct_fd >= 0 &&
		    block_can_be_direct(req->iov, req->iovcnt, req->offset))
			aio->fd = to_raw(block)->direct_fd;
		aio->done = transfer_done;
		break;
	case BLOCK_FLUSH:
		aio->op = AIO_SYNC;
		aio->done = sync_done;
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		aio->op = AIO_FALLOCATE;
		aio->mode = FALLOC_FL_KEEP_SIZE;
		aio->mode |= req->op == BLOCK_DISCARD || req->may_unmap ? FALLOC_FL_PUNCH_HOLE :
									  FALLOC_FL_ZERO_RANGE;
		aio->done = fallocate_done;
		break;
	}
	aio_submit(block->aio, aio);
}

/* The size of an open file or device, in bytes as they are. Returns 0 or -errno. */
static int host_size(int fd, uint64_t *size, bool *device)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*device = S_ISBLK(st.st_mode);
	*size = (uint64_t)st.st_size;
	if (S_ISREG(st.st_mode))
		return 0;
	if (!*device)
		return -EINVAL;
	return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
}

static int raw_resize(struct block *block, uint64_t size, struct vmm_error *error)
{
	struct raw *raw = to_raw(block);
	uint64_t is;
	bool device;
	int ret = host_size(raw->fd, &is, &device);

	/* A device of the host's has the size that it has: we may use as much of it. */
	if (!ret && device)
		return size <= is ? 0 :
		       vmm_fail(error, -ENOSPC, "the host's device has only %llu bytes",
				(unsigned long long)is);
	if (!ret && ftruncate(raw->fd, (off_t)size))
		ret = -errno;
	return ret ? vmm_fail(error, ret, "%s", strerror(-ret)) : 0;
}

static void raw_close(struct block *block)
{
	struct raw *raw = to_raw(block);

	close(raw->fd);
	if (raw->direct_fd >= 0)
		close(raw->direct_fd);
	free(raw);
}

static const struct block_ops raw_ops = {
	.format = "raw",
	.submit = raw_submit,
	.resize = raw_resize,
	.close = raw_close,
};

/* Finds out the size and block size of an open file or device. */
static int measure(struct raw *raw, const char *path, struct vmm_error *error)
{
	unsigned int pbs = 4096;
	uint64_t size;
	bool device;
	int ret = host_size(raw->fd, &size, &device);

	if (ret == -EINVAL)
		return vmm_fail(error, -EINVAL,
				"disk %s: neither a regular file nor a block device", path);
	if (ret)
		return vmm_fail(error, ret, "disk %s: cannot find out its size: %s", path,
				strerror(-ret));
	if (device) {
		if (ioctl(raw->fd, BLKPBSZGET, &pbs) || pbs < BLOCK_SECTOR_SIZE || pbs & (pbs - 1))
			pbs = BLOCK_SECTOR_SIZE;
	}
	raw->block.physical_block_size = pbs;
	raw->block.discard_block_size = pbs;
	if (!size)
		return vmm_fail(error, -EINVAL,
				"disk %s: it is empty; give it a size, as with truncate -s 4G",
				path);
	raw->block.size = (size + BLOCK_SECTOR_SIZE - 1) & ~(uint64_t)(BLOCK_SECTOR_SIZE - 1);
	return 0;
}

static int open_failed(int ret, const char *path, bool read_only, struct vmm_error *error)
{
	if (!read_only && (ret == -EACCES || ret == -EPERM || ret == -EROFS))
		return vmm_fail(error, ret,
				"disk %s: %s; options readonly and ephemeral do without writing",
				path, strerror(-ret));
	if (ret == -EBUSY)
		return vmm_fail(error, ret, "disk %s: in use: the host has it mounted or claimed",
				path);
	if (ret == -EISDIR || ret == -ENXIO)
		return vmm_fail(error, ret, "disk %s: neither a regular file nor a block device",
				path);
	return vmm_fail(error, ret, "disk %s: %s", path, strerror(-ret));
}

int raw_open(struct aio *aio, const char *path, bool read_only, bool direct, struct block **out,
	     struct vmm_error *error)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	struct raw *raw;
	struct stat st;
	int ret;

	/*
	 * On a block device O_EXCL asks the host's kernel for sole use: it says no while the device
	 * or a partition of it is mounted. On files the flag means nothing without O_CREAT.
	 */
	if (!read_only && !stat(path, &st) && S_ISBLK(st.st_mode))
		flags |= O_EXCL;

	raw = calloc(1, sizeof(*raw));
	if (!raw)
		return vmm_fail(error, -ENOMEM, "disk %s: out of memory", path);
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. Files and disks ignore it. */
	raw->fd = open(path, flags | O_NONBLOCK);
	if (raw->fd < 0) {
		ret = open_failed(-errno, path, read_only, error);
		goto out_free;
	}
	ret = measure(raw, path, error);
	if (ret)
		goto out_close;

	ret = image_lock(raw->fd, read_only ? IMAGE_LOCK_READ : IMAGE_LOCK_WRITE);
	if (ret == -EBUSY) {
		vmm_fail(error, ret, "disk %s: in use by another program%s", path,
			 read_only ? " that may write to it" : "");
		goto out_close;
	}
	if (ret) {
		vmm_fail(error, ret, "disk %s: cannot lock it: %s", path, strerror(-ret));
		goto out_close;
	}
	raw->direct_fd = direct ? block_open_direct(raw->fd) : -1;
	if (direct && raw->direct_fd < 0) {
		ret = vmm_fail(error, raw->direct_fd, "disk %s: the file system does nothing past "
			       "its cache (%s): leave out direct", path, strerror(-raw->direct_fd));
		goto out_close;
	}

	raw->block.ops = &raw_ops;
	raw->block.aio = aio;
	raw->block.read_only = read_only;
	*out = &raw->block;
	return 0;

out_close:
	close(raw->fd);
out_free:
	free(raw);
	return ret;
}

/* Opens a file without a name in @dir. Returns the descriptor or -errno. */
static int open_unnamed(const char *dir)
{
	char path[PATH_MAX];
	int fd;

	fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* File systems without O_TMPFILE: make a name and take it away. */
	if (snprintf(path, sizeof(path), "%s/anykvm-XXXXXX", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int raw_open_scratch(struct aio *aio, uint64_t size, struct block **out, struct vmm_error *error)
{
	const char *dir = getenv("TMPDIR");
	struct raw *raw;
	int ret;

	raw = calloc(1, sizeof(*raw));
	if (!raw)
		return vmm_fail(error, -ENOMEM, "ephemeral disk: out of memory");
	/* Not /tmp, which is often kept in memory. */
	if (!dir || !*dir)
		dir = "/var/tmp";
	raw->fd = open_unnamed(dir);
	if (raw->fd < 0) {
		ret = vmm_fail(error, raw->fd,
			       "ephemeral disk: cannot make a file in %s: %s; "
			       "set TMPDIR to another directory", dir, strerror(-raw->fd));
		goto out_free;
	}
	if (ftruncate(raw->fd, (off_t)size)) {
		ret = -errno;
		vmm_fail(error, ret,
			 "ephemeral disk: cannot make a sparse file of %llu bytes in %s: %s; "
			 "set TMPDIR to another directory",
			 (unsigned long long)size, dir, strerror(-ret));
		goto out_close;
	}
	raw->direct_fd = -1;
	raw->block.ops = &raw_ops;
	raw->block.aio = aio;
	raw->block.size = size;
	raw->block.physical_block_size = 4096;
	raw->block.discard_block_size = 4096;
	*out = &raw->block;
	return 0;

out_close:
	close(raw->fd);
out_free:
	free(raw);
	return ret;
}
