/* SPDX-License-Identifier: GPL-2.0-only */
/* The API's own manners: versions, capabilities, and errors for what is not there. */
#include "harness.h"

#include <errno.h>

static void version(void)
{
	struct vm *vm = vm_create(0);

	CHECK_EQ(KVM(vm->system, KVM_GET_API_VERSION, 0), 12);
	CHECK(KVM(vm->system, KVM_GET_VCPU_MMAP_SIZE, 0) >= 4096);
	CHECK(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) > 0);
	CHECK(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0);
	CHECK(TRY_KVM(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS) >= 32);
	CHECK_EQ(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, 0x7fffffff), 0);
}

static void unknown_ioctl(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);

	CHECK_EQ(-TRY_KVM(vm->system, _IO(KVMIO, 0xfe), 0), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->fd, _IO(KVMIO, 0xfe), 0), ENOTTY);
	CHECK_EQ(-TRY_KVM(vcpu->fd, _IO(KVMIO, 0xfe), 0), EINVAL);
}

static void create_vm_type(void)
{
	struct vm *vm = vm_create(0);

	CHECK_EQ(-TRY_KVM(vm->system, KVM_CREATE_VM, 0x1234), EINVAL);
}

static void create_vcpu_twice(void)
{
	struct vm *vm = vm_create(0);

	vcpu_create(vm);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_VCPU, 0), EEXIST);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_VCPU, 0x7fffffff), EINVAL);
}

static void irqchip_after_vcpu(void)
{
	struct vm *vm = vm_create(0);

	vcpu_create(vm);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_IRQCHIP, 0), EINVAL);
}

static void irqchip_twice(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
}

static void arguments(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);

	CHECK_EQ(-TRY_KVM(vm->system, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->system, KVM_GET_VCPU_MMAP_SIZE, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_TSS_ADDR, 0xfffff000), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_REGS, 8), EFAULT);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS, 8), EFAULT);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, 8), EFAULT);
}

/* What belongs to a chip, in a VM that has none. */
static void no_irqchip(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { .chip_id = 0 };
	struct kvm_lapic_state lapic;
	struct kvm_pit_state2 pit;

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_IRQ_LINE, &line), ENXIO);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_PIT2, &pit), ENXIO);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_LAPIC, &lapic), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_LAPIC, &lapic), EINVAL);
}

static void boot_cpu(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct kvm_mp_state state;

	NEED_CAP(vm, KVM_CAP_SET_BOOT_CPU_ID);
	KVM(vm->fd, KVM_SET_BOOT_CPU_ID, 1);
	vcpu_create(vm);
	vcpu_create(vm);
	KVM(vm->vcpus[0].fd, KVM_GET_MP_STATE, &state);
	CHECK_EQ(state.mp_state, KVM_MP_STATE_UNINITIALIZED);
	KVM(vm->vcpus[1].fd, KVM_GET_MP_STATE, &state);
	CHECK_EQ(state.mp_state, KVM_MP_STATE_RUNNABLE);
	CHECK_EQ(sregs_of(&vm->vcpus[0]).apic_base, 0xfee00800);
	CHECK_EQ(sregs_of(&vm->vcpus[1]).apic_base, 0xfee00900);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_BOOT_CPU_ID, 0), EBUSY);
}

static void pit(void)
{
	struct vm *vm = vm_create(VM_PIT);
	struct kvm_pit_config config = { 0 };
	struct kvm_reinject_control control = { .pit_reinject = 1 };

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_PIT2, &config), EEXIST);
	NEED_CAP(vm, KVM_CAP_REINJECT_CONTROL);
	KVM(vm->fd, KVM_REINJECT_CONTROL, &control);
	control.pit_reinject = 0;
	KVM(vm->fd, KVM_REINJECT_CONTROL, &control);
	vm = vm_create(0);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_REINJECT_CONTROL, &control), ENXIO);
}

/* Every feature MSR of the list can be read at the system descriptor. */
static void msr_features(void)
{
	struct vm *vm = vm_create(0);
	static struct {
		struct kvm_msr_list header;
		uint32_t indices[256];
	} list = { .header.nmsrs = 256 };

	NEED_CAP(vm, KVM_CAP_GET_MSR_FEATURES);
	KVM(vm->system, KVM_GET_MSR_FEATURE_INDEX_LIST, &list);
	for (unsigned int i = 0; i < list.header.nmsrs; i++) {
		struct {
			struct kvm_msrs header;
			struct kvm_msr_entry entry;
		} one = { .header.nmsrs = 1, .entry.index = list.header.indices[i] };

		CHECK_EQ(TRY_KVM(vm->system, KVM_GET_MSRS, &one), 1);
	}
}

static void emulated_cpuid(void)
{
	struct vm *vm = vm_create(0);
	static struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} c = { .header.nent = 256 };

	NEED_CAP(vm, KVM_CAP_EXT_EMUL_CPUID);
	KVM(vm->system, KVM_GET_EMULATED_CPUID, &c);
	CHECK(c.header.nent < 256);
}

static void mce(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);
	uint64_t cap;

	NEED_CAP(vm, KVM_CAP_MCE);
	KVM(vm->system, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap);
	CHECK((cap & 0xff) == 0 && cap != 0);
	cap |= 5;
	KVM(vcpu->fd, KVM_X86_SETUP_MCE, &cap);
	/* AMD's has no more than these bits. */
	CHECK_EQ(msr_of(vcpu, 0x179) & 0x1ff, cap & 0x1ff);
	cap = 0xff;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_X86_SETUP_MCE, &cap), EINVAL);
}

const struct test api_tests[] = {
	{ "api", "version", "API version 12, sizes and the capabilities every VMM asks for",
	  version },
	{ "api", "unknown_ioctl", "an unknown request fails with Linux's errno for each descriptor",
	  unknown_ioctl },
	{ "api", "create_vm_type", "an unknown VM type is EINVAL", create_vm_type },
	{ "api", "create_vcpu_twice", "the same vCPU id twice is EEXIST, one out of range EINVAL",
	  create_vcpu_twice },
	{ "api", "irqchip_after_vcpu", "an interrupt chip after the first vCPU is EINVAL",
	  irqchip_after_vcpu },
	{ "api", "irqchip_twice", "a second interrupt chip is EEXIST", irqchip_twice },
	{ "api", "arguments", "an argument where none belongs is EINVAL, a bad pointer EFAULT",
	  arguments },
	{ "api", "no_irqchip", "requests of chips that are not there: ENXIO, EINVAL", no_irqchip },
	{ "api", "boot_cpu", "KVM_SET_BOOT_CPU_ID makes another vCPU the first", boot_cpu },
	{ "api", "pit", "a second PIT is EEXIST; KVM_REINJECT_CONTROL", pit },
	{ "api", "msr_features", "each MSR of the feature list reads at the system's descriptor",
	  msr_features },
	{ "api", "emulated_cpuid", "KVM_GET_EMULATED_CPUID", emulated_cpuid },
	{ "api", "mce", "KVM_X86_SETUP_MCE sets the banks that IA32_MCG_CAP shows", mce },
	{ 0 }
};
