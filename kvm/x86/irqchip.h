/* SPDX-License-Identifier: GPL-2.0-only */
/* The interrupt chips of a PC: local APICs, I/O APIC, two 8259s, the 8254 timer; and the paravirtual clock. */
#ifndef KVM_X86_IRQCHIP_H
#define KVM_X86_IRQCHIP_H

#include "kvm/core/kvm.h"

/* ---- local APIC: lapic.c, lapic_ipi.c (SDM volume 3, 11; APM volume 2, 16) ---- */
int kvm_lapic_create(struct kvm_vcpu *v);
void kvm_lapic_destroy(struct kvm_vcpu *v);
void kvm_lapic_reset(struct kvm_vcpu *v, bool init);
/* Highest-priority interrupt that PPR lets through; -1: none. v's thread. */
int kvm_lapic_pending_vector(struct kvm_vcpu *v);
/* Moves `vector` from IRR to ISR: it is being delivered now. */
void kvm_lapic_accept(struct kvm_vcpu *v, u8 vector);
/* An interrupt from a bus message: fixed, lowest priority, NMI, SMI, INIT, SIPI, ExtINT. Any thread. */
struct kvm_lapic_msg {
	u32 dest;		/* APIC id or logical destination; 0xff / ~0 broadcast */
	bool logical, level, assert, x2apic_dest;
	u8 vector, delivery_mode, shorthand, trig_mode;
};
/* Delivers to all addressed; number of vCPUs that took it, 0 coalesced, -1 none addressed. */
int kvm_lapic_deliver(struct kvm *kvm, struct kvm_vcpu *src, const struct kvm_lapic_msg *msg);
/* An edge-triggered interrupt for v alone, any thread: 1; 0: it was pending; -1: there is no APIC, or it is off. */
int kvm_lapic_raise(struct kvm_vcpu *v, u8 vector);
int kvm_lapic_highest_irr(struct kvm_vcpu *v);		/* -1: none */
int kvm_lapic_highest_isr(struct kvm_vcpu *v);
void kvm_lapic_eoi(struct kvm_vcpu *v);
bool kvm_lapic_eoi_matters(struct kvm_vcpu *v, u8 vector);	/* somebody besides the APIC waits for its EOI */
/* KVM_TPR_ACCESS_REPORTING, KVM_SET_VAPIC_ADDR: a VMM that rewrites a guest's accesses to TPR into accesses to memory. */
void kvm_lapic_report_tpr(struct kvm_vcpu *v, bool on);
int kvm_lapic_set_vapic(struct kvm_vcpu *v, u64 gpa);	/* 0, -EFAULT */
void kvm_lapic_from_vapic(struct kvm_vcpu *v);
void kvm_lapic_to_vapic(struct kvm_vcpu *v);
/* LINT0 as virtual wire: does this vCPU take the PIC's output? */
bool kvm_lapic_accepts_pic(struct kvm_vcpu *v);
void kvm_lapic_local_nmi(struct kvm_vcpu *v);		/* the LINT1 input pin (KVM_NMI is x86_queue_nmi) */
/* MMIO page: 0, -EOPNOTSUPP where addr is not in this vCPU's enabled xAPIC page. */
int kvm_lapic_mmio_read(struct kvm_vcpu *v, u64 gpa, int len, void *val);
int kvm_lapic_mmio_write(struct kvm_vcpu *v, u64 gpa, int len, const void *val);
/* x2APIC MSRs 0x800-0x8ff, IA32_APIC_BASE, IA32_TSC_DEADLINE. 0 or 1 (#GP). */
int kvm_lapic_msr_read(struct kvm_vcpu *v, u32 msr, u64 *val);
int kvm_lapic_msr_write(struct kvm_vcpu *v, u32 msr, u64 val);
int kvm_lapic_set_base(struct kvm_vcpu *v, u64 val, bool host);
u64 kvm_lapic_tsc_deadline(struct kvm_vcpu *v);
void kvm_lapic_set_tsc_deadline(struct kvm_vcpu *v, u64 val);
/* Hyper-V's MSRs for EOI, ICR and TPR, in whichever mode the APIC is: by register. 0 or 1 (#GP). */
int kvm_lapic_hv_read(struct kvm_vcpu *v, u32 reg, u64 *val);
int kvm_lapic_hv_write(struct kvm_vcpu *v, u32 reg, u64 val);
u8 kvm_lapic_get_cr8(struct kvm_vcpu *v);
void kvm_lapic_set_cr8(struct kvm_vcpu *v, u8 tpr);
/* Next expiry of the timer, os_time_ns time; ~0: none. A halted vCPU sleeps no longer than that. */
u64 kvm_lapic_next_deadline(struct kvm_vcpu *v);
/* Fires the timer if it is due: on KVM_REQ_TIMER and before halting. v's thread. */
void kvm_lapic_run_timer(struct kvm_vcpu *v);
void kvm_lapic_tsc_changed(struct kvm_vcpu *v);		/* offset or rate: deadline mode rearms */
void kvm_lapic_get_state(struct kvm_vcpu *v, struct kvm_lapic_state *s);
int kvm_lapic_set_state(struct kvm_vcpu *v, const struct kvm_lapic_state *s);

/* ---- I/O APIC: ioapic.c ---- */
#define KVM_IOAPIC_PINS 24
int kvm_ioapic_create(struct kvm *kvm);
void kvm_ioapic_destroy(struct kvm *kvm);
int kvm_ioapic_set_pin(struct kvm *kvm, int pin, int source_id, int level);
bool kvm_ioapic_has_vector(struct kvm *kvm, u8 vector);
/* Broadcast from a local APIC: vector has been served. */
void kvm_ioapic_eoi(struct kvm_vcpu *v, u8 vector, bool level);
void kvm_ioapic_get_state(struct kvm *kvm, struct kvm_ioapic_state *s);
void kvm_ioapic_set_state(struct kvm *kvm, const struct kvm_ioapic_state *s);

/* ---- 8259 pair: pic.c ---- */
int kvm_pic_create(struct kvm *kvm);
void kvm_pic_destroy(struct kvm *kvm);
int kvm_pic_set_pin(struct kvm *kvm, int pin, int source_id, int level);
bool kvm_pic_output(struct kvm *kvm);
int kvm_pic_acknowledge(struct kvm *kvm);		/* INTA: the vector; 7 of the master if spurious */
void kvm_pic_get_state(struct kvm *kvm, int chip, struct kvm_pic_state *s);
void kvm_pic_set_state(struct kvm *kvm, int chip, const struct kvm_pic_state *s);

/* ---- 8254: pit.c ---- */
int kvm_pit_create(struct kvm *kvm, u32 flags);
void kvm_pit_destroy(struct kvm *kvm);
void kvm_pit_get_state(struct kvm *kvm, struct kvm_pit_state2 *s);
void kvm_pit_set_state(struct kvm *kvm, const struct kvm_pit_state2 *s);
void kvm_pit_ack(struct kvm *kvm);			/* the guest acknowledged GSI 0 */
void kvm_pit_set_reinject(struct kvm *kvm, bool on);

/* ---- what the run loop asks (irqchip.c): chips or the VMM's KVM_INTERRUPT alike ---- */
bool kvm_has_interrupt(struct kvm_vcpu *v);		/* something to deliver once IF allows */
int kvm_take_interrupt(struct kvm_vcpu *v);		/* acknowledges; the vector or -1 */

/* ---- kvmclock, steal time, PV EOI, wall clock: pv.c (Documentation/virt/kvm/x86/msr.rst) ---- */
int kvm_pv_init(struct kvm_vcpu *v);
void kvm_pv_free(struct kvm_vcpu *v);
void kvm_pv_reset(struct kvm_vcpu *v);
void kvm_pv_enforce_cpuid(struct kvm_vcpu *v, bool on);	/* only what CPUID offers is there */
int kvm_pv_msr_read(struct kvm_vcpu *v, u32 msr, u64 *val);	/* 0; 1: #GP; -ENOENT: not one of ours */
int kvm_pv_msr_write(struct kvm_vcpu *v, u32 msr, u64 val, bool host);
void kvm_pv_update_clock(struct kvm_vcpu *v);		/* KVM_REQ_CLOCK_UPDATE */
void kvm_pv_update_steal(struct kvm_vcpu *v);		/* KVM_REQ_STEAL_UPDATE */
void kvm_pv_run_begin(struct kvm_vcpu *v);		/* KVM_RUN: what was stolen from the guest is told */
bool kvm_pv_eoi_take(struct kvm_vcpu *v);		/* before injecting: did the guest clear its EOI bit? then EOI */
void kvm_pv_eoi_arm(struct kvm_vcpu *v);
void kvm_pv_set_eoi(struct kvm_vcpu *v, u64 val);	/* where the bit is, and BIT(0); 0: nowhere */
bool kvm_pv_guest_polls(const struct kvm_vcpu *v);	/* before HLT, so that the host need not: MSR_KVM_POLL_CONTROL */
int kvm_pv_clock_stopped(struct kvm_vcpu *v);		/* KVM_KVMCLOCK_CTRL: 0, -EINVAL where kvmclock is off */
u64 kvm_clock_read(struct kvm *kvm);			/* kvmclock's nanoseconds */
/* One moment in v's TSC and in kvmclock. */
void kvm_clock_pair(struct kvm_vcpu *v, u64 *tsc, u64 *ns);
void kvm_clock_set(struct kvm *kvm, u64 ns);
int kvm_clock_get(struct kvm *kvm, struct kvm_clock_data *d);
/* KVM hypercalls (VMCALL, VMMCALL): number in RAX, arguments RBX, RCX, RDX, RSI; sets RAX. enum x86_result. */
int kvm_hypercall(struct kvm_vcpu *v);

#endif
