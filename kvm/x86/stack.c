/* SPDX-License-Identifier: GPL-2.0-only */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. Segment registers and RFLAGS are pushed in system.c. */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

#define NR_PUSHA	8

#define STACK_HANDLERS(bits, sfx, q, ...)						\
static int push_e_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return x86_push(c, bits / 8, c->regs[i->rm]);					\
}											\
static int push_e_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	return x86_push(c, bits / 8, v);						\
}											\
static int push_i_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return x86_push(c, bits / 8, i->imm);						\
}											\
static int pop_e_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_pop(c, bits / 8, &v);						\
											\
	if (likely(!r))									\
		x86_reg_set(c, i, i->rm, bits / 8, v);					\
	return r;									\
}											\
/* The address of the destination is computed with the new stack pointer. */		\
static int pop_e_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 old = c->regs[X86_RSP], v;							\
	int r = x86_pop(c, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	r = x86_operand_write(c, i, bits / 8, v);					\
	if (unlikely(r))								\
		c->regs[X86_RSP] = old;							\
	return r;									\
}											\
/* RSP takes the whole of RBP that the stack's width covers; RBP is popped by operand size. */ \
static int leave_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 sp = c->regs[X86_RBP], v;							\
	int r = x86_pop_at(c, &sp, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	x86_set_sp(c, sp);								\
	x86_reg_set(c, i, X86_RBP, bits / 8, v);					\
	return X86_OK;									\
}											\
static int enter_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 sp = c->regs[X86_RSP], bp = c->regs[X86_RBP], mask = x86_stack_mask(c);	\
	u32 level = i->imm2 & 31;							\
	u64 frame, lin, v;								\
	int r = x86_push_at(c, &sp, bits / 8, bp);					\
											\
	if (r)										\
		return r;								\
	/* Its bits above the stack's width are RSP's. */				\
	frame = (c->regs[X86_RSP] & ~mask) | sp;					\
	/* The enclosing frames' pointers, then this one's. */				\
	for (u32 n = 1; n < level; n++) {						\
		bp = (bp - bits / 8) & mask;						\
		r = x86_lin(c, x86_stack_seg(c), bp, bits / 8, X86_READ, &lin);		\
		if (r)									\
			return r;							\
		r = x86_read_size(c, lin, bits / 8, &v);				\
		if (r)									\
			return x86_stack_result(c, r);					\
		r = x86_push_at(c, &sp, bits / 8, v);					\
		if (r)									\
			return r;							\
	}										\
	if (level) {									\
		r = x86_push_at(c, &sp, bits / 8, frame);				\
		if (r)									\
			return r;							\
	}										\
	sp = (sp - i->imm) & mask;							\
	/* A new stack pointer that cannot be written through faults here already. */	\
	r = x86_lin(c, x86_stack_seg(c), sp, bits / 8, X86_WRITE, &lin);		\
	if (r)										\
		return r;								\
	r = x86_probe(c, lin, bits / 8, X86_WRITE);					\
	if (r)										\
		return x86_stack_result(c, r);						\
	x86_reg_set(c, i, X86_RBP, bits / 8, frame);					\
	x86_set_sp(c, sp);								\
	return X86_OK;									\
}
FOR_WIDE_SIZES(STACK_HANDLERS,)
ALU_TABLE_WIDE(push_e, push_e);
ALU_TABLE_WIDE(pop_e, pop_e);
X86_HANDLER_SIZES(push_i, NULL, push_i_16, push_i_32, push_i_64);
X86_HANDLER_SIZES(leave, NULL, leave_16, leave_32, leave_64);
X86_HANDLER_SIZES(enter, NULL, enter_16, enter_32, enter_64);

/* Nothing is written before all eight are known to succeed. */
static __always_inline int pusha(struct x86_cpu *c, u32 size)
{
	u64 sp = c->regs[X86_RSP], lin;
	int r;

	for (u32 n = 1; n <= NR_PUSHA; n++) {
		u64 at = (sp - n * size) & x86_stack_mask(c);

		r = x86_lin(c, X86_SEG_SS, at, size, X86_WRITE, &lin);
		if (r)
			return r;
		r = x86_probe(c, lin, size, X86_WRITE);
		if (r)
			return r;
	}
	/* RSP's turn pushes what it was before. */
	for (u32 n = 0; n < NR_PUSHA; n++) {
		r = x86_push_at(c, &sp, size, c->regs[n]);
		if (r)
			return r;
	}
	x86_set_sp(c, sp);
	return X86_OK;
}

static __always_inline int popa(struct x86_cpu *c, const struct x86_insn *i, u32 size)
{
	u64 sp = c->regs[X86_RSP], v[NR_PUSHA];

	for (int n = NR_PUSHA - 1; n >= 0; n--) {
		int r = x86_pop_at(c, &sp, size, &v[n]);

		if (r)
			return r;
	}
	for (u32 n = 0; n < NR_PUSHA; n++) {
		if (n != X86_RSP)
			x86_reg_set(c, i, n, size, v[n]);
	}
	x86_set_sp(c, sp);
	return X86_OK;
}

static int pusha_16(struct x86_cpu *c, const struct x86_insn *i)
{
	return pusha(c, 2);
}

static int pusha_32(struct x86_cpu *c, const struct x86_insn *i)
{
	return pusha(c, 4);
}

static int popa_16(struct x86_cpu *c, const struct x86_insn *i)
{
	return popa(c, i, 2);
}

static int popa_32(struct x86_cpu *c, const struct x86_insn *i)
{
	return popa(c, i, 4);
}
X86_HANDLER_SIZES(pusha, NULL, pusha_16, pusha_32, NULL);
X86_HANDLER_SIZES(popa, NULL, popa_16, popa_32, NULL);
