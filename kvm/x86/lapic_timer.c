// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline (SDM volume 3, 11.5.4).
 *
 * Expiry is a time in the future, not a count. The host's timer only makes the vCPU look; the vCPU itself
 * decides that the time has come, so all state stays on its thread, and a halted vCPU that sleeps no longer
 * than its deadline needs no other thread to wake it.
 */
#include "kvm/x86/lapic.h"

/* One count of the undivided timer, as under Linux's KVM: a bus of 1 GHz. */
#define NS_PER_COUNT	1
/* A periodic timer faster than this would leave the guest no time to run. */
#define MIN_PERIOD_NS	100000ull

static u32 divider(struct x86_lapic *a)
{
	u32 tdcr = apic_get(a, APIC_TDCR);

	return 1u << ((((tdcr & 3) | (tdcr >> 1 & 4)) + 1) & 7);
}

static u32 timer_mode(struct x86_lapic *a)
{
	return apic_get(a, APIC_LVTT) & APIC_LVT_TIMER_MODE;
}

static void look(void *arg)
{
	struct x86_lapic *a = arg;

	kvm_make_request(a->v, KVM_REQ_TIMER);
}

void apic_timer_init(struct x86_lapic *a)
{
	os_timer_init(&a->timer, look, a);
}

static void arm(struct x86_lapic *a, u64 deadline)
{
	a->deadline = deadline;
	os_timer_set(&a->timer, deadline);
}

void apic_timer_stop(struct x86_lapic *a)
{
	if (a->deadline)
		os_timer_cancel(&a->timer);
	a->deadline = 0;
	a->period = 0;
}

void apic_timer_start(struct x86_lapic *a, u32 count)
{
	u64 unit = (u64)divider(a) * NS_PER_COUNT;

	apic_timer_stop(a);
	if (!count)
		return;
	if (timer_mode(a) == APIC_TIMER_PERIODIC)
		a->period = max(apic_get(a, APIC_TMICT) * unit, MIN_PERIOD_NS);
	arm(a, os_time_ns() + count * unit);
}

u32 apic_timer_current(struct x86_lapic *a)
{
	u64 unit = (u64)divider(a) * NS_PER_COUNT, now;

	if (!a->deadline || timer_mode(a) == APIC_TIMER_DEADLINE)
		return 0;
	now = os_time_ns();
	return now >= a->deadline ? 0 : (a->deadline - now) / unit;
}

void apic_timer_lvt_changed(struct x86_lapic *a, u32 old)
{
	u32 lvtt = apic_get(a, APIC_LVTT);

	if (!((old ^ lvtt) & APIC_LVT_TIMER_MODE))
		return;
	/* To and from TSC-deadline mode the timer is disarmed. Between the others it runs on. */
	if ((old & APIC_LVT_TIMER_MODE) == APIC_TIMER_DEADLINE || timer_mode(a) == APIC_TIMER_DEADLINE) {
		apic_timer_stop(a);
		a->tsc_deadline = 0;
		apic_set(a, APIC_TMICT, 0);
	} else if (a->deadline) {
		a->period = timer_mode(a) == APIC_TIMER_PERIODIC ?
			max(apic_get(a, APIC_TMICT) * (u64)divider(a) * NS_PER_COUNT, MIN_PERIOD_NS) : 0;
	}
}

u64 kvm_lapic_tsc_deadline(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;

	return a && timer_mode(a) == APIC_TIMER_DEADLINE ? a->tsc_deadline : 0;
}

void kvm_lapic_set_tsc_deadline(struct kvm_vcpu *v, u64 val)
{
	struct x86_lapic *a = v->cpu.lapic;
	u64 now_tsc, ns;

	if (!a || timer_mode(a) != APIC_TIMER_DEADLINE)
		return;
	apic_timer_stop(a);
	a->tsc_deadline = val;
	if (!val)
		return;
	now_tsc = x86_read_tsc(&v->cpu);
	if (val <= now_tsc) {
		ns = 0;
	} else {
		/* Ticks to nanoseconds in two steps, which cannot overflow; a century is for ever. */
		u64 ticks = min(val - now_tsc, 1ull << 62);
		u64 khz = max(v->cpu.tsc_khz, 1u);

		ns = min(ticks / khz, 1ull << 40) * 1000000 + ticks % khz * 1000000 / khz;
	}
	arm(a, os_time_ns() + ns);
	if (!ns)
		kvm_make_request(v, KVM_REQ_TIMER);
}

void kvm_lapic_tsc_changed(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;

	if (a && a->deadline && timer_mode(a) == APIC_TIMER_DEADLINE)
		kvm_lapic_set_tsc_deadline(v, a->tsc_deadline);
}

u64 kvm_lapic_next_deadline(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;

	return a && a->deadline ? a->deadline : ~0ull;
}

void kvm_lapic_run_timer(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	u64 now;

	if (!a || !a->deadline)
		return;
	now = os_time_ns();
	if (now < a->deadline)
		return;
	if (a->period) {
		/* Ticks that were missed are missed. */
		u64 late = (now - a->deadline) / a->period;

		arm(a, a->deadline + (late + 1) * a->period);
	} else {
		a->deadline = 0;
		a->tsc_deadline = 0;
	}
	apic_local_event(a, APIC_LVTT);
}
