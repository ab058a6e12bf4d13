/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hardware task switches, 16- and 32-bit (SDM volume 3, 7). Not in long mode.
 *
 * Up to the commit, a fault leaves the old task as it was. From the commit on the new task runs,
 * and a fault in loading its segments is its own.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"

#define TSS16_SIZE	44
#define TSS32_SIZE	104
#define TSS32_MIN_LIMIT	0x67
#define TSS16_MIN_LIMIT	0x2b

/* The dynamic part of a TSS as an array: order and places by format. */
struct tss_image {
	u32 link, cr3, eip, eflags;
	u32 regs[8];
	u16 seg[6];		/* ES CS SS DS FS GS */
	u16 ldt;
	bool trap;
};

static u32 get16(const u8 *p)
{
	u16 v;

	memcpy(&v, p, 2);
	return v;
}

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static void parse_tss(const u8 *raw, bool is32, struct tss_image *t)
{
	memset(t, 0, sizeof(*t));
	t->link = get16(raw);
	if (is32) {
		t->cr3 = get32(raw + 28);
		t->eip = get32(raw + 32);
		t->eflags = get32(raw + 36);
		for (int n = 0; n < 8; n++)
			t->regs[n] = get32(raw + 40 + n * 4);
		for (int n = 0; n < 6; n++)
			t->seg[n] = get16(raw + 72 + n * 4);
		t->ldt = get16(raw + 96);
		t->trap = raw[100] & 1;
	} else {
		t->eip = get16(raw + 14);
		t->eflags = get16(raw + 16);
		for (int n = 0; n < 8; n++)
			t->regs[n] = get16(raw + 18 + n * 2) | 0xffff0000;
		for (int n = 0; n < 4; n++)
			t->seg[n] = get16(raw + 34 + n * 2);
		t->ldt = get16(raw + 42);
	}
}

/* The running task's registers, into the dynamic fields of its TSS: EIP to GS, or IP to DS. */
static u32 save_image(const struct x86_cpu *c, bool is32, u64 flags, u8 *buf)
{
	u32 n = 0, val;
	u16 half;

	if (is32) {
		val = c_rip(c);
		memcpy(buf, &val, 4);
		val = flags;
		memcpy(buf + 4, &val, 4);
		for (n = 0; n < 8; n++) {
			val = c->regs[n];
			memcpy(buf + 8 + n * 4, &val, 4);
		}
		for (n = 0; n < 6; n++) {
			val = c->seg[n].sel;
			memcpy(buf + 40 + n * 4, &val, 4);
		}
		return 64;
	}
	half = c_rip(c);
	memcpy(buf, &half, 2);
	half = flags;
	memcpy(buf + 2, &half, 2);
	for (n = 0; n < 8; n++) {
		half = c->regs[n];
		memcpy(buf + 4 + n * 2, &half, 2);
	}
	for (n = 0; n < 4; n++)
		memcpy(buf + 20 + n * 2, &c->seg[n].sel, 2);
	return 28;
}

static int ts(struct x86_cpu *c, u16 sel, u32 ext)
{
	return x86_raise_err(c, X86_TS, (sel & ~3u) | ext);
}

static int load_ldt(struct x86_cpu *c, u16 sel, u32 ext)
{
	struct x86_desc d;
	int r;

	if (X86_SEL_NULL(sel))
		return X86_OK;
	if (sel & X86_SEL_TI)
		return ts(c, sel, ext);
	r = x86_fetch_desc(c, sel, X86_TS, ext, &d);
	if (r)
		return r;
	if ((x86_desc_attr(&d) & (X86_SEG_S | X86_SEG_TYPE | X86_SEG_P)) != (X86_DESC_LDT | X86_SEG_P))
		return ts(c, sel, ext);
	x86_desc_to_segment(&d, sel, &c->seg[X86_SEG_LDTR]);
	return X86_OK;
}

/* CS, SS and the data segments of the new task, whose selectors are in place but mark no segment yet. */
static int load_task_segment(struct x86_cpu *c, int seg, u32 ext)
{
	u32 cpl = X86_SEL_RPL(c->seg[X86_SEG_CS].sel), attr, dpl, rpl;
	u16 sel = c->seg[seg].sel;
	struct x86_desc d;
	bool ok;
	int r;

	rpl = X86_SEL_RPL(sel);
	if (X86_SEL_NULL(sel))
		return seg == X86_SEG_CS || seg == X86_SEG_SS ? ts(c, sel, ext) : X86_OK;
	r = x86_fetch_desc(c, sel, X86_TS, ext, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	dpl = X86_SEG_DPL(attr);
	switch (seg) {
	case X86_SEG_CS:
		ok = x86_attr_code(attr) && (x86_attr_conforming(attr) ? dpl <= rpl : dpl == rpl);
		break;
	case X86_SEG_SS:
		ok = x86_attr_writable_data(attr) && dpl == cpl && rpl == cpl;
		break;
	default:
		ok = (attr & X86_SEG_S) && (attr & (X86_TYPE_CODE | X86_TYPE_RW)) != X86_TYPE_CODE &&
		     ((x86_attr_code(attr) && x86_attr_conforming(attr)) || (dpl >= cpl && dpl >= rpl));
	}
	if (!ok)
		return ts(c, sel, ext);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, seg == X86_SEG_SS ? X86_SS : X86_NP, (sel & ~3u) | ext);
	r = x86_desc_mark_accessed(c, &d);
	if (r)
		return r;
	x86_desc_to_segment(&d, sel, &c->seg[seg]);
	return X86_OK;
}

/* Registers and selectors of the new task; no segment is usable yet. */
static void load_image(struct x86_cpu *c, const struct tss_image *t, u64 flags)
{
	bool vm86 = flags & X86_RFLAGS_VM;

	for (int n = 0; n < 8; n++)
		c->regs[n] = t->regs[n];
	c_rip(c) = t->eip;
	c->rflags = (flags & X86_RFLAGS_DEFINED) | X86_RFLAGS_FIXED;
	for (int s = X86_SEG_ES; s <= X86_SEG_GS; s++) {
		x86_null_segment(&c->seg[s], t->seg[s], X86_SEL_RPL(t->seg[X86_SEG_CS]));
		if (vm86)
			x86_real_segment(c, s, t->seg[s]);
	}
	x86_null_segment(&c->seg[X86_SEG_LDTR], t->ldt, 0);
	c->dr7 &= ~0x155ull;	/* local breakpoints are a task's own: L0-L3, LE */
}

static int load_segments(struct x86_cpu *c, const struct tss_image *t, u32 ext)
{
	static const u8 order[] = {
		X86_SEG_CS, X86_SEG_SS, X86_SEG_ES, X86_SEG_DS, X86_SEG_FS, X86_SEG_GS };
	int r = load_ldt(c, t->ldt, ext);

	if (c->rflags & X86_RFLAGS_VM)
		return r;
	for (u32 n = 0; n < ARRAY_SIZE(order) && !r; n++)
		r = load_task_segment(c, order[n], ext);
	if (!r && c_rip(c) > c->seg[X86_SEG_CS].limit)
		r = x86_raise_err(c, X86_GP, ext);
	return r;
}

/* The new TSS's descriptor, checked for `reason`. */
static int new_tss(struct x86_cpu *c, u16 sel, enum x86_task_reason reason, u32 ext,
		   struct x86_desc *d, struct x86_segment *tr)
{
	/* IRET finds a busy TSS, the others an available one; what IRET and gates find wrong is #TS. */
	bool busy = reason == X86_TASK_IRET;
	u8 vector = busy ? X86_TS : X86_GP;
	u32 attr;
	int r;

	if (X86_SEL_NULL(sel) || (sel & X86_SEL_TI))
		return x86_raise_err(c, vector, (sel & ~3u) | ext);
	r = x86_fetch_desc(c, sel, vector, ext, d);
	if (r)
		return r;
	attr = x86_desc_attr(d);
	if ((attr & (X86_SEG_S | 7)) != (busy ? X86_DESC_TSS16_BUSY : X86_DESC_TSS16))
		return x86_raise_err(c, vector, (sel & ~3u) | ext);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, (sel & ~3u) | ext);
	x86_desc_to_segment(d, sel, tr);
	if (tr->limit < (attr & 8 ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT))
		return ts(c, sel, ext);
	return X86_OK;
}

int x86_task_switch(struct x86_cpu *c, u16 sel, enum x86_task_reason reason, u32 ext,
		    const u32 *error, bool *committed)
{
	struct x86_segment old = c->seg[X86_SEG_TR], tr;
	bool old32 = old.attr & 8, new32, nested = reason == X86_TASK_CALL || reason == X86_TASK_GATE;
	u64 flags = c->rflags, new_flags, old_desc;
	u8 raw[TSS32_SIZE], image[64];
	struct tss_image t;
	struct x86_desc d;
	u32 n;
	int r = new_tss(c, sel, reason, ext, &d, &tr);

	*committed = false;
	if (r)
		return r;
	new32 = tr.attr & 8;
	old_desc = (c->gdt.base + (old.sel & ~7u) + 5) & x86_sys_mask(c);
	if ((old.attr & X86_SEG_UNUSABLE) || old.limit < (old32 ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT))
		return ts(c, old.sel, ext);

	r = x86_read_sys(c, (u32)tr.base, raw, new32 ? TSS32_SIZE : TSS16_SIZE);
	if (r)
		return r;
	parse_tss(raw, new32, &t);

	/* Save the old task; marks and links follow in memory order of the manual's steps 5 to 11. */
	if (reason == X86_TASK_IRET)
		flags &= ~(u64)X86_RFLAGS_NT;
	n = save_image(c, old32, flags, image);
	r = x86_write_sys(c, (u32)(old.base + (old32 ? 32 : 14)), image, n);
	if (!r && nested)
		r = x86_write_sys(c, (u32)tr.base, &old.sel, 2);
	if (!r && (reason == X86_TASK_JMP || reason == X86_TASK_IRET) && !X86_SEL_NULL(old.sel) &&
	    (u32)(old.sel & ~7u) + 7 <= c->gdt.limit)
		r = x86_or_sys(c, old_desc, X86_TSS_BUSY, true);
	if (!r && reason != X86_TASK_IRET)
		r = x86_or_sys(c, d.lin + 5, X86_TSS_BUSY, false);
	if (r)
		return r;

	/* The commit. */
	*committed = true;
	new_flags = t.eflags;
	if (nested)
		new_flags |= X86_RFLAGS_NT;
	tr.attr |= X86_TSS_BUSY;
	c->seg[X86_SEG_TR] = tr;
	c->cr0 |= X86_CR0_TS;
	load_image(c, &t, new_flags);
	x86_update_mode(c);
	if (new32 && (c->cr0 & X86_CR0_PG)) {
		r = x86_set_cr3(c, t.cr3);
		if (r)
			return r;
	}
	r = load_segments(c, &t, ext);
	x86_update_mode(c);
	if (r)
		return r;
	if (error) {
		struct x86_stack st;

		x86_stack_current(c, &st);
		st.error = ext;
		r = x86_stack_push(c, &st, *error, new32 ? 4 : 2);
		if (r)
			return r;
		x86_stack_commit_sp(c, &st, c->regs[X86_RSP]);
	}
	if (t.trap) {
		/* A trap after the switch, before the new task's first instruction. */
		struct x86_fault trap = { .vector = X86_DB, .payload = X86_DR6_BT };

		x86_pend(c, &trap);
	}
	return X86_OK;
}

int x86_task_transfer(struct x86_cpu *c, u16 sel, enum x86_task_reason reason)
{
	bool committed;
	int r = x86_task_switch(c, sel, reason, 0, NULL, &committed);

	if (r == X86_OK)
		return X86_DONE;
	if (r == X86_FAULT && committed) {
		x86_pend(c, &c->fault);
		return X86_DONE;
	}
	return r;
}
