// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two 8259A interrupt controllers of a PC, the slave on the master's pin 2, with the
 * edge/level control registers of the PIIX at ports 4D0h and 4D1h (Intel 8259A data sheet).
 *
 * What the guest acknowledges is announced to the core (resampling irqfds, the PIT) with the lock dropped, since the
 * answer may be another change of a pin.
 */
#include "kvm/x86/irqchip.h"

struct kvm_pic {
	struct os_mutex lock;		/* everything below */
	struct kvm *kvm;
	struct kvm_pic_state chip[2];
	u8 sources[16];			/* a bit for each source id that drives the pin */
	u16 acked;			/* pins acknowledged while locked, to be announced */
	bool output;
	struct kvm_io_device ports[3];	/* master, slave, edge/level */
};

enum { PORTS_MASTER, PORTS_SLAVE, PORTS_ELCR };

/* How far below the top `mask`'s highest-priority bit is; 8: none. */
static int priority(const struct kvm_pic_state *s, u8 mask)
{
	int p = 0;

	if (!mask)
		return 8;
	while (!(mask & BIT((p + s->priority_add) & 7)))
		p++;
	return p;
}

/* The pin to serve, or -1. */
static int chip_irq(struct kvm_pic *pic, int n)
{
	struct kvm_pic_state *s = &pic->chip[n];
	int wanted = priority(s, s->irr & ~s->imr), serving;
	u8 isr = s->isr;

	if (wanted == 8)
		return -1;
	if (s->special_mask)
		isr &= ~s->imr;
	/* Special fully nested: the slave may interrupt its own service. */
	if (s->special_fully_nested_mode && n == 0)
		isr &= ~BIT(2);
	serving = priority(s, isr);
	return wanted < serving ? (wanted + s->priority_add) & 7 : -1;
}

/* Puts a pin's level into its chip. 1: a new request; 0: one was there already. */
static int chip_set(struct kvm_pic_state *s, int pin, bool level)
{
	u8 mask = BIT(pin);
	int ret = 1;

	if (s->elcr & mask) {
		if (level) {
			ret = !(s->irr & mask);
			s->irr |= mask;
			s->last_irr |= mask;
		} else {
			s->irr &= ~mask;
			s->last_irr &= ~mask;
		}
	} else if (level) {
		if (!(s->last_irr & mask)) {
			ret = !(s->irr & mask);
			s->irr |= mask;
		}
		s->last_irr |= mask;
	} else {
		s->last_irr &= ~mask;
	}
	return s->imr & mask ? -1 : ret;
}

/* Recomputes the slave's line to the master and the output pin. */
static void update(struct kvm_pic *pic)
{
	if (chip_irq(pic, 1) >= 0) {
		chip_set(&pic->chip[0], 2, true);
		chip_set(&pic->chip[0], 2, false);
	}
	WRITE_ONCE(pic->output, chip_irq(pic, 0) >= 0);	/* vCPUs look at it without the lock */
}

static void clear_service(struct kvm_pic *pic, int n, int pin)
{
	pic->chip[n].isr &= ~BIT(pin);
	pic->acked |= BIT(n * 8 + pin);
}

/* Drops the lock; tells the processors that take the PIC's output, and those who wait for acknowledgement. */
static void unlock(struct kvm_pic *pic)
{
	bool output = pic->output;
	u16 acked = pic->acked;
	struct kvm_vcpu *v;
	u32 i;

	pic->acked = 0;
	os_mutex_unlock(&pic->lock);
	if (output) {
		kvm_for_each_vcpu(v, pic->kvm, i)
			if (kvm_lapic_accepts_pic(v))
				kvm_make_request(v, KVM_REQ_EVENT);
	}
	for (int pin = 0; acked; pin++, acked >>= 1)
		if (acked & 1)
			kvm_notify_acked_irq(pic->kvm, pin >> 3, pin & 7);
}

int kvm_pic_set_pin(struct kvm *kvm, int pin, int source_id, int level)
{
	struct kvm_pic *pic = kvm->arch.pic;
	int ret;

	if (!pic || pin < 0 || pin > 15)
		return -1;
	os_mutex_lock(&pic->lock);
	if (level)
		pic->sources[pin] |= BIT(source_id);
	else
		pic->sources[pin] &= ~BIT(source_id);
	ret = chip_set(&pic->chip[pin >> 3], pin & 7, pic->sources[pin] != 0);
	update(pic);
	unlock(pic);
	return ret;
}

bool kvm_pic_output(struct kvm *kvm)
{
	return kvm->arch.pic && READ_ONCE(kvm->arch.pic->output);
}

static void acknowledge(struct kvm_pic *pic, int n, int pin)
{
	struct kvm_pic_state *s = &pic->chip[n];

	s->isr |= BIT(pin);
	if (!(s->elcr & BIT(pin)))
		s->irr &= ~BIT(pin);
	if (s->auto_eoi) {
		if (s->rotate_on_auto_eoi)
			s->priority_add = (pin + 1) & 7;
		clear_service(pic, n, pin);
	}
}

int kvm_pic_acknowledge(struct kvm *kvm)
{
	struct kvm_pic *pic = kvm->arch.pic;
	int pin, vector;

	os_mutex_lock(&pic->lock);
	pin = chip_irq(pic, 0);
	if (pin < 0) {
		vector = pic->chip[0].irq_base + 7;	/* spurious */
	} else {
		acknowledge(pic, 0, pin);
		vector = pic->chip[0].irq_base + pin;
		if (pin == 2) {
			int pin2 = chip_irq(pic, 1);

			if (pin2 >= 0)
				acknowledge(pic, 1, pin2);
			vector = pic->chip[1].irq_base + (pin2 < 0 ? 7 : pin2);
		}
	}
	update(pic);
	unlock(pic);
	return vector;
}

/* ICW1: back to the state after power-on, but for the edge/level registers and the lines themselves. */
static void init_chip(struct kvm_pic *pic, int n)
{
	struct kvm_pic_state *s = &pic->chip[n];
	struct kvm_pic_state fresh = { .elcr = s->elcr, .elcr_mask = s->elcr_mask };
	u8 level = s->irr & s->elcr;

	/* Nobody will end what is in service now, nor what was requested by an edge that is forgotten. */
	pic->acked |= (s->isr | (s->irr & ~s->elcr)) << (n * 8);
	*s = fresh;
	s->irr = level;		/* level-triggered requests stand as long as the line does */
	s->last_irr = level;
}

static void write_command(struct kvm_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *s = &pic->chip[n];
	int pin;

	if (val & 0x10) {			/* ICW1 */
		init_chip(pic, n);
		s->init4 = val & 1;
		s->init_state = 1;
		return;
	}
	if (val & 0x08) {			/* OCW3 */
		if (val & 4)
			s->poll = 1;
		if (val & 2)
			s->read_reg_select = val & 1;
		if (val & 0x40)
			s->special_mask = (val >> 5) & 1;
		return;
	}
	switch (val >> 5) {			/* OCW2 */
	case 0: case 4:				/* rotation in automatic EOI */
		s->rotate_on_auto_eoi = val >> 7;
		break;
	case 1: case 5:				/* EOI of what has the highest priority */
		pin = priority(s, s->isr);
		if (pin == 8)
			break;
		pin = (pin + s->priority_add) & 7;
		if (val & 0x80)
			s->priority_add = (pin + 1) & 7;
		clear_service(pic, n, pin);
		break;
	case 3: case 7:				/* EOI of a named pin */
		pin = val & 7;
		if (val & 0x80)
			s->priority_add = (pin + 1) & 7;
		if (s->isr & BIT(pin))
			clear_service(pic, n, pin);
		break;
	case 6:					/* set priority */
		s->priority_add = (val + 1) & 7;
		break;
	}
}

static void write_data(struct kvm_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *s = &pic->chip[n];

	switch (s->init_state) {
	case 0:					/* OCW1 */
		s->imr = val;
		break;
	case 1:					/* ICW2 */
		s->irq_base = val & 0xf8;
		s->init_state = 2;
		break;
	case 2:					/* ICW3: the wiring is fixed */
		s->init_state = s->init4 ? 3 : 0;
		break;
	case 3:					/* ICW4 */
		s->special_fully_nested_mode = (val >> 4) & 1;
		s->auto_eoi = (val >> 1) & 1;
		s->init_state = 0;
		break;
	}
}

static u8 read_chip(struct kvm_pic *pic, int n, bool data)
{
	struct kvm_pic_state *s = &pic->chip[n];
	int pin;

	if (s->poll) {				/* the read acknowledges */
		s->poll = 0;
		pin = chip_irq(pic, n);
		if (pin < 0)
			return 7;
		acknowledge(pic, n, pin);
		return 0x80 | pin;
	}
	if (data)
		return s->imr;
	return s->read_reg_select ? s->isr : s->irr;
}

static int port_write(struct kvm_pic *pic, int which, gpa_t addr, int len, const void *val)
{
	u8 byte = *(const u8 *)val;

	if (len != 1)
		return -EOPNOTSUPP;
	os_mutex_lock(&pic->lock);
	if (which == PORTS_ELCR) {
		struct kvm_pic_state *s = &pic->chip[addr & 1];

		s->elcr = byte & s->elcr_mask;
	} else if (addr & 1) {
		write_data(pic, which, byte);
	} else {
		write_command(pic, which, byte);
	}
	update(pic);
	unlock(pic);
	return 0;
}

static int port_read(struct kvm_pic *pic, int which, gpa_t addr, int len, void *val)
{
	if (len != 1) {
		memset(val, 0, len);
		return -EOPNOTSUPP;
	}
	os_mutex_lock(&pic->lock);
	if (which == PORTS_ELCR)
		*(u8 *)val = pic->chip[addr & 1].elcr;
	else
		*(u8 *)val = read_chip(pic, which, addr & 1);
	update(pic);
	unlock(pic);
	return 0;
}

#define PORT_HANDLERS(name, which)								\
static int name##_read(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,	\
		       void *val)								\
{												\
	return port_read(container_of(dev, struct kvm_pic, ports[which]), which, addr, len, val); \
}												\
static int name##_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,	\
			const void *val)							\
{												\
	return port_write(container_of(dev, struct kvm_pic, ports[which]), which, addr, len, val); \
}
PORT_HANDLERS(master, PORTS_MASTER)
PORT_HANDLERS(slave, PORTS_SLAVE)
PORT_HANDLERS(elcr, PORTS_ELCR)

int kvm_pic_create(struct kvm *kvm)
{
	static const gpa_t base[] = { 0x20, 0xa0, 0x4d0 };
	struct kvm_pic *pic = os_alloc(sizeof(*pic));
	int r;

	if (!pic)
		return -ENOMEM;
	pic->kvm = kvm;
	pic->chip[0].elcr_mask = 0xf8;	/* 0 to 2 are always edge: timer, keyboard, cascade */
	pic->chip[1].elcr_mask = 0xde;	/* and 8, 13: clock, coprocessor */
	pic->ports[PORTS_MASTER] = (struct kvm_io_device){ .read = master_read, .write = master_write };
	pic->ports[PORTS_SLAVE] = (struct kvm_io_device){ .read = slave_read, .write = slave_write };
	pic->ports[PORTS_ELCR] = (struct kvm_io_device){ .read = elcr_read, .write = elcr_write };
	kvm->arch.pic = pic;
	for (int i = 0; i < 3; i++) {
		r = kvm_bus_register(kvm, KVM_BUS_PIO, base[i], 2, &pic->ports[i]);
		if (r) {
			kvm_pic_destroy(kvm);
			return r;
		}
	}
	return 0;
}

void kvm_pic_destroy(struct kvm *kvm)
{
	struct kvm_pic *pic = kvm->arch.pic;

	if (!pic)
		return;
	for (int i = 0; i < 3; i++)
		kvm_bus_unregister(kvm, KVM_BUS_PIO, &pic->ports[i]);
	kvm->arch.pic = NULL;
	os_free(pic);
}

void kvm_pic_get_state(struct kvm *kvm, int chip, struct kvm_pic_state *s)
{
	struct kvm_pic *pic = kvm->arch.pic;

	os_mutex_lock(&pic->lock);
	*s = pic->chip[chip & 1];
	os_mutex_unlock(&pic->lock);
}

void kvm_pic_set_state(struct kvm *kvm, int chip, const struct kvm_pic_state *s)
{
	struct kvm_pic *pic = kvm->arch.pic;
	struct kvm_pic_state *to = &pic->chip[chip & 1];
	u8 elcr_mask = to->elcr_mask;

	os_mutex_lock(&pic->lock);
	*to = *s;
	to->elcr_mask = elcr_mask;
	to->priority_add &= 7;
	to->init_state &= 3;
	update(pic);
	unlock(pic);
}
