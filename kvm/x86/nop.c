/* SPDX-License-Identifier: GPL-2.0-only */
/* Instructions that change nothing: NOP, hints, prefetches, fences, cache flushes; and UD. */
#include "kvm/x86/handlers_int.h"

static int do_nop(struct x86_cpu *c, const struct x86_insn *i)
{
	return X86_OK;
}
X86_HANDLER(nop, do_nop);
