/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sequences of several blocks, as the translator takes them together: with branches in the middle, loops with
 * side exits, and paths that go on in the next page.
 *
 * generate.c makes each instruction with registers of its own, so that of several the second already goes astray.
 * Here a few registers are pointers into the data region, one is the loops' counter, and the others are data,
 * which instructions keep to nearly always. So most of a sequence runs, and where it faults it does so anywhere.
 * It is made of what is common in programs, and often in the order that is hard on the translator: an instruction
 * that makes flags, some that touch memory, one that reads flags or leaves some.
 */
#include <string.h>

#include "insn.h"
#include "random.h"

/* What an instruction is about; a sequence has one or several. */
enum { INT = 1, SSE = 2, AVX = 4, X87 = 8, MMX = 16, STR = 32 };
/* And in which of these roles it may stand. */
enum { MAKES = 1, KEEPS = 2, USES = 4, ALL = 7 };

enum { B = 1, W = 2, D = 4, Q = 8, WDQ = 14, BWDQ = 15, DQ = 12 };
enum { EITHER, MEMORY, REGISTER, NO_MODRM };

#define P66	0x1000
#define PF3	0x2000
#define PF2	0x3000
#define M0F	0x100
#define M38	0x200
#define M3A	0x300

struct form {
	u16 op;			/* with size 1: the opcode before, if BWDQ */
	s8 ext;			/* modrm.reg; -1: a register */
	u8 sizes;		/* 0: has none */
	u8 imm;			/* bytes; 4: as the size has it */
	u8 rm;
	u8 about;
	u8 role;
	u8 weight;
};

#define ALU(n, role) \
	{ (n) << 3 | 1, -1, BWDQ, 0, EITHER, INT, role, 3 }, { (n) << 3 | 3, -1, BWDQ, 0, EITHER, INT, role, 3 }, \
	{ 0x81, n, BWDQ, 4, EITHER, INT, role, 1 }, { 0x83, n, WDQ, 1, EITHER, INT, role, 2 }
#define SHIFT(n, role) \
	{ 0xc1, n, BWDQ, 1, EITHER, INT, role, 1 }, { 0xd1, n, BWDQ, 0, EITHER, INT, role, 1 }, \
	{ 0xd3, n, BWDQ, 0, EITHER, INT, role, 1 }
#define COND(cc) \
	{ M0F | 0x90 | (cc), 0, B, 0, EITHER, INT, USES | KEEPS, 1 }, \
	{ M0F | 0x40 | (cc), -1, WDQ, 0, EITHER, INT, USES | KEEPS, 1 }
#define SSE_ARITH(op)	{ op, -1, 0, 0, EITHER, SSE, KEEPS, 1 }

static const struct form forms[] = {
	ALU(0, MAKES), ALU(1, MAKES), ALU(2, USES), ALU(3, USES), ALU(4, MAKES), ALU(5, MAKES), ALU(6, MAKES),
	ALU(7, MAKES), { 0x85, -1, BWDQ, 0, EITHER, INT, MAKES, 4 }, { 0xf7, 0, BWDQ, 4, EITHER, INT, MAKES, 2 },
	{ 0xf7, 3, BWDQ, 0, EITHER, INT, MAKES, 3 },
	{ 0xff, 0, BWDQ, 0, EITHER, INT, USES, 2 }, { 0xff, 1, BWDQ, 0, EITHER, INT, USES, 2 },
	{ 0x89, -1, BWDQ, 0, EITHER, INT, KEEPS, 8 }, { 0x8b, -1, BWDQ, 0, EITHER, INT, KEEPS, 12 },
	{ 0xc7, 0, BWDQ, 4, EITHER, INT, KEEPS, 3 }, { 0x8d, -1, WDQ, 0, MEMORY, INT, KEEPS, 3 },
	{ M0F | 0xb6, -1, WDQ, 0, EITHER, INT, KEEPS, 2 }, { M0F | 0xb7, -1, DQ, 0, EITHER, INT, KEEPS, 2 },
	{ M0F | 0xbe, -1, WDQ, 0, EITHER, INT, KEEPS, 2 }, { M0F | 0xbf, -1, DQ, 0, EITHER, INT, KEEPS, 2 },
	{ 0x63, -1, Q, 0, EITHER, INT, KEEPS, 3 }, { 0xf7, 2, BWDQ, 0, EITHER, INT, KEEPS, 1 },
	{ 0xf7, 4, BWDQ, 0, EITHER, INT, USES, 3 }, { 0xf7, 5, BWDQ, 0, EITHER, INT, USES, 2 },
	{ 0xf7, 6, BWDQ, 0, EITHER, INT, USES, 2 }, { 0xf7, 7, BWDQ, 0, EITHER, INT, USES, 2 },
	{ M0F | 0xaf, -1, WDQ, 0, EITHER, INT, USES, 3 }, { 0x69, -1, WDQ, 4, EITHER, INT, USES, 1 },
	{ 0x6b, -1, WDQ, 1, EITHER, INT, USES, 1 },
	SHIFT(0, USES), SHIFT(1, USES), SHIFT(2, USES), SHIFT(3, USES), SHIFT(4, USES), SHIFT(5, USES), SHIFT(7, USES),
	{ M0F | 0xa4, -1, WDQ, 1, EITHER, INT, USES, 1 }, { M0F | 0xa5, -1, WDQ, 0, EITHER, INT, USES, 1 },
	{ M0F | 0xac, -1, WDQ, 1, EITHER, INT, USES, 1 }, { M0F | 0xad, -1, WDQ, 0, EITHER, INT, USES, 1 },
	COND(0), COND(1), COND(2), COND(3), COND(4), COND(5), COND(6), COND(7),
	COND(8), COND(9), COND(10), COND(11), COND(12), COND(13), COND(14), COND(15),
	{ M0F | 0xa3, -1, WDQ, 0, REGISTER, INT, USES, 1 }, { M0F | 0xab, -1, WDQ, 0, REGISTER, INT, USES, 1 },
	{ M0F | 0xba, 4, WDQ, 1, EITHER, INT, USES, 1 }, { M0F | 0xba, 5, WDQ, 1, EITHER, INT, USES, 1 },
	{ M0F | 0xba, 7, WDQ, 1, EITHER, INT, USES, 1 },
	{ 0x87, -1, BWDQ, 0, EITHER, INT, KEEPS, 2 }, { M0F | 0xc1, -1, BWDQ, 0, EITHER, INT, MAKES, 2 },
	{ M0F | 0xb1, -1, BWDQ, 0, EITHER, INT, MAKES, 2 },
	{ PF3 | M0F | 0xb8, -1, WDQ, 0, EITHER, INT, USES, 1 }, { PF3 | M0F | 0xbc, -1, WDQ, 0, EITHER, INT, USES, 1 },
	{ M0F | 0xbc, -1, WDQ, 0, EITHER, INT, USES, 1 }, { M0F | 0xbd, -1, WDQ, 0, EITHER, INT, USES, 1 },
	{ 0x98, 0, WDQ, 0, NO_MODRM, INT, KEEPS, 2 }, { 0x99, 0, WDQ, 0, NO_MODRM, INT, KEEPS, 2 },
	{ 0xf5, 0, 0, 0, NO_MODRM, INT, USES, 1 }, { 0xf8, 0, 0, 0, NO_MODRM, INT, USES, 1 },
	{ 0xf9, 0, 0, 0, NO_MODRM, INT, USES, 1 }, { 0x90, 0, 0, 0, NO_MODRM, INT, KEEPS, 1 },
	{ 0x9f, 0, 0, 0, NO_MODRM, INT, USES | KEEPS, 1 }, { 0x9e, 0, 0, 0, NO_MODRM, INT, USES, 1 },
	{ 0x9c, 0, 0, 0, NO_MODRM, INT, USES | KEEPS, 1 },
	{ 0xff, 6, 0, 0, MEMORY, INT, KEEPS, 2 }, { 0x8f, 0, 0, 0, MEMORY, INT, KEEPS, 1 },
	{ 0x6a, 0, 0, 1, NO_MODRM, INT, KEEPS, 1 }, { 0xc9, 0, 0, 0, NO_MODRM, INT, KEEPS, 1 },

	{ 0xa5, 0, BWDQ, 0, NO_MODRM, STR, KEEPS, 1 }, { 0xab, 0, BWDQ, 0, NO_MODRM, STR, KEEPS, 1 },
	{ 0xad, 0, BWDQ, 0, NO_MODRM, STR, KEEPS, 1 }, { 0xa7, 0, BWDQ, 0, NO_MODRM, STR, USES, 1 },
	{ 0xaf, 0, BWDQ, 0, NO_MODRM, STR, USES, 1 },

	{ M0F | 0x10, -1, 0, 0, EITHER, SSE, KEEPS, 3 }, { M0F | 0x11, -1, 0, 0, EITHER, SSE, KEEPS, 3 },
	{ M0F | 0x28, -1, 0, 0, EITHER, SSE, KEEPS, 2 }, { M0F | 0x29, -1, 0, 0, EITHER, SSE, KEEPS, 2 },
	{ PF3 | M0F | 0x6f, -1, 0, 0, EITHER, SSE, KEEPS, 2 }, { PF3 | M0F | 0x7f, -1, 0, 0, EITHER, SSE, KEEPS, 2 },
	{ PF2 | M0F | 0x10, -1, 0, 0, EITHER, SSE, KEEPS, 2 }, { PF2 | M0F | 0x11, -1, 0, 0, EITHER, SSE, KEEPS, 2 },
	{ PF3 | M0F | 0x10, -1, 0, 0, EITHER, SSE, KEEPS, 1 }, { PF3 | M0F | 0x11, -1, 0, 0, EITHER, SSE, KEEPS, 1 },
	SSE_ARITH(P66 | M0F | 0xfe), SSE_ARITH(P66 | M0F | 0xef), SSE_ARITH(P66 | M0F | 0x74), SSE_ARITH(M0F | 0x58),
	SSE_ARITH(P66 | M0F | 0x58), SSE_ARITH(PF2 | M0F | 0x59), SSE_ARITH(PF3 | M0F | 0x5c), SSE_ARITH(M0F | 0x57),
	{ P66 | M0F | 0x70, -1, 0, 1, EITHER, SSE, KEEPS, 1 },
	{ P66 | M0F | 0x2e, -1, 0, 0, EITHER, SSE, MAKES, 2 }, { M0F | 0x2f, -1, 0, 0, EITHER, SSE, MAKES, 1 },
	{ P66 | M38 | 0x17, -1, 0, 0, EITHER, SSE, MAKES, 1 },
	{ P66 | M0F | 0x6e, -1, DQ, 0, EITHER, SSE, KEEPS, 1 }, { P66 | M0F | 0x7e, -1, DQ, 0, EITHER, SSE, KEEPS, 1 },
	{ PF2 | M0F | 0x2a, -1, DQ, 0, EITHER, SSE, KEEPS, 1 }, { PF2 | M0F | 0x2c, -1, DQ, 0, EITHER, SSE, KEEPS, 1 },
	{ P66 | M0F | 0xd7, -1, 0, 0, REGISTER, SSE, KEEPS, 1 },

	{ M0F | 0x10, -1, 0, 0, EITHER, AVX, KEEPS, 3 }, { M0F | 0x11, -1, 0, 0, EITHER, AVX, KEEPS, 3 },
	{ P66 | M0F | 0x6f, -1, 0, 0, EITHER, AVX, KEEPS, 1 }, { P66 | M0F | 0x7f, -1, 0, 0, EITHER, AVX, KEEPS, 1 },
	{ P66 | M0F | 0xfe, -1, 0, 0, EITHER, AVX, KEEPS, 2 }, { P66 | M0F | 0xef, -1, 0, 0, EITHER, AVX, KEEPS, 2 },
	{ M0F | 0x58, -1, 0, 0, EITHER, AVX, KEEPS, 2 }, { P66 | M38 | 0xb8, -1, 0, 0, EITHER, AVX, KEEPS, 2 },
	{ PF2 | M0F | 0x58, -1, 0, 0, EITHER, AVX, KEEPS, 1 },
	{ M0F | 0x2e, -1, 0, 0, EITHER, AVX, MAKES, 2 }, { P66 | M38 | 0x17, -1, 0, 0, EITHER, AVX, MAKES, 1 },
	{ P66 | M0F | 0xd7, -1, 0, 0, REGISTER, AVX, KEEPS, 1 }, { P66 | M38 | 0x18, -1, 0, 0, EITHER, AVX, KEEPS, 1 },
	{ M0F | 0x77, 0, 0, 0, NO_MODRM, AVX, KEEPS, 1 },

	{ 0xd9, 0, 0, 0, MEMORY, X87, KEEPS, 3 }, { 0xdd, 0, 0, 0, MEMORY, X87, KEEPS, 3 },
	{ 0xd9, 3, 0, 0, MEMORY, X87, KEEPS, 2 }, { 0xdd, 3, 0, 0, MEMORY, X87, KEEPS, 2 },
	{ 0xdb, 0, 0, 0, MEMORY, X87, KEEPS, 1 }, { 0xdf, 7, 0, 0, MEMORY, X87, KEEPS, 1 },
	{ 0xdc, 0, 0, 0, MEMORY, X87, KEEPS, 1 }, { 0xd8, 1, 0, 0, REGISTER, X87, KEEPS, 1 },
	{ 0xde, 0, 0, 0, REGISTER, X87, KEEPS, 1 }, { 0xd9, 1, 0, 0, REGISTER, X87, KEEPS, 2 },
	{ 0xdb, 6, 0, 0, REGISTER, X87, MAKES, 2 }, { 0xdf, 5, 0, 0, REGISTER, X87, MAKES, 1 },
	{ 0xda, 0, 0, 0, REGISTER, X87, USES | KEEPS, 2 }, { 0xdb, 1, 0, 0, REGISTER, X87, USES | KEEPS, 1 },
	{ 0xdf, 4, 0, 0, REGISTER, X87, KEEPS, 4 }, { 0xd9, 5, 0, 0, MEMORY, X87, KEEPS, 1 }, { 0xd9, 7, 0, 0, MEMORY, X87, KEEPS, 1 },
	{ M0F | 0x6f, -1, 0, 0, EITHER, MMX, KEEPS, 2 }, { M0F | 0x7f, -1, 0, 0, EITHER, MMX, KEEPS, 2 },
	{ M0F | 0xfc, -1, 0, 0, EITHER, MMX, KEEPS, 2 }, { M0F | 0x77, 0, 0, 0, NO_MODRM, MMX, KEEPS, 1 },
};

struct maker {
	struct rng r;
	struct sequence *s;
	bool wide;			/* 64-bit mode */
	u8 about;
	u8 pointers[3], counter;
	u8 data[16], nr_data;
	u8 focus;			/* the pointer that accesses tend to have in common */
	bool calls, called;		/* there are to be calls and returns; there has been one */
	bool deep;			/* it begins with recursion deeper than the translator keeps track of */
	u16 total;			/* weights */
};

struct bytes {
	u8 b[24];
	u32 n;
};

static void put(struct bytes *e, u64 v, u32 size)
{
	memcpy(e->b + e->n, &v, size);
	e->n += size;
}

/* ---- registers ---- */

static u8 anything(struct maker *m)
{
	return below(&m->r, m->wide ? 16 : 8);
}

static u8 data(struct maker *m)
{
	return one_in(&m->r, 64) ? anything(m) : m->data[below(&m->r, m->nr_data)];
}

static u8 pointer(struct maker *m)
{
	return one_in(&m->r, 32) ? anything(m) :
	       one_in(&m->r, 2) ? m->focus : m->pointers[below(&m->r, ARRAY_SIZE(m->pointers))];
}

static void choose_registers(struct maker *m)
{
	u8 order[16], n = m->wide ? 16 : 8, k = 0;

	for (u32 i = 0; i < n; i++)
		order[i] = i;
	for (u32 i = n; i > 1; i--) {
		u32 j = below(&m->r, i);
		u8 t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
	/* RSP is none but the stack's. RSI and RDI are pointers where strings are about. */
	m->nr_data = 0;
	for (u32 i = 0; i < n; i++) {
		if (order[i] == X86_RSP)
			continue;
		if (k < ARRAY_SIZE(m->pointers) && order[i] != X86_RAX && (!(m->about & STR) || k == 2))
			m->pointers[k++] = order[i];
		else if ((m->about & STR) && (order[i] == X86_RSI || order[i] == X86_RDI) && k < 2)
			m->pointers[k++] = order[i];
		else
			m->data[m->nr_data++] = order[i];
	}
	m->counter = m->data[--m->nr_data];
	m->focus = m->pointers[0];
	if (one_in(&m->r, 4))
		m->focus = m->pointers[1] = X86_RSP;
}

/* Where a pointer points: mostly where all is well. */
static u64 place(struct maker *m)
{
	static const u32 safe[] = { DATA_RW + 0x400, DATA_RW2 + 0x400, DATA_FIRST + 0x400, DATA_LAST + 0x400 };
	u32 at;

	switch (below(&m->r, 36)) {
	case 0: case 1:
		at = DATA_RW2 - 128 + below(&m->r, 256);
		break;
	case 2:
		at = DATA_READONLY - 128 + below(&m->r, 256);
		break;
	case 3:
		at = DATA_READONLY + 0x400 + below(&m->r, 0x800);
		break;
	case 4:
		at = DATA_READONLY + PAGE_SIZE - 128 + below(&m->r, 256);
		break;
	case 5:
		at = 0x8000 + below(&m->r, 0x4000);
		break;
	case 6:
		return random_integer(&m->r) & (m->wide ? ~0ull : 0xffffffff);
	default:
		at = safe[below(&m->r, ARRAY_SIZE(safe))] + below(&m->r, 0x600);
	}
	if (one_in(&m->r, 2))
		at &= ~31u;
	return DATA_BASE + at;
}

/* ---- instructions ---- */

static s32 displacement(struct maker *m)
{
	s32 d = (s8)rnd(&m->r);

	if (one_in(&m->r, 12))
		d *= 8;
	return one_in(&m->r, 2) ? d & ~15 : one_in(&m->r, 3) ? 0 : d;
}

/* Modrm and what belongs to it. Returns REX.X and REX.B. */
static u8 put_modrm(struct maker *m, struct bytes *e, u8 reg, bool mem, u8 rm)
{
	s32 disp = displacement(m);
	u8 index = X86_RSP, mod;

	if (!mem) {
		put(e, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
		return rm >> 3;
	}
	if (one_in(&m->r, 16))
		index = m->counter;		/* small, mostly */
	mod = disp == 0 && (rm & 7) != 5 ? 0 : disp == (s8)disp ? 1 : 2;
	if ((rm & 7) == 4 || index != X86_RSP) {
		put(e, mod << 6 | (reg & 7) << 3 | 4, 1);
		put(e, below(&m->r, 4) << 6 | (index & 7) << 3 | (rm & 7), 1);
	} else {
		put(e, mod << 6 | (reg & 7) << 3 | (rm & 7), 1);
	}
	if (mod)
		put(e, disp, mod == 1 ? 1 : 4);
	return rm >> 3 | (index >> 3) << 1;
}

static u32 choose_size(struct maker *m, u8 sizes)
{
	static const u8 often[] = { 8, 8, 8, 4, 4, 4, 4, 2, 1, 1 };

	if (!m->wide)
		sizes &= ~Q;
	for (;;) {
		u32 size = often[below(&m->r, ARRAY_SIZE(often))];

		if (size & sizes)
			return size;
	}
}

static void encode(struct maker *m, const struct form *f, struct bytes *e)
{
	u32 size = f->sizes ? choose_size(m, f->sizes) : 0;
	bool lock = f->op == 0x87 || f->op == (M0F | 0xc1) || f->op == (M0F | 0xb1);
	bool avx = f->about == AVX, mem = f->rm == MEMORY || (f->rm == EITHER && one_in(&m->r, 2)), need = false;
	bool vector = f->about & (SSE | AVX | MMX | X87);
	u8 reg = f->ext, rm = mem ? pointer(m) : data(m), rex, sib_rex;
	struct bytes tail = { .n = 0 };

	if (f->ext < 0)
		reg = vector ? below(&m->r, m->wide && f->about != MMX ? 16 : 8) : data(m);
	if (vector && !mem && (f->about & (X87 | MMX)))
		rm = below(&m->r, 8);
	/* MOVD, PMOVMSKB and the like have one general register, CVTSI2SD and CVTTSD2SI too. */
	if (vector && !(f->about & (X87 | MMX))) {
		u8 op = f->op;

		if (op == 0xd7 || op == 0x2c)
			reg = data(m);
		if (!mem && !((op == 0x6e || op == 0x7e || op == 0x2a) && f->sizes))
			rm = below(&m->r, m->wide ? 16 : 8);
	}
	if (f->rm != NO_MODRM) {
		sib_rex = put_modrm(m, &tail, reg, mem, rm);
	} else {
		sib_rex = 0;
		reg = 0;
	}
	if (f->imm)
		put(&tail, random_integer(&m->r), f->imm == 1 ? 1 : size == 1 ? 1 : size == 2 ? 2 : 4);
	e->n = 0;
	if (avx) {
		u8 vvvv = m->wide ? below(&m->r, 16) : 8 | below(&m->r, 8), l = one_in(&m->r, 2);
		u8 op = f->op;

		/* With no third operand. */
		if (op == 0x10 || op == 0x11 || op == 0x6f || op == 0x7f || op == 0x2e || op == 0x17 || op == 0x18 ||
		    op == 0xd7 || op == 0x77)
			vvvv = 15;
		if (op == 0x77)
			l = 0;
		put(e, 0xc4, 1);
		put(e, (~((reg >> 3 & 1) << 2 | sib_rex) & 7) << 5 | (f->op >> 8 & 3), 1);
		put(e, vvvv << 3 | l << 2 | f->op >> 12, 1);
	} else {
		static const u8 prefix[] = { 0, 0x66, 0xf3, 0xf2 };

		if (lock && mem && one_in(&m->r, 3))
			put(e, 0xf0, 1);
		if (f->about == STR && one_in(&m->r, 3))
			put(e, one_in(&m->r, 2) ? 0xf3 : 0xf2, 1);
		if (size == 2)
			put(e, 0x66, 1);
		if (f->op >> 12)
			put(e, prefix[f->op >> 12], 1);
		rex = (size == 8 ? 8 : 0) | (reg >> 3 & 1) << 2 | sib_rex;
		/* SPL to DIL, or AH to BH. */
		if (size == 1 && ((f->ext < 0 && (reg & ~3) == 4) || (!mem && (rm & ~3) == 4)))
			need = !one_in(&m->r, 3);
		if (m->wide && (rex || need))
			put(e, 0x40 | rex, 1);
		if (f->op & 0x300)
			put(e, 0x0f, 1);
		if ((f->op & 0x300) == M38)
			put(e, 0x38, 1);
		if ((f->op & 0x300) == M3A)
			put(e, 0x3a, 1);
	}
	put(e, (f->op & 0xff) - (size == 1 && (f->sizes & W) ? 1 : 0), 1);
	memcpy(e->b + e->n, tail.b, tail.n);
	e->n += tail.n;
}

static bool room(const struct maker *m)
{
	return m->s->nr < SEQUENCE_INSNS && m->s->len + 128 < SEQUENCE_BYTES;
}

static void append(struct maker *m, const u8 *b, u32 n)
{
	struct sequence *s = m->s;

	memcpy(s->code + s->len, b, n);
	s->start[s->nr] = s->len;
	s->len += n;
	s->start[++s->nr] = s->len;
}

/* If it is an instruction. */
static bool append_checked(struct maker *m, const struct bytes *e)
{
	const struct x86_cpu *c = interp_cpu();
	struct x86_insn i;

	if (x86_decode(c->decoder, e->b, e->n, m->wide ? X86_MODE_64 : X86_MODE_32, c->features, &i) != (int)e->n ||
	    generate_skips(x86_op(&i)))
		return false;
	append(m, e->b, e->n);
	return true;
}

/* One of the forms in one of the roles. */
static void instruction(struct maker *m, u8 role)
{
	struct bytes e;

	for (u32 tries = 0; tries < 100; tries++) {
		const struct form *f = forms;
		u32 n = below(&m->r, m->total);

		for (; n >= f->weight; f++)
			n -= f->weight;
		if (!(f->role & role) || !(f->about & m->about) || (f->sizes == Q && !m->wide))
			continue;
		encode(m, f, &e);
		if (append_checked(m, &e))
			return;
	}
}

/* RSP moves by a constant, or to elsewhere. */
static void move_stack(struct maker *m)
{
	u8 by = 8 * below(&m->r, 16), p = m->pointers[below(&m->r, ARRAY_SIZE(m->pointers))];
	u8 add[] = { 0x48, 0x83, one_in(&m->r, 2) ? 0xc4 : 0xec, by }, lea[] = { 0x48, 0x8d, 0x64, 0x24, by };
	u8 mov[] = { 0x48 | p >> 3, 0x8b, 0xe0 | (p & 7) };
	u32 skip = !m->wide;

	switch (below(&m->r, 5)) {
	case 0: case 1: append(m, add + skip, sizeof(add) - skip); break;
	case 2: case 3: append(m, lea + skip, sizeof(lea) - skip); break;
	default: append(m, mov + skip, sizeof(mov) - skip);
	}
}

/* PUSH or POP of so many registers. */
static void stack_run(struct maker *m)
{
	u32 n = 1 + below(&m->r, 9);
	bool pop = one_in(&m->r, 2);

	if (one_in(&m->r, 4))
		move_stack(m);

	while (n-- && room(m)) {
		u8 r = pop ? data(m) : anything(m);
		u8 b[] = { 0x41, (pop ? 0x58 : 0x50) | (r & 7) };

		append(m, b + !(r & 8), 1 + (r >> 3));
	}
}

/* One of all there are: its operands are anywhere. */
static void foreign(struct maker *m)
{
	static struct test_case t;

	for (u32 tries = 0; tries < 20; tries++) {
		u32 attr;

		if (!generate(rnd(&m->r), rnd(&m->r) >> 8, &m->s->scratch, &m->s->scratch, &t) || !t.insn.fn || t.small_data || t.stack16 ||
		    t.mode != (m->wide ? X86_MODE_64 : X86_MODE_32))
			continue;
		attr = x86_op(&t.insn)->attr;
		if ((attr & (X86_A_END | X86_A_IO | X86_A_SHADOW)) || (t.insn.flags & X86_I_MEM))
			continue;
		m->s->host &= !generate_free_to_fault(x86_op(&t.insn));
		append(m, t.bytes, t.insn.len);
		return;
	}
}

static void some_instructions(struct maker *m, u32 n)
{
	while (n-- && room(m)) {
		if (one_in(&m->r, 12))
			m->focus = m->pointers[below(&m->r, ARRAY_SIZE(m->pointers))];
		switch (below(&m->r, 24)) {
		case 0: case 1: case 2: case 3: case 4: case 5:
			instruction(m, MAKES);
			for (u32 k = below(&m->r, 4); k && room(m); k--)
				instruction(m, KEEPS);
			if (room(m) && !one_in(&m->r, 3))
				instruction(m, USES);
			break;
		case 6: case 7:
			stack_run(m);
			break;
		case 8:
			foreign(m);
			break;
		default:
			instruction(m, ALL);
		}
	}
}

/* ---- branches ---- */

/* One to a block that may be yet to come: an index; nr_blocks and beyond are elsewhere. */
struct fix { u16 at, to; bool absolute; };

/* Makes the flags that a loop goes by. */
static void count_down(struct maker *m)
{
	u8 r = m->counter, rex = 0x40 | (m->wide && one_in(&m->r, 2) ? 8 : 0) | (r >> 3 & 1);
	u8 dec[] = { rex, 0xff, 0xc8 | (r & 7) }, sub[] = { rex, 0x83, 0xe8 | (r & 7), 1 };
	u8 add[] = { rex, 0x83, 0xc0 | (r & 7), 0xff };
	u32 skip = !m->wide;

	switch (below(&m->r, 3)) {
	case 0: append(m, dec + skip, sizeof(dec) - skip); break;
	case 1: append(m, sub + skip, sizeof(sub) - skip); break;
	default: append(m, add + skip, sizeof(add) - skip);
	}
	for (u32 k = below(&m->r, 3); k && room(m); k--)
		instruction(m, KEEPS);
}

static void branch(struct maker *m, struct fix *fix, u32 opcode, u32 to)
{
	u8 b[6] = { 0x0f, 0, 0, 0, 0, 0 };
	u32 n = 0;

	if (opcode >> 8)
		n++;
	b[n++] = opcode;
	append(m, b, n + 4);
	*fix = (struct fix){ m->s->len - 4, to, false };
}

/* One whose target is in a register or on the stack. */
static void indirect_branch(struct maker *m, struct fix *fix, u32 to)
{
	u8 r = m->data[below(&m->r, m->nr_data)], rex = 0x40 | r >> 3;
	u8 mov[] = { rex, 0xb8 | (r & 7), 0, 0, 0, 0 }, go[] = { rex, 0xff, (one_in(&m->r, 2) ? 0xd0 : 0xe0) | (r & 7) };
	static const u8 push[] = { 0x68, 0, 0, 0, 0 }, ret[] = { 0xc3 };
	bool by_ret = one_in(&m->r, 3);

	if (by_ret)
		append(m, push, sizeof(push));
	else
		append(m, mov + (r < 8), sizeof(mov) - (r < 8));
	*fix = (struct fix){ m->s->len - 4, to, true };
	if (by_ret)
		append(m, ret, sizeof(ret));
	else
		append(m, go + (r < 8), sizeof(go) - (r < 8));
}

static void ret(struct maker *m)
{
	u8 pop[] = { 0xc2, 8 * below(&m->r, 3), 0 }, plain = 0xc3;

	if (one_in(&m->r, 8))
		append(m, pop, sizeof(pop));
	else
		append(m, &plain, 1);
}

#define JCC(cc)	(M0F | 0x80 | (cc))
#define JMP	0xe9
#define CALL	0xe8
#define OUTSIDE	100		/* instead of a block's number */
#define FAR	101

/* The end of block k of n. False: there is none, it runs on. */
static bool end_block(struct maker *m, struct fix *fix, u32 k, u32 n)
{
	u32 forward = k + 1 + below(&m->r, n - k), cc = below(&m->r, 16);
	static const u8 jle_over_call[] = { 0x7e, 5 };
	static const u8 loops[] = { 0xf, 0xf, 0xf, 5, 9, 3 };	/* g, ne, ns, ae */

	switch (m->deep && k < 2 ? 23 - 7 * k : below(&m->r, m->calls ? 24 : 16)) {
	case 0: case 1: case 2: case 3: case 4:
		branch(m, fix, JCC(cc), forward);
		return true;
	case 16: case 17: case 18: case 19:
		if (m->called) {
			ret(m);
			return false;
		}
		__attribute__((fallthrough));
	case 20: case 21:
		m->called = true;
		branch(m, fix, CALL, forward);
		return true;
	case 22:
		indirect_branch(m, fix, forward);
		return true;
	case 23:
		/* Recursion. */
		m->called = true;
		count_down(m);
		append(m, jle_over_call, sizeof(jle_over_call));
		branch(m, fix, CALL, below(&m->r, k + 1));
		return true;
	case 5: case 6:
		branch(m, fix, JMP, forward);
		return true;
	case 7: case 8: case 9: case 10: case 11:
		count_down(m);
		branch(m, fix, JCC(loops[below(&m->r, ARRAY_SIZE(loops))]),
		       one_in(&m->r, 2) ? 0 : below(&m->r, k + 1));
		return true;
	case 12:
		branch(m, fix, JCC(cc), OUTSIDE);
		return true;
	case 13:
		branch(m, fix, JCC(cc), FAR);
		return true;
	case 14:
		m->called = true;
		branch(m, fix, CALL, forward);
		return true;
	default:
		return false;
	}
}

static void blocks(struct maker *m)
{
	struct fix fixes[SEQUENCE_BLOCKS];
	struct sequence *s = m->s;
	u32 n = (m->deep ? 2 : 1) + below(&m->r, SEQUENCE_BLOCKS - 2), nr_fixes = 0;

	for (u32 k = 0; k < n; k++) {
		s->block[s->nr_blocks++] = s->len;
		some_instructions(m, below(&m->r, m->deep && k < 2 ? 2 : 7));
		if (room(m) && end_block(m, &fixes[nr_fixes], k, n))
			nr_fixes++;
	}
	s->block[s->nr_blocks++] = s->len;
	for (u32 k = 0; k < nr_fixes; k++) {
		s32 to = fixes[k].to == OUTSIDE ? (s32)SEQUENCE_BYTES + 64 : fixes[k].to == FAR ? 0x40000 :
			 s->block[fixes[k].to];

		to += fixes[k].absolute ? (s32)s->at : -(fixes[k].at + 4);
		memcpy(s->code + fixes[k].at, &to, 4);
	}
}

/* What a sequence is about, in the mode that the processor is in for it. */
static u8 choose_subject(struct maker *m)
{
	static const u8 subjects[] = {
		INT, INT, INT, INT, INT | SSE, INT | SSE, SSE, INT | AVX, AVX, INT | SSE | AVX, INT | X87, INT | X87 | MMX,
		INT | STR, INT | SSE | AVX | X87 | STR,
	};
	u8 about = subjects[below(&m->r, ARRAY_SIZE(subjects))];

	return interp_cpu()->fpu.xcr0 & 4 ? about : about & ~AVX ? about & ~AVX : INT;
}

static void choose_values(struct maker *m, struct state *in)
{
	for (u32 k = 0; k < 16; k++)
		in->gpr[k] = random_integer(&m->r) & (m->wide ? ~0ull : 0xffffffff);
	for (u32 k = 0; k < ARRAY_SIZE(m->pointers); k++)
		in->gpr[m->pointers[k]] = place(m);
	in->gpr[X86_RSP] = place(m);
	in->gpr[m->counter] = one_in(&m->r, 8) ? 20 + below(&m->r, 30) : below(&m->r, 5);
	if (m->deep) {
		in->gpr[m->counter] = 250 + below(&m->r, 50);
		in->gpr[X86_RSP] = DATA_BASE + DATA_RW2 + 0xc00;
	}
	/* Nothing but what differs between processors comes of it here. */
	in->rflags &= ~(u64)X86_RFLAGS_AC;
	if (one_in(&m->r, 2))
		in->gpr[X86_RCX] &= 63;		/* a shift's, or REP's */
	/* Quotients that fit. */
	if (one_in(&m->r, 2) && m->counter != X86_RDX && !memchr(m->pointers, X86_RDX, sizeof(m->pointers)))
		in->gpr[X86_RDX] = 0;
}

/* Some state of the vector registers and the rest. */
static bool choose_state(struct maker *m, struct test_case *t)
{
	for (u32 tries = 0; tries < 300; tries++)
		if (generate(rnd(&m->r), rnd(&m->r) >> 8, &m->s->scratch, &m->s->scratch, t) && t->fp && t->insn.fn &&
		    t->mode == (m->wide ? X86_MODE_64 : X86_MODE_32) && !t->small_data && !t->stack16)
			return true;
	return false;
}

bool make_joined(u64 seed, u64 number, int mode, struct sequence *s)
{
	struct maker m = { .r = random_start(seed, ~number), .s = s, .wide = mode == X86_MODE_64 };

	s->len = s->nr = s->nr_blocks = 0;
	s->start[0] = 0;
	s->host = true;
	if (!choose_state(&m, &s->first))
		return false;
	m.about = choose_subject(&m);
	for (u32 k = 0; k < ARRAY_SIZE(forms); k++)
		m.total += forms[k].weight;
	m.calls = one_in(&m.r, 3);
	m.deep = m.calls && one_in(&m.r, 8);
	choose_registers(&m);
	choose_values(&m, &s->first.in);
	/* Now and then across the page's end. */
	s->at = one_in(&m.r, 3) ? CODE_PAGE + PAGE_SIZE - below(&m.r, 250) : CODE_START;
	blocks(&m);
	s->first.in.rip = s->at;
	for (u32 k = 0; k < s->nr_blocks; k++)
		s->runs[k] = one_in(&m.r, 8) ? 0 : 1 + below(&m.r, 255);
	s->eager = one_in(&m.r, 2);
	s->attention = one_in(&m.r, 4);
	return true;
}
