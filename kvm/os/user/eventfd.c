/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Event descriptors of the VMM: what irqfd and ioeventfd hang on. A duplicate of the descriptor stands for the kernel's
 * reference; the kernel's own number of the eventfd says whether two are the same.
 *
 * The duplicate keeps the event alive, so that nobody tells us when all others have closed it. Who wants to know asks
 * (os_eventfd_abandoned): whether another descriptor of this process is the same event, and if not, whether it outlives
 * our duplicate, which is closed for that. If it does, it is in another process's hands. It is then still watched, by
 * epoll, which holds no reference; only its count can no longer be read, which nobody misses.
 */
#include <dirent.h>
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
	struct os_eventfd *next;	/* of all */
	int fd;			/* ours; -1: given up, see above */
	int theirs;		/* the VMM's number for it, when last seen */
	u64 id;			/* "eventfd-id" of /proc; ~0 where there is no /proc */
	bool watched;
	u64 watch;
	void (*fn)(void *arg);
	void *arg;
};

#define NO_ID	(~0ull)

static struct {
	struct os_mutex lock;
	struct os_eventfd *first;
} all;

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
	e->theirs = fd;
	e->id = id;
	os_mutex_lock(&all.lock);
	e->next = all.first;
	all.first = e;
	os_mutex_unlock(&all.lock);
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
	struct os_eventfd **link = &all.first;
	int saved = errno;

	if (!e)
		return;
	os_eventfd_unwatch(e);
	os_mutex_lock(&all.lock);
	while (*link != e)
		link = &(*link)->next;
	*link = e->next;
	os_mutex_unlock(&all.lock);
	if (e->fd >= 0)
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
	int fd = READ_ONCE(e->fd);

	if (fd < 0 || drain(fd))
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

static bool is_ours(int fd)
{
	struct os_eventfd *e;

	os_mutex_lock(&all.lock);
	for (e = all.first; e && e->fd != fd; e = e->next)
		;
	os_mutex_unlock(&all.lock);
	return e;
}

static bool is_theirs(const struct os_eventfd *e, int fd)
{
	u64 id;

	return !is_ours(fd) && !identify(fd, &id) && id == e->id;
}

/* A descriptor of the VMM's for the same event; -1: it has none, NO_PROC: there is no telling. */
#define NO_PROC	(-2)
static int find_theirs(const struct os_eventfd *e)
{
	struct dirent *entry;
	char target[64];
	int fd, found = -1;
	ssize_t n;
	DIR *dir;

	if (is_theirs(e, e->theirs))
		return e->theirs;
	dir = opendir("/proc/self/fd");
	if (!dir)
		return NO_PROC;
	while (found < 0 && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		fd = atoi(entry->d_name);
		if (strstr(target, "[eventfd]") && is_theirs(e, fd))
			found = fd;
	}
	closedir(dir);
	return found;
}

bool os_eventfd_abandoned(struct os_eventfd *e)
{
	struct pollfd p = { .fd = e->fd, .events = POLLIN };
	int saved = errno, theirs, fd;
	bool gone = false;

	if (e->id == NO_ID || !e->watched)
		goto out;
	if (e->fd >= 0) {
		/* A signal that is still to be told? */
		if (poll(&p, 1, 0))
			goto out;
		theirs = find_theirs(e);
		if (theirs != -1) {
			e->theirs = theirs == NO_PROC ? e->theirs : theirs;
			goto out;
		}
		fd = e->fd;
		user_worker_each_signal(fd, e->watch);
		WRITE_ONCE(e->fd, -1);
		user_worker_wait(e->watch);	/* it may be about to read */
		close(fd);
	}
	gone = !user_worker_still_there(e->watch);
out:
	errno = saved;
	return gone;
}

/* ---- fork ---- */

void user_eventfd_before_fork(void)
{
	os_mutex_lock(&all.lock);
}

void user_eventfd_after_fork(bool child)
{
	/* Those of the parent's VMs are never let go of in the child. */
	if (child)
		all.first = NULL;
	os_mutex_unlock(&all.lock);
}
