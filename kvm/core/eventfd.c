/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irqfd: an event raises an interrupt. ioeventfd: a write by the guest signals an event. Neither
 * needs a vCPU to leave guest code for the VMM.
 */
#include "kvm/core/kvm.h"

/* A level-triggered irqfd keeps its line up until the guest acknowledges, then tells the VMM, which signals again if
 * the device still wants service. Those that share a GSI share one note of the acknowledgement. */
struct resampler {
	struct resampler *next;
	struct kvm_irq_ack ack;
	struct kvm *kvm;
	u32 users;
};

struct irqfd {
	struct irqfd *next;
	struct kvm *kvm;
	u32 gsi;
	struct os_eventfd *event;
	struct os_eventfd *resample;	/* NULL: edge-triggered */
	struct resampler *resampler;
};

struct ioeventfd {
	struct kvm_io_device dev;
	struct ioeventfd *next;
	struct os_eventfd *event;
	enum kvm_bus_id bus;
	gpa_t addr;
	u32 len;			/* 0: any */
	bool any_value;
	u64 value;
};

struct kvm_eventfds {
	/* Order: lock, resample_lock. A watched event's callback takes neither. */
	struct os_mutex lock;		/* the lists, but for */
	struct irqfd *irqfds;
	u32 nr_irqfds, sweep_at;	/* how many, and at how many to look for those without a user */
	struct resampler *resamplers;
	struct ioeventfd *ioeventfds;	/* slots_lock: they come and go with their bus entries */
	struct os_mutex resample_lock;	/* changes of irqfds, against an acknowledgement that walks them */
};

int kvm_eventfds_init(struct kvm *kvm)
{
	kvm->eventfds = os_alloc(sizeof(*kvm->eventfds));
	return kvm->eventfds ? 0 : -ENOMEM;
}

/* ---- irqfd ---- */

static void irqfd_signalled(void *arg)
{
	struct irqfd *i = arg;

	if (i->resample) {
		kvm_set_irq(i->kvm, KVM_IRQFD_RESAMPLE_SOURCE_ID, i->gsi, 1);
		return;
	}
	kvm_set_irq(i->kvm, KVM_USERSPACE_IRQ_SOURCE_ID, i->gsi, 1);
	kvm_set_irq(i->kvm, KVM_USERSPACE_IRQ_SOURCE_ID, i->gsi, 0);
}

static void resampler_acked(struct kvm_irq_ack *ack)
{
	struct resampler *rs = container_of(ack, struct resampler, ack);
	struct kvm_eventfds *e = rs->kvm->eventfds;

	kvm_set_irq(rs->kvm, KVM_IRQFD_RESAMPLE_SOURCE_ID, rs->ack.gsi, 0);
	os_mutex_lock(&e->resample_lock);
	for (struct irqfd *i = e->irqfds; i; i = i->next)
		if (i->resampler == rs)
			os_eventfd_signal(i->resample, 1);
	os_mutex_unlock(&e->resample_lock);
}

/* With e->lock held. */
static struct resampler *get_resampler(struct kvm *kvm, u32 gsi)
{
	struct kvm_eventfds *e = kvm->eventfds;
	struct resampler *rs;

	for (rs = e->resamplers; rs; rs = rs->next)
		if (rs->ack.gsi == gsi)
			break;
	if (!rs) {
		rs = os_alloc(sizeof(*rs));
		if (!rs)
			return NULL;
		rs->kvm = kvm;
		rs->ack.gsi = gsi;
		rs->ack.fn = resampler_acked;
		rs->next = e->resamplers;
		e->resamplers = rs;
		kvm_register_irq_ack(kvm, &rs->ack);
	}
	rs->users++;
	return rs;
}

static void put_resampler(struct resampler *rs)
{
	struct resampler **link = &rs->kvm->eventfds->resamplers;

	if (--rs->users)
		return;
	while (*link != rs)
		link = &(*link)->next;
	*link = rs->next;
	kvm_unregister_irq_ack(rs->kvm, &rs->ack);
	kvm_set_irq(rs->kvm, KVM_IRQFD_RESAMPLE_SOURCE_ID, rs->ack.gsi, 0);
	os_free(rs);
}

/* Off all lists already (or never on them); e->lock held. */
static void free_irqfd(struct irqfd *i)
{
	if (i->event)
		os_eventfd_unwatch(i->event);
	if (i->resampler)
		put_resampler(i->resampler);
	os_eventfd_put(i->event);
	os_eventfd_put(i->resample);
	os_free(i);
}

#define MIN_SWEEP	16

/*
 * Lets go of irqfds that nobody can signal any more, since the VMM has closed their events without taking them away.
 * That costs system calls for each of them, and so it is done whenever their number has doubled. e->lock held.
 */
static void sweep_irqfds(struct kvm_eventfds *e)
{
	struct irqfd **link, *i;

	if (e->nr_irqfds < max(e->sweep_at, (u32)MIN_SWEEP))
		return;
	for (link = &e->irqfds; (i = *link); ) {
		if (!os_eventfd_abandoned(i->event)) {
			link = &i->next;
			continue;
		}
		os_mutex_lock(&e->resample_lock);
		*link = i->next;
		os_mutex_unlock(&e->resample_lock);
		e->nr_irqfds--;
		free_irqfd(i);
	}
	e->sweep_at = 2 * e->nr_irqfds;
}

static int assign_irqfd(struct kvm *kvm, const struct kvm_irqfd *args)
{
	struct kvm_eventfds *e = kvm->eventfds;
	bool resample = args->flags & KVM_IRQFD_FLAG_RESAMPLE;
	struct irqfd *new, *i;
	int r;

	if (kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE ||
	    (resample && kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL))
		return -EINVAL;
	new = os_alloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->kvm = kvm;
	new->gsi = args->gsi;
	os_mutex_lock(&e->lock);
	sweep_irqfds(e);
	r = os_eventfd_get(args->fd, &new->event);
	if (!r && resample)
		r = os_eventfd_get(args->resamplefd, &new->resample);
	if (r)
		goto out;
	r = -EBUSY;
	for (i = e->irqfds; i; i = i->next)
		if (os_eventfd_same(i->event, new->event))
			goto out;
	if (resample) {
		r = -ENOMEM;
		new->resampler = get_resampler(kvm, new->gsi);
		if (!new->resampler)
			goto out;
	}
	os_mutex_lock(&e->resample_lock);
	new->next = e->irqfds;
	e->irqfds = new;
	os_mutex_unlock(&e->resample_lock);
	/* Last: what is signalled already raises the interrupt at once. */
	r = os_eventfd_watch(new->event, irqfd_signalled, new);
	if (!r) {
		e->nr_irqfds++;
		goto out_unlock;
	}
	os_mutex_lock(&e->resample_lock);
	e->irqfds = new->next;
	os_mutex_unlock(&e->resample_lock);
out:
	free_irqfd(new);
out_unlock:
	os_mutex_unlock(&e->lock);
	return r;
}

static int deassign_irqfd(struct kvm *kvm, const struct kvm_irqfd *args)
{
	struct kvm_eventfds *e = kvm->eventfds;
	struct os_eventfd *event;
	struct irqfd **link, *i;
	int r = os_eventfd_get(args->fd, &event);

	if (r)
		return r;
	os_mutex_lock(&e->lock);
	for (link = &e->irqfds; (i = *link); ) {
		if (i->gsi != args->gsi || !os_eventfd_same(i->event, event)) {
			link = &i->next;
			continue;
		}
		os_mutex_lock(&e->resample_lock);
		*link = i->next;
		os_mutex_unlock(&e->resample_lock);
		e->nr_irqfds--;
		free_irqfd(i);
	}
	os_mutex_unlock(&e->lock);
	os_eventfd_put(event);
	return 0;
}

int kvm_irqfd(struct kvm *kvm, const struct kvm_irqfd *args)
{
	if (args->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return deassign_irqfd(kvm, args);
	return assign_irqfd(kvm, args);
}

/* ---- ioeventfd ---- */

static u64 value_of(const void *val, int len)
{
	u64 x = 0;

	memcpy(&x, val, len);
	return x;
}

static int ioeventfd_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
			   const void *val)
{
	struct ioeventfd *p = container_of(dev, struct ioeventfd, dev);

	if (addr != p->addr || (p->len && (u32)len != p->len))
		return -EOPNOTSUPP;
	if (p->len && !p->any_value && value_of(val, len) != p->value)
		return -EOPNOTSUPP;
	os_eventfd_signal(p->event, 1);
	return 0;
}

static void ioeventfd_destroy(struct kvm_io_device *dev)
{
	struct ioeventfd *p = container_of(dev, struct ioeventfd, dev);

	os_eventfd_put(p->event);
	os_free(p);
}

/* Would the same write signal both? */
static bool collide(const struct ioeventfd *a, const struct ioeventfd *b)
{
	if (a->bus != b->bus || a->addr != b->addr)
		return false;
	if (!a->len || !b->len)
		return true;
	return a->len == b->len && (a->any_value || b->any_value || a->value == b->value);
}

static void fill_ioeventfd(struct ioeventfd *p, const struct kvm_ioeventfd *args)
{
	p->bus = args->flags & KVM_IOEVENTFD_FLAG_PIO ? KVM_BUS_PIO : KVM_BUS_MMIO;
	p->addr = args->addr;
	p->len = args->len;
	p->any_value = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	p->value = p->any_value ? 0 : args->datamatch;
}

static int assign_ioeventfd(struct kvm *kvm, const struct kvm_ioeventfd *args)
{
	struct kvm_eventfds *e = kvm->eventfds;
	struct ioeventfd *new, *p;
	int r;

	new = os_alloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->dev.write = ioeventfd_write;
	new->dev.destroy = ioeventfd_destroy;
	fill_ioeventfd(new, args);
	r = os_eventfd_get(args->fd, &new->event);
	if (r)
		goto out;

	os_mutex_lock(&kvm->slots_lock);
	for (p = e->ioeventfds; p && !collide(p, new); p = p->next)
		;
	r = p ? -EEXIST : kvm_bus_register_locked(kvm, new->bus, new->addr, new->len, &new->dev);
	if (!r) {
		new->next = e->ioeventfds;
		e->ioeventfds = new;
	}
	os_mutex_unlock(&kvm->slots_lock);
	if (!r)
		return 0;
	os_eventfd_put(new->event);
out:
	os_free(new);
	return r;
}

static int deassign_ioeventfd(struct kvm *kvm, const struct kvm_ioeventfd *args)
{
	struct kvm_eventfds *e = kvm->eventfds;
	struct ioeventfd **link, *p, want = { 0 };
	struct os_eventfd *event;
	int r = os_eventfd_get(args->fd, &event);

	if (r)
		return r;
	fill_ioeventfd(&want, args);
	r = -ENOENT;
	os_mutex_lock(&kvm->slots_lock);
	for (link = &e->ioeventfds; (p = *link); link = &p->next) {
		if (p->bus != want.bus || p->addr != want.addr || p->len != want.len ||
		    p->any_value != want.any_value || p->value != want.value ||
		    !os_eventfd_same(p->event, event))
			continue;
		*link = p->next;
		kvm_bus_unregister_locked(kvm, p->bus, &p->dev);
		r = 0;
		break;
	}
	os_mutex_unlock(&kvm->slots_lock);
	os_eventfd_put(event);
	return r;
}

int kvm_ioeventfd(struct kvm *kvm, const struct kvm_ioeventfd *args)
{
	const u32 flags = KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO |
			  KVM_IOEVENTFD_FLAG_DEASSIGN;

	switch (args->len) {
	case 0: case 1: case 2: case 4: case 8:
		break;
	default:
		return -EINVAL;
	}
	if (args->addr + args->len < args->addr || (args->flags & ~flags))
		return -EINVAL;
	if (!args->len && (args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
		return -EINVAL;
	if (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		return deassign_ioeventfd(kvm, args);
	return assign_ioeventfd(kvm, args);
}

/* The ioeventfds go with the buses. */
void kvm_eventfds_destroy(struct kvm *kvm)
{
	struct kvm_eventfds *e = kvm->eventfds;
	struct irqfd *i;

	if (!e)
		return;
	os_mutex_lock(&e->lock);
	while ((i = e->irqfds)) {
		os_mutex_lock(&e->resample_lock);
		e->irqfds = i->next;
		os_mutex_unlock(&e->resample_lock);
		free_irqfd(i);
	}
	os_mutex_unlock(&e->lock);
	os_free(e);
	kvm->eventfds = NULL;
}
