/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The API's objects as descriptors of this process: anykvm.h.
 *
 * Each is a memfd, so that mmap of a vCPU's simply works, but for one page: anykvm_mmap. Which object a number stands for is asked of
 * the kernel each time (st_dev and st_ino of the file behind it): a number may have been duplicated, or
 * closed behind our back and given to something else, and nobody tells us. Unless somebody does: who closes descriptors
 * by our leave only (anykvm_changes_are_told) has numbers remembered for ioctls, of which KVM_RUN is asked most.
 *
 * When the last descriptor goes is asked of the kernel too. The file description handed out holds a
 * lock of its own (F_OFD_SETLK), which goes with its last descriptor or mapping, in whatever process
 * and by whatever way of closing; a second description of the same file, which we keep, sees whether
 * the lock is still there. That is looked at on each anykvm_close and whenever a descriptor is made.
 * Where /proc cannot be read there is no second description, and descriptors are counted instead.
 *
 * A descriptor may also have come from another process, by exec or a socket. The memfd's name tells such
 * a one. The system object has no state, so any process can serve it; VMs and vCPUs stay where they
 * were made, as with Linux.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/anykvm.h"
#include "kvm/core/kvm.h"
#include "kvm/os/user/user.h"

struct os_fd {
	struct os_fd *next;		/* in its hash chain; or in the list of those to release */
	dev_t dev;
	ino_t ino;
	int fd;				/* until it is published; others may close it afterwards */
	int ours;			/* the second description; -1: none */
	u32 refs;			/* one for all descriptors, one for each ioctl under way */
	bool open;			/* the one for the descriptors is still there */
	bool foreign;			/* made by the process that this one was forked from */
	void *mem;
	size_t size;
	const void *lender;		/* memory of another one, a page of which is shown in place of ours */
	off_t borrowed;			/* where */
	const struct os_fd_ops *ops;
	void *obj;
};

#define BUCKETS	64
#define KNOWN	1024	/* numbers that are remembered; others are asked for each time */

/* Names of memfds, and how the kernel shows them in /proc/self/fd. */
#define NAME_PREFIX	"anykvm:"
#define SYSTEM_NAME	"kvm"
#define SHOWN_PREFIX	"/memfd:" NAME_PREFIX
#define SHOWN_SUFFIX	" (deleted)"
#define SEALS		(F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static struct {
	struct os_mutex lock;
	struct os_fd *bucket[BUCKETS];
	bool used;			/* there has been an object: before, no descriptor needs to be looked at */
	bool told;			/* of all changes: what a number was, it is */
	struct {
		struct os_fd *f;	/* in the table; NULL: ask */
		u32 changing;		/* how many threads are giving it another meaning: ask, and remember nothing */
	} known[KNOWN];
	u32 changing;			/* the same for all numbers */
} table;

static struct os_fd **bucket_of(ino_t ino)
{
	return &table.bucket[ino % BUCKETS];
}

/* With the lock held. */
static struct os_fd *find(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	for (struct os_fd *f = *bucket_of(st.st_ino); f; f = f->next)
		if (f->ino == st.st_ino && f->dev == st.st_dev)
			return f;
	return NULL;
}

/* With the lock held: what is known of a number from now on. */
static void remember(int fd, struct os_fd *f)
{
	if ((u32)fd < KNOWN)
		table.known[fd].f = READ_ONCE(table.told) && !table.changing && !table.known[fd].changing ? f : NULL;
}

static struct os_fd *get_by(int fd, bool memory)
{
	struct os_fd *f = NULL;
	int saved = errno;

	if (!READ_ONCE(table.used))
		return NULL;
	os_mutex_lock(&table.lock);
	if (memory && (u32)fd < KNOWN)
		f = table.known[fd].f;
	if (!f) {
		f = find(fd);
		/* A child of vfork, whose descriptors are its own, asks too, in our memory; but not for an ioctl. */
		remember(fd, memory ? f : NULL);
	}
	if (f)
		f->refs++;
	os_mutex_unlock(&table.lock);
	errno = saved;
	return f;
}

static struct os_fd *get(int fd)
{
	return get_by(fd, false);
}

static void release(struct os_fd *f)
{
	/* A copy that came with a fork is not ours to take apart: its threads are elsewhere. */
	if (f->ops->release && !f->foreign)
		f->ops->release(f->obj);
	free(f);
}

static void put(struct os_fd *f)
{
	bool last;

	os_mutex_lock(&table.lock);
	last = !--f->refs;
	os_mutex_unlock(&table.lock);
	if (last)
		release(f);
}

/* Is f->ours still the description that we opened? A program may close all it does not know. */
static bool ours_is_sane(const struct os_fd *f)
{
	struct stat st;

	return f->ours >= 0 && !fstat(f->ours, &st) && st.st_ino == f->ino && st.st_dev == f->dev;
}

static bool has_descriptors(const struct os_fd *f)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!ours_is_sane(f))
		return true;
	return fcntl(f->ours, F_OFD_GETLK, &lock) || lock.l_type != F_UNLCK;
}

/* With the lock held: takes f out of the table. */
static void unhash(struct os_fd *f)
{
	struct os_fd **link = bucket_of(f->ino);

	while (*link != f)
		link = &(*link)->next;
	*link = f->next;
	for (int i = 0; i < KNOWN; i++)
		if (table.known[i].f == f)
			table.known[i].f = NULL;
	f->open = false;
	if (ours_is_sane(f))
		close(f->ours);
	f->ours = -1;
}

/* Lets go of what has no descriptor any more; `closed` (or NULL) lost one that can only be counted. */
static void collect(struct os_fd *closed)
{
	struct os_fd *f, *next, *gone = NULL;
	int saved = errno;

	os_mutex_lock(&table.lock);
	for (int i = 0; i < BUCKETS; i++) {
		for (f = table.bucket[i]; f; f = next) {
			next = f->next;
			if (f == closed && !ours_is_sane(f) ? false : has_descriptors(f))
				continue;
			unhash(f);
			if (--f->refs)
				continue;
			f->next = gone;
			gone = f;
		}
	}
	os_mutex_unlock(&table.lock);
	for (f = gone; f; f = next) {
		next = f->next;
		release(f);
	}
	errno = saved;
}

int os_fd_prepare(const char *name, size_t size, struct os_fd **out, void **mem)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int saved = errno, r = 0;
	struct os_fd *f;
	struct stat st;
	char path[32], full_name[64];

	user_fork_init();
	collect(NULL);
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->ours = -1;
	f->size = size;
	snprintf(full_name, sizeof(full_name), NAME_PREFIX "%s", name);
	f->fd = memfd_create(full_name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (f->fd < 0) {
		r = -errno;
		goto out;
	}
	/* The size is sealed: a file cut short would turn our accesses into SIGBUS. */
	if (ftruncate(f->fd, size) ||
	    fcntl(f->fd, F_ADD_SEALS, SEALS) ||
	    fstat(f->fd, &st)) {
		r = -errno;
		goto out;
	}
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	if (!fcntl(f->fd, F_OFD_SETLK, &lock)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
		f->ours = open(path, O_RDWR | O_CLOEXEC);
		if (f->ours < 0 && (errno == EMFILE || errno == ENFILE)) {
			r = -errno;
			goto out;
		}
	}
	if (size) {
		/* By our own description: a mapping of theirs would count as a descriptor. */
		f->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			      f->ours >= 0 ? f->ours : f->fd, 0);
		if (f->mem == MAP_FAILED) {
			r = -errno;
			f->mem = NULL;
			goto out;
		}
	}
	if (mem)
		*mem = f->mem;
	*out = f;
out:
	if (r)
		os_fd_discard(f);
	errno = saved;
	return r;
}

void os_fd_borrow_page(struct os_fd *f, const void *mem, u32 page)
{
	f->lender = mem;
	f->borrowed = (off_t)page * PAGE_SIZE;
}

int os_fd_publish(struct os_fd *f, const struct os_fd_ops *ops, void *obj)
{
	int fd = f->fd;

	f->ops = ops;
	f->obj = obj;
	f->refs = 1;
	f->open = true;
	os_mutex_lock(&table.lock);
	WRITE_ONCE(table.used, true);
	f->next = *bucket_of(f->ino);
	*bucket_of(f->ino) = f;
	remember(fd, f);
	os_mutex_unlock(&table.lock);
	return fd;
}

void os_fd_discard(struct os_fd *f)
{
	int saved = errno;

	if (f->mem)
		munmap(f->mem, f->size);
	if (f->ours >= 0)
		close(f->ours);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	errno = saved;
}

void os_fd_unmap(void *mem, size_t size)
{
	if (mem)
		munmap(mem, size);
}

/* ---- anykvm.h ---- */

static long system_ioctl(void *obj, u32 cmd, u64 arg)
{
	return kvm_system_ioctl(cmd, arg);
}

static const struct os_fd_ops system_ops = { .ioctl = system_ioctl };

int anykvm_open(void)
{
	struct os_fd *f;
	int r = os_fd_prepare(SYSTEM_NAME, 0, &f, NULL);

	return r ? r : os_fd_publish(f, &system_ops, NULL);
}

/* What fd is that is not in the table: made elsewhere, perhaps. */
static enum anykvm_kind foreign_kind(int fd)
{
	char path[32], shown[96];
	int saved = errno;
	ssize_t n = -1;

	if (fcntl(fd, F_GET_SEALS) == SEALS) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, shown, sizeof(shown) - 1);
	}
	errno = saved;
	if (n < 0)
		return ANYKVM_NONE;
	shown[n] = 0;
	if (!strcmp(shown, SHOWN_PREFIX SYSTEM_NAME SHOWN_SUFFIX))
		return ANYKVM_SYSTEM;
	return strncmp(shown, SHOWN_PREFIX, strlen(SHOWN_PREFIX)) ? ANYKVM_NONE : ANYKVM_OBJECT;
}

/* An ioctl on a descriptor that this process did not make. */
static long foreign_ioctl(int fd, unsigned long request, void *arg)
{
	switch (foreign_kind(fd)) {
	case ANYKVM_SYSTEM:
		return system_ioctl(NULL, (u32)request, (u64)arg);
	case ANYKVM_OBJECT:
		return -EIO;
	default:
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : -ENOTTY;
	}
}

int anykvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct os_fd *f;
	int state;
	long r;

	user_hold_cancellation((u32)request == KVM_RUN, &state);
	f = get_by(fd, true);
	if (!f) {
		r = foreign_ioctl(fd, request, arg);
		goto out;
	}
	/* Objects belong to the process that made them; the system object has no state. */
	if (f->foreign && f->obj)
		r = -EIO;
	else
		r = f->ops->ioctl(f->obj, (u32)request, (u64)arg);
	put(f);
out:
	user_allow_cancellation(state);
	return (int)r;
}

/* A description of the file that is mapped at mem; -1: there is none any more. With the lock held. */
static int description_of(const void *mem)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct os_fd *f = table.bucket[i]; f; f = f->next)
			if (f->mem == mem)
				return ours_is_sane(f) ? f->ours : -1;
	return -1;
}

void *anykvm_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *p = mmap(addr, length, prot, flags, fd, offset);
	struct os_fd *f;
	int lender;

	if (p == MAP_FAILED || flags & MAP_ANONYMOUS)
		return p;
	f = get(fd);
	if (!f)
		return p;
	if (f->lender && offset <= f->borrowed && (size_t)(f->borrowed - offset) < length) {
		int saved = errno;

		os_mutex_lock(&table.lock);
		lender = description_of(f->lender);
		/* Where it fails, the page stays what it is: our own. */
		if (lender >= 0)
			(void)mmap((u8 *)p + (f->borrowed - offset), PAGE_SIZE, prot,
				   (flags & (MAP_SHARED | MAP_PRIVATE)) | MAP_FIXED, lender, f->borrowed);
		os_mutex_unlock(&table.lock);
		errno = saved;
	}
	put(f);
	return p;
}

int anykvm_close(int fd)
{
	struct os_fd *f = get(fd);
	int r = 0;

	if (!f)
		return foreign_kind(fd) == ANYKVM_NONE ? -EBADF : close(fd) ? -errno : 0;
	anykvm_begin_change(fd);
	if (close(fd))
		r = -errno;
	anykvm_end_change(fd);
	collect(f);
	put(f);
	return r;
}

/* ---- who tells us ---- */

void anykvm_changes_are_told(void)
{
	WRITE_ONCE(table.told, true);
}

/* A number that is not remembered changes without us. */
static void change(int fd, s32 threads)
{
	if (fd >= KNOWN)
		return;
	os_mutex_lock(&table.lock);
	if (fd >= 0) {
		table.known[fd].f = NULL;
		table.known[fd].changing += threads;
	} else {
		for (int i = 0; i < KNOWN; i++)
			table.known[i].f = NULL;
		table.changing += threads;
	}
	os_mutex_unlock(&table.lock);
}

void anykvm_begin_change(int fd)
{
	change(fd, 1);
}

void anykvm_end_change(int fd)
{
	change(fd, -1);
}

void anykvm_collect(void)
{
	if (READ_ONCE(table.used))
		collect(NULL);
}

enum anykvm_kind anykvm_kind(int fd)
{
	struct os_fd *f = get(fd);
	enum anykvm_kind kind;

	if (!f)
		return foreign_kind(fd);
	kind = f->obj ? ANYKVM_OBJECT : ANYKVM_SYSTEM;
	put(f);
	return kind;
}

/* ---- fork ---- */

void user_fd_before_fork(void)
{
	os_mutex_lock(&table.lock);
}

void user_fd_after_fork(bool child)
{
	for (int i = 0; child && i < BUCKETS; i++)
		for (struct os_fd *f = table.bucket[i]; f; f = f->next)
			f->foreign = true;
	/* Who was about to change one is a thread of the parent's. */
	for (int i = 0; child && i < KNOWN; i++)
		table.known[i].changing = 0;
	if (child)
		table.changing = 0;
	os_mutex_unlock(&table.lock);
}
