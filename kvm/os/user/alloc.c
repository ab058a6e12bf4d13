/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory, code memory, random numbers, and how the core speaks to people. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

/* Cache lines, and what the FXSAVE image in a vCPU needs. */
#define ALLOC_ALIGN	64

void *os_alloc(size_t size)
{
	size_t n = ALIGN_UP(size, (size_t)ALLOC_ALIGN);
	void *p;

	if (n < size)
		return NULL;
	p = aligned_alloc(ALLOC_ALIGN, n ? n : ALLOC_ALIGN);
	if (p)
		memset(p, 0, n);
	return p;
}

void os_free(void *p)
{
	free(p);
}

void *os_alloc_large(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void os_free_large(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

void os_large_zero(void *p, size_t size)
{
	/* It says no where the process locks its memory. */
	if (madvise(p, size, MADV_DONTNEED))
		memset(p, 0, size);
}

/*
 * Code is written through one mapping and run through another, so that no page is ever both writable
 * and executable at the same address. Shared anonymous memory, not a memfd: perf(1) looks for names of code in no other.
 */
int os_code_alloc(struct os_code *c, size_t size)
{
	int r;

	size = ALIGN_UP(size, (size_t)PAGE_SIZE);
	*c = (struct os_code){ .size = size };
	c->rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->rw == MAP_FAILED) {
		c->rw = NULL;
		goto out;
	}
	/* Of size 0, the old mapping stays, and the new one is of the same memory. */
	c->rx = mremap(c->rw, 0, size, MREMAP_MAYMOVE);
	if (c->rx == MAP_FAILED) {
		c->rx = NULL;
		goto out;
	}
	if (!mprotect(c->rx, size, PROT_READ | PROT_EXEC))
		return 0;
out:
	r = -errno;
	os_code_free(c);
	return r;
}

void os_code_free(struct os_code *c)
{
	if (c->rw)
		munmap(c->rw, c->size);
	if (c->rx)
		munmap(c->rx, c->size);
	*c = (struct os_code){ 0 };
}

void os_code_drop(struct os_code *c, size_t from)
{
	from = ALIGN_UP(from, (size_t)PAGE_SIZE);
	/* Where it cannot be done, it is only kept. */
	if (from < c->size)
		madvise(c->rw + from, c->size - from, MADV_REMOVE);
}

void os_random(void *p, size_t n)
{
	u8 *to = p;

	while (n) {
		ssize_t got = getrandom(to, min(n, (size_t)256), 0);

		if (got < 0 && errno != EINTR)
			os_panic("getrandom does not work");
		if (got > 0) {
			to += got;
			n -= got;
		}
	}
}

/* One write a line, so that lines of several threads do not mix. */
void os_log(const char *fmt, ...)
{
	static const char prefix[] = "anykvm: ";
	char line[512];
	int saved = errno;
	va_list ap;
	size_t n;
	int r;

	memcpy(line, prefix, sizeof(prefix) - 1);
	n = sizeof(prefix) - 1;
	va_start(ap, fmt);
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (r > 0)
		n += min((size_t)r, sizeof(line) - n - 2);
	if (line[n - 1] != '\n')
		line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, n);	/* nowhere to complain that this does not work */
	errno = saved;
}

void os_panic(const char *what)
{
	os_log("bug: %s", what);
	abort();
}
