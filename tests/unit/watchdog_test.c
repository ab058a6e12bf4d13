/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The watchdog, as Linux's driver i6300esb uses it and as others may. What it asks of the machine
 * is caught here.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_machine.h"
#include "vmm/dev/pci/watchdog.h"

#define SLOT	1
#define CONFIG	0x60
#define LOCK	0x68
#define TIMER1	0
#define TIMER2	4
#define RELOAD	12

static struct fake_machine *fm;
static uint64_t bar;
static unsigned int resets, poweroffs, pauses;

void __wrap_machine_request_reset(struct machine *m);
void __wrap_machine_request_poweroff(struct machine *m);
void __wrap_machine_request_pause(struct machine *m);

void __wrap_machine_request_reset(struct machine *m)
{
	resets++;
}

void __wrap_machine_request_poweroff(struct machine *m)
{
	poweroffs++;
}

void __wrap_machine_request_pause(struct machine *m)
{
	pauses++;
}

static void make(enum watchdog_action action)
{
	struct watchdog_config config = { .action = action };
	struct vmm_error error = { "" };

	resets = poweroffs = pauses = 0;
	fm = fake_machine_create(1);
	if (i6300esb_create(&fm->m, &config, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	bar = fake_config_read(fm, SLOT, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
}

static int setup(void **state)
{
	make(WATCHDOG_RESET);
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return 0;
}

static void unlock(void)
{
	fake_write(fm, bar + RELOAD, 2, 0x80);
	fake_write(fm, bar + RELOAD, 2, 0x86);
}

static void set_timers(uint32_t ticks)
{
	unlock();
	fake_write(fm, bar + TIMER1, 4, ticks);
	unlock();
	fake_write(fm, bar + TIMER2, 4, ticks);
}

static void keep_alive(void)
{
	unlock();
	fake_write(fm, bar + RELOAD, 2, 0x100);
}

static void enable(bool on)
{
	fake_config_write(fm, SLOT, LOCK, 1, on ? 2 : 0);
}

/* Lets ms milliseconds pass. */
static void pass(unsigned int ms)
{
	uint64_t end = loop_now() + ms * 1000000ull;

	while (loop_now() < end)
		loop_step(fm->m.loop, 1);
}

static void identity(void **state)
{
	assert_int_equal(fake_config_read(fm, SLOT, PCI_VENDOR_ID, 4), 0x25ab8086);
	assert_int_equal(fake_config_read(fm, SLOT, CONFIG, 2), 0);
	assert_int_equal(fake_config_read(fm, SLOT, LOCK, 1), 0);
	assert_int_equal(fake_read(fm, bar + RELOAD, 2), 0);
}

static void strikes(void **state)
{
	/* 20 ms in each stage, about. */
	set_timers(20);
	pass(60);
	assert_int_equal(resets, 0);
	enable(true);
	pass(25);
	assert_int_equal(resets, 0);
	for (unsigned int i = 0; i < 10; i++) {
		keep_alive();
		pass(10);
	}
	assert_int_equal(resets, 0);
	/* Not with a word too few, or the wrong one. */
	for (unsigned int i = 0; i < 5; i++) {
		fake_write(fm, bar + RELOAD, 2, 0x100);
		fake_write(fm, bar + RELOAD, 2, 0x86);
		fake_write(fm, bar + RELOAD, 2, 0x100);
		fake_write(fm, bar + RELOAD, 2, 0x80);
		fake_write(fm, bar + RELOAD, 2, 0x87);
		fake_write(fm, bar + RELOAD, 2, 0x100);
		fake_write(fm, bar + TIMER1, 4, 1000000);
		pass(10);
	}
	assert_int_equal(resets, 1);
	pass(100);
	assert_int_equal(resets, 1);
	/* The guest that comes after it can tell, until it says that it knows. */
	fake_machine_reset(fm);
	fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(fake_read(fm, bar + RELOAD, 2), 0x200);
	assert_int_equal(fake_config_read(fm, SLOT, LOCK, 1), 0);
	unlock();
	fake_write(fm, bar + RELOAD, 2, 0x300);
	assert_int_equal(fake_read(fm, bar + RELOAD, 2), 0);
	pass(60);
	assert_int_equal(resets, 1);
}

static void stopping(void **state)
{
	set_timers(10);
	enable(true);
	pass(5);
	enable(false);
	pass(50);
	assert_int_equal(resets, 0);
	/* Told not to. */
	fake_config_write(fm, SLOT, CONFIG, 2, 0x20);
	enable(true);
	pass(50);
	assert_int_equal(resets, 0);
	enable(false);
	fake_config_write(fm, SLOT, CONFIG, 2, 0);
	/* Running freely, and as fast as there is. */
	set_timers(0);
	fake_config_write(fm, SLOT, CONFIG, 2, 0x04);
	fake_config_write(fm, SLOT, LOCK, 1, 2 | 4);
	pass(30);
	assert_int_equal(resets, 0);
	/* Locked: it cannot be stopped any more, but by a reset. */
	fake_config_write(fm, SLOT, LOCK, 1, 0);
	set_timers(10);
	fake_config_write(fm, SLOT, CONFIG, 2, 0);
	fake_config_write(fm, SLOT, LOCK, 1, 3);
	fake_config_write(fm, SLOT, LOCK, 1, 0);
	assert_int_equal(fake_config_read(fm, SLOT, LOCK, 1), 3);
	pass(50);
	assert_int_equal(resets, 1);
}

/* Time does not pass for a machine that stands still, nor does it pass by in a snapshot. */
static void pausing(void **state)
{
	struct state_buf saved = { 0 };
	struct device *dev = fake_device(fm, "i6300esb");

	set_timers(30);
	enable(true);
	pass(20);
	fake_machine_pause(fm);
	pass(100);
	fake_save(dev, &saved);
	fake_machine_resume(fm);
	pass(20);
	assert_int_equal(resets, 0);
	fake_machine_reset(fm);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	fake_machine_resume(fm);
	pass(20);
	assert_int_equal(resets, 0);
	assert_int_equal(fake_config_read(fm, SLOT, LOCK, 1), 2);
	pass(60);
	assert_int_equal(resets, 1);
	free(saved.data);
}

static void actions(void **state)
{
	static const enum watchdog_action all[] = {
		WATCHDOG_POWEROFF, WATCHDOG_PAUSE, WATCHDOG_NONE,
	};

	for (unsigned int i = 0; i < 3; i++) {
		fake_machine_destroy(fm);
		make(all[i]);
		set_timers(1);
		enable(true);
		pass(20);
		assert_int_equal(resets, 0);
		assert_int_equal(poweroffs, all[i] == WATCHDOG_POWEROFF);
		assert_int_equal(pauses, all[i] == WATCHDOG_PAUSE);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identity), TEST(strikes), TEST(stopping), TEST(pausing), TEST(actions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
