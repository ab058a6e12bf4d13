/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A case in a vCPU of libanykvm: long mode, CPL 3, page tables that map what the native child has
 * at the same linear addresses with the same rights. The instruction is decoded, bound and called
 * as the software processor's loop does it; a fault is taken from the vCPU instead of being
 * delivered.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "insn.h"
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/xstate.h"

/* Guest-physical layout: page tables, then the code pages, then the data region. */
#define GPA_PML4	0x1000
#define GPA_PDPT	0x2000
#define GPA_PD		0x3000
#define GPA_PT_CODE	0x4000
#define GPA_PT_DATA	0x5000
#define GPA_CODE	0x8000
#define GPA_DATA	0x10000
#define GPA_SIZE	(GPA_DATA + DATA_SIZE)

#define PTE_P		1ull
#define PTE_W		2ull
#define PTE_U		4ull
#define PTE_ALL		(PTE_P | PTE_W | PTE_U)
#define PTE_NX		(1ull << 63)

/* More than a repeated instruction can be interrupted. */
#define MAX_RESTARTS	(1 << 20)

static struct kvm_vcpu *vcpu;
static u8 *ram;

struct x86_cpu *interp_cpu(void)
{
	return &vcpu->cpu;
}

static void set_entry(u64 table, u32 index, u64 entry)
{
	((u64 *)(ram + table))[index] = entry;
}

static void make_page_tables(void)
{
	set_entry(GPA_PML4, 0, GPA_PDPT | PTE_ALL);
	set_entry(GPA_PDPT, 0, GPA_PD | PTE_ALL);
	set_entry(GPA_PD, CODE_BASE >> 21, GPA_PT_CODE | PTE_ALL);
	set_entry(GPA_PD, DATA_BASE >> 21, GPA_PT_DATA | PTE_ALL);
	for (u32 i = 0; i < CODE_PAGES; i++)
		set_entry(GPA_PT_CODE, ((CODE_PAGE >> 12) + i) & 511, (GPA_CODE + i * PAGE_SIZE) | PTE_ALL);
	for (u32 i = 0; i < ARRAY_SIZE(data_pages); i++)
		set_entry(GPA_PT_DATA, ((DATA_BASE + data_pages[i]) >> 12) & 511,
			  (GPA_DATA + data_pages[i]) | PTE_P | PTE_U | PTE_NX |
			  (data_pages[i] == DATA_READONLY ? 0 : PTE_W));
}

static struct x86_segment segment(u16 sel, u64 base, u32 limit, u32 attr)
{
	return (struct x86_segment){ .base = base, .limit = limit, .attr = attr, .sel = sel };
}

/* The attributes of user segments: present, DPL 3, accessed. */
#define ATTR_DATA	(X86_SEG_P | 3 << 5 | X86_SEG_S | 3)
#define ATTR_CODE	(X86_SEG_P | 3 << 5 | X86_SEG_S | 11)

static void set_segments(struct x86_cpu *c, const struct test_case *t)
{
	struct x86_segment flat = segment(0x2b, 0, ~0u, ATTR_DATA | X86_SEG_DB | X86_SEG_G);
	struct x86_segment small = segment(0xf, DATA_BASE, DATA_SIZE - 1, ATTR_DATA | X86_SEG_DB);
	struct x86_segment data = t->small_data ? small : flat;

	switch (t->mode) {
	case X86_MODE_64:
		c->seg[X86_SEG_CS] = segment(0x33, 0, ~0u, ATTR_CODE | X86_SEG_L | X86_SEG_G);
		break;
	case X86_MODE_32:
		c->seg[X86_SEG_CS] = segment(0x23, 0, ~0u, ATTR_CODE | X86_SEG_DB | X86_SEG_G);
		break;
	default:
		c->seg[X86_SEG_CS] = segment(0x7, CODE_BASE, 0xffff, ATTR_CODE);
	}
	c->seg[X86_SEG_DS] = data;
	c->seg[X86_SEG_ES] = data;
	c->seg[X86_SEG_SS] = t->stack16 ? segment(0x17, DATA_BASE, DATA_SIZE - 1, ATTR_DATA) : data;
	c->seg[X86_SEG_FS] = small;
	c->seg[X86_SEG_GS] = small;
	if (t->mode == X86_MODE_64) {
		c->seg[X86_SEG_DS].sel = 0;
		c->seg[X86_SEG_ES].sel = 0;
		c->seg[X86_SEG_FS] =
			segment(0, t->in.fs_base, ~0u, ATTR_DATA | X86_SEG_DB | X86_SEG_G);
		c->seg[X86_SEG_GS] =
			segment(0, t->in.gs_base, ~0u, ATTR_DATA | X86_SEG_DB | X86_SEG_G);
	}
}

int interp_init(struct memory *mem)
{
	struct kvm_userspace_memory_region region = { .memory_size = GPA_SIZE };
	struct x86_cpu *c;
	struct kvm *kvm;
	void *run;
	int error = 0;

	ram = mmap(NULL, GPA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	run = mmap(NULL, KVM_VCPU_MMAP_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED || run == MAP_FAILED)
		return -errno;
	make_page_tables();
	memset(ram + GPA_CODE, 0xcc, CODE_PAGES * PAGE_SIZE);
	kvm = kvm_create_vm(0, &error);
	if (!kvm)
		return error;
	region.userspace_addr = (u64)ram;
	error = kvm_set_memory_region(kvm, &region);
	if (error)
		return error;
	error = kvm_create_vcpu(kvm, 0, run, KVM_VCPU_MMAP_PAGES * PAGE_SIZE, &vcpu);
	if (error)
		return error;

	kvm_vcpu_enter(vcpu);
	c = &vcpu->cpu;
	c->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		 X86_CR0_PG;
	c->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
		 X86_CR4_FSGSBASE;
	c->cr3 = GPA_PML4;
	c->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	c->fpu.xcr0 = 7;
	if (x86_mmu_reconfigure(c) != X86_OK)
		return -EINVAL;
	x86_mmu_cr3_changed(c, true);
	x86_fpu_update_mode(c);
	mem->data = ram + GPA_DATA;
	mem->code = ram + GPA_CODE;
	return 0;
}

static void load_fp(struct x86_cpu *c, const u8 *xsave)
{
	u32 mask = c->fpu.mxcsr_mask;

	memcpy(c->fpu.fx, xsave, 160);
	memcpy(c->fpu.fx + X86_FX_ST, xsave + X86_FX_ST, 8 * 16);
	memcpy(c->fpu.fx + X86_FX_MXCSR_MASK, &mask, 4);
	c->fpu.fcs = c->fpu.fds = 0;
	for (u32 i = 0; i < 16; i++) {
		memcpy(c->fpu.ymm[i].b, xsave + X86_FX_XMM + 16 * i, 16);
		memcpy(c->fpu.ymm[i].b + 16, xsave + XSAVE_YMM + 16 * i, 16);
	}
}

static void store_fp(const struct x86_cpu *c, u8 *xsave)
{
	memcpy(xsave, c->fpu.fx, 160);
	for (u32 i = 0; i < 16; i++) {
		memcpy(xsave + X86_FX_XMM + 16 * i, c->fpu.ymm[i].b, 16);
		memcpy(xsave + XSAVE_YMM + 16 * i, c->fpu.ymm[i].b + 16, 16);
	}
}

/* Calls the handler until the instruction is done: repeated ones stop between elements. */
static int execute(struct x86_cpu *c, const struct test_case *t, struct x86_insn *i)
{
	for (u32 n = 0; n < MAX_RESTARTS; n++) {
		int r;

		c_rip(c) = t->in.rip + i->len;
		if (t->mode != X86_MODE_64)
			c_rip(c) = (u32)c_rip(c);
		c->attention = t->attention;
		c->io.next_read = 0;
		r = i->fn(c, i);
		if (r == X86_CAREFUL && !c->careful) {
			c->careful = true;
			continue;
		}
		if (r == X86_RESTART || (r == X86_DONE && c_rip(c) == t->in.rip))
			continue;
		return r;
	}
	return X86_EXIT;
}

void interp_load(const struct test_case *t)
{
	struct x86_cpu *c = &vcpu->cpu;

	memcpy(c->regs, t->in.gpr, sizeof(t->in.gpr));
	c_rip(c) = t->in.rip;
	c->rflags = t->in.rflags;
	c->cpl = 3;
	set_segments(c, t);
	x86_update_mode(c);
	if (t->fp)
		load_fp(c, t->in.xsave);
}

bool interp_run(const struct test_case *t, struct outcome *o, const char **why)
{
	struct x86_cpu *c = &vcpu->cpu;
	struct x86_insn i = t->insn;
	int r;

	interp_load(t);
	c->careful = t->careful;
	if (t->lazy_fp)
		soft_fpu_enter(c);
	soft_bind_insn(c, &i);
	r = execute(c, t, &i);
	if (t->lazy_fp)
		soft_fpu_leave(c);
	c->careful = false;
	c->attention = 0;

	if (r == X86_FAULT)
		x86_finish_fault(c, &i);
	o->fault = r == X86_FAULT;
	o->vector = o->fault ? c->fault.vector : 0;
	o->error = o->fault && c->fault.has_error ? c->fault.error : 0;
	o->cr2 = o->fault && c->fault.vector == X86_PF ? c->fault.payload : 0;
	memcpy(o->out.gpr, c->regs, sizeof(o->out.gpr));
	o->out.rip = o->fault ? t->in.rip : c_rip(c);
	o->out.rflags = c->rflags;
	o->out.fs_base = c->seg[X86_SEG_FS].base;
	o->out.gs_base = c->seg[X86_SEG_GS].base;
	if (t->fp)
		store_fp(c, o->out.xsave);
	if (r == X86_OK || r == X86_DONE || r == X86_FAULT)
		return true;
	*why = r == X86_EXIT ? "the handler wants the VMM, or does not end"
			     : "the handler's result";
	return false;
}
