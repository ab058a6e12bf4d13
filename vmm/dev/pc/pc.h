/* SPDX-License-Identifier: GPL-2.0-only */
/* The devices of the PC that sit at fixed ports. Each constructor adds one to the machine, which
 * then owns it; they return 0 or -errno. */
#ifndef VMM_DEV_PC_H
#define VMM_DEV_PC_H

#include "vmm/char/char.h"
#include "vmm/machine/machine.h"

#define UART_COM1_PORT		0x3f8
#define UART_PORTS		8

#define RTC_PORT		0x70

/* Fixed ACPI hardware, as the FADT tells it (ACPI 6.4, 4.8.3). */
#define ACPI_PM1_EVENT_PORT	0x600	/* 4 bytes: status, enable */
#define ACPI_PM1_CONTROL_PORT	0x604	/* 2 bytes */
#define ACPI_PM_TIMER_PORT	0x608	/* 4 bytes */
#define ACPI_S5_SLEEP_TYPE	5

#define RESET_PORT		0xcf9
#define RESET_VALUE		0x06	/* what the FADT tells guests to write there */

#define PANIC_PORT		0x505
#define PANIC_PANICKED		1	/* the guest has panicked */
#define PANIC_CRASH_LOADED	2	/* and its crash kernel takes over */

/* A 16550A at port, with an edge-triggered interrupt. It owns the backend, also on failure. */
int uart_create(struct machine *m, uint16_t port, unsigned int gsi, struct char_backend *backend,
		struct vmm_error *error);

/* The MC146818's clock and CMOS memory, in UTC. */
int rtc_create(struct machine *m, struct vmm_error *error);

/* The ACPI power management registers: switching off, the power button, and the timer. */
int acpi_pm_create(struct machine *m, struct vmm_error *error);
/* Presses the button, which asks the guest to switch itself off. Any thread but with no device's lock
 * held; nothing happens in a guest that does not listen. */
void acpi_pm_press_power_button(struct machine *m);

/* All ways in which a PC's software resets it: port 0xcf9, and the keyboard controller's pulse. */
int reset_ports_create(struct machine *m, struct vmm_error *error);

/* A port by which a guest says that it panicked (_HID QEMU0001, which Linux knows as pvpanic). */
int panic_port_create(struct machine *m, struct vmm_error *error);

#endif
