/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking inside the software processor: what it was told to show, and what it shows. All of it is off unless
 * asked for, and is then met on slow paths only. docs/translator.md has the user's view.
 */
#ifndef KVM_CPU_SOFT_INSPECT_H
#define KVM_CPU_SOFT_INSPECT_H

#include "kvm/os/os.h"

struct soft_block;
struct x86_cpu;

/* ---- options.c: what virtual machines are made with ---- */
struct soft_options {
	bool jit;			/* their vCPUs translate */
};

/* 0; -EINVAL and others where the environment says what cannot be done. */
int soft_get_options(struct soft_options *o);

/* ---- inspect.c ---- */
/* b, which c_rip is at, was translated to size bytes at code. */
void soft_show_translation(struct x86_cpu *c, const struct soft_block *b, const u8 *code, size_t size);

#endif
