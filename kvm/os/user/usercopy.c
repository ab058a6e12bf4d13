/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The caller's memory, never trusted: an ioctl's argument may point anywhere, and a memory slot may
 * name addresses that are not mapped. The kernel looks for us (process_vm_readv on ourselves, madvise), so
 * that no signal handler of ours gets in the way of the program's.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22	/* Linux 5.14 */
#define MADV_POPULATE_WRITE	23
#endif

/*
 * Where process_vm_readv is not allowed (some sandboxes), bytes go through a memfd: read and write
 * give EFAULT too.
 */
static struct {
	struct os_mutex lock;
	int fd;			/* plus one */
} bounce;

static int through_file(void *dst, const void *src, size_t n)
{
	int r = 0;

	os_mutex_lock(&bounce.lock);
	if (!bounce.fd)
		bounce.fd = memfd_create("anykvm-copy", MFD_CLOEXEC) + 1;
	if (!bounce.fd) {
		r = -EFAULT;
		goto out;
	}
	while (n) {
		ssize_t part = min(n, (size_t)65536);

		if (pwrite(bounce.fd - 1, src, part, 0) != part ||
		    pread(bounce.fd - 1, dst, part, 0) != part) {
			r = -EFAULT;
			break;
		}
		src = (const char *)src + part;
		dst = (char *)dst + part;
		n -= part;
	}
out:
	os_mutex_unlock(&bounce.lock);
	return r;
}

void user_copy_after_fork(void)
{
	/* The file is shared with the parent, the lock is not: a file of its own. */
	if (bounce.fd)
		close(bounce.fd - 1);
	bounce.fd = 0;
	bounce.lock.word = 0;
}

static int copy(void *dst, const void *src, size_t n, bool to_user)
{
	/* process_vm_readv checks the remote side and faults nowhere; the local side is checked as well. */
	struct iovec local = { .iov_base = to_user ? (void *)src : dst, .iov_len = n };
	struct iovec remote = { .iov_base = to_user ? dst : (void *)src, .iov_len = n };
	int saved = errno, r = 0;
	ssize_t done;

	if (!n)
		return 0;
	done = to_user ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0) :
			 process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	if (done != (ssize_t)n)
		r = done < 0 && (errno == EPERM || errno == ENOSYS) ?
			through_file(dst, src, n) : -EFAULT;
	errno = saved;
	return r;
}

int os_copy_from_user(void *dst, u64 user, size_t n)
{
	return copy(dst, (const void *)user, n, false);
}

int os_copy_to_user(u64 user, const void *src, size_t n)
{
	return copy((void *)user, src, n, true);
}

/* Reads, or adds 0 to, the first word: for mappings that madvise does not populate (device memory). */
static bool touch(const void *p, bool write)
{
	u32 word;

	if (os_copy_from_user(&word, (u64)p, sizeof(word)))
		return false;
	if (!write)
		return true;
	/* An atomic addition by the kernel, which fails with EFAULT instead of a signal. */
	return syscall(SYS_futex, p, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, p,
		       FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)) >= 0;
}

bool os_user_page_ok(const void *p, bool write)
{
	void *page = (void *)((u64)p & PAGE_MASK);
	int saved = errno, r;
	bool ok;

	do
		r = madvise(page, PAGE_SIZE, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	while (r && (errno == EINTR || errno == EAGAIN));
	/* EINVAL: an old kernel or a special mapping; the others: a sandbox. */
	ok = !r || ((errno == EINVAL || errno == EPERM || errno == ENOSYS) && touch(page, write));
	errno = saved;
	return ok;
}
