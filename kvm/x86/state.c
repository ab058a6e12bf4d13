/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The API's register groups (Documentation/virt/kvm/api.rst): general, special, debug registers and XCR0.
 *
 * A VMM sets any state that a processor could be in, in one step; so these do not go through control.c's
 * rules of what may change into what, only through the rules of what can be.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/state.h"

void x86_get_regs(const struct x86_cpu *c, struct kvm_regs *r)
{
	*r = (struct kvm_regs){
		.rax = c->regs[X86_RAX], .rbx = c->regs[X86_RBX], .rcx = c->regs[X86_RCX],
		.rdx = c->regs[X86_RDX], .rsi = c->regs[X86_RSI], .rdi = c->regs[X86_RDI],
		.rsp = c->regs[X86_RSP], .rbp = c->regs[X86_RBP], .r8 = c->regs[X86_R8],
		.r9 = c->regs[X86_R9], .r10 = c->regs[X86_R10], .r11 = c->regs[X86_R11],
		.r12 = c->regs[X86_R12], .r13 = c->regs[X86_R13], .r14 = c->regs[X86_R14],
		.r15 = c->regs[X86_R15], .rip = c_rip(c), .rflags = c->rflags,
	};
}

void x86_set_regs(struct x86_cpu *c, const struct kvm_regs *r)
{
	/* An answer that the VMM owes belongs to an instruction that is no longer the next one. */
	if (r->rip != c_rip(c)) {
		c->io.nr_reads = c->io.next_read = 0;
		c->io.wait = X86_WAIT_NONE;
	}
	c->regs[X86_RAX] = r->rax;
	c->regs[X86_RBX] = r->rbx;
	c->regs[X86_RCX] = r->rcx;
	c->regs[X86_RDX] = r->rdx;
	c->regs[X86_RSI] = r->rsi;
	c->regs[X86_RDI] = r->rdi;
	c->regs[X86_RSP] = r->rsp;
	c->regs[X86_RBP] = r->rbp;
	c->regs[X86_R8] = r->r8;
	c->regs[X86_R9] = r->r9;
	c->regs[X86_R10] = r->r10;
	c->regs[X86_R11] = r->r11;
	c->regs[X86_R12] = r->r12;
	c->regs[X86_R13] = r->r13;
	c->regs[X86_R14] = r->r14;
	c->regs[X86_R15] = r->r15;
	c_rip(c) = r->rip;
	x86_set_rflags(c, r->rflags);
	x86_update_mode(c);
}

/* ---- special registers ---- */

static void get_segment(const struct x86_segment *s, struct kvm_segment *out)
{
	*out = (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->sel,
		.type = s->attr & X86_SEG_TYPE,
		.present = !!(s->attr & X86_SEG_P),
		.dpl = X86_SEG_DPL(s->attr),
		.db = !!(s->attr & X86_SEG_DB),
		.s = !!(s->attr & X86_SEG_S),
		.l = !!(s->attr & X86_SEG_L),
		.g = !!(s->attr & X86_SEG_G),
		.avl = !!(s->attr & X86_SEG_AVL),
		.unusable = !!(s->attr & X86_SEG_UNUSABLE),
	};
}

static void set_segment(struct x86_segment *s, const struct kvm_segment *in)
{
	*s = (struct x86_segment){
		.base = in->base, .limit = in->limit, .sel = in->selector,
		.attr = (in->type & 0xf) | (in->s & 1) << 4 | (in->dpl & 3) << 5 | (in->avl & 1) << 12 |
			(in->l & 1) << 13 | (in->db & 1) << 14 | (u32)(in->g & 1) << 15,
	};
	s->attr |= in->unusable || !in->present ? X86_SEG_UNUSABLE : X86_SEG_P;
}

void x86_get_sregs2(struct x86_cpu *c, struct kvm_sregs2 *s)
{
	memset(s, 0, sizeof(*s));
	get_segment(&c->seg[X86_SEG_CS], &s->cs);
	get_segment(&c->seg[X86_SEG_DS], &s->ds);
	get_segment(&c->seg[X86_SEG_ES], &s->es);
	get_segment(&c->seg[X86_SEG_FS], &s->fs);
	get_segment(&c->seg[X86_SEG_GS], &s->gs);
	get_segment(&c->seg[X86_SEG_SS], &s->ss);
	get_segment(&c->seg[X86_SEG_TR], &s->tr);
	get_segment(&c->seg[X86_SEG_LDTR], &s->ldt);
	s->idt.base = c->idt.base;
	s->idt.limit = c->idt.limit;
	s->gdt.base = c->gdt.base;
	s->gdt.limit = c->gdt.limit;
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->cr8 = x86_get_cr8(c);
	s->efer = c->efer;
	s->apic_base = c->apic_base;
	if (x86_pae_paging(c)) {
		u64 pdptrs[4];

		x86_mmu_get_pdptrs(c, pdptrs);
		memcpy(s->pdptrs, pdptrs, sizeof(pdptrs));
		s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
}

void x86_get_sregs(struct x86_cpu *c, struct kvm_sregs *s)
{
	struct kvm_sregs2 s2;

	/* The two differ behind apic_base: an interrupt on its way, or PAE's pointers. */
	x86_get_sregs2(c, &s2);
	memset(s, 0, sizeof(*s));
	memcpy(s, &s2, offsetof(struct kvm_sregs, interrupt_bitmap));
	if (c->ev.interrupt_injected && !c->ev.interrupt_soft)
		s->interrupt_bitmap[c->ev.interrupt_vector / 64] |= 1ull << (c->ev.interrupt_vector % 64);
}

static bool valid_sregs(const struct x86_cpu *c, const struct kvm_sregs2 *s)
{
	if ((s->efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG)) {
		if (!(s->cr4 & X86_CR4_PAE) || !(s->efer & X86_EFER_LMA) || s->cr3 >> c->phys_bits)
			return false;
	} else if ((s->efer & X86_EFER_LMA) || s->cs.l) {
		return false;
	}
	if (s->cr0 >> 32)
		return false;
	if ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD))
		return false;
	if ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE))
		return false;
	if (s->efer & ~(u64)(X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_FFXSR))
		return false;
	return !(s->cr4 & ~x86_cr4_allowed(c)) && !(s->cr8 >> 4);
}

static int set_sregs(struct x86_cpu *c, const struct kvm_sregs2 *s, const u64 *pdptrs)
{
	if (!valid_sregs(c, s))
		return -EINVAL;
	if (kvm_lapic_set_base(c->vcpu, s->apic_base, true))
		return -EINVAL;
	c->idt = (struct x86_table){ .base = s->idt.base, .limit = s->idt.limit };
	c->gdt = (struct x86_table){ .base = s->gdt.base, .limit = s->gdt.limit };
	c->cr2 = s->cr2;
	c->cr3 = s->efer & X86_EFER_LMA ? s->cr3 : (u32)s->cr3;
	c->cr0 = s->cr0 | X86_CR0_ET;
	c->cr4 = s->cr4;
	c->efer = s->efer;
	set_segment(&c->seg[X86_SEG_CS], &s->cs);
	set_segment(&c->seg[X86_SEG_DS], &s->ds);
	set_segment(&c->seg[X86_SEG_ES], &s->es);
	set_segment(&c->seg[X86_SEG_FS], &s->fs);
	set_segment(&c->seg[X86_SEG_GS], &s->gs);
	set_segment(&c->seg[X86_SEG_SS], &s->ss);
	set_segment(&c->seg[X86_SEG_TR], &s->tr);
	set_segment(&c->seg[X86_SEG_LDTR], &s->ldt);
	x86_set_cr8(c, s->cr8);
	if (pdptrs && x86_pae_paging(c)) {
		x86_mmu_set_pdptrs(c, pdptrs);
		x86_tlb_flush_all(c);
	} else {
		/* Pointers that cannot be read are the guest's to stumble over, as in Linux. */
		x86_mmu_reconfigure(c);
	}
	x86_update_mode(c);

	/* A VMM that resets a processor by its registers wakes it so. */
	if (c->lapic && (c->apic_base & X86_APIC_BASE_BSP) && c_rip(c) == 0xfff0 &&
	    c->seg[X86_SEG_CS].sel == 0xf000 && c->seg[X86_SEG_CS].base == 0xffff0000 &&
	    !x86_protected(c))
		c->mp_state = KVM_MP_STATE_RUNNABLE;
	kvm_make_own_request(c->vcpu, KVM_REQ_EVENT);
	return 0;
}

int x86_set_sregs2(struct x86_cpu *c, const struct kvm_sregs2 *s)
{
	bool valid_pdptrs = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	bool pae = (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && !(s->efer & X86_EFER_LMA);
	u64 pdptrs[4];

	if ((s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID) || (valid_pdptrs && !pae))
		return -EINVAL;
	memcpy(pdptrs, s->pdptrs, sizeof(pdptrs));
	return set_sregs(c, s, valid_pdptrs ? pdptrs : NULL);
}

int x86_set_sregs(struct x86_cpu *c, const struct kvm_sregs *s)
{
	struct kvm_sregs2 s2 = { 0 };
	int r;

	memcpy(&s2, s, offsetof(struct kvm_sregs, interrupt_bitmap));
	r = set_sregs(c, &s2, NULL);
	if (r)
		return r;
	for (u32 n = 0; n < 256; n++) {
		if (!(s->interrupt_bitmap[n / 64] & (1ull << (n % 64))))
			continue;
		c->ev.interrupt_injected = true;
		c->ev.interrupt_soft = false;
		c->ev.interrupt_vector = n;
		break;
	}
	return 0;
}

/* ---- debug registers, XCR0 ---- */

void x86_get_debugregs(const struct x86_cpu *c, struct kvm_debugregs *d)
{
	memset(d, 0, sizeof(*d));
	for (int n = 0; n < 4; n++)
		d->db[n] = c->dr[n];
	d->dr6 = c->dr6;
	d->dr7 = c->dr7;
}

int x86_set_debugregs(struct x86_cpu *c, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	for (int n = 0; n < 4; n++)
		c->dr[n] = d->db[n];
	c->dr6 = (d->dr6 & X86_DR6_WRITABLE) | X86_DR6_FIXED;
	c->dr7 = (d->dr7 & X86_DR7_WRITABLE) | X86_DR7_FIXED;
	x86_mmu_access_mode(c);
	return 0;
}

int x86_get_xcrs(const struct x86_cpu *c, struct kvm_xcrs *x)
{
	memset(x, 0, sizeof(*x));
	x->nr_xcrs = 1;
	x->xcrs[0].value = c->fpu.xcr0;
	return 0;
}

int x86_set_xcrs(struct x86_cpu *c, const struct kvm_xcrs *x)
{
	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (u32 n = 0; n < x->nr_xcrs; n++) {
		if (x->xcrs[n].xcr != 0)
			continue;
		return x86_set_xcr(c, 0, x->xcrs[n].value) == X86_OK ? 0 : -EINVAL;
	}
	return 0;
}
