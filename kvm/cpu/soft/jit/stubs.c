/* SPDX-License-Identifier: GPL-2.0-only */
/* The code that all translations share: in, out, calls of handlers, and finding a branch's target. */
#include "kvm/cpu/soft/jit/translate.h"

static void move_guest(struct emit *e, bool store)
{
	for (int r = 0; r < 16; r++) {
		if (host_of[r] == SPILLED)
			continue;
		if (store)
			e_store(e, 8, host_of[r], spill(r));
		else
			e_load(e, 8, host_of[r], spill(r));
	}
}

static const u8 callee_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

typedef int jit_call_fn(struct x86_cpu *c, u32 what, u32 block);

/* RCX: the block, RAX: JIT_WHAT. */
static void emit_call_stub(struct soft_jit *j, struct emit *e, jit_call_fn *fn)
{
	move_guest(e, true);
	e_alu_imm(e, 5, 8, loc_reg(H_RSP), 8);
	e_lea(e, 8, H_RDI, loc_mem(H_RBP, -BIAS));
	e_mov(e, 4, H_RSI, H_RAX);
	e_mov(e, 4, H_RDX, H_RCX);
	e_mov_imm64(e, H_RAX, (u64)fn);
	e_op(e, 0xff, 4, 2, loc_reg(H_RAX));		/* call rax */
	move_guest(e, false);
	e_alu_imm(e, 0, 8, loc_reg(H_RSP), 8);
	e_rr(e, 0x85, 4, H_RAX, H_RAX);
	e8(e, 0x75); e8(e, 1);				/* jne: over the ret */
	e8(e, 0xc3);
	e_alu_imm(e, 0, 8, loc_reg(H_RSP), 8);		/* forget the way back */
	e_jmp_to(e, j->leave);
}

/* Calls C with the vCPU, RDX and RAX; the guest's registers and RDX survive. RAX is what it returns, RCX is lost. */
static void emit_call_c(struct emit *e, u64 fn)
{
	/* What C code may lose. Seven, for the stack's alignment behind one call. */
	static const u8 lost[] = { H_RDX, H_RSI, H_RDI, H_R8, H_R9, H_R10, H_R11 };

	for (u32 n = 0; n < ARRAY_SIZE(lost); n++)
		e_push(e, lost[n]);
	e_lea(e, 8, H_RDI, loc_mem(H_RBP, -BIAS));
	e_mov(e, 8, H_RSI, H_RDX);
	e_mov(e, 4, H_RDX, H_RAX);
	e_mov_imm64(e, H_RAX, fn);
	e_op(e, 0xff, 4, 2, loc_reg(H_RAX));
	for (int n = ARRAY_SIZE(lost) - 1; n >= 0; n--)
		e_pop(e, lost[n]);
	e8(e, 0xc3);
}

/* RDX: linear address. RAX: its code, 0 where it is not known or somebody wants attention. RCX is lost. */
static void emit_lookup_stub(struct emit *e)
{
	u8 *attention, *miss[2];

	e_alu_imm(e, 7, 4, C(attention), 0);
	attention = e_jcc(e, 5);
	e_mov(e, 4, H_RCX, H_RDX);
	e_op(e, 0xc1, 4, 5, loc_reg(H_RCX));		/* shr */
	e8(e, PAGE_SHIFT);
	e_rr(e, 0x33, 4, H_RCX, H_RDX);
	e_alu_imm(e, 4, 4, loc_reg(H_RCX), (1 << JIT_TARGET_BITS) - 1);
	e_op(e, 0xc1, 4, 4, loc_reg(H_RCX));		/* shl: entries have 32 bytes */
	e8(e, 5);
	e_op(e, 0x03, 8, H_RCX, C(jit.targets));
	e_load(e, 8, H_RAX, C(jit.key));
	e_op(e, 0x3b, 8, H_RDX, loc_mem(H_RCX, offsetof(struct jit_target, lin)));
	miss[0] = e_jcc(e, 5);
	e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RCX, offsetof(struct jit_target, key)));
	miss[1] = e_jcc(e, 5);
	e_load(e, 8, H_RAX, loc_mem(H_RCX, offsetof(struct jit_target, code)));
	e8(e, 0xc3);
	e_land(e, miss[0]);
	e_land(e, miss[1]);
	emit_call_c(e, (u64)jit_find);
	e_land(e, attention);
	e_rr(e, 0x33, 4, H_RAX, H_RAX);
	e8(e, 0xc3);
}

/*
 * RDX: the linear address of an access to the stack, RAX: its bytes minus 1. ZF: it is allowed, RDX is what to add for the
 * host's address; and if the page is writable, it is the known one from now on. RAX and RCX are lost.
 */
static void emit_stack_stub(struct emit *e, u32 half, bool write)
{
	/* From where in the page 8, 64 and 512 bytes, or fewer, are within it. */
	static const u32 room[] = { PAGE_SIZE - 8 + 1, PAGE_SIZE - 64 + 1, PAGE_SIZE - 512 + 1 };
	u8 *miss, *fixed = NULL;

	e_mov(e, 4, H_RCX, H_RDX);
	tlb_entry(e, H_RCX);
	e_rr(e, 0x03, 8, H_RAX, H_RDX);
	e_alu_imm(e, 4, 8, loc_reg(H_RAX), -4096);
	e_op(e, 0x0b, 8, H_RAX, half ? C(tlb_ctx[1]) : C(tlb_ctx[0]));
	e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, wr)));
	if (write) {
		miss = e_jcc(e, 5);
	} else {
		fixed = e_jcc(e, 5);
		e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, rd)));
		miss = e_jcc(e, 5);
	}
	e_alu_imm(e, 4, 8, loc_reg(H_RDX), -4096);
	e_store(e, 8, H_RDX, C(jit.stack_page));
	e_load(e, 8, H_RDX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, addend)));
	e_store(e, 8, H_RDX, C(jit.stack_addend));
	for (u32 n = 0; n < ARRAY_SIZE(room); n++) {
		e_op(e, 0xc7, 8, 0, loc_mem(H_RBP, (s32)offsetof(struct x86_cpu, jit.stack_room) + 8 * (s32)n - BIAS));
		e32(e, room[n]);
	}
	e_rr(e, 0x3b, 4, H_RAX, H_RAX);
	e8(e, 0xc3);
	if (fixed) {
		e_land(e, fixed);
		e_op(e, 0x3b, 8, H_RAX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, rd)));
		e_load(e, 8, H_RDX, loc_mem(H_RCX, offsetof(struct x86_tlb_entry, addend)));
	}
	e_land(e, miss);
	e8(e, 0xc3);
}

/* Goes on at RDX, a linear address, if its code is known; the loop does otherwise. */
static void emit_go_stub(struct soft_jit *j, struct emit *e)
{
	u8 *lost;

	e_call_to(e, j->lookup);
	e_rr(e, 0x85, 8, H_RAX, H_RAX);
	lost = e_jcc(e, 4);
	e_alu_imm(e, 4, 8, loc_reg(H_RDX), -4096);
	e_store(e, 8, H_RDX, C(jit.page));
	e_op(e, 0xff, 4, 4, loc_reg(H_RAX));		/* jmp rax */
	e_land(e, lost);
	e_store(e, 8, H_RDX, C(regs[X86_REG_RIP]));
	e_mov_imm64(e, H_RAX, JIT_NEXT);
	e_jmp_to(e, j->leave);
}

/*
 * The host's stack below the calls: two of their frames, whose return address is guest address 0. Who returns there
 * has no call to return to. Two, since a return looks at the last two calls.
 */
#define BOTTOM	2

static void emit_enter(struct soft_jit *j, struct emit *e)
{
	/* Whoever returned to the bottom puts it there again. RDX: where to. */
	u8 *bottom = e->p;

	e_load(e, 8, H_RSP, C(jit.host_sp));
	e_mov_imm64(e, H_RAX, (u64)bottom + e->to_rx);
	e_store(e, 8, H_RAX, loc_sib(H_RSP, H_NONE, 0, 0));
	e_jmp_to(e, j->go);

	/* int enter(struct x86_cpu *c, void *code); leaves come to j->leave with the result in EAX. */
	j->enter = e->p;
	for (u32 n = 0; n < ARRAY_SIZE(callee_saved); n++)
		e_push(e, callee_saved[n]);
	e_alu_imm(e, 5, 8, loc_reg(H_RSP), 8);
	e_lea(e, 8, H_RBP, loc_mem(H_RDI, BIAS));
	e_mov_imm64(e, H_RAX, (u64)bottom + e->to_rx);
	for (u32 n = 0; n < BOTTOM; n++) {
		for (u32 k = 0; k < JIT_FRAME / 8 - 1; k++) {
			e8(e, 0x6a); e8(e, 0);		/* push 0 */
		}
		e_push(e, H_RAX);
	}
	e_store(e, 8, H_RSP, C(jit.host_sp));
	e_lea(e, 8, H_RAX, loc_sib(H_RSP, H_NONE, 0, -JIT_CALLS * JIT_FRAME));
	e_store(e, 8, H_RAX, C(jit.host_sp_limit));
	e_mov(e, 8, H_RAX, H_RSI);
	move_guest(e, false);
	e_op(e, 0xff, 4, 4, loc_reg(H_RAX));
}

/* What was emitted since, by name, for profiles. */
static void name_stub(struct emit *e, const u8 **since, const char *name)
{
	os_perf_map_add(*since + e->to_rx, e->p - *since, "anykvm:%s", name);
	*since = e->p;
}

void jit_emit_stubs(struct soft_jit *j, struct emit *e)
{
	const u8 *since = e->p;

	j->leave = e->p;
	move_guest(e, true);
	e_load(e, 8, H_RSP, C(jit.host_sp));
	e_alu_imm(e, 0, 8, loc_reg(H_RSP), BOTTOM * JIT_FRAME + 8);
	for (int n = ARRAY_SIZE(callee_saved) - 1; n >= 0; n--)
		e_pop(e, callee_saved[n]);
	e8(e, 0xc3);

	j->link = e->p;
	e_store(e, 4, H_RAX, C(jit.at));
	e_store(e, 4, H_RCX, C(jit.block));
	e_store(e, 4, H_RDX, C(jit.edge));
	e_mov_imm64(e, H_RAX, JIT_LINK);
	e_jmp_to(e, j->leave);

	j->out = e->p;
	e_store(e, 4, H_RAX, C(jit.at));
	e_mov_imm64(e, H_RAX, JIT_OUT);
	e_jmp_to(e, j->leave);

	name_stub(e, &since, "leave");
	j->call = e->p;
	emit_call_stub(j, e, jit_exec);
	j->ready = e->p;
	emit_call_stub(j, e, jit_ready);
	name_stub(e, &since, "call-handler");
	j->lookup = e->p;
	emit_lookup_stub(e);
	name_stub(e, &since, "lookup-branch");
	j->go = e->p;
	emit_go_stub(j, e);
	emit_enter(j, e);
	name_stub(e, &since, "enter");
	j->way = e->p;
	emit_call_c(e, (u64)jit_take_way);
	name_stub(e, &since, "take-way");
	for (u32 half = 0; half < 2; half++) {
		for (u32 write = 0; write < 2; write++) {
			j->stack[half][write] = e->p;
			emit_stack_stub(e, half, write);
		}
	}
	name_stub(e, &since, "stack-page");
	j->crosses = e->p;
	emit_call_c(e, (u64)jit_crosses);
	name_stub(e, &since, "crosses");
}
