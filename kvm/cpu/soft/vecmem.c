/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Vector instructions whose memory accesses are not one operand: masked moves, which touch (and
 * fault on) only the elements that the mask names, and gathers, which keep what they have on a
 * fault. They compute nothing, so they are plain C on the guest's registers.
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/xstate.h"

/* An offset wraps at the address size. */
static u64 wrap(const struct x86_insn *i, u64 ea)
{
	return i->addrsize == 8 ? ea : i->addrsize == 4 ? (u32)ea : (u16)ea;
}

static int read_element(struct x86_cpu *c, u64 lin, u32 size, void *dst)
{
	u32 d;
	u64 q;
	int r;

	if (size == 4) {
		r = x86_read32(c, lin, &d);
		if (!r)
			memcpy(dst, &d, 4);
	} else {
		r = x86_read64(c, lin, &q);
		if (!r)
			memcpy(dst, &q, 8);
	}
	return r;
}

/* An element's mask is its top bit. */
static bool element_on(const union x86_vec *mask, u32 k, u32 size)
{
	return mask->b[k * size + size - 1] & 0x80;
}

int soft_maskmov(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 size = (x86_op(i)->host & X86_H_SPECIAL) == X86_H_MASKMOV32 ? 4 : 8;
	u32 n = (i->flags & X86_I_VEXL ? 32 : 16) / size;
	bool store = x86_op(i)->op[0].kind == X86_OP_W;
	const union x86_vec *mask = &c->fpu.ymm[i->vvvv];
	union x86_vec v = { .q = { 0 } };
	u64 lin[8], ea = x86_ea(c, i);
	int r;

	if (unlikely(c->fpu.deny & X86_DENY_AVX))
		return soft_denied(c, i);
	if (store)
		v = c->fpu.ymm[i->reg];
	for (u32 k = 0; k < n; k++) {
		if (!element_on(mask, k, size))
			continue;
		r = x86_lin(c, i->seg, ea + k * size, size, store ? X86_WRITE : X86_READ, &lin[k]);
		if (!r)
			r = store ? x86_probe(c, lin[k], size, X86_WRITE) :
				    read_element(c, lin[k], size, v.b + k * size);
		if (r)
			return r;
	}
	if (!store) {
		c->fpu.ymm[i->reg] = v;
		return X86_OK;
	}
	for (u32 k = 0; k < n; k++) {
		if (!element_on(mask, k, size))
			continue;
		r = size == 4 ? x86_write32(c, lin[k], v.q[k / 2] >> (k % 2 * 32)) :
				x86_write64(c, lin[k], v.q[k]);
		if (r)
			return r;
	}
	return X86_OK;
}

/* Stores the bytes that the mask names, in runs; DS:rDI. */
static int store_bytes(struct x86_cpu *c, const struct x86_insn *i, const u8 *src, const u8 *mask, u32 n)
{
	u64 ea = c->regs[X86_RDI];
	int r;
	for (int pass = 0; pass < 2; pass++) {	/* may all be written? then write */
		u32 k = 0, run;
		u64 lin;

		while (k < n) {
			if (!(mask[k] & 0x80)) {
				k++;
				continue;
			}
			for (run = 1; k + run < n && (mask[k + run] & 0x80) && wrap(i, ea + k + run);)
				run++;
			r = x86_lin(c, i->seg, wrap(i, ea + k), run, X86_WRITE, &lin);
			if (!r)
				r = pass ? x86_write_buf(c, lin, src + k, run) :
					   x86_probe(c, lin, run, X86_WRITE);
			if (r)
				return r;
			k += run;
		}
	}
	return X86_OK;
}

int soft_maskmov_bytes(struct x86_cpu *c, const struct x86_insn *i)
{
	bool mmx = (x86_op(i)->host & X86_H_SPECIAL) == X86_H_MASKMOVQ;
	u8 src[16], mask[16];
	u32 top;
	int r;

	if (unlikely(c->fpu.deny & (mmx ? X86_DENY_MMX : x86_op(i)->vex == X86_LEGACY ? X86_DENY_SSE :
				    X86_DENY_AVX)))
		return soft_denied(c, i);
	if (!mmx)
		return store_bytes(c, i, c->fpu.ymm[i->reg].b, c->fpu.ymm[i->rm].b, 16);

	soft_x87_sync(c);
	if (x86_fx_get16(c->fpu.fx, X86_FX_FSW) & X86_FSW_ES)
		return x86_raise(c, X86_MF);
	/* The image has the registers in stack order. */
	top = x86_fx_get16(c->fpu.fx, X86_FX_FSW) >> 11 & 7;
	memcpy(src, c->fpu.fx + X86_FX_ST + 16 * ((i->reg - top) & 7), 8);
	memcpy(mask, c->fpu.fx + X86_FX_ST + 16 * ((i->rm - top) & 7), 8);
	r = store_bytes(c, i, src, mask, 8);
	if (r)
		return r;
	/* Any MMX instruction sets TOP to 0 and all tags to valid: let one that writes nothing
	 * do it. */
	r = soft_x87_begin(c, i);
	if (r)
		return r;
	__asm__ __volatile__("movd %%mm0, %%eax" : : : "eax");
	soft_x87_end(c, 0);
	return X86_OK;
}

/*
 * Gathers. An element that is done has its mask cleared, so that after a fault the rest can be got
 * by running the instruction again. An access that waits for the VMM is not a fault: everything
 * runs again then, and the answers to earlier reads are played back in order.
 */
int soft_gather(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 kind = x86_op(i)->host & X86_H_SPECIAL;
	u32 isize = kind == X86_H_GATHER_DD || kind == X86_H_GATHER_DQ ? 4 : 8;
	u32 size = kind == X86_H_GATHER_DD || kind == X86_H_GATHER_QD ? 4 : 8;
	u32 n = (i->flags & X86_I_VEXL ? 32 : 16) / max(size, isize);
	union x86_vec dst, mask, index;
	u64 base;
	int r;

	if (unlikely(c->fpu.deny & X86_DENY_AVX))
		return soft_denied(c, i);
	if (i->reg == i->vvvv || i->reg == i->index || i->vvvv == i->index)
		return x86_raise(c, X86_UD);
	dst = c->fpu.ymm[i->reg];
	mask = c->fpu.ymm[i->vvvv];
	index = c->fpu.ymm[i->index];
	base = c->regs[i->base] + (s64)i->disp;
	for (u32 k = 0; k < n; k++) {
		s64 x = isize == 4 ? (s32)(index.q[k / 2] >> (k % 2 * 32)) : (s64)index.q[k];
		u64 ea = base + ((u64)x << i->scale), lin;

		if (element_on(&mask, k, size)) {
			r = x86_lin(c, i->seg, wrap(i, ea), size, X86_READ, &lin);
			if (!r)
				r = read_element(c, lin, size, dst.b + k * size);
			if (r == X86_FAULT) {
				c->fpu.ymm[i->reg] = dst;
				c->fpu.ymm[i->vvvv] = mask;
			}
			if (r)
				return r;
		}
		memset(mask.b + k * size, 0, size);
	}
	memset(dst.b + n * size, 0, 32 - n * size);
	memset(&mask, 0, sizeof(mask));
	c->fpu.ymm[i->reg] = dst;
	c->fpu.ymm[i->vvvv] = mask;
	return X86_OK;
}

int soft_vzero(struct x86_cpu *c, const struct x86_insn *i)
{
	union x86_vec *v = c->fpu.ymm, *end = v + (c->mode == X86_MODE_64 ? 16 : 8);

	if (unlikely(c->fpu.deny & X86_DENY_AVX))
		return soft_denied(c, i);
	if (i->flags & X86_I_VEXL) {
		for (; v < end; v++)
			*v = (union x86_vec){ .q = { 0 } };
		return X86_OK;
	}
	/* Before and after every call of a vectorised string function. */
	for (; v < end; v++)
		v->q[2] = v->q[3] = 0;
	return X86_OK;
}
