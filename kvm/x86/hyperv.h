/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's interfaces to guests, as Linux's KVM offers them (Hypervisor Top-Level Functional Specification,
 * "TLFS"; Linux's Documentation/virt/kvm/api.rst for the VMM's side):
 *
 *   hyperv.c         CPUID leaves, MSRs, what guests may use of them
 *   hyperv_clock.c   reference time: the counter and the TSC page
 *   hyperv_synic.c   synthetic interrupts and messages
 *   hyperv_stimer.c  synthetic timers
 *   hyperv_call.c    hypercalls, and connections that are eventfds
 *
 * All is there for a guest whose CPUID has Hyper-V's signature, and for the VMM always. Pages that the guest
 * names are looked up anew at each use.
 */
#ifndef KVM_X86_HYPERV_H
#define KVM_X86_HYPERV_H

#include "kvm/core/kvm.h"

#define HV_NR_SINTS	16
#define HV_NR_STIMERS	4
#define HV_NR_CRASH	5

/* Leaf 40000003h: EAX */
#define HV_ACCESS_VP_RUNTIME		BIT(0)
#define HV_ACCESS_TIME_REF_COUNT	BIT(1)
#define HV_ACCESS_SYNIC			BIT(2)
#define HV_ACCESS_STIMERS		BIT(3)
#define HV_ACCESS_APIC			BIT(4)
#define HV_ACCESS_HYPERCALL		BIT(5)
#define HV_ACCESS_VP_INDEX		BIT(6)
#define HV_ACCESS_RESET			BIT(7)
#define HV_ACCESS_REFERENCE_TSC		BIT(9)
#define HV_ACCESS_FREQUENCY		BIT(11)
#define HV_ACCESS_REENLIGHTENMENT	BIT(13)
/* EBX */
#define HV_POST_MESSAGES		BIT(4)
#define HV_SIGNAL_EVENTS		BIT(5)
#define HV_DEBUGGING			BIT(11)
/* EDX */
#define HV_GUEST_DEBUGGING		BIT(1)
#define HV_XMM_INPUT			BIT(4)
#define HV_FREQUENCY_MSRS		BIT(8)
#define HV_CRASH_MSRS			BIT(10)
#define HV_DEBUG_MSRS			BIT(11)
#define HV_STIMER_DIRECT		BIT(19)
/* Leaf 40000004h: EAX */
#define HV_HINT_REMOTE_TLB_FLUSH	BIT(2)
#define HV_HINT_APIC_ACCESS		BIT(3)
#define HV_HINT_RELAXED_TIMING		BIT(5)
#define HV_HINT_NO_AUTO_EOI		BIT(9)
#define HV_HINT_CLUSTER_IPI		BIT(10)
#define HV_HINT_EX_MASKS		BIT(11)
#define HV_HINT_NO_CORE_SHARING		BIT(18)
/* Leaf 40000082h: EAX */
#define HV_SYNDBG_ALLOWED		BIT(1)

#define HV_MSR_SYNDBG_CONTROL		0x400000f1
#define HV_SYNDBG_USE_HYPERCALLS	BIT(2)	/* of the options */

/* A guest page in an MSR: its address, and whether it is in use. */
#define HV_PAGE_ENABLED			BIT(0)

struct hv_connection;

/* The TSC page. STALE: to be written by the next vCPU that serves KVM_REQ_CLOCK_UPDATE. */
enum kvm_hv_tsc_page {
	HV_TSC_PAGE_OFF,
	HV_TSC_PAGE_STALE,
	HV_TSC_PAGE_SET,
	HV_TSC_PAGE_BROKEN,
};

/* Of a VM. */
struct kvm_hv {
	struct os_mutex lock;		/* all of it; guest memory is never touched under it */
	u64 guest_os_id;		/* 0: no hypercalls. Read without the lock, too */
	u64 hypercall, crash[HV_NR_CRASH], crash_ctl;
	u64 reenlightenment, tsc_emulation_control, tsc_emulation_status;
	u64 debug_control, debug_status, debug_send, debug_recv, debug_pending, debug_options;
	struct hv_connection *connections;

	u64 tsc_msr;
	enum kvm_hv_tsc_page tsc_page;
	bool tsc_by_host;		/* STALE because the VMM changed something, not the guest */
	bool tsc_writing;		/* a vCPU does it now */
	u32 tsc_changes;		/* counts what makes the page stale */
	u64 tsc_scale, tsc_offset;	/* SET: reference time = (TSC * scale >> 64) + offset */
};

/* A timer. */
struct kvm_hv_stimer {
	u64 config, count;		/* as the MSRs have them */
	u64 expires;			/* reference time; 0: not begun */
	bool unsent;			/* it has expired, but its message found no place yet */
};

/*
 * Of a vCPU: its own thread's (or of an ioctl under the vCPU's lock), but for vp_index, synic_active and sint[], which
 * whoever raises an interrupt reads.
 */
struct kvm_hv_vcpu {
	bool enabled;			/* the guest's CPUID has Hyper-V's signature */
	bool enforce_cpuid;		/* KVM_CAP_HYPERV_ENFORCE_CPUID */
	bool wants_debug_status;	/* the VMM answers the last exit with the debugger's status */
	u32 features_eax, features_ebx, features_edx, hints_eax, hints_ebx, syndbg_eax;
	u32 vp_index;
	u64 assist_page;
	u64 runtime_offset;		/* 100 ns */
	struct kvm_hyperv_exit exit;	/* KVM_REQ_HV_EXIT's */

	bool synic_active;		/* KVM_CAP_HYPERV_SYNIC */
	bool keep_pages;		/* KVM_CAP_HYPERV_SYNIC2: pages are not cleared when they are enabled */
	u64 scontrol, sversion, siefp, simp;
	u64 sint[HV_NR_SINTS];

	struct kvm_hv_stimer stimer[HV_NR_STIMERS];
	struct os_timer timer;		/* only asks the vCPU to look: KVM_REQ_HV_STIMER */
	u64 deadline;			/* os_time_ns time of the next expiry; ~0: none */
};

/* ---- hyperv.c ---- */
int kvm_hv_init_vm(struct kvm *kvm);		/* 0, -ENOMEM */
void kvm_hv_destroy_vm(struct kvm *kvm);
int kvm_hv_init_vcpu(struct kvm_vcpu *v);	/* 0, -ENOMEM */
void kvm_hv_free_vcpu(struct kvm_vcpu *v);
/* KVM_GET_SUPPORTED_HV_CPUID; lapic: of a vCPU with a local APIC. The number of entries, or -E2BIG. */
int kvm_hv_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max, bool lapic);
void kvm_hv_cpuid_changed(struct kvm_vcpu *v);
bool kvm_hv_is_msr(u32 msr);
/* False: #GP. v's thread, entered. */
bool kvm_hv_get_msr(struct kvm_vcpu *v, u32 msr, u64 *val, bool host);
bool kvm_hv_set_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host);
/* What the guest did with an MSR that concerns the VMM: true, and run->exit_reason is set. */
bool kvm_hv_exit(struct kvm_vcpu *v);
/* KVM_RUN: takes the VMM's answer to the last exit. */
void kvm_hv_run_begin(struct kvm_vcpu *v);
bool kvm_hv_debugger_allowed(const struct kvm_vcpu *v);
/* The vCPU with a VP index; NULL: none. */
struct kvm_vcpu *kvm_hv_find_vp(struct kvm *kvm, u32 vp_index);
/* KVM_REQ_HV_EXIT, to be told of what `exit` says. */
void kvm_hv_request_exit(struct kvm_vcpu *v, const struct kvm_hyperv_exit *exit);

/* ---- hyperv_clock.c ---- */
u64 kvm_hv_reference_time(struct kvm *kvm);	/* 100 ns since the VM was made, as the VMM set its clock */
void kvm_hv_set_tsc_msr(struct kvm_vcpu *v, u64 val, bool host);
void kvm_hv_clock_changed(struct kvm *kvm);	/* by the VMM: clock, TSC. KVM_REQ_CLOCK_UPDATE follows */
void kvm_hv_update_tsc_page(struct kvm_vcpu *v);	/* v's thread, entered */

/* ---- hyperv_synic.c ---- */
int kvm_hv_activate_synic(struct kvm_vcpu *v, bool keep_pages);
bool kvm_hv_get_synic_msr(struct kvm_vcpu *v, u32 msr, u64 *val, bool host);
bool kvm_hv_set_synic_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host);
/* Raises a synthetic interrupt, any thread: 1; 0: it was pending; -1: nobody there, masked. */
int kvm_hv_raise_sint(struct kvm_vcpu *v, u32 sint);
int kvm_hv_raise_sint_of(struct kvm *kvm, u32 vp_index, u32 sint);
bool kvm_hv_auto_eoi(struct kvm_vcpu *v, u8 vector);	/* is over as soon as it is delivered */
bool kvm_hv_has_vector(struct kvm_vcpu *v, u8 vector);	/* some SINT's */
void kvm_hv_eoi(struct kvm_vcpu *v, u8 vector);		/* of such a vector */
/* Leaves a message of n bytes after its type in the slot of a SINT and raises it. 0; -EAGAIN: the slot is taken, and
 * the guest will tell when it is free (with `retry`; else 0, the message is lost); -errno. */
int kvm_hv_send_message(struct kvm_vcpu *v, u32 sint, u32 type, const void *payload, u32 n, bool retry);

/* ---- hyperv_stimer.c ---- */
bool kvm_hv_set_stimer_config(struct kvm_vcpu *v, u32 n, u64 val, bool host);
bool kvm_hv_set_stimer_count(struct kvm_vcpu *v, u32 n, u64 val, bool host);
void kvm_hv_stimer_slot_free(struct kvm_vcpu *v, u32 sint);	/* messages to it may be tried again */
void kvm_hv_stimers_init(struct kvm_vcpu *v);
void kvm_hv_stimers_free(struct kvm_vcpu *v);
/* Sends what has expired: KVM_REQ_HV_STIMER, and before sleeping once kvm_hv_stimers_due. v's thread, entered. */
void kvm_hv_run_stimers(struct kvm_vcpu *v);
bool kvm_hv_stimers_due(struct kvm_vcpu *v);

/* ---- hyperv_call.c ---- */
bool kvm_hv_calls_enabled(const struct kvm_vcpu *v);
int kvm_hv_hypercall(struct kvm_vcpu *v);	/* enum x86_result */
int kvm_hv_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args);	/* KVM_HYPERV_EVENTFD */
void kvm_hv_drop_connections(struct kvm_hv *hv);

#endif
