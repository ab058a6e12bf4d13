/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is off the straight way: calls of handlers, and ways out of a block.
 *
 * It lies apart, in a region of code memory of its own, so that the code that runs is dense; and it is
 * short, since there is more of it than of the other. What a stub has to know is said in two constants: the
 * block, and the instruction with what follows it.
 */
#include "kvm/cpu/soft/jit/translate.h"
#include "kvm/x86/hostop.h"

/* RCX: the block, RAX: `what` about it. Both for a stub. */
static void say(struct tr *t, const struct soft_block *b, u32 what)
{
	e_mov_imm64(&t->e, H_RCX, (u8 *)b - soft_icache(t->c)->arena);
	e_mov_imm64(&t->e, H_RAX, what);
}

static void call_handler(struct tr *t, u32 k, u32 next, u32 ends)
{
	const struct x86_insn *i = jit_insn(t, k);
	bool flags = !(x86_op(i)->attr & X86_A_NOFLAGS);

	if (x86_op(i)->attr & X86_A_END)
		flags = true;
	if (x86_op(i)->attr & X86_A_HOST)
		flags = x86_op(i)->host & (X86_H_FLAGS | X86_H_RD_FLAGS);
	say(t, t->of[k], JIT_WHAT(t->sub[k], next, flags) | ends);
	e_call_to(&t->e, t->j->call);
}

void jit_call_handler(struct tr *t, u32 k, u32 next)
{
	call_handler(t, k, next, 0);
}

void jit_end_by_handler(struct tr *t)
{
	call_handler(t, t->k, t->next, JIT_WHAT_ENDS);
	e_load(&t->e, 8, H_RDX, C(regs[X86_REG_RIP]));
	e_jmp_to(&t->e, t->j->go);
}

void jit_leave(struct tr *t)
{
	e_mov_imm64(&t->e, H_RAX, JIT_NEXT);
	e_jmp_to(&t->e, t->j->leave);
}

static void emit_way(struct tr *t, struct way *w)
{
	struct emit *e = &t->e;

	for (u32 n = 0; n < ARRAY_SIZE(w->from); n++)
		e_land(e, w->from[n]);
	e_mov_imm64(e, H_RAX, w->number);
	e_mov_imm64(e, H_RDX, (u32)w->at);
	e_call_to(e, t->j->way);
	e_rr(e, 0x85, 8, H_RAX, H_RAX);
	e_patch(e, e_jcc(e, 5), w->back);
	if (w->slow)
		w->slow->from[w->slow->n++] = e_jmp(e);
	else
		jit_unlinked(t, e_jmp(e), w->at, false);
}

static void emit_refill(struct tr *t, struct refill *r)
{
	struct emit *e = &t->e;

	e_land(e, r->from);
	e_lea(e, 8, H_RDX, loc_mem(host_of[X86_RSP], r->disp));
	e_mov_imm64(e, H_RAX, r->size - 1);
	e_call_to(e, t->j->stack[t->half][r->write]);
	e_patch(e, e_jcc(e, 4), r->back);
	r->slow->from[r->slow->n++] = e_jmp(e);
}

/* The last call but one, perhaps: somebody called to learn where he is. Else as any indirect branch. */
static void emit_ret(struct tr *t, struct ret *r)
{
	struct emit *e = &t->e;
	u8 *other;

	e_land(e, r->from);
	e_op(e, 0x3b, 8, H_RDX, loc_sib(H_RSP, H_NONE, 0, JIT_FRAME + 8));
	other = e_jcc(e, 5);
	e_lea(e, 8, H_RSP, loc_sib(H_RSP, H_NONE, 0, JIT_FRAME));
	jit_move_rsp(t, r->pop);
	e8(e, 0xc3);
	e_land(e, other);
	e_call_to(e, t->j->lookup);
	e_rr(e, 0x85, 8, H_RAX, H_RAX);
	r->slow->from[r->slow->n++] = e_jcc(e, 4);
	jit_move_rsp(t, r->pop);
	jit_go_to(t);
}

static void emit_full(struct tr *t, struct full *f)
{
	e_land(&t->e, f->from);
	e_load(&t->e, 8, H_RSP, C(jit.host_sp));
	e_jmp_to(&t->e, f->back);
}

static void emit_slow(struct tr *t, struct slow *s)
{
	struct emit *e = &t->e;
	u8 *go_on;

	for (u32 n = 0; n < s->n; n++)
		e_land(e, s->from[n]);
	to_slot(e, s->before, &s->redo);
	jit_move_vectors(t, s->dirty, true);
	for (u32 n = 0, next = s->next; n < s->count; n++) {
		jit_call_handler(t, s->k + n, next);
		if (n + 1 < s->count)
			next += jit_insn(t, s->k + n + 1)->len;
	}
	if (s->end) {
		jit_leave(t);
		return;
	}
	if (jit_x87_after_handler(t, jit_insn(t, s->k), &go_on)) {
		jit_leave(t);
		e_land(e, go_on);
	}
	if (s->led) {
		t->dirty = 0;
		t->flags = IN_SLOT;
		jit_unlinked(t, e_jmp(e), s->next, true);
		return;
	}
	jit_move_vectors(t, s->cached, false);
	if (s->flags & IN_HOST)
		load_flags(e);
	e_jmp_to(e, s->back);
}

static void emit_ready(struct tr *t, struct ready *r)
{
	struct emit *e = &t->e;

	for (u32 n = 0; n < r->n; n++)
		e_land(e, r->from[n]);
	to_slot(e, r->flags, &r->redo);
	jit_move_vectors(t, r->dirty, true);
	say(t, t->of[r->k], JIT_WHAT(t->sub[r->k], r->next, false));
	e_call_to(e, t->j->ready);
	jit_move_vectors(t, r->cached, false);
	if (r->flags & IN_HOST)
		load_flags(e);
	e_jmp_to(e, r->back);
}

static void emit_edge(struct tr *t, struct edge *d)
{
	struct soft_jit *j = t->j;
	struct emit *e = &t->e;
	u8 *from = d->from;

	e_land(e, from);
	if (d->dirty || d->wide) {
		jit_put_vectors(t, d->dirty, d->wide);
		if (d->link) {		/* they go home on the linked way too */
			from = e_jmp(e);
			e_land(e, from);
		}
	}
	if (!(d->flags & IN_SLOT))
		save_flags(e);
	if (d->link) {
		e_mov_imm64(e, H_RDX, (u32)(from - j->code.rw) |
				      (d->flags & IN_HOST ? JIT_EDGE_HOST_FLAGS : 0));
		say(t, t->b, d->at);
	} else {
		e_mov_imm64(e, H_RAX, d->at);
	}
	e_jmp_to(e, d->link ? j->link : j->out);
}

static void emit_far(struct tr *t, const struct far_branch *b)
{
	e_land(&t->e, b->from);
	jit_put_vectors(t, b->dirty, b->wide);
	t->k = b->k;
	t->at = t->start[b->k];
	t->next = t->at + t->insn[b->k]->len;
	t->slow = NULL;
	t->flags = b->flags;
	flags_to_slot(t);
	t->flags = IN_SLOT;
	jit_take_way_to(t, b->at, true, false);
	if (t->slow)
		t->slow->end = true;
}

void jit_emit_cold(struct tr *t)
{
	t->dirty = t->cached = 0;
	for (u32 n = 0; n < t->nr_far; n++)
		emit_far(t, &t->far[n]);
	t->flags = IN_SLOT;
	for (u32 n = 0; n < t->nr_ways; n++)
		emit_way(t, &t->ways[n]);
	if (t->ret.from)
		emit_ret(t, &t->ret);
	if (t->full.from)
		emit_full(t, &t->full);
	for (u32 n = 0; n < t->nr_refills; n++)
		emit_refill(t, &t->refills[n]);
	for (u32 n = 0; n < t->nr_slow; n++)
		emit_slow(t, &t->slows[n]);
	for (u32 n = 0; n < t->nr_ready; n++)
		emit_ready(t, &t->readies[n]);
	for (u32 n = 0; n < t->nr_edges; n++)
		emit_edge(t, &t->edges[n]);
}
