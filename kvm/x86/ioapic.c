// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC (Intel 82093AA data sheet): 24 pins, each with a redirection entry that turns its signal
 * into a message to local APICs. Level-triggered ones wait for an EOI (remote IRR).
 */
#include "kvm/x86/irqchip.h"

#define IOAPIC_BASE	0xfec00000ull
#define IOAPIC_SIZE	0x100
#define IOAPIC_VERSION	0x11
#define REG_SELECT	0x00
#define REG_WINDOW	0x10

/* Redirection entry bits. */
#define RTE_VECTOR	0xffull
#define RTE_LOGICAL	BIT_ULL(11)
#define RTE_STATUS	BIT_ULL(12)
#define RTE_REMOTE_IRR	BIT_ULL(14)
#define RTE_LEVEL	BIT_ULL(15)
#define RTE_MASKED	BIT_ULL(16)

struct kvm_ioapic {
	struct os_mutex lock;			/* everything below, but that vectors is read without */
	struct kvm *kvm;
	struct kvm_io_device mmio;
	u32 select, id;
	u32 irr;				/* pins that are high, or rose and were not yet told */
	u32 told;				/* edge pins in irr whose message has gone out */
	u8 sources[KVM_IOAPIC_PINS];
	u64 rte[KVM_IOAPIC_PINS];
	u64 vectors[4];				/* those that some entry has: most EOIs are of no other's */
};

/* Sends a pin's message if its entry lets it. As kvm_lapic_deliver; -1: masked or waiting for an EOI. */
static int serve(struct kvm_ioapic *io, int pin)
{
	u64 e = io->rte[pin];
	struct kvm_lapic_msg msg = {
		.dest = e >> 56,
		.logical = e & RTE_LOGICAL,
		.vector = e & RTE_VECTOR,
		.delivery_mode = (e >> 8) & 7,
		.trig_mode = !!(e & RTE_LEVEL),
		.level = true,
		.assert = true,
	};
	int r;

	if ((e & RTE_MASKED) || ((e & RTE_LEVEL) && (e & RTE_REMOTE_IRR)))
		return -1;
	if (!(e & RTE_LEVEL))
		io->told |= BIT(pin);
	r = kvm_lapic_deliver(io->kvm, NULL, &msg);
	if (r > 0 && (e & RTE_LEVEL))
		io->rte[pin] |= RTE_REMOTE_IRR;
	return r;
}

int kvm_ioapic_set_pin(struct kvm *kvm, int pin, int source_id, int level)
{
	struct kvm_ioapic *io = kvm->arch.ioapic;
	u32 mask = BIT(pin);
	int ret = 1;

	if (!io || pin < 0 || pin >= KVM_IOAPIC_PINS)
		return -1;
	os_mutex_lock(&io->lock);
	if (level)
		io->sources[pin] |= BIT(source_id);
	else
		io->sources[pin] &= ~BIT(source_id);
	if (!io->sources[pin]) {
		io->irr &= ~mask;
		io->told &= ~mask;
	} else if (io->irr & mask) {
		ret = 0;			/* coalesced with the last */
		if (io->rte[pin] & RTE_LEVEL)
			serve(io, pin);
	} else {
		io->irr |= mask;
		ret = serve(io, pin);
	}
	os_mutex_unlock(&io->lock);
	return ret;
}

bool kvm_ioapic_has_vector(struct kvm *kvm, u8 vector)
{
	struct kvm_ioapic *io = kvm->arch.ioapic;

	return io && (READ_ONCE(io->vectors[vector / 64]) & BIT_ULL(vector % 64));
}

void kvm_ioapic_eoi(struct kvm_vcpu *v, u8 vector, bool level)
{
	struct kvm_ioapic *io = v->kvm->arch.ioapic;
	u32 pins = 0;

	if (!kvm_ioapic_has_vector(v->kvm, vector))
		return;
	os_mutex_lock(&io->lock);
	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++)
		if ((io->rte[pin] & RTE_VECTOR) == vector)
			pins |= BIT(pin);
	os_mutex_unlock(&io->lock);

	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
		if (!(pins & BIT(pin)))
			continue;
		/* Unlocked: the answer may lower the pin. It must, before the pin is looked at again. */
		kvm_notify_acked_irq(v->kvm, KVM_IRQCHIP_IOAPIC, pin);
		if (!level)
			continue;
		os_mutex_lock(&io->lock);
		if ((io->rte[pin] & (RTE_LEVEL | RTE_REMOTE_IRR)) == (RTE_LEVEL | RTE_REMOTE_IRR)) {
			io->rte[pin] &= ~RTE_REMOTE_IRR;
			if (io->irr & BIT(pin))
				serve(io, pin);
		}
		os_mutex_unlock(&io->lock);
	}
}

static void note_vectors(struct kvm_ioapic *io)
{
	u64 vectors[4] = { 0 };

	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
		u8 vector = io->rte[pin] & RTE_VECTOR;

		vectors[vector / 64] |= BIT_ULL(vector % 64);
	}
	for (int i = 0; i < 4; i++)
		WRITE_ONCE(io->vectors[i], vectors[i]);
}

static void write_rte(struct kvm_ioapic *io, int pin, bool high, u32 val)
{
	const u64 read_only = RTE_STATUS | RTE_REMOTE_IRR;
	u64 old = io->rte[pin], e;

	e = high ? (old & 0xffffffff) | (u64)val << 32 : (old & ~0xffffffffull) | val;
	e = (e & ~read_only) | (old & read_only);
	if (!(e & RTE_LEVEL))
		e &= ~RTE_REMOTE_IRR;
	io->rte[pin] = e & 0xff0000000001ffffull;
	note_vectors(io);
	/* A pin that rose while masked, or is high, is told now. */
	if ((io->irr & BIT(pin)) && ((e & RTE_LEVEL) || !(io->told & BIT(pin))))
		serve(io, pin);
}

static u32 read_register(struct kvm_ioapic *io)
{
	u32 reg = io->select;

	switch (reg) {
	case 0:			/* identification */
	case 2:			/* arbitration */
		return (io->id & 0xf) << 24;
	case 1:			/* version, highest pin */
		return (KVM_IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	}
	reg -= 0x10;
	if (reg < KVM_IOAPIC_PINS * 2)
		return io->rte[reg / 2] >> (reg & 1 ? 32 : 0);
	return ~0u;
}

static void write_register(struct kvm_ioapic *io, u32 val)
{
	u32 reg = io->select;

	if (reg == 0)
		io->id = (val >> 24) & 0xf;
	else if (reg - 0x10 < KVM_IOAPIC_PINS * 2)
		write_rte(io, (reg - 0x10) / 2, reg & 1, val);
}

static int mmio_read(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len, void *val)
{
	struct kvm_ioapic *io = container_of(dev, struct kvm_ioapic, mmio);
	u64 result = 0;

	os_mutex_lock(&io->lock);
	switch (addr & 0xf0) {
	case REG_SELECT:
		result = io->select;
		break;
	case REG_WINDOW:
		result = read_register(io);
		break;
	}
	os_mutex_unlock(&io->lock);
	memcpy(val, &result, min(len, 8));
	return 0;
}

static int mmio_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
		      const void *val)
{
	struct kvm_ioapic *io = container_of(dev, struct kvm_ioapic, mmio);
	u32 data = 0;

	if (addr & 0xf)
		return 0;
	memcpy(&data, val, min(len, 4));
	os_mutex_lock(&io->lock);
	switch (addr & 0xf0) {
	case REG_SELECT:
		io->select = data & 0xff;
		break;
	case REG_WINDOW:
		write_register(io, data);
		break;
	}
	os_mutex_unlock(&io->lock);
	return 0;
}

int kvm_ioapic_create(struct kvm *kvm)
{
	struct kvm_ioapic *io = os_alloc(sizeof(*io));
	int r;

	if (!io)
		return -ENOMEM;
	io->kvm = kvm;
	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++)
		io->rte[pin] = RTE_MASKED;
	note_vectors(io);
	io->mmio = (struct kvm_io_device){ .read = mmio_read, .write = mmio_write };
	r = kvm_bus_register(kvm, KVM_BUS_MMIO, IOAPIC_BASE, IOAPIC_SIZE, &io->mmio);
	if (r) {
		os_free(io);
		return r;
	}
	kvm->arch.ioapic = io;
	return 0;
}

void kvm_ioapic_destroy(struct kvm *kvm)
{
	struct kvm_ioapic *io = kvm->arch.ioapic;

	if (!io)
		return;
	kvm_bus_unregister(kvm, KVM_BUS_MMIO, &io->mmio);
	kvm->arch.ioapic = NULL;
	os_free(io);
}

void kvm_ioapic_get_state(struct kvm *kvm, struct kvm_ioapic_state *s)
{
	struct kvm_ioapic *io = kvm->arch.ioapic;

	os_mutex_lock(&io->lock);
	memset(s, 0, sizeof(*s));
	s->base_address = IOAPIC_BASE;
	s->ioregsel = io->select;
	s->id = io->id;
	s->irr = io->irr & ~io->told;
	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++)
		s->redirtbl[pin].bits = io->rte[pin];
	os_mutex_unlock(&io->lock);
}

void kvm_ioapic_set_state(struct kvm *kvm, const struct kvm_ioapic_state *s)
{
	struct kvm_ioapic *io = kvm->arch.ioapic;

	os_mutex_lock(&io->lock);
	io->select = s->ioregsel & 0xff;
	io->id = s->id & 0xf;
	io->irr = 0;
	io->told = 0;
	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++)
		io->rte[pin] = s->redirtbl[pin].bits & 0xff0000000001ffffull;
	note_vectors(io);
	/* What had risen and not been told is told now. */
	for (int pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
		if (!(s->irr & BIT(pin)))
			continue;
		io->irr |= BIT(pin);
		serve(io, pin);
	}
	os_mutex_unlock(&io->lock);
}
