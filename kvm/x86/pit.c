// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254 timer (Intel 82C54 data sheet) at ports 40h to 43h, and port 61h, which gates and shows its
 * third counter (the speaker's).
 *
 * Counters are functions of time: a count is computed when it is read. Only counter 0's output goes
 * anywhere, to GSI 0, on a host timer. Ticks that the guest could not take while an earlier one was
 * unacknowledged are injected afterwards ("reinjection"), for guests that keep time by counting them.
 */
#include "kvm/x86/irqchip.h"

#define PIT_HZ		1193182ull
#define NSEC		1000000000ull
/* A guest may ask for a period of a microsecond; it gets no more ticks than this. */
#define MIN_PERIOD_NS	200000ull

enum { RW_NONE, RW_LSB, RW_MSB, RW_WORD0, RW_WORD1 };

struct kvm_pit {
	struct os_mutex lock;		/* everything below */
	struct kvm *kvm;
	struct kvm_pit_state2 s;
	struct os_timer timer;
	struct os_timer again;		/* due at once: a tick that waited for an acknowledgement */
	u64 next_tick;			/* os_time_ns time of counter 0's next output edge; 0: none */
	u64 period;			/* ns; 0: one edge only */
	bool reinject;
	bool acked;			/* the last tick was acknowledged: another may go out */
	u32 pending;			/* ticks not yet acknowledged */
	struct kvm_io_device ports, speaker;
};

static u64 ticks_to_ns(u64 ticks)
{
	return ticks * NSEC / PIT_HZ;		/* at most 65536 ticks */
}

/* Time since the count was loaded, in ticks of the 1.19 MHz clock. */
static u64 elapsed(const struct kvm_pit_channel_state *ch)
{
	u64 ns = os_time_ns() - ch->count_load_time;

	return ns / NSEC * PIT_HZ + ns % NSEC * PIT_HZ / NSEC;
}

static u32 get_count(const struct kvm_pit_channel_state *ch)
{
	u64 t = elapsed(ch);
	u32 count = ch->count;

	switch (ch->mode) {
	case 0: case 1: case 4: case 5:
		return (count - t) & 0xffff;
	case 3:				/* counts by two */
		return count - (2 * t) % count;
	default:
		return count - t % count;
	}
}

static bool get_out(const struct kvm_pit_channel_state *ch)
{
	u64 t = elapsed(ch);
	u32 count = ch->count;

	switch (ch->mode) {
	default:
	case 0:
		return t >= count;
	case 1:
		return t < count;
	case 2:
		return t % count == 0 && t != 0;
	case 3:
		return t % count < (count + 1) / 2;
	case 4: case 5:
		return t == count;
	}
}

/* ---- counter 0's output ---- */

/* An edge on GSI 0, with the lock dropped. Only ever on the timers' thread: of two overlapping pulses the chips
 * would see one edge, and the other tick's acknowledgement would never come. */
static void pulse(void *arg)
{
	struct kvm_pit *pit = arg;

	kvm_set_irq(pit->kvm, KVM_PIT_SOURCE_ID, 0, 1);
	kvm_set_irq(pit->kvm, KVM_PIT_SOURCE_ID, 0, 0);
}

static void tick(void *arg)
{
	struct kvm_pit *pit = arg;
	bool send = false;
	u64 now = os_time_ns();

	os_mutex_lock(&pit->lock);
	if (pit->next_tick && now >= pit->next_tick) {
		u64 n = 1;

		if (pit->period) {
			n += (now - pit->next_tick) / pit->period;
			pit->next_tick += n * pit->period;
			os_timer_set(&pit->timer, pit->next_tick);
		} else {
			pit->next_tick = 0;
		}
		if (pit->reinject) {
			/* A guest that never acknowledges gets no endless backlog. */
			pit->pending = min(pit->pending + n, 1000000ull);
			send = pit->acked;
			pit->acked = false;
		} else {
			send = true;
		}
	} else if (pit->next_tick) {
		os_timer_set(&pit->timer, pit->next_tick);
	}
	os_mutex_unlock(&pit->lock);
	if (send)
		pulse(pit);
}

void kvm_pit_ack(struct kvm *kvm)
{
	struct kvm_pit *pit = kvm->arch.pit;

	if (!pit)
		return;
	os_mutex_lock(&pit->lock);
	if (pit->reinject && !pit->acked) {
		if (pit->pending)
			pit->pending--;
		pit->acked = !pit->pending;
		if (pit->pending)
			os_timer_set(&pit->again, os_time_ns());
	}
	os_mutex_unlock(&pit->lock);
}

/* Counter 0 was loaded: when does its output rise, and again? */
static void start_timer(struct kvm_pit *pit)
{
	struct kvm_pit_channel_state *ch = &pit->s.channels[0];
	u64 ns = ticks_to_ns(ch->count);

	os_timer_cancel(&pit->timer);
	pit->next_tick = 0;
	pit->pending = 0;
	pit->acked = true;
	if (pit->s.flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return;		/* the HPET has GSI 0 now */
	switch (ch->mode) {
	case 2: case 3:
		pit->period = max(ns, MIN_PERIOD_NS);
		break;
	case 0: case 1: case 4:
		pit->period = 0;
		break;
	default:
		return;
	}
	pit->next_tick = ch->count_load_time + ns;
	os_timer_set(&pit->timer, pit->next_tick);
}

/* ---- registers ---- */

static void load_count(struct kvm_pit *pit, int n, u32 val)
{
	struct kvm_pit_channel_state *ch = &pit->s.channels[n];

	ch->count = val ? val : 0x10000;	/* 0 stands for the largest */
	ch->count_load_time = os_time_ns();
	if (n == 0)
		start_timer(pit);
}

static void latch_count(struct kvm_pit_channel_state *ch)
{
	if (ch->count_latched)
		return;
	ch->latched_count = get_count(ch);
	ch->count_latched = ch->rw_mode;
}

static void latch_status(struct kvm_pit_channel_state *ch)
{
	if (ch->status_latched)
		return;
	ch->status = get_out(ch) << 7 | ch->rw_mode << 4 | ch->mode << 1 | ch->bcd;
	ch->status_latched = 1;
}

static void write_control(struct kvm_pit *pit, u8 val)
{
	u32 n = val >> 6, rw = (val >> 4) & 3;
	struct kvm_pit_channel_state *ch;

	if (n == 3) {				/* read-back */
		for (n = 0; n < 3; n++) {
			if (!(val & (2 << n)))
				continue;
			if (!(val & 0x20))
				latch_count(&pit->s.channels[n]);
			if (!(val & 0x10))
				latch_status(&pit->s.channels[n]);
		}
		return;
	}
	ch = &pit->s.channels[n];
	if (rw == 0) {
		latch_count(ch);
		return;
	}
	ch->rw_mode = rw;
	ch->read_state = rw;
	ch->write_state = rw;
	ch->mode = (val >> 1) & 7;
	if (ch->mode > 5)
		ch->mode -= 4;			/* 6 and 7 are 2 and 3 */
	ch->bcd = val & 1;
	if (n == 0) {
		os_timer_cancel(&pit->timer);
		pit->next_tick = 0;
	}
}

static void write_counter(struct kvm_pit *pit, int n, u8 val)
{
	struct kvm_pit_channel_state *ch = &pit->s.channels[n];

	switch (ch->write_state) {
	default:
	case RW_LSB:
		load_count(pit, n, val);
		break;
	case RW_MSB:
		load_count(pit, n, val << 8);
		break;
	case RW_WORD0:
		ch->write_latch = val;
		ch->write_state = RW_WORD1;
		break;
	case RW_WORD1:
		load_count(pit, n, ch->write_latch | val << 8);
		ch->write_state = RW_WORD0;
		break;
	}
}

static u8 read_counter(struct kvm_pit_channel_state *ch)
{
	u32 count;

	if (ch->status_latched) {
		ch->status_latched = 0;
		return ch->status;
	}
	switch (ch->count_latched) {
	case RW_LSB:
		ch->count_latched = 0;
		return ch->latched_count;
	case RW_MSB:
		ch->count_latched = 0;
		return ch->latched_count >> 8;
	case RW_WORD0:
		ch->count_latched = RW_MSB;
		return ch->latched_count;
	}
	count = get_count(ch);
	switch (ch->read_state) {
	default:
	case RW_LSB:
		return count;
	case RW_MSB:
		return count >> 8;
	case RW_WORD0:
		ch->read_state = RW_WORD1;
		return count;
	case RW_WORD1:
		ch->read_state = RW_WORD0;
		return count >> 8;
	}
}

static int ports_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
		       const void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, ports);
	u8 byte = *(const u8 *)val;

	os_mutex_lock(&pit->lock);
	if ((addr & 3) == 3)
		write_control(pit, byte);
	else
		write_counter(pit, addr & 3, byte);
	os_mutex_unlock(&pit->lock);
	return 0;
}

static int ports_read(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len, void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, ports);

	memset(val, 0, len);
	if ((addr & 3) == 3)
		return 0;
	os_mutex_lock(&pit->lock);
	*(u8 *)val = read_counter(&pit->s.channels[addr & 3]);
	os_mutex_unlock(&pit->lock);
	return 0;
}

/* Port 61h: bit 0 gates counter 2, bit 1 the speaker; bit 4 toggles with refresh, bit 5 is the output. */
static int speaker_write(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
			 const void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, speaker);
	struct kvm_pit_channel_state *ch = &pit->s.channels[2];
	u8 byte = *(const u8 *)val;

	os_mutex_lock(&pit->lock);
	if (byte & 2)
		pit->s.flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	else
		pit->s.flags &= ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	/* A rising gate restarts the count in these modes. */
	if ((byte & 1) && !ch->gate && (ch->mode == 1 || ch->mode == 2 || ch->mode == 3 || ch->mode == 5))
		ch->count_load_time = os_time_ns();
	ch->gate = byte & 1;
	os_mutex_unlock(&pit->lock);
	return 0;
}

static int speaker_read(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len, void *val)
{
	struct kvm_pit *pit = container_of(dev, struct kvm_pit, speaker);
	struct kvm_pit_channel_state *ch = &pit->s.channels[2];
	u8 refresh = (os_time_ns() >> 14) & 1;		/* about every 15 us */

	memset(val, 0, len);
	os_mutex_lock(&pit->lock);
	*(u8 *)val = !!(pit->s.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON) << 1 | ch->gate |
		     get_out(ch) << 5 | refresh << 4;
	os_mutex_unlock(&pit->lock);
	return 0;
}

/* ---- life ---- */

int kvm_pit_create(struct kvm *kvm, u32 flags)
{
	struct kvm_pit *pit = os_alloc(sizeof(*pit));
	int r;

	if (!pit)
		return -ENOMEM;
	pit->kvm = kvm;
	pit->reinject = true;
	pit->acked = true;
	os_timer_init(&pit->timer, tick, pit);
	os_timer_init(&pit->again, pulse, pit);
	for (int n = 0; n < 3; n++) {
		pit->s.channels[n].mode = 0xff;
		pit->s.channels[n].count = 0x10000;
		pit->s.channels[n].gate = n != 2;
		pit->s.channels[n].count_load_time = os_time_ns();
	}
	pit->ports = (struct kvm_io_device){ .read = ports_read, .write = ports_write };
	pit->speaker = (struct kvm_io_device){ .read = speaker_read, .write = speaker_write };
	kvm->arch.pit = pit;
	r = kvm_bus_register(kvm, KVM_BUS_PIO, 0x40, 4, &pit->ports);
	if (!r && (flags & KVM_PIT_SPEAKER_DUMMY))
		r = kvm_bus_register(kvm, KVM_BUS_PIO, 0x61, 1, &pit->speaker);
	if (r)
		kvm_pit_destroy(kvm);
	return r;
}

void kvm_pit_destroy(struct kvm *kvm)
{
	struct kvm_pit *pit = kvm->arch.pit;

	if (!pit)
		return;
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &pit->ports);
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &pit->speaker);
	kvm->arch.pit = NULL;
	os_timer_destroy(&pit->timer);
	os_timer_destroy(&pit->again);
	os_free(pit);
}

void kvm_pit_get_state(struct kvm *kvm, struct kvm_pit_state2 *s)
{
	struct kvm_pit *pit = kvm->arch.pit;

	os_mutex_lock(&pit->lock);
	*s = pit->s;
	os_mutex_unlock(&pit->lock);
}

void kvm_pit_set_state(struct kvm *kvm, const struct kvm_pit_state2 *s)
{
	struct kvm_pit *pit = kvm->arch.pit;

	os_mutex_lock(&pit->lock);
	pit->s = *s;
	for (int n = 0; n < 3; n++) {
		struct kvm_pit_channel_state *ch = &pit->s.channels[n];

		ch->count = ch->count && ch->count < 0x10000 ? ch->count : 0x10000;
		/* As under Linux, counting starts again from now. */
		ch->count_load_time = os_time_ns();
	}
	start_timer(pit);
	os_mutex_unlock(&pit->lock);
}

void kvm_pit_set_reinject(struct kvm *kvm, bool on)
{
	struct kvm_pit *pit = kvm->arch.pit;

	os_mutex_lock(&pit->lock);
	pit->reinject = on;
	pit->pending = 0;
	pit->acked = true;
	os_mutex_unlock(&pit->lock);
}
