/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * FUSE operations on what is open. See fs_server.h.
 *
 * Data goes between the file and guest memory without a copy of ours. Positions are the guest's:
 * each request names its offset, and a descriptor's own position is used for directories only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vmm/block/block.h"
#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/fs/fs_server.h"

#define DIRECTORY_BUFFER	(16u << 10)
/* What one request moves or copies at most, however much it asks for. The guest asks again. */
#define MAX_TRANSFER		(FS_MAX_PAGES * 4096u)
#define MAX_COPY		(16u << 20)

int fs_open_flags(const struct fs *fs, uint32_t flags)
{
	int access = (int)flags & O_ACCMODE;

	if (access == O_ACCMODE)
		return -EINVAL;
	if (fs->readonly && (access != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	/*
	 * O_APPEND is in every write that wants it, and past the host's page cache nothing goes.
	 * O_NONBLOCK keeps an open from waiting for somebody's lease.
	 */
	return access | ((int)flags & (O_TRUNC | O_SYNC)) | O_NONBLOCK | O_NOCTTY;
}

void fs_kill_privileges(struct fs *fs, int fd)
{
	struct stat st;

	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && !fs_mode_allowed(S_IFREG, st.st_mode))
		(void)!fchmod(fd, st.st_mode & 07777 & ~(mode_t)(S_ISUID | S_ISGID));
}

/* ------------------------------------------------------------------ opening and closing */

static int open_node(struct fs_request *r, int flags, bool directory)
{
	uint64_t handle;
	int fd, ret;

	fd = fs_reopen(r->fs, r->node->fd, flags);
	if (fd < 0)
		return fd;
	ret = fs_handle_create(r->fs, fd, directory, &handle);
	if (ret)
		return ret;
	r->reply.open = (struct fuse_open_out){ .fh = handle };
	r->reply_size = sizeof(r->reply.open);
	return 0;
}

int fs_open(struct fs_request *r)
{
	struct fuse_open_in in;
	int flags;

	memcpy(&in, r->args, sizeof(in));
	flags = fs_open_flags(r->fs, in.flags);
	if (flags < 0)
		return flags;
	/* Pipes, sockets and devices are opened by the guest's kernel, as its own. */
	if (r->node->type != S_IFREG)
		return r->node->type == S_IFDIR ? -EISDIR : -ENXIO;
	if (in.open_flags & FUSE_OPEN_KILL_SUIDGID && flags & O_TRUNC) {
		int fd = fs_reopen(r->fs, r->node->fd, O_RDONLY | O_NONBLOCK | O_NOCTTY);

		if (fd >= 0) {
			fs_kill_privileges(r->fs, fd);
			close(fd);
		}
	}
	return open_node(r, flags, false);
}

int fs_opendir(struct fs_request *r)
{
	if (r->node->type != S_IFDIR)
		return -ENOTDIR;
	return open_node(r, O_RDONLY | O_DIRECTORY, true);
}

int fs_release(struct fs_request *r)
{
	struct fuse_release_in in;

	memcpy(&in, r->args, sizeof(in));
	return fs_handle_release(r->fs, in.fh);
}

/* ------------------------------------------------------------------ reading and writing */

static struct fs_handle *get_file(struct fs_request *r, uint64_t number)
{
	struct fs_handle *handle = fs_handle_get(r->fs, number);

	if (handle && handle->directory) {
		fs_handle_put(r->fs, handle);
		return NULL;
	}
	return handle;
}

/*
 * Moves size bytes between a file at offset and the part of a vector that begins at skip. Returns
 * the bytes moved, fewer at the file's end, where something failed on the way, or where it is more
 * than the guest was told to ask for; -errno where nothing was moved.
 */
static int64_t transfer(int fd, bool write, bool append, uint64_t offset, const struct iovec *iov,
			unsigned int count, uint64_t skip, uint64_t size)
{
	struct iovec slice[VIRTQUEUE_MAX_IOV];
	uint64_t done = 0;

	if (size > MAX_TRANSFER)
		size = MAX_TRANSFER;
	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return -EINVAL;
	while (done < size) {
		unsigned int n = iov_slice(slice, iov, count, skip + done, size - done);
		off_t at = (off_t)(offset + done);
		ssize_t ret = write ? pwritev2(fd, slice, (int)n, at, append ? RWF_APPEND : 0) :
				      preadv(fd, slice, (int)n, at);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0 && !done)
			return -errno;
		if (ret <= 0)
			break;
		done += (uint64_t)ret;
	}
	return (int64_t)done;
}

int fs_read(struct fs_request *r)
{
	struct fs_handle *handle;
	struct fuse_read_in in;
	int64_t ret;

	memcpy(&in, r->args, sizeof(in));
	handle = get_file(r, in.fh);
	if (!handle)
		return -EBADF;
	ret = transfer(handle->fd, false, false, in.offset, r->in, r->in_count,
		       sizeof(struct fuse_out_header), in.size < r->in_room ? in.size : r->in_room);
	fs_handle_put(r->fs, handle);
	if (ret < 0)
		return (int)ret;
	r->written = true;
	r->reply_size = (size_t)ret;
	return 0;
}

int fs_write(struct fs_request *r)
{
	struct fs_handle *handle;
	struct fuse_write_in in;
	bool append;
	int64_t ret;

	memcpy(&in, r->args, sizeof(in));
	if (in.size > r->data_size)
		return -EINVAL;
	handle = get_file(r, in.fh);
	if (!handle)
		return -EBADF;
	/* Written back from the page cache, it has its place already. */
	append = in.flags & O_APPEND && !(in.write_flags & FUSE_WRITE_CACHE);
	ret = transfer(handle->fd, true, append, in.offset, r->out, r->out_count,
		       sizeof(r->header) + sizeof(in), in.size);
	if (ret > 0 && in.write_flags & FUSE_WRITE_KILL_SUIDGID)
		fs_kill_privileges(r->fs, handle->fd);
	fs_handle_put(r->fs, handle);
	if (ret < 0)
		return (int)ret;
	r->reply.write = (struct fuse_write_out){ .size = (uint32_t)ret };
	r->reply_size = sizeof(r->reply.write);
	return 0;
}

/* close() in the guest: the host's file system may have an error to report at such a time. */
int fs_flush(struct fs_request *r)
{
	struct fs_handle *handle;
	struct fuse_flush_in in;
	int fd, ret = 0;

	memcpy(&in, r->args, sizeof(in));
	handle = fs_handle_get(r->fs, in.fh);
	if (!handle)
		return -EBADF;
	fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || close(fd))
		ret = -errno;
	fs_handle_put(r->fs, handle);
	return ret;
}

int fs_fsync(struct fs_request *r)
{
	struct fs_handle *handle;
	struct fuse_fsync_in in;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	handle = fs_handle_get(r->fs, in.fh);
	if (!handle)
		return -EBADF;
	ret = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd);
	if (ret)
		ret = -errno;
	fs_handle_put(r->fs, handle);
	return ret;
}

int fs_syncfs(struct fs_request *r)
{
	int fd = fs_reopen(r->fs, r->fs->root.fd, O_RDONLY | O_DIRECTORY);
	int ret;

	if (fd < 0)
		return fd;
	ret = syncfs(fd) ? -errno : 0;
	close(fd);
	return ret;
}

int fs_lseek(struct fs_request *r)
{
	struct fs_handle *handle;
	struct fuse_lseek_in in;
	off_t at;
	int ret = 0;

	memcpy(&in, r->args, sizeof(in));
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	handle = get_file(r, in.fh);
	if (!handle)
		return -EBADF;
	at = lseek(handle->fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		ret = -errno;
	fs_handle_put(r->fs, handle);
	r->reply.lseek = (struct fuse_lseek_out){ .offset = (uint64_t)at };
	r->reply_size = sizeof(r->reply.lseek);
	return ret;
}

int fs_fallocate(struct fs_request *r)
{
	struct fuse_fallocate_in in;
	struct fs_handle *handle;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	handle = get_file(r, in.fh);
	if (!handle)
		return -EBADF;
	ret = fallocate(handle->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) ? -errno : 0;
	fs_handle_put(r->fs, handle);
	return ret;
}

int fs_copy_file_range(struct fs_request *r)
{
	struct fuse_copy_file_range_in in;
	struct fs_handle *from, *to = NULL;
	off_t from_at, to_at;
	ssize_t done;
	int ret = 0;

	memcpy(&in, r->args, sizeof(in));
	if (in.flags)
		return -EINVAL;
	from = get_file(r, in.fh_in);
	if (from)
		to = get_file(r, in.fh_out);
	if (!to) {
		ret = -EBADF;
		goto out;
	}
	from_at = (off_t)in.off_in;
	to_at = (off_t)in.off_out;
	done = copy_file_range(from->fd, &from_at, to->fd, &to_at,
			       in.len < MAX_COPY ? in.len : MAX_COPY, 0);
	if (done < 0)
		ret = -errno;
	else
		r->reply.write = (struct fuse_write_out){ .size = (uint32_t)done };
	r->reply_size = sizeof(r->reply.write);
	fs_handle_put(r->fs, to);
out:
	if (from)
		fs_handle_put(r->fs, from);
	return ret;
}

/* ------------------------------------------------------------------ directories */

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Adds one entry to the answer. False: it does not fit, and nothing has happened. */
static bool add_entry(struct fs_request *r, const struct dirent64 *d, uint64_t room, bool plus)
{
	struct fuse_direntplus entry = { 0 };
	size_t name_length = strlen(d->d_name);
	size_t header = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	size_t length = FUSE_DIRENT_ALIGN(header + name_length);
	const uint64_t zeroes = 0;

	if (length > room - r->reply_size)
		return false;
	entry.dirent.ino = d->d_ino;
	/* What is above the directory is none of the guest's business. */
	if (r->node == &r->fs->root && !strcmp(d->d_name, ".."))
		entry.dirent.ino = r->fs->root.ino;
	entry.dirent.off = (uint64_t)d->d_off;
	entry.dirent.namelen = (uint32_t)name_length;
	entry.dirent.type = d->d_type;
	/* Node 0: there is only the name. So for what vanished meanwhile, or is a mount. */
	if (plus && !is_dots(d->d_name) &&
	    fs_lookup_name(r->fs, r->node, d->d_name, &entry.entry_out))
		memset(&entry.entry_out, 0, sizeof(entry.entry_out));
	fs_answer(r, r->reply_size, plus ? (void *)&entry : (void *)&entry.dirent, header);
	fs_answer(r, r->reply_size + header, d->d_name, name_length);
	fs_answer(r, r->reply_size + header + name_length, &zeroes, length - header - name_length);
	r->reply_size += length;
	return true;
}

static int read_entries(struct fs_request *r, struct fs_handle *handle, uint64_t offset,
			uint64_t room, bool plus)
{
	_Alignas(struct dirent64) char buffer[DIRECTORY_BUFFER];
	/* About as much as the answer can take, but always enough for one entry. */
	size_t size = room < 1024 ? 1024 : room < sizeof(buffer) ? room : sizeof(buffer);
	ssize_t length;

	if (lseek(handle->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	length = getdents64(handle->fd, buffer, size);
	if (length < 0)
		return -errno;
	r->written = true;
	for (ssize_t at = 0; at < length;) {
		const struct dirent64 *d = (const void *)(buffer + at);

		if (!add_entry(r, d, room, plus))
			return r->reply_size ? 0 : -EINVAL;
		at += d->d_reclen;
	}
	return 0;
}

static int read_directory(struct fs_request *r, bool plus)
{
	struct fs_handle *handle;
	struct fuse_read_in in;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	handle = fs_handle_get(r->fs, in.fh);
	if (!handle)
		return -EBADF;
	if (!handle->directory) {
		ret = -ENOTDIR;
		goto out;
	}
	pthread_mutex_lock(&handle->position);
	ret = read_entries(r, handle, in.offset, in.size < r->in_room ? in.size : r->in_room, plus);
	pthread_mutex_unlock(&handle->position);
out:
	fs_handle_put(r->fs, handle);
	return ret;
}

int fs_readdir(struct fs_request *r)
{
	return read_directory(r, false);
}

int fs_readdirplus(struct fs_request *r)
{
	return read_directory(r, true);
}
