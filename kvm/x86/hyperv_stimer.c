/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's synthetic timers (TLFS 12.3): four a processor, in reference time, once or periodic. One that expires
 * leaves a message at a synthetic interrupt source or, in direct mode, raises a vector of the local APIC.
 *
 * As with the local APIC's timer, the host's timer only makes the vCPU look: all state is its thread's. A message that
 * finds its slot taken waits until the guest says that it is free; a tick of a periodic timer is lost instead.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"

#define ENABLED			BIT_ULL(0)
#define PERIODIC		BIT_ULL(1)
#define AUTO_ENABLE		BIT_ULL(3)
#define DIRECT			BIT_ULL(12)
#define VECTOR(config)		((config) >> 4 & 0xff)
#define SINT(config)		((config) >> 16 & 0xf)

#define MESSAGE_TIMER_EXPIRED	0x80000010
/* A periodic timer faster than this would leave the guest no time to run. */
#define MIN_PERIOD_NS		100000ull

struct timer_payload {
	u32 index;
	u32 reserved;
	u64 expired, delivered;		/* reference time */
};

static void look(void *arg)
{
	kvm_make_request(arg, KVM_REQ_HV_STIMER);
}

void kvm_hv_stimers_init(struct kvm_vcpu *v)
{
	os_timer_init(&v->cpu.hv->timer, look, v);
	v->cpu.hv->deadline = ~0ull;
}

void kvm_hv_stimers_free(struct kvm_vcpu *v)
{
	os_timer_destroy(&v->cpu.hv->timer);
}

/* ---- MSRs ---- */

/* It begins anew, if it is enabled. */
static void restart(struct kvm_vcpu *v, struct kvm_hv_stimer *s)
{
	s->expires = 0;
	s->unsent = false;
	kvm_make_own_request(v, KVM_REQ_HV_STIMER);
}

bool kvm_hv_set_stimer_config(struct kvm_vcpu *v, u32 n, u64 val, bool host)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;
	struct kvm_hv_stimer *s = &hv->stimer[n];

	if (!hv->synic_active && (!host || val))
		return false;
	if (!host && hv->enforce_cpuid && (val & DIRECT) && !(hv->features_edx & HV_STIMER_DIRECT))
		return false;
	/* Changing a timer that runs to source 0 is how it is switched off. */
	if ((s->config & ENABLED) && !(val & DIRECT) && SINT(val) == 0)
		val &= ~ENABLED;
	s->config = val;
	restart(v, s);
	return true;
}

bool kvm_hv_set_stimer_count(struct kvm_vcpu *v, u32 n, u64 val, bool host)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;
	struct kvm_hv_stimer *s = &hv->stimer[n];

	if (!hv->synic_active && (!host || val))
		return false;
	s->count = val;
	if (!host && !val)
		s->config &= ~ENABLED;
	else if (!host && (s->config & AUTO_ENABLE))
		s->config |= ENABLED;
	restart(v, s);
	return true;
}

void kvm_hv_stimer_slot_free(struct kvm_vcpu *v, u32 sint)
{
	for (u32 n = 0; n < HV_NR_STIMERS; n++) {
		struct kvm_hv_stimer *s = &v->cpu.hv->stimer[n];

		if (!s->unsent || (s->config & DIRECT) || SINT(s->config) != sint)
			continue;
		s->unsent = false;
		kvm_make_own_request(v, KVM_REQ_HV_STIMER);
	}
}

/* ---- expiry ---- */

static int send(struct kvm_vcpu *v, u32 n)
{
	const struct kvm_hv_stimer *s = &v->cpu.hv->stimer[n];
	struct timer_payload p = { .index = n, .expired = s->expires };

	if (s->config & DIRECT) {
		kvm_lapic_raise(v, VECTOR(s->config));
		return 0;
	}
	p.delivered = kvm_hv_reference_time(v->kvm);
	return kvm_hv_send_message(v, SINT(s->config), MESSAGE_TIMER_EXPIRED, &p, sizeof(p),
				   !(s->config & PERIODIC));
}

static u64 add_saturating(u64 a, u64 b)
{
	return a + b < a ? ~0ull : a + b;
}

static void expire(struct kvm_vcpu *v, u32 n, u64 now)
{
	struct kvm_hv_stimer *s = &v->cpu.hv->stimer[n];

	s->unsent = send(v, n) != 0;
	if (s->unsent)
		return;
	if (!(s->config & PERIODIC)) {
		s->config &= ~ENABLED;
		return;
	}
	/* Ticks that were missed are missed. */
	s->expires = add_saturating(now, s->count - (now - s->expires) % s->count);
}

/* What a timer does now; nanoseconds until it is to be looked at again, ~0: not by itself. */
static u64 run(struct kvm_vcpu *v, u32 n, u64 now)
{
	struct kvm_hv_stimer *s = &v->cpu.hv->stimer[n];
	u64 left;

	if (!(s->config & ENABLED) || !s->count)
		return ~0ull;
	if (!s->expires)
		s->expires = s->config & PERIODIC ? add_saturating(now, s->count) : s->count;
	if (now >= s->expires && !s->unsent)
		expire(v, n, now);
	if (s->unsent || !(s->config & ENABLED))
		return ~0ull;
	/* A month is as good as for ever: it is looked at then. */
	left = min(s->expires - now, 1ull << 44) * 100;
	return s->config & PERIODIC ? max(left, MIN_PERIOD_NS) : left;
}

void kvm_hv_run_stimers(struct kvm_vcpu *v)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;
	u64 now = 0, soonest = ~0ull;

	if (likely(!hv->synic_active))
		return;
	for (u32 n = 0; n < HV_NR_STIMERS; n++) {
		if (!(hv->stimer[n].config & ENABLED))
			continue;
		if (!now)
			now = kvm_hv_reference_time(v->kvm);
		soonest = min(soonest, run(v, n, now));
	}
	if (soonest != ~0ull) {
		hv->deadline = os_time_ns() + soonest;
		os_timer_set(&hv->timer, hv->deadline);
	} else if (hv->deadline != ~0ull) {
		hv->deadline = ~0ull;
		os_timer_cancel(&hv->timer);
	}
}

bool kvm_hv_stimers_due(struct kvm_vcpu *v)
{
	u64 deadline = v->cpu.hv->deadline;

	if (READ_ONCE(v->requests) & BIT(KVM_REQ_HV_STIMER))
		return true;
	return deadline != ~0ull && os_time_ns() >= deadline;
}
