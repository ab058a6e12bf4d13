/* SPDX-License-Identifier: GPL-2.0-only */
/* What helps people to look inside: settings from the environment, names of code for profilers,
 * lines for people. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

const char *os_setting(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

static int show_fd = STDERR_FILENO;

int os_show_to(const char *path)
{
	int saved = errno, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	int r = fd < 0 ? -errno : 0;

	if (fd >= 0)
		WRITE_ONCE(show_fd, fd);	/* the one before may be in use */
	errno = saved;
	return r;
}

/* One write a line, so that lines of several threads do not mix. */
void os_show(const char *fmt, ...)
{
	int saved = errno, n;
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = min(max(n, 0), (int)sizeof(line) - 2);
	line[n++] = '\n';
	(void)!write(READ_ONCE(show_fd), line, n);
	errno = saved;
}

static int perf_map = -1;

int os_perf_map_open(void)
{
	char path[64];
	int fd, saved = errno, r;

	if (READ_ONCE(perf_map) >= 0)
		return 0;
	/* perf(1) knows this name, and everybody may write there: nothing that is there already is opened. */
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	r = fd < 0 ? -errno : 0;
	errno = saved;
	if (fd >= 0 && !__sync_bool_compare_and_swap(&perf_map, -1, fd))
		close(fd);
	return r;
}

void os_perf_map_add(const void *code, size_t size, const char *fmt, ...)
{
	int fd = READ_ONCE(perf_map), saved = errno, n;
	char line[256];
	va_list ap;

	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%lx %zx ", (unsigned long)code, size);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	n = min(n, (int)sizeof(line) - 2);
	line[n++] = '\n';
	(void)!write(fd, line, n);	/* a full disk costs names, no more */
	errno = saved;
}
