// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running guest code.
 *
 * Two ways. The usual one runs a block of decoded instructions back to back, or, where it has run often and
 * the translator is on, its translation (jit/); only between blocks does it
 * look whether anybody wants something (c->attention, the VMM's immediate_exit). The careful one runs a
 * single instruction with all that can go with one: breakpoints, single step, the interrupt shadow,
 * RFLAGS.RF, CS's limit, and accesses to devices, which may need the VMM and then run the
 * instruction again (mem.c).
 */
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"
#include "kvm/x86/events.h"

/* Between blocks and instructions: go on, or what soft_run returns. */
#define GO_ON	100

/* Signals are held back while guest code runs (os_sigmask_enter): the core looks for one about once a
 * millisecond. */
#define BLOCKS_AT_A_TIME	20000

/* Leaves for the VMM: KVM_RUN's result. */
static int leave(struct x86_cpu *c)
{
	int error = c->run_error;

	c->run_error = 0;
	return error ? error : KVM_RUN_USER;
}

/* Delivers c->fault. What cannot be delivered ends in a triple fault, for the core, or in an exit. */
static int deliver(struct x86_cpu *c)
{
	if (likely(x86_deliver_fault(c) == X86_OK))
		return GO_ON;
	return c->ev.triple_fault ? KVM_RUN_AGAIN : leave(c);
}

/* What MOV SS put off is part of the next #DB, whatever its cause: its handler is not interrupted for it. */
static void add_put_off(struct x86_cpu *c)
{
	if (c->fault.vector == X86_DB) {
		c->fault.payload |= c->debug.hit;
		c->debug.hit = 0;
	}
}

/* An instruction faulted; RIP is at it. */
static int fault(struct x86_cpu *c)
{
	add_put_off(c);
	if (unlikely(x86_debug_intercepts(c, c->fault.vector))) {
		x86_debug_exit(c, c->fault.vector, c->fault.payload, soft_code_lin(c));
		return KVM_RUN_USER;
	}
	return deliver(c);
}

/* Fetches and decodes the instruction at RIP. X86_OK; X86_FAULT, X86_EXIT, X86_RESTART. */
static int fetch_one(struct x86_cpu *c, struct x86_insn *i)
{
	const struct x86_segment *cs = &c->seg[X86_SEG_CS];
	u64 lin = soft_code_lin(c);
	u32 n = 15, room = PAGE_SIZE - (lin & ~PAGE_MASK), have;
	u8 bytes[16];
	int r, len;

	if (c->mode != X86_MODE_64) {
		if (c_rip(c) > cs->limit)
			return x86_raise_err(c, X86_GP, 0);
		n = min((u64)n, cs->limit - c_rip(c) + 1);
	}
	/* The next page only if this one's bytes do not make an instruction. */
	have = x86_fetch(c, lin, bytes, min(n, room), &r);
	if (r)
		return r;
	len = x86_decode(c->decoder, bytes, have, c->mode, c->features, i);
	if (len == 0 && have < n) {
		have += x86_fetch(c, (lin + have) & c->lin_mask, bytes + have, n - have, &r);
		if (r)
			return r;
		len = x86_decode(c->decoder, bytes, have, c->mode, c->features, i);
	}
	if (len > 0) {
		soft_bind_insn(c, i);
		return X86_OK;
	}
	if (len == -1)
		return x86_raise(c, X86_UD);
	/* past the limit, or longer than 15 bytes: the same exception */
	return x86_raise_err(c, X86_GP, 0);
}

/* What is due after an instruction has completed: traps, the VMM's single step, queued writes. */
static int after_one(struct x86_cpu *c, bool tf, u8 shadow)
{
	u64 hits = c->debug.hit;

	c->debug.hit = 0;
	if (tf && !c->no_trap)
		hits |= X86_DR6_BS;
	c->no_trap = false;
	/* MOV SS puts its traps off to the next instruction's end; of its own step nothing is left by then. */
	if (shadow == 0 && c->int_shadow == X86_SHADOW_MOV_SS) {
		c->debug.hit = hits & ~(u64)X86_DR6_BS;
		hits = 0;
	}
	if (c->debug.control & KVM_GUESTDBG_SINGLESTEP)
		hits |= X86_DR6_BS;
	if (likely(!hits))
		return GO_ON;
	if (x86_debug_intercepts(c, X86_DB)) {
		x86_debug_exit(c, X86_DB, hits, soft_code_lin(c));
		return KVM_RUN_USER;
	}
	c->halted = false;	/* the trap behind a HLT wakes it */
	x86_raise(c, X86_DB);
	c->fault.payload = hits;
	return deliver(c);
}

/* One instruction, with every check. */
static int run_one(struct x86_cpu *c)
{
	bool tf = c->rflags & X86_RFLAGS_TF;
	u64 rf = c->rflags & X86_RFLAGS_RF;
	u8 shadow = c->int_shadow;
	struct x86_insn i;
	u64 hits;
	int r, next = GO_ON;

	/* Intel's do not look for breakpoints on the instruction behind MOV SS, AMD's do. */
	if (c->watch && !rf && !(shadow == X86_SHADOW_MOV_SS && c->vendor == X86_VENDOR_INTEL) &&
	    (hits = x86_code_breakpoints(c, soft_code_lin(c)))) {
		if (x86_debug_intercepts(c, X86_DB)) {
			x86_debug_exit(c, X86_DB, hits, soft_code_lin(c));
			return KVM_RUN_USER;
		}
		/* A fault: the instruction runs when the handler returns, and must not hit again. */
		c->rflags |= X86_RFLAGS_RF;
		x86_raise(c, X86_DB);
		c->fault.payload = hits;
		add_put_off(c);
		return deliver(c);
	}
	c->io.next_read = 0;
	r = fetch_one(c, &i);
	if (r == X86_FAULT)
		return fault(c);
	if (r == X86_EXIT)
		return leave(c);
	if (r == X86_RESTART)
		return GO_ON;

	if (unlikely(((struct soft_vcpu *)c->soft)->trace & SOFT_TRACE_EXEC) && !c->io.nr_reads)
		soft_show_insn(c, &i, soft_code_lin(c));
	c->int_shadow = 0;
	c->rflags &= ~(u64)X86_RFLAGS_RF;
	c->careful = true;
	c->fault_rip = c_rip(c);
	c_rip(c) += i.len;
	r = i.fn(c, &i);
	c->careful = false;

	switch (r) {
	case X86_OK:
	case X86_DONE:
		x86_io_begin(c);
		next = after_one(c, tf, shadow);
		break;
	case X86_RESTART:	/* an iteration of a repeated string instruction is done */
		c_rip(c) -= i.len;
		x86_io_begin(c);
		next = after_one(c, tf, shadow);
		break;
	case X86_FAULT:
		c_rip(c) -= i.len;
		x86_io_begin(c);
		x86_finish_fault(c, &i);
		next = fault(c);
		break;
	default:		/* X86_EXIT: it runs again when the VMM has answered */
		c_rip(c) -= i.len;
		c->rflags |= rf;
		c->int_shadow = shadow;
		next = leave(c);
		if (next < 0)
			x86_io_begin(c);
		return next;
	}

	if (next == KVM_RUN_USER) {
		/* A debug exit while the instruction has one of its own to make: that one is lost to neither
		 * side's harm only for writes, which stay queued. */
		c->exit_user = false;
		return next;
	}
	if (c->exit_user) {
		c->exit_user = false;
		return leave(c);
	}
	if (c->io.nr_writes && x86_io_exit_next_write(c))
		return KVM_RUN_USER;
	if (c->halted)
		return KVM_RUN_AGAIN;
	return next;
}

/* Is it known that the VMM has not written to a page of code in this epoch? */
static bool all_told(struct x86_cpu *c)
{
	const struct kvm *kvm = c->vcpu->kvm;

	return READ_ONCE(kvm->told) && READ_ONCE(kvm->outside) == ((struct soft_vcpu *)c->soft)->outside;
}

/* The block at RIP. NULL: *next says what to do instead. */
static __noinline struct soft_block *find_block(struct x86_cpu *c, u64 lin, int *next)
{
	struct x86_mapping map;
	struct soft_block *b;
	bool fresh;
	int r;

	*next = GO_ON;
	if (c->mode == X86_MODE_64 && (u64)((s64)(lin << 16) >> 16) != lin) {
		x86_raise_err(c, X86_GP, 0);
		*next = fault(c);
		return NULL;
	}
	fresh = !x86_tlb_hit(c, lin, 1, x86_tlb_slot(c, lin)->ex);
	r = x86_translate(c, lin, X86_FETCH, false, &map);
	if (unlikely(r)) {
		if (r == X86_FAULT)
			*next = fault(c);
		else if (r == X86_EXIT)
			*next = leave(c);
		return NULL;
	}
	if (fresh && map.host && !all_told(c))
		soft_icache_doubt_page(c, (u64)map.host & PAGE_MASK);
	b = map.host ? soft_icache_find(c, (u64)map.host) : NULL;
	if (!b)
		*next = run_one(c);
	return b;
}

/* A block's instruction did not end with X86_OK; c_rip is behind it. shadow: it ran in one. */
static int stopped(struct x86_cpu *c, const struct x86_insn *i, int r, u8 shadow)
{
	if (r == X86_DONE) {
		c->no_trap = false;
		if (unlikely(c->exit_user)) {
			c->exit_user = false;
			return leave(c);
		}
		return c->halted ? KVM_RUN_AGAIN : GO_ON;
	}
	c_rip(c) -= i->len;
	if (r == X86_FAULT) {
		x86_finish_fault(c, i);
		return fault(c);
	}
	if (shadow)
		c->int_shadow = shadow;		/* its instruction is yet to run */
	switch (r) {
	case X86_EXIT:
		return leave(c);
	case X86_CAREFUL:
		return run_one(c);
	default:		/* X86_RESTART */
		return GO_ON;
	}
}

/* Runs b translated, if it is or is to be. False: it is the interpreter's. */
static bool run_translated(struct x86_cpu *c, struct soft_block *b, int *next)
{
	struct soft_vcpu *s = c->soft;
	u64 start;
	int r;

	if (unlikely(s->jit->unwatched || (soft_block_mode(b) != X86_MODE_64 && !jit_flat(c))))
		return false;
	if (!b->jit_slot) {
		if (b->runs >= JIT_HOT || ++b->runs < JIT_HOT)
			return false;
		start = soft_stats_clock(&s->stats);
		jit_translate(c, b);
		s->stats.clock_translating += soft_stats_clock(&s->stats) - start;
		if (!b->jit_slot)
			return false;
	}
	*next = GO_ON;
	if (!soft_icache_compared(&s->icache, b) && !soft_icache_check_page(c, b))
		return true;
	start = soft_stats_clock(&s->stats);
	r = jit_run(c, b);
	s->stats.clock_code += soft_stats_clock(&s->stats) - start;
	if (r != JIT_NEXT)
		*next = stopped(c, s->jit->insn, r, 0);
	return true;
}

/*
 * The first n instructions of b, until one's handler says something else than X86_OK, or modified the block. c_rip
 * is behind *last then.
 */
static __always_inline int run_insns(struct x86_cpu *c, const struct soft_block *b, u32 n, const struct x86_insn **last)
{
	const struct x86_insn *i = soft_block_own(b), *end = i + n;
	int r;

	do {
		*last = i;
		c_rip(c) += i->len;
		r = i->fn(c, i);
	} while (likely(!r && b->key) && ++i != end);
	return r;
}

static __always_inline int run_numbers(struct x86_cpu *c, const struct soft_block *b, u32 n, const struct x86_insn **last)
{
	const struct x86_insn *insns = soft_icache(c)->insns, *i;
	const s32 *nr = b->insn, *end = nr + n;
	int r;

	do {
		*last = i = insns + *nr;
		c_rip(c) += i->len;
		r = i->fn(c, i);
	} while (likely(!r && b->key) && ++nr != end);
	return r;
}

/* The block at RIP; in an interrupt shadow its first instruction only, which ends the shadow. */
static __always_inline int run_block(struct x86_cpu *c, u8 shadow)
{
	u64 lin = soft_code_lin(c);
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);
	struct soft_vcpu *s = c->soft;
	const struct x86_insn *i;
	struct soft_block *b;
	int r, next;
	u32 n;

	b = likely(x86_tlb_hit(c, lin, 1, e->ex)) ? soft_icache_peek(&s->icache, lin + e->addend, c->mode) : NULL;
	if (unlikely(!b || (b->epoch != s->icache.epoch && !b->jit_slot))) {
		b = find_block(c, lin, &next);
		if (!b)
			return next;
		/* Making the block may have waited for other vCPUs, and they for this one. */
		if (unlikely(READ_ONCE(c->attention)))
			return KVM_RUN_AGAIN;
	}
	if (unlikely(c->seg_check & BIT(X86_SEG_CS)) && c->mode != X86_MODE_64 &&
	    (c_rip(c) > c->seg[X86_SEG_CS].limit ||
	     c->seg[X86_SEG_CS].limit - c_rip(c) < b->bytes + b->cross - 1u))
		return run_one(c);
	if (unlikely(b->cross) && !soft_crosses(c, b, lin))
		return run_one(c);

	if (s->jit && !shadow && run_translated(c, b, &next))
		return next;
	/* A translation is compared by its page. */
	if (unlikely(b->epoch != s->icache.epoch) && !soft_icache_check(c, b))
		return GO_ON;
	n = shadow ? 1 : b->n;
	if (shadow)
		c->int_shadow = 0;
	s->current = b;
	r = b->own ? run_insns(c, b, n, &i) : run_numbers(c, b, n, &i);
	s->current = NULL;
	return likely(!r) ? GO_ON : stopped(c, i, r, shadow);
}

int soft_run(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct soft_vcpu *s = c->soft;
	int r = GO_ON, blocks = BLOCKS_AT_A_TIME;
	u64 start = soft_stats_clock(&s->stats);
	bool traced = s->trace & SOFT_TRACE_EXEC;

	s->stats.entries++;
	/* Without paging, nothing else tells when code that was read from a disk is there. */
	if (READ_ONCE(v->kvm->outside) != s->outside || !(c->cr0 & X86_CR0_PG)) {
		s->outside = READ_ONCE(v->kvm->outside);
		s->icache.epoch++;
		x86_code_moved(c);
	}
	if (s->jit)
		jit_begin(s->jit);
	soft_fpu_enter(c);
	/* The VMM answered: the instruction goes on alone. In an interrupt shadow one instruction runs whatever
	 * waits: what waits is what the shadow holds back. */
	if (c->io.nr_reads || c->int_shadow)
		r = run_one(c);
	while (r == GO_ON) {
		if (unlikely(READ_ONCE(c->attention) || READ_ONCE(*c->stop) || !blocks--))
			r = KVM_RUN_AGAIN;
		else if (unlikely((c->rflags & (X86_RFLAGS_TF | X86_RFLAGS_RF)) || c->watch || traced))
			r = run_one(c);
		else if (unlikely(c->int_shadow))
			r = run_block(c, c->int_shadow);
		else
			r = run_block(c, 0);
	}
	soft_fpu_leave(c);
	s->stats.clock_all += soft_stats_clock(&s->stats) - start;
	return r;
}
