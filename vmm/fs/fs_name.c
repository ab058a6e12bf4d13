/* SPDX-License-Identifier: GPL-2.0-only */
/* FUSE operations on names and attributes. See fs_server.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "vmm/fs/fs_server.h"

/* How long the guest may believe what it was told, in seconds: changes made on the host are seen
 * that much later. */
#define VALID		1

#define USER_XATTR	"user."
#define MAX_XATTR	(64u << 10)

/* ------------------------------------------------------------------ attributes */

static void fill_entry(struct fs *fs, uint64_t number, const struct stat *st,
		       struct fuse_entry_out *entry)
{
	*entry = (struct fuse_entry_out){
		.nodeid = number, .entry_valid = VALID, .attr_valid = VALID,
	};
	fs_fill_attr(fs, st, &entry->attr);
}

/* Gives the guest the file behind an O_PATH descriptor, which is taken over. */
static int enter(struct fs *fs, int fd, struct fuse_entry_out *entry)
{
	uint64_t number;
	struct stat st;
	int ret;

	if (fstat(fd, &st)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	ret = fs_node_enter(fs, fd, &st, &number);
	if (!ret)
		fill_entry(fs, number, &st, entry);
	return ret;
}

int fs_lookup_name(struct fs *fs, struct fs_node *directory, const char *name,
		   struct fuse_entry_out *entry)
{
	int fd = fs_open_child(fs, directory->fd, name, O_PATH, 0);

	return fd < 0 ? fd : enter(fs, fd, entry);
}

int fs_lookup(struct fs_request *r)
{
	r->reply_size = sizeof(r->reply.entry);
	return fs_lookup_name(r->fs, r->node, r->names[0], &r->reply.entry);
}

int fs_getattr(struct fs_request *r)
{
	struct stat st;

	if (fstat(r->node->fd, &st))
		return -errno;
	r->reply.attr = (struct fuse_attr_out){ .attr_valid = VALID };
	fs_fill_attr(r->fs, &st, &r->reply.attr.attr);
	r->reply_size = sizeof(r->reply.attr);
	return 0;
}

static int change_mode(struct fs *fs, int fd, mode_t mode)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	return fchmodat(fs->proc_fd, number, mode & 07777, 0) ? -errno : 0;
}

static int change_owner(struct fs *fs, int fd, uint32_t guest_uid, uint32_t guest_gid)
{
	uid_t uid;
	gid_t gid;
	int ret = fs_host_owner(fs, guest_uid, guest_gid, &uid, &gid);

	if (ret)
		return ret;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) ? -errno : 0;
}

static int change_size(struct fs_request *r, const struct fuse_setattr_in *in)
{
	struct fs_handle *handle = NULL;
	int fd, ret = 0;

	if (r->node->type != S_IFREG)
		return r->node->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (in->valid & FATTR_FH) {
		handle = fs_handle_get(r->fs, in->fh);
		if (!handle)
			return -EBADF;
		fd = handle->fd;
	} else {
		fd = fs_reopen(r->fs, r->node->fd, O_WRONLY | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			return fd;
	}
	if (ftruncate(fd, (off_t)in->size))
		ret = -errno;
	else if (in->valid & FATTR_KILL_SUIDGID)
		fs_kill_privileges(r->fs, fd);
	if (handle)
		fs_handle_put(r->fs, handle);
	else
		close(fd);
	return ret;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds,
			       uint32_t nanoseconds)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (valid & set)
		return (struct timespec){ (time_t)seconds, nanoseconds };
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int change_times(struct fs *fs, int fd, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	return utimensat(fs->proc_fd, number, times, 0) ? -errno : 0;
}

int fs_setattr(struct fs_request *r)
{
	struct fuse_setattr_in in;
	int fd = r->node->fd;
	int ret = 0;

	memcpy(&in, r->args, sizeof(in));
	if (in.valid & FATTR_MODE) {
		if (!fs_mode_allowed(r->node->type, in.mode))
			return -EPERM;
		ret = change_mode(r->fs, fd, in.mode);
	}
	if (!ret && in.valid & (FATTR_UID | FATTR_GID))
		ret = change_owner(r->fs, fd, in.valid & FATTR_UID ? in.uid : UINT32_MAX,
				   in.valid & FATTR_GID ? in.gid : UINT32_MAX);
	if (!ret && in.valid & FATTR_SIZE)
		ret = change_size(r, &in);
	if (!ret && in.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
		ret = change_times(r->fs, fd, &in);
	return ret ? ret : fs_getattr(r);
}

int fs_statfs(struct fs_request *r)
{
	struct statvfs st;

	if (fstatvfs(r->node->fd, &st))
		return -errno;
	r->reply.statfs.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks, .bfree = st.f_bfree, .bavail = st.f_bavail,
		.files = st.f_files, .ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize, .frsize = (uint32_t)st.f_frsize,
		.namelen = (uint32_t)st.f_namemax,
	};
	r->reply_size = sizeof(r->reply.statfs);
	return 0;
}

/* ------------------------------------------------------------------ new files */

/*
 * A file just made gets the owner that asked for it and the mode that it asked for, which this
 * process's own umask may have cut down; in a directory with S_ISGID, the kernel has seen to the
 * group already.
 */
static int settle_owner_and_mode(struct fs_request *r, int fd, mode_t mode)
{
	struct fs *fs = r->fs;
	struct stat st, parent;
	int ret = 0;

	if (fstat(fd, &st) || fstat(r->node->fd, &parent))
		return -errno;
	if (!fs->map_owners) {
		uint32_t gid = parent.st_mode & S_ISGID ? st.st_gid : r->header.gid;

		if (st.st_uid != r->header.uid || st.st_gid != gid)
			ret = change_owner(fs, fd, r->header.uid, gid);
	}
	if (S_ISDIR(st.st_mode))
		mode |= st.st_mode & S_ISGID;
	if (!ret && !S_ISLNK(st.st_mode) && (st.st_mode ^ mode) & 07777)
		ret = change_mode(fs, fd, mode);
	return ret;
}

/* The answer to what made a name. Takes it away again where that fails. */
static int enter_new(struct fs_request *r, mode_t mode, bool directory)
{
	int fd = fs_open_child(r->fs, r->node->fd, r->names[0], O_PATH, 0);
	int ret = fd < 0 ? fd : settle_owner_and_mode(r, fd, mode);

	if (!ret) {
		ret = enter(r->fs, fd, &r->reply.entry);
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	if (ret)
		unlinkat(r->node->fd, r->names[0], directory ? AT_REMOVEDIR : 0);
	r->reply_size = sizeof(r->reply.entry);
	return ret;
}

int fs_mknod(struct fs_request *r)
{
	struct fuse_mknod_in in;
	mode_t type;

	memcpy(&in, r->args, sizeof(in));
	type = in.mode & S_IFMT ? in.mode & S_IFMT : S_IFREG;
	/* Pipes and sockets are names only; a device node would be a way to the host's devices. */
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM;
	if (!fs_mode_allowed(type, in.mode))
		return -EPERM;
	if (mknodat(r->node->fd, r->names[0], type | (in.mode & 07777), 0))
		return -errno;
	return enter_new(r, in.mode & 07777, false);
}

int fs_mkdir(struct fs_request *r)
{
	struct fuse_mkdir_in in;

	memcpy(&in, r->args, sizeof(in));
	if (mkdirat(r->node->fd, r->names[0], in.mode & 07777))
		return -errno;
	return enter_new(r, in.mode & 07777, true);
}

int fs_symlink(struct fs_request *r)
{
	if (symlinkat(r->names[1], r->node->fd, r->names[0]))
		return -errno;
	return enter_new(r, 0777, false);
}

int fs_readlink(struct fs_request *r)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(r->node->fd, "", target, sizeof(target));

	if (length < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	if (!fs_answer(r, 0, target, (size_t)length))
		return -ENAMETOOLONG;
	r->written = true;
	r->reply_size = (size_t)length;
	return 0;
}

int fs_link_file(struct fs_request *r)
{
	struct fuse_link_in in;
	struct fs_node *old;
	char number[16];
	int ret = 0;

	memcpy(&in, r->args, sizeof(in));
	old = fs_node_get(r->fs, in.oldnodeid);
	if (!old)
		return -ESTALE;
	snprintf(number, sizeof(number), "%d", old->fd);
	if (linkat(r->fs->proc_fd, number, r->node->fd, r->names[0], AT_SYMLINK_FOLLOW))
		ret = -errno;
	fs_node_put(r->fs, old);
	return ret ? ret : fs_lookup(r);
}

/* Opens what is there already, for FUSE_CREATE without O_EXCL. */
static int open_existing(struct fs_request *r, int flags, int *path_fd)
{
	struct stat st;
	int fd = fs_open_child(r->fs, r->node->fd, r->names[0], O_PATH, 0);
	int ret;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode))
		ret = S_ISDIR(st.st_mode) ? -EISDIR : -EEXIST;
	else
		ret = fs_reopen(r->fs, fd, flags);
	if (ret < 0)
		close(fd);
	else
		*path_fd = fd;
	return ret;
}

static int open_new(struct fs_request *r, int flags, mode_t mode, int *path_fd)
{
	int fd = fs_open_child(r->fs, r->node->fd, r->names[0],
			       (flags & ~O_TRUNC) | O_CREAT | O_EXCL, mode);
	int ret;

	if (fd < 0)
		return fd;
	*path_fd = fs_reopen(r->fs, fd, O_PATH);
	ret = *path_fd < 0 ? *path_fd : settle_owner_and_mode(r, *path_fd, mode);
	if (!ret)
		return fd;
	if (*path_fd >= 0)
		close(*path_fd);
	close(fd);
	unlinkat(r->node->fd, r->names[0], 0);
	return ret;
}

int fs_create_file(struct fs_request *r)
{
	struct fuse_create_in in;
	int flags, fd, path_fd;
	uint64_t handle;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	flags = fs_open_flags(r->fs, in.flags);
	if (flags < 0)
		return flags;
	if (!fs_mode_allowed(S_IFREG, in.mode))
		return -EPERM;
	fd = open_new(r, flags, in.mode & 07777, &path_fd);
	if (fd == -EEXIST && !(in.flags & O_EXCL))
		fd = open_existing(r, flags, &path_fd);
	if (fd < 0)
		return fd;
	ret = enter(r->fs, path_fd, &r->reply.create.entry);
	if (ret) {
		close(fd);
		return ret;
	}
	ret = fs_handle_create(r->fs, fd, false, &handle);
	if (ret) {
		fs_node_forget(r->fs, r->reply.create.entry.nodeid, 1);
		return ret;
	}
	r->reply.create.open = (struct fuse_open_out){ .fh = handle };
	r->reply_size = sizeof(r->reply.create);
	return 0;
}

/* ------------------------------------------------------------------ names that go */

int fs_unlink(struct fs_request *r)
{
	return unlinkat(r->node->fd, r->names[0], 0) ? -errno : 0;
}

int fs_rmdir(struct fs_request *r)
{
	return unlinkat(r->node->fd, r->names[0], AT_REMOVEDIR) ? -errno : 0;
}

static int do_rename(struct fs_request *r, uint64_t directory, unsigned int flags)
{
	struct fs_node *to;
	int ret = 0;

	/* A whiteout is a device node. */
	if (flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	to = fs_node_get(r->fs, directory);
	if (!to)
		return -ESTALE;
	if (renameat2(r->node->fd, r->names[0], to->fd, r->names[1], flags))
		ret = -errno;
	fs_node_put(r->fs, to);
	return ret;
}

int fs_rename(struct fs_request *r)
{
	struct fuse_rename_in in;

	memcpy(&in, r->args, sizeof(in));
	return do_rename(r, in.newdir, 0);
}

int fs_rename2(struct fs_request *r)
{
	struct fuse_rename2_in in;

	memcpy(&in, r->args, sizeof(in));
	return do_rename(r, in.newdir, in.flags);
}

/* ------------------------------------------------------------------ extended attributes */

/* The others mean something to the host's kernel: capabilities of programs, access control. */
static bool is_users(const char *name)
{
	return !strncmp(name, USER_XATTR, strlen(USER_XATTR));
}

/* Answers a request for size bytes, or for how many there are. */
static int answer_xattr(struct fs_request *r, const void *data, size_t length, uint32_t size)
{
	if (!size) {
		r->reply.xattr = (struct fuse_getxattr_out){ .size = (uint32_t)length };
		r->reply_size = sizeof(r->reply.xattr);
		return 0;
	}
	if (length > size || !fs_answer(r, 0, data, length))
		return -ERANGE;
	r->written = true;
	r->reply_size = length;
	return 0;
}

int fs_getxattr(struct fs_request *r)
{
	struct fuse_getxattr_in in;
	char path[FS_PROC_PATH];
	ssize_t length;
	char *value;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	if (!is_users(r->names[0]))
		return -ENODATA;
	value = malloc(MAX_XATTR);
	if (!value)
		return -ENOMEM;
	fs_proc_path(r->node->fd, path);
	length = getxattr(path, r->names[0], value, MAX_XATTR);
	ret = length < 0 ? -errno : answer_xattr(r, value, (size_t)length, in.size);
	free(value);
	return ret;
}

int fs_listxattr(struct fs_request *r)
{
	struct fuse_getxattr_in in;
	char path[FS_PROC_PATH];
	ssize_t length, kept = 0;
	char *list;
	int ret;

	memcpy(&in, r->args, sizeof(in));
	list = malloc(MAX_XATTR);
	if (!list)
		return -ENOMEM;
	fs_proc_path(r->node->fd, path);
	length = listxattr(path, list, MAX_XATTR);
	ret = length < 0 ? -errno : 0;
	for (ssize_t at = 0, next; at < length; at = next) {
		next = at + (ssize_t)strlen(list + at) + 1;
		if (is_users(list + at)) {
			memmove(list + kept, list + at, (size_t)(next - at));
			kept += next - at;
		}
	}
	if (!ret)
		ret = answer_xattr(r, list, (size_t)kept, in.size);
	free(list);
	return ret;
}

int fs_setxattr(struct fs_request *r)
{
	struct fuse_setxattr_in in = { 0 };
	char path[FS_PROC_PATH];

	memcpy(&in, r->args, FUSE_COMPAT_SETXATTR_IN_SIZE);
	if (in.size > r->args_size - r->strings_end)
		return -EINVAL;
	if (!is_users(r->names[0]))
		return -EOPNOTSUPP;
	fs_proc_path(r->node->fd, path);
	return setxattr(path, r->names[0], r->args + r->strings_end, in.size, (int)in.flags) ?
	       -errno : 0;
}

int fs_removexattr(struct fs_request *r)
{
	char path[FS_PROC_PATH];

	if (!is_users(r->names[0]))
		return -EOPNOTSUPP;
	fs_proc_path(r->node->fd, path);
	return removexattr(path, r->names[0]) ? -errno : 0;
}
