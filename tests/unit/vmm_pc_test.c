/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The devices of the PC, seen from the guest: UART, clock, ACPI registers, reset ports. What they
 * ask of the machine is caught here (the linker's --wrap).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "vmm/dev/pc/pc.h"
#include "vmm/util.h"

/* ------------------------------------------------------------------ what is asked for */

static unsigned int resets, poweroffs, panics;

void __wrap_machine_request_reset(struct machine *m);
void __wrap_machine_request_poweroff(struct machine *m);
void __wrap_machine_request_panic(struct machine *m);

void __wrap_machine_request_reset(struct machine *m)
{
	resets++;
}

void __wrap_machine_request_poweroff(struct machine *m)
{
	poweroffs++;
}

void __wrap_machine_request_panic(struct machine *m)
{
	panics++;
}

/* ------------------------------------------------------------------ a backend */

struct test_backend {
	struct char_backend backend;
	char output[64];
	size_t length, room;		/* output so far; how much more is taken */
	bool destroyed;
};

static struct test_backend tb;

static size_t tb_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	if (length > tb.room)
		length = tb.room;
	assert_true(tb.length + length < sizeof(tb.output));
	memcpy(tb.output + tb.length, data, length);
	tb.length += length;
	tb.room -= length;
	return length;
}

static void tb_accept_input(struct char_backend *backend)
{
}

static void tb_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	*columns = *rows = 0;
}

static void tb_destroy(struct char_backend *backend)
{
	tb.destroyed = true;
}

static const struct char_ops tb_ops = {
	.write = tb_write, .accept_input = tb_accept_input, .size = tb_size, .destroy = tb_destroy,
};

/* Types on the other end of the line, as far as there is room. */
static size_t type(const char *text)
{
	const struct char_front *front = tb.backend.front;
	size_t length = strlen(text), room = front->room(tb.backend.front_data);

	if (length > room)
		length = room;
	front->input(tb.backend.front_data, (const uint8_t *)text, length);
	return length;
}

/* ------------------------------------------------------------------ the machine */

static struct fake_machine *fm;

/* The board maps the reset register before PCI's ports, which lie around it; the fake machine has
 * its PCI bus from the start. */
static void pci_ports_last(void)
{
	struct region *region = fm->m.pio.regions;

	while (region && !(region->base <= RESET_PORT && RESET_PORT - region->base < region->size))
		region = region->next;
	if (region) {
		uint64_t base = region->base;

		bus_unmap(region);
		assert_int_equal(bus_map(&fm->m.pio, region, base), 0);
	}
}

static int setup(void **state)
{
	struct vmm_error error = { "" };

	fm = fake_machine_create(1);
	tb = (struct test_backend){ .backend.ops = &tb_ops, .room = SIZE_MAX };
	resets = poweroffs = panics = 0;
	assert_int_equal(uart_create(&fm->m, UART_COM1_PORT, GSI_COM1, &tb.backend, &error), 0);
	assert_int_equal(rtc_create(&fm->m, &error), 0);
	assert_int_equal(acpi_pm_create(&fm->m, &error), 0);
	assert_int_equal(reset_ports_create(&fm->m, &error), 0);
	assert_int_equal(panic_port_create(&fm->m, &error), 0);
	pci_ports_last();
	fake_machine_reset(fm);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	assert_true(tb.destroyed);
	return 0;
}

static uint8_t in(uint16_t port)
{
	return fake_in(fm, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	fake_out(fm, port, 1, value);
}

/* ------------------------------------------------------------------ UART */

#define THR	(UART_COM1_PORT + 0)
#define RBR	(UART_COM1_PORT + 0)
#define IER	(UART_COM1_PORT + 1)
#define IIR	(UART_COM1_PORT + 2)
#define FCR	(UART_COM1_PORT + 2)
#define LCR	(UART_COM1_PORT + 3)
#define MCR	(UART_COM1_PORT + 4)
#define LSR	(UART_COM1_PORT + 5)
#define MSR	(UART_COM1_PORT + 6)
#define SCR	(UART_COM1_PORT + 7)

#define OUT2	0x08
#define LOOP	0x10

static bool com1_interrupts(void)
{
	return fake_line_raised(fm, GSI_COM1);
}

static void uart_at_reset(void **state)
{
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(MSR), 0xb0);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(LCR), 0);
	assert_int_equal(in(MCR), 0);
	assert_int_equal(in(RBR), 0);
	out(SCR, 0x5a);
	assert_int_equal(in(SCR), 0x5a);
	fake_machine_reset(fm);
	assert_int_equal(in(SCR), 0);
}

static void uart_divisor_hides_data(void **state)
{
	out(LCR, 0x83);
	out(THR, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(RBR), 0x34);
	assert_int_equal(in(IER), 0x12);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0);
	assert_int_equal(tb.length, 0);
	out(THR, 'x');
	assert_int_equal(tb.length, 1);
	assert_int_equal(tb.output[0], 'x');
}

static void uart_transmit_interrupt(void **state)
{
	out(MCR, OUT2);
	out(IER, 0x02);		/* THR is empty, so it comes at once */
	assert_true(com1_interrupts());
	assert_int_equal(in(IIR), 0x02);
	assert_int_equal(in(IIR), 0x01);	/* reading it took it back */
	assert_false(com1_interrupts());
	out(THR, 'a');
	assert_true(com1_interrupts());
	assert_int_equal(in(LSR), 0x60);
	/* Another character instead of reading IIR: still one to come, but no new edge. */
	out(THR, 'b');
	assert_false(com1_interrupts());
	assert_int_equal(in(IIR), 0x02);
	out(IER, 0);
	out(IER, 2);
	assert_true(com1_interrupts());
	assert_int_equal(tb.length, 2);
	assert_memory_equal(tb.output, "ab", 2);
}

static void uart_needs_out2(void **state)
{
	out(IER, 0x02);
	assert_false(com1_interrupts());
	assert_int_equal(in(IIR), 0x02);
	out(IER, 0);
	out(IER, 0x02);
	out(MCR, OUT2);
	assert_true(com1_interrupts());
}

static void uart_receives_one_without_fifo(void **state)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	assert_int_equal(type("hello"), 1);
	assert_true(com1_interrupts());
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(IIR), 0x04);
	assert_int_equal(in(RBR), 'h');
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(type("ello"), 1);
	assert_true(com1_interrupts());
}

static void uart_fifo_and_trigger(void **state)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	out(FCR, 0x81);		/* on, trigger at 8 */
	assert_int_equal(in(IIR), 0xc1);
	assert_int_equal(type("abcdefghijklmnopqrstuvwxyz"), 16);
	assert_true(com1_interrupts());
	assert_int_equal(in(IIR), 0xc4);
	for (int i = 0; i < 9; i++)
		assert_int_equal(in(RBR), 'a' + i);
	/* Seven are left, below the trigger: a timeout. */
	assert_int_equal(in(IIR), 0xcc);
	for (int i = 9; i < 16; i++)
		assert_int_equal(in(RBR), 'a' + i);
	assert_int_equal(in(IIR), 0xc1);
	/* Clearing the receiver's FIFO. */
	assert_int_equal(type("xyz"), 3);
	out(FCR, 0x83);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0xc1);
	/* Switching them off clears them too. */
	assert_int_equal(type("xyz"), 3);
	out(FCR, 0);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
}

static void uart_loops_back(void **state)
{
	out(FCR, 0x01);
	out(MCR, LOOP | 0x0f);
	assert_int_equal(in(MSR) & 0xf0, 0xf0);
	out(MCR, LOOP | 0x0a);		/* as Linux probes: RTS and OUT2 */
	assert_int_equal(in(MSR) & 0xf0, 0x90);
	out(THR, 'q');
	assert_int_equal(tb.length, 0);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(RBR), 'q');
	/* Nothing comes from outside meanwhile; more than fits is an overrun. */
	assert_int_equal(type("abc"), 0);
	for (int i = 0; i < 17; i++)
		out(THR, 'a' + i);
	assert_int_equal(in(LSR), 0x63);
	assert_int_equal(in(LSR), 0x61);
	for (int i = 0; i < 16; i++)
		assert_int_equal(in(RBR), 'a' + i);
	/* A break comes back as one. */
	out(LCR, 0x40);
	assert_int_equal(in(LSR), 0x71);
}

static void uart_modem_deltas(void **state)
{
	out(MCR, OUT2);
	in(MSR);
	out(IER, 0x08);
	assert_false(com1_interrupts());
	/* Loop mode with nothing asserted: CTS, DSR and DCD fall. */
	out(MCR, LOOP);
	assert_int_equal(in(IIR), 0x00);
	out(MCR, LOOP | OUT2);		/* DCD is back */
	assert_int_equal(in(MSR), 0x8b);
	assert_int_equal(in(MSR), 0x80);
	assert_int_equal(in(IIR), 0x01);
	/* RI's trailing edge only. */
	out(MCR, LOOP | OUT2 | 0x04);
	assert_int_equal(in(MSR), 0xc0);
	out(MCR, LOOP | OUT2);
	assert_int_equal(in(MSR), 0x84);
}

static void uart_backend_is_full(void **state)
{
	out(MCR, OUT2);
	out(FCR, 0x01);
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0xc2);
	com1_interrupts();
	tb.room = 2;
	for (const char *c = "abcde"; *c; c++)
		out(THR, *c);
	assert_int_equal(tb.length, 2);
	/* The transmitter is busy, and THR's interrupt waits. */
	com1_interrupts();
	in(IIR);
	assert_int_equal(in(LSR), 0x00);
	assert_int_equal(in(IIR), 0xc1);
	assert_false(com1_interrupts());
	tb.room = SIZE_MAX;
	tb.backend.front->writable(tb.backend.front_data);
	assert_int_equal(tb.length, 5);
	assert_memory_equal(tb.output, "abcde", 5);
	assert_true(com1_interrupts());
	assert_int_equal(in(LSR), 0x60);
	/* A guest that does not look at LSR loses characters, not the VMM its memory. */
	tb.room = 0;
	for (int i = 0; i < 100; i++)
		out(THR, 'x');
	tb.room = SIZE_MAX;
	tb.backend.front->writable(tb.backend.front_data);
	assert_int_equal(tb.length, 5 + 16);
}

static void uart_state_continues(void **state)
{
	struct device *dev = fake_device(fm, "uart0");
	struct state_buf buf = { 0 };

	out(MCR, OUT2);
	out(FCR, 0xc1);
	out(IER, 0x01);
	assert_int_equal(type("state"), 5);
	fake_machine_pause(fm);
	fake_save(dev, &buf);
	fake_machine_reset(fm);
	assert_int_equal(in(LSR), 0x60);
	com1_interrupts();
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &buf), 0);
	fake_machine_resume(fm);
	assert_true(com1_interrupts());		/* the pin is where it was */
	for (const char *c = "state"; *c; c++)
		assert_int_equal(in(RBR), *c);
	/* More characters than a UART without FIFO can have. */
	out(FCR, 0);
	buf.length = 0;
	fake_save(dev, &buf);
	free(buf.data);
}

/* ------------------------------------------------------------------ clock */

#define UIP	0x80

static uint8_t cmos(uint8_t index)
{
	out(RTC_PORT, index);
	return in(RTC_PORT + 1);
}

static void set_cmos(uint8_t index, uint8_t value)
{
	out(RTC_PORT, index);
	out(RTC_PORT + 1, value);
}

static unsigned int bcd(uint8_t value)
{
	return (value >> 4) * 10 + (value & 15);
}

/* The time the clock shows, in binary or BCD as register B says; 24 hours. */
static time_t shown_time(void)
{
	unsigned int (*decode)(uint8_t) = bcd;
	time_t first, again;
	struct tm tm;

	assert_false(cmos(11) & 0x04);
	again = -1;
	do {
		first = again;
		tm = (struct tm){
			.tm_sec = decode(cmos(0)), .tm_min = decode(cmos(2)),
			.tm_hour = decode(cmos(4)), .tm_mday = decode(cmos(7)),
			.tm_mon = decode(cmos(8)) - 1,
			.tm_year = decode(cmos(9)) + 100 * decode(cmos(0x32)) - 1900,
		};
		again = timegm(&tm);
	} while (first != again);
	return again;
}

static void rtc_shows_utc(void **state)
{
	time_t before = time(NULL), shown = shown_time();
	time_t after = time(NULL);
	struct tm tm;

	assert_in_range(shown, before, after);
	gmtime_r(&shown, &tm);
	assert_int_equal(bcd(cmos(6)), tm.tm_wday + 1);
	assert_int_equal(cmos(13), 0x80);
	assert_int_equal(cmos(11), 0x02);
	assert_int_equal(cmos(10) & ~UIP, 0x26);
}

/* Stops the clock, sets it as Linux does, starts it. */
static void set_time(const uint8_t *registers)
{
	uint8_t b = cmos(11), a = cmos(10) & ~UIP;

	set_cmos(11, b | 0x80);
	set_cmos(10, a | 0x70);
	for (unsigned int i = 0; i < 10; i++)
		set_cmos(i, registers[i]);
	set_cmos(0x32, registers[10]);
	set_cmos(11, b);
	set_cmos(10, a);
}

static void rtc_can_be_set(void **state)
{
	/*			   s     sa    m     ma    h     ha    wd    d    mo    y     c */
	static const uint8_t y2k[] = { 0x58, 0, 0x59, 0, 0x23, 0, 0x06, 0x31, 0x12, 0x99, 0x19 };
	static const uint8_t noon[] = { 5, 0, 4, 0, 0x8c, 0, 1, 1, 2, 30, 20 };
	time_t shown;

	set_time(y2k);
	shown = shown_time();
	assert_in_range(shown, 946684798, 946684799);
	/* While it is stopped it stands still and shows what was written. */
	set_cmos(11, 0x82);
	set_cmos(0, 0x42);
	assert_int_equal(cmos(0), 0x42);
	usleep(1100000);
	assert_int_equal(cmos(0), 0x42);
	assert_int_equal(cmos(10) & UIP, 0);
	set_cmos(11, 0x02);
	assert_in_range(bcd(cmos(0)), 0x42 - 0x42 + 42, 43);
	/* Binary, twelve hours: 12 pm is noon. */
	set_cmos(11, 0x04);
	set_time(noon);
	assert_int_equal(cmos(4), 0x8c);
	set_cmos(11, 0x02);
	assert_int_equal(cmos(4), 0x12);
	assert_int_equal(cmos(9), 0x30);
	/* A reset does not set it back. */
	fake_machine_reset(fm);
	assert_int_equal(cmos(9), 0x30);
}

static bool rtc_interrupts(int timeout_ms)
{
	uint64_t end = loop_now() + timeout_ms * 1000000ULL;

	do {
		if (fake_line_raised(fm, GSI_RTC))
			return true;
		loop_step(fm->m.loop, 5);
	} while (loop_now() < end);
	return false;
}

static void rtc_update_interrupt(void **state)
{
	cmos(12);
	set_cmos(11, 0x12);
	assert_true(rtc_interrupts(1500));
	assert_int_equal(cmos(12), 0x90 | (0x40));	/* the periodic flag comes unasked */
	assert_int_equal(cmos(12) & 0x80, 0);
	assert_true(rtc_interrupts(1500));
	/* Not read: no further interrupt. */
	assert_false(rtc_interrupts(1200));
	set_cmos(11, 0x02);
}

static void rtc_periodic_interrupt(void **state)
{
	uint64_t start;

	set_cmos(10, 0x2a);		/* 64 Hz */
	cmos(12);
	start = loop_now();
	set_cmos(11, 0x42);
	for (int i = 0; i < 8; i++) {
		assert_true(rtc_interrupts(200));
		assert_int_equal(cmos(12) & 0xc0, 0xc0);
	}
	/* Eight of them take an eighth of a second; the first may come at once. */
	assert_in_range(loop_now() - start, 7 * 15625000ULL - 1000000, 1000000000ULL);
	set_cmos(11, 0x02);
	assert_false(rtc_interrupts(50));
}

static void rtc_alarm(void **state)
{
	static const uint8_t start[] = { 0x59, 0, 0x59, 0, 0x23, 0, 1, 0x28, 0x02, 0x24, 0x20 };

	set_time(start);		/* 2024-02-28 23:59:59 */
	set_cmos(1, 0x00);
	set_cmos(3, 0x00);
	set_cmos(5, 0x00);
	cmos(12);
	set_cmos(11, 0x22);
	assert_true(rtc_interrupts(1500));
	assert_int_equal(cmos(12) & 0xa0, 0xa0);
	assert_int_equal(cmos(7), 0x29);	/* a leap year */
	/* Every second of this minute and hour. */
	set_cmos(1, 0xff);
	assert_true(rtc_interrupts(1500));
	/* One that never comes costs nothing. */
	cmos(12);
	set_cmos(1, 0x77);
	assert_false(rtc_interrupts(1200));
}

/* ------------------------------------------------------------------ ACPI, reset, panic */

static void acpi_switches_off(void **state)
{
	assert_int_equal(fake_in(fm, ACPI_PM1_CONTROL_PORT, 2), 1);	/* SCI_EN */
	fake_out(fm, ACPI_PM1_CONTROL_PORT, 2, 5 << 10);
	assert_int_equal(poweroffs, 0);
	fake_out(fm, ACPI_PM1_CONTROL_PORT, 2, 3 << 10 | 1 << 13);
	assert_int_equal(poweroffs, 0);
	fake_out(fm, ACPI_PM1_CONTROL_PORT, 2, 5 << 10 | 1 << 13);
	assert_int_equal(poweroffs, 1);
	assert_int_equal(fake_in(fm, ACPI_PM1_CONTROL_PORT, 2), 5 << 10 | 1);
	/* As one register of four bytes with its neighbour, and by bytes. */
	fake_out(fm, ACPI_PM1_CONTROL_PORT, 4, 5 << 10 | 1 << 13);
	assert_int_equal(poweroffs, 2);
	fake_out(fm, ACPI_PM1_CONTROL_PORT + 1, 1, 0x34);
	assert_int_equal(poweroffs, 3);
	fake_out(fm, ACPI_PM1_EVENT_PORT, 4, 0x0321ffff);
	assert_int_equal(fake_in(fm, ACPI_PM1_EVENT_PORT, 4), 0x03210000);
}

#define PWRBTN	0x100

static void acpi_power_button(void **state)
{
	/* Nobody listens: the press is kept, and told when somebody does. */
	acpi_pm_press_power_button(&fm->m);
	assert_false(fake_line_raised(fm, GSI_ACPI));
	assert_int_equal(fake_in(fm, ACPI_PM1_EVENT_PORT, 2), PWRBTN);
	fake_out(fm, ACPI_PM1_EVENT_PORT + 2, 2, PWRBTN);
	assert_true(fake_line_raised(fm, GSI_ACPI));
	/* A one clears the bit, other bits do not; the enable bits stay. */
	fake_out(fm, ACPI_PM1_EVENT_PORT, 2, 0xfeff);
	assert_int_equal(fake_in(fm, ACPI_PM1_EVENT_PORT, 4), PWRBTN << 16 | PWRBTN);
	fake_out(fm, ACPI_PM1_EVENT_PORT + 1, 1, PWRBTN >> 8);
	assert_int_equal(fake_in(fm, ACPI_PM1_EVENT_PORT, 4), PWRBTN << 16);
	/* The line fell, so that a second press raises it again. */
	acpi_pm_press_power_button(&fm->m);
	assert_true(fake_line_raised(fm, GSI_ACPI));
	assert_int_equal(poweroffs, 0);
	fake_machine_reset(fm);
	assert_int_equal(fake_in(fm, ACPI_PM1_EVENT_PORT, 4), 0);
}

static void acpi_timer_counts(void **state)
{
	uint32_t first = fake_in(fm, ACPI_PM_TIMER_PORT, 4), ticks;

	usleep(20000);
	ticks = (uint32_t)fake_in(fm, ACPI_PM_TIMER_PORT, 4) - first;
	assert_in_range(ticks, 71590, 3579545);
	/* It stands still while the machine does. */
	first = fake_in(fm, ACPI_PM_TIMER_PORT, 4);
	fake_machine_pause(fm);
	usleep(50000);
	fake_machine_resume(fm);
	ticks = (uint32_t)fake_in(fm, ACPI_PM_TIMER_PORT, 4) - first;
	assert_in_range(ticks, 0, 178976);
}

static void resets_are_asked_for(void **state)
{
	assert_int_equal(in(0x64), 0);
	out(0x64, 0xff);		/* a pulse on nothing */
	out(0x64, 0xd1);
	assert_int_equal(resets, 0);
	out(0x64, 0xfe);
	assert_int_equal(resets, 1);
	out(RESET_PORT, 0x02);
	assert_int_equal(resets, 1);
	assert_int_equal(in(RESET_PORT), 0x02);
	out(RESET_PORT, 0x06);
	assert_int_equal(resets, 2);
	out(RESET_PORT, 0x0e);		/* no edge */
	assert_int_equal(resets, 2);
}

static void a_panic_is_reported(void **state)
{
	assert_int_equal(in(PANIC_PORT), 3);
	out(PANIC_PORT, 2);
	assert_int_equal(panics, 0);
	out(PANIC_PORT, 1);
	assert_int_equal(panics, 1);
}

/* Anything a guest can do to ports does no harm; sanitizers watch. */
static void random_accesses(void **state)
{
	static const struct { uint16_t port; uint8_t ports; } devices[] = {
		{ UART_COM1_PORT, 8 }, { RTC_PORT, 2 }, { RTC_PORT, 2 },
		{ ACPI_PM1_EVENT_PORT, 12 }, { RESET_PORT, 1 }, { 0x64, 1 }, { PANIC_PORT, 1 },
	};
	struct state_buf buf = { 0 };
	uint32_t seed = 12345;

	for (int i = 0; i < 200000; i++) {
		unsigned int which, size;
		uint16_t port;

		seed = seed * 1664525 + 1013904223;
		which = seed >> 16;
		port = devices[which % ARRAY_SIZE(devices)].port;
		port += (which >> 4) % devices[which % ARRAY_SIZE(devices)].ports;
		size = 1u << (seed >> 30) % 3;
		tb.length = 0;
		tb.room = seed >> 8 & 3;
		if (seed & 0x400)
			fake_out(fm, port, size, seed >> 7);
		else
			fake_in(fm, port, size);
		if (!(seed >> 12 & 0xfff)) {
			loop_step(fm->m.loop, 0);
			type("some input");
			tb.backend.front->writable(tb.backend.front_data);
		}
		if (!(seed >> 10 & 0x1fff))
			fake_machine_reset(fm);
	}
	/* What came of it can be saved and loaded. */
	for (struct device *dev = fm->m.devices; dev; dev = dev->next) {
		if (!dev->section_count)
			continue;
		buf.length = 0;
		fake_save(dev, &buf);
		assert_int_equal(fake_load(dev, &buf), 0);
	}
	free(buf.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(uart_at_reset),
		TEST(uart_divisor_hides_data),
		TEST(uart_transmit_interrupt),
		TEST(uart_needs_out2),
		TEST(uart_receives_one_without_fifo),
		TEST(uart_fifo_and_trigger),
		TEST(uart_loops_back),
		TEST(uart_modem_deltas),
		TEST(uart_backend_is_full),
		TEST(uart_state_continues),
		TEST(rtc_shows_utc),
		TEST(rtc_can_be_set),
		TEST(rtc_update_interrupt),
		TEST(rtc_periodic_interrupt),
		TEST(rtc_alarm),
		TEST(acpi_switches_off),
		TEST(acpi_power_button),
		TEST(acpi_timer_counts),
		TEST(resets_are_asked_for),
		TEST(a_panic_is_reported),
		TEST(random_accesses),
	};

	return cmocka_run_group_tests_name("vmm-pc", tests, NULL, NULL);
}
