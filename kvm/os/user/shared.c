/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory that others may read: a memfd, mapped here, of which each reader gets a description of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

struct os_shared {
	int fd;
	void *mem;
	size_t size;
};

u32 os_process_id(void)
{
	return getpid();
}

int os_shared_create(const char *name, size_t size, struct os_shared **out, void **mem)
{
	struct os_shared *s = malloc(sizeof(*s));
	int saved = errno, r = 0;

	if (!s)
		return -ENOMEM;
	s->size = size;
	s->mem = MAP_FAILED;
	s->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* A file cut short would turn our accesses into SIGBUS. */
	if (s->fd >= 0 && !ftruncate(s->fd, size) &&
	    !fcntl(s->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		s->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->mem == MAP_FAILED) {
		r = -errno;
		if (s->fd >= 0)
			close(s->fd);
		free(s);
	} else {
		*mem = s->mem;
		*out = s;
	}
	errno = saved;
	return r;
}

int os_shared_open(struct os_shared *s)
{
	int saved = errno, fd;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	errno = saved;
	return fd;
}

void os_shared_destroy(struct os_shared *s)
{
	if (!s)
		return;
	munmap(s->mem, s->size);
	close(s->fd);
	free(s);
}
