/* SPDX-License-Identifier: GPL-2.0-only */
/* The directories of machines; see rundir.h. */
#include "vmm/control/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether it is a directory that is ours. */
static bool is_ours(const char *path, bool alone)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (!alone || !(st.st_mode & 077));
}

int rundir_base(char path[PATH_MAX], struct vmm_error *error)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	char run[64];

	snprintf(run, sizeof(run), "/run/user/%u", geteuid());
	if (xdg && *xdg == '/')
		snprintf(path, PATH_MAX, "%s/anykvm", xdg);
	else if (is_ours(run, false))
		snprintf(path, PATH_MAX, "%s/anykvm", run);
	else
		snprintf(path, PATH_MAX, "/tmp/anykvm-%u", geteuid());
	if (mkdir(path, 0700) && errno != EEXIST)
		return vmm_fail(error, -errno, "cannot make %s: %s; set XDG_RUNTIME_DIR to a "
				"directory of yours", path, strerror(errno));
	/* In /tmp it may be another's trap. */
	if (!is_ours(path, true))
		return vmm_fail(error, -EPERM, "%s is not a directory of yours that only you may "
				"use: remove it, or set XDG_RUNTIME_DIR", path);
	return 0;
}

/*
 * Locks of open file descriptions: they outlive a fork, and whether one is held can be asked
 * without taking it, so that nobody who asks is in the way of a machine that starts.
 */
static const struct flock whole_file = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

bool rundir_is_locked(int lock_fd)
{
	struct flock lock = whole_file;

	lock.l_type = F_RDLCK;
	return !fcntl(lock_fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* Opens and locks. Returns the descriptor, or -errno: -EBUSY where it is locked. */
static int take_lock(const char *directory, int flags)
{
	char path[PATH_MAX + sizeof(RUNDIR_LOCK) + 1];
	struct stat opened, named;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", directory, RUNDIR_LOCK);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &whole_file)) {
		err = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	/* One that was removed in between protects nothing. */
	if (fstat(fd, &opened) || stat(path, &named) || opened.st_ino != named.st_ino) {
		close(fd);
		return -EAGAIN;
	}
	return fd;
}

int rundir_claim(struct rundir *dir, const char *name, struct vmm_error *error)
{
	static const char *const left[] = { RUNDIR_SOCKET, RUNDIR_VSOCK, RUNDIR_ENDED, RUNDIR_MESSAGES,
					    RUNDIR_CONSOLE, RUNDIR_CONSOLE_OLD };
	char base[PATH_MAX], path[2 * PATH_MAX];
	int err;

	dir->lock_fd = -1;
	err = rundir_base(base, error);
	if (err)
		return err;
	if (snprintf(dir->path, sizeof(dir->path), "%s/%s", base, name) >= (int)sizeof(dir->path))
		return vmm_fail(error, -ENAMETOOLONG, "%s is too long a path", base);
	do {
		if (mkdir(dir->path, 0700) && errno != EEXIST)
			return vmm_fail(error, -errno, "cannot make %s: %s", dir->path,
					strerror(errno));
		dir->lock_fd = take_lock(dir->path, O_CREAT);
	} while (dir->lock_fd == -EAGAIN || dir->lock_fd == -ENOENT);
	if (dir->lock_fd == -EBUSY)
		return vmm_fail(error, -EBUSY, "a machine of the name %s is running: give another "
				"--name, or end it with anykvm stop %s", name, name);
	if (dir->lock_fd < 0)
		return vmm_fail(error, dir->lock_fd, "cannot lock %s: %s", dir->path,
				strerror(-dir->lock_fd));
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir->path, left[i]);
		unlink(path);
	}
	rundir_set_pid(dir);
	return 0;
}

void rundir_set_pid(const struct rundir *dir)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", getpid());

	/* Only for people and ps: where it cannot be written, the lock still says enough. */
	if (!ftruncate(dir->lock_fd, 0) && pwrite(dir->lock_fd, text, n, 0) != n)
		return;
}

static void remove_all(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	if (!dir)
		return;
	/* The lock last: whoever comes in between finds it taken. */
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, RUNDIR_LOCK))
			unlinkat(dirfd(dir), entry->d_name, 0);
	unlinkat(dirfd(dir), RUNDIR_LOCK, 0);
	closedir(dir);
}

void rundir_discard(struct rundir *dir)
{
	remove_all(dir->path);
	rmdir(dir->path);
	/* Whoever waits for the end finds nothing any more. */
	rundir_release(dir);
}

void rundir_release(struct rundir *dir)
{
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	dir->lock_fd = -1;
}

bool rundir_name_is_good(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/');
}

int rundir_open(const char *name, bool *running, pid_t *pid, struct vmm_error *error)
{
	char path[PATH_MAX], text[16] = "";
	int fd, lock, err;

	err = rundir_base(path, error);
	if (err)
		return err;
	if (!rundir_name_is_good(name) || strlen(path) + strlen(name) + 2 > PATH_MAX)
		return vmm_fail(error, -ENOENT, "there is no machine %s: anykvm ps lists them", name);
	strcat(strcat(path, "/"), name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return vmm_fail(error, -errno, errno == ENOENT ?
				"there is no machine %s: anykvm ps lists them" : "cannot open %s", name);
	*running = false;
	*pid = 0;
	lock = openat(fd, RUNDIR_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (lock < 0)
		return fd;
	*running = rundir_is_locked(lock);
	if (read(lock, text, sizeof(text) - 1) > 0)
		*pid = atoi(text);
	close(lock);
	return fd;
}

int rundir_remove(const char *name, struct vmm_error *error)
{
	char path[PATH_MAX];
	bool running;
	pid_t pid;
	int fd, lock, err;

	fd = rundir_open(name, &running, &pid, error);
	if (fd < 0)
		return fd;
	close(fd);
	err = rundir_base(path, error);
	if (err)
		return err;
	strcat(strcat(path, "/"), name);
	lock = take_lock(path, O_CREAT);
	if (lock == -EBUSY || lock == -EAGAIN)
		return vmm_fail(error, -EBUSY, "%s is running: end it first, with anykvm stop %s", name,
				name);
	if (lock < 0)
		return vmm_fail(error, lock, "cannot lock %s: %s", path, strerror(-lock));
	remove_all(path);
	err = rmdir(path) ? -errno : 0;
	close(lock);
	return err ? vmm_fail(error, err, "cannot remove %s: %s", path, strerror(-err)) : 0;
}
