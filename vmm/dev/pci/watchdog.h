/* SPDX-License-Identifier: GPL-2.0-only */
/* The watchdog on the PCI bus, which the machine gets on request. */
#ifndef VMM_DEV_PCI_WATCHDOG_H
#define VMM_DEV_PCI_WATCHDOG_H

#include "vmm/machine/machine.h"

/* Adds an Intel 6300ESB watchdog to m->pci. Returns 0, or -errno with a line in error. */
int i6300esb_create(struct machine *m, const struct watchdog_config *config,
		    struct vmm_error *error);

#endif
