/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One decoded block to host code.
 *
 * Most integer instructions become the same instruction on other registers, between the software TLB's
 * lookup where they touch memory. What is not known here, and whatever goes wrong on the way, becomes a
 * call of the interpreter's handler, so everything can be translated and faults come out of one place.
 */
#include "kvm/cpu/soft/jit/translate.h"
#include "kvm/x86/handlers_int.h"
#include "kvm/x86/hostop.h"

/* ---- kinds of instructions ---- */

#define K(name, k, a)	{ &x86_op_##name, k, a }
#define K_ALU3(name, n)	K(name##_er, K_ALU_ER, n), K(name##_re, K_ALU_RE, n), K(name##_ei, K_ALU_EI, n)
#define K_SHIFT3(name, n) K(name##_ei, K_SHIFT_I, n), K(name##_e1, K_SHIFT_1, n), K(name##_ec, K_SHIFT_C, n)
#define K_CONDITION(name, cc) K(j##name, K_JCC, cc), K(set##name, K_SETCC, cc), K(cmov##name, K_CMOV, cc),

static const struct kind_of kinds[] = {
	K_ALU3(add, 0), K_ALU3(or, 1), K_ALU3(adc, 2), K_ALU3(sbb, 3),
	K_ALU3(and, 4), K_ALU3(sub, 5), K_ALU3(xor, 6), K_ALU3(cmp, 7),
	K(test_er, K_TEST_ER, 0), K(test_ei, K_TEST_EI, 0),
	K(mov_er, K_MOV_ER, 0), K(mov_re, K_MOV_RE, 0), K(mov_ei, K_MOV_EI, 0), K(lea, K_LEA, 0),
	K(mov_ao, K_MOV_O, 0), K(mov_oa, K_MOV_O, 1),
	K(movzx_b, K_MOVZX_B, 0), K(movzx_w, K_MOVZX_W, 0), K(movsx_b, K_MOVSX_B, 0),
	K(movsx_w, K_MOVSX_W, 0), K(movsxd, K_MOVSXD, 0),
	K(inc_e, K_INC, 0), K(dec_e, K_DEC, 0), K(neg_e, K_NEG, 0), K(not_e, K_NOT, 0),
	K_SHIFT3(rol, 0), K_SHIFT3(ror, 1), K_SHIFT3(rcl, 2), K_SHIFT3(rcr, 3),
	K_SHIFT3(shl, 4), K_SHIFT3(shr, 5), K_SHIFT3(sar, 7),
	K(shld_i, K_SHD_I, 0), K(shld_c, K_SHD_C, 0), K(shrd_i, K_SHD_I, 1), K(shrd_c, K_SHD_C, 1),
	K(imul_ge, K_IMUL_GE, 0), K(imul_gei, K_IMUL_GEI, 0), K(mul_e, K_MUL, 0), K(imul_e, K_IMUL, 0),
	K(div_e, K_DIV, 0), K(idiv_e, K_IDIV, 0),
	K(push_e, K_PUSH_E, 0), K(push_i, K_PUSH_I, 0), K(pop_e, K_POP_E, 0), K(leave, K_LEAVE, 0),
	K(call_j, K_CALL_J, 0), K(call_e, K_CALL_E, 0), K(ret, K_RET, 0), K(jmp_j, K_JMP_J, 0),
	K(jmp_e, K_JMP_E, 0),
	X86_FOR_CONDITIONS(K_CONDITION)
	K(bt_ei, K_BT_I, 4), K(bts_ei, K_BT_I, 5), K(btr_ei, K_BT_I, 6), K(btc_ei, K_BT_I, 7),
	K(bt_er, K_BT_R, 4), K(bts_er, K_BT_R, 5), K(btr_er, K_BT_R, 6), K(btc_er, K_BT_R, 7),
	K(xchg, K_XCHG, 0), K(xadd, K_XADD, 0), K(cmpxchg, K_CMPXCHG, 0), K(bswap, K_BSWAP, 0),
	K(cbw, K_CBW, 0), K(cwd, K_CWD, 0), K(nop, K_NOP, 0),
	K(cmc, K_CARRY, 0xf5), K(clc, K_CARRY, 0xf8), K(stc, K_CARRY, 0xf9),
	K(popcnt, K_COUNT, 0), K(tzcnt, K_COUNT, 1), K(lzcnt, K_COUNT, 2), K(bsf, K_COUNT, 3),
	K(bsr, K_COUNT, 4),
	K(andn, K_BMI, JIT_BMI_3), K(bextr, K_BMI, JIT_BMI_3), K(bzhi, K_BMI, JIT_BMI_3), K(pdep, K_BMI, JIT_BMI_3),
	K(pext, K_BMI, JIT_BMI_3), K(sarx, K_BMI, JIT_BMI_3), K(shlx, K_BMI, JIT_BMI_3), K(shrx, K_BMI, JIT_BMI_3),
	K(blsi, K_BMI, JIT_BMI_B), K(blsmsk, K_BMI, JIT_BMI_B), K(blsr, K_BMI, JIT_BMI_B),
	K(rorx, K_BMI, JIT_RORX), K(mulx, K_BMI, JIT_MULX), K(adcx, K_BMI, JIT_ADX), K(adox, K_BMI, JIT_ADX),
	K(crc32, K_BMI, JIT_CRC32), K(movbe_load, K_BMI, JIT_MOVBE_LOAD), K(movbe_store, K_BMI, JIT_MOVBE_STORE),
	K(movs, K_STRING, JIT_MOVS), K(stos, K_STRING, JIT_STOS), K(lods, K_STRING, JIT_LODS),
	K(cmps, K_STRING, JIT_CMPS), K(scas, K_STRING, JIT_SCAS),
	K(cld, K_DIRECTION, 0), K(std, K_DIRECTION, 1),
};

/* Instead of an index into kinds[]. */
#define NOT_DONE	0xff
#define ON_HOST		0xfe

void jit_classify(struct soft_jit *j)
{
	for (u32 row = 0; row < x86_optable_size; row++) {
		const struct x86_opcode *op = &x86_optable[row];

		j->kind[row] = NOT_DONE;
		if (op->attr & X86_A_HOST) {
			j->kind[row] = ON_HOST;
			continue;
		}
		for (u32 k = 0; k < ARRAY_SIZE(kinds); k++) {
			if (kinds[k].handler == op->handler)
				j->kind[row] = k;
		}
	}
}

bool jit_knows_row(const struct soft_jit *j, u32 row)
{
	return j->kind[row] != NOT_DONE;
}

/* ---- the stack ---- */

static struct loc stack(struct tr *t, s32 disp, bool write)
{
	struct ea a = { X86_RSP, X86_REG_ZERO, 0, X86_SEG_FLAT, t->word, disp };

	return jit_lookup(t, a, t->word, write);
}

void jit_move_rsp(struct tr *t, s32 by)
{
	e_lea(&t->e, t->word, host_of[X86_RSP], loc_mem(host_of[X86_RSP], by));
}

/* ---- leaving ---- */

/* The translation of the place in this page, if there is one. */
static u8 *translated(struct tr *t, u32 at, bool host_flags)
{
	struct soft_block *b;

	if (t->page + at == soft_block_host(t->b))
		return t->entry[host_flags];
	b = soft_icache_peek(soft_icache(t->c), t->page + at, t->c->mode);
	return b && b->jit_slot ? jit_entry(t->j, b, host_flags) - t->e.to_rx : NULL;
}

void jit_unlinked(struct tr *t, u8 *jump, u32 at, bool link)
{
	t->edges[t->nr_edges++] = (struct edge){ jump, at, t->dirty, t->wide && t->cached, t->flags, link };
}

/* Jumps out to `at`, where somebody wants something. RCX is lost, flags are not. */
static void look_up(struct tr *t, u32 at)
{
	struct emit *e = &t->e;

	e_load(e, 4, H_RCX, C(attention));
	e8(e, 0xe3); e8(e, 5);			/* jrcxz: over the jump */
	jit_unlinked(t, e_jmp(e), at, false);
}

/* Jumps (cc: 16 for always) to a place in this page. Backwards it first looks whether somebody wants
 * something; no loop goes without that. */
static void edge(struct tr *t, u32 cc, u32 at)
{
	struct emit *e = &t->e;
	u8 *over = NULL, *to, *jump;
	bool host_flags;

	if (!(t->flags & IN_SLOT))
		flags_to_host(t);
	host_flags = t->flags & IN_HOST;

	if (at <= t->at) {
		if (cc < 16) {
			over = e_jcc(e, cc ^ 1);
			cc = 16;
		}
		look_up(t, at);
	}
	jump = cc < 16 ? e_jcc(e, cc) : e_jmp(e);
	/* On the way, vector registers may have to go home. */
	to = t->dirty || (t->wide && t->cached) ? NULL : translated(t, at, host_flags);
	if (to)
		e_patch(e, jump, to);
	else
		jit_unlinked(t, jump, at, true);
	if (over)
		e_land(e, over);
}

/*
 * The end of a block that is a loop with vector registers: they stay in the host's on the way back, and go
 * home where the loop ends.
 */
static void edge_again(struct tr *t, u32 cc)
{
	struct emit *e = &t->e;
	u8 *over, flags;

	if (t->again_flags == IN_SLOT)
		flags_to_slot(t);
	over = e_jcc(e, cc ^ 1);
	t->dirty = t->loop_written;
	flags = t->flags;
	look_up(t, t->start[0]);
	e_jmp_to(e, t->again);
	e_land(e, over);
	t->flags = flags;
}

/* RDX is a linear address: its code to RAX. Not known: the handler. The flags are in the slot. */
static void find_code(struct tr *t)
{
	struct emit *e = &t->e;

	e_call_to(e, t->j->lookup);
	e_rr(e, 0x85, 8, H_RAX, H_RAX);			/* test rax, rax */
	jit_slow_if(t, e_jcc(e, 4));
}

void jit_go_to(struct tr *t)
{
	struct emit *e = &t->e;

	e_alu_imm(e, 4, 8, loc_reg(H_RDX), -4096);
	e_store(e, 8, H_RDX, C(jit.page));
	e_op(e, 0xff, 4, 4, loc_reg(H_RAX));		/* jmp rax */
}

static void page_plus(struct tr *t, int dst, s32 at)
{
	e_load(&t->e, 8, dst, C(jit.page));
	if (at)
		e_lea(&t->e, t->word, dst, loc_mem(dst, at));
}

static void push_return(struct tr *t);
static void push_frame(struct tr *t);

void jit_take_way_to(struct tr *t, s32 at, bool branch, bool call)
{
	struct soft_jit *j = t->j;
	struct emit *e = &t->e;
	struct way *w;
	u32 number;
	u8 *jump;

	number = j->nr_ways++;
	w = &t->ways[t->nr_ways++];
	e_alu_imm(e, 7, 4, C(attention), 0);
	w->from[0] = e_jcc(e, 5);
	e_load(e, 8, H_RAX, C(jit.ways));
	e_load(e, 8, H_RAX, loc_mem(H_RAX, number * sizeof(j->ways[0])));
	e_op(e, 0x3b, 8, H_RAX, C(jit.key));
	w->from[1] = e_jcc(e, 5);
	w->at = at;
	w->number = number;
	w->slow = branch ? jit_slow(t) : NULL;
	w->back = e->p;
	if (call) {
		push_return(t);
		push_frame(t);
	}
	e_alu_imm(e, 0, t->word, C(jit.page), at & (s32)PAGE_MASK);
	jump = call ? e_call(e) : e_jmp(e);
	j->way_jump[number] = jump - j->code.rw;
}

/* Goes on at a place of this page or, at < 0 or beyond it, of another one. `k` is the branch, whose
 * handler does it where the target is not known; a block without a branch at its end has none. */
static void go_on(struct tr *t, s32 at, bool branch)
{
	if (at >= 0 && at < (s32)PAGE_SIZE) {
		edge(t, 16, at);
		return;
	}
	flags_to_slot(t);
	t->flags = IN_SLOT;
	jit_take_way_to(t, at, branch, false);
}

/* An instruction that made the flags: can it be done again? */
static void note_redo(struct tr *t, const struct x86_insn *i, const struct kind_of *kd)
{
	bool from_rm = kd->kind == K_ALU_RE;
	struct redo r = {
		.op = kd->arg, .size = i->opsize, .dst = from_rm ? i->reg : i->rm,
		.src = from_rm ? i->rm : kd->kind == K_ALU_ER || kd->kind == K_TEST_ER ? i->reg : X86_REG_ZERO,
		.imm = (s32)i->imm,
	};

	if (i->flags & X86_I_MEM)
		return;
	switch (kd->kind) {
	case K_TEST_ER: case K_TEST_EI:
		r.kind = REDO_TEST;
		break;
	case K_NEG:
		r.kind = REDO_NEG;
		break;
	case K_ALU_ER: case K_ALU_RE: case K_ALU_EI:
		if (kd->arg == 7)
			r.kind = REDO_SAME;
		else if (kd->arg == 1 || kd->arg == 4 || kd->arg == 6)
			r.kind = REDO_RESULT;
		else if ((kd->arg == 0 || kd->arg == 5) && r.src != r.dst)
			r.kind = REDO_INVERSE;
		break;
	}
	t->redo = r;
}

/* ---- instructions ---- */

/* Does the instruction name AH, CH, DH or BH? */
static bool uses_high_byte(const struct x86_insn *i, const struct kind_of *kd)
{
	bool rm = jit_high_rm(i), reg = jit_high_reg(i);

	switch (kd->kind) {
	case K_SETCC: case K_MOVZX_B: case K_MOVSX_B:
		return rm;
	case K_ALU_EI: case K_TEST_EI: case K_MOV_EI: case K_INC: case K_DEC: case K_NEG: case K_NOT:
	case K_SHIFT_I: case K_SHIFT_1: case K_SHIFT_C: case K_MUL: case K_IMUL: case K_DIV: case K_IDIV:
		return i->opsize == 1 && rm;
	case K_ALU_ER: case K_ALU_RE: case K_TEST_ER: case K_MOV_ER: case K_MOV_RE: case K_XCHG: case K_XADD:
	case K_CMPXCHG:
		return i->opsize == 1 && (rm || reg);
	default:
		return false;
	}
}

/* Such ones that are rare. */
static bool high_byte_by_call(const struct x86_insn *i, const struct kind_of *kd)
{
	switch (kd->kind) {
	case K_MUL: case K_IMUL: case K_DIV: case K_IDIV: case K_XADD: case K_CMPXCHG:
		return uses_high_byte(i, kd);
	default:
		return false;
	}
}

struct kind_of jit_kind_of(struct tr *t, const struct x86_insn *i)
{
	const struct kind_of call = { NULL, K_CALL, 0 };
	u8 k = t->j->kind[i->row];
	bool mem = i->flags & X86_I_MEM, address;
	struct kind_of kd;

	if (k == NOT_DONE)
		return call;
	if (k == ON_HOST) {
		if ((x86_op(i)->host & X86_H_SPECIAL) == X86_H_VZERO && !(i->flags & X86_I_VEXL))
			return (struct kind_of){ NULL, K_VZEROUPPER, 0 };
		kd = jit_vector_ok(i) ? (struct kind_of){ NULL, K_VECTOR, 0 } :
		     jit_x87_ok(i) && t->x87_masked ? (struct kind_of){ NULL, K_X87, 0 } : call;
	} else {
		kd = kinds[k];
	}
	if (high_byte_by_call(i, &kd))
		return call;
	address = kd.kind == K_MOV_O || (mem && kd.kind != K_NOP && kd.kind != K_LEA);
	if (address || kd.kind == K_LEA) {
		struct ea a = { .disp = i->disp + (i->base == X86_REG_RIP ? (s64)PAGE_SIZE : 0) };

		/* LEA's may have any. */
		if ((!jit_ea_fits(&a, 32) && (address || i->base == X86_REG_RIP)) || i->addrsize == 2)
			return call;
		/* Outside 64-bit mode the other segments are flat, or this code does not run (jit_flat). */
		if (address && (t->word == 8 ? i->seg < X86_SEG_FS : i->seg == X86_SEG_CS))
			return call;
	}
	switch (kd.kind) {
	case K_NOP:		/* PAUSE may have a meaning */
		return x86_op(i)->opcode == 0x90 && (i->flags & X86_I_REP) ? call : kd;
	case K_MOVSXD:
		return i->opsize == 2 ? call : kd;
	case K_PUSH_E: case K_PUSH_I: case K_POP_E: case K_LEAVE:
		return i->opsize != t->word || (kd.kind == K_POP_E && mem) ? call : kd;
	case K_CALL_J: case K_CALL_E: case K_RET: case K_JMP_J: case K_JMP_E: case K_JCC:
		if (i->opsize != t->word)
			return call;
		if (kd.kind == K_CALL_J || kd.kind == K_JMP_J || kd.kind == K_JCC) {
			struct ea a = { .disp = (s64)i->imm + 2 * (s64)PAGE_SIZE };

			return jit_ea_fits(&a, 0) && (s64)i->imm > -0x7fff0000ll ? kd : call;
		}
		return kd;
	case K_BT_R:		/* with memory, a bit string of any length */
		return mem ? call : kd;
	case K_SHD_I: case K_SHD_C: case K_BSWAP:
		return i->opsize == 2 ? call : kd;
	case K_DIV: case K_IDIV:
		return i->opsize < 4 ? call : kd;
	case K_BMI:
		return jit_bmi_ok(i, kd.arg) ? kd : call;
	case K_STRING:
		return jit_string_ok(t, i, kd.arg) ? kd : call;
	case K_CMPXCHG:		/* RAX in two roles */
		return !mem && i->rm == X86_RAX ? call : kd;
	default:
		return kd;
	}
}

static struct effect effect_of(const struct x86_insn *i, const struct kind_of *kd)
{
	struct effect f = { .exposes = (i->flags & X86_I_MEM) && kd->kind != K_LEA && kd->kind != K_NOP };

	f.exposes |= kd->kind == K_MOV_O;

	switch (kd->kind) {
	case K_CALL: case K_VZEROUPPER:
		f.exposes = true;
		break;
	case K_VECTOR: case K_X87:
		f.exposes = true;
		f.reads = x86_op(i)->host & X86_H_RD_FLAGS;
		f.writes = x86_op(i)->host & X86_H_FLAGS ? WRITES_ALL : WRITES_NONE;
		break;
	case K_STRING:
		f.exposes = true;
		/* None where the count is 0. */
		if (kd->arg == JIT_CMPS || kd->arg == JIT_SCAS)
			f.writes = i->flags & (X86_I_REP | X86_I_REPNE) ? WRITES_PART : WRITES_ALL;
		break;
	case K_ALU_ER: case K_ALU_RE: case K_ALU_EI:
		f.reads = kd->arg == 2 || kd->arg == 3;
		f.writes = WRITES_ALL;
		break;
	case K_TEST_ER: case K_TEST_EI: case K_NEG: case K_XADD: case K_CMPXCHG:
		f.writes = WRITES_ALL;
		break;
	case K_CARRY:
		f.reads = kd->arg == 0xf5;
		f.writes = WRITES_PART;
		break;
	case K_SHIFT_I: case K_SHIFT_1: case K_SHIFT_C:
		f.reads = kd->arg == 2 || kd->arg == 3;
		f.writes = WRITES_PART;
		break;
	/* What they leave undefined is as the processor does it, which may be: as it was. */
	case K_INC: case K_DEC: case K_SHD_I: case K_SHD_C: case K_IMUL_GE: case K_IMUL_GEI: case K_MUL:
	case K_IMUL: case K_BT_I: case K_BT_R: case K_COUNT:
		f.writes = WRITES_PART;
		break;
	case K_BMI:
		f.reads = kd->arg == JIT_ADX;
		f.writes = kd->arg <= JIT_BMI_B || kd->arg == JIT_ADX ? WRITES_PART : WRITES_NONE;
		break;
	case K_DIV: case K_IDIV:
		f.writes = WRITES_PART;
		f.exposes = true;
		break;
	case K_JCC: case K_CALL_J: case K_JMP_J: case K_JMP_E: case K_CALL_E: case K_RET:
		f.reads = kd->kind == K_JCC;
		f.exposes = true;
		break;
	case K_SETCC: case K_CMOV:
		f.reads = true;
		break;
	case K_PUSH_E: case K_PUSH_I: case K_POP_E: case K_LEAVE:
		f.exposes = true;
		break;
	}
	return f;
}

/* E op= a register (src >= 0) or the immediate. op: the opcode with E as the destination, or the number of
 * an immediate group's member. */
static void emit_e(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, int src,
		   bool compare)
{
	u32 size = i->opsize, lock = i->flags & X86_I_LOCK ? OP_LOCK : 0;
	struct emit *e = &t->e;
	struct loc m;
	int d;

	if (i->flags & X86_I_MEM) {
		m = jit_operand(t, i, size, !compare);
		if (src >= 0)
			src = in(t, src, H_RCX);
		flags_for(t, f);
	} else {
		flags_for(t, f);
		d = in(t, i->rm, H_RDX);
		if (src >= 0)
			src = in(t, src, H_RCX);
		m = loc_reg(d);
	}
	if (src >= 0) {
		e_op(e, op | lock, size, src, m);
	} else {
		if (lock)
			e8(e, 0xf0);
		e_alu_imm(e, op, size, m, i->imm);
	}
	if (!(i->flags & X86_I_MEM) && !compare)
		out(t, i->rm, m.base);
	flags_written(t, f);
}

/* G op= E */
static void emit_g(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, u32 size,
		   u32 esize, bool whole, bool compare)
{
	struct emit *e = &t->e;
	struct loc m;
	int d;

	if (i->flags & X86_I_MEM)
		m = jit_operand(t, i, esize, false);
	else
		m = source(i->rm);
	flags_for(t, f);
	d = whole ? target(i->reg, H_RCX) : in(t, i->reg, H_RCX);
	e_op(e, op, size, d, m);
	if (!compare)
		out(t, i->reg, d);
	flags_written(t, f);
}

/* An instruction that names one of AH to BH. */
static void emit_high_byte(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	switch (kd->kind) {
	case K_ALU_ER:
		jit_high_two(t, i, f, kd->arg << 3, kd->arg == 7);
		break;
	case K_ALU_RE:
		jit_high_two(t, i, f, kd->arg << 3 | 2, kd->arg == 7);
		break;
	case K_TEST_ER:
		jit_high_two(t, i, f, 0x84, true);
		break;
	case K_MOV_ER:
		jit_high_two(t, i, f, 0x88, false);
		break;
	case K_MOV_RE:
		jit_high_two(t, i, f, 0x8a, false);
		break;
	case K_XCHG:
		jit_high_exchange(t, i);
		break;
	case K_MOVZX_B: case K_MOVSX_B:
		jit_high_extend(t, i, kd->kind == K_MOVSX_B);
		break;
	case K_ALU_EI:
		jit_high_one(t, i, f, 0x80, kd->arg, true);
		break;
	case K_TEST_EI:
		jit_high_one(t, i, f, 0xf6, 0, true);
		break;
	case K_MOV_EI:
		jit_high_one(t, i, f, 0xc6, 0, true);
		break;
	case K_INC: case K_DEC:
		jit_high_one(t, i, f, 0xfe, kd->kind == K_DEC, false);
		break;
	case K_NEG:
		jit_high_one(t, i, f, 0xf6, 3, false);
		break;
	case K_NOT:
		jit_high_one(t, i, f, 0xf6, 2, false);
		break;
	case K_SHIFT_I:
		jit_high_one(t, i, f, 0xc0, kd->arg, true);
		break;
	case K_SHIFT_1:
		jit_high_one(t, i, f, 0xd0, kd->arg, false);
		break;
	case K_SHIFT_C:
		jit_high_one(t, i, f, 0xd2, kd->arg, false);
		break;
	default:	/* K_SETCC */
		jit_high_one(t, i, f, OP_0F | 0x90 | kd->arg, 0, false);
	}
}

static void emit_mov(struct tr *t, const struct x86_insn *i, const struct kind_of *kd)
{
	u32 size = i->opsize;
	struct emit *e = &t->e;
	bool mem = i->flags & X86_I_MEM;
	struct loc m;
	int d, s;

	if (kd->kind == K_MOV_EI) {
		if (mem) {
			m = jit_operand(t, i, size, true);
			e_op(e, size == 1 ? 0xc6 : 0xc7, size, 0, m);
			eimm(e, i->imm, size);
			return;
		}
		if (size >= 4) {
			d = target(i->rm, H_RAX);
			e_mov_imm64(e, d, size == 4 ? (u32)i->imm : i->imm);
			out(t, i->rm, d);
		} else {
			e_op(e, size == 1 ? 0xc6 : 0xc7, size, 0, source(i->rm));
			eimm(e, i->imm, size);
		}
		return;
	}
	if (kd->kind == K_MOV_ER && mem) {
		m = jit_operand(t, i, size, true);
		e_store(e, size, in(t, i->reg, H_RAX), m);
		return;
	}
	d = kd->kind == K_MOV_ER ? i->rm : i->reg;
	m = mem ? jit_operand(t, i, size, false) : source(kd->kind == K_MOV_ER ? i->reg : i->rm);
	s = target(d, H_RAX);
	if (s == H_RAX && size < 4) {
		e_load(e, size, H_RAX, m);
		e_store(e, size, H_RAX, spill(d));
		return;
	}
	e_load(e, size, s, m);
	out(t, d, s);
}

static void emit_lea(struct tr *t, const struct x86_insn *i)
{
	struct ea a = jit_insn_ea(t, i);
	u32 size = i->addrsize == 8 && i->opsize == 8 ? 8 : 4;
	int d;

	if (i->opsize == 2) {
		jit_ea_to(t, &a, H_RDX, size);
		e_store(&t->e, 2, H_RDX, source(i->reg));
		return;
	}
	d = target(i->reg, H_RAX);
	jit_ea_to(t, &a, d, size);
	out(t, i->reg, d);
}

static void emit_shift(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	u32 size = i->opsize, b = size == 1 ? 0 : 1;
	struct emit *e = &t->e;
	struct loc m;

	if (i->flags & X86_I_MEM)
		m = jit_operand(t, i, size, true);
	else
		m = loc_reg(in(t, i->rm, H_RDX));
	flags_for(t, f);
	switch (kd->kind) {
	case K_SHIFT_1:
		e_op(e, 0xd0 | b, size, kd->arg, m);
		break;
	case K_SHIFT_I:
		e_op(e, 0xc0 | b, size, kd->arg, m);
		e8(e, i->imm);
		break;
	case K_SHIFT_C:
		e_mov(e, 4, H_RCX, host_of[X86_RCX]);
		e_op(e, 0xd2 | b, size, kd->arg, m);
		break;
	case K_SHD_I:
		e_op(e, OP_0F | (kd->arg ? 0xac : 0xa4), size, in(t, i->reg, H_RAX), m);
		e8(e, i->imm);
		break;
	default:
		e_mov(e, 4, H_RCX, host_of[X86_RCX]);
		e_op(e, OP_0F | (kd->arg ? 0xad : 0xa5), size, in(t, i->reg, H_RAX), m);
	}
	if (!(i->flags & X86_I_MEM))
		out(t, i->rm, m.base);
	flags_written(t, f);
}

/* rDX:rAX and one operand. */
static void emit_muldiv(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	u32 size = i->opsize, nr = kd->kind == K_MUL ? 4 : kd->kind == K_IMUL ? 5 : kd->kind == K_DIV ? 6 : 7;
	int ax = host_of[X86_RAX], dx = host_of[X86_RDX];
	struct emit *e = &t->e;

	if (i->flags & X86_I_MEM)
		e_load(e, size, H_RCX, jit_operand(t, i, size, false));
	else
		e_load(e, 8, H_RCX, source(i->rm));
	if (kd->kind == K_DIV) {
		/* A quotient that does not fit is the handler's. */
		flags_to_slot(t);
		t->flags = IN_SLOT;
		e_rr(e, 0x3b, size, dx, H_RCX);
		jit_slow_if(t, e_jcc(e, 3));		/* ae */
	} else if (kd->kind == K_IDIV) {
		/* Done here: a dividend that is only sign-extended, and a divisor other than 0 and -1. */
		flags_to_slot(t);
		t->flags = IN_SLOT;
		e_lea(e, size, H_RAX, loc_mem(H_RCX, 1));
		e_alu_imm(e, 7, size, loc_reg(H_RAX), 1);
		jit_slow_if(t, e_jcc(e, 6));		/* be */
		e_mov(e, size, H_RAX, ax);
		e_op(e, 0xc1, size, 7, loc_reg(H_RAX));	/* sar */
		e8(e, size == 8 ? 63 : 31);
		e_rr(e, 0x3b, size, H_RAX, dx);
		jit_slow_if(t, e_jcc(e, 5));
	}
	flags_for(t, f);
	e_mov(e, 8, H_RAX, ax);
	if (size > 1)
		e_mov(e, 8, H_RDX, dx);
	e_op(e, size == 1 ? 0xf6 : 0xf7, size, nr, loc_reg(H_RCX));
	e_mov(e, 8, ax, H_RAX);
	if (size > 1)
		e_mov(e, 8, dx, H_RDX);
	flags_written(t, f);
}

static void emit_exchange(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	u32 size = i->opsize, b = size == 1 ? 0 : 1;
	bool mem = i->flags & X86_I_MEM;
	struct emit *e = &t->e;
	struct loc m;
	int r;

	m = mem ? jit_operand(t, i, size, true) : loc_reg(in(t, i->rm, H_RDX));
	flags_for(t, f);
	r = in(t, i->reg, H_RCX);
	switch (kd->kind) {
	case K_XCHG:
		e_op(e, 0x86 | b, size, r, m);
		break;
	case K_XADD:
		e_op(e, OP_0F | 0xc0 | b | (mem ? OP_LOCK : 0), size, r, m);
		break;
	default:
		e_mov(e, 8, H_RAX, host_of[X86_RAX]);
		e_op(e, OP_0F | 0xb0 | b | (mem ? OP_LOCK : 0), size, r, m);
		e_mov(e, 8, host_of[X86_RAX], H_RAX);
	}
	if (kd->kind != K_CMPXCHG)
		out(t, i->reg, r);
	if (!mem)
		out(t, i->rm, m.base);
	flags_written(t, f);
}

static void emit_stack(struct tr *t, const struct x86_insn *i, const struct kind_of *kd)
{
	struct emit *e = &t->e;
	s32 w = t->word;
	struct loc m;

	switch (kd->kind) {
	case K_PUSH_I:
		m = stack(t, -w, true);
		e_op(e, 0xc7, w, 0, m);
		e32(e, i->imm);
		jit_move_rsp(t, -w);
		break;
	case K_PUSH_E:
		if (i->flags & X86_I_MEM) {
			m = jit_operand(t, i, w, false);
			e_load(e, w, H_RAX, m);
			e_store(e, 8, H_RAX, C(jit.tmp));
			m = stack(t, -w, true);
			e_load(e, 8, H_RAX, C(jit.tmp));
			e_store(e, w, H_RAX, m);
		} else {
			m = stack(t, -w, true);
			e_store(e, w, in(t, i->rm, H_RAX), m);
		}
		jit_move_rsp(t, -w);
		break;
	case K_POP_E:
		m = stack(t, 0, false);
		e_load(e, w, H_RAX, m);
		jit_move_rsp(t, w);
		e_store(e, 8, H_RAX, source(i->rm));
		break;
	default: {	/* LEAVE */
		struct ea a = { X86_RBP, X86_REG_ZERO, 0, X86_SEG_FLAT, w, 0 };

		m = jit_lookup(t, a, w, false);
		e_load(e, w, H_RAX, m);
		e_lea(e, w, host_of[X86_RSP], loc_mem(host_of[X86_RBP], w));
		e_mov(e, 8, host_of[X86_RBP], H_RAX);
	}
	}
}

/* How many pushes, or pops, of registers there are from here on. */
static u32 run_of(const struct tr *t, const struct kind_of *kd)
{
	u32 n = 0;

	for (u32 k = t->k; k < t->n && n < 8; k++, n++) {
		const struct x86_insn *i = jit_insn(t, k);

		if (kd[n].kind != kd->kind || (i->flags & X86_I_MEM) || i->rm == X86_RSP)
			break;
	}
	return max(n, 1u);	/* this one alone, whatever it is */
}

/* All of them with one lookup. Where that misses, they are done one by one. */
static void emit_stack_run(struct tr *t, u32 n, bool push)
{
	s32 w = t->word;
	struct ea a = { X86_RSP, X86_REG_ZERO, 0, X86_SEG_FLAT, w, push ? -w * (s32)n : 0 };
	struct loc m = jit_lookup(t, a, w * n, push);

	t->slow->count = n;
	if (push)
		m.disp += w * (n - 1);
	for (u32 k = 0; k < n; k++) {
		const struct x86_insn *i = jit_insn(t, t->k + k);

		if (push) {
			e_store(&t->e, w, in(t, i->rm, H_RAX), m);
			m.disp -= w;
		} else {
			int d = target(i->rm, H_RAX);

			e_load(&t->e, w, d, m);
			out(t, i->rm, d);
			m.disp += w;
		}
	}
	jit_move_rsp(t, push ? -w * (s32)n : w * (s32)n);
}

static void push_return(struct tr *t)
{
	struct loc m = stack(t, -(s32)t->word, true);

	page_plus(t, H_RAX, t->next);
	e_store(&t->e, t->word, H_RAX, m);
	jit_move_rsp(t, -(s32)t->word);
}

/* The frame of a call on the host's stack, but for the return address. RAX: the guest's. */
static void push_frame(struct tr *t)
{
	struct emit *e = &t->e;

	e_op(e, 0x3b, 8, H_RSP, C(jit.host_sp_limit));
	t->full.from = e_jcc(e, 2);			/* b */
	t->full.back = e->p;
	e_push(e, H_RAX);
	e_op(e, 0xff, 4, 6, C(jit.key));		/* push */
	e_push(e, H_RAX);
}

/* Where a call comes back to. */
static void come_back(struct tr *t)
{
	struct emit *e = &t->e;

	t->flags = IN_SLOT;
	e_pop(e, H_RDX);
	e_pop(e, H_RCX);
	e_pop(e, H_RAX);
	e_op(e, 0x3b, 8, H_RCX, C(jit.key));
	e_patch(e, e_jcc(e, 5), t->j->go);
	e_lea(e, t->word, H_RDX, loc_mem(H_RDX, -(s32)t->next));
	e_store(e, 8, H_RDX, C(jit.page));
}

static void near_call(struct tr *t, u32 at)
{
	u8 *jump = e_call(&t->e), *to = translated(t, at, t->flags & IN_HOST);

	if (to)
		e_patch(&t->e, jump, to);
	else
		jit_unlinked(t, jump, at, true);
}

static void branch_far(struct tr *t, u32 cc, s32 at)
{
	t->far[t->nr_far++] = (struct far_branch){ e_jcc(&t->e, cc), at, t->k, t->dirty, t->wide && t->cached, t->flags };
}

/* A branch in the middle: what goes the other way leaves. */
static void emit_joint(struct tr *t, const struct kind_of *kd, s32 to)
{
	bool taken = t->go[t->k] == GO_TAKEN;

	if (kd->kind == K_JCC) {
		flags_to_host(t);
		if (taken)
			edge(t, kd->arg ^ 1, t->next);
		else if (to >= 0 && to < (s32)PAGE_SIZE)
			edge(t, kd->arg, to);
		else
			branch_far(t, kd->arg, to);
	}
	if (taken && to <= (s32)t->at) {
		if (!(t->flags & IN_SLOT))
			flags_to_host(t);
		look_up(t, to);
	}
}

static void emit_branch(struct tr *t, const struct x86_insn *i, const struct kind_of *kd)
{
	s32 to = (s32)(s64)i->imm + (s32)t->next;
	bool near = to >= 0 && to < (s32)PAGE_SIZE;
	struct emit *e = &t->e;

	/* What the others move is part of what can be done again. */
	if (kd->kind != K_JCC && kd->kind != K_JMP_J && t->redo.kind) {
		flags_to_slot(t);
		t->redo.kind = REDO_NONE;
	}
	if (t->go[t->k] != GO_OUT) {
		emit_joint(t, kd, to);
		return;
	}
	if (t->again) {
		flags_to_host(t);
		edge_again(t, kd->arg);
		jit_vectors_home(t);
		go_on(t, t->next, false);
		return;
	}
	jit_vectors_home(t);
	switch (kd->kind) {
	case K_JMP_J:
		go_on(t, to, true);
		break;
	case K_JCC:
		flags_to_host(t);
		if (near) {
			edge(t, kd->arg, to);
			go_on(t, t->next, false);
		} else {
			branch_far(t, kd->arg, to);
			go_on(t, t->next, false);
		}
		break;
	case K_CALL_J:
		if (near) {
			look_up(t, t->at);
			push_return(t);
			push_frame(t);
			if (!(t->flags & IN_SLOT))
				flags_to_host(t);
			near_call(t, to);
		} else {
			flags_to_slot(t);
			t->flags = IN_SLOT;
			jit_take_way_to(t, to, true, true);
		}
		break;
	case K_RET:
		flags_to_slot(t);
		t->flags = IN_SLOT;
		e_load(e, t->word, H_RDX, stack(t, 0, false));
		e_op(e, 0x3b, 8, H_RDX, loc_sib(H_RSP, H_NONE, 0, 8));
		t->ret = (struct ret){ e_jcc(e, 5), t->word + (i->imm & 0xffff), jit_slow(t) };
		jit_move_rsp(t, t->ret.pop);
		e8(e, 0xc3);
		break;
	default:	/* JMP, CALL through E */
		if (i->flags & X86_I_MEM) {
			e_load(e, t->word, H_RDX, jit_operand(t, i, t->word, false));
		} else {
			flags_to_slot(t);
			t->flags = IN_SLOT;
			e_load(e, t->word, H_RDX, source(i->rm));
		}
		find_code(t);
		if (kd->kind == K_CALL_E) {
			e_store(e, 8, H_RAX, C(jit.tmp));
			e_store(e, 8, H_RDX, C(jit.tmp[1]));
			push_return(t);
			push_frame(t);
			e_load(e, 8, H_RDX, C(jit.tmp[1]));
			e_alu_imm(e, 4, 8, loc_reg(H_RDX), -4096);
			e_store(e, 8, H_RDX, C(jit.page));
			e_op(e, 0xff, 4, 2, C(jit.tmp));		/* call */
		} else {
			jit_go_to(t);
		}
	}
	if (t->slow)
		t->slow->end = true;
	if (kd->kind == K_CALL_J || kd->kind == K_CALL_E) {
		t->slow = NULL;
		come_back(t);
		go_on(t, t->next, false);
	}
}

/* SETcc, CMOVcc, bit tests, counts, and what works on RAX and RDX alone. */
static void emit_rest(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	static const u32 count_op[] = { OP_F3 | 0xb8, OP_F3 | 0xbc, OP_F3 | 0xbd, 0xbc, 0xbd };
	u32 size = i->opsize;
	struct emit *e = &t->e;
	struct loc m;
	int d;

	switch (kd->kind) {
	case K_SETCC:
		m = i->flags & X86_I_MEM ? jit_operand(t, i, 1, true) : source(i->rm);
		flags_for(t, f);
		e_op(e, OP_0F | 0x90 | kd->arg, 1, 0, m);
		break;
	case K_CMOV:
		m = i->flags & X86_I_MEM ? jit_operand(t, i, size, false) : source(i->rm);
		flags_for(t, f);
		d = in(t, i->reg, H_RCX);
		e_op(e, OP_0F | 0x40 | kd->arg, size, d, m);
		out(t, i->reg, d);
		break;
	case K_BT_I:
	case K_BT_R:
		m = i->flags & X86_I_MEM ? jit_operand(t, i, size, kd->arg != 4) :
		    loc_reg(in(t, i->rm, H_RDX));
		flags_for(t, f);
		if (kd->kind == K_BT_I) {
			e_op(e, OP_0F | 0xba | (i->flags & X86_I_LOCK ? OP_LOCK : 0), size, kd->arg, m);
			e8(e, i->imm);
		} else {
			e_op(e, OP_0F | 0x83 | kd->arg << 3, size, in(t, i->reg, H_RCX), m);
		}
		if (!(i->flags & X86_I_MEM) && kd->arg != 4)
			out(t, i->rm, m.base);
		break;
	case K_COUNT:
		emit_g(t, i, f, OP_0F | count_op[kd->arg], size, size, false, false);
		return;
	case K_BSWAP:
		d = in(t, i->reg, H_RAX);
		if (size == 8 || d & 8)
			e8(e, 0x40 | (size == 8 ? 8 : 0) | (d & 8 ? 1 : 0));
		e8(e, 0x0f);
		e8(e, 0xc8 | (d & 7));
		out(t, i->reg, d);
		break;
	case K_CBW:
	case K_CWD:
		e_mov(e, 8, H_RAX, host_of[X86_RAX]);
		if (kd->kind == K_CWD)
			e_mov(e, 8, H_RDX, host_of[X86_RDX]);
		if (size == 2)
			e8(e, 0x66);
		else if (size == 8)
			e8(e, 0x48);
		e8(e, kd->kind == K_CBW ? 0x98 : 0x99);
		if (kd->kind == K_CBW)
			e_mov(e, 8, host_of[X86_RAX], H_RAX);
		else
			e_mov(e, 8, host_of[X86_RDX], H_RDX);
		break;
	case K_CARRY:
		flags_for(t, f);
		e8(e, kd->arg);
		break;
	}
	flags_written(t, f);
}

static void emit_call(struct tr *t, const struct x86_insn *i)
{
	jit_vectors_home(t);
	flags_to_slot(t);
	t->flags = IN_SLOT;
	if (x86_op(i)->attr & X86_A_END)
		jit_end_by_handler(t);
	else
		jit_call_handler(t, t->k, t->next);
}

static bool is_branch(const struct kind_of *kd)
{
	return kd->kind >= K_CALL_J && kd->kind <= K_JCC;
}

static void emit_insn(struct tr *t, const struct x86_insn *i, const struct kind_of *kd,
			const struct effect *f)
{
	u32 size = i->opsize, b = size == 1 ? 0 : 1;

	if (uses_high_byte(i, kd)) {
		emit_high_byte(t, i, kd, f);
		return;
	}
	switch (kd->kind) {
	case K_CALL:
		emit_call(t, i);
		break;
	case K_NOP:
		break;
	case K_VECTOR:
		jit_emit_vector(t, i, f);
		break;
	case K_VZEROUPPER:
		jit_emit_vzeroupper(t, i);
		break;
	case K_X87:
		jit_emit_x87(t, i, f);
		break;
	case K_STRING:
		jit_emit_string(t, i, kd->arg, f);
		break;
	case K_DIRECTION:
		jit_emit_direction(t, kd->arg);
		break;
	case K_ALU_ER:
		emit_e(t, i, f, kd->arg << 3 | b, i->reg, kd->arg == 7);
		break;
	case K_ALU_EI:
		emit_e(t, i, f, kd->arg, -1, kd->arg == 7);
		break;
	case K_ALU_RE:
		emit_g(t, i, f, kd->arg << 3 | 2 | b, size, size, false, kd->arg == 7);
		break;
	case K_TEST_ER:
		emit_e(t, i, f, 0x84 | b, i->reg, true);
		break;
	case K_TEST_EI: {
		struct loc m = i->flags & X86_I_MEM ? jit_operand(t, i, size, false) : source(i->rm);

		e_op(&t->e, 0xf6 | b, size, 0, m);
		eimm(&t->e, i->imm, size);
		flags_written(t, f);
		break;
	}
	case K_MOV_ER: case K_MOV_RE: case K_MOV_EI:
		emit_mov(t, i, kd);
		break;
	case K_MOV_O: {
		struct ea a = { X86_REG_ZERO, X86_REG_ZERO, 0, i->seg, i->addrsize, i->imm };
		struct loc m = jit_lookup(t, a, size, kd->arg);

		if (kd->arg)
			e_store(&t->e, size, host_of[X86_RAX], m);
		else
			e_load(&t->e, size, host_of[X86_RAX], m);
		break;
	}
	case K_LEA:
		emit_lea(t, i);
		break;
	case K_MOVZX_B:
		emit_g(t, i, f, OP_0F | OP_REX | 0xb6, size, 1, size >= 4, false);
		break;
	case K_MOVZX_W:
		emit_g(t, i, f, OP_0F | 0xb7, size, 2, size >= 4, false);
		break;
	case K_MOVSX_B:
		emit_g(t, i, f, OP_0F | OP_REX | 0xbe, size, 1, size >= 4, false);
		break;
	case K_MOVSX_W:
		emit_g(t, i, f, OP_0F | 0xbf, size, 2, size >= 4, false);
		break;
	case K_MOVSXD:
		emit_g(t, i, f, 0x63, size, 4, true, false);
		break;
	case K_INC: case K_DEC: case K_NEG: case K_NOT: {
		static const u8 op[] = { 0xfe, 0xfe, 0xf6, 0xf6 }, ext[] = { 0, 1, 3, 2 };
		u32 n = kd->kind - K_INC;
		bool mem = i->flags & X86_I_MEM;
		struct loc m = mem ? jit_operand(t, i, size, true) : loc_reg(in(t, i->rm, H_RDX));

		flags_for(t, f);
		e_op(&t->e, op[n] | b | (i->flags & X86_I_LOCK ? OP_LOCK : 0), size, ext[n], m);
		if (!mem)
			out(t, i->rm, m.base);
		flags_written(t, f);
		break;
	}
	case K_SHIFT_I: case K_SHIFT_1: case K_SHIFT_C: case K_SHD_I: case K_SHD_C:
		emit_shift(t, i, kd, f);
		break;
	case K_IMUL_GE:
		emit_g(t, i, f, OP_0F | 0xaf, size, size, false, false);
		break;
	case K_IMUL_GEI: {
		struct loc m = i->flags & X86_I_MEM ? jit_operand(t, i, size, false) : source(i->rm);
		int d = size == 2 ? in(t, i->reg, H_RCX) : target(i->reg, H_RCX);

		flags_for(t, f);
		e_op(&t->e, 0x69, size, d, m);
		eimm(&t->e, i->imm, size);
		out(t, i->reg, d);
		flags_written(t, f);
		break;
	}
	case K_BMI:
		jit_emit_bmi(t, i, kd->arg, f);
		break;
	case K_MUL: case K_IMUL: case K_DIV: case K_IDIV:
		emit_muldiv(t, i, kd, f);
		break;
	case K_PUSH_E: case K_PUSH_I: case K_POP_E: case K_LEAVE:
		emit_stack(t, i, kd);
		break;
	case K_XCHG: case K_XADD: case K_CMPXCHG:
		emit_exchange(t, i, kd, f);
		break;
	case K_CALL_J: case K_CALL_E: case K_RET: case K_JMP_J: case K_JMP_E: case K_JCC:
		emit_branch(t, i, kd);
		break;
	default:
		emit_rest(t, i, kd, f);
	}
}

/* Is it a loop, from the last instruction to the first, that keeps vector registers all the way? */
static bool vector_loop(struct tr *t, const struct kind_of *kd)
{
	if (kd[t->n - 1].kind != K_JCC || jit_branch_target(t, t->n - 1) != t->start[0])
		return false;
	for (u32 k = 0; k < t->n; k++) {
		if (kd[k].kind == K_CALL || kd[k].kind == K_VZEROUPPER)
			return false;
		if (kd[k].kind != K_VECTOR)
			continue;
		t->loop_used |= jit_vectors_of(jit_insn(t, k), false);
		t->loop_written |= jit_vectors_of(jit_insn(t, k), true);
	}
	return t->loop_used;
}

/* What looking up several operands at once needs to know. */
static void describe(struct tr *t, u32 k, const struct kind_of *kd)
{
	const struct x86_insn *i = jit_insn(t, k);
	bool mem = i->flags & X86_I_MEM, ok = true, stores = false;
	u16 reg = BIT(i->reg & 15), rm = mem ? 0 : BIT(i->rm & 15), writes = 0;
	u8 size = i->opsize;

	if (uses_high_byte(i, kd))
		return;
	switch (kd->kind) {
	case K_MOVZX_B: case K_MOVSX_B:
		size = 1;
		writes = reg;
		break;
	case K_MOVZX_W: case K_MOVSX_W:
		size = 2;
		writes = reg;
		break;
	case K_MOVSXD:
		size = 4;
		writes = reg;
		break;
	case K_MOV_RE: case K_ALU_RE: case K_CMOV: case K_IMUL_GE: case K_IMUL_GEI: case K_COUNT:
		writes = reg;
		break;
	case K_MOV_ER: case K_MOV_EI: case K_INC: case K_DEC: case K_NEG: case K_NOT: case K_SHIFT_I: case K_SHIFT_1:
		stores = true;
		writes = rm;
		break;
	case K_ALU_ER: case K_ALU_EI:
		stores = kd->arg != 7;
		writes = rm;
		break;
	case K_TEST_ER: case K_TEST_EI:
		break;
	case K_BMI:
		ok = kd->arg <= JIT_ADX;
		writes = reg | BIT(i->vvvv & 15);
		break;
	case K_VECTOR:
		size = mem ? ((const struct soft_thunk *)i->host)->mem_size : 0;
		for (u32 n = 0; n < ARRAY_SIZE(x86_op(i)->op); n++) {
			const struct x86_operand *o = &x86_op(i)->op[n];

			if (!(o->access & X86_WR))
				continue;
			if (o->kind == X86_OP_G)
				writes |= reg;
			else if (o->kind == X86_OP_E)
				writes |= rm;
		}
		stores = mem && jit_writes_memory(x86_op(i));
		if (x86_op(i)->host & X86_H_WR_ECX)
			writes |= BIT(X86_RCX);
		break;
	case K_LEA:
		ok = false;
		writes = reg;
		break;
	case K_NOP: case K_VZEROUPPER: case K_CARRY:
		ok = false;
		break;
	case K_JCC: case K_JMP_J:
		if (t->go[k] == GO_OUT)
			return;
		ok = false;
		break;
	case K_PUSH_E: case K_PUSH_I:
		ok = false;
		writes = BIT(X86_RSP);
		break;
	case K_POP_E:
		ok = false;
		writes = BIT(X86_RSP) | rm;
		break;
	case K_SETCC: case K_BT_I: case K_BT_R: case K_SHIFT_C: case K_SHD_I: case K_SHD_C:
		ok = false;
		writes = rm;
		break;
	case K_MUL: case K_IMUL: case K_DIV: case K_IDIV: case K_CBW: case K_CWD:
		ok = false;
		writes = BIT(X86_RAX) | BIT(X86_RDX);
		break;
	default:
		return;
	}
	t->plain[k] = true;
	t->groups_ok[k] = ok;
	t->size[k] = size;
	t->stores[k] = stores;
	t->writes[k] = writes;
}

u32 jit_emit_block(struct x86_cpu *c, struct soft_jit *j, struct emit *hot, struct emit *cold, struct soft_block *b,
		   struct soft_block **parts)
{
	struct tr t = {
		.e = *hot, .c = c, .j = j, .b = b, .page = soft_block_host(b) & PAGE_MASK, .half = c_rip(c) >> 63,
		.word = soft_block_mode(b) == X86_MODE_64 ? 8 : 4,
		.at = soft_block_host(b) & ~PAGE_MASK, .x87_masked = soft_x87_masked(c),
	};
	struct kind_of kd[SOFT_BLOCK_MAX];
	struct effect f[SOFT_BLOCK_MAX];
	bool live = true, slot_first = false, ended = false;
	struct emit *e = &t.e;
	u32 n;

	jit_join(&t, b);
	for (int k = t.n - 1; k >= 0; k--) {
		kd[k] = jit_kind_of(&t, jit_insn(&t, k));
		f[k] = effect_of(jit_insn(&t, k), &kd[k]);
		describe(&t, k, &kd[k]);
		t.live[k] = live;
		t.wide |= kd[k].kind == K_VECTOR && x86_op(jit_insn(&t, k))->vex != X86_LEGACY;
		if (f[k].exposes || f[k].reads)
			live = true;
		else if (f[k].writes == WRITES_ALL)
			live = false;
	}
	/* What the first instruction that cares about flags wants, the block wants. */
	for (u32 k = 0; k < t.n; k++) {
		if (!f[k].exposes && !f[k].reads && !f[k].writes)
			continue;
		slot_first = f[k].exposes && kd[k].kind != K_JCC && kd[k].kind != K_VECTOR &&
			     kd[k].kind != K_VZEROUPPER;
		break;
	}
	slot_first |= b->cross;
	if (live || b->cross) {
		t.entry[slot_first] = e->p;
		if (slot_first)
			save_flags(e);
		else
			load_flags(e);
		t.entry[!slot_first] = e->p;
		t.flags = slot_first ? IN_SLOT : IN_HOST;
	} else {
		t.entry[0] = t.entry[1] = e->p;
		t.flags = IN_BOTH;
	}
	if (b->cross) {
		e_mov_imm64(e, H_RDX, (u64)b);
		e_call_to(e, j->crosses);
		e_rr(e, 0x85, 4, H_RAX, H_RAX);
		jit_unlinked(&t, e_jcc(e, 4), t.at, false);
	}
	if (vector_loop(&t, kd)) {
		jit_move_vectors(&t, t.loop_used, false);
		t.cached = t.loop_used;
		t.dirty = t.loop_written;
		t.again = e->p;
		t.again_flags = t.flags;
	}

	for (t.k = 0; t.k < t.n; t.k++) {
		const struct x86_insn *i = jit_insn(&t, t.k);

		t.at = t.start[t.k];
		t.next = t.at + i->len;
		t.slow = NULL;
		n = 1;
		if (kd[t.k].kind == K_PUSH_E || kd[t.k].kind == K_POP_E)
			n = run_of(&t, &kd[t.k]);
		if (!is_branch(&kd[t.k]))
			jit_keep_flags(&t, n, &f[t.k]);
		if (n > 1) {
			emit_stack_run(&t, n, kd[t.k].kind == K_PUSH_E);
			while (--n)
				t.next += jit_insn(&t, ++t.k)->len;
		} else {
			emit_insn(&t, i, &kd[t.k], &f[t.k]);
			if (f[t.k].writes == WRITES_ALL && t.plain[t.k])
				note_redo(&t, i, &kd[t.k]);
		}
		if (t.slow) {
			t.slow->flags = t.flags;
			t.slow->cached = t.cached;
			t.slow->back = e->p;
		}
		ended = x86_op(i)->attr & X86_A_END;
	}
	t.slow = NULL;
	if (!ended)
		jit_vectors_home(&t);
	if (!ended)
		go_on(&t, t.next, false);
	if (e->p > e->end)
		return 0;
	*hot = t.e;
	t.e = *cold;
	jit_emit_cold(&t);
	if (e->p > e->end)
		return 0;
	*cold = t.e;
	jit_set_entries(j, b, t.entry[0] + e->to_rx, t.entry[1] + e->to_rx);
	n = 0;
	for (u32 k = 0; k < t.n; k++)
		if (!k || t.of[k] != t.of[k - 1])
			parts[n++] = t.of[k];
	return n;
}
