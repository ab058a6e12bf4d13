/* SPDX-License-Identifier: GPL-2.0-only */
/* See local_socket.h. */
#include "vmm/char/local_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int make(const char *path, struct sockaddr_un *address)
{
	int fd;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : fd;
}

int local_socket_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = make(path, &address), ret;

	if (fd < 0)
		return fd;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* Whether there is a socket at path that nobody listens to. */
static bool is_left_behind(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = local_socket_connect(path);
	if (fd >= 0)
		close(fd);
	return fd == -ECONNREFUSED;
}

int local_socket_listen(const char *path, const char *what, struct vmm_error *error)
{
	struct sockaddr_un address;
	int fd = make(path, &address);
	int ret;

	if (fd == -ENAMETOOLONG)
		return vmm_fail(error, fd, "%s: the path '%s' is no socket's: give one of 1 to %zu "
				"bytes", what, path, sizeof(address.sun_path) - 1);
	if (fd < 0)
		return vmm_fail(error, fd, "%s: cannot make a socket: %s", what, strerror(-fd));
	/* The path gets the mode that the socket has before. */
	fchmod(fd, 0600);
	ret = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	if (ret == -EADDRINUSE && is_left_behind(path) && !unlink(path))
		ret = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	if (ret == -EADDRINUSE)
		vmm_fail(error, ret, "%s: %s exists already: give another path, or remove it if "
			 "nobody uses it", what, path);
	if (!ret && listen(fd, BACKLOG)) {
		ret = -errno;
		unlink(path);
	}
	if (!ret)
		return fd;
	close(fd);
	return vmm_fail(error, ret, "%s: cannot listen at %s: %s", what, path, strerror(-ret));
}
