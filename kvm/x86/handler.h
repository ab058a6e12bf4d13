/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of instruction handlers share: declaring and defining handlers, registers by
 * number and size, and the stack.
 */
#ifndef KVM_X86_HANDLER_H
#define KVM_X86_HANDLER_H

#include "kvm/x86/mem.h"

/*
 * A handler `x86_op_<name>` is what H(name) in a table row refers to. Each is declared in
 * handlers_int.h or handlers_sys.h.
 */
#define X86_DECLARE_HANDLER(name)	extern const struct x86_handler x86_op_##name;

/* One function whatever size and form. */
#define X86_HANDLER(name, f)								\
	const struct x86_handler x86_op_##name = {					\
		{ { f, f }, { f, f }, { f, f }, { f, f } } }
/* One function a form, whatever the size. */
#define X86_HANDLER_RM(name, reg, mem)							\
	const struct x86_handler x86_op_##name = {					\
		{ { reg, mem }, { reg, mem }, { reg, mem }, { reg, mem } } }
/* One function a size: f8, f16, f32, f64; NULL where there is none. */
#define X86_HANDLER_SIZES(name, f8, f16, f32, f64)					\
	const struct x86_handler x86_op_##name = {					\
		{ { f8, f8 }, { f16, f16 }, { f32, f32 }, { f64, f64 } } }

/* ---- general registers ---- */

/* Where 8-bit register r is: 4 to 7 are AH, CH, DH, BH unless the instruction has a REX prefix. */
static __always_inline u8 *x86_reg8(struct x86_cpu *c, const struct x86_insn *i, u32 r)
{
	if (unlikely(r - 4 < 4 && !(i->flags & X86_I_REX)))
		return (u8 *)&c->regs[r - 4] + 1;
	return (u8 *)&c->regs[r];
}

/* size is a constant of the caller's: 1, 2, 4 or 8. */
static __always_inline u64 x86_reg_get(struct x86_cpu *c, const struct x86_insn *i, u32 r, u32 size)
{
	switch (size) {
	case 1:
		return *x86_reg8(c, i, r);
	case 2:
		return (u16)c->regs[r];
	case 4:
		return (u32)c->regs[r];
	default:
		return c->regs[r];
	}
}

/* A 32-bit write clears the upper half; 8- and 16-bit writes leave the rest. */
static __always_inline void x86_reg_set(struct x86_cpu *c, const struct x86_insn *i, u32 r,
					u32 size, u64 val)
{
	switch (size) {
	case 1:
		*x86_reg8(c, i, r) = val;
		break;
	case 2:
		*(u16 *)&c->regs[r] = val;
		break;
	case 4:
		c->regs[r] = (u32)val;
		break;
	default:
		c->regs[r] = val;
	}
}

/* A register by address size, as string instructions, LOOP and JCXZ use it. */
static __always_inline u64 x86_addr_mask(const struct x86_insn *i)
{
	return i->addrsize == 8 ? ~0ull : i->addrsize == 4 ? 0xffffffffull : 0xffffull;
}

static __always_inline void x86_addr_reg_set(struct x86_cpu *c, const struct x86_insn *i, u32 r,
					     u64 val)
{
	if (likely(i->addrsize == 8))
		c->regs[r] = val;
	else if (i->addrsize == 4)
		c->regs[r] = (u32)val;
	else
		*(u16 *)&c->regs[r] = val;
}

/* ---- conditions: the low four bits of Jcc, SETcc, CMOVcc (SDM volume 1, appendix B) ---- */
static __always_inline bool x86_condition(u64 rflags, u32 cc)
{
	bool less = ((rflags >> 7) ^ (rflags >> 11)) & 1;	/* SF != OF */
	bool r;

	switch (cc >> 1) {
	case 0:
		r = rflags & X86_RFLAGS_OF;
		break;
	case 1:
		r = rflags & X86_RFLAGS_CF;
		break;
	case 2:
		r = rflags & X86_RFLAGS_ZF;
		break;
	case 3:
		r = rflags & (X86_RFLAGS_CF | X86_RFLAGS_ZF);
		break;
	case 4:
		r = rflags & X86_RFLAGS_SF;
		break;
	case 5:
		r = rflags & X86_RFLAGS_PF;
		break;
	case 6:
		r = less;
		break;
	default:
		r = less || (rflags & X86_RFLAGS_ZF);
	}
	return r != (cc & 1);
}

/* M(name of the condition, number) for all sixteen. */
#define X86_FOR_CONDITIONS(M)								\
	M(o, 0) M(no, 1) M(b, 2) M(ae, 3) M(e, 4) M(ne, 5) M(be, 6) M(a, 7)		\
	M(s, 8) M(ns, 9) M(p, 10) M(np, 11) M(l, 12) M(ge, 13) M(le, 14) M(g, 15)

/* ---- memory of a constant size ---- */
static __always_inline int x86_read_size(struct x86_cpu *c, u64 lin, u32 size, u64 *val)
{
	int r;

	switch (size) {
	case 1: {
		u8 v = 0;

		r = x86_read8(c, lin, &v);
		*val = v;
		return r;
	}
	case 2: {
		u16 v = 0;

		r = x86_read16(c, lin, &v);
		*val = v;
		return r;
	}
	case 4: {
		u32 v = 0;

		r = x86_read32(c, lin, &v);
		*val = v;
		return r;
	}
	default:
		return x86_read64(c, lin, val);
	}
}

static __always_inline int x86_write_size(struct x86_cpu *c, u64 lin, u32 size, u64 val)
{
	switch (size) {
	case 1:
		return x86_write8(c, lin, val);
	case 2:
		return x86_write16(c, lin, val);
	case 4:
		return x86_write32(c, lin, val);
	default:
		return x86_write64(c, lin, val);
	}
}

/* Reads and writes the modrm memory operand. */
static __always_inline int x86_operand_read(struct x86_cpu *c, const struct x86_insn *i, u32 size,
					    u64 *val)
{
	u64 lin;
	int r = x86_operand_lin(c, i, size, X86_READ, &lin);

	if (unlikely(r))
		return r;
	return x86_read_size(c, lin, size, val);
}

static __always_inline int x86_operand_write(struct x86_cpu *c, const struct x86_insn *i, u32 size,
					     u64 val)
{
	u64 lin;
	int r = x86_operand_lin(c, i, size, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	return x86_write_size(c, lin, size, val);
}

/* The modrm operand, register or memory. */
static __always_inline int x86_rm_get(struct x86_cpu *c, const struct x86_insn *i, u32 size,
				      u64 *val)
{
	if (i->flags & X86_I_MEM)
		return x86_operand_read(c, i, size, val);
	*val = x86_reg_get(c, i, i->rm, size);
	return X86_OK;
}

/*
 * Read, compute, write without a LOCK: x86_modify_begin gives the old value, having checked that
 * the operand can be written; x86_modify_end stores the new one.
 */
static __always_inline int x86_modify_begin(struct x86_cpu *c, u64 lin, u32 size, void **host,
					    u64 *val)
{
	int r = x86_rmw(c, lin, size, host);

	if (unlikely(r))
		return r;
	if (unlikely(!*host))
		return x86_read_size(c, lin, size, val);
	switch (size) {
	case 1:
		*val = *(volatile u8 *)*host;
		break;
	case 2:
		*val = *(volatile u16 *)*host;
		break;
	case 4:
		*val = *(volatile u32 *)*host;
		break;
	default:
		*val = *(volatile u64 *)*host;
	}
	return X86_OK;
}

static __always_inline int x86_modify_end(struct x86_cpu *c, u64 lin, u32 size, void *host, u64 val)
{
	if (unlikely(!host))
		return x86_write_size(c, lin, size, val);
	switch (size) {
	case 1:
		*(volatile u8 *)host = val;
		break;
	case 2:
		*(volatile u16 *)host = val;
		break;
	case 4:
		*(volatile u32 *)host = val;
		break;
	default:
		*(volatile u64 *)host = val;
	}
	return X86_OK;
}

/* ---- the stack: SS:rSP, its width by mode and SS.B ---- */

/* The segment of stack accesses. */
static __always_inline int x86_stack_seg(const struct x86_cpu *c)
{
	return c->mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_SS;
}

/* How much of RSP takes part. */
static __always_inline u64 x86_stack_mask(const struct x86_cpu *c)
{
	if (c->mode == X86_MODE_64)
		return ~0ull;
	return c->seg[X86_SEG_SS].attr & X86_SEG_DB ? 0xffffffffull : 0xffffull;
}

/* Puts a new stack pointer into RSP: 16-bit stacks leave the upper bits, 32-bit ones clear them. */
static __always_inline void x86_set_sp(struct x86_cpu *c, u64 sp)
{
	u64 mask = x86_stack_mask(c);

	if (likely(mask == ~0ull))
		c->regs[X86_RSP] = sp;
	else if (mask == 0xffffffffull)
		c->regs[X86_RSP] = (u32)sp;
	else
		*(u16 *)&c->regs[X86_RSP] = sp;
}

/* A bad address of a push or pop is #SS. */
static __always_inline int x86_stack_result(struct x86_cpu *c, int r)
{
	if (unlikely(r == X86_FAULT && c->fault.noncanonical))
		c->fault.vector = X86_SS;
	return r;
}

/* Several pushes that must all succeed or leave RSP alone: each moves *sp, which starts as RSP; the
 * caller ends with x86_set_sp. size: 2, 4 or 8. */
static __always_inline int x86_push_at(struct x86_cpu *c, u64 *sp, u32 size, u64 val)
{
	u64 lin, to = (*sp - size) & x86_stack_mask(c);
	int r = x86_lin(c, x86_stack_seg(c), to, size, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	r = x86_write_size(c, lin, size, val);
	if (unlikely(r))
		return x86_stack_result(c, r);
	*sp = to;
	return X86_OK;
}

static __always_inline int x86_pop_at(struct x86_cpu *c, u64 *sp, u32 size, u64 *val)
{
	u64 lin, from = *sp & x86_stack_mask(c);
	int r = x86_lin(c, x86_stack_seg(c), from, size, X86_READ, &lin);

	if (unlikely(r))
		return r;
	r = x86_read_size(c, lin, size, val);
	if (unlikely(r))
		return x86_stack_result(c, r);
	*sp = from + size;
	return X86_OK;
}

/* One push or pop. */
static __always_inline int x86_push(struct x86_cpu *c, u32 size, u64 val)
{
	u64 sp = c->regs[X86_RSP];
	int r = x86_push_at(c, &sp, size, val);

	if (likely(!r))
		x86_set_sp(c, sp);
	return r;
}

static __always_inline int x86_pop(struct x86_cpu *c, u32 size, u64 *val)
{
	u64 sp = c->regs[X86_RSP];
	int r = x86_pop_at(c, &sp, size, val);

	if (likely(!r))
		x86_set_sp(c, sp);
	return r;
}

#endif
