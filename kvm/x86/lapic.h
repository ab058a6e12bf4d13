/* SPDX-License-Identifier: GPL-2.0-only */
/* The local APIC's insides, shared by lapic.c (registers), lapic_timer.c and lapic_ipi.c (messages). */
#ifndef KVM_X86_LAPIC_H
#define KVM_X86_LAPIC_H

#include "kvm/x86/irqchip.h"

/* Registers by their offset in the xAPIC page; the x2APIC's MSR is 0x800 + offset / 16. */
#define APIC_ID		0x20
#define APIC_LVR	0x30
#define APIC_TPR	0x80
#define APIC_APR	0x90
#define APIC_PPR	0xa0
#define APIC_EOI	0xb0
#define APIC_RRD	0xc0
#define APIC_LDR	0xd0
#define APIC_DFR	0xe0
#define APIC_SVR	0xf0
#define APIC_ISR	0x100
#define APIC_TMR	0x180
#define APIC_IRR	0x200
#define APIC_ESR	0x280
#define APIC_ICR	0x300
#define APIC_ICR2	0x310
#define APIC_LVTT	0x320
#define APIC_LVTTHMR	0x330
#define APIC_LVTPC	0x340
#define APIC_LVT0	0x350
#define APIC_LVT1	0x360
#define APIC_LVTERR	0x370
#define APIC_TMICT	0x380
#define APIC_TMCCT	0x390
#define APIC_TDCR	0x3e0
#define APIC_SELF_IPI	0x3f0

#define APIC_SVR_ENABLED	BIT(8)
#define APIC_LVT_MASKED		BIT(16)
#define APIC_LVT_PENDING	BIT(12)
#define APIC_LVT_TIMER_MODE	(3u << 17)
#define APIC_TIMER_ONESHOT	(0u << 17)
#define APIC_TIMER_PERIODIC	(1u << 17)
#define APIC_TIMER_DEADLINE	(2u << 17)

/* Delivery modes. */
enum { APIC_DM_FIXED, APIC_DM_LOWEST, APIC_DM_SMI, APIC_DM_REMRD, APIC_DM_NMI, APIC_DM_INIT,
       APIC_DM_STARTUP, APIC_DM_EXTINT };

/*
 * IRR and TMR are set by any thread, atomically; all else belongs to the vCPU's own thread (or to an ioctl
 * under the vCPU's lock). Other threads read ID, LDR, DFR, SVR and LVT0 to see who is addressed: a change
 * that races with a message may or may not hold for it, as on hardware.
 */
struct x86_lapic {
	u8 regs[KVM_APIC_REG_SIZE] __attribute__((aligned(8)));
	struct kvm_vcpu *v;
	struct os_timer timer;		/* only asks the vCPU to look: KVM_REQ_TIMER */
	u64 deadline;			/* os_time_ns time of the next expiry; 0: not running */
	u64 period;			/* ns; 0: once */
	u64 tsc_deadline;		/* IA32_TSC_DEADLINE */
	bool report_tpr;		/* accesses to TPR through memory end in KVM_EXIT_TPR_ACCESS */
	u64 vapic_gpa;			/* KVM_SET_VAPIC_ADDR: where the guest keeps its TPR instead; 0: nowhere */
	u32 arbitration;		/* how many lowest-priority messages it took */
};

static inline u32 apic_get(const struct x86_lapic *a, u32 reg)
{
	return READ_ONCE(*(const u32 *)(a->regs + reg));
}

static inline void apic_set(struct x86_lapic *a, u32 reg, u32 val)
{
	WRITE_ONCE(*(u32 *)(a->regs + reg), val);
}

/* The 256-bit registers are eight words, 16 bytes apart. */
static inline u32 *apic_word(struct x86_lapic *a, u32 reg, u8 vector)
{
	return (u32 *)(a->regs + reg + (vector / 32) * 0x10);
}

static inline bool apic_x2(const struct x86_cpu *c)
{
	return (c->apic_base & (X86_APIC_BASE_X2APIC | X86_APIC_BASE_ENABLE)) ==
	       (X86_APIC_BASE_X2APIC | X86_APIC_BASE_ENABLE);
}

static inline bool apic_hw_enabled(const struct x86_lapic *a)
{
	return READ_ONCE(a->v->cpu.apic_base) & X86_APIC_BASE_ENABLE;
}

static inline bool apic_sw_enabled(const struct x86_lapic *a)
{
	return apic_get(a, APIC_SVR) & APIC_SVR_ENABLED;
}

/* Sets a vector in IRR: the vCPU has it now. False: it was there already. Any thread. */
bool apic_accept(struct x86_lapic *a, u8 vector, bool level);
/* An event of the APIC's own, as its LVT entry says: masked, fixed, NMI, … True where it was taken. */
bool apic_local_event(struct x86_lapic *a, u32 lvt_reg);
void apic_send_icr(struct x86_lapic *a, u32 low, u32 dest);

/* lapic_timer.c */
void apic_timer_init(struct x86_lapic *a);
void apic_timer_stop(struct x86_lapic *a);
void apic_timer_start(struct x86_lapic *a, u32 count);	/* from TMICT, or TMCCT when state is loaded */
void apic_timer_lvt_changed(struct x86_lapic *a, u32 old);
u32 apic_timer_current(struct x86_lapic *a);

#endif
