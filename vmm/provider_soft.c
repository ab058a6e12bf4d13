/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The KVM API as libanykvm serves it in this process. The one file of vmm/ that knows the library.
 * A build without the library has the provider too, but it does not open.
 */
#include "vmm/provider.h"

#include <errno.h>
#include <sys/mman.h>

#ifdef HAVE_LIBANYKVM
#include "kvm/anykvm.h"
#include "kvm/ioctl.h"
#else
static int anykvm_open(void)
{
	return -ENOSYS;
}

static void anykvm_changes_are_told(void)
{
}

static int anykvm_ioctl(int fd, unsigned long request, void *arg)
{
	return -ENOTTY;
}

static void *anykvm_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return MAP_FAILED;
}

static int anykvm_close(int fd)
{
	return -EBADF;
}

static int anykvm_set_engine(const char *name)
{
	return -ENOSYS;
}

static int anykvm_set_option(const char *name, const char *value)
{
	return -ENOSYS;
}
#endif

int kvm_provider_soft_option(const char *name, const char *value)
{
	return anykvm_set_option(name, value);
}

int kvm_provider_soft_engine(const char *name)
{
	return anykvm_set_engine(name);
}

#ifdef HAVE_LIBANYKVM
static void soft_memory_written(int vm, const struct ram_range *ranges, unsigned int count)
{
	struct anykvm_memory_written written = { 0 };

	do {
		for (written.count = 0; count && written.count < ANYKVM_WRITTEN_RANGES; count--) {
			written.range[written.count].gpa = ranges->gpa;
			written.range[written.count].length = ranges->length;
			written.count++;
			ranges++;
		}
		anykvm_ioctl(vm, ANYKVM_MEMORY_WRITTEN, &written);
	} while (count);
}
#endif

/* Nobody here closes a descriptor of the provider's but by its close. */
static int soft_open(void)
{
	anykvm_changes_are_told();
	return anykvm_open();
}

static void *soft_mmap(size_t length, int fd, off_t offset)
{
	return anykvm_mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

const struct kvm_provider kvm_provider_soft = {
	.name = "soft",
	.description = "libanykvm's software processor",
	.open = soft_open,
	.ioctl = anykvm_ioctl,
#ifdef HAVE_LIBANYKVM
	.memory_written = soft_memory_written,
#endif
	.mmap = soft_mmap,
	.munmap = munmap,
	.close = anykvm_close,
};
