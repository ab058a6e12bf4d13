/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, ADCX, ADOX.
 *
 * A macro makes, for each operation and size, the computation on registers, on memory and on memory
 * under LOCK; another makes the handlers by operand form: er (E, G), re (G, E), ei (E, immediate).
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

int x86_rmw_by_copy(struct x86_cpu *c, const struct x86_insn *i, u64 lin, u32 size, u64 b,
		    x86_alu_fn *f, u64 mask)
{
	bool locked = i->flags & X86_I_LOCK;
	u64 a = 0;
	u32 ax = 0;
	int r;

	if (locked)
		x86_split_lock(c);
	switch (size) {
	case 1:
		r = x86_read_size(c, lin, 1, &a);
		break;
	case 2:
		r = x86_read_size(c, lin, 2, &a);
		break;
	case 4:
		r = x86_read_size(c, lin, 4, &a);
		break;
	default:
		r = x86_read_size(c, lin, 8, &a);
	}
	if (r)
		goto out;
	a = f(a, b, c->rflags, &ax);
	r = x86_write_slow(c, lin, &a, size);
	if (!r)
		x86_flags_merge(c, ax, mask);
out:
	if (locked)
		x86_split_unlock(c);
	return r;
}

/* ---- two operands ---- */

/* name_bits(a, b), name_at_bits(p, b), name_lock_bits(p, b). `pre` runs before the instruction. */
#define ALU_COMPUTE(bits, sfx, q, name, pre)						\
static __always_inline u##bits name##_##bits(u##bits a, u##bits b, u64 rf, u32 *ax)	\
{											\
	__asm__(pre #name sfx " %[b], %[a]\n\t" FLAGS_TO_AX				\
		: [a] "+" q (a), "=a" (*ax) : [b] q (b), [rf] "r" (rf) : "cc");		\
	return a;									\
}											\
static u64 name##_copy_##bits(u64 a, u64 b, u64 rf, u32 *ax)				\
{											\
	return name##_##bits(a, b, rf, ax);						\
}											\
static __always_inline void name##_at_##bits(u##bits *p, u##bits b, u64 rf, u32 *ax)	\
{											\
	__asm__ __volatile__(pre #name sfx " %[b], %[p]\n\t" FLAGS_TO_AX		\
		: [p] "+m" (*p), "=a" (*ax) : [b] q (b), [rf] "r" (rf) : "cc");		\
}											\
static __always_inline void name##_lock_##bits(u##bits *p, u##bits b, u64 rf, u32 *ax)	\
{											\
	__asm__ __volatile__(pre "lock; " #name sfx " %[b], %[p]\n\t" FLAGS_TO_AX	\
		: [p] "+m" (*p), "=a" (*ax) : [b] q (b), [rf] "r" (rf) : "cc", "memory"); \
}

#define ALU_HANDLERS(bits, sfx, q, name)						\
static __always_inline int name##_mem_##bits(struct x86_cpu *c, const struct x86_insn *i, \
					     u##bits b)					\
{											\
	void *p;									\
	u64 lin;									\
	u32 ax;										\
	int r = x86_operand_rmw(c, i, bits / 8, &lin, &p);				\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(!p))								\
		return x86_rmw_by_copy(c, i, lin, bits / 8, b, name##_copy_##bits,	\
				       X86_RFLAGS_ARITH);				\
	if (unlikely(i->flags & X86_I_LOCK))						\
		name##_lock_##bits(p, b, c->rflags, &ax);				\
	else										\
		name##_at_##bits(p, b, c->rflags, &ax);					\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static __always_inline int name##_reg_##bits(struct x86_cpu *c, const struct x86_insn *i, \
					     u32 dst, u##bits b)			\
{											\
	u32 ax;										\
	u##bits v = name##_##bits(x86_reg_get(c, i, dst, bits / 8), b, c->rflags, &ax);	\
											\
	x86_reg_set(c, i, dst, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static int name##_er_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, i->rm, x86_reg_get(c, i, i->reg, bits / 8));	\
}											\
static int name##_er_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_mem_##bits(c, i, x86_reg_get(c, i, i->reg, bits / 8));		\
}											\
static int name##_re_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, i->reg, x86_reg_get(c, i, i->rm, bits / 8));	\
}											\
static int name##_re_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 b;										\
	int r = x86_operand_read(c, i, bits / 8, &b);					\
											\
	if (unlikely(r))								\
		return r;								\
	return name##_reg_##bits(c, i, i->reg, b);					\
}											\
static int name##_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, i->rm, i->imm);					\
}											\
static int name##_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_mem_##bits(c, i, i->imm);						\
}

#define ALU_OPERATION(name, pre)							\
	FOR_SIZES(ALU_COMPUTE, name, pre)						\
	FOR_SIZES(ALU_HANDLERS, name)							\
	ALU_TABLE(name##_er, name##_er);						\
	ALU_TABLE(name##_re, name##_re);						\
	ALU_TABLE(name##_ei, name##_ei)

ALU_OPERATION(add, "");
ALU_OPERATION(or, "");
ALU_OPERATION(adc, CF_FROM_RFLAGS);
ALU_OPERATION(sbb, CF_FROM_RFLAGS);
ALU_OPERATION(and, "");
ALU_OPERATION(sub, "");
ALU_OPERATION(xor, "");

/* ---- comparisons: flags only ---- */

#define CMP_HANDLERS(bits, sfx, q, name)						\
static __always_inline int name##_##bits(struct x86_cpu *c, u##bits a, u##bits b)	\
{											\
	u32 ax;										\
											\
	__asm__(#name sfx " %[b], %[a]\n\t" FLAGS_TO_AX					\
		: "=a" (ax) : [a] q (a), [b] q (b) : "cc");				\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static int name##_er_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_##bits(c, x86_reg_get(c, i, i->rm, bits / 8),			\
			     x86_reg_get(c, i, i->reg, bits / 8));			\
}											\
static int name##_er_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 a;										\
	int r = x86_operand_read(c, i, bits / 8, &a);					\
											\
	if (unlikely(r))								\
		return r;								\
	return name##_##bits(c, a, x86_reg_get(c, i, i->reg, bits / 8));		\
}											\
static int name##_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_##bits(c, x86_reg_get(c, i, i->rm, bits / 8), i->imm);		\
}											\
static int name##_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 a;										\
	int r = x86_operand_read(c, i, bits / 8, &a);					\
											\
	if (unlikely(r))								\
		return r;								\
	return name##_##bits(c, a, i->imm);						\
}

FOR_SIZES(CMP_HANDLERS, cmp)
FOR_SIZES(CMP_HANDLERS, test)
ALU_TABLE(cmp_er, cmp_er);
ALU_TABLE(cmp_ei, cmp_ei);
ALU_TABLE(test_er, test_er);
ALU_TABLE(test_ei, test_ei);

/* CMP's other direction; TEST has none. */
#define CMP_RE(bits, sfx, q, ...)							\
static int cmp_re_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return cmp_##bits(c, x86_reg_get(c, i, i->reg, bits / 8),			\
			  x86_reg_get(c, i, i->rm, bits / 8));				\
}											\
static int cmp_re_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 b;										\
	int r = x86_operand_read(c, i, bits / 8, &b);					\
											\
	if (unlikely(r))								\
		return r;								\
	return cmp_##bits(c, x86_reg_get(c, i, i->reg, bits / 8), b);			\
}
FOR_SIZES(CMP_RE,)
ALU_TABLE(cmp_re, cmp_re);

/* ---- one operand ---- */

/* mask: the flags that it changes. INC and DEC leave CF; NOT leaves all. */
#define UNARY_HANDLERS(bits, sfx, q, name, mask)					\
static __always_inline u##bits name##_##bits(u##bits a, u32 *ax)			\
{											\
	__asm__(#name sfx " %[a]\n\t" FLAGS_TO_AX : [a] "+" q (a), "=a" (*ax) : : "cc");	\
	return a;									\
}											\
static u64 name##_copy_##bits(u64 a, u64 b, u64 rf, u32 *ax)				\
{											\
	return name##_##bits(a, ax);							\
}											\
static int name##_e_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u32 ax;										\
	u##bits v = name##_##bits(x86_reg_get(c, i, i->rm, bits / 8), &ax);		\
											\
	x86_reg_set(c, i, i->rm, bits / 8, v);						\
	x86_flags_merge(c, ax, mask);							\
	return X86_OK;									\
}											\
static int name##_e_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	void *host;									\
	u##bits *p;									\
	u64 lin;									\
	u32 ax;										\
	int r = x86_operand_rmw(c, i, bits / 8, &lin, &host);				\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(!host))								\
		return x86_rmw_by_copy(c, i, lin, bits / 8, 0, name##_copy_##bits, mask); \
	p = host;									\
	if (unlikely(i->flags & X86_I_LOCK))						\
		__asm__ __volatile__("lock; " #name sfx " %[p]\n\t" FLAGS_TO_AX		\
			: [p] "+m" (*p), "=a" (ax) : : "cc", "memory");			\
	else										\
		__asm__ __volatile__(#name sfx " %[p]\n\t" FLAGS_TO_AX			\
			: [p] "+m" (*p), "=a" (ax) : : "cc");				\
	x86_flags_merge(c, ax, mask);							\
	return X86_OK;									\
}

#define UNARY_OPERATION(name, mask)							\
	FOR_SIZES(UNARY_HANDLERS, name, mask)						\
	ALU_TABLE(name##_e, name##_e)

UNARY_OPERATION(inc, X86_RFLAGS_ARITH & ~X86_RFLAGS_CF);
UNARY_OPERATION(dec, X86_RFLAGS_ARITH & ~X86_RFLAGS_CF);
UNARY_OPERATION(neg, X86_RFLAGS_ARITH);
UNARY_OPERATION(not, 0u);

/* ---- ADCX, ADOX: carry in and out through CF or OF alone; no other flag ---- */

/* Plain arithmetic: the host need not have ADX. */
static __always_inline int add_through(struct x86_cpu *c, const struct x86_insn *i, u32 size, u32 flag)
{
	u64 carry = !!(c->rflags & flag), b, sum;
	bool out;

	if (i->flags & X86_I_MEM) {
		int r = x86_operand_read(c, i, size, &b);

		if (unlikely(r))
			return r;
	} else {
		b = x86_reg_get(c, i, i->rm, size);
	}
	if (size == 8) {
		out = __builtin_add_overflow(c->regs[i->reg], b, &sum);
		out |= __builtin_add_overflow(sum, carry, &sum);
	} else {
		sum = (u64)(u32)c->regs[i->reg] + b + carry;
		out = sum >> 32;
	}
	x86_reg_set(c, i, i->reg, size, sum);
	c->rflags = (c->rflags & ~(u64)flag) | (out ? flag : 0);
	return X86_OK;
}

static int do_adcx32(struct x86_cpu *c, const struct x86_insn *i)
{
	return add_through(c, i, 4, X86_RFLAGS_CF);
}

static int do_adcx64(struct x86_cpu *c, const struct x86_insn *i)
{
	return add_through(c, i, 8, X86_RFLAGS_CF);
}

static int do_adox32(struct x86_cpu *c, const struct x86_insn *i)
{
	return add_through(c, i, 4, X86_RFLAGS_OF);
}

static int do_adox64(struct x86_cpu *c, const struct x86_insn *i)
{
	return add_through(c, i, 8, X86_RFLAGS_OF);
}
X86_HANDLER_SIZES(adcx, NULL, NULL, do_adcx32, do_adcx64);
X86_HANDLER_SIZES(adox, NULL, NULL, do_adox32, do_adox64);
