/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x87 and vector state as the API and reset see it (SDM volume 1, 13). The image in fpu.fx is
 * FXSAVE's, with 64-bit pointers; the vector registers are whole in fpu.ymm. Only called while no
 * guest code runs on the vCPU, so nothing is live in the host's registers.
 */
#include "kvm/x86/xstate.h"

/* MXCSR bits that the host's instructions accept: what the host's own FXSAVE says. */
static u32 host_mxcsr_mask(u8 *scratch)
{
	u32 mask;

	/* scratch is 16-byte aligned; FXSAVE changes nothing. */
	__asm__ __volatile__("fxsave64 %0" : "=m"(*(u8 (*)[512])scratch));
	memcpy(&mask, scratch + X86_FX_MXCSR_MASK, 4);
	return mask ? mask : 0xffbf;
}

static void fx_put16(u8 *fx, u32 off, u16 val)
{
	memcpy(fx + off, &val, 2);
}

void x86_fpu_reset(struct x86_cpu *c, bool init)
{
	struct x86_fpu *f = &c->fpu;

	if (!init) {
		f->mxcsr_mask = host_mxcsr_mask(f->fx);
		memset(f->fx, 0, sizeof(f->fx));
		memset(f->ymm, 0, sizeof(f->ymm));
		fx_put16(f->fx, X86_FX_FCW, 0x37f);
		x86_set_mxcsr(c, X86_MXCSR_RESET);
		f->fcs = f->fds = 0;
		f->xcr0 = X86_XCR0_X87;
		f->xss = 0;
	}
	x86_fpu_update_mode(c);
}

static bool x87_in_use(const struct x86_fpu *f)
{
	if (f->x87_live)
		return true;
	if (x86_fx_get16(f->fx, X86_FX_FCW) != 0x37f)
		return true;
	for (u32 i = 2; i < X86_FX_XMM; i++) {
		if (f->fx[i] && (i < X86_FX_MXCSR || i >= X86_FX_ST))
			return true;
	}
	return false;
}

u64 x86_xinuse(const struct x86_cpu *c)
{
	u64 low = 0, high = 0, inuse = 0;

	for (u32 i = 0; i < 16; i++) {
		low |= c->fpu.ymm[i].q[0] | c->fpu.ymm[i].q[1];
		high |= c->fpu.ymm[i].q[2] | c->fpu.ymm[i].q[3];
	}
	if (x87_in_use(&c->fpu))
		inuse |= X86_XCR0_X87;
	if (low || c->fpu.mxcsr_live || x86_mxcsr(c) != X86_MXCSR_RESET)
		inuse |= X86_XCR0_SSE;
	if (high)
		inuse |= X86_XCR0_YMM;
	return inuse & c->fpu.xcr0;
}

void x86_get_fpu(const struct x86_cpu *c, struct kvm_fpu *out)
{
	const u8 *fx = c->fpu.fx;

	memset(out, 0, sizeof(*out));
	memcpy(out->fpr, fx + X86_FX_ST, sizeof(out->fpr));
	out->fcw = x86_fx_get16(fx, X86_FX_FCW);
	out->fsw = x86_fx_get16(fx, X86_FX_FSW);
	out->ftwx = fx[X86_FX_FTW];
	out->last_opcode = x86_fx_get16(fx, X86_FX_FOP);
	memcpy(&out->last_ip, fx + X86_FX_FIP, 8);
	memcpy(&out->last_dp, fx + X86_FX_FDP, 8);
	for (u32 i = 0; i < 16; i++)
		memcpy(out->xmm[i], c->fpu.ymm[i].b, 16);
}

void x86_set_fpu(struct x86_cpu *c, const struct kvm_fpu *in)
{
	u8 *fx = c->fpu.fx;

	memcpy(fx + X86_FX_ST, in->fpr, sizeof(in->fpr));
	fx_put16(fx, X86_FX_FCW, in->fcw);
	fx_put16(fx, X86_FX_FSW, in->fsw);
	fx[X86_FX_FTW] = in->ftwx;
	fx_put16(fx, X86_FX_FOP, in->last_opcode);
	memcpy(fx + X86_FX_FIP, &in->last_ip, 8);
	memcpy(fx + X86_FX_FDP, &in->last_dp, 8);
	c->fpu.fcs = c->fpu.fds = 0;		/* the format has no place for them */
	for (u32 i = 0; i < 16; i++)
		memcpy(c->fpu.ymm[i].b, in->xmm[i], 16);
}

void x86_get_xsave(const struct x86_cpu *c, u8 *out, u32 size)
{
	/* Everything is in place whatever XCR0 says: turning a component off does not lose it. */
	u64 bv = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_YMM;

	memset(out, 0, size);
	memcpy(out, c->fpu.fx, X86_FX_XMM);
	memcpy(out + X86_FX_MXCSR_MASK, &c->fpu.mxcsr_mask, 4);
	for (u32 i = 0; i < 16; i++)
		memcpy(out + X86_FX_XMM + 16 * i, c->fpu.ymm[i].b, 16);
	if (size >= X86_XSAVE_SIZE) {
		for (u32 i = 0; i < 16; i++)
			memcpy(out + X86_XSAVE_YMM + 16 * i, c->fpu.ymm[i].b + 16, 16);
	} else {
		bv &= ~(u64)X86_XCR0_YMM;
	}
	memcpy(out + X86_XSAVE_HEADER, &bv, 8);
}

int x86_set_xsave(struct x86_cpu *c, const u8 *in, u32 size, u64 supported)
{
	u64 header[8];
	u32 mxcsr;

	if (size < X86_XSAVE_YMM)
		return -EINVAL;
	memcpy(header, in + X86_XSAVE_HEADER, sizeof(header));
	memcpy(&mxcsr, in + X86_FX_MXCSR, 4);
	supported &= X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_YMM;
	if (size < X86_XSAVE_SIZE)
		supported &= ~(u64)X86_XCR0_YMM;
	if (header[0] & ~supported)
		return -EINVAL;
	for (u32 i = 1; i < 8; i++) {
		if (header[i])
			return -EINVAL;
	}
	if (header[0] & (X86_XCR0_SSE | X86_XCR0_YMM)) {
		if (mxcsr & ~c->fpu.mxcsr_mask)
			return -EINVAL;
		x86_set_mxcsr(c, mxcsr);
	} else {
		x86_set_mxcsr(c, X86_MXCSR_RESET);
	}

	if (header[0] & X86_XCR0_X87) {
		memcpy(c->fpu.fx, in, X86_FX_MXCSR);
		c->fpu.fx[5] = 0;
		memcpy(c->fpu.fx + X86_FX_ST, in + X86_FX_ST, X86_FX_XMM - X86_FX_ST);
	} else {
		memset(c->fpu.fx, 0, X86_FX_MXCSR);
		memset(c->fpu.fx + X86_FX_ST, 0, X86_FX_XMM - X86_FX_ST);
		fx_put16(c->fpu.fx, X86_FX_FCW, 0x37f);
	}
	c->fpu.fcs = c->fpu.fds = 0;		/* the format has no place for them */
	for (u32 i = 0; i < 16; i++) {
		if (header[0] & X86_XCR0_SSE)
			memcpy(c->fpu.ymm[i].b, in + X86_FX_XMM + 16 * i, 16);
		else
			memset(c->fpu.ymm[i].b, 0, 16);
		if (header[0] & X86_XCR0_YMM)
			memcpy(c->fpu.ymm[i].b + 16, in + X86_XSAVE_YMM + 16 * i, 16);
		else
			memset(c->fpu.ymm[i].b + 16, 0, 16);
	}
	return 0;
}
