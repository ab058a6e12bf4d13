/* SPDX-License-Identifier: GPL-2.0-only */
/* Fixed addresses that C and assembler share: linear addresses of the guest and of the native child
 * alike. */
#ifndef INSN_LAYOUT_H
#define INSN_LAYOUT_H

/* Code: base of the 16-bit code segment; some pages of it are there. */
#define CODE_BASE	0x10000000
#define CODE_PAGE	0x10008000
#define CODE_START	0x10008800
#define CODE_PAGES	2

/* The native runner's own: its exit code, and the context below. Not in the guest. */
#define STUB_PAGE	0x10100000
#define CTX		0x10200000

/* Data: base of the small data segments (64 KiB). */
#define DATA_BASE	0x20000000
#define DATA_SIZE	0x10000

/* The context of one native run. */
#define CTX_IN_GPR	(CTX + 0x000)
#define CTX_IN_FLAGS	(CTX + 0x080)
#define CTX_TARGET	(CTX + 0x088)	/* 64 bits; or offset and selector */
#define CTX_HOST_RSP	(CTX + 0x090)
#define CTX_HOST_FS	(CTX + 0x098)
#define CTX_IN_FS	(CTX + 0x0a0)
#define CTX_IN_GS	(CTX + 0x0a8)
#define CTX_DS		(CTX + 0x0b0)
#define CTX_ES		(CTX + 0x0b2)
#define CTX_SEL_FS	(CTX + 0x0b4)
#define CTX_SEL_GS	(CTX + 0x0b6)
#define CTX_SS		(CTX + 0x0b8)
#define CTX_FP		(CTX + 0x0c0)	/* XSAVE mask, 0: leave x87 and vectors alone */
#define CTX_COMPAT	(CTX + 0x0c4)
#define CTX_FSGS	(CTX + 0x0c8)	/* FSGSBASE instructions are allowed */
#define CTX_MXCSR	(CTX + 0x0cc)
#define CTX_OUT_GPR	(CTX + 0x100)
#define CTX_OUT_FLAGS	(CTX + 0x180)
#define CTX_OUT_FS	(CTX + 0x188)
#define CTX_OUT_GS	(CTX + 0x190)
#define CTX_IN_XSAVE	(CTX + 0x400)
#define CTX_OUT_XSAVE	(CTX + 0x800)

#endif
