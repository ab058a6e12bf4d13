/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU's registers in the API's groups. The setters check what Linux's KVM checks: 0 or -EINVAL, with
 * nothing changed. v's thread, entered (PAE's pointers are read from guest memory).
 */
#ifndef KVM_X86_STATE_H
#define KVM_X86_STATE_H

#include "kvm/x86/cpu.h"
#include "kvm/x86/msr.h"

void x86_get_regs(const struct x86_cpu *c, struct kvm_regs *r);
void x86_set_regs(struct x86_cpu *c, const struct kvm_regs *r);
void x86_get_sregs(struct x86_cpu *c, struct kvm_sregs *s);
int x86_set_sregs(struct x86_cpu *c, const struct kvm_sregs *s);
void x86_get_sregs2(struct x86_cpu *c, struct kvm_sregs2 *s);
int x86_set_sregs2(struct x86_cpu *c, const struct kvm_sregs2 *s);
void x86_get_debugregs(const struct x86_cpu *c, struct kvm_debugregs *d);
int x86_set_debugregs(struct x86_cpu *c, const struct kvm_debugregs *d);
int x86_get_xcrs(const struct x86_cpu *c, struct kvm_xcrs *x);
int x86_set_xcrs(struct x86_cpu *c, const struct kvm_xcrs *x);

#endif
