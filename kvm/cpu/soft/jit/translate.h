/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files that emit a block share: the state of a translation, guest registers, flags.
 *
 * Guest registers: host_of[]. RAX, RCX and RDX of the host are free within an instruction, RBP points
 * into the x86_cpu, RSP is the host's stack.
 *
 * The guest's arithmetic flags are in the host's flags, in c->jit.flags (the slot), or in both. Or they are
 * what an instruction makes of registers that are still what they were: that can be done again. A TLB
 * lookup or a call destroys the host's. Where they cannot be made again they go to the slot first, and come back
 * when somebody reads them. Where one block leads to another, they are in the host's or in the slot.
 */
#ifndef KVM_CPU_SOFT_JIT_TRANSLATE_H
#define KVM_CPU_SOFT_JIT_TRANSLATE_H

#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"

/* ---- kinds of instructions ---- */

enum {
	K_CALL,				/* the interpreter's handler */
	K_ALU_ER, K_ALU_RE, K_ALU_EI,	/* arg: ADD 0 to CMP 7 */
	K_TEST_ER, K_TEST_EI,
	K_MOV_ER, K_MOV_RE, K_MOV_EI, K_LEA,
	K_MOV_O,			/* RAX and an address in the instruction; arg: 1 to memory */
	K_MOVZX_B, K_MOVZX_W, K_MOVSX_B, K_MOVSX_W, K_MOVSXD,
	K_INC, K_DEC, K_NEG, K_NOT,
	K_SHIFT_I, K_SHIFT_1, K_SHIFT_C,	/* arg: modrm.reg */
	K_SHD_I, K_SHD_C,		/* arg: 0 left, 1 right */
	K_IMUL_GE, K_IMUL_GEI, K_MUL, K_IMUL, K_DIV, K_IDIV,
	K_PUSH_E, K_PUSH_I, K_POP_E, K_LEAVE,
	K_CALL_J, K_CALL_E, K_RET, K_JMP_J, K_JMP_E,
	K_JCC, K_SETCC, K_CMOV,		/* arg: condition */
	K_BT_I, K_BT_R,			/* arg: BT 4, BTS 5, BTR 6, BTC 7 */
	K_XCHG, K_XADD, K_CMPXCHG, K_BSWAP, K_CBW, K_CWD, K_NOP,
	K_CARRY,			/* arg: the opcode: CMC, CLC, STC */
	K_COUNT,			/* arg: 0 POPCNT, 1 TZCNT, 2 LZCNT, 3 BSF, 4 BSR */
	K_BMI,				/* arg: JIT_* */
	K_VECTOR, K_VZEROUPPER, K_X87,
	K_STRING,			/* arg: JIT_MOVS, … */
	K_DIRECTION,			/* arg: STD */
};

struct kind_of {
	const struct x86_handler *handler;
	u16 kind, arg;
};

/* ---- the state of a translation ---- */

enum { IN_HOST = 1, IN_SLOT = 2, IN_BOTH = 3, IN_REDO = 4 };	/* where the guest's flags are */

/* An instruction of registers that makes the flags, and how to have it make them once more, changing nothing. */
enum { REDO_NONE, REDO_SAME, REDO_RESULT, REDO_INVERSE, REDO_TEST, REDO_NEG };
struct redo {
	u8 kind;
	u8 op;			/* ADD 0 to CMP 7 */
	u8 size;
	u8 dst, src;		/* guest registers; src is X86_REG_ZERO for an immediate */
	s32 imm;
};
enum { WRITES_NONE, WRITES_PART, WRITES_ALL };

struct slow {			/* an instruction's way out to its handler */
	u8 *from[6];
	u8 n;
	u8 before;		/* IN_* at the jumps, and */
	struct redo redo;
	u8 flags;		/* IN_* behind the instruction, where translated code goes on */
	bool end;		/* no translated code goes on */
	bool led;		/* others were looked up with it: what follows runs from a block of its own */
	u8 count;		/* instructions that were to be done at once */
	u16 k;
	u16 next;
	u16 dirty, cached;	/* vector registers before and behind it */
	u8 *back;
};

struct ready {			/* a look whether vector instructions may run, that said no */
	u8 *from[2];
	u8 n;
	u8 flags;
	struct redo redo;
	u16 k;
	u16 next;
	u16 dirty, cached;
	u8 *back;
};

#define GROUPS	4
struct group {			/* accesses by one base register that were looked up together */
	u8 base;
	bool write;
	s32 from, to;		/* bytes, from what the register says */
	u32 until;		/* the last instruction */
};

struct way {			/* a branch to another page whose key does not fit: look it up */
	u8 *from[2];
	s32 at;
	u32 number;
	struct slow *slow;	/* what does it if that fails; NULL: the loop */
	u8 *back;
};

struct refill {			/* an access to a stack page that is not the one that is known */
	u8 *from;
	s32 disp;		/* from RSP */
	u16 size;
	bool write;
	struct slow *slow;
	u8 *back;
};

struct ret {			/* a return that is not to the last call */
	u8 *from;
	s32 pop;		/* bytes of the guest's stack */
	struct slow *slow;
};

struct full {			/* a call when there are JIT_CALLS on the host's stack */
	u8 *from, *back;
};

struct edge {			/* a way to another place of the page that is not linked yet, or out */
	u8 *from;
	u16 at;			/* offset in the page */
	u16 dirty;		/* vector registers that go home on the way */
	bool wide;		/* VZEROUPPER is due then */
	u8 flags;
	bool link;
};

struct far_branch {		/* a conditional branch to another page, off the straight way */
	u8 *from;
	s32 at;
	u16 k;
	u16 dirty;
	bool wide;
	u8 flags;
};

/* What becomes of a branch in the middle of what is translated together. */
enum { GO_OUT, GO_FALL, GO_TAKEN };

struct tr {
	struct emit e;
	struct x86_cpu *c;
	struct soft_jit *j;
	struct soft_block *b;	/* the first, by which it is entered */
	/* The instructions, of b and others of its page that are translated together: join.c. */
	u32 n;
	const struct x86_insn *insn[SOFT_BLOCK_MAX];
	struct soft_block *of[SOFT_BLOCK_MAX];	/* each one's block, */
	u8 sub[SOFT_BLOCK_MAX];			/* number in there, */
	u16 start[SOFT_BLOCK_MAX];		/* offset in the page, */
	u8 go[SOFT_BLOCK_MAX];			/* and where it goes on */
	u64 page;		/* host address */
	u8 word;		/* bytes of a stack slot and of RIP: 8, in 32-bit mode 4 */
	u8 half;		/* of the address space, which memory operands are guessed to be in */
	u32 at, next;		/* offsets of this instruction and the next one */
	u32 k;
	u8 flags;
	struct redo redo;	/* what makes the flags that there are */
	u8 *entry[2];		/* with the flags in the slot, in the host's */
	struct slow *slow;	/* of this instruction; NULL: none yet */
	u8 *again;		/* a loop of this one block: behind the loads of its vector registers */
	u8 again_flags;
	u16 loop_used, loop_written;
	bool wide;		/* vector registers are cached with 32 bytes */
	u16 cached, dirty;	/* which are in the host's registers of the same number; differ from memory */
	u8 denied;		/* X86_DENY_* that are known not to hold */
	bool x87_masked;	/* all exceptions, now: who wants some, goes on wanting them */
	bool mxcsr;		/* is known to be the guest's */
	u32 nr_slow, nr_refills, nr_edges, nr_ready, nr_ways, nr_far;
	struct way ways[JIT_BLOCK_WAYS];
	struct far_branch far[JIT_BLOCK_WAYS];
	struct ready readies[SOFT_BLOCK_MAX];
	struct ret ret;
	struct full full;
	struct slow slows[SOFT_BLOCK_MAX + JIT_BLOCK_WAYS];
	struct refill refills[2 * SOFT_BLOCK_MAX];
	struct edge edges[10 + 2 * SOFT_BLOCK_MAX];
	struct group groups[GROUPS];
	u32 nr_groups;
	/* What operand.c has to know of each instruction for that. */
	bool plain[SOFT_BLOCK_MAX];	/* its handler is called in need only, and then it goes on here */
	bool groups_ok[SOFT_BLOCK_MAX];	/* its memory operand may be one of a group; of so many bytes */
	u8 size[SOFT_BLOCK_MAX];
	bool stores[SOFT_BLOCK_MAX];
	u16 writes[SOFT_BLOCK_MAX];	/* general registers, at the most */
	bool live[SOFT_BLOCK_MAX];	/* flags behind each instruction matter */
};

/* Of the block. */
static inline const struct x86_insn *jit_insn(const struct tr *t, u32 k)
{
	return t->insn[k];
}

#define BIAS	128		/* RBP points there, for short displacements */
#define C(field)	loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, field) - BIAS)

#define SPILLED	0xff
static const u8 host_of[16] = {
	[X86_RAX] = H_R9, [X86_RCX] = H_R10, [X86_RDX] = H_R11, [X86_RBX] = H_RBX,
	[X86_RSP] = H_R14, [X86_RBP] = H_R15, [X86_RSI] = H_RSI, [X86_RDI] = H_RDI,
	[X86_R8] = H_R8, [X86_R12] = H_R12, [X86_R13] = H_R13,
	[X86_R9] = SPILLED, [X86_R10] = SPILLED, [X86_R11] = SPILLED,
	[X86_R14] = SPILLED, [X86_R15] = SPILLED,
};

static inline struct loc spill(int r)
{
	return loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, regs) + 8 * r - BIAS);
}

/* The guest register's whole value in a host register: its own, or the scratch one given. */
static inline int in(struct tr *t, int r, int scratch)
{
	if (host_of[r] != SPILLED)
		return host_of[r];
	e_load(&t->e, 8, scratch, spill(r));
	return scratch;
}

/* Where a result goes; out() then. Whole: no need of the old value. */
static inline int target(int r, int scratch)
{
	return host_of[r] != SPILLED ? host_of[r] : scratch;
}

static inline void out(struct tr *t, int r, int h)
{
	if (host_of[r] == SPILLED)
		e_store(&t->e, 8, h, spill(r));
}

/* An operand to be read only. */
static inline struct loc source(int r)
{
	return host_of[r] != SPILLED ? loc_reg(host_of[r]) : spill(r);
}

/* ---- flags ---- */

static inline void save_flags(struct emit *e)
{
	e8(e, 0x9f);					/* lahf */
	e_op(e, OP_0F | 0x90, 1, 0, loc_reg(H_RAX));	/* seto al */
	e_store(e, 4, H_RAX, C(jit.flags));
}

static inline void load_flags(struct emit *e)
{
	e_load(e, 4, H_RAX, C(jit.flags));
	e8(e, 0x04); e8(e, 0x7f);			/* add al, 127: OF */
	e8(e, 0x9e);					/* sahf */
}

/* ---- flags.c ---- */

/* Makes the flags again. RAX is lost. */
void jit_redo(struct emit *e, const struct redo *r);

/* From where they are to the slot. RAX is lost. */
static inline void to_slot(struct emit *e, u8 flags, const struct redo *r)
{
	if (flags & IN_SLOT)
		return;
	if (!(flags & IN_HOST))
		jit_redo(e, r);
	save_flags(e);
}

static inline void flags_to_slot(struct tr *t)
{
	to_slot(&t->e, t->flags, &t->redo);
	t->flags |= IN_SLOT;
}

static inline void flags_to_host(struct tr *t)
{
	if (!(t->flags & IN_HOST)) {
		if (t->flags & IN_SLOT)
			load_flags(&t->e);
		else
			jit_redo(&t->e, &t->redo);
	}
	t->flags |= IN_HOST;
}

/* The host's flags are about to be destroyed. */
static inline void flags_away(struct tr *t)
{
	if (!(t->flags & IN_SLOT) && t->redo.kind) {
		t->flags = IN_REDO;
		return;
	}
	flags_to_slot(t);
	t->flags = IN_SLOT;
}

/* Before n instructions, whose effect f is: they may change what the flags can be made of. */
struct effect;
void jit_keep_flags(struct tr *t, u32 n, const struct effect *f);

/* What an instruction does with the flags. */
struct effect {
	bool reads;
	u8 writes;
	bool exposes;		/* memory, or the handler: the block may be left there */
};

/* Before the operation itself, behind the lookups. */
static inline void flags_for(struct tr *t, const struct effect *f)
{
	if (f->reads || (f->writes == WRITES_PART && t->live[t->k]))
		flags_to_host(t);
}

static inline void flags_written(struct tr *t, const struct effect *f)
{
	if (f->writes != WRITES_NONE) {
		t->flags = IN_HOST;
		t->redo.kind = REDO_NONE;
	}
}

/* A jump (its displacement) to a place of this page that is not translated yet, or out. link: it is to lead straight
 * there, once it is. */
void jit_unlinked(struct tr *t, u8 *jump, u32 at, bool link);

/* The kind, K_CALL where this form of it is not done here. */
struct kind_of jit_kind_of(struct tr *t, const struct x86_insn *i);

/* ---- join.c: blocks that are translated together ---- */

/* Takes b and what is translated with it into t. */
void jit_join(struct tr *t, struct soft_block *b);
/* Where instruction k, a direct branch, leads: an offset from the page's start. */
s32 jit_branch_target(const struct tr *t, u32 k);

/* ---- cold.c: what is off the straight way ---- */

/* Calls the handler of instruction k, behind which the page's offset is `next`. */
void jit_call_handler(struct tr *t, u32 k, u32 next);
/* Calls the handler of this instruction, which is where the block ends: where it leads is found out then. */
void jit_end_by_handler(struct tr *t);
/* Ends translated code; c_rip is right. */
void jit_leave(struct tr *t);
/* Emits what was put off. */
void jit_emit_cold(struct tr *t);
/* The guest's stack pointer moves; no flag changes. */
void jit_move_rsp(struct tr *t, s32 by);
/* Goes on at RDX, whose code is at RAX. */
void jit_go_to(struct tr *t);
/* Goes on in another page: at, from this page's start. A branch's handler does it where the target is not
 * known; what is no branch runs off the page's end, and then the loop knows the way. The flags are in the slot. */
void jit_take_way_to(struct tr *t, s32 at, bool branch, bool call);

/* ---- operand.c: memory operands ---- */

/* Host register r, a linear address, becomes that of its entry in the software TLB. */
static inline void tlb_entry(struct emit *e, int r)
{
	e_op(e, 0xc1, 4, 5, loc_reg(r));		/* shr r, 12 - 5: entries have 32 bytes */
	e8(e, PAGE_SHIFT - 5);
	e_alu_imm(e, 4, 4, loc_reg(r), (X86_TLB_SIZE - 1) << 5);
	e_op(e, 0x03, 8, r, C(tlb));
}

/* An effective address. */
struct ea {
	u8 base, index, scale, seg, addrsize;
	s64 disp;
};

struct ea jit_insn_ea(const struct tr *t, const struct x86_insn *i);
/* Can it be said with a displacement of 32 bits? */
bool jit_ea_fits(const struct ea *a, u32 size);
/* The effective address to host register dst, no flag touched. RCX may be used. size: 4, 8. */
void jit_ea_to(struct tr *t, const struct ea *a, int dst, u32 size);
/*
 * The software TLB's lookup: the operand's place in host memory. Afterwards RAX and RCX are free, RDX
 * is part of the address, and the flags are in the slot only. A miss goes to the handler.
 */
struct loc jit_lookup(struct tr *t, struct ea a, u32 size, bool write);
/* The same for an instruction's operand. RDX alone may be in use, and the flags may be where they were. */
struct loc jit_operand(struct tr *t, const struct x86_insn *i, u32 size, bool write);
/* This instruction's way out to its handler. */
struct slow *jit_slow(struct tr *t);
/* A jump (its displacement) after which this instruction is its handler's. The flags are in the slot. */
void jit_slow_if(struct tr *t, u8 *jump);

/* ---- vector.c: how the table says it ---- */

/* The opcode with its map and its prefix, as e_op has them; the prefix as VEX has it. */
u32 jit_host_opcode(const struct x86_opcode *op);
u32 jit_vex_pp(const struct x86_opcode *op);
/* Is its memory operand, if it has one, written? */
bool jit_writes_memory(const struct x86_opcode *op);

/* ---- bmi.c ---- */

enum { JIT_BMI_3, JIT_BMI_B, JIT_RORX, JIT_MULX, JIT_ADX, JIT_CRC32, JIT_MOVBE_LOAD, JIT_MOVBE_STORE };

bool jit_bmi_ok(const struct x86_insn *i, u32 what);
void jit_emit_bmi(struct tr *t, const struct x86_insn *i, u32 what, const struct effect *f);

/* ---- vector.c: SSE and AVX ---- */

bool jit_vector_ok(const struct x86_insn *i);	/* Is it one of those that run here as they are? */
void jit_emit_vector(struct tr *t, const struct x86_insn *i, const struct effect *f);
void jit_emit_vzeroupper(struct tr *t, const struct x86_insn *i);
u32 jit_vectors_of(const struct x86_insn *i, bool written);	/* registers that it names; or writes */
void jit_move_vectors(struct tr *t, u32 mask, bool store);
/* Stores those, and if wide leaves nothing in the upper halves. */
void jit_put_vectors(struct tr *t, u32 dirty, bool wide);
/* Before C code or other blocks: the registers are in memory, and nothing is known. */
void jit_vectors_home(struct tr *t);

/* ---- x87.c: x87 and MMX ---- */

bool jit_x87_ok(const struct x86_insn *i);
void jit_emit_x87(struct tr *t, const struct x86_insn *i, const struct effect *f);
/* Out of line, behind the instruction's handler: a jump (its displacement) to where translated code
 * goes on, unless the unit is not ready now, which it relies on. false: i is none that this is about. */
bool jit_x87_after_handler(struct tr *t, const struct x86_insn *i, u8 **go_on);

/* ---- string.c ---- */

enum { JIT_MOVS, JIT_STOS, JIT_LODS, JIT_CMPS, JIT_SCAS };

bool jit_string_ok(const struct tr *t, const struct x86_insn *i, u32 op);
void jit_emit_string(struct tr *t, const struct x86_insn *i, u32 op, const struct effect *f);
void jit_emit_direction(struct tr *t, bool backward);		/* STD, CLD */

/* ---- highbyte.c: AH to BH ---- */

bool jit_high_rm(const struct x86_insn *i);
bool jit_high_reg(const struct x86_insn *i);
/* op: the opcode, of bytes, as the guest has it. */
void jit_high_two(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, bool compare);
void jit_high_one(struct tr *t, const struct x86_insn *i, const struct effect *f, u32 op, u32 ext, bool imm);
void jit_high_extend(struct tr *t, const struct x86_insn *i, bool sign);	/* MOVZX, MOVSX */
void jit_high_exchange(struct tr *t, const struct x86_insn *i);

#endif
