/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What libanykvm serves beside Linux's requests; Linux's KVM answers ENOTTY.
 */
#ifndef KVM_IOCTL_H
#define KVM_IOCTL_H

#include <linux/kvm.h>

#define ANYKVM_WRITTEN_RANGES	16

/*
 * Of a VM: the VMM, or the host's kernel for it, has written to these parts of guest memory, of which there may be
 * none. Who tells so once promises to tell always, before the guest can learn of it, of all that is written while a vCPU
 * is in KVM_RUN. What was made from guest memory (decoded and translated code) then needs not be compared with
 * it after each interrupt that the VMM raises.
 */
struct anykvm_memory_written {
	__u32 count;
	__u32 pad;
	struct {
		__u64 gpa, length;
	} range[ANYKVM_WRITTEN_RANGES];
};

#define ANYKVM_MEMORY_WRITTEN	_IOW(KVMIO, 0xff, struct anykvm_memory_written)

#endif
