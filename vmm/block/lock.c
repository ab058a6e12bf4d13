/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Claims on disk images, in the form QEMU uses, so that its programs and ours keep out of each
 * other's images.
 *
 * The claim is made of open-file-description locks on single bytes past anything that matters: a
 * shared lock on byte 100 + p says "I use permission p", one on byte 200 + p says "nobody else may
 * use permission p". Locks are shared, so taking them always succeeds; then each side looks whether
 * the other's bytes contradict its own. The bytes need not exist in the file.
 */
#include <errno.h>
#include <fcntl.h>

#include "vmm/block/format.h"

enum {
	PERM_CONSISTENT_READ	= 0,
	PERM_WRITE		= 1,
	PERM_RESIZE		= 3,
	PERM_COUNT		= 4,
};

#define USE_BASE	100
#define FORBID_BASE	200
#define BIT(n)		(1u << (n))

static int lock_byte(int fd, off_t byte)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/* Returns 0 if no one else has a lock on the byte, -EBUSY if somebody has. */
static int check_byte(int fd, off_t byte)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &fl))
		return -errno;
	return fl.l_type == F_UNLCK ? 0 : -EBUSY;
}

int image_lock(int fd, enum image_lock how)
{
	unsigned int use = BIT(PERM_CONSISTENT_READ);
	unsigned int forbid = BIT(PERM_WRITE) | BIT(PERM_RESIZE);
	int ret;

	if (how == IMAGE_LOCK_WRITE)
		use |= BIT(PERM_WRITE);

	for (unsigned int p = 0; p < PERM_COUNT; p++) {
		ret = use & BIT(p) ? lock_byte(fd, USE_BASE + p) : 0;
		if (!ret && forbid & BIT(p))
			ret = lock_byte(fd, FORBID_BASE + p);
		if (ret)
			goto out;
	}
	for (unsigned int p = 0; p < PERM_COUNT; p++) {
		ret = use & BIT(p) ? check_byte(fd, FORBID_BASE + p) : 0;
		if (!ret && forbid & BIT(p))
			ret = check_byte(fd, USE_BASE + p);
		if (ret)
			goto out;
	}
out:
	/* EAGAIN, EACCES: somebody has an exclusive lock there, as no program of QEMU's takes. */
	if (ret == -EAGAIN || ret == -EACCES)
		return -EBUSY;
	/* A file system without such locks (some network and FUSE ones) is used without them. */
	if (ret == -EINVAL || ret == -ENOLCK || ret == -ENOSYS || ret == -EOPNOTSUPP)
		return 0;
	return ret;
}
