/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disk images: opening a chain of them, reading through it, and the raw format.
 *
 * A file's format is found out only where nobody said it, and then only between two: what begins
 * with qcow2's magic number is qcow2, everything else raw. Who writes to a raw image can make it
 * look like anything, so a raw image that was found to be one does not let that number be written
 * to its start (image_disk.c, block.c, and raw_write() here).
 */
#include "vmm/block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/block/format.h"
#include "vmm/block/qcow2.h"

#define ZERO_CHUNK	(64u * 1024)

/* ------------------------------------------------------------------ the host's files */

int image_pread(int fd, void *buf, uint64_t length, uint64_t offset)
{
	char *p = buf;

	while (length) {
		ssize_t n = pread(fd, p, length < SSIZE_MAX ? length : SSIZE_MAX, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			memset(p, 0, length);
			return 0;
		}
		p += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

int image_pwrite(int fd, const void *buf, uint64_t length, uint64_t offset)
{
	const char *p = buf;

	while (length) {
		ssize_t n = pwrite(fd, p, length < SSIZE_MAX ? length : SSIZE_MAX, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

int image_pzero(int fd, uint64_t offset, uint64_t length, bool unmap)
{
	static const char zeroes[ZERO_CHUNK];
	struct stat st;
	int ret;

	if (!length)
		return 0;
	if (fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode) && offset + length > (uint64_t)st.st_size) {
		if (ftruncate(fd, (off_t)(offset + length)))
			return -errno;
		if (offset >= (uint64_t)st.st_size)
			return 0;
		length = (uint64_t)st.st_size - offset;
	}
	if (unmap && !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
				(off_t)length))
		return 0;
	if (!fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)length))
		return 0;
	while (length) {
		uint64_t n = length < ZERO_CHUNK ? length : ZERO_CHUNK;

		ret = image_pwrite(fd, zeroes, n, offset);
		if (ret)
			return ret;
		offset += n;
		length -= n;
	}
	return 0;
}

bool buffer_is_zero(const void *buf, size_t length)
{
	const char *p = buf;

	return !length || (!p[0] && !memcmp(p, p + 1, length - 1));
}

/* ------------------------------------------------------------------ raw */

static int raw_map(struct image *image, uint64_t offset, uint64_t length, bool wait,
		   struct image_extent *extent)
{
	off_t end;

	*extent = (struct image_extent){
		.type = EXTENT_DATA, .length = length, .host = offset, .fd = image->fd,
	};
	/* Asking the file system about holes is for those who have time. */
	if (!wait)
		return 0;
	end = lseek(image->fd, (off_t)offset, SEEK_DATA);
	if (end < 0 && errno == ENXIO) {
		extent->type = EXTENT_ZERO;
	} else if (end > (off_t)offset) {
		extent->type = EXTENT_ZERO;
		if ((uint64_t)end - offset < length)
			extent->length = (uint64_t)end - offset;
	} else if (end >= 0) {
		end = lseek(image->fd, (off_t)offset, SEEK_HOLE);
		if (end > (off_t)offset && (uint64_t)end - offset < length)
			extent->length = (uint64_t)end - offset;
	}
	extent->allocated = extent->type == EXTENT_ZERO;
	return 0;
}

static int raw_map_write(struct image *image, uint64_t offset, uint64_t length,
			 struct image_extent *extent)
{
	*extent = (struct image_extent){
		.type = EXTENT_DATA, .length = length, .host = offset, .fd = image->fd,
	};
	return 0;
}

static int raw_write(struct image *image, uint64_t offset, const void *buf, uint64_t length)
{
	if (image->probed && !offset && length >= 4 && qcow2_is_magic(buf))
		return -EPERM;
	return image_pwrite(image->fd, buf, length, offset);
}

static int raw_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap)
{
	return image_pzero(image->fd, offset, length, unmap);
}

static int raw_discard(struct image *image, uint64_t offset, uint64_t length)
{
	fallocate(image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		  (off_t)length);
	return 0;
}

static int raw_flush(struct image *image)
{
	if (fdatasync(image->fd) && errno != EINVAL && errno != EROFS)
		return -errno;
	return 0;
}

static int raw_resize(struct image *image, uint64_t size, struct vmm_error *error)
{
	if (size > INT64_MAX)
		return vmm_fail(error, -EFBIG, "image %s: the size is too large", image->path);
	if (ftruncate(image->fd, (off_t)size)) {
		int ret = -errno;

		return vmm_fail(error, ret, "image %s: cannot resize: %s", image->path,
				strerror(-ret));
	}
	image->size = size;
	return 0;
}

static int raw_close(struct image *image)
{
	free(image);
	return 0;
}

static const struct image_ops raw_image_ops = {
	.format = "raw",
	.map = raw_map,
	.map_write = raw_map_write,
	.write = raw_write,
	.zero = raw_zero,
	.discard = raw_discard,
	.flush = raw_flush,
	.resize = raw_resize,
	.close = raw_close,
};

static int open_raw(const char *path, int fd, struct image **out, struct vmm_error *error)
{
	struct image *image;
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) || (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size))) {
		int ret = -errno;

		return vmm_fail(error, ret, "image %s: cannot find out its size: %s", path,
				strerror(-ret));
	}
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	image = calloc(1, sizeof(*image));
	if (!image)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	image->ops = &raw_image_ops;
	image->size = size;
	image->cluster = 4096;
	*out = image;
	return 0;
}

/* ------------------------------------------------------------------ opening */

const char *image_format(const char *name)
{
	if (!strcmp(name, "raw"))
		return "raw";
	if (!strcmp(name, "qcow2"))
		return "qcow2";
	return NULL;
}

static const char *probe_fd(int fd)
{
	unsigned char magic[4];

	if (image_pread(fd, magic, sizeof(magic), 0))
		return NULL;
	return qcow2_is_magic(magic) ? "qcow2" : "raw";
}

const char *image_probe(const char *path)
{
	const char *format;
	struct stat st;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	errno = EINVAL;
	format = !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) ? probe_fd(fd) :
									       NULL;
	err = errno;
	close(fd);
	errno = err;
	return format;
}

char *image_relative_path(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;
	char *result;

	if (!strncmp(name, "file:", 5))
		name += 5;
	if (*name == '/')
		dir = 0;
	result = malloc(dir + strlen(name) + 1);
	if (result) {
		memcpy(result, path, dir);
		strcpy(result + dir, name);
	}
	return result;
}

/* The images that lead to the one being opened, so that none of them is opened again. */
struct chain {
	const struct chain *front;
	dev_t dev;
	ino_t ino;
	unsigned int depth;
};

static int open_one(const char *path, const char *format, unsigned int flags,
		    const struct chain *front, struct image **out, struct vmm_error *error);

static int open_backing(struct image *image, const struct chain *chain, struct vmm_error *error)
{
	const char *format = image->backing_format;
	char *path;
	int ret;

	if (!image->backing_name || image->flags & IMAGE_NO_BACKING)
		return 0;
	if (!strncmp(image->backing_name, "json:", 5) || strstr(image->backing_name, "://"))
		return vmm_fail(error, -ENOTSUP,
				"image %s: its backing file '%s' is not a file name; "
				"rebase it onto a file", image->path, image->backing_name);
	if (format && !image_format(format))
		return vmm_fail(error, -ENOTSUP,
				"image %s: its backing file has the format '%s'; "
				"there are only raw and qcow2", image->path, format);
	path = image_relative_path(image->path, image->backing_name);
	if (!path)
		return vmm_fail(error, -ENOMEM, "image %s: out of memory", image->path);
	ret = open_one(path, format, image->flags & IMAGE_NO_LOCK, chain, &image->backing, error);
	free(path);
	return ret;
}

static int open_file(const char *path, unsigned int flags, struct chain *chain,
		     struct vmm_error *error)
{
	int oflags = (flags & IMAGE_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	struct stat st;
	int fd, ret;

	if (flags & IMAGE_WRITE && !stat(path, &st) && S_ISBLK(st.st_mode))
		oflags |= O_EXCL;	/* not while the host has it mounted */
	fd = open(path, oflags);
	if (fd < 0) {
		ret = -errno;
		return vmm_fail(error, ret, "image %s: %s", path, strerror(-ret));
	}
	if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		ret = vmm_fail(error, -EINVAL,
			       "image %s: neither a regular file nor a block device", path);
		goto out;
	}
	chain->dev = st.st_dev;
	chain->ino = st.st_ino;
	for (const struct chain *front = chain->front; front; front = front->front) {
		if (front->dev != st.st_dev || front->ino != st.st_ino)
			continue;
		ret = vmm_fail(error, -ELOOP, "image %s: it is based on itself: its chain of "
			       "backing files is a loop", path);
		goto out;
	}
	ret = flags & IMAGE_NO_LOCK ? 0 :
	      image_lock(fd, flags & IMAGE_WRITE ? IMAGE_LOCK_WRITE : IMAGE_LOCK_READ);
	if (ret == -EBUSY)
		vmm_fail(error, ret, "image %s: in use by another program%s", path,
			 flags & IMAGE_WRITE ? "" : " that may write to it");
	else if (ret)
		vmm_fail(error, ret, "image %s: cannot lock it: %s", path, strerror(-ret));
out:
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int open_one(const char *path, const char *format, unsigned int flags,
		    const struct chain *front, struct image **out, struct vmm_error *error)
{
	struct chain chain = { .front = front, .depth = front ? front->depth + 1 : 0 };
	bool probed = !format;
	struct image *image;
	int fd, ret;

	if (chain.depth >= IMAGE_MAX_CHAIN)
		return vmm_fail(error, -ELOOP, "image %s: more than %d images behind one another",
				path, IMAGE_MAX_CHAIN);
	fd = open_file(path, flags, &chain, error);
	if (fd < 0)
		return fd;
	if (probed) {
		format = probe_fd(fd);
		if (!format) {
			ret = vmm_fail(error, -EIO, "image %s: cannot be read", path);
			goto out_close;
		}
	}
	if (!strcmp(format, "qcow2"))
		ret = qcow2_open(path, fd, flags, &image, error);
	else
		ret = open_raw(path, fd, &image, error);
	if (ret)
		goto out_close;
	image->fd = fd;
	image->flags = flags;
	image->probed = probed;
	image->path = strdup(path);
	ret = image->path ? open_backing(image, &chain, error) :
			    vmm_fail(error, -ENOMEM, "image %s: out of memory", path);
	if (!ret && image->ops == &qcow2_image_ops)
		ret = qcow2_prepare(image, error);
	if (ret) {
		/* Nothing was changed; closing must change nothing either. */
		image->flags &= ~(unsigned int)IMAGE_WRITE;
		image_close(image);
		return ret;
	}
	*out = image;
	return 0;

out_close:
	close(fd);
	return ret;
}

int image_open(const char *path, const char *format, unsigned int flags, struct image **out,
	       struct vmm_error *error)
{
	return open_one(path, format, flags, NULL, out, error);
}

int image_close(struct image *image)
{
	int result = 0;

	while (image) {
		struct image *backing = image->backing;
		int fd = image->fd;
		int ret;

		free(image->path);
		free(image->backing_name);
		free(image->backing_format);
		ret = image->ops->close(image);
		if (!result)
			result = ret;
		close(fd);
		image = backing;
	}
	return result;
}

/* ------------------------------------------------------------------ reading and writing */

int image_read(struct image *image, uint64_t offset, void *buf, uint64_t length)
{
	char *p = buf;
	int ret = 0;

	while (length && !ret) {
		struct image *at = image;
		struct image_extent e = { .type = EXTENT_ABSENT, .length = length };

		while (at) {
			uint64_t left = e.length;

			/* A backing file may be shorter: zeroes follow it. */
			if (offset >= at->size) {
				e.type = EXTENT_ZERO;
				break;
			}
			if (left > at->size - offset)
				left = at->size - offset;
			ret = at->ops->map(at, offset, left, true, &e);
			if (ret)
				return ret;
			if (e.type != EXTENT_ABSENT)
				break;
			at = at->backing;
		}
		if (e.type == EXTENT_DATA)
			ret = image_pread(e.fd, p, e.length, e.host);
		else if (e.type == EXTENT_COMPRESSED)
			ret = at->ops->read_compressed(at, offset, p, e.length);
		else
			memset(p, 0, e.length);
		p += e.length;
		offset += e.length;
		length -= e.length;
	}
	return ret;
}

int image_map(struct image *image, uint64_t offset, uint64_t length, struct image_extent *extent,
	      unsigned int *depth, bool *present)
{
	int ret;

	*depth = 0;
	*present = true;
	*extent = (struct image_extent){ .length = length };
	for (; image; image = image->backing, (*depth)++) {
		if (offset >= image->size)
			break;
		if (length > image->size - offset)
			length = image->size - offset;
		ret = image->ops->map(image, offset, length, true, extent);
		if (ret || extent->type != EXTENT_ABSENT)
			return ret;
		length = extent->length;
	}
	extent->type = EXTENT_ZERO;
	extent->allocated = false;
	*present = false;
	return 0;
}

static int writable(const struct image *image, uint64_t offset, uint64_t length)
{
	if (!(image->flags & IMAGE_WRITE))
		return -EROFS;
	if (offset > image->size || length > image->size - offset)
		return -ERANGE;
	return 0;
}

int image_write(struct image *image, uint64_t offset, const void *buf, uint64_t length)
{
	int ret = writable(image, offset, length);

	return ret ? ret : image->ops->write(image, offset, buf, length);
}

int image_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap)
{
	int ret = writable(image, offset, length);

	return ret ? ret : image->ops->zero(image, offset, length, unmap);
}

int image_discard(struct image *image, uint64_t offset, uint64_t length)
{
	int ret = writable(image, offset, length);

	return ret ? ret : image->ops->discard(image, offset, length);
}

int image_flush(struct image *image)
{
	return image->flags & IMAGE_WRITE ? image->ops->flush(image) : 0;
}

int image_resize(struct image *image, uint64_t size, struct vmm_error *error)
{
	return image->ops->resize(image, size, error);
}
