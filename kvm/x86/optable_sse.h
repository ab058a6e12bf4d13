/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MMX and the legacy encodings of SSE to SSE4.2, AES, PCLMULQDQ and SHA: rows of x86_optable[].
 *
 * All run on the host's own unit. Where a row says that its first operand is only written, the
 * instruction replaces all 128 bits of it; one that merges reads it too. Sources that are register or
 * memory have the size of the memory form.
 */
#define IMM		R(I, B)

#define VROW(n, map_, o, p, mod_, reg_, f, a, h, ...) {				\
	.name = n, .map = X86_MAP_##map_, .opcode = o, .pfx = X86_PFX_##p,	\
	.vex = X86_LEGACY, .w = X86_W_ANY, .mod = X86_MOD_##mod_, .reg = reg_,	\
	.rm = -1, .op = { __VA_ARGS__ }, .feature = X86_FEATURE_##f, .host = h,	\
	.attr = X86_A_HOST | (a) | ((h) & X86_H_FLAGS ? 0 : X86_A_NOFLAGS) }

/* SSE; A: a memory operand must be aligned. MEM, REG: that form only. */
#define SSE(n, map, o, p, f, h, ...)	\
	VROW(n, map, o, p, ANY, -1, f, X86_A_SSE, h, __VA_ARGS__)
#define SSEA(n, map, o, p, f, h, ...)	\
	VROW(n, map, o, p, ANY, -1, f, X86_A_SSE | X86_A_ALIGN, h, __VA_ARGS__)
#define SSE_MEM(n, map, o, p, f, h, ...)	\
	VROW(n, map, o, p, MEM, -1, f, X86_A_SSE, h, __VA_ARGS__)
#define SSEA_MEM(n, map, o, p, f, h, ...)	\
	VROW(n, map, o, p, MEM, -1, f, X86_A_SSE | X86_A_ALIGN, h, __VA_ARGS__)
#define SSE_REG(n, map, o, p, f, h, ...)	\
	VROW(n, map, o, p, REG, -1, f, X86_A_SSE, h, __VA_ARGS__)
#define MMX(n, map, o, f, h, ...)	\
	VROW(n, map, o, NP, ANY, -1, f, X86_A_MMX, h, __VA_ARGS__)
#define MMX_REG(n, map, o, f, h, ...)	\
	VROW(n, map, o, NP, REG, -1, f, X86_A_MMX, h, __VA_ARGS__)

/* The common shapes: dst = dst op src; and one that exists for MMX and for SSE. */
#define SSE_2(n, map, o, p, f)	SSEA(n, map, o, p, f, 0, RW(V, DQ), R(W, DQ))
#define FP_2(n, o, p, f)	SSEA(n, 0F, o, p, f, X86_H_FP, RW(V, DQ), R(W, DQ))
#define MMX_SSE(n, map, o, fm, fs)						\
	MMX(n, map, o, fm, 0, RW(P, Q), R(Q, Q)),				\
	SSE_2(n, map, o, 66, fs)
#define FP_ARITH(name, o)							\
	FP_2(name "ps", o, NP, SSE), FP_2(name "pd", o, 66, SSE2),		\
	SSE(name "ss", 0F, o, F3, SSE, X86_H_FP, RW(V, DQ), R(W, D)),		\
	SSE(name "sd", 0F, o, F2, SSE2, X86_H_FP, RW(V, DQ), R(W, Q))

/* ---- 0F 10-17, 28-2F: moves, conversions, compares ---- */
SSE("movups", 0F, 0x10, NP, SSE, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSE("movupd", 0F, 0x10, 66, SSE2, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSE_MEM("movss", 0F, 0x10, F3, SSE, X86_H_MOVE, W(V, DQ), R(W, D)),
SSE_REG("movss", 0F, 0x10, F3, SSE, 0, RW(V, DQ), R(W, D)),
SSE_MEM("movsd", 0F, 0x10, F2, SSE2, X86_H_MOVE, W(V, DQ), R(W, Q)),
SSE_REG("movsd", 0F, 0x10, F2, SSE2, 0, RW(V, DQ), R(W, Q)),
SSE("movups", 0F, 0x11, NP, SSE, X86_H_MOVE, W(W, DQ), R(V, DQ)),
SSE("movupd", 0F, 0x11, 66, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),
SSE_MEM("movss", 0F, 0x11, F3, SSE, X86_H_MOVE, W(W, D), R(V, D)),
SSE_REG("movss", 0F, 0x11, F3, SSE, 0, RW(W, D), R(V, D)),
SSE_MEM("movsd", 0F, 0x11, F2, SSE2, X86_H_MOVE, W(W, Q), R(V, Q)),
SSE_REG("movsd", 0F, 0x11, F2, SSE2, 0, RW(W, Q), R(V, Q)),
SSE_MEM("movlps", 0F, 0x12, NP, SSE, 0, RW(V, DQ), R(W, Q)),
SSE_REG("movhlps", 0F, 0x12, NP, SSE, 0, RW(V, DQ), R(W, DQ)),
SSE_MEM("movlpd", 0F, 0x12, 66, SSE2, 0, RW(V, DQ), R(W, Q)),
SSEA("movsldup", 0F, 0x12, F3, SSE3, 0, W(V, DQ), R(W, DQ)),
SSE("movddup", 0F, 0x12, F2, SSE3, 0, W(V, DQ), R(W, Q)),
SSE_MEM("movlps", 0F, 0x13, NP, SSE, X86_H_MOVE, W(W, Q), R(V, Q)),
SSE_MEM("movlpd", 0F, 0x13, 66, SSE2, X86_H_MOVE, W(W, Q), R(V, Q)),
SSE_2("unpcklps", 0F, 0x14, NP, SSE), SSE_2("unpcklpd", 0F, 0x14, 66, SSE2),
SSE_2("unpckhps", 0F, 0x15, NP, SSE), SSE_2("unpckhpd", 0F, 0x15, 66, SSE2),
SSE_MEM("movhps", 0F, 0x16, NP, SSE, 0, RW(V, DQ), R(W, Q)),
SSE_REG("movlhps", 0F, 0x16, NP, SSE, 0, RW(V, DQ), R(W, DQ)),
SSE_MEM("movhpd", 0F, 0x16, 66, SSE2, 0, RW(V, DQ), R(W, Q)),
SSEA("movshdup", 0F, 0x16, F3, SSE3, 0, W(V, DQ), R(W, DQ)),
SSE_MEM("movhps", 0F, 0x17, NP, SSE, 0, W(W, Q), R(V, DQ)),
SSE_MEM("movhpd", 0F, 0x17, 66, SSE2, 0, W(W, Q), R(V, DQ)),
SSEA("movaps", 0F, 0x28, NP, SSE, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSEA("movapd", 0F, 0x28, 66, SSE2, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSEA("movaps", 0F, 0x29, NP, SSE, X86_H_MOVE, W(W, DQ), R(V, DQ)),
SSEA("movapd", 0F, 0x29, 66, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),
VROW("cvtpi2ps", 0F, 0x2a, NP, ANY, -1, SSE, X86_A_SSE | X86_A_MMX, X86_H_FP, RW(V, DQ), R(Q, Q)),
VROW("cvtpi2pd", 0F, 0x2a, 66, ANY, -1, SSE2, X86_A_SSE | X86_A_MMX, X86_H_FP, W(V, DQ), R(Q, Q)),
SSE("cvtsi2ss", 0F, 0x2a, F3, SSE, X86_H_FP, RW(V, DQ), R(E, Y)),
SSE("cvtsi2sd", 0F, 0x2a, F2, SSE2, X86_H_FP, RW(V, DQ), R(E, Y)),
SSEA_MEM("movntps", 0F, 0x2b, NP, SSE, X86_H_MOVE, W(W, DQ), R(V, DQ)),
SSEA_MEM("movntpd", 0F, 0x2b, 66, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),
VROW("cvttps2pi", 0F, 0x2c, NP, ANY, -1, SSE, X86_A_SSE | X86_A_MMX, X86_H_FP, W(P, Q), R(W, Q)),
VROW("cvttpd2pi", 0F, 0x2c, 66, ANY, -1, SSE2, X86_A_SSE | X86_A_MMX | X86_A_ALIGN, X86_H_FP,
     W(P, Q), R(W, DQ)),
SSE("cvttss2si", 0F, 0x2c, F3, SSE, X86_H_FP, W(G, Y), R(W, D)),
SSE("cvttsd2si", 0F, 0x2c, F2, SSE2, X86_H_FP, W(G, Y), R(W, Q)),
VROW("cvtps2pi", 0F, 0x2d, NP, ANY, -1, SSE, X86_A_SSE | X86_A_MMX, X86_H_FP, W(P, Q), R(W, Q)),
VROW("cvtpd2pi", 0F, 0x2d, 66, ANY, -1, SSE2, X86_A_SSE | X86_A_MMX | X86_A_ALIGN, X86_H_FP,
     W(P, Q), R(W, DQ)),
SSE("cvtss2si", 0F, 0x2d, F3, SSE, X86_H_FP, W(G, Y), R(W, D)),
SSE("cvtsd2si", 0F, 0x2d, F2, SSE2, X86_H_FP, W(G, Y), R(W, Q)),
SSE("ucomiss", 0F, 0x2e, NP, SSE, X86_H_FP | X86_H_FLAGS, R(V, D), R(W, D)),
SSE("ucomisd", 0F, 0x2e, 66, SSE2, X86_H_FP | X86_H_FLAGS, R(V, Q), R(W, Q)),
SSE("comiss", 0F, 0x2f, NP, SSE, X86_H_FP | X86_H_FLAGS, R(V, D), R(W, D)),
SSE("comisd", 0F, 0x2f, 66, SSE2, X86_H_FP | X86_H_FLAGS, R(V, Q), R(W, Q)),

/* ---- 0F 50-5F: arithmetic ---- */
SSE_REG("movmskps", 0F, 0x50, NP, SSE, 0, W(G, D), R(W, DQ)),
SSE_REG("movmskpd", 0F, 0x50, 66, SSE2, 0, W(G, D), R(W, DQ)),
SSEA("sqrtps", 0F, 0x51, NP, SSE, X86_H_FP, W(V, DQ), R(W, DQ)),
SSEA("sqrtpd", 0F, 0x51, 66, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
SSE("sqrtss", 0F, 0x51, F3, SSE, X86_H_FP, RW(V, DQ), R(W, D)),
SSE("sqrtsd", 0F, 0x51, F2, SSE2, X86_H_FP, RW(V, DQ), R(W, Q)),
SSEA("rsqrtps", 0F, 0x52, NP, SSE, 0, W(V, DQ), R(W, DQ)),
SSE("rsqrtss", 0F, 0x52, F3, SSE, 0, RW(V, DQ), R(W, D)),
SSEA("rcpps", 0F, 0x53, NP, SSE, 0, W(V, DQ), R(W, DQ)),
SSE("rcpss", 0F, 0x53, F3, SSE, 0, RW(V, DQ), R(W, D)),
SSE_2("andps", 0F, 0x54, NP, SSE), SSE_2("andpd", 0F, 0x54, 66, SSE2),
SSE_2("andnps", 0F, 0x55, NP, SSE), SSE_2("andnpd", 0F, 0x55, 66, SSE2),
SSE_2("orps", 0F, 0x56, NP, SSE), SSE_2("orpd", 0F, 0x56, 66, SSE2),
SSE_2("xorps", 0F, 0x57, NP, SSE), SSE_2("xorpd", 0F, 0x57, 66, SSE2),
FP_ARITH("add", 0x58),
FP_ARITH("mul", 0x59),
SSE("cvtps2pd", 0F, 0x5a, NP, SSE2, X86_H_FP, W(V, DQ), R(W, Q)),
SSEA("cvtpd2ps", 0F, 0x5a, 66, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
SSE("cvtss2sd", 0F, 0x5a, F3, SSE2, X86_H_FP, RW(V, DQ), R(W, D)),
SSE("cvtsd2ss", 0F, 0x5a, F2, SSE2, X86_H_FP, RW(V, DQ), R(W, Q)),
SSEA("cvtdq2ps", 0F, 0x5b, NP, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
SSEA("cvtps2dq", 0F, 0x5b, 66, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
SSEA("cvttps2dq", 0F, 0x5b, F3, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
FP_ARITH("sub", 0x5c),
FP_ARITH("min", 0x5d),
FP_ARITH("div", 0x5e),
FP_ARITH("max", 0x5f),

/* ---- 0F 60-6F, 74-7F: packed integers and their moves ---- */
MMX("punpcklbw", 0F, 0x60, MMX, 0, RW(P, Q), R(Q, D)), SSE_2("punpcklbw", 0F, 0x60, 66, SSE2),
MMX("punpcklwd", 0F, 0x61, MMX, 0, RW(P, Q), R(Q, D)), SSE_2("punpcklwd", 0F, 0x61, 66, SSE2),
MMX("punpckldq", 0F, 0x62, MMX, 0, RW(P, Q), R(Q, D)), SSE_2("punpckldq", 0F, 0x62, 66, SSE2),
MMX_SSE("packsswb", 0F, 0x63, MMX, SSE2),
MMX_SSE("pcmpgtb", 0F, 0x64, MMX, SSE2),
MMX_SSE("pcmpgtw", 0F, 0x65, MMX, SSE2),
MMX_SSE("pcmpgtd", 0F, 0x66, MMX, SSE2),
MMX_SSE("packuswb", 0F, 0x67, MMX, SSE2),
MMX_SSE("punpckhbw", 0F, 0x68, MMX, SSE2),
MMX_SSE("punpckhwd", 0F, 0x69, MMX, SSE2),
MMX_SSE("punpckhdq", 0F, 0x6a, MMX, SSE2),
MMX_SSE("packssdw", 0F, 0x6b, MMX, SSE2),
SSE_2("punpcklqdq", 0F, 0x6c, 66, SSE2),
SSE_2("punpckhqdq", 0F, 0x6d, 66, SSE2),
MMX("movd", 0F, 0x6e, MMX, 0, W(P, Q), R(E, Y)),
SSE("movd", 0F, 0x6e, 66, SSE2, 0, W(V, DQ), R(E, Y)),
MMX("movq", 0F, 0x6f, MMX, 0, W(P, Q), R(Q, Q)),
SSEA("movdqa", 0F, 0x6f, 66, SSE2, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSE("movdqu", 0F, 0x6f, F3, SSE2, X86_H_MOVE, W(V, DQ), R(W, DQ)),
MMX("pshufw", 0F, 0x70, SSE, 0, W(P, Q), R(Q, Q), IMM),
SSEA("pshufd", 0F, 0x70, 66, SSE2, 0, W(V, DQ), R(W, DQ), IMM),
SSEA("pshufhw", 0F, 0x70, F3, SSE2, 0, W(V, DQ), R(W, DQ), IMM),
SSEA("pshuflw", 0F, 0x70, F2, SSE2, 0, W(V, DQ), R(W, DQ), IMM),
#define SHIFT_IMM(n, o, reg)	\
	VROW(n, 0F, o, NP, REG, reg, MMX, X86_A_MMX, 0, RW(Q, Q), IMM),		\
	VROW(n, 0F, o, 66, REG, reg, SSE2, X86_A_SSE, 0, RW(W, DQ), IMM)
SHIFT_IMM("psrlw", 0x71, 2), SHIFT_IMM("psraw", 0x71, 4), SHIFT_IMM("psllw", 0x71, 6),
SHIFT_IMM("psrld", 0x72, 2), SHIFT_IMM("psrad", 0x72, 4), SHIFT_IMM("pslld", 0x72, 6),
SHIFT_IMM("psrlq", 0x73, 2), SHIFT_IMM("psllq", 0x73, 6),
#undef SHIFT_IMM
VROW("psrldq", 0F, 0x73, 66, REG, 3, SSE2, X86_A_SSE, 0, RW(W, DQ), IMM),
VROW("pslldq", 0F, 0x73, 66, REG, 7, SSE2, X86_A_SSE, 0, RW(W, DQ), IMM),
MMX_SSE("pcmpeqb", 0F, 0x74, MMX, SSE2),
MMX_SSE("pcmpeqw", 0F, 0x75, MMX, SSE2),
MMX_SSE("pcmpeqd", 0F, 0x76, MMX, SSE2),
VROW("emms", 0F, 0x77, NP, NONE, -1, MMX, X86_A_MMX, 0),
FP_2("haddpd", 0x7c, 66, SSE3), FP_2("haddps", 0x7c, F2, SSE3),
FP_2("hsubpd", 0x7d, 66, SSE3), FP_2("hsubps", 0x7d, F2, SSE3),
MMX("movd", 0F, 0x7e, MMX, 0, W(E, Y), R(P, Q)),
SSE("movd", 0F, 0x7e, 66, SSE2, 0, W(E, Y), R(V, DQ)),
SSE("movq", 0F, 0x7e, F3, SSE2, X86_H_MOVE, W(V, DQ), R(W, Q)),
MMX("movq", 0F, 0x7f, MMX, 0, W(Q, Q), R(P, Q)),
SSEA("movdqa", 0F, 0x7f, 66, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),
SSE("movdqu", 0F, 0x7f, F3, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),

/* ---- 0F AE, C7: control and state ---- */
VROW("fxsave", 0F, 0xae, NP, MEM, 0, FXSR, X86_A_FP_CTRL, X86_H_FXSAVE, W(M, STATE)),
VROW("fxrstor", 0F, 0xae, NP, MEM, 1, FXSR, X86_A_FP_CTRL, X86_H_FXRSTOR, R(M, STATE)),
VROW("ldmxcsr", 0F, 0xae, NP, MEM, 2, SSE, X86_A_SSE, X86_H_LDMXCSR, R(M, D)),
VROW("stmxcsr", 0F, 0xae, NP, MEM, 3, SSE, X86_A_SSE, X86_H_STMXCSR, W(M, D)),
VROW("xsave", 0F, 0xae, NP, MEM, 4, XSAVE, X86_A_FP_CTRL, X86_H_XSAVE, RW(M, STATE)),
VROW("xrstor", 0F, 0xae, NP, MEM, 5, XSAVE, X86_A_FP_CTRL, X86_H_XRSTOR, R(M, STATE)),
VROW("xsaveopt", 0F, 0xae, NP, MEM, 6, XSAVEOPT, X86_A_FP_CTRL, X86_H_XSAVEOPT, RW(M, STATE)),
VROW("xrstors", 0F, 0xc7, NP, MEM, 3, XSAVES, X86_A_FP_CTRL | X86_A_PRIV, X86_H_XRSTORS, R(M, STATE)),
VROW("xsavec", 0F, 0xc7, NP, MEM, 4, XSAVEC, X86_A_FP_CTRL, X86_H_XSAVEC, RW(M, STATE)),
VROW("xsaves", 0F, 0xc7, NP, MEM, 5, XSAVES, X86_A_FP_CTRL | X86_A_PRIV, X86_H_XSAVES, RW(M, STATE)),

/* ---- 0F C2-C6, D0-FF ---- */
SSEA("cmpps", 0F, 0xc2, NP, SSE, X86_H_FP, RW(V, DQ), R(W, DQ), IMM),
SSEA("cmppd", 0F, 0xc2, 66, SSE2, X86_H_FP, RW(V, DQ), R(W, DQ), IMM),
SSE("cmpss", 0F, 0xc2, F3, SSE, X86_H_FP, RW(V, DQ), R(W, D), IMM),
SSE("cmpsd", 0F, 0xc2, F2, SSE2, X86_H_FP, RW(V, DQ), R(W, Q), IMM),
MMX("pinsrw", 0F, 0xc4, SSE, 0, RW(P, Q), R(E, W), IMM),
SSE("pinsrw", 0F, 0xc4, 66, SSE2, 0, RW(V, DQ), R(E, W), IMM),
MMX_REG("pextrw", 0F, 0xc5, SSE, 0, W(G, D), R(Q, Q), IMM),
SSE_REG("pextrw", 0F, 0xc5, 66, SSE2, 0, W(G, D), R(W, DQ), IMM),
SSEA("shufps", 0F, 0xc6, NP, SSE, 0, RW(V, DQ), R(W, DQ), IMM),
SSEA("shufpd", 0F, 0xc6, 66, SSE2, 0, RW(V, DQ), R(W, DQ), IMM),
FP_2("addsubpd", 0xd0, 66, SSE3), FP_2("addsubps", 0xd0, F2, SSE3),
MMX_SSE("psrlw", 0F, 0xd1, MMX, SSE2),
MMX_SSE("psrld", 0F, 0xd2, MMX, SSE2),
MMX_SSE("psrlq", 0F, 0xd3, MMX, SSE2),
MMX_SSE("paddq", 0F, 0xd4, SSE2, SSE2),
MMX_SSE("pmullw", 0F, 0xd5, MMX, SSE2),
SSE("movq", 0F, 0xd6, 66, SSE2, X86_H_MOVE, W(W, Q), R(V, Q)),
VROW("movq2dq", 0F, 0xd6, F3, REG, -1, SSE2, X86_A_SSE | X86_A_MMX, 0, W(V, DQ), R(Q, Q)),
VROW("movdq2q", 0F, 0xd6, F2, REG, -1, SSE2, X86_A_SSE | X86_A_MMX, 0, W(P, Q), R(W, DQ)),
MMX_REG("pmovmskb", 0F, 0xd7, SSE, 0, W(G, D), R(Q, Q)),
SSE_REG("pmovmskb", 0F, 0xd7, 66, SSE2, 0, W(G, D), R(W, DQ)),
MMX_SSE("psubusb", 0F, 0xd8, MMX, SSE2),
MMX_SSE("psubusw", 0F, 0xd9, MMX, SSE2),
MMX_SSE("pminub", 0F, 0xda, SSE, SSE2),
MMX_SSE("pand", 0F, 0xdb, MMX, SSE2),
MMX_SSE("paddusb", 0F, 0xdc, MMX, SSE2),
MMX_SSE("paddusw", 0F, 0xdd, MMX, SSE2),
MMX_SSE("pmaxub", 0F, 0xde, SSE, SSE2),
MMX_SSE("pandn", 0F, 0xdf, MMX, SSE2),
MMX_SSE("pavgb", 0F, 0xe0, SSE, SSE2),
MMX_SSE("psraw", 0F, 0xe1, MMX, SSE2),
MMX_SSE("psrad", 0F, 0xe2, MMX, SSE2),
MMX_SSE("pavgw", 0F, 0xe3, SSE, SSE2),
MMX_SSE("pmulhuw", 0F, 0xe4, SSE, SSE2),
MMX_SSE("pmulhw", 0F, 0xe5, MMX, SSE2),
SSEA("cvttpd2dq", 0F, 0xe6, 66, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
SSE("cvtdq2pd", 0F, 0xe6, F3, SSE2, 0, W(V, DQ), R(W, Q)),
SSEA("cvtpd2dq", 0F, 0xe6, F2, SSE2, X86_H_FP, W(V, DQ), R(W, DQ)),
VROW("movntq", 0F, 0xe7, NP, MEM, -1, SSE, X86_A_MMX, 0, W(Q, Q), R(P, Q)),
SSEA_MEM("movntdq", 0F, 0xe7, 66, SSE2, X86_H_MOVE, W(W, DQ), R(V, DQ)),
MMX_SSE("psubsb", 0F, 0xe8, MMX, SSE2),
MMX_SSE("psubsw", 0F, 0xe9, MMX, SSE2),
MMX_SSE("pminsw", 0F, 0xea, SSE, SSE2),
MMX_SSE("por", 0F, 0xeb, MMX, SSE2),
MMX_SSE("paddsb", 0F, 0xec, MMX, SSE2),
MMX_SSE("paddsw", 0F, 0xed, MMX, SSE2),
MMX_SSE("pmaxsw", 0F, 0xee, SSE, SSE2),
MMX_SSE("pxor", 0F, 0xef, MMX, SSE2),
SSE_MEM("lddqu", 0F, 0xf0, F2, SSE3, X86_H_MOVE, W(V, DQ), R(W, DQ)),
MMX_SSE("psllw", 0F, 0xf1, MMX, SSE2),
MMX_SSE("pslld", 0F, 0xf2, MMX, SSE2),
MMX_SSE("psllq", 0F, 0xf3, MMX, SSE2),
MMX_SSE("pmuludq", 0F, 0xf4, SSE2, SSE2),
MMX_SSE("pmaddwd", 0F, 0xf5, MMX, SSE2),
MMX_SSE("psadbw", 0F, 0xf6, SSE, SSE2),
MMX_REG("maskmovq", 0F, 0xf7, SSE, X86_H_MASKMOVQ, R(P, Q), R(Q, Q), W(Y, Q)),
SSE_REG("maskmovdqu", 0F, 0xf7, 66, SSE2, X86_H_MASKMOVDQU, R(V, DQ), R(W, DQ), W(Y, DQ)),
MMX_SSE("psubb", 0F, 0xf8, MMX, SSE2),
MMX_SSE("psubw", 0F, 0xf9, MMX, SSE2),
MMX_SSE("psubd", 0F, 0xfa, MMX, SSE2),
MMX_SSE("psubq", 0F, 0xfb, SSE2, SSE2),
MMX_SSE("paddb", 0F, 0xfc, MMX, SSE2),
MMX_SSE("paddw", 0F, 0xfd, MMX, SSE2),
MMX_SSE("paddd", 0F, 0xfe, MMX, SSE2),

/* ---- 0F 38 ---- */
MMX_SSE("pshufb", 0F38, 0x00, SSSE3, SSSE3),
MMX_SSE("phaddw", 0F38, 0x01, SSSE3, SSSE3),
MMX_SSE("phaddd", 0F38, 0x02, SSSE3, SSSE3),
MMX_SSE("phaddsw", 0F38, 0x03, SSSE3, SSSE3),
MMX_SSE("pmaddubsw", 0F38, 0x04, SSSE3, SSSE3),
MMX_SSE("phsubw", 0F38, 0x05, SSSE3, SSSE3),
MMX_SSE("phsubd", 0F38, 0x06, SSSE3, SSSE3),
MMX_SSE("phsubsw", 0F38, 0x07, SSSE3, SSSE3),
MMX_SSE("psignb", 0F38, 0x08, SSSE3, SSSE3),
MMX_SSE("psignw", 0F38, 0x09, SSSE3, SSSE3),
MMX_SSE("psignd", 0F38, 0x0a, SSSE3, SSSE3),
MMX_SSE("pmulhrsw", 0F38, 0x0b, SSSE3, SSSE3),
SSEA("pblendvb", 0F38, 0x10, 66, SSE4_1, X86_H_RD_XMM0, RW(V, DQ), R(W, DQ)),
SSEA("blendvps", 0F38, 0x14, 66, SSE4_1, X86_H_RD_XMM0, RW(V, DQ), R(W, DQ)),
SSEA("blendvpd", 0F38, 0x15, 66, SSE4_1, X86_H_RD_XMM0, RW(V, DQ), R(W, DQ)),
SSEA("ptest", 0F38, 0x17, 66, SSE4_1, X86_H_FLAGS, R(V, DQ), R(W, DQ)),
#define ABS(n, o)								\
	MMX(n, 0F38, o, SSSE3, 0, W(P, Q), R(Q, Q)),				\
	SSEA(n, 0F38, o, 66, SSSE3, 0, W(V, DQ), R(W, DQ))
ABS("pabsb", 0x1c), ABS("pabsw", 0x1d), ABS("pabsd", 0x1e),
#undef ABS
SSE("pmovsxbw", 0F38, 0x20, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE("pmovsxbd", 0F38, 0x21, 66, SSE4_1, 0, W(V, DQ), R(W, D)),
SSE("pmovsxbq", 0F38, 0x22, 66, SSE4_1, 0, W(V, DQ), R(W, W)),
SSE("pmovsxwd", 0F38, 0x23, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE("pmovsxwq", 0F38, 0x24, 66, SSE4_1, 0, W(V, DQ), R(W, D)),
SSE("pmovsxdq", 0F38, 0x25, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE_2("pmuldq", 0F38, 0x28, 66, SSE4_1),
SSE_2("pcmpeqq", 0F38, 0x29, 66, SSE4_1),
SSEA_MEM("movntdqa", 0F38, 0x2a, 66, SSE4_1, X86_H_MOVE, W(V, DQ), R(W, DQ)),
SSE_2("packusdw", 0F38, 0x2b, 66, SSE4_1),
SSE("pmovzxbw", 0F38, 0x30, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE("pmovzxbd", 0F38, 0x31, 66, SSE4_1, 0, W(V, DQ), R(W, D)),
SSE("pmovzxbq", 0F38, 0x32, 66, SSE4_1, 0, W(V, DQ), R(W, W)),
SSE("pmovzxwd", 0F38, 0x33, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE("pmovzxwq", 0F38, 0x34, 66, SSE4_1, 0, W(V, DQ), R(W, D)),
SSE("pmovzxdq", 0F38, 0x35, 66, SSE4_1, 0, W(V, DQ), R(W, Q)),
SSE_2("pcmpgtq", 0F38, 0x37, 66, SSE4_2),
SSE_2("pminsb", 0F38, 0x38, 66, SSE4_1),
SSE_2("pminsd", 0F38, 0x39, 66, SSE4_1),
SSE_2("pminuw", 0F38, 0x3a, 66, SSE4_1),
SSE_2("pminud", 0F38, 0x3b, 66, SSE4_1),
SSE_2("pmaxsb", 0F38, 0x3c, 66, SSE4_1),
SSE_2("pmaxsd", 0F38, 0x3d, 66, SSE4_1),
SSE_2("pmaxuw", 0F38, 0x3e, 66, SSE4_1),
SSE_2("pmaxud", 0F38, 0x3f, 66, SSE4_1),
SSE_2("pmulld", 0F38, 0x40, 66, SSE4_1),
SSEA("phminposuw", 0F38, 0x41, 66, SSE4_1, 0, W(V, DQ), R(W, DQ)),
SSE_2("sha1nexte", 0F38, 0xc8, NP, SHA),
SSE_2("sha1msg1", 0F38, 0xc9, NP, SHA),
SSE_2("sha1msg2", 0F38, 0xca, NP, SHA),
SSEA("sha256rnds2", 0F38, 0xcb, NP, SHA, X86_H_RD_XMM0, RW(V, DQ), R(W, DQ)),
SSE_2("sha256msg1", 0F38, 0xcc, NP, SHA),
SSE_2("sha256msg2", 0F38, 0xcd, NP, SHA),
SSEA("aesimc", 0F38, 0xdb, 66, AES, 0, W(V, DQ), R(W, DQ)),
SSE_2("aesenc", 0F38, 0xdc, 66, AES),
SSE_2("aesenclast", 0F38, 0xdd, 66, AES),
SSE_2("aesdec", 0F38, 0xde, 66, AES),
SSE_2("aesdeclast", 0F38, 0xdf, 66, AES),

/* ---- 0F 3A ---- */
SSEA("roundps", 0F3A, 0x08, 66, SSE4_1, X86_H_FP, W(V, DQ), R(W, DQ), IMM),
SSEA("roundpd", 0F3A, 0x09, 66, SSE4_1, X86_H_FP, W(V, DQ), R(W, DQ), IMM),
SSE("roundss", 0F3A, 0x0a, 66, SSE4_1, X86_H_FP, RW(V, DQ), R(W, D), IMM),
SSE("roundsd", 0F3A, 0x0b, 66, SSE4_1, X86_H_FP, RW(V, DQ), R(W, Q), IMM),
SSEA("blendps", 0F3A, 0x0c, 66, SSE4_1, 0, RW(V, DQ), R(W, DQ), IMM),
SSEA("blendpd", 0F3A, 0x0d, 66, SSE4_1, 0, RW(V, DQ), R(W, DQ), IMM),
SSEA("pblendw", 0F3A, 0x0e, 66, SSE4_1, 0, RW(V, DQ), R(W, DQ), IMM),
MMX("palignr", 0F3A, 0x0f, SSSE3, 0, RW(P, Q), R(Q, Q), IMM),
SSEA("palignr", 0F3A, 0x0f, 66, SSSE3, 0, RW(V, DQ), R(W, DQ), IMM),
SSE("pextrb", 0F3A, 0x14, 66, SSE4_1, 0, W(E, B), R(V, DQ), IMM),
SSE("pextrw", 0F3A, 0x15, 66, SSE4_1, 0, W(E, W), R(V, DQ), IMM),
SSE("pextrd", 0F3A, 0x16, 66, SSE4_1, 0, W(E, Y), R(V, DQ), IMM),
SSE("extractps", 0F3A, 0x17, 66, SSE4_1, 0, W(E, D), R(V, DQ), IMM),
SSE("pinsrb", 0F3A, 0x20, 66, SSE4_1, 0, RW(V, DQ), R(E, B), IMM),
SSE("insertps", 0F3A, 0x21, 66, SSE4_1, 0, RW(V, DQ), R(W, D), IMM),
SSE("pinsrd", 0F3A, 0x22, 66, SSE4_1, 0, RW(V, DQ), R(E, Y), IMM),
SSEA("dpps", 0F3A, 0x40, 66, SSE4_1, X86_H_FP, RW(V, DQ), R(W, DQ), IMM),
SSEA("dppd", 0F3A, 0x41, 66, SSE4_1, X86_H_FP, RW(V, DQ), R(W, DQ), IMM),
SSEA("mpsadbw", 0F3A, 0x42, 66, SSE4_1, 0, RW(V, DQ), R(W, DQ), IMM),
SSEA("pclmulqdq", 0F3A, 0x44, 66, PCLMULQDQ, 0, RW(V, DQ), R(W, DQ), IMM),
/* The four string compares take a memory operand at any alignment. */
SSE("pcmpestrm", 0F3A, 0x60, 66, SSE4_2, X86_H_FLAGS | X86_H_RD_LEN | X86_H_WR_XMM0,
    R(V, DQ), R(W, DQ), IMM),
SSE("pcmpestri", 0F3A, 0x61, 66, SSE4_2, X86_H_FLAGS | X86_H_RD_LEN | X86_H_WR_ECX,
    R(V, DQ), R(W, DQ), IMM),
SSE("pcmpistrm", 0F3A, 0x62, 66, SSE4_2, X86_H_FLAGS | X86_H_WR_XMM0, R(V, DQ), R(W, DQ), IMM),
SSE("pcmpistri", 0F3A, 0x63, 66, SSE4_2, X86_H_FLAGS | X86_H_WR_ECX, R(V, DQ), R(W, DQ), IMM),
SSEA("sha1rnds4", 0F3A, 0xcc, NP, SHA, 0, RW(V, DQ), R(W, DQ), IMM),
SSEA("aeskeygenassist", 0F3A, 0xdf, 66, AES, 0, W(V, DQ), R(W, DQ), IMM),

#undef FP_ARITH
#undef MMX_SSE
#undef FP_2
#undef SSE_2
#undef MMX_REG
#undef MMX
#undef SSE_REG
#undef SSEA_MEM
#undef SSE_MEM
#undef SSEA
#undef SSE
#undef VROW
#undef IMM
