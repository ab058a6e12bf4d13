/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vector instructions with a VEX prefix: AVX, AVX2, FMA, F16C, VAES, VPCLMULQDQ. Rows of x86_optable[].
 *
 * All run on the host's own unit and clear what lies above their result. Memory operands may be
 * unaligned but for the aligned moves. Where the 256-bit form came with AVX2 there are two rows.
 */
#define IMM		R(I, B)
#define VROW(n, map_, o, p, l, w_, mod_, reg_, f, a, h, ...) {			\
	.name = n, .map = X86_MAP_##map_, .opcode = o, .pfx = X86_PFX_##p,	\
	.vex = X86_VEX_##l, .w = X86_##w_, .mod = X86_MOD_##mod_, .reg = reg_,	\
	.rm = -1, .op = { __VA_ARGS__ }, .feature = X86_FEATURE_##f, .host = h,	\
	.attr = X86_A_HOST | X86_A_AVX | (a) | ((h) & X86_H_FLAGS ? 0 : X86_A_NOFLAGS) }

/* L, W: as given; MEM, REG: that form only; A: aligned. */
#define AVX(n, map, o, p, l, w, f, h, ...)	\
	VROW(n, map, o, p, l, w, ANY, -1, f, 0, h, __VA_ARGS__)
#define AVXA(n, map, o, p, l, w, f, h, ...)	\
	VROW(n, map, o, p, l, w, ANY, -1, f, X86_A_ALIGN, h, __VA_ARGS__)
#define AVXA_MEM(n, map, o, p, l, w, f, h, ...)	\
	VROW(n, map, o, p, l, w, MEM, -1, f, X86_A_ALIGN, h, __VA_ARGS__)
#define AVX_MEM(n, map, o, p, l, w, f, h, ...)	\
	VROW(n, map, o, p, l, w, MEM, -1, f, 0, h, __VA_ARGS__)
#define AVX_REG(n, map, o, p, l, w, f, h, ...)	\
	VROW(n, map, o, p, l, w, REG, -1, f, 0, h, __VA_ARGS__)

/* Both lengths from AVX on, and 256 bits from AVX2 on: dst = src1 op src2; dst = op src. */
#define AVX_3(n, map, o, p, h)	\
	AVX(n, map, o, p, ANY, W_ANY, AVX, h, W(V, X), R(H, X), R(W, X))
#define AVX_3I(n, map, o, p, h)	\
	AVX(n, map, o, p, ANY, W_ANY, AVX, h, W(V, X), R(H, X), R(W, X), IMM)
#define AVX_2(n, map, o, p, h)	\
	AVX(n, map, o, p, ANY, W_ANY, AVX, h, W(V, X), R(W, X))
#define INT_ROWS(n, map, o, p, w, ...)	\
	AVX(n, map, o, p, 128, w, AVX, 0, __VA_ARGS__),	\
	AVX(n, map, o, p, 256, w, AVX2, 0, __VA_ARGS__)
#define INT_3(n, map, o)	INT_ROWS(n, map, o, 66, W_ANY, W(V, X), R(H, X), R(W, X))
#define INT_3I(n, map, o)	INT_ROWS(n, map, o, 66, W_ANY, W(V, X), R(H, X), R(W, X), IMM)
#define INT_2(n, map, o)	INT_ROWS(n, map, o, 66, W_ANY, W(V, X), R(W, X))
/* Shifts by a count in an XMM register or 16 bytes of memory. */
#define INT_SHIFT(n, o)		INT_ROWS(n, 0F, o, 66, W_ANY, W(V, X), R(H, X), R(W, DQ))
#define FP_ARITH(name, o)							\
	AVX_3(name "ps", 0F, o, NP, X86_H_FP), AVX_3(name "pd", 0F, o, 66, X86_H_FP),	\
	AVX(name "ss", 0F, o, F3, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, D)),	\
	AVX(name "sd", 0F, o, F2, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, Q))
#define PS_PD(name, o)	AVX_3(name "ps", 0F, o, NP, 0), AVX_3(name "pd", 0F, o, 66, 0)

/* ---- 0F 10-17, 28-2F: moves, conversions, compares ---- */
AVX("vmovups", 0F, 0x10, NP, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVX("vmovupd", 0F, 0x10, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVX_MEM("vmovss", 0F, 0x10, F3, LIG, W_ANY, AVX, X86_H_MOVE, W(V, DQ), R(W, D)),
AVX_REG("vmovss", 0F, 0x10, F3, LIG, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, D)),
AVX_MEM("vmovsd", 0F, 0x10, F2, LIG, W_ANY, AVX, X86_H_MOVE, W(V, DQ), R(W, Q)),
AVX_REG("vmovsd", 0F, 0x10, F2, LIG, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, Q)),
AVX("vmovups", 0F, 0x11, NP, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVX("vmovupd", 0F, 0x11, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVX_MEM("vmovss", 0F, 0x11, F3, LIG, W_ANY, AVX, X86_H_MOVE, W(W, D), R(V, D)),
AVX_REG("vmovss", 0F, 0x11, F3, LIG, W_ANY, AVX, 0, W(W, DQ), R(H, DQ), R(V, D)),
AVX_MEM("vmovsd", 0F, 0x11, F2, LIG, W_ANY, AVX, X86_H_MOVE, W(W, Q), R(V, Q)),
AVX_REG("vmovsd", 0F, 0x11, F2, LIG, W_ANY, AVX, 0, W(W, DQ), R(H, DQ), R(V, Q)),
AVX_MEM("vmovlps", 0F, 0x12, NP, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_REG("vmovhlps", 0F, 0x12, NP, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, DQ)),
AVX_MEM("vmovlpd", 0F, 0x12, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_2("vmovsldup", 0F, 0x12, F3, 0),
AVX("vmovddup", 0F, 0x12, F2, 128, W_ANY, AVX, 0, W(V, DQ), R(W, Q)),
AVX("vmovddup", 0F, 0x12, F2, 256, W_ANY, AVX, 0, W(V, QQ), R(W, QQ)),
AVX_MEM("vmovlps", 0F, 0x13, NP, 128, W_ANY, AVX, X86_H_MOVE, W(W, Q), R(V, Q)),
AVX_MEM("vmovlpd", 0F, 0x13, 66, 128, W_ANY, AVX, X86_H_MOVE, W(W, Q), R(V, Q)),
PS_PD("vunpckl", 0x14),
PS_PD("vunpckh", 0x15),
AVX_MEM("vmovhps", 0F, 0x16, NP, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_REG("vmovlhps", 0F, 0x16, NP, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, DQ)),
AVX_MEM("vmovhpd", 0F, 0x16, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_2("vmovshdup", 0F, 0x16, F3, 0),
AVX_MEM("vmovhps", 0F, 0x17, NP, 128, W_ANY, AVX, 0, W(W, Q), R(V, DQ)),
AVX_MEM("vmovhpd", 0F, 0x17, 66, 128, W_ANY, AVX, 0, W(W, Q), R(V, DQ)),
AVXA("vmovaps", 0F, 0x28, NP, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVXA("vmovapd", 0F, 0x28, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVXA("vmovaps", 0F, 0x29, NP, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVXA("vmovapd", 0F, 0x29, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVX("vcvtsi2ss", 0F, 0x2a, F3, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(E, Y)),
AVX("vcvtsi2sd", 0F, 0x2a, F2, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(E, Y)),
AVXA_MEM("vmovntps", 0F, 0x2b, NP, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVXA_MEM("vmovntpd", 0F, 0x2b, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVX("vcvttss2si", 0F, 0x2c, F3, LIG, W_ANY, AVX, X86_H_FP, W(G, Y), R(W, D)),
AVX("vcvttsd2si", 0F, 0x2c, F2, LIG, W_ANY, AVX, X86_H_FP, W(G, Y), R(W, Q)),
AVX("vcvtss2si", 0F, 0x2d, F3, LIG, W_ANY, AVX, X86_H_FP, W(G, Y), R(W, D)),
AVX("vcvtsd2si", 0F, 0x2d, F2, LIG, W_ANY, AVX, X86_H_FP, W(G, Y), R(W, Q)),
AVX("vucomiss", 0F, 0x2e, NP, LIG, W_ANY, AVX, X86_H_FP | X86_H_FLAGS, R(V, D), R(W, D)),
AVX("vucomisd", 0F, 0x2e, 66, LIG, W_ANY, AVX, X86_H_FP | X86_H_FLAGS, R(V, Q), R(W, Q)),
AVX("vcomiss", 0F, 0x2f, NP, LIG, W_ANY, AVX, X86_H_FP | X86_H_FLAGS, R(V, D), R(W, D)),
AVX("vcomisd", 0F, 0x2f, 66, LIG, W_ANY, AVX, X86_H_FP | X86_H_FLAGS, R(V, Q), R(W, Q)),

/* ---- 0F 50-5F: arithmetic ---- */
AVX_REG("vmovmskps", 0F, 0x50, NP, ANY, W_ANY, AVX, 0, W(G, D), R(W, X)),
AVX_REG("vmovmskpd", 0F, 0x50, 66, ANY, W_ANY, AVX, 0, W(G, D), R(W, X)),
AVX_2("vsqrtps", 0F, 0x51, NP, X86_H_FP), AVX_2("vsqrtpd", 0F, 0x51, 66, X86_H_FP),
AVX("vsqrtss", 0F, 0x51, F3, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, D)),
AVX("vsqrtsd", 0F, 0x51, F2, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_2("vrsqrtps", 0F, 0x52, NP, 0),
AVX("vrsqrtss", 0F, 0x52, F3, LIG, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, D)),
AVX_2("vrcpps", 0F, 0x53, NP, 0),
AVX("vrcpss", 0F, 0x53, F3, LIG, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, D)),
PS_PD("vand", 0x54),
PS_PD("vandn", 0x55),
PS_PD("vor", 0x56),
PS_PD("vxor", 0x57),
FP_ARITH("vadd", 0x58),
FP_ARITH("vmul", 0x59),
AVX("vcvtps2pd", 0F, 0x5a, NP, ANY, W_ANY, AVX, X86_H_FP, W(V, X), R(W, HX)),
AVX("vcvtpd2ps", 0F, 0x5a, 66, ANY, W_ANY, AVX, X86_H_FP, W(V, DQ), R(W, X)),
AVX("vcvtss2sd", 0F, 0x5a, F3, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, D)),
AVX("vcvtsd2ss", 0F, 0x5a, F2, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, Q)),
AVX_2("vcvtdq2ps", 0F, 0x5b, NP, X86_H_FP),
AVX_2("vcvtps2dq", 0F, 0x5b, 66, X86_H_FP),
AVX_2("vcvttps2dq", 0F, 0x5b, F3, X86_H_FP),
FP_ARITH("vsub", 0x5c),
FP_ARITH("vmin", 0x5d),
FP_ARITH("vdiv", 0x5e),
FP_ARITH("vmax", 0x5f),

/* ---- 0F 60-7F: packed integers and their moves ---- */
INT_3("vpunpcklbw", 0F, 0x60), INT_3("vpunpcklwd", 0F, 0x61), INT_3("vpunpckldq", 0F, 0x62),
INT_3("vpacksswb", 0F, 0x63),
INT_3("vpcmpgtb", 0F, 0x64), INT_3("vpcmpgtw", 0F, 0x65), INT_3("vpcmpgtd", 0F, 0x66),
INT_3("vpackuswb", 0F, 0x67),
INT_3("vpunpckhbw", 0F, 0x68), INT_3("vpunpckhwd", 0F, 0x69), INT_3("vpunpckhdq", 0F, 0x6a),
INT_3("vpackssdw", 0F, 0x6b),
INT_3("vpunpcklqdq", 0F, 0x6c), INT_3("vpunpckhqdq", 0F, 0x6d),
AVX("vmovd", 0F, 0x6e, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(E, Y)),
AVXA("vmovdqa", 0F, 0x6f, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVX("vmovdqu", 0F, 0x6f, F3, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
INT_ROWS("vpshufd", 0F, 0x70, 66, W_ANY, W(V, X), R(W, X), IMM),
INT_ROWS("vpshufhw", 0F, 0x70, F3, W_ANY, W(V, X), R(W, X), IMM),
INT_ROWS("vpshuflw", 0F, 0x70, F2, W_ANY, W(V, X), R(W, X), IMM),
#define SHIFT_IMM(n, o, reg)								\
	VROW(n, 0F, o, 66, 128, W_ANY, REG, reg, AVX, 0, 0, W(H, X), R(W, X), IMM),	\
	VROW(n, 0F, o, 66, 256, W_ANY, REG, reg, AVX2, 0, 0, W(H, X), R(W, X), IMM)
SHIFT_IMM("vpsrlw", 0x71, 2), SHIFT_IMM("vpsraw", 0x71, 4), SHIFT_IMM("vpsllw", 0x71, 6),
SHIFT_IMM("vpsrld", 0x72, 2), SHIFT_IMM("vpsrad", 0x72, 4), SHIFT_IMM("vpslld", 0x72, 6),
SHIFT_IMM("vpsrlq", 0x73, 2), SHIFT_IMM("vpsrldq", 0x73, 3),
SHIFT_IMM("vpsllq", 0x73, 6), SHIFT_IMM("vpslldq", 0x73, 7),
#undef SHIFT_IMM
INT_3("vpcmpeqb", 0F, 0x74), INT_3("vpcmpeqw", 0F, 0x75), INT_3("vpcmpeqd", 0F, 0x76),
VROW("vzeroupper", 0F, 0x77, NP, 128, W_ANY, NONE, -1, AVX, 0, X86_H_VZERO),
VROW("vzeroall", 0F, 0x77, NP, 256, W_ANY, NONE, -1, AVX, 0, X86_H_VZERO),
AVX_3("vhaddpd", 0F, 0x7c, 66, X86_H_FP), AVX_3("vhaddps", 0F, 0x7c, F2, X86_H_FP),
AVX_3("vhsubpd", 0F, 0x7d, 66, X86_H_FP), AVX_3("vhsubps", 0F, 0x7d, F2, X86_H_FP),
AVX("vmovd", 0F, 0x7e, 66, 128, W_ANY, AVX, 0, W(E, Y), R(V, DQ)),
AVX("vmovq", 0F, 0x7e, F3, 128, W_ANY, AVX, X86_H_MOVE, W(V, DQ), R(W, Q)),
AVXA("vmovdqa", 0F, 0x7f, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
AVX("vmovdqu", 0F, 0x7f, F3, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),

/* ---- 0F AE-FF ---- */
VROW("vldmxcsr", 0F, 0xae, NP, 128, W_ANY, MEM, 2, AVX, 0, X86_H_LDMXCSR, R(M, D)),
VROW("vstmxcsr", 0F, 0xae, NP, 128, W_ANY, MEM, 3, AVX, 0, X86_H_STMXCSR, W(M, D)),
AVX_3I("vcmpps", 0F, 0xc2, NP, X86_H_FP), AVX_3I("vcmppd", 0F, 0xc2, 66, X86_H_FP),
AVX("vcmpss", 0F, 0xc2, F3, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, D), IMM),
AVX("vcmpsd", 0F, 0xc2, F2, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, Q), IMM),
AVX("vpinsrw", 0F, 0xc4, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(E, W), IMM),
AVX_REG("vpextrw", 0F, 0xc5, 66, 128, W_ANY, AVX, 0, W(G, D), R(W, DQ), IMM),
AVX_3I("vshufps", 0F, 0xc6, NP, 0), AVX_3I("vshufpd", 0F, 0xc6, 66, 0),
AVX_3("vaddsubpd", 0F, 0xd0, 66, X86_H_FP), AVX_3("vaddsubps", 0F, 0xd0, F2, X86_H_FP),
INT_SHIFT("vpsrlw", 0xd1), INT_SHIFT("vpsrld", 0xd2), INT_SHIFT("vpsrlq", 0xd3),
INT_3("vpaddq", 0F, 0xd4),
INT_3("vpmullw", 0F, 0xd5),
AVX("vmovq", 0F, 0xd6, 66, 128, W_ANY, AVX, X86_H_MOVE, W(W, Q), R(V, Q)),
VROW("vpmovmskb", 0F, 0xd7, 66, 128, W_ANY, REG, -1, AVX, 0, 0, W(G, D), R(W, X)),
VROW("vpmovmskb", 0F, 0xd7, 66, 256, W_ANY, REG, -1, AVX2, 0, 0, W(G, D), R(W, X)),
INT_3("vpsubusb", 0F, 0xd8), INT_3("vpsubusw", 0F, 0xd9),
INT_3("vpminub", 0F, 0xda),
INT_3("vpand", 0F, 0xdb),
INT_3("vpaddusb", 0F, 0xdc), INT_3("vpaddusw", 0F, 0xdd),
INT_3("vpmaxub", 0F, 0xde),
INT_3("vpandn", 0F, 0xdf),
INT_3("vpavgb", 0F, 0xe0),
INT_SHIFT("vpsraw", 0xe1), INT_SHIFT("vpsrad", 0xe2),
INT_3("vpavgw", 0F, 0xe3),
INT_3("vpmulhuw", 0F, 0xe4), INT_3("vpmulhw", 0F, 0xe5),
AVX("vcvttpd2dq", 0F, 0xe6, 66, ANY, W_ANY, AVX, X86_H_FP, W(V, DQ), R(W, X)),
AVX("vcvtdq2pd", 0F, 0xe6, F3, ANY, W_ANY, AVX, 0, W(V, X), R(W, HX)),
AVX("vcvtpd2dq", 0F, 0xe6, F2, ANY, W_ANY, AVX, X86_H_FP, W(V, DQ), R(W, X)),
AVXA_MEM("vmovntdq", 0F, 0xe7, 66, ANY, W_ANY, AVX, X86_H_MOVE, W(W, X), R(V, X)),
INT_3("vpsubsb", 0F, 0xe8), INT_3("vpsubsw", 0F, 0xe9),
INT_3("vpminsw", 0F, 0xea),
INT_3("vpor", 0F, 0xeb),
INT_3("vpaddsb", 0F, 0xec), INT_3("vpaddsw", 0F, 0xed),
INT_3("vpmaxsw", 0F, 0xee),
INT_3("vpxor", 0F, 0xef),
AVX_MEM("vlddqu", 0F, 0xf0, F2, ANY, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
INT_SHIFT("vpsllw", 0xf1), INT_SHIFT("vpslld", 0xf2), INT_SHIFT("vpsllq", 0xf3),
INT_3("vpmuludq", 0F, 0xf4),
INT_3("vpmaddwd", 0F, 0xf5),
INT_3("vpsadbw", 0F, 0xf6),
AVX_REG("vmaskmovdqu", 0F, 0xf7, 66, 128, W_ANY, AVX, X86_H_MASKMOVDQU,
	R(V, DQ), R(W, DQ), W(Y, DQ)),
INT_3("vpsubb", 0F, 0xf8), INT_3("vpsubw", 0F, 0xf9), INT_3("vpsubd", 0F, 0xfa),
INT_3("vpsubq", 0F, 0xfb),
INT_3("vpaddb", 0F, 0xfc), INT_3("vpaddw", 0F, 0xfd), INT_3("vpaddd", 0F, 0xfe),

/* ---- 0F 38 ---- */
INT_3("vpshufb", 0F38, 0x00),
INT_3("vphaddw", 0F38, 0x01), INT_3("vphaddd", 0F38, 0x02), INT_3("vphaddsw", 0F38, 0x03),
INT_3("vpmaddubsw", 0F38, 0x04),
INT_3("vphsubw", 0F38, 0x05), INT_3("vphsubd", 0F38, 0x06), INT_3("vphsubsw", 0F38, 0x07),
INT_3("vpsignb", 0F38, 0x08), INT_3("vpsignw", 0F38, 0x09), INT_3("vpsignd", 0F38, 0x0a),
INT_3("vpmulhrsw", 0F38, 0x0b),
AVX("vpermilps", 0F38, 0x0c, 66, ANY, W0, AVX, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpermilpd", 0F38, 0x0d, 66, ANY, W0, AVX, 0, W(V, X), R(H, X), R(W, X)),
AVX("vtestps", 0F38, 0x0e, 66, ANY, W0, AVX, X86_H_FLAGS, R(V, X), R(W, X)),
AVX("vtestpd", 0F38, 0x0f, 66, ANY, W0, AVX, X86_H_FLAGS, R(V, X), R(W, X)),
AVX("vcvtph2ps", 0F38, 0x13, 66, ANY, W0, F16C, X86_H_FP, W(V, X), R(W, HX)),
AVX("vpermps", 0F38, 0x16, 66, 256, W0, AVX2, 0, W(V, QQ), R(H, QQ), R(W, QQ)),
AVX("vptest", 0F38, 0x17, 66, ANY, W_ANY, AVX, X86_H_FLAGS, R(V, X), R(W, X)),
AVX_MEM("vbroadcastss", 0F38, 0x18, 66, ANY, W0, AVX, 0, W(V, X), R(W, D)),
AVX_REG("vbroadcastss", 0F38, 0x18, 66, ANY, W0, AVX2, 0, W(V, X), R(W, D)),
AVX_MEM("vbroadcastsd", 0F38, 0x19, 66, 256, W0, AVX, 0, W(V, QQ), R(W, Q)),
AVX_REG("vbroadcastsd", 0F38, 0x19, 66, 256, W0, AVX2, 0, W(V, QQ), R(W, Q)),
AVX_MEM("vbroadcastf128", 0F38, 0x1a, 66, 256, W0, AVX, 0, W(V, QQ), R(W, DQ)),
INT_2("vpabsb", 0F38, 0x1c), INT_2("vpabsw", 0F38, 0x1d), INT_2("vpabsd", 0F38, 0x1e),
INT_ROWS("vpmovsxbw", 0F38, 0x20, 66, W_ANY, W(V, X), R(W, HX)),
INT_ROWS("vpmovsxbd", 0F38, 0x21, 66, W_ANY, W(V, X), R(W, QX)),
INT_ROWS("vpmovsxbq", 0F38, 0x22, 66, W_ANY, W(V, X), R(W, OX)),
INT_ROWS("vpmovsxwd", 0F38, 0x23, 66, W_ANY, W(V, X), R(W, HX)),
INT_ROWS("vpmovsxwq", 0F38, 0x24, 66, W_ANY, W(V, X), R(W, QX)),
INT_ROWS("vpmovsxdq", 0F38, 0x25, 66, W_ANY, W(V, X), R(W, HX)),
INT_3("vpmuldq", 0F38, 0x28),
INT_3("vpcmpeqq", 0F38, 0x29),
AVXA_MEM("vmovntdqa", 0F38, 0x2a, 66, 128, W_ANY, AVX, X86_H_MOVE, W(V, X), R(W, X)),
AVXA_MEM("vmovntdqa", 0F38, 0x2a, 66, 256, W_ANY, AVX2, X86_H_MOVE, W(V, X), R(W, X)),
INT_3("vpackusdw", 0F38, 0x2b),
AVX_MEM("vmaskmovps", 0F38, 0x2c, 66, ANY, W0, AVX, X86_H_MASKMOV32, W(V, X), R(H, X), R(W, X)),
AVX_MEM("vmaskmovpd", 0F38, 0x2d, 66, ANY, W0, AVX, X86_H_MASKMOV64, W(V, X), R(H, X), R(W, X)),
AVX_MEM("vmaskmovps", 0F38, 0x2e, 66, ANY, W0, AVX, X86_H_MASKMOV32, W(W, X), R(H, X), R(V, X)),
AVX_MEM("vmaskmovpd", 0F38, 0x2f, 66, ANY, W0, AVX, X86_H_MASKMOV64, W(W, X), R(H, X), R(V, X)),
INT_ROWS("vpmovzxbw", 0F38, 0x30, 66, W_ANY, W(V, X), R(W, HX)),
INT_ROWS("vpmovzxbd", 0F38, 0x31, 66, W_ANY, W(V, X), R(W, QX)),
INT_ROWS("vpmovzxbq", 0F38, 0x32, 66, W_ANY, W(V, X), R(W, OX)),
INT_ROWS("vpmovzxwd", 0F38, 0x33, 66, W_ANY, W(V, X), R(W, HX)),
INT_ROWS("vpmovzxwq", 0F38, 0x34, 66, W_ANY, W(V, X), R(W, QX)),
INT_ROWS("vpmovzxdq", 0F38, 0x35, 66, W_ANY, W(V, X), R(W, HX)),
AVX("vpermd", 0F38, 0x36, 66, 256, W0, AVX2, 0, W(V, QQ), R(H, QQ), R(W, QQ)),
INT_3("vpcmpgtq", 0F38, 0x37),
INT_3("vpminsb", 0F38, 0x38), INT_3("vpminsd", 0F38, 0x39),
INT_3("vpminuw", 0F38, 0x3a), INT_3("vpminud", 0F38, 0x3b),
INT_3("vpmaxsb", 0F38, 0x3c), INT_3("vpmaxsd", 0F38, 0x3d),
INT_3("vpmaxuw", 0F38, 0x3e), INT_3("vpmaxud", 0F38, 0x3f),
INT_3("vpmulld", 0F38, 0x40),
AVX("vphminposuw", 0F38, 0x41, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(W, DQ)),
AVX("vpsrlvd", 0F38, 0x45, 66, ANY, W0, AVX2, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpsrlvq", 0F38, 0x45, 66, ANY, W1, AVX2, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpsravd", 0F38, 0x46, 66, ANY, W0, AVX2, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpsllvd", 0F38, 0x47, 66, ANY, W0, AVX2, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpsllvq", 0F38, 0x47, 66, ANY, W1, AVX2, 0, W(V, X), R(H, X), R(W, X)),
AVX("vpbroadcastd", 0F38, 0x58, 66, ANY, W0, AVX2, 0, W(V, X), R(W, D)),
AVX("vpbroadcastq", 0F38, 0x59, 66, ANY, W0, AVX2, 0, W(V, X), R(W, Q)),
AVX_MEM("vbroadcasti128", 0F38, 0x5a, 66, 256, W0, AVX2, 0, W(V, QQ), R(W, DQ)),
AVX("vpbroadcastb", 0F38, 0x78, 66, ANY, W0, AVX2, 0, W(V, X), R(W, B)),
AVX("vpbroadcastw", 0F38, 0x79, 66, ANY, W0, AVX2, 0, W(V, X), R(W, W)),
AVX_MEM("vpmaskmovd", 0F38, 0x8c, 66, ANY, W0, AVX2, X86_H_MASKMOV32, W(V, X), R(H, X), R(W, X)),
AVX_MEM("vpmaskmovq", 0F38, 0x8c, 66, ANY, W1, AVX2, X86_H_MASKMOV64, W(V, X), R(H, X), R(W, X)),
AVX_MEM("vpmaskmovd", 0F38, 0x8e, 66, ANY, W0, AVX2, X86_H_MASKMOV32, W(W, X), R(H, X), R(V, X)),
AVX_MEM("vpmaskmovq", 0F38, 0x8e, 66, ANY, W1, AVX2, X86_H_MASKMOV64, W(W, X), R(H, X), R(V, X)),
#define GATHER(n, o, w, h)	\
	AVX_MEM(n, 0F38, o, 66, ANY, w, AVX2, h, RW(V, X), R(VSIB, X), RW(H, X))
GATHER("vpgatherdd", 0x90, W0, X86_H_GATHER_DD), GATHER("vpgatherdq", 0x90, W1, X86_H_GATHER_DQ),
GATHER("vpgatherqd", 0x91, W0, X86_H_GATHER_QD), GATHER("vpgatherqq", 0x91, W1, X86_H_GATHER_QQ),
GATHER("vgatherdps", 0x92, W0, X86_H_GATHER_DD), GATHER("vgatherdpd", 0x92, W1, X86_H_GATHER_DQ),
GATHER("vgatherqps", 0x93, W0, X86_H_GATHER_QD), GATHER("vgatherqpd", 0x93, W1, X86_H_GATHER_QQ),
#undef GATHER
/* FMA: opcodes X6 to XF for the operand orders 132, 213, 231 (X is 9, A, B). */
#define FMA_PACKED(name, o)								\
	AVX(name "ps", 0F38, o, 66, ANY, W0, FMA, X86_H_FP, RW(V, X), R(H, X), R(W, X)),	\
	AVX(name "pd", 0F38, o, 66, ANY, W1, FMA, X86_H_FP, RW(V, X), R(H, X), R(W, X))
#define FMA_BOTH(name, o)								\
	FMA_PACKED(name, o),								\
	AVX(name "ss", 0F38, (o) + 1, 66, LIG, W0, FMA, X86_H_FP, RW(V, DQ), R(H, DQ), R(W, D)),	\
	AVX(name "sd", 0F38, (o) + 1, 66, LIG, W1, FMA, X86_H_FP, RW(V, DQ), R(H, DQ), R(W, Q))
#define FMA_ORDER(order, o)								\
	FMA_PACKED("vfmaddsub" order, (o) + 6), FMA_PACKED("vfmsubadd" order, (o) + 7),	\
	FMA_BOTH("vfmadd" order, (o) + 8), FMA_BOTH("vfmsub" order, (o) + 0xa),		\
	FMA_BOTH("vfnmadd" order, (o) + 0xc), FMA_BOTH("vfnmsub" order, (o) + 0xe)
FMA_ORDER("132", 0x90),
FMA_ORDER("213", 0xa0),
FMA_ORDER("231", 0xb0),
#undef FMA_ORDER
#undef FMA_BOTH
#undef FMA_PACKED
AVX("vaesimc", 0F38, 0xdb, 66, 128, W_ANY, AES, 0, W(V, DQ), R(W, DQ)),
#define VAES_ROWS(n, o)									\
	AVX(n, 0F38, o, 66, 128, W_ANY, AES, 0, W(V, X), R(H, X), R(W, X)),		\
	AVX(n, 0F38, o, 66, 256, W_ANY, VAES, 0, W(V, X), R(H, X), R(W, X))
VAES_ROWS("vaesenc", 0xdc), VAES_ROWS("vaesenclast", 0xdd),
VAES_ROWS("vaesdec", 0xde), VAES_ROWS("vaesdeclast", 0xdf),
#undef VAES_ROWS

/* ---- 0F 3A ---- */
AVX("vpermq", 0F3A, 0x00, 66, 256, W1, AVX2, 0, W(V, QQ), R(W, QQ), IMM),
AVX("vpermpd", 0F3A, 0x01, 66, 256, W1, AVX2, 0, W(V, QQ), R(W, QQ), IMM),
AVX("vpblendd", 0F3A, 0x02, 66, ANY, W0, AVX2, 0, W(V, X), R(H, X), R(W, X), IMM),
AVX("vpermilps", 0F3A, 0x04, 66, ANY, W0, AVX, 0, W(V, X), R(W, X), IMM),
AVX("vpermilpd", 0F3A, 0x05, 66, ANY, W0, AVX, 0, W(V, X), R(W, X), IMM),
AVX("vperm2f128", 0F3A, 0x06, 66, 256, W0, AVX, 0, W(V, QQ), R(H, QQ), R(W, QQ), IMM),
AVX("vroundps", 0F3A, 0x08, 66, ANY, W_ANY, AVX, X86_H_FP, W(V, X), R(W, X), IMM),
AVX("vroundpd", 0F3A, 0x09, 66, ANY, W_ANY, AVX, X86_H_FP, W(V, X), R(W, X), IMM),
AVX("vroundss", 0F3A, 0x0a, 66, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, D), IMM),
AVX("vroundsd", 0F3A, 0x0b, 66, LIG, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, Q), IMM),
AVX_3I("vblendps", 0F3A, 0x0c, 66, 0), AVX_3I("vblendpd", 0F3A, 0x0d, 66, 0),
INT_3I("vpblendw", 0F3A, 0x0e),
INT_3I("vpalignr", 0F3A, 0x0f),
AVX("vpextrb", 0F3A, 0x14, 66, 128, W_ANY, AVX, 0, W(E, B), R(V, DQ), IMM),
AVX("vpextrw", 0F3A, 0x15, 66, 128, W_ANY, AVX, 0, W(E, W), R(V, DQ), IMM),
AVX("vpextrd", 0F3A, 0x16, 66, 128, W0, AVX, 0, W(E, Y), R(V, DQ), IMM),
VROW("vpextrq", 0F3A, 0x16, 66, 128, W1, ANY, -1, AVX, X86_A_O64, 0, W(E, Y), R(V, DQ), IMM),
AVX("vextractps", 0F3A, 0x17, 66, 128, W_ANY, AVX, 0, W(E, D), R(V, DQ), IMM),
AVX("vinsertf128", 0F3A, 0x18, 66, 256, W0, AVX, 0, W(V, QQ), R(H, QQ), R(W, DQ), IMM),
AVX("vextractf128", 0F3A, 0x19, 66, 256, W0, AVX, 0, W(W, DQ), R(V, QQ), IMM),
AVX("vcvtps2ph", 0F3A, 0x1d, 66, ANY, W0, F16C, X86_H_FP, W(W, HX), R(V, X), IMM),
AVX("vpinsrb", 0F3A, 0x20, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(E, B), IMM),
AVX("vinsertps", 0F3A, 0x21, 66, 128, W_ANY, AVX, 0, W(V, DQ), R(H, DQ), R(W, D), IMM),
AVX("vpinsrd", 0F3A, 0x22, 66, 128, W0, AVX, 0, W(V, DQ), R(H, DQ), R(E, Y), IMM),
VROW("vpinsrq", 0F3A, 0x22, 66, 128, W1, ANY, -1, AVX, X86_A_O64, 0, W(V, DQ), R(H, DQ), R(E, Y), IMM),
AVX("vinserti128", 0F3A, 0x38, 66, 256, W0, AVX2, 0, W(V, QQ), R(H, QQ), R(W, DQ), IMM),
AVX("vextracti128", 0F3A, 0x39, 66, 256, W0, AVX2, 0, W(W, DQ), R(V, QQ), IMM),
AVX_3I("vdpps", 0F3A, 0x40, 66, X86_H_FP),
AVX("vdppd", 0F3A, 0x41, 66, 128, W_ANY, AVX, X86_H_FP, W(V, DQ), R(H, DQ), R(W, DQ), IMM),
INT_3I("vmpsadbw", 0F3A, 0x42),
AVX("vpclmulqdq", 0F3A, 0x44, 66, 128, W_ANY, PCLMULQDQ, 0, W(V, X), R(H, X), R(W, X), IMM),
AVX("vpclmulqdq", 0F3A, 0x44, 66, 256, W_ANY, VPCLMULQDQ, 0, W(V, X), R(H, X), R(W, X), IMM),
AVX("vperm2i128", 0F3A, 0x46, 66, 256, W0, AVX2, 0, W(V, QQ), R(H, QQ), R(W, QQ), IMM),
AVX("vblendvps", 0F3A, 0x4a, 66, ANY, W0, AVX, 0, W(V, X), R(H, X), R(W, X), R(L, X)),
AVX("vblendvpd", 0F3A, 0x4b, 66, ANY, W0, AVX, 0, W(V, X), R(H, X), R(W, X), R(L, X)),
AVX("vpblendvb", 0F3A, 0x4c, 66, 128, W0, AVX, 0, W(V, X), R(H, X), R(W, X), R(L, X)),
AVX("vpblendvb", 0F3A, 0x4c, 66, 256, W0, AVX2, 0, W(V, X), R(H, X), R(W, X), R(L, X)),
AVX("vpcmpestrm", 0F3A, 0x60, 66, 128, W_ANY, AVX, X86_H_FLAGS | X86_H_RD_LEN | X86_H_WR_XMM0,
    R(V, DQ), R(W, DQ), IMM),
AVX("vpcmpestri", 0F3A, 0x61, 66, 128, W_ANY, AVX, X86_H_FLAGS | X86_H_RD_LEN | X86_H_WR_ECX,
    R(V, DQ), R(W, DQ), IMM),
AVX("vpcmpistrm", 0F3A, 0x62, 66, 128, W_ANY, AVX, X86_H_FLAGS | X86_H_WR_XMM0,
    R(V, DQ), R(W, DQ), IMM),
AVX("vpcmpistri", 0F3A, 0x63, 66, 128, W_ANY, AVX, X86_H_FLAGS | X86_H_WR_ECX,
    R(V, DQ), R(W, DQ), IMM),
AVX("vaeskeygenassist", 0F3A, 0xdf, 66, 128, W_ANY, AES, 0, W(V, DQ), R(W, DQ), IMM),

#undef PS_PD
#undef FP_ARITH
#undef INT_SHIFT
#undef INT_2
#undef INT_3I
#undef INT_3
#undef INT_ROWS
#undef AVX_2
#undef AVX_3I
#undef AVX_3
#undef AVX_REG
#undef AVX_MEM
#undef AVXA_MEM
#undef AVXA
#undef AVX
#undef VROW
#undef IMM
