/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cases from the instruction table.
 *
 * A row and a mode are chosen, then prefixes, modrm and displacement at random within what the row
 * allows. The decoder under test says what the memory operand is made of; registers are then
 * chosen such that it lands where the case wants it: in a page, across two, on a read-only or an
 * absent one, at the end of a segment. If the decoder is wrong, the host goes elsewhere, and the
 * comparison shows it.
 */
#include <string.h>

#include "insn.h"
#include "random.h"

/* ---- which rows ---- */

static struct native_can can;
static const struct x86_cpu *cpu;
static u32 rows[4096], nr_rows;

static const struct { const char *name, *why; } not_natively[] = {
	{ "syscall", "system call" }, { "sysret", "system call" }, { "sysenter", "system call" },
	{ "sysexit", "system call" }, { "int", "system call" },
	{ "int1", "trap" }, { "int3", "trap" }, { "into", "trap" }, { "call far", "far transfer" }, { "jmp far", "far transfer" },
	{ "ret far", "far transfer" }, { "iret", "far transfer" },
	{ "vmcall", "hypercall" }, { "vmmcall", "hypercall" },
	{ "monitor", "enabled by the host's kernel or not" },
	{ "mwait", "enabled by the host's kernel or not" },
	{ "lar", "descriptor tables" }, { "lsl", "descriptor tables" },
	{ "verr", "descriptor tables" }, { "verw", "descriptor tables" },
	{ "sldt", "descriptor tables" }, { "str", "descriptor tables" },
	{ "sgdt", "descriptor tables" }, { "sidt", "descriptor tables" },
	{ "les", "descriptor tables" }, { "lds", "descriptor tables" },
	{ "lss", "descriptor tables" }, { "lfs", "descriptor tables" },
	{ "lgs", "descriptor tables" }, { "smsw", "control register" },
	{ "xgetbv", "the host's XCR0 has more" },
};

static bool has_kind(const struct x86_opcode *op, u8 kind)
{
	for (u32 i = 0; i < ARRAY_SIZE(op->op); i++) {
		if (op->op[i].kind == kind)
			return true;
	}
	return false;
}

static bool named(const struct x86_opcode *op, const char *name)
{
	return strcmp(op->name, name) == 0;
}

const char *generate_skips(const struct x86_opcode *op)
{
	if (op->attr & X86_A_TESTONLY)
		return "the result may differ between processors or runs";
	if (op->attr & X86_A_PRIV)
		return "privileged";
	if (op->attr & X86_A_IO)
		return "port I/O";
	if (op->feature && !x86_has(cpu, op->feature))
		return "not on this host";
	if (op->vex != X86_LEGACY && !(can.xsave_mask & 4))
		return "not on this host";
	for (u32 i = 0; i < ARRAY_SIZE(not_natively); i++) {
		if (named(op, not_natively[i].name))
			return not_natively[i].why;
	}
	for (u32 i = 0; i < ARRAY_SIZE(op->op); i++) {
		if ((op->op[i].kind == X86_OP_S || op->op[i].kind == X86_OP_SEG) &&
		    (op->op[i].access & X86_WR))
			return "descriptor tables";
	}
	if ((op->attr & X86_A_I64) && !can.compat)
		return "the host's kernel has no 32-bit code";
	return NULL;
}

bool generate_free_to_fault(const struct x86_opcode *op)
{
	static const char *const names[] = {
		"pusha", "popa", "enter", "bound", "call", "maskmovq", "maskmovdqu", "vmaskmovdqu",
	};

	for (u32 k = 0; k < ARRAY_SIZE(names); k++)
		if (!strcmp(op->name, names[k]))
			return true;
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		u8 size = op->op[k].size;

		if (op->op[k].kind == X86_OP_VSIB || size == X86_SZ_STATE || size == X86_SZ_ENV ||
		    size == X86_SZ_T)
			return true;
	}
	return strstr(op->name, "maskmov");
}

void generate_init(const struct native_can *c, const struct x86_cpu *x, const char *op)
{
	can = *c;
	cpu = x;
	nr_rows = 0;
	for (u32 i = 0; i < x86_optable_size && nr_rows < ARRAY_SIZE(rows); i++) {
		if (!generate_skips(&x86_optable[i]) && (!op || named(&x86_optable[i], op)))
			rows[nr_rows++] = i;
	}
}

u32 generate_rows(void)
{
	return nr_rows;
}

/* ---- values ---- */

u64 random_integer(struct rng *r)
{
	static const u64 edges[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
		~0ull, ~0ull - 1, 0x99, 0x9a, 0x0f, 0x10,
	};

	switch (below(r, 8)) {
	case 0:
		return edges[below(r, ARRAY_SIZE(edges))];
	case 1:
		return edges[below(r, ARRAY_SIZE(edges))] + below(r, 3) - 1;
	case 2:
		return (s64)(s8)rnd(r);
	case 3:
		return 1ull << below(r, 64);
	case 4:
		return rnd(r) >> below(r, 64);
	default:
		return rnd(r);
	}
}

/* A 64-bit address that no processor with 48 bits takes. */
static u64 noncanonical(struct rng *r)
{
	return (0x800000000000ull | rnd(r) << 48) & ~(1ull << 63);
}

/* A double, or two floats, near what matters: zeros, denormals, infinities, NaNs,
 * ordinary numbers. */
u64 random_floats(struct rng *r)
{
	static const u64 doubles[] = {
		0, 0x8000000000000000, 1, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
		0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
		0xfff8000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff8000000000000,
		0x4340000000000000, 0x41e0000000000000, 0xc1e0000000000000, 0x43e0000000000000,
		0x380fffffffffffff, 0x47efffffe0000000, 0x36a0000000000000, 0x3fefffffffffffff,
	};
	static const u32 singles[] = {
		0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000,
		0x7fc00000, 0x7f800001, 0xffc00000, 0x3f800000, 0xbf800000, 0x3fc00000, 0x4b800000,
		0x4f000000, 0xcf000000, 0x33000000, 0x477fe000, 0x38800000, 0x3f7fffff,
	};
	u64 hi, lo;

	switch (below(r, 8)) {
	case 0:
	case 1:
		return doubles[below(r, ARRAY_SIZE(doubles))];
	case 2:		/* ordinary, of close exponents */
		return (rnd(r) & 0x800fffffffffffff) | (u64)(1023 - 8 + below(r, 16)) << 52;
	case 3:
	case 4:
		hi = singles[below(r, ARRAY_SIZE(singles))];
		lo = singles[below(r, ARRAY_SIZE(singles))];
		return hi << 32 | lo;
	case 5:
		hi = (rnd(r) & 0x807fffff) | (127 - 4 + below(r, 8)) << 23;
		lo = (rnd(r) & 0x807fffff) | (127 - 4 + below(r, 8)) << 23;
		return hi << 32 | lo;
	case 6:
		return random_integer(r);
	default:
		return rnd(r);
	}
}

static void put64(u8 *p, u64 v)
{
	memcpy(p, &v, 8);
}

static void put32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
}

static void put16(u8 *p, u16 v)
{
	memcpy(p, &v, 2);
}

/* An extended-precision number. */
static void extended(struct rng *r, u8 *p)
{
	static const u16 exponents[] = {
		0, 0, 1, 0x3fff, 0x4000, 0x3ffe, 0x7ffe, 0x7fff, 0x7fff, 0x403e, 0x401e,
	};
	static const u64 mantissas[] = {
		0, 1, 0x8000000000000000, 0x8000000000000001, 0xc000000000000000, 0xffffffffffffffff,
		0x4000000000000000, 0x7fffffffffffffff,
	};
	u64 m = one_in(r, 2) ? mantissas[below(r, ARRAY_SIZE(mantissas))] : rnd(r) | 1ull << 63;
	u16 e = one_in(r, 2) ? exponents[below(r, ARRAY_SIZE(exponents))]
			     : 0x3fff - 16 + below(r, 64);

	if (one_in(r, 16)) {
		e = rnd(r);
		m = rnd(r);
	}
	put64(p, m);
	put16(p + 8, (e & 0x7fff) | (one_in(r, 2) ? 0x8000 : 0));
	memset(p + 10, 0, 6);
}

/* A whole x87, MMX and vector state, as XRSTOR takes it. */
static void fp_state(struct rng *r, u8 *x)
{
	u16 fcw = 0x37f, fsw = 0;
	u32 mxcsr = 0x1f80;

	memset(x, 0, XSAVE_HEADER + 64);
	if (one_in(r, 2))
		fcw = 0x7f | (rnd(r) & 0xf00);
	if (one_in(r, 8))
		fcw = (fcw & ~0x3f) | (rnd(r) & 0x3f);
	fsw = rnd(r) & 0x7f00 & ~(one_in(r, 2) ? 0x3800 : 0);
	if (one_in(r, 4))
		fsw |= rnd(r) & 0x7f;
	if (fsw & 0x3f & ~fcw)
		fsw |= 0x8080;
	put16(x, fcw);
	put16(x + 2, fsw);
	x[4] = one_in(r, 2) ? 0xff : one_in(r, 4) ? 0 : rnd(r);
	if (one_in(r, 2))
		mxcsr |= rnd(r) & 0xe040;	/* rounding, FZ, DAZ */
	if (one_in(r, 2))
		mxcsr |= rnd(r) & 0x3f;
	if (one_in(r, 8))
		mxcsr &= ~(rnd(r) & 0x1f80);
	put32(x + 24, mxcsr);
	put32(x + 28, 0xffff);
	for (u32 i = 0; i < 8; i++)
		extended(r, x + 32 + 16 * i);
	for (u32 i = 0; i < 32; i++) {
		put64(x + 160 + 8 * i, random_floats(r));
		put64(x + XSAVE_YMM + 8 * i, random_floats(r));
	}
	put64(x + XSAVE_HEADER, can.xsave_mask);
}

/* ---- encoding ---- */

struct encoding {
	u8 b[32];
	u32 n;
	u32 disp_at, disp_size;		/* of modrm's displacement, or of moffs */
	u32 imm_at;
};

static void put(struct encoding *e, u8 b)
{
	if (e->n < sizeof(e->b))
		e->b[e->n++] = b;
}

static bool uses_opsize(const struct x86_opcode *op)
{
	bool any = false;

	for (u32 i = 0; i < ARRAY_SIZE(op->op); i++) {
		u8 s = op->op[i].size;

		if (op->op[i].kind == X86_OP_NONE)
			continue;
		any = true;
		if (op->op[i].kind != X86_OP_SEG &&
		    (s == X86_SZ_V || s == X86_SZ_Z || s == X86_SZ_ENV || s == X86_SZ_STATE))
			return true;
	}
	return !any || (op->attr & (X86_A_D64 | X86_A_F64));
}

static void put_legacy_prefixes(struct rng *r, struct encoding *e, const struct x86_opcode *op,
				int mode)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	u8 p[16];
	u32 n = 0;
	bool plain = op->pfx == X86_PFX_ANY || op->pfx == X86_PFX_NOREP;
	bool vex = op->vex != X86_LEGACY;

	if (one_in(r, 8))
		p[n++] = 0x67;
	if (one_in(r, 8))
		p[n++] = segments[below(r, can.fsgs ? 6 : 4)];
	if (one_in(r, 64))
		p[n++] = segments[below(r, can.fsgs ? 6 : 4)];
	if (!vex) {
		if (op->pfx == X86_PFX_66)
			p[n++] = 0x66;
		if (op->pfx == X86_PFX_F3)
			p[n++] = 0xf3;
		if (op->pfx == X86_PFX_F2)
			p[n++] = 0xf2;
		/* With 66, MOVSXD reads two bytes or four, by processor. */
		if (op->pfx != X86_PFX_NP && op->pfx != X86_PFX_66 && uses_opsize(op) &&
		    !named(op, "movsxd") && one_in(r, 4))
			p[n++] = 0x66;
	}
	/* AMD's processors take F2 and F3 for LOOP's condition, Intel's do not. */
	if (op->map == X86_MAP_1 && op->opcode >= 0xe0 && op->opcode <= 0xe2)
		plain = false;
	if ((op->attr & X86_A_REP) ? one_in(r, 2) : plain && one_in(r, 32))
		p[n++] = one_in(r, 2) ? 0xf3 : 0xf2;
	if ((op->attr & X86_A_LOCK) ? one_in(r, 4) : one_in(r, 64))
		p[n++] = 0xf0;
	if (vex && one_in(r, 128))
		p[n++] = one_in(r, 2) ? 0x66 : 0xf3;
	/* Any order, and any repeated. */
	for (u32 i = n; i > 1; i--) {
		u32 j = below(r, i);
		u8 t = p[i - 1];

		p[i - 1] = p[j];
		p[j] = t;
	}
	for (u32 i = 0; i < n; i++)
		put(e, p[i]);
	if (n && one_in(r, 64))
		put(e, p[below(r, n)]);
	/* A REX that is not last is void. */
	if (mode == X86_MODE_64 && one_in(r, 128)) {
		put(e, 0x40 | (rnd(r) & 15));
		put(e, one_in(r, 2) ? 0x3e : 0x2e);
	}
}

static void put_vex(struct rng *r, struct encoding *e, const struct x86_opcode *op, int mode,
		    u8 rex)
{
	static const u8 pp[] = {
		[X86_PFX_66] = 1, [X86_PFX_F3] = 2, [X86_PFX_F2] = 3, [X86_PFX_NOREP] = 0
	};
	u8 vvvv = 0xf, l = op->vex == X86_VEX_256, w = rex >> 3;

	if (has_kind(op, X86_OP_H) || has_kind(op, X86_OP_B))
		vvvv = rnd(r) & 0xf;
	else if (one_in(r, 64))
		vvvv = rnd(r) & 0xf;
	if (op->vex == X86_VEX_ANY || op->vex == X86_VEX_LIG)
		l = one_in(r, 2);
	if (mode != X86_MODE_64) {
		vvvv |= 8;	/* or it is LES, LDS */
		rex &= 8;
	}
	if (op->map == X86_MAP_0F && !w && !(rex & 3) && one_in(r, 2)) {
		put(e, 0xc5);
		put(e, (rex & 4 ? 0 : 0x80) | vvvv << 3 | l << 2 | pp[op->pfx]);
		return;
	}
	put(e, 0xc4);
	put(e, (~rex & 7) << 5 | (op->map - X86_MAP_0F + 1));
	put(e, w << 7 | vvvv << 3 | l << 2 | pp[op->pfx]);
}

static void put_disp(struct rng *r, struct encoding *e, u32 size, u32 absolute)
{
	u32 v = one_in(r, 2) ? (u32)(s8)rnd(r) : (u32)(below(r, 4096) - 2048);

	if (!size)
		return;
	if (absolute)
		v = absolute;
	e->disp_at = e->n;
	e->disp_size = size;
	for (u32 i = 0; i < size; i++)
		put(e, v >> (8 * i));
}

static void put_modrm(struct rng *r, struct encoding *e, const struct x86_opcode *op, u32 addrsize,
		      bool mode64, u32 absolute)
{
	u8 mod = below(r, 4), reg = rnd(r) & 7, rm = rnd(r) & 7, sib;

	/* Memory and register forms alike. */
	if (mod != 3 && one_in(r, 3))
		mod = 3;
	if (op->mod == X86_MOD_MEM && mod == 3)
		mod = below(r, 3);
	if (op->mod == X86_MOD_REG)
		mod = 3;
	if (op->reg >= 0)
		reg = op->reg;
	if (op->rm >= 0)
		rm = op->rm;
	if (has_kind(op, X86_OP_VSIB))
		rm = 4;
	put(e, mod << 6 | reg << 3 | rm);
	if (mod == 3)
		return;
	if (addrsize == 2) {
		if (mod == 0 && rm == 6)
			put_disp(r, e, 2, absolute);
		else
			put_disp(r, e, mod, 0);
		return;
	}
	if (rm == 4) {
		sib = rnd(r);
		put(e, sib);
		if (mod == 0 && (sib & 7) == 5) {
			/* With no index either it is an address in full. */
			put_disp(r, e, 4, (sib >> 3 & 7) == 4 ? absolute : 0);
			return;
		}
	} else if (mod == 0 && rm == 5) {
		put_disp(r, e, 4, mode64 ? 0 : absolute);
		return;
	}
	put_disp(r, e, mod == 2 ? 4 : mod, 0);
}

/* Bytes of a row; what they address without a register is `absolute`. */
static void encode(struct rng *r, struct encoding *e, const struct x86_opcode *op, int mode,
		   u64 absolute)
{
	u8 rex = 0;
	u32 addrsize;

	e->n = 0;
	e->disp_size = 0;
	put_legacy_prefixes(r, e, op, mode);
	addrsize = memchr(e->b, 0x67, e->n) ? 1 : 0;
	if (mode == X86_MODE_64)
		addrsize = addrsize ? 4 : 8;
	else
		addrsize = addrsize == (mode == X86_MODE_16) ? 4 : 2;
	if (mode == X86_MODE_64 && one_in(r, 2))
		rex = rnd(r) & 15;
	if (op->w == X86_W0)
		rex &= 7;
	if (op->w == X86_W1)
		rex |= 8;
	if (op->vex != X86_LEGACY) {
		put_vex(r, e, op, mode, mode == X86_MODE_64 ? rex : (rnd(r) & 8) | (rex & 8));
	} else {
		if (op->mod == X86_MOD_NONE && op->rm >= 0)
			rex = (rex & ~1) | op->rm >> 3;
		if (mode == X86_MODE_64 && (rex || one_in(r, 8)))
			put(e, 0x40 | rex);
		if (op->map != X86_MAP_1)
			put(e, 0x0f);
		if (op->map == X86_MAP_0F38)
			put(e, 0x38);
		if (op->map == X86_MAP_0F3A)
			put(e, 0x3a);
	}
	put(e, op->opcode);
	if (op->mod != X86_MOD_NONE) {
		put_modrm(r, e, op, addrsize, mode == X86_MODE_64, absolute);
	} else if (has_kind(op, X86_OP_O)) {
		e->disp_at = e->n;
		e->disp_size = addrsize;
		for (u32 i = 0; i < addrsize; i++)
			put(e, absolute >> (8 * i));
	}
	e->imm_at = e->n;
	while (e->n < sizeof(e->b))
		put(e, one_in(r, 4) ? (u8)random_integer(r) : (u8)rnd(r));
}

/* ---- where memory operands go ---- */

u64 case_seg_base(const struct test_case *t, int seg)
{
	if (t->mode == X86_MODE_64)
		return seg == X86_SEG_FS ? t->in.fs_base : seg == X86_SEG_GS ? t->in.gs_base : 0;
	switch (seg) {
	case X86_SEG_CS:
		return t->mode == X86_MODE_16 ? CODE_BASE : 0;
	case X86_SEG_SS:
		return t->small_data || t->stack16 ? DATA_BASE : 0;
	case X86_SEG_FS:
	case X86_SEG_GS:
		return DATA_BASE;
	default:
		return t->small_data ? DATA_BASE : 0;
	}
}

static u32 size_bytes(const struct x86_insn *i, u8 size)
{
	u32 x = i->flags & X86_I_VEXL ? 32 : 16;

	switch (size) {
	case X86_SZ_B:
		return 1;
	case X86_SZ_W:
		return 2;
	case X86_SZ_D:
		return 4;
	case X86_SZ_Q:
		return 8;
	case X86_SZ_DQ:
		return 16;
	case X86_SZ_QQ:
		return 32;
	case X86_SZ_X:
		return x;
	case X86_SZ_HX:
		return x / 2;
	case X86_SZ_QX:
		return x / 4;
	case X86_SZ_OX:
		return x / 8;
	case X86_SZ_V:
		return i->opsize;
	case X86_SZ_Z:
		return i->opsize == 2 ? 2 : 4;
	case X86_SZ_Y:
		return i->opsize == 8 ? 8 : 4;
	case X86_SZ_P:
	case X86_SZ_T:
	case X86_SZ_S:
		return 10;
	case X86_SZ_ENV:
		return 28;
	case X86_SZ_STATE:
		return XSAVE_SIZE;
	default:
		return 1;
	}
}

static bool is_memory_kind(u8 kind)
{
	switch (kind) {
	case X86_OP_E:
	case X86_OP_M:
	case X86_OP_W:
	case X86_OP_Q:
	case X86_OP_VSIB:
	case X86_OP_X:
	case X86_OP_Y:
	case X86_OP_O:
		return true;
	}
	return false;
}

static u32 memory_bytes(const struct x86_insn *i)
{
	u32 n = 1;

	for (u32 k = 0; k < ARRAY_SIZE(x86_op(i)->op); k++) {
		if (is_memory_kind(x86_op(i)->op[k].kind))
			n = max(n, size_bytes(i, x86_op(i)->op[k].size));
	}
	return named(x86_op(i), "bound") ? 2 * n : n;
}

/* An offset in the data region for an operand of `size` bytes. */
static u32 place(struct rng *r, u32 size, bool align)
{
	u32 cross = size > 1 ? 1 + below(r, size - 1) : 1, at;

	switch (below(r, 32)) {
	case 0: case 1: case 2: case 3:
		at = DATA_RW2 - cross;
		break;
	case 4: case 5:
		at = DATA_READONLY - cross;
		break;
	case 6: case 7:
		at = DATA_READONLY + below(r, PAGE_SIZE - min(size, 4000u));
		break;
	case 8:
		at = DATA_READONLY + PAGE_SIZE - cross;
		break;
	case 9:
		at = DATA_RW - cross;
		break;
	case 10:
		at = 0x8000 + below(r, 0x6000);
		break;
	case 11:
		at = DATA_SIZE - size;
		break;
	case 12:
		at = DATA_SIZE - cross;
		break;
	case 13:
		at = DATA_FIRST + below(r, 64);
		break;
	default:
		at = DATA_RW + below(r, 2 * PAGE_SIZE - min(size, 4000u));
	}
	if (align && !one_in(r, 4))
		at &= ~(size - 1);
	return at;
}

/* The linear address of an operand; a few are absurd. */
static u64 place_linear(struct rng *r, const struct test_case *t, u32 size, bool align)
{
	if (t->mode == X86_MODE_64 && one_in(r, 64))
		return noncanonical(r) + DATA_BASE;
	return DATA_BASE + place(r, size, align);
}

static bool uses_stack(const struct x86_opcode *op)
{
	static const char *const names[] = {
		"push", "pop", "pusha", "popa", "pushf", "popf", "enter", "leave", "call", "ret",
	};

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		if (named(op, names[i]))
			return true;
	}
	return false;
}

/* Chooses registers such that the modrm operand is at offset ea in its segment. May miss by a
 * little where one register is both base and index. */
static void aim(struct rng *r, struct test_case *t, u64 ea)
{
	const struct x86_insn *i = &t->insn;
	u64 *g = t->in.gpr, rest = ea - (s64)i->disp;
	u64 mask = i->addrsize == 8 ? ~0ull : i->addrsize == 4 ? 0xffffffffull : 0xffff;
	u64 high = rnd(r) & ~mask;	/* does not take part */
	bool base = i->base < 16, index = i->index < 16 && !has_kind(x86_op(i), X86_OP_VSIB);

	if (base && index && i->base == i->index) {
		g[i->base] = (rest & mask) / (1 + (1 << i->scale));
	} else if (base) {
		/* RSP as the base of something that pushes: not far from the operand. */
		u64 x = one_in(r, 2) || uses_stack(x86_op(i)) ? below(r, 64) : rnd(r);

		if (index) {
			g[i->index] = x;
			rest -= x << i->scale;
		}
		g[i->base] = (rest & mask) | high;
	} else if (index) {
		g[i->index] = ((rest & mask) >> i->scale) | (i->addrsize == 8 ? 0 : high);
	}
}

/* Fills what is around an address of the data region, the same in both memories. */
static void fill(struct rng *r, struct memory *a, struct memory *b, u64 lin, u32 size, bool fp)
{
	u64 start = (lin - 16) & ~7ull, end = lin + size + 16;

	if (lin < DATA_BASE / 2 || lin > 2ull * DATA_BASE)
		return;
	for (u64 at = start; at < end; at += 8) {
		u64 v = fp ? random_floats(r) : random_integer(r);

		if (at < DATA_BASE || at > DATA_BASE + DATA_SIZE - 8)
			continue;
		memcpy(a->data + (at - DATA_BASE), &v, 8);
		memcpy(b->data + (at - DATA_BASE), &v, 8);
	}
}

static void poke(struct memory *a, struct memory *b, u64 lin, const void *p, u32 size)
{
	if (lin < DATA_BASE || lin > DATA_BASE + DATA_SIZE - size)
		return;
	memcpy(a->data + (lin - DATA_BASE), p, size);
	memcpy(b->data + (lin - DATA_BASE), p, size);
}

static void poke64(struct memory *a, struct memory *b, u64 lin, u64 v, u32 size)
{
	poke(a, b, lin, &v, size);
}

/* ---- what single instructions need ---- */

/* Where an indirect branch may go: INT3 on the code page, or nowhere. */
static u64 branch_target(struct rng *r, const struct test_case *t)
{
	u64 base = t->mode == X86_MODE_16 ? CODE_PAGE - CODE_BASE : CODE_PAGE;

	switch (below(r, 8)) {
	case 0:
		return t->mode == X86_MODE_64 ? noncanonical(r) : 0x70000000 + below(r, 4096);
	case 1:
		return DATA_BASE + 0x8000;
	default:
		return base + below(r, 0x700);
	}
}

static bool branch_lands_in_code(const struct test_case *t)
{
	u64 target = t->in.rip + t->insn.len + t->insn.imm;

	if (!(x86_op(&t->insn)->attr & X86_A_BRANCH) || !has_kind(x86_op(&t->insn), X86_OP_J))
		return false;
	if (t->insn.opsize == 2)
		target = (u16)target;
	if (t->mode != X86_MODE_64)
		target = (u32)target;
	/* The instruction, what follows it, and the runner's own pages. */
	if (target >= t->in.rip && target < t->in.rip + 32)
		return true;
	return t->mode != X86_MODE_16 && target >= STUB_PAGE && target < CTX + 2 * PAGE_SIZE;
}

static void prepare_stack(struct rng *r, struct test_case *t, struct memory *a, struct memory *b)
{
	const struct x86_insn *i = &t->insn;
	u64 base = case_seg_base(t, X86_SEG_SS), *g = t->in.gpr;
	u64 sp = place_linear(r, t, 16, false) - base, bp = place_linear(r, t, 16, false) - base;
	u32 size = i->opsize;
	bool free = !(i->flags & X86_I_MEM) || (i->base != X86_RSP && i->index != X86_RSP);

	if (named(x86_op(i), "leave") || named(x86_op(i), "enter")) {
		g[X86_RBP] = bp;
		fill(r, a, b, base + bp, 8, false);
	}
	if (free)
		g[X86_RSP] = t->stack16 ? (u16)sp | (rnd(r) & 0xffff0000) : sp;
	else
		sp = g[X86_RSP];
	fill(r, a, b, base + (t->stack16 ? (u16)sp : sp), 64, false);
	if (named(x86_op(i), "ret"))
		poke64(a, b, base + (t->stack16 ? (u16)sp : sp), branch_target(r, t), size);
	if (named(x86_op(i), "popf")) {
		/* Not TF, NT: they outlive the instruction. */
		u64 flags = rnd(r) & ~(u64)(X86_RFLAGS_TF | X86_RFLAGS_NT | X86_RFLAGS_RF);
		poke64(a, b, base + (t->stack16 ? (u16)sp : sp), flags, size);
	}
}

static void prepare_string(struct rng *r, struct test_case *t, struct memory *a, struct memory *b,
			   u32 reg, int seg, u32 size)
{
	const struct x86_insn *i = &t->insn;
	u64 base = case_seg_base(t, seg), lin = place_linear(r, t, size, false);
	u64 mask = i->addrsize == 8 ? ~0ull : i->addrsize == 4 ? 0xffffffffull : 0xffff;

	t->in.gpr[reg] = ((lin - base) & mask) | (rnd(r) & ~mask);
	fill(r, a, b, base + (t->in.gpr[reg] & mask), 256, false);
}

static void prepare_strings(struct rng *r, struct test_case *t, struct memory *a, struct memory *b)
{
	const struct x86_insn *i = &t->insn;
	int es = t->mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_ES;
	u64 mask = i->addrsize == 8 ? ~0ull : i->addrsize == 4 ? 0xffffffffull : 0xffff, count;
	u32 size = memory_bytes(i);

	if (has_kind(x86_op(i), X86_OP_X))
		prepare_string(r, t, a, b, X86_RSI, i->seg, size);
	if (has_kind(x86_op(i), X86_OP_Y))
		prepare_string(r, t, a, b, X86_RDI, es, size);
	if (!(i->flags & (X86_I_REP | X86_I_REPNE)))
		return;
	/* Overlaps are the interesting ones. */
	if (has_kind(x86_op(i), X86_OP_X) && has_kind(x86_op(i), X86_OP_Y) && one_in(r, 4))
		t->in.gpr[X86_RDI] = t->in.gpr[X86_RSI] + below(r, 64) - 32 +
				     case_seg_base(t, i->seg) - case_seg_base(t, es);
	count = one_in(r, 16) ? below(r, 3 * PAGE_SIZE) : one_in(r, 8) ? 0 : below(r, 40);
	t->in.gpr[X86_RCX] = count | (rnd(r) & ~mask);
	/* CMPS and SCAS that go on for a while. */
	if (one_in(r, 2) && has_kind(x86_op(i), X86_OP_Y)) {
		u64 y = case_seg_base(t, es) + (t->in.gpr[X86_RDI] & mask);
		u64 x = case_seg_base(t, i->seg) + (t->in.gpr[X86_RSI] & mask);

		for (s32 at = -128; at < 128; at += 8) {
			u64 v = t->in.gpr[X86_RAX] & 0xff;

			v |= v << 8;
			v |= v << 16;
			v |= v << 32;
			poke64(a, b, y + at, v, 8);
			if (has_kind(x86_op(i), X86_OP_X))
				poke64(a, b, x + at, v, 8);
		}
	}
}

/* Quotients that fit, more often than chance has it. */
static void prepare_division(struct rng *r, struct test_case *t)
{
	u64 *g = t->in.gpr;
	u32 shift = below(r, 8);

	if (one_in(r, 4))
		return;
	if (t->insn.opsize == 1)
		g[X86_RAX] = (g[X86_RAX] & ~0xffffull) | (g[X86_RAX] & 0xffff) >> (shift + 4);
	else if (named(x86_op(&t->insn), "idiv") && one_in(r, 2))
		g[X86_RDX] = (s64)(g[X86_RAX] << (64 - 8 * t->insn.opsize)) >> 63;
	else
		g[X86_RDX] = below(r, 4);
}

/* Indices that stay in the data region: a vector of small offsets. */
static void prepare_gather(struct rng *r, struct test_case *t)
{
	u8 *x = t->in.xsave;
	u32 n = t->insn.index;

	/* With 64-bit indices the upper halves are 0. */
	for (u32 k = 0; k < 4; k++) {
		u32 lo = below(r, 512), hi = strstr(x86_op(&t->insn)->name, "gatherq") ? 0 : below(r, 512);

		put32(x + 160 + 16 * n + 4 * k, k & 1 ? hi : lo);
		put32(x + XSAVE_YMM + 16 * n + 4 * k, k & 1 ? hi : lo);
	}
	/* Masks: whole elements on or off. */
	for (u32 k = 0; k < 4 && t->insn.vvvv != n; k++) {
		u32 on = one_in(r, 4) ? 0 : ~0u;

		put32(x + 160 + 16 * t->insn.vvvv + 4 * k, on);
		put32(x + XSAVE_YMM + 16 * t->insn.vvvv + 4 * k, one_in(r, 4) ? 0 : ~0u);
	}
}

/* A state image in memory that the instruction reads. */
static void prepare_state(struct rng *r, struct test_case *t, struct memory *a, struct memory *b,
			  u64 lin)
{
	u8 image[XSAVE_SIZE];

	fp_state(r, image);
	if (x86_op(&t->insn)->map != X86_MAP_1)
		put64(image + XSAVE_HEADER, rnd(r) & 7);
	poke(a, b, lin, image, sizeof(image));
}

/* XSAVE and kin: the components that both sides know. */
static bool choose_components(struct rng *r, struct test_case *t)
{
	const struct x86_insn *i = &t->insn;

	if (x86_op(i)->map == X86_MAP_1 || x86_op(i)->op[0].size != X86_SZ_STATE)
		return true;
	if (i->base == X86_RAX || i->index == X86_RAX || i->base == X86_RDX || i->index == X86_RDX)
		return false;
	t->in.gpr[X86_RAX] = rnd(r) & 7;
	t->in.gpr[X86_RDX] = 0;
	return true;
}

static u64 prepare_memory(struct rng *r, struct test_case *t, struct memory *a, struct memory *b,
			  u64 lin)
{
	const struct x86_insn *i = &t->insn;
	u32 size = memory_bytes(i);
	u64 base = case_seg_base(t, i->seg);

	aim(r, t, lin - base);
	/* Where it really is: aim may have missed. */
	if (i->base != X86_REG_RIP) {
		bool index = i->index < 16 && !has_kind(x86_op(i), X86_OP_VSIB);
		u64 ea = (i->base < 16 ? t->in.gpr[i->base] : 0) +
			 ((index ? t->in.gpr[i->index] : 0) << i->scale) + (s64)i->disp;

		lin = base + (i->addrsize == 8 ? ea : i->addrsize == 4 ? (u32)ea : (u16)ea);
	}
	fill(r, a, b, lin, min(size, 64u), t->fp);
	if (has_kind(x86_op(i), X86_OP_M) && size == XSAVE_SIZE)
		prepare_state(r, t, a, b, lin);
	if ((x86_op(i)->attr & X86_A_BRANCH) && has_kind(x86_op(i), X86_OP_E))
		poke64(a, b, lin, branch_target(r, t), i->opsize);
	/* Compare-and-exchange that succeeds. */
	if ((named(x86_op(i), "cmpxchg") || named(x86_op(i), "cmpxchg8b") || named(x86_op(i), "cmpxchg16b")) &&
	    one_in(r, 2)) {
		u32 part = named(x86_op(i), "cmpxchg") ? i->opsize : size / 2;

		poke64(a, b, lin, t->in.gpr[X86_RAX], part);
		if (!named(x86_op(i), "cmpxchg"))
			poke64(a, b, lin + part, t->in.gpr[X86_RDX], part);
	}
	return lin;
}

/* BT and kin with the bit's number in a register. */
static bool is_bit_string(const struct x86_opcode *op)
{
	return (named(op, "bt") || named(op, "bts") || named(op, "btr") || named(op, "btc")) &&
	       has_kind(op, X86_OP_G);
}

static void prepare_registers(struct rng *r, struct test_case *t)
{
	const struct x86_insn *i = &t->insn;
	u64 *g = t->in.gpr;

	for (u32 n = 0; n < 16; n++)
		g[n] = random_integer(r);
	if (t->mode != X86_MODE_64) {
		for (u32 n = 0; n < 16; n++)
			g[n] = (u32)g[n];
	}
	t->in.rflags = X86_RFLAGS_FIXED | X86_RFLAGS_IF | (rnd(r) & X86_RFLAGS_ARITH);
	if (one_in(r, 4))
		t->in.rflags |= X86_RFLAGS_DF;
	if (!i->fn)
		return;
	/* What alignment x87 and vector operands must have under AC is each processor's own. */
	if (!t->fp && one_in(r, 32))
		t->in.rflags |= X86_RFLAGS_AC;
	if ((x86_op(i)->attr & X86_A_BRANCH) && has_kind(x86_op(i), X86_OP_E) && !(i->flags & X86_I_MEM))
		g[i->rm] = branch_target(r, t);
	if (x86_op(i)->attr & X86_A_BRANCH && one_in(r, 2))
		g[X86_RCX] = below(r, 3);
	/* A bit number reaches as far as the data region. */
	if (is_bit_string(x86_op(i)))
		g[i->reg] = !one_in(r, 8) ? (s64)below(r, 65536) - 32768 :
			    one_in(r, 2) ? 1ll << 30 : -(1ll << 30);	/* nothing is there */
	if (named(x86_op(i), "wrfsbase") || named(x86_op(i), "wrgsbase"))
		g[i->rm] = one_in(r, 8) ? noncanonical(r) : 0x200000000000ull | rnd(r) >> 20;
	if (named(x86_op(i), "div") || named(x86_op(i), "idiv"))
		prepare_division(r, t);
	if (named(x86_op(i), "pcmpestri") || named(x86_op(i), "pcmpestrm") || named(x86_op(i), "vpcmpestri") ||
	    named(x86_op(i), "vpcmpestrm")) {
		g[X86_RAX] = below(r, 24) - 4;
		g[X86_RDX] = below(r, 24) - 4;
	}
}

static int choose_mode(struct rng *r, const struct x86_opcode *op)
{
	int mode = X86_MODE_64;

	if (can.compat && !(op->attr & X86_A_O64)) {
		u32 n = below(r, 8);

		mode = n < 2 ? X86_MODE_32 : n == 2 && can.ldt ? X86_MODE_16 : X86_MODE_64;
		if (mode == X86_MODE_64 && (op->attr & X86_A_I64))
			mode = can.ldt && one_in(r, 2) ? X86_MODE_16 : X86_MODE_32;
	}
	return mode;
}

/* Takes FS and GS where a segment prefix may use them, and elsewhere too. */
static void prepare_bases(struct rng *r, struct test_case *t)
{
	t->in.fs_base = t->in.gs_base = 0;
	if (t->mode != X86_MODE_64 || !can.fsgs)
		return;
	t->in.fs_base = DATA_BASE - below(r, 4096);
	/* Where neither a process nor a sanitizer has anything. */
	t->in.gs_base = one_in(r, 2) ? DATA_BASE : 0x200000000000ull | rnd(r) >> 20;
}

static bool touches_fp(const struct x86_opcode *op)
{
	return op->attr & (X86_A_HOST | X86_A_SSE | X86_A_AVX | X86_A_X87 | X86_A_MMX);
}

bool generate(u64 seed, u64 number, struct memory *a, struct memory *b, struct test_case *t)
{
	struct rng rng = random_start(seed, number), *r = &rng;
	const struct x86_opcode *op = &x86_optable[rows[number % nr_rows]];
	struct encoding e;
	u64 lin, base;
	int len, hint;

	t->number = number;
	t->mode = choose_mode(r, op);
	if (op->w == X86_W1 && op->vex == X86_LEGACY && t->mode != X86_MODE_64)
		return false;
	t->small_data = t->mode == X86_MODE_16 ||
			(t->mode == X86_MODE_32 && can.ldt && one_in(r, 2));
	t->stack16 = t->mode == X86_MODE_16 && !one_in(r, 4);
	t->attention = one_in(r, 4);
	t->careful = one_in(r, 16);
	t->lazy_fp = one_in(r, 2);
	t->in.rip = t->mode == X86_MODE_16 ? CODE_START - CODE_BASE : CODE_START;
	prepare_bases(r, t);

	/* A size before the size is known, for addresses that are in the code. */
	lin = place_linear(r, t, 16, false);
	hint = t->mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_DS;
	encode(r, &e, op, t->mode, lin - case_seg_base(t, hint));
	len = x86_decode(cpu->decoder, e.b, sizeof(e.b), t->mode, cpu->features, &t->insn);
	if (len <= 0) {
		/* The host must find it undefined too. */
		t->insn = (struct x86_insn){ .len = min(e.n, 12u) };
		t->fp = false;
		memcpy(t->bytes, e.b, 15);
		prepare_registers(r, t);
		for (u32 n = 0; n < 16; n++)
			t->in.gpr[n] = 0x7000000 + below(r, 256);
		return len == -1;
	}
	if (x86_op(&t->insn) != op && generate_skips(x86_op(&t->insn)))
		return false;
	/* One register cannot be an address and a bit number that reaches far from it. */
	if (is_bit_string(x86_op(&t->insn)) && (t->insn.flags & X86_I_MEM) &&
	    (t->insn.base == t->insn.reg || t->insn.index == t->insn.reg))
		return false;
	t->fp = touches_fp(x86_op(&t->insn));
	if (t->fp)
		fp_state(r, t->in.xsave);
	prepare_registers(r, t);

	lin = place_linear(r, t, memory_bytes(&t->insn),
			   (x86_op(&t->insn)->attr & X86_A_ALIGN) || memory_bytes(&t->insn) >= 16 ||
			   one_in(r, 2));
	if (t->insn.base == X86_REG_RIP) {
		u32 disp = lin - (CODE_START + len);

		memcpy(e.b + e.disp_at, &disp, 4);
		t->insn.disp = disp;
	}
	if (!choose_components(r, t))
		return false;
	if (has_kind(x86_op(&t->insn), X86_OP_VSIB))
		prepare_gather(r, t);
	if (uses_stack(x86_op(&t->insn)) && !(t->insn.flags & X86_I_MEM))
		prepare_stack(r, t, a, b);
	if (t->insn.flags & X86_I_MEM) {
		prepare_memory(r, t, a, b, lin);
		if (uses_stack(x86_op(&t->insn)))
			prepare_stack(r, t, a, b);
	} else if (has_kind(x86_op(&t->insn), X86_OP_O)) {
		fill(r, a, b, case_seg_base(t, t->insn.seg) + t->insn.imm, 16, false);
	}
	if (has_kind(x86_op(&t->insn), X86_OP_X) || has_kind(x86_op(&t->insn), X86_OP_Y))
		prepare_strings(r, t, a, b);
	base = case_seg_base(t, t->insn.seg);
	if (named(x86_op(&t->insn), "xlat"))
		t->in.gpr[X86_RBX] = lin - base - below(r, 256);
	if (named(x86_op(&t->insn), "maskmovq") || named(x86_op(&t->insn), "maskmovdqu") ||
	    named(x86_op(&t->insn), "vmaskmovdqu"))
		t->in.gpr[X86_RDI] = place_linear(r, t, 16, false) - base;
	if (named(x86_op(&t->insn), "enter")) {
		u32 size = below(r, 256);

		e.b[e.imm_at] = size;
		e.b[e.imm_at + 1] = one_in(r, 8) ? rnd(r) : 0;
		if (one_in(r, 2))
			e.b[e.imm_at + 2] = below(r, 4);
	}
	if (named(x86_op(&t->insn), "aam") && one_in(r, 2))
		e.b[e.imm_at] = 10;
	memcpy(t->bytes, e.b, 15);
	if (x86_decode(cpu->decoder, t->bytes, 15, t->mode, cpu->features, &t->insn) != len)
		return false;
	return !branch_lands_in_code(t);
}
