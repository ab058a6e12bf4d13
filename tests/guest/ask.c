/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the VMM may answer in the guest's stead: MSRs that are unknown, refused or filtered, and the hypercall about
 * memory's kind (Documentation/virt/kvm/api.rst 4.97, 7.21, 7.22, 7.28); what it decides about: quirks, debugging.
 */
#include "harness.h"

#include <errno.h>
#include <string.h>

#define MSR_PAT		0x277
#define MSR_EFER	0xc0000080

static int enable(struct vm *vm, unsigned int cap, uint64_t value)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { value } };

	return TRY_KVM(vm->fd, KVM_ENABLE_CAP, &c);
}

/* Runs to the exit, which must be about this MSR for this reason. */
static void run_to_msr(struct vcpu *vcpu, unsigned int exit, uint32_t index, uint32_t reason)
{
	run_to_exit(vcpu, exit);
	CHECK_EQ(vcpu->run->msr.index, index);
	CHECK_EQ(vcpu->run->msr.reason, reason);
	CHECK_EQ(vcpu->run->msr.error, 0);
}

static void unknown_msr(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_unknown_msr");
	uint64_t rip;

	NEED_CAP(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN), 0);
	run_to_msr(vcpu, KVM_EXIT_X86_RDMSR, 0x12345678, KVM_MSR_EXIT_REASON_UNKNOWN);
	vcpu->run->msr.data = 0x1122334455667788;
	run_to_msr(vcpu, KVM_EXIT_X86_WRMSR, 0x12345678, KVM_MSR_EXIT_REASON_UNKNOWN);
	CHECK_EQ(vcpu->run->msr.data, 0x8899aabbccddeeff);

	/* The answer is taken, and no more done, by a KVM_RUN that is to end at once. */
	vcpu->run->immediate_exit = 1;
	rip = regs_of(vcpu).rip;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 0), EINTR);
	CHECK(regs_of(vcpu).rip - rip <= 2);
	CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_X86_WRMSR);
	vcpu->run->immediate_exit = 0;

	run_to_msr(vcpu, KVM_EXIT_X86_RDMSR, 0x12345678, KVM_MSR_EXIT_REASON_UNKNOWN);
	vcpu->run->msr.error = 1;
	run_to_msr(vcpu, KVM_EXIT_X86_WRMSR, 0x12345678, KVM_MSR_EXIT_REASON_UNKNOWN);
	vcpu->run->msr.error = 1;
	run_to_pass(vcpu);
}

static void bad_value(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_bad_value");

	NEED_CAP(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_INVAL), 0);
	run_to_msr(vcpu, KVM_EXIT_X86_WRMSR, MSR_EFER, KVM_MSR_EXIT_REASON_INVAL);
	run_to_pass(vcpu);
	CHECK_EQ(-enable(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR, 1ull << 20), EINVAL);
}

static void platform_info(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_platform_info");

	NEED_CAP(vcpu->vm, KVM_CAP_MSR_PLATFORM_INFO);
	run_to_sync(vcpu, 1);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_MSR_PLATFORM_INFO, 0), 0);
	run_to_pass(vcpu);
}

static int set_filter(struct vm *vm, uint32_t flags, const struct kvm_msr_filter_range *range)
{
	struct kvm_msr_filter f = { .flags = flags };

	if (range)
		f.ranges[0] = *range;
	return TRY_KVM(vm->fd, KVM_X86_SET_MSR_FILTER, &f);
}

static void filtered_msr(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_filtered_msr");
	uint8_t bitmap[8] = { 0 };
	struct kvm_msr_filter_range range = {
		.flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = MSR_PAT, .bitmap = bitmap };
	struct vm *vm = vcpu->vm;

	NEED_CAP(vm, KVM_CAP_X86_MSR_FILTER);
	CHECK_EQ(enable(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER), 0);
	CHECK_EQ(set_filter(vm, KVM_MSR_FILTER_DEFAULT_ALLOW, &range), 0);
	run_to_msr(vcpu, KVM_EXIT_X86_RDMSR, MSR_PAT, KVM_MSR_EXIT_REASON_FILTER);
	vcpu->run->msr.data = 0x42;
	run_to_sync(vcpu, 1);
	CHECK_EQ(enable(vm, KVM_CAP_X86_USER_SPACE_MSR, 0), 0);
	/* The VMM itself is not filtered. */
	CHECK_EQ(msr_of(vcpu, MSR_PAT), 0x0007040700070406);
	run_to_sync(vcpu, 2);
	/* Denied but for what the bitmap allows. */
	bitmap[0] = 1;
	CHECK_EQ(set_filter(vm, KVM_MSR_FILTER_DEFAULT_DENY, &range), 0);
	run_to_pass(vcpu);
}

static void filter_errors(void)
{
	struct vm *vm = vm_create(0);
	uint8_t bitmap[8] = { 0 };
	struct kvm_msr_filter_range range = {
		.flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = MSR_PAT, .bitmap = bitmap };

	NEED_CAP(vm, KVM_CAP_X86_MSR_FILTER);
	CHECK_EQ(set_filter(vm, KVM_MSR_FILTER_DEFAULT_ALLOW, NULL), 0);
	CHECK_EQ(-set_filter(vm, KVM_MSR_FILTER_DEFAULT_DENY, NULL), EINVAL);
	CHECK_EQ(-set_filter(vm, 2, &range), EINVAL);
	range.flags = 4;
	CHECK_EQ(-set_filter(vm, 0, &range), EINVAL);
	range.flags = KVM_MSR_FILTER_READ;
	range.nmsrs = 0x600 * 8 + 1;
	CHECK_EQ(-set_filter(vm, 0, &range), EINVAL);
	range.nmsrs = 1;
	range.bitmap = (uint8_t *)8;
	CHECK_EQ(-set_filter(vm, 0, &range), EFAULT);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_X86_SET_MSR_FILTER, 8), EFAULT);
}

static void map_gpa_range(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_map_gpa_range");
	int cap = NEED_CAP(vcpu->vm, KVM_CAP_EXIT_HYPERCALL);

	CHECK_EQ(cap, 1 << 12);
	*var(vcpu->vm, "ask_amd") = vendor_is("AuthenticAMD");
	CHECK_EQ(-enable(vcpu->vm, KVM_CAP_EXIT_HYPERCALL, 1), EINVAL);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_EXIT_HYPERCALL, cap), 0);
	run_to_exit(vcpu, KVM_EXIT_HYPERCALL);
	CHECK_EQ(vcpu->run->hypercall.nr, 12);
	CHECK_EQ(vcpu->run->hypercall.args[0], 0x3000);
	CHECK_EQ(vcpu->run->hypercall.args[1], 2);
	CHECK_EQ(vcpu->run->hypercall.args[2], 0x10);
	CHECK_EQ(vcpu->run->hypercall.longmode, 1);
	vcpu->run->hypercall.ret = 0x1234;
	run_to_sync(vcpu, 1);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_EXIT_HYPERCALL, 0), 0);
	run_to_pass(vcpu);
}

/* ---- KVM's quirks, which a VMM can switch off ---- */

static void quirk(struct vm *vm, uint64_t which)
{
	if (!(vm_cap(vm, KVM_CAP_DISABLE_QUIRKS2) & which))
		skip("the quirk cannot be switched off");
}

static void wrong_hypercall(void)
{
	bool amd = vendor_is("AuthenticAMD");
	struct vcpu *vcpu = guest(0, MODE_LONG, amd ? "ask_vmcall" : "ask_vmmcall");

	quirk(vcpu->vm, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
	run_to_sync(vcpu, 1);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN), 0);
	run_to_pass(vcpu);
}

static void mwait(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_mwait");

	quirk(vcpu->vm, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
	if (has_feature(FEATURE(1, 0, REG_ECX, 3)))
		skip("CPUID shows MWAIT");
	run_to_sync(vcpu, 1);
	CHECK_EQ(enable(vcpu->vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS), 0);
	run_to_pass(vcpu);
}

/* ---- the VMM's debugger ---- */

static void general_detect(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = { [7] = 0x2400 },
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "ask_debug_register");

	NEED_CAP(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_exit(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.exception, DB_VECTOR);
	CHECK_EQ(vcpu->run->debug.arch.pc, symbol("ask_debug_register"));
	CHECK_EQ(vcpu->run->debug.arch.dr6 & 0x2000, 0x2000);
	debug.control = 0;
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_pass(vcpu);
}

static void block_irq(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ };
	struct vcpu *vcpu = guest(0, MODE_LONG, "event_nmis");

	if (!(vm_cap(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ))
		skip("KVM_GUESTDBG_BLOCKIRQ is not there");
	run_to_sync(vcpu, 1);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	KVM(vcpu->fd, KVM_NMI, 0);
	KVM(vcpu->fd, KVM_NMI, 0);
	run_to_exit(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(*var(vcpu->vm, "event_count"), 0);
	debug.control = 0;
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_pass(vcpu);
}

#define RING0	"its emulator, which runs ring 0, does not look"

const struct test ask_tests[] = {
	{ "ask", "unknown_msr", "an MSR that is not there is the VMM's to serve, or to refuse", unknown_msr },
	{ "ask", "bad_value", "a value that an MSR refuses is the VMM's to judge", bad_value },
	{ "ask", "filtered_msr", "a filter by access: asked for, #GP, and denied by default", filtered_msr },
	{ "ask", "platform_info", "KVM_CAP_MSR_PLATFORM_INFO hides the MSR from the guest", platform_info },
	{ "ask", "filter_errors", "KVM_X86_SET_MSR_FILTER: EINVAL, EFAULT", filter_errors },
	{ "ask", "map_gpa_range", "KVM_HC_MAP_GPA_RANGE is KVM_EXIT_HYPERCALL where that was enabled",
	  map_gpa_range, .wrong_on_paravirt = NOT_EMULATED("hypercalls") },
	{ "ask", "wrong_hypercall", "the other vendor's hypercall is replaced; #UD with the quirk off",
	  wrong_hypercall, .wrong_on_paravirt = NOT_EMULATED("hypercalls") },
	{ "ask", "mwait", "MWAIT does nothing whatever CPUID says; #UD with the quirk off", mwait,
	  .wrong_on_paravirt = RING0 },
	{ "ask", "general_detect", "DR7.GD of the VMM's: a move from a debug register is its to see",
	  general_detect, .wrong_on_paravirt = RING0,
	  .wrong_on_tcg = "QEMU's TCG has no general detect" },
	{ "ask", "block_irq", "KVM_GUESTDBG_BLOCKIRQ: no NMI while stepping", block_irq,
	  .wrong_on_paravirt = "while it emulates ring 0, one of two NMIs is lost" },
	{ 0 }
};
