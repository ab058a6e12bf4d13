/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x87 and MMX (SDM volume 1, 8 and 9).
 *
 * The guest's registers are brought into the host's x87 unit, where its instructions run with its
 * own control word. Nothing can trap there: an exception that the guest does not mask only becomes
 * pending, and the host's next waiting instruction would report it. So the status word is looked
 * at after each instruction, and a pending exception sends the state home, where the guest's next
 * waiting instruction finds it. (A guest with CR0.NE=0, which expects an interrupt from an
 * external chip instead, gets #MF too, as under Linux's KVM.)
 *
 * The pointers to the last instruction and its operand would be the thunk's. They are kept in
 * software, in the image and fcs, fds, and what the host's unit has of them is never looked at.
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/xstate.h"

#define FSW_TOP(fsw)	(((fsw) >> 11) & 7)
#define X87_IMAGE	X86_FX_XMM	/* bytes of the FXSAVE image that are x87's (and MXCSR) */

/* ---- between the image and the host's unit ---- */

/* The unit was loaded, or got another control word. */
static void note_masks(struct x86_cpu *c)
{
	u16 fcw;

	__asm__ __volatile__("fnstcw %0" : "=m"(fcw));
	if ((fcw & X86_FCW_MASKS) == X86_FCW_MASKS)
		c->fpu.x87_stop &= ~X86_X87_STOP_UNIT;
	else
		c->fpu.x87_stop |= X86_X87_STOP_UNIT;
}

static void load_unit(struct x86_cpu *c)
{
	u32 guest = x86_mxcsr(c);

	/* FXRSTOR loads MXCSR: the one that is there already. XMM registers are nobody's here. */
	x86_set_mxcsr(c, soft_get_mxcsr());
	__asm__ __volatile__("fxrstor64 %0" : : "m"(c->fpu.fx)
			     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
	x86_set_mxcsr(c, guest);
	c->fpu.x87_live = true;
	note_masks(c);
}

static void drop_unit(struct x86_cpu *c)
{
	__asm__ __volatile__("fninit" : : : "memory");
	c->fpu.x87_live = false;
	c->fpu.x87_stop |= X86_X87_STOP_UNIT;
}

/* What translated code noted goes where the pointers are. */
static void fold_pointers(struct x86_cpu *c)
{
	u64 ip = c->fpu.x87_page + (c->fpu.x87_last & (PAGE_SIZE - 1));
	u16 fop = c->fpu.x87_last >> 16;

	if (!c->fpu.x87_last)
		return;
	memcpy(c->fpu.fx + X86_FX_FOP, &fop, 2);
	memcpy(c->fpu.fx + X86_FX_FIP, &ip, 8);
	c->fpu.x87_last = 0;
}

void soft_x87_sync(struct x86_cpu *c)
{
	u8 tmp[X86_FX_SIZE] __attribute__((aligned(64)));

	if (!c->fpu.x87_live)
		return;
	__asm__ __volatile__("fxsave64 %0" : "=m"(tmp) : : "memory");
	memcpy(c->fpu.fx, tmp, X86_FX_FOP);
	memcpy(c->fpu.fx + X86_FX_ST, tmp + X86_FX_ST, X86_FX_XMM - X86_FX_ST);
	fold_pointers(c);
	drop_unit(c);
}

void soft_x87_settle(struct x86_cpu *c)
{
	load_unit(c);
	soft_x87_sync(c);
}

/* Is an exception pending, of the state at home? The VMM may have set one without its summary bit. */
static bool pending(const struct x86_cpu *c)
{
	u16 fsw = x86_fx_get16(c->fpu.fx, X86_FX_FSW), fcw = x86_fx_get16(c->fpu.fx, X86_FX_FCW);

	return (fsw & X86_FSW_ES) || (fsw & ~fcw & X86_FCW_MASKS);
}

static bool waits(const struct x86_opcode *op)
{
	return !(op->attr & X86_A_FP_CTRL);
}

bool soft_x87_masked(const struct x86_cpu *c)
{
	if (c->fpu.x87_live)
		return !(c->fpu.x87_stop & X86_X87_STOP_UNIT);
	return (x86_fx_get16(c->fpu.fx, X86_FX_FCW) & X86_FCW_MASKS) == X86_FCW_MASKS;
}

int soft_x87_begin(struct x86_cpu *c, const struct x86_insn *i)
{
	if (likely(c->fpu.x87_live)) {
		fold_pointers(c);
		return X86_OK;
	}
	if (pending(c) && waits(x86_op(i)))
		return x86_raise(c, X86_MF);
	load_unit(c);
	return X86_OK;
}

void soft_x87_end(struct x86_cpu *c, u64 fsw)
{
	if (unlikely((fsw & X86_FSW_ES) || !c->fpu.lazy))
		soft_x87_sync(c);
}

/* ---- instruction and operand pointers ---- */

/* After an instruction that left fsw. */
static void set_pointers(struct x86_cpu *c, const struct x86_insn *i, u64 fsw)
{
	bool selectors = !x86_has(c, X86_FEATURE_ZERO_FCS_FDS);
	u8 *fx = c->fpu.fx;
	u64 ip = c_rip(c) - i->len, dp;
	u16 fop = (x86_op(i)->opcode & 7) << 8 | i->imm2;

	if ((x86_op(i)->host & X86_H_SPECIAL) == X86_H_FLDCW || (x86_op(i)->host & X86_H_SPECIAL) == X86_H_FNINIT)
		note_masks(c);
	if (x86_op(i)->attr & X86_A_FP_CTRL || (x86_op(i)->host & X86_H_SPECIAL) == X86_H_FLDCW)
		return;
	memcpy(fx + X86_FX_FOP, &fop, 2);
	memcpy(fx + X86_FX_FIP, &ip, 8);
	c->fpu.fcs = selectors ? c->seg[X86_SEG_CS].sel : 0;
	if (!(i->flags & X86_I_MEM) ||
	    (x86_has(c, X86_FEATURE_FDP_EXCPTN_ONLY) && !(fsw & X86_FSW_ES)))
		return;
	dp = x86_ea(c, i);
	memcpy(fx + X86_FX_FDP, &dp, 8);
	c->fpu.fds = selectors ? c->seg[i->seg == X86_SEG_FLAT ? X86_SEG_DS : i->seg].sel : 0;
}

static void clear_pointers(struct x86_cpu *c)
{
	memset(c->fpu.fx + X86_FX_FOP, 0, X86_FX_MXCSR - X86_FX_FOP);
	c->fpu.fcs = c->fpu.fds = 0;
}

/* ---- instructions ---- */

/* Before any: may it run, and what is pending. Leaves the unit loaded. */
static __always_inline int begin(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t)
{
	if (unlikely(c->fpu.deny & t->deny))
		return soft_denied(c, i);
	return soft_x87_begin(c, i);
}

/* CVTPI2PS and its like: MMX operands, and SSE's exceptions. */
static int run_mmx_fp(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, void *mem)
{
	u8 before[X87_IMAGE];
	u32 mxcsr;
	int r;

	if (c->fpu.mxcsr_live)
		return t->core(c, i, mem);
	soft_x87_sync(c);
	memcpy(before, c->fpu.fx, sizeof(before));
	load_unit(c);
	r = soft_fp_exec(c, i, t, mem);
	if (!r)
		return X86_OK;
	mxcsr = x86_mxcsr(c);
	drop_unit(c);
	memcpy(c->fpu.fx, before, sizeof(before));
	x86_set_mxcsr(c, mxcsr);
	load_unit(c);
	/* AMD's processors have gone over to MMX by then. */
	if (c->vendor == X86_VENDOR_AMD)
		__asm__ __volatile__("movd %%mm0, %%eax" : : : "eax");
	return r;
}

/* Runs the thunk with the unit loaded. */
static int run(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, void *mem)
{
	u64 fsw;

	if (!(x86_op(i)->attr & X86_A_X87)) {
		int r = x86_op(i)->host & X86_H_FP ? run_mmx_fp(c, i, t, mem) : (int)t->core(c, i, mem);

		soft_x87_end(c, 0);
		return r;
	}
	fsw = t->core(c, i, mem);
	set_pointers(c, i, fsw);
	if (unlikely((x86_op(i)->host & X86_H_SPECIAL) == X86_H_FNINIT))
		clear_pointers(c);
	soft_x87_end(c, fsw);
	return X86_OK;
}

static int x87_reg(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	int r = begin(c, i, t);

	return unlikely(r) ? r : run(c, i, t, NULL);
}

static int x87_read(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	u8 buf[16] __attribute__((aligned(16)));
	struct x86_tlb_entry *e;
	u64 lin;
	int r = begin(c, i, t);

	if (unlikely(r))
		return r;
	r = x86_operand_lin(c, i, t->mem_size, X86_READ, &lin);
	if (!r && unlikely(lin & t->align_mask) && !(soft_mxcsr(c) & X86_MXCSR_MM))
		r = x86_raise_err(c, X86_GP, 0);
	if (unlikely(r))
		goto out;
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, t->mem_size, e->rd) && !(x86_op(i)->host & X86_H_FP)))
		return run(c, i, t, (void *)(lin + e->addend));
	r = x86_read_buf(c, lin, buf, t->mem_size);
	if (!r)
		return run(c, i, t, buf);
out:
	soft_x87_end(c, 0);
	return r;
}

/*
 * A store that cannot go straight to memory. It may fail after the instruction has run, so all is
 * kept to be taken back. An x87 exception that is not masked, other than precision, leaves memory
 * alone.
 */
static int store_slowly(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, u64 lin)
{
	u8 buf[16] __attribute__((aligned(16))), before[X87_IMAGE];
	u16 fcs = c->fpu.fcs, fds = c->fpu.fds, fsw;
	u32 raised;
	int r;

	soft_x87_sync(c);
	r = x86_probe(c, lin, t->mem_size, X86_WRITE);	/* a page fault comes before all others */
	if (r)
		return r;
	memcpy(before, c->fpu.fx, sizeof(before));
	load_unit(c);
	run(c, i, t, buf);
	soft_x87_sync(c);
	fsw = x86_fx_get16(c->fpu.fx, X86_FX_FSW);
	raised = fsw & ~x86_fx_get16(c->fpu.fx, X86_FX_FCW) & 0x1f;
	if ((fsw & X86_FSW_ES) && raised && waits(x86_op(i)))
		return X86_OK;
	r = x86_write_buf(c, lin, buf, t->mem_size);
	if (r) {
		memcpy(c->fpu.fx, before, sizeof(before));
		c->fpu.fcs = fcs;
		c->fpu.fds = fds;
	}
	return r;
}

static int x87_write(struct x86_cpu *c, const struct x86_insn *i)
{
	const struct soft_thunk *t = i->host;
	struct x86_tlb_entry *e;
	u64 lin;
	int r = begin(c, i, t);

	if (unlikely(r))
		return r;
	r = x86_operand_lin(c, i, t->mem_size, X86_WRITE, &lin);
	if (unlikely(r)) {
		soft_x87_end(c, 0);
		return r;
	}
	e = x86_tlb_slot(c, lin);
	if (likely(x86_tlb_hit(c, lin, t->mem_size, e->wr)))
		return run(c, i, t, (void *)(lin + e->addend));
	return store_slowly(c, i, t, lin);
}

x86_exec_fn *soft_x87_handler(const struct x86_insn *i)
{
	if (!(i->flags & X86_I_MEM))
		return x87_reg;
	for (u32 k = 0; k < ARRAY_SIZE(x86_op(i)->op); k++) {
		u8 kind = x86_op(i)->op[k].kind;

		if ((x86_op(i)->op[k].access & X86_WR) &&
		    (kind == X86_OP_M || kind == X86_OP_Q || kind == X86_OP_E))
			return x87_write;
	}
	return x87_read;
}

int soft_fwait(struct x86_cpu *c, const struct x86_insn *i)
{
	if ((c->cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		return x86_raise(c, X86_NM);
	if (!c->fpu.x87_live && pending(c))
		return x86_raise(c, X86_MF);
	return X86_OK;
}

int soft_x87_nop(struct x86_cpu *c, const struct x86_insn *i)
{
	return c->fpu.deny & X86_DENY_X87 ? soft_denied(c, i) : X86_OK;
}

/* ---- FLDENV, FNSTENV, FRSTOR, FNSAVE (SDM volume 1, figures 8-9 to 8-12) ---- */

#define ENV_MAX		28
#define STATE_MAX	(ENV_MAX + 80)

/* Two bits a register by its physical number: 0 valid, 1 zero, 2 special, 3 empty. */
static u16 full_tags(const u8 *fx)
{
	u32 top = FSW_TOP(x86_fx_get16(fx, X86_FX_FSW));
	u16 tags = 0;

	for (u32 n = 0; n < 8; n++) {
		const u8 *st = fx + X86_FX_ST + 16 * ((n - top) & 7);
		u32 exp = x86_fx_get16(st, 8) & 0x7fff, tag;
		u64 frac;

		memcpy(&frac, st, 8);
		if (!(fx[X86_FX_FTW] & BIT(n)))
			tag = 3;
		else if (!exp && !frac)
			tag = 1;
		else if (exp == 0 || exp == 0x7fff || !(frac >> 63))
			tag = 2;
		else
			tag = 0;
		tags |= tag << (2 * n);
	}
	return tags;
}

static void put(u8 *p, u64 val, u32 n)
{
	memcpy(p, &val, n);
}

static u64 get(const u8 *p, u32 n)
{
	u64 val = 0;

	memcpy(&val, p, n);
	return val;
}

/* The environment in the four formats; its length. */
static u32 env_store(struct x86_cpu *c, const struct x86_insn *i, u8 *env)
{
	const u8 *fx = c->fpu.fx;
	u32 w = i->opsize == 2 ? 2 : 4;
	u64 ip = get(fx + X86_FX_FIP, 8), dp = get(fx + X86_FX_FDP, 8);
	u16 fop = get(fx + X86_FX_FOP, 2) & 0x7ff;

	/* 32-bit formats have ones in the upper halves that mean nothing. */
	memset(env, 0xff, ENV_MAX);
	put(env, get(fx + X86_FX_FCW, 2), 2);
	put(env + w, get(fx + X86_FX_FSW, 2), 2);
	put(env + 2 * w, full_tags(fx), 2);
	if (x86_protected(c) && !x86_vm86(c)) {
		put(env + 3 * w, ip, w);
		put(env + 4 * w, w == 4 ? c->fpu.fcs | (u32)fop << 16 : c->fpu.fcs, w);
		put(env + 5 * w, dp, w);
		put(env + 6 * w, w == 4 ? 0xffff0000 | c->fpu.fds : c->fpu.fds, w);
	} else {
		/* Real-address formats: linear addresses. */
		u32 lip = ip + ((u32)c->fpu.fcs << 4), ldp = dp + ((u32)c->fpu.fds << 4);

		if (w == 4) {
			put(env + 12, 0xffff0000 | (lip & 0xffff), 4);
			put(env + 16, fop | (lip >> 16 & 0xffff) << 12, 4);
			put(env + 20, 0xffff0000 | (ldp & 0xffff), 4);
			put(env + 24, (ldp >> 16 & 0xffff) << 12, 4);
		} else {
			put(env + 6, lip, 2);
			put(env + 8, fop | (lip >> 16 & 0xf) << 12, 2);
			put(env + 10, ldp, 2);
			put(env + 12, (ldp >> 16 & 0xf) << 12, 2);
		}
	}
	return 7 * w;
}

/* The image has the registers in stack order: after TOP moves by n, each is elsewhere. */
static void turn_stack(u8 *fx, u32 n)
{
	u8 old[8 * 16];

	memcpy(old, fx + X86_FX_ST, sizeof(old));
	for (u32 k = 0; k < 8; k++)
		memcpy(fx + X86_FX_ST + 16 * k, old + 16 * ((k + n) & 7), 16);
}

static void env_load(struct x86_cpu *c, const struct x86_insn *i, const u8 *env)
{
	u32 w = i->opsize == 2 ? 2 : 4;
	u8 *fx = c->fpu.fx;
	u64 ip, dp;
	u16 fop, tags = get(env + 2 * w, 2), fsw = get(env + w, 2);

	turn_stack(fx, FSW_TOP(fsw) - FSW_TOP(x86_fx_get16(fx, X86_FX_FSW)));
	put(fx + X86_FX_FCW, get(env, 2), 2);
	put(fx + X86_FX_FSW, fsw, 2);
	fx[X86_FX_FTW] = 0;
	for (u32 n = 0; n < 8; n++) {
		if (((tags >> (2 * n)) & 3) != 3)
			fx[X86_FX_FTW] |= BIT(n);
	}
	if (x86_protected(c) && !x86_vm86(c)) {
		ip = get(env + 3 * w, w);
		c->fpu.fcs = get(env + 4 * w, 2);
		fop = w == 4 ? get(env + 18, 2) & 0x7ff : 0;
		dp = get(env + 5 * w, w);
		c->fpu.fds = get(env + 6 * w, 2);
	} else {
		u32 hi = get(env + 4 * w, w), dhi = get(env + 6 * w, w);

		fop = hi & 0x7ff;
		ip = get(env + 3 * w, 2) | (u64)(hi >> 12 & 0xffff) << 16;
		dp = get(env + 5 * w, 2) | (u64)(dhi >> 12 & 0xffff) << 16;
		c->fpu.fcs = c->fpu.fds = 0;
	}
	put(fx + X86_FX_FOP, fop, 2);
	put(fx + X86_FX_FIP, ip, 8);
	put(fx + X86_FX_FDP, dp, 8);
}

int soft_x87_env(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 which = x86_op(i)->host & X86_H_SPECIAL, n = i->opsize == 2 ? 14 : 28;
	bool store = which == X86_H_FNSTENV || which == X86_H_FNSAVE;
	bool regs = which == X86_H_FRSTOR || which == X86_H_FNSAVE;
	u8 buf[STATE_MAX];
	u64 lin;
	int r;

	if (c->fpu.deny & X86_DENY_X87)
		return soft_denied(c, i);
	soft_x87_sync(c);
	if (waits(x86_op(i)) && pending(c))
		return x86_raise(c, X86_MF);
	if (regs)
		n += 80;
	r = x86_operand_lin(c, i, n, store ? X86_WRITE : X86_READ, &lin);
	if (r)
		return r;
	if (store) {
		u32 at = env_store(c, i, buf);

		for (u32 k = 0; k < 8 && regs; k++)
			memcpy(buf + at + 10 * k, c->fpu.fx + X86_FX_ST + 16 * k, 10);
		r = x86_write_buf(c, lin, buf, n);
		if (r)
			return r;
		if (which == X86_H_FNSTENV) {
			/* All exceptions are masked afterwards, so none is pending. */
			put(c->fpu.fx + X86_FX_FCW, get(c->fpu.fx + X86_FX_FCW, 2) | 0x3f, 2);
			load_unit(c);
		} else {
			load_unit(c);
			__asm__ __volatile__("fninit");
			clear_pointers(c);
		}
		soft_x87_sync(c);
		return X86_OK;
	}
	r = x86_read_buf(c, lin, buf, n);
	if (r)
		return r;
	env_load(c, i, buf);
	for (u32 k = 0; k < 8 && regs; k++) {
		memset(c->fpu.fx + X86_FX_ST + 16 * k, 0, 16);
		memcpy(c->fpu.fx + X86_FX_ST + 16 * k, buf + n - 80 + 10 * k, 10);
	}
	soft_x87_settle(c);
	return X86_OK;
}
