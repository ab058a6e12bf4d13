/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MUL, IMUL, DIV, IDIV; and the decimal instructions DAA, DAS, AAA, AAS, AAM, AAD.
 *
 * Divisions run on the host only after it is known that they will not raise #DE there.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

/* ---- multiplication into rDX:rAX; AX for bytes ---- */

/* rax names AX, EAX, RAX by size: flags are in AX around the instruction itself. */
#define MUL_SIZE(bits, sfx, rax, name)							\
static int name##_e_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits lo = c->regs[X86_RAX], hi;						\
	u64 v;										\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__(FLAGS_FROM_AX "mov %[lo], %%" rax "\n\t" #name sfx " %[v]\n\t"		\
		"mov %%" rax ", %[lo]\n\t" FLAGS_TO_AX					\
		: [lo] "+&r" (lo), "=&d" (hi), "+&a" (ax) : [v] "r" ((u##bits)v) : "cc"); \
	x86_reg_set(c, i, X86_RAX, bits / 8, lo);					\
	x86_reg_set(c, i, X86_RDX, bits / 8, hi);					\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
#define MUL_BYTE(name)									\
static int name##_e_8(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u16 prod = (u8)c->regs[X86_RAX];						\
	u64 v;										\
	int r = x86_rm_get(c, i, 1, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__(FLAGS_FROM_AX "mov %[p], %%ax\n\t" #name "b %[v]\n\t"			\
		"mov %%ax, %[p]\n\t" FLAGS_TO_AX					\
		: [p] "+&r" (prod), "+&a" (ax) : [v] "q" ((u8)v) : "cc");		\
	*(u16 *)&c->regs[X86_RAX] = prod;						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
#define MUL_OPERATION(name)								\
	MUL_BYTE(name)									\
	MUL_SIZE(16, "w", "ax", name)							\
	MUL_SIZE(32, "l", "eax", name)							\
	MUL_SIZE(64, "q", "rax", name)							\
	X86_HANDLER_SIZES(name##_e, name##_e_8, name##_e_16, name##_e_32, name##_e_64)

MUL_OPERATION(mul);
MUL_OPERATION(imul);

/* ---- IMUL with two and three operands: G = G * E, G = E * immediate ---- */

#define IMUL_SIZE(bits, sfx, q, ...)							\
static __always_inline void imul_##bits(struct x86_cpu *c, const struct x86_insn *i,	\
					u##bits a, u##bits b)				\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
											\
	__asm__(FLAGS_FROM_AX "imul" sfx " %[b], %[a]\n\t" FLAGS_TO_AX			\
		: [a] "+r" (a), "+a" (ax) : [b] "r" (b) : "cc");			\
	x86_reg_set(c, i, i->reg, bits / 8, a);						\
	x86_flags_set(c, ax);								\
}											\
static int imul_ge_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	imul_##bits(c, i, c->regs[i->reg], v);						\
	return X86_OK;									\
}											\
static int imul_gei_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	imul_##bits(c, i, v, i->imm);							\
	return X86_OK;									\
}
FOR_WIDE_SIZES(IMUL_SIZE,)
X86_HANDLER_SIZES(imul_ge, NULL, imul_ge_16, imul_ge_32, imul_ge_64);
X86_HANDLER_SIZES(imul_gei, NULL, imul_gei_16, imul_gei_32, imul_gei_64);

/* ---- division of rDX:rAX; AX for bytes ---- */

/* Does hi:lo / v overflow a quotient of as many bits? */
static __always_inline bool div_overflows(u64 hi, u64 v)
{
	return hi >= v;		/* v of 0 included */
}

/* The same with signs: by magnitudes, whose quotient must be at most 2^(bits-1), and less for a
 * positive result. */
static __always_inline bool idiv_overflows_64(u64 hi, u64 lo, u64 v)
{
	bool negative = (s64)hi < 0, result_negative = negative != ((s64)v < 0);
	u64 quotient, remainder;

	if (negative) {
		hi = ~hi + !lo;
		lo = -lo;
	}
	if ((s64)v < 0)
		v = -v;
	if (div_overflows(hi, v))
		return true;
	__asm__("divq %[v]"
		: "=a"(quotient), "=d"(remainder)
		: "a"(lo), "d"(hi), [v] "r"(v)
		: "cc");
	return quotient > (1ull << 63) - !result_negative;
}

/* Up to 64 bits of dividend. */
static __always_inline bool idiv_overflows(s64 dividend, s64 v, u32 bits)
{
	s64 quotient, limit = 1ll << (bits - 1);

	if (!v || (v == -1 && dividend == INT64_MIN))
		return true;
	quotient = dividend / v;
	return quotient < -limit || quotient >= limit;
}

static __always_inline bool idiv_overflows_32(u64 hi, u64 lo, u64 v)
{
	return idiv_overflows(hi << 32 | lo, (s32)v, 32);
}

static __always_inline bool idiv_overflows_16(u64 hi, u64 lo, u64 v)
{
	return idiv_overflows((s32)(hi << 16 | lo), (s16)v, 16);
}

#define DIV_SIZE(bits, sfx, rax, name, overflows)					\
static int name##_e_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits lo = c->regs[X86_RAX], hi = c->regs[X86_RDX];				\
	u64 v;										\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(overflows))							\
		return x86_raise(c, X86_DE);						\
	__asm__(FLAGS_FROM_AX "mov %[lo], %%" rax "\n\t" #name sfx " %[v]\n\t"		\
		"mov %%" rax ", %[lo]\n\t" FLAGS_TO_AX					\
		: [lo] "+&r" (lo), "+&d" (hi), "+&a" (ax) : [v] "r" ((u##bits)v) : "cc"); \
	x86_reg_set(c, i, X86_RAX, bits / 8, lo);					\
	x86_reg_set(c, i, X86_RDX, bits / 8, hi);					\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
#define DIV_BYTE(name, overflows)							\
static int name##_e_8(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u16 dividend = c->regs[X86_RAX];						\
	u64 v;										\
	int r = x86_rm_get(c, i, 1, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(overflows))							\
		return x86_raise(c, X86_DE);						\
	__asm__(FLAGS_FROM_AX "mov %[d], %%ax\n\t" #name "b %[v]\n\t"			\
		"mov %%ax, %[d]\n\t" FLAGS_TO_AX					\
		: [d] "+&r" (dividend), "+&a" (ax) : [v] "q" ((u8)v) : "cc");		\
	*(u16 *)&c->regs[X86_RAX] = dividend;						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}

DIV_BYTE(div, div_overflows(dividend >> 8, v))
DIV_SIZE(16, "w", "ax", div, div_overflows(hi, v))
DIV_SIZE(32, "l", "eax", div, div_overflows(hi, v))
DIV_SIZE(64, "q", "rax", div, div_overflows(hi, v))
X86_HANDLER_SIZES(div_e, div_e_8, div_e_16, div_e_32, div_e_64);

DIV_BYTE(idiv, idiv_overflows((s16)dividend, (s8)v, 8))
DIV_SIZE(16, "w", "ax", idiv, idiv_overflows_16(hi, lo, v))
DIV_SIZE(32, "l", "eax", idiv, idiv_overflows_32(hi, lo, v))
DIV_SIZE(64, "q", "rax", idiv, idiv_overflows_64(hi, lo, v))
X86_HANDLER_SIZES(idiv_e, idiv_e_8, idiv_e_16, idiv_e_32, idiv_e_64);

/* ---- decimal: not in 64-bit mode, so that the host cannot do them here ---- */

static u64 flag(bool on, u64 bit)
{
	return on ? bit : 0;
}

/* SF, ZF, PF of a byte. */
static u64 result_flags(u8 v)
{
	return flag(v & 0x80, X86_RFLAGS_SF) | flag(!v, X86_RFLAGS_ZF) |
	       flag(!__builtin_parity(v), X86_RFLAGS_PF);
}

static void set_arith(struct x86_cpu *c, u64 flags)
{
	c->rflags = (c->rflags & ~(u64)X86_RFLAGS_ARITH) | flags;
}

/* Flags of a addition or subtraction of `bits`, whose result is r: what the manuals leave undefined
 * in the decimal instructions is, on AMD's processors, that of the correction as such. */
static u64 sum_flags(u16 a, u16 b, u16 r, u32 bits, bool subtract)
{
	u16 overflow = subtract ? (a ^ b) & (a ^ r) : ~(a ^ b) & (a ^ r);

	return flag((overflow >> (bits - 1)) & 1, X86_RFLAGS_OF) |
	       flag((r >> (bits - 1)) & 1, X86_RFLAGS_SF) |
	       flag(!(bits == 8 ? (u8)r : r), X86_RFLAGS_ZF) |
	       flag(!__builtin_parity((u8)r), X86_RFLAGS_PF);
}

/* DAA and DAS differ in the sign of their corrections. */
static int decimal_adjust(struct x86_cpu *c, bool subtract)
{
	u8 al = c->regs[X86_RAX], correction = 0, result;
	bool af = c->rflags & X86_RFLAGS_AF || (al & 0xf) > 9;
	bool cf = c->rflags & X86_RFLAGS_CF || al > 0x99;

	if (af)
		correction += 6;
	if (cf)
		correction += 0x60;
	if (af && subtract)
		cf |= al < 6;
	result = subtract ? al - correction : al + correction;
	*(u8 *)&c->regs[X86_RAX] = result;
	set_arith(c, sum_flags(al, correction, result, 8, subtract) | flag(af, X86_RFLAGS_AF) |
		     flag(cf, X86_RFLAGS_CF));
	return X86_OK;
}

static int do_daa(struct x86_cpu *c, const struct x86_insn *i)
{
	return decimal_adjust(c, false);
}
X86_HANDLER(daa, do_daa);

static int do_das(struct x86_cpu *c, const struct x86_insn *i)
{
	return decimal_adjust(c, true);
}
X86_HANDLER(das, do_das);

static int ascii_adjust(struct x86_cpu *c, bool subtract)
{
	u16 ax = c->regs[X86_RAX], correction = 0, result;
	bool adjust = c->rflags & X86_RFLAGS_AF || (ax & 0xf) > 9;

	if (adjust)
		correction = 0x106;
	result = subtract ? ax - correction : ax + correction;
	*(u16 *)&c->regs[X86_RAX] = result & 0xff0f;
	set_arith(c, sum_flags(ax, correction, result, 16, subtract) |
		     flag(adjust, X86_RFLAGS_AF | X86_RFLAGS_CF));
	return X86_OK;
}

static int do_aaa(struct x86_cpu *c, const struct x86_insn *i)
{
	return ascii_adjust(c, false);
}
X86_HANDLER(aaa, do_aaa);

static int do_aas(struct x86_cpu *c, const struct x86_insn *i)
{
	return ascii_adjust(c, true);
}
X86_HANDLER(aas, do_aas);

static int do_aam(struct x86_cpu *c, const struct x86_insn *i)
{
	u8 al = c->regs[X86_RAX], base = i->imm;

	if (!base)
		return x86_raise(c, X86_DE);
	*(u16 *)&c->regs[X86_RAX] = (al / base) << 8 | al % base;
	set_arith(c, result_flags(al % base));
	return X86_OK;
}
X86_HANDLER(aam, do_aam);

static int do_aad(struct x86_cpu *c, const struct x86_insn *i)
{
	u8 al = c->regs[X86_RAX], ah = c->regs[X86_RAX] >> 8, tens = ah * (u8)i->imm,
	   result = al + tens;

	*(u16 *)&c->regs[X86_RAX] = result;
	set_arith(c, sum_flags(al, tens, result, 8, false) | flag(result < al, X86_RFLAGS_CF) |
		     flag(((al & 0xf) + (tens & 0xf)) > 0xf, X86_RFLAGS_AF));
	return X86_OK;
}
X86_HANDLER(aad, do_aad);
