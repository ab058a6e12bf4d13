/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every instruction of the table, against the host's own processor.
 *
 *	generate.c	makes a case: bytes, registers, memory, from a number
 *	native.c	runs it on the host (enter.S), in a child that may be lost
 *	interp.c	runs it in a vCPU of libanykvm, whose memory looks the same
 *	insn-test.c	compares, reports, counts
 *	joined.c	makes sequences of several blocks, which jit-test.c runs in the translator too
 *
 * A case depends on nothing but the seed and its number, so that any can be run again alone.
 */
#ifndef INSN_H
#define INSN_H

#include "kvm/core/kvm.h"
#include "kvm/x86/mem.h"
#include "layout.h"

#define XSAVE_SIZE	832
#define XSAVE_HEADER	512
#define XSAVE_YMM	576

/* Offsets of the pages of the data region that are there. READONLY faults on writes; FIRST and LAST
 * are the ends of a 64 KiB segment. */
#define DATA_FIRST	0x0000
#define DATA_RW		0x4000
#define DATA_RW2	0x5000
#define DATA_READONLY	0x6000
#define DATA_LAST	0xf000
extern const u32 data_pages[5];

struct state {
	u64 gpr[16];
	u64 rip;		/* offset in CS */
	u64 rflags;
	u64 fs_base, gs_base;
	u8 xsave[XSAVE_SIZE] __attribute__((aligned(64)));
};

struct test_case {
	u64 number;
	int mode;		/* X86_MODE_* */
	bool small_data;	/* outside 64-bit mode: DS, ES, SS at DATA_BASE, 64 KiB */
	bool stack16;		/* SS.B is 0 */
	bool fp;		/* x87, MMX, vector state takes part */
	bool attention, careful, lazy_fp;	/* how the interpreter runs it */
	u8 bytes[16];
	struct x86_insn insn;
	struct state in;
};

struct outcome {
	bool fault;
	u8 vector;
	u32 error;
	u64 cr2;
	struct state out;
};

/* One set of the data region's pages, and where the test may write it. */
struct memory {
	u8 *data;		/* DATA_SIZE, holes unused */
	u8 *code;		/* the code pages */
};

/* ---- native.c ---- */
struct native_can { bool compat, ldt, fsgs; u32 xsave_mask; };
/* 0 or -errno. Call in the process that will run cases. */
int native_init(struct memory *mem, struct native_can *can);
/* What native_run puts at CODE_START: the bytes, then a jump to the exit stub as the mode has it. Returns how many bytes. */
u32 native_put_code(const struct test_case *t, u8 *code);
void native_run(const struct test_case *t, struct outcome *o);
/* The same for all code pages, with len bytes of instructions at t->in.rip; what follows them has to fault. A fault
 * at any of the instructions, none of which is INT3, is one, with out.rip at it. */
void native_run_pages(const struct test_case *t, const u8 *pages, u32 len, struct outcome *o);

/* ---- interp.c ---- */
int interp_init(struct memory *mem);
struct x86_cpu *interp_cpu(void);
void interp_load(const struct test_case *t);	/* the case's state to the vCPU */
/* false: it did not end, with a message in *why. */
bool interp_run(const struct test_case *t, struct outcome *o, const char **why);

/* ---- generate.c ---- */
void generate_init(const struct native_can *can, const struct x86_cpu *c, const char *op);
/* Makes case `number`. false: there is nothing to run (not encodable here, or not to be run
 * natively). */
bool generate(u64 seed, u64 number, struct memory *a, struct memory *b, struct test_case *t);
/* Why the row is not tried; NULL: it is. */
const char *generate_skips(const struct x86_opcode *op);
u32 generate_rows(void);
/* Are its faults in part the processor's choice? It moves memory in pieces, or has two reasons to fault. */
bool generate_free_to_fault(const struct x86_opcode *op);

/* ---- joined.c ---- */

#define SEQUENCE_INSNS	90
#define SEQUENCE_BLOCKS	8
#define SEQUENCE_BYTES	1024

/* Instructions one behind the other, which HLT is behind. */
struct sequence {
	struct test_case first;		/* the state before it */
	u32 at;				/* linear address */
	u32 len, nr, nr_blocks;
	u8 code[SEQUENCE_BYTES];
	u16 start[SEQUENCE_INSNS + 16];	/* each instruction's offset, and the end's */
	u16 block[SEQUENCE_BLOCKS + 1];	/* the offsets of blocks, that of the end among them */
	u8 runs[SEQUENCE_BLOCKS + 1];	/* how often each has run before; 0: never */
	bool host;			/* it can run on the host */
	bool eager;			/* what is reached by leaving a translation is translated */
	bool attention;			/* somebody wants something all the time */
	struct memory scratch;		/* for what makes it to write to */
};

/* A sequence of several blocks. false: not this time. s->scratch is set. */
bool make_joined(u64 seed, u64 number, int mode, struct sequence *s);

/* Base of a segment in a case. */
u64 case_seg_base(const struct test_case *t, int seg);

#endif
