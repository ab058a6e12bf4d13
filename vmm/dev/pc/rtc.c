/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The clock and CMOS memory of a PC (Motorola MC146818A), in UTC.
 *
 * Nothing ticks. The time is the host's plus an offset that a guest's setting of the clock changes.
 * The flags of register C are worked out from what has passed since somebody last looked, and a
 * timer runs only while an interrupt is enabled, for the moment at which the next one is due.
 */
#include "vmm/dev/pc/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "vmm/util.h"

enum {
	RTC_SECONDS = 0,
	RTC_SECONDS_ALARM = 1,
	RTC_MINUTES = 2,
	RTC_MINUTES_ALARM = 3,
	RTC_HOURS = 4,
	RTC_HOURS_ALARM = 5,
	RTC_WEEKDAY = 6,	/* Sunday is 1 */
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
	RTC_CENTURY = 0x32,	/* where the FADT says it is */
	RTC_BYTES = 128,
};

#define A_UIP		0x80	/* the registers are about to change */
#define A_DIVIDER	0x70
#define A_DIVIDER_32KHZ	0x20	/* the only setting that runs */
#define A_RATE		0x0f

#define B_SET		0x80	/* the clock stands while it is being set */
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02

#define C_IRQF		0x80
#define C_PF		0x40
#define C_AF		0x20
#define C_UF		0x10

#define D_VRT		0x80	/* the battery is good */

#define HOUR_PM		0x80
#define ALARM_ANY	0xc0	/* both bits set: every hour, minute or second */

/* Time is counted as the chip does it, in periods of its 32,768 Hz crystal: the periodic rates are
 * whole numbers of it, and the ten thousand years a guest can set fit 64 bits. */
#define TICKS		32768LL
#define NS		1000000000LL
#define UIP_TICKS	8	/* UIP comes 244 µs before the update */
#define DAY_S		86400
#define TIME_LIMIT	(1LL << 60)

struct rtc {
	struct device dev;
	struct region region;
	struct irq_pin irq;
	struct loop_timer timer;
	bool running;			/* between resume and pause */

	/* state, under dev.lock */
	uint8_t index;
	uint8_t cmos[RTC_BYTES];	/* the time's bytes count only while B_SET */
	int64_t offset;			/* the guest's time minus the host's, in ticks */
	int64_t looked;			/* up to when register C's flags are worked out */
};

static const struct state_field rtc_fields[] = {
	STATE_INT(1, 1, struct rtc, index),
	STATE_ARRAY(2, 1, struct rtc, cmos),
	STATE_INT(3, 1, struct rtc, offset),
	STATE_INT(4, 1, struct rtc, looked),
};

/* ------------------------------------------------------------------ time */

/* The guest's time in ticks since 1970. */
static int64_t guest_now(const struct rtc *r)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * TICKS + now.tv_nsec * TICKS / NS + r->offset;
}

static int64_t seconds_of(int64_t time)
{
	return time >= 0 ? time / TICKS : -((-time + TICKS - 1) / TICKS);
}

static bool clock_runs(const struct rtc *r)
{
	return !(r->cmos[RTC_B] & B_SET) && (r->cmos[RTC_A] & A_DIVIDER) == A_DIVIDER_32KHZ;
}

static uint8_t encode(const struct rtc *r, unsigned int value)
{
	return r->cmos[RTC_B] & B_BINARY ? value : (value / 10 % 10) << 4 | value % 10;
}

static unsigned int decode(const struct rtc *r, uint8_t value)
{
	return r->cmos[RTC_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hour(const struct rtc *r, unsigned int hour)
{
	if (r->cmos[RTC_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned int decode_hour(const struct rtc *r, uint8_t value)
{
	if (r->cmos[RTC_B] & B_24H)
		return decode(r, value);
	return decode(r, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Fills in the time's registers from the clock. */
static void time_to_cmos(struct rtc *r, int64_t time)
{
	time_t seconds = seconds_of(time);
	struct tm tm = { 0 };

	gmtime_r(&seconds, &tm);
	r->cmos[RTC_SECONDS] = encode(r, tm.tm_sec);
	r->cmos[RTC_MINUTES] = encode(r, tm.tm_min);
	r->cmos[RTC_HOURS] = encode_hour(r, tm.tm_hour);
	r->cmos[RTC_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[RTC_DAY] = encode(r, tm.tm_mday);
	r->cmos[RTC_MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[RTC_YEAR] = encode(r, (tm.tm_year + 1900) % 100);
	r->cmos[RTC_CENTURY] = encode(r, (tm.tm_year + 1900) / 100);
}

/* Sets the clock from the time's registers, whatever nonsense is in them: timegm carries over. */
static void cmos_to_time(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[RTC_SECONDS]),
		.tm_min = decode(r, r->cmos[RTC_MINUTES]),
		.tm_hour = decode_hour(r, r->cmos[RTC_HOURS]),
		.tm_mday = decode(r, r->cmos[RTC_DAY]),
		.tm_mon = (int)decode(r, r->cmos[RTC_MONTH]) - 1,
		.tm_year = (int)(decode(r, r->cmos[RTC_YEAR]) % 100 +
				 decode(r, r->cmos[RTC_CENTURY]) % 100 * 100) - 1900,
	};

	r->offset += timegm(&tm) * TICKS - guest_now(r);
	r->looked = guest_now(r);
}

/* ------------------------------------------------------------------ events */

/* The time between two periodic events in ticks; 0 for none. Rates 1 and 2 are as 8 and 9. */
static int64_t period(const struct rtc *r)
{
	unsigned int rate = r->cmos[RTC_A] & A_RATE;

	if (!rate || (r->cmos[RTC_A] & A_DIVIDER) != A_DIVIDER_32KHZ)
		return 0;
	if (rate <= 2)
		rate += 7;
	return 1 << (rate - 1);
}

static bool alarm_matches(uint8_t alarm, uint8_t now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

/* Whether the alarm register matches any of count values. */
static bool alarm_possible(const struct rtc *r, uint8_t alarm, unsigned int count,
			   uint8_t (*shown)(const struct rtc *r, unsigned int value))
{
	for (unsigned int i = 0; i < count; i++)
		if (alarm_matches(alarm, shown(r, i)))
			return true;
	return false;
}

/* The first second of the day, from "from" on, at which the alarm goes; DAY_S for none. */
static unsigned int alarm_in_day(const struct rtc *r, unsigned int from)
{
	/* A guest may write nonsense; that must not take a search through every second. */
	if (!alarm_possible(r, r->cmos[RTC_HOURS_ALARM], 24, encode_hour) ||
	    !alarm_possible(r, r->cmos[RTC_MINUTES_ALARM], 60, encode) ||
	    !alarm_possible(r, r->cmos[RTC_SECONDS_ALARM], 60, encode))
		return DAY_S;
	for (unsigned int s = from; s < DAY_S; ) {
		if (!alarm_matches(r->cmos[RTC_HOURS_ALARM], encode_hour(r, s / 3600)))
			s += 3600 - s % 3600;
		else if (!alarm_matches(r->cmos[RTC_MINUTES_ALARM], encode(r, s / 60 % 60)))
			s += 60 - s % 60;
		else if (!alarm_matches(r->cmos[RTC_SECONDS_ALARM], encode(r, s % 60)))
			s++;
		else
			return s;
	}
	return DAY_S;
}

/* The first time after "time" at which the alarm goes; INT64_MAX for never. */
static int64_t next_alarm(const struct rtc *r, int64_t time)
{
	int64_t second = seconds_of(time) + 1;
	int64_t midnight = second - ((second % DAY_S) + DAY_S) % DAY_S;
	unsigned int at = alarm_in_day(r, second - midnight);

	if (at == DAY_S) {
		midnight += DAY_S;
		at = alarm_in_day(r, 0);
	}
	return at == DAY_S ? INT64_MAX : (midnight + at) * TICKS;
}

/* Sets the flags for what has happened since anybody looked. */
static void update_flags(struct rtc *r)
{
	int64_t now = guest_now(r), then = r->looked, every = period(r);

	r->looked = now;
	if (now < then)
		return;		/* somebody set the host's clock back */
	if (every && now / every != then / every)
		r->cmos[RTC_C] |= C_PF;
	if (!clock_runs(r) || seconds_of(now) == seconds_of(then))
		return;
	r->cmos[RTC_C] |= C_UF;
	if (!(r->cmos[RTC_C] & C_AF) && next_alarm(r, then) <= now)
		r->cmos[RTC_C] |= C_AF;
}

/* The bits of B and C that mean the same event are in the same place. */
static void update_irq(struct rtc *r)
{
	bool irq = r->cmos[RTC_B] & r->cmos[RTC_C] & (B_PIE | B_AIE | B_UIE);

	if (irq)
		r->cmos[RTC_C] |= C_IRQF;
	irq_pin_set(&r->irq, irq);
}

/* Arms the timer for the next event that is to interrupt. One whose flag stands already does not
 * interrupt again before the guest has read C. */
static void arm_timer(struct rtc *r)
{
	uint8_t wanted = r->cmos[RTC_B] & ~r->cmos[RTC_C];
	int64_t now = r->looked, next = INT64_MAX, at, every = period(r);

	if ((wanted & B_PIE) && every)
		next = (now / every + 1) * every;
	if ((wanted & B_UIE) && clock_runs(r)) {
		at = (seconds_of(now) + 1) * TICKS;
		next = at < next ? at : next;
	}
	if ((wanted & B_AIE) && clock_runs(r)) {
		at = next_alarm(r, now);
		next = at < next ? at : next;
	}
	if (next != INT64_MAX && r->running)
		loop_timer_set(r->dev.machine->loop, &r->timer,
			       loop_now() + (next - now + 1) * NS / TICKS);
}

static void rtc_timer(struct loop_timer *timer)
{
	struct rtc *r = container_of(timer, struct rtc, timer);

	pthread_mutex_lock(&r->dev.lock);
	update_flags(r);
	update_irq(r);
	arm_timer(r);
	pthread_mutex_unlock(&r->dev.lock);
}

/* ------------------------------------------------------------------ ports */

static bool is_time(unsigned int index)
{
	switch (index) {
	case RTC_SECONDS:
	case RTC_MINUTES:
	case RTC_HOURS:
	case RTC_WEEKDAY:
	case RTC_DAY:
	case RTC_MONTH:
	case RTC_YEAR:
	case RTC_CENTURY:
		return true;
	}
	return false;
}

static uint8_t cmos_read(struct rtc *r)
{
	int64_t now = guest_now(r);
	uint8_t value;

	switch (r->index) {
	case RTC_A:
		value = r->cmos[RTC_A];
		if (clock_runs(r) && (seconds_of(now) + 1) * TICKS - now <= UIP_TICKS)
			value |= A_UIP;
		return value;
	case RTC_C:
		update_flags(r);
		update_irq(r);
		value = r->cmos[RTC_C];
		r->cmos[RTC_C] = 0;
		irq_pin_set(&r->irq, false);
		arm_timer(r);
		return value;
	case RTC_D:
		return D_VRT;
	}
	if (is_time(r->index) && clock_runs(r))
		time_to_cmos(r, now);
	return r->cmos[r->index];
}

static void cmos_write(struct rtc *r, uint8_t value)
{
	bool ran = clock_runs(r);

	update_flags(r);
	switch (r->index) {
	case RTC_A:
	case RTC_B:
		/* A clock that stops shows the time at which it stopped, in the old format. */
		if (ran)
			time_to_cmos(r, r->looked);
		r->cmos[r->index] = r->index == RTC_A ? value & ~A_UIP : value;
		if (r->index == RTC_B && (value & B_SET))
			r->cmos[RTC_B] &= ~B_UIE;	/* as the data sheet has it */
		/* The time was written in the format that B now tells. */
		if (!ran && clock_runs(r))
			cmos_to_time(r);
		break;
	case RTC_C:
	case RTC_D:
		return;
	default:
		if (is_time(r->index) && ran) {
			/* Set while running: the other registers are what they show. */
			time_to_cmos(r, r->looked);
			r->cmos[r->index] = value;
			cmos_to_time(r);
		} else {
			r->cmos[r->index] = value;
		}
	}
	update_irq(r);
	arm_timer(r);
}

static uint64_t rtc_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	/* The index is write-only; its port floats. */
	return offset ? cmos_read(r) : 0xff;
}

static void rtc_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	if (offset)
		cmos_write(r, value);
	else
		r->index = value % RTC_BYTES;	/* the top bit masks NMIs on old boards */
}

static const struct region_ops rtc_region_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.max_access = 1,
};

/* ------------------------------------------------------------------ the device */

/* A reset leaves the clock and the memory alone: there is a battery. It stops interrupts. */
static void rtc_reset(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	r->index = 0;
	r->cmos[RTC_B] &= ~(B_PIE | B_AIE | B_UIE);
	r->cmos[RTC_C] = 0;
	irq_pin_set(&r->irq, false);
}

static void rtc_pause(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&dev->lock);
	update_flags(r);
	r->running = false;
	pthread_mutex_unlock(&dev->lock);
	loop_timer_cancel(&r->timer);
}

static void rtc_resume(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&dev->lock);
	r->running = true;
	update_flags(r);
	update_irq(r);
	arm_timer(r);
	pthread_mutex_unlock(&dev->lock);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	bus_unmap(&r->region);
	loop_timer_cancel(&r->timer);
	free(r);
}

static const struct device_ops rtc_ops = {
	.reset = rtc_reset,
	.pause = rtc_pause,
	.resume = rtc_resume,
	.destroy = rtc_destroy,
};

static int rtc_post_load(void *object, unsigned int version)
{
	struct rtc *r = object;

	/* Times of a million years are nobody's clock, and would overflow. */
	if (r->index >= RTC_BYTES || r->offset > TIME_LIMIT || r->offset < -TIME_LIMIT ||
	    r->looked > TIME_LIMIT || r->looked < -TIME_LIMIT)
		return -EINVAL;
	return 0;
}

STATE_TABLE_STATIC(rtc_state, "rtc", 1, struct rtc, rtc_fields, .post_load = rtc_post_load);

int rtc_create(struct machine *m, struct vmm_error *error)
{
	struct rtc *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return vmm_fail(error, -ENOMEM, "out of memory");
	r->timer.callback = rtc_timer;
	r->cmos[RTC_A] = A_DIVIDER_32KHZ | 6;	/* 1024 Hz */
	r->cmos[RTC_B] = B_24H;
	r->looked = guest_now(r);
	r->region = (struct region){
		.name = "rtc", .dev = &r->dev, .ops = &rtc_region_ops, .size = 2,
	};
	err = irq_pin_connect(&r->irq, m, GSI_RTC, false);
	if (!err)
		err = bus_map(&m->pio, &r->region, RTC_PORT);
	if (err) {
		free(r);
		return vmm_fail(error, err, "cannot make the clock: %s", strerror(-err));
	}
	device_add(&r->dev, m, &rtc_ops, "rtc");
	device_add_section(&r->dev, &rtc_state, r);
	return 0;
}
