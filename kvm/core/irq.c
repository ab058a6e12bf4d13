/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt routing: from the numbers that the VMM uses (GSIs) to pins of the chips and to MSIs.
 *
 * The table is immutable and counted: whoever raises an interrupt takes a reference under a lock that is
 * held for no longer than that, since chips call back here when the guest acknowledges.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"

#define PIC_PINS	8	/* of each chip */
#define PIT_GSI		0
#define MSI_TRIG_LEVEL	BIT(15)

/* Sorted by GSI; those of gsi are entry[first[gsi]] up to entry[first[gsi + 1]]. */
struct routing {
	u32 refs;
	u32 count;
	struct kvm_irq_routing_entry *entry;
	u32 first[KVM_MAX_IRQ_ROUTES + 1];
};

struct kvm_irq_state {
	struct os_mutex lock;		/* `table`, and taking a reference to it */
	struct routing *table;
	struct os_mutex ack_lock;	/* the list; held while the functions on it run */
	struct kvm_irq_ack *acks;
};

static void put_routing(struct routing *t)
{
	if (!t || atomic_add(&t->refs, -1))
		return;
	os_free(t->entry);
	os_free(t);
}

static struct routing *get_routing(struct kvm *kvm)
{
	struct routing *t;

	os_mutex_lock(&kvm->irq->lock);
	t = kvm->irq->table;
	atomic_add(&t->refs, 1);
	os_mutex_unlock(&kvm->irq->lock);
	return t;
}

/* ---- making tables ---- */

static int check_irqchip(struct kvm *kvm, const struct kvm_irq_routing_irqchip *c)
{
	if (kvm->arch.irqchip_mode == KVM_IRQCHIP_SPLIT)
		return -EINVAL;
	switch (c->irqchip) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		return c->pin < PIC_PINS ? 0 : -EINVAL;
	case KVM_IRQCHIP_IOAPIC:
		return c->pin < KVM_IOAPIC_PINS ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* With 32-bit APIC ids in MSIs, the low byte of the upper address half is reserved. */
static bool msi_is_valid(struct kvm *kvm, u32 address_hi)
{
	return !kvm->arch.x2apic_format || !(address_hi & 0xff);
}

static int check_entry(struct kvm *kvm, const struct kvm_irq_routing_entry *e)
{
	if (e->gsi >= KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	switch (e->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		return e->flags ? -EINVAL : check_irqchip(kvm, &e->u.irqchip);
	case KVM_IRQ_ROUTING_MSI:
		if (e->flags & ~KVM_MSI_VALID_DEVID)
			return -EINVAL;
		return msi_is_valid(kvm, e->u.msi.address_hi) ? 0 : -EINVAL;
	case KVM_IRQ_ROUTING_HV_SINT:
		return e->flags ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

/* One GSI leads to one MSI, or to one pin of each chip. */
static bool may_share(const struct kvm_irq_routing_entry *a, const struct kvm_irq_routing_entry *b)
{
	return a->type == KVM_IRQ_ROUTING_IRQCHIP && b->type == KVM_IRQ_ROUTING_IRQCHIP &&
	       a->u.irqchip.irqchip != b->u.irqchip.irqchip;
}

static struct routing *alloc_routing(u32 n)
{
	struct routing *t = os_alloc(sizeof(*t));

	if (!t)
		return NULL;
	t->entry = os_alloc(n * sizeof(t->entry[0]));
	if (!t->entry) {
		os_free(t);
		return NULL;
	}
	t->refs = 1;
	t->count = n;
	return t;
}

/* Counting sort: within a GSI the order of the VMM's list stays. */
static void fill(struct routing *t, const struct kvm_irq_routing_entry *entries)
{
	for (u32 i = 0; i < t->count; i++)
		t->first[entries[i].gsi + 1]++;
	for (u32 gsi = 0; gsi < KVM_MAX_IRQ_ROUTES; gsi++)
		t->first[gsi + 1] += t->first[gsi];
	for (u32 i = t->count; i-- > 0; )
		t->entry[--t->first[entries[i].gsi + 1]] = entries[i];
	/* first[gsi + 1] is now where gsi begins: move down by one. */
	for (u32 gsi = 0; gsi < KVM_MAX_IRQ_ROUTES; gsi++)
		t->first[gsi] = t->first[gsi + 1];
	t->first[KVM_MAX_IRQ_ROUTES] = t->count;
}

static int check_table(const struct routing *t)
{
	for (u32 gsi = 0; gsi < KVM_MAX_IRQ_ROUTES; gsi++)
		for (u32 i = t->first[gsi]; i < t->first[gsi + 1]; i++)
			for (u32 k = t->first[gsi]; k < i; k++)
				if (!may_share(&t->entry[k], &t->entry[i]))
					return -EINVAL;
	return 0;
}

int kvm_set_gsi_routing(struct kvm *kvm, const struct kvm_irq_routing_entry *entries, u32 n)
{
	struct routing *t, *old;
	int r;

	if (n > KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	for (u32 i = 0; i < n; i++) {
		r = check_entry(kvm, &entries[i]);
		if (r)
			return r;
	}
	t = alloc_routing(n);
	if (!t)
		return -ENOMEM;
	fill(t, entries);
	r = check_table(t);
	if (r) {
		put_routing(t);
		return r;
	}
	os_mutex_lock(&kvm->irq->lock);
	old = kvm->irq->table;
	kvm->irq->table = t;
	os_mutex_unlock(&kvm->irq->lock);
	put_routing(old);
	return 0;
}

/* GSIs 0 to 15: the PICs and the same pin of the I/O APIC; 16 to 23: the I/O APIC alone. */
int kvm_set_default_irq_routing(struct kvm *kvm)
{
	struct kvm_irq_routing_entry *e = os_alloc((2 * PIC_PINS + KVM_IOAPIC_PINS) * sizeof(*e));
	u32 n = 0;
	int r;

	if (!e)
		return -ENOMEM;
	for (u32 gsi = 0; gsi < KVM_IOAPIC_PINS; gsi++) {
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e[n++].u.irqchip.pin = gsi;
		if (gsi >= 2 * PIC_PINS)
			continue;
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = gsi < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER
							: KVM_IRQCHIP_PIC_SLAVE;
		e[n++].u.irqchip.pin = gsi % PIC_PINS;
	}
	r = kvm_set_gsi_routing(kvm, e, n);
	os_free(e);
	return r;
}

int kvm_irq_routing_init(struct kvm *kvm)
{
	kvm->irq = os_alloc(sizeof(*kvm->irq));
	if (!kvm->irq)
		return -ENOMEM;
	kvm->irq->table = alloc_routing(0);
	return kvm->irq->table ? 0 : -ENOMEM;
}

void kvm_irq_routing_destroy(struct kvm *kvm)
{
	if (!kvm->irq)
		return;
	put_routing(kvm->irq->table);
	os_free(kvm->irq);
	kvm->irq = NULL;
}

/* ---- raising ---- */

/* SDM volume 3, 11.11: message address and data. */
static int deliver_msi(struct kvm *kvm, u32 address_lo, u32 address_hi, u32 data)
{
	struct kvm_lapic_msg msg = {
		.dest = address_lo >> 12 & 0xff,
		.logical = address_lo & BIT(2),
		.level = true,
		.assert = true,
		.vector = data & 0xff,
		.delivery_mode = data >> 8 & 7,
		.trig_mode = !!(data & MSI_TRIG_LEVEL),
	};

	if (kvm->arch.x2apic_format) {
		msg.dest |= address_hi & 0xffffff00;
		/* 0xff still means everybody, unless the VMM said that it does not (KVM_CAP_X2APIC_API). */
		msg.x2apic_dest = msg.dest != 0xff || kvm->arch.x2apic_no_broadcast_quirk;
	}
	return kvm_lapic_deliver(kvm, NULL, &msg);
}

static int raise_entry(struct kvm *kvm, const struct kvm_irq_routing_entry *e, int source_id, int level)
{
	const struct kvm_irq_routing_irqchip *c = &e->u.irqchip;

	if (e->type == KVM_IRQ_ROUTING_MSI) {
		if (!level || kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE)
			return -1;
		return deliver_msi(kvm, e->u.msi.address_lo, e->u.msi.address_hi, e->u.msi.data);
	}
	if (e->type == KVM_IRQ_ROUTING_HV_SINT)
		return level ? kvm_hv_raise_sint_of(kvm, e->u.hv_sint.vcpu, e->u.hv_sint.sint) : -1;
	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		return -1;
	if (c->irqchip == KVM_IRQCHIP_IOAPIC)
		return kvm_ioapic_set_pin(kvm, c->pin, source_id, level);
	return kvm_pic_set_pin(kvm, c->pin + (c->irqchip == KVM_IRQCHIP_PIC_SLAVE ? PIC_PINS : 0),
			       source_id, level);
}

int kvm_set_irq(struct kvm *kvm, int source_id, u32 gsi, int level)
{
	struct routing *t;
	int ret = -1;

	if (gsi >= KVM_MAX_IRQ_ROUTES)
		return ret;
	if (level && source_id != KVM_PIT_SOURCE_ID)
		kvm_note_interrupt(kvm);
	t = get_routing(kvm);
	/* From the last entry to the first, as Linux's lists have it: the PIC before the I/O APIC by default. */
	for (u32 i = t->first[gsi + 1]; i-- > t->first[gsi]; ) {
		int r = raise_entry(kvm, &t->entry[i], source_id, level);

		if (r >= 0)
			ret = r + max(ret, 0);
	}
	put_routing(t);
	return ret;
}

int kvm_send_msi(struct kvm *kvm, const struct kvm_msi *msi)
{
	/* The device's number, which a flag says is there, matters to no chip of a PC. */
	if (kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE || (msi->flags & ~KVM_MSI_VALID_DEVID) ||
	    !msi_is_valid(kvm, msi->address_hi))
		return -EINVAL;
	kvm_note_interrupt(kvm);
	/* That nobody takes it is no error. */
	return max(deliver_msi(kvm, msi->address_lo, msi->address_hi, msi->data), 0);
}

/* ---- acknowledgements ---- */

void kvm_register_irq_ack(struct kvm *kvm, struct kvm_irq_ack *ack)
{
	os_mutex_lock(&kvm->irq->ack_lock);
	ack->next = kvm->irq->acks;
	kvm->irq->acks = ack;
	os_mutex_unlock(&kvm->irq->ack_lock);
}

void kvm_unregister_irq_ack(struct kvm *kvm, struct kvm_irq_ack *ack)
{
	os_mutex_lock(&kvm->irq->ack_lock);
	for (struct kvm_irq_ack **link = &kvm->irq->acks; *link; link = &(*link)->next) {
		if (*link == ack) {
			*link = ack->next;
			break;
		}
	}
	os_mutex_unlock(&kvm->irq->ack_lock);
}

static bool leads_to(const struct routing *t, u32 gsi, u32 irqchip, u32 pin)
{
	if (gsi >= KVM_MAX_IRQ_ROUTES)
		return false;
	for (u32 i = t->first[gsi]; i < t->first[gsi + 1]; i++) {
		const struct kvm_irq_routing_entry *e = &t->entry[i];

		if (e->type == KVM_IRQ_ROUTING_IRQCHIP && e->u.irqchip.irqchip == irqchip &&
		    e->u.irqchip.pin == pin)
			return true;
	}
	return false;
}

void kvm_notify_acked_irq(struct kvm *kvm, u32 irqchip, u32 pin)
{
	struct routing *t = get_routing(kvm);

	os_mutex_lock(&kvm->irq->ack_lock);
	for (struct kvm_irq_ack *ack = kvm->irq->acks; ack; ack = ack->next)
		if (leads_to(t, ack->gsi, irqchip, pin))
			ack->fn(ack);
	os_mutex_unlock(&kvm->irq->ack_lock);
	if (kvm->arch.pit && leads_to(t, PIT_GSI, irqchip, pin))
		kvm_pit_ack(kvm);
	put_routing(t);
}

void kvm_notify_acked_sint(struct kvm *kvm, u32 vp_index, u32 sint)
{
	struct routing *t;

	os_mutex_lock(&kvm->irq->ack_lock);
	if (kvm->irq->acks) {
		t = get_routing(kvm);
		for (u32 i = 0; i < t->count; i++) {
			const struct kvm_irq_routing_entry *e = &t->entry[i];

			if (e->type != KVM_IRQ_ROUTING_HV_SINT || e->u.hv_sint.vcpu != vp_index ||
			    e->u.hv_sint.sint != sint)
				continue;
			for (struct kvm_irq_ack *ack = kvm->irq->acks; ack; ack = ack->next)
				if (ack->gsi == e->gsi)
					ack->fn(ack);
		}
		put_routing(t);
	}
	os_mutex_unlock(&kvm->irq->ack_lock);
}

/* Split irqchip: the first GSIs are the VMM's I/O APIC's pins, as MSIs. A bus carries an EOI to every I/O APIC
 * by its vector alone, so that the destination does not matter. */
bool kvm_split_eoi_exits(struct kvm_vcpu *v, u8 vector)
{
	u32 pins = min(v->kvm->arch.nr_reserved_ioapic_pins, (u32)KVM_MAX_IRQ_ROUTES);
	struct routing *t = get_routing(v->kvm);
	bool found = false;

	for (u32 i = 0; i < t->first[pins] && !found; i++) {
		const struct kvm_irq_routing_entry *e = &t->entry[i];

		found = e->type == KVM_IRQ_ROUTING_MSI && (e->u.msi.data & MSI_TRIG_LEVEL) &&
			(e->u.msi.data & 0xff) == vector;
	}
	put_routing(t);
	return found;
}
