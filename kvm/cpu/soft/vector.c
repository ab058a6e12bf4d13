/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Binding instructions to their handlers, and running SSE and AVX: memory operands, MXCSR,
 * exceptions (SDM volume 1, 11.5; volume 2, 2.4 for the exception classes).
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/xstate.h"

#define BOUNCE		32	/* the largest plain operand */

typedef u8 vec128 __attribute__((vector_size(16), aligned(1), may_alias));

/* ---- who may run ---- */

int soft_denied(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 attr = x86_op(i)->attr;

	if (attr & X86_A_AVX) {
		u64 need = X86_XCR0_SSE | X86_XCR0_YMM;

		if (!x86_protected(c) || x86_vm86(c) || !(c->cr4 & X86_CR4_OSXSAVE) ||
		    (c->fpu.xcr0 & need) != need)
			return x86_raise(c, X86_UD);
	}
	if ((attr & (X86_A_SSE | X86_A_MMX)) && (c->cr0 & X86_CR0_EM))
		return x86_raise(c, X86_UD);
	if ((attr & X86_A_SSE) && !(c->cr4 & X86_CR4_OSFXSR))
		return x86_raise(c, X86_UD);
	return x86_raise(c, X86_NM);
}

/* ---- MXCSR and its exceptions ---- */

void soft_mxcsr_sync(struct x86_cpu *c)
{
	if (!c->fpu.mxcsr_live)
		return;
	x86_set_mxcsr(c, soft_get_mxcsr());
	soft_put_mxcsr(c->fpu.host_mxcsr);
	c->fpu.mxcsr_live = false;
}

void soft_fpu_enter(struct x86_cpu *c)
{
	c->fpu.lazy = true;
	c->fpu.x87_stop |= X86_X87_STOP_UNIT;
}

void soft_fpu_leave(struct x86_cpu *c)
{
	soft_x87_sync(c);
	soft_mxcsr_sync(c);
	c->fpu.lazy = false;
}

/* What a thunk may change, kept to be able to take it back. */
struct undo {
	union x86_vec reg, rm;
	u64 gpr, rflags;
};

static void undo_save(const struct x86_cpu *c, const struct x86_insn *i, struct undo *u)
{
	u->reg = c->fpu.ymm[i->reg];
	u->rm = c->fpu.ymm[i->rm];
	u->gpr = c->regs[i->reg];
	u->rflags = c->rflags;
}

static void undo_apply(struct x86_cpu *c, const struct x86_insn *i, const struct undo *u)
{
	c->fpu.ymm[i->reg] = u->reg;
	c->fpu.ymm[i->rm] = u->rm;
	c->regs[i->reg] = u->gpr;
	c->rflags = u->rflags;
}

u32 soft_run_masked(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t,
		    void *mem, u32 mxcsr)
{
	u32 host = soft_get_mxcsr(), flags;

	soft_put_mxcsr((mxcsr | X86_MXCSR_MASKS) & ~X86_MXCSR_FLAGS);
	t->core(c, i, mem);
	flags = soft_get_mxcsr() & X86_MXCSR_FLAGS;
	soft_put_mxcsr(host);
	return flags;
}

/*
 * With exceptions that the guest does not mask. The host runs the instruction with all masked, and
 * its flags tell what the guest's processor would have found. Not so for overflow, underflow and
 * operations that go on after an exception: then its elements are looked at one by one
 * (fpflags.c).
 */
static int fp_unmasked(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t,
		       void *mem, u32 mxcsr)
{
	u32 unmasked = ~(mxcsr >> 7), flags;
	struct undo undo;

	/* Flush-to-zero has an effect only on underflows that are masked. */
	if (!(mxcsr & X86_MXCSR_UM))
		mxcsr &= ~X86_MXCSR_FTZ;
	undo_save(c, i, &undo);
	flags = soft_run_masked(c, i, t, mem, mxcsr);
	if (((flags & unmasked) || !(mxcsr & X86_MXCSR_UM)) && soft_fp_flags_matter(x86_op(i))) {
		undo_apply(c, i, &undo);
		flags = soft_fp_flags(c, i, t, mem, mxcsr);
		if (!(flags & unmasked))
			soft_run_masked(c, i, t, mem, mxcsr);
	} else if (flags & unmasked & X86_MXCSR_PRE) {
		flags &= X86_MXCSR_PRE;
	}
	x86_set_mxcsr(c, x86_mxcsr(c) | flags);
	if (!(flags & unmasked))
		return X86_OK;
	undo_apply(c, i, &undo);
	return x86_raise(c, c->cr4 & X86_CR4_OSXMMEXCPT ? X86_XM : X86_UD);
}

int soft_fp_exec(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, void *mem)
{
	u32 mxcsr;

	if (likely(c->fpu.mxcsr_live))
		return t->core(c, i, mem);
	mxcsr = x86_mxcsr(c);
	if ((mxcsr & X86_MXCSR_MASKS) != X86_MXCSR_MASKS)
		return fp_unmasked(c, i, t, mem, mxcsr);
	if (!c->fpu.lazy) {
		x86_set_mxcsr(c, mxcsr | soft_run_masked(c, i, t, mem, mxcsr));
		return X86_OK;
	}
	c->fpu.host_mxcsr = soft_get_mxcsr();
	soft_put_mxcsr(mxcsr);
	c->fpu.mxcsr_live = true;
	return t->core(c, i, mem);
}

int soft_fp_reg(struct x86_cpu *c, const struct x86_insn *i)
{
	return soft_fp_exec(c, i, i->host, NULL);
}

static int soft_ldmxcsr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 lin;
	u32 val;
	int r;

	if (unlikely(c->fpu.deny & (x86_op(i)->vex == X86_LEGACY ? X86_DENY_SSE : X86_DENY_AVX)))
		return soft_denied(c, i);
	r = x86_operand_lin(c, i, 4, X86_READ, &lin);
	if (!r)
		r = x86_read32(c, lin, &val);
	if (r)
		return r;
	if (val & ~c->fpu.mxcsr_mask)
		return x86_raise_err(c, X86_GP, 0);
	soft_mxcsr_sync(c);
	x86_set_mxcsr(c, val);
	return X86_OK;
}

static int soft_stmxcsr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 lin;
	int r;

	if (unlikely(c->fpu.deny & (x86_op(i)->vex == X86_LEGACY ? X86_DENY_SSE : X86_DENY_AVX)))
		return soft_denied(c, i);
	r = x86_operand_lin(c, i, 4, X86_WRITE, &lin);
	if (r)
		return r;
	return x86_write32(c, lin, soft_mxcsr(c));
}

/* ---- memory operands ---- */

/* An unaligned operand of a computation that wants it aligned: #GP, or AMD's MXCSR.MM. */
static __noinline int misaligned(struct x86_cpu *c, const struct x86_insn *i)
{
	if ((soft_mxcsr(c) & X86_MXCSR_MM) && x86_op(i)->vex == X86_LEGACY)
		return X86_OK;
	if (x86_op(i)->feature == X86_FEATURE_SHA && c->vendor == X86_VENDOR_AMD)
		return X86_OK;		/* its processors do not mind */
	return x86_raise_err(c, X86_GP, 0);
}

/* Where the operand is: linear address, checked but for the page. */
static __always_inline int operand(struct x86_cpu *c, const struct x86_insn *i,
				   const struct soft_thunk *t, enum x86_access acc, u64 *lin)
{
	int r;

	*lin = 0;
	if (unlikely(c->fpu.deny & t->deny))
		return soft_denied(c, i);
	r = x86_operand_lin(c, i, t->mem_size, acc, lin);
	if (unlikely(r))
		return r;
	if (unlikely(*lin & t->align_mask))
		return misaligned(c, i);
	return X86_OK;
}

static int mem_read(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	u8 buf[BOUNCE] __attribute__((aligned(32)));
	struct x86_tlb_entry *e;
	u64 lin;
	int r = operand(c, i, t, X86_READ, &lin);

	if (unlikely(r))
		return r;
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, t->mem_size, e->rd)))
		return t->core(c, i, (void *)(lin + e->addend));
	r = x86_read_buf(c, lin, buf, t->mem_size);
	if (r)
		return r;
	return t->core(c, i, buf);
}

static int mem_read_fp(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	u8 buf[BOUNCE] __attribute__((aligned(32)));
	struct x86_tlb_entry *e;
	u64 lin;
	int r = operand(c, i, t, X86_READ, &lin);

	if (unlikely(r))
		return r;
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, t->mem_size, e->rd) && c->fpu.mxcsr_live))
		return t->core(c, i, (void *)(lin + e->addend));
	/* A copy: an instruction may be run twice to find its exceptions. */
	r = x86_read_buf(c, lin, buf, t->mem_size);
	if (r)
		return r;
	return soft_fp_exec(c, i, t, buf);
}

static int mem_write(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	u8 buf[BOUNCE] __attribute__((aligned(32)));
	struct x86_tlb_entry *e;
	u64 lin;
	int r = operand(c, i, t, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, t->mem_size, e->wr)))
		return t->core(c, i, (void *)(lin + e->addend));
	t->core(c, i, buf);
	return x86_write_buf(c, lin, buf, t->mem_size);
}

/* VCVTPS2PH: the one that stores what it computes. */
static int mem_write_fp(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	u8 buf[BOUNCE] __attribute__((aligned(32)));
	u64 lin;
	u32 mxcsr;
	int r = operand(c, i, t, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	r = x86_probe(c, lin, t->mem_size, X86_WRITE);	/* a page fault comes before all others */
	if (r)
		return r;
	soft_mxcsr_sync(c);
	mxcsr = x86_mxcsr(c);
	r = soft_fp_exec(c, i, t, buf);
	if (r)
		return r;
	r = x86_write_buf(c, lin, buf, t->mem_size);
	if (r) {
		soft_mxcsr_sync(c);
		x86_set_mxcsr(c, mxcsr);
	}
	return r;
}

/* ---- plain moves to and from memory, which need no thunk ---- */

static __always_inline int move_load(struct x86_cpu *c, const struct x86_insn *i, u32 size, bool vex)
{
	union x86_vec *v = &c->fpu.ymm[i->reg];
	const struct soft_thunk *t = i->host;
	struct x86_tlb_entry *e;
	u64 lin;
	int r;

	if (unlikely(c->fpu.deny & (vex ? X86_DENY_AVX : X86_DENY_SSE)))
		return soft_denied(c, i);
	r = x86_operand_lin(c, i, size, X86_READ, &lin);
	if (unlikely(r))
		return r;
	if (size >= 16 && unlikely(lin & t->align_mask))
		return x86_raise_err(c, X86_GP, 0);
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, size, e->rd))) {
		const void *p = (const void *)(lin + e->addend);

		if (size == 4)
			v->q[0] = *(const volatile u32 *)p;
		else if (size == 8)
			v->q[0] = *(const volatile u64 *)p;
		else
			*(vec128 *)v->b = *(const volatile vec128 *)p;
		if (size == 32)
			*(vec128 *)(v->b + 16) = *(const volatile vec128 *)((const u8 *)p + 16);
	} else {
		u64 q[4] = { 0 };

		r = x86_read_buf(c, lin, q, size);
		if (r)
			return r;
		memcpy(v->b, q, size <= 16 ? 16 : 32);
	}
	if (size <= 8)
		v->q[1] = 0;
	if (vex && size < 32)
		v->q[2] = v->q[3] = 0;
	return X86_OK;
}

static __always_inline int move_store(struct x86_cpu *c, const struct x86_insn *i, u32 size, bool vex)
{
	const union x86_vec *v = &c->fpu.ymm[i->reg];
	const struct soft_thunk *t = i->host;
	struct x86_tlb_entry *e;
	u64 lin;
	int r;

	if (unlikely(c->fpu.deny & (vex ? X86_DENY_AVX : X86_DENY_SSE)))
		return soft_denied(c, i);
	r = x86_operand_lin(c, i, size, X86_WRITE, &lin);
	if (unlikely(r))
		return r;
	if (size >= 16 && unlikely(lin & t->align_mask))
		return x86_raise_err(c, X86_GP, 0);
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, size, e->wr))) {
		void *p = (void *)(lin + e->addend);

		if (size == 4)
			*(volatile u32 *)p = v->q[0];
		else if (size == 8)
			*(volatile u64 *)p = v->q[0];
		else
			*(volatile vec128 *)p = *(const vec128 *)v->b;
		if (size == 32)
			*(volatile vec128 *)((u8 *)p + 16) = *(const vec128 *)(v->b + 16);
		return X86_OK;
	}
	return x86_write_buf(c, lin, v->b, size);
}

#define DEFINE_MOVES(size)									\
static int load##size(struct x86_cpu *c, const struct x86_insn *i)				\
{												\
	return move_load(c, i, size, false);							\
}												\
static int vload##size(struct x86_cpu *c, const struct x86_insn *i)				\
{												\
	return move_load(c, i, size, true);							\
}												\
static int store##size(struct x86_cpu *c, const struct x86_insn *i)				\
{												\
	return move_store(c, i, size, false);							\
}												\
static int vstore##size(struct x86_cpu *c, const struct x86_insn *i)				\
{												\
	return move_store(c, i, size, true);							\
}
DEFINE_MOVES(4)
DEFINE_MOVES(8)
DEFINE_MOVES(16)
DEFINE_MOVES(32)

static x86_exec_fn *move_handler(const struct x86_insn *i, u32 size)
{
	static x86_exec_fn *const fn[4][2][2] = {	/* [log2(size / 4)][store][VEX] */
		{ { load4, vload4 }, { store4, vstore4 } },
		{ { load8, vload8 }, { store8, vstore8 } },
		{ { load16, vload16 }, { store16, vstore16 } },
		{ { load32, vload32 }, { store32, vstore32 } },
	};
	u32 log = size == 4 ? 0 : size == 8 ? 1 : size == 16 ? 2 : 3;

	return fn[log][x86_op(i)->op[0].kind == X86_OP_W][x86_op(i)->vex != X86_LEGACY];
}

/* ---- binding ---- */

static x86_exec_fn *special_handler(const struct x86_insn *i)
{
	switch (x86_op(i)->host & X86_H_SPECIAL) {
	case X86_H_MASKMOV32:
	case X86_H_MASKMOV64:
		return soft_maskmov;
	case X86_H_MASKMOVQ:
	case X86_H_MASKMOVDQU:
		return soft_maskmov_bytes;
	case X86_H_GATHER_DD:
	case X86_H_GATHER_DQ:
	case X86_H_GATHER_QD:
	case X86_H_GATHER_QQ:
		return soft_gather;
	case X86_H_VZERO:
		return soft_vzero;
	case X86_H_LDMXCSR:
		return soft_ldmxcsr;
	case X86_H_STMXCSR:
		return soft_stmxcsr;
	case X86_H_FXSAVE:
		return soft_fxsave;
	case X86_H_FXRSTOR:
		return soft_fxrstor;
	case X86_H_XSAVE:
	case X86_H_XSAVEOPT:
	case X86_H_XSAVEC:
	case X86_H_XSAVES:
		return soft_xsave;
	case X86_H_XRSTOR:
	case X86_H_XRSTORS:
		return soft_xrstor;
	case X86_H_FWAIT:
		return soft_fwait;
	case X86_H_FLDENV:
	case X86_H_FNSTENV:
	case X86_H_FRSTOR:
	case X86_H_FNSAVE:
		return soft_x87_env;
	case X86_H_NOP:
		return soft_x87_nop;
	default:
		return NULL;
	}
}

/* Handler and thunk of an X86_A_HOST instruction. 0 or -ENOMEM. */
static int bind(struct x86_cpu *c, struct x86_insn *i)
{
	const struct x86_opcode *op = x86_op(i);
	const struct soft_thunk *t;
	bool writes = false;

	i->fn = special_handler(i);
	if (i->fn)
		return 0;
	t = soft_thunk_get(c->vector, i);
	if (!t)
		return -ENOMEM;
	i->host = t;
	if (soft_is_mmx_or_x87(i)) {
		i->fn = soft_x87_handler(i);
		return 0;
	}
	if (!(i->flags & X86_I_MEM)) {
		i->fn = t->fn;
		return 0;
	}
	if ((op->host & X86_H_SPECIAL) == X86_H_MOVE) {
		i->fn = move_handler(i, t->mem_size);
		return 0;
	}
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		if ((op->op[k].access & X86_WR) &&
		    (op->op[k].kind == X86_OP_W || op->op[k].kind == X86_OP_E))
			writes = true;
	}
	if (op->host & X86_H_FP)
		i->fn = writes ? mem_write_fp : mem_read_fp;
	else
		i->fn = writes ? mem_write : mem_read;
	return 0;
}

void soft_bind_insn(struct x86_cpu *c, struct x86_insn *i)
{
	struct x86_insn bound = *i;

	if (!(x86_op(i)->attr & X86_A_HOST))
		return;
	/* There are eight registers outside 64-bit mode: the fourth operand's top bit is
	 * ignored. */
	if (c->mode != X86_MODE_64 && x86_op(i)->op[3].kind == X86_OP_L)
		bound.imm2 &= 0x7f;
	/* No memory for a thunk now: perhaps later. */
	if (!bind(c, &bound))
		*i = bound;
}

int soft_host_exec(struct x86_cpu *c, const struct x86_insn *i)
{
	struct x86_insn bound = *i;

	soft_bind_insn(c, &bound);
	if (bound.fn == i->fn) {
		os_log("soft: no memory to run %s\n", x86_op(i)->name);
		c->run_error = -ENOMEM;
		return X86_EXIT;
	}
	return bound.fn(c, &bound);
}
