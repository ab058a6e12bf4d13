/* SPDX-License-Identifier: GPL-2.0-only */
/* The KVM API as Linux serves it: /dev/kvm and plain system calls. */
#include "vmm/provider.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int linux_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int linux_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static void *linux_mmap(size_t length, int fd, off_t offset)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static int linux_close(int fd)
{
	return close(fd) ? -errno : 0;
}

const struct kvm_provider kvm_provider_linux = {
	.name = "kvm",
	.description = "Linux's KVM (/dev/kvm)",
	.open = linux_open,
	.ioctl = linux_ioctl,
	.mmap = linux_mmap,
	.munmap = munmap,
	.close = linux_close,
};
