// SPDX-License-Identifier: GPL-2.0-only
/* What the software processor shows of itself to those who asked. */
#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/soft.h"

void soft_show_translation(struct x86_cpu *c, const struct soft_block *b, const u8 *code, size_t size)
{
	struct soft_stats *s = &((struct soft_vcpu *)c->soft)->stats;

	s->translations++;
	s->guest_bytes += b->bytes;
	s->host_bytes += size;
	/* The same code may run at other addresses too; this is the first. */
	os_perf_map_add(code, size, "guest%s:%llx", b->mode == X86_MODE_64 ? "" : b->mode == X86_MODE_32 ? "32" : "16",
			(unsigned long long)c_rip(c));
}
