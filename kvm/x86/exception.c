/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts and exceptions: through the vector table of real mode, the gates of protected and long
 * mode, task gates, and virtual-8086 mode's redirection (SDM volume 3, 6, 20; APM volume 2, 8).
 *
 * A delivery changes no register before its last access that can fail, so that a fault on the way
 * finds the state of the event before it. Whether that fault is delivered instead, or becomes a
 * double fault or a shutdown, is decided in one loop in deliver().
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"

struct event {
	struct x86_fault fault;
	u32 ext;		/* EXT of error codes that the delivery raises: not the program's own doing */
	bool check_dpl;		/* INT n, INT3, INTO: the gate's DPL counts */
	bool redirect;		/* INT n: VME may redirect it */
	u64 flags;		/* image to push */
};

static u32 gate_error(const struct event *ev)
{
	return ev->fault.vector * 8 + 2 + ev->ext;
}

/* What every way into a handler does to RFLAGS. */
#define CLEARED_FLAGS	(X86_RFLAGS_TF | X86_RFLAGS_RF | X86_RFLAGS_NT | X86_RFLAGS_VM)

static int push_real_frame(struct x86_cpu *c, struct x86_stack *st, u64 flags)
{
	int r = x86_stack_push(c, st, flags, 2);

	if (!r)
		r = x86_stack_push(c, st, c->seg[X86_SEG_CS].sel, 2);
	if (!r)
		r = x86_stack_push(c, st, c_rip(c), 2);
	return r;
}

static int deliver_real(struct x86_cpu *c, const struct event *ev)
{
	u32 vector = ev->fault.vector, entry;
	struct x86_stack st;
	int r;

	if (vector * 4 + 3 > c->idt.limit)
		return x86_raise_err(c, X86_GP, gate_error(ev));
	r = x86_read_sys(c, (u32)(c->idt.base + vector * 4), &entry, 4);
	if (r)
		return r;
	x86_stack_current(c, &st);
	r = push_real_frame(c, &st, ev->flags);
	if (r)
		return r;
	x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
	x86_real_segment(c, X86_SEG_CS, entry >> 16);
	c_rip(c) = entry & 0xffff;
	c->rflags &= ~(u64)(X86_RFLAGS_TF | X86_RFLAGS_RF | X86_RFLAGS_IF | X86_RFLAGS_AC);
	x86_update_mode(c);
	return X86_OK;
}

/*
 * INT n in virtual-8086 mode under CR4.VME: a clear bit in the TSS's redirection map sends it to the 8086
 * program's own handler, in *done. SDM volume 3, 20.3.3.
 */
static int redirect_vm86(struct x86_cpu *c, const struct event *ev, bool *done)
{
	const struct x86_segment *tr = &c->seg[X86_SEG_TR];
	u32 vector = ev->fault.vector, entry;
	u64 flags = ev->flags;
	struct x86_stack st;
	u32 iopl = x86_iopl(c);
	u16 iomap;
	u8 map;
	int r;

	*done = false;
	if (!(c->cr4 & X86_CR4_VME))
		return iopl < 3 ? x86_raise_err(c, X86_GP, 0) : X86_OK;
	if (!(tr->attr & 8) || tr->limit < 0x67)
		return x86_raise_err(c, X86_GP, 0);
	r = x86_read_sys(c, (u32)(tr->base + 0x66), &iomap, 2);
	if (r)
		return r;
	if (iomap < 32 || iomap - 32 + vector / 8 > tr->limit)
		return x86_raise_err(c, X86_GP, 0);
	r = x86_read_sys(c, (u32)(tr->base + iomap - 32 + vector / 8), &map, 1);
	if (r)
		return r;
	if (map & BIT(vector % 8))
		return iopl < 3 ? x86_raise_err(c, X86_GP, 0) : X86_OK;

	r = x86_read_buf(c, vector * 4, &entry, 4);
	if (r)
		return r;
	if (iopl < 3) {
		flags = (flags & ~(u64)X86_RFLAGS_IF) | X86_RFLAGS_IOPL;
		if (flags & X86_RFLAGS_VIF)
			flags |= X86_RFLAGS_IF;
	}
	x86_stack_current(c, &st);
	r = push_real_frame(c, &st, flags);
	if (r)
		return r;
	x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
	x86_real_segment(c, X86_SEG_CS, entry >> 16);
	c_rip(c) = entry & 0xffff;
	c->rflags &= ~(u64)(X86_RFLAGS_TF | X86_RFLAGS_RF | X86_RFLAGS_NT |
			    (iopl < 3 ? X86_RFLAGS_VIF : X86_RFLAGS_IF));
	x86_update_mode(c);
	*done = true;
	return X86_OK;
}

/* The handler's code segment, from a gate's selector. */
static int handler_code(struct x86_cpu *c, const struct event *ev, u16 sel, struct x86_desc *d)
{
	u32 attr;
	int r;

	if (X86_SEL_NULL(sel))
		return x86_raise_err(c, X86_GP, ev->ext);
	r = x86_fetch_desc(c, sel, X86_GP, ev->ext, d);
	if (r)
		return r;
	attr = x86_desc_attr(d);
	if (!x86_attr_code(attr) || X86_SEG_DPL(attr) > c->cpl ||
	    (x86_long_mode(c) && (attr & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L))
		return x86_raise_err(c, X86_GP, (sel & ~3u) | ev->ext);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, (sel & ~3u) | ev->ext);
	return X86_OK;
}

/* Type, DPL and presence of the gate: type 5 is a task gate; bit 0 of the others: trap gate. */
static int check_gate(struct x86_cpu *c, const struct event *ev, u32 attr)
{
	u32 type = attr & X86_SEG_TYPE;
	bool known;

	if (x86_long_mode(c))
		known = type == X86_DESC_INT || type == X86_DESC_TRAP;
	else
		known = type == X86_DESC_TASK_GATE || type == X86_DESC_INT16 || type == X86_DESC_TRAP16 ||
			type == X86_DESC_INT || type == X86_DESC_TRAP;
	if ((attr & X86_SEG_S) || !known)
		return x86_raise_err(c, X86_GP, gate_error(ev));
	if (ev->check_dpl && X86_SEG_DPL(attr) < c->cpl)
		return x86_raise_err(c, X86_GP, gate_error(ev));
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, gate_error(ev));
	return X86_OK;
}

/* Enters the handler: all checks are done and the frame is written. */
static void enter_handler(struct x86_cpu *c, const struct x86_segment *cs, u32 cpl, u64 rip,
			  bool interrupt_gate)
{
	c->seg[X86_SEG_CS] = *cs;
	c->seg[X86_SEG_CS].sel = (cs->sel & ~3u) | cpl;
	c_rip(c) = rip;
	c->rflags &= ~(u64)CLEARED_FLAGS;
	if (interrupt_gate)
		c->rflags &= ~(u64)X86_RFLAGS_IF;
	x86_update_mode(c);
}

static int deliver_long(struct x86_cpu *c, const struct event *ev)
{
	u32 off = ev->fault.vector * 16, attr, ist, cpl = c->cpl, n = 0;
	struct x86_desc gate = { 0 }, code;
	struct x86_segment cs;
	bool inner;
	u64 frame[6], rsp, rip;
	int r;

	if (off + 15 > c->idt.limit)
		return x86_raise_err(c, X86_GP, gate_error(ev));
	r = x86_read_sys(c, c->idt.base + off, &gate, 16);	/* raw, high */
	if (r)
		return r;
	attr = x86_desc_attr(&gate);
	r = check_gate(c, ev, attr);
	if (!r)
		r = handler_code(c, ev, x86_gate_sel(&gate), &code);
	if (r)
		return r;
	x86_desc_to_segment(&code, x86_gate_sel(&gate), &cs);
	if (!x86_attr_conforming(cs.attr))
		cpl = X86_SEG_DPL(cs.attr);
	inner = cpl < c->cpl;

	ist = (gate.raw >> 32) & 7;
	rsp = c->regs[X86_RSP];
	if (inner || ist) {
		r = x86_tss_rsp(c, cpl, ist, ev->ext, &rsp);
		if (r)
			return r;
	}
	rip = x86_gate_offset(&gate) | gate.high << 32;
	if (!x86_canonical(rip))
		return x86_raise_err(c, X86_GP, ev->ext);

	if (ev->fault.has_error)
		frame[n++] = ev->fault.error;
	frame[n++] = c_rip(c);
	frame[n++] = c->seg[X86_SEG_CS].sel;
	frame[n++] = ev->flags;
	frame[n++] = c->regs[X86_RSP];
	frame[n++] = c->seg[X86_SEG_SS].sel;
	rsp = (rsp & ~15ull) - n * 8;
	if (!x86_canonical(rsp) || !x86_canonical(rsp + n * 8 - 1))
		return x86_raise_err(c, X86_SS, ev->ext);
	if (cpl < 3 && c->cpl == 3)
		r = x86_write_sys(c, rsp, frame, n * 8);
	else
		r = x86_write_buf(c, rsp, frame, n * 8);
	if (!r)
		r = x86_desc_mark_accessed(c, &code);
	if (r)
		return r;

	cs.attr |= X86_TYPE_ACCESSED;
	c->regs[X86_RSP] = rsp;
	if (inner)
		x86_null_segment(&c->seg[X86_SEG_SS], cpl, cpl);
	enter_handler(c, &cs, cpl, rip, !(attr & 1));
	return X86_OK;
}

/* Writes the frame of a 16- or 32-bit gate. */
static int push_frame(struct x86_cpu *c, const struct event *ev, struct x86_stack *st, u32 size,
		      bool inner)
{
	static const u8 vm86_segs[] = { X86_SEG_GS, X86_SEG_FS, X86_SEG_DS, X86_SEG_ES };
	int r = X86_OK;

	if (x86_vm86(c))
		for (u32 n = 0; n < ARRAY_SIZE(vm86_segs) && !r; n++)
			r = x86_stack_push(c, st, c->seg[vm86_segs[n]].sel, size);
	if (inner && !r)
		r = x86_stack_push(c, st, c->seg[X86_SEG_SS].sel, size);
	if (inner && !r)
		r = x86_stack_push(c, st, c->regs[X86_RSP], size);
	if (!r)
		r = x86_stack_push(c, st, ev->flags, size);
	if (!r)
		r = x86_stack_push(c, st, c->seg[X86_SEG_CS].sel, size);
	if (!r)
		r = x86_stack_push(c, st, c_rip(c), size);
	if (ev->fault.has_error && !r)
		r = x86_stack_push(c, st, ev->fault.error, size);
	return r;
}

static int deliver_task(struct x86_cpu *c, const struct event *ev, u16 sel, bool *committed)
{
	u32 error = ev->fault.error;

	return x86_task_switch(c, sel, X86_TASK_GATE, ev->ext, ev->fault.has_error ? &error : NULL,
			       committed);
}

static int deliver_protected(struct x86_cpu *c, const struct event *ev, bool *committed)
{
	u32 off = ev->fault.vector * 8, attr, cpl = c->cpl, size;
	struct x86_desc gate = { 0 }, code;
	struct x86_segment cs;
	struct x86_stack st;
	bool inner, was_vm86 = x86_vm86(c);
	u64 rip;
	int r;

	if (off + 7 > c->idt.limit)
		return x86_raise_err(c, X86_GP, gate_error(ev));
	r = x86_read_sys(c, (u32)(c->idt.base + off), &gate.raw, 8);
	if (r)
		return r;
	attr = x86_desc_attr(&gate);
	r = check_gate(c, ev, attr);
	if (r)
		return r;
	if ((attr & X86_SEG_TYPE) == X86_DESC_TASK_GATE)
		return deliver_task(c, ev, x86_gate_sel(&gate), committed);

	r = handler_code(c, ev, x86_gate_sel(&gate), &code);
	if (r)
		return r;
	x86_desc_to_segment(&code, x86_gate_sel(&gate), &cs);
	if (!x86_attr_conforming(cs.attr))
		cpl = X86_SEG_DPL(cs.attr);
	inner = cpl < c->cpl;
	if (was_vm86 && cpl != 0)	/* conforming ones stay at 3 */
		return x86_raise_err(c, X86_GP, (cs.sel & ~3u) | ev->ext);

	if (inner) {
		r = x86_stack_inner(c, cpl, ev->ext, &st);
		if (r)
			return r;
	} else {
		x86_stack_current(c, &st);
		st.error = ev->ext;
	}
	size = attr & 8 ? 4 : 2;
	rip = attr & 8 ? x86_gate_offset(&gate) : x86_gate_offset(&gate) & 0xffff;
	if (rip > cs.limit)
		return x86_raise_err(c, X86_GP, ev->ext);
	r = push_frame(c, ev, &st, size, inner);
	if (!r)
		r = x86_desc_mark_accessed(c, &code);
	if (r)
		return r;

	cs.attr |= X86_TYPE_ACCESSED;
	x86_stack_commit_sp(c, &st, inner ? 0 : c->regs[X86_RSP]);
	if (inner)
		c->seg[X86_SEG_SS] = st.ss;
	if (was_vm86) {
		x86_null_segment(&c->seg[X86_SEG_ES], 0, 0);
		x86_null_segment(&c->seg[X86_SEG_DS], 0, 0);
		x86_null_segment(&c->seg[X86_SEG_FS], 0, 0);
		x86_null_segment(&c->seg[X86_SEG_GS], 0, 0);
	}
	enter_handler(c, &cs, cpl, rip, !(attr & 1));
	return X86_OK;
}

static int deliver_one(struct x86_cpu *c, const struct event *ev, bool *committed)
{
	bool done = false;
	int r;

	if (!x86_protected(c))
		return deliver_real(c, ev);
	if (x86_long_mode(c))
		return deliver_long(c, ev);
	if (x86_vm86(c) && ev->redirect) {
		r = redirect_vm86(c, ev, &done);
		if (r || done)
			return r;
	}
	return deliver_protected(c, ev, committed);
}

/* ---- what a fault during a delivery becomes (SDM volume 3, table 6-5) ---- */

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class classify(u8 vector)
{
	switch (vector) {
	case X86_DE:
	case X86_TS:
	case X86_NP:
	case X86_SS:
	case X86_GP:
	case 21:	/* #CP */
		return CONTRIBUTORY;
	case X86_PF:
	case 20:	/* #VE */
		return PAGE_FAULT;
	case X86_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

static bool makes_double(enum fault_class first, enum fault_class second)
{
	if (second != CONTRIBUTORY && second != PAGE_FAULT)
		return false;
	return first == PAGE_FAULT || (first == CONTRIBUTORY && second == CONTRIBUTORY);
}

/* CR2 and DR6 as the exception leaves them for its handler. */
static void apply_payload(struct x86_cpu *c, const struct x86_fault *f)
{
	if (f->vector == X86_PF) {
		c->cr2 = f->payload;
	} else if (f->vector == X86_DB) {
		/* B0-B3 are this exception's; the others stay until software clears them. */
		c->dr6 = (c->dr6 & ~15ull) | X86_DR6_FIXED | (f->payload & X86_DR6_WRITABLE);
		c->dr7 &= ~(u64)X86_DR7_GD;
	}
}

/* Does the exception push RF set, so that its instruction's breakpoint does not hit twice? */
static bool pushes_rf(const struct x86_fault *f)
{
	switch (f->vector) {
	case X86_DB:
		return f->payload & X86_DR6_BD;
	case X86_NMI:
	case X86_BP:
	case X86_OF:
	case X86_DF:
	case X86_MC:
		return false;
	default:
		return true;
	}
}

static void fault_event(struct x86_cpu *c, struct event *ev, const struct x86_fault *f)
{
	*ev = (struct event){ .fault = *f, .ext = 1, .flags = c->rflags };
	if (pushes_rf(f))
		ev->flags |= X86_RFLAGS_RF;
	apply_payload(c, f);
}

static void show(const struct x86_cpu *c, const char *kind, const struct x86_fault *f)
{
	os_show("vcpu%u: %s %#x, error %#x, CR2 %#llx, at %04x:%016llx, stack %04x:%016llx, RFLAGS %#llx",
		c->vcpu->id, kind, f->vector, f->error, (unsigned long long)c->cr2, c->seg[X86_SEG_CS].sel,
		(unsigned long long)c_rip(c), c->seg[X86_SEG_SS].sel, (unsigned long long)c->regs[X86_RSP],
		(unsigned long long)c->rflags);
}

/* Delivers ev, and whatever its delivery raises. Each round is of a higher class or the last. */
static int deliver(struct x86_cpu *c, struct event *ev)
{
	bool careful = c->careful, committed;
	int r;

	/* Frames and tables that are not memory cannot be answered piecemeal. */
	c->careful = false;
	c->int_shadow = 0;
	for (;;) {
		enum fault_class first = classify(ev->fault.vector);

		committed = false;
		if (unlikely(c->show_events))
			show(c, "exception", &ev->fault);
		r = deliver_one(c, ev, &committed);
		if (r != X86_FAULT)
			break;
		if (first == DOUBLE_FAULT && classify(c->fault.vector) != BENIGN) {
			c->ev.triple_fault = c->ev.shutdown = true;
			r = X86_EXIT;
			break;
		}
		if (makes_double(first, classify(c->fault.vector))) {
			apply_payload(c, &c->fault);	/* CR2 is the second fault's */
			x86_raise_err(c, X86_DF, 0);
		}
		fault_event(c, ev, &c->fault);
	}
	c->careful = careful;
	if (r == X86_CAREFUL)
		return x86_internal_error(c, KVM_INTERNAL_ERROR_DELIVERY_EV);
	return r;
}

int x86_deliver_fault(struct x86_cpu *c)
{
	struct x86_fault f = c->fault;
	struct event ev;

	fault_event(c, &ev, &f);
	return deliver(c, &ev);
}

int x86_deliver_interrupt(struct x86_cpu *c, u8 vector)
{
	struct event ev = { .fault.vector = vector, .ext = 1, .flags = c->rflags };

	/* A vector below 32 is no exception here: it is benign whatever its number. */
	bool careful = c->careful, committed = false;
	int r;

	c->careful = false;
	c->int_shadow = 0;
	if (unlikely(c->show_events))
		show(c, "interrupt", &ev.fault);
	r = deliver_one(c, &ev, &committed);
	c->careful = careful;
	if (r == X86_CAREFUL)
		return x86_internal_error(c, KVM_INTERNAL_ERROR_DELIVERY_EV);
	return r == X86_FAULT ? x86_deliver_fault(c) : r;
}

int x86_software_interrupt(struct x86_cpu *c, u8 vector, int kind)
{
	struct event ev = {
		.fault.vector = vector,
		.ext = kind == X86_INT_1,
		.check_dpl = kind != X86_INT_1,
		.redirect = kind == X86_INT_N,
		.flags = c->rflags & ~(u64)X86_RFLAGS_RF,
	};
	bool committed = false;
	int r;

	if (unlikely(c->show_events))
		show(c, "INT", &ev.fault);
	r = deliver_one(c, &ev, &committed);

	if (r == X86_OK && kind == X86_INT_1 && c->debug.hit) {
		/* Breakpoints that MOV SS put off are this #DB's too, and not another one's behind it. */
		ev.fault.payload = c->debug.hit;
		apply_payload(c, &ev.fault);
		c->debug.hit = 0;
	}
	if (r == X86_OK) {
		c->no_trap = true;	/* TF was pushed with the flags: the step is the handler's caller's */
		return X86_DONE;
	}
	if (r == X86_FAULT && committed) {
		/* A task gate's new task has the fault, not this instruction. */
		x86_pend(c, &c->fault);
		return X86_DONE;
	}
	return r;
}
