/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x87 and MMX instructions: the guest's own, with its registers in the host's unit.
 *
 * That they are there, that no exception can come out of it, since all are masked, and that the
 * guest may use them now, is one byte, fpu.x87_stop: 0. A block looks at it before its first such
 * instruction and after whatever may have changed it. Otherwise the instruction is its handler's,
 * which brings the state into the unit if it can (x87.c of the folder above).
 *
 * Of the pointers to the last instruction, its page is noted once in a block, and its offset with
 * the opcode by each instruction in one store; soft_x87_sync makes of it what the manual shows.
 */
#include "kvm/cpu/soft/jit/translate.h"
#include "kvm/x86/hostop.h"

/* In tr.denied: what this block has noted already. A translation that went on in another page would
 * have to forget it there. */
#define NOTED_PAGE	BIT(6)
#define NOTED_DS	BIT(7)

static bool is_control(const struct x86_insn *i)
{
	return !(x86_op(i)->attr & X86_A_X87) || (x86_op(i)->attr & X86_A_FP_CTRL) ||
	       (x86_op(i)->host & X86_H_SPECIAL) != X86_H_PLAIN;
}

bool jit_x87_ok(const struct x86_insn *i)
{
	const struct x86_opcode *op = x86_op(i);
	u32 special = op->host & X86_H_SPECIAL;

	if (special == X86_H_FWAIT)
		return true;
	if (!i->host || !soft_is_mmx_or_x87(i) || (op->host & X86_H_FP) ||
	    (special != X86_H_PLAIN && special != X86_H_FLDCW))
		return false;
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		switch (op->op[k].kind) {
		case X86_OP_NONE: case X86_OP_M: case X86_OP_ST: case X86_OP_ACC: case X86_OP_P:
		case X86_OP_Q: case X86_OP_E: case X86_OP_G: case X86_OP_I: case X86_OP_IS:
			break;
		default:
			return false;
		}
	}
	return true;
}

static void unit_ready(struct tr *t)
{
	struct emit *e = &t->e;

	if (t->denied & X86_DENY_X87)
		return;
	flags_to_slot(t);
	e_op(e, OP_0F | 0xb6, 4, H_RCX, C(fpu.x87_stop));	/* movzx */
	e8(e, 0xe3); e8(e, 5);					/* jrcxz: over the jump */
	jit_slow_if(t, e_jmp(e));
	t->denied |= X86_DENY_X87;
}

static void note_page(struct tr *t)
{
	e_load(&t->e, 8, H_RAX, C(jit.page));
	e_store(&t->e, 8, H_RAX, C(fpu.x87_page));
}

static void note_selector(struct tr *t, struct loc field, u32 seg)
{
	s32 sel = offsetof(struct x86_cpu, seg) + seg * sizeof(struct x86_segment) +
		  offsetof(struct x86_segment, sel);
	struct emit *e = &t->e;

	if (x86_has(t->c, X86_FEATURE_ZERO_FCS_FDS))
		e_mov_imm64(e, H_RAX, 0);
	else
		e_op(e, OP_0F | 0xb7, 4, H_RAX, loc_mem(H_RBP, sel - BIAS));
	e_store(e, 2, H_RAX, field);
}

static void note_instruction(struct tr *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;

	if (!(t->denied & NOTED_PAGE)) {
		note_page(t);
		note_selector(t, C(fpu.fcs), X86_SEG_CS);
		t->denied |= NOTED_PAGE;
	}
	e_op(e, 0xc7, 4, 0, C(fpu.x87_last));
	e32(e, (u32)((x86_op(i)->opcode & 7) << 8 | i->imm2) << 16 | X86_X87_LAST | t->at);
}

/* Can the operand's offset be computed once more, without RDX, which its host address is in then? */
static bool offset_again(const struct x86_insn *i)
{
	return i->base >= 16 || host_of[i->base] != SPILLED;
}

/* The operand's offset, to be noted when nothing can fail any more. */
static void keep_offset(struct tr *t, const struct x86_insn *i)
{
	struct ea a = jit_insn_ea(t, i);

	if (offset_again(i))
		return;
	jit_ea_to(t, &a, H_RAX, i->addrsize);
	e_store(&t->e, 8, H_RAX, C(jit.tmp));
}

static void note_operand(struct tr *t, const struct x86_insn *i)
{
	s32 fdp = offsetof(struct x86_cpu, fpu.fx) + X86_FX_FDP;
	struct ea a = jit_insn_ea(t, i);
	struct emit *e = &t->e;

	if (offset_again(i))
		jit_ea_to(t, &a, H_RAX, i->addrsize);
	else
		e_load(e, 8, H_RAX, C(jit.tmp));
	e_store(e, 8, H_RAX, loc_mem(H_RBP, fdp - BIAS));
	if (i->seg != X86_SEG_FLAT && i->seg != X86_SEG_DS) {
		note_selector(t, C(fpu.fds), i->seg);
		t->denied &= ~NOTED_DS;
	} else if (!(t->denied & NOTED_DS)) {
		note_selector(t, C(fpu.fds), X86_SEG_DS);
		t->denied |= NOTED_DS;
	}
}

/* A control word that masks all, from a copy that no other vCPU can change in between. */
static void emit_fldcw(struct tr *t, struct loc m)
{
	struct emit *e = &t->e;

	e_op(e, OP_0F | 0xb7, 4, H_RAX, m);
	e_store(e, 4, H_RAX, C(jit.tmp));
	e_op(e, 0xf7, 4, 2, loc_reg(H_RAX));		/* not */
	e8(e, 0xa8); e8(e, 0x3f);			/* test al, 0x3f */
	jit_slow_if(t, e_jcc(e, 5));
	e_op(e, 0xd9, 4, 5, C(jit.tmp));
}

void jit_emit_x87(struct tr *t, const struct x86_insn *i, const struct effect *f)
{
	const struct x86_opcode *op = x86_op(i);
	const struct soft_thunk *thunk = i->host;
	bool mem = i->flags & X86_I_MEM, control = is_control(i), imm = false;
	bool offset = mem && !control && !x86_has(t->c, X86_FEATURE_FDP_EXCPTN_ONLY);
	int reg = op->reg >= 0 ? op->reg : 0, out_gpr = -1, out_host = 0;
	struct loc m = loc_reg(op->rm >= 0 ? op->rm : 0);
	struct emit *e = &t->e;

	unit_ready(t);
	if ((op->host & X86_H_SPECIAL) == X86_H_FWAIT)
		return;
	if (offset)
		keep_offset(t, i);
	if (mem)
		m = jit_operand(t, i, thunk->mem_size, jit_writes_memory(op));
	if ((op->host & X86_H_SPECIAL) == X86_H_FLDCW) {
		emit_fldcw(t, m);
		return;
	}
	if (op->mod == X86_MOD_NONE) {
		e8(e, 0x0f); e8(e, op->opcode);			/* emms */
		return;
	}
	flags_for(t, f);
	if (offset)
		note_operand(t, i);
	if (!control)
		note_instruction(t, i);
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		const struct x86_operand *o = &op->op[k];

		switch (o->kind) {
		case X86_OP_P:
			reg = i->reg & 7;
			break;
		case X86_OP_Q: case X86_OP_ST:
			if (!mem)
				m = loc_reg(i->rm & 7);
			break;
		case X86_OP_I: case X86_OP_IS:
			imm = true;
			break;
		case X86_OP_G: case X86_OP_E: {
			int g = o->kind == X86_OP_G ? i->reg : i->rm, h;

			if (o->kind == X86_OP_E && mem)
				break;
			h = o->access & X86_WR ? target(g, H_RCX) : in(t, g, H_RCX);
			if (o->access & X86_WR) {
				out_gpr = g;
				out_host = h;
			}
			if (o->kind == X86_OP_G)
				reg = h;
			else
				m = loc_reg(h);
			break;
		}
		}
	}
	e_op(e, jit_host_opcode(op), soft_insn_w(i) ? 8 : 4, reg, m);
	if (imm)
		e8(e, i->imm2);
	if (out_gpr >= 0)
		out(t, out_gpr, out_host);
	if (!mem && op->op[0].kind == X86_OP_ACC)		/* fnstsw ax */
		e_store(e, 2, H_RAX, loc_reg(host_of[X86_RAX]));
	flags_written(t, f);
}

bool jit_x87_after_handler(struct tr *t, const struct x86_insn *i, u8 **go_on)
{
	struct emit *e = &t->e;

	if (!jit_x87_ok(i))
		return false;
	if (!is_control(i))
		note_page(t);
	e_alu_imm(e, 7, 1, C(fpu.x87_stop), 0);
	*go_on = e_jcc(e, 4);
	return true;
}
