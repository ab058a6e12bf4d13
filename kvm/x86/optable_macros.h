/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How rows of the instruction table are written. Included by optable.c before optable_*.h.
 *
 * A row names its map and opcode, how modrm takes part, its operands, its handler and what else
 * holds of it, always in this order:
 *
 *	{ T1(0x01, "add"), MODRM, OPS(RW(E, V), R(G, V)), H(add_er), .attr = X86_A_LOCK },
 *	{ T1(0xc3, "ret"), NOMODRM, H(ret), .attr = X86_A_F64 | X86_A_END | X86_A_BRANCH },
 *	{ T0F(0xba, "bts"), MODRM_(5), OPS(RW(E, V), R(I, B)), H(bts_ei), .attr = X86_A_LOCK },
 *	{ T0F(0x01, "xgetbv"), REG_RM_(2, 0), PNP, H(xgetbv), F(XSAVE) },
 *	{ T0F(0x58, "addps"), MODRM, PNP, OPS(RW(V, DQ), R(W, DQ)), HOST(X86_A_SSE), F(SSE) },
 *	{ T0F(0x58, "vaddps"), MODRM, PNP, VEX(ANY, W_ANY), OPS(W(V, X), R(H, X), R(W, X)),
 *	  HOST(X86_A_AVX), F(AVX) },
 *
 * Rows of one opcode are tried in the order of the table; the first that matches prefix, VEX, W,
 * modrm, mode and feature is taken. So a special row stands before a general one: tzcnt (F3, BMI1)
 * before bsf (any prefix).
 */
#ifndef KVM_X86_OPTABLE_MACROS_H
#define KVM_X86_OPTABLE_MACROS_H

#include "kvm/x86/defs.h"
#include "kvm/x86/insn.h"

/* Map and opcode. */
#define T1(op, nm)	.name = nm, .map = X86_MAP_1, .opcode = op
#define T0F(op, nm)	.name = nm, .map = X86_MAP_0F, .opcode = op
#define T0F38(op, nm)	.name = nm, .map = X86_MAP_0F38, .opcode = op
#define T0F3A(op, nm)	.name = nm, .map = X86_MAP_0F3A, .opcode = op

/* modrm: none, any; an opcode extension /n in its reg field; memory or register form only. */
#define NOMODRM		.mod = X86_MOD_NONE, .reg = -1, .rm = -1
#define MODRM		.mod = X86_MOD_ANY, .reg = -1, .rm = -1
#define MODRM_(n)	.mod = X86_MOD_ANY, .reg = (n), .rm = -1
#define MEM		.mod = X86_MOD_MEM, .reg = -1, .rm = -1
#define MEM_(n)		.mod = X86_MOD_MEM, .reg = (n), .rm = -1
#define REG		.mod = X86_MOD_REG, .reg = -1, .rm = -1
#define REG_(n)		.mod = X86_MOD_REG, .reg = (n), .rm = -1
#define REG_RM_(n, m)	.mod = X86_MOD_REG, .reg = (n), .rm = (m)
/* No modrm, and the register in the opcode's low bits (with REX.B) must be this one: 90 is NOP,
 * but with REX.B it is XCHG. */
#define NOMODRM_Z(z)	.mod = X86_MOD_NONE, .reg = -1, .rm = (z)

/* Mandatory prefix; without one of these, 66, F2 and F3 keep their plain meanings. */
#define PNP		.pfx = X86_PFX_NP
#define P66		.pfx = X86_PFX_66
#define PF3		.pfx = X86_PFX_F3
#define PF2		.pfx = X86_PFX_F2
#define PNOREP		.pfx = X86_PFX_NOREP

/* VEX(128, W0), VEX(ANY, W_ANY), VEX(LIG, W1). */
#define VEX(l, wbit)	.vex = X86_VEX_##l, .w = X86_##wbit
#define REXW(wbit)	.w = X86_##wbit

/* Operands, destination first, as the manuals write them: OPS(RW(E, V), R(G, V)). */
#define OPS(...)	.op = { __VA_ARGS__ }
#define R(k, s)		{ X86_OP_##k, X86_SZ_##s, X86_RD }
#define W(k, s)		{ X86_OP_##k, X86_SZ_##s, X86_WR }
#define RW(k, s)	{ X86_OP_##k, X86_SZ_##s, X86_RD | X86_WR }
#define N(k, s)		{ X86_OP_##k, X86_SZ_##s, 0 }	/* not accessed: LEA, NOP, INVLPG */
#define SEG(s, acc)	{ X86_OP_SEG, X86_SEG_##s, acc }

/* Who runs it: H(name) is `const struct x86_handler x86_op_name`. */
#define H(nm)		.handler = &x86_op_##nm
#define HOST(attrs)	.attr = X86_A_HOST | (attrs)
#define F(feat)		.feature = X86_FEATURE_##feat

#endif
