/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System instructions on control and debug registers, MSRs, counters, translations and the machine:
 * MOV CR and DR, LMSW, SMSW, CLTS, RDMSR, WRMSR, RDTSC, CPUID, XGETBV, XSETBV, INVLPG, INVPCID,
 * cache instructions, MONITOR, MWAIT, CLAC, STAC, hypercalls.
 *
 * What changes how code or addresses are understood ends the block (X86_DONE). Instructions of VMX, SVM
 * and SMX have no rows: they are undefined here.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/handlers_sys.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/msr.h"
#include "kvm/x86/xstate.h"

/* The end of an instruction that serialises (SDM volume 3, 9.3): stores before it are seen by all before
 * a load behind it. */
static int done(int r)
{
	smp_mb();
	return r ? r : X86_DONE;
}

static void set_edx_eax(struct x86_cpu *c, u64 val)
{
	c->regs[X86_RAX] = (u32)val;
	c->regs[X86_RDX] = val >> 32;
}

static u64 edx_eax(const struct x86_cpu *c)
{
	return (u32)c->regs[X86_RAX] | c->regs[X86_RDX] << 32;
}

/* ---- control registers ---- */

/* LOCK MOV CR0 is CR8 for code outside 64-bit mode (AMD). -1: no such register. */
static int cr_number(const struct x86_cpu *c, const struct x86_insn *i)
{
	if (i->flags & X86_I_LOCK)
		return i->reg == 0 && x86_has(c, X86_FEATURE_CR8_LEGACY) ? 8 : -1;
	switch (i->reg) {
	case 0:
	case 2:
	case 3:
	case 4:
	case 8:
		return i->reg;
	default:
		return -1;
	}
}

static int do_mov_from_cr(struct x86_cpu *c, const struct x86_insn *i)
{
	int n = cr_number(c, i), r;
	u64 val;

	if (n < 0)
		return x86_raise(c, X86_UD);
	r = x86_check_attr(c, i);
	if (r)
		return r;
	switch (n) {
	case 0:
		val = c->cr0;
		break;
	case 2:
		val = c->cr2;
		break;
	case 3:
		val = c->cr3;
		break;
	case 4:
		val = c->cr4;
		break;
	default:
		val = x86_get_cr8(c);
	}
	x86_reg_set(c, i, i->rm, i->opsize, val);
	return X86_OK;
}

/* The VMM has the local APIC: it hears of a lowered task priority (KVM_EXIT_SET_TPR). */
static int move_to_cr8(struct x86_cpu *c, u64 val)
{
	u64 old = x86_get_cr8(c);
	int r = x86_set_cr8(c, val);

	if (r)
		return r;
	if (!c->lapic && val < old) {
		c->vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
		c->exit_user = true;
	}
	return X86_DONE;
}

static int do_mov_to_cr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 val = i->opsize == 8 ? c->regs[i->rm] : (u32)c->regs[i->rm];
	int n = cr_number(c, i), r;

	if (n < 0)
		return x86_raise(c, X86_UD);
	r = x86_check_attr(c, i);
	if (r)
		return r;
	switch (n) {
	case 0:
		return done(x86_set_cr0(c, val));
	case 2:
		c->cr2 = val;
		return X86_OK;
	case 3:
		return done(x86_set_cr3(c, val));
	case 4:
		return done(x86_set_cr4(c, val));
	default:
		return move_to_cr8(c, val);
	}
}

static int do_smsw(struct x86_cpu *c, const struct x86_insn *i)
{
	if ((c->cr4 & X86_CR4_UMIP) && c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	if (i->flags & X86_I_MEM)
		return x86_operand_write(c, i, 2, c->cr0);
	x86_reg_set(c, i, i->rm, i->opsize, c->cr0);
	return X86_OK;
}

static int do_lmsw(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 val = c->regs[i->rm];
	int r = x86_check_attr(c, i);

	if (!r && (i->flags & X86_I_MEM))
		r = x86_operand_read(c, i, 2, &val);
	if (r)
		return r;
	/* It can set PE and not clear it. */
	val = (c->cr0 & ~(u64)(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)) | (val & 0xf);
	return done(x86_set_cr0(c, val));
}

static int do_clts(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = x86_check_attr(c, i);

	if (r)
		return r;
	c->cr0 &= ~(u64)X86_CR0_TS;
	x86_fpu_update_mode(c);
	return X86_OK;
}

X86_HANDLER(mov_from_cr, do_mov_from_cr);
X86_HANDLER(mov_to_cr, do_mov_to_cr);
X86_HANDLER(smsw, do_smsw);
X86_HANDLER(lmsw, do_lmsw);
X86_HANDLER(clts, do_clts);

/* ---- debug registers ---- */

/* DR4 and DR5 exist only without CR4.DE; with DR7.GD set, in the guest's or in the VMM's that stands in for it, any
 * access is reported before it is made. */
static int check_dr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 dr7 = c->debug.control & KVM_GUESTDBG_USE_HW_BP ? c->debug.dr7 : c->dr7;
	int r;

	if ((i->reg == 4 || i->reg == 5) && (c->cr4 & X86_CR4_DE))
		return x86_raise(c, X86_UD);
	r = x86_check_attr(c, i);
	if (r)
		return r;
	if (dr7 & X86_DR7_GD) {
		x86_raise(c, X86_DB);
		c->fault.payload = X86_DR6_BD;
		return X86_FAULT;
	}
	return X86_OK;
}

static int do_mov_from_dr(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = check_dr(c, i);
	u64 val;

	if (r)
		return r;
	if (i->reg < 4)
		val = c->dr[i->reg];
	else
		val = i->reg & 1 ? c->dr7 : c->dr6;
	x86_reg_set(c, i, i->rm, i->opsize, val);
	return X86_OK;
}

static int do_mov_to_dr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 val = i->opsize == 8 ? c->regs[i->rm] : (u32)c->regs[i->rm];
	int r = check_dr(c, i);

	return r ? r : done(x86_set_dr(c, i->reg, val));
}

X86_HANDLER(mov_from_dr, do_mov_from_dr);
X86_HANDLER(mov_to_dr, do_mov_to_dr);

/* ---- MSRs, counters, CPUID, XCR0 ---- */

static int do_rdmsr(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 val;
	int r = x86_check_attr(c, i);

	if (!r)
		r = x86_rdmsr(c, c->regs[X86_RCX], &val);
	if (!r)
		set_edx_eax(c, val);
	return r;
}

static int do_wrmsr(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = x86_check_attr(c, i);

	return r ? r : done(x86_wrmsr(c, c->regs[X86_RCX], edx_eax(c)));
}

static int check_tsd(struct x86_cpu *c)
{
	if ((c->cr4 & X86_CR4_TSD) && x86_protected(c) && c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

static int do_rdtsc(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = check_tsd(c);

	if (!r)
		set_edx_eax(c, x86_read_tsc(c));
	return r;
}

static int do_rdtscp(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = check_tsd(c);

	if (r)
		return r;
	set_edx_eax(c, x86_read_tsc(c));
	c->regs[X86_RCX] = (u32)c->tsc_aux;
	return X86_OK;
}

/* The guest's CPUID shows no performance counters. */
static int do_rdpmc(struct x86_cpu *c, const struct x86_insn *i)
{
	return x86_raise_err(c, X86_GP, 0);
}

static int do_cpuid(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 eax = c->regs[X86_RAX], ebx, ecx = c->regs[X86_RCX], edx;

	if (unlikely(c->cpl != 0 && x86_cpuid_faults(c)))
		return x86_raise_err(c, X86_GP, 0);
	smp_mb();		/* it serialises */
	x86_cpuid(c, &eax, &ebx, &ecx, &edx);
	c->regs[X86_RAX] = eax;
	c->regs[X86_RBX] = ebx;
	c->regs[X86_RCX] = ecx;
	c->regs[X86_RDX] = edx;
	return X86_OK;
}

static int do_xgetbv(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 index = c->regs[X86_RCX];

	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return x86_raise(c, X86_UD);
	if (index == 0)
		set_edx_eax(c, c->fpu.xcr0);
	else if (index == 1 && x86_has(c, X86_FEATURE_XGETBV1))
		set_edx_eax(c, x86_xinuse(c));
	else
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

static int do_xsetbv(struct x86_cpu *c, const struct x86_insn *i)
{
	int r;

	if (!(c->cr4 & X86_CR4_OSXSAVE))
		return x86_raise(c, X86_UD);
	r = x86_check_attr(c, i);
	return r ? r : done(x86_set_xcr(c, c->regs[X86_RCX], edx_eax(c)));
}

X86_HANDLER(rdmsr, do_rdmsr);
X86_HANDLER(wrmsr, do_wrmsr);
X86_HANDLER(rdtsc, do_rdtsc);
X86_HANDLER(rdtscp, do_rdtscp);
X86_HANDLER(rdpmc, do_rdpmc);
X86_HANDLER(cpuid, do_cpuid);
X86_HANDLER(xgetbv, do_xgetbv);
X86_HANDLER(xsetbv, do_xsetbv);

/* ---- translations and caches ---- */

static int do_invlpg(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 lin = (c->seg[i->seg].base + x86_ea(c, i)) & c->lin_mask;
	int r = x86_check_attr(c, i);

	if (r)
		return r;
	if (x86_canonical(lin))
		x86_tlb_flush_page(c, lin);
	return done(X86_OK);
}

static int do_invpcid(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 type = c->mode == X86_MODE_64 ? c->regs[i->reg] : (u32)c->regs[i->reg], desc[2], lin;
	int r = x86_check_attr(c, i);

	if (!r)
		r = x86_operand_lin(c, i, 16, X86_READ, &lin);
	if (!r)
		r = x86_read_buf(c, lin, desc, 16);
	if (r)
		return r;
	if (type > 3 || desc[0] >> 12)
		return x86_raise_err(c, X86_GP, 0);
	if (type < 2 && desc[0] && !(c->cr4 & X86_CR4_PCIDE))
		return x86_raise_err(c, X86_GP, 0);
	if (type == 0) {
		if (!x86_canonical(desc[1]))
			return x86_raise_err(c, X86_GP, 0);
		x86_tlb_flush_page_pcid(c, desc[1], desc[0]);
	} else if (type == 1) {
		x86_tlb_flush_pcid(c, desc[0]);
	} else {
		x86_tlb_flush_all(c);
	}
	return done(X86_OK);
}

/* INVD, WBINVD, WBNOINVD: memory is coherent. */
static int do_wbinvd(struct x86_cpu *c, const struct x86_insn *i)
{
	smp_mb();
	return x86_check_attr(c, i);
}

X86_HANDLER(invlpg, do_invlpg);
X86_HANDLER(invpcid, do_invpcid);
X86_HANDLER(wbinvd, do_wbinvd);

/* ---- MONITOR, MWAIT: MWAIT may wake at any time, so it does at once ---- */

/* As KVM has it, they are there whatever CPUID says, unless the VMM has switched that off. */
static bool no_mwait(const struct x86_cpu *c)
{
	u64 off = READ_ONCE(c->vcpu->kvm->arch.disabled_quirks);
	bool shown = off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT ? c->misc_enable & X86_MISC_ENABLE_MWAIT :
								x86_has(c, X86_FEATURE_MONITOR);

	return (off & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) && !shown;
}

static int do_monitor(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 lin;
	u8 byte;
	int r;

	if (c->cpl != 0 || no_mwait(c))
		return x86_raise(c, X86_UD);
	if ((u32)c->regs[X86_RCX])
		return x86_raise_err(c, X86_GP, 0);
	r = x86_lin(c, i->seg, i->addrsize == 8 ? c->regs[X86_RAX] : i->addrsize == 4 ?
		    (u32)c->regs[X86_RAX] : (u16)c->regs[X86_RAX], 1, X86_READ, &lin);
	return r ? r : x86_read_buf(c, lin, &byte, 1);
}

static int do_mwait(struct x86_cpu *c, const struct x86_insn *i)
{
	if (c->cpl != 0 || no_mwait(c))
		return x86_raise(c, X86_UD);
	if ((u32)c->regs[X86_RCX] & ~1u)	/* bit 0: interrupts wake it even with IF clear */
		return x86_raise_err(c, X86_GP, 0);
	return X86_DONE;
}

X86_HANDLER(monitor, do_monitor);
X86_HANDLER(mwait, do_mwait);

/* ---- SMAP's flag, hypercalls ---- */

static int set_ac(struct x86_cpu *c, u64 ac)
{
	if (c->cpl != 0)
		return x86_raise(c, X86_UD);
	c->rflags = (c->rflags & ~(u64)X86_RFLAGS_AC) | ac;
	x86_mmu_access_mode(c);
	return X86_OK;
}

static int do_clac(struct x86_cpu *c, const struct x86_insn *i)
{
	return set_ac(c, 0);
}

static int do_stac(struct x86_cpu *c, const struct x86_insn *i)
{
	return set_ac(c, X86_RFLAGS_AC);
}

/*
 * VMCALL is Intel's, VMMCALL AMD's. A guest that guessed the wrong vendor is served, and the instruction that it
 * used replaced by the other where its pages can be written: the quirk of Linux's KVM, for guests that moved.
 */
static int hypercall(struct x86_cpu *c, u8 vendor)
{
	u64 last = c_rip(c) - 1;
	struct x86_mapping map;

	if (likely(c->vendor == vendor))
		return kvm_hypercall(c->vcpu);
	if (c->vcpu->kvm->arch.disabled_quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN)
		return x86_raise(c, X86_UD);
	if (!c->careful)
		return X86_CAREFUL;
	if (c->mode != X86_MODE_64)
		last = (u32)(last + c->seg[X86_SEG_CS].base);
	/* 0F 01 C1 and 0F 01 D9 */
	if (x86_translate(c, last, X86_WRITE, false, &map) == X86_OK && map.host)
		WRITE_ONCE(*map.host, c->vendor == X86_VENDOR_AMD ? 0xd9 : 0xc1);
	return kvm_hypercall(c->vcpu);
}

static int do_vmcall(struct x86_cpu *c, const struct x86_insn *i)
{
	return hypercall(c, X86_VENDOR_INTEL);
}

static int do_vmmcall(struct x86_cpu *c, const struct x86_insn *i)
{
	return hypercall(c, X86_VENDOR_AMD);
}

X86_HANDLER(clac, do_clac);
X86_HANDLER(stac, do_stac);
X86_HANDLER(vmcall, do_vmcall);
X86_HANDLER(vmmcall, do_vmmcall);
