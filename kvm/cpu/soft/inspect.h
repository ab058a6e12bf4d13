/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking inside the software processor: what it was told to show, and what it shows. All of it is off unless
 * asked for, and is then met on slow paths only. docs/translator.md has the user's view.
 */
#ifndef KVM_CPU_SOFT_INSPECT_H
#define KVM_CPU_SOFT_INSPECT_H

#include "kvm/os/os.h"

struct kvm;
struct kvm_vcpu;
struct soft_block;
struct soft_vcpu;
struct x86_cpu;
struct x86_insn;

/* ---- options.c: what virtual machines are made with ---- */
struct soft_options {
	bool jit;			/* their vCPUs translate */
	bool stats;			/* and tell at their end what they did */
	u32 trace;			/* SOFT_TRACE_* */
	u64 code_cache;			/* bytes that a VM's vCPUs keep of decoded and translated code */
};

#define SOFT_TRACE_EXEC		BIT(0)	/* each instruction; nothing runs translated then */
#define SOFT_TRACE_EXCEPTIONS	BIT(1)	/* what goes through the IDT */
#define SOFT_TRACE_TRANSLATE	BIT(2)	/* blocks, as they are translated */

/* 0; -EINVAL and others where the environment says what cannot be done. */
int soft_get_options(struct soft_options *o);

/* ---- stats.c: counters of one vCPU, or of a VM's vCPUs together ---- */

/* The first group counts always, since each of it costs far more than a count; the second only where asked for. */
struct soft_stats {
	u64 entries;			/* calls of soft_run */
	u64 blocks, insns, bytes;	/* decoded */
	u64 translations, guest_bytes, host_bytes;
	u64 flushes;			/* all that was decoded and translated was thrown away */
	u64 page_drops;			/* a page's was, since it was written */
	u64 links;			/* translated code left by a way that was not linked */
	u64 finds, lost;		/* targets that were not in the table, and not known at all */
	u64 tlb_misses;
	u64 exits[64];			/* by KVM_EXIT_* */

	u64 decoded, copies, known, tables, code;	/* bytes, when the vCPU goes: soft_icache_count */
	u64 clock_all, clock_code, clock_translating;	/* TSC ticks in soft_run, in jit_run, in jit_translate */
	u64 handled;			/* handlers that translated code called */
	u64 *rows;			/* the same, by row of the instruction table; NULL: none of this group counts */
};

int soft_stats_start(struct soft_stats *s);	/* 0, -ENOMEM */
void soft_stats_free(struct soft_stats *s);
/* v goes: what it counted becomes its VM's. */
void soft_stats_add(struct kvm_vcpu *v);
void soft_stats_show(struct kvm *kvm);
/* Translated code called the handler; where s->rows is there. */
void soft_stats_handled(struct soft_vcpu *s, const struct x86_insn *i);

static inline void soft_stats_decoded(struct soft_stats *s, u32 insns, u32 bytes)
{
	s->blocks++;
	s->insns += insns;
	s->bytes += bytes;
}

/* A time where times are kept. */
static inline u64 soft_stats_clock(const struct soft_stats *s)
{
	return unlikely(s->rows) ? os_rdtsc() : 0;
}

/* ---- inspect.c ---- */
/* Instruction i, at lin, is about to run. */
void soft_show_insn(struct x86_cpu *c, const struct x86_insn *i, u64 lin);
/* n blocks, of which c_rip is at the first, were translated together: to size bytes at code, and cold_size off the
 * straight way. */
void soft_show_translation(struct x86_cpu *c, struct soft_block *const *parts, u32 n, const u8 *code, size_t size,
			   const u8 *cold, size_t cold_size);

#endif
