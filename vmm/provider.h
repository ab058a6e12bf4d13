/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who serves the KVM API: Linux's /dev/kvm, or libanykvm in this process.
 *
 * This is the one boundary between the emulator and whoever runs the guest. The requests and
 * structs are those of linux/kvm.h, on both sides; nothing above this table can tell which
 * provider it talks to.
 */
#ifndef VMM_PROVIDER_H
#define VMM_PROVIDER_H

#include <linux/kvm.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/ram.h"

struct kvm_provider {
	const char *name;		/* "kvm" or "soft", as --accel spells it */
	const char *description;	/* one line for people */

	/* Opens the system object (what open("/dev/kvm") gives). Returns a descriptor or -errno. */
	int (*open)(void);
	/* As ioctl(2) on any KVM descriptor, but returns -errno instead of setting errno. */
	int (*ioctl)(int fd, unsigned long request, void *arg);
	/*
	 * NULL where nobody wants to know; else to be called of a VM whenever its memory was written
	 * other than by a vCPU, or by the answer to one's exit, before the guest can learn of it.
	 * Begins with a call with none. Linux's KVM has the hardware see to it; a processor made of
	 * software keeps code that it made of memory.
	 */
	void (*memory_written)(int vm, const struct ram_range *ranges, unsigned int count);
	/* Maps a vCPU's kvm_run area, shared and writable. Returns MAP_FAILED with errno set. */
	void *(*mmap)(size_t length, int fd, off_t offset);
	int (*munmap)(void *addr, size_t length);
	/* Closes any descriptor of this provider. Returns 0 or -errno. */
	int (*close)(int fd);
};

extern const struct kvm_provider kvm_provider_linux;
extern const struct kvm_provider kvm_provider_soft;

/* Which engine of the software processor's runs machines made from now on: "interp" or "jit". Returns 0,
 * -EINVAL where there is none of that name, -ENOSYS in a build without libanykvm. */
int kvm_provider_soft_engine(const char *name);
/* What else it is to do with such machines: anykvm_set_option in kvm/anykvm.h. 0, -ENOENT, -EINVAL and others,
 * -ENOSYS in a build without libanykvm. */
int kvm_provider_soft_option(const char *name, const char *value);

#endif
