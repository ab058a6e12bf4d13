/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Far control transfers: JMP, CALL and RET between code segments, through call gates and to tasks; IRET
 * in every mode; SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM volume 3, 5.8; volume 2; APM volume 3.
 *
 * Each reads all that it needs, checks, writes the stack, and only then changes registers.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/handlers_sys.h"

static bool in_real_or_vm86(const struct x86_cpu *c)
{
	return !x86_protected(c) || x86_vm86(c);
}

static u64 size_mask(u32 size)
{
	return size == 8 ? ~0ull : size == 4 ? 0xffffffff : 0xffff;
}

/* Loads CS from a checked descriptor at privilege level cpl. */
static int load_cs(struct x86_cpu *c, struct x86_desc *d, u16 sel, u32 cpl)
{
	int r = x86_desc_mark_accessed(c, d);

	if (r)
		return r;
	x86_desc_to_segment(d, (sel & ~3u) | cpl, &c->seg[X86_SEG_CS]);
	return X86_OK;
}

/* L and D together are reserved in long mode. */
static bool bad_long_code(const struct x86_cpu *c, u32 attr)
{
	return x86_long_mode(c) && (attr & X86_SEG_L) && (attr & X86_SEG_DB);
}

/* ---- JMP and CALL ---- */

static int far_real(struct x86_cpu *c, u16 sel, u64 off, u32 size, bool call)
{
	u64 sp = c->regs[X86_RSP];
	int r;

	if (off > c->seg[X86_SEG_CS].limit)
		return x86_raise_err(c, X86_GP, 0);
	if (call) {
		r = x86_push_at(c, &sp, size, c->seg[X86_SEG_CS].sel);
		if (!r)
			r = x86_push_at(c, &sp, size, c_rip(c));
		if (r)
			return r;
		x86_set_sp(c, sp);
	}
	x86_real_segment(c, X86_SEG_CS, sel);
	c_rip(c) = off;
	return X86_DONE;
}

static int far_code(struct x86_cpu *c, struct x86_desc *d, u16 sel, u64 off, u32 size, bool call)
{
	u32 attr = x86_desc_attr(d), dpl = X86_SEG_DPL(attr);
	struct x86_segment cs;
	u64 sp = c->regs[X86_RSP];
	int r;

	if (x86_attr_conforming(attr) ? dpl > c->cpl : (X86_SEL_RPL(sel) > c->cpl || dpl != c->cpl))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (bad_long_code(c, attr))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, sel & ~3u);
	x86_desc_to_segment(d, sel, &cs);
	if (!x86_rip_ok(c, &cs, off))
		return x86_raise_err(c, X86_GP, 0);
	if (call) {
		r = x86_push_at(c, &sp, size, c->seg[X86_SEG_CS].sel);
		if (!r)
			r = x86_push_at(c, &sp, size, c_rip(c));
		if (r)
			return r;
	}
	r = load_cs(c, d, sel, c->cpl);
	if (r)
		return r;
	if (call)
		x86_set_sp(c, sp);
	c_rip(c) = off;
	x86_update_mode(c);
	return X86_DONE;
}

/* Through a call gate to an inner level: new stack, old SS:RSP and the parameters on it. */
static int call_inner(struct x86_cpu *c, const struct x86_desc *gate, struct x86_desc *code,
		      u32 size, u64 rip)
{
	u32 cpl = X86_SEG_DPL(x86_desc_attr(code));
	u32 params = size == 8 ? 0 : (gate->raw >> 32) & 31;
	struct x86_stack old, st;
	u64 val;
	int r;

	x86_stack_current(c, &old);
	if (size == 8) {
		st = (struct x86_stack){ .flat = true, .sys = true, .mask = ~0ull };
		r = x86_tss_rsp(c, cpl, 0, 0, &st.sp);
	} else {
		r = x86_stack_inner(c, cpl, 0, &st);
	}
	if (!r)
		r = x86_stack_push(c, &st, c->seg[X86_SEG_SS].sel, size);
	if (!r)
		r = x86_stack_push(c, &st, old.sp & size_mask(size), size);
	old.sp += params * size;
	for (u32 n = 0; n < params && !r; n++) {
		u64 after;

		old.sp = (old.sp - size) & old.mask;
		after = old.sp;
		r = x86_stack_pop(c, &old, &val, size);
		old.sp = after;
		if (!r)
			r = x86_stack_push(c, &st, val, size);
	}
	if (!r)
		r = x86_stack_push(c, &st, c->seg[X86_SEG_CS].sel, size);
	if (!r)
		r = x86_stack_push(c, &st, c_rip(c), size);
	if (!r)
		r = load_cs(c, code, x86_gate_sel(gate), cpl);
	if (r)
		return r;
	if (size == 8)
		x86_null_segment(&c->seg[X86_SEG_SS], cpl, cpl);
	else
		c->seg[X86_SEG_SS] = st.ss;
	x86_stack_commit_sp(c, &st, 0);
	c_rip(c) = rip;
	x86_update_mode(c);
	return X86_DONE;
}

static int far_gate(struct x86_cpu *c, struct x86_desc *gate, u16 sel, bool call)
{
	u32 type = x86_desc_type(gate), attr, dpl;
	u32 size = x86_long_mode(c) ? 8 : type == X86_DESC_CALL ? 4 : 2;
	u16 csel = x86_gate_sel(gate);
	struct x86_desc code;
	struct x86_segment cs;
	struct x86_stack st;
	u64 rip;
	int r;

	r = x86_fetch_desc_high(c, sel, X86_GP, 0, gate);
	if (r)
		return r;
	if (X86_SEL_NULL(csel))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_fetch_desc(c, csel, X86_GP, 0, &code);
	if (r)
		return r;
	attr = x86_desc_attr(&code);
	dpl = X86_SEG_DPL(attr);
	if (!x86_attr_code(attr) || dpl > c->cpl ||
	    (!call && !x86_attr_conforming(attr) && dpl != c->cpl) ||
	    (size == 8 && (attr & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L))
		return x86_raise_err(c, X86_GP, csel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, csel & ~3u);
	x86_desc_to_segment(&code, csel, &cs);
	rip = size == 2 ? x86_gate_offset(gate) & 0xffff : x86_gate_offset(gate);
	if (size == 8)
		rip |= gate->high << 32;
	if (!x86_rip_ok(c, &cs, rip))
		return x86_raise_err(c, X86_GP, 0);

	if (call && !x86_attr_conforming(attr) && dpl < c->cpl)
		return call_inner(c, gate, &code, size, rip);
	x86_stack_current(c, &st);
	if (call) {
		r = x86_stack_push(c, &st, c->seg[X86_SEG_CS].sel, size);
		if (!r)
			r = x86_stack_push(c, &st, c_rip(c), size);
		if (r)
			return r;
	}
	r = load_cs(c, &code, csel, c->cpl);
	if (r)
		return r;
	if (call)
		x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
	c_rip(c) = rip;
	x86_update_mode(c);
	return X86_DONE;
}

static int far_transfer(struct x86_cpu *c, u16 sel, u64 off, u32 size, bool call)
{
	enum x86_task_reason reason = call ? X86_TASK_CALL : X86_TASK_JMP;
	struct x86_desc d;
	u32 attr;
	bool known;
	int r;

	off &= size_mask(size);
	if (in_real_or_vm86(c))
		return far_real(c, sel, off, size, call);
	if (X86_SEL_NULL(sel))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_fetch_desc(c, sel, X86_GP, 0, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	if (x86_attr_code(attr))
		return far_code(c, &d, sel, off, size, call);

	switch (attr & (X86_SEG_S | X86_SEG_TYPE)) {
	case X86_DESC_CALL:
		known = true;
		break;
	case X86_DESC_CALL16:
	case X86_DESC_TASK_GATE:
	case X86_DESC_TSS16:
	case X86_DESC_TSS:
		known = !x86_long_mode(c);
		break;
	default:
		known = false;
	}
	if (!known || X86_SEG_DPL(attr) < c->cpl || X86_SEG_DPL(attr) < X86_SEL_RPL(sel))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, sel & ~3u);
	switch (attr & X86_SEG_TYPE) {
	case X86_DESC_CALL:
	case X86_DESC_CALL16:
		return far_gate(c, &d, sel, call);
	case X86_DESC_TASK_GATE:
		return x86_task_transfer(c, x86_gate_sel(&d), reason);
	default:
		return x86_task_transfer(c, sel, reason);
	}
}

/* A far pointer in memory: offset, then selector. AMD's have no 64-bit offset. */
static int read_far_pointer(struct x86_cpu *c, const struct x86_insn *i, u16 *sel, u64 *off, u32 *size)
{
	u8 buf[10];
	u64 lin;
	int r;

	*size = i->opsize == 8 && c->vendor == X86_VENDOR_AMD ? 4 : i->opsize;
	r = x86_operand_lin(c, i, *size + 2, X86_READ, &lin);
	if (!r)
		r = x86_read_buf(c, lin, buf, *size + 2);
	if (r)
		return r;
	*off = 0;
	memcpy(off, buf, *size);
	memcpy(sel, buf + *size, 2);
	return X86_OK;
}

static int do_jmpf_m(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 size;
	u64 off;
	u16 sel;
	int r = read_far_pointer(c, i, &sel, &off, &size);

	return r ? r : far_transfer(c, sel, off, size, false);
}

static int do_callf_m(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 size;
	u64 off;
	u16 sel;
	int r = read_far_pointer(c, i, &sel, &off, &size);

	return r ? r : far_transfer(c, sel, off, size, true);
}

/* JMP and CALL ptr16:16, ptr16:32 */
static int do_jmpf_a(struct x86_cpu *c, const struct x86_insn *i)
{
	return far_transfer(c, i->disp, i->imm, i->opsize, false);
}

static int do_callf_a(struct x86_cpu *c, const struct x86_insn *i)
{
	return far_transfer(c, i->disp, i->imm, i->opsize, true);
}

X86_HANDLER(jmpf_m, do_jmpf_m);
X86_HANDLER(callf_m, do_callf_m);
X86_HANDLER(jmpf_a, do_jmpf_a);
X86_HANDLER(callf_a, do_callf_a);

/* ---- RET and IRET ---- */

/* CS of a return: its descriptor, checked against the level returned to (the selector's RPL). */
static int return_code(struct x86_cpu *c, u16 sel, struct x86_desc *d)
{
	u32 attr, rpl = X86_SEL_RPL(sel);
	int r;

	if (X86_SEL_NULL(sel))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_fetch_desc(c, sel, X86_GP, 0, d);
	if (r)
		return r;
	attr = x86_desc_attr(d);
	if (!x86_attr_code(attr) || rpl < c->cpl ||
	    (x86_attr_conforming(attr) ? X86_SEG_DPL(attr) > rpl : X86_SEG_DPL(attr) != rpl) ||
	    bad_long_code(c, attr))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, sel & ~3u);
	return X86_OK;
}

/* SS of a return to level cpl; `to64`: the code returned to is 64-bit. */
static int return_stack(struct x86_cpu *c, u16 sel, u32 cpl, bool to64, struct x86_segment *ss)
{
	struct x86_desc d;
	u32 attr;
	int r;

	if (X86_SEL_NULL(sel)) {
		if (!to64 || cpl == 3 || X86_SEL_RPL(sel) != cpl)
			return x86_raise_err(c, X86_GP, 0);
		x86_null_segment(ss, sel, cpl);
		return X86_OK;
	}
	r = x86_fetch_desc(c, sel, X86_GP, 0, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	if (X86_SEL_RPL(sel) != cpl || X86_SEG_DPL(attr) != cpl || !x86_attr_writable_data(attr))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_SS, sel & ~3u);
	r = x86_desc_mark_accessed(c, &d);
	if (!r)
		x86_desc_to_segment(&d, sel, ss);
	return r;
}

/*
 * The end of RETF and IRET in protected and long mode: everything popped is here, to be checked and then
 * loaded. flags_mask: which RFLAGS bits come from `flags`.
 */
struct far_return {
	u16 cs, ss;
	bool pops_ss;		/* SS:RSP were popped */
	u64 rip, rsp, flags, flags_mask;
	u32 release;		/* RETF's immediate */
};

static int finish_return(struct x86_cpu *c, const struct far_return *f, const struct x86_stack *st)
{
	u32 cpl = X86_SEL_RPL(f->cs), from = c->cpl;
	struct x86_segment cs, ss = c->seg[X86_SEG_SS];
	struct x86_desc code;
	bool to64;
	int r = return_code(c, f->cs, &code);

	if (r)
		return r;
	x86_desc_to_segment(&code, f->cs, &cs);
	to64 = x86_long_mode(c) && (cs.attr & X86_SEG_L);
	if (f->pops_ss) {
		r = return_stack(c, f->ss, cpl, to64, &ss);
		if (r)
			return r;
	}
	if (!x86_rip_ok(c, &cs, f->rip))
		return x86_raise_err(c, X86_GP, 0);
	r = load_cs(c, &code, f->cs, cpl);
	if (r)
		return r;

	c_rip(c) = f->rip;
	if (f->pops_ss) {
		u64 mask = to64 ? ~0ull : ss.attr & X86_SEG_DB ? 0xffffffff : 0xffff;
		u64 rsp = (f->rsp + f->release) & mask;

		/* A 16-bit stack pointer keeps the old one's upper half, as the processors do it. */
		if (mask == 0xffff)
			rsp |= c->regs[X86_RSP] & 0xffff0000;
		c->seg[X86_SEG_SS] = ss;
		c->regs[X86_RSP] = rsp;
	} else {
		x86_stack_commit_sp(c, st, c->regs[X86_RSP]);
	}
	c->rflags = (c->rflags & ~f->flags_mask) | (f->flags & f->flags_mask) | X86_RFLAGS_FIXED;
	x86_update_mode(c);
	if (cpl > from)
		x86_drop_inner_segments(c);
	if ((c->rflags & X86_RFLAGS_IF) && c->event_waiting)
		atomic_or(&c->attention, X86_ATTN_EVENT);
	return X86_DONE;
}

static int do_retf(struct x86_cpu *c, const struct x86_insn *i)
{
	struct far_return f = { .release = (u16)i->imm };
	u32 size = i->opsize;
	struct x86_stack st;
	u64 val;
	int r;

	x86_stack_current(c, &st);
	r = x86_stack_pop(c, &st, &f.rip, size);
	if (!r)
		r = x86_stack_pop(c, &st, &val, size);
	if (r)
		return r;
	f.cs = val;
	if (in_real_or_vm86(c)) {
		if (f.rip > c->seg[X86_SEG_CS].limit)
			return x86_raise_err(c, X86_GP, 0);
		st.sp += f.release;
		x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
		x86_real_segment(c, X86_SEG_CS, f.cs);
		c_rip(c) = f.rip;
		return X86_DONE;
	}
	st.sp += f.release;
	f.pops_ss = X86_SEL_RPL(f.cs) > c->cpl;
	if (f.pops_ss) {
		r = x86_stack_pop(c, &st, &f.rsp, size);
		if (!r)
			r = x86_stack_pop(c, &st, &val, size);
		if (r)
			return r;
		f.ss = val;
	}
	return finish_return(c, &f, &st);
}

/* IRET in real mode, and in virtual-8086 mode where IOPL or VME lets it. */
static int iret_real(struct x86_cpu *c, u32 size)
{
	u64 mask = X86_RFLAGS_ARITH | X86_RFLAGS_TF | X86_RFLAGS_DF | X86_RFLAGS_NT, flags, rip, sel;
	bool virtual_if = false;
	struct x86_stack st;
	int r;

	if (x86_vm86(c) && x86_iopl(c) < 3) {
		if (!(c->cr4 & X86_CR4_VME) || size != 2)
			return x86_raise_err(c, X86_GP, 0);
		virtual_if = true;
	}
	x86_stack_current(c, &st);
	r = x86_stack_pop(c, &st, &rip, size);
	if (!r)
		r = x86_stack_pop(c, &st, &sel, size);
	if (!r)
		r = x86_stack_pop(c, &st, &flags, size);
	if (r)
		return r;
	if (rip > c->seg[X86_SEG_CS].limit)
		return x86_raise_err(c, X86_GP, 0);
	if (size == 4)
		mask |= X86_RFLAGS_RF | X86_RFLAGS_AC | X86_RFLAGS_ID;
	if (!x86_vm86(c))
		mask |= X86_RFLAGS_IOPL;
	if (virtual_if) {
		if ((flags & X86_RFLAGS_TF) ||
		    ((flags & X86_RFLAGS_IF) && (c->rflags & X86_RFLAGS_VIP)))
			return x86_raise_err(c, X86_GP, 0);
		mask |= X86_RFLAGS_VIF;
		flags = (flags & ~(u64)X86_RFLAGS_VIF) | (flags & X86_RFLAGS_IF ? X86_RFLAGS_VIF : 0);
	} else {
		mask |= X86_RFLAGS_IF;
	}
	x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
	x86_real_segment(c, X86_SEG_CS, sel);
	c_rip(c) = rip;
	x86_set_rflags(c, (c->rflags & ~mask) | (flags & mask));
	return X86_DONE;
}

/* IRET at level 0 with VM in the popped flags. st is behind the flags. */
static int iret_to_vm86(struct x86_cpu *c, struct x86_stack *st, u64 rip, u16 cs, u64 flags)
{
	static const u8 segs[] = { X86_SEG_SS, X86_SEG_ES, X86_SEG_DS, X86_SEG_FS, X86_SEG_GS };
	u64 esp, sel[ARRAY_SIZE(segs)];
	int r = x86_stack_pop(c, st, &esp, 4);

	for (u32 n = 0; n < ARRAY_SIZE(segs) && !r; n++)
		r = x86_stack_pop(c, st, &sel[n], 4);
	if (r)
		return r;
	if (rip > 0xffff)
		return x86_raise_err(c, X86_GP, 0);
	c->rflags = (flags & X86_RFLAGS_DEFINED) | X86_RFLAGS_FIXED;
	x86_real_segment(c, X86_SEG_CS, cs);
	for (u32 n = 0; n < ARRAY_SIZE(segs); n++)
		x86_real_segment(c, segs[n], sel[n]);
	c->regs[X86_RSP] = esp;
	c_rip(c) = rip;
	x86_update_mode(c);
	if ((c->rflags & X86_RFLAGS_IF) && c->event_waiting)
		atomic_or(&c->attention, X86_ATTN_EVENT);
	return X86_DONE;
}

static int iret_protected(struct x86_cpu *c, u32 size)
{
	struct far_return f = { 0 };
	struct x86_stack st;
	u64 val;
	int r;

	if (c->rflags & X86_RFLAGS_NT) {
		u16 link;

		if (x86_long_mode(c))
			return x86_raise_err(c, X86_GP, 0);
		r = x86_read_sys(c, (u32)c->seg[X86_SEG_TR].base, &link, 2);
		return r ? r : x86_task_transfer(c, link, X86_TASK_IRET);
	}
	x86_stack_current(c, &st);
	r = x86_stack_pop(c, &st, &f.rip, size);
	if (!r)
		r = x86_stack_pop(c, &st, &val, size);
	if (!r)
		r = x86_stack_pop(c, &st, &f.flags, size);
	if (r)
		return r;
	f.cs = val;
	if (size == 4 && (f.flags & X86_RFLAGS_VM) && c->cpl == 0 && !x86_long_mode(c))
		return iret_to_vm86(c, &st, f.rip, f.cs, f.flags);

	/* 64-bit mode always pops SS:RSP. */
	f.pops_ss = c->mode == X86_MODE_64 || X86_SEL_RPL(f.cs) > c->cpl;
	if (f.pops_ss) {
		r = x86_stack_pop(c, &st, &f.rsp, size);
		if (!r)
			r = x86_stack_pop(c, &st, &val, size);
		if (r)
			return r;
		f.ss = val;
	}
	f.flags_mask = X86_RFLAGS_ARITH | X86_RFLAGS_TF | X86_RFLAGS_DF | X86_RFLAGS_NT;
	if (size != 2)
		f.flags_mask |= X86_RFLAGS_RF | X86_RFLAGS_AC | X86_RFLAGS_ID;
	if (c->cpl <= x86_iopl(c))
		f.flags_mask |= X86_RFLAGS_IF;
	if (c->cpl == 0) {
		f.flags_mask |= X86_RFLAGS_IOPL;
		if (size != 2)
			f.flags_mask |= X86_RFLAGS_VIF | X86_RFLAGS_VIP;
	}
	return finish_return(c, &f, &st);
}

static int do_iret(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = in_real_or_vm86(c) ? iret_real(c, i->opsize) : iret_protected(c, i->opsize);

	if (r != X86_DONE)
		return r;
	smp_mb();		/* it serialises */
	/* The end of an NMI handler: the next may come. */
	if (c->ev.nmi_masked) {
		c->ev.nmi_masked = false;
		atomic_or(&c->attention, X86_ATTN_EVENT);
	}
	return X86_DONE;
}

X86_HANDLER(retf, do_retf);
X86_HANDLER(iret, do_iret);

/* ---- fast system calls ---- */

/* The fixed segments that these instructions load without reading a descriptor. */
static void flat_code(struct x86_cpu *c, u16 sel, u32 cpl, bool is64)
{
	c->seg[X86_SEG_CS] = (struct x86_segment){
		.sel = sel,
		.limit = 0xffffffff,
		.attr = X86_SEG_P | X86_SEG_S | X86_TYPE_CODE | X86_TYPE_RW | X86_TYPE_ACCESSED | X86_SEG_G |
			(cpl << 5) | (is64 ? X86_SEG_L : X86_SEG_DB),
	};
}

static void flat_stack(struct x86_cpu *c, u16 sel, u32 cpl)
{
	c->seg[X86_SEG_SS] = (struct x86_segment){
		.sel = sel,
		.limit = 0xffffffff,
		.attr = X86_SEG_P | X86_SEG_S | X86_TYPE_RW | X86_TYPE_ACCESSED | X86_SEG_G | X86_SEG_DB |
			(cpl << 5),
	};
}

static int do_syscall(struct x86_cpu *c, const struct x86_insn *i)
{
	u16 sel = c->star >> 32;

	/* Intel knows it in 64-bit mode only; AMD in protected mode too. */
	if (!(c->efer & X86_EFER_SCE) || !x86_protected(c) || x86_vm86(c) ||
	    (c->vendor == X86_VENDOR_INTEL && c->mode != X86_MODE_64))
		return x86_raise(c, X86_UD);
	if (x86_long_mode(c)) {
		u64 target = c->mode == X86_MODE_64 ? c->lstar : c->cstar;

		c->regs[X86_RCX] = c_rip(c);
		c->regs[X86_R11] = c->rflags & ~(u64)X86_RFLAGS_RF;
		flat_code(c, sel & 0xfffc, 0, true);
		c_rip(c) = target;
		c->rflags &= ~(c->sfmask | X86_RFLAGS_RF);
		c->rflags |= X86_RFLAGS_FIXED;
	} else {
		c->regs[X86_RCX] = (u32)c_rip(c);
		flat_code(c, sel & 0xfffc, 0, false);
		c_rip(c) = (u32)c->star;
		c->rflags &= ~(u64)(X86_RFLAGS_VM | X86_RFLAGS_IF | X86_RFLAGS_RF);
	}
	flat_stack(c, (sel & 0xfffc) + 8, 0);
	x86_update_mode(c);
	c->no_trap = !(c->rflags & X86_RFLAGS_TF);	/* a step is taken by the TF that SFMASK left */
	return X86_DONE;
}

static int do_sysret(struct x86_cpu *c, const struct x86_insn *i)
{
	u16 sel = c->star >> 48;
	bool step;

	if (!(c->efer & X86_EFER_SCE) || !x86_protected(c) || x86_vm86(c) ||
	    (c->vendor == X86_VENDOR_INTEL && c->mode != X86_MODE_64))
		return x86_raise(c, X86_UD);
	if (c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	/* A step is taken by the TF that it loads, before the first instruction at level 3. */
	step = x86_long_mode(c) && (c->regs[X86_R11] & X86_RFLAGS_TF);
	if (step && !c->careful)
		return X86_CAREFUL;
	if (c->mode == X86_MODE_64 && i->opsize == 8) {
		/* Intel faults here, at level 0; AMD at the fetch, at level 3. */
		if (c->vendor == X86_VENDOR_INTEL && !x86_canonical(c->regs[X86_RCX]))
			return x86_raise_err(c, X86_GP, 0);
		flat_code(c, (sel + 16) | 3, 3, true);
		c_rip(c) = c->regs[X86_RCX];
	} else {
		flat_code(c, sel | 3, 3, false);
		c_rip(c) = (u32)c->regs[X86_RCX];
	}
	flat_stack(c, (sel + 8) | 3, 3);
	x86_update_mode(c);
	if (x86_long_mode(c))
		x86_set_rflags(c, c->regs[X86_R11] & ~(u64)(X86_RFLAGS_RF | X86_RFLAGS_VM));
	else
		x86_set_rflags(c, c->rflags | X86_RFLAGS_IF);
	c->no_trap = x86_long_mode(c);
	if (step)
		c->debug.hit |= X86_DR6_BS;
	return X86_DONE;
}

static int do_sysenter(struct x86_cpu *c, const struct x86_insn *i)
{
	u16 sel = c->sysenter_cs & 0xfffc;
	bool is64 = x86_long_mode(c);

	if (c->vendor == X86_VENDOR_AMD && is64)
		return x86_raise(c, X86_UD);
	if (!x86_protected(c) || !sel)
		return x86_raise_err(c, X86_GP, 0);
	c->rflags &= ~(u64)(X86_RFLAGS_VM | X86_RFLAGS_IF | X86_RFLAGS_RF);
	flat_code(c, sel, 0, is64);
	flat_stack(c, sel + 8, 0);
	c->regs[X86_RSP] = is64 ? c->sysenter_esp : (u32)c->sysenter_esp;
	c_rip(c) = is64 ? c->sysenter_eip : (u32)c->sysenter_eip;
	x86_update_mode(c);
	return X86_DONE;
}

static int do_sysexit(struct x86_cpu *c, const struct x86_insn *i)
{
	u16 sel = c->sysenter_cs & 0xfffc;
	bool to64 = c->mode == X86_MODE_64 && i->opsize == 8;

	if (c->vendor == X86_VENDOR_AMD && x86_long_mode(c))
		return x86_raise(c, X86_UD);
	if (!x86_protected(c) || !sel || c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	if (to64 && (!x86_canonical(c->regs[X86_RCX]) || !x86_canonical(c->regs[X86_RDX])))
		return x86_raise_err(c, X86_GP, 0);
	flat_code(c, (sel + (to64 ? 32 : 16)) | 3, 3, to64);
	flat_stack(c, (sel + (to64 ? 40 : 24)) | 3, 3);
	c->regs[X86_RSP] = to64 ? c->regs[X86_RCX] : (u32)c->regs[X86_RCX];
	c_rip(c) = to64 ? c->regs[X86_RDX] : (u32)c->regs[X86_RDX];
	x86_update_mode(c);
	return X86_DONE;
}

X86_HANDLER(syscall, do_syscall);
X86_HANDLER(sysret, do_sysret);
X86_HANDLER(sysenter, do_sysenter);
X86_HANDLER(sysexit, do_sysexit);
