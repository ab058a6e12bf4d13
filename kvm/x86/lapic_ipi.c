// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages between APICs: who is addressed, and what each delivery mode does (SDM volume 3, 11.6 and
 * 11.12.10).
 */
#include "kvm/x86/events.h"
#include "kvm/x86/lapic.h"

/* What stands for everybody: 0xff in a message of 8-bit ids, ~0 in one of 32-bit ids. */
static bool broadcast(const struct kvm_lapic_msg *m)
{
	return m->x2apic_dest ? m->dest == ~0u : m->dest == 0xff;
}

static bool logical_match(struct x86_lapic *a, u32 dest)
{
	u32 ldr = apic_get(a, APIC_LDR);

	if (apic_x2(&a->v->cpu))	/* cluster, and a bit in it */
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	ldr >>= 24;
	if (apic_get(a, APIC_DFR) >> 28 == 0xf)			/* flat */
		return ldr & dest & 0xff;
	return (ldr >> 4) == ((dest >> 4) & 0xf) && (ldr & dest & 0xf);
}

static bool addressed(struct x86_lapic *a, struct kvm_vcpu *src, const struct kvm_lapic_msg *m)
{
	u32 id;

	switch (m->shorthand) {
	case 1:
		return a->v == src;
	case 2:
		return true;
	case 3:
		return a->v != src;
	}
	if (!apic_hw_enabled(a))
		return false;
	if (broadcast(m))
		return true;
	if (m->logical)
		return logical_match(a, m->dest);
	id = apic_get(a, APIC_ID);
	return m->dest == (apic_x2(&a->v->cpu) ? id : id >> 24);
}

/* One APIC takes the message. 1; 0: it had that interrupt pending already; -1: it takes none. */
static int take(struct x86_lapic *a, const struct kvm_lapic_msg *m)
{
	struct kvm_vcpu *v = a->v;
	struct x86_cpu *c = &v->cpu;

	switch (m->delivery_mode) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		if (!apic_sw_enabled(a))
			return -1;
		return apic_accept(a, m->vector, m->trig_mode);
	case APIC_DM_SMI:
		kvm_make_request(v, KVM_REQ_SMI);
		return 1;
	case APIC_DM_NMI:
		x86_queue_nmi(v);
		return 1;
	case APIC_DM_INIT:
		/* The de-assertion of old is no event. */
		if (m->trig_mode && !m->assert)
			return 1;
		store_release(&c->ev.sipi_pending, false);
		store_release(&c->ev.init_pending, true);
		break;
	case APIC_DM_STARTUP:
		WRITE_ONCE(c->ev.sipi_vector, m->vector);
		store_release(&c->ev.sipi_pending, true);
		break;
	default:		/* remote read, ExtINT: not for here */
		return -1;
	}
	kvm_make_request(v, KVM_REQ_EVENT);
	return 1;
}

int kvm_lapic_deliver(struct kvm *kvm, struct kvm_vcpu *src, const struct kvm_lapic_msg *m)
{
	struct x86_lapic *lowest = NULL;
	struct kvm_vcpu *v;
	int result = -1, r;
	u32 i;

	kvm_for_each_vcpu(v, kvm, i) {
		struct x86_lapic *a = load_acquire(&v->cpu.lapic);

		if (!a || !addressed(a, src, m))
			continue;
		if (m->delivery_mode == APIC_DM_LOWEST) {
			/* One of those addressed: in turn, whoever had fewest. */
			if (apic_sw_enabled(a) && (!lowest || READ_ONCE(a->arbitration) < READ_ONCE(lowest->arbitration)))
				lowest = a;
			continue;
		}
		r = take(a, m);
		if (r >= 0)
			result = max(result, 0) + r;
	}
	if (lowest) {
		atomic_add(&lowest->arbitration, 1);
		result = take(lowest, m);
	}
	return result;
}

int kvm_lapic_raise(struct kvm_vcpu *v, u8 vector)
{
	struct x86_lapic *a = load_acquire(&v->cpu.lapic);

	if (!a || !apic_hw_enabled(a) || !apic_sw_enabled(a))
		return -1;
	return apic_accept(a, vector, false);
}

void apic_send_icr(struct x86_lapic *a, u32 low, u32 dest)
{
	struct kvm_lapic_msg m = {
		.dest = dest,
		.x2apic_dest = apic_x2(&a->v->cpu),
		.logical = low & BIT(11),
		.vector = low & 0xff,
		.delivery_mode = (low >> 8) & 7,
		.shorthand = (low >> 18) & 3,
		.trig_mode = !!(low & BIT(15)),
		.assert = !!(low & BIT(14)),
		.level = !!(low & BIT(14)),
	};

	/* Level-triggered IPIs are only INIT's de-assertion; the rest are edges whatever is written. */
	if (m.delivery_mode != APIC_DM_INIT)
		m.trig_mode = 0;
	kvm_lapic_deliver(a->v->kvm, a->v, &m);
}
