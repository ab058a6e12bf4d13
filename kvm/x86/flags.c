/* SPDX-License-Identifier: GPL-2.0-only */
/* Instructions on the flags: CLC and kin, LAHF, SAHF, SALC; SETcc and CMOVcc, which read them. */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

static int do_clc(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags &= ~(u64)X86_RFLAGS_CF;
	return X86_OK;
}
X86_HANDLER(clc, do_clc);

static int do_stc(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags |= X86_RFLAGS_CF;
	return X86_OK;
}
X86_HANDLER(stc, do_stc);

static int do_cmc(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags ^= X86_RFLAGS_CF;
	return X86_OK;
}
X86_HANDLER(cmc, do_cmc);

static int do_cld(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags &= ~(u64)X86_RFLAGS_DF;
	return X86_OK;
}
X86_HANDLER(cld, do_cld);

static int do_std(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags |= X86_RFLAGS_DF;
	return X86_OK;
}
X86_HANDLER(std, do_std);

#define AH_FLAGS (X86_RFLAGS_SF | X86_RFLAGS_ZF | X86_RFLAGS_AF | X86_RFLAGS_PF | X86_RFLAGS_CF)

static int do_lahf(struct x86_cpu *c, const struct x86_insn *i)
{
	((u8 *)&c->regs[X86_RAX])[1] = c->rflags;
	return X86_OK;
}
X86_HANDLER(lahf, do_lahf);

static int do_sahf(struct x86_cpu *c, const struct x86_insn *i)
{
	c->rflags = (c->rflags & ~(u64)AH_FLAGS) | ((c->regs[X86_RAX] >> 8) & AH_FLAGS);
	return X86_OK;
}
X86_HANDLER(sahf, do_sahf);

static int do_salc(struct x86_cpu *c, const struct x86_insn *i)
{
	*(u8 *)&c->regs[X86_RAX] = c->rflags & X86_RFLAGS_CF ? 0xff : 0;
	return X86_OK;
}
X86_HANDLER(salc, do_salc);

#define SETCC_HANDLERS(name, cc)							\
static int set##name##_r(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	*x86_reg8(c, i, i->rm) = x86_condition(c->rflags, cc);				\
	return X86_OK;									\
}											\
static int set##name##_m(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return x86_operand_write(c, i, 1, x86_condition(c->rflags, cc));		\
}											\
X86_HANDLER_RM(set##name, set##name##_r, set##name##_m);
X86_FOR_CONDITIONS(SETCC_HANDLERS)

/* The memory operand is read, and a 32-bit destination zero-extended, whatever the condition. */
#define CMOV_SIZE(bits, sfx, q, name, cc)						\
static int cmov##name##_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u32 from = x86_condition(c->rflags, cc) ? i->rm : i->reg;			\
											\
	x86_reg_set(c, i, i->reg, bits / 8, c->regs[from]);				\
	return X86_OK;									\
}											\
static int cmov##name##_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	if (!x86_condition(c->rflags, cc))						\
		v = c->regs[i->reg];							\
	x86_reg_set(c, i, i->reg, bits / 8, v);						\
	return X86_OK;									\
}
#define CMOV_HANDLERS(name, cc)								\
	FOR_WIDE_SIZES(CMOV_SIZE, name, cc)						\
	ALU_TABLE_WIDE(cmov##name, cmov##name);
X86_FOR_CONDITIONS(CMOV_HANDLERS)
