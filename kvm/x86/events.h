/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events: what reaches a vCPU from outside its instructions (interrupts, NMI, INIT and SIPI,
 * what the VMM injects), when they may be taken, and the VMM's debugging.
 */
#ifndef KVM_X86_EVENTS_H
#define KVM_X86_EVENTS_H

#include "kvm/core/kvm.h"

/* ---- the run loop's: kvm/core/run.c ---- */
/* Serves the requests that concern the x86 state. v's thread, entered. */
void x86_serve_requests(struct kvm_vcpu *v);
/* Delivers what is deliverable now, at most one event; notes what waits for RFLAGS.IF.
 * 0; KVM_RUN_USER: run->exit_reason is set; -errno. */
int x86_inject_events(struct kvm_vcpu *v);
/* Would the vCPU leave HLT now? */
bool x86_wakes(struct kvm_vcpu *v);
/* An NMI for v, from any thread. */
void x86_queue_nmi(struct kvm_vcpu *v);
/* Takes INIT and SIPI, where they are not blocked. */
void x86_accept_reset_signals(struct kvm_vcpu *v);
/* The vCPU stops by a triple fault, of which the VMM is about to hear. */
void x86_shut_down(struct kvm_vcpu *v);
/* kvm_run's fields that the VMM reads after, and sets before, every KVM_RUN; registers among them, where it
 * wants them there. 0, -EINVAL. v's thread, not entered. */
int x86_run_begin(struct kvm_vcpu *v);
void x86_run_end(struct kvm_vcpu *v);

/* ---- system management mode: smm.c ---- */
/* Takes an SMI now. */
void x86_enter_smm(struct x86_cpu *c);
/* The vCPU is in that mode from now on, or no longer: by an SMI or RSM, or because the VMM says so. */
void x86_smm_changed(struct x86_cpu *c, bool smm);

/* ---- debugging by the VMM: KVM_SET_GUEST_DEBUG ---- */
/* Does exception `vector` belong to the VMM's debugger? */
bool x86_debug_intercepts(const struct x86_cpu *c, u8 vector);
/* Fills run for KVM_EXIT_DEBUG; pc is a linear address. */
void x86_debug_exit(struct x86_cpu *c, u8 vector, u64 dr6_bits, u64 pc);
/* DR6 bits of the instruction breakpoints at lin. */
u64 x86_code_breakpoints(const struct x86_cpu *c, u64 lin);

/* ---- the API's ---- */
int kvm_x86_vcpu_init(struct kvm_vcpu *v);		/* 0, -ENOMEM; power-on state */
void kvm_x86_vcpu_free(struct kvm_vcpu *v);
int kvm_x86_get_vcpu_events(struct kvm_vcpu *v, struct kvm_vcpu_events *e);
int kvm_x86_set_vcpu_events(struct kvm_vcpu *v, const struct kvm_vcpu_events *e);
int kvm_x86_get_mp_state(struct kvm_vcpu *v, struct kvm_mp_state *s);
int kvm_x86_set_mp_state(struct kvm_vcpu *v, const struct kvm_mp_state *s);
int kvm_x86_set_guest_debug(struct kvm_vcpu *v, const struct kvm_guest_debug *d);
int kvm_x86_interrupt(struct kvm_vcpu *v, u32 irq);	/* KVM_INTERRUPT */
int kvm_x86_nmi(struct kvm_vcpu *v);			/* KVM_NMI */
int kvm_x86_smi(struct kvm_vcpu *v);			/* KVM_SMI */
int kvm_x86_translate(struct kvm_vcpu *v, struct kvm_translation *t);

#endif
