/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM: made by KVM_CREATE_VM, gone with the last descriptor of it and of its vCPUs.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/msr.h"

static void destroy(struct kvm *kvm)
{
	struct kvm_vcpu *v;
	u32 i;

	/* First what runs on other threads, then what that used. Chips leave the buses, which asks the vCPUs. */
	kvm_eventfds_destroy(kvm);
	kvm_pit_destroy(kvm);
	kvm_ioapic_destroy(kvm);
	kvm_pic_destroy(kvm);
	kvm_for_each_vcpu(v, kvm, i)
		kvm_free_vcpu(v);
	kvm->nr_vcpus = 0;
	kvm_buses_destroy(kvm);
	kvm_irq_routing_destroy(kvm);
	kvm_memslots_destroy(kvm);
	kvm_msr_filter_destroy(kvm);
	kvm_hv_destroy_vm(kvm);
	if (kvm->cpu)
		kvm->ops->vm_destroy(kvm);
	kvm_stats_destroy(&kvm->stats);
	os_free(kvm);
}

struct kvm *kvm_create_vm(unsigned long type, int *error)
{
	struct kvm *kvm;
	int r;

	*error = -EINVAL;
	if (type)
		return NULL;
	*error = -ENOMEM;
	kvm = os_alloc(sizeof(*kvm));
	if (!kvm)
		return NULL;
	kvm->refs = 1;
	kvm_stats_init(&kvm->stats);
	kvm->ops = &soft_cpu_ops;
	kvm->max_vcpu_id = KVM_MAX_VCPU_ID;
	/* On a single processor, whoever is waited for waits for the poller. */
	kvm->halt_poll_max = os_nr_cpus() > 1 ? KVM_HALT_POLL_DEFAULT : 0;
	kvm->arch.default_tsc_khz = os_tsc_khz();
	kvm->arch.clock_offset = -(s64)os_boottime_ns();	/* kvmclock begins at 0 */

	r = kvm_memslots_init(kvm);
	if (!r)
		r = kvm_buses_init(kvm);
	if (!r)
		r = kvm_irq_routing_init(kvm);
	if (!r)
		r = kvm_eventfds_init(kvm);
	if (!r)
		r = kvm_hv_init_vm(kvm);
	if (!r)
		r = kvm->ops->vm_create(kvm);
	*error = r;
	if (!r)
		return kvm;
	destroy(kvm);
	return NULL;
}

void kvm_get_vm(struct kvm *kvm)
{
	atomic_add(&kvm->refs, 1);
}

void kvm_put_vm(struct kvm *kvm)
{
	if (!atomic_add(&kvm->refs, -1))
		destroy(kvm);
}
