/* SPDX-License-Identifier: GPL-2.0-only */
/* The x86 part of a VM: interrupt chips, clock, what the API set for all vCPUs. */
#ifndef KVM_X86_VM_H
#define KVM_X86_VM_H

#include "kvm/os/os.h"

struct kvm_hv;
struct kvm_pic;
struct kvm_ioapic;
struct kvm_pit;
struct x86_decoder;
struct x86_msr_filter;

enum kvm_irqchip_mode {
	KVM_IRQCHIP_NONE,	/* the VMM has all chips */
	KVM_IRQCHIP_KERNEL,	/* PIC, I/O APIC and local APICs are ours */
	KVM_IRQCHIP_SPLIT,	/* local APICs only */
};

struct x86_vm {
	enum kvm_irqchip_mode irqchip_mode;
	u32 nr_reserved_ioapic_pins;	/* split */
	struct kvm_pic *pic;
	struct kvm_ioapic *ioapic;
	struct kvm_pit *pit;
	struct x86_decoder *decoder;
	struct kvm_hv *hv;		/* Hyper-V's interfaces: hyperv.h */

	struct os_mutex clock_lock;	/* what follows */
	s64 clock_offset;		/* kvmclock = boottime + offset */
	u64 base_tsc, base_ns;		/* the pair that all vCPUs reckon kvmclock from; 0: not taken yet */
	u64 wall_clock_gpa;
	u32 default_tsc_khz;
	u32 last_tsc_khz;
	u64 last_tsc_write, last_tsc_nsec, last_tsc_offset;	/* TSC writes that mean to synchronise */

	struct os_mutex split_lock;	/* locked instructions that cross a page or touch a device */
	u64 tss_addr, identity_map_addr;
	u64 disabled_quirks;
	u32 disabled_exits;		/* KVM_X86_DISABLE_EXITS_* */
	bool x2apic_format;		/* 32-bit APIC ids in the API */
	bool x2apic_no_broadcast_quirk;
	bool platform_info_hidden;	/* KVM_CAP_MSR_PLATFORM_INFO off */
	bool exception_payload, triple_fault_event;	/* KVM_ENABLE_CAP */
	u32 msr_exits;			/* KVM_CAP_X86_USER_SPACE_MSR: KVM_MSR_EXIT_REASON_* */
	u32 hypercall_exits;		/* KVM_CAP_EXIT_HYPERCALL: a bit a number */
	struct os_mutex msr_filter_lock;	/* the next: looked at and replaced under it */
	struct x86_msr_filter *msr_filter;
	u32 bsp_vcpu_id;
};

#endif
