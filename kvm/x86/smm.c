/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System management mode (APM volume 2, 10; SDM volume 3, 32): what an SMI does, and RSM.
 *
 * An SMI saves the processor's state at the end of the 64 KiB that SMBASE points to, in the second address space,
 * and starts the handler at their half in what is real mode but for its limits of 4 GiB. RSM is the way back. The
 * handler may change what was saved, SMBASE too: so all of it is checked, and what no processor could be in is a
 * shutdown. As under Linux's KVM, whose map of the saved state this is (AMD's, and the 32-bit one of old for a
 * processor that has no long mode), HLT and port accesses are not restarted: an SMI comes behind them.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/events.h"
#include "kvm/x86/handlers_sys.h"
#include "kvm/x86/mem.h"

/* From SMBASE. */
#define ENTRY		0x8000
#define MAP		0xfe00
#define MAP_SIZE	0x200

/* Both maps. The revision's bit 17: SMBASE can be relocated. */
#define MAP_REVISION	0xfefc
#define REVISION_64	0x20064
#define REVISION_32	0x20000

/* APM volume 2, table 10-1. */
#define MAP64_SEG(n)	(0xfe00 + (n) * 16)	/* ES, CS, SS, DS, FS, GS: selector, attributes, limit, base */
#define MAP64_GDTR	0xfe60			/* limit and base where segments have them */
#define MAP64_LDTR	0xfe70
#define MAP64_IDTR	0xfe80
#define MAP64_TR	0xfe90
#define MAP64_EFER	0xfed0
#define MAP64_SMBASE	0xff00
#define MAP64_CR4	0xff48
#define MAP64_CR3	0xff50
#define MAP64_CR0	0xff58
#define MAP64_DR7	0xff60
#define MAP64_DR6	0xff68
#define MAP64_RFLAGS	0xff70
#define MAP64_RIP	0xff78
#define MAP64_REG(n)	(0xfff8 - (n) * 8)

/* The map of old: descriptors are attributes (where a descriptor has them), limit, base. */
#define MAP32_SMBASE	0xfef8
#define MAP32_CR4	0xff14
#define MAP32_SEG(n)	((n) < 3 ? 0xff84 + (n) * 12 : 0xff2c + ((n) - 3) * 12)
#define MAP32_IDTR	0xff50			/* limit and base where descriptors have them */
#define MAP32_TR	0xff5c
#define MAP32_GDTR	0xff6c
#define MAP32_LDTR	0xff78
#define MAP32_SEL(n)	(0xffa8 + (n) * 4)
#define MAP32_LDTR_SEL	0xffc0
#define MAP32_TR_SEL	0xffc4
#define MAP32_DR7	0xffc8
#define MAP32_DR6	0xffcc
#define MAP32_REG(n)	(0xffd0 + (n) * 4)
#define MAP32_EIP	0xfff0
#define MAP32_EFLAGS	0xfff4
#define MAP32_CR3	0xfff8
#define MAP32_CR0	0xfffc

#define ATTRIBUTES	(X86_SEG_TYPE | X86_SEG_S | (3 << 5) | X86_SEG_P | X86_SEG_AVL | X86_SEG_L | X86_SEG_DB | X86_SEG_G)

static void put(u8 *map, u32 at, u64 val, u32 size)
{
	memcpy(map + at - MAP, &val, size);
}

static u64 get(const u8 *map, u32 at, u32 size)
{
	u64 val = 0;

	memcpy(&val, map + at - MAP, size);
	return val;
}

static u32 saved_attributes(const struct x86_segment *s)
{
	return s->attr & (s->attr & X86_SEG_UNUSABLE ? ATTRIBUTES & ~X86_SEG_P : ATTRIBUTES);
}

static u32 loaded_attributes(u32 attr)
{
	return (attr & ATTRIBUTES) | (attr & X86_SEG_P ? 0 : X86_SEG_UNUSABLE);
}

/* ---- the 64-bit map ---- */

static void save_segment64(u8 *map, u32 at, const struct x86_segment *s)
{
	put(map, at, s->sel, 2);
	put(map, at + 2, saved_attributes(s), 2);
	put(map, at + 4, s->limit, 4);
	put(map, at + 8, s->base, 8);
}

static void load_segment64(const u8 *map, u32 at, struct x86_segment *s)
{
	*s = (struct x86_segment){
		.sel = get(map, at, 2), .attr = loaded_attributes(get(map, at + 2, 2)),
		.limit = get(map, at + 4, 4), .base = get(map, at + 8, 8),
	};
}

static void save_table64(u8 *map, u32 at, const struct x86_table *t)
{
	put(map, at + 4, t->limit, 4);
	put(map, at + 8, t->base, 8);
}

static void load_table64(const u8 *map, u32 at, struct x86_table *t)
{
	t->limit = get(map, at + 4, 4);
	t->base = get(map, at + 8, 8);
}

static void save64(const struct x86_cpu *c, u8 *map)
{
	for (int n = X86_RAX; n <= X86_R15; n++)
		put(map, MAP64_REG(n), c->regs[n], 8);
	put(map, MAP64_RIP, c_rip(c), 8);
	put(map, MAP64_RFLAGS, c->rflags, 4);
	put(map, MAP64_DR6, c->dr6, 8);
	put(map, MAP64_DR7, c->dr7, 8);
	put(map, MAP64_CR0, c->cr0, 8);
	put(map, MAP64_CR3, c->cr3, 8);
	put(map, MAP64_CR4, c->cr4, 8);
	put(map, MAP64_EFER, c->efer, 8);
	put(map, MAP64_SMBASE, c->smbase, 4);
	put(map, MAP_REVISION, REVISION_64, 4);
	for (int n = X86_SEG_ES; n <= X86_SEG_GS; n++)
		save_segment64(map, MAP64_SEG(n), &c->seg[n]);
	save_segment64(map, MAP64_TR, &c->seg[X86_SEG_TR]);
	save_segment64(map, MAP64_LDTR, &c->seg[X86_SEG_LDTR]);
	save_table64(map, MAP64_GDTR, &c->gdt);
	save_table64(map, MAP64_IDTR, &c->idt);
}

/* ---- the 32-bit map ---- */

static void save_segment32(u8 *map, u32 at, u32 sel_at, const struct x86_segment *s)
{
	put(map, sel_at, s->sel, 4);
	put(map, at, saved_attributes(s) << 8, 4);
	put(map, at + 4, s->limit, 4);
	put(map, at + 8, s->base, 4);
}

static void load_segment32(const u8 *map, u32 at, u32 sel_at, struct x86_segment *s)
{
	*s = (struct x86_segment){
		.sel = get(map, sel_at, 4), .attr = loaded_attributes(get(map, at, 4) >> 8),
		.limit = get(map, at + 4, 4), .base = get(map, at + 8, 4),
	};
}

static void save_table32(u8 *map, u32 at, const struct x86_table *t)
{
	put(map, at + 4, t->limit, 4);
	put(map, at + 8, t->base, 4);
}

static void load_table32(const u8 *map, u32 at, struct x86_table *t)
{
	t->limit = get(map, at + 4, 4);
	t->base = get(map, at + 8, 4);
}

static void save32(const struct x86_cpu *c, u8 *map)
{
	put(map, MAP32_CR0, c->cr0, 4);
	put(map, MAP32_CR3, c->cr3, 4);
	put(map, MAP32_CR4, c->cr4, 4);
	put(map, MAP32_EFLAGS, c->rflags, 4);
	put(map, MAP32_EIP, c_rip(c), 4);
	for (int n = X86_RAX; n <= X86_RDI; n++)
		put(map, MAP32_REG(n), c->regs[n], 4);
	put(map, MAP32_DR6, c->dr6, 4);
	put(map, MAP32_DR7, c->dr7, 4);
	put(map, MAP32_SMBASE, c->smbase, 4);
	put(map, MAP_REVISION, REVISION_32, 4);
	for (int n = X86_SEG_ES; n <= X86_SEG_GS; n++)
		save_segment32(map, MAP32_SEG(n), MAP32_SEL(n), &c->seg[n]);
	save_segment32(map, MAP32_TR, MAP32_TR_SEL, &c->seg[X86_SEG_TR]);
	save_segment32(map, MAP32_LDTR, MAP32_LDTR_SEL, &c->seg[X86_SEG_LDTR]);
	save_table32(map, MAP32_GDTR, &c->gdt);
	save_table32(map, MAP32_IDTR, &c->idt);
}

/* ---- in ---- */

void x86_smm_changed(struct x86_cpu *c, bool smm)
{
	c->ev.smm = smm;
	if (!smm) {
		c->ev.smm_inside_nmi = false;
		/* INIT, or another SMI, may have been waiting for it. */
		kvm_make_own_request(c->vcpu, KVM_REQ_EVENT);
	}
	/* The same addresses are other memory. */
	x86_tlb_flush_all(c);
}

void x86_enter_smm(struct x86_cpu *c)
{
	const struct x86_segment flat = {
		.limit = 0xffffffff,
		.attr = X86_SEG_P | X86_SEG_S | X86_SEG_G | X86_TYPE_RW | X86_TYPE_ACCESSED,
	};
	u8 map[MAP_SIZE] = { 0 };
	bool lm = x86_has(c, X86_FEATURE_LM);

	if (lm)
		save64(c, map);
	else
		save32(c, map);
	c->smi_count++;
	x86_smm_changed(c, true);
	/* Where there is no memory, the state is lost: the handler's author finds out. */
	kvm_vcpu_write_guest(c->vcpu, c->smbase + MAP, map, sizeof(map));

	c->ev.smm_inside_nmi = c->ev.nmi_masked;
	c->ev.nmi_masked = true;
	c->cr0 &= ~(u64)(X86_CR0_PE | X86_CR0_EM | X86_CR0_TS | X86_CR0_PG);
	c->cr4 = 0;
	if (lm)
		c->efer = 0;
	c->idt = (struct x86_table){ 0 };
	c->dr7 = X86_DR7_FIXED;
	for (int n = X86_SEG_ES; n <= X86_SEG_GS; n++)
		c->seg[n] = flat;
	c->seg[X86_SEG_CS].sel = c->smbase >> 4;
	c->seg[X86_SEG_CS].base = c->smbase;
	c_rip(c) = ENTRY;
	x86_set_rflags(c, X86_RFLAGS_FIXED);
	x86_mmu_reconfigure(c);
	x86_update_mode(c);
}

/* ---- out ---- */

/* CR0, CR3, CR4, from a state without paging and with the EFER to be. False: a state that cannot be. */
static bool load_paging(struct x86_cpu *c, u64 cr0, u64 cr3, u64 cr4)
{
	u64 pcid = cr4 & X86_CR4_PCIDE ? cr3 & 0xfff : 0;

	if (cr3 >> c->phys_bits)
		return false;
	/* PCIDs can be turned on in long mode only, and with a CR3 that has none. */
	c->cr3 = cr3 - pcid;
	if (x86_set_cr4(c, cr4 & ~(u64)X86_CR4_PCIDE) || x86_set_cr0(c, cr0))
		return false;
	if (!x86_long_mode(c))
		c->cr3 = (u32)c->cr3;
	return !(cr4 & X86_CR4_PCIDE) || (!x86_set_cr4(c, cr4) && !x86_set_cr3(c, cr3));
}

static bool load64(struct x86_cpu *c, const u8 *map)
{
	u64 rflags = get(map, MAP64_RFLAGS, 4);

	for (int n = X86_RAX; n <= X86_R15; n++)
		c->regs[n] = get(map, MAP64_REG(n), 8);
	c_rip(c) = get(map, MAP64_RIP, 8);
	x86_set_rflags(c, rflags & ~(u64)X86_RFLAGS_VM);
	c->smbase = get(map, MAP64_SMBASE, 4);
	load_table64(map, MAP64_GDTR, &c->gdt);
	load_table64(map, MAP64_IDTR, &c->idt);
	if (x86_set_dr(c, 6, get(map, MAP64_DR6, 8)) || x86_set_dr(c, 7, get(map, MAP64_DR7, 8)) ||
	    x86_set_efer(c, get(map, MAP64_EFER, 8) & ~(u64)X86_EFER_LMA) ||
	    !load_paging(c, get(map, MAP64_CR0, 8), get(map, MAP64_CR3, 8), get(map, MAP64_CR4, 8)))
		return false;
	for (int n = X86_SEG_ES; n <= X86_SEG_GS; n++)
		load_segment64(map, MAP64_SEG(n), &c->seg[n]);
	load_segment64(map, MAP64_TR, &c->seg[X86_SEG_TR]);
	load_segment64(map, MAP64_LDTR, &c->seg[X86_SEG_LDTR]);
	/* Long mode has no virtual-8086 mode. */
	if (!x86_long_mode(c))
		x86_set_rflags(c, rflags);
	return true;
}

static bool load32(struct x86_cpu *c, const u8 *map)
{
	for (int n = X86_RAX; n <= X86_RDI; n++)
		c->regs[n] = get(map, MAP32_REG(n), 4);
	c_rip(c) = get(map, MAP32_EIP, 4);
	x86_set_rflags(c, get(map, MAP32_EFLAGS, 4));
	c->smbase = get(map, MAP32_SMBASE, 4);
	load_table32(map, MAP32_GDTR, &c->gdt);
	load_table32(map, MAP32_IDTR, &c->idt);
	if (x86_set_dr(c, 6, get(map, MAP32_DR6, 4)) || x86_set_dr(c, 7, get(map, MAP32_DR7, 4)) ||
	    !load_paging(c, get(map, MAP32_CR0, 4), get(map, MAP32_CR3, 4), get(map, MAP32_CR4, 4)))
		return false;
	for (int n = X86_SEG_ES; n <= X86_SEG_GS; n++)
		load_segment32(map, MAP32_SEG(n), MAP32_SEL(n), &c->seg[n]);
	load_segment32(map, MAP32_TR, MAP32_TR_SEL, &c->seg[X86_SEG_TR]);
	load_segment32(map, MAP32_LDTR, MAP32_LDTR_SEL, &c->seg[X86_SEG_LDTR]);
	return true;
}

static int do_rsm(struct x86_cpu *c, const struct x86_insn *i)
{
	bool lm = x86_has(c, X86_FEATURE_LM);
	u8 map[MAP_SIZE];

	(void)i;
	if (!c->ev.smm)
		return x86_raise(c, X86_UD);
	if (kvm_vcpu_read_guest(c->vcpu, c->smbase + MAP, map, sizeof(map)))
		return x86_internal_error(c, KVM_INTERNAL_ERROR_EMULATION);
	if (!c->ev.smm_inside_nmi)
		c->ev.nmi_masked = false;
	x86_smm_changed(c, false);

	/* Where the rules of what may be changed into what hold nothing up. */
	c->cr0 &= ~(u64)(X86_CR0_PG | X86_CR0_PE);
	c->cr4 &= ~(u64)(X86_CR4_PCIDE | X86_CR4_PAE);
	if (lm)
		c->efer = 0;
	c->seg[X86_SEG_CS].attr &= ~X86_SEG_L;
	if (!(lm ? load64(c, map) : load32(c, map)))
		kvm_make_own_request(c->vcpu, KVM_REQ_TRIPLE_FAULT);
	x86_update_mode(c);
	return X86_DONE;
}
X86_HANDLER(rsm, do_rsm);
