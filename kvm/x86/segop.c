/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions on segment registers, descriptor tables and descriptors: MOV, PUSH, POP and far-pointer
 * loads of segment registers, LGDT to STR, LAR to ARPL, SWAPGS and the FS and GS bases.
 */
#include "kvm/x86/descriptor.h"
#include "kvm/x86/handlers_sys.h"

static int read_rm16(struct x86_cpu *c, const struct x86_insn *i, u16 *val)
{
	u64 v = c->regs[i->rm];
	int r = i->flags & X86_I_MEM ? x86_operand_read(c, i, 2, &v) : X86_OK;

	*val = v;
	return r;
}

/* A 16-bit system value: to memory as it is, to a register in the operand size. */
static int write_rm16(struct x86_cpu *c, const struct x86_insn *i, u64 val)
{
	if (i->flags & X86_I_MEM)
		return x86_operand_write(c, i, 2, val);
	x86_reg_set(c, i, i->rm, i->opsize, val);
	return X86_OK;
}

/* ---- segment registers ---- */

static int do_mov_from_seg(struct x86_cpu *c, const struct x86_insn *i)
{
	return write_rm16(c, i, c->seg[i->reg].sel);
}

static int do_mov_to_seg(struct x86_cpu *c, const struct x86_insn *i)
{
	u16 sel;
	int r;

	if (i->reg == X86_SEG_CS)
		return x86_raise(c, X86_UD);
	r = read_rm16(c, i, &sel);
	if (!r)
		r = x86_load_segment(c, i->reg, sel);
	if (r || i->reg != X86_SEG_SS)
		return r;
	c->int_shadow = X86_SHADOW_MOV_SS;
	return X86_DONE;
}

static int do_push_seg(struct x86_cpu *c, const struct x86_insn *i)
{
	return x86_push(c, i->opsize, c->seg[x86_op(i)->op[0].size].sel);
}

static int do_pop_seg(struct x86_cpu *c, const struct x86_insn *i)
{
	int seg = x86_op(i)->op[0].size;
	u64 sp = c->regs[X86_RSP], old = sp, val;
	int r = x86_pop_at(c, &sp, i->opsize, &val);

	if (r)
		return r;
	x86_set_sp(c, sp);	/* by the old SS's width */
	r = x86_load_segment(c, seg, val);
	if (r) {
		c->regs[X86_RSP] = old;
		return r;
	}
	if (seg != X86_SEG_SS)
		return X86_OK;
	c->int_shadow = X86_SHADOW_MOV_SS;
	return X86_DONE;
}

/* LES, LDS, LSS, LFS, LGS */
static int do_load_far(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 size = i->opsize == 8 && c->vendor == X86_VENDOR_AMD ? 4 : i->opsize;
	u64 lin, off = 0;
	u8 buf[10];
	u16 sel;
	int r = x86_operand_lin(c, i, size + 2, X86_READ, &lin);

	if (!r)
		r = x86_read_buf(c, lin, buf, size + 2);
	if (r)
		return r;
	memcpy(&off, buf, size);
	memcpy(&sel, buf + size, 2);
	r = x86_load_segment(c, x86_op(i)->op[1].size, sel);
	if (r)
		return r;
	x86_reg_set(c, i, i->reg, size, off);
	return X86_OK;
}

X86_HANDLER(mov_from_seg, do_mov_from_seg);
X86_HANDLER(mov_to_seg, do_mov_to_seg);
X86_HANDLER(push_seg, do_push_seg);
X86_HANDLER(pop_seg, do_pop_seg);
X86_HANDLER(load_far, do_load_far);

/* ---- descriptor tables ---- */

/* User-mode instruction prevention: the values of system registers are not the user's to see. */
static int check_umip(struct x86_cpu *c)
{
	if ((c->cr4 & X86_CR4_UMIP) && c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

static int store_table(struct x86_cpu *c, const struct x86_insn *i, const struct x86_table *t)
{
	u32 size = c->mode == X86_MODE_64 ? 10 : 6;
	u8 buf[10];
	u64 lin;
	int r = check_umip(c);

	if (!r)
		r = x86_operand_lin(c, i, size, X86_WRITE, &lin);
	if (r)
		return r;
	memcpy(buf, &t->limit, 2);
	memcpy(buf + 2, &t->base, 8);
	return x86_write_buf(c, lin, buf, size);
}

static int load_table(struct x86_cpu *c, const struct x86_insn *i, struct x86_table *t)
{
	u32 size = c->mode == X86_MODE_64 ? 10 : 6;
	struct x86_table new = { 0 };
	u8 buf[10];
	u64 lin;
	int r = x86_check_attr(c, i);

	if (!r)
		r = x86_operand_lin(c, i, size, X86_READ, &lin);
	if (!r)
		r = x86_read_buf(c, lin, buf, size);
	if (r)
		return r;
	memcpy(&new.limit, buf, 2);
	memcpy(&new.base, buf + 2, size - 2);
	if (size == 6 && i->opsize == 2)
		new.base &= 0xffffff;
	if (!x86_canonical(new.base))
		return x86_raise_err(c, X86_GP, 0);
	*t = new;
	return X86_DONE;
}

static int do_sgdt(struct x86_cpu *c, const struct x86_insn *i)
{
	return store_table(c, i, &c->gdt);
}

static int do_sidt(struct x86_cpu *c, const struct x86_insn *i)
{
	return store_table(c, i, &c->idt);
}

static int do_lgdt(struct x86_cpu *c, const struct x86_insn *i)
{
	return load_table(c, i, &c->gdt);
}

static int do_lidt(struct x86_cpu *c, const struct x86_insn *i)
{
	return load_table(c, i, &c->idt);
}

static int store_selector(struct x86_cpu *c, const struct x86_insn *i, int seg)
{
	int r = x86_check_attr(c, i);

	if (!r)
		r = check_umip(c);
	return r ? r : write_rm16(c, i, c->seg[seg].sel);
}

static int do_sldt(struct x86_cpu *c, const struct x86_insn *i)
{
	return store_selector(c, i, X86_SEG_LDTR);
}

static int do_str(struct x86_cpu *c, const struct x86_insn *i)
{
	return store_selector(c, i, X86_SEG_TR);
}

/* The descriptor for LLDT and LTR: in the GDT, of a system type in `types` (a bit each), present. */
static int system_desc(struct x86_cpu *c, u16 sel, u32 types, struct x86_desc *d)
{
	u32 attr;
	int r;

	if (sel & X86_SEL_TI)
		return x86_raise_err(c, X86_GP, sel & ~3u);
	r = x86_fetch_desc(c, sel, X86_GP, 0, d);
	if (r)
		return r;
	attr = x86_desc_attr(d);
	if ((attr & X86_SEG_S) || !(types & BIT(attr & X86_SEG_TYPE)))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	if (!(attr & X86_SEG_P))
		return x86_raise_err(c, X86_NP, sel & ~3u);
	r = x86_fetch_desc_high(c, sel, X86_GP, 0, d);
	if (r)
		return r;
	/* A 64-bit base must be one that the processor could use. */
	if (x86_long_mode(c) && !x86_canonical(((d->raw >> 32) & 0xff000000) | d->high << 32))
		return x86_raise_err(c, X86_GP, sel & ~3u);
	return X86_OK;
}

static int do_lldt(struct x86_cpu *c, const struct x86_insn *i)
{
	struct x86_desc d;
	u16 sel;
	int r = x86_check_attr(c, i);

	if (!r)
		r = read_rm16(c, i, &sel);
	if (r)
		return r;
	if (X86_SEL_NULL(sel)) {
		x86_null_segment(&c->seg[X86_SEG_LDTR], sel, 0);
		return X86_OK;
	}
	r = system_desc(c, sel, BIT(X86_DESC_LDT), &d);
	if (!r)
		x86_desc_to_segment(&d, sel, &c->seg[X86_SEG_LDTR]);
	return r;
}

static int do_ltr(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 types = BIT(X86_DESC_TSS) | (x86_long_mode(c) ? 0 : BIT(X86_DESC_TSS16));
	struct x86_desc d;
	u16 sel;
	int r = x86_check_attr(c, i);

	if (!r)
		r = read_rm16(c, i, &sel);
	if (r)
		return r;
	if (X86_SEL_NULL(sel))
		return x86_raise_err(c, X86_GP, 0);
	r = system_desc(c, sel, types, &d);
	if (!r)
		r = x86_or_sys(c, d.lin + 5, X86_TSS_BUSY, false);
	if (r)
		return r;
	x86_desc_to_segment(&d, sel, &c->seg[X86_SEG_TR]);
	c->seg[X86_SEG_TR].attr |= X86_TSS_BUSY;
	return X86_OK;
}

X86_HANDLER(sgdt, do_sgdt);
X86_HANDLER(sidt, do_sidt);
X86_HANDLER(lgdt, do_lgdt);
X86_HANDLER(lidt, do_lidt);
X86_HANDLER(sldt, do_sldt);
X86_HANDLER(str, do_str);
X86_HANDLER(lldt, do_lldt);
X86_HANDLER(ltr, do_ltr);

/* ---- what a selector would give: LAR, LSL, VERR, VERW, ARPL ---- */

static void set_zf(struct x86_cpu *c, bool zf)
{
	c->rflags = (c->rflags & ~(u64)X86_RFLAGS_ZF) | (zf ? X86_RFLAGS_ZF : 0);
}

/*
 * The descriptor of sel, visible from CPL and RPL (conforming code always is). X86_OK with *ok; a
 * selector that cannot be seen is no fault.
 */
static int visible_desc(struct x86_cpu *c, u16 sel, struct x86_desc *d, bool *ok)
{
	u32 attr;
	int r;

	*ok = false;
	if (X86_SEL_NULL(sel))
		return X86_OK;
	r = x86_fetch_desc(c, sel, X86_GP, 0, d);
	if (r == X86_FAULT && c->fault.vector == X86_GP)
		return X86_OK;		/* outside its table */
	if (r)
		return r;
	attr = x86_desc_attr(d);
	*ok = (x86_attr_code(attr) && x86_attr_conforming(attr)) ||
	      X86_SEG_DPL(attr) >= max(c->cpl, (u32)X86_SEL_RPL(sel));
	return X86_OK;
}

#define LAR_TYPES	(BIT(X86_DESC_TSS16) | BIT(X86_DESC_LDT) | BIT(X86_DESC_TSS16_BUSY) | \
			 BIT(X86_DESC_CALL16) | BIT(X86_DESC_TASK_GATE) | BIT(X86_DESC_TSS) | \
			 BIT(X86_DESC_TSS_BUSY) | BIT(X86_DESC_CALL))
#define LAR_TYPES_LONG	(BIT(X86_DESC_LDT) | BIT(X86_DESC_TSS) | BIT(X86_DESC_TSS_BUSY) | \
			 BIT(X86_DESC_CALL))
#define LSL_TYPES	(BIT(X86_DESC_TSS16) | BIT(X86_DESC_LDT) | BIT(X86_DESC_TSS16_BUSY) | \
			 BIT(X86_DESC_TSS) | BIT(X86_DESC_TSS_BUSY))
#define LSL_TYPES_LONG	(BIT(X86_DESC_LDT) | BIT(X86_DESC_TSS) | BIT(X86_DESC_TSS_BUSY))

static int lar_or_lsl(struct x86_cpu *c, const struct x86_insn *i, u32 types, u32 types_long,
		      struct x86_desc *d, bool *ok)
{
	u16 sel;
	u32 attr;
	int r = x86_check_attr(c, i);

	if (!r)
		r = read_rm16(c, i, &sel);
	if (!r)
		r = visible_desc(c, sel, d, ok);
	if (r)
		return r;
	if (*ok) {
		attr = x86_desc_attr(d);
		if (!(attr & X86_SEG_S))
			*ok = (x86_long_mode(c) ? types_long : types) & BIT(attr & X86_SEG_TYPE);
	}
	set_zf(c, *ok);
	return X86_OK;
}

static int do_lar(struct x86_cpu *c, const struct x86_insn *i)
{
	struct x86_desc d;
	bool ok;
	int r = lar_or_lsl(c, i, LAR_TYPES, LAR_TYPES_LONG, &d, &ok);

	if (!r && ok)
		x86_reg_set(c, i, i->reg, i->opsize, (d.raw >> 32) & 0xf0ff00);
	return r;
}

static int do_lsl(struct x86_cpu *c, const struct x86_insn *i)
{
	struct x86_segment s;
	struct x86_desc d = { 0 };
	bool ok;
	int r = lar_or_lsl(c, i, LSL_TYPES, LSL_TYPES_LONG, &d, &ok);

	if (r || !ok)
		return r;
	x86_desc_to_segment(&d, 0, &s);
	x86_reg_set(c, i, i->reg, i->opsize, s.limit);
	return X86_OK;
}

static int verify(struct x86_cpu *c, const struct x86_insn *i, bool write)
{
	struct x86_desc d;
	u32 attr;
	u16 sel;
	bool ok;
	int r = x86_check_attr(c, i);

	if (!r)
		r = read_rm16(c, i, &sel);
	if (!r)
		r = visible_desc(c, sel, &d, &ok);
	if (r)
		return r;
	if (ok) {
		attr = x86_desc_attr(&d);
		if (write)
			ok = x86_attr_writable_data(attr);
		else
			ok = (attr & X86_SEG_S) && (!(attr & X86_TYPE_CODE) || (attr & X86_TYPE_RW));
	}
	set_zf(c, ok);
	return X86_OK;
}

static int do_verr(struct x86_cpu *c, const struct x86_insn *i)
{
	return verify(c, i, false);
}

static int do_verw(struct x86_cpu *c, const struct x86_insn *i)
{
	return verify(c, i, true);
}

static int do_arpl(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 rpl = X86_SEL_RPL(c->regs[i->reg]);
	u16 sel;
	int r = x86_check_attr(c, i);

	if (!r)
		r = read_rm16(c, i, &sel);
	if (r)
		return r;
	if (X86_SEL_RPL(sel) >= rpl) {
		set_zf(c, false);
		return X86_OK;
	}
	sel = (sel & ~3u) | rpl;
	if (i->flags & X86_I_MEM) {
		r = x86_operand_write(c, i, 2, sel);
		if (r)
			return r;
	} else {
		x86_reg_set(c, i, i->rm, 2, sel);
	}
	set_zf(c, true);
	return X86_OK;
}

X86_HANDLER(lar, do_lar);
X86_HANDLER(lsl, do_lsl);
X86_HANDLER(verr, do_verr);
X86_HANDLER(verw, do_verw);
X86_HANDLER(arpl, do_arpl);

/* ---- FS and GS bases (64-bit mode) ---- */

static int do_swapgs(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 base = c->seg[X86_SEG_GS].base;
	int r = x86_check_attr(c, i);

	if (r)
		return r;
	c->seg[X86_SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
	return X86_OK;
}

static int read_base(struct x86_cpu *c, const struct x86_insn *i, int seg)
{
	if (!(c->cr4 & X86_CR4_FSGSBASE))
		return x86_raise(c, X86_UD);
	x86_reg_set(c, i, i->rm, i->opsize, c->seg[seg].base);
	return X86_OK;
}

static int write_base(struct x86_cpu *c, const struct x86_insn *i, int seg)
{
	u64 val = i->opsize == 8 ? c->regs[i->rm] : (u32)c->regs[i->rm];

	if (!(c->cr4 & X86_CR4_FSGSBASE))
		return x86_raise(c, X86_UD);
	if (!x86_canonical(val))
		return x86_raise_err(c, X86_GP, 0);
	c->seg[seg].base = val;
	return X86_OK;
}

static int do_rdfsbase(struct x86_cpu *c, const struct x86_insn *i)
{
	return read_base(c, i, X86_SEG_FS);
}

static int do_rdgsbase(struct x86_cpu *c, const struct x86_insn *i)
{
	return read_base(c, i, X86_SEG_GS);
}

static int do_wrfsbase(struct x86_cpu *c, const struct x86_insn *i)
{
	return write_base(c, i, X86_SEG_FS);
}

static int do_wrgsbase(struct x86_cpu *c, const struct x86_insn *i)
{
	return write_base(c, i, X86_SEG_GS);
}

X86_HANDLER(swapgs, do_swapgs);
X86_HANDLER(rdfsbase, do_rdfsbase);
X86_HANDLER(rdgsbase, do_rdgsbase);
X86_HANDLER(wrfsbase, do_wrfsbase);
X86_HANDLER(wrgsbase, do_wrgsbase);
