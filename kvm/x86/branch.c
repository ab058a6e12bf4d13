/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Near branches: Jcc, JMP, CALL, RET, LOOP, JCXZ; and BOUND. Far ones are in transfer.c.
 *
 * RIP is behind the instruction when a handler starts. A target that CS does not allow is the
 * branch's own #GP(0), and nothing has changed then.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

/* Checks a branch target and cuts it to the operand size (8: 64-bit mode). */
static __always_inline int branch_target(struct x86_cpu *c, u32 size, u64 *target)
{
	if (size == 8) {
		if (unlikely((u64)((s64)(*target << 16) >> 16) != *target))
			return x86_raise_err(c, X86_GP, 0);
		return X86_OK;
	}
	*target = size == 2 ? (u16)*target : (u32)*target;
	/* 16 bits in 64-bit mode (AMD) is always within. */
	if (unlikely(*target > c->seg[X86_SEG_CS].limit) && c->mode != X86_MODE_64)
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

static __always_inline int branch(struct x86_cpu *c, u32 size, u64 target)
{
	int r = branch_target(c, size, &target);

	if (likely(!r))
		c_rip(c) = target;
	return r;
}

#define JCC_SIZE(bits, sfx, q, name, cc)						\
static int j##name##_##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	if (x86_condition(c->rflags, cc))						\
		return branch(c, bits / 8, c_rip(c) + i->imm);				\
	return X86_OK;									\
}
#define JCC_HANDLERS(name, cc)								\
	FOR_WIDE_SIZES(JCC_SIZE, name, cc)						\
	X86_HANDLER_SIZES(j##name, NULL, j##name##_16, j##name##_32, j##name##_64);
X86_FOR_CONDITIONS(JCC_HANDLERS)

/* A call: the target is checked before the return address is pushed. */
static __always_inline int call(struct x86_cpu *c, u32 size, u64 target)
{
	int r = branch_target(c, size, &target);

	if (unlikely(r))
		return r;
	r = x86_push(c, size, c_rip(c));
	if (unlikely(r))
		return r;
	c_rip(c) = target;
	return X86_OK;
}

static __always_inline int ret(struct x86_cpu *c, const struct x86_insn *i, u32 size)
{
	u64 sp = c->regs[X86_RSP], target;
	int r = x86_pop_at(c, &sp, size, &target);

	if (unlikely(r))
		return r;
	r = branch(c, size, target);
	if (likely(!r))
		x86_set_sp(c, sp + i->imm);
	return r;
}

#define BRANCH_HANDLERS(bits, sfx, q, ...)						\
static int jmp_j_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return branch(c, bits / 8, c_rip(c) + i->imm);					\
}											\
static int jmp_e_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return branch(c, bits / 8, c->regs[i->rm]);					\
}											\
static int jmp_e_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 target;									\
	int r = x86_operand_read(c, i, bits / 8, &target);				\
											\
	if (unlikely(r))								\
		return r;								\
	return branch(c, bits / 8, target);						\
}											\
static int call_j_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return call(c, bits / 8, c_rip(c) + i->imm);					\
}											\
static int call_e_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return call(c, bits / 8, c->regs[i->rm]);					\
}											\
static int call_e_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 target;									\
	int r = x86_operand_read(c, i, bits / 8, &target);				\
											\
	if (unlikely(r))								\
		return r;								\
	return call(c, bits / 8, target);						\
}											\
static int ret_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return ret(c, i, bits / 8);							\
}											\
static int jcxz_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	if (c->regs[X86_RCX] & x86_addr_mask(i))					\
		return X86_OK;								\
	return branch(c, bits / 8, c_rip(c) + i->imm);					\
}											\
/* zf: what ZF must be to go on, -1 for any. */						\
static __always_inline int loop_while_##bits(struct x86_cpu *c, const struct x86_insn *i, int zf) \
{											\
	u64 count = (c->regs[X86_RCX] - 1) & x86_addr_mask(i);				\
	int r;										\
											\
	if (count && (zf < 0 || zf == !!(c->rflags & X86_RFLAGS_ZF))) {			\
		r = branch(c, bits / 8, c_rip(c) + i->imm);				\
		if (unlikely(r))							\
			return r;							\
	}										\
	x86_addr_reg_set(c, i, X86_RCX, count);						\
	return X86_OK;									\
}											\
static int loop_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return loop_while_##bits(c, i, -1);						\
}											\
static int loope_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return loop_while_##bits(c, i, 1);						\
}											\
static int loopne_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return loop_while_##bits(c, i, 0);						\
}
FOR_WIDE_SIZES(BRANCH_HANDLERS,)
X86_HANDLER_SIZES(jmp_j, NULL, jmp_j_16, jmp_j_32, jmp_j_64);
ALU_TABLE_WIDE(jmp_e, jmp_e);
X86_HANDLER_SIZES(call_j, NULL, call_j_16, call_j_32, call_j_64);
ALU_TABLE_WIDE(call_e, call_e);
X86_HANDLER_SIZES(ret, NULL, ret_16, ret_32, ret_64);
X86_HANDLER_SIZES(jcxz, NULL, jcxz_16, jcxz_32, jcxz_64);
X86_HANDLER_SIZES(loop, NULL, loop_16, loop_32, loop_64);
X86_HANDLER_SIZES(loope, NULL, loope_16, loope_32, loope_64);
X86_HANDLER_SIZES(loopne, NULL, loopne_16, loopne_32, loopne_64);

/* BOUND: two signed limits in memory, the lower first. The upper is not read where the lower fails.
 */
static __always_inline int bound(struct x86_cpu *c, const struct x86_insn *i, u32 size)
{
	s64 index = size == 2 ? (s16)c->regs[i->reg] : (s32)c->regs[i->reg], limit;
	u64 ea = x86_ea(c, i), lin, v;

	for (u32 n = 0; n < 2; n++) {
		int r = x86_lin(c, i->seg, (ea + n * size) & x86_addr_mask(i), size, X86_READ,
				&lin);

		if (unlikely(r))
			return r;
		r = x86_read_size(c, lin, size, &v);
		if (unlikely(r))
			return r;
		limit = size == 2 ? (s16)v : (s32)v;
		if (n ? index > limit : index < limit)
			return x86_raise(c, X86_BR);
	}
	return X86_OK;
}

static int bound_16(struct x86_cpu *c, const struct x86_insn *i)
{
	return bound(c, i, 2);
}

static int bound_32(struct x86_cpu *c, const struct x86_insn *i)
{
	return bound(c, i, 4);
}
X86_HANDLER_SIZES(bound, NULL, bound_16, bound_32, NULL);
