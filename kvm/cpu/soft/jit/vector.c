/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SSE and AVX instructions: the guest's own, with its vector registers in the host's of the same number.
 * Within a block they are loaded when first used and stored before C code or another block runs.
 */
#include "kvm/cpu/soft/jit/translate.h"
#include "kvm/x86/hostop.h"

u32 jit_host_opcode(const struct x86_opcode *op)
{
	static const u32 prefix[] = { [X86_PFX_66] = OP_66, [X86_PFX_F3] = OP_F3, [X86_PFX_F2] = OP_F2 };
	static const u32 map[] = { [X86_MAP_1] = 0, [X86_MAP_0F] = OP_0F, [X86_MAP_0F38] = OP_0F38,
				   [X86_MAP_0F3A] = OP_0F3A };

	return op->opcode | map[op->map] | (op->pfx < ARRAY_SIZE(prefix) ? prefix[op->pfx] : 0);
}

u32 jit_vex_pp(const struct x86_opcode *op)
{
	static const u8 pp[] = { [X86_PFX_66] = 1, [X86_PFX_F3] = 2, [X86_PFX_F2] = 3 };

	return op->pfx < ARRAY_SIZE(pp) ? pp[op->pfx] : 0;
}

bool jit_writes_memory(const struct x86_opcode *op)
{
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		u8 kind = op->op[k].kind;

		if ((op->op[k].access & X86_WR) && (kind == X86_OP_M || kind == X86_OP_E || kind == X86_OP_W ||
						    kind == X86_OP_Q))
			return true;
	}
	return false;
}

static void move_vector(struct tr *t, u32 n, bool store)
{
	struct loc m = loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, fpu.ymm) + 32 * (s32)n - BIAS);

	if (t->wide)
		e_vex(&t->e, 1, 0, false, true, store ? 0x11 : 0x10, n, 0, m);
	else
		e_op(&t->e, OP_0F | (store ? 0x11 : 0x10), 4, n, m);
}

void jit_move_vectors(struct tr *t, u32 mask, bool store)
{
	for (u32 n = 0; n < 16; n++)
		if (mask & BIT(n))
			move_vector(t, n, store);
}

static void emit_vzeroupper(struct emit *e)
{
	e8(e, 0xc5); e8(e, 0xf8); e8(e, 0x77);
}

void jit_put_vectors(struct tr *t, u32 dirty, bool wide)
{
	jit_move_vectors(t, dirty, true);
	if (wide)
		emit_vzeroupper(&t->e);
}

void jit_vectors_home(struct tr *t)
{
	jit_put_vectors(t, t->dirty, t->wide && t->cached);
	t->cached = t->dirty = 0;
	t->denied = 0;
	t->mxcsr = false;
}

u32 jit_vectors_of(const struct x86_insn *i, bool written)
{
	u32 mask = 0;

	for (u32 k = 0; k < ARRAY_SIZE(x86_op(i)->op); k++) {
		const struct x86_operand *o = &x86_op(i)->op[k];

		if (written && !(o->access & X86_WR))
			continue;
		switch (o->kind) {
		case X86_OP_V: mask |= BIT(i->reg); break;
		case X86_OP_H: mask |= BIT(i->vvvv); break;
		case X86_OP_L: mask |= BIT((i->imm2 >> 4) & 15); break;
		case X86_OP_W: mask |= i->flags & X86_I_MEM ? 0 : BIT(i->rm); break;
		}
	}
	if (x86_op(i)->host & (X86_H_WR_XMM0 | (written ? 0 : X86_H_RD_XMM0)))
		mask |= BIT(0);
	return mask;
}

bool jit_vector_ok(const struct x86_insn *i)
{
	const struct x86_opcode *op = x86_op(i);
	u32 special = op->host & X86_H_SPECIAL;

	if (!i->host || soft_is_mmx_or_x87(i) || (special != X86_H_PLAIN && special != X86_H_MOVE) ||
	    (op->host & (X86_H_RD_LEN | X86_H_RD_FLAGS)) || (op->attr & X86_A_END))
		return false;
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		const struct x86_operand *o = &op->op[k];

		switch (o->kind) {
		case X86_OP_NONE: case X86_OP_V: case X86_OP_H: case X86_OP_W: case X86_OP_L:
		case X86_OP_M: case X86_OP_I: case X86_OP_IS: case X86_OP_G: case X86_OP_E:
			break;
		default:
			return false;
		}
	}
	/* VCVTPS2PH stores what may yet fault. */
	return !((op->host & X86_H_FP) && (i->flags & X86_I_MEM) && op->op[0].kind == X86_OP_W);
}

/* May it run, and does the host's MXCSR hold the guest's? Asked once, until C code has run. No flag
 * changes. */
static void vector_ready(struct tr *t, const struct x86_insn *i)
{
	/* By what c->fpu.deny is: whether one of these bits is set in it. */
	static const u8 denies[2][16] = {
		{ 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1 },	/* X86_DENY_SSE */
		{ 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 },	/* X86_DENY_AVX */
	};
	bool avx = x86_op(i)->vex != X86_LEGACY, fp = x86_op(i)->host & X86_H_FP;
	u8 bit = avx ? X86_DENY_AVX : X86_DENY_SSE;
	struct emit *e = &t->e;
	struct ready *r;

	if ((t->denied & bit) && (!fp || t->mxcsr))
		return;
	r = &t->readies[t->nr_ready++];
	*r = (struct ready){ .k = t->k, .next = t->next, .flags = t->flags, .redo = t->redo,
			     .dirty = t->dirty, .cached = t->cached };
	if (!(t->denied & bit)) {
		e_op(e, OP_0F | 0xb6, 4, H_RCX, C(fpu.deny));		/* movzx */
		e_mov_imm64(e, H_RAX, (u64)denies[avx]);
		e_op(e, OP_0F | 0xb6, 4, H_RCX, loc_sib(H_RAX, H_RCX, 0, 0));
		e8(e, 0xe3); e8(e, 5);					/* jrcxz: over the jump */
		r->from[r->n++] = e_jmp(e);
	}
	if (fp && !t->mxcsr) {
		e_op(e, OP_0F | 0xb6, 4, H_RCX, C(fpu.mxcsr_live));
		e8(e, 0xe3); e8(e, 2);					/* jrcxz: to the jump */
		e8(e, 0xeb); e8(e, 5);
		r->from[r->n++] = e_jmp(e);
	}
	r->back = e->p;
	t->denied |= bit;
	t->mxcsr |= fp;
}

static void vector_use(struct tr *t, u32 n, u8 access, bool vex)
{
	/* A legacy instruction leaves the upper half. */
	bool reads = (access & X86_RD) || (t->wide && !vex);

	if (reads && !(t->cached & BIT(n))) {
		move_vector(t, n, false);
		t->cached |= BIT(n);
	}
}

void jit_emit_vector(struct tr *t, const struct x86_insn *i, const struct effect *f)
{
	const struct x86_opcode *op = x86_op(i);
	const struct soft_thunk *thunk = i->host;
	bool mem = i->flags & X86_I_MEM, vex = op->vex != X86_LEGACY, imm = false;
	int reg = op->reg >= 0 ? op->reg : 0, vvvv = 0, out_gpr = -1, out_host = 0, four = -1;
	struct emit *e = &t->e;
	struct loc m = loc_reg(op->rm >= 0 ? op->rm : 0);
	u32 written = 0;

	vector_ready(t, i);
	if (mem) {
		m = jit_operand(t, i, thunk->mem_size, jit_writes_memory(op));
		if (thunk->align_mask) {
			flags_away(t);
			e_lea(e, 4, H_RAX, m);
			e8(e, 0xa8); e8(e, thunk->align_mask);		/* test al, mask */
			jit_slow_if(t, e_jcc(e, 5));
		}
	}
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		const struct x86_operand *o = &op->op[k];
		int n = -1;

		switch (o->kind) {
		case X86_OP_V: n = reg = i->reg; break;
		case X86_OP_H: n = vvvv = i->vvvv; break;
		case X86_OP_L: n = four = (i->imm2 >> 4) & 15; break;
		case X86_OP_W:
			if (!mem) {
				n = i->rm;
				m = loc_reg(n);
			}
			break;
		case X86_OP_I: case X86_OP_IS:
			imm = true;
			break;
		case X86_OP_G: case X86_OP_E: {
			int g = o->kind == X86_OP_G ? i->reg : i->rm, h;

			if (o->kind == X86_OP_E && mem)
				break;
			if (o->access & X86_WR) {
				h = o->access & X86_RD ? in(t, g, H_RCX) : target(g, H_RCX);
				out_gpr = g;
				out_host = h;
			} else {
				h = in(t, g, H_RCX);
			}
			if (o->kind == X86_OP_G)
				reg = h;
			else
				m = loc_reg(h);
			break;
		}
		}
		if (n < 0)
			continue;
		vector_use(t, n, o->access, vex);
		if (o->access & X86_WR)
			written |= BIT(n);
	}
	if (op->host & (X86_H_RD_XMM0 | X86_H_WR_XMM0)) {
		vector_use(t, 0, op->host & X86_H_RD_XMM0 ? X86_RD : X86_WR, vex);
		if (op->host & X86_H_WR_XMM0)
			written |= BIT(0);
	}
	if (vex) {
		e_vex(e, op->map, jit_vex_pp(op), soft_insn_w(i), soft_insn_256(i), op->opcode, reg, vvvv, m);
	} else {
		e_op(e, jit_host_opcode(op), soft_insn_w(i) ? 8 : 4, reg, m);
	}
	if (four >= 0)
		e8(e, four << 4 | (i->imm2 & 15));
	else if (imm)
		e8(e, i->imm2);
	t->cached |= written;
	t->dirty |= written;
	if (out_gpr >= 0)
		out(t, out_gpr, out_host);
	if (op->host & X86_H_WR_ECX)
		e_mov(e, 8, host_of[X86_RCX], H_RCX);
	flags_written(t, f);
}

void jit_emit_vzeroupper(struct tr *t, const struct x86_insn *i)
{
	struct emit *e = &t->e;

	vector_ready(t, i);
	jit_move_vectors(t, t->dirty, true);
	t->cached = t->dirty = 0;
	e_op(e, OP_0F | 0x57, 4, 0, loc_reg(0));	/* xorps xmm0, xmm0 */
	for (s32 n = 0; n < (t->word == 8 ? 16 : 8); n++)
		e_op(e, OP_0F | 0x11, 4, 0,
		     loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, fpu.ymm) + 32 * n + 16 - BIAS));
	emit_vzeroupper(e);
}
