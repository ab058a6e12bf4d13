/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AH, CH, DH and BH as operands.
 *
 * Instructions that name them cannot have a REX prefix, and the guest's registers are mostly where only REX
 * reaches. So what reads one gets a copy in CL, and what writes one works on AH with the guest's register in
 * RAX meanwhile.
 */
#include "kvm/cpu/soft/jit/translate.h"

#define AH	4	/* as modrm has it */

static bool is_high(const struct x86_insn *i, u32 r)
{
	return r - 4 < 4 && !(i->flags & X86_I_REX);
}

bool jit_high_rm(const struct x86_insn *i)
{
	return !(i->flags & X86_I_MEM) && is_high(i, i->rm);
}

bool jit_high_reg(const struct x86_insn *i)
{
	return is_high(i, i->reg);
}

/* modrm of two registers, without REX. */
static void e_pair(struct emit *e, u32 op, u32 reg, u32 rm)
{
	e8(e, op);
	e8(e, 0xc0 | reg << 3 | rm);
}

static void high_to_rax(struct tr *t, u32 r)
{
	e_mov(&t->e, 8, H_RAX, host_of[r & 3]);
}

static void high_from_rax(struct tr *t, u32 r)
{
	e_mov(&t->e, 8, host_of[r & 3], H_RAX);
}

/* The value of byte register r in the low byte of the scratch register. No flag changes. */
static void byte_to(struct tr *t, const struct x86_insn *i, u32 r, int scratch)
{
	struct emit *e = &t->e;

	if (!is_high(i, r)) {
		e_load(e, 4, scratch, source(r));
		return;
	}
	e_mov(e, 4, H_RAX, host_of[r & 3]);
	e8(e, 0x0f);
	e_pair(e, 0xb6, scratch, AH);			/* movzx scratch, ah */
}

/* The other way round. */
static void byte_from(struct tr *t, const struct x86_insn *i, u32 r, int scratch)
{
	struct emit *e = &t->e;

	if (!is_high(i, r)) {
		e_store(e, 1, scratch, source(r));
		return;
	}
	high_to_rax(t, r);
	e_pair(e, 0x88, scratch, AH);			/* mov ah, scratch */
	high_from_rax(t, r);
}

void jit_high_two(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, bool compare)
{
	/* With bit 1 of the opcode, modrm.reg is what is written; TEST has none that is. */
	bool to_reg = (op & 0xfe) != 0x84 && (op & 2), mem = i->flags & X86_I_MEM;
	u32 dst = to_reg ? i->reg : i->rm, src = to_reg ? i->rm : i->reg;
	struct emit *e = &t->e;
	struct loc m;

	op &= ~2u;					/* now it is: E, G */
	if (mem)
		m = jit_operand(t, i, 1, !to_reg && !compare);
	flags_for(t, f);
	if (mem && !to_reg) {
		byte_to(t, i, src, H_RCX);
		e_op(e, op | (i->flags & X86_I_LOCK ? OP_LOCK : 0), 1, H_RCX, m);
	} else {
		if (mem)
			e_op(e, OP_0F | 0xb6, 4, H_RCX, m);
		else
			byte_to(t, i, src, H_RCX);
		if (is_high(i, dst)) {
			high_to_rax(t, dst);
			e_pair(e, op, H_RCX, AH);
			if (!compare)
				high_from_rax(t, dst);
		} else if (compare) {
			e_op(e, op, 1, H_RCX, source(dst));
		} else {
			int d = in(t, dst, H_RDX);

			e_op(e, op, 1, H_RCX, loc_reg(d));
			out(t, dst, d);
		}
	}
	flags_written(t, f);
}

void jit_high_one(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, u32 ext, bool imm)
{
	struct emit *e = &t->e;

	flags_for(t, f);
	if (op == 0xd2)					/* a shift by CL */
		e_mov(e, 4, H_RCX, host_of[X86_RCX]);
	high_to_rax(t, i->rm);
	if (op & OP_0F)
		e8(e, 0x0f);
	e_pair(e, op, ext, AH);
	if (imm)
		e8(e, i->imm);
	/* not CMP, not TEST */
	if (!(op == 0x80 && ext == 7) && !(op == 0xf6 && ext == 0))
		high_from_rax(t, i->rm);
	flags_written(t, f);
}

void jit_high_extend(struct tr *t, const struct x86_insn *i, bool sign)
{
	struct emit *e = &t->e;

	e_mov(e, 4, H_RAX, host_of[i->rm & 3]);
	e8(e, 0x0f);
	e_pair(e, sign ? 0xbe : 0xb6, H_RAX, AH);
	if (sign && i->opsize == 8) {
		e8(e, 0x48); e8(e, 0x98);		/* cdqe */
	}
	e_store(e, i->opsize == 2 ? 2 : 8, H_RAX, source(i->reg));
}

void jit_high_exchange(struct tr *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;

	if (i->flags & X86_I_MEM) {
		struct loc m = jit_operand(t, i, 1, true);

		byte_to(t, i, i->reg, H_RCX);
		e_op(e, 0x86, 1, H_RCX, m);
		byte_from(t, i, i->reg, H_RCX);
		return;
	}
	byte_to(t, i, i->rm, H_RDX);
	byte_to(t, i, i->reg, H_RCX);
	byte_from(t, i, i->rm, H_RCX);
	byte_from(t, i, i->reg, H_RDX);
}
