/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One table of every instruction, and what the decoder makes of bytes with its help.
 *
 * The table (optable_*.h, included by optable.c) is read by the decoder, by the translator, by
 * the tests that try every encoding on the host, and by traces. A row says how an instruction is
 * encoded, what it reads and writes, which CPUID bit it needs, and which handler interprets it.
 */
#ifndef KVM_X86_INSN_H
#define KVM_X86_INSN_H

#include "kvm/os/types.h"

struct x86_cpu;
struct x86_insn;
struct x86_opcode;

/*
 * What a handler (and a memory access) says. The loop has moved RIP past the instruction before it
 * calls the handler.
 */
enum x86_result {
	X86_OK,		/* done; go on with the next instruction */
	X86_DONE,	/* done, but leave the block: mode, mapping or events changed, or an exit to the
			 * VMM is ready */
	X86_FAULT,	/* nothing was changed (or, rep: whole elements were); c->fault says which
			 * exception; the loop takes RIP back and delivers it */
	X86_EXIT,	/* the VMM has to answer a read first; RIP goes back, and the instruction runs again
			 * with the answer in c->io */
	X86_CAREFUL,	/* RIP goes back; run it again alone, with c->careful set: it touches MMIO or ports */
	X86_RESTART,	/* RIP goes back; look the code up again: it was modified */
};

typedef int x86_exec_fn(struct x86_cpu *c, const struct x86_insn *i);

/* A handler by operand size (8, 16, 32, 64 bits) and by where the modrm operand is. */
struct x86_handler {
	x86_exec_fn *fn[4][2];		/* [log2(bytes)][0: register, 1: memory] */
};

/* Opcode maps. */
enum { X86_MAP_1, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A, X86_NR_MAPS };

/* Mandatory prefix. ANY: 66, F2 and F3 keep their plain meanings (size, rep). NP: none of the three.
 * F3, F2: the last of these two; a 66 beside them sets the operand size. 66: without F2 and F3; it does
 * not set the operand size. NOREP: neither F2 nor F3; 66 sets the operand size. */
enum { X86_PFX_ANY, X86_PFX_NP, X86_PFX_66, X86_PFX_F3, X86_PFX_F2, X86_PFX_NOREP };

/* VEX: LEGACY rows match only without VEX, the others only with. LIG: L ignored. */
enum { X86_LEGACY, X86_VEX_LIG, X86_VEX_128, X86_VEX_256, X86_VEX_ANY /* 128 and 256 */ };

/* REX.W or VEX.W. */
enum { X86_W_ANY, X86_W0, X86_W1 };

/* modrm.mod */
enum { X86_MOD_NONE /* no modrm byte */, X86_MOD_ANY, X86_MOD_MEM, X86_MOD_REG };

/* Operand kinds: the letters of the Intel SDM's opcode maps (volume 2, appendix A.2.1). */
enum {
	X86_OP_NONE,
	X86_OP_E,	/* modrm.rm: general register or memory */
	X86_OP_G,	/* modrm.reg: general register */
	X86_OP_M,	/* modrm.rm: memory only */
	X86_OP_R,	/* modrm.rm: general register only */
	X86_OP_Z,	/* low three bits of the opcode: general register */
	X86_OP_B,	/* VEX.vvvv: general register */
	X86_OP_I,	/* immediate */
	X86_OP_IS,	/* immediate byte, sign-extended to the operand size */
	X86_OP_J,	/* relative branch */
	X86_OP_A,	/* far pointer in the instruction */
	X86_OP_O,	/* memory offset in the instruction */
	X86_OP_S,	/* modrm.reg: segment register */
	X86_OP_C,	/* modrm.reg: control register */
	X86_OP_D,	/* modrm.reg: debug register */
	X86_OP_X,	/* memory at DS:rSI */
	X86_OP_Y,	/* memory at ES:rDI */
	X86_OP_ACC,	/* AL, AX, EAX, RAX */
	X86_OP_CL,
	X86_OP_DX,
	X86_OP_ONE,	/* the constant 1 */
	X86_OP_SEG,	/* a segment register fixed by the opcode: .size holds which */
	X86_OP_V,	/* modrm.reg: vector register */
	X86_OP_W,	/* modrm.rm: vector register or memory */
	X86_OP_H,	/* VEX.vvvv: vector register */
	X86_OP_L,	/* immediate bits 7:4: vector register */
	X86_OP_P,	/* modrm.reg: MMX register */
	X86_OP_Q,	/* modrm.rm: MMX register or memory */
	X86_OP_ST,	/* modrm.rm: x87 register */
	X86_OP_VSIB,	/* memory, vector index */
};

/* Operand sizes. */
enum {
	X86_SZ_NONE,
	X86_SZ_B, X86_SZ_W, X86_SZ_D, X86_SZ_Q,
	X86_SZ_DQ,	/* 16 bytes */
	X86_SZ_QQ,	/* 32 bytes */
	X86_SZ_X,	/* 16, or 32 with VEX.L */
	X86_SZ_HX,	/* half of X: 8 or 16 */
	X86_SZ_QX,	/* a quarter of X: 4 or 8 */
	X86_SZ_OX,	/* an eighth of X: 2 or 4 */
	X86_SZ_V,	/* 2, 4, 8 by operand size */
	X86_SZ_Z,	/* 2, 4 (4 also at 64) */
	X86_SZ_Y,	/* 4, 8 */
	X86_SZ_P,	/* far pointer: 4, 6, 10 */
	X86_SZ_T,	/* 10 bytes, x87 */
	X86_SZ_S,	/* pseudo-descriptor: 6, 10 */
	X86_SZ_ENV,	/* x87 environment 14/28 */
	X86_SZ_STATE,	/* x87 state 94/108, FXSAVE 512, XSAVE area */
};

#define X86_RD	1
#define X86_WR	2

struct x86_operand {
	u8 kind, size, access;
};

/* Attributes of a row. */
#define X86_A_LOCK	BIT(0)	/* takes a LOCK prefix with a memory destination */
#define X86_A_BYTE	BIT(1)	/* operand size is 8 bits */
#define X86_A_D64	BIT(2)	/* operand size is 64 in 64-bit mode unless 66: push, pop */
#define X86_A_F64	BIT(3)	/* operand size is 64 in 64-bit mode whatever the prefixes: near branches */
#define X86_A_I64	BIT(4)	/* not in 64-bit mode */
#define X86_A_O64	BIT(5)	/* only in 64-bit mode */
#define X86_A_REP	BIT(6)	/* a string instruction: F2, F3 repeat it */
#define X86_A_END	BIT(7)	/* the block ends behind it: branch, mode or mapping change, far, serialising */
#define X86_A_BRANCH	BIT(8)	/* near branch: RIP is all that it changes besides registers and stack */
#define X86_A_PRIV	BIT(9)	/* #GP unless CPL 0; checked by the handler: x86_check_attr (descriptor.h) */
#define X86_A_PROT	BIT(10)	/* #UD in real and virtual-8086 mode; likewise */
#define X86_A_ALIGN	BIT(11)	/* memory operand must be aligned to its size: else #GP (legacy SSE) */
#define X86_A_SSE	BIT(12)	/* needs CR0.EM=0, CR4.OSFXSR, CR0.TS=0 */
#define X86_A_AVX	BIT(13)	/* needs CR4.OSXSAVE, XCR0[2:1]=11, CR0.TS=0 */
#define X86_A_X87	BIT(14)	/* needs CR0.EM=0, CR0.TS=0; reports pending x87 exceptions */
#define X86_A_MMX	BIT(15)	/* needs CR0.EM=0 (#UD), CR0.TS=0 */
#define X86_A_FP_CTRL	BIT(16)	/* x87 control instruction: does not wait for exceptions or change FIP */
#define X86_A_HOST	BIT(17)	/* run on the host's own unit by the processor's host_exec (handler NULL) */
#define X86_A_SHADOW	BIT(18)	/* inhibits interrupts for one instruction: STI, MOV SS, POP SS */
#define X86_A_TESTONLY	BIT(19)	/* result differs between processors by permission: tests skip it */
#define X86_A_NOFLAGS	BIT(20)	/* neither reads nor writes RFLAGS's arithmetic bits */
#define X86_A_SERIALIZE	BIT(21)
#define X86_A_IO	BIT(22)	/* port I/O: run carefully from the start */
#define X86_A_CPUID_ANY	BIT(23)	/* feature need not be set if it is not enumerated */

struct x86_opcode {
	const char *name;		/* Intel mnemonic, lower case */
	u8 map, opcode;
	u8 pfx, vex, w;
	u8 mod;				/* X86_MOD_* */
	s8 reg, rm;			/* fixed modrm.reg, modrm.rm; -1: any. MOD_NONE: rm is the register in
					 * the opcode */
	struct x86_operand op[4];
	const struct x86_handler *handler;	/* NULL with X86_A_HOST */
	u32 attr;
	u16 feature;			/* X86_FEATURE_*; 0: always there */
	u16 host;			/* X86_A_HOST rows that are not plain: hostop.h */
};

/*
 * A decoded instruction. A guest's programs have hundreds of thousands at a time, so it is two to a cache line. Fields
 * that interpretation reads each time, and those that code is made to read (thunk.c), are bytes of their own.
 */
struct x86_insn {
	x86_exec_fn *fn;
	union {
		u64 imm;		/* immediate, branch displacement or moffs: sign-extended as used */
		const void *host;	/* X86_A_HOST rows, which have imm2 only. Once bound: cpu/soft's thunk */
	};
	s32 disp;
	u16 row;			/* of x86_optable: see x86_op */
	u8 len;				/* bytes, 1 to 15 */
	u8 flags;			/* X86_I_* */
	u8 reg;				/* modrm.reg with REX.R, or the opcode's register with REX.B */
	u8 rm;				/* modrm.rm with REX.B, where mod is 3; without modrm: 0 where an
					 * operand is ACC, else as reg. So ADD AL, imm is ADD rm, imm */
	u8 vvvv;			/* VEX */
	u8 imm2;			/* ENTER's second immediate, X86_A_HOST rows' only one; x87: modrm. The far
					 * pointer's selector is in disp */
	u8 base, index;			/* of the memory operand; X86_REG_ZERO, X86_REG_RIP included */
	u8 seg : 6;			/* segment of the memory operand: X86_SEG_*, or X86_SEG_FLAT */
	u8 scale : 2;			/* 0 to 3 */
	u8 opsize : 4;			/* 1, 2, 4, 8 */
	u8 addrsize : 4;		/* 2, 4, 8 */
};

_Static_assert(sizeof(struct x86_insn) == 32, "two to a cache line");

extern const struct x86_opcode x86_optable[];
extern const u32 x86_optable_size;

/* The row of the table that i is of. */
static __always_inline const struct x86_opcode *x86_op(const struct x86_insn *i)
{
	return &x86_optable[i->row];
}

#define X86_I_MEM	BIT(0)	/* the modrm operand is memory */
#define X86_I_REX	BIT(1)	/* a REX prefix: SPL, BPL, SIL, DIL instead of AH… */
#define X86_I_LOCK	BIT(2)
#define X86_I_REP	BIT(3)	/* F3 */
#define X86_I_REPNE	BIT(4)	/* F2 */
#define X86_I_VEXL	BIT(5)
#define X86_I_W		BIT(6)	/* REX.W or VEX.W */
#define X86_I_66	BIT(7)

/* Code size and what else the meaning of bytes depends on; part of the key of decoded code. */
#define X86_MODE_16	0
#define X86_MODE_32	1
#define X86_MODE_64	2

struct x86_decoder {
	u16 first[X86_NR_MAPS][256];	/* first row of an opcode in rows[] */
	u16 *rows;			/* row numbers, grouped by map and opcode; ends with 0xffff */
	x86_exec_fn *host_exec;		/* for X86_A_HOST rows */
	bool near66;			/* 64-bit mode: 66 makes near branches 16 bits wide. AMD's do so,
					 * Intel's ignore it; here as the host does */
};

/* Builds the index. 0 or -ENOMEM. The decoder is read-only afterwards, shared by all vCPUs. */
int x86_decoder_init(struct x86_decoder *d, x86_exec_fn *host_exec);
void x86_decoder_free(struct x86_decoder *d);

/*
 * Decodes one instruction of up to n (at most 15) bytes.
 * Returns its length; 0 where the n bytes are not enough; -1 for an undefined opcode (#UD), -2 where
 * it is longer than 15 bytes (#GP). `features` is the guest's (X86_FEATURE words); NULL allows all. Pure: no guest state is touched.
 */
int x86_decode(const struct x86_decoder *d, const u8 *bytes, u32 n, int mode, const u32 *features,
	       struct x86_insn *out);

#endif
