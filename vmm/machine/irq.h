/* SPDX-License-Identifier: GPL-2.0-only */
/* The machine's interrupt wiring: beginning and end. The rest is in machine.h and device.h. */
#ifndef VMM_MACHINE_IRQ_H
#define VMM_MACHINE_IRQ_H

#include "vmm/machine/machine.h"

/* Once the chips exist (KVM_CREATE_IRQCHIP): routes the pins. Returns 0 or -errno. */
int machine_irq_init(struct machine *m);
/* After the devices are gone. Harmless where init was not called. */
void machine_irq_destroy(struct machine *m);

#endif
