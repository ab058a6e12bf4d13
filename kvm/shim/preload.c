// SPDX-License-Identifier: GPL-2.0-only
/*
 * libanykvm-preload.so: a program that is loaded with it (LD_PRELOAD) finds a working /dev/kvm.
 *
 * Calls that name the file /dev/kvm, and ioctls whose number is of KVM's kind, are looked at; all else
 * goes to the C library untouched. Objects are memfds, so mmap, munmap, poll and being passed on
 * need no help. What does need it is a bit for each descriptor that might be ours, so that
 * the others cost a load and a test.
 *
 * What calls the kernel without the C library (a static program, a runtime of its own) does not pass here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kvm/anykvm.h"
#include "kvm/shim/trace.h"

#define KVM_MAJOR	10
#define KVM_MINOR	232

/* The C library's own function behind the one of the same name here. */
#define NEXT(name)								\
	({									\
		static typeof(&name) next;					\
		if (!next)							\
			next = (typeof(&name))dlsym(RTLD_NEXT, #name);		\
		next;								\
	})

#define PUBLIC	__attribute__((visibility("default")))

/*
 * libanykvm is part of this library, so what it calls of the C library's comes through here as well: those
 * calls are not the program's.
 */
static __thread bool inside __attribute__((tls_model("initial-exec")));

#define ASK(call)								\
	({									\
		inside = true;							\
		typeof(call) answer = (call);					\
		inside = false;							\
		answer;								\
	})

/* ---- which descriptors might be ours ---- */

/*
 * A bit is set when a descriptor is handed out, duplicated or recognised, and cleared only when it is found to be
 * something else: close_range(2), a child of vfork and the like change descriptors behind our back. A set bit
 * is therefore a reason to ask, no more; a missing one only lets an object live until the
 * next one is made or closed. Numbers beyond are always asked.
 */
#define MAYBE_MAX	65536

static unsigned long maybe[MAYBE_MAX / 64];

static bool is_maybe(int fd)
{
	if ((unsigned int)fd >= MAYBE_MAX)
		return fd >= 0;
	return __atomic_load_n(&maybe[fd / 64], __ATOMIC_RELAXED) >> fd % 64 & 1;
}

static void set_maybe(int fd)
{
	if ((unsigned int)fd < MAYBE_MAX && !is_maybe(fd))
		__atomic_fetch_or(&maybe[fd / 64], 1ul << fd % 64, __ATOMIC_RELAXED);
}

static enum anykvm_kind kind_of(int fd)
{
	enum anykvm_kind kind;

	if (!is_maybe(fd) || inside)
		return ANYKVM_NONE;
	kind = ASK(anykvm_kind(fd));
	if (kind == ANYKVM_NONE && (unsigned int)fd < MAYBE_MAX)
		__atomic_fetch_and(&maybe[fd / 64], ~(1ul << fd % 64), __ATOMIC_RELAXED);
	return kind;
}

/* A descriptor that the C library has made of another one. */
static int duplicated(int fd, int copy)
{
	if (copy >= 0 && is_maybe(fd)) {
		/* Should it have been closed behind our back before. */
		anykvm_begin_change(copy);
		anykvm_end_change(copy);
		set_maybe(copy);
	}
	return copy;
}

/* ---- which paths are /dev/kvm ---- */

/* The file may not exist; its directory does. */
static bool is_in_dev(int dir, const char *path, const char *last)
{
	char parent[256] = ".";
	struct stat a, b;
	size_t n = last - path;
	int saved = errno;
	bool same;

	if (n >= sizeof(parent))
		return false;
	if (n) {
		memcpy(parent, path, n);
		parent[n] = 0;
	}
	same = !NEXT(fstatat)(dir, parent, &a, 0) && !NEXT(stat)("/dev", &b) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	errno = saved;
	return same;
}

static bool is_kvm_at(int dir, const char *path)
{
	const char *last;

	if (!path || inside)
		return false;
	if (!strcmp(path, "/dev/kvm"))
		return true;
	last = strrchr(path, '/');
	last = last ? last + 1 : path;
	return !strcmp(last, "kvm") && is_in_dev(dir, path, last);
}

static bool is_kvm(const char *path)
{
	return is_kvm_at(AT_FDCWD, path);
}

/* An errno-style result from a -errno one. */
static int result(int r)
{
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

static int open_kvm(int flags)
{
	int fd;

	if (flags & O_DIRECTORY)
		fd = -ENOTDIR;
	else if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		fd = -EEXIST;
	else
		fd = ASK(anykvm_open());
	/* Ours closes itself on exec; the caller may want it otherwise. */
	if (fd >= 0) {
		anykvm_changes_are_told();
		set_maybe(fd);
		if (!(flags & O_CLOEXEC))
			ASK(fcntl(fd, F_SETFD, 0));
	}
	trace_open(fd);
	return result(fd);
}

static mode_t mode_argument(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define DEFINE_OPEN(name)							\
PUBLIC int name(const char *path, int flags, ...)				\
{										\
	va_list ap;								\
	mode_t mode;								\
										\
	va_start(ap, flags);							\
	mode = mode_argument(flags, ap);					\
	va_end(ap);								\
	return is_kvm(path) ? open_kvm(flags) : NEXT(name)(path, flags, mode);	\
}
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)							\
PUBLIC int name(int dir, const char *path, int flags, ...)			\
{										\
	va_list ap;								\
	mode_t mode;								\
										\
	va_start(ap, flags);							\
	mode = mode_argument(flags, ap);					\
	va_end(ap);								\
	return is_kvm_at(dir, path) ? open_kvm(flags) :				\
		NEXT(name)(dir, path, flags, mode);				\
}
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* What a program compiled with _FORTIFY_SOURCE calls. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

PUBLIC int __open_2(const char *path, int flags)
{
	return is_kvm(path) ? open_kvm(flags) : NEXT(__open_2)(path, flags);
}

PUBLIC int __open64_2(const char *path, int flags)
{
	return is_kvm(path) ? open_kvm(flags) : NEXT(__open64_2)(path, flags);
}

PUBLIC int __openat_2(int dir, const char *path, int flags)
{
	return is_kvm_at(dir, path) ? open_kvm(flags) : NEXT(__openat_2)(dir, path, flags);
}

PUBLIC int __openat64_2(int dir, const char *path, int flags)
{
	return is_kvm_at(dir, path) ? open_kvm(flags) : NEXT(__openat64_2)(dir, path, flags);
}

#define DEFINE_FOPEN(name)							\
PUBLIC FILE *name(const char *path, const char *mode)				\
{										\
	int fd;									\
										\
	if (!is_kvm(path))							\
		return NEXT(name)(path, mode);					\
	fd = open_kvm(strchr(mode, 'e') ? O_CLOEXEC : 0);			\
	return fd < 0 ? NULL : fdopen(fd, mode);				\
}
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

/* ---- is it there? ---- */

/* To be read and written by all, and executed by none. */
static int access_kvm(int mode)
{
	return mode & X_OK ? result(-EACCES) : 0;
}

PUBLIC int access(const char *path, int mode)
{
	return is_kvm(path) ? access_kvm(mode) : NEXT(access)(path, mode);
}

PUBLIC int euidaccess(const char *path, int mode)
{
	return is_kvm(path) ? access_kvm(mode) : NEXT(euidaccess)(path, mode);
}

PUBLIC int eaccess(const char *path, int mode)
{
	return is_kvm(path) ? access_kvm(mode) : NEXT(eaccess)(path, mode);
}

PUBLIC int faccessat(int dir, const char *path, int mode, int flags)
{
	return is_kvm_at(dir, path) ? access_kvm(mode) : NEXT(faccessat)(dir, path, mode, flags);
}

/* The character device that a machine with KVM has. */
#define FILL_STAT(st)								\
	({									\
		memset(st, 0, sizeof(*(st)));					\
		(st)->st_mode = S_IFCHR | 0666;					\
		(st)->st_nlink = 1;						\
		(st)->st_rdev = makedev(KVM_MAJOR, KVM_MINOR);			\
		(st)->st_blksize = 4096;					\
		0;								\
	})

#define DEFINE_STAT(name, type)							\
PUBLIC int name(const char *path, struct type *st)				\
{										\
	return is_kvm(path) ? FILL_STAT(st) : NEXT(name)(path, st);		\
}
DEFINE_STAT(stat, stat)
DEFINE_STAT(stat64, stat64)
DEFINE_STAT(lstat, stat)
DEFINE_STAT(lstat64, stat64)

#define DEFINE_FSTAT(name, type)						\
PUBLIC int name(int fd, struct type *st)					\
{										\
	return kind_of(fd) == ANYKVM_SYSTEM ? FILL_STAT(st) : NEXT(name)(fd, st); \
}
DEFINE_FSTAT(fstat, stat)
DEFINE_FSTAT(fstat64, stat64)

#define DEFINE_FSTATAT(name, type)						\
PUBLIC int name(int dir, const char *path, struct type *st, int flags)		\
{										\
	return is_kvm_at(dir, path) ? FILL_STAT(st) : NEXT(name)(dir, path, st, flags); \
}
DEFINE_FSTATAT(fstatat, stat)
DEFINE_FSTATAT(fstatat64, stat64)

PUBLIC int statx(int dir, const char *path, int flags, unsigned int mask, struct statx *st)
{
	if (!is_kvm_at(dir, path))
		return NEXT(statx)(dir, path, flags, mask, st);
	memset(st, 0, sizeof(*st));
	st->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK;
	st->stx_mode = S_IFCHR | 0666;
	st->stx_nlink = 1;
	st->stx_blksize = 4096;
	st->stx_rdev_major = KVM_MAJOR;
	st->stx_rdev_minor = KVM_MINOR;
	return 0;
}

/* ---- using it ---- */

PUBLIC int ioctl(int fd, unsigned long request, ...)
{
	struct trace_call trace;
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) != KVMIO || inside)
		return NEXT(ioctl)(fd, request, arg);
	trace_enter(&trace, fd, request, arg);
	r = ASK(anykvm_ioctl(fd, request, arg));
	/* An unknown request to an object of ours, or somebody else's descriptor. */
	if ((r == -ENOTTY || r == -EBADF) && ASK(anykvm_kind(fd)) == ANYKVM_NONE)
		return NEXT(ioctl)(fd, request, arg);
	set_maybe(fd);
	if (r >= 0 && (request == KVM_CREATE_VM || request == KVM_CREATE_VCPU))
		set_maybe(r);
	trace_leave(&trace, fd, request, arg, r);
	return result(r);
}

/* Neither the system object nor those behind it are files to be read or written. */
PUBLIC ssize_t read(int fd, void *buf, size_t n)
{
	return kind_of(fd) == ANYKVM_NONE ? NEXT(read)(fd, buf, n) : result(-EINVAL);
}

PUBLIC ssize_t write(int fd, const void *buf, size_t n)
{
	return kind_of(fd) == ANYKVM_NONE ? NEXT(write)(fd, buf, n) : result(-EINVAL);
}

PUBLIC int close(int fd)
{
	return kind_of(fd) == ANYKVM_NONE ? NEXT(close)(fd) : result(ASK(anykvm_close(fd)));
}

/* Of what an object has to be mapped, the rings of dirty pages are to be shared, and hold no code. */
#define RING_OFFSET	(KVM_DIRTY_LOG_PAGE_OFFSET * 4096l)

#define DEFINE_MMAP(name)							\
PUBLIC void *name(void *addr, size_t n, int prot, int flags, int fd, off_t offset)	\
{										\
	if (is_maybe(fd) && (off_t)(offset + n) > RING_OFFSET &&		\
	    (prot & PROT_EXEC || flags & MAP_PRIVATE) && kind_of(fd) == ANYKVM_OBJECT) { \
		errno = EINVAL;							\
		return MAP_FAILED;						\
	}									\
	return is_maybe(fd) && kind_of(fd) == ANYKVM_OBJECT ?			\
		ASK(anykvm_mmap(addr, n, prot, flags, fd, offset)) :		\
		NEXT(name)(addr, n, prot, flags, fd, offset);			\
}
DEFINE_MMAP(mmap)
DEFINE_MMAP(mmap64)

PUBLIC int dup(int fd)
{
	return duplicated(fd, NEXT(dup)(fd));
}

/*
 * What the copy takes the place of may have been the last descriptor of an object. Descriptors that a child of vfork
 * changes are its own, though it runs these functions in our memory: that costs questions, no more.
 */
static bool replace(int copy)
{
	bool was_maybe = is_maybe(copy);

	if (was_maybe)
		anykvm_begin_change(copy);
	return was_maybe;
}

static int replaced(int fd, int copy, int wanted, bool was_maybe)
{
	if (was_maybe)
		anykvm_end_change(wanted);
	if (copy >= 0 && was_maybe && !inside) {
		int saved = errno;

		inside = true;
		anykvm_collect();
		inside = false;
		errno = saved;
	}
	return duplicated(fd, copy);
}

PUBLIC int close_range(unsigned int first, unsigned int last, int flags)
{
	int r;

	anykvm_begin_change(-1);
	r = NEXT(close_range)(first, last, flags);
	anykvm_end_change(-1);
	return r;
}

PUBLIC void closefrom(int first)
{
	anykvm_begin_change(-1);
	NEXT(closefrom)(first);
	anykvm_end_change(-1);
}

PUBLIC int dup2(int fd, int copy)
{
	bool was_maybe = replace(copy);

	return replaced(fd, NEXT(dup2)(fd, copy), copy, was_maybe);
}

PUBLIC int dup3(int fd, int copy, int flags)
{
	bool was_maybe = replace(copy);

	return replaced(fd, NEXT(dup3)(fd, copy, flags), copy, was_maybe);
}

#define DEFINE_FCNTL(name)							\
PUBLIC int name(int fd, int command, ...)					\
{										\
	va_list ap;								\
	void *arg;								\
	int r;									\
										\
	va_start(ap, command);							\
	arg = va_arg(ap, void *);						\
	va_end(ap);								\
	r = NEXT(name)(fd, command, arg);					\
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC ?		\
		duplicated(fd, r) : r;						\
}
DEFINE_FCNTL(fcntl)
DEFINE_FCNTL(fcntl64)
