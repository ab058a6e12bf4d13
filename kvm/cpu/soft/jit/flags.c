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
	u32 w = r->size == 1 ? 0 : 1, op;
	int dst = host_of[r->dst];

	if (dst == SPILLED || (r->kind != REDO_SAME && r->kind != REDO_TEST)) {
		e_load(e, 8, H_RAX, source(r->dst));
		dst = H_RAX;
	}
	switch (r->kind) {
	case REDO_RESULT:
		e_rr(e, 0x84 | w, r->size, dst, dst);
		break;
	case REDO_NEG:
		e_rr(e, 0xf6 | w, r->size, 3, dst);
		e_rr(e, 0xf6 | w, r->size, 3, dst);
		break;
	case REDO_TEST:
		if (r->src != X86_REG_ZERO) {
			e_op(e, 0x84 | w, r->size, dst, source(r->src));
		} else {
			e_rr(e, 0xf6 | w, r->size, 0, dst);
			eimm(e, r->imm, r->size);
		}
		break;
	default:
		/* Of an addition, the sum minus what was added first; and the other way round. */
		op = r->kind == REDO_INVERSE ? 5 - r->op : r->op;
		for (;; op = r->op) {
			if (r->src != X86_REG_ZERO)
				e_op(e, op << 3 | 2 | w, r->size, dst, source(r->src));
			else
				e_alu_imm(e, op, r->size, loc_reg(dst), r->imm);
			if (op == r->op)
				break;
		}
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
