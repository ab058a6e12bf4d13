/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's arithmetic flags, made again from registers.
 *
 * Nearly all flags are looked at by nobody but, were it to fault, the next access to memory. To save them
 * before each lookup costs more than anything else about flags. But most instructions that make them can be
 * done again, for their flags alone, as long as the registers are what they were; off the straight way, where a
 * fault is found out, that costs nobody anything.
 */
#include "kvm/cpu/soft/jit/translate.h"

void jit_redo(struct emit *e, const struct redo *r)
{
	u32 w = r->size == 1 ? 0 : 1;
	struct loc dst = source(r->dst);
	int src = -1;

	if (r->kind != REDO_SAME && r->kind != REDO_TEST) {
		e_load(e, 8, H_RAX, dst);
		dst = loc_reg(H_RAX);
	}
	if (r->kind == REDO_RESULT) {
		e_op(e, 0x84 | w, r->size, H_RAX, dst);
		return;
	}
	if (r->kind == REDO_NEG) {
		e_op(e, 0xf6 | w, r->size, 3, dst);
		e_op(e, 0xf6 | w, r->size, 3, dst);
		return;
	}
	if (r->src != X86_REG_ZERO) {
		src = host_of[r->src];
		if (src == SPILLED) {
			src = H_RCX;
			e_load(e, 8, src, spill(r->src));
		}
	}
	if (r->kind == REDO_TEST) {
		e_op(e, (src < 0 ? 0xf6 : 0x84) | w, r->size, max(src, 0), dst);
		if (src < 0)
			eimm(e, r->imm, r->size);
		return;
	}
	/* Of an addition, the sum minus what was added first, and the other way round. */
	for (u32 op = r->kind == REDO_INVERSE ? 5 - r->op : r->op; ; op = r->op) {
		if (src < 0)
			e_alu_imm(e, op, r->size, dst, r->imm);
		else
			e_op(e, op << 3 | w, r->size, src, dst);
		if (op == r->op)
			return;
	}
}

/* The registers that it depends on. */
static u16 redo_needs(const struct redo *r)
{
	return BIT(r->dst & 15) | (r->src != X86_REG_ZERO && r->kind != REDO_RESULT ? BIT(r->src & 15) : 0);
}

void jit_keep_flags(struct tr *t, u32 n, const struct effect *f)
{
	u16 writes = 0;
	bool plain = true;

	if (!t->redo.kind)
		return;
	for (u32 k = t->k; k < t->k + n; k++) {
		writes |= t->writes[k];
		plain &= t->plain[k];
	}
	if (plain && !(writes & redo_needs(&t->redo)))
		return;
	if (f->exposes)
		flags_to_slot(t);
	else if (!(t->flags & IN_SLOT) && (f->reads || f->writes != WRITES_ALL))
		flags_to_host(t);
	t->redo.kind = REDO_NONE;
}
