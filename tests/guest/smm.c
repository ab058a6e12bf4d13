/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System management mode: SMIs, what they save and where, RSM, and the second address space. APM volume 2, 10; SDM
 * volume 3, 32; Documentation/virt/kvm/api.rst on KVM_SMI, KVM_GET_VCPU_EVENTS, KVM_SET_USER_MEMORY_REGION.
 */
#include "harness.h"
#include "smm.h"
#include "vmm/benign.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MSR_SMI_COUNT	0x34
#define MSR_SMBASE	0x9e
#define IN_SMM(vcpu)	((vcpu)->run->flags & KVM_RUN_X86_SMM)

static uint8_t *smram;

static int slot(struct vm *vm, unsigned int number, uint64_t gpa, uint64_t size, uint8_t *host, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = number, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return TRY_KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* The second address space: as the first, but for memory of its own at base. */
static struct vm *smm_vm_at(unsigned int flags, uint64_t base)
{
	struct vm *vm = vm_create(flags);

	NEED_CAP(vm, KVM_CAP_X86_SMM);
	if (NEED_CAP(vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		skip("one address space");
	smram = mmap(NULL, SMRAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(smram != MAP_FAILED);
	guest_memory(smram, SMRAM_SIZE);
	CHECK_EQ(slot(vm, 1 << 16, 0, base, vm->memory, 0), 0);
	CHECK_EQ(slot(vm, 1 << 16 | 1, base, SMRAM_SIZE, smram, 0), 0);
	CHECK_EQ(slot(vm, 1 << 16 | 2, base + SMRAM_SIZE, RAM_SIZE - base - SMRAM_SIZE,
		      vm->memory + base + SMRAM_SIZE, 0), 0);
	return vm;
}

/* Code of the image, from its label to label_end, to `to`. */
static void copy_code(struct vm *vm, void *to, const char *name)
{
	char end[64];

	snprintf(end, sizeof(end), "%s_end", name);
	memcpy(to, memory(vm, symbol(name), 1), symbol(end) - symbol(name));
}

static void set_handler(struct vm *vm, const char *name)
{
	copy_code(vm, smram + SMM_ENTRY, name);
}

/* A guest with SMRAM and a handler in it, run up to its SYNC(1). */
static struct vcpu *smm_guest(unsigned int flags, int mode, const char *name, const char *handler)
{
	struct vcpu *vcpu = vcpu_create(smm_vm_at(flags, SMRAM));

	set_msr(vcpu, MSR_SMBASE, SMRAM);
	set_handler(vcpu->vm, handler);
	vcpu_start(vcpu, mode, name);
	return vcpu;
}

static struct vcpu *smm_guest_synced(unsigned int flags, int mode, const char *name, const char *handler)
{
	struct vcpu *vcpu = smm_guest(flags, mode, name, handler);

	run_to_sync(vcpu, 1);
	CHECK(!IN_SMM(vcpu));
	return vcpu;
}

static void smi(struct vcpu *vcpu)
{
	KVM(vcpu->fd, KVM_SMI, 0);
}

/* An SMI, up to the handler's SYNC(2). */
static void enter(struct vcpu *vcpu)
{
	smi(vcpu);
	run_to_sync(vcpu, 2);
	CHECK(IN_SMM(vcpu));
}

static struct kvm_vcpu_events events_of(struct vcpu *vcpu)
{
	struct kvm_vcpu_events e;

	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK(e.flags & KVM_VCPUEVENT_VALID_SMM);
	return e;
}

/* What was saved, by its address from SMBASE. */
static uint64_t saved(uint32_t at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, smram + at, size);
	return value;
}

static void change(uint32_t at, uint64_t value, size_t size)
{
	memcpy(smram + at, &value, size);
}

static void same_segment(const char *name, const struct kvm_segment *a, const struct kvm_segment *b)
{
	if (a->unusable && b->unusable)
		return;
	if (a->base != b->base || a->limit != b->limit || a->selector != b->selector || a->type != b->type ||
	    a->present != b->present || a->dpl != b->dpl || a->db != b->db || a->s != b->s || a->l != b->l ||
	    a->g != b->g)
		fail("%s is %#x: %#llx, %#x, type %u, g %u, db %u, l %u; was %#x: %#llx, %#x, type %u, g %u, db %u, l %u",
		     name, b->selector, b->base, b->limit, b->type, b->g, b->db, b->l,
		     a->selector, a->base, a->limit, a->type, a->g, a->db, a->l);
}

static void same_state(const struct kvm_regs *r, const struct kvm_sregs *s, struct vcpu *vcpu)
{
	struct kvm_regs now = regs_of(vcpu);
	struct kvm_sregs s2 = sregs_of(vcpu);

	/* SYNC has been there. */
	now.rip = r->rip;
	now.rax = (now.rax & ~0xffull) | (r->rax & 0xff);
	CHECK(!memcmp(r, &now, sizeof(now)));
	same_segment("CS", &s->cs, &s2.cs);
	same_segment("DS", &s->ds, &s2.ds);
	same_segment("ES", &s->es, &s2.es);
	same_segment("FS", &s->fs, &s2.fs);
	same_segment("GS", &s->gs, &s2.gs);
	same_segment("SS", &s->ss, &s2.ss);
	same_segment("TR", &s->tr, &s2.tr);
	same_segment("LDTR", &s->ldt, &s2.ldt);
	CHECK_EQ(s2.gdt.base, s->gdt.base);
	CHECK_EQ(s2.gdt.limit, s->gdt.limit);
	CHECK_EQ(s2.idt.base, s->idt.base);
	CHECK_EQ(s2.idt.limit, s->idt.limit);
	CHECK_EQ(s2.cr0, s->cr0);
	CHECK_EQ(s2.cr3, s->cr3);
	CHECK_EQ(s2.cr4, s->cr4);
	CHECK_EQ(s2.efer, s->efer);
}

/* ---- In and out ---- */

static void entry(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync");
	struct kvm_sregs before = sregs_of(vcpu), s;
	struct kvm_debugregs d = { .dr6 = 0xffff0ff1, .dr7 = 0x403, .db = { 0x123456 } };
	struct kvm_vcpu_events e;

	KVM(vcpu->fd, KVM_SET_DEBUGREGS, &d);
	enter(vcpu);
	s = sregs_of(vcpu);
	CHECK_EQ(s.cs.selector, SMRAM >> 4);
	CHECK_EQ(s.cs.base, SMRAM);
	CHECK_EQ(s.cs.limit, 0xffffffff);
	CHECK_EQ(s.cs.db, 0);
	CHECK_EQ(s.cs.l, 0);
	for (const struct kvm_segment *seg = &s.ds; seg <= &s.ss; seg++) {
		CHECK_EQ(seg->selector, 0);
		CHECK_EQ(seg->base, 0);
		CHECK_EQ(seg->limit, 0xffffffff);
		CHECK_EQ(seg->present, 1);
	}
	/* PE, EM, TS, PG go; the rest stays. */
	CHECK_EQ(s.cr0, before.cr0 & ~0x8000000dull);
	CHECK_EQ(s.cr3, before.cr3);
	CHECK_EQ(s.cr4, 0);
	CHECK_EQ(s.efer, 0);
	CHECK_EQ(s.idt.base, 0);
	CHECK_EQ(s.idt.limit, 0);
	CHECK_EQ(s.gdt.base, before.gdt.base);
	CHECK_EQ(regs_of(vcpu).rflags, 2);
	CHECK_EQ(regs_of(vcpu).r15, 0x1515151515151515);
	KVM(vcpu->fd, KVM_GET_DEBUGREGS, &d);
	CHECK_EQ(d.dr7, 0x400);
	CHECK_EQ(d.dr6, 0xffff0ff1);
	e = events_of(vcpu);
	CHECK_EQ(e.smi.smm, 1);
	CHECK_EQ(e.smi.pending, 0);
	CHECK_EQ(e.smi.smm_inside_nmi, 0);
	CHECK_EQ(e.smi.latched_init, 0);
	CHECK_EQ(e.nmi.masked, 1);
	run_to_sync(vcpu, 3);
	CHECK(!IN_SMM(vcpu));
	KVM(vcpu->fd, KVM_GET_DEBUGREGS, &d);
	CHECK_EQ(d.dr7, 0x403);
	e = events_of(vcpu);
	CHECK_EQ(e.smi.smm, 0);
	CHECK_EQ(e.nmi.masked, 0);
}

static void there_and_back(int mode, const char *name)
{
	struct vcpu *vcpu = smm_guest_synced(0, mode, name, "smm_sync");
	struct kvm_regs r = regs_of(vcpu);
	struct kvm_sregs s = sregs_of(vcpu);

	enter(vcpu);
	run_to_sync(vcpu, 3);
	CHECK(!IN_SMM(vcpu));
	same_state(&r, &s, vcpu);
}

static void back_real(void)
{
	there_and_back(MODE_REAL, "smm_real");
}

static void back_prot(void)
{
	there_and_back(MODE_PROT, "smm_prot");
}

static void back_pg32(void)
{
	there_and_back(MODE_PG32, "smm_prot");
}

static void back_pae(void)
{
	there_and_back(MODE_PAE, "smm_prot");
}

static void back_long(void)
{
	there_and_back(MODE_LONG, "smm_long");
}

static void back_pcid(void)
{
	NEED_FEATURE(PCID);
	there_and_back(MODE_LONG, "smm_pcid");
}

/* To 64-bit code and out from there. */
static void long_mode(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_long_mode");
	struct kvm_regs r = regs_of(vcpu);
	struct kvm_sregs s = sregs_of(vcpu);

	change(SMM_DATA, 0x22222222, 4);
	for (int i = 0; i < 2; i++) {
		enter(vcpu);
		CHECK_EQ(sregs_of(vcpu).efer & 0x500, 0x500);
		CHECK_EQ(sregs_of(vcpu).cs.l, 1);
		run_to_sync(vcpu, 3);
		same_state(&r, &s, vcpu);
		run(vcpu);
	}
	CHECK_EQ(*var(vcpu->vm, "smm_count"), 2);
}

/* ---- What is saved ---- */

static void check_saved64(uint32_t at, const struct kvm_segment *s)
{
	CHECK_EQ(saved(at, 2), s->selector);
	if (!s->unusable) {
		CHECK_EQ(saved(at + 2, 2), s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
					   s->l << 13 | s->db << 14 | s->g << 15);
		CHECK_EQ(saved(at + 4, 4), s->limit);
		CHECK_EQ(saved(at + 8, 8), s->base);
	} else {
		CHECK_EQ(saved(at + 2, 2) & 0x80, 0);
	}
}

static void map64(void)
{
	static const uint32_t reg_at[] = {
		0xfff8, 0xffe0, 0xfff0, 0xffe8, 0xffc8, 0xffc0, 0xffd8, 0xffd0,
		0xffb8, 0xffb0, 0xffa8, 0xffa0, 0xff98, 0xff90, 0xff88, 0xff80,
	};
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync");
	struct kvm_regs r = regs_of(vcpu);
	struct kvm_sregs s = sregs_of(vcpu);

	memset(smram + SMM_MAP, 0xff, 0x200);
	enter(vcpu);
	/* The registers in the order of struct kvm_regs. */
	for (size_t i = 0; i < ARRAY_SIZE(reg_at); i++)
		CHECK_EQ(saved(reg_at[i], 8), (&r.rax)[i]);
	CHECK_EQ(saved(0xff78, 8), symbol("smm_long_next"));
	CHECK_EQ(saved(0xff70, 4), r.rflags);
	CHECK_EQ(saved(0xff68, 8), 0xffff0ff0);
	CHECK_EQ(saved(0xff60, 8), 0x400);
	CHECK_EQ(saved(0xff58, 8), s.cr0);
	CHECK_EQ(saved(0xff50, 8), s.cr3);
	CHECK_EQ(saved(0xff48, 8), s.cr4);
	CHECK_EQ(saved(0xff00, 4), SMRAM);
	CHECK_EQ(saved(0xfefc, 4), 0x20064);
	CHECK_EQ(saved(0xfed0, 8), s.efer);
	check_saved64(0xfe00, &s.es);
	check_saved64(0xfe10, &s.cs);
	check_saved64(0xfe20, &s.ss);
	check_saved64(0xfe30, &s.ds);
	check_saved64(0xfe40, &s.fs);
	check_saved64(0xfe50, &s.gs);
	check_saved64(0xfe70, &s.ldt);
	check_saved64(0xfe90, &s.tr);
	CHECK_EQ(saved(0xfe64, 4), s.gdt.limit);
	CHECK_EQ(saved(0xfe68, 8), s.gdt.base);
	CHECK_EQ(saved(0xfe84, 4), s.idt.limit);
	CHECK_EQ(saved(0xfe88, 8), s.idt.base);
	/* The rest of it is 0. */
	CHECK_EQ(saved(0xff20, 8), 0);
	CHECK_EQ(saved(0xfec8, 8), 0);
}

static void check_saved32(uint32_t at, uint32_t sel_at, const struct kvm_segment *s)
{
	CHECK_EQ(saved(sel_at, 4), s->selector);
	if (!s->unusable) {
		CHECK_EQ(saved(at, 4), s->type << 8 | s->s << 12 | s->dpl << 13 | s->present << 15 | s->avl << 20 |
				       s->l << 21 | s->db << 22 | s->g << 23);
		CHECK_EQ(saved(at + 4, 4), s->limit);
		CHECK_EQ(saved(at + 8, 4), s->base);
	} else {
		CHECK_EQ(saved(at, 4) & 0x8000, 0);
	}
}

static void no_long_mode(struct vcpu *vcpu)
{
	static struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .header.nent = 256 };

	KVM(vcpu->fd, KVM_GET_CPUID2, &cpuid);
	for (unsigned int i = 0; i < cpuid.header.nent; i++)
		if (cpuid.header.entries[i].function == 0x80000001)
			cpuid.header.entries[i].edx &= ~(1u << 29);
	KVM(vcpu->fd, KVM_SET_CPUID2, &cpuid);
}

/* A processor without long mode has the map of old. */
static void map32(void)
{
	struct vcpu *vcpu = vcpu_create(smm_vm_at(0, SMRAM));
	struct kvm_sregs s;
	struct kvm_regs r;

	no_long_mode(vcpu);
	set_msr(vcpu, MSR_SMBASE, SMRAM);
	set_handler(vcpu->vm, "smm_sync");
	vcpu_start(vcpu, MODE_PG32, "smm_prot");
	run_to_sync(vcpu, 1);
	r = regs_of(vcpu);
	s = sregs_of(vcpu);
	memset(smram + SMM_MAP, 0xff, 0x200);
	enter(vcpu);
	CHECK_EQ(saved(0xfffc, 4), s.cr0);
	CHECK_EQ(saved(0xfff8, 4), s.cr3);
	CHECK_EQ(saved(0xfff4, 4), r.rflags);
	CHECK_EQ(saved(0xfff0, 4), symbol("smm_prot_next"));
	CHECK_EQ(saved(0xffec, 4), r.rdi);
	CHECK_EQ(saved(0xffe8, 4), r.rsi);
	CHECK_EQ(saved(0xffe4, 4), r.rbp);
	CHECK_EQ(saved(0xffe0, 4), r.rsp);
	CHECK_EQ(saved(0xffdc, 4), r.rbx);
	CHECK_EQ(saved(0xffd8, 4), r.rdx);
	CHECK_EQ(saved(0xffd4, 4), r.rcx);
	CHECK_EQ(saved(0xffd0, 4), r.rax);
	CHECK_EQ(saved(0xffcc, 4), 0xffff0ff0);
	CHECK_EQ(saved(0xffc8, 4), 0x400);
	check_saved32(0xff5c, 0xffc4, &s.tr);
	check_saved32(0xff78, 0xffc0, &s.ldt);
	check_saved32(0xff84, 0xffa8, &s.es);
	check_saved32(0xff90, 0xffac, &s.cs);
	check_saved32(0xff9c, 0xffb0, &s.ss);
	check_saved32(0xff2c, 0xffb4, &s.ds);
	check_saved32(0xff38, 0xffb8, &s.fs);
	check_saved32(0xff44, 0xffbc, &s.gs);
	CHECK_EQ(saved(0xff74, 4), s.gdt.base);
	CHECK_EQ(saved(0xff70, 4), s.gdt.limit);
	CHECK_EQ(saved(0xff58, 4), s.idt.base);
	CHECK_EQ(saved(0xff54, 4), s.idt.limit);
	CHECK_EQ(saved(0xff14, 4), s.cr4);
	CHECK_EQ(saved(0xfefc, 4), 0x20000);
	CHECK_EQ(saved(0xfef8, 4), SMRAM);
	run_to_sync(vcpu, 3);
	same_state(&r, &s, vcpu);
}

/* The handler may send it elsewhere, with other registers. */
static void changed(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync");

	enter(vcpu);
	change(0xff78, symbol("smm_long_other"), 8);
	change(0xff80, 0x1234567890abcdef, 8);
	run_to_sync(vcpu, 7);
	CHECK_EQ(regs_of(vcpu).r15, 0x1234567890abcdef);
	CHECK_EQ(regs_of(vcpu).r14, 0x1414141414141414);
}

/* What no processor could be in. */
static void bad_state(void)
{
	static const struct {
		uint32_t at;
		uint64_t value;
	} bad[] = {
		{ 0xff58, 0x80000010 },			/* CR0: PG without PE */
		{ 0xff58, 0xa0010031 },			/* NW without CD */
		{ 0xff50, 1ull << 62 },			/* CR3 */
		{ 0xff48, 0x20 | 1u << 31 },		/* CR4: reserved */
		{ 0xff48, 0 },				/* no PAE in long mode */
		{ 0xff60, 1ull << 32 | 0x400 },		/* DR7 */
		{ 0xff68, 1ull << 32 },			/* DR6 */
		{ 0xfed0, 0x500 | 1u << 1 },		/* EFER: reserved */
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync");
		int r;

		enter(vcpu);
		change(bad[i].at, bad[i].value, 8);
		r = run(vcpu);
		if (r != KVM_EXIT_SHUTDOWN)
			fail("%#llx at %#x: %s", (unsigned long long)bad[i].value, bad[i].at, exit_text(vcpu, r));
		CHECK_EQ(events_of(vcpu).smi.smm, 0);
	}
}

static void outside(void)
{
	run_to_pass(smm_guest(0, MODE_LONG, "smm_outside", "smm_back"));
}

/* SMBASE is 0x30000 at power-on, and may be changed by the handler. */
static void relocate(void)
{
	struct vcpu *vcpu = vcpu_create(smm_vm_at(0, 0x30000));
	struct vm *vm = vcpu->vm;

	CHECK_EQ(msr_of(vcpu, MSR_SMBASE), 0x30000);
	set_handler(vm, "smm_relocates");
	vcpu_start(vcpu, MODE_LONG, "smm_long");
	run_to_sync(vcpu, 1);
	enter(vcpu);
	CHECK_EQ(sregs_of(vcpu).cs.base, 0x30000);
	CHECK_EQ(sregs_of(vcpu).cs.selector, 0x3000);
	CHECK_EQ(msr_of(vcpu, MSR_SMBASE), 0x30000);
	run_to_sync(vcpu, 3);
	CHECK_EQ(msr_of(vcpu, MSR_SMBASE), SMRAM);
	/* The memory there is the guest's own, seen by both. */
	copy_code(vm, memory(vm, SMRAM + SMM_ENTRY, 1), "smm_sync");
	run_to_sync(vcpu, 1);
	enter(vcpu);
	CHECK_EQ(sregs_of(vcpu).cs.base, SMRAM);
	CHECK_EQ(*(uint32_t *)memory(vm, SMRAM + 0xff00, 4), SMRAM);
	run_to_sync(vcpu, 3);
	CHECK_EQ(msr_of(vcpu, MSR_SMI_COUNT), 2);
}

/* ---- Other events ---- */

static void nmi(struct vcpu *vcpu)
{
	KVM(vcpu->fd, KVM_NMI, 0);
}

static void nmi_blocked(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_nmi", "smm_sync_twice");
	uint32_t *nmis = var(vcpu->vm, "smm_nmis");

	enter(vcpu);
	nmi(vcpu);
	CHECK_EQ(events_of(vcpu).nmi.pending, 1);
	run_to_sync(vcpu, 4);
	CHECK_EQ(*nmis, 0);
	run_to_sync(vcpu, 3);
	CHECK_EQ(*nmis, 1);
}

/* Both at once: the SMI goes first. */
static void nmi_later(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_nmi", "smm_sync");
	uint32_t *nmis = var(vcpu->vm, "smm_nmis");

	nmi(vcpu);
	enter(vcpu);
	CHECK_EQ(*nmis, 0);
	run_to_sync(vcpu, 3);
	CHECK_EQ(*nmis, 1);
}

/* In an NMI's handler: RSM does not let the next NMI in. */
static void inside_nmi(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_nmi_in", "smm_sync");
	uint32_t *nmis = var(vcpu->vm, "smm_nmis");

	nmi(vcpu);
	run_to_sync(vcpu, 5);
	enter(vcpu);
	CHECK_EQ(events_of(vcpu).smi.smm_inside_nmi, 1);
	nmi(vcpu);
	run_to_sync(vcpu, 6);
	CHECK_EQ(events_of(vcpu).nmi.masked, 1);
	CHECK_EQ(*nmis, 1);
	run_to_sync(vcpu, 5);
	CHECK_EQ(*nmis, 2);
	run_to_sync(vcpu, 6);
	run_to_sync(vcpu, 3);
	CHECK_EQ(events_of(vcpu).nmi.masked, 0);
}

static void iret_unmasks(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_nmi", "smm_iret");

	enter(vcpu);
	CHECK_EQ(events_of(vcpu).nmi.masked, 1);
	run_to_sync(vcpu, 4);
	CHECK_EQ(events_of(vcpu).nmi.masked, 0);
	run_to_sync(vcpu, 3);
}

/* Another SMI waits for RSM, and is taken right behind it. */
static void smi_in_smm(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync_twice");

	enter(vcpu);
	smi(vcpu);
	smi(vcpu);
	CHECK_EQ(events_of(vcpu).smi.pending, 1);
	run_to_sync(vcpu, 4);
	CHECK_EQ(events_of(vcpu).smi.pending, 1);
	run_to_sync(vcpu, 2);
	CHECK_EQ(events_of(vcpu).smi.pending, 0);
	CHECK_EQ(saved(0xff78, 8), symbol("smm_long_next"));
	run_to_sync(vcpu, 4);
	run_to_sync(vcpu, 3);
}

static void irq_waits(void)
{
	struct vcpu *vcpu = smm_guest_synced(VM_IRQCHIP, MODE_LONG, "smm_irq", "smm_sync_twice");
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x50 };
	uint32_t *irqs = var(vcpu->vm, "smm_irqs");

	enter(vcpu);
	CHECK_EQ(TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	run_to_sync(vcpu, 4);
	CHECK_EQ(*irqs, 0);
	run_to_sync(vcpu, 3);
	CHECK_EQ(*irqs, 1);
}

static void step(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_step", "smm_sync");

	enter(vcpu);
	change(0xff70, 0x102, 4);
	run_to_pass(vcpu);
}

static void senders(void)
{
	run_to_pass(smm_guest(VM_IRQCHIP, MODE_LONG, "smm_senders", "smm_counts"));
}

static void *send_later(void *arg)
{
	struct vcpu *vcpu = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x200 };

	usleep(50000);
	TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	return NULL;
}

static void hlt(void)
{
	struct vcpu *vcpu = smm_guest_synced(VM_IRQCHIP, MODE_LONG, "smm_hlt", "smm_counts");
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, send_later, vcpu), 0);
	run_to_sync(vcpu, 3);
	pthread_join(thread, NULL);
}

/* ---- Faults in SMM ---- */

/* There is no interrupt table at first. */
static void shutdown_in_smm(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_ud");

	smi(vcpu);
	run_to_exit(vcpu, KVM_EXIT_SHUTDOWN);
	/* On AMD's processors the vCPU is as after INIT then. */
	CHECK_EQ(events_of(vcpu).smi.smm, !vendor_is("AuthenticAMD"));
}

static void nested(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_nested");
	struct kvm_regs r = regs_of(vcpu);
	struct kvm_sregs s = sregs_of(vcpu);
	uint64_t vector;

	enter(vcpu);
	memcpy(&vector, memory(vcpu->vm, EXC_VECTOR, 8), 8);
	CHECK_EQ(vector, UD_VECTOR);
	run_to_sync(vcpu, 3);
	same_state(&r, &s, vcpu);
}

/* ---- Two address spaces ---- */

static void spaces(void)
{
	struct vcpu *vcpu = smm_guest(VM_IRQCHIP, MODE_LONG, "smm_spaces", "smm_elsewhere");
	struct vm *vm = vcpu->vm;

	copy_code(vm, memory(vm, SMRAM + SMM_CODE, 1), "smm_spaces_code");
	copy_code(vm, smram + SMM_CODE, "smm_elsewhere_code");
	*(uint32_t *)memory(vm, SMRAM + SMM_DATA, 4) = 0x11111111;
	change(SMM_DATA, 0x22222222, 4);
	run_to_pass(vcpu);
	/* What was saved has gone nowhere else. */
	for (int i = 0; i < 0x200; i++)
		CHECK_EQ(*(uint8_t *)memory(vm, SMRAM + SMM_MAP + i, 1), 0);
}

static void patched(void)
{
	run_to_pass(smm_guest(VM_IRQCHIP, MODE_LONG, "smm_patched_loop", "smm_patches"));
}

static void shared(void)
{
	run_to_pass(smm_guest(VM_IRQCHIP, MODE_LONG, "smm_shared_loop", "smm_runs_shared"));
}

static uint64_t dirty(struct vm *vm, unsigned int number, uint64_t page)
{
	static uint64_t bitmap[RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log log = { .slot = number, .dirty_bitmap = bitmap };

	KVM(vm->fd, KVM_GET_DIRTY_LOG, &log);
	return bitmap[page / 64] >> page % 64 & 1;
}

/* Each address space has its own: a page is noted in that by which it was written. */
static void dirty_logs(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_dirty", "smm_writes");
	struct vm *vm = vcpu->vm;
	const uint64_t second = SMRAM + SMRAM_SIZE;

	CHECK_EQ(slot(vm, 0, 0, RAM_SIZE, vm->memory, KVM_MEM_LOG_DIRTY_PAGES), 0);
	CHECK_EQ(slot(vm, 1 << 16 | 1, SMRAM, SMRAM_SIZE, smram, KVM_MEM_LOG_DIRTY_PAGES), 0);
	CHECK_EQ(slot(vm, 1 << 16 | 2, second, RAM_SIZE - second, vm->memory + second, KVM_MEM_LOG_DIRTY_PAGES), 0);
	enter(vcpu);
	run_to_sync(vcpu, 3);
	CHECK_EQ(dirty(vm, 1 << 16 | 1, SMM_MAP >> 12), 1);
	CHECK_EQ(dirty(vm, 1 << 16 | 2, (SCRATCH + 0x1000 - second) >> 12), 1);
	CHECK_EQ(dirty(vm, 0, SCRATCH >> 12), 1);
	CHECK_EQ(dirty(vm, 0, (SCRATCH + 0x1000) >> 12), 0);
	CHECK_EQ(dirty(vm, 1 << 16 | 2, (SCRATCH - second) >> 12), 0);
}

/* The VMM sets the mode: what is read is in the other address space. */
static void set_mode(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_reads", "smm_back");
	struct vm *vm = vcpu->vm;
	struct kvm_vcpu_events e;

	*(uint32_t *)memory(vm, SMRAM + SMM_DATA, 4) = 0x11111111;
	change(SMM_DATA, 0x22222222, 4);
	e = events_of(vcpu);
	e.flags = KVM_VCPUEVENT_VALID_SMM;
	e.smi.smm = 1;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	CHECK_EQ(events_of(vcpu).smi.smm, 1);
	run_to_sync(vcpu, 3);
	CHECK(IN_SMM(vcpu));
	CHECK_EQ(regs_of(vcpu).rbx, 0x22222222);
	e.smi.smm = 0;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	vcpu_start(vcpu, MODE_LONG, "smm_reads");
	run_to_sync(vcpu, 1);
	CHECK(!IN_SMM(vcpu));
	CHECK_EQ(regs_of(vcpu).rbx, 0x11111111);
}

/* An SMI that the VMM sets pending comes at once, and one that it takes away does not come. */
static void set_pending(void)
{
	struct vcpu *vcpu = smm_guest_synced(0, MODE_LONG, "smm_long", "smm_sync");
	struct kvm_vcpu_events e;

	smi(vcpu);
	e = events_of(vcpu);
	CHECK_EQ(e.smi.pending, 1);
	e.flags = KVM_VCPUEVENT_VALID_SMM;
	e.smi.pending = 0;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	run_to_sync(vcpu, 3);
	run_to_sync(vcpu, 1);
	e.smi.pending = 1;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	run_to_sync(vcpu, 2);
	/* Out of SMM and in again, as where state is moved. */
	e = events_of(vcpu);
	CHECK_EQ(e.smi.smm, 1);
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	run_to_sync(vcpu, 3);
}

/* ---- Several vCPUs ---- */

static struct vm *smp_vm(int cpus, const char *name, const char *handler)
{
	struct vm *vm = smm_vm_at(VM_IRQCHIP, SMRAM);

	for (int i = 0; i < cpus; i++) {
		set_msr(vcpu_create(vm), MSR_SMBASE, SMRAM + i * SMM_STRIDE);
		copy_code(vm, smram + SMM_ENTRY + i * SMM_STRIDE, handler);
	}
	*var(vm, "smp_cpus") = cpus;
	vcpu_start(&vm->vcpus[0], MODE_LONG, name);
	return vm;
}

static void rounds_2(void)
{
	run_all_to_pass(smp_vm(2, "smm_rounds", "smm_meets"));
}

static void rounds_4(void)
{
	run_all_to_pass(smp_vm(4, "smm_rounds", "smm_meets"));
}

static void init(void)
{
	run_all_to_pass(smp_vm(2, "smm_init", "smm_waits"));
}

const struct test smm_tests[] = {
	{ "smm", "entry", "what an SMI starts its handler with", entry },
	{ "smm", "back_real", "RSM to real mode: all is as it was", back_real },
	{ "smm", "back_prot", "to protected mode", back_prot },
	{ "smm", "back_pg32", "to 2-level paging", back_pg32 },
	{ "smm", "back_pae", "to PAE paging", back_pae,
	  .wrong_on_tcg = "it sets a bit for accesses in PDPTEs, where that is reserved" },
	{ "smm", "back_long", "to 64-bit mode", back_long },
	{ "smm", "back_pcid", "to 64-bit mode with PCIDs", back_pcid },
	{ "smm", "long_mode", "a handler in 64-bit mode, and RSM from there", long_mode },
	{ "smm", "map64", "the state save map", map64 },
	{ "smm", "map32", "the map of a processor without long mode", map32 },
	{ "smm", "changed", "the handler changes what RSM loads", changed },
	{ "smm", "bad_state", "RSM of what cannot be is a shutdown", bad_state },
	{ "smm", "outside", "RSM outside of SMM is #UD", outside },
	{ "smm", "relocate", "SMBASE is changed in the map", relocate },
	{ "smm", "nmi_blocked", "an NMI waits for RSM", nmi_blocked },
	{ "smm", "nmi_later", "an SMI goes before an NMI", nmi_later },
	{ "smm", "inside_nmi", "an SMI in an NMI's handler: NMIs stay masked", inside_nmi },
	{ "smm", "iret_unmasks", "IRET in SMM unmasks NMIs", iret_unmasks },
	{ "smm", "smi_in_smm", "an SMI waits for RSM", smi_in_smm },
	{ "smm", "irq_waits", "an interrupt waits for RSM", irq_waits },
	{ "smm", "step", "RSM sets RFLAGS.TF: the step is the next instruction", step },
	{ "smm", "senders", "SMIs by ICR, MSI and the I/O APIC", senders },
	{ "smm", "hlt", "an SMI wakes HLT, and comes back behind it", hlt },
	{ "smm", "shutdown", "an exception without a table", shutdown_in_smm },
	{ "smm", "nested", "an exception with one", nested },
	{ "smm", "spaces", "the same addresses are other code and data inside", spaces },
	{ "smm", "patched", "SMM changes the guest's code", patched },
	{ "smm", "shared", "the guest changes code that SMM runs", shared },
	{ "smm", "dirty_logs", "a dirty log for each address space", dirty_logs },
	{ "smm", "set_mode", "KVM_SET_VCPU_EVENTS changes the address space", set_mode },
	{ "smm", "set_pending", "KVM_SET_VCPU_EVENTS sets an SMI pending, or takes it back", set_pending },
	{ "smm", "rounds_2", "an SMI for both, whose handlers meet", rounds_2 },
	{ "smm", "rounds_4", "and for four", rounds_4 },
	{ "smm", "init", "INIT waits for RSM, SIPI does not", init },
	{ 0 }
};
