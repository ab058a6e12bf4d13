/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of the FUSE server: opening beneath the directory, owners, attributes.
 *
 * Every path that is handed to the host's kernel is one name in a directory that is an open
 * descriptor, or /proc/self/fd/N of a descriptor of ours. So no path can lead anywhere else; what
 * openat2() adds to that is that mount points are not crossed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/fs/fs_server.h"

#define NOBODY		65534

/* Where the kernel is older than openat2() (5.6), or a sandbox does not know it. */
static int open_child_at(int directory, const char *name, int flags, mode_t mode)
{
	struct stat parent, child;
	int fd = openat(directory, name, flags, mode);

	if (fd < 0)
		return -errno;
	if (fstat(directory, &parent) || fstat(fd, &child) || parent.st_dev != child.st_dev) {
		close(fd);
		return -EXDEV;
	}
	return fd;
}

int fs_open_child(struct fs *fs, int directory, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	int fd;

	if (fs->no_openat2) {
		fd = open_child_at(directory, name, (int)how.flags, mode);
	} else {
		do
			fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof(how));
		while (fd < 0 && (errno == EAGAIN || errno == EINTR));
		if (fd < 0)
			fd = -errno;
	}
	/* A mount point. The guest knows EXDEV only from renames and links. */
	return fd == -EXDEV ? -EACCES : fd;
}

int fs_reopen(struct fs *fs, int fd, int flags)
{
	char number[16];
	int ret;

	snprintf(number, sizeof(number), "%d", fd);
	do
		ret = openat(fs->proc_fd, number, flags | O_CLOEXEC);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

void fs_proc_path(int fd, char path[FS_PROC_PATH])
{
	snprintf(path, FS_PROC_PATH, "/proc/self/fd/%d", fd);
}

bool fs_mode_allowed(mode_t type, mode_t mode)
{
	if (type == S_IFDIR)
		return true;
	/* S_ISGID without the group's right to execute is an old way to ask for locking. */
	return !(mode & S_ISUID) && (mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP);
}

int fs_host_owner(const struct fs *fs, uint32_t guest_uid, uint32_t guest_gid, uid_t *uid,
		  gid_t *gid)
{
	*uid = guest_uid;
	*gid = guest_gid;
	if (!fs->map_owners)
		return 0;
	/* A process without rights can give a file only to itself, which it already has. */
	if ((guest_uid && guest_uid != UINT32_MAX) || (guest_gid && guest_gid != UINT32_MAX))
		return -EPERM;
	if (!guest_uid)
		*uid = fs->uid;
	if (!guest_gid)
		*gid = fs->gid;
	return 0;
}

void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		/* The guest's kernel takes major and minor from 12 and 20 bits. */
		.rdev = (uint32_t)((minor(st->st_rdev) & 0xff) | major(st->st_rdev) << 8 |
				   (minor(st->st_rdev) & ~0xffu) << 12),
		.blksize = (uint32_t)st->st_blksize,
	};
	if (fs->map_owners) {
		attr->uid = st->st_uid == fs->uid ? 0 : NOBODY;
		attr->gid = st->st_gid == fs->gid ? 0 : NOBODY;
	}
}

/* ------------------------------------------------------------------ life */

static int open_root(struct fs *fs, const char *directory, struct vmm_error *error)
{
	struct stat st;
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return vmm_fail(error, -errno, "--share: %s: %s: give a directory that this user "
				"can read", directory, strerror(errno));
	fs->root.fd = fd;
	if (fstat(fd, &st))
		return vmm_fail(error, -errno, "--share: %s: %s", directory, strerror(errno));
	fs->root.dev = st.st_dev;
	fs->root.ino = st.st_ino;
	fs->root.type = S_IFDIR;
	fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc_fd < 0)
		return vmm_fail(error, -errno, "--share: %s cannot be shared without /proc: %s",
				directory, strerror(errno));
	/* One that cannot be read would be found out about by the guest only. */
	fd = fs_reopen(fs, fs->root.fd, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return vmm_fail(error, fd, "--share: %s: %s: give a directory that this user can "
				"read", directory, strerror(-fd));
	close(fd);
	return 0;
}

static bool knows_openat2(const struct fs *fs)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV,
	};
	int fd = (int)syscall(SYS_openat2, fs->root.fd, ".", &how, sizeof(how));

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int fs_create(const char *directory, bool readonly, unsigned int max_files, struct fs **result,
	      struct vmm_error *error)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int ret;

	if (!fs)
		return vmm_fail(error, -ENOMEM, "--share: %s: out of memory", directory);
	pthread_mutex_init(&fs->lock, NULL);
	fs->readonly = readonly;
	fs->max_files = max_files;
	fs->uid = geteuid();
	fs->gid = getegid();
	fs->map_owners = fs->uid != 0;
	fs->root.fd = fs->proc_fd = -1;
	ret = open_root(fs, directory, error);
	if (!ret) {
		fs->no_openat2 = !knows_openat2(fs);
		ret = fs_nodes_init(fs);
		if (ret)
			vmm_fail(error, ret, "--share: %s: out of memory", directory);
	}
	if (ret) {
		fs_destroy(fs);
		return ret;
	}
	*result = fs;
	return 0;
}

void fs_destroy(struct fs *fs)
{
	fs_nodes_destroy(fs);
	if (fs->root.fd >= 0)
		close(fs->root.fd);
	if (fs->proc_fd >= 0)
		close(fs->proc_fd);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

void fs_reset(struct fs *fs)
{
	fs_handles_drop(fs);
	fs_nodes_drop(fs);
	fs_set_in_session(fs, false);
}

uint64_t fs_next_number(const struct fs *fs)
{
	return fs->next_number;
}

void fs_set_next_number(struct fs *fs, uint64_t number)
{
	fs->next_number = number;
}

bool fs_in_session(const struct fs *fs)
{
	return __atomic_load_n(&fs->in_session, __ATOMIC_RELAXED);
}

void fs_set_in_session(struct fs *fs, bool on)
{
	__atomic_store_n(&fs->in_session, on, __ATOMIC_RELAXED);
}
