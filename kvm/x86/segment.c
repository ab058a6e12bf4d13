/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Segments: loading them from descriptors with the checks of the SDM (volume 3, 3 and 5), stacks
 * addressed through them, and the summary that the rest of the processor runs by: x86_update_mode
 * condenses CS, SS, CR0, EFER and RFLAGS into the privilege level, the code size and one bit a
 * segment that says whether an access through it has anything to check.
 *
 * The privilege level is SS's DPL, as on the processors: CS of a conforming segment does not tell.
 * So every path that changes the level loads SS with the new level's DPL, the null SS of 64-bit
 * mode too.
 */
#include "kvm/x86/descriptor.h"
#include "kvm/x86/xstate.h"

/* Flat for the purposes of x86_lin: every offset may be read and written. */
#define FLAT_MASK	(X86_SEG_S | X86_SEG_P | X86_TYPE_CODE | X86_TYPE_DOWN | X86_TYPE_RW | X86_SEG_UNUSABLE)
#define FLAT_VALUE	(X86_SEG_S | X86_SEG_P | X86_TYPE_RW)

static bool needs_check(const struct x86_cpu *c, const struct x86_segment *s)
{
	if (c->mode == X86_MODE_64)
		return false;
	return s->limit != 0xffffffff || (s->attr & FLAT_MASK) != FLAT_VALUE;
}

static void update_check(struct x86_cpu *c, int seg)
{
	if (needs_check(c, &c->seg[seg]))
		c->seg_check |= BIT(seg);
	else
		c->seg_check &= ~BIT(seg);
}

void x86_update_mode(struct x86_cpu *c)
{
	u32 cs = c->seg[X86_SEG_CS].attr;

	if (!x86_protected(c))
		c->cpl = 0;
	else if (x86_vm86(c))
		c->cpl = 3;
	else
		c->cpl = X86_SEG_DPL(c->seg[X86_SEG_SS].attr);

	c->lin_mask = 0xffffffff;
	if (x86_long_mode(c) && (cs & X86_SEG_L)) {
		c->mode = X86_MODE_64;
		c->lin_mask = ~0ull;
		c->seg_check = 0;
	} else {
		c->mode = cs & X86_SEG_DB ? X86_MODE_32 : X86_MODE_16;
		for (int s = X86_SEG_ES; s <= X86_SEG_GS; s++)
			update_check(c, s);
	}
	x86_mmu_access_mode(c);
	x86_fpu_update_mode(c);
}

int x86_fetch_desc(struct x86_cpu *c, u16 sel, u8 vector, u32 ext, struct x86_desc *d)
{
	const struct x86_segment *ldt = &c->seg[X86_SEG_LDTR];
	u32 index = sel & ~7u;
	u64 base = c->gdt.base;
	u32 limit = c->gdt.limit;

	if (sel & X86_SEL_TI) {
		base = ldt->base;
		limit = ldt->limit;
		if (ldt->attr & X86_SEG_UNUSABLE)
			return x86_raise_err(c, vector, (sel & ~3u) | ext);
	}
	if (index + 7 > limit)
		return x86_raise_err(c, vector, (sel & ~3u) | ext);
	d->lin = (base + index) & x86_sys_mask(c);
	d->high = 0;
	return x86_read_sys(c, d->lin, &d->raw, 8);
}

int x86_fetch_desc_high(struct x86_cpu *c, u16 sel, u8 vector, u32 ext, struct x86_desc *d)
{
	u32 limit = sel & X86_SEL_TI ? c->seg[X86_SEG_LDTR].limit : c->gdt.limit;
	int r;

	if (!x86_long_mode(c))
		return X86_OK;
	if ((sel & ~7u) + 15 > limit)
		return x86_raise_err(c, vector, (sel & ~3u) | ext);
	r = x86_read_sys(c, d->lin + 8, &d->high, 8);
	if (r)
		return r;
	/* The type field of the second half must be 0: no descriptor begins there. */
	if (d->high & (0x1full << 40))
		return x86_raise_err(c, vector, (sel & ~3u) | ext);
	return X86_OK;
}

int x86_desc_mark_accessed(struct x86_cpu *c, struct x86_desc *d)
{
	if (d->raw & ((u64)X86_TYPE_ACCESSED << 40))
		return X86_OK;
	d->raw |= (u64)X86_TYPE_ACCESSED << 40;
	return x86_or_sys(c, d->lin + 5, X86_TYPE_ACCESSED, false);
}

void x86_desc_to_segment(const struct x86_desc *d, u16 sel, struct x86_segment *s)
{
	u64 raw = d->raw;
	u32 limit = (raw & 0xffff) | ((raw >> 32) & 0xf0000);

	s->sel = sel;
	s->attr = x86_desc_attr(d);
	s->limit = s->attr & X86_SEG_G ? (limit << 12) | 0xfff : limit;
	s->base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000);
	if (!(s->attr & X86_SEG_S))
		s->base |= d->high << 32;
}

void x86_null_segment(struct x86_segment *s, u16 sel, u32 dpl)
{
	*s = (struct x86_segment){ .sel = sel, .attr = X86_SEG_UNUSABLE | (dpl << 5) };
}

void x86_real_segment(struct x86_cpu *c, int seg, u16 sel)
{
	struct x86_segment *s = &c->seg[seg];

	s->sel = sel;
	s->base = (u32)sel << 4;
	if (x86_vm86(c) && x86_protected(c)) {
		s->limit = 0xffff;
		s->attr = X86_SEG_P | X86_SEG_S | (3 << 5) | X86_TYPE_RW | X86_TYPE_ACCESSED;
	} else if (s->attr & X86_SEG_UNUSABLE) {
		/* Limit and rights stay as they were ("unreal mode"), but not those of no segment. */
		s->limit = 0xffff;
		s->attr = X86_SEG_P | X86_SEG_S | X86_TYPE_RW | X86_TYPE_ACCESSED;
	}
	update_check(c, seg);
}

bool x86_limit_ok(const struct x86_segment *s, u64 off, u32 size)
{
	u64 last = off + size - 1;

	if ((s->attr & (X86_SEG_S | X86_TYPE_CODE | X86_TYPE_DOWN)) == (X86_SEG_S | X86_TYPE_DOWN))
		return off > s->limit && last <= (s->attr & X86_SEG_DB ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

bool x86_rip_ok(const struct x86_cpu *c, const struct x86_segment *cs, u64 rip)
{
	if (x86_long_mode(c) && (cs->attr & X86_SEG_L))
		return x86_canonical(rip);
	return rip <= cs->limit;
}

/* Finishes a load of a checked descriptor. */
static int load_checked(struct x86_cpu *c, int seg, u16 sel, struct x86_desc *d)
{
	int r = x86_desc_mark_accessed(c, d);

	if (r)
		return r;
	x86_desc_to_segment(d, sel, &c->seg[seg]);
	update_check(c, seg);
	return X86_OK;
}

static int load_ss(struct x86_cpu *c, u16 sel)
{
	struct x86_desc d;
	u32 attr;
	int r;

	if (X86_SEL_NULL(sel)) {
		if (c->mode != X86_MODE_64 || c->cpl == 3 || X86_SEL_RPL(sel) != c->cpl)
			return x86_raise_err(c, X86_GP, 0);
		x86_null_segment(&c->seg[X86_SEG_SS], sel, c->cpl);
		return X86_OK;
	}
	r = x86_fetch_desc(c, sel, X86_GP, 0, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	if (X86_SEL_RPL(sel) != c->cpl || X86_SEG_DPL(attr) != c->cpl || !x86_attr_writable_data(attr))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_SS, sel & ~3u);
	return load_checked(c, X86_SEG_SS, sel, &d);
}

int x86_load_segment(struct x86_cpu *c, int seg, u16 sel)
{
	struct x86_desc d;
	u32 attr;
	int r;

	if (!x86_protected(c) || x86_vm86(c)) {
		x86_real_segment(c, seg, sel);
		return X86_OK;
	}
	if (seg == X86_SEG_SS)
		return load_ss(c, sel);
	if (X86_SEL_NULL(sel)) {
		x86_null_segment(&c->seg[seg], sel, 0);
		update_check(c, seg);
		return X86_OK;
	}
	r = x86_fetch_desc(c, sel, X86_GP, 0, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	if (!(attr & X86_SEG_S) || (attr & (X86_TYPE_CODE | X86_TYPE_RW)) == X86_TYPE_CODE)
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(x86_attr_code(attr) && x86_attr_conforming(attr)) &&
	    max((u32)X86_SEL_RPL(sel), c->cpl) > X86_SEG_DPL(attr))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, sel & ~3u);
	return load_checked(c, seg, sel, &d);
}

void x86_drop_inner_segments(struct x86_cpu *c)
{
	static const u8 segs[] = { X86_SEG_ES, X86_SEG_DS, X86_SEG_FS, X86_SEG_GS };

	for (u32 n = 0; n < ARRAY_SIZE(segs); n++) {
		struct x86_segment *s = &c->seg[segs[n]];

		if (s->attr & X86_SEG_UNUSABLE) {
			/* A null selector of an inner level does not keep its RPL. */
			s->sel = 0;
			continue;
		}
		if (x86_attr_code(s->attr) && x86_attr_conforming(s->attr))
			continue;
		/* Unlike the load of a null selector, this leaves the base, which 64-bit code's GS goes on with. */
		if (X86_SEG_DPL(s->attr) < c->cpl) {
			s->sel = 0;
			s->attr = X86_SEG_UNUSABLE;
		}
		update_check(c, segs[n]);
	}
}

/* ---- stacks ---- */

void x86_stack_current(struct x86_cpu *c, struct x86_stack *st)
{
	st->ss = c->seg[X86_SEG_SS];
	st->sp = c->regs[X86_RSP];
	st->mask = x86_stack_mask(c);
	st->flat = c->mode == X86_MODE_64;
	st->sys = false;
	st->error = 0;
}

static int stack_lin(struct x86_cpu *c, struct x86_stack *st, u64 off, u32 size, u64 *lin)
{
	if (st->flat) {
		if (!x86_canonical(off))
			return x86_raise_err(c, X86_SS, st->error);
		*lin = off;
		return X86_OK;
	}
	if ((st->ss.attr & X86_SEG_UNUSABLE) || !x86_limit_ok(&st->ss, off, size))
		return x86_raise_err(c, X86_SS, st->error);
	*lin = (u32)(st->ss.base + off);
	return X86_OK;
}

int x86_stack_push(struct x86_cpu *c, struct x86_stack *st, u64 val, u32 size)
{
	u64 sp = (st->sp - size) & st->mask, lin;
	int r = stack_lin(c, st, sp, size, &lin);

	if (!r)
		r = st->sys ? x86_write_sys(c, lin, &val, size) : x86_write_buf(c, lin, &val, size);
	if (!r)
		st->sp = sp;
	return r;
}

int x86_stack_pop(struct x86_cpu *c, struct x86_stack *st, u64 *val, u32 size)
{
	u64 sp = st->sp & st->mask, lin;
	int r = stack_lin(c, st, sp, size, &lin);

	*val = 0;
	if (!r)
		r = st->sys ? x86_read_sys(c, lin, val, size) : x86_read_buf(c, lin, val, size);
	if (!r)
		st->sp = (sp + size) & st->mask;
	return r;
}

void x86_stack_commit_sp(struct x86_cpu *c, const struct x86_stack *st, u64 old)
{
	u64 keep = st->mask == 0xffff ? old & ~0xffffull : 0;

	c->regs[X86_RSP] = (st->sp & st->mask) | keep;
}

int x86_tss_rsp(struct x86_cpu *c, u32 dpl, u32 ist, u32 ext, u64 *rsp)
{
	const struct x86_segment *tr = &c->seg[X86_SEG_TR];
	u32 off = ist ? 28 + ist * 8 : 4 + dpl * 8;
	int r;

	if (off + 7 > tr->limit)
		return x86_raise_err(c, X86_TS, (tr->sel & ~3u) | ext);
	r = x86_read_sys(c, tr->base + off, rsp, 8);
	if (r)
		return r;
	return x86_canonical(*rsp) ? X86_OK : x86_raise_err(c, X86_SS, ext);
}

int x86_stack_inner(struct x86_cpu *c, u32 dpl, u32 ext, struct x86_stack *st)
{
	const struct x86_segment *tr = &c->seg[X86_SEG_TR];
	bool tss32 = tr->attr & 8;
	u32 word = tss32 ? 4 : 2;
	u32 off = word + dpl * word * 2;
	u64 base = tr->base, frame = 0;
	struct x86_desc d;
	u32 attr;
	u16 sel;
	int r;

	/* SP (2 or 4 bytes), then SS */
	if ((tr->attr & X86_SEG_UNUSABLE) || off + word + 1 > tr->limit)
		return x86_raise_err(c, X86_TS, (tr->sel & ~3u) | ext);
	r = x86_read_sys(c, (base + off) & x86_sys_mask(c), &frame, word + 2);
	if (r)
		return r;
	sel = frame >> (word * 8);
	if (X86_SEL_NULL(sel))
		return x86_raise_err(c, X86_TS, ext);
	r = x86_fetch_desc(c, sel, X86_TS, ext, &d);
	if (r)
		return r;
	attr = x86_desc_attr(&d);
	if (X86_SEL_RPL(sel) != dpl || X86_SEG_DPL(attr) != dpl || !x86_attr_writable_data(attr))
		return x86_raise_err(c, X86_TS, (sel & ~3u) | ext);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_SS, (sel & ~3u) | ext);
	r = x86_desc_mark_accessed(c, &d);
	if (r)
		return r;
	x86_desc_to_segment(&d, sel, &st->ss);
	st->sp = tss32 ? (u32)frame : (u16)frame;
	st->mask = attr & X86_SEG_DB ? 0xffffffff : 0xffff;
	st->flat = false;
	st->sys = true;
	st->error = (sel & ~3u) | ext;
	return X86_OK;
}
