/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Event descriptors of the VMM: what irqfd and ioeventfd hang on. A duplicate of the descriptor stands for the kernel's
 * reference; the kernel's own number of the eventfd says whether two are the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

struct os_eventfd {
	int fd;
	u64 id;			/* "eventfd-id" of /proc; ~0 where there is no /proc */
	bool watched;
	u64 watch;
	void (*fn)(void *arg);
	void *arg;
};

#define NO_ID	(~0ull)

/* 0 with *id, -EINVAL where fd is something else. */
static int identify(int fd, u64 *id)
{
	char path[64], text[512], *found;
	int info;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	*id = NO_ID;
	if (info < 0)
		return 0;	/* no /proc: take the VMM at its word */
	n = read(info, text, sizeof(text) - 1);
	close(info);
	if (n < 0)
		return 0;
	text[n] = '\0';
	if (!strstr(text, "eventfd-count:"))
		return -EINVAL;
	found = strstr(text, "eventfd-id:");
	if (found)
		*id = strtoull(found + strlen("eventfd-id:"), NULL, 10);
	return 0;
}

int os_eventfd_get(int fd, struct os_eventfd **out)
{
	struct os_eventfd *e;
	int saved = errno, copy, r;
	u64 id;

	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0) {
		r = -errno;
		goto out;
	}
	r = identify(copy, &id);
	if (r)
		goto out_close;
	e = calloc(1, sizeof(*e));
	if (!e) {
		r = -ENOMEM;
		goto out_close;
	}
	e->fd = copy;
	e->id = id;
	*out = e;
	goto out;
out_close:
	close(copy);
out:
	errno = saved;
	return r;
}

void os_eventfd_put(struct os_eventfd *e)
{
	int saved = errno;

	if (!e)
		return;
	os_eventfd_unwatch(e);
	close(e->fd);
	free(e);
	errno = saved;
}

void os_eventfd_signal(struct os_eventfd *e, u64 n)
{
	int saved = errno;

	(void)!write(e->fd, &n, sizeof(n));	/* fails where the count is full: it is readable already */
	errno = saved;
}

bool os_eventfd_same(const struct os_eventfd *a, const struct os_eventfd *b)
{
	const int kcmp_file = 0;

	if (a->id != NO_ID && b->id != NO_ID)
		return a->id == b->id;
	return !syscall(SYS_kcmp, getpid(), getpid(), kcmp_file, a->fd, b->fd);
}

/* Takes the count without ever blocking: the descriptor's own flags are the VMM's. */
static bool drain(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	u64 count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	if (n < 0 && errno != EAGAIN) {
		/* A kernel without RWF_NOWAIT for eventfds. */
		if (poll(&p, 1, 0) != 1)
			return false;
		n = read(fd, &count, sizeof(count));
	}
	return n == sizeof(count);
}

static void readable(void *arg)
{
	struct os_eventfd *e = arg;

	if (drain(e->fd))
		e->fn(e->arg);
}

int os_eventfd_watch(struct os_eventfd *e, void (*fn)(void *), void *arg)
{
	int r;

	e->fn = fn;
	e->arg = arg;
	r = user_worker_add(e->fd, readable, e, &e->watch);
	e->watched = !r;
	return r;
}

void os_eventfd_unwatch(struct os_eventfd *e)
{
	if (e->watched)
		user_worker_remove(e->fd, e->watch);
	e->watched = false;
}
