// SPDX-License-Identifier: GPL-2.0-only
/*
 * libanykvm-preload.so: a program that is loaded with it (LD_PRELOAD) finds a working /dev/kvm.
 *
 * Calls that name the file /dev/kvm, and ioctls whose number is of KVM's kind, are looked at; all else
 * goes to the C library untouched. Objects are memfds, so mmap, poll, dup, fcntl and close need no help,
 * but that close lets go of what has lost its last descriptor.
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

static bool is_kvm(const char *path)
{
	return path && !inside && !strcmp(path, "/dev/kvm");
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
	int fd = ASK(anykvm_open());

	/* Ours closes itself on exec; the caller may want it otherwise. */
	if (fd >= 0 && !(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
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
	return is_kvm(path) ? open_kvm(flags) : NEXT(name)(dir, path, flags, mode); \
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
	return is_kvm(path) ? open_kvm(flags) : NEXT(__openat_2)(dir, path, flags);
}

PUBLIC int __openat64_2(int dir, const char *path, int flags)
{
	return is_kvm(path) ? open_kvm(flags) : NEXT(__openat64_2)(dir, path, flags);
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

PUBLIC int access(const char *path, int mode)
{
	return is_kvm(path) ? 0 : NEXT(access)(path, mode);
}

PUBLIC int euidaccess(const char *path, int mode)
{
	return is_kvm(path) ? 0 : NEXT(euidaccess)(path, mode);
}

PUBLIC int eaccess(const char *path, int mode)
{
	return is_kvm(path) ? 0 : NEXT(eaccess)(path, mode);
}

PUBLIC int faccessat(int dir, const char *path, int mode, int flags)
{
	return is_kvm(path) ? 0 : NEXT(faccessat)(dir, path, mode, flags);
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

#define DEFINE_FSTATAT(name, type)						\
PUBLIC int name(int dir, const char *path, struct type *st, int flags)		\
{										\
	return is_kvm(path) ? FILL_STAT(st) : NEXT(name)(dir, path, st, flags);	\
}
DEFINE_FSTATAT(fstatat, stat)
DEFINE_FSTATAT(fstatat64, stat64)

PUBLIC int statx(int dir, const char *path, int flags, unsigned int mask, struct statx *st)
{
	if (!is_kvm(path))
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
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) != KVMIO || inside || !ASK(anykvm_owns(fd)))
		return NEXT(ioctl)(fd, request, arg);
	trace_enter(fd, request, arg);
	r = ASK(anykvm_ioctl(fd, request, arg));
	trace_leave(fd, request, arg, r);
	return result(r);
}

PUBLIC int close(int fd)
{
	return !inside && ASK(anykvm_owns(fd)) ? result(ASK(anykvm_close(fd))) : NEXT(close)(fd);
}
