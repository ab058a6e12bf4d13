/* SPDX-License-Identifier: GPL-2.0-only */
/* Guest memory; see ram.h. */
#include "vmm/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/benign.h"

static int fail(struct ram *ram, struct vmm_error *error, const char *what, int code)
{
	ram_destroy(ram);
	return vmm_fail(error, code, "cannot %s %" PRIu64 " MiB of guest memory: %s", what,
			ram->size >> 20, strerror(-code));
}

int ram_create(struct ram *ram, uint64_t size, struct vmm_error *error)
{
	uint64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	void *host;

	*ram = (struct ram){ .fd = -1, .size = size };
	if (size % 4096)
		return vmm_fail(error, -EINVAL, "memory must be a multiple of 4 KiB");
	if (size / page > pages)
		return vmm_fail(error, -ENOMEM,
				"memory of %" PRIu64 " MiB does not fit: this machine has %" PRIu64
				" MiB; give the guest less", size >> 20, (pages * page) >> 20);
	ram->low_size = size < RAM_HOLE_START ? size : RAM_HOLE_START;
	ram->high_size = size - ram->low_size;
	ram->fd = memfd_create("guest-memory", MFD_CLOEXEC);
	if (ram->fd < 0)
		return fail(ram, error, "create", -errno);
	if (ftruncate(ram->fd, size))
		return fail(ram, error, "create", -errno);
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
	if (host == MAP_FAILED)
		return fail(ram, error, "map", -errno);
	ram->host = host;
	guest_memory(host, size);
	/* Only advice: the kernel may not give shared memory huge pages. Guests' memory does not
	 * belong in a core dump. */
	madvise(host, size, MADV_HUGEPAGE);
	madvise(host, size, MADV_DONTDUMP);
	return 0;
}

void ram_destroy(struct ram *ram)
{
	if (ram->host)
		munmap(ram->host, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	ram->host = NULL;
	ram->fd = -1;
}

int64_t ram_offset(const struct ram *ram, uint64_t gpa)
{
	if (gpa < ram->low_size)
		return gpa;
	if (gpa >= RAM_HOLE_END && gpa - RAM_HOLE_END < ram->high_size)
		return gpa - RAM_HOLE_END + ram->low_size;
	return -1;
}

void *ram_ptr(const struct ram *ram, uint64_t gpa, uint64_t length)
{
	int64_t offset = ram_offset(ram, gpa);
	uint64_t end;

	if (offset < 0)
		return NULL;
	end = (uint64_t)offset < ram->low_size ? ram->low_size : ram->size;
	return length <= end - offset ? ram->host + offset : NULL;
}

int ram_read(const struct ram *ram, uint64_t gpa, void *to, uint64_t length)
{
	const void *from = ram_ptr(ram, gpa, length);

	if (!from)
		return -EFAULT;
	memcpy(to, from, length);
	return 0;
}

int ram_write(const struct ram *ram, uint64_t gpa, const void *from, uint64_t length)
{
	void *to = ram_ptr(ram, gpa, length);

	if (!to)
		return -EFAULT;
	memcpy(to, from, length);
	return 0;
}
