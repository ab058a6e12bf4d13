/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Code memory, the way into translated code and out of it, and what translated code calls.
 *
 * Code memory is a vCPU's own, so nothing is locked. It fills up and is then emptied as a whole, with the
 * decoded blocks, which translated code points into.
 */
#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/soft.h"
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/x86/alu.h"
#include "kvm/x86/hostop.h"

#define TICK_NS		1000000

/*
 * Translated code does not count its blocks. While it runs, this brings the vCPU back to the core now and then, for
 * signals and immediate_exit: once a millisecond where a VMM tells its interrupts by them; less often where it has no
 * such reason, since a tick costs the processors some 25 microseconds. All tick in the same instant, so that the port's
 * thread wakes once for however many vCPUs run.
 */
static u64 next_tick(const struct soft_jit *j)
{
	u64 period = j->cpu->vcpu->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL ? 4 * TICK_NS : TICK_NS;

	return (os_time_ns() / period + 1) * period;
}

static void tick(void *arg)
{
	struct soft_jit *j = arg;

	if (!atomic_xchg(&j->ran, 0)) {
		atomic_xchg(&j->ticking, 0);
		/* jit_begin may have seen it ticking just before that. */
		if (!atomic_xchg(&j->ran, 0) || atomic_xchg(&j->ticking, 1))
			return;
	}
	atomic_or(&j->cpu->attention, X86_ATTN_KICK);
	if (os_timer_set(&j->tick, next_tick(j)))
		atomic_xchg(&j->ticking, 0);	/* jit_begin tries again */
}

void jit_begin(struct soft_jit *j)
{
	j->from = NULL;
	atomic_xchg(&j->ran, 1);
	j->unwatched = false;
	if (READ_ONCE(j->ticking) || atomic_xchg(&j->ticking, 1))
		return;
	if (os_timer_set(&j->tick, next_tick(j))) {
		atomic_xchg(&j->ticking, 0);
		j->unwatched = true;
	}
}

struct soft_jit *jit_create(struct x86_cpu *c, size_t size)
{
	struct soft_jit *j = os_alloc_large(sizeof(*j) + x86_optable_size);	/* filled as it is used */
	struct emit e;

	if (!j)
		return NULL;
	if (os_code_alloc(&j->code, size)) {
		os_free_large(j, sizeof(*j) + x86_optable_size);
		return NULL;
	}
	j->cpu = c;
	os_timer_init(&j->tick, tick, j);
	jit_classify(j);
	e = (struct emit){ j->code.rw, j->code.rw + j->code.size, j->code.rx - j->code.rw };
	jit_emit_stubs(j, &e);
	j->start = j->hot = ALIGN_UP((size_t)(e.p - j->code.rw), 64);
	c->jit.targets = j->targets;
	c->jit.ways = j->ways;
	c->jit.pages = j->pages;
	return j;
}

void jit_destroy(struct soft_jit *j)
{
	if (!j)
		return;
	j->cpu->jit.pages = NULL;
	os_timer_destroy(&j->tick);
	os_code_free(&j->code);
	os_free_large(j, sizeof(*j) + x86_optable_size);
}

void jit_empty(struct x86_cpu *c, struct soft_jit *j)
{
	x86_code_moved(c);
	j->from = NULL;
	os_code_drop(&j->code, j->start);
	j->hot = j->start;
	j->cold = 0;
	j->nr_ways = 0;
}

/*
 * The key under which lookups from the page that is running are kept: what they depend on. Everything else that they
 * depend on begins a new generation.
 */
static void set_key(struct x86_cpu *c, struct soft_jit *j)
{
	bool user = c->tlb == c->tlbs[X86_TLB_USER];

	if (j->generation != c->jit.generation) {
		memset(j->pages, 0, sizeof(j->pages));
		j->generation = c->jit.generation;
	}
	c->jit.key = c->jit.generation << 15 | (u64)c->mode << 13 | (u64)user << 12 |
		     c->tlb_ctx[c->jit.page >> 63];
}

/* That code is at lin holds for the key: it must be in the half of the address space whose context the key has. */
static bool keep(struct x86_cpu *c, struct soft_jit *j, u64 lin)
{
	if ((lin ^ c->jit.page) >> 63)
		return false;
	j->pages[(lin >> PAGE_SHIFT) % X86_CODE_PAGES / 64] |= BIT_ULL((lin >> PAGE_SHIFT) % 64);
	return true;
}

static void keep_target(struct x86_cpu *c, struct soft_jit *j, u64 lin, void *code)
{
	u32 n = ((u32)lin ^ ((u32)lin >> PAGE_SHIFT)) & ((1 << JIT_TARGET_BITS) - 1);

	if (keep(c, j, lin))
		j->targets[n] = (struct jit_target){ .lin = lin, .key = c->jit.key, .code = code };
}

void jit_translate(struct x86_cpu *c, struct soft_block *b)
{
	struct soft_vcpu *s = c->soft;
	struct soft_jit *j = s->jit;
	struct soft_block *parts[SOFT_BLOCK_MAX];
	u8 *hot_start = j->code.rw + j->hot, *cold_start = j->code.rw + j->code.size / 2 + j->cold;
	struct emit hot = { hot_start, hot_start + JIT_BLOCK_ROOM, j->code.rx - j->code.rw };
	struct emit cold = { cold_start, cold_start + JIT_BLOCK_ROOM, j->code.rx - j->code.rw };
	u32 nr_parts;

	if (max(j->hot, j->cold) + JIT_BLOCK_ROOM > j->code.size / 2 || soft_icache_full(s, 2 * JIT_BLOCK_ROOM) ||
	    j->nr_ways + JIT_BLOCK_WAYS > JIT_WAYS) {
		soft_icache_drop_all(c);
		return;
	}
	nr_parts = jit_emit_block(c, j, &hot, &cold, b, parts);
	if (!nr_parts)
		return;
	soft_show_translation(c, parts, nr_parts, hot_start + hot.to_rx, hot.p - hot_start, cold_start + cold.to_rx, cold.p - cold_start);
	j->hot += ALIGN_UP((size_t)(hot.p - hot_start), 16);
	j->cold += cold.p - cold_start;
}

/* The edge that was left by leads straight to b from now on. */
static void link_edge(struct x86_cpu *c, struct soft_jit *j, const struct soft_block *b)
{
	u8 *at = j->code.rw + (c->jit.edge & ~JIT_EDGE_HOST_FLAGS);
	const u8 *to = jit_entry(j, b, c->jit.edge & JIT_EDGE_HOST_FLAGS);
	s32 rel = to - (j->code.rx - j->code.rw) - (at + 4);

	__atomic_store_n((s32 *)at, rel, __ATOMIC_RELAXED);
}

bool jit_flat(const struct x86_cpu *c)
{
	const u32 segs = BIT(X86_SEG_ES) | BIT(X86_SEG_SS) | BIT(X86_SEG_DS);

	if (c->mode == X86_MODE_64)
		return true;
	return c->mode == X86_MODE_32 && !(c->seg_check & segs) && c->seg[X86_SEG_CS].limit == ~0u &&
	       !(c->seg[X86_SEG_ES].base | c->seg[X86_SEG_CS].base | c->seg[X86_SEG_SS].base |
		 c->seg[X86_SEG_DS].base) && (c->seg[X86_SEG_SS].attr & X86_SEG_DB);
}

static struct soft_block *block_at(struct soft_vcpu *s, u32 at)
{
	return (struct soft_block *)(s->icache.arena + at);
}

int jit_run(struct x86_cpu *c, struct soft_block *b)
{
	struct soft_vcpu *s = c->soft;
	struct soft_jit *j = s->jit;
	int (*enter)(struct x86_cpu *c, void *code) = (void *)(j->enter + (j->code.rx - j->code.rw));
	int r;

	/* Edges stay within a page; the page, forgotten meanwhile, may have been translated anew. */
	if (j->from) {
		if (soft_block_host(j->from) && j->from->page == b->page && j->link_rip == c_rip(c))
			link_edge(c, j, b);
		j->from = NULL;
	}
	c->jit.page = c_rip(c) & PAGE_MASK;
	set_key(c, j);
	keep_target(c, j, c_rip(c), jit_entry(j, b, false));
	c->jit.flags = x86_flags_to_ax(c->rflags);
	r = enter(c, jit_entry(j, b, false));
	x86_flags_set(c, c->jit.flags);
	if (r != JIT_LINK && r != JIT_OUT)
		return r;
	c_rip(c) = (c->jit.page + c->jit.at) & c->lin_mask;
	if (r == JIT_LINK) {
		s->stats.links++;
		j->from = block_at(s, c->jit.block);
		j->link_rip = c_rip(c);
	}
	return JIT_NEXT;
}

/* ---- called by translated code ---- */

static void *find(struct x86_cpu *c, u64 lin)
{
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);
	struct soft_vcpu *s = c->soft;
	struct soft_block *b;

	s->stats.finds++;
	b = x86_tlb_hit(c, lin, 1, e->ex) ? soft_icache_peek(&s->icache, lin + e->addend, c->mode) : NULL;
	if (!b || !b->jit_slot) {
		s->stats.lost++;
		return NULL;
	}
	if (!soft_icache_compared(&s->icache, b) && !soft_icache_check_page(c, b))
		return NULL;
	/* Comparing may have begun a new generation. */
	if (!c->jit.key)
		set_key(c, s->jit);
	return jit_entry(s->jit, b, false);
}

void *jit_find(struct x86_cpu *c, u64 lin)
{
	struct soft_jit *j = ((struct soft_vcpu *)c->soft)->jit;
	void *code = find(c, lin);

	if (code)
		keep_target(c, j, lin, code);
	return code;
}

void *jit_take_way(struct x86_cpu *c, s32 at, u32 way)
{
	struct soft_jit *j = ((struct soft_vcpu *)c->soft)->jit;
	u64 lin = (c->jit.page + at) & c->lin_mask;
	s32 *jump = (s32 *)(j->code.rw + j->way_jump[way]);
	void *code;
	s32 rel;

	if (READ_ONCE(c->attention))
		return NULL;
	code = find(c, lin);
	if (!code || !keep(c, j, lin))
		return NULL;
	rel = (u8 *)code - (j->code.rx - j->code.rw) - ((u8 *)jump + 4);
	/* Writing to code that has just run is slow. */
	if (*jump != rel)
		__atomic_store_n(jump, rel, __ATOMIC_RELAXED);
	j->ways[way] = c->jit.key;
	return code;
}

long jit_crosses(struct x86_cpu *c, const struct soft_block *b)
{
	return soft_crosses(c, b, c->jit.page + (soft_block_host(b) & ~PAGE_MASK));
}

/*
 * A system call, a return from one, an interrupt's end: does translated code go on at c_rip, in whatever mode that is
 * now? What the loop looks at between blocks is looked at here.
 */
static int go_on(struct x86_cpu *c, struct soft_jit *j)
{
	if (c->int_shadow || c->watch || (c->rflags & (X86_RFLAGS_TF | X86_RFLAGS_RF)) ||
	    (c->mode != X86_MODE_64 && !jit_flat(c)))
		return JIT_NEXT;
	c->jit.page = c_rip(c) & PAGE_MASK;
	set_key(c, j);
	return 0;
}

int jit_exec(struct x86_cpu *c, u32 what, u32 block)
{
	struct soft_vcpu *s = c->soft;
	struct soft_block *b = block_at(s, block);
	const struct x86_insn *i = soft_block_insn(&s->icache, b, JIT_WHAT_K(what));
	int r;

	if (unlikely(s->stats.rows))
		soft_stats_handled(s, i);
	c_rip(c) = (c->jit.page + JIT_WHAT_NEXT(what)) & c->lin_mask;
	if (JIT_WHAT_FLAGS(what))
		x86_flags_set(c, c->jit.flags);
	s->current = b;
	r = i->fn(c, i);
	s->current = NULL;
	if (JIT_WHAT_FLAGS(what))
		c->jit.flags = x86_flags_to_ax(c->rflags);
	if (unlikely(r)) {
		s->jit->insn = i;
		return r;
	}
	/* Its own code was modified; or what it did wants the core, soon. */
	if (unlikely(!soft_block_host(b) || READ_ONCE(c->attention)))
		return JIT_NEXT;
	if (what & JIT_WHAT_ENDS)
		return go_on(c, s->jit);
	/* A segment register may have been loaded. */
	if (unlikely(soft_block_mode(b) != X86_MODE_64) && !jit_flat(c))
		return JIT_NEXT;
	if (unlikely(!c->jit.key))
		set_key(c, s->jit);
	return 0;
}

int jit_ready(struct x86_cpu *c, u32 what, u32 block)
{
	struct soft_vcpu *s = c->soft;
	const struct x86_insn *i = soft_block_insn(&s->icache, block_at(s, block), JIT_WHAT_K(what));
	u8 deny = x86_op(i)->vex == X86_LEGACY ? X86_DENY_SSE : X86_DENY_AVX;
	u32 mxcsr = x86_mxcsr(c);
	int r;

	if (!(c->fpu.deny & deny)) {
		if (!(x86_op(i)->host & X86_H_FP) || c->fpu.mxcsr_live)
			return 0;
		if ((mxcsr & X86_MXCSR_MASKS) == X86_MXCSR_MASKS && c->fpu.lazy) {
			c->fpu.host_mxcsr = soft_get_mxcsr();
			soft_put_mxcsr(mxcsr);
			c->fpu.mxcsr_live = true;
			return 0;
		}
	}
	r = jit_exec(c, JIT_WHAT(JIT_WHAT_K(what), JIT_WHAT_NEXT(what), (bool)(x86_op(i)->host & X86_H_FLAGS)),
		     block);
	return r ? r : JIT_NEXT;
}
