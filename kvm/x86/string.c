/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MOVS, STOS, LODS, CMPS, SCAS, with and without REP (SDM volume 1, 7.3.9).
 *
 * A repeated instruction works in bulk where it can: as many elements as lie in one page of plain
 * memory, by the host's own repeated instruction, which has the right meaning for overlap,
 * direction and flags. What remains (an element across two pages, a device, a checked segment) goes
 * one at a time. After each bulk or element the registers are exact, so that a fault or an
 * interrupt between elements leaves what the processor would: RIP at the instruction, the rest
 * still to be done.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

static __always_inline int dst_seg(const struct x86_cpu *c)
{
	return c->mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_ES;
}

static __always_inline bool backward(const struct x86_cpu *c)
{
	return c->rflags & X86_RFLAGS_DF;
}

/* Moves an index register by n elements. */
static __always_inline void advance(struct x86_cpu *c, const struct x86_insn *i, u32 reg, u64 bytes)
{
	x86_addr_reg_set(c, i, reg, c->regs[reg] + (backward(c) ? -bytes : bytes));
}

/* ---- one element ---- */

static __always_inline int index_read(struct x86_cpu *c, const struct x86_insn *i, int seg, u32 reg,
				      u32 size, u64 *val)
{
	u64 lin;
	int r = x86_lin(c, seg, c->regs[reg] & x86_addr_mask(i), size, X86_READ, &lin);

	if (unlikely(r))
		return r;
	return x86_read_size(c, lin, size, val);
}

static __always_inline int index_write(struct x86_cpu *c, const struct x86_insn *i, u32 size,
				       u64 val)
{
	u64 lin;
	int r = x86_lin(c, dst_seg(c), c->regs[X86_RDI] & x86_addr_mask(i), size, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	return x86_write_size(c, lin, size, val);
}

#define COMPARE(bits, sfx, q, ...)							\
static __always_inline void compare_##bits(struct x86_cpu *c, u##bits a, u##bits b)	\
{											\
	u32 ax;										\
											\
	__asm__("cmp" sfx " %[b], %[a]\n\t" FLAGS_TO_AX					\
		: "=a" (ax) : [a] q (a), [b] q (b) : "cc");				\
	x86_flags_set(c, ax);								\
}
FOR_SIZES(COMPARE,)

static __always_inline void compare(struct x86_cpu *c, u32 size, u64 a, u64 b)
{
	switch (size) {
	case 1:
		compare_8(c, a, b);
		break;
	case 2:
		compare_16(c, a, b);
		break;
	case 4:
		compare_32(c, a, b);
		break;
	default:
		compare_64(c, a, b);
	}
}

enum string_op { MOVS, STOS, LODS, CMPS, SCAS };

/* One element of op; registers move only if all went well. */
static __always_inline int one(struct x86_cpu *c, const struct x86_insn *i, enum string_op op,
			       u32 size)
{
	u64 a, b;
	int r;

	switch (op) {
	case MOVS:
		r = index_read(c, i, i->seg, X86_RSI, size, &a);
		if (likely(!r))
			r = index_write(c, i, size, a);
		break;
	case STOS:
		r = index_write(c, i, size, c->regs[X86_RAX]);
		break;
	case LODS:
		r = index_read(c, i, i->seg, X86_RSI, size, &a);
		if (unlikely(r))
			return r;
		if (size == 1)
			*(u8 *)&c->regs[X86_RAX] = a;
		else
			x86_reg_set(c, i, X86_RAX, size, a);
		break;
	case CMPS:
		r = index_read(c, i, i->seg, X86_RSI, size, &a);
		if (likely(!r))
			r = index_read(c, i, dst_seg(c), X86_RDI, size, &b);
		if (likely(!r))
			compare(c, size, a, b);
		break;
	default:
		r = index_read(c, i, dst_seg(c), X86_RDI, size, &b);
		if (likely(!r))
			compare(c, size, c->regs[X86_RAX], b);
	}
	if (unlikely(r))
		return r;
	if (op == MOVS || op == LODS || op == CMPS)
		advance(c, i, X86_RSI, size);
	if (op != LODS)
		advance(c, i, X86_RDI, size);
	return X86_OK;
}

/* ---- many elements ---- */

/*
 * How many of `count` elements at seg:reg are plain memory in one page, and where the first of them
 * is on the host. 0: none, or a question for one().
 */
static u64 plain_run(struct x86_cpu *c, const struct x86_insn *i, int seg, u32 reg, u32 size,
		     enum x86_access acc, u64 count, u8 **host)
{
	u64 mask = x86_addr_mask(i), offset = c->regs[reg] & mask, lin, in_page, room;
	u8 *start;
	u32 bytes;

	if (c->seg_check & BIT(seg))
		return 0;
	lin = (c->seg[seg].base + offset) & c->lin_mask;
	in_page = lin & ~PAGE_MASK;
	if (in_page + size > PAGE_SIZE || (mask != ~0ull && offset + size - 1 > mask))
		return 0;
	/* Up to the end of the page, and of the address size. */
	if (backward(c)) {
		room = in_page / size + 1;
		if (room > offset / size + 1)
			room = offset / size + 1;
	} else {
		room = (PAGE_SIZE - in_page) / size;
		if (mask != ~0ull && room > (mask + 1 - offset) / size)
			room = (mask + 1 - offset) / size;
	}
	if (room > count)
		room = count;
	bytes = room * size;
	if (backward(c))
		lin -= bytes - size;
	if (x86_host_range(c, lin, acc, &bytes, &start) != X86_OK || !start || bytes < room * size)
		return 0;
	*host = backward(c) ? start + bytes - size : start;
	return room;
}

/* Runs the host's string instruction on n elements; gives the number done. */
#define HOST_STRING(prefix, insn, sfx, n, rsi, rdi, outputs, ...)			\
	do {										\
		if (backward(c))							\
			__asm__ __volatile__("std\n\t" prefix insn sfx "\n\tcld\n\t" outputs \
				: "+S" (rsi), "+D" (rdi), "+c" (n), "+a" (ax)		\
				: __VA_ARGS__ : "cc", "memory");			\
		else									\
			__asm__ __volatile__(prefix insn sfx "\n\t" outputs		\
				: "+S" (rsi), "+D" (rdi), "+c" (n), "+a" (ax)		\
				: __VA_ARGS__ : "cc", "memory");			\
	} while (0)
#define HOST_STRING_SIZES(prefix, insn, n, rsi, rdi, outputs)				\
	do {										\
		switch (size) {								\
		case 1:									\
			HOST_STRING(prefix, insn, "b", n, rsi, rdi, outputs,);		\
			break;								\
		case 2:									\
			HOST_STRING(prefix, insn, "w", n, rsi, rdi, outputs,);		\
			break;								\
		case 4:									\
			HOST_STRING(prefix, insn, "l", n, rsi, rdi, outputs,);		\
			break;								\
		default:								\
			HOST_STRING(prefix, insn, "q", n, rsi, rdi, outputs,);		\
		}									\
	} while (0)

/* As many elements as can be had at once; CMPS and SCAS stop behind the first whose ZF differs from
 * `repe`. Returns the number done, registers updated. */
static __always_inline u64 bulk(struct x86_cpu *c, const struct x86_insn *i, enum string_op op,
				u32 size, u64 count, bool repe)
{
	u64 n = count, left, ax = c->regs[X86_RAX];
	u8 *src = NULL, *dst = NULL;

	if (op == LODS)
		return 0;
	if (op == MOVS || op == CMPS)
		n = plain_run(c, i, i->seg, X86_RSI, size, X86_READ, n, &src);
	if (n)
		n = plain_run(c, i, dst_seg(c), X86_RDI, size,
			      op == MOVS || op == STOS ? X86_WRITE : X86_READ, n, &dst);
	if (!n)
		return 0;
	left = n;
	switch (op) {
	case MOVS:
		HOST_STRING_SIZES("rep ", "movs", left, src, dst, "");
		break;
	case STOS:
		HOST_STRING_SIZES("rep ", "stos", left, src, dst, "");
		break;
	case CMPS:
		if (repe)
			HOST_STRING_SIZES("repe ", "cmps", left, src, dst, FLAGS_TO_AX);
		else
			HOST_STRING_SIZES("repne ", "cmps", left, src, dst, FLAGS_TO_AX);
		break;
	default:
		if (repe)
			HOST_STRING_SIZES("repe ", "scas", left, src, dst, FLAGS_TO_AX);
		else
			HOST_STRING_SIZES("repne ", "scas", left, src, dst, FLAGS_TO_AX);
	}
	n -= left;
	if (op == MOVS || op == CMPS)
		advance(c, i, X86_RSI, n * size);
	advance(c, i, X86_RDI, n * size);
	if (op == CMPS || op == SCAS)
		x86_flags_set(c, ax);
	return n;
}

static __always_inline int repeat(struct x86_cpu *c, const struct x86_insn *i, enum string_op op,
				  u32 size)
{
	bool conditional = op == CMPS || op == SCAS, repe = i->flags & X86_I_REP;
	u64 count = c->regs[X86_RCX] & x86_addr_mask(i);

	while (count) {
		u64 n = c->careful ? 0 : bulk(c, i, op, size, count, repe);

		if (!n) {
			int r = one(c, i, op, size);

			if (unlikely(r))
				return r;
			n = 1;
		}
		count -= n;
		x86_addr_reg_set(c, i, X86_RCX, count);
		if (conditional && !!(c->rflags & X86_RFLAGS_ZF) != repe)
			break;
		/* A device's answers are kept for one element, a debugger sees each, an interrupt
		 * comes between any two. */
		if (count && (c->careful || READ_ONCE(c->attention))) {
			c_rip(c) -= i->len;
			if (c->mode != X86_MODE_64)
				c_rip(c) = (u32)c_rip(c);
			return X86_DONE;
		}
	}
	return X86_OK;
}

#define STRING_SIZE(bits, sfx, q, name, op)						\
static int name##_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	if (i->flags & (X86_I_REP | X86_I_REPNE))					\
		return repeat(c, i, op, bits / 8);					\
	return one(c, i, op, bits / 8);							\
}
#define STRING_OPERATION(name, op)							\
	FOR_SIZES(STRING_SIZE, name, op)						\
	X86_HANDLER_SIZES(name, name##_8, name##_16, name##_32, name##_64)

STRING_OPERATION(movs, MOVS);
STRING_OPERATION(stos, STOS);
STRING_OPERATION(lods, LODS);
STRING_OPERATION(cmps, CMPS);
STRING_OPERATION(scas, SCAS);
