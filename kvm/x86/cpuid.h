/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUID: what we can show (KVM_GET_SUPPORTED_CPUID), and what a guest was given. */
#ifndef KVM_X86_CPUID_H
#define KVM_X86_CPUID_H

#include "kvm/x86/cpu.h"

#define KVM_MAX_CPUID_ENTRIES	256	/* KVM_SET_CPUID2's limit */

/* KVM_GET_SUPPORTED_CPUID, KVM_GET_EMULATED_CPUID. Fill up to max entries; the number, or -E2BIG. */
int x86_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max);
int x86_emulated_cpuid(struct kvm_cpuid_entry2 *entries, u32 max);

/*
 * KVM_SET_CPUID2: takes over a copy of the n entries, and with it the guest's features, vendor and address
 * width. 0; -EINVAL (widths other than 48 bits linear, physical bits beyond the host's
 * page tables), -E2BIG, -ENOMEM. The caller flushes what was decoded under the old one.
 */
int x86_set_cpuid(struct x86_cpu *c, const struct kvm_cpuid_entry2 *entries, u32 n);
/* Is that what is set already, the runtime bits as they are now aside? */
bool x86_same_cpuid(struct x86_cpu *c, const struct kvm_cpuid_entry2 *entries, u32 n);
/* KVM_GET_CPUID2: what was set, with the runtime bits as they are now. The number, or -E2BIG. */
int x86_get_cpuid(struct x86_cpu *c, struct kvm_cpuid_entry2 *entries, u32 max);
/* Until the VMM sets one: no leaves, and every feature that the host can run. x86_msr_init calls it. */
void x86_cpuid_init(struct x86_cpu *c);

u8 x86_host_vendor(void);		/* X86_VENDOR_* */
/* XCR0 bits that the guest may set. */
u64 x86_guest_xcr0(const struct x86_cpu *c);
/* The size of an XSAVE area with the components of xcr0; compacted: XSAVEC's. */
u32 x86_xsave_size(u64 xcr0, bool compacted);
/* The XCR0 bits that we implement on this host. */
u64 x86_supported_xcr0(void);
/* Host features that we implement, as X86_FEATURE words. */
void x86_supported_features(u32 words[X86_NR_FEATURE_WORDS]);

#endif
