/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flags of an SSE instruction that overflows or underflows while the guest does not mask that.
 *
 * Such an operation raises the precision exception too only if its result is inexact with the
 * exponent thought unbounded (SDM volume 1, 4.9.1.4 and 4.9.1.5). Run with all exceptions masked,
 * the host says "inexact" of every overflow, and of underflows by the digits that a denormal
 * loses. So each element is run by itself, with 1.0 in all others, and those in question once more
 * with exponents moved to where nothing overflows: that changes neither the digits of a product, a
 * quotient or a conversion, nor, if all terms move alike, those of a sum.
 *
 * The dot products compute in stages; an exception that is not masked ends them after its stage.
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/xstate.h"

/* OTHER: neither overflows nor underflows. */
enum op_kind { OTHER, ADD, PAIRS, MULTIPLY, CONVERT, FMA, DOT };

/* An instruction's operands where the thunk that stands in for it finds them. */
enum { REG = 1, VVVV = 2, RM = 3, NR_OPERANDS = 4 };

struct element {
	u32 size;		/* 4, 8 */
	u32 bias, mant_bits;
	u64 exp_mask;
};

static enum op_kind kind_of(const struct x86_opcode *op)
{
	if (op->map == X86_MAP_0F) {
		switch (op->opcode) {
		case 0x58: case 0x5c: case 0xd0:
			return ADD;
		case 0x7c: case 0x7d:
			return PAIRS;
		case 0x59: case 0x5e:
			return MULTIPLY;
		case 0x5a:		/* to single precision */
			return op->pfx == X86_PFX_66 || op->pfx == X86_PFX_F2 ? CONVERT : OTHER;
		}
	}
	if (op->map == X86_MAP_0F38 && op->opcode >= 0x96 && op->opcode <= 0xbf)
		return FMA;
	if (op->map == X86_MAP_0F3A && op->opcode == 0x1d)
		return CONVERT;
	if (op->map == X86_MAP_0F3A && (op->opcode == 0x40 || op->opcode == 0x41))
		return DOT;
	return OTHER;
}

bool soft_fp_flags_matter(const struct x86_opcode *op)
{
	return kind_of(op) != OTHER;
}

/* Of the source; cvtps2ph and the scalar and packed single forms are the ones with 4 bytes. */
static struct element element_of(const struct x86_opcode *op, enum op_kind kind)
{
	bool doubles = kind == DOT ? op->opcode == 0x41 : kind == FMA ? op->w == X86_W1 :
		       op->map == X86_MAP_0F && (op->opcode >= 0x7c ? op->pfx == X86_PFX_66 :
						 op->pfx == X86_PFX_66 || op->pfx == X86_PFX_F2);

	if (doubles)
		return (struct element){ 8, 1023, 52, 0x7ff };
	return (struct element){ 4, 127, 23, 0xff };
}

static u64 get_element(const union x86_vec *v, const struct element *e, u32 k)
{
	u64 val = 0;

	memcpy(&val, v->b + k * e->size, e->size);
	return val;
}

static void set_element(union x86_vec *v, const struct element *e, u32 k, u64 val)
{
	memcpy(v->b + k * e->size, &val, e->size);
}

/* A finite number other than zero, with its exponent unbiased and its fraction without the
 * leading one. With `daz` denormals are zeros. */
static bool take_apart(const struct element *e, bool daz, u64 x, int *exp, u64 *frac)
{
	u32 biased = (x >> e->mant_bits) & e->exp_mask;

	*frac = x & (BIT_ULL(e->mant_bits) - 1);
	if (biased == e->exp_mask || (!biased && (daz || !*frac)))
		return false;
	*exp = (int)biased - (int)e->bias;
	if (!biased) {
		*exp = 1 - (int)e->bias;
		while (!(*frac & BIT_ULL(e->mant_bits))) {
			*frac <<= 1;
			--*exp;
		}
		*frac &= BIT_ULL(e->mant_bits) - 1;
	}
	return true;
}

/* x with another exponent. One that is out of range becomes the nearest in range: the caller
 * sees to it that this is too far from the other term to matter. */
static u64 with_exponent(const struct element *e, u64 x, int exp, u64 frac)
{
	u64 sign = x & BIT_ULL(e->mant_bits + (e->size == 4 ? 8 : 11));
	int most = e->bias - 4;

	exp = exp < -most ? -most : exp > most ? most : exp;
	return sign | (u64)(exp + (int)e->bias) << e->mant_bits | frac;
}

/* Moves the exponents of element k so that the result is well in range, and exact if and only
 * if it was. */
static void move_exponents(const struct element *e, enum op_kind kind, const struct x86_opcode *op,
			   union x86_vec *in, u32 k, bool daz)
{
	int exp[NR_OPERANDS], sum = 0;
	u64 frac[NR_OPERANDS];
	bool ok[NR_OPERANDS];
	/* FMA: the addend by operand order, 132, 213, 231. */
	u32 order = op->opcode >> 4, addend = order == 9 ? VVVV : order == 0xa ? RM : REG;

	for (u32 o = REG; o < NR_OPERANDS; o++)
		ok[o] = take_apart(e, daz, get_element(&in[o], e, k), &exp[o], &frac[o]);
	for (u32 o = REG; o < NR_OPERANDS && kind == FMA; o++) {
		if (o != addend && ok[o])
			sum += exp[o];
	}
	for (u32 o = REG; o < NR_OPERANDS; o++) {
		int to = 0;

		if (!ok[o])
			continue;
		if (kind == ADD || kind == PAIRS)
			to = exp[o] - 4;
		else if (kind == FMA && o == addend)
			to = exp[o] - sum;
		set_element(&in[o], e, k, with_exponent(e, get_element(&in[o], e, k), to, frac[o]));
	}
}

/* What computes on made-up operands: an instruction's thunk, or a stage of a dot product. */
struct job {
	enum op_kind kind;
	struct element e;
	bool half;			/* the results are half precision */
	struct x86_cpu *c;
	const struct soft_thunk *t;	/* NULL: MULTIPLY or ADD */
	struct x86_insn i;
};

typedef u8 vec128 __attribute__((vector_size(16), may_alias));

/* in[REG] = in[REG] op in[RM], 16 bytes. */
static u32 run_stage(const struct job *job, union x86_vec *in, u32 mxcsr)
{
	vec128 a = *(vec128 *)in[REG].b, b = *(vec128 *)in[RM].b;
	u32 host = soft_get_mxcsr(), flags;

	soft_put_mxcsr((mxcsr | X86_MXCSR_MASKS) & ~X86_MXCSR_FLAGS);
	if (job->kind == MULTIPLY && job->e.size == 4)
		__asm__ __volatile__("mulps %1, %0" : "+x"(a) : "x"(b) : "memory");
	else if (job->kind == MULTIPLY)
		__asm__ __volatile__("mulpd %1, %0" : "+x"(a) : "x"(b) : "memory");
	else if (job->e.size == 4)
		__asm__ __volatile__("addps %1, %0" : "+x"(a) : "x"(b) : "memory");
	else
		__asm__ __volatile__("addpd %1, %0" : "+x"(a) : "x"(b) : "memory");
	flags = soft_get_mxcsr() & X86_MXCSR_FLAGS;
	soft_put_mxcsr(host);
	*(vec128 *)in[REG].b = a;
	return flags;
}

static u32 run_on(const struct job *job, const union x86_vec *in, u32 mxcsr)
{
	u8 mem[32] __attribute__((aligned(32)));
	union x86_vec copy[NR_OPERANDS];

	if (!job->t) {
		memcpy(copy, in, sizeof(copy));
		return run_stage(job, copy, mxcsr);
	}
	memcpy(&job->c->fpu.ymm[REG], &in[REG], 3 * sizeof(in[0]));
	memcpy(mem, in[RM].b, sizeof(mem));
	return soft_run_masked(job->c, &job->i, job->t, mem, mxcsr);
}

/* Is this float a half-precision denormal, exactly? */
static bool tiny_half(u32 x)
{
	u32 biased = (x >> 23) & 0xff;

	return biased >= 127 - 24 && biased < 127 - 14 && !(x & (BIT(23 - (biased - (127 - 24))) - 1));
}

static void all_ones(union x86_vec *in, const struct element *e)
{
	memset(in, 0, NR_OPERANDS * sizeof(in[0]));
	for (u32 o = REG; o < NR_OPERANDS; o++) {
		for (u32 k = 0; k < 32 / e->size; k++)
			set_element(&in[o], e, k, (u64)e->bias << e->mant_bits);
	}
}

/* Element k's flags, with underflow and precision as above. */
static u32 element_flags(const struct job *job, const union x86_vec *orig, u32 k, u32 mxcsr)
{
	const struct element *e = &job->e;
	u32 at_once = job->kind == PAIRS ? 2 : 1, flags, trapped;
	union x86_vec in[NR_OPERANDS];

	all_ones(in, e);
	for (u32 o = REG; o < NR_OPERANDS; o++) {
		for (u32 m = k; m < k + at_once; m++)
			set_element(&in[o], e, m, get_element(&orig[o], e, m));
	}
	flags = run_on(job, in, mxcsr);
	if (!(mxcsr & X86_MXCSR_UM)) {
		if (job->half)		/* not subject to flush-to-zero */
			flags |= tiny_half(get_element(&orig[REG], e, k)) ? X86_MXCSR_UE : 0;
		else
			flags |= run_on(job, in, mxcsr | X86_MXCSR_FTZ) & X86_MXCSR_UE;
	}
	trapped = flags & ~(mxcsr >> 7) & (X86_MXCSR_OE | X86_MXCSR_UE);
	/* Sums that underflow are exact. */
	if (trapped && !((job->kind == ADD || job->kind == PAIRS) && trapped == X86_MXCSR_UE)) {
		for (u32 m = k; m < k + at_once; m++)
			move_exponents(e, job->kind, x86_op(&job->i), in, m, mxcsr & X86_MXCSR_DAZ);
		flags &= ~X86_MXCSR_PE;
		flags |= run_on(job, in, mxcsr) & X86_MXCSR_PE;
	}
	return flags;
}

/* What is left of a set of flags where one of them that is not masked stops the operation. */
static u32 stop_at(u32 flags, u32 mxcsr)
{
	return flags & ~(mxcsr >> 7) & X86_MXCSR_PRE ? flags & X86_MXCSR_PRE : flags;
}

static u32 all_flags(const struct job *job, const union x86_vec *orig, u32 n, u32 mxcsr)
{
	u32 flags = 0;

	for (u32 k = 0; k < n; k += job->kind == PAIRS ? 2 : 1)
		flags |= element_flags(job, orig, k, mxcsr);
	return stop_at(flags, mxcsr);
}

/*
 * DPPS and DPPD: products of the elements that the immediate names, 0 for the others; sums of
 * neighbours; for four elements, the sum of these. An exception that is not masked keeps the next
 * stage from starting.
 */
static u32 dot_flags(struct job *job, const union x86_vec *orig, u32 imm, u32 halves, u32 mxcsr)
{
	u32 n = 16 / job->e.size, flags = 0;
	union x86_vec in[2][NR_OPERANDS], next[NR_OPERANDS];

	job->kind = MULTIPLY;
	for (u32 h = 0; h < halves; h++) {
		all_ones(in[h], &job->e);
		for (u32 k = 0; k < n; k++) {
			if (!(imm & BIT(4 + k)))
				continue;
			set_element(&in[h][REG], &job->e, k,
				    get_element(&orig[REG], &job->e, h * n + k));
			set_element(&in[h][RM], &job->e, k,
				    get_element(&orig[RM], &job->e, h * n + k));
		}
	}
	for (;;) {
		u32 stage = 0;

		for (u32 h = 0; h < halves; h++)
			stage |= all_flags(job, in[h], n, mxcsr);
		flags |= stop_at(stage, mxcsr);
		if ((flags & ~(mxcsr >> 7)) || (n == 1 && job->kind == ADD))
			return flags;
		for (u32 h = 0; h < halves; h++) {
			run_stage(job, in[h], mxcsr);
			all_ones(next, &job->e);
			for (u32 k = 0; k < n; k++) {
				u64 val = get_element(&in[h][REG], &job->e, k);

				if (job->kind == MULTIPLY && !(imm & BIT(4 + k)))
					val = 0;
				set_element(&next[k & 1 ? RM : REG], &job->e, k / 2, val);
			}
			memcpy(in[h], next, sizeof(next));
		}
		n /= 2;
		job->kind = ADD;
	}
}

static u32 nr_elements(const struct job *job, const struct x86_insn *i)
{
	const struct x86_opcode *op = x86_op(i);
	bool scalar = (op->pfx == X86_PFX_F3 || op->pfx == X86_PFX_F2) && job->kind != PAIRS && op->opcode != 0xd0;

	if (scalar || op->vex == X86_VEX_LIG)
		return 1;
	if (op->vex == X86_LEGACY || !(i->flags & X86_I_VEXL))
		return 16 / job->e.size;
	return 32 / job->e.size;
}

u32 soft_fp_flags(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t,
		  const void *mem, u32 mxcsr)
{
	struct job job = { .kind = kind_of(x86_op(i)), .c = c, .t = t, .i = *i };
	union x86_vec saved[NR_OPERANDS], orig[NR_OPERANDS];
	bool store = x86_op(i)->op[0].kind == X86_OP_W;
	u32 flags;

	job.e = element_of(x86_op(i), job.kind);
	job.half = job.kind == CONVERT && store;
	memset(orig, 0, sizeof(orig));
	orig[REG] = c->fpu.ymm[i->reg];
	orig[VVVV] = c->fpu.ymm[i->vvvv];
	if (t->mem_size && !store)
		memcpy(orig[RM].b, mem, t->mem_size);
	else
		orig[RM] = c->fpu.ymm[i->rm];

	memcpy(saved, c->fpu.ymm, sizeof(saved));
	job.i.reg = REG;
	job.i.vvvv = VVVV;
	job.i.rm = RM;
	if (job.kind == DOT) {
		if (x86_op(i)->vex != X86_LEGACY)
			orig[REG] = orig[VVVV];
		job.t = NULL;
		flags = dot_flags(&job, orig, i->imm2,
				  x86_op(i)->vex != X86_LEGACY && i->flags & X86_I_VEXL ? 2 : 1, mxcsr);
	} else {
		flags = all_flags(&job, orig, nr_elements(&job, i), mxcsr);
	}
	memcpy(c->fpu.ymm, saved, sizeof(saved));
	return flags;
}
