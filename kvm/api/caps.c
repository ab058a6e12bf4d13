/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Capabilities: what KVM_CHECK_EXTENSION answers, and what KVM_ENABLE_CAP turns on. Whatever is not in the table is 0:
 * not there.
 */
#include "kvm/api/api.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/xstate.h"

#define XSAVE_SIZE	sizeof(struct kvm_xsave)	/* no component of ours needs more */

#define DIRTY_RING_MAX	(KVM_DIRTY_RING_MAX_ENTRIES * sizeof(struct kvm_dirty_gfn))

/* Quirks: odd behaviour of old that a VMM can turn off. Those that differ here: see who asks disabled_quirks. */
#define QUIRKS	(KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED | \
		 KVM_X86_QUIRK_LAPIC_MMIO_HOLE | KVM_X86_QUIRK_OUT_7E_INC_RIP | \
		 KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN | \
		 KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

#define DISABLE_EXITS	(KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE)

#define X2APIC_API_FLAGS (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)

#define MSR_EXIT_REASONS	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
				 KVM_MSR_EXIT_REASON_FILTER)

#define HYPERCALL_EXITS	BIT(12)		/* KVM_HC_MAP_GPA_RANGE */

#define GUEST_DEBUG	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP | \
			 KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP | \
			 KVM_GUESTDBG_BLOCKIRQ)

#define CLOCK_FLAGS	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

#define MCE_BANKS	32	/* as many as Linux has; msr.c's */

#define MANUAL_PROTECT	(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)

struct cap {
	const char *name;
	u32 cap;
	u32 value;
};

#define CAP(name, value)	{ #name, name, value }

static const struct cap caps[] = {
	/* the system and VMs */
	CAP(KVM_CAP_USER_MEMORY, 1),
	CAP(KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1),
	CAP(KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1),
	CAP(KVM_CAP_SYNC_MMU, 1),
	CAP(KVM_CAP_READONLY_MEM, 1),
	CAP(KVM_CAP_NR_MEMSLOTS, KVM_MAX_SLOTS),
	CAP(KVM_CAP_MULTI_ADDRESS_SPACE, KVM_ADDRESS_SPACES),
	CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, MANUAL_PROTECT),
	CAP(KVM_CAP_DIRTY_LOG_RING, DIRTY_RING_MAX),
	CAP(KVM_CAP_DIRTY_LOG_RING_ACQ_REL, DIRTY_RING_MAX),
	CAP(KVM_CAP_MMU_SHADOW_CACHE_CONTROL, 1),
	CAP(KVM_CAP_COALESCED_MMIO, KVM_COALESCED_MMIO_PAGE_OFFSET),
	CAP(KVM_CAP_COALESCED_PIO, 1),
	CAP(KVM_CAP_MAX_VCPUS, KVM_MAX_VCPUS),
	CAP(KVM_CAP_MAX_VCPU_ID, KVM_MAX_VCPU_ID),
	CAP(KVM_CAP_SET_BOOT_CPU_ID, 1),
	CAP(KVM_CAP_SET_TSS_ADDR, 1),
	CAP(KVM_CAP_SET_IDENTITY_MAP_ADDR, 1),
	CAP(KVM_CAP_CHECK_EXTENSION_VM, 1),
	CAP(KVM_CAP_ENABLE_CAP, 1),
	CAP(KVM_CAP_ENABLE_CAP_VM, 1),
	CAP(KVM_CAP_SYS_ATTRIBUTES, 1),
	CAP(KVM_CAP_DISABLE_QUIRKS, 1),
	CAP(KVM_CAP_DISABLE_QUIRKS2, QUIRKS),
	CAP(KVM_CAP_HALT_POLL, 1),
	CAP(KVM_CAP_BINARY_STATS_FD, 1),
	CAP(KVM_CAP_SYSTEM_EVENT_DATA, 1),

	/* interrupts and timers */
	CAP(KVM_CAP_IRQCHIP, 1),
	CAP(KVM_CAP_SPLIT_IRQCHIP, 1),
	CAP(KVM_CAP_IOAPIC_POLARITY_IGNORED, 1),
	CAP(KVM_CAP_IRQ_INJECT_STATUS, 1),
	CAP(KVM_CAP_IRQ_ROUTING, KVM_MAX_IRQ_ROUTES),
	CAP(KVM_CAP_SIGNAL_MSI, 1),
	CAP(KVM_CAP_IRQFD, 1),
	CAP(KVM_CAP_IRQFD_RESAMPLE, 1),
	CAP(KVM_CAP_IOEVENTFD, 1),
	CAP(KVM_CAP_IOEVENTFD_NO_LENGTH, 1),
	CAP(KVM_CAP_IOEVENTFD_ANY_LENGTH, 1),
	CAP(KVM_CAP_X2APIC_API, X2APIC_API_FLAGS),
	CAP(KVM_CAP_TSC_DEADLINE_TIMER, 1),
	CAP(KVM_CAP_VAPIC, 1),
	CAP(KVM_CAP_PIT, 1),
	CAP(KVM_CAP_PIT2, 1),
	CAP(KVM_CAP_PIT_STATE2, 1),
	CAP(KVM_CAP_REINJECT_CONTROL, 1),
	CAP(KVM_CAP_CLOCKSOURCE, 1),
	CAP(KVM_CAP_ADJUST_CLOCK, CLOCK_FLAGS),
	CAP(KVM_CAP_KVMCLOCK_CTRL, 1),
	CAP(KVM_CAP_GET_TSC_KHZ, 1),
	CAP(KVM_CAP_TSC_CONTROL, 1),
	CAP(KVM_CAP_VM_TSC_CONTROL, 1),

	/* vCPUs */
	CAP(KVM_CAP_HLT, 1),
	CAP(KVM_CAP_NOP_IO_DELAY, 1),
	CAP(KVM_CAP_EXT_CPUID, 1),
	CAP(KVM_CAP_EXT_EMUL_CPUID, 1),
	CAP(KVM_CAP_GET_MSR_FEATURES, 1),
	CAP(KVM_CAP_MSR_PLATFORM_INFO, 1),
	CAP(KVM_CAP_MP_STATE, 1),
	CAP(KVM_CAP_USER_NMI, 1),
	CAP(KVM_CAP_X86_SMM, 1),
	CAP(KVM_CAP_VCPU_EVENTS, 1),
	CAP(KVM_CAP_EXCEPTION_PAYLOAD, 1),
	CAP(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1),
	CAP(KVM_CAP_DEBUGREGS, 1),
	CAP(KVM_CAP_SET_GUEST_DEBUG, 1),
	CAP(KVM_CAP_SET_GUEST_DEBUG2, GUEST_DEBUG),
	CAP(KVM_CAP_X86_ROBUST_SINGLESTEP, 1),
	CAP(KVM_CAP_XSAVE, 1),
	CAP(KVM_CAP_XSAVE2, XSAVE_SIZE),
	CAP(KVM_CAP_XCRS, 1),
	CAP(KVM_CAP_SREGS2, 1),
	CAP(KVM_CAP_MCE, MCE_BANKS),
	CAP(KVM_CAP_X86_DISABLE_EXITS, DISABLE_EXITS),
	CAP(KVM_CAP_IMMEDIATE_EXIT, 1),
	CAP(KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1),
	CAP(KVM_CAP_INTERNAL_ERROR_DATA, 1),
	CAP(KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS),
	CAP(KVM_CAP_X86_USER_SPACE_MSR, 1),
	CAP(KVM_CAP_X86_MSR_FILTER, 1),
	CAP(KVM_CAP_EXIT_HYPERCALL, HYPERCALL_EXITS),
	CAP(KVM_CAP_VCPU_ATTRIBUTES, 1),

	/* Hyper-V's interfaces */
	CAP(KVM_CAP_HYPERV, 1),
	CAP(KVM_CAP_HYPERV_VAPIC, 1),
	CAP(KVM_CAP_HYPERV_SPIN, 1),
	CAP(KVM_CAP_HYPERV_TIME, 1),
	CAP(KVM_CAP_HYPERV_SYNIC, 1),
	CAP(KVM_CAP_HYPERV_SYNIC2, 1),
	CAP(KVM_CAP_HYPERV_VP_INDEX, 1),
	CAP(KVM_CAP_HYPERV_EVENTFD, 1),
	CAP(KVM_CAP_HYPERV_TLBFLUSH, 1),
	CAP(KVM_CAP_HYPERV_SEND_IPI, 1),
	CAP(KVM_CAP_HYPERV_CPUID, 1),
	CAP(KVM_CAP_SYS_HYPERV_CPUID, 1),
	CAP(KVM_CAP_HYPERV_ENFORCE_CPUID, 1),
};

long api_check_extension(struct kvm *kvm, u64 cap)
{
	if (cap == KVM_CAP_NR_VCPUS)
		return min(os_nr_cpus(), (u32)KVM_MAX_VCPUS);
	for (u32 i = 0; i < ARRAY_SIZE(caps); i++)
		if (caps[i].cap == cap)
			return caps[i].value;
	return 0;
}

/* ---- KVM_ENABLE_CAP ---- */

static long enable_manual_protect(struct kvm *kvm, u64 flags)
{
	if (flags & ~(flags & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE ? (u64)MANUAL_PROTECT : 0))
		return -EINVAL;
	os_mutex_lock(&kvm->slots_lock);
	kvm->manual_dirty_protect = flags;
	os_mutex_unlock(&kvm->slots_lock);
	return 0;
}

static long enable_dirty_ring(struct kvm *kvm, u64 size)
{
	long r = -EINVAL;

	if (!size || size & (size - 1) || size < PAGE_SIZE ||
	    size < KVM_DIRTY_RING_RESERVED * sizeof(struct kvm_dirty_gfn))
		return -EINVAL;
	if (size > DIRTY_RING_MAX)
		return -E2BIG;
	os_mutex_lock(&kvm->lock);
	/* The size is part of what a vCPU's descriptor maps. */
	if (!kvm->nr_vcpus && !kvm->dirty_ring_size) {
		kvm->dirty_ring_size = size;
		r = 0;
	}
	os_mutex_unlock(&kvm->lock);
	return r;
}

static long enable_split_irqchip(struct kvm *kvm, u64 pins)
{
	long r;

	if (pins > KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	os_mutex_lock(&kvm->lock);
	r = -EEXIST;
	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_NONE || kvm->nr_vcpus)
		goto out;
	r = kvm_set_gsi_routing(kvm, NULL, 0);
	if (r)
		goto out;
	kvm->arch.nr_reserved_ioapic_pins = pins;
	store_release(&kvm->arch.irqchip_mode, KVM_IRQCHIP_SPLIT);
out:
	os_mutex_unlock(&kvm->lock);
	return r;
}

static long set_max_vcpu_id(struct kvm *kvm, u64 max)
{
	long r = -EINVAL;

	if (max > KVM_MAX_VCPU_ID)
		return -EINVAL;
	os_mutex_lock(&kvm->lock);
	/* Once: the initial limit is everybody's, and 0 stands for it. */
	if (!max && kvm->max_vcpu_id == KVM_MAX_VCPU_ID)
		r = 0;
	else if (max && (kvm->max_vcpu_id == max ||
			 (kvm->max_vcpu_id == KVM_MAX_VCPU_ID && !kvm->nr_vcpus))) {
		kvm->max_vcpu_id = max;
		r = 0;
	}
	os_mutex_unlock(&kvm->lock);
	return r;
}

long api_enable_vm_cap(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
	struct x86_vm *arch = &kvm->arch;
	u64 arg = cap->args[0];

	/* The rings have their own check in Linux, which forgets the flags. */
	if (cap->flags && cap->cap != KVM_CAP_DIRTY_LOG_RING &&
	    cap->cap != KVM_CAP_DIRTY_LOG_RING_ACQ_REL)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return enable_manual_protect(kvm, arg);
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return enable_dirty_ring(kvm, arg);
	case KVM_CAP_HALT_POLL:
		if (arg != (u32)arg)
			return -EINVAL;
		WRITE_ONCE(kvm->halt_poll_max, arg);
		return 0;
	case KVM_CAP_SPLIT_IRQCHIP:
		return enable_split_irqchip(kvm, arg);
	case KVM_CAP_MAX_VCPU_ID:
		return set_max_vcpu_id(kvm, arg);
	case KVM_CAP_X2APIC_API:
		if (arg & ~(u64)X2APIC_API_FLAGS)
			return -EINVAL;
		arch->x2apic_format |= !!(arg & KVM_X2APIC_API_USE_32BIT_IDS);
		arch->x2apic_no_broadcast_quirk |= !!(arg & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
		return 0;
	case KVM_CAP_DISABLE_QUIRKS2:
		if (arg & ~(u64)QUIRKS)
			return -EINVAL;
		__attribute__((fallthrough));
	case KVM_CAP_DISABLE_QUIRKS:
		arch->disabled_quirks = arg;
		return 0;
	case KVM_CAP_X86_DISABLE_EXITS:
		if (arg & ~(u64)KVM_X86_DISABLE_VALID_EXITS)
			return -EINVAL;
		arch->disabled_exits |= arg & DISABLE_EXITS;
		return 0;
	case KVM_CAP_X86_USER_SPACE_MSR:
		if (arg & ~(u64)MSR_EXIT_REASONS)
			return -EINVAL;
		WRITE_ONCE(arch->msr_exits, arg);
		return 0;
	case KVM_CAP_EXIT_HYPERCALL:
		if (arg & ~(u64)HYPERCALL_EXITS)
			return -EINVAL;
		WRITE_ONCE(arch->hypercall_exits, arg);
		return 0;
	case KVM_CAP_MSR_PLATFORM_INFO:
		WRITE_ONCE(arch->platform_info_hidden, !arg);
		return 0;
	case KVM_CAP_EXCEPTION_PAYLOAD:
		arch->exception_payload = arg;
		return 0;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		arch->triple_fault_event = arg;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Linux has nesting's too: there is none. */
long api_enable_vcpu_cap(struct kvm_vcpu *v, const struct kvm_enable_cap *cap)
{
	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_ENFORCE_PV_FEATURE_CPUID:
		kvm_pv_enforce_cpuid(v, cap->args[0]);
		return 0;
	case KVM_CAP_HYPERV_ENFORCE_CPUID:
		v->cpu.hv->enforce_cpuid = cap->args[0];
		return 0;
	case KVM_CAP_HYPERV_SYNIC:
		return kvm_hv_activate_synic(v, false);
	case KVM_CAP_HYPERV_SYNIC2:
		return cap->args[0] ? -EINVAL : kvm_hv_activate_synic(v, true);
	default:
		return -EINVAL;
	}
}
