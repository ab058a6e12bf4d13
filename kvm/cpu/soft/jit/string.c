/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MOVS, STOS, LODS, CMPS, SCAS.
 *
 * A repeated one is done by the page, by the host's own, which knows what overlaps mean: the guest's RSI and
 * RDI are the host's, so they become host addresses and, behind the instruction, guest addresses again.
 * Backward ones and elements across two pages are the handler's (x86/string.c).
 */
#include "kvm/cpu/soft/jit/translate.h"

/* The host registers that the host's own instructions are about. */
#define SAME_REGISTERS	(host_of[X86_RSI] == H_RSI && host_of[X86_RDI] == H_RDI)

bool jit_string_ok(const struct tr *t, const struct x86_insn *i, u32 op)
{
	bool rep = i->flags & (X86_I_REP | X86_I_REPNE);

	if (i->addrsize != t->word || !SAME_REGISTERS || (rep && op == JIT_LODS))
		return false;
	if (op == JIT_STOS || op == JIT_SCAS)
		return true;
	return t->word == 8 ? i->seg >= X86_SEG_FLAT : i->seg < X86_SEG_FS && i->seg != X86_SEG_CS;
}

static struct loc element(struct tr *t, int reg, u32 size, bool write)
{
	struct ea a = { reg, X86_REG_ZERO, 0, X86_SEG_FLAT, t->word, 0 };

	return jit_lookup(t, a, size, write);
}

static void advance(struct tr *t, int reg, u32 size)
{
	e_lea(&t->e, t->word, host_of[reg], loc_mem(host_of[reg], size));
}

static void emit_one(struct tr *t, const struct x86_insn *i, u32 op, const struct effect *f)
{
	u32 size = i->opsize, b = size == 1 ? 0 : 1;
	struct emit *e = &t->e;
	struct loc m;

	if (op == JIT_MOVS || op == JIT_CMPS) {
		e_load(e, size, H_RAX, element(t, X86_RSI, size, false));
		e_store(e, 8, H_RAX, C(jit.tmp));
	}
	m = element(t, op == JIT_LODS ? X86_RSI : X86_RDI, size, op == JIT_MOVS || op == JIT_STOS);
	switch (op) {
	case JIT_MOVS:
		e_load(e, 8, H_RAX, C(jit.tmp));
		e_store(e, size, H_RAX, m);
		break;
	case JIT_STOS:
		e_store(e, size, host_of[X86_RAX], m);
		break;
	case JIT_LODS:
		e_load(e, size, host_of[X86_RAX], m);
		break;
	case JIT_CMPS:
		e_load(e, 8, H_RAX, C(jit.tmp));
		e_op(e, 0x3a | b, size, H_RAX, m);
		break;
	default:
		e_op(e, 0x3a | b, size, host_of[X86_RAX], m);
	}
	if (op != JIT_STOS && op != JIT_SCAS)
		advance(t, X86_RSI, size);
	if (op != JIT_LODS)
		advance(t, X86_RDI, size);
	flags_written(t, f);
}

/* How many bytes there are from reg to the end of its page, to a scratch register. */
static void room(struct tr *t, int dst, int reg)
{
	e_mov(&t->e, 4, dst, host_of[reg]);
	e_alu_imm(&t->e, 1, 4, loc_reg(dst), -4096);		/* or */
	e_op(&t->e, 0xf7, 4, 3, loc_reg(dst));			/* neg */
}

/* The lookup of reg's page, in either half: what to add for the host's address goes to tmp. */
static void find_page(struct tr *t, int reg, bool write, struct loc tmp)
{
	int r = host_of[reg];
	struct emit *e = &t->e;

	e_mov(e, 4, H_RDX, r);
	tlb_entry(e, H_RDX);
	e_mov(e, t->word, H_RAX, r);
	e_alu_imm(e, 4, 8, loc_reg(H_RAX), -4096);
	if (t->word == 8) {
		e_mov(e, 8, H_RCX, r);
		e_op(e, 0xc1, 8, 5, loc_reg(H_RCX));		/* shr rcx, 63 */
		e8(e, 63);
		e_op(e, 0x0b, 8, H_RAX, loc_sib(H_RBP, H_RCX, 3,
						(s32)offsetof(struct x86_cpu, tlb_ctx) - BIAS));
	} else {
		e_op(e, 0x0b, 8, H_RAX, C(tlb_ctx[0]));
	}
	e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RDX, write ? offsetof(struct x86_tlb_entry, wr) :
					offsetof(struct x86_tlb_entry, rd)));
	jit_slow_if(t, e_jcc(e, 5));
	e_load(e, 8, H_RDX, loc_mem(H_RDX, offsetof(struct x86_tlb_entry, addend)));
	e_store(e, 8, H_RDX, tmp);
}

/* Outside 64-bit mode: what is above 32 bits, from before or beyond the end of the address space, goes. */
static void wrap(struct tr *t, bool rsi)
{
	if (t->word == 8)
		return;
	if (rsi)
		e_mov(&t->e, 4, H_RSI, H_RSI);
	e_mov(&t->e, 4, H_RDI, H_RDI);
}

/* Elements by the page. The registers are exact before each page, so the handler can take over there. */
static void emit_rep(struct tr *t, const struct x86_insn *i, u32 op)
{
	static const u8 opcode[] = { [JIT_MOVS] = 0xa4, [JIT_STOS] = 0xaa, [JIT_CMPS] = 0xa6,
				     [JIT_SCAS] = 0xae };
	bool rsi = op == JIT_MOVS || op == JIT_CMPS, write = op == JIT_MOVS || op == JIT_STOS;
	bool repne = !write && !(i->flags & X86_I_REP);
	struct loc count = loc_reg(host_of[X86_RCX]);
	u32 size = i->opsize;
	struct emit *e = &t->e;
	u8 *none, *again, *done, *found = NULL;

	e_op(e, 0x85, t->word, count.base, count);		/* test */
	none = e_jcc(e, 4);
	again = e->p;
	room(t, H_RCX, X86_RDI);
	if (rsi) {
		room(t, H_RAX, X86_RSI);
		e_rr(e, 0x3b, 4, H_RAX, H_RCX);
		e_rr(e, OP_0F | 0x42, 4, H_RCX, H_RAX);		/* cmovb */
	}
	if (size > 1) {
		e_op(e, 0xc1, 4, 5, loc_reg(H_RCX));
		e8(e, __builtin_ctz(size));
		jit_slow_if(t, e_jcc(e, 4));			/* an element across two pages */
	}
	e_op(e, 0x3b, t->word, H_RCX, count);
	e_op(e, OP_0F | 0x47, t->word, H_RCX, count);		/* cmova */
	e_store(e, 8, H_RCX, C(jit.tmp[2]));
	if (rsi)
		find_page(t, X86_RSI, false, C(jit.tmp[0]));
	find_page(t, X86_RDI, write, C(jit.tmp[1]));

	wrap(t, rsi);
	if (rsi)
		e_op(e, 0x03, 8, H_RSI, C(jit.tmp[0]));
	else
		e_mov(e, 8, H_RAX, host_of[X86_RAX]);
	e_op(e, 0x03, 8, H_RDI, C(jit.tmp[1]));
	e_load(e, 8, H_RCX, C(jit.tmp[2]));
	e8(e, repne ? 0xf2 : 0xf3);
	if (size == 2)
		e8(e, 0x66);
	else if (size == 8)
		e8(e, 0x48);
	e8(e, opcode[op] | (size == 1 ? 0 : 1));
	if (!write)
		save_flags(e);
	if (rsi)
		e_op(e, 0x2b, 8, H_RSI, C(jit.tmp[0]));
	e_op(e, 0x2b, 8, H_RDI, C(jit.tmp[1]));
	wrap(t, rsi);
	e_op(e, 0x2b, 8, H_RCX, C(jit.tmp[2]));			/* minus what was done */
	e_op(e, 0x01, t->word, H_RCX, count);
	done = e_jcc(e, 4);
	if (!write) {
		e_op(e, 0xf6, 1, 0, loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, jit.flags) + 1 - BIAS));
		e8(e, X86_RFLAGS_ZF);
		found = e_jcc(e, repne ? 5 : 4);
	}
	e_alu_imm(e, 7, 4, C(attention), 0);
	e_patch(e, e_jcc(e, 4), again);
	jit_slow_if(t, e_jmp(e));
	e_land(e, none);
	e_land(e, done);
	if (found)
		e_land(e, found);
}

void jit_emit_string(struct tr *t, const struct x86_insn *i, u32 op, const struct effect *f)
{
	struct emit *e = &t->e;

	flags_to_slot(t);
	t->flags = IN_SLOT;
	e_op(e, 0xf6, 1, 0, loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, rflags) + 1 - BIAS));
	e8(e, X86_RFLAGS_DF >> 8);				/* test byte */
	jit_slow_if(t, e_jcc(e, 5));
	if (i->flags & (X86_I_REP | X86_I_REPNE))
		emit_rep(t, i, op);
	else
		emit_one(t, i, op, f);
}

void jit_emit_direction(struct tr *t, bool backward)
{
	struct loc m = loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, rflags) + 1 - BIAS);
	u8 bit = X86_RFLAGS_DF >> 8;

	flags_to_slot(t);
	t->flags = IN_SLOT;
	e_alu_imm(&t->e, backward ? 1 : 4, 1, m, backward ? bit : ~bit);
}
