/* SPDX-License-Identifier: GPL-2.0-only */
/* MSRs for the API: which there are, what the host offers, machine checks. */
#ifndef KVM_X86_MSR_H
#define KVM_X86_MSR_H

#include "kvm/x86/cpu.h"

/* KVM_GET_MSR_INDEX_LIST: what makes up a vCPU's state; features: KVM_GET_MSR_FEATURE_INDEX_LIST. Fills up to
 * max; how many there are. */
u32 x86_msr_list(u32 *indices, u32 max, bool features);
/* KVM_GET_MSRS on the system descriptor. 0, -EINVAL. */
int x86_get_feature_msr(u32 index, u64 *val);

/*
 * RDMSR and WRMSR by the guest: with KVM_X86_SET_MSR_FILTER's filter and, where the VMM wants to hear of what is
 * refused (KVM_CAP_X86_USER_SPACE_MSR), its answer. enum x86_result. msr_user.c.
 */
int x86_rdmsr(struct x86_cpu *c, u32 index, u64 *val);
int x86_wrmsr(struct x86_cpu *c, u32 index, u64 val);
/* KVM_X86_SET_MSR_FILTER. 0, -EINVAL, -EFAULT, -ENOMEM. */
int kvm_set_msr_filter(struct kvm *kvm, const struct kvm_msr_filter *f);
void kvm_msr_filter_destroy(struct kvm *kvm);

/* KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_X86_SETUP_MCE, KVM_X86_SET_MCE. 0, -EINVAL. */
#define KVM_MCE_CAP_SUPPORTED	0x1000100ull	/* MCG_CTL_P, MCG_SER_P */
#define KVM_MAX_MCE_BANKS	32
int x86_setup_mce(struct x86_cpu *c, u64 mcg_cap);
int x86_set_mce(struct x86_cpu *c, const struct kvm_x86_mce *mce);

/* Does CPUID fault above level 0 (MISC_FEATURES_ENABLES)? */
bool x86_cpuid_faults(const struct x86_cpu *c);

#endif
