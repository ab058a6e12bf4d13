/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translator: host code for decoded blocks that run often.
 *
 *   emit.h       writing host instructions
 *   translate.c  one block of guest instructions to host code
 *   cold.c       what is off its straight way: calls of handlers, ways out
 *   flags.c      arithmetic flags that are made again rather than kept
 *   join.c       which blocks are translated together
 *   operand.c    its part for memory operands
 *   vector.c     its part for SSE and AVX instructions
 *   x87.c        its part for x87 and MMX instructions
 *   string.c     its part for string instructions
 *   highbyte.c   its part for AH, CH, DH and BH
 *   bmi.c        its part for BMI, ADX, MOVBE and CRC32
 *   stubs.c      the code that all translations share
 *   runtime.c    code memory, entering and leaving it, finding targets, forgetting
 *
 * docs/translator.md has the register map and the rules.
 */
#ifndef KVM_CPU_SOFT_JIT_H
#define KVM_CPU_SOFT_JIT_H

#include "kvm/cpu/soft/jit/emit.h"
#include "kvm/cpu/soft/soft.h"

#define JIT_BLOCK_ROOM	(64u << 10)	/* more than a block's code, of either kind */
#define JIT_HOT		6		/* runs before a block is translated */

/* Targets of indirect branches, by linear address. */
#define JIT_TARGET_BITS	14
struct jit_target {
	u64 lin;
	u64 key;			/* c->jit.key when it was looked up; 0: none */
	void *code;
	u64 unused;			/* 32 bytes */
};

/*
 * A guest's call is a call of the host's, so that its processor foresees returns. Its frame on the host's stack, from
 * the lower end: where translated code goes on, the guest's return address, c->jit.key, which both hold under, and nothing.
 */
#define JIT_FRAME	32
#define JIT_CALLS	256		/* at most; then all are forgotten */

/* Ways: direct branches to other pages. One holds while its key is c->jit.key. */
#define JIT_WAYS	(1u << 17)
#define JIT_BLOCK_WAYS	8		/* of what is translated at once */

struct soft_jit {
	struct os_code code;
	/* Its first half is for code that runs, behind the stubs; the other for what is off the straight way. */
	size_t start, hot, cold;	/* used of either half */
	/* In the writable mapping. */
	u8 *enter, *leave, *out, *link, *call, *ready;
	u8 *lookup, *go, *way;
	u8 *crosses;
	u8 *stack[2][2];		/* by half of the address space; to write */
	struct jit_target targets[1 << JIT_TARGET_BITS];
	const struct x86_insn *insn;	/* that stopped translated code */
	struct soft_block *from;	/* whose edge was not linked when it was taken; NULL: none */
	u64 link_rip;			/* where that edge leads */
	struct os_timer tick;		/* makes translated code look up now and then */
	u32 ticking, ran;
	bool unwatched;			/* no timer was to be had: interpret meanwhile */
	struct x86_cpu *cpu;
	u64 pages[X86_CODE_PAGES / 64];	/* c->jit.pages, of the generation: */
	u64 generation;
	u64 ways[JIT_WAYS];		/* keys */
	u32 way_jump[JIT_WAYS];		/* where in code memory the way's jump has its displacement */
	u32 nr_ways;
	u8 kind[];			/* by row of the table: translate.c's */
};

static inline size_t jit_used(const struct soft_jit *j)
{
	return j->hot + j->cold;
}

/* Where b's translation is entered, with the flags in the host's or in c->jit.flags; where it runs. */
static inline u8 *jit_entry(const struct soft_jit *j, const struct soft_block *b, bool host_flags)
{
	return j->code.rx + b->jit_slot + (host_flags ? b->jit_host : 0);
}

static inline void jit_set_entries(const struct soft_jit *j, struct soft_block *b, const u8 *slot, const u8 *host)
{
	b->jit_slot = slot - j->code.rx;
	b->jit_host = host - slot;
}

/* What jit_run and translated code say, besides an enum x86_result. */
#define JIT_NEXT	16		/* go on at c_rip */
#define JIT_OUT		17		/* the same, and c_rip is yet to be set: c->jit.at */
#define JIT_LINK	18		/* the same; c->jit.edge is to lead straight there from now on */

/* What translated code says of an instruction of a block: its number, the offset in the page of what follows it,
 * and whether its handler is to get the flags. */
#define JIT_WHAT(k, next, flags)	((u32)(flags) << 31 | (u32)(k) << 16 | (next))
#define JIT_WHAT_ENDS			BIT(30)	/* its block, and translated code finds the next one */
#define JIT_WHAT_K(what)		((what) >> 16 & 0x3fff)
#define JIT_WHAT_NEXT(what)		((what) & 0xffff)
#define JIT_WHAT_FLAGS(what)		((what) >> 31)

/* The flags go by two routes: a block is entered with them in the host's flags, or in c->jit.flags as LAHF
 * and SETO leave them. */
#define JIT_EDGE_HOST_FLAGS	BIT(31)

struct soft_jit *jit_create(struct x86_cpu *c, size_t size);	/* of its code. NULL: no memory */
void jit_destroy(struct soft_jit *j);
/* At the start of a stretch of guest code. */
void jit_begin(struct soft_jit *j);
/* Translates b; b->jit_* stay NULL where there is no room: everything is forgotten then, soon. */
void jit_translate(struct x86_cpu *c, struct soft_block *b);
/* Runs from b, whose translation is there and whose page has been compared in this epoch. JIT_NEXT, or an
 * enum x86_result other than X86_OK, which j->insn is the instruction of; c_rip is behind it. */
int jit_run(struct x86_cpu *c, struct soft_block *b);
/* May code of the current mode run translated? In 32-bit mode: with flat segments. */
bool jit_flat(const struct x86_cpu *c);
/* Blocks are gone for good: so is their code. Not from within translated code. */
void jit_empty(struct x86_cpu *c, struct soft_jit *j);

/* ---- translate.c, stubs.c ---- */
void jit_classify(struct soft_jit *j);
/* Are there forms of the row that become host code? */
bool jit_knows_row(const struct soft_jit *j, u32 row);
/* Emits code of both kinds for b, and for blocks that are translated with it: parts, of which there are as many as it
 * returns, at most SOFT_BLOCK_MAX. 0: it did not fit. */
u32 jit_emit_block(struct x86_cpu *c, struct soft_jit *j, struct emit *hot, struct emit *cold, struct soft_block *b,
		   struct soft_block **parts);
void jit_emit_stubs(struct soft_jit *j, struct emit *e);

/* ---- what translated code calls ---- */
/* `what`: JIT_WHAT; block: where it is in the arena. 0: translated code goes on. */
int jit_exec(struct x86_cpu *c, u32 what, u32 block);
/* The code at a linear address that the target table does not name. NULL: the loop has to see to it. */
void *jit_find(struct x86_cpu *c, u64 lin);
/* The same for the way to `at`, from the start of the page that is running: it leads there from now on. */
void *jit_take_way(struct x86_cpu *c, s32 at, u32 way);
/* soft_crosses for b, which is in the page that is running. */
long jit_crosses(struct x86_cpu *c, const struct soft_block *b);
/* Before a vector instruction: may it run, and is MXCSR the guest's? If not so, the handler has done it. */
int jit_ready(struct x86_cpu *c, u32 what, u32 block);

#endif
