/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86_opcode.host: what an instruction that runs on the host's own x87 or vector unit needs besides its
 * operands, or which piece of code stands in for it where it touches memory in a way of its own.
 */
#ifndef KVM_X86_HOSTOP_H
#define KVM_X86_HOSTOP_H

/* Low byte: not run by itself, but by C. */
enum {
	X86_H_PLAIN,
	X86_H_MOVE,		/* moves its bytes and nothing else: a load zero-extends to the register */
	X86_H_MASKMOV32,	/* vmaskmovps, vpmaskmovd */
	X86_H_MASKMOV64,
	X86_H_MASKMOVQ,		/* byte masks, to DS:rDI */
	X86_H_MASKMOVDQU,
	X86_H_GATHER_DD,	/* index size, element size */
	X86_H_GATHER_DQ,
	X86_H_GATHER_QD,
	X86_H_GATHER_QQ,
	X86_H_VZERO,		/* vzeroupper, vzeroall */
	X86_H_LDMXCSR,
	X86_H_STMXCSR,
	X86_H_FXSAVE,
	X86_H_FXRSTOR,
	X86_H_XSAVE,
	X86_H_XSAVEOPT,
	X86_H_XSAVEC,
	X86_H_XSAVES,
	X86_H_XRSTOR,
	X86_H_XRSTORS,
	X86_H_FWAIT,
	X86_H_FNINIT,
	X86_H_FLDCW,		/* waits, but leaves the last instruction's pointers alone */
	X86_H_FLDENV,
	X86_H_FNSTENV,
	X86_H_FRSTOR,
	X86_H_FNSAVE,
	X86_H_NOP,		/* the 8087's and 80287's own: FENI, FDISI, FSETPM */
	X86_H_SPECIAL = 0xff,	/* mask */
};

/* High byte: bits. */
#define X86_H_FP	BIT(8)	/* reads MXCSR, raises its exceptions */
#define X86_H_FLAGS	BIT(9)	/* writes RFLAGS's arithmetic bits */
#define X86_H_RD_XMM0	BIT(10)
#define X86_H_WR_XMM0	BIT(11)
#define X86_H_RD_LEN	BIT(12)	/* reads rAX and rDX: pcmpestr */
#define X86_H_WR_ECX	BIT(13)
#define X86_H_RD_FLAGS	BIT(14)	/* fcmov */

#endif
