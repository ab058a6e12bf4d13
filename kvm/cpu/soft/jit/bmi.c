/* SPDX-License-Identifier: GPL-2.0-only */
/* BMI, ADX, MOVBE and CRC32: general registers, but with opcodes behind the vector instructions' escapes. */
#include "kvm/cpu/soft/jit/translate.h"

static void vex(struct tr *t, const struct x86_insn *i, int reg, int vvvv, struct loc m)
{
	const struct x86_opcode *op = x86_op(i);

	e_vex(&t->e, op->map, jit_vex_pp(op), i->opsize == 8, false, op->opcode, reg, vvvv, m);
}

/* RDX times E: the upper half to G, the lower to B. If they are the same, the upper is what stays. */
static void mulx(struct tr *t, const struct x86_insn *i, struct loc m)
{
	int high = target(i->reg, H_RAX), low = target(i->vvvv, H_RCX);

	if (m.mem) {
		e_load(&t->e, i->opsize, H_RCX, m);
		m = loc_reg(H_RCX);
	}
	e_mov(&t->e, 8, H_RDX, host_of[X86_RDX]);
	vex(t, i, high, low, m);
	out(t, i->vvvv, low);
	out(t, i->reg, high);
}

bool jit_bmi_ok(const struct x86_insn *i, u32 what)
{
	switch (what) {
	case JIT_CRC32:
		return i->opsize != 2 && (i->opsize != 1 || (i->flags & X86_I_MEM) || (i->flags & X86_I_REX) ||
					  i->rm < 4);
	case JIT_MOVBE_LOAD:
	case JIT_MOVBE_STORE:
		return i->opsize != 2;
	}
	return true;
}

void jit_emit_bmi(struct tr *t, const struct x86_insn *i, u32 what, const struct effect *f)
{
	u32 op = jit_host_opcode(x86_op(i)), size = i->opsize;
	struct emit *e = &t->e;
	struct loc m;
	int d;

	if (i->flags & X86_I_MEM)
		m = jit_operand(t, i, size, what == JIT_MOVBE_STORE);
	else
		m = source(i->rm);
	flags_for(t, f);
	switch (what) {
	case JIT_BMI_3:		/* G, B and E, whichever of the latter is shifted or masked by the other */
		d = target(i->reg, H_RAX);
		vex(t, i, d, in(t, i->vvvv, H_RCX), m);
		out(t, i->reg, d);
		break;
	case JIT_BMI_B:		/* from E to B */
		d = target(i->vvvv, H_RAX);
		vex(t, i, x86_op(i)->reg, d, m);
		out(t, i->vvvv, d);
		break;
	case JIT_RORX:
		d = target(i->reg, H_RAX);
		vex(t, i, d, 0, m);
		e8(e, i->imm);
		out(t, i->reg, d);
		break;
	case JIT_MULX:
		mulx(t, i, m);
		break;
	case JIT_ADX:
		d = in(t, i->reg, H_RCX);
		e_op(e, op, size, d, m);
		out(t, i->reg, d);
		break;
	case JIT_CRC32:
		d = in(t, i->reg, H_RCX);
		e_op(e, op | OP_REX, size == 1 ? 4 : size, d, m);
		out(t, i->reg, d);
		break;
	case JIT_MOVBE_LOAD:
		d = target(i->reg, H_RAX);
		e_op(e, op, size, d, m);
		out(t, i->reg, d);
		break;
	case JIT_MOVBE_STORE:
		e_op(e, op, size, in(t, i->reg, H_RAX), m);
		break;
	}
	flags_written(t, f);
}
