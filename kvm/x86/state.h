/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processor's state in the API's formats. v's thread, or a caller who holds the vCPU's lock; entered
 * (kvm_vcpu_enter), since loading control registers may read page tables.
 */
#ifndef KVM_X86_STATE_H
#define KVM_X86_STATE_H

#include "kvm/x86/cpu.h"

/* ---- state.c ---- */
void x86_get_regs(struct x86_cpu *c, struct kvm_regs *r);
void x86_set_regs(struct x86_cpu *c, const struct kvm_regs *r);
void x86_get_sregs(struct x86_cpu *c, struct kvm_sregs *s);
int x86_set_sregs(struct x86_cpu *c, const struct kvm_sregs *s);	/* 0, -EINVAL: no state a processor can be in */
void x86_get_sregs2(struct x86_cpu *c, struct kvm_sregs2 *s);
int x86_set_sregs2(struct x86_cpu *c, const struct kvm_sregs2 *s);
void x86_get_debugregs(struct x86_cpu *c, struct kvm_debugregs *d);
int x86_set_debugregs(struct x86_cpu *c, const struct kvm_debugregs *d);
int x86_get_xcrs(struct x86_cpu *c, struct kvm_xcrs *x);
int x86_set_xcrs(struct x86_cpu *c, const struct kvm_xcrs *x);

/* ---- msr.c ---- */
/* KVM_GET_MSR_INDEX_LIST (features false) and KVM_GET_MSR_FEATURE_INDEX_LIST: up to max indices into out;
 * the number that there are. */
u32 x86_msr_list(u32 *out, u32 max, bool features);
int x86_get_feature_msr(u32 index, u64 *val);	/* the system's KVM_GET_MSRS: 0, -ENOENT */
int x86_setup_mce(struct x86_cpu *c, u64 mcg_cap);			/* 0, -EINVAL */
int x86_set_mce(struct x86_cpu *c, const struct kvm_x86_mce *mce);	/* 0, -EINVAL */

#endif
