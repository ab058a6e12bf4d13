/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arithmetic with the host's own instructions, so that every flag, the undefined ones too, is what
 * this processor makes of it.
 *
 * Flags travel in AX as LAHF and SETO leave them: AH holds SF, ZF, AF, PF, CF, and AL is OF. That is
 * several times quicker than PUSHF and POPF. POPF appears only where an instruction needs all of
 * RAX itself.
 */
#ifndef KVM_X86_ALU_H
#define KVM_X86_ALU_H

#include "kvm/x86/handler.h"

/* In asm templates: flags to AX, and from AX (which destroys it). */
#define FLAGS_TO_AX	"lahf\n\tseto %%al\n\t"
#define FLAGS_FROM_AX	"addb $127, %%al\n\tsahf\n\t"
/* CF from bit 0 of operand `rf`. */
#define CF_FROM_RFLAGS	"btl $0, %k[rf]\n\t"

/* Everything by operand size: M(bits, suffix, constraint of a register, …). */
#define FOR_SIZES(M, ...)								\
	M(8, "b", "q", __VA_ARGS__)							\
	M(16, "w", "r", __VA_ARGS__)							\
	M(32, "l", "r", __VA_ARGS__)							\
	M(64, "q", "r", __VA_ARGS__)
/* Without bytes. */
#define FOR_WIDE_SIZES(M, ...)								\
	M(16, "w", "r", __VA_ARGS__)							\
	M(32, "l", "r", __VA_ARGS__)							\
	M(64, "q", "r", __VA_ARGS__)

/* A table with a function for each size and form: f_r8, f_m8, f_r16, … */
#define ALU_TABLE(name, f)								\
	const struct x86_handler x86_op_##name = { {					\
		{ f##_r8, f##_m8 }, { f##_r16, f##_m16 }, { f##_r32, f##_m32 },		\
		{ f##_r64, f##_m64 } } }
#define ALU_TABLE_WIDE(name, f)								\
	const struct x86_handler x86_op_##name = { {					\
		{ NULL, NULL }, { f##_r16, f##_m16 }, { f##_r32, f##_m32 },		\
		{ f##_r64, f##_m64 } } }

static __always_inline u64 x86_flags_from_ax(u32 ax)
{
	return ((ax >> 8) & 0xff) | (ax & 1) << 11;
}

static __always_inline u32 x86_flags_to_ax(u64 rflags)
{
	return (rflags & 0xff) << 8 | ((rflags >> 11) & 1);
}

/* Those flags of `mask` that AX holds go to RFLAGS. */
static __always_inline void x86_flags_merge(struct x86_cpu *c, u32 ax, u64 mask)
{
	c->rflags = (c->rflags & ~mask) | (x86_flags_from_ax(ax) & mask);
}

static __always_inline void x86_flags_set(struct x86_cpu *c, u32 ax)
{
	x86_flags_merge(c, ax, X86_RFLAGS_ARITH);
}

/*
 * A two-operand computation on values: the new value of a; flags to *ax. rflags is what the flags
 * were.
 */
typedef u64 x86_alu_fn(u64 a, u64 b, u64 rflags, u32 *ax);

/*
 * Read, compute, write: for an operand that x86_rmw found not to be plain memory. Changes the flags
 * of `mask`. enum x86_result.
 */
int x86_rmw_by_copy(struct x86_cpu *c, const struct x86_insn *i, u64 lin, u32 size, u64 b,
		    x86_alu_fn *f, u64 mask);

/* The linear address of a modrm operand to be read and written, and its host address or NULL. */
static __always_inline int x86_operand_rmw(struct x86_cpu *c, const struct x86_insn *i, u32 size,
					   u64 *lin, void **host)
{
	int r = x86_operand_lin(c, i, size, X86_WRITE, lin);

	if (unlikely(r))
		return r;
	return x86_rmw(c, *lin, size, host);
}

#endif
