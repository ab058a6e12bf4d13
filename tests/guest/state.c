/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State: each group of registers read and written back, and a whole VM's state moved to another
 * VM, where the guest goes on. This is what a snapshot or a migration rests on.
 */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- One group at a time --------------------------------------------------------------- */

static void regs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "state_regs");
	struct kvm_regs r;

	run_to_exit(vcpu, KVM_EXIT_IO);
	r = regs_of(vcpu);
	CHECK_EQ(r.rax, 0x0101010101010101);
	CHECK_EQ(r.rbx, 0x0202020202020202);
	CHECK_EQ(r.rcx, 0x0303030303030303);
	CHECK_EQ(r.rdx, 0x0404040404040404);
	CHECK_EQ(r.rsi, 0x0505050505050505);
	CHECK_EQ(r.rdi, 0x0606060606060606);
	CHECK_EQ(r.rbp, 0x0707070707070707);
	CHECK_EQ(r.rsp, symbol("stack_top"));
	CHECK_EQ(r.r8, 0x0808080808080808);
	CHECK_EQ(r.r9, 0x0909090909090909);
	CHECK_EQ(r.r10, 0x1010101010101010);
	CHECK_EQ(r.r11, 0x1111111111111111);
	CHECK_EQ(r.r12, 0x1212121212121212);
	CHECK_EQ(r.r13, 0x1313131313131313);
	CHECK_EQ(r.r14, 0x1414141414141414);
	CHECK_EQ(r.r15, 0x1515151515151515);
	CHECK_EQ(r.rflags, 3);
	r.rip = symbol("state_regs_back");
	r.rax = 0x2222222222222222;
	r.r11++;
	KVM(vcpu->fd, KVM_SET_REGS, &r);
	run_to_pass(vcpu);
}

static void sregs(void)
{
	struct vcpu *vcpu = vcpu_create(vm_create(0));
	struct kvm_sregs s = sregs_of(vcpu), back;

	/* As after reset: real mode at 0xfffffff0. */
	CHECK_EQ(s.cr0, 0x60000010);
	CHECK_EQ(s.cr4, 0);
	CHECK_EQ(s.efer, 0);
	CHECK_EQ(s.cs.base, 0xffff0000);
	CHECK_EQ(s.cs.selector, 0xf000);
	CHECK_EQ(s.cs.limit, 0xffff);
	CHECK_EQ(s.ds.base, 0);
	CHECK_EQ(s.idt.limit, 0xffff);
	CHECK_EQ(regs_of(vcpu).rip, 0xfff0);
	CHECK_EQ(regs_of(vcpu).rflags, 2);
	vcpu_start(vcpu, MODE_LONG, "run_hlt");
	s = sregs_of(vcpu);
	CHECK_EQ(s.efer & 0x500, 0x500);
	s.fs.base = 0x123456789000;
	s.gs.base = 0xffff800012345000;
	s.gdt.limit = 0xff;
	s.cr2 = 0xabcdef;
	s.fs.selector = KDS;
	s.ldt = (struct kvm_segment){
		.base = SCRATCH, .limit = 0xfff, .selector = SEL(0), .type = 2, .present = 1,
	};
	KVM(vcpu->fd, KVM_SET_SREGS, &s);
	back = sregs_of(vcpu);
	CHECK_EQ(back.fs.base, s.fs.base);
	CHECK_EQ(back.gs.base, s.gs.base);
	CHECK_EQ(back.cr2, 0xabcdef);
	CHECK_EQ(back.cr3, s.cr3);
	CHECK_EQ(back.cr0, s.cr0);
	CHECK_EQ(back.cr4, s.cr4);
	CHECK_EQ(back.efer, s.efer);
	CHECK_EQ(back.gdt.base, s.gdt.base);
	CHECK_EQ(back.gdt.limit, 0xff);
	CHECK_EQ(back.ldt.base, SCRATCH);
	CHECK_EQ(back.ldt.limit, 0xfff);
	CHECK_EQ(back.ldt.selector, SEL(0));
	CHECK_EQ(back.tr.base, TSS64);
	CHECK_EQ(back.tr.selector, TR64);
	CHECK_EQ(back.cs.l, 1);
	CHECK_EQ(back.cs.db, 0);
	CHECK_EQ(back.cs.limit, 0xffffffff);
	CHECK_EQ(back.cs.g, 1);
	CHECK_EQ(back.ss.dpl, 0);
	run_to_exit(vcpu, KVM_EXIT_HLT);
}

static void sregs2(void)
{
	struct vcpu *vcpu = guest(0, MODE_PAE, "state_pae");
	struct kvm_sregs2 s;

	NEED_CAP(vcpu->vm, KVM_CAP_SREGS2);
	KVM(vcpu->fd, KVM_GET_SREGS2, &s);
	CHECK_EQ(s.cr3, symbol("pdptae"));
	CHECK_EQ(s.efer, sregs_of(vcpu).efer);
	/* Where the PDPTEs are cached in the processor they are state of their own. */
	if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		CHECK_EQ(s.pdptrs[0], symbol("pd64") + 1);
	KVM(vcpu->fd, KVM_SET_SREGS2, &s);
	run_to_pass(vcpu);
	s.flags = 0x80;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS2, &s), EINVAL);
}

static void fpu(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_fpu f, back;

	KVM(vcpu->fd, KVM_GET_FPU, &f);
	CHECK_EQ(f.fcw, 0x37f);
	CHECK_EQ(f.fsw, 0);
	/* Linux leaves mxcsr alone, both ways: it is in KVM_GET_XSAVE. */
	f.fcw = 0x27f;
	f.fsw = 0x3800;
	f.ftwx = 0x80;
	f.last_opcode = 0x1d9;
	for (int i = 0; i < 16; i++)
		memset(f.xmm[i], 0x20 + i, 16);
	memset(f.fpr[0], 0x40, 10);
	KVM(vcpu->fd, KVM_SET_FPU, &f);
	KVM(vcpu->fd, KVM_GET_FPU, &back);
	CHECK_EQ(back.fcw, 0x27f);
	CHECK_EQ(back.fsw, 0x3800);
	CHECK_EQ(back.ftwx, 0x80);
	CHECK(!memcmp(back.xmm, f.xmm, sizeof(f.xmm)));
	CHECK(!memcmp(back.fpr[0], f.fpr[0], 10));
}

static void xsave(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_xsave x, back;
	uint8_t *bytes = (uint8_t *)x.region, *back_bytes = (uint8_t *)back.region;
	uint64_t bv;

	NEED_CAP(vcpu->vm, KVM_CAP_XSAVE);
	KVM(vcpu->fd, KVM_GET_XSAVE, &x);
	memcpy(&bv, bytes + 512, 8);
	memcpy(bytes + 160 + 16, "0123456789abcdef", 16);	/* XMM1 */
	*(uint32_t *)(bytes + 24) = 0x9fc0;			/* MXCSR */
	bv |= 3;
	memcpy(bytes + 512, &bv, 8);
	KVM(vcpu->fd, KVM_SET_XSAVE, &x);
	KVM(vcpu->fd, KVM_GET_XSAVE, &back);
	CHECK(!memcmp(back_bytes + 160 + 16, "0123456789abcdef", 16));
	CHECK_EQ(*(uint32_t *)(back_bytes + 24), 0x9fc0);
	CHECK_EQ(back_bytes[512] & 2, 2);
	/* The same bytes by KVM_GET_FPU. */
	struct kvm_fpu f;

	KVM(vcpu->fd, KVM_GET_FPU, &f);
	CHECK(!memcmp(f.xmm[1], "0123456789abcdef", 16));
	/* A component that does not exist. */
	bv |= 1ull << 62;
	memcpy(bytes + 512, &bv, 8);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_XSAVE, &x), EINVAL);
}

static void xsave2(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	int size = NEED_CAP(vcpu->vm, KVM_CAP_XSAVE2);
	uint8_t *x, *back;

	CHECK(size >= 4096);
	x = calloc(1, size);
	back = calloc(1, size);
	CHECK(x && back);
	KVM(vcpu->fd, KVM_GET_XSAVE2, x);
	memcpy(x + 160 + 32, "fedcba9876543210", 16);		/* XMM2 */
	x[512] |= 3;
	KVM(vcpu->fd, KVM_SET_XSAVE, x);
	KVM(vcpu->fd, KVM_GET_XSAVE2, back);
	CHECK(!memcmp(back + 160 + 32, "fedcba9876543210", 16));
}

static void xcrs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_xcrs x;

	NEED_CAP(vcpu->vm, KVM_CAP_XCRS);
	NEED_FEATURE(AVX);
	KVM(vcpu->fd, KVM_GET_XCRS, &x);
	CHECK_EQ(x.nr_xcrs, 1);
	CHECK_EQ(x.xcrs[0].xcr, 0);
	CHECK_EQ(x.xcrs[0].value, 1);
	x.xcrs[0].value = 7;
	KVM(vcpu->fd, KVM_SET_XCRS, &x);
	memset(&x, 0, sizeof(x));
	KVM(vcpu->fd, KVM_GET_XCRS, &x);
	CHECK_EQ(x.xcrs[0].value, 7);
	x.xcrs[0].value = 4;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_XCRS, &x), EINVAL);
}

static void msrs(void)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} list[] = {
		{ 0x174, KCS32 }, { 0x175, 0x12345678 }, { 0x176, 0x98765432 },
		{ 0x277, 0x0007040600010405 }, { 0xc0000081, 0x0023001000000000 },
		{ 0xc0000082, 0xffffffff81000000 }, { 0xc0000084, 0x47700 },
		{ 0xc0000102, 0xffff888000000000 }, { 0x2ff, 0xc06 },
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entries[3];
	} three = { .header.nmsrs = 3 };

	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		set_msr(vcpu, list[i].index, list[i].value);
		CHECK_EQ(msr_of(vcpu, list[i].index), list[i].value);
	}
	/* The result counts those before the first that fails. */
	three.entries[0].index = 0x174;
	three.entries[1].index = 0x12345678;
	three.entries[2].index = 0x175;
	CHECK_EQ(TRY_KVM(vcpu->fd, KVM_GET_MSRS, &three), 1);
	CHECK_EQ(three.entries[0].data, KCS32);
	CHECK_EQ(TRY_KVM(vcpu->fd, KVM_SET_MSRS, &three), 1);
	run_to_exit(vcpu, KVM_EXIT_HLT);
}

/* Every MSR of KVM_GET_MSR_INDEX_LIST that can be read takes its own value back. */
static void msr_index_list(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "run_hlt");
	static struct {
		struct kvm_msr_list header;
		uint32_t indices[1024];
	} list;
	unsigned int known = 0;

	CHECK_EQ(-TRY_KVM(vcpu->vm->system, KVM_GET_MSR_INDEX_LIST, &list), E2BIG);
	CHECK(list.header.nmsrs > 10 && list.header.nmsrs <= ARRAY_SIZE(list.indices));
	KVM(vcpu->vm->system, KVM_GET_MSR_INDEX_LIST, &list);
	for (unsigned int i = 0; i < list.header.nmsrs; i++) {
		struct {
			struct kvm_msrs header;
			struct kvm_msr_entry entry;
		} one = { .header.nmsrs = 1, .entry.index = list.header.indices[i] };

		/* Some depend on CPUID, and fail for this guest. */
		if (TRY_KVM(vcpu->fd, KVM_GET_MSRS, &one) != 1)
			continue;
		known++;
		if (TRY_KVM(vcpu->fd, KVM_SET_MSRS, &one) != 1)
			fail("MSR %#x reads %#llx but does not take that back",
			     list.header.indices[i], one.entry.data);
	}
	CHECK(known > 10);
}

static void lapic(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "run_hlt");
	struct kvm_lapic_state l, back;

	KVM(vcpu->fd, KVM_GET_LAPIC, &l);
	CHECK_EQ(*(uint32_t *)(l.regs + 0x20), 0);			/* ID */
	CHECK_EQ(*(uint32_t *)(l.regs + 0xf0), 0xff);			/* SVR: disabled */
	*(uint32_t *)(l.regs + 0xf0) = 0x1ff;
	*(uint32_t *)(l.regs + 0x80) = 0x20;				/* TPR */
	*(uint32_t *)(l.regs + 0x320) = 0x10070;			/* LVTT, masked */
	*(uint32_t *)(l.regs + 0x3e0) = 0xb;
	*(uint32_t *)(l.regs + 0x200 + 0x30) = 2;			/* IRR: vector 0x61 */
	KVM(vcpu->fd, KVM_SET_LAPIC, &l);
	KVM(vcpu->fd, KVM_GET_LAPIC, &back);
	CHECK_EQ(*(uint32_t *)(back.regs + 0xf0), 0x1ff);
	CHECK_EQ(*(uint32_t *)(back.regs + 0x80), 0x20);
	CHECK_EQ(*(uint32_t *)(back.regs + 0x320), 0x10070);
	CHECK_EQ(*(uint32_t *)(back.regs + 0x3e0), 0xb);
	CHECK_EQ(*(uint32_t *)(back.regs + 0x230), 2);
	CHECK_EQ(sregs_of(vcpu).cr8, 2);
}

static void mp_state(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct vcpu *first = vcpu_create(vm), *second = vcpu_create(vm);
	struct kvm_mp_state s;

	KVM(first->fd, KVM_GET_MP_STATE, &s);
	CHECK_EQ(s.mp_state, KVM_MP_STATE_RUNNABLE);
	KVM(second->fd, KVM_GET_MP_STATE, &s);
	CHECK_EQ(s.mp_state, KVM_MP_STATE_UNINITIALIZED);
	s.mp_state = KVM_MP_STATE_HALTED;
	KVM(second->fd, KVM_SET_MP_STATE, &s);
	s.mp_state = 0x7f;
	KVM(second->fd, KVM_GET_MP_STATE, &s);
	CHECK_EQ(s.mp_state, KVM_MP_STATE_HALTED);
	s.mp_state = 0x7f;
	CHECK_EQ(-TRY_KVM(second->fd, KVM_SET_MP_STATE, &s), EINVAL);
}

static void vcpu_events(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_spin");
	struct kvm_vcpu_events e, back;

	NEED_CAP(vcpu->vm, KVM_CAP_VCPU_EVENTS);
	memset(&e, 0xff, sizeof(e));
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.exception.injected, 0);
	CHECK_EQ(e.interrupt.injected, 0);
	CHECK_EQ(e.nmi.pending, 0);
	CHECK_EQ(e.nmi.masked, 0);
	/* A #PF half way into the guest: it has to arrive, with its error code. */
	e.exception.injected = 1;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = 6;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &back);
	CHECK_EQ(back.exception.injected, 1);
	CHECK_EQ(back.exception.nr, PF_VECTOR);
	CHECK_EQ(back.exception.error_code, 6);
	*(uint64_t *)memory(vcpu->vm, EXC_RESUME, 8) = symbol("run_hlt");
	run_to_exit(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_VECTOR, 8), PF_VECTOR);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_ERROR, 8), 6);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_RIP, 8), symbol("run_spin"));
	CHECK_EQ(*var(vcpu->vm, "run_count"), 0);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &back);
	CHECK_EQ(back.exception.injected, 0);
	e.exception.nr = 32;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e.exception.nr = PF_VECTOR;
	e.flags = 0x80000000;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
}

static void debugregs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_debugregs d, back;

	NEED_CAP(vcpu->vm, KVM_CAP_DEBUGREGS);
	KVM(vcpu->fd, KVM_GET_DEBUGREGS, &d);
	CHECK_EQ(d.dr6, 0xffff0ff0);
	CHECK_EQ(d.dr7, 0x400);
	d.db[0] = 0x1000;
	d.db[3] = 0xffff800000001000;
	d.dr6 = 0xffff0ff1;
	d.dr7 = 0x402;
	KVM(vcpu->fd, KVM_SET_DEBUGREGS, &d);
	KVM(vcpu->fd, KVM_GET_DEBUGREGS, &back);
	CHECK_EQ(back.db[0], 0x1000);
	CHECK_EQ(back.db[3], 0xffff800000001000);
	CHECK_EQ(back.dr6, 0xffff0ff1);
	CHECK_EQ(back.dr7, 0x402);
	d.dr7 = 1ull << 32;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_DEBUGREGS, &d), EINVAL);
	d.dr7 = 0x400;
	d.flags = 1;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_DEBUGREGS, &d), EINVAL);
}

static void irqchip(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_IOAPIC }, back;

	KVM(vm->fd, KVM_GET_IRQCHIP, &c);
	CHECK_EQ(c.chip.ioapic.base_address, 0xfec00000);
	CHECK_EQ(c.chip.ioapic.redirtbl[5].fields.mask, 1);
	c.chip.ioapic.redirtbl[5].bits = 0x0100000000008045;
	c.chip.ioapic.id = 7;
	KVM(vm->fd, KVM_SET_IRQCHIP, &c);
	back.chip_id = KVM_IRQCHIP_IOAPIC;
	KVM(vm->fd, KVM_GET_IRQCHIP, &back);
	CHECK_EQ(back.chip.ioapic.redirtbl[5].bits, 0x0100000000008045);
	CHECK_EQ(back.chip.ioapic.id, 7);
	for (unsigned int id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		c.chip_id = back.chip_id = id;
		KVM(vm->fd, KVM_GET_IRQCHIP, &c);
		c.chip.pic.irq_base = 0x20 + 8 * id;
		c.chip.pic.imr = 0x5a;
		c.chip.pic.elcr = 0x20;
		c.chip.pic.isr = 4;
		KVM(vm->fd, KVM_SET_IRQCHIP, &c);
		KVM(vm->fd, KVM_GET_IRQCHIP, &back);
		CHECK(!memcmp(&c.chip.pic, &back.chip.pic, sizeof(c.chip.pic)));
	}
	c.chip_id = 3;
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_IRQCHIP, &c), EINVAL);
}

static void pit2(void)
{
	struct vm *vm = vm_create(VM_PIT);
	struct kvm_pit_state2 p, back;

	KVM(vm->fd, KVM_GET_PIT2, &p);
	p.channels[0].count = 0x1234;
	p.channels[0].mode = 2;
	p.channels[0].rw_mode = 3;
	p.channels[0].gate = 1;
	p.channels[2].count = 0x4321;
	p.channels[2].mode = 3;
	p.flags = KVM_PIT_FLAGS_HPET_LEGACY;
	KVM(vm->fd, KVM_SET_PIT2, &p);
	KVM(vm->fd, KVM_GET_PIT2, &back);
	CHECK_EQ(back.channels[0].count, 0x1234);
	CHECK_EQ(back.channels[0].mode, 2);
	CHECK_EQ(back.channels[0].rw_mode, 3);
	CHECK_EQ(back.channels[2].count, 0x4321);
	CHECK_EQ(back.channels[2].mode, 3);
	CHECK_EQ(back.flags & KVM_PIT_FLAGS_HPET_LEGACY, KVM_PIT_FLAGS_HPET_LEGACY);
}

static void clock(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_clock_data c = { .clock = 123456789000ull }, back;

	NEED_CAP(vcpu->vm, KVM_CAP_ADJUST_CLOCK);
	KVM(vcpu->vm->fd, KVM_SET_CLOCK, &c);
	KVM(vcpu->vm->fd, KVM_GET_CLOCK, &back);
	CHECK(back.clock >= c.clock);
	CHECK(back.clock < c.clock + 10000000000ull);
	c = back;
	KVM(vcpu->vm->fd, KVM_GET_CLOCK, &back);
	CHECK(back.clock >= c.clock);
	c.flags = 0x80000000;
	CHECK_EQ(-TRY_KVM(vcpu->vm->fd, KVM_SET_CLOCK, &c), EINVAL);
}

static void cpuid(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	static struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} c = { .header.nent = 256 };

	KVM(vcpu->fd, KVM_GET_CPUID2, &c);
	/* Before Linux 6.7 the count does not come back, only the entries. */
	CHECK(c.header.nent > 5 && c.header.nent <= 256);
	CHECK_EQ(c.header.entries[0].function, 0);
	CHECK(c.header.entries[0].eax >= 7);
	c.header.nent = 1;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_CPUID2, &c), E2BIG);
	CHECK_EQ(-TRY_KVM(vcpu->vm->system, KVM_GET_SUPPORTED_CPUID, &c), E2BIG);
}

static void tsc_khz(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	int khz;

	NEED_CAP(vcpu->vm, KVM_CAP_GET_TSC_KHZ);
	khz = KVM(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	CHECK(khz > 100000);
	KVM(vcpu->fd, KVM_SET_TSC_KHZ, khz);
	CHECK_EQ(KVM(vcpu->fd, KVM_GET_TSC_KHZ, 0), khz);
}

/* ---- All of it, to another VM ----------------------------------------------------------- */

static void copy_msrs(struct vcpu *from, struct vcpu *to)
{
	static struct {
		struct kvm_msr_list header;
		uint32_t indices[1024];
	} list = { .header.nmsrs = 1024 };

	KVM(from->vm->system, KVM_GET_MSR_INDEX_LIST, &list);
	for (unsigned int i = 0; i < list.header.nmsrs; i++) {
		struct {
			struct kvm_msrs header;
			struct kvm_msr_entry entry;
		} one = { .header.nmsrs = 1, .entry.index = list.header.indices[i] };

		if (TRY_KVM(from->fd, KVM_GET_MSRS, &one) == 1)
			TRY_KVM(to->fd, KVM_SET_MSRS, &one);
	}
}

#define MOVE(get, set, type, from_fd, to_fd)				\
	do {								\
		type state_;						\
									\
		memset(&state_, 0, sizeof(state_));			\
		KVM(from_fd, get, &state_);				\
		KVM(to_fd, set, &state_);				\
	} while (0)

/* A second VM in the state of the first, memory and all, in the order that QEMU uses. */
static struct vcpu *move_vm(struct vcpu *from)
{
	struct vm *old = from->vm, *vm = vm_create(old->flags);
	struct vcpu *to = vcpu_create(vm);

	memcpy(vm->memory, old->memory, RAM_SIZE);
	MOVE(KVM_GET_SREGS, KVM_SET_SREGS, struct kvm_sregs, from->fd, to->fd);
	MOVE(KVM_GET_REGS, KVM_SET_REGS, struct kvm_regs, from->fd, to->fd);
	if (vm_cap(old, KVM_CAP_XSAVE) && has_feature(FEATURE_XSAVE)) {
		MOVE(KVM_GET_XSAVE, KVM_SET_XSAVE, struct kvm_xsave, from->fd, to->fd);
		MOVE(KVM_GET_XCRS, KVM_SET_XCRS, struct kvm_xcrs, from->fd, to->fd);
	} else {
		MOVE(KVM_GET_FPU, KVM_SET_FPU, struct kvm_fpu, from->fd, to->fd);
	}
	copy_msrs(from, to);
	if (old->flags & (VM_IRQCHIP | VM_PIT)) {
		MOVE(KVM_GET_LAPIC, KVM_SET_LAPIC, struct kvm_lapic_state, from->fd, to->fd);
		for (unsigned int i = 0; i < 3; i++) {
			struct kvm_irqchip chip = { .chip_id = i };

			KVM(old->fd, KVM_GET_IRQCHIP, &chip);
			KVM(vm->fd, KVM_SET_IRQCHIP, &chip);
		}
		MOVE(KVM_GET_MP_STATE, KVM_SET_MP_STATE, struct kvm_mp_state, from->fd, to->fd);
	}
	if (old->flags & VM_PIT)
		MOVE(KVM_GET_PIT2, KVM_SET_PIT2, struct kvm_pit_state2, old->fd, vm->fd);
	MOVE(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, struct kvm_debugregs, from->fd, to->fd);
	MOVE(KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, struct kvm_vcpu_events, from->fd, to->fd);
	return to;
}

/* An exit is complete only after the next entry: state must be read after that. */
static void settle(struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	CHECK_EQ(run(vcpu), GUEST_INTR);
	vcpu->run->immediate_exit = 0;
}

static void move_all(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "state_move");

	run_to_sync(vcpu, 1);
	settle(vcpu);
	run_to_pass(move_vm(vcpu));
}

static void move_twice(void)
{
	struct vcpu *vcpu = guest(VM_PIT, MODE_LONG, "state_move");

	run_to_sync(vcpu, 1);
	settle(vcpu);
	run_to_pass(move_vm(move_vm(vcpu)));
	/* The first is none the worse for it. */
	run_to_pass(vcpu);
}

static void move_nmi(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "state_nmi");
	struct kvm_vcpu_events e;

	run_to_sync(vcpu, 1);
	settle(vcpu);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.nmi.masked, 1);
	vcpu = move_vm(vcpu);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.nmi.masked, 1);
	run_to_pass(vcpu);
}

/* An interrupt that KVM_INTERRUPT queued is state until the guest takes it. */
static void move_interrupt(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_window");
	struct kvm_interrupt irq = { .irq = 0x50 };
	struct kvm_vcpu_events e;

	run_to_sync(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	run_to_exit(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	KVM(vcpu->fd, KVM_INTERRUPT, &irq);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.interrupt.injected, 1);
	CHECK_EQ(e.interrupt.nr, 0x50);
	CHECK_EQ(e.interrupt.soft, 0);
	vcpu = move_vm(vcpu);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*var(vcpu->vm, "run_count"), 1);
}

const struct test state_tests[] = {
	{ "state", "regs", "KVM_GET_REGS shows what the guest left, KVM_SET_REGS what it finds",
	  regs },
	{ "state", "sregs", "SREGS: as after reset, and every field back as set", sregs },
	{ "state", "sregs2", "SREGS2 in PAE paging", sregs2,
	  .wrong_on_paravirt = "PAE paging ends in SHUTDOWN" },
	{ "state", "fpu", "FPU: reset values and all registers", fpu },
	{ "state", "xsave", "XSAVE, the same bytes as FPU; unknown components are EINVAL", xsave },
	{ "state", "xsave2", "XSAVE2, with its size from the capability", xsave2 },
	{ "state", "xcrs", "XCRS: 1 after reset; impossible values are EINVAL", xcrs },
	{ "state", "msrs", "MSRS: values back, and the count of those before a failure", msrs },
	{ "state", "msr_index_list", "each MSR of the list takes back what it reads",
	  msr_index_list },
	{ "state", "lapic", "LAPIC: registers, IRR, and TPR as CR8", lapic },
	{ "state", "mp_state", "MP_STATE: the first runnable, others uninitialized", mp_state },
	{ "state", "vcpu_events", "VCPU_EVENTS: an injected exception arrives with its error code",
	  vcpu_events },
	{ "state", "debugregs", "DEBUGREGS, with EINVAL for upper halves and flags", debugregs },
	{ "state", "irqchip", "IRQCHIP: I/O APIC and both PICs", irqchip },
	{ "state", "pit2", "PIT2: counts, modes and flags", pit2 },
	{ "state", "clock", "CLOCK: goes on from what was set", clock },
	{ "state", "cpuid", "GET_CPUID2, and E2BIG where it does not fit", cpuid },
	{ "state", "tsc_khz", "TSC_KHZ", tsc_khz },
	{ "state", "move", "all state moved to another VM in mid-flight, an interrupt pending",
	  move_all,
	  .wrong_on_paravirt = NOT_EMULATED("x87 and SSE") },
	{ "state", "move_twice", "moved twice, and the first goes on as well", move_twice,
	  .wrong_on_paravirt = NOT_EMULATED("x87 and SSE") },
	{ "state", "move_nmi", "NMI blocking moves too", move_nmi,
	  .wrong_on_paravirt = "while it emulates ring 0, an interrupt waits for the next exit" },
	{ "state", "move_interrupt", "an injected interrupt moves too", move_interrupt,
	  .wrong_on_paravirt = "while it emulates ring 0, an interrupt waits for the next exit" },
	{ 0 }
};
