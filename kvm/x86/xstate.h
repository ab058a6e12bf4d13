/* SPDX-License-Identifier: GPL-2.0-only */
/* x87 and vector state: reset values, the API's formats, and which units may be used now. */
#ifndef KVM_X86_XSTATE_H
#define KVM_X86_XSTATE_H

#include "kvm/x86/cpu.h"

/* Offsets in an FXSAVE image (SDM volume 1, 10.5.1) and an XSAVE area (13.4), and their sizes. */
#define X86_FX_FCW		0
#define X86_FX_FSW		2
#define X86_FX_FTW		4
#define X86_FX_FOP		6
#define X86_FX_FIP		8
#define X86_FX_FDP		16
#define X86_FX_MXCSR		24
#define X86_FX_MXCSR_MASK	28
#define X86_FX_ST		32
#define X86_FX_XMM		160
#define X86_FX_SIZE		512
#define X86_XSAVE_HEADER	512
#define X86_XSAVE_YMM		576
#define X86_XSAVE_SIZE		832

#define X86_FCW_MASKS		0x3f
#define X86_FSW_ES		BIT(7)
#define X86_MXCSR_FLAGS		0x003fu
/* Invalid, denormal, zero divide: found before the operation; one that is not masked keeps the
 * others from being found. */
#define X86_MXCSR_PRE		0x07u
#define X86_MXCSR_OE		BIT(3)
#define X86_MXCSR_UE		BIT(4)
#define X86_MXCSR_PE		BIT(5)
#define X86_MXCSR_DAZ		BIT(6)
#define X86_MXCSR_UM		BIT(11)
#define X86_MXCSR_FTZ		BIT(15)
#define X86_MXCSR_MASKS		0x1f80u
#define X86_MXCSR_RESET		0x1f80u
#define X86_MXCSR_MM		BIT(17)		/* AMD: no alignment rule for loads in computations */

static inline u16 x86_fx_get16(const u8 *fx, u32 off)
{
	return fx[off] | fx[off + 1] << 8;
}

static inline u32 x86_mxcsr(const struct x86_cpu *c)
{
	u32 v;

	memcpy(&v, c->fpu.fx + X86_FX_MXCSR, 4);
	return v;
}

static inline void x86_set_mxcsr(struct x86_cpu *c, u32 v)
{
	memcpy(c->fpu.fx + X86_FX_MXCSR, &v, 4);
}

/* Recomputes fpu.deny: after any change of CR0, CR4, XCR0 or RFLAGS.VM. */
static inline void x86_fpu_update_mode(struct x86_cpu *c)
{
	bool em = c->cr0 & X86_CR0_EM, ts = c->cr0 & X86_CR0_TS;
	u8 deny = 0;

	if (em || ts)
		deny |= X86_DENY_X87 | X86_DENY_MMX;
	if (em || ts || !(c->cr4 & X86_CR4_OSFXSR))
		deny |= X86_DENY_SSE;
	if (ts || !(c->cr4 & X86_CR4_OSXSAVE) || !x86_protected(c) || x86_vm86(c) ||
	    (c->fpu.xcr0 & (X86_XCR0_SSE | X86_XCR0_YMM)) != (X86_XCR0_SSE | X86_XCR0_YMM))
		deny |= X86_DENY_AVX;
	c->fpu.deny = deny;
	c->fpu.x87_stop = (c->fpu.x87_stop & X86_X87_STOP_UNIT) |
			  (deny & X86_DENY_X87 ? X86_X87_STOP_DENIED : 0);
}

/* Power-on: what KVM shows of a new vCPU, x87 as after FNINIT, all registers 0, XCR0 1. INIT
 * leaves everything but CR0.EM and TS, which are not here (SDM volume 3, table 10-1). */
void x86_fpu_reset(struct x86_cpu *c, bool init);

/* The components that are not in their initial state, of XCR0: XGETBV(1). */
u64 x86_xinuse(const struct x86_cpu *c);

/* KVM_GET_FPU, KVM_SET_FPU. As in Linux, MXCSR is not part of it. */
void x86_get_fpu(const struct x86_cpu *c, struct kvm_fpu *out);
void x86_set_fpu(struct x86_cpu *c, const struct kvm_fpu *in);

/* KVM_GET_XSAVE (size 4096), KVM_GET_XSAVE2: the area in its standard form. `out` is filled
 * entirely. */
void x86_get_xsave(const struct x86_cpu *c, u8 *out, u32 size);
/* KVM_SET_XSAVE: 0, or -EINVAL for components that the host or `supported` (an XCR0) has not, a
 * compacted area, bits set in the header's reserved part, or reserved MXCSR bits. size: at
 * least 576. */
int x86_set_xsave(struct x86_cpu *c, const u8 *in, u32 size, u64 supported);

#endif
