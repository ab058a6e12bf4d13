/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A look at an initrd before the guest gets it.
 */
#ifndef VMM_MACHINE_INITRD_H
#define VMM_MACHINE_INITRD_H

#include "vmm/machine/boot.h"

/*
 * Says so if the file ends before its contents do: a kernel that meets that panics much later, with
 * other words. Knows cpio archives and what they are packed with; anything else is the kernel's
 * business and passes. Returns 0, or -ENODATA with a line.
 */
int initrd_check(const struct boot_file *file, struct vmm_error *error);

#endif
