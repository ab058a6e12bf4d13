/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory operands: effective addresses, and the software TLB's lookup in a dozen instructions. */
#include "kvm/cpu/soft/jit/translate.h"

struct slow *jit_slow(struct tr *t)
{
	if (!t->slow) {
		t->slow = &t->slows[t->nr_slow++];
		*t->slow = (struct slow){ .before = t->flags, .redo = t->redo, .count = 1, .k = t->k, .next = t->next,
					  .dirty = t->dirty };
	}
	return t->slow;
}

void jit_slow_if(struct tr *t, u8 *jump)
{
	struct slow *s = jit_slow(t);

	s->from[s->n++] = jump;
}

struct ea jit_insn_ea(const struct tr *t, const struct x86_insn *i)
{
	struct ea a = { i->base, i->index, i->scale, i->seg, i->addrsize, i->disp };

	if (a.base == X86_REG_RIP)
		a.disp += t->next;
	return a;
}

bool jit_ea_fits(const struct ea *a, u32 size)
{
	return a->disp >= -0x7fffffffll && a->disp + size <= 0x7fffffffll;
}

void jit_ea_to(struct tr *t, const struct ea *a, int dst, u32 size)
{
	struct emit *e = &t->e;
	struct loc m = loc_sib(H_NONE, H_NONE, 0, a->disp);

	if (a->index != X86_REG_ZERO) {
		m.index = in(t, a->index, H_RCX);
		m.scale = a->scale;
	}
	if (a->base == X86_REG_RIP) {
		e_load(e, 8, dst, C(jit.page));
		m.base = dst;
	} else if (a->base != X86_REG_ZERO) {
		m.base = in(t, a->base, H_RDX);
	}
	if (m.base == H_NONE && m.index == H_NONE)
		e_mov_imm64(e, dst, size == 4 ? (u32)a->disp : (u64)a->disp);
	else if (m.index == H_NONE && !m.disp) {
		if (m.base != dst || size == 4)
			e_mov(e, size, dst, m.base);
	} else {
		e_lea(e, size, dst, m);
	}
}

/* FS or GS: the others' base is 0, and nothing of theirs is checked. What there is to check of these
 * two outside 64-bit mode is the handler's. */
static void add_base(struct tr *t, u8 seg)
{
	s32 base = offsetof(struct x86_cpu, seg) + seg * sizeof(struct x86_segment) +
		   offsetof(struct x86_segment, base);
	struct emit *e = &t->e;

	if (t->word == 4) {
		e_op(e, 0xf6, 1, 0, C(seg_check));		/* test byte */
		e8(e, BIT(seg));
		jit_slow_if(t, e_jcc(e, 5));
	}
	e_op(e, 0x03, t->word, H_RDX, loc_mem(H_RBP, base - BIAS));
}

/*
 * The stack is mostly in one page, which is known and writable: one comparison says whether an access is within it.
 * Otherwise the page becomes the known one, off the straight way, if the TLB has it.
 */
static struct loc stack_lookup(struct tr *t, s32 disp, u32 size, bool write)
{
	struct emit *e = &t->e;
	struct refill *r = &t->refills[t->nr_refills++];
	u32 room = size <= 8 ? 0 : size <= 64 ? 1 : 2;
	int rsp = host_of[X86_RSP];

	if (disp)
		e_lea(e, 8, H_RAX, loc_mem(rsp, disp));
	else
		e_mov(e, 8, H_RAX, rsp);
	e_op(e, 0x2b, 8, H_RAX, C(jit.stack_page));
	e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, jit.stack_room) + 8 * (s32)room - BIAS));
	*r = (struct refill){ e_jcc(e, 3), disp, size, write, jit_slow(t), NULL };		/* ae */
	e_load(e, 8, H_RDX, C(jit.stack_addend));
	r->back = e->p;
	return loc_sib(rsp, H_RDX, 0, disp);
}

struct loc jit_lookup(struct tr *t, struct ea a, u32 size, bool write)
{
	struct emit *e = &t->e;
	struct loc m;
	bool direct;

	flags_away(t);
	direct = a.base < 16 && host_of[a.base] != SPILLED && a.index == X86_REG_ZERO &&
		 a.seg == X86_SEG_FLAT && a.addrsize == 8;
	if (direct && a.base == X86_RSP && size <= 512 && t->nr_refills < ARRAY_SIZE(t->refills))
		return stack_lookup(t, a.disp, size, write);
	if (direct) {
		m = loc_mem(host_of[a.base], a.disp);
	} else {
		jit_ea_to(t, &a, H_RDX, a.addrsize == 8 ? 8 : 4);
		if (a.seg == X86_SEG_FS || a.seg == X86_SEG_GS)
			add_base(t, a.seg);
		m = loc_mem(H_RDX, 0);
	}
	if (m.disp)
		e_lea(e, 4, H_RCX, m);
	else
		e_mov(e, 4, H_RCX, m.base);
	tlb_entry(e, H_RCX);
	m.disp += size - 1;
	if (m.disp)
		e_lea(e, 8, H_RAX, m);
	else
		e_mov(e, 8, H_RAX, m.base);
	m.disp -= size - 1;
	e_alu_imm(e, 4, 8, loc_reg(H_RAX), -4096);
	e_op(e, 0x0b, 8, H_RAX, t->half ? C(tlb_ctx[1]) : C(tlb_ctx[0]));
	e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RCX, write ? offsetof(struct x86_tlb_entry, wr) :
					offsetof(struct x86_tlb_entry, rd)));
	jit_slow_if(t, e_jcc(e, 5));
	if (!direct) {
		e_op(e, 0x03, 8, H_RDX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, addend)));
		return loc_mem(H_RDX, 0);
	}
	e_load(e, 8, H_RDX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, addend)));
	return loc_sib(m.base, H_RDX, 0, m.disp);
}

/* ---- accesses that are looked up together ---- */

#define GROUP_SPAN	512	/* bytes: the more, the oftener it is in two pages */

/* The bytes of an operand that may be one of a group. */
static bool groups(const struct tr *t, u32 k, struct group *g)
{
	const struct x86_insn *i = jit_insn(t, k);

	if (!t->groups_ok[k] || !(i->flags & X86_I_MEM) || i->base >= 16 || host_of[i->base] == SPILLED ||
	    i->index != X86_REG_ZERO || i->seg != X86_SEG_FLAT || i->addrsize != 8)
		return false;
	*g = (struct group){ .base = i->base, .from = i->disp, .to = i->disp + t->size[k], .write = t->stores[k] };
	return true;
}

/* Those that come after this one with the same base. False: there are none. */
static bool gather(const struct tr *t, struct group *g)
{
	/* Behind a branch: what is only read until there may be a page that is never written. */
	bool found = false, joint = false;
	struct group other;

	g->until = t->k;
	for (u32 k = t->k; k < t->n && t->plain[k]; k++) {
		joint |= k > t->k && t->go[k - 1] != GO_OUT;
		if (k > t->k && groups(t, k, &other) && other.base == g->base &&
		    max(g->to, other.to) - min(g->from, other.from) <= GROUP_SPAN &&
		    (!joint || g->write || !other.write)) {
			g->from = min(g->from, other.from);
			g->to = max(g->to, other.to);
			g->write |= other.write;
			g->until = k;
			found = true;
		}
		if (t->writes[k] & BIT(g->base))
			break;
	}
	return found;
}

static struct loc addend(u32 n)
{
	return loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, jit.addend) + 8 * (s32)n - BIAS);
}

struct loc jit_operand(struct tr *t, const struct x86_insn *i, u32 size, bool write)
{
	struct group g;
	struct ea a;
	u32 n;

	if (t->word != 8 || !groups(t, t->k, &g) || t->next >= PAGE_SIZE)
		return jit_lookup(t, jit_insn_ea(t, i), size, write);
	for (n = 0; n < min(t->nr_groups, (u32)GROUPS); n++) {
		const struct group *known = &t->groups[n];

		if (known->base == g.base && known->until >= t->k && known->from <= g.from &&
		    g.from + (s32)size <= known->to && (known->write || !write)) {
			e_load(&t->e, 8, H_RDX, addend(n));
			return loc_sib(host_of[g.base], H_RDX, 0, i->disp);
		}
	}
	if (!gather(t, &g))
		return jit_lookup(t, jit_insn_ea(t, i), size, write);
	n = t->nr_groups++ % GROUPS;
	t->groups[n] = g;
	a = (struct ea){ g.base, X86_REG_ZERO, 0, X86_SEG_FLAT, 8, g.from };
	jit_lookup(t, a, g.to - g.from, g.write || write);
	t->slow->led = true;
	e_store(&t->e, 8, H_RDX, addend(n));
	return loc_sib(host_of[g.base], H_RDX, 0, i->disp);
}
