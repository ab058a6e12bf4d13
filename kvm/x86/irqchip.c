// SPDX-License-Identifier: GPL-2.0-only
/* Where the run loop's next interrupt comes from: the PIC through LINT0, or the local APIC. */
#include "kvm/x86/irqchip.h"

/* The PIC's output, ours or (split) what the VMM gave by KVM_INTERRUPT. */
static bool external(struct kvm_vcpu *v)
{
	struct x86_vm *vm = &v->kvm->arch;

	if (!kvm_lapic_accepts_pic(v))
		return false;
	return vm->irqchip_mode == KVM_IRQCHIP_SPLIT ? v->cpu.ev.extint_pending : kvm_pic_output(v->kvm);
}

bool kvm_has_interrupt(struct kvm_vcpu *v)
{
	if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE)
		return false;
	return external(v) || kvm_lapic_pending_vector(v) >= 0;
}

int kvm_take_interrupt(struct kvm_vcpu *v)
{
	int vector;

	if (external(v)) {
		if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL)
			return kvm_pic_acknowledge(v->kvm);
		v->cpu.ev.extint_pending = false;
		return v->cpu.ev.extint_vector;
	}
	vector = kvm_lapic_pending_vector(v);
	if (vector >= 0)
		kvm_lapic_accept(v, vector);
	return vector;
}
