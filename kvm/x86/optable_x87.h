/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The x87 instructions, D8 to DF, and FWAIT: rows of x86_optable[].
 *
 * Operands that every x87 instruction has, ST(0) and the status word, are not listed. The aliases that
 * the manuals leave out (fcom2, fxch4, …) are there because the hardware has them.
 */
#define X87(n, o, mod_, reg_, rm_, f, a, h, ...) {				\
	.name = n, .map = X86_MAP_1, .opcode = o, .mod = X86_MOD_##mod_,	\
	.reg = reg_, .rm = rm_, .op = { __VA_ARGS__ }, .feature = f, .host = h,	\
	.attr = X86_A_HOST | X86_A_X87 | (a) | ((h) & X86_H_FLAGS ? 0 : X86_A_NOFLAGS) }
#define M_(n, o, reg, ...)	X87(n, o, MEM, reg, -1, 0, 0, 0, __VA_ARGS__)
#define ST_(n, o, reg)		X87(n, o, REG, reg, -1, 0, 0, 0, RW(ST, T))
#define ST_F(n, o, reg, h)	X87(n, o, REG, reg, -1, X86_FEATURE_CMOV, 0, h, R(ST, T))
#define FIX_(n, o, reg, rm)	X87(n, o, REG, reg, rm, 0, 0, 0)
#define CTRL_M(n, o, reg, h, ...)	X87(n, o, MEM, reg, -1, 0, X86_A_FP_CTRL, h, __VA_ARGS__)
#define CTRL(n, o, reg, rm, h, ...)	X87(n, o, REG, reg, rm, 0, X86_A_FP_CTRL, h, __VA_ARGS__)

{ .name = "fwait", .map = X86_MAP_1, .opcode = 0x9b, .mod = X86_MOD_NONE, .reg = -1, .rm = -1,
  .attr = X86_A_HOST | X86_A_NOFLAGS, .host = X86_H_FWAIT },

/* The eight operations, by operand: float 32, 64; integer 32, 16; ST(0), ST(i); ST(i), ST(0); and pop. */
#define EIGHT_M(o, i, size)							\
	M_("f" i "add", o, 0, R(M, size)), M_("f" i "mul", o, 1, R(M, size)),	\
	M_("f" i "com", o, 2, R(M, size)), M_("f" i "comp", o, 3, R(M, size)),	\
	M_("f" i "sub", o, 4, R(M, size)), M_("f" i "subr", o, 5, R(M, size)),	\
	M_("f" i "div", o, 6, R(M, size)), M_("f" i "divr", o, 7, R(M, size))
EIGHT_M(0xd8, "", D),
EIGHT_M(0xda, "i", D),
EIGHT_M(0xdc, "", Q),
EIGHT_M(0xde, "i", W),
#undef EIGHT_M
ST_("fadd", 0xd8, 0), ST_("fmul", 0xd8, 1), ST_("fcom", 0xd8, 2), ST_("fcomp", 0xd8, 3),
ST_("fsub", 0xd8, 4), ST_("fsubr", 0xd8, 5), ST_("fdiv", 0xd8, 6), ST_("fdivr", 0xd8, 7),
ST_("fadd", 0xdc, 0), ST_("fmul", 0xdc, 1), ST_("fcom2", 0xdc, 2), ST_("fcomp3", 0xdc, 3),
ST_("fsubr", 0xdc, 4), ST_("fsub", 0xdc, 5), ST_("fdivr", 0xdc, 6), ST_("fdiv", 0xdc, 7),
ST_("faddp", 0xde, 0), ST_("fmulp", 0xde, 1), ST_("fcomp5", 0xde, 2), FIX_("fcompp", 0xde, 3, 1),
ST_("fsubrp", 0xde, 4), ST_("fsubp", 0xde, 5), ST_("fdivrp", 0xde, 6), ST_("fdivp", 0xde, 7),

/* ---- D9 ---- */
M_("fld", 0xd9, 0, R(M, D)),
M_("fst", 0xd9, 2, W(M, D)),
M_("fstp", 0xd9, 3, W(M, D)),
X87("fldenv", 0xd9, MEM, 4, -1, 0, 0, X86_H_FLDENV, R(M, ENV)),
X87("fldcw", 0xd9, MEM, 5, -1, 0, 0, X86_H_FLDCW, R(M, W)),
CTRL_M("fnstenv", 0xd9, 6, X86_H_FNSTENV, W(M, ENV)),
CTRL_M("fnstcw", 0xd9, 7, 0, W(M, W)),
ST_("fld", 0xd9, 0),
ST_("fxch", 0xd9, 1),
FIX_("fnop", 0xd9, 2, 0),
ST_("fstp1", 0xd9, 3),
FIX_("fchs", 0xd9, 4, 0), FIX_("fabs", 0xd9, 4, 1), FIX_("ftst", 0xd9, 4, 4), FIX_("fxam", 0xd9, 4, 5),
FIX_("fld1", 0xd9, 5, 0), FIX_("fldl2t", 0xd9, 5, 1), FIX_("fldl2e", 0xd9, 5, 2),
FIX_("fldpi", 0xd9, 5, 3), FIX_("fldlg2", 0xd9, 5, 4), FIX_("fldln2", 0xd9, 5, 5),
FIX_("fldz", 0xd9, 5, 6),
FIX_("f2xm1", 0xd9, 6, 0), FIX_("fyl2x", 0xd9, 6, 1), FIX_("fptan", 0xd9, 6, 2),
FIX_("fpatan", 0xd9, 6, 3), FIX_("fxtract", 0xd9, 6, 4), FIX_("fprem1", 0xd9, 6, 5),
FIX_("fdecstp", 0xd9, 6, 6), FIX_("fincstp", 0xd9, 6, 7),
FIX_("fprem", 0xd9, 7, 0), FIX_("fyl2xp1", 0xd9, 7, 1), FIX_("fsqrt", 0xd9, 7, 2),
FIX_("fsincos", 0xd9, 7, 3), FIX_("frndint", 0xd9, 7, 4), FIX_("fscale", 0xd9, 7, 5),
FIX_("fsin", 0xd9, 7, 6), FIX_("fcos", 0xd9, 7, 7),

/* ---- DA, DB ---- */
ST_F("fcmovb", 0xda, 0, X86_H_RD_FLAGS), ST_F("fcmove", 0xda, 1, X86_H_RD_FLAGS),
ST_F("fcmovbe", 0xda, 2, X86_H_RD_FLAGS), ST_F("fcmovu", 0xda, 3, X86_H_RD_FLAGS),
FIX_("fucompp", 0xda, 5, 1),
M_("fild", 0xdb, 0, R(M, D)),
X87("fisttp", 0xdb, MEM, 1, -1, X86_FEATURE_SSE3, 0, 0, W(M, D)),
M_("fist", 0xdb, 2, W(M, D)),
M_("fistp", 0xdb, 3, W(M, D)),
M_("fld", 0xdb, 5, R(M, T)),
M_("fstp", 0xdb, 7, W(M, T)),
ST_F("fcmovnb", 0xdb, 0, X86_H_RD_FLAGS), ST_F("fcmovne", 0xdb, 1, X86_H_RD_FLAGS),
ST_F("fcmovnbe", 0xdb, 2, X86_H_RD_FLAGS), ST_F("fcmovnu", 0xdb, 3, X86_H_RD_FLAGS),
CTRL("feni", 0xdb, 4, 0, X86_H_NOP), CTRL("fdisi", 0xdb, 4, 1, X86_H_NOP),
CTRL("fnclex", 0xdb, 4, 2, 0),
CTRL("fninit", 0xdb, 4, 3, X86_H_FNINIT),
CTRL("fsetpm", 0xdb, 4, 4, X86_H_NOP),
ST_F("fucomi", 0xdb, 5, X86_H_FLAGS), ST_F("fcomi", 0xdb, 6, X86_H_FLAGS),

/* ---- DD ---- */
M_("fld", 0xdd, 0, R(M, Q)),
X87("fisttp", 0xdd, MEM, 1, -1, X86_FEATURE_SSE3, 0, 0, W(M, Q)),
M_("fst", 0xdd, 2, W(M, Q)),
M_("fstp", 0xdd, 3, W(M, Q)),
X87("frstor", 0xdd, MEM, 4, -1, 0, 0, X86_H_FRSTOR, R(M, STATE)),
CTRL_M("fnsave", 0xdd, 6, X86_H_FNSAVE, W(M, STATE)),
CTRL_M("fnstsw", 0xdd, 7, 0, W(M, W)),
ST_("ffree", 0xdd, 0),
ST_("fxch4", 0xdd, 1),
ST_("fst", 0xdd, 2),
ST_("fstp", 0xdd, 3),
ST_("fucom", 0xdd, 4),
ST_("fucomp", 0xdd, 5),

/* ---- DF ---- */
M_("fild", 0xdf, 0, R(M, W)),
X87("fisttp", 0xdf, MEM, 1, -1, X86_FEATURE_SSE3, 0, 0, W(M, W)),
M_("fist", 0xdf, 2, W(M, W)),
M_("fistp", 0xdf, 3, W(M, W)),
M_("fbld", 0xdf, 4, R(M, T)),
M_("fild", 0xdf, 5, R(M, Q)),
M_("fbstp", 0xdf, 6, W(M, T)),
M_("fistp", 0xdf, 7, W(M, Q)),
ST_("ffreep", 0xdf, 0),
ST_("fxch7", 0xdf, 1),
ST_("fstp8", 0xdf, 2),
ST_("fstp9", 0xdf, 3),
CTRL("fnstsw", 0xdf, 4, 0, 0, W(ACC, W)),
ST_F("fucomip", 0xdf, 5, X86_H_FLAGS), ST_F("fcomip", 0xdf, 6, X86_H_FLAGS),

#undef CTRL
#undef CTRL_M
#undef FIX_
#undef ST_F
#undef ST_
#undef M_
#undef X87
