/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ROL, ROR, RCL, RCR, SHL, SHR, SAR, SHLD, SHRD.
 *
 * All flags go in and come out: a count of zero leaves them, RCL and RCR take CF, and what is
 * undefined may depend on what was there. The memory operand is written whatever the count.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

#define SHIFT_SIZE(bits, sfx, q, name)							\
static __always_inline u##bits name##_##bits(u##bits a, u8 count, u32 *ax)		\
{											\
	__asm__(FLAGS_FROM_AX #name sfx " %%cl, %[a]\n\t" FLAGS_TO_AX			\
		: [a] "+" q (a), "+a" (*ax) : "c" (count) : "cc");			\
	return a;									\
}											\
static __always_inline int name##_reg_##bits(struct x86_cpu *c, const struct x86_insn *i, u8 count) \
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits v = name##_##bits(x86_reg_get(c, i, i->rm, bits / 8), count, &ax);	\
											\
	x86_reg_set(c, i, i->rm, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static __always_inline int name##_mem_##bits(struct x86_cpu *c, const struct x86_insn *i, u8 count) \
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u64 lin, v;									\
	void *host;									\
	int r = x86_operand_lin(c, i, bits / 8, X86_WRITE, &lin);			\
											\
	if (unlikely(r))								\
		return r;								\
	r = x86_modify_begin(c, lin, bits / 8, &host, &v);				\
	if (unlikely(r))								\
		return r;								\
	r = x86_modify_end(c, lin, bits / 8, host, name##_##bits(v, count, &ax));	\
	if (likely(!r))									\
		x86_flags_set(c, ax);							\
	return r;									\
}											\
static int name##_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, i->imm);						\
}											\
static int name##_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_mem_##bits(c, i, i->imm);						\
}											\
static int name##_e1_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, 1);						\
}											\
static int name##_e1_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_mem_##bits(c, i, 1);						\
}											\
static int name##_ec_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, c->regs[X86_RCX]);				\
}											\
static int name##_ec_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_mem_##bits(c, i, c->regs[X86_RCX]);				\
}
#define SHIFT_OPERATION(name)								\
	FOR_SIZES(SHIFT_SIZE, name)							\
	ALU_TABLE(name##_ei, name##_ei);						\
	ALU_TABLE(name##_e1, name##_e1);						\
	ALU_TABLE(name##_ec, name##_ec)

SHIFT_OPERATION(rol);
SHIFT_OPERATION(ror);
SHIFT_OPERATION(rcl);
SHIFT_OPERATION(rcr);
SHIFT_OPERATION(shl);
SHIFT_OPERATION(shr);
SHIFT_OPERATION(sar);

#define DOUBLE_SIZE(bits, sfx, q, name)							\
static __always_inline u##bits name##_##bits(u##bits a, u##bits b, u8 count, u32 *ax)	\
{											\
	__asm__(FLAGS_FROM_AX #name sfx " %%cl, %[b], %[a]\n\t" FLAGS_TO_AX		\
		: [a] "+r" (a), "+a" (*ax) : [b] "r" (b), "c" (count) : "cc");		\
	return a;									\
}											\
static __always_inline int name##_any_r##bits(struct x86_cpu *c, const struct x86_insn *i, u8 count) \
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits v = name##_##bits(c->regs[i->rm], c->regs[i->reg], count, &ax);		\
											\
	x86_reg_set(c, i, i->rm, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static __always_inline int name##_any_m##bits(struct x86_cpu *c, const struct x86_insn *i, u8 count) \
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u64 lin, v;									\
	void *host;									\
	int r = x86_operand_lin(c, i, bits / 8, X86_WRITE, &lin);			\
											\
	if (unlikely(r))								\
		return r;								\
	r = x86_modify_begin(c, lin, bits / 8, &host, &v);				\
	if (unlikely(r))								\
		return r;								\
	r = x86_modify_end(c, lin, bits / 8, host,					\
			   name##_##bits(v, c->regs[i->reg], count, &ax));		\
	if (likely(!r))									\
		x86_flags_set(c, ax);							\
	return r;									\
}											\
static int name##_i_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_any_r##bits(c, i, i->imm);					\
}											\
static int name##_i_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_any_m##bits(c, i, i->imm);					\
}											\
static int name##_c_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_any_r##bits(c, i, c->regs[X86_RCX]);				\
}											\
static int name##_c_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_any_m##bits(c, i, c->regs[X86_RCX]);				\
}
FOR_WIDE_SIZES(DOUBLE_SIZE, shld)
FOR_WIDE_SIZES(DOUBLE_SIZE, shrd)
ALU_TABLE_WIDE(shld_i, shld_i);
ALU_TABLE_WIDE(shld_c, shld_c);
ALU_TABLE_WIDE(shrd_i, shrd_i);
ALU_TABLE_WIDE(shrd_c, shrd_c);
