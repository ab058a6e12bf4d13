/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control and debug registers, EFER, XCR0, RFLAGS, and reset: which values are refused, what else
 * changes with them, which translations they make stale (SDM volume 3, 2.5, 4.10.4, 10.1;
 * APM volume 2, 3.1).
 *
 * What a guest sets goes through here; what the VMM sets goes through state.c, which has KVM's
 * looser checks.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/xstate.h"

#define CR0_DEFINED	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | \
			 X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)

static int gp(struct x86_cpu *c)
{
	return x86_raise_err(c, X86_GP, 0);
}

/* Makes the new paging mode count: old values come back where PAE's pointers are refused. */
static int switch_paging(struct x86_cpu *c, u64 cr0, u64 cr4, u64 efer)
{
	u64 old_cr0 = c->cr0, old_cr4 = c->cr4, old_efer = c->efer;
	int r;

	c->cr0 = cr0;
	c->cr4 = cr4;
	c->efer = efer;
	r = x86_mmu_reconfigure(c);
	if (r) {
		c->cr0 = old_cr0;
		c->cr4 = old_cr4;
		c->efer = old_efer;
		x86_tlb_flush_all(c);
	}
	x86_update_mode(c);
	return r;
}

int x86_set_cr0(struct x86_cpu *c, u64 val)
{
	u64 efer = c->efer, changed;
	const struct x86_segment *tr = &c->seg[X86_SEG_TR];

	if (val >> 32)
		return gp(c);
	val = (val & CR0_DEFINED) | X86_CR0_ET;
	changed = val ^ c->cr0;
	if ((val & X86_CR0_PG) && !(val & X86_CR0_PE))
		return gp(c);
	if ((val & X86_CR0_NW) && !(val & X86_CR0_CD))
		return gp(c);
	if ((changed & X86_CR0_PG) && (efer & X86_EFER_LME)) {
		if (val & X86_CR0_PG) {
			if (!(c->cr4 & X86_CR4_PAE) || (c->seg[X86_SEG_CS].attr & X86_SEG_L))
				return gp(c);
			if ((tr->attr & X86_SEG_TYPE) == X86_DESC_TSS16_BUSY && c->vendor == X86_VENDOR_INTEL)
				return gp(c);
			efer |= X86_EFER_LMA;
		} else {
			if (c->mode == X86_MODE_64)
				return gp(c);
			efer &= ~(u64)X86_EFER_LMA;
		}
	}
	if ((changed & X86_CR0_PG) && !(val & X86_CR0_PG) && (c->cr4 & X86_CR4_PCIDE))
		return gp(c);

	if (changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW))
		return switch_paging(c, val, c->cr4, efer);
	c->cr0 = val;
	if (changed & X86_CR0_WP)
		x86_tlb_flush_all(c);
	if (changed & (X86_CR0_PE | X86_CR0_AM | X86_CR0_WP))
		x86_update_mode(c);
	else
		x86_fpu_update_mode(c);
	return X86_OK;
}

int x86_set_cr3(struct x86_cpu *c, u64 val)
{
	bool flush = true;
	u64 old = c->cr3;

	if (x86_long_mode(c)) {
		if (c->cr4 & X86_CR4_PCIDE) {
			flush = !(val >> 63);
			val &= ~BIT_ULL(63);
		}
		if (val >> c->phys_bits)
			return gp(c);
	} else {
		val = (u32)val;
	}
	c->cr3 = val;
	if (x86_pae_paging(c)) {
		int r = x86_mmu_load_pdptrs(c);

		if (r) {
			c->cr3 = old;
			return r;
		}
	}
	x86_mmu_cr3_changed(c, flush);
	return X86_OK;
}

u64 x86_cr4_allowed(const struct x86_cpu *c)
{
	static const struct {
		u32 bit;
		u16 feature;
	} optional[] = {
		{ X86_CR4_UMIP, X86_FEATURE_UMIP },
		{ X86_CR4_FSGSBASE, X86_FEATURE_FSGSBASE },
		{ X86_CR4_PCIDE, X86_FEATURE_PCID },
		{ X86_CR4_OSXSAVE, X86_FEATURE_XSAVE },
		{ X86_CR4_SMEP, X86_FEATURE_SMEP },
		{ X86_CR4_SMAP, X86_FEATURE_SMAP },
	};
	u64 allowed = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE |
		      X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;

	for (u32 n = 0; n < ARRAY_SIZE(optional); n++)
		if (x86_has(c, optional[n].feature))
			allowed |= optional[n].bit;
	return allowed;
}

int x86_set_cr4(struct x86_cpu *c, u64 val)
{
	u64 changed = val ^ c->cr4;

	if (val & ~x86_cr4_allowed(c))
		return gp(c);
	if (x86_long_mode(c) && !(val & X86_CR4_PAE))
		return gp(c);
	if ((changed & val & X86_CR4_PCIDE) && (!x86_long_mode(c) || (c->cr3 & 0xfff)))
		return gp(c);

	if (changed & (X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP))
		return switch_paging(c, c->cr0, val, c->efer);
	c->cr4 = val;
	if (changed & X86_CR4_SMAP)
		x86_tlb_flush_all(c);
	x86_update_mode(c);
	return X86_OK;
}

int x86_set_cr8(struct x86_cpu *c, u64 val)
{
	if (val >> 4)
		return gp(c);
	c->cr8 = val;
	if (c->lapic)
		kvm_lapic_set_cr8(c->vcpu, val);
	return X86_OK;
}

u64 x86_get_cr8(struct x86_cpu *c)
{
	return c->lapic ? kvm_lapic_get_cr8(c->vcpu) : c->cr8;
}

int x86_set_efer(struct x86_cpu *c, u64 val)
{
	u64 allowed = X86_EFER_LMA, changed;

	if (x86_has(c, X86_FEATURE_SYSCALL) || x86_has(c, X86_FEATURE_LM))
		allowed |= X86_EFER_SCE;
	if (x86_has(c, X86_FEATURE_LM))
		allowed |= X86_EFER_LME;
	if (x86_has(c, X86_FEATURE_NX))
		allowed |= X86_EFER_NXE;
	if (x86_has(c, X86_FEATURE_FXSR_OPT))
		allowed |= X86_EFER_FFXSR;
	val = (val & ~(u64)X86_EFER_LMA) | (c->efer & X86_EFER_LMA);
	changed = val ^ c->efer;
	if (val & ~allowed)
		return gp(c);
	if ((changed & X86_EFER_LME) && (c->cr0 & X86_CR0_PG))
		return gp(c);
	c->efer = val;
	if (changed & X86_EFER_NXE)
		x86_tlb_flush_all(c);
	return X86_OK;
}

int x86_set_xcr(struct x86_cpu *c, u32 index, u64 val)
{
	if (index != 0 || !(val & X86_XCR0_X87) || (val & ~x86_guest_xcr0(c)) ||
	    ((val & X86_XCR0_YMM) && !(val & X86_XCR0_SSE)))
		return gp(c);
	c->fpu.xcr0 = val;
	x86_fpu_update_mode(c);
	return X86_OK;
}

int x86_set_dr(struct x86_cpu *c, int n, u64 val)
{
	switch (n) {
	case 0 ... 3:
		c->dr[n] = val;
		break;
	case 4:
	case 6:
		if (val >> 32)
			return gp(c);
		c->dr6 = (val & X86_DR6_WRITABLE) | X86_DR6_FIXED;
		break;
	case 5:
	default:
		if (val >> 32)
			return gp(c);
		c->dr7 = (val & X86_DR7_WRITABLE) | X86_DR7_FIXED;
		break;
	}
	x86_mmu_access_mode(c);		/* data breakpoints close the fast path */
	return X86_OK;
}

void x86_set_rflags(struct x86_cpu *c, u64 val)
{
	u64 changed = c->rflags ^ val;

	c->rflags = (val & X86_RFLAGS_DEFINED) | X86_RFLAGS_FIXED;
	if (changed & X86_RFLAGS_VM)
		x86_update_mode(c);
	else if (changed & X86_RFLAGS_AC)
		x86_mmu_access_mode(c);
	if ((val & X86_RFLAGS_IF) && c->event_waiting)
		atomic_or(&c->attention, X86_ATTN_EVENT);
}

/* ---- reset ---- */

static void reset_segments(struct x86_cpu *c)
{
	for (int s = X86_SEG_ES; s <= X86_SEG_GS; s++)
		c->seg[s] = (struct x86_segment){
			.limit = 0xffff,
			.attr = X86_SEG_P | X86_SEG_S | X86_TYPE_RW | X86_TYPE_ACCESSED,
		};
	c->seg[X86_SEG_CS].attr |= X86_TYPE_CODE;
	c->seg[X86_SEG_CS].sel = 0xf000;
	c->seg[X86_SEG_CS].base = 0xffff0000;
	c->seg[X86_SEG_TR] = (struct x86_segment){
		.limit = 0xffff, .attr = X86_SEG_P | X86_DESC_TSS_BUSY };
	c->seg[X86_SEG_LDTR] = (struct x86_segment){ .limit = 0xffff, .attr = X86_SEG_P | X86_DESC_LDT };
	c->seg[X86_SEG_FLAT] = (struct x86_segment){
		.limit = 0xffffffff, .attr = X86_SEG_P | X86_SEG_S | X86_TYPE_RW };
	c->gdt = (struct x86_table){ .limit = 0xffff };
	c->idt = (struct x86_table){ .limit = 0xffff };
}

void x86_reset(struct x86_cpu *c, bool init)
{
	u64 cr0 = X86_CR0_ET;
	u32 eax = 1, ebx, ecx = 0, edx;

	/* INIT leaves the cache control bits, the FPU, and the MSRs. */
	cr0 |= init ? c->cr0 & (X86_CR0_CD | X86_CR0_NW) : X86_CR0_CD | X86_CR0_NW;
	memset(c->regs, 0, sizeof(c->regs));
	c_rip(c) = 0xfff0;
	c->rflags = X86_RFLAGS_FIXED;
	c->cr0 = cr0;
	c->cr2 = c->cr3 = c->cr4 = 0;
	c->efer = 0;
	x86_set_cr8(c, 0);
	memset(c->dr, 0, sizeof(c->dr));
	c->dr6 = X86_DR6_FIXED;
	c->dr7 = X86_DR7_FIXED;
	reset_segments(c);
	/* INIT and SIPI themselves stay: their latch is the caller's. */
	c->ev.exception_pending = false;
	c->ev.interrupt_injected = false;
	WRITE_ONCE(c->ev.nmi_queued, 0);
	c->ev.nmi_pending = 0;
	c->ev.nmi_masked = false;
	c->ev.smi_pending = c->ev.smm = c->ev.smm_inside_nmi = false;
	c->smi_count = 0;
	c->ev.triple_fault = c->ev.shutdown = false;
	memset(&c->io, 0, sizeof(c->io));
	c->int_shadow = 0;
	c->halted = false;
	x86_fpu_reset(c, init);
	if (!init)
		x86_reset_msrs(c);
	x86_cpuid(c, &eax, &ebx, &ecx, &edx);
	c->regs[X86_RDX] = eax ? eax : 0x600;
	x86_tlb_flush_all(c);
	x86_update_mode(c);
}
