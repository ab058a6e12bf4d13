/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the integer instructions that touch no system state (SDM volume 2, appendix A). */

#define BYTE	X86_A_BYTE
#define LOCK	X86_A_LOCK
#define NF	X86_A_NOFLAGS
#define NEAR	(X86_A_F64 | X86_A_END | X86_A_BRANCH)

/* ---- one-byte map: arithmetic in its six forms from `o`, and by immediate through 80 to 83 ---- */
#define ALU_ROWS(o, nm, nr, acc, lock)							\
{ T1(o, #nm), MODRM, OPS({ X86_OP_E, X86_SZ_B, acc }, R(G, B)), H(nm##_er),		\
  .attr = BYTE | lock },								\
{ T1(o + 1, #nm), MODRM, OPS({ X86_OP_E, X86_SZ_V, acc }, R(G, V)), H(nm##_er),		\
  .attr = lock },									\
{ T1(o + 2, #nm), MODRM, OPS({ X86_OP_G, X86_SZ_B, acc }, R(E, B)), H(nm##_re),		\
  .attr = BYTE },									\
{ T1(o + 3, #nm), MODRM, OPS({ X86_OP_G, X86_SZ_V, acc }, R(E, V)), H(nm##_re) },	\
{ T1(o + 4, #nm), NOMODRM, OPS({ X86_OP_ACC, X86_SZ_B, acc }, R(I, B)), H(nm##_ei),	\
  .attr = BYTE },									\
{ T1(o + 5, #nm), NOMODRM, OPS({ X86_OP_ACC, X86_SZ_V, acc }, R(I, Z)), H(nm##_ei) },	\
{ T1(0x80, #nm), MODRM_(nr), OPS({ X86_OP_E, X86_SZ_B, acc }, R(I, B)), H(nm##_ei),	\
  .attr = BYTE | lock },								\
{ T1(0x81, #nm), MODRM_(nr), OPS({ X86_OP_E, X86_SZ_V, acc }, R(I, Z)), H(nm##_ei),	\
  .attr = lock },									\
{ T1(0x82, #nm), MODRM_(nr), OPS({ X86_OP_E, X86_SZ_B, acc }, R(I, B)), H(nm##_ei),	\
  .attr = BYTE | X86_A_I64 | lock },							\
{ T1(0x83, #nm), MODRM_(nr), OPS({ X86_OP_E, X86_SZ_V, acc }, R(IS, B)), H(nm##_ei),	\
  .attr = lock },
ALU_ROWS(0x00, add, 0, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x08, or, 1, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x10, adc, 2, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x18, sbb, 3, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x20, and, 4, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x28, sub, 5, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x30, xor, 6, X86_RD | X86_WR, LOCK)
ALU_ROWS(0x38, cmp, 7, X86_RD, 0)
#undef ALU_ROWS

{ T1(0x27, "daa"), NOMODRM, H(daa), .attr = X86_A_I64 },
{ T1(0x2f, "das"), NOMODRM, H(das), .attr = X86_A_I64 },
{ T1(0x37, "aaa"), NOMODRM, H(aaa), .attr = X86_A_I64 },
{ T1(0x3f, "aas"), NOMODRM, H(aas), .attr = X86_A_I64 },

/* Opcodes with a register in their low bits. */
#define Z_ROWS(map, o, nm, ...)								\
{ map(o, nm), NOMODRM, __VA_ARGS__ }, { map(o + 1, nm), NOMODRM, __VA_ARGS__ },		\
{ map(o + 2, nm), NOMODRM, __VA_ARGS__ }, { map(o + 3, nm), NOMODRM, __VA_ARGS__ },	\
{ map(o + 4, nm), NOMODRM, __VA_ARGS__ }, { map(o + 5, nm), NOMODRM, __VA_ARGS__ },	\
{ map(o + 6, nm), NOMODRM, __VA_ARGS__ }, { map(o + 7, nm), NOMODRM, __VA_ARGS__ },
Z_ROWS(T1, 0x40, "inc", OPS(RW(Z, V)), H(inc_e), .attr = X86_A_I64)
Z_ROWS(T1, 0x48, "dec", OPS(RW(Z, V)), H(dec_e), .attr = X86_A_I64)
Z_ROWS(T1, 0x50, "push", OPS(R(Z, V)), H(push_e), .attr = X86_A_D64 | NF)
Z_ROWS(T1, 0x58, "pop", OPS(W(Z, V)), H(pop_e), .attr = X86_A_D64 | NF)
{ T1(0x60, "pusha"), NOMODRM, H(pusha), .attr = X86_A_I64 | NF },
{ T1(0x61, "popa"), NOMODRM, H(popa), .attr = X86_A_I64 | NF },
{ T1(0x62, "bound"), MEM, OPS(R(G, V), R(M, V)), H(bound), .attr = X86_A_I64 | NF },
{ T1(0x63, "movsxd"), MODRM, OPS(W(G, V), R(E, D)), H(movsxd), .attr = X86_A_O64 | NF },
{ T1(0x68, "push"), NOMODRM, OPS(R(I, Z)), H(push_i), .attr = X86_A_D64 | NF },
{ T1(0x69, "imul"), MODRM, OPS(W(G, V), R(E, V), R(I, Z)), H(imul_gei) },
{ T1(0x6a, "push"), NOMODRM, OPS(R(IS, B)), H(push_i), .attr = X86_A_D64 | NF },
{ T1(0x6b, "imul"), MODRM, OPS(W(G, V), R(E, V), R(IS, B)), H(imul_gei) },

#define CONDITION_ROWS(nm, cc)								\
{ T1(0x70 + cc, "j" #nm), NOMODRM, OPS(R(J, B)), H(j##nm), .attr = NEAR },		\
{ T0F(0x80 + cc, "j" #nm), NOMODRM, OPS(R(J, Z)), H(j##nm), .attr = NEAR },		\
{ T0F(0x90 + cc, "set" #nm), MODRM, OPS(W(E, B)), H(set##nm), .attr = BYTE },		\
{ T0F(0x40 + cc, "cmov" #nm), MODRM, OPS(RW(G, V), R(E, V)), H(cmov##nm), F(CMOV) },
X86_FOR_CONDITIONS(CONDITION_ROWS)
#undef CONDITION_ROWS

{ T1(0x84, "test"), MODRM, OPS(R(E, B), R(G, B)), H(test_er), .attr = BYTE },
{ T1(0x85, "test"), MODRM, OPS(R(E, V), R(G, V)), H(test_er) },
{ T1(0x86, "xchg"), MODRM, OPS(RW(E, B), RW(G, B)), H(xchg), .attr = BYTE | LOCK | NF },
{ T1(0x87, "xchg"), MODRM, OPS(RW(E, V), RW(G, V)), H(xchg), .attr = LOCK | NF },
{ T1(0x88, "mov"), MODRM, OPS(W(E, B), R(G, B)), H(mov_er), .attr = BYTE | NF },
{ T1(0x89, "mov"), MODRM, OPS(W(E, V), R(G, V)), H(mov_er), .attr = NF },
{ T1(0x8a, "mov"), MODRM, OPS(W(G, B), R(E, B)), H(mov_re), .attr = BYTE | NF },
{ T1(0x8b, "mov"), MODRM, OPS(W(G, V), R(E, V)), H(mov_re), .attr = NF },
{ T1(0x8d, "lea"), MEM, OPS(W(G, V), N(M, NONE)), H(lea), .attr = NF },
{ T1(0x8f, "pop"), MODRM_(0), OPS(W(E, V)), H(pop_e), .attr = X86_A_D64 | NF },

/* 90 is XCHG only with REX.B; F3 does not matter to that. */
{ T1(0x90, "pause"), NOMODRM_Z(0), PF3, H(pause), .attr = NF },
{ T1(0x90, "nop"), NOMODRM_Z(0), H(nop), .attr = NF },
Z_ROWS(T1, 0x90, "xchg", OPS(RW(Z, V), RW(ACC, V)), H(xchg), .attr = NF)
{ T1(0x98, "cbw"), NOMODRM, H(cbw), .attr = NF },
{ T1(0x99, "cwd"), NOMODRM, H(cwd), .attr = NF },
{ T1(0x9e, "sahf"), NOMODRM, H(sahf), .attr = X86_A_I64 },
{ T1(0x9e, "sahf"), NOMODRM, H(sahf), F(LAHF_LM), .attr = X86_A_O64 },
{ T1(0x9f, "lahf"), NOMODRM, H(lahf), .attr = X86_A_I64 },
{ T1(0x9f, "lahf"), NOMODRM, H(lahf), F(LAHF_LM), .attr = X86_A_O64 },
{ T1(0xa0, "mov"), NOMODRM, OPS(W(ACC, B), R(O, B)), H(mov_ao), .attr = BYTE | NF },
{ T1(0xa1, "mov"), NOMODRM, OPS(W(ACC, V), R(O, V)), H(mov_ao), .attr = NF },
{ T1(0xa2, "mov"), NOMODRM, OPS(W(O, B), R(ACC, B)), H(mov_oa), .attr = BYTE | NF },
{ T1(0xa3, "mov"), NOMODRM, OPS(W(O, V), R(ACC, V)), H(mov_oa), .attr = NF },
{ T1(0xa4, "movs"), NOMODRM, OPS(W(Y, B), R(X, B)), H(movs), .attr = BYTE | X86_A_REP | NF },
{ T1(0xa5, "movs"), NOMODRM, OPS(W(Y, V), R(X, V)), H(movs), .attr = X86_A_REP | NF },
{ T1(0xa6, "cmps"), NOMODRM, OPS(R(X, B), R(Y, B)), H(cmps), .attr = BYTE | X86_A_REP },
{ T1(0xa7, "cmps"), NOMODRM, OPS(R(X, V), R(Y, V)), H(cmps), .attr = X86_A_REP },
{ T1(0xa8, "test"), NOMODRM, OPS(R(ACC, B), R(I, B)), H(test_ei), .attr = BYTE },
{ T1(0xa9, "test"), NOMODRM, OPS(R(ACC, V), R(I, Z)), H(test_ei) },
{ T1(0xaa, "stos"), NOMODRM, OPS(W(Y, B), R(ACC, B)), H(stos), .attr = BYTE | X86_A_REP | NF },
{ T1(0xab, "stos"), NOMODRM, OPS(W(Y, V), R(ACC, V)), H(stos), .attr = X86_A_REP | NF },
{ T1(0xac, "lods"), NOMODRM, OPS(W(ACC, B), R(X, B)), H(lods), .attr = BYTE | X86_A_REP | NF },
{ T1(0xad, "lods"), NOMODRM, OPS(W(ACC, V), R(X, V)), H(lods), .attr = X86_A_REP | NF },
{ T1(0xae, "scas"), NOMODRM, OPS(R(ACC, B), R(Y, B)), H(scas), .attr = BYTE | X86_A_REP },
{ T1(0xaf, "scas"), NOMODRM, OPS(R(ACC, V), R(Y, V)), H(scas), .attr = X86_A_REP },
Z_ROWS(T1, 0xb0, "mov", OPS(W(Z, B), R(I, B)), H(mov_ei), .attr = BYTE | NF)
Z_ROWS(T1, 0xb8, "mov", OPS(W(Z, V), R(I, V)), H(mov_ei), .attr = NF)

#define SHIFT_ROWS(nm, nr)								\
{ T1(0xc0, #nm), MODRM_(nr), OPS(RW(E, B), R(I, B)), H(nm##_ei), .attr = BYTE },	\
{ T1(0xc1, #nm), MODRM_(nr), OPS(RW(E, V), R(I, B)), H(nm##_ei) },			\
{ T1(0xd0, #nm), MODRM_(nr), OPS(RW(E, B), R(ONE, NONE)), H(nm##_e1), .attr = BYTE },	\
{ T1(0xd1, #nm), MODRM_(nr), OPS(RW(E, V), R(ONE, NONE)), H(nm##_e1) },			\
{ T1(0xd2, #nm), MODRM_(nr), OPS(RW(E, B), R(CL, B)), H(nm##_ec), .attr = BYTE },	\
{ T1(0xd3, #nm), MODRM_(nr), OPS(RW(E, V), R(CL, B)), H(nm##_ec) },
SHIFT_ROWS(rol, 0)
SHIFT_ROWS(ror, 1)
SHIFT_ROWS(rcl, 2)
SHIFT_ROWS(rcr, 3)
SHIFT_ROWS(shl, 4)
SHIFT_ROWS(shr, 5)
SHIFT_ROWS(shl, 6)
SHIFT_ROWS(sar, 7)
#undef SHIFT_ROWS

{ T1(0xc2, "ret"), NOMODRM, OPS(R(I, W)), H(ret), .attr = NEAR | NF },
{ T1(0xc3, "ret"), NOMODRM, H(ret), .attr = NEAR | NF },
{ T1(0xc6, "mov"), MODRM_(0), OPS(W(E, B), R(I, B)), H(mov_ei), .attr = BYTE | NF },
{ T1(0xc7, "mov"), MODRM_(0), OPS(W(E, V), R(I, Z)), H(mov_ei), .attr = NF },
{ T1(0xc8, "enter"), NOMODRM, OPS(R(I, W), R(I, B)), H(enter), .attr = X86_A_D64 | NF },
{ T1(0xc9, "leave"), NOMODRM, H(leave), .attr = X86_A_D64 | NF },
{ T1(0xd4, "aam"), NOMODRM, OPS(R(I, B)), H(aam), .attr = X86_A_I64 },
{ T1(0xd5, "aad"), NOMODRM, OPS(R(I, B)), H(aad), .attr = X86_A_I64 },
{ T1(0xd6, "salc"), NOMODRM, H(salc), .attr = X86_A_I64 },
{ T1(0xd7, "xlat"), NOMODRM, H(xlat), .attr = NF },
{ T1(0xe0, "loopne"), NOMODRM, OPS(R(J, B)), H(loopne), .attr = NEAR },
{ T1(0xe1, "loope"), NOMODRM, OPS(R(J, B)), H(loope), .attr = NEAR },
{ T1(0xe2, "loop"), NOMODRM, OPS(R(J, B)), H(loop), .attr = NEAR | NF },
{ T1(0xe3, "jcxz"), NOMODRM, OPS(R(J, B)), H(jcxz), .attr = NEAR | NF },
{ T1(0xe8, "call"), NOMODRM, OPS(R(J, Z)), H(call_j), .attr = NEAR | NF },
{ T1(0xe9, "jmp"), NOMODRM, OPS(R(J, Z)), H(jmp_j), .attr = NEAR | NF },
{ T1(0xeb, "jmp"), NOMODRM, OPS(R(J, B)), H(jmp_j), .attr = NEAR | NF },
{ T1(0xf5, "cmc"), NOMODRM, H(cmc) },
{ T1(0xf6, "test"), MODRM_(0), OPS(R(E, B), R(I, B)), H(test_ei), .attr = BYTE },
{ T1(0xf6, "test"), MODRM_(1), OPS(R(E, B), R(I, B)), H(test_ei), .attr = BYTE },
{ T1(0xf6, "not"), MODRM_(2), OPS(RW(E, B)), H(not_e), .attr = BYTE | LOCK | NF },
{ T1(0xf6, "neg"), MODRM_(3), OPS(RW(E, B)), H(neg_e), .attr = BYTE | LOCK },
{ T1(0xf6, "mul"), MODRM_(4), OPS(R(E, B)), H(mul_e), .attr = BYTE },
{ T1(0xf6, "imul"), MODRM_(5), OPS(R(E, B)), H(imul_e), .attr = BYTE },
{ T1(0xf6, "div"), MODRM_(6), OPS(R(E, B)), H(div_e), .attr = BYTE },
{ T1(0xf6, "idiv"), MODRM_(7), OPS(R(E, B)), H(idiv_e), .attr = BYTE },
{ T1(0xf7, "test"), MODRM_(0), OPS(R(E, V), R(I, Z)), H(test_ei) },
{ T1(0xf7, "test"), MODRM_(1), OPS(R(E, V), R(I, Z)), H(test_ei) },
{ T1(0xf7, "not"), MODRM_(2), OPS(RW(E, V)), H(not_e), .attr = LOCK | NF },
{ T1(0xf7, "neg"), MODRM_(3), OPS(RW(E, V)), H(neg_e), .attr = LOCK },
{ T1(0xf7, "mul"), MODRM_(4), OPS(R(E, V)), H(mul_e) },
{ T1(0xf7, "imul"), MODRM_(5), OPS(R(E, V)), H(imul_e) },
{ T1(0xf7, "div"), MODRM_(6), OPS(R(E, V)), H(div_e) },
{ T1(0xf7, "idiv"), MODRM_(7), OPS(R(E, V)), H(idiv_e) },
{ T1(0xf8, "clc"), NOMODRM, H(clc) },
{ T1(0xf9, "stc"), NOMODRM, H(stc) },
{ T1(0xfc, "cld"), NOMODRM, H(cld), .attr = NF },
{ T1(0xfd, "std"), NOMODRM, H(std), .attr = NF },
{ T1(0xfe, "inc"), MODRM_(0), OPS(RW(E, B)), H(inc_e), .attr = BYTE | LOCK },
{ T1(0xfe, "dec"), MODRM_(1), OPS(RW(E, B)), H(dec_e), .attr = BYTE | LOCK },
{ T1(0xff, "inc"), MODRM_(0), OPS(RW(E, V)), H(inc_e), .attr = LOCK },
{ T1(0xff, "dec"), MODRM_(1), OPS(RW(E, V)), H(dec_e), .attr = LOCK },
{ T1(0xff, "call"), MODRM_(2), OPS(R(E, V)), H(call_e), .attr = NEAR | NF },
{ T1(0xff, "jmp"), MODRM_(4), OPS(R(E, V)), H(jmp_e), .attr = NEAR | NF },
{ T1(0xff, "push"), MODRM_(6), OPS(R(E, V)), H(push_e), .attr = X86_A_D64 | NF },

/* ---- 0F ---- */
{ T0F(0x0b, "ud2"), NOMODRM, H(ud), .attr = X86_A_END | NF },
{ T0F(0xb9, "ud1"), MODRM, OPS(N(G, V), N(E, V)), H(ud), .attr = X86_A_END | NF },
{ T0F(0xff, "ud0"), MODRM, OPS(N(G, V), N(E, V)), H(ud), .attr = X86_A_END | NF },

/* Hints. What is not a hint today is a NOP, so that code may use it before it is. */
{ T0F(0x0d, "prefetchw"), MEM_(1), OPS(N(M, NONE)), H(nop), F(3DNOWPREFETCH), .attr = NF },
{ T0F(0x0d, "prefetch"), MEM, OPS(N(M, NONE)), H(nop), F(3DNOWPREFETCH), .attr = NF },
/* Long mode brings them as well (AMD APM vol. 3, "PREFETCHlevel"), and compilers count on that. */
{ T0F(0x0d, "prefetchw"), MEM_(1), OPS(N(M, NONE)), H(nop), F(LM), .attr = NF },
{ T0F(0x0d, "prefetch"), MEM, OPS(N(M, NONE)), H(nop), F(LM), .attr = NF },
{ T0F(0x18, "prefetchnta"), MEM_(0), OPS(N(M, NONE)), H(nop), .attr = NF },
{ T0F(0x18, "prefetcht0"), MEM_(1), OPS(N(M, NONE)), H(nop), .attr = NF },
{ T0F(0x18, "prefetcht1"), MEM_(2), OPS(N(M, NONE)), H(nop), .attr = NF },
{ T0F(0x18, "prefetcht2"), MEM_(3), OPS(N(M, NONE)), H(nop), .attr = NF },
{ T0F(0x18, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x19, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1a, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1b, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1c, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1d, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1e, "endbr64"), REG_RM_(7, 2), PF3, H(nop), .attr = NF },
{ T0F(0x1e, "endbr32"), REG_RM_(7, 3), PF3, H(nop), .attr = NF },
{ T0F(0x1e, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },
{ T0F(0x1f, "nop"), MODRM, OPS(N(E, V)), H(nop), .attr = NF },

{ T0F(0xa3, "bt"), MODRM, OPS(R(E, V), R(G, V)), H(bt_er) },
{ T0F(0xab, "bts"), MODRM, OPS(RW(E, V), R(G, V)), H(bts_er), .attr = LOCK },
{ T0F(0xb3, "btr"), MODRM, OPS(RW(E, V), R(G, V)), H(btr_er), .attr = LOCK },
{ T0F(0xbb, "btc"), MODRM, OPS(RW(E, V), R(G, V)), H(btc_er), .attr = LOCK },
{ T0F(0xba, "bt"), MODRM_(4), OPS(R(E, V), R(I, B)), H(bt_ei) },
{ T0F(0xba, "bts"), MODRM_(5), OPS(RW(E, V), R(I, B)), H(bts_ei), .attr = LOCK },
{ T0F(0xba, "btr"), MODRM_(6), OPS(RW(E, V), R(I, B)), H(btr_ei), .attr = LOCK },
{ T0F(0xba, "btc"), MODRM_(7), OPS(RW(E, V), R(I, B)), H(btc_ei), .attr = LOCK },
{ T0F(0xa4, "shld"), MODRM, OPS(RW(E, V), R(G, V), R(I, B)), H(shld_i) },
{ T0F(0xa5, "shld"), MODRM, OPS(RW(E, V), R(G, V), R(CL, B)), H(shld_c) },
{ T0F(0xac, "shrd"), MODRM, OPS(RW(E, V), R(G, V), R(I, B)), H(shrd_i) },
{ T0F(0xad, "shrd"), MODRM, OPS(RW(E, V), R(G, V), R(CL, B)), H(shrd_c) },
{ T0F(0xaf, "imul"), MODRM, OPS(RW(G, V), R(E, V)), H(imul_ge) },
{ T0F(0xae, "lfence"), REG_(5), PNP, H(fence), F(SSE2), .attr = NF },
{ T0F(0xae, "mfence"), REG_(6), PNP, H(fence), F(SSE2), .attr = NF },
{ T0F(0xae, "sfence"), REG_(7), PNP, H(fence), F(SSE), .attr = NF },
{ T0F(0xae, "clflush"), MEM_(7), PNP, OPS(R(M, B)), H(clflush), F(CLFLUSH), .attr = NF },
{ T0F(0xae, "clflushopt"), MEM_(7), P66, OPS(R(M, B)), H(clflush), F(CLFLUSHOPT), .attr = NF },
{ T0F(0xae, "clwb"), MEM_(6), P66, OPS(R(M, B)), H(clflush), F(CLWB), .attr = NF },
{ T0F(0xb0, "cmpxchg"), MODRM, OPS(RW(E, B), R(G, B)), H(cmpxchg), .attr = BYTE | LOCK },
{ T0F(0xb1, "cmpxchg"), MODRM, OPS(RW(E, V), R(G, V)), H(cmpxchg), .attr = LOCK },
{ T0F(0xb6, "movzx"), MODRM, OPS(W(G, V), R(E, B)), H(movzx_b), .attr = NF },
{ T0F(0xb7, "movzx"), MODRM, OPS(W(G, V), R(E, W)), H(movzx_w), .attr = NF },
{ T0F(0xbe, "movsx"), MODRM, OPS(W(G, V), R(E, B)), H(movsx_b), .attr = NF },
{ T0F(0xbf, "movsx"), MODRM, OPS(W(G, V), R(E, W)), H(movsx_w), .attr = NF },
{ T0F(0xb8, "popcnt"), MODRM, PF3, OPS(W(G, V), R(E, V)), H(popcnt), F(POPCNT) },
{ T0F(0xbc, "tzcnt"), MODRM, PF3, OPS(W(G, V), R(E, V)), H(tzcnt), F(BMI1) },
{ T0F(0xbd, "lzcnt"), MODRM, PF3, OPS(W(G, V), R(E, V)), H(lzcnt), F(ABM) },
{ T0F(0xbc, "bsf"), MODRM, OPS(RW(G, V), R(E, V)), H(bsf) },
{ T0F(0xbd, "bsr"), MODRM, OPS(RW(G, V), R(E, V)), H(bsr) },
{ T0F(0xc0, "xadd"), MODRM, OPS(RW(E, B), RW(G, B)), H(xadd), .attr = BYTE | LOCK },
{ T0F(0xc1, "xadd"), MODRM, OPS(RW(E, V), RW(G, V)), H(xadd), .attr = LOCK },
{ T0F(0xc3, "movnti"), MEM, PNP, OPS(W(M, Y), R(G, Y)), H(mov_er), F(SSE2), .attr = NF },
{ T0F(0xc7, "cmpxchg8b"), MEM_(1), REXW(W0), OPS(RW(M, Q)), H(cmpxchg8b), F(CX8), .attr = LOCK },
{ T0F(0xc7, "cmpxchg16b"), MEM_(1), REXW(W1), OPS(RW(M, DQ)), H(cmpxchg8b), F(CX16),
  .attr = LOCK | X86_A_O64 },
{ T0F(0xc7, "rdrand"), REG_(6), PNOREP, OPS(W(R, V)), H(random), F(RDRAND), .attr = X86_A_TESTONLY },
{ T0F(0xc7, "rdseed"), REG_(7), PNOREP, OPS(W(R, V)), H(random), F(RDSEED), .attr = X86_A_TESTONLY },
{ T0F(0xc7, "rdpid"), REG_(7), PF3, OPS(W(R, V)), H(rdpid), F(RDPID),
  .attr = X86_A_F64 | NF | X86_A_TESTONLY },
Z_ROWS(T0F, 0xc8, "bswap", OPS(RW(Z, V)), H(bswap), .attr = NF)
#undef Z_ROWS

/* ---- 0F38, 0F3A ---- */
{ T0F38(0xf0, "movbe"), MEM, PNOREP, OPS(W(G, V), R(M, V)), H(movbe_load), F(MOVBE), .attr = NF },
{ T0F38(0xf1, "movbe"), MEM, PNOREP, OPS(W(M, V), R(G, V)), H(movbe_store), F(MOVBE), .attr = NF },
{ T0F38(0xf0, "crc32"), MODRM, PF2, OPS(RW(G, Y), R(E, B)), H(crc32), F(SSE4_2), .attr = BYTE | NF },
{ T0F38(0xf1, "crc32"), MODRM, PF2, OPS(RW(G, Y), R(E, V)), H(crc32), F(SSE4_2), .attr = NF },
{ T0F38(0xf6, "adcx"), MODRM, P66, OPS(RW(G, Y), R(E, Y)), H(adcx), F(ADX) },
{ T0F38(0xf6, "adox"), MODRM, PF3, OPS(RW(G, Y), R(E, Y)), H(adox), F(ADX) },
#define BMI		VEX(128, W_ANY)
#define BMI_FLAGS	.attr = X86_A_PROT
#define BMI_PLAIN	.attr = X86_A_PROT | NF
{ T0F38(0xf2, "andn"), MODRM, PNP, BMI, OPS(W(G, Y), R(B, Y), R(E, Y)), H(andn), F(BMI1), BMI_FLAGS },
{ T0F38(0xf3, "blsr"), MODRM_(1), PNP, BMI, OPS(W(B, Y), R(E, Y)), H(blsr), F(BMI1), BMI_FLAGS },
{ T0F38(0xf3, "blsmsk"), MODRM_(2), PNP, BMI, OPS(W(B, Y), R(E, Y)), H(blsmsk), F(BMI1), BMI_FLAGS },
{ T0F38(0xf3, "blsi"), MODRM_(3), PNP, BMI, OPS(W(B, Y), R(E, Y)), H(blsi), F(BMI1), BMI_FLAGS },
{ T0F38(0xf5, "bzhi"), MODRM, PNP, BMI, OPS(W(G, Y), R(E, Y), R(B, Y)), H(bzhi), F(BMI2), BMI_FLAGS },
{ T0F38(0xf5, "pext"), MODRM, PF3, BMI, OPS(W(G, Y), R(B, Y), R(E, Y)), H(pext), F(BMI2), BMI_PLAIN },
{ T0F38(0xf5, "pdep"), MODRM, PF2, BMI, OPS(W(G, Y), R(B, Y), R(E, Y)), H(pdep), F(BMI2), BMI_PLAIN },
{ T0F38(0xf6, "mulx"), MODRM, PF2, BMI, OPS(W(G, Y), W(B, Y), R(E, Y)), H(mulx), F(BMI2), BMI_PLAIN },
{ T0F38(0xf7, "bextr"), MODRM, PNP, BMI, OPS(W(G, Y), R(E, Y), R(B, Y)), H(bextr), F(BMI1), BMI_FLAGS },
{ T0F38(0xf7, "shlx"), MODRM, P66, BMI, OPS(W(G, Y), R(E, Y), R(B, Y)), H(shlx), F(BMI2), BMI_PLAIN },
{ T0F38(0xf7, "sarx"), MODRM, PF3, BMI, OPS(W(G, Y), R(E, Y), R(B, Y)), H(sarx), F(BMI2), BMI_PLAIN },
{ T0F38(0xf7, "shrx"), MODRM, PF2, BMI, OPS(W(G, Y), R(E, Y), R(B, Y)), H(shrx), F(BMI2), BMI_PLAIN },
{ T0F3A(0xf0, "rorx"), MODRM, PF2, BMI, OPS(W(G, Y), R(E, Y), R(I, B)), H(rorx), F(BMI2), BMI_PLAIN },
#undef BMI
#undef BMI_FLAGS
#undef BMI_PLAIN

#undef BYTE
#undef LOCK
#undef NF
#undef NEAR
