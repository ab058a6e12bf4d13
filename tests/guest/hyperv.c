/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's interfaces to guests: what QEMU's kind of VMM asks for (Documentation/virt/kvm/api.rst, 4.118, 7.8 and
 * KVM_EXIT_HYPERV), and what a guest may do with it (Hypervisor Top-Level Functional Specification).
 */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAGE		(SCRATCH + 0x11000)
#define INPUT		(SCRATCH + 0x12000)
#define MSR_VP_INDEX	0x40000002
#define MSR_CRASH_P0	0x40000100
#define MSR_SCONTROL	0x40000080
#define MSR_SIEFP	0x40000082
#define MSR_SIMP	0x40000083
#define MSR_SINT2	0x40000092
#define MSR_SIMP_ON	1
#define MSR_REF_COUNT	0x40000020

#define KVM_LEAVES	0x40000000
#define KVM_LEAVES_MOVED 0x40000100

/* The vCPU's CPUID becomes Hyper-V's, with KVM's own leaves behind. */
static void show_hyperv(struct vcpu *vcpu)
{
	enum { MAX = 256 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX * sizeof(cpuid->entries[0]));
	struct kvm_cpuid2 *hv = calloc(1, sizeof(*hv) + MAX * sizeof(hv->entries[0]));

	CHECK(cpuid && hv);
	cpuid->nent = hv->nent = MAX;
	KVM(vcpu->fd, KVM_GET_CPUID2, cpuid);
	KVM(vcpu->fd, KVM_GET_SUPPORTED_HV_CPUID, hv);
	/* Linux leaves the number as it was. */
	while (cpuid->nent > 1 && !cpuid->entries[cpuid->nent - 1].function)
		cpuid->nent--;
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function >> 8 == KVM_LEAVES >> 8)
			cpuid->entries[i].function += KVM_LEAVES_MOVED - KVM_LEAVES;
	CHECK(cpuid->nent + hv->nent <= MAX);
	memcpy(&cpuid->entries[cpuid->nent], hv->entries, hv->nent * sizeof(hv->entries[0]));
	cpuid->nent += hv->nent;
	KVM(vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	free(hv);
}

static int enable(struct vcpu *vcpu, unsigned int cap, uint64_t value)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { value } };

	return TRY_KVM(vcpu->fd, KVM_ENABLE_CAP, &c);
}

/* A guest of this kind; synic: 0 without, or the capability. */
static struct vcpu *hv_guest(int mode, const char *name, unsigned int synic)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, mode, name);

	NEED_CAP(vcpu->vm, KVM_CAP_HYPERV_CPUID);
	show_hyperv(vcpu);
	if (synic)
		CHECK_EQ(enable(vcpu, synic, 0), 0);
	return vcpu;
}

static void msrs(void)
{
	run_to_pass(hv_guest(MODE_LONG, "hv_msrs", 0));
}

static void clock_page(void)
{
	run_to_pass(hv_guest(MODE_LONG, "hv_clock", 0));
}

static void exits(void)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, "hv_exits", KVM_CAP_HYPERV_SYNIC);
	struct kvm_hyperv_exit *exit = &vcpu->run->hyperv;

	memset(memory(vcpu->vm, PAGE, 4096), 0xff, 4096);
	run_to_exit(vcpu, KVM_EXIT_HYPERV);
	CHECK_EQ(exit->type, KVM_EXIT_HYPERV_SYNIC);
	CHECK_EQ(exit->u.synic.msr, MSR_SIMP);
	CHECK_EQ(exit->u.synic.msg_page, PAGE + MSR_SIMP_ON);
	CHECK_EQ(exit->u.synic.evt_page, 0);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, PAGE + 4088, 8), 0);
	run_to_exit(vcpu, KVM_EXIT_HYPERV);
	CHECK_EQ(exit->u.synic.msr, MSR_SIEFP);
	CHECK_EQ(exit->u.synic.evt_page, INPUT + 1);
	run_to_exit(vcpu, KVM_EXIT_HYPERV);
	CHECK_EQ(exit->u.synic.msr, MSR_SCONTROL);
	CHECK_EQ(exit->u.synic.control, 1);

	run_to_exit(vcpu, KVM_EXIT_HYPERV);
	CHECK_EQ(exit->type, KVM_EXIT_HYPERV_HCALL);
	CHECK_EQ(exit->u.hcall.input, 0x5c);
	CHECK_EQ(exit->u.hcall.params[0], INPUT);
	CHECK_EQ(exit->u.hcall.params[1], PAGE);
	exit->u.hcall.result = 0x1122334455667788;
	run_to_exit(vcpu, KVM_EXIT_HYPERV);
	CHECK_EQ(exit->u.hcall.input, 0x1005d);
	CHECK_EQ(exit->u.hcall.params[0], 0x33);
	exit->u.hcall.result = 0x12;

	run_to_exit(vcpu, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(vcpu->run->system_event.type, KVM_SYSTEM_EVENT_CRASH);
	CHECK_EQ(msr_of(vcpu, MSR_CRASH_P0), 0xdead);
	run_to_exit(vcpu, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(vcpu->run->system_event.type, KVM_SYSTEM_EVENT_RESET);
	run_to_pass(vcpu);
}

static int connect(struct vm *vm, uint32_t id, int fd, uint32_t flags)
{
	struct kvm_hyperv_eventfd e = { .conn_id = id, .fd = fd, .flags = flags };

	return TRY_KVM(vm->fd, KVM_HYPERV_EVENTFD, &e);
}

static int new_event(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK(fd >= 0);
	return fd;
}

static uint64_t signals(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void signal_event(void)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, "hv_signal", 0);
	struct vm *vm = vcpu->vm;
	int fd = new_event(), other = new_event();

	CHECK_EQ(connect(vm, 0x123456, fd, 0), 0);
	CHECK_EQ(-connect(vm, 0x123456, other, 0), EEXIST);
	CHECK_EQ(connect(vm, 0x123457, other, 0), 0);
	CHECK_EQ(-connect(vm, 0x1000000, fd, 0), EINVAL);
	CHECK_EQ(-connect(vm, 1, fd, 2), EINVAL);
	CHECK_EQ(-connect(vm, 1, -1, 0), EBADF);
	CHECK_EQ(-connect(vm, 1, vm->fd, 0), EINVAL);
	CHECK_EQ(-connect(vm, 1, -1, KVM_HYPERV_EVENTFD_DEASSIGN), ENOENT);
	run_to_pass(vcpu);
	CHECK_EQ(signals(fd), 2);
	CHECK_EQ(signals(other), 0);
	CHECK_EQ(connect(vm, 0x123456, -1, KVM_HYPERV_EVENTFD_DEASSIGN), 0);
	CHECK_EQ(connect(vm, 0x123456, other, 0), 0);
}

static void calls32(void)
{
	struct vcpu *vcpu = hv_guest(MODE_PROT, "hv_calls32", 0);
	int fd = new_event();

	CHECK_EQ(connect(vcpu->vm, 0x123456, fd, 0), 0);
	run_to_pass(vcpu);
	CHECK_EQ(signals(fd), 1);
}

static int route(struct vm *vm, uint32_t vp, uint32_t flags)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[2];
	} table = { .head.nr = 2 };

	for (int i = 0; i < 2; i++) {
		table.entry[i].gsi = 16 + i;
		table.entry[i].type = KVM_IRQ_ROUTING_HV_SINT;
		table.entry[i].flags = flags;
		table.entry[i].u.hv_sint.vcpu = vp;
		table.entry[i].u.hv_sint.sint = 2 + i;
	}
	return TRY_KVM(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

/* An interrupt with an acknowledgement: an irqfd whose line is lowered, and the VMM told, when the guest ends it. */
static void sints(void)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, "hv_sints", KVM_CAP_HYPERV_SYNIC);
	int irq = new_event(), ack = new_event();
	struct kvm_irqfd args = { .fd = irq, .gsi = 16, .flags = KVM_IRQFD_FLAG_RESAMPLE, .resamplefd = ack };
	uint64_t one = 1;

	/* The VMM's number for the processor need not be the one that it was made with. */
	set_msr(vcpu, MSR_VP_INDEX, 7);
	CHECK_EQ(-route(vcpu->vm, 7, 1), EINVAL);
	CHECK_EQ(route(vcpu->vm, 7, 0), 0);
	KVM(vcpu->vm->fd, KVM_IRQFD, &args);
	run_to_sync(vcpu, 1);
	irq_line(vcpu->vm, 16, 1);
	irq_line(vcpu->vm, 17, 1);
	run_to_sync(vcpu, 2);
	CHECK(signals(ack) >= 1);
	CHECK_EQ(write(irq, &one, sizeof(one)), sizeof(one));
	irq_line(vcpu->vm, 17, 1);
	run_to_sync(vcpu, 3);
	CHECK(signals(ack) >= 1);
	irq_line(vcpu->vm, 16, 1);
	run_to_pass(vcpu);
}

static void assist(void)
{
	run_to_pass(hv_guest(MODE_LONG, "hv_assist", 0));
}

static void hostile(void)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, "hv_hostile", KVM_CAP_HYPERV_SYNIC2);
	int r;

	do {
		r = run(vcpu);
	} while (r == KVM_EXIT_HYPERV);
	if (r != GUEST_PASS)
		fail("%s", exit_text(vcpu, r));
}

/* Two processors, the second with a number beyond the first 64. */
static void two(const char *first, const char *second)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, first, 0), *other = vcpu_create(vcpu->vm);
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs;

	show_hyperv(other);
	set_msr(other, MSR_VP_INDEX, 70);
	vcpu_start(other, MODE_LONG, second);
	regs = regs_of(other);
	regs.rsp = SCRATCH + 0x9000;
	KVM(other->fd, KVM_SET_REGS, &regs);
	KVM(other->fd, KVM_SET_MP_STATE, &runnable);
	run_all_to_pass(vcpu->vm);
}

static void flushes(void)
{
	two("hv_flush", "hv_flush_other");
}

static void ipis(void)
{
	two("hv_ipis", "hv_ipis_other");
}

static int set_one(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return TRY_KVM(vcpu->fd, KVM_SET_MSRS, &m);
}

/* What the VMM may and may not set; what it cannot set, saved state may have in it all the same. */
static void vmm_side(void)
{
	struct vcpu *vcpu = hv_guest(MODE_LONG, "hv_msrs", 0);
	uint64_t count;

	CHECK_EQ(-enable(vcpu, KVM_CAP_HYPERV_SYNIC2, 1), EINVAL);
	CHECK_EQ(set_one(vcpu, MSR_SINT2, 0x51), 0);
	CHECK_EQ(set_one(vcpu, MSR_SCONTROL, 0), 1);
	CHECK_EQ(enable(vcpu, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	CHECK_EQ(set_one(vcpu, MSR_SINT2, 0x51), 1);
	CHECK_EQ(msr_of(vcpu, MSR_SINT2), 0x51);
	CHECK_EQ(msr_of(vcpu, MSR_SCONTROL), 1);
	CHECK_EQ(set_one(vcpu, MSR_VP_INDEX, 1 << 20), 0);
	CHECK_EQ(set_one(vcpu, 0x40000004, 0), 0);
	count = msr_of(vcpu, MSR_REF_COUNT);
	CHECK_EQ(set_one(vcpu, MSR_REF_COUNT, 0), 1);
	CHECK(msr_of(vcpu, MSR_REF_COUNT) >= count);
	/* A processor without a local APIC has no synthetic interrupts. */
	vcpu = guest(0, MODE_LONG, "hv_msrs");
	CHECK_EQ(-enable(vcpu, KVM_CAP_HYPERV_SYNIC, 0), EINVAL);
}

const struct test hyperv_tests[] = {
	{ "hyperv", "msrs", "MSRs: what can be read and written, and by whom", msrs },
	{ "hyperv", "vmm", "the VMM's side of them", vmm_side },
	{ "hyperv", "clock", "the reference counter and the TSC page tell one time", clock_page },
	{ "hyperv", "exits", "pages, messages, crash and reset are told the VMM", exits },
	{ "hyperv", "signal", "hypercalls signal eventfds; those that are wrong say how", signal_event },
	{ "hyperv", "calls32", "hypercalls of a 32-bit guest", calls32 },
	{ "hyperv", "sints", "routes to synthetic interrupts, automatic EOI, acknowledgements", sints },
	{ "hyperv", "assist", "EOI by the assist page", assist },
	{ "hyperv", "hostile", "timers too fast, messages to nowhere", hostile },
	{ "hyperv", "flush", "another processor's TLB, by each form of the hypercall", flushes },
	{ "hyperv", "ipis", "interrupts to sets of processors", ipis },
	{ 0 }
};
