/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * FXSAVE, XSAVE and their kind (SDM volume 1, 10.5 and 13; volume 2). Three components exist: x87,
 * SSE and the upper halves of AVX. They read and write the guest's memory by the piece, so that
 * what a form leaves untouched is left untouched.
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/xstate.h"

#define XCOMP_COMPACTED	BIT_ULL(63)

static void sync_all(struct x86_cpu *c)
{
	soft_x87_sync(c);
	soft_mxcsr_sync(c);
}

/* Registers XMM8 and up exist in 64-bit mode only. */
static u32 nr_vectors(const struct x86_cpu *c)
{
	return c->mode == X86_MODE_64 ? 16 : 8;
}

static void put_bytes(u8 *p, u64 val, u32 n)
{
	memcpy(p, &val, n);
}

static u64 get_bytes(const u8 *p, u32 n)
{
	u64 val = 0;

	memcpy(&val, p, n);
	return val;
}

/* FCW to FDP, 24 bytes, then at 32 the registers. */
static void x87_store(const struct x86_cpu *c, const struct x86_insn *i, u8 *area)
{
	const u8 *fx = c->fpu.fx;

	memcpy(area, fx, X86_FX_MXCSR);
	memcpy(area + X86_FX_ST, fx + X86_FX_ST, X86_FX_XMM - X86_FX_ST);
	if (!(i->flags & X86_I_W)) {
		put_bytes(area + 12, c->fpu.fcs, 4);
		put_bytes(area + 20, c->fpu.fds, 4);
	}
	/* AMD's processors have the pointers only while an exception is pending. */
	if (c->vendor == X86_VENDOR_AMD && !(x86_fx_get16(fx, X86_FX_FSW) & X86_FSW_ES))
		memset(area + X86_FX_FOP, 0, X86_FX_MXCSR - X86_FX_FOP);
}

static void x87_load(struct x86_cpu *c, const struct x86_insn *i, const u8 *area)
{
	u8 *fx = c->fpu.fx;

	memcpy(fx, area, X86_FX_MXCSR);
	fx[5] = 0;
	put_bytes(fx + X86_FX_FOP, get_bytes(area + X86_FX_FOP, 2) & 0x7ff, 2);
	c->fpu.fcs = c->fpu.fds = 0;
	if (!(i->flags & X86_I_W)) {
		c->fpu.fcs = get_bytes(area + 12, 2);
		c->fpu.fds = get_bytes(area + 20, 2);
		put_bytes(fx + 12, 0, 4);
		put_bytes(fx + 20, 0, 4);
	}
	for (u32 k = 0; k < 8; k++) {
		memcpy(fx + X86_FX_ST + 16 * k, area + X86_FX_ST + 16 * k, 10);
		memset(fx + X86_FX_ST + 16 * k + 10, 0, 6);
	}
	soft_x87_settle(c);
}

static void x87_init(struct x86_cpu *c)
{
	memset(c->fpu.fx, 0, X86_FX_MXCSR);
	memset(c->fpu.fx + X86_FX_ST, 0, X86_FX_XMM - X86_FX_ST);
	put_bytes(c->fpu.fx + X86_FX_FCW, 0x37f, 2);
	c->fpu.fcs = c->fpu.fds = 0;
}

/* ---- FXSAVE, FXRSTOR ---- */

/* The vector registers are left out: AMD's fast form. */
static bool fast_fxsr(const struct x86_cpu *c)
{
	return (c->efer & X86_EFER_FFXSR) && c->cpl == 0 && c->mode == X86_MODE_64;
}

static int fx_operand(struct x86_cpu *c, const struct x86_insn *i, enum x86_access acc, u64 *lin)
{
	int r;

	if (c->cr0 & (X86_CR0_EM | X86_CR0_TS))
		return x86_raise(c, X86_NM);
	r = x86_operand_lin(c, i, X86_FX_SIZE, acc, lin);
	if (!r && (*lin & 15))
		return x86_raise_err(c, X86_GP, 0);
	return r;
}

int soft_fxsave(struct x86_cpu *c, const struct x86_insn *i)
{
	u8 area[X86_FX_SIZE] = { 0 };
	u32 n = X86_FX_XMM;
	u64 lin;
	int r = fx_operand(c, i, X86_WRITE, &lin);

	if (r)
		return r;
	/* All of it must be writable, though not all is written. */
	r = x86_probe(c, lin, X86_FX_SIZE, X86_WRITE);
	if (r)
		return r;
	sync_all(c);
	x87_store(c, i, area);
	put_bytes(area + X86_FX_MXCSR, x86_mxcsr(c), 4);
	put_bytes(area + X86_FX_MXCSR_MASK, c->fpu.mxcsr_mask, 4);
	if (!fast_fxsr(c)) {
		for (u32 k = 0; k < nr_vectors(c); k++, n += 16)
			memcpy(area + n, c->fpu.ymm[k].b, 16);
	}
	return x86_write_buf(c, lin, area, n);
}

int soft_fxrstor(struct x86_cpu *c, const struct x86_insn *i)
{
	u8 area[X86_FX_SIZE];
	u64 lin;
	u32 mxcsr;
	int r = fx_operand(c, i, X86_READ, &lin);

	if (!r)
		r = x86_read_buf(c, lin, area, X86_FX_SIZE);
	if (r)
		return r;
	mxcsr = get_bytes(area + X86_FX_MXCSR, 4);
	if (mxcsr & ~c->fpu.mxcsr_mask)
		return x86_raise_err(c, X86_GP, 0);
	sync_all(c);
	x87_load(c, i, area);
	x86_set_mxcsr(c, mxcsr);
	for (u32 k = 0; k < nr_vectors(c) && !fast_fxsr(c); k++)
		memcpy(c->fpu.ymm[k].b, area + X86_FX_XMM + 16 * k, 16);
	return X86_OK;
}

/* ---- XSAVE, XRSTOR ---- */

/* #UD, #NM, #GP; where the area is, and which components are asked for. */
static int xsave_operand(struct x86_cpu *c, const struct x86_insn *i, enum x86_access acc,
			 u64 *lin, u64 *rfbm)
{
	u64 asked = (u32)c->regs[X86_RAX] | c->regs[X86_RDX] << 32;
	int r;

	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return x86_raise(c, X86_UD);
	if ((x86_op(i)->attr & X86_A_PRIV) && c->cpl)
		return x86_raise_err(c, X86_GP, 0);
	if (c->cr0 & X86_CR0_TS)
		return x86_raise(c, X86_NM);
	*rfbm = asked & (x86_op(i)->attr & X86_A_PRIV ? c->fpu.xcr0 | c->fpu.xss : c->fpu.xcr0);
	r = x86_operand_lin(c, i, *rfbm & X86_XCR0_YMM ? X86_XSAVE_SIZE : X86_XSAVE_YMM, acc, lin);
	if (!r && (*lin & 63))
		return x86_raise_err(c, X86_GP, 0);
	return r;
}

/* The state component bitmap's bits that are in use; MXCSR does not count unless compacted. */
static u64 in_use(const struct x86_cpu *c, bool compacted)
{
	u64 bits = x86_xinuse(c), any = 0;

	if (!compacted && (bits & X86_XCR0_SSE)) {
		for (u32 k = 0; k < 16; k++)
			any |= c->fpu.ymm[k].q[0] | c->fpu.ymm[k].q[1];
		if (!any)
			bits &= ~(u64)X86_XCR0_SSE;
	}
	return bits;
}

int soft_xsave(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 which = x86_op(i)->host & X86_H_SPECIAL, n = nr_vectors(c);
	bool compacted = which == X86_H_XSAVEC || which == X86_H_XSAVES;
	u8 area[X86_XSAVE_SIZE] = { 0 };
	u64 lin, rfbm, inuse, write, header[2];
	int r = xsave_operand(c, i, X86_WRITE, &lin, &rfbm);

	if (r)
		return r;
	/* The start of the area is touched whatever is asked for. */
	r = x86_probe(c, lin, X86_FX_SIZE, X86_WRITE);
	if (r)
		return r;
	sync_all(c);
	inuse = in_use(c, compacted);
	/* XSAVE writes what it is asked for; the others leave out what is in its initial state. */
	write = which == X86_H_XSAVE ? rfbm : rfbm & inuse;

	if (compacted) {
		header[0] = rfbm & inuse;
		header[1] = XCOMP_COMPACTED | rfbm;
	} else {
		r = x86_read_buf(c, lin + X86_XSAVE_HEADER, header, 8);
		if (r)
			return r;
		header[0] = (header[0] & ~rfbm) | (rfbm & inuse);
	}
	if (write & X86_XCR0_X87) {
		x87_store(c, i, area);
		r = x86_write_buf(c, lin, area, X86_FX_MXCSR);
		if (!r)
			r = x86_write_buf(c, lin + X86_FX_ST, area + X86_FX_ST, X86_FX_XMM - X86_FX_ST);
		if (r)
			return r;
	}
	if (compacted ? write & X86_XCR0_SSE : rfbm & (X86_XCR0_SSE | X86_XCR0_YMM)) {
		put_bytes(area + X86_FX_MXCSR, x86_mxcsr(c), 4);
		put_bytes(area + X86_FX_MXCSR_MASK, c->fpu.mxcsr_mask, 4);
		r = x86_write_buf(c, lin + X86_FX_MXCSR, area + X86_FX_MXCSR, 8);
		if (r)
			return r;
	}
	for (u32 k = 0; k < n; k++) {
		memcpy(area + X86_FX_XMM + 16 * k, c->fpu.ymm[k].b, 16);
		memcpy(area + X86_XSAVE_YMM + 16 * k, c->fpu.ymm[k].b + 16, 16);
	}
	if (write & X86_XCR0_SSE) {
		r = x86_write_buf(c, lin + X86_FX_XMM, area + X86_FX_XMM, 16 * n);
		if (r)
			return r;
	}
	if (write & X86_XCR0_YMM) {
		r = x86_write_buf(c, lin + X86_XSAVE_YMM, area + X86_XSAVE_YMM, 16 * n);
		if (r)
			return r;
	}
	return x86_write_buf(c, lin + X86_XSAVE_HEADER, header, compacted ? 16 : 8);
}

/* SDM volume 1, 13.8.1 and 13.8.2. */
static bool header_ok(const struct x86_cpu *c, const u64 *header, bool supervisor)
{
	u64 allowed = supervisor ? c->fpu.xcr0 | c->fpu.xss : c->fpu.xcr0;

	if (header[1] & XCOMP_COMPACTED) {
		if (!x86_has(c, X86_FEATURE_XSAVEC) || (header[1] & ~XCOMP_COMPACTED & ~allowed) ||
		    (header[0] & ~header[1]))
			return false;
		for (u32 k = 2; k < 8; k++) {
			if (header[k])
				return false;
		}
		return !(header[0] & XCOMP_COMPACTED);
	}
	return !supervisor && !(header[0] & ~allowed) && !header[1] && !header[2];
}

int soft_xrstor(struct x86_cpu *c, const struct x86_insn *i)
{
	bool supervisor = (x86_op(i)->host & X86_H_SPECIAL) == X86_H_XRSTORS, compacted;
	u8 area[X86_XSAVE_SIZE];
	u32 n = nr_vectors(c), mxcsr;
	u64 lin, rfbm, load, header[8];
	int r = xsave_operand(c, i, X86_READ, &lin, &rfbm);

	if (!r)
		r = x86_read_buf(c, lin, area, X86_FX_SIZE);
	if (!r)
		r = x86_read_buf(c, lin + X86_XSAVE_HEADER, header, sizeof(header));
	if (r)
		return r;
	if (!header_ok(c, header, supervisor))
		return x86_raise_err(c, X86_GP, 0);
	compacted = header[1] & XCOMP_COMPACTED;
	load = rfbm & header[0];

	if (load & X86_XCR0_YMM) {
		r = x86_read_buf(c, lin + X86_XSAVE_YMM, area + X86_XSAVE_YMM, 256);
		if (r)
			return r;
	}

	mxcsr = get_bytes(area + X86_FX_MXCSR, 4);
	if (compacted) {
		/* Part of SSE here, with its initial value. */
		if (!(rfbm & X86_XCR0_SSE))
			mxcsr = soft_mxcsr(c);
		else if (!(load & X86_XCR0_SSE))
			mxcsr = X86_MXCSR_RESET;
	} else if (!(rfbm & (X86_XCR0_SSE | X86_XCR0_YMM))) {
		mxcsr = soft_mxcsr(c);
	}
	if (mxcsr & ~c->fpu.mxcsr_mask)
		return x86_raise_err(c, X86_GP, 0);

	sync_all(c);
	x86_set_mxcsr(c, mxcsr);
	if (load & X86_XCR0_X87)
		x87_load(c, i, area);
	else if (rfbm & X86_XCR0_X87)
		x87_init(c);
	for (u32 k = 0; k < n; k++) {
		u8 *v = c->fpu.ymm[k].b;

		if (load & X86_XCR0_SSE)
			memcpy(v, area + X86_FX_XMM + 16 * k, 16);
		else if (rfbm & X86_XCR0_SSE)
			memset(v, 0, 16);
		if (load & X86_XCR0_YMM)
			memcpy(v + 16, area + X86_XSAVE_YMM + 16 * k, 16);
		else if (rfbm & X86_XCR0_YMM)
			memset(v + 16, 0, 16);
	}
	return X86_OK;
}
