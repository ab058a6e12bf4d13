/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's interfaces: what CPUID says of them, and their MSRs (TLFS 2, 3, 12; Linux's api.rst on the
 * capabilities of that name).
 *
 * Some MSRs are the partition's, which is to say the VM's (struct kvm_hv), the others a virtual processor's
 * (struct kvm_hv_vcpu). The synthetic debugger's are registers whose meaning is the VMM's.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/lapic.h"

#define MSR_GUEST_OS_ID			0x40000000
#define MSR_HYPERCALL			0x40000001
#define MSR_VP_INDEX			0x40000002
#define MSR_RESET			0x40000003
#define MSR_VP_RUNTIME			0x40000010
#define MSR_TIME_REF_COUNT		0x40000020
#define MSR_REFERENCE_TSC		0x40000021
#define MSR_TSC_FREQUENCY		0x40000022
#define MSR_APIC_FREQUENCY		0x40000023
#define MSR_EOI				0x40000070
#define MSR_ICR				0x40000071
#define MSR_TPR				0x40000072
#define MSR_VP_ASSIST_PAGE		0x40000073
#define MSR_SCONTROL			0x40000080
#define MSR_SINT15			0x4000009f
#define MSR_STIMER0_CONFIG		0x400000b0	/* config, count: four pairs */
#define MSR_STIMER3_COUNT		0x400000b7
#define MSR_SYNDBG_STATUS		0x400000f2
#define MSR_SYNDBG_SEND_BUFFER		0x400000f3
#define MSR_SYNDBG_RECV_BUFFER		0x400000f4
#define MSR_SYNDBG_PENDING_BUFFER	0x400000f5
#define MSR_SYNDBG_OPTIONS		0x400000ff
#define MSR_CRASH_P0			0x40000100
#define MSR_CRASH_P4			0x40000104
#define MSR_CRASH_CTL			0x40000105
#define MSR_REENLIGHTENMENT_CONTROL	0x40000106
#define MSR_TSC_EMULATION_CONTROL	0x40000107
#define MSR_TSC_EMULATION_STATUS	0x40000108

#define CRASH_NOTIFY			BIT_ULL(63)
#define APIC_FREQUENCY			1000000000	/* of the APIC's timer, undivided: lapic_timer.c */

#define CPUID_INTERFACE			0x40000001
#define CPUID_FEATURES			0x40000003
#define CPUID_HINTS			0x40000004
#define CPUID_SYNDBG_CAPABILITIES	0x40000082
#define SIGNATURE_HV1			0x31237648	/* "Hv#1" */

/* ---- CPUID ---- */

/* "Linux KVM Hv", which guests of Linux's KVM see: VMMs pass it on, or say what they like. */
#define VENDOR	.ebx = 0x756e694c, .ecx = 0x564b2078, .edx = 0x7648204d

static const struct kvm_cpuid_entry2 leaves[] = {
	{ .function = 0x40000000, .eax = CPUID_SYNDBG_CAPABILITIES, VENDOR },
	{ .function = CPUID_INTERFACE, .eax = SIGNATURE_HV1 },
	{ .function = 0x40000002, .eax = 0x3839, .ebx = 0x000a0000 },	/* build 14393 of version 10.0 */
	{ .function = CPUID_FEATURES,
	  .eax = HV_ACCESS_VP_RUNTIME | HV_ACCESS_TIME_REF_COUNT | HV_ACCESS_SYNIC | HV_ACCESS_STIMERS |
		 HV_ACCESS_APIC | HV_ACCESS_HYPERCALL | HV_ACCESS_VP_INDEX | HV_ACCESS_RESET |
		 HV_ACCESS_REFERENCE_TSC | HV_ACCESS_FREQUENCY | HV_ACCESS_REENLIGHTENMENT,
	  .ebx = HV_POST_MESSAGES | HV_SIGNAL_EVENTS | HV_DEBUGGING,
	  .edx = HV_GUEST_DEBUGGING | HV_XMM_INPUT | HV_FREQUENCY_MSRS | HV_CRASH_MSRS | HV_DEBUG_MSRS |
		 HV_STIMER_DIRECT },
	{ .function = CPUID_HINTS,
	  .eax = HV_HINT_REMOTE_TLB_FLUSH | HV_HINT_APIC_ACCESS | HV_HINT_RELAXED_TIMING |
		 HV_HINT_NO_AUTO_EOI | HV_HINT_CLUSTER_IPI | HV_HINT_EX_MASKS,
	  .ebx = 0xfff },				/* spins before a guest says that it waits long */
	{ .function = 0x40000005, .eax = KVM_MAX_VCPUS, .ebx = 64 },
	{ .function = 0x40000080, VENDOR },		/* the debugger's leaves */
	{ .function = 0x40000081, .eax = 0x31235356 },	/* "VS#1" */
	{ .function = CPUID_SYNDBG_CAPABILITIES, .eax = HV_SYNDBG_ALLOWED },
	/* Nested virtualization: a bit that Linux has without regard to whether there is any. */
	{ .function = 0x4000000a, .eax = BIT(19) },
};

int kvm_hv_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max, bool lapic)
{
	if (max < ARRAY_SIZE(leaves))
		return -E2BIG;
	memcpy(entries, leaves, sizeof(leaves));
	for (u32 n = 0; n < ARRAY_SIZE(leaves); n++) {
		if (entries[n].function == CPUID_FEATURES && !lapic)
			entries[n].edx &= ~HV_STIMER_DIRECT;
		if (entries[n].function != CPUID_HINTS)
			continue;
		if (!lapic)
			entries[n].eax &= ~HV_HINT_CLUSTER_IPI;
		if (!os_smt_possible())
			entries[n].eax |= HV_HINT_NO_CORE_SHARING;
	}
	return ARRAY_SIZE(leaves);
}

void kvm_hv_cpuid_changed(struct kvm_vcpu *v)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;

	hv->enabled = false;
	hv->features_eax = hv->features_ebx = hv->features_edx = 0;
	hv->hints_eax = hv->hints_ebx = hv->syndbg_eax = 0;
	/* Of entries for one leaf the first holds, as everywhere. */
	for (u32 n = v->cpu.nr_cpuid; n--; ) {
		const struct kvm_cpuid_entry2 *e = &v->cpu.cpuid[n];

		switch (e->function) {
		case CPUID_INTERFACE:
			hv->enabled = e->eax == SIGNATURE_HV1;
			break;
		case CPUID_FEATURES:
			hv->features_eax = e->eax;
			hv->features_ebx = e->ebx;
			hv->features_edx = e->edx;
			break;
		case CPUID_HINTS:
			hv->hints_eax = e->eax;
			hv->hints_ebx = e->ebx;
			break;
		case CPUID_SYNDBG_CAPABILITIES:
			hv->syndbg_eax = e->eax;
			break;
		}
	}
}

/* ---- exits ---- */

void kvm_hv_request_exit(struct kvm_vcpu *v, const struct kvm_hyperv_exit *exit)
{
	v->cpu.hv->exit = *exit;
	kvm_make_own_request(v, KVM_REQ_HV_EXIT);
}

static bool system_event(struct kvm_vcpu *v, u32 type)
{
	v->run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	v->run->system_event.type = type;
	v->run->system_event.ndata = 0;
	return true;
}

bool kvm_hv_exit(struct kvm_vcpu *v)
{
	if (likely(!(READ_ONCE(v->requests) &
		     (BIT(KVM_REQ_HV_EXIT) | BIT(KVM_REQ_HV_CRASH) | BIT(KVM_REQ_HV_RESET)))))
		return false;
	if (kvm_check_request(v, KVM_REQ_HV_CRASH))
		return system_event(v, KVM_SYSTEM_EVENT_CRASH);
	if (kvm_check_request(v, KVM_REQ_HV_RESET))
		return system_event(v, KVM_SYSTEM_EVENT_RESET);
	kvm_check_request(v, KVM_REQ_HV_EXIT);
	v->run->exit_reason = KVM_EXIT_HYPERV;
	v->run->hyperv = v->cpu.hv->exit;
	v->cpu.hv->wants_debug_status = v->cpu.hv->exit.type == KVM_EXIT_HYPERV_SYNDBG &&
					v->cpu.hv->exit.u.syndbg.msr == HV_MSR_SYNDBG_CONTROL;
	return true;
}

void kvm_hv_run_begin(struct kvm_vcpu *v)
{
	struct kvm_hv *hv = v->kvm->arch.hv;

	if (likely(!v->cpu.hv->wants_debug_status))
		return;
	v->cpu.hv->wants_debug_status = false;
	os_mutex_lock(&hv->lock);
	hv->debug_status = READ_ONCE(v->run->hyperv.u.syndbg.status);
	os_mutex_unlock(&hv->lock);
}

/* ---- who may use which MSR ---- */

struct access {
	u32 first, last;
	u32 eax, edx;			/* bit of leaf 40000003h */
};

static const struct access accesses[] = {
	{ MSR_GUEST_OS_ID, MSR_HYPERCALL, HV_ACCESS_HYPERCALL, 0 },
	{ MSR_VP_INDEX, MSR_VP_INDEX, HV_ACCESS_VP_INDEX, 0 },
	{ MSR_RESET, MSR_RESET, HV_ACCESS_RESET, 0 },
	{ MSR_VP_RUNTIME, MSR_VP_RUNTIME, HV_ACCESS_VP_RUNTIME, 0 },
	{ MSR_TIME_REF_COUNT, MSR_TIME_REF_COUNT, HV_ACCESS_TIME_REF_COUNT, 0 },
	{ MSR_REFERENCE_TSC, MSR_REFERENCE_TSC, HV_ACCESS_REFERENCE_TSC, 0 },
	{ MSR_TSC_FREQUENCY, MSR_APIC_FREQUENCY, HV_ACCESS_FREQUENCY, 0 },
	{ MSR_EOI, MSR_VP_ASSIST_PAGE, HV_ACCESS_APIC, 0 },
	{ MSR_SCONTROL, MSR_SINT15, HV_ACCESS_SYNIC, 0 },
	{ MSR_STIMER0_CONFIG, MSR_STIMER3_COUNT, HV_ACCESS_STIMERS, 0 },
	{ HV_MSR_SYNDBG_CONTROL, MSR_SYNDBG_PENDING_BUFFER, 0, HV_DEBUG_MSRS },
	{ MSR_SYNDBG_OPTIONS, MSR_SYNDBG_OPTIONS, 0, HV_DEBUG_MSRS },
	{ MSR_CRASH_P0, MSR_CRASH_CTL, 0, HV_CRASH_MSRS },
	{ MSR_REENLIGHTENMENT_CONTROL, MSR_TSC_EMULATION_STATUS, HV_ACCESS_REENLIGHTENMENT, 0 },
};

/* Everything below the timers is Hyper-V's, whether or not there is such an MSR; then what the table has. */
bool kvm_hv_is_msr(u32 msr)
{
	if (msr >= MSR_GUEST_OS_ID && msr <= MSR_SINT15)
		return true;
	for (u32 n = 0; n < ARRAY_SIZE(accesses); n++)
		if (msr >= accesses[n].first && msr <= accesses[n].last)
			return true;
	return false;
}

static bool allowed(const struct kvm_hv_vcpu *hv, u32 msr)
{
	if (!hv->enabled)
		return false;
	if (!hv->enforce_cpuid)
		return true;
	for (u32 n = 0; n < ARRAY_SIZE(accesses); n++) {
		const struct access *a = &accesses[n];

		if (msr >= a->first && msr <= a->last)
			return (hv->features_eax & a->eax) || (hv->features_edx & a->edx);
	}
	return false;
}

bool kvm_hv_debugger_allowed(const struct kvm_vcpu *v)
{
	return v->cpu.hv->syndbg_eax & HV_SYNDBG_ALLOWED;
}

/* ---- the VM's ---- */

/* The MSRs that are no more than a word, some of which the VMM hears of. */
static u64 *word(struct kvm_hv *hv, u32 msr)
{
	switch (msr) {
	case MSR_GUEST_OS_ID: return &hv->guest_os_id;
	case MSR_HYPERCALL: return &hv->hypercall;
	case MSR_REFERENCE_TSC: return &hv->tsc_msr;
	case MSR_CRASH_P0 ... MSR_CRASH_P4: return &hv->crash[msr - MSR_CRASH_P0];
	case MSR_CRASH_CTL: return &hv->crash_ctl;
	case MSR_REENLIGHTENMENT_CONTROL: return &hv->reenlightenment;
	case MSR_TSC_EMULATION_CONTROL: return &hv->tsc_emulation_control;
	case MSR_TSC_EMULATION_STATUS: return &hv->tsc_emulation_status;
	case HV_MSR_SYNDBG_CONTROL: return &hv->debug_control;
	case MSR_SYNDBG_STATUS: return &hv->debug_status;
	case MSR_SYNDBG_SEND_BUFFER: return &hv->debug_send;
	case MSR_SYNDBG_RECV_BUFFER: return &hv->debug_recv;
	case MSR_SYNDBG_PENDING_BUFFER: return &hv->debug_pending;
	case MSR_SYNDBG_OPTIONS: return &hv->debug_options;
	default: return NULL;
	}
}

static bool is_debug_msr(u32 msr)
{
	return msr >= HV_MSR_SYNDBG_CONTROL && msr <= MSR_SYNDBG_OPTIONS;
}

static void set_word(struct kvm_hv *hv, u32 msr, u64 val)
{
	os_mutex_lock(&hv->lock);
	WRITE_ONCE(*word(hv, msr), val);
	os_mutex_unlock(&hv->lock);
}

static void set_guest_os_id(struct kvm_hv *hv, u64 val)
{
	os_mutex_lock(&hv->lock);
	WRITE_ONCE(hv->guest_os_id, val);
	if (!val)
		hv->hypercall &= ~(u64)HV_PAGE_ENABLED;
	os_mutex_unlock(&hv->lock);
}

/* The page that hypercalls are made through is given its code: this processor's instruction, and RET. */
static bool set_hypercall(struct kvm_vcpu *v, u64 val)
{
	const u8 code[] = { 0x0f, 0x01, v->cpu.vendor == X86_VENDOR_AMD ? 0xd9 : 0xc1, 0xc3 };
	struct kvm_hv *hv = v->kvm->arch.hv;

	if (!READ_ONCE(hv->guest_os_id))
		return true;	/* who does not say what it is gets none */
	if ((val & HV_PAGE_ENABLED) && kvm_write_guest(v, val & PAGE_MASK, code, sizeof(code)))
		return false;
	set_word(hv, MSR_HYPERCALL, val);
	return true;
}

static bool set_debug_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host)
{
	struct kvm_hyperv_exit exit = { .type = KVM_EXIT_HYPERV_SYNDBG };
	struct kvm_hv *hv = v->kvm->arch.hv;

	if (!host && !kvm_hv_debugger_allowed(v))
		return false;
	os_mutex_lock(&hv->lock);
	*word(hv, msr) = val;
	exit.u.syndbg.msr = msr;
	exit.u.syndbg.control = hv->debug_control;
	exit.u.syndbg.status = hv->debug_status;
	exit.u.syndbg.send_page = hv->debug_send;
	exit.u.syndbg.recv_page = hv->debug_recv;
	exit.u.syndbg.pending_page = hv->debug_pending;
	os_mutex_unlock(&hv->lock);
	if (!host && (msr == HV_MSR_SYNDBG_CONTROL || msr == MSR_SYNDBG_PENDING_BUFFER))
		kvm_hv_request_exit(v, &exit);
	return true;
}

/* ---- the virtual processor's ---- */

/* The page through which hypervisor and guest spare each other EOIs: the bit is where KVM's own PV EOI has it. */
static bool set_assist_page(struct kvm_vcpu *v, u64 val)
{
	u64 gpa = val & PAGE_MASK;
	u32 zero = 0;

	/* The rest of the page may be saved state. */
	if ((val & HV_PAGE_ENABLED) && kvm_write_guest(v, gpa, &zero, sizeof(zero)))
		return false;
	v->cpu.hv->assist_page = val;
	kvm_pv_set_eoi(v, val & HV_PAGE_ENABLED ? gpa | HV_PAGE_ENABLED : 0);
	return true;
}

static bool set_vp_index(struct kvm_vcpu *v, u64 val, bool host)
{
	if (!host || (u32)val >= KVM_MAX_VCPUS)
		return false;
	WRITE_ONCE(v->cpu.hv->vp_index, (u32)val);
	return true;
}

struct kvm_vcpu *kvm_hv_find_vp(struct kvm *kvm, u32 vp_index)
{
	u32 n = load_acquire(&kvm->nr_vcpus), i;
	struct kvm_vcpu *v;

	/* Unless the VMM says otherwise, they are numbered in the order of their making. */
	if (vp_index < n && READ_ONCE(kvm->vcpus[vp_index]->cpu.hv->vp_index) == vp_index)
		return kvm->vcpus[vp_index];
	kvm_for_each_vcpu(v, kvm, i)
		if (READ_ONCE(v->cpu.hv->vp_index) == vp_index)
			return v;
	return NULL;
}

/* ---- all of them ---- */

static bool get_vm_msr(struct kvm_vcpu *v, u32 msr, u64 *val, bool host)
{
	struct kvm_hv *hv = v->kvm->arch.hv;
	u64 *at = word(hv, msr);

	if (msr == MSR_RESET) {
		*val = 0;
		return true;
	}
	if (msr == MSR_TIME_REF_COUNT) {
		*val = kvm_hv_reference_time(v->kvm);
		return true;
	}
	if (!at || (is_debug_msr(msr) && !host && !kvm_hv_debugger_allowed(v)))
		return false;
	os_mutex_lock(&hv->lock);
	*val = *at;
	os_mutex_unlock(&hv->lock);
	return true;
}

bool kvm_hv_get_msr(struct kvm_vcpu *v, u32 msr, u64 *val, bool host)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;

	if (!host && !allowed(hv, msr))
		return false;
	switch (msr) {
	case MSR_VP_INDEX:
		*val = hv->vp_index;
		return true;
	case MSR_VP_RUNTIME:
		*val = os_thread_runtime_ns() / 100 + hv->runtime_offset;
		return true;
	case MSR_TSC_FREQUENCY:
		*val = v->cpu.tsc_khz * 1000ull;
		return true;
	case MSR_APIC_FREQUENCY:
		*val = APIC_FREQUENCY;
		return true;
	case MSR_EOI:
		return false;		/* can only be written */
	case MSR_ICR:
		return !kvm_lapic_hv_read(v, APIC_ICR, val);
	case MSR_TPR:
		return !kvm_lapic_hv_read(v, APIC_TPR, val);
	case MSR_VP_ASSIST_PAGE:
		*val = hv->assist_page;
		return true;
	case MSR_SCONTROL ... MSR_SINT15:
		return kvm_hv_get_synic_msr(v, msr, val, host);
	case MSR_STIMER0_CONFIG ... MSR_STIMER3_COUNT: {
		const struct kvm_hv_stimer *s = &hv->stimer[(msr - MSR_STIMER0_CONFIG) / 2];

		*val = msr % 2 ? s->count : s->config;
		return true;
	}
	default:
		return get_vm_msr(v, msr, val, host);
	}
}

static bool set_vm_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host)
{
	struct kvm_hv *hv = v->kvm->arch.hv;

	switch (msr) {
	case MSR_GUEST_OS_ID:
		set_guest_os_id(hv, val);
		return true;
	case MSR_HYPERCALL:
		return set_hypercall(v, val);
	case MSR_TIME_REF_COUNT:
		return host;		/* as part of saved state, which cannot change it */
	case MSR_REFERENCE_TSC:
		kvm_hv_set_tsc_msr(v, val, host);
		return true;
	case MSR_RESET:
		if (val == 1)
			kvm_make_own_request(v, KVM_REQ_HV_RESET);
		return true;
	case MSR_CRASH_CTL:
		if (host)
			set_word(hv, msr, val & CRASH_NOTIFY);
		else if (val & CRASH_NOTIFY)
			kvm_make_own_request(v, KVM_REQ_HV_CRASH);
		return true;
	case MSR_TSC_EMULATION_STATUS:
		if (val && !host)
			return false;
		set_word(hv, msr, val);
		return true;
	case MSR_CRASH_P0 ... MSR_CRASH_P4:
	case MSR_REENLIGHTENMENT_CONTROL:
	case MSR_TSC_EMULATION_CONTROL:
		set_word(hv, msr, val);
		return true;
	default:
		return is_debug_msr(msr) && word(hv, msr) && set_debug_msr(v, msr, val, host);
	}
}

bool kvm_hv_set_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;
	u32 timer = (msr - MSR_STIMER0_CONFIG) / 2;

	if (!host && !allowed(hv, msr))
		return false;
	switch (msr) {
	case MSR_VP_INDEX:
		return set_vp_index(v, val, host);
	case MSR_VP_RUNTIME:
		if (host)
			hv->runtime_offset = val - os_thread_runtime_ns() / 100;
		return host;
	case MSR_TSC_FREQUENCY:
	case MSR_APIC_FREQUENCY:
		return host;
	case MSR_EOI:
		return !kvm_lapic_hv_write(v, APIC_EOI, val);
	case MSR_ICR:
		return !kvm_lapic_hv_write(v, APIC_ICR, val);
	case MSR_TPR:
		return !kvm_lapic_hv_write(v, APIC_TPR, val);
	case MSR_VP_ASSIST_PAGE:
		return set_assist_page(v, val);
	case MSR_SCONTROL ... MSR_SINT15:
		return kvm_hv_set_synic_msr(v, msr, val, host);
	case MSR_STIMER0_CONFIG ... MSR_STIMER3_COUNT:
		return msr % 2 ? kvm_hv_set_stimer_count(v, timer, val, host)
			       : kvm_hv_set_stimer_config(v, timer, val, host);
	default:
		return set_vm_msr(v, msr, val, host);
	}
}

/* ---- life ---- */

int kvm_hv_init_vm(struct kvm *kvm)
{
	kvm->arch.hv = os_alloc(sizeof(*kvm->arch.hv));
	return kvm->arch.hv ? 0 : -ENOMEM;
}

void kvm_hv_destroy_vm(struct kvm *kvm)
{
	if (!kvm->arch.hv)
		return;
	kvm_hv_drop_connections(kvm->arch.hv);
	os_free(kvm->arch.hv);
	kvm->arch.hv = NULL;
}

int kvm_hv_init_vcpu(struct kvm_vcpu *v)
{
	struct kvm_hv_vcpu *hv = os_alloc(sizeof(*hv));

	if (!hv)
		return -ENOMEM;
	v->cpu.hv = hv;
	hv->vp_index = v->index;
	hv->sversion = 1;
	for (u32 n = 0; n < HV_NR_SINTS; n++)
		hv->sint[n] = BIT(16);		/* masked */
	kvm_hv_stimers_init(v);
	return 0;
}

void kvm_hv_free_vcpu(struct kvm_vcpu *v)
{
	if (!v->cpu.hv)
		return;
	kvm_hv_stimers_free(v);
	os_free(v->cpu.hv);
	v->cpu.hv = NULL;
}
